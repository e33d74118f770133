// Command gen builds the golden modules: it runs wat2wasm on every .wat file
// of a folder, internal/testwasm by default, and appends the custom sections.
// Modules without a source are removed.
//
// A module gets the manifest of manifest.json. A line ";; manifest: none" or
// ";; manifest: two" in its source says otherwise, a file NAME.raw.json is
// taken as it is, and a file NAME.script.json becomes its script. A line
// ";; section: NAME" adds an empty custom section.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/abi"
)

func main() {
	dir := filepath.Join("internal", "testwasm")
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	if err := build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func build(ctx context.Context, dir string) error {
	doc, err := os.ReadFile(filepath.Join(dir, "manifest.json")) //nolint:gosec // the developer's own folder
	if err != nil {
		return err
	}
	manifest, err := abi.ParseManifest(doc)
	if err != nil {
		return err
	}
	sources, err := filepath.Glob(filepath.Join(dir, "*.wat"))
	if err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.wasm"))
	if err != nil {
		return err
	}
	for _, name := range old {
		if !slices.Contains(sources, strings.TrimSuffix(name, ".wasm")+".wat") {
			if err := os.Remove(name); err != nil { //nolint:gosec // found in the developer's own folder
				return err
			}
		}
	}
	for _, source := range sources {
		if err := module(ctx, source, manifest); err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
	}
	return nil
}

func module(ctx context.Context, source string, manifest *abi.Manifest) error {
	text, err := os.ReadFile(source) //nolint:gosec // found in the developer's own folder
	if err != nil {
		return err
	}
	base := strings.TrimSuffix(source, ".wat")
	out := base + ".wasm"
	cmd := exec.CommandContext(ctx, "wat2wasm", "--debug-names", source, "-o", out) //nolint:gosec // found in the developer's own folder
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	wasm, err := os.ReadFile(out) //nolint:gosec // just written
	if err != nil {
		return err
	}
	raw, err := optional(base + ".raw.json")
	if err != nil {
		return err
	}
	switch {
	case raw != nil:
		wasm = custom(wasm, abi.ManifestSection, bytes.TrimSpace(raw))
	case bytes.Contains(text, []byte(";; manifest: two\n")):
		wasm = custom(custom(wasm, abi.ManifestSection, manifest.Encode()), abi.ManifestSection, manifest.Encode())
	case !bytes.Contains(text, []byte(";; manifest: none\n")):
		if wasm, err = abi.AppendManifest(wasm, manifest); err != nil {
			return err
		}
	}
	script, err := optional(base + ".script.json")
	if err != nil {
		return err
	}
	if script != nil {
		wasm = custom(wasm, abi.ScriptSection, bytes.TrimSpace(script))
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, ";; section: "); ok {
			wasm = custom(wasm, strings.TrimSpace(name), nil)
		}
	}
	return os.WriteFile(out, wasm, 0o600) //nolint:gosec // beside its source
}

// optional reads a file, nil when it is not there.
func optional(name string) ([]byte, error) {
	b, err := os.ReadFile(name) //nolint:gosec // beside a source
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// custom appends a custom section, whatever is in it.
func custom(wasm []byte, name string, data []byte) []byte {
	body := binary.AppendUvarint(nil, uint64(len(name)))
	body = append(body, name...)
	body = append(body, data...)
	wasm = append(wasm, 0)
	wasm = binary.AppendUvarint(wasm, uint64(len(body)))
	return append(wasm, body...)
}
