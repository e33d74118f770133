package hostfuncs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
)

// TestRevoked: whatever was checked before, what is not granted when the task
// is called is refused at each call, and nothing reaches the cloud.
func TestRevoked(t *testing.T) {
	b := setup(t, newNova())
	nothing := b.task(func(c *hostfuncs.TaskCall) { c.Granted = func(string) bool { return false } })
	for _, op := range abi.Ops() {
		_, err := do(t.Context(), nothing, op.Name, `{}`)
		switch {
		case op.Free:
			if code(err) == abi.ErrnoNotGranted {
				t.Errorf("%s, which is everybody's: %v", op.Name, err)
			}
		case errText(err) != fmt.Sprintf("not_granted: %s: not granted to library acme; see [grants]", op.Name):
			t.Errorf("%s: error = %v", op.Name, err)
		}
	}
	some := b.task(func(c *hostfuncs.TaskCall) {
		c.Granted = func(what string) bool { return strings.HasPrefix(what, "kv.") }
	})
	if _, err := do(t.Context(), some, abi.OpKVPut, `{"name":"scratch/x","value":1}`); err != nil {
		t.Errorf("kv.put, which is granted: %v", err)
	}
	if _, err := do(t.Context(), some, abi.OpNovaServerList, `{}`); code(err) != abi.ErrnoNotGranted {
		t.Errorf("nova.server_list, which is not granted: %v", err)
	}
	if _, err := do(t.Context(), b.task(func(c *hostfuncs.TaskCall) { c.Task.Uses = []string{"kv.get"} }), abi.OpKVPut, `{"name":"scratch/x","value":1}`); errText(err) != "not_granted: kv.put: not among the uses of task custom_task in its manifest" {
		t.Errorf("kv.put, which the manifest does not ask for: %v", err)
	}
}
