package hostile_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/egress"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

// attack is what a task tries, in steps.
type attack struct {
	name  string // for -run
	does  string // what the attacker does
	as    func(*hostfuncs.TaskCall)
	steps []step
	// sent lists what reached the cloud or the network all the same; nil: nothing
	// may.
	sent  []string
	world func(*world) // what is else than usual
}

// step is one op: what it is asked, and what must come: the answer, or errno
// and message.
type step struct{ op, req, want string }

// groups are all attacks.
var groups = []struct {
	name    string
	attacks []attack
}{
	{"documents", documents()},
	{"names", names()},
	{"stores", stores()},
	{"grants", grants()},
	{"inputs", inputs()},
	{"libraries", libraries()},
	{"tenants", tenants()},
	{"requests", requests()},
	{"addresses", addresses()},
	{"secrets", secrets()},
}

// fewest is how many attacks there must be.
const fewest = 200

func TestAttacks(t *testing.T) {
	n := 0
	for _, g := range groups {
		seen := map[string]bool{}
		for _, a := range g.attacks {
			n++
			t.Run(g.name+"/"+a.name, func(t *testing.T) {
				if seen[a.name] || a.does == "" || len(a.steps) == 0 {
					t.Error("not told apart, or not told at all")
				}
				seen[a.name] = true
				w := newWorld(t)
				if a.world != nil {
					a.world(w)
				}
				w.perform(t, a)
			})
		}
	}
	if n < fewest {
		t.Errorf("%d attacks, want at least %d", n, fewest)
	}
}

// perform makes the attack.
func (w *world) perform(t *testing.T, a attack) {
	t.Helper()
	task := w.task(a.as)
	for i, s := range a.steps {
		got := do(t.Context(), task, s.op, s.req)
		if got != s.want && s.want != "*" {
			t.Errorf("the task %s\nstep %d: %s\n got %s\nwant %s", a.does, i, s.op, got, s.want)
		}
		if plain := w.tells(got); plain != "" {
			t.Errorf("the task %s\nstep %d: %s tells %s: %s", a.does, i, s.op, plain, got)
		}
	}
	w.mu.Lock()
	sent := slices.Clone(w.sent)
	w.mu.Unlock()
	if !slices.Equal(sent, a.sent) {
		t.Errorf("the task %s\n sent %q\nwant %q", a.does, sent, a.sent)
	}
	for _, e := range w.logs.All() {
		if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, plain) || strings.Contains(text, "hunter2") {
			t.Errorf("the log tells the secret: %s", text)
		}
	}
}

// do gives the answer of an op, or errno and message.
func do(ctx context.Context, task *hostfuncs.TaskHost, op, req string) string {
	o := abi.LookupOp([]byte(op))
	if o == nil {
		o = &abi.Op{Name: op, Free: true}
	}
	b, err := task.Do(ctx, o, []byte(req))
	if err == nil {
		return string(b)
	}
	if _, ok := errors.AsType[*abi.Error](err); !ok {
		return fmt.Sprintf("%T: %v, which is no error for a guest", err, err)
	}
	return err.Error()
}

// world is what a Hatch stands on: a cloud, stores, and a network of names and
// addresses.
type world struct {
	deps  hostfuncs.Deps
	hatch *hostfuncs.Hatch
	logs  *observer.ObservedLogs

	mu      sync.Mutex
	sent    []string // changes of the cloud, and requests that a server got
	servers map[string]recovery.Server
	ha      records
	library store
	scratch store

	lookups map[string][][]string // answers to the lookups of a name; the last one stays
	server  string                // address of the listener behind all public addresses
	serve   http.HandlerFunc
}

// The run, and who is in it.
const (
	runID      = "run-7"
	failedHost = "compute-1"
	operator   = "9d1c" // its servers' project
	alpha      = "a1fa" // a tenant
	beta       = "be7a" // another one
	public     = "198.41.0.4"
	// plain is the value of the secret acme.token; no one may be told it.
	plain = "hunter2/pläin+text"
)

