// Package decode reads the binary format of WebAssembly 2.0, and nothing newer:
// numbers, types and instructions. Admission and the rewriter read with it, so
// that what one of them measures is what the other rewrites.
//
// It is stricter than wazero, which reads typed references (0x63, 0x64), tables
// with an initializer (0x40), and one byte for the number of a vector
// instruction: whoever reads it in another way than the compiler does takes
// operands for instructions, and the other way round.
package decode

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// ErrNewer is what an Error matches that is about what wazero may take and is
// not WebAssembly 2.0.
var ErrNewer = errors.New("this is not WebAssembly 2.0")

// An Error says what is wrong with a module's bytes, and where.
type Error struct {
	Offset int // in the module
	Reason string
	newer  bool
}

// Error gives reason and offset.
func (e *Error) Error() string { return fmt.Sprintf("%s at byte %d", e.Reason, e.Offset) }

// Is reports ErrNewer.
func (e *Error) Is(target error) bool { return target == ErrNewer && e.newer }

// TooManyError is a count beyond its bound.
type TooManyError struct {
	What        string
	Count, Most int64
}

func (e *TooManyError) Error() string {
	return fmt.Sprintf("it has %d %s; at most %d are admitted", e.Count, e.What, e.Most)
}

// Unbounded is the bound of a count that only the bytes bound.
const Unbounded = math.MaxInt64

// Reader decodes a part of a module. The first error sticks, and what is read
// after it is zero, so loops have to look at Err.
type Reader struct {
	Bytes []byte
	Pos   int // in Bytes
	Base  int // offset of Bytes in the module
	Err   error
}

// Fail ends reading here.
func (r *Reader) Fail(reason string) { r.fail(reason, false) }

// FailNewer ends reading here for what wazero may take, see ErrNewer.
func (r *Reader) FailNewer(reason string) { r.fail(reason, true) }

func (r *Reader) fail(reason string, newer bool) {
	if r.Err == nil {
		r.Err = &Error{Offset: r.Base + r.Pos, Reason: reason, newer: newer}
	}
	r.Pos = len(r.Bytes)
}

// FailMany ends reading for a count beyond its bound.
func (r *Reader) FailMany(what string, count, most int64) {
	if r.Err == nil {
		r.Err = &TooManyError{what, count, most}
	}
	r.Pos = len(r.Bytes)
}

// Left is how many bytes there are to be read.
func (r *Reader) Left() int { return len(r.Bytes) - r.Pos }

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if r.Pos >= len(r.Bytes) {
		r.Fail("unexpected end")
		return 0
	}
	r.Pos++
	return r.Bytes[r.Pos-1]
}

// Take gives the next n bytes.
func (r *Reader) Take(n uint32) []byte {
	if int64(n) > int64(r.Left()) {
		r.Fail("a length runs past the end")
		return nil
	}
	b := r.Bytes[r.Pos:][:n]
	r.Pos += int(n)
	return b
}

// Sub gives a Reader of the next n bytes.
func (r *Reader) Sub(n uint32) *Reader {
	base := r.Base + r.Pos
	b := r.Take(n)
	return &Reader{Bytes: b, Base: base, Err: r.Err}
}

// U32 reads an unsigned number of 32 bits.
func (r *Reader) U32() uint32 {
	if r.Pos < len(r.Bytes) && r.Bytes[r.Pos] < 0x80 { // nearly always
		r.Pos++
		return uint32(r.Bytes[r.Pos-1])
	}
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		c := r.Byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if v > math.MaxUint32 {
				break
			}
			return uint32(v)
		}
	}
	r.Fail("a number is too long")
	return 0
}

// Signed reads a signed number of at most n bytes.
func (r *Reader) Signed(n int) int64 {
	var v int64
	for shift := 0; n > 0; n-- {
		c := r.Byte()
		v |= int64(c&0x7f) << shift
		shift += 7
		if c < 0x80 {
			if shift < 64 && c&0x40 != 0 {
				v |= -1 << shift
			}
			return v
		}
	}
	r.Fail("a number is too long")
	return 0
}

// ValueType reads a type of values.
func (r *Reader) ValueType() byte {
	t := r.Byte()
	switch t {
	case 0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f: // i32, i64, f32, f64, v128, funcref, externref
	default:
		r.FailNewer(fmt.Sprintf("a type of value 0x%02x, which is not WebAssembly 2.0", t))
	}
	return t
}

// ReferenceType reads funcref or externref.
func (r *Reader) ReferenceType() byte {
	t := r.Byte()
	if t != 0x70 && t != 0x6f {
		r.FailNewer(fmt.Sprintf("a type of reference 0x%02x, which is not WebAssembly 2.0", t))
	}
	return t
}

// Zero reads a byte that is kept for later versions.
func (r *Reader) Zero() {
	if r.Byte() != 0 {
		r.FailNewer("a byte that must be zero is not")
	}
}

// Limits reads the limits of a memory or table. most is -1 when there is none.
func (r *Reader) Limits() (least uint32, most int64) {
	flags := r.Byte()
	if flags > 1 {
		r.FailNewer("limits of an unknown kind (shared or 64-bit memories are not WebAssembly 2.0)")
	}
	least, most = r.U32(), -1
	if flags == 1 {
		most = int64(r.U32())
	}
	return least, most
}

// Count reads the length of a vector whose entries have at least least bytes,
// and of which most are admitted. what they are is for errors.
func (r *Reader) Count(what string, least, most int64) int {
	n := int64(r.U32())
	if n > most {
		r.FailMany(what, n, most)
		return 0
	}
	if n*least > int64(r.Left()) {
		r.Fail("there are fewer " + what + " than claimed")
		return 0
	}
	return int(n)
}

// Index reads an index below n. what it is of is for errors.
func (r *Reader) Index(n int, what string) uint32 {
	at := r.Pos
	i := r.U32()
	r.CheckIndex(at, i, n, what)
	return i
}

// CheckIndex fails when index i, which was read at a position, is not below n.
func (r *Reader) CheckIndex(at int, i uint32, n int, what string) {
	if int64(i) >= int64(n) && r.Err == nil {
		r.Pos = at
		r.Fail("no " + what + " of this index")
	}
}

// Name reads a name of at most so many bytes.
func (r *Reader) Name(most int64) string {
	n := r.U32()
	if int64(n) > most {
		r.FailMany("bytes in one name", int64(n), most)
		return ""
	}
	b := r.Take(n)
	if !utf8.Valid(b) {
		r.Fail("a name is not UTF-8")
		return ""
	}
	return string(b)
}
