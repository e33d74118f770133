package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
)

// readGrace is how long a run waits at its end for reads that do not heed
// their context.
const readGrace = 250 * time.Millisecond

// ticket is an op in flight, or done and not yet delivered.
type ticket struct {
	id     uint32 // 0: of a synchronous call
	op     *abi.Op
	cancel context.CancelFunc // ends a read; nil for other ops
	traced *HostCall          // nil: nobody is told
	done   chan struct{}      // closed when settled

	// What follows belongs to the desk's mutex until done is closed.
	settled bool
	gaveUp  bool // by task.cancel
	answer  []byte
	errno   abi.Errno
}

// desk holds the tickets of one sandbox.
type desk struct {
	mu        sync.Mutex
	last      uint32
	open      map[uint32]*ticket // not yet delivered
	finished  []*ticket          // settled and not yet delivered, in that order
	abandoned int                // ops that still run although their ticket was cancelled
	// news holds a token when a ticket was settled since wait or poll_oneoff
	// last looked.
	news chan struct{}

	reads, changes sync.WaitGroup
	reading        int // reads that run
}

func newDesk() desk {
	return desk{open: map[uint32]*ticket{}, news: make(chan struct{}, 1)}
}

// begin starts a Read or Change op with a copy of the request.
func (s *sandbox) begin(op *abi.Op, req []byte) *ticket {
	t := &ticket{op: op, done: make(chan struct{})}
	s.run(t, req)
	return t
}

func (s *sandbox) run(t *ticket, req []byte) {
	if s.sleep(t, req) {
		return
	}
	d := &s.desk
	req, done := bytes.Clone(req), s.engage()
	if t.op.KindOf(req) == abi.Change {
		ctx := context.WithoutCancel(s.ctx)
		d.changes.Go(func() {
			defer done()
			s.settle(t, s.ask(ctx, t.op, req), false)
		})
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	t.cancel = cancel
	d.mu.Lock()
	d.reading++
	d.mu.Unlock()
	d.reads.Go(func() {
		defer cancel()
		defer done()
		s.settle(t, s.ask(ctx, t.op, req), false)
		d.mu.Lock()
		d.reading--
		d.mu.Unlock()
	})
}

// outcome is what the host said.
type outcome struct {
	answer []byte
	err    error
}

// ask lets the host do an op. A panic of the host, which here would end the
// process, becomes an error.
func (s *sandbox) ask(ctx context.Context, op *abi.Op, req []byte) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("host panicked", s.task(), zap.String("op", op.Name), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			o = outcome{err: errors.New("internal error of the host, see its log")}
		}
	}()
	answer, err := s.host.Do(ctx, op, req)
	return outcome{answer, err}
}

