package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

// remote is a server of the API over memory, which admits modules as the service
// does.
type remote struct {
	*httptest.Server
	loaded   *loaded
	events   *wasakariv1.Events
	tenant   string   // uploads are of it; empty: the operator's
	tokens   []string // taken; nil: any, and none
	lag      bool     // one node does not compile
	mu       sync.Mutex
	versions []recovery.ModuleVersion
	bytes    map[string][]byte
	revision int64
	runs     []recovery.Run
	detail   wasakariv1.Detail
	vmoves   []recovery.VMove
	aborted  recovery.Abort
	retried  []string
	requests []string
	seen     []string // tokens
}

func (s *remote) lock() func() {
	s.mu.Lock()
	return s.mu.Unlock
}

// serveRemote starts a server with what args say, as check would read them.
func serveRemote(t *testing.T, p *place, args ...settings) *remote {
	t.Helper()
	s := &remote{events: wasakariv1.NewEvents(0), bytes: map[string][]byte{}}
	set := settings{logLevel: "error", stateDir: t.TempDir()}
	if len(args) > 0 {
		set = args[0]
		set.logLevel, set.stateDir = "error", t.TempDir()
	}
	var err error
	w := world{stdout: io.Discard, stderr: io.Discard, home: p.dir, root: p.dir, environ: []string{"XDG_CACHE_HOME=" + sharedCache()}}
	if s.loaded, err = set.load(t.Context(), w, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.loaded.close() })
	api, err := wasakariv1.New(wasakariv1.Config{
		Caller: s.caller, Store: s, Modules: s, Admit: s, Flows: s, Events: s.events, CompileWait: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		unlock := s.lock()
		s.requests = append(s.requests, r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), wasakariv1.Prefix))
		s.seen = append(s.seen, r.Header.Get("X-Auth-Token"))
		unlock()
		api.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		api.Close()
		s.Close()
	})
	p.environ = append(p.environ, "WASAKARI_SERVER="+s.URL)
	return s
}

func (s *remote) caller(r *http.Request) (wasakariv1.Caller, error) {
	if s.tokens != nil && !slices.Contains(s.tokens, r.Header.Get("X-Auth-Token")) {
		return nil, recovery.ErrUnauthorized
	}
	return remoteCaller{s.tenant}, nil
}

type remoteCaller struct{ tenant string }

func (c remoteCaller) User() string    { return "u1" }
func (c remoteCaller) Project() string { return c.tenant }
func (c remoteCaller) May(rule string, target map[string]string) error {
	if c.tenant != "" && target["project_id"] != c.tenant {
		return recovery.ErrForbidden
	}
	return nil
}

func (s *remote) Admit(ctx context.Context, tenant string, wasm []byte) (recovery.ModuleVersion, error) {
	return s.loaded.admitUpload(ctx, s.loaded.rt, func(m *runtime.Module) { _ = m.Close(context.WithoutCancel(ctx)) }, tenant, wasm)
}

func (s *remote) Flows(context.Context) ([]wasakariv1.Flow, error) {
	return s.loaded.flowDocuments(), nil
}

func (s *remote) Modules(context.Context) ([]recovery.ModuleVersion, error) {
	defer s.lock()()
	return slices.Clone(s.versions), nil
}

func (s *remote) PutModule(_ context.Context, v recovery.ModuleVersion, wasm io.Reader) (recovery.ModuleVersion, int64, error) {
	b, err := io.ReadAll(wasm)
	defer s.lock()()
	s.revision++
	v.Active = !slices.ContainsFunc(s.versions, func(o recovery.ModuleVersion) bool { return o.Pinned })
	for i := range s.versions {
		s.versions[i].Active = s.versions[i].Active && !v.Active
	}
	s.versions, s.bytes[v.Digest] = append(s.versions, v), b
	return v, s.revision, err
}

func (s *remote) Module(_ context.Context, digest string) (io.ReadCloser, error) {
	defer s.lock()()
	return io.NopCloser(bytes.NewReader(s.bytes[digest])), nil
}

func (s *remote) PinModule(_ context.Context, _, _, digest string) (int64, error) {
	defer s.lock()()
	for i := range s.versions {
		v := &s.versions[i]
		v.Active = v.Digest == digest || digest == "" && v.Active
		v.Pinned = v.Digest == digest
	}
	return s.revision, nil
}

func (s *remote) RemoveModule(_ context.Context, _, _, digest string) (int64, error) {
	defer s.lock()()
	s.versions = slices.DeleteFunc(s.versions, func(v recovery.ModuleVersion) bool { return digest == "" || v.Digest == digest })
	return s.revision, nil
}

