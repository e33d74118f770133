package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/wasakari/wasakari/engine"
	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/recovery"
)

// started is an engine at work.
type started struct {
	*engine.Engine
	stop func() error // waits
}

// start runs an engine on a node until the test ends.
func start(t *testing.T, n *node, f *flows, change func(*engine.Config)) started {
	t.Helper()
	cfg := engine.Config{Node: n.name, Store: n, Flows: f, FirstJob: -1, Logger: zaptest.NewLogger(t).Named(n.name)}
	if change != nil {
		change(&cfg)
	}
	return serve(t, engine.New(cfg))
}

func serve(t *testing.T, e *engine.Engine) started {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	stopped := false
	s := started{e, func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	return s
}

// pass lets the fake clock of a bubble go on and everything due be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

const millisecond = time.Millisecond

func TestTable(t *testing.T) {
	const (
		host    = recovery.ComputeHost
		process = recovery.Process
		vm      = recovery.VM
	)
	disabled := func(c *cluster) { c.segments[0].Enabled = false }
	method := func(m recovery.RecoveryMethod) func(*cluster) {
		return func(c *cluster) { c.segments[0].RecoveryMethod = m }
	}
	tests := []struct {
		name    string
		kind    recovery.NotificationType
		payload string // key=value ...
		setup   func(*cluster)
		want    string
		flows   []recovery.FlowKind // of the run; nil: there is none
		marked  bool                // the host is on maintenance
	}{
		{"segment disabled", host, "event=STOPPED host_status=NORMAL", disabled, "ignored: Recovery aborted: the segment HA is disabled.", nil, false},
		{"segment disabled, VM", vm, "event=LIFECYCLE vir_domain_event=STOPPED_FAILED", disabled, "ignored: Recovery aborted: the segment HA is disabled.", nil, false},
		{"segment disabled, process", process, "event=STOPPED process_name=nova-compute", disabled, "ignored: Recovery aborted: the segment HA is disabled.", nil, false},
		{"segment gone", host, "event=STOPPED host_status=NORMAL", func(c *cluster) { c.segments = nil }, "failed: segment seg of host h1 is gone", nil, false},
		{"no host_status", host, "event=STOPPED", nil, "ignored: nothing was done: the notification has no host_status", nil, false},
		{
			"host_status unknown", host, "event=STOPPED host_status=UNKNOWN", nil,
			"ignored: nothing was done: host_status is UNKNOWN, not NORMAL: the monitor could not make sure that the host is off", nil, false,
		},
		{"host_status unknown, started", host, "event=STARTED host_status=UNKNOWN", nil, "ignored: nothing was done: host_status is UNKNOWN, not NORMAL: the monitor could not make sure that the host is off", nil, false},
		{"host started", host, "event=STARTED host_status=NORMAL cluster_status=ONLINE", nil, "finished: ", nil, false},
		{"host of an unknown event", host, "event=PAUSED host_status=NORMAL", nil, "ignored: nothing was done: no flow answers the event PAUSED", nil, false},
		{"host stopped", host, "event=STOPPED host_status=NORMAL", nil, "finished: ", []recovery.FlowKind{"host-auto"}, true},
		{"reserved_host", host, "event=STOPPED host_status=NORMAL", method(recovery.ReservedHost), "finished: ", []recovery.FlowKind{"host-rh"}, true},
		{"auto_priority", host, "event=STOPPED host_status=NORMAL", method(recovery.AutoPriority), "finished: ", []recovery.FlowKind{"host-auto", "host-rh"}, true},
		{"rh_priority", host, "event=STOPPED host_status=NORMAL", method(recovery.ReservedHostPriority), "finished: ", []recovery.FlowKind{"host-rh", "host-auto"}, true},
		{"unknown method", host, "event=STOPPED host_status=NORMAL", method("magic"), `failed: segment seg: recovery method "magic" is not known`, nil, false},
		{"process started", process, "event=STARTED process_name=nova-compute", nil, "finished: ", nil, false},
		{"nova-compute stopped", process, "event=STOPPED process_name=nova-compute", nil, "finished: ", []recovery.FlowKind{"process"}, true},
		{"another process stopped", process, "event=STOPPED process_name=libvirtd", nil, "finished: nothing was done: no flow answers the process libvirtd", nil, false},
		{"process in other letters", process, "event=STOPPED process_name=Nova-Compute", nil, "finished: nothing was done: no flow answers the process Nova-Compute", nil, false},
		{"process of an unknown event", process, "event=stopped process_name=nova-compute", nil, "ignored: nothing was done: no flow answers the event stopped", nil, false},
		{"guest agent", vm, "event=QEMU_GUEST_AGENT_ERROR vir_domain_event=STOPPED_FAILED", nil, "finished: ", []recovery.FlowKind{"instance"}, false},
		{"life cycle", vm, "event=LIFECYCLE vir_domain_event=STOPPED_FAILED", nil, "finished: ", []recovery.FlowKind{"instance"}, false},
		{"input and output", vm, "event=IO_ERROR vir_domain_event=IO_ERROR_REPORT", nil, "finished: ", []recovery.FlowKind{"instance"}, false},
		{"a pair of two others", vm, "event=IO_ERROR vir_domain_event=STOPPED_FAILED", nil, "ignored: nothing was done: no flow answers the event IO_ERROR STOPPED_FAILED", nil, false},
		{"VM in other letters", vm, "event=lifecycle vir_domain_event=STOPPED_FAILED", nil, "ignored: nothing was done: no flow answers the event lifecycle STOPPED_FAILED", nil, false},
		{"an ordinary stop", vm, "event=LIFECYCLE vir_domain_event=STOPPED_SHUTDOWN", nil, "ignored: nothing was done: no flow answers the event LIFECYCLE STOPPED_SHUTDOWN", nil, false},
		{"unknown type", "RACK", "event=STOPPED", nil, "ignored: nothing was done: no flow answers the type RACK", nil, false},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			c := newCluster(t)
			if tt.setup != nil {
				tt.setup(c)
			}
			c.hosts[0].Reserved = true // a spare that fails is a spare no more
			f := &flows{t: t}
			start(t, c.node("n1"), f, nil)
			payload := map[string]string{"instance_uuid": "srv1"}
			for pair := range strings.FieldsSeq(tt.payload) {
				k, v, _ := strings.Cut(pair, "=")
				payload[k] = v
			}
			c.accept("note", tt.kind, "h1", payload)
			pass(millisecond)
			if got := c.outcome("note"); got != tt.want {
				t.Errorf("notification = %q, want %q", got, tt.want)
			}
			h := c.host("h1")
			if h.OnMaintenance != tt.marked || h.Reserved == (tt.marked && tt.kind == host) {
				t.Errorf("host on maintenance %t, reserved %t", h.OnMaintenance, h.Reserved)
			}
			if left := c.left(); left != "" {
				t.Errorf("left: %s", left)
			}
			if tt.flows == nil {
				if c.count() != 0 {
					t.Errorf("%d runs were begun", c.count())
				}
				return
			}
			run := c.run(0).rec
			if !slices.Equal(run.Flows, tt.flows) || run.Started.IsZero() || !run.Finished {
				t.Errorf("run of %v, want %v; started %s, finished %t", run.Flows, tt.flows, run.Started, run.Finished)
			}
		})
	}
}

