package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testcompiler"
	"github.com/wasakari/wasakari/runtime"
)

// compiler is runtime.Config.Compiler for all tests.
var compiler string

func TestMain(m *testing.M) {
	testcompiler.Main(func(file string) int {
		compiler = file
		return m.Run()
	})
}

// buildGo builds a guest of the Go SDK as the SDK's documentation says.
func buildGo(t *testing.T, pkg string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Dir = filepath.Join("..", "go")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=", "GOWORK=off")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, b)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// echo answers server_get with the id asked for.
func echo(_ context.Context, req []byte) (any, *abi.Error) {
	var r abi.NovaServerGetRequest
	if err := abi.DecodeRequest(abi.OpNovaServerGet, req, &r); err != nil {
		return nil, err
	}
	return abi.Server{ID: r.ID}, nil
}

// never is an op that does not end by itself.
func never(ctx context.Context, _ []byte) (any, *abi.Error) {
	<-ctx.Done()
	return nil, abi.Errorf(abi.ErrnoCanceled, "canceled")
}

// afterLogs answers once the guest logged n times that a timer fired. Were
// timers held up by the call, neither would ever happen.
func afterLogs(h *host, n int) answer {
	return func(ctx context.Context, req []byte) (any, *abi.Error) {
		for range n {
			select {
			case <-h.logged:
			case <-ctx.Done():
				return nil, abi.Errorf(abi.ErrnoCanceled, "canceled")
			}
		}
		return echo(ctx, req)
	}
}

// goCase is a run of a task of sdk/go/testdata/concurrent.
type goCase struct {
	name   string // default: key
	key    string
	setUp  func(h *host)
	exit   abi.Exit
	reason string
	open   int                         // tickets at the end
	own    func(t *testing.T, h *host) // on the host of this package, which keeps more than the runtime shows
}

func goCases() []goCase {
	return []goCase{
		{
			key: "many",
			setUp: func(h *host) {
				// Nobody is answered before all thousand are here.
				all := make(chan struct{})
				var arrived atomic.Int32
				h.ops[abi.OpNovaServerGet] = func(ctx context.Context, req []byte) (any, *abi.Error) {
					if arrived.Add(1) == 1000 {
						close(all)
					}
					select {
					case <-all:
					case <-ctx.Done():
					}
					return echo(ctx, req)
				}
			},
			own: func(t *testing.T, h *host) {
				if h.tickets != 1000 {
					t.Errorf("tickets = %d, want 1000", h.tickets)
				}
			},
		},
		{key: "chain", setUp: func(h *host) { h.ops[abi.OpNovaServerGet] = echo }},
		{
			name: "chain with three tickets", key: "chain",
			setUp: func(h *host) { h.ops[abi.OpNovaServerGet], h.limit = echo, 3 },
		},
		{
			name: "many with one ticket", key: "many",
			setUp: func(h *host) { h.ops[abi.OpNovaServerGet], h.limit = echo, 1 },
		},
		{
			key:   "timeout",
			setUp: func(h *host) { h.ops[abi.OpNovaServerWait] = never },
			own: func(t *testing.T, h *host) {
				if got, want := h.canceled, []int32{1}; !slices.Equal(got, want) {
					t.Errorf("cancelled tickets = %v, want %v", got, want)
				}
			},
		},
		{
			// The calls beyond the first queue for its ticket, and give up there.
			key:   "timeouts",
			setUp: func(h *host) { h.ops[abi.OpNovaServerWait], h.limit = never, 1 },
			own: func(t *testing.T, h *host) {
				if h.tickets < 1 || h.tickets > 3 {
					t.Errorf("tickets = %d, want 1 to 3", h.tickets)
				}
			},
		},
		{
			key:   "cancel",
			setUp: func(h *host) { h.ops[abi.OpNovaServerWait] = never },
			own: func(t *testing.T, h *host) {
				if len(h.canceled) != 1 {
					t.Errorf("cancelled tickets = %v, want one", h.canceled)
				}
			},
		},
		{key: "sleep", setUp: func(h *host) { h.ops[abi.OpNovaServerGet] = afterLogs(h, 5) }},
		{key: "after_func", setUp: func(h *host) { h.ops[abi.OpNovaServerGet] = afterLogs(h, 1) }},
		{key: "busy", setUp: func(h *host) { h.ops[abi.OpNovaServerGet] = afterLogs(h, 1) }},
		{
			key: "panics", exit: abi.ExitFailed, reason: "panic: the moon fell",
			own: func(t *testing.T, h *host) {
				for _, want := range []string{"panic: the moon fell\n", "runtime/debug.Stack"} {
					if out := h.output.String(); !strings.Contains(out, want) {
						t.Errorf("output lacks %q:\n%s", want, out)
					}
				}
			},
		},
		{
			key: "leaves_open", open: 1,
			setUp: func(h *host) { h.ops[abi.OpNovaServerWait] = never },
		},
	}
}

// each runs f for every case as a subtest.
func each(t *testing.T, f func(t *testing.T, h *host, tt goCase)) {
	for _, tt := range goCases() {
		if tt.name == "" {
			tt.name = tt.key
		}
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(tt.key)
			if tt.setUp != nil {
				tt.setUp(h)
			}
			f(t, h, tt)
			if h.reason != tt.reason {
				t.Errorf("reason = %q, want %q", h.reason, tt.reason)
			}
		})
	}
}

