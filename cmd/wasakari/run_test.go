package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/recovery"
)

// demoCloud is the cloud of the demo in which nothing takes time.
func demoCloud(t *testing.T) string {
	t.Helper()
	text, _, found := strings.Cut(string(novasim.DemoYAML()), "\nlatency:")
	if !found {
		t.Fatal("the demo's scenario has no latency")
	}
	return regexp.MustCompile(`service_down_time: \S+`).ReplaceAllString(text, "service_down_time: 0s")
}

// evacuated lists the servers of accepted evacuations in the order in which
// the cloud took them.
func evacuated(sim *novasim.Cloud) []string {
	var list []string
	for _, c := range changes(sim) {
		if name, ok := strings.CutPrefix(c, "evacuate "); ok {
			list = append(list, name)
		}
	}
	return list
}

// lines says how the tasks of a report ended.
func lines(doc report) []string {
	var list []string
	for _, t := range doc.Tasks {
		line := fmt.Sprintf("%s %s %s %s", t.Flow, t.Phase, t.Key, t.Status)
		if t.ReservedHost != "" {
			line += " on " + t.ReservedHost
		}
		list = append(list, line)
	}
	return list
}

// outcomes counts the servers of a report by status and host.
func outcomes(doc report) map[string]int {
	n := map[string]int{}
	for _, v := range doc.VMoves {
		n[strings.TrimSpace(string(v.Status)+" "+v.DestHost)]++
	}
	return n
}

// TestDemo is the flow of Masakari's guide as make demo runs it.
func TestDemo(t *testing.T) {
	t.Parallel()
	sim, environ := startCloud(t, demoCloud(t), novasim.Options{})
	p := newPlace(t, nil)
	p.environ = environ
	r := p.run(t.Context(), t, "run", "host-auto", "--config-file", guideConf, "--task-dir", exampleTasks(t),
		"--set", "DEFAULT.host_failure_recovery_threads=1", "--input", "host_name=compute-1", "--output", "json")
	if r.code != exitOK {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r.stderr != "" {
		t.Errorf("standard error = %q, want nothing", r.stderr)
	}
	doc := documentOf(t, r)
	if doc.Status != "finished" || doc.Message != "" {
		t.Errorf("status %q, message %q, want finished and none", doc.Status, doc.Message)
	}
	want := []string{
		"host-auto pre disable_compute_service_task succeeded",
		"host-auto pre custom_pre_task succeeded",
		"host-auto main custom_main_task succeeded",
		"host-auto main prepare_HA_enabled_instances_task succeeded",
		"host-auto post evacuate_instances_task succeeded",
		"host-auto post custom_post_task succeeded",
	}
	if got := lines(doc); !slices.Equal(got, want) {
		t.Errorf("tasks = %q, want %q", got, want)
	}
	var ticket struct{ ID, Queue, Host string }
	if err := json.Unmarshal(doc.KV["recovery_ticket"], &ticket); err != nil || ticket.Host != "compute-1" || ticket.Queue != "ops" || !strings.HasPrefix(ticket.ID, "ops-") {
		t.Errorf("kv = %s (%v), want a ticket of compute-1 in queue ops", doc.KV, err)
	}
	if len(doc.VMoves) != 20 {
		t.Errorf("%d vmoves, want 20", len(doc.VMoves))
	}
	for _, v := range doc.VMoves {
		s := server(t, sim, v.InstanceName)
		if v.Status != recovery.VMoveSucceeded || v.SourceHost != "compute-1" || v.DestHost != s.Host || v.InstanceUUID != s.ID || s.Host == "compute-1" || s.Host == "compute-4" {
			t.Errorf("vmove %+v of a server on %s", v, s.Host)
		}
		if s.Evacuations != 1 {
			t.Errorf("server %s: %d evacuations, want 1", s.Name, s.Evacuations)
		}
		if want := s.Name == "pinned"; s.Locked != want {
			t.Errorf("server %s: locked = %v, want %v", s.Name, s.Locked, want)
		}
	}
	order := evacuated(sim)
	tagged := slices.IndexFunc(order, func(name string) bool { return server(t, sim, name).Metadata["HA_Enabled"] == "" })
	if len(order) != 20 || tagged != 9 || slices.ContainsFunc(order[tagged:], func(name string) bool { return server(t, sim, name).Metadata["HA_Enabled"] != "" }) {
		t.Errorf("order = %q, want the 9 tagged servers first", order)
	}
	asked := 0
	for _, r := range sim.Requests() {
		if r.Service == "compute" {
			asked++
		}
	}
	if doc.NovaCalls != asked {
		t.Errorf("nova_calls = %d, the cloud got %d", doc.NovaCalls, asked)
	}
	documentFields(t, r.stdout)
}

// documentFields checks the fields of the document that --output json prints,
// as any program would see them.
func documentFields(t *testing.T, text string) {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	check := func(what string, v any, want map[string]string) {
		t.Helper()
		object, _ := v.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(want)) {
			field, there := object[name]
			got := strings.TrimSuffix(strings.TrimSuffix(fmt.Sprintf("%T", field), " {}"), "64")
			if !there || got != want[name] {
				t.Errorf("%s: %s is a %s, want %s", what, name, got, want[name])
			}
		}
		if len(object) != len(want) {
			t.Errorf("%s has the fields %q, want %d", what, slices.Sorted(maps.Keys(object)), len(want))
		}
	}
	const list, object = "[]interface", "map[string]interface"
	check("document", doc, map[string]string{
		"run_id": "string", "status": "string", "message": "string", "flows": list, "cloud": "string", "started": "string",
		"duration_ms": "float", "tasks": list, "vmoves": list, "kv": object, "nova_calls": "float",
	})
	for _, task := range doc["tasks"].([]any) {
		check("task", task, map[string]string{
			"key": "string", "flow": "string", "phase": "string", "round": "float", "attempt": "float", "status": "string",
			"duration_ms": "float", "message": "string",
		})
	}
	for _, v := range doc["vmoves"].([]any) {
		check("vmove", v, map[string]string{
			"instance_uuid": "string", "instance_name": "string", "status": "string", "source_host": "string", "dest_host": "string",
			"message": "string", "attempt": "float",
		})
	}
}

