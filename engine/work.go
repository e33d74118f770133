package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/recovery"
)

// judge reads a notification and what it needs. done reports that nothing of
// it is left to be done, because it ended here or had ended before.
func (e *Engine) judge(ctx context.Context, item recovery.QueueItem) (n recovery.Notification, done bool, err error) {
	n, err = e.cfg.Store.Notification(ctx, item.Notification)
	if errors.Is(err, recovery.ErrNotFound) || err == nil && n.Status.Final() {
		return n, true, nil
	}
	if err != nil || item.Run != "" {
		return n, false, err // a run that was begun is brought to its end
	}
	v, _, err := e.verdict(ctx, n)
	if err == nil && v.last {
		err = e.older(ctx, item)
	}
	if err != nil || v.status == "" {
		return n, false, err
	}
	err = e.cfg.Store.EndNotification(ctx, n.UUID, v.status, v.message)
	if gone(err) {
		return n, true, nil
	}
	if err != nil {
		return n, false, err
	}
	e.log.Info("notification ended without a run", zap.String("notification", n.UUID), zap.String("status", string(v.status)), zap.String("reason", v.message))
	e.cfg.Observer.EndedWithoutRun(n, v.status, v.message)
	return n, true, nil
}

// older refuses with recovery.ErrConflict while the queue holds, before an item,
// another one about its host.
func (e *Engine) older(ctx context.Context, item recovery.QueueItem) error {
	items, err := e.cfg.Store.Queue(ctx)
	if err != nil {
		return err
	}
	for _, it := range items {
		if it.Notification == item.Notification {
			break
		}
		if it.Type != recovery.VM && it.Host == item.Host {
			return fmt.Errorf("notification %s about host %s has not ended: %w", it.Notification, it.Host, recovery.ErrConflict)
		}
	}
	return nil
}

func (e *Engine) verdict(ctx context.Context, n recovery.Notification) (verdict, recovery.Segment, error) {
	seg, err := e.cfg.Store.Segment(ctx, n.SegmentUUID)
	if errors.Is(err, recovery.ErrNotFound) {
		return verdict{status: recovery.StatusFailed, message: fmt.Sprintf("segment %s of host %s is gone", n.SegmentUUID, n.HostName)}, seg, nil
	}
	if err != nil {
		return verdict{}, seg, err
	}
	return e.decide(n, seg), seg, nil
}

// result is what one look at an item came to.
type result struct {
	item recovery.QueueItem
	// needsRun says that the look was only to find that out.
	needsRun bool
	// later says that it cannot be gone on with now, for the reason err.
	later bool
	err   error
	// aborted says that the run is to end, and did not.
	aborted bool
}

// work takes an item as far as it goes: to its end, or to where it has to wait.
// tries counts how often this node could not bring it to the end of an abort.
func (e *Engine) work(ctx context.Context, item recovery.QueueItem, tries int) result {
	later := func(err error) result { return result{item: item, later: true, err: err} }
	n, done, err := e.judge(ctx, item)
	switch {
	case err != nil:
		return later(err)
	case done, ctx.Err() != nil:
		return result{item: item}
	}
	// A claim whose answer is lost would hold the host until the lease ends.
	claimCtx, cancel := lasting(ctx)
	run, err := e.cfg.Store.Claim(claimCtx, item.Notification)
	cancel()
	if errors.Is(err, recovery.ErrNotFound) {
		return result{item: item}
	}
	if err != nil {
		return later(err)
	}
	j := &journal{Run: run, e: e, n: n, item: item, tries: tries}
	err = e.deliver(ctx, j)
	ended, left := j.state()
	switch {
	case ended:
		return result{item: item}
	case errors.Is(err, recovery.ErrLeaseLost):
		e.log.Warn("claim lost: whoever has it next goes on with the run", zap.String("notification", n.UUID), zap.String("run", run.ID()), zap.Error(err))
		e.cfg.Observer.HandedOver(run.ID(), true)
		return later(err)
	case err == nil:
		err = fmt.Errorf("run %s has ended and left %d entries to undo: %w", run.ID(), left, recovery.ErrUnavailable)
	}
	return e.release(ctx, j, err)
}

