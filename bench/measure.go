package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// entry is a peer in a row of the table.
type entry struct {
	peer peer
	way  string
}

// sampler does something n times and says how long that took.
type sampler struct {
	run   func(ctx context.Context, n int) (time.Duration, error)
	close func(ctx context.Context) error
}

// stopwatch measures processor time of the process, threads of its own
// included: what else goes on on the machine changes it little.
type stopwatch struct{ start time.Duration }

func startWatch() stopwatch { return stopwatch{processorTime()} }

func (s stopwatch) took() time.Duration { return processorTime() - s.start }

func processorTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err) // every Linux has it
	}
	return time.Duration(t.Nano())
}

// row is one case for one guest.
type row struct {
	Case  string `json:"case"`
	Guest string `json:"guest"`
	Title string `json:"title"`
	Unit  string `json:"unit"`
	// Clock is what was measured: processor time, time or memory.
	Clock string `json:"clock"`
	// Goal is what Wasakari has to reach, in words; 0 in the fields where it is
	// not of that kind.
	Goal      string  `json:"goal,omitempty"`
	GoalValue float64 `json:"goal_value,omitempty"`
	GoalRatio float64 `json:"goal_ratio,omitempty"`
	Cells     []cell  `json:"peers"`
}

// cell is what was measured of one peer, in the row's unit.
type cell struct {
	Peer   string  `json:"peer"`
	Way    string  `json:"way,omitempty"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	P99    float64 `json:"p99,omitempty"`
	// Before is the median before the first sandbox, where memory is measured.
	Before float64 `json:"before,omitempty"`
	Rounds int     `json:"rounds"`
	// Ratio is the median against bare wazero's without interruption.
	Ratio  float64 `json:"ratio,omitempty"`
	Reason string  `json:"reason,omitempty"` // why there is no figure
}

// bench is one run of everything that was asked for.
type bench struct {
	guests string // folder
	rounds int
	sample time.Duration // how long a sample takes at least
	log    func(note string)
	rows   []row
}

// few is how many rounds there are of what takes seconds.
func (b *bench) few() int { return (b.rounds + 3) / 4 }

// measure fills the row with times per repetition.
func (b *bench) measure(ctx context.Context, r row, unit time.Duration, entries []entry, open func(context.Context, entry) (sampler, error)) (row, error) {
	type running struct {
		sampler
		cell  int
		n     int
		times []float64
	}
	var all []*running
	defer func() {
		for _, x := range all {
			_ = x.close(ctx) // measured already
		}
	}()
	for _, e := range entries {
		c := cell{Peer: e.peer.name, Way: e.way, Rounds: b.rounds}
		s, err := open(ctx, e)
		if reason, ok := errors.AsType[errNotOffered](err); ok {
			c.Reason, c.Rounds = reason.Error(), 0
		} else if err != nil {
			return r, fmt.Errorf("%s, %s: %w", r.Title, e.peer.name, err)
		} else {
			all = append(all, &running{sampler: s, cell: len(r.Cells)})
		}
		r.Cells = append(r.Cells, c)
	}
	sample := func(x *running, n int) (time.Duration, error) {
		runtime.GC()
		took, err := x.run(ctx, n)
		if err != nil {
			err = fmt.Errorf("%s, %s: %w", r.Title, r.Cells[x.cell].Peer, err)
		}
		return took, err
	}
	// Warm up, and find how many repetitions make a sample.
	for _, x := range all {
		for x.n = 1; ; {
			took, err := sample(x, x.n)
			if err != nil {
				return r, err
			}
			if took >= b.sample {
				break
			}
			grow := 100.0
			if took > 0 {
				grow = min(grow, 1.2*float64(b.sample)/float64(took))
			}
			x.n = int(float64(x.n)*grow) + 1
		}
	}
	// The peers take turns, so that what disturbs the machine hits all.
	for range b.rounds {
		for _, x := range all {
			took, err := sample(x, x.n)
			if err != nil {
				return r, err
			}
			x.times = append(x.times, float64(took)/float64(x.n)/float64(unit))
		}
	}
	for _, x := range all {
		r.Cells[x.cell].fill(x.times)
	}
	r.ratios()
	return r, nil
}

// fill takes what was measured.
func (c *cell) fill(values []float64) {
	slices.Sort(values)
	c.Rounds = len(values)
	c.Min, c.Max, c.Median = values[0], values[len(values)-1], quantile(values, 0.5)
}

// quantile of sorted values, the nearest one.
func quantile(sorted []float64, q float64) float64 {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// ratios sets the ratios against bare wazero without interruption.
func (r *row) ratios() {
	base := r.median("wazero", plain)
	for i := range r.Cells {
		if base > 0 && r.Cells[i].Rounds > 0 {
			r.Cells[i].Ratio = r.Cells[i].Median / base
		}
	}
}

// median gives a peer's figure, 0 when there is none.
func (r *row) median(peer, way string) float64 {
	for _, c := range r.Cells {
		if c.Peer == peer && c.Way == way && c.Rounds > 0 {
			return c.Median
		}
	}
	return 0
}
