package novasim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// user is a Keystone user. All are of the domain "default", named "Default".
type user struct {
	id       string
	name     string
	password string
	projects []string
	roles    []string
	special  map[string][]string // roles in one project, by its name, instead of roles
	system   bool
}

func (u *user) admin() bool { return slices.Contains(u.roles, "admin") }

type appCredential struct {
	id, name, secret string
	user             *user
	project          *project
}

// authToken is a token. Without project and system it is unscoped.
type authToken struct {
	id, audit       string
	user            *user
	project         *project
	system          bool
	method          string
	issued, expires time.Time
}

// roles are those of the user where the token is good.
func (t *authToken) roles() []string {
	switch {
	case t.project == nil && !t.system:
		return nil
	case t.project != nil && t.user.special[t.project.name] != nil:
		return t.user.special[t.project.name]
	}
	return t.user.roles
}

func (t *authToken) admin() bool { return slices.Contains(t.roles(), "admin") }

// validates reports whether the token is one to check the tokens of others
// with, by Keystone's policy.
func (t *authToken) validates() bool { return t.admin() || slices.Contains(t.roles(), "service") }

// expiredWindow is how long Keystone tells of a token that has expired, to who
// asks for that.
const expiredWindow = 48 * time.Hour

const maxTokens = 10_000

// Credentials are what logs in at the cloud.
type Credentials struct {
	Username, Password  string // an administrator
	ProjectName         string
	UserDomainName      string
	ProjectDomainName   string
	Region              string
	MemberUsername      string // a plain member, if the scenario has one
	MemberPassword      string
	MemberProject       string
	AppCredentialID     string // an administrator's
	AppCredentialName   string
	AppCredentialSecret string
}

func (c *Cloud) makeAccounts() {
	specs := c.sc.Users
	if len(specs) == 0 {
		specs = defaultUsers()
	}
	for _, s := range specs {
		u := &user{id: c.hexID("user", s.Name), name: s.Name, password: s.Password, projects: s.Projects, roles: s.Roles, special: s.ProjectRoles, system: s.System}
		if len(u.roles) == 0 {
			u.roles = []string{"member"}
		}
		for _, p := range s.Projects {
			c.project(p)
		}
		c.users[u.name] = u
	}
	creds := c.sc.ApplicationCredentials
	if len(creds) == 0 {
		if u := c.first(true); u != nil {
			creds = []AppCredentialSpec{{Name: "wasakari", Secret: "novasim-secret", User: u.name}}
		}
	}
	for _, s := range creds {
		u := c.users[s.User]
		p := s.Project
		if p == "" {
			p = u.projects[0]
		}
		c.creds = append(c.creds, &appCredential{id: c.hexID("application credential", s.User, s.Name), name: s.Name, secret: s.Secret, user: u, project: c.project(p)})
	}
}

// first is the first administrator, or the first other user, of the scenario.
func (c *Cloud) first(admin bool) *user {
	specs := c.sc.Users
	if len(specs) == 0 {
		specs = defaultUsers()
	}
	for _, s := range specs {
		if u := c.users[s.Name]; u != nil && u.admin() == admin {
			return u
		}
	}
	return nil
}

func (c *Cloud) region() string {
	if c.sc.Region == "" {
		return "RegionOne"
	}
	return c.sc.Region
}

// Credentials are the scenario's first administrator, first plain member, and
// the first administrator's application credential.
func (c *Cloud) Credentials() Credentials {
	c.mu.Lock()
	defer c.mu.Unlock()
	cr := Credentials{UserDomainName: "Default", ProjectDomainName: "Default", Region: c.region()}
	if u := c.first(true); u != nil {
		cr.Username, cr.Password, cr.ProjectName = u.name, u.password, u.projects[0]
	}
	if u := c.first(false); u != nil {
		cr.MemberUsername, cr.MemberPassword, cr.MemberProject = u.name, u.password, u.projects[0]
	}
	for _, a := range c.creds {
		if a.user.admin() {
			cr.AppCredentialID, cr.AppCredentialName, cr.AppCredentialSecret = a.id, a.name, a.secret
			break
		}
	}
	return cr
}

