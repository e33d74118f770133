package hostfuncs

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

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
			return refuse(http.StatusNotFound, recovery.ErrNotFound, "Compute host %s not found.", recovery.Cut(host, 100))
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
			return refuse(http.StatusBadRequest, recovery.ErrInvalid, "Invalid input for field/attribute state. Value: %s.", recovery.Cut(state, 40))
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
			return bad("Compute host %s could not be found.", recovery.Cut(want, 100))
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
	switch u.Status {
	case statusDisabled:
		c.Op = abi.OpNovaServiceDisable
	case statusEnabled:
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
		no = refuse(http.StatusNotFound, recovery.ErrNotFound, "Compute host %s could not be found.", recovery.Cut(host, 100))
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
