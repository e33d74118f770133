package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wasakari/wasakari/bench/internal/workload"
)

// languages are those of the guests.
var languages = []string{"c", "rust", "go"}

var languageNames = map[string]string{"c": "C", "rust": "Rust", "go": "Go"}

// What is measured.
const (
	processor = "processor time"
	wall      = "time"
	memory    = "resident memory"
)

// benchCase is a group of rows.
type benchCase struct {
	name string
	run  func(b *bench, ctx context.Context) error
}

// cases are all, in the order of the table.
var cases = []benchCase{
	{"call", (*bench).calls},
	{"fresh", (*bench).fresh},
	{"warm", (*bench).warm},
	{"json", (*bench).json},
	{"live", (*bench).live},
	{"stop", (*bench).stop},
	{"admission", (*bench).admission},
}

// usual are the peers as they run what they trust, and Wasakari, which is
// never without interruption. With mmap wazero differs in making and holding
// sandboxes only.
func usual(mmap bool) []entry {
	var all []entry
	for _, p := range peers() {
		if p.name != "wazero, mmap" || mmap {
			all = append(all, entry{p, p.ways[0]})
		}
	}
	return all
}

// with are the peers in one way, and why others cannot.
func with(way string) []entry {
	var all []entry
	for _, p := range peers() {
		if p.name != "wazero, mmap" && slices.Contains(p.ways, way) {
			all = append(all, entry{p, way})
		}
	}
	return all
}

// long bounds a run that is not meant to be stopped.
const long = 10 * time.Minute

// load compiles a guest for an entry.
func (b *bench) load(ctx context.Context, language string, e entry, h *host) (program, error) {
	wasm, err := guest(b.guests, language, e.peer)
	if err != nil {
		return nil, err
	}
	return e.peer.compile(ctx, wasm, h, e.way)
}

// inGuest repeats within one run of a guest; what the run itself costs is
// taken off.
func (b *bench) inGuest(language string, mode, size int) func(context.Context, entry) (sampler, error) {
	return func(ctx context.Context, e entry) (sampler, error) {
		h, err := newHost(mode, 0, size)
		if err != nil {
			return sampler{}, err
		}
		p, err := b.load(ctx, language, e, h)
		if err != nil {
			return sampler{}, err
		}
		once := func(ctx context.Context, n int) (time.Duration, error) {
			if err := h.set(mode, n, size); err != nil {
				return 0, err
			}
			watch := startWatch()
			err := p.Task(ctx)
			return watch.took(), err
		}
		return sampler{func(ctx context.Context, n int) (time.Duration, error) {
			ctx, cancel := context.WithTimeout(ctx, long)
			defer cancel()
			var empty [5]time.Duration
			for i := range empty {
				took, err := once(ctx, 0)
				if err != nil {
					return 0, err
				}
				empty[i] = took
			}
			slices.Sort(empty[:])
			took, err := once(ctx, n)
			return max(took-empty[len(empty)/2], 0), err
		}, p.Close}, nil
	}
}

func (b *bench) calls(ctx context.Context) error {
	for _, c := range []struct {
		size  int
		label string
	}{{0, "0 B"}, {2 << 10, "2 KB"}, {64 << 10, "64 KB"}} {
		r := row{Case: "call", Clock: processor, Guest: "c", Unit: "ns", Title: "host call, " + c.label + " answer"}
		entries := usual(false)
		if c.size == 2<<10 {
			r.Goal, r.GoalValue = "≤ 80 ns", 80
			entries = append(with(plain), with(deadline)...)
		}
		r, err := b.measure(ctx, r, time.Nanosecond, entries, b.inGuest("c", workload.Task, c.size))
		if err != nil {
			return err
		}
		if c.size != 2<<10 {
			b.add(r)
			continue
		}
		for _, r := range r.split(", all under a deadline") {
			b.add(r)
		}
	}
	return nil
}

// split makes two rows of one where peers were measured in several ways: as
// they run what they trust, and interruptible. Wasakari is in both.
func (r row) split(interruptible string) []row {
	usual, other := r, r
	usual.Cells, other.Cells = nil, nil
	other.Title += interruptible
	other.Goal, other.GoalValue = "", 0
	for _, c := range r.Cells {
		if c.Peer == "wasakari" || c.Way == plain {
			usual.Cells = append(usual.Cells, c)
		}
		if c.Way != plain {
			other.Cells = append(other.Cells, c)
		}
	}
	slices.SortStableFunc(usual.Cells, func(a, b cell) int { return place(a.Peer) - place(b.Peer) })
	return []row{usual, other}
}

// place gives the peers' order.
func place(name string) int {
	return slices.IndexFunc(peers(), func(p peer) bool { return p.name == name })
}

// tasks repeats whole tasks in fresh sandboxes.
func (b *bench) tasks(language string, n, size int) func(context.Context, entry) (sampler, error) {
	return func(ctx context.Context, e entry) (sampler, error) {
		h, err := newHost(workload.Task, n, size)
		if err != nil {
			return sampler{}, err
		}
		p, err := b.load(ctx, language, e, h)
		if err != nil {
			return sampler{}, err
		}
		return sampler{func(ctx context.Context, n int) (time.Duration, error) {
			ctx, cancel := context.WithTimeout(ctx, long)
			defer cancel()
			watch := startWatch()
			for range n {
				if err := p.Task(ctx); err != nil {
					return 0, err
				}
			}
			return watch.took(), nil
		}, p.Close}, nil
	}
}

