package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/wasakari/wasakari/recovery"
)

// queued is an item of the queue and where it lies.
type queued struct {
	recovery.QueueItem
	key string
}

// holder is who has a lock.
type holder struct {
	Run     string `json:"run"`
	Node    string `json:"node"`
	Session string `json:"session"`
	created int64
}

// index holds in memory what lists are made of.
type index struct {
	key  keys
	mu   sync.RWMutex
	rev  int64         // all changes up to it are in
	news chan struct{} // closed and replaced when rev grows

	segments      *table[recovery.Segment]
	hosts         *table[recovery.Host]
	hostNames     map[string]string // name: uuid
	notifications *table[note]
	queue         *table[queued]
	runs          *table[brief]
	nodes         *table[nodeRecord]
	modules       *table[recovery.ModuleVersion]
	aborts        map[string]recovery.Abort      // by run
	locks         map[string]holder              // by key
	holds         map[string]string              // by host: notification
	vmruns        map[string]map[string]struct{} // by host: runs
	active        activeSet
	modulesRev    int64

	subs   map[*subscriber]struct{}
	subsMu sync.Mutex
	ended  bool
}

func newIndex(k keys) *index {
	x := &index{key: k, news: make(chan struct{}), subs: map[*subscriber]struct{}{}}
	x.empty()
	return x
}

func (x *index) empty() {
	x.segments, x.hosts, x.hostNames = newTable[recovery.Segment](), newTable[recovery.Host](), map[string]string{}
	x.notifications, x.queue = newTable[note](), newTable[queued]()
	x.runs, x.nodes, x.modules = newTable[brief](), newTable[nodeRecord](), newTable[recovery.ModuleVersion]()
	x.aborts, x.locks, x.holds = map[string]recovery.Abort{}, map[string]holder{}, map[string]string{}
	x.vmruns, x.active, x.modulesRev = map[string]map[string]struct{}{}, activeSet{}, 0
}

// held lists the prefixes of what the index holds; tasks and vmoves only pass
// through.
func (x *index) held() []string {
	k := x.key
	return []string{k.segments, k.hosts, k.notifications, k.queue, k.runs, k.nodes, k.modules, k.modulesRev, k.aborts, k.locks, k.holds, k.vmruns}
}

