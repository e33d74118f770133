package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/api/wasakariv1/webhook"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/engine"
	"github.com/wasakari/wasakari/internal/audit"
	"github.com/wasakari/wasakari/internal/lifecycle"
	"github.com/wasakari/wasakari/internal/reload"
	"github.com/wasakari/wasakari/internal/telemetry"
	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
	"github.com/wasakari/wasakari/store"
)

// tuneStore changes how the store is opened; nil but in the program that
// internal/chaos kills.
var tuneStore func(*store.Config)

// daemon is a running wasakari serve.
type daemon struct {
	w     world
	flags *serveFlags
	log   *zap.Logger

	cloud     *cloud
	store     *store.Store
	rt        *runtime.Runtime
	stock     *stock
	snapshots *snapshots
	engine    *engine.Engine
	audit     *audit.Log
	tel       *telemetry.Telemetry
	callers   *callers
	events    *wasakariv1.Events // of the door
	loading   sync.Mutex         // one snapshot is made at a time
	notifier  lifecycle.Notifier
	node      string
	// takeOverWait is how long other nodes wait before they change anything in a
	// run of this one; zero: there are none.
	takeOverWait time.Duration
}

// flushWait bounds the end of traces.
const flushWait = 5 * time.Second

// run makes everything, serves until ctx ends, and takes it down in the
// opposite order. What is wrong before anything was served is a wrong use.
func (sv *daemon) run(ctx context.Context, cfg *config.Config) (err error) {
	// Locks are still to be taken off and leases handed over when ctx has ended.
	lasting := context.WithoutCancel(ctx)
	if sv.node, err = nodeName(cfg); err != nil {
		return &usageError{err}
	}
	address, err := sv.flags.address(cfg)
	if err != nil {
		return err
	}
	if sv.tel, err = newTelemetry(ctx, cfg, sv.node, sv.log); err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(lasting, flushWait)
		defer cancel()
		if lost := sv.tel.Shutdown(end); lost != nil {
			sv.log.Warn("traces lost", zap.Error(lost))
		}
	}()
	sv.flags.observe = sv.tel.Request
	if sv.cloud, err = sv.flags.connect(ctx, sv.w, cfg, sv.log, ""); err != nil {
		return err
	}
	defer sv.cloud.close()
	state, err := stateFolder(cfg.Wasakari.StateDir, sv.w)
	if err != nil {
		return usagef("state folder: %w; name one with --state-dir", err)
	}
	sv.audit = newAudit(cfg, sv.w, state, sv.log)

	opt, done, err := sv.storeConfig(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if tuneStore != nil {
		tuneStore(&opt)
	}
	if sv.store, err = store.Open(ctx, opt); err != nil {
		return usagef("store: %w", err)
	}
	if len(opt.Endpoints) > 0 {
		sv.takeOverWait = opt.TakeOverWait
	}
	defer func() { err = errors.Join(err, sv.store.Close()) }()
	debug.FreeOSMemory() // reading a large store leaves more behind than it keeps

	sv.stock = newStock(sv.w, cfg.Wasakari.StateDir, sv.log)
	sv.stock.store = sv.store
	if sv.rt, err = newRuntime(cfg, sv.w, sv.stock, sv.log); err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(lasting, 10*time.Second)
		defer cancel()
		err = errors.Join(err, sv.rt.Close(end))
	}()
	sv.snapshots = &snapshots{
		w: sv.w, flags: &sv.flags.settings, log: sv.log, shelf: newShelf(sv.rt, sv.log.Named("runtime")), uploads: uploadStore{sv.store, sv.stock}, stock: sv.stock, tel: sv.tel,
	}
	if err := sv.load(ctx, cfg); err != nil {
		return err
	}
	defer sv.snapshots.close()
	if sv.cloud.sim != nil {
		if err := sv.seed(ctx); err != nil {
			return fmt.Errorf("segment of the simulated cloud: %w", err)
		}
	}
	measureStore(sv.tel, sv.store)
	measureSandboxes(sv.tel, sv.rt)
	if sv.callers, err = sv.newCallers(cfg); err != nil {
		return err
	}
	defer sv.callers.close()
	door, err := sv.door(cfg)
	if err != nil {
		return err
	}
	defer door.close()

	sv.engine = engine.New(sv.engineConfig(cfg))
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return usagef("--listen: %w; name another address, or end who has it", err)
	}
	hooks, err := sv.webhooks(cfg)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	metrics, err := sv.metricsListener(ctx, cfg)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	before := reload.State(sv.watched(cfg))
	sv.announce(ln.Addr(), door.server.TLS != nil)

	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return door.serve(gctx, ln) })
	group.Go(func() error { return sv.engine.Run(gctx) })
	group.Go(func() error { return sv.follow(gctx) })
	group.Go(func() error {
		sv.follower(cfg, before).follow(gctx)
		return nil
	})
	if hooks != nil {
		group.Go(func() error { return hooks.Run(gctx) })
	}
	group.Go(func() error {
		sv.notifier.Watchdog(gctx, sv.alive)
		return nil
	})
	if metrics != nil {
		group.Go(func() error { return sv.tel.ServeMetrics(gctx, metrics) })
	}
	sv.notifier.Ready(statusServing)
	stopping := context.AfterFunc(gctx, func() { sv.notifier.Stopping("handing runs over") })
	defer stopping()
	return group.Wait()
}

