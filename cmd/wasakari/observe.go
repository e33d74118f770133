package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/engine"
	"github.com/wasakari/wasakari/internal/audit"
	"github.com/wasakari/wasakari/internal/telemetry"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
	"github.com/wasakari/wasakari/store"
)

// newTelemetry makes what a node measures and traces with.
func newTelemetry(ctx context.Context, cfg *config.Config, node string, log *zap.Logger) (*telemetry.Telemetry, error) {
	o := cfg.Telemetry
	c := telemetry.Config{
		Version: version, Node: node, Cluster: cfg.Wasakari.Cluster,
		Endpoint: o.OTLPEndpoint, Protocol: o.OTLPProtocol, Headers: map[string]string{}, TracePercent: o.TracePercent,
		Logger: log.Named("telemetry"),
	}
	if c.TracePercent == 0 { // there it says: what the environment says
		c.TracePercent = -1
	}
	for _, h := range o.OTLPHeaders {
		name, value, _ := strings.Cut(string(h), "=")
		c.Headers[name] = value
	}
	if o.OTLPCAFile != "" {
		var err error
		if c.CA, err = readFile(o.OTLPCAFile, maxCAFile); err != nil {
			return nil, usagef("[telemetry] otlp_ca_file: %w", err)
		}
	}
	tel, err := telemetry.New(ctx, c)
	if err != nil {
		return nil, usagef("[telemetry] %w", err)
	}
	return tel, nil
}

// measureSandboxes lets metrics tell of a runtime.
func measureSandboxes(tel *telemetry.Telemetry, rt *runtime.Runtime) {
	tel.Sandboxes(func() telemetry.Sandboxes { return telemetry.Sandboxes(rt.Stats()) })
}

// measureStore lets metrics tell of a store.
func measureStore(tel *telemetry.Telemetry, s *store.Store) {
	tel.Queue(s.Queue)
	tel.Ready(s.Ready)
	tel.Lease(s.LeaseLeft)
	tel.Store(func(ctx context.Context) (telemetry.StoreBytes, error) {
		u, err := s.Usage(ctx)
		return telemetry.StoreBytes(u), err
	})
}

// countedStore is the store whose notifications are counted.
type countedStore struct {
	*store.Store
	tel *telemetry.Telemetry
}

// Accept accepts a notification.
func (s countedStore) Accept(ctx context.Context, n recovery.Notification, window time.Duration) (recovery.Notification, error) {
	accepted, err := s.Store.Accept(ctx, n, window)
	if err == nil {
		n = accepted
	}
	s.tel.Accepted(ctx, n, err)
	return accepted, err
}

// engineWatch is what an engine tells.
type engineWatch struct {
	telemetry.Engine
	audit *audit.Log
}

var _ engine.Observer = engineWatch{}

// HostChanged writes into the audit log that a run put its host on maintenance.
func (w engineWatch) HostChanged(run recovery.Run, h recovery.Host, err error) {
	line := audit.Record{
		Kind: audit.HA, Op: abi.OpHAHostUpdate, Target: h.Name, Outcome: audit.Done, Message: "on_maintenance true, reserved " + strconv.FormatBool(h.Reserved),
		Run: run.ID, Notification: run.Notification, Task: "engine",
	}
	if err != nil {
		line.Outcome, line.Message = audit.Failed, line.Message+": "+err.Error()
	}
	w.audit.Write(line)
}

// FoundUnreported notes hosts that are down without anybody having said so.
func (w engineWatch) FoundUnreported(hosts []engine.UnreportedHost) { w.Unreported(len(hosts)) }

// answered lets metrics tell of an answer of the API.
func answered(tel *telemetry.Telemetry) func(api.Answer) {
	return func(a api.Answer) { tel.Answered(a.Method, a.Route, a.Status, a.Took) }
}

// auditedAPI writes what clients change into the audit log.
func auditedAPI(lines *audit.Log) func(context.Context, api.Change) {
	return func(_ context.Context, c api.Change) {
		r := audit.Record{
			Time: c.Time, Kind: audit.API, Op: c.Action, Target: c.Target, Outcome: audit.Outcome(c.Outcome), Status: c.Status, Message: c.Message,
			User: c.User, UserName: c.UserName, Project: c.Project, Remote: c.Remote, RequestID: c.RequestID, GlobalRequestID: c.GlobalID,
		}
		switch c.Action {
		case "uploadModule", "removeModule", "removeVersion", "pinModule", "unpinModule":
			r.Kind = audit.Module
		}
		lines.Write(r)
	}
}
