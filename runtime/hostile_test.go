package runtime_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// Modules of a few kilobytes that cost a decoder or the compiler minutes or
// gigabytes. Each is refused by what it claims, before anybody decodes it.
func TestBombs(t *testing.T) {
	const (
		thousand    = "\xe8\x07" // 1000 in LEB128
		i32, block  = "\x7f", "\x02\x40"
		loop, end   = "\x03\x40", "\x0b"
		get, brIf   = "\x20\x00", "\x0d\x00"
		grow        = "\xd0\x70\x41\x00\xfc\x0f" // table.grow by nothing, of table
		unreachable = "\x00"
	)
	wide := thousand + strings.Repeat(i32, 1000)
	// funcs makes a module of n functions of type 0, type 1 being given.
	funcs := func(n int, second, body string) []byte {
		types := "\x01\x60\x00\x01\x7f"
		if second != "" {
			types = "\x02" + types[1:] + "\x60" + second
		}
		return finish(
			section(1, types),
			section(3, leb(uint64(n))+strings.Repeat("\x00", n)),
			section(5, "\x01\x00\x01"),
			section(7, "\x02\x03run\x00\x00\x06memory\x02\x00"),
			section(10, leb(uint64(n))+strings.Repeat(leb(uint64(len(body)))+body, n)),
		)
	}
	const locals2000 = "\x01\xd0\x0f\x7f"
	tests := []struct {
		name string
		wasm []byte
		step runtime.Step
		want string
	}{
		{
			// 439 KB took 7 GB and half a minute.
			name: "locals in all functions", wasm: funcs(1001, "", locals2000+zero+end), step: runtime.StepComplexity,
			want: "all functions together have 2002000 parameters and locals; at most 2000000 are admitted; " + hintSmaller,
		},
		{
			name: "locals times blocks in all functions", wasm: funcs(1001, "", "\x01\xe8\x07\x7f"+strings.Repeat(loop+end, 500)+zero+end), step: runtime.StepComplexity,
			want: "all functions together have 500500000 locals times blocks; at most 500000000 are admitted; " + hintSmaller,
		},
		{
			// 400 KB ran the process out of memory.
			name: "calls that carry a thousand values",
			wasm: finish(
				section(1, "\x02\x60\x00\x01\x7f\x60"+wide+wide), section(3, "\x02\x00\x01"),
				section(5, "\x01\x00\x01"), section(7, "\x02\x03run\x00\x00\x06memory\x02\x00"),
				section(10, "\x02"+section(0, "\x00"+unreachable+strings.Repeat("\x10\x01", 132)+unreachable+end)[1:]+"\x03\x00"+unreachable+end),
			), step: runtime.StepComplexity,
			want: "function 0 has 264000 values carried by calls, blocks and branches; at most 262144 are admitted; " + hintSplit,
		},
		{
			// 200 KB took 20 s.
			name: "a br_table to a block of a thousand results",
			wasm: funcs(1, "\x00"+wide, "\x00\x02\x01"+unreachable+"\x0e"+leb(262)+strings.Repeat("\x00", 263)+end+unreachable+end), step: runtime.StepComplexity,
			want: "function 0 has 264000 values carried by calls, blocks and branches; at most 262144 are admitted; " + hintSplit,
		},
		{
			name: "blocks of all functions that carry a thousand values",
			wasm: funcs(65, "\x00"+wide, "\x00"+strings.Repeat("\x02\x01"+unreachable+end+unreachable, 130)+unreachable+end), step: runtime.StepComplexity,
			want: "all functions together have 8450000 values carried by calls, blocks and branches; at most 8388608 are admitted; " + hintSmaller,
		},
		{
			// 234 KB took the compiler longer than a minute, with the square of the branches.
			name: "branches", wasm: funcs(1, "", "\x01\x01\x7f"+block+strings.Repeat(get+brIf, 20_000)+end+zero+end), step: runtime.StepComplexity,
			want: "function 0 has 20001 blocks, branches and br_table targets; at most 20000 are admitted; " + hintSplit,
		},
		{
			name: "branches in all functions", wasm: funcs(6, "", "\x01\x01\x7f"+block+strings.Repeat(get+brIf, 19_000)+end+zero+end), step: runtime.StepComplexity,
			want: "all functions together have 2166228006 blocks, branches and br_table targets, squared; at most 2000000000 are admitted; " + hintSmaller,
		},
		{
			// 28 KB took the compiler longer than a minute.
			name: "nested loops", wasm: funcs(1, "", "\x01\x64\x7f"+strings.Repeat(loop, 317)+strings.Repeat(end, 317)+zero+end), step: runtime.StepComplexity,
			want: "function 0 has 10048900 locals times loops times their depth; at most 10000000 are admitted; " + hintSplit,
		},
		{
			name: "nested loops in all functions", wasm: funcs(21, "", "\x01\x64\x7f"+strings.Repeat(loop, 316)+strings.Repeat(end, 316)+zero+end), step: runtime.StepComplexity,
			want: "all functions together have 209697600 locals times loops times their depth; at most 200000000 are admitted; " + hintSmaller,
		},
		{
			// 10 MB took 21 s.
			name: "values of types", wasm: finish(section(1, "\x33"+strings.Repeat("\x60"+wide+wide, 51))), step: runtime.StepSize,
			want: "it has 102000 parameters and results of types; at most 100000 are admitted; " + hintSmaller,
		},
		{
			name: "a second section of types", wasm: finish(section(1, "\x00"), section(1, "\x00")), step: runtime.StepValidate,
			want: "not valid WebAssembly: a second type section at byte 13; " + hintInvalid,
		},
		{
			name: "a long name", wasm: finish(section(0, leb(1<<16+1)+strings.Repeat("\x01", 1<<16+1))), step: runtime.StepSize,
			want: "it has 65537 bytes in one name; at most 65536 are admitted; " + hintSmaller,
		},
		{
			name: "a long name in an error",
			wasm: finish(section(1, "\x01\x60\x00\x00"), section(2, "\x01\x03env"+leb(1<<16)+strings.Repeat("n", 1<<16)+"\x00\x00")), step: runtime.StepInterface,
			want: "it imports env." + strings.Repeat("n", 252) + "…, which this host does not have; a function was declared and not linked: define it, or link the library that has it",
		},
		{
			// Each of the tables is within the bound.
			name: "two tables that grow",
			wasm: finish(
				section(1, "\x01\x60\x00\x01\x7f"), section(3, "\x01\x00"),
				section(4, "\x02"+strings.Repeat("\x70\x01\x00"+leb(40_000), 2)),
				section(5, "\x01\x00\x01"), section(7, "\x02\x03run\x00\x00\x06memory\x02\x00"),
				section(10, "\x01"+section(21, "\x00"+grow+"\x00\x1a"+grow+"\x01\x0b")[1:]),
			), step: runtime.StepComplexity,
			want: "function 0 grows a table, and all tables may then have more than 65536 entries; declare a smaller maximum for the table",
		},
	}
	r := newRuntime(t, runtime.Config{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := r.Admit(t.Context(), "bomb.wasm", tt.wasm)
			e, ok := errors.AsType[*runtime.AdmissionError](err)
			if !ok {
				t.Fatalf("error = %v, want an AdmissionError", err)
			}
			if got, want := err.Error(), "bomb.wasm: "+tt.want; got != want || e.Step != tt.step {
				t.Errorf("%s\n got %q\nwant %s\n     %q", e.Step, got, tt.step, want)
			}
		})
	}
}

