package telemetry_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/wasakari/wasakari/internal/telemetry"
	"github.com/wasakari/wasakari/recovery"
)

const (
	clientTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	fromClient  = "00-" + clientTrace + "-00f067aa0ba902b7-01"
)

// kept is an exporter that keeps the spans it was given, also after Shutdown.
type kept struct{ spans tracetest.SpanStubs }

func (k *kept) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	k.spans = append(k.spans, tracetest.SpanStubsFromReadOnlySpans(spans)...)
	return nil
}

func (k *kept) Shutdown(context.Context) error { return nil }

// post sends a request through the middleware and gives the header traceparent
// that the handler saw.
func post(t *testing.T, x *telemetry.Telemetry, path, traceparent string, inside func(context.Context)) string {
	t.Helper()
	seen := ""
	h := x.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("Traceparent")
		if inside != nil {
			inside(r.Context())
		}
		w.WriteHeader(http.StatusAccepted)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("an answer cannot be flushed: %v", err)
		}
	}))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path+"?name=hunter2", nil)
	r.Header.Set("X-Auth-Token", "hunter2")
	r.Header.Set("Baggage", "password=hunter2")
	if traceparent != "" {
		r.Header.Set("Traceparent", traceparent)
	}
	h.ServeHTTP(httptest.NewRecorder(), r)
	return seen
}

// One trace leads from the client's request over the notification that one
// process keeps and the run that another one does, to the request to Nova.
func TestTraceAcrossProcesses(t *testing.T) {
	var api, node kept
	notification := recovery.Notification{UUID: "n-1", Type: recovery.ComputeHost}
	first := newTelemetry(t, telemetry.Config{Exporter: &api})
	notification.Trace = post(t, first, "/v1/notifications", fromClient, func(ctx context.Context) {
		first.Accepted(ctx, notification, nil)
	})
	if err := first.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(notification.Trace, "00-"+clientTrace) || notification.Trace == fromClient {
		t.Fatalf("the handler saw traceparent %q, want the span's own in trace %s", notification.Trace, clientTrace)
	}

	second := newTelemetry(t, telemetry.Config{Exporter: &node})
	ctx, endRun := second.StartRun(t.Context(), recovery.Run{ID: "r-1", Notification: "n-1", Flows: []recovery.FlowKind{recovery.HostAuto}}, notification.Trace)
	tctx, endTask := second.StartTask(ctx, telemetry.Task{Key: "evacuate_instances_task", Flow: recovery.HostAuto, Seq: 1, Attempt: 1})
	octx, endOp := second.StartOp(tctx, "nova.server_evacuate")
	req := httptest.NewRequestWithContext(octx, http.MethodPost, "http://nova.example/v2.1/servers/7f3/action?x=hunter2", strings.NewReader("hunter2"))
	req.Header.Set("X-Auth-Token", "hunter2")
	req, done := second.Request("nova", req)
	if got := req.Header.Get("X-Auth-Token"); got != "hunter2" {
		t.Errorf("header of the request = %q", got)
	}
	done(202, http.Header{"X-Openstack-Request-Id": {"req-1"}}, nil)
	endOp("ok")
	endTask(recovery.TaskFailed, telemetry.Usage{HostCalls: 1, CPU: 2, MemoryBytes: 3})
	endRun(recovery.Run{Status: recovery.StatusFailed, Message: "hunter2"}, nil)
	if err := second.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}

	all := append(api.spans, node.spans...)
	chain := []string{"POST /v1/notifications", "run host-auto", "task evacuate_instances_task", "nova.server_evacuate", "nova POST servers/action"}
	parent := "00f067aa0ba902b7"
	for _, name := range chain {
		span, ok := find(all, name)
		if !ok {
			t.Fatalf("no span %q among %v", name, namesOf(all))
		}
		if got := span.SpanContext.TraceID().String(); got != clientTrace {
			t.Errorf("span %q is of trace %s", name, got)
		}
		if got := span.Parent.SpanID().String(); got != parent {
			t.Errorf("span %q has parent %s, want %s", name, got, parent)
		}
		parent = span.SpanContext.SpanID().String()
		if text := fmt.Sprintf("%+v", span); strings.Contains(text, "hunter2") {
			t.Errorf("span %q tells what it must not: %s", name, text)
		}
	}
	if want := "00-" + clientTrace + "-" + parent + "-01"; req.Header.Get("Traceparent") != want {
		t.Errorf("traceparent sent to Nova = %q, want %q", req.Header.Get("Traceparent"), want)
	}
	for name, want := range map[string]string{
		"POST /v1/notifications":       "wasakari.notification=n-1",
		"run host-auto":                "wasakari.status=failed",
		"task evacuate_instances_task": "wasakari.cpu_units=2",
		"nova POST servers/action":     "openstack.request_id=req-1",
	} {
		span, _ := find(all, name)
		if got := attributesOf(span); !strings.Contains(got, want) {
			t.Errorf("span %q has %s, want %s", name, got, want)
		}
	}
}

