package hostfuncs_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

var errOutside = errors.New("the disk is on fire")

// goodOps holds a request for each op and what a healthy world answers.
var goodOps = []struct {
	op, req, want string
	inside        bool // touches nothing that could fail
}{
	{abi.OpTaskInput, `{}`, `{"key":"custom_task","flow":"host-auto","phase":"main","run_id":"run-7","notification_uuid":"note-1","attempt":1,"round":1,"idempotency_key":"idem","inputs":{"host_name":"compute-1"},"options":{"acme":{"queue":"ops","unset":null}}}`, true},
	{abi.OpTaskScript, `{}`, `{"files":[{"name":"main.py","text":"pass"}]}`, true},
	{abi.OpTaskSleep, `{"ms":50}`, `{}`, true},
	{abi.OpKVGet, `{"name":"host_name"}`, `{"value":"compute-1","version":1}`, true},
	{abi.OpKVPut, `{"name":"answer","value":42}`, `{"version":1}`, true},
	{abi.OpKVPut, `{"name":"scratch/a","value":1}`, `{"version":1}`, false},
	{abi.OpKVPut, `{"name":"a","value":1,"scope":"library"}`, `{"version":1}`, false},
	{abi.OpKVDelete, `{"name":"old","scope":"library"}`, `{}`, false},
	{abi.OpKVList, `{}`, `{"entries":[{"name":"host_name","version":1,"size":11}]}`, false},
	{abi.OpNovaServerGet, `{"id":"s1","fields":["name","OS-EXT-STS:task_state"]}`, `{"id":"s1","name":"name-s1","OS-EXT-STS:task_state":null}`, false},
	{abi.OpNovaServerList, `{"host":"compute-1","fields":["id"]}`, `{"servers":[{"id":"s1"},{"id":"s2"},{"id":"s3"}]}`, false},
	{abi.OpNovaServerEvacuate, `{"id":"s1"}`, `{"request_id":"req-1"}`, false},
	{abi.OpNovaServerStop, `{"id":"s1"}`, `{"request_id":"req-1"}`, false},
	{abi.OpNovaServerStart, `{"id":"s1"}`, `{}`, false},
	{abi.OpNovaServerReboot, `{"id":"s1","type":"HARD"}`, `{"request_id":"req-1"}`, false},
	{abi.OpNovaServerLock, `{"id":"s1"}`, `{"locked":true,"request_id":"req-1"}`, false},
	{abi.OpNovaServerUnlock, `{"id":"s1"}`, `{"unlocked":false}`, false},
	{abi.OpNovaServerResetState, `{"id":"s1","state":"error"}`, `{"request_id":"req-1"}`, false},
	{abi.OpNovaServerMigrate, `{"id":"s1"}`, `{"request_id":"req-1"}`, false},
	{abi.OpNovaServerLiveMigrate, `{"id":"s1","host":"compute-2"}`, `{"request_id":"req-1"}`, false},
	{abi.OpNovaServerWait, `{"id":"s1","until":"task_clear","timeout_s":3,"fields":["id"]}`, `{"outcome":"reached","server":{"id":"s1"}}`, false},
	{abi.OpNovaServiceList, `{"binary":"nova-conductor"}`, `{"services":[]}`, false},
	{abi.OpNovaServiceDisable, `{"host":"compute-1","reason":"dead"}`, `{"changed":true,"service":{"id":"svc-1","binary":"nova-compute","host":"compute-1","zone":"","status":"disabled","state":"down","disabled_reason":"dead [wasakari east run-7]","forced_down":false,"updated_at":null},"request_id":"req-1"}`, false},
	{abi.OpNovaServiceEnable, `{"host":"compute-1"}`, `{"changed":false,"service":{"id":"svc-1","binary":"nova-compute","host":"compute-1","zone":"","status":"enabled","state":"down","disabled_reason":null,"forced_down":false,"updated_at":null}}`, false},
	{abi.OpNovaServiceForceDown, `{"host":"compute-1","forced_down":false}`, `{"service":{"id":"svc-1","binary":"nova-compute","host":"compute-1","zone":"","status":"enabled","state":"down","disabled_reason":null,"forced_down":false,"updated_at":null}}`, false},
	{abi.OpNovaServiceWait, `{"host":"compute-1","state":"down","timeout_s":3}`, `{"service":{"id":"svc-1","binary":"nova-compute","host":"compute-1","zone":"","status":"enabled","state":"down","disabled_reason":null,"forced_down":false,"updated_at":null}}`, false},
	{abi.OpNovaAggregateList, `{"host":"compute-9"}`, `{"aggregates":[]}`, false},
	{abi.OpNovaAggregateAddHost, `{"id":1,"host":"compute-2"}`, `{"request_id":"req-1"}`, false},
	{abi.OpNovaAggregateRemoveHost, `{"id":1,"host":"compute-1"}`, `{"request_id":"req-1"}`, false},
	{abi.OpNovaHypervisorList, `{"host":"compute-1"}`, `{"hypervisors":[{"id":"hv-1","hypervisor_hostname":"compute-1","hypervisor_type":"","state":"","status":"","host_ip":"","service":{"id":"","host":""}}]}`, false},
	{abi.OpNovaMigrationList, `{}`, `{"migrations":[]}`, false},
	{abi.OpHASegmentGet, `{}`, `{"uuid":"seg-1","name":"seg","recovery_method":"auto","enabled":true}`, false},
	{abi.OpHAHostList, `{"reserved":true}`, `{"hosts":[{"uuid":"","name":"compute-4","reserved":true,"on_maintenance":false}]}`, false},
	{abi.OpHAHostUpdate, `{"name":"compute-1","on_maintenance":true}`, `{"uuid":"","name":"compute-1","reserved":false,"on_maintenance":true}`, false},
	{abi.OpHAVMoveList, `{"latest":true}`, `{"vmoves":[]}`, false},
	{abi.OpHAVMovePut, `{"instance_uuid":"s1","status":"pending"}`, ``, false},
	{abi.OpHTTPRequest, `{"method":"POST","url":"https://tickets.example.com/v1/new","body":"x"}`, `{"status":201,"url":"https://tickets.example.com/v1/new","body":"POST x"}`, false},
}

