package main_test

import (
	"testing"

	wasakari "github.com/wasakari/wasakari/sdk/go"
	"github.com/wasakari/wasakari/sdk/go/wasakaritest"
)

func TestStopInstance(t *testing.T) {
	const skipping = "Skipping recovery for instance: a as it is not Ha_Enabled"
	stopped := wasakari.NovaServerWaitAnswer{Outcome: "reached", Server: wasakari.Server{ID: "a", VMState: "stopped"}}
	nova := refuse("unavailable", "erred", 500)
	conflict := refuse("conflict", "Cannot 'stop'", 409)
	tests := []struct {
		name     string
		server   wasakari.Server
		set      opts
		fault    map[string]error
		outcomes map[string]wasakari.NovaServerWaitAnswer
		absent   bool
		calls    []string
		outcome  wasakaritest.Outcome
		reason   string
		progress []step
	}{
		{
			name: "not tagged", server: vm("a", "active"), calls: []string{"get"},
			outcome: wasakaritest.NothingToDo, reason: skipping, progress: []step{{1000, skipping}},
		},
		{
			name: "tagged", server: tag(vm("a", "active"), "True"), calls: []string{"get", "stop", "wait vm_state"},
			progress: []step{{0, "Stopping instance: a"}, {1000, "Stopped instance: 'a'"}},
		},
		{
			name: "not tagged, but all", server: vm("a", "error"), set: opts{"instance_failure.process_all_instances": true},
			calls: []string{"get", "stop", "wait vm_state"}, progress: []step{{0, "Stopping instance: a"}, {1000, "Stopped instance: 'a'"}},
		},
		{
			name: "another key", server: tag(vm("a", "active"), "True"), set: opts{"instance_failure.ha_enabled_instance_metadata_key": "rescue"},
			calls: []string{"get"}, outcome: wasakaritest.NothingToDo, reason: skipping,
		},
		{
			name: "paused", server: tag(vm("a", "paused"), "True"), calls: []string{"get"}, outcome: wasakaritest.Ignored,
			reason:   "Recovery of instance 'a' is ignored as it is in 'paused' state.",
			progress: []step{{1000, "Recovery of instance 'a' is ignored as it is in 'paused' state."}},
		},
		{
			name: "rescued", server: tag(vm("a", "rescued"), "True"), calls: []string{"get"}, outcome: wasakaritest.Ignored,
			reason: "Recovery of instance 'a' is ignored as it is in 'rescued' state.",
		},
		{name: "stopped", server: tag(vm("a", "stopped"), "True"), calls: []string{"get"}, progress: []step{{1000, "Stopped instance: 'a'"}}},
		{
			name: "stopped, but busy", server: wasakari.Server{ID: "a", VMState: "stopped", TaskState: "powering-off", Metadata: map[string]string{"HA_Enabled": "1"}},
			calls: []string{"get", "wait vm_state"}, progress: []step{{1000, "Stopped instance: 'a'"}},
		},
		{
			name: "resized", server: tag(vm("a", "resized"), "True"), calls: []string{"get", "reset_state active", "stop", "wait vm_state"},
			progress: []step{{0, "Stopping instance: a"}, {1000, "Stopped instance: 'a'"}},
		},
		{
			name: "resized, reset refused", server: tag(vm("a", "resized"), "True"), fault: map[string]error{"nova.server_reset_state a active": nova},
			calls: []string{"get", "reset_state active"}, outcome: wasakaritest.Failed,
			reason: "reset state of instance a: nova.server_reset_state: unavailable: erred (HTTP 500, req-17)",
		},
		{
			name: "conflict, not stopped", server: tag(vm("a", "active"), "True"), fault: map[string]error{"nova.server_stop a": conflict},
			calls: []string{"get", "stop", "get"}, outcome: wasakaritest.Failed,
			reason:   "stop instance a: nova.server_stop: conflict: Cannot 'stop' (HTTP 409, req-17)",
			progress: []step{{0, "Stopping instance: a"}, {0, "Conflict when stopping instance: a"}},
		},
		{
			name: "conflict, stopping already", server: wasakari.Server{ID: "a", VMState: "active", TaskState: "powering-off", Metadata: map[string]string{"HA_Enabled": "1"}},
			fault: map[string]error{"nova.server_stop a": conflict}, calls: []string{"get", "stop", "get", "wait vm_state"},
			progress: []step{{0, "Stopping instance: a"}, {0, "Conflict when stopping instance: a"}, {1000, "Stopped instance: 'a'"}},
		},
		{
			name: "stop refused", server: tag(vm("a", "active"), "True"), fault: map[string]error{"nova.server_stop a": nova},
			calls: []string{"get", "stop"}, outcome: wasakaritest.Failed, reason: "stop instance a: nova.server_stop: unavailable: erred (HTTP 500, req-17)",
		},
		{
			name: "timeout", server: tag(vm("a", "active"), "True"), fault: map[string]error{"nova.server_wait a vm_state": refuse("timeout", "180 s", 0)},
			calls: []string{"get", "stop", "wait vm_state"}, outcome: wasakaritest.Failed, reason: "Failed to stop instance a",
			progress: []step{{0, "Stopping instance: a"}, {1000, "Failed to stop instance a"}},
		},
		{
			name: "error", server: tag(vm("a", "active"), "True"), outcomes: map[string]wasakari.NovaServerWaitAnswer{"vm_state a": {Outcome: "error", Message: "disk gone"}},
			calls: []string{"get", "stop", "wait vm_state"}, outcome: wasakaritest.Failed, reason: "Failed to stop instance a: disk gone",
		},
		{
			name: "unknown", absent: true, calls: []string{"get"}, outcome: wasakaritest.Failed,
			reason: "instance a: nova.server_get: not found: Instance a could not be found. (HTTP 404, req-17)",
		},
		{name: "slow", server: tag(vm("a", "active"), "t"), outcomes: map[string]wasakari.NovaServerWaitAnswer{"vm_state a": stopped}, calls: []string{"get", "stop", "wait vm_state"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud(tt.server)
			if tt.absent {
				c = newCloud()
			}
			c.faults, c.outcomes = tt.fault, tt.outcomes
			want := tt.outcome
			if want == "" {
				want = wasakaritest.Succeeded
			}
			check(t, run(t, c, "stop_instance_task", tt.set), want, tt.reason, tt.progress...)
			equal(t, "calls", c.of("a"), tt.calls)
		})
	}
}

