package store_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
	"github.com/wasakari/wasakari/store/storetest"
)

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: dir, Node: "n1", Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestEmbedded(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.Store { return open(t, filepath.Join(t.TempDir(), "store")) })
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Everything is there after the process died and another one opens the folder,
// which goes on at once: the folder's lock proves that nobody else works with
// it.
func TestReopen(t *testing.T) {
	dir, ctx := filepath.Join(t.TempDir(), "store"), t.Context()
	s := open(t, dir)
	n := fill(t, s)
	want := contents(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if got := contents(t, s); got != want {
		t.Errorf("after reopening:\n%s\nbefore:\n%s", got, want)
	}
	r, err := s.Claim(ctx, n.UUID)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if !r.FirstChange().IsZero() || r.Claims() != 2 {
		t.Errorf("first change %v, claims %d", r.FirstChange(), r.Claims())
	}
	if err := r.Check(ctx, time.Hour); err != nil {
		t.Errorf("check: %v", err)
	}
}

func TestFolders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "store")
	s := open(t, dir)
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode(), 0o700|fs.ModeDir; got != want {
		t.Errorf("mode %v, want %v", got, want)
	}
	_, err = store.Open(t.Context(), store.Config{Dir: dir, Node: "n2"})
	if want := "store folder " + dir + ": conflict: another process works with it"; err == nil || err.Error() != want || !errors.Is(err, recovery.ErrConflict) {
		t.Errorf("error = %v, want %s", err, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o720); err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(t.Context(), store.Config{Dir: dir, Node: "n2"})
	if want := "store folder " + dir + ": forbidden: others may write to it (mode 0720); chmod 700 it, or name another folder"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  store.Config
		want string
	}{
		{"nothing", store.Config{}, "store: invalid: no folder and no endpoints\nstore: invalid: node name of 0 bytes, want 1 to 512"},
		{"both", store.Config{Node: "n", Dir: "d", Endpoints: []string{"e"}}, "store: invalid: both a folder and endpoints"},
		{"short lease", store.Config{Node: "n", Dir: "d", LeaseTTL: time.Second}, "store: invalid: lease of 1s, at least 2s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := store.Open(t.Context(), tt.cfg); err == nil || err.Error() != tt.want {
				t.Errorf("error = %v, want %s", err, tt.want)
			}
		})
	}
}

