package masakariv1_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"go.uber.org/zap/zaptest"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/api/auth"
	"github.com/wasakari/wasakari/api/masakariv1"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

const (
	admin     = "token-of-an-admin"
	reader    = "token-of-a-reader"
	project   = "a2f0"
	window    = 180 * time.Second
	otherUUID = "11111111-2222-3333-4444-555555555555"
)

// service is the API over HTTP, with a store and a fake cloud.
type service struct {
	t     *testing.T
	url   string
	store *fakeStore   // nil when the store is the real one
	real  *store.Store // nil when it is not
	nova  *fakeNova
	doc   routers.Router
}

// serve starts the API. change may alter the configuration.
func serve(t *testing.T, change ...func(*api.Config)) *service {
	t.Helper()
	policy, err := auth.NewPolicy(auth.PolicyConfig{})
	if err != nil {
		t.Fatal(err)
	}
	fake, nova := newFakeStore(), &fakeNova{known: []string{"compute-1", "compute-2", "compute-3"}}
	cfg := api.Config{
		Authenticator:      tokens{},
		WWWAuthenticateURI: "http://keystone.example:5000",
		Logger:             zaptest.NewLogger(t),
		Masakari:           masakariv1.Config{Store: fake, Policy: policy, Nova: nova, DuplicateWindow: window},
		DisableFile:        t.TempDir() + "/disabled",
	}
	for _, c := range change {
		c(&cfg)
	}
	h, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	s := &service{t: t, url: srv.URL, store: fake, nova: nova}
	if real, ok := cfg.Masakari.Store.(*store.Store); ok {
		s.store, s.real = nil, real
	}
	documented.Do(func() { documentedBy = s.document() })
	s.doc = documentedBy
	return s
}

// documentedBy is the OpenAPI document, the same in all tests.
var (
	documented   sync.Once
	documentedBy routers.Router
)

// document reads the OpenAPI document that is served.
func (s *service) document() routers.Router {
	s.t.Helper()
	got := s.ask("GET", api.OpenAPIPath, nil, "X-Auth-Token", "-").wantStatus(200)
	doc, err := openapi3.NewLoader().LoadFromData([]byte(got.body))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := doc.Validate(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		s.t.Fatal(err)
	}
	return router
}

// checkDocumented fails the test when an answer is not as the document says.
func (s *service) checkDocumented(req *http.Request, a answer) {
	s.t.Helper()
	if s.doc == nil {
		return
	}
	route, params, err := s.doc.FindRoute(req)
	if err != nil {
		return // not in the document, such as a path with a project
	}
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: a.status, Header: a.header, Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	if err := openapi3filter.ValidateResponse(s.t.Context(), out.SetBodyBytes([]byte(a.body))); err != nil {
		s.t.Errorf("%s %s: answer %d %s is not as documented: %v", req.Method, req.URL.Path, a.status, a.body, err)
	}
}

// eachStore runs a test on the fake store and on the real one.
func eachStore(t *testing.T, test func(t *testing.T, s *service), change ...func(*api.Config)) {
	t.Helper()
	t.Run("fake store", func(t *testing.T) { test(t, serve(t, change...)) })
	t.Run("real store", func(t *testing.T) {
		test(t, serve(t, append(change, func(c *api.Config) { c.Masakari.Store = openStore(t) })...))
	})
}

// openStore opens an embedded store.
func openStore(t *testing.T) *store.Store {
	t.Helper()
	opened, err := store.Open(t.Context(), store.Config{Dir: t.TempDir() + "/store", Node: "n1", Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	})
	return opened
}

// end ends a notification.
func (s *service) end(id string, status recovery.NotificationStatus, message string) {
	s.t.Helper()
	if s.real != nil {
		if err := s.real.EndNotification(s.t.Context(), id, status, message); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	s.store.change(func() {
		for i := range s.store.notifications {
			if n := &s.store.notifications[i]; n.UUID == id {
				n.Status, n.Message = status, message
			}
		}
	})
}

// tokens knows two callers.
type tokens struct{}

func (tokens) Authenticate(_ context.Context, r *http.Request) (auth.Identity, error) {
	switch r.Header.Get("X-Auth-Token") {
	case admin:
		return auth.Identity{UserID: "u1", UserName: "root", ProjectID: project, Roles: []string{"admin"}}, nil
	case reader:
		return auth.Identity{UserID: "u2", UserName: "eve", ProjectID: project, Roles: []string{"reader"}}, nil
	case "keystone-is-away":
		return auth.Identity{}, recovery.ErrUnavailable
	}
	return auth.Identity{}, recovery.ErrUnauthorized
}

// fakeNova knows hosts.
type fakeNova struct {
	known []string
	err   error
}

func (n *fakeNova) HostExists(_ context.Context, name string) (bool, error) {
	if slices.Contains(n.known, name) {
		return true, n.err
	}
	return false, n.err
}

// answer is what came back.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   string
}

