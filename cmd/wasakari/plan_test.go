package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/novasim"
)

// planCloud has a host that is well, and little room elsewhere.
const planCloud = `
seed: 4
placement: true
hosts:
  - {name: compute-1}
  - {name: compute-2, capacity: 3}
  - {name: compute-3, capacity: 2}
  - {name: compute-4, capacity: 9, disabled: true, disabled_reason: reserved host}
  - {name: compute-5, capacity: 9, disabled: true, disabled_reason: broken}
  - {name: compute-6, capacity: 9, state: down}
servers:
  - {names: [a, b], host: compute-1}
  - {name: tagged, host: compute-1, metadata: {HA_Enabled: "True"}}
  - {name: off, host: compute-1, vm_state: stopped}
  - {name: new, host: compute-1, vm_state: building}
  - {name: asleep, host: compute-1, vm_state: suspended}
  - {name: other, host: compute-2}
`

func planOf(t *testing.T, r result) hostPlan {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(r.stdout))
	dec.DisallowUnknownFields()
	var p hostPlan
	if err := dec.Decode(&p); err != nil {
		t.Fatalf("standard output is no document: %v\nexit %d\n%s%s", err, r.code, r.stdout, r.stderr)
	}
	return p
}

func TestPlanHost(t *testing.T) {
	t.Parallel()
	const choice = hostfuncs.SchedulersChoice
	tests := []struct {
		name     string
		scenario string
		args     string
		code     int
		status   string
		// name, status, target and part of the message, in order
		servers  [][4]string
		free     int64 // VCPU
		reserved int64
		unplaced []string
		unknown  string
	}{
		{
			name: "auto", scenario: planCloud, code: exitFailed, status: "finished",
			servers: [][4]string{
				{"tagged", wouldRecover, choice},
				{"asleep", wouldRecover, choice, "was suspended"},
				{"off", wouldRecover, choice},
				{"b", wouldRecover, choice},
				{"a", wouldRecover, choice},
				{"new", wouldLeave, "", "it is in vm_state building"},
			},
			free: 4, unplaced: []string{"a"},
		}, {
			name: "tagged only", scenario: planCloud, args: "--set host_failure.evacuate_all_instances=false", status: "finished",
			servers: [][4]string{
				{"tagged", wouldRecover, choice},
				{"asleep", wouldLeave, "", "not tagged HA_Enabled"},
				{"new", wouldLeave, "", "not tagged"},
				{"off", wouldLeave, "", "not tagged"},
				{"b", wouldLeave, "", "not tagged"},
				{"a", wouldLeave, "", "not tagged"},
			},
			free: 4,
		}, {
			name: "reserved host", scenario: planCloud, args: "--recovery-method reserved_host --input reserved_host_list=compute-4", status: "finished",
			servers: [][4]string{
				{"tagged", wouldRecover, "compute-4"},
				{"asleep", wouldRecover, "compute-4"},
				{"off", wouldRecover, "compute-4"},
				{"b", wouldRecover, "compute-4"},
				{"a", wouldRecover, "compute-4"},
				{"new", wouldLeave, ""},
			},
			free: 4, reserved: 9,
		}, {
			name: "no host at all", scenario: strings.NewReplacer("capacity: 3}", "disabled: true}", "capacity: 2}", "disabled: true}").Replace(planCloud), code: exitFailed, status: "failed",
			servers: [][4]string{
				{"tagged", wouldFail, "", "No valid host was found."},
				{"asleep", wouldFail, ""},
				{"off", wouldFail, ""},
				{"b", wouldFail, ""},
				{"a", wouldFail, ""},
				{"new", wouldLeave, ""},
			},
			unplaced: []string{"tagged", "asleep", "off", "b", "a"},
		}, {
			name: "no placement", scenario: strings.Replace(planCloud, "placement: true", "", 1), status: "finished",
			servers: [][4]string{
				{"tagged", wouldRecover, choice},
				{"asleep", wouldRecover, choice},
				{"off", wouldRecover, choice},
				{"b", wouldRecover, choice},
				{"a", wouldRecover, choice},
				{"new", wouldLeave, ""},
			},
			unknown: "no placement service",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim, environ := startCloud(t, tt.scenario, novasim.Options{})
			p := newPlace(t, map[string]string{"conf": ""})
			p.environ = environ
			r := p.run(t.Context(), t, append(strings.Fields("plan host compute-1 --output json --config-file DIR/conf"), strings.Fields(tt.args)...)...)
			plan := planOf(t, r)
			if r.code != tt.code || plan.Status != tt.status || r.stderr != "" {
				t.Errorf("exit code %d, status %s, want %d, %s\n%s", r.code, plan.Status, tt.code, tt.status, r.stderr)
			}
			readsOnly(t, sim)
			leftNothing(t, p)
			if len(plan.Servers) != len(tt.servers) {
				t.Fatalf("%d servers, want %d", len(plan.Servers), len(tt.servers))
			}
			for i, s := range plan.Servers {
				want := tt.servers[i]
				if s.Name != want[0] || s.Status != want[1] || s.DestHost != want[2] || !strings.Contains(s.Message, want[3]) {
					t.Errorf("server %d = %+v, want %q", i+1, s, want)
				}
				if n := i + 1; s.Status == wouldLeave && s.N != 0 || s.Status != wouldLeave && s.N != n {
					t.Errorf("server %s has place %d, want %d", s.Name, s.N, n)
				}
				if moved := slices.Contains(s.Changes, abi.OpNovaServerEvacuate); moved != (s.Status != wouldLeave) || s.HA != (s.Name == "tagged") {
					t.Errorf("server %s: changes %q, tagged %v", s.Name, s.Changes, s.HA)
				}
			}
			c := plan.Capacity
			if c.Known != (tt.unknown == "") || c.Reason != tt.unknown || c.Free["VCPU"] != tt.free || c.FreeReserved["VCPU"] != tt.reserved {
				t.Errorf("capacity = %+v, want %d and %d VCPU", c, tt.free, tt.reserved)
			}
			var unplaced []string
			for _, id := range c.Unplaced {
				for _, s := range plan.Servers {
					if s.ID == id {
						unplaced = append(unplaced, s.Name)
					}
				}
			}
			if !slices.Equal(unplaced, tt.unplaced) {
				t.Errorf("no room for %q, want %q", unplaced, tt.unplaced)
			}
			if e := plan.Requests; e.Changes != len(plan.Changes) || e.Total != e.Changes+e.Reads || e.Rule == "" || e.Polls == 0 {
				t.Errorf("requests = %+v of %d changes", e, len(plan.Changes))
			}
			if len(plan.Assumed) != 1 || !strings.HasPrefix(plan.Assumed[0], "assumed down: compute-1;") {
				t.Errorf("assumed = %q, want that compute-1 is down", plan.Assumed)
			}
		})
	}
}

