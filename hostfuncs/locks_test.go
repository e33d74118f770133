package hostfuncs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

func lockedBy(reason string) recovery.Server {
	s := active("s1", failedHost)
	s.Locked, s.LockedReason = true, recovery.NullString(reason)
	return s
}

func TestServerLock(t *testing.T) {
	tests := []struct {
		name       string
		server     recovery.Server
		stubborn   bool // Nova keeps the old reason
		want       string
		wantErr    string
		wantReason string
		wantUndo   []string
	}{
		{name: "free", server: active("s1", failedHost), want: `{"locked":true,"request_id":"req-1"}`, wantReason: "wasakari run-7", wantUndo: []string{"unlock_server/s1"}},
		{name: "ours already", server: lockedBy("wasakari run-7"), want: `{"locked":true}`, wantReason: "wasakari run-7", wantUndo: []string{"unlock_server/s1"}},
		{name: "somebody's", server: lockedBy("do not touch"), want: `{"locked":false}`, wantReason: "do not touch"},
		{name: "somebody's without reason", server: lockedBy(""), want: `{"locked":false}`},
		{name: "left by a run that ended", server: lockedBy("wasakari run-old"), want: `{"locked":true,"request_id":"req-1"}`, wantReason: "wasakari run-7", wantUndo: []string{"unlock_server/s1"}},
		{name: "left, and not to be had", server: lockedBy("wasakari run-old"), stubborn: true, want: `{"locked":false,"request_id":"req-1"}`, wantReason: "wasakari run-old"},
		{
			name: "of a run that goes on", server: lockedBy("wasakari run-busy"), wantReason: "wasakari run-busy",
			wantErr: "conflict: nova.server_lock: server s1 is locked by run run-busy; wait for that run or resume it",
		},
		{
			name: "of a run that nobody knows", server: lockedBy("wasakari run-99"), wantReason: "wasakari run-99",
			wantErr: "conflict: nova.server_lock: server s1 is locked by run run-99; wait for that run or resume it",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cloud := newNova(tt.server)
			if tt.stubborn {
				cloud.act = func(context.Context, string, string, string) (string, error) { return "req-1", nil }
			}
			b := setup(t, cloud)
			got, err := do(t.Context(), b.task(), abi.OpNovaServerLock, `{"id":"s1"}`)
			want(t, got, err, tt.want, tt.wantErr)
			if got := string(cloud.srv["s1"].LockedReason); got != tt.wantReason {
				t.Errorf("locked_reason = %q, want %q", got, tt.wantReason)
			}
			if got := b.ledger.undoKeys(); !slices.Equal(got, tt.wantUndo) {
				t.Errorf("undo list = %q, want %q", got, tt.wantUndo)
			}
		})
	}
}

func TestLockIsOnTheUndoListBeforeItIsSet(t *testing.T) {
	cloud := newNova(active("s1", failedHost))
	b := setup(t, cloud)
	b.ledger.fail = func(what string) error {
		if strings.HasPrefix(what, "push") {
			return errOutside
		}
		return nil
	}
	_, err := do(t.Context(), b.task(), abi.OpNovaServerLock, `{"id":"s1"}`)
	want(t, "", err, "", "unavailable: nova.server_lock: undo list: unlock_server/s1: the disk is on fire")
	if got := cloud.count("lock"); got != 0 {
		t.Errorf("%d locks were sent, want 0", got)
	}
}

func TestServerUnlock(t *testing.T) {
	tests := []struct {
		name   string
		server recovery.Server
		want   string
		sent   int
	}{
		{"ours", lockedBy("wasakari run-7"), `{"unlocked":true,"request_id":"req-1"}`, 1},
		{"not locked", active("s1", failedHost), `{"unlocked":false}`, 0},
		{"somebody's", lockedBy("do not touch"), `{"unlocked":false}`, 0},
		{"another run's", lockedBy("wasakari run-70"), `{"unlocked":false}`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cloud := newNova(tt.server)
			b := setup(t, cloud)
			b.ledger.undos = []recovery.Undo{{Key: "unlock_server/s1", Kind: recovery.UndoLock, Target: "s1"}}
			got, err := do(t.Context(), b.task(), abi.OpNovaServerUnlock, `{"id":"s1"}`)
			want(t, got, err, tt.want, "")
			if got := cloud.count("unlock"); got != tt.sent {
				t.Errorf("%d unlocks were sent, want %d", got, tt.sent)
			}
			if got := b.ledger.undoKeys(); len(got) != 0 {
				t.Errorf("undo list = %q, want none", got)
			}
		})
	}
}

