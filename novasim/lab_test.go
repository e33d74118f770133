package novasim_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/novasim"
)

// The tests of this file are named for what was seen of a real Nova 26.2.

const evacuate = `{"evacuate": {}}`

func TestEvacuateHostStillUp(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	must(t, s.HealHost("compute-1"))
	s.act(400, "Compute service of compute-1 is still in use.", evacuate)
}

func TestEvacuateDoneAlready(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	s.act(200, "", evacuate)
	s.act(400, "Compute service of compute-2 is still in use.", evacuate)
	s.is("compute-2", "ACTIVE", "active", "")
}

func TestEvacuateAcceptedBody(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	if r := s.act(200, "", evacuate); r.body != "" {
		t.Errorf("body at 2.90 is %q, want none", r.body)
	}
	s = setup(t, one(""), novasim.Options{})
	s.version = "2.1"
	var body struct{ AdminPass string }
	s.act(200, "", `{"evacuate": {"onSharedStorage": false}}`).json(t, &body)
	if body.AdminPass == "" {
		t.Error("no adminPass at 2.1")
	}
}

func TestEvacuateTwiceAtATimeRuinsTheServer(t *testing.T) {
	for _, between := range []time.Duration{0, 300 * time.Millisecond, 3500 * time.Millisecond} {
		t.Run(between.String(), func(t *testing.T) {
			s := setup(t, one("")+slow, novasim.Options{ManualTime: true})
			s.act(200, "", evacuate)
			s.Advance(between)
			s.act(200, "", evacuate)
			s.Advance(time.Hour)
			s.is("compute-2", "REBUILD", "error", "rebuilding")
			s.Advance(10 * time.Hour)
			s.is("compute-2", "REBUILD", "error", "rebuilding")
			if got := s.server().Evacuations; got != 2 {
				t.Errorf("%d evacuations, want 2", got)
			}
			s.token = s.login("admin", "novasim", "lab") // the old one has expired
			s.act(202, "", `{"os-resetState": {"state": "active"}}`)
			s.is("compute-2", "ACTIVE", "active", "")
		})
	}
}

func TestEvacuateOfRuinedServerFromItsNextHost(t *testing.T) {
	s := setup(t, one("")+slow, novasim.Options{ManualTime: true})
	s.act(200, "", evacuate)
	s.act(200, "", evacuate)
	s.Advance(time.Minute)
	must(t, s.FailHost("compute-2"))
	s.act(200, "", evacuate)
	s.Advance(time.Minute)
	s.is("compute-3", "ACTIVE", "active", "")
}

func TestEvacuateSecondWhileFirstIsStuckAtHangingTarget(t *testing.T) {
	for _, wake := range []struct {
		name string
		do   func(s *sim)
	}{
		{"woken up", func(s *sim) { must(t, s.HealHost("compute-2")) }},
		{"killed and started", func(s *sim) { must(t, s.FailHost("compute-2")); must(t, s.HealHost("compute-2")) }},
	} {
		t.Run(wake.name, func(t *testing.T) {
			s := setup(t, "service_down_time: 10s\n"+one("")+slow, novasim.Options{ManualTime: true})
			s.Advance(time.Minute)
			must(t, s.HangHost("compute-2")) // still looks up
			s.act(200, "", evacuate)
			s.Advance(20 * time.Second)
			s.is("compute-1", "REBUILD", "active", "rebuilding")
			s.act(200, "", evacuate)
			s.Advance(20 * time.Second)
			s.is("compute-3", "ACTIVE", "active", "")
			wake.do(s)
			s.Advance(20 * time.Second)
			s.is("compute-3", "REBUILD", "error", "rebuilding")
			s.migrated("failed", "accepted") // both worked on the first record
		})
	}
}

