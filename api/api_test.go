package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/api/auth"
	"github.com/wasakari/wasakari/api/internal/wire"
	"github.com/wasakari/wasakari/api/masakariv1"
	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/recovery"
)

// nothing is a store, a policy and a cloud that no test here asks for more
// than an empty list.
type nothing struct{ masakariv1.Store }

func (nothing) Segments(context.Context) ([]recovery.Segment, error) { return nil, nil }

func (nothing) Enforce(string, auth.Identity, map[string]string) error { return nil }

func (nothing) HostExists(context.Context, string) (bool, error) { return false, nil }

// everybody lets everybody in but the token "bad".
type everybody struct{}

func (everybody) Authenticate(_ context.Context, r *http.Request) (auth.Identity, error) {
	if r.Header.Get("X-Auth-Token") == "bad" {
		return auth.Identity{}, recovery.ErrUnauthorized
	}
	return auth.Identity{UserID: "u1", UserName: "ann", ProjectID: "p1"}, nil
}

func config() api.Config {
	return api.Config{
		Authenticator: everybody{},
		Masakari:      masakariv1.Config{Store: nothing{}, Policy: nothing{}, Nova: nothing{}},
	}
}

func handler(t *testing.T, cfg api.Config) http.Handler {
	t.Helper()
	h, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// request asks h. headers are pairs; Host is the host.
func request(h http.Handler, method, target string, body io.Reader, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), method, target, body)
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestNewRefuses(t *testing.T) {
	tests := map[string]func(*api.Config){
		"no authenticator":  func(c *api.Config) { c.Authenticator = nil },
		"no store":          func(c *api.Config) { c.Masakari.Store = nil },
		"no policy":         func(c *api.Config) { c.Masakari.Policy = nil },
		"nobody to ask":     func(c *api.Config) { c.Masakari.Nova = nil },
		"prefix with space": func(c *api.Config) { c.LinkPrefix = "cloud.example/ha" },
		"document":          func(c *api.Config) { c.Describe = func(*openapi3.T) error { return errors.New("no") } },
		"document not valid": func(c *api.Config) {
			c.Describe = func(doc *openapi3.T) error { doc.Info = nil; return nil }
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := config()
			change(&cfg)
			if _, err := api.New(cfg); err == nil {
				t.Error("New() error = nil")
			}
		})
	}
}

func TestRequestID(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	cfg := config()
	cfg.Logger = zap.New(core)
	h := handler(t, cfg)
	form := regexp.MustCompile(`^req-[0-9a-f-]{36}$`)
	global := "req-00000000-1111-2222-3333-444444444444"
	for given, want := range map[string]any{"": nil, global: global, "req-nonsense": nil, global + "\nx": nil} {
		logs.TakeAll()
		id := request(h, "GET", "/v1/segments?limit=1", nil, "X-Openstack-Request-Id", given, "X-Auth-Token", "secret-token").Header().Get("X-Openstack-Request-Id")
		if !form.MatchString(id) || id == global {
			t.Errorf("request id = %q, want one of its own", id)
		}
		lines := logs.FilterMessage("request").All()
		if len(lines) != 1 {
			t.Fatalf("%d lines, want 1", len(lines))
		}
		fields := lines[0].ContextMap()
		if fields["request_id"] != id || fields["global_request_id"] != want || fields["user"] != "u1" || fields["path"] != "/v1/segments" || fields["query"] != "limit=1" {
			t.Errorf("fields = %v", fields)
		}
		if strings.Contains(fmt.Sprint(fields), "secret-token") {
			t.Errorf("the token is in the log: %v", fields)
		}
	}
}

