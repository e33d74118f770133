package meter_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/wasakari/wasakari/runtime/meter"
)

// The modules of testdata/generated are made by binaryen's wasm-opt from
// random bytes: `make differential` makes others and tests them, `make corpus`
// makes these again.
var (
	seeds = flag.Int("seeds", 0, "how many modules to generate, with wasm-opt (Debian package binaryen); 0: use those of testdata")
	first = flag.Int("first", 1, "the first seed")
	write = flag.String("write", "", "folder to write the generated modules to")
)

// features are those of WebAssembly 2.0, and no others.
var features = strings.Fields("--disable-threads --disable-exception-handling --disable-gc --disable-tail-call --disable-memory64 " +
	"--disable-typed-function-references --disable-relaxed-simd --disable-extended-const --enable-simd --enable-bulk-memory " +
	"--enable-reference-types --enable-multivalue --enable-sign-ext --enable-nontrapping-float-to-int --enable-mutable-globals")

// generate makes a module of a seed. Passes of the optimizer make of it what
// compilers make; denan because the bits of a NaN are the processor's choice.
func generate(t *testing.T, seed int) []byte {
	t.Helper()
	var random []byte
	for i := 0; len(random) < 2000+seed%13*1000; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d/%d", seed, i))
		random = append(random, sum[:]...)
	}
	in, out := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out.wasm")
	if err := os.WriteFile(in, random, 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{in, "-ttf", "-o", out, "--denan"}, features...)
	if seed%2 == 1 { // binaryen's references are those of a later draft: wazero takes a third of the others
		args = append(args, "--disable-reference-types")
	}
	if level := seed / 2 % 4; level > 0 {
		args = append(args, fmt.Sprintf("-O%d", level))
	}
	if text, err := exec.CommandContext(t.Context(), "wasm-opt", args...).CombinedOutput(); err != nil {
		t.Fatalf("wasm-opt: %v\n%s", err, text)
	}
	return read(t, out)
}

// Modules made at random do the same, bare and rewritten: the same results,
// traps, calls of imports, memory and globals; and the same units, however
// these are handed out.
func TestGenerated(t *testing.T) {
	modules := map[string][]byte{}
	if *seeds > 0 {
		for seed := *first; seed < *first+*seeds; seed++ {
			modules[fmt.Sprint(seed)] = generate(t, seed)
		}
	} else {
		paths, err := filepath.Glob(filepath.Join("testdata", "generated", "*.wasm"))
		if err != nil || len(paths) < 100 {
			t.Fatalf("%d modules in testdata, want at least 100 (%v)", len(paths), err)
		}
		for _, p := range paths {
			modules[strings.TrimSuffix(filepath.Base(p), ".wasm")] = read(t, p)
		}
	}
	calls := 0
	for name, wasm := range modules {
		if !valid(t, wasm) { // binaryen has some things of later versions
			continue
		}
		if *write != "" {
			if err := os.WriteFile(filepath.Join(*write, name+".wasm"), wasm, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		calls += compare(t, name, wasm)
	}
	t.Logf("%d modules, %d calls", len(modules), calls)
	if calls < len(modules) {
		t.Errorf("only %d calls were compared", calls)
	}
}

// valid reports whether wazero takes a module.
func valid(t testing.TB, wasm []byte) bool {
	t.Helper()
	rt := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false))
	_, err := rt.CompileModule(t.Context(), wasm)
	if err := rt.Close(context.Background()); err != nil {
		t.Error(err)
	}
	return err == nil
}

// side is one of the modules that are compared.
type side struct {
	mod     api.Module
	globals int // of the module's own
	ledger  *ledger
	trace   bytes.Buffer // calls of imports
}

func newSide(t *testing.T, wasm []byte, l *ledger) (*side, error) {
	t.Helper()
	ctx := t.Context()
	s := &side{ledger: l}
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false).WithMemoryLimitPages(1024))
	t.Cleanup(func() {
		if err := rt.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if l != nil {
		metered, err := meter.Rewrite(wasm, meter.Options{TableEntries: 1 << 16, MergeData: true, ImageBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		l.provide(t, rt)
		wasm = metered
	}
	compiled, err := rt.CompileModule(ctx, wasm)
	if err != nil {
		t.Fatal(err)
	}
	builders := map[string]wazero.HostModuleBuilder{}
	for _, f := range compiled.ImportedFunctions() {
		module, name, _ := f.Import()
		if module == meter.ImportModule {
			continue
		}
		if builders[module] == nil {
			builders[module] = rt.NewHostModuleBuilder(module)
		}
		builders[module].NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, _ api.Module, stack []uint64) {
			fmt.Fprintln(&s.trace, name, shown(f.ParamTypes(), stack))
			clear(stack)
		}), f.ParamTypes(), f.ResultTypes()).Export(name)
	}
	for _, b := range builders {
		if _, err := b.Instantiate(ctx); err != nil {
			t.Fatal(err)
		}
	}
	ctx, _ = withImage(t, wasm)
	s.mod, err = rt.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		return s, err
	}
	s.globals = s.mod.(experimental.InternalModule).NumGlobal()
	if l != nil {
		s.globals -= 2
	}
	return s, nil
}

