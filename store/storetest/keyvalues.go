package storetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

// testLibrary holds for both key-value stores.
func testLibrary(t *testing.T, s *store.Store) {
	r, _, _ := claimed(t, s)
	for name, kv := range map[string]keyValues{"scratch": r.Scratch(), "library": s.Library()} {
		t.Run(name, func(t *testing.T) { testKeyValues(t, kv) })
	}
}

func testKeyValues(t *testing.T, s keyValues) {
	ctx := t.Context()
	is(t, "get of nothing", second(s.Get(ctx, "o", "n")), recovery.ErrNotFound)
	is(t, "list of nothing", len(must(s.List(ctx, "o", ""))(t)), 0)
	is(t, "delete of nothing", s.Delete(ctx, "o", "n", nil), recovery.ErrNotFound)
	put := func(name, v string, ifVersion *int64) any {
		n, err := s.Put(ctx, "o", name, value(v), ifVersion)
		if err != nil {
			return err
		}
		return n
	}
	is(t, "put", put("n", `1`, nil), int64(1))
	is(t, "put again", put("n", `{"a": "<2>"}`, nil), int64(2))
	is(t, "put if new, of what is there", put("n", `3`, new(int64(0))), recovery.ErrConflict)
	is(t, "put of an old version", put("n", `3`, new(int64(1))), recovery.ErrConflict)
	is(t, "put of the version", put("n", `{"a": "<3>"}`, new(int64(2))), int64(3))
	is(t, "put if new", put("m", `1`, new(int64(0))), int64(1))
	is(t, "put of a version of nothing", put("k", `1`, new(int64(1))), recovery.ErrConflict)
	is(t, "delete of an old version", s.Delete(ctx, "o", "n", new(int64(1))), recovery.ErrConflict)
	got := must(s.Get(ctx, "o", "n"))(t)
	is(t, "value", string(got.Value), `{"a": "<3>"}`)
	is(t, "name", got.Name, "n")
	is(t, "version", got.Version, int64(3))
	is(t, "get of another owner", second(s.Get(ctx, "another", "n")), recovery.ErrNotFound)
	is(t, "get of an owner with its name", second(s.Get(ctx, "o/e", "n")), recovery.ErrNotFound)
	check(t, s.Delete(ctx, "o", "n", new(int64(3))))
	// A version that was seen once never comes back.
	is(t, "put after delete", put("n", `1`, new(int64(0))), int64(4))

	is(t, "no JSON", put("x", `{`, nil), recovery.ErrInvalid)
	is(t, "no name", put("", `1`, nil), recovery.ErrInvalid)
	is(t, "long name", put(strings.Repeat("n", 256), `1`, nil), recovery.ErrTooLarge)
	is(t, "longest name", put(strings.Repeat("n", 255), `1`, nil), int64(4))
	is(t, "large value", put("x", `"`+strings.Repeat("v", 256<<10-1)+`"`, nil), recovery.ErrTooLarge)
	is(t, "no owner", second(s.Put(ctx, "", "n", value(`1`), nil)), recovery.ErrInvalid)

	check(t, s.Delete(ctx, "o", strings.Repeat("n", 255), nil))
	is(t, "put", put("n2", `2`, nil), int64(5))
	var names []string
	for _, v := range must(s.List(ctx, "o", "n"))(t) {
		names = append(names, v.Name+"="+string(v.Value))
	}
	is(t, "list", strings.Join(names, " "), "n=1 n2=2")
	is(t, "list of all", len(must(s.List(ctx, "o", ""))(t)), 3)

	past := value(`"held"`)
	past.Expires = time.Now().Add(-time.Second)
	must(s.Put(ctx, "e", "lock", past, new(int64(0))))(t)
	is(t, "get after it expired", second(s.Get(ctx, "e", "lock")), recovery.ErrNotFound)
	is(t, "list after it expired", len(must(s.List(ctx, "e", ""))(t)), 0)
	is(t, "delete after it expired", s.Delete(ctx, "e", "lock", nil), recovery.ErrNotFound)
	ahead := value(`"other"`)
	ahead.Expires = time.Now().Add(time.Hour)
	// Whoever held version 1 must not take it for its own.
	is(t, "version", must(s.Put(ctx, "e", "lock", ahead, new(int64(0))))(t), int64(2))
	if got := must(s.Get(ctx, "e", "lock"))(t); !got.Expires.Equal(ahead.Expires) {
		t.Errorf("expires %v, want %v", got.Expires, ahead.Expires)
	}
}

