package meter

import "slices"

// The instructions that need a word of their own. Those with a prefix have it
// in the high byte.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelect       = 0x1b
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2

	opMemoryInit = 0xfc00 + 8
	opDataDrop   = 0xfc00 + 9
	opMemoryCopy = 0xfc00 + 10
	opMemoryFill = 0xfc00 + 11
	opTableInit  = 0xfc00 + 12
	opElemDrop   = 0xfc00 + 13
	opTableCopy  = 0xfc00 + 14
	opTableGrow  = 0xfc00 + 15
	opTableSize  = 0xfc00 + 16
	opTableFill  = 0xfc00 + 17
)

// What the helpers are written in, besides.
const (
	opI32Eqz     = 0x45
	opI32LeU     = 0x4d
	opI32GtU     = 0x4b
	opI64LtS     = 0x53
	opI64GtU     = 0x56
	opI64LeU     = 0x58
	opI32Add     = 0x6a
	opI32Sub     = 0x6b
	opI32ShrU    = 0x76
	opI64Add     = 0x7c
	opI64Sub     = 0x7d
	opI64Or      = 0x84
	opI64Shl     = 0x86
	opI64ExtendU = 0xad
	opPrefixMisc = 0xfc

	typeI32   = 0x7f
	typeI64   = 0x7e
	typeV128  = 0x7b
	typeEmpty = 0x40 // of a block
)

// instr is one instruction.
type instr struct {
	op      uint16
	at, end int    // in the code of the function
	x, y    uint32 // indices, or the label of a branch
	block   arity  // parameters and results of a block
	n       int    // branches of a br_table, all but the default
}

// arity counts parameters and results.
type arity struct{ params, results int }

// next reads one instruction and checks its indices, but for labels.
func (m *module) next(r *reader, locals int, i *instr) {
	i.at = r.pos
	op := uint16(r.byte())
	switch {
	case op == opBlock || op == opLoop || op == opIf:
		i.block = m.blockType(r)
	case op <= 0x01 || op == opElse || op == opEnd || op == opReturn || op == opDrop || op == opSelect ||
		op >= 0x45 && op <= 0xc4 || op == opRefIsNull:
	case op == opBr || op == opBrIf:
		i.x = r.u32()
	case op == opBrTable:
		i.n = r.count(1)
		for range i.n + 1 {
			r.u32()
		}
	case op == opCall || op == opRefFunc:
		i.x = r.index(len(m.functions), "function")
	case op == opCallIndirect:
		i.x = r.index(len(m.types), "type")
		i.y = r.index(m.tableCount(), "table")
	case op == opSelectTyped:
		if r.byte() != 1 {
			r.fail("a select of several values" + newer)
		}
		r.valueType()
	case op >= opLocalGet && op <= opLocalTee:
		i.x = r.index(locals, "local")
	case op == opGlobalGet || op == opGlobalSet:
		i.x = r.index(m.globals, "global")
	case op == opTableGet || op == opTableSet:
		i.x = r.index(m.tableCount(), "table")
	case op >= 0x28 && op <= 0x3e: // loads and stores
		r.u32()
		r.u32()
	case op == opMemorySize || op == opMemoryGrow:
		r.zero()
	case op == opRefNull:
		r.referenceType()
	case op == opI32Const:
		i.x = uint32(r.signed(5))
	case op == opI64Const:
		r.signed(10)
	case op == opF32Const:
		r.take(4)
	case op == opF64Const:
		r.take(8)
	case op == opPrefixMisc:
		op = m.misc(r, i)
	case op == 0xfd:
		op = vector(r)
	default:
		r.fail("an instruction" + newer)
	}
	i.op, i.end = op, r.pos
}