func (s *remote) Runs(context.Context) (iter.Seq[recovery.Run], error) {
	defer s.lock()()
	return slices.Values(slices.Clone(s.runs)), nil
}

func (s *remote) RunDetail(_ context.Context, id string) (recovery.Run, wasakariv1.Detail, error) {
	defer s.lock()()
	for _, r := range s.runs {
		if r.ID == id {
			return r, s.detail, nil
		}
	}
	return recovery.Run{}, s.detail, recovery.ErrNotFound
}

func (s *remote) Notification(_ context.Context, uuid string) (recovery.Notification, error) {
	defer s.lock()()
	if uuid != "n1" {
		return recovery.Notification{}, recovery.ErrNotFound
	}
	return recovery.Notification{UUID: "n1", Status: recovery.StatusFailed}, nil
}

func (s *remote) VMoves(context.Context, string) ([]recovery.VMove, error) { return s.vmoves, nil }

func (s *remote) Abort(_ context.Context, _ string, a recovery.Abort) error {
	defer s.lock()()
	s.aborted = a
	return nil
}

func (s *remote) Retry(_ context.Context, uuid, override string) error {
	defer s.lock()()
	s.retried = append(s.retried, uuid+" "+override)
	return nil
}

func (s *remote) Nodes(context.Context) ([]recovery.Node, error) {
	defer s.lock()()
	nodes := []recovery.Node{{Name: "node-a", Version: "1", Modules: s.revision}, {Name: "node-b", Version: "1", Modules: s.revision, Draining: !s.lag}}
	if s.lag {
		nodes[1].Modules = -1
	}
	return nodes, nil
}

// wasmOf packs a module of a library with these keys.
func wasmOf(t *testing.T, library, version string, tasks ...abi.ManifestTask) string {
	t.Helper()
	wasm, err := abi.AppendManifest(guest("noop"), &abi.Manifest{ABI: 1, Library: library, Version: version, Tasks: tasks})
	if err != nil {
		t.Fatal(err)
	}
	return string(wasm)
}

func says(t *testing.T, r result, code int, stdout, stderr string) {
	t.Helper()
	if r.code != code || r.stdout != stdout || r.stderr != stderr {
		t.Errorf("exit %d, want %d\nstdout:\n%s\nwant:\n%s\nstderr:\n%s\nwant:\n%s", r.code, code, r.stdout, stdout, r.stderr, stderr)
	}
}

func TestTaskPush(t *testing.T) {
	key := abi.ManifestTask{Key: "a_task"}
	one, two := wasmOf(t, "acme", "1.0.0", key), wasmOf(t, "acme", "1.1.0", key)
	p := newPlace(t, map[string]string{"one.wasm": one, "two.wasm": two})
	s := serveRemote(t, p)
	d1, d2 := digestOf([]byte(one)), digestOf([]byte(two))

	says(t, p.run(t.Context(), t, "task", "list"), exitOK, "nothing was uploaded; begin with wasakari task push FILE\n", "")
	r := p.run(t.Context(), t, "task", "push", "DIR/one.wasm", "DIR/two.wasm")
	says(t, r, exitOK, strings.ReplaceAll(fmt.Sprintf(`DIR/one.wasm: acme 1.0.0, tasks a_task, sha256:%.12s: active, compiled on every node
DIR/two.wasm: acme 1.1.0, tasks a_task, sha256:%.12s: active, compiled on every node
`, d1, d2), "DIR", p.dir), "")
	if string(s.bytes[d1]) != one || string(s.bytes[d2]) != two {
		t.Error("other bytes were uploaded")
	}
	says(t, p.run(t.Context(), t, "task", "list"), exitOK, fmt.Sprintf(`LIBRARY  TENANT  VERSION  DIGEST        VERSIONS  ENGINE  TASKS
acme             1.1.0    %.12s  2                 a_task
`, d2), "")
	says(t, p.run(t.Context(), t, "task", "pin", "a_task", "1.0.0"), exitOK, fmt.Sprintf("acme 1.0.0, tasks a_task, sha256:%.12s: active, compiled on every node; pinned\n", d1), "")
	r = p.run(t.Context(), t, "task", "versions", "a_task")
	if r.code != exitOK || !strings.Contains(r.stdout, "active, pinned") || strings.Index(r.stdout, "1.1.0") > strings.Index(r.stdout, "1.0.0") {
		t.Errorf("versions: %+v", r)
	}
	r = p.run(t.Context(), t, "task", "show", "a_task")
	if r.code != exitOK || !strings.Contains(r.stdout, "sha256:"+d1) || !strings.Contains(r.stdout, "(pinned: uploads do not replace it)") {
		t.Errorf("show: %+v", r)
	}
	says(t, p.run(t.Context(), t, "task", "unpin", "a_task"), exitOK, "library acme: the next upload becomes the active version\n", "")
	says(t, p.run(t.Context(), t, "task", "rm", "a_task", "sha256:"+d2[:8]), exitOK, fmt.Sprintf("removed version 1.1.0 (%.12s) of the module of task a_task\n", d2), "")
	says(t, p.run(t.Context(), t, "task", "rm", "a_task", "1.0.0"), exitFailed, "",
		fmt.Sprintf("wasakari: version 1.0.0 of library acme (sha256:%s) is the active one; make another version the active one first (pin), or remove the whole module\n", d1))
	says(t, p.run(t.Context(), t, "task", "rm", "a_task"), exitOK, "removed the module of task a_task\n", "")
	if len(s.versions) != 0 {
		t.Errorf("left are %+v", s.versions)
	}
	says(t, p.run(t.Context(), t, "task", "pin", "a_task", "1.0.0"), exitFailed, "", "wasakari: no uploaded module has a task a_task; list what there is with GET /wasakari/v1/modules\n")
}

