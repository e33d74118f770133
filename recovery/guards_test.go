package recovery_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// ago lists recoveries of hosts h1, h2, … so many minutes before noon.
func ago(segment string, minutes ...int) []recovery.HostRecovery {
	var out []recovery.HostRecovery
	for i, m := range minutes {
		out = append(out, recovery.HostRecovery{
			Run: fmt.Sprintf("r%d", i+1), Host: fmt.Sprintf("h%d", i+1), Segment: segment, Time: noon.Add(time.Duration(-m) * time.Minute),
		})
	}
	return out
}

func TestGuardOfHosts(t *testing.T) {
	usual := recovery.Guards{Hosts: 3, HostsPercent: 30, HostsPeriod: 10 * time.Minute}
	onlyHosts := recovery.Guards{Hosts: 3, HostsPeriod: 10 * time.Minute}
	onlyPercent := recovery.Guards{HostsPercent: 30, HostsPeriod: 10 * time.Minute}
	tests := []struct {
		name   string
		guards recovery.Guards
		host   string // recovered at noon, in segment s; default h9
		size   int
		before []recovery.HostRecovery
		want   string // of the error; empty: let through
	}{
		{name: "nothing before", guards: usual, size: 4},
		{name: "two before", guards: onlyHosts, size: 100, before: ago("s", 1, 2)},
		{
			name: "three before", guards: onlyHosts, size: 100, before: ago("s", 9, 2, 1),
			want: "held by guard hosts: host h9 would be number 4 recovered within 10m0s, at most 3 ([guards] hosts); before it: h1, h2, h3; " +
				"it is let through from 2026-11-23T12:01:00Z on; to go on all the same, run it with --override REASON",
		},
		{
			name: "more than three before, some by override", guards: onlyHosts, before: ago("s", 9, 8, 7, 6, 1),
			want: "held by guard hosts: host h9 would be number 6 recovered within 10m0s, at most 3 ([guards] hosts); before it: h1, h2, h3, h4, h5; " +
				"it is let through from 2026-11-23T12:03:00Z on; to go on all the same, run it with --override REASON",
		},
		{name: "three before, one just over the period", guards: onlyHosts, before: ago("s", 10, 2, 1)},
		{name: "three before, the host among them", guards: onlyHosts, host: "h2", before: ago("s", 9, 2, 1)},
		{name: "one host many times", guards: onlyHosts, before: append(append(ago("s", 1), ago("s", 2)...), append(ago("s", 3), ago("s", 4)...)...)},
		{
			name: "of several segments", guards: usual, size: 3, before: append(ago("a", 3), recovery.HostRecovery{Host: "x", Segment: "b", Time: noon}, recovery.HostRecovery{Host: "y", Segment: "s", Time: noon}),
			want: "held by guard hosts: host h9 would be number 4 recovered within 10m0s, at most 3 ([guards] hosts); before it: h1, x, y; " +
				"it is let through from 2026-11-23T12:07:00Z on; to go on all the same, run it with --override REASON",
		},
		{name: "no bound", guards: recovery.Guards{HostsPeriod: time.Hour}, size: 4, before: ago("s", 1, 1, 1, 1, 1)},
		{name: "no period", guards: recovery.Guards{Hosts: 1, HostsPercent: 1}, size: 4, before: ago("s", 0, 0)},

		{name: "one of four", guards: usual, size: 4},
		{
			name: "two of four", guards: usual, size: 4, before: ago("s", 4),
			want: "held by guard hosts_percent: host h9 would be number 2 of the 4 in its segment recovered within 10m0s, at most 1, which is 30 % ([guards] hosts_percent); before it: h1; " +
				"it is let through from 2026-11-23T12:06:00Z on; to go on all the same, run it with --override REASON",
		},
		{name: "two of three: a small segment", guards: usual, size: 3, before: ago("s", 4)},
		{name: "size not known", guards: usual, before: ago("s", 4)},
		{name: "two of seven", guards: usual, size: 7, before: ago("s", 4)},
		{
			name: "three of seven", guards: usual, size: 7, before: ago("s", 4, 5),
			want: "held by guard hosts_percent: host h9 would be number 3 of the 7 in its segment recovered within 10m0s, at most 2, which is 30 % ([guards] hosts_percent); before it: h2, h1; " +
				"it is let through from 2026-11-23T12:05:00Z on; to go on all the same, run it with --override REASON",
		},
		{name: "three of ten", guards: usual, size: 10, before: ago("s", 4, 5)},
		{name: "thirty of a hundred", guards: onlyPercent, size: 100, before: ago("s", make([]int, 29)...)},
		{name: "others in other segments", guards: usual, size: 4, before: ago("other", 4, 5)},
		{name: "all of it", guards: recovery.Guards{HostsPercent: 100, HostsPeriod: time.Minute}, size: 4, before: ago("s", 0, 0, 0)},
		{name: "more than all of it", guards: recovery.Guards{HostsPercent: 1000, HostsPeriod: time.Minute}, size: 4, before: ago("s", 0, 0, 0)},

		{name: "a clock that went back a little", guards: recovery.Guards{Hosts: 1, HostsPeriod: 10 * time.Minute}, before: ago("s", -9), want: "held"},
		{name: "a clock that was years ahead", guards: recovery.Guards{Hosts: 1, HostsPeriod: 10 * time.Minute}, before: ago("s", -1e6)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.host == "" {
				tt.host = "h9"
			}
			next := recovery.HostRecovery{Run: "r", Host: tt.host, Segment: "s", Time: noon}
			err := tt.guards.Host(next, tt.size, tt.before)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want && (tt.want != "held" || !strings.HasPrefix(got, "held by guard ")) {
				t.Errorf("error = %q\n want %q", got, tt.want)
			}
			if err != nil && !errors.Is(err, recovery.ErrForbidden) {
				t.Errorf("error %v does not match ErrForbidden", err)
			}
			// What was said of the time is so.
			if held, ok := errors.AsType[*recovery.HeldError](err); ok {
				next.Time = held.Until.Add(-time.Nanosecond)
				if tt.guards.Host(next, tt.size, tt.before) == nil {
					t.Errorf("just before %s it is let through", held.Until)
				}
				next.Time = held.Until
				if err := tt.guards.Host(next, tt.size, tt.before); err != nil {
					t.Errorf("at %s it is held: %v", held.Until, err)
				}
			}
		})
	}
}

