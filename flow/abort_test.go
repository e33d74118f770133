package flow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/recovery"
)

// aborter is a runner in whose middle the run is aborted.
type aborter struct {
	*world
	at    string // "run PLACE" or "revert PLACE"
	abort recovery.Abort
	ch    chan recovery.Abort
	// ctxEnds says that the task there is told to stop.
	ctxEnds bool
	sent    bool
}

func (a *aborter) request() flow.Request {
	req := a.world.request()
	req.Runner, req.Aborted = a, a.ch
	if a.sent {
		req.Run.Abort, req.Aborted = &a.abort, nil // as the store keeps it
	}
	return req
}

func (a *aborter) hit(ctx context.Context, what string, c flow.TaskCall) {
	if what+" "+c.Place() != a.at || a.sent {
		return
	}
	a.sent = true
	a.ch <- a.abort
	if a.ctxEnds {
		<-ctx.Done()
	} else {
		a.ch <- a.abort // taken only when the first has been taken note of
	}
}

func (a *aborter) Run(ctx context.Context, c flow.TaskCall) recovery.Outcome {
	a.hit(ctx, "run", c)
	return a.world.Run(ctx, c)
}

func (a *aborter) Revert(ctx context.Context, c flow.TaskCall) recovery.Outcome {
	a.hit(ctx, "revert", c)
	return a.world.Revert(ctx, c)
}

type abortCase struct {
	name    string
	flows   []string
	outcome func(flow.TaskCall) recovery.Outcome
	at      string
	abort   recovery.Abort
	going   bool // the task at that place goes on

	status  recovery.NotificationStatus
	message string
	log     []string
	tasks   []string
	claims  []string
}

var (
	revertIt = recovery.Abort{Mode: recovery.AbortRevert, Reason: "wrong host", By: "u1", Status: recovery.StatusFailed}
	stopIt   = recovery.Abort{Mode: recovery.AbortStop, Reason: "host run r9 recovers it", Status: recovery.StatusIgnored}
)

