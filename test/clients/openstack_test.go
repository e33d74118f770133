//go:build clients

package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommandLine does what python3-masakariclient can do, each command at
// least once, and a whole recovery.
func TestCommandLine(t *testing.T) {
	s := newSite(t)
	token := s.token(t)

	var segment struct {
		UUID, Name, Description string
		Method                  string `json:"recovery_method"`
		Service                 string `json:"service_type"`
	}
	s.openstack(t, &segment, "segment", "create", "rack-1", "auto", "COMPUTE", "--description", "first rack")
	if segment.Name != "rack-1" || segment.Method != "auto" || segment.Service != "COMPUTE" || segment.Description != "first rack" || segment.UUID == "" {
		t.Errorf("segment create: %+v", segment)
	}
	s.refused(t, "409", "segment", "create", "rack-1", "auto", "COMPUTE")
	s.refused(t, "An invalid 'name' value was provided", "segment", "create", " rack-2", "auto", "COMPUTE")
	var other struct{ UUID string }
	s.openstack(t, &other, "segment", "create", "rack-2", "reserved_host", "COMPUTE")
	var list []map[string]any
	s.openstack(t, &list, "segment", "list")
	if len(list) != 2 || list[0]["name"] != "rack-2" || list[1]["name"] != "rack-1" {
		t.Errorf("segment list: %v, want the newer first", list)
	}
	s.openstack(t, &list, "segment", "list", "--limit", "1", "--sort", "name:asc", "--filters", "recovery_method=auto")
	if len(list) != 1 || list[0]["name"] != "rack-1" {
		t.Errorf("segment list with filters: %v", list)
	}
	s.openstack(t, &segment, "segment", "update", "rack-1", "--description", "the first rack")
	if segment.Description != "the first rack" {
		t.Errorf("segment update: %+v", segment)
	}
	s.openstack(t, &segment, "segment", "show", "rack-1")
	if segment.Description != "the first rack" || segment.Name != "rack-1" {
		t.Errorf("segment show: %+v", segment)
	}
	s.openstack(t, nil, "segment", "delete", "rack-2")
	s.refused(t, "rack-2", "segment", "show", "rack-2")

	var host struct {
		UUID, Name            string
		Reserved, Maintenance bool
	}
	for _, name := range []string{"compute-dead", "compute-2"} {
		s.openstack(t, &host, "segment", "host", "create", name, "COMPUTE", "SSH", "rack-1")
		if host.Name != name || host.UUID == "" || host.Reserved {
			t.Errorf("segment host create: %+v", host)
		}
	}
	s.refused(t, "Compute service with name ghost could not be found", "segment", "host", "create", "ghost", "COMPUTE", "SSH", "rack-1")
	s.refused(t, "409", "segment", "host", "create", "compute-2", "COMPUTE", "SSH", "rack-1")
	s.openstack(t, &host, "segment", "host", "create", "compute-3", "COMPUTE", "SSH", "rack-1", "--reserved", "True")
	if !host.Reserved {
		t.Errorf("segment host create --reserved True: %+v", host)
	}
	s.openstack(t, &host, "segment", "host", "update", "rack-1", "compute-3", "--reserved", "False")
	if host.Reserved {
		t.Errorf("segment host update --reserved False: %+v", host)
	}
	s.openstack(t, &host, "segment", "host", "show", "rack-1", "compute-3")
	if host.Name != "compute-3" {
		t.Errorf("segment host show: %+v", host)
	}
	s.openstack(t, &list, "segment", "host", "list", "rack-1", "--filters", "reserved=False")
	if len(list) != 3 {
		t.Errorf("segment host list: %v", list)
	}
	s.openstack(t, nil, "segment", "host", "delete", "rack-1", "compute-3")
	s.openstack(t, &list, "segment", "host", "list", "rack-1")
	if len(list) != 2 {
		t.Errorf("segment host list after a delete: %v", list)
	}

	payload := `{"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"}`
	var n struct {
		UUID   string `json:"notification_uuid"`
		Status string
	}
	s.openstack(t, &n, "notification", "create", "COMPUTE_HOST", "compute-dead", "2026-11-23T00:00:00.000000", payload)
	if n.UUID == "" {
		t.Fatalf("notification create: %+v", n)
	}
	done := s.ended(t, token, n.UUID)
	if done.Status != "finished" || len(done.Details) != 3 {
		t.Errorf("the recovery of compute-dead: %+v, want it finished in three tasks", done)
	}
	s.openstack(t, &n, "notification", "show", n.UUID)
	if n.Status != "finished" {
		t.Errorf("notification show: %+v", n)
	}
	s.refused(t, "409", "notification", "create", "COMPUTE_HOST", "compute-dead", "2026-11-23T00:00:00.000000", payload)
	s.refused(t, "Host with name ghost could not be found", "notification", "create", "COMPUTE_HOST", "ghost", "2026-11-23T00:00:00.000000", payload)
	s.openstack(t, &list, "notification", "list", "--filters", "status=finished;generated-since=2020-01-01")
	if len(list) != 1 || list[0]["notification_uuid"] != n.UUID {
		t.Errorf("notification list: %v", list)
	}
	s.openstack(t, &list, "server", "list", "--all-projects", "--long")
	for _, server := range list {
		if server["Host"] == "compute-dead" {
			t.Errorf("server %v is still on the host that died", server["Name"])
		}
	}
	s.openstack(t, &host, "segment", "host", "update", "rack-1", "compute-dead", "--on_maintenance", "False")
}