// TestPlanRefused: what is wrong is told, and nothing is asked of the cloud.
func TestPlanRefused(t *testing.T) {
	t.Parallel()
	_, environ := startCloud(t, planCloud, novasim.Options{})
	tests := []struct{ name, args, want string }{
		{"no host", "plan host", "wasakari: name one host, such as compute-1; usage: wasakari plan host HOST [flags]\n"},
		{"unknown host", "plan host compute-11", "wasakari: host compute-11 has no nova-compute; did you mean compute-1?\n"},
		{"strange host", "plan host x", "wasakari: host x has no nova-compute; see the hosts with openstack compute service list\n"},
		{"unknown method", "plan host compute-1 --recovery-method best", "wasakari: --recovery-method best: want auto, reserved_host, auto_priority or rh_priority\n"},
		{"reserved host missing", "plan host compute-1 --recovery-method reserved_host", "wasakari: flow host-rh needs the input reserved_host_list; add --input reserved_host_list='[\"compute-4\"]'\n"},
		{"dry run resumed", "run --dry-run --resume x", "wasakari: --resume and --dry-run: choose one; usage: wasakari run FLOW --input name=value ... [flags]\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, map[string]string{"conf": ""})
			p.environ = environ
			r := p.run(t.Context(), t, append(strings.Fields(tt.args), "--config-file", "DIR/conf")...)
			if r.code != exitUsage || r.stderr != tt.want || r.stdout != "" {
				t.Errorf("exit code %d, standard error %q, want %d, %q\n%s", r.code, r.stderr, exitUsage, tt.want, r.stdout)
			}
		})
	}
}