var abortCases = []abortCase{
	{
		name: "revert: what ran is reverted", flows: []string{"host-auto: a b|c|d"}, at: "run host-auto/main/0/1", abort: revertIt,
		status: recovery.StatusFailed, message: "flow host-auto: task c: aborted by u1: wrong host",
		log: []string{"run a", "run b", "run c", "revert c", "revert a"},
		tasks: []string{
			"pre/1 a reverted", "pre/1 b succeeded", "main/1 c reverted: aborted by u1: wrong host",
		},
	},
	{
		name: "stop: nothing is reverted", flows: []string{"host-auto: a b|c|d"}, at: "run host-auto/main/0/1", abort: stopIt,
		status: recovery.StatusIgnored, message: "flow host-auto: task c: aborted: host run r9 recovers it",
		log:   []string{"run a", "run b", "run c"},
		tasks: []string{"pre/1 a succeeded", "pre/1 b succeeded", "main/1 c failed: aborted: host run r9 recovers it"},
	},
	{
		name: "no other flow is tried", flows: []string{"host-auto: a|c|d", "host-rh: a|c|d"}, at: "run host-auto/main/0/1", abort: revertIt,
		status: recovery.StatusFailed, message: "flow host-auto: task c: aborted by u1: wrong host",
		log:   []string{"run a", "run c", "revert c", "revert a"},
		tasks: []string{"pre/1 a reverted", "main/1 c reverted: aborted by u1: wrong host"},
	},
	{
		name: "no other reserved host is tried", flows: []string{"host-rh: a|c e|d"}, outcome: fails("e 1 full"), at: "run host-rh/main/1/2", abort: revertIt,
		status: recovery.StatusFailed, message: "flow host-rh: task e: aborted by u1: wrong host (reserved host r2)",
		log: []string{"run a", "run c", "run e", "revert e", "revert c", "run c", "run e", "revert e", "revert c", "revert a"},
		tasks: []string{
			"pre/1 a reverted", "main/1 c reverted", "main/1 e reverted: full", "main/2 c reverted", "main/2 e reverted: aborted by u1: wrong host",
		},
		claims: []string{"claim r1", "settle r1", "claim r2", "settle r2"},
	},
	{
		name: "a reserved host is settled when all stops", flows: []string{"host-rh: a|c e|d"}, at: "run host-rh/main/1/1", abort: stopIt,
		status: recovery.StatusIgnored, message: "flow host-rh: task e: aborted: host run r9 recovers it (reserved host r1)",
		log:    []string{"run a", "run c", "run e"},
		tasks:  []string{"pre/1 a succeeded", "main/1 c succeeded", "main/1 e failed: aborted: host run r9 recovers it"},
		claims: []string{"claim r1", "settle r1"},
	},
	{
		name: "reverts go on in an abort that reverts", flows: []string{"host-auto: a|c|d", "host-rh: a|c|d"}, outcome: fails("c 1 boom"), at: "revert host-auto/main/0/1", abort: revertIt, going: true,
		status: recovery.StatusFailed, message: "flow host-auto: task c: boom; aborted by u1: wrong host",
		log:   []string{"run a", "run c", "revert c", "revert a"},
		tasks: []string{"pre/1 a reverted", "main/1 c reverted: boom"},
	},
	{
		name: "reverts end in an abort that stops", flows: []string{"host-auto: a|c|d", "host-rh: a|c|d"}, outcome: fails("c 1 boom"), at: "revert host-auto/main/0/1", abort: stopIt,
		status: recovery.StatusIgnored, message: "flow host-auto: task c: boom; aborted: host run r9 recovers it",
		log:   []string{"run a", "run c", "revert c"},
		tasks: []string{"pre/1 a succeeded", "main/1 c revert_failed: boom; revert failed: aborted: host run r9 recovers it"},
	},
	{
		name: "between the reserved hosts", flows: []string{"host-rh: a|c e|d"}, outcome: fails("e 1 full"), at: "revert host-rh/main/0/1", abort: revertIt, going: true,
		status: recovery.StatusFailed, message: "flow host-rh: task e: full (reserved host r1); aborted by u1: wrong host",
		log:    []string{"run a", "run c", "run e", "revert e", "revert c", "revert a"},
		tasks:  []string{"pre/1 a reverted", "main/1 c reverted", "main/1 e reverted: full"},
		claims: []string{"claim r1", "settle r1"},
	},
	{
		name: "in the second flow", flows: []string{"host-auto: a|c|d", "host-rh: a|c|d"}, outcome: fails("c 1 boom"), at: "run host-rh/main/0/2", abort: revertIt,
		status: recovery.StatusFailed, message: "flow host-auto: task c: boom; flow host-rh: task c: aborted by u1: wrong host (reserved host r1)",
		log: []string{"run a", "run c", "revert c", "revert a", "run a", "run c", "revert c", "revert a"},
		tasks: []string{
			"pre/1 a reverted", "main/1 c reverted: boom", "pre/2 a reverted", "main/2 c reverted: aborted by u1: wrong host",
		},
		claims: []string{"claim r1", "settle r1"},
	},
	{
		name: "in the second flow, and all stops", flows: []string{"host-auto: a|c|d", "host-rh: a|c|d"}, outcome: fails("c 1 boom"), at: "run host-rh/post/0/2", abort: stopIt,
		status: recovery.StatusIgnored, message: "flow host-auto: task c: boom; flow host-rh: task d: aborted: host run r9 recovers it",
		log: []string{"run a", "run c", "revert c", "revert a", "run a", "run c", "run d"},
		tasks: []string{
			"pre/1 a reverted", "main/1 c reverted: boom", "pre/2 a succeeded", "main/2 c succeeded", "post/2 d failed: aborted: host run r9 recovers it",
		},
		claims: []string{"claim r1", "settle r1"},
	},
	{
		name: "too late", flows: []string{"host-auto: a|c|b"}, outcome: fails("b 0 nothing_to_do: all well"), at: "run host-auto/post/0/1", abort: stopIt,
		status: recovery.StatusFinished, message: "task b: all well",
		log:   []string{"run a", "run c", "run b"},
		tasks: []string{"pre/1 a succeeded", "main/1 c succeeded", "post/1 b nothing_to_do: all well"},
	},
}

func (tt abortCase) aborter(t *testing.T) *aborter {
	w := newWorld(t, standard, oneHost, tt.flows...)
	w.outcome = tt.outcome
	return &aborter{world: w, at: tt.at, abort: tt.abort, ch: make(chan recovery.Abort), ctxEnds: !tt.going}
}

// short leaves of each line of the log what was run.
func short(log []string) []string {
	var out []string
	for _, line := range log {
		f := strings.Fields(line)
		out = append(out, f[0]+" "+f[2])
	}
	return out
}

