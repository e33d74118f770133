package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/store"
)

// serving is a wasakari serve in this process.
type serving struct {
	url  string
	stop func() result // asks it to end, and gives what came of it
}

var servesAt = regexp.MustCompile(`answers at (\S+)/v1`)

// serve starts one, and stops it at the test's end.
func (p *place) serve(t *testing.T, args ...string) serving {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	told, ended := make(chan string, 1), make(chan result, 1)
	var printed bytes.Buffer
	p.stdout = func(b []byte) {
		printed.Write(b)
		if m := servesAt.FindSubmatch(printed.Bytes()); m != nil {
			select {
			case told <- string(m[1]):
			default:
			}
		}
	}
	go func() { ended <- p.run(ctx, t, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...) }()
	s := serving{}
	var last *result
	s.stop = func() result {
		if last == nil {
			cancel()
			r := <-ended
			last = &r
		}
		return *last
	}
	t.Cleanup(func() { s.stop() })
	select {
	case s.url = <-told:
	case r := <-ended:
		last = &r
		t.Fatalf("serve ended with %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	return s
}

// reply is what was answered, without its body.
type reply struct {
	Status     string
	StatusCode int
	Header     http.Header
}

// ask sends a request and decodes the answer.
func (s serving) ask(t *testing.T, method, path, body string, header http.Header, into any) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("OpenStack-API-Version", "instance-ha 1.3")
	maps.Copy(req.Header, header)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("%s %s: %s: %v\n%s", method, path, resp.Status, err, text)
		}
	}
	return reply{resp.Status, resp.StatusCode, resp.Header}
}

type notificationDoc struct {
	Notification struct {
		UUID    string `json:"notification_uuid"`
		Status  string
		Message *string
		Details []struct{ Name, State string } `json:"recovery_workflow_details"`
	}
}

// deadHost tells of a host that died.
func deadHost(host string) string {
	return fmt.Sprintf(`{"notification": {"type": "COMPUTE_HOST", "hostname": %q, "generated_time": "2026-11-23T10:00:00",
		"payload": {"event": "STOPPED", "host_status": "NORMAL", "cluster_status": "OFFLINE"}}}`, host)
}

// final waits until the notification has a final status.
func (s serving) final(t *testing.T, uuid string) notificationDoc {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var doc notificationDoc
		s.ask(t, "GET", "/v1/notifications/"+uuid, "", nil, &doc)
		switch doc.Notification.Status {
		case "finished", "ignored", "failed":
			return doc
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("notification %s is still %s", uuid, doc.Notification.Status)
		}
	}
}

// TestServeSimulated recovers a host that is reported as the help says.
func TestServeSimulated(t *testing.T) {
	p := newPlace(t, nil)
	s := p.serve(t, "--simulate")
	var segments struct {
		Segments []struct{ UUID, Name string }
	}
	resp := s.ask(t, "GET", "/v1/segments", "", nil, &segments)
	if len(segments.Segments) != 1 || segments.Segments[0].Name != "demo" {
		t.Fatalf("segments = %+v, want demo", segments)
	}
	if got := resp.Header.Get("X-Wasakari-Simulated"); got != "true" {
		t.Errorf("X-Wasakari-Simulated = %q, want true", got)
	}
	var sent notificationDoc
	if resp := s.ask(t, "POST", "/v1/notifications", deadHost("compute-1"), nil, &sent); resp.StatusCode != http.StatusAccepted {
		t.Fatalf("POST: %s, %+v", resp.Status, sent)
	}
	done := s.final(t, sent.Notification.UUID)
	if done.Notification.Status != "finished" || len(done.Notification.Details) != 3 {
		t.Errorf("notification: %+v, want it finished in three tasks", done)
	}
	var moves struct {
		VMoves []struct {
			Status string
			Dest   string `json:"dest_host"`
		}
	}
	s.ask(t, "GET", "/v1/notifications/"+sent.Notification.UUID+"/vmoves", "", nil, &moves)
	if len(moves.VMoves) != 20 {
		t.Errorf("%d vmoves, want 20", len(moves.VMoves))
	}
	for _, m := range moves.VMoves {
		if m.Status != "succeeded" || m.Dest == "" || m.Dest == "compute-1" {
			t.Errorf("vmove %+v, want it succeeded elsewhere", m)
		}
	}
	if resp := s.ask(t, "POST", "/v1/notifications", deadHost("compute-1"), nil, nil); resp.StatusCode != http.StatusConflict {
		t.Errorf("the same notification again: %s, want 409", resp.Status)
	}
	for name, header := range map[string]http.Header{"origin": {"Origin": {"http://evil.example"}}} {
		if resp := s.ask(t, "GET", "/v1/segments", "", header, nil); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s, want 403", name, resp.Status)
		}
	}
	var runs struct{ Runs []struct{ ID, Status string } }
	r := p.run(t.Context(), t, "runs", "list", "--server", s.url, "--output", "json")
	if err := json.Unmarshal([]byte(r.stdout), &runs); err != nil || r.code != 0 || len(runs.Runs) != 1 || runs.Runs[0].Status != "finished" {
		t.Errorf("runs list: %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	if r := s.stop(); r.code != 0 {
		t.Errorf("exit code %d, want 0\n%s", r.code, r.stderr)
	}
}

