package openstack_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
)

const keystoneScenario = `
hosts: [{name: compute-1}]
token_lifetime: 1h
users:
  - {name: admin, password: hush-admin, projects: [admin, lab], roles: [admin, member], system: true}
  - {name: wasakari, password: hush-wasakari, projects: [services], roles: [service]}
  - {name: lab, password: hush-lab, projects: [lab, other], roles: [member, author], project_roles: {other: [reader]}}
  - {name: nova, password: hush-nova, projects: [services], roles: [service]}
`

// keystone is novasim's Keystone, which can be taken away, and a Tokens that
// asks it. One clock is for both.
type keystone struct {
	t    *testing.T
	sim  *novasim.Cloud
	url  string
	logs *observer.ObservedLogs

	mu     sync.Mutex
	now    time.Time
	answer func(http.ResponseWriter, *http.Request) bool // true: it did
	asked  atomic.Int64                                  // checks
	logins atomic.Int64
}

func newKeystone(t *testing.T) *keystone {
	t.Helper()
	sc, err := novasim.ParseScenario("cloud.yaml", []byte(keystoneScenario))
	if err != nil {
		t.Fatal(err)
	}
	k := &keystone{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} // novasim's
	if k.sim, err = novasim.New(sc, novasim.Options{ManualTime: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.sim.Close() })
	handler := k.sim.Handler()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/auth/tokens"):
			k.asked.Add(1)
		case r.Method == http.MethodPost:
			k.logins.Add(1)
		}
		k.mu.Lock()
		answer := k.answer
		k.mu.Unlock()
		if answer == nil || !answer(w, r) {
			handler.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	k.url = srv.URL
	return k
}

// answers replaces what Keystone answers; nil: nothing.
func (k *keystone) answers(f func(http.ResponseWriter, *http.Request) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answer = f
}

// gone drops every connection.
func gone(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }

// overloaded answers 503.
func overloaded(w http.ResponseWriter, _ *http.Request) bool {
	w.WriteHeader(http.StatusServiceUnavailable)
	return true
}

func (k *keystone) clock() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func (k *keystone) advance(d time.Duration) {
	k.mu.Lock()
	k.now = k.now.Add(d)
	k.mu.Unlock()
	k.sim.Advance(d)
}

func (k *keystone) tokens(change func(*openstack.TokenOptions)) *openstack.Tokens {
	k.t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	k.logs = logs
	o := openstack.TokenOptions{Options: openstack.Options{
		AuthURL: k.url, User: "wasakari", Password: "hush-wasakari", Project: "services", Backoff: time.Microsecond, Logger: zap.New(core),
	}}
	if change != nil {
		change(&o)
	}
	v, err := openstack.NewTokens(o)
	if err != nil {
		k.t.Fatal(err)
	}
	v.SetNow(k.clock)
	k.t.Cleanup(v.Close)
	return v
}

// login fetches a token with plain net/http.
func (k *keystone) login(user, scope string) string {
	k.t.Helper()
	body := fmt.Sprintf(`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": %q, "domain": {"id": "default"}, "password": "hush-%[1]s"}}}, "scope": %s}}`, user, scope)
	req, err := http.NewRequestWithContext(k.t.Context(), http.MethodPost, k.url+"/v3/auth/tokens", strings.NewReader(body))
	if err != nil {
		k.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	token := res.Header.Get("X-Subject-Token")
	if res.StatusCode != http.StatusCreated || token == "" {
		k.t.Fatalf("login of %s: %d %s", user, res.StatusCode, text)
	}
	return token
}

func project(name string) string {
	return fmt.Sprintf(`{"project": {"name": %q, "domain": {"id": "default"}}}`, name)
}

func TestTokensTellWho(t *testing.T) {
	k := newKeystone(t)
	v := k.tokens(nil)
	for _, tt := range []struct{ name, user, scope, want string }{
		{"project", "lab", project("lab"), "lab default lab member,author system=false"},
		{"roles of a project", "lab", project("other"), "lab default other reader system=false"},
		{"system", "admin", `{"system": {"all": true}}`, "admin default  admin,member system=true"},
		{"unscoped", "lab", `"unscoped"`, "lab default   system=false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, err := v.Validate(t.Context(), k.login(tt.user, tt.scope), "")
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("%s %s %s %s system=%t", id.UserName, id.DomainID, id.ProjectName, strings.Join(id.Roles, ","), id.System)
			if got != tt.want {
				t.Errorf("identity is %s, want %s", got, tt.want)
			}
			if id.UserID == "" || (id.ProjectName == "") != (id.ProjectID == "") || !id.Expires.After(k.clock()) {
				t.Errorf("identity is %+v", id)
			}
		})
	}
}

