package decode_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/wasakari/wasakari/runtime/internal/decode"
)

// What is read, or why not, and where reading stands then.
func TestReader(t *testing.T) {
	u32 := func(r *decode.Reader) any { return r.U32() }
	i32 := func(r *decode.Reader) any { return r.Signed(5) }
	i64 := func(r *decode.Reader) any { return r.Signed(10) }
	count := func(r *decode.Reader) any { return r.Count("things", 2, 3) }
	name := func(r *decode.Reader) any { return r.Name(3) }
	index := func(r *decode.Reader) any { return r.Index(300, "thing") }
	limits := func(r *decode.Reader) any { least, most := r.Limits(); return fmt.Sprint(least, " ", most) }
	sub := func(r *decode.Reader) any { s := r.Sub(r.U32()); s.Byte(); r.Err = s.Err; return s.Base }
	tests := []struct {
		name, bytes string
		read        func(r *decode.Reader) any
		want        any
		err         string
		newer       bool
	}{
		{name: "small number", bytes: "\x7f", read: u32, want: uint32(127)},
		{name: "largest number", bytes: "\xff\xff\xff\xff\x0f", read: u32, want: uint32(math.MaxUint32)},
		{name: "zero in five bytes", bytes: "\x80\x80\x80\x80\x00", read: u32, want: uint32(0)},
		{name: "33 bits", bytes: "\xff\xff\xff\xff\x1f", read: u32, want: uint32(0), err: "a number is too long at byte 105"},
		{name: "six bytes", bytes: "\x80\x80\x80\x80\x80\x00", read: u32, want: uint32(0), err: "a number is too long at byte 105"},
		{name: "half a number", bytes: "\x80", read: u32, want: uint32(0), err: "unexpected end at byte 101"},
		{name: "minus one", bytes: "\x7f", read: i32, want: int64(-1)},
		{name: "smallest i32", bytes: "\x80\x80\x80\x80\x78", read: i32, want: int64(math.MinInt32)},
		{name: "smallest i64", bytes: "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f", read: i64, want: int64(math.MinInt64)},
		{name: "i32 in six bytes", bytes: "\x80\x80\x80\x80\x80\x00", read: i32, want: int64(0), err: "a number is too long at byte 105"},
		{name: "vector", bytes: "\x02abcd", read: count, want: 2},
		{name: "vector that is too short", bytes: "\x02abc", read: count, want: 0, err: "there are fewer things than claimed at byte 101"},
		{name: "vector that is too long", bytes: "\x04abcdefgh", read: count, want: 0, err: "it has 4 things; at most 3 are admitted"},
		{name: "name", bytes: "\x03\xe2\x82\xac", read: name, want: "€"},
		{name: "name that is too long", bytes: "\x04abcd", read: name, want: "", err: "it has 4 bytes in one name; at most 3 are admitted"},
		{name: "name that is cut off", bytes: "\x03ab", read: name, want: "", err: "a length runs past the end at byte 101"},
		{name: "name that is no text", bytes: "\x01\xff", read: name, want: "", err: "a name is not UTF-8 at byte 102"},
		{name: "index", bytes: "\xab\x02", read: index, want: uint32(299)},
		{name: "index of nothing", bytes: "\xac\x02", read: index, want: uint32(300), err: "no thing of this index at byte 100"},
		{name: "limits", bytes: "\x01\x02\x03", read: limits, want: "2 3"},
		{name: "limits without a maximum", bytes: "\x00\x02\x03", read: limits, want: "2 -1"},
		{name: "limits of shared memory", bytes: "\x03\x02\x03", read: limits, want: "0 -1", err: "limits of an unknown kind (shared or 64-bit memories are not WebAssembly 2.0) at byte 101", newer: true},
		{name: "part", bytes: "\x01a", read: sub, want: 101},
		{name: "empty part", bytes: "\x00a", read: sub, want: 101, err: "unexpected end at byte 101"},
		{name: "reference", bytes: "\x6f", read: func(r *decode.Reader) any { return r.ReferenceType() }, want: byte(0x6f)},
		{name: "no reference", bytes: "\x7f", read: func(r *decode.Reader) any { return r.ReferenceType() }, want: byte(0x7f), err: "a type of reference 0x7f, which is not WebAssembly 2.0 at byte 101", newer: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &decode.Reader{Bytes: []byte(tt.bytes), Base: 100}
			if got := tt.read(r); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			checkError(t, r.Err, tt.err, tt.newer)
		})
	}
}

