package hostfuncs

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// What Nova calls things.
const (
	typeEvacuation = "evacuation"
	taskRebuild    = "rebuild" // beginning of the task states of an evacuation
	stateActive    = "active"
	stateStopped   = "stopped"
	stateError     = "error"
	stateDeleted   = "deleted"
	stateResized   = "resized"
)

// flights are the reads that guards of the same moment share.
type flights struct {
	// failed reads servers of the failed host: one that is asked for alone by
	// its id, several by a list of the host. Those that are not there are
	// missing in the answer.
	failed gather[map[string]recovery.Server]
	// evacuations lists the evacuations away from the failed host, by server.
	evacuations gather[map[string][]recovery.Migration]
}

func (f *flights) init(h *Hatch) {
	limit, linger := 2*h.opt.NovaTimeout, h.opt.VerifyInterval/50
	f.failed = gather[map[string]recovery.Server]{owner: &h.owner, linger: linger, limit: limit, read: func(ctx context.Context, ids []string) (map[string]recovery.Server, error) {
		if len(ids) > 1 {
			return h.listHost(ctx, h.run.FailedHost)
		}
		s, err := h.cloud.Server(ctx, ids[0])
		return map[string]recovery.Server{ids[0]: s}, err
	}}
	f.evacuations = gather[map[string][]recovery.Migration]{owner: &h.owner, linger: linger, limit: limit, read: func(ctx context.Context, _ []string) (map[string][]recovery.Migration, error) {
		return h.evacuationsFrom(ctx, h.run.FailedHost)
	}}
}

// listHost lists the servers of one compute host, by id.
func (h *Hatch) listHost(ctx context.Context, host string) (map[string]recovery.Server, error) {
	began, out := time.Now(), map[string]recovery.Server{}
	err := h.cloud.Servers(ctx, recovery.ServerFilter{Host: host}, func(page []recovery.Server) error {
		for _, s := range page {
			out[s.ID] = s
		}
		return nil
	})
	if err == nil && host == h.run.FailedHost {
		h.recent.all(out, began)
	}
	return out, err
}

// recent keeps what was read of servers a moment ago: whether to lock or to
// evacuate is decided with what was true up to maxAge ago, which saves a read
// or two for each server. What a person does in this very moment is not seen,
// nor would it be between a fresh read and the change.
type recent struct {
	mu        sync.Mutex
	listed    map[string]recovery.Server // on the failed host
	list      read
	ones      map[string]seenServer
	changed   map[string]time.Time // when we locked or unlocked it last
	evacuated map[string]time.Time // when we evacuated it last
}

// maxAge counts from the end of a read: what a slow Nova answered would be old
// on arrival, and be read again when that helps least. It does not grow with the
// time between two looks: a person's lock must not be taken for ours.
const maxAge = time.Second

// read is when a read began and ended.
type read struct{ began, ended time.Time }

// good says that a read tells how a server is that we changed at last.
func (r read) good(last time.Time) bool { return time.Since(r.ended) < maxAge && r.began.After(last) }

type seenServer struct {
	recovery.Server
	read
}

func (r *recent) all(servers map[string]recovery.Server, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if began.After(r.list.began) {
		r.listed, r.list = servers, read{began, time.Now()}
	}
}

func (r *recent) one(s recovery.Server, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ones == nil {
		r.ones = map[string]seenServer{}
	}
	r.ones[s.ID] = seenServer{s, read{began, time.Now()}}
}

// change says that a lock or unlock was sent just now.
func (r *recent) change(id string) { r.note(&r.changed, id) }

// evacuation says that an evacuation was sent just now.
func (r *recent) evacuation(id string) { r.note(&r.evacuated, id) }

func (r *recent) note(when *map[string]time.Time, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if *when == nil {
		*when = map[string]time.Time{}
	}
	(*when)[id] = time.Now()
}

// forLock gives what a read showed that ended less than maxAge ago, and began
// after the last lock or unlock of ours ended.
func (r *recent) forLock(id string) (recovery.Server, bool) { return r.get(&r.changed, id) }

// forEvacuation is forLock for evacuations: locks of ours do not matter.
func (r *recent) forEvacuation(id string) (recovery.Server, bool) { return r.get(&r.evacuated, id) }

func (r *recent) get(last *map[string]time.Time, id string) (recovery.Server, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, ok := r.ones[id]
	if ok && one.good((*last)[id]) && !one.began.Before(r.list.began) {
		return one.Server, true
	}
	if s, ok := r.listed[id]; ok && r.list.good((*last)[id]) {
		return s, true
	}
	return one.Server, ok && one.good((*last)[id])
}

