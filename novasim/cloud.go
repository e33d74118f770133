package novasim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	minMicroversion = 1
	maxMicroversion = 93
)

// manualStart is when the time of a cloud with ManualTime begins.
var manualStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Options are what a scenario does not say. The zero value is usable.
type Options struct {
	// Seed replaces the scenario's when it is not 0.
	Seed int64

	// Logger gets one line per request and per host that fails. Defaults to none.
	Logger *zap.Logger

	// ManualTime makes time stand still but for Advance. For tests. Requests
	// never wait then: their latencies, delays and hangs are over at once.
	ManualTime bool

	// OnRequest is called before a request is handled and, with before false,
	// after it was handled but before its answer is sent. n is Request.Seq.
	// It may block, and it may end the process. The request's body is spent.
	OnRequest func(n int, before bool, r *http.Request)

	// Endpoints are further services of the catalogue, by type, with their
	// addresses, such as instance-ha.
	Endpoints map[string]string

	// MaxRequests bounds the request log; the oldest entries go first.
	//
	// Defaults to 200 000.
	MaxRequests int
}

// Cloud is a simulated cloud. It is safe for concurrent use. Close it.
type Cloud struct {
	opt  Options
	log  *zap.Logger
	sc   *Scenario
	seed int64

	minVersion, maxVersion int

	mu       sync.Mutex
	manual   time.Time     // with ManualTime
	ahead    time.Duration // of the system's time, without
	events   eventHeap
	eventSeq uint64

	seq     int // requests so far
	records requestLog
	faults  []fault

	projects map[string]*project // by name
	byID     map[string]*project
	users    map[string]*user // by name
	creds    []*appCredential
	tokens   map[string]*authToken
	tokenSeq int

	hosts      []*host // in the scenario's order
	hostByName map[string]*host
	services   []*service
	servers    []*server // oldest first, deleted ones included
	serverByID map[string]*server
	aggregates []*aggregate
	migrations []*migration // oldest first
	image      string
	hostIDs    map[string]string

	wake    chan struct{}
	done    chan struct{}
	close   sync.Once
	running sync.WaitGroup
	closed  bool
	serving map[*Server]struct{}
}

// New makes a cloud of a scenario.
func New(sc *Scenario, opt Options) (*Cloud, error) {
	var errs []error
	sc.check(func(where, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
	})
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	if opt.MaxRequests <= 0 {
		opt.MaxRequests = 200_000
	}
	c := &Cloud{
		opt: opt, log: opt.Logger, sc: sc, seed: sc.Seed,
		minVersion: minMicroversion, maxVersion: maxMicroversion,
		manual:   manualStart,
		projects: map[string]*project{}, byID: map[string]*project{},
		users: map[string]*user{}, tokens: map[string]*authToken{},
		hostByName: map[string]*host{}, serverByID: map[string]*server{}, hostIDs: map[string]string{},
		wake: make(chan struct{}, 1), done: make(chan struct{}), serving: map[*Server]struct{}{},
	}
	c.records.most = opt.MaxRequests
	if opt.Seed != 0 {
		c.seed = opt.Seed
	}
	if c.log == nil {
		c.log = zap.NewNop()
	}
	if v := sc.Microversion.Min; v != "" {
		c.minVersion, _ = strconv.Atoi(v[2:])
	}
	if v := sc.Microversion.Max; v != "" {
		c.maxVersion, _ = strconv.Atoi(v[2:])
	}
	c.mu.Lock()
	c.makeAccounts()
	c.image = c.uuid("image")
	c.makeHosts()
	c.makeServers()
	for _, f := range sc.Faults {
		c.faults = append(c.faults, fault{FaultSpec: f})
	}
	c.mu.Unlock()
	if !opt.ManualTime {
		c.running.Add(1)
		go c.keepTime()
	}
	return c, nil
}

// Close ends the servers and everything the cloud still does, and waits for it.
func (c *Cloud) Close() error {
	c.close.Do(func() {
		close(c.done)
		c.mu.Lock()
		c.closed = true
		serving := make([]*Server, 0, len(c.serving))
		for s := range c.serving {
			serving = append(serving, s)
		}
		c.mu.Unlock()
		for _, s := range serving {
			_ = s.Close(context.Background())
		}
	})
	c.running.Wait()
	return nil
}

