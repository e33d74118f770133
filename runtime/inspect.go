package runtime

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime/internal/decode"
)

// Info is what can be said about a module without compiling it.
type Info struct {
	Source string `json:"source"`
	Digest string `json:"digest"` // sha256 of the bytes, hex
	Bytes  int    `json:"bytes"`

	Sections []SectionInfo `json:"sections"`
	Imports  []ImportInfo  `json:"imports"`
	Exports  []ExportInfo  `json:"exports"`

	// Types, Functions (own ones), Globals, Data and Elements count what the
	// module declares.
	Types     int `json:"types"`
	Functions int `json:"functions"`
	Globals   int `json:"globals"`
	Data      int `json:"data_segments"`
	Elements  int `json:"element_segments"`
	// TableEntries is the size of all tables at the start.
	TableEntries int64 `json:"table_entries"`
	// MemoryMin is the size of the memory at the start in bytes, MemoryMax the
	// largest that the module declares, -1 when it declares none.
	MemoryMin int64 `json:"memory_min_bytes"`
	MemoryMax int64 `json:"memory_max_bytes"`

	Complexity Complexity `json:"complexity"`

	// Manifest is nil when the module has none that can be read;
	// ManifestProblem then says why.
	Manifest        *abi.Manifest `json:"manifest,omitempty"`
	ManifestProblem string        `json:"manifest_problem,omitempty"`
	// Script lists the files of the custom section wasakari.script, and Engine
	// names what runs them, nil when that is the module itself.
	Script []string       `json:"script,omitempty"`
	Engine *abi.EngineRef `json:"engine,omitempty"`
}

// SectionInfo describes one section.
type SectionInfo struct {
	Name  string `json:"name"` // custom sections: custom "name"
	Bytes int    `json:"bytes"`
}

// ImportInfo describes one import.
type ImportInfo struct {
	Module string `json:"module"`
	Name   string `json:"name"`
	Kind   string `json:"kind"` // func, table, memory or global
	// Signature is that of a function, such as (i32, i32) -> i64.
	Signature string `json:"signature,omitempty"`
}

// ExportInfo describes one export.
type ExportInfo struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Signature string `json:"signature,omitempty"`
}

// Inspect tells about a module without compiling or running it. It refuses
// with an *AdmissionError what is not a module or declares too much; what
// later steps of admission would refuse is in the Info.
func Inspect(source string, wasm []byte) (*Info, error) {
	l, err := scan(source, wasm)
	if err != nil {
		return nil, err
	}
	info := l.info(source, wasm)
	if info.Complexity, err = l.measure(wasm); err != nil {
		return nil, refuse(source, StepValidate, "not valid WebAssembly: "+err.Error(), hintInvalid)
	}
	if info.Manifest, err = abi.ReadManifest(wasm); err != nil {
		info.ManifestProblem = err.Error()
	}
	script, err := abi.ReadScript(wasm)
	if err != nil {
		return nil, refuse(source, StepManifest, err.Error(), "")
	}
	for _, f := range script {
		info.Script = append(info.Script, f.Name)
	}
	if info.Engine, err = abi.ReadEngine(wasm); err != nil {
		return nil, refuse(source, StepManifest, err.Error(), "")
	}
	return info, nil
}

// signature is the type of a function, one byte for each value.
type signature struct{ params, results []byte }

func (s signature) String() string {
	list := func(types []byte) string {
		names := make([]string, len(types))
		for i, t := range types {
			names[i] = api.ValueTypeName(t)
		}
		return strings.Join(names, ", ")
	}
	text := "(" + list(s.params) + ")"
	switch len(s.results) {
	case 0:
		return text
	case 1:
		return text + " -> " + list(s.results)
	}
	return text + " -> (" + list(s.results) + ")"
}

// The kinds of import and export.
const (
	kindFunction = iota
	kindTable
	kindMemory
	kindGlobal
)

var kindNames = [...]string{"func", "table", "memory", "global"}

type imported struct {
	module, name string
	kind         byte
	typ          uint32 // of a function
}

type exported struct {
	name  string
	kind  byte
	index uint32
}

type table struct {
	least, most int64 // entries; most is -1 when there is no maximum
	grows       bool  // some function grows it; known after measure
}

// layout is what scan finds in a module.
type layout struct {
	sections          []SectionInfo
	seen              [len(sectionNames)]bool
	types             []signature
	typeValues        int // of all types
	imports           []imported
	importedFunctions int
	functions         []uint32 // types of own functions
	tables            []table
	memoryMin         int64 // pages
	memoryMax         int64
	memories          int
	globals           int
	exports           []exported
	start             bool
	elements, data    int
	elementItems      int
	bodies            []body
	codeStart         int // offset of the code section
	codeEnd           int
	names             map[int]string
	isGo              bool // compiled by Go
}

// codeSection is the id of the code section.
const codeSection = 10

var sectionNames = [...]string{
	"custom", "type", "import", "function", "table", "memory", "global",
	"export", "start", "element", "code", "data", "data count",
}