func (b *bench) fresh(ctx context.Context) error {
	for _, l := range languages {
		r := row{Case: "fresh", Clock: processor, Guest: l, Unit: "µs", Title: "fresh sandbox + 2 KB JSON + 10 host calls + close, " + languageNames[l]}
		if l == "rust" {
			r.Goal, r.GoalValue = "≤ 80 µs", 80
		}
		r, err := b.measure(ctx, r, time.Microsecond, usual(true), b.tasks(l, 10, 2<<10))
		if err != nil {
			return err
		}
		b.add(r)
	}
	return nil
}

func (b *bench) warm(ctx context.Context) error {
	r := row{Case: "warm", Clock: processor, Guest: "rust", Unit: "µs", Title: "call of a sandbox that is there: 2 KB JSON in, no host calls, Rust"}
	r, err := b.measure(ctx, r, time.Microsecond, usual(false), func(ctx context.Context, e entry) (sampler, error) {
		h, err := newHost(workload.Task, 0, 0)
		if err != nil {
			return sampler{}, err
		}
		p, err := b.load(ctx, "rust", e, h)
		if err != nil {
			return sampler{}, err
		}
		i, err := p.Open(ctx)
		if err != nil {
			_ = p.Close(ctx) // the error before matters
			return sampler{}, err
		}
		return sampler{func(ctx context.Context, n int) (time.Duration, error) {
			watch := startWatch()
			for range n {
				if err := i.Call(ctx); err != nil {
					return 0, err
				}
			}
			return watch.took(), nil
		}, func(ctx context.Context) error { return errors.Join(i.Close(ctx), p.Close(ctx)) }}, nil
	})
	if err != nil {
		return err
	}
	b.add(r)
	return nil
}

func (b *bench) json(ctx context.Context) error {
	for _, l := range languages {
		entries := slices.Concat(with(plain), with(deadline), with(fuel))
		r := row{Case: "json", Clock: processor, Guest: l, Unit: "µs", Goal: "≤ 1.3 × bare", GoalRatio: 1.3}
		r, err := b.measure(ctx, r, time.Microsecond, entries, b.inGuest(l, workload.JSON, 0))
		if err != nil {
			return err
		}
		for _, way := range []string{plain, deadline, fuel} {
			part := r
			part.Title, part.Cells = "parse 2 KB of JSON in the guest, "+way+", "+languageNames[l], nil
			if way != deadline {
				part.Goal, part.GoalRatio = "", 0
			}
			if way == plain {
				part.Cells = append(part.Cells, cell{Peer: peers()[0].name, Way: way, Reason: "guests are always interruptible"})
			}
			for _, c := range r.Cells {
				if c.Way == way {
					part.Cells = append(part.Cells, c)
				}
			}
			b.add(part)
		}
	}
	return nil
}

func (b *bench) admission(ctx context.Context) error {
	for _, l := range languages {
		r := row{Case: "admission", Clock: wall, Guest: l, Unit: "ms", Title: "admission: validate and compile, nothing cached, " + languageNames[l]}
		slow := *b
		if l == "go" { // a second each
			slow.rounds = b.few()
		}
		r, err := slow.measure(ctx, r, time.Millisecond, usual(false), func(_ context.Context, e entry) (sampler, error) {
			h, err := newHost(workload.Task, 0, 0)
			if err != nil {
				return sampler{}, err
			}
			return sampler{func(ctx context.Context, n int) (time.Duration, error) {
				var total time.Duration
				for range n {
					start := time.Now()
					p, err := b.load(ctx, l, e, h)
					total += time.Since(start)
					if err == nil {
						err = p.Close(ctx)
					}
					if err != nil {
						return 0, err
					}
				}
				return total, nil
			}, func(context.Context) error { return nil }}, nil
		})
		if err != nil {
			return err
		}
		b.add(r)
	}
	return nil
}

// stopAfter is the deadline of a guest that never ends.
const stopAfter = 20 * time.Millisecond

func (b *bench) stop(ctx context.Context) error {
	for _, c := range []struct {
		title  string
		mode   int
		n      int
		rounds int
	}{
		{"stop after the deadline: a loop", workload.Spin, 0, 10 * b.rounds},
		{"stop after the deadline: a tree of calls without a loop", workload.Recurse, 27, b.few()},
	} {
		r := row{Case: "stop", Clock: wall, Guest: "c", Unit: "ms", Title: c.title, Goal: "≤ 20 ms", GoalValue: 20}
		for _, e := range with(deadline) {
			h, err := newHost(c.mode, c.n, 0)
			if err != nil {
				return err
			}
			p, err := b.load(ctx, "c", e, h)
			if err != nil {
				return err
			}
			var late []float64
			for range c.rounds {
				took, err := stopOnce(ctx, p)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", r.Title, e.peer.name, err)
				}
				late = append(late, float64(took)/float64(time.Millisecond))
			}
			if err := p.Close(ctx); err != nil {
				return err
			}
			cell := cell{Peer: e.peer.name, Way: e.way}
			cell.fill(late)
			cell.P99 = quantile(late, 0.99)
			r.Cells = append(r.Cells, cell)
		}
		b.add(r)
	}
	return nil
}

// stopOnce says by how much a guest outlives its deadline.
func stopOnce(ctx context.Context, p program) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, stopAfter)
	defer cancel()
	end, _ := ctx.Deadline()
	err := p.Task(ctx)
	late := time.Since(end)
	if err == nil && late < 0 {
		return 0, errors.New("the guest ended before its deadline")
	}
	if errors.Is(err, errWrong) {
		return 0, err
	}
	return late, nil
}

// add takes a row that was measured.
func (b *bench) add(r row) {
	b.rows = append(b.rows, r)
	b.log(r.Title)
}
