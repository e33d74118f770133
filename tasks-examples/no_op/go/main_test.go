package main_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/sdk/go/wasakaritest"
	_ "github.com/wasakari/wasakari/tasks-examples/no_op/go" // registers the task
)

// The smallest task must stay small.
func TestAtMost15Lines(t *testing.T) {
	text, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > 15 {
		t.Errorf("main.go has %d lines, want at most 15", n)
	}
}

// A task that any flow may name gets a host in one flow, a server in another.
func TestRun(t *testing.T) {
	for _, tt := range []struct {
		inputs map[string]any
		want   string
	}{
		{map[string]any{"host_name": "compute-1", "process_name": "nova-compute"}, "nothing to do for compute-1"},
		{map[string]any{"instance_uuid": "9d3c5a7e-0001"}, "nothing to do for 9d3c5a7e-0001"},
		{nil, "nothing to do for this flow"},
	} {
		r := wasakaritest.Run(t, "my_noop_task", &wasakaritest.Fake{Inputs: tt.inputs})
		if r.Outcome != wasakaritest.Succeeded {
			t.Errorf("%v: ended %s %q, want %s", tt.inputs, r.Outcome, r.Reason, wasakaritest.Succeeded)
		}
		want := []wasakaritest.Log{{Level: "info", Message: tt.want}}
		if !slices.Equal(r.Logs, want) {
			t.Errorf("%v: log %v, want %v", tt.inputs, r.Logs, want)
		}
		if len(r.Calls) != 0 {
			t.Errorf("%v: calls %v, want none", tt.inputs, r.Ops())
		}
	}
}