func TestLockAndUnlockUseWhatWasReadAMomentAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := active("s1", failedHost)
		s.TaskState = "rebuilding"
		cloud := newNova(s)
		b := setup(t, cloud)
		task := b.task()
		step := func(op, req, answer string) {
			t.Helper()
			got, err := do(t.Context(), task, op, req)
			want(t, got, err, answer, "")
		}
		wait := func() {
			step(abi.OpNovaServerWait, `{"id":"s1","until":"moved","fields":["id"]}`, `{"outcome":"reached","server":{"id":"s1"}}`)
		}
		step(abi.OpNovaServerLock, `{"id":"s1"}`, `{"locked":true,"request_id":"req-1"}`)
		time.AfterFunc(500*time.Millisecond, func() { cloud.edit("s1", moveTo("compute-2")) })
		wait()
		cloud.reset()
		step(abi.OpNovaServerUnlock, `{"id":"s1"}`, `{"unlocked":true,"request_id":"req-2"}`)
		if got := cloud.count("server", "servers"); got != 0 {
			t.Errorf("%d reads for the unlock, want 0: the wait has just read the server", got)
		}
		// What was read before the unlock says nothing about the time after it.
		step(abi.OpNovaServerUnlock, `{"id":"s1"}`, `{"unlocked":false}`)
		time.Sleep(time.Second)
		wait()
		time.Sleep(time.Second)
		cloud.edit("s1", func(s *recovery.Server) { s.Locked, s.LockedReason = true, "do not touch" })
		step(abi.OpNovaServerLock, `{"id":"s1"}`, `{"locked":false}`)
	})
}

func TestLocksOfAPersonAreSeenHoweverRarelyNovaIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newNova(active("s1", "compute-2"))
		task := setup(t, cloud, func(b *bench) { b.deps.Options.VerifyInterval = time.Minute }).task()
		if _, err := do(t.Context(), task, abi.OpNovaServerWait, `{"id":"s1","until":"task_clear"}`); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		cloud.edit("s1", func(s *recovery.Server) { s.Locked, s.LockedReason = true, "do not touch" })
		got, err := do(t.Context(), task, abi.OpNovaServerLock, `{"id":"s1"}`)
		want(t, got, err, `{"locked":false}`, "")
	})
}

func TestLocksOnANovaThatKeepsNoReasons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := active("s2", failedHost)
		other.Locked = true
		cloud := newNova(active("s1", failedHost), other)
		change := cloud.act
		cloud.act = func(ctx context.Context, verb, id, _ string) (string, error) { return change(ctx, verb, id, "") }
		task := setup(t, cloud).task()
		for _, step := range []struct{ op, req, want string }{
			{abi.OpNovaServerLock, `{"id":"s1"}`, `{"locked":true,"request_id":"req-1"}`},
			{abi.OpNovaServerLock, `{"id":"s1"}`, `{"locked":true}`},
			{abi.OpNovaServerLock, `{"id":"s2"}`, `{"locked":false}`},
			{abi.OpNovaServerUnlock, `{"id":"s2"}`, `{"unlocked":false}`},
			{abi.OpNovaServerUnlock, `{"id":"s1"}`, `{"unlocked":true,"request_id":"req-2"}`},
			{abi.OpNovaServerUnlock, `{"id":"s1"}`, `{"unlocked":false}`},
		} {
			got, err := do(t.Context(), task, step.op, step.req)
			want(t, got, err, step.want, "")
		}
	})
}

func TestALockWithoutReasonIsNotOursWhereReasonsAreKept(t *testing.T) {
	cloud := newNova(active("s1", failedHost), active("s2", failedHost))
	task := setup(t, cloud).task()
	for _, step := range []struct{ op, req, want string }{
		{abi.OpNovaServerLock, `{"id":"s1"}`, `{"locked":true,"request_id":"req-1"}`},
		{abi.OpNovaServerLock, `{"id":"s2"}`, `{"locked":true,"request_id":"req-2"}`},
		{abi.OpNovaServerUnlock, `{"id":"s2"}`, `{"unlocked":true,"request_id":"req-3"}`},
	} {
		got, err := do(t.Context(), task, step.op, step.req)
		want(t, got, err, step.want, "")
	}
	// A person took our lock off and put on one of their own.
	cloud.edit("s1", func(s *recovery.Server) { s.LockedReason = "" })
	got, err := do(t.Context(), task, abi.OpNovaServerUnlock, `{"id":"s1"}`)
	want(t, got, err, `{"unlocked":false}`, "")
}

func TestAListFromBeforeTheUnlockSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newNova(lockedBy("wasakari run-7"))
		cloud.migs = []recovery.Migration{evacuation("m1", "s1", "failed")}
		task := setup(t, cloud).task()
		got, err := do(t.Context(), task, abi.OpNovaServerWait, `{"id":"s1","until":"moved","fields":["id"]}`)
		want(t, got, err, `{"outcome":"error","server":{"id":"s1"},"message":"evacuation m1 ended in failed"}`, "")
		time.Sleep(100 * time.Millisecond)
		got, err = do(t.Context(), task, abi.OpNovaServerUnlock, `{"id":"s1"}`)
		want(t, got, err, `{"unlocked":true,"request_id":"req-1"}`, "")
		got, err = do(t.Context(), task, abi.OpNovaServerUnlock, `{"id":"s1"}`)
		want(t, got, err, `{"unlocked":false}`, "")
		if got := cloud.count("server"); got != 2 {
			t.Errorf("%d reads, want 2: for the wait and the second unlock", got)
		}
	})
}

func compute(host, status, reason string) recovery.ComputeService {
	return recovery.ComputeService{ID: "svc-" + host, Binary: "nova-compute", Host: host, Status: status, State: "up", DisabledReason: recovery.NullString(reason)}
}

func TestServiceDisableMarks(t *testing.T) {
	tests := []struct {
		name, was, reason, req string
		want, wantErr          string
		sent                   int
	}{
		{name: "enabled", was: "enabled", req: `"reason":"host failed"`, want: "host failed [wasakari east run-7]", sent: 1},
		{name: "no reason given", was: "enabled", req: `"binary":"nova-compute"`, want: "[wasakari east run-7]", sent: 1},
		{name: "disabled by a person", was: "disabled", reason: "new disks", req: `"reason":"host failed"`, want: "host failed [wasakari east run-7]", sent: 1},
		{name: "disabled by this run", was: "disabled", reason: "host failed [wasakari east run-7]", req: `"reason":"another"`, want: "host failed [wasakari east run-7]"},
		{name: "by a run that ended", was: "disabled", reason: "x [wasakari east run-old]", req: `"reason":"again"`, want: "again [wasakari east run-7]", sent: 1},
		{
			name: "by a run that goes on", was: "disabled", reason: "x [wasakari east run-busy]", req: `"reason":"again"`, want: "x [wasakari east run-busy]",
			wantErr: `conflict: nova.service_disable: nova-compute of compute-1 was disabled by run run-busy of cluster "east"; finish or resume that run there, or enable the service by hand if it is over`,
		},
		{
			name: "by another cluster", was: "disabled", reason: "x [wasakari west run-old]", req: `"reason":"again"`, want: "x [wasakari west run-old]",
			wantErr: `conflict: nova.service_disable: nova-compute of compute-1 was disabled by run run-old of cluster "west"; finish or resume that run there, or enable the service by hand if it is over`,
		},
		{name: "an old mark of an enabled service", was: "enabled", reason: "x [wasakari west run-old]", req: `"reason":"again"`, want: "again [wasakari east run-7]", sent: 1},
		{name: "a long reason", was: "enabled", req: `"reason":"` + strings.Repeat("é", 200) + `"`, want: strings.Repeat("é", 116) + " [wasakari east run-7]", sent: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cloud := newNova()
			cloud.svcs = []recovery.ComputeService{compute(failedHost, tt.was, tt.reason)}
			b := setup(t, cloud)
			_, err := do(t.Context(), b.task(), abi.OpNovaServiceDisable, `{"host":"compute-1",`+tt.req+`}`)
			want(t, "", err, "", tt.wantErr)
			if got := string(cloud.svcs[0].DisabledReason); got != tt.want || len(got) > 255 {
				t.Errorf("reason = %q (%d bytes), want %q", got, len(got), tt.want)
			}
			if got := cloud.count("update_service"); got != tt.sent {
				t.Errorf("%d changes were sent, want %d", got, tt.sent)
			}
		})
	}
}

