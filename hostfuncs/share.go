package hostfuncs

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// owner starts goroutines that outlive the op that needed them, and waits for
// them.
type owner struct {
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
	life   context.Context // of the goroutines, not of a call
	end    context.CancelFunc
}

// init gives the goroutines the values of a context, nil: none.
func (o *owner) init(values context.Context) {
	if values == nil {
		values = context.Background()
	}
	o.life, o.end = context.WithCancel(context.WithoutCancel(values))
}

// start runs f until close. It reports false, and runs nothing, after close.
func (o *owner) start(f func(ctx context.Context)) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	o.wg.Go(func() { f(o.life) })
	return true
}

func (o *owner) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.end()
	o.wg.Wait()
}

// await receives from c unless ctx or the owner ends before.
func await[T any](ctx context.Context, o *owner, c <-chan T) (T, error) {
	var zero T
	select {
	case v := <-c:
		return v, nil
	default:
	}
	select {
	case v := <-c:
		return v, nil
	case <-ctx.Done():
		return zero, endOf(ctx)
	case <-o.life.Done():
		return zero, recovery.ErrCanceled
	}
}

// gather answers many askers with one read. Whoever asks while a read is under
// way shares the next one with all others who do: an answer never comes from a
// read that began before the question.
//
// A read waits for linger before it begins: those who saw the same poll end
// ask within a moment of one another.
type gather[T any] struct {
	owner  *owner
	linger time.Duration
	limit  time.Duration // bounds one read
	read   func(ctx context.Context, ids []string) (T, error)

	mu      sync.Mutex
	running bool
	next    *batch[T]
}

type batch[T any] struct {
	ids  []string
	done chan struct{}
	val  T
	err  error
}

// ask returns the answer of a read that begins after the call. id is handed to
// it with those of the other askers.
func (g *gather[T]) ask(ctx context.Context, id string) (T, error) {
	var zero T
	g.mu.Lock()
	if g.next == nil {
		g.next = &batch[T]{done: make(chan struct{})}
	}
	b := g.next
	b.ids = append(b.ids, id)
	if !g.running {
		if !g.owner.start(g.run) {
			g.mu.Unlock()
			return zero, recovery.ErrCanceled
		}
		g.running = true
	}
	g.mu.Unlock()
	if _, err := await(ctx, g.owner, b.done); err != nil {
		return zero, err
	}
	return b.val, b.err
}

func (g *gather[T]) run(ctx context.Context) {
	for {
		pause(ctx, g.linger)
		g.mu.Lock()
		b := g.next
		g.next = nil
		if b == nil {
			g.running = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		rctx, cancel := context.WithTimeout(ctx, g.limit)
		b.val, b.err = g.read(rctx, b.ids)
		cancel()
		close(b.done)
	}
}

// lazy reads once, when first asked, for all who ask.
type lazy[T any] struct {
	owner *owner
	read  func(ctx context.Context) (T, error)

	once sync.Once
	done chan struct{}
	val  T
	err  error
}

func newLazy[T any](o *owner, read func(context.Context) (T, error)) *lazy[T] {
	return &lazy[T]{owner: o, read: read, done: make(chan struct{})}
}

func (l *lazy[T]) get(ctx context.Context) (T, error) {
	l.once.Do(func() {
		ok := l.owner.start(func(ctx context.Context) {
			defer close(l.done)
			l.val, l.err = l.read(ctx)
		})
		if !ok {
			l.err = recovery.ErrCanceled
			close(l.done)
		}
	})
	if _, err := await(ctx, l.owner, l.done); err != nil {
		var zero T
		return zero, err
	}
	return l.val, l.err
}

// watches polls, for each key, as long as somebody watches it. The first poll
// comes at once, the next ones at fixed intervals, start to start; a poll that
// takes longer is followed by the next at once.
type watches[T any] struct {
	owner *owner
	every time.Duration
	read  func(ctx context.Context, k watchKey) (T, error)

	mu    sync.Mutex
	byKey map[watchKey]*watch[T]
}

// watchKey names what is polled: the services of a host, or, when host is
// empty, the followed servers.
type watchKey struct{ host string }

type watch[T any] struct {
	subs map[chan view[T]]struct{}
	stop context.CancelFunc
}

// view is what one poll saw.
type view[T any] struct {
	val T
	err error
}

func (w *watches[T]) init(o *owner, every time.Duration, read func(context.Context, watchKey) (T, error)) {
	w.owner, w.every, w.read = o, every, read
	w.byKey = map[watchKey]*watch[T]{}
}

// join gives the channel on which the caller sees each poll that begins from
// now on; a newer view replaces one that was not taken. The caller must leave.
func (w *watches[T]) join(k watchKey) (views <-chan view[T], leave func(), err error) {
	c := make(chan view[T], 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.byKey[k]
	if p == nil {
		ctx, cancel := context.WithCancel(w.owner.life)
		p = &watch[T]{subs: map[chan view[T]]struct{}{}, stop: cancel}
		if !w.owner.start(func(context.Context) { w.poll(ctx, k, p) }) {
			cancel()
			return nil, nil, recovery.ErrCanceled
		}
		w.byKey[k] = p
	}
	p.subs[c] = struct{}{}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(p.subs, c)
		if len(p.subs) == 0 && w.byKey[k] == p {
			delete(w.byKey, k)
			p.stop()
		}
	}, nil
}

// poll runs until the last watcher left.
func (w *watches[T]) poll(ctx context.Context, k watchKey, p *watch[T]) {
	defer p.stop()
	for ctx.Err() == nil {
		began := time.Now()
		w.mu.Lock()
		// Whoever joins during the poll waits for the next one: this one may show
		// what was before the caller's last change.
		subs := slices.Collect(maps.Keys(p.subs))
		w.mu.Unlock()
		v, err := w.read(ctx, k)
		for _, c := range subs {
			select {
			case <-c:
			default:
			}
			c <- view[T]{v, err}
		}
		pause(ctx, time.Until(began.Add(w.every)))
	}
}

// pause sleeps for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// keyed lets one holder at a time into each key.
type keyed struct {
	mu   sync.Mutex
	held map[string]*key
}

type key struct {
	users int // holder and those who wait
	free  chan struct{}
}

// lock waits until key is free. The caller must unlock.
func (k *keyed) lock(ctx context.Context, name string) (unlock func(), err error) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[string]*key{}
	}
	e := k.held[name]
	if e == nil {
		e = &key{free: make(chan struct{}, 1)}
		e.free <- struct{}{}
		k.held[name] = e
	}
	e.users++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if e.users--; e.users == 0 {
			delete(k.held, name)
		}
	}
	select {
	case <-e.free:
		return func() { e.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, endOf(ctx)
	}
}
