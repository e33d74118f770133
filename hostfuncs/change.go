package hostfuncs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// by says for which task a change is made.
type by struct {
	task    string
	attempt int
}

func (t *TaskHost) by() by { return by{task: t.call.Task.Key, attempt: t.call.Attempt} }

// errLeave is what a change's read returns when nothing has to be sent.
var errLeave = errors.New("nothing to do")

// change is a change that must not be sent twice. What it did is told by the
// identities that Nova gives to such changes of the target.
type change struct {
	op, target string
	// read reads the target, refuses (or returns errLeave), and returns the
	// identities that are there now.
	read func(ctx context.Context) (known []string, err error)
	send func(ctx context.Context) (requestID string, err error)
}

// guarded does c: read, intent, lease check, one request, result. The order is
// that of every change of Nova, for every task alike. An unknown outcome is
// looked into; a request that never arrived is made once more.
func (h *Hatch) guarded(ctx context.Context, b by, c change) (requestID string, err error) {
	ctx, cancel := h.bounded(ctx)
	defer cancel()
	unlock, err := h.targets.lock(ctx, c.target)
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := h.settleUnsettled(ctx, c.op, c.target); err != nil {
		return "", err
	}
	for try := 1; ; try++ {
		known, err := c.read(ctx)
		if errors.Is(err, errLeave) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		in, lost, err := h.attempt(ctx, b, c.op, c.target, known, c.send)
		if !lost {
			return in.RequestID, err
		}
		h.log.Warn("outcome of a change is unknown", zap.String("op", c.op), zap.String("target", c.target), zap.Error(err))
		if err := h.resolve(ctx, &in, time.Now().Add(h.opt.OutcomeWait)); err != nil {
			return "", err
		}
		if in.State == recovery.IntentDone {
			return in.RequestID, nil
		}
		if try == 2 {
			return "", abi.Errorf(abi.ErrnoUnavailable, "%s %s: sent twice, and twice neither answer nor trace came: %v", c.op, c.target, err)
		}
	}
}

// ensured is a change that may be repeated: it leads to a state.
type ensured struct {
	op, target string
	// done reads the target and says whether it is as wanted, or refuses.
	done func(ctx context.Context) (bool, error)
	// before is called before the first request, to put the undo list in order.
	// May be nil.
	before func(ctx context.Context) error
	send   func(ctx context.Context) (requestID string, err error)
}

// ensure does e unless the target is as wanted. After an unknown outcome it
// reads again and repeats the request once. changed says that a request was
// sent.
func (h *Hatch) ensure(ctx context.Context, b by, e ensured) (requestID string, changed bool, err error) {
	ctx, cancel := h.bounded(ctx)
	defer cancel()
	unlock, err := h.targets.lock(ctx, e.target)
	if err != nil {
		return "", false, err
	}
	defer unlock()
	for try := 1; ; try++ {
		done, err := e.done(ctx)
		for ; changed && err != nil && passing(err) && ctx.Err() == nil; done, err = e.done(ctx) {
			pause(ctx, h.opt.VerifyInterval)
		}
		if err != nil || done {
			return requestID, changed, err
		}
		if try == 3 {
			return "", changed, abi.Errorf(abi.ErrnoUnavailable, "%s %s: sent twice, and twice without answer or effect", e.op, e.target)
		}
		if try == 1 && e.before != nil {
			if err := e.before(ctx); err != nil {
				return "", false, err
			}
		}
		in, lost, err := h.attempt(ctx, b, e.op, e.target, nil, e.send)
		if !lost {
			return in.RequestID, err == nil, err
		}
		changed = true
		in.State, in.Message = recovery.IntentLost, "no answer; the target is read again"
		if err := h.endIntent(ctx, in); err != nil {
			return "", changed, err
		}
	}
}

