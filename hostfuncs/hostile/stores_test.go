package hostile_test

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
)

// stores are filled, and looked into for what others left.
func stores() []attack {
	put := func(scope, name string, size int, want string) step {
		return step{abi.OpKVPut, fmt.Sprintf(`{"scope":%q,"name":%q,"value":%q}`, scope, name, strings.Repeat("x", size-2)), want}
	}
	var names, bytes []step
	for i := range 64 {
		names = append(names, put("run", fmt.Sprintf("scratch/%d", i), 3, `{"version":1}`))
	}
	names = append(names,
		put("run", "scratch/64", 3, `quota: kv.put: "scratch/64": the task has written 64 names already, no more are allowed`),
		put("run", "answer", 3, `quota: kv.put: "answer": the task has written 64 names already, no more are allowed`),
		put("library", "not counted among them", 3, `{"version":1}`))
	for i := range 4 {
		bytes = append(bytes, put("library", fmt.Sprint(i), 250<<10, `{"version":1}`))
	}
	over := func(name string, n int) string {
		return fmt.Sprintf(`quota: kv.put: %q: the task would have written %d bytes, at most 1048576 (option [wasakari] kv_task_kib)`, name, n)
	}
	bytes = append(bytes,
		put("run", "scratch/a", 30<<10, over("scratch/a", 4*(250<<10)+4+30<<10+9)),
		put("run", "scratch/a", 20<<10, `{"version":1}`),
		put("run", "scratch/a", 20<<10, `{"version":2}`), // in its place
	)
	get := func(scope, name, want string) step {
		return step{abi.OpKVGet, fmt.Sprintf(`{"scope":%q,"name":%q}`, scope, name), want}
	}
	// before leaves values of another execution.
	before := func(change func(*hostfuncs.TaskCall), steps ...step) func(*world) {
		return func(w *world) {
			task := w.task(change)
			for _, s := range steps {
				if got := do(w.context(), task, s.op, s.req); got != s.want {
					panic(fmt.Sprintf("%s = %s, want %s", s.req, got, s.want))
				}
			}
		}
	}
	first := put("run", "scratch/a", 12, `{"version":1}`)
	first.req = strings.Replace(first.req, strings.Repeat("x", 10), "of another", 1)
	return []attack{
		{name: "65 names", does: "writes more names than it may", steps: names},
		{name: "a MiB in all scopes", does: "writes more bytes than it may, into all scopes together", steps: bytes},
		{name: "scope that is none", does: "writes into the scope of all tenants", steps: []step{{abi.OpKVPut, `{"scope":"tenant","name":"a","value":1}`, `invalid: kv.put: scope: want one of run, library`}}},
		{name: "scratch of another place", does: "reads the scratch key of the same task in another place of the flow", world: before(func(c *hostfuncs.TaskCall) { c.Index = 1 }, first), steps: []step{
			get("run", "scratch/a", "not_found: kv.get: not found"),
			{abi.OpKVList, `{"prefix":"scratch"}`, `{"entries":[]}`},
			{abi.OpKVDelete, `{"name":"scratch/a"}`, "not_found: kv.delete: not found"},
		}},
		{name: "scratch of another round", does: "reads the scratch key of an earlier round", world: before(func(c *hostfuncs.TaskCall) { c.Round = 2 }, first), steps: []step{get("run", "scratch/a", "not_found: kv.get: not found")}},
		{name: "scratch of another key", does: "reads the scratch key of another task", world: before(func(c *hostfuncs.TaskCall) { c.Task.Key = "other" }, first), steps: []step{get("run", "scratch/a", "not_found: kv.get: not found")}},
		{name: "scratch of its own", does: "reads what an earlier attempt left, which is what scratch is for", world: before(func(c *hostfuncs.TaskCall) { c.Attempt = 1 }, first), as: func(c *hostfuncs.TaskCall) { c.Attempt = 2 }, steps: []step{get("run", "scratch/a", `{"value":"of another","version":1}`)}},
		{name: "output of an attempt that failed", does: "reads what an earlier attempt staged and never finished", world: before(nil, put("run", "answer", 12, `{"version":1}`)), as: func(c *hostfuncs.TaskCall) { c.Attempt = 2 }, steps: []step{get("run", "answer", `not_found: kv.get: "answer"`)}},
		{name: "output of another task", does: "reads what another task staged before it ended", world: before(func(c *hostfuncs.TaskCall) { c.Task.Key, c.Task.Provides = "other", []string{"ticket"} }, put("run", "ticket", 12, `{"version":1}`)), steps: []step{get("run", "ticket", `not_found: kv.get: "ticket"`)}},
		{name: "value that it does not ask for", does: "reads a value that its manifest does not name", steps: []step{
			get("run", "of_others", `not_granted: kv.get: "of_others" is neither required, optional nor provided in the manifest of task evil, nor under scratch/`),
			{abi.OpKVList, `{}`, `{"entries":[{"name":"host_name","version":1,"size":11}]}`},
		}},
		{name: "value of another library", does: "reads the value of another library", world: before(func(c *hostfuncs.TaskCall) { c.Task.Library = "other" }, put("library", "a", 12, `{"version":1}`)), steps: []step{
			get("library", "a", "not_found: kv.get: not found"),
			{abi.OpKVList, `{"scope":"library"}`, `{"entries":[]}`},
		}},
		{name: "prefix that leads out", does: "lists with a prefix that leads to another library", world: before(func(c *hostfuncs.TaskCall) { c.Task.Library = "acme2" }, put("library", "a", 12, `{"version":1}`)), steps: []step{{abi.OpKVList, `{"scope":"library","prefix":"2"}`, `{"entries":[]}`}}},
		{name: "input that is deleted", does: "deletes the host that failed", steps: []step{{abi.OpKVDelete, `{"name":"host_name"}`, `not_granted: kv.delete: "host_name" is not provided in the manifest of task evil, nor under scratch/`}}},
		{name: "value in task.input", does: "looks into its input for what it does not ask for", as: func(c *hostfuncs.TaskCall) {
			c.Values = map[string]json.RawMessage{"of_others": json.RawMessage(`"hidden value"`)}
		}, steps: []step{{
			abi.OpTaskInput, `{}`,
			`{"key":"evil","flow":"host-auto","phase":"main","run_id":"run-7","notification_uuid":"note-1","attempt":1,"round":1,"idempotency_key":"idem","inputs":{},"options":{}}`,
		}}},
	}
}