func TestServiceEnable(t *testing.T) {
	tests := []struct {
		name     string
		service  recovery.ComputeService
		reserved string // by the flow
		changed  bool
		wantErr  string
		wantUndo []recovery.Undo
	}{
		{name: "an ordinary host", service: compute("compute-2", "disabled", "x"), changed: true},
		{
			name: "a reserved host", service: compute("compute-4", "disabled", "spare"), changed: true,
			wantUndo: []recovery.Undo{{Key: "disable_service/compute-4", Kind: recovery.UndoServiceEnable, Target: "compute-4", Host: "compute-4", Reason: "spare"}},
		},
		{
			name: "a reserved host without reason", service: compute("compute-4", "disabled", ""), changed: true,
			wantUndo: []recovery.Undo{{Key: "disable_service/compute-4", Kind: recovery.UndoServiceEnable, Target: "compute-4", Host: "compute-4", Reason: "reserved host"}},
		},
		{
			name: "reserved by the flow's word", service: compute("compute-5", "disabled", ""), reserved: "compute-5", changed: true,
			wantUndo: []recovery.Undo{{Key: "disable_service/compute-5", Kind: recovery.UndoServiceEnable, Target: "compute-5", Host: "compute-5", Reason: "reserved host"}},
		},
		{name: "enabled already", service: compute("compute-4", "enabled", "")},
		{
			name: "disabled by another run", service: compute("compute-4", "disabled", "x [wasakari east run-busy]"),
			wantErr: `conflict: nova.service_enable: nova-compute of compute-4 was disabled by run run-busy of cluster "east"; finish or resume that run there, or enable the service by hand if it is over`,
		},
		{name: "disabled by this run", service: compute("compute-2", "disabled", "x [wasakari east run-7]"), changed: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cloud := newNova()
			cloud.svcs = []recovery.ComputeService{tt.service}
			b := setup(t, cloud)
			got, err := do(t.Context(), b.task(func(c *hostfuncs.TaskCall) { c.ReservedHost = tt.reserved }),
				abi.OpNovaServiceEnable, fmt.Sprintf(`{"host":%q}`, tt.service.Host))
			want(t, "", err, "", tt.wantErr)
			var ans struct{ Changed bool }
			if err == nil {
				if err := json.Unmarshal([]byte(got), &ans); err != nil || ans.Changed != tt.changed {
					t.Errorf("answer = %s, want changed %v", got, tt.changed)
				}
			}
			if !slices.Equal(b.ledger.undos, tt.wantUndo) {
				t.Errorf("undo list = %+v, want %+v", b.ledger.undos, tt.wantUndo)
			}
		})
	}
}

