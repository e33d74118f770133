package novasim_test

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/novasim"
)

func TestMicroversions(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	tests := []struct {
		name    string
		headers map[string]string
		status  int
		version string
		message string
	}{
		{"none", nil, 200, "2.1", ""},
		{"new header", map[string]string{"OpenStack-API-Version": "compute 2.53"}, 200, "2.53", ""},
		{"old header", map[string]string{"X-OpenStack-Nova-API-Version": "2.53"}, 200, "2.53", ""},
		{"both", map[string]string{"OpenStack-API-Version": "compute 2.60", "X-OpenStack-Nova-API-Version": "2.53"}, 200, "2.60", ""},
		{"other services too", map[string]string{"OpenStack-API-Version": "identity 3.1, compute 2.60"}, 200, "2.60", ""},
		{"latest", map[string]string{"OpenStack-API-Version": "compute latest"}, 200, "2.93", ""},
		{"above", map[string]string{"OpenStack-API-Version": "compute 2.94"}, 406, "", "Version 2.94 is not supported by the API. Minimum is 2.1 and maximum is 2.93."},
		{"below", map[string]string{"OpenStack-API-Version": "compute 2.0"}, 406, "", "Version 2.0 is not supported by the API. Minimum is 2.1 and maximum is 2.93."},
		{"other major", map[string]string{"OpenStack-API-Version": "compute 3.1"}, 406, "", "Version 3.1 is not supported by the API. Minimum is 2.1 and maximum is 2.93."},
		{"nonsense", map[string]string{"OpenStack-API-Version": "compute new"}, 400, "", "API Version String new is of invalid format. Must be of format MajorNum.MinorNum."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := map[string]string{"X-Auth-Token": s.token}
			maps.Copy(h, tt.headers)
			r, err := s.tryHeaders("GET", "/v2.1/servers", h)
			must(t, err)
			if r.status != tt.status || r.message() != tt.message {
				t.Fatalf("answer is %d %q, want %d %q", r.status, r.message(), tt.status, tt.message)
			}
			if tt.version == "" {
				return
			}
			if got := r.header.Get("OpenStack-API-Version"); got != "compute "+tt.version {
				t.Errorf("OpenStack-API-Version is %q, want compute %s", got, tt.version)
			}
			if got := r.header.Get("X-OpenStack-Nova-API-Version"); got != tt.version {
				t.Errorf("X-OpenStack-Nova-API-Version is %q, want %s", got, tt.version)
			}
			if got := fmt.Sprint(r.header.Values("Vary")); got != "[OpenStack-API-Version X-OpenStack-Nova-API-Version]" {
				t.Errorf("Vary is %s", got)
			}
		})
	}
}

func TestServerFieldsByMicroversionAndRole(t *testing.T) {
	s := setup(t, one(", locked: true, locked_reason: mine, tags: [gold], user_data: c2VjcmV0"), novasim.Options{})
	fields := []struct {
		since int
		name  string
		admin bool
	}{
		{1, "id", false},
		{1, "OS-EXT-STS:vm_state", false},
		{1, "OS-EXT-STS:task_state", false},
		{1, "os-extended-volumes:volumes_attached", false},
		{1, "OS-EXT-SRV-ATTR:host", true},
		{1, "OS-EXT-SRV-ATTR:hypervisor_hostname", true},
		{3, "OS-EXT-SRV-ATTR:user_data", true},
		{9, "locked", false},
		{16, "host_status", true},
		{19, "description", false},
		{26, "tags", false},
		{63, "trusted_image_certificates", false},
		{71, "server_groups", false},
		{73, "locked_reason", false},
	}
	for _, member := range []bool{false, true} {
		if member {
			s.asMember()
		}
		for _, v := range []int{1, 2, 3, 8, 9, 15, 16, 18, 19, 25, 26, 47, 62, 63, 70, 71, 72, 73, 93} {
			s.version = fmt.Sprintf("2.%d", v)
			var doc struct{ Server map[string]any }
			s.want(200, "", "GET", "/v2.1/servers/"+serverID, "").json(t, &doc)
			for _, f := range fields {
				_, got := doc.Server[f.name]
				if want := v >= f.since && (!f.admin || !member); got != want {
					t.Errorf("2.%d, member %v: %s there is %v, want %v", v, member, f.name, got, want)
				}
			}
			_, embedded := doc.Server["flavor"].(map[string]any)["original_name"]
			if embedded != (v >= 47) {
				t.Errorf("2.%d: flavor embedded is %v", v, embedded)
			}
		}
	}
}

