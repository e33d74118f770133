package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
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

// Nobody changes a cloud beside the service that recovers it without saying so.
func TestRunBesideAService(t *testing.T) {
	sim, environ := startCloud(t, quickCloud, novasim.Options{})
	p := newPlace(t, nil)
	p.environ = environ
	run := func(args ...string) result {
		return p.run(t.Context(), t, append([]string{"run", "host-auto", "--input", "host_name=compute-1"}, args...)...)
	}
	locked, err := store.Open(t.Context(), store.Config{Dir: filepath.Join(p.dir, "store"), Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = locked.Close() })
	const rest = " recovers this cloud, and its guards and claims would know nothing of the run; report the failure to it (openstack notification create), or repeat with --yes to run beside it\n"
	for _, tt := range []struct {
		env, set, want string
	}{
		{"WASAKARI_SERVER=http://u:p@127.0.0.1:9", "", "wasakari: the service at http://u:xxxxx@127.0.0.1:9 (WASAKARI_SERVER)"},
		{"", "store.endpoints=http://127.0.0.1:9", "wasakari: the service whose state is at http://127.0.0.1:9 ([store] endpoints)"},
		{"", "store.dir=DIR/store", "wasakari: the service that has the store folder DIR/store"},
	} {
		p.environ = append(environ[:len(environ):len(environ)], tt.env)
		var args []string
		if tt.set != "" {
			args = []string{"--set", tt.set}
		}
		says(t, run(args...), exitUsage, "", tt.want+rest)
		if r := run(append(args, "--dry-run")...); r.code != exitOK {
			t.Errorf("%+v: a dry run: %+v", tt, r)
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
