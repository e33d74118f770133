package masakariv1_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/recovery"
)

func TestDiscovery(t *testing.T) {
	prefixed := serve(t, func(c *api.Config) { c.LinkPrefix = "https://cloud.example/ha/" })
	proxied := serve(t, func(c *api.Config) { c.ProxyHeaders = true })
	s := serve(t)
	version := `{"version":{"id":"v1.0","status":"CURRENT","version":"1.3","min_version":"1.0","updated":"2016-07-01T11:33:21Z",` +
		`"links":[{"rel":"self","href":"%[1]s/v1/"},{"rel":"describedby","type":"text/html","href":"https://docs.openstack.org/"}],` +
		`"media-types":[{"base":"application/json","type":"application/vnd.openstack.masakari+json;version=1"}]}}`
	versions := `{"versions":[{"id":"v1.0","status":"CURRENT","version":"1.3","min_version":"1.0","updated":"2016-07-01T11:33:21Z","links":[{"rel":"self","href":"%[1]s/v1/"}]}]}`
	choices := `{"choices":[{"id":"v1.0","status":"CURRENT","links":[{"rel":"self","href":"%[1]s/v1/%[2]s"}],` +
		`"media-types":[{"base":"application/json","type":"application/vnd.openstack.masakari+json;version=1"}]}]}`
	tests := []struct {
		name    string
		of      *service
		path    string
		headers []string
		status  int
		want    string
	}{
		{"versions, without a token", s, "/", []string{"X-Auth-Token", "-"}, 200, fmt.Sprintf(versions, s.url)},
		{"version", s, "/v1", nil, 200, fmt.Sprintf(version, s.url)},
		{"version, with a slash", s, "/v1/", nil, 200, fmt.Sprintf(version, s.url)},
		{"version, any role", s, "/v1", []string{"X-Auth-Token", reader}, 200, fmt.Sprintf(version, s.url)},
		{"version by name", s, "/v1/versions/v1.0", nil, 200, fmt.Sprintf(version, s.url)},
		{"no such version", s, "/v1/versions/v2", nil, 404, `{"itemNotFound":{"code":404,"message":"The resource could not be found."}}`},
		{"choices", s, "/v2", []string{"X-Auth-Token", "-"}, 300, fmt.Sprintf(choices, s.url, "v2")},
		{"choices of a longer path", s, "/v1.0/segments", nil, 300, fmt.Sprintf(choices, s.url, "v1.0/segments")},
		{"not below v1", s, "/v1x", nil, 300, fmt.Sprintf(choices, s.url, "v1x")},
		{"host of the request", s, "/", []string{"Host", "ha.example:15868"}, 200, fmt.Sprintf(versions, "http://ha.example:15868")},
		{"proxy headers are not believed", s, "/", []string{"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https"}, 200, fmt.Sprintf(versions, s.url)},
		{"prefix", prefixed, "/", nil, 200, fmt.Sprintf(versions, "https://cloud.example/ha")},
		{"prefix, version", prefixed, "/v1", nil, 200, fmt.Sprintf(version, "https://cloud.example/ha")},
		{"proxy headers", proxied, "/v1", []string{"X-Forwarded-Host", "ha.example, inner", "X-Forwarded-Proto", "https", "X-Forwarded-Prefix", "/instance-ha/"}, 200, fmt.Sprintf(version, "https://ha.example/instance-ha")},
		{"proxy headers, nonsense", proxied, "/", []string{"X-Forwarded-Host", `x"><b>`, "X-Forwarded-Proto", "gopher", "X-Forwarded-Prefix", "no"}, 200, fmt.Sprintf(versions, proxied.url)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.of.ask("GET", tt.path, nil, tt.headers...).want(tt.status, tt.want)
		})
	}
}

func TestHealthcheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "healthcheck_disable")
	s := serve(t, func(c *api.Config) { c.DisableFile = file })
	got := s.ask("GET", "/healthcheck", nil, "X-Auth-Token", "-").want(200, "OK")
	if kind := got.header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") {
		t.Errorf("content type = %q, want text/plain", kind)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.ask("GET", "/healthcheck", nil, "X-Auth-Token", "-").wantStatus(503)
}

