package abi_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
)

const (
	head  = "\x00asm\x01\x00\x00\x00"
	small = `{"abi":1,"library":"a","version":"1.0.0","tasks":[{"key":"k"}]}`
	// code is a type, a function and a code section: one function that does nothing.
	code = "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x0a\x04\x01\x02\x00\x0b"
)

// custom is a custom section of less than 128 bytes.
func custom(name, data string) string {
	body := string(rune(len(name))) + name + data
	return "\x00" + string(rune(len(body))) + body
}

func TestReadManifest(t *testing.T) {
	section := custom("wasakari.task", small)
	tests := []struct {
		name, wasm string
		want       error
		text       string
	}{
		{name: "alone", wasm: head + section},
		{name: "before and after others", wasm: head + custom("name", "x") + section + code},
		{name: "after the code", wasm: head + code + section + custom("producers", "")},
		{name: "empty", want: abi.ErrNotWasm, text: "not a WebAssembly module: it does not begin with 00 61 73 6d"},
		{name: "a script", wasm: "#!/usr/bin/python", want: abi.ErrNotWasm, text: "not a WebAssembly module: it does not begin with 00 61 73 6d"},
		{name: "head cut off", wasm: "\x00asm\x01", want: abi.ErrTruncated, text: "the module is truncated or malformed: it ends after 5 bytes"},
		{
			name: "component", wasm: "\x00asm\x0d\x00\x01\x00" + section, want: abi.ErrComponent,
			text: "a component, not a core module; build for a core target such as wasm32-wasip1, without wrapping it",
		},
		{
			name: "another version", wasm: "\x00asm\x02\x00\x00\x00", want: abi.ErrNotWasm,
			text: "not a WebAssembly module: binary format 02 00 00 00; this host reads 01 00 00 00",
		},
		{name: "no sections", wasm: head, want: abi.ErrNoManifest},
		{name: "none of that name", wasm: head + code + custom("wasakari.tasks", small), want: abi.ErrNoManifest},
		{
			name: "two", wasm: head + section + code + section, want: abi.ErrTwoManifests,
			text: abi.ErrTwoManifests.Error() + " (the second at byte 103)",
		},
		{name: "size cut off", wasm: head + "\x00\x80\x80", want: abi.ErrTruncated, text: "the module is truncated or malformed: size of the section at byte 8"},
		{name: "size of six bytes", wasm: head + "\x00\x80\x80\x80\x80\x80\x00", want: abi.ErrTruncated, text: "the module is truncated or malformed: size of the section at byte 8"},
		{name: "size of 33 bits", wasm: head + "\x00\xff\xff\xff\xff\x1f", want: abi.ErrTruncated, text: "the module is truncated or malformed: size of the section at byte 8"},
		{
			name: "section cut off", wasm: head + section[:40], want: abi.ErrTruncated,
			text: "the module is truncated or malformed: the section at byte 8 has 77 bytes, the file only 38 more",
		},
		{name: "name longer than its section", wasm: head + "\x00\x03\x09ab", want: abi.ErrTruncated, text: "the module is truncated or malformed: name of the custom section at byte 8"},
		{name: "custom section without name", wasm: head + "\x00\x00", want: abi.ErrTruncated, text: "the module is truncated or malformed: name of the custom section at byte 8"},
		{name: "name that is no text", wasm: head + "\x00\x02\x01\xff", want: abi.ErrTruncated, text: "the module is truncated or malformed: name of the custom section at byte 8 is not UTF-8"},
		{name: "a flood of sections", wasm: head + strings.Repeat("\x00\x01\x00", 5000), want: abi.ErrTruncated, text: "the module is truncated or malformed: more than 4096 sections"},
		{name: "manifest empty", wasm: head + custom("wasakari.task", ""), text: "manifest: the document is not JSON: unexpected end of JSON input, at byte 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := abi.ReadManifest([]byte(tt.wasm))
			if tt.want == nil && tt.text == "" {
				if err != nil {
					t.Fatal(err)
				}
				if m.Task("k") == nil {
					t.Errorf("task k is not in %+v", m)
				}
				return
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
			if tt.text != "" && (err == nil || err.Error() != tt.text) {
				t.Errorf("error\n got %v\nwant %s", err, tt.text)
			}
		})
	}
}

func TestAppendManifest(t *testing.T) {
	m, err := abi.ParseManifest([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	rest := head + custom("name", "x") + code + custom("producers", "y")
	old := custom("wasakari.task", small)
	want, err := abi.AppendManifest([]byte(rest), m)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(want, []byte(rest)) {
		t.Error("the module was changed")
	}
	for name, wasm := range map[string]string{
		"replaced": head + custom("name", "x") + old + code + custom("producers", "y"),
		"two":      head + old + custom("name", "x") + code + custom("producers", "y") + old,
		"again":    string(want),
	} {
		got, err := abi.AppendManifest([]byte(wasm), m)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", name, got, want)
		}
	}
	read, err := abi.ReadManifest(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(read.Encode()); got != string(m.Encode()) {
		t.Errorf("read back %s", got)
	}
	if _, err := abi.AppendManifest([]byte(rest), &abi.Manifest{}); err == nil {
		t.Error("an invalid manifest was packed")
	}
	if _, err := abi.AppendManifest([]byte("#!"), m); !errors.Is(err, abi.ErrNotWasm) {
		t.Errorf("packed into a script: %v, want %v", err, abi.ErrNotWasm)
	}
}

func TestCustomSections(t *testing.T) {
	wasm := []byte(head + custom("name", "x") + code + custom("wasakari.script", "yz"))
	list, err := abi.CustomSections(wasm)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Name != "name" || list[1].Name != abi.ScriptSection || string(list[1].Data) != "yz" {
		t.Errorf("sections = %+v", list)
	}
	if got, want := string(wasm[list[0].Offset:list[0].End]), custom("name", "x"); got != want {
		t.Errorf("first section = %q, want %q", got, want)
	}
}

func FuzzReadManifest(f *testing.F) {
	section := custom("wasakari.task", small)
	for _, s := range []string{
		head + section, head + code + section + section, head + "\x00\x80\x80\x80\x80\x80", "\x00asm\x0d\x00\x01\x00", head + "\x00\x03\x09ab", "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, wasm []byte) {
		m, err := abi.ReadManifest(wasm)
		if err != nil || len(m.Encode()) > abi.MaxManifest {
			return
		}
		packed, err := abi.AppendManifest(wasm, m)
		if err != nil {
			t.Fatalf("read, and not to be packed: %v", err)
		}
		if _, err := abi.ReadManifest(packed); err != nil {
			t.Fatalf("packed, and not to be read: %v", err)
		}
	})
}
