package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/recovery"
)

// processConf runs a task that succeeds, a bad one and one that must not run.
const processConf = `[taskflow_driver_recovery_flows]
process_failure_recovery_tasks = pre:['first','bad'],main:['later'],post:[]

[grants]
acme = nova.server_list
`

// TestFailures: whatever a task does, it fails with a reason that says what it
// was, the tasks after it do not run, and the process lives on: all of this
// happens in one.
func TestFailures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		guest string
		task  abi.ManifestTask
		args  []string
		want  string // of the message, a regular expression
	}{
		{name: "unreachable", guest: "unreachable", want: `^unreachable: the guest gave up, .*; in \S+ < \S+ < run`},
		{name: "stack overflow", guest: "recursion", want: `^stack overflow; stack limit of 1 MiB reached: the guest called too deep`},
		{
			name: "out of memory", guest: "memory_abort", task: abi.ManifestTask{Limits: abi.ManifestLimits{MemoryMiB: 4}},
			want: `memory limit of 4 MiB reached: .*\(option \[wasakari\] memory_mib, or limits\.memory_mib in the manifest\)`,
		},
		{
			name: "memory over the ceiling", guest: "memory_abort", task: abi.ManifestTask{Limits: abi.ManifestLimits{MemoryMiB: 64}},
			args: []string{"--set", "wasakari.memory_mib_max=2", "--set", "wasakari.memory_mib=1"}, want: `memory limit of 2 MiB reached`,
		},
		{name: "memory read outside", guest: "out_of_bounds", want: `^out of bounds memory access: the guest read or wrote outside its memory`},
		{name: "pointer outside memory", guest: "outside_memory", want: `^call: request pointer 0xfffa \+ 100 bytes is outside memory`},
		{
			name: "request that is not JSON", guest: "not_json", task: abi.ManifestTask{Uses: []string{"nova.server_list"}},
			want: `^the task failed and gave no reason; the last op that was refused: nova\.server_list: the document is not JSON`,
		},
		{name: "op that it does not use", guest: "not_json", want: `the last op that was refused: nova\.server_list: not among the uses of task bad`},
		{
			name: "endless loop", guest: "loop", task: abi.ManifestTask{Limits: abi.ManifestLimits{Timeout: "50ms"}},
			want: `^stopped: time limit of 50ms reached \(option \[wasakari\] task_timeout, or limits\.timeout in the manifest\)`,
		},
		{name: "endless loop without a limit of its own", guest: "loop", args: []string{"--set", "wasakari.task_timeout=1"}, want: `^stopped: time limit of 1s reached`},
		{name: "proc_exit", guest: "proc_exit", want: `^the guest exited with code 2 instead of returning; it wrote: `},
		{name: "unknown outcome", guest: "exit_code", want: `^run returned 7; an outcome is 0 \(succeeded\)`},
		{name: "output missing", guest: "noop", task: abi.ManifestTask{Provides: []string{"ticket_id"}}, want: `^its manifest provides "ticket_id", which it did not put`},
		{name: "ticket left open", guest: "open_ticket", want: `^tickets left open: task\.sleep \(ticket 1\)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim, environ := startCloud(t, quickCloud, novasim.Options{})
			tt.task.Key = "bad"
			p := newPlace(t, map[string]string{
				"conf":             processConf,
				"tasks/first.wasm": string(packed(t, guest("noop"), abi.ManifestTask{Key: "first"}, abi.ManifestTask{Key: "later"})),
				"tasks/bad.wasm":   string(packed(t, guest(tt.guest), tt.task)),
			})
			p.environ = environ
			args := strings.Fields("run process --config-file DIR/conf --task-dir DIR/tasks --output json --input process_name=nova-compute --input host_name=compute-2")
			r := p.run(t.Context(), t, append(args, tt.args...)...)
			doc := documentOf(t, r)
			if r.code != exitFailed || doc.Status != "failed" {
				t.Errorf("exit code %d, status %s, want %d, failed\n%s", r.code, doc.Status, exitFailed, r.stderr)
			}
			var ran []string
			for _, task := range doc.Tasks {
				ran = append(ran, task.Key+" "+string(task.Status))
			}
			if want := []string{"first succeeded", "bad failed"}; !slices.Equal(ran, want) {
				t.Fatalf("tasks = %q, want %q", ran, want)
			}
			message := doc.Tasks[1].Message
			if !regexp.MustCompile(tt.want).MatchString(message) {
				t.Errorf("message of the task = %q, want %s", message, tt.want)
			}
			if !strings.Contains(doc.Message, message) || !strings.Contains(doc.Message, "bad") {
				t.Errorf("message of the run = %q, want the task and its reason in it", doc.Message)
			}
			if list := changes(sim); len(list) > 0 {
				t.Errorf("changes of the cloud = %q, want none", list)
			}
			if runs := p.runs(t); len(runs) != 1 || !runs[0].Finished || runs[0].Status != recovery.StatusFailed {
				t.Errorf("journal = %+v, want one run that failed", runs)
			}
		})
	}
}
