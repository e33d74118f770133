// Package lifecycle tells the service manager (systemd's notify protocol) how
// the process stands. Without one, that is without NOTIFY_SOCKET, nothing is
// told and nothing goes wrong.
package lifecycle

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// Notifier tells the service manager. The zero value is usable; it is safe for
// concurrent use.
type Notifier struct {
	// Logger is told when the manager cannot be reached. Defaults to zap.NewNop.
	Logger *zap.Logger
}

// Ready tells that the service is up, or up again after Reloading; status is a
// line for people.
func (n Notifier) Ready(status string) { n.tell(daemon.SdNotifyReady, line(status)) }

// Reloading tells that the configuration is read again. Ready ends it.
func (n Notifier) Reloading() {
	n.tell(daemon.SdNotifyReloading, strings.TrimSuffix(daemon.SdNotifyMonotonicUsec(), "\n"))
}

// Stopping tells that the service ends; status says what it waits for.
func (n Notifier) Stopping(status string) { n.tell(daemon.SdNotifyStopping, line(status)) }

// Status tells a line for people.
func (n Notifier) Status(status string) { n.tell(line(status)) }

func line(status string) string { return "STATUS=" + strings.ReplaceAll(status, "\n", "; ") }

func (n Notifier) tell(states ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(states, "\n")); err != nil && n.Logger != nil {
		n.Logger.Warn("service manager not told", zap.Strings("states", states), zap.Error(err))
	}
}

// Watchdog tells the manager that the process is alive, at half the interval
// that WATCHDOG_USEC asks for, as long as alive returns nil in that time; the
// manager kills and starts again a process that is silent. It returns when ctx
// ends, at once when nobody asks.
//
// alive must not depend on others: a store that is away is not mended by
// killing those that wait for it.
func (n Notifier) Watchdog(ctx context.Context, alive func(context.Context) error) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		if err != nil && n.Logger != nil {
			n.Logger.Warn("watchdog not understood", zap.Error(err))
		}
		return
	}
	every := time.NewTicker(interval / 2)
	defer every.Stop()
	for {
		if n.check(ctx, interval/2, alive) {
			n.tell(daemon.SdNotifyWatchdog)
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

func (n Notifier) check(ctx context.Context, limit time.Duration, alive func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := alive(ctx)
	if err != nil && n.Logger != nil && !errors.Is(ctx.Err(), context.Canceled) {
		n.Logger.Error("not alive", zap.Error(err))
	}
	return err == nil
}
