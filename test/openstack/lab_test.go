//go:build e2e

package openstack_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wasakari/wasakari/store/storetest"
)

// The hosts of the lab. failed is the one that the scenarios let fail,
// reserved is disabled unless a scenario says otherwise.
const (
	failed   = "compute-1"
	other    = "compute-2"
	third    = "compute-3"
	reserved = "compute-4"
)

var hosts = []string{failed, other, third, reserved}

// What the suite waits for at most. The lab has two cores, which others may
// use too: these bounds only end what hangs.
const (
	scriptLimit = 5 * time.Minute  // one of the lab's scripts
	waitLimit   = 3 * time.Minute  // something that Nova is doing
	runLimit    = 10 * time.Minute // one recovery
	lookEvery   = 250 * time.Millisecond
)

// lab is the cloud under test and what the suite knows about it.
type lab struct {
	scripts string // folder of the lab's scripts
	state   string // its state folder
	tools   string // folder with copies of the program and of the example tasks
	*cloud
}

// theLab is made by TestMain: there is one lab on a machine.
var theLab *lab

func TestMain(m *testing.M) {
	os.Exit(func() int {
		l, down, err := openLab()
		if err != nil {
			fmt.Fprintf(os.Stderr, "lab: %v\n", err)
			return 1
		}
		defer down()
		theLab = l
		return m.Run()
	}())
}

// openLab starts the lab unless it runs, and returns what ends it: nothing
// when it ran before.
func openLab() (l *lab, down func(), err error) {
	if os.Geteuid() != 0 {
		return nil, nil, errors.New("it needs root, see lab/README.md")
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, nil, err
	}
	l = &lab{scripts: filepath.Join(here, "lab"), state: os.Getenv("OPENSTACK_LAB")}
	if l.state == "" {
		l.state = "/var/tmp/openstack-lab"
	}
	free, err := oneSuite(l.state + ".lock")
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	// A daemon that a suite that was killed left hanging would answer nobody.
	for _, h := range hosts {
		_, _ = l.script(ctx, "daemon", "resume", h)
	}
	began := time.Now()
	ran := l.alive("nova-api") && l.alive("keystone")
	out, err := l.script(ctx, "up")
	if err != nil {
		return nil, nil, err
	}
	fmt.Printf("lab/up took %s (it ran before: %v)\n%s", time.Since(began).Round(time.Second), ran, out)
	down = func() {
		defer free()
		_ = os.RemoveAll(l.tools)
		storetest.RemoveEtcd()
		if ran {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), scriptLimit)
		defer cancel()
		if out, err := l.script(ctx, "down"); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		}
	}
	if l.tools, err = tools(here); err == nil {
		l.cloud = newCloud()
		err = l.tidy(ctx)
	}
	if err != nil {
		down()
		return nil, nil, err
	}
	return l, down, nil
}

// oneSuite keeps a second suite off the lab.
func oneSuite(file string) (free func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another suite uses the lab: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// tools copies what "make build" left, so that a build while the suite runs
// does not change what it tests.
func tools(here string) (string, error) {
	dir, err := os.MkdirTemp("", "wasakari-e2e-")
	if err != nil {
		return "", err
	}
	from := filepath.Join(here, "..", "..", "bin")
	if err := copyFile(filepath.Join(from, "wasakari"), filepath.Join(dir, "wasakari"), 0o755); err != nil {
		return dir, fmt.Errorf("%w: run make build", err)
	}
	tasks, err := filepath.Glob(filepath.Join(from, "tasks", "*.wasm"))
	if err != nil || len(tasks) == 0 {
		return dir, errors.Join(errors.New("no example tasks: run make build"), err)
	}
	for _, task := range tasks {
		if err := copyFile(task, filepath.Join(dir, "tasks", filepath.Base(task)), 0o600); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

func copyFile(from, to string, mode os.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.WriteFile(to, b, mode)
}

// script runs one of the lab's scripts.
func (l *lab) script(ctx context.Context, name string, args ...string) (string, error) {
	return l.longScript(ctx, scriptLimit, name, args...)
}

// longScript runs one that has a limit of its own.
func (l *lab) longScript(ctx context.Context, limit time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(l.scripts, name), args...)
	cmd.Env = append(os.Environ(), "OPENSTACK_LAB="+l.state)
	// The daemons that it starts keep what they inherit: a pipe would never end.
	out, err := os.CreateTemp("", "wasakari-e2e-script-")
	if err != nil {
		return "", err
	}
	defer func() { _, _ = out.Close(), os.Remove(out.Name()) }()
	cmd.Stdout, cmd.Stderr = out, out
	runErr := cmd.Run()
	text, err := os.ReadFile(out.Name())
	if runErr != nil {
		return string(text), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), runErr, text)
	}
	return string(text), err
}

