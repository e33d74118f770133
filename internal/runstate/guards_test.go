package runstate_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasakari/wasakari/internal/runstate"
	"github.com/wasakari/wasakari/recovery"
)

var errHeld = errors.New("held")

// atMost lets n recoveries be counted.
func atMost(n int) func([]recovery.HostRecovery) error {
	return func(before []recovery.HostRecovery) error {
		if len(before) >= n {
			return errHeld
		}
		return nil
	}
}

func hostRecovery(run, host string, at time.Time) recovery.HostRecovery {
	return recovery.HostRecovery{Run: run, Host: host, Time: at.UTC()}
}

func TestGuardsCountHosts(t *testing.T) {
	dir, ctx, now := filepath.Join(t.TempDir(), "state"), t.Context(), time.Now()
	g := runstate.NewGuards(dir)
	if got := must(g.Recoveries(ctx))(t); len(got) != 0 {
		t.Errorf("%d recoveries of nothing", len(got))
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("to look made the folder: %v", err)
	}
	over := hostRecovery("r2", "h2", now)
	over.Override, over.Segment = "checked by phone", "s"
	check(t, g.Recover(ctx, hostRecovery("r1", "h1", now), atMost(2)), g.Recover(ctx, over, atMost(2)))
	if err := g.Recover(ctx, hostRecovery("r3", "h3", now), atMost(2)); !errors.Is(err, errHeld) {
		t.Errorf("third of two: %v, want the error of who decides", err)
	}
	// Another process's look: what was refused is not counted, the rest is.
	other := runstate.NewGuards(dir)
	if got, want := asJSON(t, must(other.Recoveries(ctx))(t)), asJSON(t, []recovery.HostRecovery{hostRecovery("r1", "h1", now), over}); got != want {
		t.Errorf("recoveries = %s, want %s", got, want)
	}
	// A run that is counted is let through, whatever the bound says now.
	check(t, other.Recover(ctx, hostRecovery("r1", "h1", now.Add(time.Hour)), func([]recovery.HostRecovery) error { return errHeld }))
	if got := must(g.Recoveries(ctx))(t); len(got) != 2 || !got[0].Time.Equal(now) {
		t.Errorf("a run that was counted was counted again: %v", got)
	}
	// Old ones go when something is counted.
	check(t, g.Recover(ctx, hostRecovery("r4", "h4", now.Add(32*24*time.Hour)), atMost(9)))
	if got := must(g.Recoveries(ctx))(t); len(got) != 1 || got[0].Run != "r4" {
		t.Errorf("after a month: %v, want r4 only", got)
	}
}

func TestGuardsCountServers(t *testing.T) {
	dir, ctx := filepath.Join(t.TempDir(), "state"), t.Context()
	start := time.Unix(1_800_000_000, 0)
	g := runstate.NewGuards(dir)
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	seen := func(want ...int) func([]time.Time) error {
		return func(recent []time.Time) error {
			var got []int
			for _, r := range recent {
				got = append(got, int(r.Sub(start).Minutes()))
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				return fmt.Errorf("changed at %v, want %v", got, want)
			}
			return nil
		}
	}
	check(t,
		g.Change(ctx, "a", at(0), seen()),
		g.Change(ctx, "b", at(10), seen(0)),
		g.Change(ctx, "a", at(20), seen(10)), // once more: counts once, by its latest change
		g.Change(ctx, "c", at(30), seen(10, 20)),
	)
	if err := g.Change(ctx, "d", at(31), func([]time.Time) error { return errHeld }); !errors.Is(err, errHeld) {
		t.Errorf("error = %v, want that of who decides", err)
	}
	check(t,
		runstate.NewGuards(dir).Change(ctx, "e", at(70), seen(20, 30)), // b's hour is over, d was refused
		g.Change(ctx, "f", at(500), seen()),
		g.Change(ctx, "g", at(430), seen()), // the clock went back by more than an hour
	)
	if got := must(g.Changes(ctx, at(431)))(t); len(got) != 1 {
		t.Errorf("%d servers changed within the hour, want g only", len(got))
	}
	if got := must(runstate.NewGuards(t.TempDir()).Changes(ctx, at(0)))(t); len(got) != 0 {
		t.Errorf("%d changes of nothing", len(got))
	}
}