func opsBench(t *testing.T, change ...func(*bench)) *bench {
	cloud := newNova(active("s1", failedHost), active("s2", failedHost), active("s3", failedHost))
	cloud.svcs = []recovery.ComputeService{{ID: "svc-1", Binary: "nova-compute", Host: failedHost, Status: "enabled", State: "down"}}
	cloud.aggs = []recovery.Aggregate{{ID: 1, Name: "az", Hosts: []string{failedHost}}}
	b := setup(t, cloud, change...)
	if _, err := b.library.Put(t.Context(), "acme", "old", recovery.KVValue{Value: json.RawMessage(`1`)}, nil); err != nil {
		t.Fatal(err)
	}
	return b
}

func opsTask(b *bench, change ...func(*hostfuncs.TaskCall)) *hostfuncs.TaskHost {
	return b.task(append([]func(*hostfuncs.TaskCall){func(c *hostfuncs.TaskCall) {
		c.Script = []abi.ScriptFile{{Name: "main.py", Text: "pass"}}
		c.Options = map[string]map[string]any{"acme": {"queue": "ops"}}
		c.Task.Options = []recovery.OptionSpec{{Group: "acme", Name: "queue"}, {Group: "acme", Name: "unset"}}
	}}, change...)...)
}

func TestOpGood(t *testing.T) {
	for _, tt := range goodOps {
		t.Run(tt.op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, err := do(t.Context(), opsTask(opsBench(t)), tt.op, tt.req)
				if tt.want == "" { // has a random uuid and the time in it
					tt.want = got
				}
				want(t, got, err, tt.want, "")
				conforms(t, tt.op, got)
			})
		})
	}
}

