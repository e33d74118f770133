package hostfuncs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

// Two tenants: acme's task is hostile, the servers of globex are its prey.
const (
	acme   = "acme-project"
	globex = "globex-project"
)

func ofTenant(tenant, id, host string) recovery.Server {
	s := active(id, host)
	s.TenantID, s.Hypervisor, s.InstanceName, s.HostStatus = tenant, host+".rack", "instance-0000000a", "UP"
	return s
}

// tenantNova has servers of both tenants on the failed host and elsewhere.
func tenantNova() *nova {
	broken := ofTenant(acme, "broken", failedHost)
	broken.VMState, broken.Status = "error", "ERROR"
	broken.Fault = &recovery.Fault{Code: 500, Message: "No valid host; compute-2 said no", Created: "2026-11-23T00:00:00Z"}
	n := newNova(ofTenant(acme, "mine", failedHost), ofTenant(acme, "far", "compute-2"), broken, ofTenant(globex, "theirs", failedHost), ofTenant("", "nobodys", failedHost))
	n.svcs = []recovery.ComputeService{{ID: "svc-1", Host: failedHost, Binary: "nova-compute", State: "down", Status: "enabled"}}
	return n
}

// ofAcme makes the call one of acme's task.
func ofAcme(c *hostfuncs.TaskCall) { c.Task.Tenant = acme }

func TestEveryOpIsDecidedForTenants(t *testing.T) {
	for _, op := range abi.Ops() {
		if _, decided := hostfuncs.TenantMay(op.Name); !decided {
			t.Errorf("op %s: nobody decided whether tenants may use it", op.Name)
		}
	}
	if may, decided := hostfuncs.TenantMay("nova.server_burn"); may || decided {
		t.Errorf("an op that is not known: may %v, decided %v, want neither", may, decided)
	}
	typ := reflect.TypeFor[recovery.Server]()
	for field := range typ.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if _, decided := hostfuncs.TenantSees(name); !decided {
			t.Errorf("field %s of a server: nobody decided whether tenants see it", name)
		}
		if seen, _ := hostfuncs.TenantSees(name); seen && (strings.HasPrefix(name, "OS-EXT-SRV-ATTR:") || strings.HasPrefix(name, "host")) {
			t.Errorf("field %s tells of hosts, and tenants see it", name)
		}
	}
}

func TestForbiddenToTenants(t *testing.T) {
	var forbidden []string
	for _, op := range abi.Ops() {
		if may, _ := hostfuncs.TenantMay(op.Name); !may {
			forbidden = append(forbidden, op.Name)
		}
	}
	want := []string{
		"ha.host_list", "ha.host_update", "ha.segment_get", "ha.vmove_put",
		"nova.aggregate_add_host", "nova.aggregate_list", "nova.aggregate_remove_host", "nova.hypervisor_list", "nova.migration_list",
		"nova.server_evacuate", "nova.service_disable", "nova.service_enable", "nova.service_force_down", "nova.service_list", "nova.service_wait",
	}
	slices.Sort(forbidden)
	if !slices.Equal(forbidden, want) {
		t.Errorf("forbidden: %q, want %q", forbidden, want)
	}
	for _, op := range forbidden {
		b := setup(t, tenantNova())
		task := b.task(ofAcme, func(c *hostfuncs.TaskCall) { c.Granted = func(string) bool { return true } })
		for _, req := range []string{
			`{}`, `{"id":"mine"}`, `{"host":"compute-1"}`, `{"name":"compute-1","reserved":true}`, `{"id":1,"host":"compute-1"}`,
			`{"instance_uuid":"mine","status":"succeeded"}`, `{"host":"compute-1","state":"down"}`, `{"host":"compute-1","forced_down":true}`,
		} {
			got, err := do(t.Context(), task, op, req)
			if want := "forbidden: " + op + ": not for the tasks of tenants"; got != "" || err == nil || err.Error() != want {
				t.Errorf("%s %s: answer %q, error %v, want %s", op, req, got, err, want)
			}
		}
		if n := len(b.cloud.calls); n != 0 || len(b.ledger.log) != 0 || len(b.ha.vmoves) != 0 {
			t.Errorf("%s: %d calls of the cloud, ledger %q: want nothing", op, n, b.ledger.log)
		}
	}
}

