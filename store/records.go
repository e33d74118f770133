package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/wasakari/wasakari/recovery"
)

// found gives the only key of an answer, nil when there is none.
func found(r *pb.RangeResponse) (value []byte, created, mod int64) {
	if kvs := r.GetKvs(); len(kvs) > 0 {
		return kvs[0].Value, kvs[0].CreateRevision, kvs[0].ModRevision
	}
	return nil, 0, 0
}

// Segments lists the segments.
func (s *Store) Segments(ctx context.Context) ([]recovery.Segment, error) {
	return listed(ctx, s, "segments", func(x *index) *table[recovery.Segment] { return x.segments })
}

// Segment gives a segment, or an error that matches recovery.ErrNotFound.
func (s *Store) Segment(ctx context.Context, uuid string) (recovery.Segment, error) {
	return one(ctx, s, "segment", uuid, func(x *index) *table[recovery.Segment] { return x.segments })
}

// listed gives all records of a kind.
func listed[T any](ctx context.Context, s *Store, what string, of func(*index) *table[T]) (out []T, err error) {
	err = s.view(ctx, func(x *index) error { out = of(x).list(nil); return nil })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return out, nil
}

// one gives one record of a kind.
func one[T any](ctx context.Context, s *Store, what, name string, of func(*index) *table[T]) (out T, err error) {
	err = s.view(ctx, func(x *index) error {
		var ok bool
		if out, ok = of(x).get(name); !ok {
			return recovery.ErrNotFound
		}
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("%s %.140s: %w", what, name, err)
	}
	return out, nil
}

// CreateSegment writes a segment. It gets a UUID when it has none. The error
// matches recovery.ErrExists when its name is taken.
func (s *Store) CreateSegment(ctx context.Context, v recovery.Segment) (recovery.Segment, error) {
	if v.UUID == "" {
		v.UUID = uuid.NewString()
	}
	fail := func(err error) (recovery.Segment, error) {
		return recovery.Segment{}, fmt.Errorf("segment %.300q: %w", v.Name, err)
	}
	if v.Name == "" {
		return fail(fmt.Errorf("%w: no name", recovery.ErrInvalid))
	}
	if err := checkNames(v.UUID, v.Name); err != nil {
		return fail(err)
	}
	v.Stamp = recovery.Stamp{Created: now()}
	data, err := encode(v)
	if err != nil {
		return fail(err)
	}
	key, name := s.key.segment(v.UUID), s.key.segmentName(v.Name)
	res, err := s.commit(ctx, (&txn{name: "segment.create"}).
		when(absent(key), absent(name)).
		do(put(key, data), put(name, []byte(v.UUID))))
	if err != nil {
		return fail(err)
	}
	if !res.ok {
		return fail(recovery.ErrExists)
	}
	v.Stamp.ID = id(res.rev, 0)
	return v, nil
}

// busy says, in a transaction's stead, that a segment is in use.
func (s *Store) busy(r *pb.RangeResponse) error {
	if len(r.GetKvs()) > 0 || r.GetCount() > 0 {
		return recovery.ErrInUse
	}
	return nil
}

// someOf reads whether a key begins with prefix.
func someOf(prefix string) clientv3.Op {
	return clientv3.OpGet(prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1))
}

// UpdateSegment changes a segment. change may be called several times; it must
// not change the UUID. When it changes nothing, nothing is written. The error
// matches recovery.ErrNotFound, recovery.ErrExists (name), or recovery.ErrInUse
// while a notification about one of its hosts is not done with.
func (s *Store) UpdateSegment(ctx context.Context, uuid string, change func(*recovery.Segment) error) (recovery.Segment, error) {
	out, err := s.updateSegment(ctx, uuid, change)
	if err != nil {
		return out, fmt.Errorf("segment %.140s: %w", uuid, err)
	}
	return out, nil
}

