package hostile_test

import (
	"encoding/binary"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

const hintStart = "build it without one (LLVM: no -Wl,--shared-memory; WAT: drop (start ...)) and prepare things in _initialize"

// leftovers look for what another sandbox, or the same module, left behind.
func leftovers() []attack {
	return []attack{
		{name: "memory", does: "looks for what its last run wrote and grew", wasm: guest("left_memory"), runs: 3, want: harmless},
		{name: "globals", does: "looks for what its last run set", wasm: guest("left_global"), runs: 3, want: harmless},
		{name: "tables", does: "looks for the table that its last run changed", wasm: guest("left_table"), runs: 3, want: harmless},
		{name: "segments", does: "drops its segments, which the next run needs", wasm: guest("left_segments"), runs: 3, want: harmless},
		{name: "after a trap", does: "looks for what its last run wrote before it trapped", wasm: guest("left_trap"), runs: 3, want: trapped("integer divide by zero")},
	}
}

// beginnings are tricks with start functions and _initialize.
func beginnings() []attack {
	return []attack{
		{name: "start that loops", does: "loops without end before the limits are in force", wasm: guest("start_spin"), want: refused(runtime.StepInterface, "it has a start function, which would run before the limits are in force; "+hintStart)},
		{name: "start that calls the host", does: "calls the host in a start function", wasm: guest("start_import"), want: refused(runtime.StepInterface, "it has a start function, which would run before the limits are in force; "+hintStart)},
		{name: "_start and _initialize", does: "is a program and a library at once", wasm: guest("no_start"), want: refused(runtime.StepInterface, "it is a command: it exports _start, the main function of a program; build it as a library, which has _initialize: Go -buildmode=c-shared (with GOOS=wasip1 GOARCH=wasm), "+`Rust crate-type = ["cdylib"], C -mexec-model=reactor`)},
		{name: "loop", does: "loops in _initialize", wasm: guest("loop_in_initialize"), limits: soon, want: limited(outOfTime)},
		{name: "trap", does: "traps in _initialize", wasm: guest("init_trap"), want: trapped(gaveUp)},
		{name: "exit", does: "exits with code 0 in _initialize", wasm: guest("init_exit"), want: exited("_initialize: the guest exited with code 0 instead of returning")},
		{name: "recursion", does: "recurses without end in _initialize", wasm: guest("init_recursion"), want: trapped(tooDeep)},
		{name: "memory", does: "takes all memory in _initialize", wasm: guest("init_memory"), limits: runtime.Limits{MemoryBytes: 1 << 20}, want: trapped(gaveUp + "; " + outOfMemory)},
		{name: "tickets", does: "leaves a ticket of _initialize open", wasm: guest("init_tickets"), answer: never, want: failed("tickets left open: nova.server_get (ticket 1); wait for each ticket before returning 0")},
		{name: "wait", does: "waits without end in _initialize", wasm: guest("init_sleep"), answer: never, limits: soon, want: limited(outOfTime)},
		{name: "run under many names", does: "exports run as everything that some host may call at the start; it is called once", wasm: guest("init_is_run"), want: harmless},
		{name: "revert under many names", does: "exports revert as everything that some host may call at the start; it is called once", wasm: guest("init_is_run"), revert: true, want: harmless},
		{name: "run is the host's", does: "exports a function of the host as run", wasm: guest("run_is_import"), want: harmless},
		{name: "revert is the host's", does: "exports a function of the host as revert", wasm: guest("run_is_import"), revert: true, want: harmless},
	}
}

// What WASI tells begins anew in each sandbox: randomness is of its own, the
// steady clock says nothing of how long the host has been up, and what another
// one was answered, logged and submitted is gone.
func TestNothingIsShared(t *testing.T) {
	c := newCell(t, t.TempDir())
	const begin, almost = 1e9, 30e9 // of the clock, in nanoseconds
	seen := map[string]bool{}
	for range 3 {
		data := text{"kv.get", "line\nline\nline"}
		h := &host{program: program(data.bytes(), func(at uint64) []invoke {
			return []invoke{
				{"wait", args(0, buffer, 100)}, // forgets what drive.wat was answered itself
				{"take", args(buffer, 100)},
				{"random_get", args(buffer, 64)},
				{"clock_time_get", args(1, 0, buffer+64)},
				{"log", args(1, data.ref(at, 1))},
				{"submit", args(data.ref(at, 0), 0, 0)},
				{"wait", args(-1, buffer+128, 100)},
			}
		})}
		_, err := c.drive.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: h, Limits: runtime.Limits{LogLines: 3, Timeout: almost}})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []int64{negative(abi.ErrnoNotFound), negative(abi.ErrnoNotFound), 0, 0, 0, 1, 1<<32 | 2} {
			if got := h.result(i); got != want {
				t.Errorf("result %d = %#x, want %#x", i, got, want)
			}
		}
		if random := h.at(buffer, 64); seen[random] {
			t.Errorf("the same randomness twice: %x", random)
		} else {
			seen[random] = true
		}
		if clock := binary.LittleEndian.Uint64([]byte(h.at(buffer+64, 8))); clock < begin || clock > begin+almost {
			t.Errorf("the steady clock begins at %d, want a second", clock)
		}
		if len(h.lines) != 3 {
			t.Errorf("%d lines are logged, want 3", len(h.lines))
		}
	}
}
