package standardtasks_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/recovery"
)

func TestManifest(t *testing.T) {
	want := []string{
		"disable_compute_service_task DisableComputeServiceTask [host_name]",
		"prepare_HA_enabled_instances_task PrepareHAEnabledInstancesTask [host_name notification_uuid]",
		"evacuate_instances_task EvacuateInstancesTask [host_name notification_uuid]",
		"stop_instance_task StopInstanceTask [instance_uuid]",
		"start_instance_task StartInstanceTask [instance_uuid]",
		"confirm_instance_active_task ConfirmInstanceActiveTask [instance_uuid]",
		"disable_compute_node_task DisableComputeNodeTask [process_name host_name]",
		"confirm_compute_node_disabled_task ConfirmComputeNodeDisabledTask [process_name host_name]",
		"enable_compute_service_task EnableComputeServiceTask [host_name]",
		"no_op Noop []",
	}
	m := module.Manifest()
	var got []string
	for _, task := range m.Tasks {
		got = append(got, fmt.Sprintf("%s %s %v", task.Key, task.Class, task.Requires))
		if len(task.Provides) != 0 {
			t.Errorf("task %s provides %v, want nothing", task.Key, task.Provides)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("tasks %q\nwant  %q", got, want)
	}
	if m.Library != "wasakari-standard" {
		t.Errorf("library %s, want wasakari-standard", m.Library)
	}
}

// The options are Masakari's own, or this project's, and said the same way
// where the configuration is read.
func TestOptionsAreTheConfigurations(t *testing.T) {
	known := map[string]recovery.OptionSpec{}
	for _, o := range config.Specs() {
		known[o.Group+"."+o.Name] = o
	}
	for _, task := range module.Manifest().Tasks {
		for _, o := range task.Options {
			k, ok := known[o.Group+"."+o.Name]
			if !ok {
				t.Errorf("task %s: no option [%s] %s in the configuration", task.Key, o.Group, o.Name)
				continue
			}
			if string(k.Type) != o.Type || fmt.Sprint(k.Default) != fmt.Sprint(o.Default) || !slices.Equal(k.Choices, o.Choices) || !reflect.DeepEqual(k.Min, o.Min) {
				t.Errorf("task %s: option [%s] %s is %s %v %v, want %s %v %v", task.Key, o.Group, o.Name, o.Type, o.Default, o.Choices, k.Type, k.Default, k.Choices)
			}
		}
	}
}

const hosts = `
hosts:
  - {name: compute-1, state: down, capacity: 100}
  - {name: compute-2, capacity: 100}
  - {name: compute-3, capacity: 100}
  - {name: compute-4, disabled: true, disabled_reason: reserved host}
`

// TestStates is the table of states on a cloud that behaves as Nova does: all
// rows at once, on one failed host.
func TestStates(t *testing.T) {
	tests := []struct {
		vm, task string
		power    int
		end      string // vm_state
		off      bool
		status   recovery.VMoveStatus
		message  string
	}{
		{"active", "", 1, "active", false, "succeeded", "was active; evacuated"},
		{"active", "rebooting", 1, "active", false, "succeeded", "was active; evacuated"},
		{"stopped", "", 4, "stopped", true, "succeeded", "was stopped; evacuated"},
		{"stopped", "powering-on", 4, "stopped", true, "succeeded", "was stopped; evacuated"},
		{"error", "", 1, "error", true, "succeeded", "was error; evacuated and stopped, set back to error"},
		{"error", "deleting", 0, "error", false, "ignored", "it is in task_state deleting"},
		{"resized", "", 1, "active", false, "succeeded", "was resized; evacuated"},
		{"resized", "", 4, "stopped", true, "succeeded", "was resized and off; evacuated and stopped"},
		{"paused", "", 3, "stopped", true, "succeeded", "was paused; evacuated and stopped"},
		{"suspended", "", 4, "stopped", true, "succeeded", "was suspended; evacuated and stopped"},
		{"rescued", "", 1, "stopped", true, "succeeded", "was rescued; evacuated and stopped"},
		{"shelved", "", 4, "stopped", true, "succeeded", "was shelved; evacuated and stopped"},
		{"building", "spawning", 0, "building", false, "ignored", "it is in vm_state building"},
		{"soft-delete", "", 4, "soft-delete", true, "ignored", "it is in vm_state soft-delete"},
		{"active", "deleting", 1, "active", false, "ignored", "it is in task_state deleting"},
	}
	var scenario strings.Builder
	scenario.WriteString(hosts + "servers:\n")
	for i, tt := range tests {
		fmt.Fprintf(&scenario, "  - {name: s%d, host: compute-1, vm_state: %s, power_state: %d", i, tt.vm, tt.power)
		if tt.task != "" {
			fmt.Fprintf(&scenario, ", task_state: %s", tt.task)
		}
		scenario.WriteString("}\n")
	}
	b := setup(t, scenario.String())
	b.want("disable_compute_service_task", abi.ExitSucceeded, "")
	b.want("prepare_HA_enabled_instances_task", abi.ExitSucceeded, "")
	b.want("evacuate_instances_task", abi.ExitSucceeded, "")
	vmoves := b.vmoves()
	for i, tt := range tests {
		name := fmt.Sprintf("s%d", i)
		s, v := b.server(name), vmoves[name]
		if s.VMState != tt.end || (s.PowerState == 4) != tt.off {
			t.Errorf("%s %s: ended in vm_state %s, power_state %d, want %s, off %v", tt.vm, tt.task, s.VMState, s.PowerState, tt.end, tt.off)
		}
		if v.Status != tt.status || v.Message != tt.message {
			t.Errorf("%s %s: vmove %s %q, want %s %q", tt.vm, tt.task, v.Status, v.Message, tt.status, tt.message)
		}
		moved, once := s.Host != "compute-1", 0
		if tt.status == "succeeded" {
			once = 1
		}
		if s.Evacuations != once || moved != (once == 1) || moved && v.DestHost != s.Host {
			t.Errorf("%s %s: evacuated %d times, is on %s, vmove to %q", tt.vm, tt.task, s.Evacuations, s.Host, v.DestHost)
		}
	}
	b.unspoilt()
	if s := b.service("compute-1"); !s.Disabled || !strings.HasPrefix(s.DisabledReason, "Masakari detected host failed.") {
		t.Errorf("service of the failed host: %+v", s)
	}
}

// Trouble with some servers is told, and the others move.
func TestTrouble(t *testing.T) {
	b := setup(t, hosts+`
servers:
  - {names: [good, refused, broken, lost, silent], host: compute-1}
  - {name: kept, host: compute-1, locked: true, locked_reason: owner}
faults:
  - {match: {server: refused, action: evacuate}, do: {status: 500, message: The server is on fire.}}
  - {match: {server: broken, action: evacuate}, do: {evacuation_error: No valid host was found.}}
  - {match: {server: lost, action: evacuate, times: 1}, do: {drop: before}}
  - {match: {server: silent, action: evacuate, times: 1}, do: {drop: after}}
`)
	b.want("prepare_HA_enabled_instances_task", abi.ExitSucceeded, "")
	bad := []string{b.server("refused").ID, b.server("broken").ID}
	slices.Sort(bad)
	b.want("evacuate_instances_task", abi.ExitFailed, "Failed to evacuate instances '"+strings.Join(bad, ",")+"' from host 'compute-1'")
	vmoves := b.vmoves()
	for name, want := range map[string]recovery.VMoveStatus{
		"good": "succeeded", "refused": "failed", "broken": "failed", "lost": "succeeded", "silent": "succeeded", "kept": "succeeded",
	} {
		if v := vmoves[name]; v.Status != want {
			t.Errorf("%s: %s %q, want %s", name, v.Status, v.Message, want)
		}
		if n := b.server(name).Evacuations; n > 1 {
			t.Errorf("%s was evacuated %d times", name, n)
		}
	}
	if m := vmoves["broken"].Message; m != "was active; No valid host was found." {
		t.Errorf("broken: %q", m)
	}
	if !b.server("kept").Locked {
		t.Error("the owner's lock was taken off")
	}
	b.unspoilt()
}

func TestHostStillUp(t *testing.T) {
	b := setup(t, "hosts: [{name: compute-1}, {name: compute-2}]\nservers: [{name: a, host: compute-1}]\n")
	b.set("DEFAULT", "wait_period_after_service_update", "1")
	const reason = "Nova still sees compute-1 up; is it fenced?"
	b.want("disable_compute_service_task", abi.ExitFailed, reason+" (the service of 'compute-1' stays disabled: enable it when the host is well)")
	b.want("prepare_HA_enabled_instances_task", abi.ExitSucceeded, "")
	b.want("evacuate_instances_task", abi.ExitFailed, reason)
	if v := b.vmoves()["a"]; v.Status != "failed" || v.Message != reason {
		t.Errorf("vmove %+v", v)
	}
	if n := b.server("a").Evacuations; n != 0 {
		t.Errorf("evacuated %d times from a host that is up", n)
	}
}

// A reserved host that cannot take the servers leaves them in error; the next
// one brings each into the state that it was in at first.
func TestReservedHosts(t *testing.T) {
	b := setup(t, hosts+`
servers:
  - {name: a, host: compute-1}
  - {name: p, host: compute-1, vm_state: paused}
aggregates: [{name: rack, hosts: [compute-1]}]
faults: [{match: {action: evacuate, times: 2}, do: {evacuation_error: No valid host was found.}}]
`)
	b.set("host_failure", "add_reserved_host_to_aggregate", "true")
	b.set("host_failure", "ignore_instances_in_error_state", "true")
	b.inputs["reserved_host"] = "compute-3"
	b.want("prepare_HA_enabled_instances_task", abi.ExitSucceeded, "")
	ids := []string{b.server("a").ID, b.server("p").ID}
	slices.Sort(ids)
	b.want("evacuate_instances_task", abi.ExitFailed, "Failed to evacuate instances '"+strings.Join(ids, ",")+"' from host 'compute-1'")
	if a, p := b.vmoves()["a"], b.vmoves()["p"]; a.Message != "was active; No valid host was found." || p.Message != "was paused; No valid host was found." {
		t.Errorf("vmoves of round 1: %q %q", a.Message, p.Message)
	}

	b.round, b.inputs["reserved_host"] = 2, "compute-4"
	b.want("prepare_HA_enabled_instances_task", abi.ExitSucceeded, "")
	b.want("evacuate_instances_task", abi.ExitSucceeded, "")
	for name, end := range map[string]string{"a": "active", "p": "stopped"} {
		s, v := b.server(name), b.vmoves()[name]
		if s.Host != "compute-4" || s.VMState != end || v.Status != "succeeded" || v.Attempt != 2 || v.DestHost != "compute-4" {
			t.Errorf("%s is on %s in vm_state %s, vmove %+v", name, s.Host, s.VMState, v)
		}
	}
	if b.service("compute-4").Disabled {
		t.Error("the reserved host is not enabled")
	}
	if hosts := b.sim.Aggregates()[0].Hosts; !slices.Contains(hosts, "compute-4") {
		t.Errorf("the aggregate holds %v", hosts)
	}
	b.unspoilt()

	b.round = 3
	b.want("prepare_HA_enabled_instances_task", abi.ExitNothingToDo, "Skipped host 'compute-1' recovery as no instances needs to be evacuated")
}

// A task that was interrupted at any server goes on where it was.
func TestInterrupted(t *testing.T) {
	for n := 1; n <= 6; n += 2 {
		t.Run(fmt.Sprintf("after %d vmoves", n), func(t *testing.T) {
			b := setup(t, hosts+`
servers:
  - {count: 3, name: a, host: compute-1}
  - {count: 2, name: p, host: compute-1, vm_state: paused}
  - {name: e, host: compute-1, vm_state: error, fault: broken}
latency: {evacuation: {spawn: 20ms}, actions: {stop: 10ms}}
`)
			b.want("prepare_HA_enabled_instances_task", abi.ExitSucceeded, "")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			seen := 0
			b.mu.Lock()
			b.onVMove = func(recovery.VMove) {
				if seen++; seen == n {
					cancel()
				}
			}
			b.mu.Unlock()
			if _, _, err := b.run(ctx, "evacuate_instances_task"); err == nil {
				t.Fatal("the task was not interrupted")
			}
			b.attempt = 2
			b.want("evacuate_instances_task", abi.ExitSucceeded, "")
			for _, s := range b.sim.Servers() {
				want := map[byte]string{'a': "active", 'p': "stopped", 'e': "error"}[s.Name[0]]
				if s.Host == "compute-1" || s.VMState != want || s.Evacuations != 1 {
					t.Errorf("%s is on %s in vm_state %s after %d evacuations, want %s", s.Name, s.Host, s.VMState, s.Evacuations, want)
				}
			}
			b.unspoilt()
		})
	}
}

func TestInstanceFlow(t *testing.T) {
	const servers = `
hosts: [{name: compute-1}]
servers:
  - {name: tagged, host: compute-1, metadata: {HA_Enabled: "yes"}}
  - {name: plain, host: compute-1}
  - {name: stopped, host: compute-1, vm_state: stopped, metadata: {HA_Enabled: "1"}}
  - {name: broken, host: compute-1, vm_state: error, metadata: {HA_Enabled: "True"}}
  - {name: resized, host: compute-1, vm_state: resized, metadata: {HA_Enabled: "True"}}
  - {name: paused, host: compute-1, vm_state: paused, metadata: {HA_Enabled: "True"}}
latency: {actions: {stop: 20ms, start: 20ms}}
`
	tests := []struct {
		name   string
		all    bool
		exit   abi.Exit
		reason string // %s is the server's id
	}{
		{name: "tagged"},
		{name: "stopped"},
		{name: "broken"},
		{name: "resized"},
		{name: "plain", exit: abi.ExitNothingToDo, reason: "Skipping recovery for instance: %s as it is not Ha_Enabled"},
		{name: "plain", all: true},
		{name: "paused", exit: abi.ExitIgnored, reason: "Recovery of instance '%s' is ignored as it is in 'paused' state."},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s all %v", tt.name, tt.all), func(t *testing.T) {
			b := setup(t, servers)
			id := b.server(tt.name).ID
			b.inputs["instance_uuid"] = id
			b.set("instance_failure", "process_all_instances", fmt.Sprint(tt.all))
			if tt.exit != 0 {
				b.want("stop_instance_task", tt.exit, fmt.Sprintf(tt.reason, id))
				return
			}
			b.want("stop_instance_task", abi.ExitSucceeded, "")
			b.want("start_instance_task", abi.ExitSucceeded, "")
			b.want("confirm_instance_active_task", abi.ExitSucceeded, "")
			if got, want := b.last(), "Confirmed instance '"+id+"' vm_state is ACTIVE"; got != want {
				t.Errorf("last message %q, want %q", got, want)
			}
			if s := b.server(tt.name); s.VMState != "active" {
				t.Errorf("ended in vm_state %s, want active", s.VMState)
			}
		})
	}
}

func TestProcessFlow(t *testing.T) {
	b := setup(t, "hosts: [{name: compute-1}]\n")
	b.want("disable_compute_node_task", abi.ExitSucceeded, "")
	b.want("confirm_compute_node_disabled_task", abi.ExitSucceeded, "")
	if s := b.service("compute-1"); !s.Disabled || !strings.HasPrefix(s.DisabledReason, "Masakari detected process failed.") {
		t.Errorf("service %+v", s)
	}
	b.want("disable_compute_node_task", abi.ExitSucceeded, "")
	if got, want := b.last(), "Skipping recovery for process nova-compute as it is already disabled"; got != want {
		t.Errorf("last message %q, want %q", got, want)
	}
	b.inputs["process_name"] = "libvirtd"
	b.want("disable_compute_node_task", abi.ExitFailed, "no service libvirtd on host 'compute-1' found in Nova")
	b.want("no_op", abi.ExitSucceeded, "")
}