// RevokeTokens makes every token that was given out invalid.
func (c *Cloud) RevokeTokens() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.tokens)
}

// RevokeTokensOf makes every token that was given to a user invalid, as when
// the password changes.
func (c *Cloud) RevokeTokensOf(userName string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.tokens, func(_ string, t *authToken) bool { return t.user.name == userName })
}

func keystoneError(status int, text string) answer {
	title := map[int]string{
		400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
		409: "Conflict", 413: "Request Entity Too Large", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable",
	}[status]
	a := answer{status: status, body: map[string]any{"error": map[string]any{"code": status, "message": text, "title": title}}}
	return a
}

func (k *call) unauthorized() answer {
	k.refused = true
	a := keystoneError(401, "The request you have made requires authentication.")
	a.header("WWW-Authenticate", fmt.Sprintf("Keystone uri=%q", k.authURI()))
	return a
}

// authURI is where Keystone is, as each service says it.
func (k *call) authURI() string {
	if k.service == "identity" {
		return k.base + "/v3"
	}
	return k.root
}

// valid finds a token that is neither expired nor revoked.
func (c *Cloud) valid(id string) *authToken {
	t := c.tokens[id]
	if t == nil || !c.now().Before(t.expires) {
		return nil
	}
	return t
}

// keystone answers a request to Keystone.
func (k *call) keystone() answer {
	switch {
	case k.path == "" || k.path == "/":
		a := ok(map[string]any{"versions": map[string]any{"values": []any{k.keystoneVersion()}}})
		a.status = 300
		a.header("Location", k.base+"/v3/")
		return a
	case k.path == "/v3" || k.path == "/v3/":
		return ok(map[string]any{"version": k.keystoneVersion()})
	case len(k.segments) == 2 && k.segments[0] == "auth" && strings.HasPrefix(k.path, "/v3/"):
	default:
		return answer{status: 404, kind: "text/html; charset=utf-8", text: "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n" +
			"<p>The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.</p>\n"}
	}
	method, name := k.r.Method, k.segments[1]
	if name == "tokens" && method == "POST" {
		return k.login()
	}
	k.token = k.c.valid(k.r.Header.Get("X-Auth-Token"))
	if k.token == nil {
		return k.unauthorized()
	}
	query := k.r.URL.Query()
	subject := k.c.tokens[k.r.Header.Get("X-Subject-Token")]
	window := time.Duration(0)
	if allow := query.Get("allow_expired"); allow != "" && allow != "0" {
		window = expiredWindow
	}
	if subject != nil && !k.c.now().Before(subject.expires.Add(window)) {
		subject = nil
	}
	switch {
	case name == "catalog" && method == "GET":
		return ok(map[string]any{"catalog": k.catalog(), "links": map[string]any{"self": k.base + "/v3/auth/catalog"}})
	case name == "tokens" && subject == nil:
		return keystoneError(404, "Could not find token.")
	case name == "tokens" && subject != k.token && !k.token.validates():
		return keystoneError(403, "You are not authorized to perform the requested action: identity:validate_token.")
	case name == "tokens" && (method == "GET" || method == "HEAD"):
		d := k.describe(subject)
		if query.Has("nocatalog") {
			delete(d, "catalog")
		}
		a := ok(map[string]any{"token": d})
		a.header("X-Subject-Token", subject.id)
		return a
	case name == "tokens" && method == "DELETE":
		delete(k.c.tokens, subject.id)
		return answer{status: 204}
	}
	return keystoneError(405, "The method is not allowed for the requested URL.")
}

func (k *call) keystoneVersion() map[string]any {
	return map[string]any{
		"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
		"links":       []any{map[string]any{"rel": "self", "href": k.base + "/v3/"}},
		"media-types": []any{map[string]any{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}},
	}
}

