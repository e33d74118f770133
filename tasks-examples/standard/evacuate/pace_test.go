package evacuate_test

import (
	"slices"
	"testing"
	"time"

	"github.com/wasakari/wasakari/tasks-examples/standard/evacuate"
)

const ms = time.Millisecond

// event is what happens to an automatic pace: n answers after took each, or
// refusals; then the limit is looked at.
type event struct {
	n       int
	took    time.Duration
	kind    string // default: evacuate
	refused bool
	late    bool // sent before everything in this test
}

func TestPace(t *testing.T) {
	tests := []struct {
		name   string
		events []event
		want   []int // the limit after each event
	}{
		{"begins as Masakari does", nil, nil},
		{"half a window decides nothing", []event{{n: 3, took: 300 * ms}}, []int{3}},
		{"grows by one for each window of quick answers, and windows grow", []event{
			{n: 4, took: 300 * ms}, {n: 4, took: 300 * ms}, {n: 4, took: 300 * ms}, {n: 5, took: 500 * ms}, {n: 6, took: 600 * ms},
		}, []int{4, 5, 5, 6, 7}},
		{"holds while answers take up to three times the least", []event{
			{n: 4, took: 300 * ms}, {n: 4, took: 700 * ms}, {n: 4, took: 900 * ms}, {n: 4, took: 600 * ms},
		}, []int{4, 4, 4, 5}},
		{"shrinks by a quarter when they are slow", []event{
			{n: 55, took: 300 * ms}, {n: 11, took: 950 * ms}, {n: 8, took: 950 * ms}, {n: 6, took: 950 * ms},
		}, []int{11, 9, 7, 6}},
		{"one answer that was lost for a minute changes nothing", []event{
			{n: 4, took: 300 * ms}, {n: 3, took: 300 * ms}, {n: 1, took: time.Minute},
		}, []int{4, 4, 5}},
		{"what is below the noise is alike", []event{
			{n: 4, took: ms}, {n: 4, took: 190 * ms}, {n: 5, took: 200 * ms}, {n: 6, took: 310 * ms},
		}, []int{4, 5, 6, 5}},
		{"one answer that was spared a read is not the measure", []event{
			{n: 1, took: 100 * ms}, {n: 3, took: 400 * ms}, {n: 4, took: 500 * ms},
		}, []int{3, 4, 5}},
		{"each kind of request has its own least", []event{
			{n: 2, took: 100 * ms, kind: "lock"}, {n: 2, took: 900 * ms}, {n: 2, took: 110 * ms, kind: "lock"}, {n: 2, took: 950 * ms},
		}, []int{3, 4, 4, 5}},
		{"halves when refused, once for all that were under way", []event{
			{n: 55, took: 300 * ms}, {n: 1, refused: true}, {n: 7, refused: true, late: true}, {n: 9, took: time.Minute, late: true}, {n: 1, refused: true},
		}, []int{11, 5, 5, 5, 2}},
		{"never falls below one, and comes back", []event{
			{n: 9, refused: true}, {n: 4, took: 300 * ms}, {n: 4, took: 300 * ms}, {n: 4, took: 300 * ms},
		}, []int{1, 2, 3, 4}},
		{"takes a Nova as it is that has become slow for good", []event{
			{n: 4, took: 300 * ms}, {n: 4, took: 10 * time.Second}, {n: 4, took: 10 * time.Second}, {n: 4, took: 10 * time.Second}, {n: 4, took: 12 * time.Second},
		}, []int{4, 3, 3, 4, 5}},
		{"slow answers alone never take it below where it began", []event{{n: 4, took: 300 * ms}, {n: 8, took: time.Second}}, []int{4, 3}},
		{"has an upper bound", []event{{n: 1800, took: 300 * ms}, {n: 200, took: 300 * ms}}, []int{60, 60}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := evacuate.NewPace("auto")
			if err != nil {
				t.Fatal(err)
			}
			if !p.Auto() || p.Limit() != 3 {
				t.Errorf("begins with %d, automatic %v", p.Limit(), p.Auto())
			}
			first := p.Sent()
			var got []int
			for _, e := range tt.events {
				for range e.n {
					sent := p.Sent()
					if e.late {
						sent = first
					}
					if e.refused {
						p.Refused(sent)
						continue
					}
					kind := e.kind
					if kind == "" {
						kind = "evacuate"
					}
					p.Answered(sent, kind, e.took)
				}
				got = append(got, p.Limit())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("limits = %d, want %d", got, tt.want)
			}
		})
	}
}

// A Nova whose answers take longer the more is under way: the pace finds how
// much it bears and stays there.
func TestPaceSettles(t *testing.T) {
	p, err := evacuate.NewPace("auto")
	if err != nil {
		t.Fatal(err)
	}
	const bears = 12 // beyond it each answer takes as much longer
	var seen []int
	for range 4000 {
		n := p.Limit()
		took := 200 * ms
		if n > bears {
			took += time.Duration(n-bears) * 100 * ms
		}
		p.Answered(p.Sent(), "evacuate", took)
		seen = append(seen, n)
	}
	settled := seen[1000:]
	if low, high := slices.Min(settled), slices.Max(settled); low < bears || high > 2*bears {
		t.Errorf("between %d and %d at once, want %d to %d", low, high, bears, 2*bears)
	}
}

func TestFixedPace(t *testing.T) {
	p, err := evacuate.NewPace("8")
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		p.Answered(p.Sent(), "evacuate", time.Millisecond)
		p.Refused(p.Sent())
	}
	if p.Auto() || p.Limit() != 8 {
		t.Errorf("limit %d, automatic %v, want 8 for ever", p.Limit(), p.Auto())
	}
	for _, option := range []string{"", "0", "-1", "many", "1.5"} {
		if p, err := evacuate.NewPace(option); err == nil {
			t.Errorf("%q: limit %d, want an error", option, p.Limit())
		}
	}
}
