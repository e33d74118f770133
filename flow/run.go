package flow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

// Request is one run, new or to be resumed.
type Request struct {
	// Run is the run. A new one needs an ID, Flows and Inputs; one that is
	// resumed comes as the journal kept it. When Plans and Modules are empty
	// they are pinned as Pin does.
	Run recovery.Run
	// Plans holds the checked plan of each of Run.Flows. For a run that is
	// resumed they are made from Run.Plans, and its modules must still have the
	// digests of Run.Modules.
	Plans   map[recovery.FlowKind]*Plan
	Runner  Runner
	Journal Journal
	// Reserved is asked before and after each reserved host. Defaults to nil:
	// every host can be had.
	Reserved Reserved
	// Undo is called once at the end, whatever the end is. Defaults to nil:
	// there is nothing to undo.
	Undo Undoer
	// Accept is asked when all tasks of a flow went well; an error fails the flow
	// as a task would. Defaults to nil: nothing more is asked.
	Accept func(ctx context.Context) error
	// Aborted gives the wish that the run ends, and a stricter one after it. What
	// Run.Abort says already needs not come again. Defaults to nil.
	Aborted <-chan recovery.Abort
	// HandOver leaves undo list and reserved host as they are when the run did
	// not come to an end: whoever goes on with it needs them.
	HandOver bool
	// UndoTimeout bounds Undo, which goes on when ctx has ended.
	//
	// Defaults to 2 minutes.
	UndoTimeout time.Duration
	// Observe is told when the run and its tasks start and end. It is called on
	// the goroutine of Run and must not block. Defaults to nil.
	Observe func(recovery.Event)
	// History and Values are what the journal holds of a run that is resumed:
	// every record, and the values that tasks provided.
	History []recovery.TaskRecord
	Values  map[string]json.RawMessage
	// Logger defaults to zap.NewNop.
	Logger *zap.Logger
}

const (
	// journalTimeout bounds one write of the journal, which goes on when the
	// run was told to stop.
	journalTimeout = time.Minute

	// leftMark stands in a run's message before what could not be undone.
	leftMark = "left to undo: "

	noReservedHosts = "no reserved hosts available for evacuation"
	interruptedFail = "the process ended while it ran and on_interrupt is fail"
)

// Run runs the flows of a run in the order of Run.Flows, until one of them
// ends well.
//
// The run that comes back has ended when the error is nil: its status is
// finished, ignored or failed, and its message says why. Otherwise it did not
// come to an end and can be resumed: the error matches recovery.ErrInterrupted
// when ctx ended or the runner stopped a task, recovery.ErrInvalid when nothing
// was started because the request contradicts itself or the history, and is
// the journal's or that of a repeated claim otherwise.
//
// A run that is resumed goes through its history: what came to an end is not
// done again; a task that was interrupted runs again with the next attempt, or
// fails when its on_interrupt is fail; an interrupted revert is repeated. For a
// run that has ended, only Undo is called again.
//
// When ctx ends, the running task or revert is stopped, nothing is reverted,
// and Undo is called unless the run is handed over.
//
// A run that is aborted comes to an end: no further task, reserved host or flow
// is begun, and the task at work is stopped and counts as failed. With mode
// revert what ran in the flow is then reverted; with mode stop nothing is, and a
// revert at work is stopped and counts as failed. The run ends with the status
// of the abort, unless its flow had ended well before.
func Run(ctx context.Context, req Request) (recovery.Run, error) {
	r := &executor{Request: req, log: req.Logger, lastRound: 1, round: 1, history: make(map[placeKey][]recovery.TaskRecord)}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	if r.UndoTimeout <= 0 {
		r.UndoTimeout = 2 * time.Minute
	}
	if err := r.validate(); err != nil {
		return req.Run, fmt.Errorf("run %s: %w", req.Run.ID, err)
	}
	r.log = r.log.With(zap.String("run", r.Run.ID))
	if r.Run.Finished {
		return r.undoAgain(ctx)
	}
	r.load()
	defer r.watchAborts(ctx)()
	return r.run(ctx)
}