// set takes a key in. It returns the change that watchers hear of.
func (x *index) set(kv *mvccpb.KeyValue) (recovery.Change, error) {
	key, k := string(kv.Key), x.key
	c := recovery.Change{Revision: kv.ModRevision}
	var err error
	switch {
	case strings.HasPrefix(key, k.notifications):
		var n recovery.Notification
		if n, err = decodeNotification(kv.Value, kv.CreateRevision); err == nil {
			x.notifications.put(noteOf(n))
			c.Notification = &n
		}
	case strings.HasPrefix(key, k.tasks):
		var rec recovery.TaskRecord
		if err = decode(kv.Value, &rec); err == nil {
			c.Task, c.RunID = &rec, unesc(parts(key, k.tasks)[0])
		}
	case strings.HasPrefix(key, k.vmoves):
		var v recovery.VMove
		if v, err = decodeVMove(kv.Value, kv.CreateRevision); err == nil {
			c.VMove = &v
		}
	case strings.HasPrefix(key, k.runs):
		var r recovery.Run
		var number int64
		if r, number, err = decodeBrief(kv.Value, kv.CreateRevision); err == nil {
			if a, ok := x.aborts[r.ID]; ok && r.Abort == nil {
				r.Abort = &a
			}
			x.runs.put(briefOf(r, number))
			c.Run = &r
		}
	case strings.HasPrefix(key, k.queue):
		var q recovery.QueueItem
		if err = decode(kv.Value, &q); err == nil {
			x.queue.put(&row[queued]{name: q.Notification, id: id(kv.CreateRevision, 0), doc: queued{q, key}})
			c.Queue = true
		}
	case strings.HasPrefix(key, k.segments):
		var v recovery.Segment
		if v, err = decodeSegment(kv.Value, kv.CreateRevision); err == nil {
			x.segments.put(&row[recovery.Segment]{name: v.UUID, id: v.Stamp.ID, doc: v})
			c.Segment = &v
		}
	case strings.HasPrefix(key, k.hosts):
		var v recovery.Host
		if v, err = decodeHost(kv.Value, kv.CreateRevision); err == nil {
			x.dropHostName(v.UUID)
			x.hosts.put(&row[recovery.Host]{name: v.UUID, id: v.Stamp.ID, doc: v})
			x.hostNames[v.Name] = v.UUID
			c.Host = &v
		}
	case strings.HasPrefix(key, k.nodes):
		var v nodeRecord
		if err = decode(kv.Value, &v); err == nil {
			x.nodes.put(&row[nodeRecord]{name: v.Name, id: id(kv.CreateRevision, 0), doc: v})
			n := v.Node
			c.Node = &n
		}
	case strings.HasPrefix(key, k.locks):
		v := holder{created: kv.CreateRevision}
		if err = decode(kv.Value, &v); err == nil {
			x.locks[key] = v
		}
	case strings.HasPrefix(key, k.aborts):
		var a recovery.Abort
		if err = decode(kv.Value, &a); err == nil {
			run := unesc(parts(key, k.aborts)[0])
			x.aborts[run], c.RunID = a, run
			x.toAbort(run, a)
		}
	case strings.HasPrefix(key, k.holds):
		x.holds[unesc(parts(key, k.holds)[0])] = string(kv.Value)
	case strings.HasPrefix(key, k.vmruns):
		if p := parts(key, k.vmruns); len(p) == 2 {
			host := unesc(p[0])
			if x.vmruns[host] == nil {
				x.vmruns[host] = map[string]struct{}{}
			}
			x.vmruns[host][unesc(p[1])] = struct{}{}
		}
	case strings.HasPrefix(key, k.modules):
		var m recovery.ModuleVersion
		if err = decode(kv.Value, &m); err == nil {
			m.Active, m.Pinned = false, false
			x.modules.put(&row[recovery.ModuleVersion]{name: strings.TrimPrefix(key, k.modules), id: id(kv.CreateRevision, 0), doc: m})
			c.Modules = true
		}
	case key == k.modulesRev:
		var set activeSet
		if err = decode(kv.Value, &set); err == nil {
			x.active, x.modulesRev, c.Modules = set, kv.ModRevision, true
		}
	}
	return c, err
}

// toAbort enters that a run is to end.
func (x *index) toAbort(run string, a recovery.Abort) {
	if r := x.runs.rows[run]; r != nil {
		var more seldom // readers may have the former one
		if r.doc.more != nil {
			more = *r.doc.more
		}
		more.abort = &a
		r.doc.more = &more
	}
}

// unset takes a key out.
func (x *index) unset(key string, rev int64) recovery.Change {
	k := x.key
	c := recovery.Change{Revision: rev, Deleted: true}
	last := func(prefix string) string {
		p := parts(key, prefix)
		return unesc(p[len(p)-1])
	}
	switch {
	case strings.HasPrefix(key, k.notifications):
		c.Notification = &recovery.Notification{UUID: last(k.notifications)}
		x.notifications.drop(c.Notification.UUID)
	case strings.HasPrefix(key, k.vmoves):
		c.VMove = &recovery.VMove{UUID: last(k.vmoves), NotificationUUID: unesc(parts(key, k.vmoves)[0])}
	case strings.HasPrefix(key, k.runs):
		c.Run = &recovery.Run{ID: last(k.runs)}
		x.runs.drop(c.Run.ID)
	case strings.HasPrefix(key, k.queue):
		// An item that was put anew elsewhere stays.
		if q, ok := x.queue.get(last(k.queue)); ok && q.key == key {
			x.queue.drop(q.Notification)
		}
		c.Queue = true
	case strings.HasPrefix(key, k.segments):
		c.Segment = &recovery.Segment{UUID: last(k.segments)}
		x.segments.drop(c.Segment.UUID)
	case strings.HasPrefix(key, k.hosts):
		c.Host = &recovery.Host{UUID: last(k.hosts), SegmentUUID: unesc(parts(key, k.hosts)[0])}
		x.dropHostName(c.Host.UUID)
		x.hosts.drop(c.Host.UUID)
	case strings.HasPrefix(key, k.nodes):
		c.Node = &recovery.Node{Name: last(k.nodes)}
		x.nodes.drop(c.Node.Name)
	case strings.HasPrefix(key, k.locks):
		delete(x.locks, key)
		c.Queue = true
	case strings.HasPrefix(key, k.aborts):
		delete(x.aborts, last(k.aborts))
	case strings.HasPrefix(key, k.holds):
		delete(x.holds, last(k.holds))
		c.Queue = true
	case strings.HasPrefix(key, k.vmruns):
		if p := parts(key, k.vmruns); len(p) == 2 {
			host := unesc(p[0])
			delete(x.vmruns[host], unesc(p[1]))
			if len(x.vmruns[host]) == 0 {
				delete(x.vmruns, host)
			}
		}
		c.Queue = true
	case strings.HasPrefix(key, k.modules):
		x.modules.drop(strings.TrimPrefix(key, k.modules))
		c.Modules = true
	}
	return c
}