// shown gives what there is to see of values: wazero leaves the upper half of
// small ones as it is, and a reference is wherever it is.
func shown(types []api.ValueType, values []uint64) []uint64 {
	var out []uint64
	for _, typ := range types {
		v := values[0]
		switch typ {
		case api.ValueTypeI32, api.ValueTypeF32:
			v = uint64(uint32(v))
		case typeFuncref, api.ValueTypeExternref:
			v = min(v, 1)
		case typeV128:
			out = append(out, v)
			values = values[1:]
			v = values[0]
		}
		out = append(out, v)
		values = values[1:]
	}
	return out
}

const (
	typeV128    = 0x7b
	typeFuncref = 0x70
)

// call calls an exported function and says all that can be seen afterwards.
func (s *side) call(t *testing.T, name string, args []uint64) string {
	t.Helper()
	if s.ledger != nil {
		clear(s.ledger.deep)
	}
	f := s.mod.ExportedFunction(name)
	out, err := f.Call(t.Context(), args...)
	if err == nil {
		out = shown(f.Definition().ResultTypes(), out)
	}
	var b strings.Builder
	fmt.Fprintln(&b, name, args, out, reason(err))
	b.Write(s.trace.Bytes())
	s.trace.Reset()
	if m := s.mod.Memory(); m != nil {
		bytes, _ := m.Read(0, m.Size())
		fmt.Fprintf(&b, "memory of %d: %x\n", m.Size(), sha256.Sum256(bytes))
	}
	for i := range s.globals {
		g := s.mod.(experimental.InternalModule).Global(i)
		if typ := g.Type(); typ != typeFuncref && typ != typeV128 && typ != api.ValueTypeExternref {
			fmt.Fprintln(&b, "global", i, shown([]api.ValueType{typ}, []uint64{g.Get()}))
		}
	}
	return b.String()
}

// compare runs a module three times and gives the number of calls compared.
func compare(t *testing.T, name string, wasm []byte) (calls int) {
	t.Helper()
	small, large := newLedger(1000), newLedger(1<<20)
	large.most = 50 << 20
	metered, err := newSide(t, wasm, large)
	again, err2 := newSide(t, wasm, small)
	bare, err3 := newSide(t, wasm, nil)
	if reason(err) != reason(err3) || reason(err2) != reason(err3) {
		t.Errorf("module %s: instantiated\n rewritten %v\n     again %v\n      bare %v", name, err, err2, err3)
	}
	if err != nil {
		return 0
	}
	var names []string
	for export := range bare.mod.ExportedFunctionDefinitions() {
		names = append(names, export)
	}
	slices.Sort(names)
	for round := range 2 {
		for _, export := range names {
			var args []uint64
			for i, p := range bare.mod.ExportedFunction(export).Definition().ParamTypes() {
				sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %d", name, export, round, i))
				a := binary.LittleEndian.Uint64(sum[:]) % 100
				switch p {
				case typeFuncref, api.ValueTypeExternref:
					a = 0
				case typeV128:
					args = append(args, a)
				}
				args = append(args, a)
			}
			got := metered.call(t, export, args)
			if strings.Contains(got, errSpent.Error()) || strings.Contains(got, errOverflow.Error()) {
				return calls // a bare one would go on
			}
			if want := bare.call(t, export, args); got != want {
				t.Errorf("module %s\nrewritten %s\nbare %s", name, got, want)
				return calls
			}
			if other := again.call(t, export, args); got != other || small.used(again.mod) != large.used(metered.mod) {
				t.Errorf("module %s: %d units, then %d\nfirst %s\nthen %s", name, large.used(metered.mod), small.used(again.mod), got, other)
				return calls
			}
			calls++
		}
	}
	return calls
}
