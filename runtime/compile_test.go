//go:build linux

package runtime_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// startingRuntime gives a Runtime that compiles in processes of their own.
func startingRuntime(t *testing.T, cfg runtime.Config) *runtime.Runtime {
	t.Helper()
	cfg.Logger = zap.NewNop()
	r, err := runtime.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

// compilerOf gives a shell script to be the compiler.
func compilerOf(t *testing.T, script string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "compiler")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

// slow is a module that takes the compiler seconds and a lot of memory, within
// the bounds on complexity.
func slow() []byte {
	return many(5, "\x01\x01\x7f\x02\x40"+strings.Repeat("\x20\x00\x0d\x00", 19_900)+"\x0b"+zero+"\x0b")
}

// What is compiled in a process of its own runs, and a second Runtime finds it
// in the cache: it starts no compiler.
func TestCompiler(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"kept": t.TempDir(), "private": ""} {
		t.Run(name, func(t *testing.T) {
			gone := filepath.Join(t.TempDir(), "gone")
			cfg := runtime.Config{CacheDir: dir, Compiler: compilerOf(t, "test -e "+gone+" && exit 1; exec "+exe+` "$@"`)}
			r := startingRuntime(t, cfg)
			for range 2 {
				m := admit(t, r, "noop")
				if _, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}}); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(gone, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if dir != "" {
					r = startingRuntime(t, cfg)
				}
			}
			if _, err := r.Admit(t.Context(), "loop.wasm", testwasm.Module("loop")); err == nil {
				t.Error("a module that was not in the cache was admitted without a compiler")
			}
		})
	}
}

