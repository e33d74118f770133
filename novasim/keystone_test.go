package novasim_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/novasim"
)

type tokenDoc struct {
	Token struct {
		Methods   []string
		ExpiresAt time.Time `json:"expires_at"`
		User      struct{ Name, ID string }
		Project   *struct{ Name, ID string }
		System    *struct{ All bool }
		Roles     []struct{ Name string }
		Catalog   []struct {
			Type      string
			Endpoints []struct{ Interface, Region, URL string }
		}
	}
}

func TestLogin(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	cr := s.Credentials()
	if cr.Username != "admin" || cr.Password != "novasim" || cr.ProjectName != "admin" || cr.MemberUsername != "lab" || cr.Region != "RegionOne" {
		t.Fatalf("credentials are %+v", cr)
	}
	var mine tokenDoc
	admin := s.token
	s.want(201, "", "POST", "/v3/auth/tokens", passwordLogin("admin", "novasim", "admin")).json(t, &mine)
	userID, projectID := mine.Token.User.ID, mine.Token.Project.ID
	id := func(identity, scope string) string {
		return `{"auth": {"identity": ` + identity + scope + `}}`
	}
	password := func(user string) string { return `{"methods": ["password"], "password": {"user": ` + user + `}}` }
	byName := password(`{"name": "admin", "domain": {"id": "default"}, "password": "novasim"}`)
	tests := []struct {
		name, body string
		status     int
		scope      string
	}{
		{"password by names", passwordLogin("admin", "novasim", "lab"), 201, "lab"},
		{"password by ids", id(password(`{"id": "`+userID+`", "password": "novasim"}`), `, "scope": {"project": {"id": "`+projectID+`"}}`), 201, "admin"},
		{"no scope is the default project", id(byName, ""), 201, "admin"},
		{"unscoped", id(byName, `, "scope": "unscoped"`), 201, ""},
		{"system scope", id(byName, `, "scope": {"system": {"all": true}}`), 201, "system"},
		{"wrong password", passwordLogin("admin", "x", "lab"), 401, ""},
		{"unknown user", passwordLogin("x", "novasim", "lab"), 401, ""},
		{"unknown project", passwordLogin("admin", "novasim", "x"), 401, ""},
		{"project of others", passwordLogin("lab", "novasim", "admin"), 401, ""},
		{"no domain", id(password(`{"name": "admin", "password": "novasim"}`), ""), 401, ""},
		{"other domain", id(password(`{"name": "admin", "domain": {"name": "x"}, "password": "novasim"}`), ""), 401, ""},
		{"member has no system scope", id(password(`{"name": "lab", "domain": {"id": "default"}, "password": "novasim"}`), `, "scope": {"system": {"all": true}}`), 401, ""},
		{"application credential by id", id(`{"methods": ["application_credential"], "application_credential": {"id": "`+cr.AppCredentialID+`", "secret": "`+cr.AppCredentialSecret+`"}}`, ""), 201, "admin"},
		{"application credential by name", id(`{"methods": ["application_credential"], "application_credential": {"name": "wasakari", "secret": "novasim-secret", "user": {"name": "admin", "domain": {"id": "default"}}}}`, ""), 201, "admin"},
		{"application credential, wrong secret", id(`{"methods": ["application_credential"], "application_credential": {"id": "`+cr.AppCredentialID+`", "secret": "x"}}`, ""), 401, ""},
		{"application credential with a scope", id(`{"methods": ["application_credential"], "application_credential": {"id": "`+cr.AppCredentialID+`", "secret": "novasim-secret"}}`, `, "scope": {"project": {"id": "`+projectID+`"}}`), 401, ""},
		{"token", id(`{"methods": ["token"], "token": {"id": "`+admin+`"}}`, `, "scope": {"project": {"id": "`+projectID+`"}}`), 201, "admin"},
		{"token that is none", id(`{"methods": ["token"], "token": {"id": "x"}}`, ""), 401, ""},
		{"no method", id(`{"methods": []}`, ""), 400, ""},
		{"unknown method", id(`{"methods": ["totp"]}`, ""), 400, ""},
		{"not JSON", "{", 400, ""},
		{"no auth", "{}", 400, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := s.want(tt.status, "", "POST", "/v3/auth/tokens", tt.body)
			if tt.status != 201 {
				if !strings.HasPrefix(r.body, `{"error":`) {
					t.Errorf("body is %s, want an error", r.body)
				}
				return
			}
			var doc tokenDoc
			r.json(t, &doc)
			scope := ""
			if doc.Token.Project != nil {
				scope = doc.Token.Project.Name
			} else if doc.Token.System != nil {
				scope = "system"
			}
			if scope != tt.scope || r.header.Get("X-Subject-Token") == "" {
				t.Errorf("scope is %q, want %q; token %q", scope, tt.scope, r.header.Get("X-Subject-Token"))
			}
			if tt.scope == "" {
				return
			}
			var compute []string
			for _, e := range doc.Token.Catalog {
				for _, p := range e.Endpoints {
					if e.Type == "compute" && p.Region == "RegionOne" {
						compute = append(compute, p.Interface+" "+p.URL)
					}
				}
			}
			u := s.url + "/v2.1"
			if got, want := fmt.Sprint(compute), fmt.Sprint([]string{"public " + u, "internal " + u, "admin " + u}); got != want {
				t.Errorf("compute endpoints are %s, want %s", got, want)
			}
		})
	}
}