// must runs one of the lab's scripts, and fails the test when that fails.
func (l *lab) must(t *testing.T, name string, args ...string) {
	t.Helper()
	if _, err := l.script(t.Context(), name, args...); err != nil {
		t.Fatal(err)
	}
}

// alive says whether a daemon of the lab runs.
func (l *lab) alive(name string) bool {
	b, err := os.ReadFile(filepath.Join(l.state, "pid", name))
	if err != nil {
		return false
	}
	pid, _, _ := strings.Cut(string(b), " ")
	n, err := strconv.Atoi(pid)
	return err == nil && syscall.Kill(n, 0) == nil
}

// fail lets a host die as in a power cut, and has Nova told of it at once.
func (l *lab) fail(t *testing.T, host string) {
	t.Helper()
	l.must(t, "fail", host, "--force-down")
}

// tidy brings the lab back to how a scenario finds it: no servers, no
// aggregates, every host up and enabled but the reserved one.
func (l *lab) tidy(ctx context.Context) error {
	for _, h := range hosts {
		if l.alive(h) {
			if _, err := l.script(ctx, "daemon", "resume", h); err != nil {
				return err
			}
		}
	}
	if err := l.dropAggregates(ctx); err != nil {
		return err
	}
	services, err := l.services(ctx)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		s := services[h]
		enabled := s.Status == "enabled"
		if l.alive(h) && s.State == "up" && !s.ForcedDown && enabled == (h != reserved) {
			continue
		}
		if _, err := l.script(ctx, "heal", h); err != nil {
			return err
		}
	}
	return l.dropServers(ctx)
}

// scenario gives a test the lab in order, and brings it back in order.
func scenario(t *testing.T) *lab {
	t.Helper()
	l, began := theLab, time.Now()
	l.forget()
	t.Cleanup(func() {
		took := time.Since(began)
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
		defer cancel()
		if err := l.tidy(ctx); err != nil {
			t.Errorf("tidy up: %v", err)
		}
		t.Logf("took %s, and %s to tidy up", took.Round(time.Second), (time.Since(began) - took).Round(time.Second))
	})
	return l
}

// logged is one line of the lab's request log of Nova.
type logged struct {
	start                       time.Time
	took                        time.Duration
	method, path, status, agent string
}

// requests reads the lab's request log of Nova from an offset on.
func (l *lab) requests(offset int64) ([]logged, error) { return l.requestsOf("nova-api", offset) }

// requestsOf reads the request log of one of the lab's services.
func (l *lab) requestsOf(name string, offset int64) ([]logged, error) {
	f, err := os.Open(filepath.Join(l.state, "log", name+".requests"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	var list []logged
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		// start method path status duration client...
		p := strings.SplitN(lines.Text(), " ", 6)
		if len(p) != 6 {
			continue
		}
		ms, _ := strconv.ParseInt(p[0], 10, 64) // what is no number is no time that anybody looks for
		took, _ := time.ParseDuration(p[4])
		list = append(list, logged{start: time.UnixMilli(ms), took: took, method: p[1], path: p[2], status: p[3], agent: p[5]})
	}
	return list, lines.Err()
}

// logSize is the offset of what is logged from now on.
func (l *lab) logSize(t *testing.T) int64 {
	t.Helper()
	st, err := os.Stat(filepath.Join(l.state, "log", "nova-api.requests"))
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// actionsLogged counts the server actions that Nova took from the program
// since the offset, by server.
func (l *lab) actionsLogged(offset int64) (map[string]int, error) {
	list, err := l.requests(offset)
	n := map[string]int{}
	for _, r := range list {
		parts := strings.Split(r.path, "/") // /v2.1/servers/ID/action
		if r.method == "POST" && strings.HasPrefix(r.status, "2") && strings.Contains(r.agent, "wasakari") &&
			len(parts) == 5 && parts[2] == "servers" && parts[4] == "action" {
			n[parts[3]]++
		}
	}
	return n, err
}

// until looks again and again, and fails the test when the limit passes. look
// says what it saw.
func until(t *testing.T, limit time.Duration, what string, look func() (ok bool, saw string)) {
	t.Helper()
	if err := await(t.Context(), limit, what, look); err != nil {
		t.Fatal(err)
	}
}

func await(ctx context.Context, limit time.Duration, what string, look func() (ok bool, saw string)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		ok, saw := look()
		if ok {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited %s for %s; saw %s", limit, what, saw)
		}
	}
}

// program is one process of wasakari.
type program struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	done           chan struct{} // closed when it has ended
	began          time.Time
	took           time.Duration
	mu             sync.Mutex
	exit           int // when done; -1 when it was killed
}

