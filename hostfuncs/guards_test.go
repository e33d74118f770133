package hostfuncs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

func evacuation(id, server, status string) recovery.Migration {
	return recovery.Migration{ID: len(id), UUID: id, InstanceUUID: server, Status: status, Type: "evacuation", SourceCompute: failedHost}
}

func proof(change func(map[string]any)) func(*hostfuncs.TaskCall) {
	return func(c *hostfuncs.TaskCall) {
		p := map[string]any{"host": failedHost, "method": "ipmi", "run": runID, "time": time.Now().UTC().Format(time.RFC3339)}
		if change != nil {
			change(p)
		}
		raw, err := json.Marshal(p)
		if err != nil {
			panic(err)
		}
		c.Values["fence_proof"] = raw
	}
}

func TestEvacuateGuards(t *testing.T) {
	requireProof := func(b *bench) { b.deps.Options.RequireFenceProof = true }
	tests := []struct {
		name    string
		req     string
		edit    func(s *recovery.Server)
		migs    []recovery.Migration
		setup   func(*bench)
		call    func(*hostfuncs.TaskCall)
		want    string
		wantErr string
	}{
		{name: "sent", want: `{"request_id":"req-1"}`},
		{name: "sent to a host", req: `{"id":"s1","host":"compute-4"}`, want: `{"request_id":"req-1"}`},
		{name: "an evacuation that failed before", migs: []recovery.Migration{evacuation("m1", "s1", "error"), evacuation("m2", "s1", "failed")}, want: `{"request_id":"req-1"}`},
		{name: "an open evacuation of another server", migs: []recovery.Migration{evacuation("m1", "s2", "accepted")}, want: `{"request_id":"req-1"}`},
		{name: "in error", edit: func(s *recovery.Server) { s.VMState = "error" }, want: `{"request_id":"req-1"}`},
		{name: "another task state", edit: func(s *recovery.Server) { s.TaskState = "powering-off" }, want: `{"request_id":"req-1"}`},
		{
			name: "moved already", edit: func(s *recovery.Server) { s.Host = "compute-2" },
			wantErr: "conflict: nova.server_evacuate: server s1 is on compute-2, not on the failed host compute-1: it has been moved already",
		},
		{
			name: "being rebuilt", edit: func(s *recovery.Server) { s.TaskState = "rebuild_spawning" },
			wantErr: "conflict: nova.server_evacuate: server s1 is being rebuilt (task state rebuild_spawning), a second evacuation would ruin it",
		},
		{
			name: "evacuation open", migs: []recovery.Migration{evacuation("m1", "s1", "error"), evacuation("m22", "s1", "pre-migrating")},
			wantErr: "conflict: nova.server_evacuate: server s1: evacuation m22 is under way (pre-migrating), a second one would ruin it",
		},
		{
			name: "to the failed host", req: `{"id":"s1","host":"compute-1"}`,
			wantErr: "conflict: nova.server_evacuate: server s1 cannot be evacuated to compute-1, the failed host itself",
		},
		{
			name: "no host failed", setup: func(b *bench) { b.deps.Run.FailedHost = "" },
			wantErr: "conflict: nova.server_evacuate: server s1: the run has no failed host, nothing may be evacuated",
		},
		{name: "unknown server", req: `{"id":"s9"}`, wantErr: "not_found: get server s9: Instance s9 could not be found."},
		{name: "fenced", setup: requireProof, call: proof(nil), want: `{"request_id":"req-1"}`},
		{
			name: "no proof", setup: requireProof,
			wantErr: "forbidden: nova.server_evacuate: server s1 is not evacuated, require_fence_proof is set: no fence_proof was provided in this run",
		},
		{
			name: "proof of another host", setup: requireProof, call: proof(func(p map[string]any) { p["host"] = "compute-2" }),
			wantErr: `forbidden: nova.server_evacuate: server s1 is not evacuated, require_fence_proof is set: fence_proof is of host "compute-2", not of "compute-1"`,
		},
		{
			name: "proof without method", setup: requireProof, call: proof(func(p map[string]any) { delete(p, "method") }),
			wantErr: "forbidden: nova.server_evacuate: server s1 is not evacuated, require_fence_proof is set: fence_proof names no method",
		},
		{
			name: "proof of another run", setup: requireProof, call: proof(func(p map[string]any) { p["run"] = "run-6" }),
			wantErr: `forbidden: nova.server_evacuate: server s1 is not evacuated, require_fence_proof is set: fence_proof is of run "run-6", not of this run "run-7"`,
		},
		{
			name: "proof from before", setup: requireProof, call: proof(func(p map[string]any) { p["time"] = "1999-12-31T23:00:00Z" }),
			wantErr: "forbidden: nova.server_evacuate: server s1 is not evacuated, require_fence_proof is set: fence_proof is of 1999-12-31T23:00:00Z, before the run began",
		},
		{
			name: "proof to come", setup: requireProof, call: proof(func(p map[string]any) { p["time"] = "2000-01-01T01:00:00Z" }),
			wantErr: "forbidden: nova.server_evacuate: server s1 is not evacuated, require_fence_proof is set: fence_proof is of 2000-01-01T01:00:00Z, which is yet to come",
		},
		{
			name: "proof without time", setup: requireProof, call: proof(func(p map[string]any) { delete(p, "time") }),
			wantErr: "forbidden: nova.server_evacuate: server s1 is not evacuated, require_fence_proof is set: fence_proof is of 0001-01-01T00:00:00Z, before the run began",
		},
		{
			name: "proof that is none", setup: requireProof, call: func(c *hostfuncs.TaskCall) { c.Values["fence_proof"] = json.RawMessage(`true`) },
			wantErr: "forbidden: nova.server_evacuate: server s1 is not evacuated, require_fence_proof is set: fence_proof is no document of host, method, run and time (RFC 3339)",
		},
		{
			name: "lease lost", setup: func(b *bench) {
				b.ledger.fail = func(what string) error {
					if what == "check 30s" {
						return fmt.Errorf("lease is gone: %w", recovery.ErrUnavailable)
					}
					return nil
				}
			},
			wantErr: "unavailable: nova.server_evacuate: nova.server_evacuate s1: not sent: lease is gone",
		},
		{
			name: "intent not written", setup: func(b *bench) {
				b.ledger.fail = func(string) error { return errOutside }
			},
			wantErr: "unavailable: nova.server_evacuate: recording the intent of nova.server_evacuate s1: the disk is on fire",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := newNova(active("s1", failedHost))
				cloud.migs = tt.migs
				if tt.edit != nil {
					cloud.edit("s1", tt.edit)
				}
				if tt.setup == nil {
					tt.setup = func(*bench) {}
				}
				b := setup(t, cloud, tt.setup)
				if tt.call == nil {
					tt.call = func(*hostfuncs.TaskCall) {}
				}
				if tt.req == "" {
					tt.req = `{"id":"s1"}`
				}
				got, err := do(t.Context(), b.task(tt.call), abi.OpNovaServerEvacuate, tt.req)
				want(t, got, err, tt.want, tt.wantErr)
				sent := 0
				if tt.want != "" {
					sent = 1
				}
				if got := cloud.count("evacuate"); got != sent {
					t.Errorf("%d evacuations were sent, want %d", got, sent)
				}
			})
		})
	}
}