// Server is a cloud that listens.
type Server struct {
	// URL is Keystone's, as an auth_url: http://127.0.0.1:PORT/v3.
	URL string

	c      *Cloud
	http   *http.Server
	cancel context.CancelFunc
	served chan struct{}

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

// Start listens on addr, by default 127.0.0.1:0, until ctx ends or Close is
// called on the Server or the Cloud.
func (c *Cloud) Start(ctx context.Context, addr string) (*Server, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("simulated cloud: %w", err)
	}
	base, cancel := context.WithCancel(ctx)
	s := &Server{URL: "http://" + l.Addr().String() + "/v3", c: c, cancel: cancel, served: make(chan struct{})}
	handler := c.Handler()
	s.http = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !s.enter() {
				panic(http.ErrAbortHandler)
			}
			defer s.calls.Done()
			handler.ServeHTTP(w, r)
		}),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          zap.NewStdLog(c.log.Named("http")),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		cancel()
		_ = l.Close()
		return nil, errors.New("simulated cloud: closed")
	}
	c.serving[s] = struct{}{}
	c.running.Go(func() {
		defer close(s.served)
		stop := context.AfterFunc(ctx, func() { _ = s.http.Close() })
		defer stop()
		_ = s.http.Serve(l)
	})
	return s, nil
}

// enter counts a call in, unless the server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.calls.Add(1)
	return true
}