const many = `
hosts: [{name: compute-1, state: down}, {name: compute-2}]
page_limit: 4
servers:
  - {count: 5, name: web, host: compute-1}
  - {count: 2, name: db, host: compute-2, vm_state: stopped}
  - {name: other, host: compute-1, project: other}
`

// list follows the links of a list of servers and gives their names, page by page.
func (s *sim) list(query string) string {
	s.t.Helper()
	next, pages := "/v2.1/servers/detail?"+query, []string{}
	for range 20 {
		var doc struct {
			Servers []struct{ Name string }
			Links   []struct{ Rel, Href string } `json:"servers_links"`
		}
		s.want(200, "", "GET", next, "").json(s.t, &doc)
		var names []string
		for _, sv := range doc.Servers {
			names = append(names, sv.Name)
		}
		pages = append(pages, strings.Join(names, ","))
		if len(doc.Links) == 0 {
			return strings.Join(pages, " ")
		}
		u, err := url.Parse(doc.Links[0].Href)
		must(s.t, err)
		next = u.RequestURI()
	}
	s.t.Fatal("the list has no end")
	return ""
}

func TestListServers(t *testing.T) {
	s := setup(t, many, novasim.Options{ManualTime: true})
	tests := []struct{ query, want string }{
		{"", "db-2,db-1,web-5,web-4 web-3,web-2,web-1"},
		{"all_tenants=True", "other,db-2,db-1,web-5 web-4,web-3,web-2,web-1 "},
		{"all_tenants=1&host=compute-1", "other,web-5,web-4,web-3 web-2,web-1"},
		{"all_tenants=1&host=compute-1&limit=3", "other,web-5,web-4 web-3,web-2,web-1 "},
		{"host=compute-2", "db-2,db-1"},
		{"host=nowhere", ""},
		{"status=shutoff", "db-2,db-1"},
		{"status=ACTIVE&status=SHUTOFF&limit=100", "db-2,db-1,web-5,web-4 web-3,web-2,web-1"},
		{"name=^web-[12]$", "web-2,web-1"},
		{"vm_state=stopped", "db-2,db-1"},
		{"sort_key=display_name&sort_dir=asc&limit=3", "db-1,db-2,web-1 web-2,web-3,web-4 web-5"},
		{"sort_key=created_at&sort_dir=asc", "web-1,web-2,web-3,web-4 web-5,db-1,db-2"},
		{"sort_key=host&sort_key=display_name&sort_dir=desc&sort_dir=asc", "db-1,db-2,web-1,web-2 web-3,web-4,web-5"},
		{"changes-since=2026-01-01T00:00:00Z&name=db", "db-2,db-1"},
		{"changes-since=2026-01-01T00:00:01Z", ""},
	}
	for _, tt := range tests {
		if got := s.list(tt.query); got != tt.want {
			t.Errorf("list %s is %q, want %q", tt.query, got, tt.want)
		}
	}
	for query, message := range map[string]string{
		"limit=x":           "Invalid input for query parameters limit. Value: x. 'x' does not match '^[0-9]*$'",
		"marker=x":          "marker [x] not found",
		"all_tenants=maybe": "Unrecognized value 'maybe', acceptable values are: '0', '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'",
		"name=(":            "Invalid input for query parameters name. Value: (. '(' is not a 'regex'",
		"changes-since=now": "Invalid input for query parameters changes-since. Value: now. 'now' is not a 'date-time'",
		"sort_key=colour":   "Invalid input for query parameters sort_key. Value: colour",
	} {
		s.want(400, message, "GET", "/v2.1/servers?"+query, "")
	}
	project := ""
	for _, sv := range s.Servers() {
		if sv.Name == "other" {
			var doc struct {
				Server struct {
					Tenant string `json:"tenant_id"`
				}
			}
			s.want(200, "", "GET", "/v2.1/servers/"+sv.ID, "").json(t, &doc)
			project = doc.Server.Tenant
		}
	}
	if got := s.list("tenant_id=" + project); got != "other" {
		t.Errorf("list by tenant_id is %q, want other", got)
	}
	s.asMember()
	if got := s.list("host=compute-2"); got != "db-2,db-1,web-5,web-4 web-3,web-2,web-1" {
		t.Errorf("a member's list by host is %q, want all of theirs", got)
	}
	s.want(403, "Policy doesn't allow os_compute_api:servers:detail:get_all_tenants to be performed.", "GET", "/v2.1/servers/detail?all_tenants=1", "")
}