// conforms checks an answer against the op's answer in the schema.
func conforms(t *testing.T, op, answer string) {
	t.Helper()
	type document struct {
		Ref        string              `json:"$ref"`
		Type       any                 `json:"type"`
		Properties map[string]document `json:"properties"`
		Required   []string            `json:"required"`
		Items      *document           `json:"items"`
		Enum       []any               `json:"enum"`
	}
	var schema struct {
		Ops []struct {
			Name   string   `json:"name"`
			Answer document `json:"answer"`
		} `json:"ops"`
		Defs map[string]document `json:"$defs"`
	}
	if err := json.Unmarshal(abi.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	var check func(path string, v any, d document)
	check = func(path string, v any, d document) {
		if d.Ref != "" {
			d = schema.Defs[strings.TrimPrefix(d.Ref, "#/$defs/")]
		}
		if d.Type == nil {
			return
		}
		kind := map[bool]string{true: "null"}[v == nil]
		switch v := v.(type) {
		case string:
			kind = "string"
		case bool:
			kind = "boolean"
		case float64:
			kind = "integer"
		case []any:
			kind = "array"
			for _, e := range v {
				check(path+"[]", e, *d.Items)
			}
		case map[string]any:
			kind = "object"
			for name, e := range v {
				p, known := d.Properties[name]
				if d.Properties != nil && !known {
					t.Errorf("%s.%s is not in the schema", path, name)
				}
				check(path+"."+name, e, p)
			}
			for _, name := range d.Required {
				if _, ok := v[name]; !ok {
					t.Errorf("%s.%s is missing", path, name)
				}
			}
		}
		if types, ok := d.Type.([]any); d.Type != kind && (!ok || !slices.Contains(types, any(kind))) {
			t.Errorf("%s is of type %s, want %v", path, kind, d.Type)
		}
		if d.Enum != nil && !slices.Contains(d.Enum, v) {
			t.Errorf("%s is %v, want one of %v", path, v, d.Enum)
		}
	}
	var v any
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		t.Fatal(err)
	}
	for _, o := range schema.Ops {
		if o.Name == op {
			check(op, v, o.Answer)
		}
	}
}

func TestEveryOpIsServed(t *testing.T) {
	served := map[string]bool{abi.OpTaskReason: true, abi.OpTaskCancel: true} // by the runtime
	for _, tt := range goodOps {
		served[tt.op] = true
	}
	for _, op := range abi.Ops() {
		if !served[op.Name] {
			t.Errorf("%s has no case", op.Name)
		}
	}
}

func TestOpRefusals(t *testing.T) {
	canceled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the operator pressed Ctrl-C"))
	for _, tt := range goodOps {
		free := abi.LookupOp([]byte(tt.op)).Free
		cases := []struct {
			name   string
			ctx    context.Context
			req    string
			change func(*hostfuncs.TaskCall)
			want   abi.Errno
		}{
			{name: "no JSON", req: `{"id":`, want: abi.ErrnoInvalid},
			{name: "unknown field", req: `{"nonsense":1}`, want: abi.ErrnoInvalid},
			{name: "too large", req: `{` + strings.Repeat(" ", 300<<10) + `}`, want: abi.ErrnoTooLarge},
			{name: "canceled", ctx: canceled, req: tt.req, want: abi.ErrnoCanceled},
		}
		if !free {
			cases = append(cases, []struct {
				name   string
				ctx    context.Context
				req    string
				change func(*hostfuncs.TaskCall)
				want   abi.Errno
			}{
				{name: "not among the uses", req: tt.req, change: func(c *hostfuncs.TaskCall) { c.Task.Uses = []string{"nova.server"} }, want: abi.ErrnoNotGranted},
				{name: "not granted", req: tt.req, change: func(c *hostfuncs.TaskCall) {
					c.Granted = func(op string) bool { return op != tt.op }
				}, want: abi.ErrnoNotGranted},
				{name: "not granted and no JSON", req: `{`, change: func(c *hostfuncs.TaskCall) { c.Task.Uses = nil }, want: abi.ErrnoNotGranted},
			}...)
		}
		for _, c := range cases {
			t.Run(tt.op+"/"+c.name, func(t *testing.T) {
				b := opsBench(t)
				if c.change == nil {
					c.change = func(*hostfuncs.TaskCall) {}
				}
				if c.ctx == nil {
					c.ctx = t.Context()
				}
				_, err := do(c.ctx, opsTask(b, c.change), tt.op, c.req)
				if got := code(err); got != c.want {
					t.Errorf("error = %v, want code %v", err, c.want)
				}
				if n := len(b.cloud.calls) + len(b.ledger.log) + len(b.http.calls); n != 0 {
					t.Errorf("%d calls outside, want none: %v %v", n, b.cloud.calls, b.ledger.log)
				}
			})
		}
	}
}

