package runtime

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
)

// Step is a step of admission.
type Step string

// The steps of admission, in the order in which refusals are told. To validate
// the original bytes, to rewrite them and to compile what comes of it is left to
// a process with limits, see [MaybeCompile].
const (
	StepSize       Step = "size"
	StepComplexity Step = "complexity"
	StepValidate   Step = "validate"
	StepInterface  Step = "interface"
	StepManifest   Step = "manifest"
	StepInstrument Step = "instrument"
	StepCompile    Step = "compile"
)

// An AdmissionError says why a module is not admitted.
type AdmissionError struct {
	Source string // the file or whatever Admit was told
	Step   Step
	Reason string // what is wrong, and where
	Hint   string // what to do; may be empty
	Err    error  // behind the reason, may be nil
}

// Error reads "source: reason; hint".
func (e *AdmissionError) Error() string {
	text := e.Source + ": " + e.Reason
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Unwrap gives the error behind the reason, such as abi.ErrNoManifest.
func (e *AdmissionError) Unwrap() error { return e.Err }

func refuse(source string, step Step, reason, hint string) *AdmissionError {
	return &AdmissionError{Source: source, Step: step, Reason: reason, Hint: hint}
}

// What to do about a refusal.
const (
	hintInvalid = "copy or build it again, for WebAssembly 2.0 (such as wasm32-wasip1) without threads, tail calls, exceptions or garbage collection"
	hintReactor = "build it as a library, which has _initialize: Go -buildmode=c-shared (with GOOS=wasip1 GOARCH=wasm), " +
		`Rust crate-type = ["cdylib"], C -mexec-model=reactor`
	hintExportRun = `export it: Go //go:wasmexport run, Rust #[no_mangle] pub extern "C" fn run() -> i32, C __attribute__((export_name("run")))`
	hintSimplify  = "split the function, or build with less inlining"
	hintSmaller   = "make it smaller, or split it into several modules"
	hintScript    = "build it again with wasakari task build"
	hintEngine    = "build it again for that one: wasakari task build takes its source, or the module itself"
)

// refuseSections words the errors of abi.CustomSections.
func refuseSections(source string, err error) *AdmissionError {
	e := refuse(source, StepValidate, err.Error(), "give a .wasm file")
	e.Err = err
	switch {
	case errors.Is(err, abi.ErrComponent):
		e.Reason = "this is a WebAssembly component, not a core module"
		e.Hint = "build a core module: wasm32-wasip1 instead of wasm32-wasip2, without wasm-tools component new; " +
			"GOOS=wasip1 and -buildmode=c-shared for Go; tinygo -target=wasip1 -buildmode=c-shared"
	case errors.Is(err, abi.ErrTruncated):
		e.Hint = "it was cut off or damaged: copy or build it again"
	}
	return e
}

// Admit checks a module and compiles it. source names it in errors, such as
// the file it came from. Refusals are an *AdmissionError. The caller closes
// the module; closing the Runtime does too.
func (r *Runtime) Admit(ctx context.Context, source string, wasm []byte) (*Module, error) {
	if len(wasm) > r.maxModule {
		return nil, refuse(source, StepSize,
			fmt.Sprintf("the module has %s; at most %s are admitted", size(int64(len(wasm))), size(int64(r.maxModule))),
			"strip it (Go -ldflags='-s -w', Rust strip = true, wasm-opt --strip-debug) or raise "+optionModule)
	}
	l, err := scan(source, wasm)
	if err != nil {
		return nil, err
	}
	// Validation allocates by what the code claims, so figures beyond the bounds
	// are refused before. Code that cannot be measured is not valid: to say why
	// is for validation.
	complexity, _ := l.measure(wasm)
	if err := complexity.check(source); err != nil {
		return nil, err
	}
	info := l.info(source, wasm)
	info.Complexity = complexity
	if info.Engine, err = abi.ReadEngine(wasm); err != nil {
		e := refuse(source, StepManifest, err.Error(), "")
		e.Err = err
		return nil, e
	}
	manifest, script, err := l.promises(source, wasm, info.Engine)
	if err != nil {
		return nil, r.explain(ctx, err, source, wasm)
	}
	info.Manifest = manifest
	for _, f := range script {
		info.Script = append(info.Script, f.Name)
	}
	m := &Module{runtime: r, source: source, manifest: manifest, script: script, info: info}
	if info.Engine == nil {
		m.guest, err = r.guestOf(ctx, source, info.Digest, l, wasm)
	} else {
		m.engine, m.guest, err = r.engineOf(ctx, source, info.Engine)
	}
	if err != nil {
		return nil, err
	}
	if err := r.adopt(m); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", source, err), m.Close(context.WithoutCancel(ctx)))
	}
	r.log.Debug("module admitted", zap.String("source", source), zap.String("library", manifest.Library), zap.String("digest", info.Digest))
	return m, nil
}

