package engine

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

// supersede ends the notifications about servers of the run's host that wait
// for a run: this run is about all of them. Those that had one were ended
// before the host could be claimed, and the claim keeps new ones away.
func (e *Engine) supersede(ctx context.Context, n recovery.Notification, run string) error {
	items, err := e.cfg.Store.Queue(ctx)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("superseded: run %s recovers host %s and all its servers", run, n.HostName)
	for _, it := range items {
		if it.Type != recovery.VM || it.Host != n.HostName || it.Run != "" {
			continue
		}
		err := e.cfg.Store.EndNotification(ctx, it.Notification, recovery.StatusIgnored, text)
		switch {
		case err == nil:
			e.log.Info("notification superseded", zap.String("notification", it.Notification), zap.String("by", run))
			e.cfg.Observer.Superseded(it, run)
		case !gone(err):
			return fmt.Errorf("notification %s: %w", it.Notification, err)
		}
	}
	return nil
}
