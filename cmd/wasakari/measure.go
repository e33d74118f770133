package main

import (
	"context"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/engine"
	"github.com/wasakari/wasakari/internal/audit"
	"github.com/wasakari/wasakari/internal/telemetry"
	"github.com/wasakari/wasakari/recovery"
)

// newTelemetry makes what measures and traces this process.
func newTelemetry(ctx context.Context, cfg *config.Config, node string, log *zap.Logger) (*telemetry.Telemetry, error) {
	o := cfg.Telemetry
	c := telemetry.Config{
		Version: version, Node: node, Cluster: cfg.Wasakari.Cluster,
		Endpoint: o.OTLPEndpoint, Protocol: o.OTLPProtocol, Headers: map[string]string{}, TracePercent: o.TracePercent,
		Logger: log.Named("telemetry"),
	}
	if c.TracePercent == 0 {
		c.TracePercent = -1
	}
	for _, h := range o.OTLPHeaders {
		name, value, ok := strings.Cut(string(h), "=")
		if !ok || name == "" {
			return nil, usagef("[telemetry] otlp_headers: want NAME=VALUE")
		}
		c.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	if o.OTLPCAFile != "" {
		pem, err := readFile(o.OTLPCAFile, maxCAFile)
		if err != nil {
			return nil, usagef("[telemetry] otlp_ca_file: %w", err)
		}
		c.CA = pem
	}
	t, err := telemetry.New(ctx, c)
	if err != nil {
		return nil, usagef("[telemetry] %w", err)
	}
	return t, nil
}

// measure connects what is measured with those who know it.
func (sv *daemon) measure() {
	sv.tel.Queue(sv.store.Queue)
	sv.tel.Ready(sv.store.Ready)
	sv.tel.Sandboxes(func() telemetry.Sandboxes {
		s := sv.rt.Stats()
		return telemetry.Sandboxes{Live: s.Live, Waiting: s.Waiting, MemoryBytes: s.MemoryBytes, CacheHits: s.CacheHits, CacheMisses: s.CacheMisses}
	})
}

// engineWatch tells telemetry and the log what the engine does. It serves
// engine.Observer.
type engineWatch struct {
	telemetry.Engine
	log *zap.Logger
}

// PutOff counts a run that could not be gone on with for now.
func (w engineWatch) PutOff(item recovery.QueueItem, _ string, err error) {
	w.Engine.PutOff(item, time.Time{}, err)
}

// FoundUnreported tells which hosts died without anybody having said so.
func (w engineWatch) FoundUnreported(hosts []engine.UnreportedHost) {
	w.Unreported(len(hosts))
	for _, h := range hosts {
		w.log.Warn("host is down and nobody reported it; nothing is done about it: report it, or put it on maintenance",
			zap.String("host", h.Host.Name), zap.String("segment", h.Host.SegmentUUID))
	}
}

// answered counts an answer of the API.
func (sv *daemon) answered(a api.Answer) { sv.tel.Answered(a.Method, a.Route, a.Status, a.Took) }

// changed writes what a client changed, or was not let, into the audit log.
func (sv *daemon) changed(_ context.Context, c api.Change) {
	kind := audit.API
	if strings.HasPrefix(c.Action, "module") {
		kind = audit.Module
	}
	sv.audit.Write(audit.Record{
		Time: c.Time, Kind: kind, Op: c.Action, Target: c.Target, Outcome: audit.Outcome(c.Outcome), Status: c.Status,
		User: c.User, UserName: c.UserName, Project: c.Project, Remote: c.Remote, RequestID: c.RequestID, GlobalRequestID: c.GlobalID,
	})
}

// traced is the handler of the API within a span for each request.
func (sv *daemon) traced(h http.Handler) http.Handler { return sv.tel.Middleware(h) }

// flushWait bounds the end of traces.
const flushWait = 5 * time.Second
