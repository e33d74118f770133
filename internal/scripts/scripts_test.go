package scripts_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/scripts"
	"github.com/wasakari/wasakari/runtime"
)

// host answers a task with what is given for each op, and {} else.
type host struct {
	module  *runtime.Module
	input   abi.TaskInput
	answers map[string]string

	mu       sync.Mutex
	ops      []string // but for those of group task
	requests []string
	logs     []string
	progress []string
}

func (h *host) Do(_ context.Context, op *abi.Op, req []byte) ([]byte, error) {
	switch op.Name {
	case abi.OpTaskInput:
		return json.Marshal(h.input)
	case abi.OpTaskScript:
		return json.Marshal(abi.TaskScriptAnswer{Files: h.module.Script()})
	case abi.OpTaskSleep:
		return []byte("{}"), nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op.Name)
	h.requests = append(h.requests, op.Name+" "+string(req))
	answer, ok := h.answers[op.Name]
	if !ok {
		return []byte("{}"), nil
	}
	if code, refused := strings.CutPrefix(answer, "refused "); refused {
		var errno abi.Errno
		for errno = 1; errno.String() != code; errno++ {
		}
		return nil, &abi.Error{Code: errno, Message: op.Name + ": so it is", Status: 404, RequestID: "req-1"}
	}
	return []byte(answer), nil
}

func (h *host) Log(level abi.Level, msg string) { h.logs = append(h.logs, level.String()+" "+msg) }

func (h *host) Progress(permille int, msg string) {
	h.progress = append(h.progress, fmt.Sprintf("%d %s", permille, msg))
}

// build makes a module of a source with one file.
func build(t testing.TB, name, text string) (*runtime.Module, *abi.Manifest) {
	t.Helper()
	wasm, m, _, err := scripts.Build(context.Background(), rt, scripts.Source{Path: name, Files: []abi.ScriptFile{{Name: name, Text: text}}})
	if err != nil {
		t.Fatal(err)
	}
	module, err := rt.Admit(context.Background(), name, wasm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = module.Close(context.Background()) })
	return module, m
}

// run runs the only task of a module.
func run(t testing.TB, m *runtime.Module, h *host, revert bool) runtime.Result {
	t.Helper()
	h.module = m
	if h.input.Key == "" {
		h.input.Key = m.Manifest().Tasks[0].Key
	}
	h.input.Reverting = revert
	do := m.Run
	if revert {
		do = m.Revert
	}
	res, err := do(context.Background(), runtime.Call{Key: h.input.Key, Host: h, Limits: runtime.Limits{Timeout: time.Minute}})
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(h.logs, "\n"))
	}
	return res
}

func inputs(values map[string]any) map[string]json.RawMessage {
	m := map[string]json.RawMessage{}
	for k, v := range values {
		m[k], _ = json.Marshal(v) // values of the tests
	}
	return m
}

const header = `
from masakari.engine.drivers.taskflow import base
from masakari import exception
from taskflow import task
`

