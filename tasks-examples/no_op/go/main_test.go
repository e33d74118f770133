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

func TestRun(t *testing.T) {
	r := wasakaritest.Run(t, "my_noop_task", &wasakaritest.Fake{Inputs: map[string]any{"host_name": "compute-1"}})
	if r.Outcome != wasakaritest.Succeeded {
		t.Errorf("ended %s %q, want %s", r.Outcome, r.Reason, wasakaritest.Succeeded)
	}
	want := []wasakaritest.Log{{Level: "info", Message: "nothing to do on compute-1"}}
	if !slices.Equal(r.Logs, want) {
		t.Errorf("log %v, want %v", r.Logs, want)
	}
	if len(r.Calls) != 0 {
		t.Errorf("calls %v, want none", r.Ops())
	}
}