// TestPagingWhileServersMove keeps a marker good that no longer matches.
func TestPagingWhileServersMove(t *testing.T) {
	s := setup(t, many, novasim.Options{})
	var doc struct{ Servers []struct{ ID, Name string } }
	s.want(200, "", "GET", "/v2.1/servers?host=compute-1&limit=2", "").json(t, &doc)
	last := doc.Servers[1]
	s.want(200, "", "POST", "/v2.1/servers/"+last.ID+"/action", evacuate)
	if got := s.list("host=compute-1&marker=" + last.ID); got != "web-3,web-2,web-1" {
		t.Errorf("page after %s is %q", last.Name, got)
	}
}

func TestDeleteServer(t *testing.T) {
	s := setup(t, "service_down_time: 5s\n"+one("")+"latency: {actions: {delete: 1s}}\n", novasim.Options{ManualTime: true})
	must(t, s.HealHost("compute-1"))
	path := "/v2.1/servers/" + serverID
	s.want(204, "", "DELETE", path, "")
	s.is("compute-1", "ACTIVE", "active", "deleting")
	s.Advance(time.Second)
	s.want(404, "Instance "+serverID+" could not be found.", "GET", path, "")
	s.act(404, "Instance "+serverID+" could not be found.", evacuate)
	if r := s.want(200, "", "GET", path+"/os-instance-actions", ""); !strings.Contains(r.body, `"delete"`) {
		t.Errorf("history is %s", r.body)
	}
	if got := s.list("changes-since=2026-01-01T00:00:01Z"); got != "web" {
		t.Errorf("changes are %q, want the deleted one", got)
	}
	if got := s.list(""); got != "" {
		t.Errorf("list is %q, want none", got)
	}

	s = setup(t, one("")+"latency: {actions: {delete: 1s}}\n", novasim.Options{ManualTime: true})
	s.want(204, "", "DELETE", path, "") // a dead host is not waited for
	s.want(404, "", "GET", path, "")
}

func TestCreateServer(t *testing.T) {
	s := setup(t, one("")+"latency: {actions: {create: 1s}}\n", novasim.Options{ManualTime: true})
	boot := func(status int, message, body string) (id string) {
		t.Helper()
		var doc struct{ Server struct{ ID string } }
		s.want(status, message, "POST", "/v2.1/servers", `{"server": `+body+`}`).json(t, &doc)
		return doc.Server.ID
	}
	get := func(id string) string {
		for _, sv := range s.Servers() {
			if sv.ID == id {
				return sv.Host + " " + sv.Status
			}
		}
		return ""
	}
	id := boot(202, "", `{"name": "new", "flavorRef": "1", "networks": "none", "host": "compute-3"}`)
	if got := get(id); got != "compute-3 BUILD" {
		t.Errorf("new server is %s", got)
	}
	s.Advance(time.Second)
	if got := get(id); got != "compute-3 ACTIVE" {
		t.Errorf("new server is %s", got)
	}
	if got := get(boot(202, "", `{"name": "zoned", "availability_zone": "nova:compute-2"}`)); got != "compute-2 BUILD" {
		t.Errorf("new server is %s", got)
	}
	if got := get(boot(202, "", `{"name": "nowhere", "host": "compute-1"}`)); got != " ERROR" {
		t.Errorf("server on a dead host is %q, want ERROR on none", got)
	}
	boot(400, "Compute host x could not be found.", `{"name": "a", "host": "x"}`)
	boot(400, "", `{"name": ""}`)
	s.asMember()
	boot(403, "Policy doesn't allow os_compute_api:servers:create:forced_host to be performed.", `{"name": "a", "host": "compute-2"}`)
	s.version = "2.60"
	boot(400, "Invalid input for field/attribute server. Additional properties are not allowed ('host' was unexpected)", `{"name": "a", "host": "compute-2"}`)
}