// release gives the claim up: to whoever takes it when this node stops, or when
// the run could not be gone on with here and now.
func (e *Engine) release(ctx context.Context, j *journal, reason error) result {
	fields := []zap.Field{zap.String("notification", j.n.UUID), zap.String("run", j.ID()), zap.Error(reason)}
	if ctx.Err() == nil {
		e.tellWhy(ctx, j, reason)
	}
	if errors.Is(reason, errPanic) {
		j.Close()
	} else {
		relCtx, cancel := lasting(ctx)
		defer cancel()
		if err := j.Release(relCtx); err != nil {
			e.log.Error("claim not given up", append(fields, zap.NamedError("release", err))...)
			j.Close()
		}
	}
	if ctx.Err() != nil {
		e.log.Info("run handed over", fields...)
		e.cfg.Observer.HandedOver(j.ID(), false)
		return result{item: j.item}
	}
	e.log.Warn("run put off", fields...)
	e.cfg.Observer.PutOff(j.item, j.ID(), reason)
	return result{item: j.item, later: true, err: reason, aborted: j.toEnd()}
}

// putOffMark begins the message of a run that could not be gone on with.
const putOffMark = "put off: "

// tellWhy writes into the run's record why it is put off, for a person to see.
func (e *Engine) tellWhy(ctx context.Context, j *journal, reason error) {
	rec, err := j.Record(ctx)
	why := recovery.Shorten(putOffMark+reason.Error(), 4096)
	if err != nil || rec.Finished || rec.Message == why {
		return
	}
	rec.Message = why
	if err := j.Start(ctx, rec); err != nil {
		e.log.Warn("run not told why it is put off", zap.String("run", rec.ID), zap.Error(err))
	}
}

// deliver brings a claimed run to its end. An error means that it did not come
// to one.
func (e *Engine) deliver(ctx context.Context, j *journal) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-j.Lost():
			cancel(recovery.ErrLeaseLost)
		case <-ctx.Done():
		}
	})
	defer wg.Wait()
	defer cancel(nil)

	err := e.perform(ctx, j)
	if err == nil {
		return nil
	}
	if errors.Is(context.Cause(ctx), recovery.ErrLeaseLost) && !errors.Is(err, recovery.ErrLeaseLost) {
		err = errors.Join(recovery.ErrLeaseLost, err)
	}
	if ctx.Err() != nil || errors.Is(err, recovery.ErrLeaseLost) {
		return err
	}
	last, lastErr := j.Record(ctx)
	if lastErr != nil || !j.overdue(last) {
		return errors.Join(err, lastErr)
	}
	// It was aborted, and cannot even be brought to that end.
	if !last.Finished {
		last.Message = ""
		status, reason := recovery.StatusFailed, e.expiry(j.item)
		if last.Abort != nil && !e.expired(j.item) {
			status, reason = last.Abort.Status, last.Abort.Reason
		}
		last = ended(last, status, joined(reason, err.Error()))
	}
	return j.force(ctx, last)
}

func (e *Engine) perform(ctx context.Context, j *journal) error {
	rec, err := j.Record(ctx)
	if err != nil {
		return err
	}
	j.note(rec)
	unwritten := !rec.Finished && len(rec.Plans) == 0
	e.cfg.Observer.Claimed(j.item, rec, j.item.Run != "")
	e.log.Info("run claimed", zap.String("notification", j.n.UUID), zap.String("run", rec.ID), zap.String("host", rec.Host),
		zap.String("server", rec.Server), zap.Int("delivery", rec.Delivery), zap.Bool("resumed", j.item.Run != ""))
	switch {
	case rec.Finished:
	case unwritten:
		if rec, err = e.begin(ctx, j, rec); err != nil || rec.Finished {
			return err
		}
	default:
		if err := e.tooOften(ctx, j, &rec); err != nil {
			return err
		}
	}
	if !rec.Finished {
		e.cfg.Observer.RunStarted(j.n, rec)
	}
	out, err := e.call(ctx, Job{
		Run: j.Run, Notification: j.n, Record: rec, Unwritten: unwritten, Journal: j, Aborted: j.Aborted(),
		Reserved: func(next flow.Reserved) flow.Reserved { return reserved{j.Run, next} },
		Observe:  func(ev recovery.Event) { e.cfg.Observer.RunEvent(rec.ID, ev) },
	})
	if err != nil {
		return err
	}
	if !out.Finished {
		return fmt.Errorf("run %s was performed and has not ended: %w", rec.ID, recovery.ErrInvalid)
	}
	return j.End(ctx, out) // again, for what was left to undo: that may be done by now
}

// errPanic says that nobody knows what a run left under way.
var errPanic = errors.New("panic")

// call performs a job; a panic in it must not take the other runs along.
func (e *Engine) call(ctx context.Context, job Job) (run recovery.Run, err error) {
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("run panicked", zap.String("run", job.Record.ID), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			err = fmt.Errorf("run %s: %w: %v", job.Record.ID, errPanic, p)
		}
	}()
	return e.cfg.Flows.Perform(ctx, job)
}

