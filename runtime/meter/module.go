package meter

import (
	"encoding/binary"
	"math"
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
	section [sections]*reader // from the content's start
	names   *reader           // content of the name section

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
		return nil, &Error{0, "no WebAssembly module"}
	}
	m := &module{wasm: wasm, dataCount: -1}
	r := &reader{b: wasm, pos: len(magic)}
	last := -1
	for r.left() > 0 && r.err == nil {
		id := r.byte()
		in := r.sub(r.u32())
		if r.err != nil {
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
			r.fail("a section, here at least," + newer)
			break
		}
		last = at
		m.section[id] = &reader{b: in.b, base: in.base}
		m.read(id, in)
		if in.err == nil && in.left() > 0 {
			in.fail("more bytes in a section than it needs")
		}
		r.err = in.err
	}
	if r.err == nil && len(m.bodies) != len(m.functions)-m.importedFunctions {
		r.fail("not as many function bodies as functions")
	}
	return m, r.err
}

func (m *module) read(id byte, r *reader) {
	switch id {
	case sectionType:
		for range r.count(3) {
			m.typ(r)
		}
	case sectionImport:
		for range r.count(4) {
			m.imported(r)
		}
	case sectionFunction:
		for range r.count(1) {
			m.functions = append(m.functions, r.index(len(m.types), "type"))
		}
	case sectionTable:
		for range r.count(3) {
			t := table{element: r.referenceType()}
			t.least, t.most = r.limits()
			m.tables = append(m.tables, t)
		}
	case sectionMemory:
		for range r.count(2) {
			m.memory = true
			m.memoryMin, _ = r.limits()
		}
	case sectionGlobal:
		for range r.count(4) {
			r.valueType()
			r.byte()
			m.constant(r, nil)
			m.globals++
		}
	case sectionExport:
		for range r.count(3) {
			r.take(r.u32())
			switch r.byte() {
			case kindFunction:
				m.exported = append(m.exported, r.index(len(m.functions), "function"))
			case kindTable:
				m.tableShared = true
				r.u32()
			default:
				r.u32()
			}
		}
	case sectionStart:
		r.index(len(m.functions), "function")
	case sectionElement:
		for range r.count(3) {
			m.element(r, nil)
			m.elements++
		}
	case sectionDataCount:
		m.dataCount = int(min(r.u32(), math.MaxInt32))
	case sectionCode:
		for range r.count(3) {
			in := r.sub(r.u32())
			m.bodies = append(m.bodies, span{uint32(in.base), uint32(in.base + len(in.b))})
		}
	case sectionData:
		for range r.count(2) {
			s := m.data(r)
			m.dataSizes = append(m.dataSizes, uint32(len(s.content)))
		}
	}
}

func (m *module) typ(r *reader) {
	if r.byte() != 0x60 {
		r.fail("a type of no function," + newer)
	}
	values := func() span {
		n := r.count(1)
		at := r.base + r.pos
		for range n {
			r.valueType()
		}
		return span{uint32(at), uint32(r.base + r.pos)}
	}
	t := signature{values(), values()}
	if r.err == nil {
		m.types = append(m.types, t)
	}
}

func (m *module) imported(r *reader) {
	name := string(r.take(r.u32()))
	r.take(r.u32())
	if name == ImportModule {
		r.fail("an import of the reserved module " + ImportModule)
	}
	switch r.byte() {
	case kindFunction:
		m.functions = append(m.functions, r.index(len(m.types), "type"))
		m.importedFunctions++
	case kindTable:
		r.referenceType()
		r.limits()
		m.importedTables++
		m.tableShared = true
	case kindMemory:
		m.memory, m.memoryImported = true, true
		m.memoryMin, _ = r.limits()
	case kindGlobal:
		r.valueType()
		r.byte()
		m.globals++
	default:
		r.fail("an import" + newer)
	}
}

func (r *reader) limits() (least uint32, most int64) {
	flags := r.byte()
	if flags > 1 {
		r.fail("limits" + newer)
	}
	least, most = r.u32(), -1
	if flags == 1 {
		most = int64(r.u32())
	}
	return least, most
}

// constant reads a constant expression. With out, it appends it there, the
// functions shifted.
func (m *module) constant(r *reader, out *[]byte) {
	for r.err == nil {
		at := r.pos
		op := r.byte()
		switch op {
		case opEnd, opI64Const, opF32Const, opF64Const, opI32Const:
			switch op {
			case opI32Const:
				r.signed(5)
			case opI64Const:
				r.signed(10)
			case opF32Const:
				r.take(4)
			case opF64Const:
				r.take(8)
			}
		case opGlobalGet:
			r.index(m.globals, "global")
		case opRefNull:
			r.referenceType()
		case opRefFunc:
			f := r.index(len(m.functions), "function")
			if out != nil {
				*out = append(*out, opRefFunc)
				*out = binary.AppendUvarint(*out, uint64(m.shift(f)))
				continue
			}
			m.referenced = append(m.referenced, f)
		case 0xfd:
			if r.byte() != 12 { // v128.const
				r.fail("a constant expression" + newer)
			}
			r.take(16)
		default:
			r.fail("a constant expression" + newer)
		}
		if out != nil && r.err == nil {
			*out = append(*out, r.b[at:r.pos]...)
		}
		if op == opEnd {
			return
		}
	}
}

// element reads an element segment. With out, it appends it there, the
// functions shifted.
func (m *module) element(r *reader, out *[]byte) {
	from := r.pos
	keep := func() {
		if out != nil && r.err == nil {
			*out = append(*out, r.b[from:r.pos]...)
		}
		from = r.pos
	}
	flags := r.u32()
	if flags > 7 {
		r.fail("an element segment" + newer)
		return
	}
	if flags&1 == 0 { // active
		if flags&2 != 0 {
			r.index(m.tableCount(), "table")
		}
		keep()
		m.constant(r, out)
		from = r.pos
	}
	switch {
	case flags&3 == 0:
	case flags&4 != 0:
		r.referenceType()
	default:
		r.zero() // functions, the only kind
	}
	n := r.count(1)
	keep()
	for range n {
		if r.err != nil {
			return
		}
		if flags&4 != 0 {
			m.constant(r, out)
			continue
		}
		f := r.index(len(m.functions), "function")
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

func (m *module) data(r *reader) segment {
	s := segment{from: r.pos}
	flags := r.u32()
	if flags > 2 {
		r.fail("a data segment" + newer)
		return s
	}
	memory := uint32(0)
	if flags == 2 {
		memory = r.u32()
	}
	if flags != 1 {
		at := r.pos
		m.constant(r, nil)
		if r.err == nil && r.b[at] == opI32Const {
			c := &reader{b: r.b[at+1 : r.pos]}
			s.offset = uint32(c.signed(5))
			s.active = memory == 0 && c.err == nil && c.left() == 1
		}
	}
	s.content = r.take(r.u32())
	s.to = r.pos
	return s
}

// custom keeps the name section and nothing else: nobody reads the others
// again, and what they say about the code would be wrong.
func (m *module) custom(r *reader) {
	if string(r.take(r.u32())) == "name" && r.err == nil {
		m.names = &reader{b: r.b, pos: r.pos, base: r.base}
	}
}

// shift gives the index of a function after the hidden imports are there.
func (m *module) shift(f uint32) uint32 {
	if int(f) < m.importedFunctions {
		return f
	}
	return f + hiddenImports
}
