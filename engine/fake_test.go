package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/engine"
	"github.com/wasakari/wasakari/recovery"
)

// cluster is the store that all nodes of a test share, in memory.
type cluster struct {
	t  *testing.T
	mu sync.Mutex

	notes    map[string]*recovery.Notification
	items    []*recovery.QueueItem
	segments []recovery.Segment
	hosts    []recovery.Host
	runs     map[string]*runState
	order    []string // of runs, as they were begun
	locks    map[string]*fakeRun
	reserved map[string]string // host → run
	nodes    map[string]*node
	holds    map[string]bool // hosts that wait for the runs of their servers to end
	watchers []chan recovery.Change
	news     recovery.Change // what watchers are told
	closed   int             // claims that were closed
	away     error           // of every call
	serial   int
	// step is called before each write of a run, with its name; an error is a
	// process that died.
	step func(node, name string) error
}

type runState struct {
	rec    recovery.Run
	tasks  map[int]recovery.TaskRecord
	values map[string]json.RawMessage
	undos  []recovery.Undo
	open   []recovery.Intent
}

func newCluster(t *testing.T) *cluster {
	return &cluster{
		t: t, notes: map[string]*recovery.Notification{}, runs: map[string]*runState{}, locks: map[string]*fakeRun{},
		reserved: map[string]string{}, nodes: map[string]*node{}, holds: map[string]bool{}, news: recovery.Change{Queue: true},
		segments: []recovery.Segment{{UUID: "seg", Name: "s1", RecoveryMethod: recovery.Auto, Enabled: true, Stamp: recovery.Stamp{ID: 7}}},
		hosts: []recovery.Host{
			{UUID: "uuid-h1", Name: "h1", SegmentUUID: "seg"},
			{UUID: "uuid-h2", Name: "h2", SegmentUUID: "seg"},
			{UUID: "uuid-r1", Name: "r1", SegmentUUID: "seg", Reserved: true},
			{UUID: "uuid-r2", Name: "r2", SegmentUUID: "seg", Reserved: true},
			{UUID: "uuid-r3", Name: "r3", SegmentUUID: "seg", Reserved: true, OnMaintenance: true},
		},
	}
}

func (c *cluster) wake() {
	for _, w := range c.watchers {
		select {
		case w <- c.news:
		default:
		}
	}
}

// accept queues a notification, as the API does.
func (c *cluster) accept(uuid string, kind recovery.NotificationType, host string, payload map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	raw, err := json.Marshal(payload)
	if err != nil {
		c.t.Fatal(err)
	}
	n := &recovery.Notification{
		UUID: uuid, Type: kind, HostName: host, HostUUID: "uuid-" + host, SegmentUUID: "seg", Payload: raw, Status: recovery.StatusNew,
		Generated: time.Date(2026, 11, 23, 10, 0, 0, 5, time.FixedZone("", 3600)), Stamp: recovery.Stamp{Created: time.Now()},
	}
	c.notes[uuid] = n
	c.items = append(c.items, &recovery.QueueItem{
		Notification: uuid, Type: kind, Host: host, Server: n.ServerUUID(), Added: time.Now(), Supersedes: kind == recovery.ComputeHost,
	})
	c.wake()
}

func (c *cluster) hostDown(uuid, host string) {
	c.accept(uuid, recovery.ComputeHost, host, map[string]string{"event": "STOPPED", "host_status": "NORMAL", "cluster_status": "OFFLINE"})
}

func (c *cluster) vmDown(uuid, host, server string) {
	c.accept(uuid, recovery.VM, host, map[string]string{"event": "LIFECYCLE", "vir_domain_event": "STOPPED_FAILED", "instance_uuid": server})
}

// note gives a notification as it stands.
func (c *cluster) note(uuid string) recovery.Notification {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.notes[uuid]
}

// outcome gives status and message of a notification.
func (c *cluster) outcome(uuid string) string {
	n := c.note(uuid)
	return string(n.Status) + ": " + n.Message
}

func (c *cluster) host(name string) recovery.Host {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hosts[slices.IndexFunc(c.hosts, func(h recovery.Host) bool { return h.Name == name })]
}

// run gives a run by the order in which they were begun, from 0.
func (c *cluster) run(i int) runState {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i >= len(c.order) {
		c.t.Fatalf("there are %d runs, want more than %d", len(c.order), i)
	}
	return *c.runs[c.order[i]]
}

func (c *cluster) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.order)
}

func (c *cluster) do(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	c.wake()
}

// left reports what must not be left when all is done.
func (c *cluster) left() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.items)+len(c.locks)+len(c.reserved) == 0 {
		return ""
	}
	return fmt.Sprintf("%d items, %d locks, reserved %v", len(c.items), len(c.locks), c.reserved)
}

