package masakariv1_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/recovery"
)

// names gives a field of each item of a list.
func (a answer) names(list, field string) []string {
	a.t.Helper()
	a.wantStatus(200)
	var doc map[string][]map[string]any
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		a.t.Fatal(err)
	}
	out := []string{}
	for _, item := range doc[list] {
		out = append(out, fmt.Sprint(item[field]))
	}
	return out
}

func TestLists(t *testing.T) {
	eachStore(t, testLists, func(c *api.Config) { c.Masakari.MaxLimit = 4 })
}

func testLists(t *testing.T, s *service) {
	t.Helper()
	// Made in this order: ids grow with it.
	made := []struct{ name, method, service string }{
		{"d", "auto", "COMPUTE"}, {"b", "reserved_host", "COMPUTE"}, {"a", "auto", "STORAGE"}, {"c", "rh_priority", "COMPUTE"},
	}
	ids := map[string]string{}
	for i, m := range made {
		got := s.ask("POST", "/v1/segments", map[string]any{"segment": map[string]any{
			"name": m.name, "recovery_method": m.method, "service_type": m.service, "enabled": i%2 == 0,
		}}, "OpenStack-API-Version", "instance-ha 1.2").wantStatus(201)
		ids[m.name] = fmt.Sprintf("%.0f", got.at("segment.id"))
	}
	lists := []struct {
		query string
		want  string
	}{
		{"", "c a b d"},
		{"sort_dir=asc", "d b a c"},
		{"sort_key=name", "d c b a"},
		{"sort_key=name&sort_dir=asc", "a b c d"},
		{"sort_key=%20name%20&sort_dir=asc%20", "a b c d"},
		{"sort_key=id&sort_dir=asc", "d b a c"},
		{"sort_key=service_type&sort_key=name&sort_dir=asc&sort_dir=desc", "d c b a"},
		{"sort_key=service_type&sort_key=name&sort_dir=asc", "b c d a"},
		{"sort_key=enabled&sort_dir=asc", "b c d a"},
		{"sort_key=deleted", "c a b d"},
		{"sort_key=description", "c a b d"},
		{"limit=2", "c a"},
		{"limit=0", ""},
		{"limit=%2B2", "c a"},
		{"limit=9", "c a b d"},
		{"limit=99999999999999999999999", "c a b d"},
		{"limit=0&sort_dir=up&marker=zz", ""},
		{"limit=3&limit=1", "c"},
		{"page_size=1", "c a b d"},
		{"sort_key=name&sort_dir=asc&marker={b}", "c d"},
		{"sort_key=name&sort_dir=asc&marker={b}&limit=1", "c"},
		{"marker={d}", ""},
		{"marker={a}", "b d"},
		{"marker={a}&recovery_method=auto", "d"},
		{"marker={b}&recovery_method=auto", "d"},
		{"recovery_method=auto", "a d"},
		{"recovery_method=nothing", ""},
		{"service_type=COMPUTE&sort_key=name&sort_dir=asc", "b c d"},
		{"enabled=1", "a d"},
		{"enabled=0", "c b"},
		{"enabled=False", "c b"},
		{"enabled=perhaps", ""},
		{"name=a", "c a b d"}, // no filter
		{"zz=1", "c a b d"},
	}
	for _, tt := range lists {
		t.Run(tt.query, func(t *testing.T) {
			query := tt.query
			for name, id := range ids {
				query = strings.ReplaceAll(query, "{"+name+"}", id)
			}
			got := strings.Join(s.ask("GET", "/v1/segments?"+query, nil).names("segments", "name"), " ")
			if got != tt.want {
				t.Errorf("segments = %s, want %s", got, tt.want)
			}
		})
	}
	s.segment("e")
	if got := s.ask("GET", "/v1/segments?limit=100", nil).names("segments", "name"); len(got) != 4 {
		t.Errorf("segments = %q, want four of them: the greatest page", got)
	}
	faults := []struct{ query, want string }{
		{"limit=x", "Invalid input received: limit must be an integer"},
		{"limit=", "Invalid input received: limit must be an integer"},
		{"limit=1.5", "Invalid input received: limit must be an integer"},
		{"limit=-1", "Invalid input received: limit must be >= 0"},
		{"limit=-99999999999999999999999", "Invalid input received: limit must be >= 0"},
		{"page_size=x", "Invalid input received: page_size must be an integer"},
		{"page_size=-1", "Invalid input received: page_size must be >= 0"},
		{"marker=zz", "Marker zz could not be found."},
		{"marker=123456789", "Marker 123456789 could not be found."},
		{"marker=" + otherUUID, "Marker " + otherUUID + " could not be found."},
		{"sort_key=zz", "InvalidSortKey('Sort key supplied is invalid: zz')"},
		{"sort_key=hosts", "InvalidSortKey('Sort key supplied is invalid: hosts')"},
		{"sort_dir=up", "Invalid input received: Unknown sort direction, must be 'asc' or 'desc'"},
		{"sort_dir=ASC", "Invalid input received: Unknown sort direction, must be 'asc' or 'desc'"},
		{"sort_key=name&sort_dir=asc&sort_dir=desc", "Invalid input received: Sort direction size exceeds sort key size"},
		{"sort_dir=asc&sort_dir=desc", "Invalid input received: Sort direction size exceeds sort key size"},
	}
	for _, tt := range faults {
		t.Run(tt.query, func(t *testing.T) {
			s.ask("GET", "/v1/segments?"+tt.query, nil).wantFault(400, tt.want)
		})
	}
}