// Close stops listening, cuts the requests that are being held, and waits for
// them, at most until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	err := s.http.Close()
	over := make(chan struct{})
	go func() {
		defer close(over)
		<-s.served
		s.calls.Wait()
	}()
	s.c.mu.Lock()
	delete(s.c.serving, s)
	s.c.mu.Unlock()
	select {
	case <-over:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// project is a Keystone project.
type project struct{ id, name string }

func (c *Cloud) project(name string) *project {
	p := c.projects[name]
	if p == nil {
		p = &project{id: c.hexID("project", name), name: name}
		c.projects[name], c.byID[p.id] = p, p
	}
	return p
}

// host is a compute host.
type host struct {
	name, zone string
	state      string    // up, down (its process is dead), hung
	seen       time.Time // last report, when not up
	downTime   time.Duration
	epoch      int  // grows whenever its process dies: what it was doing is lost
	skipped    bool // Placement shows it as disabled: the scheduler passes it over
	capacity   int
	held       int // servers on it, and on their way to it
	queue      []message
	service    *service
	hypervisor string // uuid
	number     int
}

// address is the host's IP address.
func (h *host) address() string { return "192.0.2." + number((h.number-1)%254+1) }

// message is work that waits for a host's nova-compute to run.
type message struct {
	d  time.Duration
	do func()
}

// service is a row of os-services.
type service struct {
	id, binary, zone string
	host             string
	number           int
	compute          *host // nil for other binaries
	disabled         bool
	reason           string
	forcedDown       bool
	updated          time.Time
}

func (c *Cloud) makeHosts() {
	now := c.now()
	for i, b := range []string{"nova-conductor", "nova-scheduler"} {
		c.services = append(c.services, &service{id: c.uuid("service", b), number: i + 1, binary: b, host: controller, zone: "internal", updated: now})
	}
	for i, spec := range c.sc.Hosts {
		h := &host{
			name: spec.Name, zone: spec.Zone, state: spec.State, capacity: spec.Capacity, number: i + 1,
			downTime: time.Duration(c.sc.ServiceDownTime), hypervisor: c.uuid("hypervisor", spec.Name), skipped: spec.Disabled,
		}
		if h.zone == "" {
			h.zone = "nova"
		}
		if spec.ServiceDownTime != nil {
			h.downTime = time.Duration(*spec.ServiceDownTime)
		}
		switch h.state {
		case "":
			h.state = "up"
		case "down", "hung":
			h.seen = now.Add(-h.downTime)
		}
		h.service = &service{
			id: c.uuid("service", spec.Name), number: i + 3, binary: "nova-compute", zone: h.zone, host: h.name, compute: h,
			disabled: spec.Disabled, reason: spec.DisabledReason, forcedDown: spec.ForcedDown, updated: now,
		}
		c.hosts = append(c.hosts, h)
		c.hostByName[h.name] = h
		c.services = append(c.services, h.service)
		// Whole seconds of simulated life are no matter here: both run from now.
		if spec.HealsAfter != nil {
			c.after(time.Duration(*spec.HealsAfter), func() { c.heal(h) })
		}
		if spec.FailsAfter != nil {
			c.after(time.Duration(*spec.FailsAfter), func() { c.fail(h) })
		}
	}
	for i, spec := range c.sc.Aggregates {
		c.aggregates = append(c.aggregates, &aggregate{
			id: i + 1, uuid: c.uuid("aggregate", spec.Name), name: spec.Name, zone: spec.Zone,
			hosts: slices.Clone(spec.Hosts), metadata: spec.Metadata, created: now,
		})
	}
}

// up says whether Nova sees the service up: not forced down, and heard of
// within the service down time.
func (c *Cloud) up(s *service) bool {
	if s.forcedDown {
		return false
	}
	h := s.compute
	return h == nil || h.state == "up" || c.now().Sub(h.seen) < h.downTime
}

// reported is when the service last wrote its record.
func (c *Cloud) reported(s *service) time.Time {
	switch {
	case s.compute == nil || s.compute.state == "up":
		return c.now()
	case s.updated.After(s.compute.seen):
		return s.updated
	}
	return s.compute.seen
}

// fail kills the host's nova-compute and everything it was doing.
func (c *Cloud) fail(h *host) {
	if h.state == "down" {
		return
	}
	if h.state == "up" {
		h.seen = c.now()
	}
	h.state = "down"
	h.epoch++
	c.log.Info("host failed", zap.String("host", h.name))
}

// hang stops the host's nova-compute; it goes on where it was when healed.
func (c *Cloud) hang(h *host) {
	if h.state != "up" {
		return
	}
	h.state, h.seen = "hung", c.now()
	c.log.Info("host hangs", zap.String("host", h.name))
}

// heal starts a host's nova-compute, or lets a hung one go on.
func (c *Cloud) heal(h *host) {
	if h.state == "up" {
		return
	}
	started := h.state == "down"
	h.state = "up"
	c.log.Info("host is back", zap.String("host", h.name))
	if started {
		h.skipped = h.service.disabled
		c.clearEvacuated(h)
		c.forgetLost(h)
	} else if h.skipped != h.service.disabled {
		c.after(c.periodic(), func() { c.sync(h) })
	}
	queue := h.queue
	h.queue = nil
	for _, m := range queue {
		c.tell(h, m.d, m.do)
	}
}

func (c *Cloud) periodic() time.Duration {
	if d := time.Duration(c.sc.PeriodicUpdate); d > 0 {
		return d
	}
	return time.Minute
}

// sync is the periodic update by which Placement learns whether the host is disabled.
func (c *Cloud) sync(h *host) {
	if h.state == "up" {
		h.skipped = h.service.disabled
	}
}

// clearEvacuated is what a nova-compute does as it starts: it removes guests
// that were evacuated meanwhile, or are being. It looks at one record of each
// server, the newest, so a server evacuated twice leaves one for the next start.
func (c *Cloud) clearEvacuated(h *host) {
	seen := map[string]bool{}
	for _, m := range slices.Backward(c.migrations) {
		if m.kind == "evacuation" && slices.Contains([]string{"accepted", "pre-migrating", "done"}, m.status) && m.source == h && !seen[m.server.id] {
			seen[m.server.id] = true
			m.set(c, "completed")
		}
	}
}

// forgetLost gives back what the evacuations had claimed that were lost with the
// host's process.
func (c *Cloud) forgetLost(h *host) {
	for _, s := range c.servers {
		s.open = slices.DeleteFunc(s.open, func(e *evacuation) bool {
			lost := e.taken && e.to == h && e.epoch != h.epoch
			if lost {
				h.held--
			}
			return lost
		})
	}
}

// maxQueue bounds the messages that wait for one host.
const maxQueue = 100_000

// tell has the host's nova-compute do something that takes d. What it does is
// lost when its process dies meanwhile, and waits while it does not run.
func (c *Cloud) tell(h *host, d time.Duration, do func()) {
	if h.state != "up" {
		if len(h.queue) < maxQueue {
			h.queue = append(h.queue, message{d, do})
		}
		return
	}
	epoch := h.epoch
	c.after(d, func() {
		switch {
		case h.epoch != epoch:
		case h.state == "up":
			do()
		default: // hung: as soon as it goes on
			h.queue = append(h.queue, message{0, do})
		}
	})
}

// schedule chooses the host with the most room for a server, by name among
// equals; only one of them when it is named.
func (c *Cloud) schedule(not *host, only *host) *host {
	var best *host
	for _, h := range c.hosts {
		if h == not || only != nil && h != only || h.skipped || h.service.disabled || !c.up(h.service) || h.free() <= 0 {
			continue
		}
		if best == nil || h.free() > best.free() || h.free() == best.free() && h.name < best.name {
			best = h
		}
	}
	return best
}

// free is how many more servers the host can hold.
func (h *host) free() int {
	if h.capacity == 0 {
		return MaxServers*10 - h.held
	}
	return h.capacity - h.held
}
