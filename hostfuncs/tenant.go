package hostfuncs

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// tenantCheck refuses a request of a tenant's task before the op is served. req
// is the decoded document.
type tenantCheck func(ctx context.Context, t *TaskHost, req any) error

// tenantOps has a row for every op of the ABI: nil forbids it to tenants. What
// has no row is forbidden too.
var tenantOps = map[string]tenantCheck{
	abi.OpTaskInput:  anyRequest,
	abi.OpTaskScript: anyRequest,
	abi.OpTaskSleep:  anyRequest,
	abi.OpTaskReason: anyRequest, // the runtime's own
	abi.OpTaskCancel: anyRequest, // the runtime's own

	// The stores are the tenant's own, see owner and runValue.
	abi.OpKVGet:    anyRequest,
	abi.OpKVPut:    anyRequest,
	abi.OpKVDelete: anyRequest,
	abi.OpKVList:   anyRequest,

	abi.OpNovaServerGet:        ownServer(func(r abi.NovaServerGetRequest) string { return r.ID }),
	abi.OpNovaServerStop:       ownServer(func(r abi.NovaServerStopRequest) string { return r.ID }),
	abi.OpNovaServerStart:      ownServer(func(r abi.NovaServerStartRequest) string { return r.ID }),
	abi.OpNovaServerReboot:     ownServer(func(r abi.NovaServerRebootRequest) string { return r.ID }),
	abi.OpNovaServerLock:       ownServer(func(r abi.NovaServerLockRequest) string { return r.ID }),
	abi.OpNovaServerUnlock:     ownServer(func(r abi.NovaServerUnlockRequest) string { return r.ID }),
	abi.OpNovaServerResetState: ownServer(func(r abi.NovaServerResetStateRequest) string { return r.ID }),
	abi.OpNovaServerMigrate: both(
		withoutHost(func(r abi.NovaServerMigrateRequest) (string, string) { return "host", r.Host }),
		ownServer(func(r abi.NovaServerMigrateRequest) string { return r.ID }),
	),
	abi.OpNovaServerLiveMigrate: both(
		withoutHost(func(r abi.NovaServerLiveMigrateRequest) (string, string) { return "host", r.Host }),
		ownServer(func(r abi.NovaServerLiveMigrateRequest) string { return r.ID }),
	),
	abi.OpNovaServerWait: both(
		withoutHost(func(r abi.NovaServerWaitRequest) (string, string) { return "from_host", r.FromHost }),
		ownServer(func(r abi.NovaServerWaitRequest) string { return r.ID }),
	),
	abi.OpNovaServerList: both(
		withoutHost(func(r abi.NovaServerListRequest) (string, string) { return "host", r.Host }),
		ownProject,
	),

	// What an evacuation is for, the operator decides: it leaves a failed host.
	abi.OpNovaServerEvacuate:      nil,
	abi.OpNovaServiceList:         nil,
	abi.OpNovaServiceDisable:      nil,
	abi.OpNovaServiceEnable:       nil,
	abi.OpNovaServiceForceDown:    nil,
	abi.OpNovaServiceWait:         nil,
	abi.OpNovaAggregateList:       nil,
	abi.OpNovaAggregateAddHost:    nil,
	abi.OpNovaAggregateRemoveHost: nil,
	abi.OpNovaHypervisorList:      nil,
	abi.OpNovaMigrationList:       nil,

	abi.OpHASegmentGet: nil,
	abi.OpHAHostList:   nil,
	abi.OpHAHostUpdate: nil,
	abi.OpHAVMoveList:  anyRequest, // filtered in vmoveList
	// A vmove decides whether the operator's run went well, and whether a reserved
	// host is used up.
	abi.OpHAVMovePut: nil,

	abi.OpHTTPRequest: anyRequest, // its own grants name method, host and path
}

// TenantMay reports whether a tenant's task may use an op at all, when its
// manifest asks for it and it is granted; decided is false for an op that is
// not known, which is forbidden.
func TenantMay(op string) (allowed, decided bool) {
	check, decided := tenantOps[op]
	return check != nil, decided
}

// anyRequest refuses nothing.
func anyRequest(context.Context, *TaskHost, any) error { return nil }

// checked makes a tenantCheck of a function of one type of request. Another
// type is refused.
func checked[Req any](f func(ctx context.Context, t *TaskHost, r Req) error) tenantCheck {
	return func(ctx context.Context, t *TaskHost, req any) error {
		r, ok := req.(Req)
		if !ok {
			return fmt.Errorf("not for tenants: %w", recovery.ErrForbidden)
		}
		return f(ctx, t, r)
	}
}

func both(a, b tenantCheck) tenantCheck {
	return func(ctx context.Context, t *TaskHost, req any) error {
		if err := a(ctx, t, req); err != nil {
			return err
		}
		return b(ctx, t, req)
	}
}

// ownServer refuses the server of somebody else as one that is not there.
func ownServer[Req any](id func(Req) string) tenantCheck {
	return checked(func(ctx context.Context, t *TaskHost, r Req) error { return t.own(ctx, id(r)) })
}

