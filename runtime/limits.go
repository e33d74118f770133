package runtime

import (
	"context"
	"fmt"
	"time"

	"github.com/wasakari/wasakari/abi"
)

// Limits bound one sandbox.
//
// The zero Limits stands for the defaults. In Limits where anything is set, a
// field that is zero has its default too, but a zero Timeout means none: the
// caller's context alone bounds the run. Negative LogLines or LogBytes allow
// none.
type Limits struct {
	// MemoryBytes bounds the linear memory. Growth beyond is refused, which the
	// guest may handle.
	MemoryBytes int64
	// Timeout bounds the time from instantiation to the end.
	Timeout time.Duration
	// HostCallsPerSecond is the rate at which a task may start ops and report
	// progress. As many may come at once; beyond, each waits for its turn.
	HostCallsPerSecond int
	// Tickets bounds the ops in flight; one more is refused with quota.
	Tickets int
	// RequestBytes bounds the request of an op; a longer one is refused with
	// too_large.
	RequestBytes int
	// AnswerBytes bounds the answer of an op; instead of a longer one the guest
	// gets too_large.
	AnswerBytes int
	// LogLines and LogBytes bound what a task logs. Further lines are dropped,
	// one warning says so.
	LogLines int
	LogBytes int
}

// DefaultLimits returns the limits of a task that asks for none.
func DefaultLimits() Limits {
	return Limits{
		MemoryBytes:        64 << 20,
		Timeout:            5 * time.Minute,
		HostCallsPerSecond: 1000,
		Tickets:            64,
		RequestBytes:       256 << 10,
		AnswerBytes:        1 << 20,
		LogLines:           1000,
		LogBytes:           1 << 20,
	}
}

// DefaultCeilings returns the most that a manifest may ask for. Only
// MemoryBytes and Timeout can be asked for.
func DefaultCeilings() Limits {
	l := DefaultLimits()
	l.MemoryBytes = 512 << 20
	l.Timeout = 6 * time.Hour
	return l
}

// orElse fills what is not set from def.
func (l Limits) orElse(def Limits) Limits {
	if l == (Limits{}) {
		return def
	}
	if l.MemoryBytes == 0 {
		l.MemoryBytes = def.MemoryBytes
	}
	fill := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	fill(&l.HostCallsPerSecond, def.HostCallsPerSecond)
	fill(&l.Tickets, def.Tickets)
	fill(&l.RequestBytes, def.RequestBytes)
	fill(&l.AnswerBytes, def.AnswerBytes)
	fill(&l.LogLines, def.LogLines)
	fill(&l.LogBytes, def.LogBytes)
	return l
}

// For returns the limits of a task whose manifest asks for asked: what it asks
// for, at most the ceilings; l where it asks for nothing.
func (l Limits) For(asked abi.ManifestLimits, ceilings Limits) Limits {
	if asked.MemoryMiB > 0 {
		l.MemoryBytes = min(int64(asked.MemoryMiB)<<20, ceilings.MemoryBytes)
	}
	// A manifest that was read holds a valid duration or none.
	if d, err := time.ParseDuration(asked.Timeout); err == nil && d > 0 {
		l.Timeout = d
		if ceilings.Timeout > 0 {
			l.Timeout = min(d, ceilings.Timeout)
		}
	}
	return l
}

// A LimitError says which limit a task ran into. That of the time matches
// context.DeadlineExceeded.
type LimitError struct {
	Limit  string // what is limited, such as "memory"
	Value  string // the limit, with its unit, such as "64 MiB"
	Detail string // what the task wanted; may be empty
	Option string // what raises it, such as "[wasakari] tickets"
}

// Error names limit, value and option.
func (e *LimitError) Error() string {
	text := e.Limit + " limit of " + e.Value + " reached"
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text + " (option " + e.Option + ")"
}

// Unwrap gives context.DeadlineExceeded for the limit of time.
func (e *LimitError) Unwrap() error {
	if e.Option == optionTimeout {
		return context.DeadlineExceeded
	}
	return nil
}

// What sets the limits.
const (
	optionModule  = "[wasakari] module_mib"
	optionMemory  = "[wasakari] memory_mib, or limits.memory_mib in the manifest"
	optionTimeout = "[wasakari] task_timeout, or limits.timeout in the manifest"
	optionTickets = "[wasakari] tickets"
	optionRequest = "[wasakari] request_kib"
	optionAnswer  = "[wasakari] answer_mib"
	optionLines   = "[wasakari] log_lines"
	optionLog     = "[wasakari] log_kib"
)

func (l Limits) memoryError(detail string) *LimitError {
	return &LimitError{Limit: "memory", Value: size(l.MemoryBytes), Detail: detail, Option: optionMemory}
}

func (l Limits) timeoutError() *LimitError {
	return &LimitError{Limit: "time", Value: l.Timeout.String(), Option: optionTimeout}
}

func (l Limits) ticketsError(open int) *LimitError {
	return &LimitError{
		Limit: "ticket", Value: fmt.Sprintf("%d open", l.Tickets),
		Detail: fmt.Sprintf("%d ops are in flight", open), Option: optionTickets,
	}
}

func (l Limits) requestError(n int) *LimitError {
	return &LimitError{
		Limit: "request", Value: size(int64(l.RequestBytes)),
		Detail: fmt.Sprintf("the request has %d bytes", n), Option: optionRequest,
	}
}

func (l Limits) answerError(n int) *LimitError {
	return &LimitError{
		Limit: "answer", Value: size(int64(l.AnswerBytes)),
		Detail: fmt.Sprintf("the answer has %d bytes; ask for fewer fields or rows", n), Option: optionAnswer,
	}
}

// size writes a number of bytes for a person.
func size(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// A pace is a token bucket: ops may start at a rate, as many at once as may
// start in a second. It looks at the clock only when the bucket is empty,
// which keeps a host call cheap.
type pace struct {
	perSecond int
	tokens    int
	filled    time.Time // when tokens were last put in; zero: never
}

// take takes a token, or says how long to wait before asking again.
func (p *pace) take() time.Duration {
	if p.tokens > 0 {
		p.tokens--
		return 0
	}
	now := time.Now()
	each := time.Second / time.Duration(p.perSecond)
	since := time.Second
	if !p.filled.IsZero() {
		since = min(now.Sub(p.filled), time.Second)
	}
	if since < each {
		return each - since
	}
	// What is left of a token's time counts for the next one.
	p.tokens = int(since/each) - 1
	p.filled = now.Add(-(since % each))
	return 0
}