// begin makes what the run's first record is to say. A run that cannot be begun
// has ended when it comes back.
func (e *Engine) begin(ctx context.Context, j *journal, rec recovery.Run) (recovery.Run, error) {
	rec.Message = "" // why it was put off
	end := func(status recovery.NotificationStatus, message string) (recovery.Run, error) {
		rec = ended(rec, status, message)
		return rec, j.End(ctx, rec)
	}
	if a := rec.Abort; a != nil {
		status := recovery.StatusFailed
		if a.Status == recovery.StatusIgnored {
			status = a.Status
		}
		return end(status, "aborted before it began: "+a.Reason)
	}
	v, seg, err := e.verdict(ctx, j.n)
	if err != nil {
		return rec, err
	}
	if v.status != "" { // it needed a run a moment ago
		return end(v.status, v.message)
	}
	hosts, err := j.Hosts(ctx)
	if err != nil {
		return rec, err
	}
	if v.maintenance {
		if err := e.onMaintenance(ctx, j, rec, hosts); err != nil {
			return rec, err
		}
	}
	if v.supersedes {
		if err := e.supersede(ctx, j.n, j.ID()); err != nil {
			return rec, err
		}
	}
	rec.Flows = v.flows
	if rec.Inputs, err = inputs(j.n, seg, v.flows, hosts); err != nil {
		return end(recovery.StatusFailed, err.Error())
	}
	if rec.Override == "" {
		rec.Override = j.item.Override
	}
	rec.Status, rec.Started = recovery.StatusRunning, time.Now().UTC()
	ready, err := e.cfg.Flows.Prepare(ctx, rec, seg)
	switch {
	case err != nil && passing(ctx, err):
		return rec, err
	case err != nil:
		return end(recovery.StatusFailed, err.Error())
	case len(ready.Plans) == 0:
		return end(recovery.StatusFailed, "no flow was made")
	}
	return ready, nil // its journal's Start writes it, before anything is done
}

// passing reports whether an error is one that goes away by itself.
func passing(ctx context.Context, err error) bool {
	return ctx.Err() != nil || slices.ContainsFunc([]error{
		recovery.ErrUnavailable, recovery.ErrTimeout, recovery.ErrCanceled, recovery.ErrLeaseLost, recovery.ErrInterrupted,
	}, func(target error) bool { return errors.Is(err, target) })
}

// ended gives the run as it ends without its flow.
func ended(run recovery.Run, status recovery.NotificationStatus, message string) recovery.Run {
	run.Status, run.Message, run.Finished, run.Ended = status, joined(run.Message, message), true, time.Now().UTC()
	return run
}

// onMaintenance marks the failed host: no more notifications about it are
// taken, and it is a spare no more.
func (e *Engine) onMaintenance(ctx context.Context, j *journal, run recovery.Run, hosts []recovery.Host) error {
	for _, h := range hosts {
		if h.Name != j.n.HostName {
			continue
		}
		was := h
		h.OnMaintenance = true
		if j.n.Type == recovery.ComputeHost {
			h.Reserved = false
		}
		if h == was {
			return nil
		}
		err := j.UpdateHost(ctx, h)
		e.cfg.Observer.HostChanged(run, h, err)
		if err != nil {
			return fmt.Errorf("host %s: %w", h.Name, err)
		}
		return nil
	}
	return nil // it was deleted; its servers are there all the same
}

// tooOften aborts a run whose task at work has been begun too often: it may be
// what ends the process each time.
func (e *Engine) tooOften(ctx context.Context, j *journal, rec *recovery.Run) error {
	history, err := j.History(ctx)
	if err != nil || len(history) == 0 {
		return err
	}
	last := slices.MaxFunc(history, func(a, b recovery.TaskRecord) int { return a.Seq - b.Seq })
	attempt := last.Attempt
	if last.Revert != nil {
		attempt = last.Revert.Attempt
	}
	if attempt < e.cfg.MaxAttempts || last.Status != recovery.TaskRunning && last.Status != recovery.TaskInterrupted && last.Status != recovery.TaskReverting {
		return nil
	}
	if rec.Abort == nil {
		rec.Abort = &recovery.Abort{
			Mode: recovery.AbortStop, Status: recovery.StatusFailed, By: "engine",
			Reason: fmt.Sprintf("task %s was begun %d times and never came to an end", last.Key, attempt),
		}
	}
	return nil
}
