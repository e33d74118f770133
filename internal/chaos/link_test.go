//go:build chaos

package chaos

import (
	"context"
	"net"
	"sync"
	"time"
)

// trouble is what is wrong with a link.
type trouble int

const (
	fine    trouble = iota
	refused         // connections end, and no new ones are made
	silent          // nothing gets through either way, and nobody is told
	mute            // what is asked gets through, no answer does
	deaf            // what is asked does not get through
)

func (t trouble) String() string {
	return []string{"fine", "refused", "silent", "mute", "deaf"}[t]
}

// link is the network between one program and a service: a proxy that can be
// cut.
type link struct {
	ln     net.Listener
	target string
	// late says that what was held back gets through afterwards; else its
	// connection is over.
	late bool

	mu      sync.Mutex
	now     trouble
	changed chan struct{} // closed at the next change
	conns   map[net.Conn]struct{}
	closed  bool
	all     sync.WaitGroup
}

func newLink(target string, late bool) (*link, error) {
	ln, err := loopback()
	if err != nil {
		return nil, err
	}
	l := &link{ln: ln, target: target, late: late, changed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	l.all.Go(l.accept)
	return l, nil
}

// loopback listens on a port of its own.
func loopback() (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
}

func (l *link) addr() string { return l.ln.Addr().String() }

func (l *link) accept() {
	for {
		c, err := l.ln.Accept()
		if err != nil {
			return
		}
		l.all.Go(func() { l.carry(c) })
	}
}

func (l *link) set(t trouble) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = t
	close(l.changed)
	l.changed = make(chan struct{})
	if t == refused {
		l.drop()
	}
}

// drop needs mu.
func (l *link) drop() {
	for c := range l.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	close(l.changed)
	l.changed = make(chan struct{})
	l.drop()
	l.mu.Unlock()
	if l.ln != nil {
		_ = l.ln.Close()
	}
	l.all.Wait()
}

// keep notes a connection, unless none may be there.
func (l *link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.now == refused {
		_ = c.Close()
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *link) forget(c net.Conn) {
	_ = c.Close()
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}

func (l *link) carry(from net.Conn) {
	if !l.keep(from) {
		return
	}
	defer l.forget(from)
	dialer := net.Dialer{Timeout: time.Second}
	to, err := dialer.DialContext(context.Background(), "tcp", l.target)
	if err != nil {
		return
	}
	if !l.keep(to) {
		return
	}
	defer l.forget(to)
	var both sync.WaitGroup
	both.Go(func() { l.copy(to, from, silent, deaf) })
	both.Go(func() { l.copy(from, to, silent, mute) })
	both.Wait()
}

// copy carries one direction; what was read while the link is in one of the
// troubles waits until it is not.
func (l *link) copy(dst, src net.Conn, held ...trouble) {
	// An end in one direction ends both: none of the protocols here closes half.
	defer dst.Close() //nolint:errcheck // it may be closed
	defer src.Close() //nolint:errcheck // the same
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if !l.pass(held) {
				return
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			l.pass(held) // the end of a connection does not get through either
			return
		}
	}
}

// pass waits until none of the troubles is there; false: what was read is lost.
func (l *link) pass(held []trouble) bool {
	for waited := false; ; {
		l.mu.Lock()
		now, changed, closed := l.now, l.changed, l.closed
		l.mu.Unlock()
		if closed {
			return false
		}
		wait := false
		for _, t := range held {
			wait = wait || now == t
		}
		if !wait {
			return l.late || !waited
		}
		waited = true
		<-changed
	}
}