// promises checks what the module says and gives its manifest and its script.
func (l *layout) promises(source string, wasm []byte, engine *abi.EngineRef) (*abi.Manifest, []abi.ScriptFile, error) {
	check := l.checkInterface
	if engine != nil {
		check = l.checkEmpty
	}
	if err := check(source); err != nil {
		return nil, nil, err
	}
	manifest, err := abi.ReadManifest(wasm)
	if err != nil {
		e := refuse(source, StepManifest, err.Error(), "")
		e.Err = err
		return nil, nil, e
	}
	script, err := abi.ReadScript(wasm)
	if err != nil {
		e := refuse(source, StepManifest, err.Error(), "")
		e.Err = err
		return nil, nil, e
	}
	if engine != nil && len(script) == 0 {
		return nil, nil, refuse(source, StepManifest, fmt.Sprintf("it names the engine %s, and has no script for it", engine.Name), hintScript)
	}
	return manifest, script, nil
}

// checkEmpty refuses code beside a script that an engine runs: it would never
// be called.
func (l *layout) checkEmpty(source string) error {
	for id, there := range l.seen {
		if there {
			return refuse(source, StepInterface, fmt.Sprintf("it has a %s section, and names an engine that runs its script instead of it", sectionNames[id]), hintScript)
		}
	}
	return nil
}

// reservedPrefix begins the names that metering may use.
const reservedPrefix = "__wasakari"

// checkInterface checks imports, exports and the start function.
func (l *layout) checkInterface(source string) error {
	if err := l.checkCommand(source); err != nil {
		return err
	}
	for _, i := range l.imports {
		if err := l.checkImport(source, i); err != nil {
			return err
		}
	}
	if l.start {
		return refuse(source, StepInterface, "it has a start function, which would run before the limits are in force",
			"build it without one (LLVM: no -Wl,--shared-memory; WAT: drop (start ...)) and prepare things in "+abi.Initialize)
	}
	for _, e := range l.exports {
		if strings.HasPrefix(e.name, reservedPrefix) {
			return refuse(source, StepInterface, fmt.Sprintf("it exports %q; names that begin with %s are reserved", shown(e.name), reservedPrefix), "rename it")
		}
	}
	if e, ok := l.export(abi.Memory); !ok || e.kind != kindMemory {
		return refuse(source, StepInterface, `it exports no memory named "memory"`, `export it: (memory (export "memory") 1) in WAT; compilers for WASI do`)
	}
	if err := l.checkExport(source, abi.Run, "() -> i32", true); err != nil {
		return err
	}
	if err := l.checkExport(source, abi.Revert, "() -> i32", false); err != nil {
		return err
	}
	return l.checkExport(source, abi.Initialize, "()", false)
}

// checkCommand refuses programs: they run once and exit.
func (l *layout) checkCommand(source string) error {
	_, hasStart := l.export("_start")
	_, hasInitialize := l.export(abi.Initialize)
	switch {
	case hasStart:
		return refuse(source, StepInterface, "it is a command: it exports _start, the main function of a program", hintReactor)
	case !hasInitialize && l.isGo && l.importsModule(wasiModule):
		return refuse(source, StepInterface, "it is built by Go and has no "+abi.Initialize+", so Go's runtime would never start",
			"build it with GOOS=wasip1 GOARCH=wasm -buildmode=c-shared")
	}
	return nil
}

func (l *layout) importsModule(name string) bool {
	for _, i := range l.imports {
		if i.module == name {
			return true
		}
	}
	return false
}

