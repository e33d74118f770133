package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// TestLimits goes through the table of limits: for each a guest that does not
// keep to it, and the error, which names limit, value and option. The limits of
// the compiler have TestCompilerLimits, those of sandboxes TestTenantGivesUp,
// those of values TestMemoryIsSharedWithTheHost and package hostfuncs.
func TestLimits(t *testing.T) {
	const page = 64 << 10
	large := strings.Repeat("x", 2*page)
	tests := []struct {
		name   string
		guest  string
		limits runtime.Limits
		want   string // of the error, or of the log when it begins with warn
	}{
		{
			name: "memory", guest: "memory_abort", limits: runtime.Limits{MemoryBytes: 1 << 20},
			want: "memory limit of 1 MiB reached: growing to 1.1 MiB was refused (option [wasakari] memory_mib, or limits.memory_mib in the manifest)",
		},
		{
			name: "memory at the start", guest: "memory_minimum", limits: runtime.Limits{MemoryBytes: page},
			want: "memory limit of 64 KiB reached: the module starts with ",
		},
		{
			name: "stack", guest: "recursion", limits: runtime.Limits{Stack: 128 << 10},
			want: "stack limit of 128 KiB reached: the guest called too deep, most likely a recursion without end (option [wasakari] stack_mib)",
		},
		{
			name: "cpu", guest: "loop", limits: runtime.Limits{CPU: 1e6},
			want: "cpu limit of 1000000 units reached (option [wasakari] cpu_units, or limits.cpu in the manifest)",
		},
		{
			name: "cpu of host calls", guest: "read_loop", limits: runtime.Limits{CPU: 1e6, HostCallsPerSecond: unlimited},
			want: "cpu limit of 1000000 units reached (option [wasakari] cpu_units, or limits.cpu in the manifest)",
		},
		{
			name: "time", guest: "loop", limits: runtime.Limits{Timeout: 20 * time.Millisecond},
			want: "time limit of 20ms reached (option [wasakari] task_timeout, or limits.timeout in the manifest)",
		},
		{
			name: "time asleep", guest: "sleep", limits: runtime.Limits{Timeout: 20 * time.Millisecond},
			want: "time limit of 20ms reached (option [wasakari] task_timeout, or limits.timeout in the manifest)",
		},
		{
			name: "log lines", guest: "log_flood", limits: runtime.Limits{LogLines: 3, CPU: 1e6},
			want: "warn log limit of 3 lines reached (option [wasakari] log_lines); further lines are dropped",
		},
		{
			name: "log text", guest: "log_flood", limits: runtime.Limits{LogBytes: 3, CPU: 1e6},
			want: "warn log limit of 3 bytes reached (option [wasakari] log_kib); further lines are dropped",
		},
	}
	r := newRuntime(t, runtime.Config{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &host{}
			_, err := admit(t, r, tt.guest).Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: h, Limits: tt.limits})
			if strings.HasPrefix(tt.want, "warn ") {
				if !strings.Contains(strings.Join(h.logs, "\n"), tt.want) {
					t.Errorf("no %q among %d lines", tt.want, len(h.logs))
				}
				return
			}
			limit, ok := errors.AsType[*runtime.LimitError](err)
			if !ok || !strings.HasPrefix(limit.Error(), tt.want) {
				t.Errorf("error\n got %v\nwant %s", err, tt.want)
			}
		})
	}
	// What a guest may handle comes as an answer to it.
	ops := []struct {
		name   string
		limits runtime.Limits
		calls  func(at uint64, data text) []invoke
		want   string
	}{
		{
			"request",
			runtime.Limits{RequestBytes: page},
			func(at uint64, data text) []invoke {
				return []invoke{{abi.Call, args(data.ref(at, 0), int(at), page+1, 0, 0)}}
			},
			"request limit of 64 KiB reached: the request has 65537 bytes (option [wasakari] request_kib)",
		},
		{
			"answer",
			runtime.Limits{AnswerBytes: page},
			func(at uint64, data text) []invoke { return []invoke{{abi.Call, args(data.ref(at, 0), 0, 0, 0, 0)}} },
			"answer limit of 64 KiB reached: the answer has 131072 bytes; ask for fewer fields or rows (option [wasakari] answer_mib)",
		},
		{
			"tickets",
			runtime.Limits{Tickets: 1},
			func(at uint64, data text) []invoke {
				submit := invoke{abi.Submit, args(data.ref(at, 0), 0, 0)}
				return []invoke{submit, submit, {abi.Wait, args(-1, 0, 0)}}
			},
			"ticket limit of 1 open reached: 1 ops are in flight (option [wasakari] tickets)",
		},
	}
	for _, tt := range ops {
		t.Run(tt.name, func(t *testing.T) {
			h := &host{do: func(context.Context, *abi.Op, []byte) ([]byte, error) { return []byte(large), nil }}
			data := text{abi.OpNovaServerGet}
			got, _, err := drive(t, h, tt.limits, data.bytes(), func(at uint64) []invoke {
				return append(tt.calls(at, data), invoke{abi.Take, args(buffer, 1000)})
			})
			if err != nil {
				t.Fatal(err)
			}
			if said := fmt.Sprint(got.text(buffer), h.logs); !strings.Contains(said, tt.want) {
				t.Errorf("no %q in %.500s", tt.want, said)
			}
		})
	}
	t.Run("module", func(t *testing.T) {
		_, err := newRuntime(t, runtime.Config{MaxModuleBytes: 100}).Admit(t.Context(), "noop.wasm", testwasm.Module("noop"))
		if want := "at most 100 bytes are admitted"; !strings.Contains(message(err), want) || !strings.HasSuffix(message(err), "or raise [wasakari] module_mib") {
			t.Errorf("error = %v, want %q", err, want)
		}
	})
	t.Run("defaults", func(t *testing.T) {
		want := runtime.Limits{
			MemoryBytes: 64 << 20, Stack: 1 << 20, CPU: 10e9, Timeout: 5 * time.Minute, HostCallsPerSecond: 1000,
			Tickets: 64, RequestBytes: 256 << 10, AnswerBytes: 1 << 20, LogLines: 1000, LogBytes: 1 << 20,
		}
		if got := newRuntime(t, runtime.Config{}).Limits(); got != want {
			t.Errorf("defaults = %+v, want %+v", got, want)
		}
		want.MemoryBytes, want.CPU, want.Timeout = 512<<20, 600e9, 6*time.Hour
		if got := runtime.DefaultCeilings(); got != want {
			t.Errorf("ceilings = %+v, want %+v", got, want)
		}
	})
}

