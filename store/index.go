package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

// table holds the records of one kind in the order of their ids.
type table[T any] struct {
	rows  map[string]*row[T] // by the record's own id
	order []*row[T]          // by id; rows that are gone are left in for a while
	gone  int
}

type row[T any] struct {
	name string
	id   int64
	dead bool
	doc  T
}

func newTable[T any]() *table[T] { return &table[T]{rows: map[string]*row[T]{}} }

func (t *table[T]) put(name string, id int64, doc T) {
	if r := t.rows[name]; r != nil {
		if r.id == id {
			r.doc = doc
			return
		}
		t.drop(name)
	}
	r := &row[T]{name: name, id: id, doc: doc}
	t.rows[name] = r
	at := len(t.order)
	if at > 0 && t.order[at-1].id > id {
		at, _ = slices.BinarySearchFunc(t.order, id, func(r *row[T], id int64) int { return int(max(-1, min(1, r.id-id))) })
	}
	t.order = slices.Insert(t.order, at, r)
}

func (t *table[T]) drop(name string) {
	r := t.rows[name]
	if r == nil {
		return
	}
	delete(t.rows, name)
	var zero T
	r.dead, r.doc = true, zero
	if t.gone++; t.gone > 64 && t.gone > len(t.order)/2 {
		t.order, t.gone = slices.DeleteFunc(t.order, func(r *row[T]) bool { return r.dead }), 0
	}
}

func (t *table[T]) get(name string) (doc T, ok bool) {
	if r := t.rows[name]; r != nil {
		return r.doc, true
	}
	return doc, false
}

func (t *table[T]) list(keep func(*T) bool) []T {
	var out []T
	if keep == nil {
		out = make([]T, 0, len(t.rows))
	}
	for _, r := range t.order {
		if !r.dead && (keep == nil || keep(&r.doc)) {
			out = append(out, r.doc)
		}
	}
	return out
}

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
	notifications *table[recovery.Notification]
	queue         *table[queued]
	runs          *table[recovery.Run]
	nodes         *table[nodeRecord]
	modules       *table[recovery.ModuleVersion]
	aborts        map[string]recovery.Abort      // by run
	locks         map[string]holder              // by key
	holds         map[string]string              // by host: notification
	vmruns        map[string]map[string]struct{} // by host: runs
	active        activeSet
	texts         map[string]string // see one
	modulesRev    int64

	subs   map[*subscriber]struct{}
	subsMu sync.Mutex
	ended  bool
}

func newIndex(k keys) *index {
	x := &index{key: k, texts: map[string]string{}, news: make(chan struct{}), subs: map[*subscriber]struct{}{}}
	x.empty()
	return x
}

func (x *index) empty() {
	x.segments, x.hosts, x.hostNames = newTable[recovery.Segment](), newTable[recovery.Host](), map[string]string{}
	x.notifications, x.queue = newTable[recovery.Notification](), newTable[queued]()
	x.runs, x.nodes, x.modules = newTable[recovery.Run](), newTable[nodeRecord](), newTable[recovery.ModuleVersion]()
	x.aborts, x.locks, x.holds = map[string]recovery.Abort{}, map[string]holder{}, map[string]string{}
	x.vmruns, x.active, x.modulesRev = map[string]map[string]struct{}{}, activeSet{}, 0
}

// held lists the prefixes of what the index holds; tasks and vmoves only pass
// through.
func (x *index) held() []string {
	k := x.key
	return []string{k.segments, k.hosts, k.notifications, k.queue, k.runs, k.nodes, k.modules, k.modulesRev, k.aborts, k.locks, k.holds, k.vmruns}
}

// one makes equal strings share their memory: many records have the same hosts,
// segments and messages.
func (x *index) one(s string) string {
	const most = 8 << 10
	if known, ok := x.texts[s]; ok {
		return known
	}
	if len(x.texts) >= most {
		clear(x.texts)
	}
	x.texts[s] = s
	return s
}

