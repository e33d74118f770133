package openstack_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/wasakari/wasakari/openstack"
)

// request is one that the fake cloud received.
type request struct {
	method, path, query, version, token, agent, body string
}

func (r request) String() string { return r.method + " " + r.path }

// cloud is Keystone and Nova as far as a test needs them. What a test does not
// replace with on works.
type cloud struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex
	log      []request
	handlers map[string]http.HandlerFunc
	issued   int             // tokens
	valid    map[string]bool // tokens
	catalog  string
	nova     string // version document
}

const novaVersion = `{"version": {"id": "v2.1", "status": "CURRENT", "version": "2.93", "min_version": "2.1"}}`

// newCloud starts a cloud; start nil means plain HTTP.
func newCloud(t testing.TB, start func(*httptest.Server)) *cloud {
	t.Helper()
	f := &cloud{t: t, handlers: map[string]http.HandlerFunc{}, valid: map[string]bool{}, nova: novaVersion}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	if start == nil {
		start = (*httptest.Server).Start
	}
	start(f.Server)
	t.Cleanup(f.Close)
	f.catalog = fmt.Sprintf(`[
		{"type": "identity", "name": "keystone", "endpoints": [{"interface": "public", "region": "One", "region_id": "One", "url": "%[1]s/v3"}]},
		{"type": "compute", "name": "nova", "endpoints": [
			{"interface": "public", "region": "One", "region_id": "One", "url": "%[1]s/v2.1"},
			{"interface": "internal", "region": "One", "region_id": "One", "url": "%[1]s/internal/v2.1/project-1"},
			{"interface": "public", "region": "Two", "region_id": "Two", "url": "%[1]s/two/v2.1/"}]},
		{"type": "compute", "name": "nova2", "endpoints": [{"interface": "public", "region": "One", "region_id": "One", "url": "%[1]s/other/compute"}]}]`, f.URL)
	return f
}

func (f *cloud) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	q := request{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("OpenStack-API-Version"), r.Header.Get("X-Auth-Token"), r.UserAgent(), string(body)}
	f.mu.Lock()
	if len(f.log) < 10_000 { // a fuzz target sends more
		f.log = append(f.log, q)
	}
	h := f.handlers[q.String()]
	ok := f.valid[q.token]
	f.mu.Unlock()
	if h != nil {
		h(w, r)
		return
	}
	switch q.String() {
	case "GET /":
		answer(w, http.StatusMultipleChoices, `{"versions": {"values": [{"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": "http://elsewhere.invalid/v3/"}]}]}}`)
		return
	case "POST /v3/auth/tokens":
		w.Header().Set("X-Subject-Token", f.newToken())
		answer(w, http.StatusCreated, `{"token": {"expires_at": "2030-01-01T00:00:00.000000Z", "catalog": `+f.catalog+`}}`)
		return
	case "GET /v3/auth/tokens":
		w.Header().Set("X-Subject-Token", r.Header.Get("X-Subject-Token"))
		answer(w, http.StatusOK, `{"token": {"expires_at": "2030-01-01T00:00:00.000000Z", "catalog": `+f.catalog+`}}`)
		return
	}
	if strings.HasSuffix(q.path, "/v2.1/") || strings.HasSuffix(q.path, "/compute/") {
		answer(w, http.StatusOK, f.nova)
		return
	}
	if !ok {
		answer(w, http.StatusUnauthorized, `{"error": {"code": 401, "message": "The request you have made requires authentication."}}`)
		return
	}
	answer(w, http.StatusNotFound, `{"itemNotFound": {"code": 404, "message": "The resource could not be found."}}`)
}

func (f *cloud) newToken() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.issued++
	token := fmt.Sprintf("token-number-%d", f.issued)
	f.valid[token] = true
	return token
}

// revoke makes every token invalid.
func (f *cloud) revoke() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.valid)
}

// on replaces the answer to one method and path.
func (f *cloud) on(request string, h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handlers[request] = h
}

// onValid is on, for those who have a valid token.
func (f *cloud) onValid(request string, h http.HandlerFunc) {
	f.on(request, func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		ok := f.valid[r.Header.Get("X-Auth-Token")]
		f.mu.Unlock()
		if !ok {
			answer(w, http.StatusUnauthorized, `{"error": {"code": 401, "message": "The request you have made requires authentication."}}`)
			return
		}
		h(w, r)
	})
}

// got counts the requests of one method and path.
func (f *cloud) got(request string) int {
	n := 0
	for _, r := range f.requests() {
		if r.String() == request {
			n++
		}
	}
	return n
}

func (f *cloud) requests() []request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

// last is the last request that the cloud received.
func (f *cloud) last() request {
	all := f.requests()
	return all[len(all)-1]
}

// options logs in as admin.
func (f *cloud) options() openstack.Options {
	return openstack.Options{
		AuthURL: f.URL + "/v3", User: "admin", Password: "correct-horse", Project: "ops",
		Backoff: time.Millisecond, Logger: zaptest.NewLogger(f.t),
	}
}

// connect gives a client of the cloud.
func (f *cloud) connect(change ...func(*openstack.Options)) *openstack.Client {
	f.t.Helper()
	o := f.options()
	for _, c := range change {
		c(&o)
	}
	c, err := openstack.Connect(f.t.Context(), o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(c.Close)
	return c
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Openstack-Request-Id", "req-1")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// say answers every request alike.
func say(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { answer(w, status, body) }
}

// drop closes the connection without an answer, after the request was read.
func drop(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func fixture(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sameJSON reports whether two documents say the same.
func sameJSON(t *testing.T, got, want string) bool {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Errorf("%q: %v", got, err)
		return false
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	gb, _ := json.Marshal(g)
	wb, _ := json.Marshal(w)
	return string(gb) == string(wb)
}

// environ is an environment with only these variables.
func environ(vars map[string]string) []string {
	env := []string{"HOME=/nowhere"}
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, k+"="+vars[k])
	}
	return env
}