func TestEvacuateForceAndSharedStorageBySchema(t *testing.T) {
	tests := []struct {
		version, body string
		status        int
		message       string
	}{
		{"2.68", `{"evacuate": {"host": "compute-2", "force": true}}`, 400, "Invalid input for field/attribute evacuate. Value: {'host': 'compute-2', 'force': True}. Additional properties are not allowed ('force' was unexpected)"},
		{"2.67", `{"evacuate": {"host": "compute-2", "force": true}}`, 200, ""},
		{"2.28", `{"evacuate": {"host": "compute-2", "force": true}}`, 400, "Invalid input for field/attribute evacuate. Value: {'host': 'compute-2', 'force': True}. Additional properties are not allowed ('force' was unexpected)"},
		{"2.14", `{"evacuate": {"onSharedStorage": false}}`, 400, "Invalid input for field/attribute evacuate. Value: {'onSharedStorage': False}. Additional properties are not allowed ('onSharedStorage' was unexpected)"},
		{"2.13", `{"evacuate": {"onSharedStorage": false}}`, 200, ""},
		{"2.13", `{"evacuate": {}}`, 400, "Invalid input for field/attribute evacuate. Value: {}. 'onSharedStorage' is a required property"},
		{"2.90", `{"evacuate": {"host": 7}}`, 400, "Invalid input for field/attribute host. Value: 7. 7 is not of type 'string'"},
		{"2.90", `{"evacuate": null}`, 400, "Invalid input for field/attribute evacuate. Value: None. None is not of type 'object'"},
	}
	for _, tt := range tests {
		t.Run(tt.version+tt.body, func(t *testing.T) {
			s := setup(t, one(""), novasim.Options{})
			s.version = tt.version
			s.act(tt.status, tt.message, tt.body)
		})
	}
}

func TestEvacuateForcePassesTheSchedulerBy(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	must(t, s.DisableService("compute-3", true, "reserved host"))
	s.version = "2.67"
	s.act(200, "", `{"evacuate": {"host": "compute-3", "force": true}}`)
	s.is("compute-3", "ACTIVE", "active", "")
}

func TestEvacuateToTheFailedHost(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	s.act(400, "The target host can't be the same one.", `{"evacuate": {"host": "compute-1"}}`)
}

func TestEvacuateToUnknownHost(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	s.act(404, "Compute host nowhere not found.", `{"evacuate": {"host": "nowhere"}}`)
}

func TestEvacuateToDisabledHost(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	must(t, s.DisableService("compute-3", true, "reserved host"))
	s.act(200, "", `{"evacuate": {"host": "compute-3"}}`)
	s.is("compute-1", "ERROR", "error", "")
	s.migrated("error")
	var got struct {
		Server struct {
			Fault struct {
				Code    int
				Message string
			}
		}
	}
	s.want(200, "", "GET", "/v2.1/servers/"+serverID, "").json(t, &got)
	if got.Server.Fault.Message != "No valid host was found. " || got.Server.Fault.Code != 500 {
		t.Errorf("fault is %+v, want 500, No valid host was found.", got.Server.Fault)
	}
	must(t, s.DisableService("compute-3", false, ""))
	s.act(200, "", `{"evacuate": {"host": "compute-3"}}`)
	s.is("compute-3", "ACTIVE", "active", "")
	s.migrated("error", "done")
}

func TestEvacuateUnknownServer(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	const id = "00000000-0000-4000-8000-00000000dead"
	s.want(404, "Instance "+id+" could not be found.", "POST", "/v2.1/servers/"+id+"/action", evacuate)
}

func TestEvacuateAsMember(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	s.asMember()
	r := s.act(403, "Policy doesn't allow os_compute_api:os-evacuate to be performed.", evacuate)
	if !strings.HasPrefix(r.body, `{"forbidden":`) {
		t.Errorf("body is %s, want a forbidden", r.body)
	}
}

func TestEvacuateLocked(t *testing.T) {
	s := setup(t, one(", locked: true, locked_reason: mine"), novasim.Options{})
	s.act(200, "", evacuate)
	s.is("compute-2", "ACTIVE", "active", "")
	if st := s.server(); !st.Locked || st.LockedReason != "mine" {
		t.Errorf("locked is %v %q, want true, mine", st.Locked, st.LockedReason)
	}
}