func TestTokenLife(t *testing.T) {
	s := setup(t, "token_lifetime: 10m\n"+one(""), novasim.Options{ManualTime: true})
	s.want(200, "", "GET", "/v2.1/servers", "")
	s.Advance(10*time.Minute - 1)
	s.want(200, "", "GET", "/v2.1/servers", "")
	old := s.token
	body := `{"auth": {"identity": {"methods": ["token"], "token": {"id": "` + old + `"}}}}`
	again := s.want(201, "", "POST", "/v3/auth/tokens", body).header.Get("X-Subject-Token")
	s.Advance(1)
	r := s.want(401, "The request you have made requires authentication.", "GET", "/v2.1/servers", "")
	if got := r.header.Get("WWW-Authenticate"); got != fmt.Sprintf("Keystone uri=%q", s.url) {
		t.Errorf("WWW-Authenticate is %s", got)
	}
	s.token = again // a token made of a token lives no longer
	s.want(401, "", "GET", "/v2.1/servers", "")
	s.token = s.login("admin", "novasim", "lab")
	s.want(200, "", "GET", "/v2.1/servers", "")
	s.RevokeTokens()
	s.want(401, "", "GET", "/v2.1/servers", "")
	s.token = ""
	s.want(401, "", "GET", "/v2.1/servers", "")
}

func TestTokenRequests(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	member := s.login("lab", "novasim", "lab")
	subject := func(status int, method, token, subject string) reply {
		t.Helper()
		r, err := s.tryHeaders(method, "/identity/v3/auth/tokens", map[string]string{"X-Auth-Token": token, "X-Subject-Token": subject})
		must(t, err)
		if r.status != status {
			t.Fatalf("%s: status %d, want %d: %s", method, r.status, status, r.body)
		}
		return r
	}
	var doc tokenDoc
	subject(200, "GET", s.token, member).json(t, &doc)
	if doc.Token.User.Name != "lab" {
		t.Errorf("token is %s's, want lab's", doc.Token.User.Name)
	}
	if r := subject(200, "HEAD", s.token, member); r.body != "" {
		t.Errorf("HEAD has body %q", r.body)
	}
	subject(200, "GET", member, member)
	subject(403, "GET", member, s.token)
	subject(401, "GET", "x", member)
	subject(404, "GET", s.token, "x")
	subject(405, "PUT", s.token, member)
	subject(204, "DELETE", s.token, member)
	subject(404, "GET", s.token, member)
	s.want(200, "", "GET", "/v3/auth/catalog", "")
	s.want(404, "", "GET", "/v3/users", "")
}

