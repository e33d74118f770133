package novasim_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/services"

	"github.com/wasakari/wasakari/novasim"
)

func TestFaultCounting(t *testing.T) {
	tests := []struct{ match, want string }{
		{"", "xxxxxxxx"},
		{"nth: 3", "..x....."},
		{"every: 3", "..x..x.."},
		{"after: 5", ".....xxx"},
		{"times: 2", "xx......"},
		{"after: 2, every: 2, times: 2", "...x.x.."},
	}
	for _, tt := range tests {
		t.Run(tt.match, func(t *testing.T) {
			s := setup(t, one("")+"faults: [{match: {path: /flavors, "+tt.match+"}, do: {status: 503}}]\n", novasim.Options{})
			var got strings.Builder
			for range len(tt.want) {
				s.want(200, "", "GET", "/v2.1/limits", "") // counts for nothing
				if s.do("GET", "/v2.1/flavors", "").status == 503 {
					got.WriteString("x")
				} else {
					got.WriteString(".")
				}
			}
			if got.String() != tt.want {
				t.Errorf("faults at %s, want %s", got.String(), tt.want)
			}
		})
	}
}

func TestFaultMatching(t *testing.T) {
	tests := []struct {
		match string
		want  string // requests of the list below that get the fault
	}{
		{"service: identity", "login"},
		{"service: compute", "list stop service aggregate"},
		{"method: PUT", "service"},
		{"path: /v2.1/servers/*/action", "stop"},
		{"path: /servers/*", "list"},
		{"path: /auth/tokens", "login"},
		{"action: os-stop", "stop"},
		{"action: add_host", "aggregate"},
		{"server: web", "stop"},
		{"server: " + serverID, "stop"},
		{"server: other", ""},
		{"host: compute-1", "stop service"},
		{"host: compute-2", "aggregate list"},
		{"host: compute-1, method: POST", "stop"},
	}
	for _, tt := range tests {
		t.Run(tt.match, func(t *testing.T) {
			s := setup(t, one("")+"aggregates: [{name: a}]\nfaults: [{match: {after: "+
				map[bool]string{true: "1", false: "0"}[strings.Contains(tt.match, "identity") || strings.Contains(tt.match, "tokens")]+
				", "+tt.match+"}, do: {status: 418, message: I am a teapot.}}]\n", novasim.Options{})
			got := map[string]bool{}
			for name, r := range map[string][3]string{
				"login":     {"POST", "/v3/auth/tokens", passwordLogin("admin", "novasim", "lab")},
				"list":      {"GET", "/v2.1/servers/detail?host=compute-2", ""},
				"stop":      {"POST", "/v2.1/servers/" + serverID + "/action", `{"os-stop": null}`},
				"service":   {"PUT", "/v2.1/os-services/" + s.service("compute-1").ID, `{"status": "enabled"}`},
				"aggregate": {"POST", "/v2.1/os-aggregates/1/action", `{"add_host": {"host": "compute-2"}}`},
			} {
				answer := s.do(r[0], r[1], r[2])
				if answer.status == 418 {
					got[name] = true
					if answer.message() != "I am a teapot." {
						t.Errorf("message is %q", answer.message())
					}
				}
			}
			want := map[string]bool{}
			for name := range strings.FieldsSeq(tt.want) {
				want[name] = true
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("faults at %v, want %v", got, want)
			}
		})
	}
}

func TestFaultStatusDoesNothing(t *testing.T) {
	s := setup(t, one("")+"faults: [{match: {action: evacuate, times: 1}, do: {status: 503, message: Later., retry_after: 2}}]\n", novasim.Options{})
	r := s.act(503, "Later.", evacuate)
	if r.header.Get("Retry-After") != "2" || !strings.HasPrefix(r.body, `{"serviceUnavailable":`) {
		t.Errorf("answer is %v %s", r.header, r.body)
	}
	s.is("compute-1", "ACTIVE", "active", "")
	s.act(200, "", evacuate)
}

func TestFaultDrop(t *testing.T) {
	for drop, host := range map[string]string{"before": "compute-1", "after": "compute-2"} {
		t.Run(drop, func(t *testing.T) {
			s := setup(t, one("")+"faults: [{match: {action: evacuate}, do: {drop: "+drop+"}}]\n", novasim.Options{})
			if r, err := s.try("POST", "/v2.1/servers/"+serverID+"/action", evacuate); err == nil {
				t.Fatalf("got an answer: %+v", r)
			}
			s.is(host, "ACTIVE", "active", "")
			log := s.Requests()
			last := log[len(log)-1]
			if last.Action != "evacuate" || last.Status != 0 {
				t.Errorf("request log has %+v, want an evacuate without a status", last)
			}
		})
	}
}

