package hostfuncs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// undoers is how many servers are unlocked at a time by Undo.
const undoers = 8

// each calls f with 0 to n−1, at most limit at a time, and waits for all.
func each(n, limit int, f func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, max(limit, 1))
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wg.Wait()
}

// Undo first finds out what became of changes whose outcome is still unknown,
// because the time of their task was over: the next run knows nothing of them.
// Then it works the run's undo list off, newest first; locks on servers, which do
// not depend on one another, several at a time. What was done to reserved hosts
// comes last and stays where SettleReserved keeps the host. An entry is dropped
// when it is done, or when there is nothing to undo any more (server deleted,
// lock gone or somebody else's). Entries that could not be undone stay, as do
// changes whose outcome stays unknown, and the error joins the reasons. It may be
// called again. It ends after 20 NovaTimeouts at most.
func (h *Hatch) Undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*h.opt.NovaTimeout, fmt.Errorf("undo took too long: %w", recovery.ErrTimeout))
	defer cancel()
	errs := []error{h.settleLeft(ctx), h.undo(ctx, func(u recovery.Undo) bool { return !ofHost(u, u.Host) })}
	list, err := h.ledger.Undos(ctx)
	if err != nil {
		return fmt.Errorf("undo list: %w", err)
	}
	settled := map[string]bool{}
	for _, u := range slices.Backward(list) {
		if ofHost(u, u.Host) && !settled[u.Host] {
			settled[u.Host] = true
			errs = append(errs, h.SettleReserved(ctx, u.Host))
		}
	}
	return errors.Join(errs...)
}

func (h *Hatch) undo(ctx context.Context, which func(recovery.Undo) bool) error {
	list, err := h.ledger.Undos(ctx)
	if err != nil {
		return fmt.Errorf("undo list: %w", err)
	}
	slices.Reverse(list)
	list = slices.DeleteFunc(list, func(u recovery.Undo) bool { return !which(u) })
	errs := make([]error, len(list))
	for i := 0; i < len(list); {
		// A stretch of locks goes at once, anything else alone.
		n := 1
		for list[i].Kind == recovery.UndoLock && i+n < len(list) && list[i+n].Kind == recovery.UndoLock {
			n++
		}
		each(n, undoers, func(k int) { errs[i+k] = h.undoOne(ctx, list[i+k]) })
		i += n
	}
	return errors.Join(errs...)
}

var undoing = by{task: "undo", attempt: 1}

func (h *Hatch) undoOne(ctx context.Context, u recovery.Undo) error {
	var err error
	switch u.Kind {
	case recovery.UndoLock:
		_, _, err = h.unlock(ctx, undoing, u.Target)
	case recovery.UndoServiceEnable:
		err = h.undoEnable(ctx, u)
	case recovery.UndoAggregateHost:
		err = h.undoAggregate(ctx, u)
	default:
		err = fmt.Errorf("unknown kind: %w", recovery.ErrInvalid)
	}
	if isNotFound(err) {
		err = nil // what is gone needs no undoing
	}
	if err == nil {
		err = h.ledger.DropUndo(ctx, u.Key)
	}
	if err != nil {
		return fmt.Errorf("undo %s: %w", u.Key, err)
	}
	return nil
}

// undoEnable disables the service of a reserved host again.
func (h *Hatch) undoEnable(ctx context.Context, u recovery.Undo) error {
	var s recovery.ComputeService
	_, _, err := h.ensure(ctx, undoing, ensured{
		op: abi.OpNovaServiceDisable, target: serviceTarget(u.Host, novaCompute),
		done: func(ctx context.Context) (_ bool, err error) {
			s, err = h.service(ctx, u.Host, novaCompute)
			return s.Status == statusDisabled, err
		},
		send: func(ctx context.Context) (string, error) {
			_, id, err := h.cloud.UpdateService(ctx, s.ID, recovery.ServiceUpdate{Status: statusDisabled, DisabledReason: u.Reason})
			return id, err
		},
	})
	return err
}

// undoAggregate takes a reserved host out of an aggregate again.
func (h *Hatch) undoAggregate(ctx context.Context, u recovery.Undo) error {
	id, err := strconv.Atoi(u.Target)
	if err != nil {
		return fmt.Errorf("aggregate id %q: %w", u.Target, recovery.ErrInvalid)
	}
	_, err = h.removeFromAggregate(ctx, undoing, id, u.Host)
	return err
}

