package abi_test

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
)

var someDigest = strings.Repeat("0123456789abcdef", 4)

// engineSection makes a custom section of any size.
func engineSection(data string) string {
	body := "\x0fwasakari.engine" + data
	return "\x00" + string(binary.AppendUvarint(nil, uint64(len(body)))) + body
}

func TestReadEngine(t *testing.T) {
	good := `{"name":"python","digest":"` + someDigest + `","reverts":["a"]}`
	for _, tt := range []struct {
		name, wasm string
		want       error
		text       string
	}{
		{name: "none", wasm: head + code},
		{name: "good", wasm: head + engineSection(good), text: "python sha256:" + someDigest},
		{name: "two", wasm: head + engineSection(good) + engineSection(good), want: abi.ErrTwoEngines},
		{name: "no JSON", wasm: head + engineSection("python"), want: abi.ErrBadEngine},
		{name: "no name", wasm: head + engineSection(`{"digest":"`+someDigest+`"}`), want: abi.ErrBadEngine},
		{name: "name with spaces", wasm: head + engineSection(`{"name":"p y","digest":"`+someDigest+`"}`), want: abi.ErrBadEngine},
		{name: "short digest", wasm: head + engineSection(`{"name":"python","digest":"12"}`), want: abi.ErrBadEngine},
		{name: "unknown key", wasm: head + engineSection(`{"name":"python","Digest":"`+someDigest+`"}`), want: abi.ErrBadEngine},
		{name: "too large", wasm: head + engineSection(good+strings.Repeat(" ", 64<<10)), want: abi.ErrBadEngine},
		{name: "no module", wasm: "#!", want: abi.ErrNotWasm},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ref, err := abi.ReadEngine([]byte(tt.wasm))
			if !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
			if text := ""; ref != nil {
				if text = ref.String(); text != tt.text {
					t.Errorf("engine = %q, want %q", text, tt.text)
				}
				if !ref.Has("a") || ref.Has("b") {
					t.Errorf("reverts = %q", ref.Reverts)
				}
			} else if tt.text != "" {
				t.Error("no engine")
			}
		})
	}
}

// numbered makes n files.
func numbered(n int) []abi.ScriptFile {
	list := make([]abi.ScriptFile, n)
	for i := range list {
		list[i].Name = strconv.Itoa(i)
	}
	return list
}

func TestScriptModule(t *testing.T) {
	m, err := abi.ParseManifest([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	ref := abi.EngineRef{Name: "python", Digest: someDigest}
	files := []abi.ScriptFile{{Name: "a.py", Text: "a = '<b>'\n"}}
	wasm, err := abi.ScriptModule(m, files, ref)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := abi.ReadEngine(wasm); err != nil || got.String() != ref.String() {
		t.Errorf("engine = %v, %v", got, err)
	}
	if got, err := abi.ReadManifest(wasm); err != nil || string(got.Encode()) != string(m.Encode()) {
		t.Errorf("manifest = %v, %v", got, err)
	}
	list, err := abi.CustomSections(wasm)
	if err != nil || len(list) != 3 || list[0].Name != abi.ScriptSection || string(list[0].Data) != `{"files":[{"name":"a.py","text":"a = '<b>'\n"}]}` {
		t.Errorf("sections = %v, %v", list, err)
	}
	for name, wrong := range map[string]func() error{
		"engine":   func() error { _, err := abi.ScriptModule(m, files, abi.EngineRef{}); return err },
		"manifest": func() error { _, err := abi.ScriptModule(&abi.Manifest{}, files, ref); return err },
		"many":     func() error { _, err := abi.ScriptModule(m, numbered(1001), ref); return err },
		"a name with a line end": func() error {
			_, err := abi.ScriptModule(m, []abi.ScriptFile{{Name: "a\n.py"}}, ref)
			return err
		},
		"large": func() error {
			_, err := abi.ScriptModule(m, []abi.ScriptFile{{Name: "a", Text: strings.Repeat("x", 1<<20)}}, ref)
			return err
		},
	} {
		if wrong() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestReadScript(t *testing.T) {
	section := func(data string) string {
		body := "\x0fwasakari.script" + data
		return "\x00" + string(binary.AppendUvarint(nil, uint64(len(body)))) + body
	}
	good := `{"files":[{"name":"a.py","text":"a"}]}`
	for _, tt := range []struct {
		name, wasm string
		want       error
		files      int
	}{
		{name: "none", wasm: head + code},
		{name: "good", wasm: head + section(good), files: 1},
		{name: "two", wasm: head + section(good) + section(good), want: abi.ErrTwoScripts},
		{name: "no JSON", wasm: head + section("{"), want: abi.ErrBadScript},
		{name: "a key twice", wasm: head + section(`{"files":[],"files":[]}`), want: abi.ErrBadScript},
		{name: "a name twice", wasm: head + section(`{"files":[{"name":"a","text":""},{"name":"a","text":""}]}`), want: abi.ErrBadScript},
		{name: "a name that is no print", wasm: head + section(`{"files":[{"name":"a\n","text":""}]}`), want: abi.ErrBadScript},
		{name: "too large", wasm: head + section(good+strings.Repeat(" ", 1<<20)), want: abi.ErrBadScript},
		{name: "no module", wasm: "#!", want: abi.ErrNotWasm},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files, err := abi.ReadScript([]byte(tt.wasm))
			if !errors.Is(err, tt.want) || len(files) != tt.files {
				t.Errorf("files = %v, %v; want %d, %v", files, err, tt.files, tt.want)
			}
		})
	}
}

func FuzzReadEngine(f *testing.F) {
	f.Add([]byte(`{"name":"python","digest":"` + someDigest + `","reverts":["a"]}`))
	f.Add([]byte(`{"name":"","digest":"0"}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		ref, err := abi.ReadEngine([]byte(head + engineSection(string(doc))))
		if (ref == nil) != (err != nil) {
			t.Fatalf("engine %v, error %v", ref, err)
		}
	})
}
