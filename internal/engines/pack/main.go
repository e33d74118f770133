// Command pack puts an engine into the program: pack NAME FILE.wasm, called in
// the root of the tree by `make engines`.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pack NAME FILE.wasm")
		os.Exit(2)
	}
	if err := pack(filepath.Join("internal", "engines", "built"), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func pack(dir, name, file string) error {
	wasm, err := os.ReadFile(file) //nolint:gosec // the developer's own file
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(wasm); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	list := filepath.Join(dir, "SHA256SUMS")
	sums, err := os.ReadFile(list) //nolint:gosec // in the developer's own tree
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var lines []string
	for line := range strings.Lines(string(sums)) {
		if !strings.HasSuffix(strings.TrimSpace(line), "  "+name+".wasm") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	lines = append(lines, fmt.Sprintf("%x  %s.wasm", sha256.Sum256(wasm), name))
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[64:], b[64:]) })
	if err := os.WriteFile(filepath.Join(dir, name+".wasm.gz"), b.Bytes(), 0o644); err != nil { //nolint:gosec // for all who build
		return err
	}
	return os.WriteFile(list, []byte(strings.Join(lines, "\n")+"\n"), 0o644) //nolint:gosec // for all who build
}
