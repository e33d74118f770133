package main_test

import (
	"slices"
	"testing"

	wasakari "github.com/wasakari/wasakari/sdk/go"
	"github.com/wasakari/wasakari/sdk/go/wasakaritest"
)

const prepareTask = "prepare_HA_enabled_instances_task"

func tag(s wasakari.Server, value string) wasakari.Server {
	s.Metadata = map[string]string{"HA_Enabled": value}
	return s
}

// records gives the vmoves of the present round as "server status message".
func (c *cloud) records() []string {
	var out []string
	for _, v := range c.vmoves {
		if v.Attempt != c.round {
			continue
		}
		line := v.InstanceUUID + " " + v.Status
		if v.Message != "" {
			line += " " + v.Message
		}
		out = append(out, line)
	}
	return out
}

const nothing = "Skipped host 'compute-1' recovery as no instances needs to be evacuated"

func TestPrepare(t *testing.T) {
	busy := vm("d", "active")
	busy.TaskState = "deleting"
	tests := []struct {
		name     string
		servers  []wasakari.Server
		vmoves   []wasakari.VMove
		round    int64
		set      opts
		records  []string
		outcome  wasakaritest.Outcome
		reason   string
		progress []step
	}{
		{
			name: "tagged first", servers: []wasakari.Server{vm("a", "active"), tag(vm("b", "stopped"), "True"), vm("c", "error"), tag(vm("d", "paused"), " YES ")},
			records: []string{"b pending", "d pending", "a pending", "c pending"},
			progress: []step{
				{0, "Preparing instances for evacuation"},
				{300, "Total instances running on failed host 'compute-1' is 4"},
				{600, "Total HA Enabled instances count: '2'"},
				{700, "Total Non-HA Enabled instances count: '2'"},
				{800, "All instances (HA Enabled/Non-HA Enabled) should be considered for evacuation. Total count is: '4'"},
				{1000, "Instances to be evacuated are: 'b,d,a,c'"},
			},
		},
		{
			name: "tagged only", set: opts{"host_failure.evacuate_all_instances": false},
			servers: []wasakari.Server{vm("a", "active"), tag(vm("b", "active"), "1"), tag(vm("c", "active"), "no"), tag(vm("d", "active"), "maybe")},
			records: []string{"b pending"},
			progress: []step{
				{0, "Preparing instances for evacuation"},
				{300, "Total instances running on failed host 'compute-1' is 4"},
				{600, "Total HA Enabled instances count: '1'"},
				{1000, "Instances to be evacuated are: 'b'"},
			},
		},
		{
			name: "another key", set: opts{"host_failure.evacuate_all_instances": false, "host_failure.ha_enabled_instance_metadata_key": "rescue"},
			servers: []wasakari.Server{tag(vm("a", "active"), "yes"), {ID: "b", VMState: "active", Metadata: map[string]string{"rescue": "on"}}},
			records: []string{"b pending"},
		},
		{
			name: "none tagged", set: opts{"host_failure.evacuate_all_instances": false}, servers: []wasakari.Server{vm("a", "active")},
			outcome: wasakaritest.NothingToDo, reason: nothing,
			progress: []step{
				{0, "Preparing instances for evacuation"},
				{300, "Total instances running on failed host 'compute-1' is 1"},
				{600, "Total HA Enabled instances count: '0'"},
				{1000, nothing},
			},
		},
		{name: "no servers", outcome: wasakaritest.NothingToDo, reason: nothing},
		{
			name: "states that are left", servers: []wasakari.Server{
				vm("a", "building"), vm("b", "soft-delete"), vm("c", "deleted"), busy, vm("e", "active"),
			},
			records: []string{
				"a ignored it is in vm_state building", "b ignored it is in vm_state soft-delete", "c ignored it is in vm_state deleted",
				"d ignored it is in task_state deleting", "e pending",
			},
		},
		{
			name: "only states that are left", servers: []wasakari.Server{vm("a", "building")},
			records: []string{"a ignored it is in vm_state building"}, outcome: wasakaritest.NothingToDo, reason: nothing,
		},
		{
			name: "other states skipped", set: opts{"host_failure.other_states": "skip"},
			servers: []wasakari.Server{vm("a", "paused"), vm("b", "error"), vm("c", "rescued")},
			records: []string{
				"a ignored it is in vm_state paused and [host_failure] other_states is skip", "b pending",
				"c ignored it is in vm_state rescued and [host_failure] other_states is skip",
			},
		},
		{
			name: "error left out", set: opts{"host_failure.ignore_instances_in_error_state": true},
			servers: []wasakari.Server{tag(vm("a", "error"), "yes"), vm("b", "error"), vm("c", "active")},
			records: []string{
				"c pending",
				"a ignored it is in vm_state error and [host_failure] ignore_instances_in_error_state is set",
				"b ignored it is in vm_state error and [host_failure] ignore_instances_in_error_state is set",
			},
			progress: []step{
				{0, "Preparing instances for evacuation"},
				{300, "Total instances running on failed host 'compute-1' is 3"},
				{400, "Ignoring recovery of HA_Enabled instance 'a' as it is in 'error' state."},
				{600, "Total HA Enabled instances count: '0'"},
				{700, "Total Non-HA Enabled instances count: '1'"},
				{800, "All instances (HA Enabled/Non-HA Enabled) should be considered for evacuation. Total count is: '1'"},
				{1000, "Instances to be evacuated are: 'c'"},
			},
		},
		{
			name: "error left out, tagged only", servers: []wasakari.Server{tag(vm("a", "error"), "yes"), vm("b", "error")},
			set:     opts{"host_failure.ignore_instances_in_error_state": true, "host_failure.evacuate_all_instances": false},
			records: []string{"a ignored it is in vm_state error and [host_failure] ignore_instances_in_error_state is set"},
			outcome: wasakaritest.NothingToDo, reason: nothing,
		},

		// Done before.
		{
			name: "run again", servers: []wasakari.Server{vm("a", "active"), tag(vm("b", "active"), "yes")}, set: opts{"attempt": 2},
			vmoves:  []wasakari.VMove{{InstanceUUID: "b", Status: "pending", Attempt: 1}},
			records: []string{"b pending", "a pending"},
		},
		{
			name: "run again, built meanwhile", servers: []wasakari.Server{vm("a", "active"), vm("b", "active")}, set: opts{"attempt": 2},
			vmoves:  []wasakari.VMove{{InstanceUUID: "a", Status: "ignored", Message: "it is in vm_state building", Attempt: 1}},
			records: []string{"a ignored it is in vm_state building", "b pending"},
		},
		{
			name: "next round", round: 2, servers: []wasakari.Server{vm("a", "error"), vm("b", "error"), {ID: "c", VMState: "active", Host: other}},
			set: opts{"host_failure.ignore_instances_in_error_state": true},
			vmoves: []wasakari.VMove{
				{InstanceUUID: "a", Status: "failed", Attempt: 1, Message: "was paused; No valid host was found."},
				{InstanceUUID: "b", Status: "failed", Attempt: 1, Message: "was resized and off; timeout"},
				{InstanceUUID: "c", Status: "succeeded", Attempt: 1, Message: "was active; evacuated"},
			},
			records: []string{"a pending was paused", "b pending was resized and off"},
		},
		{
			name: "next round, moved after the limit", round: 2, servers: []wasakari.Server{{ID: "a", VMState: "active", Host: other}},
			vmoves:  []wasakari.VMove{{InstanceUUID: "a", Status: "failed", Attempt: 1, Message: "was suspended; timeout after 90 s"}},
			records: []string{"a pending was suspended"},
		},
		{
			name: "next round, moved before its end was written down", round: 2, servers: []wasakari.Server{{ID: "a", VMState: "active", Host: other}},
			vmoves:  []wasakari.VMove{{InstanceUUID: "a", Status: "ongoing", Attempt: 1, Message: "was paused"}, {InstanceUUID: "b", Status: "pending", Attempt: 1}},
			records: []string{"a pending was paused", "b pending"},
		},
		{
			name: "next round, never begun", round: 2, servers: []wasakari.Server{vm("a", "error")},
			vmoves:  []wasakari.VMove{{InstanceUUID: "a", Status: "failed", Attempt: 1, Message: "Nova still sees compute-1 up; is it fenced?"}},
			records: []string{"a pending"},
		},
		{
			name: "next round, deleted by its owner", round: 2, servers: []wasakari.Server{{ID: "a", VMState: "error", TaskState: "deleting"}, vm("b", "active")},
			vmoves:  []wasakari.VMove{{InstanceUUID: "a", Status: "failed", Attempt: 1, Message: "was paused; No valid host was found."}},
			records: []string{"a ignored it is in task_state deleting", "b pending"},
		},
		{
			name: "next round, all moved", round: 2, servers: []wasakari.Server{{ID: "a", VMState: "active", Host: other}},
			vmoves:  []wasakari.VMove{{InstanceUUID: "a", Status: "succeeded", Attempt: 1}},
			outcome: wasakaritest.NothingToDo, reason: nothing,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud(tt.servers...)
			c.vmoves = tt.vmoves
			c.round = max(tt.round, 1)
			want := tt.outcome
			if want == "" {
				want = wasakaritest.Succeeded
			}
			check(t, run(t, c, prepareTask, tt.set), want, tt.reason, tt.progress...)
			equal(t, "vmoves", c.records(), tt.records)
			for _, v := range c.vmoves {
				if v.Attempt == c.round && c.round > 1 && v.SourceHost != failed {
					t.Errorf("vmove %+v, want source host %s", v, failed)
				}
			}
		})
	}
}

func TestPrepareAsksNovaOnce(t *testing.T) {
	c := newCloud(tag(vm("a", "active"), "yes"), vm("b", "active"))
	check(t, run(t, c, prepareTask, nil), wasakaritest.Succeeded, "")
	nova := slices.DeleteFunc(slices.Clone(c.calls), func(call string) bool { return call[:3] == "ha." })
	equal(t, "calls of Nova", nova, []string{"nova.server_list compute-1"})
	if got := c.vmove(t, "a"); got.InstanceName != "vm-a" || got.SourceHost != failed {
		t.Errorf("vmove %+v", got)
	}
}

func TestPrepareCannotList(t *testing.T) {
	c := newCloud()
	c.faults["nova.server_list compute-1"] = refuse("unavailable", "Service Unavailable", 503)
	check(t, run(t, c, prepareTask, nil), wasakaritest.Failed,
		"list servers of host 'compute-1': nova.server_list: unavailable: Service Unavailable (HTTP 503, req-17)")
}
