package main_test

import (
	"testing"

	"github.com/wasakari/wasakari/sdk/go/wasakaritest"
)

func TestDisableComputeService(t *testing.T) {
	begin := step{0, "Disabling compute service on host: 'compute-1'"}
	tests := []struct {
		name     string
		alive    bool
		unknown  bool
		fault    map[string]error
		calls    []string
		outcome  wasakaritest.Outcome
		reason   string
		progress []step
	}{
		{
			name: "down", calls: []string{"nova.service_disable compute-1", "nova.service_wait compute-1 down"}, outcome: wasakaritest.Succeeded,
			progress: []step{begin, {1000, "Disabled compute service on host: 'compute-1'"}},
		},
		{
			name: "still up", alive: true, calls: []string{"nova.service_disable compute-1", "nova.service_wait compute-1 down"},
			outcome: wasakaritest.Failed, reason: "Nova still sees compute-1 up; is it fenced? (the service of 'compute-1' stays disabled: enable it when the host is well)", progress: []step{begin},
		},
		{
			name: "no such service", unknown: true, calls: []string{"nova.service_disable compute-1"},
			outcome: wasakaritest.Failed, reason: "no service nova-compute on host 'compute-1' found in Nova",
		},
		{
			name: "refused", fault: map[string]error{"nova.service_disable compute-1": refuse("conflict", "run 7 holds it", 0)},
			calls:   []string{"nova.service_disable compute-1"},
			outcome: wasakaritest.Failed, reason: "disable compute service on host 'compute-1': nova.service_disable: conflict: run 7 holds it",
		},
		{
			name: "wait refused", fault: map[string]error{"nova.service_wait compute-1 down": refuse("unavailable", "erred", 500)},
			calls:   []string{"nova.service_disable compute-1", "nova.service_wait compute-1 down"},
			outcome: wasakaritest.Failed, reason: "compute service of host compute-1: 500 erred (req-17) (the service of 'compute-1' stays disabled: enable it when the host is well)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud()
			c.dead, c.faults = !tt.alive, tt.fault
			if tt.unknown {
				c.services = nil
			}
			check(t, run(t, c, "disable_compute_service_task", nil), tt.outcome, tt.reason, tt.progress...)
			equal(t, "calls", c.calls, tt.calls)
		})
	}
}

// Reasons and limits are the operator's.
func TestOptionsReachNova(t *testing.T) {
	set := opts{
		"host_failure.service_disable_reason": "host", "process_failure.service_disable_reason": "process",
		"instance_failure.process_all_instances": true, "DEFAULT.wait_period_after_service_update": 11,
		"DEFAULT.wait_period_after_evacuation": 12, "host_repair.wait_period_for_service": 14, "DEFAULT.wait_period_after_power_off": 13, "DEFAULT.wait_period_after_power_on": 0,
	}
	tests := []struct{ key, op, want string }{
		{"disable_compute_service_task", "nova.service_disable", `{"host":"compute-1","reason":"host"}`},
		{"disable_compute_service_task", "nova.service_wait", `{"host":"compute-1","state":"down","timeout_s":11}`},
		{"disable_compute_node_task", "nova.service_disable", `{"host":"compute-1","binary":"nova-compute","reason":"process"}`},
		{"confirm_compute_node_disabled_task", "nova.service_wait", `{"host":"compute-1","binary":"nova-compute","status":"disabled","timeout_s":11}`},
		{"enable_compute_service_task", "nova.service_wait", `{"host":"compute-1","state":"up","timeout_s":14}`},
		{"evacuate_instances_task", "nova.service_wait", `{"host":"compute-1","state":"down","timeout_s":11}`},
		{"evacuate_instances_task", "nova.server_wait", `{"id":"a","until":"moved","from_host":"compute-1","timeout_s":12,` + fields},
		{"stop_instance_task", "nova.server_wait", `{"id":"a","until":"vm_state","vm_states":["stopped"],"timeout_s":13,` + fields},
		{"confirm_instance_active_task", "nova.server_wait", `{"id":"a","until":"vm_state","vm_states":["active"],` + fields},
	}
	for _, tt := range tests {
		t.Run(tt.key+" "+tt.op, func(t *testing.T) {
			c := newCloud(vm("a", "active")).pending("a")
			c.kept = true
			run(t, c, tt.key, set)
			if got := c.requests[tt.op]; got != tt.want {
				t.Errorf("request %s\nwant    %s", got, tt.want)
			}
		})
	}
}

const fields = `"fields":["id","name","fault","OS-EXT-STS:vm_state","OS-EXT-STS:task_state","OS-EXT-STS:power_state",` +
	`"OS-EXT-SRV-ATTR:host","OS-EXT-SRV-ATTR:hypervisor_hostname"]}`