func TestActions(t *testing.T) {
	conflict := func(verb, state string) string {
		return fmt.Sprintf("Cannot '%s' instance %s while it is in %s", verb, serverID, state)
	}
	tests := []struct {
		name, server, body string
		status             int
		message, want      string // host, status
	}{
		{"stop", "", `{"os-stop": null}`, 202, "", "compute-2 SHUTOFF"},
		{"stop in error", ", vm_state: error", `{"os-stop": null}`, 202, "", "compute-2 SHUTOFF"},
		{"stop a stopped", ", vm_state: stopped", `{"os-stop": null}`, 409, conflict("stop", "vm_state stopped"), ""},
		{"stop a paused", ", vm_state: paused", `{"os-stop": null}`, 409, conflict("stop", "vm_state paused"), ""},
		{"stop a rescued", ", vm_state: rescued", `{"os-stop": null}`, 409, conflict("stop", "vm_state rescued"), ""},
		{"stop while busy", ", task_state: pausing", `{"os-stop": null}`, 409, conflict("stop", "task_state pausing"), ""},
		{"start", ", vm_state: stopped", `{"os-start": null}`, 202, "", "compute-2 ACTIVE"},
		{"start an active", "", `{"os-start": null}`, 409, conflict("start", "vm_state active"), ""},
		{"reboot", "", `{"reboot": {"type": "SOFT"}}`, 202, "", "compute-2 ACTIVE"},
		{"soft reboot in error", ", vm_state: error", `{"reboot": {"type": "SOFT"}}`, 409, conflict("reboot", "vm_state error"), ""},
		{"hard reboot in error", ", vm_state: error", `{"reboot": {"type": "HARD"}}`, 202, "", "compute-2 ACTIVE"},
		{"hard reboot of a reboot", ", task_state: rebooting", `{"reboot": {"type": "HARD"}}`, 202, "", "compute-2 ACTIVE"},
		{"reboot of no type", "", `{"reboot": {}}`, 400, "Invalid input for field/attribute reboot. Value: {}. 'type' is a required property", ""},
		{"pause", "", `{"pause": null}`, 202, "", "compute-2 PAUSED"},
		{"pause a stopped", ", vm_state: stopped", `{"pause": null}`, 409, conflict("pause", "vm_state stopped"), ""},
		{"unpause", ", vm_state: paused", `{"unpause": null}`, 202, "", "compute-2 ACTIVE"},
		{"suspend", "", `{"suspend": null}`, 202, "", "compute-2 SUSPENDED"},
		{"resume", ", vm_state: suspended", `{"resume": null}`, 202, "", "compute-2 ACTIVE"},
		{"rescue", "", `{"rescue": {}}`, 200, "", "compute-2 RESCUE"},
		{"unrescue", ", vm_state: rescued", `{"unrescue": null}`, 202, "", "compute-2 ACTIVE"},
		{"reset to error", "", `{"os-resetState": {"state": "error"}}`, 202, "", "compute-2 ERROR"},
		{"reset clears the task", ", task_state: deleting", `{"os-resetState": {"state": "active"}}`, 202, "", "compute-2 ACTIVE"},
		{"reset to nonsense", "", `{"os-resetState": {"state": "x"}}`, 400, "Invalid input for field/attribute state. Value: x. 'x' is not one of ['active', 'error']", ""},
		{"migrate", "", `{"migrate": null}`, 202, "", "compute-3 VERIFY_RESIZE"},
		{"migrate to", "", `{"migrate": {"host": "compute-3"}}`, 202, "", "compute-3 VERIFY_RESIZE"},
		{"migrate a paused", ", vm_state: paused", `{"migrate": null}`, 409, conflict("migrate", "vm_state paused"), ""},
		{"live-migrate", "", `{"os-migrateLive": {"host": "compute-3", "block_migration": "auto"}}`, 202, "", "compute-3 ACTIVE"},
		{"live-migrate a stopped", ", vm_state: stopped", `{"os-migrateLive": {"host": null, "block_migration": "auto"}}`, 409, conflict("os-migrateLive", "vm_state stopped"), ""},
		{"live-migrate to unknown", "", `{"os-migrateLive": {"host": "x", "block_migration": "auto"}}`, 400, "Compute host x could not be found.", ""},
		{"resize", "", `{"resize": {"flavorRef": "2"}}`, 202, "", "compute-2 VERIFY_RESIZE"},
		{"confirm", ", vm_state: resized", `{"confirmResize": null}`, 204, "", "compute-2 ACTIVE"},
		{"confirm one that was off", ", vm_state: resized, power_state: 4", `{"confirmResize": null}`, 204, "", "compute-2 SHUTOFF"},
		{"confirm nothing", "", `{"confirmResize": null}`, 409, conflict("confirmResize", "vm_state active"), ""},
		{"unknown", "", `{"dance": null}`, 400, "There is no such action: dance", ""},
		{"two", "", `{"pause": null, "suspend": null}`, 400, "Malformed request body", ""},
		{"none", "", `{}`, 400, "Malformed request body", ""},
		{"not JSON", "", `{`, 400, "Malformed request body", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := setup(t, strings.ReplaceAll(one(tt.server), "host: compute-1", "host: compute-2"), novasim.Options{})
			before := s.server()
			s.act(tt.status, tt.message, tt.body)
			st := s.server()
			want := tt.want
			if want == "" {
				want = before.Host + " " + before.Status
			}
			if got := st.Host + " " + st.Status; got != want {
				t.Errorf("server is %s, want %s", got, want)
			}
		})
	}
}