func TestMicroversions(t *testing.T) {
	s := serve(t)
	malformed := "API Version String %s is of invalid format. Must be of format MajorNum.MinorNum."
	unsupported := "Version %s is not supported by the API. Minimum is 1.0 and maximum is 1.3."
	tests := []struct {
		header string
		status int
		answer string // of the answer's header
		text   string
	}{
		{"", 200, "masakari 1.0", ""},
		{"compute 2.1", 200, "masakari 1.0", ""},
		{"instance-ha", 200, "masakari 1.0", ""},
		{"1.2", 200, "masakari 1.0", ""},
		{"masakari 1.3", 200, "masakari 1.0", ""},
		{"ha 1.3", 200, "masakari 1.0", ""},
		{"instance-ha 1.0", 200, "masakari 1.0", ""},
		{"instance-ha 1.1", 200, "masakari 1.1", ""},
		{"Instance-HA 1.2", 200, "masakari 1.2", ""},
		{"compute 2.90, instance-ha 1.3", 200, "masakari 1.3", ""},
		{"instance-ha  1.3 , compute 2.90", 200, "masakari 1.3", ""},
		{"instance-ha latest", 200, "masakari 1.3", ""},
		{"instance-ha 1.1, instance-ha 1.2", 200, "masakari 1.2", ""},
		{"instance-ha 1.4", 406, "instance-ha 1.4", fmt.Sprintf(unsupported, "1.4")},
		{"instance-ha 2.0", 406, "instance-ha 2.0", fmt.Sprintf(unsupported, "2.0")},
		{"instance-ha 1.99999999999999999999", 406, "instance-ha 1.99999999999999999999", fmt.Sprintf(unsupported, "1.99999999999999999999")},
		{"instance-ha abc", 400, "", fmt.Sprintf(malformed, "abc")},
		{"instance-ha 1", 400, "", fmt.Sprintf(malformed, "1")},
		{"instance-ha 0.9", 400, "", fmt.Sprintf(malformed, "0.9")},
		{"instance-ha 1.01", 400, "", fmt.Sprintf(malformed, "1.01")},
		{"instance-ha Latest", 400, "", fmt.Sprintf(malformed, "Latest")},
	}
	for _, tt := range tests {
		t.Run(tt.header, func(t *testing.T) {
			got := s.ask("GET", "/v1/segments", nil, "OpenStack-API-Version", tt.header)
			if tt.status == 200 {
				got.want(200, `{"segments":[]}`)
			} else {
				got.wantFault(tt.status, tt.text)
			}
			if h := got.header.Get("OpenStack-API-Version"); h != tt.answer {
				t.Errorf("OpenStack-API-Version = %q, want %q", h, tt.answer)
			}
			want := "OpenStack-API-Version"
			if tt.answer == "" {
				want = ""
			}
			if v := got.header.Get("Vary"); v != want {
				t.Errorf("Vary = %q, want %q", v, want)
			}
		})
	}
	got := s.ask("GET", "/v1/segments", nil, "X-OpenStack-Instance-Ha-API-Version", "1.2")
	if h := got.header.Get("OpenStack-API-Version"); h != "masakari 1.0" {
		t.Errorf("OpenStack-API-Version = %q, want masakari 1.0: the older header says nothing", h)
	}
}

func TestContentTypes(t *testing.T) {
	s := serve(t)
	body := `{"segment": {"name": "%s", "recovery_method": "auto", "service_type": "COMPUTE"}}`
	for i, kind := range []string{"application/json", "application/json; charset=UTF-8", "application/vnd.openstack.masakari+json", "text/plain", "-", "Application/JSON"} {
		s.ask("POST", "/v1/segments", fmt.Sprintf(body, fmt.Sprint("s", i)), "Content-Type", kind).wantStatus(201)
	}
	for _, kind := range []string{"application/xml", "text/html", "application/x-www-form-urlencoded", ";;"} {
		if kind == ";;" {
			continue
		}
		s.ask("POST", "/v1/segments", fmt.Sprintf(body, "other"), "Content-Type", kind).wantFault(415, "Unsupported Content-Type")
		s.ask("GET", "/v1/segments", nil, "Content-Type", kind).wantFault(415, "Unsupported Content-Type")
	}
	for accept, want := range map[string]string{
		"-":         "application/json",
		"*/*":       "application/json",
		"text/html": "application/json",
		"application/vnd.openstack.masakari+json":                           "application/vnd.openstack.masakari+json",
		"application/json;q=0.5, application/vnd.openstack.masakari+json":   "application/vnd.openstack.masakari+json",
		"application/vnd.openstack.masakari+json;q=0.1, application/*":      "application/json",
		"application/vnd.openstack.masakari+json;q=0.1, */*":                "application/json",
		"application/vnd.openstack.masakari+json, application/json":         "application/json",
		"application/vnd.openstack.masakari+json;q=0, application/json;q=0": "application/json",
	} {
		for path, status := range map[string]int{"/v1/segments?limit=0": 200, "/v1/segments/nope": 404, "/": 200} {
			got := s.ask("GET", path, nil, "Accept", accept).wantStatus(status)
			if kind := got.header.Get("Content-Type"); kind != want {
				t.Errorf("%s, Accept %s: content type = %q, want %q", path, accept, kind, want)
			}
		}
	}
}