// Every method of the novaclient reaches its op, and is found in a source.
func TestNovaclient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ call, request, answer string }{
		{`get_servers(c, "h")`, `nova.server_list {"host":"h"}`, `{"servers":[]}`},
		{`get_server(c, "s")`, `nova.server_get {"id":"s"}`, `{"id":"s"}`},
		{`evacuate_instance(c, "s")`, `nova.server_evacuate {"id":"s"}`, ``},
		{`evacuate_instance(c, "s", target="t")`, `nova.server_evacuate {"id":"s","host":"t"}`, ``},
		{`stop_server(c, "s")`, `nova.server_stop {"id":"s"}`, ``},
		{`start_server(c, "s")`, `nova.server_start {"id":"s"}`, ``},
		{`lock_server(c, "s")`, `nova.server_lock {"id":"s"}`, `{"locked":true}`},
		{`unlock_server(c, "s")`, `nova.server_unlock {"id":"s"}`, `{"unlocked":true}`},
		{`reset_instance_state(c, "s")`, `nova.server_reset_state {"id":"s","state":"error"}`, ``},
		{`reset_instance_state(c, "s", "active")`, `nova.server_reset_state {"id":"s","state":"active"}`, ``},
		{`enable_disable_service(c, "h", enable=True)`, `nova.service_enable {"host":"h"}`, ``},
		{`enable_disable_service(c, "h", reason="r")`, `nova.service_disable {"host":"h","reason":"r"}`, ``},
		{`is_service_disabled(c, "h", "nova-compute")`, `nova.service_list {"host":"h","binary":"nova-compute"}`, `{"services":[{"status":"disabled"}]}`},
		{`get_aggregate_list(c)`, `nova.aggregate_list {}`, `{"aggregates":[]}`},
		{`add_host_to_aggregate(c, "h", {"id": 7})`, `nova.aggregate_add_host {"id":7,"host":"h"}`, ``},
		{`find_compute_service(c, "h")`, `nova.service_list {"host":"h","binary":"nova-compute"}`, `{"services":[{}]}`},
	} {
		t.Run(tt.call, func(t *testing.T) {
			t.Parallel()
			m, manifest := build(t, "call.py", header+`
class Call(base.MasakariTask):
    def execute(self):
        c = self.context
        self.novaclient.`+tt.call+"\n")
			op, _, _ := strings.Cut(tt.request, " ")
			if uses := manifest.Tasks[0].Uses; !slices.Contains(uses, op) {
				t.Errorf("uses = %q, want %s among them", uses, op)
			}
			h := &host{answers: map[string]string{}}
			if tt.answer != "" {
				h.answers[op] = tt.answer
			}
			if res := run(t, m, h, false); res.Exit != abi.ExitSucceeded || len(h.requests) != 1 || h.requests[0] != tt.request {
				t.Errorf("exit %d %s, requests %q, want %s", res.Exit, res.Reason, h.requests, tt.request)
			}
		})
	}
}

