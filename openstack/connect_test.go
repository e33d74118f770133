package openstack_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
)

func TestLoginRequest(t *testing.T) {
	tests := []struct {
		name    string
		options openstack.Options
		request string // default POST /v3/auth/tokens
		want    string // body
	}{
		{
			name:    "password, names in the default domain",
			options: openstack.Options{User: "admin", Password: "pw", Project: "ops"},
			want: `{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "password": "pw", "domain": {"id": "default"}}}},
				"scope": {"project": {"name": "ops", "domain": {"id": "default"}}}}}`,
		},
		{
			name:    "password, user and project in different domains by name",
			options: openstack.Options{User: "admin", UserDomain: "People", Password: "pw", Project: "ops", ProjectDomain: "Things"},
			want: `{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "password": "pw", "domain": {"name": "People"}}}},
				"scope": {"project": {"name": "ops", "domain": {"name": "Things"}}}}}`,
		},
		{
			name:    "password, everything by id",
			options: openstack.Options{UserID: "u1", UserDomainID: "d1", Password: "pw", ProjectID: "p1", ProjectDomainID: "d2"},
			want: `{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": "u1", "password": "pw"}}},
				"scope": {"project": {"id": "p1"}}}}`,
		},
		{
			name:    "password, whole system",
			options: openstack.Options{User: "admin", UserDomainID: "d1", Password: "pw", Project: "ops", SystemScope: "all"},
			want: `{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "password": "pw", "domain": {"id": "d1"}}}},
				"scope": {"system": {"all": true}}}}`,
		},
		{
			name:    "password, trust",
			options: openstack.Options{UserID: "u1", Password: "pw", TrustID: "t1"},
			want: `{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": "u1", "password": "pw"}}},
				"scope": {"OS-TRUST:trust": {"id": "t1"}}}}`,
		},
		{
			name:    "application credential by id, before a password, without a scope",
			options: openstack.Options{ApplicationCredentialID: "a1", ApplicationCredentialSecret: "s", User: "admin", Password: "pw", Project: "ops"},
			want:    `{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"id": "a1", "secret": "s"}}}}`,
		},
		{
			name:    "application credential by name",
			options: openstack.Options{ApplicationCredentialName: "robot", ApplicationCredentialSecret: "s", User: "admin", UserDomain: "People"},
			want: `{"auth": {"identity": {"methods": ["application_credential"],
				"application_credential": {"name": "robot", "secret": "s", "user": {"name": "admin", "domain": {"name": "People"}}}}}}`,
		},
		{
			name:    "application credential by name, user by id",
			options: openstack.Options{ApplicationCredentialName: "robot", ApplicationCredentialSecret: "s", UserID: "u1"},
			want: `{"auth": {"identity": {"methods": ["application_credential"],
				"application_credential": {"name": "robot", "secret": "s", "user": {"id": "u1"}}}}}`,
		},
		{
			name:    "token for a project",
			options: openstack.Options{Token: "given-token", User: "ignored", ProjectID: "p1"},
			want:    `{"auth": {"identity": {"methods": ["token"], "token": {"id": "given-token"}}, "scope": {"project": {"id": "p1"}}}}`,
		},
		{
			name:    "token as it is",
			options: openstack.Options{Token: "given-token"},
			request: "GET /v3/auth/tokens",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newCloud(t, nil)
			o := tt.options
			o.AuthURL = f.URL + "/v3"
			c, err := openstack.Connect(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			want := tt.request
			if want == "" {
				want = "POST /v3/auth/tokens"
			}
			r := f.requests()[0]
			if r.String() != want {
				t.Fatalf("first request = %s, want %s", r, want)
			}
			if tt.want != "" && !sameJSON(t, r.body, tt.want) {
				t.Errorf("body = %s, want %s", r.body, tt.want)
			}
		})
	}
}

