package runtime_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// digest gives the sha256 of bytes.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// engines gives the golden engine, and counts how often it is opened.
func engines(opened *int) []runtime.Engine {
	wasm := testwasm.Module("engine")
	return []runtime.Engine{{Name: "digits", Digest: digest(wasm), Open: func(context.Context) ([]byte, error) {
		*opened++
		return wasm, nil
	}}}
}

// scriptModule makes a script module for the golden engine.
func scriptModule(t testing.TB, text string, reverts ...string) []byte {
	t.Helper()
	m, err := abi.ParseManifest([]byte(`{"abi":1,"library":"scripts","version":"1.0.0","tasks":[{"key":"task"},{"key":"other"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	wasm, err := abi.ScriptModule(m, []abi.ScriptFile{{Name: "task.txt", Text: text}},
		abi.EngineRef{Name: "digits", Digest: digest(testwasm.Module("engine")), Reverts: reverts})
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// scripted answers task.script as the hatch does.
func scripted(m *runtime.Module) *host {
	return &host{do: func(_ context.Context, op *abi.Op, _ []byte) ([]byte, error) {
		if op.Name != abi.OpTaskScript {
			return nil, abi.Errorf(abi.ErrnoForbidden, "%s", op.Name)
		}
		return json.Marshal(abi.TaskScriptAnswer{Files: m.Script()})
	}}
}

// Modules of one engine share its code, and each runs its own script. What was
// let go of by all is there again when a module needs it.
func TestEngine(t *testing.T) {
	opened := 0
	r := newRuntime(t, runtime.Config{Engines: engines(&opened), MaxModuleBytes: 800})
	two, err := r.Admit(t.Context(), "two.wasm", scriptModule(t, "2", "task"))
	if err != nil {
		t.Fatal(err)
	}
	three, err := r.Admit(t.Context(), "three.wasm", scriptModule(t, "3"))
	if err != nil {
		t.Fatal(err)
	}
	if opened != 1 {
		t.Errorf("the engine was opened %d times, want once", opened)
	}
	if s := r.Stats(); s.CacheMisses != 1 || s.CacheHits != 0 {
		t.Errorf("compiled %d and loaded %d, want 1 and 0", s.CacheMisses, s.CacheHits)
	}
	for m, want := range map[*runtime.Module]abi.Exit{two: abi.ExitNothingToDo, three: abi.ExitIgnored} {
		res, err := m.Run(t.Context(), runtime.Call{Key: "task", Host: scripted(m)})
		if err != nil || res.Exit != want {
			t.Errorf("%s: run = %d, %v, want %d", m.Source(), res.Exit, err, want)
		}
		if res.MemoryPeak != 65536 {
			t.Errorf("%s: memory = %d, want that of the engine, 65536", m.Source(), res.MemoryPeak)
		}
	}
	if !two.HasRevert("task") || two.HasRevert("other") || three.HasRevert("task") {
		t.Error("has revert: want the task that the script says, and no other")
	}
	if res, err := two.Revert(t.Context(), runtime.Call{Key: "task", Host: scripted(two)}); err != nil || res.Exit != abi.ExitNothingToDo {
		t.Errorf("revert = %d, %v, want 2", res.Exit, err)
	}
	if _, err := three.Revert(t.Context(), runtime.Call{Key: "task", Host: scripted(three)}); err == nil {
		t.Error("reverted what the script cannot")
	}
	if ref := two.Info().Engine; ref == nil || ref.Name != "digits" {
		t.Errorf("engine = %v, want digits", ref)
	}
	for _, m := range []*runtime.Module{two, three} {
		if err := m.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	four, err := r.Admit(t.Context(), "four.wasm", scriptModule(t, "0"))
	if err != nil {
		t.Fatal(err)
	}
	if res, err := four.Run(t.Context(), runtime.Call{Key: "task", Host: scripted(four)}); err != nil || res.Exit != abi.ExitSucceeded {
		t.Errorf("run = %d, %v, want 0", res.Exit, err)
	}
	if s := r.Stats(); opened != 2 || s.CacheMisses != 1 || s.CacheHits != 1 {
		t.Errorf("opened %d times, compiled %d, loaded %d, want 2, 1, 1", opened, s.CacheMisses, s.CacheHits)
	}
}

// What an engine says about a script reaches the caller whole.
func TestDescribe(t *testing.T) {
	opened := 0
	r := newRuntime(t, runtime.Config{Engines: engines(&opened)})
	m, err := r.Admit(t.Context(), "one.wasm", scriptModule(t, "1"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := m.Describe(t.Context(), runtime.Call{Key: "task", Host: scripted(m)})
	if want := strings.Repeat("x", 5000); err != nil || res.Exit != abi.ExitFailed || res.Reason != want {
		t.Errorf("describe = %d, %q, %v, want 1 and 5000 letters", res.Exit, res.Reason, err)
	}
	if _, err := admit(t, r, "noop").Describe(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}}); err == nil {
		t.Error("noop.wasm describes nothing, and was asked")
	}
}

// Modules come and go at the same time, and one engine serves them.
func TestEngineShared(t *testing.T) {
	opened := 0
	r := newRuntime(t, runtime.Config{Engines: engines(&opened)})
	wasm := scriptModule(t, "0")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 5 {
				m, err := r.Admit(t.Context(), "script.wasm", wasm)
				if err != nil {
					t.Error(err)
					return
				}
				if res, err := m.Run(t.Context(), runtime.Call{Key: "task", Host: scripted(m)}); err != nil || res.Exit != abi.ExitSucceeded {
					t.Errorf("run = %d, %v", res.Exit, err)
				}
				if err := m.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if s := r.Stats(); s.CacheMisses != 1 {
		t.Errorf("compiled %d times, want once", s.CacheMisses)
	}
}

func TestEngineRefused(t *testing.T) {
	opened := 0
	known := engines(&opened)
	own := known[0].Digest
	strange := strings.Repeat("5", 64)
	m, err := abi.ParseManifest([]byte(`{"abi":1,"library":"scripts","version":"1.0.0","tasks":[{"key":"task"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		ref     abi.EngineRef
		files   []abi.ScriptFile
		engines []runtime.Engine
		tail    string // bytes after the module
		want    string
	}{
		{
			name: "another digest", ref: abi.EngineRef{Name: "digits", Digest: strange}, engines: known,
			want: "m.wasm: it is a script for the engine digits sha256:" + strange + ", which is not here; this program has digits sha256:" + own + "; build it again for that one: wasakari task build takes its source, or the module itself",
		},
		{
			name: "another language", ref: abi.EngineRef{Name: "letters", Digest: strange}, engines: known,
			want: "m.wasm: it is a script for the engine letters sha256:" + strange + ", which is not here; this program has digits",
		},
		{
			name: "no engines", ref: abi.EngineRef{Name: "digits", Digest: own},
			want: "m.wasm: it is a script for the engine digits sha256:" + own + ", which is not here; this program has no engines",
		},
		{
			name: "no script", ref: abi.EngineRef{Name: "digits", Digest: own}, engines: known, files: []abi.ScriptFile{},
			want: "m.wasm: it names the engine digits, and has no script for it; build it again with wasakari task build",
		},
		{
			name: "code beside it", ref: abi.EngineRef{Name: "digits", Digest: own}, engines: known, tail: "\x01\x01\x00",
			want: "m.wasm: it has a type section, and names an engine that runs its script instead of it; build it again with wasakari task build",
		},
		{
			name: "two engines", ref: abi.EngineRef{Name: "digits", Digest: own}, engines: known, tail: "\x00\x10\x0fwasakari.engine",
			want: "m.wasm: two engines: the module has more than one custom section wasakari.engine; build it again with wasakari task build (the second at byte 267)",
		},
		{
			name: "damaged engine", ref: abi.EngineRef{Name: "digits", Digest: strange},
			engines: []runtime.Engine{{Name: "digits", Digest: strange, Open: known[0].Open}},
			want:    "engine digits: its digest is sha256:" + own + ", not sha256:" + strange,
		},
		{
			name: "engine that is no guest", ref: abi.EngineRef{Name: "digits", Digest: digest(testwasm.Module("no_run"))},
			engines: []runtime.Engine{{Name: "digits", Digest: digest(testwasm.Module("no_run")), Open: func(context.Context) ([]byte, error) { return testwasm.Module("no_run"), nil }}},
			want:    `engine digits: it exports no function "run"; export it: Go //go:wasmexport run, Rust #[no_mangle] pub extern "C" fn run() -> i32, C __attribute__((export_name("run")))`,
		},
		{
			name: "engine that cannot be read", ref: abi.EngineRef{Name: "digits", Digest: own},
			engines: []runtime.Engine{{Name: "digits", Digest: own, Open: func(context.Context) ([]byte, error) { return nil, errors.New("damaged") }}},
			want:    "engine digits: damaged",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := tt.files
			if files == nil {
				files = []abi.ScriptFile{{Name: "task.txt", Text: "0"}}
			}
			wasm, err := abi.ScriptModule(m, files, tt.ref)
			if err != nil {
				t.Fatal(err)
			}
			r := newRuntime(t, runtime.Config{Engines: tt.engines})
			_, err = r.Admit(t.Context(), "m.wasm", append(wasm, tt.tail...))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error\n got %v\nwant %s", err, tt.want)
			}
		})
	}
}

// An engine that is none of the program's is asked for when a module names it, held
// against its digest, and shared as the program's are.
func TestOtherEngine(t *testing.T) {
	wasm := testwasm.Module("engine")
	var gives []byte
	fails, opened := runtime.ErrNoEngine, 0
	r := newRuntime(t, runtime.Config{
		Engines: []runtime.Engine{{Name: "digits", Digest: strings.Repeat("5", 64), Open: func(context.Context) ([]byte, error) { return nil, errors.New("not asked for") }}},
		OtherEngine: func(ref abi.EngineRef) runtime.Engine {
			return runtime.Engine{Name: ref.Name, Digest: ref.Digest, Open: func(context.Context) ([]byte, error) {
				opened++
				return gives, fails
			}}
		},
	})
	refused := func(want string) error {
		t.Helper()
		_, err := r.Admit(t.Context(), "two.wasm", scriptModule(t, "2"))
		if err == nil || err.Error() != want {
			t.Errorf("error\n got %v\nwant %s", err, want)
		}
		return err
	}
	err := refused("two.wasm: it is a script for the engine digits sha256:" + digest(wasm) + ", which is not here; this program has digits sha256:" + strings.Repeat("5", 64) +
		"; build it again for that one: wasakari task build takes its source, or the module itself")
	if _, ok := errors.AsType[*runtime.AdmissionError](err); !ok {
		t.Errorf("error %T, want an admission error", err)
	}
	fails = errors.New("away")
	if err := refused("engine digits: away"); !errors.Is(err, fails) {
		t.Errorf("error = %v, want that of who opens it", err)
	}
	gives, fails = testwasm.Module("noop"), nil
	if err := refused("engine digits: its digest is sha256:" + digest(gives) + ", not sha256:" + digest(wasm)); errors.Is(err, runtime.ErrNoEngine) {
		t.Errorf("error = %v, want one that tells of other bytes", err)
	}
	gives, opened = wasm, 0
	for range 2 {
		m, err := r.Admit(t.Context(), "two.wasm", scriptModule(t, "2"))
		if err != nil {
			t.Fatal(err)
		}
		if res, err := m.Run(t.Context(), runtime.Call{Key: "task", Host: scripted(m)}); err != nil || res.Exit != abi.ExitNothingToDo {
			t.Errorf("run = %d, %v, want 2", res.Exit, err)
		}
	}
	if opened != 1 {
		t.Errorf("opened %d times, want once", opened)
	}
}

// listened tells when somebody begins to wait for a context.
type listened struct {
	context.Context
	waits chan struct{}
	once  *sync.Once
}

func (l listened) Done() <-chan struct{} {
	l.once.Do(func() { close(l.waits) })
	return l.Context.Done()
}

// Who waited while another failed to admit an engine admits it for all that come
// later: each copy of its code takes memory, and nothing bounds how many there are.
func TestOtherEngineOnce(t *testing.T) {
	opens, fails, opened := make(chan struct{}), make(chan error), 0
	r := newRuntime(t, runtime.Config{OtherEngine: func(ref abi.EngineRef) runtime.Engine {
		return runtime.Engine{Name: ref.Name, Digest: ref.Digest, Open: func(context.Context) ([]byte, error) {
			if opened++; opened == 1 {
				close(opens)
				return nil, <-fails
			}
			return testwasm.Module("engine"), nil
		}}
	}})
	wasm := scriptModule(t, "2")
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := r.Admit(t.Context(), "one.wasm", wasm); !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want that of who opens it", err)
		}
	})
	<-opens
	ctx := listened{t.Context(), make(chan struct{}), new(sync.Once)}
	group.Go(func() {
		if _, err := r.Admit(ctx, "two.wasm", wasm); err != nil {
			t.Error(err)
		}
	})
	<-ctx.waits
	fails <- context.Canceled
	group.Wait()
	if _, err := r.Admit(t.Context(), "three.wasm", wasm); err != nil {
		t.Fatal(err)
	}
	if opened != 2 {
		t.Errorf("opened %d times, want twice", opened)
	}
}