func TestEvacuateByState(t *testing.T) {
	tests := []struct {
		name, server string
		status       int
		message      string
		wantStatus   string
		wantPower    int
	}{
		{"active", "", 200, "", "ACTIVE", 1},
		{"SHUTOFF ends SHUTOFF", ", vm_state: stopped", 200, "", "SHUTOFF", 4},
		{"ERROR ends ACTIVE", ", vm_state: error, fault: broken", 200, "", "ACTIVE", 1},
		{"PAUSED", ", vm_state: paused", 409, "Cannot 'evacuate' instance " + serverID + " while it is in vm_state paused", "PAUSED", 3},
		{"SUSPENDED", ", vm_state: suspended", 409, "Cannot 'evacuate' instance " + serverID + " while it is in vm_state suspended", "SUSPENDED", 4},
		{"RESCUE", ", vm_state: rescued", 409, "Cannot 'evacuate' instance " + serverID + " while it is in vm_state rescued", "RESCUE", 1},
		{"resized", ", vm_state: resized", 409, "Cannot 'evacuate' instance " + serverID + " while it is in vm_state resized", "VERIFY_RESIZE", 1},
		{"powering-off is not looked at", ", task_state: powering-off", 200, "", "ACTIVE", 1},
		{"pausing is not looked at", ", task_state: pausing", 200, "", "ACTIVE", 1},
		{"rebuilding is not looked at", ", task_state: rebuilding", 200, "", "ACTIVE", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := setup(t, one(tt.server), novasim.Options{})
			s.act(tt.status, tt.message, evacuate)
			st := s.server()
			if st.Status != tt.wantStatus || st.PowerState != tt.wantPower || st.TaskState != "" {
				t.Errorf("server is %s, power %d, task %q, want %s, %d, none", st.Status, st.PowerState, st.TaskState, tt.wantStatus, tt.wantPower)
			}
			want := "compute-1"
			if tt.status == 200 {
				want = "compute-2"
			}
			if st.Host != want {
				t.Errorf("host is %s, want %s", st.Host, want)
			}
		})
	}
}

func TestEvacuateRequestIDIsFoundAgain(t *testing.T) {
	s := setup(t, one("")+slow, novasim.Options{ManualTime: true})
	r := s.act(200, "", evacuate)
	id := r.header.Get("X-Openstack-Request-Id")
	if id == "" || id != r.header.Get("X-Compute-Request-Id") || !strings.HasPrefix(id, "req-") {
		t.Fatalf("request id is %q, and %q", id, r.header.Get("X-Compute-Request-Id"))
	}
	var list struct {
		InstanceActions []struct {
			Action    string
			RequestID string  `json:"request_id"`
			Message   *string `json:"message"`
		}
	}
	s.want(200, "", "GET", "/v2.1/servers/"+serverID+"/os-instance-actions", "").json(t, &list)
	if len(list.InstanceActions) != 1 || list.InstanceActions[0].RequestID != id || list.InstanceActions[0].Action != "evacuate" {
		t.Fatalf("actions are %+v, want evacuate by %s", list.InstanceActions, id)
	}
	var single struct {
		InstanceAction struct {
			Events []struct {
				Event  string
				Result *string
			}
		}
	}
	path := "/v2.1/servers/" + serverID + "/os-instance-actions/" + id
	s.want(200, "", "GET", path, "").json(t, &single)
	if e := single.InstanceAction.Events; len(e) != 1 || e[0].Result != nil {
		t.Fatalf("events are %+v, want one that runs", e)
	}
	s.Advance(time.Minute)
	s.want(200, "", "GET", path, "").json(t, &single)
	if e := single.InstanceAction.Events; len(e) != 2 || e[0].Event != "compute_rebuild_instance" || e[0].Result == nil || *e[0].Result != "Success" {
		t.Fatalf("events are %+v, want the target's with Success and the conductor's", e)
	}
	if got := s.Requests(); got[1].RequestID != id || got[1].Action != "evacuate" || got[1].Server != serverID || got[1].Status != 200 || got[1].UserAgent != "test" {
		t.Errorf("request log has %+v", got[1])
	}
}

func TestEvacuatePhases(t *testing.T) {
	type phase struct{ host, status, vm, task string }
	tests := []struct {
		name, server string
		want         []phase
	}{
		{"active", "", []phase{
			{"compute-1", "REBUILD", "active", "rebuilding"},
			{"compute-1", "REBUILD", "active", "rebuilding"},
			{"compute-1", "REBUILD", "active", "rebuild_block_device_mapping"},
			{"compute-1", "REBUILD", "active", "rebuild_spawning"},
			{"compute-1", "ACTIVE", "active", ""}, // not done yet
			{"compute-2", "ACTIVE", "active", ""},
		}},
		{"stopped", ", vm_state: stopped", []phase{
			{"compute-1", "REBUILD", "stopped", "rebuilding"},
			{"compute-1", "REBUILD", "stopped", "rebuilding"},
			{"compute-1", "REBUILD", "stopped", "rebuild_block_device_mapping"},
			{"compute-1", "REBUILD", "stopped", "rebuild_spawning"},
			{"compute-1", "ACTIVE", "active", ""},
			{"compute-1", "ACTIVE", "active", "powering-off"},
			{"compute-1", "SHUTOFF", "stopped", ""},
			{"compute-2", "SHUTOFF", "stopped", ""},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := setup(t, one(tt.server)+slow, novasim.Options{ManualTime: true})
			s.act(200, "", evacuate)
			for i, p := range tt.want {
				s.is(p.host, p.status, p.vm, p.task)
				switch {
				case i < 2:
					s.migrated("accepted")
				case i < len(tt.want)-1:
					s.migrated("pre-migrating")
				}
				s.Advance(time.Second)
			}
			s.migrated("done")
		})
	}
}

