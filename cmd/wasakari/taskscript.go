package main

import (
	"context"

	"github.com/wasakari/wasakari/abi"
)

// buildScript packs a script and what it needs of the files beside it into a
// module. notes are for the author.
func buildScript(_ context.Context, _ world, file, manifestFile string) (wasm []byte, m *abi.Manifest, notes []string, err error) {
	_ = manifestFile
	return nil, nil, nil, usagef("%s: this wasakari has no engine for scripts", file)
}
