// Package storetest is the conformance suite of the store: what holds for an
// embedded etcd and for a cluster alike.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

// Run runs the suite. open gives an empty store, which the caller closes when
// the test ends.
func Run(t *testing.T, open func(t *testing.T) *store.Store) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, *store.Store)
	}{
		{"segments", testSegments},
		{"hosts", testHosts},
		{"in use", testInUse},
		{"many hosts", testManyHosts},
		{"accept", testAccept},
		{"accept at once", testAcceptAtOnce},
		{"duplicates", testDuplicates},
		{"queue", testQueue},
		{"run", testRun},
		{"run refusals", testRunRefusals},
		{"end", testEnd},
		{"requeue", testRequeue},
		{"many undos", testManyUndos},
		{"release", testRelease},
		{"vm runs", testVMRuns},
		{"supersede", testSupersede},
		{"abort", testAbort},
		{"retry", testRetry},
		{"reserved", testReserved},
		{"claim at once", testClaimAtOnce},
		{"values", testValues},
		{"hammer", testHammer},
		{"library", testLibrary},
		{"library quota", testLibraryQuota},
		{"library at once", testLibraryAtOnce},
		{"guards", testGuards},
		{"watch", testWatch},
		{"nodes", testNodes},
		{"modules", testModules},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t)) })
	}
}

// The interfaces that the store serves, as those who need them declare them.
type (
	journal interface {
		Start(context.Context, recovery.Run) error
		StartTask(context.Context, recovery.TaskRecord) error
		FinishTask(context.Context, recovery.TaskRecord, map[string]json.RawMessage) error
		SetValues(context.Context, map[string]json.RawMessage) error
		End(context.Context, recovery.Run) error
	}
	ledger interface {
		BeginIntent(context.Context, recovery.Intent) error
		EndIntent(context.Context, recovery.Intent) error
		OpenIntents(context.Context) ([]recovery.Intent, error)
		PushUndo(context.Context, recovery.Undo) error
		DropUndo(ctx context.Context, key string) error
		Undos(context.Context) ([]recovery.Undo, error)
		Check(context.Context, time.Duration) error
	}
	ha interface {
		Segment(context.Context) (recovery.Segment, error)
		Hosts(context.Context) ([]recovery.Host, error)
		UpdateHost(context.Context, recovery.Host) error
		VMoves(context.Context) ([]recovery.VMove, error)
		PutVMove(context.Context, recovery.VMove) error
	}
	keyValues interface {
		Get(ctx context.Context, owner, name string) (recovery.KVValue, error)
		Put(ctx context.Context, owner, name string, v recovery.KVValue, ifVersion *int64) (int64, error)
		Delete(ctx context.Context, owner, name string, ifVersion *int64) error
		List(ctx context.Context, owner, prefix string) ([]recovery.KVValue, error)
	}
)