// TestGuardsAreShared lets many count at once: no more than the bound get
// through.
func TestGuardsAreShared(t *testing.T) {
	dir, ctx := filepath.Join(t.TempDir(), "state"), t.Context()
	var wg sync.WaitGroup
	var through, held atomic.Int32
	for store := range 4 {
		g := runstate.NewGuards(dir)
		for i := range 5 {
			wg.Go(func() {
				name := fmt.Sprintf("%d-%d", store, i)
				switch err := g.Recover(ctx, hostRecovery(name, name, time.Now()), atMost(3)); {
				case err == nil:
					through.Add(1)
				case errors.Is(err, errHeld):
					held.Add(1)
				default:
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if through.Load() != 3 || held.Load() != 17 {
		t.Errorf("%d got through and %d were held, want 3 and 17", through.Load(), held.Load())
	}
}

const guardChildEnv = "RUNSTATE_TEST_GUARD_CHILD"

// guardChild counts runs under its own process id until it is held or killed,
// and says each one.
func guardChild(dir string) {
	g := runstate.NewGuards(dir)
	for i := range 100_000 {
		run := fmt.Sprintf("%d-%d", os.Getpid(), i)
		err := g.Recover(context.Background(), hostRecovery(run, run, time.Now()), atMost(40))
		if errors.Is(err, errHeld) {
			fmt.Println("held")
			return
		}
		if err == nil {
			err = g.Change(context.Background(), run, time.Now(), func([]time.Time) error { return nil })
		}
		if err != nil {
			fmt.Println("error", err)
			return
		}
		fmt.Println(run)
	}
}

// TestGuardsOfKilledProcesses kills processes at any instruction: all that was
// said to be counted is, what is there can be read, and others go on to the
// bound and no further.
func TestGuardsOfKilledProcesses(t *testing.T) {
	dir, ctx := filepath.Join(t.TempDir(), "state"), t.Context()
	exe := must(os.Executable())(t)
	var said []string
	child := func(lines int) (last string) {
		cmd := exec.CommandContext(ctx, exe)
		cmd.Env = append(os.Environ(), guardChildEnv+"="+dir)
		out := must(cmd.StdoutPipe())(t)
		check(t, cmd.Start())
		scan := bufio.NewScanner(out)
		for n := 0; scan.Scan(); {
			if last = scan.Text(); last != "held" {
				said = append(said, last)
			}
			if n++; n == lines {
				_ = cmd.Process.Kill() // in the midst of the next one
			}
		}
		_ = cmd.Wait() // it was killed, or ended
		return last
	}
	for kill := 1; kill <= 5; kill++ {
		child(kill)
	}
	if last := child(-1); last != "held" {
		t.Errorf("the last process ended with %q, want held", last)
	}
	g := runstate.NewGuards(dir)
	var there []string
	for _, r := range must(g.Recoveries(ctx))(t) {
		there = append(there, r.Run)
	}
	for _, run := range said {
		if strings.HasPrefix(run, "error") || !slices.Contains(there, run) {
			t.Errorf("%q was said to be counted, and is not", run)
		}
	}
	if len(there) != 40 {
		t.Errorf("%d are counted, want 40", len(there))
	}
	if got := must(g.Changes(ctx, time.Now()))(t); len(got) < len(said) {
		t.Errorf("%d servers are counted, want the %d that were said", len(got), len(said))
	}
}

func TestGuardsDamaged(t *testing.T) {
	dir, ctx := filepath.Join(t.TempDir(), "state"), t.Context()
	check(t, runstate.NewGuards(dir).Recover(ctx, hostRecovery("r1", "h1", time.Now()), atMost(1)))
	path := filepath.Join(dir, "guards.db")
	whole := must(os.ReadFile(path))(t)
	for name, data := range map[string][]byte{"empty": {}, "half": whole[:len(whole)/2], "noise": []byte(strings.Repeat("noise", 5000))} {
		check(t, os.WriteFile(path, data, 0o600))
		g := runstate.NewGuards(dir)
		if err := g.Recover(ctx, hostRecovery("r2", "h2", time.Now()), atMost(9)); err == nil {
			t.Errorf("%s: counted in a ruined file", name)
		}
		if _, err := g.Recoveries(ctx); err == nil {
			t.Errorf("%s: a ruined file was read", name)
		}
	}
}

func TestChangedByARun(t *testing.T) {
	r := must(runstate.Create(filepath.Join(t.TempDir(), "state"), newRun("r1"), runstate.Options{NoSync: true}))(t)
	defer r.Close()
	ctx := t.Context()
	server := func(op string) bool { return strings.HasPrefix(op, "nova.server_") }
	if got := must(r.Changed(ctx, server))(t); len(got) != 0 {
		t.Errorf("changed %q before anything", got)
	}
	for i, in := range []recovery.Intent{
		{Op: "nova.server_stop", Target: "a"},
		{Op: "nova.server_start", Target: "a"},
		{Op: "nova.service_disable", Target: "h1/nova-compute"},
		{Op: "nova.server_evacuate", Target: "b"},
	} {
		in.ID = fmt.Sprint(i)
		check(t, r.BeginIntent(ctx, in))
		if i < 2 {
			in.State = recovery.IntentDone
			check(t, r.EndIntent(ctx, in))
		}
	}
	got := must(r.Changed(ctx, server))(t)
	if slices.Sort(got); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("changed %q, want a and b", got)
	}
}

// What the operator allows is what the stores keep.
func TestQuotasOfTheOperator(t *testing.T) {
	dir, ctx := filepath.Join(t.TempDir(), "state"), t.Context()
	l := runstate.NewLibrary(dir).Allow(1000)
	big := value(`"` + strings.Repeat("v", 700) + `"`)
	must(l.Put(ctx, "o", "a", big, nil))(t)
	_, err := l.Put(ctx, "o", "b", big, nil)
	if want := `values of libraries: key "b": quota exceeded: 1534 bytes in all, at most 1000 (option [wasakari] kv_library_mib)`; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
	must(l.Put(ctx, "another", "b", big, nil))(t)
	l.AllowOne("less", 500, "[limits] less kv_library_mib")
	_, err = l.Put(ctx, "less", "b", big, nil)
	if want := `values of libraries: key "b": quota exceeded: 767 bytes in all, at most 500 (option [limits] less kv_library_mib)`; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
	r := must(runstate.Create(dir, newRun("r1"), runstate.Options{NoSync: true, ScratchBytes: 1000}))(t)
	must(r.Scratch().Put(ctx, "o", "a", big, nil))(t)
	if _, err := r.Scratch().Put(ctx, "o", "b", big, nil); !errors.Is(err, recovery.ErrQuota) {
		t.Errorf("error = %v, want a quota", err)
	}
	r.Close()
	r = must(runstate.Open(dir, "r1", runstate.Options{NoSync: true, ScratchBytes: 2000}))(t)
	defer r.Close()
	must(r.Scratch().Put(ctx, "o", "b", big, nil))(t)
}
