package toolchain

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/internal/regular"
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
		if err := b.chooseRust(ctx); err != nil {
			return err
		}
		b.version(ctx, "rustc", "--version")
		messages, err := b.run(ctx, []string{"RUSTC=" + b.paths["rustc"]}, "cargo", "build", "--release", "--quiet", "--target", rustTarget, "--message-format=json-render-diagnostics")
		if err != nil {
			return err
		}
		module, err := cargoModule(messages, b.dir)
		if err != nil {
			return err
		}
		text, err := regular.Read(module, MaxModuleBytes)
		if err != nil {
			return err
		}
		return os.WriteFile(out, text, 0o600)
	},
}

// chooseRust takes the first compiler of PATH that has a standard library for the
// target: that of rustup often has none where Debian's has. The cargo beside it is
// taken too, where there is one.
func (b *builder) chooseRust(ctx context.Context) error {
	for _, path := range allInPath("rustc", b.environ) {
		b.paths["rustc"] = path
		folder, err := b.run(ctx, nil, "rustc", "--print", "target-libdir", "--target", rustTarget)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			continue // such as the stand-in of a rustup that has no compiler
		}
		if _, err := os.Stat(strings.TrimSpace(folder)); err != nil {
			continue
		}
		// A cargo asks for what compilers much older than itself do not know.
		if beside, err := exec.LookPath(filepath.Join(filepath.Dir(path), "cargo")); err == nil {
			b.paths["cargo"] = beside
		}
		return nil
	}
	return &MissingToolError{
		Language: "rust", Tool: "the standard library for " + rustTarget,
		Install: "apt install libstd-rust-dev-wasm32, or rustup target add " + rustTarget,
	}
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
