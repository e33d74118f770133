package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/runstate"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
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
	if !strings.Contains(r.stderr, "interrupted: what was sent is followed to its outcome") {
		t.Errorf("standard error does not say what is being waited for: %q", r.stderr)
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

// TestInterruptWhileSettling: Ctrl-C while a resumed run looks for a change of
// the process before it takes that one's locks off too; the change stays to be
// looked for.
func TestInterruptWhileSettling(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var on func(r *http.Request)
	sim, environ := startCloud(t, quickCloud, novasim.Options{OnRequest: func(_ int, before bool, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if before {
			on(r)
		}
	}})
	interruptAt := func(what string) context.Context {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		mu.Lock()
		defer mu.Unlock()
		on = func(r *http.Request) {
			if strings.Contains(r.URL.Path, what) {
				cancel()
			}
		}
		return ctx
	}
	p := newPlace(t, map[string]string{"conf": ""})
	p.environ = environ
	r := p.run(interruptAt("/servers/detail"), t, "run", "host-auto", "--config-file", "DIR/conf", "--input", "host_name=compute-1", "--output", "json",
		"--set", "wasakari.nova_outcome_wait=1")
	id := documentOf(t, r).RunID
	web := server(t, sim, "web-1")
	none := interruptAt("nothing")

	// What a process that was killed would have left.
	cl, err := openstack.Connect(none, simOptions(sim, strings.TrimPrefix(environ[0], "OS_AUTH_URL=")))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := cl.Lock(none, web.ID, "wasakari "+id); err != nil {
		t.Fatal(err)
	}
	open := func() *runstate.Run {
		state, err := runstate.Open(filepath.Join(p.dir, "home/.local/state/wasakari"), id, runstate.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	state := open()
	err = errors.Join(
		state.PushUndo(none, recovery.Undo{Key: "unlock_server/" + web.ID, Kind: recovery.UndoLock, Target: web.ID}),
		state.BeginIntent(none, recovery.Intent{ID: "lost", Op: abi.OpNovaServerEvacuate, Target: web.ID}),
	)
	state.Close()
	if err != nil {
		t.Fatal(err)
	}

	r = p.run(interruptAt("/os-migrations"), t, "run", "--resume", id, "--output", "json")
	if doc := documentOf(t, r); r.code != exitInterrupted || doc.Status != "interrupted" {
		t.Errorf("exit code %d, status %s, want %d, interrupted\n%s%s", r.code, doc.Status, exitInterrupted, r.stdout, r.stderr)
	}
	if server(t, sim, "web-1").Locked {
		t.Error("the server is still locked")
	}
	state = open()
	left, err := state.OpenIntents(none)
	state.Close()
	// It was begun so long ago that it would have arrived: the end of the run settles it.
	if err != nil || len(left) != 0 {
		t.Errorf("open intents = %+v, %v, want none", left, err)
	}

	r = p.run(none, t, "run", "--resume", id, "--output", "json")
	if doc := documentOf(t, r); r.code != exitOK || server(t, sim, "web-1").Evacuations != 1 {
		t.Errorf("resumed: exit code %d, status %s, %d evacuations, want %d, finished, 1\n%s", r.code, doc.Status, server(t, sim, "web-1").Evacuations, exitOK, r.stderr)
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

// interrupted begins a run in p that is interrupted at its first evacuation,
// and gives its id.
func interrupted(t *testing.T, p *place, args ...string) (id string, sim *novasim.Cloud) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sim, p.environ = startCloud(t, slowCloud, novasim.Options{})
	p.stdout = func(line []byte) {
		if strings.Contains(string(line), "Evacuation of instance started") {
			cancel()
		}
	}
	args = append(strings.Fields("run host-auto --config-file DIR/conf --input host_name=compute-1"), args...)
	r := p.run(ctx, t, args...)
	if r.code != exitInterrupted {
		t.Fatalf("exit code %d, want %d\n%s%s", r.code, exitInterrupted, r.stdout, r.stderr)
	}
	p.stdout = nil
	said := r.stdout
	runs, err := os.ReadDir(filepath.Join(p.dir, "state/runs"))
	if err != nil || len(runs) != 1 {
		t.Fatalf("runs = %v (%v), want one", runs, err)
	}
	id = strings.TrimSuffix(runs[0].Name(), ".db")
	if want := "\ngo on with: wasakari run --resume " + id + " --state-dir '" + filepath.Join(p.dir, "state") + "'\n"; !strings.HasSuffix(said, want) {
		t.Errorf("standard output =\n%s\nwant at its end\n%s", said, want)
	}
	return id, sim
}

// TestResumeRefused: what stands against going on with a run, and that it goes
// on when that is mended.
func TestResumeRefused(t *testing.T) {
	t.Parallel()
	task := func(version string) string {
		wasm, err := abi.AppendManifest(guest("noop"), &abi.Manifest{ABI: 1, Library: "acme", Version: version, Tasks: []abi.ManifestTask{{
			Key: "x", Options: []abi.ManifestOption{{Group: "acme", Name: "token", Type: "string", Required: true, Secret: true}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(wasm)
	}
	p := newPlace(t, map[string]string{"conf": taskIn("x") + "[grants]\nacme = options:acme\n[secrets]\nacme.token = https://t.example.com body\n", "tasks/x.wasm": task("1.0.0")})
	id, sim := interrupted(t, p, "--task-dir", "DIR/tasks", "--state-dir", "DIR/state", "--set", "acme.token=hush", "--set", "wasakari.nova_outcome_wait=1")
	before := len(changes(sim))
	journal, err := os.ReadFile(filepath.Join(p.dir, "state/runs", id+".db"))
	if err != nil || strings.Contains(string(journal), "hush") {
		t.Errorf("the journal holds the secret (%v)", err)
	}
	refused := func(want string, args ...string) {
		t.Helper()
		r := p.run(t.Context(), t, append([]string{"run", "--resume", id}, args...)...)
		if got := strings.TrimSuffix(strings.TrimPrefix(r.stderr, "wasakari: "), "\n"); r.code != exitUsage || r.stdout != "" || !regexp.MustCompile("^"+want+"$").MatchString(got) {
			t.Errorf("exit code %d, %q, want %d, %q\n%s", r.code, got, exitUsage, want, r.stdout)
		}
	}
	refused("run " + id + ": not found in DIR/home/.local/state/wasakari; name the state folder of the run with --state-dir")
	state := []string{"--state-dir", "DIR/state"}
	other, err := runstate.Open(filepath.Join(p.dir, "state"), id, runstate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	refused("run "+id+": still being worked on by another process; wait until it has ended, or stop it, before going on with the run", state...)
	other.Close()
	// A secret is not in the journal.
	refused(`DIR/conf:2:41: flow host-auto: pre: task "x": option \[acme\] token is required; write token = … below \[acme\]`, state...)
	state = append(state, "--set", "acme.token=hush")
	p.write(t, "tasks/x.wasm", task("1.0.1"))
	refused("DIR/tasks/x.wasm: task x is not the one that run "+id+" began with; put the module of digest sha256:[0-9a-f]{64} back", state...)
	if n := len(changes(sim)); n != before {
		t.Errorf("%d changes of the cloud by runs that were refused", n-before)
	}
	p.write(t, "tasks/x.wasm", task("1.0.0"))
	if r := p.run(t.Context(), t, append([]string{"run", "--resume", id}, state...)...); r.code != exitOK {
		t.Errorf("exit code %d, want %d\n%s%s", r.code, exitOK, r.stdout, r.stderr)
	}
}

// TestLeftToUndo: a run that could not take a lock off is no success, says
// what is left, and is finished with --resume.
func TestLeftToUndo(t *testing.T) {
	t.Parallel()
	sim, environ := startCloud(t, quickCloud+`
faults:
  - {match: {action: unlock, server: web-1, times: 2}, do: {status: 409, message: Not now.}}
`, novasim.Options{})
	p := newPlace(t, map[string]string{"conf": ""})
	p.environ = environ
	r := p.run(t.Context(), t, "run", "host-auto", "--config-file", "DIR/conf", "--input", "host_name=compute-1")
	web := server(t, sim, "web-1")
	want := "left to undo: unlock server " + web.ID + "\n"
	if r.code != exitFailed || !web.Locked || !strings.Contains(r.stdout, want) {
		t.Errorf("exit code %d, locked %t, want %d, true and %q in\n%s%s", r.code, web.Locked, exitFailed, want, r.stdout, r.stderr)
	}
	id := p.runs(t)[0].ID
	r = p.run(t.Context(), t, "run", "--resume", id, "--output", "json")
	if doc := documentOf(t, r); r.code != exitOK || doc.Status != "finished" || len(doc.LeftToUndo) != 0 {
		t.Errorf("resumed: exit code %d, status %s, left %v, want %d, finished, nothing\n%s", r.code, doc.Status, doc.LeftToUndo, exitOK, r.stderr)
	}
	if server(t, sim, "web-1").Locked {
		t.Error("the server is still locked")
	}
}