func TestTaskPushJSON(t *testing.T) {
	p := newPlace(t, map[string]string{"one.wasm": wasmOf(t, "acme", "1.0.0", abi.ManifestTask{Key: "a_task"})})
	s := serveRemote(t, p)
	s.lag = true
	r := p.run(t.Context(), t, "task", "push", "DIR/one.wasm", "--output", "json", "--wait", "0s")
	var doc struct{ Uploaded []wasakariv1.ModuleAnswer }
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || r.code != exitOK || len(doc.Uploaded) != 1 || !slices.Equal(doc.Uploaded[0].Waiting, []string{"node-b"}) {
		t.Errorf("%v: %+v", err, r)
	}
	r = p.run(t.Context(), t, "task", "push", "DIR/one.wasm", "--wait", "1s")
	if r.code != exitFailed || r.stderr != "wasakari: DIR/one.wasm: it is active, but not compiled yet on node-b; look again with wasakari node list\n" {
		t.Errorf("%+v", r)
	}
	r = p.run(t.Context(), t, "node", "list")
	if r.code != exitOK || !strings.Contains(r.stdout, "behind (-1 of 2)") {
		t.Errorf("%+v", r)
	}
}

func TestTaskPushRefused(t *testing.T) {
	standard := "disable_compute_service_task"
	p := newPlace(t, map[string]string{
		"tasks/own_task.wasm":   wasmOf(t, "own", "1.0.0", abi.ManifestTask{Key: "own_task"}),
		"command.wasm":          string(guest("command")),
		"nothing.wasm":          "hello",
		"standard.wasm":         wasmOf(t, "acme", "1.0.0", abi.ManifestTask{Key: standard}),
		"standard_library.wasm": wasmOf(t, standardLibrary(), "1.0.0", abi.ManifestTask{Key: "a_task"}),
		"own.wasm":              wasmOf(t, "acme", "1.0.0", abi.ManifestTask{Key: "own_task"}),
		"own_library.wasm":      wasmOf(t, "own", "2.0.0", abi.ManifestTask{Key: "b_task"}),
		"reserved.wasm":         wasmOf(t, "acme", "1.0.0", abi.ManifestTask{Key: "a_task", Options: []abi.ManifestOption{{Group: "DEFAULT", Name: "os_privileged_user_password", Type: "string", Secret: true}}}),
		"host.wasm":             wasmOf(t, "acme", "1.0.0", abi.ManifestTask{Key: "a_task", Uses: []string{"nova.service_disable"}}),
	})
	const ownOption = "task a_task asks for option [DEFAULT] os_privileged_user_password: that section belongs to Wasakari, Masakari or an OpenStack library; give its options a section of their own in task.yaml, such as [acme]"
	for _, tt := range []struct {
		file, tenant string
		want         string // empty: taken
	}{
		{file: "standard.wasm", want: "task " + standard + " is a standard task, which is built in; give the task another key in task.yaml"},
		{file: "standard.wasm", tenant: "p-one", want: "task " + standard + " is a standard task, which is built in; give the task another key in task.yaml"},
		{file: "standard_library.wasm", want: "library " + standardLibrary() + " is that of the standard tasks, which are built in; give yours another name in task.yaml"},
		{file: "standard_library.wasm", tenant: "p-one", want: "library " + standardLibrary() + " is that of the standard tasks, which are built in; give yours another name in task.yaml"},
		{file: "own.wasm", want: "task own_task of library acme is in DIR/tasks/own_task.wasm too; remove that file, or give the task another key in task.yaml"},
		{file: "own.wasm", tenant: "p-one", want: "task own_task is somebody else's already; give the task another key in task.yaml"},
		{file: "own_library.wasm", tenant: "p-one", want: "library own is the operator's; give yours another name in task.yaml, or have the operator register own@p-one in [libraries]"},
		{file: "own_library.wasm"},
		{file: "reserved.wasm", want: ownOption},
		{file: "host.wasm", tenant: "p-one", want: "task a_task uses nova.service_disable, which is not for tenants; take it out of task.yaml"},
		{file: "host.wasm"},
		{file: "tasks/own_task.wasm"}, // what lies there already
		{file: "nothing.wasm", want: "not a WebAssembly module: it does not begin with 00 61 73 6d; give a .wasm file"},
		{file: "command.wasm", want: "?"},
	} {
		t.Run(tt.file+" of "+orOperator(tt.tenant), func(t *testing.T) {
			p := &place{dir: p.dir}
			s := serveRemote(t, p, settings{taskDirs: []string{filepath.Join(p.dir, "tasks")}})
			s.tenant = tt.tenant
			r := p.run(t.Context(), t, "task", "push", "DIR/"+tt.file)
			switch {
			case tt.want == "":
				if r.code != exitOK || len(s.versions) != 1 || s.versions[0].Tenant != tt.tenant {
					t.Errorf("%+v, kept %+v", r, s.versions)
				}
			case len(s.versions) != 0 || r.code != exitFailed:
				t.Errorf("exit %d, kept %+v", r.code, s.versions)
			case tt.want != "?" && r.stderr != "wasakari: DIR/"+tt.file+": "+tt.want+"\n":
				t.Errorf("got  %swant wasakari: DIR/%s: %s", r.stderr, tt.file, tt.want)
			case tt.want == "?" && !strings.Contains(r.stderr, "; build it as a library, which has _initialize"):
				t.Errorf("no hint: %s", r.stderr)
			}
		})
	}
}