// TestServeRefuses starts nothing that could not work or be trusted.
func TestServeRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"no cloud", nil, "no cloud to act on; name one with --os-cloud, set OS_CLOUD or OS_AUTH_URL, set os_privileged_user_auth_url in the configuration, or try --simulate"},
		{"open to the world", []string{"--simulate", "--listen", "0.0.0.0:0"}, "--listen 0.0.0.0:0: with --simulate nobody has to log in, so it listens on loopback only; name 127.0.0.1 or [::1]"},
		{"no address", []string{"--simulate", "--listen", "here"}, "--listen here: want host:port, such as 127.0.0.1:15868"},
		{
			"nobody logs in",
			[]string{"--set", "DEFAULT.auth_strategy=noauth2", "--set", "DEFAULT.os_privileged_user_auth_url=http://127.0.0.1:1/v3", "--set", "DEFAULT.os_privileged_user_name=a", "--set", "DEFAULT.os_privileged_user_password=b"},
			"0.0.0.0:15868: with [DEFAULT] auth_strategy = noauth2 nobody has to log in, so it listens on loopback only; set masakari_api_listen = 127.0.0.1, or auth_strategy = keystone",
		},
		{"two clouds", []string{"--simulate", "--os-cloud", "x"}, "--simulate and --os-cloud: choose one"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newPlace(t, nil).run(t.Context(), t, append([]string{"serve"}, tc.args...)...)
			if want := "wasakari: " + tc.want + "\n"; r.code != exitUsage || r.stderr != want {
				t.Errorf("exit code %d, %q, want %d, %q", r.code, r.stderr, exitUsage, want)
			}
		})
	}
}

// TestServeOneFolder lets one process have the folder of a store.
func TestServeOneFolder(t *testing.T) {
	p := newPlace(t, nil)
	p.serve(t, "--simulate", "--store-dir", filepath.Join(p.dir, "store"))
	r := p.run(t.Context(), t, "serve", "--simulate", "--listen", "127.0.0.1:0", "--store-dir", "DIR/store")
	if r.code != exitUsage || !strings.Contains(r.stderr, "DIR/store") {
		t.Errorf("exit code %d, %q, want %d and the folder named", r.code, r.stderr, exitUsage)
	}
}

// Who is asked to stop before he answers has not failed.
func TestServeStoppedWhileItStarts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := newPlace(t, nil).run(ctx, t, "serve", "--simulate", "--listen", "127.0.0.1:0"); r.code != exitOK {
		t.Errorf("exit code %d, want %d\n%s", r.code, exitOK, r.stderr)
	}
}

