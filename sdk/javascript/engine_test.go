// Package javascript_test runs scripts on the engine, as the program does.
package javascript_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/engines"
	"github.com/wasakari/wasakari/internal/scripts"
	"github.com/wasakari/wasakari/internal/testcompiler"
	"github.com/wasakari/wasakari/runtime"
)

// rt runs all tests.
var rt *runtime.Runtime

func TestMain(m *testing.M) {
	testcompiler.MainOn(runtime.Config{Engines: engines.All()}, func(r *runtime.Runtime) int {
		rt = r
		return m.Run()
	})
}

// op answers an op.
type op func(ctx context.Context, req []byte) (any, *abi.Error)

func just(answer any) op {
	return func(context.Context, []byte) (any, *abi.Error) { return answer, nil }
}

// host answers what a script asks for.
type host struct {
	module *runtime.Module
	input  abi.TaskInput
	ops    map[string]op

	mu       sync.Mutex
	values   map[string]json.RawMessage
	requests []string
	logs     []string
	progress []string
}

func (h *host) Do(ctx context.Context, o *abi.Op, req []byte) ([]byte, error) {
	if o.Name != abi.OpTaskInput && o.Name != abi.OpTaskScript {
		h.mu.Lock()
		h.requests = append(h.requests, o.Name+" "+string(req))
		h.mu.Unlock()
	}
	switch f := h.ops[o.Name]; {
	case f != nil:
		v, err := f(ctx, req)
		if err != nil {
			return nil, err
		}
		if raw, ok := v.(string); ok {
			return []byte(raw), nil
		}
		return json.Marshal(v)
	case o.Name == abi.OpTaskInput:
		return json.Marshal(h.input)
	case o.Name == abi.OpTaskScript:
		return json.Marshal(abi.TaskScriptAnswer{Files: h.module.Script()})
	case o.Name == abi.OpKVPut:
		var r abi.KVPutRequest
		if err := abi.DecodeRequest(o.Name, req, &r); err != nil {
			return nil, err
		}
		h.values[r.Name] = slices.Clone(r.Value)
		return []byte(`{"version":1}`), nil
	case o.Name == abi.OpKVGet:
		var r abi.KVGetRequest
		if err := abi.DecodeRequest(o.Name, req, &r); err != nil {
			return nil, err
		}
		v, ok := h.values[r.Name]
		if !ok {
			return nil, abi.Errorf(abi.ErrnoNotFound, "value %s is not there", r.Name)
		}
		return json.Marshal(abi.KVGetAnswer{Value: v, Version: 1})
	case o.Name == abi.OpTaskSleep:
		return []byte(`{}`), nil
	}
	return nil, abi.Errorf(abi.ErrnoForbidden, "%s: nobody answers it", o.Name)
}

func (h *host) Log(level abi.Level, msg string) { h.logs = append(h.logs, level.String()+" "+msg) }

func (h *host) Progress(permille int, msg string) {
	h.progress = append(h.progress, fmt.Sprint(permille, " ", msg))
}