// result is how a process ended.
type result struct {
	exit int
	report
	stderr string
	took   time.Duration
}

// place is where runs keep their journals and find their configuration.
type place struct {
	dir   string
	cloud string // clouds.yaml
}

// conf shortens nothing that matters: more at a time, and bounds that fit a
// lab on two busy cores.
const conf = `[DEFAULT]
verify_interval = 1
host_failure_recovery_threads = 8
wait_period_after_evacuation = 240
wait_period_after_power_off = 240
wait_period_after_power_on = 240
wait_period_after_service_update = 240
[wasakari]
nova_outcome_wait = 20
`

// newPlace makes a folder for runs on the lab's own cloud, or through p.
func (l *lab) newPlace(t *testing.T, p *proxy) place {
	t.Helper()
	w := place{dir: t.TempDir(), cloud: filepath.Join(l.state, "clouds.yaml")}
	if err := os.WriteFile(filepath.Join(w.dir, "e2e.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	if p != nil {
		w.cloud = filepath.Join(w.dir, "clouds.yaml")
		if err := os.WriteFile(w.cloud, []byte(p.clouds()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// start starts "wasakari run" with the place's configuration.
func (l *lab) start(t *testing.T, w place, args ...string) *program {
	t.Helper()
	full := slices.Concat([]string{"run"}, args, []string{"--output", "json", "--os-cloud", "lab", "--state-dir", filepath.Join(w.dir, "state")})
	if !slices.Contains(args, "--resume") {
		full = append(full, "--yes", "--config-file", filepath.Join(w.dir, "e2e.conf"))
	}
	p := &program{}
	l.launch(t, w, p, &p.stdout, &p.stderr, full...)
	return p
}

// launch starts the program, which the end of the test kills.
func (l *lab) launch(t *testing.T, w place, p *program, stdout, stderr io.Writer, args ...string) {
	t.Helper()
	p.done, p.began, p.exit = make(chan struct{}), time.Now(), -1
	// Not bound to the test's context: how it ends is what is tested.
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(l.tools, "wasakari"), args...)
	p.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "OS_CLIENT_CONFIG_FILE=" + w.cloud,
		"XDG_CACHE_HOME=" + filepath.Join(l.tools, "cache"),
	}
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the exit code tells
		p.mu.Lock()
		defer p.mu.Unlock()
		p.exit, p.took = p.cmd.ProcessState.ExitCode(), time.Since(p.began)
	}()
	t.Cleanup(func() {
		p.kill()
		<-p.done
	})
}

// kill ends the process as a power cut would.
func (p *program) kill() { _ = p.cmd.Process.Kill() }

// wait gives how the process ended.
func (p *program) wait(t *testing.T) result {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(runLimit):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		<-p.done
		t.Fatalf("wasakari did not end within %s:\n%s%s", runLimit, p.stdout.String(), p.stderr.String())
	}
	r := result{exit: p.exit, stderr: p.stderr.String(), took: p.took}
	if p.exit != -1 && p.stdout.Len() > 0 {
		r.report = decode(t, p.stdout.Bytes())
	}
	t.Logf("wasakari %s: exit %d after %s, %s, %d requests to Nova; %s", strings.Join(p.cmd.Args[1:min(4, len(p.cmd.Args))], " "),
		r.exit, r.took.Round(100*time.Millisecond), r.Status, r.NovaCalls, strings.TrimSpace(r.stderr))
	return r
}

// run runs "wasakari run" to its end.
func (l *lab) run(t *testing.T, w place, args ...string) result {
	t.Helper()
	return l.start(t, w, args...).wait(t)
}

// runID finds the only run of a place.
func (w place) runID(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, "state", "runs", "*.db"))
	if err != nil || len(files) != 1 {
		t.Fatalf("journals: %v (%v), want one", files, err)
	}
	return strings.TrimSuffix(filepath.Base(files[0]), ".db")
}
