package javascript_test

import (
	"encoding/json"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime"
)

// A task of ten lines, from its instantiation to its end.
const tenLines = `import { nova, log, kv } from "wasakari";

export default {
  requires: ["host_name"], provides: ["stopped"],
  async run({ inputs }) {
    const { servers } = await nova.serverList({ host: inputs.host_name, fields: ["id", "name"] });
    log(servers.length + " servers on", inputs.host_name);
    await kv.put("stopped", servers.map((s) => s.id));
  },
};`

func BenchmarkTask(b *testing.B) {
	m := build(b, abi.ScriptFile{Name: "ten.js", Text: tenLines})
	h := newHost(m)
	h.input.Inputs = map[string]json.RawMessage{"host_name": []byte(`"c1"`)}
	h.ops[abi.OpNovaServerList] = just(abi.NovaServerListAnswer{Servers: []abi.Server{{ID: "a", Name: "A"}, {ID: "b", Name: "B"}}})
	var peak, units int64
	b.ReportAllocs()
	for b.Loop() {
		res, err := m.Run(b.Context(), runtime.Call{Key: "ten", Host: h})
		if err != nil || res.Exit != abi.ExitSucceeded {
			b.Fatalf("exit %d %q %v", res.Exit, res.Reason, err)
		}
		peak, units = res.MemoryPeak, res.CPU
	}
	b.ReportMetric(float64(peak)/(1<<20), "MiB/sandbox")
	b.ReportMetric(float64(units), "units/op")
}