// A host that was repaired is taken back into service, and what was done is
// told; one that is down is not.
func TestHostRepaired(t *testing.T) {
	p := newPlace(t, nil)
	s := p.serve(t, "--simulate", "--state-dir", "DIR/state")
	p.stdout = nil
	var segments struct{ Segments []struct{ UUID string } }
	s.ask(t, "GET", "/v1/segments", "", nil, &segments)
	var hosts struct{ Hosts []struct{ UUID, Name string } }
	all := "/v1/segments/" + segments.Segments[0].UUID + "/hosts"
	s.ask(t, "GET", all, "", nil, &hosts)
	for _, h := range hosts.Hosts {
		if h.Name == "compute-4" {
			s.ask(t, "PUT", all+"/"+h.UUID, `{"host": {"on_maintenance": true}}`, nil, nil)
		}
	}
	var sent notificationDoc
	s.ask(t, "POST", "/v1/notifications", deadHost("compute-2"), nil, &sent)
	s.final(t, sent.Notification.UUID)
	for _, tt := range []struct {
		host   string
		code   int
		stdout string
		stderr string
	}{
		{"compute-4", exitOK, "compute-4: its maintenance in segment " + segments.Segments[0].UUID + " ended\ncompute-4: its nova-compute service was enabled; it had been disabled: reserved host\n", ""},
		{"compute-4", exitOK, "compute-4: nothing had to be done\n", ""},
		{"compute-2", exitFailed, "", "wasakari: Nova sees nova-compute on compute-2 down; start the host and nova-compute on it, and try again when openstack compute service list shows it up\n"},
		{"compute-9", exitFailed, "", "wasakari: no segment has a host compute-9; names are as openstack segment host list shows them\n"},
	} {
		says(t, p.run(t.Context(), t, "host", "repaired", tt.host, "--server", s.url), tt.code, tt.stdout, tt.stderr)
	}
	lines, err := os.ReadFile(filepath.Join(p.dir, "state", "audit.log"))
	for _, want := range []string{`"op":"nova.service_enable","target":"compute-4","outcome":"done"`, `"op":"repairedHost","target":"compute-2","outcome":"refused"`} {
		if err != nil || !strings.Contains(string(lines), want) {
			t.Errorf("audit log, %v, lacks %s:\n%s", err, want, lines)
		}
	}
}

// hostBack tells of a host that came back.
func hostBack(host string) string {
	return strings.NewReplacer("STOPPED", "STARTED", "OFFLINE", "ONLINE").Replace(deadHost(host))
}

// onMaintenance tells whether a host is on maintenance.
func (s serving) onMaintenance(t *testing.T, name string) bool {
	t.Helper()
	var segments struct{ Segments []struct{ UUID string } }
	s.ask(t, "GET", "/v1/segments", "", nil, &segments)
	for _, seg := range segments.Segments {
		var hosts struct {
			Hosts []struct {
				Name string
				On   bool `json:"on_maintenance"`
			}
		}
		s.ask(t, "GET", "/v1/segments/"+seg.UUID+"/hosts", "", nil, &hosts)
		for _, h := range hosts.Hosts {
			if h.Name == name {
				return h.On
			}
		}
	}
	t.Fatalf("no host %s", name)
	return false
}

