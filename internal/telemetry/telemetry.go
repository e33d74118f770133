// Package telemetry measures and traces what a process does: Prometheus metrics
// in a registry of its own, and OpenTelemetry spans from the request that brings
// a notification over run, task and op to each request to the cloud.
//
// Other rooms know neither Prometheus nor OpenTelemetry: they declare hooks, and
// the methods of Telemetry are what hangs there. No hook waits for anybody. No
// host, server, run or other id is a label; no secret and nothing that a guest
// wrote is an attribute.
package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// Config configures a Telemetry. The zero value is usable: it measures, and
// traces when the environment says where to.
type Config struct {
	// Version is this program's.
	Version string
	// Node and Cluster name this process in traces.
	Node, Cluster string

	// Endpoint is the http or https URL of an OTLP collector, to which traces go.
	//
	// Defaults to what OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or
	// OTEL_EXPORTER_OTLP_ENDPOINT name; without them nothing is traced.
	// OpenTelemetry's other variables hold where Config says nothing: headers,
	// certificates, timeouts, OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES,
	// OTEL_BSP_*. OTEL_SDK_DISABLED=true and OTEL_TRACES_EXPORTER=none turn tracing
	// off, whatever Endpoint says.
	Endpoint string
	// Protocol is http (protobuf over HTTP) or grpc. Without Endpoint it is what
	// OTEL_EXPORTER_OTLP_TRACES_PROTOCOL or OTEL_EXPORTER_OTLP_PROTOCOL say.
	//
	// Defaults to http.
	Protocol string
	// Headers go with each request to Endpoint. They may hold secrets. Not used
	// without Endpoint.
	Headers map[string]string
	// CA holds the certificates, in PEM, that Endpoint is trusted by, instead of
	// the system's. Not used without Endpoint.
	CA []byte
	// TracePercent is how many of the traces that begin here are kept; those that
	// a caller began are kept as he says. Zero, and 100 and more: all, or what
	// OTEL_TRACES_SAMPLER says; negative: none.
	TracePercent int
	// Exporter takes the spans instead of what Endpoint and the environment name.
	Exporter sdktrace.SpanExporter

	// Logger is told, now and then, that spans are lost. Defaults to zap.NewNop.
	Logger *zap.Logger
}

// Telemetry holds the metrics and makes the spans of one process. It is safe
// for concurrent use; a nil one measures nothing. Whoever made it calls Shutdown.
type Telemetry struct {
	log      *zap.Logger
	registry *prometheus.Registry
	metrics  *metrics
	tracer   trace.Tracer
	provider *sdktrace.TracerProvider // nil: nothing is traced
}

// New makes a Telemetry. It connects to nobody. Errors are about Config, or
// about the environment.
func New(ctx context.Context, c Config) (*Telemetry, error) {
	t := &Telemetry{log: c.Logger, registry: prometheus.NewRegistry()}
	if t.log == nil {
		t.log = zap.NewNop()
	}
	t.metrics = newMetrics(t.registry, t.log, cmp.Or(c.Version, "unknown"))
	if err := t.trace(ctx, c); err != nil {
		return nil, err
	}
	return t, nil
}

// Shutdown sends the spans that wait, as long as ctx allows and at most five
// seconds: an exporter that is away keeps nobody from stopping.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if t == nil || t.provider == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shutdownWait)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("traces: not all could be sent: %w", err)
	}
	return nil
}

const shutdownWait = 5 * time.Second

// names gives values of a label for names that come from outside: the first
// ones as they are, and what comes after the bound "other".
type names struct {
	most int

	mu    sync.Mutex
	known map[string]bool
}

func newNames(most int) *names { return &names{most: most, known: map[string]bool{}} }

func (n *names) of(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.known[name] {
		if len(n.known) >= n.most {
			return other
		}
		n.known[name] = true
	}
	return name
}

// oneOf gives the value, or "other" when it is none of those known.
func oneOf[T ~string](value T, known ...T) string {
	if slices.Contains(known, value) {
		return string(value)
	}
	return other
}

// other stands for every name that has no value of its own.
const other = "other"
