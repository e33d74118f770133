package wasakari

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"
)

// imports are the host's functions as sdk/ABI.md describes them.
type imports interface {
	call(op string, req, out []byte) int64
	take(out []byte) int64
	submit(op string, req []byte) int64
	wait(timeoutMS int32, out []byte) int64
	log(level int32, msg string)
	progress(permille int32, msg string)
}

const (
	// waitError marks an errno in the low half of what wait returns.
	waitError = 1 << 31
	// shortWait bounds a wait while a goroutine may be waiting for a timer,
	// which fires only between waits: there is one thread.
	shortWait = 10 * time.Millisecond
	// longWait bounds a wait while every goroutine waits for the host.
	longWait = time.Second
	// ownSize is the buffer into which the host writes answers; larger ones
	// are fetched with take.
	ownSize = 32 << 10
)

// tickets is the transport of a guest: goroutines submit and park, and one
// goroutine, the driver, sleeps in wait for all of them.
type tickets struct {
	imp  imports
	base int // goroutines that are not the task's

	// hostMu covers a call, or a wait, together with the takes that fetch its
	// answer: the garbage collector may switch goroutines in between.
	hostMu sync.Mutex
	own    []byte

	mu      sync.Mutex // covers what follows
	pending map[int64]*pendingCall
	driving bool
	parked  int             // goroutines that wait in await
	timed   int             // of those, how many have a deadline
	given   int             // open tickets whose goroutine gave up
	submits uint64          // tickets so far
	queued  []chan struct{} // goroutines that wait until a ticket is free
	drained chan struct{}
}

type pendingCall struct {
	op       string
	deadline time.Time // zero: none
	gaveUp   bool
	done     chan result // room for one
}

type result struct {
	answer *bytes.Buffer
	err    error
}

func newTickets(imp imports) *tickets {
	return &tickets{imp: imp, base: runtime.NumGoroutine() - 1, own: make([]byte, ownSize), pending: map[int64]*pendingCall{}}
}

func (x *tickets) log(level int32, msg string)         { x.imp.log(level, msg) }
func (x *tickets) progress(permille int32, msg string) { x.imp.progress(permille, msg) }

func (x *tickets) do(ctx context.Context, op string, req []byte) (*bytes.Buffer, error) {
	if localOps[op] {
		return x.call(op, req)
	}
	id, c, err := x.submit(ctx, op, req)
	if err != nil {
		return nil, err
	}
	select {
	case r := <-c.done:
		return r.answer, r.err
	case <-ctx.Done():
		return x.giveUp(ctx, id, c)
	}
}

// submit opens a ticket. When the host has as many open as the task may have,
// it waits for one of them to end.
func (x *tickets) submit(ctx context.Context, op string, req []byte) (int64, *pendingCall, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	ticket := x.imp.submit(op, req)
	for ticket == -int64(errnoQuota) && len(x.pending) > 0 {
		if err := x.queue(ctx); err != nil {
			return 0, nil, fmt.Errorf("%s: %w", op, err)
		}
		ticket = x.imp.submit(op, req)
	}
	if ticket <= 0 {
		x.wake()
		return 0, nil, refused(op, -ticket)
	}
	c := &pendingCall{op: op, done: make(chan result, 1)}
	if d, ok := ctx.Deadline(); ok {
		c.deadline = d
		x.timed++
	}
	x.pending[ticket] = c
	x.submits++
	x.parked++
	if !x.driving {
		x.driving = true
		go x.drive()
	}
	return ticket, c, nil
}

// queue waits until a ticket was delivered. It is called with mu held, and
// lets go of it meanwhile.
func (x *tickets) queue(ctx context.Context) error {
	turn := make(chan struct{})
	x.queued = append(x.queued, turn)
	x.mu.Unlock()
	var err error
	select {
	case <-turn:
	case <-ctx.Done():
		err = ctx.Err()
	}
	x.mu.Lock()
	if err == nil {
		return nil
	}
	if i := slices.Index(x.queued, turn); i >= 0 {
		x.queued = slices.Delete(x.queued, i, i+1)
	} else {
		x.wake() // it was this one's turn already
	}
	return err
}

// wake lets the first of those that queue go on. It is called with mu held.
func (x *tickets) wake() {
	if len(x.queued) > 0 {
		close(x.queued[0])
		x.queued = slices.Delete(x.queued, 0, 1)
	}
}

// giveUp cancels a ticket. The host delivers it all the same, so it stays
// among the pending ones.
func (x *tickets) giveUp(ctx context.Context, id int64, c *pendingCall) (*bytes.Buffer, error) {
	x.mu.Lock()
	if _, open := x.pending[id]; !open {
		x.mu.Unlock()
		r := <-c.done // it ended in the same moment
		return r.answer, r.err
	}
	c.gaveUp = true
	x.given++
	x.unpark(c)
	x.mu.Unlock()
	// The ticket is open, so this cannot be refused; were it, the ticket would
	// end in its own time.
	out, _ := x.call("task.cancel", fmt.Appendf(nil, `{"ticket":%d}`, id))
	putBuffer(out)
	return nil, fmt.Errorf("%s: %w", c.op, ctx.Err())
}

// unpark is called with mu held when the goroutine of c goes on.
func (x *tickets) unpark(c *pendingCall) {
	x.parked--
	if !c.deadline.IsZero() {
		x.timed--
	}
}

// drain waits until the tickets that were given up are delivered. Tickets that
// somebody still waits for are left alone.
func (x *tickets) drain() {
	x.mu.Lock()
	if x.given == 0 {
		x.mu.Unlock()
		return
	}
	drained := make(chan struct{})
	x.drained = drained
	x.mu.Unlock()
	<-drained
}