func TestBodies(t *testing.T) {
	s := serve(t)
	tests := []struct{ name, body, text string }{
		{"empty", "", "None is not of type 'object'"},
		{"null", "null", "None is not of type 'object'"},
		{"no JSON", "{", "Malformed request body"},
		{"more than one", "{} {}", "Malformed request body"},
		{"not UTF-8", "\"\xff\"", "Malformed request body"},
		{"too deep", strings.Repeat("[", 1000) + strings.Repeat("]", 1000), "Malformed request body"},
		{"a key twice", `{"segment": 1, "segment": {"name": 2}}`, "Invalid input for field/attribute name. Value: 2. 2 is not of type 'string'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.ask("POST", "/v1/segments", tt.body).wantFault(400, tt.text)
		})
	}
	t.Run("too large", func(t *testing.T) {
		large := `{"segment": "` + strings.Repeat("x", 114688) + `"}`
		got := s.ask("POST", "/v1/segments", large).wantStatus(413)
		if kind := got.header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") {
			t.Errorf("content type = %q, want text/plain", kind)
		}
	})
	t.Run("as large as may be", func(t *testing.T) {
		body := `{"segment": "` + strings.Repeat("x", 114688-15) + `"}`
		s.ask("POST", "/v1/segments", body).wantStatus(400)
	})
	t.Run("of a GET is not looked at", func(t *testing.T) {
		s.ask("GET", "/v1/segments", "{").wantStatus(200)
	})
}

// TestOrder sends requests that are wrong in several ways: what is told is the
// first of them in the order of checks.
func TestOrder(t *testing.T) {
	s := serve(t)
	all := []string{
		"X-Auth-Token", "nonsense", "OpenStack-API-Version", "instance-ha abc", "Content-Type", "text/html",
	}
	path, body := "/v1/b0b/segments", "{"
	s.ask("POST", path, body, all...).wantStatus(401)
	all[1] = reader
	s.ask("POST", path, body, all...).wantFault(400, "API Version String abc is of invalid format. Must be of format MajorNum.MinorNum.")
	all[3] = "instance-ha 1.9"
	s.ask("POST", path, body, all...).wantStatus(406)
	all[3] = "instance-ha 1.1"
	s.ask("POST", path, body, all...).wantStatus(415)
	all[5] = "application/json"
	s.ask("POST", path, body, all...).wantFault(400, "Malformed request body")
	body = "{}"
	s.ask("POST", path, body, all...).wantFault(400, "Malformed request URL: URL's project_id 'b0b' doesn't match Context's project_id 'a2f0'")
	path = "/v1/a2f0/segments"
	s.ask("POST", path, body, all...).wantFault(400, "'segment' is a required property")
	body = `{"segment": {"name": "s", "recovery_method": "auto", "service_type": "COMPUTE"}}`
	s.ask("POST", path, body, all...).wantFault(403, "Policy doesn't allow os_masakari_api:segments:create to be performed.")
	all[1] = admin
	s.ask("POST", path, body, all...).wantStatus(201)
	s.ask("POST", path, body, all...).wantFault(409, "Failover segment with name s already exists.")

	// The payload of a notification is looked at after the policy.
	n := `{"notification": {"type": "VM", "hostname": "ghost", "generated_time": "2026-11-23", "payload": {}}}`
	s.ask("POST", "/v1/notifications", n, "X-Auth-Token", reader).wantFault(403, "Policy doesn't allow os_masakari_api:notifications:create to be performed.")
	s.ask("POST", "/v1/notifications", n).wantFault(400, "'instance_uuid' is a required property")
}

