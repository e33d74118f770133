// Package engines holds the engines that this program carries: modules that run
// the scripts of script modules. `make engines` builds them from the sources
// below sdk; NOTICE.md says what is in them and under which licences.
package engines

import (
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"fmt"
	"io"
	"strings"

	"github.com/wasakari/wasakari/runtime"
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

// All lists the engines, by name.
func All() []runtime.Engine {
	sums, err := built.ReadFile("built/SHA256SUMS")
	if err != nil {
		panic("engines: " + err.Error()) // it is embedded
	}
	var list []runtime.Engine
	for line := range strings.Lines(string(sums)) {
		digest, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		name := strings.TrimSuffix(file, ".wasm")
		list = append(list, runtime.Engine{Name: name, Digest: digest, Stack: Stack, Open: func(context.Context) ([]byte, error) { return open(name) }})
	}
	return list
}

// open gives an engine's module.
func open(name string) ([]byte, error) {
	packed, err := built.ReadFile("built/" + name + ".wasm.gz")
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", name, err)
	}
	wasm, err := Unpack(packed)
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", name, err)
	}
	return wasm, nil
}

// Unpack gives the module of an engine that was packed with gzip. Of one that is
// too large it gives the beginning, whose digest is another.
func Unpack(packed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxEngine))
}