func TestRunsCommands(t *testing.T) {
	p := newPlace(t, nil)
	s := serveRemote(t, p)
	start := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	s.runs = []recovery.Run{
		{ID: "r2", Notification: "n2", Host: "compute-2", Status: recovery.StatusRunning, Started: start},
		{ID: "r1", Notification: "n1", Host: "compute-1", Status: recovery.StatusFailed, Finished: true, Started: start, Ended: start.Add(90 * time.Second), Message: "no room\x1b[2J"},
	}
	s.detail = wasakariv1.Detail{
		Tasks:   []recovery.TaskRecord{{Seq: 1, Phase: recovery.Pre, Key: "a_task", Status: recovery.TaskFailed, Started: start, Ended: start.Add(time.Second), Message: "no"}},
		Values:  []string{"ticket"},
		Intents: []recovery.Intent{{Op: "nova.server_evacuate", Target: "s1", State: recovery.IntentDone, RequestID: "req-1"}},
		Undo:    []recovery.Undo{{Kind: recovery.UndoLock, Target: "s1"}},
	}
	s.vmoves = []recovery.VMove{{InstanceUUID: "s1", InstanceName: "web", Status: recovery.VMoveFailed, SourceHost: "compute-1", Attempt: 1}}
	says(t, p.run(t.Context(), t, "runs", "list", "--limit", "1"), exitOK, `RUN  STATUS   STARTED               TOOK  ABOUT      MESSAGE
r2   running  2026-11-23 09:00:00Z        compute-2
there are more: --marker r2
`, "")
	says(t, p.run(t.Context(), t, "runs", "list", "--status", "failed"), exitOK, `RUN  STATUS  STARTED               TOOK   ABOUT      MESSAGE
r1   failed  2026-11-23 09:00:00Z  1m30s  compute-1  no room·[2J
`, "")
	says(t, p.run(t.Context(), t, "runs", "list", "--status", "ended"), exitFailed, "",
		"wasakari: status \"ended\" is none of a run; want one of running, finished, ignored, error, failed, held\n")
	r := p.run(t.Context(), t, "runs", "show", "r1")
	for _, want := range []string{"no room·[2J", "compute-1", "ticket", "a_task  failed", "web     failed", "nova.server_evacuate  s1", "req-1", "unlock server"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("show lacks %q:\n%s", want, r.stdout)
		}
	}
	r = p.run(t.Context(), t, "runs", "show", "r1", "-o", "json")
	var doc wasakariv1.RunDocument
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || doc.Run.ID != "r1" || len(doc.Run.Changes) != 1 || strings.Contains(r.stdout, "\x1b") {
		t.Errorf("%v\n%s", err, r.stdout)
	}
	says(t, p.run(t.Context(), t, "runs", "show", "r9"), exitFailed, "", "wasakari: there is no run r9; list what there is with GET /wasakari/v1/runs\n")

	says(t, p.run(t.Context(), t, "runs", "abort", "r2", "--reason", "it is back", "--mode", "stop"), exitOK, "run r2 is being ended (stop); follow it with wasakari runs watch r2\n", "")
	if want := (recovery.Abort{Mode: recovery.AbortStop, Reason: "it is back", By: "u1", Status: recovery.StatusFailed}); s.aborted != want {
		t.Errorf("aborted %+v", s.aborted)
	}
	says(t, p.run(t.Context(), t, "runs", "abort", "r2"), exitUsage, "", "wasakari: say why with --reason, for those who look at it later\n")
	says(t, p.run(t.Context(), t, "runs", "abort", "r2", "--mode", "kill", "--reason", "x"), exitUsage, "", "wasakari: --mode kill: want revert or stop\n")
	says(t, p.run(t.Context(), t, "runs", "abort", "r1", "--reason", "x"), exitFailed, "", "wasakari: run r1 has ended already: failed\n")
	says(t, p.run(t.Context(), t, "runs", "retry", "r1", "--override", "fire"), exitOK, "notification n1 is in the queue; look with wasakari runs list --notification n1\n", "")
	if !slices.Equal(s.retried, []string{"n1 fire"}) {
		t.Errorf("retried %q", s.retried)
	}
}

