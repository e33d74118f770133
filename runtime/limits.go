package runtime

import (
	"cmp"
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
	// MemoryBytes bounds the linear memory, together with tables, answers held,
	// log text, and what a Keeper keeps. Growth beyond is refused, which the
	// guest may handle; answers to submitted reads become quota, but for one.
	MemoryBytes int64
	// Stack bounds the call stack, in bytes: a guest that calls deeper traps.
	Stack int64
	// CPU bounds the computing, in units of about one simple instruction: a
	// guest that computes more is stopped. The same input takes the same units.
	CPU int64
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
	// Options names, for errors, what raises these limits where that is not an
	// option of [wasakari]. It must not change.
	Options *LimitOptions
}

// LimitOptions names what raises each limit, such as "[limits] acme memory_mib".
// An empty name stands for the option of [wasakari].
type LimitOptions struct {
	Memory, Stack, CPU, Timeout, Tickets, Request, Answer, LogLines, LogBytes string
}

// options gives the names as they were given.
func (l Limits) options() LimitOptions {
	if l.Options == nil {
		return LimitOptions{}
	}
	return *l.Options
}

// DefaultLimits returns the limits of a task that asks for none.
func DefaultLimits() Limits {
	return Limits{
		MemoryBytes:        64 << 20,
		Stack:              1 << 20,
		CPU:                10e9,
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
// MemoryBytes, CPU and Timeout can be asked for.
func DefaultCeilings() Limits {
	l := DefaultLimits()
	l.MemoryBytes = 512 << 20
	l.CPU = 600e9
	l.Timeout = 6 * time.Hour
	return l
}

// orElse fills what is not set from def.
func (l Limits) orElse(def Limits) Limits {
	if l == (Limits{}) {
		return def
	}
	l.MemoryBytes = cmp.Or(l.MemoryBytes, def.MemoryBytes)
	l.Stack = cmp.Or(l.Stack, def.Stack)
	l.CPU = cmp.Or(l.CPU, def.CPU)
	fill := func(v *int, d int) { *v = cmp.Or(*v, d) }
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
	if asked.CPU > 0 {
		l.CPU = min(int64(asked.CPU), ceilings.CPU) // a manifest that was read holds a whole number below 2^53
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
	if e.Limit == limitTime {
		return context.DeadlineExceeded
	}
	return nil
}

// limitTime is the name of the limit of time.
const limitTime = "time"

// What sets the limits.
const (
	optionModule        = "[wasakari] module_mib"
	optionCompileMemory = "[wasakari] compile_memory_mib"
	optionCompileTime   = "[wasakari] compile_seconds"
	optionCache         = "[wasakari] cache_mib"
	optionSandboxes     = "[wasakari] sandboxes"
	optionAllSandboxes  = "[wasakari] sandboxes_total"
	optionMemory        = "[wasakari] memory_mib, or limits.memory_mib in the manifest"
	optionStack         = "[wasakari] stack_mib"
	optionCPU           = "[wasakari] cpu_units, or limits.cpu in the manifest"
	optionTimeout       = "[wasakari] task_timeout, or limits.timeout in the manifest"
	optionTickets       = "[wasakari] tickets"
	optionRequest       = "[wasakari] request_kib"
	optionAnswer        = "[wasakari] answer_mib"
	optionLines         = "[wasakari] log_lines"
	optionLog           = "[wasakari] log_kib"
)

func (l Limits) memoryError(detail string) *LimitError {
	return &LimitError{Limit: "memory", Value: size(l.MemoryBytes), Detail: detail, Option: cmp.Or(l.options().Memory, optionMemory)}
}

func (l Limits) stackError() *LimitError {
	return &LimitError{Limit: "stack", Value: size(l.Stack), Detail: "the guest called too deep, most likely a recursion without end", Option: cmp.Or(l.options().Stack, optionStack)}
}

func (l Limits) cpuError() *LimitError {
	return &LimitError{Limit: "cpu", Value: fmt.Sprintf("%d units", l.CPU), Option: cmp.Or(l.options().CPU, optionCPU)}
}

func (l Limits) timeoutError() *LimitError {
	return &LimitError{Limit: limitTime, Value: l.Timeout.String(), Option: cmp.Or(l.options().Timeout, optionTimeout)}
}

func (l Limits) ticketsError(open int) *LimitError {
	return &LimitError{
		Limit: "ticket", Value: fmt.Sprintf("%d open", l.Tickets),
		Detail: fmt.Sprintf("%d ops are in flight", open), Option: cmp.Or(l.options().Tickets, optionTickets),
	}
}

func (l Limits) requestError(n int) *LimitError {
	return &LimitError{
		Limit: "request", Value: size(int64(l.RequestBytes)),
		Detail: fmt.Sprintf("the request has %d bytes", n), Option: cmp.Or(l.options().Request, optionRequest),
	}
}

func (l Limits) answerError(n int) *LimitError {
	return &LimitError{
		Limit: "answer", Value: size(int64(l.AnswerBytes)),
		Detail: fmt.Sprintf("the answer has %d bytes; ask for fewer fields or rows", n), Option: cmp.Or(l.options().Answer, optionAnswer),
	}
}

// logError says which of the limits of the log was reached.
func (l Limits) logError(lines bool) *LimitError {
	if lines {
		return &LimitError{Limit: "log", Value: fmt.Sprintf("%d lines", max(l.LogLines, 0)), Option: cmp.Or(l.options().LogLines, optionLines)}
	}
	return &LimitError{Limit: "log", Value: size(int64(max(l.LogBytes, 0))), Option: cmp.Or(l.options().LogBytes, optionLog)}
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
	return p.fill()
}

// fill puts in what has come since and takes one of it. It is apart from take,
// so that this can be inlined.
func (p *pace) fill() time.Duration {
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