func TestMigrationsAcceptedDoneCompleted(t *testing.T) {
	s := setup(t, one("")+slow, novasim.Options{ManualTime: true})
	status := func() string {
		t.Helper()
		var got struct {
			Migrations []struct {
				UUID   string
				Status string
				Type   string  `json:"migration_type"`
				Source string  `json:"source_compute"`
				Dest   *string `json:"dest_compute"`
			}
		}
		s.want(200, "", "GET", "/v2.1/os-migrations?migration_type=evacuation&instance_uuid="+serverID, "").json(t, &got)
		if len(got.Migrations) != 1 || got.Migrations[0].Type != "evacuation" || got.Migrations[0].Source != "compute-1" || got.Migrations[0].UUID == "" {
			t.Fatalf("migrations are %+v", got.Migrations)
		}
		if (got.Migrations[0].Dest != nil) != (got.Migrations[0].Status != "accepted") {
			t.Fatalf("dest_compute is %v while %s", got.Migrations[0].Dest, got.Migrations[0].Status)
		}
		return got.Migrations[0].Status
	}
	s.act(200, "", evacuate)
	if got := status(); got != "accepted" {
		t.Errorf("status is %s, want accepted", got)
	}
	s.Advance(time.Minute)
	if got := status(); got != "done" {
		t.Errorf("status is %s, want done", got)
	}
	must(t, s.HealHost("compute-1"))
	if got := status(); got != "completed" {
		t.Errorf("status is %s, want completed", got)
	}
}

func TestEvacuationThatFailsOnTheTarget(t *testing.T) {
	s := setup(t, one("")+`faults: [{match: {action: evacuate, times: 1}, do: {evacuation_error: "Disk is full."}}]`, novasim.Options{})
	s.act(200, "", evacuate)
	s.is("compute-1", "ERROR", "error", "")
	s.migrated("failed")
	if got := s.server().Fault; got != "Disk is full." {
		t.Errorf("fault is %q", got)
	}
	s.act(200, "", evacuate)
	s.is("compute-2", "ACTIVE", "active", "")
}

func TestResizedServerEvacuatedToWhereItCameFrom(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	must(t, s.HealHost("compute-1"))
	s.act(202, "", `{"migrate": {"host": "compute-2"}}`)
	s.is("compute-2", "VERIFY_RESIZE", "resized", "")
	must(t, s.FailHost("compute-2"))
	s.act(202, "", `{"os-resetState": {"state": "error"}}`)
	s.act(200, "", `{"evacuate": {"host": "compute-1"}}`)
	s.is("compute-2", "ERROR", "error", "")
	s.migrated("finished", "failed")
	if got := s.server().Fault; got != "Instance instance-00000001 already exists." {
		t.Errorf("fault is %q", got)
	}
	s.act(200, "", `{"evacuate": {"host": "compute-3"}}`)
	s.is("compute-3", "ACTIVE", "active", "")
}

func TestServerOnDeadHostStaysActive(t *testing.T) {
	s := setup(t, "service_down_time: 10s\n"+one(""), novasim.Options{ManualTime: true})
	look := func(want, wantState string) {
		t.Helper()
		var got struct {
			Server struct {
				Status     string
				HostStatus string `json:"host_status"`
			}
		}
		s.want(200, "", "GET", "/v2.1/servers/"+serverID, "").json(t, &got)
		if got.Server.Status != "ACTIVE" || got.Server.HostStatus != want {
			t.Errorf("server is %s on a host %s, want ACTIVE, %s", got.Server.Status, got.Server.HostStatus, want)
		}
		var list struct{ Services []struct{ State string } }
		s.want(200, "", "GET", "/v2.1/os-services?host=compute-1&binary=nova-compute", "").json(t, &list)
		if len(list.Services) != 1 || list.Services[0].State != wantState {
			t.Errorf("services are %+v, want %s", list.Services, wantState)
		}
	}
	must(t, s.HealHost("compute-1"))
	look("UP", "up")
	must(t, s.FailHost("compute-1"))
	s.Advance(9 * time.Second)
	look("UP", "up")
	s.Advance(2 * time.Second)
	look("UNKNOWN", "down")
	must(t, s.HealHost("compute-1"))
	s.want(200, "", "PUT", "/v2.1/os-services/"+s.service("compute-1").ID, `{"forced_down": true}`)
	look("DOWN", "down")
}

