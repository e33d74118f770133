// Package evacuate moves the servers of a failed host: the task
// evacuate_instances_task. states.go holds the table of what is done with a
// server in which state, server.go does it to one server, this file to all,
// with several in flight, as many as pace.go says.
package evacuate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	wasakari "github.com/wasakari/wasakari/sdk/go"
)

// evacuation is one run of the task. Its fields do not change once the
// servers are being moved, but those below mu.
type evacuation struct {
	task *wasakari.Task
	nova wasakari.Nova
	ha   wasakari.HA
	log  wasakari.Logger

	host, reserved string
	limit          int64 // for the move of one server, in seconds; 0: none
	stopLimit      int64 // for it to stop, likewise
	lockServers    bool
	skipOthers     bool

	mu      sync.Mutex
	todo    []work
	pace    *Pace
	workers sync.WaitGroup
	hands   int // workers that have not left
	flying  int // servers under way
	most    int // of these, at once
	next    int // of the servers, the one to begin with next
	done    int
	ended   error // why no further server is to be begun
}

// Run is the task.
func Run(t *wasakari.Task) error {
	ctx := t.Context()
	e := &evacuation{
		task: t, nova: t.Nova(), ha: t.HA(), log: t.Log(),
		host:        t.InputString("host_name"),
		reserved:    t.InputStringOr("reserved_host", ""),
		limit:       t.OptionInt("DEFAULT", "wait_period_after_evacuation"),
		stopLimit:   t.OptionInt("DEFAULT", "wait_period_after_power_off"),
		lockServers: t.OptionBool("host_failure", "lock_servers"),
		skipOthers:  t.OptionString("host_failure", "other_states") == "skip",
	}
	todo, err := e.read(ctx)
	if err != nil {
		return err
	}
	t.Progress(0, "Start evacuation of instances from failed host '%s', instance uuids are: '%s'", e.host, strings.Join(ids(todo), ","))
	if len(todo) > 0 {
		if err := e.prepare(ctx, todo); err != nil {
			if !canceled(ctx, err) {
				e.fail(ctx, todo, err)
			}
			return err
		}
		if err := e.moveAll(ctx, todo); err != nil {
			return err
		}
	}
	return e.verdict(ctx)
}

// read lists the servers that wait for their evacuation, in the order in which
// their vmoves were made: tagged ones first.
func (e *evacuation) read(ctx context.Context) ([]work, error) {
	ans, err := e.ha.VMoveList(ctx, wasakari.HAVMoveListRequest{Latest: true})
	if err != nil {
		return nil, err
	}
	var todo []work
	for _, v := range ans.VMoves {
		if v.Status == "pending" || v.Status == "ongoing" {
			w := work{id: v.InstanceUUID}
			w.before, w.tried = Noted(v.Message)
			todo = append(todo, w)
		}
	}
	return todo, nil
}

// prepare waits until the cloud is ready for the moves and looks at the state
// of all servers with one request.
func (e *evacuation) prepare(ctx context.Context, todo []work) error {
	if err := e.refuse(); err != nil {
		return err
	}
	if err := AwaitDown(ctx, e.task, e.host); err != nil {
		return err
	}
	ans, err := e.nova.ServerList(ctx, wasakari.NovaServerListRequest{Host: e.host, Fields: Fields})
	if err != nil {
		return fmt.Errorf("list servers of host %s: %s", e.host, text(err))
	}
	here := make(map[string]wasakari.Server, len(ans.Servers))
	for _, s := range ans.Servers {
		here[s.ID] = s
	}
	needed := false
	for i := range todo {
		w := &todo[i]
		s, ok := here[w.id]
		if ok {
			w.server, needed = s, true
			continue
		}
		w.server, w.failed = e.nova.ServerGet(ctx, wasakari.NovaServerGetRequest{ID: w.id, Fields: Fields})
		switch {
		case canceled(ctx, w.failed):
			return w.failed
		case errors.Is(w.failed, wasakari.ErrNotFound):
			w.failed, w.gone = nil, true
		case w.failed == nil && w.server.Host == e.host:
			needed = true
		}
	}
	if e.reserved == "" || !needed {
		return nil
	}
	return e.openReserved(ctx)
}

// refuse tells what the host would refuse for each server, before anything is
// done to one.
func (e *evacuation) refuse() error {
	if e.reserved == e.host {
		return fmt.Errorf("reserved host %s is the failed host itself", e.host)
	}
	if e.task.OptionBool("host_failure", "require_fence_proof") && !slices.Contains(e.task.Inputs(), "fence_proof") {
		return fmt.Errorf("[host_failure] require_fence_proof is set, and no task proved that %s is off", e.host)
	}
	return nil
}

// moveAll moves the servers, as many at once as the pace allows.
func (e *evacuation) moveAll(ctx context.Context, todo []work) error {
	var err error
	if e.pace, err = NewPace(e.task.OptionString("DEFAULT", "host_failure_recovery_threads")); err != nil {
		return err
	}
	e.todo = todo
	e.mu.Lock()
	e.hire(ctx)
	e.mu.Unlock()
	e.workers.Wait()
	if e.pace.Auto() && e.ended == nil {
		e.task.Progress(e.permille(), "host_failure_recovery_threads is auto: up to %d servers were evacuated at once", e.most)
	}
	return e.ended
}

