package hostfuncs

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

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
		s = seenServer{now, read{began: began}}
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
				d.seen[s.ID] = seenServer{s, read{began: began}}
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
		if l == nil || listed[id] {
			continue
		}
		if byChange := f.Host != "" && l.moved || f.Status != "" && l.stated || !f.ChangedSince.IsZero(); !byChange {
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
