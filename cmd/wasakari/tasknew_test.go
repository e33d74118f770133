package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
)

func TestTaskNewRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no language", []string{"my_task"}, "wasakari: name a language with --lang: "},
		{"near language", []string{"--lang", "goo", "my_task"}, "wasakari: --lang goo: did you mean go?\n"},
		{"no key", []string{"--lang", "go"}, "wasakari: accepts 1 arg(s), received 0; usage: wasakari task new --lang LANGUAGE KEY [flags]\n"},
		{"bad key", []string{"--lang", "go", "my task"}, "wasakari: key \"my task\": want a letter or _, then letters, digits, _ . or -, such as my_task\n"},
		{"path as key", []string{"--lang", "go", "../x"}, "wasakari: key \"../x\": want a letter or _, then letters, digits, _ . or -, such as my_task\n"},
		{"standard task", []string{"--lang", "go", "evacuate_instances_task"}, "wasakari: evacuate_instances_task is a standard task, which is built in; choose another key\n"},
		{"there already", []string{"--lang", "go", "my_task", "--dir", "DIR/full"}, "wasakari: DIR/full is there already; nothing is overwritten: choose another folder with --dir\n"},
	}
	p := newPlace(t, map[string]string{"full/main.go": "mine"})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"task", "new"}, tt.args...)
			if !strings.Contains(strings.Join(args, " "), "--dir") {
				args = append(args, "--dir", "DIR/new")
			}
			r := p.run(t.Context(), t, args...)
			if r.code != exitUsage || !strings.HasPrefix(r.stderr, tt.want) || r.stdout != "" {
				t.Errorf("exit %d\n%s%s, want 2 and\n%s", r.code, r.stdout, r.stderr, tt.want)
			}
			if _, err := os.Stat(filepath.Join(p.dir, "new")); err == nil {
				t.Error("a folder was made")
			}
		})
	}
	if text, err := os.ReadFile(filepath.Join(p.dir, "full/main.go")); string(text) != "mine" {
		t.Errorf("what was there: %q, %v", text, err)
	}
}

