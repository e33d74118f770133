//go:build unix

package scripts_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wasakari/wasakari/internal/scripts"
)

// A folder of a stranger's brings nothing along that is not in it, and reading
// it ends, whatever lies there.
func TestCollectHostile(t *testing.T) {
	const (
		python     = "import taskflow.task\n"
		javascript = "export default { run() {} }\n"
	)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("password = 'hunter2'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := func(to string) func(string) error {
		return func(file string) error { return os.Symlink(to, file) }
	}
	text := func(s string) func(string) error {
		return func(file string) error { return os.WriteFile(file, []byte(s), 0o600) }
	}
	pipe := func(file string) error { return syscall.Mkfifo(file, 0o600) }
	for _, tt := range []struct {
		name  string
		files map[string]func(file string) error
		path  string
		want  []string
		says  string // of the error; DIR stands for the folder
	}{
		{name: "a pipe", path: "a.py", files: map[string]func(string) error{"a.py": pipe}, says: "a.py: not a regular file"},
		{name: "a device", path: "a.py", files: map[string]func(string) error{"a.py": link("/dev/zero")}, says: "a.py: not a regular file"},
		{name: "a link that was named", path: "a.py", files: map[string]func(string) error{"a.py": link(secret)}, want: []string{"a.py"}},
		{name: "an import by a link", path: "a.py", files: map[string]func(string) error{"a.py": text("import secret\n"), "secret.py": link(secret)}, want: []string{"a.py"}},
		{name: "an import by a folder's link", path: "a.py", files: map[string]func(string) error{"a.py": text("import d.secret\n"), "d": link(filepath.Dir(secret))}, want: []string{"a.py"}},
		{name: "an import of a pipe", path: "a.py", files: map[string]func(string) error{"a.py": text("import b\n"), "b.py": pipe}, want: []string{"a.py"}},
		{name: "an import from above", path: "d/a.py", files: map[string]func(string) error{"d/a.py": text("from .. import secret\nfrom ....etc import passwd\n"), "secret.py": text("")}, want: []string{"a.py"}},
		{name: "imports of one another", path: "a.py", files: map[string]func(string) error{"a.py": text("import b"), "b.py": text("import a\nimport b\n")}, want: []string{"a.py", "b.py"}},
		{name: "an import 500 000 deep", path: "a.py", files: map[string]func(string) error{"a.py": text("import " + strings.Repeat("a.", 500_000) + "a\n")}, want: []string{"a.py"}},
		{name: "imports from 200 000 deep", path: "a.py", files: map[string]func(string) error{"a.py": text("from " + strings.Repeat("a.", 200_000) + "a import " + strings.Repeat("b,", 200_000) + "b\n")}, want: []string{"a.py"}},
		{name: "a large file", path: "a.py", files: map[string]func(string) error{"a.py": text(strings.Repeat("#", 1<<20+1))}, says: "a.py: with it the script has more than the 1048576 bytes that are taken"},
		{
			name: "a folder with links and pipes", path: ".", want: []string{"a.py", "setup.cfg"},
			files: map[string]func(string) error{"a.py": text(python), "setup.cfg": text(""), "b.py": link(secret), "c.py": pipe, "d": link("/etc"), ".hidden.py": text("")},
		},
		{name: "a pipe in JavaScript", path: "a.js", files: map[string]func(string) error{"a.js": pipe}, says: "DIR/a.js: there is no such file"},
		{name: "an import of a pipe in JavaScript", path: "a.js", files: map[string]func(string) error{"a.js": text(`import "./b.js"`), "b.js": pipe}, says: `DIR/a.js:1:8: cannot import "./b.js": there is no file DIR/b.js`},
		{
			name: "an import by a link in JavaScript", path: "a.js", files: map[string]func(string) error{"a.js": text(`import "./b.json"`), "b.json": link(secret)},
			says: `DIR/a.js:1:8: cannot import "./b.json": DIR/b.json is a symbolic link, which no module is made of`,
		},
		{
			name: "an import by a folder's link in JavaScript", path: "a.js", files: map[string]func(string) error{"a.js": text(`import "./d/secret.json"`), "d": link(filepath.Dir(secret))},
			says: `DIR/a.js:1:8: cannot import "./d/secret.json": DIR/d is a symbolic link, which no module is made of`,
		},
		{
			name: "an import of what is hidden in JavaScript", path: "d/a.js", files: map[string]func(string) error{"d/a.js": text(`import "../.docker/config.json"`), ".docker/config.json": text("{}")},
			says: `DIR/d/a.js:1:8: cannot import "../.docker/config.json": names that begin with a dot are left out of modules`,
		},
		{name: "a link that was named in JavaScript", path: "a.js", files: map[string]func(string) error{"b.ts": text(javascript), "a.js": link("b.ts")}, want: []string{"a.js"}},
		{name: "a large file in JavaScript", path: "a.js", files: map[string]func(string) error{"a.js": text(strings.Repeat("/", 2<<20+1))}, says: "DIR/a.js: it has more than 2 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, make := range tt.files {
				file := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := make(file); err != nil {
					t.Fatal(err)
				}
			}
			src, err := scripts.Collect(filepath.Join(dir, tt.path))
			says := strings.ReplaceAll(tt.says, "DIR", filepath.ToSlash(dir))
			if err != nil && (says == "" || err.Error() != says) || err == nil && says != "" {
				t.Fatalf("error = %.300v, want %q", err, says)
			}
			var got []string
			for _, f := range src.Files {
				got = append(got, f.Name)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("files = %q, want %q", got, tt.want)
			}
		})
	}
}

// What the host itself reads of a source costs no more than its size: here what
// would be tried for each word with each other one.
func TestPackJavaScriptHostile(t *testing.T) {
	files := map[string]string{"a.js": "import './f0.js';" + "export function kv() {}" + strings.Repeat("kv.x;", 50_000) + "kv.get;export default {run(){}}"}
	const n = 100
	for i := range n {
		var b strings.Builder
		for j := range n {
			fmt.Fprintf(&b, "import './f%d.js';", j)
		}
		files[fmt.Sprintf("f%d.js", i)] = b.String()
	}
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src, err := scripts.Collect(filepath.Join(dir, "a.js"))
	if err != nil {
		t.Fatal(err)
	}
	_, m, notes, err := scripts.Build(t.Context(), rt, src)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"kv.get"}; !slices.Equal(m.Tasks[0].Uses, want) {
		t.Errorf("uses = %q, want %q", m.Tasks[0].Uses, want)
	}
	if len(notes) != 20 {
		t.Errorf("%d notes, want 20", len(notes))
	}
}
