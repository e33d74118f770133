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

// tasks runs the tasks of one phase until one does not succeed.
func (r *executor) tasks(ctx context.Context, p *Plan, phase recovery.Phase, host string) (ending, error) {
	for _, s := range p.phase(phase) {
		rec, err := r.task(ctx, p.flow.Kind, s, host)
		if err != nil {
			return ending{}, err
		}
		status, reason := ended(rec), rec.Message
		if rec.Revert != nil {
			reason = rec.Revert.Reason
		}
		switch status {
		case recovery.TaskSucceeded:
		case recovery.TaskFailed:
			err := &recovery.TaskError{Flow: p.flow.Kind, Task: s.Key, Err: errors.New(reason)}
			return ending{status, err.Error()}, nil
		default:
			return ending{status, fmt.Sprintf("task %s: %s", s.Key, reason)}, nil
		}
	}
	return ending{status: recovery.TaskSucceeded}, nil
}

// ended returns how an execution ended by itself, whatever its revert did;
// empty when it did not come to an end.
func ended(rec recovery.TaskRecord) recovery.TaskStatus {
	status := rec.Status
	if rec.Revert != nil {
		status = rec.Revert.Of
	}
	switch status {
	case recovery.TaskSucceeded, recovery.TaskFailed, recovery.TaskNothingToDo, recovery.TaskIgnored:
		return status
	}
	return ""
}

// task runs one task, or takes its record from the history when it came to an
// end there.
func (r *executor) task(ctx context.Context, kind recovery.FlowKind, s Step, host string) (recovery.TaskRecord, error) {
	seen := r.inputs(kind, s.Phase, host)
	maps.Copy(seen, r.values)
	recs := r.history[placeKey{kind, s.Phase, s.Index, r.round}]
	attempt := 1
	if len(recs) > 0 {
		last := recs[len(recs)-1]
		attempt = last.Attempt + 1
		if ended(last) == "" {
			if err := r.interrupted(ctx, &last, s.Task.OnInterrupt); err != nil {
				return last, err
			}
		}
		if status := ended(last); status != "" {
			var provided map[string]json.RawMessage
			if status == recovery.TaskSucceeded {
				provided = pick(r.Values, s.Task.Provides)
			}
			r.finished(s, last, seen, provided)
			return last, nil
		}
	}
	if ctx.Err() != nil {
		return recovery.TaskRecord{}, fmt.Errorf("%w before task %s", recovery.ErrInterrupted, s.Key)
	}
	if a := r.aborted(); a != nil {
		return recovery.TaskRecord{Status: recovery.TaskFailed, Message: a.Error()}, nil // it never ran: no record
	}

	r.seq++
	rec := recovery.TaskRecord{
		Seq: r.seq, Flow: kind, Key: s.Key, Class: class(s.Task), Phase: s.Phase, Index: s.Index, Round: r.round,
		Attempt: attempt, ReservedHost: host, Status: recovery.TaskRunning, Started: time.Now().UTC(),
	}
	if err := r.startTask(ctx, rec); err != nil {
		return rec, err
	}
	out := r.Runner.Run(r.work, r.call(s, rec, seen))
	checkOutcome(r.work, s.Task, &out)
	r.abortedTask(ctx, &out)
	rec.Status, rec.Message, rec.Progress, rec.Ended = out.Status, out.Message, out.Progress, time.Now().UTC()
	if err := r.finishTask(ctx, rec, out.Provided); err != nil {
		return rec, err
	}
	if rec.Status == recovery.TaskInterrupted {
		return rec, fmt.Errorf("%w while task %s ran", recovery.ErrInterrupted, s.Key)
	}
	r.finished(s, rec, seen, out.Provided)
	return rec, nil
}

// finished takes note of an execution that came to an end.
func (r *executor) finished(s Step, rec recovery.TaskRecord, seen, provided map[string]json.RawMessage) {
	maps.Copy(r.values, provided)
	r.done = append(r.done, execution{step: s, rec: rec, values: seen, provided: provided})
}

