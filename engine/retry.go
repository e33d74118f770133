package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

// The waits after what was no run's end: the store or the cloud was away.
const (
	firstWait = time.Second
	mostWait  = 5 * time.Minute
)

// backoff gives the wait before try n, from 1: first, doubled from one to the
// next, at most most; up to a quarter less, so that nodes and notifications do
// not move in step.
func backoff(n int, first, most time.Duration) time.Duration {
	d := first
	for ; n > 1 && d < most; n-- {
		d *= 2
	}
	d = min(d, most)
	return d - rand.N(d/4+1) //nolint:gosec // no secret
}

// journal is the journal of a run whose end decides what becomes of the
// notification. It serves flow.Journal.
type journal struct {
	Run
	e    *Engine
	n    recovery.Notification
	item recovery.QueueItem
	// tries counts how often this node could not bring the run, once it was
	// aborted, to its end.
	tries int

	mu    sync.Mutex
	ended bool // nothing is left to be done
	left  int  // that it ended but for so much to undo, or to find out
	abort bool // it is aborted
}

// End writes how the run ended: for good, to be tried again, or, with
// something left to undo or to find out, kept until that is worked off.
func (j *journal) End(ctx context.Context, run recovery.Run) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended {
		return nil
	}
	j.abort = j.abort || run.Abort != nil
	undos, err := j.Undos(ctx)
	if err != nil {
		return err
	}
	// Nor may another run begin while a change of this one may yet arrive.
	open, err := j.OpenIntents(ctx)
	if err != nil {
		return err
	}
	if j.left = len(undos) + len(open); j.left > 0 && !j.overdue(run) {
		return j.Start(ctx, run)
	}
	return j.end(ctx, run, j.left > 0)
}

// force ends the run as it is, whatever is left.
func (j *journal) force(ctx context.Context, run recovery.Run) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended {
		return nil
	}
	return j.end(ctx, run, true)
}

func (j *journal) end(ctx context.Context, run recovery.Run, leave bool) error {
	var again time.Duration
	if !leave {
		var message string
		again, message = j.e.again(run, j.item)
		run.Message = joined(run.Message, message)
	}
	var err error
	switch {
	case leave:
		err = j.EndLeaving(ctx, run)
	case again > 0:
		notBefore := time.Now().Add(again).UTC()
		if err = j.EndRetry(ctx, run, notBefore); err == nil {
			j.e.log.Warn("run failed, to be tried again", j.fields(run, zap.Time("not_before", notBefore))...)
			j.e.cfg.Observer.Retried(j.n, run, notBefore)
		}
	default:
		err = j.Run.End(ctx, run)
	}
	if err != nil {
		return err
	}
	j.ended, j.left = true, 0
	status := run.Status
	if again > 0 {
		status = recovery.StatusError
	} else {
		j.e.log.Info("notification ended", j.fields(run, zap.String("status", string(status)))...)
	}
	j.e.cfg.Observer.RunEnded(j.n, run, status)
	return nil
}

func (j *journal) fields(run recovery.Run, more ...zap.Field) []zap.Field {
	return append([]zap.Field{
		zap.String("notification", j.n.UUID), zap.String("run", run.ID), zap.Int("delivery", run.Delivery), zap.String("reason", run.Message),
	}, more...)
}

// state tells whether the run has ended, and how much it left to undo.
func (j *journal) state() (ended bool, left int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ended, j.left
}

// note takes note of whether the run is aborted.
func (j *journal) note(run recovery.Run) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.abort = run.Abort != nil
}

// toEnd reports whether the run is known to be aborted.
func (j *journal) toEnd() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.abort
}

// again says how long to wait before a run that ended is followed by another
// one; 0: it is not, and the message says why when it failed.
//
// What a person or a guard stopped is not tried again by itself, and neither is
// what no flow could be made for.
func (e *Engine) again(run recovery.Run, item recovery.QueueItem) (time.Duration, string) {
	intervals := *e.intervals.Load()
	switch {
	case run.Status != recovery.StatusFailed, run.Abort != nil, run.Held != nil, len(run.Plans) == 0:
		return 0, ""
	case e.expired(item):
		return 0, "not tried again: " + e.expiry(item)
	case intervals.Unfinished < 0:
		return 0, "not tried again: process_unfinished_notifications_interval is negative"
	case run.Delivery >= e.cfg.MaxDeliveries:
		return 0, fmt.Sprintf("given up after try %d of %d", run.Delivery, e.cfg.MaxDeliveries)
	}
	return backoff(run.Delivery, intervals.Unfinished, max(e.cfg.MaxWait, intervals.Unfinished)), ""
}

// expired reports whether the notification is too old to be worked on.
func (e *Engine) expired(item recovery.QueueItem) bool {
	i := e.intervals.Load()
	return i.CheckExpired >= 0 && time.Since(item.Added) >= i.Expired
}

const (
	// lastGrace is how long a run that was aborted because its notification
	// expired may take to come to an end by itself.
	lastGrace = time.Hour
	// supersededTries is how often a run of a server is brought to its end in vain
	// before the recovery of its host waits no longer: about a minute. Any other
	// run that is aborted has abortedTries: about an hour.
	supersededTries = 6
	abortedTries    = 20
)

// overdue reports whether the run must end now, whatever it leaves behind.
func (j *journal) overdue(run recovery.Run) bool {
	if run.Abort != nil && (j.tries >= abortedTries || run.Abort.Status == recovery.StatusIgnored && j.tries >= supersededTries) {
		return true
	}
	return j.e.expired(j.item) && time.Since(j.item.Added) >= j.e.intervals.Load().Expired+lastGrace
}

func (e *Engine) expiry(item recovery.QueueItem) string {
	return fmt.Sprintf("the notification was accepted at %s and expired after %s", item.Added.UTC().Format(time.RFC3339), e.intervals.Load().Expired)
}

func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// gone reports whether the error says that somebody else has done it.
func gone(err error) bool {
	return errors.Is(err, recovery.ErrNotFound) || errors.Is(err, recovery.ErrConflict) || errors.Is(err, recovery.ErrExists)
}
