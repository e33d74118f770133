package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/engine"
	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/recovery"
)

// TestEverythingEnds kills nodes before writes, drains others, takes the store
// away and aborts runs, while hosts and servers fail: in the end each
// notification is done with, and nothing is left.
func TestEverythingEnds(t *testing.T) {
	for seed := range uint64(40) {
		bubble(t, fmt.Sprint("seed ", seed), func(t *testing.T) { everythingEnds(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func everythingEnds(t *testing.T, rnd *rand.Rand) {
	var mu sync.Mutex // of rnd
	chance := func(oneOf int) bool {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(oneOf) == 0
	}
	number := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(n)
	}
	c := newCluster(t)
	c.segments[0].RecoveryMethod = []recovery.RecoveryMethod{recovery.Auto, recovery.ReservedHost, recovery.AutoPriority, recovery.ReservedHostPriority}[number(4)]
	calm := false // guarded by c.mu, as step is called with it held
	c.step = func(string, string) error {
		if !calm && chance(60) {
			return errors.New("killed")
		}
		return nil
	}
	f := &flows{t: t}
	f.undo = func(recovery.Undo) error {
		if chance(5) {
			return recovery.ErrUnavailable
		}
		return nil
	}
	f.task = func(ctx context.Context, job engine.Job, call flow.TaskCall) recovery.Outcome {
		if err := job.Run.(ledger).PushUndo(ctx, recovery.Undo{Key: "unlock_server/" + call.Key}); err != nil {
			return recovery.Outcome{Status: recovery.TaskFailed, Message: err.Error()}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(number(3000)) * time.Millisecond):
		}
		if chance(10) {
			return recovery.Outcome{Status: recovery.TaskFailed, Message: "boom"}
		}
		return recovery.Outcome{Status: recovery.TaskSucceeded}
	}
	f.perform = func(ctx context.Context, job engine.Job) (recovery.Run, error) {
		if chance(15) {
			return job.Record, fmt.Errorf("changes that were under way: %w", recovery.ErrUnavailable)
		}
		if chance(40) {
			panic("out of order")
		}
		return f.flow(ctx, job)
	}
	serial := 0
	nodes, stores := map[int]started{}, map[int]*node{}
	more := func(at int) {
		serial++
		stores[at] = c.node(fmt.Sprint("n", serial))
		nodes[at] = start(t, stores[at], f, func(cfg *engine.Config) { cfg.HostsAtOnce, cfg.ServersAtOnce = 2, 4 })
	}
	restart := func(at int) {
		_ = nodes[at].stop()
		stores[at].kill() // what could not be given up ends with the process
		more(at)
	}
	for i := range 3 {
		more(i)
	}
	var ids []string
	for i := range 40 {
		id, host := fmt.Sprint("note", i), fmt.Sprint("h", number(6))
		switch number(6) {
		case 0:
			c.hostDown(id, host)
		case 1:
			c.accept(id, recovery.Process, host, map[string]string{"event": "STOPPED", "process_name": "nova-compute"})
		default:
			c.vmDown(id, host, fmt.Sprint(host, "-srv", number(3)))
		}
		ids = append(ids, id)
		pass(time.Duration(number(2000)) * time.Millisecond)
		if at := number(12); at < 3 { // one is restarted; what was killed comes back like that too
			restart(at)
		}
		if chance(10) {
			c.do(func() { c.away = recovery.ErrUnavailable })
			pass(time.Duration(number(60)) * time.Second)
			c.do(func() { c.away = nil })
		}
		if n := c.count(); n > 0 && chance(4) {
			mode := recovery.AbortRevert
			if chance(2) {
				mode = recovery.AbortStop
			}
			// An error says that it has ended.
			_ = c.node("api").Abort(t.Context(), fmt.Sprint("run", number(n)+1), recovery.Abort{Mode: mode, Reason: "a person", Status: recovery.StatusFailed})
		}
	}
	c.do(func() { calm = true; delete(c.nodes, "api") })
	for at := range nodes { // those that were killed and not restarted
		restart(at)
	}
	pass(6 * time.Hour)
	for _, id := range ids {
		if n := c.note(id); !n.Status.Final() {
			t.Errorf("%s = %s %q", id, n.Status, n.Message)
		} else if n.Status == recovery.StatusFailed && !strings.ContainsAny(n.Message, " ") {
			t.Errorf("%s failed without a reason: %q", id, n.Message)
		}
	}
	if left := c.left(); left != "" {
		t.Errorf("left: %s", left)
	}
	for i := range c.count() {
		run := c.run(i)
		left := len(run.undos) > 0 && !strings.Contains(run.rec.Message, "left to undo") // a server's run gives up in the end
		if !run.rec.Finished || left {
			t.Errorf("run %s of %s: %s, finished %t, to undo: %v", run.rec.ID, run.rec.Notification, run.rec.Status, run.rec.Finished, run.undos)
		}
		for _, rec := range run.tasks {
			if rec.Ended.IsZero() {
				t.Errorf("run %s: task without an end: %+v", run.rec.ID, rec)
			}
		}
	}
}
