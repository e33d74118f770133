//go:build e2e

package openstack_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// tool runs the program as an author does, in whose surroundings there may be a
// clouds.yaml.
func (l *lab) tool(t *testing.T, clouds string, args ...string) (stdout []byte) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(l.tools, "wasakari"), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "XDG_CACHE_HOME=" + filepath.Join(l.tools, "cache")}
	if clouds != "" {
		cmd.Env = append(cmd.Env, "OS_CLIENT_CONFIG_FILE="+clouds)
	}
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("wasakari %s: %v\n%s%s", strings.Join(args, " "), err, &out, &problems)
	}
	return out.Bytes()
}

// TestRecord: tasks are recorded on a real cloud, which does not notice, and what
// was recorded tests them without that cloud.
func TestRecord(t *testing.T) {
	l := scenario(t)
	before := l.boot(t, fixture{name: "web", count: 2, tagged: true})
	one := before["web-1"].ID
	p := newProxy(t)
	w := l.newPlace(t, p)
	const (
		examples = "../../tasks-examples/"
		secret   = "the-token-of-the-ticket-system"
		ticket   = `recovery_ticket={"id": "ops-7", "host": "compute-1"}`
	)
	host := []string{"--input", "host_name=" + failed}
	library := append(host, "--set", "guide_library.ticket_queue=ops")
	tests := []struct {
		name, path string
		args       []string
		outcome    string
		answers    int
		held       []string // changes
	}{
		{"ticket", examples + "ticket/python", append(host, "--set", "ticket.token="+secret), "succeeded", 1, []string{"http.request"}},
		{"ticket", examples + "ticket/javascript", append(host, "--set", "ticket.token="+secret), "succeeded", 1, []string{"http.request"}},
		{"cooldown", examples + "cooldown/python", host, "succeeded", 0, nil},
		{"cooldown", examples + "cooldown/javascript", host, "succeeded", 0, nil},
		{"staged_start", examples + "staged_start/python", host, "succeeded", 6, []string{"nova.server_evacuate", "nova.server_evacuate"}},
		{"staged_start", examples + "staged_start/javascript", host, "succeeded", 6, []string{"nova.server_evacuate", "nova.server_evacuate"}},
		{"custom_pre_task", examples + "guide-library/python", library, "succeeded", 0, nil},
		{"custom_main_task", examples + "guide-library/python", append(library, "--input", ticket), "succeeded", 1, nil},
		{"custom_post_task", examples + "guide-library/python", append(library, "--input", ticket), "succeeded", 1, nil},
		{"custom_main_task", filepath.Join(l.tools, "tasks", "custom_pre_task.wasm"), append(library, "--input", ticket), "succeeded", 1, nil},
		{"py_disable_task", pythonTasks + "host_tasks.py", append(host, "--set", "python_hosts.settle=0"), "succeeded", 1, []string{"nova.service_disable"}},
		{"py_stop_task", pythonTasks + "instance_tasks.py", []string{"--flow", "instance", "--input", "instance_uuid=" + one}, "succeeded", 3, []string{"nova.server_stop"}},
	}
	services, err := l.services(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	from := l.logSize(t)
	scenarios := t.TempDir()
	for i, tt := range tests {
		dir := filepath.Join(scenarios, tt.name, string(rune('a'+i)))
		args := append([]string{"task", "test", tt.path, "--tests", dir, "--record", "--os-cloud", "lab", "--output", "json"}, tt.args...)
		if strings.HasPrefix(tt.name, "custom_") || strings.HasPrefix(tt.name, "py_") {
			args = append(args, "--task", tt.name)
		}
		var doc struct {
			File    string
			Answers int
			Held    []change `json:"held_back"`
			Seen    struct{ Outcome, Reason string }
		}
		if out := l.tool(t, w.cloud, args...); json.Unmarshal(out, &doc) != nil {
			t.Fatalf("%s: no document:\n%s", tt.path, out)
		}
		var held []string
		for _, c := range doc.Held {
			held = append(held, c.Op)
		}
		if doc.Seen.Outcome != tt.outcome || doc.Answers != tt.answers || !reflect.DeepEqual(held, tt.held) {
			t.Errorf("%s of %s: %s (%s), %d answers, held back %q; want %s, %d, %q", tt.name, tt.path, doc.Seen.Outcome, doc.Seen.Reason, doc.Answers, held, tt.outcome, tt.answers, tt.held)
		}
		text, err := os.ReadFile(doc.File)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range append(p.tokens(), secret) {
			if bytes.Contains(text, []byte(s)) {
				t.Errorf("%s: %.20s… is in it:\n%s", doc.File, s, text)
			}
		}
		// Nobody stands at the other end of this one.
		l.tool(t, "", "task", "test", tt.path, "--tests", dir)
	}
	if len(p.tokens()) == 0 {
		t.Error("no request of the program carried a token: it went elsewhere")
	}
	if sent := p.changes(); len(sent) != 0 {
		t.Errorf("the program sent %q", sent)
	}
	if now, err := l.services(t.Context()); err != nil || !reflect.DeepEqual(now, services) {
		t.Errorf("services %v, %v, want them as before: %v", now, err, services)
	}
	l.check(t, result{}, from, before, nil)
}

// tokens lists those that the program sent.
func (p *proxy) tokens() (tokens []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.seen {
		if s.token != "" {
			tokens = append(tokens, s.token)
		}
	}
	return tokens
}
