package hostfuncs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

// fakeCloud answers by its function fields and counts the calls. A nil field
// answers with zero values. before, when set, is asked before each call.
type fakeCloud struct {
	mu     sync.Mutex
	calls  map[string]int
	before func(ctx context.Context, call string) error

	server        func(ctx context.Context, id string) (recovery.Server, error)
	servers       func(ctx context.Context, f recovery.ServerFilter) ([]recovery.Server, error)
	actions       func(ctx context.Context, id string) ([]recovery.ServerAction, error)
	act           func(ctx context.Context, verb, id, arg string) (string, error)
	services      func(ctx context.Context, f recovery.ServiceFilter) ([]recovery.ComputeService, error)
	updateService func(ctx context.Context, id string, u recovery.ServiceUpdate) (recovery.ComputeService, string, error)
	aggregates    func(ctx context.Context) ([]recovery.Aggregate, error)
	aggregateHost func(ctx context.Context, verb string, id int, host string) (string, error)
	migrations    func(ctx context.Context, f recovery.MigrationFilter) ([]recovery.Migration, error)
}

func (c *fakeCloud) called(ctx context.Context, call string) error {
	c.mu.Lock()
	if c.calls == nil {
		c.calls = map[string]int{}
	}
	c.calls[call]++
	before := c.before
	c.mu.Unlock()
	if before != nil {
		return before(ctx, call)
	}
	return ctx.Err()
}

// count gives the number of calls of the names given.
func (c *fakeCloud) count(calls ...string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, call := range calls {
		n += c.calls[call]
	}
	return n
}

func (c *fakeCloud) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = nil
}

func (c *fakeCloud) Server(ctx context.Context, id string) (recovery.Server, error) {
	if err := c.called(ctx, "server"); err != nil {
		return recovery.Server{}, err
	}
	if c.server == nil {
		return recovery.Server{ID: id}, nil
	}
	return c.server(ctx, id)
}

// Servers hands out pages of two.
func (c *fakeCloud) Servers(ctx context.Context, f recovery.ServerFilter, page func([]recovery.Server) error) error {
	if err := c.called(ctx, "servers"); err != nil {
		return err
	}
	if c.servers == nil {
		return nil
	}
	all, err := c.servers(ctx, f)
	if err != nil {
		return err
	}
	for p := range slices.Chunk(all, 2) {
		if err := page(p); err != nil {
			return err
		}
		if err := c.called(ctx, "page"); err != nil {
			return err
		}
	}
	return nil
}

func (c *fakeCloud) Actions(ctx context.Context, id string) ([]recovery.ServerAction, error) {
	if err := c.called(ctx, "actions"); err != nil || c.actions == nil {
		return nil, err
	}
	return c.actions(ctx, id)
}

func (c *fakeCloud) do(ctx context.Context, verb, id, arg string) (string, error) {
	if err := c.called(ctx, verb); err != nil || c.act == nil {
		return "", err
	}
	return c.act(ctx, verb, id, arg)
}

func (c *fakeCloud) Evacuate(ctx context.Context, id, host string) (string, error) {
	return c.do(ctx, "evacuate", id, host)
}

func (c *fakeCloud) Stop(ctx context.Context, id string) (string, error) {
	return c.do(ctx, "stop", id, "")
}

func (c *fakeCloud) Start(ctx context.Context, id string) (string, error) {
	return c.do(ctx, "start", id, "")
}

func (c *fakeCloud) Reboot(ctx context.Context, id, kind string) (string, error) {
	return c.do(ctx, "reboot", id, kind)
}

func (c *fakeCloud) Lock(ctx context.Context, id, reason string) (string, error) {
	return c.do(ctx, "lock", id, reason)
}

func (c *fakeCloud) Unlock(ctx context.Context, id string) (string, error) {
	return c.do(ctx, "unlock", id, "")
}

func (c *fakeCloud) ResetState(ctx context.Context, id, state string) (string, error) {
	return c.do(ctx, "reset", id, state)
}

func (c *fakeCloud) Migrate(ctx context.Context, id, host string) (string, error) {
	return c.do(ctx, "migrate", id, host)
}

func (c *fakeCloud) LiveMigrate(ctx context.Context, id, host, block string) (string, error) {
	return c.do(ctx, "live-migration", id, host+" "+block)
}

func (c *fakeCloud) Services(ctx context.Context, f recovery.ServiceFilter) ([]recovery.ComputeService, error) {
	if err := c.called(ctx, "services"); err != nil || c.services == nil {
		return nil, err
	}
	return c.services(ctx, f)
}