// settle notes the outcome of a ticket. The first one holds.
func (s *sandbox) settle(t *ticket, o outcome, gaveUp bool) {
	answer, errno := s.conclude(t.op, o.answer, o.err)
	d := &s.desk
	var told *HostCall
	defer func() {
		if told != nil {
			s.report(told, answer, errno)
		}
	}()
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.settled {
		if !gaveUp { // the op that was given up has ended
			d.abandoned--
		}
		return
	}
	// A guest that has all its memory in use can still read one answer.
	if t.id != 0 && !s.ledger.take(int64(len(answer)), -int64(s.limits.AnswerBytes)) {
		// What was changed is told in any case; such answers are short, but for
		// those of servers outside.
		const short = 64 << 10
		if t.op.Kind != abi.Change || len(answer) > short {
			answer, errno = document(abi.Errorf(abi.ErrnoQuota, "%s: %v", t.op.Name,
				s.limits.memoryError("so much is in answers that the task has not waited for")))
		}
		s.ledger.used.Add(int64(len(answer)))
	}
	t.settled, t.gaveUp, t.answer, t.errno = true, gaveUp, answer, errno
	told = t.traced
	close(t.done)
	if gaveUp {
		d.abandoned++
	}
	if t.id == 0 {
		return
	}
	d.finished = append(d.finished, t)
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// submit starts an op and returns its ticket.
func (s *sandbox) submit(name, req []byte) (uint32, *abi.Error) {
	s.hostCalls++
	if s.trace == nil {
		return s.file(name, req, nil)
	}
	c := s.traced(name, req)
	ticket, refusal := s.file(name, req, c)
	if refusal != nil {
		answer, errno := document(refusal)
		s.report(c, answer, errno)
	}
	return ticket, refusal
}

// file starts an op; c is what is told of it at its end, nil: nothing.
func (s *sandbox) file(name, req []byte, c *HostCall) (uint32, *abi.Error) {
	s.spend(unitsOp + unitsByte*min(len(req), s.limits.RequestBytes))
	s.throttle()
	op, refusal := s.admit(name, req)
	if refusal != nil {
		return 0, refusal
	}
	d := &s.desk
	d.mu.Lock()
	inFlight := len(d.open) + d.abandoned
	d.mu.Unlock()
	if inFlight >= s.limits.Tickets {
		return 0, abi.Errorf(abi.ErrnoQuota, "%s: %v", op.Name, s.limits.ticketsError(inFlight))
	}
	if d.last == math.MaxInt32 {
		return 0, abi.Errorf(abi.ErrnoQuota, "%s: the sandbox has used up its ticket numbers", op.Name)
	}
	d.last++
	t := &ticket{id: d.last, op: op, done: make(chan struct{}), traced: c}
	if c != nil {
		c.Ticket = t.id
	}
	d.mu.Lock()
	d.open[t.id] = t
	d.mu.Unlock()
	if op.Kind == abi.Local {
		answer, err := s.local(op, req)
		s.settle(t, outcome{answer, err}, false)
	} else {
		s.run(t, req)
	}
	return t.id, nil
}

// traced notes what the guest asks for.
func (s *sandbox) traced(name, req []byte) *HostCall {
	s.desk.mu.Lock()
	open := len(s.desk.open)
	s.desk.mu.Unlock()
	return &HostCall{
		N: s.hostCalls, Open: open, Op: printable(clip(name, 64)), Request: bytes.Clone(req[:min(len(req), s.limits.RequestBytes)]),
		CPU: s.account.used(), Asked: time.Now(),
	}
}

// report tells how an op was answered.
func (s *sandbox) report(c *HostCall, answer []byte, errno abi.Errno) {
	c.Answer, c.Errno, c.Took = answer, errno, time.Since(c.Asked)
	s.trace(*c)
}

// wait delivers the next settled ticket. A negative timeout waits as long as
// the task may run.
func (s *sandbox) wait(timeout time.Duration) (*ticket, abi.Errno) {
	d := &s.desk
	deadline := s.elapsed() + timeout
	for {
		s.check()
		for s.wake(s.elapsed()) { // by a guest that asks again and again
		}
		if t, open := d.next(); t != nil {
			s.ledger.take(-int64(len(t.answer)), 0)
			return t, abi.ErrnoOK
		} else if open == 0 {
			return nil, abi.ErrnoNotFound
		}
		left := timeout
		if timeout >= 0 {
			if left = deadline - s.elapsed(); timeout == 0 || left <= 0 {
				return nil, abi.ErrnoTimeout
			}
		}
		s.rest(left, d.news)
	}
}

// next takes the ticket that was settled first, or says how many are open.
func (d *desk) next() (*ticket, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.finished) == 0 {
		return nil, len(d.open)
	}
	t := d.finished[0]
	d.finished[0] = nil
	d.finished = d.finished[1:]
	delete(d.open, t.id)
	if len(d.finished) == 0 {
		d.finished = nil
		select {
		case <-d.news:
		default:
		}
	}
	return t, len(d.open)
}

// cancelTicket gives up waiting for a ticket: a read is cancelled, a change
// goes on. What is done already is delivered as it is.
func (s *sandbox) cancelTicket(req []byte) ([]byte, error) {
	var r abi.TaskCancelRequest
	if err := abi.DecodeRequest(abi.OpTaskCancel, req, &r); err != nil {
		return nil, err
	}
	d := &s.desk
	var t *ticket
	settled := false
	if r.Ticket > 0 && r.Ticket <= math.MaxInt32 {
		d.mu.Lock()
		if t = d.open[uint32(r.Ticket)]; t != nil {
			settled = t.settled
		}
		d.mu.Unlock()
	}
	if t == nil {
		return nil, abi.Errorf(abi.ErrnoNotFound, "no ticket %d is open", r.Ticket)
	}
	if !settled {
		s.settle(t, outcome{err: abi.Errorf(abi.ErrnoCanceled, "%s: the task gave up waiting", t.op.Name)}, true)
		if t.cancel != nil {
			t.cancel()
		}
	}
	return emptyAnswer, nil
}

// unfinished says which tickets the guest neither waited for nor cancelled.
func (d *desk) unfinished() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var left []uint32
	for id, t := range d.open {
		if !t.gaveUp {
			left = append(left, id)
		}
	}
	if len(left) == 0 {
		return nil
	}
	slices.Sort(left)
	const most = 5
	var names []string
	for _, id := range left[:min(most, len(left))] {
		names = append(names, fmt.Sprintf("%s (ticket %d)", d.open[id].op.Name, id))
	}
	if len(left) > most {
		names = append(names, fmt.Sprintf("%d more", len(left)-most))
	}
	return fmt.Errorf("%w: %s; wait for each ticket before returning 0", ErrOpenTickets, strings.Join(names, ", "))
}

// drain waits for what is in flight, after the run's context was cancelled:
// for changes to their end, for reads a moment. Reads that do not heed their
// context are left to the module, whose Close waits for them; it gives how many
// there were.
func (d *desk) drain(stragglers *sync.WaitGroup) int {
	d.changes.Wait()
	d.mu.Lock()
	reading := d.reading
	d.mu.Unlock()
	if reading == 0 {
		return 0
	}
	idle := make(chan struct{})
	stragglers.Go(func() {
		d.reads.Wait()
		close(idle)
	})
	timer := time.NewTimer(readGrace)
	defer timer.Stop()
	select {
	case <-idle:
		return 0
	case <-timer.C:
		return reading
	}
}
