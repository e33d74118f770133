package meter

import (
	"encoding/binary"

	"github.com/wasakari/wasakari/runtime/internal/decode"
)

// code is a piece of a function in the making.
type code []byte

func (c *code) op(ops ...byte) { *c = append(*c, ops...) }

func (c *code) u32(v uint32) { *c = binary.AppendUvarint(*c, uint64(v)) }

// with writes an instruction with an index.
func (c *code) with(op byte, index uint32) {
	c.op(op)
	c.u32(index)
}

func (c *code) signed(op byte, v int64) {
	c.op(op)
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			c.op(b)
			return
		}
		c.op(b | 0x80)
	}
}

func (c *code) i32(v int64) { c.signed(decode.OpI32Const, v) }

func (c *code) i64(v int64) { c.signed(decode.OpI64Const, v) }

// look calls refill when the counter is below zero.
func (e *emitter) look(c *code) {
	c.with(decode.OpGlobalGet, e.fuel)
	c.i64(0)
	c.op(opI64LtS, decode.OpIf, decode.BlockEmpty)
	c.i64(0)
	c.with(decode.OpCall, e.helper(helperRefill))
	c.op(decode.OpEnd)
}

// The helpers, in the order of their functions. memory.init has one for each
// large data segment, after these.
const (
	helperRefill = iota
	helperCheck
	helperBytes
	helperEntries
	helperFill
	helperCopy
	helperInit
)

// How helpers are named in stack traces.
const helperPrefix = ImportModule + "."

var helperNames = [...]string{
	helperRefill:  helperPrefix + "refill",
	helperCheck:   helperPrefix + "check",
	helperBytes:   helperPrefix + "bytes",
	helperEntries: helperPrefix + "entries",
	helperFill:    "memory.fill",
	helperCopy:    "memory.copy",
	helperInit:    "memory.init",
}

// piece is how much memory is filled or copied at once, in bytes, and how many
// of them count one unit.
const (
	piece        = 1 << 20
	unitShift    = 2
	bytesPerUnit = 1 << unitShift
	maxEntries   = 1 << 16
)

// types are those of the helpers and hidden imports.
var helperTypes = [...]string{
	helperRefill:  "\x60\x01\x7e\x00",         // i64 -> ()
	helperCheck:   "\x60\x00\x00",             // () -> ()
	helperBytes:   "\x60\x01\x7f\x01\x7f",     // i32 -> i32
	helperEntries: "\x60\x01\x7f\x01\x7f",     // i32 -> i32
	helperFill:    "\x60\x03\x7f\x7f\x7f\x00", // i32, i32, i32 -> ()
	helperCopy:    "\x60\x03\x7f\x7f\x7f\x00",
	helperInit:    "\x60\x03\x7f\x7f\x7f\x00",
}

const importType = "\x60\x00\x01\x7e" // () -> i64

// helperBody writes the code of a helper, its locals first.
func (e *emitter) helperBody(which int, segment uint32) code {
	switch which {
	case helperRefill:
		return e.refillBody()
	case helperCheck:
		return e.checkBody()
	case helperBytes:
		return e.chargeBody(piece, unitShift)
	case helperEntries:
		return e.chargeBody(maxEntries, 0)
	}
	return e.pieces(which, segment)
}

// refillBody asks for units until there are as many as the argument says.
func (e *emitter) refillBody() code {
	var c code
	c.op(0) // no locals
	c.op(decode.OpLoop, decode.BlockEmpty)
	c.with(decode.OpCall, e.importRefill())
	c.with(decode.OpGlobalGet, e.fuel)
	c.op(opI64Add)
	c.with(decode.OpGlobalSet, e.fuel)
	c.with(decode.OpGlobalGet, e.fuel)
	c.with(decode.OpLocalGet, 0)
	c.op(opI64LtS)
	c.with(decode.OpBrIf, 0)
	c.op(decode.OpEnd, decode.OpEnd)
	return c
}

// checkBody is what functions that count their stack call when one of the
// counters is below zero.
func (e *emitter) checkBody() code {
	var c code
	c.op(0)
	c.with(decode.OpGlobalGet, e.stack)
	c.i64(0)
	c.op(opI64LtS, decode.OpIf, decode.BlockEmpty)
	c.op(decode.OpLoop, decode.BlockEmpty)
	c.with(decode.OpCall, e.importOverflow())
	c.with(decode.OpGlobalGet, e.stack)
	c.op(opI64Add)
	c.with(decode.OpGlobalSet, e.stack)
	c.with(decode.OpGlobalGet, e.stack)
	c.i64(0)
	c.op(opI64LtS)
	c.with(decode.OpBrIf, 0)
	c.op(decode.OpEnd, decode.OpEnd)
	e.look(&c)
	c.op(decode.OpEnd)
	return c
}

// atMost leaves the smaller of a local and a constant.
func atMost(c *code, local uint32, most int64) {
	c.with(decode.OpLocalGet, local)
	c.i32(most)
	c.with(decode.OpLocalGet, local)
	c.i32(most)
	c.op(opI32LeU, decode.OpSelect)
}

