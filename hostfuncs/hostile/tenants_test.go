package hostile_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

// tenants reach for what belongs to others.
func tenants() []attack {
	var others, forbidden []step
	for op, more := range map[string]string{
		abi.OpNovaServerGet: "", abi.OpNovaServerStop: "", abi.OpNovaServerStart: "", abi.OpNovaServerReboot: "", abi.OpNovaServerLock: "",
		abi.OpNovaServerUnlock: "", abi.OpNovaServerMigrate: "", abi.OpNovaServerLiveMigrate: "",
		abi.OpNovaServerResetState: `,"state":"error"`, abi.OpNovaServerWait: `,"until":"task_clear","timeout_s":1`,
	} {
		for _, id := range []string{"s-beta", "s-operator", "s-nobody"} { // not to be told apart
			others = append(others, step{op, fmt.Sprintf(`{"id":%q%s}`, id, more), "not_found: " + op + ": no such server"})
		}
	}
	for op, req := range map[string]string{
		abi.OpNovaServerEvacuate: `{"id":"s-alpha"}`, abi.OpNovaServiceList: `{}`, abi.OpNovaServiceDisable: `{"host":"compute-1"}`,
		abi.OpNovaServiceEnable: `{"host":"compute-1"}`, abi.OpNovaServiceForceDown: `{"host":"compute-1","forced_down":false}`,
		abi.OpNovaServiceWait: `{"host":"compute-1"}`, abi.OpNovaAggregateList: `{}`, abi.OpNovaAggregateAddHost: `{"id":1,"host":"compute-1"}`,
		abi.OpNovaAggregateRemoveHost: `{"id":1,"host":"compute-1"}`, abi.OpNovaHypervisorList: `{}`, abi.OpNovaMigrationList: `{}`,
		abi.OpHASegmentGet: `{}`, abi.OpHAHostList: `{}`, abi.OpHAHostUpdate: `{"name":"compute-4","reserved":false}`,
		abi.OpHAVMovePut: `{"instance_uuid":"s-alpha","status":"succeeded"}`,
	} {
		forbidden = append(forbidden, step{op, req, "forbidden: " + op + ": not for the tasks of tenants"})
	}
	list := func(req, want string) []step { return []step{{abi.OpNovaServerList, req, want}} }
	moved := func(w *world) {
		for _, id := range []string{"s-alpha", "s-beta"} {
			w.ha.moves = append(w.ha.moves, recovery.VMove{
				UUID: "v-" + id, NotificationUUID: "note-1", InstanceUUID: id, Type: "evacuation", Status: recovery.VMoveSucceeded,
				SourceHost: failedHost, DestHost: "compute-4", Message: "hidden of beta", Attempt: 1,
			})
		}
	}
	reads := func(name string) func(*hostfuncs.TaskCall) {
		return as(ofAlpha, func(c *hostfuncs.TaskCall) { c.Task.Requires = []string{name} })
	}
	get := func(name, want string) []step { return []step{{abi.OpKVGet, fmt.Sprintf(`{"name":%q}`, name), want}} }
	return []attack{
		{name: "servers of others", does: "touches servers of others in every way", as: ofAlpha, steps: others},
		{name: "ops of the operator", does: "asks for hosts, services and the operator's records", as: ofAlpha, steps: forbidden},
		{name: "list", does: "lists servers, and Nova tells those of everybody", as: ofAlpha, steps: list(`{"fields":["id"]}`, `{"servers":[{"id":"s-alpha"}]}`)},
		{name: "list of another project", does: "lists the servers of another project", as: ofAlpha, steps: list(`{"project_id":"be7a"}`, "forbidden: nova.server_list: project_id: a tenant's task sees the servers of its own project only, leave it out")},
		{name: "list of a host", does: "lists the servers of a host", as: ofAlpha, steps: list(`{"host":"compute-1"}`, "forbidden: nova.server_list: host: hosts are not for tenants, leave it out")},
		{name: "tenant in the request", does: "says in the request that it is another tenant", as: ofAlpha, steps: []step{{abi.OpNovaServerGet, `{"id":"s-beta","tenant":"be7a"}`, "invalid: nova.server_get: tenant: unknown key"}}},
		{name: "host of its server", does: "asks on which host its server is", as: ofAlpha, steps: []step{{abi.OpNovaServerGet, `{"id":"s-alpha","fields":["OS-EXT-SRV-ATTR:host"]}`, "forbidden: nova.server_get: fields: OS-EXT-SRV-ATTR:host is not for tenants"}}},
		{name: "all fields of its server", does: "asks for everything about its server", as: ofAlpha, world: func(w *world) {
			s := w.servers["s-alpha"]
			s.Fault, s.HostStatus, s.InstanceName = &recovery.Fault{Code: 500, Message: "No valid host: compute-1 is hidden of beta"}, "UP", "instance-0001"
			w.servers["s-alpha"] = s
		}, steps: []step{{abi.OpNovaServerGet, `{"id":"s-alpha"}`, `{"id":"s-alpha","name":"name of s-alpha","status":"ACTIVE","tenant_id":"a1fa","user_id":"","metadata":null,"created":"","updated":"","locked":false,"locked_reason":null,"fault":{"code":500,"message":"an error in the cloud","created":""},"OS-EXT-STS:vm_state":"active","OS-EXT-STS:task_state":null,"OS-EXT-STS:power_state":1,"OS-EXT-AZ:availability_zone":""}`}}},
		{name: "its server to a host", does: "moves its server to a host of its choice", as: ofAlpha, steps: []step{
			{abi.OpNovaServerMigrate, `{"id":"s-alpha","host":"compute-9"}`, "forbidden: nova.server_migrate: host: hosts are not for tenants, leave it out"},
			{abi.OpNovaServerLiveMigrate, `{"id":"s-alpha","host":"compute-9"}`, "forbidden: nova.server_live_migrate: host: hosts are not for tenants, leave it out"},
		}},
		{name: "wait away from a host", does: "finds out whether its server is on a host by waiting until it left it", as: ofAlpha, steps: []step{{abi.OpNovaServerWait, `{"id":"s-alpha","until":"moved","from_host":"compute-1"}`, "forbidden: nova.server_wait: from_host: hosts are not for tenants, leave it out"}}},
		{name: "names of what is inside", does: "asks names that a rule holds, to find out which of them lead inside, and where", as: as(ofAlpha, rules("GET http://*.evil.example/*")), world: func(w *world) {
			for name, address := range map[string]string{"db.evil.example": "10.0.0.7", "self.evil.example": "127.0.0.1", "meta.evil.example": "169.254.169.254"} {
				w.lookups[name] = [][]string{{address}}
			}
		}, steps: []step{
			{abi.OpHTTPRequest, request("GET", "http://db.evil.example/", ""), "forbidden: http.request: db.evil.example has an address that is not public and was not granted"},
			{abi.OpHTTPRequest, request("GET", "http://self.evil.example/", ""), "forbidden: http.request: self.evil.example has an address that is not public and was not granted"},
			{abi.OpHTTPRequest, request("GET", "http://meta.evil.example/", ""), "forbidden: http.request: meta.evil.example has an address that is not public and was not granted"},
		}},
		{name: "fates of others", does: "reads the fates of servers of others, and where its own is", as: ofAlpha, world: moved, steps: []step{{abi.OpHAVMoveList, `{}`, `{"vmoves":[{"uuid":"v-s-alpha","notification_uuid":"note-1","instance_uuid":"s-alpha","instance_name":"","type":"evacuation","status":"succeeded","source_host":"","attempt":1}]}`}}},
		{name: "the failed host", does: "reads the name of the host that failed", as: reads("host_name"), steps: append(get("host_name", `forbidden: kv.get: "host_name" is not for the tasks of tenants`), step{
			abi.OpTaskInput, `{}`,
			`{"key":"evil","flow":"host-auto","phase":"main","run_id":"run-7","notification_uuid":"note-1","attempt":1,"round":1,"idempotency_key":"idem","inputs":{},"options":{}}`,
		})},
		{name: "server of the notification", does: "reads the server of the notification, which is another tenant's", as: reads("instance_uuid"), steps: get("instance_uuid", `not_found: kv.get: "instance_uuid"`)},
		{name: "value of an operator's task", does: "reads what a task of the operator provided", as: as(reads("of_others"), func(c *hostfuncs.TaskCall) {
			c.ProviderTenant = func(string) (string, bool) { return "", true }
		}), steps: get("of_others", `forbidden: kv.get: "of_others" is not for the tasks of tenants`)},
		{name: "value of another tenant's task", does: "reads what a task of another tenant provided", as: as(reads("of_others"), func(c *hostfuncs.TaskCall) {
			c.ProviderTenant = func(string) (string, bool) { return beta, true }
		}), steps: get("of_others", `forbidden: kv.get: "of_others" is not for the tasks of tenants`)},
		{name: "why the flow failed", does: "reads in revert why the flow failed", as: as(ofAlpha, func(c *hostfuncs.TaskCall) { c.Reverting, c.Failure = true, "compute-1: hidden value" }), steps: []step{{abi.OpTaskInput, `{}`, `{"key":"evil","flow":"host-auto","phase":"main","run_id":"run-7","notification_uuid":"note-1","attempt":1,"round":1,"idempotency_key":"idem","reverting":true,"failure":"the flow failed","inputs":{},"options":{}}`}}},
		{name: "error of the cloud", does: "makes the cloud say what it knows of its server", as: ofAlpha, world: func(w *world) {
			w.deps.Cloud = talkative{cloud{nil, w}}
		}, steps: []step{{abi.OpNovaServerStop, `{"id":"s-alpha"}`, "conflict: nova.server_stop: the state of the server does not allow it now, or somebody else is at it; read the server"}}},
		{name: "id with a blank", does: "asks for a server of another by an id that only Nova takes for it", as: ofAlpha, steps: []step{{abi.OpNovaServerGet, `{"id":"s-beta "}`, `invalid: nova.server_get: server "s-beta "`}}},
		{name: "id in another case", does: "asks for its server in another case, for which Nova gives another's", as: ofAlpha, world: func(w *world) {
			w.servers["S-ALPHA"] = w.servers["s-beta"]
		}, steps: []step{{abi.OpNovaServerGet, `{"id":"S-ALPHA"}`, "not_found: nova.server_get: no such server"}}},
		{name: "server without a project", does: "asks for a server whose project Nova does not tell", as: ofAlpha, world: func(w *world) {
			s := w.servers["s-beta"]
			s.TenantID = ""
			w.servers["s-beta"] = s
		}, steps: []step{{abi.OpNovaServerGet, `{"id":"s-beta"}`, "not_found: nova.server_get: no such server"}}},
		{name: "value of the operator that it provides too", does: "provides a name of which the operator's value shows before", as: as(ofAlpha, func(c *hostfuncs.TaskCall) {
			c.Task.Provides = []string{"of_others"}
			c.Values["of_others"] = json.RawMessage(`"hidden value"`)
		}), steps: get("of_others", `not_found: kv.get: "of_others"`)},
	}
}

// talkative is a cloud that refuses, with the names of hosts.
type talkative struct{ cloud }

func (talkative) Stop(_ context.Context, id string) (string, error) {
	return "", &recovery.CloudError{Op: "stop " + id, Status: 409, Message: "host compute-1: hidden of beta", RequestID: "req-9", Err: recovery.ErrConflict}
}