func TestFaultHang(t *testing.T) {
	s := setup(t, one("")+"faults: [{match: {action: evacuate}, do: {hang: 20ms}}]\n", novasim.Options{})
	if r, err := s.try("POST", "/v2.1/servers/"+serverID+"/action", evacuate); err == nil {
		t.Fatalf("got an answer: %+v", r)
	}
	s.is("compute-1", "ACTIVE", "active", "")
}

func TestFaultHangEndsWithTheClient(t *testing.T) {
	s := setup(t, one("")+"faults: [{match: {path: /flavors}, do: {hang: 1h}}]\n", novasim.Options{})
	s.client.Timeout = 20 * time.Millisecond
	if _, err := s.try("GET", "/v2.1/flavors", ""); err == nil {
		t.Fatal("got an answer")
	}
}

// TestSlowAnswers proves each latency by a client that gives up on it.
func TestSlowAnswers(t *testing.T) {
	tests := []struct {
		name, scenario string
		slow           string
	}{
		{"delay", "faults: [{match: {path: /flavors}, do: {delay: 1h}}]", "GET /v2.1/flavors"},
		{"read", "latency: {requests: {read: 1h}}", "GET /v2.1/servers/" + serverID},
		{"list", "latency: {requests: {list: 1h}}", "GET /v2.1/servers/detail"},
		{"change", "latency: {requests: {change: 1h}}", "POST /v2.1/servers/" + serverID + "/action"},
		{"default", "latency: {requests: {default: 1h, auth: 0, read: 0}}", "GET /v2.1/flavors"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := setup(t, one("")+tt.scenario+"\n", novasim.Options{})
			if tt.name != "read" {
				s.want(200, "", "GET", "/v2.1/servers/"+serverID, "")
			}
			s.client.Timeout = 30 * time.Millisecond
			method, path, _ := strings.Cut(tt.slow, " ")
			if r, err := s.try(method, path, evacuate); err == nil {
				t.Errorf("got an answer: %+v", r)
			}
		})
	}
}

func TestFaultHosts(t *testing.T) {
	s := setup(t, one("")+`faults:
  - {match: {path: /flavors, nth: 1}, do: {host_down: compute-2}}
  - {match: {path: /flavors, nth: 2}, do: {host_up: compute-2}}
  - {match: {path: /flavors, nth: 3}, do: {host_hang: compute-3}}
`, novasim.Options{})
	for _, want := range []string{"down down up", "down up up", "down up hung"} {
		s.want(200, "", "GET", "/v2.1/flavors", "")
		var got []string
		for _, sv := range s.Services() {
			got = append(got, sv.Process)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("hosts are %v, want %s", got, want)
		}
	}
}

func TestHostFailsAndHealsAfter(t *testing.T) {
	s := setup(t, "hosts: [{name: a, fails_after: 1s, heals_after: 3s}, {name: b, state: hung, heals_after: 2s}]\n", novasim.Options{ManualTime: true})
	for _, want := range []string{"up hung", "down hung", "down up", "up up"} {
		if got := s.service("a").Process + " " + s.service("b").Process; got != want {
			t.Errorf("hosts are %s, want %s", got, want)
		}
		s.Advance(time.Second)
	}
}

// TestOnRequestStopsBetweenChangeAndAnswer is what crash tests rest on.
func TestOnRequestStopsBetweenChangeAndAnswer(t *testing.T) {
	var mu sync.Mutex
	var got []string
	var c *novasim.Cloud
	s := setup(t, one(""), novasim.Options{OnRequest: func(n int, before bool, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/action") {
			got = append(got, fmt.Sprintf("%d before=%v on %s", n, before, c.Servers()[0].Host))
		}
	}})
	mu.Lock()
	c = s.Cloud
	mu.Unlock()
	s.act(200, "", evacuate)
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"2 before=true on compute-1", "2 before=false on compute-2"}; !reflect.DeepEqual(got, want) {
		t.Errorf("calls are %v, want %v", got, want)
	}
}

func TestSameSeedSameCloud(t *testing.T) {
	run := func(seed int64) string {
		s := setupScenario(t, novasim.DemoScenario(), novasim.Options{ManualTime: true, Seed: seed})
		s.Advance(2 * time.Second)
		var out strings.Builder
		for _, sv := range s.Servers() {
			r := s.do("POST", "/v2.1/servers/"+sv.ID+"/action", evacuate)
			fmt.Fprintln(&out, r.status, r.header.Get("X-Openstack-Request-Id"))
		}
		for range 12 {
			s.Advance(100 * time.Millisecond)
			fmt.Fprintln(&out, s.Servers(), s.Migrations())
		}
		return out.String()
	}
	a, b, other := run(1), run(1), run(2)
	if a != b {
		t.Error("two runs with one seed differ")
	}
	if a == other {
		t.Error("another seed gives the same")
	}
}

