package store

import (
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/wasakari/wasakari/recovery"
)

func noID(doc any) error {
	return fmt.Errorf("%w: a document of %T without an id", recovery.ErrInvalid, doc)
}

func (r *Run) openKey(id string) string  { return r.data() + "open/" + esc(id) }
func (r *Run) endedKey(id string) string { return r.data() + "ended/" + esc(id) }
func (r *Run) undoKey(key string) string { return r.data() + "undo/" + esc(key) }

// BeginIntent writes a change that is about to be sent.
func (r *Run) BeginIntent(ctx context.Context, in recovery.Intent) error {
	if in.ID == "" {
		return r.wrap(noID(in))
	}
	if in.State == "" {
		in.State = recovery.IntentOpen
	}
	t := &txn{name: "intent.begin"}
	if err := t.docs(doc{r.openKey(in.ID), in}); err != nil {
		return r.wrap(err)
	}
	return r.set(ctx, t)
}

// EndIntent writes how a change stands. One that is still open stays among the
// open ones.
func (r *Run) EndIntent(ctx context.Context, in recovery.Intent) error {
	return r.wrap(r.endIntent(ctx, in))
}

func (r *Run) endIntent(ctx context.Context, in recovery.Intent) error {
	begun, ended := r.openKey(in.ID), r.endedKey(in.ID)
	for _, key := range []string{begun, ended} {
		t := (&txn{name: "intent.end"}).when(present(key))
		if in.State == recovery.IntentOpen || in.State == "" {
			in.State = recovery.IntentOpen
			if err := t.docs(doc{begun, in}); err != nil {
				return err
			}
		} else {
			if err := t.docs(doc{ended, in}); err != nil {
				return err
			}
			t.do(clientv3.OpDelete(begun))
		}
		res, err := r.write(ctx, t)
		if err != nil || res.ok {
			return err
		}
	}
	return fmt.Errorf("intent %q: %w", in.ID, recovery.ErrNotFound)
}

// OpenIntents lists the changes without a result in the order in which they
// were begun.
func (r *Run) OpenIntents(ctx context.Context) ([]recovery.Intent, error) {
	out, err := listAll[recovery.Intent](ctx, r.s, r.data()+"open/", true)
	return out, r.wrap(err)
}

// intents lists all changes of a run, those without a result too.
func (s *Store) intents(ctx context.Context, run string) ([]recovery.Intent, error) {
	data := s.key.runData(run)
	begun, err := listAll[recovery.Intent](ctx, s, data+"open/", true)
	if err != nil {
		return nil, err
	}
	ended, err := listAll[recovery.Intent](ctx, s, data+"ended/", true)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, in := range ended {
		seen[in.ID] = true
	}
	for _, in := range begun {
		if !seen[in.ID] {
			ended = append(ended, in)
		}
	}
	slices.SortStableFunc(ended, func(a, b recovery.Intent) int { return a.Started.Compare(b.Started) })
	return ended, nil
}

// Changed lists the targets of all changes of the run that are of one of the
// ops: what it sent, or was about to send.
func (r *Run) Changed(ctx context.Context, of func(op string) bool) ([]string, error) {
	all, err := r.s.intents(ctx, r.id)
	if err != nil {
		return nil, r.wrap(err)
	}
	seen := map[string]bool{}
	var out []string
	for _, in := range all {
		if of(in.Op) && !seen[in.Target] {
			seen[in.Target] = true
			out = append(out, in.Target)
		}
	}
	return out, nil
}

// PushUndo writes what must not stay. What has the same key is written over
// and keeps its place.
func (r *Run) PushUndo(ctx context.Context, u recovery.Undo) error {
	if u.Key == "" {
		return r.wrap(noID(u))
	}
	t := &txn{name: "undo.push"}
	if err := t.docs(doc{r.undoKey(u.Key), u}); err != nil {
		return r.wrap(err)
	}
	return r.set(ctx, t)
}