func TestSegments(t *testing.T) {
	eachStore(t, testSegments)
}

func testSegments(t *testing.T, s *service) {
	t.Helper()
	id := s.segment("one")
	s.segment("two")
	path := "/v1/segments/" + id

	s.ask("GET", path, nil).wantStatus(200)
	for _, unknown := range []string{otherUUID, "nope", strings.ReplaceAll(id, "-", "")} {
		want := "No failover segment with id " + unknown + "."
		s.ask("GET", "/v1/segments/"+unknown, nil).wantFault(404, want)
		s.ask("PUT", "/v1/segments/"+unknown, `{"segment": {"name": "x"}}`).wantFault(404, want)
		s.ask("DELETE", "/v1/segments/"+unknown, nil).wantFault(404, want)
	}
	s.ask("PUT", path, `{"segment": {"name": "two"}}`).wantFault(409, "Failover segment with name two already exists.")

	// The same again leaves the record as it is.
	if got := s.ask("PUT", path, `{"segment": {"name": "one"}}`).wantStatus(200); got.at("segment.updated_at") != nil {
		t.Errorf("updated_at = %v after an update that changed nothing, want null", got.at("segment.updated_at"))
	}
	got := s.ask("PUT", path, `{"segment": {"name": "uno", "description": "a\nb", "recovery_method": "rh_priority", "service_type": "X", "enabled": "No"}}`,
		"OpenStack-API-Version", "instance-ha 1.2").wantStatus(200)
	if got.at("segment.updated_at") == nil || got.at("segment.enabled") != false || got.text("segment.description") != "a\nb" ||
		got.text("segment.name") != "uno" || got.text("segment.recovery_method") != "rh_priority" || got.text("segment.service_type") != "X" {
		t.Errorf("segment = %s", got.body)
	}
	if got := s.ask("PUT", path, `{"segment": {"description": null}}`).wantStatus(200); got.at("segment.description") != nil {
		t.Errorf("description = %v, want null", got.at("segment.description"))
	}

	// In use: unchangeable, until the notification is done with.
	s.host(id, "compute-1")
	n := s.notify("compute-1", "2026-11-23T00:00:00")
	s.ask("PUT", path, `{"segment": {"name": "x"}}`).wantFault(409, "Failover segment "+id+" can't be updated as it is in-use to process notifications.")
	s.ask("DELETE", path, nil).wantFault(409, "Failover segment ("+id+") can't be deleted as it is in-use to process notifications.")
	s.end(n, recovery.StatusFinished, "")
	s.ask("DELETE", path, nil).want(204, "")
	s.ask("GET", path, nil).wantStatus(404)
	// Its hosts went with it: the name is free.
	s.host(s.segment("three"), "compute-1")
}

