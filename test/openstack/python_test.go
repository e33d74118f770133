//go:build e2e

package openstack_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPython: the guide's library as classes of Masakari's in Python, built from
// their sources as they are, in the flow of the guide.
func TestPython(t *testing.T) {
	l := scenario(t)
	before := l.boot(t, fixture{name: "web", count: 3, tagged: true}, fixture{name: "db", state: "stopped"})
	w := l.newPlace(t, nil)
	tasks := filepath.Join(w.dir, "tasks")
	if err := os.Mkdir(tasks, 0o700); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), filepath.Join(l.tools, "wasakari"), "task", "build", "../../tasks-examples/guide-library/python",
		"-o", filepath.Join(tasks, "custom_pre_task.wasm"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	from := l.logSize(t)
	l.must(t, "daemon", "kill", failed)
	r := l.run(t, w, "host-auto", "--config-file", "../../tasks-examples/guide-library/custom-recovery-methods.conf", "--task-dir", tasks, "--input", "host_name="+failed)
	ended(t, r, 0, "finished")
	l.check(t, r, from, before, join(all(before, "web-", moved("active", "active")), map[string]want{"db": moved("stopped", "stopped")}))
	var ticket struct{ ID, Host string }
	if err := json.Unmarshal(r.KV["recovery_ticket"], &ticket); err != nil || ticket.ID == "" || ticket.Host != failed {
		t.Errorf("recovery_ticket = %s (%v), want what custom_pre_task put", r.KV["recovery_ticket"], err)
	}
}
