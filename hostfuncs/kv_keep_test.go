package hostfuncs_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
)

// Values that a task has put and that wait for its success count against its
// memory; what is written at once, and what is removed, does not.
func TestStagedValuesTakeMemory(t *testing.T) {
	const most = 1000
	task := setup(t, newNova()).task(func(c *hostfuncs.TaskCall) { c.Task.Provides = []string{"a", "b"} })
	used := int64(0)
	task.Keep(func(n int64) error {
		if used+n > most {
			return errors.New("no memory left")
		}
		used += n
		return nil
	})
	put := func(name string, size int) error {
		_, err := do(t.Context(), task, abi.OpKVPut, fmt.Sprintf(`{"name":%q,"value":%q}`, name, strings.Repeat("x", size-2)))
		return err
	}
	steps := []struct {
		name string
		size int    // 0: delete
		err  string // of the step
		want int64  // kept then
	}{
		{"a", 600, "", 600},
		{"b", 600, `quota: kv.put: "b": no memory left`, 600},
		{"scratch/s", 600, "", 600},
		{"a", 300, "", 300},
		{"b", 600, "", 900},
		{"a", 0, "", 600},
		{"b", 0, "", 0},
	}
	for _, s := range steps {
		var err error
		if s.size > 0 {
			err = put(s.name, s.size)
		} else {
			_, err = do(t.Context(), task, abi.OpKVDelete, fmt.Sprintf(`{"name":%q}`, s.name))
		}
		want(t, "", err, "", s.err)
		if used != s.want {
			t.Errorf("%s %d: %d bytes kept, want %d", s.name, s.size, used, s.want)
		}
	}
}
