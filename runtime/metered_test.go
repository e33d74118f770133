package runtime_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// The same module with the same answers takes the same units, whatever else
// goes on; what computes more, or asks for more, takes more.
func TestUnitsAreExact(t *testing.T) {
	for _, name := range []string{"noop", "memory_grow", "read_once", "count_calls", "recursion", "proc_exit"} {
		t.Run(name, func(t *testing.T) {
			var first int64
			for i := range 3 {
				m := admit(t, newRuntime(t, runtime.Config{Logger: zap.NewNop()}), name)
				h := answers{count: binary.LittleEndian.AppendUint64(nil, 1000), answer: []byte("{}")}
				res, _ := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: h, Limits: runtime.Limits{HostCallsPerSecond: unlimited}})
				if i == 0 {
					first = res.CPU
				}
				if res.CPU != first {
					t.Errorf("run %d took %d units, the first %d", i, res.CPU, first)
				}
			}
		})
	}
}

func TestUnitsOfTheHost(t *testing.T) {
	m := admit(t, newRuntime(t, runtime.Config{Logger: zap.NewNop()}), "count_calls")
	units := func(calls uint64, answer int) int64 {
		h := answers{count: binary.LittleEndian.AppendUint64(nil, calls), answer: make([]byte, answer)}
		res, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: h, Limits: runtime.Limits{HostCallsPerSecond: unlimited}})
		if err != nil {
			t.Fatal(err)
		}
		return res.CPU
	}
	base, calls, bytes := units(10, 0), units(110, 0), units(10, 1000)
	if each := (calls - base) / 100; each < 5000 {
		t.Errorf("a call takes %d units, want 5000 at least", each)
	}
	if got := bytes - base; got != 10*2*1000 {
		t.Errorf("ten answers of 1000 bytes take %d units more, want two for each byte", got)
	}
}

// A guest that has used all its units is stopped, also when it was the host
// that used them for it.
func TestUnitsRunOut(t *testing.T) {
	for _, name := range []string{"loop", "loop_in_initialize", "recursion_tree", "recursion_mutual", "call_flood", "log_flood", "write_flood", "yield_flood", "fill_flood", "table_flood", "touch_flood"} {
		t.Run(name, func(t *testing.T) {
			m := admit(t, newRuntime(t, runtime.Config{Logger: zap.NewNop()}), name)
			const most = 2_000_000
			call := runtime.Call{Key: testwasm.Key, Host: answers{answer: []byte("{}")}, Limits: runtime.Limits{CPU: most, HostCallsPerSecond: unlimited, LogLines: 1e9, LogBytes: 1 << 30}}
			var used [2]int64
			for i := range used {
				res, err := m.Run(t.Context(), call)
				limit, ok := errors.AsType[*runtime.LimitError](err)
				if want := "cpu limit of 2000000 units reached (option [wasakari] cpu_units, or limits.cpu in the manifest)"; !ok || limit.Error() != want || errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error = %v, want %s", err, want)
				}
				used[i] = res.CPU
			}
			if used[0] != used[1] || used[0] < most/2 {
				t.Errorf("units = %d, want the same twice, about %d or, when the host used them, more", used, most)
			}
		})
	}
}

// stack is one limit and how deep recursion.wat gets with it; with wazero's
// own ceiling it would be the same for all.
func TestStackLimit(t *testing.T) {
	m := admit(t, newRuntime(t, runtime.Config{Logger: zap.NewNop()}), "recursion")
	var units [3]int64
	for i, limit := range []int64{64 << 10, 1 << 20, 8 << 20} {
		res, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}, Limits: runtime.Limits{Stack: limit}})
		e, ok := errors.AsType[*runtime.LimitError](err)
		if !ok || e.Limit != "stack" || e.Option != "[wasakari] stack_mib" {
			t.Errorf("error = %v, want the limit of the stack", err)
		}
		units[i] = res.CPU
	}
	if units[1] < 10*units[0] || units[2] < 6*units[1] {
		t.Errorf("units = %d: they do not grow with the limit", units)
	}
}

