package runtime_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

const (
	hintReactor = "build it as a library, which has _initialize: Go -buildmode=c-shared (with GOOS=wasip1 GOARCH=wasm), " +
		`Rust crate-type = ["cdylib"], C -mexec-model=reactor`
	hintInvalid = "copy or build it again, for WebAssembly 2.0 (such as wasm32-wasip1) without threads, tail calls, exceptions or garbage collection"
	hintSmaller = "make it smaller, or split it into several modules"
	hintSplit   = "split the function, or build with less inlining"
)

func TestAdmitRefuses(t *testing.T) {
	noop := testwasm.Module("noop")
	tests := []struct {
		name string
		wasm []byte // nil: the golden module of that name
		step runtime.Step
		want string
	}{
		{
			name: "not wasm", wasm: []byte("#!/bin/sh\n"), step: runtime.StepValidate,
			want: "not a WebAssembly module: it does not begin with 00 61 73 6d; give a .wasm file",
		},
		{
			name: "empty", wasm: []byte{}, step: runtime.StepValidate,
			want: "not a WebAssembly module: it does not begin with 00 61 73 6d; give a .wasm file",
		},
		{
			name: "component", wasm: []byte("\x00asm\x0d\x00\x01\x00"), step: runtime.StepValidate,
			want: "this is a WebAssembly component, not a core module; build a core module: wasm32-wasip1 instead of wasm32-wasip2, " +
				"without wasm-tools component new; GOOS=wasip1 and -buildmode=c-shared for Go; tinygo -target=wasip1 -buildmode=c-shared",
		},
		{
			name: "truncated", wasm: noop[:len(noop)-40], step: runtime.StepValidate,
			want: "the module is truncated or malformed: the section at byte 70 has 112 bytes, the file only 72 more; it was cut off or damaged: copy or build it again",
		},
		{
			name: "too large", wasm: bytes.Repeat([]byte{0}, 1<<20+1), step: runtime.StepSize,
			want: "the module has 1.0 MiB; at most 1 MiB are admitted; " +
				"strip it (Go -ldflags='-s -w', Rust strip = true, wasm-opt --strip-debug) or raise [wasakari] module_mib",
		},
		{
			name: "types do not match", wasm: build(function{code: "\x42\x00"}), step: runtime.StepValidate,
			want: "not valid WebAssembly: invalid function[0] export[\"run\"]: cannot use i64 as result[0] type i32; " + hintInvalid,
		},
		{
			name: "start", step: runtime.StepInterface,
			want: "it has a start function, which would run before the limits are in force; " +
				"build it without one (LLVM: no -Wl,--shared-memory; WAT: drop (start ...)) and prepare things in _initialize",
		},
		{
			name: "import_function", step: runtime.StepInterface,
			want: "it imports wasakari_v1.submitt, which this host does not have; did you mean wasakari_v1.submit?",
		},
		{
			name: "import_module", step: runtime.StepInterface,
			want: "it imports env.now, which this host does not have; a function was declared and not linked: define it, or link the library that has it",
		},
		{
			name: "import_version", step: runtime.StepInterface,
			want: "it imports wasakari_v2.call, which this host does not have; it is built for another version of Wasakari; this host has wasakari_v1",
		},
		{
			name: "import_signature", step: runtime.StepInterface,
			want: "it imports wasakari_v1.take as (i32) -> i32; it is (i32, i32) -> i64; correct the declaration, see sdk/ABI.md",
		},
		{
			name: "import_kind", step: runtime.StepInterface,
			want: "it imports wasakari_v1.call as a global, where this host has a function; define it in the module instead of importing it",
		},
		{
			name: "import_wasi", step: runtime.StepInterface,
			want: "it imports wasi_snapshot_preview1.sock_open, which this host does not have; did you mean wasi_snapshot_preview1.sock_send?",
		},
		{
			name: "command", step: runtime.StepInterface,
			want: "it is a command: it exports _start, the main function of a program; " + hintReactor,
		},
		{
			name: "go_library", step: runtime.StepInterface,
			want: "it is built by Go and has no _initialize, so Go's runtime would never start; build it with GOOS=wasip1 GOARCH=wasm -buildmode=c-shared",
		},
		{
			name: "no_run", step: runtime.StepInterface,
			want: `it exports no function "run"; export it: Go //go:wasmexport run, Rust #[no_mangle] pub extern "C" fn run() -> i32, C __attribute__((export_name("run")))`,
		},
		{name: "run_signature", step: runtime.StepInterface, want: `its export "run" is a function (i32); make it () -> i32`},
		{name: "run_global", step: runtime.StepInterface, want: `its export "run" is not a function; export a function () -> i32 as "run"`},
		{name: "revert_signature", step: runtime.StepInterface, want: `its export "revert" is a function (); make it () -> i32`},
		{name: "initialize_signature", step: runtime.StepInterface, want: `its export "_initialize" is a function () -> i32; make it ()`},
		{
			name: "no_memory", step: runtime.StepInterface,
			want: `it exports no memory named "memory"; export it: (memory (export "memory") 1) in WAT; compilers for WASI do`,
		},
		{
			name: "reserved_export", step: runtime.StepInterface,
			want: `it exports "__wasakari_left"; names that begin with __wasakari are reserved; rename it`,
		},
		{
			name: "no_manifest", step: runtime.StepManifest,
			want: "no manifest: the module has no custom section wasakari.task; add one with wasakari task pack task.yaml module.wasm -o out.wasm",
		},
		{
			name: "two_manifests", step: runtime.StepManifest,
			want: "two manifests: the module has more than one custom section wasakari.task; pack it anew with wasakari task pack (the second at byte 184)",
		},
		{
			name: "bad_manifest", step: runtime.StepManifest,
			want: "manifest: taskz: unknown key; did you mean tasks?\nmanifest: tasks: the key is missing",
		},
		{
			name: "bad_script", step: runtime.StepManifest,
			want: "the custom section wasakari.script is malformed; build the module again with wasakari task build: the document is not JSON: unexpected end of JSON input, at byte 9",
		},
		{
			name: "table_grow", step: runtime.StepComplexity,
			want: "function 0 (widen) grows a table, and all tables may then have more than 65536 entries; declare a smaller maximum for the table",
		},
		{name: "table_large", step: runtime.StepSize, want: "it has 65537 table entries; at most 65536 are admitted; " + hintSmaller},
		{
			name: "many locals", wasm: build(function{locals: 2001, code: zero}), step: runtime.StepSize,
			want: "it has 2001 locals in one function; at most 2000 are admitted; " + hintSmaller,
		},
		{
			name: "locals of 4 thousand million", wasm: build(function{locals: 1<<32 - 1, code: zero}), step: runtime.StepSize,
			want: "it has 4294967295 locals in one function; at most 2000 are admitted; " + hintSmaller,
		},
		{
			name: "long body", wasm: build(function{code: strings.Repeat("\x01", 512<<10) + zero}), step: runtime.StepComplexity,
			want: "function 0 has 524292 bytes of code; at most 524288 are admitted; " + hintSplit,
		},
		{
			name: "deep nesting", wasm: build(function{code: strings.Repeat("\x02\x40", 4097) + strings.Repeat("\x0b", 4097) + zero}), step: runtime.StepComplexity,
			want: "function 0 has 4097 levels of nesting; at most 4096 are admitted; " + hintSplit,
		},
		{
			name: "many branches", wasm: build(function{code: "\x02\x40\x41\x00\x0e" + leb(10001) + strings.Repeat("\x00", 10002) + "\x0b" + zero}), step: runtime.StepComplexity,
			want: "function 0 has 10001 branches in one br_table; at most 10000 are admitted; " + hintSplit,
		},
		{
			name: "locals times loops", wasm: build(function{locals: 1000, code: strings.Repeat("\x03\x40\x0b", 501) + zero}), step: runtime.StepComplexity,
			want: "function 0 has 501000 locals times blocks; at most 500000 are admitted; " + hintSplit,
		},
		{
			name: "many functions", wasm: module(count(3, 50_001)), step: runtime.StepSize,
			want: "it has 50001 functions; at most 50000 are admitted; " + hintSmaller,
		},
		{name: "many types", wasm: module(count(1, 5001)), step: runtime.StepSize, want: "it has 5001 types; at most 5000 are admitted; " + hintSmaller},
		{name: "many imports", wasm: module(count(2, 201)), step: runtime.StepSize, want: "it has 201 imports; at most 200 are admitted; " + hintSmaller},
		{name: "many exports", wasm: module(count(7, 201)), step: runtime.StepSize, want: "it has 201 exports; at most 200 are admitted; " + hintSmaller},
		{
			name: "claims more than there is", wasm: module(count(1, 100)), step: runtime.StepValidate,
			want: "not valid WebAssembly: there are fewer types than claimed at byte 11; " + hintInvalid,
		},
		{
			name: "names of 4 thousand million functions", wasm: module(section(0, "\x04name\x01\x05\xff\xff\xff\xff\x0f")), step: runtime.StepSize,
			want: "it has 4294967295 function names; at most 50200 are admitted; " + hintSmaller,
		},
	}
	r := newRuntime(t, runtime.Config{MaxModuleBytes: 1 << 20})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.wasm == nil {
				tt.wasm = testwasm.Module(tt.name)
			}
			m, err := r.Admit(t.Context(), "some.wasm", tt.wasm)
			if m != nil {
				t.Error("a module was admitted")
			}
			e, ok := errors.AsType[*runtime.AdmissionError](err)
			if !ok {
				t.Fatalf("error = %v, want an AdmissionError", err)
			}
			if e.Step != tt.step || e.Source != "some.wasm" {
				t.Errorf("step %q of %q, want %q of some.wasm", e.Step, e.Source, tt.step)
			}
			if got, want := err.Error(), "some.wasm: "+tt.want; got != want {
				t.Errorf("error\n got %q\nwant %q", got, want)
			}
		})
	}
}