func TestRunIsAborted(t *testing.T) {
	for _, tt := range abortCases {
		t.Run(tt.name, func(t *testing.T) {
			a := tt.aborter(t)
			run, err := flow.Run(t.Context(), a.request())
			if err != nil {
				t.Fatal(err)
			}
			if !run.Finished || run.Status != tt.status || run.Message != tt.message {
				t.Errorf("run = %s %q, finished %t, want %s %q", run.Status, run.Message, run.Finished, tt.status, tt.message)
			}
			if got := short(a.log); !slices.Equal(got, tt.log) {
				t.Errorf("run: %v, want %v", got, tt.log)
			}
			if got := a.statuses(); !slices.Equal(got, tt.tasks) {
				t.Errorf("tasks:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(tt.tasks, "\n\t"))
			}
			if !slices.Equal(a.claims, tt.claims) {
				t.Errorf("claims = %v, want %v", a.claims, tt.claims)
			}
			if a.undone != 1 {
				t.Errorf("undo was called %d times", a.undone)
			}
			if kept := a.run.Abort != nil; kept != (tt.status != recovery.StatusFinished) {
				t.Errorf("the run says that it was aborted: %t", kept)
			}
		})
	}
}

// TestAbortedRunGoesOnAfterDeath kills the process at each thing that flow asks
// for, before and after the abort: the run must come to the same end.
func TestAbortedRunGoesOnAfterDeath(t *testing.T) {
	for _, tt := range abortCases {
		t.Run(tt.name, func(t *testing.T) {
			calm := tt.aborter(t)
			want, err := flow.Run(t.Context(), calm.request())
			if err != nil {
				t.Fatal(err)
			}
			for n := 1; n <= calm.point; n++ {
				for _, after := range []bool{false, true} {
					when := fmt.Sprintf("killed at %d, after it %t", n, after)
					a := tt.aborter(t)
					a.dieAt, a.dieAfter = map[int]bool{n: true}, after
					func() {
						defer func() {
							if p := recover(); p != any(errKilled) {
								t.Fatalf("%s: %v", when, p)
							}
						}()
						_, _ = flow.Run(t.Context(), a.request())
					}()
					beforeIt := a.sent
					got, err := flow.Run(t.Context(), a.request())
					if err != nil {
						t.Fatalf("%s: %v", when, err)
					}
					if got.Status != want.Status && (!beforeIt || want.Status != recovery.StatusFinished) {
						t.Errorf("%s: run = %s %q, want %s %q", when, got.Status, got.Message, want.Status, want.Message)
					}
					if s := fmt.Sprint(a.statuses()); strings.Contains(s, " running") || strings.Contains(s, " reverting") {
						t.Errorf("%s: a task has no end: %s", when, s)
					}
					if lastSettled(a.claims) != lastSettled(calm.claims) && strings.Contains(lastSettled(a.claims), "claim") {
						t.Errorf("%s: claims = %v", when, a.claims)
					}
				}
			}
		})
	}
}

func TestRunAbortedBeforeItsFirstTask(t *testing.T) {
	w := newWorld(t, standard, oneHost, "host-auto: a|c|d")
	w.run.Abort = &stopIt
	run, err := flow.Run(t.Context(), w.request())
	if err != nil || run.Status != recovery.StatusIgnored || !run.Finished {
		t.Errorf("Run() = %s, finished %t, %v", run.Status, run.Finished, err)
	}
	if len(w.log) != 0 || w.undone != 1 {
		t.Errorf("run: %v, undo called %d times", w.log, w.undone)
	}
}

// TestAbortCanBecomeStricter stops the reverts of an abort that was to revert.
func TestAbortCanBecomeStricter(t *testing.T) {
	w := newWorld(t, standard, oneHost, "host-auto: a|c|d")
	first := &aborter{world: w, at: "run host-auto/main/0/1", abort: revertIt, ch: make(chan recovery.Abort), ctxEnds: true}
	second := &aborter{world: w, at: "revert host-auto/main/0/1", abort: stopIt, ch: first.ch, ctxEnds: true}
	req := first.request()
	req.Runner = both{first, second}
	run, err := flow.Run(t.Context(), req)
	if err != nil || run.Status != recovery.StatusIgnored {
		t.Fatalf("Run() = %s %q, %v", run.Status, run.Message, err)
	}
	if got, want := short(w.log), []string{"run a", "run c", "revert c"}; !slices.Equal(got, want) {
		t.Errorf("run: %v, want %v", got, want)
	}
}

type both struct{ run, revert *aborter }

func (b both) Run(ctx context.Context, c flow.TaskCall) recovery.Outcome { return b.run.Run(ctx, c) }

func (b both) Revert(ctx context.Context, c flow.TaskCall) recovery.Outcome {
	return b.revert.Revert(ctx, c)
}

// TestHandOver leaves the undo list and the reserved host to whoever goes on.
func TestHandOver(t *testing.T) {
	w := newWorld(t, standard, oneHost, "host-rh: a|c e|d")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.during = func(c flow.TaskCall) {
		if c.Key == "e" {
			cancel()
		}
	}
	req := w.request()
	req.HandOver = true
	if _, err := flow.Run(ctx, req); !errors.Is(err, recovery.ErrInterrupted) {
		t.Fatalf("Run() = %v", err)
	}
	if want := []string{"claim r1"}; w.undone != 0 || !slices.Equal(w.claims, want) {
		t.Errorf("undo called %d times, claims = %v, want %v", w.undone, w.claims, want)
	}
	w.during = nil
	req = w.request()
	req.HandOver = true
	run, err := flow.Run(t.Context(), req)
	if err != nil || run.Status != recovery.StatusFinished {
		t.Fatalf("resumed: %s, %v", run.Status, err)
	}
	if want := []string{"claim r1", "claim r1", "settle r1"}; w.undone != 1 || !slices.Equal(w.claims, want) {
		t.Errorf("undo called %d times, claims = %v, want %v", w.undone, w.claims, want)
	}
}
