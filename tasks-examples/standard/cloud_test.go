package main_test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"

	wasakari "github.com/wasakari/wasakari/sdk/go"
)

const (
	failed = "compute-1"
	other  = "compute-2"
	spare  = "compute-4"
)

// cloud is a scripted host: it answers ops as Nova and the records behind the
// real one do, and keeps the order of what was asked.
type cloud struct {
	mu        sync.Mutex
	servers   []*wasakari.Server
	dead      bool            // the failed host's service is down
	disabled  map[string]bool // by host/binary
	services  []string        // host/binary
	aggs      []wasakari.Aggregate
	vmoves    []wasakari.VMove
	round     int64
	calls     []string          // "op server", in order
	requests  map[string]string // the latest of each op
	faults    map[string]error
	read      *wasakari.Server                         // answer of server_get, if not the server
	outcomes  map[string]wasakari.NovaServerWaitAnswer // of a wait: "until server"
	onCall    func(call string)                        // under no lock
	lockOwner map[string]string
	unhosted  bool     // lists do not tell the host of server a
	reasons   []string // of the disabled service of the failed host, one for each list; the last stays
	forced    bool     // it is forced down
	kept      bool     // the failed host is on maintenance
	owed      int      // reads until nova-compute of the failed host has cleaned up
	moves     []wasakari.Migration
	down      string // a host whose services are down, beside the failed one
}

func newCloud(servers ...wasakari.Server) *cloud {
	c := &cloud{
		dead: true, disabled: map[string]bool{}, round: 1,
		services: []string{failed + "/nova-compute", other + "/nova-compute", spare + "/nova-compute"},
		faults:   map[string]error{}, outcomes: map[string]wasakari.NovaServerWaitAnswer{}, lockOwner: map[string]string{}, requests: map[string]string{},
	}
	for _, s := range servers {
		if s.Host == "" {
			s.Host = failed
		}
		if s.Host == "nowhere" {
			s.Host = ""
		}
		s.HypervisorHostname = s.Host
		if s.Locked {
			c.lockOwner[s.ID] = "owner"
		}
		c.servers = append(c.servers, &s)
	}
	return c
}

// pending makes a vmove for each server, as the task before does.
func (c *cloud) pending(ids ...string) *cloud {
	for _, id := range ids {
		c.vmoves = append(c.vmoves, wasakari.VMove{InstanceUUID: id, Status: "pending", SourceHost: failed, Attempt: c.round})
	}
	return c
}

func (c *cloud) server(id string) *wasakari.Server {
	for _, s := range c.servers {
		if s.ID == id {
			return s
		}
	}
	return nil
}

func (c *cloud) vmove(t *testing.T, id string) wasakari.VMove {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range slices.Backward(c.vmoves) {
		if v.InstanceUUID == id {
			return v
		}
	}
	t.Fatalf("server %s has no vmove", id)
	return wasakari.VMove{}
}

// of gives the calls about one server, without the group of ops.
func (c *cloud) of(id string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, call := range c.calls {
		op, about, _ := strings.Cut(call, " ")
		about, arg, _ := strings.Cut(about, " ")
		if about != id || op == "ha.vmove_put" {
			continue
		}
		op = strings.TrimPrefix(strings.TrimPrefix(op, "nova."), "server_")
		if arg != "" {
			op += " " + arg
		}
		out = append(out, op)
	}
	return out
}

func (c *cloud) count(prefix string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, call := range c.calls {
		if strings.HasPrefix(call, prefix) {
			n++
		}
	}
	return n
}

func refuse(code, message string, status int) error {
	return &wasakari.OpError{Code: code, Message: message, Status: status, RequestID: requestID(status)}
}

func requestID(status int) string {
	if status == 0 {
		return ""
	}
	return "req-17"
}