func checkError(t *testing.T, err error, want string, newer bool) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want || errors.Is(err, decode.ErrNewer) != newer {
		t.Errorf("error\n got %q, newer %t\nwant %q, newer %t", got, errors.Is(err, decode.ErrNewer), want, newer)
	}
}

// One instruction of each form, and what is not of WebAssembly 2.0. Three types
// are there.
func TestInstruction(t *testing.T) {
	tests := []struct {
		name, bytes string
		want        decode.Instruction // At and End apart
		err         string
		newer       bool
	}{
		{name: "nop", bytes: "\x01", want: decode.Instruction{Op: 0x01}},
		{name: "i64.extend32_s", bytes: "\xc4", want: decode.Instruction{Op: 0xc4}},
		{name: "local.get", bytes: "\x20\x81\x01", want: decode.Instruction{Op: decode.OpLocalGet, X: 129, XAt: 1}},
		{name: "i32.const", bytes: "\x41\x7f", want: decode.Instruction{Op: decode.OpI32Const, X: math.MaxUint32}},
		{name: "i64.const", bytes: "\x42\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f", want: decode.Instruction{Op: decode.OpI64Const}},
		{name: "f64.const", bytes: "\x4412345678", want: decode.Instruction{Op: decode.OpF64Const}},
		{name: "i32.load", bytes: "\x28\x02\x80\x01", want: decode.Instruction{Op: 0x28}},
		{name: "block", bytes: "\x02\x40", want: decode.Instruction{Op: decode.OpBlock, Block: decode.BlockEmpty}},
		{name: "loop of a value", bytes: "\x03\x7b", want: decode.Instruction{Op: decode.OpLoop, Block: 0x7b}},
		{name: "if of a type", bytes: "\x04\x02", want: decode.Instruction{Op: decode.OpIf, X: 2, XAt: 1}},
		{name: "if of no type", bytes: "\x04\x03", want: decode.Instruction{Op: decode.OpIf, X: 3, XAt: 1}, err: "a block of a type that is not there at byte 2", newer: true},
		{name: "block of a negative type", bytes: "\x02\xc0\x7f", want: decode.Instruction{Op: decode.OpBlock, X: 0x3fc0, XAt: 1}, err: "a block of a type that is not there at byte 3", newer: true},
		{name: "br_table", bytes: "\x0e\x02\x00\x81\x01\x05", want: decode.Instruction{Op: decode.OpBrTable, Targets: 2, XAt: 2}},
		{name: "br_table that is too short", bytes: "\x0e\x02\x00", want: decode.Instruction{Op: decode.OpBrTable, XAt: 3}, err: "there are fewer branches than claimed at byte 2"},
		{name: "call_indirect", bytes: "\x11\x81\x01\x02", want: decode.Instruction{Op: decode.OpCallIndirect, X: 129, XAt: 1, Y: 2, YAt: 3}},
		{name: "select of a type", bytes: "\x1c\x01\x7f", want: decode.Instruction{Op: decode.OpSelectTyped}},
		{name: "select of two types", bytes: "\x1c\x02\x7f\x7f", want: decode.Instruction{Op: decode.OpSelectTyped}, err: "a select of several values, which is not WebAssembly 2.0 at byte 2", newer: true},
		{name: "memory.init", bytes: "\xfc\x08\x05\x00", want: decode.Instruction{Op: decode.OpMemoryInit, X: 5, XAt: 2}},
		{name: "memory.init of memory 1", bytes: "\xfc\x08\x05\x01", want: decode.Instruction{Op: decode.OpMemoryInit, X: 5, XAt: 2}, err: "a byte that must be zero is not at byte 4", newer: true},
		{name: "memory.copy", bytes: "\xfc\x0a\x00\x00", want: decode.Instruction{Op: decode.OpMemoryCopy}},
		{name: "memory.fill", bytes: "\xfc\x0b\x00", want: decode.Instruction{Op: decode.OpMemoryFill}},
		{name: "table.copy", bytes: "\xfc\x0e\x03\x04", want: decode.Instruction{Op: decode.OpTableCopy, X: 3, XAt: 2, Y: 4, YAt: 3}},
		{name: "table.grow", bytes: "\xfc\x0f\x03", want: decode.Instruction{Op: decode.OpTableGrow, X: 3, XAt: 2}},
		{name: "number of two bytes", bytes: "\xfc\x8f\x00\x03", want: decode.Instruction{Op: decode.OpTableGrow, X: 3, XAt: 3}},
		{name: "0xfc 18", bytes: "\xfc\x12", want: decode.Instruction{Op: 0xfc12}, err: "unknown instruction 0xfc 18 at byte 2", newer: true},
		{name: "0xfc 2^32-1", bytes: "\xfc\xff\xff\xff\xff\x0f", want: decode.Instruction{Op: 0xfcff}, err: "unknown instruction 0xfc 4294967295 at byte 6", newer: true},
		{name: "v128.const", bytes: "\xfd\x0c0123456789abcdef", want: decode.Instruction{Op: decode.OpV128Const}},
		{name: "v128.load8_lane", bytes: "\xfd\x54\x00\x00\x01", want: decode.Instruction{Op: 0xfd54}},
		{name: "i16x8.abs", bytes: "\xfd\x80\x01", want: decode.Instruction{Op: 0xfd80}},
		{name: "i16x8.abs in three bytes", bytes: "\xfd\x80\x81\x00", want: decode.Instruction{Op: 0xfd80}, err: "a vector instruction that is not WebAssembly 2.0 at byte 3", newer: true},
		{name: "return_call", bytes: "\x12\x00", want: decode.Instruction{Op: 0x12}, err: "unknown instruction 0x12 at byte 1", newer: true},
		{name: "nothing", err: "unexpected end at byte 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &decode.Reader{Bytes: []byte(tt.bytes)}
			var got decode.Instruction
			r.Next(3, &got)
			tt.want.End = len(tt.bytes)
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			checkError(t, r.Err, tt.err, tt.newer)
		})
	}
}

