package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/internal/runstate"
	"github.com/wasakari/wasakari/recovery"
)

// statusHeld is the status in reports of a run that a guard held before its first
// change.
const statusHeld = "held"

// maxOverride bounds the reason of an override, in bytes.
const maxOverride = 1000

// checkOverride tidies the reason of an override.
func checkOverride(reason string, given bool) (string, error) {
	reason = oneLine(strings.TrimSpace(reason))
	switch {
	case given && reason == "":
		return "", usagef("--override: say why, such as --override 'rack 7 lost its power, checked by phone'")
	case len(reason) > maxOverride:
		return "", usagef("--override: the reason has %d bytes, at most %d are kept", len(reason), maxOverride)
	}
	return reason, nil
}

// bounds are the operator's guards against harm.
func bounds(o config.Guards) recovery.Guards {
	return recovery.Guards{
		Hosts: o.Hosts, HostsPercent: o.HostsPercent, HostsPeriod: o.HostsPeriod,
		ServersPerRun: o.ServersPerRun, ServersPerHour: o.ServersPerHour,
	}
}

// errSize says that the size of a segment has to be known.
var errSize = errors.New("the size of the segment matters")

// admit asks the guards whether the run's host may be recovered now, and counts
// it. A run is asked for once, whatever becomes of it; what has no failed host,
// or acts on a cloud that ends with this process, is never held.
func (l *loaded) admit(ctx context.Context, cl *cloud, run *recovery.Run) (*recovery.HeldError, error) {
	host := failedHost(run.Flows[0], run.Inputs)
	if host == "" || cl.sim != nil {
		return nil, nil
	}
	return l.countHost(ctx, runstate.NewGuards(l.stateDir), host, segmentKey(run.Inputs), func() (int, error) { return segmentSize(ctx, cl) }, run)
}

// countHost asks for a host of a segment, whose size is read where it matters,
// and counts it.
func (l *loaded) countHost(ctx context.Context, counts guardCounts, host, segment string, hosts func() (int, error), run *recovery.Run) (*recovery.HeldError, error) {
	if run.Finished || !run.Admitted.IsZero() {
		return nil, nil
	}
	next := recovery.HostRecovery{Run: run.ID, Host: host, Segment: segment, Time: time.Now().UTC(), Override: run.Override}
	limits := bounds(l.cfg.Guards)
	size := -1 // not read: mostly it does not matter
	var beyond error
	for {
		beyond = nil
		err := counts.Recover(ctx, next, func(before []recovery.HostRecovery) error {
			if size < 0 && limits.SizeMatters(next, before) {
				return errSize
			}
			err := limits.Host(next, max(size, 0), before)
			if err != nil && run.Override != "" {
				l.log.Warn("guard overridden", zap.String("run", run.ID), zap.String("host", host), zap.String("reason", run.Override), zap.Error(err))
				beyond = err
				return nil
			}
			return err
		})
		held, isHeld := errors.AsType[*recovery.HeldError](err)
		switch {
		case errors.Is(err, errSize):
			if size, err = hosts(); err != nil {
				return nil, fmt.Errorf("guards: size of the segment: %w", err)
			}
			continue
		case isHeld:
			return held, nil
		case err != nil && run.Override == "":
			return nil, fmt.Errorf("guards: %w; mend or remove it, or run with --override REASON", err)
		case err != nil:
			l.log.Warn("host recovery not counted", zap.String("run", run.ID), zap.String("host", host), zap.Error(err))
		}
		run.Admitted = next.Time
		if beyond != nil {
			l.overridden(*run, host, beyond)
		}
		return nil, nil
	}
}

// segmentKey names the segment whose hosts count together: the whole cloud when
// no segment was given.
func segmentKey(in inputs) string {
	seg, _ := segmentOf("", in)
	if seg.Name == seededSegment {
		return ""
	}
	if seg.UUID != "" {
		return seg.UUID
	}
	return seg.Name
}

// segmentSize counts the compute hosts. From the command line the hosts of a
// segment are not known, so all of the cloud's count.
func segmentSize(ctx context.Context, cl hostfuncs.Cloud) (int, error) {
	services, err := cl.Services(ctx, recovery.ServiceFilter{Binary: "nova-compute"})
	if err != nil {
		return 0, err
	}
	return hostCount(services), nil
}

func hostCount(services []recovery.ComputeService) int {
	hosts := map[string]bool{}
	for _, s := range services {
		hosts[s.Host] = true
	}
	return len(hosts)
}

