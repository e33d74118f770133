package hostfuncs_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

// FuzzDo hands arbitrary bytes to every op: the answer is JSON, or the error an
// *abi.Error that can be told to a guest.
func FuzzDo(f *testing.F) {
	for _, tt := range goodOps {
		f.Add(tt.op, []byte(tt.req))
	}
	f.Add("nova.server_evacuate", []byte(`{"id":"s1","id":"s2"}`))
	f.Add("kv.put", []byte(`{"name":"answer","value":`))
	f.Add("no.such", []byte(nil))
	cloud := newNova(active("s1", failedHost), active("s2", "compute-2"))
	cloud.svcs = []recovery.ComputeService{compute(failedHost, "enabled", "")}
	cloud.aggs = []recovery.Aggregate{{ID: 1, Hosts: []string{failedHost}}}
	b := setup(f, cloud, func(b *bench) {
		b.deps.Observe = nil
		b.deps.Options = hostfuncs.Options{VerifyInterval: time.Millisecond, OutcomeWait: time.Millisecond, NovaTimeout: time.Millisecond}
	})
	f.Fuzz(func(t *testing.T, name string, req []byte) {
		op := abi.LookupOp([]byte(name))
		if op == nil {
			op = &abi.Op{Name: name}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		ans, err := b.task().Do(ctx, op, req)
		switch {
		case err != nil:
			doc, merr := json.Marshal(err)
			var e abi.ErrorDocument
			if code(err) <= abi.ErrnoOK || merr != nil || json.Unmarshal(doc, &e) != nil || e.Message == "" || len(e.Message) > 5000 {
				t.Errorf("%.99q %.99q: error %.99v, want an error document", name, req, err)
			}
		case !json.Valid(ans):
			t.Errorf("%.99q %.99q: answer %.99q, want JSON", name, req, ans)
		}
	})
}