// node is one process's view of the cluster. It serves engine.Store.
type node struct {
	*cluster
	name     string
	dead     bool
	draining bool
}

func (c *cluster) node(name string) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := &node{cluster: c, name: name}
	c.nodes[name] = n
	return n
}

// kill ends a process: nothing that it still does arrives.
func (n *node) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.die()
	n.wake()
}

func (n *node) die() {
	if n.dead {
		return
	}
	n.dead = true
	delete(n.nodes, n.name)
	for _, r := range n.locks {
		if r.node == n {
			r.drop()
			close(r.lost)
		}
	}
}

func (n *node) check(ctx context.Context) error {
	switch {
	case n.dead:
		return fmt.Errorf("node %s is dead: %w", n.name, recovery.ErrLeaseLost)
	case n.away != nil:
		return n.away
	}
	return ctx.Err()
}

func (n *node) Watch(ctx context.Context) <-chan recovery.Change {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := make(chan recovery.Change, 1)
	n.watchers = append(n.watchers, w)
	go func() {
		<-ctx.Done()
		n.mu.Lock()
		defer n.mu.Unlock()
		n.watchers = slices.DeleteFunc(n.watchers, func(x chan recovery.Change) bool { return x == w })
		close(w)
	}()
	return w
}

func (n *node) Queue(ctx context.Context) ([]recovery.QueueItem, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.check(ctx); err != nil {
		return nil, err
	}
	var out []recovery.QueueItem
	for _, it := range n.items {
		out = append(out, *it)
	}
	return out, nil
}

func (n *node) Nodes(ctx context.Context) ([]recovery.Node, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.check(ctx); err != nil {
		return nil, err
	}
	runs := map[string][]string{}
	for _, r := range n.locks {
		runs[r.node.name] = append(runs[r.node.name], r.id)
	}
	var out []recovery.Node
	for name := range n.nodes {
		out = append(out, recovery.Node{Name: name, Runs: runs[name]})
	}
	return out, nil
}

func (n *node) Notification(ctx context.Context, uuid string) (recovery.Notification, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.check(ctx); err != nil {
		return recovery.Notification{}, err
	}
	if note := n.notes[uuid]; note != nil {
		return *note, nil
	}
	return recovery.Notification{}, recovery.ErrNotFound
}

func (n *node) Segment(ctx context.Context, uuid string) (recovery.Segment, error) {
	list, err := n.Segments(ctx)
	for _, s := range list {
		if s.UUID == uuid {
			return s, nil
		}
	}
	return recovery.Segment{}, errors.Join(err, fmt.Errorf("segment %s: %w", uuid, recovery.ErrNotFound))
}

func (n *node) Segments(ctx context.Context) ([]recovery.Segment, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.segments), n.check(ctx)
}

func (n *node) Hosts(ctx context.Context) ([]recovery.Host, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.hosts), n.check(ctx)
}

func (n *node) SetDraining(_ context.Context, draining bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.draining = draining
	return nil
}

func (n *node) item(notification string) *recovery.QueueItem {
	i := slices.IndexFunc(n.items, func(it *recovery.QueueItem) bool { return it.Notification == notification })
	if i < 0 {
		return nil
	}
	return n.items[i]
}

func (n *node) Claim(ctx context.Context, notification string) (engine.Run, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.check(ctx); err != nil {
		return nil, err
	}
	it := n.item(notification)
	if it == nil {
		return nil, recovery.ErrNotFound
	}
	lock := "host/" + it.Host
	if it.Type == recovery.VM {
		lock = "server/" + it.Server
		if it.Run == "" && (n.locks["host/"+it.Host] != nil || n.holds[it.Host]) {
			return nil, fmt.Errorf("host %s: %w", it.Host, recovery.ErrConflict)
		}
	}
	if l := n.locks[lock]; l != nil && l.node == n && l.id == it.Run && !l.known {
		delete(n.locks, lock)
	}
	if n.locks[lock] != nil || it.NotBefore.After(time.Now()) || n.draining {
		return nil, fmt.Errorf("%s: %w", lock, recovery.ErrConflict)
	}
	if it.Type == recovery.ComputeHost {
		for _, x := range n.items {
			if x.Type == recovery.VM && x.Host == it.Host && x.Run != "" {
				n.holds[it.Host] = true
				n.abort(x.Run, recovery.Abort{Mode: recovery.AbortStop, Reason: "host " + it.Host + " is recovered", By: "notification:" + notification, Status: recovery.StatusIgnored})
			}
		}
		if n.holds[it.Host] && slices.ContainsFunc(n.items, func(x *recovery.QueueItem) bool {
			return x.Type == recovery.VM && x.Host == it.Host && x.Run != ""
		}) {
			return nil, fmt.Errorf("servers of host %s: %w", it.Host, recovery.ErrConflict)
		}
		delete(n.holds, it.Host)
	}
	if it.Run == "" {
		it.Deliveries++
		n.serial++
		id := fmt.Sprintf("run%d", n.serial)
		it.Run = id
		note := n.notes[notification]
		note.Status, note.Runs = recovery.StatusRunning, append(note.Runs, id)
		n.order = append(n.order, id)
		n.runs[id] = &runState{
			rec: recovery.Run{
				ID: id, Notification: notification, Delivery: it.Deliveries, Host: it.Host, Server: it.Server, Segment: note.SegmentUUID,
				Status: recovery.StatusRunning,
			},
			tasks: map[int]recovery.TaskRecord{}, values: map[string]json.RawMessage{},
		}
	}
	n.runs[it.Run].rec.Node = n.name
	r := &fakeRun{known: ctx.Value(lostAnswer{}) == nil, node: n, id: it.Run, lock: lock, item: it, lost: make(chan struct{}), aborted: make(chan recovery.Abort, 1)}
	if a := n.runs[it.Run].rec.Abort; a != nil {
		r.aborted <- *a
	}
	n.locks[lock] = r
	n.wake()
	return r, nil
}