// alive tells the service manager's watchdog that the engine goes round and that
// the store answers: one of our own, that is. To start again mends nothing about
// a cluster that is away, and the engine's loop waits for it in bounds.
func (sv *daemon) alive(ctx context.Context) error {
	if err := sv.engine.Alive(ctx); err != nil {
		return err
	}
	if sv.takeOverWait > 0 {
		return nil
	}
	return sv.store.Ready(ctx)
}

// metricsListener listens for who collects metrics; nil when nobody is to.
func (sv *daemon) metricsListener(ctx context.Context, cfg *config.Config) (net.Listener, error) {
	address := sv.flags.metricsListen
	if address == "" && sv.cloud.sim == nil && cfg.Telemetry.Metrics {
		address = cfg.Telemetry.MetricsListen
	}
	if address == "" {
		return nil, nil //nolint:nilnil // metrics are off
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, usagef("[telemetry] metrics_listen: %w; name another address with --metrics-listen", err)
	}
	return ln, nil
}

// statusServing is what the service manager shows of a node that is well.
const statusServing = "serving"

// follower reads configuration and task folders again when they change.
func (sv *daemon) follower(cfg *config.Config, before string) *follower {
	return &follower{
		now: cfg, before: before, files: sv.watched, signals: sv.w.hangups,
		read:   func() (*config.Config, error) { return sv.flags.configured(sv.w) },
		apply:  sv.apply,
		notify: sv.notifier, status: statusServing, tel: sv.tel, audit: sv.audit, log: sv.log,
	}
}

// watched lists the files and folders that a configuration comes from.
func (sv *daemon) watched(cfg *config.Config) []string {
	files := configFiles(cfg, &sv.flags.settings)
	folders, err := sv.flags.folders(cfg)
	if err != nil {
		sv.log.Warn("task folders not watched", zap.Error(err))
	}
	for _, f := range folders {
		files = append(files, f.dir)
	}
	for _, name := range append([]string{cfg.Policy.File}, cfg.Policy.Dirs...) {
		if path, ok := cfg.Find(name); ok {
			files = append(files, path)
		}
	}
	return files
}

