package hostile_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// Hints of refusals.
const (
	hintInvalid = "copy or build it again, for WebAssembly 2.0 (such as wasm32-wasip1) without threads, tail calls, exceptions or garbage collection"
	hintSmaller = "make it smaller, or split it into several modules"
	hintCut     = "it was cut off or damaged: copy or build it again"
	hintSplit   = "split the function, or build with less inlining"
)

// invalid is a refusal at validation.
func invalid(reason string) want {
	return refused(runtime.StepValidate, "not valid WebAssembly: "+reason+"; "+hintInvalid)
}

// malformed are modules that are none, or that claim what they do not hold.
func malformed() []attack {
	const (
		five = "\xff\xff\xff\xff\x0f" // the largest number of 32 bits
		six  = "\x80\x80\x80\x80\x80\x00"
	)
	// with is the smallest task with one of its sections replaced, or with one
	// more before the code.
	with := func(replaced ...string) []byte {
		sections := []string{sectionTypes, sectionFuncs, sectionMemory, sectionExports, sectionCode}
		var out []string
		for _, r := range replaced {
			done := false
			for i := range sections {
				if sections[i][0] == r[0] {
					sections[i], done = r, true
				}
			}
			if !done {
				out = append(out, r)
			}
		}
		all := append(sections[:4:4], out...)
		return task(append(all, sections[4])...)
	}
	noop := testwasm.Module("noop")
	truncated := func(text string) want {
		return refused(runtime.StepValidate, "the module is truncated or malformed: "+text+"; "+hintCut)
	}
	return []attack{
		// The file.
		{name: "nothing", does: "is empty", wasm: []byte{}, want: refused(runtime.StepValidate, "not a WebAssembly module: it does not begin with 00 61 73 6d; give a .wasm file")},
		{name: "magic alone", does: "is nothing but the magic number", wasm: []byte("\x00asm"), want: truncated("it ends after 4 bytes")},
		{name: "version 2", does: "is of another version of the format", wasm: []byte("\x00asm\x02\x00\x00\x00"), want: refused(runtime.StepValidate, "not a WebAssembly module: binary format 02 00 00 00; this host reads 01 00 00 00; give a .wasm file")},
		{name: "no section", does: "has no section at all", wasm: module(), want: refused(runtime.StepInterface, `it exports no memory named "memory"; export it: (memory (export "memory") 1) in WAT; compilers for WASI do`)},
		{name: "native program", does: "is a program for Linux", wasm: []byte("\x7fELF\x02\x01\x01\x00"), want: refused(runtime.StepValidate, "not a WebAssembly module: it does not begin with 00 61 73 6d; give a .wasm file")},
		{name: "too large", does: "is larger than modules may be", wasm: append(noop[:len(noop):len(noop)], make([]byte, 2<<20)...), want: refused(runtime.StepSize, "the module has 2.0 MiB; at most 2 MiB are admitted; strip it (Go -ldflags='-s -w', Rust strip = true, wasm-opt --strip-debug) or raise [wasakari] module_mib")},
		{name: "bytes behind the end", does: "has bytes behind its last section", wasm: append(noop[:len(noop):len(noop)], "\x0a\x01\x00"...), want: invalid("a second code section at byte 186")},

		// Sections.
		{name: "section without end", does: "says that a section has 4 GiB", wasm: module("\x01" + five), want: truncated("the section at byte 8 has 4294967295 bytes, the file only 0 more")},
		{name: "number that is too long", does: "writes a section's size in six bytes", wasm: module("\x01" + six), want: truncated("size of the section at byte 8")},
		{name: "number with bits to spare", does: "writes a section's size with more than 32 bits", wasm: module("\x01\xff\xff\xff\xff\x7f"), want: truncated("size of the section at byte 8")},
		{name: "5000 sections", does: "has thousands of empty sections", wasm: module(strings.Repeat(section(0, "\x00"), 5000)), want: truncated("more than 4096 sections")},
		{name: "unknown section", does: "has a section of a later WebAssembly", wasm: with(section(13, "\x00")), want: invalid("section 13, which is not WebAssembly 2.0 at byte 44")},
		{name: "section twice", does: "has two sections of types", wasm: with(sectionTypes + sectionTypes), want: invalid("a second type section at byte 17")},
		{name: "section out of order", does: "has code before its functions", wasm: task(sectionTypes, sectionCode, sectionFuncs, sectionMemory, sectionExports), want: invalid("invalid section order")},
		{name: "rest of a section", does: "hides bytes at the end of a section", wasm: with(section(1, "\x01\x60\x00\x01\x7fhidden")), want: invalid("more bytes in section type than it needs at byte 15")},
		{name: "custom name that is no text", does: "has a custom section whose name is not UTF-8", wasm: module(section(0, sized("\xff"))), want: truncated("name of the custom section at byte 8 is not UTF-8")},
		{name: "custom name behind the end", does: "has a custom section whose name is longer than the section", wasm: module(section(0, "\x05a")), want: truncated("name of the custom section at byte 8")},
		{name: "name of 64 KiB", does: "has a custom section with an endless name", wasm: module(section(0, leb(1<<16+1)+strings.Repeat("n", 1<<16+1))), want: refused(runtime.StepSize, "it has 65537 bytes in one name; at most 65536 are admitted; "+hintSmaller)},

		// Counts.
		{name: "types", does: "claims 4 thousand million types", wasm: module(section(1, five)), want: refused(runtime.StepSize, "it has 4294967295 types; at most 5000 are admitted; "+hintSmaller)},
		{name: "parameters", does: "claims 4 thousand million parameters", wasm: module(section(1, "\x01\x60"+five)), want: refused(runtime.StepSize, "it has 4294967295 parameters of one type; at most 1000 are admitted; "+hintSmaller)},
		{name: "imports", does: "claims 4 thousand million imports", wasm: module(section(2, five)), want: refused(runtime.StepSize, "it has 4294967295 imports; at most 200 are admitted; "+hintSmaller)},
		{name: "functions", does: "claims 4 thousand million functions", wasm: module(section(3, five)), want: refused(runtime.StepSize, "it has 4294967295 functions; at most 50000 are admitted; "+hintSmaller)},
		{name: "tables", does: "claims 4 thousand million tables", wasm: module(section(4, five)), want: refused(runtime.StepSize, "it has 4294967295 tables; at most 100 are admitted; "+hintSmaller)},
		{name: "table entries", does: "claims a table of 4 thousand million entries", wasm: module(section(4, "\x01\x70\x00"+five)), want: refused(runtime.StepSize, "it has 4294967295 table entries; at most 65536 are admitted; "+hintSmaller)},
		{name: "entries in all tables", does: "has tables that together have too many entries", wasm: module(section(4, "\x02"+strings.Repeat("\x70\x00"+leb(40_000), 2))), want: refused(runtime.StepSize, "it has 80000 table entries; at most 65536 are admitted; "+hintSmaller)},
		{name: "two memories", does: "has two memories", wasm: with(section(5, "\x02\x00\x01\x00\x01")), want: refused(runtime.StepSize, "it has 2 memories; at most 1 are admitted; "+hintSmaller)},
		{name: "globals", does: "claims 4 thousand million globals", wasm: module(section(6, five)), want: refused(runtime.StepSize, "it has 4294967295 globals; at most 10000 are admitted; "+hintSmaller)},
		{name: "exports", does: "claims 4 thousand million exports", wasm: module(section(7, five)), want: refused(runtime.StepSize, "it has 4294967295 exports; at most 200 are admitted; "+hintSmaller)},
		{name: "element segments", does: "claims 4 thousand million element segments", wasm: module(section(9, five)), want: refused(runtime.StepSize, "it has 4294967295 element segments; at most 10000 are admitted; "+hintSmaller)},
		{name: "elements", does: "claims 4 thousand million elements in one segment", wasm: module(section(9, "\x01\x00\x41\x00\x0b"+five)), want: refused(runtime.StepSize, "it has 4294967295 items in one element segment; at most 131072 are admitted; "+hintSmaller)},
		{name: "bodies", does: "claims 4 thousand million function bodies", wasm: module(section(10, five)), want: refused(runtime.StepSize, "it has 4294967295 function bodies; at most 50000 are admitted; "+hintSmaller)},
		{name: "locals", does: "claims 4 thousand million locals", wasm: code("\x01"+five+"\x7f", "\x41\x00"), want: refused(runtime.StepSize, "it has 4294967295 locals in one function; at most 2000 are admitted; "+hintSmaller)},
		{name: "locals that wrap", does: "claims locals whose sum wraps around to nothing", wasm: code("\x02"+five+"\x7f\x01\x7f", "\x41\x00"), want: refused(runtime.StepSize, "it has 4294967296 locals in one function; at most 2000 are admitted; "+hintSmaller)},
		{name: "data segments", does: "claims 4 thousand million data segments", wasm: module(section(11, five)), want: refused(runtime.StepSize, "it has 4294967295 data segments; at most 100000 are admitted; "+hintSmaller)},
		{name: "branches", does: "claims a br_table of 4 thousand million targets", wasm: code("\x00", "\x41\x00\x0e"+five), want: invalid(`invalid function[0] export["run"]: read immediate: EOF`)},
		{name: "names", does: "claims 4 thousand million names", wasm: module(section(0, "\x04name\x01\x05"+five)), want: refused(runtime.StepSize, "it has 4294967295 function names; at most 50200 are admitted; "+hintSmaller)},

		// What does not fit together.
		{name: "function without code", does: "declares a function and has no code", wasm: task(sectionTypes, sectionFuncs, sectionMemory, sectionExports), want: invalid("function and code section have inconsistent lengths: 1 != 0")},
		{name: "code without function", does: "has code of a function that it does not declare", wasm: task(sectionTypes, sectionMemory, sectionCode), want: invalid("function and code section have inconsistent lengths: 0 != 1")},
		{name: "body behind its section", does: "has code that is longer than its section", wasm: with(section(10, "\x01\x7f\x00\x41\x00\x0b")), want: invalid("a length runs past the end at byte 46")},
		{name: "type that is not there", does: "has a function of a type that is not there", wasm: with(section(3, "\x01\x05")), want: invalid(`invalid function[0] export["run"]: type section index 5 out of range`)},
		{name: "export that is not there", does: "exports a function that is not there", wasm: with(section(7, "\x02\x03run\x00\x7f\x06memory\x02\x00")), want: invalid(`unknown function for export["run"]`)},
		{name: "export twice", does: "exports run twice", wasm: with(section(7, "\x03\x03run\x00\x00\x06memory\x02\x00\x03run\x00\x00")), want: invalid(`section export: export[2] duplicates name "run"`)},
		{name: "export of an unknown kind", does: "exports a thing of a kind that is none", wasm: with(section(7, "\x03\x03run\x00\x00\x06memory\x02\x00\x01x\x09\x00")), want: invalid("section export: read export: invalid byte: invalid byte for exportdesc: 0x9")},
		{name: "memory larger than its maximum", does: "has a memory that begins above its maximum", wasm: with(section(5, "\x01\x01\x02\x01")), want: invalid("section memory: min 2 pages (128 Ki) > max 1 pages (64 Ki)")},
		{name: "memory of 4 GiB and a page", does: "has more pages than addresses", wasm: with(section(5, "\x01\x00\x81\x80\x04")), want: invalid("section memory: min 65537 pages (4 Gi) over limit of 65536 pages (4 Gi)")},
		{name: "shared memory", does: "has a memory for threads", wasm: with(section(5, "\x01\x03\x01\x01")), want: invalid("limits of an unknown kind (shared or 64-bit memories are not WebAssembly 2.0) at byte 23")},
		{name: "memory of 64 bits", does: "has a memory of 64 bits", wasm: with(section(5, "\x01\x04\x01")), want: invalid("limits of an unknown kind (shared or 64-bit memories are not WebAssembly 2.0) at byte 23")},
		{name: "global from a function", does: "computes a global by a call", wasm: with(section(6, "\x01\x7f\x00\x10\x00\x0b")), want: invalid("a constant expression does not end at byte 48")},
		{name: "global without end", does: "has a global whose value does not end", wasm: module(section(6, "\x01\x7f\x00\x41\x00")), want: invalid("unexpected end at byte 15")},
		{name: "data without count", does: "uses a data segment by number and does not count them", wasm: code("\x00", "\xfc\x09\x00\x41\x00"), want: invalid(`invalid function[0] export["run"]: data.drop requires data count section`)},

		// Code.
		{name: "stack is empty", does: "takes a value off an empty stack", wasm: code("\x00", "\x1a\x41\x00"), want: invalid(`invalid function[0] export["run"]: invalid drop: invalid operation: trying to pop at 0 with limit 0`)},
		{name: "value left over", does: "leaves two values on the stack", wasm: code("\x00", "\x41\x00\x41\x00"), want: invalid("invalid function[0] export[\"run\"]: too many results\n\thave (i32, i32)\n\twant (i32)")},
		{name: "branch out of the function", does: "branches beyond the outermost block", wasm: code("\x00", "\x0c\x05"), want: invalid(`invalid function[0] export["run"]: invalid br operation: index out of range`)},
		{name: "local that is not there", does: "reads a local that is not there", wasm: code("\x00", "\x20\x7f"), want: invalid(`invalid function[0] export["run"]: invalid local index for local.get 127 >= 0(=len(locals)+len(parameters))`)},
		{name: "global that is not there", does: "sets a global that is not there, where a counter could be", wasm: code("\x00", "\x42\x00\x24\x00\x41\x00"), want: invalid(`invalid function[0] export["run"]: invalid global index`)},
		{name: "function that is not there", does: "calls a function that is not there, where a hidden one could be", wasm: code("\x00", "\x10\x01\x1a\x41\x00"), want: invalid(`invalid function[0] export["run"]: invalid function index`)},
		{name: "table that is not there", does: "calls through a table that is not there", wasm: code("\x00", "\x41\x00\x11\x00\x00"), want: invalid(`invalid function[0] export["run"]: unknown table index: 0`)},
		{name: "types that do not match", does: "returns 64 bits for 32", wasm: code("\x00", "\x42\x00"), want: invalid(`invalid function[0] export["run"]: cannot use i64 as result[0] type i32`)},
		{name: "block without end", does: "does not end a block", wasm: code("\x00", "\x41\x00\x02\x40"), want: invalid(`invalid function[0] export["run"]: ill-nested block exists`)},
		{name: "else without if", does: "has an else without if", wasm: code("\x00", "\x05\x41\x00"), want: invalid(`invalid function[0] export["run"]: else instruction must be used in if block: 0x0`)},
		{name: "ends twice", does: "ends the function before its code ends", wasm: code("\x00", "\x41\x00\x0b\x41\x00"), want: invalid(`invalid function[0] export["run"]: unexpected end of function at pc=0x3`)},
		{name: "opcode that is none", does: "has an opcode that is none", wasm: code("\x00", "\x41\x00\xff"), want: invalid(`invalid function[0] export["run"]: invalid instruction 0xff`)},
		{name: "tail call", does: "uses tail calls, which need no stack", wasm: code("\x00", "\x12\x00"), want: invalid(`invalid function[0] export["run"]: return_call invalid as feature "tail-call" is disabled`)},
		{name: "atomics", does: "uses atomic instructions", wasm: code("\x00", "\x41\x00\x41\x00\x42\x00\xfe\x01\x02\x00"), want: invalid(`invalid function[0] export["run"]: memory.atomic.wait32 invalid as feature "threads" is disabled`)},
		{name: "exceptions", does: "uses exceptions", wasm: code("\x00", "\x06\x40\x0b\x41\x00"), want: invalid(`invalid function[0] export["run"]: invalid instruction 0x6`)},
		{name: "alignment", does: "loads with an alignment of 2^32", wasm: code("\x00", "\x41\x00\x28\x20\x00"), want: invalid(`invalid function[0] export["run"]: invalid memory alignment`)},
		{name: "immediate behind the end", does: "ends in the middle of an instruction", wasm: code("\x00", "\x41"), want: invalid(`invalid function[0] export["run"]: ill-nested block exists`)},
		{name: "vector instruction that is none", does: "has a vector instruction that is none", wasm: code("\x00", "\xfd\xff\x7f\x41\x00"), want: invalid(`invalid function[0] export["run"]: cannot pop the operand for f64x2.convert_low_i32x4_u: v128 missing`)},
		{name: "bulk instruction that is none", does: "has a bulk instruction that is none", wasm: code("\x00", "\xfc\x7f\x41\x00"), want: invalid(`invalid function[0] export["run"]: unknown misc opcode 0x7f`)},
	}
}

