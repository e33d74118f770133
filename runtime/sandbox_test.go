package runtime_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

const (
	gaveUp = "unreachable: the guest gave up, as compiled code does after a panic, an abort or a failed assertion"
	outIs  = "out of bounds memory access: the guest read or wrote outside its memory"
)

func TestTraps(t *testing.T) {
	r := newRuntime(t, runtime.Config{})
	tests := []struct {
		name  string
		want  string
		stack []string
	}{
		{"unreachable", "task task: " + gaveUp + "; in inner < outer < run", []string{"inner", "outer", "run"}},
		{
			"recursion",
			"task task: stack overflow; stack limit of 1 MiB reached: the guest called too deep, most likely a recursion without end (option [wasakari] stack_mib); in deeper < deeper < deeper < deeper < deeper",
			slices.Repeat([]string{"deeper"}, 28), // of the 30 that wazero tells two are of metering
		},
		{"out_of_bounds", "task task: " + outIs + "; in run", []string{"run"}},
		{"divide_by_zero", "task task: integer divide by zero; in run", []string{"run"}},
		{"overflow", "task task: integer overflow: a division or conversion gave a number that does not fit; in run", []string{"run"}},
		{"conversion", "task task: invalid conversion to integer: the guest converted a number that is not one; in run", []string{"run"}},
		{"null_function", "task task: invalid table access: the guest called through a function pointer that is null or out of range; in run", []string{"run"}},
		{"wrong_function", "task task: indirect call type mismatch: the guest called a function pointer of another signature; in run", []string{"run"}},
		{"memory_abort", "task task: " + gaveUp + "; memory limit of 64 MiB reached: growing to 64.1 MiB was refused (option [wasakari] memory_mib, or limits.memory_mib in the manifest); in run", []string{"run"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := admit(t, r, tt.name)
			for range 2 { // what one run broke is whole in the next
				res, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}})
				if err == nil || err.Error() != tt.want {
					t.Errorf("error\n got %v\nwant %s", err, tt.want)
				}
				if res.Exit != abi.ExitFailed {
					t.Errorf("exit = %d, want failed", res.Exit)
				}
				trap, ok := errors.AsType[*runtime.TrapError](err)
				if !ok || !slices.Equal(trap.Stack, tt.stack) {
					t.Errorf("trap = %v, want one with the stack %v", trap, tt.stack)
				}
			}
		})
	}
}

func TestMemoryAbortIsLimit(t *testing.T) {
	_, err := run(t, "memory_abort", &host{}, runtime.Limits{MemoryBytes: 1 << 20})
	limit, ok := errors.AsType[*runtime.LimitError](err)
	if !ok || limit.Value != "1 MiB" || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want a limit of 1 MiB and no deadline", err)
	}
}

func TestOutcomes(t *testing.T) {
	r := newRuntime(t, runtime.Config{})
	tests := []struct {
		name    string
		exit    abi.Exit
		wantErr string
	}{
		{"noop", abi.ExitSucceeded, ""},
		{"initialize", abi.ExitSucceeded, ""},
		{"memory_grow", abi.ExitSucceeded, ""},
		{"exit_code", abi.ExitFailed, "task task: run returned 7; an outcome is 0 (succeeded), 1 (failed), 2 (nothing to do) or 3 (ignored)"},
		{"data_outside", abi.ExitFailed, "task task: instantiating: data[0]: out of bounds memory access"},
		{"memory_minimum", abi.ExitFailed, "task task: memory limit of 64 MiB reached: the module starts with 128 MiB (option [wasakari] memory_mib, or limits.memory_mib in the manifest)"},
		{"proc_exit", abi.ExitFailed, "task task: the guest exited with code 2 instead of returning; it wrote: boom\nhalf"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := admit(t, r, tt.name)
			for range 2 {
				res, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}})
				if got := fmt.Sprint(err); err != nil && got != tt.wantErr || err == nil && tt.wantErr != "" {
					t.Errorf("error\n got %v\nwant %s", got, tt.wantErr)
				}
				if res.Exit != tt.exit {
					t.Errorf("exit = %d, want %d", res.Exit, tt.exit)
				}
			}
		})
	}
}