func TestRunsWatch(t *testing.T) {
	p := newPlace(t, nil)
	s := serveRemote(t, p)
	start := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	run := recovery.Run{ID: "r1", Notification: "n1", Host: "compute-1", Status: recovery.StatusRunning, Started: start}
	s.runs = []recovery.Run{run}
	task := recovery.TaskRecord{Seq: 1, Phase: recovery.Pre, Key: "a_task", Status: recovery.TaskRunning, Started: start}
	at := func(sec int, c recovery.Change) wasakariv1.Event {
		c.Revision = int64(sec)
		return wasakariv1.Event{Change: c, Time: start.Add(time.Duration(sec) * time.Second)}
	}
	ended, over := task, run
	ended.Status, ended.Ended, ended.Message = recovery.TaskFailed, start.Add(2*time.Second), "no \x1b room"
	over.Status, over.Finished, over.Message = recovery.StatusFailed, true, "a_task failed"
	for _, output := range []string{"text", "json"} {
		s.runs[0] = run
		// What is printed tells how far it is.
		steps := []func(){
			func() { s.events.Publish(at(1, recovery.Change{RunID: "r1", Task: &task})) },
			func() { // a stream that breaks goes on where it was
				s.CloseClientConnections()
				s.events.Publish(at(2, recovery.Change{RunID: "r1", Task: &ended}))
			},
			func() {
				unlock := s.lock()
				s.runs[0] = over
				unlock()
				s.events.Publish(at(3, recovery.Change{Run: &over}))
			},
		}
		p.stdout = func([]byte) {
			if len(steps) > 0 {
				steps[0]()
				steps = steps[1:]
			}
		}
		r := p.run(t.Context(), t, "runs", "watch", "r1", "-o", output)
		if output == "json" {
			var events []string
			for line := range strings.Lines(r.stdout) {
				var doc struct {
					Event string
					Data  wasakariv1.EventDocument
				}
				if err := json.Unmarshal([]byte(line), &doc); err != nil {
					t.Fatalf("%v: %s", err, line)
				}
				events = append(events, doc.Event)
			}
			if r.code != exitFailed || !slices.Equal(events, []string{"run", "task", "task", "run"}) || strings.Contains(r.stdout, "\x1b") {
				t.Errorf("events %q: %+v", events, r)
			}
			continue
		}
		want := "run r1, compute-1\n   1.00s  pre a_task: started\n   2.00s  pre a_task: failed after 2s: no · room\n\nfailed: a_task failed\n"
		says(t, r, exitFailed, want, "")
	}
	p.stdout = nil
	says(t, p.run(t.Context(), t, "runs", "watch", "r9"), exitFailed, "", "wasakari: there is no run r9; list what there is with GET /wasakari/v1/runs\n")
	ctx, cancel := context.WithCancel(t.Context())
	s.runs[0] = run
	p.stdout = func([]byte) { cancel() }
	if r := p.run(ctx, t, "runs", "watch", "r1"); r.code != exitInterrupted {
		t.Errorf("interrupted: %+v", r)
	}
}

