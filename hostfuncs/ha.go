package hostfuncs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// segmentGet implements abi.OpHASegmentGet.
func segmentGet(ctx context.Context, t *TaskHost, _ abi.HASegmentGetRequest) (recovery.Segment, error) {
	return t.h.ha.Segment(ctx)
}

type hostsAnswer struct {
	Hosts []recovery.Host `json:"hosts"`
}

// hostList implements abi.OpHAHostList.
func hostList(ctx context.Context, t *TaskHost, req abi.HAHostListRequest) (hostsAnswer, error) {
	hosts, err := t.h.ha.Hosts(ctx)
	ans := hostsAnswer{Hosts: []recovery.Host{}}
	for _, h := range hosts {
		if (req.Reserved == nil || *req.Reserved == h.Reserved) && (req.OnMaintenance == nil || *req.OnMaintenance == h.OnMaintenance) {
			ans.Hosts = append(ans.Hosts, h)
		}
	}
	return ans, err
}

// hostUpdate implements abi.OpHAHostUpdate.
func hostUpdate(ctx context.Context, t *TaskHost, req abi.HAHostUpdateRequest) (recovery.Host, error) {
	return t.h.updateHost(ctx, t.by(), req.Name, func(h *recovery.Host) {
		if req.Reserved != nil {
			h.Reserved = *req.Reserved
		}
		if req.OnMaintenance != nil {
			h.OnMaintenance = *req.OnMaintenance
		}
	})
}

// recorded tells that a run changed one of the records of Masakari's: for whoever
// looks up what was changed, as a change of the cloud is told.
func (h *Hatch) recorded(b by, op, target, what string, err error) {
	if h.changed == nil {
		return
	}
	in := recovery.Intent{Op: op, Target: target, Task: b.task, Attempt: b.attempt, Started: time.Now().UTC(), State: recovery.IntentDone, Message: what}
	if err != nil {
		in.State, in.Message = recovery.IntentOpen, what+": "+err.Error() // it may have been written
	}
	h.changed(in)
}

// updateHost changes the record of one host.
func (h *Hatch) updateHost(ctx context.Context, b by, name string, change func(*recovery.Host)) (recovery.Host, error) {
	unlock, err := h.targets.lock(ctx, "ha.host "+name)
	if err != nil {
		return recovery.Host{}, err
	}
	defer unlock()
	hosts, err := h.ha.Hosts(ctx)
	if err != nil {
		return recovery.Host{}, err
	}
	i := slices.IndexFunc(hosts, func(x recovery.Host) bool { return x.Name == name })
	if i < 0 {
		return recovery.Host{}, fmt.Errorf("host %q is not in the segment: %w", name, recovery.ErrNotFound)
	}
	was := hosts[i]
	change(&hosts[i])
	if hosts[i] == was {
		return was, nil
	}
	err = h.ha.UpdateHost(ctx, hosts[i])
	var what []string
	if is := hosts[i].Reserved; is != was.Reserved {
		what = append(what, fmt.Sprintf("reserved %t", is))
	}
	if is := hosts[i].OnMaintenance; is != was.OnMaintenance {
		what = append(what, fmt.Sprintf("on_maintenance %t", is))
	}
	h.recorded(b, abi.OpHAHostUpdate, name, strings.Join(what, ", "), err)
	return hosts[i], err
}

// maxVMoves and maxVMoveBytes bound the vmoves of a run, all rounds together:
// they are kept in memory and in the journal.
const (
	maxVMoves     = 50_000
	maxVMoveBytes = 16 << 20 // of their texts
)

// vmoves keeps the run's vmoves, so that a put need not read all of them again.
// The Hatch is their only writer.
type vmoves struct {
	mu     sync.Mutex
	loaded bool
	list   []recovery.VMove
	places map[string][]int // in list, by server
	bytes  int              // of the texts
	// before is the latest attempt of former runs of the notification.
	before int
}

// textOf counts the bytes of what a task can write into a vmove.
func textOf(m recovery.VMove) int {
	return len(m.InstanceUUID) + len(m.InstanceName) + len(m.SourceHost) + len(m.DestHost) + len(m.Message)
}

// load reads the vmoves once. Those of other runs than this one were made
// before it began. mu is held.
func (v *vmoves) load(ctx context.Context, ha HA, run string) error {
	if v.loaded {
		return nil
	}
	list, err := ha.VMoves(ctx)
	if err != nil {
		return err
	}
	v.list, v.places, v.bytes, v.before, v.loaded = nil, map[string][]int{}, 0, 0, true
	for _, m := range list {
		if m.Run != "" && m.Run != run {
			v.before = max(v.before, m.Attempt)
		}
		v.add(m)
	}
	return nil
}

func (v *vmoves) add(m recovery.VMove) {
	v.places[m.InstanceUUID] = append(v.places[m.InstanceUUID], len(v.list))
	v.list = append(v.list, m)
	v.bytes += textOf(m)
}

// find gives the place of a server's vmove of one attempt, −1 when there is
// none. mu is held.
func (v *vmoves) find(server string, attempt int) int {
	for _, i := range v.places[server] {
		if v.list[i].Attempt == attempt {
			return i
		}
	}
	return -1
}

// vmoveList gives the vmoves, or only the latest attempt of each server.
func (h *Hatch) vmoveList(ctx context.Context, latest bool) ([]recovery.VMove, error) {
	v := &h.vmoves
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.load(ctx, h.ha, h.run.ID); err != nil {
		return nil, err
	}
	out := make([]recovery.VMove, 0, len(v.list))
	for _, m := range v.list {
		newer := func(i int) bool { return v.list[i].Attempt > m.Attempt }
		if !latest || !slices.ContainsFunc(v.places[m.InstanceUUID], newer) {
			m.Run = ""
			out = append(out, m)
		}
	}
	return out, nil
}

