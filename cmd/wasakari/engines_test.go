package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/engines"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
	"github.com/wasakari/wasakari/store/storetest"
)

// release gives the engine for JavaScript as another release would carry it: with
// one more custom section, which changes nothing but its bytes.
func release(t *testing.T, name string) []runtime.Engine {
	t.Helper()
	list := engines.All()
	e := list[slices.IndexFunc(list, func(e runtime.Engine) bool { return e.Name == "javascript" })]
	wasm, err := e.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wasm = append(wasm, 0, byte(1+len(name)), byte(len(name)))
	wasm = append(wasm, name...)
	e.Digest = digestOf(wasm)
	e.Open = func(context.Context) ([]byte, error) { return wasm, nil }
	return []runtime.Engine{e}
}

// scriptOf builds a module of a script in JavaScript with the engines of a place.
func (p *place) scriptOf(t *testing.T, name, text string) {
	t.Helper()
	p.write(t, name+".js", text)
	if r := p.run(t.Context(), t, "task", "build", "DIR/"+name+".js"); r.code != exitOK {
		t.Fatalf("task build: %+v", r)
	}
}

const processDown = `{"notification": {"type": "PROCESS", "hostname": "compute-1", "generated_time": "2026-11-23T10:00:00",
	"payload": {"event": "STOPPED", "process_name": "nova-compute"}}}`

// What was uploaded for the engine of one release runs on the next one.
func TestUpgradeWithUploads(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"conf": processConfOf("greet")})
	p.engines = release(t, "one")
	p.scriptOf(t, "greet", `export default { run() {} };`)
	serve := func() serving {
		t.Helper()
		s := p.serve(t, "--simulate", "--config-file", "DIR/conf", "--state-dir", "DIR/state")
		p.stdout = nil
		p.environ = []string{"WASAKARI_SERVER=" + s.url}
		return s
	}
	said := func(want string, args ...string) {
		t.Helper()
		if r := p.run(t.Context(), t, args...); !strings.Contains(r.stdout+r.stderr, want) {
			t.Errorf("%s: want %q in\n%s%s", strings.Join(args, " "), want, r.stdout, r.stderr)
		}
	}
	s := serve()
	said("active, compiled on every node", "task", "push", "DIR/greet.wasm")
	said(p.engines[0].String()+"\n", "task", "show", "greet")
	s.stop()
	if err := os.RemoveAll(filepath.Join(p.dir, "state/engines")); err != nil { // as on another machine
		t.Fatal(err)
	}

	former := p.engines[0]
	p.engines = release(t, "two")
	s = serve()
	said("all flows are good", "flow", "check")
	said(former.String()+", of another release, which is kept\n", "task", "show", "greet")
	said("javascript "+brief(former.Digest)+" (of another release)", "task", "list")
	var sent notificationDoc
	s.ask(t, "POST", "/v1/notifications", processDown, nil, &sent)
	if done := s.final(t, sent.Notification.UUID); done.Notification.Status != "finished" || len(done.Notification.Details) != 2 {
		t.Errorf("notification %+v", done)
	}

	// A backup has it too, and the module can be built again for the next one.
	if r := p.run(t.Context(), t, "store", "backup", "--server", s.url, "DIR/backup"); r.code != exitOK {
		t.Fatalf("backup: %+v", r)
	}
	if r := p.run(t.Context(), t, "store", "restore", "--store-dir", "DIR/restored", "DIR/backup"); r.code != exitOK {
		t.Fatalf("restore: %+v", r)
	}
	said("and names "+p.engines[0].String()+" now", "task", "build", "DIR/greet.wasm")
	said("active, compiled on every node", "task", "push", "DIR/greet.wasm")
	said("javascript "+brief(p.engines[0].Digest)+" ", "task", "list")
	s.stop()
	s = p.serve(t, "--simulate", "--config-file", "DIR/conf", "--state-dir", "DIR/state", "--store-dir", "DIR/restored")
	p.environ = []string{"WASAKARI_SERVER=" + s.url}
	said("all flows are good", "flow", "check")
	s.stop()

	// A module of a release that was never here is refused.
	p.engines = release(t, "three")
	p.scriptOf(t, "greet", `export default { run() { 3 } };`)
	strange := p.engines[0]
	p.engines = release(t, "two")
	serve()
	said("it is a script for the engine "+strange.String()+", which is not here; this program has "+p.engines[0].String()+
		"; build it again for that one: wasakari task build takes its source, or the module itself", "task", "push", "DIR/greet.wasm")
}