func TestMoveFromDeadHost(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	s.act(202, "", `{"os-migrateLive": {"host": null, "block_migration": "auto"}}`)
	s.is("compute-1", "ACTIVE", "active", "")
	s.migrated("error")
	s.act(400, "Service is unavailable at this time.", `{"migrate": null}`)
}

func TestLocks(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	must(t, s.HealHost("compute-1"))
	cr := s.Credentials()
	admin := s.login(cr.Username, cr.Password, "admin") // in the server's own project it would be the owner
	s.token = admin
	s.act(202, "", `{"lock": {"locked_reason": "wasakari run"}}`)
	if st := s.server(); !st.Locked || st.LockedReason != "wasakari run" {
		t.Fatalf("locked is %v %q", st.Locked, st.LockedReason)
	}
	s.asMember()
	locked := "Instance " + serverID + " is locked"
	s.act(409, locked, `{"os-stop": null}`)
	s.want(409, locked, "DELETE", "/v2.1/servers/"+serverID, "")
	s.act(403, "Policy doesn't allow os_compute_api:os-lock-server:unlock:unlock_override to be performed.", `{"unlock": null}`)
	s.token = admin
	s.act(202, "", `{"os-stop": null}`)
	s.is("compute-1", "SHUTOFF", "stopped", "")
	s.act(202, "", `{"unlock": null}`)
	s.asMember()
	s.act(202, "", `{"os-start": null}`)
	s.act(202, "", `{"lock": null}`) // a member's own lock
	s.act(409, locked, `{"os-stop": null}`)
	s.act(202, "", `{"unlock": null}`)
	s.act(202, "", `{"os-stop": null}`)
	s.token = admin
	s.act(202, "", `{"lock": {"locked_reason": "first"}}`)
	s.act(202, "", `{"lock": {"locked_reason": "second"}}`)
	if st := s.server(); st.LockedReason != "second" {
		t.Errorf("reason is %q, want the second", st.LockedReason)
	}
	s.act(400, "Invalid input for field/attribute lock. Value: {'why': 'x'}. Additional properties are not allowed ('why' was unexpected)", `{"lock": {"why": "x"}}`)
	s.version = "2.72"
	s.act(202, "", `{"lock": {"locked_reason": "not known yet"}}`)
	if st := s.server(); !st.Locked || st.LockedReason != "" {
		t.Errorf("locked at 2.72 is %v %q, want no reason", st.Locked, st.LockedReason)
	}
}

func TestMemberSeesOnlyOwn(t *testing.T) {
	s := setup(t, many, novasim.Options{})
	s.asMember()
	for _, sv := range s.Servers() {
		want := 200
		if sv.Project != "lab" {
			want = 404
		}
		s.want(want, "", "GET", "/v2.1/servers/"+sv.ID, "")
	}
	for path, policy := range map[string]string{
		"os-services": "os-services:list", "os-aggregates": "os-aggregates:index", "os-hypervisors/detail": "os-hypervisors:list-detail",
		"os-migrations": "os-migrations:index", "os-availability-zone/detail": "os-availability-zone:detail",
	} {
		s.want(403, "Policy doesn't allow os_compute_api:"+policy+" to be performed.", "GET", "/v2.1/"+path, "")
	}
	s.want(200, "", "GET", "/v2.1/os-availability-zone", "")
}

func TestServicesList(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	type list struct {
		Services []struct {
			ID         any
			Binary     string
			Host       string
			ForcedDown *bool `json:"forced_down"`
		}
	}
	for _, tt := range []struct {
		version, query string
		want           int
	}{{"2.53", "", 5}, {"2.53", "?binary=nova-compute", 3}, {"2.53", "?host=compute-2", 1}, {"2.53", "?host=x", 0}, {"2.52", "", 5}, {"2.10", "", 5}} {
		s.version = tt.version
		var l list
		s.want(200, "", "GET", "/v2.1/os-services"+tt.query, "").json(t, &l)
		if len(l.Services) != tt.want {
			t.Errorf("%s %s: %d services, want %d", tt.version, tt.query, len(l.Services), tt.want)
		}
		for _, sv := range l.Services {
			_, isText := sv.ID.(string)
			if isText != (tt.version == "2.53") {
				t.Errorf("%s: id is %v", tt.version, sv.ID)
			}
			if (sv.ForcedDown != nil) != (tt.version != "2.10") {
				t.Errorf("%s: forced_down there is %v", tt.version, sv.ForcedDown != nil)
			}
		}
	}
}

