package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/novasim"
)

// opOf says how the hatch names what a request to Nova asks for, and for what
// else it asks than for a server by its id.
func opOf(t *testing.T, r novasim.Request) (op, target, detail string) {
	t.Helper()
	var body struct {
		Status     string                 `json:"status"`
		Reason     string                 `json:"disabled_reason"`
		ForcedDown *bool                  `json:"forced_down"`
		Reset      struct{ State string } `json:"os-resetState"`
		Reboot     struct{ Type string }  `json:"reboot"`
		Add        struct{ Host string }  `json:"add_host"`
		Remove     struct{ Host string }  `json:"remove_host"`
	}
	if err := json.Unmarshal([]byte(r.Body), &body); err != nil {
		t.Fatalf("body of %s %s: %v", r.Method, r.Path, err)
	}
	path := strings.Split(strings.Trim(r.Path, "/"), "/")
	switch {
	case r.Method == http.MethodPut && body.ForcedDown != nil:
		return abi.OpNovaServiceForceDown, path[2], fmt.Sprint(*body.ForcedDown)
	case r.Method == http.MethodPut && body.Status == "enabled":
		return abi.OpNovaServiceEnable, path[2], ""
	case r.Method == http.MethodPut:
		return abi.OpNovaServiceDisable, path[2], body.Reason
	}
	switch r.Action {
	case "evacuate":
		return abi.OpNovaServerEvacuate, r.Server, ""
	case "os-stop":
		return abi.OpNovaServerStop, r.Server, ""
	case "os-start":
		return abi.OpNovaServerStart, r.Server, ""
	case "lock":
		return abi.OpNovaServerLock, r.Server, ""
	case "unlock":
		return abi.OpNovaServerUnlock, r.Server, ""
	case "reboot":
		return abi.OpNovaServerReboot, r.Server, body.Reboot.Type
	case "os-resetState":
		return abi.OpNovaServerResetState, r.Server, body.Reset.State
	case "add_host":
		return abi.OpNovaAggregateAddHost, path[2], body.Add.Host
	case "remove_host":
		return abi.OpNovaAggregateRemoveHost, path[2], body.Remove.Host
	}
	t.Fatalf("request %s %s %s", r.Method, r.Path, r.Body)
	return "", "", ""
}

// done lists, for each target, the changes that the cloud was asked for, in
// order.
func done(t *testing.T, sim *novasim.Cloud, run string) map[string][]string {
	t.Helper()
	hosts := map[string]string{}
	for _, s := range sim.Services() {
		hosts[s.ID] = s.Host
	}
	out := map[string][]string{}
	for _, r := range sim.Requests() {
		if r.Service != "compute" || r.Method == http.MethodGet {
			continue
		}
		op, target, detail := opOf(t, r)
		if r.Method == http.MethodPut {
			target = cmp.Or(hosts[target], "controller")
		}
		out[target] = append(out[target], entry(op, detail, r.Status >= 400, run))
	}
	return out
}

func entry(op, detail string, refused bool, run string) string {
	text := strings.TrimSpace(op + " " + strings.ReplaceAll(detail, run, "RUN"))
	if refused {
		text += " refused"
	}
	return text
}

// planned lists the same of a dry run.
func planned(changes []hostfuncs.Change, run string) map[string][]string {
	out := map[string][]string{}
	for _, c := range changes {
		detail := c.State + c.Type
		switch c.Op {
		case abi.OpNovaServiceDisable:
			detail = c.Reason
		case abi.OpNovaServiceForceDown:
			detail = fmt.Sprint(*c.ForcedDown)
		case abi.OpNovaAggregateAddHost, abi.OpNovaAggregateRemoveHost:
			detail = c.Host
		}
		out[c.Target] = append(out[c.Target], entry(c.Op, detail, c.Refused != "", run))
	}
	return out
}

// readsOnly fails when anything but a read reached the cloud.
func readsOnly(t *testing.T, sim *novasim.Cloud) {
	t.Helper()
	for _, r := range sim.Requests() {
		if r.Method != http.MethodGet && (r.Service != "identity" || r.Path != "/v3/auth/tokens") {
			t.Errorf("the cloud was asked %s %s %s", r.Method, r.Path, r.Body)
		}
	}
}

// leftNothing fails when a state folder was made.
func leftNothing(t *testing.T, p *place) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(p.dir, "home/.local/*"))
	if err != nil || len(left) > 0 {
		t.Errorf("there is %q in the home folder (%v), want nothing", left, err)
	}
	left, err = filepath.Glob(filepath.Join(os.TempDir(), "wasakari-dry-run-*"))
	if err != nil || len(left) > 0 {
		t.Logf("%q is there; another test may be at it", left)
	}
}

// dryCloud is rhCloud with states and an aggregate.
const dryCloud = rhCloud + `
  - {name: off, host: compute-1, vm_state: stopped}
  - {name: broken, host: compute-1, vm_state: error, fault: Guest did not start.}
  - {name: frozen-1, host: compute-1, vm_state: paused, metadata: {HA_Enabled: "True"}}
  - {name: resized, host: compute-1, vm_state: resized}
  - {name: gone, host: compute-1, vm_state: building}
  - {name: pinned, host: compute-1, locked: true, locked_reason: do not touch}
aggregates:
  - {name: fast, hosts: [compute-1, compute-2]}
  - {name: both, hosts: [compute-1, compute-4]}
`

