package meter_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/wasakari/wasakari/runtime/meter"
)

// specTests is the folder of the specification's tests that wazero carries.
func specTests(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest")
}

type script struct {
	Commands []struct {
		Type     string `json:"type"`
		Line     int    `json:"line"`
		Name     string `json:"name"`
		As       string `json:"as"`
		Filename string `json:"filename"`
		Kind     string `json:"module_type"`
		Action   struct {
			Type   string  `json:"type"`
			Field  string  `json:"field"`
			Module string  `json:"module"`
			Args   []value `json:"args"`
		} `json:"action"`
	} `json:"commands"`
}

type value struct {
	Type string `json:"type"`
	Lane string `json:"lane_type"`
	// Value is a string, or a list of them for v128.
	Value any `json:"value"`
}

// raw gives a value as wazero passes it.
func (v value) raw(t *testing.T) []uint64 {
	t.Helper()
	number := func(text string, bits int) uint64 {
		switch {
		case text == "null":
			return 0
		case strings.HasPrefix(text, "nan") && bits == 32:
			return uint64(math.Float32bits(float32(math.NaN())))
		case strings.HasPrefix(text, "nan"):
			return math.Float64bits(math.NaN())
		case strings.HasPrefix(text, "-"):
			n, err := strconv.ParseInt(text, 10, bits)
			if err != nil {
				t.Fatal(err)
			}
			return uint64(n) & (1<<(bits-1)<<1 - 1)
		}
		n, err := strconv.ParseUint(text, 10, bits)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	switch v.Type {
	case "i32", "f32":
		return []uint64{number(v.Value.(string), 32)}
	case "externref":
		if text := v.Value.(string); text != "null" {
			return []uint64{number(text, 64) + 1}
		}
		return []uint64{0}
	case "v128":
		bits := map[string]int{"i8": 8, "i16": 16, "i32": 32, "f32": 32, "i64": 64, "f64": 64}[v.Lane]
		var out [2]uint64
		for i, lane := range v.Value.([]any) {
			out[i*bits/64] |= number(lane.(string), bits) << (i * bits % 64)
		}
		return out[:]
	}
	if v.Value == nil {
		return []uint64{0}
	}
	return []uint64{number(v.Value.(string), 64)}
}

// world is one side of the comparison.
type world struct {
	rt     wazero.Runtime
	ledger *ledger // nil: bare
	named  map[string]api.Module
	last   api.Module
}

func newWorld(t *testing.T, spectest []byte, l *ledger) *world {
	t.Helper()
	rt := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false))
	t.Cleanup(func() {
		if err := rt.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if l != nil {
		l.provide(t, rt)
	}
	if _, err := rt.InstantiateWithConfig(t.Context(), spectest, wazero.NewModuleConfig().WithName("spectest")); err != nil {
		t.Fatal(err)
	}
	return &world{rt: rt, ledger: l, named: map[string]api.Module{}}
}

// instantiate makes an instance, under a name when one is given. Names are
// taken over from whoever has them.
func (w *world) instantiate(t *testing.T, wasm []byte, name string) (api.Module, error) {
	t.Helper()
	if w.ledger != nil {
		clear(w.ledger.deep)
		metered, err := meter.Rewrite(wasm, meter.Options{MergeData: true, ImageBytes: 1})
		if err != nil {
			if _, invalid := w.rt.CompileModule(t.Context(), wasm); invalid == nil {
				t.Errorf("rewriting: %v", err)
			}
			return nil, err
		}
		wasm = metered
	}
	if old := w.rt.Module(name); old != nil && name != "" {
		if err := old.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	if w.ledger != nil {
		ctx, _ = withImage(t, wasm)
	}
	return w.rt.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName(name).WithStartFunctions())
}

// act does an action, and says how it ended.
func (w *world) act(t *testing.T, module, kind, field string, args []value) string {
	t.Helper()
	mod := w.last
	if module != "" {
		mod = w.named[module]
	}
	if mod == nil {
		return "no module"
	}
	if kind == "get" {
		g := mod.ExportedGlobal(field)
		if g == nil {
			return "no global"
		}
		return fmt.Sprint(g.Get())
	}
	f := mod.ExportedFunction(field)
	if f == nil {
		return "no function"
	}
	var in []uint64
	for _, a := range args {
		in = append(in, a.raw(t)...)
	}
	if w.ledger != nil {
		clear(w.ledger.deep)
	}
	out, err := f.Call(t.Context(), in...)
	if err != nil {
		return "trap: " + reason(err)
	}
	for i, typ := range f.Definition().ResultTypes() {
		if typ == 0x70 && out[i] != 0 && len(out) == len(f.Definition().ResultTypes()) {
			out[i] = 1 // a function is wherever it is
		}
	}
	return fmt.Sprint(out)
}

// The specification's tests give the same results, bare and rewritten.
func TestSpecification(t *testing.T) {
	dir := specTests(t)
	spectest := read(t, filepath.Join(dir, "testdata", "spectest.wasm"))
	for _, version := range []string{"v1", "v2"} {
		scripts, err := filepath.Glob(filepath.Join(dir, version, "testdata", "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		if len(scripts) < 70 {
			t.Fatalf("%d scripts in %s, want at least 70", len(scripts), version)
		}
		for _, path := range scripts {
			t.Run(version+"/"+strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
				runScript(t, path, spectest)
			})
		}
	}
}

func runScript(t *testing.T, path string, spectest []byte) {
	var s script
	if err := json.Unmarshal(read(t, path), &s); err != nil {
		t.Fatal(err)
	}
	registered := map[int]string{} // by the command that makes the module
	made, byName := -1, map[string]int{}
	for i, c := range s.Commands {
		switch c.Type {
		case "module":
			made = i
			if c.Name != "" {
				byName[c.Name] = i
			}
		case "register":
			at := made
			if c.Name != "" {
				at = byName[c.Name]
			}
			registered[at] = c.As
		}
	}
	bare, metered := newWorld(t, spectest, nil), newWorld(t, spectest, newLedger(1000))
	both := [...]*world{bare, metered}
	asserted := 0
	for i, c := range s.Commands {
		if c.Filename != "" && !strings.HasSuffix(c.Filename, ".wasm") {
			continue
		}
		var got [2]string
		switch c.Type {
		case "module", "assert_unlinkable", "assert_uninstantiable", "assert_trap_module":
			wasm := read(t, filepath.Join(filepath.Dir(path), c.Filename))
			for k, w := range both {
				mod, err := w.instantiate(t, slices.Clone(wasm), registered[i])
				got[k] = reason(err)
				if c.Type == "module" {
					if w.last = mod; c.Name != "" {
						w.named[c.Name] = mod
					}
				}
			}
		case "assert_invalid", "assert_malformed":
			// Whatever comes of it, it comes without a panic.
			_, _ = meter.Rewrite(read(t, filepath.Join(filepath.Dir(path), c.Filename)), meter.Options{MergeData: true, ImageBytes: 1, TableEntries: 1 << 16})
		case "action", "assert_return", "assert_trap", "assert_exhaustion":
			asserted++
			for k, w := range both {
				got[k] = w.act(t, c.Action.Module, c.Action.Type, c.Action.Field, c.Action.Args)
			}
		}
		if got[0] != got[1] {
			t.Errorf("%s:%d: %s %s\n rewritten %s\n      bare %s", filepath.Base(path), c.Line, c.Type, c.Action.Field, got[1], got[0])
		}
	}
	t.Logf("%d assertions", asserted)
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