// serverOps has a request about one server for each op that names one.
var serverOps = map[string]string{
	abi.OpNovaServerGet:         `{"id":%q}`,
	abi.OpNovaServerStop:        `{"id":%q}`,
	abi.OpNovaServerStart:       `{"id":%q}`,
	abi.OpNovaServerReboot:      `{"id":%q,"type":"HARD"}`,
	abi.OpNovaServerLock:        `{"id":%q}`,
	abi.OpNovaServerUnlock:      `{"id":%q}`,
	abi.OpNovaServerResetState:  `{"id":%q,"state":"active"}`,
	abi.OpNovaServerMigrate:     `{"id":%q}`,
	abi.OpNovaServerLiveMigrate: `{"id":%q}`,
	abi.OpNovaServerWait:        `{"id":%q,"until":"task_clear","timeout_s":5}`,
}

// A server of somebody else is one that is not there: in word, number, status
// and request id. Nothing is changed, written down or locked.
func TestForeignServersAreNotThere(t *testing.T) {
	for _, op := range abi.Ops() {
		if _, listed := serverOps[op.Name]; !listed && strings.HasPrefix(op.Name, "nova.server_") &&
			op.Name != abi.OpNovaServerEvacuate && op.Name != abi.OpNovaServerList {
			t.Errorf("%s has no case", op.Name)
		}
	}
	for op, form := range serverOps {
		t.Run(op, func(t *testing.T) {
			b := setup(t, tenantNova())
			task := b.task(ofAcme)
			_, absent := do(t.Context(), task, op, fmt.Sprintf(form, "no-such-server"))
			if want := "not_found: " + op + ": no such server"; absent == nil || absent.Error() != want {
				t.Fatalf("absent server: error = %v, want %s", absent, want)
			}
			for _, id := range []string{"theirs", "nobodys", "alias-of-mine"} {
				b.cloud.server = func(ctx context.Context, id string) (recovery.Server, error) {
					if id == "alias-of-mine" { // a name under which Nova finds a server of another id
						return b.cloud.getServer(ctx, "mine")
					}
					return b.cloud.getServer(ctx, id)
				}
				b.cloud.reset()
				got, err := do(t.Context(), task, op, fmt.Sprintf(form, id))
				if got != "" || !reflect.DeepEqual(err, absent) {
					t.Errorf("%s: answer %q, error %#v, want the error of an absent one, %#v", id, got, err, absent)
				}
				if n := b.cloud.count("server"); n != 1 || len(b.cloud.calls) != 1 {
					t.Errorf("%s: calls %v, want one read of the server, as for an absent one", id, b.cloud.calls)
				}
			}
			if len(b.ledger.log) != 0 {
				t.Errorf("ledger: %q, want nothing", b.ledger.log)
			}
		})
	}
}

// noHosts fails when a text tells of hosts.
func noHosts(tb testing.TB, what, text string) {
	tb.Helper()
	for _, word := range []string{"compute-", ".rack", "OS-EXT-SRV-ATTR", "host_status", "instance-0000000a", "globex", "theirs"} {
		if strings.Contains(text, word) {
			tb.Errorf("%s tells a tenant of %s: %s", what, word, text)
		}
	}
}

func TestOwnServers(t *testing.T) {
	for op, form := range serverOps {
		t.Run(op, func(t *testing.T) {
			b := setup(t, tenantNova())
			if op == abi.OpNovaServerStart || op == abi.OpNovaServerResetState {
				b.cloud.edit("mine", func(s *recovery.Server) { s.VMState = "stopped" })
			}
			if op == abi.OpNovaServerUnlock {
				b.cloud.edit("mine", func(s *recovery.Server) { s.Locked, s.LockedReason = true, "wasakari "+runID })
			}
			got, err := do(t.Context(), b.task(ofAcme), op, fmt.Sprintf(form, "mine"))
			if err != nil || got == "" {
				t.Fatalf("answer %q, error %v", got, err)
			}
			noHosts(t, op, got)
			verbs := map[string]string{
				abi.OpNovaServerStop: "stop", abi.OpNovaServerStart: "start", abi.OpNovaServerReboot: "reboot", abi.OpNovaServerLock: "lock",
				abi.OpNovaServerUnlock: "unlock", abi.OpNovaServerResetState: "reset", abi.OpNovaServerMigrate: "migrate", abi.OpNovaServerLiveMigrate: "live-migration",
			}
			if verb := verbs[op]; verb != "" && b.cloud.count(verb) != 1 {
				t.Errorf("calls %v, want one %s", b.cloud.calls, verb)
			}
		})
	}
}