func TestTokensRefuse(t *testing.T) {
	k := newKeystone(t)
	v := k.tokens(nil)
	for name, token := range map[string]string{
		"none": "", "unknown": "gAAAAAunknown", "two lines": "a\r\nX-Auth-Token: b", "blank": "a b", "not ASCII": "é", "too long": strings.Repeat("a", 16<<10+1),
	} {
		if _, err := v.Validate(t.Context(), token, ""); !errors.Is(err, recovery.ErrUnauthorized) || errors.Is(err, recovery.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnauthorized", name, err)
		} else if token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v shows the token", name, err)
		}
	}
	if got := k.asked.Load(); got != 1 {
		t.Errorf("%d checks, want 1: what cannot be a token is not asked about", got)
	}
	if _, err := v.Validate(t.Context(), "gAAAAAunknown", ""); !errors.Is(err, recovery.ErrUnauthorized) || k.asked.Load() != 1 {
		t.Errorf("%v after %d checks, want a refusal that is remembered", err, k.asked.Load())
	}
	k.advance(5 * time.Second)
	if _, err := v.Validate(t.Context(), "gAAAAAunknown", ""); !errors.Is(err, recovery.ErrUnauthorized) || k.asked.Load() != 2 {
		t.Errorf("%v after %d checks, want it checked again", err, k.asked.Load())
	}
}

// How long an answer counts: for ten seconds, for five minutes while Keystone is
// away, and never longer than the token.
func TestTokensAge(t *testing.T) {
	k := newKeystone(t)
	v := k.tokens(func(o *openstack.TokenOptions) { o.Attempts = 1 })
	token := k.login("lab", project("lab"))
	asked := int64(0)
	valid := func(what string, more int64) {
		t.Helper()
		asked += more
		if _, err := v.Validate(t.Context(), token, ""); err != nil || k.asked.Load() != asked {
			t.Fatalf("%s: %v after %d checks, want it valid after %d", what, err, k.asked.Load(), asked)
		}
	}
	refused := func(what string, want error) {
		t.Helper()
		if _, err := v.Validate(t.Context(), token, ""); !errors.Is(err, want) || errors.Is(err, recovery.ErrUnauthorized) != errors.Is(want, recovery.ErrUnauthorized) {
			t.Fatalf("%s: %v, want %v", what, err, want)
		}
	}
	valid("new", 1)
	valid("known", 0)
	k.advance(10*time.Second - 1)
	valid("young", 0)
	k.advance(1)
	valid("checked again", 1)

	k.advance(10 * time.Second)
	k.answers(overloaded)
	valid("Keystone is away", 1)
	valid("and was asked just now", 0)
	k.advance(289 * time.Second)
	valid("still away", 1)
	k.advance(time.Second)
	refused("away for too long", recovery.ErrUnavailable)
	k.answers(nil)
	asked = k.asked.Load()
	valid("Keystone is back", 1)

	k.sim.RevokeTokensOf("lab")
	valid("revoked just now", 0)
	k.advance(10 * time.Second)
	refused("revoked", recovery.ErrUnauthorized)
	if kept := v.Kept(); kept != 1 {
		t.Errorf("%d answers are kept, want the refusal alone", kept)
	}
	k.answers(overloaded)
	refused("revoked, Keystone away", recovery.ErrUnauthorized)
	k.advance(5 * time.Second)
	refused("revoked, Keystone away for longer", recovery.ErrUnavailable)
	k.answers(nil)

	token = k.login("lab", project("lab"))
	asked = k.asked.Load()
	k.advance(time.Hour - 5*time.Second)
	valid("a token of little time", 2) // our own has expired meanwhile
	k.advance(5 * time.Second)
	k.answers(overloaded)
	refused("expired, Keystone away", recovery.ErrUnavailable)
	k.answers(nil)
	refused("expired", recovery.ErrUnauthorized)
}

