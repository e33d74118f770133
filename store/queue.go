package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/wasakari/wasakari/recovery"
)

// work is what is known of a run that began at a host or server and has not
// ended.
type work struct {
	Run          string `json:"run"`
	Notification string `json:"notification"`
	// Node, Boot and Session tell who worked on it last.
	Node    string `json:"node"`
	Boot    string `json:"boot"`
	Session string `json:"session"`
	Claims  int    `json:"claims"` // by whichever node
	// Released is true when whoever had it gave it back with no change under way.
	Released bool `json:"released,omitempty"`
}

// Queue lists the notifications that are not done with: those that wait for a
// run, and those whose run has not ended.
func (s *Store) Queue(ctx context.Context) ([]recovery.QueueItem, error) {
	var out []recovery.QueueItem
	err := s.view(ctx, func(x *index) error {
		out = make([]recovery.QueueItem, 0, len(x.queue.rows))
		for _, q := range x.queue.list(nil) {
			out = append(out, q.QueueItem)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	return out, nil
}

// place is what a run of a queue item takes hold of.
type place struct {
	lock, work string // keys
	// hostLock and hold, of a VM, must not be there when a run begins; vmruns, of
	// a compute host, must be empty.
	hostLock, hold, vmruns string
}

func (s *Store) place(q recovery.QueueItem) place {
	p := place{hold: s.key.hold(q.Host)}
	if q.Type == recovery.VM {
		server := q.Server
		if server == "" {
			server = q.Notification // there is nothing that others could work on too
		}
		p.lock, p.work, p.hostLock = s.key.lockServer(server), s.key.workServer(server), s.key.lockHost(q.Host)
		return p
	}
	p.lock, p.work = s.key.lockHost(q.Host), s.key.workHost(q.Host)
	if q.Type == recovery.ComputeHost {
		p.vmruns = s.key.vmrunsOf(q.Host)
	}
	return p
}

// Claim begins the run of a notification that waits in the queue, or goes on
// with the one that was begun. Nobody else can do anything with it until it
// ends, is given back, or this node's lease is lost.
//
// The error matches recovery.ErrNotFound when the notification is not in the
// queue, and recovery.ErrConflict when it cannot be had now: it is not due,
// another run has its host or server, this node is draining, or, for a
// notification about a compute host, VM runs of the host have not ended; they
// are asked to. Watch tells when it is worth another try.
func (s *Store) Claim(ctx context.Context, notification string) (*Run, error) {
	r, err := s.claim(ctx, notification)
	if err != nil {
		return nil, fmt.Errorf("claim of %.140s: %w", notification, err)
	}
	return r, nil
}

func (s *Store) claim(ctx context.Context, notification string) (*Run, error) {
	s.mu.Lock()
	busy := s.claiming[notification]
	s.claiming[notification] = true
	s.mu.Unlock()
	if busy {
		return nil, fmt.Errorf("%w: this node is about to claim it", recovery.ErrConflict)
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.claiming, notification)
	}()
	for {
		s.mu.Lock()
		sess, draining := s.session, s.draining
		s.mu.Unlock()
		switch {
		case sess == nil || !sess.good():
			return nil, fmt.Errorf("%w: this node's lease does not hold", recovery.ErrUnavailable)
		case draining:
			return nil, fmt.Errorf("%w: this node takes no more runs", recovery.ErrConflict)
		case s.full(95):
			return nil, fmt.Errorf("%w: etcd's database is nearly full: what is left is kept for notifications", recovery.ErrUnavailable)
		}
		var q queued
		var p place
		var lock holder
		if err := s.view(ctx, func(x *index) error {
			var ok bool
			if q, ok = x.queue.get(notification); !ok {
				return recovery.ErrNotFound
			}
			p = s.place(q.QueueItem)
			lock = x.locks[p.lock]
			return nil
		}); err != nil {
			return nil, err
		}
		if lock.created != 0 {
			if !s.orphaned(lock, q.Run, sess) {
				return nil, fmt.Errorf("%w: node %s works there on run %s", recovery.ErrConflict, lock.Node, lock.Run)
			}
			if _, err := s.commit(ctx, (&txn{name: "claim.drop"}).
				when(clientv3.Compare(clientv3.CreateRevision(p.lock), "=", lock.created)).do(clientv3.OpDelete(p.lock))); err != nil {
				return nil, err
			}
			continue
		}
		r, again, err := s.tryClaim(ctx, sess, notification, q.key, p)
		if !again {
			return r, err
		}
	}
}

// orphaned reports whether a lock belongs to a claim of this session that
// nobody here knows of: the answer to it, or to its end, was lost.
func (s *Store) orphaned(lock holder, run string, sess *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return lock.Session == sess.name() && lock.Run == run && s.claims[run] == nil
}

// claimed is what a claim found in the store.
type claimed struct {
	item              recovery.QueueItem
	n                 recovery.Notification
	work              *work
	itemMod, nMod     int64
	workMod, holdMod  int64
	holder            string // notification that holds the host
	hostLocked, locks bool
	vmruns            *pb.RangeResponse
}

func (s *Store) tryClaim(ctx context.Context, sess *session, notification, itemKey string, p place) (r *Run, again bool, err error) {
	f, err := s.readClaim(ctx, notification, itemKey, p)
	if err != nil {
		return nil, false, err
	}
	q := f.item
	switch {
	case q.NotBefore.After(time.Now()):
		return nil, false, fmt.Errorf("%w: not due before %s", recovery.ErrConflict, q.NotBefore.Format(time.RFC3339))
	case f.locks:
		return nil, false, fmt.Errorf("%w: another run is at work there", recovery.ErrConflict)
	case f.work != nil && f.work.Run != q.Run:
		return nil, false, fmt.Errorf("%w: run %s began there and has not ended", recovery.ErrConflict, f.work.Run)
	case q.Type == recovery.VM && q.Run == "" && (f.hostLocked || f.holder != ""):
		return nil, false, fmt.Errorf("%w: host %s is being recovered", recovery.ErrConflict, q.Host)
	case len(f.vmruns.GetKvs()) > 0:
		if err := s.supersede(ctx, q, itemKey, f, p); err != nil {
			return nil, false, err
		}
		return nil, false, fmt.Errorf("%w: runs for VMs of host %s have not ended yet", recovery.ErrConflict, q.Host)
	}
	run, fresh, err := s.runOf(ctx, f)
	if err != nil {
		return nil, false, err
	}
	t := (&txn{name: "claim"}).when(absent(p.lock), unchanged(itemKey, f.itemMod), unchanged(s.key.notification(notification), f.nMod), unchanged(p.work, f.workMod))
	w := work{Run: run.ID, Notification: notification, Node: s.cfg.Node, Boot: s.boot, Session: sess.name(), Claims: 1}
	if fresh {
		q.Run, q.Override, q.NotBefore = run.ID, "", time.Time{}
		q.Deliveries++
		f.n.Status, f.n.Stamp.Updated = recovery.StatusRunning, now()
		f.n.Runs = append(slices.Clone(f.n.Runs), run.ID)
		if err := t.docs(doc{itemKey, q}, doc{s.key.notification(notification), f.n}); err != nil {
			return nil, false, err
		}
		if q.Type == recovery.VM {
			t.when(absent(p.hostLock), absent(p.hold)).do(put(s.key.vmrun(q.Host, run.ID), nil))
		}
	} else if f.work != nil {
		w.Claims = f.work.Claims + 1
	}
	if p.vmruns != "" {
		t.when(none(p.vmruns))
	}
	if f.holder == notification {
		t.when(unchanged(p.hold, f.holdMod)).do(clientv3.OpDelete(p.hold))
	}
	lock, err := encode(holder{Run: run.ID, Node: s.cfg.Node, Session: sess.name()})
	if err != nil {
		return nil, false, err
	}
	if err := t.docs(doc{p.work, w}, doc{s.key.run(run.ID), run}); err != nil {
		return nil, false, err
	}
	t.do(put(p.lock, lock, clientv3.WithLease(sess.id)))
	res, err := s.commit(ctx, t)
	if err != nil {
		if errors.Is(err, recovery.ErrLeaseLost) {
			err = fmt.Errorf("%w: this node's lease was lost", recovery.ErrUnavailable)
		}
		return nil, false, err
	}
	if !res.ok {
		return nil, true, nil
	}
	r = &Run{
		s: s, id: run.ID, session: sess, token: res.rev, place: p, itemKey: itemKey, item: q, fixed: run,
		claims: w.Claims, lost: make(chan struct{}), aborted: make(chan recovery.Abort, 1),
	}
	// A folder's lock proves that a former process is dead.
	if prev := f.work; !fresh && prev != nil && !prev.Released && (s.own == nil || prev.Boot == s.boot) {
		r.firstChange = time.Now().Add(s.cfg.TakeOverWait)
	}
	s.adopt(r)
	return r, false, nil
}

func (s *Store) readClaim(ctx context.Context, notification, itemKey string, p place) (f claimed, err error) {
	ops := []clientv3.Op{
		clientv3.OpGet(itemKey), clientv3.OpGet(s.key.notification(notification)), clientv3.OpGet(p.lock, clientv3.WithKeysOnly()),
		clientv3.OpGet(p.work), clientv3.OpGet(p.hold),
	}
	if p.hostLock != "" {
		ops = append(ops, clientv3.OpGet(p.hostLock, clientv3.WithKeysOnly()))
	}
	if p.vmruns != "" {
		ops = append(ops, clientv3.OpGet(p.vmruns, clientv3.WithPrefix(), clientv3.WithKeysOnly()))
	}
	res, err := s.getAll(ctx, ops...)
	if err != nil {
		return f, err
	}
	var data []byte
	if data, _, f.itemMod = found(res[0]); data == nil {
		return f, recovery.ErrNotFound
	}
	if err := decode(data, &f.item); err != nil {
		return f, err
	}
	var created int64
	if data, created, f.nMod = found(res[1]); data == nil {
		return f, recovery.ErrNotFound
	}
	if f.n, err = decodeNotification(data, created); err != nil {
		return f, err
	}
	f.locks = len(res[2].GetKvs()) > 0
	if data, _, f.workMod = found(res[3]); data != nil {
		f.work = &work{}
		if err := decode(data, f.work); err != nil {
			return f, err
		}
	}
	data, _, f.holdMod = found(res[4])
	f.holder = string(data)
	if p.hostLock != "" {
		f.hostLocked = len(res[5].GetKvs()) > 0
	}
	if p.vmruns != "" {
		f.vmruns = res[5]
	}
	return f, nil
}

// runOf gives the run that was begun, or a new one.
func (s *Store) runOf(ctx context.Context, f claimed) (run recovery.Run, fresh bool, err error) {
	if f.item.Run != "" {
		resp, err := s.get(ctx, s.key.run(f.item.Run))
		if err != nil {
			return run, false, err
		}
		if len(resp.Kvs) == 0 {
			return run, false, fmt.Errorf("%w: run %s is not there", ErrDamaged, f.item.Run)
		}
		if err := decode(resp.Kvs[0].Value, &run); err != nil {
			return run, false, fmt.Errorf("run %s: %w", f.item.Run, err)
		}
		run.Node = s.cfg.Node
		return run, false, nil
	}
	return recovery.Run{
		ID: uuid.NewString(), Status: recovery.StatusNew, Started: now(), Override: f.item.Override,
		Notification: f.n.UUID, Delivery: f.item.Deliveries + 1, Host: f.item.Host, Server: f.item.Server, Segment: f.n.SegmentUUID, Node: s.cfg.Node,
	}, true, nil
}

// supersede keeps new VM runs off a host, and asks those that began to end; those
// on a host that is back are let be.
func (s *Store) supersede(ctx context.Context, q recovery.QueueItem, itemKey string, f claimed, p place) error {
	if f.holder == "" {
		res, err := s.commit(ctx, (&txn{name: "hold"}).when(unchanged(itemKey, f.itemMod), absent(p.hold)).do(put(p.hold, []byte(q.Notification))))
		if err != nil || !res.ok {
			return err
		}
	}
	if comesBack(f.n) {
		return nil
	}
	wish, err := encode(recovery.Abort{
		Mode: recovery.AbortStop, Reason: "host " + q.Host + " failed and is being recovered", By: "notification:" + q.Notification, Status: recovery.StatusIgnored,
	})
	if err != nil {
		return err
	}
	_, err = s.rangeAll(ctx, p.vmruns, 0, func(key string, _, _ int64, _ []byte) error {
		abort := s.key.aborts + parts(key, p.vmruns)[0]
		_, err := s.commit(ctx, (&txn{name: "supersede"}).when(present(key), absent(abort)).do(put(abort, wish)))
		return err
	})
	return err
}

// adopt makes a claim known, so that it hears of aborts and of the end of the
// lease.
func (s *Store) adopt(r *Run) {
	s.mu.Lock()
	if !r.session.alive() {
		s.mu.Unlock()
		r.lose()
		return
	}
	s.claims[r.id] = r
	s.mu.Unlock()
	// One that was asked for before is in the index, or comes in later.
	s.index.mu.RLock()
	a, ok := s.index.aborts[r.id]
	s.index.mu.RUnlock()
	if ok {
		r.tellAbort(a)
	}
}

// doc is a document and its key.
type doc struct {
	key string
	v   any
}

// docs adds to a transaction that documents are written.
func (t *txn) docs(docs ...doc) error {
	for _, d := range docs {
		data, err := encode(d.v)
		if err != nil {
			return err
		}
		t.do(put(d.key, data))
	}
	return nil
}

// EndNotification ends a notification that waits in the queue and needs no run.
// The error matches recovery.ErrNotFound when it is not in the queue, and
// recovery.ErrConflict when a run of it has not ended.
func (s *Store) EndNotification(ctx context.Context, notification string, status recovery.NotificationStatus, message string) error {
	if err := s.endNotification(ctx, notification, status, message); err != nil {
		return fmt.Errorf("notification %.140s: %w", notification, err)
	}
	return nil
}

func (s *Store) endNotification(ctx context.Context, notification string, status recovery.NotificationStatus, message string) error {
	if !status.Final() {
		return fmt.Errorf("%w: it cannot end %s", recovery.ErrInvalid, status)
	}
	for {
		var q queued
		if err := s.view(ctx, func(x *index) error {
			var ok bool
			if q, ok = x.queue.get(notification); !ok {
				return recovery.ErrNotFound
			}
			return nil
		}); err != nil {
			return err
		}
		f, err := s.readClaim(ctx, notification, q.key, s.place(q.QueueItem))
		if err != nil {
			return err
		}
		if f.item.Run != "" {
			return fmt.Errorf("%w: run %s has not ended", recovery.ErrConflict, f.item.Run)
		}
		f.n.Status, f.n.Message, f.n.Stamp.Updated = status, message, now()
		key := s.key.notification(notification)
		t := (&txn{name: "notification.end"}).when(unchanged(q.key, f.itemMod), unchanged(key, f.nMod)).do(clientv3.OpDelete(q.key))
		if err := t.docs(doc{key, f.n}); err != nil {
			return err
		}
		if f.holder == notification {
			t.when(unchanged(s.key.hold(f.item.Host), f.holdMod)).do(clientv3.OpDelete(s.key.hold(f.item.Host)))
		}
		res, err := s.commit(ctx, t)
		if err != nil || res.ok {
			return err
		}
	}
}

// Abort asks that a run ends. Whoever works on it hears of it; a wish that was
// told before is replaced. The error matches recovery.ErrNotFound, or
// recovery.ErrConflict when the run has ended.
func (s *Store) Abort(ctx context.Context, run string, a recovery.Abort) error {
	if err := s.abort(ctx, run, a); err != nil {
		return fmt.Errorf("abort of run %.140s: %w", run, err)
	}
	return nil
}

func (s *Store) abort(ctx context.Context, run string, a recovery.Abort) error {
	if a.Mode != recovery.AbortRevert && a.Mode != recovery.AbortStop {
		return fmt.Errorf("%w: mode %.40q: want revert or stop", recovery.ErrInvalid, a.Mode)
	}
	if !a.Status.Final() {
		a.Status = recovery.StatusFailed
	}
	data, err := encode(a)
	if err != nil {
		return err
	}
	for {
		resp, err := s.get(ctx, s.key.run(run))
		if err != nil {
			return err
		}
		if len(resp.Kvs) == 0 {
			return recovery.ErrNotFound
		}
		var r recovery.Run
		if err := decode(resp.Kvs[0].Value, &r); err != nil {
			return err
		}
		if r.Finished {
			return fmt.Errorf("%w: it has ended", recovery.ErrConflict)
		}
		res, err := s.commit(ctx, (&txn{name: "abort"}).when(unchanged(s.key.run(run), resp.Kvs[0].ModRevision)).do(put(s.key.abort(run), data)))
		if err != nil || res.ok {
			return err
		}
	}
}

// Retry queues a notification anew that is done with, or makes one due that
// waits for another run. Others like it may be reported again. With override
// the next run goes on beyond the guards' bounds. The error matches
// recovery.ErrNotFound when the notification or its host is gone, and
// recovery.ErrConflict while a run of it has not ended.
func (s *Store) Retry(ctx context.Context, notification, override string) error {
	if err := s.retry(ctx, notification, override); err != nil {
		return fmt.Errorf("retry of %.140s: %w", notification, err)
	}
	return nil
}

func (s *Store) retry(ctx context.Context, notification, override string) error {
	key := s.key.notification(notification)
	for {
		resp, err := s.get(ctx, key)
		if err != nil {
			return err
		}
		if len(resp.Kvs) == 0 {
			return recovery.ErrNotFound
		}
		n, err := decodeNotification(resp.Kvs[0].Value, resp.Kvs[0].CreateRevision)
		if err != nil {
			return err
		}
		dedup, err := s.dedupKey(n)
		if err != nil {
			return err
		}
		itemKey, host, segment := s.key.item(n), s.key.host(n.SegmentUUID, n.HostUUID), s.key.segment(n.SegmentUUID)
		res, err := s.getAll(ctx, clientv3.OpGet(itemKey), clientv3.OpGet(host, clientv3.WithKeysOnly()))
		if err != nil {
			return err
		}
		item := recovery.QueueItem{
			Notification: n.UUID, Type: n.Type, Host: n.HostName, Server: serverOf(n), Added: now(), Supersedes: supersedes(n),
		}
		data, _, itemMod := found(res[0])
		if data != nil {
			if err := decode(data, &item); err != nil {
				return err
			}
		}
		switch {
		case item.Run != "":
			return fmt.Errorf("%w: run %s has not ended", recovery.ErrConflict, item.Run)
		case len(res[1].GetKvs()) == 0:
			return fmt.Errorf("host %s: %w", n.HostName, recovery.ErrNotFound)
		}
		item.NotBefore, item.Override = time.Time{}, override
		n.Status, n.Message, n.Stamp.Updated = recovery.StatusNew, "", now()
		t := (&txn{name: "retry"}).
			when(unchanged(key, resp.Kvs[0].ModRevision), unchanged(itemKey, itemMod), present(host), present(segment)).
			do(clientv3.OpDelete(dedup))
		if err := t.docs(doc{key, n}, doc{itemKey, item}); err != nil {
			return err
		}
		done, err := s.commit(ctx, t)
		if err != nil || done.ok {
			return err
		}
	}
}

// full reports whether etcd's database is filled to so many percent of its
// quota, as of the last look.
func (s *Store) full(percent int64) bool {
	u := s.usage.Load()
	return u != nil && u.Quota > 0 && u.Size*100 >= u.Quota*percent
}