func TestTenantsNameNoHosts(t *testing.T) {
	tests := []struct{ name, op, req, wantErr string }{
		{"migrate to a host", abi.OpNovaServerMigrate, `{"id":"mine","host":"compute-2"}`, "forbidden: nova.server_migrate: host: hosts are not for tenants, leave it out"},
		{"live migrate to a host", abi.OpNovaServerLiveMigrate, `{"id":"mine","host":"compute-2"}`, "forbidden: nova.server_live_migrate: host: hosts are not for tenants, leave it out"},
		{"wait until it left a host", abi.OpNovaServerWait, `{"id":"mine","until":"moved","from_host":"compute-2"}`, "forbidden: nova.server_wait: from_host: hosts are not for tenants, leave it out"},
		{"list a host", abi.OpNovaServerList, `{"host":"compute-2"}`, "forbidden: nova.server_list: host: hosts are not for tenants, leave it out"},
		{"list another project", abi.OpNovaServerList, `{"project_id":"` + globex + `"}`, "forbidden: nova.server_list: project_id: a tenant's task sees the servers of its own project only, leave it out"},
		{"list a project that is not there", abi.OpNovaServerList, `{"project_id":"*"}`, "forbidden: nova.server_list: project_id: a tenant's task sees the servers of its own project only, leave it out"},
		{"project with a zero byte", abi.OpNovaServerList, `{"project_id":"` + acme + `\u0000"}`, "forbidden: nova.server_list: project_id: a tenant's task sees the servers of its own project only, leave it out"},
		{"project given twice", abi.OpNovaServerList, `{"project_id":"` + acme + `","project_id":"` + globex + `"}`, "invalid"},
		{"project in another case", abi.OpNovaServerList, `{"Project_ID":"` + globex + `"}`, "invalid"},
		{"a tenant", abi.OpNovaServerList, `{"tenant":"` + globex + `"}`, "invalid"},
		{"all tenants", abi.OpNovaServerList, `{"all_tenants":true}`, "invalid"},
		{"a host of a server", abi.OpNovaServerGet, `{"id":"mine","fields":["OS-EXT-SRV-ATTR:host"]}`, "forbidden: nova.server_get: fields: OS-EXT-SRV-ATTR:host is not for tenants"},
		{"a host of servers", abi.OpNovaServerList, `{"fields":["name","OS-EXT-SRV-ATTR:hypervisor_hostname"]}`, "forbidden: nova.server_list: fields: OS-EXT-SRV-ATTR:hypervisor_hostname is not for tenants"},
		{"the status of the host", abi.OpNovaServerWait, `{"id":"mine","until":"task_clear","fields":["host_status"]}`, "forbidden: nova.server_wait: fields: host_status is not for tenants"},
		{"an id that is a path", abi.OpNovaServerGet, `{"id":"mine/../theirs"}`, `invalid: nova.server_get: server "mine/../theirs"`},
		{"an id with a query", abi.OpNovaServerGet, `{"id":"mine?all_tenants=1"}`, `invalid: nova.server_get: server "mine?all_tenants=1"`},
		{"no id", abi.OpNovaServerStop, `{"id":""}`, `invalid: nova.server_stop: server ""`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t, tenantNova())
			got, err := do(t.Context(), b.task(ofAcme), tt.op, tt.req)
			if tt.wantErr == "invalid" && code(err) == abi.ErrnoInvalid {
				tt.wantErr = err.Error() // the words are abi's
			}
			want(t, got, err, "", tt.wantErr)
			if n := b.cloud.count("servers", "stop", "migrate", "live-migration"); n != 0 {
				t.Errorf("calls %v, want neither lists nor changes", b.cloud.calls)
			}
		})
	}
}