func testLibraryQuota(t *testing.T, s *store.Store) {
	ctx := t.Context()
	l := s.Library().Allow(1 << 20)
	l.AllowOne("small", 100, "[limits] small.kv_library_mib")
	big := value(`"` + strings.Repeat("v", 200<<10) + `"`)
	past := big
	past.Expires = time.Now().Add(-time.Second)
	for i := range 5 {
		must(l.Put(ctx, "o", fmt.Sprint(i), big, nil))(t)
	}
	_, err := l.Put(ctx, "o", "5", big, nil)
	if want := `values of libraries: key "5": quota exceeded: 1229202 bytes in all, at most 1048576 (option [wasakari] kv_library_mib)`; err == nil || err.Error() != want || !errors.Is(err, recovery.ErrQuota) {
		t.Errorf("error = %v, want %s", err, want)
	}
	_, err = l.Put(ctx, "small", "5", value(`"`+strings.Repeat("v", 100)+`"`), nil)
	if want := `values of libraries: key "5": quota exceeded: 167 bytes in all, at most 100 (option [limits] small.kv_library_mib)`; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
	must(l.Put(ctx, "another", "5", big, nil))(t)
	must(l.Put(ctx, "o", "4", value(`1`), nil))(t) // smaller than before
	must(l.Put(ctx, "o", "5", past, nil))(t)
	must(l.Put(ctx, "o", "6", big, nil))(t) // what expired makes room
	is(t, "values", len(must(l.List(ctx, "o", ""))(t)), 6)
	for i := range 120 {
		must(l.Put(ctx, "many", fmt.Sprint(i), recovery.KVValue{Value: raw(`1`), Expires: past.Expires}, nil))(t)
	}
	for i := range 5 {
		must(l.Put(ctx, "many", fmt.Sprint("big", i), big, nil))(t)
	}
	is(t, "values", len(must(l.List(ctx, "many", ""))(t)), 5)
}

