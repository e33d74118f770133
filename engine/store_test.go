package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/wasakari/wasakari/engine"
	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
	"github.com/wasakari/wasakari/store/storetest"
)

// realStore serves engine.Store.
type realStore struct{ *store.Store }

func (s realStore) Claim(ctx context.Context, notification string) (engine.Run, error) {
	r, err := s.Store.Claim(ctx, notification)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// etcd is a member of its own on the loopback interface.
type etcd struct {
	endpoint string
	client   *clientv3.Client
	serial   atomic.Int32
}

func startEtcd(t *testing.T) *etcd {
	t.Helper()
	any0 := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg := embed.NewConfig()
	cfg.Dir, cfg.UnsafeNoFsync, cfg.TickMs, cfg.ElectionMs = t.TempDir(), true, 20, 200
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{any0}, []url.URL{any0}
	cfg.ListenPeerUrls, cfg.ListenClientHttpUrls = nil, nil
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(time.Minute):
		t.Fatal("etcd does not get ready")
	}
	x := &etcd{endpoint: "http://" + e.Clients[0].Addr().String()}
	x.client, err = clientv3.New(clientv3.Config{Endpoints: []string{x.endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.client.Close() })
	return x
}

// shared is one Wasakari cluster on an etcd of all tests.
type shared struct {
	*etcd
	name string
}

func (x *etcd) cluster() shared {
	return shared{x, fmt.Sprint("c", x.serial.Add(1))}
}

const takeOver = 30 * time.Millisecond

func (c shared) open(t *testing.T, node string, step func(string)) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{
		Endpoints: []string{c.endpoint}, Cluster: c.name, Node: node, Version: "test", TakeOverWait: takeOver, Step: step,
		Logger: zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel)).Named(node),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return s
}

// lose ends the lease of a node, as time does when it is not heard of.
func (c shared) lose(t *testing.T, node string) {
	got, err := c.client.Get(t.Context(), "/wasakari/"+c.name+"/r/node/"+node)
	if err != nil || len(got.Kvs) != 1 {
		t.Errorf("node %s: %v, %v", node, got, err)
		return
	}
	if _, err := c.client.Revoke(t.Context(), clientv3.LeaseID(got.Kvs[0].Lease)); err != nil {
		t.Errorf("lease of %s: %v", node, err)
	}
}