// TestTold tells audit and metrics of each request.
func TestTold(t *testing.T) {
	var changes []api.Change
	var answers []api.Answer
	cfg := config()
	cfg.Audit = func(_ context.Context, c api.Change) { changes = append(changes, c) }
	cfg.Observe = func(a api.Answer) { answers = append(answers, a) }
	cfg.Wasakari = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info := wire.Of(r.Context())
		info.Route, info.Action, info.Target = "/wasakari/v1/modules/{key}", "module.pin", "k"
		w.WriteHeader(http.StatusBadGateway)
	})
	h := handler(t, cfg)
	id := "11111111-2222-3333-4444-555555555555"
	tests := []struct {
		method, target, token string
		route                 string
		status                int
		action, target2       string // empty action: no change
		outcome               string
	}{
		{"GET", "/v1/segments", "", "/v1/segments", 200, "", "", ""},
		{"GET", "/v1/abc/segments", "", "/v1/segments", 400, "", "", ""},
		{"GET", "/", "", "/", 200, "", "", ""},
		{"GET", "/v9/" + id, "", "/", 300, "", "", ""},
		{"GET", "/v1/no/" + id, "", "other", 404, "", "", ""},
		{"GET", "/healthz", "", "/healthz", 200, "", "", ""},
		{"PUT", "/v1/segments/" + id, "", "/v1/segments/{segment_id}", 400, "segment.update", "", "refused"},
		{"DELETE", "/v1/segments/nope", "", "/v1/segments/{segment_id}", 404, "segment.delete", "nope", "refused"},
		{"POST", "/v1/segments", "bad", "other", 401, "POST other", "", "refused"},
		{"POST", "/v1/nowhere", "", "other", 404, "POST other", "", "refused"},
		{"PUT", "/wasakari/v1/modules/k", "", "/wasakari/v1/modules/{key}", 502, "module.pin", "k", "failed"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			changes, answers = nil, nil
			w := request(h, tt.method, tt.target, strings.NewReader("{}"), "X-Auth-Token", tt.token)
			if len(answers) != 1 || answers[0].Method != tt.method || answers[0].Route != tt.route || answers[0].Status != tt.status {
				t.Errorf("answers = %+v, want one of %s %s %d", answers, tt.method, tt.route, tt.status)
			}
			if tt.action == "" {
				if len(changes) != 0 {
					t.Errorf("changes = %+v, want none", changes)
				}
				return
			}
			if len(changes) != 1 {
				t.Fatalf("changes = %+v, want one", changes)
			}
			c := changes[0]
			user := "u1"
			if tt.token == "bad" {
				user = ""
			}
			if c.Action != tt.action || c.Target != tt.target2 || c.Outcome != tt.outcome || c.Status != tt.status || c.User != user ||
				c.Remote != "192.0.2.1" || c.RequestID != w.Header().Get("X-Openstack-Request-Id") || c.Time.IsZero() {
				t.Errorf("change = %+v, want %s of %q: %s", c, tt.action, tt.target2, tt.outcome)
			}
		})
	}
}

// TestAuditLog keeps the audit in the log when nobody else takes it.
func TestAuditLog(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	cfg := config()
	cfg.Logger = zap.New(core)
	request(handler(t, cfg), "DELETE", "/v1/segments/nope", nil)
	lines := logs.FilterMessage("change").All()
	if len(lines) != 1 || lines[0].LoggerName != "audit" || lines[0].ContextMap()["action"] != "segment.delete" {
		t.Errorf("lines = %+v, want one of the audit", lines)
	}
}

func TestPanic(t *testing.T) {
	core, logs := observer.New(zapcore.ErrorLevel)
	cfg := config()
	cfg.Logger = zap.New(core)
	cfg.Wasakari = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wasakari/v1/late" {
			_, _ = w.Write([]byte("half"))
		}
		panic("a slip: secret")
	})
	h := handler(t, cfg)
	w := request(h, "GET", "/wasakari/v1/early", nil)
	if w.Code != 500 || strings.Contains(w.Body.String(), "slip") || !strings.Contains(w.Body.String(), w.Header().Get("X-Openstack-Request-Id")) {
		t.Errorf("answer = %d %s, want 500 with the request id and no more", w.Code, w.Body)
	}
	if n := logs.FilterMessage("request panicked").Len(); n != 1 {
		t.Errorf("%d lines, want one", n)
	}
	func() {
		defer func() {
			if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // a panic's value
				t.Errorf("recover() = %v, want the connection cut off", v)
			}
		}()
		request(h, "GET", "/wasakari/v1/late", nil)
	}()
}