// placeKey is a place of a flow in one round.
type placeKey struct {
	flow  recovery.FlowKind
	phase recovery.Phase
	index int
	round int
}

// execution is a task that ran to an end in the flow at hand.
type execution struct {
	step     Step
	rec      recovery.TaskRecord
	values   map[string]json.RawMessage // what it saw
	provided map[string]json.RawMessage
}

// executor is one call of Run.
type executor struct {
	Request
	log       *zap.Logger
	work      context.Context                    // of tasks: ends with ctx and with an abort
	reverts   context.Context                    // of reverts: ends with ctx and with an abort of mode stop
	reserved  []string                           // the input reserved_host_list
	history   map[placeKey][]recovery.TaskRecord // in the order of their numbers
	lastRound int                                // of the history
	seq       int                                // last number given
	round     int
	values    map[string]json.RawMessage // provided so far in the flow at hand
	done      []execution                // of the flow at hand
	notes     []string                   // for the run's message
}

// ending is how a flow came to its end.
type ending struct {
	status  recovery.TaskStatus // succeeded, nothing_to_do, ignored or failed
	message string
}

func (r *executor) validate() error {
	invalid := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{recovery.ErrInvalid}, args...)...)
	}
	if r.Run.ID == "" || r.Runner == nil || r.Journal == nil {
		return invalid("a run needs an id, a runner and a journal")
	}
	if r.Run.Finished {
		return nil
	}
	if len(r.Run.Flows) == 0 {
		return invalid("no flow to run")
	}
	var errs []error
	for i, kind := range r.Run.Flows {
		if r.Plans[kind] == nil {
			errs = append(errs, invalid("flow %s has no plan", kind))
		}
		if slices.Contains(r.Run.Flows[:i], kind) {
			errs = append(errs, invalid("flow %s is listed twice", kind))
		}
	}
	if list, ok := r.Run.Inputs["reserved_host_list"]; ok && slices.Contains(r.Run.Flows, recovery.HostReserved) {
		if err := json.Unmarshal(list, &r.reserved); err != nil {
			errs = append(errs, invalid("input reserved_host_list: want a list of host names"))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if len(r.Run.Plans) == 0 && len(r.Run.Modules) == 0 {
		if len(r.History) > 0 {
			return invalid("it has a history and no pinned plans")
		}
		Pin(&r.Run, r.Plans)
		return nil
	}
	return r.pinned()
}

// pinned compares the plans with those that the run began with.
func (r *executor) pinned() error {
	var errs []error
	said := make(map[string]bool)
	for _, kind := range r.Run.Flows {
		plan, pin := r.Plans[kind], r.Run.Plans[kind]
		for _, phase := range recovery.Phases() {
			same := func(a, b recovery.TaskRef) bool { return a.Key == b.Key }
			if !slices.EqualFunc(plan.flow.Tasks(phase), pin.Tasks(phase), same) {
				errs = append(errs, fmt.Errorf("%w: flow %s: %s is not what the run began with; resume it with the plan that it pinned", recovery.ErrInvalid, kind, phase))
			}
		}
		for _, s := range plan.steps {
			if was := r.Run.Modules[s.Key]; was != s.Task.Digest && !said[s.Key] {
				said[s.Key] = true
				errs = append(errs, fmt.Errorf("%w: task %q: its module is %s, and the run began with %s; resume it with that module",
					recovery.ErrInvalid, s.Key, digest(s.Task.Digest), digest(was)))
			}
		}
	}
	return errors.Join(errs...)
}

func digest(d string) string {
	if d == "" {
		return "none"
	}
	return d
}

// load sorts the history by places.
func (r *executor) load() {
	records := slices.Clone(r.History)
	slices.SortFunc(records, func(a, b recovery.TaskRecord) int { return a.Seq - b.Seq })
	for _, rec := range records {
		k := placeKey{rec.Flow, rec.Phase, rec.Index, rec.Round}
		r.history[k] = append(r.history[k], rec)
		r.seq = max(r.seq, rec.Seq)
		r.lastRound = max(r.lastRound, rec.Round)
	}
	r.reserved = unique(r.reserved)
}

func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func (r *executor) run(ctx context.Context) (recovery.Run, error) {
	if r.Run.Started.IsZero() {
		r.Run.Started = time.Now().UTC()
	}
	r.Run.Status, r.Run.Message = recovery.StatusRunning, ""
	if err := r.write(ctx, func(ctx context.Context) error { return r.Journal.Start(ctx, r.Run) }); err != nil {
		return r.Run, fmt.Errorf("run %s: journal: %w", r.Run.ID, err)
	}
	r.log.Info("run started", zap.Bool("resumed", len(r.History) > 0))
	r.observeRun()

	status, err := r.flows(ctx)
	var left error
	if err == nil || !r.HandOver {
		left = r.undo(ctx)
	}
	if left != nil {
		r.notes = append(r.notes, leftMark+left.Error())
	}
	if err != nil {
		r.Run.Message = strings.Join(append([]string{err.Error()}, r.notes...), "; ")
		r.log.Warn("run stopped", zap.Error(err))
		r.observeRun()
		return r.Run, fmt.Errorf("run %s: %w", r.Run.ID, errors.Join(err, left))
	}
	running := r.Run
	r.Run.Status, r.Run.Message = status, strings.Join(r.notes, "; ")
	r.Run.Ended, r.Run.Finished = time.Now().UTC(), true
	if err := r.end(ctx); err != nil {
		return running, err
	}
	return r.Run, nil
}

func (r *executor) end(ctx context.Context) error {
	if err := r.write(ctx, func(ctx context.Context) error { return r.Journal.End(ctx, r.Run) }); err != nil {
		return fmt.Errorf("run %s: journal: %w", r.Run.ID, err)
	}
	r.log.Info("run ended", zap.String("status", string(r.Run.Status)), zap.String("reason", r.Run.Message))
	r.observeRun()
	return nil
}

// undoAgain works off what the end of the run left.
func (r *executor) undoAgain(ctx context.Context) (recovery.Run, error) {
	if err := r.undo(ctx); err != nil {
		return r.Run, fmt.Errorf("run %s: %s%w", r.Run.ID, leftMark, err)
	}
	before, _, left := strings.Cut(r.Run.Message, leftMark)
	if !left {
		return r.Run, nil
	}
	r.Run.Message = strings.TrimSuffix(before, "; ")
	return r.Run, r.end(ctx)
}

func (r *executor) undo(ctx context.Context) error {
	if r.Undo == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.UndoTimeout)
	defer cancel()
	err := r.Undo.Undo(ctx)
	if err != nil {
		r.log.Error("undo list not worked off", zap.Error(err))
	}
	return err
}