// hire starts workers up to the pace. It is called with mu held.
func (e *evacuation) hire(ctx context.Context) {
	for e.hands < min(e.pace.Limit(), e.flying+len(e.todo)-e.next) && e.ended == nil {
		e.hands++
		e.workers.Add(1)
		go func() {
			defer e.workers.Done()
			for {
				w, ok := e.take(ctx)
				if !ok {
					return
				}
				if err := e.one(ctx, w); err != nil {
					e.stop(err)
				}
			}
		}()
	}
}

// take gives a worker its next server, or false: then it has left.
func (e *evacuation) take(ctx context.Context) (work, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended == nil {
		e.ended = ctx.Err()
	}
	if e.ended != nil || e.next == len(e.todo) || e.hands > e.pace.Limit() {
		e.hands--
		return work{}, false
	}
	w := e.todo[e.next]
	e.next++
	e.flying++
	e.most = max(e.most, e.flying)
	e.task.Progress(e.permille(), "Evacuation of instance started: '%s'", w.id)
	return w, true
}

func (e *evacuation) stop(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended == nil {
		e.ended = err
	}
}

// The moves are the progress from 300 to 700.
func (e *evacuation) permille() int { return 300 + 400*e.done/len(e.todo) }

// one moves one server and records how that ended.
func (e *evacuation) one(ctx context.Context, w work) error {
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.flying--
	}()
	r, err := e.move(ctx, w)
	if err != nil {
		return err
	}
	if err := e.put(ctx, wasakari.HAVMovePutRequest{InstanceUUID: w.id, Status: r.status, DestHost: r.dest, Message: r.message}); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.done++
	e.task.Progress(e.permille(), "Evacuation of instance ended: '%s' %s (%d of %d)", w.id, r.status, e.done, len(e.todo))
	return nil
}

// patience is how long a server waits, in all, for a Nova that refuses for now.
const patience = 30 * time.Second

// change has the host make a change of a server, and tells the pace what came
// of it. What Nova certainly did not do because it was asked too often is asked
// for again, later.
func (e *evacuation) change(ctx context.Context, kind string, send func() (requestID string, err error)) error {
	var waited time.Duration
	for pause := time.Second; ; pause *= 2 {
		e.mu.Lock()
		sent, began := e.pace.Sent(), time.Now()
		e.mu.Unlock()
		id, err := send()
		e.tell(ctx, sent, kind, id, time.Since(began), err)
		if !errors.Is(err, wasakari.ErrQuota) || waited+pause > patience {
			return err
		}
		waited += pause
		if err := e.task.Sleep(ctx, pause/2+rand.N(pause)); err != nil { //nolint:gosec // spreads load, guards nothing
			return err
		}
	}
}

// tell tells the pace how a change went; an answer for which nothing was sent
// says nothing.
func (e *evacuation) tell(ctx context.Context, sent int, kind, requestID string, took time.Duration, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.pace.Limit()
	switch {
	case errors.Is(err, wasakari.ErrQuota), errors.Is(err, wasakari.ErrUnavailable), errors.Is(err, wasakari.ErrTimeout):
		e.pace.Refused(sent)
	case err == nil && requestID != "":
		e.pace.Answered(sent, kind, took)
	}
	switch now := e.pace.Limit(); {
	case now < before && err != nil:
		e.log.Infof("evacuating %d at once instead of %d: %s", now, before, text(err))
	case now < before:
		e.log.Infof("evacuating %d at once instead of %d: Nova answers slowly", now, before)
	}
	e.hire(ctx)
}

func (e *evacuation) put(ctx context.Context, req wasakari.HAVMovePutRequest) error {
	if _, err := e.ha.VMovePut(ctx, req); err != nil {
		return fmt.Errorf("vmove of server %s: %w", req.InstanceUUID, err)
	}
	return nil
}

// fail ends all vmoves when nothing could be begun.
func (e *evacuation) fail(ctx context.Context, todo []work, why error) {
	for _, w := range todo {
		if err := e.put(ctx, wasakari.HAVMovePutRequest{InstanceUUID: w.id, Status: "failed", Message: w.noted(why.Error())}); err != nil {
			e.log.Errorf("%v", err)
		}
	}
}

// verdict judges the evacuation by the latest attempt at each server.
func (e *evacuation) verdict(ctx context.Context) error {
	ans, err := e.ha.VMoveList(ctx, wasakari.HAVMoveListRequest{Latest: true})
	if err != nil {
		return err
	}
	if len(ans.VMoves) == 0 {
		e.log.Warnf("no server of %s was chosen for evacuation: no task before this one made a vmove", e.host)
	}
	var well, ill []string
	for _, v := range ans.VMoves {
		switch v.Status {
		case "succeeded":
			well = append(well, v.InstanceUUID)
		case "ignored":
		default:
			ill = append(ill, v.InstanceUUID)
		}
	}
	slices.Sort(well)
	slices.Sort(ill)
	if len(well) > 0 {
		e.task.Progress(700, "Successfully evacuate instances '%s' from host '%s'", strings.Join(well, ","), e.host)
	}
	if len(ill) > 0 {
		err := fmt.Errorf("Failed to evacuate instances '%s' from host '%s'", strings.Join(ill, ","), e.host) //nolint:staticcheck // Masakari's text
		e.task.Progress(700, "%s", err.Error())
		return err
	}
	e.task.Progress(1000, "Evacuation process completed!")
	return nil
}

func ids(todo []work) []string {
	out := make([]string, len(todo))
	for i, w := range todo {
		out[i] = w.id
	}
	return out
}