func TestDiscovery(t *testing.T) {
	tests := []struct {
		name, path, versions string
		status               int
		want                 error
		wantText             string
	}{
		{name: "root", path: ""},
		{name: "root with a slash", path: "/"},
		{name: "v3", path: "/v3/"},
		{name: "v2.0 stands for the root", path: "/v2.0"},
		{name: "no v3", status: 300, versions: `{"versions": {"values": [{"id": "v2.0"}]}}`, want: recovery.ErrInvalid, wantText: "versions offered: v2.0"},
		{name: "a web page", status: 200, versions: `<html>hello</html>`, want: recovery.ErrInvalid, wantText: "there is no Keystone at this URL"},
		{name: "not found", status: 404, versions: `<html>gone</html>`, want: recovery.ErrInvalid, wantText: "there is no Keystone at this URL"},
		{name: "down", status: 503, versions: `<html><head><title>x</title></head><body><h1>Service</h1> Unavailable</body></html>`, want: recovery.ErrUnavailable, wantText: "503 Service Unavailable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newCloud(t, nil)
			if tt.status != 0 {
				f.on("GET /", say(tt.status, tt.versions))
			}
			o := f.options()
			o.AuthURL = f.URL + tt.path
			c, err := openstack.Connect(t.Context(), o)
			if !errors.Is(err, tt.want) {
				t.Fatalf("err = %v, want %v", err, tt.want)
			}
			if tt.want != nil {
				if !strings.Contains(err.Error(), tt.wantText) {
					t.Errorf("err = %q, want %q in it", err, tt.wantText)
				}
				return
			}
			c.Close()
			if f.got("POST /v3/auth/tokens") != 1 {
				t.Errorf("requests = %v, want one login at the address that the operator gave", f.requests())
			}
		})
	}
}

