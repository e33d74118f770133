package hostfuncs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// until says when a wait for a server is over.
type until struct {
	id, kind, fromHost string
	vmStates           []string
}

// What server_wait says of a server.
const (
	outcomeReached = "reached"
	outcomeError   = "error"
	outcomeDeleted = "deleted"
)

// judge gives the outcome, "" when the wait goes on.
//
// An evacuated server may be seen active, without task state and still on the
// old host for a tenth of a second before its host changes; and one that was in
// error before looks as if its evacuation had failed. So what counts as failure
// is the server's newest evacuation, and the server's fault only without one.
func (h *Hatch) judge(ctx context.Context, u until, s recovery.Server, v *serversView) (outcome, message string, err error) {
	if s.VMState == stateDeleted {
		return outcomeDeleted, "", nil
	}
	if s.TaskState != "" {
		return "", "", nil
	}
	switch u.kind {
	case "task_clear":
		return outcomeReached, "", nil
	case "vm_state":
		if slices.Contains(u.vmStates, s.VMState) {
			return outcomeReached, "", nil
		}
		if s.VMState == stateError {
			return outcomeError, faultOf(s, "the server is in error"), nil
		}
		return "", "", nil
	}
	if s.Host != "" && s.Host != u.fromHost {
		return outcomeReached, "", nil
	}
	evacuations, err := v.evacuations(ctx, u.fromHost)
	if err != nil {
		return "", "", err
	}
	if m, ok := newest(evacuations[u.id]); ok {
		if m.Status == "error" || m.Status == "failed" {
			return outcomeError, faultOf(s, "evacuation "+migrationID(m)+" ended in "+m.Status), nil
		}
		return "", "", nil
	}
	if s.VMState == stateError && s.Fault != nil {
		return outcomeError, faultOf(s, ""), nil
	}
	return "", "", nil
}

func faultOf(s recovery.Server, otherwise string) string {
	if s.Fault != nil && s.Fault.Message != "" {
		return recovery.Cut(s.Fault.Message, maxText)
	}
	return otherwise
}

// newest gives the migration that was made last.
func newest(ms []recovery.Migration) (recovery.Migration, bool) {
	if len(ms) == 0 {
		return recovery.Migration{}, false
	}
	return slices.MaxFunc(ms, func(a, b recovery.Migration) int { return a.ID - b.ID }), true
}

// serverWait implements abi.OpNovaServerWait.
func serverWait(ctx context.Context, t *TaskHost, req abi.NovaServerWaitRequest) (json.RawMessage, error) {
	h := t.h
	fields, err := t.fields(req.Fields)
	if err != nil {
		return nil, err
	}
	if err := checkID("server", req.ID); err != nil {
		return nil, err
	}
	u := until{id: req.ID, kind: req.Until, fromHost: req.FromHost, vmStates: req.VMStates}
	switch {
	case u.kind == "moved":
		if u.fromHost == "" {
			u.fromHost = h.run.FailedHost
		}
		if u.fromHost == "" {
			return nil, fmt.Errorf("from_host: the run has no failed host, so name the host that the server leaves: %w", recovery.ErrInvalid)
		}
	case u.kind == "vm_state" && len(u.vmStates) == 0:
		return nil, fmt.Errorf("vm_states: name at least one: %w", recovery.ErrInvalid)
	}

	ctx, cancel := h.withTimeout(ctx, req.TimeoutSeconds)
	defer cancel()
	w := serverWaiter{h: h, u: u}
	if err := w.wait(ctx); err != nil {
		return nil, w.giveUp(ctx, err, req.TimeoutSeconds)
	}
	out := append(append([]byte(`{"outcome":"`), w.outcome...), `","server":`...)
	if w.seen.ID == "" {
		w.seen.ID = u.id
	}
	if out, err = t.tellServer(out, &w.seen, fields); err != nil {
		return nil, err
	}
	if w.message != "" {
		text, err := json.Marshal(t.tell(w.message))
		if err != nil {
			return nil, err
		}
		out = append(append(out, `,"message":`...), text...)
	}
	return append(out, '}'), nil
}

// serverWaiter is one server_wait.
type serverWaiter struct {
	h *Hatch
	u until

	outcome, message string
	seen             recovery.Server // last time
	failure          error           // of the last look, nil when it worked
}

// wait ends with an outcome or an error.
func (w *serverWaiter) wait(ctx context.Context) error {
	// First, so that the first poll shows the server.
	defer w.h.followed.join(w.u.id)()
	views, leave, err := w.h.servers.join(watchKey{})
	if err != nil {
		return err
	}
	defer leave()
	for {
		v, err := await(ctx, &w.h.owner, views)
		if err != nil {
			return err
		}
		if over, err := w.take(ctx, v.val, v.err); over || err != nil {
			return err
		}
	}
}

