// Package snapshot makes of a module that has to be initialised one that was: it
// runs _initialize and writes memory and globals back into the module. It is for
// building engines, whose start takes a hundred times longer than a task.
package snapshot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/wasakari/wasakari/runtime/internal/decode"
)

// Options say what is known about a module.
type Options struct {
	// StackFirst says that the memory below the value of the first global is the
	// stack (wasm-ld --stack-first), of which nothing is alive after
	// _initialize: it is zero in the snapshot.
	StackFirst bool
	// Output receives what the guest logs or writes meanwhile. Defaults to
	// io.Discard.
	Output io.Writer
}

// Names of exports.
const (
	initialize = "_initialize"
	memoryName = "memory"
)

// The ids of sections.
const (
	sectionImport    = 2
	sectionTable     = 4
	sectionMemory    = 5
	sectionGlobal    = 6
	sectionExport    = 7
	sectionStart     = 8
	sectionCode      = 10
	sectionData      = 11
	sectionDataCount = 12
)

// Freeze runs _initialize of a module and gives the module that begins where
// that has ended, without _initialize. The same module gives the same bytes:
// meanwhile clocks stand at zero, randomness is zeros, and no op is answered.
// What has to differ from run to run the module renews itself.
//
// Refused are modules that could keep something elsewhere than in memory and
// globals: those that change tables, or use data segments later.
func Freeze(ctx context.Context, wasm []byte, o Options) ([]byte, error) {
	if o.Output == nil {
		o.Output = io.Discard
	}
	m, err := parse(wasm)
	if err != nil {
		return nil, err
	}
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false))
	defer rt.Close(ctx) //nolint:errcheck // nothing is left of it
	compiled, err := rt.CompileModule(ctx, wasm)
	if err != nil {
		return nil, err
	}
	if err := provide(ctx, rt, compiled, o.Output); err != nil {
		return nil, err
	}
	mod, err := rt.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return nil, err
	}
	f := mod.ExportedFunction(initialize)
	if f == nil || mod.Memory() == nil {
		return nil, fmt.Errorf("it exports no %s, or no %s", initialize, memoryName)
	}
	if _, err := f.Call(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", initialize, err)
	}
	internal, ok := mod.(experimental.InternalModule)
	if !ok {
		return nil, errors.New("wazero does not show the globals")
	}
	globals := make([]uint64, internal.NumGlobal())
	for i := range globals {
		globals[i] = internal.Global(i).Get()
	}
	size := mod.Memory().Size()
	image, ok := mod.Memory().Read(0, size)
	if !ok {
		return nil, errors.New("its memory cannot be read")
	}
	if o.StackFirst && len(globals) > 0 {
		clear(image[:min(uint64(len(image)), globals[0]&0xffffffff)])
	}
	return m.write(globals, image)
}

// provide answers all imports with nothing: zeros, and refusals.
func provide(ctx context.Context, rt wazero.Runtime, compiled wazero.CompiledModule, out io.Writer) error {
	modules := map[string]wazero.HostModuleBuilder{}
	var order []string
	for _, f := range compiled.ImportedFunctions() {
		module, name, _ := f.Import()
		if modules[module] == nil {
			modules[module] = rt.NewHostModuleBuilder(module)
			order = append(order, module)
		}
		do := func(_ context.Context, _ api.Module, stack []uint64) {
			if len(f.ResultTypes()) > 0 {
				stack[0] = api.EncodeI64(-1)
			}
		}
		switch name {
		case "clock_time_get":
			do = func(_ context.Context, mod api.Module, stack []uint64) {
				mod.Memory().WriteUint64Le(api.DecodeU32(stack[2]), 0)
				stack[0] = 0
			}
		case "random_get":
			do = func(_ context.Context, _ api.Module, stack []uint64) { stack[0] = 0 }
		case "log":
			do = func(_ context.Context, mod api.Module, stack []uint64) {
				b, _ := mod.Memory().Read(api.DecodeU32(stack[1]), api.DecodeU32(stack[2]))
				_, _ = fmt.Fprintf(out, "%s\n", b) // only for the developer
			}
		case "fd_write":
			do = func(_ context.Context, mod api.Module, stack []uint64) { stack[0] = write(mod.Memory(), stack, out) }
		case "proc_exit":
			do = func(_ context.Context, _ api.Module, stack []uint64) {
				panic(fmt.Errorf("it exited with code %d", api.DecodeU32(stack[0])))
			}
		}
		modules[module] = modules[module].NewFunctionBuilder().
			WithGoModuleFunction(api.GoModuleFunc(do), f.ParamTypes(), f.ResultTypes()).Export(name)
	}
	for _, module := range order {
		if _, err := modules[module].Instantiate(ctx); err != nil {
			return err
		}
	}
	return nil
}

