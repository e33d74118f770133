package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/api/auth"
	"github.com/wasakari/wasakari/api/masakariv1"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/recovery"
)

// loadConfig reads a configuration of one file.
func loadConfig(t *testing.T, p *place, text string) *config.Config {
	t.Helper()
	p.write(t, "masakari.conf", text)
	cfg, err := config.Load(config.Sources{Files: []string{filepath.Join(p.dir, "masakari.conf")}, Root: p.dir})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// keystoneToken logs in.
func keystoneToken(t *testing.T, url, user, project string) string {
	t.Helper()
	body := fmt.Sprintf(`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": %q, "domain": {"id": "default"}, "password": "hush"}}}, "scope": {"project": {"name": %q, "domain": {"id": "default"}}}}}`, user, project)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v3/auth/tokens", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusCreated {
		t.Fatalf("login of %s: %d, %v", user, res.StatusCode, err)
	}
	return res.Header.Get("X-Subject-Token")
}

// From a request's header to leave or refusal, by the configuration alone.
func TestCallers(t *testing.T) {
	sc, err := novasim.ParseScenario("cloud.yaml", []byte(`
hosts: [{name: compute-1}]
users:
  - {name: masakari, password: hush, projects: [service], roles: [service]}
  - {name: ann, password: hush, projects: [one, two], roles: [member], project_roles: {two: [cloud_admin]}}
  - {name: monitor, password: hush, projects: [service], roles: [monitors]}
application_credentials: [{name: checker, secret: hush-credential, user: masakari}]
`))
	if err != nil {
		t.Fatal(err)
	}
	sim, err := novasim.New(sc, novasim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sim.Close() }()
	srv := httptest.NewServer(sim.Handler())
	defer srv.Close()
	const byPassword = "auth_type = password\nusername = masakari\npassword = hush\nproject_name = service\n"
	const byCredential = "auth_type = v3applicationcredential\napplication_credential_name = checker\napplication_credential_secret = hush-credential\nusername = masakari\n"
	for name, credentials := range map[string]string{
		"password": byPassword, "credential": byCredential, "no type": strings.TrimPrefix(byPassword, "auth_type = password\n"),
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, map[string]string{
				"policy.yaml":        `"context_is_admin": "role:cloud_admin"`,
				"policy.d/mine.yaml": `"wasakari:nodes:read": "role:member"`,
			})
			cfg := loadConfig(t, p, "[keystone_authtoken]\nauth_url = "+srv.URL+"/v3\ntoken_cache_time = 0\n"+credentials+"[api]\nmonitor_roles = monitors\n")
			tokens, err := callersTokens(cfg, nil, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			defer tokens.Close()
			policy, warnings, err := callersPolicy(cfg)
			if err != nil || len(warnings) > 0 {
				t.Fatalf("warnings %q, %v", warnings, err)
			}
			door := auth.Keystone{Verifier: tokenVerifier{tokens}}
			for _, tt := range []struct {
				user, project, rule string
				want                error
			}{
				{"ann", "two", "os_masakari_api:segments:create", nil},
				{"ann", "one", "os_masakari_api:segments:create", recovery.ErrForbidden},
				{"ann", "one", "wasakari:nodes:read", nil},
				{"monitor", "service", "os_masakari_api:notifications:create", nil},
				{"monitor", "service", "os_masakari_api:notifications:index", recovery.ErrForbidden},
				{"", "", "os_masakari_api:versions:index", recovery.ErrUnauthorized},
			} {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1", http.NoBody)
				token := "gAAAAAunknown"
				if tt.user != "" {
					token = keystoneToken(t, srv.URL, tt.user, tt.project)
				}
				r.Header.Set("X-Auth-Token", token)
				id, err := door.Authenticate(t.Context(), r)
				if err == nil {
					if id.UserName != tt.user || id.UserID == "" || id.ProjectID == "" || id.DomainID != "default" || id.Expires.IsZero() {
						t.Errorf("identity = %+v", id)
					}
					err = policy.Enforce(tt.rule, id, nil)
				}
				if !errors.Is(err, tt.want) {
					t.Errorf("%s of %s, %s: %v, want %v", tt.user, tt.project, tt.rule, err, tt.want)
				}
				if tt.user != "" {
					sim.RevokeTokensOf(tt.user)
					if _, err := door.Authenticate(t.Context(), r); !errors.Is(err, recovery.ErrUnauthorized) {
						t.Errorf("revoked, with a cache time of 0: %v, want ErrUnauthorized", err)
					}
				}
			}
		})
	}
}

// noStore has nothing; what is refused before does not ask it.
type noStore struct{ masakariv1.Store }

type noNova struct{ masakariv1.HostChecker }