// dropHostName forgets the name of a host that is gone, or gets another.
func (x *index) dropHostName(uuid string) {
	if h, ok := x.hosts.get(uuid); ok && x.hostNames[h.Name] == uuid {
		delete(x.hostNames, h.Name)
	}
}

// told reports whether watchers hear of a change.
func told(c recovery.Change) bool {
	return c.Queue || c.Modules || c.RunID != "" || c.Notification != nil || c.Segment != nil || c.Host != nil || c.VMove != nil || c.Run != nil || c.Node != nil
}

// advance lets readers know how far the index is. The caller holds mu.
func (x *index) advance(rev int64) {
	if rev > x.rev {
		x.rev = rev
		close(x.news)
		x.news = make(chan struct{})
	}
}

// wait returns when all changes up to rev are in.
func (x *index) wait(ctx context.Context, rev int64, done <-chan struct{}) error {
	for {
		x.mu.RLock()
		have, news := x.rev, x.news
		x.mu.RUnlock()
		if have >= rev {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		case <-done:
			return fs.ErrClosed
		}
	}
}

// load fills the index anew and returns the revision that it shows.
func (s *Store) load(ctx context.Context) (int64, error) {
	for {
		rev, err := s.loadOnce(ctx)
		if !errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted) {
			return rev, err
		}
	}
}

func (s *Store) loadOnce(ctx context.Context) (int64, error) {
	fresh := newIndex(s.key)
	var rev int64
	var err error
	for _, prefix := range fresh.held() {
		switch prefix {
		case s.key.notifications:
			rev, err = fill(ctx, s, prefix, rev, fresh.notifications, func(kv *mvccpb.KeyValue) (*row[note], error) {
				n, err := decodeNotification(kv.Value, kv.CreateRevision)
				return noteOf(n), err
			})
		case s.key.runs:
			rev, err = fill(ctx, s, prefix, rev, fresh.runs, func(kv *mvccpb.KeyValue) (*row[brief], error) {
				r, number, err := decodeBrief(kv.Value, kv.CreateRevision)
				return briefOf(r, number), err
			})
		default:
			rev, err = s.rangeAll(ctx, prefix, rev, func(key string, created, mod int64, value []byte) error {
				kv := &mvccpb.KeyValue{Key: []byte(key), CreateRevision: created, ModRevision: mod, Value: value}
				if _, err := fresh.set(kv); err != nil {
					return fmt.Errorf("%s: %w", key, err)
				}
				return nil
			})
		}
		if err != nil {
			return 0, err
		}
	}
	x := s.index
	x.mu.Lock()
	defer x.mu.Unlock()
	x.segments, x.hosts, x.hostNames = fresh.segments, fresh.hosts, fresh.hostNames
	x.notifications, x.queue = fresh.notifications, fresh.queue
	x.runs, x.nodes, x.modules, x.aborts, x.locks = fresh.runs, fresh.nodes, fresh.modules, fresh.aborts, fresh.locks
	x.holds, x.vmruns, x.active, x.modulesRev = fresh.holds, fresh.vmruns, fresh.active, fresh.modulesRev
	for run, a := range x.aborts {
		x.toAbort(run, a)
	}
	x.advance(rev)
	return rev, nil
}