// testLibraryAtOnce counts up from many goroutines.
func testLibraryAtOnce(t *testing.T, s *store.Store) {
	ctx, l := t.Context(), s.Library()
	const workers, rounds = 6, 5
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				for {
					v, err := l.Get(ctx, "o", "n")
					if err != nil && !errors.Is(err, recovery.ErrNotFound) {
						t.Error(err)
						return
					}
					_, err = l.Put(ctx, "o", "n", value(`1`), &v.Version)
					if err == nil {
						break
					}
					if !errors.Is(err, recovery.ErrConflict) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	is(t, "version", must(l.Get(ctx, "o", "n"))(t).Version, int64(workers*rounds))
}

func testGuards(t *testing.T, s *store.Store) {
	ctx, g := t.Context(), s.Guards()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	most := func(limit int) func([]recovery.HostRecovery) error {
		return func(before []recovery.HostRecovery) error {
			if len(before) >= limit {
				return recovery.ErrQuota
			}
			return nil
		}
	}
	one := recovery.HostRecovery{Run: "r/1", Host: "h1", Segment: "s", Time: at, Override: "why"}
	check(t, g.Recover(ctx, one, most(1)), g.Recover(ctx, one, most(0)))
	is(t, "list", asJSON(t, must(g.Recoveries(ctx))(t)), asJSON(t, []recovery.HostRecovery{one}))
	is(t, "one too many", g.Recover(ctx, recovery.HostRecovery{Run: "r2", Time: at}, most(1)), recovery.ErrQuota)
	check(t, g.Recover(ctx, recovery.HostRecovery{Run: "r3", Time: at.Add(32 * 24 * time.Hour)}, most(2)))
	is(t, "what is long over is forgotten", len(must(g.Recoveries(ctx))(t)), 1)

	var wg sync.WaitGroup
	var mu sync.Mutex
	let := 0
	for i := range 20 {
		wg.Go(func() {
			err := g.Recover(ctx, recovery.HostRecovery{Run: fmt.Sprint("at-once-", i), Time: at}, most(6))
			if err != nil && !errors.Is(err, recovery.ErrQuota) {
				t.Error(err)
			}
			if err == nil {
				mu.Lock()
				let++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	is(t, "let through", let, 5)

	seen := func(want int) func([]time.Time) error {
		return func(recent []time.Time) error {
			if len(recent) != want {
				return fmt.Errorf("%w: %d servers, want %d", recovery.ErrInvalid, len(recent), want)
			}
			return nil
		}
	}
	check(t, g.Change(ctx, "s1", at, seen(0)), g.Change(ctx, "s1", at.Add(time.Minute), seen(0)), g.Change(ctx, "s2", at.Add(time.Minute), seen(1)))
	is(t, "refused", g.Change(ctx, "s3", at, func([]time.Time) error { return recovery.ErrQuota }), recovery.ErrQuota)
	got := must(g.Changes(ctx, at.Add(time.Hour)))(t)
	if len(got) != 2 || !got[0].Equal(at.Add(time.Minute)) {
		t.Errorf("changes = %v", got)
	}
	is(t, "an hour later", len(must(g.Changes(ctx, at.Add(time.Hour+time.Minute)))(t)), 0)
	check(t, g.Change(ctx, "s4", at.Add(2*time.Hour), seen(0)))
	is(t, "what is over is forgotten", len(must(g.Changes(ctx, at.Add(time.Minute)))(t)), 0)
}

// next takes changes until one is as wanted.
func next(t *testing.T, changes <-chan recovery.Change, want func(recovery.Change) bool) recovery.Change {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		select {
		case c, ok := <-changes:
			if !ok {
				t.Fatal("the watch ended")
			}
			if want(c) {
				return c
			}
		case <-ctx.Done():
			t.Fatal("no such change came")
		}
	}
}

func testWatch(t *testing.T, s *store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes := s.Watch(ctx)
	idle := s.Watch(t.Context()) // nobody reads it, which holds up nobody
	r, n, w := claimed(t, s)
	next(t, changes, func(c recovery.Change) bool { return c.Segment != nil && c.Segment.Name == "seg" })
	next(t, changes, func(c recovery.Change) bool { return c.Host != nil && c.Host.Name == "h1" })
	c := next(t, changes, func(c recovery.Change) bool { return c.Notification != nil })
	if c.Notification.UUID != n.UUID || c.Notification.Status != recovery.StatusNew || c.Notification.Stamp.ID != n.Stamp.ID {
		t.Errorf("notification %+v", c.Notification)
	}
	next(t, changes, func(c recovery.Change) bool { return c.Queue })
	next(t, changes, func(c recovery.Change) bool {
		return c.Notification != nil && c.Notification.Status == recovery.StatusRunning
	})
	next(t, changes, func(c recovery.Change) bool { return c.Run != nil && c.Run.ID == r.ID() })
	check(t, r.StartTask(ctx, recovery.TaskRecord{Seq: 4, Key: "a"}), r.PutVMove(ctx, recovery.VMove{UUID: "v"}))
	c = next(t, changes, func(c recovery.Change) bool { return c.Task != nil })
	if c.Task.Seq != 4 || c.RunID != r.ID() {
		t.Errorf("task %+v of run %s", c.Task, c.RunID)
	}
	c = next(t, changes, func(c recovery.Change) bool { return c.VMove != nil })
	if c.VMove.UUID != "v" || c.VMove.NotificationUUID != n.UUID || c.VMove.Stamp.ID == 0 {
		t.Errorf("vmove %+v", c.VMove)
	}
	check(t, s.SetDraining(ctx, true))
	next(t, changes, func(c recovery.Change) bool { return c.Node != nil && c.Node.Draining })
	end(t, r, recovery.StatusFinished, "")
	next(t, changes, func(c recovery.Change) bool { return c.Run != nil && c.Run.Finished })
	check(t, s.DeleteHost(ctx, w.hosts[2].UUID))
	next(t, changes, func(c recovery.Change) bool {
		return c.Host != nil && c.Deleted && c.Host.UUID == w.hosts[2].UUID
	})

	// Whoever is too slow hears that something was left out.
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for i := range 60 {
				if err := s.SetCompiled(ctx, int64(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	next(t, idle, func(c recovery.Change) bool { return c.Lost })
	must(s.CreateSegment(ctx, recovery.Segment{Name: "last"}))(t)
	next(t, idle, func(c recovery.Change) bool { return c.Segment != nil && c.Segment.Name == "last" })
	cancel()
	for range changes { // until it is closed
	}
}

func testNodes(t *testing.T, s *store.Store) {
	ctx := t.Context()
	r, _, _ := claimed(t, s)
	check(t, s.Ready(ctx), s.SetDraining(ctx, true), s.SetCompiled(ctx, 7))
	nodes := must(s.Nodes(ctx))(t)
	if len(nodes) != 1 || nodes[0].Name == "" || nodes[0].Version == "" || nodes[0].Started.IsZero() || !nodes[0].Draining || nodes[0].Modules != 7 ||
		!slices.Equal(nodes[0].Runs, []string{r.ID()}) {
		t.Errorf("nodes = %s", asJSON(t, nodes))
	}
	lost := s.NodeLost()
	select {
	case <-lost:
		t.Error("the node tells that its lease is lost")
	default:
	}
	check(t, s.Close())
	<-lost
	<-r.Lost()
	is(t, "write after the end of the lease", r.PushUndo(context.WithoutCancel(ctx), recovery.Undo{Key: "k"}), recovery.ErrLeaseLost)
	is(t, "check after the end of the lease", r.Check(ctx, 0), recovery.ErrLeaseLost)
	is(t, "read of a closed store", second(s.Segments(ctx)), fs.ErrClosed)
	is(t, "write to a closed store", second(s.CreateSegment(ctx, recovery.Segment{Name: "x"})), fs.ErrClosed)
	is(t, "ready", s.Ready(ctx), fs.ErrClosed)
	check(t, s.Close())
}