// A host fails, is recovered, and is reported to be back: with [host_repair] it is
// taken into service again, by the flow of the operator's.
func TestHostRepairFlow(t *testing.T) {
	sim, environ := startCloud(t, strings.Replace(quickCloud, "compute-1, state: down", "compute-1", 1)+"service_down_time: 1s\n", novasim.Options{})
	p := newPlace(t, nil)
	p.environ = environ
	service := func(host string) novasim.ServiceState {
		for _, s := range sim.Services() {
			if s.Host == host {
				return s
			}
		}
		t.Fatalf("no host %s", host)
		return novasim.ServiceState{}
	}
	s := p.serve(t, "--state-dir", "DIR/state", "--set", "DEFAULT.auth_strategy=noauth2", "--set", "host_repair.enabled=true", "--set", "guards.hosts=1")
	var seg struct{ Segment struct{ UUID string } }
	s.ask(t, "POST", "/v1/segments", `{"segment": {"name": "s", "service_type": "COMPUTE", "recovery_method": "auto"}}`, nil, &seg)
	for _, host := range []string{"compute-1", "compute-2", "compute-3"} {
		s.ask(t, "POST", "/v1/segments/"+seg.Segment.UUID+"/hosts", `{"host": {"name": "`+host+`", "type": "COMPUTE", "control_attributes": "x"}}`, nil, nil)
	}
	report := func(body string) notificationDoc {
		t.Helper()
		var sent notificationDoc
		if r := s.ask(t, "POST", "/v1/notifications", body, nil, &sent); r.StatusCode != http.StatusAccepted {
			t.Fatalf("notification: %s", r.Status)
		}
		return s.final(t, sent.Notification.UUID)
	}
	if err := sim.FailHost("compute-1"); err != nil {
		t.Fatal(err)
	}
	if got := report(deadHost("compute-1")).Notification; got.Status != "finished" || !service("compute-1").Disabled || !s.onMaintenance(t, "compute-1") {
		t.Fatalf("the recovery: %+v, service %+v", got, service("compute-1"))
	}
	// It was fenced, and is reported to be back before nova-compute has been started:
	// Nova refuses to take it back so soon.
	if err := sim.ForceDown("compute-1", true); err != nil {
		t.Fatal(err)
	}
	stdout := p.stdout
	p.stdout = nil
	says(t, p.run(t.Context(), t, "host", "repaired", "compute-1", "--server", s.url), exitFailed, "",
		"wasakari: nova-compute on compute-1 has not cleaned up after servers that were moved away (8); start the host and nova-compute on it, and try again\n")
	p.stdout = stdout
	if !s.onMaintenance(t, "compute-1") {
		t.Error("a host that was not taken back is not on maintenance any more")
	}
	var back notificationDoc
	s.ask(t, "POST", "/v1/notifications", hostBack("compute-1"), nil, &back)
	awaitRequest(t, sim, "the host to be taken back", func(r novasim.Request) bool {
		return strings.Contains(r.Body, `"forced_down":false`) && r.Status == 400
	})
	if err := sim.HealHost("compute-1"); err != nil {
		t.Fatal(err)
	}
	got := s.final(t, back.Notification.UUID).Notification
	if s1 := service("compute-1"); got.Status != "finished" || len(got.Details) != 1 || got.Details[0].Name != "EnableComputeServiceTask" || s1.Disabled || s1.ForcedDown || !s1.Up {
		t.Errorf("the repair: %+v, service %+v", got, s1)
	}
	if s.onMaintenance(t, "compute-1") {
		t.Error("the repaired host is still on maintenance")
	}
	lines, err := os.ReadFile(filepath.Join(p.dir, "state", "audit.log"))
	for _, want := range []string{
		`"kind":"ha","op":"ha.host_update","target":"compute-1","outcome":"done","message":"on_maintenance true, reserved false"`,
		`"kind":"ha","op":"ha.host_update","target":"compute-1","outcome":"done","message":"on_maintenance false"`,
		`"kind":"ha","op":"ha.vmove_put"`, `"task":"enable_compute_service_task"`, `"task":"engine"`,
	} {
		if err != nil || !strings.Contains(string(lines), want) {
			t.Errorf("audit log, %v, lacks %s:\n%s", err, want, lines)
		}
	}

	// What somebody else disabled is his, and the run says so.
	if err := sim.DisableService("compute-3", true, "new disks"); err != nil {
		t.Fatal(err)
	}
	got = report(hostBack("compute-3")).Notification
	if got.Status != "finished" || !service("compute-3").Disabled || service("compute-3").DisabledReason != "new disks" {
		t.Errorf("a host that somebody else disabled: %+v, service %+v", got, service("compute-3"))
	}
	p.stdout = nil
	const why = "was not disabled by a recovery (new disks), and is left as it is"
	if r := p.run(t.Context(), t, "runs", "list", "--server", s.url); !strings.Contains(r.stdout, why) {
		t.Errorf("runs list: %+v", r)
	}
	if r := p.run(t.Context(), t, "flow", "show", "host-repair", "--server", s.url); !strings.Contains(r.stdout, "host-repair (default)") || !strings.Contains(r.stdout, "enable_compute_service_task  standard") {
		t.Errorf("flow show: %+v", r)
	}
}

