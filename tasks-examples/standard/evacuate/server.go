package evacuate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	wasakari "github.com/wasakari/wasakari/sdk/go"
)

// Fields are those of a server that Of and the evacuation look at.
var Fields = []string{
	"id", "name", "fault",
	"OS-EXT-STS:vm_state", "OS-EXT-STS:task_state", "OS-EXT-STS:power_state",
	"OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:hypervisor_hostname",
}

const powerShutdown = 4

// Of gives the state of a server as Nova shows it.
func Of(s wasakari.Server) State {
	return State{VM: s.VMState, Task: s.TaskState, Off: s.PowerState == powerShutdown}
}

// work is one server to recover.
type work struct {
	id string
	// before is the state in which an earlier attempt of this run found the
	// server; tried is true when there was one.
	before State
	tried  bool
	failed error // could not be read
	gone   bool
	server wasakari.Server
}

// noted puts before why the state in which an earlier attempt found the server:
// the next one needs it.
func (w work) noted(why string) string {
	if !w.tried {
		return why
	}
	return w.before.Note() + noteSep + why
}

// result is the final state of a vmove.
type result struct {
	status, dest, message string
}

func ignored(reason string) result { return result{status: "ignored", message: reason} }

func failed(why string) result { return result{status: "failed", message: why} }

var gone = ignored("deleted meanwhile")

// move recovers one server and says how that ended. An error means that the
// task itself is to end: nothing final is known.
func (e *evacuation) move(ctx context.Context, w work) (result, error) {
	s := w.server
	switch {
	case w.failed != nil:
		return failed(w.noted(text(w.failed))), nil
	case w.gone || s.VMState == "deleted":
		return gone, nil
	case s.Host == "":
		if plan := PlanFor(Of(s), e.skipOthers); plan.Action == Leave {
			return ignored(plan.Reason), nil
		}
		// As happens to clients that may not see hosts.
		return failed(w.noted("Nova shows it on no host, in vm_state " + s.VMState)), nil
	}
	away := s.Host != e.host
	if away && !w.tried {
		return ignored("is on " + s.Host + " already"), nil
	}
	was := Of(s)
	if w.tried && (away || was.VM == "error") {
		was = w.before
	}
	plan := PlanFor(State{VM: was.VM, Task: s.TaskState, Off: was.Off}, e.skipOthers)
	if plan.Action == Leave {
		return ignored(plan.Reason), nil
	}
	// On record before anything is done, so that whoever goes on after an
	// interruption knows the state to restore.
	if err := e.put(ctx, wasakari.HAVMovePutRequest{InstanceUUID: w.id, Status: "ongoing", SourceHost: e.host, Message: was.Note()}); err != nil {
		return result{}, err
	}
	m := &mover{evacuation: e, id: w.id, plan: plan}
	locked, err := m.lock(ctx)
	var r result
	switch {
	case err == nil:
		r, err = m.run(ctx, s, away)
	case guarded(err):
		// Another run is at this server.
		r, err = failed(text(err)), nil
	}
	if err != nil {
		return result{}, err
	}
	if locked {
		// What is not unlocked here is unlocked when the run ends.
		if _, err := e.nova.ServerUnlock(ctx, wasakari.NovaServerUnlockRequest{ID: w.id}); err != nil && !errors.Is(err, wasakari.ErrNotFound) {
			e.log.Warnf("unlock server %s: %v", w.id, err)
		}
	}
	parts := append([]string{was.Note(), r.message}, m.remarks...)
	r.message = strings.Join(parts, noteSep)
	return r, nil
}

// mover recovers one server that is worth it.
type mover struct {
	*evacuation
	id      string
	plan    Plan
	remarks []string
}

// lock keeps the owner's hands off and reports whether the run holds the lock.
func (m *mover) lock(ctx context.Context) (bool, error) {
	if !m.lockServers {
		return false, nil
	}
	var ans wasakari.NovaServerLockAnswer
	err := m.change(ctx, "lock", func() (requestID string, err error) {
		ans, err = m.nova.ServerLock(ctx, wasakari.NovaServerLockRequest{ID: m.id})
		return ans.RequestID, err
	})
	switch {
	case err == nil:
		return ans.Locked, nil
	case canceled(ctx, err) || guarded(err):
		return false, err
	case !errors.Is(err, wasakari.ErrNotFound): // which the next step tells
		// Moving the server matters more than keeping its owner off.
		m.remarks = append(m.remarks, "not locked: "+text(err))
	}
	return false, nil
}

