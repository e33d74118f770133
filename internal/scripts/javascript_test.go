package scripts_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/scripts"
)

// What a file in JavaScript imports is collected, also from folders above.
func TestCollectJavaScript(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"tasks/a.js":      `import { f } from "../lib/f.js"; import data from "./data.json"; export default { run() { f(data) } }`,
		"tasks/data.json": `{}`,
		"tasks/other.js":  `export default { run() {} }`,
		"lib/f.ts":        `export function f(x: unknown): void {}`,
		"lib/bad.js":      `import "./absent.js"`,
	} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src, err := scripts.Collect(filepath.Join(dir, "tasks", "a.js"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range src.Files {
		got = append(got, f.Name)
	}
	if want := []string{"tasks/a.js", "lib/f.ts", "tasks/data.json"}; !slices.Equal(got, want) {
		t.Errorf("files = %q, want %q", got, want)
	}
	bad := filepath.Join(dir, "lib", "bad.js")
	absent := filepath.ToSlash(filepath.Join(dir, "lib", "absent.js"))
	if _, err := scripts.Collect(bad); !errors.Is(err, scripts.ErrSource) || err.Error() != filepath.ToSlash(bad)+`:1:8: cannot import "./absent.js": there is no file `+absent {
		t.Errorf("error = %v", err)
	}
}

// Which file of a folder has the tasks.
func TestJavaScriptEntry(t *testing.T) {
	const task = `export default { run() {} }`
	tests := []struct {
		name  string
		path  string
		files []string
		key   string
		err   string
	}{
		{name: "the file itself", path: "x/b.js", files: []string{"b.js", "a.js"}, key: "b"},
		{name: "the only one", path: "x", files: []string{"lib/a.js", "one.ts", "one.test.js"}, key: "one"},
		{name: "the one of that name", path: "x", files: []string{"a.js", "index.js", "task.js"}, key: "task"},
		{name: "none of them", path: "x", files: []string{"b.js", "a.js"}, err: "x: which of a.js, b.js has the tasks? Name it task.js, or build it by its own name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src := scripts.Source{Path: tt.path}
			for _, name := range tt.files {
				src.Files = append(src.Files, abi.ScriptFile{Name: name, Text: task})
			}
			_, m, _, err := scripts.Build(t.Context(), rt, src)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("error = %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Tasks[0].Key; got != tt.key {
				t.Errorf("key = %s, want %s", got, tt.key)
			}
		})
	}
}

// What task.yaml says wins; its tasks are found by key, by class, or because
// there is one.
func TestJavaScriptManifest(t *testing.T) {
	const text = `import { nova } from "wasakari";
export const one = { class: "One", requires: ["a"], run: () => nova.serverList() };
export const two = { class: "Two", run() {}, revert() {} };`
	wasm, m, _, err := scripts.Build(t.Context(), rt, scripts.Source{
		Path: "t.js", Files: []abi.ScriptFile{{Name: "t.js", Text: text}},
		Manifest: []byte(`{"abi": 1, "library": "lib", "version": "2.0.0", "tasks": [{"key": "second", "class": "Two", "uses": []}, {"key": "one", "requires": ["b"]}]}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if m.Library != "lib" || m.Version != "2.0.0" || m.Tasks[0].Key != "second" || !slices.Equal(m.Tasks[1].Requires, []string{"b"}) {
		t.Errorf("manifest = %+v", m)
	}
	if len(m.Tasks[0].Uses) != 0 || !slices.Equal(m.Tasks[1].Uses, []string{abi.OpNovaServerList}) {
		t.Errorf("uses = %q and %q", m.Tasks[0].Uses, m.Tasks[1].Uses)
	}
	ref, err := abi.ReadEngine(wasm)
	if err != nil {
		t.Fatal(err)
	}
	if ref.Name != "javascript" || !slices.Equal(ref.Reverts, []string{"second"}) {
		t.Errorf("engine = %+v", ref)
	}
	_, _, _, err = scripts.Build(t.Context(), rt, scripts.Source{
		Path: "t.js", Files: []abi.ScriptFile{{Name: "t.js", Text: text}},
		Manifest: []byte(`{"abi": 1, "library": "lib", "version": "2.0.0", "tasks": [{"key": "third"}]}`),
	})
	if want := "task.yaml: task third is not in the source, which has one, two; name it so, or name its class"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}