// TestDurationsDoNotDependOnTheOrder: concurrent clients get what sequential ones get.
func TestDurationsDoNotDependOnTheOrder(t *testing.T) {
	run := func(backwards bool) map[string]string {
		s := setup(t, many+"latency: {actions: {stop: 1s..9s}}\n", novasim.Options{ManualTime: true})
		ids := []string{}
		for _, sv := range s.Servers() {
			if sv.Host == "compute-1" {
				ids = append(ids, sv.ID)
			}
		}
		if backwards {
			for i, j := 0, len(ids)-1; i < j; i, j = i+1, j-1 {
				ids[i], ids[j] = ids[j], ids[i]
			}
		}
		must(t, s.HealHost("compute-1"))
		for _, id := range ids {
			s.want(202, "", "POST", "/v2.1/servers/"+id+"/action", `{"os-stop": null}`)
		}
		s.Advance(5 * time.Second)
		got := map[string]string{}
		for _, sv := range s.Servers() {
			got[sv.ID] = sv.Status
		}
		return got
	}
	if a, b := run(false), run(true); !reflect.DeepEqual(a, b) {
		t.Errorf("after 5 s: %v, in the other order %v", a, b)
	}
}

func TestSchedulerTakesTheRoomiestAndStopsWhenFull(t *testing.T) {
	s := setup(t, `
hosts: [{name: a, state: down}, {name: b, capacity: 3}, {name: c, capacity: 2}, {name: d, capacity: 2, disabled: true}]
servers: [{count: 7, name: s, host: a}]
`, novasim.Options{})
	var got []string
	for _, sv := range s.Servers() {
		s.want(200, "", "POST", "/v2.1/servers/"+sv.ID+"/action", evacuate)
	}
	for _, sv := range s.Servers() {
		got = append(got, sv.Host)
	}
	if want := "b b c b c a a"; strings.Join(got, " ") != want {
		t.Errorf("hosts are %v, want %s", got, want)
	}
}

func TestRequestLogIsBounded(t *testing.T) {
	s := setup(t, one(""), novasim.Options{MaxRequests: 3})
	for range 10 {
		s.want(200, "", "GET", "/v2.1/flavors", "")
	}
	got := s.Requests()
	if len(got) != 3 || got[2].Seq != 11 || got[2].Status != 200 || got[2].Path != "/v2.1/flavors" || got[2].Service != "compute" {
		t.Errorf("log is %+v, want the last three", got)
	}
}

// TestConcurrentClients hammers one cloud from many sides while hosts come and go.
func TestConcurrentClients(t *testing.T) {
	s := setup(t, `
hosts: [{name: a}, {name: b}, {name: c}]
servers: [{count: 40, name: s, host: a}]
latency: {requests: {default: 0..1ms}, actions: {stop: 1ms}, evacuation: {schedule: 0..1ms, spawn: 0..2ms, move: 1ms}}
`, novasim.Options{})
	all := s.Servers()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 40 {
				sv := all[(i*7+w)%len(all)]
				switch i % 5 {
				case 0:
					_ = s.FailHost("a")
				case 1:
					_, _ = s.try("POST", "/v2.1/servers/"+sv.ID+"/action", evacuate)
				case 2:
					_, _ = s.try("GET", "/v2.1/servers/detail", "")
				case 3:
					_, _ = s.try("POST", "/v2.1/servers/"+sv.ID+"/action", `{"os-stop": null}`)
				case 4:
					_ = s.HealHost("a")
					_, _ = s.try("GET", "/v2.1/servers/"+sv.ID+"/os-instance-actions/"+s.Requests()[0].RequestID, "")
				}
			}
		})
	}
	wg.Wait()
	for _, r := range s.Requests() {
		if r.Status >= 500 || r.Status == 0 {
			t.Errorf("%s %s: status %d", r.Method, r.Path, r.Status)
		}
	}
}

func gopher(t *testing.T, opts gophercloud.AuthOptions) *gophercloud.ServiceClient {
	t.Helper()
	provider, err := openstack.AuthenticatedClient(t.Context(), opts)
	must(t, err)
	compute, err := openstack.NewComputeV2(provider, gophercloud.EndpointOpts{Region: "RegionOne"})
	must(t, err)
	compute.Microversion = "2.90"
	return compute
}

func start(t *testing.T, sc *novasim.Scenario) (*novasim.Cloud, *novasim.Server) {
	t.Helper()
	c, err := novasim.New(sc, novasim.Options{})
	must(t, err)
	srv, err := c.Start(t.Context(), "")
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	return c, srv
}

