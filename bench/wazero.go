package main

import (
	"context"
	"syscall"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

type wazeroProgram struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	mmap     bool
}

// compileWazero gives wazero with the least around it: a host function that
// checks what memory safety demands, no limits, no grants.
func compileWazero(mmap bool) func(context.Context, []byte, *host, string) (program, error) {
	return func(ctx context.Context, guest []byte, h *host, way string) (program, error) {
		rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCloseOnContextDone(way == deadline))
		fail := func(err error) (program, error) {
			_ = rt.Close(ctx) // the error before matters
			return nil, err
		}
		if _, err := wasi_snapshot_preview1.Instantiate(ctx, rt); err != nil {
			return fail(err)
		}
		i32, i64 := api.ValueTypeI32, api.ValueTypeI64
		_, err := rt.NewHostModuleBuilder("wasakari_v1").NewFunctionBuilder().
			WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, mod api.Module, stack []uint64) {
				mem := mod.Memory()
				op, ok := mem.Read(api.DecodeU32(stack[0]), api.DecodeU32(stack[1]))
				if !ok {
					panic("op is outside memory")
				}
				if _, ok := mem.Read(api.DecodeU32(stack[2]), api.DecodeU32(stack[3])); !ok {
					panic("request is outside memory")
				}
				out, ok := mem.Read(api.DecodeU32(stack[4]), api.DecodeU32(stack[5]))
				if !ok {
					panic("answer is outside memory")
				}
				answer := h.do(string(op))
				copy(out, answer)
				stack[0] = uint64(len(answer))
			}), []api.ValueType{i32, i32, i32, i32, i32, i32}, []api.ValueType{i64}).Export("call").Instantiate(ctx)
		if err != nil {
			return fail(err)
		}
		compiled, err := rt.CompileModule(ctx, guest)
		if err != nil {
			return fail(err)
		}
		return &wazeroProgram{rt, compiled, mmap}, nil
	}
}

func (p *wazeroProgram) Task(ctx context.Context) error {
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

type wazeroInstance struct {
	module api.Module
	run    api.Function
}

func (p *wazeroProgram) Open(ctx context.Context) (instance, error) {
	if p.mmap {
		ctx = experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(mapMemory))
	}
	mod, err := p.runtime.InstantiateModule(ctx, p.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize").
		WithSysNanosleep().WithSysNanotime().WithSysWalltime())
	if err != nil {
		return nil, err
	}
	return &wazeroInstance{mod, mod.ExportedFunction("run")}, nil
}

func (i *wazeroInstance) Call(ctx context.Context) error {
	res, err := i.run.Call(ctx)
	if err != nil {
		return err
	}
	if res[0] != 0 {
		return errWrong
	}
	return nil
}

func (i *wazeroInstance) Close(ctx context.Context) error { return i.module.Close(ctx) }

func (p *wazeroProgram) Close(ctx context.Context) error { return p.runtime.Close(ctx) }

// mapped is linear memory in pages of the system, which cost nothing before
// they are touched.
type mapped struct{ area []byte }

// mostMapped bounds what a guest may grow to, as Wasakari does by default.
const mostMapped = 64 << 20

func mapMemory(_, most uint64) experimental.LinearMemory {
	area, err := syscall.Mmap(-1, 0, int(min(most, mostMapped)), syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_NORESERVE)
	if err != nil {
		panic(err)
	}
	return &mapped{area}
}

func (m *mapped) Reallocate(size uint64) []byte {
	if size > uint64(len(m.area)) {
		return nil
	}
	return m.area[:size:size]
}

func (m *mapped) Free() {
	if m.area != nil {
		_ = syscall.Munmap(m.area) // it is what Mmap returned
		m.area = nil
	}
}