func TestPolicyRules(t *testing.T) {
	s := serve(t)
	id, other := otherUUID, "99999999-2222-3333-4444-555555555555"
	segment := `{"segment": {"name": "s", "recovery_method": "auto", "service_type": "COMPUTE"}}`
	host := `{"host": {"name": "compute-1", "type": "C", "control_attributes": ""}}`
	note := `{"notification": {"type": "PROCESS", "hostname": "h", "generated_time": "2026-11-23", "payload": {}}}`
	tests := []struct{ method, path, body, rule string }{
		{"GET", "/v1/segments", "", "segments:index"},
		{"POST", "/v1/segments", segment, "segments:create"},
		{"GET", "/v1/segments/" + id, "", "segments:detail"},
		{"PUT", "/v1/segments/" + id, segment, "segments:update"},
		{"DELETE", "/v1/segments/" + id, "", "segments:delete"},
		{"GET", "/v1/segments/" + id + "/hosts", "", "os-hosts:index"},
		{"POST", "/v1/segments/" + id + "/hosts", host, "os-hosts:create"},
		{"GET", "/v1/segments/" + id + "/hosts/" + other, "", "os-hosts:detail"},
		{"PUT", "/v1/segments/" + id + "/hosts/" + other, host, "os-hosts:update"},
		{"DELETE", "/v1/segments/" + id + "/hosts/" + other, "", "os-hosts:delete"},
		{"GET", "/v1/notifications", "", "notifications:index"},
		{"GET", "/v1/notifications/" + id, "", "notifications:detail"},
		{"POST", "/v1/notifications", note, "notifications:create"},
		{"GET", "/v1/notifications/" + id + "/vmoves", "", "vmoves:index"},
		{"GET", "/v1/notifications/" + id + "/vmoves/" + other, "", "vmoves:detail"},
		{"GET", "/v1/extensions", "", "extensions:index"},
		{"GET", "/v1/extensions/segments", "", "extensions:detail"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			var body any
			if tt.body != "" {
				body = tt.body
			}
			s.ask(tt.method, tt.path, body, "X-Auth-Token", reader).
				wantFault(403, "Policy doesn't allow os_masakari_api:"+tt.rule+" to be performed.")
		})
	}
}

func TestPaths(t *testing.T) {
	s := serve(t)
	segment := s.segment("paths")
	lacks := "The request method: '%s' with action: '%s' is not allowed on this resource"
	tests := []struct {
		method, path string
		status       int
		text         string // of a fault; empty: whatever
	}{
		{"GET", "/v1/segments.json", 200, ""},
		{"GET", "/v1/segments/" + segment + ".json", 200, ""},
		{"GET", "/v1/" + project + "/segments", 200, ""},
		{"GET", "/v1/" + project + "/segments/" + segment, 200, ""},
		{"GET", "/v1/" + project + "/segments/" + segment + "/hosts.json", 200, ""},
		{"GET", "/v1/" + project + "/notifications", 200, ""},
		{"GET", "/v1/feed/notifications", 400, "Malformed request URL: URL's project_id 'feed' doesn't match Context's project_id 'a2f0'"},
		{"GET", "/v1/foo", 404, ""},
		{"GET", "/v1/segments/", 404, ""},
		{"GET", "/v1//segments", 404, ""},
		{"GET", "/v1/ALICE/segments", 404, ""},
		{"PATCH", "/v1/segments/" + segment, 404, ""},
		{"DELETE", "/v1/segments", 404, ""},
		{"PUT", "/v1/segments/" + segment + "/hosts", 404, ""},
		{"PUT", "/v1/notifications/" + otherUUID, 405, fmt.Sprintf(lacks, "PUT", "update")},
		{"DELETE", "/v1/notifications/" + otherUUID, 405, fmt.Sprintf(lacks, "DELETE", "delete")},
		{"POST", "/v1/segments/" + segment + "/action", 405, fmt.Sprintf(lacks, "POST", "action")},
		{"GET", "/v1/versions", 405, fmt.Sprintf(lacks, "GET", "index")},
		{"GET", "/v1/segments/new", 405, fmt.Sprintf(lacks, "GET", "new")},
		{"POST", "/v1/notifications/" + otherUUID + "/vmoves", 405, fmt.Sprintf(lacks, "POST", "create")},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			got := s.ask(tt.method, tt.path, nil).wantStatus(tt.status)
			if tt.text != "" {
				got.wantFault(tt.status, tt.text)
			}
			if kind := got.header.Get("Content-Type"); tt.status == 404 && !strings.HasPrefix(kind, "text/plain") {
				t.Errorf("content type = %q, want text/plain", kind)
			}
		})
	}
}