// do answers one op.
func (c *cloud) do(op string, req []byte) (any, error) {
	var r struct {
		ID, Host, Binary, State, Status, Until string
		wasakari.HAVMovePutRequest
	}
	var raw map[string]any
	if err := json.Unmarshal(req, &raw); err != nil {
		return nil, err
	}
	str := func(name string) string { s, _ := raw[name].(string); return s }
	r.ID, r.Host, r.Binary, r.State, r.Status, r.Until = str("id"), str("host"), str("binary"), str("state"), str("status"), str("until")
	about := r.ID
	switch {
	case strings.HasPrefix(op, "ha.vmove_put"):
		if err := json.Unmarshal(req, &r.HAVMovePutRequest); err != nil {
			return nil, err
		}
		r.Status = r.HAVMovePutRequest.Status
		about = r.InstanceUUID + " " + r.Status
	case op == "ha.host_update":
		about = str("name")
	case strings.HasPrefix(op, "ha."):
		about = ""
	case strings.HasPrefix(op, "nova.aggregate_add"):
		about = r.Host
	case r.ID == "":
		about = r.Host
	}
	switch op {
	case "nova.server_evacuate":
		about += " " + r.Host
	case "nova.server_reset_state", "nova.service_wait":
		about += " " + r.State + r.Status
	case "nova.server_wait":
		about += " " + r.Until
	}
	call := strings.TrimSpace(op + " " + about)
	if c.onCall != nil {
		c.onCall(call)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, call)
	c.requests[op] = string(req)
	if err := c.faults[call]; err != nil {
		return nil, err
	}
	s := c.server(r.ID)
	if s == nil && strings.HasPrefix(op, "nova.server_") && op != "nova.server_list" {
		return nil, refuse("not_found", "Instance "+r.ID+" could not be found.", 404)
	}
	if r.Binary == "" {
		r.Binary = "nova-compute"
	}
	service := r.Host + "/" + r.Binary
	known := slices.Contains(c.services, service)
	switch op {
	case "task.sleep":
		return struct{}{}, nil
	case "nova.server_list":
		var ans wasakari.NovaServerListAnswer
		for _, s := range c.servers {
			if s.Host != r.Host {
				continue
			}
			ans.Servers = append(ans.Servers, *s)
			if c.unhosted && s.ID == "a" {
				ans.Servers[len(ans.Servers)-1].Host = ""
			}
		}
		return ans, nil
	case "nova.server_get":
		if c.read != nil {
			return *c.read, nil
		}
		return *s, nil
	case "nova.server_lock":
		if c.lockOwner[s.ID] == "owner" {
			return wasakari.NovaServerLockAnswer{}, nil
		}
		s.Locked, c.lockOwner[s.ID] = true, "run"
		return wasakari.NovaServerLockAnswer{Locked: true}, nil
	case "nova.server_unlock":
		if c.lockOwner[s.ID] == "run" {
			s.Locked = false
			delete(c.lockOwner, s.ID)
			return wasakari.NovaServerUnlockAnswer{Unlocked: true}, nil
		}
		return wasakari.NovaServerUnlockAnswer{}, nil
	case "nova.server_reset_state":
		s.VMState, s.TaskState = r.State, ""
		return struct{}{}, nil
	case "nova.server_evacuate":
		switch {
		case s.Host != failed, strings.HasPrefix(s.TaskState, "rebuild"):
			return nil, refuse("conflict", "an evacuation of it is open", 0)
		case !slices.Contains([]string{"active", "stopped", "error"}, s.VMState):
			return nil, refuse("conflict", "Cannot 'evacuate' instance while it is in vm_state "+s.VMState, 409)
		}
		s.TaskState = "rebuilding"
		return wasakari.NovaServerEvacuateAnswer{RequestID: "req-1"}, nil
	case "nova.server_stop":
		if s.VMState == "stopped" {
			return struct{}{}, nil
		}
		s.TaskState = "powering-off"
		return struct{}{}, nil
	case "nova.server_start":
		s.TaskState = "powering-on"
		return struct{}{}, nil
	case "nova.server_wait":
		if ans, ok := c.outcomes[r.Until+" "+s.ID]; ok {
			if ans.Server.ID == "" {
				ans.Server = *s
			} else {
				*s = ans.Server
			}
			return ans, nil
		}
		c.settle(s)
		return wasakari.NovaServerWaitAnswer{Outcome: "reached", Server: *s}, nil
	case "nova.service_disable":
		if !known {
			return nil, refuse("not_found", "no such service", 0)
		}
		c.disabled[service] = true
		return wasakari.NovaServiceDisableAnswer{Changed: true}, nil
	case "nova.service_enable":
		c.disabled[service] = false
		return wasakari.NovaServiceEnableAnswer{Changed: true}, nil
	case "nova.service_list":
		var ans wasakari.NovaServiceListAnswer
		if known {
			status := "enabled"
			if c.disabled[service] {
				status = "disabled"
			}
			s := wasakari.ComputeService{ID: "1", Host: r.Host, Binary: r.Binary, Status: status, ForcedDown: c.forced, State: "up"}
			if r.Host == c.down {
				s.State = "down"
			}
			if len(c.reasons) > 0 {
				s.DisabledReason = c.reasons[0]
				c.reasons = c.reasons[min(1, len(c.reasons)-1):]
			}
			ans.Services = append(ans.Services, s)
		}
		return ans, nil
	case "nova.service_wait":
		switch {
		case !known:
			return nil, refuse("not_found", "no such service", 0)
		case r.State == "down" && !c.dead, r.State == "up" && (c.dead || c.forced), r.Status == "disabled" && !c.disabled[service]:
			return nil, refuse("timeout", "not within the time given", 0)
		}
		return wasakari.NovaServiceWaitAnswer{}, nil
	case "nova.migration_list":
		ans := wasakari.NovaMigrationListAnswer{Migrations: c.moves}
		if c.owed--; c.owed > 0 {
			ans.Migrations = make([]wasakari.Migration, 2)
		}
		return ans, nil
	case "nova.service_force_down":
		if c.owed > 0 {
			return nil, refuse("invalid", "records remain", 400)
		}
		c.forced = raw["forced_down"] == true
		return wasakari.NovaServiceForceDownAnswer{}, nil
	case "ha.host_list":
		return wasakari.HAHostListAnswer{Hosts: []wasakari.Host{{Name: other, OnMaintenance: true}, {Name: failed, OnMaintenance: c.kept}}}, nil
	case "ha.host_update":
		c.kept = raw["on_maintenance"] == true
		return wasakari.HAHostUpdateAnswer{Name: failed}, nil
	case "nova.aggregate_list":
		var ans wasakari.NovaAggregateListAnswer
		for _, a := range c.aggs {
			if slices.Contains(a.Hosts, r.Host) {
				ans.Aggregates = append(ans.Aggregates, a)
			}
		}
		return ans, nil
	case "nova.aggregate_add_host":
		return struct{}{}, nil
	case "ha.vmove_list":
		return c.listVMoves(raw["latest"] == true), nil
	case "ha.vmove_put":
		return c.putVMove(r.HAVMovePutRequest)
	}
	return nil, refuse("invalid", "unknown op "+op, 0)
}

