//go:build chaos

package chaos

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"
)

// field is where a round takes place.
type field struct {
	*cluster
	m       *monitor
	h       *history
	s       *storm
	home    map[string][]string
	plan    plan
	random  *rand.Rand
	seed    uint64
	began   time.Time
	ctx     context.Context
	keepers context.CancelFunc

	mu   sync.Mutex
	dice *rand.Rand // of those who operate, at the same time
}

// prepare starts a cloud, a cluster with its segments, and who keeps it up.
func prepare(t *testing.T, p plan, seed uint64, place func(name string) (string, error), conf ...string) *field {
	t.Helper()
	began := time.Now()
	v, err := newNova(p.scenario(int64(seed)), int64(seed))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.close() })
	f := &field{plan: p, seed: seed, home: v.serversOf(), random: rand.New(rand.NewPCG(seed, 1)), began: began}
	f.cluster = newCluster(t, v, 3, 3, place, conf...)
	ctx, cancel := context.WithCancel(t.Context())
	f.ctx = ctx
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	t.Cleanup(cancel)
	if f.h, err = follow(ctx, f.clients, &all); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.h.etcd.Close() })
	f.m = &monitor{nodes: f.nodes}
	if err := f.m.segments(ctx, p); err != nil {
		t.Fatal(err)
	}
	f.s = newStorm(f.cluster, f.random)
	up, down := context.WithCancel(ctx)
	f.keepers = down
	t.Cleanup(func() {
		down()
		f.s.all.Wait()
	})
	for _, n := range f.nodes {
		f.s.keepUp(up, &n.process)
	}
	if place == nil {
		f.s.keepUp(up, f.members...)
	}
	return f
}

// finish waits until all is final, ends the nodes, and checks.
func (f *field) finish() {
	f.t.Helper()
	checked := false
	defer func() {
		if !checked { // why may show there
			f.h.mu.Lock()
			defer f.h.mu.Unlock()
			report(f.t, "writes of nodes that were fenced off, and claims that clash", f.h.wrong)
			report(f.t, "evacuated twice at once", secondEvacuations(f.nova.changes()))
			report(f.t, "not final", stuck(f.nova, f.m, f.h, f.home))
		}
	}()
	quiet := time.Now()
	within := 2*time.Minute + time.Duration(len(f.m.notes))*300*time.Millisecond
	f.await(within, "every accepted notification is final", func(ctx context.Context) error { return f.m.pending(ctx, f.nodes[0]) })
	// Those too whose answer was lost.
	f.await(2*time.Minute, "the store is quiet", func(ctx context.Context) error { return f.h.quiet(ctx, f.m) })
	settled := time.Since(quiet)
	f.keepers()
	f.s.all.Wait()
	for _, n := range f.nodes {
		if !n.running() {
			continue // it was just killed
		}
		if err := n.end(); err != nil {
			f.t.Error(err)
		}
	}
	f.await(20*time.Second, "history", f.h.complete)
	checked = true
	check(f.t, f.cluster, f.m, f.h, f.home)
	f.t.Logf("seed %d: %s; %s; %s; all final after %s, %s in all", f.seed, f.s.tally(), f.m.tally(), counts(f.cluster, f.h),
		settled.Round(100*time.Millisecond), time.Since(f.began).Round(100*time.Millisecond))
}

// TestStorm sends notifications while programs are killed and stopped and links
// cut at random; a round after the other with -duration.
func TestStorm(t *testing.T) {
	t.Parallel()
	began := time.Now()
	for seed := *seedFlag; ; seed++ {
		if !t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { storms(t, seed, *timeFlag) }) {
			return // what it kept shows why
		}
		if time.Since(began) >= *lastFlag {
			return
		}
	}
}

func storms(t *testing.T, seed uint64, sending time.Duration) {
	f := prepare(t, plan{
		auto: names("auto", 12), reserve: names("reserve", 4), reserved: names("reserved", 8), process: names("process", 12),
		plain: names("plain", 12), spare: names("spare", 4), each: 3, plainEach: 8,
	}, seed, nil)
	notes := draw(f.plan, f.nova, f.random, *vmsFlag)
	stormy, calm := context.WithCancel(f.ctx)
	var blowing sync.WaitGroup
	blowing.Go(func() { f.s.blow(stormy) })
	within, end := context.WithTimeout(f.ctx, sending+2*time.Minute)
	f.m.send(within, notes, sending, seed)
	end()
	calm()
	blowing.Wait()
	f.finish()
}