func TestHosts(t *testing.T) {
	eachStore(t, testHosts)
}

func testHosts(t *testing.T, s *service) {
	t.Helper()
	segment, elsewhere := s.segment("here"), s.segment("elsewhere")
	base := "/v1/segments/" + segment + "/hosts"
	id := s.host(segment, "compute-1")
	body := func(name string) string {
		return `{"host": {"name": "` + name + `", "type": "COMPUTE", "control_attributes": "SSH"}}`
	}

	s.ask("GET", base+"/"+id, nil).wantStatus(200)
	s.ask("POST", base, body("ghost")).wantFault(400, "Compute service with name ghost could not be found.")
	s.ask("POST", base, body("compute-1")).wantFault(409, "Host with name compute-1 already exists.")
	s.ask("POST", "/v1/segments/"+elsewhere+"/hosts", body("compute-1")).wantFault(409, "Host with name compute-1 already exists.")
	s.ask("POST", "/v1/segments/"+otherUUID+"/hosts", body("compute-1")).wantFault(404, "No failover segment with id "+otherUUID+".")
	s.ask("GET", "/v1/segments/"+otherUUID+"/hosts", nil).wantFault(404, "No failover segment with id "+otherUUID+".")
	s.ask("GET", base+"/nope", nil).wantFault(404, "No host with id nope.")
	update := `{"host": {"control_attributes": "x"}}`
	for of, unknown := range map[string]string{segment: otherUUID, elsewhere: id, "nope": id} {
		want := "Host '" + unknown + "' under failover_segment '" + of + "' could not be found."
		path := "/v1/segments/" + of + "/hosts/" + unknown
		s.ask("GET", path, nil).wantFault(404, want)
		s.ask("PUT", path, update).wantFault(404, want)
		s.ask("DELETE", path, nil).wantFault(404, want)
	}

	// Nova is asked before the name is looked for.
	s.host(segment, "compute-2")
	s.nova.known = []string{"compute-3"}
	s.ask("POST", base, body("compute-1")).wantFault(400, "Compute service with name compute-1 could not be found.")
	s.nova.known = []string{"compute-1", "compute-2", "compute-3"}
	s.ask("PUT", base+"/"+id, `{"host": {"name": "ghost"}}`).wantFault(400, "Compute service with name ghost could not be found.")
	s.ask("PUT", base+"/"+id, `{"host": {"name": "compute-2"}}`).wantFault(409, "Host with name compute-2 already exists.")

	s.nova.err = &recovery.CloudError{Op: "list services", Status: 403, Message: "Policy doesn't allow os_compute_api:os-services:list to be performed.", Err: recovery.ErrForbidden}
	s.ask("POST", base, body("compute-3")).wantFault(403, "Policy doesn't allow os_compute_api:os-services:list to be performed.")
	s.nova.err = &recovery.CloudError{Op: "list services", Err: recovery.ErrUnavailable}
	s.ask("POST", base, body("compute-3")).wantFault(500, "The compute service could not be asked about host compute-3.")
	s.ask("PUT", base+"/"+id, update).wantStatus(200) // no name, no question
	s.nova.err = nil

	got := s.ask("PUT", base+"/"+id, `{"host": {"reserved": "yes", "on_maintenance": true, "type": ""}}`).wantStatus(200)
	if got.at("host.reserved") != true || got.at("host.on_maintenance") != true || got.text("host.control_attributes") != "x" || got.text("host.type") != "" {
		t.Errorf("host = %s", got.body)
	}

	lists := []struct{ query, want string }{
		{"", "compute-2 compute-1"},
		{"sort_key=name&sort_dir=asc", "compute-1 compute-2"},
		{"type=COMPUTE", "compute-2"},
		{"reserved=yes", "compute-1"},
		{"reserved=F", "compute-2"},
		{"on_maintenance=True", "compute-1"},
		{"on_maintenance=0", "compute-2"},
		{"name=compute-1", "compute-2 compute-1"},
		{"sort_key=reserved&limit=1", "compute-1"},
		{"sort_key=failover_segment_id", "compute-2 compute-1"},
	}
	for _, tt := range lists {
		if got := strings.Join(s.ask("GET", base+"?"+tt.query, nil).names("hosts", "name"), " "); got != tt.want {
			t.Errorf("hosts?%s = %s, want %s", tt.query, got, tt.want)
		}
	}
	s.ask("GET", base+"?sort_key=failover_segment", nil).wantFault(400, "InvalidSortKey('Sort key supplied is invalid: failover_segment')")
	words := "'0', '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'"
	s.ask("GET", base+"?reserved=zz", nil).wantFault(400, "Invalid value for reserved: Unrecognized value 'zz', acceptable values are: "+words)
	s.ask("GET", base+"?on_maintenance=", nil).wantFault(400, "Invalid value for on_maintenance: Unrecognized value '', acceptable values are: "+words)

	// In use: the other hosts of the segment cannot be changed, one more can come.
	n := s.notify("compute-2", "2026-11-23T00:00:00")
	s.ask("PUT", base+"/"+id, update+" ").wantFault(409, "Host "+id+" can't be updated as it is in-use to process notifications.")
	s.ask("PUT", base+"/"+id, `{"host": {"name": "ghost"}}`).wantFault(409, "Host "+id+" can't be updated as it is in-use to process notifications.")
	s.ask("DELETE", base+"/"+id, nil).wantFault(409, "Host "+id+" can't be deleted as it is in-use to process notifications.")
	s.host(segment, "compute-3")
	s.end(n, recovery.StatusIgnored, "")
	s.ask("DELETE", base+"/"+id, nil).want(204, "")
	s.ask("GET", base+"/"+id, nil).wantStatus(404)
}

