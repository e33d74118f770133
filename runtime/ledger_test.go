package runtime_test

import (
	"context"
	"errors"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// keeper is a host that keeps bytes for its task.
type keeper struct {
	host
	take func(n int64) error
}

func (k *keeper) Keep(take func(n int64) error) { k.take = take }

// A guest that grows its memory by a page at a time gets as many pages fewer
// as the host holds for it.
func TestMemoryIsSharedWithTheHost(t *testing.T) {
	const page, limit = 64 << 10, 1 << 20
	tests := []struct {
		name string
		keep []int64 // before the guest grows
		want int64   // its memory in the end
		err  string
	}{
		// The answer that is kept takes a page, small as it is.
		{name: "nothing", want: limit - page},
		{name: "something", keep: []int64{page}, want: limit - 2*page},
		{name: "given back", keep: []int64{3 * page, -2 * page}, want: limit - 2*page},
		{
			name: "too much", keep: []int64{limit}, want: limit - page,
			err: "memory limit of 1 MiB reached: together with what the host keeps for the task (option [wasakari] memory_mib, or limits.memory_mib in the manifest)",
		},
	}
	m := admit(t, newRuntime(t, runtime.Config{}), "grow_after_call")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := &keeper{}
			var kept error
			k.do = func(context.Context, *abi.Op, []byte) ([]byte, error) {
				for _, n := range tt.keep {
					kept = k.take(n)
				}
				return []byte("{}"), nil
			}
			res, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: k, Limits: runtime.Limits{MemoryBytes: limit, LogBytes: -1}})
			if err != nil {
				t.Fatal(err)
			}
			if res.MemoryPeak != tt.want {
				t.Errorf("memory = %d, want %d", res.MemoryPeak, tt.want)
			}
			if (kept == nil) != (tt.err == "") || kept != nil && kept.Error() != tt.err {
				t.Errorf("keeping: %v, want %q", kept, tt.err)
			}
			if _, ok := errors.AsType[*runtime.LimitError](kept); ok != (tt.err != "") {
				t.Errorf("keeping: %T", kept)
			}
		})
	}
}