func find(spans tracetest.SpanStubs, name string) (tracetest.SpanStub, bool) {
	for _, s := range spans {
		if s.Name == name {
			return s, true
		}
	}
	return tracetest.SpanStub{}, false
}

func namesOf(spans tracetest.SpanStubs) (list []string) {
	for _, s := range spans {
		list = append(list, s.Name)
	}
	return list
}

func attributesOf(s tracetest.SpanStub) string {
	var list []string
	for _, a := range s.Attributes {
		list = append(list, fmt.Sprintf("%s=%v", a.Key, a.Value.AsInterface()))
	}
	return strings.Join(list, " ")
}

func TestTraceContext(t *testing.T) {
	tests := []struct {
		name        string
		trace       bool
		traceparent string
		path        string
		want        string // of the handler's traceparent
	}{
		{"no tracing, no context", false, "", "/v1/notifications", ""},
		{"no tracing passes a context on", false, fromClient, "/v1/notifications", fromClient},
		{"no tracing, nonsense", false, "00-1-2-3", "/v1/notifications", ""},
		{"tracing begins a trace", true, "", "/v1/notifications", "00-"},
		{"tracing goes on", true, fromClient, "/v1/notifications", "00-" + clientTrace},
		{"the client's sampling holds", true, strings.TrimSuffix(fromClient, "1") + "0", "/v1/notifications", "00-" + clientTrace},
		{"nonsense begins a trace", true, "x" + fromClient, "/v1/notifications", "00-"},
		{"probes have none", true, fromClient, "/healthz", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, k := telemetry.Config{}, &kept{}
			if tt.trace {
				c.Exporter = k
			}
			x := newTelemetry(t, c)
			got := post(t, x, tt.path, tt.traceparent, func(ctx context.Context) {
				if tt.path == "/healthz" {
					return
				}
				if in := telemetry.Traceparent(ctx); in == "" != (tt.want == "") {
					t.Errorf("Traceparent = %q", in)
				}
			})
			if tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) {
				t.Errorf("traceparent = %q, want %q", got, tt.want)
			}
			if tt.traceparent != "" && tt.trace && tt.want != "" && got == tt.traceparent {
				t.Error("the handler saw the client's span, not ours")
			}
			if err := x.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			sampled := strings.HasSuffix(got, "-01") && tt.trace
			if (len(k.spans) > 0) != sampled {
				t.Errorf("%d spans for traceparent %q", len(k.spans), got)
			}
		})
	}
}

// Without an exporter too, what a client began reaches the cloud.
func TestTracePassedOnWithoutTracing(t *testing.T) {
	x := newTelemetry(t, telemetry.Config{})
	ctx, _ := x.StartRun(t.Context(), recovery.Run{}, fromClient)
	ctx, _ = x.StartOp(ctx, "nova.server_get")
	req, done := x.Request("nova", httptest.NewRequestWithContext(ctx, http.MethodGet, "/servers/1", nil))
	done(0, nil, &recovery.CloudError{Err: recovery.ErrTimeout})
	if got := req.Header.Get("Traceparent"); got != fromClient {
		t.Errorf("traceparent = %q, want %q", got, fromClient)
	}
	if got := strings.Join(scrape(t, x), "\n"); !strings.Contains(got, `wasakari_cloud_requests_total{code="lost",method="GET",resource="servers",service="nova"} 1`) {
		t.Errorf("metrics:\n%s", got)
	}
}