func TestFlowCommands(t *testing.T) {
	p := newPlace(t, map[string]string{
		"tasks/a_task.wasm": wasmOf(t, "acme", "1.0.0", abi.ManifestTask{Key: "a_task", Uses: []string{"kv.*"}}),
		"good.conf":         "[taskflow_driver_recovery_flows]\nprocess_failure_recovery_tasks = pre:[],main:['a_task'],post:[]\n[grants]\nacme = kv.*\n",
		"bad.conf":          "[taskflow_driver_recovery_flows]\nprocess_failure_recovery_tasks = pre:[],main:['a_task'],post:[]\n",
	})
	good := &place{dir: p.dir}
	serveRemote(t, good, settings{taskDirs: []string{filepath.Join(p.dir, "tasks")}, configFiles: []string{filepath.Join(p.dir, "good.conf")}})
	r := good.run(t.Context(), t, "flow", "show", "process")
	want := fmt.Sprintf("process (%s/good.conf:2:34)\n  main  a_task  acme 1.0.0 ", p.dir)
	if r.code != exitOK || !strings.HasPrefix(r.stdout, want) || !strings.HasSuffix(r.stdout, "  kv.*\n") {
		t.Errorf("%+v", r)
	}
	if r := good.run(t.Context(), t, "flow", "show"); strings.Count(r.stdout, "standard\n") < 9 {
		t.Errorf("%+v", r)
	}
	says(t, good.run(t.Context(), t, "flow", "check"), exitOK, "all flows are good\n", "")
	says(t, good.run(t.Context(), t, "flow", "show", "all"), exitUsage, "",
		"wasakari: flow \"all\": invalid: want host-auto, host-rh, instance, process, host-repair or the name of the flow's option\n")

	bad := &place{dir: p.dir}
	serveRemote(t, bad, settings{taskDirs: []string{filepath.Join(p.dir, "tasks")}, configFiles: []string{filepath.Join(p.dir, "bad.conf")}})
	for _, output := range []string{"text", "json"} {
		r = bad.run(t.Context(), t, "flow", "check", "-o", output)
		if r.code != exitUsage || !strings.HasPrefix(r.stderr, "wasakari: flow process: DIR/bad.conf:2:") || (output == "json") != strings.Contains(r.stdout, `"good": false`) {
			t.Errorf("%+v", r)
		}
	}
	if r := bad.run(t.Context(), t, "flow", "show", "process"); !strings.Contains(r.stdout, "not granted: kv.*") || !strings.Contains(r.stdout, "problem: ") {
		t.Errorf("%+v", r)
	}
}

// A client logs in at the cloud, and finds the server in its catalog.
func TestRemoteLogin(t *testing.T) {
	p := newPlace(t, nil)
	s := serveRemote(t, p)
	p.environ = nil
	_, environ := startCloud(t, quickCloud, novasim.Options{Endpoints: map[string]string{"instance-ha": s.URL + "/v1"}})
	p.environ = environ
	r := p.run(t.Context(), t, "node", "list")
	if r.code != exitOK || len(s.seen) != 1 || s.seen[0] == "" || s.requests[0] != "GET /nodes" {
		t.Errorf("%+v, requests %q, tokens %q", r, s.requests, s.seen)
	}
	s.tokens = []string{"another"}
	says(t, p.run(t.Context(), t, "node", "list"), exitUsage, "", "wasakari: server "+s.URL+": it does not take the token; is it of the same cloud?\n")
	p.environ = nil
	says(t, p.run(t.Context(), t, "node", "list", "--server", s.URL), exitUsage, "",
		"wasakari: server "+s.URL+": it wants a token; name a cloud to log in at with --os-cloud, or set OS_CLOUD or the OS_* variables\n")
	s.tokens = nil
	for _, below := range []string{"", "/", "/v1", "/v1/", "/wasakari/v1"} {
		if r := p.run(t.Context(), t, "node", "list", "--server", s.URL+below); r.code != exitOK {
			t.Errorf("%s: %+v", below, r)
		}
	}
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	says(t, p.run(t.Context(), t, "node", "list", "--server", other.URL), exitUsage, "", "wasakari: server "+other.URL+": 404 Not Found: there is no Wasakari; name another with --server\n")
	away := httptest.NewServer(nil)
	away.Close()
	r = p.run(t.Context(), t, "runs", "watch", "r1", "--server", away.URL)
	if r.code != exitUsage || !strings.HasSuffix(r.stderr, "is wasakari serve running there? name another with --server\n") {
		t.Errorf("%+v", r)
	}
	for _, bad := range []string{"localhost:15868", "ftp://x", "http://user:hush@x", "http://"} {
		r := p.run(t.Context(), t, "node", "list", "--server", bad)
		if r.code != exitUsage || strings.Contains(r.stderr, "hush") {
			t.Errorf("%s: %+v", bad, r)
		}
	}
	// Whoever answers in another's place gets no token by a redirect.
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, s.URL+r.URL.Path, http.StatusFound) }))
	t.Cleanup(thief.Close)
	if r := p.run(t.Context(), t, "node", "list", "--server", thief.URL); r.code != exitUsage {
		t.Errorf("redirected: %+v", r)
	}
}

