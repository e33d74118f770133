package hostile_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime"
)

// say answers every op with the text.
func say(answer string) func(context.Context, *abi.Op, []byte) ([]byte, error) {
	return func(context.Context, *abi.Op, []byte) ([]byte, error) { return []byte(answer), nil }
}

// never answers an op until its context ends.
func never(ctx context.Context, _ *abi.Op, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Texts of limits and traps.
const (
	outOfTime   = "time limit of 20ms reached (option [wasakari] task_timeout, or limits.timeout in the manifest)"
	outOfUnits  = "cpu limit of 100000 units reached (option [wasakari] cpu_units, or limits.cpu in the manifest)"
	outOfMemory = "memory limit of 1 MiB reached: growing to 1.1 MiB was refused (option [wasakari] memory_mib, or limits.memory_mib in the manifest)"
	gaveUp      = "unreachable: the guest gave up, as compiled code does after a panic, an abort or a failed assertion"
	tooDeep     = "stack overflow; stack limit of 1 MiB reached: the guest called too deep, most likely a recursion without end (option [wasakari] stack_mib)"
	outside     = "out of bounds memory access: the guest read or wrote outside its memory"
	noEntry     = "invalid table access: the guest called through a function pointer that is null or out of range"
)

// soon ends a guest that would not.
var soon = runtime.Limits{Timeout: 20 * time.Millisecond}

func limits() []attack {
	little := runtime.Limits{CPU: 100_000}
	small := runtime.Limits{MemoryBytes: 1 << 20}
	return []attack{
		{name: "loop", does: "loops without end", wasm: guest("loop"), limits: soon, want: limited(outOfTime)},
		{name: "loop in revert", does: "loops without end in revert", wasm: guest("spin_revert"), limits: soon, revert: true, want: limited(outOfTime)},
		{name: "nested loops", does: "goes on in loops within loops by every kind of branch", wasm: guest("spin_nested"), limits: soon, want: limited(outOfTime)},
		{name: "calls without loops", does: "calls 10^32 functions without a loop and without going deep", wasm: guest("spin_ladder"), limits: soon, want: limited(outOfTime)},
		{name: "tree of calls", does: "recurses without end, never deep", wasm: guest("recursion_tree"), limits: soon, want: limited(outOfTime)},
		{name: "slow descent", does: "computes at each level before it recurses", wasm: guest("spin_unwind"), limits: soon, want: limited(outOfTime)},
		{name: "growth by nothing", does: "grows its memory by nothing without end", wasm: guest("spin_grow"), limits: soon, want: limited(outOfTime)},
		{name: "fill and copy", does: "fills and copies 32 MiB in one instruction, again and again", wasm: guest("spin_fill"), limits: soon, want: limited(outOfTime)},
		{name: "tables", does: "fills and copies the largest tables again and again", wasm: guest("spin_table"), limits: soon, want: limited(outOfTime)},
		{name: "yields", does: "yields without end", wasm: guest("yield_flood"), limits: soon, want: limited(outOfTime)},
		{
			name: "sleep by WASI", does: "sleeps for 292 years", limits: soon, data: text{subscription(1<<63 - 1)},
			calls: func(at uint64) []invoke { return []invoke{{"poll_oneoff", args(at, buffer, 1, buffer+64)}} },
			want:  limited(outOfTime),
		},
		{
			name: "sleep until the end of time", does: "sleeps until a time that wraps around as a signed number", limits: soon, data: text{subscription(math.MaxUint64)},
			calls: func(at uint64) []invoke { return []invoke{{"poll_oneoff", args(at, buffer, 1, buffer+64)}} },
			want:  limited(outOfTime),
		},
		{
			name: "op without answer", does: "waits for an op that is never answered", limits: soon, answer: never, data: text{abi.OpNovaServerGet},
			calls: func(at uint64) []invoke {
				return []invoke{{abi.Call, args(at, len(abi.OpNovaServerGet), 0, 0, 0, 0)}}
			},
			want: limited(outOfTime),
		},
		{
			name: "ticket without answer", does: "waits for a ticket that never ends", limits: soon, answer: never, data: text{abi.OpNovaServerGet},
			calls: func(at uint64) []invoke {
				return []invoke{{abi.Submit, args(at, len(abi.OpNovaServerGet), 0, 0)}, {abi.Wait, args(-1, 0, 0)}}
			},
			want: limited(outOfTime),
		},
		{
			name: "wait for 24 days", does: "waits for a ticket with the longest timeout", limits: soon, answer: never, data: text{abi.OpNovaServerGet},
			calls: func(at uint64) []invoke {
				return []invoke{{abi.Submit, args(at, len(abi.OpNovaServerGet), 0, 0)}, {abi.Wait, args(math.MaxInt32, 0, 0)}}
			},
			want: limited(outOfTime),
		},
		{
			name: "rate of calls", does: "asks more often than it may, so that it is slowed down", limits: runtime.Limits{Timeout: soon.Timeout, HostCallsPerSecond: 4}, data: text{abi.OpKVGet},
			calls: func(at uint64) []invoke {
				return []invoke{
					{abi.Call, args(at, len(abi.OpKVGet), 0, 0, 0, 0)},
					{abi.Call, args(at, len(abi.OpKVGet), 0, 0, 0, 0)},
					{abi.Call, args(at, len(abi.OpKVGet), 0, 0, 0, 0)},
					{abi.SetProgress, args(1, 0, 0)},
				}
			},
			want: limited(outOfTime),
		},
		{name: "computing", does: "computes more than it may", wasm: guest("loop"), limits: little, want: limited(outOfUnits)},
		{name: "computing in calls", does: "computes more than it may in calls alone", wasm: guest("spin_ladder"), limits: little, want: limited(outOfUnits)},
		{name: "computing in _initialize", does: "computes more than it may before run is called", wasm: guest("loop_in_initialize"), limits: little, want: limited(outOfUnits)},
		{name: "computing in revert", does: "computes more than it may in revert", wasm: guest("spin_revert"), limits: little, revert: true, want: limited(outOfUnits)},
		{name: "filling memory", does: "fills more memory than its computing pays for, in a few instructions", wasm: guest("spin_fill"), limits: little, want: limited(outOfUnits)},
		{name: "filling tables", does: "fills more entries of tables than its computing pays for", wasm: guest("spin_table"), limits: little, want: limited(outOfUnits)},
		{name: "calls of the host", does: "calls the host more often than its computing pays for", wasm: guest("yield_flood"), limits: little, want: limited(outOfUnits)},
		{name: "randomness", does: "asks for more randomness than its computing pays for", limits: little, calls: func(uint64) []invoke {
			return slices.Repeat([]invoke{{"random_get", args(buffer, 65536)}}, 60)
		}, want: limited(outOfUnits)},
		{name: "memory at the start", does: "declares more memory than it may have", wasm: guest("memory_minimum"), want: limited("memory limit of 64 MiB reached: the module starts with 128 MiB (option [wasakari] memory_mib, or limits.memory_mib in the manifest)")},
		{name: "memory by growing", does: "grows its memory until it may not, and gives up", wasm: guest("memory_abort"), limits: small, want: trapped(gaveUp + "; memory limit of 1 MiB reached: growing to 1.1 MiB was refused (option [wasakari] memory_mib, or limits.memory_mib in the manifest)")},
		{name: "page that was refused", does: "writes to the page behind its limit", wasm: guest("memory_step"), limits: small, want: trapped(outside + "; " + outOfMemory)},
		{name: "growth that wraps", does: "asks for so many pages that their number wraps around", wasm: guest("memory_wrap"), limits: small, want: harmless},
		{name: "table by growing", does: "grows a table until it may not", wasm: guest("table_exhaust"), want: harmless},
		{name: "recursion", does: "recurses without end", wasm: guest("recursion"), want: trapped(tooDeep), runs: 2},
		{name: "recursion through a table", does: "recurses through a table of functions", wasm: guest("spin_tail"), want: trapped(tooDeep), runs: 2},
		{name: "large frames", does: "recurses with 200 locals in each frame", wasm: guest("deep_frames"), want: trapped(tooDeep), runs: 2},
		{name: "address that wraps", does: "reads at an address that wraps around with its offset", wasm: guest("load_wrap"), want: trapped(outside)},
		{name: "store across the end", does: "writes eight bytes of which one lies in memory", wasm: guest("store_edge"), want: trapped(outside)},
		{name: "fill across the end", does: "fills two bytes of which one lies in memory", wasm: guest("fill_outside"), want: trapped(outside)},
		{name: "copy that wraps", does: "copies 4 GiB", wasm: guest("copy_wrap"), want: trapped(outside)},
		{name: "data behind a segment", does: "copies from a data segment beyond its end", wasm: guest("data_init_outside"), want: trapped(outside)},
		{name: "entry behind a table", does: "sets an entry behind the end of its table", wasm: guest("table_outside"), want: trapped(noEntry)},
		{name: "call behind a table", does: "calls the largest entry of a table of four", wasm: guest("call_outside"), want: trapped(noEntry)},
		{name: "elements behind a segment", does: "copies from an element segment beyond its end", wasm: guest("table_init_outside"), want: trapped(noEntry)},
		{name: "active elements", does: "has elements that lie behind their table, which are left out", wasm: guest("elem_active_outside"), want: harmless},
		{name: "active data", does: "has data that lie behind its memory", wasm: guest("data_outside"), want: failed("instantiating: data[0]: out of bounds memory access")},
		{name: "exit", does: "exits instead of returning", wasm: guest("proc_exit"), want: exited("the guest exited with code 2 instead of returning; it wrote: boom\nhalf")},
		{name: "strange outcome", does: "returns an outcome that is none", wasm: guest("exit_code"), want: failed("run returned 7; an outcome is 0 (succeeded), 1 (failed), 2 (nothing to do) or 3 (ignored)")},
		{
			name: "request", does: "sends a longer request than it may", limits: runtime.Limits{RequestBytes: memorySize - resultsAt}, data: text{abi.OpKVGet},
			calls: func(at uint64) []invoke {
				return []invoke{{abi.Call, args(at, len(abi.OpKVGet), 0, memorySize, buffer, 200)}, {abi.Take, args(buffer, 300)}}
			},
			want: want{
				kind: "ended well", results: []int64{negative(abi.ErrnoTooLarge)},
				memory: map[uint64]string{buffer: `{"code":"too_large","message":"kv.get: request limit of 130560 bytes reached: the request has 131072 bytes (option [wasakari] request_kib)"}`},
			},
		},
		{
			name: "answer", does: "asks for a longer answer than it may get", limits: runtime.Limits{AnswerBytes: 1 << 10}, data: text{abi.OpKVGet}, answer: say(strings.Repeat("x", 1<<10+1)),
			calls: func(at uint64) []invoke {
				return []invoke{{abi.Call, args(at, len(abi.OpKVGet), 0, 0, buffer, 1000)}, {abi.Take, args(buffer, 200)}}
			},
			want: want{
				kind: "ended well", results: []int64{negative(abi.ErrnoTooLarge)},
				memory: map[uint64]string{buffer: `{"code":"too_large","message":"kv.get: answer limit of 1 KiB reached: the answer has 1025 bytes; ask for fewer fields or rows (option [wasakari] answer_mib)"}`},
			},
		},
	}
}

// subscription is one to the monotonic clock, which expires after so many
// nanoseconds.
func subscription(ns uint64) string {
	b := make([]byte, 48)
	le.PutUint32(b[16:], 1)
	le.PutUint64(b[24:], ns)
	return string(b)
}
