// Command abigen writes what is generated from abi/schema.json: the ops, error
// numbers and documents of package abi, the documents and op methods of the
// SDKs, the tables of sdk/ABI.md, and the reference of each SDK in docs/sdk.
//
// It runs in the root of the checkout. With -check it writes nothing and
// exits 1 when a file differs from what it would write.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/wasakari/wasakari/internal/abigen/generate"
)

func main() {
	root := flag.String("root", ".", "root of the checkout")
	check := flag.Bool("check", false, "write nothing; exit 1 when a file is stale")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "abigen:", err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	files, err := generate.Files(root)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(root, filepath.FromSlash(name))
		have, err := os.ReadFile(path) //nolint:gosec // path is one of a fixed set below root
		if err == nil && bytes.Equal(have, files[name]) {
			continue
		}
		if check {
			return fmt.Errorf("%s is stale; run go run ./internal/abigen", name)
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil { //nolint:gosec // source files are for everyone to read
			return err
		}
	}
	return nil
}