func TestServiceUpdate(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	path := "/v2.1/os-services/" + s.service("compute-2").ID
	r := s.want(200, "", "PUT", path, `{"status": "disabled", "disabled_reason": "why"}`)
	if sv := s.service("compute-2"); !sv.Disabled || sv.DisabledReason != "why" || !strings.Contains(r.body, `"status":"disabled"`) {
		t.Errorf("service is %+v, answer %s", sv, r.body)
	}
	s.want(200, "", "PUT", path, `{"status": "enabled"}`)
	if sv := s.service("compute-2"); sv.Disabled || sv.DisabledReason != "" {
		t.Errorf("service is %+v, want enabled without a reason", sv)
	}
	for body, message := range map[string]string{
		`{}`:                       "No updates were requested. Fields 'status' or 'forced_down' should be specified.",
		`{"disabled_reason": "x"}`: "No updates were requested. Fields 'status' or 'forced_down' should be specified.",
		`{"status": "enabled", "disabled_reason": "x"}`: "Specifying 'disabled_reason' with status 'enabled' is invalid.",
		`{"status": "off"}`:                             "Invalid input for field/attribute status. Value: off. 'off' is not one of ['enabled', 'disabled']",
		`{"colour": "red"}`:                             "Additional properties are not allowed ('colour' was unexpected)",
		`{`:                                             "Malformed request body",
	} {
		s.want(400, message, "PUT", path, body)
	}
	s.want(400, "Invalid uuid enable", "PUT", "/v2.1/os-services/enable", `{"status": "enabled"}`)
	const nobody = "00000000-0000-4000-8000-00000000dead"
	s.want(404, "Service "+nobody+" could not be found.", "PUT", "/v2.1/os-services/"+nobody, `{"status": "enabled"}`)

	s.version = "2.52"
	s.want(404, "Unknown action", "PUT", path, `{"status": "enabled"}`)
	old := "/v2.1/os-services/"
	s.want(200, "", "PUT", old+"disable", `{"host": "compute-2", "binary": "nova-compute"}`)
	if !s.service("compute-2").Disabled {
		t.Error("not disabled")
	}
	s.want(200, "", "PUT", old+"enable", `{"host": "compute-2", "binary": "nova-compute"}`)
	s.want(200, "", "PUT", old+"disable-log-reason", `{"host": "compute-2", "binary": "nova-compute", "disabled_reason": "old"}`)
	s.want(200, "", "PUT", old+"force-down", `{"host": "compute-2", "binary": "nova-compute", "forced_down": true}`)
	if sv := s.service("compute-2"); !sv.Disabled || sv.DisabledReason != "old" || !sv.ForcedDown || sv.Up {
		t.Errorf("service is %+v, want disabled for old, forced down", sv)
	}
	s.want(404, "Host 'x' is not mapped to any cell", "PUT", old+"enable", `{"host": "x", "binary": "nova-compute"}`)
}

func TestAggregates(t *testing.T) {
	s := setup(t, one("")+"aggregates: [{name: rack-a, zone: az, hosts: [compute-1], metadata: {ssd: \"true\"}}, {name: rack-b}]\n", novasim.Options{})
	act := func(status int, message, path, verb, host string) {
		t.Helper()
		s.want(status, message, "POST", "/v2.1/os-aggregates/"+path+"/action", fmt.Sprintf(`{%q: {"host": %q}}`, verb, host))
	}
	act(200, "", "1", "add_host", "compute-2")
	act(409, "Aggregate 1 already has host compute-2.", "1", "add_host", "compute-2")
	act(404, "Compute host x could not be found.", "1", "add_host", "x")
	act(404, "Aggregate 9 could not be found.", "9", "add_host", "compute-2")
	act(404, "Cannot remove host compute-2 in aggregate 2", "2", "remove_host", "compute-2")
	act(400, "There is no such action: dance", "1", "dance", "compute-2")
	if got := s.Aggregates()[0].Hosts; !slices.Equal(got, []string{"compute-1", "compute-2"}) {
		t.Errorf("hosts are %v", got)
	}
	act(200, "", "1", "remove_host", "compute-1")
	var doc struct {
		Aggregate struct {
			Name     string
			Zone     string `json:"availability_zone"`
			Hosts    []string
			Metadata map[string]string
		}
	}
	s.want(200, "", "GET", "/v2.1/os-aggregates/1", "").json(t, &doc)
	if got := fmt.Sprint(doc.Aggregate); got != "{rack-a az [compute-2] map[availability_zone:az ssd:true]}" {
		t.Errorf("aggregate is %s", got)
	}
	if r := s.want(200, "", "GET", "/v2.1/os-aggregates", ""); !strings.Contains(r.body, `"rack-b"`) {
		t.Errorf("list is %s", r.body)
	}
}