// flows runs one flow after the other until one ends well, and returns the
// status of the run. Only a stop is an error.
func (r *executor) flows(ctx context.Context) (recovery.NotificationStatus, error) {
	for i, kind := range r.Run.Flows {
		if i > 0 {
			r.log.Info("flow falls back", zap.String("flow", string(kind)))
			r.round++
			if err := r.setValues(ctx, r.round, nil); err != nil {
				return "", err
			}
		}
		r.values, r.done = make(map[string]json.RawMessage), nil
		end, err := r.flow(ctx, r.Plans[kind])
		if err != nil {
			return "", err
		}
		r.log.Info("flow ended", zap.String("flow", string(kind)), zap.String("status", string(end.status)))
		if end.message != "" {
			r.notes = append(r.notes, end.message)
		}
		if end.status == recovery.TaskFailed {
			if a := r.aborted(); a != nil && !r.wentOn(kind) {
				if !strings.Contains(end.message, a.Error()) {
					r.notes = append(r.notes, a.Error())
				}
				r.Run.Abort = &a.Abort
				return a.status(), nil
			}
			continue
		}
		status := recovery.StatusFinished
		if end.status == recovery.TaskIgnored {
			status = recovery.StatusIgnored
		}
		if i > 0 {
			r.notes = append(r.notes, fmt.Sprintf("flow %s %s", kind, status))
		}
		return status, nil
	}
	return recovery.StatusFailed, nil
}