func TestTokensWithoutCache(t *testing.T) {
	k := newKeystone(t)
	v := k.tokens(func(o *openstack.TokenOptions) { o.CacheTime = -1 })
	token := k.login("lab", project("lab"))
	for i := range 3 {
		if _, err := v.Validate(t.Context(), token, ""); err != nil || k.asked.Load() != int64(i+1) {
			t.Fatalf("%v after %d checks, want %d", err, k.asked.Load(), i+1)
		}
	}
	k.answers(gone)
	if _, err := v.Validate(t.Context(), token, ""); !errors.Is(err, recovery.ErrUnavailable) || v.Kept() != 0 {
		t.Errorf("%v, %d answers kept, want ErrUnavailable and none", err, v.Kept())
	}
}

func TestTokensAreFew(t *testing.T) {
	k := newKeystone(t)
	v := k.tokens(func(o *openstack.TokenOptions) { o.CacheSize = 3 })
	var tokens []string
	for range 4 {
		tokens = append(tokens, k.login("lab", project("lab")))
	}
	check := func(i int) {
		t.Helper()
		if _, err := v.Validate(t.Context(), tokens[i], ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{0, 1, 2, 0, 3} { // 1 is the one to go
		check(i)
	}
	before := k.asked.Load()
	for _, i := range []int{0, 2, 3} {
		check(i)
	}
	if got := k.asked.Load(); got != before || v.Kept() != 3 {
		t.Errorf("%d answers kept, %d more checks; want 3, none", v.Kept(), got-before)
	}
	check(1)
	if got := k.asked.Load(); got != before+1 {
		t.Errorf("%d more checks, want one", got-before)
	}

	// One that was checked again counts once.
	k.advance(10 * time.Second)
	check(3)
	check(1)
	check(3)
	check(0)
	check(2) // 1 goes
	before = k.asked.Load()
	check(3)
	if got := k.asked.Load(); got != before || v.Kept() != 3 {
		t.Errorf("%d answers kept, %d more checks; want 3, none", v.Kept(), got-before)
	}
}

// While Keystone takes its time an older answer does.
func TestTokensDoNotWait(t *testing.T) {
	k := newKeystone(t)
	v := k.tokens(nil)
	v.SetStaleWait(time.Millisecond)
	token := k.login("lab", project("lab"))
	want, err := v.Validate(t.Context(), token, "")
	if err != nil {
		t.Fatal(err)
	}
	want.Roles[0] = "admin" // ours alone
	k.advance(10 * time.Second)
	goOn := make(chan struct{})
	k.answers(func(http.ResponseWriter, *http.Request) bool {
		<-goOn
		return false
	})
	for range 2 {
		id, err := v.Validate(t.Context(), token, "")
		if err != nil || id.UserID != want.UserID || strings.Join(id.Roles, ",") != "member,author" {
			t.Errorf("identity = %+v, %v", id, err)
		}
	}
	close(goOn)
}

// Many who come with one token at once are one question; whoever goes away
// does not take the answer from the others.
func TestTokensAskOnce(t *testing.T) {
	k := newKeystone(t)
	v := k.tokens(nil)
	token := k.login("lab", project("lab"))
	if _, err := v.Validate(t.Context(), k.login("nova", project("services")), ""); err != nil { // our own login is done
		t.Fatal(err)
	}
	arrived, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	k.answers(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			once.Do(func() { close(arrived) })
			<-goOn
		}
		return false
	})
	before := k.asked.Load()
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := v.Validate(ctx, token, "")
		first <- err
	}()
	<-arrived
	others := make(chan error, 20)
	for range cap(others) {
		go func() {
			_, err := v.Validate(t.Context(), token, "")
			others <- err
		}()
	}
	cancel()
	if err := <-first; !errors.Is(err, recovery.ErrCanceled) || !errors.Is(err, context.Canceled) {
		t.Errorf("who went away got %v, want ErrCanceled", err)
	}
	close(goOn)
	for range cap(others) {
		if err := <-others; err != nil {
			t.Error(err)
		}
	}
	if got := k.asked.Load() - before; got != 1 {
		t.Errorf("%d checks, want 1", got)
	}
}

