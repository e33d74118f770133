package meter

import (
	"encoding/binary"

	"github.com/wasakari/wasakari/runtime/internal/decode"
)

// hiddenImports is how many functions are imported besides.
const hiddenImports = 2

// emitter writes the new module.
type emitter struct {
	*module
	*analysis
	fuel, stack uint32 // the hidden globals

	types    []string // new ones
	typeOf   map[string]uint32
	helpers  []helper
	helperAt map[helper]uint32

	out  code // the function that is written
	list []charge
	open []control
}

// helper is a function of ours; segment is that of a helperInit.
type helper struct {
	which   int
	segment uint32
}

func (e *emitter) importRefill() uint32   { return uint32(e.importedFunctions) }
func (e *emitter) importOverflow() uint32 { return uint32(e.importedFunctions) + 1 }

// newType gives the index of a type that is written as text.
func (e *emitter) newType(text string) uint32 {
	i, ok := e.typeOf[text]
	if !ok {
		i = uint32(len(e.module.types) + len(e.types))
		e.types = append(e.types, text)
		e.typeOf[text] = i
	}
	return i
}

// helper gives the index of a helper.
func (e *emitter) helper(which int) uint32 { return e.helperOf(helper{which: which}) }

func (e *emitter) helperOf(h helper) uint32 {
	i, ok := e.helperAt[h]
	if !ok {
		i = uint32(len(e.module.functions) + hiddenImports + len(e.helpers))
		e.helpers = append(e.helpers, h)
		e.helperAt[h] = i
	}
	return i
}

// writer writes one function.
type writer struct {
	*emitter
	f *function
	c *code
	// counter is the local that holds the units left while the function runs;
	// in other functions the global does.
	counter  uint32
	local    bool
	operands uint32 // the first of three locals, for what is filled or copied
	wrapped  bool   // all of it is in a block, after which there is something to do
	depth    int    // of the innermost label, in the new code
}

// get leaves the units that are left.
func (w *writer) get() {
	if w.local {
		w.c.with(decode.OpLocalGet, w.counter)
	} else {
		w.c.with(decode.OpGlobalGet, w.fuel)
	}
}

func (w *writer) set() {
	if w.local {
		w.c.with(decode.OpLocalSet, w.counter)
	} else {
		w.c.with(decode.OpGlobalSet, w.fuel)
	}
}

// store puts the counter where others find it, before they run.
func (w *writer) store() {
	if w.local {
		w.get()
		w.c.with(decode.OpGlobalSet, w.fuel)
	}
}

func (w *writer) load() {
	if w.local {
		w.c.with(decode.OpGlobalGet, w.fuel)
		w.set()
	}
}

// spend takes units.
func (w *writer) spend(units int64) {
	w.get()
	w.c.i64(units)
	w.c.op(opI64Sub)
	w.set()
}

// need asks for units when there are fewer than that.
func (w *writer) need(units int64) {
	w.get()
	w.c.i64(units)
	w.c.op(opI64LtS, decode.OpIf, decode.BlockEmpty)
	w.store()
	w.c.i64(units)
	w.c.with(decode.OpCall, w.helper(helperRefill))
	w.load()
	w.c.op(decode.OpEnd)
}

// begin writes what comes before the first instruction.
func (w *writer) begin(units int64) {
	w.c.with(decode.OpGlobalGet, w.fuel)
	w.c.i64(units)
	w.c.op(opI64Sub)
	w.set()
	if !w.f.counts {
		if w.f.looks() {
			w.need(0)
		}
		return
	}
	w.c.with(decode.OpGlobalGet, w.stack)
	w.c.i64(w.f.frame)
	w.c.op(opI64Sub)
	w.c.with(decode.OpGlobalSet, w.stack)
	w.get()
	w.c.with(decode.OpGlobalGet, w.stack)
	w.c.op(opI64Or)
	w.c.i64(0)
	w.c.op(opI64LtS, decode.OpIf, decode.BlockEmpty)
	w.store()
	w.c.with(decode.OpCall, w.helper(helperCheck))
	w.load()
	w.c.op(decode.OpEnd)
}

