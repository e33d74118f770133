package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wasakari/wasakari/novasim"
)

// slowCloud is quickCloud with evacuations that take long enough to be in
// flight.
const slowCloud = quickCloud + `
latency:
  evacuation: {spawn: 150ms}
`

// TestInterrupt: Ctrl-C in the middle of the evacuations leaves no lock of
// ours, exits 130 and names the run; --resume brings it to its end, and no
// server is evacuated twice.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	sent := 0
	sim, environ := startCloud(t, slowCloud, novasim.Options{OnRequest: func(_ int, before bool, r *http.Request) {
		if before || r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/action") {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if sent++; sent == 5 { // locks and evacuations of the first servers
			cancel()
		}
	}})
	p := newPlace(t, map[string]string{"conf": ""})
	p.environ = environ
	r := p.run(ctx, t, "run", "host-auto", "--config-file", "DIR/conf", "--input", "host_name=compute-1", "--output", "json",
		"--set", "wasakari.nova_outcome_wait=1", "--set", "host_failure.other_states=skip")
	doc := documentOf(t, r)
	if r.code != exitInterrupted || doc.Status != "interrupted" {
		t.Fatalf("exit code %d, status %s, want %d, interrupted\n%s%s", r.code, doc.Status, exitInterrupted, r.stdout, r.stderr)
	}
	ours := func() (list []string) {
		for _, s := range sim.Servers() {
			if s.Locked != (s.Name == "pinned") {
				list = append(list, s.Name)
			}
		}
		return list
	}
	if list := ours(); len(list) > 0 {
		t.Errorf("servers with a wrong lock: %q", list)
	}
	begun := evacuated(sim)
	if len(begun) == 0 || len(begun) == 8 {
		t.Errorf("%d evacuations before the interruption, want some and not all", len(begun))
	}
	if last := doc.Tasks[len(doc.Tasks)-1]; last.Key != "evacuate_instances_task" || last.Status != "interrupted" {
		t.Errorf("last task %s %s, want evacuate_instances_task interrupted", last.Key, last.Status)
	}

	r = p.run(t.Context(), t, "run", "--resume", doc.RunID, "--output", "json")
	doc = documentOf(t, r)
	if r.code != exitOK || doc.Status != "finished" {
		t.Fatalf("resumed: exit code %d, status %s, want %d, finished\n%s%s", r.code, doc.Status, exitOK, r.stdout, r.stderr)
	}
	for _, s := range sim.Servers() {
		want := 1
		if s.Host == "compute-2" && (s.Name == "other" || s.Name == "frozen") || s.Name == "snapshot" { // --set of the first command holds
			want = 0
		}
		if s.Evacuations != want {
			t.Errorf("server %s on %s: %d evacuations, want %d", s.Name, s.Host, s.Evacuations, want)
		}
	}
	if list := ours(); len(list) > 0 {
		t.Errorf("servers with a wrong lock: %q", list)
	}
	if got := outcomes(doc); got["ignored"] != 1 || got["failed"]+got["pending"]+got["ongoing"] > 0 {
		t.Errorf("servers = %v, want 1 ignored, the others succeeded", got)
	}
	var attempts []int
	for _, task := range doc.Tasks {
		if task.Key == "evacuate_instances_task" {
			attempts = append(attempts, task.Attempt)
		}
	}
	if !slices.Equal(attempts, []int{1, 2}) {
		t.Errorf("attempts of the evacuation = %v, want 1 and 2", attempts)
	}

	r = p.run(t.Context(), t, "run", "--resume", doc.RunID)
	if want := "wasakari: run " + doc.RunID + " ended finished at "; r.code != exitUsage || !strings.HasPrefix(r.stderr, want) {
		t.Errorf("resumed once more: exit code %d, %q, want %d, %q", r.code, r.stderr, exitUsage, want)
	}
}

// TestInterruptBeforeTheRun: an interruption while the cloud is asked for the
// first time starts nothing.
func TestInterruptBeforeTheRun(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, environ := startCloud(t, quickCloud, novasim.Options{OnRequest: func(int, bool, *http.Request) { cancel() }})
	p := newPlace(t, map[string]string{"conf": ""})
	p.environ = environ
	r := p.run(ctx, t, "run", "host-auto", "--config-file", "DIR/conf", "--input", "host_name=compute-1", "--output", "json")
	if r.code != exitInterrupted || r.stdout != "" {
		t.Errorf("exit code %d, standard output %q, want %d and nothing", r.code, r.stdout, exitInterrupted)
	}
	if n := len(p.runs(t)); n != 0 {
		t.Errorf("%d runs in the state folder, want none", n)
	}
}

// TestResumeOfASimulatedRun: its cloud is gone, which the message says.
func TestResumeOfASimulatedRun(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := newPlace(t, map[string]string{"conf": "", "cloud.yaml": slowCloud})
	p.stdout = func(line []byte) {
		if strings.Contains(string(line), "post evacuate_instances_task: started") {
			cancel()
		}
	}
	r := p.run(ctx, t, "run", "host-auto", "--config-file", "DIR/conf", "--simulate", "--scenario", "DIR/cloud.yaml", "--input", "host_name=compute-1")
	if r.code != exitInterrupted {
		t.Fatalf("exit code %d, want %d\n%s%s", r.code, exitInterrupted, r.stdout, r.stderr)
	}
	id := p.runs(t)[0].ID
	r = p.run(t.Context(), t, "run", "--resume", id)
	want := "wasakari: run " + id + ": its simulated cloud ended with it; for runs that can be resumed start one with wasakari simulate\n"
	if r.code != exitUsage || r.stderr != want {
		t.Errorf("exit code %d, %q, want %d, %q", r.code, r.stderr, exitUsage, want)
	}
}