func TestEndpointChoice(t *testing.T) {
	tests := []struct {
		name     string
		change   func(f *cloud, o *openstack.Options)
		want     string // path of the list of services
		wantText string // of an ErrNotFound
	}{
		{"first of the type", func(*cloud, *openstack.Options) {}, "/v2.1/os-services", ""},
		{"region", func(_ *cloud, o *openstack.Options) { o.Region = "Two" }, "/two/v2.1/os-services", ""},
		{"interface", func(_ *cloud, o *openstack.Options) { o.Interface = "internalURL" }, "/internal/v2.1/project-1/os-services", ""},
		{"name, without a version in the address", func(_ *cloud, o *openstack.Options) { o.ServiceName = "nova2" }, "/other/compute/v2.1/os-services", ""},
		{"override", func(f *cloud, o *openstack.Options) { o.EndpointOverride = f.URL + "/mine/v2.1" }, "/mine/v2.1/os-services", ""},
		{"unknown region", func(_ *cloud, o *openstack.Options) { o.Region = "Three" }, "", `in region "Three"; there are compute:nova2:public in One, compute:nova:internal in One, compute:nova:public in One, compute:nova:public in Two`},
		{"no such interface", func(_ *cloud, o *openstack.Options) { o.Interface = "admin" }, "", "with interface admin; there are compute:"},
		{"unknown name", func(_ *cloud, o *openstack.Options) { o.ServiceName = "novo" }, "", `no compute endpoint named "novo"`},
		{"unknown type", func(_ *cloud, o *openstack.Options) { o.ServiceType = "computer" }, "", "services in the catalog: compute, identity"},
		{"empty catalog", func(f *cloud, _ *openstack.Options) { f.catalog = "[]" }, "", "is a project or the system scope set?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newCloud(t, nil)
			o := f.options()
			tt.change(f, &o)
			c, err := openstack.Connect(t.Context(), o)
			if tt.wantText != "" {
				if !errors.Is(err, recovery.ErrNotFound) || !strings.Contains(err.Error(), tt.wantText) {
					t.Fatalf("err = %v, want ErrNotFound with %q", err, tt.wantText)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = c.Services(t.Context(), recovery.ServiceFilter{})
			if got := f.last().path; got != tt.want {
				t.Errorf("path = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestConnectErrors(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	tests := []struct {
		name   string
		change func(f *cloud, o *openstack.Options)
		want   error
		text   []string
	}{
		{"nobody listens", func(_ *cloud, o *openstack.Options) { o.AuthURL = closed.URL + "/v3" }, recovery.ErrUnavailable, []string{closed.URL, "connection refused"}},
		{"nova does not listen", func(_ *cloud, o *openstack.Options) { o.EndpointOverride = closed.URL }, recovery.ErrUnavailable, []string{closed.URL, "connection refused"}},
		{"wrong password", func(f *cloud, _ *openstack.Options) {
			f.on("POST /v3/auth/tokens", say(401, `{"error": {"code": 401, "message": "The request you have made requires authentication.", "title": "Unauthorized"}}`))
		}, recovery.ErrUnauthorized, []string{f0, "401 The request you have made requires authentication."}},
		{"no keystone below the path", func(f *cloud, o *openstack.Options) {
			o.AuthURL = f.URL + "/wrong/v3"
			f.on("POST /wrong/v3/auth/tokens", say(404, `<html>nothing here</html>`))
		}, recovery.ErrInvalid, []string{"there is no Keystone v3 at this URL"}},
		{"nova too old", func(f *cloud, _ *openstack.Options) {
			f.nova = `{"version": {"id": "v2.1", "version": "2.42", "min_version": "2.1"}}`
		}, recovery.ErrInvalid, []string{"up to 2.42", "need 2.53"}},
		{"nova without microversions", func(f *cloud, _ *openstack.Options) {
			f.nova = `{"version": {"id": "v2.0", "version": "", "min_version": ""}}`
		}, recovery.ErrInvalid, []string{"no microversions", "need 2.53"}},
		{"nova from another time", func(f *cloud, _ *openstack.Options) {
			f.nova = `{"version": {"id": "v2.1", "version": "2.200", "min_version": "2.150"}}`
		}, recovery.ErrInvalid, []string{"from 2.150", "up to 2.93"}},
		{"nova is a web page", func(f *cloud, _ *openstack.Options) { f.nova = `<html></html>` }, recovery.ErrUnavailable, []string{"cannot be understood"}},
		{"endpoint in the catalog is no URL", func(f *cloud, _ *openstack.Options) {
			f.catalog = `[{"type": "compute", "name": "nova", "endpoints": [{"interface": "public", "region": "One", "url": "nonsense"}]}]`
		}, recovery.ErrInvalid, []string{"nonsense"}},
		{"nothing set", func(_ *cloud, o *openstack.Options) { *o = openstack.Options{} }, recovery.ErrInvalid, []string{"auth_url", "no credentials"}},
		{"auth_url of another kind", func(_ *cloud, o *openstack.Options) { o.AuthURL = "ftp://host" }, recovery.ErrInvalid, []string{"want http:// or https://"}},
		{"auth_url with a password", func(_ *cloud, o *openstack.Options) { o.AuthURL = "http://u:correct-horse@host" }, recovery.ErrInvalid, []string{"holds credentials"}},
		{"interface unknown", func(_ *cloud, o *openstack.Options) { o.Interface = "secret" }, recovery.ErrInvalid, []string{"want public, internal or admin"}},
		{"password without user", func(_ *cloud, o *openstack.Options) { o.User = "" }, recovery.ErrInvalid, []string{"a password without a user"}},
		{"application credential without secret", func(_ *cloud, o *openstack.Options) { o.ApplicationCredentialID = "a" }, recovery.ErrInvalid, []string{"without its secret"}},
		{"application credential by name without user", func(_ *cloud, o *openstack.Options) {
			o.ApplicationCredentialName, o.ApplicationCredentialSecret, o.User = "a", "b", ""
		}, recovery.ErrInvalid, []string{"a name needs its user"}},
		{"other system scope", func(_ *cloud, o *openstack.Options) { o.SystemScope = "some" }, recovery.ErrInvalid, []string{`the only one is "all"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newCloud(t, nil)
			o := f.options()
			tt.change(f, &o)
			_, err := openstack.Connect(t.Context(), o)
			if !errors.Is(err, tt.want) {
				t.Fatalf("err = %v, want %v", err, tt.want)
			}
			for _, text := range tt.text {
				if text == f0 {
					text = f.URL
				}
				if !strings.Contains(err.Error(), text) {
					t.Errorf("err = %q, want %q in it", err, text)
				}
			}
			if strings.Contains(err.Error(), "correct-horse") {
				t.Errorf("err = %q shows the password", err)
			}
		})
	}
}

// f0 stands for the cloud's own address.
const f0 = "(cloud)"

func TestConnectIsCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := newCloud(t, nil)
	f.on("POST /v3/auth/tokens", func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	_, err := openstack.Connect(ctx, f.options())
	if !errors.Is(err, recovery.ErrCanceled) || !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want ErrCanceled and context.Canceled", err)
	}
}

// A hostile or careless cloud sends secrets back.
func TestSecretsAreNotEchoed(t *testing.T) {
	f := newCloud(t, nil)
	f.on("POST /v3/auth/tokens", say(400, `{"error": {"message": "bad password correct-horse"}}`))
	o := f.options()
	_, err := openstack.Connect(t.Context(), o)
	if err == nil || strings.Contains(err.Error(), "correct-horse") || !strings.Contains(err.Error(), "***") {
		t.Errorf("err = %v, want the password masked", err)
	}
	f = newCloud(t, nil)
	c := f.connect()
	f.on("GET /v2.1/os-services", say(400, `{"badRequest": {"message": "bad token token-number-1"}}`))
	if _, err := c.Services(t.Context(), recovery.ServiceFilter{}); err == nil || strings.Contains(err.Error(), "token-number-1") {
		t.Errorf("err = %v, want the token masked", err)
	}
}

func TestReauthenticationIsShared(t *testing.T) {
	f := newCloud(t, nil)
	c := f.connect()
	// All requests meet the expired token before anybody learns of it.
	const many = 32
	var together sync.WaitGroup
	together.Add(many)
	f.on("GET /v2.1/os-services", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Auth-Token") == "token-number-1" {
			together.Done()
			together.Wait()
			answer(w, http.StatusUnauthorized, `{"error": {"code": 401, "message": "expired"}}`)
			return
		}
		answer(w, http.StatusOK, `{"services": []}`)
	})
	f.revoke()
	before := f.got("POST /v3/auth/tokens")
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			if _, err := c.Services(t.Context(), recovery.ServiceFilter{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := f.got("POST /v3/auth/tokens") - before; got != 1 {
		t.Errorf("logins = %d, want 1", got)
	}
}

func TestChangeIsSentAgainAfterReauthentication(t *testing.T) {
	f := newCloud(t, nil)
	c := f.connect()
	f.onValid("POST /v2.1/servers/s1/action", say(202, ""))
	f.revoke()
	id, err := c.Stop(t.Context(), "s1")
	if err != nil || id != "req-1" {
		t.Errorf("Stop = %q, %v, want req-1", id, err)
	}
	for _, r := range f.requests() {
		if r.path == "/v2.1/servers/s1/action" && r.body != `{"os-stop":null}` {
			t.Errorf("body = %q, want the same each time", r.body)
		}
	}
}

// A change that met 401 was not done, so not even a Keystone that is away
// makes its outcome unknown; and refused credentials are not tried for ever.
func TestReauthenticationFails(t *testing.T) {
	tests := []struct {
		name   string
		status int
		want   error
		logins int
	}{
		{"refused", 401, recovery.ErrUnauthorized, 1},
		{"keystone is away", 503, recovery.ErrUnavailable, 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newCloud(t, nil)
			c := f.connect()
			before := f.got("POST /v3/auth/tokens")
			f.on("POST /v3/auth/tokens", say(tt.status, `{"error": {"message": "no"}}`))
			f.revoke()
			for range 2 {
				_, err := c.Stop(t.Context(), "s1")
				if !errors.Is(err, tt.want) || errors.Is(err, recovery.ErrUnknownOutcome) {
					t.Errorf("err = %v, want %v and a known outcome", err, tt.want)
				}
				if !strings.Contains(err.Error(), "the token expired") {
					t.Errorf("err = %q, want it to say that the token expired", err)
				}
			}
			if got := f.got("POST /v3/auth/tokens") - before; got != tt.logins {
				t.Errorf("logins = %d, want %d", got, tt.logins)
			}
		})
	}
}

func TestTokenCannotBeRenewed(t *testing.T) {
	f := newCloud(t, nil)
	c := f.connect(func(o *openstack.Options) { o.User, o.Password, o.Project, o.Token = "", "", "", "given-token" })
	_, err := c.Services(t.Context(), recovery.ServiceFilter{})
	if !errors.Is(err, recovery.ErrUnauthorized) {
		t.Errorf("err = %v, want ErrUnauthorized", err)
	}
	if f.last().token != "given-token" {
		t.Errorf("token = %q, want the one given", f.last().token)
	}
}

func TestMicroversions(t *testing.T) {
	tests := []struct {
		name, doc                       string
		server, evacuate, lock, lockDoc string
	}{
		{"new", `{"version": {"id": "v2.1", "version": "2.93", "min_version": "2.1"}}`, "2.73", "2.53", "2.73", `{"lock":{"locked_reason":"why"}}`},
		{"old", `{"version": {"id": "v2.1", "version": "2.60", "min_version": "2.1"}}`, "2.60", "2.53", "2.53", `{"lock":null}`},
		{"oldest", `{"version": {"id": "v2.1", "version": "2.53", "min_version": "2.1"}}`, "2.53", "2.53", "2.53", `{"lock":null}`},
		{"has dropped old ones", `{"version": {"id": "v2.1", "version": "2.120", "min_version": "2.80"}}`, "2.80", "2.80", "2.80", `{"lock":{"locked_reason":"why"}}`},
		{"list of versions", `{"versions": [{"id": "v2.0", "version": "", "min_version": ""}, {"id": "v2.1", "version": "2.93", "min_version": "2.1"}]}`, "2.73", "2.53", "2.73", `{"lock":{"locked_reason":"why"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newCloud(t, nil)
			f.nova = tt.doc
			c := f.connect()
			check := func(what, want string) {
				if got := f.last().version; got != "compute "+want {
					t.Errorf("%s: version = %q, want compute %s", what, got, want)
				}
			}
			_, _ = c.Server(t.Context(), "s1")
			check("get", tt.server)
			_, _ = c.Evacuate(t.Context(), "s1", "")
			check("evacuate", tt.evacuate)
			_, _ = c.Lock(t.Context(), "s1", "why")
			check("lock", tt.lock)
			if got := f.last().body; got != tt.lockDoc {
				t.Errorf("lock = %s, want %s", got, tt.lockDoc)
			}
		})
	}
}

func TestOneVersionDocument(t *testing.T) {
	f := newCloud(t, nil)
	c := f.connect(func(o *openstack.Options) { o.UserAgent = "wasakari/1.2" })
	for range 3 {
		_, _ = c.Server(t.Context(), "s1")
	}
	if got := f.got("GET /v2.1/"); got != 1 {
		t.Errorf("version documents = %d, want 1", got)
	}
	if got := c.Calls(); got != 4 {
		t.Errorf("Calls = %d, want 4: one version document, three reads, no login", got)
	}
	for _, r := range f.requests() {
		if !strings.HasPrefix(r.agent, "wasakari/1.2") {
			t.Errorf("user agent of %s = %q, want wasakari/1.2", r, r.agent)
		}
	}
}
