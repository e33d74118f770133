package main_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	wasakari "github.com/wasakari/wasakari/sdk/go"
	"github.com/wasakari/wasakari/sdk/go/wasakaritest"
	_ "github.com/wasakari/wasakari/tasks-examples/guide-library/go" // registers the tasks
)

type ticket struct{ ID, Queue, Host string }

// fake has two servers on the failed host, and their vmoves.
func fake(options map[string]any) *wasakaritest.Fake {
	f := &wasakaritest.Fake{
		Inputs:  map[string]any{"host_name": "compute-1"},
		Options: map[string]map[string]any{"guide_library": {"ticket_queue": "ops", "note_prefix": "note", "max_servers": 0}},
	}
	maps.Copy(f.Options["guide_library"], options)
	wasakaritest.Answer(f, "nova.server_list", func(_ context.Context, r wasakari.NovaServerListRequest) (wasakari.NovaServerListAnswer, error) {
		if r.Host != "compute-1" || !slices.Equal(r.Fields, []string{"id"}) {
			return wasakari.NovaServerListAnswer{}, wasakaritest.Error("invalid", "asked for %+v", r)
		}
		return wasakari.NovaServerListAnswer{Servers: []wasakari.Server{{ID: "a"}, {ID: "b"}}}, nil
	})
	return f
}

func vmoves(f *wasakaritest.Fake, statuses ...string) {
	wasakaritest.Answer(f, "ha.vmove_list", func(_ context.Context, r wasakari.HAVMoveListRequest) (wasakari.HAVMoveListAnswer, error) {
		ans := wasakari.HAVMoveListAnswer{VMoves: []wasakari.VMove{}}
		if !r.Latest {
			return ans, wasakaritest.Error("invalid", "want the latest attempts")
		}
		for _, s := range statuses {
			ans.VMoves = append(ans.VMoves, wasakari.VMove{InstanceUUID: s, Status: s})
		}
		return ans, nil
	})
}

// open runs the first task and hands its ticket to the next ones.
func open(t *testing.T, f *wasakaritest.Fake) ticket {
	t.Helper()
	r := wasakaritest.Run(t, "custom_pre_task", f)
	if r.Outcome != wasakaritest.Succeeded {
		t.Fatalf("custom_pre_task ended %s %q", r.Outcome, r.Reason)
	}
	var tk ticket
	r.Value(t, "recovery_ticket", &tk)
	f.Inputs = map[string]any{"recovery_ticket": r.Values["recovery_ticket"]}
	return tk
}

func TestTicketIsTheSameWhenRunAgain(t *testing.T) {
	f := fake(map[string]any{"ticket_queue": "night-shift"})
	first := open(t, f)
	if first.Queue != "night-shift" || first.Host != "compute-1" || len(first.ID) != len("night-shift-00000000") {
		t.Errorf("ticket %+v", first)
	}
	f.Inputs, f.Attempt = map[string]any{"host_name": "compute-1"}, 2
	if again := open(t, f); again != first {
		t.Errorf("ticket of the second attempt %+v, want %+v", again, first)
	}
}

func TestTasksShareTheTicket(t *testing.T) {
	f := fake(map[string]any{"note_prefix": "acme"})
	tk := open(t, f)
	vmoves(f, "succeeded", "ignored", "succeeded", "failed")
	tests := []struct{ key, log, progress string }{
		{"custom_main_task", "2 servers on host compute-1", "Counted 2 servers for ticket " + tk.ID},
		{"custom_post_task", "2 succeeded, 1 ignored, 1 failed", "Closed ticket " + tk.ID + ": 2 succeeded, 1 ignored, 1 failed"},
	}
	for _, tt := range tests {
		r := wasakaritest.Run(t, tt.key, f)
		if r.Outcome != wasakaritest.Succeeded {
			t.Errorf("%s ended %s %q", tt.key, r.Outcome, r.Reason)
		}
		if want := []wasakaritest.Log{{Level: "info", Message: "acme [" + tk.ID + "] " + tt.log}}; !slices.Equal(r.Logs, want) {
			t.Errorf("%s logged %v, want %v", tt.key, r.Logs, want)
		}
		if want := []wasakaritest.Progress{{Permille: 1000, Message: tt.progress}}; !slices.Equal(r.Progress, want) {
			t.Errorf("%s told %v, want %v", tt.key, r.Progress, want)
		}
	}
}

func TestTooManyServers(t *testing.T) {
	f := fake(map[string]any{"max_servers": 1})
	tk := open(t, f)
	r := wasakaritest.Run(t, "custom_main_task", f)
	want := "ticket " + tk.ID + ": 2 servers on host compute-1 are more than [guide_library] max_servers = 1"
	if r.Outcome != wasakaritest.Failed || r.Reason != want {
		t.Errorf("ended %s %q, want %s %q", r.Outcome, r.Reason, wasakaritest.Failed, want)
	}
}

func TestNothingMoved(t *testing.T) {
	f := fake(nil)
	tk := open(t, f)
	vmoves(f)
	r := wasakaritest.Run(t, "custom_post_task", f)
	if want := []wasakaritest.Progress{{Permille: 1000, Message: "Closed ticket " + tk.ID + ": no servers to move"}}; !slices.Equal(r.Progress, want) {
		t.Errorf("told %v, want %v", r.Progress, want)
	}
}

func TestNoTicket(t *testing.T) {
	for _, key := range []string{"custom_main_task", "custom_post_task"} {
		if r := wasakaritest.Run(t, key, fake(nil)); r.Outcome != wasakaritest.Failed {
			t.Errorf("%s without a ticket ended %s, want %s", key, r.Outcome, wasakaritest.Failed)
		}
	}
}