// scan reads the structure of a module, all but the instructions. It allocates
// no more than a small multiple of the module's size, whatever that claims.
func scan(source string, wasm []byte) (*layout, error) {
	// The list of sections comes first: it tells apart what is no module, what
	// is a component, and what was cut off.
	if _, err := abi.CustomSections(wasm); err != nil {
		return nil, refuseSections(source, err)
	}
	l := &layout{memoryMax: -1, names: map[int]string{}}
	const head = 8
	r := &decode.Reader{Bytes: wasm[head:], Base: head}
	for r.Left() > 0 && r.Err == nil {
		l.section(r)
	}
	var many *decode.TooManyError
	switch {
	case r.Err == nil:
		return l, nil
	case errors.As(r.Err, &many):
		return nil, refuse(source, StepSize, many.Error(), hintSmaller)
	}
	return nil, refuse(source, StepValidate, "not valid WebAssembly: "+r.Err.Error(), hintInvalid)
}

func (l *layout) section(r *decode.Reader) {
	at := r.Base + r.Pos
	id := r.Byte()
	size := r.U32()
	in := r.Sub(size)
	if r.Err != nil {
		return
	}
	if int(id) >= len(sectionNames) {
		in.Fail(fmt.Sprintf("section %d, which is not WebAssembly 2.0", id))
	}
	name := sectionNames[min(int(id), len(sectionNames)-1)]
	// The counts are bounded for each section, so one of a kind is enough.
	if in.Err == nil && id != 0 {
		if l.seen[id] {
			in.Fail("a second " + name + " section")
		}
		l.seen[id] = true
	}
	switch id {
	case 0:
		custom := in.Name(maxNameBytes)
		name = fmt.Sprintf("custom %q", custom)
		l.custom(custom, in)
	case 1:
		for range in.Count("types", 3, maxTypes) {
			l.typ(in)
		}
	case 2:
		for range in.Count("imports", 4, maxImports) {
			l.importOf(in)
		}
	case 3:
		for range in.Count("functions", 1, maxFunctions) {
			l.functions = append(l.functions, in.U32())
		}
	case 4:
		for range in.Count("tables", 3, maxTables) {
			l.table(in)
		}
	case 5:
		for range in.Count("memories", 2, 1) {
			l.memory(in)
		}
	case 6:
		l.globals += in.Count("globals", 4, maxGlobals)
		for range l.globals {
			in.ValueType()
			in.Byte() // mutability
			constant(in)
		}
	case 7:
		for range in.Count("exports", 3, maxExports) {
			l.exports = append(l.exports, exported{in.Name(maxNameBytes), in.Byte(), in.U32()})
		}
	case 8:
		l.start = true
		in.U32()
	case 9:
		l.elements += in.Count("element segments", 3, maxElements)
		for range l.elements {
			l.element(in)
		}
	case codeSection:
		l.codeStart, l.codeEnd = at, in.Base+len(in.Bytes)
		for range in.Count("function bodies", 3, maxFunctions) {
			l.bodies = append(l.bodies, bodyOf(in))
		}
	case 11:
		l.data += in.Count("data segments", 2, maxDataSegments)
		for range l.data {
			l.dataOf(in)
		}
	case 12:
		in.U32()
	}
	l.sections = append(l.sections, SectionInfo{Name: name, Bytes: int(size)})
	if in.Err == nil && in.Left() > 0 {
		in.Fail("more bytes in section " + name + " than it needs")
	}
	r.Err = in.Err
}

func (l *layout) typ(r *decode.Reader) {
	if form := r.Byte(); form != 0x60 && r.Err == nil {
		r.Fail(fmt.Sprintf("a type of form 0x%02x, which is not WebAssembly 2.0", form))
	}
	values := func(what string) []byte {
		n := r.Count(what, 1, maxTypeValues)
		types := r.Bytes[r.Pos:][:n]
		for range n {
			r.ValueType()
		}
		return types
	}
	params, results := values("parameters of one type"), values("results of one type")
	l.typeValues += len(params) + len(results)
	if l.typeValues > maxAllValues {
		r.FailMany("parameters and results of types", int64(l.typeValues), maxAllValues)
	}
	l.types = append(l.types, signature{params, results})
}

func (l *layout) importOf(r *decode.Reader) {
	i := imported{module: r.Name(maxNameBytes), name: r.Name(maxNameBytes), kind: r.Byte()}
	switch i.kind {
	case kindFunction:
		i.typ = r.U32()
		l.importedFunctions++
	case kindTable:
		l.table(r)
	case kindMemory:
		l.memory(r)
	case kindGlobal:
		r.ValueType()
		r.Byte()
	default:
		r.Fail(fmt.Sprintf("an import of kind %d, which is not WebAssembly 2.0", i.kind))
	}
	l.imports = append(l.imports, i)
}

func (l *layout) table(r *decode.Reader) {
	r.ReferenceType()
	least, most := r.Limits()
	l.tables = append(l.tables, table{least: int64(least), most: most})
	total := int64(0)
	for _, t := range l.tables {
		total += t.least
	}
	if total > maxTableEntries {
		r.FailMany("table entries", total, maxTableEntries)
	}
}

