package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/internal/audit"
	"github.com/wasakari/wasakari/internal/runstate"
	"github.com/wasakari/wasakari/recovery"
)

// runState is what is kept of one run: a file of internal/runstate, or keys of
// the store.
type runState interface {
	flow.Journal
	hostfuncs.Ledger
	hostfuncs.HA
	History(ctx context.Context) ([]recovery.TaskRecord, error)
	Values(ctx context.Context) (map[string]json.RawMessage, error)
	// Changed lists the targets of the run's changes by ops that of picks.
	Changed(ctx context.Context, of func(op string) bool) ([]string, error)
}

// ground is what a run acts on and what it writes to beside its state.
type ground struct {
	cloud   hostfuncs.Cloud
	ledger  hostfuncs.Ledger
	library hostfuncs.LibraryKV
	scratch hostfuncs.ScratchKV
	verify  time.Duration // between two looks at the cloud
	guard   hostfuncs.Guard
	known   func(run string) (ended, known bool)
	// reserved puts what else is to be done with a reserved host around what is
	// done here. Nil: nothing is.
	reserved func(flow.Reserved) flow.Reserved
	// first is when the run may make its first change; zero: at once.
	first time.Time
	// changed is told of each change of the cloud; nil: nothing is changed.
	changed func(recovery.Intent)
	// trace is the W3C traceparent that the run belongs to, empty without one.
	trace string
}

// opHook is what hostfuncs tells of ops, nil when nobody measures.
func (l *loaded) opHook() func(context.Context, string) (context.Context, func(string)) {
	if l.tel == nil {
		return nil
	}
	return l.tel.StartOp
}

// changedBy writes the changes of a run into the audit log.
func (l *loaded) changedBy(run recovery.Run) func(recovery.Intent) {
	return func(in recovery.Intent) { l.audit.Write(audit.Change(in, run)) }
}

// overridden writes into the audit log that a person lets a run go beyond the
// guards.
func (l *loaded) overridden(run recovery.Run, target string, held error) {
	l.audit.Write(audit.Record{
		Kind: audit.Override, Op: "run.override", Target: target, Outcome: audit.Done,
		Message: run.Override + " (" + held.Error() + ")", Run: run.ID, Notification: run.Notification,
	})
}

// known tells of the runs of the state folder.
func (l *loaded) known(id string) (ended, known bool) { return runstate.Known(l.stateDir, id) }

// perform runs the flow to its end. err says that it was not begun.
func (l *loaded) perform(ctx context.Context, g ground, state runState, plans map[recovery.FlowKind]*flow.Plan, req flow.Request) (run recovery.Run, runErr, err error) {
	ctx, end := l.tel.StartRun(ctx, req.Run, g.trace)
	defer func() { end(run, errors.Join(runErr, err)) }()
	hatch := hostfuncs.New(hostfuncs.Deps{
		Cloud: g.cloud, Ledger: g.ledger, Library: g.library, Scratch: g.scratch, HA: state, HTTP: l.outside,
		Observe: req.Observe, Op: l.opHook(), Changed: g.changed, Values: ctx, Logger: l.log.Named("hostfuncs"),
		Run: hostfuncs.RunInfo{
			ID: req.Run.ID, Cluster: l.cfg.Wasakari.Cluster, FailedHost: failedHost(req.Run.Flows[0], req.Run.Inputs),
			NotificationUUID: text(req.Run.Inputs, "notification_uuid"), Started: req.Run.Started, FirstChange: g.first,
		},
		Guard: g.guard,
		Options: hostfuncs.Options{
			KVTaskBytes: l.cfg.Wasakari.KVTaskKiB << 10, KVLibraryBytes: l.cfg.Wasakari.KVLibraryMiB << 20,
			VerifyInterval: g.verify, NovaTimeout: l.cfg.Wasakari.NovaTimeout, HTTPTimeout: httpWait(l.cfg),
			OutcomeWait: l.cfg.Wasakari.NovaOutcomeWait, RequireFenceProof: l.cfg.HostFailure.RequireFenceProof,
		},
		KnownRun: g.known,
	})
	defer hatch.Close()
	// A new run has nothing to settle. One that is interrupted here ends as
	// before any task: reported, with the undo list worked off.
	if err := hatch.Settle(ctx); err != nil && ctx.Err() == nil {
		return req.Run, nil, fmt.Errorf("run %s: changes that were under way: %w", req.Run.ID, err)
	}
	req.Plans, req.Logger = plans, l.log.Named("flow")
	if req.Journal == nil {
		req.Journal = state
	}
	req.Runner = &runner{catalog: l.catalog, cfg: l.cfg, tel: l.tel, hatch: hatch, secrets: l.secrets, providers: providersOf(l.catalog, req.Run.Plans), first: g.first}
	req.Reserved, req.Undo = reserved{hatch, g.cloud, hostInHand(req.History)}, hatch
	if g.reserved != nil {
		req.Reserved = g.reserved(req.Reserved)
	}
	req.Accept = hatch.AllFinal
	run, runErr = flow.Run(ctx, req)
	return run, runErr, nil
}