// attempt writes the intent, checks the lease, sends once and writes the
// result. lost says that the outcome is unknown: the intent stays open.
func (h *Hatch) attempt(ctx context.Context, b by, op, target string, known []string, send func(context.Context) (string, error)) (in recovery.Intent, lost bool, err error) {
	if err := h.askGuard(ctx, op, target); err != nil {
		return in, false, err
	}
	in = recovery.Intent{
		ID: uuid.NewString(), Op: op, Target: target, Task: b.task, Attempt: b.attempt,
		Started: time.Now().UTC(), Known: known, State: recovery.IntentOpen,
	}
	if err := h.ledger.BeginIntent(ctx, in); err != nil {
		return in, false, fmt.Errorf("recording the intent of %s %s: %w", op, target, err)
	}
	end := func(s recovery.IntentState, message string) error {
		in.State, in.Message = s, recovery.Cut(message, maxText)
		return h.endIntent(ctx, in)
	}
	if err := h.ledger.Check(ctx, h.opt.NovaTimeout); err != nil {
		return in, false, errors.Join(fmt.Errorf("%s %s: not sent: %w", op, target, err), end(recovery.IntentLost, "not sent: "+err.Error()))
	}
	sctx, cancel := context.WithTimeout(ctx, h.opt.NovaTimeout)
	in.RequestID, err = send(sctx)
	cancel()
	switch {
	case err == nil:
		return in, false, end(recovery.IntentDone, "")
	case unknown(err):
		return in, true, err
	}
	if ce, ok := errors.AsType[*recovery.CloudError](err); ok {
		in.RequestID = ce.RequestID
	}
	return in, false, errors.Join(err, end(recovery.IntentRefused, err.Error()))
}

// bounded gives a change the time that it may take at most: two tries, each
// with reads, one request and the look after a lost answer. It waits for the
// run's first change before: that is not of the change's time.
func (h *Hatch) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	pause(ctx, time.Until(h.run.FirstChange))
	return context.WithTimeoutCause(ctx, 2*(h.opt.OutcomeWait+5*h.opt.NovaTimeout), errTooLong)
}

var errTooLong = fmt.Errorf("the change took too long: %w", recovery.ErrTimeout)

// resolve looks for the trace of an open intent until it is found, or until
// passed without one, and writes the result. When Nova cannot be read, the
// intent stays open and is remembered; the error says so.
func (h *Hatch) resolve(ctx context.Context, in *recovery.Intent, until time.Time) error {
	read, traced := h.traces(*in)
	if !traced {
		in.State, in.Message = recovery.IntentLost, "may be repeated; the target is read before"
		return h.closeIntent(ctx, *in)
	}
	// With an unreadable Nova the outcome stays unknown, which blocks the target:
	// give it a little longer.
	last := until.Add(2 * h.opt.NovaTimeout)
	for {
		began := time.Now()
		ids, requestID, err := read(ctx)
		if err == nil {
			if i := slices.IndexFunc(ids, func(id string) bool { return !slices.Contains(in.Known, id) }); i >= 0 {
				in.State, in.RequestID, in.Message = recovery.IntentDone, requestID(ids[i]), "the answer was lost, the change was found"
				return h.closeIntent(ctx, *in)
			}
			if !began.Before(until) {
				in.State, in.Message = recovery.IntentLost, "no trace of it after "+h.opt.OutcomeWait.String()
				return h.closeIntent(ctx, *in)
			}
		}
		if isNotFound(err) {
			in.State, in.Message = recovery.IntentLost, "the server is gone"
			return h.closeIntent(ctx, *in)
		}
		if err != nil && (!passing(err) || ctx.Err() != nil || !began.Before(last)) {
			h.unsettledMu.Lock()
			h.unsettled[in.Op+" "+in.Target] = *in
			h.unsettledMu.Unlock()
			return fmt.Errorf("the outcome of %s %s is unknown and stays so: %w", in.Op, in.Target, err)
		}
		pause(ctx, time.Until(began.Add(h.opt.VerifyInterval)))
	}
}

func (h *Hatch) closeIntent(ctx context.Context, in recovery.Intent) error {
	h.unsettledMu.Lock()
	delete(h.unsettled, in.Op+" "+in.Target)
	h.unsettledMu.Unlock()
	return h.endIntent(ctx, in)
}

// endIntent writes the result even when the time of the task is over: else the
// change would stay open after the end of its run.
func (h *Hatch) endIntent(ctx context.Context, in recovery.Intent) error {
	if h.changed != nil {
		h.changed(in)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resultBound)
	defer cancel()
	if err := h.ledger.EndIntent(ctx, in); err != nil {
		return fmt.Errorf("recording the outcome (%s) of %s %s: %w", in.State, in.Op, in.Target, err)
	}
	return nil
}

