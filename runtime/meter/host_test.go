package meter_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/wasakari/wasakari/runtime/meter"
)

var (
	errOverflow = errors.New("stack overflow")
	errSpent    = errors.New("out of units")
)

var indices = regexp.MustCompile(`\[\d+\]`)

// ledger is the host side of metered modules: it hands out units and stack,
// for each module by itself.
type ledger struct {
	slice int64 // handed out at once
	most  int64 // in all; 0: no bound
	stack int64
	calls bool // nobody says when a call begins: stack is granted whenever there is none
	given map[api.Module]int64
	deep  map[api.Module]bool // stack was granted in this call
}

func newLedger(slice int64) *ledger {
	return &ledger{slice: slice, stack: 1 << 20, given: map[api.Module]int64{}, deep: map[api.Module]bool{}}
}

// provide instantiates the hidden imports.
func (l *ledger) provide(t testing.TB, rt wazero.Runtime) {
	t.Helper()
	i64 := []api.ValueType{api.ValueTypeI64}
	_, err := rt.NewHostModuleBuilder(meter.ImportModule).
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, mod api.Module, stack []uint64) {
		if l.most > 0 && l.given[mod] >= l.most {
			panic(errSpent)
		}
		l.given[mod] += l.slice
		stack[0] = uint64(l.slice)
	}), nil, i64).Export(meter.ImportRefill).
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, mod api.Module, stack []uint64) {
		if l.deep[mod] && !l.calls {
			panic(errOverflow)
		}
		l.deep[mod] = true
		stack[0] = uint64(l.stack - global(mod, meter.GlobalStack))
	}), nil, i64).Export(meter.ImportOverflow).
		Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
}

// global reads a hidden global.
func global(mod api.Module, fromLast int) int64 {
	m := mod.(experimental.InternalModule)
	return int64(m.Global(m.NumGlobal() - 1 - fromLast).Get())
}

// used gives the units that a module has used.
func (l *ledger) used(mod api.Module) int64 { return l.given[mod] - global(mod, meter.GlobalUnits) }

// reason gives the first line of an error as wazero words it.
func reason(err error) string {
	if err == nil {
		return ""
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	text = strings.TrimSuffix(strings.TrimPrefix(text, "wasm error: "), " (recovered by wazero)")
	return indices.ReplaceAllString(text, "[]") // those of functions are shifted
}