// What Keystone tells of a token: to those who may know, with the roles in its
// project, without the catalog when that is not wanted, for a while after it
// expired when that is wanted, and not when it was revoked.
func TestTokenValidation(t *testing.T) {
	s := setup(t, `token_lifetime: 1h
users:
  - {name: admin, password: novasim, projects: [lab, admin], roles: [admin], project_roles: {lab: [reader]}}
  - {name: checker, password: novasim, projects: [services], roles: [service]}
  - {name: lab, password: novasim, projects: [lab, other], roles: [member, wasakari_author], project_roles: {other: [reader]}}
`+one(""), novasim.Options{ManualTime: true})
	checker := s.login("checker", "novasim", "services")
	check := func(status int, token, subject, query string) tokenDoc {
		t.Helper()
		r, err := s.tryHeaders("GET", "/v3/auth/tokens"+query, map[string]string{"X-Auth-Token": token, "X-Subject-Token": subject})
		must(t, err)
		if r.status != status {
			t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
		}
		var doc tokenDoc
		if status == 200 {
			r.json(t, &doc)
			if got := r.header.Get("X-Subject-Token"); got != subject {
				t.Errorf("X-Subject-Token is %q", got)
			}
		}
		return doc
	}
	roles := func(d tokenDoc) string {
		var names []string
		for _, r := range d.Token.Roles {
			names = append(names, r.Name)
		}
		return d.Token.User.Name + " " + d.Token.Project.Name + " " + strings.Join(names, " ")
	}
	member, reader := s.login("lab", "novasim", "lab"), s.login("lab", "novasim", "other")
	full := check(200, checker, member, "")
	if got, want := roles(full), "lab lab member wasakari_author"; got != want || len(full.Token.Catalog) == 0 {
		t.Errorf("token is %s with %d services, want %s", got, len(full.Token.Catalog), want)
	}
	bare := check(200, checker, reader, "?nocatalog")
	if got, want := roles(bare), "lab other reader"; got != want || len(bare.Token.Catalog) > 0 {
		t.Errorf("token is %s with %d services, want %s without any", got, len(bare.Token.Catalog), want)
	}
	check(200, s.login("admin", "novasim", "admin"), member, "")
	check(403, s.login("admin", "novasim", "lab"), member, "") // no administrator there
	check(403, reader, member, "")

	s.RevokeTokensOf("lab")
	check(404, checker, member, "")
	check(200, checker, checker, "")
	member = s.login("lab", "novasim", "lab")
	s.Advance(time.Hour)
	checker = s.login("checker", "novasim", "services")
	check(404, checker, member, "")
	check(404, checker, member, "?allow_expired=0")
	check(200, checker, member, "?allow_expired=1")
	s.Advance(48 * time.Hour)
	check(404, s.login("checker", "novasim", "services"), member, "?allow_expired=1")
}

func TestVersionDocuments(t *testing.T) {
	s := setup(t, "microversion: {max: \"2.60\"}\n"+one(""), novasim.Options{})
	s.token = ""
	tests := []struct {
		path   string
		status int
		want   string
	}{
		{"/", 300, `"id":"v3.14"`},
		{"/v3", 200, `"id":"v3.14"`},
		{"/identity/v3/", 200, `"id":"v3.14"`},
		{"/v2.1", 200, `"version":"2.60"`},
		{"/v2.1/", 200, `"min_version":"2.1"`},
		{"/compute/", 200, `"versions":[`},
		{"/compute/v2.1/", 200, `"version":{`},
	}
	s.version = ""
	for _, tt := range tests {
		if r := s.want(tt.status, "", "GET", tt.path, ""); !strings.Contains(r.body, tt.want) {
			t.Errorf("GET %s: %s, want %s in it", tt.path, r.body, tt.want)
		}
	}
}

func TestTokensAreBounded(t *testing.T) {
	s := setup(t, one(""), novasim.Options{})
	first := s.token
	for range 10_000 {
		s.want(201, "", "POST", "/v3/auth/tokens", passwordLogin("admin", "novasim", "lab"))
	}
	s.want(401, "", "GET", "/v2.1/servers", "") // the oldest has made room
	s.token = s.login("admin", "novasim", "lab")
	if s.token == first {
		t.Error("a token came twice")
	}
	s.want(200, "", "GET", "/v2.1/servers", "")
}
