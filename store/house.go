package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

const (
	// alarmFrom is how full, in percent, the database is when the operator is
	// told; from reserveFrom on what could wait is refused, from the reserve of a
	// claim on new runs too.
	alarmFrom   = 70
	reserveFrom = 85
	// compactEvery is the least time between two compactions that a full database
	// asks for.
	compactEvery = 5 * time.Minute
	// slotKept is how long the last transaction of a process that is gone is kept,
	// at most: no longer than what is done with, but longer than one may be on its
	// way.
	slotKept  = 24 * time.Hour
	slotLeast = 2 * writeBound
)

var errFull = fmt.Errorf("%w: etcd's database is nearly full: what is left is kept for notifications", recovery.ErrQuota)

// Usage is how full etcd's database is, in bytes: of the member that has most.
type Usage struct {
	Size  int64 `json:"size"`   // of its file
	InUse int64 `json:"in_use"` // of what is in it
	Quota int64 `json:"quota"`  // 0: not known
}

// Usage looks how full etcd's database is.
func (s *Store) Usage(ctx context.Context) (Usage, error) {
	var out Usage
	var last error
	reached := false
	endpoints := s.cfg.Endpoints
	if s.own != nil {
		endpoints = []string{""}
	}
	for _, endpoint := range endpoints {
		try, cancel := context.WithTimeout(ctx, tryBound)
		st, err := s.etcd.Status(try, endpoint)
		cancel()
		if err != nil {
			last = translate(err)
			continue
		}
		reached = true
		if st.DbSize > out.Size {
			out = Usage{Size: st.DbSize, InUse: st.DbSizeInUse, Quota: st.DbSizeQuota}
		}
	}
	if !reached {
		return out, fmt.Errorf("usage: %w", last)
	}
	s.usage.Store(&out)
	return out, nil
}

// keepHouse removes what is past its time, and looks how full the database is.
func (s *Store) keepHouse(ctx context.Context) {
	var alarmed bool
	var compacted time.Time
	var history []moment
	for {
		u, err := s.Usage(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("usage of the store not known", zap.Error(err))
		}
		if full := s.full(alarmFrom); full != alarmed && err == nil {
			alarmed = full
			fields := []zap.Field{zap.Int64("size", u.Size), zap.Int64("in_use", u.InUse), zap.Int64("quota", u.Quota)}
			if full {
				s.log.Error("store is filling up", fields...)
			} else {
				s.log.Info("store has room again", fields...)
			}
		}
		if alarmed && time.Since(compacted) > compactEvery {
			compacted = time.Now()
			if err := s.compact(ctx, s.own != nil); err != nil && ctx.Err() == nil {
				s.log.Warn("store not compacted", zap.Error(err))
			}
		}
		if !rest(ctx, s.cfg.HouseEvery) {
			return
		}
		if !s.first(ctx) {
			history = nil
			continue
		}
		history = s.forget(ctx, history)
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("store not swept", zap.Error(err))
		}
	}
}

// moment is what revision a cluster had when.
type moment struct {
	at  time.Time
	rev int64
}

// forget drops the history of a cluster that is older than historyKept, as the
// embedded etcd does by itself: it grows with every change.
func (s *Store) forget(ctx context.Context, known []moment) []moment {
	if s.own != nil {
		return nil
	}
	resp, err := s.get(ctx, s.key.format)
	if err != nil {
		return known
	}
	known = append(known, moment{time.Now(), resp.Header.Revision})
	for len(known) > 0 && time.Since(known[0].at) >= historyKept {
		if _, err := s.etcd.Compact(ctx, known[0].rev); err != nil && !compactedAlready(err) && ctx.Err() == nil {
			s.log.Warn("history not dropped", zap.Error(err))
		}
		known = known[1:]
	}
	return known
}

// first reports whether this node's name comes first: one node sweeps.
func (s *Store) first(ctx context.Context) bool {
	nodes, err := s.Nodes(ctx)
	return err == nil && len(nodes) > 0 && nodes[0].Name == s.cfg.Node
}