// A module that is cut off at any byte, or of which any byte is another, is
// refused with a reason or runs to an outcome; nothing else.
func TestDamaged(t *testing.T) {
	c := newCell(t, t.TempDir())
	manifest, err := abi.ReadManifest(testwasm.Module("noop"))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := abi.AppendManifest(guest("left_table"), manifest)
	if err != nil {
		t.Fatal(err)
	}
	try := func(t *testing.T, what string, wasm []byte) {
		m, err := c.runtime.Admit(t.Context(), "damaged.wasm", wasm)
		if err != nil {
			if _, ok := errors.AsType[*runtime.AdmissionError](err); !ok {
				t.Errorf("%s: %v, want an AdmissionError", what, err)
			}
			return
		}
		_, _ = m.Run(t.Context(), runtime.Call{Key: m.Manifest().Tasks[0].Key, Host: &host{}, Limits: runtime.Limits{Timeout: soon.Timeout, MemoryBytes: 1 << 20}})
		if err := m.Close(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	t.Run("cut off", func(t *testing.T) {
		for n := range len(whole) {
			try(t, fmt.Sprintf("%d bytes", n), whole[:n])
		}
	})
	t.Run("another byte", func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2)) // the same bytes each time
		for at := range whole {
			wasm := append([]byte{}, whole...)
			wasm[at] ^= byte(1 + random.IntN(255))
			try(t, fmt.Sprintf("byte %d is 0x%02x", at, wasm[at]), wasm)
		}
	})
}