// call does an op that the host answers at once.
func (x *tickets) call(op string, req []byte) (*bytes.Buffer, error) {
	x.hostMu.Lock()
	defer x.hostMu.Unlock()
	n := x.imp.call(op, req, x.own)
	return x.fetch(op, n)
}

// fetch gets the answer of length n, or the error document of −errno n. It is
// called with hostMu held.
func (x *tickets) fetch(op string, n int64) (*bytes.Buffer, error) {
	out := getBuffer()
	if n >= 0 && n <= int64(len(x.own)) {
		out.Write(x.own[:n])
		return out, nil
	}
	missing := x.takeInto(out, n)
	switch {
	case n < 0:
		return nil, opError(op, -n, out)
	case missing != 0:
		putBuffer(out)
		return nil, &OpError{Op: op, Code: missing.code(), Message: "the answer could not be fetched"}
	}
	return out, nil
}

// takeInto fetches what the host keeps, of about the given size.
func (x *tickets) takeInto(out *bytes.Buffer, size int64) errno {
	b := x.own
	for {
		if size > int64(len(b)) {
			out.Grow(int(size))
			b = out.AvailableBuffer()
			b = b[:cap(b)]
		}
		if size = x.imp.take(b); size < 0 {
			return errno(-size)
		}
		if size <= int64(len(b)) {
			out.Write(b[:size])
			return 0
		}
	}
}

// opError reads an error document; doc may be empty.
func opError(op string, number int64, doc *bytes.Buffer) error {
	defer putBuffer(doc)
	e := &OpError{Op: op, Code: errno(number).code()}
	var d ErrorDocument
	if json.Unmarshal(doc.Bytes(), &d) == nil {
		e.Message, e.Status, e.RequestID = d.Message, int(d.Status), d.RequestID
	}
	return e
}

// refused is the error of a submit, for which no document is kept.
func refused(op string, number int64) error {
	e := &OpError{Op: op, Code: errno(number).code()}
	switch errno(number) {
	case errnoInvalid:
		e.Message = "the host does not know the op or does not take the request"
	case errnoQuota:
		e.Message = "the task may have no more calls open"
	case errnoTooLarge:
		e.Message = "the request is larger than the task's limit"
	}
	return e
}

// drive delivers tickets until none is open.
func (x *tickets) drive() {
	for {
		x.yield()
		timeout, open := x.idle()
		if !open {
			return
		}
		x.wait(timeout)
	}
}

// yield lets every other goroutine run until it parks: what they submit is to
// be with the host before the sandbox sleeps. A guest has one thread, and
// Gosched puts the driver at the end of the queue; but every 61st time the
// scheduler looks there first, so a quiet round counts only when another
// follows. It returns when all is quiet, or after some rounds, so that
// goroutines that never rest do not keep tickets from being delivered.
func (x *tickets) yield() {
	const rounds, quietRounds = 64, 2
	quiet := 0
	for i := 0; i < rounds && quiet < quietRounds; i++ {
		before := x.submitted()
		runtime.Gosched()
		if x.submitted() != before || runnable() {
			quiet = 0
			continue
		}
		quiet++
		if x.allParked() {
			return
		}
	}
}

func (x *tickets) submitted() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.submits
}

// allParked reports whether every goroutine of the task waits for a ticket.
func (x *tickets) allParked() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return runtime.NumGoroutine()-x.base-1 <= x.parked // one is the driver
}

// idle says how long to wait, and false when nothing is open: the driver is
// then to end, and the next submit starts another.
func (x *tickets) idle() (time.Duration, bool) {
	busy, all := runnable(), x.allParked()
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case len(x.pending) == 0:
		x.driving = false
		return 0, false
	case busy:
		return 0, true
	case !all:
		return shortWait, true
	}
	timeout := longWait
	if x.timed > 0 {
		now := time.Now()
		for _, c := range x.pending {
			if !c.gaveUp && !c.deadline.IsZero() {
				timeout = min(timeout, c.deadline.Sub(now))
			}
		}
	}
	return max(timeout, 0), true
}

// wait sleeps in the host and delivers what is done.
func (x *tickets) wait(timeout time.Duration) {
	ms := int32(min(timeout+time.Millisecond-1, longWait) / time.Millisecond) //nolint:gosec // at most a second; rounded up
	x.hostMu.Lock()
	r := x.imp.wait(ms, x.own)
	if r < 0 {
		x.hostMu.Unlock()
		if errno(-r) != errnoTimeout {
			x.abort(errno(-r))
		}
		return
	}
	id, n := r>>32, r&0xffffffff
	if n&waitError != 0 {
		n = -(n &^ waitError)
	}
	x.mu.Lock()
	c := x.pending[id]
	x.mu.Unlock()
	if c == nil {
		x.hostMu.Unlock()
		return
	}
	var res result
	res.answer, res.err = x.fetch(c.op, n)
	x.hostMu.Unlock()
	x.deliver(id, c, res)
}

func (x *tickets) deliver(id int64, c *pendingCall, r result) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.pending, id)
	x.wake()
	if !c.gaveUp {
		x.unpark(c)
		c.done <- r
		return
	}
	putBuffer(r.answer)
	x.given--
	if x.given == 0 && x.drained != nil {
		close(x.drained)
		x.drained = nil
	}
}

// abort ends all calls when wait itself is refused: the task is being stopped,
// or the host lost the tickets.
func (x *tickets) abort(e errno) {
	x.mu.Lock()
	open := make(map[int64]*pendingCall, len(x.pending))
	maps.Copy(open, x.pending)
	x.mu.Unlock()
	for id, c := range open {
		x.deliver(id, c, result{err: &OpError{Op: c.op, Code: e.code(), Message: "the host stopped waiting"}})
	}
}