// finish writes what comes after the last one.
func (w *writer) finish() {
	w.store()
	if w.f.counts {
		w.c.with(decode.OpGlobalGet, w.stack)
		w.c.i64(w.f.frame)
		w.c.op(opI64Add)
		w.c.with(decode.OpGlobalSet, w.stack)
	}
}

// function writes the code of own function n to e.out.
func (e *emitter) function(n int) error {
	r := e.body(n)
	locals, _ := e.localsOf(n, r)
	f := &e.analysis.functions[n]
	e.out = e.out[:0]
	tiny := f.tiny()
	w := &writer{emitter: e, f: f, c: &e.out, local: f.local(), counter: uint32(locals), operands: uint32(locals)}
	w.wrapped = !tiny && (w.local || f.counts)

	heads := &decode.Reader{Bytes: r.Bytes}
	groups := heads.U32()
	more := code{}
	if w.local {
		more.op(1, typeI64)
		w.operands++
		groups++
	}
	if f.copies {
		more.op(3, typeI32)
		groups++
	}
	w.c.u32(groups)
	w.c.op(r.Bytes[heads.Pos:r.Pos]...)
	w.c.op(more...)
	e.list = e.list[:0]
	if !tiny {
		e.list, e.open = e.charges(e.analysis, n, e.list, e.open)
		w.begin(e.list[0].cost)
	}
	if w.wrapped {
		w.c.op(decode.OpBlock)
		w.blockType(n)
	}
	return w.instructions(r, locals)
}

// blockType writes the type of a block with the results of function n.
func (w *writer) blockType(n int) {
	results := w.bytes(w.module.types[w.module.functions[w.importedFunctions+n]].results)
	switch len(results) {
	case 0:
		w.c.op(decode.BlockEmpty)
	case 1:
		w.c.op(results[0])
	default:
		text := binary.AppendUvarint([]byte("\x60\x00"), uint64(len(results)))
		w.c.signedIndex(w.newType(string(append(text, results...))))
	}
}

// signedIndex writes an index where a signed number is expected.
func (c *code) signedIndex(i uint32) {
	at := len(*c)
	c.signed(0, int64(i))
	*c = append((*c)[:at], (*c)[at+1:]...)
}

