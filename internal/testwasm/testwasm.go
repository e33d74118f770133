// Package testwasm holds the golden modules: guests in the text format, good
// and hostile ones, each with a comment that says what it proves. build.sh
// rebuilds the .wasm beside them.
//
// All modules list one task with the key Key.
package testwasm

import (
	"embed"
	"fmt"
)

// Key is the key of the task that every module lists.
const Key = "task"

// FS holds the modules, by the name of their source with .wasm.
//
//go:embed *.wasm
var FS embed.FS

// Module gives the bytes of a module by the name of its source without the
// ending. It panics for an unknown name, which is a mistake of the test.
func Module(name string) []byte {
	b, err := FS.ReadFile(name + ".wasm")
	if err != nil {
		panic(fmt.Sprintf("testwasm: %v", err))
	}
	return b
}