func TestNoAuth(t *testing.T) {
	cfg := config()
	cfg.NoAuth, cfg.Simulated = true, true
	cfg.Masakari.AnyProject = false
	h := handler(t, cfg)
	tests := []struct {
		name, host string
		origin     []string
		status     int
	}{
		{"localhost", "localhost:15868", nil, 200},
		{"localhost without a port", "LOCALHOST", nil, 200},
		{"IPv4", "127.0.0.1:15868", nil, 200},
		{"another of 127/8", "127.9.9.9", nil, 200},
		{"IPv6", "[::1]:15868", nil, 200},
		{"IPv6 without a port", "[::1]", nil, 200},
		{"IPv4 in IPv6", "[::ffff:127.0.0.1]:80", nil, 200},
		{"a web page", "localhost:15868", []string{"Origin", "http://evil.example"}, 403},
		{"a web page without a name", "localhost:15868", []string{"Origin", "null"}, 403},
		{"a web page of this machine", "localhost:15868", []string{"Origin", "http://localhost:15868"}, 403},
		{"a name that leads here", "evil.example:15868", nil, 403},
		{"a name that begins so", "localhost.evil.example", nil, 403},
		{"another machine", "192.0.2.7:15868", nil, 403},
		{"all addresses", "0.0.0.0:15868", nil, 403},
		{"none", "", nil, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, path := range []string{"/", "/v1/segments", "/v1/abc/segments", "/healthz"} {
				r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
				r.Host = tt.host
				for i := 0; i+1 < len(tt.origin); i += 2 {
					r.Header.Set(tt.origin[i], tt.origin[i+1])
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != tt.status {
					t.Errorf("%s: status = %d, want %d", path, w.Code, tt.status)
				}
				if w.Header().Get("X-Wasakari-Simulated") != "true" || w.Header().Get("X-Wasakari-No-Auth") != "true" {
					t.Errorf("%s: headers = %v, want it said what this is", path, w.Header())
				}
			}
		})
	}
	// With authentication, all of these are nobody's business.
	w := request(handler(t, config()), "GET", "/v1/segments", nil, "Host", "ha.example", "Origin", "https://dashboard.example")
	if w.Code != 200 || w.Header().Get("X-Wasakari-Simulated") != "" || w.Header().Get("X-Wasakari-No-Auth") != "" {
		t.Errorf("with authentication: %d %v, want 200 and no such header", w.Code, w.Header())
	}
}

func TestReadiness(t *testing.T) {
	cfg := config()
	ready := errors.New("etcd at 10.0.0.1 is away")
	cfg.Ready = func(ctx context.Context) error {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("no deadline")
		}
		return ready
	}
	h := handler(t, cfg)
	if w := request(h, "GET", "/readyz", nil); w.Code != 503 || strings.Contains(w.Body.String(), "10.0.0.1") {
		t.Errorf("answer = %d %s, want 503 and no reason", w.Code, w.Body)
	}
	if w := request(h, "GET", "/healthz", nil); w.Code != 200 {
		t.Errorf("healthz = %d, want 200: the process lives", w.Code)
	}
	ready = nil
	if w := request(h, "GET", "/readyz", nil); w.Code != 200 {
		t.Errorf("answer = %d, want 200", w.Code)
	}
}

