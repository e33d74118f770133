package hostfuncs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// maxText bounds, in bytes, any text that goes to or comes from a guest as a
// message.
const maxText = 4096

// errnos says which error number stands for which sentinel. The first that
// matches holds, so the more telling ones stand first.
var errnos = []struct {
	is   error
	code abi.Errno
}{
	{recovery.ErrNotFound, abi.ErrnoNotFound},
	{recovery.ErrConflict, abi.ErrnoConflict},
	{recovery.ErrForbidden, abi.ErrnoForbidden},
	{recovery.ErrUnauthorized, abi.ErrnoForbidden},
	{recovery.ErrNotGranted, abi.ErrnoNotGranted},
	{recovery.ErrInvalid, abi.ErrnoInvalid},
	{recovery.ErrTooLarge, abi.ErrnoTooLarge},
	{recovery.ErrQuota, abi.ErrnoQuota},
	{recovery.ErrUnknownOutcome, abi.ErrnoUnavailable},
	{recovery.ErrUnavailable, abi.ErrnoUnavailable},
	{recovery.ErrTimeout, abi.ErrnoTimeout},
	{recovery.ErrCanceled, abi.ErrnoCanceled},
	{recovery.ErrInterrupted, abi.ErrnoCanceled},
	{context.DeadlineExceeded, abi.ErrnoTimeout},
	{context.Canceled, abi.ErrnoCanceled},
}

// toError makes what the guest is told of err. What wraps no sentinel is a
// failure outside: unavailable. That a guard holds a change is not the quota
// that a task may wait for: it lasts as long as the run.
func toError(op string, err error) *abi.Error {
	if e, ok := errors.AsType[*abi.Error](err); ok {
		return e
	}
	if held, ok := errors.AsType[*recovery.HeldError](err); ok {
		return abi.Errorf(abi.ErrnoForbidden, "%s: %s", op, held.Brief())
	}
	code, text := abi.ErrnoUnavailable, err.Error()
	for _, row := range errnos {
		if errors.Is(err, row.is) {
			// The code says the sentinel's text already.
			code, text = row.code, strings.TrimSuffix(text, ": "+row.is.Error())
			break
		}
	}
	e := abi.Errorf(code, "%s: %s", op, text)
	if ce, ok := asCloudError(err); ok {
		e.Status, e.RequestID = ce.Status, ce.RequestID
		if ce.Message != "" {
			// Status and request id have fields of their own.
			e.Message = strings.TrimPrefix(ce.Op+": "+ce.Message, ": ")
		}
	}
	e.Message = recovery.Cut(e.Message, maxText)
	return e
}

func asCloudError(err error) (*recovery.CloudError, bool) {
	return errors.AsType[*recovery.CloudError](err)
}

func (t *TaskHost) tooLong(op string) *abi.Error {
	return abi.Errorf(abi.ErrnoTooLarge, "%s: answer larger than %d bytes (option %s); ask for less, or for fewer fields", op, t.call.AnswerBytes, t.call.AnswerOption)
}

// passing reports whether a read that ended with err may work the next time:
// the cloud did not answer, with an error of its own, or was asked too often.
func passing(err error) bool {
	switch toError("", err).Code {
	case abi.ErrnoUnavailable, abi.ErrnoTimeout, abi.ErrnoQuota:
		return true
	}
	return false
}

// unknown reports whether a change that ended with err may have been done.
// A request that was cut off counts: it may be on its way.
func unknown(err error) bool {
	if errors.Is(err, recovery.ErrUnknownOutcome) {
		return true
	}
	if _, told := errors.AsType[*recovery.CloudError](err); told {
		return false
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// endOf gives the reason why ctx ended, which matches ctx.Err() whatever cause
// was given.
func endOf(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) || errors.Is(cause, recovery.ErrTimeout) {
		return cause
	}
	return fmt.Errorf("%w: %w", cause, err)
}
