package runtime

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"strings"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/runtime/meter"
)

// ErrOpenTickets says that a task ended as succeeded while ops that it had
// submitted were open. A task waits for its tickets, or cancels them, or fails.
var ErrOpenTickets = errors.New("tickets left open")

// A TrapError says that a guest broke down.
type TrapError struct {
	// Reason says why, for a person: "unreachable: …", "stack overflow: …",
	// "call: request pointer 0x… + 12 bytes is outside memory".
	Reason string
	// Stack holds the guest's frames, innermost first, with the function names
	// of the module's name section: the innermost 30, some of which may be those
	// of metering and are left out.
	Stack []string
	// Output is the end of what the guest wrote to its standard output and
	// error, where languages explain their panics.
	Output string
	// Err is the limit behind the trap, if one is known, else nil.
	Err error
}

// Error gives the reason, the limit behind it, the innermost frames and the
// output.
func (e *TrapError) Error() string {
	var b strings.Builder
	b.WriteString(e.Reason)
	if e.Err != nil {
		b.WriteString("; ")
		b.WriteString(e.Err.Error())
	}
	if len(e.Stack) > 0 {
		const most = 5
		b.WriteString("; in ")
		b.WriteString(strings.Join(e.Stack[:min(most, len(e.Stack))], " < "))
	}
	writeOutput(&b, e.Output)
	return b.String()
}

// Unwrap gives the limit behind the trap.
func (e *TrapError) Unwrap() error { return e.Err }

// An ExitError says that a guest called proc_exit, which no task may, whatever
// the code: it says its outcome by returning. Panics of many languages end
// here.
type ExitError struct {
	Code   uint32
	Output string // as in TrapError
	Err    error  // as in TrapError
}

// Error gives the code, the limit behind it and the output.
func (e *ExitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the guest exited with code %d instead of returning", e.Code)
	if e.Err != nil {
		b.WriteString("; ")
		b.WriteString(e.Err.Error())
	}
	writeOutput(&b, e.Output)
	return b.String()
}

// Unwrap gives the limit behind the exit.
func (e *ExitError) Unwrap() error { return e.Err }

func writeOutput(b *strings.Builder, output string) {
	if output = strings.TrimSpace(output); output != "" {
		b.WriteString("; it wrote: ")
		b.WriteString(output)
	}
}

// violation is what a host function panics with when the guest broke the
// contract; it ends as a TrapError.
type violation string

func (v violation) Error() string { return string(v) }

// errStopped is what a host function panics with when the run's time is up or
// it was cancelled.
var errStopped = errors.New("stopped")

// What the functions of metering panic with when the guest has used all units,
// and when it called too deep.
var (
	errSpent = errors.New("out of units")
	errDeep  = errors.New("stack overflow")
)

// traps are wazero's words for what went wrong, and ours. Where wazero has no
// sentinel, its text is all there is to go by.
var traps = []struct{ wazero, ours string }{
	{"unreachable", "unreachable: the guest gave up, as compiled code does after a panic, an abort or a failed assertion"},
	{"stack overflow", "stack overflow: the guest called too deep, most likely a recursion without end"},
	{"out of bounds memory access", "out of bounds memory access: the guest read or wrote outside its memory"},
	{"integer divide by zero", "integer divide by zero"},
	{"integer overflow", "integer overflow: a division or conversion gave a number that does not fit"},
	{"invalid conversion to integer", "invalid conversion to integer: the guest converted a number that is not one"},
	{"invalid table access", "invalid table access: the guest called through a function pointer that is null or out of range"},
	{"indirect call type mismatch", "indirect call type mismatch: the guest called a function pointer of another signature"},
}

const (
	stackMark  = "\nwasm stack trace:\n\t"
	goMark     = "\n\nGo runtime stack trace:\n"
	wasmPrefix = "wasm error: "
	omitted    = "... maybe followed by omitted frames"
)

// failure turns what a guest function returned into the error of the run.
//
// wazero has a ceiling of the call stack of its own, 50 MB, for what the bound
// of metering does not see: the values that the compiler keeps there.
func (s *sandbox) failure(ctx context.Context, err error) error {
	if errors.Is(err, errStopped) {
		return s.ended(ctx)
	}
	if errors.Is(err, errSpent) {
		return s.limits.cpuError()
	}
	var limit error
	if s.memory.refused > 0 {
		limit = s.limits.memoryError(fmt.Sprintf("growing to %s was refused", size(s.memory.refused)))
	}
	var exit *ExitError
	if errors.As(err, &exit) {
		return &ExitError{Code: exit.Code, Output: s.output(), Err: limit}
	}
	text, rest, _ := strings.Cut(err.Error(), stackMark)
	frames, goStack := rest, ""
	// A guest's function may be named like goMark, so the mark alone says nothing.
	var panicked goruntime.Error
	internal := errors.As(err, &panicked)
	if internal {
		i := max(strings.LastIndex(rest, goMark), 0)
		frames, goStack = rest[:i], rest[i:]
	}
	trap := &TrapError{Stack: stackOf(frames), Output: s.output()}
	var broken violation
	switch {
	case errors.As(err, &broken):
		trap.Reason = string(broken)
	case errors.Is(err, errDeep):
		trap.Reason, trap.Err = "stack overflow", s.limits.stackError()
	case internal:
		s.log.Error("host function panicked", s.task(), zap.String("panic", text), zap.String("stack", goStack))
		trap.Reason = "internal error of the host, see its log"
	default:
		trap.Reason = reasonOf(strings.TrimPrefix(text, wasmPrefix))
		trap.Err = limit
	}
	return trap
}

func reasonOf(text string) string {
	for _, t := range traps {
		if text == t.wazero {
			return t.ours
		}
	}
	return text
}

// stackOf takes the frames of wazero's stack trace, without the source lines
// and the signatures.
func stackOf(text string) []string {
	if text == "" {
		return nil
	}
	var frames []string
	for line := range strings.SplitSeq(text, "\n\t") {
		if strings.HasPrefix(line, "\t") {
			continue
		}
		if name, _, ok := strings.Cut(line, "("); ok && name != "" {
			line = name
		}
		if strings.HasPrefix(strings.TrimPrefix(line, "."), meter.ImportModule+".") {
			continue // ours, not the guest's
		}
		if line == omitted {
			continue
		}
		frames = append(frames, shown(strings.TrimPrefix(line, ".")))
	}
	return frames
}

// ended says why the context of a run is over: the task's own limit of time,
// or what the caller's context says.
func (s *sandbox) ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if cause == nil {
		return context.Canceled
	}
	var limit *LimitError
	if errors.As(cause, &limit) {
		return limit
	}
	if err := ctx.Err(); !errors.Is(cause, err) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return cause
}