// Without [host_repair] a client sees what Masakari does.
func TestHostRepairIsOff(t *testing.T) {
	p := newPlace(t, nil)
	s := p.serve(t, "--simulate", "--state-dir", "DIR/state")
	var sent notificationDoc
	s.ask(t, "POST", "/v1/notifications", deadHost("compute-2"), nil, &sent)
	s.final(t, sent.Notification.UUID)
	if r := s.ask(t, "POST", "/v1/notifications", hostBack("compute-2"), nil, nil); r.StatusCode != http.StatusConflict {
		t.Errorf("a host on maintenance that is back: %s, want 409", r.Status)
	}
	s.ask(t, "POST", "/v1/notifications", hostBack("compute-3"), nil, &sent)
	if got := s.final(t, sent.Notification.UUID).Notification; got.Status != "finished" || len(got.Details) != 0 {
		t.Errorf("a host that is back: %+v, want it finished without a run", got)
	}
	p.stdout = nil
	if r := p.run(t.Context(), t, "flow", "show", "host-repair", "--server", s.url); !strings.Contains(r.stdout, "host-repair (default; off, see [host_repair] enabled)") {
		t.Errorf("flow show: %+v", r)
	}
}

// By hand, the flow takes back what a run from the same state folder did.
func TestHostRepairByHand(t *testing.T) {
	sim, environ := startCloud(t, quickCloud, novasim.Options{})
	p := newPlace(t, nil)
	p.environ = environ
	for _, flow := range []string{"host-auto", "host-repair"} {
		if flow == "host-repair" {
			r := p.run(t.Context(), t, "run", flow, "--input", "host_name=compute-1", "--state-dir", "DIR/state", "--dry-run")
			if r.code != exitOK || !strings.Contains(r.stdout, "nova.service_enable") || !sim.Services()[0].Disabled {
				t.Errorf("dry run: %+v, service %+v", r, sim.Services()[0])
			}
		}
		if r := p.run(t.Context(), t, "run", flow, "--input", "host_name=compute-1", "--state-dir", "DIR/state"); r.code != exitOK {
			t.Fatalf("%s: %+v", flow, r)
		}
		if s := sim.Services()[0]; s.Disabled != (flow == "host-auto") {
			t.Errorf("%s: service %+v", flow, s)
		}
		if err := sim.HealHost("compute-1"); err != nil {
			t.Fatal(err)
		}
	}
}

// The simulated cloud plays it through.
func TestHostRepairSimulated(t *testing.T) {
	p := newPlace(t, nil)
	s := p.serve(t, "--simulate", "--state-dir", "DIR/state", "--set", "host_repair.enabled=true")
	for _, body := range []string{deadHost("compute-2"), hostBack("compute-2")} {
		var sent notificationDoc
		s.ask(t, "POST", "/v1/notifications", body, nil, &sent)
		if got := s.final(t, sent.Notification.UUID).Notification; got.Status != "finished" || len(got.Details) == 0 {
			t.Errorf("%s\n%+v", body, got)
		}
	}
	if s.onMaintenance(t, "compute-2") {
		t.Error("compute-2 is still on maintenance")
	}
}

// A service that has the folder takes a backup itself.
func TestBackupOfALiveServer(t *testing.T) {
	p := newPlace(t, nil)
	s := p.serve(t, "--simulate", "--state-dir", "DIR/state")
	p.stdout = nil
	r := p.run(t.Context(), t, "store", "backup", "--store-dir", "DIR/state/store", "DIR/b")
	if r.code != exitUsage || !strings.Contains(r.stderr, "wasakari store backup --server URL FILE") {
		t.Errorf("backup beside the service: %+v", r)
	}
	if r := p.run(t.Context(), t, "store", "backup", "--server", s.url, "DIR/b"); r.code != exitOK {
		t.Fatalf("backup: %+v", r)
	}
	if r := p.run(t.Context(), t, "store", "restore", "--store-dir", "DIR/new", "DIR/b"); r.code != exitOK {
		t.Fatalf("restore: %+v", r)
	}
	s.stop()
	s = p.serve(t, "--simulate", "--state-dir", "DIR/state", "--store-dir", "DIR/new")
	var before, after json.RawMessage
	s.ask(t, "GET", "/v1/segments", "", nil, &after)
	s.stop()
	s = p.serve(t, "--simulate", "--state-dir", "DIR/state")
	s.ask(t, "GET", "/v1/segments", "", nil, &before)
	if !bytes.Contains(after, []byte(`"demo"`)) || segmentUUID.FindString(string(before)) != segmentUUID.FindString(string(after)) {
		t.Errorf("segments\nbefore %s\nafter  %s", before, after)
	}
	lines, err := os.ReadFile(filepath.Join(p.dir, "state", "audit.log"))
	if want := `"op":"backupStore","outcome":"done"`; err != nil || !strings.Contains(string(lines), want) {
		t.Errorf("audit log, %v, lacks %s:\n%s", err, want, lines)
	}
}

