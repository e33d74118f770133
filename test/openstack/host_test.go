//go:build e2e

package openstack_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// novasimOnly lists what the lab's Nova cannot show, with the reason. The
// simulated cloud's tests prove it.
var novasimOnly = map[string]string{
	"compute API 2.95":                    "Nova 26.2 ends at 2.93; with 2.95 an evacuated server stays stopped",
	"evacuating with volumes or networks": "the lab has neither: both are Nova's own business",
	"a list of more than 1000 servers":    "building them takes the lab an hour",
	"429 Too Many Requests":               "this Nova has no rate limits",
}

func TestNovasimOnly(t *testing.T) {
	for _, what := range slices.Sorted(maps.Keys(novasimOnly)) {
		t.Logf("novasim only: %s (%s)", what, novasimOnly[what])
	}
}

// TestMethods recovers a host by every method, with reserved hosts that can
// and that cannot be used.
func TestMethods(t *testing.T) {
	once := map[string]int{"lock": 1, "evacuate": 1, "unlock": 1}
	twice := map[string]int{"lock": 2, "evacuate": 2, "unlock": 2}
	list := "--input=reserved_host_list=" + reserved
	tests := []struct {
		name  string
		down  []string // beside the failed one
		off   []string // disabled
		args  []string
		host  string
		posts map[string]int
		in    string // service state of the reserved host
	}{
		{"auto lets Nova choose", nil, nil, []string{"host-auto", "--recovery-method", "auto"}, "away", once, "disabled"},
		{"auto_priority stays with auto when it works", nil, nil, []string{"host-auto", "--recovery-method", "auto_priority", list}, "away", once, "disabled"},
		{"auto_priority falls back to the reserved host when there is no room", nil, []string{other, third}, []string{"host-auto", "--recovery-method", "auto_priority", list}, reserved, twice, "enabled"},
		{"rh_priority stays with the reserved host when it works", nil, nil, []string{"host-rh", "--recovery-method", "rh_priority", list}, reserved, once, "enabled"},
		{"rh_priority falls back to auto when the reserved host is down", []string{reserved}, nil, []string{"host-rh", "--recovery-method", "rh_priority", list}, "away", once, "disabled"},
		{"rh_priority falls back to auto without a reserved host", nil, nil, []string{"host-rh", "--recovery-method", "rh_priority", "--input=reserved_host_list=[]"}, "away", once, "disabled"},
		{"reserved_host takes the next one when the first is down", []string{third}, []string{third}, []string{"host-rh", "--recovery-method", "reserved_host", "--input=reserved_host_list=" + third + "," + reserved}, reserved, once, "enabled"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := scenario(t)
			before := l.boot(t, fixture{name: "vm", count: 2}, fixture{name: "cold", state: "stopped"})
			l.setService(t, "disabled", tt.off...)
			for _, h := range append([]string{failed}, tt.down...) {
				l.fail(t, h)
			}
			from := l.logSize(t)
			r := l.run(t, l.newPlace(t, nil), append(tt.args, "--input", "host_name="+failed)...)
			ended(t, r, 0, "finished")
			wants := map[string]want{}
			for name, s := range before {
				w := moved(s.VMState, s.VMState).on(tt.host)
				w.posts = tt.posts
				wants[name] = w
				if name == "cold" && tt.posts["evacuate"] == 2 {
					wants[name] = w.and("stop") // the evacuation that failed left it in error
				}
			}
			l.check(t, r, from, before, wants)
			l.disabled(t, r.RunID)
			if s := l.service(t, reserved); s.Status != tt.in {
				t.Errorf("the reserved host is %s, want %s", s.Status, tt.in)
			}
			for _, h := range tt.off {
				if s := l.service(t, h); s.Status != "disabled" {
					t.Errorf("%s is %s, want disabled as before", h, s.Status)
				}
			}
		})
	}
}

// TestReservedHostDies proves that servers go on to the next reserved host when
// the first one dies under them.
func TestReservedHostDies(t *testing.T) {
	l := scenario(t)
	p := newProxy(t)
	before := l.boot(t, fixture{name: "vm", count: 2}, fixture{name: "frozen", state: "paused"})
	l.setService(t, "disabled", third)
	l.fail(t, failed)
	tr := p.set(&trap{match: onChange("evacuate"), before: l.inTrap(t, func(ctx context.Context) error {
		_, err := l.script(ctx, "fail", third, "--force-down")
		return err
	})})
	from := l.logSize(t)
	r := l.run(t, l.newPlace(t, p), "host-rh", "--input", "host_name="+failed, "--input", "reserved_host_list="+third+","+reserved,
		"--set", "DEFAULT.host_failure_recovery_threads=1")
	sprang(t, tr)
	ended(t, r, 0, "finished")
	l.check(t, r, from, before, join(
		all(before, "vm-", moved("active", "active").on(reserved).and("lock", "evacuate", "unlock")),
		all(before, "frozen", stopped("paused").on(reserved).and("lock", "evacuate", "unlock")),
	))
	if s := l.service(t, third); s.Status != "disabled" {
		t.Errorf("%s, which took nothing, is %s, want disabled as before", third, s.Status)
	}
	if s := l.service(t, reserved); s.Status != "enabled" {
		t.Errorf("%s is %s, want enabled: servers run there", reserved, s.Status)
	}
}