func (m *module) misc(r *reader, i *instr) uint16 {
	sub := r.u32()
	if sub > 17 {
		r.fail("an instruction" + newer)
		return 0
	}
	op := 0xfc00 + uint16(sub)
	switch op {
	case opMemoryInit:
		i.x = r.index(m.dataSegments(), "data segment")
		r.zero()
	case opDataDrop:
		i.x = r.index(m.dataSegments(), "data segment")
	case opMemoryCopy:
		r.zero()
		r.zero()
	case opMemoryFill:
		r.zero()
	case opTableInit:
		i.x = r.index(m.elements, "element segment")
		i.y = r.index(m.tableCount(), "table")
	case opElemDrop:
		i.x = r.index(m.elements, "element segment")
	case opTableCopy:
		i.x = r.index(m.tableCount(), "table")
		i.y = r.index(m.tableCount(), "table")
	case opTableGrow, opTableSize, opTableFill:
		i.x = r.index(m.tableCount(), "table")
	}
	return op
}

// vector reads what comes after 0xfd. wazero reads one byte of the number, and
// the 1 of a longer one as an instruction that does nothing.
func vector(r *reader) uint16 {
	sub := r.byte()
	if sub >= 0x80 && r.byte() != 1 {
		r.fail("a vector instruction" + newer)
		return 0
	}
	switch {
	case sub <= 11 || sub == 92 || sub == 93: // loads and stores
		r.u32()
		r.u32()
	case sub == 12 || sub == 13: // v128.const, i8x16.shuffle
		r.take(16)
	case sub >= 21 && sub <= 34: // lanes
		r.byte()
	case sub >= 84 && sub <= 91: // loads and stores of a lane
		r.u32()
		r.u32()
		r.byte()
	}
	return 0xfd00 + uint16(sub)
}

func (m *module) blockType(r *reader) arity {
	at := r.pos
	if r.left() > 0 {
		switch first := r.b[r.pos]; {
		case first == typeEmpty:
			r.pos++
			return arity{}
		case first > typeEmpty && first < 0x80: // a negative number
			r.valueType()
			return arity{results: 1}
		}
	}
	t := r.u32()
	if r.err == nil && r.b[r.pos-1]&0x40 == 0 && int64(t) < int64(len(m.types)) {
		return m.arity(t)
	}
	r.pos = at
	r.fail("a type of a block" + newer)
	return arity{}
}

// facts say about an instruction by how much it changes the number of operands,
// and how many units it counts. Control instructions, calls and what has
// several types are seen to elsewhere.
type facts struct {
	grows int8
	cost  uint16
}

// Units of work. One unit is about one simple instruction of the processor.
// What becomes no instruction costs nothing: the names of values, constants,
// and the marks of structure.
const (
	costCall     = 3
	costIndirect = 16 // that of the called function included, when it is tiny
	costImport   = 50
	costLoop     = 1
	costGrow     = 1000 // a memory, a table: leaves the machine code
	costBulk     = 20
	costExit     = 50 // ref.func and the like leave the machine code
)

var plain, misc, vectors = tables()

