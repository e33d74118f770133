// Package runtime is the cell: it admits task modules and runs them in
// sandboxes under limits. It is the only package that imports wazero, and it
// knows no OpenStack: whatever a task asks for beyond its own sandbox goes to
// the [Host] that the caller hands in.
//
// A module is admitted once and run as often as needed:
//
//	r, err := runtime.New(runtime.Config{CacheDir: dir, Logger: log})
//	...
//	m, err := r.Admit(ctx, "tasks/custom_pre_task.wasm", wasm)
//	...
//	res, err := m.Run(ctx, runtime.Call{Key: "custom_pre_task", Host: host})
//
// # Admission
//
// The bytes are hostile until shown otherwise. The steps, in this order, each
// refusal an [AdmissionError] that says what, where and what to do:
//
//  1. size: size of the module, and every count that a decoder would allocate
//     by, among them functions, types, imports, exports and locals
//  2. validate: the original bytes are WebAssembly 2.0
//  3. interface: known imports and signatures, the exports a task needs, no
//     start function, no reserved name
//  4. manifest: the custom section wasakari.task
//  5. complexity: what would make the compiler slow
//  6. instrument: the module is made to count what it does, see package meter
//  7. compile: to machine code, through the cache
//
// # Sandboxes
//
// Each [Module.Run] makes a fresh instance with memory of its own, calls
// _initialize and then run or revert, and closes it. Nothing of a run is left
// for the next one. A guest that traps, exits, or runs out of memory or time
// ends with an error that says so; the process goes on.
//
// # Metering
//
// A guest counts its work in units of about one simple instruction, and the
// bytes of its call stack. Every few microseconds, or as often as it pays for
// 128 Ki units, it asks the host for more, which looks at the clock, at the
// context and at what is left of [Limits].CPU, and may stop it; Go's garbage
// collector stops it there, too. Filling and copying is done, and paid for, in
// pieces of 1 MiB. What the host does for a guest is paid in units as well: a
// fixed price for each call and op, and two units for each byte of a request,
// answer or message. The same module with the same answers uses the same units.
package runtime
