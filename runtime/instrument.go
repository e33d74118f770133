package runtime

import (
	"encoding/binary"
	"fmt"

	"github.com/tetratelabs/wazero"
)

// instrumenter makes guests interruptible. Metering will take its place.
type instrumenter interface {
	// instrument gives the module to compile in place of the original, which
	// is valid, within the bounds of complexity, and measured.
	instrument(wasm []byte, l *layout) ([]byte, error)
	// configure sets how the module is compiled.
	configure(cfg wazero.RuntimeConfig) wazero.RuntimeConfig
}

// interruptible lets wazero look at the context at the head of every loop. To
// stop recursion too, which needs no loop, each function that calls another
// gets an empty one at its beginning.
//
// It is slow, 7 to 22 times slower than bare code, and a memory.fill or
// memory.copy, which is one instruction, is not interrupted.
type interruptible struct{}

func (interruptible) configure(cfg wazero.RuntimeConfig) wazero.RuntimeConfig {
	return cfg.WithCloseOnContextDone(true)
}

// emptyLoop is loop end, without parameters and results.
const emptyLoop = "\x03\x40\x0b"

func (interruptible) instrument(wasm []byte, l *layout) ([]byte, error) {
	if len(l.bodies) == 0 {
		return wasm, nil
	}
	section := binary.AppendUvarint(nil, uint64(len(l.bodies)))
	for i, b := range l.bodies {
		if b.code < b.offset || b.code > b.offset+b.size {
			return nil, fmt.Errorf("function %d was not measured", l.importedFunctions+i)
		}
		locals, code := wasm[b.offset:b.code], wasm[b.code:b.offset+b.size]
		look := emptyLoop
		if !b.calls {
			look = ""
		}
		section = binary.AppendUvarint(section, uint64(len(locals))+uint64(len(look))+uint64(len(code)))
		section = append(section, locals...)
		section = append(section, look...)
		section = append(section, code...)
	}
	out := make([]byte, 0, len(wasm)+len(section)-(l.codeEnd-l.codeStart)+16)
	out = append(out, wasm[:l.codeStart]...)
	out = append(out, codeSection)
	out = binary.AppendUvarint(out, uint64(len(section)))
	out = append(out, section...)
	return append(out, wasm[l.codeEnd:]...), nil
}