func (s *Store) updateSegment(ctx context.Context, uuid string, change func(*recovery.Segment) error) (recovery.Segment, error) {
	key := s.key.segment(uuid)
	for {
		r, err := s.getAll(ctx, clientv3.OpGet(key), someOf(s.key.queueOf(uuid)))
		if err != nil {
			return recovery.Segment{}, err
		}
		data, created, mod := found(r[0])
		if data == nil {
			return recovery.Segment{}, recovery.ErrNotFound
		}
		if err := s.busy(r[1]); err != nil {
			return recovery.Segment{}, err
		}
		old, err := decodeSegment(data, created)
		if err != nil {
			return old, err
		}
		next := old
		if err := change(&next); err != nil {
			return old, err
		}
		next.UUID, next.Stamp = old.UUID, old.Stamp
		if equalSegments(old, next) {
			return old, nil
		}
		if next.Name == "" {
			return old, fmt.Errorf("%w: no name", recovery.ErrInvalid)
		}
		if err := checkNames(next.Name); err != nil {
			return old, err
		}
		next.Stamp.Updated = now()
		if data, err = encode(next); err != nil {
			return old, err
		}
		t := (&txn{name: "segment.update"}).when(unchanged(key, mod), none(s.key.queueOf(uuid))).do(put(key, data))
		if next.Name != old.Name {
			name := s.key.segmentName(next.Name)
			t.when(absent(name)).do(put(name, []byte(uuid)), clientv3.OpDelete(s.key.segmentName(old.Name)))
			t.otherwise(clientv3.OpGet(name))
		}
		res, err := s.commit(ctx, t)
		if err != nil {
			return old, err
		}
		if res.ok {
			return next, nil
		}
		if len(res.reads) > 0 && len(res.reads[0].GetKvs()) > 0 {
			return old, recovery.ErrExists
		}
	}
}

func equalSegments(a, b recovery.Segment) bool {
	same := a.Description == b.Description || a.Description != nil && b.Description != nil && *a.Description == *b.Description
	a.Description, b.Description = nil, nil
	return same && a == b
}

// DeleteSegment removes a segment and its hosts. The error matches
// recovery.ErrNotFound, or recovery.ErrInUse as UpdateSegment's.
func (s *Store) DeleteSegment(ctx context.Context, uuid string) error {
	if err := s.deleteSegment(ctx, uuid); err != nil {
		return fmt.Errorf("segment %.140s: %w", uuid, err)
	}
	return nil
}

func (s *Store) deleteSegment(ctx context.Context, uuid string) error {
	key := s.key.segment(uuid)
	for {
		r, err := s.getAll(ctx, clientv3.OpGet(key), someOf(s.key.queueOf(uuid)))
		if err != nil {
			return err
		}
		data, created, mod := found(r[0])
		if data == nil {
			return recovery.ErrNotFound
		}
		if err := s.busy(r[1]); err != nil {
			return err
		}
		old, err := decodeSegment(data, created)
		if err != nil {
			return err
		}
		names := map[string]string{} // key: value
		if err := s.view(ctx, func(x *index) error {
			for _, h := range x.hosts.list(func(h *recovery.Host) bool { return h.SegmentUUID == uuid }) {
				names[s.key.hostName(h.Name)] = hostPlace(h)
			}
			return nil
		}); err != nil {
			return err
		}
		// The names of hosts that are gone count for nothing: they may go later.
		res, err := s.commit(ctx, (&txn{name: "segment.delete"}).
			when(unchanged(key, mod), none(s.key.queueOf(uuid))).
			do(clientv3.OpDelete(key), clientv3.OpDelete(s.key.segmentName(old.Name)), clientv3.OpDelete(s.key.hostsOf(uuid), clientv3.WithPrefix())))
		if err != nil {
			return err
		}
		if !res.ok {
			continue
		}
		for name, place := range names {
			if _, err := s.commit(ctx, (&txn{name: "segment.names"}).
				when(clientv3.Compare(clientv3.Value(name), "=", place)).do(clientv3.OpDelete(name))); err != nil {
				return nil //nolint:nilerr // the segment is gone; what is left is taken over or swept
			}
		}
		return nil
	}
}

// Hosts lists the hosts of all segments.
func (s *Store) Hosts(ctx context.Context) ([]recovery.Host, error) {
	return listed(ctx, s, "hosts", func(x *index) *table[recovery.Host] { return x.hosts })
}

// Host gives a host, or an error that matches recovery.ErrNotFound.
func (s *Store) Host(ctx context.Context, uuid string) (recovery.Host, error) {
	return one(ctx, s, "host", uuid, func(x *index) *table[recovery.Host] { return x.hosts })
}

// hostPlace is where a host lies, as the key of its name holds it.
func hostPlace(h recovery.Host) string { return esc(h.SegmentUUID) + "/" + esc(h.UUID) }

// takeName adds to a transaction that the host gets its name. The name of a
// host that went with its segment is taken over.
func (s *Store) takeName(ctx context.Context, t *txn, h recovery.Host) error {
	key := s.key.hostName(h.Name)
	resp, err := s.get(ctx, key)
	if err != nil {
		return err
	}
	if len(resp.Kvs) == 0 {
		t.when(absent(key))
	} else {
		holder := s.key.hosts + string(resp.Kvs[0].Value)
		live, err := s.get(ctx, holder, clientv3.WithKeysOnly())
		if err != nil {
			return err
		}
		if len(live.Kvs) > 0 {
			return recovery.ErrExists
		}
		t.when(unchanged(key, resp.Kvs[0].ModRevision), absent(holder))
	}
	t.do(put(key, []byte(hostPlace(h))))
	return nil
}