func TestStartInstance(t *testing.T) {
	const invalid = "Invalid state for Instance a. Expected state: 'STOPPED', Actual state: 'active'"
	busy := wasakari.Server{ID: "a", VMState: "stopped", TaskState: "powering-on"}
	conflict := refuse("conflict", "Cannot 'start'", 409)
	tests := []struct {
		name     string
		server   wasakari.Server
		attempt  int
		fault    error
		calls    []string
		outcome  wasakaritest.Outcome
		reason   string
		progress []step
	}{
		{
			name: "stopped", server: vm("a", "stopped"), attempt: 1, calls: []string{"get", "start"}, outcome: wasakaritest.Succeeded,
			progress: []step{{0, "Starting instance: 'a'"}, {1000, "Instance started: 'a'"}},
		},
		{
			name: "not stopped", server: vm("a", "active"), attempt: 1, calls: []string{"get"}, outcome: wasakaritest.Failed, reason: invalid,
			progress: []step{{0, "Starting instance: 'a'"}, {1000, invalid}},
		},
		{name: "started by an earlier attempt", server: vm("a", "active"), attempt: 2, calls: []string{"get"}, outcome: wasakaritest.Succeeded},
		{name: "being started by an earlier attempt", server: busy, attempt: 2, fault: conflict, calls: []string{"get", "start"}, outcome: wasakaritest.Succeeded},
		{
			name: "refused", server: busy, attempt: 1, fault: conflict, calls: []string{"get", "start"}, outcome: wasakaritest.Failed,
			reason: "start instance a: nova.server_start: conflict: Cannot 'start' (HTTP 409, req-17)",
		},
		{
			name: "in error", server: vm("a", "error"), attempt: 2, calls: []string{"get"}, outcome: wasakaritest.Failed,
			reason: "Invalid state for Instance a. Expected state: 'STOPPED', Actual state: 'error'",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud(tt.server)
			c.faults["nova.server_start a"] = tt.fault
			check(t, run(t, c, "start_instance_task", opts{"attempt": tt.attempt}), tt.outcome, tt.reason, tt.progress...)
			equal(t, "calls", c.of("a"), tt.calls)
		})
	}
}

func TestConfirmInstanceActive(t *testing.T) {
	tests := []struct {
		name     string
		fault    error
		outcome  wasakari.NovaServerWaitAnswer
		want     wasakaritest.Outcome
		reason   string
		progress string
	}{
		{name: "active", want: wasakaritest.Succeeded, progress: "Confirmed instance 'a' vm_state is ACTIVE"},
		{name: "timeout", fault: refuse("timeout", "60 s", 0), want: wasakaritest.Failed, reason: "Failed to start instance a", progress: "Failed to start instance a"},
		{
			name: "in error", outcome: wasakari.NovaServerWaitAnswer{Outcome: "error", Server: wasakari.Server{ID: "a", Fault: &wasakari.Fault{Message: "no memory"}}},
			want: wasakaritest.Failed, reason: "Failed to start instance a: no memory", progress: "Failed to start instance a",
		},
		{
			name: "in error without a word", outcome: wasakari.NovaServerWaitAnswer{Outcome: "error", Server: wasakari.Server{ID: "a", VMState: "error"}},
			want: wasakaritest.Failed, reason: "Failed to start instance a: it is in vm_state error", progress: "Failed to start instance a",
		},
		{
			name: "deleted", outcome: wasakari.NovaServerWaitAnswer{Outcome: "deleted"},
			want: wasakaritest.Failed, reason: "Failed to start instance a: it was deleted meanwhile", progress: "Failed to start instance a",
		},
		{
			name: "Nova down", fault: refuse("unavailable", "erred", 500), want: wasakaritest.Failed,
			reason: "Failed to start instance a: nova.server_wait: unavailable: erred (HTTP 500, req-17)", progress: "Failed to start instance a",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud(vm("a", "stopped"))
			c.server("a").TaskState = "powering-on"
			c.faults["nova.server_wait a vm_state"] = tt.fault
			if tt.outcome.Outcome != "" {
				c.outcomes["vm_state a"] = tt.outcome
			}
			check(t, run(t, c, "confirm_instance_active_task", nil), tt.want, tt.reason,
				step{0, "Confirming instance 'a' vm_state is ACTIVE"}, step{1000, tt.progress})
			equal(t, "calls", c.of("a"), []string{"wait vm_state"})
		})
	}
}