// withoutHost refuses requests that name a host.
func withoutHost[Req any](field func(Req) (name, host string)) tenantCheck {
	return checked(func(_ context.Context, _ *TaskHost, r Req) error {
		if name, host := field(r); host != "" {
			return fmt.Errorf("%s: hosts are not for tenants, leave it out: %w", name, recovery.ErrForbidden)
		}
		return nil
	})
}

var ownProject = checked(func(_ context.Context, t *TaskHost, r abi.NovaServerListRequest) error {
	if r.ProjectID != "" && r.ProjectID != t.tenant() {
		return fmt.Errorf("project_id: a tenant's task sees the servers of its own project only, leave it out: %w", recovery.ErrForbidden)
	}
	return nil
})

// tenant is the project whose task this is, empty for the operator's.
func (t *TaskHost) tenant() string { return t.call.Task.Tenant }

// errNoServer is what a tenant is told of a server that is not there, or not
// its own: the same, whatever the cloud says of it.
var errNoServer = fmt.Errorf("no such server: %w", recovery.ErrNotFound)

// own checks, by a read of its own, that a server is the tenant's. A server
// never changes its project.
func (t *TaskHost) own(ctx context.Context, id string) error {
	if err := checkID("server", id); err != nil {
		return err
	}
	s, err := t.h.cloud.Server(ctx, id)
	if err == nil && (s.ID != id || !t.sees(&s)) || isNotFound(err) {
		return errNoServer
	}
	return err
}

// sees reports whether the task may know of a server that was read.
func (t *TaskHost) sees(s *recovery.Server) bool {
	return t.tenant() == "" || s.TenantID == t.tenant()
}

// admit refuses the request of a tenant's task.
func (t *TaskHost) admit(ctx context.Context, op string, req any) error {
	if t.tenant() == "" {
		return nil
	}
	check := tenantOps[op]
	if check == nil {
		return forbidden(op)
	}
	return check(ctx, t, req)
}

func forbidden(op string) *abi.Error {
	return abi.Errorf(abi.ErrnoForbidden, "%s: not for the tasks of tenants", op)
}

// tenantTexts is what a tenant is told instead of the cloud's own words, which
// name hosts.
var tenantTexts = map[abi.Errno]string{
	abi.ErrnoNotFound:    "no such server",
	abi.ErrnoConflict:    "the state of the server does not allow it now, or somebody else is at it; read the server",
	abi.ErrnoForbidden:   "the cloud refuses it",
	abi.ErrnoInvalid:     "the cloud takes it for invalid",
	abi.ErrnoTooLarge:    "too large",
	abi.ErrnoQuota:       "the cloud is asked too often, or a quota is used up",
	abi.ErrnoTimeout:     "not within the time given",
	abi.ErrnoNotGranted:  "not granted",
	abi.ErrnoCanceled:    "canceled",
	abi.ErrnoUnavailable: "the cloud could not be asked, or answered with an error of its own",
}

// toTenant makes what a tenant's task is told of err. Only texts that were
// made here, about the request itself, are told as they are.
func (t *TaskHost) toTenant(op *abi.Op, err error) *abi.Error {
	e := toError(op.Name, err)
	_, fromCloud := asCloudError(err)
	text, group := tenantTexts[e.Code], op.Group()
	onServers := group == "nova" || group == "ha"
	switch e.Code {
	case abi.ErrnoInvalid, abi.ErrnoForbidden, abi.ErrnoNotGranted, abi.ErrnoTooLarge, abi.ErrnoQuota, abi.ErrnoCanceled:
		if !fromCloud {
			return e
		}
	case abi.ErrnoUnavailable, abi.ErrnoTimeout:
		if !fromCloud && group == "http" {
			return e
		}
		if !onServers {
			text = "not to be had now"
		}
	default: // not found, conflict
		if !fromCloud && !onServers {
			return e
		}
	}
	t.h.log.Debug("error withheld from a tenant", zap.String("tenant", t.tenant()), zap.String("task", t.call.Task.Key),
		zap.String("op", op.Name), zap.Error(err))
	told := abi.Errorf(e.Code, "%s: %s", op.Name, text)
	if e.Code != abi.ErrnoNotFound {
		told.Status, told.RequestID = e.Status, e.RequestID
	}
	return told
}

// tenantFields says of every field of a server whether tenants see it: what
// Nova shows to the owner of a server.
var tenantFields = map[string]bool{
	"id": true, "name": true, "status": true, "tenant_id": true, "user_id": true, "metadata": true, "tags": true,
	"created": true, "updated": true, "description": true, "locked": true, "locked_reason": true, "flavor": true, "image": true,
	"fault":                                true, // without its text
	"OS-EXT-STS:vm_state":                  true,
	"OS-EXT-STS:task_state":                true,
	"OS-EXT-STS:power_state":               true,
	"OS-EXT-AZ:availability_zone":          true,
	"os-extended-volumes:volumes_attached": true,
	"server_groups":                        true,

	"OS-EXT-SRV-ATTR:host":                false,
	"OS-EXT-SRV-ATTR:hypervisor_hostname": false,
	"OS-EXT-SRV-ATTR:instance_name":       false,
	"host_status":                         false,
}