func TestConstant(t *testing.T) {
	for bytes, want := range map[string]string{
		"\x41\x05\x0b":         "",
		"\x23\x00\x0b":         "",
		"\xd2\x00\x0b":         "",
		"\x41\x05\x41\x05\x6a": "a constant expression does not end at byte 5",
		"\x10\x00\x0b":         "a constant expression does not end at byte 1",
		"\xfd\x0f\x0b":         "a constant expression does not end at byte 2",
		"\xfc\x08\x00":         "a constant expression does not end at byte 1",
		"\x41\x05":             "unexpected end at byte 2",
	} {
		r := &decode.Reader{Bytes: []byte(bytes)}
		for i := (decode.Instruction{}); r.Err == nil && i.Op != decode.OpEnd; {
			r.NextConstant(&i)
		}
		checkError(t, r.Err, want, want != "" && want != "unexpected end at byte 2")
	}
}

// FuzzInstructions reads whatever bytes: nothing panics, each instruction is of
// a byte at least, and the branches of a br_table are where they are said to be.
func FuzzInstructions(f *testing.F) {
	for _, seed := range []string{"\x20\x00\x41\x7f\x6a\x0b", "\x02\x40\x0e\x01\x00\x00\x0b", "\xfc\x0a\x00\x00", "\xfd\x80\x01", "\x11\x80\x01\x00", "\x0e\xff\xff\xff\xff\x0f"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, wasm []byte) {
		r := &decode.Reader{Bytes: wasm}
		var i decode.Instruction
		for at := 0; r.Left() > 0 && r.Err == nil; at = r.Pos {
			r.Next(3, &i)
			if i.At != at || i.End != r.Pos || r.Pos <= at || r.Pos > len(wasm) {
				t.Fatalf("%+v at byte %d, then byte %d of %d", i, at, r.Pos, len(wasm))
			}
			if r.Err == nil && i.Op == decode.OpBrTable {
				labels := r.Branches(&i)
				for range i.Targets + 1 {
					labels.U32()
				}
				if labels.Err != nil || labels.Left() != 0 {
					t.Fatalf("%+v: %v, %d bytes are left", i, labels.Err, labels.Left())
				}
			}
		}
	})
}
