package evacuate

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// What an automatic pace goes by.
const (
	paceStart = 3  // servers at once, Masakari's default
	paceMost  = 60 // a sandbox has 64 tickets, one for each server under way

	// Nova answers quickly in at most paceQuick times the least that such an
	// answer took, and slowly in more than paceSlow times that. The least is the
	// lowest median of a window: a single answer may have been spared a read. It
	// counts as no less than paceNoise.
	paceQuick = 2
	paceSlow  = 3
	paceNoise = 100 * time.Millisecond

	paceWindow = 4 // answers at least between two decisions
)

// Pace says how many servers are to be under way at once: a number that was
// given, or one that follows Nova's answers. That grows by one after each
// window of quick answers, one answer for each server under way; it falls by a
// quarter after a window of slow ones, and to half at once when Nova refuses
// for now or does not answer. In between it holds. Nova slow with as few at once
// as it began with is Nova as it is: what is quick is then measured anew. It is
// not safe for concurrent use.
type Pace struct {
	auto  bool
	limit int
	cuts  int // how often it fell

	answers int                        // in this window
	window  map[string][]time.Duration // what they took, by kind of request
	least   map[string]time.Duration   // lowest median of a window, likewise
}

// NewPace reads the value of host_failure_recovery_threads: a number from 1, or
// auto.
func NewPace(option string) (*Pace, error) {
	if option == "auto" {
		return &Pace{auto: true, limit: paceStart, window: map[string][]time.Duration{}, least: map[string]time.Duration{}}, nil
	}
	n, err := strconv.Atoi(option)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("[DEFAULT] host_failure_recovery_threads: %q is neither auto nor a number from 1", option)
	}
	return &Pace{limit: n}, nil
}

// Auto reports whether the pace follows Nova's answers.
func (p *Pace) Auto() bool { return p.auto }

// Limit is how many servers are to be under way now.
func (p *Pace) Limit() int { return p.limit }

// Sent marks a request that is about to be sent. What becomes of one that was
// sent before the pace fell says nothing about the pace since.
func (p *Pace) Sent() int { return p.cuts }

// Answered tells that Nova took a change of some kind, and how long that took.
func (p *Pace) Answered(sent int, kind string, took time.Duration) {
	if !p.auto || sent != p.cuts {
		return
	}
	p.window[kind] = append(p.window[kind], took)
	if p.answers++; p.answers < max(p.limit, paceWindow) {
		return
	}
	median := p.close()
	switch {
	case median <= paceQuick:
		p.limit = min(p.limit+1, paceMost)
	case median <= paceSlow:
	case p.limit > paceStart:
		p.fall(max(p.limit-max(p.limit/4, 1), paceStart))
	default:
		clear(p.least)
	}
}

// close ends a window and gives the median of what its answers took, each in
// relation to the least of its kind.
func (p *Pace) close() float64 {
	var ratios []float64
	for kind, took := range p.window {
		slices.Sort(took)
		median := took[(len(took)-1)/2]
		if low, ok := p.least[kind]; !ok || len(took) > 1 && median < low {
			p.least[kind] = median
		}
		for _, d := range took {
			ratios = append(ratios, float64(d)/float64(max(p.least[kind], paceNoise)))
		}
	}
	slices.Sort(ratios)
	p.forget()
	return ratios[len(ratios)/2]
}

func (p *Pace) forget() {
	p.answers = 0
	clear(p.window)
}

// Refused tells that Nova refused a request for now, failed, or did not answer.
func (p *Pace) Refused(sent int) {
	if p.auto && sent == p.cuts {
		p.fall(p.limit / 2)
	}
}

func (p *Pace) fall(to int) {
	p.limit = max(to, 1)
	p.cuts++
	p.forget()
}