// TenantSees reports whether a tenant's task sees a field of its servers;
// decided is false for a field that is not known, which it does not see.
func TenantSees(field string) (seen, decided bool) {
	seen, decided = tenantFields[field]
	return seen, decided
}

// fields finds the fields named, all that the task may see when none is.
func (t *TaskHost) fields(names []string) ([]serverField, error) {
	if t.tenant() == "" {
		return selectFields(names)
	}
	if len(names) == 0 {
		return slices.DeleteFunc(slices.Clone(serverFields), func(f serverField) bool { return !tenantFields[f.name] }), nil
	}
	fields, err := selectFields(names)
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		if !tenantFields[f.name] {
			return nil, fmt.Errorf("fields: %s is not for tenants: %w", f.name, recovery.ErrForbidden)
		}
	}
	return fields, nil
}

// tellServer appends s's document as the task may see it.
func (t *TaskHost) tellServer(b []byte, s *recovery.Server, fields []serverField) ([]byte, error) {
	if t.tenant() != "" && s.Fault != nil {
		own := *s
		own.Fault = &recovery.Fault{Code: s.Fault.Code, Created: s.Fault.Created, Message: faultWithheld}
		s = &own
	}
	return appendServer(b, s, fields)
}

// faultWithheld stands for the text of a fault, which may name hosts.
const faultWithheld = "an error in the cloud"

// tell gives a text of the cloud about one of the task's servers.
func (t *TaskHost) tell(text string) string {
	if t.tenant() != "" && text != "" {
		return faultWithheld
	}
	return text
}

// ownVMoves keeps the vmoves of the tenant's servers, without what names hosts.
func (t *TaskHost) ownVMoves(ctx context.Context, list []recovery.VMove) ([]recovery.VMove, error) {
	if t.tenant() == "" || len(list) == 0 {
		return list, nil
	}
	own := map[string]bool{}
	err := t.h.cloud.Servers(ctx, recovery.ServerFilter{Tenant: t.tenant()}, func(page []recovery.Server) error {
		for i := range page {
			if t.sees(&page[i]) {
				own[page[i].ID] = true
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(m recovery.VMove) bool { return !own[m.InstanceUUID] })
	for i := range list {
		list[i].SourceHost, list[i].DestHost, list[i].Message = "", "", ""
	}
	return list, nil
}

// instanceName is the input that tells of one server.
const instanceName = "instance_uuid"

// value gives a value of the run, as far as the task may read it. The names
// that it may read were found by readable.
func (t *TaskHost) value(ctx context.Context, name string) (v json.RawMessage, ok bool, err error) {
	own := t.call.Reverting && t.writes[name] && !t.call.withheld(name)
	if !t.reads[name] && !own {
		return nil, false, nil
	}
	if v, ok = t.call.Values[name]; !ok || t.tenant() == "" || name != instanceName {
		return v, ok, nil
	}
	var id string
	if json.Unmarshal(v, &id) != nil {
		return nil, false, nil
	}
	if err = t.own(ctx, id); isNotFound(err) {
		return nil, false, nil
	}
	return v, err == nil, err
}

// Withheld reports whether a value of the run is kept from a task: from a
// tenant's, an input that tells of the operator's hosts, and what tasks of
// others provided. providerTenant is as in TaskCall.
func Withheld(task recovery.Task, name string, providerTenant func(name string) (tenant string, known bool)) bool {
	if task.Tenant == "" || slices.Contains(recovery.TenantInputs(), name) {
		return false
	}
	if providerTenant == nil {
		return true
	}
	tenant, known := providerTenant(name)
	return !known || tenant != task.Tenant
}

func (c TaskCall) withheld(name string) bool { return Withheld(c.Task, name, c.ProviderTenant) }

// owner names the tenant's task or library in a store that the operator's
// share. No two pairs of tenant and name give the same owner, and none that of
// an operator, whose libraries have no slash in their names.
func (t *TaskHost) owner(name string) (string, error) {
	if tenant := t.tenant(); tenant != "" {
		return ownerOf(tenant, name), nil
	}
	if strings.Contains(name, "/") {
		return "", fmt.Errorf("library %q: %w", recovery.Cut(name, 64), recovery.ErrInvalid)
	}
	return name, nil
}

// LibraryOwner is the name under which the values of a library are kept beyond a
// run; the tenant is empty for the operator's.
func LibraryOwner(tenant, library string) string {
	if tenant == "" {
		return library
	}
	return ownerOf(tenant, library)
}

func ownerOf(tenant, name string) string {
	return fmt.Sprintf("tenant/%d:%s/%s", len(tenant), tenant, name)
}
