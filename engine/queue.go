package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

const (
	// lookEvery is the time between two looks at the queue when nothing wakes the
	// engine: its net for a wake-up that was lost.
	lookEvery = 15 * time.Second
	// clerks is how many items are looked at, while all places for runs are taken,
	// for whether they need one at all.
	clerks = 8
	// conflictWait is how soon a claim that others hold is tried again; the wait
	// doubles up to mostConflictWait, or, for a host, which may wait for the runs
	// of its servers to end, hostConflictWait.
	conflictWait     = 250 * time.Millisecond
	mostConflictWait = 10 * time.Second
	hostConflictWait = time.Second
)

// place is what an item takes up while it is worked on.
type place int

const (
	atHost   place = iota // of HostsAtOnce
	atServer              // of ServersAtOnce
	atClerk
)

// waiting is an item that was tried in vain by this node.
type waiting struct {
	tries   int
	until   time.Time
	aborted bool // the tries are those of bringing an aborted run to its end
}

// worker is an item at work.
type worker struct {
	item  recovery.QueueItem
	place place
}

// queue is the state of one call of Engine.Run, which owns it.
type queue struct {
	*Engine
	busy  map[string]worker  // by notification
	wait  map[string]waiting // by notification
	needs map[string]bool    // notifications that are known to need a run
	taken [3]int             // by place
	done  chan result
	wg    sync.WaitGroup // of all goroutines

	soonest time.Time // when an item that waits is due
	told    bool      // that the queue can be read
	away    int       // tries of reading the queue that failed
	retry   time.Time // when it is read again
}

// Run works the queue off until ctx ends. Then the runs of this node are
// stopped and handed over to others, and Run returns when all its goroutines
// have ended: nil, or an error when that took longer than DrainTimeout.
func (e *Engine) Run(ctx context.Context) error {
	q := &queue{
		Engine: e, busy: map[string]worker{}, wait: map[string]waiting{}, needs: map[string]bool{},
		done: make(chan result, e.cfg.HostsAtOnce+e.cfg.ServersAtOnce+clerks), // nobody waits to be heard
	}
	changes := e.cfg.Store.Watch(ctx)
	wake := true
	look := time.Now()
	unfinished, expired := e.firstJob(), e.firstJob()
	expiring := make(chan struct{}, 1) // full while that job runs
	for ctx.Err() == nil {
		now := time.Now()
		intervals := *e.intervals.Load()
		if intervals.Unfinished >= 0 && !now.Before(unfinished) {
			q.takeUpLeft(ctx, now)
			unfinished = now.Add(intervals.Unfinished)
		}
		if intervals.CheckExpired >= 0 && !now.Before(expired) {
			select {
			case expiring <- struct{}{}:
				q.wg.Go(func() {
					e.expire(ctx)
					<-expiring
				})
			default:
			}
			expired = now.Add(intervals.CheckExpired)
		}
		if wake && !now.Before(q.retry) {
			q.pass(ctx)
			look = now.Add(lookEvery)
		}

		next := look
		if intervals.Unfinished >= 0 {
			next = earlier(next, unfinished)
		}
		if intervals.CheckExpired >= 0 {
			next = earlier(next, expired)
		}
		next = earlier(next, q.soonest)
		if q.retry.After(now) {
			next = q.retry
		}
		timer := time.NewTimer(max(time.Until(next), time.Millisecond))
		wake = true
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-e.asked:
			wake = false
		case r := <-q.done:
			q.ended(r)
		case c, ok := <-changes:
			if wake = wakes(c); !ok && ctx.Err() == nil { // the store was closed
				changes = nil
				e.log.Error("changes of the queue are not told any more")
			}
		}
		timer.Stop()
		for more := true; more; { // what came meanwhile costs one look, not one each
			select {
			case r := <-q.done:
				q.ended(r)
				wake = true
			case c, ok := <-changes:
				more = ok
				wake = wake || wakes(c)
			default:
				more = false
			}
		}
	}
	return q.drain(ctx)
}

// wakes reports whether after a change the queue is worth a look.
func wakes(c recovery.Change) bool { return c.Queue || c.Lost }

func (e *Engine) firstJob() time.Time {
	if e.cfg.FirstJob <= 0 {
		return time.Now()
	}
	return time.Now().Add(rand.N(e.cfg.FirstJob)) //nolint:gosec // no secret
}

