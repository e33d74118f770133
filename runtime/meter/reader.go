package meter

import (
	"fmt"
	"strings"
)

// An Error says what is wrong with a module's bytes, and where.
type Error struct {
	Offset int // in the module
	Reason string
}

// Error gives reason and offset.
func (e *Error) Error() string { return fmt.Sprintf("%s at byte %d", e.Reason, e.Offset) }

// Is reports ErrNewer for what wazero may take and is not WebAssembly 2.0.
func (e *Error) Is(target error) bool {
	return target == ErrNewer && strings.HasSuffix(e.Reason, newer)
}

// reader decodes a part of a module. The first error sticks, and what is read
// after it is zero, so loops have to look at err.
type reader struct {
	b    []byte
	pos  int
	base int // offset of b in the module
	err  error
}

func (r *reader) fail(reason string) {
	if r.err == nil {
		r.err = &Error{r.base + r.pos, reason}
	}
	r.pos = len(r.b)
}

func (r *reader) left() int { return len(r.b) - r.pos }

func (r *reader) byte() byte {
	if r.pos >= len(r.b) {
		r.fail("unexpected end")
		return 0
	}
	r.pos++
	return r.b[r.pos-1]
}

// take gives the next n bytes.
func (r *reader) take(n uint32) []byte {
	if int64(n) > int64(r.left()) {
		r.fail("a length runs past the end")
		return nil
	}
	b := r.b[r.pos:][:n]
	r.pos += int(n)
	return b
}

// sub gives a reader of the next n bytes.
func (r *reader) sub(n uint32) *reader {
	base := r.base + r.pos
	return &reader{b: r.take(n), base: base, err: r.err}
}

func (r *reader) u32() uint32 {
	if r.pos < len(r.b) && r.b[r.pos] < 0x80 { // nearly always
		r.pos++
		return uint32(r.b[r.pos-1])
	}
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if v > 0xffffffff {
				break
			}
			return uint32(v)
		}
	}
	r.fail("a number is too long")
	return 0
}

// signed reads a signed number of at most n bytes.
func (r *reader) signed(n int) int64 {
	var v int64
	for shift := 0; n > 0; n-- {
		c := r.byte()
		v |= int64(c&0x7f) << shift
		shift += 7
		if c < 0x80 {
			if shift < 64 && c&0x40 != 0 {
				v |= -1 << shift
			}
			return v
		}
	}
	r.fail("a number is too long")
	return 0
}

// newer ends the words about what wazero may take, and we do not: whoever
// reads it in another way than the compiler takes operands for instructions.
const newer = " that is not WebAssembly 2.0"

// valueType reads a type of values.
func (r *reader) valueType() byte {
	t := r.byte()
	switch t {
	case 0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f: // i32, i64, f32, f64, v128, funcref, externref
	default:
		r.fail("a type" + newer)
	}
	return t
}

func (r *reader) referenceType() byte {
	t := r.byte()
	if t != 0x70 && t != 0x6f { // funcref, externref
		r.fail("a type of reference" + newer)
	}
	return t
}

// zero reads a byte that is kept for later versions.
func (r *reader) zero() {
	if r.byte() != 0 {
		r.fail("a byte" + newer)
	}
}

// count reads the length of a vector whose entries have at least least bytes.
func (r *reader) count(least int) int {
	n := r.u32()
	if int64(n)*int64(least) > int64(r.left()) {
		r.fail("a vector runs past the end")
		return 0
	}
	return int(n)
}

// index reads an index below n.
func (r *reader) index(n int, what string) uint32 {
	at := r.pos
	i := r.u32()
	if int64(i) >= int64(n) && r.err == nil {
		r.pos = at
		r.fail("no " + what + " of this index")
		return 0
	}
	return i
}