func (c *fakeCloud) UpdateService(ctx context.Context, id string, u recovery.ServiceUpdate) (recovery.ComputeService, string, error) {
	if err := c.called(ctx, "update_service"); err != nil || c.updateService == nil {
		return recovery.ComputeService{}, "", err
	}
	return c.updateService(ctx, id, u)
}

func (c *fakeCloud) Aggregates(ctx context.Context) ([]recovery.Aggregate, error) {
	if err := c.called(ctx, "aggregates"); err != nil || c.aggregates == nil {
		return nil, err
	}
	return c.aggregates(ctx)
}

func (c *fakeCloud) AddAggregateHost(ctx context.Context, id int, host string) (string, error) {
	if err := c.called(ctx, "add_host"); err != nil || c.aggregateHost == nil {
		return "", err
	}
	return c.aggregateHost(ctx, "add_host", id, host)
}

func (c *fakeCloud) RemoveAggregateHost(ctx context.Context, id int, host string) (string, error) {
	if err := c.called(ctx, "remove_host"); err != nil || c.aggregateHost == nil {
		return "", err
	}
	return c.aggregateHost(ctx, "remove_host", id, host)
}

func (c *fakeCloud) Hypervisors(ctx context.Context, host string) ([]recovery.Hypervisor, error) {
	if err := c.called(ctx, "hypervisors"); err != nil {
		return nil, err
	}
	return []recovery.Hypervisor{{ID: "hv-1", Hostname: host}}, nil
}

func (c *fakeCloud) Migrations(ctx context.Context, f recovery.MigrationFilter) ([]recovery.Migration, error) {
	if err := c.called(ctx, "migrations"); err != nil || c.migrations == nil {
		return nil, err
	}
	return c.migrations(ctx, f)
}

// nova is a small Nova behind a fakeCloud.
type nova struct {
	*fakeCloud
	mu     sync.Mutex
	srv    map[string]*recovery.Server
	migs   []recovery.Migration // oldest first
	acts   map[string][]recovery.ServerAction
	svcs   []recovery.ComputeService
	aggs   []recovery.Aggregate
	serial int
	// answer, when set, is asked after each change that was done: its error is
	// the answer of the change.
	answer func(verb, id string) error
}

func newNova(servers ...recovery.Server) *nova {
	n := &nova{fakeCloud: &fakeCloud{}, srv: map[string]*recovery.Server{}, acts: map[string][]recovery.ServerAction{}}
	for _, s := range servers {
		if s.Updated == "" {
			s.Updated = nowText()
		}
		n.srv[s.ID] = &s
	}
	n.server = n.getServer
	n.servers = func(_ context.Context, f recovery.ServerFilter) ([]recovery.Server, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		var out []recovery.Server
		for _, id := range slices.Sorted(maps.Keys(n.srv)) {
			if s := n.srv[id]; (f.Host == "" || s.Host == f.Host) && (f.ChangedSince.IsZero() || s.Updated >= f.ChangedSince.UTC().Format(time.RFC3339)) {
				out = append(out, *s)
			}
		}
		return out, nil
	}
	n.actions = func(_ context.Context, id string) ([]recovery.ServerAction, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		out := slices.Clone(n.acts[id])
		slices.Reverse(out)
		return out, nil
	}
	n.migrations = func(_ context.Context, f recovery.MigrationFilter) ([]recovery.Migration, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		out := slices.DeleteFunc(slices.Clone(n.migs), func(m recovery.Migration) bool {
			return f.SourceCompute != "" && string(m.SourceCompute) != f.SourceCompute || f.Type != "" && m.Type != f.Type
		})
		slices.Reverse(out)
		return out, nil
	}
	n.act = n.change
	n.services = func(_ context.Context, f recovery.ServiceFilter) ([]recovery.ComputeService, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		return slices.DeleteFunc(slices.Clone(n.svcs), func(s recovery.ComputeService) bool {
			return f.Host != "" && s.Host != f.Host || f.Binary != "" && s.Binary != f.Binary
		}), nil
	}
	n.updateService = n.changeService
	n.aggregates = func(context.Context) ([]recovery.Aggregate, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		out := slices.Clone(n.aggs)
		for i := range out {
			out[i].Hosts = slices.Clone(out[i].Hosts)
		}
		return out, nil
	}
	n.aggregateHost = n.changeAggregate
	return n
}

func cloudError(op string, status int, message string, is error) error {
	return &recovery.CloudError{Op: op, Status: status, Message: message, RequestID: "req-refused", Err: is}
}