// earlier gives the earlier of two times; a zero b is none.
func earlier(a, b time.Time) time.Time {
	if !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// pass starts what is due and fits.
func (q *queue) pass(ctx context.Context) {
	items, held, err := q.read(ctx)
	if err != nil {
		if ctx.Err() == nil {
			q.storeAway(err)
		}
		return
	}
	if q.away > 0 || !q.told {
		q.storeBack(ctx)
	}
	now := time.Now()
	q.soonest = time.Time{}
	inQueue := make(map[string]bool, len(items))
	for _, it := range items {
		inQueue[it.Notification] = true
		if _, busy := q.busy[it.Notification]; busy {
			continue
		}
		if it.Run != "" && held[it.Run] {
			delete(q.wait, it.Notification) // when that node gives it up, it is due at once
			continue
		}
		until := it.NotBefore
		if w := q.wait[it.Notification]; w.until.After(until) {
			until = w.until
		}
		if until.After(now) {
			if q.soonest.IsZero() || until.Before(q.soonest) {
				q.soonest = until
			}
			continue
		}
		q.start(ctx, it)
	}
	maps.DeleteFunc(q.needs, func(n string, _ bool) bool { return !inQueue[n] })
	maps.DeleteFunc(q.wait, func(n string, _ waiting) bool { return !inQueue[n] })
}

// read gives the queue and the runs that other live nodes work on.
func (q *queue) read(ctx context.Context) ([]recovery.QueueItem, map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	nodes, err := q.cfg.Store.Nodes(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("nodes: %w", err)
	}
	items, err := q.cfg.Store.Queue(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("queue: %w", err)
	}
	held := map[string]bool{}
	for _, n := range nodes {
		if n.Name == q.cfg.Node {
			continue // what is ours is in busy, or was lost sight of
		}
		for _, run := range n.Runs {
			held[run] = true
		}
	}
	return items, held, nil
}

// start works on an item when there is a place for it.
func (q *queue) start(ctx context.Context, it recovery.QueueItem) {
	at, limit := atServer, q.cfg.ServersAtOnce
	if it.Type != recovery.VM {
		at, limit = atHost, q.cfg.HostsAtOnce
	}
	do := q.work
	if q.taken[at] >= limit || q.blocked(it) {
		if it.Run != "" || q.needs[it.Notification] || q.taken[atClerk] >= clerks {
			return
		}
		at, do = atClerk, q.look
	}
	q.taken[at]++
	q.busy[it.Notification] = worker{it, at}
	tries := 0
	if w := q.wait[it.Notification]; w.aborted {
		tries = w.tries
	}
	q.wg.Go(func() { q.done <- do(ctx, it, tries) })
}

// look only finds out whether an item needs a run, and ends it when it does
// not.
func (e *Engine) look(ctx context.Context, item recovery.QueueItem, _ int) result {
	_, done, err := e.judge(ctx, item)
	return result{item: item, needsRun: err == nil && !done, later: err != nil, err: err}
}

// blocked reports whether an item of the same host or server is at work here,
// so that a claim would be in vain. The recovery of a host waits for nobody: it
// ends the runs of its servers.
func (q *queue) blocked(it recovery.QueueItem) bool {
	for _, w := range q.busy {
		switch {
		case w.place == atClerk:
		case it.Type != recovery.VM && w.item.Type != recovery.VM && it.Host == w.item.Host,
			it.Type == recovery.VM && w.item.Type != recovery.VM && it.Host == w.item.Host,
			it.Type == recovery.VM && w.item.Type == recovery.VM && it.Server == w.item.Server:
			return true
		}
	}
	return false
}

// ended takes note of what came of an item.
func (q *queue) ended(r result) {
	n := r.item.Notification
	q.taken[q.busy[n].place]--
	delete(q.busy, n)
	if r.needsRun {
		q.needs[n] = true
		return
	}
	if !r.later {
		delete(q.wait, n)
		return
	}
	w := q.wait[n]
	if r.aborted && !w.aborted {
		w = waiting{aborted: true}
	}
	w.tries++
	first, most := firstWait, mostWait
	if errors.Is(r.err, recovery.ErrConflict) || errors.Is(r.err, recovery.ErrLeaseLost) {
		first, most = conflictWait, mostConflictWait
		if r.item.Type != recovery.VM {
			most = hostConflictWait
		}
	} else {
		q.log.Warn("notification waits", zap.String("notification", n), zap.Int("tries", w.tries), zap.Error(r.err))
	}
	w.until = time.Now().Add(backoff(w.tries, first, most))
	q.wait[n] = w
}

// takeUpLeft looks again at each notification that was left new for long
// enough, whatever it waits for.
func (q *queue) takeUpLeft(ctx context.Context, now time.Time) {
	if len(q.wait) == 0 {
		return
	}
	items, _, err := q.read(ctx)
	if err != nil {
		return // pass tells
	}
	old := now.Add(-q.intervals.Load().RetryNew)
	for _, it := range items {
		if w, ok := q.wait[it.Notification]; ok && it.Run == "" && it.Added.Before(old) {
			w.until = time.Time{}
			q.wait[it.Notification] = w
		}
	}
}

func (q *queue) storeAway(err error) {
	q.away++
	wait := backoff(q.away, firstWait, 15*time.Second)
	q.retry = time.Now().Add(wait)
	if q.away == 1 {
		q.log.Error("queue not read", zap.Error(err))
		q.cfg.Observer.StoreAway(err)
	}
}

// storeBack tells that the queue can be read, and what may have happened while
// it could not, or while this node was not there.
func (q *queue) storeBack(ctx context.Context) {
	if q.away > 0 {
		q.log.Info("queue read again", zap.Int("tries", q.away))
		q.cfg.Observer.StoreAway(nil)
	}
	q.told, q.away, q.retry = true, 0, time.Time{}
	q.wg.Go(func() { q.tellUnreported(ctx) })
}

// drain waits for all that was started.
func (q *queue) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), q.cfg.DrainTimeout)
	defer cancel()
	q.wg.Go(func() {
		ctx, cancel := lasting(ctx)
		defer cancel()
		if err := q.cfg.Store.SetDraining(ctx, true); err != nil {
			q.log.Warn("node not marked as draining", zap.Error(err))
		}
	})
	idle := make(chan struct{})
	go func() {
		q.wg.Wait()
		close(idle)
	}()
	for {
		select {
		case r := <-q.done:
			q.ended(r)
		case <-idle:
			return nil
		case <-ctx.Done():
			var left []string
			for n := range q.busy {
				left = append(left, n)
			}
			slices.Sort(left)
			return fmt.Errorf("notifications %v are still at work after %s: %w", left, q.cfg.DrainTimeout, recovery.ErrTimeout)
		}
	}
}