// What is allowed, right up to the bounds.
func TestAdmitAccepts(t *testing.T) {
	tests := map[string][]byte{
		"locals":        build(function{locals: 2000, code: zero}),
		"body":          build(function{code: strings.Repeat("\x01", 512<<10-4) + zero}),
		"nesting":       build(function{code: strings.Repeat("\x02\x40", 4096) + strings.Repeat("\x0b", 4096) + zero}),
		"branches":      build(function{code: "\x02\x40\x41\x00\x0e" + leb(10000) + strings.Repeat("\x00", 10001) + "\x0b" + zero}),
		"locals*loops":  build(function{locals: 1000, code: strings.Repeat("\x03\x40\x0b", 500) + zero}),
		"all opcodes":   testwasm.Module("opcodes"),
		"bounded table": testwasm.Module("table_bounded"),
		"empty memory":  testwasm.Module("memory_none"),
	}
	for name, wasm := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := newRuntime(t, runtime.Config{}).Admit(t.Context(), name, wasm)
			if err != nil {
				t.Fatal(err)
			}
			res, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}})
			if err != nil || res.Exit != abi.ExitSucceeded {
				t.Errorf("run = %v, %v; want success", res, err)
			}
		})
	}
}

func TestAdmitErrorsMatch(t *testing.T) {
	r := newRuntime(t, runtime.Config{})
	for name, want := range map[string]error{"no_manifest": abi.ErrNoManifest, "two_manifests": abi.ErrTwoManifests} {
		if _, err := r.Admit(t.Context(), name, testwasm.Module(name)); !errors.Is(err, want) {
			t.Errorf("%s: error = %v, want one that is %v", name, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Admit(ctx, "noop", testwasm.Module("noop")); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error = %v, want context.Canceled or none", err)
	}
}

func TestModule(t *testing.T) {
	r := newRuntime(t, runtime.Config{})
	m := admit(t, r, "script")
	if got, want := m.Source(), "script.wasm"; got != want {
		t.Errorf("source = %q, want %q", got, want)
	}
	if got, want := m.Manifest().Library, "testwasm"; got != want {
		t.Errorf("library = %q, want %q", got, want)
	}
	if got, want := len(m.Digest()), 64; got != want {
		t.Errorf("digest has %d digits, want %d", got, want)
	}
	script := m.Script()
	if len(script) != 2 || script[0].Name != "task.py" || script[0].Text != "print('hello')\n" {
		t.Errorf("script = %v", script)
	}
	if m.HasRevert(testwasm.Key) {
		t.Error("script.wasm has no revert")
	}
	if !admit(t, r, "revert").HasRevert(testwasm.Key) {
		t.Error("revert.wasm has revert")
	}
}

func TestLimitsFor(t *testing.T) {
	ceilings := runtime.DefaultCeilings()
	tests := []struct {
		name  string
		asked abi.ManifestLimits
		want  func(*runtime.Limits)
	}{
		{"nothing", abi.ManifestLimits{}, func(*runtime.Limits) {}},
		{
			"more",
			abi.ManifestLimits{MemoryMiB: 128, Timeout: "10m", CPU: 20e9},
			func(l *runtime.Limits) { l.MemoryBytes, l.Timeout, l.CPU = 128<<20, 600e9, 20e9 },
		},
		{
			"less",
			abi.ManifestLimits{MemoryMiB: 1, Timeout: "1s", CPU: 1},
			func(l *runtime.Limits) { l.MemoryBytes, l.Timeout, l.CPU = 1<<20, 1e9, 1 },
		},
		{
			"too much",
			abi.ManifestLimits{MemoryMiB: 1 << 30, Timeout: "1000h", CPU: 1 << 53},
			func(l *runtime.Limits) {
				l.MemoryBytes, l.Timeout, l.CPU = ceilings.MemoryBytes, ceilings.Timeout, ceilings.CPU
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := runtime.DefaultLimits()
			tt.want(&want)
			if got := runtime.DefaultLimits().For(tt.asked, ceilings); got != want {
				t.Errorf("limits\n got %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestInspect(t *testing.T) {
	info, err := runtime.Inspect("revert.wasm", testwasm.Module("revert"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Imports, (runtime.ImportInfo{
		Module: "wasakari_v1", Name: "call", Kind: "func", Signature: "(i32, i32, i32, i32, i32, i32) -> i64",
	}); len(got) != 1 || got[0] != want {
		t.Errorf("imports = %v, want %v", got, want)
	}
	exports := []runtime.ExportInfo{{"memory", "memory", ""}, {"run", "func", "() -> i32"}, {"revert", "func", "() -> i32"}}
	for i, want := range exports {
		if len(info.Exports) != len(exports) || info.Exports[i] != want {
			t.Errorf("export %d = %v, want %v", i, info.Exports, want)
		}
	}
	if info.MemoryMin != 65536 || info.MemoryMax != -1 || info.Functions != 2 || info.Types != 2 {
		t.Errorf("memory %d to %d, %d functions, %d types; want 65536 to -1, 2, 2", info.MemoryMin, info.MemoryMax, info.Functions, info.Types)
	}
	if info.Manifest == nil || info.Manifest.Task(testwasm.Key) == nil {
		t.Errorf("manifest = %v, want task %s", info.Manifest, testwasm.Key)
	}

	info, err = runtime.Inspect("no_manifest.wasm", testwasm.Module("no_manifest"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Manifest != nil || info.ManifestProblem != abi.ErrNoManifest.Error() {
		t.Errorf("manifest problem = %q, want %q", info.ManifestProblem, abi.ErrNoManifest)
	}

	info, err = runtime.Inspect("opcodes.wasm", testwasm.Module("opcodes"))
	if err != nil {
		t.Fatal(err)
	}
	c := info.Complexity
	if c.Nesting.Value != 3 || c.Branches.Value != 2 || c.Locals.Value != 2 || c.LocalBlocks.Value != 8 || c.LocalBlocks.Name != "run" {
		t.Errorf("complexity = %+v, want nesting 3, 2 branches, 2 locals, 8 locals × blocks, in run", c)
	}
	if _, err := runtime.Inspect("x", []byte("no")); err == nil {
		t.Error("no error for what is no module")
	}
}

func TestCacheRefused(t *testing.T) {
	const why = "; it holds machine code that this process runs"
	tests := []struct {
		name string
		make func(t *testing.T, dir string)
		want string
	}{
		{"others may write", func(t *testing.T, dir string) {
			if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o770)); err != nil {
				t.Fatal(err)
			}
		}, "cache folder DIR has mode 0770, so others can write to it: chmod 700 DIR and remove what is in it" + why},
		{"others may write inside", func(t *testing.T, dir string) {
			if err := errors.Join(os.MkdirAll(dir+"/wazero-1", 0o700), os.Chmod(dir+"/wazero-1", 0o702)); err != nil {
				t.Fatal(err)
			}
		}, "cache folder DIR/wazero-1 has mode 0702, so others can write to it: chmod 700 DIR/wazero-1 and remove what is in it" + why},
		{"entry that others may write", func(t *testing.T, dir string) {
			if err := errors.Join(os.MkdirAll(dir+"/wazero-1", 0o700), os.WriteFile(dir+"/wazero-1/x", nil, 0o600), os.Chmod(dir+"/wazero-1/x", 0o620)); err != nil {
				t.Fatal(err)
			}
		}, "cache folder DIR/wazero-1/x has mode 0620, so others can write to it: chmod 700 DIR/wazero-1/x and remove what is in it" + why},
		{"entry that is a link", func(t *testing.T, dir string) {
			if err := errors.Join(os.MkdirAll(dir+"/wazero-1", 0o700), os.Symlink("/etc/passwd", dir+"/wazero-1/x")); err != nil {
				t.Fatal(err)
			}
		}, "cache folder DIR/wazero-1/x is a symbolic link: name its target instead" + why},
		{"link", func(t *testing.T, dir string) {
			if err := os.Symlink(t.TempDir(), dir); err != nil {
				t.Fatal(err)
			}
		}, "cache folder DIR is a symbolic link: name its target instead" + why},
		{"file", func(t *testing.T, dir string) {
			if err := os.WriteFile(dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "cache folder: mkdir DIR: not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			tt.make(t, dir)
			_, err := runtime.New(runtime.Config{CacheDir: dir})
			if want := strings.ReplaceAll(tt.want, "DIR", dir); err == nil || err.Error() != want {
				t.Errorf("error\n got %v\nwant %s", err, want)
			}
		})
	}
}

// Modules of the same bytes do not share their fate.
func TestSameModuleTwice(t *testing.T) {
	r := newRuntime(t, runtime.Config{})
	first, second := admit(t, r, "revert"), admit(t, r, "revert")
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				if _, err := second.Revert(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}}); err != nil {
					t.Error(err)
				}
				m, err := r.Admit(t.Context(), "again", testwasm.Module("revert"))
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}}); err != nil {
					t.Error(err)
				}
				if err := m.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestClosed(t *testing.T) {
	r := newRuntime(t, runtime.Config{})
	m := admit(t, r, "noop")
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}}); err == nil {
		t.Error("a closed module ran")
	}
	if err := errors.Join(m.Close(t.Context()), r.Close(t.Context())); err != nil {
		t.Errorf("closing again: %v", err)
	}
	if _, err := r.Admit(t.Context(), "noop", testwasm.Module("noop")); err == nil {
		t.Error("a closed runtime admitted a module")
	}
}

// What follows makes modules that no text format would write.

// zero is code that leaves an i32 0.
const zero = "\x41\x00"

type function struct {
	locals uint64
	code   string // without its end
}

// build makes a task whose run is f.
func build(f function) []byte {
	body := "\x00"
	if f.locals > 0 {
		body = "\x01" + leb(f.locals) + "\x7f"
	}
	body += f.code + "\x0b"
	wasm := module(
		section(1, "\x01\x60\x00\x01\x7f"),
		section(3, "\x01\x00"),
		section(5, "\x01\x00\x01"),
		section(7, "\x02\x03run\x00\x00\x06memory\x02\x00"),
		section(10, "\x01"+leb(uint64(len(body)))+body),
	)
	manifest, err := abi.ReadManifest(testwasm.Module("noop"))
	if err != nil {
		panic(err)
	}
	if wasm, err = abi.AppendManifest(wasm, manifest); err != nil {
		panic(err)
	}
	return wasm
}

func module(sections ...string) []byte {
	return []byte("\x00asm\x01\x00\x00\x00" + strings.Join(sections, ""))
}

func section(id byte, body string) string { return string(id) + leb(uint64(len(body))) + body }

// count is a section that claims n entries and has none.
func count(id byte, n uint64) string { return section(id, leb(n)) }

func leb(n uint64) string {
	var b []byte
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return string(append(b, byte(n)))
}