func (n *node) EndNotification(ctx context.Context, notification string, status recovery.NotificationStatus, message string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.check(ctx); err != nil {
		return err
	}
	it := n.item(notification)
	switch {
	case it == nil:
		return recovery.ErrNotFound
	case it.Run != "":
		return recovery.ErrConflict
	}
	n.end(it, status, message)
	return nil
}

func (c *cluster) end(it *recovery.QueueItem, status recovery.NotificationStatus, message string) {
	c.items = slices.DeleteFunc(c.items, func(x *recovery.QueueItem) bool { return x == it })
	n := c.notes[it.Notification]
	n.Status, n.Message = status, message
	c.wake()
}

func (n *node) Abort(ctx context.Context, run string, a recovery.Abort) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.check(ctx); err != nil {
		return err
	}
	s := n.runs[run]
	switch {
	case s == nil:
		return recovery.ErrNotFound
	case s.rec.Finished:
		return recovery.ErrConflict
	}
	n.abort(run, a)
	return nil
}

func (n *node) abort(run string, a recovery.Abort) {
	s := n.runs[run]
	if s.rec.Abort != nil && *s.rec.Abort == a {
		return
	}
	s.rec.Abort = &a
	for _, r := range n.locks {
		if r.id == run {
			select {
			case <-r.aborted:
			default:
			}
			r.aborted <- a
		}
	}
}

// fakeRun serves engine.Run.
type fakeRun struct {
	node    *node
	id      string
	lock    string
	item    *recovery.QueueItem
	lost    chan struct{}
	aborted chan recovery.Abort
	known   bool // to whoever asked for it
}

func (r *fakeRun) drop() { delete(r.node.locks, r.lock) }

// with looks at the run; a write has a name.
func (r *fakeRun) with(ctx context.Context, step string, f func(*runState) error) error {
	r.node.mu.Lock()
	defer r.node.mu.Unlock()
	if err := r.node.check(ctx); err != nil {
		return err
	}
	if r.node.locks[r.lock] != r {
		return fmt.Errorf("run %s: %w", r.id, recovery.ErrLeaseLost)
	}
	if step != "" && r.node.step != nil {
		if err := r.node.step(r.node.name, step); err != nil {
			r.node.die()
			r.node.wake()
			return err
		}
	}
	return f(r.node.runs[r.id])
}

func (r *fakeRun) ID() string                     { return r.id }
func (r *fakeRun) Lost() <-chan struct{}          { return r.lost }
func (r *fakeRun) Aborted() <-chan recovery.Abort { return r.aborted }

func (r *fakeRun) Record(ctx context.Context) (rec recovery.Run, err error) {
	return rec, r.with(ctx, "", func(s *runState) error { rec = s.rec; return nil })
}

func (r *fakeRun) History(ctx context.Context) (out []recovery.TaskRecord, err error) {
	return out, r.with(ctx, "", func(s *runState) error {
		for _, seq := range slices.Sorted(maps.Keys(s.tasks)) {
			out = append(out, s.tasks[seq])
		}
		return nil
	})
}

func (r *fakeRun) Values(ctx context.Context) (out map[string]json.RawMessage, err error) {
	return out, r.with(ctx, "", func(s *runState) error { out = maps.Clone(s.values); return nil })
}

func (r *fakeRun) Undos(ctx context.Context) (out []recovery.Undo, err error) {
	return out, r.with(ctx, "", func(s *runState) error { out = slices.Clone(s.undos); return nil })
}

func (r *fakeRun) OpenIntents(ctx context.Context) (out []recovery.Intent, err error) {
	return out, r.with(ctx, "", func(s *runState) error { out = slices.Clone(s.open); return nil })
}

