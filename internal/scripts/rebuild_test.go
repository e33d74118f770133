package scripts_test

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/scripts"
)

// former makes of a module that was built here one that names another engine.
func former(t *testing.T, wasm []byte, change func(*abi.Manifest, []abi.ScriptFile)) []byte {
	t.Helper()
	m, err := abi.ReadManifest(wasm)
	if err != nil {
		t.Fatal(err)
	}
	files, err := abi.ReadScript(wasm)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := abi.ReadEngine(wasm)
	if err != nil {
		t.Fatal(err)
	}
	ref.Digest = strings.Repeat("5", 64)
	if change != nil {
		change(m, files)
	}
	if wasm, err = abi.ScriptModule(m, files, *ref); err != nil {
		t.Fatal(err)
	}
	return wasm
}

// A module of another release is made anew: all of it stays but the engine, the
// version and the signature.
func TestRebuild(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ file, text string }{
		{"a.py", header + "class A(task.Task):\n    def execute(self, host_name): pass\n    def revert(self, **k): pass\n"},
		{"a.ts", "export default { run(): void {}, revert() {} }"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			t.Parallel()
			wasm, m, _, err := scripts.Build(t.Context(), rt, scripts.Source{
				Path: tt.file, Files: []abi.ScriptFile{{Name: tt.file, Text: tt.text}},
				Manifest: []byte(`{"library": "lib", "version": "2.0.0", "tasks": [{"key": "other", "options": [{"group": "g", "name": "n", "type": "string"}]}]}`),
			})
			if err != nil {
				t.Fatal(err)
			}
			_, key, err := ed25519.GenerateKey(nil)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := abi.Sign(former(t, wasm, nil), key)
			if err != nil {
				t.Fatal(err)
			}
			again, next, notes, err := scripts.Rebuild(t.Context(), rt, "m.wasm", signed)
			if err != nil {
				t.Fatal(err)
			}
			ref, err := abi.ReadEngine(again)
			if err != nil {
				t.Fatal(err)
			}
			if want := "2.0.0+engine." + ref.Digest[:12]; next.Version != want {
				t.Errorf("version = %s, want %s", next.Version, want)
			}
			next.Version = m.Version
			if got, want := string(next.Encode()), string(m.Encode()); got != want {
				t.Errorf("manifest\n got %s\nwant %s", got, want)
			}
			if was, _ := abi.ReadEngine(wasm); ref.Digest != was.Digest || !slices.Equal(ref.Reverts, []string{"other"}) {
				t.Errorf("engine = %+v, want %+v", ref, was)
			}
			if len(notes) != 2 || !strings.HasPrefix(notes[1], "the signature is gone") {
				t.Errorf("notes = %q", notes)
			}
			same, _, notes, err := scripts.Rebuild(t.Context(), rt, "m.wasm", again)
			if err != nil || string(same) != string(again) || len(notes) != 1 {
				t.Errorf("once more: %v, notes %q, want the same bytes", err, notes)
			}
			// What no author gave a version has another one each time it is rebuilt.
			twice, next, _, err := scripts.Rebuild(t.Context(), rt, "m.wasm", former(t, wasm, func(m *abi.Manifest, _ []abi.ScriptFile) { m.Version = "0.0.0+0123.engine.555555555555" }))
			if want := "0.0.0+0123.engine." + ref.Digest[:12]; err != nil || next.Version != want || len(twice) == 0 {
				t.Errorf("version %v, %v, want %s", next, err, want)
			}
			_, _, _, err = scripts.Rebuild(t.Context(), rt, "m.wasm", former(t, wasm, func(_ *abi.Manifest, files []abi.ScriptFile) { files[0].Text = "" }))
			if !errors.Is(err, scripts.ErrSource) {
				t.Errorf("script without tasks: %v, want ErrSource", err)
			}
		})
	}
	for name, tt := range map[string]struct{ wasm, want string }{
		"no module":    {"hello", "m.wasm: "},
		"no script":    {"\x00asm\x01\x00\x00\x00", "m.wasm: it is a module already, and of no script; wasakari task pack puts a manifest in"},
		"other engine": {string(engineOnly(t)), "m.wasm: this program has no engine for cobol"},
	} {
		if _, _, _, err := scripts.Rebuild(t.Context(), rt, "m.wasm", []byte(tt.wasm)); !errors.Is(err, scripts.ErrSource) || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: error = %v, want %s", name, err, tt.want)
		}
	}
}

func engineOnly(t *testing.T) []byte {
	t.Helper()
	m, err := abi.ParseManifest([]byte(`{"abi":1,"library":"l","version":"1.0.0","tasks":[{"key":"a"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	wasm, err := abi.ScriptModule(m, []abi.ScriptFile{{Name: "a.cob"}}, abi.EngineRef{Name: "cobol", Digest: strings.Repeat("5", 64)})
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}