func TestUnauthorized(t *testing.T) {
	s := serve(t)
	for _, path := range []string{"/v1", "/v1/segments", "/v1/nowhere"} {
		got := s.ask("GET", path, nil, "X-Auth-Token", "-").
			want(401, `{"error":{"code":401,"title":"Unauthorized","message":"The request you have made requires authentication."}}`)
		if h := got.header.Get("WWW-Authenticate"); h != `Keystone uri="http://keystone.example:5000"` {
			t.Errorf("WWW-Authenticate = %q", h)
		}
	}
	s.ask("GET", "/v1/segments", nil, "X-Auth-Token", "keystone-is-away").wantStatus(503)
}

func TestExtensions(t *testing.T) {
	s := serve(t)
	got := s.ask("GET", "/v1/extensions", nil).wantStatus(200)
	for i, want := range []string{"extensions", "notifications", "os-hosts", "segments", "versions", "vmoves"} {
		if alias := got.text(fmt.Sprintf("extensions.%d.alias", i)); alias != want {
			t.Errorf("alias %d = %q, want %q", i, alias, want)
		}
	}
	if alias := s.ask("GET", "/v1/extensions/os-hosts", nil).wantStatus(200).text("extension.alias"); alias != "os-hosts" {
		t.Errorf("alias = %q, want os-hosts", alias)
	}
	s.ask("GET", "/v1/extensions/nope", nil).wantFault(404, "The resource could not be found.")
}

// TestStoreErrors answers 503 when the store is away, and tells nobody but the
// log of what it did not expect.
func TestStoreErrors(t *testing.T) {
	s := serve(t)
	id := otherUUID
	segment := `{"segment": {"name": "s", "recovery_method": "auto", "service_type": "COMPUTE"}}`
	requests := []struct{ method, path, body string }{
		{"GET", "/v1/segments", ""},
		{"POST", "/v1/segments", segment},
		{"GET", "/v1/segments/" + id, ""},
		{"PUT", "/v1/segments/" + id, segment},
		{"DELETE", "/v1/segments/" + id, ""},
		{"GET", "/v1/segments/" + id + "/hosts", ""},
		{"GET", "/v1/segments/" + id + "/hosts/" + id, ""},
		{"GET", "/v1/notifications", ""},
		{"GET", "/v1/notifications/" + id, ""},
		{"POST", "/v1/notifications", `{"notification": {"type": "PROCESS", "hostname": "h", "generated_time": "2026-11-23", "payload": {"event": "STOPPED", "process_name": "x"}}}`},
		{"GET", "/v1/notifications/" + id + "/vmoves/" + id, ""},
	}
	for _, tt := range requests {
		var body any
		if tt.body != "" {
			body = tt.body
		}
		s.store.err = fmt.Errorf("etcd %w", recovery.ErrUnavailable)
		s.ask(tt.method, tt.path, body).wantFault(503, "The store of Wasakari is temporarily unavailable.")
		s.store.err = recovery.ErrUnknownOutcome
		s.ask(tt.method, tt.path, body).wantStatus(503)
		s.store.err = errBroken
		got := s.ask(tt.method, tt.path, body).wantStatus(500)
		if strings.Contains(got.body, "secret") || !strings.Contains(got.body, got.header.Get("X-Openstack-Request-Id")) {
			t.Errorf("%s %s: answer = %s, want the request id and no more", tt.method, tt.path, got.body)
		}
	}
	s.store.err = nil
	s.ask("GET", "/v1/segments", nil).wantStatus(http.StatusOK)
}
