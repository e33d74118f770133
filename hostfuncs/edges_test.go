package hostfuncs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

func TestNewNeedsItsDeps(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("New did not panic without deps")
		}
	}()
	hostfuncs.New(hostfuncs.Deps{})
}

func TestLogGoesToTheLoggerWithoutObserver(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	b := setup(t, newNova(), func(b *bench) { b.deps.Observe, b.deps.Logger = nil, zap.New(core) })
	task := b.task()
	levels := []abi.Level{abi.LevelDebug, abi.LevelInfo, abi.LevelWarn, abi.LevelError, 99}
	for i, level := range levels {
		task.Log(level, fmt.Sprint("line ", i))
	}
	task.Progress(1, "seen by nobody")
	var got []string
	for _, e := range logs.All() {
		got = append(got, fmt.Sprint(e.Level, " ", e.Message, " ", e.ContextMap()["task"], " ", e.ContextMap()["message"]))
	}
	wantLines := []string{
		"debug task log custom_task line 0", "info task log custom_task line 1", "warn task log custom_task line 2",
		"error task log custom_task line 3", "info task log custom_task line 4",
	}
	if fmt.Sprint(got) != fmt.Sprint(wantLines) {
		t.Errorf("lines = %q, want %q", got, wantLines)
	}
}

func TestARunWithoutFailedHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var servers []recovery.Server
		for i := range 5 {
			servers = append(servers, active(fmt.Sprintf("s%d", i), "compute-2"))
		}
		cloud := newNova(servers...)
		b := setup(t, cloud, func(b *bench) { b.deps.Run.FailedHost, b.deps.KnownRun = "", nil })
		task := b.task()
		got, err := do(t.Context(), task, abi.OpNovaServerWait, `{"id":"s1","until":"moved"}`)
		want(t, got, err, "", "invalid: nova.server_wait: from_host: the run has no failed host, so name the host that the server leaves")
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				if _, err := do(t.Context(), task, abi.OpNovaServerLock, fmt.Sprintf(`{"id":"s%d"}`, i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := cloud.count("servers"); got != 0 {
			t.Errorf("%d lists of a host without name, want 0", got)
		}
		cloud.edit("s0", func(s *recovery.Server) { s.LockedReason = "wasakari run-old" })
		_, err = do(t.Context(), task, abi.OpNovaServerLock, `{"id":"s0"}`)
		want(t, "", err, "", "conflict: nova.server_lock: server s0 is locked by run run-old; wait for that run or resume it")
	})
}

func TestNothingIsAskedAfterClose(t *testing.T) {
	b := opsBench(t)
	task := b.task()
	b.hatch.Close()
	b.hatch.Close() // does no harm
	for op, req := range map[string]string{
		abi.OpNovaServerEvacuate: `{"id":"s1"}`,
		abi.OpNovaServiceWait:    `{"host":"compute-1","state":"up"}`,
		abi.OpTaskSleep:          `{"ms":3600000}`,
	} {
		_, err := do(t.Context(), task, op, req)
		want(t, "", err, "", "canceled: "+op+": canceled")
	}
	if got := b.cloud.count("evacuate", "services"); got != 0 {
		t.Errorf("%d requests after close, want 0", got)
	}
}

func TestAResultThatCannotBeRecordedIsAnError(t *testing.T) {
	for _, tt := range []struct{ op, req, wantErr string }{
		{abi.OpNovaServerEvacuate, `{"id":"s1"}`, "unavailable: nova.server_evacuate: recording the outcome (done) of nova.server_evacuate s1: the disk is on fire"},
		{abi.OpNovaServerLock, `{"id":"s1"}`, "unavailable: nova.server_lock: recording the outcome (done) of nova.server_lock s1: the disk is on fire"},
	} {
		t.Run(tt.op, func(t *testing.T) {
			b := opsBench(t)
			b.ledger.fail = func(what string) error {
				if len(what) > 3 && what[:3] == "end" {
					return errOutside
				}
				return nil
			}
			_, err := do(t.Context(), b.task(), tt.op, tt.req)
			want(t, "", err, "", tt.wantErr)
			if open, _ := b.ledger.OpenIntents(t.Context()); len(open) != 1 {
				t.Errorf("%d intents are open, want 1 for the resume to settle", len(open))
			}
		})
	}
}

// TestTheFirstChangeWaits: what a node that was lost may have sent has come to its
// end before; reads do not wait, and the wait is not of the change's own time.
func TestTheFirstChangeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		const wait = 10 * time.Minute // longer than a change may take
		b := opsBench(t, func(b *bench) { b.deps.Run.FirstChange = began.Add(wait) })
		if _, err := do(t.Context(), b.task(), abi.OpNovaServerGet, `{"id":"s1"}`); err != nil || time.Since(began) >= wait {
			t.Errorf("a read: %v after %v, want it at once", err, time.Since(began))
		}
		if _, err := do(t.Context(), b.task(), abi.OpNovaServerLock, `{"id":"s1"}`); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < wait {
			t.Errorf("the first change was made after %v, want %v", took, wait)
		}
		if got := b.ledger.states(); !slices.Equal(got, []string{"server_lock s1 done"}) {
			t.Errorf("intents = %q", got)
		}
	})
}

func TestTheResultIsRecordedAfterTheTimeOfTheTask(t *testing.T) {
	b := opsBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	b.ledger.fail = func(what string) error {
		if strings.HasPrefix(what, "check") {
			cancel()
		}
		return nil
	}
	_, err := do(ctx, b.task(), abi.OpNovaServerEvacuate, `{"id":"s1"}`)
	want(t, "", err, "", "canceled: nova.server_evacuate: nova.server_evacuate s1: not sent")
	if got := b.ledger.states(); !slices.Equal(got, []string{"server_evacuate s1 lost"}) {
		t.Errorf("intents = %q, want the one that was not sent to be closed", got)
	}
}

func TestUndoOfNonsenseIsReported(t *testing.T) {
	b := opsBench(t)
	b.ledger.undos = []recovery.Undo{{Key: "a", Kind: "dance"}, {Key: "b", Kind: recovery.UndoAggregateHost, Target: "x"}}
	err := b.hatch.Undo(t.Context())
	if !errors.Is(err, recovery.ErrInvalid) || len(b.ledger.undos) != 2 {
		t.Errorf("error = %v with %d entries left, want invalid and both", err, len(b.ledger.undos))
	}
}