func TestForceDownNeedsAProof(t *testing.T) {
	tests := []struct {
		name, req string
		call      func(*hostfuncs.TaskCall)
		wantErr   string
		want      bool
	}{
		{name: "proved", req: `{"host":"compute-1","forced_down":true}`, call: proof(nil), want: true},
		{name: "not proved", req: `{"host":"compute-1","forced_down":true}`, wantErr: "forbidden: nova.service_force_down: host compute-1 is not forced down: no fence_proof was provided in this run"},
		{
			name: "another host", req: `{"host":"compute-2","forced_down":true}`, call: proof(nil),
			wantErr: `forbidden: nova.service_force_down: host compute-2 is not forced down: fence_proof is of host "compute-1", not of "compute-2"`,
		},
		{name: "up again", req: `{"host":"compute-1","forced_down":false}`},
		{name: "not forced down", req: `{"host":"compute-2","forced_down":false}`},
		{
			name: "another run's", req: `{"host":"compute-3","forced_down":false}`,
			wantErr: `conflict: nova.service_force_down: nova-compute of compute-3 was disabled by run 9 of cluster "other"; finish or resume that run there, or enable the service by hand if it is over`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cloud := newNova()
			cloud.svcs = []recovery.ComputeService{compute(failedHost, "disabled", ""), compute("compute-2", "enabled", ""), compute("compute-3", "disabled", "x [wasakari other 9]")}
			cloud.svcs[2].ForcedDown = true
			if tt.call == nil {
				tt.call = func(*hostfuncs.TaskCall) {}
			}
			_, err := do(t.Context(), setup(t, cloud).task(tt.call), abi.OpNovaServiceForceDown, tt.req)
			want(t, "", err, "", tt.wantErr)
			if !cloud.svcs[2].ForcedDown {
				t.Error("another run's host is not forced down any more")
			}
			if got := cloud.svcs[0].ForcedDown; got != tt.want {
				t.Errorf("forced_down = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestAggregates(t *testing.T) {
	tests := []struct {
		name, op, req string
		want, wantErr string
		wantHosts     []string
		wantUndo      []string
	}{
		{name: "add", op: abi.OpNovaAggregateAddHost, req: `{"id":1,"host":"compute-2"}`, want: `{"request_id":"req-1"}`, wantHosts: []string{"compute-1", "compute-2"}},
		{name: "add a reserved host", op: abi.OpNovaAggregateAddHost, req: `{"id":1,"host":"compute-4"}`, want: `{"request_id":"req-1"}`, wantHosts: []string{"compute-1", "compute-4"}, wantUndo: []string{"remove_aggregate_host/1/compute-4"}},
		{name: "add again", op: abi.OpNovaAggregateAddHost, req: `{"id":1,"host":"compute-1"}`, wantErr: "conflict: nova.aggregate_add_host: host compute-1 is in aggregate az (1) already", wantHosts: []string{"compute-1"}},
		{name: "add to none", op: abi.OpNovaAggregateAddHost, req: `{"id":9,"host":"compute-1"}`, wantErr: "not_found: nova.aggregate_add_host: aggregate 9", wantHosts: []string{"compute-1"}},
		{name: "remove", op: abi.OpNovaAggregateRemoveHost, req: `{"id":1,"host":"compute-1"}`, want: `{"request_id":"req-1"}`},
		{name: "remove again", op: abi.OpNovaAggregateRemoveHost, req: `{"id":1,"host":"compute-2"}`, want: `{}`, wantHosts: []string{"compute-1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cloud := newNova()
			cloud.aggs = []recovery.Aggregate{{ID: 1, Name: "az", Hosts: []string{"compute-1"}}}
			b := setup(t, cloud)
			got, err := do(t.Context(), b.task(), tt.op, tt.req)
			want(t, got, err, tt.want, tt.wantErr)
			if got := cloud.aggs[0].Hosts; !slices.Equal(got, tt.wantHosts) {
				t.Errorf("hosts = %q, want %q", got, tt.wantHosts)
			}
			if got := b.ledger.undoKeys(); !slices.Equal(got, tt.wantUndo) {
				t.Errorf("undo list = %q, want %q", got, tt.wantUndo)
			}
		})
	}
}

// reservedRun is a run that locked two servers, enabled compute-4 and put it
// into an aggregate.
func reservedRun(t *testing.T) *bench {
	cloud := newNova(active("s1", failedHost), active("s2", failedHost))
	cloud.svcs = []recovery.ComputeService{compute("compute-4", "disabled", "spare")}
	cloud.aggs = []recovery.Aggregate{{ID: 1, Name: "az", Hosts: []string{failedHost}}}
	b := setup(t, cloud)
	for _, step := range []struct{ op, req string }{
		{abi.OpNovaServiceEnable, `{"host":"compute-4"}`},
		{abi.OpNovaAggregateAddHost, `{"id":1,"host":"compute-4"}`},
		{abi.OpNovaServerLock, `{"id":"s1"}`},
		{abi.OpNovaServerLock, `{"id":"s2"}`},
	} {
		if _, err := do(t.Context(), b.task(), step.op, step.req); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestUndo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := reservedRun(t)
		b.ledger.log = nil
		if err := b.hatch.Undo(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s1, s2 := b.cloud.srv["s1"], b.cloud.srv["s2"]; s1.Locked || s2.Locked {
			t.Errorf("s1 locked %v, s2 locked %v, want neither", s1.Locked, s2.Locked)
		}
		if got := b.cloud.svcs[0]; got.Status != "disabled" || got.DisabledReason != "spare" {
			t.Errorf("service = %+v, want disabled with its own reason", got)
		}
		if got := b.cloud.aggs[0].Hosts; !slices.Equal(got, []string{failedHost}) {
			t.Errorf("aggregate = %q, want compute-1 only", got)
		}
		if got := b.ledger.undoKeys(); len(got) != 0 {
			t.Errorf("undo list = %q, want none", got)
		}
		var drops []string
		for _, l := range b.ledger.log {
			if key, ok := strings.CutPrefix(l, "drop "); ok && !strings.HasPrefix(key, "unlock") {
				drops = append(drops, key)
			}
		}
		if wantDrops := []string{"remove_aggregate_host/1/compute-4", "disable_service/compute-4"}; !slices.Equal(drops, wantDrops) {
			t.Errorf("order = %q, want newest first %q", drops, wantDrops)
		}
		b.cloud.reset()
		if err := b.hatch.Undo(t.Context()); err != nil || len(b.cloud.calls) != 0 {
			t.Errorf("a second Undo: error %v, calls %v, want nothing", err, b.cloud.calls)
		}
	})
}

func TestUndoIsTolerant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := reservedRun(t)
		delete(b.cloud.srv, "s1")
		b.cloud.edit("s2", func(s *recovery.Server) { s.LockedReason = "a person's" })
		b.cloud.svcs[0] = compute("compute-4", "disabled", "by a person")
		b.cloud.aggs = nil
		if err := b.hatch.Undo(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := b.cloud.srv["s2"]; !got.Locked {
			t.Error("a person's lock was taken off")
		}
		if got := b.cloud.svcs[0].DisabledReason; got != "by a person" {
			t.Errorf("reason = %q, want it left", got)
		}
		if got := b.ledger.undoKeys(); len(got) != 0 {
			t.Errorf("undo list = %q, want none", got)
		}
	})
}

// TestUndoLeavesAReservedHostThatIsUsed: what ends a run in the middle, an
// interruption or a claim that cannot be repeated, must not take a host out of
// service that has taken servers.
func TestUndoLeavesAReservedHostThatIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := reservedRun(t)
		b.ha.vmoves = []recovery.VMove{{UUID: "v1", InstanceUUID: "s1", Attempt: 1, Status: "succeeded", DestHost: "compute-4"}}
		if err := b.hatch.Undo(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := b.cloud.svcs[0].Status; got != "enabled" || b.ha.reserved("compute-4") {
			t.Errorf("service is %s, reserved %v, want enabled and not", got, b.ha.reserved("compute-4"))
		}
		if s1, s2 := b.cloud.srv["s1"], b.cloud.srv["s2"]; s1.Locked || s2.Locked {
			t.Errorf("s1 locked %v, s2 locked %v, want neither", s1.Locked, s2.Locked)
		}
		if got := b.ledger.undoKeys(); len(got) != 0 {
			t.Errorf("undo list = %q, want none", got)
		}
	})
}

func TestUndoKeepsWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := reservedRun(t)
		b.cloud.before = func(_ context.Context, call string) error {
			if call == "unlock" || call == "aggregates" {
				return cloudError(call, 503, "down", recovery.ErrUnavailable)
			}
			return nil
		}
		err := b.hatch.Undo(t.Context())
		const wantErr = "undo unlock_server/s2: unlock: 503 down (req-refused)\nundo unlock_server/s1: unlock: 503 down (req-refused)\n" +
			"undo remove_aggregate_host/1/compute-4: aggregates: 503 down (req-refused)"
		if err == nil || err.Error() != wantErr {
			t.Errorf("error = %v, want %s", err, wantErr)
		}
		if got, wantKeys := b.ledger.undoKeys(), []string{"remove_aggregate_host/1/compute-4", "unlock_server/s1", "unlock_server/s2"}; !slices.Equal(got, wantKeys) {
			t.Errorf("undo list = %q, want %q", got, wantKeys)
		}
		if got := b.cloud.svcs[0].Status; got != "disabled" {
			t.Errorf("service is %s, want disabled all the same", got)
		}
		b.cloud.before = nil
		if err := b.hatch.Undo(t.Context()); err != nil || len(b.ledger.undoKeys()) != 0 {
			t.Errorf("again: error %v, undo list %q, want nothing left", err, b.ledger.undoKeys())
		}
	})
}

func TestUndoEndsWhenNovaHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := reservedRun(t)
		b.cloud.before = func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		if err := b.hatch.Undo(t.Context()); !errors.Is(err, recovery.ErrTimeout) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v, want a timeout", err)
		}
		if took := time.Since(began); took > 10*time.Minute {
			t.Errorf("took %v, want at most 10 minutes", took)
		}
		if got := len(b.ledger.undoKeys()); got != 4 {
			t.Errorf("%d entries are left, want 4", got)
		}
	})
}

