package novasim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/novasim"
)

// three is a cloud of three hosts; compute-1 is down, with one server on it.
const three = `
hosts:
  - {name: compute-1, state: down}
  - {name: compute-2, capacity: 10}
  - {name: compute-3, capacity: 9}
servers:
  - {id: 00000000-0000-4000-8000-000000000001, name: web, host: compute-1%s}
`

// serverID is the server of the scenario above.
const serverID = "00000000-0000-4000-8000-000000000001"

// slow gives each phase of an evacuation a second.
const slow = `
latency:
  evacuation: {schedule: 1s, rebuild: 1s, mapping: 1s, spawn: 1s, power_off: 1s, move: 1s}
`

// sim is a cloud under test with a client that is logged in.
type sim struct {
	*novasim.Cloud
	t       *testing.T
	url     string
	token   string
	version string // microversion of each request
	client  *http.Client
}

// reply is an answer.
type reply struct {
	status int
	header http.Header
	body   string
}

func parse(t *testing.T, text string) *novasim.Scenario {
	t.Helper()
	sc, err := novasim.ParseScenario("cloud.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

func setup(t *testing.T, scenario string, opt novasim.Options) *sim {
	t.Helper()
	return setupScenario(t, parse(t, scenario), opt)
}

func setupScenario(t *testing.T, sc *novasim.Scenario, opt novasim.Options) *sim {
	t.Helper()
	c, err := novasim.New(sc, opt)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(c.Handler())
	s := &sim{Cloud: c, t: t, url: srv.URL, version: "2.90", client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	cr := c.Credentials()
	s.token = s.login(cr.Username, cr.Password, "lab")
	return s
}

// try sends a request and reports a broken connection as an error.
func (s *sim) try(method, path, body string) (reply, error) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("User-Agent", "test")
	if s.token != "" {
		req.Header.Set("X-Auth-Token", s.token)
	}
	if s.version != "" {
		req.Header.Set("OpenStack-API-Version", "compute "+s.version)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(b)}, err
}

func (s *sim) do(method, path, body string) reply {
	s.t.Helper()
	r, err := s.try(method, path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// want sends a request and checks the answer's status and message.
func (s *sim) want(status int, message, method, path, body string) reply {
	s.t.Helper()
	r := s.do(method, path, body)
	if r.status != status {
		s.t.Fatalf("%s %s: status %d, want %d: %s", method, path, r.status, status, r.body)
	}
	if got := r.message(); message != "" && got != message {
		s.t.Fatalf("%s %s: message %q, want %q", method, path, got, message)
	}
	return r
}

// act sends a server action to the one server.
func (s *sim) act(status int, message, body string) reply {
	s.t.Helper()
	return s.want(status, message, "POST", "/v2.1/servers/"+serverID+"/action", body)
}

// message is the text of an error body, whatever it is wrapped in.
func (r reply) message() string {
	var m map[string]struct{ Message string }
	_ = json.Unmarshal([]byte(r.body), &m)
	for _, e := range m {
		return e.Message
	}
	return ""
}

// json decodes the body.
func (r reply) json(t *testing.T, into any) {
	t.Helper()
	if err := json.NewDecoder(bytes.NewBufferString(r.body)).Decode(into); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
}

func (s *sim) login(user, password, project string) string {
	s.t.Helper()
	old := s.token
	s.token = ""
	defer func() { s.token = old }()
	r := s.want(201, "", "POST", "/v3/auth/tokens", passwordLogin(user, password, project))
	return r.header.Get("X-Subject-Token")
}

func passwordLogin(user, password, project string) string {
	return fmt.Sprintf(`{"auth": {"identity": {"methods": ["password"], "password": {"user":
		{"name": %q, "domain": {"id": "default"}, "password": %q}}},
		"scope": {"project": {"name": %q, "domain": {"name": "Default"}}}}}`, user, password, project)
}

// asMember logs in as the plain member.
func (s *sim) asMember() {
	s.t.Helper()
	cr := s.Credentials()
	s.token = s.login(cr.MemberUsername, cr.MemberPassword, cr.MemberProject)
}

// server is the state of the one server.
func (s *sim) server() novasim.ServerState {
	s.t.Helper()
	for _, st := range s.Servers() {
		if st.ID == serverID {
			return st
		}
	}
	s.t.Fatal("server is gone")
	return novasim.ServerState{}
}

// is checks host, status, vm_state and task_state of the one server.
func (s *sim) is(host, status, vm, task string) {
	s.t.Helper()
	st := s.server()
	got := fmt.Sprintf("%s %s %s %q", st.Host, st.Status, st.VMState, st.TaskState)
	if want := fmt.Sprintf("%s %s %s %q", host, status, vm, task); got != want {
		s.t.Fatalf("server is %s, want %s", got, want)
	}
}

// migrated checks the statuses of the migrations, oldest first.
func (s *sim) migrated(want ...string) {
	s.t.Helper()
	var got []string
	for _, m := range s.Migrations() {
		got = append(got, m.Status)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Fatalf("migrations are %v, want %v", got, want)
	}
}

func (s *sim) service(host string) novasim.ServiceState {
	s.t.Helper()
	for _, sv := range s.Services() {
		if sv.Host == host {
			return sv
		}
	}
	s.t.Fatalf("no host %s", host)
	return novasim.ServiceState{}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func one(extra string) string { return fmt.Sprintf(three, extra) }

// fetch gives the status of a GET.
func fetch(ctx context.Context, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

func TestStartServesAndCloses(t *testing.T) {
	c, err := novasim.New(parse(t, one("")), novasim.Options{})
	must(t, err)
	s, err := c.Start(t.Context(), "")
	must(t, err)
	if status, err := fetch(t.Context(), s.URL); status != 200 {
		t.Errorf("GET %s: status %d, %v, want 200", s.URL, status, err)
	}
	must(t, s.Close(context.Background()))
	if _, err := fetch(t.Context(), s.URL); err == nil {
		t.Error("still answers after Close")
	}
	must(t, c.Close())
	must(t, c.Close())
	if _, err := c.Start(t.Context(), ""); err == nil {
		t.Error("Start after Close: no error")
	}
}

func TestCloseCutsRequestsThatHang(t *testing.T) {
	arrived := make(chan struct{})
	c, err := novasim.New(parse(t, one("")+"faults: [{match: {path: /v3}, do: {hang: 1h}}]"), novasim.Options{
		OnRequest: func(int, bool, *http.Request) { close(arrived) },
	})
	must(t, err)
	s, err := c.Start(t.Context(), "")
	must(t, err)
	over := make(chan error)
	go func() {
		_, err := fetch(t.Context(), s.URL)
		over <- err
	}()
	<-arrived
	must(t, c.Close())
	if err := <-over; err == nil {
		t.Error("a request that hangs was answered")
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	c, err := novasim.New(parse(t, one("")), novasim.Options{})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := c.Start(ctx, "")
	must(t, err)
	cancel()
	must(t, c.Close()) // returns only when its goroutines have ended
	if _, err := fetch(t.Context(), s.URL); err == nil {
		t.Error("still answers")
	}
}

// tryHeaders sends a request with these headers only.
func (s *sim) tryHeaders(method, path string, headers map[string]string) (reply, error) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(b)}, err
}
