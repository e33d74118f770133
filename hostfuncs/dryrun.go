package hostfuncs

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// SchedulersChoice is the host of a server that Nova's scheduler would place,
// when more than one could take it.
const SchedulersChoice = "(scheduler's choice)"

// DryRun is a Cloud whose reads are those of another Cloud and whose changes
// stay in an overlay that later reads see, as if each had been done at once.
// What Nova would refuse by the state of server, host or aggregate is refused
// with Nova's status; what it would refuse for reasons that cannot be read
// (policy, quota, room on the target) is not.
//
// It is safe for concurrent use and needs no closing.
type DryRun struct {
	under Cloud
	opt   DryRunOptions

	servers    fresh[recovery.ServerFilter, []recovery.Server]
	services   fresh[recovery.ServiceFilter, []recovery.ComputeService]
	migrations fresh[recovery.MigrationFilter, []recovery.Migration]

	mu      sync.Mutex
	seen    map[string]seenServer // as Nova showed them last
	layers  map[string]*serverLayer
	touched []string // servers with a layer, in the order of their first change
	compute map[string]recovery.ServiceUpdate
	members map[aggregateHost]bool // whether the host is in the aggregate
	moves   []recovery.Migration   // made here, newest first
	actions map[string][]recovery.ServerAction
	owners  map[string]string // task of the intent, by op and target
	changes []Change
	assumed bool // that the failed host is down
	notes   []string
}

// DryRunOptions are the settings of a DryRun. The zero value is usable.
type DryRunOptions struct {
	// FailedHost is taken to be down, whatever Nova shows, as soon as a change
	// disables its nova-compute or a task waits until it is down: where it is
	// really to be recovered it is dead.
	FailedHost string
	// Fresh is how old a read may be that serves another one.
	//
	// Defaults to 1 second.
	Fresh time.Duration
	// Wait is how long a wait or a sleep of a task lasts at most; then all of its
	// time counts as over. Changes are done at once, so what a task waits for
	// longer is not of its own making.
	//
	// Defaults to 2 seconds.
	Wait time.Duration
}

// Change is one change that a DryRun was asked for. Target is a server's uuid,
// the host of a service, or an aggregate's id.
type Change struct {
	N      int    `json:"n"` // from 1
	Op     string `json:"op"`
	Target string `json:"target"`
	Name   string `json:"name,omitempty"` // of the server or aggregate
	Task   string `json:"task,omitempty"` // undo: what is done when the run ends

	Host       string `json:"host,omitempty"`        // where to; of an aggregate: which host
	SourceHost string `json:"source_host,omitempty"` // where from
	State      string `json:"state,omitempty"`       // of a reset
	Type       string `json:"type,omitempty"`        // of a reboot
	Binary     string `json:"binary,omitempty"`      // of a service, unless nova-compute
	ForcedDown *bool  `json:"forced_down,omitempty"`
	Reason     string `json:"reason,omitempty"` // of a lock, or of disabling

	// Refused is what Nova would answer to a change that it refuses.
	Refused string `json:"refused,omitempty"`
	// Effect tells of a change that would be taken and then go wrong.
	Effect string `json:"effect,omitempty"`
}

// serverLayer is what was changed of one server.
type serverLayer struct {
	moved      bool
	host, zone string

	stated   bool
	vm, task string
	power    int
	fault    *recovery.Fault

	lock   *bool
	reason string
}

type aggregateHost struct {
	id   int
	host string
}

// NewDryRun makes a DryRun over a cloud.
func NewDryRun(under Cloud, o DryRunOptions) *DryRun {
	if o.Fresh <= 0 {
		o.Fresh = time.Second
	}
	if o.Wait <= 0 {
		o.Wait = 2 * time.Second
	}
	return &DryRun{
		under: under, opt: o,
		servers: fresh[recovery.ServerFilter, []recovery.Server]{age: o.Fresh}, services: fresh[recovery.ServiceFilter, []recovery.ComputeService]{age: o.Fresh},
		migrations: fresh[recovery.MigrationFilter, []recovery.Migration]{age: o.Fresh},
		seen:       map[string]seenServer{}, layers: map[string]*serverLayer{}, compute: map[string]recovery.ServiceUpdate{},
		members: map[aggregateHost]bool{}, actions: map[string][]recovery.ServerAction{}, owners: map[string]string{},
	}
}

