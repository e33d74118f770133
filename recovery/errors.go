package recovery

import (
	"errors"
	"fmt"
	"strings"
)

// Sentinels that any room may wrap; match them with errors.Is. Those of
// the first group have the errno of the same meaning in the ABI.
var (
	ErrNotFound    = errors.New("not found")
	ErrConflict    = errors.New("conflict")
	ErrForbidden   = errors.New("forbidden")
	ErrNotGranted  = errors.New("not granted")
	ErrInvalid     = errors.New("invalid")
	ErrUnavailable = errors.New("unavailable")
	ErrTimeout     = errors.New("timeout")
	ErrCanceled    = errors.New("canceled")
	ErrTooLarge    = errors.New("too large")
	ErrQuota       = errors.New("quota exceeded")

	// ErrExists says that a name is taken, or that a record is there already.
	ErrExists = errors.New("already exists")
	// ErrInUse says that a record cannot be changed while notifications about it
	// are being worked on.
	ErrInUse = errors.New("in use")
	// ErrDuplicate says that a notification reports what another one did.
	ErrDuplicate = errors.New("duplicate")
	// ErrMaintenance says that a host is on maintenance, so that notifications
	// about it are not taken.
	ErrMaintenance = errors.New("on maintenance")
	// ErrLeaseLost says that a run is no longer this node's: nothing more of it
	// can be written or changed.
	ErrLeaseLost = errors.New("lease lost")

	// ErrUnauthorized says that the cloud refused the credentials.
	ErrUnauthorized = errors.New("credentials refused")
	// ErrUnknownOutcome says that a change was sent and no answer came back:
	// it may or may not have been done.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrInterrupted says that the operator or a dying process stopped a run.
	ErrInterrupted = errors.New("interrupted")
)

// CloudError is an answer of the cloud that was no success. Unwrap gives the
// sentinel of its meaning.
type CloudError struct {
	Op        string // what was asked, such as "evacuate server 7f3…"
	Status    int    // HTTP status; 0 when no answer came
	Message   string // the cloud's own text
	RequestID string // x-openstack-request-id, empty when none came
	Err       error  // a sentinel of this package
}

// Error gives op, status, the cloud's text and the request id.
func (e *CloudError) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	b.WriteString(": ")
	if e.Status != 0 {
		fmt.Fprintf(&b, "%d ", e.Status)
	}
	if e.Message != "" {
		b.WriteString(e.Message)
	} else {
		b.WriteString(e.Err.Error())
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, " (%s)", e.RequestID)
	}
	return b.String()
}

// Unwrap gives the sentinel.
func (e *CloudError) Unwrap() error { return e.Err }

// TaskError says which task of which flow failed.
type TaskError struct {
	Flow FlowKind
	Task string
	Err  error
}

func (e *TaskError) Error() string {
	return fmt.Sprintf("flow %s: task %s: %v", e.Flow, e.Task, e.Err)
}

// Unwrap gives the reason.
func (e *TaskError) Unwrap() error { return e.Err }

// ConfigError is a mistake in something that the operator wrote. Error reads
// "file:line:col: reason; hint".
type ConfigError struct {
	Pos    Position
	Reason string
	Hint   string // what to do; may be empty
}

func (e *ConfigError) Error() string {
	var b strings.Builder
	if e.Pos.File != "" {
		b.WriteString(e.Pos.String())
		b.WriteString(": ")
	}
	b.WriteString(e.Reason)
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Is makes every ConfigError match ErrInvalid.
func (e *ConfigError) Is(target error) bool { return target == ErrInvalid }