func TestSettleReserved(t *testing.T) {
	move := func(server string, attempt int, status recovery.VMoveStatus, dest string) recovery.VMove {
		return recovery.VMove{UUID: fmt.Sprint(server, attempt), InstanceUUID: server, Attempt: attempt, Status: status, DestHost: dest}
	}
	tests := []struct {
		name   string
		vmoves []recovery.VMove
		open   string // where an evacuation of s1 is under way to
		done   string // where an evacuation of s1 ended
		at     string // where s1 is; empty: on the failed host
		keep   bool
		later  bool // it is not decided yet
	}{
		{name: "one moved to it", vmoves: []recovery.VMove{move("s1", 1, "failed", ""), move("s2", 1, "succeeded", "compute-4")}, keep: true},
		{name: "moved in the first round", vmoves: []recovery.VMove{move("s1", 1, "succeeded", "compute-4"), move("s2", 2, "failed", "")}, keep: true},
		{name: "moved, and failed on it", vmoves: []recovery.VMove{move("s1", 1, "failed", "compute-4")}, keep: true},
		{name: "on the way when the wait ran out", vmoves: []recovery.VMove{move("s1", 1, "failed", "")}, open: "compute-4", later: true},
		{name: "on the way elsewhere", vmoves: []recovery.VMove{move("s1", 1, "failed", "")}, open: "compute-3"},
		{name: "nothing moved", vmoves: []recovery.VMove{move("s1", 1, "failed", ""), move("s2", 1, "ongoing", "")}},
		{name: "moved elsewhere", vmoves: []recovery.VMove{move("s1", 1, "succeeded", "compute-3")}},
		{name: "moved away again", vmoves: []recovery.VMove{move("s1", 1, "succeeded", "compute-4"), move("s1", 2, "succeeded", "compute-3")}},
		{name: "arrived after the wait ran out", vmoves: []recovery.VMove{move("s1", 1, "failed", "")}, done: "compute-4", at: "compute-4", keep: true},
		{name: "arrived, and the task was stopped before it saw that", vmoves: []recovery.VMove{move("s1", 1, "ongoing", "")}, done: "compute-4", at: "compute-4", keep: true},
		{name: "arrived elsewhere", vmoves: []recovery.VMove{move("s1", 1, "failed", "")}, done: "compute-3", at: "compute-3"},
		{name: "there in former times", vmoves: []recovery.VMove{move("s1", 1, "failed", "")}, done: "compute-4"},
		{name: "no vmoves"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := reservedRun(t)
			b.ha.vmoves = tt.vmoves
			for status, dest := range map[string]string{"accepted": tt.open, "done": tt.done} {
				if dest != "" {
					m := evacuation("m1", "s1", status)
					m.DestCompute = recovery.NullString(dest)
					b.cloud.migs = append(b.cloud.migs, m)
				}
			}
			if tt.at != "" {
				b.cloud.edit("s1", moveTo(tt.at))
			}
			if err := b.hatch.SettleReserved(t.Context(), "compute-4"); err != nil {
				t.Fatal(err)
			}
			status, inAggregate := "disabled", false
			// The locks stay for those who hold them.
			wantKeys := []string{"unlock_server/s1", "unlock_server/s2"}
			if tt.later {
				wantKeys = append([]string{"disable_service/compute-4", "remove_aggregate_host/1/compute-4"}, wantKeys...)
			}
			if tt.keep || tt.later {
				status, inAggregate = "enabled", true
			}
			if got := b.cloud.svcs[0].Status; got != status {
				t.Errorf("service is %s, want %s", got, status)
			}
			if got := slices.Contains(b.cloud.aggs[0].Hosts, "compute-4"); got != inAggregate {
				t.Errorf("in the aggregate: %v, want %v", got, inAggregate)
			}
			if got := b.ha.reserved("compute-4"); got != !tt.keep {
				t.Errorf("reserved = %v, want %v", got, !tt.keep)
			}
			if got := b.ledger.undoKeys(); !slices.Equal(got, wantKeys) {
				t.Errorf("undo list = %q, want %q", got, wantKeys)
			}
			if tt.later { // that evacuation fails
				b.cloud.setMigration("s1", "error")
				if err := b.hatch.Undo(t.Context()); err != nil || b.cloud.svcs[0].Status != "disabled" {
					t.Errorf("at the end: %v, service is %s, want disabled", err, b.cloud.svcs[0].Status)
				}
			}
		})
	}
}

