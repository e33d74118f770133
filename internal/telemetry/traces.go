package telemetry

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
	"google.golang.org/grpc/credentials"

	"github.com/wasakari/wasakari/recovery"
)

const scope = "github.com/wasakari/wasakari"

// maxAttribute bounds, in bytes, what a client can put into a span: a path, the
// name of its program.
const maxAttribute = 256

// The only context that is taken and passed on is W3C's traceparent, with its
// tracestate; baggage is other people's data.
var propagator = propagation.TraceContext{}

// trace makes the tracer. Without an exporter, spans are not made, but the
// context of an incoming request is passed on all the same.
func (t *Telemetry) trace(ctx context.Context, c Config) error {
	exporter, err := exporterOf(ctx, c)
	if err != nil {
		return err
	}
	if exporter == nil {
		t.tracer = noop.NewTracerProvider().Tracer(scope)
		return nil
	}
	attrs := []attribute.KeyValue{attribute.String("service.name", "wasakari")}
	for _, a := range []struct{ key, value string }{
		{"service.version", c.Version}, {"service.instance.id", c.Node}, {"wasakari.cluster", c.Cluster},
	} {
		if a.value != "" {
			attrs = append(attrs, attribute.String(a.key, a.value))
		}
	}
	// What the environment says comes last and wins.
	res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(attrs...), resource.WithFromEnv())
	if err != nil && res == nil {
		return fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	limits := sdktrace.NewSpanLimits()
	if limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = maxAttribute
	}
	opts := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(res), sdktrace.WithRawSpanLimits(limits),
		// A full queue drops spans; nobody waits for it.
		sdktrace.WithBatcher(&quiet{SpanExporter: exporter, lost: t.metrics.spansLost.Inc, log: t.log}),
	}
	if p := c.TracePercent; p < 0 || p > 0 && p < 100 {
		opts = append(opts, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(float64(max(p, 0))/100))))
	}
	t.provider = sdktrace.NewTracerProvider(opts...)
	t.tracer = t.provider.Tracer(scope, trace.WithInstrumentationVersion(c.Version))
	return nil
}

// exporterOf makes the exporter, nil when nothing is to be traced.
func exporterOf(ctx context.Context, c Config) (sdktrace.SpanExporter, error) {
	if c.Exporter != nil {
		return c.Exporter, nil
	}
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, nil
	}
	if c.Endpoint == "" && cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")) == "" {
		return nil, nil
	}
	if name := cmp.Or(os.Getenv("OTEL_TRACES_EXPORTER"), "otlp"); name != "otlp" {
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER: %q: want otlp or none: %w", name, recovery.ErrInvalid)
	}
	protocol := cmp.Or(c.Protocol, "http")
	if c.Endpoint == "" {
		protocol = cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	}
	switch protocol {
	case "http", "http/protobuf":
		return overHTTP(ctx, c)
	case "grpc":
		return overGRPC(ctx, c)
	}
	return nil, fmt.Errorf("traces: protocol %q: want http or grpc: %w", protocol, recovery.ErrInvalid)
}

func overHTTP(ctx context.Context, c Config) (sdktrace.SpanExporter, error) {
	if c.Endpoint == "" {
		return otlptracehttp.New(ctx)
	}
	u, cfg, err := endpoint(c)
	if err != nil {
		return nil, err
	}
	const path = "/v1/traces"
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), path) + path
	opts := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(u.String())}
	if cfg != nil {
		opts = append(opts, otlptracehttp.WithTLSClientConfig(cfg))
	}
	if len(c.Headers) > 0 {
		opts = append(opts, otlptracehttp.WithHeaders(c.Headers))
	}
	return otlptracehttp.New(ctx, opts...)
}

func overGRPC(ctx context.Context, c Config) (sdktrace.SpanExporter, error) {
	if c.Endpoint == "" {
		return otlptracegrpc.New(ctx)
	}
	u, cfg, err := endpoint(c)
	if err != nil {
		return nil, err
	}
	opts := []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(u.String())}
	if cfg != nil && u.Scheme == "https" {
		opts = append(opts, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(cfg)))
	}
	if len(c.Headers) > 0 {
		opts = append(opts, otlptracegrpc.WithHeaders(c.Headers))
	}
	return otlptracegrpc.New(ctx, opts...)
}

// endpoint reads Endpoint and CA; without the latter there is no tls.Config.
func endpoint(c Config) (*url.URL, *tls.Config, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, nil, fmt.Errorf("traces: endpoint: want a URL such as http://collector:4318: %w", recovery.ErrInvalid)
	}
	if len(c.CA) == 0 {
		return u, nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c.CA) {
		return nil, nil, fmt.Errorf("traces: CA file: no certificate in PEM in it: %w", recovery.ErrInvalid)
	}
	return u, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, nil
}

// quiet counts what an exporter loses and logs it now and then, instead of
// what OpenTelemetry would do: write each loss to standard error.
type quiet struct {
	sdktrace.SpanExporter
	lost func()
	log  *zap.Logger

	mu   sync.Mutex
	last time.Time
}

// lossInterval is the least time between two messages about lost spans.
const lossInterval = time.Minute

// ExportSpans sends spans. Its error is not told.
func (q *quiet) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := q.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	q.lost()
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := time.Now(); now.Sub(q.last) >= lossInterval {
		q.last = now
		q.log.Warn("spans lost", zap.Int("spans", len(spans)), zap.Error(err))
	}
	return nil
}

// remote gives a context that goes on with the trace of a W3C traceparent,
// beside the span that ctx has: a run belongs to the trace of its notification,
// whoever works on it.
func remote(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return propagator.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
}

// Traceparent gives the W3C traceparent of the span in ctx, empty without one.
func Traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagator.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// kinds names failures for spans, which hold no text of a guest's or the
// cloud's.
var kinds = []struct {
	err  error
	name string
}{
	{recovery.ErrLeaseLost, "lease_lost"},
	{recovery.ErrInterrupted, "interrupted"},
	{recovery.ErrUnknownOutcome, "unknown_outcome"},
	{recovery.ErrUnauthorized, "unauthorized"},
	{recovery.ErrDuplicate, "duplicate"},
	{recovery.ErrMaintenance, "maintenance"},
	{recovery.ErrNotFound, "not_found"},
	{recovery.ErrConflict, "conflict"},
	{recovery.ErrForbidden, "forbidden"},
	{recovery.ErrNotGranted, "not_granted"},
	{recovery.ErrInvalid, "invalid"},
	{recovery.ErrTimeout, "timeout"},
	{recovery.ErrCanceled, "canceled"},
	{recovery.ErrTooLarge, "too_large"},
	{recovery.ErrQuota, "quota"},
	{recovery.ErrUnavailable, "unavailable"},
	{context.DeadlineExceeded, "timeout"},
	{context.Canceled, "canceled"},
}

// kindOf names the kind of an error.
func kindOf(err error) string {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	return "error"
}