// apply makes a configuration that was read again hold. Its error says that
// the former one stays.
func (sv *daemon) apply(ctx context.Context, cfg *config.Config) error {
	policy, warnings, err := callersPolicy(cfg)
	if err != nil {
		return err
	}
	if longest := longestRequest(cfg); sv.takeOverWait > 0 && longest > sv.takeOverWait {
		return fmt.Errorf("[wasakari] nova_timeout and [http] timeout_seconds: a request may take %s, longer than the %s that other nodes wait before they go on with a run; restart the nodes", longest, sv.takeOverWait)
	}
	sv.loading.Lock()
	defer sv.loading.Unlock()
	if err := sv.load(ctx, cfg); err != nil {
		return err
	}
	for _, warning := range warnings {
		sv.log.Warn("policy", zap.String("problem", warning))
	}
	sv.callers.policy.Adopt(policy)
	sv.engine.SetIntervals(intervals(cfg))
	return nil
}

// webhooks makes what tells others how runs end; nil when nobody is to be told.
func (sv *daemon) webhooks(cfg *config.Config) (*webhook.Sender, error) {
	o := cfg.Webhooks
	if len(o.URLs) == 0 {
		return nil, nil //nolint:nilnil // there are none
	}
	secret, err := o.Secret.Text()
	if err != nil {
		return nil, usagef("[webhooks] secret: %w", err)
	}
	c := webhook.Config{
		Secret: secret, Delivered: sv.tel.Delivery, Source: sv.store, KV: sv.store.Library(), Node: sv.node, Timeout: o.Timeout,
		Logger: sv.log,
	}
	for _, u := range o.URLs {
		c.URLs = append(c.URLs, string(u))
	}
	if o.CAFile != "" {
		if c.TLS, err = trusting("[webhooks] ca_file", o.CAFile); err != nil {
			return nil, err
		}
	}
	s, err := webhook.New(c)
	if err != nil {
		return nil, usagef("[webhooks] %w", err)
	}
	return s, nil
}

// load makes a snapshot of cfg current, and tells what is wrong in it.
func (sv *daemon) load(ctx context.Context, cfg *config.Config) error {
	snap, err := sv.snapshots.replace(ctx, cfg)
	if err != nil {
		return &usageError{err}
	}
	for _, w := range snap.cfg.Warnings(snap.taskOptions()...) {
		sv.log.Warn("configuration", zap.Stringer("at", w.Pos), zap.String("problem", w.Message))
	}
	for _, problem := range snap.problems {
		sv.log.Error("module not taken", zap.Error(problem))
	}
	for _, problem := range unjoined(snap.checkAll()) {
		sv.log.Error("flow cannot run", zap.Error(problem))
	}
	kept := slices.Clone(snap.engines)
	for _, m := range snap.kept {
		kept = append(kept, m.digest)
	}
	sv.store.SetKept(kept)
	return sv.store.SetCompiled(ctx, snap.modules)
}

// Waits before modules that could not be read are read again; the wait doubles.
const (
	firstReread = time.Second
	mostReread  = time.Minute
)

// follow reads the uploaded modules again when they change, and as long as they
// cannot be read: runs wait for what is active. As long as one of a registry is
// missing, it is asked for again.
func (sv *daemon) follow(ctx context.Context) error {
	changes := sv.store.Watch(ctx)
	again := time.NewTimer(0) // they may have changed since they were read at the start
	defer again.Stop()
	wait := firstReread
	for {
		select {
		case change, ok := <-changes:
			if !ok {
				return ctx.Err()
			}
			if !change.Modules && !change.Lost {
				continue
			}
		case <-again.C:
		}
		if err := sv.refresh(ctx); err != nil {
			if ctx.Err() == nil {
				sv.log.Error("modules not read, the former ones hold", zap.Duration("again_in", wait), zap.Error(err))
			}
			again.Reset(wait)
			wait = min(2*wait, mostReread)
			continue
		}
		again.Stop()
		wait = firstReread
		snap, release := sv.snapshots.newest()
		if snap.missing {
			again.Reset(mostReread)
		}
		release()
	}
}

// refresh makes a snapshot of what is uploaded now, with the same
// configuration.
func (sv *daemon) refresh(ctx context.Context) error {
	sv.loading.Lock()
	defer sv.loading.Unlock()
	snap, release := sv.snapshots.newest()
	cfg, has, missing := snap.cfg, snap.modules, snap.missing
	release()
	switch now, err := sv.store.ModulesRevision(ctx); {
	case err != nil:
		return err
	case now == has && !missing: // the others may not have been told
		return sv.store.SetCompiled(ctx, has)
	}
	return sv.load(ctx, cfg)
}