// take judges the server as a poll showed it.
func (w *serverWaiter) take(ctx context.Context, v *serversView, err error) (over bool, _ error) {
	if err == nil {
		err = v.failed[w.u.id]
	}
	if err != nil {
		return false, w.failed(ctx, err)
	}
	s, ok := v.servers[w.u.id]
	if !ok {
		w.outcome = outcomeDeleted
		return true, nil
	}
	w.seen, w.failure = s, nil
	w.outcome, w.message, err = w.h.judge(ctx, w.u, s, v)
	if err != nil {
		return false, w.failed(ctx, err)
	}
	return w.outcome != "", nil
}

// failed remembers what may pass and returns what ends the wait.
func (w *serverWaiter) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return endOf(ctx)
	}
	w.failure = err
	if passing(err) {
		return nil
	}
	return err
}

// giveUp explains a wait that ended by its own timeout.
func (w *serverWaiter) giveUp(ctx context.Context, err error, seconds int64) error {
	if !errors.Is(context.Cause(ctx), errWaited) {
		return err
	}
	w.h.dryCut("server "+w.u.id, seconds)
	last := "Nova did not answer"
	if w.seen.ID != "" {
		last = fmt.Sprintf("last seen on %s, vm_state %s, task_state %s", orNone(w.seen.Host), w.seen.VMState, orNone2(string(w.seen.TaskState)))
	}
	if w.failure != nil {
		last += fmt.Sprintf("; last error: %v", w.failure)
	}
	return abi.Errorf(abi.ErrnoTimeout, "server %s: not %s after %d s; %s", w.u.id, w.u.text(), seconds, recovery.Cut(last, maxText))
}

func (u until) text() string {
	switch u.kind {
	case "moved":
		return "away from " + u.fromHost
	case "vm_state":
		return "in vm_state " + joinNames(u.vmStates)
	}
	return "without task_state"
}

func orNone2(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// errWaited ends a wait whose own time is over.
var errWaited = fmt.Errorf("the time of the wait is over: %w", recovery.ErrTimeout)

// withTimeout bounds ctx; 0 seconds are no bound.
func (h *Hatch) withTimeout(ctx context.Context, seconds int64) (context.Context, context.CancelFunc) {
	const longest = int64(1<<63-1) / int64(time.Second)
	d := h.dryWait(time.Duration(min(max(seconds, 0), longest)) * time.Second)
	if d == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, errWaited)
}

type serviceAnswer struct {
	Service recovery.ComputeService `json:"service"`
}

// serviceWait implements abi.OpNovaServiceWait.
func serviceWait(ctx context.Context, t *TaskHost, req abi.NovaServiceWaitRequest) (serviceAnswer, error) {
	if err := checkHost(req.Host, false); err != nil {
		return serviceAnswer{}, err
	}
	if req.State == "" && req.Status == "" {
		return serviceAnswer{}, fmt.Errorf("name state or status: %w", recovery.ErrInvalid)
	}
	binary := binaryOf(req.Binary)
	if req.State == "down" {
		t.h.dryDown(ctx, req.Host)
	}
	ctx, cancel := t.h.withTimeout(ctx, req.TimeoutSeconds)
	defer cancel()
	views, leave, err := t.h.services.join(watchKey{host: req.Host})
	if err != nil {
		return serviceAnswer{}, err
	}
	defer leave()
	last := "Nova did not answer"
	for {
		v, err := await(ctx, &t.h.owner, views)
		if err != nil {
			if errors.Is(context.Cause(ctx), errWaited) {
				t.h.dryCut(binary+" of "+req.Host, req.TimeoutSeconds)
				err = abi.Errorf(abi.ErrnoTimeout, "%s of %s: not %s after %d s; %s", binary, req.Host,
					wanted(req.State, req.Status), req.TimeoutSeconds, recovery.Cut(last, maxText))
			}
			return serviceAnswer{}, err
		}
		if v.err != nil {
			if !passing(v.err) {
				return serviceAnswer{}, v.err
			}
			last = "last error: " + v.err.Error()
			continue
		}
		s, err := pickService(v.val, req.Host, binary)
		if err != nil {
			return serviceAnswer{}, err
		}
		// Two runs that saw the service enabled at the same moment both disabled
		// it: the mark tells which of them goes on.
		if req.Host == t.h.run.FailedHost && binary == novaCompute {
			if err := t.h.foreign(s); err != nil {
				return serviceAnswer{}, err
			}
		}
		if (req.State == "" || s.State == req.State) && (req.Status == "" || s.Status == req.Status) {
			return serviceAnswer{s}, nil
		}
		last = fmt.Sprintf("last seen %s and %s", s.State, s.Status)
	}
}

func wanted(state, status string) string {
	if state != "" && status != "" {
		return state + " and " + status
	}
	return state + status
}
