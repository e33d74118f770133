package runtime_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// unlimited is a rate of host calls that nothing reaches.
const unlimited = int(time.Second)

// BenchmarkAdmit admits the smallest task and the standard tasks, a Go module
// of 4 MB: compiled anew by a process of its own, and from the cache.
func BenchmarkAdmit(b *testing.B) {
	for name, wasm := range map[string][]byte{
		"noop":     testwasm.Module("noop"),
		"standard": []byte(readFile(b, "../internal/standardtasks/standard.wasm")),
	} {
		for _, cached := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/cached=%t", name, cached), func(b *testing.B) {
				var cfg runtime.Config
				if cached {
					cfg.CacheDir = b.TempDir()
					admitOnce(b, cfg, wasm)
				}
				b.ReportAllocs()
				for b.Loop() {
					admitOnce(b, cfg, wasm)
				}
			})
		}
	}
}

func admitOnce(b *testing.B, cfg runtime.Config, wasm []byte) {
	b.Helper()
	r, err := runtime.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := r.Admit(b.Context(), "bench", wasm); err != nil {
		b.Fatal(err)
	}
	if err := r.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkStop says by how much guests that never end outlive their limit of
// time, in 99 of 100 rounds.
func BenchmarkStop(b *testing.B) {
	const limit = 20 * time.Millisecond
	for _, g := range hostile {
		b.Run(g.name, func(b *testing.B) {
			m := admit(b, newRuntime(b, runtime.Config{Logger: zap.NewNop()}), g.name)
			limits := g.limits
			limits.Timeout, limits.CPU, limits.HostCallsPerSecond = limit, 1e15, unlimited
			call := runtime.Call{Key: testwasm.Key, Host: g.host, Limits: limits}
			var late []time.Duration
			for b.Loop() {
				res, err := m.Run(b.Context(), call)
				if !errors.Is(err, context.DeadlineExceeded) {
					b.Fatal(err)
				}
				late = append(late, res.Took-limit)
			}
			slices.Sort(late)
			b.ReportMetric(float64(late[len(late)*99/100])/float64(time.Millisecond), "p99-ms")
		})
	}
}

// BenchmarkRun makes a sandbox, runs the smallest task in it and closes it.
func BenchmarkRun(b *testing.B) {
	m := admit(b, newRuntime(b, runtime.Config{Logger: zap.NewNop()}), "noop")
	call := runtime.Call{Key: testwasm.Key, Host: &host{}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Run(b.Context(), call); err != nil {
			b.Fatal(err)
		}
	}
}

// answers is a Host that answers kv.get with the same document.
type answers struct{ count, answer []byte }

func (a answers) Do(_ context.Context, op *abi.Op, _ []byte) ([]byte, error) {
	if op.Name == abi.OpTaskInput {
		return a.count, nil
	}
	return a.answer, nil
}

func (answers) Log(abi.Level, string) {}

func (answers) Progress(int, string) {}

func sizes() map[string]int { return map[string]int{"0B": 0, "2KB": 2 << 10, "64KB": 64 << 10} }

// BenchmarkCall does a local op from inside one sandbox.
func BenchmarkCall(b *testing.B) {
	m := admit(b, newRuntime(b, runtime.Config{Logger: zap.NewNop()}), "count_calls")
	for name, n := range sizes() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			h := answers{binary.LittleEndian.AppendUint64(nil, uint64(b.N)), bytes.Repeat([]byte("x"), n)}
			b.ResetTimer()
			res, err := m.Run(b.Context(), runtime.Call{Key: testwasm.Key, Host: h, Limits: runtime.Limits{HostCallsPerSecond: unlimited, CPU: 1e15}})
			if err != nil || res.Exit != abi.ExitSucceeded {
				b.Fatal(res, err)
			}
		})
	}
}

// BenchmarkCallBare is the same guest on bare wazero, with a host function
// that checks nothing but the bounds of memory: what BenchmarkCall is held
// against.
func BenchmarkCallBare(b *testing.B) {
	for name, n := range sizes() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			ctx := b.Context()
			answer := bytes.Repeat([]byte("x"), n)
			rt := wazero.NewRuntime(ctx)
			defer func() { _ = rt.Close(ctx) }()
			i32, i64 := api.ValueTypeI32, api.ValueTypeI64
			first := true
			_, err := rt.NewHostModuleBuilder(abi.ImportModule).NewFunctionBuilder().
				WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, mod api.Module, stack []uint64) {
					if first {
						first = false
						mod.Memory().WriteUint64Le(uint32(stack[4]), uint64(b.N))
						return
					}
					mod.Memory().Write(uint32(stack[4]), answer)
					stack[0] = uint64(len(answer))
				}), []api.ValueType{i32, i32, i32, i32, i32, i32}, []api.ValueType{i64}).Export(abi.Call).Instantiate(ctx)
			if err != nil {
				b.Fatal(err)
			}
			mod, err := rt.Instantiate(ctx, testwasm.Module("count_calls"))
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			if got, err := mod.ExportedFunction(abi.Run).Call(ctx); err != nil || got[0] != 0 {
				b.Fatal(got, err)
			}
		})
	}
}

// BenchmarkLive holds many sandboxes at once and says what one costs: their
// guests wait for a read that ends when all are there.
func BenchmarkLive(b *testing.B) {
	const sandboxes = 1000
	m := admit(b, newRuntime(b, runtime.Config{Logger: zap.NewNop()}), "read_once")
	for b.Loop() {
		arrived, release := make(chan struct{}, sandboxes), make(chan struct{})
		failed := make(chan error, sandboxes)
		for range sandboxes {
			go func() {
				h := &host{do: func(context.Context, *abi.Op, []byte) ([]byte, error) {
					arrived <- struct{}{}
					<-release
					return nil, nil
				}}
				_, err := m.Run(b.Context(), runtime.Call{Key: testwasm.Key, Host: h})
				failed <- err
			}()
		}
		for range sandboxes {
			<-arrived
		}
		b.ReportMetric(float64(residentBytes(b))/(1<<20), "MiB")
		close(release)
		for range sandboxes {
			if err := <-failed; err != nil {
				b.Fatal(err)
			}
		}
	}
}

func residentBytes(b *testing.B) int64 {
	b.Helper()
	var total, resident int64
	if _, err := fmt.Sscan(readFile(b, "/proc/self/statm"), &total, &resident); err != nil {
		b.Fatal(err)
	}
	return resident * 4096
}