func TestMemoryPeak(t *testing.T) {
	res, err := run(t, "memory_grow", &host{}, runtime.Limits{MemoryBytes: 3<<20 + 5})
	if err != nil || res.MemoryPeak != 3<<20 {
		t.Errorf("peak = %d, %v; want 3 MiB, in whole pages", res.MemoryPeak, err)
	}
}

func TestExitError(t *testing.T) {
	h := &host{}
	_, err := run(t, "proc_exit", h, runtime.Limits{})
	exit, ok := errors.AsType[*runtime.ExitError](err)
	if !ok || exit.Code != 2 || exit.Output != "boom\nhalf" {
		t.Errorf("error = %#v, want code 2 and the output", exit)
	}
	if want := []string{"warn boom", "info half"}; !slices.Equal(h.logs, want) {
		t.Errorf("logs = %q, want %q", h.logs, want)
	}
}

func TestRevert(t *testing.T) {
	r := newRuntime(t, runtime.Config{})
	res, err := admit(t, r, "revert").Revert(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}})
	if err != nil || res.Exit != abi.ExitNothingToDo || res.Reason != "reverted" {
		t.Errorf("revert = %+v, %v; want exit 2 with its reason", res, err)
	}
	_, err = admit(t, r, "noop").Revert(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}})
	if want := "task task: module noop.wasm has no revert"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
	_, err = admit(t, r, "noop").Run(t.Context(), runtime.Call{Key: "other", Host: &host{}})
	if want := `module noop.wasm lists no task "other"`; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

// Guests that never end by themselves end at their limit of time, and when
// the caller cancels.
func TestEndless(t *testing.T) {
	for _, name := range []string{"loop", "loop_in_initialize", "recursion_tree", "log_flood", "write_flood", "yield_flood", "call_flood", "read_loop"} {
		t.Run(name, func(t *testing.T) {
			m := admit(t, newRuntime(t, runtime.Config{}), name)
			call := runtime.Call{Key: testwasm.Key, Host: &host{}, Limits: runtime.Limits{Timeout: 30 * time.Millisecond}}
			res, err := m.Run(t.Context(), call)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error = %v, want DeadlineExceeded", err)
			}
			limit, ok := errors.AsType[*runtime.LimitError](err)
			if want := "time limit of 30ms reached (option [wasakari] task_timeout, or limits.timeout in the manifest)"; !ok || limit.Error() != want {
				t.Errorf("limit = %v, want %s", limit, want)
			}
			if res.Exit != abi.ExitFailed {
				t.Errorf("exit = %d, want failed", res.Exit)
			}

			ctx, cancel := context.WithCancelCause(t.Context())
			h := &signal{started: func() { cancel(errors.New("operator said so")) }}
			call.Limits.Timeout = 0
			if strings.HasPrefix(name, "loop") || name == "recursion_tree" || name == "yield_flood" { // these never call the host
				go h.started()
			}
			call.Host = h
			_, err = m.Run(ctx, call)
			if !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error = %v, want Canceled", err)
			}
			if !strings.HasSuffix(fmt.Sprint(err), "context canceled: operator said so") {
				t.Errorf("error = %v, want it to end with the cause", err)
			}
		})
	}
}

// signal is a Host that tells when it is first called.
type signal struct {
	once    sync.Once
	started func()
}

func (s *signal) Do(context.Context, *abi.Op, []byte) ([]byte, error) {
	s.once.Do(s.started)
	return []byte("{}"), nil
}

func (s *signal) Log(abi.Level, string) { s.once.Do(s.started) }

func (s *signal) Progress(int, string) { s.once.Do(s.started) }