func TestUnanswered(t *testing.T) {
	tests := []struct {
		name    string
		kind    recovery.NotificationType
		payload string
		want    string
	}{
		{"an ordinary stop", recovery.VM, `{"event":"LIFECYCLE","vir_domain_event":"STOPPED_SHUTDOWN"}`, "ignored: nothing was done: no flow answers the event LIFECYCLE STOPPED_SHUTDOWN"},
		{"a failure", recovery.VM, `{"event":"LIFECYCLE","vir_domain_event":"STOPPED_FAILED"}`, ": "},
		{"a host", recovery.ComputeHost, `{"event":"STARTED"}`, ": "},
		{"a process", recovery.Process, `{"event":"STOPPED","process_name":"libvirtd"}`, ": "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, message := engine.Unanswered(recovery.Notification{Type: tt.kind, Payload: json.RawMessage(tt.payload)})
			if got := string(status) + ": " + message; got != tt.want {
				t.Errorf("Unanswered() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestInputs(t *testing.T) {
	segment := func(m string) string {
		return `{"uuid":"seg","name":"s1","recovery_method":"` + m + `","enabled":true}`
	}
	common := func(m, event string) map[string]string {
		return map[string]string{
			"notification_uuid": `"note"`, "recovery_method": `"` + m + `"`, "segment": segment(m), "event": `"` + event + `"`,
			"generated_time": `"2026-11-23T09:00:00Z"`, "host_name": `"h1"`,
		}
	}
	tests := []struct {
		name   string
		method recovery.RecoveryMethod
		accept func(*cluster)
		event  string
		more   map[string]string
	}{
		{"auto", recovery.Auto, func(c *cluster) { c.hostDown("note", "h1") }, "STOPPED", map[string]string{
			"payload": `{"cluster_status":"OFFLINE","event":"STOPPED","host_status":"NORMAL"}`,
		}},
		{"reserved hosts, in order", recovery.ReservedHost, func(c *cluster) { c.hosts[0].Reserved = true; c.hostDown("note", "h1") }, "STOPPED", map[string]string{
			"payload":            `{"cluster_status":"OFFLINE","event":"STOPPED","host_status":"NORMAL"}`,
			"reserved_host_list": `["r1","r2"]`,
		}},
		{"no reserved hosts", recovery.AutoPriority, func(c *cluster) { c.hosts = c.hosts[:2]; c.hostDown("note", "h1") }, "STOPPED", map[string]string{
			"payload":            `{"cluster_status":"OFFLINE","event":"STOPPED","host_status":"NORMAL"}`,
			"reserved_host_list": `[]`,
		}},
		{"VM", recovery.ReservedHost, func(c *cluster) { c.vmDown("note", "h1", "srv1") }, "LIFECYCLE", map[string]string{
			"payload":       `{"event":"LIFECYCLE","instance_uuid":"srv1","vir_domain_event":"STOPPED_FAILED"}`,
			"instance_uuid": `"srv1"`,
		}},
		{"process", recovery.Auto, func(c *cluster) {
			c.accept("note", recovery.Process, "h1", map[string]string{"event": "STOPPED", "process_name": "nova-compute"})
		}, "STOPPED", map[string]string{
			"payload":      `{"event":"STOPPED","process_name":"nova-compute"}`,
			"process_name": `"nova-compute"`,
		}},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			c := newCluster(t)
			c.segments[0].RecoveryMethod = tt.method
			tt.accept(c)
			start(t, c.node("n1"), &flows{t: t}, nil)
			pass(millisecond)
			want := common(string(tt.method), tt.event)
			maps.Copy(want, tt.more)
			got := c.run(0).rec.Inputs
			for k, v := range want {
				if string(got[k]) != v {
					t.Errorf("%s = %s, want %s", k, got[k], v)
				}
			}
			if len(got) != len(want) {
				t.Errorf("inputs: %v", got)
			}
		})
	}
}

// blocking is a task that waits until it is told how to end.
func blocking(release <-chan struct{}) func(context.Context, engine.Job, flow.TaskCall) recovery.Outcome {
	return func(ctx context.Context, _ engine.Job, _ flow.TaskCall) recovery.Outcome {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return recovery.Outcome{Status: recovery.TaskSucceeded}
	}
}

func TestSupersede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		f := &flows{t: t}
		f.task = func(ctx context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
			if job.Notification.Type == recovery.VM {
				<-ctx.Done()
			}
			return recovery.Outcome{Status: recovery.TaskSucceeded}
		}
		w := &watcher{}
		start(t, c.node("n1"), f, func(cfg *engine.Config) { cfg.ServersAtOnce, cfg.Observer = 2, w })
		other := start(t, c.node("n2"), f, func(cfg *engine.Config) { cfg.ServersAtOnce, cfg.Observer = 1, w })
		for i := range 5 {
			c.vmDown(fmt.Sprintf("vm%d", i), "h1", fmt.Sprintf("srv%d", i))
		}
		c.vmDown("elsewhere", "h2", "srv9")
		c.vmDown("later", "h2", "srv9") // waits for the one before
		pass(millisecond)
		running := 0
		for i := range 5 {
			if c.note(fmt.Sprintf("vm%d", i)).Status == recovery.StatusRunning {
				running++
			}
		}
		if running == 0 || running == 5 {
			t.Fatalf("%d of 5 notifications run; some must run and some wait", running)
		}
		c.hostDown("host", "h1")
		pass(time.Second)
		var id string
		for i := range c.count() {
			if r := c.run(i).rec; r.Notification == "host" {
				id = r.ID
			}
		}
		if got := c.outcome("host"); got != "finished: " {
			t.Errorf("host = %q", got)
		}
		ran := 0
		for i := range 5 {
			n := c.note(fmt.Sprintf("vm%d", i))
			want := "superseded: run " + id + " recovers host h1 and all its servers"
			if len(n.Runs) > 0 {
				want = "flow instance: task a: aborted by notification:host: host h1 is recovered"
			}
			if n.Status != recovery.StatusIgnored || n.Message != want {
				t.Errorf("%s = %s: %s, want %s", n.UUID, n.Status, n.Message, want)
			}
			for _, run := range n.Runs {
				ran++
				if s := c.runs[run]; s.rec.Status != recovery.StatusIgnored || s.rec.Abort == nil || s.rec.Abort.Mode != recovery.AbortStop {
					t.Errorf("run %s ended %s, aborted by %+v", run, s.rec.Status, s.rec.Abort)
				}
			}
		}
		if ran != running {
			t.Errorf("%d runs of servers of h1, want the %d that ran before", ran, running)
		}
		if slices.ContainsFunc(f.did, func(s string) bool { return strings.HasPrefix(s, "revert") }) {
			t.Errorf("something was reverted: %v", f.did)
		}
		for _, n := range []string{"elsewhere", "later"} {
			if got := c.note(n); got.Status.Final() {
				t.Errorf("a server of another host: %s: %s", got.Status, got.Message)
			}
		}
		if n := len(slices.DeleteFunc(w.list(), func(s string) bool { return !strings.HasPrefix(s, "superseded") })); n != 5-running {
			t.Errorf("%d were told to be superseded, want %d", n, 5-running)
		}
		_ = other.stop()
	})
}

// TestSupersedeWaits lets nothing be done to a host while the run of a server
// of it has not stopped, and loses no time when it has.
func TestSupersedeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		stopped := make(chan struct{})
		f := &flows{t: t}
		f.perform = func(ctx context.Context, job engine.Job) (recovery.Run, error) {
			if job.Notification.Type == recovery.VM {
				<-stopped // deaf to the abort
			}
			return f.flow(ctx, job)
		}
		start(t, c.node("n1"), f, nil)
		c.vmDown("vm", "h1", "srv")
		pass(millisecond)
		c.hostDown("host", "h1")
		pass(time.Minute)
		c.vmDown("late", "h1", "srv2")
		pass(time.Minute)
		if len(f.did) != 0 || c.note("host").Status != recovery.StatusNew || c.note("late").Status != recovery.StatusNew {
			t.Errorf("done while the server's run went on: %v", f.did)
		}
		close(stopped)
		pass(time.Second)
		if got := c.outcome("host"); got != "finished: " {
			t.Errorf("host = %q", got)
		}
		for _, n := range []string{"vm", "late"} {
			if got := c.note(n).Status; got != recovery.StatusIgnored {
				t.Errorf("%s = %s", n, got)
			}
		}
		if c.count() != 2 {
			t.Errorf("%d runs, want 2", c.count())
		}
	})
}

// TestSupersedeOfADeadNode ends the run of a server whose node died first, with
// what it left to undo.
func TestSupersedeOfADeadNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		f := &flows{t: t}
		undone := 0
		f.undo = func(recovery.Undo) error { undone++; return nil }
		f.task = func(ctx context.Context, job engine.Job, _ flow.TaskCall) recovery.Outcome {
			if job.Notification.Type == recovery.VM {
				if err := job.Run.(ledger).PushUndo(ctx, recovery.Undo{Key: "unlock_server/srv"}); err != nil {
					t.Error(err)
				}
				<-ctx.Done()
			}
			return recovery.Outcome{Status: recovery.TaskSucceeded}
		}
		n1 := c.node("n1")
		start(t, n1, f, nil)
		c.vmDown("vm", "h1", "srv")
		pass(millisecond)
		n1.kill()
		c.hostDown("host", "h1")
		start(t, c.node("n2"), f, nil)
		pass(2 * time.Second)
		if got := c.outcome("host"); got != "finished: " {
			t.Errorf("host = %q", got)
		}
		if n := c.note("vm"); n.Status != recovery.StatusIgnored || len(n.Runs) != 1 || undone != 1 {
			t.Errorf("VM = %s %q, runs %v, undone %d", n.Status, n.Message, n.Runs, undone)
		}
	})
}