func (n *nova) getServer(_ context.Context, id string) (recovery.Server, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s, ok := n.srv[id]
	if !ok {
		return recovery.Server{}, cloudError("get server "+id, 404, "Instance "+id+" could not be found.", recovery.ErrNotFound)
	}
	return *s, nil
}

// edit changes a server.
func (n *nova) edit(id string, f func(s *recovery.Server)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(n.srv[id])
	n.srv[id].Updated = nowText()
}

// nowText is the time as Nova shows it, in whole seconds.
func nowText() string { return time.Now().UTC().Format(time.RFC3339) }

// migrate changes the newest migration of a server.
func (n *nova) setMigration(id, status string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := len(n.migs) - 1; i >= 0; i-- {
		if n.migs[i].InstanceUUID == id {
			n.migs[i].Status = status
			return
		}
	}
}

func (n *nova) nextRequest() string {
	n.serial++
	return fmt.Sprintf("req-%d", n.serial)
}

func (n *nova) change(_ context.Context, verb, id, arg string) (string, error) {
	n.mu.Lock()
	s, ok := n.srv[id]
	if !ok {
		n.mu.Unlock()
		return "", cloudError(verb+" "+id, 404, "no such server", recovery.ErrNotFound)
	}
	req := n.nextRequest()
	s.Updated = nowText()
	n.acts[id] = append(n.acts[id], recovery.ServerAction{Action: verb, RequestID: req, StartTime: fmt.Sprintf("%06d", n.serial)})
	switch verb {
	case "evacuate":
		s.TaskState = "rebuilding"
		n.migs = append(n.migs, recovery.Migration{
			ID: n.serial, UUID: fmt.Sprintf("mig-%d", n.serial), InstanceUUID: id, Status: "accepted", Type: "evacuation",
			SourceCompute: recovery.NullString(s.Host), DestCompute: recovery.NullString(arg),
		})
	case "lock":
		s.Locked, s.LockedReason = true, recovery.NullString(arg)
	case "unlock":
		s.Locked, s.LockedReason = false, ""
	case "reset":
		s.VMState, s.TaskState = arg, ""
	case "stop":
		s.VMState = "stopped"
	case "start":
		s.VMState = "active"
	}
	answer := n.answer
	n.mu.Unlock()
	if answer != nil {
		if err := answer(verb, id); err != nil {
			return "", err
		}
	}
	return req, nil
}

func (n *nova) changeService(_ context.Context, id string, u recovery.ServiceUpdate) (recovery.ComputeService, string, error) {
	n.mu.Lock()
	i := slices.IndexFunc(n.svcs, func(s recovery.ComputeService) bool { return s.ID == id })
	if u.Status != "" {
		n.svcs[i].Status, n.svcs[i].DisabledReason = u.Status, recovery.NullString(u.DisabledReason)
	}
	if u.ForcedDown != nil {
		n.svcs[i].ForcedDown = *u.ForcedDown
	}
	s, req, answer := n.svcs[i], n.nextRequest(), n.answer
	n.mu.Unlock()
	if answer != nil {
		if err := answer("update_service", id); err != nil {
			return recovery.ComputeService{}, "", err
		}
	}
	return s, req, nil
}

func (n *nova) changeAggregate(_ context.Context, verb string, id int, host string) (req string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer func() {
		if n.answer != nil && err == nil {
			err = n.answer(verb, host)
		}
	}()
	i := slices.IndexFunc(n.aggs, func(a recovery.Aggregate) bool { return a.ID == id })
	if verb == "add_host" {
		n.aggs[i].Hosts = append(slices.Clone(n.aggs[i].Hosts), host)
	} else {
		n.aggs[i].Hosts = slices.DeleteFunc(slices.Clone(n.aggs[i].Hosts), func(h string) bool { return h == host })
	}
	return n.nextRequest(), nil
}

// lost is the error of a change whose answer did not come.
func lost() error {
	return &recovery.CloudError{Op: "change", Message: "connection reset", Err: recovery.ErrUnknownOutcome}
}

// fakeLedger keeps intents and undo list in memory. fail, when set, is asked
// before each write.
type fakeLedger struct {
	mu      sync.Mutex
	intents []recovery.Intent
	undos   []recovery.Undo
	log     []string
	fail    func(what string) error
}

func (l *fakeLedger) failed(what string) error {
	l.log = append(l.log, what)
	if l.fail != nil {
		return l.fail(what)
	}
	return nil
}

func (l *fakeLedger) BeginIntent(_ context.Context, i recovery.Intent) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.failed("begin " + i.Op + " " + i.Target); err != nil {
		return err
	}
	l.intents = append(l.intents, i)
	return nil
}