func TestChangeIsRecordedInOrder(t *testing.T) {
	cloud := newNova(active("s1", failedHost))
	cloud.migs = []recovery.Migration{evacuation("m1", "s1", "error")}
	b := setup(t, cloud)
	cloud.before = func(_ context.Context, call string) error {
		b.ledger.mu.Lock()
		defer b.ledger.mu.Unlock()
		if call == "evacuate" {
			b.ledger.log = append(b.ledger.log, "sent")
		}
		return nil
	}
	if _, err := do(t.Context(), b.task(), abi.OpNovaServerEvacuate, `{"id":"s1"}`); err != nil {
		t.Fatal(err)
	}
	wantLog := []string{"begin nova.server_evacuate s1", "check 30s", "sent", "end nova.server_evacuate s1 done"}
	if !slices.Equal(b.ledger.log, wantLog) {
		t.Errorf("ledger = %q, want %q", b.ledger.log, wantLog)
	}
	in := b.ledger.intents[0]
	if !slices.Equal(in.Known, []string{"m1"}) || in.RequestID != "req-1" || in.Task != "custom_task" || in.Attempt != 1 {
		t.Errorf("intent = %+v", in)
	}
}

func TestServerChanges(t *testing.T) {
	server := func(vm, task string) recovery.Server {
		s := active("s1", failedHost)
		s.VMState, s.TaskState = vm, recovery.NullString(task)
		return s
	}
	tests := []struct {
		name    string
		op, req string
		server  recovery.Server
		want    string
		wantErr string
		sent    []string
	}{
		{"stop", abi.OpNovaServerStop, `{"id":"s1"}`, server("active", ""), `{"request_id":"req-1"}`, "", []string{"stop"}},
		{"stop a stopped one", abi.OpNovaServerStop, `{"id":"s1"}`, server("stopped", ""), `{}`, "", nil},
		{"stop twice", abi.OpNovaServerStop, `{"id":"s1"}`, server("active", "powering-off"), "", "conflict: nova.server_stop: server s1: Nova is at it already (task state powering-off)", nil},
		{"stop in a rebuild", abi.OpNovaServerStop, `{"id":"s1"}`, server("active", "rebuilding"), "", "conflict: nova.server_stop: server s1 is being rebuilt (task state rebuilding)", nil},
		{"start", abi.OpNovaServerStart, `{"id":"s1"}`, server("stopped", ""), `{"request_id":"req-1"}`, "", []string{"start"}},
		{"start an active one", abi.OpNovaServerStart, `{"id":"s1"}`, server("active", ""), `{}`, "", nil},
		{"start twice", abi.OpNovaServerStart, `{"id":"s1"}`, server("stopped", "powering-on"), "", "conflict: nova.server_start: server s1: Nova is at it already (task state powering-on)", nil},
		{"reboot", abi.OpNovaServerReboot, `{"id":"s1"}`, server("active", ""), `{"request_id":"req-1"}`, "", []string{"reboot"}},
		{"reboot twice", abi.OpNovaServerReboot, `{"id":"s1"}`, server("active", "reboot_pending_hard"), "", "conflict: nova.server_reboot: server s1: Nova is at it already (task state reboot_pending_hard)", nil},
		{"migrate", abi.OpNovaServerMigrate, `{"id":"s1","host":"compute-2"}`, server("active", ""), `{"request_id":"req-1"}`, "", []string{"migrate"}},
		{"migrate twice", abi.OpNovaServerMigrate, `{"id":"s1"}`, server("active", "resize_prep"), "", "conflict: nova.server_migrate: server s1: Nova is at it already (task state resize_prep)", nil},
		{"migrate again", abi.OpNovaServerMigrate, `{"id":"s1"}`, server("resized", ""), "", "conflict: nova.server_migrate: server s1 has been migrated or resized and waits to be confirmed", nil},
		{"migrate to where it is", abi.OpNovaServerMigrate, `{"id":"s1","host":"compute-1"}`, server("active", ""), "", "conflict: nova.server_migrate: server s1 is on compute-1 already", nil},
		{"live-migrate", abi.OpNovaServerLiveMigrate, `{"id":"s1"}`, server("active", ""), `{"request_id":"req-1"}`, "", []string{"live-migration"}},
		{"live-migrate twice", abi.OpNovaServerLiveMigrate, `{"id":"s1"}`, server("active", "migrating"), "", "conflict: nova.server_live_migrate: server s1: Nova is at it already (task state migrating)", nil},
		{"reset", abi.OpNovaServerResetState, `{"id":"s1","state":"error"}`, server("paused", ""), `{"request_id":"req-1"}`, "", []string{"reset"}},
		{"reset that clears a task state", abi.OpNovaServerResetState, `{"id":"s1","state":"error"}`, server("error", "powering-off"), `{"request_id":"req-1"}`, "", []string{"reset"}},
		{"reset what is so", abi.OpNovaServerResetState, `{"id":"s1","state":"error"}`, server("error", ""), `{}`, "", nil},
		{"reset in a rebuild", abi.OpNovaServerResetState, `{"id":"s1","state":"error"}`, server("error", "rebuilding"), "", "conflict: nova.server_reset_state: server s1 is being rebuilt (task state rebuilding), it must not be reset now", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cloud := newNova(tt.server)
			b := setup(t, cloud)
			got, err := do(t.Context(), b.task(), tt.op, tt.req)
			want(t, got, err, tt.want, tt.wantErr)
			var sent []string
			for _, verb := range []string{"stop", "start", "reboot", "migrate", "live-migration", "reset"} {
				if cloud.count(verb) > 0 {
					sent = append(sent, verb)
				}
			}
			if !slices.Equal(sent, tt.sent) {
				t.Errorf("sent %v, want %v", sent, tt.sent)
			}
			if open, _ := b.ledger.OpenIntents(t.Context()); len(open) != 0 {
				t.Errorf("open intents = %v, want none", open)
			}
		})
	}
}