// Nodes of two releases share runs and modules; an engine that the store has wrong
// is refused.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	etcd := storetest.NewEtcd(t, 1)
	sim, environ := startCloud(t, quickCloud, novasim.Options{ManualTime: true}) // no evacuation ends before time goes on
	former, next := release(t, "former"), release(t, "next")
	node := func(name string, carried []runtime.Engine, args ...string) (*place, serving) {
		t.Helper()
		p := newPlace(t, map[string]string{"conf": keptConf + "process_failure_recovery_tasks = pre:[],main:['up'],post:[]\n", "tasks/.keep": ""})
		p.engines = carried
		p.scriptOf(t, "tasks/first", `export const first = { run() {} }; export const later = { run() {} };`)
		p.scriptOf(t, "up", `export default { run() {} };`)
		p.environ = environ
		s := p.serve(t, append([]string{"--config-file", "DIR/conf", "--state-dir", "DIR/state", "--set", "store.endpoints=" + strings.Join(etcd.Endpoints(), ","), "--set", "engine.node=" + name}, args...)...)
		p.stdout = nil
		p.environ = append(slices.Clone(environ), "WASAKARI_SERVER="+s.url)
		return p, s
	}
	_, one := node("one", former, "--task-dir", "DIR/tasks")
	sent := evacuating(t, one, sim)
	// The node of the next release takes what is uploaded for its engine, and the
	// former one compiles it as well: push returns when every node has.
	place, two := node("two", next)
	if r := place.run(t.Context(), t, "task", "push", "DIR/up.wasm"); r.code != exitOK || !strings.Contains(r.stdout, "active, compiled on every node") {
		t.Errorf("push: %+v", r)
	}
	var flows struct {
		Flows []struct {
			Kind     string
			Problems []string
		}
	}
	one.ask(t, "GET", "/wasakari/v1/flows", "", nil, &flows)
	for _, f := range flows.Flows {
		if len(f.Problems) > 0 {
			t.Errorf("on the node of the former release: flow %s: %q", f.Kind, f.Problems)
		}
	}
	takesOver(t, one, two, sim, sent)
	two.stop()

	c := etcd.Client()
	all, err := c.Get(t.Context(), "/wasakari/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	for _, kv := range all.Kvs {
		if strings.HasSuffix(string(kv.Key), "/d/chunk/"+next[0].Digest+"/000000") {
			written++
			kv.Value[len(kv.Value)-1]++
			if _, err := c.Put(t.Context(), string(kv.Key), string(kv.Value)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if written != 1 {
		t.Fatalf("wrote over %d engines, want one", written)
	}
	p, _ := node("one", former)
	r := p.run(t.Context(), t, "flow", "check")
	if r.code == exitOK || !strings.Contains(r.stderr, "up") {
		t.Errorf("flow check with a damaged engine: %+v", r)
	}
	p.engines = next
	p.scriptOf(t, "up", `export default { run() { 1 } };`)
	if r := p.run(t.Context(), t, "task", "push", "DIR/up.wasm"); r.code == exitOK || !strings.Contains(r.stderr, "what the store keeps of it is damaged") {
		t.Errorf("push of what names a damaged engine: %+v", r)
	}
}

// The state folder keeps an engine that modules still name, whoever carries it: what
// goes first to make room was not used for the longest time.
func TestEnginesInUseStay(t *testing.T) {
	t.Parallel()
	former, next := release(t, "former"), release(t, "next")
	s := &stock{carried: former, dir: filepath.Join(t.TempDir(), "engines"), log: zap.NewNop()}
	keep := func(e runtime.Engine) {
		t.Helper()
		if err := s.keepInFolder(t.Context(), recovery.ModuleEngine{Name: e.Name, Digest: e.Digest}); err != nil {
			t.Fatal(err)
		}
	}
	aged := func(name string, year int) {
		t.Helper()
		if err := os.Chtimes(filepath.Join(s.dir, name+engineSuffix), time.Time{}, time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
	}
	keep(former[0])
	aged(former[0].Digest, 2001)
	for i := range maxEngineFiles {
		name := fmt.Sprint("other", i)
		if err := os.WriteFile(filepath.Join(s.dir, name+engineSuffix), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		aged(name, 2002)
	}
	s.carried = next
	keep(former[0])
	keep(next[0])
	files, err := os.ReadDir(s.dir)
	if err != nil || len(files) != maxEngineFiles {
		t.Errorf("%d files, %v, want %d", len(files), err, maxEngineFiles)
	}
	for _, e := range []runtime.Engine{former[0], next[0]} {
		if _, err := s.inFolder(abi.EngineRef{Name: e.Name, Digest: e.Digest}); err != nil {
			t.Errorf("an engine that is used is gone: %v", err)
		}
	}
}

// Without a server the state folder keeps engines, and a module can be built again
// without its source.
func TestUpgradeWithoutAServer(t *testing.T) {
	t.Parallel()
	_, environ := startCloud(t, quickCloud, novasim.Options{})
	p := newPlace(t, map[string]string{"conf": processConfOf("greet") + "[grants]\ngreet = options:greeting\n"})
	p.environ = environ
	p.engines = release(t, "one")
	p.write(t, "task.yaml", `{library: greet, version: 1.0.0, tasks: [{key: greet, options: [{group: greeting, name: word, type: string, default: hello}]}]}`)
	p.scriptOf(t, "greet", `import { log, options } from "wasakari"; export default { run() { log.info("" + JSON.stringify(options)) }, revert() {} };`)
	p.write(t, "tasks/.keep", "")
	text, err := os.ReadFile(filepath.Join(p.dir, "greet.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "tasks/greet.wasm", string(text))
	run := func() result {
		return p.run(t.Context(), t, "run", "process", "--config-file", "DIR/conf", "--task-dir", "DIR/tasks", "--input", "host_name=compute-1", "--input", "process_name=nova-compute")
	}
	check := func(want string) {
		t.Helper()
		if r := p.run(t.Context(), t, "check", "--config-file", "DIR/conf", "--task-dir", "DIR/tasks"); !strings.Contains(r.stdout+r.stderr, want) {
			t.Errorf("check: %+v, want %q", r, want)
		}
	}
	if r := run(); r.code != exitOK {
		t.Fatalf("run: %+v", r)
	}
	former := p.engines[0]
	check("engines of scripts\n  " + former.String() + "\n")
	p.engines = release(t, "two")
	if r := run(); r.code != exitOK {
		t.Errorf("run of the next release: %+v", r)
	}
	check(former.String() + ", of another release, which is kept\n")
	folder := filepath.Join(p.dir, "home/.local/state/wasakari/engines")
	files, err := filepath.Glob(folder + "/*")
	if err != nil || len(files) != 1 {
		t.Fatalf("engines %v, %v, want one", files, err)
	}
	if err := os.WriteFile(files[0], []byte("hostile"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(); r.code != exitUsage || !strings.Contains(r.stderr, former.Digest+engineSuffix+" keeps of it is damaged: ") {
		t.Errorf("run with a damaged engine: %+v", r)
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	missing := "DIR/tasks/greet.wasm: it is a script for the engine " + former.String() + ", which is not here; this program has " + p.engines[0].String() +
		"; build it again for that one: wasakari task build takes its source, or the module itself"
	if r := run(); r.code != exitUsage || !strings.Contains(r.stderr, missing) {
		t.Errorf("run without the engine: %+v, want %q", r, missing)
	}
	r := p.run(t.Context(), t, "task", "inspect", "DIR/tasks/greet.wasm")
	if want := "engine   " + former.String() + ", which is not here: build the module again with wasakari task build\n"; !strings.Contains(r.stdout, want) {
		t.Errorf("inspect: %+v, want %q", r, want)
	}

	r = p.run(t.Context(), t, "task", "build", "DIR/tasks/greet.wasm")
	if want := "greet 1.0.0+engine." + p.engines[0].Digest[:12] + "\n"; r.code != exitOK || !strings.Contains(r.stdout, want) || !strings.Contains(r.stderr, "note: it named the engine "+former.String()) {
		t.Errorf("task build: %+v, want %q", r, want)
	}
	if r := run(); r.code != exitOK || !strings.Contains(r.stdout, "hello") {
		t.Errorf("run of what was built again: %+v", r)
	}
	again, err := os.ReadFile(filepath.Join(p.dir, "tasks/greet.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	before, after := manifestOf(t, text), manifestOf(t, again)
	after.Version = before.Version
	if b, a := string(before.Encode()), string(after.Encode()); a != b {
		t.Errorf("manifest\n got %s\nwant %s", a, b)
	}
	ref, err := abi.ReadEngine(again)
	if err != nil || !ref.Has("greet") {
		t.Errorf("engine %v, %v: want that it can be reverted", ref, err)
	}
	r = p.run(t.Context(), t, "task", "build", "DIR/tasks/greet.wasm")
	if r.code != exitOK || !strings.Contains(r.stderr, "nothing to do") {
		t.Errorf("task build once more: %+v", r)
	}
	r = p.run(t.Context(), t, "task", "inspect", "DIR/tasks/greet.wasm", "-o", "json")
	var doc struct {
		State string `json:"engine_state"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || doc.State != "carried" {
		t.Errorf("inspect: %v, %+v", err, r)
	}
}

func manifestOf(t *testing.T, wasm []byte) *abi.Manifest {
	t.Helper()
	m, err := abi.ReadManifest(wasm)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