func (l *fakeLedger) EndIntent(ctx context.Context, in recovery.Intent) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.failed("end " + in.Op + " " + in.Target + " " + string(in.State)); err != nil {
		return err
	}
	for i := range l.intents {
		if l.intents[i].ID == in.ID {
			l.intents[i] = in
		}
	}
	return nil
}

func (l *fakeLedger) OpenIntents(context.Context) ([]recovery.Intent, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.intents), func(i recovery.Intent) bool { return i.State != recovery.IntentOpen }), nil
}

func (l *fakeLedger) PushUndo(_ context.Context, u recovery.Undo) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.failed("push " + u.Key); err != nil {
		return err
	}
	if i := slices.IndexFunc(l.undos, func(o recovery.Undo) bool { return o.Key == u.Key }); i >= 0 {
		l.undos[i] = u
		return nil
	}
	l.undos = append(l.undos, u)
	return nil
}

func (l *fakeLedger) DropUndo(_ context.Context, key string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.failed("drop " + key); err != nil {
		return err
	}
	l.undos = slices.DeleteFunc(l.undos, func(u recovery.Undo) bool { return u.Key == key })
	return nil
}

func (l *fakeLedger) Undos(context.Context) ([]recovery.Undo, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.undos), nil
}

func (l *fakeLedger) Check(ctx context.Context, d time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.failed("check " + d.String()); err != nil {
		return err
	}
	return ctx.Err()
}

// states lists the intents as "op target state".
func (l *fakeLedger) states() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []string{}
	for _, i := range l.intents {
		out = append(out, fmt.Sprintf("%s %s %s", strings.TrimPrefix(i.Op, "nova."), i.Target, i.State))
	}
	return out
}

func (l *fakeLedger) undoKeys() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []string{}
	for _, u := range l.undos {
		out = append(out, u.Key)
	}
	return out
}

// fakeHA keeps Masakari's records in memory.
type fakeHA struct {
	mu      sync.Mutex
	segment recovery.Segment
	hosts   []recovery.Host
	vmoves  []recovery.VMove
	err     error
}

func (a *fakeHA) Segment(context.Context) (recovery.Segment, error) { return a.segment, a.err }

func (a *fakeHA) Hosts(context.Context) ([]recovery.Host, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.hosts), a.err
}

func (a *fakeHA) UpdateHost(_ context.Context, h recovery.Host) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.hosts {
		if a.hosts[i].Name == h.Name {
			a.hosts[i] = h
		}
	}
	return a.err
}

func (a *fakeHA) VMoves(context.Context) ([]recovery.VMove, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.vmoves), a.err
}

func (a *fakeHA) PutVMove(_ context.Context, v recovery.VMove) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.IndexFunc(a.vmoves, func(o recovery.VMove) bool { return o.UUID == v.UUID }); i >= 0 {
		a.vmoves[i] = v
	} else {
		a.vmoves = append(a.vmoves, v)
	}
	return a.err
}

func (a *fakeHA) reserved(host string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.hosts, func(h recovery.Host) bool { return h.Name == host })
	return i >= 0 && a.hosts[i].Reserved
}

// fakeKV is a library or scratch store in memory.
type fakeKV struct {
	mu   sync.Mutex
	vals map[string]recovery.KVValue // by fakeKey
	err  error

	putErr error
}

// fakeKey keeps apart spaces and names of any characters.
func fakeKey(space, name string) string { return strconv.Quote(space) + name }

func (k *fakeKV) Get(_ context.Context, space, name string) (recovery.KVValue, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return recovery.KVValue{}, k.err
	}
	v, ok := k.vals[fakeKey(space, name)]
	if !ok {
		return v, fmt.Errorf("%s: %w", name, recovery.ErrNotFound)
	}
	return v, nil
}

func (k *fakeKV) check(key string, ifVersion *int64) error {
	if k.err != nil {
		return k.err
	}
	if ifVersion != nil && *ifVersion != k.vals[key].Version {
		return fmt.Errorf("has version %d: %w", k.vals[key].Version, recovery.ErrConflict)
	}
	return nil
}

func (k *fakeKV) Put(_ context.Context, space, name string, v recovery.KVValue, ifVersion *int64) (int64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := fakeKey(space, name)
	if err := k.check(key, ifVersion); err != nil {
		return 0, err
	}
	if k.putErr != nil {
		return 0, k.putErr
	}
	if k.vals == nil {
		k.vals = map[string]recovery.KVValue{}
	}
	v.Name, v.Version = name, k.vals[key].Version+1
	k.vals[key] = v
	return v.Version, nil
}

