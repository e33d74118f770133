package hostfuncs_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

// BenchmarkDo measures one op, grant check included: go test -bench Do ./hostfuncs
func BenchmarkDo(b *testing.B) {
	s := active("s1", failedHost)
	s.Metadata = map[string]string{"HA_Enabled": "True", "role": "web"}
	s.Flavor = json.RawMessage(`{"vcpus":4,"ram":8192,"disk":40,"ephemeral":0,"swap":0,"original_name":"m1.large","extra_specs":{}}`)
	s.Image, s.Created, s.Updated = json.RawMessage(`""`), "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"
	cloud := newNova(s)
	cloud.server = func(context.Context, string) (recovery.Server, error) { return s, nil }
	world := setup(b, cloud, func(w *bench) { w.deps.Observe = nil })
	task := world.task(func(c *hostfuncs.TaskCall) {
		c.Granted = func(string) bool { return true }
	})
	for _, bb := range []struct{ name, op, req string }{
		{"task.input", abi.OpTaskInput, `{}`},
		{"kv.get", abi.OpKVGet, `{"name":"host_name"}`},
		{"server_get 6 fields", abi.OpNovaServerGet, `{"id":"s1","fields":["name","metadata","locked","OS-EXT-STS:vm_state","OS-EXT-STS:task_state","OS-EXT-SRV-ATTR:host"]}`},
		{"server_get whole", abi.OpNovaServerGet, `{"id":"s1"}`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			op, req := abi.LookupOp([]byte(bb.op)), []byte(bb.req)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := task.Do(b.Context(), op, req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