// From nothing to a module that admission takes, in Go.
func TestTaskNewToBuild(t *testing.T) {
	t.Parallel()
	cache, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t, nil)
	p.environ = []string{"GOCACHE=" + strings.TrimSpace(string(cache))}
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "PATH=") || strings.HasPrefix(kv, "GO") || strings.HasPrefix(kv, "HOME=") {
			p.environ = append(p.environ, kv)
		}
	}
	r := p.run(t.Context(), t, "task", "new", "--lang", "go", "Fence.rack-2", "--dir", "DIR/a folder")
	if r.code != exitOK || !strings.Contains(r.stdout, "  cd '"+p.dir+"/a folder'\n  wasakari task test ") {
		t.Fatalf("new: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	r = p.run(t.Context(), t, "task", "test", "DIR/a folder")
	if r.code != exitOK || !strings.HasSuffix(r.stdout, "2 passed\n") {
		t.Fatalf("test: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	r = p.run(t.Context(), t, "task", "build", "DIR/a folder")
	out := strings.ReplaceAll(r.stdout, p.dir, "DIR")
	want := regexp.MustCompile(`^DIR/a folder/Fence.rack-2.wasm: fence-rack-2 0.1.0
  tasks    Fence.rack-2
  size     [0-9.]+ MiB
  digest   sha256:[0-9a-f]{64}
  built    with go[0-9.]+ in [0-9.]+m?s
$`)
	if r.code != exitOK || !want.MatchString(out) {
		t.Fatalf("build: exit %d\n%s%s", r.code, out, r.stderr)
	}
	if r := p.run(t.Context(), t, "task", "inspect", "DIR/a folder/Fence.rack-2.wasm"); r.code != exitOK || !strings.Contains(r.stdout, "option    [fence_rack_2] max_servers (int, default 100)") {
		t.Errorf("inspect: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	// What the compiler says is told.
	if err := os.WriteFile(filepath.Join(p.dir, "a folder/main.go"), []byte("package main\n\nfunc main() { none() }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = p.run(t.Context(), t, "task", "build", "DIR/a folder")
	if r.code != exitFailed || !strings.Contains(r.stderr, "main.go:3:15: undefined: none") || !strings.Contains(r.stderr, "wasakari: DIR/a folder: go build ") {
		t.Errorf("with a mistake: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

func TestTaskBuildRefusals(t *testing.T) {
	t.Parallel()
	const manifest = "abi: 1\nlibrary: l\nversion: 1.0.0\ntasks: [{key: a}]\n"
	p := newPlace(t, map[string]string{
		"empty/README": "", "two/go.mod": "", "two/a.c": "", "bare/go.mod": "", "wrong/go.mod": "", "wrong/task.yaml": strings.Replace(manifest, "abi: 1", "abi: 2", 1),
		"go/go.mod": "", "go/task.yaml": manifest, "rust/Cargo.toml": "", "rust/task.yaml": manifest, "scripts/a.py": "", "scripts/b.js": "", "scripts/test_a.py": "",
		"a.txt": "", "own/go.mod": "", "own/task.yaml": strings.Replace(manifest, "{key: a}", "{key: a, options: [{group: DEFAULT, name: host, type: string}]}", 1),
	})
	p.write(t, "m.wasm", string(packed(t, guest("noop"), abi.ManifestTask{Key: "m"})))
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"nothing there", []string{"DIR/none"}, "wasakari: DIR/none: no such file or directory\n"},
		{"no project", []string{"DIR/empty"}, "wasakari: DIR/empty: nothing to build here: want go.mod, Cargo.toml, asconfig.json, *.c, or a script (.py, .js, .mjs, .ts); make a project with wasakari task new\n"},
		{"two languages", []string{"DIR/two"}, "wasakari: DIR/two: several languages: go, c; choose one with --lang\n"},
		{"two scripts", []string{"DIR/scripts"}, "wasakari: DIR/scripts holds several scripts: a.py, b.js; name one\n"},
		{"a file of another kind", []string{"DIR/a.txt"}, "wasakari: DIR/a.txt: want a folder, a .wasm module, or a script (.py, .js, .mjs, .ts)\n"},
		{"a module", []string{"DIR/m.wasm"}, "wasakari: DIR/m.wasm: it is a module already, and of no script; wasakari task pack puts a manifest in\n"},
		{"no manifest", []string{"DIR/bare"}, "wasakari: DIR/bare/task.yaml: no such file or directory; a project in go needs one, see wasakari task new --help\n"},
		{"bad manifest", []string{"DIR/wrong"}, "wasakari: DIR/wrong/task.yaml: manifest: abi: this host does not speak ABI 2; write 1\n"},
		{"no tool", []string{"DIR/go"}, "wasakari: go is missing, which builds tasks in go; install it: Go 1.24 or later from https://go.dev/dl, or apt install golang-go where it is new enough\n"},
		{"no other tool", []string{"DIR/rust"}, "wasakari: cargo is missing, which builds tasks in rust; install it: apt install cargo libstd-rust-dev-wasm32 lld\n"},
		{"other language", []string{"DIR/go", "--lang", "cobol"}, "wasakari: --lang cobol: want one of go, rust, assemblyscript, c; scripts are named by their file\n"},
		{"section of others", []string{"DIR/own"}, "wasakari: DIR/own/task.yaml: task a asks for option [DEFAULT] host: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := p.run(t.Context(), t, append([]string{"task", "build"}, tt.args...)...)
			if r.code != exitUsage || !strings.HasPrefix(r.stderr, tt.want) || r.stdout != "" {
				t.Errorf("exit %d\n%s%s, want 2 and\n%s", r.code, r.stdout, r.stderr, tt.want)
			}
		})
	}
}