// interrupted closes the record of an attempt that did not come to an end.
func (r *executor) interrupted(ctx context.Context, rec *recovery.TaskRecord, on recovery.OnInterrupt) error {
	a := r.aborted()
	switch {
	case a != nil:
		rec.Status, rec.Message = recovery.TaskFailed, a.Error()
	case on == recovery.FailOnInterrupt:
		rec.Status, rec.Message = recovery.TaskFailed, interruptedFail
	case rec.Status == recovery.TaskInterrupted:
		return nil
	default:
		rec.Status, rec.Message = recovery.TaskInterrupted, "the process ended while it ran"
	}
	rec.Ended = time.Now().UTC()
	return r.finishTask(ctx, *rec, nil)
}

// checkOutcome holds the outcome against what a runner may say and what the
// task promised.
func checkOutcome(ctx context.Context, t recovery.Task, out *recovery.Outcome) {
	out.Message = recovery.Shorten(out.Message, maxMessage)
	switch out.Status {
	case recovery.TaskSucceeded:
		if reason := broken(t, out.Provided); reason != "" {
			out.Status, out.Message = recovery.TaskFailed, reason
		}
	case recovery.TaskNothingToDo, recovery.TaskIgnored, recovery.TaskInterrupted:
	case recovery.TaskFailed:
		// Whoever is told to stop may well answer with a failure.
		if ctx.Err() != nil {
			out.Status = recovery.TaskInterrupted
		}
	default:
		out.Status, out.Message = recovery.TaskFailed, fmt.Sprintf("its runner gave the status %q", out.Status)
	}
	if out.Status != recovery.TaskSucceeded {
		out.Provided = nil
	}
}

// maxMessage bounds, in bytes, what the journal keeps of a guest's reason.
const maxMessage = 4096

