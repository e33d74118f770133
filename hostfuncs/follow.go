package hostfuncs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// followed are the servers that somebody waits for, wherever they are.
//
// One list of what changed lately shows them all, those still on the failed
// host and those that left it; a list of the host would need one more request
// for each server that left. "Lately" goes by the times that Nova itself wrote
// on these servers, so that no clock but Nova's matters.
type followed struct {
	mu  sync.Mutex
	ids map[string]*follow
}

type follow struct {
	waiters int
	updated time.Time // as Nova showed it last; zero when it was not seen
}

// join counts a waiter in, until leave.
func (f *followed) join(id string) (leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ids == nil {
		f.ids = map[string]*follow{}
	}
	w := f.ids[id]
	if w == nil {
		w = &follow{}
		f.ids[id] = w
	}
	w.waiters++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if w.waiters--; w.waiters == 0 {
			delete(f.ids, id)
		}
	}
}

// saw remembers when Nova last changed a server.
func (f *followed) saw(s recovery.Server) {
	at, err := time.Parse(time.RFC3339, s.Updated)
	if err != nil {
		return // it is read by its id then
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.ids[s.ID]; w != nil {
		w.updated = at
	}
}

// The list reaches back to the oldest change among the followed servers, but
// not further than horizon before the newest one: a server that rests longer is
// read by its id, for the sake of a list that stays short in a large cloud.
// margin covers that Nova shows whole seconds and writes from several machines.
const (
	horizon = 10 * time.Minute
	margin  = 5 * time.Second
)

// plan gives the servers to look at and since when their list is to reach; no
// more than one is read by its id.
func (f *followed) plan(now time.Time) (ids []string, since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var newest time.Time
	unseen := false
	for id, w := range f.ids {
		ids = append(ids, id)
		unseen = unseen || w.updated.IsZero()
		if w.updated.After(newest) {
			newest = w.updated
		}
	}
	if newest.IsZero() || unseen && now.Sub(newest) > horizon {
		// Whoever waits has just asked for a change, and a server that rests tells
		// nothing of those that were not seen yet. Where the clocks disagree by more,
		// the servers are missing in the list and read by their ids.
		return ids, now.Add(-time.Minute)
	}
	since = newest
	for _, w := range f.ids {
		if !w.updated.IsZero() && w.updated.Before(since) && newest.Sub(w.updated) < horizon {
			since = w.updated
		}
	}
	return ids, since.Add(-margin)
}

// serversView is what one poll saw of the followed servers.
type serversView struct {
	servers map[string]recovery.Server // those that are not gone
	failed  map[string]error           // could not be read
	// evacuations lists the evacuations away from a host, read when the first
	// waiter needs them and shared by all of the same poll.
	evacuations func(ctx context.Context, host string) (map[string][]recovery.Migration, error)
}

// lookAtServers makes a serversView.
func (h *Hatch) lookAtServers(ctx context.Context, _ watchKey) (*serversView, error) {
	v := &serversView{servers: map[string]recovery.Server{}, failed: map[string]error{}, evacuations: h.evacuationsOnce()}
	ids, since := h.followed.plan(time.Now())
	wanted := make(map[string]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	if len(ids) > 1 {
		began := time.Now()
		err := h.cloud.Servers(ctx, recovery.ServerFilter{ChangedSince: since}, func(page []recovery.Server) error {
			for _, s := range page {
				if wanted[s.ID] && s.VMState != "" {
					v.servers[s.ID] = s
					h.saw(s, began)
				}
			}
			return nil
		})
		if err != nil {
			return v, err
		}
	}
	var rest []string
	for _, id := range ids {
		if _, ok := v.servers[id]; !ok {
			rest = append(rest, id)
		}
	}
	var mu sync.Mutex
	each(len(rest), readsAtOnce, func(i int) {
		began := time.Now()
		s, err := h.cloud.Server(ctx, rest[i])
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil && s.VMState == "":
			// As of a server in a cell that is down.
			v.failed[rest[i]] = fmt.Errorf("server %s: Nova shows no vm_state: %w", rest[i], recovery.ErrUnavailable)
		case err == nil:
			v.servers[rest[i]] = s
			h.saw(s, began)
		case !isNotFound(err):
			v.failed[rest[i]] = err
		}
	})
	return v, nil
}

// readsAtOnce bounds the reads of servers by their ids.
const readsAtOnce = 8

func (h *Hatch) saw(s recovery.Server, began time.Time) {
	h.followed.saw(s)
	h.recent.one(s, began)
}

// evacuationsOnce reads the evacuations of each host once.
func (h *Hatch) evacuationsOnce() func(context.Context, string) (map[string][]recovery.Migration, error) {
	var mu sync.Mutex
	byHost := map[string]*lazy[map[string][]recovery.Migration]{}
	return func(ctx context.Context, host string) (map[string][]recovery.Migration, error) {
		mu.Lock()
		l := byHost[host]
		if l == nil {
			l = newLazy(&h.owner, func(ctx context.Context) (map[string][]recovery.Migration, error) {
				ctx, cancel := context.WithTimeout(ctx, 2*h.opt.NovaTimeout)
				defer cancel()
				return h.evacuationsFrom(ctx, host)
			})
			byHost[host] = l
		}
		mu.Unlock()
		return l.get(ctx)
	}
}