// ask sends a request. body is JSON text, or anything to make JSON of, or nil.
// headers are pairs of name and value.
func (s *service) ask(method, path string, body any, headers ...string) answer {
	s.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		in = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, in)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", admin)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] == "-" {
			req.Header.Del(headers[i])
			continue
		}
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{t: s.t, status: res.StatusCode, header: res.Header, body: string(data)}
	s.checkDocumented(req, a)
	return a
}

// at gives the value at a path of keys of the body: "segment.uuid".
func (a answer) at(path string) any {
	a.t.Helper()
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		a.t.Fatalf("body %q: %v", a.body, err)
	}
	for key := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			i := int(key[0] - '0')
			if i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

func (a answer) text(path string) string {
	s, _ := a.at(path).(string)
	return s
}

var (
	uuidText = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	timeText = regexp.MustCompile(`"(created_at|updated_at)":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000000"`)
	idText   = regexp.MustCompile(`"id":\d+`)
)

// normal gives the body with ids and record times replaced.
func (a answer) normal() string {
	s := uuidText.ReplaceAllString(a.body, "UUID")
	s = timeText.ReplaceAllString(s, `"$1":"TIME"`)
	return idText.ReplaceAllString(s, `"id":ID`)
}

// want fails the test unless the answer has the status and body.
func (a answer) want(status int, body string) answer {
	a.t.Helper()
	if a.status != status || a.body != body {
		a.t.Errorf("answer = %d %s\nwant %d %s", a.status, a.body, status, body)
	}
	return a
}

// wantFault fails the test unless the answer is an error with the text.
func (a answer) wantFault(status int, message string) {
	a.t.Helper()
	keys := map[int]string{400: "badRequest", 403: "forbidden", 404: "itemNotFound", 405: "badMethod", 409: "conflictingRequest", 415: "badMediaType", 503: "serviceUnavailable"}
	key, ok := keys[status]
	if !ok {
		key = "masakariFault"
	}
	type fault struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	var got map[string]fault
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		a.t.Errorf("answer = %d %q, want %d %s", a.status, a.body, status, message)
		return
	}
	if a.status != status || len(got) != 1 || got[key] != (fault{status, message}) {
		a.t.Errorf("answer = %d %v\nwant %d %s: %s", a.status, got, status, key, message)
	}
}

func (a answer) wantStatus(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Errorf("answer = %d %s, want %d", a.status, a.body, status)
	}
	return a
}

// segment makes a segment and gives its uuid.
func (s *service) segment(name string) string {
	s.t.Helper()
	return s.ask("POST", "/v1/segments", map[string]any{"segment": map[string]any{
		"name": name, "recovery_method": "auto", "service_type": "COMPUTE",
	}}).wantStatus(201).text("segment.uuid")
}

// host makes a host and gives its uuid.
func (s *service) host(segment, name string) string {
	s.t.Helper()
	return s.ask("POST", "/v1/segments/"+segment+"/hosts", map[string]any{"host": map[string]any{
		"name": name, "type": "COMPUTE", "control_attributes": "SSH",
	}}).wantStatus(201).text("host.uuid")
}

// notify reports a failure of a host and gives the notification's uuid.
func (s *service) notify(host, generated string) string {
	s.t.Helper()
	return s.ask("POST", "/v1/notifications", notification(host, generated)).wantStatus(202).text("notification.notification_uuid")
}

func notification(host, generated string) map[string]any {
	return map[string]any{"notification": map[string]any{
		"type": "COMPUTE_HOST", "hostname": host, "generated_time": generated,
		"payload": map[string]any{"event": "STOPPED", "host_status": "NORMAL", "cluster_status": "OFFLINE"},
	}}
}

var errBroken = errors.New("a page of the disk is gone: /var/lib/secret")