// CreateHost writes a host. It gets a UUID when it has none. The error matches
// recovery.ErrNotFound when its segment is not there, and recovery.ErrExists
// when its name is taken in any segment.
func (s *Store) CreateHost(ctx context.Context, v recovery.Host) (recovery.Host, error) {
	if v.UUID == "" {
		v.UUID = uuid.NewString()
	}
	out, err := s.createHost(ctx, v)
	if err != nil {
		return recovery.Host{}, fmt.Errorf("host %.300q: %w", v.Name, err)
	}
	return out, nil
}

func (s *Store) createHost(ctx context.Context, v recovery.Host) (recovery.Host, error) {
	if v.Name == "" {
		return v, fmt.Errorf("%w: no name", recovery.ErrInvalid)
	}
	if err := checkNames(v.UUID, v.Name, v.SegmentUUID); err != nil {
		return v, err
	}
	v.Stamp = recovery.Stamp{Created: now()}
	data, err := encode(v)
	if err != nil {
		return v, err
	}
	key, segment := s.key.host(v.SegmentUUID, v.UUID), s.key.segment(v.SegmentUUID)
	for {
		t := (&txn{name: "host.create"}).
			when(present(segment), absent(key)).
			do(put(key, data)).otherwise(clientv3.OpGet(segment, clientv3.WithKeysOnly()), clientv3.OpGet(key, clientv3.WithKeysOnly()))
		if err := s.takeName(ctx, t, v); err != nil {
			if errors.Is(err, recovery.ErrExists) {
				if resp, e := s.get(ctx, segment, clientv3.WithKeysOnly()); e == nil && len(resp.Kvs) == 0 {
					return v, fmt.Errorf("segment %.140s: %w", v.SegmentUUID, recovery.ErrNotFound)
				}
			}
			return v, err
		}
		res, err := s.commit(ctx, t)
		switch {
		case err != nil:
			return v, err
		case res.ok:
			v.Stamp.ID = id(res.rev, 0)
			return v, nil
		case len(res.reads[0].GetKvs()) == 0:
			return v, fmt.Errorf("segment %.140s: %w", v.SegmentUUID, recovery.ErrNotFound)
		case len(res.reads[1].GetKvs()) > 0:
			return v, recovery.ErrExists
		}
	}
}

// UpdateHost changes a host. change may be called several times; it must not
// change UUID and segment. When it changes nothing, nothing is written. The
// error matches recovery.ErrNotFound, recovery.ErrExists (name), or
// recovery.ErrInUse while a notification about a host of the segment is not done
// with.
func (s *Store) UpdateHost(ctx context.Context, uuid string, change func(*recovery.Host) error) (recovery.Host, error) {
	out, err := s.updateHost(ctx, uuid, change)
	if err != nil {
		return out, fmt.Errorf("host %.140s: %w", uuid, err)
	}
	return out, nil
}

func (s *Store) updateHost(ctx context.Context, uuid string, change func(*recovery.Host) error) (recovery.Host, error) {
	for {
		known, err := s.Host(ctx, uuid)
		if err != nil {
			return known, errors.Unwrap(err)
		}
		key := s.key.host(known.SegmentUUID, uuid)
		r, err := s.getAll(ctx, clientv3.OpGet(key), someOf(s.key.queueOf(known.SegmentUUID)))
		if err != nil {
			return known, err
		}
		data, created, mod := found(r[0])
		if data == nil {
			return known, recovery.ErrNotFound
		}
		if err := s.busy(r[1]); err != nil {
			return known, err
		}
		old, err := decodeHost(data, created)
		if err != nil {
			return old, err
		}
		next := old
		if err := change(&next); err != nil {
			return old, err
		}
		next.UUID, next.SegmentUUID, next.Stamp = old.UUID, old.SegmentUUID, old.Stamp
		if next == old {
			return old, nil
		}
		if next.Name == "" {
			return old, fmt.Errorf("%w: no name", recovery.ErrInvalid)
		}
		if err := checkNames(next.Name); err != nil {
			return old, err
		}
		next.Stamp.Updated = now()
		t := (&txn{name: "host.update"}).when(unchanged(key, mod), none(s.key.queueOf(old.SegmentUUID)))
		if err := s.putHost(t, old, next); err != nil {
			return old, err
		}
		if next.Name != old.Name {
			if err := s.takeName(ctx, t, next); err != nil {
				return old, err
			}
			t.do(clientv3.OpDelete(s.key.hostName(old.Name)))
		}
		res, err := s.commit(ctx, t)
		if err != nil {
			return old, err
		}
		if res.ok {
			return next, nil
		}
	}
}

