package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wasakari/wasakari/internal/runstate"
	"github.com/wasakari/wasakari/novasim"
)

// crashConf shortens what a resumed run waits for: here nothing is on its way
// to Nova any more once the process is dead.
const crashConf = `[DEFAULT]
verify_interval = 1
host_failure_recovery_threads = 8
[wasakari]
nova_outcome_wait = 1
`

// guideConf is the configuration of the demo.
const guideConf = "../../tasks-examples/guide-library/custom-recovery-methods.conf"

// crashScenario is the demo's cloud, quicker.
const crashScenario = `
seed: 11
service_down_time: 100ms
hosts:
  - {name: compute-1, fails_after: 0s}
  - {name: compute-2}
  - {name: compute-3}
  - {name: compute-4, disabled: true, disabled_reason: reserved host}
servers:
  - {count: 8, name: web, host: compute-1, metadata: {HA_Enabled: "True"}}
  - {count: 4, name: batch, host: compute-1}
  - {count: 3, name: db, host: compute-1, vm_state: stopped}
  - {count: 2, name: broken, host: compute-1, vm_state: error, fault: Guest did not start.}
  - {count: 2, name: snapshot, host: compute-1, vm_state: paused}
  - {name: pinned, host: compute-1, locked: true, locked_reason: do not touch}
latency:
  evacuation: {spawn: 10ms..200ms}
`

// killPoint is where the process dies: at its n-th request to Nova, which
// either was done without the answer getting back, or never arrived.
type killPoint struct {
	n       int
	arrived bool
}

func (k killPoint) String() string {
	if k.arrived {
		return fmt.Sprintf("request %d done, answer lost", k.n)
	}
	return fmt.Sprintf("request %d never arrived", k.n)
}

// crashCloud is a simulated cloud that kills its client once.
type crashCloud struct {
	sim    *novasim.Cloud
	url    string
	mu     sync.Mutex
	seen   int // requests to Nova so far
	point  killPoint
	client *os.Process
	ended  chan struct{} // closed when client has ended
}

func newCrashCloud(t *testing.T, point killPoint) *crashCloud {
	t.Helper()
	sc, err := novasim.ParseScenario("crash.yaml", []byte(crashScenario))
	if err != nil {
		t.Fatal(err)
	}
	c := &crashCloud{point: point}
	c.sim, err = novasim.New(sc, novasim.Options{OnRequest: c.onRequest})
	if err != nil {
		t.Fatal(err)
	}
	server, err := c.sim.Start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	c.url = server.URL
	t.Cleanup(func() { _ = c.sim.Close() })
	return c
}

func (c *crashCloud) onRequest(_ int, before bool, r *http.Request) {
	if !strings.Contains(r.URL.Path, "/v2.1") || c.point.n == 0 {
		return
	}
	c.mu.Lock()
	if before {
		c.seen++
	}
	hit := c.client != nil && c.seen == c.point.n && before != c.point.arrived
	client, ended := c.client, c.ended
	if hit {
		c.client = nil // once only
	}
	c.mu.Unlock()
	if !hit {
		return
	}
	_ = client.Kill() // it may have ended by itself
	<-ended
	if before {
		panic(http.ErrAbortHandler) // as if it had never been sent
	}
}

// start runs the program in a process of its own until it ends or is killed.
func (c *crashCloud) start(t *testing.T, state string, args ...string) (output string, killed bool) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cr := c.sim.Credentials()
	cmd.Env = []string{
		asProgram + "=" + compiler, "HOME=" + state, "XDG_CACHE_HOME=" + sharedCache(), "PATH=" + os.Getenv("PATH"),
		"OS_AUTH_URL=" + c.url, "OS_USERNAME=" + cr.Username, "OS_PASSWORD=" + cr.Password, "OS_PROJECT_NAME=" + cr.ProjectName,
		"OS_USER_DOMAIN_NAME=" + cr.UserDomainName, "OS_PROJECT_DOMAIN_NAME=" + cr.ProjectDomainName, "OS_REGION_NAME=" + cr.Region,
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	ended := make(chan struct{})
	defer close(ended)
	c.mu.Lock()
	err = cmd.Start()
	if err == nil {
		c.client, c.ended = cmd.Process, ended
	}
	c.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && !exit.Exited() {
		return out.String(), true
	}
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out.String())
	}
	return out.String(), false
}

// end is the state of the cloud that a recovery must leave, however often the
// process died.
type end struct {
	servers  []string
	services []string
}