// TestWasakari hands the other API its requests whole, with the caller, and
// bounds their bodies.
func TestWasakari(t *testing.T) {
	cfg := config()
	cfg.MaxUpload = 10
	var got string
	cfg.Wasakari = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		got = fmt.Sprint(r.URL.Path, " ", api.Caller(r.Context()).UserID, " ", len(body), " ", err != nil)
		if id := w.Header().Get("X-Openstack-Request-Id"); id == "" || id != api.RequestID(r.Context()) {
			t.Errorf("RequestID() = %q, want %q", api.RequestID(r.Context()), id)
		}
	})
	h := handler(t, cfg)
	tests := []struct {
		target, token string
		body          io.Reader
		status        int
		want          string
	}{
		{"/wasakari/v1", "", nil, 200, "/wasakari/v1 u1 0 false"},
		{"/wasakari/v1/a//b/../c", "", strings.NewReader("0123456789"), 200, "/wasakari/v1/a//b/../c u1 10 false"},
		{"/wasakari/v1/x", "", strings.NewReader("0123456789+"), 413, ""},
		{"/wasakari/v1/x", "", io.MultiReader(strings.NewReader("0123456789+")), 200, "/wasakari/v1/x u1 10 true"},
		{"/wasakari/v1/x", "bad", nil, 401, ""},
		{"/wasakari/v10", "", nil, 300, ""},
		{"/wasakari/v1/openapi.json", "bad", nil, 200, ""},
	}
	for _, tt := range tests {
		got = ""
		r := httptest.NewRequestWithContext(t.Context(), "GET", "http://localhost/", tt.body)
		r.URL.Path = tt.target
		r.Header.Set("X-Auth-Token", tt.token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.status || got != tt.want {
			t.Errorf("%s: %d, handler saw %q; want %d, %q", tt.target, w.Code, got, tt.status, tt.want)
		}
	}
	if w := request(handler(t, config()), "GET", "/wasakari/v1/runs", nil); w.Code != 300 {
		t.Errorf("without a handler: %d, want 300", w.Code)
	}
}

// A body that is too large is refused in the form of the API that it is for.
func TestTooLargeBeforeTheAPI(t *testing.T) {
	cfg := config()
	cfg.MaxBody, cfg.MaxUpload = 10, 10
	cfg.Wasakari = http.NotFoundHandler()
	h := handler(t, cfg)
	for path, want := range map[string]string{
		"/v1/segments":         "Request is too large.",
		"/wasakari/v1/runs":    `{"error":{"code":413,"title":"Request Entity Too Large","message":"the body has more than 10 bytes"}}`,
		"/wasakari/v1/modules": `{"error":{"code":413,"title":"Request Entity Too Large","message":"it is larger than the server takes","hint":"` + wasakariv1.HintTooLarge + `"}}`,
		"/wasakari/v1/x/../":   `{"error":{"code":413,"title":"Request Entity Too Large","message":"the body has more than 10 bytes"}}`,
	} {
		w := request(h, "POST", path, strings.NewReader("0123456789+"))
		if w.Code != 413 || w.Body.String() != want || w.Header().Get("Connection") != "close" {
			t.Errorf("%s: %d %s, want 413 %s", path, w.Code, w.Body, want)
		}
	}
}

// Whoever is not known cannot fill the audit.
func TestAuditOfStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []api.Change
		cfg := config()
		cfg.Audit = func(_ context.Context, c api.Change) { lines = append(lines, c) }
		h := handler(t, cfg)
		for range 50 {
			request(h, "POST", "/v1/segments", nil, "X-Auth-Token", "bad")
		}
		if last := lines[len(lines)-1]; len(lines) != 20 || last.Message != "further ones within a minute are only counted" || last.Status != 401 {
			t.Fatalf("%d lines, the last %+v", len(lines), lines[len(lines)-1])
		}
		request(h, "POST", "/v1/nowhere", nil)
		if last := lines[len(lines)-1]; len(lines) != 21 || last.User == "" {
			t.Errorf("%d lines, the last %+v: who is known has a line", len(lines), last)
		}
		time.Sleep(time.Minute)
		request(h, "POST", "/v1/segments", nil, "X-Auth-Token", "bad")
		if last := lines[len(lines)-1]; len(lines) != 22 || !strings.HasPrefix(last.Message, "30 requests of callers who were not known got no line since ") {
			t.Errorf("%d lines, the last %+v", len(lines), last)
		}
	})
}