// rhCloud has two reserved hosts, and a host that died without servers.
const rhCloud = `
seed: 5
hosts:
  - {name: compute-1, state: down}
  - {name: compute-2, capacity: 100}
  - {name: compute-4, disabled: true, disabled_reason: reserved host}
  - {name: compute-5, disabled: true, disabled_reason: reserved host}
  - {name: compute-6, state: down, disabled: true, disabled_reason: broken}
  - {name: compute-7, state: down}
servers:
  - {names: [a, b], host: compute-1, metadata: {HA_Enabled: "True"}}
  - {name: c, host: compute-1}
  - {name: well, host: compute-2, metadata: {HA_Enabled: "yes"}}
  - {name: untagged, host: compute-2}
  - {name: frozen, host: compute-2, vm_state: paused, metadata: {HA_Enabled: "True"}}
`

// noRoom makes every evacuation of the default flow or to a host fail.
func noRoom(match string) string {
	return "faults:\n  - match: {action: evacuate, " + match + "}\n    do: {evacuation_error: Disk is full.}\n"
}

// TestTargetDies: a server whose target dies while it moves cannot be helped by a
// second evacuation; what is told of it says so, and who holds it up.
func TestTargetDies(t *testing.T) {
	t.Parallel()
	sim, environ := startCloud(t, rhCloud+"faults:\n  - match: {action: evacuate, server: a}\n    do: {evacuation_target: dies}\n", novasim.Options{})
	p := newPlace(t, nil)
	p.environ = environ
	r := p.run(t.Context(), t, strings.Fields("run host-auto --input host_name=compute-1 --output json "+
		"--set DEFAULT.wait_period_after_evacuation=1 --set DEFAULT.host_failure_recovery_threads=1")...)
	doc := documentOf(t, r)
	if r.code != exitFailed || doc.Status != "failed" {
		t.Errorf("exit code %d, status %s, want %d, failed\n%s", r.code, doc.Status, exitFailed, r.stderr)
	}
	told := map[string]string{}
	for _, v := range doc.VMoves {
		told[v.InstanceName] = v.Message
	}
	want := map[string]string{
		"a": "was active; timeout after 1 s: Nova shows it on compute-1 in vm_state active, task_state rebuild_spawning; " +
			"its move to compute-2 cannot end, for compute-2 is down too: this server needs a person",
		"b": "was active; evacuated",
		"c": "was active; No valid host was found. ",
	}
	if !maps.Equal(told, want) {
		t.Errorf("messages of the vmoves = %q\nwant %q", told, want)
	}
	if s := server(t, sim, "a"); s.Evacuations != 1 || s.Locked {
		t.Errorf("server a: %d evacuations, locked = %v, want 1, false", s.Evacuations, s.Locked)
	}
}