// Changes lists the changes so far in the order in which they were asked for.
func (d *DryRun) Changes() []Change {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Change{}, d.changes...)
}

// Assumptions says in words what was taken to be so although Nova shows
// otherwise.
func (d *DryRun) Assumptions() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string{}, d.notes...)
}

// Ledger makes a ledger that tells d which task asks for each change.
func (d *DryRun) Ledger(l Ledger) Ledger { return dryLedger{l, d} }

type dryLedger struct {
	Ledger
	d *DryRun
}

func (l dryLedger) BeginIntent(ctx context.Context, in recovery.Intent) error {
	l.d.mu.Lock()
	l.d.owners[in.Op+" "+in.Target] = in.Task
	l.d.mu.Unlock()
	return l.Ledger.BeginIntent(ctx, in)
}

// fresh keeps answers for a moment.
type fresh[K comparable, V any] struct {
	age time.Duration
	mu  sync.Mutex
	by  map[K]aged[V]
}

type aged[V any] struct {
	val   V
	began time.Time // of the read
}

// maxFresh bounds the answers kept; all go when it is reached.
const maxFresh = 1000

func (f *fresh[K, V]) get(k K, read func() (V, error)) (aged[V], error) {
	f.mu.Lock()
	e, ok := f.by[k]
	f.mu.Unlock()
	if ok && time.Since(e.began) < f.age {
		return e, nil
	}
	e.began = time.Now()
	var err error
	if e.val, err = read(); err != nil {
		return aged[V]{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil || len(f.by) >= maxFresh {
		f.by = map[K]aged[V]{}
	}
	f.by[k] = e
	return e, nil
}

// Server reads one server.
func (d *DryRun) Server(ctx context.Context, id string) (recovery.Server, error) {
	d.mu.Lock()
	s, ok := d.seen[id]
	d.mu.Unlock()
	if !ok || time.Since(s.began) >= d.opt.Fresh {
		began := time.Now()
		now, err := d.under.Server(ctx, id)
		if isNotFound(err) {
			d.mu.Lock()
			delete(d.layers, id)
			d.mu.Unlock()
		}
		if err != nil {
			return now, err
		}
		s = seenServer{now, began}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[id] = s
	return d.view(s.Server), nil
}

// Servers lists servers. One that only a change brought into the list comes
// with the last page, as Nova showed it last.
func (d *DryRun) Servers(ctx context.Context, f recovery.ServerFilter, page func([]recovery.Server) error) error {
	listed := map[string]bool{}
	take := func(began time.Time, real []recovery.Server) error {
		out := make([]recovery.Server, 0, len(real))
		d.mu.Lock()
		for _, s := range real {
			listed[s.ID] = true
			if d.layers[s.ID] != nil || f.Host != "" {
				d.seen[s.ID] = seenServer{s, began}
			}
			if v := d.view(s); d.layers[s.ID] == nil || matches(f, v) {
				out = append(out, v)
			}
		}
		d.mu.Unlock()
		if len(out) == 0 {
			return nil
		}
		return page(out)
	}
	switch {
	case f.Host == SchedulersChoice:
	case f.Host != "":
		all, err := d.servers.get(f, func() ([]recovery.Server, error) {
			var all []recovery.Server
			err := d.under.Servers(ctx, f, func(p []recovery.Server) error {
				all = append(all, p...)
				return nil
			})
			return all, err
		})
		if err == nil {
			err = take(all.began, all.val)
		}
		if err != nil {
			return err
		}
	default:
		if err := d.under.Servers(ctx, f, func(p []recovery.Server) error { return take(time.Now(), p) }); err != nil {
			return err
		}
	}
	var added []recovery.Server
	d.mu.Lock()
	for _, id := range d.touched {
		l := d.layers[id]
		if l == nil || listed[id] || !(f.Host != "" && l.moved || f.Status != "" && l.stated || !f.ChangedSince.IsZero()) {
			continue
		}
		if v := d.view(d.seen[id].Server); matches(f, v) {
			added = append(added, v)
		}
	}
	d.mu.Unlock()
	if len(added) == 0 {
		return nil
	}
	return page(added)
}

// matches says whether a server that was changed here belongs into a list.
func matches(f recovery.ServerFilter, s recovery.Server) bool {
	named := true
	if f.Name != "" {
		// Nova's own regular expressions are the database's, which are much alike.
		re, err := regexp.Compile(f.Name)
		named = err == nil && re.MatchString(s.Name) || err != nil && strings.Contains(s.Name, f.Name)
	}
	return named && (f.Host == "" || s.Host == f.Host) && (f.Status == "" || strings.EqualFold(s.Status, f.Status)) &&
		(f.Tenant == "" || s.TenantID == f.Tenant)
}

// view lays the changes over a server. mu is held.
func (d *DryRun) view(s recovery.Server) recovery.Server {
	if l := d.layers[s.ID]; l != nil {
		if l.moved {
			// What the hypervisor is called can only be guessed: with most drivers
			// it bears the host's name.
			s.Host, s.Hypervisor, s.HostStatus = l.host, l.host, "UP"
			if l.zone != "" {
				s.Zone = l.zone
			}
		}
		if l.stated {
			s.VMState, s.TaskState, s.PowerState, s.Fault = l.vm, recovery.NullString(l.task), l.power, l.fault
			s.Status = statusOf(s.VMState, l.task, s.Status)
		}
		if l.lock != nil {
			s.Locked, s.LockedReason = *l.lock, recovery.NullString(l.reason)
		}
	}
	if d.assumed && s.Host == d.opt.FailedHost && s.HostStatus == "UP" {
		s.HostStatus = "UNKNOWN"
	}
	return s
}

// statusOf is what Nova makes of the vm_states and task_states that changes
// lead to; other for any other state.
func statusOf(vm, task, other string) string {
	switch {
	case vm == stateActive && strings.HasPrefix(task, "reboot"):
		if strings.HasSuffix(task, "hard") {
			return "HARD_REBOOT"
		}
		return "REBOOT"
	case vm == stateActive:
		return "ACTIVE"
	case vm == stateStopped:
		return "SHUTOFF"
	case vm == stateError:
		return "ERROR"
	case vm == stateResized:
		return "VERIFY_RESIZE"
	}
	return other
}

// Actions lists a server's actions, those asked for here first.
func (d *DryRun) Actions(ctx context.Context, id string) ([]recovery.ServerAction, error) {
	real, err := d.under.Actions(ctx, id)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Concat(d.actions[id], real), nil
}

// Migrations lists migrations, those made here first.
func (d *DryRun) Migrations(ctx context.Context, f recovery.MigrationFilter) ([]recovery.Migration, error) {
	real, err := d.migrations.get(f, func() ([]recovery.Migration, error) { return d.under.Migrations(ctx, f) })
	if err != nil {
		return nil, err
	}
	is := func(want, got string) bool { return want == "" || want == got }
	var out []recovery.Migration
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.moves {
		if is(f.InstanceUUID, m.InstanceUUID) && is(f.SourceCompute, string(m.SourceCompute)) && is(f.Type, m.Type) && is(f.Status, m.Status) {
			out = append(out, m)
		}
	}
	return append(out, real.val...), nil
}

// Services lists services.
func (d *DryRun) Services(ctx context.Context, f recovery.ServiceFilter) ([]recovery.ComputeService, error) {
	if f.Host == SchedulersChoice {
		return nil, nil
	}
	real, err := d.services.get(f, func() ([]recovery.ComputeService, error) { return d.under.Services(ctx, f) })
	if err != nil {
		return nil, err
	}
	out := slices.Clone(real.val)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range out {
		out[i] = d.service(out[i])
	}
	return out, nil
}

// service lays the changes over a service. mu is held.
func (d *DryRun) service(s recovery.ComputeService) recovery.ComputeService {
	u := d.compute[s.ID]
	if u.Status != "" {
		s.Status, s.DisabledReason = u.Status, recovery.NullString(u.DisabledReason)
	}
	if u.ForcedDown != nil {
		s.ForcedDown = *u.ForcedDown
	}
	if s.ForcedDown || d.assumed && s.Host == d.opt.FailedHost && s.Binary == novaCompute {
		s.State = "down"
	}
	return s
}

// assumeDown takes the failed host to be down. mu is held.
func (d *DryRun) assumeDown(s recovery.ComputeService) {
	if d.assumed || s.Host != d.opt.FailedHost || s.Binary != novaCompute || s.State != "up" {
		return
	}
	d.assumed = true
	d.note(fmt.Sprintf("assumed down: %s; Nova shows its nova-compute up now, and refuses to evacuate from it until that ends", s.Host))
}

// awaitDown is told that a task waits until a host is down.
func (d *DryRun) awaitDown(ctx context.Context, host string) {
	if host != d.opt.FailedHost {
		return
	}
	list, err := d.Services(ctx, recovery.ServiceFilter{Host: host})
	if err != nil {
		return // the wait finds out for itself
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range list {
		d.assumeDown(s)
	}
}

// dryDown tells a dry run that a task waits until a host is down.
func (h *Hatch) dryDown(ctx context.Context, host string) {
	if d, dry := h.cloud.(*DryRun); dry {
		d.awaitDown(ctx, host)
	}
}

// dryWait shortens a wait in a dry run. 0 is no limit.
func (h *Hatch) dryWait(limit time.Duration) time.Duration {
	d, dry := h.cloud.(*DryRun)
	if dry && (limit == 0 || limit > d.opt.Wait) {
		return d.opt.Wait
	}
	return limit
}

// dryCut tells a dry run that a wait of so many seconds, 0 for any time, ended
// without what was waited for.
func (h *Hatch) dryCut(what string, seconds int64) {
	d, dry := h.cloud.(*DryRun)
	if !dry || seconds > 0 && time.Duration(seconds) <= d.opt.Wait/time.Second {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	limit := "without a limit"
	if seconds > 0 {
		limit = fmt.Sprintf("of up to %d s", seconds)
	}
	d.note(fmt.Sprintf("cut short: a wait %s for %s, which did not come about within %s", limit, what, d.opt.Wait))
}

// maxNotes bounds the assumptions that are told.
const maxNotes = 1000

// note keeps an assumption, once. mu is held.
func (d *DryRun) note(text string) {
	if len(d.notes) < maxNotes && !slices.Contains(d.notes, text) {
		d.notes = append(d.notes, text)
	}
}

// Hypervisors lists hypervisors.
func (d *DryRun) Hypervisors(ctx context.Context, host string) ([]recovery.Hypervisor, error) {
	if host == SchedulersChoice {
		return nil, nil
	}
	out, err := d.under.Hypervisors(ctx, host)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, h := range out {
		s := d.service(recovery.ComputeService{ID: h.Service.ID, Host: h.Service.Host, Binary: novaCompute, Status: h.Status, State: h.State})
		out[i].Status, out[i].State = s.Status, s.State
	}
	return out, nil
}

// Aggregates lists aggregates.
func (d *DryRun) Aggregates(ctx context.Context) ([]recovery.Aggregate, error) {
	real, err := d.under.Aggregates(ctx)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(real)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range out {
		a := &out[i]
		a.Hosts = slices.DeleteFunc(slices.Clone(a.Hosts), func(h string) bool {
			in, changed := d.members[aggregateHost{a.ID, h}]
			return changed && !in
		})
		for _, k := range slices.SortedFunc(maps.Keys(d.members), func(a, b aggregateHost) int { return strings.Compare(a.host, b.host) }) {
			if k.id == a.ID && d.members[k] && !slices.Contains(a.Hosts, k.host) {
				a.Hosts = append(a.Hosts, k.host)
			}
		}
	}
	return out, nil
}

// refusal is what Nova says to a change that it does not take.
type refusal struct {
	status int
	err    error
	text   string
}

func refuse(status int, err error, format string, args ...any) *refusal {
	return &refusal{status, err, fmt.Sprintf(format, args...)}
}

// enter writes a change down and gives its request id, or the refusal as the
// error that a cloud would give. owner is the key of its intent. mu is held.
func (d *DryRun) enter(c Change, what, owner string, no *refusal) (string, error) {
	c.N, c.Task = len(d.changes)+1, d.owners[owner]
	id := "req-dry-run-" + strconv.Itoa(c.N)
	var err error
	if no != nil {
		c.Refused = strconv.Itoa(no.status) + " " + no.text
		err = &recovery.CloudError{Op: what, Status: no.status, Message: no.text, RequestID: id, Err: no.err}
	}
	d.changes = append(d.changes, c)
	return id, err
}

// act does a change of one server. do refuses, or changes the layer.
func (d *DryRun) act(ctx context.Context, c Change, verb string, do func(s recovery.Server, l *serverLayer, c *Change) *refusal) (string, error) {
	what := verb + " server " + c.Target
	s, err := d.Server(ctx, c.Target)
	if err != nil && !isNotFound(err) {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	owner := c.Op + " " + c.Target
	if err != nil {
		return d.enter(c, what, owner, refuse(http.StatusNotFound, recovery.ErrNotFound, "Instance %s could not be found.", c.Target))
	}
	s, c.Name = d.view(d.seen[c.Target].Server), s.Name
	l := d.layers[c.Target]
	if l == nil {
		l = &serverLayer{}
	}
	no := do(s, l, &c)
	if no == nil && d.layers[c.Target] == nil {
		d.layers[c.Target], d.touched = l, append(d.touched, c.Target)
	}
	id, err := d.enter(c, what, owner, no)
	if err == nil {
		a := recovery.ServerAction{Action: verb, RequestID: id, StartTime: time.Now().UTC().Format("2006-01-02T15:04:05.000000")}
		d.actions[c.Target] = slices.Insert(d.actions[c.Target], 0, a)
	}
	return id, err
}

// state sets the state of a server.
func (l *serverLayer) state(vm, task string, power int, fault *recovery.Fault) {
	l.stated, l.vm, l.task, l.power, l.fault = true, vm, task, power, fault
}

// Nova's power states that changes lead to.
const powerRunning = 1

// in refuses a change that Nova allows in other states only.
func in(verb string, s recovery.Server, states []string, tasks ...string) *refusal {
	switch {
	case !slices.Contains(states, s.VMState):
		return refuse(http.StatusConflict, recovery.ErrConflict, "Cannot '%s' instance %s while it is in vm_state %s", verb, s.ID, s.VMState)
	case s.TaskState != "" && !slices.Contains(tasks, string(s.TaskState)):
		return refuse(http.StatusConflict, recovery.ErrConflict, "Cannot '%s' instance %s while it is in task_state %s", verb, s.ID, s.TaskState)
	}
	return nil
}

// hosts are the compute services at the moment of a change.
type hosts []recovery.ComputeService

func (d *DryRun) hosts(ctx context.Context) (hosts, error) {
	all, err := d.Services(ctx, recovery.ServiceFilter{})
	return slices.DeleteFunc(all, func(s recovery.ComputeService) bool { return s.Binary != novaCompute }), err
}

func (h hosts) find(name string) (recovery.ComputeService, bool) {
	i := slices.IndexFunc(h, func(s recovery.ComputeService) bool { return s.Host == name })
	if i < 0 {
		return recovery.ComputeService{}, false
	}
	return h[i], true
}

// up says whether Nova sees a host up.
func (h hosts) up(name string) bool {
	s, ok := h.find(name)
	return name == SchedulersChoice || ok && s.State == "up"
}

// place names the host that a server would come to, and its zone if that is
// known: want if it can take servers, or the scheduler's choice. Empty: none.
func (h hosts) place(from, want string) (host, zone string) {
	for _, s := range h {
		switch {
		case s.Host == from, want != "" && s.Host != want, s.State != "up", s.Status != statusEnabled:
		case host == "":
			host, zone = s.Host, s.Zone
		default:
			host, zone = SchedulersChoice, ""
		}
	}
	return host, zone
}

// noHost is Nova's message when no host can take a server.
const noHost = "No valid host was found."

// move writes a migration down, which is over at once. mu is held.
func (d *DryRun) move(s recovery.Server, kind, status, dest string) {
	n := len(d.moves) + 1
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000000")
	d.moves = slices.Insert(d.moves, 0, recovery.Migration{
		// Above what Nova has: the highest id is the newest.
		ID: 1_000_000_000 + n, UUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", n),
		InstanceUUID: s.ID, Status: status, Type: kind, SourceCompute: recovery.NullString(s.Host), DestCompute: recovery.NullString(dest),
		CreatedAt: now, UpdatedAt: recovery.NullString(now),
	})
}

// Evacuate puts the server on another host.
func (d *DryRun) Evacuate(ctx context.Context, id, host string) (string, error) {
	all, err := d.hosts(ctx)
	if err != nil {
		return "", err
	}
	c := Change{Op: abi.OpNovaServerEvacuate, Target: id, Host: host}
	return d.act(ctx, c, "evacuate", func(s recovery.Server, l *serverLayer, c *Change) *refusal {
		c.SourceHost = s.Host
		_, known := all.find(host)
		switch {
		case host != "" && !known:
			return refuse(http.StatusNotFound, recovery.ErrNotFound, "Compute host %s not found.", cut(host, 100))
		case host != "" && host == s.Host:
			return refuse(http.StatusBadRequest, recovery.ErrInvalid, "The target host can't be the same one.")
		case !slices.Contains([]string{stateActive, stateStopped, stateError}, s.VMState):
			return refuse(http.StatusConflict, recovery.ErrConflict, "Cannot 'evacuate' instance %s while it is in vm_state %s", s.ID, s.VMState)
		case s.Host == "":
			return refuse(http.StatusConflict, recovery.ErrConflict, "Instance %s is not ready", s.ID)
		case all.up(s.Host):
			return refuse(http.StatusBadRequest, recovery.ErrConflict, "Compute service of %s is still in use.", s.Host)
		}
		to, zone := all.place(s.Host, host)
		if to == "" {
			c.Effect = "ends in error: " + noHost
			l.state(stateError, "", s.PowerState, &recovery.Fault{Code: http.StatusInternalServerError, Message: noHost, Created: time.Now().UTC().Format(time.RFC3339)})
			d.move(s, typeEvacuation, "error", "")
			return nil
		}
		c.Host = to
		d.move(s, typeEvacuation, "done", to)
		l.moved, l.host, l.zone = true, to, zone
		if s.VMState == stateStopped {
			l.state(stateStopped, "", recovery.PowerShutdown, nil)
		} else {
			l.state(stateActive, "", powerRunning, nil)
		}
		return nil
	})
}

// here does a change that the server's host would do. A host that is down does
// not: Nova accepts the change and its task_state stays.
func (d *DryRun) here(ctx context.Context, c Change, verb, task, vm string, power int, states []string, tasks ...string) (string, error) {
	all, err := d.hosts(ctx)
	if err != nil {
		return "", err
	}
	return d.act(ctx, c, verb, func(s recovery.Server, l *serverLayer, c *Change) *refusal {
		if no := in(verb, s, states, tasks...); no != nil {
			return no
		}
		if !all.up(s.Host) {
			c.Effect = "stays in task_state " + task + ": its host " + orNone(s.Host) + " is down"
			l.state(s.VMState, task, s.PowerState, s.Fault)
			return nil
		}
		l.state(vm, "", power, nil)
		return nil
	})
}

// Stop stops the server.
func (d *DryRun) Stop(ctx context.Context, id string) (string, error) {
	return d.here(ctx, Change{Op: abi.OpNovaServerStop, Target: id}, "stop", "powering-off", stateStopped, recovery.PowerShutdown,
		[]string{stateActive, stateError})
}

// Start starts the server.
func (d *DryRun) Start(ctx context.Context, id string) (string, error) {
	return d.here(ctx, Change{Op: abi.OpNovaServerStart, Target: id}, "start", "powering-on", stateActive, powerRunning, []string{stateStopped})
}

// Reboot reboots the server.
func (d *DryRun) Reboot(ctx context.Context, id, kind string) (string, error) {
	c := Change{Op: abi.OpNovaServerReboot, Target: id, Type: kind}
	if kind == "HARD" {
		return d.here(ctx, c, "reboot", "rebooting_hard", stateActive, powerRunning,
			[]string{stateActive, stateStopped, "paused", "suspended", stateError},
			"rebooting", "reboot_pending", "reboot_started", "rebooting_hard", "reboot_pending_hard", "reboot_started_hard")
	}
	return d.here(ctx, c, "reboot", "rebooting", stateActive, powerRunning, []string{stateActive})
}

// Lock locks the server.
func (d *DryRun) Lock(ctx context.Context, id, reason string) (string, error) {
	return d.act(ctx, Change{Op: abi.OpNovaServerLock, Target: id, Reason: reason}, "lock", func(_ recovery.Server, l *serverLayer, _ *Change) *refusal {
		l.lock, l.reason = new(true), reason
		return nil
	})
}

// Unlock unlocks the server.
func (d *DryRun) Unlock(ctx context.Context, id string) (string, error) {
	return d.act(ctx, Change{Op: abi.OpNovaServerUnlock, Target: id}, "unlock", func(_ recovery.Server, l *serverLayer, _ *Change) *refusal {
		l.lock, l.reason = new(false), ""
		return nil
	})
}

// ResetState sets the server's vm_state and clears its task_state.
func (d *DryRun) ResetState(ctx context.Context, id, state string) (string, error) {
	return d.act(ctx, Change{Op: abi.OpNovaServerResetState, Target: id, State: state}, "resetState", func(s recovery.Server, l *serverLayer, _ *Change) *refusal {
		if state != stateActive && state != stateError {
			return refuse(http.StatusBadRequest, recovery.ErrInvalid, "Invalid input for field/attribute state. Value: %s.", cut(state, 40))
		}
		fault := s.Fault
		if state == stateActive {
			fault = nil
		}
		l.state(state, "", s.PowerState, fault)
		return nil
	})
}

// Migrate moves the server, which then waits to be confirmed.
func (d *DryRun) Migrate(ctx context.Context, id, host string) (string, error) {
	return d.migrate(ctx, Change{Op: abi.OpNovaServerMigrate, Target: id, Host: host}, "migrate", "migration", "finished", []string{stateActive, stateStopped})
}

// LiveMigrate moves the server while it runs.
func (d *DryRun) LiveMigrate(ctx context.Context, id, host, _ string) (string, error) {
	return d.migrate(ctx, Change{Op: abi.OpNovaServerLiveMigrate, Target: id, Host: host}, "live-migration", "live-migration", "completed", []string{stateActive, "paused"})
}

func (d *DryRun) migrate(ctx context.Context, c Change, verb, kind, status string, states []string) (string, error) {
	all, err := d.hosts(ctx)
	if err != nil {
		return "", err
	}
	want := c.Host
	return d.act(ctx, c, verb, func(s recovery.Server, l *serverLayer, c *Change) *refusal {
		c.SourceHost = s.Host
		if no := in(verb, s, states); no != nil {
			return no
		}
		_, known := all.find(want)
		bad := func(format string, args ...any) *refusal {
			return refuse(http.StatusBadRequest, recovery.ErrInvalid, format, args...)
		}
		to, zone := all.place(s.Host, want)
		switch {
		case want != "" && !known:
			return bad("Compute host %s could not be found.", cut(want, 100))
		case !all.up(s.Host):
			return bad("Compute service of %s is unavailable at this time.", s.Host)
		case want != "" && want == s.Host:
			return bad("Unable to migrate instance (%s) to current host (%s).", s.ID, s.Host)
		case to == "":
			return bad("%s There are not enough hosts available.", noHost)
		}
		c.Host = to
		d.move(s, kind, status, to)
		l.moved, l.host, l.zone = true, to, zone
		if kind == "migration" {
			l.state(stateResized, "", s.PowerState, s.Fault)
		}
		return nil
	})
}

// UpdateService changes a service.
func (d *DryRun) UpdateService(ctx context.Context, id string, u recovery.ServiceUpdate) (recovery.ComputeService, string, error) {
	real, err := d.services.get(recovery.ServiceFilter{}, func() ([]recovery.ComputeService, error) {
		return d.under.Services(ctx, recovery.ServiceFilter{})
	})
	if err != nil {
		return recovery.ComputeService{}, "", err
	}
	all := real.val
	c := Change{Target: id, Reason: u.DisabledReason, ForcedDown: u.ForcedDown}
	switch {
	case u.Status == statusDisabled:
		c.Op = abi.OpNovaServiceDisable
	case u.Status == statusEnabled:
		c.Op = abi.OpNovaServiceEnable
	default:
		c.Op = abi.OpNovaServiceForceDown
	}
	i := slices.IndexFunc(all, func(s recovery.ComputeService) bool { return s.ID == id })
	var owes bool
	if i >= 0 && u.ForcedDown != nil && !*u.ForcedDown {
		ms, err := d.Migrations(ctx, recovery.MigrationFilter{SourceCompute: all[i].Host, Type: typeEvacuation})
		if err != nil {
			return recovery.ComputeService{}, "", err
		}
		owes = slices.ContainsFunc(ms, func(m recovery.Migration) bool {
			return m.Status == "done" && m.Type == typeEvacuation && string(m.SourceCompute) == all[i].Host
		})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	what := "update compute service " + id
	if i < 0 {
		_, err := d.enter(c, what, "", refuse(http.StatusNotFound, recovery.ErrNotFound, "Service %s could not be found.", id))
		return recovery.ComputeService{}, "", err
	}
	s := all[i]
	c.Target = s.Host
	if s.Binary != novaCompute {
		c.Binary = s.Binary
	}
	var no *refusal
	switch {
	case s.Binary != novaCompute:
		no = refuse(http.StatusBadRequest, recovery.ErrInvalid, "Updating a %s service is not supported. Only nova-compute services can be updated.", s.Binary)
	case u.Status == "" && u.ForcedDown == nil:
		no = refuse(http.StatusBadRequest, recovery.ErrInvalid, "No updates were requested. Fields 'status' or 'forced_down' should be specified.")
	case owes:
		no = refuse(http.StatusBadRequest, recovery.ErrInvalid, "Unable to force up host %s as done evacuation migration records remain associated with the host.", s.Host)
	}
	requestID, err := d.enter(c, what, c.Op+" "+serviceTarget(s.Host, s.Binary), no)
	if err != nil {
		return recovery.ComputeService{}, requestID, err
	}
	was := d.compute[id]
	if u.Status != "" {
		was.Status, was.DisabledReason = u.Status, u.DisabledReason
	}
	if u.ForcedDown != nil {
		was.ForcedDown = u.ForcedDown
	}
	d.compute[id] = was
	if u.Status == statusDisabled {
		d.assumeDown(d.service(s))
	}
	return d.service(s), requestID, nil
}

// AddAggregateHost puts a host into an aggregate.
func (d *DryRun) AddAggregateHost(ctx context.Context, id int, host string) (string, error) {
	return d.member(ctx, id, host, true)
}

// RemoveAggregateHost takes a host out of an aggregate.
func (d *DryRun) RemoveAggregateHost(ctx context.Context, id int, host string) (string, error) {
	return d.member(ctx, id, host, false)
}

func (d *DryRun) member(ctx context.Context, id int, host string, want bool) (string, error) {
	list, err := d.Aggregates(ctx)
	if err != nil {
		return "", err
	}
	all, err := d.hosts(ctx)
	if err != nil {
		return "", err
	}
	c := Change{Op: abi.OpNovaAggregateRemoveHost, Target: strconv.Itoa(id), Host: host}
	what := fmt.Sprintf("remove host %s from aggregate %d", host, id)
	if want {
		c.Op, what = abi.OpNovaAggregateAddHost, fmt.Sprintf("add host %s to aggregate %d", host, id)
	}
	i := slices.IndexFunc(list, func(a recovery.Aggregate) bool { return a.ID == id })
	_, known := all.find(host)
	there := i >= 0 && slices.Contains(list[i].Hosts, host)
	var no *refusal
	switch {
	case i < 0:
		no = refuse(http.StatusNotFound, recovery.ErrNotFound, "Aggregate %d could not be found.", id)
	case !known:
		no = refuse(http.StatusNotFound, recovery.ErrNotFound, "Compute host %s could not be found.", cut(host, 100))
	case want && there:
		no = refuse(http.StatusConflict, recovery.ErrConflict, "Aggregate %d already has host %s.", id, host)
	case !want && !there:
		no = refuse(http.StatusNotFound, recovery.ErrNotFound, "Aggregate %d has no host %s.", id, host)
	}
	if i >= 0 {
		c.Name = list[i].Name
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if no == nil {
		d.members[aggregateHost{id, host}] = want
	}
	return d.enter(c, what, c.Op+" "+aggregateTarget(id, host), no)
}