func TestActionForDeadHostKeepsItsTask(t *testing.T) {
	for action, task := range map[string]string{"os-stop": "powering-off", "pause": "pausing"} {
		t.Run(action, func(t *testing.T) {
			s := setup(t, one(""), novasim.Options{ManualTime: true})
			s.act(202, "", fmt.Sprintf(`{%q: null}`, action))
			s.Advance(time.Hour - time.Second)
			s.is("compute-1", "ACTIVE", "active", task)
			s.act(200, "", evacuate)
			s.is("compute-2", "ACTIVE", "active", "")
		})
	}
}

func TestActionForDeadHostIsDoneOnceItStarts(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	s.act(202, "", `{"os-stop": null}`)
	must(t, s.HealHost("compute-1"))
	s.is("compute-1", "SHUTOFF", "stopped", "")
}

const forceUp = `{"forced_down": false}`

const forceUpRefused = "Unable to force up host compute-1 as `done` evacuation migration records remain associated with the host. " +
	"Ensure the compute service has been restarted, allowing these records to move to `completed` before retrying this request."

func TestForcedDownFalseRefusedUntilStarted(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	path := "/v2.1/os-services/" + s.service("compute-1").ID
	s.want(200, "", "PUT", path, `{"forced_down": true}`)
	s.want(200, "", "PUT", path, forceUp) // nothing was evacuated
	s.act(200, "", evacuate)
	s.want(400, forceUpRefused, "PUT", path, forceUp) // though not forced down
	must(t, s.HealHost("compute-1"))
	s.want(200, "", "PUT", path, forceUp)
}

func TestServerEvacuatedTwiceNeedsTwoStarts(t *testing.T) {
	s := setup(t, one("")+slow, novasim.Options{ManualTime: true})
	path := "/v2.1/os-services/" + s.service("compute-1").ID
	s.act(200, "", evacuate)
	s.act(200, "", evacuate)
	s.Advance(time.Minute)
	s.migrated("done", "accepted")
	must(t, s.HealHost("compute-1"))
	s.migrated("done", "completed")
	s.want(400, forceUpRefused, "PUT", path, forceUp)
	must(t, s.FailHost("compute-1"))
	must(t, s.HealHost("compute-1"))
	s.migrated("completed", "completed")
	s.want(200, "", "PUT", path, forceUp)
}

func TestTargetKilledDuringEvacuationLosesTheRequest(t *testing.T) {
	s := setup(t, one("")+slow, novasim.Options{ManualTime: true})
	s.act(200, "", evacuate)
	s.Advance(3500 * time.Millisecond) // the target is spawning
	must(t, s.FailHost("compute-2"))
	s.act(200, "", evacuate)
	s.Advance(time.Minute)
	s.is("compute-3", "ACTIVE", "active", "")
	s.migrated("pre-migrating", "done")
	must(t, s.HealHost("compute-2"))
	s.Advance(time.Minute)
	s.is("compute-3", "ACTIVE", "active", "")
}

func TestEnabledWhileDownIsSkippedUntilPeriodicUpdate(t *testing.T) {
	for _, mend := range []struct {
		name string
		do   func(s *sim)
	}{
		{"next start", func(s *sim) { must(t, s.FailHost("compute-2")); must(t, s.HealHost("compute-2")) }},
		{"periodic update", func(s *sim) { s.Advance(time.Minute) }},
	} {
		t.Run(mend.name, func(t *testing.T) {
			s := setup(t, one(""), novasim.Options{ManualTime: true})
			must(t, s.FailHost("compute-3"))
			path := "/v2.1/os-services/" + s.service("compute-2").ID
			s.want(200, "", "PUT", path, `{"status": "disabled", "disabled_reason": "broken"}`)
			s.want(200, "", "PUT", path, `{"forced_down": true}`) // it runs, but Nova takes it for down
			s.want(200, "", "PUT", path, `{"status": "enabled"}`)
			s.want(200, "", "PUT", path, forceUp)
			if sv := s.service("compute-2"); !sv.Up || sv.Disabled || !sv.Skipped {
				t.Fatalf("service is %+v, want up, enabled and skipped", sv)
			}
			s.act(200, "", evacuate)
			if got := s.server().Fault; got != "No valid host was found. " {
				t.Fatalf("fault is %q, want no valid host", got)
			}
			mend.do(s)
			s.act(200, "", evacuate)
			s.is("compute-2", "ACTIVE", "active", "")
		})
	}
}

