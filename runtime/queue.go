package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// queue bounds the sandboxes of tenants that run at once: those of each tenant,
// and those of all together. When one ends, tenants take turns, so that one who
// asks for many does not keep others waiting.
//
// The operator's own tasks count for the sum and never wait: a recovery does
// not stand behind the tasks of tenants.
type queue struct {
	each, all int
	own       map[string]int // of one tenant instead of each

	mu      sync.Mutex
	running int // of everybody
	lines   map[string]*line
	turns   []string // tenants who wait, the next one first
}

// line is what one tenant runs and waits for.
type line struct {
	running int
	waiting []chan struct{} // closed when it is their turn, in that order
}

func newQueue(each int, own map[string]int, all int) *queue {
	return &queue{each: each, own: maps.Clone(own), all: all, lines: map[string]*line{}}
}

// bound is how many of a tenant may run at once.
func (q *queue) bound(tenant string) int {
	if n, ok := q.own[tenant]; ok {
		return n
	}
	return q.each
}

// enter waits until a tenant, "" being the operator, may start a sandbox. The
// caller calls leave when that has ended.
func (q *queue) enter(ctx context.Context, tenant string) error {
	q.mu.Lock()
	if tenant == "" {
		q.running++
		q.mu.Unlock()
		return nil
	}
	l := q.lines[tenant]
	if l == nil {
		l = &line{}
		q.lines[tenant] = l
	}
	turn := make(chan struct{})
	l.waiting = append(l.waiting, turn)
	if len(l.waiting) == 1 {
		q.turns = append(q.turns, tenant)
	}
	q.advance()
	full := q.fullError(tenant, l)
	q.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(l.waiting, turn)
	if i < 0 { // its turn came at the same time
		return nil
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
	if len(l.waiting) == 0 {
		q.turns = slices.DeleteFunc(q.turns, func(t string) bool { return t == tenant })
		q.forget(tenant, l)
	}
	return errors.Join(context.Cause(ctx), full)
}

// leave notes that a sandbox has ended.
func (q *queue) leave(tenant string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	if l := q.lines[tenant]; l != nil {
		l.running--
		q.forget(tenant, l)
	}
	q.advance()
}

// count tells how many run and how many wait.
func (q *queue) count() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.lines {
		waiting += len(l.waiting)
	}
	return q.running, waiting
}

func (q *queue) forget(tenant string, l *line) {
	if l.running == 0 && len(l.waiting) == 0 {
		delete(q.lines, tenant)
	}
}

// advance lets those start for whom there is room.
func (q *queue) advance() {
	for i := 0; i < len(q.turns) && q.running < q.all; {
		tenant := q.turns[i]
		l := q.lines[tenant]
		if l.running >= q.bound(tenant) {
			i++ // waits for itself, not for others
			continue
		}
		q.running++
		l.running++
		close(l.waiting[0])
		l.waiting = l.waiting[1:]
		// Who had a turn comes last.
		q.turns = slices.Delete(q.turns, i, i+1)
		if len(l.waiting) > 0 {
			q.turns = append(q.turns, tenant)
		}
		i = 0
	}
}

// fullError says which bound a tenant waits for.
func (q *queue) fullError(tenant string, l *line) *LimitError {
	if n := q.bound(tenant); l.running >= n {
		e := &LimitError{Limit: "sandbox", Value: fmt.Sprintf("%d of one tenant", n), Option: optionSandboxes}
		if _, own := q.own[tenant]; own {
			e.Option = "[limits] @" + tenant + " sandboxes"
		}
		return e
	}
	return &LimitError{Limit: "sandbox", Value: fmt.Sprintf("%d in all", q.all), Option: optionAllSandboxes}
}