// Clocks of nodes differ: the newest by its number need not be the one that was
// created last. Each page is what that part of the whole list is.
func TestNotificationsOfClocksThatDiffer(t *testing.T) {
	s := serve(t)
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for i := range 60 {
		n := recovery.Notification{
			UUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), Type: recovery.VM, Status: recovery.StatusNew, Generated: at, Payload: json.RawMessage(`{}`),
			Stamp: recovery.Stamp{ID: int64(i + 1), Created: at.Add(time.Duration(i) * time.Second / 2)},
		}
		if i%7 == 3 { // its node's clock is behind, or before
			n.Stamp.Created = n.Stamp.Created.Add(time.Duration(i%3-1) * 9 * time.Second)
		}
		s.store.notifications = append(s.store.notifications, n)
	}
	want := slices.Clone(s.store.notifications)
	slices.SortFunc(want, func(a, b recovery.Notification) int {
		if n := b.Stamp.Created.Truncate(time.Second).Compare(a.Stamp.Created.Truncate(time.Second)); n != 0 {
			return n
		}
		return int(b.Stamp.ID - a.Stamp.ID)
	})
	for _, limit := range []int{1, 2, 7, 60} {
		var got []string
		marker := ""
		for {
			path := fmt.Sprintf("/v1/notifications?limit=%d%s", limit, marker)
			var page struct {
				Notifications []struct {
					ID   int64  `json:"id"`
					UUID string `json:"notification_uuid"`
				}
			}
			if err := json.Unmarshal([]byte(s.ask("GET", path, nil).wantStatus(200).body), &page); err != nil {
				t.Fatal(err)
			}
			if len(page.Notifications) == 0 {
				break
			}
			for _, n := range page.Notifications {
				got = append(got, n.UUID)
				marker = fmt.Sprintf("&marker=%d", n.ID)
			}
		}
		if !slices.EqualFunc(got, want, func(a string, b recovery.Notification) bool { return a == b.UUID }) {
			t.Errorf("pages of %d: %q", limit, got)
		}
	}
}

func TestNotifications(t *testing.T) {
	eachStore(t, testNotifications)
}