// The caller's own deadline is no limit of the task.
func TestCallersDeadline(t *testing.T) {
	m := admit(t, newRuntime(t, runtime.Config{}), "loop")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := m.Run(ctx, runtime.Call{Key: testwasm.Key, Host: &host{}})
	if limit, ok := errors.AsType[*runtime.LimitError](err); ok || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v (limit %v), want DeadlineExceeded and no LimitError", err, limit)
	}
	cancel()
	if _, err := m.Run(ctx, runtime.Call{Key: testwasm.Key, Host: &host{}}); err == nil {
		t.Error("a run with a context that is over began")
	}
}

// A host that hangs in a read does not keep the guest beyond its deadline.
func TestHangingRead(t *testing.T) {
	release := make(chan struct{})
	gone := make(chan error, 1)
	h := &host{do: func(ctx context.Context, _ *abi.Op, _ []byte) ([]byte, error) {
		<-release // heeds no context
		gone <- ctx.Err()
		return nil, nil
	}}
	r := newRuntime(t, runtime.Config{})
	m := admit(t, r, "read_once")
	_, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: h, Limits: runtime.Limits{Timeout: 20 * time.Millisecond}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want DeadlineExceeded", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Close(over); !errors.Is(err, context.Canceled) {
		t.Errorf("closing while the read hangs = %v, want Canceled", err)
	}
	close(release)
	if err := <-gone; err == nil {
		t.Error("the context of the read did not end with the task")
	}
	if err := m.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A change is followed to its end, whatever becomes of the task.
func TestChangeIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		began, release := make(chan struct{}), make(chan struct{})
		var seen []any
		h := &host{do: func(ctx context.Context, _ *abi.Op, _ []byte) ([]byte, error) {
			close(began)
			<-release
			seen = append(seen, ctx.Err(), ctx.Value(key{}))
			return nil, nil
		}}
		m := admit(t, newRuntime(t, runtime.Config{}), "change_once")
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		ended := make(chan error)
		go func() {
			_, err := m.Run(ctx, runtime.Call{Key: testwasm.Key, Host: h})
			ended <- err
		}()
		<-began
		cancel()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("the run ended with %v before its change did", err)
		default:
		}
		close(release)
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want Canceled", err)
		}
		if want := []any{nil, "value"}; !slices.Equal(seen, want) {
			t.Errorf("context of the change = %v, want %v", seen, want)
		}
	})
}

// A host that panics costs the task, or the op, and not the process.
func TestHostPanics(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	r := newRuntime(t, runtime.Config{Logger: zap.New(core)})
	h := &host{do: func(context.Context, *abi.Op, []byte) ([]byte, error) { panic("no such thing") }}
	if _, err := admit(t, r, "change_once").Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: h}); err != nil {
		t.Errorf("error = %v, want none: the guest got an error and took it", err)
	}
	var nothing *struct{ field int }
	h.do = func(context.Context, *abi.Op, []byte) ([]byte, error) { return nil, fmt.Errorf("%d", nothing.field) }
	_, err := admit(t, r, "call_flood").Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: h})
	if want := "task task: internal error of the host, see its log; in wasakari_v1.call < run"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error = %v, want %s", err, want)
	}
	if got := logs.Len(); got != 2 {
		t.Errorf("%d panics logged, want 2", got)
	}
}

func TestLogs(t *testing.T) {
	tests := []struct {
		name   string
		limits runtime.Limits
		want   []string
	}{
		{"all", runtime.Limits{}, []string{"debug one", "debug two", "debug three", "error fo\uFFFDur\uFFFD", "info five"}},
		{
			"three lines",
			runtime.Limits{LogLines: 3},
			[]string{"debug one", "debug two", "debug three", "warn log limit of 3 lines reached (option [wasakari] log_lines); further lines are dropped"},
		},
		{
			"ten bytes",
			runtime.Limits{LogBytes: 10},
			[]string{"debug one", "debug two", "warn log limit of 10 bytes reached (option [wasakari] log_kib); further lines are dropped"},
		},
		{
			"none",
			runtime.Limits{LogLines: -1},
			[]string{"warn log limit of 0 lines reached (option [wasakari] log_lines); further lines are dropped"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &host{}
			if _, err := run(t, "log_count", h, tt.limits); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(h.logs, tt.want) {
				t.Errorf("logs\n got %q\nwant %q", h.logs, tt.want)
			}
		})
	}
}