// TestSupersededThatDoesNotEnd lets a host wait for a while, not for ever, for
// the run of a server that leaves something behind.
func TestSupersededThatDoesNotEnd(t *testing.T) {
	locked := errors.New("403 on unlock")
	tests := []struct {
		name    string
		perform func(*flows) func(context.Context, engine.Job) (recovery.Run, error)
		want    string
	}{
		{"something left to undo", nil, "flow instance: task a: aborted by notification:host: host h1 is recovered; left to undo: 403 on unlock"},
		{"changes not settled", func(f *flows) func(context.Context, engine.Job) (recovery.Run, error) {
			return func(ctx context.Context, job engine.Job) (recovery.Run, error) {
				if job.Notification.Type == recovery.VM && job.Record.Abort != nil {
					return job.Record, locked
				}
				return f.flow(ctx, job)
			}
		}, "host h1 is recovered; 403 on unlock"},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			c := newCluster(t)
			f := &flows{t: t, undo: func(recovery.Undo) error { return locked }}
			f.task = func(ctx context.Context, job engine.Job, _ flow.TaskCall) recovery.Outcome {
				if job.Notification.Type == recovery.VM {
					if err := job.Run.(ledger).PushUndo(ctx, recovery.Undo{Key: "unlock_server/srv"}); err != nil {
						t.Error(err)
					}
					<-ctx.Done()
				}
				return recovery.Outcome{Status: recovery.TaskSucceeded}
			}
			n := c.node("n1")
			if tt.perform != nil {
				f.perform = tt.perform(f)
			}
			first := start(t, n, f, nil)
			c.vmDown("vm", "h1", "srv")
			pass(millisecond)
			if tt.perform != nil { // it is taken over when the abort is known
				_ = first.stop()
				n2 := c.node("n2")
				if err := n2.Abort(t.Context(), c.run(0).rec.ID, recovery.Abort{Mode: recovery.AbortStop, Reason: "host h1 is recovered", By: "notification:host", Status: recovery.StatusIgnored}); err != nil {
					t.Fatal(err)
				}
				start(t, n2, f, nil)
			}
			c.hostDown("host", "h1")
			pass(10 * time.Second)
			if c.note("vm").Status.Final() || c.note("host").Status.Final() {
				t.Errorf("too soon: %s", c.outcome("vm"))
			}
			pass(2 * time.Minute)
			if got, want := c.outcome("vm"), "ignored: "+tt.want; got != want {
				t.Errorf("VM = %q, want %q", got, want)
			}
			if got := c.outcome("host"); got != "finished: " {
				t.Errorf("host = %q", got)
			}
		})
	}
}

func TestAtOnce(t *testing.T) {
	tests := []struct {
		name   string
		accept func(c *cluster, i int)
		most   int
	}{
		{"hosts", func(c *cluster, i int) { c.hostDown(fmt.Sprint("n", i), fmt.Sprint("host", i)) }, 3},
		{"servers of one host", func(c *cluster, i int) { c.vmDown(fmt.Sprint("n", i), "h1", fmt.Sprint("srv", i)) }, 5},
		{"one server", func(c *cluster, i int) { c.vmDown(fmt.Sprint("n", i), "h1", "srv") }, 1},
		{"one host", func(c *cluster, i int) {
			c.accept(fmt.Sprint("n", i), recovery.Process, "h1", map[string]string{"event": "STOPPED", "process_name": "nova-compute"})
		}, 1},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			c := newCluster(t)
			release := make(chan struct{})
			f := &flows{t: t, task: blocking(release)}
			start(t, c.node("n1"), f, func(cfg *engine.Config) { cfg.HostsAtOnce, cfg.ServersAtOnce = 3, 5 })
			for i := range 12 {
				tt.accept(c, i)
			}
			pass(time.Second)
			if f.atWork != tt.most {
				t.Errorf("%d at work, want %d", f.atWork, tt.most)
			}
			// What needs no run does not wait for a place.
			c.accept("idle", recovery.ComputeHost, "h1", map[string]string{"event": "STARTED", "host_status": "NORMAL"})
			c.accept("noise", recovery.VM, "h1", map[string]string{"event": "LIFECYCLE", "vir_domain_event": "SHUTDOWN_FINISHED", "instance_uuid": "srv"})
			pass(millisecond)
			for _, n := range []string{"idle", "noise"} {
				if !c.note(n).Status.Final() {
					t.Errorf("%s waits", n)
				}
			}
			close(release)
			pass(time.Second)
			if f.most != tt.most {
				t.Errorf("%d at work at once, want %d", f.most, tt.most)
			}
			for i := range 12 {
				if got := c.outcome(fmt.Sprint("n", i)); got != "finished: " {
					t.Errorf("n%d = %q", i, got)
				}
			}
			if left := c.left(); left != "" {
				t.Errorf("left: %s", left)
			}
		})
	}
}

// TestAtOnceAcrossNodes gives one host and one server to one node at a time.
func TestAtOnceAcrossNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		f := &flows{t: t}
		at := map[string]int{}
		f.task = func(_ context.Context, job engine.Job, _ flow.TaskCall) recovery.Outcome {
			what := job.Record.Host + job.Record.Server
			c.do(func() {
				if at[what]++; at[what] > 1 {
					t.Errorf("%s is worked on twice", what)
				}
			})
			time.Sleep(time.Second)
			c.do(func() { at[what]-- })
			return recovery.Outcome{Status: recovery.TaskSucceeded}
		}
		for i := range 3 {
			start(t, c.node(fmt.Sprint("node", i)), f, nil)
		}
		for i := range 30 {
			c.vmDown(fmt.Sprint("n", i), "h1", fmt.Sprint("srv", i%4))
			c.accept(fmt.Sprint("p", i), recovery.Process, "h2", map[string]string{"event": "STOPPED", "process_name": "nova-compute"})
		}
		pass(10 * time.Minute)
		if left := c.left(); left != "" {
			t.Errorf("left: %s", left)
		}
		if c.count() != 60 {
			t.Errorf("%d runs, want 60", c.count())
		}
	})
}

func failing(ctx context.Context, _ engine.Job, c flow.TaskCall) recovery.Outcome {
	if c.Key == "b" {
		return recovery.Outcome{Status: recovery.TaskFailed, Message: "boom"}
	}
	return recovery.Outcome{Status: recovery.TaskSucceeded}
}

func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		f := &flows{t: t, task: failing}
		start(t, c.node("n1"), f, func(cfg *engine.Config) {
			cfg.MaxDeliveries, cfg.MaxWait = 4, 3*time.Minute
		})
		c.hostDown("note", "h1")
		pass(millisecond)
		if got, want := c.outcome("note"), "error: flow host-auto: task b: boom"; got != want {
			t.Errorf("after the first run: %q, want %q", got, want)
		}
		pass(24 * time.Hour)
		if got, want := c.outcome("note"), "failed: flow host-auto: task b: boom; given up after try 4 of 4"; got != want {
			t.Errorf("at the end: %q, want %q", got, want)
		}
		if c.count() != 4 {
			t.Fatalf("%d runs, want 4", c.count())
		}
		even := 0
		for i, most := range []time.Duration{2 * time.Minute, 3 * time.Minute, 3 * time.Minute} {
			if c.run(i+1).rec.Started.Sub(c.run(i).rec.Ended) == most {
				even++
			}
			gap := c.run(i + 1).rec.Started.Sub(c.run(i).rec.Ended)
			if gap > most || gap < most*3/4 {
				t.Errorf("try %d came after %s, want up to a quarter less than %s", i+2, gap, most)
			}
			if c.run(i).rec.Status != recovery.StatusFailed || c.run(i+1).rec.Delivery != i+2 {
				t.Errorf("run %d ended %s; the next is delivery %d", i, c.run(i).rec.Status, c.run(i+1).rec.Delivery)
			}
		}
		if even == 3 {
			t.Error("the waits are not spread")
		}
		if left := c.left(); left != "" {
			t.Errorf("left: %s", left)
		}
	})
}

func TestRetrySucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		f := &flows{t: t}
		f.task = func(ctx context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
			if job.Record.Delivery == 1 {
				return failing(ctx, job, call)
			}
			return recovery.Outcome{Status: recovery.TaskSucceeded}
		}
		w := &watcher{}
		start(t, c.node("n1"), f, func(cfg *engine.Config) { cfg.Observer = w })
		c.vmDown("note", "h1", "srv")
		pass(time.Hour)
		if got := c.outcome("note"); got != "finished: " {
			t.Errorf("notification = %q", got)
		}
		want := []string{"claimed note run1 resumed=false", "started note run1", "run ended note run1 failed error"}
		if got := slices.DeleteFunc(w.list(), func(s string) bool { return strings.HasPrefix(s, "task") || strings.Contains(s, "run2") }); !slices.Equal(got, want) {
			t.Errorf("told: %q, want %q", got, want)
		}
	})
}

func TestNotTriedAgain(t *testing.T) {
	held := &recovery.HeldError{Guard: "hosts", Message: "host h1 would be number 5"}
	tests := []struct {
		name   string
		change func(*engine.Config, *flows)
		want   string
	}{
		{"no retries", func(cfg *engine.Config, f *flows) { cfg.Intervals.Unfinished = -1; f.task = failing }, "failed: flow host-auto: task b: boom; not tried again: process_unfinished_notifications_interval is negative"},
		{"one delivery", func(cfg *engine.Config, f *flows) { cfg.MaxDeliveries = 1; f.task = failing }, "failed: flow host-auto: task b: boom; given up after try 1 of 1"},
		{"held", func(_ *engine.Config, f *flows) {
			f.perform = func(ctx context.Context, job engine.Job) (recovery.Run, error) {
				run := job.Record
				run.Status, run.Message, run.Held, run.Finished = recovery.StatusFailed, held.Error(), held, true
				return run, job.Journal.End(ctx, run)
			}
		}, "failed: " + held.Error()},
		{"no flow", func(_ *engine.Config, f *flows) {
			f.prepare = func(recovery.Run) error { return errors.New("masakari.conf:3:1: task x is not known") }
		}, "failed: masakari.conf:3:1: task x is not known"},
		{"ignored by a task", func(_ *engine.Config, f *flows) {
			f.task = func(context.Context, engine.Job, flow.TaskCall) recovery.Outcome {
				return recovery.Outcome{Status: recovery.TaskIgnored, Message: "not ours"}
			}
		}, "ignored: task a: not ours"},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			c := newCluster(t)
			f := &flows{t: t}
			start(t, c.node("n1"), f, func(cfg *engine.Config) { tt.change(cfg, f) })
			c.hostDown("note", "h1")
			pass(time.Second)
			if got := c.outcome("note"); got != tt.want {
				t.Errorf("notification = %q, want %q", got, tt.want)
			}
			if run := c.run(0).rec; !run.Finished || run.Ended.IsZero() && run.Held == nil {
				t.Errorf("the run has not ended: %+v", run)
			}
			if left := c.left(); left != "" || c.count() != 1 {
				t.Errorf("%d runs, left: %s", c.count(), left)
			}
		})
	}
}

// TestPutOff waits, with the same run, for what goes away by itself.
func TestPutOff(t *testing.T) {
	tests := []struct {
		name   string
		change func(f *flows, fails *atomic.Int32)
	}{
		{"plans not to be read", func(f *flows, fails *atomic.Int32) {
			f.prepare = func(recovery.Run) error {
				if fails.Add(1) <= 5 {
					return fmt.Errorf("modules: %w", recovery.ErrUnavailable)
				}
				return nil
			}
		}},
		{"changes not settled", func(f *flows, fails *atomic.Int32) {
			f.perform = func(ctx context.Context, job engine.Job) (recovery.Run, error) {
				if fails.Add(1) <= 5 {
					return job.Record, fmt.Errorf("changes that were under way: %w", recovery.ErrUnavailable)
				}
				return f.flow(ctx, job)
			}
		}},
		{"panic", func(f *flows, fails *atomic.Int32) {
			f.perform = func(ctx context.Context, job engine.Job) (recovery.Run, error) {
				if fails.Add(1) <= 5 {
					panic("out of order")
				}
				return f.flow(ctx, job)
			}
		}},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			c := newCluster(t)
			f, fails := &flows{t: t}, &atomic.Int32{}
			tt.change(f, fails)
			start(t, c.node("n1"), f, nil)
			began := time.Now()
			c.hostDown("note", "h1")
			pass(millisecond)
			if n, run := c.note("note"), c.run(0).rec; n.Status != recovery.StatusRunning || fails.Load() != 1 || !strings.HasPrefix(run.Message, "put off: ") {
				t.Errorf("notification %s after %d tries, message of the run: %q", n.Status, fails.Load(), run.Message)
			}
			pass(time.Hour)
			if got := c.outcome("note"); got != "finished: " {
				t.Errorf("notification = %q", got)
			}
			if c.count() != 1 || fails.Load() != 6 {
				t.Errorf("%d runs, %d tries", c.count(), fails.Load())
			}
			// What a panic left under way nobody knows: the claim must not be handed over.
			if want := map[bool]int{true: 5}[tt.name == "panic"]; c.closed != want {
				t.Errorf("%d claims were closed, want %d", c.closed, want)
			}
			// 1 + 2 + 4 + 8 + 16 seconds, each up to a quarter less
			if took := c.run(0).rec.Ended.Sub(began); took > 32*time.Second || took < 23*time.Second {
				t.Errorf("it took %s", took)
			}
			if left := c.left(); left != "" {
				t.Errorf("left: %s", left)
			}
		})
	}
}

func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		f, w := &flows{t: t}, &watcher{}
		cloud := services{
			{Binary: "nova-compute", Host: "h1", State: "up"},
			{Binary: "nova-compute", Host: "h2", State: "down"},
			{Binary: "nova-compute", Host: "stranger", State: "down"},
		}
		start(t, c.node("n1"), f, func(cfg *engine.Config) { cfg.Observer, cfg.Cloud = w, cloud })
		pass(millisecond)
		c.do(func() { c.away = recovery.ErrUnavailable })
		pass(10 * time.Minute)
		c.do(func() { c.away = nil })
		pass(time.Minute)
		if got, want := w.list(), []string{"unreported h2", "away true", "away false", "unreported h2"}; !slices.Equal(got, want) {
			t.Errorf("told: %q, want %q", got, want)
		}
		c.hostDown("note", "h1")
		pass(millisecond)
		if got := c.outcome("note"); got != "finished: " {
			t.Errorf("notification = %q", got)
		}
	})
}

type services []recovery.ComputeService

func (s services) Services(_ context.Context, f recovery.ServiceFilter) ([]recovery.ComputeService, error) {
	if f.Binary != "nova-compute" {
		return nil, fmt.Errorf("asked for %+v", f)
	}
	return s, nil
}

func TestUnreported(t *testing.T) {
	tests := []struct {
		name    string
		service recovery.ComputeService
		setup   func(*cluster)
		want    bool
	}{
		{"down", recovery.ComputeService{State: "down", Status: "enabled"}, nil, true},
		{"down and disabled", recovery.ComputeService{State: "down", Status: "disabled"}, nil, true},
		{"forced down", recovery.ComputeService{State: "up", ForcedDown: true}, nil, true},
		{"up", recovery.ComputeService{State: "up"}, nil, false},
		{"on maintenance", recovery.ComputeService{State: "down"}, func(c *cluster) { c.hosts[0].OnMaintenance = true }, false},
		{"reported", recovery.ComputeService{State: "down"}, func(c *cluster) { c.hostDown("n", "h1") }, false},
		{"only a server of it reported", recovery.ComputeService{State: "down"}, func(c *cluster) { c.vmDown("n", "h1", "srv") }, true},
		{"segment disabled", recovery.ComputeService{State: "down"}, func(c *cluster) { c.segments[0].Enabled = false }, false},
		{"another service", recovery.ComputeService{State: "down", Binary: "nova-scheduler"}, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t)
			if tt.setup != nil {
				tt.setup(c)
			}
			tt.service.Host = "h1"
			if tt.service.Binary == "" {
				tt.service.Binary = "nova-compute"
			}
			e := engine.New(engine.Config{Store: c.node("n1"), Flows: &flows{t: t}, Cloud: services{tt.service}})
			got, err := e.Unreported(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if (len(got) == 1) != tt.want || len(got) == 1 && (got[0].Host.Name != "h1" || got[0].Service != tt.service) {
				t.Errorf("Unreported() = %+v, want it: %t", got, tt.want)
			}
		})
	}
	t.Run("Nova away", func(t *testing.T) {
		e := engine.New(engine.Config{Store: newCluster(t).node("n1"), Flows: &flows{t: t}, Cloud: noCloud{}})
		if _, err := e.Unreported(t.Context()); !errors.Is(err, recovery.ErrUnavailable) {
			t.Errorf("Unreported() = %v", err)
		}
	})
}

