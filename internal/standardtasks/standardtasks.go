// Package standardtasks holds the standard tasks as the module that
// make standard builds from tasks-examples/standard.
package standardtasks

import _ "embed"

//go:embed standard.wasm
var module []byte

// Module is the module of the standard tasks, manifest included. Nobody may
// change its bytes.
func Module() []byte { return module }
