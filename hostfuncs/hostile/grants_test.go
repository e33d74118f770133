package hostile_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

// uses makes the task ask for these ops only.
func uses(ops ...string) func(*hostfuncs.TaskCall) {
	return func(c *hostfuncs.TaskCall) { c.Task.Uses = ops }
}

// granted grants these only.
func granted(names ...string) func(*hostfuncs.TaskCall) {
	return func(c *hostfuncs.TaskCall) {
		c.Granted = func(name string) bool { return slices.Contains(names, name) }
	}
}

// grants are gone round.
func grants() []attack {
	stop := step{abi.OpNovaServerStop, `{"id":"s-operator"}`, ""}
	asks := func(want string) []step { return []step{{stop.op, stop.req, want}} }
	const (
		notAsked   = "not_granted: nova.server_stop: not among the uses of task evil in its manifest"
		notGranted = "not_granted: nova.server_stop: not granted to library acme; see [grants]"
	)
	var all []step
	for _, op := range abi.Ops() {
		if !op.Free {
			all = append(all, step{op.Name, `{}`, fmt.Sprintf("not_granted: %s: not among the uses of task evil in its manifest", op.Name)})
		}
	}
	return []attack{
		{name: "nothing asked", does: "uses every op although its manifest asks for none", as: uses(), steps: all},
		{name: "another op asked", does: "uses an op although its manifest asks for another", as: uses(abi.OpNovaServerStart), steps: asks(notAsked)},
		{name: "another group asked", does: "uses an op of a group although its manifest asks for another", as: uses("kv.*", "ha.*"), steps: asks(notAsked)},
		{name: "star", does: "asks for a star, which is no op", as: uses("*", "nova", "nova.", "nova.server_*"), steps: asks(notAsked)},
		{name: "op in another case", does: "asks for an op in another case", as: uses("NOVA.SERVER_STOP", "nova.server_stop "), steps: asks(notAsked)},
		{name: "asked and not granted", does: "uses what its manifest asks for and nobody granted", as: granted(), steps: asks(notGranted)},
		{name: "asked as a group and granted as one op", does: "uses an op of a group of which another op is granted", as: as(uses("nova.*"), granted(abi.OpNovaServerStart)), steps: asks(notGranted)},
		{name: "granted and not asked", does: "uses what is granted although its manifest does not ask for it", as: as(uses("kv.*"), granted(abi.OpNovaServerStop)), steps: asks(notAsked)},
		{name: "protected name", does: "provides the proof that a host is off, without the leave to", as: func(c *hostfuncs.TaskCall) { c.Task.Provides = []string{"fence_proof"} }, steps: []step{
			{abi.OpKVPut, `{"name":"fence_proof","value":{"host":"compute-1","method":"ipmi","run":"run-7"}}`, `not_granted: kv.put: "fence_proof" is protected and provides:fence_proof is not granted to library acme`},
			{abi.OpKVGet, `{"name":"fence_proof"}`, `not_found: kv.get: "fence_proof"`},
		}},
		{name: "protected names, all of them", does: "provides every name that steers a recovery", as: func(c *hostfuncs.TaskCall) { c.Task.Provides = recovery.ProtectedNames() }, steps: func() []step {
			var list []step
			for _, n := range recovery.ProtectedNames() {
				list = append(list, step{abi.OpKVPut, fmt.Sprintf(`{"name":%q,"value":"compute-2"}`, n), fmt.Sprintf(`not_granted: kv.put: %q is protected and provides:%s is not granted to library acme`, n, n)})
			}
			return list
		}()},
		{name: "protected name of another grant", does: "provides a protected name with the leave to provide another", as: as(func(c *hostfuncs.TaskCall) { c.Task.Provides = []string{"instance_list"} }, granted("kv.put", "provides:fence_proof")), steps: []step{
			{abi.OpKVPut, `{"name":"instance_list","value":[]}`, `not_granted: kv.put: "instance_list" is protected and provides:instance_list is not granted to library acme`},
		}},
		{name: "standard tasks' leave", does: "takes the key of a standard task, which gives nothing", as: func(c *hostfuncs.TaskCall) {
			c.Task.Key, c.Task.Provides = "prepare_HA_enabled_instances_task", []string{"instance_list"}
		}, steps: []step{
			{abi.OpKVPut, `{"name":"instance_list","value":[]}`, `not_granted: kv.put: "instance_list" is protected and provides:instance_list is not granted to library acme`},
		}},
	}
}