// Unless told otherwise, a Runtime starts this program as its compiler; and what
// one compiler found valid, another has to find valid for itself.
func TestCompilerIsThisProgram(t *testing.T) {
	dir := t.TempDir()
	count := func() int {
		kept, err := filepath.Glob(filepath.Join(dir, "code-*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(kept)
	}
	admit(t, startingRuntime(t, runtime.Config{CacheDir: dir}), "noop")
	if got, want := count(), 1; got != want {
		t.Fatalf("%d modules in the cache, want %d", got, want)
	}
	if _, err := startingRuntime(t, runtime.Config{CacheDir: dir, Compiler: compilerOf(t, "exit 1")}).Admit(t.Context(), "noop.wasm", testwasm.Module("noop")); err == nil {
		t.Error("a compiler that compiles nothing was believed to have found a module valid")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(here, exe)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		admit(t, startingRuntime(t, runtime.Config{CacheDir: dir, Compiler: relative}), "noop")
		if got, want := count(), 2; got != want { // by the file's name this time, not as this program
			t.Errorf("%d modules in the cache, want %d", got, want)
		}
	}
}

// The compiler has no environment and no descriptors of ours but the three
// pipes, not even those that we inherited.
func TestCompilerHasNothing(t *testing.T) {
	var inherited [2]int
	if err := unix.Pipe(inherited[:]); err != nil { // without close-on-exec
		t.Fatal(err)
	}
	defer unix.Close(inherited[0]) //nolint:errcheck // a pipe
	defer unix.Close(inherited[1]) //nolint:errcheck // a pipe
	t.Setenv("OS_PASSWORD", "sesame")
	compiler := compilerOf(t, `exec 1>&2; echo "$*" $(tr '\0' ' ' </proc/$$/environ) $(readlink /proc/$$/fd/*); exit 1`)
	_, err := startingRuntime(t, runtime.Config{Compiler: compiler}).Admit(t.Context(), "noop.wasm", testwasm.Module("noop"))
	got := message(err)
	if want := "noop.wasm: the compiler gave up: exit status 1: compile-module "; !strings.HasPrefix(got, want) {
		t.Errorf("error\n got %s\nwant %s…", got, want)
	}
	var st unix.Stat_t
	if err := unix.Fstat(inherited[0], &st); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"sesame", fmt.Sprintf("pipe:[%d]", st.Ino)} {
		if strings.Contains(got, secret) {
			t.Errorf("the compiler has %s: %s", secret, got)
		}
	}
	if !strings.Contains(got, "pipe:[") {
		t.Errorf("the compiler sees no pipes of its own: %s", got)
	}
}

// However the compiler ends, the module is refused in words.
func TestCompilerFails(t *testing.T) {
	const answer = `{"step":"compile","reason":"`
	tests := []struct {
		name, script string
		cfg          runtime.Config
		step         runtime.Step
		want         string
	}{
		{
			name: "memory", script: "echo 'runtime: out of memory: cannot allocate 4194304-byte block' >&2; exit 2",
			want: "compile memory limit of 1024 MiB reached (option [wasakari] compile_memory_mib); " + hintSplit,
		},
		{
			name: "memory for the collector", script: "printf 'SIGSEGV: segmentation violation\\nPC=0x435a1d m=7 sigcode=1 addr=0x0\\n' >&2; exit 2",
			want: "compile memory limit of 1024 MiB reached (option [wasakari] compile_memory_mib); " + hintSplit,
		},
		{
			name: "memory for the code", script: `echo '{"step":"compile","reason":"cannot allocate memory","no_memory":true}'`,
			want: "compile memory limit of 1024 MiB reached (option [wasakari] compile_memory_mib); " + hintSplit,
		},
		{
			name: "panic for a pointer", script: "printf 'panic: runtime error: nil pointer dereference\\n[signal SIGSEGV: segmentation violation code=0x1]\\n' >&2; exit 2",
			want: "the compiler gave up: exit status 2: panic: runtime error: nil pointer dereference",
		},
		{
			name: "panic", script: "echo 'panic: \x1b[2Jboom' >&2; exit 2",
			want: "the compiler gave up: exit status 2: panic: \uFFFD[2Jboom",
		},
		{name: "killed", script: "kill -9 $$", want: "the compiler was killed from outside, as the kernel does when memory runs out"},
		{
			name: "hanging", script: "exec sleep 1000", cfg: runtime.Config{CompileTime: time.Second},
			want: "compile time limit of 1s reached (option [wasakari] compile_seconds); " + hintSplit,
		},
		{name: "no answer", script: "exit 0", want: "the compiler's answer cannot be read: unexpected end of JSON input"},
		{name: "long answer", script: "cat /proc/self/exe; exit 0", want: "the compiler's answer cannot be read: invalid character '\\x7f' looking for beginning of value"},
		{name: "refusal", script: "echo '" + answer + "too odd\"}'", want: "too odd"},
		{name: "invalid", script: `echo '{"step":"validate","reason":"bad"}'`, step: runtime.StepValidate, want: "not valid WebAssembly: bad; " + hintInvalid},
		{
			name: "machine code", script: `echo '{"step":"compile","too_large":true}'`,
			want: "machine code limit of 512 MiB, half of the compile memory reached (option [wasakari] compile_memory_mib); " + hintSmaller,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Compiler = compilerOf(t, tt.script)
			_, err := startingRuntime(t, tt.cfg).Admit(t.Context(), "noop.wasm", testwasm.Module("noop"))
			e, ok := errors.AsType[*runtime.AdmissionError](err)
			if !ok {
				t.Fatalf("error = %v, want an AdmissionError", err)
			}
			if tt.step == "" {
				tt.step = runtime.StepCompile
			}
			if got, want := err.Error(), "noop.wasm: "+tt.want; got != want || e.Step != tt.step {
				t.Errorf("%s\n got %q\nwant %s\n     %q", e.Step, got, tt.step, want)
			}
			if limit, ok := errors.AsType[*runtime.LimitError](err); ok != strings.Contains(tt.want, "limit of") {
				t.Errorf("limit behind the error = %v", limit)
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		_, err := runtime.New(runtime.Config{Compiler: "/nonexistent"})
		if got, want := message(err), "runtime: the compiler: open /nonexistent: no such file or directory"; got != want {
			t.Errorf("error of New\n got %s\nwant %s", got, want)
		}
		name := compilerOf(t, "")
		r := startingRuntime(t, runtime.Config{Compiler: name})
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		_, err = r.Admit(t.Context(), "noop.wasm", testwasm.Module("noop"))
		if got, want := message(err), "noop.wasm: the compiler's process cannot be started: fork/exec "+name+": no such file or directory"; got != want {
			t.Errorf("error\n got %s\nwant %s", got, want)
		}
	})
}

// A compiler that answers well and leaves nothing, or what cannot be loaded,
// does not make this process compile.
func TestCompilerLies(t *testing.T) {
	tests := map[string]string{
		"no code":        "echo '{}'",
		"no native code": `cat >code; echo '{}'`,
	}
	for name, script := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := startingRuntime(t, runtime.Config{CacheDir: dir, Compiler: compilerOf(t, script)}).Admit(t.Context(), "noop.wasm", testwasm.Module("noop")); err == nil {
				t.Error("admitted")
			}
			if found, _ := filepath.Glob(filepath.Join(dir, "*", "wazero-*")); len(found) > 0 {
				t.Errorf("compiled: %v", found)
			}
		})
	}
}