// DropUndo takes an entry off the list. One that is not there is no error.
func (r *Run) DropUndo(ctx context.Context, key string) error {
	return r.set(ctx, (&txn{name: "undo.drop"}).do(clientv3.OpDelete(r.undoKey(key))))
}

// Undos lists what is to be undone, oldest first.
func (r *Run) Undos(ctx context.Context) ([]recovery.Undo, error) {
	out, err := listAll[recovery.Undo](ctx, r.s, r.data()+"undo/", true)
	return out, r.wrap(err)
}

// Segment returns the segment of the run's host, or recovery.ErrNotFound when
// the run has none.
func (r *Run) Segment(ctx context.Context) (recovery.Segment, error) {
	if r.fixed.Segment == "" {
		return recovery.Segment{}, r.wrap(fmt.Errorf("segment: %w", recovery.ErrNotFound))
	}
	out, err := r.s.Segment(ctx, r.fixed.Segment)
	return out, r.wrap(err)
}

// Hosts lists the hosts of the segment in the order in which they were made.
func (r *Run) Hosts(ctx context.Context) (out []recovery.Host, err error) {
	err = r.s.view(ctx, func(x *index) error {
		out = x.hosts.list(func(h *recovery.Host) bool { return h.SegmentUUID == r.fixed.Segment })
		return nil
	})
	return out, r.wrap(err)
}

// UpdateHost writes a host of the segment over the one with its UUID, or, when
// it has none, its name. Name, segment and stamp stay.
func (r *Run) UpdateHost(ctx context.Context, h recovery.Host) error {
	return r.wrap(r.updateHost(ctx, h))
}

func (r *Run) updateHost(ctx context.Context, h recovery.Host) error {
	called := h.UUID
	if called == "" {
		called = h.Name
	}
	for {
		key, err := r.hostKey(ctx, h.UUID, h.Name)
		if err != nil {
			return fmt.Errorf("host %s: %w", called, err)
		}
		resp, err := r.s.get(ctx, key)
		if err != nil {
			return err
		}
		if len(resp.Kvs) == 0 {
			return fmt.Errorf("host %s: %w", called, recovery.ErrNotFound)
		}
		old, err := decodeHost(resp.Kvs[0].Value, resp.Kvs[0].CreateRevision)
		if err != nil {
			return err
		}
		next := old
		next.Type, next.ControlAttributes, next.Reserved, next.OnMaintenance = h.Type, h.ControlAttributes, h.Reserved, h.OnMaintenance
		if next == old {
			return nil
		}
		next.Stamp.Updated = now()
		t := (&txn{name: "host.recover"}).when(unchanged(key, resp.Kvs[0].ModRevision))
		if err := r.s.putHost(t, old, next); err != nil {
			return err
		}
		res, err := r.write(ctx, t)
		if err != nil || res.ok {
			return err
		}
	}
}

// hostKey finds a host of the run's segment.
func (r *Run) hostKey(ctx context.Context, uuid, name string) (key string, err error) {
	err = r.s.view(ctx, func(x *index) error {
		for _, row := range x.hosts.rows {
			h := &row.doc
			if h.SegmentUUID == r.fixed.Segment && (uuid != "" && h.UUID == uuid || uuid == "" && h.Name == name) {
				key = r.s.key.host(h.SegmentUUID, h.UUID)
				return nil
			}
		}
		return recovery.ErrNotFound
	})
	return key, err
}

// VMoves lists the vmoves of the notification, those of its former runs too, in
// the order in which they were first put.
func (r *Run) VMoves(ctx context.Context) ([]recovery.VMove, error) {
	out, err := r.s.VMoves(ctx, r.item.Notification)
	return out, r.wrap(err)
}

// PutVMove writes a vmove, over a former one with its UUID.
func (r *Run) PutVMove(ctx context.Context, v recovery.VMove) error {
	return r.wrap(r.putVMove(ctx, v))
}

