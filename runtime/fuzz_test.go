package runtime_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// FuzzAdmit feeds hostile bytes to admission, and runs what gets through:
// nothing may panic, what Inspect refuses Admit does too, and each refusal is
// an AdmissionError.
func FuzzAdmit(f *testing.F) {
	entries, err := fs.ReadDir(testwasm.FS, ".")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		wasm, err := fs.ReadFile(testwasm.FS, e.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wasm)
	}
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x04\x05\x01\x70\x00\xff\xff"))
	f.Fuzz(func(t *testing.T, wasm []byte) {
		r, err := runtime.New(runtime.Config{Logger: zap.NewNop(), CompileInProcess: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := r.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		_, refused := runtime.Inspect("fuzz", wasm)
		m, err := r.Admit(t.Context(), "fuzz", wasm)
		if err != nil {
			if _, ok := errors.AsType[*runtime.AdmissionError](err); !ok {
				t.Errorf("error = %v, want an AdmissionError", err)
			}
			return
		}
		if refused != nil {
			t.Errorf("admitted, although Inspect refused it: %v", refused)
		}
		limits := runtime.Limits{Timeout: 10 * time.Millisecond, MemoryBytes: 1 << 20}
		_, _ = m.Run(t.Context(), runtime.Call{Key: m.Manifest().Tasks[0].Key, Host: &host{}, Limits: limits})
	})
}