// instructions writes the code with charges between.
func (w *writer) instructions(r *decode.Reader, locals int) error {
	stack := append(w.open[:0], control{op: decode.OpBlock})
	defer func() { w.open = stack }()
	next := 0 // of the charges
	charged := func(at int) *charge {
		for next < len(w.list) && (w.list[next].at < at || w.list[next].gone) {
			next++
		}
		if next < len(w.list) && w.list[next].at == at {
			return &w.list[next]
		}
		return nil
	}
	start := r.Pos
	dead := false
	var i, before decode.Instruction
	for r.Err == nil && len(stack) > 0 {
		before = i
		w.next(r, locals, &i)
		if r.Err != nil {
			break
		}
		raw := r.Bytes[i.At:i.End]
		top := &stack[len(stack)-1]
		label := func(x uint32) uint32 { return uint32(w.depth - stack[len(stack)-1-int(x)].depth) }
		switch i.Op {
		case decode.OpBlock, decode.OpIf:
			w.c.op(raw...)
			w.depth++
			stack = append(stack, control{op: byte(i.Op), dead: dead, depth: w.depth})
		case decode.OpLoop:
			c := charged(i.End)
			if c == nil { // nothing runs here
				w.c.op(raw...)
				w.depth++
				stack = append(stack, control{op: decode.OpLoop, dead: dead, depth: w.depth})
				break
			}
			// The call of refill is in a loop around, so that the compiler keeps
			// values in registers in the inner one.
			w.c.op(raw...)
			w.need(c.cost)
			w.c.op(raw...)
			w.depth += 2
			stack = append(stack, control{op: decode.OpLoop, dead: dead, depth: w.depth, called: true})
			w.get()
			w.c.i64(c.cost)
			w.c.op(opI64LtS)
			w.c.with(decode.OpBrIf, 1)
			w.spend(c.cost)
		case decode.OpElse:
			dead = top.dead
			w.c.op(raw...)
		case decode.OpEnd:
			dead = top.dead
			w.c.op(decode.OpEnd)
			w.depth--
			if top.called {
				w.c.op(decode.OpEnd)
				w.depth--
			}
			stack = stack[:len(stack)-1]
		case decode.OpBr, decode.OpBrIf:
			w.c.with(byte(i.Op), label(i.X))
		case decode.OpBrTable:
			labels := r.Branches(&i)
			w.c.with(decode.OpBrTable, uint32(i.Targets))
			for range i.Targets + 1 {
				w.c.u32(label(labels.U32()))
			}
		case decode.OpReturn:
			if w.wrapped {
				w.c.with(decode.OpBr, uint32(w.depth))
			} else {
				w.c.op(decode.OpReturn)
			}
		case decode.OpCall:
			own := int(i.X) - w.importedFunctions
			quiet := dead || own >= 0 && w.analysis.functions[own].tiny()
			if !quiet {
				w.store()
			}
			w.c.with(decode.OpCall, w.shift(i.X))
			if !quiet {
				w.load()
			}
		case decode.OpCallIndirect:
			w.aside(dead, raw)
		case decode.OpRefFunc:
			w.c.with(decode.OpRefFunc, w.shift(i.X))
		case decode.OpMemoryInit, decode.OpMemoryCopy, decode.OpMemoryFill, decode.OpTableInit, decode.OpTableCopy, decode.OpTableGrow, decode.OpTableFill:
			if _, constant := sizeOf(&i, &before); dead || constant {
				w.c.op(raw...)
			} else {
				w.bulk(&i, raw)
			}
		default:
			w.c.op(raw...)
		}
		if ends(i.Op) {
			dead = true
		}
		if i.Op == decode.OpLoop || i.End == start {
			continue
		}
		if c := charged(i.End); c != nil && c.cost > 0 && len(stack) > 0 {
			w.spend(c.cost)
			if c.cost >= maxPiece {
				w.need(0)
			}
		}
	}
	if w.wrapped {
		w.finish()
		w.c.op(decode.OpEnd)
	}
	return r.Err
}

// aside writes an instruction during which others may spend units.
func (w *writer) aside(dead bool, raw []byte) {
	if !dead {
		w.store()
	}
	w.c.op(raw...)
	if !dead {
		w.load()
	}
}

// small is how much is filled or copied without a look at the counter
// afterwards, in bytes.
const small = 1024

// bulk writes an instruction whose work depends on its last operand.
func (w *writer) bulk(i *decode.Instruction, raw []byte) {
	switch i.Op {
	case decode.OpMemoryFill:
		w.copy(helperFill, raw)
		return
	case decode.OpMemoryCopy:
		w.copy(helperCopy, raw)
		return
	}
	w.store()
	if i.Op == decode.OpMemoryInit && w.dataSize(i.X) > piece {
		w.c.with(decode.OpCall, w.helperOf(helper{helperInit, i.X}))
		w.load()
		return
	}
	which := helperEntries
	if i.Op == decode.OpMemoryInit {
		which = helperBytes
	}
	w.c.with(decode.OpCall, w.helper(which))
	w.c.op(raw...)
	w.load()
}

// dataSize gives the size of a data segment in bytes.
func (m *module) dataSize(segment uint32) uint32 {
	if int64(segment) >= int64(len(m.dataSizes)) {
		return 0
	}
	return m.dataSizes[segment]
}