func TestHypervisorsZonesFlavorsLimits(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	var doc struct {
		Hypervisors []struct {
			ID       any
			Hostname string `json:"hypervisor_hostname"`
			State    string
			Service  struct{ ID any }
		}
		Links []struct{ Href string } `json:"hypervisors_links"`
	}
	s.want(200, "", "GET", "/v2.1/os-hypervisors/detail", "").json(t, &doc)
	if len(doc.Hypervisors) != 3 || doc.Hypervisors[0].State != "down" || doc.Hypervisors[1].Service.ID != s.service("compute-2").ID {
		t.Errorf("hypervisors are %+v", doc.Hypervisors)
	}
	s.want(200, "", "GET", "/v2.1/os-hypervisors?limit=2", "").json(t, &doc)
	if len(doc.Hypervisors) != 2 || len(doc.Links) != 1 || !strings.Contains(doc.Links[0].Href, "marker="+doc.Hypervisors[1].ID.(string)) {
		t.Errorf("a page of hypervisors is %+v", doc)
	}
	s.want(200, "", "GET", fmt.Sprintf("/v2.1/os-hypervisors?marker=%s", doc.Hypervisors[1].ID), "").json(t, &doc)
	if len(doc.Hypervisors) != 1 || doc.Hypervisors[0].Hostname != "compute-3" {
		t.Errorf("the next page is %+v", doc.Hypervisors)
	}
	s.want(200, "", "GET", "/v2.1/os-hypervisors?hypervisor_hostname_pattern=compute-2", "").json(t, &doc)
	if len(doc.Hypervisors) != 1 {
		t.Errorf("hypervisors by pattern are %+v", doc.Hypervisors)
	}
	s.want(404, "No hypervisor matching 'x' could be found.", "GET", "/v2.1/os-hypervisors?hypervisor_hostname_pattern=x", "")
	s.version = "2.52"
	s.want(200, "", "GET", "/v2.1/os-hypervisors/detail", "").json(t, &doc)
	if doc.Hypervisors[0].ID != 1.0 {
		t.Errorf("id before 2.53 is %v, want 1", doc.Hypervisors[0].ID)
	}
	for _, path := range []string{"os-availability-zone", "os-availability-zone/detail", "flavors", "flavors/detail", "flavors/1", "limits", "os-hypervisors/1"} {
		s.want(200, "", "GET", "/v2.1/"+path, "")
	}
	for _, path := range []string{"flavors/2", "os-hypervisors/9", "images", "servers/" + serverID + "/dance", ""} {
		if path != "" {
			s.want(404, "", "GET", "/v2.1/"+path, "")
		}
	}
	for _, path := range []string{"limits", "flavors", "os-services", "os-aggregates", "os-migrations", "os-hypervisors"} {
		s.want(404, "", "POST", "/v2.1/"+path, "{}")
	}
}

func TestMigrationsListAndPaging(t *testing.T) {
	s := setup(t, many, novasim.Options{})
	for _, sv := range s.Servers() {
		if sv.Host == "compute-1" {
			s.want(200, "", "POST", "/v2.1/servers/"+sv.ID+"/action", evacuate)
		}
	}
	var doc struct {
		Migrations []struct {
			ID   int
			UUID string
			Type string `json:"migration_type"`
		}
		Links []struct{ Href string } `json:"migrations_links"`
	}
	s.want(200, "", "GET", "/v2.1/os-migrations?source_compute=compute-1&status=done", "").json(t, &doc)
	if len(doc.Migrations) != 4 || doc.Migrations[0].ID != 6 || len(doc.Links) != 1 {
		t.Fatalf("migrations are %+v", doc)
	}
	doc.Links = nil
	s.want(200, "", "GET", "/v2.1/os-migrations?marker="+doc.Migrations[3].UUID, "").json(t, &doc)
	if len(doc.Migrations) != 2 || doc.Migrations[0].ID != 2 || len(doc.Links) != 0 {
		t.Errorf("the next page is %+v", doc)
	}
	s.want(400, "Marker x could not be found.", "GET", "/v2.1/os-migrations?marker=x", "")
	for query, want := range map[string]int{"host=compute-2": 4, "host=x": 0, "migration_type=resize": 0, "source_compute=compute-2": 0, "limit=3": 3} {
		s.want(200, "", "GET", "/v2.1/os-migrations?"+query, "").json(t, &doc)
		if len(doc.Migrations) != want {
			t.Errorf("%s: %d migrations, want %d", query, len(doc.Migrations), want)
		}
	}
	s.version = "2.58"
	doc.Migrations, doc.Links = nil, nil
	s.want(200, "", "GET", "/v2.1/os-migrations?limit=1", "").json(t, &doc)
	if len(doc.Migrations) != 6 || doc.Migrations[0].UUID != "" || doc.Migrations[0].Type != "evacuation" {
		t.Errorf("migrations at 2.58 are %+v, want all, without uuid", doc.Migrations)
	}
}