// broken says which promise about values was not kept.
func broken(t recovery.Task, provided map[string]json.RawMessage) string {
	var missing, extra []string
	for _, name := range t.Provides {
		if _, ok := provided[name]; !ok {
			missing = append(missing, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(provided)) {
		if !slices.Contains(t.Provides, name) {
			extra = append(extra, name)
		}
	}
	switch {
	case len(missing) > 0:
		return fmt.Sprintf("it did not put %s, which its manifest provides", strings.Join(missing, ", "))
	case len(extra) > 0:
		return fmt.Sprintf("it put %s, which its manifest does not provide", strings.Join(extra, ", "))
	}
	return ""
}

// revert reverts the executions from first on, last to first. A revert that
// fails does not stop the others. Only a stop of the run is an error; an abort
// of mode stop is none: then only what was being reverted gets its end.
func (r *executor) revert(ctx context.Context, first int, failure string) error {
	for i := len(r.done) - 1; i >= first; i-- {
		e := &r.done[i]
		if !e.step.Task.HasRevert || e.rec.Revert != nil && !e.rec.Revert.Ended.IsZero() {
			continue
		}
		if a := r.aborted(); a != nil && a.Mode == recovery.AbortStop {
			if e.rec.Revert != nil && ctx.Err() == nil {
				if err := r.endRevert(ctx, e, *e.rec.Revert, recovery.Outcome{Status: recovery.TaskFailed, Message: a.Error()}); err != nil {
					return err
				}
			}
			continue
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w before the revert of task %s", recovery.ErrInterrupted, e.step.Key)
		}
		if err := r.revertOne(ctx, e, failure); err != nil {
			return err
		}
	}
	return nil
}

func (r *executor) revertOne(ctx context.Context, e *execution, failure string) error {
	rv := recovery.RevertRecord{Of: e.rec.Status, Reason: e.rec.Message}
	if e.rec.Revert != nil {
		rv = *e.rec.Revert
	}
	rv.Attempt++
	rv.Started = time.Now().UTC()
	e.rec.Status, e.rec.Revert = recovery.TaskReverting, &rv
	if err := r.startTask(ctx, e.rec); err != nil {
		return err
	}
	values := maps.Clone(e.values)
	maps.Copy(values, e.provided)
	call := r.call(e.step, e.rec, values)
	call.Reverting, call.Failure, call.Attempt = true, failure, rv.Attempt
	call.IdempotencyKey += "/revert"
	call.Reads = reads(values, e.step.Task.Requires, e.step.Task.Optional, e.step.Task.Provides)
	out := r.Runner.Revert(r.reverts, call)
	if ctx.Err() != nil && out.Status != recovery.TaskSucceeded && out.Status != recovery.TaskNothingToDo || out.Status == recovery.TaskInterrupted && r.reverts.Err() == nil {
		return fmt.Errorf("%w while task %s was reverted", recovery.ErrInterrupted, e.step.Key)
	}
	if a := r.aborted(); a != nil && out.Status == recovery.TaskInterrupted {
		out.Status, out.Message = recovery.TaskFailed, a.Error()
	}
	return r.endRevert(ctx, e, rv, out)
}

// endRevert writes how a revert ended.
func (r *executor) endRevert(ctx context.Context, e *execution, rv recovery.RevertRecord, out recovery.Outcome) error {
	// What was handed to the journal and the observer stays as it was.
	done := rv
	done.Ended = time.Now().UTC()
	e.rec.Revert = &done
	switch out.Status {
	case recovery.TaskSucceeded:
		e.rec.Status = recovery.TaskReverted
	case recovery.TaskNothingToDo:
		e.rec.Status = rv.Of // nothing was taken back: the task must not look as if it were
	default:
		e.rec.Status = recovery.TaskRevertFailed
		e.rec.Message = "revert failed: " + recovery.Shorten(out.Message, maxMessage)
		if rv.Reason != "" {
			e.rec.Message = rv.Reason + "; " + e.rec.Message
		}
	}
	e.rec.Progress = append(slices.Clone(e.rec.Progress), out.Progress...)
	return r.finishTask(ctx, e.rec, nil)
}

// call describes an execution for the runner.
func (r *executor) call(s Step, rec recovery.TaskRecord, values map[string]json.RawMessage) TaskCall {
	c := TaskCall{
		RunID: r.Run.ID, Flow: rec.Flow, Phase: rec.Phase, Index: rec.Index, Round: rec.Round, Attempt: rec.Attempt, Seq: rec.Seq,
		Key: s.Key, Task: s.Task, Values: maps.Clone(values), ReservedHost: rec.ReservedHost,
	}
	c.IdempotencyKey = c.RunID + "/" + c.Place()
	c.Reads = reads(values, s.Task.Requires, s.Task.Optional)
	return c
}

// reads lists, sorted, the names of all lists that have a value.
func reads(values map[string]json.RawMessage, lists ...[]string) []string {
	return slices.Sorted(maps.Keys(pick(values, slices.Concat(lists...))))
}

// inputs returns what the flow seeds in a phase.
func (r *executor) inputs(kind recovery.FlowKind, phase recovery.Phase, host string) map[string]json.RawMessage {
	seeds := pick(r.Run.Inputs, kind.InputNames(phase))
	if host != "" {
		seeds[seed], _ = json.Marshal(host) // a string always encodes
	}
	return seeds
}

// pick returns those of values that have one of the names.
func pick(values map[string]json.RawMessage, names []string) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(names))
	for _, name := range names {
		if v, ok := values[name]; ok {
			out[name] = v
		}
	}
	return out
}

func class(t recovery.Task) string {
	if t.Class != "" {
		return t.Class
	}
	return t.Key
}

func (r *executor) startTask(ctx context.Context, rec recovery.TaskRecord) error {
	if err := r.write(ctx, func(ctx context.Context) error { return r.Journal.StartTask(ctx, rec) }); err != nil {
		return fmt.Errorf("journal: task %s: %w", rec.Key, err)
	}
	r.log.Info("task started", zap.String("flow", string(rec.Flow)), zap.String("task", rec.Key), zap.String("phase", string(rec.Phase)),
		zap.Int("round", rec.Round), zap.Int("attempt", rec.Attempt), zap.Bool("reverting", rec.Revert != nil))
	r.observeTask(rec)
	return nil
}

func (r *executor) finishTask(ctx context.Context, rec recovery.TaskRecord, provided map[string]json.RawMessage) error {
	err := r.write(ctx, func(ctx context.Context) error { return r.Journal.FinishTask(ctx, rec, provided) })
	if err != nil {
		return fmt.Errorf("journal: task %s: %w", rec.Key, err)
	}
	r.log.Info("task finished", zap.String("flow", string(rec.Flow)), zap.String("task", rec.Key), zap.String("status", string(rec.Status)),
		zap.String("reason", rec.Message), zap.Duration("took", rec.Ended.Sub(rec.Started)))
	r.observeTask(rec)
	return nil
}