func TestDisableComputeNode(t *testing.T) {
	begin := step{0, "Disabling compute service on host: 'compute-1'"}
	tests := []struct {
		name     string
		process  string
		already  bool
		fault    map[string]error
		calls    []string
		outcome  wasakaritest.Outcome
		reason   string
		progress []step
	}{
		{
			name: "enabled", process: "nova-compute", calls: []string{"nova.service_list compute-1", "nova.service_disable compute-1"},
			outcome: wasakaritest.Succeeded, progress: []step{begin, {1000, "Disabled compute service on host: 'compute-1'"}},
		},
		{
			name: "disabled already", process: "nova-compute", already: true, calls: []string{"nova.service_list compute-1"},
			outcome: wasakaritest.Succeeded, progress: []step{begin, {1000, "Skipping recovery for process nova-compute as it is already disabled"}},
		},
		{
			name: "no such service", process: "libvirtd", calls: []string{"nova.service_list compute-1"},
			outcome: wasakaritest.Failed, reason: "no service libvirtd on host 'compute-1' found in Nova",
		},
		{
			name: "list refused", process: "nova-compute", fault: map[string]error{"nova.service_list compute-1": refuse("forbidden", "Policy", 403)},
			calls: []string{"nova.service_list compute-1"}, outcome: wasakaritest.Failed,
			reason: "service nova-compute on host 'compute-1': nova.service_list: forbidden: Policy (HTTP 403, req-17)",
		},
		{
			name: "disable refused", process: "nova-compute", fault: map[string]error{"nova.service_disable compute-1": refuse("conflict", "run 7 holds it", 0)},
			calls: []string{"nova.service_list compute-1", "nova.service_disable compute-1"}, outcome: wasakaritest.Failed,
			reason: "disable service nova-compute on host 'compute-1': nova.service_disable: conflict: run 7 holds it",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud()
			c.disabled["compute-1/nova-compute"] = tt.already
			c.faults = tt.fault
			check(t, run(t, c, "disable_compute_node_task", opts{"process_name": tt.process}), tt.outcome, tt.reason, tt.progress...)
			equal(t, "calls", c.calls, tt.calls)
		})
	}
}

func TestConfirmComputeNodeDisabled(t *testing.T) {
	begin := step{0, "Confirming compute service is disabled on host: 'compute-1'"}
	c := newCloud()
	check(t, run(t, c, "confirm_compute_node_disabled_task", nil), wasakaritest.Failed, "Failed to disable service nova-compute",
		begin, step{1000, "Failed to disable service nova-compute"})
	c.disabled["compute-1/nova-compute"] = true
	check(t, run(t, c, "confirm_compute_node_disabled_task", nil), wasakaritest.Succeeded, "",
		begin, step{1000, "Confirmed compute service is disabled on host: 'compute-1'"})
}

