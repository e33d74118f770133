package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/wasakari/wasakari/engine"
	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/recovery"
)

// ledger is what a task of the tests writes beside the journal.
type ledger interface {
	PushUndo(ctx context.Context, u recovery.Undo) error
	DropUndo(ctx context.Context, key string) error
	Values(ctx context.Context) (map[string]json.RawMessage, error)
}

// flows makes flows of three tasks, a, b and c, and performs them with
// flow.Run. It serves engine.Flows.
type flows struct {
	t *testing.T
	// task does a task; nil: it succeeds.
	task func(ctx context.Context, job engine.Job, c flow.TaskCall) recovery.Outcome
	// prepare and perform stand in for the rest.
	prepare func(run recovery.Run) error
	perform func(ctx context.Context, job engine.Job) (recovery.Run, error)
	undo    func(recovery.Undo) error
	settle  func(context.Context, engine.Run) error // finds out what became of open changes

	mu       sync.Mutex
	prepared []recovery.Run
	atWork   int
	most     int
	did      []string
}

type catalog struct{}

func (catalog) Task(key string) (recovery.Task, bool) {
	return recovery.Task{Key: key, Digest: "d-" + key, HasRevert: key == "a"}, slices.Contains(catalog{}.Keys(), key)
}
func (catalog) Keys() []string { return []string{"a", "b", "c"} }

func (f *flows) Prepare(_ context.Context, run recovery.Run, seg recovery.Segment) (recovery.Run, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prepared = append(f.prepared, run)
	if seg.UUID != "seg" {
		f.t.Errorf("Prepare got the segment %q", seg.UUID)
	}
	if f.prepare != nil {
		if err := f.prepare(run); err != nil {
			return run, err
		}
	}
	plans := map[recovery.FlowKind]*flow.Plan{}
	for _, kind := range run.Flows {
		p, err := flow.Check(recovery.Flow{
			Kind: kind, Pre: []recovery.TaskRef{{Key: "a"}}, Main: []recovery.TaskRef{{Key: "b"}}, Post: []recovery.TaskRef{{Key: "c"}},
		}, catalog{}, flow.CheckOptions{})
		if err != nil {
			return run, err
		}
		plans[kind] = p
	}
	flow.Pin(&run, plans)
	return run, nil
}

func (f *flows) count(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.atWork += n
	f.most = max(f.most, f.atWork)
}

func (f *flows) Perform(ctx context.Context, job engine.Job) (recovery.Run, error) {
	f.count(1)
	defer f.count(-1)
	if f.perform != nil {
		return f.perform(ctx, job)
	}
	return f.flow(ctx, job)
}

func (f *flows) flow(ctx context.Context, job engine.Job) (recovery.Run, error) {
	history, err := job.Run.History(ctx)
	if err != nil {
		return job.Record, err
	}
	led := job.Run.(ledger)
	values, err := led.Values(ctx)
	if err != nil {
		return job.Record, err
	}
	plans := map[recovery.FlowKind]*flow.Plan{}
	for _, kind := range job.Record.Flows {
		if plans[kind], err = flow.Check(job.Record.Plans[kind], catalog{}, flow.CheckOptions{}); err != nil {
			return job.Record, err
		}
	}
	return flow.Run(ctx, flow.Request{
		Run: job.Record, Plans: plans, Runner: runner{f, job}, Journal: job.Journal, Reserved: job.Reserved(nil), Undo: undoer{f, job.Run, led},
		Aborted: job.Aborted, HandOver: true, Observe: job.Observe, History: history, Values: values,
	})
}

type runner struct {
	f   *flows
	job engine.Job
}

func (r runner) note(what string, c flow.TaskCall) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	r.f.did = append(r.f.did, fmt.Sprintf("%s %s/%s", what, r.job.Record.Host, c.Key))
}

func (r runner) Run(ctx context.Context, c flow.TaskCall) recovery.Outcome {
	r.note("run", c)
	out := recovery.Outcome{Status: recovery.TaskSucceeded}
	if r.f.task != nil {
		out = r.f.task(ctx, r.job, c)
	}
	if ctx.Err() != nil {
		out = recovery.Outcome{Status: recovery.TaskInterrupted}
	}
	return out
}

func (r runner) Revert(_ context.Context, c flow.TaskCall) recovery.Outcome {
	r.note("revert", c)
	return recovery.Outcome{Status: recovery.TaskSucceeded}
}

// undoer works the undo list off with flows.undo.
type undoer struct {
	f   *flows
	run engine.Run
	led ledger
}

func (u undoer) Undo(ctx context.Context) error {
	if u.f.settle != nil {
		if err := u.f.settle(ctx, u.run); err != nil {
			return err
		}
	}
	list, err := u.run.Undos(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, x := range list {
		if u.f.undo != nil {
			if err := u.f.undo(x); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		errs = append(errs, u.led.DropUndo(ctx, x.Key))
	}
	return errors.Join(errs...)
}

// watcher notes what an engine tells.
type watcher struct {
	engine.NoObserver
	mu     sync.Mutex
	events []string
}

func (w *watcher) add(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf(format, args...))
}

func (w *watcher) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

func (w *watcher) EndedWithoutRun(n recovery.Notification, s recovery.NotificationStatus, _ string) {
	w.add("ended %s %s", n.UUID, s)
}

func (w *watcher) Claimed(it recovery.QueueItem, run recovery.Run, resumed bool) {
	w.add("claimed %s %s resumed=%t", it.Notification, run.ID, resumed)
}

func (w *watcher) RunStarted(n recovery.Notification, run recovery.Run) {
	w.add("started %s %s", n.UUID, run.ID)
}

func (w *watcher) RunEvent(run string, e recovery.Event) {
	if e.Task != nil {
		w.add("task %s %s %s", run, e.Task.Key, e.Task.Status)
	}
}

func (w *watcher) RunEnded(n recovery.Notification, run recovery.Run, s recovery.NotificationStatus) {
	w.add("run ended %s %s %s %s", n.UUID, run.ID, run.Status, s)
}

func (w *watcher) PutOff(it recovery.QueueItem, run string, err error) {
	w.add("put off %s %s: %v", it.Notification, run, err)
}

func (w *watcher) HandedOver(run string, lost bool) { w.add("handed over %s lost=%t", run, lost) }

func (w *watcher) Superseded(it recovery.QueueItem, by string) {
	w.add("superseded %s by %s", it.Notification, by)
}

func (w *watcher) StoreAway(err error) { w.add("away %t", err != nil) }

func (w *watcher) FoundUnreported(hosts []engine.UnreportedHost) {
	for _, h := range hosts {
		w.add("unreported %s", h.Host.Name)
	}
}
