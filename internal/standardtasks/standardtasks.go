// Package standardtasks holds the nine standard tasks as the module that
// internal/standardtasks/gen builds from tasks-examples/standard.
package standardtasks

import _ "embed"

//go:generate go run ./gen

//go:embed standard.wasm
var module []byte

// Module is the module of the standard tasks, manifest included. Nobody may
// change its bytes.
func Module() []byte { return module }
