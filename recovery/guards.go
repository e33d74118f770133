package recovery

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Guards are the bounds on what recoveries may do before a person has to
// agree. A bound of zero is no bound.
type Guards struct {
	// Hosts is how many hosts may be recovered within HostsPeriod.
	Hosts int
	// HostsPercent is the part of a segment of SmallSegment hosts or more that
	// may be recovered within HostsPeriod, in percent. One host always may.
	HostsPercent int
	HostsPeriod  time.Duration
	// ServersPerRun is how many servers one run may change.
	ServersPerRun int
	// ServersPerHour is how many servers all runs together may change within an
	// hour.
	ServersPerHour int
}

// SmallSegment is the number of hosts from which on HostsPercent counts.
const SmallSegment = 4

// HostRecovery is the recovery of one host by one run.
type HostRecovery struct {
	Run     string    `json:"run"`
	Host    string    `json:"host"`
	Segment string    `json:"segment"` // uuid; empty: the whole cloud
	Time    time.Time `json:"time"`    // when it began
	// Override is why a person let it go on beyond the bounds.
	Override string `json:"override,omitempty"`
}

// Host refuses the recovery of a host of a segment with size hosts, after those
// that other runs began, with a *HeldError. Size 0 is not known.
func (g Guards) Host(next HostRecovery, size int, before []HostRecovery) error {
	if g.HostsPeriod <= 0 {
		return nil
	}
	if g.Hosts > 0 {
		if others := within(before, next, g.HostsPeriod, func(HostRecovery) bool { return true }); len(others) >= g.Hosts {
			return held("hosts", g.Hosts, g.HostsPeriod, others,
				fmt.Sprintf("host %s would be number %d recovered within %s, at most %d ([guards] hosts)", next.Host, len(others)+1, g.HostsPeriod, g.Hosts))
		}
	}
	if g.HostsPercent <= 0 || size < SmallSegment {
		return nil
	}
	most := max(1, size*min(g.HostsPercent, 100)/100)
	others := within(before, next, g.HostsPeriod, func(r HostRecovery) bool { return r.Segment == next.Segment })
	if len(others) >= most {
		return held("hosts_percent", most, g.HostsPeriod, others,
			fmt.Sprintf("host %s would be number %d of the %d in its segment recovered within %s, at most %d, which is %d %% ([guards] hosts_percent)",
				next.Host, len(others)+1, size, g.HostsPeriod, most, g.HostsPercent))
	}
	return nil
}

// SizeMatters reports whether Host needs the size of the segment: it does not as
// long as no other host of it was recovered of late.
func (g Guards) SizeMatters(next HostRecovery, before []HostRecovery) bool {
	return g.HostsPercent > 0 && len(within(before, next, g.HostsPeriod, func(r HostRecovery) bool { return r.Segment == next.Segment })) > 0
}

// Before gives the recoveries that count beside next, one for each host, oldest
// first.
func (g Guards) Before(next HostRecovery, before []HostRecovery) []HostRecovery {
	return within(before, next, g.HostsPeriod, func(HostRecovery) bool { return true })
}

// within gives the latest recovery of each other host in the period before
// next, oldest first. What is ahead of our clock counts as now, unless it is
// ahead by more than the period: then a clock was wrong.
func within(before []HostRecovery, next HostRecovery, period time.Duration, which func(HostRecovery) bool) []HostRecovery {
	latest := map[string]HostRecovery{}
	for _, r := range before {
		age := next.Time.Sub(r.Time)
		if r.Host != next.Host && age < period && age > -period && which(r) && !r.Time.Before(latest[r.Host].Time) {
			latest[r.Host] = r
		}
	}
	var out []HostRecovery
	for _, r := range latest {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b HostRecovery) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Host, b.Host)
	})
	return out
}

func held(guard string, limit int, period time.Duration, others []HostRecovery, text string) *HeldError {
	const shown = 10
	names := make([]string, 0, len(others))
	for _, r := range others {
		names = append(names, r.Host)
	}
	if more := len(names) - shown; more > 0 {
		names = append(names[:shown], fmt.Sprintf("and %d more", more))
	}
	return &HeldError{
		Guard: guard, Count: len(others) + 1, Limit: limit, Message: text + "; before it: " + strings.Join(names, ", "),
		Until: others[len(others)-limit].Time.Add(period).UTC(),
	}
}

// Server refuses the change of one more server, with a *HeldError. inRun is how
// many the run changed before; recent says when others were changed of late, by
// any run, this server left out.
func (g Guards) Server(id string, now time.Time, inRun int, recent []time.Time) error {
	if g.ServersPerRun > 0 && inRun >= g.ServersPerRun {
		return &HeldError{
			Guard: "servers_per_run", Count: inRun + 1, Limit: g.ServersPerRun,
			Message: fmt.Sprintf("server %s would be number %d that this run changes, at most %d ([guards] servers_per_run)", id, inRun+1, g.ServersPerRun),
		}
	}
	if g.ServersPerHour <= 0 {
		return nil
	}
	recent = slices.DeleteFunc(slices.Clone(recent), func(t time.Time) bool { return now.Sub(t) >= time.Hour || t.Sub(now) >= time.Hour })
	if len(recent) < g.ServersPerHour {
		return nil
	}
	slices.SortFunc(recent, time.Time.Compare)
	return &HeldError{
		Guard: "servers_per_hour", Count: len(recent) + 1, Limit: g.ServersPerHour,
		Message: fmt.Sprintf("server %s would be number %d changed within an hour, at most %d ([guards] servers_per_hour)", id, len(recent)+1, g.ServersPerHour),
		Until:   recent[len(recent)-g.ServersPerHour].Add(time.Hour).UTC(),
	}
}

// HeldError says that a guard against harm holds a run, or refuses one of its
// changes. It matches ErrForbidden: asking again soon does not help, as it does
// where ErrQuota says that Nova is asked too often.
type HeldError struct {
	Guard   string    `json:"guard"` // the option in [guards]
	Count   int       `json:"count"` // with what was refused
	Limit   int       `json:"limit"`
	Until   time.Time `json:"until,omitzero"` // when it would be let through; zero: waiting does not help
	Message string    `json:"message"`        // the rest of it, for a person
}

func (e *HeldError) Error() string {
	until := ""
	if !e.Until.IsZero() {
		// Up to the second: whoever comes then must not be too early.
		until = "; it is let through from " + e.Until.Add(time.Second-1).Truncate(time.Second).Format(time.RFC3339) + " on"
	}
	return fmt.Sprintf("%s: %s%s; to go on all the same, run it with --override REASON", e.Brief(), e.Message, until)
}

// Brief names the guard and no more, for whoever asked for one change of many:
// the whole is told once, by the run.
func (e *HeldError) Brief() string { return "held by guard " + e.Guard }

// Is matches ErrForbidden.
func (e *HeldError) Is(target error) bool { return target == ErrForbidden }