func TestTargetThatDies(t *testing.T) {
	s := setup(t, one("")+slow+`faults: [{match: {action: evacuate, nth: 1}, do: {evacuation_target: dies}}]`, novasim.Options{ManualTime: true})
	s.act(200, "", evacuate)
	s.Advance(10 * time.Minute)
	s.is("compute-1", "REBUILD", "active", "rebuild_spawning")
	s.migrated("pre-migrating")
	if sv := s.service("compute-2"); sv.Up {
		t.Error("the target is still up")
	}
	must(t, s.HealHost("compute-2")) // the request is lost
	s.Advance(10 * time.Minute)
	s.is("compute-1", "REBUILD", "active", "rebuild_spawning")
}

func TestTargetThatHangs(t *testing.T) {
	s := setup(t, one("")+`faults: [{match: {action: evacuate, nth: 1}, do: {evacuation_target: hangs}}]`, novasim.Options{})
	s.act(200, "", evacuate)
	s.is("compute-1", "REBUILD", "active", "rebuild_spawning")
	must(t, s.HealHost("compute-2")) // it goes on where it was
	s.is("compute-2", "ACTIVE", "active", "")
}

func TestResetStateDuringEvacuation(t *testing.T) {
	s := setup(t, one("")+slow, novasim.Options{ManualTime: true})
	s.act(200, "", evacuate)
	s.Advance(2500 * time.Millisecond)
	s.act(202, "", `{"os-resetState": {"state": "active"}}`)
	s.Advance(time.Minute)
	s.is("compute-1", "ERROR", "error", "")
	s.migrated("failed")
	s.act(200, "", evacuate)
	s.Advance(time.Minute)
	s.is("compute-2", "ACTIVE", "active", "")
}

func TestMicroversionAboveMaximum(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	s.version = "2.95"
	r := s.want(http.StatusNotAcceptable, "Version 2.95 is not supported by the API. Minimum is 2.1 and maximum is 2.93.", "GET", "/v2.1/servers", "")
	if !strings.HasPrefix(r.body, `{"computeFault":{"code":406,`) {
		t.Errorf("body is %s", r.body)
	}
}

func TestTargetWakesUpAfterAnotherWasQuicker(t *testing.T) {
	s := setup(t, one("")+`faults: [{match: {action: evacuate, nth: 1}, do: {evacuation_target: hangs}}]`, novasim.Options{})
	s.act(200, "", evacuate) // hangs on compute-2, spawning
	s.act(200, "", evacuate)
	s.is("compute-3", "ACTIVE", "active", "")
	must(t, s.HealHost("compute-2"))
	s.is("compute-3", "REBUILD", "error", "rebuilding")
}

func TestDeletedDuringEvacuation(t *testing.T) {
	for _, at := range []time.Duration{0, 1500 * time.Millisecond, 2500 * time.Millisecond, 4500 * time.Millisecond} {
		s := setup(t, one("")+slow, novasim.Options{ManualTime: true})
		s.act(200, "", evacuate)
		s.Advance(at)
		s.want(204, "", "DELETE", "/v2.1/servers/"+serverID, "")
		s.Advance(time.Minute)
		if st := s.server(); !st.Deleted || st.Host != "" {
			t.Errorf("deleted after %s: server is %+v", at, st)
		}
		if got := s.Migrations()[0].Status; got != "failed" && got != "error" {
			t.Errorf("deleted after %s: migration is %s", at, got)
		}
	}
}

func TestForcedDownHostIsDownAtOnce(t *testing.T) {
	s := setup(t, "service_down_time: 1h\n"+one(""), novasim.Options{ManualTime: true})
	must(t, s.HealHost("compute-1"))
	must(t, s.FailHost("compute-1"))
	s.act(400, "Compute service of compute-1 is still in use.", evacuate)
	must(t, s.ForceDown("compute-1", true))
	s.act(200, "", evacuate)
	if err := s.ForceDown("nowhere", true); err == nil {
		t.Error("ForceDown of an unknown host: no error")
	}
}