// run brings the server to another host and then into the state wanted.
func (m *mover) run(ctx context.Context, s wasakari.Server, away bool) (result, error) {
	before, underWay := away, false
	if s.TaskState != "" && (away || m.plan.Action == Await) {
		var r *result
		var err error
		if s, r, err = m.clear(ctx); r != nil || err != nil {
			return final(r), err
		}
		underWay = !away && s.Host != m.host
		away = s.Host != m.host
	}
	if !away {
		refusal, r, err := m.evacuate(ctx, s.VMState)
		if r == nil && err == nil {
			underWay = refusal != ""
			s, r, err = m.moved(ctx, refusal)
		}
		if r != nil || err != nil {
			return final(r), err
		}
	}
	did := "evacuated"
	if underWay {
		did = "an evacuation was under way"
	}
	return m.settle(ctx, s, did, before)
}

func final(r *result) result {
	if r == nil {
		return result{}
	}
	return *r
}

// clear waits until Nova does nothing with the server any more. A result is
// final.
func (m *mover) clear(ctx context.Context) (wasakari.Server, *result, error) {
	ans, err := m.nova.ServerWait(ctx, wasakari.NovaServerWaitRequest{ID: m.id, Until: "task_clear", TimeoutSeconds: m.limit, Fields: Fields})
	var r result
	switch {
	case canceled(ctx, err):
		return ans.Server, nil, err
	case errors.Is(err, wasakari.ErrTimeout):
		s, why := m.now(ctx)
		r = failed(why + m.lost(ctx, s))
	case err != nil:
		r = failed(text(err))
	case ans.Outcome == "deleted":
		r = gone
	default:
		return ans.Server, nil, nil
	}
	return ans.Server, &r, nil
}

// evacuate asks Nova for the move. A result is final. Without one Nova is at
// it, and refusal holds the host's text when it was so before.
func (m *mover) evacuate(ctx context.Context, vmState string) (refusal string, r *result, err error) {
	if m.plan.Reset && vmState != "error" {
		_, err = m.nova.ServerResetState(ctx, wasakari.NovaServerResetStateRequest{ID: m.id, State: "error"})
	}
	if err == nil {
		err = m.change(ctx, "evacuate", func() (string, error) {
			ans, err := m.nova.ServerEvacuate(ctx, wasakari.NovaServerEvacuateRequest{ID: m.id, Host: m.reserved})
			return ans.RequestID, err
		})
	}
	end := failed("")
	switch {
	case err == nil:
		return "", nil, nil
	case canceled(ctx, err):
		return "", nil, err
	case guarded(err):
		// The host refused because an evacuation is under way or done.
		return text(err), nil, nil
	case errors.Is(err, wasakari.ErrNotFound):
		// Either the server or the target.
		_, gerr := m.nova.ServerGet(ctx, wasakari.NovaServerGetRequest{ID: m.id, Fields: []string{"id"}})
		if errors.Is(gerr, wasakari.ErrNotFound) {
			return "", &gone, nil
		}
	}
	end.message = text(err)
	return "", &end, nil
}

// moved waits for the move. A result is final.
func (m *mover) moved(ctx context.Context, refusal string) (wasakari.Server, *result, error) {
	ans, err := m.nova.ServerWait(ctx, wasakari.NovaServerWaitRequest{
		ID: m.id, Until: "moved", FromHost: m.host, TimeoutSeconds: m.limit, Fields: Fields,
	})
	var r result
	switch {
	case canceled(ctx, err):
		return ans.Server, nil, err
	case errors.Is(err, wasakari.ErrTimeout):
		// Nova may have finished between the last look and the limit.
		s, why := m.now(ctx)
		if s.Host != "" && s.Host != m.host && s.TaskState == "" {
			return s, nil, nil
		}
		after := m.lost(ctx, s)
		if after == "" {
			after = ", it may still complete the move"
		}
		r = failed(why + after)
		if refusal != "" {
			r.message = refusal + noteSep + r.message
		}
	case err != nil:
		r = failed(text(err))
	case ans.Outcome == "deleted":
		r = gone
	case ans.Outcome == "error":
		r = failed(reason(ans))
	default:
		return ans.Server, nil, nil
	}
	return ans.Server, &r, nil
}