// brief is a run as the index keeps it.
func (x *index) brief(r recovery.Run) recovery.Run {
	const text = 4 << 10
	r.Inputs, r.Plans, r.Modules, r.Command = nil, nil, nil, nil
	r.Host, r.Segment, r.Node, r.Status = x.one(r.Host), x.one(r.Segment), x.one(r.Node), recovery.NotificationStatus(x.one(string(r.Status)))
	if len(r.Message) > text {
		r.Message = strings.ToValidUTF8(r.Message[:text], "") + "…"
	}
	return r
}

// lean is a notification that shares what many have.
func (x *index) lean(n recovery.Notification) recovery.Notification {
	n.Type, n.Status = recovery.NotificationType(x.one(string(n.Type))), recovery.NotificationStatus(x.one(string(n.Status)))
	n.HostUUID, n.HostName, n.SegmentUUID, n.Message = x.one(n.HostUUID), x.one(n.HostName), x.one(n.SegmentUUID), x.one(n.Message)
	return n
}

// set takes a key in. It returns the change that watchers hear of.
func (x *index) set(kv *mvccpb.KeyValue) (recovery.Change, error) {
	key, k := string(kv.Key), x.key
	c := recovery.Change{Revision: kv.ModRevision}
	var err error
	switch {
	case strings.HasPrefix(key, k.notifications):
		n, err := decodeNotification(kv.Value, kv.CreateRevision)
		if err != nil {
			return c, err
		}
		n = x.lean(n)
		x.notifications.put(n.UUID, n.Stamp.ID, n)
		c.Notification = &n
	case strings.HasPrefix(key, k.tasks):
		var rec recovery.TaskRecord
		if err = decode(kv.Value, &rec); err == nil {
			c.Task, c.RunID = &rec, unesc(parts(key, k.tasks)[0])
		}
	case strings.HasPrefix(key, k.vmoves):
		var v recovery.VMove
		if err = decode(kv.Value, &v); err == nil {
			v.Stamp.ID = id(kv.CreateRevision)
			c.VMove = &v
		}
	case strings.HasPrefix(key, k.runs):
		var r recovery.Run
		if err = decode(kv.Value, &r); err == nil {
			r = x.brief(r)
			if a, ok := x.aborts[r.ID]; ok && r.Abort == nil {
				r.Abort = &a
			}
			x.runs.put(r.ID, id(kv.CreateRevision), r)
			c.Run = &r
		}
	case strings.HasPrefix(key, k.queue):
		var q recovery.QueueItem
		if err = decode(kv.Value, &q); err == nil {
			x.queue.put(q.Notification, id(kv.CreateRevision), queued{q, key})
			c.Queue = true
		}
	case strings.HasPrefix(key, k.segments):
		var v recovery.Segment
		if v, err = decodeSegment(kv.Value, kv.CreateRevision); err == nil {
			x.segments.put(v.UUID, v.Stamp.ID, v)
			c.Segment = &v
		}
	case strings.HasPrefix(key, k.hosts):
		var v recovery.Host
		if v, err = decodeHost(kv.Value, kv.CreateRevision); err == nil {
			x.dropHostName(v.UUID)
			x.hosts.put(v.UUID, v.Stamp.ID, v)
			x.hostNames[v.Name] = v.UUID
			c.Host = &v
		}
	case strings.HasPrefix(key, k.nodes):
		var v nodeRecord
		if err = decode(kv.Value, &v); err == nil {
			x.nodes.put(v.Name, id(kv.CreateRevision), v)
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
			if r := x.runs.rows[run]; r != nil {
				r.doc.Abort = &a
			}
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
			x.modules.put(strings.TrimPrefix(key, k.modules), id(kv.CreateRevision), m)
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
	for _, prefix := range fresh.held() {
		var err error
		rev, err = s.rangeAll(ctx, prefix, rev, func(key string, created, mod int64, value []byte) error {
			kv := &mvccpb.KeyValue{Key: []byte(key), CreateRevision: created, ModRevision: mod, Value: value}
			if _, err := fresh.set(kv); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			return nil
		})
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
		if r := x.runs.rows[run]; r != nil {
			r.doc.Abort = &a
		}
	}
	x.advance(rev)
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
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
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