// What callers are answered who may not come in, or not do what they ask.
func TestCallersAtTheDoor(t *testing.T) {
	sc, err := novasim.ParseScenario("cloud.yaml", []byte(`
hosts: [{name: compute-1}]
users:
  - {name: masakari, password: hush, projects: [service], roles: [service]}
  - {name: ann, password: hush, projects: [one]}
`))
	if err != nil {
		t.Fatal(err)
	}
	sim, err := novasim.New(sc, novasim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sim.Close() }()
	cloud := sim.Handler()
	var away atomic.Bool
	keystone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			panic(http.ErrAbortHandler)
		}
		cloud.ServeHTTP(w, r)
	}))
	defer keystone.Close()
	cfg := loadConfig(t, newPlace(t, nil), "[keystone_authtoken]\nauth_url = "+keystone.URL+"/v3\nusername = masakari\npassword = hush\nproject_name = service\nhttp_request_max_retries = 0\n")
	tokens, err := callersTokens(cfg, nil, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer tokens.Close()
	policy, _, err := callersPolicy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	handler, err := api.New(api.Config{
		Authenticator: auth.Keystone{Verifier: tokenVerifier{tokens}}, WWWAuthenticateURI: cfg.AuthToken.WWWAuthenticateURI,
		Masakari: masakariv1.Config{Store: noStore{}, Policy: policy, Nova: noNova{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	door := httptest.NewServer(handler)
	defer door.Close()
	token := keystoneToken(t, keystone.URL, "ann", "one")
	for _, tt := range []struct {
		name, path, token string
		away              bool
		status            int
		want              string // in the answer
	}{
		{name: "no token is needed", path: "/", status: 200, want: `"versions"`},
		{name: "no token", path: "/v1", status: 401, want: "The request you have made requires authentication."},
		{name: "no valid token", path: "/v1", token: "gAAAAAunknown", status: 401, want: "The request you have made requires authentication."},
		{name: "any role", path: "/v1", token: token, status: 200, want: `"min_version"`},
		{name: "not this", path: "/v1/segments", token: token, status: 403, want: "Policy doesn't allow os_masakari_api:segments:index to be performed."},
		{name: "Keystone is away", path: "/v1", token: "gAAAAAanother", away: true, status: 503, want: "Keystone"},
		{name: "Keystone is away, known", path: "/v1", token: token, away: true, status: 200, want: `"min_version"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			away.Store(tt.away)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, door.URL+tt.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if tt.token != "" {
				req.Header.Set("X-Auth-Token", tt.token)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
			if err != nil || res.StatusCode != tt.status || !strings.Contains(string(body), tt.want) {
				t.Errorf("answer %d %s, %v, want %d with %s", res.StatusCode, body, err, tt.status, tt.want)
			}
			want := ""
			if tt.status == 401 {
				want = fmt.Sprintf("Keystone uri=%q", keystone.URL+"/v3")
			}
			if got := res.Header.Get("WWW-Authenticate"); got != want {
				t.Errorf("WWW-Authenticate = %s, want %s", got, want)
			}
		})
	}
}

// Options of [keystone_authtoken] bound how often Keystone is asked.
func TestCallersRetries(t *testing.T) {
	for retries, want := range map[string]int64{"0": 1, "2": 3} {
		var asked atomic.Int64
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
		}))
		defer srv.Close()
		p := newPlace(t, nil)
		tokens, err := callersTokens(loadConfig(t, p, "[keystone_authtoken]\nauth_url = "+srv.URL+"\nusername = u\npassword = p\nhttp_request_max_retries = "+retries+"\n"), nil, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		defer tokens.Close()
		if _, err := tokens.Validate(t.Context(), "gAAAAA", ""); !errors.Is(err, recovery.ErrUnavailable) || asked.Load() != want {
			t.Errorf("%s retries: %v after %d requests, want ErrUnavailable after %d", retries, err, asked.Load(), want)
		}
	}
}

func TestCallersMistakes(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no user", "[keystone_authtoken]\nauth_url = http://127.0.0.1:1\npassword = hush\n", "section [keystone_authtoken]: cloud options: invalid: a password without a user"},
		{"no password", "[keystone_authtoken]\nauth_url = http://127.0.0.1:1\nusername = u\n", "section [keystone_authtoken]: cloud options: invalid: no credentials: want user and password, an application credential, or a token"},
		{"another plug-in", "[keystone_authtoken]\nauth_url = http://127.0.0.1:1\nauth_type = v3kerberos\n", "DIR/masakari.conf:3:13: option [keystone_authtoken] auth_type: want password, v3password or v3applicationcredential, got 'v3kerberos'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t, nil)
			tokens, err := callersTokens(loadConfig(t, p, tt.text), nil, zap.NewNop())
			if err == nil {
				tokens.Close()
				t.Fatal("no error")
			}
			if got := strings.ReplaceAll(err.Error(), p.dir, "DIR"); got != tt.want {
				t.Errorf("error = %s\nwant    %s", got, tt.want)
			}
			if _, ok := errors.AsType[*usageError](err); !ok {
				t.Errorf("error is a %T, want a usage error", err)
			}
		})
	}
	p := newPlace(t, map[string]string{"policy.yaml": "a: http://x\n"})
	if _, _, err := callersPolicy(loadConfig(t, p, "")); err == nil || !strings.HasPrefix(err.Error(), filepath.Join(p.dir, "policy.yaml")+":1:4: ") {
		t.Errorf("a mistake in the policy: %v", err)
	}
	p = newPlace(t, nil)
	policy, warnings, err := callersPolicy(loadConfig(t, p, "[oslo_policy]\npolicy_file = rules.json\npolicy_dirs = /nonexistent/d\n"))
	if err != nil || policy == nil {
		t.Fatal(err)
	}
	for i, w := range warnings {
		warnings[i] = strings.ReplaceAll(w, p.dir, "DIR")
	}
	if want := []string{
		"DIR/masakari.conf:2:15: option [oslo_policy] policy_file: there is no rules.json; the built-in rules hold",
		"DIR/masakari.conf:3:15: option [oslo_policy] policy_dirs: there is no /nonexistent/d; the built-in rules hold",
	}; !slices.Equal(warnings, want) {
		t.Errorf("warnings = %q\nwant %q", warnings, want)
	}
}