// setOpen says which changes have no result.
func (r *fakeRun) setOpen(ctx context.Context, open ...recovery.Intent) error {
	return r.with(ctx, "", func(s *runState) error { s.open = open; return nil })
}

func (r *fakeRun) Hosts(ctx context.Context) ([]recovery.Host, error) { return r.node.Hosts(ctx) }

func (r *fakeRun) UpdateHost(ctx context.Context, h recovery.Host) error {
	return r.with(ctx, "update_host", func(*runState) error {
		for i := range r.node.hosts {
			if r.node.hosts[i].UUID == h.UUID {
				r.node.hosts[i] = h
			}
		}
		return nil
	})
}

func (r *fakeRun) Start(ctx context.Context, run recovery.Run) error {
	return r.with(ctx, "start", func(s *runState) error {
		abort := s.rec.Abort
		s.rec = run
		if run.Abort == nil {
			s.rec.Abort = abort
		}
		return nil
	})
}

func (r *fakeRun) StartTask(ctx context.Context, rec recovery.TaskRecord) error {
	return r.with(ctx, "start_task", func(s *runState) error { s.tasks[rec.Seq] = rec; return nil })
}

func (r *fakeRun) FinishTask(ctx context.Context, rec recovery.TaskRecord, provided map[string]json.RawMessage) error {
	return r.with(ctx, "finish_task", func(s *runState) error {
		s.tasks[rec.Seq] = rec
		maps.Copy(s.values, provided)
		return nil
	})
}

func (r *fakeRun) SetValues(ctx context.Context, values map[string]json.RawMessage) error {
	return r.with(ctx, "set_values", func(s *runState) error { s.values = maps.Clone(values); return nil })
}

func (r *fakeRun) PushUndo(ctx context.Context, u recovery.Undo) error {
	return r.with(ctx, "push_undo", func(s *runState) error {
		if !slices.ContainsFunc(s.undos, func(x recovery.Undo) bool { return x.Key == u.Key }) {
			s.undos = append(s.undos, u)
		}
		return nil
	})
}

func (r *fakeRun) DropUndo(ctx context.Context, key string) error {
	return r.with(ctx, "drop_undo", func(s *runState) error {
		s.undos = slices.DeleteFunc(s.undos, func(u recovery.Undo) bool { return u.Key == key })
		return nil
	})
}

func (r *fakeRun) release() {
	r.drop()
	maps.DeleteFunc(r.node.reserved, func(_, run string) bool { return run == r.id })
}

func (r *fakeRun) End(ctx context.Context, run recovery.Run) error {
	return r.with(ctx, "end", func(s *runState) error {
		if len(s.undos) > 0 {
			return recovery.ErrConflict
		}
		s.rec = run
		r.release()
		r.node.end(r.item, run.Status, run.Message)
		return nil
	})
}

func (r *fakeRun) EndLeaving(ctx context.Context, run recovery.Run) error {
	return r.with(ctx, "end_leaving", func(s *runState) error {
		s.rec = run
		r.release()
		r.node.end(r.item, run.Status, run.Message)
		return nil
	})
}

func (r *fakeRun) EndRetry(ctx context.Context, run recovery.Run, notBefore time.Time) error {
	return r.with(ctx, "end_retry", func(s *runState) error {
		if len(s.undos) > 0 {
			return recovery.ErrConflict
		}
		s.rec = run
		r.release()
		r.item.Run, r.item.NotBefore = "", notBefore
		n := r.node.notes[r.item.Notification]
		n.Status, n.Message = recovery.StatusError, run.Message
		r.node.wake()
		return nil
	})
}

func (r *fakeRun) Release(ctx context.Context) error {
	return r.with(ctx, "release", func(*runState) error {
		r.drop()
		r.node.wake()
		return nil
	})
}

func (r *fakeRun) Close() {
	r.node.do(func() { r.node.closed++ })
	_ = r.Release(context.Background())
}

func (r *fakeRun) ClaimReserved(ctx context.Context, host string) error {
	return r.with(ctx, "claim_reserved", func(*runState) error {
		switch owner := r.node.reserved[host]; owner {
		case r.id:
			return nil
		case "":
		default:
			return fmt.Errorf("reserved host %s is run %s's: %w", host, owner, recovery.ErrConflict)
		}
		i := slices.IndexFunc(r.node.hosts, func(h recovery.Host) bool { return h.Name == host && h.Reserved && !h.OnMaintenance })
		if i < 0 {
			return fmt.Errorf("host %s is not reserved: %w", host, recovery.ErrConflict)
		}
		r.node.reserved[host] = r.id
		return nil
	})
}

func (r *fakeRun) ReleaseReserved(ctx context.Context, host string) error {
	return r.with(ctx, "release_reserved", func(*runState) error {
		if r.node.reserved[host] == r.id {
			delete(r.node.reserved, host)
		}
		return nil
	})
}