// That Keystone does not answer, or not us, is never the caller's fault.
func TestTokensUnavailable(t *testing.T) {
	text := func(status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/auth/tokens") {
				return false
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, strings.ReplaceAll(body, "TOKEN", r.Header.Get("X-Subject-Token")))
			return true
		}
	}
	soon := `"expires_at": "2099-01-01T00:00:00.000000Z"`
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request) bool
		change func(*openstack.TokenOptions)
		want   string // in the log
	}{
		{name: "away", answer: gone, want: "EOF"},
		{name: "overloaded", answer: text(503, `{"error": {"code": 503, "message": "not now, TOKEN"}}`), want: "503 not now, ***"},
		{name: "we may not", answer: text(403, `{"error": {"code": 403, "message": "no"}}`), want: "403 no; the user of [keystone_authtoken] needs a role that may check tokens, such as service"},
		{name: "a proxy's 404", answer: text(404, `<html>404 for TOKEN</html>`), want: "404"},
		{name: "bad request", answer: text(400, `{"error": {"code": 400, "message": "bad TOKEN"}}`), want: "400 bad ***"},
		{name: "no JSON", answer: text(200, `hello TOKEN`), want: "the answer cannot be understood"},
		{name: "null", answer: text(200, `null`), want: "a field of the token is missing"},
		{name: "nobody's", answer: text(200, `{"token": {`+soon+`, "user": {}}}`), want: "a field of the token is missing"},
		{name: "for ever", answer: text(200, `{"token": {"user": {"id": "u"}}}`), want: "a field of the token is missing"},
		{name: "wrong type", answer: text(200, `{"token": {`+soon+`, "user": {"id": "u"}, "roles": "admin"}}`), want: `field "token.roles"`},
		{name: "our password is wrong", change: func(o *openstack.TokenOptions) { o.Password = "hush-wrong" }, want: "401 The request you have made requires authentication."},
		{name: "no Keystone at the URL", change: func(o *openstack.TokenOptions) { o.AuthURL += "/elsewhere" }, want: "there is no Keystone at this URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKeystone(t)
			token := k.login("lab", project("lab"))
			v := k.tokens(tt.change)
			k.answers(tt.answer)
			var err error
			for range 2 {
				if _, err = v.Validate(t.Context(), token, ""); !errors.Is(err, recovery.ErrUnavailable) || errors.Is(err, recovery.ErrUnauthorized) {
					t.Fatalf("error = %v, want ErrUnavailable", err)
				}
			}
			var all strings.Builder
			for _, e := range k.logs.All() {
				fmt.Fprintln(&all, e.Level, e.Message, e.ContextMap())
			}
			for _, secret := range []string{token, "hush"} {
				if strings.Contains(all.String()+err.Error(), secret) {
					t.Errorf("%s is shown: %v\n%s", secret, err, &all)
				}
			}
			if told := k.logs.FilterMessage("keystone cannot check tokens").All(); len(told) != 1 || !strings.Contains(fmt.Sprint(told[0].ContextMap()), tt.want) {
				t.Errorf("log is %s, want %s in it, once", &all, tt.want)
			}
			if tt.change != nil {
				return
			}
			k.answers(nil)
			if _, err := v.Validate(t.Context(), token, ""); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			if told := k.logs.FilterMessage("keystone checks tokens again").Len(); told != 1 {
				t.Errorf("told %d times that Keystone is back, want once", told)
			}
		})
	}
}