// named is how requests name a user, project or domain.
type named struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Domain *struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"domain"`
}

// inDomain says whether the domain given, needed beside a name, is ours.
func (n *named) inDomain() bool {
	if n.Domain == nil {
		return n.ID != ""
	}
	return n.Domain.ID == "default" || n.Domain.ID == "" && strings.EqualFold(n.Domain.Name, "Default") // as MySQL compares
}

type loginRequest struct {
	Auth *struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password *struct {
				User struct {
					named
					Password string `json:"password"`
				} `json:"user"`
			} `json:"password"`
			Token *struct {
				ID string `json:"id"`
			} `json:"token"`
			AppCredential *struct {
				ID     string `json:"id"`
				Name   string `json:"name"`
				Secret string `json:"secret"`
				User   named  `json:"user"`
			} `json:"application_credential"`
		} `json:"identity"`
		Scope json.RawMessage `json:"scope"`
	} `json:"auth"`
}

// login is POST /v3/auth/tokens.
func (k *call) login() answer {
	c := k.c
	var req loginRequest
	if !json.Valid(k.body) {
		return keystoneError(400, "Expecting to find valid JSON in request body. The server could not comply with the request since it is either malformed or otherwise incorrect. The client is assumed to be in error.")
	}
	if err := json.Unmarshal(k.body, &req); err != nil || req.Auth == nil {
		return keystoneError(400, "Expecting to find auth in request body. The server could not comply with the request since it is either malformed or otherwise incorrect. The client is assumed to be in error.")
	}
	id := &req.Auth.Identity
	if len(id.Methods) != 1 {
		return keystoneError(400, "Expecting one method in auth.identity.methods.")
	}
	t := &authToken{method: id.Methods[0]}
	var bound *project // by an application credential
	switch {
	case t.method == "password" && id.Password != nil:
		p := &id.Password.User
		if u := c.user(&p.named); u != nil && u.password == p.Password {
			t.user = u
		}
	case t.method == "token" && id.Token != nil:
		if old := c.valid(id.Token.ID); old != nil {
			t.user, t.expires = old.user, old.expires
		}
	case t.method == "application_credential" && id.AppCredential != nil:
		a := id.AppCredential
		for _, ac := range c.creds {
			if (a.ID == ac.id || a.ID == "" && a.Name == ac.name && c.user(&a.User) == ac.user) && a.Secret == ac.secret {
				t.user, bound = ac.user, ac.project
			}
		}
	default:
		return keystoneError(400, fmt.Sprintf("Expecting to find %.40s in auth.identity.", t.method))
	}
	if t.user == nil {
		return k.unauthorized()
	}
	if a, good := k.scope(t, req.Auth.Scope, bound); !good {
		return a
	}
	c.keep(t)
	a := answer{status: 201, body: map[string]any{"token": k.describe(t)}}
	a.header("X-Subject-Token", t.id)
	return a
}

func (c *Cloud) user(n *named) *user {
	for _, u := range c.users {
		if n.ID != "" && n.ID == u.id || n.ID == "" && n.Name == u.name && n.inDomain() {
			return u
		}
	}
	return nil
}

// scope settles what the token is good for.
func (k *call) scope(t *authToken, raw json.RawMessage, bound *project) (answer, bool) {
	if bound != nil {
		if len(raw) > 0 {
			return keystoneError(401, "Application credentials cannot request a scope."), false
		}
		t.project = bound
		return answer{}, true
	}
	if len(raw) == 0 {
		t.project = k.c.projects[t.user.projects[0]] // every user's default project
		return answer{}, true
	}
	var unscoped string
	if json.Unmarshal(raw, &unscoped) == nil && unscoped == "unscoped" {
		return answer{}, true
	}
	var s struct {
		Project *named `json:"project"`
		System  *struct {
			All bool `json:"all"`
		} `json:"system"`
	}
	if json.Unmarshal(raw, &s) != nil || (s.Project == nil) == (s.System == nil) {
		return keystoneError(400, "Expecting project or system in auth.scope."), false
	}
	if s.System != nil {
		if !s.System.All || !t.user.system {
			return k.unauthorized(), false
		}
		t.system = true
		return answer{}, true
	}
	p := k.c.byID[s.Project.ID]
	if s.Project.ID == "" && s.Project.inDomain() {
		p = k.c.projects[s.Project.Name]
	}
	if p == nil || !slices.Contains(t.user.projects, p.name) {
		return k.unauthorized(), false
	}
	t.project = p
	return answer{}, true
}

// keep gives the token its id and life time, and forgets tokens that are over.
func (c *Cloud) keep(t *authToken) {
	c.tokenSeq++
	t.id = "gAAAAA" + c.hexID("token", number(c.tokenSeq)) + c.hexID("token tail", number(c.tokenSeq))
	t.audit = c.hexID("audit", number(c.tokenSeq))[:22]
	t.issued = c.now()
	if t.expires.IsZero() { // one made of another lives no longer than that
		life := time.Duration(c.sc.TokenLifetime)
		if life == 0 {
			life = time.Hour
		}
		t.expires = t.issued.Add(life)
	}
	if len(c.tokens) >= maxTokens {
		var oldest *authToken
		for id, other := range c.tokens {
			if !c.now().Before(other.expires) {
				delete(c.tokens, id)
			} else if oldest == nil || other.issued.Before(oldest.issued) {
				oldest = other
			}
		}
		if len(c.tokens) >= maxTokens {
			delete(c.tokens, oldest.id)
		}
	}
	c.tokens[t.id] = t
}

// describe is the token document.
func (k *call) describe(t *authToken) map[string]any {
	c := k.c
	domain := map[string]any{"id": "default", "name": "Default"}
	const layout = "2006-01-02T15:04:05.000000Z"
	d := map[string]any{
		"methods":    []string{t.method},
		"user":       map[string]any{"id": t.user.id, "name": t.user.name, "domain": domain, "password_expires_at": nil},
		"audit_ids":  []string{t.audit},
		"issued_at":  t.issued.UTC().Format(layout),
		"expires_at": t.expires.UTC().Format(layout),
	}
	if t.project == nil && !t.system {
		return d
	}
	var roles []any
	for _, r := range t.roles() {
		roles = append(roles, map[string]any{"id": c.hexID("role", r), "name": r})
	}
	d["roles"], d["catalog"] = roles, k.catalog()
	if t.system {
		d["system"] = map[string]any{"all": true}
	} else {
		d["is_domain"] = false
		d["project"] = map[string]any{"id": t.project.id, "name": t.project.name, "domain": domain}
	}
	return d
}

// catalog names the services by the address the client used.
func (k *call) catalog() []any {
	c := k.c
	entry := func(kind, name, url string) any {
		var endpoints []any
		for _, i := range []string{"public", "internal", "admin"} {
			endpoints = append(endpoints, map[string]any{
				"id": c.hexID("endpoint", kind, i), "interface": i, "region": c.region(), "region_id": c.region(), "url": url,
			})
		}
		return map[string]any{"id": c.hexID("catalog", kind), "type": kind, "name": name, "endpoints": endpoints}
	}
	all := []any{entry("identity", "keystone", k.root+"/v3"), entry("compute", "nova", k.root+"/v2.1")}
	if c.sc.Images {
		all = append(all, entry("image", "glance", k.root+"/image"))
	}
	if c.sc.Placement {
		all = append(all, entry("placement", "placement", k.root+"/placement"))
	}
	for _, kind := range slices.Sorted(maps.Keys(c.opt.Endpoints)) {
		all = append(all, entry(kind, kind, c.opt.Endpoints[kind]))
	}
	return all
}
