package novasim

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// event is something that happens to the cloud at a later time.
type event struct {
	at  time.Time
	seq uint64 // keeps the order of events of the same time
	do  func() // called with Cloud.mu held
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return e
}

// now is the cloud's time. With ManualTime it stands still until Advance.
func (c *Cloud) now() time.Time {
	if c.opt.ManualTime {
		return c.manual
	}
	return time.Now().Add(c.ahead)
}

// after has do happen d from now; at once, before it returns, when d is 0.
// Cloud.mu is held.
func (c *Cloud) after(d time.Duration, do func()) {
	if d <= 0 {
		do()
		return
	}
	c.eventSeq++
	heap.Push(&c.events, event{at: c.now().Add(d), seq: c.eventSeq, do: do})
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// fire lets everything happen that is due at t, and says how long there is
// until the next event. Cloud.mu is held.
func (c *Cloud) fire(t time.Time) time.Duration {
	for len(c.events) > 0 {
		if wait := c.events[0].at.Sub(t); wait > 0 {
			return wait
		}
		e := heap.Pop(&c.events).(event)
		if c.opt.ManualTime && e.at.After(c.manual) {
			c.manual = e.at
		}
		e.do()
	}
	return time.Hour
}

// keepTime is the goroutine that lets events happen in real time.
func (c *Cloud) keepTime() {
	defer c.running.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-c.wake:
		case <-timer.C:
		}
		c.mu.Lock()
		wait := c.fire(c.now())
		c.mu.Unlock()
		timer.Reset(wait)
	}
}

// Advance moves the cloud's time by d; what is due happens before it returns,
// in order. With Options.ManualTime nothing else moves it; otherwise it is ahead
// of the system's by d from then on.
func (c *Cloud) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.opt.ManualTime {
		c.skip(d)
		return
	}
	to := c.manual.Add(d)
	c.fire(to)
	c.manual = to
}

// skip is Advance where time goes on by itself: from event to event, so that
// what follows from one is due as long after it as ever.
func (c *Cloud) skip(d time.Duration) {
	for to := c.now().Add(d); ; {
		left := to.Sub(c.now())
		if len(c.events) > 0 {
			left = min(left, c.events[0].at.Sub(c.now()))
		}
		if left > 0 {
			c.ahead += left
		}
		c.fire(c.now())
		if !c.now().Before(to) {
			break
		}
	}
	select { // there may be something to wait less long for
	case c.wake <- struct{}{}:
	default:
	}
}

// pause sleeps d of the cloud's time. It reports false when ctx or the cloud
// ended before. With ManualTime it does not sleep: the one who would call
// Advance is often the one who waits for the answer.
func (c *Cloud) pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 || c.opt.ManualTime {
		return true
	}
	over := make(chan struct{})
	c.mu.Lock()
	c.after(d, func() { close(over) })
	c.mu.Unlock()
	select {
	case <-over:
		return true
	case <-ctx.Done():
	case <-c.done:
	}
	return false
}

// digest is where everything comes from that looks random: the same seed and
// words give the same bytes, whatever else happens and in whatever order.
func (c *Cloud) digest(kind string, words ...string) [32]byte {
	h := sha256.New()
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(c.seed))) //nolint:gosec // any bits will do
	for _, w := range append([]string{kind}, words...) {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(w)))) //nolint:gosec // words are short
		_, _ = h.Write([]byte(w))
	}
	var d [32]byte
	h.Sum(d[:0])
	return d
}

// uuid is a version 4 UUID made of the seed and words.
func (c *Cloud) uuid(kind string, words ...string) string {
	d := c.digest(kind, words...)
	d[6], d[8] = d[6]&0x0f|0x40, d[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", d[:4], d[4:6], d[6:8], d[8:10], d[10:16])
}

// hexID is an id of Keystone's kind: 32 hexadecimal digits.
func (c *Cloud) hexID(kind string, words ...string) string {
	d := c.digest(kind, words...)
	return hex.EncodeToString(d[:16])
}

// draw chooses a length from a span.
func (c *Cloud) draw(s Span, kind string, words ...string) time.Duration {
	if s.Max <= s.Min {
		return s.Min
	}
	d := c.digest(kind, words...)
	return s.Min + time.Duration(binary.BigEndian.Uint64(d[:8])%uint64(s.Max-s.Min+1)) //nolint:gosec // both are positive
}

func number(n int) string { return strconv.Itoa(n) }