// settle lets Nova finish what it is doing with a server.
func (c *cloud) settle(s *wasakari.Server) {
	switch {
	case strings.HasPrefix(s.TaskState, "rebuild"):
		s.Host, s.HypervisorHostname = other, other
		if s.VMState == "error" {
			s.VMState = "active"
		}
	case s.TaskState == "powering-off":
		s.VMState = "stopped"
	case s.TaskState == "powering-on":
		s.VMState = "active"
	}
	s.TaskState = ""
}

func (c *cloud) listVMoves(latest bool) wasakari.HAVMoveListAnswer {
	ans := wasakari.HAVMoveListAnswer{VMoves: []wasakari.VMove{}}
	for i, v := range c.vmoves {
		newer := slices.ContainsFunc(c.vmoves[i+1:], func(w wasakari.VMove) bool { return w.InstanceUUID == v.InstanceUUID })
		if !latest || !newer {
			ans.VMoves = append(ans.VMoves, v)
		}
	}
	return ans
}

func (c *cloud) putVMove(r wasakari.HAVMovePutRequest) (any, error) {
	i := slices.IndexFunc(c.vmoves, func(v wasakari.VMove) bool { return v.InstanceUUID == r.InstanceUUID && v.Attempt == c.round })
	if i < 0 {
		c.vmoves = append(c.vmoves, wasakari.VMove{InstanceUUID: r.InstanceUUID, Attempt: c.round})
		i = len(c.vmoves) - 1
	}
	v := &c.vmoves[i]
	if v.Status != "" && v.Status != "pending" && r.Status == "pending" {
		return nil, refuse("conflict", "it is "+v.Status, 0)
	}
	v.Status = r.Status
	if r.InstanceName != "" {
		v.InstanceName = r.InstanceName
	}
	if r.SourceHost != "" {
		v.SourceHost = r.SourceHost
	}
	if r.DestHost != "" {
		v.DestHost = r.DestHost
	}
	if r.Message != "" {
		v.Message = r.Message
	}
	return *v, nil
}