// flow runs one flow to its end.
func (r *executor) flow(ctx context.Context, p *Plan) (ending, error) {
	kind := p.flow.Kind
	if kind == recovery.HostReserved && len(r.reserved) == 0 {
		return ending{recovery.TaskFailed, fmt.Sprintf("flow %s: %s", kind, noReservedHosts)}, nil
	}
	end, err := r.tasks(ctx, p, recovery.Pre, "")
	if err != nil {
		return end, err
	}
	if end.status == recovery.TaskSucceeded {
		if kind == recovery.HostReserved {
			end, err = r.reservedRounds(ctx, p)
		} else {
			end, err = r.mainAndPost(ctx, p, "")
		}
		if err != nil {
			return end, err
		}
	}
	if end.status == recovery.TaskSucceeded && r.Accept != nil {
		if err := r.Accept(ctx); err != nil {
			if ctx.Err() != nil {
				return end, stopped(ctx, err)
			}
			end = ending{recovery.TaskFailed, fmt.Sprintf("flow %s: %v", kind, err)}
		}
	}
	if end.status == recovery.TaskFailed {
		if err := r.revert(ctx, 0, end.message); err != nil {
			return end, err
		}
	}
	return end, nil
}

func (r *executor) mainAndPost(ctx context.Context, p *Plan, host string) (ending, error) {
	end, err := r.tasks(ctx, p, recovery.Main, host)
	if err != nil || end.status != recovery.TaskSucceeded {
		return end, err
	}
	return r.tasks(ctx, p, recovery.Post, host)
}

// reservedRounds runs main with one reserved host after the other until it
// does not fail, and then post with the host that it did not fail with.
func (r *executor) reservedRounds(ctx context.Context, p *Plan) (ending, error) {
	afterPre, pre := maps.Clone(r.values), len(r.done)
	end := ending{recovery.TaskFailed, fmt.Sprintf("flow %s: no reserved host could be claimed", p.flow.Kind)}
	round := r.round // of the next host
	for next := 0; ; {
		host, err := r.nextHost(ctx, p, round, &next)
		if err != nil || host == "" {
			return end, err
		}
		r.round = round
		end, err = r.tasks(ctx, p, recovery.Main, host)
		if err != nil {
			r.settleStopped(ctx, host)
			return end, err
		}
		if end.status != recovery.TaskFailed {
			if end.status == recovery.TaskSucceeded {
				end, err = r.tasks(ctx, p, recovery.Post, host)
			}
			if err == nil && end.status == recovery.TaskFailed {
				err = r.revert(ctx, 0, end.message)
			}
			if err != nil {
				r.settleStopped(ctx, host)
				return end, err
			}
			r.settle(ctx, host)
			return end, nil
		}
		end.message += fmt.Sprintf(" (reserved host %s)", host)
		if err := r.revert(ctx, pre, end.message); err != nil {
			r.settleStopped(ctx, host)
			return end, err
		}
		r.settle(ctx, host)
		round++
		r.done, r.values = r.done[:pre], maps.Clone(afterPre)
		if err := r.setValues(ctx, round, afterPre); err != nil {
			return end, err
		}
	}
}