// evacuationsFrom lists the evacuations away from one host, by server.
func (h *Hatch) evacuationsFrom(ctx context.Context, host string) (map[string][]recovery.Migration, error) {
	ms, err := h.cloud.Migrations(ctx, recovery.MigrationFilter{SourceCompute: host, Type: typeEvacuation})
	if err != nil {
		return nil, err
	}
	out := map[string][]recovery.Migration{}
	for _, m := range ms {
		// The filter is checked: an old Nova ignores what it does not know.
		if m.Type == typeEvacuation && string(m.SourceCompute) == host {
			out[m.InstanceUUID] = append(out[m.InstanceUUID], m)
		}
	}
	return out, nil
}

// fresh reads a server as it is now, together with others that are read at the
// same moment.
func (h *Hatch) fresh(ctx context.Context, id string) (recovery.Server, error) {
	if h.run.FailedHost == "" {
		return h.cloud.Server(ctx, id)
	}
	all, err := h.flights.failed.ask(ctx, id)
	if err != nil {
		return recovery.Server{}, err
	}
	if s, ok := all[id]; ok {
		return s, nil
	}
	return h.cloud.Server(ctx, id)
}

// migrationIDs gives what identifies migrations.
func migrationIDs(ms []recovery.Migration) []string {
	ids := make([]string, 0, len(ms))
	for _, m := range ms {
		ids = append(ids, migrationID(m))
	}
	return ids
}

func migrationID(m recovery.Migration) string {
	if m.UUID != "" {
		return m.UUID
	}
	return strconv.Itoa(m.ID) // before microversion 2.59
}

func rebuilding(s recovery.Server) bool { return strings.HasPrefix(string(s.TaskState), taskRebuild) }

func conflict(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), recovery.ErrConflict)
}

func checkID(what, id string) error {
	if id == "" || id == "." || id == ".." || len(id) > maxName || strings.ContainsAny(id, "/?#%\\ \t\r\n") {
		return fmt.Errorf("%s %q: %w", what, recovery.Cut(id, 64), recovery.ErrInvalid)
	}
	return nil
}

// checkHost accepts host names; empty when the host may be absent.
func checkHost(host string, mayBeAbsent bool) error {
	if host == "" && mayBeAbsent {
		return nil
	}
	return checkID("host", host)
}