// inputs are forged, and proofs.
func inputs() []attack {
	proof := func(change map[string]any) func(*hostfuncs.TaskCall) {
		p := map[string]any{"host": failedHost, "method": "ipmi", "run": runID, "time": time.Now().UTC().Format(time.RFC3339Nano)}
		for k, v := range change {
			if p[k] = v; v == nil {
				delete(p, k)
			}
		}
		b, err := json.Marshal(p)
		if err != nil {
			panic(err)
		}
		return func(c *hostfuncs.TaskCall) { c.Values["fence_proof"] = b }
	}
	demand := func(w *world) { w.deps.Options.RequireFenceProof = true }
	evacuate := func(name, does string, as func(*hostfuncs.TaskCall), want string) attack {
		return attack{name: name, does: does, world: demand, as: as, steps: []step{{abi.OpNovaServerEvacuate, `{"id":"s-operator"}`, want}}}
	}
	down := func(name, does string, as func(*hostfuncs.TaskCall), want string) attack {
		return attack{name: name, does: does, as: as, steps: []step{{abi.OpNovaServiceForceDown, `{"host":"compute-1","forced_down":true}`, want}}}
	}
	raw := func(text string) func(*hostfuncs.TaskCall) {
		return func(c *hostfuncs.TaskCall) { c.Values["fence_proof"] = json.RawMessage(text) }
	}
	vmove := func(req, want string) step { return step{abi.OpHAVMovePut, req, want} }
	return []attack{
		evacuate("no proof", "evacuates without a proof where one is demanded", nil, "forbidden: nova.server_evacuate: server s-operator is not evacuated, require_fence_proof is set: no fence_proof was provided in this run"),
		evacuate("proof of another host", "evacuates with the proof that another host is off", proof(map[string]any{"host": "compute-2"}), `forbidden: nova.server_evacuate: server s-operator is not evacuated, require_fence_proof is set: fence_proof is of host "compute-2", not of "compute-1"`),
		evacuate("proof of another run", "evacuates with the proof of another run", proof(map[string]any{"run": "run-6"}), `forbidden: nova.server_evacuate: server s-operator is not evacuated, require_fence_proof is set: fence_proof is of run "run-6", not of this run "run-7"`),
		evacuate("proof from before", "evacuates with a proof from before the run", proof(map[string]any{"time": "1999-12-31T23:00:00Z"}), "forbidden: nova.server_evacuate: server s-operator is not evacuated, require_fence_proof is set: fence_proof is of 1999-12-31T23:00:00Z, before the run began"),
		evacuate("proof to come", "evacuates with a proof from the future", proof(map[string]any{"time": "2999-12-31T23:00:00Z"}), "forbidden: nova.server_evacuate: server s-operator is not evacuated, require_fence_proof is set: fence_proof is of 2999-12-31T23:00:00Z, which is yet to come"),
		evacuate("proof without method", "evacuates with a proof that does not say how", proof(map[string]any{"method": nil}), "forbidden: nova.server_evacuate: server s-operator is not evacuated, require_fence_proof is set: fence_proof names no method"),
		evacuate("proof without time", "evacuates with a proof that does not say when", proof(map[string]any{"time": nil}), "forbidden: nova.server_evacuate: server s-operator is not evacuated, require_fence_proof is set: fence_proof is of 0001-01-01T00:00:00Z, before the run began"),
		evacuate("proof that is true", "evacuates with true for a proof", raw("true"), "forbidden: nova.server_evacuate: server s-operator is not evacuated, require_fence_proof is set: fence_proof is no document of host, method, run and time (RFC 3339)"),
		evacuate("proof that is a list", "evacuates with a list of proofs", raw(`[{"host":"compute-1"}]`), "forbidden: nova.server_evacuate: server s-operator is not evacuated, require_fence_proof is set: fence_proof is no document of host, method, run and time (RFC 3339)"),
		evacuate("proof with a host in another case", "evacuates with the proof of a host that looks the same", proof(map[string]any{"host": "Compute-1"}), `forbidden: nova.server_evacuate: server s-operator is not evacuated, require_fence_proof is set: fence_proof is of host "Compute-1", not of "compute-1"`),
		down("force down without proof", "tells Nova that a host is off, without a proof", nil, "forbidden: nova.service_force_down: host compute-1 is not forced down: no fence_proof was provided in this run"),
		down("force down with another's proof", "tells Nova that a host is off, with the proof of another host", proof(map[string]any{"host": "compute-2"}), `forbidden: nova.service_force_down: host compute-1 is not forced down: fence_proof is of host "compute-2", not of "compute-1"`),
		{name: "force down of a healthy host", does: "tells Nova that a healthy host is off, with the proof of the failed one", as: proof(nil), steps: []step{{abi.OpNovaServiceForceDown, `{"host":"compute-2","forced_down":true}`, `forbidden: nova.service_force_down: host compute-2 is not forced down: fence_proof is of host "compute-1", not of "compute-2"`}}},
		{name: "evacuation to the failed host", does: "evacuates a server to where it comes from", steps: []step{{abi.OpNovaServerEvacuate, `{"id":"s-operator","host":"compute-1"}`, "conflict: nova.server_evacuate: server s-operator cannot be evacuated to compute-1, the failed host itself"}}},
		{name: "evacuation of a healthy host's server", does: "evacuates a server that is not on the failed host", world: func(w *world) {
			s := w.servers["s-operator"]
			s.Host = "compute-2"
			w.servers["s-operator"] = s
		}, steps: []step{{abi.OpNovaServerEvacuate, `{"id":"s-operator"}`, "conflict: nova.server_evacuate: server s-operator is on compute-2, not on the failed host compute-1: it has been moved already"}}},
		{name: "evacuation without a failed host", does: "evacuates in a run in which no host failed", world: func(w *world) { w.deps.Run.FailedHost = "" }, steps: []step{{abi.OpNovaServerEvacuate, `{"id":"s-operator"}`, "conflict: nova.server_evacuate: server s-operator: the run has no failed host, nothing may be evacuated"}}},
		{name: "fate that was decided", does: "turns a success into a failure, and back", steps: []step{
			vmove(`{"instance_uuid":"s-operator","status":"succeeded","message":"forged"}`, "*"),
			vmove(`{"instance_uuid":"s-operator","status":"failed"}`, "conflict: ha.vmove_put: vmove of server s-operator is succeeded, it cannot become failed"),
			vmove(`{"instance_uuid":"s-operator","status":"pending"}`, "conflict: ha.vmove_put: vmove of server s-operator is succeeded, it cannot become pending"),
		}},
		{name: "fate of another notification", does: "writes a vmove of another notification and attempt", steps: []step{
			vmove(`{"instance_uuid":"s-operator","status":"succeeded","notification_uuid":"note-2"}`, "invalid: ha.vmove_put: notification_uuid: unknown key"),
			vmove(`{"instance_uuid":"s-operator","status":"succeeded","attempt":7}`, "invalid: ha.vmove_put: attempt: unknown key"),
			vmove(`{"instance_uuid":"","status":"succeeded"}`, "invalid: ha.vmove_put: instance_uuid: want 1 to 255 bytes"),
			vmove(`{"instance_uuid":"`+strings.Repeat("s", 256)+`","status":"succeeded"}`, "invalid: ha.vmove_put: instance_uuid: want 1 to 255 bytes"),
		}},
		{name: "host that is not in the segment", does: "reserves a host of another segment", steps: []step{{abi.OpHAHostUpdate, `{"name":"compute-9","reserved":true}`, `not_found: ha.host_update: host "compute-9" is not in the segment`}}},
	}
}