// TestTenantList has a Nova that does not filter: what is listed is looked at
// once more.
func TestTenantList(t *testing.T) {
	b := setup(t, tenantNova())
	task := b.task(ofAcme)
	var filters []recovery.ServerFilter
	all := b.cloud.servers
	b.cloud.servers = func(ctx context.Context, f recovery.ServerFilter) ([]recovery.Server, error) {
		filters = append(filters, f)
		return all(ctx, f)
	}
	for _, req := range []string{`{"fields":["tenant_id"]}`, `{"fields":["tenant_id"],"project_id":"` + acme + `"}`} {
		got, err := do(t.Context(), task, abi.OpNovaServerList, req)
		want(t, got, err, `{"servers":[{"id":"broken","tenant_id":"acme-project"},{"id":"far","tenant_id":"acme-project"},{"id":"mine","tenant_id":"acme-project"}]}`, "")
	}
	for _, f := range filters {
		if f.Tenant != acme {
			t.Errorf("Nova was asked for the servers of %q, want %q", f.Tenant, acme)
		}
	}
	got, err := do(t.Context(), task, abi.OpNovaServerList, `{}`)
	if err != nil {
		t.Fatal(err)
	}
	noHosts(t, "the list", got)
	if !strings.Contains(got, `"fault":{"code":500,"message":"an error in the cloud","created":"2026-11-23T00:00:00Z"}`) {
		t.Errorf("the fault without its text is not in %s", got)
	}
	// The cloud's own record keeps it.
	if s, _ := b.cloud.getServer(t.Context(), "broken"); s.Fault.Message != "No valid host; compute-2 said no" {
		t.Errorf("the fault itself was changed: %v", s.Fault)
	}
	// An operator's task sees all, as ever.
	if got, err = do(t.Context(), b.task(), abi.OpNovaServerList, `{"fields":["OS-EXT-SRV-ATTR:host"]}`); err != nil || strings.Count(got, failedHost) != 4 {
		t.Errorf("operator's list: %s, %v", got, err)
	}
}

// What goes wrong is told without the cloud's own words.
func TestTenantErrors(t *testing.T) {
	const words = "compute-2 of instance-0000000a refused; globex is there"
	tests := []struct {
		name    string
		err     error
		wantErr string
	}{
		{"conflict", cloudError("stop mine", 409, words, recovery.ErrConflict), "conflict: nova.server_stop: the state of the server does not allow it now, or somebody else is at it; read the server"},
		{"forbidden", cloudError("stop mine", 403, words, recovery.ErrForbidden), "forbidden: nova.server_stop: the cloud refuses it"},
		{"unauthorized", cloudError("stop mine", 401, words, recovery.ErrUnauthorized), "forbidden: nova.server_stop: the cloud refuses it"},
		{"invalid", cloudError("stop mine", 400, words, recovery.ErrInvalid), "invalid: nova.server_stop: the cloud takes it for invalid"},
		{"too many", cloudError("stop mine", 429, words, recovery.ErrQuota), "quota: nova.server_stop: the cloud is asked too often, or a quota is used up"},
		{"too large", cloudError("stop mine", 413, words, recovery.ErrTooLarge), "too_large: nova.server_stop: too large"},
		{"failure", cloudError("stop mine", 500, words, recovery.ErrUnavailable), "unavailable: nova.server_stop: the cloud could not be asked, or answered with an error of its own"},
		{"unknown failure", errors.New(words), "unavailable: nova.server_stop: the cloud could not be asked, or answered with an error of its own"},
		{"gone", cloudError("stop mine", 404, words, recovery.ErrNotFound), "not_found: nova.server_stop: no such server"},
	}
	for _, where := range []string{"server", "stop"} { // the read that looks whose it is, and the change
		for _, tt := range tests {
			t.Run(where+" "+tt.name, func(t *testing.T) {
				b := setup(t, tenantNova())
				b.cloud.before = func(_ context.Context, call string) error {
					if call == where {
						return tt.err
					}
					return nil
				}
				got, err := do(t.Context(), b.task(ofAcme), abi.OpNovaServerStop, `{"id":"mine"}`)
				want(t, got, err, "", tt.wantErr)
				if e, ok := errors.AsType[*abi.Error](err); ok && code(err) == abi.ErrnoNotFound && (e.Status != 0 || e.RequestID != "") {
					t.Errorf("status %d and request %q tell that it was there", e.Status, e.RequestID)
				}
			})
		}
	}
	t.Run("the server is elsewhere already", func(t *testing.T) {
		b := setup(t, tenantNova())
		b.cloud.edit("mine", func(s *recovery.Server) { s.TaskState = "migrating" })
		got, err := do(t.Context(), b.task(ofAcme), abi.OpNovaServerMigrate, `{"id":"mine"}`)
		want(t, got, err, "", "conflict: nova.server_migrate: "+"the state of the server does not allow it now, or somebody else is at it; read the server")
	})
	t.Run("another run's lock", func(t *testing.T) {
		b := setup(t, tenantNova())
		b.cloud.edit("mine", func(s *recovery.Server) { s.Locked, s.LockedReason = true, "wasakari run-busy" })
		_, err := do(t.Context(), b.task(ofAcme), abi.OpNovaServerLock, `{"id":"mine"}`)
		want(t, "", err, "", "conflict: nova.server_lock: the state of the server does not allow it now, or somebody else is at it; read the server")
	})
}

