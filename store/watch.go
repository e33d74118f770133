package store

import (
	"context"
	"slices"
	"sync"

	"github.com/wasakari/wasakari/recovery"
)

// waiting bounds the changes that wait for one watcher.
const waiting = 1024

// subscriber is one watcher. What it is slow to take is put aside for it, up to
// a bound.
type subscriber struct {
	mu     sync.Mutex
	list   []recovery.Change
	lost   bool
	rev    int64
	signal chan struct{} // holds one
}

// tell hands changes to all watchers without waiting for any.
func (x *index) tell(changes []recovery.Change) {
	changes = slices.DeleteFunc(changes, func(c recovery.Change) bool { return !c.Lost && !told(c) })
	if len(changes) == 0 {
		return
	}
	x.subsMu.Lock()
	defer x.subsMu.Unlock()
	for sub := range x.subs {
		sub.add(changes)
	}
}

func (s *subscriber) add(changes []recovery.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range changes {
		if c.Lost || len(s.list) >= waiting {
			s.list, s.lost = nil, true
		}
		s.rev = c.Revision
		if !c.Lost {
			s.list = append(s.list, c)
		}
	}
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

func (s *subscriber) take() []recovery.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.list
	if s.lost {
		out = append([]recovery.Change{{Lost: true, Revision: s.rev}}, out...)
	}
	s.list, s.lost = nil, false
	return out
}

func (x *index) close() {
	x.subsMu.Lock()
	defer x.subsMu.Unlock()
	x.ended = true
}

// Watch tells of every change of notifications, runs, tasks, vmoves, hosts,
// segments, nodes and the queue, in the order in which they were made, until
// ctx or the store ends; then the channel is closed. It holds up nobody: a
// watcher that is too slow hears that changes were left out.
func (s *Store) Watch(ctx context.Context) <-chan recovery.Change {
	sub := &subscriber{signal: make(chan struct{}, 1)}
	out := make(chan recovery.Change, 16)
	s.index.subsMu.Lock()
	ended := s.index.ended
	if !ended {
		s.index.subs[sub] = struct{}{}
	}
	s.index.subsMu.Unlock()
	if ended {
		close(out)
		return out
	}
	started := s.start(func() {
		defer close(out)
		defer func() {
			s.index.subsMu.Lock()
			defer s.index.subsMu.Unlock()
			delete(s.index.subs, sub)
		}()
		for {
			select {
			case <-sub.signal:
			case <-ctx.Done():
				return
			case <-s.done:
				return
			}
			for _, c := range sub.take() {
				select {
				case out <- c:
				case <-ctx.Done():
					return
				case <-s.done:
					return
				}
			}
		}
	})
	if !started {
		close(out)
	}
	return out
}