func tables() (plain [256]facts, misc [18]facts, vectors [256]facts) {
	set := func(t []facts, grows int8, cost uint16, from, to int) {
		for i := from; i <= to; i++ {
			t[i] = facts{grows, cost}
		}
	}
	p := plain[:]
	set(p, 0, 1, 0, 255)
	set(p, 0, 0, 0x01, 0x05)
	set(p, -1, 1, opIf, opIf)
	set(p, 0, 0, opEnd, opEnd)
	set(p, -1, 1, opBrIf, opBrIf)
	set(p, -1, 4, opBrTable, opBrTable)
	set(p, 0, costCall, opCall, opCall)
	set(p, -1, costIndirect, opCallIndirect, opCallIndirect)
	set(p, -1, 0, opDrop, opDrop)
	set(p, -2, 1, opSelect, opSelectTyped)
	set(p, 1, 0, opLocalGet, opLocalGet)
	set(p, -1, 0, opLocalSet, opLocalSet)
	set(p, 0, 0, opLocalTee, opLocalTee)
	set(p, 1, 1, opGlobalGet, opGlobalGet)
	set(p, -1, 1, opGlobalSet, opGlobalSet)
	set(p, 0, 3, opTableGet, opTableGet)
	set(p, -2, 3, opTableSet, opTableSet)
	set(p, -2, 1, 0x36, 0x3e) // stores
	set(p, 1, 1, opMemorySize, opMemorySize)
	set(p, 0, costGrow, opMemoryGrow, opMemoryGrow)
	set(p, 1, 0, opI32Const, opF64Const)
	set(p, -1, 1, 0x46, 0x4f) // i32 comparisons
	set(p, -1, 1, 0x51, 0x66) // the others
	set(p, -1, 1, 0x6a, 0x78) // i32 arithmetic
	set(p, -1, 8, 0x6d, 0x70) // division
	set(p, -1, 1, 0x7c, 0x8a) // i64
	set(p, -1, 8, 0x7f, 0x82) // division
	set(p, 0, 5, 0x91, 0x91)  // f32.sqrt
	set(p, -1, 1, 0x92, 0x98) // f32
	set(p, -1, 4, 0x95, 0x95) // f32.div
	set(p, 0, 5, 0x9f, 0x9f)  // f64.sqrt
	set(p, -1, 1, 0xa0, 0xa6) // f64
	set(p, -1, 4, 0xa3, 0xa3) // f64.div
	set(p, 0, 3, 0xa8, 0xab)  // i32.trunc
	set(p, 0, 3, 0xae, 0xb1)  // i64.trunc
	set(p, 1, 0, opRefNull, opRefNull)
	set(p, 1, costExit, opRefFunc, opRefFunc)

	set(misc[:], 0, 3, 0, 7) // saturating conversions
	for _, op := range []int{opMemoryInit, opMemoryCopy, opMemoryFill, opTableInit, opTableCopy, opTableFill} {
		set(misc[:], -3, costBulk, op-0xfc00, op-0xfc00)
	}
	misc[opDataDrop-0xfc00] = facts{0, costExit}
	misc[opElemDrop-0xfc00] = facts{0, costExit}
	misc[opTableGrow-0xfc00] = facts{-1, costGrow}
	misc[opTableSize-0xfc00] = facts{1, 2}

	// Most take two vectors and give one.
	v := vectors[:]
	set(v, -1, 2, 0, 255)
	unary := []int{ // from, to: loads, splats, extract_lane, and what takes one vector
		0, 10, 15, 22, 24, 25, 27, 27, 29, 29, 31, 31, 33, 33, 77, 77, 83, 83, 92, 100, 103, 106, 116, 117, 122, 122,
		124, 129, 131, 132, 135, 138, 148, 148, 160, 161, 163, 164, 167, 170, 192, 193, 195, 196, 199, 202,
		224, 225, 227, 227, 236, 237, 239, 239, 248, 255,
	}
	for span := range slices.Chunk(unary, 2) {
		set(v, 0, 2, span[0], span[1])
	}
	set(v, -2, 2, 11, 11) // v128.store
	set(v, 1, 1, 12, 12)  // v128.const
	set(v, -2, 2, 82, 82) // bitselect
	set(v, -2, 2, 88, 91) // store of a lane
	set(v, 0, 10, 98, 98) // popcnt
	set(v, -1, 10, 139, 141)
	set(v, -1, 10, 107, 109) // shifts of bytes
	set(v, -1, 10, 213, 213) // i64x2.mul
	set(v, 0, 10, 227, 227)
	set(v, -1, 10, 231, 231)
	set(v, 0, 10, 239, 239)
	set(v, -1, 10, 243, 243)
	set(v, 0, 10, 248, 255) // conversions
	return plain, misc, vectors
}

// factsOf gives the facts about an instruction.
func factsOf(op uint16) facts {
	switch op >> 8 {
	case 0xfc:
		return misc[op&0xff]
	case 0xfd:
		return vectors[op&0xff]
	}
	return plain[op&0xff]
}