// write does fd_write.
func write(mem api.Memory, stack []uint64, out io.Writer) uint64 {
	vectors, n := api.DecodeU32(stack[1]), api.DecodeU32(stack[2])
	total := uint32(0)
	for i := range n {
		at, _ := mem.ReadUint32Le(vectors + 8*i)
		length, _ := mem.ReadUint32Le(vectors + 8*i + 4)
		b, _ := mem.Read(at, length)
		_, _ = out.Write(b) // only for the developer
		total += length
	}
	mem.WriteUint32Le(api.DecodeU32(stack[3]), total)
	return 0
}

// module is what the snapshot has to know of a module.
type module struct {
	sections []section
	globals  []global // the module's own
	most     int64    // pages of memory, -1: no maximum
}

type section struct {
	id   byte
	body []byte
}

type global struct {
	typ     byte
	mutable bool
	from    []byte // as it stands in the section
}

func parse(wasm []byte) (*module, error) {
	const head = 8
	if len(wasm) < head {
		return nil, errors.New("it is no module")
	}
	m := &module{most: -1}
	r := &decode.Reader{Bytes: wasm[head:], Base: head}
	for r.Left() > 0 && r.Err == nil {
		id := r.Byte()
		in := r.Sub(r.U32())
		if r.Err != nil {
			break
		}
		m.sections = append(m.sections, section{id, in.Bytes})
		switch id {
		case sectionImport:
			m.imports(in)
		case sectionMemory:
			if in.Count("memories", 2, 1) == 1 {
				_, m.most = in.Limits()
			}
		case sectionGlobal:
			for range in.Count("globals", 4, decode.Unbounded) {
				m.global(in)
			}
		case sectionStart:
			in.Fail("a start function")
		case sectionCode:
			for range in.Count("functions", 3, decode.Unbounded) {
				body := in.Sub(in.U32())
				check(body)
				if in.Err == nil {
					in.Err = body.Err
				}
			}
		}
		r.Err = in.Err
	}
	return m, r.Err
}

func (m *module) imports(r *decode.Reader) {
	for range r.Count("imports", 4, decode.Unbounded) {
		r.Name(decode.Unbounded)
		r.Name(decode.Unbounded)
		if kind := r.Byte(); kind != 0 {
			r.Fail("an import that is no function")
			return
		}
		r.U32()
	}
}

func (m *module) global(r *decode.Reader) {
	from := r.Pos
	g := global{typ: r.ValueType(), mutable: r.Byte() == 1}
	for i := (decode.Instruction{}); r.Err == nil && i.Op != decode.OpEnd; {
		r.NextConstant(&i)
	}
	g.from = r.Bytes[min(from, r.Pos):r.Pos]
	if g.mutable && g.typ != 0x7f && g.typ != 0x7e && g.typ != 0x7d && g.typ != 0x7c {
		r.Fail("a global that changes and is no number")
	}
	m.globals = append(m.globals, g)
}

// check refuses instructions whose effects a snapshot does not keep.
func check(r *decode.Reader) {
	for range r.U32() { // the groups of locals
		r.U32()
		r.Byte()
		if r.Err != nil {
			return
		}
	}
	for i := (decode.Instruction{}); r.Left() > 0 && r.Err == nil; {
		r.Next(1<<20, &i)
		switch i.Op {
		case 0x26, decode.OpTableGrow, decode.OpTableCopy, 0xfc0c, 0xfc0d, 0xfc11:
			r.Fail("an instruction that changes tables")
		case decode.OpMemoryInit, 0xfc09:
			r.Fail("an instruction that uses data segments")
		}
	}
}