func testNotifications(t *testing.T, s *service) {
	t.Helper()
	segment := s.segment("n")
	host := s.host(segment, "compute-1")
	first := s.notify("compute-1", "2026-11-23T10:00:00.25+02:00")
	path := "/v1/notifications"

	got := s.ask("GET", path+"/"+first, nil).wantStatus(200)
	for field, want := range map[string]string{
		"generated_time": "2026-11-23T08:00:00.250000", "source_host_uuid": host, "failover_segment_uuid": segment, "status": "new", "type": "COMPUTE_HOST",
	} {
		if v := got.text("notification." + field); v != want {
			t.Errorf("%s = %q, want %q", field, v, want)
		}
	}
	if strings.Contains(got.body, "recovery_workflow_details") {
		t.Errorf("details at 1.0: %s", got.body)
	}
	for _, unknown := range []string{otherUUID, "nope"} {
		s.ask("GET", path+"/"+unknown, nil).wantFault(404, "No notification with id "+unknown+".")
	}

	duplicate := "Notification received from host compute-1 of type COMPUTE_HOST is duplicate."
	s.ask("POST", path, notification("compute-1", "2026-11-23T08:00:00.25")).wantFault(409, duplicate)
	s.ask("POST", path, notification("compute-1", "2026-11-23T08:03:00")).wantFault(409, duplicate)
	s.ask("POST", path, notification("compute-1", "2026-11-22T08:00:00")).wantFault(409, duplicate)
	s.ask("POST", path, `{"notification": {"type": "COMPUTE_HOST", "hostname": "compute-1", "generated_time": "2026-11-23T08:00:00",
		"payload": {"cluster_status": "OFFLINE", "host_status": "NORMAL", "event": "STOPPED"}}}`).wantFault(409, duplicate)
	second := s.notify("compute-1", "2026-11-23T08:03:01")

	// Maintenance goes before duplication.
	s.end(first, recovery.StatusFinished, "")
	s.end(second, recovery.StatusFailed, "no host left")
	s.ask("PUT", "/v1/segments/"+segment+"/hosts/"+host, `{"host": {"on_maintenance": true}}`).wantStatus(200)
	s.ask("POST", path, notification("compute-1", "2026-11-23T08:00:00.25")).
		wantFault(409, "Notification received from host compute-1 of type 'COMPUTE_HOST' is ignored as the host is already under maintenance.")
	s.ask("POST", path, notification("ghost", "2026-11-23T08:00:00")).wantFault(400, "Host with name ghost could not be found.")
	if got := s.ask("GET", path+"/"+second, nil).text("notification.message"); got != "no host left" {
		t.Errorf("message = %q", got)
	}

	lists := []struct{ query, want string }{
		{"", second + " " + first},
		{"sort_key=generated_time&sort_dir=asc", first + " " + second},
		{"status=failed", second},
		{"status=new", ""},
		{"type=VM", ""},
		{"type=COMPUTE_HOST&limit=1", second},
		{"source_host_uuid=" + host, second + " " + first},
		{"source_host_uuid=" + otherUUID, ""},
		{"generated-since=2020-01-01", second + " " + first},
		{"generated-since=2026-11-23T08:03:01", second},
		{"generated-since=" + url.QueryEscape("2026-11-23T10:03:01+02:00"), second},
		{"generated-since=2030", ""},
		{"sort_key=payload&sort_key=message&sort_dir=asc", first + " " + second},
	}
	for _, tt := range lists {
		if got := strings.Join(s.ask("GET", path+"?"+tt.query, nil).names("notifications", "notification_uuid"), " "); got != tt.want {
			t.Errorf("notifications?%s = %s, want %s", tt.query, got, tt.want)
		}
	}
	s.ask("GET", path+"?generated-since=yesterday", nil).wantFault(400, "Invalid generated-since value")
}

// TestVerdict stores what needs no recovery with its end, at once, and tells
// the sender what senders are told.
func TestVerdict(t *testing.T) {
	eachStore(t, testVerdict, func(c *api.Config) {
		c.Masakari.Verdict = func(n recovery.Notification) (recovery.NotificationStatus, string) {
			if n.PayloadText("vir_domain_event") == "STOPPED_DESTROYED" {
				return recovery.StatusIgnored, "no flow answers it"
			}
			return "", ""
		}
	})
}