// segment makes a segment with hosts, of which those named r… are reserved.
func segment(t *testing.T, s *store.Store, method recovery.RecoveryMethod, hosts ...string) {
	t.Helper()
	seg, err := s.CreateSegment(t.Context(), recovery.Segment{UUID: "seg", Name: "s1", ServiceType: "compute", RecoveryMethod: method, Enabled: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		if _, err := s.CreateHost(t.Context(), recovery.Host{UUID: "uuid-" + h, Name: h, Type: "COMPUTE", SegmentUUID: seg.UUID, Reserved: strings.HasPrefix(h, "r")}); err != nil {
			t.Fatal(err)
		}
	}
}

func accept(t *testing.T, s *store.Store, kind recovery.NotificationType, host string, payload map[string]string) string {
	t.Helper()
	raw, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Accept(t.Context(), recovery.Notification{Type: kind, HostName: host, Payload: raw, Generated: time.Now()}, 3*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return n.UUID
}

func hostDown(t *testing.T, s *store.Store, host string) string {
	return accept(t, s, recovery.ComputeHost, host, map[string]string{"event": "STOPPED", "host_status": "NORMAL"})
}

func vmDown(t *testing.T, s *store.Store, host, server string) string {
	return accept(t, s, recovery.VM, host, map[string]string{"event": "LIFECYCLE", "vir_domain_event": "STOPPED_FAILED", "instance_uuid": server})
}

// until waits for a notification to be as wanted.
func until(t *testing.T, s *store.Store, uuid string, want func(recovery.Notification) bool) recovery.Notification {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	changes := s.Watch(ctx)
	for {
		n, err := s.Notification(ctx, uuid)
		if err == nil && want(n) {
			return n
		}
		if ctx.Err() != nil {
			t.Fatalf("notification %s is still %s: %s (%v)", uuid, n.Status, n.Message, err)
		}
		<-changes
	}
}

func final(n recovery.Notification) bool { return n.Status.Final() }

func begin(t *testing.T, s *store.Store, node string, f *flows, change func(*engine.Config)) started {
	t.Helper()
	cfg := engine.Config{Node: node, Store: realStore{s}, Flows: f, Logger: zaptest.NewLogger(t, zaptest.Level(zap.DPanicLevel)).Named(node)}
	if change != nil {
		change(&cfg)
	}
	return serve(t, engine.New(cfg))
}

// empty makes sure that nothing is left of what was to be done.
func empty(t *testing.T, c shared, s *store.Store) {
	t.Helper()
	queue, err := s.Queue(t.Context())
	if err != nil || len(queue) != 0 {
		t.Errorf("queue = %+v, %v", queue, err)
	}
	for _, r := range storetest.Runs(t, s) {
		_, tasks, _, undos, _, err := s.RunDetail(t.Context(), r.ID)
		if err != nil || !r.Finished || len(undos) != 0 {
			t.Errorf("run %s: %s, finished %t, to undo: %v, %v", r.ID, r.Status, r.Finished, undos, err)
		}
		for _, rec := range tasks {
			if rec.Ended.IsZero() {
				t.Errorf("task without an end: %+v", rec)
			}
		}
	}
	for _, prefix := range []string{"r/lock/", "r/hold/", "r/vmrun/", "d/work/", "d/reserved/", "r/abort/"} {
		got, err := c.client.Get(t.Context(), "/wasakari/"+c.name+"/"+prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil || len(got.Kvs) != 0 {
			t.Errorf("left below %s: %v, %v", prefix, got.Kvs, err)
		}
	}
}

// TestStore goes with the real store through what the tests in memory do.
func TestStore(t *testing.T) {
	x := startEtcd(t)
	t.Run("statuses", func(t *testing.T) {
		c := x.cluster()
		s := c.open(t, "n1", nil)
		segment(t, s, recovery.Auto, "h1", "h2")
		f := &flows{t: t}
		f.task = func(ctx context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
			if job.Notification.HostName == "h2" && job.Record.Delivery == 1 {
				return failing(ctx, job, call)
			}
			return recovery.Outcome{Status: recovery.TaskSucceeded}
		}
		begin(t, s, "n1", f, func(cfg *engine.Config) { cfg.Intervals.Unfinished = 50 * time.Millisecond })
		ids := map[string]string{
			accept(t, s, recovery.ComputeHost, "h1", map[string]string{"event": "STARTED", "host_status": "NORMAL"}):                                 "finished",
			accept(t, s, recovery.ComputeHost, "h1", map[string]string{"event": "STOPPED"}):                                                          "ignored",
			accept(t, s, recovery.VM, "h1", map[string]string{"event": "LIFECYCLE", "vir_domain_event": "STOPPED_SHUTDOWN", "instance_uuid": "srv"}): "ignored",
			accept(t, s, recovery.Process, "h1", map[string]string{"event": "STOPPED", "process_name": "libvirtd"}):                                  "finished",
			vmDown(t, s, "h1", "srv"): "finished",
			hostDown(t, s, "h2"):      "finished",
		}
		for id, want := range ids {
			if n := until(t, s, id, final); string(n.Status) != want {
				t.Errorf("notification %s of %s = %s %q, want %s", n.Type, n.HostName, n.Status, n.Message, want)
			}
		}
		empty(t, c, s)
		h, err := s.Host(t.Context(), "uuid-h2")
		if err != nil || !h.OnMaintenance {
			t.Errorf("host h2 = %+v, %v", h, err)
		}
	})

	t.Run("failed for good, and tried again by a person", func(t *testing.T) {
		c := x.cluster()
		s := c.open(t, "n1", nil)
		segment(t, s, recovery.Auto, "h1")
		var mended atomic.Bool
		f := &flows{t: t}
		f.task = func(ctx context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
			if mended.Load() {
				if job.Record.Override != "checked" {
					t.Errorf("override = %q", job.Record.Override)
				}
				return recovery.Outcome{Status: recovery.TaskSucceeded}
			}
			return failing(ctx, job, call)
		}
		begin(t, s, "n1", f, func(cfg *engine.Config) { cfg.Intervals.Unfinished, cfg.MaxDeliveries = 10*time.Millisecond, 3 })
		id := hostDown(t, s, "h1")
		n := until(t, s, id, final)
		if want := "flow host-auto: task b: boom; given up after try 3 of 3"; n.Status != recovery.StatusFailed || n.Message != want || len(n.Runs) != 3 {
			t.Errorf("notification = %s %q after %d runs, want %q", n.Status, n.Message, len(n.Runs), want)
		}
		empty(t, c, s)
		mended.Store(true)
		if err := s.Retry(t.Context(), id, "checked"); err != nil {
			t.Fatal(err)
		}
		if n := until(t, s, id, final); n.Status != recovery.StatusFinished || len(n.Runs) != 4 {
			t.Errorf("notification = %s %q after %d runs", n.Status, n.Message, len(n.Runs))
		}
		empty(t, c, s)
	})

	t.Run("superseded", func(t *testing.T) {
		c := x.cluster()
		s1, s2 := c.open(t, "n1", nil), c.open(t, "n2", nil)
		segment(t, s1, recovery.Auto, "h1", "h2")
		atWork := make(chan string, 100)
		f := &flows{t: t}
		f.task = func(ctx context.Context, job engine.Job, _ flow.TaskCall) recovery.Outcome {
			if job.Notification.Type == recovery.VM {
				atWork <- job.Notification.UUID
				<-ctx.Done()
			}
			return recovery.Outcome{Status: recovery.TaskSucceeded}
		}
		few := func(cfg *engine.Config) { cfg.ServersAtOnce = 2 }
		begin(t, s1, "n1", f, few)
		begin(t, s2, "n2", f, few)
		var ids []string
		for i := range 7 {
			ids = append(ids, vmDown(t, s1, "h1", fmt.Sprint("srv", i)))
		}
		for range 4 {
			<-atWork
		}
		host := hostDown(t, s2, "h1")
		if n := until(t, s1, host, final); n.Status != recovery.StatusFinished {
			t.Errorf("host = %s %q", n.Status, n.Message)
		}
		began := 0
		for _, id := range ids {
			n := until(t, s1, id, final)
			if n.Status != recovery.StatusIgnored || n.Message == "" {
				t.Errorf("VM = %s %q", n.Status, n.Message)
			}
			began += len(n.Runs)
		}
		if began != 4 {
			t.Errorf("%d runs of servers, want 4", began)
		}
		empty(t, c, s1)
	})

	t.Run("aborted by a person at another node", func(t *testing.T) {
		c := x.cluster()
		s1, s2 := c.open(t, "n1", nil), c.open(t, "n2", nil)
		segment(t, s1, recovery.Auto, "h1")
		atWork := make(chan string, 1)
		f := &flows{t: t}
		f.task = func(ctx context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
			if call.Key == "b" {
				atWork <- job.Run.ID()
				<-ctx.Done()
			}
			return recovery.Outcome{Status: recovery.TaskSucceeded}
		}
		begin(t, s1, "n1", f, nil)
		id := hostDown(t, s1, "h1")
		run := <-atWork
		if err := s2.Abort(t.Context(), run, recovery.Abort{Mode: recovery.AbortRevert, Reason: "wrong host", By: "u1", Status: recovery.StatusFailed}); err != nil {
			t.Fatal(err)
		}
		n := until(t, s2, id, final)
		if want := "flow host-auto: task b: aborted by u1: wrong host"; n.Status != recovery.StatusFailed || n.Message != want || len(n.Runs) != 1 {
			t.Errorf("notification = %s %q, want %q", n.Status, n.Message, want)
		}
		if want := []string{"run h1/a", "run h1/b", "revert h1/a"}; !slices.Equal(f.did, want) {
			t.Errorf("done: %v, want %v", f.did, want)
		}
		empty(t, c, s1)
	})

	t.Run("handed over", func(t *testing.T) {
		c := x.cluster()
		s1, s2 := c.open(t, "n1", nil), c.open(t, "n2", nil)
		segment(t, s1, recovery.Auto, "h1")
		release, atWork := make(chan struct{}), make(chan struct{}, 2)
		f := &flows{t: t}
		f.task = func(ctx context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
			atWork <- struct{}{}
			if wait := time.Until(job.Run.(*store.Run).FirstChange()); wait > 0 {
				t.Errorf("the next node has to wait for %s", wait)
			}
			return blocking(release)(ctx, job, call)
		}
		first := begin(t, s1, "n1", f, nil)
		id := hostDown(t, s1, "h1")
		<-atWork
		begin(t, s2, "n2", f, nil)
		if err := first.stop(); err != nil {
			t.Error(err)
		}
		<-atWork // long before the lease of 15 s ends
		nodes, err := s2.Nodes(t.Context())
		if err != nil || len(nodes) != 2 || len(nodes[0].Runs) != 0 || !nodes[0].Draining || len(nodes[1].Runs) != 1 {
			t.Errorf("nodes = %+v, %v", nodes, err)
		}
		go func() {
			for range 2 {
				<-atWork
			}
		}()
		close(release)
		if n := until(t, s2, id, final); n.Status != recovery.StatusFinished || len(n.Runs) != 1 {
			t.Errorf("notification = %s %q after %d runs", n.Status, n.Message, len(n.Runs))
		}
		empty(t, c, s2)
	})

	t.Run("many at once", func(t *testing.T) {
		c := x.cluster()
		nodes := []*store.Store{c.open(t, "n1", nil), c.open(t, "n2", nil), c.open(t, "n3", nil)}
		segment(t, nodes[0], recovery.ReservedHost, "h1", "h2", "h3", "r1", "r2", "r3", "v1", "v2")
		var mu sync.Mutex
		at := map[string]string{}
		f := &flows{t: t}
		f.task = func(_ context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
			for _, what := range []string{"host " + job.Record.Host + job.Record.Server, "reserved " + call.ReservedHost} {
				if call.Key != "b" || what == "reserved " {
					continue
				}
				mu.Lock()
				if other := at[what]; other != "" && (other != job.Run.ID() || strings.HasPrefix(what, "host")) {
					t.Errorf("%s is run %s's and run %s's", what, other, job.Run.ID())
				}
				at[what] = job.Run.ID()
				mu.Unlock()
				defer func() {
					mu.Lock()
					defer mu.Unlock()
					delete(at, what)
				}()
			}
			return recovery.Outcome{Status: recovery.TaskSucceeded}
		}
		for i, s := range nodes {
			begin(t, s, fmt.Sprint("n", i+1), f, nil)
		}
		var ids []string
		for i := range 40 {
			ids = append(ids, vmDown(t, nodes[i%3], fmt.Sprint("v", i%2+1), fmt.Sprint("srv", i)))
		}
		for i := range 3 {
			ids = append(ids, hostDown(t, nodes[i], fmt.Sprint("h", i+1)))
		}
		for _, id := range ids {
			if n := until(t, nodes[0], id, final); n.Status != recovery.StatusFinished || len(n.Runs) != 1 {
				t.Errorf("%s %s = %s %q after %d runs", n.Type, n.HostName, n.Status, n.Message, len(n.Runs))
			}
		}
		empty(t, c, nodes[0])
	})
}

// TestStoreClosed closes an embedded store under the engine, as a process that
// ends does, and goes on with the run when it is opened again.
func TestStoreClosed(t *testing.T) {
	dir := t.TempDir()
	open := func() *store.Store {
		s, err := store.Open(t.Context(), store.Config{Dir: dir, Node: "n1", Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	s := open()
	segment(t, s, recovery.Auto, "h1")
	atWork, release := make(chan struct{}, 1), make(chan struct{})
	f := &flows{t: t}
	f.task = func(ctx context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
		if call.Key == "b" {
			atWork <- struct{}{}
			return blocking(release)(ctx, job, call)
		}
		return recovery.Outcome{Status: recovery.TaskSucceeded}
	}
	first := begin(t, s, "n1", f, nil)
	id := hostDown(t, s, "h1")
	<-atWork
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.stop(); err != nil {
		t.Errorf("Run() = %v", err)
	}
	s = open()
	n, err := s.Notification(t.Context(), id)
	if err != nil || n.Status != recovery.StatusRunning {
		t.Fatalf("notification = %+v, %v", n, err)
	}
	begin(t, s, "n1", f, nil)
	<-atWork
	close(release)
	if n := until(t, s, id, final); n.Status != recovery.StatusFinished || len(n.Runs) != 1 {
		t.Errorf("notification = %s %q after %d runs", n.Status, n.Message, len(n.Runs))
	}
	if want := []string{"run h1/a", "run h1/b", "run h1/b", "run h1/c"}; !slices.Equal(f.did, want) {
		t.Errorf("done: %v, want %v", f.did, want)
	}
}

// TestStoreResume takes the lease of a node away before each thing that it
// writes: it can write nothing more, and another goes on to the same end.
func TestStoreResume(t *testing.T) {
	x := startEtcd(t)
	scenarios := []struct {
		name string
		task func(context.Context, engine.Job, flow.TaskCall) recovery.Outcome
		want string
	}{
		{"success", nil, "finished: "},
		{"failure", failing, "failed: flow host-rh: task b: boom (reserved host r2); given up after try 1 of 1"},
	}
	for _, s := range scenarios {
		// once runs it and loses the lease before write number n; it returns the
		// names of what was written.
		once := func(t *testing.T, n int) (steps []string) {
			c := x.cluster()
			var mu sync.Mutex
			armed := false
			s1 := c.open(t, "n1", func(name string) {
				mu.Lock()
				defer mu.Unlock()
				if !armed {
					return
				}
				if steps = append(steps, name); len(steps) == n {
					c.lose(t, "n1")
				}
			})
			s2 := c.open(t, "n2", nil)
			segment(t, s1, recovery.ReservedHost, "h1", "r1", "r2")
			f := &flows{t: t}
			f.task = func(ctx context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
				run := job.Run.(*store.Run)
				if err := run.Check(ctx, time.Millisecond); err != nil {
					return recovery.Outcome{Status: recovery.TaskFailed, Message: err.Error()}
				}
				if time.Now().Before(run.FirstChange()) {
					t.Error("a change before its time")
				}
				if call.Key == "a" {
					if err := run.PushUndo(ctx, recovery.Undo{Key: "unlock_server/s1"}); err != nil {
						return recovery.Outcome{Status: recovery.TaskFailed, Message: err.Error()}
					}
				}
				if s.task != nil {
					return s.task(ctx, job, call)
				}
				return recovery.Outcome{Status: recovery.TaskSucceeded}
			}
			id := hostDown(t, s1, "h1")
			mu.Lock()
			armed = true
			mu.Unlock()
			one := func(cfg *engine.Config) { cfg.MaxDeliveries = 1 }
			first := begin(t, s1, "n1", f, one)
			if n == 0 {
				until(t, s2, id, final)
			} else {
				until(t, s2, id, func(note recovery.Notification) bool {
					mu.Lock()
					defer mu.Unlock()
					return len(steps) >= n || note.Status.Final()
				})
				begin(t, s2, "n2", f, one)
			}
			note := until(t, s2, id, final)
			if got := string(note.Status) + ": " + note.Message; got != s.want || len(note.Runs) != 1 {
				t.Errorf("notification = %q after %d runs, want %q", got, len(note.Runs), s.want)
			}
			_ = first.stop()
			empty(t, c, s2)
			mu.Lock()
			defer mu.Unlock()
			return steps
		}
		var steps []string
		t.Run(s.name, func(t *testing.T) { steps = once(t, 0) })
		for i, step := range steps {
			if step == "node.update" {
				break // the engine drains
			}
			t.Run(fmt.Sprintf("%s, lease lost at %d %s", s.name, i+1, step), func(t *testing.T) {
				t.Parallel()
				once(t, i+1)
			})
		}
	}
}