// On a terminal an upload shows how far it is, in place.
func TestBar(t *testing.T) {
	var out bytes.Buffer
	b := bar{out: &out, name: "a\x1b_task.wasm", total: 4, shown: -1}
	r := b.reader([]byte("wasm"))
	half := make([]byte, 2)
	for range 2 {
		if _, err := io.ReadFull(r, half); err != nil {
			t.Fatal(err)
		}
	}
	b.end()
	b.end()
	const clear = "\r\x1b[K"
	want := clear + "a·_task.wasm " + strings.Repeat("█", 15) + strings.Repeat("░", 15) + "  50 %" +
		clear + "a·_task.wasm " + strings.Repeat("█", 30) + " 100 %, being checked and compiled" + clear
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// The whole way through a server: a module is uploaded and used, its versions
// change, a run is followed, and how it ends is told.
func TestServeRemote(t *testing.T) {
	told := make(chan string, 64)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Wasakari-Signature") != "" {
			told <- r.Header.Get("X-Wasakari-Event")
		}
	}))
	t.Cleanup(hook.Close)
	key := abi.ManifestTask{Key: "a_task", Uses: []string{"kv.*"}}
	p := newPlace(t, map[string]string{
		"one.wasm":   wasmOf(t, "acme", "1.0.0", key),
		"other.wasm": wasmOf(t, "acme", "1.0.0", key, abi.ManifestTask{Key: "b_task"}),
		"two.wasm":   wasmOf(t, "acme", "1.1.0", key),
		"clash.wasm": wasmOf(t, "clash", "1.0.0", key),
		"large.wasm": strings.Repeat("x", 3<<20),
		"serve.conf": `[wasakari]
module_mib = 1
[taskflow_driver_recovery_flows]
process_failure_recovery_tasks = pre:['a_task'],main:['disable_compute_node_task'],post:[]
[grants]
acme = kv.*
[webhooks]
url = ` + hook.URL + `
secret = hush
`,
	})
	s := p.serve(t, "--simulate", "--config-file", "DIR/serve.conf")
	p.stdout = nil
	p.environ = append(p.environ, "WASAKARI_SERVER="+s.url)
	if r := p.run(t.Context(), t, "flow", "check"); r.code != exitUsage || !strings.Contains(r.stderr, "flow process: DIR/serve.conf:4:") {
		t.Errorf("check before the upload: %+v", r)
	}
	for _, step := range []struct {
		args []string
		code int
		want string // in what is printed
	}{
		{[]string{"task", "push", "DIR/one.wasm"}, exitOK, "active, compiled on every node"},
		{[]string{"flow", "check"}, exitOK, "all flows are good"},
		{[]string{"task", "push", "DIR/one.wasm"}, exitOK, "active, compiled on every node"},
		{[]string{"task", "push", "DIR/other.wasm"}, exitFailed, "is there already, with other bytes; a version never changes: raise version in task.yaml"},
		{[]string{"task", "push", "DIR/clash.wasm"}, exitFailed, "task a_task is in library acme 1.0.0"},
		{[]string{"task", "push", "DIR/large.wasm"}, exitFailed, "it is larger than the server takes; strip it"},
		{[]string{"task", "push", "DIR/two.wasm"}, exitOK, "acme 1.1.0, tasks a_task"},
		{[]string{"task", "pin", "a_task", "1.0.0"}, exitOK, "acme 1.0.0"},
		{[]string{"flow", "show", "process"}, exitOK, "acme 1.0.0"},
		{[]string{"task", "rm", "a_task", "1.0.0"}, exitFailed, "is the active one"},
		{[]string{"task", "rm", "a_task"}, exitFailed, "task a_task of library acme stands in flow process"},
		{[]string{"task", "unpin", "a_task"}, exitOK, "the next upload becomes the active version"},
		{[]string{"task", "push", "DIR/two.wasm"}, exitOK, "acme 1.1.0, tasks a_task"},
		{[]string{"task", "rm", "a_task", "1.0.0"}, exitOK, "removed version 1.0.0"},
		{[]string{"task", "versions", "a_task"}, exitOK, "active"},
		{[]string{"node", "list"}, exitOK, "compiled"},
	} {
		if r := p.run(t.Context(), t, step.args...); r.code != step.code || !strings.Contains(r.stdout+r.stderr, step.want) {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", strings.Join(step.args, " "), r.code, step.code, step.want, r.stdout, r.stderr)
		}
	}
	var sent notificationDoc
	s.ask(t, "POST", "/v1/notifications", `{"notification": {"type": "PROCESS", "hostname": "compute-1", "generated_time": "2026-11-23T10:00:00",
		"payload": {"event": "STOPPED", "process_name": "nova-compute"}}}`, nil, &sent)
	if done := s.final(t, sent.Notification.UUID); done.Notification.Status != "finished" {
		t.Fatalf("notification %+v", done)
	}
	var list wasakariv1.RunList
	r := p.run(t.Context(), t, "runs", "list", "--notification", sent.Notification.UUID, "-o", "json")
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || len(list.Runs) != 1 {
		t.Fatalf("%v: %+v", err, r)
	}
	id := list.Runs[0].ID
	if r := p.run(t.Context(), t, "runs", "watch", id); r.code != exitOK || !strings.Contains(r.stdout, "pre a_task") || !strings.HasSuffix(r.stdout, "\nfinished\n") {
		t.Errorf("watch: %+v", r)
	}
	if r := p.run(t.Context(), t, "runs", "show", id); r.code != exitOK || !strings.Contains(r.stdout, "nova.service_disable") || !strings.Contains(r.stdout, "req-") {
		t.Errorf("show: %+v", r)
	}
	if r := p.run(t.Context(), t, "runs", "abort", id, "--reason", "x"); r.code != exitFailed {
		t.Errorf("abort of one that has ended: %+v", r)
	}
	lines, err := os.ReadFile(filepath.Join(p.dir, "home", ".local/state/wasakari/audit.log"))
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(wasmOf(t, "acme", "1.0.0", key))))
	for _, want := range []string{"uploadModule", "pinModule", "removeVersion"} {
		if want = `"op":"` + want + `","target":"acme 1.0.0 ` + digest + `","outcome":"done"`; err != nil || !strings.Contains(string(lines), want) {
			t.Errorf("audit log, %v, lacks %s:\n%s", err, want, lines)
		}
	}
	events := []string{<-told, <-told}
	if !slices.Equal(events, []string{"run.finished", "notification.finished"}) {
		t.Errorf("told %q", events)
	}
	if r := s.stop(); r.code != exitOK {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
}

