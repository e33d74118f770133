//go:build cgo

package main

import (
	"context"
	"math"
	"time"

	"github.com/bytecodealliance/wasmtime-go/v44"
)

type wasmtimeProgram struct {
	engine *wasmtime.Engine
	module *wasmtime.Module
	linker *wasmtime.Linker
	way    string
}

// compileWasmtime gives wasmtime through its Go binding (cgo), with one host
// function, epochs for the deadline or fuel.
func compileWasmtime(_ context.Context, guest []byte, h *host, way string) (program, error) {
	cfg := wasmtime.NewConfig()
	cfg.SetEpochInterruption(way == deadline)
	cfg.SetConsumeFuel(way == fuel)
	p := &wasmtimeProgram{engine: wasmtime.NewEngineWithConfig(cfg), way: way}
	p.linker = wasmtime.NewLinker(p.engine)
	if err := p.linker.DefineWasi(); err != nil {
		return nil, err
	}
	i32, i64 := wasmtime.NewValType(wasmtime.KindI32), wasmtime.NewValType(wasmtime.KindI64)
	typ := wasmtime.NewFuncType([]*wasmtime.ValType{i32, i32, i32, i32, i32, i32}, []*wasmtime.ValType{i64})
	err := p.linker.FuncNew("wasakari_v1", "call", typ, func(c *wasmtime.Caller, args []wasmtime.Val) ([]wasmtime.Val, *wasmtime.Trap) {
		mem := c.Data().(*wasmtimeInstance).memory.UnsafeData(c)
		view := func(at, n int) []byte {
			from, size := uint64(uint32(args[at].I32())), uint64(uint32(args[n].I32())) // #nosec G115 -- pointers of the guest
			if from+size > uint64(len(mem)) {
				return nil
			}
			return mem[from : from+size]
		}
		op, req, out := view(0, 1), view(2, 3), view(4, 5)
		if op == nil || req == nil || out == nil {
			return nil, wasmtime.NewTrap("an argument is outside memory")
		}
		answer := h.do(string(op))
		copy(out, answer)
		return []wasmtime.Val{wasmtime.ValI64(int64(len(answer)))}, nil
	})
	if err != nil {
		return nil, err
	}
	p.module, err = wasmtime.NewModule(p.engine, guest)
	if err != nil {
		return nil, err
	}
	return p, nil
}

type wasmtimeInstance struct {
	program *wasmtimeProgram
	store   *wasmtime.Store
	memory  *wasmtime.Memory
	run     *wasmtime.Func
}

func (p *wasmtimeProgram) Open(context.Context) (instance, error) {
	i := &wasmtimeInstance{program: p}
	i.store = wasmtime.NewStoreWithData(p.engine, i)
	if err := i.start(); err != nil {
		i.store.Close()
		return nil, err
	}
	return i, nil
}

func (i *wasmtimeInstance) start() error {
	p := i.program
	i.store.SetWasi(wasmtime.NewWasiConfig())
	switch p.way {
	case deadline:
		i.store.SetEpochDeadline(1)
	case fuel:
		if err := i.store.SetFuel(math.MaxInt64); err != nil {
			return err
		}
	}
	inst, err := p.linker.Instantiate(i.store, p.module)
	if err != nil {
		return err
	}
	i.memory = inst.GetExport(i.store, "memory").Memory()
	i.run = inst.GetFunc(i.store, "run")
	if initialize := inst.GetFunc(i.store, "_initialize"); initialize != nil {
		if _, err := initialize.Call(i.store); err != nil {
			return err
		}
	}
	return nil
}

func (p *wasmtimeProgram) Task(ctx context.Context) error {
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

func (i *wasmtimeInstance) Call(ctx context.Context) error {
	// The epoch is the engine's: one tick ends all its guests, so this is for
	// one guest at a time. Services tick it regularly.
	if end, ok := ctx.Deadline(); ok && i.program.way == deadline {
		tick := time.AfterFunc(time.Until(end), i.program.engine.IncrementEpoch)
		defer tick.Stop()
	}
	res, err := i.run.Call(i.store)
	if err != nil {
		return err
	}
	if res.(int32) != 0 {
		return errWrong
	}
	return nil
}

func (i *wasmtimeInstance) Close(context.Context) error {
	i.store.Close()
	return nil
}

func (p *wasmtimeProgram) Close(context.Context) error {
	p.linker.Close()
	p.module.Close()
	p.engine.Close()
	return nil
}
