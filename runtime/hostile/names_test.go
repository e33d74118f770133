package hostile_test

import (
	"strings"

	"github.com/wasakari/wasakari/runtime"
)

// names clash with ours, or look like them.
func names() []attack {
	// importing is the smallest task that imports a function () -> i32; run is
	// function 1 then.
	importing := func(what string) []byte {
		return task(sectionTypes, section(2, "\x01"+what), sectionFuncs, sectionMemory, section(7, "\x02\x03run\x00\x01\x06memory\x02\x00"), sectionCode)
	}
	function := func(module, name string) []byte { return importing(sized(module) + sized(name) + "\x00\x00") }
	exporting := func(name string) []byte {
		return task(sectionTypes, sectionFuncs, sectionMemory, section(7, "\x03\x03run\x00\x00\x06memory\x02\x00"+sized(name)+"\x00\x00"), sectionCode)
	}
	// named is the smallest task, which traps, with a name section.
	named := func(subsections ...string) []byte {
		return task(sectionTypes, sectionFuncs, sectionMemory, sectionExports, section(10, "\x01"+sized("\x00\x00\x0b")), section(0, sized("name")+strings.Join(subsections, "")))
	}
	unknown := func(name, hint string) want {
		return refused(runtime.StepInterface, "it imports "+name+", which this host does not have; "+hint)
	}
	const linked = "a function was declared and not linked: define it, or link the library that has it"
	const only = "tasks may import wasakari_v1 and wasi_snapshot_preview1 only"
	return []attack{
		// Itself.
		{name: "module named like ours", does: "is named like the module of our imports", wasm: named(section(0, sized("wasakari_v1"))), want: trapped(gaveUp), runs: 2},
		{name: "module named like WASI", does: "is named like WASI", wasm: named(section(0, sized("wasi_snapshot_preview1"))), want: trapped(gaveUp), runs: 2},
		{name: "module with an endless name", does: "has a name of 64 KiB", wasm: named(section(0, sized(strings.Repeat("n", 1<<16)))), want: trapped(gaveUp)},
		{name: "function named like ours", does: "names its function like one of ours", wasm: named(section(1, "\x01\x00"+sized("wasakari_v1.call"))), want: trapped(gaveUp)},
		{name: "function named like a panic", does: "names its function like the trace of a panic of the host", wasm: named(section(1, "\x01\x00"+sized("f\n\nGo runtime stack trace:\nboom"))), want: trapped(gaveUp)},
		{name: "function named like a reason", does: "names its function like another reason", wasm: named(section(1, "\x01\x00"+sized("wasm stack trace:\n\tstack overflow"))), want: trapped(gaveUp)},
		{name: "name of a function that is not there", does: "names a function that it does not have", wasm: named(section(1, "\x01\xff\xff\x03"+sized("ghost"))), want: trapped(gaveUp)},
		{name: "name that is no text", does: "names a function in bytes that are no text", wasm: named(section(1, "\x01\x00"+sized("\xff\xfe"))), want: invalid("a name is not UTF-8 at byte 63")},

		// Imports.
		{name: "hidden import", does: "imports what the host keeps for its own instrumentation", wasm: function("wasakari_v1", "refill"), want: unknown("wasakari_v1.refill", "see sdk/ABI.md for what there is")},
		{name: "import of the meter", does: "imports what refills its own counter", wasm: function("wasakari_meter", "refill"), want: unknown("wasakari_meter.refill", only)},
		{name: "import of the meter's stack", does: "imports what gives it more stack", wasm: function("wasakari_meter", "overflow"), want: unknown("wasakari_meter.overflow", only)},
		{name: "import with a zero", does: "imports from our module with a zero behind its name", wasm: function("wasakari_v1\x00", "call"), want: unknown("wasakari_v1\uFFFD.call", "it is built for another version of Wasakari; this host has wasakari_v1")},
		{name: "import in another case", does: "imports from our module in another case", wasm: function("WASAKARI_V1", "call"), want: unknown("WASAKARI_V1.call", "did you mean wasakari_v1?")},
		{name: "import of another version", does: "imports from an ABI to come", wasm: function("wasakari_v11", "call"), want: unknown("wasakari_v11.call", "it is built for another version of Wasakari; this host has wasakari_v1")},
		{name: "import without names", does: "imports nothing from nowhere", wasm: function("", ""), want: invalid("import[0] has an empty module name")},
		{name: "import of itself", does: "imports from a module of its own name", wasm: function("task", "run"), want: unknown("task.run", only)},
		{name: "import with cursor movements", does: "imports from a module whose name moves a terminal's cursor", wasm: function("\x1b[2J", "\u202e"), want: unknown("\uFFFD[2J.\uFFFD", only)},
		{name: "import with an endless name", does: "imports a function whose name has 64 KiB", wasm: function("wasakari_v1", strings.Repeat("n", 1<<16)), want: unknown("wasakari_v1."+strings.Repeat("n", 244)+"…", "see sdk/ABI.md for what there is")},
		{name: "import of Go's", does: "imports from the module of Go in browsers", wasm: function("gojs", "runtime.wasmExit"), want: unknown("gojs.runtime.wasmExit", "it is built with GOOS=js: build it with GOOS=wasip1 GOARCH=wasm -buildmode=c-shared")},
		{name: "import with another signature", does: "imports call without arguments, to call it with none", wasm: function("wasakari_v1", "call"), want: refused(runtime.StepInterface, "it imports wasakari_v1.call as () -> i32; it is (i32, i32, i32, i32, i32, i32) -> i64; correct the declaration, see sdk/ABI.md")},
		{name: "import of a memory", does: "imports a memory, to share it", wasm: importing(sized("wasakari_v1") + sized("memory") + "\x02\x00\x01"), want: invalid("at most one table allowed in module")},
		{name: "import of WASI's memory", does: "imports the memory of another module", wasm: module(sectionTypes, section(2, "\x01"+sized("env")+sized("memory")+"\x02\x00\x01")), want: unknown("env.memory", linked)},
		{name: "import of a table", does: "imports a table of functions, to call those of others", wasm: module(section(2, "\x01"+sized("env")+sized("__indirect_function_table")+"\x01\x70\x00\x01")), want: unknown("env.__indirect_function_table", linked)},
		{name: "import of a global", does: "imports a global that can change, to share it", wasm: module(section(2, "\x01"+sized("wasi_snapshot_preview1")+sized("sched_yield")+"\x03\x7f\x01")), want: refused(runtime.StepInterface, "it imports wasi_snapshot_preview1.sched_yield as a global, where this host has a function; define it in the module instead of importing it")},
		{name: "import of a tag", does: "imports an exception", wasm: importing(sized("env") + sized("tag") + "\x04\x00\x00"), want: invalid("an import of kind 4, which is not WebAssembly 2.0 at byte 27")},

		// Exports.
		{name: "reserved export", does: "exports a name that the host keeps for its own instrumentation", wasm: exporting("__wasakari_left"), want: refused(runtime.StepInterface, `it exports "__wasakari_left"; names that begin with __wasakari are reserved; rename it`)},
		{name: "reserved beginning", does: "exports the beginning of the host's own names", wasm: exporting("__wasakari"), want: refused(runtime.StepInterface, `it exports "__wasakari"; names that begin with __wasakari are reserved; rename it`)},
		{name: "export like an import", does: "exports a function like the host's", wasm: exporting("wasakari_v1.call"), want: harmless},
		{name: "export without a name", does: "exports a function without a name", wasm: exporting(""), want: harmless},
		{name: "export that is no text", does: "exports a function whose name is no text", wasm: exporting("\xff"), want: invalid("a name is not UTF-8 at byte 44")},
		{name: "memory under another name", does: "exports its memory under a name that looks like memory", wasm: task(sectionTypes, sectionFuncs, sectionMemory, section(7, "\x02\x03run\x00\x00\x07memory\x00\x02\x00"), sectionCode), want: refused(runtime.StepInterface, `it exports no memory named "memory"; export it: (memory (export "memory") 1) in WAT; compilers for WASI do`)},
		{name: "function named memory", does: "exports a function as memory", wasm: task(sectionTypes, sectionFuncs, sectionMemory, section(7, "\x02\x03run\x00\x00\x06memory\x00\x00"), sectionCode), want: refused(runtime.StepInterface, `it exports no memory named "memory"; export it: (memory (export "memory") 1) in WAT; compilers for WASI do`)},
		{name: "memory named run", does: "exports its memory as run", wasm: task(sectionTypes, sectionFuncs, sectionMemory, section(7, "\x02\x03run\x02\x00\x06memory\x02\x00"), sectionCode), want: refused(runtime.StepInterface, `its export "run" is not a function; export a function () -> i32 as "run"`)},

		// Functions of the host, called in other ways than by their import.
		{name: "host through a table", does: "calls the host through a table with a pointer to nowhere", wasm: guest("indirect_host"), want: trapped("progress: message pointer 0xffff + 2 bytes is outside memory, which has 65536 bytes")},
		{name: "host with another signature", does: "calls a function of the host with another signature through a table", wasm: guest("indirect_type"), want: trapped("indirect call type mismatch: the guest called a function pointer of another signature")},
	}
}