// Our own session is renewed when it expires or is revoked, and a password that
// was refused is not tried again for each request.
func TestTokensSession(t *testing.T) {
	k := newKeystone(t)
	v := k.tokens(nil)
	check := func(token string, want error) {
		t.Helper()
		if _, err := v.Validate(t.Context(), token, ""); !errors.Is(err, want) {
			t.Fatalf("error = %v, want %v", err, want)
		}
	}
	check(k.login("lab", project("lab")), nil)
	k.advance(2 * time.Hour)
	check(k.login("lab", project("lab")), nil)
	k.sim.RevokeTokens()
	check(k.login("lab", project("lab")), nil)
	k.sim.RevokeTokens()
	check("gAAAAAunknown", recovery.ErrUnauthorized)
	if got := k.logins.Load(); got != 4+3 {
		t.Errorf("%d logins, want 4 of ours", got-3)
	}

	v = k.tokens(func(o *openstack.TokenOptions) { o.Password = "hush-wrong" })
	before := k.logins.Load()
	for i := range 5 {
		check(fmt.Sprint("gAAAAA", i), recovery.ErrUnavailable)
	}
	if got := k.logins.Load() - before; got != 1 {
		t.Errorf("%d logins with a wrong password, want 1", got)
	}
}

func TestServiceTokens(t *testing.T) {
	k := newKeystone(t)
	loose := k.tokens(nil)
	strict := k.tokens(func(o *openstack.TokenOptions) { o.ServiceRolesRequired = true })
	other := k.tokens(func(o *openstack.TokenOptions) { o.ServiceRoles = []string{"AUTHOR"} })
	user := k.login("lab", project("lab"))
	k.advance(time.Hour)
	fresh, service, member := k.login("lab", project("lab")), k.login("nova", project("services")), k.login("lab", project("other"))
	for _, tt := range []struct {
		name           string
		v              *openstack.Tokens
		token, service string
		want           error
	}{
		{"expired", loose, user, "", recovery.ErrUnauthorized},
		{"expired, with a service", loose, user, service, nil},
		{"the same again", loose, user, service, nil},
		{"still expired without", loose, user, "", recovery.ErrUnauthorized},
		{"expired, with one that is none", loose, user, member, recovery.ErrUnauthorized},
		{"fresh, with one that is none", loose, fresh, member, nil},
		{"fresh, with one that is none, and must be", strict, fresh, member, recovery.ErrUnauthorized},
		{"fresh, with a service", strict, fresh, service, nil},
		{"an invalid service token", loose, fresh, "gAAAAAunknown", recovery.ErrUnauthorized},
		{"an expired service token", loose, fresh, user, recovery.ErrUnauthorized},
		{"unknown, with a service", loose, "gAAAAAunknown", service, recovery.ErrUnauthorized},
		{"other roles", other, user, service, recovery.ErrUnauthorized},
		{"other roles, in another case", other, user, fresh, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, err := tt.v.Validate(t.Context(), tt.token, tt.service)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			if err == nil && id.UserName != "lab" {
				t.Errorf("it is %s's, want lab's", id.UserName)
			}
		})
	}
	k.sim.RevokeTokensOf("lab")
	k.advance(10 * time.Second)
	if _, err := loose.Validate(t.Context(), user, service); !errors.Is(err, recovery.ErrUnauthorized) {
		t.Errorf("revoked: %v, want ErrUnauthorized", err)
	}
	k.advance(49 * time.Hour)
	if _, err := loose.Validate(t.Context(), fresh, k.login("nova", project("services"))); !errors.Is(err, recovery.ErrUnauthorized) {
		t.Errorf("expired long ago: %v, want ErrUnauthorized", err)
	}
}

// Who comes with one made-up token after the other, and does not wait, fills no
// memory.
func TestTokensWaitingAreFew(t *testing.T) {
	k := newKeystone(t)
	v := k.tokens(nil)
	token := k.login("lab", project("lab"))
	if _, err := v.Validate(t.Context(), token, ""); err != nil {
		t.Fatal(err)
	}
	k.advance(10 * time.Second)
	goOn := make(chan struct{})
	k.answers(func(http.ResponseWriter, *http.Request) bool {
		<-goOn
		return false
	})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 1024 {
		if _, err := v.Validate(gone, fmt.Sprint("gAAAAA", i), ""); !errors.Is(err, recovery.ErrCanceled) {
			t.Fatalf("token %d: %v, want ErrCanceled", i, err)
		}
	}
	if _, err := v.Validate(t.Context(), "gAAAAAmore", ""); !errors.Is(err, recovery.ErrUnavailable) {
		t.Errorf("one more: %v, want ErrUnavailable", err)
	}
	if _, err := v.Validate(t.Context(), token, ""); err != nil {
		t.Errorf("a known one: %v", err)
	}
	v.Close()
	close(goOn)
}

