// Package wasakaritest runs tasks of package wasakari off wasm, against a fake
// host. It is for unit tests of tasks; it checks no manifest and no grants.
package wasakaritest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wasakari "github.com/wasakari/wasakari/sdk/go"
	"github.com/wasakari/wasakari/sdk/go/internal/bridge"
)

// Handler answers an op: it gets the request's JSON and gives a value whose
// JSON is the answer. Errors that are no *wasakari.OpError reach the task as
// code unavailable. Handlers run in the goroutine of the task that asks, and
// may block until ctx is done.
type Handler func(ctx context.Context, req json.RawMessage) (any, error)

// Fake is a fake host. The zero value serves the groups task and kv, keeping
// values in memory, and refuses every other op as not_granted; On and Answer
// script those. It may be used for several runs, one after the other: values
// stay. Its fields are not to be changed while a task runs.
type Fake struct {
	// Flow is the kind of flow. Defaults to host-auto.
	Flow string
	// Phase is pre, main or post. Defaults to main.
	Phase string
	// Attempt counts from 1, which is the default.
	Attempt int
	// Round counts from 1, which is the default.
	Round int
	// Failure is, in Revert, why the flow failed.
	Failure string
	// Inputs are the values that the task was given.
	Inputs map[string]any
	// Options are the options of the manifest by group and name; nil is one
	// that is not set. A secret is the wasakari.Secret that names it.
	Options map[string]map[string]any
	// Handlers answer ops by their names. They come before what the fake
	// serves itself.
	Handlers map[string]Handler

	mu      sync.Mutex
	run     map[string]value
	library map[string]value
	calls   []Call
	logs    []Log
	steps   []Progress
	key     string
	revert  bool
	reason  string
}

type value struct {
	raw     json.RawMessage
	version int64
}

// Call is one op that the task asked for.
type Call struct {
	Op      string
	Request json.RawMessage
}

// Log is one line that the task logged.
type Log struct {
	Level   string // debug, info, warn or error
	Message string
}

// Progress is one report of progress.
type Progress struct {
	Permille int
	Message  string
}

// Outcome is how a task ended.
type Outcome string

// The outcomes of a task.
const (
	Succeeded   Outcome = "succeeded"
	Failed      Outcome = "failed"
	NothingToDo Outcome = "nothing_to_do"
	Ignored     Outcome = "ignored"
)

// Result is what a run left behind.
type Result struct {
	Outcome  Outcome
	Reason   string
	Calls    []Call // all but those of group task, in the order in which they began
	Logs     []Log
	Progress []Progress
	// Values are the values of the run that are there now, by name.
	Values map[string]json.RawMessage
}

// Value decodes a value of the run; the test fails at once when it is not
// there or does not fit.
func (r Result) Value(t testing.TB, name string, into any) {
	t.Helper()
	raw, ok := r.Values[name]
	if !ok {
		t.Fatalf("value %s is not there; there are %v", name, slices.Sorted(maps.Keys(r.Values)))
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("value %s: %v", name, err)
	}
}

// Ops gives the names of the ops of Calls.
func (r Result) Ops() []string {
	names := make([]string, len(r.Calls))
	for i, c := range r.Calls {
		names[i] = c.Op
	}
	return names
}

// Run runs the task that wasakari.Handle registered under key. A nil fake is an
// empty one.
func Run(t testing.TB, key string, f *Fake) Result {
	t.Helper()
	return f.do(t, key, false)
}

// Revert runs the task's function that undoes it.
func Revert(t testing.TB, key string, f *Fake) Result {
	t.Helper()
	return f.do(t, key, true)
}

func (f *Fake) do(t testing.TB, key string, revert bool) Result {
	t.Helper()
	if f == nil {
		f = &Fake{}
	}
	f.mu.Lock()
	f.key, f.revert, f.reason = key, revert, ""
	f.calls, f.logs, f.steps = nil, nil, nil
	f.mu.Unlock()

	exit := bridge.Run((*host)(f), revert)

	f.mu.Lock()
	defer f.mu.Unlock()
	outcomes := []Outcome{Succeeded, Failed, NothingToDo, Ignored}
	r := Result{
		Outcome: outcomes[exit], Reason: f.reason,
		Calls: f.calls, Logs: f.logs, Progress: f.steps, Values: map[string]json.RawMessage{},
	}
	for name, v := range f.run {
		r.Values[name] = v.raw
	}
	return r
}

// On scripts an op.
func (f *Fake) On(op string, h Handler) {
	if f.Handlers == nil {
		f.Handlers = map[string]Handler{}
	}
	f.Handlers[op] = h
}

// Answer scripts an op with a function over the generated types:
//
//	wasakaritest.Answer(f, "nova.server_list",
//		func(ctx context.Context, req wasakari.NovaServerListRequest) (wasakari.NovaServerListAnswer, error) { … })
//
// A request that does not fit Req, unknown keys included, is refused as
// invalid.
func Answer[Req, Ans any](f *Fake, op string, h func(context.Context, Req) (Ans, error)) {
	f.On(op, func(ctx context.Context, raw json.RawMessage) (any, error) {
		var req Req
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&req); err != nil {
			return nil, refuse("invalid", "%v", err)
		}
		return h(ctx, req)
	})
}

// Error makes an error as the host gives it, such as
// Error("conflict", "server %s is being rebuilt", id).
func Error(code, format string, args ...any) error { return refuse(code, format, args...) }