type vmovesAnswer struct {
	VMoves []recovery.VMove `json:"vmoves"`
}

// AllFinal returns an error that names the servers whose latest vmove is not
// final: they were taken up, and nobody recovered them.
func (h *Hatch) AllFinal(ctx context.Context) error {
	moves, err := h.vmoveList(ctx, true)
	if err != nil {
		return fmt.Errorf("vmoves: %w", err)
	}
	var left []string
	for _, m := range moves {
		if !m.Status.Final() {
			left = append(left, m.InstanceUUID+" "+string(m.Status))
		}
	}
	if len(left) == 0 {
		return nil
	}
	const shown = 5
	return fmt.Errorf("%d of %d servers were taken up and not recovered (%s); let the flow run evacuate_instances_task after prepare_HA_enabled_instances_task",
		len(left), len(moves), joinNames(left[:min(shown, len(left))]))
}

// vmoveList implements abi.OpHAVMoveList.
func vmoveList(ctx context.Context, t *TaskHost, req abi.HAVMoveListRequest) (vmovesAnswer, error) {
	list, err := t.h.vmoveList(ctx, req.Latest)
	if err == nil {
		list, err = t.ownVMoves(ctx, list)
	}
	if req.Status != "" {
		list = slices.DeleteFunc(list, func(m recovery.VMove) bool { return string(m.Status) != req.Status })
	}
	return vmovesAnswer{VMoves: list}, err
}

// vmovePut implements abi.OpHAVMovePut.
func vmovePut(ctx context.Context, t *TaskHost, req abi.HAVMovePutRequest) (recovery.VMove, error) {
	if req.InstanceUUID == "" || len(req.InstanceUUID) > maxName {
		return recovery.VMove{}, fmt.Errorf("instance_uuid: want 1 to %d bytes: %w", maxName, recovery.ErrInvalid)
	}
	h := t.h
	unlock, err := h.targets.lock(ctx, "ha.vmove "+req.InstanceUUID)
	if err != nil {
		return recovery.VMove{}, err
	}
	defer unlock()

	m := recovery.VMove{
		UUID: uuid.NewString(), NotificationUUID: h.run.NotificationUUID, InstanceUUID: req.InstanceUUID,
		Type: "evacuation", SourceHost: h.run.FailedHost, Run: h.run.ID,
	}
	h.vmoves.mu.Lock()
	err = h.vmoves.load(ctx, h.ha, h.run.ID)
	place := -1
	if err == nil {
		m.Attempt = h.vmoves.before + t.call.Round
		if place = h.vmoves.find(req.InstanceUUID, m.Attempt); place >= 0 {
			m = h.vmoves.list[place]
		} else if len(h.vmoves.list) >= maxVMoves {
			err = fmt.Errorf("the run has %d vmoves already, no more are allowed: %w", maxVMoves, recovery.ErrTooLarge)
		}
	}
	h.vmoves.mu.Unlock()
	if err != nil {
		return recovery.VMove{}, err
	}

	was := m.Status
	to, now := recovery.VMoveStatus(req.Status), time.Now().UTC().Format(time.RFC3339Nano)
	if place >= 0 && !mayBecome(m.Status, to, t.call.Attempt) {
		return recovery.VMove{}, fmt.Errorf("vmove of server %s is %s, it cannot become %s: %w", req.InstanceUUID, m.Status, to, recovery.ErrConflict)
	}
	if to != m.Status {
		if m.Status.Final() {
			m.EndTime, m.Message = "", ""
		}
		if to == recovery.VMoveOngoing {
			m.StartTime = now
		}
		if to.Final() {
			m.EndTime = now
		}
	}
	m.Status = to
	set(&m.InstanceName, recovery.Cut(req.InstanceName, maxName))
	set(&m.SourceHost, recovery.Cut(req.SourceHost, maxName))
	set(&m.DestHost, recovery.Cut(req.DestHost, maxName))
	set(&m.Message, recovery.Cut(req.Message, maxText))

	h.vmoves.mu.Lock()
	grows := textOf(m)
	if place >= 0 {
		grows -= textOf(h.vmoves.list[place])
	}
	full := grows > 0 && h.vmoves.bytes+grows > maxVMoveBytes
	h.vmoves.mu.Unlock()
	if full {
		return recovery.VMove{}, fmt.Errorf("the texts of the run's vmoves would have more than %d bytes: %w", maxVMoveBytes, recovery.ErrQuota)
	}
	err = h.ha.PutVMove(ctx, m)
	if to != was {
		what := string(to)
		if m.Message != "" {
			what += ": " + m.Message
		}
		h.recorded(t.by(), abi.OpHAVMovePut, m.InstanceUUID, what, err)
	}
	if err != nil {
		return recovery.VMove{}, err
	}
	h.vmoves.mu.Lock()
	if place >= 0 {
		h.vmoves.list[place] = m
		h.vmoves.bytes += grows
	} else {
		h.vmoves.add(m)
	}
	h.vmoves.mu.Unlock()
	m.Run = ""
	if h.observe != nil {
		h.observe(recovery.Event{Time: time.Now(), VMove: &m})
	}
	return m, nil
}

// mayBecome says whether a vmove may go from one status to another within its
// round. A final one stays as it is, but a failed one may begin again in a
// later attempt at the task.
func mayBecome(from, to recovery.VMoveStatus, attempt int) bool {
	switch {
	case from == to:
		return true
	case from == recovery.VMoveFailed && (to == recovery.VMoveOngoing || to == recovery.VMovePending):
		return attempt > 1
	case from.Final():
		return false
	}
	return to != recovery.VMovePending
}

func set(field *string, v string) {
	if v != "" {
		*field = v
	}
}
