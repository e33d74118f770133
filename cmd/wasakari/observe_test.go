package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/engine"
	"github.com/wasakari/wasakari/internal/audit"
	"github.com/wasakari/wasakari/runtime"
)

func telemetryConfig(t *testing.T, text string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "t.conf")
	if err := os.WriteFile(file, []byte("[telemetry]\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Sources{Files: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// What [telemetry] says reaches the exporter: where, by which headers, which
// part of the traces.
func TestTelemetryOptions(t *testing.T) {
	t.Parallel()
	got := make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- r.URL.Path + " " + r.Header.Get("Api-Key")
	}))
	t.Cleanup(collector.Close)
	for _, tt := range []struct{ name, conf, want string }{
		{"traced", "otlp_endpoint = URL\notlp_headers = api-key=k=1\n", "/v1/traces k=1"},
		{"none of them kept", "otlp_endpoint = URL\ntrace_percent = 0\n", ""},
		{"not traced", "", ""},
	} {
		tel, err := newTelemetry(t.Context(), telemetryConfig(t, strings.ReplaceAll(tt.conf, "URL", collector.URL)), "n1", zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		_, end := tel.StartOp(t.Context(), "nova.server_get")
		end("ok")
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		sent := ""
		select {
		case sent = <-got:
		default:
		}
		if sent != tt.want {
			t.Errorf("%s: sent %q, want %q", tt.name, sent, tt.want)
		}
	}
	_, err := newTelemetry(t.Context(), telemetryConfig(t, "otlp_endpoint = http://c\notlp_ca_file = /nowhere\n"), "n1", zap.NewNop())
	if want := "[telemetry] otlp_ca_file: /nowhere: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestObservers(t *testing.T) {
	t.Parallel()
	tel, err := newTelemetry(t.Context(), telemetryConfig(t, ""), "n1", zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	rt, err := runtime.New(runtime.Config{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rt.Close(context.Background()) })
	measureSandboxes(tel, rt)
	engineWatch{tel.Engine(), nil}.FoundUnreported(make([]engine.UnreportedHost, 2))
	answered(tel)(api.Answer{Method: "GET", Route: "/v1/segments", Status: 200, Took: time.Second})
	rec := httptest.NewRecorder()
	tel.Metrics().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`wasakari_sandboxes{state="live"} 0`, "wasakari_hosts_unreported 2", `wasakari_http_requests_total{code="200",method="GET",route="/v1/segments"} 1`,
	} {
		if !strings.Contains(rec.Body.String(), want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}

func TestAuditOfAPI(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	write := auditedAPI(audit.New(audit.Config{Writer: &b}))
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	write(t.Context(), api.Change{Time: at, User: "u", UserName: "Ann", Project: "p", Remote: "10.0.0.1", Action: "segment.create", Target: "s", Outcome: "done", Status: 201, RequestID: "req-1", GlobalID: "req-2"})
	write(t.Context(), api.Change{Time: at, Action: "uploadModule", Outcome: "refused", Status: 403})
	want := `{"time":"2026-11-23T12:00:00Z","kind":"api","op":"segment.create","target":"s","outcome":"done","user":"u","user_name":"Ann","project":"p","remote":"10.0.0.1","request_id":"req-1","global_request_id":"req-2","status":201}
{"time":"2026-11-23T12:00:00Z","kind":"module","op":"uploadModule","outcome":"refused","status":403}
`
	if got := b.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
