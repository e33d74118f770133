package runtime_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testcompiler"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// host is a runtime.Host of function fields; nil ones answer {}.
type host struct {
	do func(ctx context.Context, op *abi.Op, req []byte) ([]byte, error)

	mu       sync.Mutex
	ops      []string
	logs     []string
	progress []string
}

func (h *host) Do(ctx context.Context, op *abi.Op, req []byte) ([]byte, error) {
	h.mu.Lock()
	h.ops = append(h.ops, op.Name)
	h.mu.Unlock()
	if h.do == nil {
		return []byte("{}"), nil
	}
	return h.do(ctx, op, req)
}

func (h *host) Log(level abi.Level, msg string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logs = append(h.logs, level.String()+" "+msg)
}

func (h *host) Progress(permille int, msg string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.progress = append(h.progress, fmt.Sprintf("%d %s", permille, msg))
}

// quickCompiler is runtime.Config.Compiler for tests that are about modules
// rather than about the compiler.
var quickCompiler string

func TestMain(m *testing.M) {
	testcompiler.Main(func(file string) int {
		quickCompiler = file
		return m.Run()
	})
}

// newRuntime gives a Runtime that is closed with the test. It compiles in
// this process, which is quicker; compile_test.go has tests of the other way.
func newRuntime(t testing.TB, cfg runtime.Config) *runtime.Runtime {
	t.Helper()
	cfg.CompileInProcess = true
	if cfg.Logger == nil {
		cfg.Logger = zaptest.NewLogger(t)
	}
	r, err := runtime.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

// admit gives a golden module.
func admit(t testing.TB, r *runtime.Runtime, name string) *runtime.Module {
	t.Helper()
	m, err := r.Admit(t.Context(), name+".wasm", testwasm.Module(name))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// run runs a golden module in a Runtime of its own.
func run(t *testing.T, name string, h *host, l runtime.Limits) (runtime.Result, error) {
	t.Helper()
	if l == (runtime.Limits{}) {
		l.Timeout = 20 * time.Second // not 5 minutes, when something is broken
	}
	return admit(t, newRuntime(t, runtime.Config{}), name).Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: h, Limits: l})
}

// imports numbers the imports of drive.wat.
var imports = func() map[string]uint64 {
	info, err := runtime.Inspect("drive.wasm", testwasm.Module("drive"))
	if err != nil {
		panic(err)
	}
	m := map[string]uint64{}
	for i, imp := range info.Imports {
		m[imp.Name] = uint64(i + 1)
	}
	return m
}()

// What drive.wat has where.
const (
	resultsAt  = 512
	programAt  = 1024
	recordSize = 80
	memorySize = 2 * 65536
)

// invoke is one call that drive.wat makes.
type invoke struct {
	name string
	args []uint64
}

// program gives what task.input answers to drive.wat, and the address at which
// data is then. Arguments may be made with the address.
func program(data []byte, exit, dump uint64, calls func(at uint64) []invoke) []byte {
	n := len(calls(0))
	at := uint64(programAt + (n+1)*recordSize)
	var out []byte
	record := func(number uint64, args []uint64) {
		b := make([]byte, recordSize)
		binary.LittleEndian.PutUint64(b, number)
		for i, a := range args {
			binary.LittleEndian.PutUint64(b[8+8*i:], a)
		}
		out = append(out, b...)
	}
	for _, c := range calls(at) {
		number, ok := imports[c.name]
		if !ok {
			panic("drive.wat does not import " + c.name)
		}
		record(number, c.args)
	}
	record(0, []uint64{exit, dump})
	return append(out, data...)
}

// driven is what drive.wat handed over: its memory from resultsAt.
type driven []byte

func (d driven) result(i int) int64 { return int64(binary.LittleEndian.Uint64(d[8*i:])) }

func (d driven) at(address uint64, n int) []byte { return d[address-resultsAt:][:n] }

// drive runs drive.wat. do answers all ops but task.input and kv.put.
func drive(t *testing.T, h *host, l runtime.Limits, data []byte, calls func(at uint64) []invoke) (driven, runtime.Result, error) {
	t.Helper()
	return driveCall(t, h, runtime.Call{Limits: l}, data, calls)
}

// driveCall is drive with more to choose.
func driveCall(t *testing.T, h *host, call runtime.Call, data []byte, calls func(at uint64) []invoke) (driven, runtime.Result, error) {
	t.Helper()
	var got driven
	prog := program(data, 0, 32768, calls)
	do := h.do
	h.do = func(ctx context.Context, op *abi.Op, req []byte) ([]byte, error) {
		switch {
		case op.Name == abi.OpTaskInput:
			return prog, nil
		case op.Name == abi.OpKVPut:
			got = append(got, req...)
		case do != nil:
			return do(ctx, op, req)
		}
		return []byte("{}"), nil
	}
	call.Key, call.Host = testwasm.Key, h
	if call.Limits == (runtime.Limits{}) {
		call.Limits.Timeout = 20 * time.Second // not 5 minutes, when something is broken
	}
	res, err := admit(t, newRuntime(t, runtime.Config{}), "drive").Run(t.Context(), call)
	return got, res, err
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func isDeadline(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

func message(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}