// TestStates recovers one server for each row of the table of states.
func TestStates(t *testing.T) {
	resized := moved("resized", "active").and("resetState")
	resizedOff := stopped("resized and off")
	pinned := moved("active", "active")
	pinned.locked, pinned.posts = true, map[string]int{"evacuate": 1}
	rows := []struct {
		name  string
		state string // that it is brought into
		hung  string // action while the host hangs
		dead  string // action when Nova knows that the host is down
		sql   string // columns to set: a state too short-lived to be met, or one that needs other settings of Nova
		want  want
	}{
		{name: "active", want: moved("active", "active")},
		{name: "active and locked by its owner", state: "locked", want: pinned},
		{name: "active/rebooting", dead: "reboot", want: moved("active", "active")},
		{name: "active/powering-off", dead: "os-stop", want: moved("active", "active")},
		{name: "active/pausing", dead: "pause", want: moved("active", "active")},
		{name: "stopped", state: "stopped", want: moved("stopped", "stopped")},
		{name: "stopped/powering-on", state: "stopped", dead: "os-start", want: moved("stopped", "stopped")},
		{name: "error", state: "error", want: inError()},
		{name: "error/deleting", state: "error", hung: "delete", want: left("error", "it is in task_state deleting")},
		{name: "resized", state: "resized", want: resized},
		{name: "resized and off", state: "resized and off", want: resizedOff},
		{name: "paused", state: "paused", want: stopped("paused")},
		{name: "suspended", state: "suspended", want: stopped("suspended")},
		{name: "rescued", state: "rescued", want: stopped("rescued")},
		{name: "shelved", sql: "vm_state='shelved', power_state=4", want: stopped("shelved")},
		{name: "shelved_offloaded", state: "shelved_offloaded", want: want{vm: "shelved_offloaded", host: "stays"}},       // on no host
		{name: "soft-delete", sql: "vm_state='soft-delete', power_state=4", want: want{vm: "soft-delete", host: "stays"}}, // Nova does not list it
		{name: "building/spawning", sql: "vm_state='building', task_state='spawning'", want: left("building", "it is in vm_state building")},
		{name: "active/deleting", sql: "task_state='deleting'", want: left("active", "it is in task_state deleting")},
	}
	l := scenario(t)
	var fixtures []fixture
	ids := map[string]string{}
	for _, row := range rows {
		fixtures = append(fixtures, fixture{name: row.name, state: row.state})
	}
	before := l.boot(t, fixtures...)
	t.Cleanup(func() { // or nobody would see it to delete it
		if err := l.query(context.WithoutCancel(t.Context()), "update nova.instances set vm_state='error' where vm_state='soft-delete'"); err != nil {
			t.Error(err)
		}
	})
	for name, s := range before {
		ids[name] = s.ID
	}
	ctx := t.Context()
	l.must(t, "daemon", "pause", failed)
	for _, row := range rows {
		if row.hung == "delete" {
			if err := l.nova(ctx, owner, "DELETE", "/servers/"+ids[row.name], nil, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.fail(t, failed)
	for _, row := range rows {
		var arg any
		if row.dead == "reboot" {
			arg = map[string]any{"type": "HARD"}
		}
		if row.dead != "" {
			if err := l.act(ctx, owner, ids[row.name], row.dead, arg); err != nil {
				t.Fatal(err)
			}
		}
		if row.sql != "" {
			if err := l.query(ctx, "update nova.instances set "+row.sql+" where uuid='"+ids[row.name]+"'"); err != nil {
				t.Fatal(err)
			}
		}
	}
	before = map[string]server{}
	for _, s := range l.mustServers(t) {
		before[s.Name] = s
	}
	for name, id := range ids {
		if _, listed := before[name]; !listed {
			s, err := l.server(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			before[name] = s
		}
	}
	for _, row := range rows {
		vm, task, _ := strings.Cut(row.name, "/")
		vm, _, _ = strings.Cut(vm, " and ")
		s := before[row.name]
		if s.VMState != vm || task != "" && !strings.HasPrefix(s.Task, task) && s.Task != "rebooting_hard" && s.Task != "reboot_started_hard" {
			t.Errorf("%s: before the run it is %s", row.name, s)
		}
	}
	from := l.logSize(t)
	r := l.run(t, l.newPlace(t, nil), "host-auto", "--input", "host_name="+failed)
	ended(t, r, 0, "finished")
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			one := result{exit: r.exit, report: r.report, stderr: r.stderr}
			one.VMoves = slices.DeleteFunc(slices.Clone(r.VMoves), func(v vmove) bool { return v.InstanceUUID != ids[row.name] })
			l.check(t, one, from, map[string]server{row.name: before[row.name]}, map[string]want{row.name: row.want})
		})
	}
}

// TestOptions recovers the same host again and again with other options: each
// run leaves what the next one takes.
func TestOptions(t *testing.T) {
	l := scenario(t)
	before := l.boot(t, fixture{name: "tagged", count: 2, tagged: true}, fixture{name: "plain", count: 2},
		fixture{name: "frozen", state: "paused"}, fixture{name: "broken", state: "error"}, fixture{name: "repair", state: "rescued", tagged: true})
	l.fail(t, failed)
	unlocked := map[string]int{"evacuate": 1}
	plain := moved("active", "active")
	plain.posts = unlocked
	frozen := stopped("paused")
	broken := inError()
	tests := []struct {
		name  string
		set   []string
		wants map[string]want
	}{
		{
			"only tagged ones, and no other states",
			[]string{"host_failure.evacuate_all_instances=false", "host_failure.other_states=skip"},
			join(all(before, "tagged", moved("active", "active")), all(before, "repair", left("rescued", "[host_failure] other_states is skip"))),
		},
		{
			"tagged by another key: nothing to do",
			[]string{"host_failure.evacuate_all_instances=false", "host_failure.ha_enabled_instance_metadata_key=Other"},
			nil,
		},
		{
			"all but those in error or another state, without locks",
			[]string{"host_failure.other_states=skip", "host_failure.ignore_instances_in_error_state=true", "host_failure.lock_servers=false"},
			join(all(before, "plain", plain), all(before, "frozen", left("paused", "other_states is skip")),
				all(before, "repair", left("rescued", "other_states is skip")), all(before, "broken", left("error", "error"))),
		},
		{
			"the rest", nil,
			join(all(before, "frozen", frozen), all(before, "broken", broken), all(before, "repair", stopped("rescued"))),
		},
	}
	// One state folder: a run that knows nothing of the one that disabled the
	// host does not touch it.
	w := l.newPlace(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := []string{"host-auto", "--input", "host_name=" + failed}
			for _, s := range tt.set {
				args = append(args, "--set", s)
			}
			from := l.logSize(t)
			r := l.run(t, w, args...)
			ended(t, r, 0, "finished")
			here := map[string]server{}
			for _, s := range l.mustServers(t) {
				if s.Host == failed || tt.wants[s.Name].vmove != "" {
					here[s.Name] = before[s.Name]
				}
			}
			l.check(t, r, from, here, tt.wants)
		})
	}
}