func TestSettle(t *testing.T) {
	open := func(op, target string, known ...string) recovery.Intent {
		return recovery.Intent{ID: op + target, Op: op, Target: target, State: recovery.IntentOpen, Known: known}
	}
	setupSettle := func(t *testing.T, change ...func(*bench)) *bench {
		cloud := newNova(active("s1", "compute-2"), active("s2", failedHost), active("s3", failedHost))
		cloud.migs = []recovery.Migration{evacuation("m1", "s1", "error"), evacuation("m22", "s1", "done"), evacuation("m333", "s2", "error")}
		cloud.acts["s1"] = []recovery.ServerAction{
			{Action: "evacuate", RequestID: "req-a", StartTime: "1"}, {Action: "evacuate", RequestID: "req-b", StartTime: "2"}, {Action: "stop", RequestID: "req-c", StartTime: "3"},
		}
		b := setup(t, cloud, change...)
		b.ledger.intents = []recovery.Intent{
			open(abi.OpNovaServerEvacuate, "s1", "m1"),
			open(abi.OpNovaServerEvacuate, "s2", "m333"),
			open(abi.OpNovaServerStop, "s1"),
			open(abi.OpNovaServerStart, "s9"),
			open(abi.OpNovaServerLock, "s3"),
		}
		return b
	}
	t.Run("found, lost, gone, repeatable", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := setupSettle(t)
			b.cloud.actions = func(actions func(context.Context, string) ([]recovery.ServerAction, error)) func(context.Context, string) ([]recovery.ServerAction, error) {
				return func(ctx context.Context, id string) ([]recovery.ServerAction, error) {
					if id == "s9" {
						return nil, cloudError("actions", 404, "gone", recovery.ErrNotFound)
					}
					return actions(ctx, id)
				}
			}(b.cloud.actions)
			began := time.Now()
			if err := b.hatch.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantStates := []string{"server_evacuate s1 done", "server_evacuate s2 lost", "server_stop s1 done", "server_start s9 lost", "server_lock s3 lost"}
			if got := b.ledger.states(); !slices.Equal(got, wantStates) {
				t.Errorf("intents = %q, want %q", got, wantStates)
			}
			if got := []string{b.ledger.intents[0].RequestID, b.ledger.intents[2].RequestID}; !slices.Equal(got, []string{"req-b", "req-c"}) {
				t.Errorf("request ids = %q, want [req-b req-c]", got)
			}
			if took := time.Since(began); took < 60*time.Second || took > 62*time.Second {
				t.Errorf("took %v, want the outcome wait of 60s", took)
			}
		})
	})
	t.Run("at the end of the run", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := setupSettle(t)
			began := time.Now()
			for i := range b.ledger.intents {
				b.ledger.intents[i].Started = began.Add(-30 * time.Second)
			}
			if err := b.hatch.Undo(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantStates := []string{"server_evacuate s1 done", "server_evacuate s2 lost", "server_stop s1 done", "server_start s9 lost", "server_lock s3 lost"}
			if got := b.ledger.states(); !slices.Equal(got, wantStates) {
				t.Errorf("intents = %q, want %q", got, wantStates)
			}
			if took := time.Since(began); took < 60*time.Second || took > 62*time.Second {
				t.Errorf("took %v, want what is left of a request and the outcome wait, 90s in all", took)
			}
			b = setupSettle(t)
			b.cloud.before = func(context.Context, string) error {
				return cloudError("read", 503, "down", recovery.ErrUnavailable)
			}
			if err := b.hatch.Undo(t.Context()); !errors.Is(err, recovery.ErrUnavailable) {
				t.Errorf("without Nova: %v, want unavailable", err)
			}
			if open, _ := b.ledger.OpenIntents(t.Context()); len(open) != 4 {
				t.Errorf("without Nova %d intents stay open, want 4", len(open))
			}
		})
	})
	t.Run("a node may still be at work", func(t *testing.T) {
		for _, tt := range []struct{ first, want time.Duration }{
			{31 * time.Second, 60 * time.Second}, {5 * time.Minute, 5 * time.Minute},
		} {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				b := setupSettle(t, func(b *bench) { b.deps.Run.FirstChange = began.Add(tt.first) })
				if err := b.hatch.Settle(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began).Round(2 * time.Second); took != tt.want {
					t.Errorf("first change after %v: took %v, want %v", tt.first, took, tt.want)
				}
				b.ledger.intents = nil
				began = time.Now()
				if err := b.hatch.Settle(t.Context()); err != nil || time.Since(began) != 0 {
					t.Errorf("nothing to settle: %v after %v, want at once", err, time.Since(began))
				}
			})
		}
	})
	t.Run("nova away", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := setupSettle(t)
			b.cloud.before = func(context.Context, string) error {
				return cloudError("read", 503, "down", recovery.ErrUnavailable)
			}
			if err := b.hatch.Settle(t.Context()); !errors.Is(err, recovery.ErrUnavailable) {
				t.Errorf("error = %v, want unavailable", err)
			}
			open, _ := b.ledger.OpenIntents(t.Context())
			if len(open) != 4 {
				t.Errorf("%d intents stay open, want 4", len(open))
			}
			// Later Nova is back, and what was asked for in the meantime is settled
			// before anything is sent.
			b.cloud.before = nil
			_, err := do(t.Context(), b.task(), abi.OpNovaServerEvacuate, `{"id":"s1"}`)
			want(t, "", err, "", "conflict: nova.server_evacuate: server s1 is on compute-2, not on the failed host compute-1: it has been moved already")
			if got := b.ledger.states()[0]; got != "server_evacuate s1 done" {
				t.Errorf("intent = %q, want server_evacuate s1 done", got)
			}
		})
	})
}