// hostile lists guests that do not end by themselves, with what they need.
var hostile = []struct {
	name   string
	limits runtime.Limits
	host   runtime.Host
}{
	{"loop", runtime.Limits{}, answers{}},
	{"loop_in_initialize", runtime.Limits{}, answers{}},
	{"recursion_tree", runtime.Limits{}, answers{}},
	{"recursion_mutual", runtime.Limits{}, answers{}},
	{"fill_flood", runtime.Limits{}, answers{}},
	{"copy_flood", runtime.Limits{MemoryBytes: 512 << 20}, answers{}},
	{"touch_flood", runtime.Limits{}, answers{}},
	{"table_flood", runtime.Limits{}, answers{}},
	{"write_flood", runtime.Limits{}, answers{}},
	{"yield_flood", runtime.Limits{}, answers{}},
	{"read_loop", runtime.Limits{}, answers{answer: []byte("{}")}},
	{"sleep", runtime.Limits{}, answers{}},
	{"read_once", runtime.Limits{}, waits{}},
}

// waits is a Host whose ops last until they are given up.
type waits struct{ answers }

func (waits) Do(ctx context.Context, _ *abi.Op, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestHostileGuestsEnd(t *testing.T) {
	for _, tt := range hostile {
		t.Run(tt.name, func(t *testing.T) {
			m := admit(t, newRuntime(t, runtime.Config{Logger: zap.NewNop()}), tt.name)
			limits := tt.limits
			limits.CPU = 1e15
			limits.Timeout = 30 * time.Millisecond
			_, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: tt.host, Limits: limits})
			if limit, ok := errors.AsType[*runtime.LimitError](err); !ok || limit.Limit != "time" || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error = %v, want the limit of time", err)
			}
		})
	}
}

// While one guest spins, a neighbour ends a thousand calls and the garbage
// collector runs; only then is the spinner released.
func TestNeighbours(t *testing.T) {
	r := newRuntime(t, runtime.Config{Logger: zap.NewNop()})
	spin, neighbour := admit(t, r, "spin"), admit(t, r, "read_once")
	ctx, release := context.WithCancel(t.Context())
	spinning := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		h := &signal{started: func() { close(spinning) }}
		_, err := spin.Run(ctx, runtime.Call{Key: testwasm.Key, Host: h, Limits: runtime.Limits{CPU: 1e15}})
		ended <- err
	}()
	<-spinning
	for range 1000 {
		if _, err := neighbour.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: answers{answer: []byte("{}")}}); err != nil {
			t.Fatal(err)
		}
	}
	goruntime.GC()
	select {
	case err := <-ended:
		t.Fatalf("the spinner ended before it was released: %v", err)
	default:
	}
	release()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want Canceled", err)
	}
}

// Clocks for tenants show whole milliseconds.
func TestCoarseClock(t *testing.T) {
	for _, coarse := range []bool{false, true} {
		var now uint64
		memory, _, err := driveCall(t, &host{}, runtime.Call{CoarseClock: coarse}, make([]byte, 16), func(at uint64) []invoke {
			now = at
			return []invoke{{"clock_res_get", []uint64{1, at}}, {"clock_time_get", []uint64{0, 1, at + 8}}}
		})
		if err != nil {
			t.Fatal(err)
		}
		resolution := binary.LittleEndian.Uint64(memory.at(now, 8))
		shown := binary.LittleEndian.Uint64(memory.at(now+8, 8))
		want := uint64(1)
		if coarse {
			want = 1e6
		}
		if resolution != want || shown == 0 || coarse && shown%1e6 != 0 {
			t.Errorf("coarse %t: resolution %d, time %d", coarse, resolution, shown)
		}
	}
}

// What a guest does in memory.fill is told by its name in a trap.
func TestTrapInHelper(t *testing.T) {
	_, err := run(t, "fill_outside", &host{}, runtime.Limits{})
	if want := "task task: " + outIs + "; in memory.fill < run"; fmt.Sprint(err) != want {
		t.Errorf("error\n got %v\nwant %s", err, want)
	}
	if strings.Contains(fmt.Sprint(err), "wasakari_meter") {
		t.Error("the frames of metering show")
	}
}