// TestDryRun: what a dry run lists is what a run then does, for each target in
// the same order, and the dry run itself only reads.
func TestDryRun(t *testing.T) {
	t.Parallel()
	demo := []string{"--config-file", guideConf, "--task-dir", exampleTasks(t)}
	none := []string{"--config-file", "DIR/conf"}
	tests := []struct {
		name     string
		scenario string
		conf     []string
		args     string
		heal     string // a host that is up in the dry run and down in the run
		assumed  int
	}{
		{name: "demo", scenario: demoCloud(t), conf: demo, args: "host-auto --input host_name=compute-1"},
		{name: "states", scenario: dryCloud, conf: none, args: "host-auto --input host_name=compute-1"},
		{name: "one thread", scenario: dryCloud, conf: none, args: "host-auto --input host_name=compute-1 --set DEFAULT.host_failure_recovery_threads=1"},
		{name: "without locks, others skipped", scenario: dryCloud, conf: none, args: "host-auto --input host_name=compute-1 --set host_failure.lock_servers=false --set host_failure.other_states=skip"},
		{name: "host that is up", scenario: dryCloud, conf: none, args: "host-auto --input host_name=compute-1", heal: "compute-1", assumed: 1},
		{name: "nothing to do", scenario: dryCloud, conf: none, args: "host-auto --input host_name=compute-7"},
		{name: "no host left", scenario: strings.Replace(dryCloud, "{name: compute-2, capacity: 100}", "{name: compute-2, disabled: true}", 1), conf: none, args: "host-auto --input host_name=compute-1"},
		{name: "host-rh", scenario: dryCloud, conf: none, args: `host-rh --input host_name=compute-1 --input reserved_host_list=["compute-4","compute-5"] --set host_failure.add_reserved_host_to_aggregate=true`},
		{name: "host-rh, dead host first", scenario: dryCloud, conf: none, args: `host-rh --input host_name=compute-1 --input reserved_host_list=compute-6,compute-5`},
		{name: "auto_priority falls back", scenario: strings.Replace(dryCloud, "{name: compute-2, capacity: 100}", "{name: compute-2, disabled: true}", 1), conf: none, args: "host-auto --recovery-method auto_priority --input host_name=compute-1 --input reserved_host_list=compute-4"},
		{name: "instance", scenario: dryCloud, conf: none, args: "instance --input instance_uuid=ID(well)"},
		{name: "instance that is paused", scenario: dryCloud, conf: none, args: "instance --input instance_uuid=ID(frozen)"},
		{name: "instance that is not there", scenario: dryCloud, conf: none, args: "instance --input instance_uuid=6f70656e-7374-4163-8b00-000000000000"},
		{name: "process", scenario: dryCloud, conf: none, args: "process --input process_name=nova-compute --input host_name=compute-2"},
		{name: "process that cannot be disabled", scenario: dryCloud, conf: none, args: "process --input process_name=nova-conductor --input host_name=controller"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim, environ := startCloud(t, tt.scenario, novasim.Options{})
			if tt.heal != "" {
				if err := sim.HealHost(tt.heal); err != nil {
					t.Fatal(err)
				}
			}
			p := newPlace(t, map[string]string{"conf": ""})
			p.environ = environ
			args := strings.Fields(regexp.MustCompile(`ID\((\w+)\)`).ReplaceAllStringFunc(tt.args, func(s string) string {
				return server(t, sim, s[3:len(s)-1]).ID
			}))
			args = slices.Concat([]string{"run", "--output", "json"}, args, tt.conf)
			servers, services := sim.Servers(), sim.Services()

			r := p.run(t.Context(), t, append(slices.Clone(args), "--dry-run")...)
			dry := documentOf(t, r)
			if !dry.DryRun || dry.Changes == nil || len(dry.Assumed) != tt.assumed {
				t.Errorf("dry_run = %v, changes = %v, assumed = %q, want %d", dry.DryRun, dry.Changes, dry.Assumed, tt.assumed)
			}
			readsOnly(t, sim)
			leftNothing(t, p)
			if !reflect.DeepEqual(sim.Servers(), servers) || !reflect.DeepEqual(sim.Services(), services) {
				t.Error("the dry run changed the cloud")
			}

			if tt.heal != "" {
				if err := sim.FailHost(tt.heal); err != nil {
					t.Fatal(err)
				}
			}
			run := p.run(t.Context(), t, args...)
			doc := documentOf(t, run)
			if dry.Status != doc.Status || r.code != run.code {
				t.Errorf("the dry run ends %s, exit code %d; the run %s, exit code %d\n%s\n%s", dry.Status, r.code, doc.Status, run.code, dry.Message, doc.Message)
			}
			want := done(t, sim, doc.RunID)
			if got := planned(dry.Changes, dry.RunID); !reflect.DeepEqual(got, want) {
				t.Errorf("planned\n%s\nbut done was\n%s", sorted(got), sorted(want))
			}
			if got, want := lines(dry), lines(doc); !slices.Equal(got, want) {
				t.Errorf("tasks of the dry run = %q, of the run %q", got, want)
			}
			if len(dry.VMoves) != len(doc.VMoves) {
				t.Fatalf("%d vmoves in the dry run, %d in the run", len(dry.VMoves), len(doc.VMoves))
			}
			for i, v := range dry.VMoves {
				w := doc.VMoves[i]
				if v.InstanceUUID != w.InstanceUUID || v.Status != w.Status || v.DestHost != w.DestHost && v.DestHost != hostfuncs.SchedulersChoice {
					t.Errorf("vmove %d: %+v in the dry run, %+v in the run", i, v, w)
				}
			}
			for i, c := range dry.Changes {
				if c.N != i+1 || c.Task == "" {
					t.Errorf("change %d has the number %d and the task %q", i+1, c.N, c.Task)
				}
			}
		})
	}
}

func sorted(m map[string][]string) string {
	var out []string
	for target, list := range m {
		out = append(out, target+": "+strings.Join(list, ", "))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
