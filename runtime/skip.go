package runtime

import (
	"context"
	"slices"
	"time"

	"github.com/wasakari/wasakari/abi"
)

// skipper is the time of a sandbox whose sleeps are skipped: it goes on as the
// system's does, and jumps to the end of the next sleep whenever the guest waits
// and nothing but sleeps is in flight. So whatever a guest compares, deadlines,
// timers and sleeps beside each other, comes in the order in which it would
// have come.
//
// But for idle and busy, it belongs to the goroutine that runs the guest.
type skipper struct {
	tell   func(time.Duration) // nil: nothing is skipped
	expire context.CancelCauseFunc

	ahead    time.Duration // of the system's clock
	sleepers []sleeper     // the one to wake next first

	busy int           // ops in flight but for sleeps; desk.mu
	idle chan struct{} // holds a token when busy became 0
}

// sleeper is a task.sleep in flight.
type sleeper struct {
	due time.Duration // what elapsed is to say then
	t   *ticket
}

var opSleep = abi.LookupOp([]byte(abi.OpTaskSleep))

// elapsed is the guest's time since the sandbox began.
func (s *sandbox) elapsed() time.Duration { return time.Since(s.start) + s.skip.ahead }

// sleep takes a task.sleep in, where sleeps are skipped. It reports false for
// what the host is to answer.
func (s *sandbox) sleep(t *ticket, req []byte) bool {
	if s.skip.tell == nil || t.op != opSleep {
		return false
	}
	var r abi.TaskSleepRequest
	if abi.DecodeRequest(t.op.Name, req, &r) != nil {
		return false
	}
	const longest = 365 * 24 * time.Hour // longer than any task may run
	due := s.elapsed() + time.Duration(min(r.Milliseconds, longest.Milliseconds()))*time.Millisecond
	i, _ := slices.BinarySearchFunc(s.skip.sleepers, due, func(sl sleeper, due time.Duration) int {
		if sl.due <= due { // equal ones in the order in which they came
			return -1
		}
		return 1
	})
	s.skip.sleepers = slices.Insert(s.skip.sleepers, i, sleeper{due, t})
	t.cancel = func() {
		s.skip.sleepers = slices.DeleteFunc(s.skip.sleepers, func(sl sleeper) bool { return sl.t == t })
		s.settle(t, outcome{err: context.Canceled}, false)
	}
	return true
}

// rest waits for d, for ever when it is negative, but at most until early is
// ready; it is park for a guest that has nothing to do, which lets its sleeps
// end. It does not return when the run is over.
func (s *sandbox) rest(d time.Duration, early <-chan struct{}) {
	if s.skip.tell == nil {
		s.park(d, early)
		return
	}
	ends := time.Duration(-1)
	if d >= 0 {
		ends = s.elapsed() + min(d, 365*24*time.Hour)
	}
	for {
		alone := s.alone() // before early: what ended last has been told by now
		select {
		case <-early:
			return
		default:
		}
		next := ends
		if len(s.skip.sleepers) > 0 && (next < 0 || s.skip.sleepers[0].due <= next) {
			next = s.skip.sleepers[0].due
		}
		left := time.Duration(-1)
		if next >= 0 {
			left = max(0, next-s.elapsed())
			if left > 0 && alone {
				s.jump(left)
				left = 0
			}
		}
		if left == 0 {
			woke := s.wake(next)
			if next == ends && !woke {
				return
			}
			continue
		}
		if s.park(left, early) {
			return
		}
	}
}

// wake ends the first sleep when its time has come.
func (s *sandbox) wake(now time.Duration) bool {
	if len(s.skip.sleepers) == 0 || s.skip.sleepers[0].due > now {
		return false
	}
	t := s.skip.sleepers[0].t
	s.skip.sleepers = slices.Delete(s.skip.sleepers, 0, 1)
	s.settle(t, outcome{answer: emptyAnswer}, false)
	return true
}

// endSleeps ends what the guest left behind.
func (s *sandbox) endSleeps() {
	for len(s.skip.sleepers) > 0 {
		s.skip.sleepers[0].t.cancel()
	}
}

// jump moves the guest's time on. A task that runs out of its own on the way is
// ended as it would be.
func (s *sandbox) jump(d time.Duration) {
	over := s.limits.Timeout > 0 && s.elapsed()+d > s.limits.Timeout
	if over {
		d = max(0, s.limits.Timeout-s.elapsed())
	}
	s.skip.ahead += d
	s.skip.tell(d)
	if over {
		s.skip.expire(s.limits.timeoutError())
		panic(errStopped)
	}
}

// alone reports whether no op but sleeps is in flight.
func (s *sandbox) alone() bool {
	s.desk.mu.Lock()
	defer s.desk.mu.Unlock()
	return s.skip.busy == 0
}

// engage notes an op that the host is about to do; the function that it gives
// is to be called when it was settled.
func (s *sandbox) engage() (done func()) {
	if s.skip.tell == nil {
		return func() {}
	}
	s.desk.mu.Lock()
	s.skip.busy++
	s.desk.mu.Unlock()
	return func() {
		s.desk.mu.Lock()
		defer s.desk.mu.Unlock()
		if s.skip.busy--; s.skip.busy == 0 {
			select {
			case s.skip.idle <- struct{}{}:
			default:
			}
		}
	}
}
