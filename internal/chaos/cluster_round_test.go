//go:build chaos

package chaos

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestStorm sends notifications while programs are killed and stopped and links
// cut at random.
func TestStorm(t *testing.T) {
	round(t, *seedFlag, *timeFlag)
}

func round(t *testing.T, seed uint64, sending time.Duration) {
	began := time.Now()
	random := rand.New(rand.NewPCG(seed, 1))
	p := plan{
		auto: names("auto", 12), reserve: names("reserve", 4), reserved: names("reserved", 8), process: names("process", 12),
		plain: names("plain", 12), spare: names("spare", 4), each: 3, plainEach: 8,
	}
	v, err := newNova(p.scenario(int64(seed)), int64(seed))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.close() })
	home := v.serversOf()
	c := newCluster(t, v, 3, 3)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	t.Cleanup(cancel)
	h, err := follow(ctx, c.clients, &all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.etcd.Close() })
	m := &monitor{nodes: c.nodes}
	if err := m.segments(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	notes := draw(p, v, random, *vmsFlag)
	s := newStorm(c, random)
	up, down := context.WithCancel(ctx)
	s.keepUp(up)
	stormy, calm := context.WithCancel(ctx)
	var blowing sync.WaitGroup
	blowing.Go(func() { s.blow(stormy) })

	within, end := context.WithTimeout(ctx, sending+2*time.Minute)
	m.send(within, notes, sending, seed)
	end()
	calm()
	blowing.Wait()
	quiet := time.Now()
	c.await(2*time.Minute, "every accepted notification is final", func(ctx context.Context) error { return m.pending(ctx, c.nodes[0]) })
	t.Logf("seed %d: %s; all final %s after the storm, %s in all\n%s\n%s\n%s", seed, s.tally(), time.Since(quiet).Round(100*time.Millisecond),
		time.Since(began).Round(100*time.Millisecond), m.tally(), counts(c, h), "")
	down()
	s.all.Wait()
	for _, n := range c.nodes {
		if err := n.end(30 * time.Second); err != nil {
			t.Error(err)
		}
	}
	c.await(20*time.Second, "history", h.complete)
	check(t, c, m, h, home)
}
