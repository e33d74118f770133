package main

import (
	"context"
	"time"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero"

	"github.com/wasakari/wasakari/bench/internal/workload"
)

type extismProgram struct {
	compiled *extism.CompiledPlugin
	host     *host
	timed    bool
}

// compileExtism gives Extism, whose deadline is the timeout of its manifest.
func compileExtism(ctx context.Context, guest []byte, h *host, way string) (program, error) {
	manifest := extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: guest}}}
	if way == deadline {
		manifest.Timeout = uint64(time.Minute / time.Millisecond)
	}
	serve := func(name, op string) extism.HostFunction {
		return extism.NewHostFunctionWithStack(name, func(_ context.Context, p *extism.CurrentPlugin, stack []uint64) {
			if _, err := p.ReadBytes(stack[0]); err != nil {
				panic(err)
			}
			answer := h.do(op)
			if len(answer) == 0 { // its kernel has no blocks of no bytes
				stack[0] = 0
				return
			}
			at, err := p.WriteBytes(answer)
			if err != nil {
				panic(err)
			}
			stack[0] = at
		}, []extism.ValueType{extism.ValueTypePTR}, []extism.ValueType{extism.ValueTypePTR})
	}
	c, err := extism.NewCompiledPlugin(ctx, manifest, extism.PluginConfig{EnableWasi: true}, []extism.HostFunction{
		serve("kv_get", workload.OpGet), serve("nova_server_get", workload.OpHold),
	})
	if err != nil {
		return nil, err
	}
	return &extismProgram{c, h, way == deadline}, nil
}

type extismInstance struct {
	plugin *extism.Plugin
	host   *host
}

func (p *extismProgram) Open(ctx context.Context) (instance, error) {
	plugin, err := p.compiled.Instance(ctx, extism.PluginInstanceConfig{
		ModuleConfig: wazero.NewModuleConfig().WithSysNanosleep().WithSysNanotime().WithSysWalltime(),
	})
	if err != nil {
		return nil, err
	}
	// The manifest holds for all instances; the one at hand may have less time.
	if end, ok := ctx.Deadline(); ok && p.timed {
		plugin.Timeout = time.Until(end)
	}
	return &extismInstance{plugin, p.host}, nil
}

func (p *extismProgram) Task(ctx context.Context) error {
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

func (i *extismInstance) Call(ctx context.Context) error {
	exit, _, err := i.plugin.CallWithContext(ctx, "run", i.host.input)
	if err != nil {
		return err
	}
	if exit != 0 {
		return errWrong
	}
	return nil
}

func (i *extismInstance) Close(ctx context.Context) error { return i.plugin.Close(ctx) }

func (p *extismProgram) Close(ctx context.Context) error { return p.compiled.Close(ctx) }
