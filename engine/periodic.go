package engine

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

// expire fails the notifications that are too old: at once when no run was
// begun, else by an abort, so that nothing goes on unseen. One that cannot be
// ended does not keep the others.
func (e *Engine) expire(ctx context.Context) {
	items, err := e.cfg.Store.Queue(ctx)
	if err != nil {
		return // the next look at the queue tells
	}
	for _, it := range items {
		if !e.expired(it) {
			continue
		}
		if it.Run == "" {
			err = e.cfg.Store.EndNotification(ctx, it.Notification, recovery.StatusFailed, e.expiry(it))
		} else {
			err = e.cfg.Store.Abort(ctx, it.Run, recovery.Abort{
				Mode: recovery.AbortStop, Reason: e.expiry(it), By: "engine", Status: recovery.StatusFailed,
			})
		}
		switch {
		case err == nil:
			e.log.Warn("notification expired", zap.String("notification", it.Notification), zap.String("run", it.Run))
		case errors.Is(err, recovery.ErrExists), gone(err):
		default:
			e.log.Warn("notification not expired", zap.String("notification", it.Notification), zap.Error(err))
		}
	}
}