// dropAnswers makes the change verb answer with a lost answer the first n
// times. arrive says whether the change was done all the same.
func dropAnswers(cloud *nova, verb string, n int, arrive bool) {
	var mu sync.Mutex
	drop := func(v string) error {
		mu.Lock()
		defer mu.Unlock()
		if v != verb || n == 0 {
			return nil
		}
		n--
		return lost()
	}
	if arrive {
		cloud.answer = func(v, _ string) error { return drop(v) }
		return
	}
	cloud.before = func(_ context.Context, call string) error { return drop(call) }
}

func TestUnknownOutcome(t *testing.T) {
	tests := []struct {
		name       string
		op, verb   string
		req        string
		drops      int
		arrive     bool
		harm       func(b *bench)
		want       string
		wantErr    string
		wantSent   int
		wantStates []string
	}{
		{
			name: "evacuation arrived", op: abi.OpNovaServerEvacuate, verb: "evacuate", drops: 1, arrive: true,
			want: `{"request_id":"req-1"}`, wantSent: 1, wantStates: []string{"server_evacuate s1 done"},
		},
		{
			name: "evacuation did not arrive", op: abi.OpNovaServerEvacuate, verb: "evacuate", drops: 1,
			want: `{"request_id":"req-1"}`, wantSent: 2, wantStates: []string{"server_evacuate s1 lost", "server_evacuate s1 done"},
		},
		{
			name: "evacuation did not arrive twice", op: abi.OpNovaServerEvacuate, verb: "evacuate", drops: 2,
			wantErr:  "unavailable: nova.server_evacuate s1: sent twice, and twice neither answer nor trace came: change: connection reset",
			wantSent: 2, wantStates: []string{"server_evacuate s1 lost", "server_evacuate s1 lost"},
		},
		{
			name: "stop arrived", op: abi.OpNovaServerStop, verb: "stop", drops: 1, arrive: true,
			want: `{"request_id":"req-1"}`, wantSent: 1, wantStates: []string{"server_stop s1 done"},
		},
		{
			name: "stop did not arrive", op: abi.OpNovaServerStop, verb: "stop", drops: 1,
			want: `{"request_id":"req-1"}`, wantSent: 2, wantStates: []string{"server_stop s1 lost", "server_stop s1 done"},
		},
		{
			name: "lock arrived", op: abi.OpNovaServerLock, verb: "lock", drops: 1, arrive: true,
			want: `{"locked":true}`, wantSent: 1, wantStates: []string{"server_lock s1 lost"},
		},
		{
			name: "lock did not arrive", op: abi.OpNovaServerLock, verb: "lock", drops: 1,
			want: `{"locked":true,"request_id":"req-1"}`, wantSent: 2, wantStates: []string{"server_lock s1 lost", "server_lock s1 done"},
		},
		{
			name: "lock did not arrive twice", op: abi.OpNovaServerLock, verb: "lock", drops: 2,
			wantErr:  "unavailable: nova.server_lock s1: sent twice, and twice without answer or effect",
			wantSent: 2, wantStates: []string{"server_lock s1 lost", "server_lock s1 lost"},
		},
		{
			name: "host was added", op: abi.OpNovaAggregateAddHost, verb: "add_host", drops: 1, arrive: true, req: `{"id":1,"host":"compute-2"}`,
			want: `{}`, wantSent: 1, wantStates: []string{"aggregate_add_host 1/compute-2 lost"},
		},
		{
			name: "host was not added", op: abi.OpNovaAggregateAddHost, verb: "add_host", drops: 1, req: `{"id":1,"host":"compute-2"}`,
			want: `{"request_id":"req-1"}`, wantSent: 2, wantStates: []string{"aggregate_add_host 1/compute-2 lost", "aggregate_add_host 1/compute-2 done"},
		},
		{
			name: "nova cannot be read afterwards", op: abi.OpNovaServerEvacuate, verb: "evacuate", drops: 1, arrive: true,
			harm: func(b *bench) {
				b.cloud.before = func(_ context.Context, call string) error {
					if call == "migrations" && len(b.ledger.states()) > 0 {
						return cloudError("list migrations", 503, "down", recovery.ErrUnavailable)
					}
					return nil
				}
			},
			wantErr: "unavailable: list migrations: down", wantSent: 1, wantStates: []string{"server_evacuate s1 open"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := newNova(active("s1", failedHost))
				// An earlier evacuation and stop: they must not be taken for this one.
				cloud.migs = []recovery.Migration{evacuation("m1", "s1", "error")}
				cloud.acts["s1"] = []recovery.ServerAction{{Action: "stop", RequestID: "req-before"}, {Action: "evacuate", RequestID: "req-earlier"}}
				cloud.aggs = []recovery.Aggregate{{ID: 1, Name: "az"}}
				b := setup(t, cloud)
				dropAnswers(cloud, tt.verb, tt.drops, tt.arrive)
				if tt.harm != nil {
					tt.harm(b)
				}
				if tt.req == "" {
					tt.req = `{"id":"s1"}`
				}
				got, err := do(t.Context(), b.task(), tt.op, tt.req)
				if tt.name == "nova cannot be read afterwards" && err != nil {
					err = abi.Errorf(code(err), "list migrations: down") // status and id aside
				}
				want(t, got, err, tt.want, tt.wantErr)
				if got := cloud.count(tt.verb); got != tt.wantSent {
					t.Errorf("sent %d times, want %d", got, tt.wantSent)
				}
				if got := b.ledger.states(); !slices.Equal(got, tt.wantStates) {
					t.Errorf("intents = %q, want %q", got, tt.wantStates)
				}
			})
		})
	}
}

func TestUnknownOutcomeIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newNova(active("s1", failedHost))
		b := setup(t, cloud)
		// The request lies in a queue for 50 s before Nova looks at it.
		cloud.act = func(ctx context.Context, verb, id, arg string) (string, error) {
			time.AfterFunc(50*time.Second, func() { _, _ = cloud.change(context.WithoutCancel(ctx), verb, id, arg) })
			return "", lost()
		}
		began := time.Now()
		got, err := do(t.Context(), b.task(), abi.OpNovaServerEvacuate, `{"id":"s1"}`)
		want(t, got, err, `{"request_id":"req-1"}`, "")
		if got := cloud.count("evacuate"); got != 1 {
			t.Errorf("sent %d times, want 1", got)
		}
		if took := time.Since(began); took < 50*time.Second || took > 52*time.Second {
			t.Errorf("took %v, want about 50s", took)
		}
	})
}

func TestAnUnsettledChangeBlocksItsTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newNova(active("s1", failedHost))
		b := setup(t, cloud)
		down := true
		dropAnswers(cloud, "evacuate", 1, true)
		cloud.before = func(_ context.Context, call string) error {
			if down && call == "migrations" && cloud.count("evacuate") > 0 {
				return cloudError("list migrations", 503, "down", recovery.ErrUnavailable)
			}
			return nil
		}
		_, err := do(t.Context(), b.task(), abi.OpNovaServerEvacuate, `{"id":"s1"}`)
		if got := code(err); got != abi.ErrnoUnavailable {
			t.Fatalf("error = %v, want unavailable", err)
		}
		down = false
		// It has arrived; only its task state does not show it.
		cloud.edit("s1", func(s *recovery.Server) { s.TaskState = "" })
		_, err = do(t.Context(), b.task(), abi.OpNovaServerEvacuate, `{"id":"s1"}`)
		want(t, "", err, "", "conflict: nova.server_evacuate: server s1: evacuation mig-1 is under way (accepted), a second one would ruin it")
		if got, wantStates := b.ledger.states(), []string{"server_evacuate s1 done"}; !slices.Equal(got, wantStates) {
			t.Errorf("intents = %q, want %q", got, wantStates)
		}
	})
}

