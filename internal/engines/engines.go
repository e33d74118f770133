// Package engines holds the engines that this program carries: modules that run
// the scripts of script modules. `make engines` builds them from the sources
// below sdk; NOTICE.md says what is in them and under which licences.
package engines

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"strings"
)

// maxEngine bounds an engine, in bytes.
const maxEngine = 64 << 20

// Stack is the call stack that engines get at least, in bytes: with less, a
// recursion without end would trap before the interpreter sees it.
const Stack = 8 << 20

// built holds, for each engine, NAME.wasm.gz, and the digests of what is in
// them, as sha256sum writes them.
//
//go:embed built
var built embed.FS

// Engine is an engine that this program carries.
type Engine struct {
	// Name is that of the language, such as python.
	Name string
	// Digest is the sha256 of the module, hex.
	Digest string
}

// All lists the engines, by name.
func All() []Engine {
	sums, err := built.ReadFile("built/SHA256SUMS")
	if err != nil {
		panic("engines: " + err.Error()) // it is embedded
	}
	var list []Engine
	for line := range strings.Lines(string(sums)) {
		digest, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		list = append(list, Engine{Name: strings.TrimSuffix(file, ".wasm"), Digest: digest})
	}
	return list
}

// Find gives the engine of a language.
func Find(name string) (Engine, bool) {
	for _, e := range All() {
		if e.Name == name {
			return e, true
		}
	}
	return Engine{}, false
}

// Open gives the engine's module.
func (e Engine) Open() ([]byte, error) {
	packed, err := built.ReadFile("built/" + e.Name + ".wasm.gz")
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", e.Name, err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", e.Name, err)
	}
	wasm, err := io.ReadAll(io.LimitReader(r, maxEngine))
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", e.Name, err)
	}
	return wasm, nil
}
