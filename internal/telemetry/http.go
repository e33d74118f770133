package telemetry

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// Middleware begins a span for each request, which goes on with the trace of
// the request's traceparent. The handlers within find in the request's own
// header traceparent that of the span: to keep it is to go on with the trace
// later. Probes and event streams have no span.
func (t *Telemetry) Middleware(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	inner := promhttp.InstrumentHandlerInFlight(t.metrics.serving, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("traceparent")
		r.Header.Del("tracestate")
		propagator.Inject(r.Context(), propagation.HeaderCarrier(r.Header))
		next.ServeHTTP(w, r)
	}))
	if t.provider == nil {
		// No span, but the context of the request is passed on.
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner.ServeHTTP(w, r.WithContext(propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))))
		})
	}
	return otelhttp.NewHandler(inner, "http",
		otelhttp.WithTracerProvider(t.provider), otelhttp.WithMeterProvider(metricnoop.NewMeterProvider()), otelhttp.WithPropagators(propagator),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return method(r.Method) + " /" + template(r.URL.Path, served) }),
		otelhttp.WithFilter(func(r *http.Request) bool {
			return r.URL.Path != "/healthz" && r.URL.Path != "/readyz" && !strings.Contains(r.Header.Get("Accept"), "text/event-stream")
		}),
	)
}

// Answered counts an answer that was given to a request. route is a pattern such
// as /v1/segments/{segment}, of which there are few, and never a path.
func (t *Telemetry) Answered(verb, route string, status int, took time.Duration) {
	if t != nil {
		t.metrics.served.WithLabelValues(route, method(verb), statusOf(status)).Inc()
		t.metrics.servedTime.WithLabelValues(route).Observe(took.Seconds())
	}
}

// statusOf bounds what the other side may say.
func statusOf(status int) string {
	if status < 100 || status > 599 {
		return other
	}
	return strconv.Itoa(status)
}

// method bounds what a request may say.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return other
}

// Metrics answers scrapes: GET of any path. What a browser sends from another
// page is refused, as nobody who scrapes sends an Origin.
func (t *Telemetry) Metrics() http.Handler {
	h := promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET", http.StatusMethodNotAllowed)
		case r.Header.Get("Origin") != "":
			http.Error(w, "requests of web pages are refused", http.StatusForbidden)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// ServeMetrics answers scrapes on l until ctx ends. It closes l.
func (t *Telemetry) ServeMetrics(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("/metrics", t.Metrics())
	s := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: zap.NewStdLog(t.log.Named("metrics")),
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // whoever scrapes does it again
	defer stop()
	if err := s.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

// Request is called before each single request to the cloud, repeated ones
// each, and gives the request to send: with a span, and the trace in its header.
// service is nova, keystone or placement. done takes status and header of the
// answer, once all of it is there, or why there is none.
func (t *Telemetry) Request(service string, r *http.Request) (_ *http.Request, done func(status int, header http.Header, err error)) {
	if t == nil {
		return r, func(int, http.Header, error) {}
	}
	verb, what := method(r.Method), resourceOf(r.URL.Path)
	service = oneOf(service, "nova", "keystone", "placement")
	ctx, span := t.tracer.Start(r.Context(), service+" "+verb+" "+what, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", verb), attribute.String("server.address", r.URL.Hostname()),
		attribute.String("url.template", what),
	))
	r = r.Clone(ctx)
	propagator.Inject(ctx, propagation.HeaderCarrier(r.Header))
	began := time.Now()
	return r, func(status int, header http.Header, err error) {
		code := "lost"
		switch {
		case err != nil:
			fail(span, kindOf(err))
		default:
			code = statusOf(status)
			span.SetAttributes(attribute.Int("http.response.status_code", status))
			if id := header.Get("X-Openstack-Request-Id"); id != "" && len(id) <= maxRequestID {
				span.SetAttributes(attribute.String("openstack.request_id", id))
			}
			if status >= http.StatusBadRequest {
				fail(span, code)
			}
		}
		span.End()
		t.metrics.requests.WithLabelValues(service, verb, what, code).Inc()
		t.metrics.requestTime.WithLabelValues(service, verb).Observe(time.Since(began).Seconds())
	}
}

const maxRequestID = 64

// The words of paths that are asked for, here and in the cloud.
var (
	served = wordsOf("v1 segments hosts notifications vmoves extensions wasakari modules versions pin runs abort retry watch flows check nodes " +
		"events webhooks openapi.json healthcheck")
	asked = wordsOf("servers detail action os-instance-actions os-services os-hypervisors os-migrations os-aggregates flavors auth tokens " +
		"resource_providers inventories usages allocations allocation_candidates projects OS-REVOKE events")
)

func wordsOf(list string) map[string]bool {
	words := map[string]bool{}
	for w := range strings.FieldsSeq(list) {
		words[w] = true
	}
	return words
}

// resourceOf gives a path of the cloud without what names single things:
// servers/action for /compute/v2.1/servers/7f3…/action.
func resourceOf(path string) string {
	words := strings.Trim(strings.ReplaceAll("/"+template(path, asked), "/{}", ""), "/")
	return cmp.Or(words, "versions")
}

// template puts {} for each part of a path that is not among the words.
func template(path string, words map[string]bool) string {
	const most = 8
	parts := strings.SplitN(strings.Trim(path, "/"), "/", most+1)
	for i, p := range parts {
		if !words[p] && p != "" {
			parts[i] = "{}"
		}
	}
	return strings.Join(parts, "/")
}