// storeConfig says where state is kept; done takes away what was only for this
// process.
func (sv *daemon) storeConfig(cfg *config.Config) (opt store.Config, done func() error, err error) {
	done = func() error { return nil }
	if opt, err = storeOf(cfg, sv.w, sv.flags.storeDir); err != nil {
		return opt, done, err
	}
	opt.Node, opt.Logger = sv.node, sv.log.Named("store")
	opt.HostRepair = cfg.HostRepair.Enabled
	opt.Committed = func(_ string, took time.Duration, err error) { sv.tel.Transaction(took, err) }
	if sv.cloud.sim != nil && sv.flags.stateDir == "" && sv.flags.storeDir == "" {
		// The simulated cloud ends with the process; what is said of it must too.
		opt.Endpoints = nil
		if opt.Dir, err = os.MkdirTemp("", "wasakari-simulated-"); err != nil {
			return opt, done, fmt.Errorf("folder of the store: %w", err)
		}
		done = func() error { return os.RemoveAll(opt.Dir) }
	}
	return opt, done, nil
}

// storeOf says which store a configuration names; dir counts before it.
func storeOf(cfg *config.Config, w world, dir string) (store.Config, error) {
	s := cfg.Store
	opt := store.Config{
		Cluster: cfg.Wasakari.Cluster, Version: version,
		LeaseTTL: s.Lease, TakeOverWait: longestRequest(cfg), QuotaMiB: s.QuotaMiB,
		Retention: s.Retention, RetentionRuns: s.RetentionRuns,
		KVLibraryBytes: int64(cfg.Wasakari.KVLibraryMiB) << 20, ScratchBytes: scratchBytes(cfg),
	}
	switch {
	case dir != "":
		opt.Dir = dir
	case len(s.Endpoints) > 0:
		opt.Endpoints, opt.Username, opt.Password = s.Endpoints, s.Username, string(s.Password)
		var err error
		opt.TLS, err = storeTLS(s)
		return opt, err
	case s.Dir != "":
		opt.Dir = s.Dir
	default:
		state, err := stateFolder(cfg.Wasakari.StateDir, w)
		if err != nil {
			return opt, usagef("state folder: %w; name one with --state-dir", err)
		}
		opt.Dir = filepath.Join(state, "store")
	}
	return opt, nil
}

// longestRequest is how long a request of a node may be under way after it lost
// its lease: so long others wait before they change anything.
func longestRequest(cfg *config.Config) time.Duration {
	return max(cfg.Wasakari.NovaTimeout, httpWait(cfg))
}