// TestRun runs the flows of a configuration without any, on the simulated
// cloud.
func TestRun(t *testing.T) {
	t.Parallel()
	const (
		down    = "disable_compute_service_task"
		prepare = "prepare_HA_enabled_instances_task"
		move    = "evacuate_instances_task"
	)
	tests := []struct {
		name   string
		faults string
		args   string
		code   int
		status string
		tasks  []string
		// servers by status and target
		servers map[string]int
		// services that are disabled at the end
		disabled []string
		message  string // part of it
	}{
		{
			name: "host-auto", args: "host-auto --input host_name=compute-1",
			status: "finished",
			tasks: []string{
				"host-auto pre " + down + " succeeded", "host-auto main " + prepare + " succeeded", "host-auto post " + move + " succeeded",
			},
			servers:  map[string]int{"succeeded compute-2": 3},
			disabled: []string{"compute-1", "compute-4", "compute-5", "compute-6"},
		}, {
			name: "flow by the name of its option", args: "host_auto_failure_recovery_tasks --input host_name=compute-1 --set host_failure.evacuate_all_instances=false",
			status: "finished",
			tasks: []string{
				"host-auto pre " + down + " succeeded", "host-auto main " + prepare + " succeeded", "host-auto post " + move + " succeeded",
			},
			servers:  map[string]int{"succeeded compute-2": 2},
			disabled: []string{"compute-1", "compute-4", "compute-5", "compute-6"},
		}, {
			name: "nothing to do", args: "host-auto --input host_name=compute-7",
			status:   "finished",
			tasks:    []string{"host-auto pre " + down + " succeeded", "host-auto main " + prepare + " nothing_to_do"},
			servers:  map[string]int{},
			disabled: []string{"compute-4", "compute-5", "compute-6", "compute-7"},
			message:  "no instances needs to be evacuated",
		}, {
			name: "host-auto fails", args: "host-auto --input host_name=compute-1", faults: noRoom("times: 1"),
			code: exitFailed, status: "failed",
			tasks: []string{
				"host-auto pre " + down + " succeeded", "host-auto main " + prepare + " succeeded", "host-auto post " + move + " failed",
			},
			servers:  map[string]int{"succeeded compute-2": 2, "failed": 1},
			disabled: []string{"compute-1", "compute-4", "compute-5", "compute-6"},
			message:  "flow host-auto: task " + move + ": Failed to evacuate instances",
		}, {
			name: "host-rh", args: `host-rh --input host_name=compute-1 --input reserved_host_list=["compute-4","compute-5"]`,
			status: "finished",
			tasks: []string{
				"host-rh pre " + down + " succeeded",
				"host-rh main " + prepare + " succeeded on compute-4", "host-rh main " + move + " succeeded on compute-4",
			},
			servers:  map[string]int{"succeeded compute-4": 3},
			disabled: []string{"compute-1", "compute-5", "compute-6"},
		}, {
			name: "host-rh, the first host is dead", args: `host-rh --input host_name=compute-1 --input reserved_host_list=compute-6,compute-5`,
			status:   "finished",
			servers:  map[string]int{"succeeded compute-5": 3},
			disabled: []string{"compute-1", "compute-4", "compute-6"},
			message:  "reserved host compute-6 was passed over: its nova-compute is down: conflict",
		}, {
			name: "host-rh, the first host has no room", args: `host-rh --input host_name=compute-1 --input reserved_host_list=compute-4,compute-5`,
			faults: noRoom("times: 3"),
			status: "finished",
			tasks: []string{
				"host-rh pre " + down + " succeeded",
				"host-rh main " + prepare + " succeeded on compute-4", "host-rh main " + move + " failed on compute-4",
				"host-rh main " + prepare + " succeeded on compute-5", "host-rh main " + move + " succeeded on compute-5",
			},
			servers:  map[string]int{"succeeded compute-5": 3},
			disabled: []string{"compute-1", "compute-4", "compute-6"},
		}, {
			name: "host-rh, no host has room", args: `host-rh --input host_name=compute-1 --input reserved_host_list=compute-4,compute-5`,
			faults: noRoom("service: compute"),
			code:   exitFailed, status: "failed",
			servers:  map[string]int{"failed": 3},
			disabled: []string{"compute-1", "compute-4", "compute-5", "compute-6"},
		}, {
			name: "auto_priority falls back", args: `host-auto --recovery-method auto_priority --input host_name=compute-1 --input reserved_host_list=compute-4`,
			faults: noRoom("times: 3"),
			status: "finished",
			tasks: []string{
				"host-auto pre " + down + " succeeded", "host-auto main " + prepare + " succeeded", "host-auto post " + move + " failed",
				"host-rh pre " + down + " succeeded",
				"host-rh main " + prepare + " succeeded on compute-4", "host-rh main " + move + " succeeded on compute-4",
			},
			servers:  map[string]int{"succeeded compute-4": 3},
			disabled: []string{"compute-1", "compute-5", "compute-6"},
			message:  "; flow host-rh finished",
		}, {
			name: "rh_priority falls back", args: `host-rh --recovery-method rh_priority --input host_name=compute-1 --input reserved_host_list=compute-4`,
			faults: noRoom("times: 3"),
			status: "finished",
			tasks: []string{
				"host-rh pre " + down + " succeeded",
				"host-rh main " + prepare + " succeeded on compute-4", "host-rh main " + move + " failed on compute-4",
				"host-auto pre " + down + " succeeded", "host-auto main " + prepare + " succeeded", "host-auto post " + move + " succeeded",
			},
			servers:  map[string]int{"succeeded compute-2": 3},
			disabled: []string{"compute-1", "compute-4", "compute-5", "compute-6"},
			message:  "; flow host-auto finished",
		}, {
			name: "instance", args: "instance --input instance_uuid=ID(well)",
			status: "finished",
			tasks: []string{
				"instance pre stop_instance_task succeeded", "instance main start_instance_task succeeded", "instance post confirm_instance_active_task succeeded",
			},
			servers:  map[string]int{},
			disabled: []string{"compute-4", "compute-5", "compute-6"},
		}, {
			name: "instance that is not tagged", args: "instance --input instance_uuid=ID(untagged)",
			status:   "finished",
			tasks:    []string{"instance pre stop_instance_task nothing_to_do"},
			servers:  map[string]int{},
			disabled: []string{"compute-4", "compute-5", "compute-6"},
			message:  "Skipping recovery for instance",
		}, {
			name: "instance that is paused", args: "instance --input instance_uuid=ID(frozen)",
			status:   "ignored",
			tasks:    []string{"instance pre stop_instance_task ignored"},
			servers:  map[string]int{},
			disabled: []string{"compute-4", "compute-5", "compute-6"},
			message:  "paused",
		}, {
			name: "instance that is not there", args: "instance --input instance_uuid=6f70656e-7374-4163-8b00-000000000000",
			code: exitFailed, status: "failed",
			tasks:    []string{"instance pre stop_instance_task failed"},
			servers:  map[string]int{},
			disabled: []string{"compute-4", "compute-5", "compute-6"},
			message:  "could not be found",
		}, {
			name: "process", args: "process --input process_name=nova-compute --input host_name=compute-2",
			status:   "finished",
			tasks:    []string{"process pre disable_compute_node_task succeeded", "process main confirm_compute_node_disabled_task succeeded"},
			servers:  map[string]int{},
			disabled: []string{"compute-2", "compute-4", "compute-5", "compute-6"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim, environ := startCloud(t, rhCloud+tt.faults, novasim.Options{})
			p := newPlace(t, map[string]string{"conf": ""})
			p.environ = environ
			args := regexp.MustCompile(`ID\((\w+)\)`).ReplaceAllStringFunc(tt.args, func(s string) string {
				return server(t, sim, s[3:len(s)-1]).ID
			})
			r := p.run(t.Context(), t, append(strings.Fields("run --output json --config-file DIR/conf"), strings.Fields(args)...)...)
			doc := documentOf(t, r)
			if r.code != tt.code || doc.Status != tt.status {
				t.Errorf("exit code %d, status %s, want %d, %s\n%s%s", r.code, doc.Status, tt.code, tt.status, r.stdout, r.stderr)
			}
			if got := lines(doc); tt.tasks != nil && !slices.Equal(got, tt.tasks) {
				t.Errorf("tasks = %s\nwant %s", strings.Join(got, "\n"), strings.Join(tt.tasks, "\n"))
			}
			if got := outcomes(doc); !maps.Equal(got, tt.servers) {
				t.Errorf("servers = %v, want %v", got, tt.servers)
			}
			var disabled []string
			for _, s := range sim.Services() {
				if s.Disabled {
					disabled = append(disabled, s.Host)
				}
			}
			if !slices.Equal(disabled, tt.disabled) {
				t.Errorf("disabled services = %q, want %q", disabled, tt.disabled)
			}
			if !strings.Contains(doc.Message, tt.message) || tt.message == "" && tt.code == exitOK && doc.Message != "" {
				t.Errorf("message = %q, want %q in it", doc.Message, tt.message)
			}
			for _, s := range sim.Servers() {
				if s.Locked {
					t.Errorf("server %s is locked: %s", s.Name, s.LockedReason)
				}
			}
		})
	}
}