// What the source says of its tasks.
func TestDescribed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, file, text, want string }{
		{
			name: "arguments", file: "a.py",
			text: header + "class A(task.Task):\n    default_provides = 'x'\n    def execute(self, host_name, reserved_host=None): pass\n",
			want: `{"key":"a","class":"A","requires":["host_name"],"optional":["reserved_host"],"provides":["x"],"uses":["kv.put"]}`,
		},
		{
			name: "constructor", file: "a.py",
			text: header + "class A(base.MasakariTask):\n    def __init__(self, context, novaclient, **kwargs):\n        kwargs['requires'] = ['host_name']\n" +
				"        super().__init__(context, novaclient, provides=('x', 'y'), **kwargs)\n    def execute(self, **kwargs): pass\n",
			want: `{"key":"a","class":"A","requires":["host_name"],"provides":["x","y"],"uses":["kv.put"]}`,
		},
		{
			name: "any argument of a constructor", file: "a.py",
			text: header + "class A(base.MasakariTask):\n    def __init__(self, context, novaclient, **kwargs):\n        self.update = kwargs['update_host_method']\n" +
				"        super().__init__(context, novaclient, **kwargs)\n    def execute(self): pass\n",
			want: `{"key":"a","class":"A","uses":["ha.host_update"]}`,
		},
		{
			name: "two classes", file: "a.py",
			text: header + "class Base(task.Task):\n    def execute(self): pass\nclass HTTPPing(Base): pass\nclass WaitForIt(Base):\n    \"\"\"Waits.\"\"\"\n",
			want: `{"key":"http_ping","class":"HTTPPing"} {"key":"wait_for_it","class":"WaitForIt","summary":"Waits."}`,
		},
		{
			name: "function", file: "a.py",
			text: "import wasakari\ndef undo(host_name, x): pass\n@wasakari.task(key='b', provides='y', revert=undo)\ndef f(host_name, z=1):\n    wasakari.kv.library.put('k', wasakari.nova.begin.server_get('s'))\n",
			want: `{"key":"b","class":"f","requires":["host_name","x"],"optional":["z"],"provides":["y"],"uses":["kv.get","kv.put","nova.server_get"]}`,
		},
		{
			name: "options", file: "a.py",
			text: header + "from oslo_config import cfg\ncfg.CONF.register_opts([cfg.PortOpt('p', default=80), cfg.StrOpt('c', choices=['a', ('b', 'B')]), cfg.FloatOpt('f', default=1.5), " +
				"cfg.URIOpt('u'), cfg.StrOpt('s', secret=True, default='no'), cfg.DictOpt('d', default={'k': 'v'})], 'g')\nclass A(task.Task):\n    def execute(self): pass\n",
			want: `{"key":"a","class":"A","options":[{"group":"g","name":"p","type":"int","default":80,"min":0,"max":65535},{"group":"g","name":"c","type":"string","choices":["a","b"]},` +
				`{"group":"g","name":"f","type":"float","default":1.5},{"group":"g","name":"u","type":"uri"},{"group":"g","name":"s","type":"string","secret":true},{"group":"g","name":"d","type":"string","default":"k:v"}]}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, m := build(t, tt.file, tt.text)
			var got []string
			for _, mt := range m.Tasks {
				doc, err := json.Marshal(mt)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(doc))
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("tasks\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// How a task ends, and what it tells.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, body string
		answers    map[string]string
		exit       abi.Exit
		reason     string
	}{
		{name: "well", body: "return 1"},
		{name: "skip", body: `raise exception.SkipHostRecoveryException("nothing here")`, exit: abi.ExitNothingToDo, reason: "nothing here"},
		{name: "skip server", body: `raise exception.SkipInstanceRecoveryException()`, exit: abi.ExitNothingToDo, reason: "Skipping execution of instance recovery workflow."},
		{name: "ignore", body: `raise exception.IgnoreInstanceRecoveryException("paused")`, exit: abi.ExitIgnored, reason: "paused"},
		{name: "failure", body: `raise exception.HostRecoveryFailureException(message="no")`, exit: abi.ExitFailed, reason: "no"},
		{
			name: "not caught", body: `{}["x"]`, exit: abi.ExitFailed,
			reason: "File \"end.py\", line 8, in execute\n    {}[\"x\"]\n    ~~^^^^^\nKeyError: 'x'",
		},
		{name: "exit", body: `raise SystemExit(3)`, exit: abi.ExitFailed, reason: "the task called exit(3); it says its outcome by returning, or raises an error"},
		{
			name: "recursion", body: "f = lambda: f()\n        f()", exit: abi.ExitFailed,
			reason: "File \"end.py\", line 8, in <lambda>\n    f = lambda: f()\n                ^^^\nRecursionError: maximum recursion depth exceeded",
		},
		{
			name: "deep recursion in C", body: "class D(dict):\n            __missing__ = lambda s, k: str.__format__(s[k + 1], '')\n        D()[0]", exit: abi.ExitFailed,
			reason: "File \"end.py\", line 9, in <lambda>\n    __missing__ = lambda s, k: str.__format__(s[k + 1], '')\n                                              ~^^^^^^^\nRecursionError: maximum recursion depth exceeded while calling a Python object",
		},
		{
			name: "op refused", body: `self.novaclient.get_server(self.context, "s")`, answers: map[string]string{"nova.server_get": "refused not_found"}, exit: abi.ExitFailed,
			reason: "nova.server_get: not found: so it is (HTTP 404, req-1)",
		},
		{
			name: "op refused, caught", answers: map[string]string{"nova.server_get": "refused not_found"},
			body: "try:\n            self.novaclient.get_server(self.context, 's')\n        except exception.NotFound:\n            pass",
		},
		{
			name: "request answered by nothing", answers: map[string]string{"http.request": `{"status":204,"url":"https://a.example/"}`}, exit: abi.ExitFailed, reason: "204 '' {} 204 ''",
			body: "import wasakari\n        requests = getattr(wasakari, 'http')\n        a, b = requests.get('https://a.example/'), requests.begin.request('GET', 'https://a.example/').result()\n" +
				"        raise exception.HostRecoveryFailureException(message='%d %r %r %d %r' % (a.status, a.body, a.headers, b.status, b.body))",
		},
		{name: "does not provide", body: "self.save_as = {'x': 0}\n        return None", exit: abi.ExitFailed, reason: "it provides x, but execute returned None"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, _ := build(t, "end.py", header+"class End(base.MasakariTask):\n    def execute(self):\n        pass\n        "+tt.body+"\n")
			h := &host{answers: tt.answers}
			if res := run(t, m, h, false); res.Exit != tt.exit || res.Reason != tt.reason {
				t.Errorf("exit %d %q\nwant %d %q\n%s", res.Exit, res.Reason, tt.exit, tt.reason, strings.Join(h.logs, "\n"))
			}
		})
	}
}

// What is frozen in the engine is not what every sandbox gets by chance.
func TestRandomness(t *testing.T) {
	t.Parallel()
	m, _ := build(t, "r.py", "import wasakari, random, uuid, time\n@wasakari.task\ndef r():\n    print(random.random(), uuid.uuid4(), time.time() > 1.7e9)\n")
	seen := map[string]bool{}
	for range 3 {
		h := &host{}
		run(t, m, h, false)
		if len(h.logs) != 1 || !strings.HasSuffix(h.logs[0], " True") {
			t.Fatalf("logs = %q", h.logs)
		}
		seen[h.logs[0]] = true
	}
	if len(seen) != 3 {
		t.Errorf("three sandboxes said %v", seen)
	}
}

// What is no UTF-8 is told escaped, and ends no task.
func TestHalfOfAPair(t *testing.T) {
	t.Parallel()
	m, _ := build(t, "pair.py", `
import logging, wasakari
@wasakari.task
def pair():
    wasakari.log.info("a \ud800")
    logging.warning("b \udfff")
    print("c \ud800")
    wasakari.progress(500, "d \ud800")
    wasakari.succeed("e")
`)
	h := &host{}
	res := run(t, m, h, false)
	want := []string{`info a \ud800`, `warn b \udfff`, `info c \ud800`}
	if res.Exit != abi.ExitSucceeded || !slices.Equal(h.logs, want) {
		t.Errorf("exit %d %q, logs %q, want %q", res.Exit, res.Reason, h.logs, want)
	}
}

// Several ops are in flight at once, and generators go on beside one another.
func TestParallel(t *testing.T) {
	t.Parallel()
	m, _ := build(t, "p.py", `
import wasakari
from wasakari import nova

def one(id):
    yield nova.begin.server_stop(id)
    server = yield nova.begin.server_get(id)
    return server.id

def nested():
    results = yield [one("a"), nova.begin.server_get("s")]
    return len(results)

@wasakari.task(provides="x")
def p(ids):
    return [str(r) for r in wasakari.parallel([*(one(i) for i in ids), nested(), nova.begin.server_start("t")])]
`)
	h := &host{
		input:   abi.TaskInput{Inputs: inputs(map[string]any{"ids": []string{"a", "b", "c"}})},
		answers: map[string]string{"nova.server_get": `{"id":"s"}`, "nova.server_start": "refused conflict"},
	}
	res := run(t, m, h, false)
	want := `kv.put {"name":"x","value":["s","s","s","2","nova.server_start: conflict: so it is (HTTP 404, req-1)"]}`
	if res.Exit != abi.ExitSucceeded || h.requests[len(h.requests)-1] != want {
		t.Errorf("exit %d %s, last request\n got %s\nwant %s", res.Exit, res.Reason, h.requests[len(h.requests)-1], want)
	}
}

func TestRevert(t *testing.T) {
	t.Parallel()
	m, _ := build(t, "u.py", header+`
class U(task.Task):
    default_provides = "x"
    def execute(self, host_name):
        return 1
    def revert(self, host_name, result, flow_failures, **kwargs):
        print(host_name, result, list(flow_failures.values())[0].exception_str)
`)
	h := &host{
		input:   abi.TaskInput{Inputs: inputs(map[string]any{"host_name": "h"}), Failure: "it broke"},
		answers: map[string]string{"kv.get": `{"value":5}`},
	}
	if res := run(t, m, h, true); res.Exit != abi.ExitSucceeded || len(h.logs) != 1 || h.logs[0] != "info h 5 it broke" {
		t.Errorf("exit %d %s, logs %q", res.Exit, res.Reason, h.logs)
	}
}

// task.yaml holds, whatever the source says.
func TestManifestWins(t *testing.T) {
	t.Parallel()
	src := scripts.Source{
		Path:     "dir/a.py",
		Files:    []abi.ScriptFile{{Name: "a.py", Text: header + "class A(task.Task):\n    def execute(self, host_name): pass\n    def revert(self, **k): pass\n"}},
		Manifest: []byte(`{"library":"mine","version":"2.0.0","tasks":[{"key":"other","uses":["nova.*"],"limits":{"timeout":"1m"}}]}`),
	}
	wasm, m, _, err := scripts.Build(t.Context(), rt, src)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.TrimSpace(string(m.Encode())), `{"abi":1,"library":"mine","version":"2.0.0","tasks":[{"key":"other","class":"A","requires":["host_name"],"uses":["nova.*"],"limits":{"timeout":"1m"}}]}`; got != want {
		t.Errorf("manifest\n got %s\nwant %s", got, want)
	}
	if ref, err := abi.ReadEngine(wasm); err != nil || !slices.Equal(ref.Reverts, []string{"other"}) {
		t.Errorf("engine = %+v, %v, want that task other can be reverted", ref, err)
	}
	again, _, _, err := scripts.Build(t.Context(), rt, src)
	if err != nil || string(again) != string(wasm) {
		t.Errorf("another build differs, %v", err)
	}
	src.Manifest = []byte(`{"tasks":[{"key":"x"},{"key":"y"}]}`)
	if _, _, _, err := scripts.Build(t.Context(), rt, src); !errors.Is(err, scripts.ErrSource) {
		t.Errorf("error = %v, want ErrSource", err)
	}
}

// A file brings those that it imports; a folder all that belongs to it.
func TestCollect(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.py": "import os, b\nfrom pkg.sub import (one,\n  two)\n", "b.py": "from . import c\n", "c.py": "import a\n", "unused.py": "",
		"pkg/__init__.py": "", "pkg/sub/__init__.py": "from .one import x\nfrom .. import top\n", "pkg/sub/one.py": "", "pkg/top.py": "", "pkg/other.py": "",
		"setup.cfg": "", "tests/test_a.py": "", "test_b.py": "", ".hidden/x.py": "", "README.md": "",
		"m.ts": "import { x } from './n.js'\n", "n.ts": "", "n.js": "",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"a.py": "a.py b.py c.py pkg/__init__.py pkg/sub/__init__.py pkg/sub/one.py pkg/top.py",
		"":     "a.py b.py c.py pkg/__init__.py pkg/other.py pkg/sub/__init__.py pkg/sub/one.py pkg/top.py setup.cfg unused.py",
	} {
		src, err := scripts.Collect(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range src.Files {
			got = append(got, f.Name)
		}
		if name != "" && got[0] != name {
			t.Errorf("the first file of %s is %s", name, got[0])
		}
		slices.Sort(got)
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%q\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		files []abi.ScriptFile
		want  string
	}{
		{"none", nil, "x: no file ends in .py, .js, .mjs or .ts"},
		{"two languages", []abi.ScriptFile{{Name: "a.py"}, {Name: "b.js"}}, "x: a.py is python, and b.js is javascript; a module is of one language"},
		{"no text", []abi.ScriptFile{{Name: "a.py", Text: "\xff"}}, "a.py: it is not UTF-8"},
		{"reserved name", []abi.ScriptFile{{Name: "a.py"}, {Name: "wasakari.json"}}, "wasakari.json: a file of this name is made when the module is built; give yours another name"},
		{"asks for something", []abi.ScriptFile{{Name: "a.py", Text: "import wasakari\nwasakari.kv.get('x')\n"}}, "a.py:2: Forbidden: kv.get: forbidden: a task that is built can ask for nothing yet"},
		{"no constructor", []abi.ScriptFile{{Name: "a.py", Text: header + "class A(task.Task):\n    def __init__(self): pass\n    def execute(self): pass\n"}}, "a.py: class A: its constructor does not call that of its base class"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, _, err := scripts.Build(t.Context(), rt, scripts.Source{Path: "x", Files: tt.files})
			if err == nil || err.Error() != tt.want || !errors.Is(err, scripts.ErrSource) {
				t.Errorf("error\n got %v\nwant %s", err, tt.want)
			}
		})
	}
}

const tenLines = `from oslo_log import log as logging
from taskflow import task

LOG = logging.getLogger(__name__)


class Ten(task.Task):
    def execute(self, host_name):
        LOG.info("host %s", host_name)
`

// A whole task of ten lines: sandbox, script, run, end.
func BenchmarkPython(b *testing.B) {
	m, _ := build(b, "ten.py", tenLines)
	in := abi.TaskInput{Inputs: inputs(map[string]any{"host_name": "compute-1"})}
	var peak, units int64
	for b.Loop() {
		res := run(b, m, &host{input: in}, false)
		if res.Exit != abi.ExitSucceeded {
			b.Fatal(res.Reason)
		}
		peak, units = res.MemoryPeak, res.CPU
	}
	b.ReportMetric(float64(peak)/(1<<20), "MiB-linear")
	b.ReportMetric(float64(units)/1e6, "Munits")
}

// resident gives the resident memory of this process, in bytes: pages that
// several have count once.
func resident(b *testing.B) int64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "Pss: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	b.Fatalf("no Pss: %s", text)
	return 0
}

// waiting is a host whose tasks all wait in one op until they are let go.
type waiting struct {
	host
	arrived *sync.WaitGroup
	leave   chan struct{}
}

func (w *waiting) Do(ctx context.Context, op *abi.Op, req []byte) ([]byte, error) {
	if op.Name == abi.OpNovaServerGet {
		w.arrived.Done()
		<-w.leave
		return []byte(`{"id":"s"}`), nil
	}
	return w.host.Do(ctx, op, req)
}

// What a task that is under way keeps resident.
func BenchmarkPythonResident(b *testing.B) {
	m, _ := build(b, "ten.py", tenLines+"        self.server = __import__('wasakari').nova.server_get('s')\n")
	const n = 50
	for b.Loop() {
		before := resident(b)
		var arrived, done sync.WaitGroup
		leave := make(chan struct{})
		arrived.Add(n)
		for range n {
			h := &waiting{arrived: &arrived, leave: leave}
			h.module, h.input = m, abi.TaskInput{Key: "ten", Inputs: inputs(map[string]any{"host_name": "h"})}
			done.Go(func() {
				if res, err := m.Run(context.Background(), runtime.Call{Key: "ten", Host: h, Limits: runtime.Limits{Timeout: time.Minute}}); err != nil || res.Exit != abi.ExitSucceeded {
					b.Error(res.Reason, err)
				}
			})
		}
		arrived.Wait()
		b.ReportMetric(float64(resident(b)-before)/n/1e6, "MB/task")
		close(leave)
		done.Wait()
	}
}

// What files in Python mention of Masakari's own options their tasks may read,
// whatever task.yaml says of others.
func TestMasakariOptions(t *testing.T) {
	t.Parallel()
	src := scripts.Source{
		Path: "dir/a.py",
		Files: []abi.ScriptFile{
			{Name: "a.py", Text: header + "from masakari import conf\nclass A(task.Task):\n    def execute(self):\n        conf.CONF.host_failure.evacuate_all_instances\n        conf.CONF.verify_interval\n" +
				"class B(task.Task):\n    def execute(self):\n        process_all_instances = ha_enabled_instance_metadata_key = 1\n"},
			{Name: "setup.cfg", Text: "[metadata]\nsummary = wait_period_after_power_on\n"},
		},
		Manifest: []byte(`{"library":"mine","version":"2.0.0","tasks":[{"key":"a_task","class":"A","options":[{"group":"mine","name":"x","type":"int"},{"group":"DEFAULT","name":"verify_interval","type":"seconds"}]},{"key":"b_task","class":"B"}]}`),
	}
	_, m, _, err := scripts.Build(t.Context(), rt, src)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"a_task": "mine.x DEFAULT.verify_interval host_failure.evacuate_all_instances host_failure.ha_enabled_instance_metadata_key",
		"b_task": "DEFAULT.verify_interval host_failure.evacuate_all_instances host_failure.ha_enabled_instance_metadata_key",
	} {
		var got []string
		for _, o := range m.Task(key).Options {
			got = append(got, o.Group+"."+o.Name)
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s may read %s, want %s", key, got, want)
		}
	}
}
