package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
)

// peer is a way to run guests.
type peer struct {
	name string
	// module is the Go module whose version is shown.
	module string
	// abi chooses the guests' shim.
	abi string
	// ways are those in which it interrupts guests; plain is the one without.
	ways []string
	// compile makes a program of a guest that talks to h.
	compile func(ctx context.Context, guest []byte, h *host, way string) (program, error)
}

// The ways to interrupt a guest.
const (
	plain    = "without interruption"
	deadline = "under a deadline"
	fuel     = "with fuel" // counts what the guest does, knows no time
)

// program is a compiled guest.
type program interface {
	// Task makes a sandbox, lets the guest do its work and closes it.
	Task(ctx context.Context) error
	// Open makes a sandbox that can be called again and again.
	Open(ctx context.Context) (instance, error)
	Close(ctx context.Context) error
}

// instance is a sandbox that stays.
type instance interface {
	Call(ctx context.Context) error
	Close(ctx context.Context) error
}

// errNotOffered says why a peer cannot do a case.
type errNotOffered string

func (e errNotOffered) Error() string { return string(e) }

// errWrong is for a guest that found something wrong.
var errWrong = errors.New("the guest says that its work went wrong")

// peers are all, the one that the others are held against second.
func peers() []peer {
	return []peer{
		{"wasakari", "github.com/wasakari/wasakari", "wasakari", []string{deadline}, compileWasakari},
		{"wazero", "github.com/tetratelabs/wazero", "wasakari", []string{plain, deadline}, compileWazero(false)},
		{"wazero, mmap", "github.com/tetratelabs/wazero", "wasakari", []string{plain, deadline}, compileWazero(true)},
		{"waPC", "github.com/wapc/wapc-go", "wapc", []string{plain, deadline}, compileWapc},
		{"wasmtime-go", "github.com/bytecodealliance/wasmtime-go/v44", "wasakari", []string{plain, deadline, fuel}, compileWasmtime},
		{"Extism", "github.com/extism/go-sdk", "extism", []string{plain, deadline}, compileExtism},
	}
}

// version gives the version of a module in this program.
func version(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == module {
			if m.Replace != nil {
				return "this tree"
			}
			return m.Version
		}
	}
	return "unknown"
}

// guest reads the guest in a language for a peer.
func guest(folder, language string, p peer) ([]byte, error) {
	wasm, err := os.ReadFile(filepath.Join(folder, language+"-"+p.abi+".wasm")) // #nosec G304 -- the folder is the caller's choice
	if err != nil {
		return nil, fmt.Errorf("%w; make bench-guests builds the guests", err)
	}
	return wasm, nil
}