// finish makes a module of sections and a manifest.
func finish(sections ...string) []byte {
	manifest, err := abi.ReadManifest(testwasm.Module("noop"))
	if err != nil {
		panic(err)
	}
	wasm, err := abi.AppendManifest(module(sections...), manifest)
	if err != nil {
		panic(err)
	}
	return wasm
}

// A table that nobody grows is as large as it is, whatever its maximum.
func TestTablesThatStay(t *testing.T) {
	wasm := finish(
		section(1, "\x01\x60\x00\x01\x7f"), section(3, "\x01\x00"),
		section(4, "\x02\x70\x01\x01"+leb(65_535)+"\x70\x01\x01"+leb(1<<20)),
		section(5, "\x01\x00\x01"), section(7, "\x02\x03run\x00\x00\x06memory\x02\x00"),
		section(10, "\x01"+section(0, "\x00\xd0\x70\x41\x00\xfc\x0f\x00\x1a\x41\x00\x0b")[1:]),
	)
	if _, err := newRuntime(t, runtime.Config{}).Admit(t.Context(), "tables", wasm); err != nil {
		t.Error(err)
	}
}

// The name of a function is the guest's: it stands shortened in errors, and
// cannot pass for a panic of the host.
func TestFunctionNames(t *testing.T) {
	tests := map[string]struct{ name, want string }{
		"long": {strings.Repeat("f", 1<<16), strings.Repeat("f", 256) + "…"},
		"host": {"f\n\nGo runtime stack trace:\nboom", "f\uFFFD\uFFFDGo runtime stack trace:\uFFFDboom"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			names := "\x04name" + section(1, "\x01\x00"+leb(uint64(len(tt.name)))+tt.name)
			wasm := finish(
				section(1, "\x01\x60\x00\x01\x7f"), section(3, "\x01\x00"),
				section(5, "\x01\x00\x01"), section(7, "\x02\x03run\x00\x00\x06memory\x02\x00"),
				section(10, "\x01\x03\x00\x00\x0b"), section(0, names),
			)
			m, err := newRuntime(t, runtime.Config{}).Admit(t.Context(), "names", wasm)
			if err != nil {
				t.Fatal(err)
			}
			_, err = m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}})
			trap, ok := errors.AsType[*runtime.TrapError](err)
			if !ok {
				t.Fatalf("error = %v, want a TrapError", err)
			}
			if !strings.HasPrefix(trap.Reason, "unreachable") || len(trap.Stack) == 0 || trap.Stack[0] != tt.want {
				t.Errorf("reason %q, stack %.300q; want unreachable in %q", trap.Reason, trap.Stack, tt.want)
			}
		})
	}
}