// serverGet implements abi.OpNovaServerGet.
func serverGet(ctx context.Context, t *TaskHost, req abi.NovaServerGetRequest) (json.RawMessage, error) {
	fields, err := t.fields(req.Fields)
	if err != nil {
		return nil, err
	}
	if err := checkID("server", req.ID); err != nil {
		return nil, err
	}
	s, err := t.h.cloud.Server(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	if !t.sees(&s) {
		return nil, errNoServer
	}
	return t.tellServer(nil, &s, fields)
}

// serverList implements abi.OpNovaServerList. Each page is trimmed before the
// next is fetched, and the list ends as soon as the answer grows too large.
func serverList(ctx context.Context, t *TaskHost, req abi.NovaServerListRequest) (json.RawMessage, error) {
	fields, err := t.fields(req.Fields)
	if err != nil {
		return nil, err
	}
	f := recovery.ServerFilter{Host: req.Host, Status: req.Status, Name: req.Name, Tenant: req.ProjectID}
	if req.ChangedSince != "" {
		if f.ChangedSince, err = time.Parse(time.RFC3339, req.ChangedSince); err != nil {
			return nil, fmt.Errorf("changed_since %q: want RFC 3339: %w", recovery.Cut(req.ChangedSince, 64), recovery.ErrInvalid)
		}
	}
	if t.tenant() != "" {
		f.Tenant = t.tenant()
	}
	out, first := []byte(`{"servers":[`), true
	began, all := time.Now(), map[string]recovery.Server{}
	whole := f.Host != "" && f == (recovery.ServerFilter{Host: t.h.run.FailedHost})
	err = t.h.cloud.Servers(ctx, f, func(page []recovery.Server) error {
		for i := range page {
			if !t.sees(&page[i]) {
				continue
			}
			if whole {
				all[page[i].ID] = page[i]
			}
			if !first {
				out = append(out, ',')
			}
			first = false
			var err error
			if out, err = t.tellServer(out, &page[i], fields); err != nil {
				return err
			}
			if len(out)+2 > t.call.AnswerBytes {
				return t.tooLong(abi.OpNovaServerList)
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	if whole {
		t.h.recent.all(all, began)
	}
	return append(out, "]}"...), nil
}

// serverEvacuate implements abi.OpNovaServerEvacuate.
//
// What identifies an evacuation is the uuid of its migration record, not the
// request id in os-instance-actions: Nova makes the record before it answers,
// just as the action, and one list of the host's evacuations serves the guards
// of all its servers, where the actions would cost a request for each.
func serverEvacuate(ctx context.Context, t *TaskHost, req abi.NovaServerEvacuateRequest) (requestID, error) {
	h, failed := t.h, t.h.run.FailedHost
	if err := checkID("server", req.ID); err != nil {
		return requestID{}, err
	}
	if err := checkHost(req.Host, true); err != nil {
		return requestID{}, err
	}
	if failed == "" {
		return requestID{}, conflict("server %s: the run has no failed host, nothing may be evacuated", req.ID)
	}
	if req.Host == failed {
		return requestID{}, conflict("server %s cannot be evacuated to %s, the failed host itself", req.ID, failed)
	}
	if h.opt.RequireFenceProof {
		if err := t.fenceProof(failed); err != nil {
			return requestID{}, fmt.Errorf("server %s is not evacuated, require_fence_proof is set: %w", req.ID, err)
		}
	}
	id, err := h.guarded(ctx, t.by(), change{
		op: abi.OpNovaServerEvacuate, target: req.ID,
		read: func(ctx context.Context) ([]string, error) {
			s, evacuations, err := h.beforeEvacuation(ctx, req.ID)
			if err != nil {
				return nil, err
			}
			if s.Host != failed {
				return nil, conflict("server %s is on %s, not on the failed host %s: it has been moved already", req.ID, orNone(s.Host), failed)
			}
			if rebuilding(s) {
				return nil, conflict("server %s is being rebuilt (task state %s), a second evacuation would ruin it", req.ID, s.TaskState)
			}
			for _, m := range evacuations {
				if m.Open() {
					return nil, conflict("server %s: evacuation %s is under way (%s), a second one would ruin it", req.ID, migrationID(m), m.Status)
				}
			}
			return migrationIDs(evacuations), nil
		},
		send: func(ctx context.Context) (string, error) {
			defer h.recent.evacuation(req.ID)
			return h.cloud.Evacuate(ctx, req.ID, req.Host)
		},
	})
	return requestID{id}, err
}

// beforeEvacuation gives the server as it was a moment ago and reads its
// evacuations, which tell of those that began since.
func (h *Hatch) beforeEvacuation(ctx context.Context, id string) (recovery.Server, []recovery.Migration, error) {
	var evacuations map[string][]recovery.Migration
	var merr error
	var wg sync.WaitGroup
	wg.Go(func() { evacuations, merr = h.flights.evacuations.ask(ctx, id) })
	s, ok := h.recent.forEvacuation(id)
	var err error
	if !ok {
		s, err = h.fresh(ctx, id)
	}
	wg.Wait()
	if err == nil {
		err = merr
	}
	return s, evacuations[id], err
}

func orNone(host string) string {
	if host == "" {
		return "no host"
	}
	return host
}

// act does a change of a server that its os-instance-actions tell of. check
// refuses by the server's state, or returns errLeave.
func (t *TaskHost) act(ctx context.Context, op, id string, check func(recovery.Server) error, send func(context.Context) (string, error)) (requestID, error) {
	if err := checkID("server", id); err != nil {
		return requestID{}, err
	}
	rid, err := t.h.guarded(ctx, t.by(), change{
		op: op, target: id,
		read: func(ctx context.Context) ([]string, error) {
			s, err := t.h.cloud.Server(ctx, id)
			if err != nil {
				return nil, err
			}
			if rebuilding(s) {
				return nil, conflict("server %s is being rebuilt (task state %s)", id, s.TaskState)
			}
			if err := check(s); err != nil {
				return nil, err
			}
			return t.h.actionIDs(ctx, id, actionNames[op])
		},
		send: send,
	})
	return requestID{rid}, err
}

// underWay refuses when the task state begins with one of the words.
func underWay(s recovery.Server, words ...string) error {
	for _, w := range words {
		if strings.HasPrefix(string(s.TaskState), w) {
			return conflict("server %s: Nova is at it already (task state %s)", s.ID, s.TaskState)
		}
	}
	return nil
}

// serverStop implements abi.OpNovaServerStop.
func serverStop(ctx context.Context, t *TaskHost, req abi.NovaServerStopRequest) (requestID, error) {
	return t.act(ctx, abi.OpNovaServerStop, req.ID, func(s recovery.Server) error {
		if s.VMState == stateStopped && s.TaskState == "" {
			return errLeave
		}
		return underWay(s, "powering-off")
	}, func(ctx context.Context) (string, error) { return t.h.cloud.Stop(ctx, req.ID) })
}

// serverStart implements abi.OpNovaServerStart.
func serverStart(ctx context.Context, t *TaskHost, req abi.NovaServerStartRequest) (requestID, error) {
	return t.act(ctx, abi.OpNovaServerStart, req.ID, func(s recovery.Server) error {
		if s.VMState == stateActive && s.TaskState == "" {
			return errLeave
		}
		return underWay(s, "powering-on")
	}, func(ctx context.Context) (string, error) { return t.h.cloud.Start(ctx, req.ID) })
}

// serverReboot implements abi.OpNovaServerReboot.
func serverReboot(ctx context.Context, t *TaskHost, req abi.NovaServerRebootRequest) (requestID, error) {
	kind := req.Type
	if kind == "" {
		kind = "SOFT"
	}
	return t.act(ctx, abi.OpNovaServerReboot, req.ID, func(s recovery.Server) error {
		return underWay(s, "reboot") // and reboot_pending, rebooting_hard …
	}, func(ctx context.Context) (string, error) { return t.h.cloud.Reboot(ctx, req.ID, kind) })
}

// serverMigrate implements abi.OpNovaServerMigrate.
func serverMigrate(ctx context.Context, t *TaskHost, req abi.NovaServerMigrateRequest) (requestID, error) {
	if err := checkHost(req.Host, true); err != nil {
		return requestID{}, err
	}
	return t.act(ctx, abi.OpNovaServerMigrate, req.ID, func(s recovery.Server) error {
		if s.VMState == stateResized {
			return conflict("server %s has been migrated or resized and waits to be confirmed", s.ID)
		}
		return mayMoveTo(s, req.Host)
	}, func(ctx context.Context) (string, error) { return t.h.cloud.Migrate(ctx, req.ID, req.Host) })
}

// serverLiveMigrate implements abi.OpNovaServerLiveMigrate.
func serverLiveMigrate(ctx context.Context, t *TaskHost, req abi.NovaServerLiveMigrateRequest) (requestID, error) {
	if err := checkHost(req.Host, true); err != nil {
		return requestID{}, err
	}
	block := req.BlockMigration
	if block == "" {
		block = "auto"
	}
	return t.act(ctx, abi.OpNovaServerLiveMigrate, req.ID, func(s recovery.Server) error { return mayMoveTo(s, req.Host) },
		func(ctx context.Context) (string, error) { return t.h.cloud.LiveMigrate(ctx, req.ID, req.Host, block) })
}

// mayMoveTo refuses a move that is under way or done.
func mayMoveTo(s recovery.Server, host string) error {
	if host != "" && s.Host == host {
		return conflict("server %s is on %s already", s.ID, host)
	}
	return underWay(s, "migrating", "resize_")
}

// serverResetState implements abi.OpNovaServerResetState.
func serverResetState(ctx context.Context, t *TaskHost, req abi.NovaServerResetStateRequest) (requestID, error) {
	if err := checkID("server", req.ID); err != nil {
		return requestID{}, err
	}
	h := t.h
	id, _, err := h.ensure(ctx, t.by(), ensured{
		op: abi.OpNovaServerResetState, target: req.ID,
		done: func(ctx context.Context) (bool, error) {
			s, err := h.cloud.Server(ctx, req.ID)
			if err == nil && rebuilding(s) {
				err = conflict("server %s is being rebuilt (task state %s), it must not be reset now", req.ID, s.TaskState)
			}
			return s.VMState == req.State && s.TaskState == "", err
		},
		send: func(ctx context.Context) (string, error) { return h.cloud.ResetState(ctx, req.ID, req.State) },
	})
	return requestID{id}, err
}

const lockMark = "wasakari "

type lockAnswer struct {
	Locked    bool   `json:"locked"`
	RequestID string `json:"request_id,omitempty"`
}

// serverLock implements abi.OpNovaServerLock.
func serverLock(ctx context.Context, t *TaskHost, req abi.NovaServerLockRequest) (lockAnswer, error) {
	if err := checkID("server", req.ID); err != nil {
		return lockAnswer{}, err
	}
	h, ours := t.h, lockMark+t.h.run.ID
	foreign, leftover := false, false
	id, _, err := h.ensure(ctx, t.by(), ensured{
		op: abi.OpNovaServerLock, target: req.ID,
		done: func(ctx context.Context) (bool, error) {
			s, ok := h.recent.forLock(req.ID)
			if !ok {
				var err error
				if s, err = h.fresh(ctx, req.ID); err != nil {
					return false, err
				}
			}
			if !s.Locked {
				return false, nil
			}
			own, err := h.ownLock(ctx, s)
			if err != nil {
				return false, err
			}
			if own {
				// From an earlier attempt, or the answer was lost: the entry must be there
				// in any case.
				return true, h.pushUndo(ctx, recovery.UndoLock, req.ID, s.Host, ours)
			}
			other, marked := strings.CutPrefix(string(s.LockedReason), lockMark)
			switch {
			case marked && h.ended(other):
				leftover = true
				return false, nil
			case marked:
				return false, conflict("server %s is locked by run %s; wait for that run or resume it", req.ID, other)
			}
			foreign = true
			return true, nil
		},
		before: func(ctx context.Context) error {
			return h.pushUndo(ctx, recovery.UndoLock, req.ID, h.run.FailedHost, ours)
		},
		send: func(ctx context.Context) (string, error) {
			defer h.recent.change(req.ID)
			return h.cloud.Lock(ctx, req.ID, ours)
		},
	})
	if err == nil && leftover {
		// Nova replaces the reason when an administrator locks again, but leaves
		// it when the administrator's project owns the server.
		var s recovery.Server
		if s, err = h.cloud.Server(ctx, req.ID); err == nil && string(s.LockedReason) != ours {
			foreign = true
			err = h.ledger.DropUndo(ctx, undoKey(recovery.UndoLock, req.ID, ""))
		}
	}
	if err != nil {
		return lockAnswer{}, err
	}
	return lockAnswer{Locked: !foreign, RequestID: id}, nil
}

// ownLock reports whether the lock on s is the run's.
//
// A Nova older than microversion 2.73 keeps no reason. As long as none was seen
// on any server, a lock without reason counts as the run's when the undo list
// says that the run locked the server, which it does only to unlocked ones.
func (h *Hatch) ownLock(ctx context.Context, s recovery.Server) (bool, error) {
	if !s.Locked {
		return false, nil
	}
	if s.LockedReason != "" {
		h.reasons.Store(true)
		return string(s.LockedReason) == lockMark+h.run.ID, nil
	}
	if h.reasons.Load() {
		return false, nil
	}
	list, err := h.ledger.Undos(ctx)
	if err != nil {
		return false, fmt.Errorf("undo list: %w", err)
	}
	key := undoKey(recovery.UndoLock, s.ID, "")
	return slices.ContainsFunc(list, func(u recovery.Undo) bool { return u.Key == key }), nil
}

// ended reports whether a run is known and has ended.
func (h *Hatch) ended(run string) bool {
	ended, known := h.known(run)
	return ended && known
}

type unlockAnswer struct {
	Unlocked  bool   `json:"unlocked"`
	RequestID string `json:"request_id,omitempty"`
}

// serverUnlock implements abi.OpNovaServerUnlock.
func serverUnlock(ctx context.Context, t *TaskHost, req abi.NovaServerUnlockRequest) (unlockAnswer, error) {
	if err := checkID("server", req.ID); err != nil {
		return unlockAnswer{}, err
	}
	id, unlocked, err := t.h.unlock(ctx, t.by(), req.ID)
	if err != nil && !isNotFound(err) {
		return unlockAnswer{}, err
	}
	if derr := t.h.ledger.DropUndo(ctx, undoKey(recovery.UndoLock, req.ID, "")); derr != nil {
		return unlockAnswer{}, fmt.Errorf("undo list: server %s: %w", req.ID, derr)
	}
	return unlockAnswer{Unlocked: unlocked, RequestID: id}, err
}

// unlock takes the run's own lock off a server; another one stays.
func (h *Hatch) unlock(ctx context.Context, b by, id string) (requestID string, unlocked bool, err error) {
	return h.ensure(ctx, b, ensured{
		op: abi.OpNovaServerUnlock, target: id,
		done: func(ctx context.Context) (bool, error) {
			s, ok := h.recent.forLock(id)
			if !ok {
				var err error
				if s, err = h.cloud.Server(ctx, id); err != nil {
					return false, err
				}
			}
			own, err := h.ownLock(ctx, s)
			return !own, err
		},
		send: func(ctx context.Context) (string, error) {
			defer h.recent.change(id)
			return h.cloud.Unlock(ctx, id)
		},
	})
}