// What Inspect says of a script module needs no engine.
func TestInspectScript(t *testing.T) {
	info, err := runtime.Inspect("m.wasm", scriptModule(t, "0", "task"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Engine == nil || info.Engine.Digest != digest(testwasm.Module("engine")) || len(info.Script) != 1 || info.Manifest == nil {
		t.Errorf("info = %+v", info)
	}
}

// An engine gets the stack that it needs, whatever the limits say.
func TestEngineStack(t *testing.T) {
	deep := testwasm.Module("recursion_ends")
	m, err := abi.ParseManifest([]byte(`{"abi":1,"library":"scripts","version":"1.0.0","tasks":[{"key":"task"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	wasm, err := abi.ScriptModule(m, []abi.ScriptFile{{Name: "task.txt"}}, abi.EngineRef{Name: "deep", Digest: digest(deep)})
	if err != nil {
		t.Fatal(err)
	}
	for stack, want := range map[int64]bool{0: false, 4 << 20: true} {
		r := newRuntime(t, runtime.Config{Engines: []runtime.Engine{
			{Name: "deep", Digest: digest(deep), Stack: stack, Open: func(context.Context) ([]byte, error) { return deep, nil }},
		}})
		m, err := r.Admit(t.Context(), "deep.wasm", wasm)
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Run(t.Context(), runtime.Call{Key: "task", Host: &host{}, Limits: runtime.Limits{Stack: 64 << 10, Timeout: 20 * time.Second}})
		if (err == nil) != want {
			t.Errorf("stack of %d: %v, want success: %t", stack, err, want)
		}
	}
}
