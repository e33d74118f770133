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
	"testing"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/api/auth"
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
	tokenOf := func(user, project string) string {
		t.Helper()
		body := fmt.Sprintf(`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": %q, "domain": {"id": "default"}, "password": "hush"}}}, "scope": {"project": {"name": %q, "domain": {"id": "default"}}}}}`, user, project)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/v3/auth/tokens", strings.NewReader(body))
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
			tokens, err := callersTokens(cfg, zap.NewNop())
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
					token = tokenOf(tt.user, tt.project)
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
			}
		})
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
			tokens, err := callersTokens(loadConfig(t, p, tt.text), zap.NewNop())
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