// build makes a module of files, the first being the one with the tasks.
func build(t testing.TB, files ...abi.ScriptFile) *runtime.Module {
	t.Helper()
	wasm, _, _, err := scripts.Build(context.Background(), rt, scripts.Source{Path: files[0].Name, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	m, err := rt.Admit(context.Background(), files[0].Name, wasm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}

func newHost(m *runtime.Module) *host {
	return &host{
		module: m, values: map[string]json.RawMessage{}, ops: map[string]op{},
		input: abi.TaskInput{Key: m.Manifest().Tasks[0].Key, Flow: "host-auto", Phase: "main", RunID: "r", Attempt: 1, IdempotencyKey: "r/main/0"},
	}
}

// run runs a script of one file, t.js.
func run(t *testing.T, text string, with ...func(*host)) (*host, runtime.Result, error) {
	t.Helper()
	m := build(t, abi.ScriptFile{Name: "t.js", Text: text})
	h := newHost(m)
	for _, f := range with {
		f(h)
	}
	res, err := m.Run(t.Context(), runtime.Call{Key: h.input.Key, Host: h, Limits: m.Limits(h.input.Key)})
	return h, res, err
}

func TestOutcomes(t *testing.T) {
	tests := []struct {
		name, text string
		exit       abi.Exit
		reason     string
		logs       []string
	}{
		{name: "nothing returned", text: `export default { run() {} }`},
		{name: "a function", text: `export default async function ({ log }) { log("ran") }`, logs: []string{"info ran"}},
		{name: "export run", text: `export function run({ log }) { log("ran") }`, logs: []string{"info ran"}},
		{name: "succeed", text: `export default { run({ succeed }) { succeed("enough") } }`, reason: "enough"},
		{name: "fail", text: `export default { run({ fail }) { return fail("no room") } }`, exit: abi.ExitFailed, reason: "no room"},
		{name: "nothing", text: `import { nothing } from "wasakari"; export default { async run() { throw nothing("all is well") } }`, exit: abi.ExitNothingToDo, reason: "all is well"},
		{name: "ignore", text: `export default { run({ ignore }) { ignore("not ours") } }`, exit: abi.ExitIgnored, reason: "not ours"},
		{
			name: "thrown", text: "export default {\n  run() {\n    throw new Error('the moon fell');\n  },\n};", exit: abi.ExitFailed,
			reason: "Error: the moon fell (t.js:3)", logs: []string{"error Error: the moon fell", "error     at run (t.js:3:20)"},
		},
		{
			name: "a cause", text: `export default { run() { throw new TypeError("outer", { cause: new Error("inner") }) } }`, exit: abi.ExitFailed,
			reason: "TypeError: outer: caused by Error: inner (t.js:1)", logs: []string{"error TypeError: outer: caused by Error: inner", "error     at run (t.js:1:45)"},
		},
		{name: "not an error", text: `export default { run() { throw { a: 1 } } }`, exit: abi.ExitFailed, reason: "thrown: { a: 1 }"},
		{
			name: "after an await", exit: abi.ExitFailed, reason: "TypeError: cannot read property 'b' of undefined (t.js:3)",
			text: "import { sleep } from 'wasakari';\nasync function f(a) { await sleep(1);\n  return a.b }\nexport default { async run() { await f() } }",
			logs: []string{"error TypeError: cannot read property 'b' of undefined", "error     at f (t.js:3:11)"},
		},
		{
			name: "an op", exit: abi.ExitFailed, reason: "nova.server_get: forbidden: nobody answers it",
			text: "async function f(nova) {\n  return nova.serverGet({ id: 'a' })\n}\nexport default { async run({ nova }) { await f(nova) } }",
			logs: []string{"error nova.server_get: forbidden: nobody answers it", "error     at f (t.js:2:24)", "error     at run (t.js:4:47)"},
		},
		{name: "a promise for ever", text: `export default { run: () => new Promise(() => {}) }`, exit: abi.ExitFailed, reason: "the task waits for a promise that nothing can settle"},
		{
			name: "not awaited", text: `export default { run({ nova }) { nova.serverGet({ id: "a" }) } }`, exit: abi.ExitFailed,
			reason: "Error: tickets left open: the task ended and did not await nova.server_get",
		},
		{
			name: "not handled", text: `export default { async run({ sleep }) { Promise.reject(new Error("lost")); await sleep(1) } }`, exit: abi.ExitFailed,
			reason: "Error: lost (t.js:1)", logs: []string{"error Error: lost", "error     at run (t.js:1:65)"},
		},
		{
			name: "not handled, and waited for", text: `export default { run() { Promise.reject(new Error("lost")); return new Promise(() => {}) } }`, exit: abi.ExitFailed,
			reason: "Error: lost (t.js:1)", logs: []string{"error Error: lost", "error     at run (t.js:1:50)"},
		},
		{
			name: "thrown by a timer", text: "export default { run() { return new Promise(() => setTimeout(() => {\n  throw new Error('late') }, 1)) } }", exit: abi.ExitFailed,
			reason: "Error: late (t.js:2)", logs: []string{"error Error: late", "error     at <anonymous> (t.js:2:18)"},
		},
		{name: "handled late", text: `export default { async run({ sleep }) { const p = Promise.reject(1); await sleep(1); await p.catch(() => {}) } }`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, res, err := run(t, tt.text)
			if err != nil && tt.reason != "Error: tickets left open: the task ended and did not await nova.server_get" {
				t.Error(err)
			}
			if res.Exit != tt.exit || res.Reason != tt.reason {
				t.Errorf("exit %d, %q, want %d, %q", res.Exit, res.Reason, tt.exit, tt.reason)
			}
			if !slices.Equal(h.logs, tt.logs) {
				t.Errorf("logs = %q, want %q", h.logs, tt.logs)
			}
		})
	}
}

// What a task is given and what it may do.
func TestContext(t *testing.T) {
	h, res, err := run(t, `
import * as w from "wasakari";
export default {
  requires: ["host_name", "big"], provides: ["seen", "big_too"], http: ["POST https://x.example/"],
  options: [{ group: "acme", name: "token", type: "string", secret: true }, { group: "acme", name: "queue", type: "string", default: "ops" }],
  async run(ctx) {
    const { inputs, options, kv, log, progress, task, http, parallel, nova, call } = ctx;
    for (const k of Object.keys(ctx)) if (w[k] !== ctx[k]) log.error("differs:", k);
    log(inputs.host_name, inputs.big, typeof inputs.big, options.acme.queue, options.acme.unset);
    log.debug(task.key, task.flow, task.attempt, task.round, task.reverting, task.idempotency_key);
    log.warn([1, "a", null, undefined, 2n, () => 1, new Map([["k", { v: 1 }]]), new Set([1])]);
    console.log(String(options.acme.token), options.acme.token);
    progress(1500.4, "half");
    await http.post("https://x.example/", { headers: { Authorization: options.acme.token.withPrefix("Bearer ") }, body_json: { n: 2n ** 63n - 1n } });
    log(await kv.get("absent", "otherwise"), await kv.library.get("absent", 0));
    await kv.scratch.put("mine", 1);
    await kv.library.put("ours", [1], { if_version: 0, ttl_s: 60 });
    const names = await parallel(["a", "b", "c"], async (id) => (await nova.serverGet({ id, fields: ["name"] })).name, { limit: 2 });
    log(await call("ha.segment_get"));
    return { seen: names, big_too: inputs.big };
  },
};`, func(h *host) {
		h.input.Inputs = map[string]json.RawMessage{"host_name": []byte(`"c1"`), "big": []byte(`9223372036854775807`)}
		h.input.Options = map[string]map[string]json.RawMessage{"acme": {"token": []byte(`{"$secret":"acme.token"}`), "queue": []byte(`"ops"`), "unset": []byte("null")}}
		h.ops[abi.OpHTTPRequest] = just(abi.HTTPRequestAnswer{Status: 201})
		h.ops[abi.OpHASegmentGet] = just(abi.Segment{UUID: "u", Name: "s"})
		h.ops[abi.OpNovaServerGet] = func(_ context.Context, req []byte) (any, *abi.Error) {
			var r abi.NovaServerGetRequest
			if err := abi.DecodeRequest(abi.OpNovaServerGet, req, &r); err != nil {
				return nil, err
			}
			return abi.Server{ID: r.ID, Name: "name of " + r.ID}, nil
		}
	})
	if err != nil || res.Exit != abi.ExitSucceeded {
		t.Fatalf("exit %d %q: %v; logs %q", res.Exit, res.Reason, err, h.logs)
	}
	logs := []string{
		"info c1 9223372036854775807 bigint ops null",
		"debug t host-auto 1 1 false r/main/0",
		`warn [1, "a", null, undefined, 2n, [function anonymous], Map { "k" => { v: 1 } }, Set { 1 }]`,
		"info [secret acme.token] [secret acme.token]",
		"info otherwise { value: 0, version: 0 }",
		`info { uuid: "u", name: "s" }`,
	}
	if !slices.Equal(h.logs, logs) {
		t.Errorf("logs = %q, want %q", h.logs, logs)
	}
	if want := []string{"1000 half"}; !slices.Equal(h.progress, want) {
		t.Errorf("progress = %q, want %q", h.progress, want)
	}
	for _, want := range []string{
		`http.request {"method":"POST","url":"https://x.example/","headers":{"Authorization":{"$secret":"acme.token","prefix":"Bearer "}},"body_json":{"n":9223372036854775807}}`,
		`kv.put {"name":"scratch/mine","value":1}`,
		`kv.put {"scope":"library","name":"ours","value":[1],"if_version":0,"ttl_s":60}`,
		`kv.put {"name":"seen","value":["name of a","name of b","name of c"]}`,
		`kv.put {"name":"big_too","value":9223372036854775807}`,
	} {
		if !slices.Contains(h.requests, want) {
			t.Errorf("no request %s in\n%s", want, strings.Join(h.requests, "\n"))
		}
	}
}

func TestRevert(t *testing.T) {
	m := build(t, abi.ScriptFile{Name: "t.js", Text: `
export const one = { run() {}, revert({ task, log }) { log(task.failure) } };
export const two = { key: "second", run() {} };`})
	if got := []bool{m.Manifest().Tasks[0].Key == "one", m.Manifest().Tasks[1].Key == "second"}; !got[0] || !got[1] {
		t.Fatalf("tasks = %+v", m.Manifest().Tasks)
	}
	h := newHost(m)
	h.input.Reverting, h.input.Failure = true, "it broke"
	res, err := m.Revert(t.Context(), runtime.Call{Key: "one", Host: h})
	if err != nil || res.Exit != abi.ExitSucceeded || !slices.Equal(h.logs, []string{"info it broke"}) {
		t.Errorf("exit %d %q %v, logs %q", res.Exit, res.Reason, err, h.logs)
	}
	if _, err := m.Revert(t.Context(), runtime.Call{Key: "second", Host: h}); err == nil || err.Error() != "task second: module t.js has no revert" {
		t.Errorf("error = %v", err)
	}
}

// A task whose key task.yaml changes is found by its class.
func TestRenamed(t *testing.T) {
	const text = `export const one = { run({ log }) { log("one") } }; export const two = { class: "Two", run({ log }) { log("two") } };`
	wasm, _, _, err := scripts.Build(t.Context(), rt, scripts.Source{
		Path: "t.js", Files: []abi.ScriptFile{{Name: "t.js", Text: text}},
		Manifest: []byte(`{"abi": 1, "library": "l", "version": "1.0.0", "tasks": [{"key": "one"}, {"key": "other", "class": "Two"}]}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := rt.Admit(t.Context(), "t.js", wasm)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // nothing runs any more
	for key, want := range map[string]string{"one": "info one", "other": "info two"} {
		h := newHost(m)
		h.input.Key = key
		res, err := m.Run(t.Context(), runtime.Call{Key: key, Host: h})
		if err != nil || res.Exit != abi.ExitSucceeded || !slices.Equal(h.logs, []string{want}) {
			t.Errorf("%s: exit %d %q %v, logs %q", key, res.Exit, res.Reason, err, h.logs)
		}
	}
}

// Timers, ops that are given up, and ops beyond the tickets that a task may have.
func TestTime(t *testing.T) {
	_, res, err := run(t, `
export default { async run({ nova, sleep, log, parallel, fail }) {
  const order = [];
  const never = setTimeout(() => order.push("never"), 1);
  clearTimeout(never);
  await new Promise((done) => {
    const every = setInterval((x) => { order.push(x); if (order.length === 2) { clearInterval(every); done() } }, 2, "i");
  });
  await new Promise((done) => setTimeout((x) => { order.push(x); done() }, 5, "t"));
  const slow = await nova.serverGet({ id: "never" }, { timeout: 5 }).catch((err) => err.code);
  const many = await parallel(Array.from({ length: 200 }, (_, i) => i), async (i) => (await nova.serverGet({ id: String(i) })).id, { limit: 200 });
  await parallel([() => sleep(0), () => sleep(1)]);
  const failed = await parallel([1, 2, 3], async (i) => { if (i > 1) throw new Error(String(i)); await sleep(1) }).catch((err) => err.message);
  const text = [order.join(""), slow, many.length, many[199], failed].join(" ");
  if (text !== "iit timeout 200 199 2") fail(text);
} };`, func(h *host) {
		h.ops[abi.OpNovaServerGet] = func(ctx context.Context, req []byte) (any, *abi.Error) {
			var r abi.NovaServerGetRequest
			if err := abi.DecodeRequest(abi.OpNovaServerGet, req, &r); err != nil {
				return nil, err
			}
			if r.ID == "never" {
				<-ctx.Done()
				return nil, abi.Errorf(abi.ErrnoCanceled, "given up")
			}
			return abi.Server{ID: r.ID}, nil
		}
	})
	if err != nil || res.Exit != abi.ExitSucceeded {
		t.Errorf("exit %d %q %v", res.Exit, res.Reason, err)
	}
}

// Two sandboxes draw different numbers, although they begin from one snapshot.
func TestRandom(t *testing.T) {
	m := build(t, abi.ScriptFile{Name: "t.js", Text: `
export default { run({ log }) {
  log(Math.random(), crypto.randomUUID(), crypto.getRandomValues(new Uint16Array(2)), Date.now() > 1.7e12);
} };`})
	seen := map[string]bool{}
	for range 3 {
		h := newHost(m)
		if res, err := m.Run(t.Context(), runtime.Call{Key: "t", Host: h}); err != nil || res.Exit != abi.ExitSucceeded {
			t.Fatalf("exit %d %q %v", res.Exit, res.Reason, err)
		}
		if !regexp.MustCompile(`^info 0\.\d+ [0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12} .* true$`).MatchString(h.logs[0]) {
			t.Errorf("log = %q", h.logs[0])
		}
		for _, word := range strings.Fields(h.logs[0])[1:3] {
			if seen[word] {
				t.Errorf("%s twice", word)
			}
			seen[word] = true
		}
	}
}

// Several files, JSON, TypeScript: the lines told are the author's.
func TestFiles(t *testing.T) {
	m := build(t,
		abi.ScriptFile{Name: "t.ts", Text: "import { f } from './lib/f.js';\nimport data from './data.json';\ninterface A { a: string }\n\nexport default { run({ log }: any): void {\n\n  log(data);\n  f({ a: 'x' } as A);\n} };"},
		abi.ScriptFile{Name: "data.json", Text: `{"n": 1}`},
		abi.ScriptFile{Name: "lib/f.ts", Text: "type T = { a: string };\n\n\nexport function f(t: T): never {\n  throw new Error(t.a);\n}"},
	)
	h := newHost(m)
	res, err := m.Run(t.Context(), runtime.Call{Key: "t", Host: h})
	if err != nil || res.Reason != "Error: x (lib/f.ts:5)" {
		t.Errorf("%q %v", res.Reason, err)
	}
	if want := []string{"info { n: 1 }", "error Error: x", "error     at f (lib/f.ts:5)", "error     at run (t.ts:8)"}; !slices.Equal(h.logs, want) {
		t.Errorf("logs = %q, want %q", h.logs, want)
	}
}

// What the engine describes becomes the manifest.
func TestManifest(t *testing.T) {
	m := build(t, abi.ScriptFile{Name: "stop_servers.js", Text: `
import { nova } from "wasakari";
export default {
  class: "StopServers", summary: "Stops", requires: ["host_name"], optional: ["x"], provides: ["stopped"], http: ["GET https://x.example/*"],
  options: [{ group: "acme", name: "n", type: "int", default: 3 }], on_interrupt: "fail", limits: { memory_mib: 16 },
  async run({ http }) { await nova.serverList(); await http.get("https://x.example/") },
};`})
	want := abi.ManifestTask{
		Key: "stop_servers", Class: "StopServers", Summary: "Stops", Requires: []string{"host_name"}, Optional: []string{"x"}, Provides: []string{"stopped"},
		Uses: []string{"http.request", "kv.put", "nova.server_list"}, HTTP: []string{"GET https://x.example/*"}, OnInterrupt: "fail",
		Limits:  abi.ManifestLimits{MemoryMiB: 16},
		Options: []abi.ManifestOption{{Group: "acme", Name: "n", Type: "int", Default: json.RawMessage("3")}},
	}
	got, err := json.Marshal(m.Manifest().Tasks[0])
	if err != nil {
		t.Fatal(err)
	}
	wanted, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(wanted) {
		t.Errorf("task = %s, want %s", got, wanted)
	}
}

func TestBuildRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no task", `export const x = 1`, `TypeError: t.js: it exports no task: want "export default { async run(ctx) { … } }", or several by name`},
		{"twice", `export const a = { key: "x", run() {} }, b = { key: "x", run() {} }`, "TypeError: t.js: two tasks have the key x"},
		{"throws", "\nnull.x", "TypeError: cannot read property 'x' of null (t.js:2)"},
		{"asks", `import { nova } from "wasakari"; await nova.serverList()`, "nova.server_list: forbidden: a task that is built can ask for nothing yet"},
		{"for ever", `await new Promise(() => {})`, "the task waits for a promise that nothing can settle"},
		{"no syntax", "let x =", "t.js:1:8: Unexpected end of file"},
		{"not exported", `import { novae } from "wasakari"; novae()`, "SyntaxError: Could not find export 'novae' in module 'wasakari'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, _, err := scripts.Build(t.Context(), rt, scripts.Source{Path: "t.js", Files: []abi.ScriptFile{{Name: "t.js", Text: tt.text}}})
			if err == nil || err.Error() != tt.want || !errors.Is(err, scripts.ErrSource) {
				t.Errorf("error = %v, want %s", err, tt.want)
			}
		})
	}
}

// Scripts that want more than they may have, or break what they stand on, end
// with an error that says so, and the program goes on.
func TestHostile(t *testing.T) {
	const outOfMemory, tooDeep = "InternalError: out of memory (t.js:1)", "InternalError: stack overflow (t.js:1)"
	tests := []struct {
		name, text string
		reason     string
		err        string
		succeeds   bool
	}{
		{name: "infinite loop", text: `export default { run() { for (;;); } }`, err: "cpu limit of 500000000 units reached"},
		{name: "infinite loop of promises", text: `export default { async run() { for (;;) await 0 } }`, err: "cpu limit of 500000000 units reached"},
		{name: "regular expression", text: `export default { run() { /^(a+)+$/.test("a".repeat(40) + "b") } }`, err: "cpu limit of 500000000 units reached"},
		{name: "memory", text: `const keep = []; export default { run() { for (;;) keep.push({ x: [1, 2, 3] }) } }`, reason: outOfMemory},
		{name: "memory in strings", text: `const keep = []; export default { run() { for (;;) keep.push("x".repeat(1e5) + keep.length) } }`, reason: outOfMemory},
		{name: "memory at once", text: `export default { run() { new Uint8Array(1e9) } }`, reason: outOfMemory},
		{
			name: "memory, caught", succeeds: true,
			text: `export default { run({ fail }) { let keep = []; try { for (;;) keep.push(new Array(1000).fill(1)) } catch (err) { keep = null; if (err.message !== "out of memory") fail(err.message) } } }`,
		},
		{name: "string", text: `export default { run() { let s = "x"; for (;;) s += s } }`, reason: "InternalError: string too long (t.js:1)"},
		{name: "repeat", text: `export default { run() { "x".repeat(2 ** 30) } }`, reason: "RangeError: invalid string length (t.js:1)"},
		{name: "big integer", text: `export default { run() { 2n ** 100000000n } }`, reason: "RangeError: BigInt is too large (t.js:1)"},
		{name: "recursion", text: `function f() { return f() + 1 } export default { run() { f() } }`, reason: tooDeep},
		{name: "recursion through the engine", text: `const f = () => [1].map(f); export default { run() { f() } }`, reason: tooDeep},
		{name: "recursion of getters", text: `const o = { get x() { return this.x } }; export default { run() { o.x } }`, reason: tooDeep},
		{
			name: "recursion, caught", succeeds: true,
			text: `let n = 0; function f() { n++; f() } export default { run({ fail }) { try { f() } catch { if (n < 500) fail(String(n)) } } }`,
		},
		{name: "deep JSON", text: `export default { run() { JSON.parse("[".repeat(1e5)) } }`, reason: "SyntaxError: stack overflow (t.js:1)"},
		{name: "deep value", text: `let o = {}; for (let i = 0; i < 3e3; i++) o = { o }; export default { run() { return { o } } }`, reason: "kv.put: invalid: value.o" + strings.Repeat(".o", 62) + ": nested deeper than 64"},
		{name: "cyclic value", text: `export default { provides: ["o"], run({ kv }) { const o = {}; o.o = o; return { o } } }`, reason: "TypeError: circular reference"},
		{name: "no JSON", text: `export default { provides: ["o"], run({ kv }) { return { o: 1, f: Symbol() } } }`, reason: "TypeError: kv.put: f: a value of type symbol has no JSON"},
		{name: "promises broken", text: `Promise.prototype.then = () => { throw 1 }; export default { async run() { throw new Error("x") } }`, reason: "Error: x (t.js:1)"},
		{name: "JSON broken", text: `JSON.stringify = JSON.parse = null; export default { run() { throw new Error("x") } }`, reason: "Error: x (t.js:1)"},
		{name: "then on every object", text: `export default { run() { Object.defineProperty(Object.prototype, "then", { get() { throw new Error("then") } }); return {} } }`, reason: "Error: then (t.js:1)"},
		{name: "prototype as input", text: `export default { run({ inputs, fail }) { inputs.__proto__.polluted = 1; if ({}.polluted) fail("polluted") } }`, reason: "TypeError: cannot set property 'polluted' of undefined (t.js:1)"},
		{name: "an error that throws", text: `class E extends Error { get message() { throw 2 } get stack() { throw 3 } } export default { run() { throw new E() } }`, reason: "2"},
		{
			name: "the engine's module", text: `import * as host from "wasakari:host"; export default { run() {} }`,
			reason: `ReferenceError: t.js: cannot import "wasakari:host": a task imports "wasakari" and files of its own, as "./wasakari:host.js"`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wasm, err := abi.ScriptModule(&abi.Manifest{
				ABI: abi.Version, Library: "hostile", Version: "1.0.0",
				Tasks: []abi.ManifestTask{{Key: "t", Provides: []string{"o"}, Uses: []string{"kv.*"}, Limits: abi.ManifestLimits{MemoryMiB: 16, CPU: 5e8}}},
			}, []abi.ScriptFile{{Name: "t.js", Text: tt.text}}, javascriptEngine(t))
			if err != nil {
				t.Fatal(err)
			}
			m, err := rt.Admit(t.Context(), "t.js", wasm)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // nothing runs any more
			res, err := m.Run(t.Context(), runtime.Call{Key: "t", Host: newHost(m), Limits: m.Limits("t")})
			if tt.err != "" {
				var limit *runtime.LimitError
				if !errors.As(err, &limit) || !strings.HasPrefix(limit.Error(), tt.err) {
					t.Errorf("error = %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Error(err)
			}
			if res.Reason != tt.reason || (res.Exit == abi.ExitSucceeded) != tt.succeeds {
				t.Errorf("exit %d, %q, want %q", res.Exit, res.Reason, tt.reason)
			}
		})
	}
}

func javascriptEngine(t testing.TB) abi.EngineRef {
	t.Helper()
	e, ok := rt.Engine("javascript")
	if !ok {
		t.Fatal("no engine for javascript")
	}
	return e
}
