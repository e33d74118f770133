package toolchain

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const rustTarget = "wasm32-unknown-unknown"

var rustLanguage = language{
	name:  "rust",
	marks: []string{"Cargo.toml"},
	tools: []tool{
		{"cargo", "apt install cargo libstd-rust-dev-wasm32 lld"},
		{"rustc", "apt install rustc libstd-rust-dev-wasm32 lld"},
	},
	build: func(ctx context.Context, b *builder, out string) error {
		b.version(ctx, "rustc", "--version")
		target, err := b.run(ctx, nil, "rustc", "--print", "target-libdir", "--target", rustTarget)
		if err != nil {
			return err
		}
		if _, err := os.Stat(strings.TrimSpace(target)); err != nil {
			return &MissingToolError{
				Language: "rust", Tool: "the standard library for " + rustTarget,
				Install: "apt install libstd-rust-dev-wasm32, or rustup target add " + rustTarget,
			}
		}
		messages, err := b.run(ctx, nil, "cargo", "build", "--release", "--quiet", "--target", rustTarget, "--message-format=json-render-diagnostics")
		if err != nil {
			return err
		}
		module, err := cargoModule(messages, b.dir)
		if err != nil {
			return err
		}
		text, err := readBounded(module)
		if err != nil {
			return err
		}
		return os.WriteFile(out, text, 0o600)
	},
}

// cargoModule finds the module of the project itself among cargo's messages.
func cargoModule(messages, dir string) (string, error) {
	found := ""
	for line := range strings.Lines(messages) {
		var m struct {
			Reason    string   `json:"reason"`
			Manifest  string   `json:"manifest_path"`
			Filenames []string `json:"filenames"`
		}
		if json.Unmarshal([]byte(line), &m) != nil || m.Reason != "compiler-artifact" || filepath.Dir(m.Manifest) != dir {
			continue
		}
		i := slices.IndexFunc(m.Filenames, func(f string) bool { return strings.HasSuffix(f, ".wasm") })
		if i >= 0 {
			found = m.Filenames[i]
		}
	}
	if found == "" {
		return "", errors.New(`cargo built no module: Cargo.toml wants [lib] crate-type = ["cdylib"]`)
	}
	return found, nil
}