var segmentUUID = regexp.MustCompile(`"uuid":"[^"]*"`)

// Nobody changes a cloud beside the service that recovers it, or without one,
// without saying so.
func TestRunBesideAService(t *testing.T) {
	sim, environ := startCloud(t, quickCloud, novasim.Options{})
	p := newPlace(t, nil)
	p.environ, p.asked = environ, true
	run := func(args ...string) result {
		return p.run(t.Context(), t, append([]string{"run", "host-auto", "--input", "host_name=compute-1"}, args...)...)
	}
	locked, err := store.Open(t.Context(), store.Config{Dir: filepath.Join(p.dir, "store"), Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = locked.Close() })
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	simulated := newPlace(t, nil).serve(t, "--simulate")
	nobody := freeAddress(t)
	_, port, _ := strings.Cut(nobody, ":")
	const (
		where  = "DEFAULT.masakari_api_listen_port="
		beside = ", or repeat with --yes to run beside it, where its guards and claims know nothing of the run\n"
	)
	away := ", and does not answer at http://" + nobody + ": name it with --server" + beside
	for _, tt := range []struct {
		env  string
		args []string
		want string
	}{
		{"WASAKARI_SERVER=http://" + nobody, nil, "wasakari: WASAKARI_SERVER: no service answers at http://" + nobody + ": dial tcp " + nobody + ": connect: connection refused; name another with --server" + beside},
		{"", []string{"--server", other.URL}, "wasakari: --server: no service answers at " + other.URL + ": 404 Not Found: there is no Wasakari; name another with --server" + beside},
		{"", []string{"--server", simulated.url}, "wasakari: --server: the service at " + simulated.url + " recovers a simulated cloud; name another, or try it with wasakari run --simulate\n"},
		{"", []string{"--server", simulated.url, "--yes"}, "wasakari: --server and --yes: choose one; --yes is for a run by this command itself\n"},
		{"", []string{"--server", simulated.url, "--dry-run"}, "wasakari: --server and --dry-run: choose one; --dry-run is for a run by this command itself\n"},
		{"", []string{"--set", "store.endpoints=http://127.0.0.1:9", "--set", where + port}, "wasakari: the service whose state is at http://127.0.0.1:9 ([store] endpoints) recovers this cloud" + away},
		{"", []string{"--set", "store.dir=DIR/store", "--set", where + port}, "wasakari: the service that has the store folder DIR/store recovers this cloud" + away},
		{"", []string{"--set", where + port}, "wasakari: nothing was started: this changes a real cloud, and no service that recovers it answers at http://" + nobody + "; name it with --server, or repeat with --yes to recover from here\n"},
		{"", []string{"--set", where + simulated.url[strings.LastIndex(simulated.url, ":")+1:]}, "wasakari: nothing was started: this changes a real cloud, and no service that recovers it answers at " + simulated.url + "; name it with --server, or repeat with --yes to recover from here\n"},
	} {
		p.environ = append(environ[:len(environ):len(environ)], tt.env)
		says(t, run(tt.args...), exitUsage, "", tt.want)
		if !slices.Contains(tt.args, "--server") {
			if r := run(append(tt.args, "--dry-run")...); r.code != exitOK {
				t.Errorf("%+v: a dry run: %+v", tt, r)
			}
		}
	}
	if done := changes(sim); len(done) > 0 {
		t.Errorf("changed %q", done)
	}
	p.environ = environ
	if r := run("--set", "store.dir=DIR/store", "--yes"); r.code != exitOK || len(changes(sim)) == 0 {
		t.Errorf("with --yes: %+v", r)
	}
}

// freeAddress is one of this machine that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // only its address matters
	return ln.Addr().String()
}