var (
	_ journal   = (*store.Run)(nil)
	_ ledger    = (*store.Run)(nil)
	_ ha        = (*store.Run)(nil)
	_ keyValues = store.Scratch{}
	_ keyValues = (*store.Library)(nil)
)

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func value(s string) recovery.KVValue { return recovery.KVValue{Value: raw(s)} }

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// is compares what came with what should, or the error with its sentinel.
func is(t *testing.T, what string, got, want any) {
	t.Helper()
	if e, ok := want.(error); ok {
		if g, _ := got.(error); !errors.Is(g, e) {
			t.Errorf("%s = %v, want %v", what, got, want)
		}
		return
	}
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

func second[T any](_ T, err error) error { return err }

func asJSON(t *testing.T, v any) string {
	t.Helper()
	return string(must(json.Marshal(v))(t))
}

const window = 3 * time.Minute

// world is a segment with hosts.
type world struct {
	seg   recovery.Segment
	hosts []recovery.Host
}

func newWorld(t *testing.T, s *store.Store, hosts ...string) world {
	t.Helper()
	w := world{seg: must(s.CreateSegment(t.Context(), recovery.Segment{Name: "seg", ServiceType: "COMPUTE", RecoveryMethod: recovery.Auto, Enabled: true}))(t)}
	for _, name := range hosts {
		w.hosts = append(w.hosts, must(s.CreateHost(t.Context(), recovery.Host{Name: name, Type: "COMPUTE", ControlAttributes: "SSH", SegmentUUID: w.seg.UUID}))(t))
	}
	return w
}

// Notifications lists the notifications, newest first.
func Notifications(t *testing.T, s *store.Store) []recovery.Notification {
	t.Helper()
	var out []recovery.Notification
	for n := range must(s.Notifications(t.Context()))(t) {
		out = append(out, n)
	}
	return out
}

// Runs lists the runs, newest first.
func Runs(t *testing.T, s *store.Store) []recovery.Run {
	t.Helper()
	return slices.Collect(must(s.Runs(t.Context()))(t))
}

func hostDown(host string) recovery.Notification {
	return recovery.Notification{Type: recovery.ComputeHost, HostName: host, Payload: raw(`{"event":"STOPPED","host_status":"NORMAL","cluster_status":"OFFLINE"}`)}
}

func hostUp() recovery.Notification {
	return recovery.Notification{Type: recovery.ComputeHost, HostName: "h1", Payload: raw(`{"event":"STARTED","host_status":"NORMAL","cluster_status":"ONLINE"}`)}
}

func vmDown(host, server string) recovery.Notification {
	return recovery.Notification{
		Type: recovery.VM, HostName: host,
		Payload: raw(`{"event":"LIFECYCLE","vir_domain_event":"STOPPED_FAILED","instance_uuid":"` + server + `"}`),
	}
}

func accept(t *testing.T, s *store.Store, n recovery.Notification) recovery.Notification {
	t.Helper()
	return must(s.Accept(t.Context(), n, window))(t)
}

func claim(t *testing.T, s *store.Store, n recovery.Notification) *store.Run {
	t.Helper()
	r := must(s.Claim(t.Context(), n.UUID))(t)
	t.Cleanup(r.Close)
	return r
}

// claimed gives a run of a host of a fresh world.
func claimed(t *testing.T, s *store.Store) (*store.Run, recovery.Notification, world) {
	t.Helper()
	w := newWorld(t, s, "h1", "h2", "h3")
	n := accept(t, s, hostDown("h1"))
	return claim(t, s, n), n, w
}

func record(t *testing.T, r *store.Run) recovery.Run {
	t.Helper()
	return must(r.Record(t.Context()))(t)
}

func end(t *testing.T, r *store.Run, status recovery.NotificationStatus, message string) {
	t.Helper()
	run := record(t, r)
	run.Status, run.Message = status, message
	check(t, r.End(t.Context(), run))
}

func testSegments(t *testing.T, s *store.Store) {
	ctx := t.Context()
	text := "a text"
	a := must(s.CreateSegment(ctx, recovery.Segment{Name: "a", RecoveryMethod: recovery.Auto, Enabled: true}))(t)
	b := must(s.CreateSegment(ctx, recovery.Segment{Name: "b/ä ", UUID: "u-b", Description: &text, RecoveryMethod: recovery.ReservedHost}))(t)
	if a.UUID == "" || a.Stamp.ID <= 0 || b.Stamp.ID <= a.Stamp.ID || a.Stamp.Created.IsZero() || !a.Stamp.Updated.IsZero() {
		t.Errorf("stamps %+v, %+v", a.Stamp, b.Stamp)
	}
	is(t, "create with a name that is taken", second(s.CreateSegment(ctx, recovery.Segment{Name: "a"})), recovery.ErrExists)
	is(t, "create with a uuid that is taken", second(s.CreateSegment(ctx, recovery.Segment{Name: "c", UUID: "u-b"})), recovery.ErrExists)
	is(t, "create without a name", second(s.CreateSegment(ctx, recovery.Segment{})), recovery.ErrInvalid)
	is(t, "list", asJSON(t, must(s.Segments(ctx))(t)), asJSON(t, []recovery.Segment{a, b}))
	is(t, "get", asJSON(t, must(s.Segment(ctx, "u-b"))(t)), asJSON(t, b))
	is(t, "get of none", second(s.Segment(ctx, "none")), recovery.ErrNotFound)

	same := func(v *recovery.Segment) error { d := text; v.Description = &d; return nil }
	is(t, "update that changes nothing", asJSON(t, must(s.UpdateSegment(ctx, "u-b", same))(t)), asJSON(t, b))
	rename := func(name string) func(*recovery.Segment) error {
		return func(v *recovery.Segment) error { v.Name, v.UUID = name, "other"; return nil }
	}
	is(t, "update to a name that is taken", second(s.UpdateSegment(ctx, "u-b", rename("a"))), recovery.ErrExists)
	is(t, "update of none", second(s.UpdateSegment(ctx, "none", rename("x"))), recovery.ErrNotFound)
	boom := errors.New("boom")
	is(t, "update that fails", second(s.UpdateSegment(ctx, "u-b", func(*recovery.Segment) error { return boom })), boom)
	got := must(s.UpdateSegment(ctx, "u-b", rename("b2")))(t)
	if got.Name != "b2" || got.UUID != "u-b" || got.Stamp.Updated.IsZero() || got.Stamp.ID != b.Stamp.ID || !got.Stamp.Created.Equal(b.Stamp.Created) {
		t.Errorf("updated segment %+v", got)
	}
	is(t, "get after update", asJSON(t, must(s.Segment(ctx, "u-b"))(t)), asJSON(t, got))
	must(s.CreateSegment(ctx, recovery.Segment{Name: "b/ä "}))(t) // the former name is free

	check(t, s.DeleteSegment(ctx, "u-b"))
	is(t, "delete again", s.DeleteSegment(ctx, "u-b"), recovery.ErrNotFound)
	is(t, "get after delete", second(s.Segment(ctx, "u-b")), recovery.ErrNotFound)
	must(s.CreateSegment(ctx, recovery.Segment{Name: "b2"}))(t)
}

func testHosts(t *testing.T, s *store.Store) {
	ctx := t.Context()
	w := newWorld(t, s, "h1", "h2/ü")
	is(t, "list", asJSON(t, must(s.Hosts(ctx))(t)), asJSON(t, w.hosts))
	is(t, "get", must(s.Host(ctx, w.hosts[1].UUID))(t), w.hosts[1])
	is(t, "get of none", second(s.Host(ctx, "none")), recovery.ErrNotFound)
	is(t, "name that is taken", second(s.CreateHost(ctx, recovery.Host{Name: "h1", SegmentUUID: w.seg.UUID})), recovery.ErrExists)
	is(t, "no segment", second(s.CreateHost(ctx, recovery.Host{Name: "x", SegmentUUID: "none"})), recovery.ErrNotFound)
	is(t, "no segment, name that is taken", second(s.CreateHost(ctx, recovery.Host{Name: "h1", SegmentUUID: "none"})), recovery.ErrNotFound)
	is(t, "no name", second(s.CreateHost(ctx, recovery.Host{SegmentUUID: w.seg.UUID})), recovery.ErrInvalid)

	change := func(name string, reserved bool) func(*recovery.Host) error {
		return func(h *recovery.Host) error { h.Name, h.Reserved, h.SegmentUUID = name, reserved, "other"; return nil }
	}
	is(t, "update that changes nothing", must(s.UpdateHost(ctx, w.hosts[0].UUID, change("h1", false)))(t), w.hosts[0])
	is(t, "update to a name that is taken", second(s.UpdateHost(ctx, w.hosts[1].UUID, change("h1", true))), recovery.ErrExists)
	is(t, "update of none", second(s.UpdateHost(ctx, "none", change("x", true))), recovery.ErrNotFound)
	got := must(s.UpdateHost(ctx, w.hosts[1].UUID, change("h9", true)))(t)
	if got.Name != "h9" || !got.Reserved || got.SegmentUUID != w.seg.UUID || got.Stamp.Updated.IsZero() {
		t.Errorf("updated host %+v", got)
	}
	is(t, "get after update", must(s.Host(ctx, got.UUID))(t), got)
	must(s.CreateHost(ctx, recovery.Host{Name: "h2/ü", SegmentUUID: w.seg.UUID}))(t)

	check(t, s.DeleteHost(ctx, w.hosts[0].UUID))
	is(t, "delete again", s.DeleteHost(ctx, w.hosts[0].UUID), recovery.ErrNotFound)
	must(s.CreateHost(ctx, recovery.Host{Name: "h1", SegmentUUID: w.seg.UUID}))(t)
}

func testInUse(t *testing.T, s *store.Store) {
	ctx := t.Context()
	w := newWorld(t, s, "h1", "h2")
	other := must(s.CreateSegment(ctx, recovery.Segment{Name: "other"}))(t)
	n := accept(t, s, hostDown("h1"))
	enable := func(v *recovery.Segment) error { v.Enabled = !v.Enabled; return nil }
	reserve := func(h *recovery.Host) error { h.Reserved = !h.Reserved; return nil }
	inUse := func(when string, want error) {
		t.Helper()
		is(t, when+": update segment", second(s.UpdateSegment(ctx, w.seg.UUID, enable)), want)
		is(t, when+": update host", second(s.UpdateHost(ctx, w.hosts[1].UUID, reserve)), want)
		is(t, when+": update failed host", second(s.UpdateHost(ctx, w.hosts[0].UUID, reserve)), want)
		is(t, when+": update nothing", second(s.UpdateSegment(ctx, w.seg.UUID, func(*recovery.Segment) error { return nil })), want)
		is(t, when+": delete host", s.DeleteHost(ctx, w.hosts[0].UUID), want)
		is(t, when+": delete segment", s.DeleteSegment(ctx, w.seg.UUID), want)
		must(s.UpdateSegment(ctx, other.UUID, enable))(t)
	}
	inUse("new", recovery.ErrInUse)
	r := claim(t, s, n)
	inUse("running", recovery.ErrInUse)
	must(s.CreateHost(ctx, recovery.Host{Name: "h3", SegmentUUID: w.seg.UUID}))(t)
	check(t, r.Requeue(ctx, time.Time{}, "again"))
	inUse("error", recovery.ErrInUse)
	end(t, claim(t, s, n), recovery.StatusFinished, "")
	must(s.UpdateSegment(ctx, w.seg.UUID, enable))(t)
	must(s.UpdateHost(ctx, w.hosts[1].UUID, reserve))(t)
	check(t, s.DeleteHost(ctx, w.hosts[0].UUID), s.DeleteSegment(ctx, w.seg.UUID))
	is(t, "notification of a host that is gone", must(s.Notification(ctx, n.UUID))(t).Status, recovery.StatusFinished)
	is(t, "retry of it", s.Retry(ctx, n.UUID, ""), recovery.ErrNotFound)
	is(t, "hosts", len(must(s.Hosts(ctx))(t)), 0)
}

// testManyHosts deletes a segment with more hosts than a transaction has ops.
func testManyHosts(t *testing.T, s *store.Store) {
	ctx := t.Context()
	w := newWorld(t, s)
	const hosts = 150
	var wg sync.WaitGroup
	for i := range hosts {
		wg.Go(func() {
			if _, err := s.CreateHost(ctx, recovery.Host{Name: fmt.Sprintf("h%d", i), SegmentUUID: w.seg.UUID}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	is(t, "hosts", len(must(s.Hosts(ctx))(t)), hosts)
	check(t, s.DeleteSegment(ctx, w.seg.UUID))
	is(t, "hosts", len(must(s.Hosts(ctx))(t)), 0)
	is(t, "accept", second(s.Accept(ctx, hostDown("h7"), window)), recovery.ErrNotFound)
	newWorld(t, s, "h0", "h149")
}

func testAccept(t *testing.T, s *store.Store) {
	ctx := t.Context()
	w := newWorld(t, s, "h1", "h2")
	in := hostDown("h1")
	in.Generated = time.Date(2026, 11, 23, 9, 0, 0, 0, time.FixedZone("", 3600))
	in.RequestID, in.Trace = "req-1", "00-1-2-01"
	in.Status, in.HostUUID, in.Runs = recovery.StatusRunning, "x", []string{"x"} // not the caller's to say
	n := accept(t, s, in)
	want := in
	want.UUID, want.HostUUID, want.SegmentUUID = n.UUID, w.hosts[0].UUID, w.seg.UUID
	want.Status, want.Runs, want.Stamp, want.Generated = recovery.StatusNew, nil, n.Stamp, in.Generated.UTC()
	is(t, "accepted", asJSON(t, n), asJSON(t, want))
	if n.UUID == "" || n.Stamp.ID <= w.hosts[1].Stamp.ID || n.Stamp.Created.IsZero() {
		t.Errorf("uuid %q, stamp %+v", n.UUID, n.Stamp)
	}
	is(t, "get", asJSON(t, must(s.Notification(ctx, n.UUID))(t)), asJSON(t, n))
	is(t, "get of none", second(s.Notification(ctx, "none")), recovery.ErrNotFound)
	is(t, "queue", asJSON(t, must(s.Queue(ctx))(t)), asJSON(t, []recovery.QueueItem{{Notification: n.UUID, Type: n.Type, Host: "h1", Added: n.Stamp.Created, Supersedes: true}}))
	is(t, "no host", second(s.Accept(ctx, hostDown("none"), window)), recovery.ErrNotFound)
	bad := hostDown("h1")
	bad.Payload = raw(`{`)
	is(t, "payload that is no JSON", second(s.Accept(ctx, bad, window)), recovery.ErrInvalid)
	large := hostDown("h2")
	large.Payload = raw(`{"event":"` + strings.Repeat("x", 300<<10) + `"}`)
	is(t, "large payload", second(s.Accept(ctx, large, window)), recovery.ErrTooLarge)
	taken := vmDown("h2", "s")
	taken.UUID = n.UUID
	is(t, "uuid that is taken", second(s.Accept(ctx, taken, window)), recovery.ErrExists)

	vm := accept(t, s, vmDown("h2", "s1"))
	is(t, "server of a queue item", must(s.Queue(ctx))(t)[1].Server, "s1")
	listed := n
	listed.RequestID, listed.Trace = "", ""
	is(t, "list", asJSON(t, Notifications(t, s)), asJSON(t, []recovery.Notification{vm, listed}))

	check(t, s.EndNotification(ctx, n.UUID, recovery.StatusIgnored, "why"), s.EndNotification(ctx, vm.UUID, recovery.StatusFinished, ""))
	must(s.UpdateHost(ctx, w.hosts[0].UUID, func(h *recovery.Host) error { h.OnMaintenance = true; return nil }))(t)
	is(t, "host on maintenance", second(s.Accept(ctx, vmDown("h1", "s9"), window)), recovery.ErrMaintenance)
	got := must(s.Notification(ctx, n.UUID))(t)
	if got.Status != recovery.StatusIgnored || got.Message != "why" || got.Stamp.Updated.IsZero() || got.Stamp.ID != n.Stamp.ID {
		t.Errorf("ended notification %+v", got)
	}
	is(t, "queue", len(must(s.Queue(ctx))(t)), 0)

	// One that needs no run is not queued, and known as others are.
	needless := vmDown("h2", "s2")
	needless.Status, needless.Message = recovery.StatusIgnored, "no flow answers it"
	n = accept(t, s, needless)
	if n.Status != recovery.StatusIgnored || n.Message != needless.Message {
		t.Errorf("accepted %+v", n)
	}
	is(t, "get", asJSON(t, must(s.Notification(ctx, n.UUID))(t)), asJSON(t, n))
	is(t, "queue", len(must(s.Queue(ctx))(t)), 0)
	is(t, "the same again", second(s.Accept(ctx, needless, window)), recovery.ErrDuplicate)
}

// testAcceptAtOnce reports one failure from many sides: one is taken.
func testAcceptAtOnce(t *testing.T, s *store.Store) {
	ctx := t.Context()
	newWorld(t, s, "h1")
	var mu sync.Mutex
	var taken []string
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			n, err := s.Accept(ctx, hostDown("h1"), window)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				taken = append(taken, n.UUID)
			case !errors.Is(err, recovery.ErrDuplicate):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(taken) != 1 || len(Notifications(t, s)) != 1 || len(must(s.Queue(ctx))(t)) != 1 {
		t.Errorf("%d notifications were taken, want 1", len(taken))
	}
}

func testDuplicates(t *testing.T, s *store.Store) {
	ctx := t.Context()
	w := newWorld(t, s, "h1", "h2")
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	try := func(n recovery.Notification, after time.Duration) error {
		n.Generated = at.Add(after)
		got, err := s.Accept(ctx, n, window)
		if err == nil {
			check(t, s.EndNotification(ctx, got.UUID, recovery.StatusFinished, ""))
		}
		return err
	}
	swapped := hostDown("h1")
	swapped.Payload = raw(`{"host_status": "NORMAL",  "cluster_status":"OFFLINE", "event":"STOPPED"}`)
	process := recovery.Notification{Type: recovery.Process, HostName: "h1", Payload: raw(`{"event":"STOPPED","process_name":"nova-compute"}`)}
	processUp := process
	processUp.Payload = raw(`{"event":"STARTED","process_name":"nova-compute"}`)
	for _, tt := range []struct {
		name  string
		n     recovery.Notification
		after time.Duration
		want  error
	}{
		{"first", hostDown("h1"), 0, nil},
		{"the same", hostDown("h1"), 0, recovery.ErrDuplicate},
		{"other order and blanks", swapped, 0, recovery.ErrDuplicate},
		{"at the end of the window", hostDown("h1"), window, recovery.ErrDuplicate},
		{"older", hostDown("h1"), -time.Hour, recovery.ErrDuplicate},
		{"other host", hostDown("h2"), 0, nil},
		{"other type", vmDown("h1", "s"), 0, nil},
		{"after the window", hostDown("h1"), window + 1, nil},
		{"window counts from the latest", hostDown("h1"), 2 * window, recovery.ErrDuplicate},
		{"host is back", hostUp(), 0, nil},
		{"host is back, again", hostUp(), 0, recovery.ErrDuplicate},
		{"failed again", hostDown("h1"), 1, nil},
		{"failed again, again", hostDown("h1"), 2, recovery.ErrDuplicate},
		{"VM after the host was back", vmDown("h1", "s"), 1, nil},
		{"back again", hostUp(), 3, nil},
		{"process", process, 0, nil},
		{"process, again", process, 1, recovery.ErrDuplicate},
		{"VM, no matter the process", vmDown("h1", "p"), 1, nil},
		{"process is back", processUp, 1, nil},
		{"process failed again", process, 2, nil},
		{"VM, no matter that the process was back", vmDown("h1", "p"), 1, recovery.ErrDuplicate},
	} {
		if err := try(tt.n, tt.after); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	for _, on := range []bool{true, false} {
		must(s.UpdateHost(ctx, w.hosts[0].UUID, func(h *recovery.Host) error { h.OnMaintenance = on; return nil }))(t)
	}
	check(t, try(process, 2)) // maintenance is over
	n := accept(t, s, hostDown("h1"))
	check(t, s.EndNotification(ctx, n.UUID, recovery.StatusFailed, ""))
	is(t, "again", second(s.Accept(ctx, hostDown("h1"), window)), recovery.ErrDuplicate)
	check(t, s.Retry(ctx, n.UUID, ""))
	accept(t, s, hostDown("h1")) // a retry forgets it
}

func testQueue(t *testing.T, s *store.Store) {
	ctx := t.Context()
	newWorld(t, s, "h1", "h2")
	n := accept(t, s, hostDown("h1"))
	again := vmDown("h2", "s1")
	vm := accept(t, s, again)
	r := claim(t, s, n)
	items := must(s.Queue(ctx))(t)
	if len(items) != 2 || items[0].Run != r.ID() || items[0].Deliveries != 1 || items[1].Run != "" || items[1].Notification != vm.UUID {
		t.Errorf("queue = %s", asJSON(t, items))
	}
	is(t, "claim twice", second(s.Claim(ctx, n.UUID)), recovery.ErrConflict)
	is(t, "claim of none", second(s.Claim(ctx, "none")), recovery.ErrNotFound)
	is(t, "end of what is being worked on", s.EndNotification(ctx, n.UUID, recovery.StatusFailed, ""), recovery.ErrConflict)
	is(t, "end of none", s.EndNotification(ctx, "none", recovery.StatusFailed, ""), recovery.ErrNotFound)
	is(t, "end that is no end", s.EndNotification(ctx, vm.UUID, recovery.StatusError, ""), recovery.ErrInvalid)
	second := must(s.Notification(ctx, n.UUID))(t)
	if second.Status != recovery.StatusRunning || !slices.Equal(second.Runs, []string{r.ID()}) || second.Stamp.Updated.IsZero() {
		t.Errorf("claimed notification %+v", second)
	}
	got := must(r.Notification(ctx))(t)
	is(t, "notification of the run", asJSON(t, got), asJSON(t, second))
	run := record(t, r)
	want := recovery.Run{
		ID: r.ID(), Status: recovery.StatusNew, Started: run.Started, Notification: n.UUID, Delivery: 1, Host: "h1", Segment: n.SegmentUUID, Node: run.Node,
	}
	is(t, "run", asJSON(t, run), asJSON(t, want))
	if run.Node == "" || run.Started.IsZero() || r.Claims() != 1 || r.Deliveries() != 1 || !r.FirstChange().IsZero() {
		t.Errorf("node %q, started %v, claims %d, deliveries %d, first change %v", run.Node, run.Started, r.Claims(), r.Deliveries(), r.FirstChange())
	}
	check(t, s.SetDraining(ctx, true))
	if _, err := s.Claim(ctx, vm.UUID); !errors.Is(err, recovery.ErrConflict) {
		t.Errorf("claim by a draining node: %v", err)
	}
	check(t, s.SetDraining(ctx, false))
	is(t, "server of a VM run", record(t, claim(t, s, vm)).Server, "s1")
}

// everything reads all that the store holds of a run.
func everything(ctx context.Context, r *store.Run) (map[string]any, error) {
	out := make(map[string]any)
	var errs []error
	put := func(name string, v any, err error) { out[name], errs = v, append(errs, err) }
	history, err := r.History(ctx)
	put("history", history, err)
	values, err := r.Values(ctx)
	put("values", values, err)
	intents, err := r.OpenIntents(ctx)
	put("intents", intents, err)
	undos, err := r.Undos(ctx)
	put("undos", undos, err)
	segment, err := r.Segment(ctx)
	put("segment", segment, err)
	scratch, err := r.Scratch().List(ctx, "place", "")
	put("scratch", scratch, err)
	return out, errors.Join(errs...)
}

func testRun(t *testing.T, s *store.Store) {
	ctx := t.Context()
	r, n, w := claimed(t, s)
	run := record(t, r)
	run.Flows, run.Inputs = []recovery.FlowKind{recovery.HostAuto}, map[string]json.RawMessage{"host_name": raw(`"h1"`)}
	run.Modules = map[string]string{"a": "sha"}
	run.Plans = map[recovery.FlowKind]recovery.Flow{recovery.HostAuto: {Kind: recovery.HostAuto, Pre: []recovery.TaskRef{{Key: "a"}}}}
	run.Status = recovery.StatusRunning
	first := recovery.TaskRecord{Seq: 1, Key: "a", Status: recovery.TaskRunning, Flow: recovery.HostAuto}
	done := first
	done.Status = recovery.TaskSucceeded
	other := recovery.TaskRecord{
		Seq: 300, Key: "b", Status: recovery.TaskReverted,
		Revert: &recovery.RevertRecord{Of: recovery.TaskFailed, Reason: "boom", Attempt: 1, Started: run.Started},
	}
	began := func(id, op, target string, known ...string) recovery.Intent {
		return recovery.Intent{ID: id, Op: op, Target: target, Known: known}
	}
	check(t,
		r.Start(ctx, run),
		r.StartTask(ctx, other),
		r.SetValues(ctx, map[string]json.RawMessage{"gone": raw(`1`)}),
		r.SetValues(ctx, map[string]json.RawMessage{"kept": raw(`{"a": 1}`)}),
		r.StartTask(ctx, first),
		r.FinishTask(ctx, done, map[string]json.RawMessage{"x": raw(`"<1>"`)}),

		r.BeginIntent(ctx, began("i1", "nova.server_evacuate", "s1", "req-1")),
		r.BeginIntent(ctx, began("i0", "nova.server_lock", "s1")),
		r.BeginIntent(ctx, began("i2", "nova.server_stop", "s2")),
		r.EndIntent(ctx, recovery.Intent{ID: "i0", Op: "nova.server_lock", Target: "s1", State: recovery.IntentDone}),
		r.EndIntent(ctx, recovery.Intent{ID: "i2", Op: "nova.server_stop", Target: "s2", Message: "still looking"}),
		r.EndIntent(ctx, recovery.Intent{ID: "i0", Op: "nova.server_lock", Target: "s1", State: recovery.IntentRefused}),

		r.PushUndo(ctx, recovery.Undo{Key: "unlock/z", Kind: recovery.UndoLock, Target: "s1"}),
		r.PushUndo(ctx, recovery.Undo{Key: "y", Kind: recovery.UndoLock, Target: "s2"}),
		r.PushUndo(ctx, recovery.Undo{Key: "a", Kind: recovery.UndoServiceEnable, Target: "h2"}),
		r.PushUndo(ctx, recovery.Undo{Key: "unlock/z", Kind: recovery.UndoLock, Target: "s1", Reason: "wasakari r1"}),
		r.DropUndo(ctx, "y"),
		r.DropUndo(ctx, "never there"),

		r.PutVMove(ctx, recovery.VMove{UUID: "v9", Status: recovery.VMovePending, InstanceUUID: "s1"}),
		r.PutVMove(ctx, recovery.VMove{UUID: "v1", Status: recovery.VMovePending, InstanceUUID: "s2"}),
		r.PutVMove(ctx, recovery.VMove{UUID: "v9", Status: recovery.VMoveSucceeded, InstanceUUID: "s1"}),
		r.Check(ctx, time.Second),
	)
	must(r.Scratch().Put(ctx, "place", "n", value(`2`), nil))(t)
	verify := func(r *store.Run) {
		t.Helper()
		got := must(everything(ctx, r))(t)
		want := map[string]any{
			"history": []recovery.TaskRecord{done, other},
			"values":  map[string]json.RawMessage{"kept": raw(`{"a": 1}`), "x": raw(`"<1>"`)},
			"intents": []recovery.Intent{
				{ID: "i1", Op: "nova.server_evacuate", Target: "s1", Known: []string{"req-1"}, State: recovery.IntentOpen},
				{ID: "i2", Op: "nova.server_stop", Target: "s2", State: recovery.IntentOpen, Message: "still looking"},
			},
			"undos": []recovery.Undo{
				{Key: "unlock/z", Kind: recovery.UndoLock, Target: "s1", Reason: "wasakari r1"},
				{Key: "a", Kind: recovery.UndoServiceEnable, Target: "h2"},
			},
			"segment": w.seg,
			"scratch": []recovery.KVValue{{Name: "n", Value: raw(`2`), Version: 1}},
		}
		for name := range want {
			is(t, name, asJSON(t, got[name]), asJSON(t, want[name]))
		}
		if v := got["values"].(map[string]json.RawMessage)["kept"]; string(v) != `{"a": 1}` {
			t.Errorf("value = %s, want it as it was put", v)
		}
	}
	verify(r)
	is(t, "record", asJSON(t, record(t, r)), asJSON(t, run))
	is(t, "changed", strings.Join(must(r.Changed(ctx, func(op string) bool { return op != "nova.server_stop" }))(t), " "), "s1")
	vmoves := must(s.VMoves(ctx, n.UUID))(t)
	if len(vmoves) != 2 || vmoves[0].UUID != "v9" || vmoves[0].Status != recovery.VMoveSucceeded || vmoves[0].NotificationUUID != n.UUID ||
		vmoves[0].Stamp.ID >= vmoves[1].Stamp.ID || vmoves[0].Stamp.Updated.IsZero() || !vmoves[1].Stamp.Updated.IsZero() {
		t.Errorf("vmoves = %s", asJSON(t, vmoves))
	}
	is(t, "vmoves of the run", asJSON(t, must(r.VMoves(ctx))(t)), asJSON(t, vmoves))
	is(t, "vmove", asJSON(t, must(s.VMove(ctx, n.UUID, "v1"))(t)), asJSON(t, vmoves[1]))
	is(t, "vmove of none", second(s.VMove(ctx, n.UUID, "none")), recovery.ErrNotFound)

	h := w.hosts[1]
	h.Reserved, h.Name = true, "other"
	check(t, r.UpdateHost(ctx, h), r.UpdateHost(ctx, recovery.Host{Name: "h3", Type: "COMPUTE", ControlAttributes: "SSH", OnMaintenance: true}))
	hosts := must(r.Hosts(ctx))(t)
	if len(hosts) != 3 || hosts[1].Name != "h2" || !hosts[1].Reserved || !hosts[2].OnMaintenance || hosts[1].Stamp.Updated.IsZero() || !hosts[0].Stamp.Updated.IsZero() {
		t.Errorf("hosts = %s", asJSON(t, hosts))
	}

	detail, tasks, values, undos, intents, err := s.RunDetail(ctx, r.ID())
	check(t, err)
	is(t, "detail", asJSON(t, detail), asJSON(t, run))
	if len(tasks) != 2 || len(values) != 2 || len(undos) != 2 || len(intents) != 3 {
		t.Errorf("detail: %d tasks, %d values, %d undos, %d intents", len(tasks), len(values), len(undos), len(intents))
	}
	_, _, _, _, _, err = s.RunDetail(ctx, "none")
	is(t, "detail of none", err, recovery.ErrNotFound)
	runs := Runs(t, s)
	if len(runs) != 1 || runs[0].ID != r.ID() || runs[0].Inputs != nil || runs[0].Plans != nil || runs[0].Status != recovery.StatusRunning {
		t.Errorf("runs = %s", asJSON(t, runs))
	}

	// Whoever goes on with the run finds all of it.
	check(t, r.Release(ctx))
	r = claim(t, s, n)
	verify(r)
	check(t, r.FinishTask(ctx, recovery.TaskRecord{Seq: 301}, map[string]json.RawMessage{"y": raw(`2`)}))
	is(t, "values", len(must(r.Values(ctx))(t)), 3)
}

func testRunRefusals(t *testing.T, s *store.Store) {
	ctx := t.Context()
	r, _, _ := claimed(t, s)
	id := "run " + r.ID() + ": "
	for _, tt := range []struct {
		name string
		do   func() error
		want string
		is   error
	}{
		{"another run", func() error { return r.Start(ctx, recovery.Run{ID: "r2"}) }, `invalid: it is not run "r2"`, recovery.ErrInvalid},
		{"a record without a number", func() error { return r.StartTask(ctx, recovery.TaskRecord{}) }, "invalid: a record without a number", recovery.ErrInvalid},
		{
			"a value that is not JSON", func() error {
				return r.FinishTask(ctx, recovery.TaskRecord{Seq: 1}, map[string]json.RawMessage{"x": raw(`{`)})
			}, `value "x": invalid: want a name and JSON`, recovery.ErrInvalid,
		},
		{"an intent that was not begun", func() error { return r.EndIntent(ctx, recovery.Intent{ID: "i"}) }, `intent "i": not found`, recovery.ErrNotFound},
		{"an intent without an id", func() error { return r.BeginIntent(ctx, recovery.Intent{}) }, "invalid: a document of recovery.Intent without an id", recovery.ErrInvalid},
		{"no such host", func() error { return r.UpdateHost(ctx, recovery.Host{UUID: "u"}) }, "host u: not found", recovery.ErrNotFound},
		{"no such scratch key", func() error { return second(r.Scratch().Get(ctx, "p", "n")) }, `key "n": not found`, recovery.ErrNotFound},
		{"an end that is none", func() error { return r.End(ctx, recovery.Run{ID: r.ID(), Status: recovery.StatusRunning}) }, `invalid: it cannot end "running"`, recovery.ErrInvalid},
	} {
		if err := tt.do(); err == nil || err.Error() != id+tt.want || !errors.Is(err, tt.is) {
			t.Errorf("%s: error = %v, want %s", tt.name, err, id+tt.want)
		}
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	is(t, "read with a context that ended", second(r.VMoves(canceled)), context.Canceled)
	is(t, "write with a context that ended", r.PutVMove(canceled, recovery.VMove{UUID: "v"}), context.Canceled)
	// What was refused left nothing.
	is(t, "history", len(must(r.History(ctx))(t)), 0)
	r.Close()
	r.Close()
	is(t, "write after close", r.PutVMove(ctx, recovery.VMove{UUID: "v"}), fs.ErrClosed)
	is(t, "end after close", r.End(ctx, recovery.Run{ID: r.ID(), Status: recovery.StatusFailed}), fs.ErrClosed)
	is(t, "check after close", r.Check(ctx, 0), fs.ErrClosed)
}

func testEnd(t *testing.T, s *store.Store) {
	ctx := t.Context()
	r, n, _ := claimed(t, s)
	run := record(t, r)
	run.Status, run.Message = recovery.StatusFinished, "all well"
	check(t, r.PushUndo(ctx, recovery.Undo{Key: "k"}))
	is(t, "end with an undo list", r.End(ctx, run), recovery.ErrConflict)
	is(t, "requeue with an undo list", r.Requeue(ctx, time.Time{}, ""), recovery.ErrConflict)
	if ended, known := s.KnownRun(ctx, r.ID()); ended || !known {
		t.Errorf("known: ended %t, known %t", ended, known)
	}
	check(t, r.DropUndo(ctx, "k"), r.End(ctx, run))
	is(t, "end again", r.End(ctx, run), fs.ErrClosed)
	got := must(s.Notification(ctx, n.UUID))(t)
	if got.Status != recovery.StatusFinished || got.Message != "all well" {
		t.Errorf("notification %+v", got)
	}
	is(t, "queue", len(must(s.Queue(ctx))(t)), 0)
	is(t, "claim", second(s.Claim(ctx, n.UUID)), recovery.ErrNotFound)
	is(t, "abort", s.Abort(ctx, r.ID(), recovery.Abort{Mode: recovery.AbortStop}), recovery.ErrConflict)
	detail, _, _, _, _, err := s.RunDetail(ctx, r.ID())
	if err != nil || !detail.Finished || detail.Ended.IsZero() || detail.Status != recovery.StatusFinished {
		t.Errorf("run %+v, %v", detail, err)
	}
	if ended, known := s.KnownRun(ctx, r.ID()); !ended || !known {
		t.Errorf("known: ended %t, known %t", ended, known)
	}
	if ended, known := s.KnownRun(ctx, "none"); ended || known {
		t.Errorf("known: ended %t, known %t", ended, known)
	}
	nodes := must(s.Nodes(ctx))(t)
	is(t, "runs of the node", len(nodes[0].Runs), 0)

	// A run that ended with something left to undo keeps its claim until it is
	// done.
	late := accept(t, s, hostDown("h3"))
	r = claim(t, s, late)
	run = record(t, r)
	run.Status, run.Finished, run.Ended = recovery.StatusFinished, true, run.Started
	check(t, r.PushUndo(ctx, recovery.Undo{Key: "k"}), r.Start(ctx, run), s.Sweep(ctx), r.Release(ctx))
	r = claim(t, s, late)
	is(t, "run", asJSON(t, record(t, r)), asJSON(t, run))
	check(t, r.DropUndo(ctx, "k"), r.End(ctx, run))
	is(t, "its notification", must(s.Notification(ctx, late.UUID))(t).Status, recovery.StatusFinished)

	// A list that cannot be worked off stays for a person to see.
	r = claim(t, s, accept(t, s, hostDown("h2")))
	run = record(t, r)
	run.Status = recovery.StatusFailed
	check(t, r.PushUndo(ctx, recovery.Undo{Key: "k"}), r.EndLeaving(ctx, run))
	_, _, _, undos, _, err := s.RunDetail(ctx, r.ID())
	if err != nil || len(undos) != 1 {
		t.Errorf("undos = %v, %v", undos, err)
	}
	select {
	case <-r.Lost():
		t.Error("an ended run tells that it is lost")
	default:
	}
}

func testRequeue(t *testing.T, s *store.Store) {
	ctx := t.Context()
	r, n, _ := claimed(t, s)
	later := time.Now().Add(time.Hour)
	check(t, r.Requeue(ctx, later, "no answer"))
	is(t, "write after it", r.StartTask(ctx, recovery.TaskRecord{Seq: 1}), fs.ErrClosed)
	got := must(s.Notification(ctx, n.UUID))(t)
	if got.Status != recovery.StatusError || got.Message != "no answer" {
		t.Errorf("notification %+v", got)
	}
	item := must(s.Queue(ctx))(t)[0]
	if item.Run != "" || item.Deliveries != 1 || !item.NotBefore.Equal(later) {
		t.Errorf("item %+v", item)
	}
	detail, _, _, _, _, err := s.RunDetail(ctx, r.ID())
	if err != nil || !detail.Finished || detail.Status != recovery.StatusError || detail.Message != "no answer" {
		t.Errorf("run %+v, %v", detail, err)
	}
	is(t, "claim before it is due", second(s.Claim(ctx, n.UUID)), recovery.ErrConflict)
	check(t, s.Retry(ctx, n.UUID, "because"))
	next := claim(t, s, n)
	run := record(t, next)
	if run.Delivery != 2 || run.Override != "because" || next.ID() == r.ID() {
		t.Errorf("next run %+v", run)
	}
	if got := must(s.Notification(ctx, n.UUID))(t); !slices.Equal(got.Runs, []string{r.ID(), next.ID()}) || got.Status != recovery.StatusRunning {
		t.Errorf("notification %+v", got)
	}
	run.Status, run.Message = recovery.StatusError, "failed for now"
	check(t, next.End(ctx, run))
	if got := must(s.Notification(ctx, n.UUID))(t); got.Status != recovery.StatusError || got.Message != "failed for now" {
		t.Errorf("notification %+v", got)
	}
	last := claim(t, s, n)
	run = record(t, last)
	if run.Delivery != 3 || run.Override != "" {
		t.Errorf("last run %+v", run)
	}
	run.Status = recovery.StatusError
	check(t, last.EndRetry(ctx, run, later))
	if item := must(s.Queue(ctx))(t)[0]; !item.NotBefore.Equal(later) || item.Deliveries != 3 {
		t.Errorf("item %+v", item)
	}
	check(t, s.EndNotification(ctx, n.UUID, recovery.StatusFailed, "three times"))
}

// testManyUndos has more of everything than a transaction has ops.
func testManyUndos(t *testing.T, s *store.Store) {
	ctx := t.Context()
	r, _, w := claimed(t, s)
	const many = 120
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			name := fmt.Sprintf("r%d", i)
			_, err := s.CreateHost(ctx, recovery.Host{Name: name, SegmentUUID: w.seg.UUID, Reserved: true})
			if err = errors.Join(err, r.PushUndo(ctx, recovery.Undo{Key: name}), r.ClaimReserved(ctx, name)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	is(t, "undos", len(must(r.Undos(ctx))(t)), many)
	run := record(t, r)
	run.Status = recovery.StatusFailed
	check(t, r.EndLeaving(ctx, run))
	next := claim(t, s, accept(t, s, hostDown("h2")))
	check(t, next.ClaimReserved(ctx, "r0"), next.ClaimReserved(ctx, fmt.Sprintf("r%d", many-1)))
}

func testRelease(t *testing.T, s *store.Store) {
	ctx := t.Context()
	r, n, _ := claimed(t, s)
	check(t, r.PushUndo(ctx, recovery.Undo{Key: "k"}), r.Release(ctx))
	is(t, "write after it", r.DropUndo(ctx, "k"), fs.ErrClosed)
	is(t, "end of a notification whose run has not ended", s.EndNotification(ctx, n.UUID, recovery.StatusFailed, ""), recovery.ErrConflict)
	is(t, "retry", s.Retry(ctx, n.UUID, ""), recovery.ErrConflict)
	next := claim(t, s, n)
	if next.ID() != r.ID() || next.Claims() != 2 || next.Deliveries() != 1 || !next.FirstChange().IsZero() {
		t.Errorf("run %s, want %s; claims %d, deliveries %d, first change %v", next.ID(), r.ID(), next.Claims(), next.Deliveries(), next.FirstChange())
	}
	is(t, "undos", len(must(next.Undos(ctx))(t)), 1)

	// Others that concern the host wait for the run, whoever has it.
	process := recovery.Notification{Type: recovery.Process, HostName: "h1", Payload: raw(`{"event":"STOPPED","process_name":"nova-compute"}`)}
	p := accept(t, s, process)
	is(t, "claim of another one about the host", second(s.Claim(ctx, p.UUID)), recovery.ErrConflict)
	next.Close()
	is(t, "claim of another one about the host", second(s.Claim(ctx, p.UUID)), recovery.ErrConflict)
	// What was closed may have something under way.
	last := claim(t, s, n)
	if wait := time.Until(last.FirstChange()); wait <= 0 {
		t.Errorf("first change in %v, want later", wait)
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	is(t, "check", last.Check(short, 0), context.DeadlineExceeded)
	check(t, last.DropUndo(ctx, "k"))
	end(t, last, recovery.StatusFailed, "")
	claim(t, s, p)
}

func testVMRuns(t *testing.T, s *store.Store) {
	ctx := t.Context()
	newWorld(t, s, "h1", "h2")
	a, b := accept(t, s, vmDown("h1", "s1")), accept(t, s, vmDown("h1", "s2"))
	again := vmDown("h1", "s1")
	again.Payload = raw(`{"event":"IO_ERROR","vir_domain_event":"IO_ERROR_REPORT","instance_uuid":"s1"}`)
	c := accept(t, s, again)
	ra, rb := claim(t, s, a), claim(t, s, b)
	is(t, "second run of a server", second(s.Claim(ctx, c.UUID)), recovery.ErrConflict)
	check(t, ra.Release(ctx))
	is(t, "second run of a server whose run was given back", second(s.Claim(ctx, c.UUID)), recovery.ErrConflict)
	ra = claim(t, s, a)
	end(t, ra, recovery.StatusFinished, "")
	rc := claim(t, s, c)
	end(t, rc, recovery.StatusFinished, "")
	end(t, rb, recovery.StatusFinished, "")
	process := recovery.Notification{Type: recovery.Process, HostName: "h1", Payload: raw(`{"event":"STOPPED","process_name":"nova-compute"}`)}
	rp := claim(t, s, accept(t, s, process))
	d := accept(t, s, vmDown("h1", "s3"))
	is(t, "VM run while the host is worked on", second(s.Claim(ctx, d.UUID)), recovery.ErrConflict)
	claim(t, s, accept(t, s, vmDown("h2", "s3")))
	end(t, rp, recovery.StatusFinished, "")
	is(t, "the server is worked on elsewhere", second(s.Claim(ctx, d.UUID)), recovery.ErrConflict)
}

func testSupersede(t *testing.T, s *store.Store) {
	ctx := t.Context()
	newWorld(t, s, "h1", "h2")
	a, b, c := accept(t, s, vmDown("h1", "s1")), accept(t, s, vmDown("h1", "s2")), accept(t, s, vmDown("h1", "s3"))
	ra, rb := claim(t, s, a), claim(t, s, b)
	elsewhere := claim(t, s, accept(t, s, vmDown("h2", "s9")))
	host := accept(t, s, hostDown("h1"))
	is(t, "claim while VM runs go on", second(s.Claim(ctx, host.UUID)), recovery.ErrConflict)
	for _, r := range []*store.Run{ra, rb} {
		abort := <-r.Aborted()
		if abort.Mode != recovery.AbortStop || abort.Status != recovery.StatusIgnored || abort.By != "notification:"+host.UUID {
			t.Errorf("abort = %+v", abort)
		}
	}
	select {
	case a := <-elsewhere.Aborted():
		t.Errorf("a run of another host is aborted: %+v", a)
	default:
	}
	is(t, "new VM run while the host waits", second(s.Claim(ctx, c.UUID)), recovery.ErrConflict)
	end(t, ra, recovery.StatusIgnored, "superseded")
	is(t, "claim while a VM run goes on", second(s.Claim(ctx, host.UUID)), recovery.ErrConflict)

	// A VM run whose node is gone is settled by whoever claims it.
	check(t, rb.Release(ctx))
	is(t, "claim while a VM run has not ended", second(s.Claim(ctx, host.UUID)), recovery.ErrConflict)
	rb = claim(t, s, b)
	if abort := <-rb.Aborted(); abort.Mode != recovery.AbortStop {
		t.Errorf("abort = %+v", abort)
	}
	if run := record(t, rb); run.Abort == nil {
		t.Errorf("run %+v", run)
	}
	end(t, rb, recovery.StatusIgnored, "superseded")
	r := claim(t, s, host)
	is(t, "new VM run while the host is recovered", second(s.Claim(ctx, c.UUID)), recovery.ErrConflict)
	check(t, s.EndNotification(ctx, c.UUID, recovery.StatusIgnored, "superseded"))
	end(t, r, recovery.StatusFinished, "")
	claim(t, s, accept(t, s, vmDown("h1", "s4")))

	// A host notification that ends without a run holds nothing up.
	host = accept(t, s, hostUp())
	is(t, "claim while a VM run goes on", second(s.Claim(ctx, host.UUID)), recovery.ErrConflict)
	check(t, s.EndNotification(ctx, host.UUID, recovery.StatusFinished, ""))
	claim(t, s, accept(t, s, vmDown("h1", "s5")))
}

func testAbort(t *testing.T, s *store.Store) {
	ctx := t.Context()
	r, n, _ := claimed(t, s)
	is(t, "of none", s.Abort(ctx, "none", recovery.Abort{Mode: recovery.AbortStop}), recovery.ErrNotFound)
	is(t, "without a mode", s.Abort(ctx, r.ID(), recovery.Abort{}), recovery.ErrInvalid)
	check(t, s.Abort(ctx, r.ID(), recovery.Abort{Mode: recovery.AbortRevert, Reason: "why", By: "u1"}))
	want := recovery.Abort{Mode: recovery.AbortRevert, Reason: "why", By: "u1", Status: recovery.StatusFailed}
	is(t, "told", <-r.Aborted(), want)
	check(t, s.Abort(ctx, r.ID(), recovery.Abort{Mode: recovery.AbortStop, Reason: "now"}))
	is(t, "told", (<-r.Aborted()).Mode, recovery.AbortStop)
	run := record(t, r)
	run.Status = recovery.StatusFailed
	check(t, r.Start(ctx, run))
	is(t, "in the list", Runs(t, s)[0].Abort.Reason, "now")
	check(t, r.End(ctx, run))
	detail, _, _, _, _, err := s.RunDetail(ctx, r.ID())
	if err != nil || detail.Abort == nil || detail.Abort.Reason != "now" {
		t.Errorf("run %+v, %v", detail, err)
	}
	is(t, "in the list", Runs(t, s)[0].Abort.Reason, "now")
	check(t, s.Retry(ctx, n.UUID, ""))
	if got := record(t, claim(t, s, n)); got.Abort != nil {
		t.Errorf("the next run is aborted: %+v", got.Abort)
	}
}

func testRetry(t *testing.T, s *store.Store) {
	ctx := t.Context()
	r, n, _ := claimed(t, s)
	is(t, "while it runs", s.Retry(ctx, n.UUID, ""), recovery.ErrConflict)
	is(t, "of none", s.Retry(ctx, "none", ""), recovery.ErrNotFound)
	end(t, r, recovery.StatusFailed, "boom")
	check(t, s.Retry(ctx, n.UUID, "I know"))
	got := must(s.Notification(ctx, n.UUID))(t)
	if got.Status != recovery.StatusNew || got.Message != "" || len(got.Runs) != 1 || got.Stamp.ID != n.Stamp.ID {
		t.Errorf("notification %+v", got)
	}
	item := must(s.Queue(ctx))(t)[0]
	if item.Override != "I know" || item.Deliveries != 0 || item.Run != "" {
		t.Errorf("item %+v", item)
	}
	next := claim(t, s, n)
	if run := record(t, next); run.Override != "I know" || run.Delivery != 1 {
		t.Errorf("run %+v", run)
	}
}

func testReserved(t *testing.T, s *store.Store) {
	ctx := t.Context()
	r, _, w := claimed(t, s)
	must(s.CreateHost(ctx, recovery.Host{Name: "spare", SegmentUUID: w.seg.UUID, Reserved: true}))(t)
	must(s.CreateHost(ctx, recovery.Host{Name: "broken", SegmentUUID: w.seg.UUID, Reserved: true, OnMaintenance: true}))(t)
	other := claim(t, s, accept(t, s, hostDown("h2")))
	is(t, "not reserved", r.ClaimReserved(ctx, "h3"), recovery.ErrConflict)
	is(t, "on maintenance", r.ClaimReserved(ctx, "broken"), recovery.ErrConflict)
	is(t, "none", r.ClaimReserved(ctx, "none"), recovery.ErrNotFound)
	check(t, r.ClaimReserved(ctx, "spare"), r.ClaimReserved(ctx, "spare"))
	is(t, "another run's", other.ClaimReserved(ctx, "spare"), recovery.ErrConflict)
	check(t, other.ReleaseReserved(ctx, "spare"))
	is(t, "still another run's", other.ClaimReserved(ctx, "spare"), recovery.ErrConflict)
	check(t, r.ReleaseReserved(ctx, "spare"), other.ClaimReserved(ctx, "spare"))
	end(t, other, recovery.StatusFinished, "")
	check(t, r.ClaimReserved(ctx, "spare"))
}

// testClaimAtOnce claims one notification from many sides: one gets it.
func testClaimAtOnce(t *testing.T, s *store.Store) {
	ctx := t.Context()
	newWorld(t, s, "h1")
	n := accept(t, s, hostDown("h1"))
	var mu sync.Mutex
	var got []*store.Run
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			r, err := s.Claim(ctx, n.UUID)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				got = append(got, r)
			case !errors.Is(err, recovery.ErrConflict):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(got) != 1 {
		t.Fatalf("%d claims, want 1", len(got))
	}
	got[0].Close()
}

// testValues replaces more values than a transaction takes.
func testValues(t *testing.T, s *store.Store) {
	ctx := t.Context()
	r, _, _ := claimed(t, s)
	big := raw(`"` + strings.Repeat("x", 200<<10) + `"`)
	values := map[string]json.RawMessage{"a/b": raw(`{"c": "ä"}`)}
	for i := range 10 {
		values[fmt.Sprintf("big%d", i)] = big
	}
	for i := range 150 {
		values[fmt.Sprintf("small%d", i)] = raw(fmt.Sprint(i))
	}
	same := func(a, b json.RawMessage) bool { return string(a) == string(b) }
	for range 2 {
		check(t, r.SetValues(ctx, values))
		if got := must(r.Values(ctx))(t); !maps.EqualFunc(got, values, same) {
			t.Errorf("%d values, want %d", len(got), len(values))
		}
	}
	check(t, r.FinishTask(ctx, recovery.TaskRecord{Seq: 1}, map[string]json.RawMessage{"a/b": raw(`2`)}))
	is(t, "value", string(must(r.Values(ctx))(t)["a/b"]), `2`)
	check(t, r.SetValues(ctx, nil))
	is(t, "values", len(must(r.Values(ctx))(t)), 0)
	large := map[string]json.RawMessage{}
	for i := range 8 {
		large[fmt.Sprint(i)] = big
	}
	is(t, "more than a transaction takes", r.FinishTask(ctx, recovery.TaskRecord{Seq: 1}, large), recovery.ErrTooLarge)
}

// testHammer writes from many goroutines and looks for everything afterwards.
func testHammer(t *testing.T, s *store.Store) {
	ctx := t.Context()
	r, n, _ := claimed(t, s)
	const workers, rounds = 16, 8
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				id := fmt.Sprintf("%d-%d", w, i)
				err := errors.Join(
					r.BeginIntent(ctx, recovery.Intent{ID: id}),
					r.PushUndo(ctx, recovery.Undo{Key: id}),
					r.PutVMove(ctx, recovery.VMove{UUID: id}),
					second(r.Scratch().Put(ctx, fmt.Sprint(w), id, value(`1`), new(int64))),
				)
				if i%2 == 0 {
					err = errors.Join(err, r.EndIntent(ctx, recovery.Intent{ID: id, State: recovery.IntentDone}), r.DropUndo(ctx, id))
				}
				if e := r.EndIntent(ctx, recovery.Intent{ID: "none"}); !errors.Is(e, recovery.ErrNotFound) {
					err = errors.Join(err, fmt.Errorf("refused neighbour: %w", e))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	check(t, r.Release(ctx))
	r = claim(t, s, n)
	is(t, "open intents", len(must(r.OpenIntents(ctx))(t)), workers*rounds/2)
	is(t, "undos", len(must(r.Undos(ctx))(t)), workers*rounds/2)
	is(t, "vmoves", len(must(r.VMoves(ctx))(t)), workers*rounds)
	is(t, "scratch", len(must(r.Scratch().List(ctx, "3", ""))(t)), rounds)
}
