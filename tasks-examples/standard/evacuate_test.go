package main_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	wasakari "github.com/wasakari/wasakari/sdk/go"
	"github.com/wasakari/wasakari/sdk/go/wasakaritest"
)

const evacuateTask = "evacuate_instances_task"

func vm(id, vmState string) wasakari.Server {
	return wasakari.Server{ID: id, Name: "vm-" + id, VMState: vmState, PowerState: 1}
}

// TestEvacuateStates is the table of states: the rows that were observed of
// Masakari, where only Nova's needless resets are left out, and what is done
// better than there.
func TestEvacuateStates(t *testing.T) {
	const (
		lock, evac, moved, unlock     = "lock", "evacuate", "wait moved", "unlock"
		toError, stop, waitState, tcl = "reset_state error", "stop", "wait vm_state", "wait task_clear"
	)
	plain := []string{lock, evac, moved, unlock}
	resetStop := []string{lock, toError, evac, moved, stop, waitState, unlock}
	evacStop := []string{lock, evac, moved, stop, waitState, toError, unlock}
	tests := []struct {
		vm, task string
		power    int64
		skip     bool
		calls    []string
		end      string // vm_state
		status   string
		message  string
	}{
		// Rows observed of Masakari.
		{vm: "active", power: 1, calls: plain, end: "active", status: "succeeded", message: "was active; evacuated"},
		{vm: "active", task: "rebooting", power: 1, calls: plain, end: "active", status: "succeeded", message: "was active; evacuated"},
		{vm: "stopped", power: 4, calls: plain, end: "stopped", status: "succeeded", message: "was stopped; evacuated"},
		{vm: "stopped", task: "powering-on", power: 4, calls: plain, end: "stopped", status: "succeeded", message: "was stopped; evacuated"},
		{vm: "error", power: 1, calls: evacStop, end: "error", status: "succeeded", message: "was error; evacuated and stopped, set back to error"},
		{vm: "error", task: "powering-off", power: 0, calls: evacStop, end: "error", status: "succeeded", message: "was error; evacuated and stopped, set back to error"},
		{vm: "resized", power: 1, calls: []string{lock, toError, evac, moved, unlock}, end: "active", status: "succeeded", message: "was resized; evacuated"},
		{vm: "resized", power: 4, calls: resetStop, end: "stopped", status: "succeeded", message: "was resized and off; evacuated and stopped"},
		{vm: "paused", power: 3, calls: resetStop, end: "stopped", status: "succeeded", message: "was paused; evacuated and stopped"},
		{vm: "suspended", power: 4, calls: resetStop, end: "stopped", status: "succeeded", message: "was suspended; evacuated and stopped"},
		{vm: "rescued", power: 1, calls: resetStop, end: "stopped", status: "succeeded", message: "was rescued; evacuated and stopped"},
		{vm: "shelved", power: 4, calls: resetStop, end: "stopped", status: "succeeded", message: "was shelved; evacuated and stopped"},
		// Rows observed of Masakari that are ours to leave.
		{vm: "building", task: "spawning", end: "building", status: "ignored", message: "it is in vm_state building"},
		{vm: "soft-delete", power: 4, end: "soft-delete", status: "ignored", message: "it is in vm_state soft-delete"},
		{vm: "error", task: "deleting", end: "error", status: "ignored", message: "it is in task_state deleting"},
		// Ours.
		{vm: "deleted", end: "deleted", status: "ignored", message: "deleted meanwhile"},
		{vm: "active", task: "deleting", power: 1, end: "active", status: "ignored", message: "it is in task_state deleting"},
		{vm: "active", task: "soft-deleting", power: 1, end: "active", status: "ignored", message: "it is in task_state soft-deleting"},
		{vm: "shelved_offloaded", power: 4, end: "shelved_offloaded", status: "ignored", message: "it is shelved and on no host"},
		{
			vm: "active", task: "rebuilding", power: 1, calls: []string{lock, tcl, unlock},
			end: "active", status: "succeeded", message: "was active; an evacuation was under way",
		},
		{
			vm: "stopped", task: "rebuild_spawning", power: 4, calls: []string{lock, tcl, unlock},
			end: "stopped", status: "succeeded", message: "was stopped; an evacuation was under way",
		},
		{
			vm: "error", task: "rebuild_block_device_mapping", calls: []string{lock, tcl, stop, waitState, toError, unlock},
			end: "error", status: "succeeded", message: "was error; an evacuation was under way and stopped, set back to error",
		},
		{vm: "paused", power: 3, skip: true, end: "paused", status: "ignored", message: "it is in vm_state paused and [host_failure] other_states is skip"},
		{vm: "resized", power: 1, skip: true, end: "resized", status: "ignored", message: "it is in vm_state resized and [host_failure] other_states is skip"},
		{vm: "stopped", power: 4, skip: true, calls: plain, end: "stopped", status: "succeeded", message: "was stopped; evacuated"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %s power %d skip %v", tt.vm, tt.task, tt.power, tt.skip), func(t *testing.T) {
			s := wasakari.Server{ID: "a", VMState: tt.vm, TaskState: tt.task, PowerState: tt.power}
			c := newCloud(s).pending("a")
			set := opts{}
			if tt.skip {
				set["host_failure.other_states"] = "skip"
			}
			check(t, run(t, c, evacuateTask, set), wasakaritest.Succeeded, "")
			equal(t, "calls", c.of("a"), tt.calls)
			if got := c.server("a"); got.VMState != tt.end || got.Locked {
				t.Errorf("vm_state %s, locked %v, want %s, false", got.VMState, got.Locked, tt.end)
			}
			want := wasakari.VMove{InstanceUUID: "a", Attempt: 1, SourceHost: failed, Status: tt.status, Message: tt.message}
			if tt.status == "succeeded" {
				want.DestHost = other
			}
			if got := c.vmove(t, "a"); got != want {
				t.Errorf("vmove = %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestEvacuateTrouble has what may go wrong with one server; the other one
// moves whatever happens to it.
func TestEvacuateTrouble(t *testing.T) {
	nova := refuse("unavailable", "The server has either erred or is incapable", 500)
	tests := []struct {
		name     string
		server   wasakari.Server
		absent   bool             // Nova does not know the server
		unhosted bool             // the list does not tell the server's host
		read     *wasakari.Server // what reading it shows, if not what it is
		fault    map[string]error
		outcome  map[string]wasakari.NovaServerWaitAnswer
		set      opts
		note     string // message of the vmove before
		ongoing  bool
		target   string // of the newest evacuation of the server
		down     string // a host that is down beside the failed one
		calls    []string
		status   string
		dest     string
		message  string
	}{
		{
			name: "evacuate refused", server: vm("a", "active"), fault: map[string]error{"nova.server_evacuate a": nova},
			calls: []string{"lock", "evacuate", "unlock"}, status: "failed",
			message: "was active; 500 The server has either erred or is incapable (req-17)",
		},
		{
			name: "reset refused", server: vm("a", "paused"), fault: map[string]error{"nova.server_reset_state a error": nova},
			calls: []string{"lock", "reset_state error", "unlock"}, status: "failed",
			message: "was paused; 500 The server has either erred or is incapable (req-17)",
		},
		{
			name: "lock refused", server: vm("a", "active"), fault: map[string]error{"nova.server_lock a": nova},
			calls: []string{"lock", "evacuate", "wait moved"}, status: "succeeded", dest: other,
			message: "was active; evacuated; not locked: 500 The server has either erred or is incapable (req-17)",
		},
		{
			name: "unlock refused", server: vm("a", "active"), fault: map[string]error{"nova.server_unlock a": nova},
			calls: []string{"lock", "evacuate", "wait moved", "unlock"}, status: "succeeded", dest: other, message: "was active; evacuated",
		},
		{
			name: "locked by another run", server: vm("a", "active"), fault: map[string]error{"nova.server_lock a": refuse("conflict", "locked by run 7", 0)},
			calls: []string{"lock"}, status: "failed", message: "was active; locked by run 7",
		},
		{
			name: "deleted before it was locked", server: vm("a", "active"),
			fault: map[string]error{
				"nova.server_lock a": refuse("not_found", "gone", 404), "nova.server_evacuate a": refuse("not_found", "gone", 404),
				"nova.server_get a": refuse("not_found", "gone", 404),
			},
			calls: []string{"lock", "evacuate", "get"}, status: "ignored", message: "was active; deleted meanwhile",
		},
		{
			name: "locked by its owner", server: wasakari.Server{ID: "a", VMState: "active", Locked: true},
			calls: []string{"lock", "evacuate", "wait moved"}, status: "succeeded", dest: other, message: "was active; evacuated",
		},
		{
			name: "locking switched off", server: vm("a", "active"), set: opts{"host_failure.lock_servers": false},
			calls: []string{"evacuate", "wait moved"}, status: "succeeded", dest: other, message: "was active; evacuated",
		},
		{
			name: "no valid host", server: vm("a", "active"),
			outcome: map[string]wasakari.NovaServerWaitAnswer{"moved a": {Outcome: "error", Message: "No valid host was found."}},
			calls:   []string{"lock", "evacuate", "wait moved", "unlock"}, status: "failed", message: "was active; No valid host was found.",
		},
		{
			name: "no valid host, fault only", server: wasakari.Server{ID: "a", VMState: "active", Fault: &wasakari.Fault{Message: "No valid host was found."}},
			outcome: map[string]wasakari.NovaServerWaitAnswer{"moved a": {Outcome: "error"}},
			calls:   []string{"lock", "evacuate", "wait moved", "unlock"}, status: "failed", message: "was active; No valid host was found.",
		},
		{
			name: "timeout", server: vm("a", "active"), fault: map[string]error{"nova.server_wait a moved": refuse("timeout", "", 0)},
			calls: []string{"lock", "evacuate", "wait moved", "get", "unlock"}, status: "failed",
			message: "was active; timeout after 90 s: Nova shows it on compute-1 in vm_state active, task_state rebuilding, it may still complete the move",
		},
		{
			name: "unreadable after the limit", server: vm("a", "active"),
			fault: map[string]error{"nova.server_wait a moved": refuse("timeout", "", 0), "nova.server_get a": nova},
			calls: []string{"lock", "evacuate", "wait moved", "get", "unlock"}, status: "failed",
			message: "was active; timeout after 90 s: 500 The server has either erred or is incapable (req-17), it may still complete the move",
		},
		{
			name: "moved just after the limit", server: vm("a", "active"), fault: map[string]error{"nova.server_wait a moved": refuse("timeout", "", 0)},
			read: &wasakari.Server{ID: "a", VMState: "active", Host: other}, calls: []string{"lock", "evacuate", "wait moved", "get", "unlock"},
			status: "succeeded", dest: other, message: "was active; evacuated",
		},
		{
			name: "moving just after the limit", server: vm("a", "stopped"), fault: map[string]error{"nova.server_wait a moved": refuse("timeout", "", 0)},
			read:  &wasakari.Server{ID: "a", VMState: "stopped", TaskState: "powering-off", Host: other},
			calls: []string{"lock", "evacuate", "wait moved", "get", "unlock"}, status: "failed",
			message: "was stopped; timeout after 90 s: Nova shows it on compute-2 in vm_state stopped, task_state powering-off, it may still complete the move",
		},
		{
			name: "wait fails", server: vm("a", "active"), fault: map[string]error{"nova.server_wait a moved": nova},
			calls: []string{"lock", "evacuate", "wait moved", "unlock"}, status: "failed",
			message: "was active; 500 The server has either erred or is incapable (req-17)",
		},
		{
			name: "deleted while it moved", server: vm("a", "active"),
			outcome: map[string]wasakari.NovaServerWaitAnswer{"moved a": {Outcome: "deleted"}},
			calls:   []string{"lock", "evacuate", "wait moved", "unlock"}, status: "ignored", message: "was active; deleted meanwhile",
		},
		{
			name: "unknown to Nova", server: vm("a", "active"), absent: true,
			calls: []string{"get"}, status: "ignored", message: "deleted meanwhile",
		},
		{
			name: "unreadable", server: wasakari.Server{ID: "a", VMState: "active", Host: other}, fault: map[string]error{"nova.server_get a": nova},
			calls: []string{"get"}, status: "failed", message: "500 The server has either erred or is incapable (req-17)",
		},
		{
			name: "on no host", server: wasakari.Server{ID: "a", VMState: "active", Host: "nowhere"},
			calls: []string{"get"}, status: "failed", message: "Nova shows it on no host, in vm_state active",
		},
		{
			name: "shelved meanwhile", server: wasakari.Server{ID: "a", VMState: "shelved_offloaded", Host: "nowhere"},
			calls: []string{"get"}, status: "ignored", message: "it is shelved and on no host",
		},
		{
			name: "listed without a host", server: vm("a", "active"), unhosted: true, status: "failed", message: "Nova shows it on no host, in vm_state active",
		},
		{
			name: "target unknown", server: vm("a", "active"), fault: map[string]error{"nova.server_evacuate a": refuse("not_found", "Compute host nowhere not found.", 404)},
			calls: []string{"lock", "evacuate", "get", "unlock"}, status: "failed", message: "was active; 404 Compute host nowhere not found. (req-17)",
		},
		{
			name: "moved by somebody else", server: wasakari.Server{ID: "a", VMState: "active", Host: other},
			calls: []string{"get"}, status: "ignored", message: "is on compute-2 already",
		},
		{
			name: "Nova's own conflict", server: vm("a", "active"), fault: map[string]error{"nova.server_evacuate a": refuse("conflict", "Cannot 'evacuate'", 409)},
			calls: []string{"lock", "evacuate", "unlock"}, status: "failed", message: "was active; 409 Cannot 'evacuate' (req-17)",
		},
		{
			name: "host's conflict, then moved", server: vm("a", "active"), fault: map[string]error{"nova.server_evacuate a": refuse("conflict", "an evacuation is open", 0)},
			outcome: map[string]wasakari.NovaServerWaitAnswer{"moved a": {Outcome: "reached", Server: wasakari.Server{ID: "a", VMState: "active", Host: other}}},
			calls:   []string{"lock", "evacuate", "wait moved", "unlock"}, status: "succeeded", dest: other, message: "was active; an evacuation was under way",
		},
		{
			name: "host's conflict, never moved", server: vm("a", "active"),
			fault: map[string]error{"nova.server_evacuate a": refuse("conflict", "an evacuation is open", 0), "nova.server_wait a moved": refuse("timeout", "", 0)},
			calls: []string{"lock", "evacuate", "wait moved", "get", "unlock"}, status: "failed",
			message: "was active; an evacuation is open; timeout after 90 s: Nova shows it on compute-1 in vm_state active, it may still complete the move",
		},
		{
			name: "rebuild never ends", server: wasakari.Server{ID: "a", VMState: "active", TaskState: "rebuilding"},
			fault: map[string]error{"nova.server_wait a task_clear": refuse("timeout", "", 0)},
			calls: []string{"lock", "wait task_clear", "get", "unlock"}, status: "failed",
			message: "was active; timeout after 90 s: Nova shows it on compute-1 in vm_state active, task_state rebuilding",
		},
		{
			name: "target is down too", server: wasakari.Server{ID: "a", VMState: "active", TaskState: "rebuild_spawning"}, target: other, down: other,
			fault: map[string]error{"nova.server_wait a task_clear": refuse("timeout", "", 0)},
			calls: []string{"lock", "wait task_clear", "get", "unlock"}, status: "failed",
			message: "was active; timeout after 90 s: Nova shows it on compute-1 in vm_state active, task_state rebuild_spawning; " +
				"its move to compute-2 cannot end, for compute-2 is down too: this server needs a person",
		},
		{
			name: "target goes down during the move", server: vm("a", "active"), target: other, down: other,
			fault: map[string]error{"nova.server_wait a moved": refuse("timeout", "", 0)},
			calls: []string{"lock", "evacuate", "wait moved", "get", "unlock"}, status: "failed",
			message: "was active; timeout after 90 s: Nova shows it on compute-1 in vm_state active, task_state rebuilding; " +
				"its move to compute-2 cannot end, for compute-2 is down too: this server needs a person",
		},
		{
			name: "target is slow", server: vm("a", "active"), target: other, down: spare,
			fault: map[string]error{"nova.server_wait a moved": refuse("timeout", "", 0)},
			calls: []string{"lock", "evacuate", "wait moved", "get", "unlock"}, status: "failed",
			message: "was active; timeout after 90 s: Nova shows it on compute-1 in vm_state active, task_state rebuilding, it may still complete the move",
		},
		{
			name: "rebuild ends where it was", server: wasakari.Server{ID: "a", VMState: "active", TaskState: "rebuilding"},
			outcome: map[string]wasakari.NovaServerWaitAnswer{"task_clear a": {Outcome: "error", Server: wasakari.Server{ID: "a", VMState: "error", Host: failed}}},
			calls:   []string{"lock", "wait task_clear", "evacuate", "wait moved", "unlock"}, status: "succeeded", dest: other, message: "was active; evacuated",
		},
		{
			name: "stop refused", server: vm("a", "paused"), fault: map[string]error{"nova.server_stop a": nova},
			calls: []string{"lock", "reset_state error", "evacuate", "wait moved", "stop", "unlock"}, status: "failed", dest: other,
			message: "was paused; evacuated, but not stopped: 500 The server has either erred or is incapable (req-17)",
		},
		{
			name: "stop takes too long", server: vm("a", "paused"), fault: map[string]error{"nova.server_wait a vm_state": refuse("timeout", "", 0)},
			calls: []string{"lock", "reset_state error", "evacuate", "wait moved", "stop", "wait vm_state", "unlock"}, status: "failed", dest: other,
			message: "was paused; evacuated, but not stopped: timeout after 180 s",
		},
		{
			name: "stopping already", server: vm("a", "paused"), fault: map[string]error{"nova.server_stop a": refuse("conflict", "busy", 409)},
			outcome: map[string]wasakari.NovaServerWaitAnswer{"vm_state a": {Outcome: "reached", Server: wasakari.Server{ID: "a", VMState: "stopped", Host: other}}},
			calls:   []string{"lock", "reset_state error", "evacuate", "wait moved", "stop", "wait vm_state", "unlock"}, status: "succeeded", dest: other,
			message: "was paused; evacuated and stopped",
		},

		// An earlier attempt was interrupted or failed.
		{
			name: "sent and under way", server: wasakari.Server{ID: "a", VMState: "active", TaskState: "rebuild_spawning", Locked: true},
			note: "was active", ongoing: true, calls: []string{"lock", "wait task_clear", "unlock"},
			status: "succeeded", dest: other, message: "was active; an evacuation was under way",
		},
		{
			name: "never sent", server: vm("a", "active"), note: "was active", ongoing: true,
			calls: []string{"lock", "evacuate", "wait moved", "unlock"}, status: "succeeded", dest: other, message: "was active; evacuated",
		},
		{
			name: "reset, never sent", server: vm("a", "error"), note: "was paused", ongoing: true,
			calls: []string{"lock", "evacuate", "wait moved", "stop", "wait vm_state", "unlock"}, status: "succeeded", dest: other,
			message: "was paused; evacuated and stopped",
		},
		{
			name: "moved, not stopped", server: wasakari.Server{ID: "a", VMState: "active", Host: other}, note: "was suspended", ongoing: true,
			calls: []string{"get", "lock", "stop", "wait vm_state", "unlock"}, status: "succeeded", dest: other,
			message: "was suspended; evacuated and stopped",
		},
		{
			name: "moved, still busy", server: wasakari.Server{ID: "a", VMState: "active", TaskState: "powering-off", Host: other}, note: "was rescued", ongoing: true,
			calls: []string{"get", "lock", "wait task_clear", "unlock"}, status: "succeeded", dest: other, message: "was rescued; evacuated",
		},
		{
			name: "moved, stopped, not set back", server: wasakari.Server{ID: "a", VMState: "stopped", Host: other}, note: "was error", ongoing: true,
			calls: []string{"get", "lock", "reset_state error", "unlock"}, status: "succeeded", dest: other, message: "was error; evacuated, set back to error",
		},
		{
			name: "moved and all done", server: wasakari.Server{ID: "a", VMState: "error", Host: other}, note: "was error", ongoing: true,
			calls: []string{"get", "lock", "unlock"}, status: "succeeded", dest: other, message: "was error; evacuated",
		},
		{
			name: "in error on its new host", server: vm("a", "error"),
			outcome: map[string]wasakari.NovaServerWaitAnswer{
				"moved a": {Outcome: "reached", Server: wasakari.Server{ID: "a", VMState: "error", Host: other, Fault: &wasakari.Fault{Message: "disk gone"}}},
			},
			calls: []string{"lock", "evacuate", "wait moved", "unlock"}, status: "failed", dest: other, message: "was error; evacuated, now in error: disk gone",
		},
		{
			name: "moved into error", server: wasakari.Server{ID: "a", VMState: "error", Host: other, Fault: &wasakari.Fault{Message: "disk gone"}}, note: "was active", ongoing: true,
			calls: []string{"get", "lock", "unlock"}, status: "failed", dest: other, message: "was active; evacuated, now in error: disk gone",
		},
		{
			name: "unreadable in a later round", server: wasakari.Server{ID: "a", VMState: "error", Host: other}, fault: map[string]error{"nova.server_get a": nova},
			note: "was paused", calls: []string{"get"}, status: "failed", message: "was paused; 500 The server has either erred or is incapable (req-17)",
		},
		{
			name: "moved after the limit of an earlier round", server: wasakari.Server{ID: "a", VMState: "active", Host: other}, note: "was active",
			calls: []string{"get", "lock", "unlock"}, status: "succeeded", dest: other, message: "was active; evacuated",
		},
		{
			name: "left in error by an earlier round", server: vm("a", "error"), note: "was active",
			calls: []string{"lock", "evacuate", "wait moved", "unlock"}, status: "succeeded", dest: other, message: "was active; evacuated",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			servers := []wasakari.Server{vm("b", "active")}
			if !tt.absent {
				servers = append(servers, tt.server)
			}
			c := newCloud(servers...).pending("a", "b")
			c.faults, c.outcomes, c.read = tt.fault, tt.outcome, tt.read
			c.vmoves[0].Message = tt.note
			c.unhosted, c.down = tt.unhosted, tt.down
			if tt.target != "" {
				c.moves = []wasakari.Migration{{ID: 2, DestCompute: tt.target}, {ID: 1, DestCompute: spare}}
			}
			if tt.ongoing {
				c.vmoves[0].Status = "ongoing"
				if tt.server.Locked {
					c.lockOwner["a"] = "run"
				}
			}
			got := run(t, c, evacuateTask, tt.set)
			if tt.status == "failed" {
				check(t, got, wasakaritest.Failed, "Failed to evacuate instances 'a' from host 'compute-1'")
			} else {
				check(t, got, wasakaritest.Succeeded, "")
			}
			equal(t, "calls", c.of("a"), tt.calls)
			v := c.vmove(t, "a")
			if v.Status != tt.status || v.Message != tt.message || v.DestHost != tt.dest {
				t.Errorf("vmove %s to %q: %q\nwant %s to %q: %q", v.Status, v.DestHost, v.Message, tt.status, tt.dest, tt.message)
			}
			if b := c.vmove(t, "b"); b.Status != "succeeded" {
				t.Errorf("the other server: %+v", b)
			}
		})
	}
}

func TestEvacuateMessages(t *testing.T) {
	c := newCloud(vm("b", "active"), vm("a", "active")).pending("b", "a")
	check(t, run(t, c, evacuateTask, opts{"DEFAULT.host_failure_recovery_threads": 1}), wasakaritest.Succeeded, "",
		step{0, "Start evacuation of instances from failed host 'compute-1', instance uuids are: 'b,a'"},
		step{300, "Evacuation of instance started: 'b'"},
		step{500, "Evacuation of instance ended: 'b' succeeded (1 of 2)"},
		step{500, "Evacuation of instance started: 'a'"},
		step{700, "Evacuation of instance ended: 'a' succeeded (2 of 2)"},
		step{700, "Successfully evacuate instances 'a,b' from host 'compute-1'"},
		step{1000, "Evacuation process completed!"})
	if n := c.count("nova.server_list"); n != 1 {
		t.Errorf("%d lists of servers, want 1", n)
	}
}

func TestEvacuateFailureMessages(t *testing.T) {
	c := newCloud(vm("a", "active"), vm("b", "active"), vm("c", "building")).pending("a", "b", "c")
	c.faults["nova.server_evacuate a"] = refuse("forbidden", "no", 403)
	got := run(t, c, evacuateTask, opts{"DEFAULT.host_failure_recovery_threads": 1})
	check(t, got, wasakaritest.Failed, "Failed to evacuate instances 'a' from host 'compute-1'")
	want := []step{
		{700, "Successfully evacuate instances 'b' from host 'compute-1'"},
		{700, "Failed to evacuate instances 'a' from host 'compute-1'"},
	}
	if tail := got.progress[len(got.progress)-2:]; !slices.Equal(tail, want) {
		t.Errorf("progress ends %v, want %v", tail, want)
	}
}

// A server counts by its latest attempt; what earlier rounds left is not done
// again.
func TestEvacuateJudgesByTheLatestAttempt(t *testing.T) {
	c := newCloud(vm("a", "active"), wasakari.Server{ID: "b", VMState: "active", Host: other})
	c.vmoves = []wasakari.VMove{
		{InstanceUUID: "a", Status: "failed", Attempt: 1, Message: "was active; No valid host was found."},
		{InstanceUUID: "b", Status: "succeeded", Attempt: 1},
		{InstanceUUID: "a", Status: "pending", Attempt: 2, Message: "was active"},
	}
	c.round = 2
	check(t, run(t, c, evacuateTask, opts{}), wasakaritest.Succeeded, "")
	if calls := c.of("b"); len(calls) != 0 {
		t.Errorf("calls about the server that had moved: %q", calls)
	}
	if got := []string{c.vmoves[0].Status, c.vmoves[1].Status, c.vmoves[2].Status}; !slices.Equal(got, []string{"failed", "succeeded", "succeeded"}) {
		t.Errorf("vmoves %q", got)
	}
}

// The servers are begun in the order of their vmoves, and just as many are in
// flight as host_failure_recovery_threads says.
func TestEvacuateManyAtATime(t *testing.T) {
	const n, threads = 12, 4
	var servers []wasakari.Server
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("s%02d", i))
		servers = append(servers, vm(ids[i], "active"))
	}
	slices.Reverse(servers) // Nova's order is not ours
	c := newCloud(servers...).pending(ids...)

	var mu sync.Mutex
	flying, most, waiting := 0, 0, 0
	release := make(chan struct{})
	var order []string
	c.onCall = func(call string) {
		op, id, _ := strings.Cut(call, " ")
		mu.Lock()
		switch op {
		case "nova.server_lock":
			order = append(order, id)
			flying++
			most = max(most, flying)
		case "nova.server_unlock":
			flying--
		case "nova.server_wait":
			// Nobody gets on before as many as allowed are in flight.
			waiting++
			if waiting == threads {
				close(release)
			}
		}
		mu.Unlock()
		if op == "nova.server_wait" {
			<-release
		}
	}
	check(t, run(t, c, evacuateTask, opts{"DEFAULT.host_failure_recovery_threads": threads}), wasakaritest.Succeeded, "")
	if most != threads {
		t.Errorf("%d in flight, want %d", most, threads)
	}
	if first := slices.Sorted(slices.Values(order[:threads])); !slices.Equal(first, ids[:threads]) {
		t.Errorf("first were %q, want %q", first, ids[:threads])
	}
	if n := c.count("nova.server_evacuate"); n != len(ids) {
		t.Errorf("%d evacuations, want %d", n, len(ids))
	}
}

// What Nova refuses because it is asked too often is asked again, for a while.
func TestEvacuateTooOften(t *testing.T) {
	for _, option := range []any{3, "auto"} {
		c := newCloud(vm("a", "active"), vm("b", "active")).pending("a", "b")
		c.faults["nova.server_evacuate a"] = refuse("quota", "Slow down.", 429)
		got := run(t, c, evacuateTask, opts{"DEFAULT.host_failure_recovery_threads": option})
		check(t, got, wasakaritest.Failed, "Failed to evacuate instances 'a' from host 'compute-1'")
		if v := c.vmove(t, "a"); v.Status != "failed" || v.Message != "was active; 429 Slow down. (req-17)" {
			t.Errorf("vmove %+v", v)
		}
		if v := c.vmove(t, "b"); v.Status != "succeeded" {
			t.Errorf("vmove %+v", v)
		}
		// Pauses of 1, 2, 4 and 8 s; another would make them more than 30 s.
		if evacuations, pauses := c.count("nova.server_evacuate a"), c.count("task.sleep"); evacuations != 5 || pauses != 4 {
			t.Errorf("%v: %d requests, %d pauses, want 5, 4", option, evacuations, pauses)
		}
		fell := slices.ContainsFunc(got.logs, func(l string) bool {
			return strings.HasPrefix(l, "info evacuating 1 at once instead of 3: 429 Slow down.")
		})
		if fell != (option == "auto") {
			t.Errorf("%v: told that it fell: %v; %q", option, fell, got.logs)
		}
	}
}

// A number that is no number was refused before; the task does not guess.
func TestEvacuateBadThreads(t *testing.T) {
	c := newCloud(vm("a", "active")).pending("a")
	got := run(t, c, evacuateTask, opts{"DEFAULT.host_failure_recovery_threads": "many"})
	check(t, got, wasakaritest.Failed, `[DEFAULT] host_failure_recovery_threads: "many" is neither auto nor a number from 1`)
	equal(t, "calls about the server", c.of("a"), nil)
}

func TestEvacuateHostStillUp(t *testing.T) {
	c := newCloud(vm("a", "active"), vm("b", "paused")).pending("a", "b")
	c.vmoves[1].Message = "was paused"
	c.dead = false
	const reason = "Nova still sees compute-1 up; is it fenced?"
	check(t, run(t, c, evacuateTask, opts{}), wasakaritest.Failed, reason)
	if a, b := c.vmove(t, "a"), c.vmove(t, "b"); a.Status != "failed" || a.Message != reason || b.Status != "failed" || b.Message != "was paused; "+reason {
		t.Errorf("vmoves %+v %+v", a, b)
	}
	if n := c.count("nova.server"); n != 0 {
		t.Errorf("%d calls about servers, want none", n)
	}
}

func TestEvacuateRefused(t *testing.T) {
	tests := []struct {
		name   string
		set    opts
		reason string
	}{
		{"no fence proof", opts{"host_failure.require_fence_proof": true}, "[host_failure] require_fence_proof is set, and no task proved that compute-1 is off"},
		{"fence proof", opts{"host_failure.require_fence_proof": true, "fence_proof": map[string]any{"host": failed}}, ""},
		{"reserved host is the failed one", opts{"reserved_host": failed}, "reserved host compute-1 is the failed host itself"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud(vm("a", "paused")).pending("a")
			got := run(t, c, evacuateTask, tt.set)
			if tt.reason == "" {
				check(t, got, wasakaritest.Succeeded, "")
				return
			}
			check(t, got, wasakaritest.Failed, tt.reason)
			equal(t, "calls about the server", c.of("a"), nil)
			if v := c.vmove(t, "a"); v.Status != "failed" || v.Message != tt.reason {
				t.Errorf("vmove %+v", v)
			}
		})
	}
}

func TestEvacuateCannotList(t *testing.T) {
	c := newCloud(vm("a", "active")).pending("a")
	c.faults["nova.server_list compute-1"] = refuse("unavailable", "Service Unavailable", 503)
	const reason = "list servers of host compute-1: 503 Service Unavailable (req-17)"
	check(t, run(t, c, evacuateTask, opts{}), wasakaritest.Failed, reason)
	if a := c.vmove(t, "a"); a.Status != "failed" || a.Message != reason {
		t.Errorf("vmove %+v", a)
	}
}

// An interrupted task leaves its records to the next attempt.
func TestEvacuateCanceled(t *testing.T) {
	c := newCloud(vm("a", "active"), vm("b", "active")).pending("a", "b")
	c.faults["nova.server_wait a moved"] = refuse("canceled", "interrupted", 0)
	got := run(t, c, evacuateTask, opts{"DEFAULT.host_failure_recovery_threads": 1})
	if got.outcome != wasakaritest.Failed {
		t.Errorf("ended %s, want %s", got.outcome, wasakaritest.Failed)
	}
	if a, b := c.vmove(t, "a"), c.vmove(t, "b"); a.Status != "ongoing" || a.Message != "was active" || b.Status != "pending" {
		t.Errorf("vmoves %+v %+v", a, b)
	}
}

func TestEvacuateCanceledBeforeItBegan(t *testing.T) {
	for _, call := range []string{"nova.service_wait compute-1 down", "nova.server_get a"} {
		c := newCloud(wasakari.Server{ID: "a", VMState: "active", Host: other}).pending("a")
		c.faults[call] = refuse("canceled", "interrupted", 0)
		if got := run(t, c, evacuateTask, nil); got.outcome != wasakaritest.Failed {
			t.Errorf("%s: ended %s, want %s", call, got.outcome, wasakaritest.Failed)
		}
		if a := c.vmove(t, "a"); a.Status != "pending" {
			t.Errorf("%s: vmove %+v", call, a)
		}
	}
}

func TestEvacuateNothingPending(t *testing.T) {
	c := newCloud()
	got := run(t, c, evacuateTask, opts{"reserved_host": spare})
	check(t, got, wasakaritest.Succeeded, "",
		step{0, "Start evacuation of instances from failed host 'compute-1', instance uuids are: ''"},
		step{1000, "Evacuation process completed!"})
	equal(t, "logs", got.logs, []string{"warn no server of compute-1 was chosen for evacuation: no task before this one made a vmove"})
	equal(t, "calls", c.calls, []string{"ha.vmove_list", "ha.vmove_list"})
}

func TestEvacuateReservedHost(t *testing.T) {
	rack := func(id int64, name string, hosts ...string) wasakari.Aggregate {
		return wasakari.Aggregate{ID: id, Name: name, Hosts: hosts}
	}
	tests := []struct {
		name     string
		add      bool
		aggs     []wasakari.Aggregate
		away     bool // the server has moved already
		fault    map[string]error
		calls    []string // about the reserved host, and lists of aggregates
		progress []step
		reason   string
	}{
		{
			name: "plain", aggs: []wasakari.Aggregate{rack(1, "rack", failed)},
			calls: []string{"nova.service_enable compute-4"}, progress: []step{{100, "Enabling reserved host: 'compute-4'"}},
		},
		{
			name: "every aggregate of the failed host", add: true,
			aggs: []wasakari.Aggregate{rack(1, "rack", failed), rack(2, "ssd", other, failed), rack(3, "else", other), rack(4, "here", failed, spare)},
			calls: []string{
				"nova.aggregate_list compute-1", "nova.aggregate_add_host compute-4", "nova.aggregate_add_host compute-4", "nova.service_enable compute-4",
			},
			progress: []step{
				{100, "Enabling reserved host: 'compute-4'"},
				{200, "Add host compute-4 to aggregate rack"},
				{300, "Added host compute-4 to aggregate rack"},
				{200, "Add host compute-4 to aggregate ssd"},
				{300, "Added host compute-4 to aggregate ssd"},
				{300, "Host 'compute-4' already has been added to aggregate 'here'."},
			},
		},
		{
			name: "in the aggregate meanwhile", add: true, aggs: []wasakari.Aggregate{rack(1, "rack", failed)},
			fault: map[string]error{"nova.aggregate_add_host compute-4": refuse("conflict", "already there", 409)},
			calls: []string{"nova.aggregate_list compute-1", "nova.aggregate_add_host compute-4", "nova.service_enable compute-4"},
			progress: []step{
				{100, "Enabling reserved host: 'compute-4'"},
				{200, "Add host compute-4 to aggregate rack"},
				{300, "Host 'compute-4' already has been added to aggregate 'rack'."},
			},
		},
		{
			name: "aggregate refused", add: true, aggs: []wasakari.Aggregate{rack(1, "rack", failed)},
			fault:  map[string]error{"nova.aggregate_add_host compute-4": refuse("forbidden", "Policy", 403)},
			calls:  []string{"nova.aggregate_list compute-1", "nova.aggregate_add_host compute-4"},
			reason: "add host compute-4 to aggregate rack: 403 Policy (req-17)",
		},
		{
			name: "aggregates not listed", add: true,
			fault: map[string]error{"nova.aggregate_list compute-1": refuse("forbidden", "Policy", 403)},
			calls: []string{"nova.aggregate_list compute-1"}, reason: "list aggregates: 403 Policy (req-17)",
		},
		{
			name:  "not enabled",
			fault: map[string]error{"nova.service_enable compute-4": refuse("conflict", "marked by another run", 0)},
			calls: []string{"nova.service_enable compute-4"}, reason: "enable reserved host compute-4: marked by another run",
		},
		{
			name:  "no such service",
			fault: map[string]error{"nova.service_enable compute-4": refuse("not_found", "none", 0)},
			calls: []string{"nova.service_enable compute-4"}, reason: "no service nova-compute on host 'compute-4' found in Nova",
		},
		{name: "nothing left to move", away: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := vm("a", "active")
			if tt.away {
				s.Host = other
			}
			c := newCloud(s).pending("a")
			if tt.away {
				c.vmoves[0].Message = "was active"
			}
			c.aggs, c.faults = tt.aggs, tt.fault
			got := run(t, c, evacuateTask, opts{"reserved_host": spare, "host_failure.add_reserved_host_to_aggregate": tt.add})
			want := wasakaritest.Succeeded
			if tt.reason != "" {
				want = wasakaritest.Failed
				if v := c.vmove(t, "a"); v.Status != "failed" || v.Message != tt.reason {
					t.Errorf("vmove %+v", v)
				}
			}
			check(t, got, want, tt.reason)
			calls := slices.DeleteFunc(slices.Clone(c.calls), func(call string) bool {
				return !strings.HasPrefix(call, "nova.aggregate") && !strings.HasPrefix(call, "nova.service_enable")
			})
			equal(t, "calls", calls, tt.calls)
			if tt.progress != nil && !slices.Equal(got.progress[1:1+len(tt.progress)], tt.progress) {
				t.Errorf("progress %v, want %v", got.progress, tt.progress)
			}
			if tt.reason == "" && !tt.away {
				equal(t, "calls about the server", c.of("a"), []string{"lock", "evacuate compute-4", "wait moved", "unlock"})
			}
		})
	}
}