func TestEnableComputeService(t *testing.T) {
	const (
		ours    = "Masakari detected host failed. [wasakari default 0199]"
		list    = "nova.service_list compute-1"
		records = "ha.host_list"
		wait    = "nova.service_wait compute-1 up"
		lift    = "nova.service_force_down compute-1"
		enable  = "nova.service_enable compute-1"
		update  = "ha.host_update compute-1"
		moves   = "nova.migration_list"
		pause   = "task.sleep"
	)
	tests := []struct {
		name    string
		enabled bool
		reasons []string
		back    bool // Nova sees it up
		forced  bool
		owed    int  // how often Nova shows that it has not cleaned up
		well    bool // not on maintenance
		unknown bool
		fault   map[string]error
		calls   []string
		outcome wasakaritest.Outcome
		reason  string
		kept    bool
	}{
		{name: "disabled by a recovery", reasons: []string{ours}, back: true, calls: []string{list, records, wait, list, enable, update}, outcome: wasakaritest.Succeeded},
		{name: "enabled by hand", enabled: true, back: true, calls: []string{list, records, wait, list, enable, update}, outcome: wasakaritest.Succeeded},
		{name: "forced down", reasons: []string{ours}, back: true, forced: true, calls: []string{list, records, lift, wait, list, enable, update}, outcome: wasakaritest.Succeeded},
		{
			name: "forced down, nova-compute has not cleaned up yet", reasons: []string{ours}, back: true, forced: true, owed: 3,
			calls: []string{list, records, lift, moves, pause, moves, pause, moves, lift, wait, list, enable, update}, outcome: wasakaritest.Succeeded,
		},
		{
			name: "forced down, nova-compute never cleans up", reasons: []string{ours}, forced: true, owed: 100, kept: true,
			calls:   []string{list, records, lift, moves, pause, moves, pause, moves, pause, moves, pause, moves},
			outcome: wasakaritest.Failed,
			reason: "compute service on host 'compute-1' forced down: nova-compute has not cleaned up after 2 servers that were moved away; was it started there? " +
				"nova.service_force_down: invalid: records remain (HTTP 400, req-17)",
		},
		{
			name: "forced down, refused for another reason", reasons: []string{ours}, forced: true, kept: true, fault: map[string]error{lift: refuse("invalid", "no", 400)},
			calls: []string{list, records, lift, moves, lift}, outcome: wasakaritest.Failed,
			reason: "compute service on host 'compute-1' forced down: nova.service_force_down: invalid: no (HTTP 400, req-17)",
		},
		{
			name: "in service", enabled: true, back: true, well: true, calls: []string{list, records},
			outcome: wasakaritest.NothingToDo, reason: "Host 'compute-1' is in service",
		},
		{
			name: "disabled by somebody else", reasons: []string{"new disks [wasakari"}, back: true, kept: true, calls: []string{list, records},
			outcome: wasakaritest.NothingToDo, reason: "The compute service of host 'compute-1' was not disabled by a recovery (new disks [wasakari), and is left as it is",
		},
		{
			name: "no reason", back: true, kept: true, calls: []string{list, records},
			outcome: wasakaritest.NothingToDo, reason: "The compute service of host 'compute-1' was not disabled by a recovery (no reason given), and is left as it is",
		},
		{
			name: "disabled by somebody else meanwhile", reasons: []string{ours, "new disks"}, back: true, kept: true, calls: []string{list, records, wait, list},
			outcome: wasakaritest.NothingToDo, reason: "The compute service of host 'compute-1' was not disabled by a recovery (new disks), and is left as it is",
		},
		{
			name: "forced down by somebody else", enabled: true, back: true, forced: true, kept: true, calls: []string{list, records},
			outcome: wasakaritest.NothingToDo, reason: "The compute service of host 'compute-1' is forced down, and no recovery disabled it: take that back when the host is well",
		},
		{
			name: "another cluster's", reasons: []string{ours}, back: true, kept: true, fault: map[string]error{enable: refuse("conflict", "run 7 of cluster b", 0)},
			calls: []string{list, records, wait, list, enable}, outcome: wasakaritest.NothingToDo,
			reason: "The compute service of host 'compute-1' is left as it is: nova.service_enable: conflict: run 7 of cluster b",
		},
		{
			name: "another cluster's, forced down", reasons: []string{ours}, forced: true, kept: true, fault: map[string]error{lift: refuse("conflict", "run 7 of cluster b", 0)},
			calls: []string{list, records, lift}, outcome: wasakaritest.NothingToDo,
			reason: "The compute service of host 'compute-1' is left as it is: nova.service_force_down: conflict: run 7 of cluster b",
		},
		{
			name: "not up", reasons: []string{ours}, kept: true, calls: []string{list, records, wait},
			outcome: wasakaritest.Failed, reason: "Nova does not see compute-1 up; is nova-compute running there?",
		},
		{
			name: "no such service", unknown: true, back: true, kept: true, calls: []string{list},
			outcome: wasakaritest.Failed, reason: "no service nova-compute on host 'compute-1' found in Nova",
		},
		{
			name: "enable refused", reasons: []string{ours}, back: true, kept: true, fault: map[string]error{enable: refuse("unavailable", "erred", 500)},
			calls: []string{list, records, wait, list, enable}, outcome: wasakaritest.Failed,
			reason: "enable compute service on host 'compute-1': nova.service_enable: unavailable: erred (HTTP 500, req-17)",
		},
		{
			name: "record gone", reasons: []string{ours}, back: true, kept: true, fault: map[string]error{update: refuse("not_found", "no such host", 0)},
			calls: []string{list, records, wait, list, enable, update}, outcome: wasakaritest.Succeeded,
		},
		{
			name: "record not written", reasons: []string{ours}, back: true, kept: true, fault: map[string]error{update: refuse("unavailable", "away", 0)},
			calls: []string{list, records, wait, list, enable, update}, outcome: wasakaritest.Failed,
			reason: "maintenance of host 'compute-1': ha.host_update: unavailable: away",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud()
			c.disabled["compute-1/nova-compute"], c.reasons = !tt.enabled, tt.reasons
			c.dead, c.forced, c.kept, c.faults, c.owed = !tt.back, tt.forced, !tt.well, tt.fault, tt.owed
			if tt.unknown {
				c.services = nil
			}
			check(t, run(t, c, "enable_compute_service_task", opts{"host_repair.wait_period_for_service": 15}), tt.outcome, tt.reason)
			equal(t, "calls", c.calls, tt.calls)
			if c.kept != tt.kept {
				t.Errorf("on maintenance: %t, want %t", c.kept, tt.kept)
			}
		})
	}
}

func TestNoOp(t *testing.T) {
	c := newCloud()
	got := run(t, c, "no_op", nil)
	check(t, got, wasakaritest.Succeeded, "")
	equal(t, "log", got.logs, []string{"info Custom task executed successfully..!!"})
	equal(t, "calls", c.calls, nil)
	if len(got.progress) != 0 {
		t.Errorf("progress %v, want none", got.progress)
	}
}