func TestLogFlood(t *testing.T) {
	h := &host{}
	_, _ = run(t, "log_flood", h, runtime.Limits{LogLines: 10, Timeout: 20 * time.Millisecond})
	if got := len(h.logs); got != 11 {
		t.Errorf("%d lines logged, want 10 and one warning", got)
	}
}

// The rate slows a guest down and refuses nothing.
func TestHostCallRate(t *testing.T) {
	h := &host{}
	res, err := run(t, "call_flood", h, runtime.Limits{HostCallsPerSecond: 5, Timeout: 50 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want DeadlineExceeded", err)
	}
	if most := 5 + 5*int(res.Took/time.Second+1); len(h.ops) < 5 || len(h.ops) > most {
		t.Errorf("%d ops in %v, want 5 to %d", len(h.ops), res.Took, most)
	}
}

// Many sandboxes of many kinds at once leave nothing behind: no goroutine, no
// memory map.
func TestHammer(t *testing.T) {
	r := newRuntime(t, runtime.Config{Logger: zap.NewNop()})
	names := []string{"noop", "unreachable", "loop", "memory_grow", "memory_abort", "proc_exit", "read_once", "change_once", "data_outside"}
	modules := make([]*runtime.Module, len(names))
	for i, name := range names {
		modules[i] = admit(t, r, name)
	}
	round := func() {
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := range 3 * len(modules) {
					m := modules[(worker+i)%len(modules)]
					_, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}, Limits: runtime.Limits{
						Timeout: time.Duration(i%3+1) * 5 * time.Millisecond, MemoryBytes: 1 << 20,
					}})
					if m.Source() == "loop.wasm" && !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("loop: %v", err)
					}
				}
			})
		}
		wg.Wait()
	}
	round()
	goroutines, maps := goruntime.NumGoroutine(), sandboxMaps(t)
	for range 4 {
		round()
	}
	// wazero ends its watcher of a context without waiting for it: on a busy
	// machine that may be a while after the run.
	for end := time.Now().Add(time.Minute); goruntime.NumGoroutine() > goroutines && time.Now().Before(end); {
		goruntime.Gosched()
	}
	if got := goruntime.NumGoroutine(); got > goroutines {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines, %d before:\n%s", got, goroutines, stacks[:goruntime.Stack(stacks, true)])
	}
	if got := sandboxMaps(t); got > maps || got != 0 {
		t.Errorf("%d memories of sandboxes are mapped, want none", got)
	}
}

// sandboxMaps counts the mappings that have no access rights and the size of
// the rest of a memory of 1 MiB: 16 pages less the one that a guest starts
// with, or none of them.
func sandboxMaps(t *testing.T) int {
	t.Helper()
	if goruntime.GOOS != "linux" {
		return 0
	}
	n := 0
	for line := range strings.Lines(readFile(t, "/proc/self/maps")) {
		var from, to uint64
		var rights string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &rights); err == nil && to-from == 15*65536 && rights == "---p" {
			n++
		}
	}
	return n
}

// A guest may not see what another left in memory.
func TestMemoryIsFresh(t *testing.T) {
	secret := bytes.Repeat([]byte("secret"), 1000)
	_, _, err := drive(t, &host{}, runtime.Limits{}, secret, func(uint64) []invoke { return nil })
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := drive(t, &host{}, runtime.Limits{}, nil, func(uint64) []invoke { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(got, []byte("secret")) {
		t.Error("memory of an earlier sandbox shows")
	}
}