func (l *layout) checkImport(source string, i imported) error {
	full := shown(i.module + "." + i.name)
	var functions []hostFunction
	switch i.module {
	case abi.ImportModule:
		functions = abiFunctions
	case wasiModule:
		functions = wasiFunctions
	default:
		return refuse(source, StepInterface, fmt.Sprintf("it imports %s, which this host does not have", full), hintImport(i.module))
	}
	if i.kind != kindFunction {
		return refuse(source, StepInterface, fmt.Sprintf("it imports %s as a %s, where this host has a function", full, kindNames[i.kind]),
			"define it in the module instead of importing it")
	}
	names := make([]string, len(functions))
	for k, f := range functions {
		names[k] = f.name
		if f.name != i.name {
			continue
		}
		want := f.typ().String()
		if got, _ := l.typeOf(i.typ); got.String() != want {
			return refuse(source, StepInterface, fmt.Sprintf("it imports %s as %s; it is %s", full, shown(got.String()), want), "correct the declaration, see sdk/ABI.md")
		}
		return nil
	}
	hint := "see sdk/ABI.md for what there is"
	if near := abi.Nearest(i.name, names); near != "" {
		hint = fmt.Sprintf("did you mean %s.%s?", i.module, near)
	}
	return refuse(source, StepInterface, fmt.Sprintf("it imports %s, which this host does not have", full), hint)
}

// hintImport says what to do about a module of imports that we do not have.
func hintImport(module string) string {
	switch module {
	case "gojs", "go":
		return "it is built with GOOS=js: build it with GOOS=wasip1 GOARCH=wasm -buildmode=c-shared"
	case "env":
		return "a function was declared and not linked: define it, or link the library that has it"
	case "wasi_unstable":
		return "it is built for an old draft of WASI: build it for " + wasiModule
	case "__wbindgen_placeholder__", "wbg":
		return "it is built with wasm-bindgen for browsers: build it for wasm32-wasip1 without"
	}
	known := []string{abi.ImportModule, wasiModule}
	if strings.HasPrefix(module, "wasakari_v") {
		return "it is built for another version of Wasakari; this host has " + abi.ImportModule
	}
	if near := abi.Nearest(module, known); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return "tasks may import " + strings.Join(known, " and ") + " only"
}

// typ gives the function's type as wasm has it.
func (f hostFunction) typ() signature {
	params, results := valueTypes(f.signature)
	return signature{params, results}
}

func (l *layout) checkExport(source, name, want string, required bool) error {
	e, ok := l.export(name)
	switch {
	case !ok && !required:
		return nil
	case !ok:
		return refuse(source, StepInterface, fmt.Sprintf("it exports no function %q", name), hintExportRun)
	case e.kind != kindFunction:
		return refuse(source, StepInterface, fmt.Sprintf("its export %q is not a function", name), fmt.Sprintf("export a function %s as %q", want, name))
	}
	if got, ok := l.signatureOf(e.index); !ok || got.String() != want {
		return refuse(source, StepInterface, fmt.Sprintf("its export %q is a function %s", name, shown(got.String())), "make it "+want)
	}
	return nil
}

// check refuses what would make the compiler slow.
func (c Complexity) check(source string) error {
	for _, f := range []struct {
		Figure
		what string
	}{
		{c.Body, "bytes of code"},
		{c.Locals, "parameters and locals"},
		{c.Nesting, "levels of nesting"},
		{c.Branches, "branches in one br_table"},
		{c.LocalBlocks, "locals times blocks"},
		{c.Values, "values carried by calls, blocks and branches"},
		{c.Jumps, "blocks, branches and br_table targets"},
		{c.LoopWork, "locals times loops times their depth"},
	} {
		if f.Value > f.Limit {
			return refuse(source, StepComplexity,
				fmt.Sprintf("%s has %d %s; at most %d are admitted", f.where(), f.Value, f.what, f.Limit), hintSimplify)
		}
	}
	for _, f := range []struct {
		Figure
		what string
	}{
		{c.SumLocals, "parameters and locals"},
		{c.SumLocalBlocks, "locals times blocks"},
		{c.SumValues, "values carried by calls, blocks and branches"},
		{c.SumJumps, "blocks, branches and br_table targets, squared"},
		{c.SumLoopWork, "locals times loops times their depth"},
	} {
		if f.Value > f.Limit {
			return refuse(source, StepComplexity,
				fmt.Sprintf("all functions together have %d %s; at most %d are admitted", f.Value, f.what, f.Limit), hintSmaller)
		}
	}
	if c.tableGrow.Function >= 0 {
		return refuse(source, StepComplexity, fmt.Sprintf("%s grows a table, and all tables may then have more than %d entries", c.tableGrow.where(), maxTableEntries),
			"declare a smaller maximum for the table")
	}
	return nil
}

// where names the function of a figure.
func (f Figure) where() string {
	if f.Name != "" {
		return fmt.Sprintf("function %d (%s)", f.Function, shown(f.Name))
	}
	return fmt.Sprintf("function %d", f.Function)
}