// TestSDK calls all of instance_ha of openstacksdk; the script says what it
// found wrong.
func TestSDK(t *testing.T) {
	s := newSite(t)
	script, err := filepath.Abs("testdata/instance_ha.py")
	if err != nil {
		t.Fatal(err)
	}
	out, errs, code := s.command(t, "/usr/bin/python3", script)
	if code != 0 || !strings.HasSuffix(strings.TrimSpace(out), "all calls are good") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// TestProcessMonitor lets masakari-processmonitor report a process that died and
// does not come back.
func TestProcessMonitor(t *testing.T) {
	s := newSite(t)
	token := s.token(t)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	s.openstack(t, nil, "segment", "create", "rack-1", "auto", "COMPUTE")
	s.openstack(t, nil, "segment", "host", "create", host, "COMPUTE", "SSH", "rack-1")

	watched := filepath.Join(s.dir, "nova-compute")
	list := s.write(t, "process_list.yaml", "-\n    process_name: "+watched+`
    start_command: /bin/true
    pre_start_command:
    post_start_command:
    restart_command: /bin/false
    pre_restart_command:
    post_restart_command:
    run_as_root: False
`)
	conf := s.write(t, "masakarimonitors.conf", `[DEFAULT]
debug = True
[api]
region = RegionOne
api_interface = public
auth_type = password
auth_url = `+s.keystone+`
username = `+s.credential(t, "username")+`
password = `+s.credential(t, "password")+`
project_name = `+s.credential(t, "project_name")+`
user_domain_id = default
project_domain_id = default
[process]
check_interval = 1
restart_retries = 1
restart_interval = 1
api_retry_max = 3
api_retry_interval = 1
process_list_path = `+list+"\n")
	// A process by that name, which only ps sees; it is killed below.
	victim := startNamed(t, watched)
	monitor := start(t, s.environ, "/usr/bin/masakari-processmonitor", "--config-file", conf)
	until(t, "the monitor's first look", func() bool { return strings.Contains(monitor.String(), "is found") })
	victim()
	var doc struct{ Notifications []notification }
	until(t, "a notification", func() bool {
		s.get(t, token, "/v1/notifications", &doc)
		return len(doc.Notifications) > 0
	})
	n := s.ended(t, token, doc.Notifications[0].UUID)
	if n.Type != "PROCESS" || n.Payload["process_name"] != "nova-compute" || n.Payload["event"] != "STOPPED" {
		t.Errorf("the monitor's notification: %+v", n)
	}
	if n.Status != "finished" || len(n.Details) != 2 || n.Details[0].State != "SUCCESS" {
		t.Errorf("the recovery: %+v, want it finished in two tasks", n)
	}
	var services []map[string]any
	s.openstack(t, &services, "compute", "service", "list", "--host", host, "--service", "nova-compute")
	if len(services) != 1 || services[0]["Status"] != "disabled" {
		t.Errorf("nova-compute of %s: %v, want it disabled", host, services)
	}
}