type noCloud struct{}

func (noCloud) Services(context.Context, recovery.ServiceFilter) ([]recovery.ComputeService, error) {
	return nil, recovery.ErrUnavailable
}

func TestExpiry(t *testing.T) {
	day := func(cfg *engine.Config) {
		cfg.Intervals = engine.Intervals{CheckExpired: time.Minute, Expired: time.Hour}
	}
	bubble(t, "one that cannot be begun", func(t *testing.T) {
		c := newCluster(t)
		c.locks["server/srv"] = &fakeRun{node: c.node("gone"), id: "other", item: &recovery.QueueItem{}} // somebody else's
		start(t, c.node("n1"), &flows{t: t}, day)
		c.vmDown("note", "h1", "srv")
		pass(59 * time.Minute)
		if got := c.note("note").Status; got != recovery.StatusNew {
			t.Errorf("before its time: %s", got)
		}
		pass(2 * time.Minute)
		if n := c.note("note"); n.Status != recovery.StatusFailed || !strings.Contains(n.Message, "expired after 1h0m0s") || len(n.Runs) != 0 {
			t.Errorf("notification = %s %q, runs %v", n.Status, n.Message, n.Runs)
		}
	})
	bubble(t, "one that runs", func(t *testing.T) {
		c := newCluster(t)
		f := &flows{t: t, task: blocking(nil)}
		start(t, c.node("n1"), f, day)
		c.hostDown("note", "h1")
		pass(62 * time.Minute)
		n, run := c.note("note"), c.run(0).rec
		if n.Status != recovery.StatusFailed || !strings.Contains(n.Message, "task a: aborted by engine: the notification was accepted at") || !strings.Contains(n.Message, "expired after 1h0m0s") {
			t.Errorf("notification = %s %q", n.Status, n.Message)
		}
		if run.Abort == nil || run.Abort.Mode != recovery.AbortStop || c.count() != 1 || f.atWork != 0 {
			t.Errorf("aborted %+v, %d runs, %d at work", run.Abort, c.count(), f.atWork)
		}
	})
	bubble(t, "one that waits for its next try", func(t *testing.T) {
		c := newCluster(t)
		start(t, c.node("n1"), &flows{t: t, task: failing}, func(cfg *engine.Config) {
			day(cfg)
			cfg.MaxWait, cfg.Intervals.Unfinished = 3*time.Hour, 3*time.Hour
		})
		c.hostDown("note", "h1")
		pass(62 * time.Minute)
		if n := c.note("note"); n.Status != recovery.StatusFailed || !strings.Contains(n.Message, "expired") || c.count() != 1 {
			t.Errorf("notification = %s %q, %d runs", n.Status, n.Message, c.count())
		}
	})
	bubble(t, "one that cannot be ended", func(t *testing.T) {
		c := newCluster(t)
		f := &flows{t: t}
		f.perform = func(ctx context.Context, job engine.Job) (recovery.Run, error) {
			if err := job.Journal.Start(ctx, job.Record); err != nil {
				t.Error(err)
			}
			return recovery.Run{}, fmt.Errorf("changes that were under way: %w", recovery.ErrUnavailable)
		}
		start(t, c.node("n1"), f, func(cfg *engine.Config) {
			cfg.Intervals = engine.Intervals{CheckExpired: time.Minute, Expired: 2 * time.Minute}
		})
		c.hostDown("note", "h1")
		pass(40 * time.Minute)
		if n := c.note("note"); n.Status != recovery.StatusRunning {
			t.Errorf("within the hour of grace: %s %q", n.Status, n.Message)
		}
		pass(30 * time.Minute)
		if n := c.note("note"); n.Status != recovery.StatusFailed || !strings.Contains(n.Message, "expired after 2m0s; changes that were under way: unavailable") {
			t.Errorf("notification = %s %q", n.Status, n.Message)
		}
		if left := c.left(); left != "" {
			t.Errorf("left: %s", left)
		}
	})
	for _, tt := range []struct {
		name  string
		check time.Duration
		want  recovery.NotificationStatus
	}{
		{"switched off", -1, recovery.StatusError},
		{"one that fails late", 100 * time.Hour, recovery.StatusFailed},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			c := newCluster(t)
			release := make(chan struct{})
			f := &flows{t: t}
			f.task = func(ctx context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
				<-release
				return failing(ctx, job, call)
			}
			start(t, c.node("n1"), f, func(cfg *engine.Config) {
				day(cfg)
				cfg.Intervals.CheckExpired = tt.check
			})
			c.hostDown("note", "h1")
			pass(48 * time.Hour)
			if n := c.note("note"); n.Status != recovery.StatusRunning {
				t.Errorf("notification = %s %q", n.Status, n.Message)
			}
			close(release)
			pass(millisecond)
			n := c.note("note")
			if n.Status != tt.want || strings.Contains(n.Message, "not tried again: the notification was accepted at") != (tt.want == recovery.StatusFailed) {
				t.Errorf("notification = %s %q, want %s", n.Status, n.Message, tt.want)
			}
		})
	}
}

// TestLeftToUndo keeps a run until nothing of it is left, and ends its
// notification then.
func TestLeftToUndo(t *testing.T) {
	tests := []struct {
		name   string
		task   func(context.Context, engine.Job, flow.TaskCall) recovery.Outcome
		fails  int // how often the undoing does
		within time.Duration
		want   string
	}{
		{"success", nil, 4, 16 * time.Second, "finished: "},
		{"failure", failing, 4, 16 * time.Second, "error: flow host-auto: task b: boom"},
		{"for ever", nil, 1 << 30, 26 * time.Hour, "finished: left to undo: locked"},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			c := newCluster(t)
			f, fails := &flows{t: t}, 0
			f.task = func(ctx context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
				if call.Key == "a" {
					if err := job.Run.(ledger).PushUndo(ctx, recovery.Undo{Key: "unlock_server/s1"}); err != nil {
						t.Error(err)
					}
				}
				if tt.task != nil {
					return tt.task(ctx, job, call)
				}
				return recovery.Outcome{Status: recovery.TaskSucceeded}
			}
			f.undo = func(recovery.Undo) error {
				if fails++; fails <= tt.fails {
					return errors.New("locked")
				}
				return nil
			}
			w := &watcher{}
			start(t, c.node("n1"), f, func(cfg *engine.Config) { cfg.Observer = w })
			c.hostDown("note", "h1")
			pass(millisecond)
			if n, run := c.note("note"), c.run(0); n.Status != recovery.StatusRunning || !run.rec.Finished || len(run.undos) != 1 {
				t.Errorf("with something left: notification %s, run finished %t, left %v", n.Status, run.rec.Finished, run.undos)
			}
			pass(tt.within)
			if got := c.outcome("note"); got != tt.want {
				t.Errorf("notification = %q, want %q", got, tt.want)
			}
			if n := len(slices.DeleteFunc(w.list(), func(s string) bool { return !strings.HasPrefix(s, "started") })); n != 1 {
				t.Errorf("told %d times that it started", n)
			}
			if c.count() != 1 || len(slices.DeleteFunc(f.did, func(s string) bool { return s != "run h1/a" })) != 1 {
				t.Errorf("%d runs, done: %v", c.count(), f.did)
			}
		})
	}
}