// fill reads all records below prefix into a table. There may be very many: pages
// are read ahead, and taken apart by as many goroutines as can run.
func fill[T any](ctx context.Context, s *Store, prefix string, rev int64, into *table[T], read func(*mvccpb.KeyValue) (*row[T], error)) (int64, error) {
	workers := runtime.GOMAXPROCS(0)
	pages := make(chan []*mvccpb.KeyValue, workers)
	parts := make([][]*row[T], workers)
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		defer close(pages)
		rev, err = s.rangePages(gctx, prefix, rev, func(kvs []*mvccpb.KeyValue) error {
			select {
			case pages <- kvs:
				return nil
			case <-gctx.Done():
				return gctx.Err()
			}
		})
		return err
	})
	for i := range parts {
		group.Go(func() error {
			for kvs := range pages {
				for _, kv := range kvs {
					r, err := read(kv)
					if err != nil {
						return fmt.Errorf("%s: %w", kv.Key, err)
					}
					parts[i] = append(parts[i], r)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	into.fill(slices.Concat(parts...))
	return rev, nil
}

// follow keeps the index up to date until ctx ends.
func (s *Store) follow(ctx context.Context, rev int64) {
	for pause := firstPause; ctx.Err() == nil; {
		last, err := s.stream(ctx, rev)
		if ctx.Err() != nil {
			return
		}
		if last > rev {
			pause = firstPause
		}
		rev = last
		s.log.Warn("watch broke off", zap.Error(err), zap.Int64("revision", rev))
		if !rest(ctx, pause) {
			return
		}
		pause = min(2*pause, lastPause)
		if errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted) || errors.Is(err, errReload) {
			if fresh, err := s.load(ctx); err == nil {
				rev = fresh
				s.index.tell([]recovery.Change{{Revision: rev, Lost: true}})
				s.abortsHeard()
			} else {
				s.log.Warn("index not read anew", zap.Error(err))
			}
		}
	}
}

// errReload says that the watch cannot be gone on with where it broke off.
var errReload = errors.New("watch ended without a reason")

// stream follows the changes after rev, until the watch breaks off. It returns
// the last revision that is in.
func (s *Store) stream(ctx context.Context, rev int64) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.own == nil {
		ctx = clientv3.WithRequireLeader(ctx)
	}
	changes := s.etcd.Watch(ctx, s.key.watched, clientv3.WithPrefix(), clientv3.WithRev(rev+1), clientv3.WithProgressNotify())
	for resp := range changes {
		if err := resp.Err(); err != nil {
			return rev, err
		}
		rev = s.apply(resp)
	}
	return rev, errReload
}

// apply takes the changes of one answer in; an answer holds all changes of each
// of its revisions.
func (s *Store) apply(resp clientv3.WatchResponse) int64 {
	x := s.index
	var told []recovery.Change
	var damaged []error
	x.mu.Lock()
	aborted := false
	for _, e := range resp.Events {
		var c recovery.Change
		if e.Type == clientv3.EventTypeDelete {
			c = x.unset(string(e.Kv.Key), e.Kv.ModRevision)
		} else {
			var err error
			if c, err = x.set(e.Kv); err != nil {
				damaged = append(damaged, fmt.Errorf("%s: %w", e.Kv.Key, err))
				continue
			}
			aborted = aborted || strings.HasPrefix(string(e.Kv.Key), x.key.aborts)
		}
		told = append(told, c)
	}
	// The header may tell of changes that come with a later answer.
	rev := resp.Header.Revision
	if n := len(resp.Events); n > 0 {
		rev = resp.Events[n-1].Kv.ModRevision
	}
	rev = max(x.rev, rev)
	x.advance(rev)
	x.mu.Unlock()
	for _, err := range damaged {
		s.log.Error("record not understood", zap.Error(err))
	}
	if aborted {
		s.abortsHeard()
	}
	x.tell(told)
	return rev
}

// barrier returns when the index shows all that was written before it was
// called, by whatever node.
func (s *Store) barrier(ctx context.Context) error {
	resp, err := s.get(ctx, s.key.seq)
	if err != nil {
		return err
	}
	if len(resp.Kvs) == 0 {
		return nil
	}
	bound, cancel := context.WithTimeout(ctx, readBound)
	defer cancel()
	err = s.index.wait(bound, resp.Kvs[0].ModRevision, s.done)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("%w: changes do not come in", recovery.ErrUnavailable)
	}
	return err
}

// view reads the index when it shows all that was written before.
func (s *Store) view(ctx context.Context, do func(*index) error) error {
	if err := s.barrier(ctx); err != nil {
		return err
	}
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return do(s.index)
}