// TestLimitOptions: an error names what sets the limit, where that is not an
// option of [wasakari].
func TestLimitOptions(t *testing.T) {
	const page = 64 << 10
	o := &runtime.LimitOptions{
		Memory: "M", Stack: "S", CPU: "C", Timeout: "T", Tickets: "I", Request: "R", Answer: "A", LogLines: "L", LogBytes: "B",
	}
	tests := []struct {
		guest  string
		limits runtime.Limits
		want   string
	}{
		{"memory_abort", runtime.Limits{MemoryBytes: 1 << 20}, "memory limit of 1 MiB reached: growing to 1.1 MiB was refused (option M)"},
		{"recursion", runtime.Limits{Stack: 128 << 10}, "called too deep, most likely a recursion without end (option S)"},
		{"loop", runtime.Limits{CPU: 1e6}, "cpu limit of 1000000 units reached (option C)"},
		{"loop", runtime.Limits{Timeout: 20 * time.Millisecond}, "time limit of 20ms reached (option T)"},
		{"log_flood", runtime.Limits{LogLines: 3, Timeout: time.Minute, CPU: 1e6}, "log limit of 3 lines reached (option L); further lines are dropped"},
		{"log_flood", runtime.Limits{LogBytes: 3, Timeout: time.Minute, CPU: 1e6}, "log limit of 3 bytes reached (option B); further lines are dropped"},
	}
	r := newRuntime(t, runtime.Config{})
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			h := &host{}
			tt.limits.Options = o
			_, err := admit(t, r, tt.guest).Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: h, Limits: tt.limits})
			if said := fmt.Sprint(err, h.logs); !strings.Contains(said, tt.want) {
				t.Errorf("no %q in %.500s", tt.want, said)
			}
			if strings.HasPrefix(tt.want, "time") && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error = %v, want one that is DeadlineExceeded", err)
			}
		})
	}
	h := &host{do: func(context.Context, *abi.Op, []byte) ([]byte, error) {
		return []byte(`"` + strings.Repeat("x", page) + `"`), nil
	}}
	data := text{abi.OpNovaServerGet}
	limits := runtime.Limits{RequestBytes: page, AnswerBytes: page, Tickets: 1, Options: o}
	for name, calls := range map[string]func(at uint64) []invoke{
		"the request has 65537 bytes (option R)":                              func(at uint64) []invoke { return []invoke{{abi.Call, args(data.ref(at, 0), int(at), page+1, 0, 0)}} },
		"the answer has 65538 bytes; ask for fewer fields or rows (option A)": func(at uint64) []invoke { return []invoke{{abi.Call, args(data.ref(at, 0), 0, 0, 0, 0)}} },
		"1 ops are in flight (option I)": func(at uint64) []invoke {
			submit := invoke{abi.Submit, args(data.ref(at, 0), 0, 0)}
			return []invoke{submit, submit, {abi.Wait, args(-1, 0, 0)}}
		},
	} {
		got, _, err := drive(t, h, limits, data.bytes(), func(at uint64) []invoke { return append(calls(at), invoke{abi.Take, args(buffer, 1000)}) })
		if err != nil {
			t.Fatal(err)
		}
		if said := fmt.Sprint(got.text(buffer), h.logs); !strings.Contains(said, name) {
			t.Errorf("no %q in %.500s", name, said)
		}
	}
}
