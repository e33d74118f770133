package hostfuncs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// Guard counts the servers that runs change.
type Guard interface {
	// Server is asked before each change of a server. An error keeps the change
	// from being made; it is a *recovery.HeldError when a bound is reached. It is
	// called from many goroutines.
	Server(ctx context.Context, id string) error
}

// ChangesServer reports whether an op changes servers in a way that the guards
// count. To unlock is to take back a change of the run's own, and all that Undo
// does to servers.
func ChangesServer(op string) bool {
	return strings.HasPrefix(op, "nova.server_") && op != abi.OpNovaServerUnlock
}

// askGuard asks before a change is written down as about to be sent.
func (h *Hatch) askGuard(ctx context.Context, op, target string) error {
	if h.guard == nil || !ChangesServer(op) {
		return nil
	}
	if err := h.guard.Server(ctx, target); err != nil {
		if _, held := errors.AsType[*recovery.HeldError](err); held {
			return err
		}
		return fmt.Errorf("%s: not sent: %w", target, err)
	}
	return nil
}

// noteHeld remembers that a guard refused one of the task's changes.
func (t *TaskHost) noteHeld(err error) {
	if e, ok := errors.AsType[*recovery.HeldError](err); ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.held == nil {
			t.held = e
		}
	}
}

// Held is the guard that refused a change to the task, nil when none did. What
// a recovery left out for a guard must not look like success, whatever the task
// makes of it.
func (t *TaskHost) Held() *recovery.HeldError {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held
}