func TestRemote(t *testing.T) {
	tests := []struct {
		name, forwarded string
		proxy           bool
		want            string
	}{
		{"none", "", true, "192.0.2.1"},
		{"believed", "203.0.113.9, 10.0.0.1", true, "203.0.113.9"},
		{"nonsense", "unknown", true, "192.0.2.1"},
		{"not believed", "203.0.113.9", false, "192.0.2.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			cfg := config()
			cfg.ProxyHeaders = tt.proxy
			cfg.Audit = func(_ context.Context, c api.Change) { got = c.Remote }
			request(handler(t, cfg), "POST", "/v1/nowhere", nil, "X-Forwarded-For", tt.forwarded)
			if got != tt.want {
				t.Errorf("remote = %q, want %q", got, tt.want)
			}
		})
	}
}

// TestLogClips bounds what of a path gets into the log.
func TestLogClips(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	cfg := config()
	cfg.Logger = zap.New(core)
	request(handler(t, cfg), "GET", "/"+strings.Repeat("x", 5000)+"?"+strings.Repeat("y", 5000), nil)
	fields := logs.FilterMessage("request").All()[0].ContextMap()
	for _, name := range []string{"path", "query"} {
		if text, ok := fields[name].(string); !ok || len(text) > 600 {
			t.Errorf("%s has %d bytes, want a clipped one", name, len(text))
		}
	}
}

// TestBodyOfUnknownLength bounds what says nothing of its length too.
func TestBodyOfUnknownLength(t *testing.T) {
	cfg := config()
	cfg.MaxBody = 100
	h := handler(t, cfg)
	for length, status := range map[int]int{100: 400, 101: 413} {
		body := io.MultiReader(strings.NewReader(strings.Repeat(" ", length)))
		w := request(h, "POST", "/v1/segments", body)
		if w.Code != status {
			t.Errorf("%d bytes: %d %s, want %d", length, w.Code, w.Body, status)
		}
		if kind := w.Header().Get("Content-Type"); status == 413 && !strings.HasPrefix(kind, "text/plain") {
			t.Errorf("content type = %q, want text/plain", kind)
		}
	}
}

// stuck is a store that does not answer.
type stuck struct{ nothing }

