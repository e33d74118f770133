//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// storm makes trouble for a cluster until it is told to stop.
type storm struct {
	c      *cluster
	random *rand.Rand
	all    sync.WaitGroup

	mu      sync.Mutex
	nodes   map[*node]bool // in trouble
	members map[*process]bool
	did     map[string]int
}

func newStorm(c *cluster, random *rand.Rand) *storm {
	return &storm{c: c, random: random, nodes: map[*node]bool{}, members: map[*process]bool{}, did: map[string]int{}}
}

// keepUp starts each program again that ends, as an init system does, until ctx
// ends.
func (s *storm) keepUp(ctx context.Context, all ...*process) {
	for _, p := range all {
		s.all.Go(func() {
			for ctx.Err() == nil {
				select {
				case <-p.over():
				case <-ctx.Done():
					return
				}
				select {
				case <-time.After(300 * time.Millisecond):
				case <-ctx.Done():
					return
				}
				if err := p.start(); err != nil {
					s.told("%v", err)
				}
			}
		})
	}
}

// blow makes trouble until ctx ends, and returns when there is none any more.
func (s *storm) blow(ctx context.Context) {
	var all sync.WaitGroup
	for {
		select {
		case <-time.After(s.span(200, 1200)):
		case <-ctx.Done():
			all.Wait()
			return
		}
		if act := s.draw(); act != nil {
			all.Go(func() { act(ctx) })
		}
	}
}

func (s *storm) span(lo, hi int) time.Duration {
	return time.Duration(lo+s.random.IntN(hi-lo)) * time.Millisecond
}

// pass waits, less when the storm is over.
func pass(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (s *storm) note(format string, args ...any) {
	s.did[fmt.Sprintf(format, args...)]++
}

// draw chooses what goes wrong next; nil: nothing, enough does.
func (s *storm) draw() func(context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.c.nodes[s.random.IntN(len(s.c.nodes))]
	m := s.c.members[s.random.IntN(len(s.c.members))]
	lease := int(leaseTime / time.Millisecond)
	what := s.random.IntN(100)
	if what < 70 {
		if s.nodes[n] || len(s.nodes) >= 2 && s.random.IntN(10) > 0 {
			return nil
		}
		s.nodes[n] = true
		return s.healing(func(ctx context.Context) { s.atNode(ctx, n, what, lease) }, func() { delete(s.nodes, n) })
	}
	if what >= 97 { // all members at once
		return s.outage
	}
	if s.members[m] || len(s.members) >= 1 && s.random.IntN(8) > 0 {
		return nil
	}
	s.members[m] = true
	if what >= 84 {
		return s.healing(s.apart(slices.Index(s.c.members, m)), func() { delete(s.members, m) })
	}
	kill, d := s.random.IntN(2) == 0, s.span(100, 5000)
	return s.healing(func(ctx context.Context) {
		if kill {
			s.told("member killed")
			m.kill()
			return
		}
		s.told("member stopped")
		m.stop()
		pass(ctx, d)
		m.cont()
	}, func() { delete(s.members, m) })
}

// apart cuts a member off from the others, or from one of them. It needs mu.
func (s *storm) apart(member int) func(context.Context) {
	w, d := way(s.random.IntN(4)), s.span(300, 5000)
	var others []int
	for i := range s.c.members {
		if i != member {
			others = append(others, i)
		}
	}
	what := "all others"
	if s.random.IntN(3) == 0 {
		i := s.random.IntN(len(others))
		others, what = others[i:i+1], "one other"
	}
	return func(ctx context.Context) {
		s.told("member cut off from %s: %s", what, w)
		join := s.c.mesh.cut(member, others, w)
		pass(ctx, d)
		join()
	}
}

func (s *storm) healing(act func(context.Context), over func()) func(context.Context) {
	return func(ctx context.Context) {
		act(ctx)
		s.mu.Lock()
		over()
		s.mu.Unlock()
	}
}

func (s *storm) told(format string, args ...any) {
	s.mu.Lock()
	s.note(format, args...)
	s.mu.Unlock()
}

// outage kills all members at the same moment.
func (s *storm) outage(context.Context) {
	s.told("all members killed")
	for _, m := range s.c.members {
		m.signal(syscall.SIGKILL)
	}
}

func (s *storm) atNode(ctx context.Context, n *node, what, lease int) {
	s.mu.Lock()
	cut := []trouble{refused, silent, mute}[s.random.IntN(3)]
	long, short := s.span(lease*11/10, lease*5/2), s.span(200, lease*9/10)
	one := n.etcd[s.random.IntN(len(n.etcd))]
	s.mu.Unlock()
	set := func(t trouble, links ...*link) {
		for _, l := range links {
			l.set(t)
		}
	}
	switch {
	case what < 25:
		s.told("node killed")
		n.kill()
	case what < 37:
		s.told("node stopped beyond its lease")
		n.stop()
		pass(ctx, long)
		n.cont()
	case what < 42:
		s.told("node stopped")
		n.stop()
		pass(ctx, short)
		n.cont()
	case what < 50:
		s.told("node cut off from etcd beyond its lease: %s", cut)
		set(cut, n.etcd...)
		pass(ctx, long)
		set(fine, n.etcd...)
	case what < 55:
		s.told("node cut off from etcd: %s", cut)
		set(cut, n.etcd...)
		pass(ctx, short)
		set(fine, n.etcd...)
	case what < 60:
		s.told("node cut off from a member: %s", cut)
		set(cut, one)
		pass(ctx, long)
		set(fine, one)
	case what < 67:
		s.told("node cut off from Nova: %s", cut)
		set(cut, n.nova)
		pass(ctx, short+time.Second)
		set(fine, n.nova)
	default:
		s.told("node asked to end")
		n.signal(syscall.SIGTERM)
		pass(ctx, long)
	}
}

func (s *storm) tally() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var parts []string
	total := 0
	for _, what := range slices.Sorted(maps.Keys(s.did)) {
		parts = append(parts, fmt.Sprintf("%s %d", what, s.did[what]))
		total += s.did[what]
	}
	return fmt.Sprintf("%d troubles: %s", total, strings.Join(parts, ", "))
}