// Who follows a run while it goes on sees its tasks as they come.
func TestServeWatch(t *testing.T) {
	p := newPlace(t, nil)
	s := p.serve(t, "--simulate")
	p.environ = append(p.environ, "WASAKARI_SERVER="+s.url)
	p.stdout = nil
	var sent notificationDoc
	s.ask(t, "POST", "/v1/notifications", deadHost("compute-1"), nil, &sent)
	var list wasakariv1.RunList
	for len(list.Runs) == 0 {
		s.ask(t, "GET", "/wasakari/v1/runs", "", nil, &list)
	}
	r := p.run(t.Context(), t, "runs", "watch", list.Runs[0].ID)
	for _, want := range []string{"run " + list.Runs[0].ID + ", compute-1\n", "post evacuate_instances_task: started\n", " succeeded compute-1 → ", "succeeded (1 of 20)\n", "succeeded (20 of 20)\n", "\nfinished\n"} {
		if r.code != exitOK || !strings.Contains(r.stdout, want) {
			t.Errorf("exit %d, lacks %q:\n%s%s", r.code, want, r.stdout, r.stderr)
		}
	}
	if r := s.stop(); r.code != exitOK {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
}

// A reference without its scheme is no file: push says so before it asks a server.
func TestPushForgottenScheme(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"one.wasm": string(packed(t, guest("noop"), abi.ManifestTask{Key: "one"}))})
	r := p.run(t.Context(), t, "task", "push", "DIR/one.wasm", "registry.example.com/acme/recovery:1.4.0")
	const want = "wasakari: registry.example.com/acme/recovery:1.4.0: no such file; if it is an artifact of a registry, write oci://registry.example.com/acme/recovery:1.4.0\n"
	if r.code != exitUsage || r.stderr != want {
		t.Errorf("exit code %d\n%s%s\nwant\n%s", r.code, r.stdout, r.stderr, want)
	}
}