func testVerdict(t *testing.T, s *service) {
	t.Helper()
	s.host(s.segment("v"), "compute-1")
	body := `{"notification": {"type": "VM", "hostname": "compute-1", "generated_time": "2026-11-23",
		"payload": {"event": "LIFECYCLE", "instance_uuid": "` + otherUUID + `", "vir_domain_event": "%s"}}}`
	for event, want := range map[string]string{"STOPPED_DESTROYED": "ignored", "STOPPED_FAILED": "new"} {
		got := s.ask("POST", "/v1/notifications", fmt.Sprintf(body, event)).wantStatus(202)
		if got.text("notification.status") != "new" || got.at("notification.message") != nil {
			t.Errorf("%s: answer = %s, want a new one", event, got.body)
		}
		id := got.text("notification.notification_uuid")
		if status := s.ask("GET", "/v1/notifications/"+id, nil).text("notification.status"); status != want {
			t.Errorf("%s: status = %s, want %s", event, status, want)
		}
		s.ask("POST", "/v1/notifications", fmt.Sprintf(body, event)).wantFault(409, "Notification received from host compute-1 of type VM is duplicate.")
	}
	if s.real == nil {
		return
	}
	queue, err := s.real.Queue(t.Context())
	if err != nil || len(queue) != 1 {
		t.Errorf("queue = %v, %v; want the one that needs a run", queue, err)
	}
}

// TestOrigin keeps with a notification the request and trace that brought it.
func TestOrigin(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	tests := []struct {
		name, header string
		change       func(*api.Config)
		want         string
	}{
		{"none", "", func(*api.Config) {}, ""},
		{"the client's", parent, func(*api.Config) {}, parent},
		{"nonsense", "00-zz", func(*api.Config) {}, ""},
		{"the server's span", parent, func(c *api.Config) {
			c.Trace = func(context.Context) string { return "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01" }
		}, "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, tt.change)
			s.host(s.segment("o"), "compute-1")
			id := s.ask("POST", "/v1/notifications", notification("compute-1", "2026-11-23"), "Traceparent", tt.header).
				wantStatus(202).header.Get("X-Openstack-Request-Id")
			if n := s.store.notifications[0]; n.Trace != tt.want || n.RequestID != id {
				t.Errorf("trace %q, request %q; want %q, %q", n.Trace, n.RequestID, tt.want, id)
			}
		})
	}
}