// storeTLS is how the members of an etcd cluster are spoken to.
func storeTLS(s config.Store) (*tls.Config, error) {
	if s.CAFile == "" && s.CertFile == "" {
		return nil, nil //nolint:nilnil // plain, or with the system's authorities, as the endpoints say
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CAFile != "" {
		var err error
		if cfg, err = trusting("[store] cafile", s.CAFile); err != nil {
			return nil, err
		}
	}
	if s.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
		if err != nil {
			return nil, usagef("[store] certfile and keyfile: %w", err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// trusting speaks TLS with those whom the certificates of a file vouch for; option
// names the file.
func trusting(option, file string) (*tls.Config, error) {
	pem, err := readFile(file, maxCAFile)
	if err != nil {
		return nil, usagef("%s: %w", option, err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, usagef("%s %s: no certificate in it", option, file)
	}
	return cfg, nil
}

func (sv *daemon) engineConfig(cfg *config.Config) engine.Config {
	d := cfg.Default
	c := engine.Config{
		Node: sv.node, DrainTimeout: drainTime(cfg),
		Store: engineStore{sv.store}, Flows: &performer{snapshots: sv.snapshots, store: sv.store, cloud: sv.cloud, observe: sv.observed}, Cloud: sv.cloud.Client,
		HostsAtOnce: cfg.Engine.HostsAtOnce, ServersAtOnce: cfg.Engine.ServersAtOnce, MaxDeliveries: cfg.Engine.MaxDeliveries,
		Intervals: intervals(cfg), FirstJob: cmp.Or(d.PeriodicFuzzyDelay, -1), Observer: engineWatch{sv.tel.Engine(), sv.audit}, Logger: sv.log.Named("engine"),
	}
	if cfg.HostRepair.Enabled {
		c.Repair = recovery.HostRepair
	}
	return c
}

// drainTime bounds the end of the service.
func drainTime(cfg *config.Config) time.Duration {
	if t := cfg.Default.GracefulShutdownTimeout; t > 0 {
		return t
	}
	return math.MaxInt64 / 2 // none: as long as it takes
}

// intervals are those of Masakari's periodic jobs.
func intervals(cfg *config.Config) engine.Intervals {
	d := cfg.Default
	// A spacing of 0 is the scheduler's own in Masakari.
	const spacing = time.Minute
	i := engine.Intervals{
		Unfinished: cmp.Or(d.ProcessUnfinishedNotificationsInterval, spacing), RetryNew: d.RetryNotificationNewStatusInterval,
		CheckExpired: cmp.Or(d.CheckExpiredNotificationsInterval, spacing), Expired: d.NotificationsExpiredInterval,
	}
	if !d.PeriodicEnable {
		i.Unfinished, i.CheckExpired = -1, -1
	}
	return i
}

// engineStore is the store as the engine wants it.
type engineStore struct{ *store.Store }

// Claim claims a run.
func (s engineStore) Claim(ctx context.Context, notification string) (engine.Run, error) {
	run, err := s.Store.Claim(ctx, notification)
	if err != nil {
		return nil, err
	}
	return run, nil
}

// demoSegment holds the hosts of a simulated cloud.
const demoSegment = "demo"

// seed makes a segment with all hosts of the simulated cloud.
func (sv *daemon) seed(ctx context.Context) error {
	segments, err := sv.store.Segments(ctx)
	if err != nil || slices.ContainsFunc(segments, func(s recovery.Segment) bool { return s.Name == demoSegment }) {
		return err
	}
	seg, err := sv.store.CreateSegment(ctx, recovery.Segment{
		Name: demoSegment, ServiceType: "COMPUTE", RecoveryMethod: recovery.Auto, Enabled: true,
		Description: new("all hosts of the simulated cloud"),
	})
	if err != nil {
		return err
	}
	for _, s := range sv.cloud.sim.Services() {
		if _, err := sv.store.CreateHost(ctx, recovery.Host{
			Name: s.Host, Type: "COMPUTE", ControlAttributes: "simulated", Reserved: s.Disabled, SegmentUUID: seg.UUID,
		}); err != nil {
			return fmt.Errorf("host %s: %w", s.Host, err)
		}
	}
	return nil
}

// announce says that the service is there.
func (sv *daemon) announce(at net.Addr, tls bool) {
	scheme := "http"
	if tls {
		scheme = "https"
	}
	fmt.Fprintf(sv.w.stdout, "wasakari %s answers at %s://%s/v1 for %s\n", version, scheme, at, sv.cloud.what)
	if sv.cloud.sim != nil {
		fmt.Fprintf(sv.w.stdout, "everything is simulated, and nobody has to log in; segment %s holds its hosts\n", demoSegment)
	}
}

// novaHosts tells the API which hosts Nova has.
type novaHosts struct{ *openstack.Client }

// HostExists reports whether Nova has a nova-compute service on the host.
func (n novaHosts) HostExists(ctx context.Context, name string) (bool, error) {
	services, err := n.Services(ctx, recovery.ServiceFilter{Host: name, Binary: "nova-compute"})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(services, func(s recovery.ComputeService) bool { return s.Host == name }), nil
}
