package main

import (
	"context"
	"errors"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/wapc/wapc-go"
	engine "github.com/wapc/wapc-go/engines/wazero"
)

type wapcProgram struct {
	module wapc.Module
	host   *host
}

var errUnknownOp = errors.New("not an op of the benchmark")

// compileWapc gives waPC on its wazero engine.
func compileWapc(ctx context.Context, guest []byte, h *host, way string) (program, error) {
	e := engine.Engine()
	if way == deadline {
		e = engine.EngineWithRuntime(func(ctx context.Context) (wazero.Runtime, error) {
			rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(true))
			_, err := wasi_snapshot_preview1.Instantiate(ctx, rt)
			return rt, err
		})
	}
	m, err := e.New(ctx, func(_ context.Context, _, _, operation string, _ []byte) ([]byte, error) {
		if answer := h.do(operation); answer != nil {
			return answer, nil
		}
		return nil, errUnknownOp
	}, guest, &wapc.ModuleConfig{})
	if err != nil {
		return nil, err
	}
	return &wapcProgram{m, h}, nil
}

type wapcInstance struct {
	wapc.Instance
	host *host
}

func (p *wapcProgram) Open(ctx context.Context) (instance, error) {
	i, err := p.module.Instantiate(ctx)
	if err != nil {
		return nil, err
	}
	// waPC's host knows only _start and wapc_init, so a reactor is started for it.
	if start := i.(*engine.Instance).UnwrapModule().ExportedFunction("_initialize"); start != nil {
		if _, err := start.Call(ctx); err != nil {
			_ = i.Close(ctx) // the error before matters
			return nil, err
		}
	}
	return &wapcInstance{i, p.host}, nil
}

func (p *wapcProgram) Task(ctx context.Context) error {
	i, err := p.Open(ctx)
	if err != nil {
		return err
	}
	if err := i.Call(ctx); err != nil {
		_ = i.Close(ctx) // the error before matters
		return err
	}
	return i.Close(ctx)
}

// Call gives an error when the guest does not answer 1.
func (i *wapcInstance) Call(ctx context.Context) error {
	_, err := i.Invoke(ctx, "run", i.host.input)
	return err
}

func (p *wapcProgram) Close(ctx context.Context) error { return p.module.Close(ctx) }
