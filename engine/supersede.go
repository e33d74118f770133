package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

// supersedePoll is the time between two looks at the runs that are to stop.
const supersedePoll = 250 * time.Millisecond

// errAborted says that the run was aborted while it waited.
var errAborted = errors.New("aborted")

// supersede ends what was to be done about the servers of the run's host, and
// returns when no other run holds one. The claim of the host keeps new ones
// away.
func (e *Engine) supersede(ctx context.Context, n recovery.Notification, run Run, aborted <-chan struct{}) error {
	text := fmt.Sprintf("superseded: run %s recovers host %s and all its servers", run.ID(), n.HostName)
	abort := recovery.Abort{Mode: recovery.AbortStop, Reason: text, By: "run:" + run.ID(), Status: recovery.StatusIgnored}
	asked := map[string]bool{}
	giveUp := time.After(e.cfg.SupersedeWait)
	for {
		items, err := e.cfg.Store.Queue(ctx)
		if err != nil {
			return err
		}
		for _, it := range items {
			if it.Type != recovery.VM || it.Host != n.HostName || asked[it.Run] {
				continue
			}
			if it.Run == "" {
				err = e.cfg.Store.EndNotification(ctx, it.Notification, recovery.StatusIgnored, text)
			} else {
				asked[it.Run] = true
				err = e.cfg.Store.Abort(ctx, it.Run, abort)
			}
			switch {
			case err == nil:
				e.log.Info("notification superseded", zap.String("notification", it.Notification), zap.String("run", it.Run), zap.String("by", run.ID()))
				e.cfg.Observer.Superseded(it, run.ID())
			case !gone(err):
				return fmt.Errorf("notification %s: %w", it.Notification, err)
			}
		}
		runs, err := run.VMRuns(ctx)
		if err != nil {
			return err
		}
		if len(runs) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w while it waited for the runs of servers", recovery.ErrInterrupted)
		case <-aborted:
			return errAborted
		case <-giveUp:
			return fmt.Errorf("%d runs of servers of host %s do not stop: %w", len(runs), n.HostName, recovery.ErrTimeout)
		case <-time.After(supersedePoll):
		}
	}
}
