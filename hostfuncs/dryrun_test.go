package hostfuncs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

// dryNova has compute-1 with a server of each kind, and five more hosts.
func dryNova() *nova {
	in := func(id, vm string, change ...func(*recovery.Server)) recovery.Server {
		s := active(id, failedHost)
		s.VMState, s.Status = vm, strings.ToUpper(vm)
		for _, f := range change {
			f(&s)
		}
		return s
	}
	n := newNova(in("a", "active"), in("off", "stopped", func(s *recovery.Server) { s.PowerState = 4 }),
		in("bad", "error", func(s *recovery.Server) { s.Fault = &recovery.Fault{Message: "broken"} }), in("frozen", "paused"),
		in("busy", "active", func(s *recovery.Server) { s.TaskState = "powering-off" }), in("nowhere", "active", func(s *recovery.Server) { s.Host = "" }),
		active("well", "compute-2"))
	host := func(name, status, state string) recovery.ComputeService {
		return recovery.ComputeService{ID: "svc-" + name, Binary: "nova-compute", Host: name, Zone: "zone-" + name, Status: status, State: state}
	}
	n.svcs = []recovery.ComputeService{
		host(failedHost, "enabled", "down"), host("compute-2", "enabled", "up"), host("compute-3", "enabled", "up"),
		host("compute-4", "disabled", "up"), host("compute-5", "enabled", "down"),
		{ID: "svc-sched", Binary: "nova-scheduler", Host: "ctl", Status: "enabled", State: "up"},
	}
	n.aggs = []recovery.Aggregate{{ID: 1, Name: "fast", Hosts: []string{failedHost, "compute-2"}}}
	return n
}

// changed says whether anything but a read reached the cloud.
func changed(n *nova) bool {
	return n.count("evacuate", "stop", "start", "reboot", "lock", "unlock", "reset", "migrate", "live-migration", "update_service", "add_host", "remove_host") > 0
}