// TestNoRoom proves that a server that nobody could take is told of with
// Nova's words, and can be evacuated when there is room again.
func TestNoRoom(t *testing.T) {
	l := scenario(t)
	before := l.boot(t, fixture{name: "vm", count: 2}, fixture{name: "frozen", state: "paused"})
	l.setService(t, "disabled", other, third)
	l.fail(t, failed)
	from := l.logSize(t)
	w := l.newPlace(t, nil)
	r := l.run(t, w, "host-auto", "--input", "host_name="+failed)
	ended(t, r, 1, "failed")
	no := want{vm: "error", host: "stays", vmove: "failed", says: "No valid host", posts: map[string]int{"lock": 1, "evacuate": 1, "unlock": 1}}
	l.check(t, r, from, before, join(all(before, "vm-", no), all(before, "frozen", no.and("resetState"))))

	l.setService(t, "enabled", other)
	r = l.run(t, w, "host-auto", "--input", "host_name="+failed)
	ended(t, r, 0, "finished")
	// A new run finds them in error: what they were before is not Nova's to know.
	again := inError().on(other).and("lock", "evacuate", "unlock")
	l.check(t, r, from, before, join(all(before, "vm-", again), all(before, "frozen", again.and("resetState"))))
}

// TestScale recovers hosts of several sizes.
func TestScale(t *testing.T) {
	for _, n := range []int{1, 20, 200} {
		t.Run(fmt.Sprintf("%d servers", n), func(t *testing.T) {
			l := scenario(t)
			before := l.boot(t, fixture{name: "vm", count: n})
			l.fail(t, failed)
			from := l.logSize(t)
			r := l.run(t, l.newPlace(t, nil), "host-auto", "--input", "host_name="+failed)
			ended(t, r, 0, "finished")
			l.check(t, r, from, before, all(before, "vm", moved("active", "active")))
			t.Logf("%d servers in %s, %.1f requests to Nova for each", n, r.took.Round(time.Second/10), float64(r.NovaCalls)/float64(n))
		})
	}
}
