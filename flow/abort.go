package flow

import (
	"context"
	"errors"
	"fmt"

	"github.com/wasakari/wasakari/recovery"
)

// abortion is the cause with which the contexts of an aborted run end.
type abortion struct{ recovery.Abort }

func (a *abortion) Error() string {
	by := ""
	if a.By != "" {
		by = " by " + a.By
	}
	return recovery.Shorten(fmt.Sprintf("aborted%s: %s", by, a.Reason), maxMessage)
}

// status is that with which the run ends.
func (a *abortion) status() recovery.NotificationStatus {
	if a.Status == recovery.StatusIgnored {
		return recovery.StatusIgnored
	}
	return recovery.StatusFailed
}

// watchAborts makes the contexts of tasks and reverts. What is known of an
// abort when it returns is taken note of already: a run that is resumed must
// begin nothing. The caller calls release when the run is over, which waits.
func (r *executor) watchAborts(ctx context.Context) (release func()) {
	work, endWork := context.WithCancelCause(ctx)
	reverts, endReverts := context.WithCancelCause(ctx)
	r.work, r.reverts = work, reverts
	abort := func(a recovery.Abort) {
		endWork(&abortion{a})
		if a.Mode == recovery.AbortStop {
			endReverts(&abortion{a})
		}
	}
	if r.Run.Abort != nil {
		abort(*r.Run.Abort)
	}
	for open := true; open; {
		select {
		case a, ok := <-r.Aborted:
			if open = ok; ok {
				abort(a)
			}
		default:
			open = false
		}
	}
	over, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case <-over:
				return
			case a, ok := <-r.Aborted:
				if !ok {
					return
				}
				abort(a)
			}
		}
	}()
	return func() {
		close(over)
		<-watched
		endWork(nil)
		endReverts(nil)
	}
}

// aborted gives the strictest abort that came, nil when there is none.
func (r *executor) aborted() *abortion {
	for _, ctx := range []context.Context{r.reverts, r.work} {
		if a, ok := errors.AsType[*abortion](context.Cause(ctx)); ok {
			return a
		}
	}
	return nil
}

// abortedTask turns the end of a task that an abort stopped into a failure. A
// task that came to another end in spite of it keeps that.
func (r *executor) abortedTask(ctx context.Context, out *recovery.Outcome) {
	if a := r.aborted(); a != nil && ctx.Err() == nil && out.Status == recovery.TaskInterrupted {
		out.Status, out.Message = recovery.TaskFailed, a.Error()
	}
}