func TestSweep(t *testing.T) {
	ctx := t.Context()
	s, err := store.Open(ctx, store.Config{Dir: filepath.Join(t.TempDir(), "store"), Node: "n1", Retention: time.Nanosecond, RetentionRuns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the end of the test
	n := fill(t, s)
	undone := fillOne(t, s)
	r, err := s.Claim(ctx, undone.UUID)
	if err == nil {
		defer r.Close()
		err = errors.Join(r.PushUndo(ctx, recovery.Undo{Key: "k"}), r.Start(ctx, recovery.Run{ID: r.ID(), Finished: true, Ended: time.Now()}))
	}
	if err := errors.Join(err, s.Sweep(ctx)); err != nil {
		t.Fatal(err)
	}
	// What is not done with stays, however old; so does a run that ended and left
	// something to undo.
	left := storetest.Notifications(t, s)
	if len(left) != 2 || left[0].UUID != undone.UUID || left[1].UUID != n.UUID {
		t.Errorf("notifications = %v", left)
	}
	runs := storetest.Runs(t, s)
	if len(runs) != 2 || runs[0].ID != r.ID() || runs[1].Finished {
		t.Errorf("runs = %v", runs)
	}
	if vmoves, err := s.VMoves(ctx, n.UUID); err != nil || len(vmoves) != 3 {
		t.Errorf("vmoves = %v, %v", vmoves, err)
	}
	// What was remembered of the other one went with it.
	if _, err := s.Accept(ctx, recovery.Notification{Type: recovery.ComputeHost, HostName: "h1", Payload: json.RawMessage(`{"event":"STOPPED"}`)}, time.Hour); err != nil {
		t.Errorf("accept: %v", err)
	}
	if err := s.Compact(ctx); err != nil {
		t.Errorf("compact: %v", err)
	}
	if u, err := s.Usage(ctx); err != nil || u.Size <= 0 || u.InUse <= 0 || u.Quota != 2048<<20 {
		t.Errorf("usage = %+v, %v", u, err)
	}
}

// When the database fills up, what could wait is refused first, then new runs;
// notifications are taken, and runs end, to the last.
func TestReserve(t *testing.T) {
	ctx := t.Context()
	s := open(t, filepath.Join(t.TempDir(), "store"))
	one := recovery.KVValue{Value: json.RawMessage(`1`)}
	for _, tt := range []struct {
		percent       int64
		values, claim error
	}{
		{84, nil, nil},
		{85, recovery.ErrQuota, nil},
		{94, recovery.ErrQuota, nil},
		{95, recovery.ErrQuota, recovery.ErrUnavailable},
	} {
		n := fillOne(t, s)
		r, err := s.Claim(ctx, n.UUID)
		if err != nil {
			t.Fatal(err)
		}
		waiting := fillOne(t, s)
		s.Fill(tt.percent)
		if err := onlyErr(s.Library().Put(ctx, "acme", "n", one, nil)); !errors.Is(err, tt.values) {
			t.Errorf("%d %%: value: %v, want %v", tt.percent, err, tt.values)
		}
		if err := onlyErr(s.Claim(ctx, waiting.UUID)); !errors.Is(err, tt.claim) {
			t.Errorf("%d %%: claim: %v, want %v", tt.percent, err, tt.claim)
		}
		fillOne(t, s)
		run, err := r.Record(ctx)
		run.Status = recovery.StatusFinished
		if err := errors.Join(err, r.End(ctx, run)); err != nil {
			t.Errorf("%d %%: end: %v", tt.percent, err)
		}
		s.Fill(0)
	}
	s.Fill(85)
	data := []byte("wasm")
	if _, err := s.PutModule(ctx, recovery.ModuleVersion{Digest: digest(data), Library: "acme", Version: "1", Size: int64(len(data))}, bytes.NewReader(data)); !errors.Is(err, recovery.ErrQuota) {
		t.Errorf("upload: %v", err)
	}
}

// By number the oldest runs go.
func TestSweepRuns(t *testing.T) {
	ctx := t.Context()
	s, err := store.Open(ctx, store.Config{Dir: filepath.Join(t.TempDir(), "store"), Node: "n1", RetentionRuns: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the end of the test
	fill(t, s)
	n, err := s.Accept(ctx, recovery.Notification{Type: recovery.ComputeHost, HostName: "h2", Payload: json.RawMessage(`{"event":"STOPPED"}`)}, time.Hour)
	for range 3 {
		var r *store.Run
		if err == nil {
			r, err = s.Claim(ctx, n.UUID)
		}
		if err == nil {
			err = r.Requeue(ctx, time.Time{}, "again")
		}
	}
	before := storetest.Runs(t, s)
	if err := errors.Join(err, s.Sweep(ctx)); err != nil {
		t.Fatal(err)
	}
	after := storetest.Runs(t, s)
	if len(before) != 5 || len(after) != 3 || after[0].ID != before[0].ID || after[1].ID != before[1].ID || after[2].Finished {
		t.Errorf("%d runs before, %d after, want the two latest and the one that has not ended", len(before), len(after))
	}
	if _, _, _, _, _, err := s.RunDetail(ctx, before[2].ID); !errors.Is(err, recovery.ErrNotFound) {
		t.Errorf("detail of a run that went: %v", err)
	}
}

// Whoever repairs hosts hears that one is back.
func TestHostRepair(t *testing.T) {
	ctx := t.Context()
	for _, repair := range []bool{false, true} {
		s, err := store.Open(ctx, store.Config{Dir: filepath.Join(t.TempDir(), "store"), Node: "n1", HostRepair: repair})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close() //nolint:errcheck // the end of the test
		seg, err := s.CreateSegment(ctx, recovery.Segment{Name: "s"})
		if err == nil {
			_, err = s.CreateHost(ctx, recovery.Host{Name: "h1", SegmentUUID: seg.UUID, OnMaintenance: true})
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			of    recovery.NotificationType
			event string
			taken bool
		}{
			{recovery.ComputeHost, recovery.EventStarted, repair},
			{recovery.ComputeHost, recovery.EventStopped, false},
			{recovery.Process, recovery.EventStarted, false},
			{recovery.VM, recovery.EventStarted, false},
		} {
			_, err := s.Accept(ctx, recovery.Notification{Type: tt.of, HostName: "h1", Payload: json.RawMessage(`{"event":"` + tt.event + `"}`)}, time.Minute)
			if tt.taken && err != nil || !tt.taken && !errors.Is(err, recovery.ErrMaintenance) {
				t.Errorf("repair %t: %s %s: %v", repair, tt.of, tt.event, err)
			}
		}
	}
}

// A host that is back waits for the runs of its servers, and leaves them be.
func TestRepairLeavesServersBe(t *testing.T) {
	ctx := t.Context()
	for _, event := range []string{recovery.EventStarted, recovery.EventStopped} {
		s, err := store.Open(ctx, store.Config{Dir: filepath.Join(t.TempDir(), "store"), Node: "n1", HostRepair: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close() //nolint:errcheck // the end of the test
		seg, err := s.CreateSegment(ctx, recovery.Segment{Name: "s"})
		if err == nil {
			_, err = s.CreateHost(ctx, recovery.Host{Name: "h1", SegmentUUID: seg.UUID})
		}
		if err != nil {
			t.Fatal(err)
		}
		accept := func(of recovery.NotificationType, payload string) recovery.Notification {
			n, err := s.Accept(ctx, recovery.Notification{Type: of, HostName: "h1", Payload: json.RawMessage(payload)}, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		vm, err := s.Claim(ctx, accept(recovery.VM, `{"instance_uuid":"a"}`).UUID)
		if err != nil {
			t.Fatal(err)
		}
		host := accept(recovery.ComputeHost, `{"event":"`+event+`"}`)
		if _, err := s.Claim(ctx, host.UUID); !errors.Is(err, recovery.ErrConflict) {
			t.Errorf("%s: claim beside the run of a server: %v", event, err)
		}
		if _, err := s.Claim(ctx, accept(recovery.VM, `{"instance_uuid":"b"}`).UUID); !errors.Is(err, recovery.ErrConflict) {
			t.Errorf("%s: claim of another server: %v", event, err)
		}
		rec, err := vm.Record(ctx)
		if err != nil {
			t.Fatal(err)
		}
		// The end of the run is after the wish, had there been one.
		rec.Status, rec.Ended, rec.Finished = recovery.StatusFinished, rec.Started, true
		if err := vm.End(ctx, rec); err != nil {
			t.Fatal(err)
		}
		asked := false
		select {
		case _, asked = <-vm.Aborted():
		default:
		}
		if asked != (event == recovery.EventStopped) {
			t.Errorf("%s: the server's run was asked to end: %t", event, asked)
		}
		if _, err := s.Claim(ctx, host.UUID); err != nil {
			t.Errorf("%s: claim after it: %v", event, err)
		}
	}
}

// A claim whose answer was lost can be had again, and an end whose answer was
// lost is no failure.
func TestLostAnswers(t *testing.T) {
	ctx := t.Context()
	s := open(t, filepath.Join(t.TempDir(), "store"))
	n := fillOne(t, s)
	r, err := s.Claim(ctx, n.UUID)
	if err != nil {
		t.Fatal(err)
	}
	r.Forget()
	again, err := s.Claim(ctx, n.UUID)
	if err != nil {
		t.Fatal(err)
	}
	if again.ID() != r.ID() || again.FirstChange().IsZero() {
		t.Errorf("run %s, want %s; first change %v", again.ID(), r.ID(), again.FirstChange())
	}
	run, err := again.Record(ctx)
	if err != nil {
		t.Fatal(err)
	}
	run.Status, run.Ended = recovery.StatusFinished, run.Started
	if err := again.End(ctx, run); err != nil {
		t.Fatal(err)
	}
	again.Reopen()
	if err := again.End(ctx, run); err != nil {
		t.Errorf("the same end again: %v", err)
	}
	again.Reopen()
	run.Status = recovery.StatusFailed
	if err := again.End(ctx, run); !errors.Is(err, recovery.ErrLeaseLost) {
		t.Errorf("another end: %v", err)
	}
}

// A run makes no change, and none is claimed, when the lease was not renewed for
// two thirds of its time; it goes on when it is.
func TestCheckNeedsTheLease(t *testing.T) {
	ctx := t.Context()
	s, err := store.Open(ctx, store.Config{Dir: filepath.Join(t.TempDir(), "store"), Node: "n1", LeaseTTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the end of the test
	n, next := fillOne(t, s), fillOne(t, s)
	r, err := s.Claim(ctx, n.UUID)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, tt := range []struct {
		unheard      time.Duration
		check, claim error
	}{
		{0, nil, nil},
		{39 * time.Minute, nil, nil},
		{40 * time.Minute, recovery.ErrLeaseLost, recovery.ErrUnavailable},
		{time.Minute, nil, nil},
	} {
		s.Unheard(tt.unheard)
		if err := r.Check(ctx, time.Second); !errors.Is(err, tt.check) {
			t.Errorf("check after %s: %v, want %v", tt.unheard, err, tt.check)
		}
		c, err := s.Claim(ctx, next.UUID)
		if !errors.Is(err, tt.claim) {
			t.Errorf("claim after %s: %v, want %v", tt.unheard, err, tt.claim)
		}
		if err == nil {
			c.Close()
		}
		// What was done already can still be written down: the claim is checked there.
		if err := r.PushUndo(ctx, recovery.Undo{Key: "k"}); err != nil {
			t.Errorf("write after %s: %v", tt.unheard, err)
		}
	}
	select {
	case <-r.Lost():
		t.Error("the run tells that it is lost")
	default:
	}
}

// Each durable write is told before it is made.
func TestSteps(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	s, err := store.Open(t.Context(), store.Config{Dir: filepath.Join(t.TempDir(), "store"), Node: "n1", Step: func(name string) {
		mu.Lock()
		defer mu.Unlock()
		seen[name] = true
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the end of the test
	fill(t, s)
	for _, name := range []string{"node.register", "segment.create", "host.create", "accept", "claim", "task.finish", "intent.begin", "vmove.put", "run.end", "undo.push", "library.put", "module.put"} {
		if !seen[name] {
			t.Errorf("step %s was not told", name)
		}
	}
}

func BenchmarkAccept(b *testing.B) {
	for _, clients := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s, err := store.Open(b.Context(), store.Config{Dir: filepath.Join(b.TempDir(), "store"), Node: "n1"})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close() //nolint:errcheck // the end of the benchmark
			seg, err := s.CreateSegment(b.Context(), recovery.Segment{Name: "s"})
			if err == nil {
				_, err = s.CreateHost(b.Context(), recovery.Host{Name: "h1", SegmentUUID: seg.UUID})
			}
			if err != nil {
				b.Fatal(err)
			}
			var next atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(clients)
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					payload := fmt.Sprintf(`{"event":"LIFECYCLE","vir_domain_event":"STOPPED_FAILED","instance_uuid":"%d"}`, next.Add(1))
					if _, err := s.Accept(b.Context(), recovery.Notification{Type: recovery.VM, HostName: "h1", Payload: json.RawMessage(payload)}, time.Minute); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
