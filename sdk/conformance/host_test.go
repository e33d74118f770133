// Package conformance_test runs guests built with the SDKs of all languages
// through the same cases on the runtime of the product. What only Go promises,
// about goroutines and timers, and the guest of ABI.md also run on wazero alone,
// against the smallest host that speaks ABI v1. The host's own rules are tested
// with the host.
package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/wasakari/wasakari/abi"
)

// answer gives the answer of an op, which may wait.
type answer func(ctx context.Context, req []byte) (any, *abi.Error)

type delivery struct {
	ticket int32
	doc    []byte
	code   abi.Errno
}

// host is the host of one sandbox.
type host struct {
	input map[string]any
	ops   map[string]answer // by op
	limit int               // of open tickets; 0: none

	ctx       context.Context
	working   sync.WaitGroup // goroutines of open tickets
	delivered chan delivery

	mu       sync.Mutex
	kept     []byte
	tickets  int32
	open     map[int32]context.CancelFunc
	canceled []int32
	reason   string
	logs     []string
	steps    []string
	logged   chan string
	output   bytes.Buffer
}

func newHost(key string) *host {
	return &host{
		input: map[string]any{
			"key": key, "flow": "host-auto", "phase": "main", "run_id": "r", "attempt": 1,
			"idempotency_key": "r/main/0", "inputs": map[string]any{}, "options": map[string]any{},
		},
		ops:       map[string]answer{},
		delivered: make(chan delivery, 2000),
		open:      map[int32]context.CancelFunc{},
		logged:    make(chan string, 2000),
	}
}

// run instantiates the guest, calls the export and gives what it returned.
func (h *host) run(t *testing.T, rt wazero.Runtime, guest wazero.CompiledModule, export string) abi.Exit {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), hostKey{}, h))
	h.ctx = ctx
	defer h.working.Wait()
	defer cancel()
	mod, err := rt.InstantiateModule(ctx, guest, wazero.NewModuleConfig().WithName("").
		WithStartFunctions(abi.Initialize).WithStdout(&h.output).WithStderr(&h.output).
		WithSysWalltime().WithSysNanotime().WithSysNanosleep())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mod.Close(ctx) }()
	res, err := mod.ExportedFunction(export).Call(ctx)
	if err != nil {
		t.Fatalf("%s: %v\n%s", export, err, h.output.String())
	}
	return abi.Exit(api.DecodeI32(res[0]))
}

// openTickets counts the tickets that were never delivered.
func (h *host) openTickets() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

type hostKey struct{}

// hostModule is wasakari_v1; each function finds its host in the context.
func hostModule(ctx context.Context, rt wazero.Runtime) error {
	b := rt.NewHostModuleBuilder(abi.ImportModule)
	export := func(name string, params int, results []api.ValueType, f func(h *host, m api.Memory, s []uint64)) {
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, s []uint64) {
			f(ctx.Value(hostKey{}).(*host), m.Memory(), s)
		}), slices.Repeat([]api.ValueType{api.ValueTypeI32}, params), results).Export(name)
	}
	i64 := []api.ValueType{api.ValueTypeI64}
	export(abi.Call, 6, i64, func(h *host, m api.Memory, s []uint64) {
		doc, code := h.call(string(read(m, s[0], s[1])), read(m, s[2], s[3]))
		s[0] = uint64(h.keep(m, doc, code, s[4], s[5]))
	})
	export(abi.Take, 2, i64, func(h *host, m api.Memory, s []uint64) {
		s[0] = uint64(h.take(m, s[0], s[1]))
	})
	export(abi.Submit, 4, i64, func(h *host, m api.Memory, s []uint64) {
		s[0] = uint64(h.submit(string(read(m, s[0], s[1])), bytes.Clone(read(m, s[2], s[3]))))
	})
	export(abi.Wait, 3, i64, func(h *host, m api.Memory, s []uint64) {
		s[0] = uint64(h.wait(m, api.DecodeI32(s[0]), s[1], s[2]))
	})
	export(abi.Log, 3, nil, func(h *host, m api.Memory, s []uint64) {
		h.log(abi.Level(api.DecodeI32(s[0])), string(read(m, s[1], s[2])))
	})
	export(abi.SetProgress, 3, nil, func(h *host, m api.Memory, s []uint64) {
		h.progress(string(read(m, s[1], s[2])))
	})
	_, err := b.Instantiate(ctx)
	return err
}

