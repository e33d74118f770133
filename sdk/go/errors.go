package wasakari

import (
	"errors"
	"fmt"
	"strings"
)

// errno is the number of an error in the ABI.
type errno int64

func (e errno) code() string {
	if e > 0 && int(e) < len(errnoNames) {
		return errnoNames[e]
	}
	return fmt.Sprintf("errno_%d", int64(e))
}

// sentinel is one of the Err variables: the code of an error document.
type sentinel string

func (s sentinel) Error() string { return strings.ReplaceAll(string(s), "_", " ") }

// What an op's error is about; match with errors.Is.
const (
	ErrInvalid     = sentinel("invalid")
	ErrNotFound    = sentinel("not_found")
	ErrConflict    = sentinel("conflict")
	ErrForbidden   = sentinel("forbidden")
	ErrNotGranted  = sentinel("not_granted")
	ErrUnavailable = sentinel("unavailable")
	ErrTimeout     = sentinel("timeout")
	ErrCanceled    = sentinel("canceled")
	ErrTooLarge    = sentinel("too_large")
	ErrQuota       = sentinel("quota")
)

// OpError is the host's refusal of an op, or Nova's.
type OpError struct {
	Op        string // such as nova.server_evacuate
	Code      string // such as conflict
	Message   string // the reason, for a person
	Status    int    // HTTP status of Nova's answer; 0 when the error is not Nova's or no answer came
	RequestID string // Nova's request id; may be empty
}

// Error gives op, code, reason, and what Nova said.
func (e *OpError) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	b.WriteString(sentinel(e.Code).Error())
	// The host's reasons name the op as well.
	if reason := strings.TrimPrefix(e.Message, e.Op+": "); reason != "" {
		b.WriteString(": " + reason)
	}
	switch {
	case e.Status != 0 && e.RequestID != "":
		fmt.Fprintf(&b, " (HTTP %d, %s)", e.Status, e.RequestID)
	case e.Status != 0:
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	case e.RequestID != "":
		fmt.Fprintf(&b, " (%s)", e.RequestID)
	}
	return b.String()
}

// Is matches the sentinel of the same code.
func (e *OpError) Is(target error) bool { return target == sentinel(e.Code) }

// outcomeError ends a task in another way than success or failure.
type outcomeError struct {
	exit   int32
	reason string
}

func (e *outcomeError) Error() string { return e.reason }

// NothingToDo makes an error with which a task ends the whole flow well: the
// recovery is not needed.
func NothingToDo(reason string) error { return &outcomeError{exitNothingToDo, reason} }

// Ignore makes an error with which a task ends the flow and leaves the
// notification ignored.
func Ignore(reason string) error { return &outcomeError{exitIgnored, reason} }

// What the exports run and revert return.
const (
	exitSucceeded   = 0
	exitFailed      = 1
	exitNothingToDo = 2
	exitIgnored     = 3
)

// outcome gives exit and reason of what a task returned.
func outcome(err error) (int32, string) {
	if err == nil {
		return exitSucceeded, ""
	}
	if oe := (*outcomeError)(nil); errors.As(err, &oe) {
		return oe.exit, err.Error()
	}
	return exitFailed, err.Error()
}
