package meter

import (
	"encoding/binary"
	"math"

	"github.com/wasakari/wasakari/runtime/internal/decode"
)

// The ids of sections.
const (
	sectionCustom = iota
	sectionType
	sectionImport
	sectionFunction
	sectionTable
	sectionMemory
	sectionGlobal
	sectionExport
	sectionStart
	sectionElement
	sectionCode
	sectionData
	sectionDataCount
	sections
)

// order is how sections follow one another: the count of data segments comes
// before the code.
var order = [...]byte{
	sectionType, sectionImport, sectionFunction, sectionTable, sectionMemory, sectionGlobal,
	sectionExport, sectionStart, sectionElement, sectionDataCount, sectionCode, sectionData,
}

// The kinds of import and export.
const (
	kindFunction = iota
	kindTable
	kindMemory
	kindGlobal
)

// span is a part of the module.
type span struct{ start, end uint32 }

// signature is where a type's parameters and results are in the module.
type signature struct{ params, results span }

// table is one that the module defines.
type table struct {
	element   byte
	least     uint32
	most      int64 // -1: without a maximum
	growsHere bool  // by some function
}

// module is what is known of a module's structure. It takes a small multiple
// of the bytes, whatever they claim.
type module struct {
	wasm    []byte
	section [sections]*decode.Reader // from the content's start
	names   *decode.Reader           // content of the name section

	types             []signature
	functions         []uint32 // their types, imported ones first
	importedFunctions int
	importedTables    int
	tables            []table
	memory            bool
	memoryImported    bool
	memoryMin         uint32 // pages
	globals           int
	elements          int
	dataCount         int // -1: not told
	dataSizes         []uint32
	bodies            []span
	referenced        []uint32 // functions that tables may come to hold
	tableShared       bool     // a table is imported or exported
	exported          []uint32 // functions
	usesData          bool     // memory.init or data.drop
	image             *Image   // what is in memory without a data segment
}

func (m *module) bytes(s span) []byte { return m.wasm[s.start:s.end] }

func (m *module) arity(typ uint32) arity {
	t := m.types[typ]
	return arity{int(t.params.end - t.params.start), int(t.results.end - t.results.start)}
}

func (m *module) tableCount() int { return m.importedTables + len(m.tables) }

// dataSegments is how many data segments code may name.
func (m *module) dataSegments() int { return max(m.dataCount, 0) }

// maxWasm bounds what is read at all, so that offsets fit.
const maxWasm = 1 << 30

// parse reads the structure of a module, all but the instructions.
func parse(wasm []byte) (*module, error) {
	const magic = "\x00asm\x01\x00\x00\x00"
	if len(wasm) > maxWasm || len(wasm) < len(magic) || string(wasm[:len(magic)]) != magic {
		return nil, &Error{Reason: "no WebAssembly module"}
	}
	m := &module{wasm: wasm, dataCount: -1}
	r := &decode.Reader{Bytes: wasm, Pos: len(magic)}
	last := -1
	for r.Left() > 0 && r.Err == nil {
		id := r.Byte()
		in := r.Sub(r.U32())
		if r.Err != nil {
			break
		}
		if id == sectionCustom {
			m.custom(in)
			continue
		}
		at := -1
		for i, o := range order {
			if o == id {
				at = i
			}
		}
		if at <= last {
			r.FailNewer("a section, here at least, that is not WebAssembly 2.0")
			break
		}
		last = at
		m.section[id] = &decode.Reader{Bytes: in.Bytes, Base: in.Base}
		m.read(id, in)
		if in.Err == nil && in.Left() > 0 {
			in.Fail("more bytes in a section than it needs")
		}
		r.Err = in.Err
	}
	if r.Err == nil && len(m.bodies) != len(m.functions)-m.importedFunctions {
		r.Fail("not as many function bodies as functions")
	}
	return m, r.Err
}

func (m *module) read(id byte, r *decode.Reader) {
	switch id {
	case sectionType:
		for range r.Count("types", 3, decode.Unbounded) {
			m.typ(r)
		}
	case sectionImport:
		for range r.Count("imports", 4, decode.Unbounded) {
			m.imported(r)
		}
	case sectionFunction:
		for range r.Count("functions", 1, decode.Unbounded) {
			m.functions = append(m.functions, r.Index(len(m.types), "type"))
		}
	case sectionTable:
		for range r.Count("tables", 3, decode.Unbounded) {
			t := table{element: r.ReferenceType()}
			t.least, t.most = r.Limits()
			m.tables = append(m.tables, t)
		}
	case sectionMemory:
		for range r.Count("memories", 2, decode.Unbounded) {
			m.memory = true
			m.memoryMin, _ = r.Limits()
		}
	case sectionGlobal:
		for range r.Count("globals", 4, decode.Unbounded) {
			r.ValueType()
			r.Byte()
			m.constant(r, nil)
			m.globals++
		}
	case sectionExport:
		for range r.Count("exports", 3, decode.Unbounded) {
			r.Take(r.U32())
			switch r.Byte() {
			case kindFunction:
				m.exported = append(m.exported, r.Index(len(m.functions), "function"))
			case kindTable:
				m.tableShared = true
				r.U32()
			default:
				r.U32()
			}
		}
	case sectionStart:
		r.Index(len(m.functions), "function")
	case sectionElement:
		for range r.Count("element segments", 3, decode.Unbounded) {
			m.element(r, nil)
			m.elements++
		}
	case sectionDataCount:
		m.dataCount = int(min(r.U32(), math.MaxInt32))
	case sectionCode:
		for range r.Count("function bodies", 3, decode.Unbounded) {
			in := r.Sub(r.U32())
			m.bodies = append(m.bodies, span{uint32(in.Base), uint32(in.Base + len(in.Bytes))})
		}
	case sectionData:
		for range r.Count("data segments", 2, decode.Unbounded) {
			s := m.data(r)
			m.dataSizes = append(m.dataSizes, uint32(len(s.content)))
		}
	}
}

