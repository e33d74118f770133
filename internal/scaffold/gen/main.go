// Command gen packs the SDKs for internal/scaffold. It is run from the top of
// the tree, by make generate.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wasakari/wasakari/internal/scaffold"
)

func main() {
	for _, lang := range scaffold.Languages() {
		if !scaffold.CarriesSDK(lang) {
			continue
		}
		if err := pack(lang); err != nil {
			fmt.Fprintln(os.Stderr, "gen:", err)
			os.Exit(1)
		}
	}
}

func pack(lang string) error {
	archive, err := scaffold.Pack(lang, os.DirFS(filepath.Join("sdk", lang)))
	if err != nil {
		return err
	}
	to := filepath.Join("internal", "scaffold", filepath.FromSlash(scaffold.ArchiveOf(lang)))
	if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, archive) { //nolint:gosec // a file of ours
		return nil
	}
	return os.WriteFile(to, archive, 0o644) //nolint:gosec // a source, no secret
}