func TestFailuresAreKindsNotTexts(t *testing.T) {
	k := &kept{}
	x := newTelemetry(t, telemetry.Config{Exporter: k})
	_, endRun := x.StartRun(t.Context(), recovery.Run{}, "")
	endRun(recovery.Run{Status: recovery.StatusRunning}, fmt.Errorf("guest said hunter2: %w", recovery.ErrInterrupted))
	_, endOp := x.StartOp(t.Context(), "http.request")
	endOp("not_granted")
	_, done := x.Request("nova", httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v2.1/", nil))
	done(0, nil, errors.New("hunter2"))
	if err := x.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"run": "interrupted", "http.request": "not_granted", "nova GET versions": "error"} {
		span, ok := find(k.spans, name)
		if !ok || span.Status.Description != want || strings.Contains(fmt.Sprintf("%+v", span), "hunter2") {
			t.Errorf("span %q: %+v, want status %s", name, span.Status, want)
		}
	}
}

// away is an exporter that never comes back.
type away struct{ called, release chan struct{} }

func (a *away) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	select {
	case a.called <- struct{}{}:
	default:
	}
	<-a.release
	return nil
}

func (a *away) Shutdown(context.Context) error { return nil }

// An exporter that hangs stops neither what is traced nor the end.
func TestExporterThatHangs(t *testing.T) {
	a := &away{called: make(chan struct{}, 1), release: make(chan struct{})}
	defer close(a.release)
	x := newTelemetry(t, telemetry.Config{Exporter: a})
	for range 3 * 2048 { // three queues full
		_, end := x.StartOp(t.Context(), "nova.server_get")
		end("ok")
	}
	<-a.called
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown = %v, want %v", err, context.Canceled)
	}
}

type refusing struct{ kept }

func (r *refusing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	return errors.New("503")
}

func TestSpansThatAreLostAreCounted(t *testing.T) {
	x := newTelemetry(t, telemetry.Config{Exporter: &refusing{}})
	_, end := x.StartOp(t.Context(), "nova.server_get")
	end("ok")
	if err := x.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if got := strings.Join(scrape(t, x), "\n"); !strings.Contains(got, "wasakari_trace_exports_failed_total 1") {
		t.Errorf("metrics:\n%s", got)
	}
}

// received is what a collector was sent.
type received struct {
	path, key string
	spans     []string
	resource  map[string]string
}

func take(req *collector.ExportTraceServiceRequest) received {
	r := received{resource: map[string]string{}}
	for _, rs := range req.GetResourceSpans() {
		for _, a := range rs.GetResource().GetAttributes() {
			r.resource[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				r.spans = append(r.spans, s.GetName())
			}
		}
	}
	return r
}

// collectHTTP is a collector of OTLP over HTTP.
func collectHTTP(t *testing.T, tls bool) (*httptest.Server, <-chan received) {
	c := make(chan received, 10)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var req collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &req)
		}
		if err != nil {
			t.Error(err)
		}
		got := take(&req)
		got.path, got.key = r.URL.Path, r.Header.Get("Api-Key")
		c <- got
	}))
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s, c
}

type grpcCollector struct {
	collector.UnimplementedTraceServiceServer
	c chan received
}

func (g *grpcCollector) Export(ctx context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	got := take(req)
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		got.key = strings.Join(md.Get("api-key"), "")
	}
	g.c <- got
	return &collector.ExportTraceServiceResponse{}, nil
}

func collectGRPC(t *testing.T) (url string, _ <-chan received) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &grpcCollector{c: make(chan received, 10)}
	s := grpc.NewServer()
	collector.RegisterTraceServiceServer(s, g)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return "http://" + l.Addr().String(), g.c
}