// TestDryText: both are told to people in lines.
func TestDryText(t *testing.T) {
	t.Parallel()
	const cloud = `
placement: true
hosts:
  - {name: compute-1}
  - {name: compute-2, capacity: 2}
servers:
  - {id: 11111111-0000-4000-8000-000000000000, name: "we\e[2Jb", host: compute-1}
  - {id: 22222222-0000-4000-8000-000000000000, name: new, host: compute-1, vm_state: building}
`
	tests := []struct{ name, args, want string }{
		{
			"dry run", "run host-auto --dry-run --input host_name=compute-1",
			`host-auto of compute-1 on cloud of the OS_* variables; dry run: nothing is changed
  pre   disable_compute_service_task: succeeded
  main  prepare_HA_enabled_instances_task: succeeded
  post  evacuate_instances_task: succeeded

   1. nova.service_disable       compute-1, reason: Masakari detected host failed. [wasakari default UUID]  by disable_compute_service_task
   2. nova.server_lock           we·[2Jb (11111111-0000-4000-8000-000000000000)  by evacuate_instances_task
   3. nova.server_evacuate       we·[2Jb (11111111-0000-4000-8000-000000000000): compute-1 → compute-2  by evacuate_instances_task
   4. nova.server_unlock         we·[2Jb (11111111-0000-4000-8000-000000000000)  by evacuate_instances_task
assumed down: compute-1; Nova shows its nova-compute up now, and refuses to evacuate from it until that ends
ignored: server new (22222222-0000-4000-8000-000000000000): it is in vm_state building
the run would end finished
servers: 1 succeeded, 1 ignored
changes: 4; requests of this dry run to Nova, all of them reads: `,
		}, {
			"plan", "plan host compute-1",
			`if compute-1 on cloud of the OS_* variables died now (recovery method auto): nothing is changed by this plan
its nova-compute is up, enabled; servers on it: 2

would be recovered, in this order:
   1. we·[2Jb (11111111-0000-4000-8000-000000000000), active: compute-1 → compute-2: was active; evacuated

would not be recovered:
    - new (22222222-0000-4000-8000-000000000000), building: it is in vm_state building

assumed down: compute-1; Nova shows its nova-compute up now, and refuses to evacuate from it until that ends
the run would end finished
requests to Nova: about 15 (4 changes, 11 reads), and up to 2 a second while servers are on the move
capacity: the servers that move have 1 DISK_GB, 64 MEMORY_MB, 1 VCPU
  free on other hosts that are up and enabled (1): 2 DISK_GB, 128 MEMORY_MB, 2 VCPU
  enough, if nothing but room decides
`,
		},
	}
	_, environ := startCloud(t, cloud, novasim.Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, map[string]string{"conf": ""})
			p.environ = environ
			r := p.run(t.Context(), t, append(strings.Fields(tt.args), "--config-file", "DIR/conf")...)
			got := uuids.ReplaceAllString(r.stdout, "UUID")
			if r.code != exitOK || r.stderr != "" || !strings.HasPrefix(got, tt.want) {
				t.Errorf("exit code %d, standard error %q, standard output\n%s\nwant\n%s", r.code, r.stderr, got, tt.want)
			}
		})
	}
}