func (l *layout) memory(r *decode.Reader) {
	least, most := r.Limits()
	l.memoryMin, l.memoryMax = int64(least), most
	l.memories++
}

func (l *layout) element(r *decode.Reader) {
	flags := r.U32()
	if flags > 7 {
		r.Fail("an element segment of an unknown kind")
		return
	}
	if flags&1 == 0 { // active
		if flags&2 != 0 {
			r.U32() // table
		}
		constant(r)
	}
	switch {
	case flags&3 == 0:
	case flags&4 != 0:
		r.ReferenceType()
	default:
		r.Zero() // functions, the only kind
	}
	items := r.Count("items in one element segment", 1, maxElementItems)
	if l.elementItems += items; l.elementItems > maxElementItems {
		r.FailMany("items in element segments", int64(l.elementItems), maxElementItems)
		return
	}
	for range items {
		if flags&4 != 0 {
			constant(r)
		} else {
			r.U32()
		}
	}
}

func (l *layout) dataOf(r *decode.Reader) {
	flags := r.U32()
	if flags > 2 {
		r.Fail("a data segment of an unknown kind")
		return
	}
	if flags == 2 {
		r.U32() // memory
	}
	if flags != 1 {
		constant(r)
	}
	r.Take(r.U32())
}

func (l *layout) custom(name string, r *decode.Reader) {
	switch name {
	case "name":
		l.nameSection(r)
	case "go:buildid":
		l.isGo = true
	}
	r.Pos = len(r.Bytes)
}

// nameSection reads function names, and checks what else wazero decodes.
func (l *layout) nameSection(r *decode.Reader) {
	locals := int64(0)
	for r.Left() > 0 && r.Err == nil {
		id := r.Byte()
		in := r.Sub(r.U32())
		switch id {
		case 0:
			in.Name(maxNameBytes)
		case 1:
			for range in.Count("function names", 2, maxFunctions+maxImports) {
				index, name := in.U32(), in.Name(maxNameBytes)
				if len(l.names) < maxFunctions+maxImports {
					l.names[int(index)] = name
				}
			}
		case 2:
			for range in.Count("functions with named locals", 2, maxFunctions+maxImports) {
				in.U32()
				n := in.Count("names of locals", 2, maxLocalNames)
				if locals += int64(n); locals > maxLocalNames {
					in.FailMany("names of locals", locals, maxLocalNames)
				}
				for range n {
					in.U32()
					in.Name(maxNameBytes)
				}
			}
		default:
			in.Pos = len(in.Bytes)
		}
		if in.Err == nil && in.Left() > 0 {
			in.Fail("more bytes in the name section than it needs")
		}
		if r.Err == nil {
			r.Err = in.Err
		}
	}
}

// signatureOf gives the type of a function by its index, imports first.
func (l *layout) signatureOf(index uint32) (signature, bool) {
	i := int(index)
	if i < l.importedFunctions {
		for _, im := range l.imports {
			if im.kind != kindFunction {
				continue
			}
			if i == 0 {
				return l.typeOf(im.typ)
			}
			i--
		}
	}
	i -= l.importedFunctions
	if i < 0 || i >= len(l.functions) {
		return signature{}, false
	}
	return l.typeOf(l.functions[i])
}

func (l *layout) typeOf(index uint32) (signature, bool) {
	if int(index) >= len(l.types) {
		return signature{}, false
	}
	return l.types[index], true
}

func (l *layout) export(name string) (exported, bool) {
	for _, e := range l.exports {
		if e.name == name {
			return e, true
		}
	}
	return exported{}, false
}

func (l *layout) info(source string, wasm []byte) *Info {
	digest := sha256.Sum256(wasm)
	info := &Info{
		Source: source, Digest: hex.EncodeToString(digest[:]), Bytes: len(wasm),
		Sections: l.sections,
		Imports:  make([]ImportInfo, 0, len(l.imports)),
		Exports:  make([]ExportInfo, 0, len(l.exports)),
		Types:    len(l.types), Functions: len(l.functions), Globals: l.globals,
		Data: l.data, Elements: l.elements,
		MemoryMin: l.memoryMin * pageBytes, MemoryMax: -1,
	}
	if l.memoryMax >= 0 {
		info.MemoryMax = l.memoryMax * pageBytes
	}
	for _, t := range l.tables {
		info.TableEntries += t.least
	}
	for _, i := range l.imports {
		shown := ImportInfo{Module: printable(i.module), Name: printable(i.name), Kind: kindNames[i.kind]}
		if sig, ok := l.typeOf(i.typ); ok && i.kind == kindFunction {
			shown.Signature = sig.String()
		}
		info.Imports = append(info.Imports, shown)
	}
	for _, e := range l.exports {
		shown := ExportInfo{Name: printable(e.name), Kind: "unknown"}
		if int(e.kind) < len(kindNames) {
			shown.Kind = kindNames[e.kind]
		}
		if sig, ok := l.signatureOf(e.index); ok && e.kind == kindFunction {
			shown.Signature = sig.String()
		}
		info.Exports = append(info.Exports, shown)
	}
	return info
}
