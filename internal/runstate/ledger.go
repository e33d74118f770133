package runstate

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/wasakari/wasakari/recovery"
)

// BeginIntent writes a change that is about to be sent.
func (r *Run) BeginIntent(ctx context.Context, in recovery.Intent) error {
	if in.State == "" {
		in.State = recovery.IntentOpen
	}
	return r.update(ctx, func(tx *bbolt.Tx) error { return putRow(tx.Bucket(bucketOpen), in.ID, in) })
}

// EndIntent writes how a change stands. One that is still open stays among the
// open ones.
func (r *Run) EndIntent(ctx context.Context, in recovery.Intent) error {
	return r.update(ctx, func(tx *bbolt.Tx) error {
		begun := tx.Bucket(bucketOpen)
		switch {
		case !hasRow(begun, in.ID) && !hasRow(tx.Bucket(bucketEnded), in.ID):
			return fmt.Errorf("intent %q: %w", in.ID, recovery.ErrNotFound)
		case in.State == recovery.IntentOpen || in.State == "":
			in.State = recovery.IntentOpen
			return putRow(begun, in.ID, in)
		}
		if err := dropRow(begun, in.ID); err != nil {
			return err
		}
		return putRow(tx.Bucket(bucketEnded), in.ID, in)
	})
}

// OpenIntents lists the changes without a result in the order in which they
// were begun.
func (r *Run) OpenIntents(ctx context.Context) ([]recovery.Intent, error) {
	return list[recovery.Intent](ctx, r, bucketOpen)
}

// PushUndo writes what must not stay. What has the same key is written over
// and keeps its place.
func (r *Run) PushUndo(ctx context.Context, u recovery.Undo) error {
	return r.update(ctx, func(tx *bbolt.Tx) error { return putRow(tx.Bucket(bucketUndo), u.Key, u) })
}

// DropUndo takes an entry off the list. One that is not there is no error.
func (r *Run) DropUndo(ctx context.Context, key string) error {
	return r.update(ctx, func(tx *bbolt.Tx) error { return dropRow(tx.Bucket(bucketUndo), key) })
}

// Undos lists what is to be undone, oldest first.
func (r *Run) Undos(ctx context.Context) ([]recovery.Undo, error) {
	return list[recovery.Undo](ctx, r, bucketUndo)
}

// Check is always nil: the lock of the file is the lease, and it ends with the
// process.
func (r *Run) Check(context.Context, time.Duration) error { return nil }

// Segment returns the run's copy of its segment, or recovery.ErrNotFound when
// the run has none.
func (r *Run) Segment(ctx context.Context) (recovery.Segment, error) {
	var s recovery.Segment
	err := r.view(ctx, func(tx *bbolt.Tx) error { return getMeta(tx, keySegment, &s) })
	return s, err
}

// Hosts lists the hosts of the segment in the order in which they were given.
func (r *Run) Hosts(ctx context.Context) ([]recovery.Host, error) {
	return list[recovery.Host](ctx, r, bucketHosts)
}

// UpdateHost writes a host over the one with its UUID, or, for hosts that have
// none, its name.
func (r *Run) UpdateHost(ctx context.Context, h recovery.Host) error {
	return r.update(ctx, func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketHosts)
		if !hasRow(b, hostID(h)) {
			return fmt.Errorf("host %s: %w", hostID(h), recovery.ErrNotFound)
		}
		return putRow(b, hostID(h), h)
	})
}

func hostID(h recovery.Host) string {
	if h.UUID != "" {
		return h.UUID
	}
	return h.Name
}

// VMoves lists the vmoves in the order in which they were first put.
func (r *Run) VMoves(ctx context.Context) ([]recovery.VMove, error) {
	return list[recovery.VMove](ctx, r, bucketVMoves)
}

// PutVMove writes a vmove, over a former one with its UUID.
func (r *Run) PutVMove(ctx context.Context, v recovery.VMove) error {
	return r.update(ctx, func(tx *bbolt.Tx) error { return putRow(tx.Bucket(bucketVMoves), v.UUID, v) })
}

func list[T any](ctx context.Context, r *Run, bucket []byte) ([]T, error) {
	var out []T
	err := r.view(ctx, func(tx *bbolt.Tx) (err error) {
		out, err = readRows[T](tx.Bucket(bucket))
		return err
	})
	return out, err
}