func (m *module) typ(r *decode.Reader) {
	if r.Byte() != 0x60 {
		r.FailNewer("a type of no function, which is not WebAssembly 2.0")
	}
	values := func() span {
		n := r.Count("values in a type", 1, decode.Unbounded)
		at := r.Base + r.Pos
		for range n {
			r.ValueType()
		}
		return span{uint32(at), uint32(r.Base + r.Pos)}
	}
	t := signature{values(), values()}
	if r.Err == nil {
		m.types = append(m.types, t)
	}
}

func (m *module) imported(r *decode.Reader) {
	name := string(r.Take(r.U32()))
	r.Take(r.U32())
	if name == ImportModule {
		r.Fail("an import of the reserved module " + ImportModule)
	}
	switch r.Byte() {
	case kindFunction:
		m.functions = append(m.functions, r.Index(len(m.types), "type"))
		m.importedFunctions++
	case kindTable:
		r.ReferenceType()
		r.Limits()
		m.importedTables++
		m.tableShared = true
	case kindMemory:
		m.memory, m.memoryImported = true, true
		m.memoryMin, _ = r.Limits()
	case kindGlobal:
		r.ValueType()
		r.Byte()
		m.globals++
	default:
		r.FailNewer("an import that is not WebAssembly 2.0")
	}
}

// constant reads a constant expression. With out, it appends it there, the
// functions shifted.
func (m *module) constant(r *decode.Reader, out *[]byte) {
	var i decode.Instruction
	for r.Err == nil {
		r.NextConstant(&i)
		if m.check(r, 0, &i); r.Err != nil {
			return
		}
		switch {
		case i.Op == decode.OpRefFunc && out != nil:
			*out = append(*out, decode.OpRefFunc)
			*out = binary.AppendUvarint(*out, uint64(m.shift(i.X)))
		case i.Op == decode.OpRefFunc:
			m.referenced = append(m.referenced, i.X)
		case out != nil:
			*out = append(*out, r.Bytes[i.At:i.End]...)
		}
		if i.Op == decode.OpEnd {
			return
		}
	}
}

// element reads an element segment. With out, it appends it there, the
// functions shifted.
func (m *module) element(r *decode.Reader, out *[]byte) {
	from := r.Pos
	keep := func() {
		if out != nil && r.Err == nil {
			*out = append(*out, r.Bytes[from:r.Pos]...)
		}
		from = r.Pos
	}
	flags := r.U32()
	if flags > 7 {
		r.FailNewer("an element segment that is not WebAssembly 2.0")
		return
	}
	if flags&1 == 0 { // active
		if flags&2 != 0 {
			r.Index(m.tableCount(), "table")
		}
		keep()
		m.constant(r, out)
		from = r.Pos
	}
	switch {
	case flags&3 == 0:
	case flags&4 != 0:
		r.ReferenceType()
	default:
		r.Zero() // functions, the only kind
	}
	n := r.Count("items in an element segment", 1, decode.Unbounded)
	keep()
	for range n {
		if r.Err != nil {
			return
		}
		if flags&4 != 0 {
			m.constant(r, out)
			continue
		}
		f := r.Index(len(m.functions), "function")
		if out != nil {
			*out = binary.AppendUvarint(*out, uint64(m.shift(f)))
		} else {
			m.referenced = append(m.referenced, f)
		}
	}
}

// segment is a data segment.
type segment struct {
	active   bool // of memory 0, at a constant offset
	offset   uint32
	content  []byte
	from, to int // all of it, in the section
}

func (m *module) data(r *decode.Reader) segment {
	s := segment{from: r.Pos}
	flags := r.U32()
	if flags > 2 {
		r.FailNewer("a data segment that is not WebAssembly 2.0")
		return s
	}
	memory := uint32(0)
	if flags == 2 {
		memory = r.U32()
	}
	if flags != 1 {
		at := r.Pos
		m.constant(r, nil)
		if r.Err == nil && r.Bytes[at] == decode.OpI32Const {
			c := &decode.Reader{Bytes: r.Bytes[at+1 : r.Pos]}
			s.offset = uint32(c.Signed(5))
			s.active = memory == 0 && c.Err == nil && c.Left() == 1
		}
	}
	s.content = r.Take(r.U32())
	s.to = r.Pos
	return s
}

// custom keeps the name section and nothing else: nobody reads the others
// again, and what they say about the code would be wrong.
func (m *module) custom(r *decode.Reader) {
	if string(r.Take(r.U32())) == "name" && r.Err == nil {
		m.names = &decode.Reader{Bytes: r.Bytes, Pos: r.Pos, Base: r.Base}
	}
}

// shift gives the index of a function after the hidden imports are there.
func (m *module) shift(f uint32) uint32 {
	if int(f) < m.importedFunctions {
		return f
	}
	return f + hiddenImports
}
