package hostfuncs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

// fewServers lets a number of servers be changed.
type fewServers struct {
	most int
	fail error // when set: the answer to all

	mu    sync.Mutex
	seen  []string
	asked int
}

func (g *fewServers) Server(_ context.Context, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	switch {
	case g.fail != nil:
		return g.fail
	case slices.Contains(g.seen, id):
		return nil
	case len(g.seen) == g.most:
		return &recovery.HeldError{Guard: "servers_per_run", Count: g.most + 1, Limit: g.most, Message: fmt.Sprintf("server %s is one too many", id)}
	}
	g.seen = append(g.seen, id)
	return nil
}

// tooMany is short: a task asks for many changes, and what it says of each stands
// beside the others. It is no quota that a task may wait for.
const tooMany = "forbidden: %s: held by guard servers_per_run"

func TestGuardOfServers(t *testing.T) {
	ids := []string{"a", "b", "c", "d"}
	var servers []recovery.Server
	for _, id := range ids {
		servers = append(servers, active(id, failedHost))
	}
	guard := &fewServers{most: 2}
	b := setup(t, newNova(servers...), func(b *bench) { b.deps.Guard = guard })
	b.cloud.svcs = []recovery.ComputeService{{ID: "svc-1", Host: failedHost, Binary: "nova-compute", State: "down", Status: "enabled"}}
	task, other := b.task(), b.task()
	ask := func(op, req string) error { _, err := do(t.Context(), task, op, req); return err }

	for _, step := range []struct{ op, req, wantErr string }{
		{abi.OpNovaServerLock, `{"id":"a"}`, ""},
		{abi.OpNovaServerEvacuate, `{"id":"a"}`, ""}, // the same server counts once
		{abi.OpNovaServerStop, `{"id":"b"}`, ""},
		{abi.OpNovaServerStop, `{"id":"c"}`, tooMany},
		{abi.OpNovaServerResetState, `{"id":"c","state":"error"}`, tooMany},
		{abi.OpNovaServerLock, `{"id":"d"}`, tooMany},
		{abi.OpNovaServerEvacuate, `{"id":"d"}`, tooMany},
		{abi.OpNovaServerStart, `{"id":"b"}`, ""},
		{abi.OpNovaServerStop, `{"id":"c"}`, tooMany},
		// What reads, changes no server or takes the run's own change back is not asked for.
		{abi.OpNovaServerGet, `{"id":"c"}`, ""},
		{abi.OpNovaServiceDisable, `{"host":"compute-1","reason":"x"}`, ""},
		{abi.OpNovaServerUnlock, `{"id":"a"}`, ""},
		{abi.OpNovaServerUnlock, `{"id":"d"}`, ""}, // not locked
	} {
		wantErr := step.wantErr
		if wantErr != "" {
			wantErr = fmt.Sprintf(wantErr, step.op)
		}
		want(t, "", ask(step.op, step.req), "", wantErr)
	}
	if got := b.cloud.count("stop", "evacuate", "lock", "reset", "start"); got != 4 {
		t.Errorf("%d changes were sent, want 4: %v", got, b.cloud.calls)
	}
	for _, in := range b.ledger.intents {
		if in.Target == "c" || in.Target == "d" {
			t.Errorf("an intent was written for a refused change: %v", in)
		}
	}
	if held := task.Held(); held == nil || held.Message != "server c is one too many" {
		t.Errorf("the task was held by %v, want the first refusal", held)
	}
	if held := other.Held(); held != nil {
		t.Errorf("a task that asked for nothing was held by %v", held)
	}
}

// What is undone at the end is no harm, however many servers it concerns.
func TestGuardLetsUndo(t *testing.T) {
	guard := &fewServers{most: 1}
	b := setup(t, newNova(active("a", failedHost), active("b", failedHost)), func(b *bench) { b.deps.Guard = guard })
	task := b.task()
	if _, err := do(t.Context(), task, abi.OpNovaServerLock, `{"id":"a"}`); err != nil {
		t.Fatal(err)
	}
	// A lock of an earlier process, which the guard of this one does not know.
	b.cloud.edit("b", func(s *recovery.Server) { s.Locked, s.LockedReason = true, "wasakari "+runID })
	b.ledger.undos = append(b.ledger.undos, recovery.Undo{Key: "unlock_server/b", Kind: recovery.UndoLock, Target: "b"})
	asked := guard.asked
	if err := b.hatch.Undo(t.Context()); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"a", "b"} {
		if s, _ := b.cloud.getServer(t.Context(), id); s.Locked {
			t.Errorf("server %s stays locked", id)
		}
	}
	if guard.asked != asked || len(b.ledger.undos) != 0 {
		t.Errorf("the guard was asked %d times, left to undo: %v", guard.asked-asked, b.ledger.undos)
	}
	// A task that is called as the undo is, is a task.
	undo := b.task(func(c *hostfuncs.TaskCall) { c.Task.Key = "undo" })
	_, err := do(t.Context(), undo, abi.OpNovaServerStop, `{"id":"b"}`)
	want(t, "", err, "", fmt.Sprintf(tooMany, "nova.server_stop"))
}

// A guard that cannot count lets nothing through, and is no bound reached.
func TestGuardThatFails(t *testing.T) {
	b := setup(t, newNova(active("a", failedHost)), func(b *bench) { b.deps.Guard = &fewServers{fail: errors.New("guards: no space left")} })
	task := b.task()
	_, err := do(t.Context(), task, abi.OpNovaServerStop, `{"id":"a"}`)
	want(t, "", err, "", "unavailable: nova.server_stop: a: not sent: guards: no space left")
	if b.cloud.count("stop") != 0 || len(b.ledger.intents) != 0 || task.Held() != nil {
		t.Errorf("calls %v, intents %v, held %v: want none", b.cloud.calls, b.ledger.intents, task.Held())
	}
}