// nextHost gives the host of the round: that of the history, or the next one
// that can be claimed; empty when there is none. next is where the rest of the
// list begins.
func (r *executor) nextHost(ctx context.Context, p *Plan, round int, next *int) (string, error) {
	kind := p.flow.Kind
	for _, rec := range r.History {
		if rec.Flow != kind || rec.Round != round || rec.ReservedHost == "" {
			continue
		}
		*next = slices.Index(r.reserved, rec.ReservedHost) + 1
		if r.Reserved != nil && r.open(p, round) {
			if err := r.Reserved.Claim(ctx, rec.ReservedHost); err != nil {
				return "", stopped(ctx, fmt.Errorf("reserved host %s was this run's and cannot be claimed again: %w", rec.ReservedHost, err))
			}
		}
		return rec.ReservedHost, nil
	}
	if r.over(kind) || r.aborted() != nil {
		return "", nil
	}
	for *next < len(r.reserved) {
		if ctx.Err() != nil {
			return "", recovery.ErrInterrupted
		}
		host := r.reserved[*next]
		*next++
		if r.Reserved == nil {
			return host, nil
		}
		err := r.Reserved.Claim(ctx, host)
		if err == nil {
			return host, nil
		}
		if ctx.Err() != nil {
			return "", recovery.ErrInterrupted
		}
		r.log.Warn("reserved host not claimed", zap.String("host", host), zap.Error(err))
		r.notes = append(r.notes, fmt.Sprintf("reserved host %s was passed over: %v", host, err))
	}
	return "", nil
}

// stopped gives ErrInterrupted for an error that came with the end of ctx.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return recovery.ErrInterrupted
	}
	return err
}

// open reports whether the history leaves something to do in main or post of
// the round.
func (r *executor) open(p *Plan, round int) bool {
	for _, s := range p.steps {
		if s.Phase == recovery.Pre {
			continue
		}
		recs := r.history[placeKey{p.flow.Kind, s.Phase, s.Index, round}]
		if len(recs) == 0 {
			return true
		}
		switch ended(recs[len(recs)-1]) {
		case recovery.TaskSucceeded:
		case "":
			return true
		default:
			return false
		}
	}
	return false
}

// over reports whether the history shows that the flow had given up: pre was
// being reverted, or the next flow had begun.
func (r *executor) over(kind recovery.FlowKind) bool {
	return r.wentOn(kind) || slices.ContainsFunc(r.History, func(rec recovery.TaskRecord) bool {
		return rec.Flow == kind && rec.Phase == recovery.Pre && rec.Revert != nil
	})
}

// wentOn reports whether the history shows that a flow after this one had
// begun.
func (r *executor) wentOn(kind recovery.FlowKind) bool {
	later := r.Run.Flows[slices.Index(r.Run.Flows, kind)+1:]
	return slices.ContainsFunc(r.History, func(rec recovery.TaskRecord) bool { return slices.Contains(later, rec.Flow) })
}

// settle ends a claim. Rounds that the history went beyond were settled then.
func (r *executor) settle(ctx context.Context, host string) {
	if r.Reserved == nil || r.round < r.lastRound {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.UndoTimeout)
	defer cancel()
	if err := r.Reserved.Settle(ctx, host); err != nil {
		r.log.Error("reserved host not settled", zap.String("host", host), zap.Error(err))
		r.notes = append(r.notes, fmt.Sprintf("reserved host %s: %v", host, err))
	}
}

// settleStopped ends a claim in a run that did not come to an end, unless
// somebody else goes on with it.
func (r *executor) settleStopped(ctx context.Context, host string) {
	if !r.HandOver {
		r.settle(ctx, host)
	}
}

// setValues restores the values that a round begins with, unless the history
// has that round already.
func (r *executor) setValues(ctx context.Context, round int, values map[string]json.RawMessage) error {
	if round <= r.lastRound {
		return nil
	}
	if values == nil {
		values = map[string]json.RawMessage{}
	}
	if err := r.write(ctx, func(ctx context.Context) error { return r.Journal.SetValues(ctx, values) }); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// write calls the journal with a context that outlives ctx.
func (r *executor) write(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), journalTimeout)
	defer cancel()
	return f(ctx)
}

func (r *executor) observeRun() {
	if r.Observe != nil {
		run := r.Run
		r.Observe(recovery.Event{Time: time.Now().UTC(), Run: &run})
	}
}

func (r *executor) observeTask(rec recovery.TaskRecord) {
	if r.Observe != nil {
		r.Observe(recovery.Event{Time: time.Now().UTC(), Task: &rec})
	}
}