// TestDryRunServers: each change is refused as Nova would, or later reads see
// what it leads to.
func TestDryRunServers(t *testing.T) {
	t.Parallel()
	type dry = *hostfuncs.DryRun
	evacuate := func(id, host string) func(context.Context, dry) (string, error) {
		return func(ctx context.Context, d dry) (string, error) { return d.Evacuate(ctx, id, host) }
	}
	tests := []struct {
		name   string
		do     func(ctx context.Context, d dry) (string, error)
		id     string
		is     error
		err    string
		want   string // host vm_state task_state status power
		effect string
		host   string // of the change
		move   string // type status dest of the newest migration
	}{
		{name: "evacuate", do: evacuate("a", ""), id: "a", want: "(scheduler's choice) active - ACTIVE 1", host: hostfuncs.SchedulersChoice, move: "evacuation done (scheduler's choice)"},
		{name: "evacuate to a host", do: evacuate("a", "compute-3"), id: "a", want: "compute-3 active - ACTIVE 1", host: "compute-3", move: "evacuation done compute-3"},
		{name: "evacuate a stopped one", do: evacuate("off", "compute-3"), id: "off", want: "compute-3 stopped - SHUTOFF 4", host: "compute-3", move: "evacuation done compute-3"},
		{name: "evacuate one in error", do: evacuate("bad", "compute-3"), id: "bad", want: "compute-3 active - ACTIVE 1", host: "compute-3", move: "evacuation done compute-3"},
		{name: "evacuate one with a task", do: evacuate("busy", "compute-3"), id: "busy", want: "compute-3 active - ACTIVE 1", host: "compute-3", move: "evacuation done compute-3"},
		{name: "evacuate to a disabled host", do: evacuate("a", "compute-4"), id: "a", want: "compute-1 error - ERROR 1", host: "compute-4", effect: "ends in error: No valid host was found.", move: "evacuation error "},
		{name: "evacuate to a dead host", do: evacuate("a", "compute-5"), id: "a", want: "compute-1 error - ERROR 1", host: "compute-5", effect: "ends in error: No valid host was found.", move: "evacuation error "},
		{name: "evacuate to an unknown host", do: evacuate("a", "none"), id: "a", is: recovery.ErrNotFound, err: "evacuate server a: 404 Compute host none not found. (req-dry-run-1)", host: "none"},
		{name: "evacuate to the failed host", do: evacuate("a", failedHost), id: "a", is: recovery.ErrInvalid, err: "evacuate server a: 400 The target host can't be the same one. (req-dry-run-1)", host: failedHost},
		{name: "evacuate a paused one", do: evacuate("frozen", ""), id: "frozen", is: recovery.ErrConflict, err: "evacuate server frozen: 409 Cannot 'evacuate' instance frozen while it is in vm_state paused (req-dry-run-1)"},
		{name: "evacuate from a host that is up", do: evacuate("well", ""), id: "well", is: recovery.ErrConflict, err: "evacuate server well: 400 Compute service of compute-2 is still in use. (req-dry-run-1)"},
		{name: "evacuate one on no host", do: evacuate("nowhere", ""), id: "nowhere", is: recovery.ErrConflict, err: "evacuate server nowhere: 409 Instance nowhere is not ready (req-dry-run-1)"},
		{name: "evacuate one that is not there", do: evacuate("x", ""), id: "x", is: recovery.ErrNotFound, err: "evacuate server x: 404 Instance x could not be found. (req-dry-run-1)"},
		{name: "stop", do: func(ctx context.Context, d dry) (string, error) { return d.Stop(ctx, "well") }, id: "well", want: "compute-2 stopped - SHUTOFF 4"},
		{name: "stop on a dead host", do: func(ctx context.Context, d dry) (string, error) { return d.Stop(ctx, "a") }, id: "a", want: "compute-1 active powering-off ACTIVE 1", effect: "stays in task_state powering-off: its host compute-1 is down"},
		{name: "stop a stopped one", do: func(ctx context.Context, d dry) (string, error) { return d.Stop(ctx, "off") }, id: "off", is: recovery.ErrConflict, err: "stop server off: 409 Cannot 'stop' instance off while it is in vm_state stopped (req-dry-run-1)"},
		{name: "stop one with a task", do: func(ctx context.Context, d dry) (string, error) { return d.Stop(ctx, "busy") }, id: "busy", is: recovery.ErrConflict, err: "stop server busy: 409 Cannot 'stop' instance busy while it is in task_state powering-off (req-dry-run-1)"},
		{name: "start an active one", do: func(ctx context.Context, d dry) (string, error) { return d.Start(ctx, "a") }, id: "a", is: recovery.ErrConflict, err: "start server a: 409 Cannot 'start' instance a while it is in vm_state active (req-dry-run-1)"},
		{name: "reboot", do: func(ctx context.Context, d dry) (string, error) { return d.Reboot(ctx, "well", "SOFT") }, id: "well", want: "compute-2 active - ACTIVE 1"},
		{name: "soft reboot of one in error", do: func(ctx context.Context, d dry) (string, error) { return d.Reboot(ctx, "bad", "SOFT") }, id: "bad", is: recovery.ErrConflict, err: "reboot server bad: 409 Cannot 'reboot' instance bad while it is in vm_state error (req-dry-run-1)"},
		{name: "hard reboot of one in error on a dead host", do: func(ctx context.Context, d dry) (string, error) { return d.Reboot(ctx, "bad", "HARD") }, id: "bad", want: "compute-1 error rebooting_hard ERROR 1", effect: "stays in task_state rebooting_hard: its host compute-1 is down"},
		{name: "reset to error", do: func(ctx context.Context, d dry) (string, error) { return d.ResetState(ctx, "frozen", "error") }, id: "frozen", want: "compute-1 error - ERROR 1"},
		{name: "reset to nonsense", do: func(ctx context.Context, d dry) (string, error) { return d.ResetState(ctx, "frozen", "well") }, id: "frozen", is: recovery.ErrInvalid, err: "resetState server frozen: 400 Invalid input for field/attribute state. Value: well. (req-dry-run-1)"},
		{name: "migrate", do: func(ctx context.Context, d dry) (string, error) { return d.Migrate(ctx, "well", "") }, id: "well", want: "compute-3 resized - VERIFY_RESIZE 1", host: "compute-3", move: "migration finished compute-3"},
		{name: "migrate from a dead host", do: func(ctx context.Context, d dry) (string, error) { return d.Migrate(ctx, "a", "") }, id: "a", is: recovery.ErrInvalid, err: "migrate server a: 400 Compute service of compute-1 is unavailable at this time. (req-dry-run-1)"},
		{name: "live-migrate", do: func(ctx context.Context, d dry) (string, error) {
			return d.LiveMigrate(ctx, "well", "compute-3", "auto")
		}, id: "well", want: "compute-3 active - ACTIVE 1", host: "compute-3", move: "live-migration completed compute-3"},
		{name: "live-migrate to where it is", do: func(ctx context.Context, d dry) (string, error) {
			return d.LiveMigrate(ctx, "well", "compute-2", "auto")
		}, id: "well", is: recovery.ErrInvalid, err: "live-migration server well: 400 Unable to migrate instance (well) to current host (compute-2). (req-dry-run-1)", host: "compute-2"},
		{name: "live-migrate to a disabled host", do: func(ctx context.Context, d dry) (string, error) {
			return d.LiveMigrate(ctx, "well", "compute-4", "auto")
		}, id: "well", is: recovery.ErrInvalid, err: "live-migration server well: 400 No valid host was found. There are not enough hosts available. (req-dry-run-1)", host: "compute-4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := dryNova()
			d := hostfuncs.NewDryRun(n, hostfuncs.DryRunOptions{})
			before, _ := d.Server(t.Context(), tt.id)
			id, err := tt.do(t.Context(), d)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.err || !errors.Is(err, tt.is) || err == nil && id != "req-dry-run-1" {
				t.Errorf("answer %q, error %q, want %q", id, got, tt.err)
			}
			list := d.Changes()
			if len(list) != 1 {
				t.Fatalf("%d changes, want 1", len(list))
			}
			c := list[0]
			if c.N != 1 || c.Target != tt.id || c.Host != tt.host || c.Effect != tt.effect || (c.Refused != "") != (tt.err != "") || c.Refused != "" && !strings.Contains(tt.err, c.Refused) {
				t.Errorf("change = %+v", c)
			}
			after, _ := d.Server(t.Context(), tt.id)
			if tt.err != "" {
				if !reflect.DeepEqual(after, before) {
					t.Errorf("server = %+v, want it as before", after)
				}
				return
			}
			task := string(after.TaskState)
			if task == "" {
				task = "-"
			}
			if got := fmt.Sprintf("%s %s %s %s %d", after.Host, after.VMState, task, after.Status, after.PowerState); got != tt.want {
				t.Errorf("server is %s, want %s", got, tt.want)
			}
			if (after.VMState == "error") != (after.Fault != nil) && tt.effect != "" {
				t.Errorf("fault = %+v in vm_state %s", after.Fault, after.VMState)
			}
			var where []string
			for _, host := range []string{failedHost, "compute-2", "compute-3", hostfuncs.SchedulersChoice, ""} {
				err := d.Servers(t.Context(), recovery.ServerFilter{Host: host}, func(page []recovery.Server) error {
					for _, s := range page {
						if s.ID == tt.id {
							where = append(where, host+" "+s.VMState)
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if want := []string{after.Host + " " + after.VMState, " " + after.VMState}; !slices.Equal(where, want) {
				t.Errorf("it is listed on %q, want %q", where, want)
			}
			actions, err := d.Actions(t.Context(), tt.id)
			if err != nil || len(actions) != 1 || actions[0].RequestID != id {
				t.Errorf("actions = %+v, %v", actions, err)
			}
			ms, err := d.Migrations(t.Context(), recovery.MigrationFilter{InstanceUUID: tt.id})
			move := ""
			if len(ms) > 0 {
				move = ms[0].Type + " " + ms[0].Status + " " + string(ms[0].DestCompute)
			}
			if err != nil || move != tt.move || len(ms) > 0 && ms[0].Open() {
				t.Errorf("migrations = %+v, %v, want %q", ms, err, tt.move)
			}
			if changed(n) {
				t.Errorf("calls = %v, want reads only", n.calls)
			}
		})
	}
}

// TestDryRunLists: filters look at servers as they would be.
func TestDryRunLists(t *testing.T) {
	t.Parallel()
	n := dryNova()
	n.servers = func(_ context.Context, f recovery.ServerFilter) ([]recovery.Server, error) {
		var out []recovery.Server
		for _, id := range []string{"a", "off", "well"} {
			if s := *n.srv[id]; (f.Host == "" || s.Host == f.Host) && (f.Status == "" || s.Status == f.Status) && (f.Name == "" || s.Name == f.Name) {
				out = append(out, s)
			}
		}
		return out, nil
	}
	d := hostfuncs.NewDryRun(n, hostfuncs.DryRunOptions{})
	if _, err := d.Stop(t.Context(), "well"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(t.Context(), "a", "mine"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Evacuate(t.Context(), "a", "compute-3"); err != nil {
		t.Fatal(err)
	}
	n.edit("off", func(s *recovery.Server) { s.Name = "renamed" }) // reads are real
	tests := []struct {
		f    recovery.ServerFilter
		want []string
	}{
		{recovery.ServerFilter{}, []string{"a", "off", "well"}},
		{recovery.ServerFilter{Host: failedHost}, []string{"off"}},
		{recovery.ServerFilter{Host: "compute-3"}, []string{"a"}},
		{recovery.ServerFilter{Host: "compute-3", Status: "ACTIVE"}, []string{"a"}},
		{recovery.ServerFilter{Host: "compute-3", Name: "^name-b"}, nil},
		{recovery.ServerFilter{Host: "compute-3", Tenant: "other"}, nil},
		{recovery.ServerFilter{Status: "SHUTOFF"}, []string{"well"}},
		{recovery.ServerFilter{Name: "renamed"}, []string{"off"}},
	}
	for _, tt := range tests {
		var got []string
		err := d.Servers(t.Context(), tt.f, func(page []recovery.Server) error {
			for _, s := range page {
				got = append(got, s.ID)
				if s.ID == "a" && (!s.Locked || s.LockedReason != "mine" || s.Zone != "zone-compute-3") {
					t.Errorf("server a = %+v, want it locked, in the zone of compute-3", s)
				}
			}
			return nil
		})
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%+v lists %q, %v, want %q", tt.f, got, err, tt.want)
		}
	}
	stop := errors.New("enough")
	if err := d.Servers(t.Context(), recovery.ServerFilter{Host: "compute-3"}, func([]recovery.Server) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error = %v, want that of page", err)
	}
	if _, err := d.Unlock(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if s, _ := d.Server(t.Context(), "a"); s.Locked || s.LockedReason != "" {
		t.Errorf("server a = %+v, want it unlocked", s)
	}
}

// TestDryRunServices: services and aggregates.
func TestDryRunServices(t *testing.T) {
	t.Parallel()
	n := dryNova()
	n.svcs[0].State = "up"
	d := hostfuncs.NewDryRun(n, hostfuncs.DryRunOptions{FailedHost: failedHost})
	ctx := t.Context()
	service := func(host string) recovery.ComputeService {
		list, err := d.Services(ctx, recovery.ServiceFilter{Host: host})
		if err != nil || len(list) != 1 {
			t.Fatalf("services of %s = %v, %v", host, list, err)
		}
		return list[0]
	}
	update := func(id string, u recovery.ServiceUpdate, want string) {
		t.Helper()
		s, _, err := d.UpdateService(ctx, id, u)
		got := s.Status + " " + s.State + " " + string(s.DisabledReason)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("service %s is %q, want %q", id, got, want)
		}
	}
	if s := service(failedHost); s.State != "up" {
		t.Errorf("service = %+v, want it up as long as nothing is changed", s)
	}
	up, down := false, true
	update("svc-compute-1", recovery.ServiceUpdate{Status: "disabled", DisabledReason: "dead"}, "disabled down dead")
	update("svc-compute-4", recovery.ServiceUpdate{Status: "enabled"}, "enabled up ")
	update("svc-compute-2", recovery.ServiceUpdate{ForcedDown: &down}, "enabled down ")
	update("svc-sched", recovery.ServiceUpdate{Status: "disabled"}, "update compute service svc-sched: 400 Updating a nova-scheduler service is not supported. Only nova-compute services can be updated. (req-dry-run-4)")
	update("svc-compute-1", recovery.ServiceUpdate{}, "update compute service svc-compute-1: 400 No updates were requested. Fields 'status' or 'forced_down' should be specified. (req-dry-run-5)")
	update("svc-none", recovery.ServiceUpdate{Status: "enabled"}, "update compute service svc-none: 404 Service svc-none could not be found. (req-dry-run-6)")
	if got := d.Assumptions(); len(got) != 1 || !strings.HasPrefix(got[0], "assumed down: compute-1;") {
		t.Errorf("assumptions = %q, want that compute-1 is down", got)
	}
	if id, err := d.Evacuate(ctx, "a", "compute-4"); err != nil {
		t.Errorf("evacuate to the host that was enabled: %q, %v", id, err)
	}
	update("svc-compute-1", recovery.ServiceUpdate{ForcedDown: &up}, "update compute service svc-compute-1: 400 Unable to force up host compute-1 as done evacuation migration records remain associated with the host. (req-dry-run-8)")
	update("svc-compute-2", recovery.ServiceUpdate{ForcedDown: &up}, "enabled up ")

	member := func(f func(context.Context, int, string) (string, error), id int, host, want string) {
		t.Helper()
		_, err := f(ctx, id, host)
		if got := fmt.Sprint(err); got != want {
			t.Errorf("error = %s, want %s", got, want)
		}
	}
	member(d.AddAggregateHost, 1, "compute-4", "<nil>")
	member(d.AddAggregateHost, 1, "compute-2", "add host compute-2 to aggregate 1: 409 Aggregate 1 already has host compute-2. (req-dry-run-11)")
	member(d.AddAggregateHost, 1, "none", "add host none to aggregate 1: 404 Compute host none could not be found. (req-dry-run-12)")
	member(d.AddAggregateHost, 2, "compute-4", "add host compute-4 to aggregate 2: 404 Aggregate 2 could not be found. (req-dry-run-13)")
	member(d.RemoveAggregateHost, 1, "compute-3", "remove host compute-3 from aggregate 1: 404 Aggregate 1 has no host compute-3. (req-dry-run-14)")
	member(d.RemoveAggregateHost, 1, failedHost, "<nil>")
	list, err := d.Aggregates(ctx)
	if want := []string{"compute-2", "compute-4"}; err != nil || !slices.Equal(list[0].Hosts, want) {
		t.Errorf("aggregates = %+v, %v, want hosts %q", list, err, want)
	}
	var ops []string
	for _, c := range d.Changes() {
		ops = append(ops, c.Op)
	}
	want := []string{
		abi.OpNovaServiceDisable, abi.OpNovaServiceEnable, abi.OpNovaServiceForceDown, abi.OpNovaServiceDisable, abi.OpNovaServiceForceDown, abi.OpNovaServiceEnable,
		abi.OpNovaServerEvacuate, abi.OpNovaServiceForceDown, abi.OpNovaServiceForceDown,
		abi.OpNovaAggregateAddHost, abi.OpNovaAggregateAddHost, abi.OpNovaAggregateAddHost, abi.OpNovaAggregateAddHost, abi.OpNovaAggregateRemoveHost, abi.OpNovaAggregateRemoveHost,
	}
	if !slices.Equal(ops, want) {
		t.Errorf("changes = %q, want %q", ops, want)
	}
	if changed(n) {
		t.Errorf("calls = %v, want reads only", n.calls)
	}
}

// TestDryRunReads: reads of the same moment are one.
func TestDryRunReads(t *testing.T) {
	t.Parallel()
	n := dryNova()
	d := hostfuncs.NewDryRun(n, hostfuncs.DryRunOptions{Fresh: time.Hour})
	for range 5 {
		for _, id := range []string{"a", "off"} {
			if _, err := d.Server(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Servers(t.Context(), recovery.ServerFilter{Host: failedHost}, func([]recovery.Server) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Services(t.Context(), recovery.ServiceFilter{}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Migrations(t.Context(), recovery.MigrationFilter{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := []int{n.count("server"), n.count("servers"), n.count("services"), n.count("migrations")}; !slices.Equal(got, []int{2, 1, 1, 1}) {
		t.Errorf("reads of servers, lists, services, migrations = %v, want 2, 1, 1, 1", got)
	}
	// A server that is deleted meanwhile is gone, its changes too.
	d = hostfuncs.NewDryRun(n, hostfuncs.DryRunOptions{Fresh: time.Nanosecond})
	if _, err := d.Evacuate(t.Context(), "a", "compute-3"); err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	delete(n.srv, "a")
	n.mu.Unlock()
	if s, err := d.Server(t.Context(), "a"); !errors.Is(err, recovery.ErrNotFound) {
		t.Errorf("server = %+v, %v, want not found", s, err)
	}
	err := d.Servers(t.Context(), recovery.ServerFilter{Host: "compute-3"}, func(page []recovery.Server) error {
		t.Errorf("listed %+v, want nothing", page)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDryRunHatch: tasks meet what they would meet in a run; waits end.
func TestDryRunHatch(t *testing.T) {
	t.Parallel()
	n := dryNova()
	n.svcs[0].State = "up"
	var d *hostfuncs.DryRun
	b := setup(t, n, func(b *bench) {
		d = hostfuncs.NewDryRun(n, hostfuncs.DryRunOptions{FailedHost: failedHost, Wait: 50 * time.Millisecond})
		b.deps.Cloud, b.deps.Ledger = d, d.Ledger(b.ledger)
		b.deps.Options.VerifyInterval = 5 * time.Millisecond
	})
	task := b.task()
	tests := []struct{ op, req, answer, err string }{
		{"nova.server_evacuate", `{"id":"a"}`, "", "conflict: evacuate server a: Compute service of compute-1 is still in use."},
		{"nova.service_wait", `{"host":"compute-1","state":"down","timeout_s":180}`, `"state":"down"`, ""},
		{"nova.service_wait", `{"host":"compute-2","state":"down","timeout_s":180}`, "", "timeout: nova-compute of compute-2: not down after 180 s; last seen up and enabled"},
		{"nova.server_lock", `{"id":"a"}`, `"locked":true`, ""},
		{"nova.server_evacuate", `{"id":"a"}`, `req-dry-run-3`, ""},
		{"nova.server_wait", `{"id":"a","until":"moved","fields":["OS-EXT-SRV-ATTR:host"]}`, `"outcome":"reached","server":{"id":"a","OS-EXT-SRV-ATTR:host":"(scheduler's choice)"}`, ""},
		{"nova.server_evacuate", `{"id":"a"}`, "", "conflict: nova.server_evacuate: server a is on (scheduler's choice), not on the failed host compute-1: it has been moved already"},
		{"nova.server_stop", `{"id":"a"}`, "req-dry-run-4", ""},
		{"nova.server_wait", `{"id":"a","until":"vm_state","vm_states":["stopped"]}`, `"outcome":"reached"`, ""},
		{"nova.server_wait", `{"id":"a","until":"vm_state","vm_states":["paused"],"timeout_s":7}`, "", `timeout: server a: not in vm_state "paused" after 7 s`},
		{"task.sleep", `{"ms":3600000}`, "{}", ""},
	}
	for _, tt := range tests {
		got, err := do(t.Context(), task, tt.op, tt.req)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(got, tt.answer) || (text == "") != (tt.err == "") || !strings.Contains(text, tt.err) {
			t.Errorf("%s %s = %s, %q, want %q, %q", tt.op, tt.req, got, text, tt.answer, tt.err)
		}
	}
	if err := b.hatch.Undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	var tasks []string
	for _, c := range d.Changes() {
		tasks = append(tasks, c.Op+" "+c.Task)
	}
	want := []string{
		"nova.server_evacuate custom_task", "nova.server_lock custom_task", "nova.server_evacuate custom_task",
		"nova.server_stop custom_task", "nova.server_unlock undo",
	}
	if !slices.Equal(tasks, want) {
		t.Errorf("changes = %q, want %q", tasks, want)
	}
	notes := []string{
		"assumed down: compute-1; Nova shows its nova-compute up now, and refuses to evacuate from it until that ends",
		"cut short: a wait of up to 180 s for nova-compute of compute-2, which did not come about within 50ms",
		"cut short: a wait of up to 7 s for server a, which did not come about within 50ms",
	}
	if got := d.Assumptions(); !slices.Equal(got, notes) {
		t.Errorf("assumptions = %q, want %q", got, notes)
	}
	if changed(n) {
		t.Errorf("calls = %v, want reads only", n.calls)
	}
}

// TestDryRunReadsOfTasks: what a task reads by id or in a list, whole or some
// fields of it, shows what was held back. On a host that is down Nova does not
// get to stop a server: it stays active, with a task that does not end.
func TestDryRunReadsOfTasks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ id, host, want string }{
		{"well", "compute-2", `"status":"SHUTOFF","OS-EXT-STS:vm_state":"stopped","OS-EXT-STS:task_state":null`},
		{"a", failedHost, `"status":"ACTIVE","OS-EXT-STS:vm_state":"active","OS-EXT-STS:task_state":"powering-off"`},
	} {
		t.Run(tt.id, func(t *testing.T) {
			t.Parallel()
			n := dryNova()
			b := setup(t, n, func(b *bench) {
				d := hostfuncs.NewDryRun(n, hostfuncs.DryRunOptions{FailedHost: failedHost})
				b.deps.Cloud, b.deps.Ledger = d, d.Ledger(b.ledger)
			})
			task := b.task()
			const fields = `"fields":["status","OS-EXT-STS:vm_state","OS-EXT-STS:task_state"]`
			reads := []struct{ op, req, want string }{
				{"nova.server_get", `{"id":"` + tt.id + `",` + fields + `}`, `{"id":"` + tt.id + `",` + tt.want + `}`},
				{"nova.server_get", `{"id":"` + tt.id + `"}`, strings.Split(tt.want, ",")[0]},
				{"nova.server_list", `{"host":"` + tt.host + `",` + fields + `}`, `{"id":"` + tt.id + `",` + tt.want + `}`},
				{"nova.server_list", `{` + fields + `}`, `{"id":"` + tt.id + `",` + tt.want + `}`},
			}
			for _, r := range reads {
				if got, err := do(t.Context(), task, r.op, r.req); err != nil || !strings.Contains(got, `"status":"ACTIVE"`) {
					t.Errorf("before: %s %s = %s, %v, want it ACTIVE", r.op, r.req, got, err)
				}
			}
			if _, err := do(t.Context(), task, "nova.server_stop", `{"id":"`+tt.id+`"}`); err != nil {
				t.Fatal(err)
			}
			for _, r := range reads {
				if got, err := do(t.Context(), task, r.op, r.req); err != nil || !strings.Contains(got, r.want) {
					t.Errorf("%s %s = %s, %v, want in it %s", r.op, r.req, got, err, r.want)
				}
			}
			if changed(n) {
				t.Errorf("calls = %v, want reads only", n.calls)
			}
		})
	}
}

// TestDryLibrary: what is written is seen, and does not reach the library.
func TestDryLibrary(t *testing.T) {
	t.Parallel()
	under, ctx := &fakeKV{}, t.Context()
	put := func(kv hostfuncs.LibraryKV, name, value string, ifVersion *int64) string {
		v, err := kv.Put(ctx, "acme", name, recovery.KVValue{Value: json.RawMessage(value)}, ifVersion)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(v)
	}
	for _, name := range []string{"a/1", "a/2", "b"} {
		put(under, name, `1`, nil)
	}
	kv := hostfuncs.DryLibrary(under)
	zero, one, two := int64(0), int64(1), int64(2)
	steps := []struct{ name, got, want string }{
		{"put", put(kv, "a/1", `2`, &one), "2"},
		{"put again", put(kv, "a/1", `3`, &one), `key "a/1": conflict: it has version 2, not 1`},
		{"put anew", put(kv, "a/3", `1`, &zero), "1"},
		{"put what is there", put(kv, "b", `1`, &zero), `key "b": conflict: it has version 1, not 0`},
		{"delete", fmt.Sprint(kv.Delete(ctx, "acme", "a/2", &one)), "<nil>"},
		{"delete again", fmt.Sprint(kv.Delete(ctx, "acme", "a/2", nil)), `key "a/2": not found`},
		{"delete another version", fmt.Sprint(kv.Delete(ctx, "acme", "a/1", &one)), `key "a/1": conflict: it has version 2, not 1`},
		{"put after delete", put(kv, "a/2", `4`, &zero), "2"},
		{"delete what was put", fmt.Sprint(kv.Delete(ctx, "acme", "a/2", &two)), "<nil>"},
		{"put for a moment", func() string {
			v, err := kv.Put(ctx, "acme", "a/4", recovery.KVValue{Value: json.RawMessage(`1`), Expires: time.Now().Add(-time.Second)}, nil)
			return fmt.Sprint(v, err)
		}(), "1 <nil>"},
	}
	for _, s := range steps {
		if s.got != s.want {
			t.Errorf("%s: %s, want %s", s.name, s.got, s.want)
		}
	}
	list := func(kv hostfuncs.LibraryKV, prefix string) string {
		all, err := kv.List(ctx, "acme", prefix)
		var out []string
		for _, v := range all {
			out = append(out, fmt.Sprintf("%s=%s@%d", v.Name, v.Value, v.Version))
		}
		return strings.Join(out, " ") + fmt.Sprint(" ", err)
	}
	if got, want := list(kv, "a/"), "a/1=2@2 a/3=1@1 <nil>"; got != want {
		t.Errorf("list = %s, want %s", got, want)
	}
	if got, want := list(under, ""), "a/1=1@1 a/2=1@1 b=1@1 <nil>"; got != want {
		t.Errorf("the library holds %s, want %s", got, want)
	}
	if _, err := kv.Get(ctx, "acme", "a/2"); !errors.Is(err, recovery.ErrNotFound) {
		t.Errorf("error = %v, want not found", err)
	}
	if v, err := kv.Get(ctx, "acme", "b"); err != nil || string(v.Value) != "1" {
		t.Errorf("b = %+v, %v, want 1", v, err)
	}
	broken := hostfuncs.DryLibrary(&fakeKV{err: recovery.ErrUnavailable})
	if got := put(broken, "x", `1`, nil); got != "unavailable" {
		t.Errorf("put = %s, want unavailable", got)
	}
}
