package decode

import "fmt"

// The instructions that need a word of their own. Those with a prefix have it
// in the high byte.
const (
	OpUnreachable  = 0x00
	OpBlock        = 0x02
	OpLoop         = 0x03
	OpIf           = 0x04
	OpElse         = 0x05
	OpEnd          = 0x0b
	OpBr           = 0x0c
	OpBrIf         = 0x0d
	OpBrTable      = 0x0e
	OpReturn       = 0x0f
	OpCall         = 0x10
	OpCallIndirect = 0x11
	OpDrop         = 0x1a
	OpSelect       = 0x1b
	OpSelectTyped  = 0x1c
	OpLocalGet     = 0x20
	OpLocalSet     = 0x21
	OpLocalTee     = 0x22
	OpGlobalGet    = 0x23
	OpGlobalSet    = 0x24
	OpTableGet     = 0x25
	OpTableSet     = 0x26
	OpMemorySize   = 0x3f
	OpMemoryGrow   = 0x40
	OpI32Const     = 0x41
	OpI64Const     = 0x42
	OpF32Const     = 0x43
	OpF64Const     = 0x44
	OpRefNull      = 0xd0
	OpRefIsNull    = 0xd1
	OpRefFunc      = 0xd2

	OpMemoryInit = 0xfc00 + 8
	OpDataDrop   = 0xfc00 + 9
	OpMemoryCopy = 0xfc00 + 10
	OpMemoryFill = 0xfc00 + 11
	OpTableInit  = 0xfc00 + 12
	OpElemDrop   = 0xfc00 + 13
	OpTableCopy  = 0xfc00 + 14
	OpTableGrow  = 0xfc00 + 15
	OpTableSize  = 0xfc00 + 16
	OpTableFill  = 0xfc00 + 17

	OpV128Const = 0xfd00 + 12
)

// BlockEmpty is the type of a block without parameters and results.
const BlockEmpty = 0x40

// Instruction is one instruction.
type Instruction struct {
	Op      uint16
	At, End int // in Reader.Bytes
	// X and Y are the indices it names, or the label of a branch, and stand at
	// XAt and YAt. X of a constant is its value, as far as it goes.
	X, Y     uint32
	XAt, YAt int
	// Block is the type of a block: BlockEmpty or that of its one value; 0 when X
	// is the index of its type.
	Block byte
	// Targets is how many branches a br_table has besides the default; they
	// stand from XAt on, the default last.
	Targets int
}

// Next reads one instruction. There are so many types; other indices are not
// checked.
func (r *Reader) Next(types int, i *Instruction) {
	i.At = r.Pos
	op := uint16(r.Byte())
	switch {
	case op == OpBlock || op == OpLoop || op == OpIf:
		r.blockType(types, i)
	case op <= 0x01 || op == OpElse || op == OpEnd || op == OpReturn || op == OpDrop || op == OpSelect ||
		op >= 0x45 && op <= 0xc4 || op == OpRefIsNull:
		// unreachable, nop, numeric
	case op >= OpLocalGet && op <= OpTableSet || op == OpCall || op == OpBr || op == OpBrIf || op == OpRefFunc:
		i.x(r)
	case op >= 0x28 && op <= 0x3e: // loads and stores
		r.U32()
		r.U32()
	case op == OpI32Const:
		i.X = uint32(r.Signed(5)) //nolint:gosec // an i32
	case op == OpI64Const:
		r.Signed(10)
	case op == OpCallIndirect:
		i.x(r)
		i.y(r)
	case op == OpBrTable:
		i.Targets = r.Count("branches", 1, Unbounded)
		i.XAt = r.Pos
		for range i.Targets + 1 {
			r.U32()
		}
	case op == OpSelectTyped:
		if r.Byte() != 1 {
			r.FailNewer("a select of several values, which is not WebAssembly 2.0")
		}
		r.ValueType()
	case op == OpMemorySize || op == OpMemoryGrow:
		r.Zero()
	case op == OpRefNull:
		r.ReferenceType()
	case op == OpF32Const:
		r.Take(4)
	case op == OpF64Const:
		r.Take(8)
	case op == 0xfc:
		op = i.misc(r)
	case op == 0xfd:
		op = vector(r)
	default:
		r.FailNewer(fmt.Sprintf("unknown instruction 0x%02x", op))
	}
	i.Op, i.End = op, r.Pos
}

func (i *Instruction) x(r *Reader) { i.XAt = r.Pos; i.X = r.U32() }

func (i *Instruction) y(r *Reader) { i.YAt = r.Pos; i.Y = r.U32() }

func (r *Reader) blockType(types int, i *Instruction) {
	if r.Left() > 0 {
		switch first := r.Bytes[r.Pos]; {
		case first == BlockEmpty:
			r.Pos++
			i.Block = first
			return
		case first > BlockEmpty && first < 0x80: // a negative number: a type of value
			i.Block = r.ValueType()
			return
		}
	}
	i.Block = 0
	i.x(r)
	if r.Err == nil && (int64(i.X) >= int64(types) || r.Bytes[r.Pos-1]&0x40 != 0) { // the last: it is negative, too
		r.FailNewer("a block of a type that is not there")
	}
}

// misc reads what comes after 0xfc.
func (i *Instruction) misc(r *Reader) uint16 {
	number := r.U32()
	op := 0xfc00 + uint16(min(number, 0xff))
	switch {
	case number < 8: // saturating conversions
	case op == OpMemoryInit:
		i.x(r)
		r.Zero()
	case op == OpMemoryCopy:
		r.Zero()
		r.Zero()
	case op == OpMemoryFill:
		r.Zero()
	case op == OpTableInit || op == OpTableCopy:
		i.x(r)
		i.y(r)
	case op <= OpTableFill: // data.drop, elem.drop, and of tables
		i.x(r)
	default:
		r.FailNewer(fmt.Sprintf("unknown instruction 0xfc %d", number))
	}
	return op
}

// vector reads what comes after 0xfd. wazero reads one byte of the number, and
// the 1 of a longer one as an instruction that does nothing.
func vector(r *Reader) uint16 {
	number := r.Byte()
	if number >= 0x80 && r.Byte() != 1 { // in as few bytes as it takes
		r.FailNewer("a vector instruction that is not WebAssembly 2.0")
	}
	switch {
	case number <= 11 || number == 92 || number == 93: // loads and stores
		r.U32()
		r.U32()
	case number == 12 || number == 13: // v128.const, i8x16.shuffle
		r.Take(16)
	case number >= 21 && number <= 34: // lanes
		r.Byte()
	case number >= 84 && number <= 91: // loads and stores of a lane
		r.U32()
		r.U32()
		r.Byte()
	}
	return 0xfd00 + uint16(number)
}

// Branches gives a Reader of the targets of a br_table, the default last.
func (r *Reader) Branches(i *Instruction) Reader {
	return Reader{Bytes: r.Bytes[:i.End], Pos: i.XAt, Base: r.Base}
}

// NextConstant reads one instruction of a constant expression, which OpEnd ends.
func (r *Reader) NextConstant(i *Instruction) {
	const reason = "a constant expression does not end"
	if r.Left() > 0 {
		switch r.Bytes[r.Pos] {
		case OpEnd, OpI32Const, OpI64Const, OpF32Const, OpF64Const, OpGlobalGet, OpRefNull, OpRefFunc, 0xfd:
		default:
			r.Pos++
			r.FailNewer(reason)
			return
		}
	}
	if r.Next(0, i); i.Op>>8 == 0xfd && i.Op != OpV128Const {
		r.FailNewer(reason)
	}
}