// copy writes a fill or copy: as it was when it is small, else a helper.
func (w *writer) copy(which int, raw []byte) {
	to, from, size := w.operands, w.operands+1, w.operands+2
	operands := func() {
		w.c.with(decode.OpLocalGet, to)
		w.c.with(decode.OpLocalGet, from)
		w.c.with(decode.OpLocalGet, size)
	}
	w.c.with(decode.OpLocalSet, size)
	w.c.with(decode.OpLocalSet, from)
	w.c.with(decode.OpLocalSet, to)
	w.c.with(decode.OpLocalGet, size)
	w.c.i32(small)
	w.c.op(opI32LeU, decode.OpIf, decode.BlockEmpty)
	w.get()
	w.c.with(decode.OpLocalGet, size)
	w.c.i32(unitShift)
	w.c.op(opI32ShrU, opI64ExtendU, opI64Sub)
	w.set()
	operands()
	w.c.op(raw...)
	w.c.op(decode.OpElse)
	w.store()
	operands()
	w.c.with(decode.OpCall, w.helper(which))
	w.load()
	w.c.op(decode.OpEnd)
}

// module writes the sections in their order.
func (e *emitter) write(o Options) ([]byte, error) {
	// The code comes first: it says which types and helpers are needed.
	bodies, err := e.code(o.maxBytes(len(e.wasm)))
	if err != nil {
		return nil, err
	}
	hidden := e.newType(importType)
	types := e.vector(sectionType, len(e.types))
	for _, t := range e.types {
		types = append(types, t...)
	}
	imports := e.vector(sectionImport, hiddenImports)
	for _, name := range []string{ImportRefill, ImportOverflow} {
		imports = appendName(appendName(imports, ImportModule), name)
		imports = append(imports, kindFunction)
		imports = binary.AppendUvarint(imports, uint64(hidden))
	}
	functions := e.vector(sectionFunction, len(e.helpers))
	for _, h := range e.helpers {
		functions = binary.AppendUvarint(functions, uint64(e.newType(helperTypes[h.which])))
	}
	globals := e.globalSection()
	out := append(make([]byte, 0, len(e.wasm)+len(bodies)/2), e.wasm[:8]...)
	for _, id := range order {
		var content []byte
		switch id {
		case sectionType:
			content = types
		case sectionImport:
			content = imports
		case sectionFunction:
			content = functions
		case sectionGlobal:
			content = globals
		case sectionTable:
			if content, err = e.tableSection(o.TableEntries); err != nil {
				return nil, err
			}
		case sectionExport:
			content = e.exportSection()
		case sectionStart:
			if s := e.again(id); s != nil {
				content = binary.AppendUvarint(nil, uint64(e.shift(s.U32())))
			}
		case sectionElement:
			content = e.elementSection()
		case sectionCode:
			content = bodies
		default:
			if s := e.section[id]; s != nil {
				content = s.Bytes
			}
		}
		if content != nil {
			out = appendSection(out, id, content)
		}
	}
	return append(append(out, e.nameSection()...), e.imageSection()...), nil
}

// code writes the section of functions.
func (e *emitter) code(most int) ([]byte, error) {
	var all []byte
	for n := range e.bodies {
		if err := e.function(n); err != nil {
			return nil, err
		}
		all = binary.AppendUvarint(all, uint64(len(e.out)))
		all = append(all, e.out...)
		if len(all) > most {
			return nil, ErrTooLarge
		}
	}
	for n := 0; n < len(e.helpers); n++ { // writing one may ask for another
		c := e.helperBody(e.helpers[n].which, e.helpers[n].segment)
		e.newType(helperTypes[e.helpers[n].which])
		all = binary.AppendUvarint(all, uint64(len(c)))
		all = append(all, c...)
	}
	return append(binary.AppendUvarint(nil, uint64(len(e.bodies)+len(e.helpers))), all...), nil
}

// again gives a reader of a section, nil when there is none.
func (e *emitter) again(id byte) *decode.Reader {
	s := e.section[id]
	if s == nil {
		return nil
	}
	return &decode.Reader{Bytes: s.Bytes, Base: s.Base}
}

// vector begins the content of a section to whose entries more are added.
func (e *emitter) vector(id byte, more int) []byte {
	r := e.again(id)
	if r == nil {
		return binary.AppendUvarint(nil, uint64(more))
	}
	n := r.U32()
	return append(binary.AppendUvarint(nil, uint64(n)+uint64(more)), r.Bytes[r.Pos:]...)
}