// A run against a cloud that a service recovers is the service's, and is shown
// and reported as one of the command's own.
func TestRunThroughAService(t *testing.T) {
	sim, environ := startCloud(t, quickCloud, novasim.Options{})
	p := newPlace(t, nil)
	p.environ, p.asked = environ, true
	s := p.serve(t, "--state-dir", "DIR/state", "--set", "DEFAULT.auth_strategy=noauth2", "--set", "guards.hosts=1")
	var seg struct{ Segment struct{ UUID string } }
	s.ask(t, "POST", "/v1/segments", `{"segment": {"name": "s", "service_type": "COMPUTE", "recovery_method": "auto"}}`, nil, &seg)
	for _, host := range []string{"compute-1", "compute-2", "compute-3", "compute-4"} {
		s.ask(t, "POST", "/v1/segments/"+seg.Segment.UUID+"/hosts", `{"host": {"name": "`+host+`", "type": "COMPUTE", "control_attributes": "x"}}`, nil, nil)
	}
	p.stdout = nil
	run := func(args ...string) result { return p.run(t.Context(), t, append([]string{"run"}, args...)...) }

	// What a notification cannot carry is refused by name.
	r := run("host-auto", "--server", s.url, "--input", "host_name=compute-1", "--input", "notification_uuid=1", "--task-dir", "DIR", "--tenant-task-dir", "a=DIR",
		"--recovery-method", "auto", "--override", "x", "--set", "store.dir=DIR/store", "--set", "host_failure.other_states=skip")
	at := "the service at " + s.url + " runs the flow; "
	says(t, r, exitUsage, "", "wasakari: --task-dir: "+at+"upload the module with wasakari task push, or repeat with --yes to run beside the service\n"+
		"wasakari: --tenant-task-dir: "+at+"upload the module with wasakari task push --tenant, or repeat with --yes to run beside the service\n"+
		"wasakari: --recovery-method: "+at+"the recovery method is that of the host's segment there; leave it out\n"+
		"wasakari: --override: "+at+"leave it out; if the run is held, wasakari runs retry RUN --override REASON lets it go on\n"+
		"wasakari: --set host_failure.other_states: "+at+"leave it out, or repeat with --yes to run beside the service\n"+
		"wasakari: --input notification_uuid: "+at+"it is given by the notification and the host's segment there; leave it out\n")
	says(t, run("host-rh", "--server", s.url, "--input", "host_name=compute-1", "--input", "reserved_host_list=compute-4"), exitUsage, "",
		"wasakari: --input reserved_host_list: "+at+"it is given by the notification and the host's segment there; leave it out\n")
	says(t, run("host-rh", "--server", s.url, "--input", "host_name=compute-1"), exitUsage, "",
		"wasakari: flow host-rh: segment s of host compute-1 recovers by auto; run host-auto, or change the segment's recovery method\n")
	says(t, run("instance", "--server", s.url, "--input", "instance_uuid="+sim.Servers()[0].ID), exitUsage, "",
		"wasakari: flow instance: a notification names the host; add --input host_name=compute-1, the host that the server is on\n")
	if done := changes(sim); len(done) > 0 {
		t.Fatalf("changed %q", done)
	}

	// It is found by where the configuration says that it listens.
	port := s.url[strings.LastIndex(s.url, ":")+1:]
	r = run("host-auto", "--set", "DEFAULT.masakari_api_listen_port="+port, "--input", "host_name=compute-1")
	for _, want := range []string{"host-auto of compute-1 by the service at " + s.url + ", notification ", "post evacuate_instances_task: succeeded", "\nfinished in ", "\nservers: ", ", run "} {
		if r.code != exitOK || r.stderr != "" || !strings.Contains(r.stdout, want) {
			t.Errorf("exit code %d, want %q in\n%s\n%s", r.code, want, r.stdout, r.stderr)
		}
	}
	if len(p.runs(t)) != 0 {
		t.Error("the command has a run of its own")
	}

	// Refusals, and runs that do not end well, have the exit codes of a run here.
	r = run("host-auto", "--server", s.url, "--input", "host_name=compute-1")
	if want := "409 Conflict: "; r.code != exitFailed || !strings.Contains(r.stderr, want) {
		t.Errorf("a host on maintenance: exit code %d, %q, want %d and %q", r.code, r.stderr, exitFailed, want)
	}
	r = run("host-auto", "--server", s.url, "--input", "host_name=compute-2", "--output", "json")
	var doc report
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || r.code != exitFailed || doc.Status != "held" || doc.Held == nil || doc.RunID == "" || doc.Notification == "" {
		t.Errorf("a run that is held: exit code %d, %v\n%s", r.code, err, r.stdout)
	}
	r = run("host-auto", "--server", s.url, "--input", "host_name=compute-4")
	if want := "nothing was changed; go on with: wasakari runs retry "; r.code != exitFailed || !strings.Contains(r.stdout, want) {
		t.Errorf("a run that is held: exit code %d, want %q in\n%s", r.code, want, r.stdout)
	}
	other := ""
	for _, v := range sim.Servers() {
		if v.Name == "other" {
			other = v.ID
		}
	}
	r = run("instance", "--server", s.url, "--input", "instance_uuid="+other, "--input", "host_name=compute-3", "--output", "json")
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || r.code != exitOK || doc.Status != "finished" || len(doc.Tasks) == 0 {
		t.Errorf("a server: exit code %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	r = run("host-repair", "--server", s.url, "--input", "host_name=compute-3")
	if want := "without a run; is [host_repair] enabled there?"; r.code != exitOK || !strings.Contains(r.stdout, want) {
		t.Errorf("a host that is back: exit code %d, want %q in\n%s%s", r.code, want, r.stdout, r.stderr)
	}

	// Who stops watching does not stop the run.
	ctx, cancel := context.WithCancel(t.Context())
	p.stdout = func(b []byte) {
		if bytes.Contains(b, []byte("by the service at")) {
			cancel()
		}
	}
	r = p.run(ctx, t, "run", "process", "--server", s.url, "--input", "process_name=nova-compute", "--input", "host_name=compute-3")
	if want := "the service goes on with it; look with wasakari runs list --notification "; r.code != exitInterrupted || !strings.Contains(r.stderr, want) {
		t.Errorf("interrupted: exit code %d, want %q in\n%s", r.code, want, r.stderr)
	}
}

// TestServeHeld holds the recovery of one host too many, visibly and before its
// first change, until a person overrides the guard.
func TestServeHeld(t *testing.T) {
	p := newPlace(t, map[string]string{"cloud.yaml": quickCloud})
	s := p.serve(t, "--simulate", "--scenario", "DIR/cloud.yaml", "--set", "guards.hosts=1")
	var first, second notificationDoc
	s.ask(t, "POST", "/v1/notifications", deadHost("compute-1"), nil, &first)
	if done := s.final(t, first.Notification.UUID); done.Notification.Status != "finished" {
		t.Fatalf("the first host: %+v", done)
	}
	s.ask(t, "POST", "/v1/notifications", deadHost("compute-2"), nil, &second)
	held := s.final(t, second.Notification.UUID)
	if n := held.Notification; n.Status != "failed" || n.Message == nil || !strings.HasPrefix(*n.Message, "held by guard hosts: host compute-2 would be number 2 recovered within 10m0s") || len(n.Details) != 0 {
		t.Fatalf("the second host: %+v, want it held before any task", held)
	}
	if r := p.run(t.Context(), t, "runs", "retry", second.Notification.UUID, "--server", s.url, "--override", "both are fenced"); r.code != 0 {
		t.Fatalf("retry: %d\n%s", r.code, r.stderr)
	}
	if done := s.final(t, second.Notification.UUID); done.Notification.Status != "finished" || len(done.Notification.Details) != 3 {
		t.Errorf("the second host, overridden: %+v", done)
	}
}

// An upload without bytes is no module, and not one that the server looks for
// among its files.
func TestServeEmptyUpload(t *testing.T) {
	p := newPlace(t, nil)
	s := p.serve(t, "--simulate", "--state-dir", "DIR/state")
	var refused struct{ Error struct{ Message string } }
	r := s.ask(t, "POST", "/wasakari/v1/modules", "", http.Header{"Content-Type": {"application/wasm"}}, &refused)
	const want = "not a WebAssembly module: it does not begin with 00 61 73 6d"
	if r.StatusCode != http.StatusUnprocessableEntity || refused.Error.Message != want {
		t.Errorf("%s %q, want 422 %q", r.Status, refused.Error.Message, want)
	}
}
