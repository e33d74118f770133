package meter_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/wasakari/wasakari/runtime/meter"
)

// kernels are the exports of the guests of testdata/kernels, and how often
// each does its work in a round of a few milliseconds.
var kernels = map[string]map[string]uint64{
	"c": {
		"block": 8, "sort": 2, "matrix": 10, "fib": 16, "sieve": 4, "sum": 80,
		"scan": 3000, "table": 600_000, "copy": 200_000,
	},
	"rust": {"tree": 40, "strings": 20, "sort": 10, "hash": 200},
	"go":   {"sha": 100, "documents": 100, "sort": 5, "matrix": 50, "words": 20},
}

// BenchmarkOverhead says how much longer compiled guests take when they are
// metered: the quickest of all rounds against the quickest bare one, since
// whatever else goes on only adds.
func BenchmarkOverhead(b *testing.B) {
	for _, guest := range []string{"c", "rust", "go"} {
		wasm := kernel(b, guest)
		bare, metered := running(b, wasm, false), running(b, wasm, true)
		for name, n := range kernels[guest] {
			b.Run(guest+"/"+name, func(b *testing.B) {
				best := [2]time.Duration{time.Hour, time.Hour}
				for b.Loop() {
					for i, mod := range []api.Module{bare, metered} {
						start := time.Now()
						if _, err := mod.ExportedFunction(name).Call(b.Context(), n); err != nil {
							b.Fatal(err)
						}
						best[i] = min(best[i], time.Since(start))
					}
				}
				b.ReportMetric(float64(best[1])/float64(best[0]), "ratio")
			})
		}
	}
}

// kernel gives a guest; that in Go, which is large, is built.
func kernel(b *testing.B, guest string) []byte {
	b.Helper()
	if guest != "go" {
		return read(b, filepath.Join("testdata", "kernels", guest+".wasm"))
	}
	out := filepath.Join(b.TempDir(), "go.wasm")
	build := exec.CommandContext(b.Context(), "go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, filepath.Join("testdata", "kernels", "go", "main.go"))
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=", "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, text)
	}
	return read(b, out)
}

// running instantiates a guest.
func running(b *testing.B, wasm []byte, rewrite bool) api.Module {
	b.Helper()
	ctx := b.Context()
	rt := wazero.NewRuntime(ctx)
	b.Cleanup(func() { _ = rt.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, rt)
	if rewrite {
		l := newLedger(1 << 17)
		l.calls = true
		l.provide(b, rt)
		metered, err := meter.Rewrite(wasm, meter.Options{TableEntries: 1 << 16, MergeData: true})
		if err != nil {
			b.Fatal(err)
		}
		wasm = metered
	}
	mod, err := rt.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize"))
	if err != nil {
		b.Fatal(err)
	}
	return mod
}

// BenchmarkRewrite rewrites a guest of Go, of 3 MB.
func BenchmarkRewrite(b *testing.B) {
	wasm := kernel(b, "go")
	b.SetBytes(int64(len(wasm)))
	b.ReportAllocs()
	var got []byte
	for b.Loop() {
		var err error
		if got, err = meter.Rewrite(wasm, meter.Options{TableEntries: 1 << 16, MergeData: true}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(got))/float64(len(wasm)), "size")
}

// BenchmarkInstantiate makes instances of a guest of Go, whose linker makes
// thousands of data segments, with these and with few.
func BenchmarkInstantiate(b *testing.B) {
	wasm := kernel(b, "go")
	for name, merge := range map[string]bool{"segments=many": false, "segments=few": true} {
		b.Run(name, func(b *testing.B) {
			ctx := b.Context()
			rt := wazero.NewRuntime(ctx)
			defer func() { _ = rt.Close(ctx) }()
			wasi_snapshot_preview1.MustInstantiate(ctx, rt)
			newLedger(1<<17).provide(b, rt)
			metered, err := meter.Rewrite(wasm, meter.Options{MergeData: merge})
			if err != nil {
				b.Fatal(err)
			}
			compiled, err := rt.CompileModule(ctx, metered)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				mod, err := rt.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
				if err != nil {
					b.Fatal(err)
				}
				if err := mod.Close(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