func (k *fakeKV) Delete(_ context.Context, space, name string, ifVersion *int64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := fakeKey(space, name)
	if err := k.check(key, ifVersion); err != nil {
		return err
	}
	if _, ok := k.vals[key]; !ok {
		return recovery.ErrNotFound
	}
	delete(k.vals, key)
	return nil
}

func (k *fakeKV) List(_ context.Context, space, prefix string) ([]recovery.KVValue, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []recovery.KVValue
	for _, key := range slices.Sorted(maps.Keys(k.vals)) {
		if strings.HasPrefix(key, fakeKey(space, prefix)) {
			out = append(out, k.vals[key])
		}
	}
	return out, k.err
}

// bench is everything that a Hatch stands on.
type bench struct {
	http    fakeHTTP
	cloud   *nova
	ledger  *fakeLedger
	ha      *fakeHA
	library *fakeKV
	scratch *fakeKV
	deps    hostfuncs.Deps
	hatch   *hostfuncs.Hatch

	mu     sync.Mutex
	events []recovery.Event
}

const (
	failedHost = "compute-1"
	runID      = "run-7"
)

// setup makes a Hatch for a run about compute-1.
func setup(tb testing.TB, cloud *nova, change ...func(*bench)) *bench {
	b := &bench{
		cloud: cloud, ledger: &fakeLedger{}, library: &fakeKV{}, scratch: &fakeKV{},
		ha: &fakeHA{
			segment: recovery.Segment{UUID: "seg-1", Name: "seg", RecoveryMethod: recovery.Auto, Enabled: true},
			hosts:   []recovery.Host{{Name: failedHost}, {Name: "compute-4", Reserved: true}},
		},
	}
	b.deps = hostfuncs.Deps{
		Cloud: cloud, Ledger: b.ledger, HA: b.ha, Library: b.library, Scratch: b.scratch, HTTP: &b.http,
		Observe: func(e recovery.Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
		},
		Run: hostfuncs.RunInfo{ID: runID, Cluster: "east", FailedHost: failedHost, NotificationUUID: "note-1", Started: time.Now()},
		KnownRun: func(id string) (ended, known bool) {
			return id == "run-old", id == "run-old" || id == "run-busy"
		},
	}
	for _, f := range change {
		f(b)
	}
	b.hatch = hostfuncs.New(b.deps)
	tb.Cleanup(b.hatch.Close)
	return b
}

// task makes a TaskHost that may do everything.
func (b *bench) task(change ...func(*hostfuncs.TaskCall)) *hostfuncs.TaskHost {
	c := hostfuncs.TaskCall{
		Task: recovery.Task{
			Key: "custom_task", Library: "acme", Uses: []string{"kv.*", "nova.*", "ha.*", "http.request"},
			HTTP:     []string{"* https://tickets.example.com/v1/*"},
			Requires: []string{"host_name"}, Optional: []string{"ticket"}, Provides: []string{"answer"},
		},
		Flow: recovery.HostAuto, Phase: recovery.Main, IdempotencyKey: "idem",
		Values: map[string]json.RawMessage{"host_name": json.RawMessage(`"compute-1"`), "secret_of_others": json.RawMessage(`1`)},
	}
	for _, f := range change {
		f(&c)
	}
	return b.hatch.Task(c)
}

// do does one op.
func do(ctx context.Context, t *hostfuncs.TaskHost, op, req string) (string, error) {
	b, err := t.Do(ctx, abi.LookupOp([]byte(op)), []byte(req))
	return string(b), err
}

// code gives the error number of an op's error; -1 when it is not an *abi.Error.
func code(err error) abi.Errno {
	if err == nil {
		return abi.ErrnoOK
	}
	if e, ok := errors.AsType[*abi.Error](err); ok {
		return e.Code
	}
	return -1
}

// want fails unless an op's outcome is as given. wantErr is "code: message".
func want(tb testing.TB, got string, err error, wantAnswer, wantErr string) {
	tb.Helper()
	gotErr := ""
	if err != nil {
		gotErr = err.Error()
		if code(err) < 0 {
			tb.Errorf("error = %v, not an *abi.Error", err)
		}
	}
	if gotErr != wantErr {
		tb.Errorf("error = %q, want %q", gotErr, wantErr)
	}
	if got != wantAnswer {
		tb.Errorf("answer = %s, want %s", got, wantAnswer)
	}
}

func active(id, host string) recovery.Server {
	return recovery.Server{ID: id, Name: "name-" + id, Status: "ACTIVE", VMState: "active", PowerState: 1, Host: host}
}