func TestProjectIDInThePath(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	s.want(200, "", "GET", "/v2.1/"+strings.Repeat("0a", 16)+"/servers/"+serverID, "")
}

func TestBodyTooLarge(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	s.act(413, "Request is too large.", `{"lock": {"locked_reason": "`+strings.Repeat("x", 1<<20)+`"}}`)
}

func TestStatusByState(t *testing.T) {
	tests := []struct{ vm, task, want string }{
		{"active", "", "ACTIVE"},
		{"active", "powering-off", "ACTIVE"},
		{"active", "rebuild_block_device_mapping", "REBUILD"},
		{"active", "rebooting", "REBOOT"},
		{"active", "rebooting_hard", "HARD_REBOOT"},
		{"active", "migrating", "MIGRATING"},
		{"active", "resize_prep", "RESIZE"},
		{"active", "updating_password", "PASSWORD"},
		{"stopped", "", "SHUTOFF"},
		{"stopped", "rebuilding", "REBUILD"},
		{"stopped", "resize_finish", "RESIZE"},
		{"error", "", "ERROR"},
		{"error", "rebuild_spawning", "REBUILD"},
		{"paused", "", "PAUSED"},
		{"paused", "migrating", "MIGRATING"},
		{"suspended", "", "SUSPENDED"},
		{"rescued", "", "RESCUE"},
		{"resized", "", "VERIFY_RESIZE"},
		{"resized", "resize_reverting", "REVERT_RESIZE"},
		{"building", "spawning", "BUILD"},
		{"soft-delete", "", "SOFT_DELETED"},
		{"shelved", "", "SHELVED"},
		{"shelved_offloaded", "", "SHELVED_OFFLOADED"},
	}
	for _, tt := range tests {
		extra := ", vm_state: " + tt.vm
		if tt.task != "" {
			extra += ", task_state: " + tt.task
		}
		c, err := novasim.New(parse(t, one(extra)), novasim.Options{})
		must(t, err)
		if got := c.Servers()[0].Status; got != tt.want {
			t.Errorf("%s, task %q: status %s, want %s", tt.vm, tt.task, got, tt.want)
		}
		must(t, c.Close())
	}
}

func TestInstanceActionsPaging(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	s.act(202, "", `{"lock": null}`)
	s.act(202, "", `{"unlock": null}`)
	s.act(202, "", `{"os-resetState": {"state": "active"}}`)
	path := "/v2.1/servers/" + serverID + "/os-instance-actions"
	var doc struct {
		InstanceActions []struct {
			Action    string
			RequestID string `json:"request_id"`
		}
		Links []struct{ Href string }
	}
	s.want(200, "", "GET", path+"?limit=2", "").json(t, &doc)
	if len(doc.InstanceActions) != 2 || doc.InstanceActions[0].Action != "resetState" || doc.InstanceActions[1].Action != "unlock" || len(doc.Links) != 1 {
		t.Fatalf("page is %+v", doc)
	}
	marker := doc.InstanceActions[1].RequestID
	s.want(200, "", "GET", path+"?marker="+marker, "").json(t, &doc)
	if len(doc.InstanceActions) != 1 || doc.InstanceActions[0].Action != "lock" {
		t.Errorf("next page is %+v", doc)
	}
	s.want(400, "Marker None could not be found.", "GET", path+"?marker=x", "")
	s.want(404, "Action req-x not found", "GET", path+"/req-x", "")
}

func TestHostStatus(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	status := func() string {
		var doc struct {
			Server struct {
				HostStatus string `json:"host_status"`
			}
		}
		s.want(200, "", "GET", "/v2.1/servers/"+serverID, "").json(t, &doc)
		return doc.Server.HostStatus
	}
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return nil }, "UNKNOWN"},
		{func() error { return s.HealHost("compute-1") }, "UP"},
		{func() error { return s.DisableService("compute-1", true, "x") }, "MAINTENANCE"},
		{func() error { return s.ForceDown("compute-1", true) }, "DOWN"},
	} {
		must(t, step.do())
		if got := status(); got != step.want {
			t.Errorf("host_status is %s, want %s", got, step.want)
		}
	}
}