// read panics, which is a trap, when the guest points outside its memory.
func read(m api.Memory, ptr, size uint64) []byte {
	b, ok := m.Read(uint32(ptr), uint32(size))
	if !ok {
		panic("pointer outside memory")
	}
	return b
}

func (h *host) log(level abi.Level, msg string) {
	line := level.String() + " " + msg
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logs = append(h.logs, line)
	h.logged <- line
}

func (h *host) progress(msg string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.steps = append(h.steps, msg)
}

// call does an op at once.
func (h *host) call(op string, req []byte) ([]byte, abi.Errno) {
	switch op {
	case abi.OpTaskInput:
		return document(h.input, nil)
	case abi.OpTaskReason:
		var r abi.TaskReasonRequest
		if err := abi.DecodeRequest(op, req, &r); err != nil {
			return document(nil, err)
		}
		h.reason = r.Reason
		return document(struct{}{}, nil)
	case abi.OpTaskCancel:
		var r abi.TaskCancelRequest
		if err := abi.DecodeRequest(op, req, &r); err != nil {
			return document(nil, err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.canceled = append(h.canceled, int32(r.Ticket))
		if cancel := h.open[int32(r.Ticket)]; cancel != nil {
			cancel()
			return document(struct{}{}, nil)
		}
		return document(nil, abi.Errorf(abi.ErrnoNotFound, "no such ticket"))
	}
	if h.ops[op] == nil {
		return document(nil, abi.Errorf(abi.ErrnoNotGranted, "no answer for call of %s", op))
	}
	return document(h.ops[op](h.ctx, req))
}

func document(ans any, refusal *abi.Error) ([]byte, abi.Errno) {
	code := abi.ErrnoOK
	if refusal != nil {
		ans, code = refusal, refusal.Code
	}
	doc, err := json.Marshal(ans)
	if err != nil {
		panic(err)
	}
	return doc, code
}

// keep copies an answer out, or keeps it.
func (h *host) keep(m api.Memory, doc []byte, code abi.Errno, out, outCap uint64) int64 {
	h.kept = doc
	if code != abi.ErrnoOK {
		return -int64(code)
	}
	if len(doc) <= int(api.DecodeU32(outCap)) {
		m.Write(api.DecodeU32(out), doc)
		h.kept = nil
	}
	return int64(len(doc))
}

func (h *host) take(m api.Memory, out, outCap uint64) int64 {
	switch {
	case h.kept == nil:
		return -int64(abi.ErrnoNotFound)
	case len(h.kept) <= int(api.DecodeU32(outCap)):
		m.Write(api.DecodeU32(out), h.kept)
	}
	return int64(len(h.kept))
}

func (h *host) submit(op string, req []byte) int64 {
	do := h.ops[op]
	if op == abi.OpTaskSleep {
		do = sleep
	}
	if do == nil {
		return -int64(abi.ErrnoInvalid)
	}
	ctx, cancel := context.WithCancel(h.ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.limit > 0 && len(h.open) >= h.limit {
		cancel()
		return -int64(abi.ErrnoQuota)
	}
	h.tickets++
	id := h.tickets
	h.open[id] = cancel
	h.working.Go(func() {
		doc, code := document(do(ctx, req))
		h.delivered <- delivery{id, doc, code}
	})
	return int64(id)
}

func (h *host) wait(m api.Memory, timeoutMS int32, out, outCap uint64) int64 {
	if h.openTickets() == 0 {
		return -int64(abi.ErrnoNotFound)
	}
	var timeout <-chan time.Time
	if timeoutMS >= 0 {
		timeout = time.After(time.Duration(timeoutMS) * time.Millisecond)
	}
	select {
	case d := <-h.delivered:
		h.mu.Lock()
		h.open[d.ticket]()
		delete(h.open, d.ticket)
		h.mu.Unlock()
		low := h.keep(m, d.doc, d.code, out, outCap)
		if low < 0 {
			low = -low | abi.WaitError
		}
		return int64(d.ticket)<<32 | low
	case <-timeout:
		return -int64(abi.ErrnoTimeout)
	}
}

// sleep answers task.sleep.
func sleep(ctx context.Context, req []byte) (any, *abi.Error) {
	var r abi.TaskSleepRequest
	if err := abi.DecodeRequest(abi.OpTaskSleep, req, &r); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, abi.Errorf(abi.ErrnoCanceled, "canceled")
	case <-time.After(time.Duration(r.Milliseconds) * time.Millisecond):
		return struct{}{}, nil
	}
}
