package meter_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
	"github.com/wasakari/wasakari/runtime/meter"
)

// FuzzRewrite rewrites whatever bytes: that never panics, and costs no more
// than the bytes allow; what wazero takes and the rewriter does too gives a
// module that wazero takes, each time the same. What wazero takes and the
// rewriter does not is not WebAssembly 2.0, or too large.
func FuzzRewrite(f *testing.F) {
	entries, err := testwasm.FS.ReadDir(".")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		f.Add(testwasm.Module(strings.TrimSuffix(e.Name(), ".wasm")))
	}
	generated, err := filepath.Glob(filepath.Join("testdata", "generated", "?.wasm"))
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range generated {
		wasm, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wasm)
	}
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x01\x05\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, wasm []byte) {
		o := meter.Options{TableEntries: 1 << 16, MergeData: true, ImageBytes: 1 << 10}
		got, err := meter.Rewrite(bytes.Clone(wasm), o)
		if err != nil {
			if got != nil {
				t.Error("a module with an error")
			}
			known := errors.Is(err, meter.ErrTooLarge) || errors.Is(err, meter.ErrTables) || errors.Is(err, meter.ErrNewer)
			if !known && small(wasm) && valid(t, wasm) {
				t.Errorf("refused, although it is valid: %v", err)
			}
			return
		}
		if most := 16*len(wasm) + 4<<20; len(got) > most {
			t.Errorf("%d bytes of %d, want at most %d", len(got), len(wasm), most)
		}
		if again, err := meter.Rewrite(wasm, o); err != nil || !bytes.Equal(got, again) {
			t.Errorf("other bytes the second time (%v)", err)
		}
		if _, err := meter.ImageOf(got); err != nil {
			t.Errorf("its image: %v", err)
		}
		if small(wasm) && valid(t, wasm) && !valid(t, got) {
			t.Errorf("valid, and not when it is rewritten: %x", wasm)
		}
	})
}

// small says that a module is within the bounds of admission: else wazero may
// take gigabytes to read it, or minutes, as bytes may claim anything.
func small(wasm []byte) bool {
	info, err := runtime.Inspect("fuzz", wasm)
	if err != nil {
		return false
	}
	c := info.Complexity
	for _, f := range []runtime.Figure{c.Body, c.Locals, c.Nesting, c.Branches, c.LocalBlocks, c.Values, c.Jumps, c.LoopWork, c.SumLocals} {
		if f.Value > f.Limit {
			return false
		}
	}
	return true
}