func TestOpFailureOutside(t *testing.T) {
	for _, tt := range goodOps {
		if tt.inside {
			continue
		}
		t.Run(tt.op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := opsBench(t)
				b.cloud.before = func(context.Context, string) error {
					return cloudError("nova", 503, "no", recovery.ErrUnavailable)
				}
				b.ha.err, b.library.err, b.scratch.err, b.http.err = errOutside, errOutside, errOutside, errOutside
				_, err := do(t.Context(), opsTask(b), tt.op, tt.req)
				wait := tt.op == abi.OpNovaServerWait || tt.op == abi.OpNovaServiceWait
				if got := code(err); got != abi.ErrnoUnavailable && (!wait || got != abi.ErrnoTimeout) {
					t.Errorf("error = %v, want unavailable (a wait: timeout)", err)
				}
			})
		})
	}
}

func TestOpErrors(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want abi.Error
	}{
		{"nova's text, status and request id", cloudError("get server s1", 409, "is paused", recovery.ErrConflict), abi.Error{Code: abi.ErrnoConflict, Message: "get server s1: is paused", Status: 409, RequestID: "req-refused"}},
		{"forbidden", cloudError("get", 403, "policy", recovery.ErrForbidden), abi.Error{Code: abi.ErrnoForbidden, Message: "get: policy", Status: 403, RequestID: "req-refused"}},
		{"credentials", recovery.ErrUnauthorized, abi.Error{Code: abi.ErrnoForbidden, Message: "nova.server_get: credentials refused"}},
		{"not found", recovery.ErrNotFound, abi.Error{Code: abi.ErrnoNotFound, Message: "nova.server_get: not found"}},
		{"timeout", context.DeadlineExceeded, abi.Error{Code: abi.ErrnoTimeout, Message: "nova.server_get: context deadline exceeded"}},
		{"canceled", context.Canceled, abi.Error{Code: abi.ErrnoCanceled, Message: "nova.server_get: context canceled"}},
		{"unknown outcome", recovery.ErrUnknownOutcome, abi.Error{Code: abi.ErrnoUnavailable, Message: "nova.server_get: outcome unknown"}},
		{"no sentinel", errOutside, abi.Error{Code: abi.ErrnoUnavailable, Message: "nova.server_get: the disk is on fire"}},
		{"an endless text", errors.New(strings.Repeat("é", 5000)), abi.Error{Code: abi.ErrnoUnavailable, Message: "nova.server_get: " + strings.Repeat("é", 2039)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := opsBench(t)
			b.cloud.before = func(context.Context, string) error { return tt.err }
			_, err := do(t.Context(), b.task(), abi.OpNovaServerGet, `{"id":"s1"}`)
			got, ok := errors.AsType[*abi.Error](err)
			if !ok || *got != tt.want {
				t.Errorf("error = %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestOpOfTheRuntimeIsRefused(t *testing.T) {
	b := opsBench(t)
	got, err := do(t.Context(), b.task(), abi.OpTaskReason, `{"reason":"x"}`)
	want(t, got, err, "", "invalid: task.reason: not an op of this hatch")
	_, err = b.task().Do(t.Context(), &abi.Op{Name: "nova.server_delete"}, nil)
	want(t, "", err, "", "invalid: nova.server_delete: not an op of this hatch")
}

func TestServerFields(t *testing.T) {
	cloud := newNova(recovery.Server{
		ID: "s1", Name: "quo\"te", Updated: "2026-11-23T00:00:00Z", Metadata: map[string]string{"HA_Enabled": "yes"}, Image: json.RawMessage(`""`),
		VMState: "error", TaskState: "rebuilding", PowerState: 4, Locked: true, LockedReason: "me",
		Fault: &recovery.Fault{Code: 500, Message: "No valid host was found."}, Host: "compute-1",
	})
	tests := []struct{ name, req, want, wantErr string }{
		{name: "some", req: `["OS-EXT-STS:power_state","name","locked","metadata"]`, want: `{"id":"s1","name":"quo\"te","metadata":{"HA_Enabled":"yes"},"locked":true,"OS-EXT-STS:power_state":4}`},
		{name: "absent ones are left out", req: `["tags","fault","image"]`, want: `{"id":"s1","image":"","fault":{"code":500,"message":"No valid host was found.","created":""}}`},
		{name: "unknown", req: `["taks_state"]`, wantErr: `invalid: nova.server_get: fields: a server has no field "taks_state", the nearest is "OS-EXT-STS:task_state"`},
		{name: "never shown", req: `["user_data"]`, wantErr: `invalid: nova.server_get: fields: a server has no field "user_data", the nearest is "user_id"`},
		{name: "all", req: `[]`, want: `{"id":"s1","name":"quo\"te","status":"","tenant_id":"","user_id":"","metadata":{"HA_Enabled":"yes"},"created":"","updated":"2026-11-23T00:00:00Z","locked":true,"locked_reason":"me","image":"","fault":{"code":500,"message":"No valid host was found.","created":""},"OS-EXT-STS:vm_state":"error","OS-EXT-STS:task_state":"rebuilding","OS-EXT-STS:power_state":4,"OS-EXT-AZ:availability_zone":"","OS-EXT-SRV-ATTR:host":"compute-1","OS-EXT-SRV-ATTR:hypervisor_hostname":"","OS-EXT-SRV-ATTR:instance_name":""}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := do(t.Context(), setup(t, cloud).task(), abi.OpNovaServerGet, `{"id":"s1","fields":`+tt.req+`}`)
			want(t, got, err, tt.want, tt.wantErr)
		})
	}
}

func TestServerListStopsWhenTheAnswerIsTooLarge(t *testing.T) {
	b := opsBench(t)
	small := func(c *hostfuncs.TaskCall) { c.AnswerBytes = 60 }
	got, err := do(t.Context(), b.task(small), abi.OpNovaServerList, `{"fields":["id"]}`)
	want(t, got, err, `{"servers":[{"id":"s1"},{"id":"s2"},{"id":"s3"}]}`, "")
	b.cloud.reset()
	got, err = do(t.Context(), b.task(small), abi.OpNovaServerList, `{}`)
	want(t, got, err, "", "too_large: nova.server_list: answer larger than 60 bytes (option [wasakari] answer_mib); ask for less, or for fewer fields")
	if got := b.cloud.count("page"); got != 0 {
		t.Errorf("%d pages were fetched after the first, want 0", got)
	}
	got, err = do(t.Context(), b.task(small), abi.OpTaskInput, `{}`)
	want(t, got, err, "", "too_large: task.input: answer larger than 60 bytes (option [wasakari] answer_mib); ask for less, or for fewer fields")
}

func TestBadTargetsAreRefusedBeforeNovaIsAsked(t *testing.T) {
	tests := []struct{ op, req string }{
		{abi.OpNovaServerGet, `{"id":"../os-services"}`},
		{abi.OpNovaServerEvacuate, `{"id":""}`},
		{abi.OpNovaServerEvacuate, `{"id":"s1","host":"a?b"}`},
		{abi.OpNovaServerStop, `{"id":"a b"}`},
		{abi.OpNovaServerMigrate, `{"id":"s1","host":"x/y"}`},
		{abi.OpNovaServerWait, `{"id":"s1#","until":"moved"}`},
		{abi.OpNovaServerWait, `{"id":"s1","until":"vm_state"}`},
		{abi.OpNovaServiceDisable, `{"host":""}`},
		{abi.OpNovaServiceWait, `{"host":"compute-1"}`},
		{abi.OpNovaServerList, `{"changed_since":"yesterday"}`},
		{abi.OpNovaServerReboot, `{"id":"s1","type":"soft"}`},
	}
	for _, tt := range tests {
		t.Run(tt.op, func(t *testing.T) {
			b := opsBench(t)
			_, err := do(t.Context(), b.task(), tt.op, tt.req)
			if got := code(err); got != abi.ErrnoInvalid {
				t.Errorf("error = %v, want invalid", err)
			}
			if len(b.cloud.calls) != 0 {
				t.Errorf("calls = %v, want none", b.cloud.calls)
			}
		})
	}
}

func TestSleepEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opsBench(t)
		began := time.Now()
		got, err := do(t.Context(), b.task(), abi.OpTaskSleep, `{"ms":1500}`)
		want(t, got, err, `{}`, "")
		if got := time.Since(began); got != 1500*time.Millisecond {
			t.Errorf("slept %v, want 1.5s", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got, err = do(ctx, b.task(), abi.OpTaskSleep, `{"ms":9223372036854775807}`)
		want(t, got, err, "", "timeout: task.sleep: context deadline exceeded")
		go func() {
			time.Sleep(time.Second)
			b.hatch.Close()
		}()
		got, err = do(t.Context(), b.task(), abi.OpTaskSleep, `{"ms":10000}`)
		want(t, got, err, "", "canceled: task.sleep: canceled")
	})
}