func TestGo(t *testing.T) {
	ctx := t.Context()
	rt := wazero.NewRuntime(ctx)
	defer func() { _ = rt.Close(context.WithoutCancel(ctx)) }()
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, rt); err != nil {
		t.Fatal(err)
	}
	if err := hostModule(ctx, rt); err != nil {
		t.Fatal(err)
	}
	guest, err := rt.CompileModule(ctx, buildGo(t, "./testdata/concurrent"))
	if err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, h *host, tt goCase) {
		if got := h.run(t, rt, guest, abi.Run); got != tt.exit {
			t.Errorf("exit = %d, want %d", got, tt.exit)
		}
		if got := h.openTickets(); got != tt.open {
			t.Errorf("open tickets at the end = %d, want %d", got, tt.open)
		}
		if tt.own != nil {
			tt.own(t, h)
		}
	})
}

// TestGoOnRuntime runs the same on the runtime of the product.
func TestGoOnRuntime(t *testing.T) {
	m := &abi.Manifest{ABI: abi.Version, Library: "concurrent", Version: "1.0.0"}
	for _, tt := range goCases() {
		if m.Task(tt.key) == nil {
			m.Tasks = append(m.Tasks, abi.ManifestTask{Key: tt.key, Uses: []string{"nova.*", "kv.*"}})
		}
	}
	wasm, err := abi.AppendManifest(buildGo(t, "./testdata/concurrent"), m)
	if err != nil {
		t.Fatal(err)
	}
	r, err := runtime.New(runtime.Config{Compiler: compiler})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close(context.WithoutCancel(t.Context())) }()
	guest, err := r.Admit(t.Context(), "concurrent.wasm", wasm)
	if err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, h *host, tt goCase) {
		limits := runtime.DefaultLimits()
		limits.HostCallsPerSecond = 1_000_000
		if limits.Tickets = 1000; h.limit > 0 {
			limits.Tickets = h.limit
		}
		res, err := guest.Run(t.Context(), runtime.Call{Key: tt.key, Host: (*served)(h), Limits: limits})
		if tt.open > 0 {
			if !errors.Is(err, runtime.ErrOpenTickets) {
				t.Errorf("error = %v, want %v", err, runtime.ErrOpenTickets)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if res.Exit != tt.exit {
			t.Errorf("exit = %d, want %d", res.Exit, tt.exit)
		}
		h.reason = res.Reason
	})
}

// served is a host behind the product's runtime, which keeps the tickets.
type served host

func (h *served) Do(ctx context.Context, op *abi.Op, req []byte) ([]byte, error) {
	do := h.ops[op.Name]
	switch {
	case op.Name == abi.OpTaskInput:
		return json.Marshal(h.input)
	case op.Name == abi.OpTaskSleep:
		do = sleep
	case do == nil:
		return nil, abi.Errorf(abi.ErrnoNotGranted, "no answer for %s", op.Name)
	}
	ans, refusal := do(ctx, req)
	if refusal != nil {
		return nil, refusal
	}
	return json.Marshal(ans)
}

func (h *served) Log(level abi.Level, msg string) { (*host)(h).log(level, msg) }

func (h *served) Progress(_ int, msg string) { (*host)(h).progress(msg) }