func newWorld(t *testing.T) *world {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	w := &world{logs: logs, servers: map[string]recovery.Server{}, lookups: map[string][][]string{"api.example.com": {{public}}}}
	for id, tenant := range map[string]string{"s-alpha": alpha, "s-beta": beta, "s-operator": operator} {
		w.servers[id] = recovery.Server{
			ID: id, Name: "name of " + id, TenantID: tenant, Status: "ACTIVE", VMState: "active", PowerState: 1,
			Host: failedHost, Hypervisor: failedHost,
		}
	}
	w.serve = func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("ok")) }
	client, err := egress.New(egress.Config{Resolver: w, Dial: w.dial, Logger: zap.New(core), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	w.deps = hostfuncs.Deps{
		Cloud: cloud{nil, w}, Ledger: ledger{}, HA: &w.ha, Library: &w.library, Scratch: &w.scratch, HTTP: sender{client}, Logger: zap.New(core),
		Run:     hostfuncs.RunInfo{ID: runID, Cluster: "east", FailedHost: failedHost, NotificationUUID: "note-1", Started: time.Now().Add(-time.Minute)},
		Options: hostfuncs.Options{VerifyInterval: time.Millisecond, NovaTimeout: time.Second, OutcomeWait: time.Second, HTTPTimeout: 5 * time.Second},
	}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.note(r.Method + " " + r.Host + r.URL.RequestURI())
		rw.Header()["Date"] = nil
		w.serve(rw, r)
	}))
	t.Cleanup(s.Close)
	w.server = s.Listener.Addr().String()
	t.Cleanup(func() {
		if w.hatch != nil {
			w.hatch.Close()
		}
	})
	return w
}

// task makes a task of the library acme, of the operator, which asks for
// everything and is granted it.
func (w *world) task(change func(*hostfuncs.TaskCall)) *hostfuncs.TaskHost {
	if w.hatch == nil {
		w.hatch = hostfuncs.New(w.deps)
	}
	c := hostfuncs.TaskCall{
		Task: recovery.Task{
			Key: "evil", Library: "acme", Uses: []string{"kv.*", "nova.*", "ha.*", "http.request"},
			Requires: []string{"host_name"}, Optional: []string{"ticket"}, Provides: []string{"answer"},
			HTTP: []string{"* http://api.example.com/v1/*"},
		},
		Flow: recovery.HostAuto, Phase: recovery.Main, IdempotencyKey: "idem",
		Values: map[string]json.RawMessage{
			"host_name": json.RawMessage(`"compute-1"`), "of_others": json.RawMessage(`"hidden value"`), "instance_uuid": json.RawMessage(`"s-beta"`),
		},
		Granted: func(name string) bool { return !strings.HasPrefix(name, "provides:") },
	}
	if change != nil {
		change(&c)
	}
	return w.hatch.Task(c)
}

// as gives a change of the task that does all of these.
func as(changes ...func(*hostfuncs.TaskCall)) func(*hostfuncs.TaskCall) {
	return func(c *hostfuncs.TaskCall) {
		for _, f := range changes {
			f(c)
		}
	}
}

// ofAlpha makes the task one of the tenant alpha.
func ofAlpha(c *hostfuncs.TaskCall) { c.Task.Tenant = alpha }

// context is that of what was there before the attack.
func (*world) context() context.Context { return context.Background() }

func (w *world) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, what)
}

// tells says what of the things that are nobody's to know is in a text.
func (w *world) tells(text string) string {
	for _, s := range []string{plain, "hunter2", "hidden value", "hidden of beta"} {
		if strings.Contains(text, s) {
			return s
		}
	}
	return ""
}

// LookupNetIP serves egress.Resolver.
func (w *world) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	answers := w.lookups[host]
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(answers) > 1 {
		w.lookups[host] = answers[1:]
	}
	var list []netip.Addr
	for _, a := range answers[0] {
		list = append(list, netip.MustParseAddr(a))
	}
	return list, nil
}

// dial leads every public address to the server; a connection to any other one
// is noted, which no attack may come to.
func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if host, _, _ := net.SplitHostPort(address); host != public {
		w.note("connected to " + address)
		return nil, errors.New("connection refused")
	}
	return new(net.Dialer).DialContext(ctx, network, w.server)
}

// sender is egress as a Hatch has it.
type sender struct{ *egress.Client }

func (s sender) Do(ctx context.Context, c hostfuncs.HTTPCall) (abi.HTTPRequestAnswer, error) {
	return s.Client.Do(ctx, egress.Call(c))
}

func (s sender) Refused(c hostfuncs.HTTPCall, why error) { s.Client.Refused(egress.Call(c), why) }

// cloud is Nova. What it does not have panics: no attack may come to it.
type cloud struct {
	hostfuncs.Cloud
	w *world
}

func (c cloud) Server(_ context.Context, id string) (recovery.Server, error) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	s, ok := c.w.servers[id]
	if !ok {
		return s, &recovery.CloudError{Op: "get server " + id, Status: 404, Message: "Instance " + id + " could not be found.", Err: recovery.ErrNotFound}
	}
	return s, nil
}