func TestTenantWait(t *testing.T) {
	t.Run("time runs out", func(t *testing.T) {
		b := setup(t, tenantNova(), func(b *bench) { b.deps.Options.VerifyInterval = 1e6 })
		for _, req := range []string{`{"id":"mine","until":"moved","timeout_s":1}`, `{"id":"mine","until":"vm_state","vm_states":["stopped"],"timeout_s":1}`} {
			got, err := do(t.Context(), b.task(ofAcme), abi.OpNovaServerWait, req)
			want(t, got, err, "", "timeout: nova.server_wait: not within the time given")
		}
	})
	t.Run("a fault", func(t *testing.T) {
		b := setup(t, tenantNova())
		got, err := do(t.Context(), b.task(ofAcme), abi.OpNovaServerWait, `{"id":"broken","until":"vm_state","vm_states":["active"],"timeout_s":5,"fields":["name"]}`)
		want(t, got, err, `{"outcome":"error","server":{"id":"broken","name":"name-broken"},"message":"an error in the cloud"}`, "")
	})
	t.Run("a failed evacuation", func(t *testing.T) {
		b := setup(t, tenantNova())
		b.cloud.migs = []recovery.Migration{{ID: 1, UUID: "mig-1", InstanceUUID: "broken", Status: "failed", Type: "evacuation", SourceCompute: failedHost, DestCompute: "compute-2"}}
		got, err := do(t.Context(), b.task(ofAcme), abi.OpNovaServerWait, `{"id":"broken","until":"moved","timeout_s":5}`)
		if err != nil || !strings.Contains(got, `"outcome":"error"`) {
			t.Errorf("answer %s, error %v", got, err)
		}
		noHosts(t, "the wait", got)
	})
}

func TestTenantVMoves(t *testing.T) {
	b := setup(t, tenantNova(), func(b *bench) {
		b.ha.vmoves = []recovery.VMove{
			{UUID: "v1", InstanceUUID: "mine", InstanceName: "name-mine", Status: recovery.VMoveFailed, SourceHost: failedHost, DestHost: "compute-2", Message: "compute-2 refused", Attempt: 1},
			{UUID: "v2", InstanceUUID: "theirs", InstanceName: "name-theirs", Status: recovery.VMoveFailed, SourceHost: failedHost, Attempt: 1},
			{UUID: "v3", InstanceUUID: "gone", Status: recovery.VMoveFailed, SourceHost: failedHost, Attempt: 1},
		}
	})
	got, err := do(t.Context(), b.task(ofAcme), abi.OpHAVMoveList, `{}`)
	if err != nil || !strings.Contains(got, `"v1"`) || strings.Contains(got, `"v2"`) || strings.Contains(got, `"v3"`) {
		t.Errorf("answer %s, error %v, want v1 only", got, err)
	}
	noHosts(t, "the list", got)
	// The run's own record is as it was.
	if got, err = do(t.Context(), b.task(), abi.OpHAVMoveList, `{}`); err != nil || strings.Count(got, failedHost) != 3 || !strings.Contains(got, "compute-2 refused") {
		t.Errorf("operator's list: %s, %v", got, err)
	}
	b.cloud.before = func(_ context.Context, call string) error {
		if call == "servers" {
			return cloudError("list", 503, "compute-2 is down", recovery.ErrUnavailable)
		}
		return nil
	}
	_, err = do(t.Context(), b.task(ofAcme), abi.OpHAVMoveList, `{}`)
	want(t, "", err, "", "unavailable: ha.vmove_list: the cloud could not be asked, or answered with an error of its own")
}