func TestDetails(t *testing.T) {
	at := func(seconds int) time.Time { return time.Date(2026, 11, 23, 0, 17, seconds, 48352000, time.UTC) }
	tests := []struct {
		name  string
		tasks []recovery.TaskRecord
		want  string
	}{
		{"nothing ran", nil, `[]`},
		{"a task of each kind", []recovery.TaskRecord{
			{Key: "disable", Class: "DisableComputeServiceTask", Status: recovery.TaskSucceeded, Started: at(1), Ended: at(2), Progress: []recovery.Progress{
				{Time: at(1), Permille: 0, Message: "Disabling"}, {Time: at(2), Permille: 1000, Message: "Disabled"},
			}},
			{Key: "custom", Status: recovery.TaskRunning, Started: at(3), Progress: []recovery.Progress{{Time: at(3), Permille: 375, Message: "half"}}},
			{Key: "silent", Class: "Silent", Status: recovery.TaskSucceeded, Started: at(4), Ended: at(5)},
			{Key: "waiting", Status: recovery.TaskPending},
		}, `[{"name":"DisableComputeServiceTask","progress":1.0,"state":"SUCCESS","progress_details":[` +
			`{"timestamp":"2026-11-23 00:17:01.048352","progress":"0.0","message":"Disabling"},` +
			`{"timestamp":"2026-11-23 00:17:02.048352","progress":"1.0","message":"Disabled"}]},` +
			`{"name":"custom","progress":0.375,"state":"RUNNING","progress_details":[{"timestamp":"2026-11-23 00:17:03.048352","progress":"0.375","message":"half"}]},` +
			`{"name":"Silent","progress":1.0,"state":"SUCCESS","progress_details":[]},` +
			`{"name":"waiting","progress":0.0,"state":"PENDING","progress_details":[]}]`},
		{"failures", []recovery.TaskRecord{
			{Key: "a", Status: recovery.TaskFailed, Message: "no route", Ended: at(9), Progress: []recovery.Progress{{Time: at(8), Permille: 500, Message: "trying"}}},
			{Key: "b", Status: recovery.TaskInterrupted, Message: "stopped", Ended: at(9)},
			{Key: "c", Status: recovery.TaskNothingToDo, Message: "no servers", Ended: at(9)},
			{Key: "d", Status: recovery.TaskIgnored, Message: "not tagged", Ended: at(9)},
		}, `[{"name":"a","progress":0.5,"state":"FAILURE","progress_details":[{"timestamp":"2026-11-23 00:17:08.048352","progress":"0.5","message":"trying"},` +
			`{"timestamp":"2026-11-23 00:17:09.048352","progress":"0.5","message":"no route"}]},` +
			`{"name":"b","progress":0.0,"state":"FAILURE","progress_details":[{"timestamp":"2026-11-23 00:17:09.048352","progress":"0.0","message":"stopped"}]},` +
			`{"name":"c","progress":1.0,"state":"SUCCESS","progress_details":[{"timestamp":"2026-11-23 00:17:09.048352","progress":"1.0","message":"no servers"}]},` +
			`{"name":"d","progress":1.0,"state":"SUCCESS","progress_details":[{"timestamp":"2026-11-23 00:17:09.048352","progress":"1.0","message":"not tagged"}]}]`},
		{"reverts", []recovery.TaskRecord{
			{Key: "a", Status: recovery.TaskReverted, Ended: at(1), Revert: &recovery.RevertRecord{Of: recovery.TaskSucceeded, Started: at(5), Ended: at(6)}},
			{Key: "b", Status: recovery.TaskReverting, Ended: at(4), Revert: &recovery.RevertRecord{Of: recovery.TaskFailed, Reason: "no route", Started: at(5)}},
			{Key: "c", Status: recovery.TaskRevertFailed, Message: "gone", Ended: at(1), Revert: &recovery.RevertRecord{Of: recovery.TaskSucceeded, Started: at(5), Ended: at(6)}},
		}, `[{"name":"a","progress":1.0,"state":"REVERTED","progress_details":[]},` +
			`{"name":"b","progress":0.0,"state":"REVERTING","progress_details":[{"timestamp":"2026-11-23 00:17:05.048352","progress":"0.0","message":"no route"}]},` +
			`{"name":"c","progress":1.0,"state":"REVERT_FAILURE","progress_details":[{"timestamp":"2026-11-23 00:17:06.048352","progress":"1.0","message":"gone"}]}]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t)
			s.host(s.segment("d"), "compute-1")
			id := s.notify("compute-1", "2026-11-23")
			half := len(tt.tasks) / 2
			s.store.change(func() {
				// Two runs, one after the other, and one that is too old to be kept.
				s.store.notifications[0].Runs = []string{"forgotten", "first", "second"}
				s.store.tasks["first"], s.store.tasks["second"] = tt.tasks[:half], tt.tasks[half:]
			})
			for _, v := range []string{"1.1", "latest"} {
				got := s.ask("GET", "/v1/notifications/"+id, nil, "OpenStack-API-Version", "instance-ha "+v).wantStatus(200)
				_, details, _ := strings.Cut(got.body, `"recovery_workflow_details":`)
				if details = strings.TrimSuffix(details, "}}"); details != tt.want {
					t.Errorf("details at %s = %s\nwant %s", v, details, tt.want)
				}
			}
			// Lists have none, at no version.
			if got := s.ask("GET", "/v1/notifications", nil, "OpenStack-API-Version", "instance-ha 1.3"); strings.Contains(got.body, "workflow") {
				t.Errorf("list = %s, want no details", got.body)
			}
		})
	}
}

func TestVMoves(t *testing.T) {
	s := serve(t)
	s.host(s.segment("m"), "compute-1")
	id := s.notify("compute-1", "2026-11-23")
	vm := s.ask("POST", "/v1/notifications", `{"notification": {"type": "VM", "hostname": "compute-1", "generated_time": "2026-11-23",
		"payload": {"event": "x", "instance_uuid": "`+otherUUID+`", "vir_domain_event": "y"}}}`).wantStatus(202).text("notification.notification_uuid")
	stamp := func(n int64) recovery.Stamp {
		return recovery.Stamp{ID: n, Created: time.Date(2026, 11, 23, 0, 17, 32, 999, time.UTC), Updated: time.Date(2026, 11, 23, 0, 17, 33, 0, time.UTC)}
	}
	one, two := "e3bce6c6-7eb6-4b1b-99d5-8d76c2a07f2a", "e3bce6c6-7eb6-4b1b-99d5-8d76c2a07f2b"
	s.store.change(func() {
		s.store.vmoves = []recovery.VMove{
			{
				UUID: one, NotificationUUID: id, InstanceUUID: otherUUID, InstanceName: "vm-b", Type: "evacuation", Status: recovery.VMoveSucceeded, SourceHost: "compute-1",
				DestHost: "compute-9", StartTime: "2026-11-23T00:17:32.988226Z", EndTime: "2026-11-23T01:17:33.475379+01:00", Attempt: 1, Stamp: stamp(2),
			},
			{UUID: two, NotificationUUID: id, InstanceUUID: otherUUID, Type: "evacuation", Status: recovery.VMovePending, SourceHost: "compute-1", Attempt: 2, Stamp: recovery.Stamp{ID: 3, Created: stamp(3).Created}},
		}
	})
	path := "/v1/notifications/" + id + "/vmoves"
	s.ask("GET", path+"/"+one, nil).want(200, `{"vmove":{"id":2,"uuid":"`+one+`","notification_uuid":"`+id+`","instance_uuid":"`+otherUUID+`","instance_name":"vm-b",`+
		`"source_host":"compute-1","dest_host":"compute-9","start_time":"2026-11-23T00:17:32.988226","end_time":"2026-11-23T00:17:33.475379",`+
		`"type":"evacuation","status":"succeeded","message":null,"created_at":"2026-11-23T00:17:32.000000","updated_at":"2026-11-23T00:17:33.000000","deleted_at":null,"deleted":false}}`)
	if got := s.ask("GET", path+"/"+two, nil); got.at("vmove.dest_host") != nil || got.at("vmove.start_time") != nil || got.at("vmove.end_time") != nil {
		t.Errorf("vmove = %s, want null for what is not known", got.body)
	}
	for query, want := range map[string][]string{
		"": {two, one}, "sort_dir=asc": {one, two}, "status=pending": {two}, "type=migration": {}, "marker=3": {one}, "sort_key=end_time&sort_dir=asc": {two, one},
	} {
		if got := s.ask("GET", path+"?"+query, nil).names("vmoves", "uuid"); !slices.Equal(got, want) {
			t.Errorf("vmoves?%s = %q, want %q", query, got, want)
		}
	}
	s.ask("GET", path+"/"+otherUUID, nil).wantFault(404, "No vm move with id "+otherUUID+".")
	s.ask("GET", path+"/nope", nil).wantFault(404, "No vm move with id nope.")
	s.ask("GET", "/v1/notifications/"+vm+"/vmoves", nil).wantFault(400, "This notification "+vm+" without vm moves.")
	s.ask("GET", "/v1/notifications/"+vm+"/vmoves/"+one, nil).wantFault(400, "This notification "+vm+" without vm moves.")
	s.ask("GET", "/v1/notifications/"+otherUUID+"/vmoves", nil).wantFault(404, "No notification with id "+otherUUID+".")
	s.ask("GET", "/v1/notifications/"+otherUUID+"/vmoves/"+one, nil).wantFault(404, "No notification with id "+otherUUID+".")
}