func TestExport(t *testing.T) {
	plain, plainGot := collectHTTP(t, false)
	secure, secureGot := collectHTTP(t, true)
	grpcURL, grpcGot := collectGRPC(t)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	key := map[string]string{"api-key": "hunter2"}
	tests := []struct {
		name   string
		config telemetry.Config
		env    map[string]string
		got    <-chan received
		path   string
		key    string
		node   string
	}{
		{"HTTP", telemetry.Config{Endpoint: plain.URL, Headers: key, Node: "n1"}, nil, plainGot, "/v1/traces", "hunter2", "n1"},
		{"HTTP with a path", telemetry.Config{Endpoint: plain.URL + "/otlp/"}, nil, plainGot, "/otlp/v1/traces", "", ""},
		{"HTTP with the whole path", telemetry.Config{Endpoint: plain.URL + "/v1/traces", Protocol: "http"}, nil, plainGot, "/v1/traces", "", ""},
		{"HTTPS", telemetry.Config{Endpoint: secure.URL, CA: ca, Headers: key}, nil, secureGot, "/v1/traces", "hunter2", ""},
		{"gRPC", telemetry.Config{Endpoint: grpcURL, Protocol: "grpc", Headers: key}, nil, grpcGot, "", "hunter2", ""},
		{"HTTP by the environment", telemetry.Config{Node: "n1"}, map[string]string{
			"OTEL_EXPORTER_OTLP_ENDPOINT": plain.URL, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=env", "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=other",
		}, plainGot, "/v1/traces", "env", "other"},
		{"gRPC by the environment", telemetry.Config{}, map[string]string{
			"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": grpcURL, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
		}, grpcGot, "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			x, err := telemetry.New(t.Context(), tt.config)
			if err != nil {
				t.Fatal(err)
			}
			_, end := x.StartOp(t.Context(), "nova.server_get")
			end("ok")
			if err := x.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := <-tt.got
			if len(got.spans) != 1 || got.spans[0] != "nova.server_get" || got.path != tt.path || got.key != tt.key ||
				got.resource["service.name"] != "wasakari" || got.resource["service.instance.id"] != tt.node {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestTracePercent(t *testing.T) {
	k := &kept{}
	x := newTelemetry(t, telemetry.Config{Exporter: k, TracePercent: -1})
	_, end := x.StartOp(t.Context(), "nova.server_get")
	end("ok")
	_, endRun := x.StartRun(t.Context(), recovery.Run{}, fromClient)
	endRun(recovery.Run{}, nil)
	if err := x.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(namesOf(k.spans)); got != "[run]" {
		t.Errorf("spans = %s, want those that a caller began", got)
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name   string
		config telemetry.Config
		env    map[string]string
		want   string // empty: no error
	}{
		{"nothing", telemetry.Config{}, nil, ""},
		{"turned off", telemetry.Config{Endpoint: "nonsense"}, map[string]string{"OTEL_SDK_DISABLED": "true"}, ""},
		{"none", telemetry.Config{Endpoint: "nonsense"}, map[string]string{"OTEL_TRACES_EXPORTER": "none"}, ""},
		{"no URL", telemetry.Config{Endpoint: "collector:4318"}, nil, "traces: endpoint: want a URL such as http://collector:4318: invalid"},
		{"login", telemetry.Config{Endpoint: "http://u:hunter2@c"}, nil, "traces: endpoint: want a URL such as http://collector:4318: invalid"},
		{"no URL for gRPC", telemetry.Config{Endpoint: "unix:///x", Protocol: "grpc"}, nil, "traces: endpoint: want a URL such as http://collector:4318: invalid"},
		{"protocol", telemetry.Config{Endpoint: "http://c", Protocol: "udp"}, nil, `traces: protocol "udp": want http or grpc: invalid`},
		{"no certificate", telemetry.Config{Endpoint: "https://c", CA: []byte("x")}, nil, "traces: CA file: no certificate in PEM in it: invalid"},
		{
			"another exporter",
			telemetry.Config{},
			map[string]string{"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"},
			`OTEL_TRACES_EXPORTER: "zipkin": want otlp or none: invalid`,
		},
		{
			"JSON",
			telemetry.Config{},
			map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"},
			`traces: protocol "http/json": want http or grpc: invalid`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			_, err := telemetry.New(t.Context(), tt.config)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want || (err != nil) != errors.Is(err, recovery.ErrInvalid) {
				t.Errorf("New = %q, want %q", got, tt.want)
			}
		})
	}
}
