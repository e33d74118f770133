package snapshot_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
	"github.com/wasakari/wasakari/runtime/internal/snapshot"
)

// A snapshot begins where _initialize has ended, and is the same each time.
func TestFreeze(t *testing.T) {
	wasm := testwasm.Module("freeze")
	var logged bytes.Buffer
	frozen, err := snapshot.Freeze(t.Context(), wasm, snapshot.Options{StackFirst: true, Output: &logged})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := logged.String(), "ready\n"; got != want {
		t.Errorf("logged %q, want %q", got, want)
	}
	again, err := snapshot.Freeze(t.Context(), wasm, snapshot.Options{StackFirst: true})
	if err != nil || !bytes.Equal(again, frozen) {
		t.Errorf("another snapshot differs, %v", err)
	}
	r, err := runtime.New(runtime.Config{CompileInProcess: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(t.Context()) //nolint:errcheck // the test's own
	m, err := r.Admit(t.Context(), "frozen.wasm", frozen)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range m.Info().Exports {
		if e.Name == abi.Initialize {
			t.Error("it still exports _initialize")
		}
	}
	if got, want := m.Info().MemoryMin, int64(2*65536); got != want {
		t.Errorf("memory begins with %d bytes, want %d", got, want)
	}
	res, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key})
	if err != nil || res.Exit != abi.ExitSucceeded {
		t.Errorf("run = %d, %v, want 0: memory and globals as they were", res.Exit, err)
	}
}

func TestFreezeRefused(t *testing.T) {
	const head = "\x00asm\x01\x00\x00\x00"
	function := func(code string) []byte { // () with this code, and a table
		body := "\x00" + code + "\x0b"
		return []byte(head + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x04\x04\x01\x70\x00\x01" + "\x05\x03\x01\x00\x01" +
			"\x0c\x01\x01" + "\x0a" + string(rune(len(body)+2)) + "\x01" + string(rune(len(body))) + body + "\x0b\x04\x01\x01\x01x")
	}
	for _, tt := range []struct {
		name string
		wasm []byte
		want string
	}{
		{"nothing", nil, "it is no module"},
		{"no _initialize", testwasm.Module("noop"), "it exports no _initialize, or no memory"},
		{"a trap", []byte(head + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x05\x03\x01\x00\x01" +
			"\x07\x18\x02\x0b_initialize\x00\x00\x06memory\x02\x00" + "\x0a\x05\x01\x03\x00\x00\x0b"), "_initialize: wasm error: unreachable"},
		{"table.set", function("\x41\x00\xd0\x70\x26\x00"), "an instruction that changes tables"},
		{"memory.init", function("\x41\x00\x41\x00\x41\x00\xfc\x08\x00\x00"), "an instruction that uses data segments"},
		{"start", []byte(head + "\x08\x01\x00"), "a start function"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := snapshot.Freeze(t.Context(), tt.wasm, snapshot.Options{}); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error = %v, want %s", err, tt.want)
			}
		})
	}
}