// The real compiler meets its limits, and leaves nothing.
func TestCompilerLimits(t *testing.T) {
	wasm := slow()
	tests := []struct {
		name string
		cfg  runtime.Config
		want string
	}{
		{"memory", runtime.Config{CompileMemory: 24 << 20}, "compile memory limit of 24 MiB reached (option [wasakari] compile_memory_mib); " + hintSplit},
		{"time", runtime.Config{CompileTime: time.Second}, "compile time limit of 1s reached (option [wasakari] compile_seconds); " + hintSplit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.CacheDir = t.TempDir()
			_, err := startingRuntime(t, tt.cfg).Admit(t.Context(), "slow.wasm", wasm)
			if got, want := message(err), "slow.wasm: "+tt.want; got != want {
				t.Errorf("error\n got %s\nwant %s", got, want)
			}
			if left, _ := os.ReadDir(tt.cfg.CacheDir); len(left) > 0 {
				t.Errorf("%d entries left in the cache folder", len(left))
			}
		})
	}
}

// At the lowest limit that an operator can set there is room for a small module,
// wherever Go's heap happens to begin and however much it reserves.
func TestCompilerLowestLimit(t *testing.T) {
	const lowest, times = 64 << 20, 30 // compile_memory_mib is 64 or more
	for range times {
		admit(t, startingRuntime(t, runtime.Config{CompileMemory: lowest, Compiler: quickCompiler}), "noop")
	}
}

// many makes a module of n functions.
func many(n uint64, body string) []byte {
	return finish(
		section(1, "\x01\x60\x00\x01\x7f"), section(3, leb(n)+strings.Repeat("\x00", int(n))),
		section(5, "\x01\x00\x01"), section(7, "\x02\x03run\x00\x00\x06memory\x02\x00"),
		section(10, leb(n)+strings.Repeat(leb(uint64(len(body)))+body, int(n))),
	)
}

// Whoever no longer wants a module does not wait for its compiler.
func TestCompilerCancelled(t *testing.T) {
	dir := t.TempDir()
	mark := filepath.Join(dir, "mark")
	if err := unix.Mkfifo(mark, 0o600); err != nil {
		t.Fatal(err)
	}
	compiler := compilerOf(t, "echo $$ >"+mark+"; exec sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	admitted := make(chan error, 1)
	r := startingRuntime(t, runtime.Config{Compiler: compiler})
	go func() {
		_, err := r.Admit(ctx, "noop.wasm", testwasm.Module("noop"))
		admitted <- err
	}()
	pid, err := os.ReadFile(mark) // waits until the compiler is at work
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-admitted; !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
	if _, err := os.Stat("/proc/" + string(bytes.TrimSpace(pid))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the compiler is still there: %v", err)
	}
}
