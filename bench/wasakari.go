package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime"
)

// wasakariKey is the key of the task that every guest holds.
const wasakariKey = "bench_task"

// wasakariHost checks grants as hostfuncs does, which has an entry for each op.
type wasakariHost struct {
	host    *host
	refused []*abi.Error
}

func (h *wasakariHost) Do(_ context.Context, op *abi.Op, _ []byte) ([]byte, error) {
	i := op.Index()
	if i < 0 || i >= len(h.refused) {
		return nil, abi.Errorf(abi.ErrnoInvalid, "%s: not an op", op.Name)
	}
	if refused := h.refused[i]; refused != nil {
		return nil, refused
	}
	if answer := h.host.do(op.Name); answer != nil {
		return answer, nil
	}
	return nil, abi.Errorf(abi.ErrnoInvalid, "%s: not an op of the benchmark", op.Name)
}

func (*wasakariHost) Log(abi.Level, string) {}

func (*wasakariHost) Progress(int, string) {}

type wasakariProgram struct {
	runtime *runtime.Runtime
	module  *runtime.Module
	call    runtime.Call
}

func compileWasakari(ctx context.Context, guest []byte, h *host, _ string) (program, error) {
	manifest := &abi.Manifest{
		ABI: 1, Library: "bench", Version: "1.0.0", Summary: "Benchmark",
		Tasks: []abi.ManifestTask{{Key: wasakariKey, Summary: "Benchmark", Uses: []string{"kv.get", "nova.server_get"}}},
	}
	wasm, err := abi.AppendManifest(guest, manifest)
	if err != nil {
		return nil, err
	}
	r, err := runtime.New(runtime.Config{})
	if err != nil {
		return nil, err
	}
	m, err := r.Admit(ctx, "bench", wasm)
	if err != nil {
		_ = r.Close(ctx) // the error before matters
		return nil, err
	}
	return &wasakariProgram{r, m, runtime.Call{
		Key: wasakariKey, Host: &wasakariHost{h, make([]*abi.Error, len(abi.Ops()))},
		// Benchmarks go on for longer than tasks may.
		Limits: runtime.Limits{HostCallsPerSecond: int(time.Second), CPU: math.MaxInt64 / 2},
	}}, nil
}

func (p *wasakariProgram) Task(ctx context.Context) error {
	res, err := p.module.Run(ctx, p.call)
	if err != nil {
		return err
	}
	if res.Exit != abi.ExitSucceeded {
		return fmt.Errorf("%w: exit %d", errWrong, res.Exit)
	}
	return nil
}

func (p *wasakariProgram) Open(context.Context) (instance, error) {
	return nil, errNotOffered("each run has a fresh sandbox, so that nothing is left of the run before")
}

func (p *wasakariProgram) Close(ctx context.Context) error { return p.runtime.Close(ctx) }