// Servers ignores the filter by project, as a Nova would that does not know
// it: the host checks.
func (c cloud) Servers(_ context.Context, f recovery.ServerFilter, page func([]recovery.Server) error) error {
	c.w.mu.Lock()
	var all []recovery.Server
	for _, id := range slices.Sorted(maps.Keys(c.w.servers)) {
		if s := c.w.servers[id]; f.Host == "" || f.Host == s.Host {
			all = append(all, s)
		}
	}
	c.w.mu.Unlock()
	return page(all)
}

func (c cloud) Actions(context.Context, string) ([]recovery.ServerAction, error) { return nil, nil }

func (c cloud) Migrations(context.Context, recovery.MigrationFilter) ([]recovery.Migration, error) {
	return nil, nil
}

func (c cloud) Services(context.Context, recovery.ServiceFilter) ([]recovery.ComputeService, error) {
	return []recovery.ComputeService{{ID: "svc-1", Binary: "nova-compute", Host: failedHost, Status: "enabled", State: "down"}}, nil
}

func (c cloud) Aggregates(context.Context) ([]recovery.Aggregate, error) {
	return []recovery.Aggregate{{ID: 1, Hosts: []string{failedHost}}}, nil
}

func (c cloud) Evacuate(_ context.Context, id, _ string) (string, error) {
	c.w.note("evacuate " + id)
	return "req-1", nil
}

func (c cloud) Stop(_ context.Context, id string) (string, error) {
	c.w.note("stop " + id)
	return "req-1", nil
}

func (c cloud) UpdateService(_ context.Context, id string, _ recovery.ServiceUpdate) (recovery.ComputeService, string, error) {
	c.w.note("update service " + id)
	return recovery.ComputeService{ID: id}, "req-1", nil
}

// ledger forgets everything.
type ledger struct{}

func (ledger) BeginIntent(context.Context, recovery.Intent) error     { return nil }
func (ledger) EndIntent(context.Context, recovery.Intent) error       { return nil }
func (ledger) OpenIntents(context.Context) ([]recovery.Intent, error) { return nil, nil }
func (ledger) PushUndo(context.Context, recovery.Undo) error          { return nil }
func (ledger) DropUndo(context.Context, string) error                 { return nil }
func (ledger) Undos(context.Context) ([]recovery.Undo, error)         { return nil, nil }
func (ledger) Check(context.Context, time.Duration) error             { return nil }

// records are Masakari's.
type records struct{ moves []recovery.VMove }

func (*records) Segment(context.Context) (recovery.Segment, error) {
	return recovery.Segment{UUID: "seg-1", Name: "seg"}, nil
}

func (*records) Hosts(context.Context) ([]recovery.Host, error) {
	return []recovery.Host{{Name: failedHost}, {Name: "compute-4", Reserved: true}}, nil
}

func (*records) UpdateHost(context.Context, recovery.Host) error { return nil }

func (r *records) VMoves(context.Context) ([]recovery.VMove, error) {
	return slices.Clone(r.moves), nil
}

func (r *records) PutVMove(_ context.Context, v recovery.VMove) error {
	i := slices.IndexFunc(r.moves, func(o recovery.VMove) bool { return o.UUID == v.UUID })
	if i < 0 {
		r.moves = append(r.moves, v)
		return nil
	}
	r.moves[i] = v
	return nil
}

// store keeps values in memory, by owner, a zero byte, and name.
type store struct {
	mu     sync.Mutex
	values map[string]recovery.KVValue
}

func (s *store) Get(_ context.Context, owner, name string) (recovery.KVValue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[owner+"\x00"+name]
	if !ok {
		return v, recovery.ErrNotFound
	}
	return v, nil
}

func (s *store) Put(_ context.Context, owner, name string, v recovery.KVValue, ifVersion *int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values = map[string]recovery.KVValue{}
	}
	key := owner + "\x00" + name
	if ifVersion != nil && *ifVersion != s.values[key].Version {
		return 0, recovery.ErrConflict
	}
	v.Name, v.Version = name, s.values[key].Version+1
	s.values[key] = v
	return v.Version, nil
}

func (s *store) Delete(_ context.Context, owner, name string, _ *int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := owner + "\x00" + name
	if _, ok := s.values[key]; !ok {
		return recovery.ErrNotFound
	}
	delete(s.values, key)
	return nil
}

func (s *store) List(_ context.Context, owner, prefix string) ([]recovery.KVValue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []recovery.KVValue
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		if strings.HasPrefix(key, owner+"\x00"+prefix) {
			out = append(out, s.values[key])
		}
	}
	return out, nil
}