// putHost adds to a transaction that a host is written over its former self. A
// host that leaves maintenance may be reported anew.
func (s *Store) putHost(t *txn, old, next recovery.Host) error {
	data, err := encode(next)
	if err != nil {
		return err
	}
	t.do(put(s.key.host(next.SegmentUUID, next.UUID), data))
	if old.OnMaintenance && !next.OnMaintenance {
		t.do(clientv3.OpDelete(s.key.dedups(next.UUID, false, ""), clientv3.WithPrefix()))
	}
	return nil
}

// DeleteHost removes a host. The error matches recovery.ErrNotFound, or
// recovery.ErrInUse as UpdateHost's.
func (s *Store) DeleteHost(ctx context.Context, uuid string) error {
	if err := s.deleteHost(ctx, uuid); err != nil {
		return fmt.Errorf("host %.140s: %w", uuid, err)
	}
	return nil
}

func (s *Store) deleteHost(ctx context.Context, uuid string) error {
	for {
		known, err := s.Host(ctx, uuid)
		if err != nil {
			return errors.Unwrap(err)
		}
		key, queue := s.key.host(known.SegmentUUID, uuid), s.key.queueOf(known.SegmentUUID)
		r, err := s.getAll(ctx, clientv3.OpGet(key), someOf(queue))
		if err != nil {
			return err
		}
		data, created, mod := found(r[0])
		if data == nil {
			return recovery.ErrNotFound
		}
		if err := s.busy(r[1]); err != nil {
			return err
		}
		old, err := decodeHost(data, created)
		if err != nil {
			return err
		}
		res, err := s.commit(ctx, (&txn{name: "host.delete"}).
			when(unchanged(key, mod), none(queue)).
			do(clientv3.OpDelete(key), clientv3.OpDelete(s.key.hostName(old.Name)),
				clientv3.OpDelete(s.key.dedups(uuid, false, ""), clientv3.WithPrefix()), clientv3.OpDelete(s.key.dedups(uuid, true, ""), clientv3.WithPrefix())))
		if err != nil {
			return err
		}
		if res.ok {
			return nil
		}
	}
}

// Notifications gives the notifications, newest first, without what only matters
// while one is worked on: the ids of request and trace. What is made after the
// call is left out. Payloads and lists of runs are shared and must not be changed.
// The second value tells that none that comes later was created after it, but for
// the fraction of a second.
func (s *Store) Notifications(ctx context.Context) (iter.Seq2[recovery.Notification, time.Time], error) {
	out, err := each(ctx, s, func(x *index) *table[note] { return x.notifications }, notification)
	if err != nil {
		return nil, fmt.Errorf("notifications: %w", err)
	}
	return out, nil
}

// Notification gives a notification, or an error that matches
// recovery.ErrNotFound.
func (s *Store) Notification(ctx context.Context, uuid string) (recovery.Notification, error) {
	resp, err := s.get(ctx, s.key.notification(uuid))
	if err == nil && len(resp.Kvs) == 0 {
		err = recovery.ErrNotFound
	}
	var n recovery.Notification
	if err == nil {
		n, err = decodeNotification(resp.Kvs[0].Value, resp.Kvs[0].CreateRevision)
	}
	if err != nil {
		return recovery.Notification{}, fmt.Errorf("notification %.140s: %w", uuid, err)
	}
	return n, nil
}

// VMoves lists the vmoves of a notification. One that is not there has none.
func (s *Store) VMoves(ctx context.Context, notification string) ([]recovery.VMove, error) {
	var out []recovery.VMove
	_, err := s.rangeAll(ctx, s.key.vmovesOf(notification), 0, func(_ string, created, _ int64, value []byte) error {
		v, err := decodeVMove(value, created)
		out = append(out, v)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("vmoves of %.140s: %w", notification, err)
	}
	slices.SortFunc(out, func(a, b recovery.VMove) int { return int(max(-1, min(1, a.Stamp.ID-b.Stamp.ID))) })
	return out, nil
}

// VMove gives a vmove of a notification, or an error that matches
// recovery.ErrNotFound.
func (s *Store) VMove(ctx context.Context, notification, uuid string) (recovery.VMove, error) {
	resp, err := s.get(ctx, s.key.vmove(notification, uuid))
	if err == nil && len(resp.Kvs) == 0 {
		err = recovery.ErrNotFound
	}
	if err != nil {
		return recovery.VMove{}, fmt.Errorf("vmove %.140s: %w", uuid, err)
	}
	v, err := decodeVMove(resp.Kvs[0].Value, resp.Kvs[0].CreateRevision)
	if err != nil {
		return v, fmt.Errorf("vmove %.140s: %w", uuid, err)
	}
	return v, nil
}
