// Command freeze makes a snapshot of a module that is an engine, see package
// snapshot: freeze IN.wasm OUT.wasm. The module has its stack first in memory
// (wasm-ld --stack-first).
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/wasakari/wasakari/runtime/internal/snapshot"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: freeze IN.wasm OUT.wasm")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "freeze:", err)
		os.Exit(1)
	}
}

func run(in, out string) error {
	wasm, err := os.ReadFile(in) //nolint:gosec // the developer's own file
	if err != nil {
		return err
	}
	frozen, err := snapshot.Freeze(context.Background(), wasm, snapshot.Options{StackFirst: true, Output: os.Stderr})
	if err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	return os.WriteFile(out, frozen, 0o644) //nolint:gosec // a module is no secret
}