// Whatever the names, no tenant reaches another one's values, nor the
// operator's, whose library has the same name.
func TestTenantsKVApart(t *testing.T) {
	type owner struct{ tenant, library string }
	owners := []owner{
		{"", "acme"},
		{acme, "acme"},
		{globex, "acme"},
		{acme, "acme2"},
		{acme + "/acme", "x"},
		{acme, "acme/x"}, // one text when they are joined by a slash
		{acme + "\x00acme", "x"},
		{acme, "acme\x00x"}, // … by a zero byte
		{"1", "1:1/x"},
		{"1:1", "x"},
		{"11", "1/x"},
		{"..", "acme"},
		{"a/..", "acme"},
		{"a", "../acme"},
		{"tenant", "acme"},
		{"tenant/4:acme/", "acme"},
	}
	b := setup(t, newNova())
	task := func(o owner) *hostfuncs.TaskHost {
		return b.task(func(c *hostfuncs.TaskCall) { c.Task.Tenant, c.Task.Library = o.tenant, o.library })
	}
	scratch := map[string]int{} // by tenant: the place of a task is told by its flow, not by its library
	for i, o := range owners {
		for _, req := range []string{`{"scope":"library","name":"n","value":%d}`, `{"name":"scratch/n","value":%d}`} {
			if _, err := do(t.Context(), task(o), abi.OpKVPut, fmt.Sprintf(req, i)); err != nil {
				t.Fatalf("%v: %v", o, err)
			}
		}
		scratch[o.tenant] = i
	}
	for i, o := range owners {
		got, err := do(t.Context(), task(o), abi.OpKVGet, `{"scope":"library","name":"n"}`)
		want(t, got, err, fmt.Sprintf(`{"value":%d,"version":1}`, i), "")
		got, err = do(t.Context(), task(o), abi.OpKVList, `{"scope":"library"}`)
		want(t, got, err, fmt.Sprintf(`{"entries":[{"name":"n","version":1,"size":%d}]}`, len(fmt.Sprint(i))), "")
		got, err = do(t.Context(), task(o), abi.OpKVGet, `{"name":"scratch/n"}`)
		if want := fmt.Sprintf(`{"value":%d,`, scratch[o.tenant]); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%v: scratch value %s, %v, want %s", o, got, err, want)
		}
	}
	// A library of the operator's that looks like that of a tenant.
	_, err := do(t.Context(), task(owner{"", "tenant/12:acme-project/acme"}), abi.OpKVGet, `{"scope":"library","name":"n"}`)
	want(t, "", err, "", `invalid: kv.get: library "tenant/12:acme-project/acme"`)
	for _, name := range []string{`../x`, `tenant/14:globex-project/acme`, "n\u0000x", `..`} {
		got, err := do(t.Context(), task(owner{acme, "acme"}), abi.OpKVGet, fmt.Sprintf(`{"scope":"library","name":%q}`, name))
		if got != "" || code(err) != abi.ErrnoNotFound && code(err) != abi.ErrnoInvalid {
			t.Errorf("name %q: answer %q, error %v", name, got, err)
		}
	}
}