func TestGophercloud(t *testing.T) {
	c, srv := start(t, parse(t, one("")))
	cr := c.Credentials()
	for name, opts := range map[string]gophercloud.AuthOptions{
		"password":               {Username: cr.Username, Password: cr.Password, DomainName: cr.UserDomainName, TenantName: "lab"},
		"application credential": {ApplicationCredentialID: cr.AppCredentialID, ApplicationCredentialSecret: cr.AppCredentialSecret},
		"without /v3":            {Username: cr.Username, Password: cr.Password, DomainName: cr.UserDomainName, TenantName: "lab"},
	} {
		t.Run(name, func(t *testing.T) {
			opts.IdentityEndpoint = srv.URL
			if name == "without /v3" {
				opts.IdentityEndpoint = strings.TrimSuffix(srv.URL, "/v3")
			}
			compute := gopher(t, opts)
			pages, err := servers.List(compute, servers.ListOpts{AllTenants: true, Host: "compute-1"}).AllPages(t.Context())
			must(t, err)
			all, err := servers.ExtractServers(pages)
			must(t, err)
			if name == "password" && (len(all) != 1 || all[0].Name != "web" || all[0].PowerState != servers.RUNNING) {
				t.Errorf("servers are %+v", all)
			}
		})
	}
	compute := gopher(t, gophercloud.AuthOptions{IdentityEndpoint: srv.URL, Username: cr.Username, Password: cr.Password, DomainName: "Default", TenantName: "lab"})
	pages, err := services.List(compute, services.ListOpts{Binary: "nova-compute"}).AllPages(t.Context())
	must(t, err)
	list, err := services.ExtractServices(pages)
	must(t, err)
	if len(list) != 3 || list[0].State != "down" {
		t.Errorf("services are %+v", list)
	}
	if _, err := services.Update(t.Context(), compute, list[2].ID, services.UpdateOpts{Status: services.ServiceDisabled, DisabledReason: "test"}).Extract(); err != nil {
		t.Error(err)
	}
	must(t, servers.Lock(t.Context(), compute, serverID).ExtractErr())
	// gophercloud always sends onSharedStorage, which 2.14 no longer takes.
	old := *compute
	old.Microversion = "2.13"
	if res := servers.Evacuate(t.Context(), &old, serverID, servers.EvacuateOpts{Host: "compute-2"}); res.Err != nil {
		t.Error(res.Err)
	}
	sv, err := servers.Get(t.Context(), compute, serverID).Extract()
	must(t, err)
	if sv.Status != "ACTIVE" || sv.Host != "compute-2" || sv.Locked == nil || !*sv.Locked {
		t.Errorf("server is %+v", sv)
	}
	res := servers.Evacuate(t.Context(), &old, serverID, servers.EvacuateOpts{})
	if !gophercloud.ResponseCodeIs(res.Err, http.StatusBadRequest) {
		t.Errorf("error is %v, want 400", res.Err)
	}
}

// TestGophercloudReauthenticates checks that a revoked token is a 401 it understands.
func TestGophercloudReauthenticates(t *testing.T) {
	c, srv := start(t, parse(t, one("")))
	cr := c.Credentials()
	compute := gopher(t, gophercloud.AuthOptions{
		IdentityEndpoint: srv.URL, Username: cr.Username, Password: cr.Password, DomainName: "Default", TenantName: "lab", AllowReauth: true,
	})
	c.RevokeTokens()
	_, err := servers.Get(t.Context(), compute, serverID).Extract()
	must(t, err)
}

func BenchmarkListServers(b *testing.B) {
	sc, err := novasim.ParseScenario("b.yaml", []byte("hosts: [{name: a}]\nservers: [{count: 1000, name: s, host: a, metadata: {HA_Enabled: \"True\"}}]\n"))
	if err != nil {
		b.Fatal(err)
	}
	c, err := novasim.New(sc, novasim.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	srv, err := c.Start(b.Context(), "")
	if err != nil {
		b.Fatal(err)
	}
	base := strings.TrimSuffix(srv.URL, "/v3")
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, srv.URL+"/auth/tokens", strings.NewReader(passwordLogin("admin", "novasim", "lab")))
	if err != nil {
		b.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	_ = res.Body.Close()
	b.ReportAllocs()
	for b.Loop() {
		req, _ := http.NewRequestWithContext(b.Context(), http.MethodGet, base+"/v2.1/servers/detail?host=a", http.NoBody)
		req.Header.Set("X-Auth-Token", res.Header.Get("X-Subject-Token"))
		req.Header.Set("OpenStack-API-Version", "compute 2.90")
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
		if err != nil || r.StatusCode != 200 {
			b.Fatal(r.StatusCode, err)
		}
		b.SetBytes(n)
	}
}

func TestMain(m *testing.M) {
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	os.Exit(code)
}