// smallCloud has one server to move; its host has a name that is no good for
// a terminal.
const smallCloud = `
seed: 9
hosts:
  - {name: compute-1, state: down}
  - {name: compute-2}
servers:
  - {id: 11111111-0000-4000-8000-000000000000, name: "we\e[2Jb", host: compute-1}
`

var (
	times = regexp.MustCompile(`(?m)^ *[0-9]+\.[0-9]{2}s`)
	spans = regexp.MustCompile(`\b[0-9.]+m?s\b`)
	uuids = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
)

// TestPlain: where standard output is no terminal, a run is told in lines.
func TestPlain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, faults string
		code         int
		want         string
	}{
		{
			name: "finished",
			want: `host-auto of compute-1 on a simulated cloud, run UUID
TIME  pre disable_compute_service_task: started
TIME  pre disable_compute_service_task: 0 % Disabling compute service on host: 'compute-1'
TIME  disable_compute_service_task: info: waiting up to 180 s until Nova shows the service of 'compute-1' down
TIME  pre disable_compute_service_task: 100 % Disabled compute service on host: 'compute-1'
TIME  pre disable_compute_service_task: succeeded after SPAN
TIME  main prepare_HA_enabled_instances_task: started
TIME  main prepare_HA_enabled_instances_task: 0 % Preparing instances for evacuation
TIME  main prepare_HA_enabled_instances_task: 30 % Total instances running on failed host 'compute-1' is 1
TIME  main prepare_HA_enabled_instances_task: 60 % Total HA Enabled instances count: '0'
TIME  main prepare_HA_enabled_instances_task: 70 % Total Non-HA Enabled instances count: '1'
TIME  main prepare_HA_enabled_instances_task: 80 % All instances (HA Enabled/Non-HA Enabled) should be considered for evacuation. Total count is: '1'
TIME  server we·[2Jb: pending
TIME  main prepare_HA_enabled_instances_task: 100 % Instances to be evacuated are: '11111111-0000-4000-8000-000000000000'
TIME  main prepare_HA_enabled_instances_task: succeeded after SPAN
TIME  post evacuate_instances_task: started
TIME  post evacuate_instances_task: 0 % Start evacuation of instances from failed host 'compute-1', instance uuids are: '11111111-0000-4000-8000-000000000000'
TIME  post evacuate_instances_task: 30 % Evacuation of instance started: '11111111-0000-4000-8000-000000000000'
TIME  server we·[2Jb: ongoing: was active
TIME  server we·[2Jb: succeeded compute-1 → compute-2: was active; evacuated
TIME  post evacuate_instances_task: 70 % Evacuation of instance ended: '11111111-0000-4000-8000-000000000000' succeeded (1 of 1)
TIME  post evacuate_instances_task: 70 % Successfully evacuate instances '11111111-0000-4000-8000-000000000000' from host 'compute-1'
TIME  post evacuate_instances_task: 100 % Evacuation process completed!
TIME  post evacuate_instances_task: succeeded after SPAN

finished in SPAN
servers: 1 succeeded
requests to Nova: N; run UUID
`,
		}, {
			name: "failed", faults: noRoom("nth: 1"), code: exitFailed,
			want: `TIME  post evacuate_instances_task: failed after SPAN: Failed to evacuate instances '11111111-0000-4000-8000-000000000000' from host 'compute-1'
TIME  post evacuate_instances_task: reverting
TIME  post evacuate_instances_task: nothing to revert
TIME  main prepare_HA_enabled_instances_task: reverting
TIME  main prepare_HA_enabled_instances_task: nothing to revert
TIME  pre disable_compute_service_task: reverting
TIME  pre disable_compute_service_task: nothing to revert
failed: server we·[2Jb (11111111-0000-4000-8000-000000000000): was active; Disk is full.

failed in SPAN: flow host-auto: task evacuate_instances_task: Failed to evacuate instances '11111111-0000-4000-8000-000000000000' from host 'compute-1'
servers: 1 failed
requests to Nova: N; run UUID
`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, map[string]string{"conf": "", "cloud.yaml": smallCloud + tt.faults})
			r := p.run(t.Context(), t, strings.Fields("run host-auto --config-file DIR/conf --simulate --scenario DIR/cloud.yaml --input host_name=compute-1")...)
			if r.code != tt.code || r.stderr != "" {
				t.Errorf("exit code %d, standard error %q, want %d and nothing", r.code, r.stderr, tt.code)
			}
			got := uuids.ReplaceAllString(spans.ReplaceAllString(times.ReplaceAllString(r.stdout, "TIME"), "SPAN"), "UUID")
			got = regexp.MustCompile(`Nova: [0-9]+;`).ReplaceAllString(got, "Nova: N;")
			if !strings.HasSuffix(got, tt.want) || tt.code == exitOK && got != tt.want {
				t.Errorf("standard output =\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestTakenUpAndNotRecovered: a flow that takes servers up and forgets to
// evacuate them did not recover the host.
func TestTakenUpAndNotRecovered(t *testing.T) {
	t.Parallel()
	sim, environ := startCloud(t, quickCloud, novasim.Options{})
	p := newPlace(t, map[string]string{"conf": "[taskflow_driver_recovery_flows]\nhost_auto_failure_recovery_tasks = pre:[],main:['prepare_HA_enabled_instances_task'],post:[]\n"})
	p.environ = environ
	r := p.run(t.Context(), t, "run", "host-auto", "--config-file", "DIR/conf", "--input", "host_name=compute-1", "--output", "json")
	doc := documentOf(t, r)
	want := `flow host-auto: 8 of 8 servers were taken up and not recovered ("` + server(t, sim, "web-2").ID + ` pending", `
	if r.code != exitFailed || doc.Status != "failed" || !strings.HasPrefix(doc.Message, want) {
		t.Errorf("exit code %d, status %s, message %q, want %d, failed, %q…", r.code, doc.Status, doc.Message, exitFailed, want)
	}
}
