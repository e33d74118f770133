// Package meter rewrites WebAssembly modules so that they count what they do:
// work in units of about one simple instruction, and the bytes of their call
// stack. It reads core 2.0 modules and nothing newer.
//
// Two hidden globals hold what is left of both. Each block of code takes its
// units when it begins: an instruction counts one, division and the like more,
// names of values, constants and marks of structure nothing; filling and
// copying one more for four bytes. Never too little is taken, and up to 20 too
// much where a short block is taken along with the one before it. At the heads
// of loops, and of functions that may be called again and again without one, a
// counter below zero makes the guest call [ImportRefill]. What a run takes does
// not depend on how much it is given at once.
//
// Functions that may come to call themselves take the bound of their frame from
// the stack, and give it back at their end; what may hang below without
// counting is part of it. [ImportOverflow] is called when nothing is left.
//
// memory.fill, memory.copy and memory.init are done in pieces of at most 1 MiB,
// each paid for first; a trap comes before anything is written, as it must.
package meter

import (
	"errors"

	"github.com/wasakari/wasakari/runtime/internal/decode"
)

// An Error says what is wrong with a module's bytes, and where.
type Error = decode.Error

// The functions that a rewritten module imports besides its own imports.
const (
	ImportModule = "wasakari_meter"
	// ImportRefill has no parameters and gives an i64: how many units to add to
	// the counter. It is called when the counter is below zero, or too low for
	// what comes next, and again until there are enough.
	ImportRefill = "refill"
	// ImportOverflow has no parameters and gives an i64: how many bytes to add
	// to what is left of the stack. It is called when less than zero are left,
	// which is so at the beginning.
	ImportOverflow = "overflow"
)

// The hidden globals, counted from the last global of the module, which is 0.
const (
	GlobalStack = 0 // bytes of stack that are left
	GlobalUnits = 1 // units that are left
)

// Options say how a module is rewritten. The zero value is usable.
type Options struct {
	// TableEntries bounds the entries of all tables together: each table gets a
	// maximum. 0 leaves tables as they are.
	TableEntries int
	// MergeData makes few data segments of many. What memory holds after
	// instantiation stays the same.
	MergeData bool
	// ImageBytes takes the data that memory begins with out of the module when it
	// is at least so many bytes, lies together, and MergeData could merge it: see
	// ImageOf. 0 leaves it in the module.
	ImageBytes int
	// MaxBytes bounds the code that is made. Defaults to eight times the module
	// and 1 MiB.
	MaxBytes int
}

func (o Options) maxBytes(wasm int) int {
	if o.MaxBytes > 0 {
		return o.MaxBytes
	}
	return 8*wasm + 1<<20
}

// What is refused although it is valid.
var (
	ErrTooLarge = errors.New("the code grows too much when it is metered")
	ErrNewer    = decode.ErrNewer // not WebAssembly 2.0, and wazero may take it
	ErrTables   = errors.New("the tables have more entries than allowed")
)

// Rewrite gives the module that counts. The same bytes and options give the
// same bytes. wasm must be valid; what is not may be refused with an *Error,
// and whatever is returned touches no counter but by what was put in.
func Rewrite(wasm []byte, o Options) ([]byte, error) {
	m, err := parse(wasm)
	if err != nil {
		return nil, err
	}
	a, err := m.analyse()
	if err != nil {
		return nil, err
	}
	if o.MergeData {
		m.mergeData(o.ImageBytes)
	}
	e := &emitter{
		module: m, analysis: a,
		fuel: uint32(m.globals), stack: uint32(m.globals) + 1,
		typeOf: map[string]uint32{}, helperAt: map[helper]uint32{},
	}
	return e.write(o)
}