// write writes the module with these globals and this memory.
func (m *module) write(globals []uint64, image []byte) ([]byte, error) {
	out := []byte("\x00asm\x01\x00\x00\x00")
	add := func(id byte, body []byte) {
		out = append(out, id)
		out = binary.AppendUvarint(out, uint64(len(body)))
		out = append(out, body...)
	}
	var data []byte
	for _, s := range m.sections {
		switch s.id {
		case sectionMemory:
			add(s.id, m.memory(image))
		case sectionGlobal:
			body, err := m.globalSection(globals)
			if err != nil {
				return nil, err
			}
			add(s.id, body)
		case sectionExport:
			add(s.id, exports(s.body))
		case sectionData:
			data = segments(image)
			add(s.id, data)
		case sectionDataCount: // only for instructions that are refused
		default:
			add(s.id, s.body)
		}
	}
	if data == nil {
		return nil, errors.New("it has no data section to put the memory into")
	}
	return out, nil
}

const pageBytes = 64 << 10

func (m *module) memory(image []byte) []byte {
	pages := uint64(len(image) / pageBytes)
	if m.most < 0 {
		return binary.AppendUvarint([]byte{1, 0}, pages)
	}
	return binary.AppendUvarint(binary.AppendUvarint([]byte{1, 1}, pages), uint64(m.most))
}

func (m *module) globalSection(values []uint64) ([]byte, error) {
	if len(values) < len(m.globals) {
		return nil, fmt.Errorf("it has %d globals, and wazero shows %d", len(m.globals), len(values))
	}
	body := binary.AppendUvarint(nil, uint64(len(m.globals)))
	for i, g := range m.globals {
		if !g.mutable {
			body = append(body, g.from...)
			continue
		}
		body = append(body, g.typ, 1)
		switch v := values[i]; g.typ {
		case 0x7f:
			body = appendSigned(append(body, 0x41), int64(api.DecodeI32(v)))
		case 0x7e:
			body = appendSigned(append(body, 0x42), int64(v)) //nolint:gosec // an i64 as wazero holds it
		case 0x7d:
			body = binary.LittleEndian.AppendUint32(append(body, 0x43), api.DecodeU32(v))
		case 0x7c:
			body = binary.LittleEndian.AppendUint64(append(body, 0x44), v)
		}
		body = append(body, decode.OpEnd)
	}
	return body, nil
}

// exports leaves out _initialize.
func exports(body []byte) []byte {
	r := &decode.Reader{Bytes: body}
	var list []byte
	n := uint64(0)
	for range r.U32() {
		from := r.Pos
		name := r.Name(decode.Unbounded)
		r.Byte()
		r.U32()
		if r.Err != nil { // it was compiled, so there is none
			break
		}
		if name != initialize {
			list = append(list, body[from:r.Pos]...)
			n++
		}
	}
	return append(binary.AppendUvarint(nil, n), list...)
}

// gap is how many zeros part two segments: fewer are written out.
const gap = 16

// segments writes what is not zero.
func segments(image []byte) []byte {
	var list []byte
	n := uint64(0)
	for at := 0; at < len(image); {
		if image[at] == 0 {
			at++
			continue
		}
		end, zeros := at, 0
		for k := at; k < len(image) && zeros < gap; k++ {
			if zeros++; image[k] != 0 {
				end, zeros = k+1, 0
			}
		}
		list = append(list, 0) // active, memory 0
		list = appendSigned(append(list, 0x41), int64(int32(at)))
		list = append(list, decode.OpEnd)
		list = binary.AppendUvarint(list, uint64(end-at)) //nolint:gosec // end is behind at
		list = append(list, image[at:end]...)
		n++
		at = end
	}
	return append(binary.AppendUvarint(nil, n), list...)
}

// appendSigned appends a signed LEB128.
func appendSigned(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}