func TestDefiniteRefusalOfNova(t *testing.T) {
	cloud := newNova(active("s1", failedHost))
	b := setup(t, cloud)
	cloud.act = func(context.Context, string, string, string) (string, error) {
		return "", cloudError("evacuate server s1", 400, "Compute service of compute-1 is still in use.", recovery.ErrInvalid)
	}
	_, err := do(t.Context(), b.task(), abi.OpNovaServerEvacuate, `{"id":"s1"}`)
	got, _ := errors.AsType[*abi.Error](err)
	wantErr := abi.Error{Code: abi.ErrnoInvalid, Message: "evacuate server s1: Compute service of compute-1 is still in use.", Status: 400, RequestID: "req-refused"}
	if got == nil || *got != wantErr {
		t.Errorf("error = %+v, want %+v", got, wantErr)
	}
	in := b.ledger.intents[0]
	if in.State != recovery.IntentRefused || in.RequestID != "req-refused" {
		t.Errorf("intent = %+v, want refused with nova's request id", in)
	}
	if got := cloud.count("evacuate"); got != 1 {
		t.Errorf("sent %d times, want 1", got)
	}
}

func TestDoubleEvacuationIsNeverSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newNova(active("s1", failedHost))
		b := setup(t, cloud)
		cloud.before = func(ctx context.Context, _ string) error {
			time.Sleep(100 * time.Millisecond)
			return nil
		}
		var mu sync.Mutex
		codes := map[abi.Errno]int{}
		var wg sync.WaitGroup
		for range 10 {
			task := b.task() // also from different tasks
			wg.Go(func() {
				_, err := do(t.Context(), task, abi.OpNovaServerEvacuate, `{"id":"s1"}`)
				mu.Lock()
				defer mu.Unlock()
				codes[code(err)]++
			})
		}
		wg.Wait()
		if got := cloud.count("evacuate"); got != 1 || codes[abi.ErrnoOK] != 1 || codes[abi.ErrnoConflict] != 9 {
			t.Errorf("sent %d times, answers %v, want once, 1 ok and 9 conflicts", got, codes)
		}
	})
}

func TestAChangeGoesOnWhenItsTaskEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newNova(active("s1", failedHost))
		b := setup(t, cloud)
		// A cloud that never answers: the hatch bounds the request by itself.
		cloud.act = func(ctx context.Context, _, _, _ string) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}
		began := time.Now()
		_, err := do(context.WithoutCancel(t.Context()), b.task(), abi.OpNovaServerEvacuate, `{"id":"s1"}`)
		if got := code(err); got != abi.ErrnoUnavailable {
			t.Errorf("error = %v, want unavailable", err)
		}
		if took := time.Since(began); took > 7*time.Minute {
			t.Errorf("took %v, want less than 7 minutes", took)
		}
		if open, _ := b.ledger.OpenIntents(t.Context()); len(open) != 0 {
			t.Errorf("open intents = %v, want none", open)
		}
	})
}

func TestGuardsOfOneMomentShareTheirReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		var servers []recovery.Server
		for i := range n {
			servers = append(servers, active(fmt.Sprintf("s%d", i), failedHost))
		}
		cloud := newNova(servers...)
		b := setup(t, cloud)
		cloud.before = func(context.Context, string) error {
			time.Sleep(200 * time.Millisecond)
			return nil
		}
		task := b.task()
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				if _, err := do(t.Context(), task, abi.OpNovaServerEvacuate, fmt.Sprintf(`{"id":"s%d"}`, i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := []int{cloud.count("servers"), cloud.count("server"), cloud.count("migrations"), cloud.count("evacuate")}; !slices.Equal(got, []int{1, 0, 1, n}) {
			t.Errorf("lists, reads, migration lists, evacuations = %v, want [1 0 1 %d]", got, n)
		}
	})
}