func TestTenantsKVQuotasApart(t *testing.T) {
	b := setup(t, newNova(), func(b *bench) { b.deps.Options.KVLibraryBytes = 1000; b.deps.Options.KVTaskBytes = 1500 })
	put := func(tenant, name string, n int) error {
		_, err := do(t.Context(), b.task(func(c *hostfuncs.TaskCall) { c.Task.Tenant = tenant }), abi.OpKVPut,
			fmt.Sprintf(`{"scope":"library","name":%q,"value":%q}`, name, strings.Repeat("x", n-2-len(name))))
		return err
	}
	for _, tenant := range []string{"", acme, globex} {
		if err := put(tenant, "a", 900); err != nil {
			t.Errorf("tenant %q: %v, though it is alone with its quota", tenant, err)
		}
	}
	want(t, "", put(acme, "b", 200), "", `quota: kv.put: "b": library acme would hold 1100 bytes, at most 1000 (option [wasakari] kv_library_mib)`)
	_, err := do(t.Context(), b.task(ofAcme), abi.OpKVPut, fmt.Sprintf(`{"name":"answer","value":%q}`, strings.Repeat("x", 1600)))
	want(t, "", err, "", `quota: kv.put: "answer": the task would have written 1608 bytes, at most 1500 (option [wasakari] kv_task_kib)`)

	// What is set for one task counts instead, and is named.
	own := func(c *hostfuncs.TaskCall) {
		c.Task.Tenant = globex
		c.KVTaskBytes, c.KVTaskOption = 400, "[limits] @globex kv_task_kib"
		c.KVLibraryBytes, c.KVLibraryOption = 1100, "[limits] acme@globex kv_library_mib"
		c.AnswerBytes, c.AnswerOption = 10, "[limits] @globex answer_mib"
	}
	set := func(name string, n int) error {
		_, err := do(t.Context(), b.task(own), abi.OpKVPut, fmt.Sprintf(`{"scope":"library","name":%q,"value":%q}`, name, strings.Repeat("x", n-2-len(name))))
		return err
	}
	want(t, "", set("b", 401), "", `quota: kv.put: "b": the task would have written 401 bytes, at most 400 (option [limits] @globex kv_task_kib)`)
	want(t, "", set("b", 300), "", `quota: kv.put: "b": library acme would hold 1200 bytes, at most 1100 (option [limits] acme@globex kv_library_mib)`)
	if err := set("b", 199); code(err) == abi.ErrnoQuota {
		t.Errorf("error = %v, though that is more than others have and less than its own", err)
	}
	_, err = do(t.Context(), b.task(own), abi.OpKVGet, `{"scope":"library","name":"a"}`)
	want(t, "", err, "", `too_large: kv.get: answer larger than 10 bytes (option [limits] @globex answer_mib); ask for less, or for fewer fields`)
}

// inputOf gives what a task is told.
func inputOf(tb testing.TB, task *hostfuncs.TaskHost) (abi.TaskInput, string) {
	tb.Helper()
	got, err := do(tb.Context(), task, abi.OpTaskInput, `{}`)
	if err != nil {
		tb.Fatal(err)
	}
	var in abi.TaskInput
	if err := json.Unmarshal([]byte(got), &in); err != nil {
		tb.Fatal(err)
	}
	return in, got
}