// SettleReserved decides what becomes of a reserved host that the run claimed:
// it is used up when a server came to it, whatever its latest vmove says, and is
// given back when none did. While one is on its way there everything stays, the
// entries of the undo list too: Undo asks again.
func (h *Hatch) SettleReserved(ctx context.Context, host string) error {
	use, err := h.useOf(ctx, host)
	switch {
	case err != nil:
		return fmt.Errorf("reserved host %s: %w", host, err)
	case use == taken:
		return h.keepReserved(ctx, host)
	case use == awaited:
		return nil
	}
	return h.releaseReserved(ctx, host)
}

// use is what the servers of a run make of a reserved host.
type use int

const (
	unused  use = iota
	awaited     // one is on its way there
	taken       // one is there
)

func (h *Hatch) useOf(ctx context.Context, host string) (use, error) {
	moves, err := h.vmoveList(ctx, true)
	if err != nil {
		return unused, fmt.Errorf("vmoves: %w", err)
	}
	if slices.ContainsFunc(moves, func(m recovery.VMove) bool { return m.DestHost == host }) {
		return taken, nil
	}
	if h.run.FailedHost == "" {
		return unused, nil
	}
	// A wait that ran out, or was stopped, does not stop the evacuation that it
	// waited for.
	evacuations, err := h.evacuationsFrom(ctx, h.run.FailedHost)
	if err != nil {
		return unused, fmt.Errorf("evacuations to it: %w", err)
	}
	found, ended := unused, []string{}
	for _, m := range moves {
		e, ok := newest(evacuations[m.InstanceUUID])
		switch {
		case !ok || string(e.DestCompute) != host:
		case e.Open():
			found = awaited
		default:
			ended = append(ended, m.InstanceUUID)
		}
	}
	if len(ended) == 0 {
		return found, nil
	}
	// The record may be of former times: where the server is decides.
	there, err := h.listHost(ctx, host)
	if err != nil {
		return unused, fmt.Errorf("servers on it: %w", err)
	}
	if slices.ContainsFunc(ended, func(id string) bool { return there[id].ID != "" }) {
		found = taken
	}
	return found, nil
}

// keepReserved makes a reserved host an ordinary one: its service stays
// enabled, it stays in its aggregates, and its record says reserved no more.
func (h *Hatch) keepReserved(ctx context.Context, host string) error {
	if err := h.setReserved(ctx, host, false); err != nil {
		return err
	}
	list, err := h.ledger.Undos(ctx)
	if err != nil {
		return fmt.Errorf("reserved host %s: undo list: %w", host, err)
	}
	var errs []error
	for _, u := range list {
		if ofHost(u, host) {
			errs = append(errs, h.ledger.DropUndo(ctx, u.Key))
		}
	}
	return errors.Join(errs...)
}

// releaseReserved gives a reserved host back: what was done to it is undone
// now, and its record says reserved.
func (h *Hatch) releaseReserved(ctx context.Context, host string) error {
	return errors.Join(
		h.undo(ctx, func(u recovery.Undo) bool { return ofHost(u, host) }),
		h.setReserved(ctx, host, true),
	)
}

// ofHost says whether u undoes something that was done to host as such.
func ofHost(u recovery.Undo, host string) bool {
	return u.Host == host && (u.Kind == recovery.UndoServiceEnable || u.Kind == recovery.UndoAggregateHost)
}

// setReserved changes the host's record; a host without one is left alone.
func (h *Hatch) setReserved(ctx context.Context, host string, reserved bool) error {
	_, err := h.updateHost(ctx, undoing, host, func(r *recovery.Host) { r.Reserved = reserved })
	if err != nil && !isNotFound(err) {
		return fmt.Errorf("reserved host %s: %w", host, err)
	}
	return nil
}

// pushUndo writes an entry of the undo list, before what it undoes is done.
func (h *Hatch) pushUndo(ctx context.Context, kind recovery.UndoKind, target, host, reason string) error {
	u := recovery.Undo{Key: undoKey(kind, target, host), Kind: kind, Target: target, Host: host, Reason: reason}
	if err := h.ledger.PushUndo(ctx, u); err != nil {
		return fmt.Errorf("undo list: %s: %w", u.Key, err)
	}
	return nil
}

func undoKey(kind recovery.UndoKind, target, host string) string {
	if kind == recovery.UndoAggregateHost {
		return string(kind) + "/" + target + "/" + host
	}
	return string(kind) + "/" + target
}