// libraries pretend to be another one.
func libraries() []attack {
	put := step{abi.OpKVPut, `{"scope":"library","name":"n","value":"hidden of beta"}`, `{"version":1}`}
	nothing := []step{
		{abi.OpKVGet, `{"scope":"library","name":"n"}`, "not_found: kv.get: not found"},
		{abi.OpKVList, `{"scope":"library"}`, `{"entries":[]}`},
	}
	of := func(tenant, library string) func(*hostfuncs.TaskCall) {
		return func(c *hostfuncs.TaskCall) { c.Task.Tenant, c.Task.Library = tenant, library }
	}
	// victim has a value in its library before the attack.
	victim := func(tenant, library string) func(*world) {
		return func(w *world) {
			if got := do(w.context(), w.task(of(tenant, library)), put.op, put.req); got != put.want {
				panic(got)
			}
		}
	}
	return []attack{
		{name: "tenant's of the operator's name", does: "is a tenant's library of the name of the operator's", world: victim("", "acme"), as: of(alpha, "acme"), steps: nothing},
		{name: "operator's of a tenant's name", does: "is the operator's library of the name of a tenant's", world: victim(alpha, "acme"), as: of("", "acme"), steps: nothing},
		{name: "another tenant's of the same name", does: "is another tenant's library of the same name", world: victim(beta, "acme"), as: of(alpha, "acme"), steps: nothing},
		{name: "library like a tenant's place", does: "is the operator's library with the name of a tenant's place in the store", world: victim(alpha, "acme"), as: of("", "tenant/4:a1fa/acme"), steps: []step{
			{abi.OpKVGet, `{"scope":"library","name":"n"}`, `invalid: kv.get: library "tenant/4:a1fa/acme"`},
			{abi.OpKVPut, `{"scope":"library","name":"n","value":1}`, `invalid: kv.put: library "tenant/4:a1fa/acme"`},
			{abi.OpKVDelete, `{"scope":"library","name":"n"}`, `invalid: kv.delete: library "tenant/4:a1fa/acme"`},
			{abi.OpKVList, `{"scope":"library"}`, `invalid: kv.list: library "tenant/4:a1fa/acme"`},
		}},
		{name: "tenant with a slash", does: "is of a tenant whose name goes on in a library's", world: victim("a", "b/c"), as: of("a/b", "c"), steps: nothing},
		{name: "library with a slash", does: "is a tenant's library whose name goes on in another's", world: victim("a/b", "c"), as: of("a", "b/c"), steps: nothing},
		{name: "library in another case", does: "is a library of the same name in another case", world: victim("", "acme"), as: of("", "ACME"), steps: nothing},
		{name: "library of a prefix", does: "is a library whose name is the beginning of another's", world: victim("", "acme"), as: of("", "acm"), steps: nothing},
		{name: "library without a name", does: "is a library without a name", world: victim("", "acme"), as: of("", ""), steps: nothing},
	}
}