func (stuck) Segments(ctx context.Context) ([]recovery.Segment, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestTimeout(t *testing.T) {
	cfg := config()
	cfg.Masakari.Store, cfg.Masakari.Timeout = stuck{}, time.Millisecond
	if w := request(handler(t, cfg), "GET", "/v1/segments", nil); w.Code != 503 || !strings.Contains(w.Body.String(), `"serviceUnavailable"`) {
		t.Errorf("answer = %d %s, want 503", w.Code, w.Body)
	}
	// A client that goes away takes its request with it.
	cfg.Masakari.Timeout = time.Hour
	h := handler(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/v1/segments", nil))
	if w.Code < 400 {
		t.Errorf("answer = %d, want none that is good", w.Code)
	}
}

func TestDocument(t *testing.T) {
	cfg := config()
	cfg.Describe = func(doc *openapi3.T) error {
		op := &openapi3.Operation{Responses: openapi3.NewResponses(openapi3.WithStatus(200, &openapi3.ResponseRef{Value: openapi3.NewResponse().WithDescription("ok")}))}
		doc.AddOperation("/wasakari/v1/things", http.MethodGet, op)
		return nil
	}
	w := request(handler(t, cfg), "GET", api.OpenAPIPath, nil)
	doc, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	operations := 0
	ids := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			operations++
			if op.OperationID != "" && ids[op.OperationID] {
				t.Errorf("%s %s: operation id %s stands twice", method, path, op.OperationID)
			}
			ids[op.OperationID] = true
		}
	}
	// What Masakari has, versions, health and the one from outside.
	if want := 19 + 1 + 3 + 1; operations != want {
		t.Errorf("operations = %d, want %d", operations, want)
	}
	for _, path := range []string{"/", "/v1", "/v1/segments/{segment_id}/hosts/{host_id}", "/v1/notifications/{notification_id}/vmoves/{vmove_id}", "/wasakari/v1/things", "/readyz"} {
		if doc.Paths.Value(path) == nil {
			t.Errorf("%s is not in the document", path)
		}
	}
	body, err := json.Marshal(doc.Paths.Value("/v1/segments").Post.RequestBody.Value.Content["application/json"].Schema.Value)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"reserved_host"`, `"maxLength":255`, `"additionalProperties":false`, `"required":["name","recovery_method","service_type"]`, `"enabled"`} {
		if !strings.Contains(string(body), want) {
			t.Errorf("body of POST /v1/segments = %s, want %s in it", body, want)
		}
	}
}

// TestServe drains: what is being answered is answered, streams are told to
// end, nobody else gets in.
func TestServe(t *testing.T) {
	cfg := config()
	arrived, release := make(chan struct{}), make(chan struct{})
	cfg.Wasakari = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		if r.URL.Path == "/wasakari/v1/stream" {
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Errorf("Flush() = %v", err)
			}
			<-wire.Closing(r.Context())
			_, _ = w.Write([]byte("closing"))
			return
		}
		<-release
		if r.Context().Err() != nil {
			t.Error("the request was cancelled by the shutdown")
		}
		_, _ = w.Write([]byte("answered"))
	})
	ln := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- api.Serve(ctx, ln, handler(t, cfg), api.ServeConfig{}) }()

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	bodies := map[string]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, path := range []string{"/stream", "/slow"} {
		wg.Go(func() {
			res, err := client.Get("http://" + ln.Addr().String() + "/wasakari/v1" + path) //nolint:noctx // the test's own server
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			bodies[path] = string(body)
		})
		<-arrived
	}
	stop()
	// The listener is closed before the answers are there.
	for {
		conn, err := net.Dial("tcp", ln.Addr().String()) //nolint:noctx // the test's own server
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	close(release)
	wg.Wait()
	if err := <-served; err != nil {
		t.Errorf("Serve() = %v, want nil", err)
	}
	if bodies["/stream"] != "closing" || bodies["/slow"] != "answered" {
		t.Errorf("bodies = %q", bodies)
	}
}

// listen listens on a port of this machine.
func listen(t *testing.T) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func TestServeCutsOff(t *testing.T) {
	cfg := config()
	arrived := make(chan struct{})
	cfg.Wasakari = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done() // until its connection is closed
	})
	ln := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- api.Serve(ctx, ln, handler(t, cfg), api.ServeConfig{DrainTimeout: time.Millisecond})
	}()
	conn, err := net.Dial("tcp", ln.Addr().String()) //nolint:noctx // the test's own server
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET /wasakari/v1/x HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-arrived
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve() = %v, want nil", err)
	}
}

func TestServeListenerGone(t *testing.T) {
	ln := listen(t)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := api.Serve(t.Context(), ln, handler(t, config()), api.ServeConfig{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve() = %v, want %v", err, net.ErrClosed)
	}
}

// start serves h until the test ends.
func start(t *testing.T, h http.Handler, cfg api.ServeConfig) string {
	t.Helper()
	ln := listen(t)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- api.Serve(ctx, ln, h, cfg) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve() = %v", err)
		}
	})
	return ln.Addr().String()
}

func TestServeBounds(t *testing.T) {
	addr := start(t, handler(t, config()), api.ServeConfig{MaxHeaderBytes: 4096, NoKeepAlive: true, MaxConnections: 1})
	get := func(token string) (status int, closed bool, err error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/v1/segments", nil)
		if err != nil {
			return 0, false, err
		}
		r.Header.Set("X-Auth-Token", token)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, false, err
		}
		return res.StatusCode, res.Close, res.Body.Close()
	}
	status, closed, err := get("x")
	if err != nil || status != http.StatusOK || !closed {
		t.Errorf("answer = %d, closed %v, %v; want 200 and the connection closed", status, closed, err)
	}
	status, _, err = get(strings.Repeat("x", 20000))
	if err != nil || status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("with a large header: %d, %v; want 431", status, err)
	}

	// A second connection waits until the first is gone.
	first, err := net.Dial("tcp", addr) //nolint:noctx // the test's own server
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, _, err := get("x")
		answered <- err
	}()
	if _, err := io.WriteString(first, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(first); err != nil {
		t.Fatal(err)
	}
	_ = first.Close()
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// authority makes certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", nil, nil)
	return a
}

// issue writes name.crt and name.key.
func (a *authority) issue(name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: parent == nil, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return cert, key
}

func (a *authority) write(name string, data []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.file(name), data, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func TestTLS(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	ca.issue("server", ca.cert, ca.key)
	ca.issue("client", ca.cert, ca.key)
	stranger.issue("client", stranger.cert, stranger.key)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	load := func(of *authority) []tls.Certificate {
		pair, err := tls.LoadX509KeyPair(of.file("client.crt"), of.file("client.key"))
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{pair}
	}
	tests := []struct {
		name, ca string
		client   []tls.Certificate
		wantErr  bool
	}{
		{"no client certificate wanted", "", nil, false},
		{"a good one", ca.file("ca.crt"), load(ca), false},
		{"none", ca.file("ca.crt"), nil, true},
		{"one of another authority", ca.file("ca.crt"), load(stranger), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := api.TLSConfig(ca.file("server.crt"), ca.file("server.key"), tt.ca, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			addr := start(t, handler(t, config()), api.ServeConfig{TLS: cfg})
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: tt.client}}
			defer transport.CloseIdleConnections()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := (&http.Client{Transport: transport}).Do(r)
			if tt.wantErr != (err != nil) {
				t.Fatalf("error = %v, want one: %v", err, tt.wantErr)
			}
			if err != nil {
				return
			}
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			if err != nil || !strings.Contains(string(body), `"https://`+addr+`/v1/"`) {
				t.Errorf("body = %s, %v; want links by https", body, err)
			}
		})
	}
}

// TestTLSRenewal takes a renewed certificate without a restart, and not half of
// one.
func TestTLSRenewal(t *testing.T) {
	ca := newAuthority(t)
	first, _ := ca.issue("server", ca.cert, ca.key)
	core, logs := observer.New(zap.WarnLevel)
	cfg, err := api.TLSConfig(ca.file("server.crt"), ca.file("server.key"), "", zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	addr := start(t, handler(t, config()), api.ServeConfig{TLS: cfg})
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	want := func(what string, cert *x509.Certificate) {
		t.Helper()
		d := tls.Dialer{Config: &tls.Config{RootCAs: roots}}
		conn, err := d.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer func() { _ = conn.Close() }()
		tlsConn, ok := conn.(*tls.Conn)
		if !ok {
			t.Fatalf("%s: no TLS", what)
		}
		if got := tlsConn.ConnectionState().PeerCertificates[0]; !got.Equal(cert) {
			t.Errorf("%s: certificate %v, want %v", what, got.SerialNumber, cert.SerialNumber)
		}
	}
	want("at first", first)
	ca.write("server.crt", []byte("half of a certificate"))
	want("while it is written", first)
	want("still", first)
	if n := logs.FilterMessage("certificate not read, the former one is used").Len(); n != 1 {
		t.Errorf("told %d times that the certificate is not read, want once", n)
	}
	second, _ := ca.issue("server", ca.cert, ca.key)
	later := time.Now().Add(time.Hour) // whatever the clock of the file system can tell apart
	for _, name := range []string{"server.crt", "server.key"} {
		if err := os.Chtimes(ca.file(name), later, later); err != nil {
			t.Fatal(err)
		}
	}
	want("renewed", second)
}

func TestTLSConfigRefuses(t *testing.T) {
	ca := newAuthority(t)
	ca.write("empty.crt", nil)
	good, key := ca.file("ca.crt"), ca.file("ca.key")
	for name, files := range map[string][3]string{
		"no certificate":         {"", key, ""},
		"no key":                 {good, "", ""},
		"no such file":           {ca.file("no.crt"), key, ""},
		"no such authority":      {good, key, ca.file("no.crt")},
		"authority without any":  {good, key, ca.file("empty.crt")},
		"key is no key":          {good, good, ""},
		"certificate is no such": {key, key, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := api.TLSConfig(files[0], files[1], files[2], zap.NewNop()); err == nil {
				t.Error("TLSConfig() error = nil")
			}
		})
	}
}