// endHeld ends a run that a guard held: nothing was begun. A person reads it in
// the report; where that is a document, the log tells it too.
func (f *runFlags) endHeld(ctx context.Context, w world, l *loaded, cl *cloud, state *runstate.Run, run recovery.Run, held *recovery.HeldError) error {
	level := zap.InfoLevel
	if f.output == "json" {
		level = zap.WarnLevel
	}
	l.log.Log(level, "run held", zap.String("run", run.ID), zap.String("guard", held.Guard), zap.Error(held))
	holdBack(&run, held)
	if err := state.End(context.WithoutCancel(ctx), run); err != nil {
		return errors.Join(held, err)
	}
	return f.report(w, l, cl, state, run, nil)
}

// holdBack ends a run before its first change.
func holdBack(run *recovery.Run, held *recovery.HeldError) {
	run.Status, run.Message, run.Held = recovery.StatusFailed, held.Error(), held
	run.Ended, run.Finished = time.Now().UTC(), true
}

// guardCounts counts what runs do, across processes.
type guardCounts interface {
	Recover(ctx context.Context, next recovery.HostRecovery, decide func(before []recovery.HostRecovery) error) error
	Change(ctx context.Context, server string, now time.Time, decide func(recent []time.Time) error) error
}

// serverGuard counts the servers that one run changes. It serves
// hostfuncs.Guard.
type serverGuard struct {
	bounds   recovery.Guards
	counts   guardCounts
	run      string
	override string
	log      *zap.Logger
	// overridden is told of a server that the bounds would not let through.
	overridden func(id string, held error)

	mu      sync.Mutex
	changed map[string]bool // by this run
}

// serverGuard makes the guard of a run; what a resumed run changed before is
// the run's already. A cloud that ends with this process needs none.
func (l *loaded) serverGuard(ctx context.Context, cl *cloud, state runState, run recovery.Run) (hostfuncs.Guard, error) {
	if cl.sim != nil {
		return nil, nil
	}
	return l.countServers(ctx, runstate.NewGuards(l.stateDir), state, run)
}

// countServers makes the guard of a run that counts in counts.
func (l *loaded) countServers(ctx context.Context, counts guardCounts, state runState, run recovery.Run) (*serverGuard, error) {
	before, err := state.Changed(ctx, hostfuncs.ChangesServer)
	if err != nil {
		return nil, err
	}
	g := &serverGuard{
		bounds: bounds(l.cfg.Guards), counts: counts, run: run.ID, override: run.Override,
		overridden: func(id string, held error) { l.overridden(run, id, held) },
		log:        l.log.Named("guards"), changed: map[string]bool{},
	}
	for _, id := range before {
		g.changed[id] = true
	}
	return g, nil
}

// Server counts a server, once.
func (g *serverGuard) Server(ctx context.Context, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changed[id] {
		return nil
	}
	now := time.Now()
	var beyond error
	decide := func(recent []time.Time) error {
		err := g.bounds.Server(id, now, len(g.changed), recent)
		if err != nil && g.override != "" {
			g.log.Warn("guard overridden", zap.String("run", g.run), zap.String("server", id), zap.String("reason", g.override), zap.Error(err))
			beyond = err
			return nil
		}
		return err
	}
	if err := decide(nil); err != nil { // of the run alone: needs no file
		return err
	}
	err := g.counts.Change(ctx, id, now, decide)
	if held, ok := errors.AsType[*recovery.HeldError](err); ok {
		return held
	}
	if err != nil {
		if g.override == "" {
			return fmt.Errorf("guards: %w", err)
		}
		g.log.Warn("change not counted", zap.String("run", g.run), zap.String("server", id), zap.Error(err))
	}
	g.changed[id] = true
	if beyond != nil {
		g.overridden(id, beyond)
	}
	return nil
}

// plannedGuards is what the guards would say to a run now.
type plannedGuards struct {
	Hosts          int                     `json:"hosts"`      // recovered within the period, with this one
	HostsMost      int                     `json:"hosts_most"` // 0: any number
	HostsPeriod    int64                   `json:"hosts_period_s"`
	SegmentHosts   int                     `json:"segment_hosts"`
	HostsPercent   int                     `json:"hosts_percent"`
	Servers        int                     `json:"servers"` // that the run would ask to have changed
	ServersPerRun  int                     `json:"servers_per_run"`
	ServersHour    int                     `json:"servers_within_hour"` // with those
	ServersPerHour int                     `json:"servers_per_hour"`
	Held           []*recovery.HeldError   `json:"held"` // empty: it would be let through
	whole          bool                    // the first of Held holds the run before its first change
	counted        []recovery.HostRecovery // by other runs
}