// spendLocal takes units as a local says, shifted to the right.
func (e *emitter) spendLocal(c *code, local uint32, shift int64) {
	c.with(decode.OpGlobalGet, e.fuel)
	c.with(decode.OpLocalGet, local)
	c.i32(shift)
	c.op(opI32ShrU, opI64ExtendU, opI64Sub)
	c.with(decode.OpGlobalSet, e.fuel)
	e.look(c)
}

// chargeBody charges for what its argument says and gives it back. What is
// beyond most traps afterwards, or was never there.
func (e *emitter) chargeBody(most, shift int64) code {
	c := code{1, 1, typeI32}
	atMost(&c, 0, most)
	c.with(decode.OpLocalSet, 1)
	e.spendLocal(&c, 1, shift)
	c.with(decode.OpLocalGet, 0)
	c.op(decode.OpEnd)
	return c
}

// pieces fills, copies or initializes memory in pieces. Its arguments are
// those of the instruction: where to, what or where from, how much. When that
// is outside memory, the instruction itself traps, before it wrote anything.
func (e *emitter) pieces(which int, segment uint32) code {
	const to, from, size, now = 0, 1, 2, 3
	native := func(c *code) {
		switch which {
		case helperFill:
			c.op(opPrefixMisc, decode.OpMemoryFill&0xff, 0)
		case helperCopy:
			c.op(opPrefixMisc, decode.OpMemoryCopy&0xff, 0, 0)
		default:
			c.op(opPrefixMisc, decode.OpMemoryInit&0xff)
			c.u32(segment)
			c.op(0)
		}
	}
	// end leaves where an argument and the size lead, without wrapping around.
	end := func(c *code, local uint32) {
		c.with(decode.OpLocalGet, local)
		c.op(opI64ExtendU)
		c.with(decode.OpLocalGet, size)
		c.op(opI64ExtendU, opI64Add)
	}
	memory := func(c *code) {
		c.op(decode.OpMemorySize, 0, opI64ExtendU)
		c.i64(16)
		c.op(opI64Shl)
	}
	plus := func(c *code, local, other uint32) {
		c.with(decode.OpLocalGet, local)
		c.with(decode.OpLocalGet, other)
		c.op(opI32Add)
	}
	next := func(c *code) { // how much is done now, and paid for
		atMost(c, size, piece)
		c.with(decode.OpLocalSet, now)
		e.spendLocal(c, now, unitShift)
	}

	c := code{1, 1, typeI32}
	// What fits a piece needs no look ahead.
	c.op(decode.OpBlock, decode.BlockEmpty)
	c.with(decode.OpLocalGet, size)
	c.i32(piece)
	c.op(opI32LeU)
	c.with(decode.OpBrIf, 0)
	c.op(decode.OpBlock, decode.BlockEmpty)
	end(&c, to)
	memory(&c)
	c.op(opI64GtU)
	c.with(decode.OpBrIf, 0)
	switch which {
	case helperFill:
		c.with(decode.OpBr, 1)
	case helperCopy:
		end(&c, from)
		memory(&c)
		c.op(opI64LeU)
		c.with(decode.OpBrIf, 1)
	default:
		end(&c, from)
		c.i64(0xffffffff)
		c.op(opI64GtU)
		c.with(decode.OpBrIf, 0)
		// Nothing of what is at the end: traps when the segment is shorter.
		c.i32(0)
		plus(&c, from, size)
		c.i32(0)
		native(&c)
		c.with(decode.OpBr, 1)
	}
	c.op(decode.OpEnd)
	c.with(decode.OpLocalGet, to)
	c.with(decode.OpLocalGet, from)
	c.with(decode.OpLocalGet, size)
	native(&c)
	c.op(decode.OpUnreachable, decode.OpEnd)

	if which == helperCopy { // what overlaps is copied from the far end
		c.with(decode.OpLocalGet, to)
		c.with(decode.OpLocalGet, from)
		c.op(opI32GtU, decode.OpIf, decode.BlockEmpty, decode.OpLoop, decode.BlockEmpty)
		next(&c)
		c.with(decode.OpLocalGet, size)
		c.with(decode.OpLocalGet, now)
		c.op(opI32Sub)
		c.with(decode.OpLocalSet, size)
		plus(&c, to, size)
		plus(&c, from, size)
		c.with(decode.OpLocalGet, now)
		native(&c)
		c.with(decode.OpLocalGet, size)
		c.with(decode.OpBrIf, 0)
		c.op(decode.OpEnd, decode.OpReturn, decode.OpEnd)
	}
	c.op(decode.OpLoop, decode.BlockEmpty)
	next(&c)
	c.with(decode.OpLocalGet, to)
	c.with(decode.OpLocalGet, from)
	c.with(decode.OpLocalGet, now)
	native(&c)
	plus(&c, to, now)
	c.with(decode.OpLocalSet, to)
	if which != helperFill {
		plus(&c, from, now)
		c.with(decode.OpLocalSet, from)
	}
	c.with(decode.OpLocalGet, size)
	c.with(decode.OpLocalGet, now)
	c.op(opI32Sub)
	c.with(decode.OpLocalTee, size)
	c.with(decode.OpBrIf, 0)
	c.op(decode.OpEnd, decode.OpEnd)
	return c
}
