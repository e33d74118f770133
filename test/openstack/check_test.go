//go:build e2e

package openstack_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// report is what "wasakari run --output json" prints.
type report struct {
	RunID     string                     `json:"run_id"`
	Status    string                     `json:"status"`
	Message   string                     `json:"message"`
	Tasks     []taskReport               `json:"tasks"`
	VMoves    []vmove                    `json:"vmoves"`
	KV        map[string]json.RawMessage `json:"kv"`
	NovaCalls int                        `json:"nova_calls"`
	Changes   []change                   `json:"changes"` // of a dry run
}

type taskReport struct {
	Key          string `json:"key"`
	Flow         string `json:"flow"`
	Phase        string `json:"phase"`
	Round        int    `json:"round"`
	Attempt      int    `json:"attempt"`
	ReservedHost string `json:"reserved_host"`
	Status       string `json:"status"`
	Message      string `json:"message"`
}

type vmove struct {
	InstanceUUID string `json:"instance_uuid"`
	InstanceName string `json:"instance_name"`
	Status       string `json:"status"`
	SourceHost   string `json:"source_host"`
	DestHost     string `json:"dest_host"`
	Message      string `json:"message"`
}

// decode reads a report: one document and nothing else.
func decode(t *testing.T, text []byte) report {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	var r report
	if err := dec.Decode(&r); err != nil || dec.More() {
		t.Fatalf("standard output is not one document (%v):\n%s", err, text)
	}
	return r
}

// want is what a server is to be after a recovery.
type want struct {
	vm     string // vm_state
	host   string // "away" from the failed host, "stays" where it was, "gone", or a host's name
	vmove  string // its status; empty: it has none
	says   string // is part of the vmove's message
	locked bool   // by somebody else
	// posts are the server actions that the program has to send, by Nova's
	// name for them.
	posts map[string]int
	// late is set where Nova may still be moving the server: it may be anywhere.
	late bool
	// cut is set where Nova's API dies under requests: it may have recorded an
	// action that it then did not do, and what leads to a state is asked for again.
	cut bool
}

// moved is a server that was evacuated and did not need more.
func moved(was, vm string) want {
	return want{
		vm: vm, host: "away", vmove: "succeeded", says: "was " + was + "; ",
		posts: map[string]int{"lock": 1, "evacuate": 1, "unlock": 1},
	}
}

// stopped is one that had to be reset before and powered off after.
func stopped(was string) want {
	return moved(was, "stopped").and("resetState", "stop")
}

// left is one that is not touched, with a vmove that says why.
func left(vm, why string) want { return want{vm: vm, host: "stays", vmove: "ignored", says: why} }

// inError is one that is set back to error.
func inError() want {
	return moved("error", "error").and("stop", "resetState")
}

// and adds actions that the program has to send once more.
func (w want) and(actions ...string) want {
	w.posts = maps.Clone(w.posts)
	for _, a := range actions {
		w.posts[a]++
	}
	return w
}

// on names the host on which it is to be.
func (w want) on(host string) want {
	w.host = host
	return w
}

// ended checks how a process ended.
func ended(t *testing.T, r result, exit int, status string) {
	t.Helper()
	if r.exit != exit || r.Status != status {
		t.Errorf("wasakari: exit %d, status %q (%s), want exit %d, %s\n%s", r.exit, r.Status, r.Message, exit, status, r.transcript())
	}
}

// transcript tells what the report says.
func (r result) transcript() string {
	var b strings.Builder
	for _, k := range r.Tasks {
		fmt.Fprintf(&b, "  %s %s round %d attempt %d %s: %s %s\n", k.Flow, k.Phase, k.Round, k.Attempt, k.Key, k.Status, k.Message)
	}
	for _, v := range r.VMoves {
		fmt.Fprintf(&b, "  vmove %s %s: %s %s -> %s: %s\n", v.InstanceUUID, v.InstanceName, v.Status, v.SourceHost, v.DestHost, v.Message)
	}
	b.WriteString(r.stderr)
	return b.String()
}

// check compares servers, vmoves and Nova's records with what is wanted of
// each server, by its name. Servers that nothing is said of must be as before.
// logFrom is where the request log ended before the program was started.
func (l *lab) check(t *testing.T, r result, logFrom int64, before map[string]server, wants map[string]want) {
	t.Helper()
	now := l.mustServers(t)
	vmoves := map[string]vmove{}
	for _, v := range r.VMoves {
		if _, twice := vmoves[v.InstanceUUID]; twice {
			t.Errorf("server %s has two vmoves", v.InstanceUUID)
		}
		vmoves[v.InstanceUUID] = v
	}
	sent := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		was := before[name]
		w, ok := wants[name]
		if !ok {
			w = want{vm: was.VMState, host: "stays", locked: was.Locked}
		}
		s, there := now[was.ID]
		if !there && w.host != "gone" {
			s, there = l.unlisted(t, was.ID)
		}
		for _, wrong := range w.compare(was, s, there) {
			t.Errorf("%s: %s", name, wrong)
		}
		v := vmoves[was.ID]
		delete(vmoves, was.ID)
		for _, wrong := range w.judge(v, s) {
			t.Errorf("%s: %s", name, wrong)
		}
		if !there {
			continue
		}
		did, err := l.actions(t.Context(), was.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, again := range []string{"lock", "unlock", "resetState"} {
			if w.cut && did[again] == w.posts[again]+1 {
				did[again]-- // the request log has only the one that was answered
			}
		}
		if !maps.Equal(did, w.posts) && len(did)+len(w.posts) > 0 {
			t.Errorf("%s: Nova recorded the program's actions %v, want %v", name, did, w.posts)
		}
		sent[was.ID] = 0
		for _, n := range did {
			sent[was.ID] += n
		}
	}
	for id, v := range vmoves {
		t.Errorf("a vmove of %s (%s), which was not there: %s %s", id, v.InstanceName, v.Status, v.Message)
	}
	l.checkLog(t, logFrom, before, sent)
	if t.Failed() {
		t.Logf("run %s:\n%s", r.RunID, r.transcript())
	}
}