func (c *crashCloud) end() end {
	var e end
	for _, s := range c.sim.Servers() {
		moved := "moved"
		if s.Host == "compute-1" {
			moved = "left behind"
		}
		e.servers = append(e.servers, fmt.Sprintf("%s %s %s %q locked=%v %q evacuated %d times", s.Name, moved, s.VMState, s.TaskState, s.Locked, s.LockedReason, s.Evacuations))
	}
	slices.Sort(e.servers)
	for _, s := range c.sim.Services() {
		reason, _, _ := strings.Cut(s.DisabledReason, " [wasakari") // the mark names the run
		e.services = append(e.services, fmt.Sprintf("%s disabled=%v %q", s.Host, s.Disabled, reason))
	}
	return e
}

// changes counts, by action and target, the changes that the cloud took: what
// is sent again after it was refused or got lost does no harm.
func (c *crashCloud) changes() map[string]int {
	n := map[string]int{}
	for _, r := range c.sim.Requests() {
		if r.Service == "compute" && r.Method != http.MethodGet && r.Status >= 200 && r.Status < 300 {
			n[r.Action+" "+r.Path]++
		}
	}
	return n
}

func crashArgs(t *testing.T) []string {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "crash.conf")
	if err := os.WriteFile(conf, []byte(crashConf), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{
		"run", "host-auto", "--yes", "--config-file", guideConf, "--config-file", conf,
		"--task-dir", exampleTasks(t), "--input", "host_name=compute-1", "--output", "json",
	}
}

// resume goes on with the run in the state folder, or begins it when it died
// before it was written down.
func (c *crashCloud) resume(t *testing.T, home string, args []string) string {
	t.Helper()
	runs, err := runstate.List(filepath.Join(home, ".local/state/wasakari"))
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) == 1 && runs[0].Finished {
		return ""
	}
	if len(runs) == 1 {
		args = []string{"run", "--resume", runs[0].ID, "--output", "json"}
	}
	out, killed := c.start(t, home, args...)
	if killed {
		t.Fatal("killed a second time")
	}
	return out
}

// crashOnce kills the program at one point, resumes it and compares.
func crashOnce(t *testing.T, point killPoint, requests int, want end, wantChanges map[string]int) {
	c := newCrashCloud(t, point)
	args := crashArgs(t)
	home := t.TempDir()
	out, killed := c.start(t, home, args...)
	switch {
	case killed:
		out += c.resume(t, home, args)
	case point.n <= requests/2: // how many polls there are is a matter of time
		t.Errorf("the program ended before its request %d", point.n)
	}
	got := c.end()
	if !slices.Equal(got.servers, want.servers) {
		t.Errorf("servers:\n%s", difference(got.servers, want.servers))
	}
	if !slices.Equal(got.services, want.services) {
		t.Errorf("services:\n%s", difference(got.services, want.services))
	}
	for what, n := range c.changes() {
		// A change that sets what is set already is harmless twice; these are not.
		if strings.HasPrefix(what, "evacuate ") && n > wantChanges[what] {
			t.Errorf("%s was taken %d times, undisturbed %d", what, n, wantChanges[what])
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

func difference(got, want []string) string {
	var b strings.Builder
	for _, g := range got {
		if !slices.Contains(want, g) {
			fmt.Fprintf(&b, "  got  %s\n", g)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			fmt.Fprintf(&b, "  want %s\n", w)
		}
	}
	return b.String()
}

// undisturbed runs the recovery without a kill and returns how many requests
// to Nova it took and what it left.
func undisturbed(t *testing.T) (requests int, e end, changes map[string]int) {
	t.Helper()
	c := newCrashCloud(t, killPoint{})
	c.start(t, t.TempDir(), crashArgs(t)...)
	for _, r := range c.sim.Requests() {
		if r.Service == "compute" {
			requests++
		}
	}
	return requests, c.end(), c.changes()
}

// TestCrash kills the program at its n-th request to Nova and resumes it: for
// every n with WASAKARI_CRASH_EVERY=1 (make crash), else for a few.
func TestCrash(t *testing.T) {
	t.Parallel()
	requests, want, changes := undisturbed(t)
	for _, s := range want.servers {
		if !strings.HasSuffix(s, "evacuated 1 times") || !strings.Contains(s, " moved ") {
			t.Fatalf("undisturbed: %s", s)
		}
	}
	step := max(requests/3, 1)
	if os.Getenv("WASAKARI_CRASH_EVERY") != "" {
		step = 1
	}
	for n := 1; n <= requests; n += step {
		for _, arrived := range []bool{true, false} {
			point := killPoint{n, arrived}
			t.Run(point.String(), func(t *testing.T) {
				t.Parallel()
				crashOnce(t, point, requests, want, changes)
			})
		}
	}
}