// Sweep removes what is past its retention: runs that ended, by age and by
// number, notifications that are done with, and what was left by what broke off.
// What is not done with stays, however old.
func (s *Store) Sweep(ctx context.Context) error {
	before := now().Add(-s.cfg.Retention)
	type endedRun struct {
		id    string
		ended time.Time
	}
	var runs []endedRun
	var notifications []recovery.Notification
	err := s.view(ctx, func(x *index) error {
		// One that ended with something left to undo is still its item's.
		held := map[string]bool{}
		for _, q := range x.queue.rows {
			held[q.doc.Run] = true
		}
		for _, r := range x.runs.order {
			if !r.dead && r.doc.finished && !held[r.name] {
				runs = append(runs, endedRun{r.name, r.doc.ended})
			}
		}
		for _, r := range x.notifications.order {
			if r.dead {
				continue
			}
			if n := notification(r); n.Status.Final() && lastTouched(n).Before(before) {
				notifications = append(notifications, n)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	slices.SortStableFunc(runs, func(a, b endedRun) int { return a.ended.Compare(b.ended) })
	for i, r := range runs {
		if i < len(runs)-s.cfg.RetentionRuns || r.ended.Before(before) {
			if err := s.dropRun(ctx, r.id); err != nil {
				return fmt.Errorf("sweep: run %s: %w", r.id, err)
			}
		}
	}
	for _, n := range notifications {
		if err := s.dropNotification(ctx, n); err != nil {
			return fmt.Errorf("sweep: notification %s: %w", n.UUID, err)
		}
	}
	if err := errors.Join(s.sweepNames(ctx), s.sweepUploads(ctx), s.sweepKept(ctx), s.sweepSlots(ctx)); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	return nil
}

func lastTouched(n recovery.Notification) time.Time {
	if n.Stamp.Updated.After(n.Stamp.Created) {
		return n.Stamp.Updated
	}
	return n.Stamp.Created
}

// dropRun removes a run that ended, and all that belongs to it.
func (s *Store) dropRun(ctx context.Context, run string) error {
	key := s.key.run(run)
	resp, err := s.get(ctx, key)
	if err != nil || len(resp.Kvs) == 0 {
		return err
	}
	var r recovery.Run
	if err := decode(resp.Kvs[0].Value, &r); err != nil {
		return err
	}
	if !r.Finished {
		return nil
	}
	_, err = s.commit(ctx, (&txn{name: "sweep.run"}).when(unchanged(key, resp.Kvs[0].ModRevision)).
		do(clientv3.OpDelete(key), clientv3.OpDelete(s.key.abort(run)),
			clientv3.OpDelete(s.key.tasksOf(run), clientv3.WithPrefix()), clientv3.OpDelete(s.key.runData(run), clientv3.WithPrefix())))
	return err
}

// dropNotification removes a notification that is done with, its vmoves, and
// what is remembered of it. Its runs that ended go before it.
func (s *Store) dropNotification(ctx context.Context, n recovery.Notification) error {
	for _, run := range n.Runs {
		if err := s.dropRun(ctx, run); err != nil {
			return err
		}
	}
	dedup, err := s.dedupKey(n)
	if err != nil {
		return err
	}
	key := s.key.notification(n.UUID)
	res, err := s.getAll(ctx, clientv3.OpGet(key), clientv3.OpGet(dedup), clientv3.OpGet(s.key.item(n), clientv3.WithKeysOnly()))
	if err != nil {
		return err
	}
	data, created, mod := found(res[0])
	if data == nil || len(res[2].GetKvs()) > 0 {
		return nil
	}
	if now, err := decodeNotification(data, created); err != nil || !now.Status.Final() {
		return err
	}
	t := (&txn{name: "sweep.notification"}).when(unchanged(key, mod)).
		do(clientv3.OpDelete(key), clientv3.OpDelete(s.key.vmovesOf(n.UUID), clientv3.WithPrefix()))
	if mark, _, mod := found(res[1]); mark != nil {
		var r reported
		if err := decode(mark, &r); err != nil {
			return err
		}
		if r.Notification == n.UUID {
			t.when(unchanged(dedup, mod)).do(clientv3.OpDelete(dedup))
		}
	}
	_, err = s.commit(ctx, t) // one that changed meanwhile comes next time
	return err
}

// sweepNames removes names of hosts that went with their segment.
func (s *Store) sweepNames(ctx context.Context) error {
	_, err := s.rangeAll(ctx, s.key.data+"hostname/", 0, func(name string, _, mod int64, value []byte) error {
		holder := s.key.hosts + string(value)
		resp, err := s.get(ctx, holder, clientv3.WithKeysOnly())
		if err != nil || len(resp.Kvs) > 0 {
			return err
		}
		_, err = s.commit(ctx, (&txn{name: "sweep.name"}).when(unchanged(name, mod), absent(holder)).do(clientv3.OpDelete(name)))
		return err
	})
	return err
}

// sweepUploads removes the bytes of uploads that broke off.
func (s *Store) sweepUploads(ctx context.Context) error {
	_, err := s.rangeAll(ctx, s.key.uploads, 0, func(key string, _, _ int64, value []byte) error {
		var at changedAt
		if err := decode(value, &at); err != nil {
			return err
		}
		if age := time.Since(at.Time); age < min(uploadKept, s.cfg.Retention) {
			return nil
		}
		return s.dropUpload(ctx, parts(key, s.key.uploads)[0], key)
	})
	return err
}

// sweepSlots removes what processes that are gone left for telling whether
// their transactions were made.
func (s *Store) sweepSlots(ctx context.Context) error {
	t := &txn{name: "sweep.slots"}
	kept := max(slotLeast, min(slotKept, s.cfg.Retention))
	_, err := s.rangeAll(ctx, s.key.tx, 0, func(key string, _, mod int64, value []byte) error {
		at, _, _ := strings.Cut(string(value), " ")
		old := fmt.Sprint(time.Now().Add(-kept).Unix())
		if strings.HasPrefix(key, s.key.slots(s.cfg.Node, s.boot)) || len(t.ops) >= maxOps-10 || cmp.Compare(len(at), len(old)) > 0 || len(at) == len(old) && at > old {
			return nil
		}
		t.when(unchanged(key, mod)).do(clientv3.OpDelete(key))
		return nil
	})
	if err != nil || len(t.ops) == 0 {
		return err
	}
	_, err = s.commit(ctx, t)
	return err
}

// Compact drops the history of all keys, and gives the room that it took back to
// the file system. The members of a cluster do so one after the other; each
// answers nobody meanwhile.
func (s *Store) Compact(ctx context.Context) error {
	if err := s.compact(ctx, true); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	return nil
}

func (s *Store) compact(ctx context.Context, defragment bool) error {
	resp, err := s.get(ctx, s.key.format)
	if err != nil {
		return err
	}
	s.step("compact")
	if _, err := s.etcd.Compact(ctx, resp.Header.Revision, clientv3.WithCompactPhysical()); err != nil && !compactedAlready(err) {
		return translate(err)
	}
	if defragment {
		s.step("compact.defragment")
		if s.own != nil {
			// The in-process client has no way to it.
			err = s.own.etcd.Server.Backend().Defrag()
		}
		for _, endpoint := range s.cfg.Endpoints {
			if s.own == nil && err == nil {
				_, err = s.etcd.Defragment(ctx, endpoint)
			}
		}
		if err != nil {
			return translate(err)
		}
	}
	u, err := s.Usage(ctx)
	if err != nil || u.Quota > 0 && u.Size*100 >= u.Quota*alarmFrom {
		return err
	}
	alarms, err := s.etcd.AlarmList(ctx)
	if err != nil {
		return translate(err)
	}
	for _, a := range alarms.Alarms {
		if a.Alarm == pb.AlarmType_NOSPACE {
			if _, err := s.etcd.AlarmDisarm(ctx, (*clientv3.AlarmMember)(a)); err != nil {
				return translate(err)
			}
		}
	}
	return nil
}
