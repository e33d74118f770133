package toolchain_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/internal/toolchain"
)

// project makes a folder with files.
func project(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDetect(t *testing.T) {
	tests := []struct {
		file, want string
	}{
		{"go.mod", "go"}, {"Cargo.toml", "rust"}, {"asconfig.json", "assemblyscript"}, {"task.c", "c"},
	}
	for _, tt := range tests {
		if got, err := toolchain.Detect(project(t, map[string]string{tt.file: ""})); got != tt.want || err != nil {
			t.Errorf("a folder with %s: %s, %v, want %s", tt.file, got, err, tt.want)
		}
	}
	if got, err := toolchain.Detect(project(t, map[string]string{"a.py": ""})); !errors.Is(err, toolchain.ErrNoProject) {
		t.Errorf("a folder with a script: %s, %v, want %v", got, err, toolchain.ErrNoProject)
	}
	dir := project(t, map[string]string{"go.mod": "", "a.c": ""})
	if got, err := toolchain.Detect(dir); !errors.Is(err, toolchain.ErrAmbiguous) || !strings.HasSuffix(err.Error(), ": go, c") {
		t.Errorf("a folder with two: %s, %v, want %v", got, err, toolchain.ErrAmbiguous)
	}
	odd := filepath.Join(project(t, nil), "a[b]*")
	if err := os.Mkdir(odd, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(odd, "task.c"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := toolchain.Detect(odd); got != "c" || err != nil {
		t.Errorf("a folder with an odd name: %s, %v", got, err)
	}
}

// Of each language, the first tool that is not there is named, with what to do.
func TestMissingTools(t *testing.T) {
	tools := project(t, map[string]string{"cargo": "#!/bin/sh\n", "clang": "#!/bin/sh\n", "node": "#!/bin/sh\n"})
	relative := []string{"PATH=.:bin"}
	tests := []struct {
		lang    string
		environ []string
		tool    string
		install string
	}{
		{"go", nil, "go", "Go 1.24 or later from https://go.dev/dl, or apt install golang-go where it is new enough"},
		{"go", relative, "go", "Go 1.24 or later from https://go.dev/dl, or apt install golang-go where it is new enough"},
		{"rust", nil, "cargo", "apt install cargo libstd-rust-dev-wasm32 lld"},
		{"rust", []string{"PATH=" + tools}, "rustc", "apt install rustc libstd-rust-dev-wasm32 lld"},
		{"c", []string{"PATH=" + tools}, "wasm-ld", "apt install lld"},
		{"assemblyscript", []string{"PATH=" + tools}, "npm", "apt install npm"},
	}
	for _, tt := range tests {
		_, err := toolchain.Build(t.Context(), tt.lang, t.TempDir(), tt.environ)
		missing, ok := errors.AsType[*toolchain.MissingToolError](err)
		if !ok || missing.Tool != tt.tool || missing.Install != tt.install || missing.Language != tt.lang {
			t.Errorf("%s with %v: %v, want %s to be missing (%s)", tt.lang, tt.environ, err, tt.tool, tt.install)
		}
	}
	if _, err := toolchain.Build(t.Context(), "cobol", t.TempDir(), nil); err == nil {
		t.Error("a language that is not there is built")
	}
}

// fakes are programs in the place of compilers: they write their arguments.
func fakes(t *testing.T, scripts map[string]string) []string {
	t.Helper()
	files := map[string]string{}
	for name, text := range scripts {
		files[name] = "#!/bin/sh\n" + text + "\n"
	}
	return []string{"PATH=" + project(t, files) + ":" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
}

const writeOut = `while [ $# -gt 0 ]; do [ "$1" = -o ] || [ "$1" = --outFile ] && printf built > "$2"; shift; done`

// Each language's compiler is run where the project is, and what it wrote is
// what is built.
func TestBuild(t *testing.T) {
	environ := fakes(t, map[string]string{
		"go":      `[ "$1" = env ] && { echo go9.9; exit; }; [ "$GOOS$GOARCH$CGO_ENABLED" = wasip1wasm0 ] && [ -f go.mod ] || exit 1; ` + writeOut,
		"clang":   `[ "$1" = --version ] && { echo clang 9; exit; }; [ -f b.c ] || exit 1; case "$*" in *"a.c b.c") ;; *) exit 1;; esac; ` + writeOut,
		"wasm-ld": "", "npm": "",
		"rustc": `case "$*" in *target-libdir*) pwd;; *) echo rustc 1.63;; esac`,
		"cargo": `mkdir -p target; printf built > target/x.wasm
printf '{"reason":"compiler-artifact","manifest_path":"/other/Cargo.toml","filenames":["/other/y.wasm"]}\n'
printf 'not json\n{"reason":"compiler-artifact","manifest_path":"%s/Cargo.toml","filenames":["%s/target/x.d","%s/target/x.wasm"]}\n' "$PWD" "$PWD" "$PWD"`,
		"node": `[ "$2" = --version ] && { echo Version 0.28; exit; }; [ -f "$1" ] || exit 1; ` + writeOut,
	})
	tests := []struct {
		lang, with string
		files      map[string]string
	}{
		{"go", "go9.9", map[string]string{"go.mod": ""}},
		{"c", "clang 9", map[string]string{"b.c": "", "a.c": ""}},
		{"rust", "rustc 1.63", map[string]string{"Cargo.toml": ""}},
		{"assemblyscript", "Version 0.28", map[string]string{"asconfig.json": "", "node_modules/assemblyscript/bin/asc.js": ""}},
	}
	for _, tt := range tests {
		t.Run(tt.lang, func(t *testing.T) {
			b, err := toolchain.Build(t.Context(), tt.lang, project(t, tt.files), environ)
			if err != nil || string(b.Wasm) != "built" || b.With != tt.with {
				t.Errorf("built %q with %q, %v, want %q with %q", b.Wasm, b.With, err, "built", tt.with)
			}
		})
	}
}

// What a compiler says when it refuses the sources is kept, the end of it.
func TestBuildFails(t *testing.T) {
	environ := fakes(t, map[string]string{"go": `[ "$1" = env ] || { yes noise | head -c 200000 >&2; echo main.go:3: no such thing >&2; exit 3; }`})
	_, err := toolchain.Build(t.Context(), "go", project(t, map[string]string{"go.mod": ""}), environ)
	failed, ok := errors.AsType[*toolchain.BuildError](err)
	if !ok || !strings.HasSuffix(failed.Output, "main.go:3: no such thing\n") || len(failed.Output) > 64<<10 || !strings.HasPrefix(failed.Command, "go build ") {
		t.Fatalf("error %v", err)
	}
	environ = fakes(t, map[string]string{"go": ""})
	if _, err := toolchain.Build(t.Context(), "go", project(t, map[string]string{"go.mod": ""}), environ); err == nil {
		t.Error("a compiler that wrote nothing built something")
	}
}

// Of several compilers the first that has what the target needs is taken, with
// the cargo beside it, which is told so.
func TestBuildRustOfSeveral(t *testing.T) {
	without := project(t, map[string]string{
		"rustc": "#!/bin/sh\ncase \"$*\" in *libdir*) echo /none;; *) echo rustc 2;; esac\n",
		"cargo": "#!/bin/sh\nexit 1\n",
	})
	with := project(t, map[string]string{
		"rustc": "#!/bin/sh\ncase \"$*\" in *libdir*) pwd;; *) echo rustc 1;; esac\n",
		"cargo": "#!/bin/sh\nprintf '%s' \"$RUSTC\" > x.wasm\n" +
			`printf '{"reason":"compiler-artifact","manifest_path":"%s/Cargo.toml","filenames":["%s/x.wasm"]}\n' "$PWD" "$PWD"` + "\n",
	})
	dir := project(t, map[string]string{"Cargo.toml": ""})
	b, err := toolchain.Build(t.Context(), "rust", dir, []string{"PATH=" + without + ":" + with + ":" + os.Getenv("PATH")})
	if want := filepath.Join(with, "rustc"); err != nil || string(b.Wasm) != want || b.With != "rustc 1" {
		t.Errorf("built with %q (%s), %v, want %s", b.Wasm, b.With, err, want)
	}
	path := without + ":" + project(t, map[string]string{"cargo": "#!/bin/sh\n"})
	_, err = toolchain.Build(t.Context(), "rust", dir, []string{"PATH=" + path})
	missing, ok := errors.AsType[*toolchain.MissingToolError](err)
	if want := "apt install libstd-rust-dev-wasm32, or rustup target add wasm32-unknown-unknown"; !ok || missing.Install != want {
		t.Errorf("without the target: %v, want %s", err, want)
	}
}