// What a poll or a task's list showed less than a second ago is not read again.
func TestAGuardTakesWhatWasJustSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newNova(active("s1", failedHost), active("s2", failedHost))
		task := setup(t, cloud).task()
		evacuate := func(id string) error {
			_, err := do(t.Context(), task, abi.OpNovaServerEvacuate, fmt.Sprintf(`{"id":%q}`, id))
			return err
		}
		list := func() {
			if _, err := do(t.Context(), task, abi.OpNovaServerList, `{"host":"compute-1","fields":["id"]}`); err != nil {
				t.Fatal(err)
			}
		}
		list()
		if _, err := do(t.Context(), task, abi.OpNovaServerLock, `{"id":"s1"}`); err != nil {
			t.Fatal(err)
		}
		want(t, "", evacuate("s1"), "", "")
		if got := []int{cloud.count("servers"), cloud.count("server")}; !slices.Equal(got, []int{1, 0}) {
			t.Errorf("lists, reads = %v, want [1 0]", got)
		}
		// Not what was seen before its own evacuation: Nova has forgotten the record
		// of it, the server tells.
		cloud.mu.Lock()
		cloud.migs = nil
		cloud.mu.Unlock()
		want(t, "", evacuate("s1"), "", "conflict: nova.server_evacuate: server s1 is being rebuilt (task state rebuilding), a second evacuation would ruin it")
		// A slow answer is as good as a quick one.
		all := cloud.servers
		cloud.servers = func(ctx context.Context, f recovery.ServerFilter) ([]recovery.Server, error) {
			got, err := all(ctx, f)
			time.Sleep(3 * time.Second)
			return got, err
		}
		list()
		cloud.reset()
		if _, err := do(t.Context(), task, abi.OpNovaServerLock, `{"id":"s2"}`); err != nil {
			t.Fatal(err)
		}
		if got := cloud.count("servers", "server"); got != 0 {
			t.Errorf("%d reads, want none", got)
		}
		cloud.servers = all
		// But what was seen too long ago is not.
		time.Sleep(2 * time.Second)
		cloud.edit("s2", moveTo("compute-3"))
		want(t, "", evacuate("s2"), "", "conflict: nova.server_evacuate: server s2 is on compute-3, not on the failed host compute-1: it has been moved already")
	})
}

func TestAGuardNeverSharesAReadThatBeganBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newNova(active("s1", failedHost), active("s2", failedHost))
		b := setup(t, cloud)
		cloud.before = func(_ context.Context, call string) error {
			time.Sleep(time.Second)
			return nil
		}
		seen := cloud.server
		cloud.server = func(ctx context.Context, id string) (recovery.Server, error) { return seen(ctx, id) }
		task := b.task()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := do(t.Context(), task, abi.OpNovaServerEvacuate, `{"id":"s1"}`); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(500 * time.Millisecond) // the first one's read is under way
		wg.Go(func() {
			if _, err := do(t.Context(), task, abi.OpNovaServerEvacuate, `{"id":"s2"}`); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if got := []int{cloud.count("server"), cloud.count("migrations")}; !slices.Equal(got, []int{2, 2}) {
			t.Errorf("reads, migration lists = %v, want [2 2]", got)
		}
	})
}

func TestAServerThatIsNotListedIsReadByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newNova(active("s1", failedHost), active("s2", "compute-3"))
		b := setup(t, cloud)
		task := b.task()
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i, id := range []string{"s1", "s2"} {
			wg.Go(func() {
				_, errs[i] = do(t.Context(), task, abi.OpNovaServerEvacuate, fmt.Sprintf(`{"id":%q}`, id))
			})
		}
		wg.Wait()
		want(t, "", errs[0], "", "")
		want(t, "", errs[1], "", "conflict: nova.server_evacuate: server s2 is on compute-3, not on the failed host compute-1: it has been moved already")
	})
}