func TestTokensOptions(t *testing.T) {
	for name, change := range map[string]func(*openstack.TokenOptions){
		"no Keystone":   func(o *openstack.TokenOptions) { o.AuthURL = "" },
		"no user":       func(o *openstack.TokenOptions) { o.User = "" },
		"no password":   func(o *openstack.TokenOptions) { o.Password = "" },
		"negative size": func(o *openstack.TokenOptions) { o.CacheSize = -1 },
		"attempts":      func(o *openstack.TokenOptions) { o.Attempts = -1 },
		"no CA file":    func(o *openstack.TokenOptions) { o.CAFile = "/nonexistent" },
	} {
		o := openstack.TokenOptions{Options: openstack.Options{AuthURL: "http://127.0.0.1:1", User: "u", Password: "hush"}}
		change(&o)
		if _, err := openstack.NewTokens(o); !errors.Is(err, recovery.ErrInvalid) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

// A token that is bound to access rules is no token here, whatever Keystone
// says.
func TestTokensWithAccessRules(t *testing.T) {
	k := newKeystone(t)
	v := k.tokens(nil)
	k.answers(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/auth/tokens") {
			return false
		}
		_, _ = io.WriteString(w, `{"token": {"expires_at": "2099-01-01T00:00:00Z", "user": {"id": "u"}, "application_credential": {"access_rules": [{"service": "compute"}]}}}`)
		return true
	})
	if _, err := v.Validate(t.Context(), "gAAAAAbound", ""); !errors.Is(err, recovery.ErrUnauthorized) {
		t.Errorf("error = %v, want ErrUnauthorized", err)
	}
}

// Close ends what is under way; nobody waits for ever.
func TestTokensClose(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	v, err := openstack.NewTokens(openstack.TokenOptions{Options: openstack.Options{AuthURL: "http://" + l.Addr().String(), User: "u", Password: "p"}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := v.Validate(t.Context(), "gAAAAA", "")
		done <- err
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	v.Close()
	if err := <-done; !errors.Is(err, recovery.ErrUnavailable) {
		t.Errorf("error = %v, want ErrUnavailable", err)
	}
	if _, err := v.Validate(t.Context(), "gAAAAA", ""); !errors.Is(err, recovery.ErrUnavailable) {
		t.Errorf("after Close: %v, want ErrUnavailable", err)
	}
}

// FuzzReadToken: whatever Keystone answers, who comes out has an id and a token
// that ends.
func FuzzReadToken(f *testing.F) {
	for _, s := range []string{
		`{"token": {"expires_at": "2099-01-01T00:00:00.000000Z", "user": {"id": "u", "name": "n", "domain": {"id": "d"}}, "project": {"id": "p", "name": "q"}, "roles": [{"name": "admin"}]}}`,
		`{"token": {"expires_at": "2099-01-01T00:00:00Z", "user": {"id": "u"}, "system": {"all": true}, "roles": []}}`,
		`{"token": {"expires_at": "2099-01-01T00:00:00Z", "user": {"id": "u"}, "application_credential": {"access_rules": [{}]}}}`,
		`{"token": null}`, `[]`, `{"token": {"roles": [null, 1]}}`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		id, err := openstack.ReadToken(body)
		if err != nil {
			if id.UserID != "" || len(id.Roles) > 0 {
				t.Fatalf("identity %+v beside %v", id, err)
			}
			return
		}
		if id.UserID == "" || id.Expires.IsZero() || len(id.Roles) > 1000 {
			t.Fatalf("identity = %+v of %s", id, body)
		}
	})
}
