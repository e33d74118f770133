package hostile_test

import (
	"strings"

	"github.com/wasakari/wasakari/runtime"
)

// strange is a refusal of what wazero takes for valid.
func strange(reason string) want {
	return refused(runtime.StepComplexity, reason+"; "+hintInvalid)
}

// decoders are modules that one reader takes for something else than another:
// wazero accepts more than WebAssembly 2.0, and what admission measures and
// rewrites must be what the compiler compiles. Each hides a loop or an end from
// readers that follow the specification, or wazero, alone.
func decoders() []attack {
	const (
		null   = "\x63\x00"             // (ref null 0), a reference to functions of type 0
		loop   = "\x03\x40\x0c\x00\x0b" // loop br 0 end
		vector = "\xfd\x0c" + "0123456789abcdef"
	)
	run := func(instructions string) []byte { return code("\x00", instructions+"\x41\x00") }
	types := func(second string) string { return section(1, "\x02\x60\x00\x01\x7f"+second) }
	return []attack{
		{name: "vector number in two bytes", does: "writes i16x8.abs, unreachable, end so that others read v128.load with an end as its alignment", wasm: run("\x02\x40\x41\x01\x0d\x00" + vector + "\xfd\x80\x00\x1a\x0b" + loop), want: strange("a vector instruction that is not WebAssembly 2.0 at byte 74")},
		{name: "vector number in three bytes", does: "writes the number of a vector instruction in three bytes", wasm: run("\x02\x40\x41\x01\x0d\x00" + vector + "\xfd\x80\x80\x00\x0b" + loop), want: invalid(`invalid function[0] export["run"]: cannot pop the 1st i64 operand for i64.div_u: type mismatch: expected i64, but was v128`)},
		{name: "vector number without its second byte", does: "leaves the second byte of a vector instruction's number out, which wazero does not read", wasm: run(vector + "\xfd\x80\x1a"), want: strange("a vector instruction that is not WebAssembly 2.0 at byte 68")},
		{name: "block of a typed reference", does: "has a block of a typed reference, whose type others read as an instruction", wasm: run("\x02" + null + "\x00\x0b\x1a"), want: strange("a type of value 0x63, which is not WebAssembly 2.0 at byte 49")},
		{name: "loop of a typed reference", does: "has a loop of a typed reference that is never null", wasm: run("\x03\x64\x00\x00\x0b\x1a"), want: strange("a type of value 0x64, which is not WebAssembly 2.0 at byte 49")},
		{name: "if of a typed reference", does: "has an if of a typed reference", wasm: run("\x41\x01\x04" + null + "\x00\x05\x00\x0b\x1a"), want: strange("a type of value 0x63, which is not WebAssembly 2.0 at byte 51")},
		{name: "block type in two bytes", does: "writes the empty type of a block in two bytes", wasm: run("\x02\xc0\x7f\x0b"), want: strange("a block of a type that is not there at byte 50")},
		{name: "block type in five bytes", does: "writes the type i32 of a block in five bytes", wasm: run("\x02\xff\xff\xff\xff\x7f\x41\x00\x0b\x1a"), want: strange("a number is too long at byte 53")},
		{name: "block of an exception", does: "has a block of a reference to an exception", wasm: run("\x02\x69\x00\x0b\x1a"), want: strange("a type of value 0x69, which is not WebAssembly 2.0 at byte 49")},
		{name: "select of a typed reference", does: "selects a typed reference, whose type others read as an instruction", wasm: run("\x02\x40\x00\x1c\x01\x63\x00\x1a\x0b"), want: strange("a type of value 0x63, which is not WebAssembly 2.0 at byte 53")},
		{name: "local of a typed reference", does: "has locals of a typed reference, whose type others read as the first instruction", wasm: code("\x01\x01"+null, "\x41\x00"), want: invalid("a type of value 0x63, which is not WebAssembly 2.0 at byte 49")},
		{name: "parameter of a typed reference", does: "has a type with a typed reference", wasm: task(types("\x60\x01"+null+"\x00"), sectionFuncs, sectionMemory, sectionExports, sectionCode), want: invalid("a type of value 0x63, which is not WebAssembly 2.0 at byte 18")},
		{name: "result of a typed reference", does: "has a type with a typed reference as its result", wasm: task(types("\x60\x00\x01"+null), sectionFuncs, sectionMemory, sectionExports, sectionCode), want: invalid("a type of value 0x63, which is not WebAssembly 2.0 at byte 19")},
		{name: "table with an initializer", does: "has a table of 200 000 entries that others read as two small ones", wasm: task(sectionTypes, sectionFuncs, section(4, "\x01\x40\x00\x70\x00"+leb(200_000)+"\xd0\x70\x0b"), sectionMemory, sectionExports, sectionCode), want: invalid("a type of reference 0x40, which is not WebAssembly 2.0 at byte 23")},
		{name: "table of a typed reference", does: "has a table of typed references", wasm: task(sectionTypes, sectionFuncs, section(4, "\x01"+null+"\x00\x01"), sectionMemory, sectionExports, sectionCode), want: invalid("a type of reference 0x63, which is not WebAssembly 2.0 at byte 23")},
		{name: "elements of a typed reference", does: "has elements of typed references", wasm: task(sectionTypes, sectionFuncs, sectionMemory, sectionExports, section(9, "\x01\x05"+null+"\x00"), sectionCode), want: invalid("a type of reference 0x63, which is not WebAssembly 2.0 at byte 47")},
		{name: "global of a typed reference", does: "has a global of a typed reference", wasm: task(sectionTypes, sectionFuncs, sectionMemory, section(6, "\x01"+null+"\x00\xd0\x00\x0b"), sectionExports, sectionCode), want: invalid("a type of value 0x63, which is not WebAssembly 2.0 at byte 28")},
		{name: "constant null of a type", does: "has a constant of a typed null whose type takes two bytes", wasm: task(sectionTypes, sectionFuncs, sectionMemory, section(6, "\x01\x70\x00\xd0\x80\x00\x0b"), sectionExports, sectionCode), want: invalid("a type of reference 0x80, which is not WebAssembly 2.0 at byte 31")},
		{name: "group of types", does: "has a group of types that refer to one another", wasm: task(section(1, "\x01\x4e\x01\x60\x00\x01\x7f"), sectionFuncs, sectionMemory, sectionExports, sectionCode), want: invalid("a type of form 0x4e, which is not WebAssembly 2.0 at byte 12")},
		{name: "call of a reference", does: "calls a reference to a function, which no table holds", wasm: run("\x00\x14\x00\x1a"), want: invalid(`invalid function[0] export["run"]: call_ref invalid as feature "typed-function-references" is disabled`)},
		{name: "branch on null", does: "branches on a reference that is null", wasm: run("\x00\xd5\x00\x1a"), want: invalid(`invalid function[0] export["run"]: br_on_null invalid as feature "typed-function-references" is disabled`)},
		{name: "try", does: "has a try_table, whose handlers are branches", wasm: run("\x1f\x40\x00\x0b"), want: invalid(`invalid function[0] export["run"]: try_table invalid as feature "exception-handling" is disabled`)},
		{name: "throw", does: "throws an exception", wasm: run("\x00\x08\x00"), want: invalid(`invalid function[0] export["run"]: throw invalid as feature "exception-handling" is disabled`)},
		{name: "legacy try", does: "has a try of an old draft", wasm: run("\x06\x40\x0b"), want: invalid(`invalid function[0] export["run"]: invalid instruction 0x6`)},
		{name: "memory with a number", does: "grows another memory, by a number of two bytes", wasm: run("\x41\x00\x40\x80\x00\x1a"), want: invalid(`invalid function[0] export["run"]: memory instruction reserved bytes not zero with 1 byte`)},
		{name: "alignment of several bytes", does: "writes alignments in five bytes, which is allowed, before a loop that is seen", wasm: run("\x41\x00\x28\x82\x80\x80\x80\x00\x80\x80\x80\x80\x00\x1a" + loop), limits: soon, want: limited(outOfTime)},
		{name: "numbers of several bytes", does: "writes constants in as many bytes as there may be, which is allowed, before a loop that is seen", wasm: run("\x41\x80\x80\x80\x80\x00\x1a\x42\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00\x1a" + loop), limits: soon, want: limited(outOfTime)},
		{name: "bulk number of several bytes", does: "writes the number of a bulk instruction in five bytes, which wazero cannot read", wasm: run("\x43\x00\x00\x00\x00\xfc\x80\x80\x80\x80\x00\x1a" + loop), want: invalid("handling instruction: apply stack failed for misc_prefix: unsupported misc instruction in interpreterir: 0xfc")},
		{name: "code behind an end", does: "has code in which nothing runs, as deep as may be, before a loop that is seen", wasm: run("\x02\x40\x0c\x00" + strings.Repeat("\x02\x40", 100) + strings.Repeat("\x0b", 100) + "\x0b" + loop), limits: soon, want: limited(outOfTime)},
	}
}
