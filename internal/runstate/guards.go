package runstate

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/wasakari/wasakari/recovery"
)

var (
	bucketRecoveries = []byte("recoveries")      // run → HostRecovery
	bucketChanged    = []byte("changed_servers") // server → nanoseconds since 1970 of the last run's change
)

const (
	// keepRecoveries is how long a host recovery is remembered: longer than any
	// period that is asked for.
	keepRecoveries = 31 * 24 * time.Hour
	keepChanged    = time.Hour
)

// Guards counts, in one file of the state folder that processes share, the
// hosts that runs recover and the servers that they change. Its methods decide
// nothing: what they are given does, while no other process can count.
//
// It is safe for concurrent use and needs no closing. Errors match ErrBusy when
// other processes kept the file for more than 5 s, and ErrDamaged.
type Guards struct{ shared }

// NewGuards returns the counts in the state folder dir. Nothing is made before
// something is counted.
func NewGuards(dir string) *Guards {
	return &Guards{newShared(dir, "guards.db", "counts of the guards", bucketRecoveries, bucketChanged)}
}

// Recover counts the recovery of a host by a run, when decide lets it: decide is
// given the recoveries that other runs began. A run that is counted already is
// not counted again, and decide is not asked.
func (g *Guards) Recover(ctx context.Context, next recovery.HostRecovery, decide func(before []recovery.HostRecovery) error) error {
	data, err := json.Marshal(next)
	if err != nil {
		return err
	}
	return g.write(ctx, func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketRecoveries)
		if b == nil {
			return ErrDamaged
		}
		if b.Get([]byte(next.Run)) != nil {
			return nil
		}
		before, err := documents[recovery.HostRecovery](b)
		if err != nil {
			return err
		}
		if err := decide(before); err != nil {
			return err
		}
		for _, r := range before {
			if next.Time.Sub(r.Time) > keepRecoveries {
				if err := b.Delete([]byte(r.Run)); err != nil {
					return err
				}
			}
		}
		return b.Put([]byte(next.Run), data)
	})
}

// Recoveries lists the recoveries that were counted.
func (g *Guards) Recoveries(ctx context.Context) ([]recovery.HostRecovery, error) {
	var out []recovery.HostRecovery
	err := g.read(ctx, func(tx *bbolt.Tx) (err error) {
		if tx == nil {
			return nil
		}
		out, err = documents[recovery.HostRecovery](tx.Bucket(bucketRecoveries))
		return err
	})
	return out, err
}

// Change counts the change of a server, when decide lets it: decide is given
// the times at which other servers were changed last, within the hour before.
// A server that is changed once more counts once, by its latest change.
func (g *Guards) Change(ctx context.Context, server string, now time.Time, decide func(recent []time.Time) error) error {
	return g.write(ctx, func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketChanged)
		if b == nil {
			return ErrDamaged
		}
		at, old, err := changed(b, now)
		if err != nil {
			return err
		}
		delete(at, server)
		if err := decide(slices.Collect(maps.Values(at))); err != nil {
			return err
		}
		for _, k := range old {
			if err := b.Delete(k); err != nil {
				return err
			}
		}
		return b.Put([]byte(server), encodeInt(now.UnixNano()))
	})
}

// Changes tells of the servers that were changed within the hour before now when
// each was changed last.
func (g *Guards) Changes(ctx context.Context, now time.Time) (map[string]time.Time, error) {
	var out map[string]time.Time
	err := g.read(ctx, func(tx *bbolt.Tx) (err error) {
		if tx == nil {
			return nil
		}
		out, _, err = changed(tx.Bucket(bucketChanged), now)
		return err
	})
	return out, err
}

// changed gives the times of the servers, and the keys of those that no longer
// count.
func changed(b *bbolt.Bucket, now time.Time) (recent map[string]time.Time, old [][]byte, err error) {
	if b == nil {
		return nil, nil, ErrDamaged
	}
	recent = map[string]time.Time{}
	err = b.ForEach(func(k, v []byte) error {
		if len(v) != 8 {
			return ErrDamaged
		}
		at := time.Unix(0, decodeInt(v))
		switch age := now.Sub(at); {
		// What is ahead by more was written by a clock that was wrong.
		case age >= keepChanged, age <= -keepChanged:
			old = append(old, slices.Clone(k))
		default:
			recent[string(k)] = at
		}
		return nil
	})
	return recent, old, err
}

// Changed lists the targets of all changes of the run that are of one of the
// ops: what it sent, or was about to send.
func (r *Run) Changed(ctx context.Context, of func(op string) bool) ([]string, error) {
	open, err := list[recovery.Intent](ctx, r, bucketOpen)
	if err != nil {
		return nil, err
	}
	ended, err := list[recovery.Intent](ctx, r, bucketEnded)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var out []string
	for _, in := range append(open, ended...) {
		if of(in.Op) && !seen[in.Target] {
			seen[in.Target] = true
			out = append(out, in.Target)
		}
	}
	return out, nil
}
