package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/engine"
	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

// performer makes and performs the runs of the service, each from the snapshot
// that it began with. It serves engine.Flows.
type performer struct {
	snapshots *snapshots
	store     *store.Store
	cloud     *cloud
	// observe is told what a run does, beside the engine. It must not block.
	observe func(run string, e recovery.Event)
}

// Prepare checks and pins the flows of a run.
func (p *performer) Prepare(ctx context.Context, run recovery.Run, seg recovery.Segment) (recovery.Run, error) {
	snap, release := p.snapshots.newest()
	defer release()
	plans := map[recovery.FlowKind]*flow.Plan{}
	for _, kind := range run.Flows {
		f, err := p.flowOf(ctx, snap.cfg, kind, run, seg)
		if err != nil {
			return run, err
		}
		if plans[kind], err = snap.checkFlow(f, run.Inputs); err != nil {
			return run, p.behind(ctx, snap, err)
		}
	}
	flow.Pin(&run, plans)
	if p.cloud.sim != nil { // nothing else would make the simulated host fail, or come back
		host, change := failedHost(run.Flows[0], run.Inputs), p.cloud.sim.FailHost
		if run.Flows[0] == recovery.HostRepair {
			host, change = run.Host, p.cloud.sim.HealHost
		}
		if host != "" {
			if err := change(host); err != nil {
				return run, err
			}
		}
	}
	return run, nil
}

// behind makes of what is wrong with a flow something that passes, when this node
// has not read the modules that are active now.
func (p *performer) behind(ctx context.Context, snap *snapshot, wrong error) error {
	now, err := p.store.ModulesRevision(ctx)
	if err != nil {
		return err
	}
	if now != snap.modules {
		return fmt.Errorf("%w: this node has yet to compile what was uploaded: %w", recovery.ErrUnavailable, wrong)
	}
	return wrong
}

// firstRecord is the journal of a run that is not written yet. It begins with
// the modules that are active when its record is written: who changed one, and
// was told so, never sees a run begin with the former one.
type firstRecord struct {
	flow.Journal
	state *store.Run
	store *store.Store
	begun bool
}

// startTries bounds how often a first record is tried: whoever uploads without
// end must not keep others' runs from beginning.
const startTries = 10

// Start is flow.Journal's. It refuses with recovery.ErrConflict.
func (f *firstRecord) Start(ctx context.Context, run recovery.Run) error {
	for range startTries {
		if f.begun {
			break
		}
		revision, err := f.store.ModulesRevision(ctx)
		if err != nil {
			return err
		}
		if err := f.active(ctx, run); err != nil {
			return err
		}
		err = f.state.StartWith(ctx, run, revision)
		if err == nil || !errors.Is(err, recovery.ErrConflict) {
			f.begun = err == nil
			return err
		}
	}
	f.begun = true
	return f.Journal.Start(ctx, run)
}

// active refuses uploaded modules that are not the active ones any more.
func (f *firstRecord) active(ctx context.Context, run recovery.Run) error {
	versions, err := f.store.Modules(ctx)
	if err != nil {
		return err
	}
	for key, digest := range run.Modules {
		uploaded, active := false, false
		for _, v := range versions {
			if v.Digest == digest && slices.Contains(v.Keys, key) {
				uploaded, active = true, active || v.Active
			}
		}
		if uploaded && !active {
			return fmt.Errorf("%w: task %s: another version was made the active one just now", recovery.ErrConflict, key)
		}
	}
	return nil
}

// flowOf chooses the flow of a run: that of the server's tenant where the
// operator lets him have one, that of the segment, or the one for all.
func (p *performer) flowOf(ctx context.Context, cfg *config.Config, kind recovery.FlowKind, run recovery.Run, seg recovery.Segment) (recovery.Flow, error) {
	if kind == recovery.InstanceFailure && len(cfg.FlowTenants()) > 0 && run.Server != "" {
		server, err := p.cloud.Server(ctx, run.Server)
		switch {
		case errors.Is(err, recovery.ErrNotFound): // the flow's first task will say so
		case err != nil:
			return recovery.Flow{}, fmt.Errorf("server %s: whose flow: %w", run.Server, err)
		default:
			if f, own := cfg.TenantFlow(server.TenantID); own {
				return f, nil
			}
		}
	}
	f, _, err := cfg.SegmentFlow(seg.UUID, kind)
	return f, err
}