func refuse(code, format string, args ...any) *wasakari.OpError {
	return &wasakari.OpError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// host keeps the methods of bridge.Host out of Fake's.
type host Fake

func (h *host) Log(level int32, msg string) {
	names := []string{"debug", "info", "warn", "error"}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logs = append(h.logs, Log{names[level], msg})
}

func (h *host) Progress(permille int32, msg string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.steps = append(h.steps, Progress{int(permille), msg})
}

func (h *host) Do(ctx context.Context, op string, req []byte) ([]byte, error) {
	req = bytes.TrimSpace(bytes.Clone(req))
	if !strings.HasPrefix(op, "task.") {
		h.mu.Lock()
		h.calls = append(h.calls, Call{op, req})
		h.mu.Unlock()
	}
	serve := h.Handlers[op]
	if serve == nil {
		serve = h.own(op)
	}
	ans, err := serve(ctx, req)
	if err == nil {
		return json.Marshal(ans)
	}
	if cerr := ctx.Err(); cerr != nil && errors.Is(err, cerr) {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var refusal wasakari.OpError
	if oe := (*wasakari.OpError)(nil); errors.As(err, &oe) {
		refusal = *oe
	} else {
		refusal = *refuse("unavailable", "%v", err)
	}
	if refusal.Op == "" {
		refusal.Op = op
	}
	return nil, &refusal
}

// own gives what the fake serves itself.
func (h *host) own(op string) Handler {
	switch op {
	case "task.input":
		return h.input
	case "task.reason":
		return on(func(_ context.Context, r wasakari.TaskReasonRequest) (any, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.reason = r.Reason
			return struct{}{}, nil
		})
	case "task.sleep":
		return on(func(ctx context.Context, r wasakari.TaskSleepRequest) (any, error) {
			select {
			case <-time.After(time.Duration(r.Milliseconds) * time.Millisecond):
				return struct{}{}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
	case "kv.get":
		return on(h.get)
	case "kv.put":
		return on(h.put)
	case "kv.delete":
		return on(h.remove)
	case "kv.list":
		return on(h.list)
	}
	return func(context.Context, json.RawMessage) (any, error) {
		return nil, refuse("not_granted", "the fake host has no handler for it; script it with On or Answer")
	}
}

func on[Req any](h func(context.Context, Req) (any, error)) Handler {
	f := &Fake{}
	Answer(f, "", h)
	return f.Handlers[""]
}

func (h *host) input(context.Context, json.RawMessage) (any, error) {
	in := map[string]any{
		"key": h.key, "flow": or(h.Flow, "host-auto"), "phase": or(h.Phase, "main"), "run_id": "test-run",
		"notification_uuid": "00000000-0000-4000-8000-000000000001",
		"attempt":           max(h.Attempt, 1), "round": max(h.Round, 1),
		"idempotency_key": "test-run/" + h.key, "reverting": h.revert, "failure": h.Failure,
		"inputs": h.Inputs, "options": h.Options,
	}
	return in, nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (h *host) scope(name string) map[string]value {
	if h.run == nil {
		h.run, h.library = map[string]value{}, map[string]value{}
	}
	if name == "library" {
		return h.library
	}
	return h.run
}

func (h *host) get(_ context.Context, r wasakari.KVGetRequest) (any, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v, ok := h.scope(r.Scope)[r.Name]; ok {
		return wasakari.KVGetAnswer{Value: v.raw, Version: v.version}, nil
	}
	if in, ok := h.Inputs[r.Name]; ok && r.Scope != "library" {
		raw, err := json.Marshal(in)
		return wasakari.KVGetAnswer{Value: raw, Version: 1}, err
	}
	return nil, refuse("not_found", "there is no value %s", r.Name)
}

func (h *host) put(_ context.Context, r wasakari.KVPutRequest) (any, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	values := h.scope(r.Scope)
	old := values[r.Name].version
	if r.IfVersion != nil && *r.IfVersion != old {
		return nil, refuse("conflict", "value %s has version %d", r.Name, old)
	}
	values[r.Name] = value{r.Value, old + 1}
	return wasakari.KVPutAnswer{Version: old + 1}, nil
}

func (h *host) remove(_ context.Context, r wasakari.KVDeleteRequest) (any, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	values := h.scope(r.Scope)
	v, ok := values[r.Name]
	switch {
	case !ok:
		return nil, refuse("not_found", "there is no value %s", r.Name)
	case r.IfVersion != nil && *r.IfVersion != v.version:
		return nil, refuse("conflict", "value %s has version %d", r.Name, v.version)
	}
	delete(values, r.Name)
	return struct{}{}, nil
}

func (h *host) list(_ context.Context, r wasakari.KVListRequest) (any, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ans := wasakari.KVListAnswer{Entries: []wasakari.KVEntry{}}
	values := h.scope(r.Scope)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if strings.HasPrefix(name, r.Prefix) {
			v := values[name]
			ans.Entries = append(ans.Entries, wasakari.KVEntry{Name: name, Version: v.version, Size: int64(len(v.raw))})
		}
	}
	return ans, nil
}

// SetValue puts a value of the run before the task starts.
func (f *Fake) SetValue(name string, v any) { f.set("run", name, v) }

// SetLibrary puts a value of the library before the task starts.
func (f *Fake) SetLibrary(name string, v any) { f.set("library", name, v) }

// LibraryValue gives a value of the library, nil when it is not there.
func (f *Fake) LibraryValue(name string) json.RawMessage {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.library[name].raw
}

func (f *Fake) set(scope, name string, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("wasakaritest: value " + name + ": " + err.Error())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	values := (*host)(f).scope(scope)
	values[name] = value{raw, values[name].version + 1}
}