// settle brings a server that has moved, did says how, into the state wanted.
// One that moved before this attempt may have been set back to error already.
func (m *mover) settle(ctx context.Context, s wasakari.Server, did string, before bool) (result, error) {
	dest := s.Host
	if dest == "" {
		dest = s.HypervisorHostname
	}
	switch {
	case s.VMState != "error":
	case before && m.plan.End == "error":
		return result{status: "succeeded", dest: dest, message: did}, nil
	default:
		return result{status: "failed", dest: dest, message: did + ", now in error: " + fault(s)}, nil
	}
	if m.plan.End == "active" {
		return result{status: "succeeded", dest: dest, message: did}, nil
	}
	if s.VMState != "stopped" {
		if err := m.stop(ctx); err != nil {
			if canceled(ctx, err) {
				return result{}, err
			}
			return result{status: "failed", dest: dest, message: did + ", but not stopped: " + text(err)}, nil
		}
		did += " and stopped"
	}
	if m.plan.End == "error" {
		if _, err := m.nova.ServerResetState(ctx, wasakari.NovaServerResetStateRequest{ID: m.id, State: "error"}); err != nil {
			if canceled(ctx, err) {
				return result{}, err
			}
			return result{status: "failed", dest: dest, message: did + ", but not set back to error: " + text(err)}, nil
		}
		did += ", set back to error"
	}
	return result{status: "succeeded", dest: dest, message: did}, nil
}

// stop powers the server off and waits for it.
func (m *mover) stop(ctx context.Context) error {
	_, err := m.nova.ServerStop(ctx, wasakari.NovaServerStopRequest{ID: m.id})
	if err != nil && !errors.Is(err, wasakari.ErrConflict) {
		return err
	}
	refusal := err // Nova refuses a second stop while the first is at work.
	ans, err := m.nova.ServerWait(ctx, wasakari.NovaServerWaitRequest{
		ID: m.id, Until: "vm_state", VMStates: []string{"stopped"}, TimeoutSeconds: m.stopLimit, Fields: Fields,
	})
	switch {
	case err != nil && refusal != nil && errors.Is(err, wasakari.ErrTimeout):
		return refusal
	case errors.Is(err, wasakari.ErrTimeout):
		return errors.New("timeout after " + seconds(m.stopLimit))
	case err != nil:
		return err
	case ans.Outcome != "reached":
		return errors.New(reason(ans))
	}
	return nil
}

// now reads the server when a limit has passed, and says what Nova shows.
func (m *mover) now(ctx context.Context) (s wasakari.Server, why string) {
	why = "timeout after " + seconds(m.limit) + ": "
	s, err := m.nova.ServerGet(ctx, wasakari.NovaServerGetRequest{ID: m.id, Fields: Fields})
	if err != nil {
		return wasakari.Server{}, why + text(err)
	}
	why += "Nova shows it on " + s.Host + " in vm_state " + s.VMState
	if s.TaskState != "" {
		why += ", task_state " + s.TaskState
	}
	return s, why
}

// lost tells of a server whose move does not end because the host to which it
// goes is down as well: no attempt of ours ends that. It is empty when that is
// not known.
func (m *mover) lost(ctx context.Context, s wasakari.Server) string {
	if !strings.HasPrefix(s.TaskState, "rebuild") {
		return ""
	}
	moves, err := m.nova.MigrationList(ctx, wasakari.NovaMigrationListRequest{InstanceUUID: m.id, SourceCompute: m.host, Type: "evacuation"})
	if err != nil || len(moves.Migrations) == 0 || moves.Migrations[0].DestCompute == "" {
		return ""
	}
	target := moves.Migrations[0].DestCompute
	there, err := m.nova.ServiceList(ctx, wasakari.NovaServiceListRequest{Host: target, Binary: "nova-compute"})
	if err != nil || len(there.Services) == 0 || there.Services[0].State != "down" {
		return ""
	}
	return "; its move to " + target + " cannot end, for " + target + " is down too: this server needs a person"
}

func seconds(n int64) string { return fmt.Sprintf("%d s", n) }

// reason says why a wait did not end well.
func reason(ans wasakari.NovaServerWaitAnswer) string {
	switch {
	case ans.Message != "":
		return ans.Message
	case ans.Outcome == "deleted":
		return gone.message
	}
	return fault(ans.Server)
}

func fault(s wasakari.Server) string {
	if s.Fault != nil && s.Fault.Message != "" {
		return s.Fault.Message
	}
	return "Nova gives no reason"
}

// text keeps of an error what helps: Nova's status, words and request id.
func text(err error) string {
	var op *wasakari.OpError
	if !errors.As(err, &op) {
		return err.Error()
	}
	out := op.Message
	if op.Status != 0 && !strings.Contains(out, fmt.Sprint(op.Status)) {
		out = fmt.Sprintf("%d %s", op.Status, out)
	}
	if op.RequestID != "" && !strings.Contains(out, op.RequestID) {
		out += " (" + op.RequestID + ")"
	}
	if out == "" {
		return err.Error()
	}
	return out
}

// guarded reports whether the host, not Nova, refused a change because it is
// under way or done.
func guarded(err error) bool {
	var op *wasakari.OpError
	return errors.Is(err, wasakari.ErrConflict) && errors.As(err, &op) && op.Status == 0
}

// canceled reports whether the task itself is to end.
func canceled(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, wasakari.ErrCanceled))
}
