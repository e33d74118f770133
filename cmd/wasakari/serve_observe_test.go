package main

import (
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/audit"
)

// spanStore keeps what a collector is sent, by span id.
type spanStore struct {
	mu   sync.Mutex
	byID map[string]*trace.Span
}

func collect(t *testing.T) (*spanStore, string) {
	t.Helper()
	s := &spanStore{byID: map[string]*trace.Span{}}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var req collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &req)
		}
		if err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, rs := range req.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				for _, span := range ss.GetSpans() {
					s.byID[hex.EncodeToString(span.GetSpanId())] = span
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	return s, server.URL
}

// chain names the spans from one of this name up to the root that is known, and
// the parent of that.
func (s *spanStore) chain(name string) (names []string, parent, traceID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var at *trace.Span
	for _, span := range s.byID {
		if span.GetName() == name {
			at = span
			break
		}
	}
	for at != nil {
		names = append(names, at.GetName())
		parent, traceID = hex.EncodeToString(at.GetParentSpanId()), hex.EncodeToString(at.GetTraceId())
		at = s.byID[parent]
	}
	return names, parent, traceID
}

// What a service does can be seen from outside: a trace from the client's
// request to Nova's, metrics, and a line for each change.
func TestServeObserved(t *testing.T) {
	const traceID, client = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	seen, endpoint := collect(t)
	free, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	metrics := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	p := newPlace(t, map[string]string{"cloud.yaml": quickCloud})
	s := p.serve(t, "--simulate", "--scenario", "DIR/cloud.yaml", "--metrics-listen", metrics, "--set", "telemetry.otlp_endpoint="+endpoint)
	var sent notificationDoc
	header := http.Header{"Traceparent": {"00-" + traceID + "-" + client + "-01"}}
	resp := s.ask(t, "POST", "/v1/notifications", deadHost("compute-1"), header, &sent)
	if done := s.final(t, sent.Notification.UUID); done.Notification.Status != "finished" {
		t.Fatalf("notification: %+v", done)
	}
	if resp := s.ask(t, "POST", "/v1/notifications", deadHost("compute-1"), nil, nil); resp.StatusCode != http.StatusConflict {
		t.Errorf("the same again, on maintenance now: %s", resp.Status)
	}

	scraped := serving{url: "http://" + metrics}.text(t, "/metrics")
	for _, want := range []string{
		`wasakari_notifications_total{result="accepted",type="COMPUTE_HOST"} 1`, `wasakari_notifications_total{result="refused",type="COMPUTE_HOST"} 1`,
		`wasakari_notifications_ended_total{status="finished",type="COMPUTE_HOST"} 1`,
		`wasakari_runs_total{flow="host-auto",outcome="finished"} 1`, `wasakari_tasks_total{status="succeeded",task="evacuate_instances_task"} 1`,
		`wasakari_queue_notifications{state="due",type="COMPUTE_HOST"} 0`, `wasakari_ready 1`, `wasakari_sandboxes{state="live"} 0`,
		`wasakari_http_requests_total{code="202",method="POST",route="/v1/notifications"} 1`, `wasakari_ops_total{code="ok",op="nova.server_evacuate"} `,
		`wasakari_cloud_requests_total{code="200",method="POST",resource="servers/action",service="nova"} `, `wasakari_store_bytes{what="quota"} `,
		`wasakari_store_transactions_total{result="ok"} `, `wasakari_lease_left_seconds `,
	} {
		if !strings.Contains(scraped, "\n"+want) {
			t.Errorf("no metric %s", want)
		}
	}

	if r := s.stop(); r.code != exitOK {
		t.Fatalf("exit code %d\n%s", r.code, r.stderr)
	}
	names, parent, id := seen.chain("nova POST servers/action")
	got := strings.Join(names, " < ")
	if !strings.HasPrefix(got, "nova POST servers/action < nova.server_") || !strings.HasSuffix(got, " < task evacuate_instances_task < run host-auto < POST /v1/notifications") ||
		parent != client || id != traceID {
		t.Errorf("trace %s: %s < %s, want the client's span %s of %s above all", id, got, parent, client, traceID)
	}
	if names, _, id := seen.chain("nova GET servers/detail"); len(names) < 2 || id != traceID {
		t.Errorf("a shared request: %q of trace %s", names, id)
	}

	lines := map[string]int{}
	for _, line := range p.audited(t) {
		switch {
		case line.Kind == audit.API && line.RequestID == resp.Header.Get("X-Openstack-Request-Id"):
			lines["accepted"]++
		case line.Op == abi.OpNovaServerEvacuate && line.Outcome == audit.Done && line.Notification == sent.Notification.UUID && line.NovaRequestID != "":
			lines["evacuated"]++
		}
	}
	if lines["accepted"] != 1 || lines["evacuated"] == 0 {
		t.Errorf("audit log: %v\n%+v", lines, p.audited(t))
	}
}

// text gets a page.
func (s serving) text(t *testing.T, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
	return string(body)
}