func (e *emitter) globalSection() []byte {
	var out []byte
	n := uint32(0)
	if r := e.again(sectionGlobal); r != nil {
		for n = r.U32(); r.Err == nil && r.Left() > 0; {
			out = append(out, r.Byte(), r.Byte())
			e.constant(r, &out)
		}
	}
	for range 2 {
		out = append(out, typeI64, 1, decode.OpI64Const, 0, decode.OpEnd)
	}
	return append(binary.AppendUvarint(nil, uint64(n)+2), out...)
}

func (e *emitter) exportSection() []byte {
	r := e.again(sectionExport)
	if r == nil {
		return nil
	}
	n := r.U32()
	out := binary.AppendUvarint(nil, uint64(n))
	for r.Err == nil && r.Left() > 0 {
		from := r.Pos
		r.Take(r.U32())
		kind := r.Byte()
		out = append(out, r.Bytes[from:r.Pos]...)
		index := r.U32()
		if kind == kindFunction {
			index = e.shift(index)
		}
		out = binary.AppendUvarint(out, uint64(index))
	}
	return out
}

func (e *emitter) elementSection() []byte {
	r := e.again(sectionElement)
	if r == nil {
		return nil
	}
	out := binary.AppendUvarint(nil, uint64(r.U32()))
	for r.Err == nil && r.Left() > 0 {
		e.element(r, &out)
	}
	return out
}

// tableSection gives every table a maximum. Those that the code grows share
// what the others leave.
func (e *emitter) tableSection(entries int) ([]byte, error) {
	s := e.section[sectionTable]
	if s == nil {
		return nil, nil
	}
	if entries == 0 {
		return s.Bytes, nil
	}
	left, growing := int64(entries), int64(0)
	for _, t := range e.tables {
		left -= int64(t.least)
		if t.growsHere {
			growing++
		}
	}
	if left < 0 {
		return nil, ErrTables
	}
	out := binary.AppendUvarint(nil, uint64(len(e.tables)))
	for _, t := range e.tables {
		most := int64(t.least)
		if t.growsHere {
			most += left / growing
		}
		if t.most >= 0 {
			most = min(most, t.most)
		}
		out = append(out, t.element, 1)
		out = binary.AppendUvarint(out, uint64(t.least))
		out = binary.AppendUvarint(out, uint64(most))
	}
	return out, nil
}

// nameSection names functions as they were, and the helpers. A section that
// cannot be read names the helpers only.
func (e *emitter) nameSection() []byte {
	var moduleName, names []byte
	count := uint32(0)
	if e.names != nil {
		r := &decode.Reader{Bytes: e.names.Bytes, Pos: e.names.Pos}
		for r.Err == nil && r.Left() > 0 {
			from := r.Pos
			id := r.Byte()
			in := r.Sub(r.U32())
			switch {
			case r.Err != nil:
			case id == 0:
				moduleName = r.Bytes[from:r.Pos]
			case id == 1:
				names, count = e.functionNames(in)
			}
		}
	}
	list := binary.AppendUvarint(nil, uint64(count)+uint64(len(e.helpers)))
	list = append(list, names...)
	for i, h := range e.helpers {
		list = binary.AppendUvarint(list, uint64(len(e.module.functions)+hiddenImports+i))
		list = appendName(list, helperNames[h.which])
	}
	content := appendName(nil, "name")
	content = append(content, moduleName...)
	content = appendSection(content, 1, list)
	return appendSection(nil, sectionCustom, content)
}

func (e *emitter) functionNames(r *decode.Reader) (names []byte, count uint32) {
	for range r.Count("function names", 2, decode.Unbounded) {
		index := r.U32()
		name := r.Take(r.U32())
		if r.Err != nil {
			return nil, 0
		}
		if int64(index) >= int64(len(e.module.functions)) {
			continue
		}
		names = binary.AppendUvarint(names, uint64(e.shift(index)))
		names = appendName(names, string(name))
		count++
	}
	return names, count
}

func appendName(b []byte, name string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(name))), name...)
}

func appendSection(b []byte, id byte, content []byte) []byte {
	b = append(b, id)
	b = binary.AppendUvarint(b, uint64(len(content)))
	return append(b, content...)
}