// Perform runs a claimed run to its end, or goes on with it.
func (p *performer) Perform(ctx context.Context, job engine.Job) (recovery.Run, error) {
	state, ok := job.Run.(*store.Run)
	if !ok {
		return job.Record, fmt.Errorf("run %s: its claim is not of the store", job.Record.ID)
	}
	run := job.Record
	if job.Unwritten {
		job.Journal = &firstRecord{Journal: job.Journal, state: state, store: p.store}
	}
	snap, release, err := p.snapshots.forRun(ctx, run)
	if err != nil {
		return run, err
	}
	defer release()
	plans := map[recovery.FlowKind]*flow.Plan{}
	for _, kind := range run.Flows {
		if plans[kind], err = flow.Check(run.Plans[kind], snap.catalog, snap.checkOptions(run.Inputs)); err != nil {
			return run, err
		}
	}
	held, err := p.admit(ctx, snap, state, &run)
	if err != nil {
		return run, err
	}
	if held != nil {
		return p.endHeld(ctx, snap, job, run, held)
	}
	history, err := state.History(ctx)
	if err != nil {
		return run, err
	}
	values, err := state.Values(ctx)
	if err != nil {
		return run, err
	}
	guard, err := snap.countServers(ctx, p.store.Guards(), state, run)
	if err != nil {
		return run, err
	}
	observe := func(e recovery.Event) {
		job.Observe(e)
		if p.observe != nil {
			p.observe(run.ID, e)
		}
	}
	req := flow.Request{
		Run: run, History: history, Values: values, Observe: observe,
		Journal: job.Journal, Aborted: job.Aborted, HandOver: true,
	}
	run, runErr, err := snap.perform(ctx, ground{
		cloud: p.cloud.Client, ledger: state, library: snap.sharedLibrary(p.store), scratch: state.Scratch(),
		verify: snap.cfg.Default.VerifyInterval, guard: guard, reserved: job.Reserved,
		changed: snap.changedBy(run), trace: job.Notification.Trace, first: state.FirstChange(),
		known: func(id string) (ended, known bool) { return p.store.KnownRun(ctx, id) },
	}, state, plans, req)
	return run, errors.Join(runErr, err)
}

// admit asks the guards, which count across nodes.
func (p *performer) admit(ctx context.Context, snap *snapshot, state *store.Run, run *recovery.Run) (*recovery.HeldError, error) {
	host := failedHost(run.Flows[0], run.Inputs)
	if host == "" {
		return nil, nil
	}
	return snap.countHost(ctx, p.store.Guards(), host, run.Segment, func() (int, error) {
		hosts, err := state.Hosts(ctx)
		return len(hosts), err
	}, run)
}

// endHeld ends a run that a guard held: nothing was begun.
func (p *performer) endHeld(ctx context.Context, snap *snapshot, job engine.Job, run recovery.Run, held *recovery.HeldError) (recovery.Run, error) {
	snap.log.Warn("run held", zap.String("run", run.ID), zap.String("host", run.Host), zap.String("guard", held.Guard), zap.Error(held))
	holdBack(&run, held)
	job.Observe(recovery.Event{Time: run.Ended, Run: &run})
	return run, job.Journal.End(context.WithoutCancel(ctx), run)
}

// sharedLibrary is the store of what libraries keep, with the bounds of this
// snapshot.
func (s *snapshot) sharedLibrary(st *store.Store) hostfuncs.LibraryKV {
	lib := st.Library().Allow(int64(s.cfg.Wasakari.KVLibraryMiB) << 20)
	s.allowEach(lib.AllowOne)
	return lib
}