func TestGuardSizeMatters(t *testing.T) {
	g := recovery.Guards{Hosts: 3, HostsPercent: 30, HostsPeriod: 10 * time.Minute}
	next := recovery.HostRecovery{Host: "h1", Segment: "s", Time: noon}
	if g.SizeMatters(next, nil) || g.SizeMatters(next, ago("other", 1, 1)) || g.SizeMatters(next, ago("s", 1)) || g.SizeMatters(next, ago("s", 1, 11)) {
		t.Error("the size matters though no other host of the segment was recovered of late")
	}
	if !g.SizeMatters(next, ago("s", 1, 2)) {
		t.Error("the size does not matter though another host was recovered")
	}
	g.HostsPercent = 0
	if g.SizeMatters(next, ago("s", 1, 2)) {
		t.Error("the size matters without a bound in percent")
	}
}

func TestGuardOfServers(t *testing.T) {
	minutes := func(ms ...int) (out []time.Time) {
		for _, m := range ms {
			out = append(out, noon.Add(time.Duration(-m)*time.Minute))
		}
		return out
	}
	tests := []struct {
		name   string
		guards recovery.Guards
		inRun  int
		recent []time.Time
		want   string
	}{
		{name: "first", guards: recovery.Guards{ServersPerRun: 1, ServersPerHour: 1}},
		{
			name: "second of one in a run", guards: recovery.Guards{ServersPerRun: 1}, inRun: 1,
			want: "held by guard servers_per_run: server s would be number 2 that this run changes, at most 1 ([guards] servers_per_run); to go on all the same, run it with --override REASON",
		},
		{name: "one before in the hour, of two", guards: recovery.Guards{ServersPerHour: 2}, inRun: 5, recent: minutes(59)},
		{
			name: "three before in the hour, of two", guards: recovery.Guards{ServersPerRun: 10, ServersPerHour: 2}, inRun: 5, recent: minutes(30, 50, 10),
			want: "held by guard servers_per_hour: server s would be number 4 changed within an hour, at most 2 ([guards] servers_per_hour); " +
				"it is let through from 2026-11-23T12:30:00Z on; to go on all the same, run it with --override REASON",
		},
		{name: "an hour ago", guards: recovery.Guards{ServersPerHour: 1}, recent: minutes(60)},
		{name: "years ahead", guards: recovery.Guards{ServersPerHour: 1}, recent: minutes(-1e6)},
		{name: "no bounds", inRun: 1e6, recent: minutes(make([]int, 1000)...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := tt.guards.Server("s", noon, tt.inRun, tt.recent); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("error = %q\n want %q", got, tt.want)
			}
		})
	}
}

// A held run keeps its guard in the journal.
func TestHeldErrorInJSON(t *testing.T) {
	e := &recovery.HeldError{Guard: "hosts", Count: 4, Limit: 3, Until: noon, Message: "host h4 is one too many"}
	b, err := json.Marshal(recovery.Run{ID: "r", Held: e, Override: "checked"})
	if err != nil {
		t.Fatal(err)
	}
	var run recovery.Run
	if err := json.Unmarshal(b, &run); err != nil {
		t.Fatal(err)
	}
	if run.Held == nil || run.Held.Error() != e.Error() || run.Override != "checked" {
		t.Errorf("came back as %+v", run)
	}
}
