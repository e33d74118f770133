package meter

import (
	"slices"

	"github.com/wasakari/wasakari/runtime/internal/decode"
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

	typeI32  = 0x7f
	typeI64  = 0x7e
	typeV128 = 0x7b
)

// arity counts parameters and results.
type arity struct{ params, results int }

// next reads one instruction and checks its indices, but for labels.
func (m *module) next(r *decode.Reader, locals int, i *decode.Instruction) {
	r.Next(len(m.types), i)
	m.check(r, locals, i)
}

// check checks the indices of an instruction, but for labels.
func (m *module) check(r *decode.Reader, locals int, i *decode.Instruction) {
	switch i.Op {
	case decode.OpLocalGet, decode.OpLocalSet, decode.OpLocalTee:
		r.CheckIndex(i.XAt, i.X, locals, "local")
	case decode.OpCall, decode.OpRefFunc:
		r.CheckIndex(i.XAt, i.X, len(m.functions), "function")
	case decode.OpGlobalGet, decode.OpGlobalSet:
		r.CheckIndex(i.XAt, i.X, m.globals, "global")
	case decode.OpCallIndirect:
		r.CheckIndex(i.XAt, i.X, len(m.types), "type")
		r.CheckIndex(i.YAt, i.Y, m.tableCount(), "table")
	case decode.OpTableGet, decode.OpTableSet, decode.OpTableGrow, decode.OpTableSize, decode.OpTableFill:
		r.CheckIndex(i.XAt, i.X, m.tableCount(), "table")
	case decode.OpTableCopy:
		r.CheckIndex(i.XAt, i.X, m.tableCount(), "table")
		r.CheckIndex(i.YAt, i.Y, m.tableCount(), "table")
	case decode.OpTableInit:
		r.CheckIndex(i.XAt, i.X, m.elements, "element segment")
		r.CheckIndex(i.YAt, i.Y, m.tableCount(), "table")
	case decode.OpElemDrop:
		r.CheckIndex(i.XAt, i.X, m.elements, "element segment")
	case decode.OpMemoryInit, decode.OpDataDrop:
		r.CheckIndex(i.XAt, i.X, m.dataSegments(), "data segment")
	}
}

// blockArity gives the parameters and results of a block.
func (m *module) blockArity(i *decode.Instruction) arity {
	switch i.Block {
	case 0:
		return m.arity(i.X)
	case decode.BlockEmpty:
		return arity{}
	}
	return arity{results: 1}
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
	set(p, -1, 1, decode.OpIf, decode.OpIf)
	set(p, 0, 0, decode.OpEnd, decode.OpEnd)
	set(p, -1, 1, decode.OpBrIf, decode.OpBrIf)
	set(p, -1, 4, decode.OpBrTable, decode.OpBrTable)
	set(p, 0, costCall, decode.OpCall, decode.OpCall)
	set(p, -1, costIndirect, decode.OpCallIndirect, decode.OpCallIndirect)
	set(p, -1, 0, decode.OpDrop, decode.OpDrop)
	set(p, -2, 1, decode.OpSelect, decode.OpSelectTyped)
	set(p, 1, 0, decode.OpLocalGet, decode.OpLocalGet)
	set(p, -1, 0, decode.OpLocalSet, decode.OpLocalSet)
	set(p, 0, 0, decode.OpLocalTee, decode.OpLocalTee)
	set(p, 1, 1, decode.OpGlobalGet, decode.OpGlobalGet)
	set(p, -1, 1, decode.OpGlobalSet, decode.OpGlobalSet)
	set(p, 0, 3, decode.OpTableGet, decode.OpTableGet)
	set(p, -2, 3, decode.OpTableSet, decode.OpTableSet)
	set(p, -2, 1, 0x36, 0x3e) // stores
	set(p, 1, 1, decode.OpMemorySize, decode.OpMemorySize)
	set(p, 0, costGrow, decode.OpMemoryGrow, decode.OpMemoryGrow)
	set(p, 1, 0, decode.OpI32Const, decode.OpF64Const)
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
	set(p, 1, 0, decode.OpRefNull, decode.OpRefNull)
	set(p, 1, costExit, decode.OpRefFunc, decode.OpRefFunc)

	set(misc[:], 0, 3, 0, 7) // saturating conversions
	for _, op := range []int{decode.OpMemoryInit, decode.OpMemoryCopy, decode.OpMemoryFill, decode.OpTableInit, decode.OpTableCopy, decode.OpTableFill} {
		set(misc[:], -3, costBulk, op-0xfc00, op-0xfc00)
	}
	misc[decode.OpDataDrop-0xfc00] = facts{0, costExit}
	misc[decode.OpElemDrop-0xfc00] = facts{0, costExit}
	misc[decode.OpTableGrow-0xfc00] = facts{-1, costGrow}
	misc[decode.OpTableSize-0xfc00] = facts{1, 2}

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