// unlisted reads a server that is in no list.
func (l *lab) unlisted(t *testing.T, id string) (s server, there bool) {
	t.Helper()
	s, err := l.server(t.Context(), id)
	if err != nil && statusOf(err) != http.StatusNotFound {
		t.Fatal(err)
	}
	return s, err == nil
}

// checkLog compares the actions in the lab's request log with what Nova
// recorded.
func (l *lab) checkLog(t *testing.T, from int64, before map[string]server, sent map[string]int) {
	t.Helper()
	names := map[string]string{}
	for name, s := range before {
		names[s.ID] = name
	}
	var wrong []string
	// A line is written just after its answer.
	if err := await(t.Context(), 10*time.Second, "the log", func() (bool, string) {
		logged, err := l.actionsLogged(from)
		if err != nil {
			return false, err.Error()
		}
		wrong = nil
		for id, n := range sent {
			if logged[id] != n {
				wrong = append(wrong, fmt.Sprintf("%s: %d actions of the program in Nova's request log, want %d", names[id], logged[id], n))
			}
		}
		return len(wrong) == 0, ""
	}); err != nil {
		slices.Sort(wrong)
		for _, text := range wrong {
			t.Error(text)
		}
	}
}

// compare says what is wrong with a server.
func (w want) compare(was, s server, there bool) (wrong []string) {
	if w.host == "gone" {
		if there {
			wrong = append(wrong, "it is there: "+s.String())
		}
		return wrong
	}
	if !there {
		return []string{"it is gone"}
	}
	if s.Locked != w.locked {
		wrong = append(wrong, fmt.Sprintf("locked = %v, want %v", s.Locked, w.locked))
	}
	if w.late {
		return wrong
	}
	good := s.Host == w.host
	switch w.host {
	case "away":
		good = s.Host != was.Host && s.Host != "" && s.Host != reserved
	case "stays":
		good = s.Host == was.Host
	}
	if !good {
		wrong = append(wrong, fmt.Sprintf("it is on %s, want %s (it was on %s)", s.Host, w.host, was.Host))
	}
	if s.VMState != w.vm || s.Task != "" && s.Task != was.Task {
		wrong = append(wrong, fmt.Sprintf("it is %s, task %q, want %s, none (%s)", s.VMState, s.Task, w.vm, s.Fault.Message))
	}
	if w.vm == "stopped" && s.Power != 4 {
		wrong = append(wrong, fmt.Sprintf("power_state = %d, want 4", s.Power))
	}
	return wrong
}

// judge says what is wrong with a vmove.
func (w want) judge(v vmove, s server) (wrong []string) {
	if v.Status != w.vmove {
		wrong = append(wrong, fmt.Sprintf("vmove %q (%s), want %q", v.Status, v.Message, w.vmove))
	}
	if !strings.Contains(v.Message, w.says) {
		wrong = append(wrong, fmt.Sprintf("vmove says %q, want %q in it", v.Message, w.says))
	}
	if w.vmove == "" {
		return wrong
	}
	if v.SourceHost != failed {
		wrong = append(wrong, fmt.Sprintf("vmove from %s, want %s", v.SourceHost, failed))
	}
	if v.Status == "succeeded" && v.DestHost != s.Host {
		wrong = append(wrong, fmt.Sprintf("vmove to %s, but the server is on %s", v.DestHost, s.Host))
	}
	return wrong
}

// all wants the same of servers with this beginning of their names.
func all(before map[string]server, prefix string, w want) map[string]want {
	wants := map[string]want{}
	for name := range before {
		if strings.HasPrefix(name, prefix) {
			wants[name] = w
		}
	}
	return wants
}

// join makes one map of several.
func join(maps ...map[string]want) map[string]want {
	out := map[string]want{}
	for _, m := range maps {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// disabled checks the service of the failed host after a recovery.
func (l *lab) disabled(t *testing.T, runID string) {
	t.Helper()
	s := l.service(t, failed)
	if s.Status != "disabled" || !strings.Contains(s.DisabledReason, runID) {
		t.Errorf("nova-compute on %s is %s (%q), want it disabled by run %s", failed, s.Status, s.DisabledReason, runID)
	}
}
