// Package abi holds what host and guest agree on: the ops and their
// documents, the error numbers, the manifest of a module.
//
// The contract itself is schema.json; sdk/ABI.md is it in prose. Standard
// library only.
package abi

import (
	_ "embed"
	"encoding/json"
	"fmt"
)

// Version is the ABI that this host speaks.
const Version = 1

// ImportModule is the name of the module from which a guest imports the ABI.
// It carries the version, so that an old host fails at load and not midway.
const ImportModule = "wasakari_v1"

// Schema is the machine-readable contract, schema.json.
//
//go:embed schema.json
var Schema []byte

// Names of the functions that a guest imports from ImportModule.
const (
	// Call does an op: call(op, op_len, req, req_len, out, out_cap: i32) → i64.
	// ≥ 0: length of the answer; when it exceeds out_cap nothing was copied and
	// the host keeps the answer for Take. < 0: −errno; the answer kept for Take
	// is an ErrorDocument.
	Call = "call"
	// Take fetches the answer kept: take(out, out_cap: i32) → i64, its length;
	// nothing is copied when it exceeds out_cap. It lives until the next Call
	// or Wait. −ErrnoNotFound: none is kept.
	Take = "take"
	// Submit starts an op with a copy of the request:
	// submit(op, op_len, req, req_len: i32) → i64, a ticket > 0 or −errno.
	Submit = "submit"
	// Wait sleeps until any ticket is done:
	// wait(timeout_ms, out, out_cap: i32) → i64. ≥ 0: the ticket in the high 32
	// bits; in the low 32 the length as in Call, or the top bit set and an
	// errno below. < 0: −errno of the wait itself: ErrnoTimeout, or
	// ErrnoNotFound when nothing is outstanding. A negative timeout waits as
	// long as the task may run.
	Wait = "wait"
	// Log writes one log line: log(level, msg, len: i32).
	Log = "log"
	// SetProgress tells how far the task is: progress(permille, msg, len: i32).
	SetProgress = "progress"
)

// WaitError is the bit of Wait's low half that marks an errno.
const WaitError = 1 << 31

// Names of a guest's exports.
const (
	// Run does the task: run() → i32, an Exit.
	Run = "run"
	// Revert undoes the task, optional: revert() → i32, an Exit.
	Revert = "revert"
	// Initialize prepares the guest's runtime, optional: _initialize().
	Initialize = "_initialize"
	// Memory is the guest's linear memory.
	Memory = "memory"
)

// Exit is what Run and Revert return.
type Exit int32

// The exits of a task.
const (
	ExitSucceeded   Exit = 0
	ExitFailed      Exit = 1
	ExitNothingToDo Exit = 2 // ends the flow well
	ExitIgnored     Exit = 3 // the notification ends ignored
)

// Level is the level of a log line.
type Level int32

// The levels of a log line; others are taken as LevelInfo.
const (
	LevelDebug Level = 0
	LevelInfo  Level = 1
	LevelWarn  Level = 2
	LevelError Level = 3
)

// String gives the level's name.
func (l Level) String() string {
	switch l {
	case LevelDebug:
		return "debug"
	case LevelWarn:
		return "warn"
	case LevelError:
		return "error"
	}
	return "info"
}

// Errno is the number of an error, as guests see it negated.
type Errno int32

// Error is what the host answers when an op is refused or did not work out.
// Its JSON is the ErrorDocument of the schema.
type Error struct {
	Code      Errno  `json:"-"`
	Message   string `json:"message"`
	Status    int    `json:"status,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

// Errorf makes an Error.
func Errorf(code Errno, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error gives code and message.
func (e *Error) Error() string { return e.Code.String() + ": " + e.Message }

// MarshalJSON gives the ErrorDocument.
func (e *Error) MarshalJSON() ([]byte, error) {
	type plain Error
	return json.Marshal(struct {
		Code string `json:"code"`
		*plain
	}{e.Code.String(), (*plain)(e)})
}

// Kind says what an op does to the world.
type Kind uint8

// The kinds of op.
const (
	// Local ops answer at once and touch nothing outside this process.
	Local Kind = iota
	// Read ops may take long and change nothing; they end with their task.
	Read
	// Change ops change the cloud; once begun the host follows them to their
	// outcome, whatever becomes of the task.
	Change
)

// Op is one thing that a task may ask the host for.
type Op struct {
	Name string // group.verb
	Kind Kind
	// Free ops need no mention in a manifest.
	Free bool

	place int // in Ops, from 1
}

// Index gives the op's place in Ops, and a negative number for an Op that is
// not from there.
func (o *Op) Index() int { return o.place - 1 }

// KindOf returns the kind of one request of the op: http.request with method
// GET or HEAD is a Read. A request that is malformed has the op's own kind.
func (o *Op) KindOf(req []byte) Kind {
	if o.Name != OpHTTPRequest {
		return o.Kind
	}
	var r struct {
		Method string `json:"method"`
	}
	if err := json.Unmarshal(req, &r); err == nil && (r.Method == "GET" || r.Method == "HEAD") {
		return Read
	}
	return o.Kind
}

// Group returns the part of the name before the dot.
func (o *Op) Group() string {
	for i := range len(o.Name) {
		if o.Name[i] == '.' {
			return o.Name[:i]
		}
	}
	return o.Name
}