// settleUnsettled resolves an earlier change of the kind whose outcome stayed
// unknown: nothing is sent before it is known.
func (h *Hatch) settleUnsettled(ctx context.Context, op, target string) error {
	h.unsettledMu.Lock()
	in, ok := h.unsettled[op+" "+target]
	h.unsettledMu.Unlock()
	if !ok {
		return nil
	}
	return h.resolve(ctx, &in, time.Now().Add(h.opt.OutcomeWait))
}

// traces gives what reads the identities of changes like in, and the request
// id for one of them; false for changes that may be repeated.
func (h *Hatch) traces(in recovery.Intent) (read func(context.Context) (ids []string, requestID func(id string) string, err error), ok bool) {
	if in.Op == abi.OpNovaServerEvacuate {
		return func(ctx context.Context) ([]string, func(string) string, error) {
			ms, err := h.flights.evacuations.ask(ctx, in.Target)
			if err != nil {
				return nil, nil, err
			}
			return migrationIDs(ms[in.Target]), func(string) string { return h.newestRequest(ctx, in.Target, "evacuate") }, nil
		}, true
	}
	action, ok := actionNames[in.Op]
	if !ok {
		return nil, false
	}
	return func(ctx context.Context) ([]string, func(string) string, error) {
		ids, err := h.actionIDs(ctx, in.Target, action)
		return ids, func(id string) string { return id }, err
	}, true
}

// actionNames says how Nova names the action of an op in os-instance-actions.
var actionNames = map[string]string{
	abi.OpNovaServerStop:        "stop",
	abi.OpNovaServerStart:       "start",
	abi.OpNovaServerReboot:      "reboot",
	abi.OpNovaServerMigrate:     "migrate",
	abi.OpNovaServerLiveMigrate: "live-migration",
}

// actionIDs gives the request ids of a server's actions of one name.
func (h *Hatch) actionIDs(ctx context.Context, id, action string) ([]string, error) {
	actions, err := h.cloud.Actions(ctx, id)
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for _, a := range actions {
		if a.Action == action {
			ids = append(ids, a.RequestID)
		}
	}
	return ids, nil
}

// newestRequest finds the request id of a server's newest action of one name,
// "" when it cannot be had: it is for people only.
func (h *Hatch) newestRequest(ctx context.Context, id, action string) string {
	actions, err := h.cloud.Actions(ctx, id)
	if err != nil {
		return ""
	}
	newest := recovery.ServerAction{}
	for _, a := range actions {
		if a.Action == action && a.StartTime > newest.StartTime {
			newest = a
		}
	}
	return newest.RequestID
}

// resultBound is how long writing a result may take.
const resultBound = 30 * time.Second

// Settle resolves, at resume, each intent that has no result: it looks for the
// change until it is found, or until OutcomeWait has passed without it, and not
// less than until the run's first change. The error joins those of intents that
// stay open because Nova could not be read.
func (h *Hatch) Settle(ctx context.Context) error {
	until := time.Now().Add(h.opt.OutcomeWait)
	if until.Before(h.run.FirstChange) {
		until = h.run.FirstChange
	}
	ctx, cancel := context.WithDeadlineCause(ctx, until.Add(h.opt.OutcomeWait+10*h.opt.NovaTimeout), errTooLong)
	defer cancel()
	return h.settleOpen(ctx, func(recovery.Intent) time.Time { return until })
}

// settleLeft brings the intents that are open at the end of the run to their own
// end.
func (h *Hatch) settleLeft(ctx context.Context) error {
	// As long after it was sent as after any other.
	return h.settleOpen(ctx, func(in recovery.Intent) time.Time { return in.Started.Add(h.opt.NovaTimeout + h.opt.OutcomeWait) })
}

// settleOpen resolves each intent that has no result; until says how long one is
// looked for.
func (h *Hatch) settleOpen(ctx context.Context, until func(recovery.Intent) time.Time) error {
	open, err := h.ledger.OpenIntents(ctx)
	if err != nil {
		return fmt.Errorf("open intents: %w", err)
	}
	// All look at once: their waits are one wait.
	errs := make([]error, len(open))
	each(len(open), len(open), func(i int) { errs[i] = h.resolve(ctx, &open[i], until(open[i])) })
	return errors.Join(errs...)
}