// planGuards asks the guards about a run that would make these changes, as admit
// and serverGuard do, and counts nothing. hosts is the size of the segment;
// negative: not read yet.
func (l *loaded) planGuards(ctx context.Context, cl *cloud, run recovery.Run, hosts int, changes []hostfuncs.Change) (plannedGuards, error) {
	limits, now := bounds(l.cfg.Guards), time.Now()
	p := plannedGuards{
		HostsMost: limits.Hosts, HostsPeriod: int64(limits.HostsPeriod.Seconds()), HostsPercent: limits.HostsPercent,
		ServersPerRun: limits.ServersPerRun, ServersPerHour: limits.ServersPerHour, Held: []*recovery.HeldError{},
	}
	free := cl.sim != nil || run.Override != ""
	recent := map[string]time.Time{}
	if cl.sim == nil {
		counts := runstate.NewGuards(l.stateDir)
		hosts, err := counts.Recoveries(ctx)
		servers, err2 := counts.Changes(ctx, now)
		if err := cmp.Or(err, err2); err != nil && !free {
			return p, fmt.Errorf("guards: %w; mend or remove it, or run with --override REASON", err)
		}
		p.counted = hosts
		maps.Copy(recent, servers)
	}
	hold := func(err error) {
		if held, ok := errors.AsType[*recovery.HeldError](err); ok && !free {
			p.Held = append(p.Held, held)
		}
	}
	next := recovery.HostRecovery{Run: run.ID, Host: failedHost(run.Flows[0], run.Inputs), Segment: segmentKey(run.Inputs), Time: now.UTC()}
	if next.Host != "" {
		if hosts < 0 && limits.SizeMatters(next, p.counted) && !free {
			var err error
			if hosts, err = segmentSize(ctx, cl); err != nil {
				return p, fmt.Errorf("guards: size of the segment: %w", err)
			}
		}
		p.SegmentHosts = max(hosts, 0)
		p.Hosts = len(limits.Before(next, p.counted)) + 1
		hold(limits.Host(next, p.SegmentHosts, p.counted))
		p.whole = len(p.Held) > 0
	}
	changed, most := map[string]bool{}, len(p.Held)+1 // the first server that would be refused tells enough
	for _, c := range changes {
		if !hostfuncs.ChangesServer(c.Op) || changed[c.Target] {
			continue
		}
		delete(recent, c.Target) // counts once, by its latest change
		if len(p.Held) < most {
			hold(limits.Server(c.Target, now, len(changed), slices.Collect(maps.Values(recent))))
		}
		changed[c.Target] = true
		recent[c.Target] = now
	}
	p.Servers, p.ServersHour = len(changed), len(recent)
	return p, nil
}

// ending is how a run would end.
type ending struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// ending is how a run would end that would end as free does if no guard held
// it; overridden is nil when none does.
func (p plannedGuards) ending(free ending) (end ending, overridden *ending) {
	if len(p.Held) == 0 {
		return free, nil
	}
	end = ending{statusHeld, p.Held[0].Error()}
	if !p.whole { // begun, and stopped at one server too many
		end.Status = string(recovery.StatusFailed)
	}
	return end, &free
}

// foretell says which guards would hold the run.
func (p plannedGuards) foretell(line func(format string, args ...any)) {
	for i, h := range p.Held {
		switch {
		case p.whole && i == 0:
			line("the run would be %s", h)
		case p.whole:
			line("once it is let through, it would fail, %s", h)
		default:
			line("the run would fail, %s", h)
		}
	}
}

func (p plannedGuards) text(line func(format string, args ...any)) {
	of := func(n int) string {
		if n == 0 {
			return "any number"
		}
		return fmt.Sprint(n)
	}
	line("guards: hosts recovered within %s, with this one: %d of %s; servers changed: %d of %s in the run, %d of %s within an hour",
		time.Duration(p.HostsPeriod)*time.Second, p.Hosts, of(p.HostsMost), p.Servers, of(p.ServersPerRun), p.ServersHour, of(p.ServersPerHour))
}

// endText says how the run would end, which the lines of foretell said already
// when a guard holds it.
func endText(end ending, overridden *ending, line func(format string, args ...any)) {
	if overridden != nil {
		line("with --override, the run would end %s%s", overridden.Status, because(overridden.Message))
		return
	}
	line("the run would end %s%s", end.Status, because(end.Message))
}