func TestTenantInputs(t *testing.T) {
	all := map[string]json.RawMessage{
		"host_name": json.RawMessage(`"compute-1"`), "reserved_host_list": json.RawMessage(`["compute-4"]`), "reserved_host": json.RawMessage(`"compute-4"`),
		"payload": json.RawMessage(`{"hostname":"compute-1"}`), "segment": json.RawMessage(`{"name":"compute-seg"}`), "process_name": json.RawMessage(`"compute-agent"`),
		"fence_proof": json.RawMessage(`{"host":"compute-1"}`), "instance_list": json.RawMessage(`["theirs"]`),
		"event": json.RawMessage(`"STOPPED"`), "notification_uuid": json.RawMessage(`"note-1"`), "recovery_method": json.RawMessage(`"auto"`),
		"generated_time": json.RawMessage(`"2026-11-23T00:00:00Z"`), "instance_uuid": json.RawMessage(`"mine"`),
		"own_ticket": json.RawMessage(`7`), "ticket_of_globex": json.RawMessage(`"globex"`), "ticket_of_operator": json.RawMessage(`"compute-9"`),
	}
	var names []string
	for name := range all {
		names = append(names, name)
	}
	b := setup(t, tenantNova())
	task := b.task(ofAcme, func(c *hostfuncs.TaskCall) {
		c.Task.Requires, c.Task.Optional, c.Values = names[:8], names[8:], all
		c.Reverting, c.Failure = true, "task evacuate: compute-2 refused"
		c.ProviderTenant = func(name string) (string, bool) {
			tenant, ok := map[string]string{"own_ticket": acme, "ticket_of_globex": globex, "ticket_of_operator": "", "fence_proof": "", "instance_list": ""}[name]
			return tenant, ok
		}
	})
	in, text := inputOf(t, task)
	var given []string
	for name := range in.Inputs {
		given = append(given, name)
	}
	slices.Sort(given)
	if want := []string{"event", "generated_time", "instance_uuid", "notification_uuid", "own_ticket", "recovery_method"}; !slices.Equal(given, want) {
		t.Errorf("inputs given: %q, want %q", given, want)
	}
	if in.Failure != "the flow failed" {
		t.Errorf("failure = %q", in.Failure)
	}
	noHosts(t, "the input", text)
	for _, name := range names {
		got, err := do(t.Context(), task, abi.OpKVGet, fmt.Sprintf(`{"name":%q}`, name))
		if slices.Contains(given, name) {
			want(t, got, err, fmt.Sprintf(`{"value":%s,"version":1}`, all[name]), "")
		} else {
			want(t, got, err, "", fmt.Sprintf("forbidden: kv.get: %q is not for the tasks of tenants", name))
		}
	}
	got, err := do(t.Context(), task, abi.OpKVList, `{}`)
	if err != nil || strings.Count(got, `"name"`) != len(given) {
		t.Errorf("list: %s, %v, want the %d names given", got, err, len(given))
	}

	t.Run("the server is somebody else's", func(t *testing.T) {
		all["instance_uuid"] = json.RawMessage(`"theirs"`)
		in, text := inputOf(t, task)
		if in.Inputs["instance_uuid"] != nil || strings.Contains(text, "theirs") {
			t.Errorf("input %s", text)
		}
		got, err := do(t.Context(), task, abi.OpKVGet, `{"name":"instance_uuid"}`)
		want(t, got, err, "", `not_found: kv.get: "instance_uuid"`)
	})
	t.Run("the cloud fails while it is asked whose the server is", func(t *testing.T) {
		defer func() { b.cloud.before = nil }()
		for _, tt := range []struct {
			err  error
			want string
		}{
			{cloudError("get", 403, "compute-2 forbids it", recovery.ErrForbidden), "forbidden: %s: the cloud refuses it"},
			{cloudError("get", 500, "compute-2 is on fire", recovery.ErrUnavailable), "unavailable: %s: not to be had now"},
			{fmt.Errorf("read /var/lib/wasakari/compute-2: %w", recovery.ErrTimeout), "timeout: %s: not to be had now"},
		} {
			b.cloud.before = func(context.Context, string) error { return tt.err }
			for op, req := range map[string]string{abi.OpTaskInput: `{}`, abi.OpKVGet: `{"name":"instance_uuid"}`} {
				got, err := do(t.Context(), task, op, req)
				want(t, got, err, "", fmt.Sprintf(tt.want, op))
			}
		}
	})
	t.Run("nothing is known of who provided what", func(t *testing.T) {
		task := b.task(ofAcme, func(c *hostfuncs.TaskCall) { c.Task.Requires, c.Values = []string{"own_ticket"}, all })
		_, err := do(t.Context(), task, abi.OpKVGet, `{"name":"own_ticket"}`)
		want(t, "", err, "", `forbidden: kv.get: "own_ticket" is not for the tasks of tenants`)
	})
}

func TestTenantLog(t *testing.T) {
	b := setup(t, newNova())
	b.task(ofAcme).Log(abi.LevelInfo, "hello")
	b.task().Log(abi.LevelInfo, "hello")
	if len(b.events) != 2 || b.events[0].Log.Tenant != acme || b.events[1].Log.Tenant != "" {
		t.Errorf("events %v, want the tenant with the first line only", b.events)
	}
}

// A tenant's own values pass from one of its tasks to the next, and protected
// names stay protected.
func TestTenantProvides(t *testing.T) {
	b := setup(t, newNova())
	task := b.task(ofAcme, func(c *hostfuncs.TaskCall) { c.Task.Provides = []string{"ticket", "fence_proof"} })
	got, err := do(t.Context(), task, abi.OpKVPut, `{"name":"ticket","value":1}`)
	want(t, got, err, `{"version":1}`, "")
	_, err = do(t.Context(), task, abi.OpKVPut, `{"name":"fence_proof","value":{"host":"compute-2"}}`)
	want(t, "", err, "", `not_granted: kv.put: "fence_proof" is protected and provides:fence_proof is not granted to library acme`)
}
