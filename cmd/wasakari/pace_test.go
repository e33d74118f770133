package main

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/novasim"
)

// TestAutomaticPace recovers a host with host_failure_recovery_threads = auto:
// as long as Nova answers quickly more and more servers are under way at once,
// and when it refuses for now fewer, until it refuses no more. Servers refused
// are asked for again. Told by the order of the requests that Nova got.
func TestAutomaticPace(t *testing.T) {
	t.Parallel()
	const servers = 60
	const cloud = `
hosts:
  - {name: compute-1, state: down}
  - {name: compute-2}
servers:
  - {count: 60, name: web, host: compute-1}
latency:
  evacuation: {spawn: 300ms}
`
	tests := []struct {
		name, faults string
		option       string
		why          string // of the fall that is told
	}{
		{name: "quick answers", option: "auto"},
		{name: "too many requests", option: "auto", why: "429 evacuate server", faults: `
faults:
  - {match: {action: evacuate, after: 20, times: 4}, do: {status: 429, message: Slow down.}}
`},
		{name: "slow answers", option: "auto", why: "Nova answers slowly", faults: `
faults:
  - {match: {action: evacuate, after: 20, times: 25}, do: {delay: 700ms}}
`},
		{name: "a fixed number", option: "4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim, environ := startCloud(t, cloud+tt.faults, novasim.Options{})
			p := newPlace(t, nil)
			p.environ = environ
			r := p.run(t.Context(), t, "run", "host-auto", "--input", "host_name=compute-1",
				"--set", "DEFAULT.host_failure_recovery_threads="+tt.option)
			if r.code != exitOK {
				t.Fatalf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			flying := map[string]bool{} // locked and not yet unlocked
			evacuated := map[string]int{}
			var counts []int // under way with each server that is begun
			after := 0       // of these, how many before the faults
			for _, q := range sim.Requests() {
				switch {
				case q.Action == "lock":
					flying[q.Server] = true
					counts = append(counts, len(flying))
				case q.Action == "unlock":
					delete(flying, q.Server)
				case q.Action == "evacuate" && q.Status < 300:
					evacuated[q.Server]++
					if len(evacuated) == 20 {
						after = len(counts)
					}
				}
			}
			for id, n := range evacuated {
				if n != 1 {
					t.Errorf("server %s: %d evacuations, want 1", id, n)
				}
			}
			most := slices.Max(counts)
			if len(counts) != servers || len(evacuated) != servers || len(flying) != 0 {
				t.Errorf("%d locked, %d evacuated, %d left locked, want %d, %d, 0", len(counts), len(evacuated), len(flying), servers, servers)
			}
			told := strings.Contains(r.stdout, "host_failure_recovery_threads is auto: up to "+strconv.Itoa(most)+" servers were evacuated at once")
			switch {
			case tt.option != "auto":
				if most != 4 || told {
					t.Errorf("up to %d at once, told %v, want 4 and nothing told", most, told)
				}
				return
			case !told || counts[2] != 3:
				t.Errorf("up to %d at once, told %v, %d at first, want that told and 3", most, told, counts[2])
			case tt.why == "":
				if most < 8 {
					t.Errorf("up to %d at once, want it to grow to 8 and more: %d", most, counts)
				}
				return
			case !strings.Contains(r.stdout+r.stderr, tt.why):
				t.Errorf("nothing tells of a fall because %q", tt.why)
			}
			grown, low := slices.Max(counts[:after]), slices.Min(counts[after:])
			if grown < 6 || low > grown/2+1 {
				t.Errorf("up to %d at once before, then as few as %d, want at least 6, then half: %d", grown, low, counts)
			}
			if last := slices.Max(counts[len(counts)-10:]); last <= low {
				t.Errorf("%d at once in the end, want it to grow again: %d", last, counts)
			}
		})
	}
}