// TestLeftOpen lets no other run begin while a change of this one may yet
// arrive.
func TestLeftOpen(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		c := newCluster(t)
		var known atomic.Bool
		f := &flows{t: t}
		f.task = func(ctx context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
			if err := job.Run.(*fakeRun).setOpen(ctx, recovery.Intent{ID: "i"}); err != nil {
				t.Error(err)
			}
			return failing(ctx, job, call)
		}
		f.settle = func(ctx context.Context, run engine.Run) error {
			if !known.Load() {
				return nil
			}
			return run.(*fakeRun).setOpen(ctx)
		}
		start(t, c.node("n1"), f, nil)
		c.hostDown("note", "h1")
		pass(10 * time.Second)
		if n, run := c.note("note"), c.run(0); n.Status != recovery.StatusRunning || !run.rec.Finished || c.count() != 1 {
			t.Errorf("with a change that may yet arrive: notification %s, run finished %t, %d runs", n.Status, run.rec.Finished, c.count())
		}
		known.Store(true)
		pass(16 * time.Second)
		if got, want := c.outcome("note"), "error: flow host-auto: task b: boom"; got != want {
			t.Errorf("notification = %q, want %q", got, want)
		}
	})
}

func TestAbort(t *testing.T) {
	for _, mode := range []recovery.AbortMode{recovery.AbortRevert, recovery.AbortStop} {
		bubble(t, string(mode), func(t *testing.T) {
			c := newCluster(t)
			f := &flows{t: t}
			f.task = func(ctx context.Context, _ engine.Job, call flow.TaskCall) recovery.Outcome {
				if call.Key == "b" {
					<-ctx.Done()
				}
				return recovery.Outcome{Status: recovery.TaskSucceeded}
			}
			n1 := c.node("n1")
			start(t, n1, f, nil)
			c.hostDown("note", "h1")
			pass(millisecond)
			if err := c.node("n2").Abort(t.Context(), c.run(0).rec.ID, recovery.Abort{Mode: mode, Reason: "wrong host", By: "u1", Status: recovery.StatusFailed}); err != nil {
				t.Fatal(err)
			}
			pass(time.Hour)
			if got, want := c.outcome("note"), "failed: flow host-auto: task b: aborted by u1: wrong host"; got != want {
				t.Errorf("notification = %q, want %q", got, want)
			}
			want := []string{"run h1/a", "run h1/b"}
			if mode == recovery.AbortRevert {
				want = append(want, "revert h1/a")
			}
			if !slices.Equal(f.did, want) || c.count() != 1 {
				t.Errorf("done: %v, want %v; %d runs", f.did, want, c.count())
			}
		})
	}
	bubble(t, "of a run that cannot be gone on with", func(t *testing.T) {
		c := newCluster(t)
		f := &flows{t: t}
		f.perform = func(ctx context.Context, job engine.Job) (recovery.Run, error) {
			if err := job.Journal.Start(ctx, job.Record); err != nil {
				t.Error(err)
			}
			return job.Record, errors.New("module d-a is gone")
		}
		n := c.node("n1")
		start(t, n, f, nil)
		c.hostDown("note", "h1")
		pass(millisecond)
		if err := n.Abort(t.Context(), c.run(0).rec.ID, recovery.Abort{Mode: recovery.AbortStop, Reason: "give up", Status: recovery.StatusFailed}); err != nil {
			t.Fatal(err)
		}
		pass(30 * time.Minute)
		if got := c.note("note").Status; got != recovery.StatusRunning {
			t.Errorf("too soon: %s", c.outcome("note"))
		}
		pass(time.Hour)
		if got, want := c.outcome("note"), "failed: give up; module d-a is gone"; got != want {
			t.Errorf("notification = %q, want %q", got, want)
		}
	})
	bubble(t, "when nobody works on it", func(t *testing.T) {
		c := newCluster(t)
		abandoned(t, c)
		if err := c.node("n2").Abort(t.Context(), c.run(0).rec.ID, recovery.Abort{Mode: recovery.AbortStop, Reason: "not needed", Status: recovery.StatusIgnored}); err != nil {
			t.Fatal(err)
		}
		f := &flows{t: t}
		start(t, c.node("n1"), f, nil)
		pass(millisecond)
		if got, want := c.outcome("note"), "ignored: aborted before it began: not needed"; got != want || len(f.prepared) != 0 {
			t.Errorf("notification = %q, want %q; prepared %d", got, want, len(f.prepared))
		}
	})
}

// abandoned leaves the run of a VM notification that was claimed by a node that
// died before it did anything.
func abandoned(t *testing.T, c *cluster) {
	t.Helper()
	c.vmDown("note", "h1", "srv")
	dead := c.node("dead")
	if _, err := dead.Claim(t.Context(), "note"); err != nil {
		t.Fatal(err)
	}
	dead.kill()
}

// TestSegmentDisabledMeanwhile looks at the segment again when a run that did
// not begin is taken over.
func TestSegmentDisabledMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		abandoned(t, c)
		c.segments[0].Enabled = false
		start(t, c.node("n1"), &flows{t: t}, nil)
		pass(millisecond)
		if got, want := c.outcome("note"), "ignored: Recovery aborted: the segment HA is disabled."; got != want || c.count() != 1 || !c.run(0).rec.Finished {
			t.Errorf("notification = %q, want %q; %d runs", got, want, c.count())
		}
	})
}

// lostAnswer marks a claim of which nobody hears.
type lostAnswer struct{}

// TestClaimWhoseAnswerWasLost takes a claim up again that the store knows to be
// this node's.
func TestClaimWhoseAnswerWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.node("n1")
		c.vmDown("note", "h1", "srv")
		if _, err := n.Claim(context.WithValue(t.Context(), lostAnswer{}, true), "note"); err != nil {
			t.Fatal(err)
		}
		start(t, c.node("n2"), &flows{t: t}, nil)
		start(t, n, &flows{t: t}, nil)
		pass(10 * time.Second)
		if run := c.run(0).rec; run.Node != "n1" || !run.Finished || c.count() != 1 {
			t.Errorf("run of %s, finished %t, %d runs", run.Node, run.Finished, c.count())
		}
	})
}

// TestTakesUpAtOnce loses no time over a claim that it did not get before.
func TestTakesUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		f := &flows{t: t, task: blocking(nil)}
		nodes := map[string]started{}
		for i := range 5 {
			name := fmt.Sprint("n", i)
			nodes[name] = start(t, c.node(name), f, nil)
		}
		c.hostDown("note", "h1")
		pass(millisecond)
		began := time.Now()
		for range 4 {
			owner := c.run(0).rec.Node
			if err := nodes[owner].stop(); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if now := c.run(0).rec.Node; now == owner || time.Since(began) != 0 {
				t.Errorf("the run went from %s to %s in %s", owner, now, time.Since(began))
			}
		}
	})
}

// TestResume kills a node before each thing that it writes, and another goes on
// to the same end, also when that one is killed too.
func TestResume(t *testing.T) {
	scenarios := []struct {
		name string
		task func(context.Context, engine.Job, flow.TaskCall) recovery.Outcome
		want string
		did  []string
	}{
		{"success", nil, "finished: ", []string{"run h1/a", "run h1/b", "run h1/c"}},
		{"failure", failing, "failed: flow host-rh: task b: boom (reserved host r2); given up after try 1 of 1", []string{"run h1/a", "run h1/b", "run h1/b", "revert h1/a"}},
	}
	for _, s := range scenarios {
		world := func(t *testing.T) (*cluster, *flows) {
			c := newCluster(t)
			c.segments[0].RecoveryMethod = recovery.ReservedHost
			f := &flows{t: t, undo: nil}
			f.task = func(ctx context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
				if call.Key == "a" {
					if err := job.Run.(ledger).PushUndo(ctx, recovery.Undo{Key: "unlock_server/s1"}); err != nil {
						return recovery.Outcome{Status: recovery.TaskFailed, Message: err.Error()}
					}
				}
				if s.task != nil {
					return s.task(ctx, job, call)
				}
				return recovery.Outcome{Status: recovery.TaskSucceeded}
			}
			return c, f
		}
		var steps []string
		bubble(t, s.name, func(t *testing.T) {
			c, f := world(t)
			c.step = func(_, name string) error { steps = append(steps, name); return nil }
			start(t, c.node("n1"), f, func(cfg *engine.Config) { cfg.MaxDeliveries = 1 })
			c.hostDown("note", "h1")
			pass(time.Minute)
			if got := c.outcome("note"); got != s.want || !slices.Equal(f.did, s.did) {
				t.Errorf("undisturbed: %q, done %v", got, f.did)
			}
		})
		for i, step := range steps {
			bubble(t, fmt.Sprintf("%s, killed at %d %s", s.name, i, step), func(t *testing.T) {
				c, f := world(t)
				at := 0
				c.step = func(string, string) error {
					if at++; at == i+1 || at == i+3 {
						return errors.New("killed")
					}
					return nil
				}
				for _, name := range []string{"n1", "n2", "n3"} {
					start(t, c.node(name), f, func(cfg *engine.Config) { cfg.MaxDeliveries = 1 })
				}
				c.hostDown("note", "h1")
				pass(time.Minute)
				if got := c.outcome("note"); got != s.want {
					t.Errorf("notification = %q, want %q", got, s.want)
				}
				if left := c.left(); left != "" || len(c.run(0).undos) != 0 {
					t.Errorf("left: %s, to undo: %v", left, c.run(0).undos)
				}
				if c.count() != 1 {
					t.Errorf("%d runs", c.count())
				}
				if len(f.did) > len(s.did)+2 {
					t.Errorf("done: %v", f.did)
				}
				for _, rec := range c.run(0).tasks {
					if rec.Ended.IsZero() {
						t.Errorf("task without an end: %+v", rec)
					}
				}
			})
		}
	}
}

func TestGivesUpWhatKillsItEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		f := &flows{t: t}
		var at *node
		f.task = func(ctx context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
			if call.Key == "b" {
				at.kill()
			}
			return recovery.Outcome{Status: recovery.TaskSucceeded}
		}
		c.hostDown("note", "h1")
		for i := range 6 {
			at = c.node(fmt.Sprint("n", i))
			s := start(t, at, f, func(cfg *engine.Config) { cfg.MaxAttempts = 3 })
			pass(time.Second)
			_ = s.stop()
		}
		if got, want := c.outcome("note"), "failed: flow host-auto: task b: aborted by engine: task b was begun 3 times and never came to an end"; got != want {
			t.Errorf("notification = %q, want %q", got, want)
		}
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		release := make(chan struct{})
		f, w := &flows{t: t, task: blocking(release)}, &watcher{}
		n1 := c.node("n1")
		first := start(t, n1, f, func(cfg *engine.Config) { cfg.Observer = w })
		c.hostDown("host", "h1")
		c.vmDown("vm", "h2", "srv")
		pass(millisecond)
		began := time.Now()
		start(t, c.node("n2"), f, nil)
		if err := first.stop(); err != nil {
			t.Errorf("Run() = %v", err)
		}
		if !n1.draining {
			t.Error("the node does not say that it drains")
		}
		synctest.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
		for i := range 2 {
			if run := c.run(i).rec; run.Node != "n2" || run.Finished {
				t.Errorf("run %s is node %s's, finished %t", run.ID, run.Node, run.Finished)
			}
		}
		told := w.list()
		for _, want := range []string{"handed over run1 lost=false", "handed over run2 lost=false"} {
			if !slices.Contains(told, want) {
				t.Errorf("not told: %s in %q", want, told)
			}
		}
		close(release)
		pass(millisecond)
		for _, n := range []string{"host", "vm"} {
			if got := c.outcome(n); got != "finished: " {
				t.Errorf("%s = %q", n, got)
			}
		}
		if c.count() != 2 {
			t.Errorf("%d runs, want 2", c.count())
		}
	})
}

func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		deaf := make(chan struct{})
		f := &flows{t: t, perform: func(_ context.Context, job engine.Job) (recovery.Run, error) {
			<-deaf
			return job.Record, recovery.ErrInterrupted
		}}
		s := start(t, c.node("n1"), f, func(cfg *engine.Config) { cfg.DrainTimeout = time.Minute })
		c.hostDown("note", "h1")
		pass(millisecond)
		began := time.Now()
		err := s.stop()
		if !errors.Is(err, recovery.ErrTimeout) || !strings.Contains(err.Error(), "note") || time.Since(began) != time.Minute {
			t.Errorf("Run() = %v after %s", err, time.Since(began))
		}
		close(deaf)
		synctest.Wait()
	})
}

func TestLeaseLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		release := make(chan struct{})
		f, w := &flows{t: t, task: blocking(release)}, &watcher{}
		n1 := c.node("n1")
		start(t, n1, f, func(cfg *engine.Config) { cfg.Observer = w })
		c.hostDown("note", "h1")
		pass(millisecond)
		start(t, c.node("n2"), f, nil)
		n1.kill()
		pass(millisecond)
		if got := w.list(); !slices.Contains(got, "handed over run1 lost=true") {
			t.Errorf("told: %q", got)
		}
		if run := c.run(0).rec; run.Node != "n2" {
			t.Errorf("the run is node %s's", run.Node)
		}
		close(release)
		pass(millisecond)
		if got := c.outcome("note"); got != "finished: " || c.count() != 1 {
			t.Errorf("notification = %q, %d runs", got, c.count())
		}
	})
}

// TestReservedHosts gives two hosts of a segment two reserved hosts, and the
// third none.
func TestReservedHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.segments[0].RecoveryMethod = recovery.ReservedHost
		c.hosts = append(c.hosts, recovery.Host{UUID: "uuid-h3", Name: "h3", SegmentUUID: "seg"})
		release := make(chan struct{})
		f := &flows{t: t}
		used := map[string]string{}
		f.task = func(ctx context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
			if call.Key == "b" {
				c.do(func() { used[job.Record.Host] = call.ReservedHost })
				<-release
			}
			return recovery.Outcome{Status: recovery.TaskSucceeded}
		}
		start(t, c.node("n1"), f, func(cfg *engine.Config) { cfg.HostsAtOnce, cfg.MaxDeliveries = 1, 1 })
		start(t, c.node("n2"), f, func(cfg *engine.Config) { cfg.HostsAtOnce, cfg.MaxDeliveries = 2, 1 })
		for i := range 3 {
			c.hostDown(fmt.Sprint("n", i+1), fmt.Sprint("h", i+1))
		}
		pass(time.Second)
		if len(used) != 2 {
			t.Errorf("reserved hosts given out: %v", used)
		}
		seen := map[string]bool{}
		for h, r := range used {
			if seen[r] {
				t.Errorf("%s is given out twice", r)
			}
			seen[r] = true
			_ = h
		}
		close(release)
		pass(time.Second)
		none := 0
		for i := range 3 {
			n := c.note(fmt.Sprint("n", i+1))
			if n.Status == recovery.StatusFailed && strings.Contains(n.Message, "no reserved host could be claimed") && strings.Contains(n.Message, "is run") {
				none++
			}
		}
		if none != 1 {
			t.Errorf("%d runs had no reserved host, want 1", none)
		}
		if left := c.left(); left != "" {
			t.Errorf("left: %s", left)
		}
	})
}

// next is what else is done with a reserved host.
type next struct{ claim, settle error }

func (n next) Claim(context.Context, string) error  { return n.claim }
func (n next) Settle(context.Context, string) error { return n.settle }

func TestReserved(t *testing.T) {
	tests := []struct {
		name    string
		next    flow.Reserved
		undo    *recovery.Undo
		claimed bool // after Claim
		kept    bool // after Settle
	}{
		{"claimed and settled", nil, nil, true, false},
		{"nova-compute down", next{claim: recovery.ErrConflict}, nil, false, false},
		{"settled by the next", next{}, nil, true, false},
		{"not settled", next{settle: recovery.ErrUnavailable}, nil, true, true},
		{"something is on its way there", next{}, &recovery.Undo{Key: "disable_service/r1", Host: "r1"}, true, true},
		{"something of another", next{}, &recovery.Undo{Key: "disable_service/r2", Host: "r2"}, true, false},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			c := newCluster(t)
			f := &flows{t: t}
			f.perform = func(ctx context.Context, job engine.Job) (recovery.Run, error) {
				r := job.Reserved(tt.next)
				err := r.Claim(ctx, "r1")
				if (err == nil) != tt.claimed || (c.reserved["r1"] == job.Run.ID()) != tt.claimed {
					t.Errorf("Claim() = %v, claimed for %q", err, c.reserved["r1"])
				}
				if tt.undo != nil {
					if err := job.Run.(ledger).PushUndo(ctx, *tt.undo); err != nil {
						t.Error(err)
					}
				}
				_ = r.Settle(ctx, "r1")
				if kept := c.reserved["r1"] != ""; kept != tt.kept {
					t.Errorf("after Settle() it is kept: %t, want %t", kept, tt.kept)
				}
				if tt.undo != nil {
					if err := job.Run.(ledger).DropUndo(ctx, tt.undo.Key); err != nil {
						t.Error(err)
					}
				}
				run := job.Record
				run.Status, run.Finished = recovery.StatusFinished, true
				return run, nil
			}
			start(t, c.node("n1"), f, nil)
			c.hostDown("note", "h1")
			pass(millisecond)
			if got := c.outcome("note"); got != "finished: " || len(c.reserved) != 0 {
				t.Errorf("notification = %q, reserved %v", got, c.reserved)
			}
		})
	}
}

func TestRepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.hosts[0].OnMaintenance = true
		f := &flows{t: t}
		f.perform = func(_ context.Context, job engine.Job) (recovery.Run, error) {
			run := job.Record
			run.Status, run.Finished = recovery.StatusFinished, true
			return run, nil
		}
		start(t, c.node("n1"), f, func(cfg *engine.Config) { cfg.Repair = recovery.HostRepair })
		c.accept("note", recovery.ComputeHost, "h1", map[string]string{"event": "STARTED", "host_status": "NORMAL"})
		c.vmDown("vm", "h1", "srv")
		pass(millisecond)
		if got := c.outcome("note"); got != "finished: " || c.run(0).rec.Flows[0] != recovery.HostRepair {
			t.Errorf("notification = %q, flows %v", got, c.run(0).rec.Flows)
		}
		pass(time.Minute)
		if got := c.outcome("vm"); got != "finished: " {
			t.Errorf("a server's notification = %q: it is not superseded", got)
		}
	})
}

// A host that is back is taken into service when its recovery has ended for
// good, not between two tries of it.
func TestRepairComesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		f := &flows{t: t}
		var order []string
		f.perform = func(ctx context.Context, job engine.Job) (recovery.Run, error) {
			run := job.Record
			c.do(func() { order = append(order, fmt.Sprint(run.Host, " ", run.Flows[0])) })
			run.Status, run.Finished = recovery.StatusFailed, true
			return run, job.Journal.End(ctx, run)
		}
		start(t, c.node("n1"), f, func(cfg *engine.Config) { cfg.Repair, cfg.MaxDeliveries = recovery.HostRepair, 2 })
		c.hostDown("down", "h1")
		pass(millisecond)
		c.accept("up", recovery.ComputeHost, "h1", map[string]string{"event": "STARTED", "host_status": "NORMAL"})
		pass(30 * time.Minute)
		want := []string{"h1 host-auto", "h1 host-auto", "h1 host-repair", "h1 host-repair"}
		c.do(func() {
			if !slices.Equal(order, want) {
				t.Errorf("runs %q, want %q", order, want)
			}
		})
	})
}

// Whoever asks whether the engine is alive hears of a loop that stands still, and
// not of a store that is away for a moment.
func TestAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		hangs := make(chan struct{})
		e := start(t, c.node("n1"), &flows{t: t}, func(cfg *engine.Config) { cfg.Store = hanging{c.node("n1"), hangs} })
		ask := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			return e.Alive(ctx)
		}
		if err := ask(); err != nil {
			t.Errorf("at work: %v", err)
		}
		c.do(func() { c.away = recovery.ErrUnavailable })
		pass(time.Minute)
		if err := ask(); err != nil {
			t.Errorf("while the store is away: %v", err)
		}
		c.do(func() { c.away = errHang })
		pass(time.Minute)
		if err := ask(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stuck: %v", err)
		}
		close(hangs)
		if err := ask(); err != nil {
			t.Errorf("going on: %v", err)
		}
	})
}

// hanging is a store that stands still, whatever the caller's time, once its
// cluster is away with errHang.
type hanging struct {
	*node
	on chan struct{}
}

var errHang = errors.New("hang")

func (h hanging) Queue(ctx context.Context) ([]recovery.QueueItem, error) {
	items, err := h.node.Queue(ctx)
	if errors.Is(err, errHang) {
		<-h.on
	}
	return items, err
}

func (h hanging) Nodes(ctx context.Context) ([]recovery.Node, error) {
	nodes, err := h.node.Nodes(ctx)
	if errors.Is(err, errHang) {
		<-h.on
	}
	return nodes, err
}

// TestLeftNew looks again at what was left new for long enough, although it
// was tried a moment ago.
func TestLeftNew(t *testing.T) {
	tests := []struct {
		name       string
		unfinished time.Duration
		want       bool
	}{
		{"looked for", 90 * time.Second, true},
		{"not looked for", -1, false},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			c := newCluster(t)
			n := c.node("n1")
			fails := true
			start(t, n, &flows{t: t}, func(cfg *engine.Config) {
				cfg.Store = sometimes{n, &fails}
				cfg.Intervals.Unfinished = tt.unfinished
			})
			c.hostDown("note", "h1")
			pass(66 * time.Second) // tries at 1, 3, 7, 15, 31, 63 s, or up to a quarter earlier
			c.do(func() { fails = false })
			pass(25 * time.Second)
			if got := c.outcome("note") == "finished: "; got != tt.want {
				t.Errorf("taken up: %t, want %t", got, tt.want)
			}
			pass(time.Hour)
			if got := c.outcome("note"); got != "finished: " {
				t.Errorf("notification = %q", got)
			}
		})
	}
}

// TestWakes looks at the queue when a change is worth it, and now and then
// without one.
func TestWakes(t *testing.T) {
	tests := []struct {
		name string
		news recovery.Change
		want bool
	}{
		{"the queue", recovery.Change{Queue: true}, true},
		{"changes were left out", recovery.Change{Lost: true}, true},
		{"something else", recovery.Change{Host: &recovery.Host{}}, false},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			c := newCluster(t)
			c.news = tt.news
			start(t, c.node("n1"), &flows{t: t}, func(cfg *engine.Config) { cfg.FirstJob = time.Hour })
			pass(millisecond)
			c.vmDown("note", "h1", "srv")
			pass(millisecond)
			if got := c.note("note").Status.Final(); got != tt.want {
				t.Errorf("done at once: %t, want %t", got, tt.want)
			}
			pass(15 * time.Second)
			if !c.note("note").Status.Final() {
				t.Error("not done after a while")
			}
		})
	}
}

// sometimes is a store that cannot read notifications while fails is true.
type sometimes struct {
	*node
	fails *bool
}

func (s sometimes) Notification(ctx context.Context, uuid string) (recovery.Notification, error) {
	s.mu.Lock()
	fails := *s.fails
	s.mu.Unlock()
	if fails {
		return recovery.Notification{}, recovery.ErrUnavailable
	}
	return s.node.Notification(ctx, uuid)
}

func TestOverrideReachesTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.hostDown("note", "h1")
		c.items[0].Override = "checked by phone"
		start(t, c.node("n1"), &flows{t: t}, nil)
		pass(millisecond)
		if got := c.run(0).rec.Override; got != "checked by phone" {
			t.Errorf("override = %q", got)
		}
	})
}

func TestEventsOfRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		w := &watcher{}
		start(t, c.node("n1"), &flows{t: t}, func(cfg *engine.Config) { cfg.Observer = w })
		c.vmDown("note", "h1", "srv")
		c.accept("noise", recovery.VM, "h1", map[string]string{"event": "REBOOT", "vir_domain_event": "UNKNOWN", "instance_uuid": "srv2"})
		pass(millisecond)
		got := w.list()
		slices.Sort(got)
		want := []string{
			"claimed note run1 resumed=false", "ended noise ignored", "run ended note run1 finished finished", "started note run1",
			"task run1 a running", "task run1 a succeeded", "task run1 b running", "task run1 b succeeded", "task run1 c running", "task run1 c succeeded",
		}
		if !slices.Equal(got, want) {
			t.Errorf("told: %q, want %q", got, want)
		}
	})
}

func TestIntervalsCanBeChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		s := start(t, c.node("n1"), &flows{t: t, task: failing}, nil)
		s.SetIntervals(engine.Intervals{Unfinished: 10 * time.Second})
		c.hostDown("note", "h1")
		pass(11 * time.Second)
		if c.count() != 2 {
			t.Errorf("%d runs, want 2", c.count())
		}
	})
}

func TestInputsAreJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.hostDown("note", "h1")
		start(t, c.node("n1"), &flows{t: t}, nil)
		pass(millisecond)
		for name, v := range c.run(0).rec.Inputs {
			if !json.Valid(v) {
				t.Errorf("%s = %s", name, v)
			}
		}
	})
}
