package main

import (
	"context"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/api/masakariv1"
	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/engine"
	"github.com/wasakari/wasakari/internal/telemetry"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

// drainAnswers bounds how long answers under way keep the service from its end.
const drainAnswers = 30 * time.Second

// door is the API of the service.
type door struct {
	handler http.Handler
	own     *wasakariv1.API
	events  *wasakariv1.Events
	changes func(context.Context) <-chan recovery.Change
	server  api.ServeConfig
}

// close gives back what the door holds. No request may be under way.
func (d *door) close() {
	d.own.Close()
}

// serve answers on ln until ctx ends, and tells those who follow what changes.
func (d *door) serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		d.events.Follow(d.changes(ctx))
	}()
	defer func() {
		cancel()
		<-followed
	}()
	stop := context.AfterFunc(ctx, d.own.Close)
	defer stop()
	return api.Serve(ctx, ln, d.handler, d.server)
}

// door makes the API.
func (sv *daemon) door(cfg *config.Config) (_ *door, err error) {
	d := &door{events: wasakariv1.NewEvents(0), changes: sv.store.Watch, server: api.ServeConfig{
		MaxHeaderBytes: cfg.WSGI.MaxHeaderLine, NoKeepAlive: !cfg.WSGI.KeepAlive, IdleTimeout: cfg.WSGI.ClientSocketTimeout,
		DrainTimeout: min(drainTime(cfg), drainAnswers), Logger: sv.log.Named("api"),
	}}
	if cfg.Default.UseSSL && sv.cloud.sim == nil {
		if d.server.TLS, err = api.TLSConfig(cfg.WSGI.SSLCertFile, cfg.WSGI.SSLKeyFile, cfg.WSGI.SSLCAFile, sv.log.Named("api")); err != nil {
			return nil, &usageError{err}
		}
	}
	sv.events = d.events
	who := sv.callers
	if d.own, err = wasakariv1.New(wasakariv1.Config{
		Caller: who.of, Store: ownStore{sv.store}, Modules: uploadStore{sv.store, sv.stock}, Admit: admission{sv.snapshots},
		Flows: flowList{sv.snapshots}, Operation: operation{sv.store, sv.cloud, sv.audit}, Servers: serverTenants{sv.cloud}, Events: d.events,
		MaxModule: int64(cfg.Wasakari.ModuleMiB) << 20, Node: sv.node, Logger: sv.log,
	}); err != nil {
		return nil, err
	}
	d.handler, err = api.New(api.Config{
		Authenticator: who.authenticator, NoAuth: who.open(), Simulated: sv.cloud.sim != nil,
		WWWAuthenticateURI: cfg.AuthToken.WWWAuthenticateURI,
		Masakari: masakariv1.Config{
			Store: countedStore{sv.store, sv.tel}, Policy: who.policy, Nova: novaHosts{sv.cloud.Client}, MaxLimit: cfg.Default.OSAPIMaxLimit,
			DuplicateWindow: cfg.Default.DuplicateNotificationDetectionInterval, AnyProject: who.open(), Verdict: engine.Unanswered,
		},
		Wasakari: d.own, Describe: wasakariv1.Describe,
		MaxBody: int64(cfg.Middleware.MaxRequestBodySize), MaxUpload: int64(cfg.Wasakari.ModuleMiB)<<20 + 1,
		LinkPrefix: cfg.Default.OSAPILinkPrefix, ProxyHeaders: cfg.Middleware.EnableProxyHeadersParsing,
		Ready: sv.store.Ready, Observe: answered(sv.tel), Audit: auditedAPI(sv.audit), Trace: telemetry.Traceparent, Logger: sv.log.Named("api"),
	})
	if err != nil {
		return nil, err
	}
	d.handler = sv.tel.Middleware(d.handler)
	return d, nil
}

// observed tells those who follow a run what is not in the store, or not yet: what
// its tasks log, and their progress.
func (sv *daemon) observed(run string, e recovery.Event) {
	ev := wasakariv1.Event{Change: recovery.Change{RunID: run}, Time: e.Time, Log: e.Log}
	if t := e.Task; t != nil && t.Status == recovery.TaskRunning && len(t.Progress) > 0 {
		ev.Task = t
	}
	if ev.Log != nil || ev.Task != nil {
		sv.events.Publish(ev)
	}
}

// ownStore is the store as Wasakari's own API wants it.
type ownStore struct{ *store.Store }

// RunDetail gives a run and what belongs to it; of values the names.
func (s ownStore) RunDetail(ctx context.Context, id string) (recovery.Run, wasakariv1.Detail, error) {
	run, tasks, values, undo, intents, err := s.Store.RunDetail(ctx, id)
	d := wasakariv1.Detail{Tasks: tasks, Undo: undo, Intents: intents}
	for name := range values {
		d.Values = append(d.Values, name)
	}
	slices.Sort(d.Values)
	return run, d, err
}

// serverTenants tells whose server one is.
type serverTenants struct{ *cloud }

// Tenant gives the project of a server.
func (s serverTenants) Tenant(ctx context.Context, id string) (string, error) {
	server, err := s.Server(ctx, id)
	return server.TenantID, err
}

// flowList tells of the flows as the current snapshot has them.
type flowList struct{ *snapshots }

// Flows gives every flow of the configuration.
func (f flowList) Flows(context.Context) ([]wasakariv1.Flow, error) {
	snap, release := f.newest()
	defer release()
	return snap.flowDocuments(), nil
}