func (r *Run) putVMove(ctx context.Context, v recovery.VMove) error {
	if v.UUID == "" {
		return noID(v)
	}
	v.NotificationUUID = r.item.Notification
	key := r.s.key.vmove(v.NotificationUUID, v.UUID)
	for {
		resp, err := r.s.get(ctx, key)
		if err != nil {
			return err
		}
		var mod int64
		v.Stamp = recovery.Stamp{Created: now()}
		if len(resp.Kvs) > 0 {
			old, err := decodeVMove(resp.Kvs[0].Value, resp.Kvs[0].CreateRevision)
			if err != nil {
				return err
			}
			mod = resp.Kvs[0].ModRevision
			v.Stamp = recovery.Stamp{ID: old.Stamp.ID, Created: old.Stamp.Created, Updated: v.Stamp.Created}
		}
		t := (&txn{name: "vmove.put"}).when(unchanged(key, mod))
		if err := t.docs(doc{key, v}); err != nil {
			return err
		}
		res, err := r.write(ctx, t)
		if err != nil || res.ok {
			return err
		}
	}
}

// ClaimReserved binds a reserved host of the segment to the run until it is
// released or the run ends. The error matches recovery.ErrConflict when another
// run has it, or it is not reserved or on maintenance, and recovery.ErrNotFound.
func (r *Run) ClaimReserved(ctx context.Context, host string) error {
	if err := r.claimReserved(ctx, host); err != nil {
		return r.wrap(fmt.Errorf("reserved host %.300s: %w", host, err))
	}
	return nil
}

func (r *Run) claimReserved(ctx context.Context, host string) error {
	for {
		key, err := r.hostKey(ctx, "", host)
		if err != nil {
			return err
		}
		lock := r.s.key.reserved(host)
		res, err := r.s.getAll(ctx, clientv3.OpGet(key), clientv3.OpGet(lock))
		if err != nil {
			return err
		}
		data, created, mod := found(res[0])
		if data == nil {
			return recovery.ErrNotFound
		}
		h, err := decodeHost(data, created)
		if err != nil {
			return err
		}
		holder, _, lockMod := found(res[1])
		switch {
		case string(holder) == r.id:
			return r.state()
		case lockMod != 0:
			return fmt.Errorf("%w: run %s has it", recovery.ErrConflict, holder)
		case !h.Reserved:
			return fmt.Errorf("%w: it is not reserved", recovery.ErrConflict)
		case h.OnMaintenance:
			return fmt.Errorf("%w: it is on maintenance", recovery.ErrConflict)
		}
		done, err := r.write(ctx, (&txn{name: "reserved.claim"}).when(unchanged(key, mod), absent(lock)).
			do(put(lock, []byte(r.id)), put(r.data()+"reserved/"+esc(host), nil)))
		if err != nil || done.ok {
			return err
		}
	}
}

// ReleaseReserved lets other runs have a reserved host. One that this run does
// not have is no error.
func (r *Run) ReleaseReserved(ctx context.Context, host string) error {
	lock := r.s.key.reserved(host)
	_, err := r.write(ctx, (&txn{name: "reserved.release"}).when(clientv3.Compare(clientv3.Value(lock), "=", r.id)).
		do(clientv3.OpDelete(lock), clientv3.OpDelete(r.data()+"reserved/"+esc(host))))
	return r.wrap(err)
}

// releaseSome releases the first reserved hosts of many.
func (r *Run) releaseSome(ctx context.Context, prefix string) error {
	resp, err := r.s.get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(maxOps/2-5))
	if err != nil {
		return err
	}
	t := &txn{name: "reserved.release"}
	for _, kv := range resp.Kvs {
		t.do(clientv3.OpDelete(r.s.key.reserved(unesc(string(kv.Key[len(prefix):])))), clientv3.OpDelete(string(kv.Key)))
	}
	_, err = r.write(ctx, t)
	return err
}
