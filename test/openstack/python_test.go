//go:build e2e

package openstack_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

const (
	pythonTasks  = "../../cmd/wasakari/testdata/python/" // in the style of Masakari's own
	pythonSample = "../../tasks-examples/no_op/python/noop.py"
)

// build makes a module of a source for the runs of a place, in which it is called
// by the key of a task.
func (l *lab) build(t *testing.T, w place, source, key string) (folder string) {
	t.Helper()
	folder = filepath.Join(w.dir, "tasks")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	l.tool(t, "", "task", "build", source, "-o", filepath.Join(folder, key+".wasm"))
	return folder
}

// TestPython: classes of Masakari's in Python, built from their sources as they
// are: the guide's library in the guide's flow, tasks in the style of the standard
// ones and the guide's sample in the flow of a host; TestShort has that of a server.
func TestPython(t *testing.T) {
	t.Run("the library of the guide", func(t *testing.T) {
		l := scenario(t)
		before := l.boot(t, fixture{name: "web", count: 3, tagged: true}, fixture{name: "db", state: "stopped"})
		w := l.newPlace(t, nil)
		folder := l.build(t, w, "../../tasks-examples/guide-library/python", "custom_pre_task")
		from := l.logSize(t)
		l.must(t, "daemon", "kill", failed)
		r := l.run(t, w, "host-auto", "--config-file", "../../tasks-examples/guide-library/custom-recovery-methods.conf", "--task-dir", folder, "--input", "host_name="+failed)
		ended(t, r, 0, "finished")
		l.check(t, r, from, before, join(all(before, "web-", moved("active", "active")), map[string]want{"db": moved("stopped", "stopped")}))
		var ticket struct{ ID, Host string }
		if err := json.Unmarshal(r.KV["recovery_ticket"], &ticket); err != nil || ticket.ID == "" || ticket.Host != failed {
			t.Errorf("recovery_ticket = %s (%v), want what custom_pre_task put", r.KV["recovery_ticket"], err)
		}
	})
	t.Run("the flow of a host", func(t *testing.T) {
		l := scenario(t)
		before := l.boot(t,
			fixture{name: "web", count: 2, tagged: true}, fixture{name: "db", state: "stopped"}, fixture{name: "broken", state: "error"},
			fixture{name: "frozen", state: "paused"}, fixture{name: "pinned", state: "locked"}, fixture{name: "elsewhere", host: other},
		)
		w := l.newPlace(t, nil)
		l.build(t, w, pythonSample, "noop")
		folder := l.build(t, w, pythonTasks+"host_tasks.py", "py_disable_task")
		l.fail(t, failed)
		from := l.logSize(t)
		r := l.run(t, w, "host-auto", "--config-file", pythonTasks+"host_tasks.conf", "--task-dir", folder, "--input", "host_name="+failed, "--set", "python_hosts.limit=240")
		ended(t, r, 0, "finished")
		tasks(t, r, "py_disable_task", "noop", "py_prepare_task", "py_evacuate_task", "py_confirm_moves_task")
		pinned := moved("active", "active")
		pinned.locked, pinned.posts = true, map[string]int{"evacuate": 1}
		wants := join(all(before, "web-", moved("active", "active")), map[string]want{
			"db": moved("stopped", "stopped"), "broken": inError(), "frozen": stopped("paused"), "pinned": pinned,
		})
		for name, w := range wants {
			w.says = "" // the standard tasks' own words
			wants[name] = w
		}
		l.check(t, r, from, before, wants)
		l.disabled(t, r.RunID)
	})
}

// pythonInstanceFlow is what CI runs of the tasks in Python.
func pythonInstanceFlow(t *testing.T) {
	l := scenario(t)
	before := l.boot(t, fixture{name: "web", tagged: true})
	w := l.newPlace(t, nil)
	l.build(t, w, pythonSample, "noop")
	folder := l.build(t, w, pythonTasks+"instance_tasks.py", "py_stop_task")
	flow := filepath.Join(w.dir, "flow.conf")
	if err := os.WriteFile(flow, []byte(`[taskflow_driver_recovery_flows]
instance_failure_recovery_tasks = pre:['noop', 'py_stop_task'],main:['py_start_task'],post:['py_confirm_task']
[grants]
instance_tasks = kv.get, kv.put, options:python_tasks, nova.server_get, nova.server_stop, nova.server_start
[python_tasks]
limit = 240
`), 0o600); err != nil {
		t.Fatal(err)
	}
	from := l.logSize(t)
	r := l.run(t, w, "instance", "--config-file", flow, "--task-dir", folder, "--input", "instance_uuid="+before["web"].ID)
	ended(t, r, 0, "finished")
	tasks(t, r, "noop", "py_stop_task", "py_start_task", "py_confirm_task")
	l.check(t, r, from, before, map[string]want{"web": {vm: "active", host: "stays", posts: map[string]int{"stop": 1, "start": 1}}})
}
