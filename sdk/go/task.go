package wasakari

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/wasakari/wasakari/sdk/go/internal/bridge"
)

// handler is what Handle registered under one key.
type handler struct{ run, revert func(*Task) error }

var handlers = map[string]handler{}

// Handle registers the task with this entry-point key; call it in init. One
// module may register several keys, each of which its manifest lists. The
// optional revert undoes the task when the flow fails after it; without one
// there is nothing to undo.
//
// A task that returns nil has succeeded; NothingToDo and Ignore make errors
// that end the flow well; any other error is the reason of a failure, and so
// is a panic. Handle panics when the key is registered already.
func Handle(key string, run func(*Task) error, revert ...func(*Task) error) {
	if _, twice := handlers[key]; twice || run == nil || len(revert) > 1 {
		panic("wasakari: Handle(" + key + "): want each key once, with one function and at most one to revert")
	}
	h := handler{run: run}
	if len(revert) == 1 {
		h.revert = revert[0]
	}
	handlers[key] = h
}

// Task is one run of a task: what it was given and what it may ask for. Its
// methods may be called concurrently.
type Task struct {
	in TaskInput
	c  *caller
}

// Context returns the context of the task. It is never cancelled: a task that
// has to stop is stopped by the host.
func (t *Task) Context() context.Context { return context.Background() }

// Key returns the entry-point key under which the task runs.
func (t *Task) Key() string { return t.in.Key }

// Flow returns the kind of flow: host-auto, host-rh, instance, process or host-repair.
func (t *Task) Flow() string { return t.in.Flow }

// Phase returns pre, main or post.
func (t *Task) Phase() string { return t.in.Phase }

// RunID returns the id of the run.
func (t *Task) RunID() string { return t.in.RunID }

// NotificationUUID returns the notification that the run is about.
func (t *Task) NotificationUUID() string { return t.in.NotificationUUID }

// Attempt returns how often the task was started at this place of the run,
// from 1; more than 1 after an interruption.
func (t *Task) Attempt() int { return int(t.in.Attempt) }

// Round returns which repetition of main this is, from 1.
func (t *Task) Round() int { return int(max(t.in.Round, 1)) }

// IdempotencyKey returns a string that is the same for every attempt at this
// place of this run. Give it to systems that drop repeated requests.
func (t *Task) IdempotencyKey() string { return t.in.IdempotencyKey }

// Reverting reports whether the task is being reverted.
func (t *Task) Reverting() bool { return t.in.Reverting }

// Failure returns, in a revert, why the flow failed.
func (t *Task) Failure() string { return t.in.Failure }

// Inputs returns the names of the inputs that are there, sorted.
func (t *Task) Inputs() []string { return slices.Sorted(maps.Keys(t.in.Inputs)) }

// Input decodes an input: a value that the manifest requires or lists as
// optional. The error matches ErrNotFound when it is not there.
func (t *Task) Input(name string, into any) error {
	raw, ok := t.in.Inputs[name]
	if !ok {
		return fmt.Errorf("input %s: %w", name, ErrNotFound)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("input %s: %w", name, err)
	}
	return nil
}

// InputString returns an input that is a string, the JSON of one that is not.
//
// It panics when it is not there, which fails the task with that reason: an
// empty name of a host would mean all hosts. For inputs that are optional there
// is InputStringOr.
func (t *Task) InputString(name string) string {
	raw, ok := t.in.Inputs[name]
	if !ok {
		panic(fmt.Errorf("input %s: %w: a name that the manifest requires is always there; InputStringOr is for an optional one", name, ErrNotFound))
	}
	return plain(raw)
}

// InputStringOr is InputString for an input that may not be there.
func (t *Task) InputStringOr(name, otherwise string) string {
	if raw, ok := t.in.Inputs[name]; ok {
		return plain(raw)
	}
	return otherwise
}

// Option decodes an option. One that is not set leaves into as it is; the
// error matches ErrNotFound when the manifest does not list it.
func (t *Task) Option(group, name string, into any) error {
	raw, ok := t.in.Options[group][name]
	if !ok {
		return fmt.Errorf("option [%s] %s: %w: the manifest does not list it", group, name, ErrNotFound)
	}
	if isNull(raw) {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("option [%s] %s: %w", group, name, err)
	}
	return nil
}

// HasOption reports whether an option is set or has a default.
func (t *Task) HasOption(group, name string) bool { return !isNull(t.in.Options[group][name]) }

// OptionString returns an option as text, "" when it is not set.
func (t *Task) OptionString(group, name string) string { return plain(t.in.Options[group][name]) }

// OptionInt returns an option of type int or seconds, 0 when it is not set.
func (t *Task) OptionInt(group, name string) int64 { return option[int64](t, group, name) }

// OptionFloat returns an option of type float, 0 when it is not set.
func (t *Task) OptionFloat(group, name string) float64 { return option[float64](t, group, name) }

// OptionBool returns an option of type bool, false when it is not set.
func (t *Task) OptionBool(group, name string) bool { return option[bool](t, group, name) }

// OptionList returns an option of type list, nil when it is not set.
func (t *Task) OptionList(group, name string) []string { return option[[]string](t, group, name) }

// OptionDuration returns an option that counts seconds, of type seconds, int
// or float, 0 when it is not set.
func (t *Task) OptionDuration(group, name string) time.Duration {
	return time.Duration(option[float64](t, group, name) * float64(time.Second))
}

// option panics when the manifest does not list the option or gives it another
// type: the module contradicts itself, and the panic fails the task with that
// reason.
func option[T any](t *Task, group, name string) (v T) {
	if err := t.Option(group, name, &v); err != nil {
		panic(err)
	}
	return v
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(bytes.TrimSpace(raw), []byte("null"))
}

// plain gives a string as it is and other values as JSON.
func plain(raw json.RawMessage) string {
	if isNull(raw) {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// KV returns the values of the run: how outputs pass from task to task.
func (t *Task) KV() KV { return KV{t.c} }

// Nova returns the ops on the cloud's servers and services.
func (t *Task) Nova() Nova { return Nova{t.c} }

// HA returns the ops on Masakari's own records.
func (t *Task) HA() HA { return HA{t.c} }

// Log returns the logger of the task.
func (t *Task) Log() Logger { return Logger{t.c} }

// Progress tells how far the task is, from 0 to 1000, and what it is doing.
func (t *Task) Progress(permille int, format string, args ...any) {
	t.c.t.progress(int32(min(max(permille, 0), 1000)), fmt.Sprintf(format, args...))
}

// Sleep waits for d on the host, or until ctx is done, whose error it then
// returns.
func (t *Task) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	ms := int64((d + time.Millisecond - 1) / time.Millisecond)
	return t.c.do(ctx, "task.sleep", TaskSleepRequest{Milliseconds: ms}, nil)
}

// HTTP returns the op that sends requests.
func (t *Task) HTTP() HTTP { return HTTP{t.c} }

// Secret returns the handle of an option that is a secret: the task names it
// where its value belongs and never sees it. The zero Secret is returned when
// the option is not set.
func (t *Task) Secret(group, name string) Secret { return option[Secret](t, group, name) }

// Text is what a request may hold in the place of a string: a string, or a
// Secret.
type Text any

// WithPrefix returns the secret with text before its value, such as "Bearer ".
// It is for headers only.
func (s Secret) WithPrefix(prefix string) Secret {
	s.Prefix = prefix
	return s
}

// Ref returns a pointer to the secret, nil when it is the zero Secret.
func (s Secret) Ref() *Secret {
	if s.Name == "" {
		return nil
	}
	return &s
}

// HTTP has a method for each op of group http.
type HTTP struct{ c *caller }

// Nova has a method for each op of group nova.
type Nova struct{ c *caller }

// HA has a method for each op of group ha.
type HA struct{ c *caller }

// Logger writes log lines. Text on standard output and error is logged too.
type Logger struct{ c *caller }

// Debugf logs at level debug.
func (l Logger) Debugf(format string, args ...any) { l.c.t.log(0, fmt.Sprintf(format, args...)) }

// Infof logs at level info.
func (l Logger) Infof(format string, args ...any) { l.c.t.log(1, fmt.Sprintf(format, args...)) }

// Warnf logs at level warn.
func (l Logger) Warnf(format string, args ...any) { l.c.t.log(2, fmt.Sprintf(format, args...)) }

// Errorf logs at level error.
func (l Logger) Errorf(format string, args ...any) { l.c.t.log(3, fmt.Sprintf(format, args...)) }

// runGuest is what the exports do.
func runGuest(imp imports, revert bool) int32 {
	x := newTickets(imp)
	exit := runTask(x, revert)
	x.drain()
	return exit
}

// runTask asks who it is, does the task and leaves the reason.
func runTask(tr transport, revert bool) int32 {
	t := &Task{c: &caller{tr}}
	exit, reason := outcome(t.dispatch(revert))
	if reason != "" {
		// Nothing is left to do about an error here.
		_ = t.c.do(t.Context(), "task.reason", TaskReasonRequest{Reason: reason}, nil)
	}
	return exit
}

func (t *Task) dispatch(revert bool) (err error) {
	if err := t.c.do(t.Context(), "task.input", TaskInputRequest{}, &t.in); err != nil {
		return err
	}
	h, ok := handlers[t.in.Key]
	switch {
	case !ok:
		known := strings.Join(slices.Sorted(maps.Keys(handlers)), ", ")
		return fmt.Errorf("task %s: the module has no handler for it, only for: %s", t.in.Key, known)
	case revert && h.revert == nil:
		return NothingToDo("")
	}
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "panic: %v\n\n%s", p, debug.Stack())
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if revert {
		return h.revert(t)
	}
	return h.run(t)
}

// hostTransport is the transport off wasm.
type hostTransport struct{ h bridge.Host }

func (t hostTransport) do(ctx context.Context, op string, req []byte) (*bytes.Buffer, error) {
	ans, err := t.h.Do(ctx, op, req)
	if err != nil {
		return nil, err
	}
	out := getBuffer()
	out.Write(ans)
	return out, nil
}

func (t hostTransport) log(level int32, msg string)         { t.h.Log(level, msg) }
func (t hostTransport) progress(permille int32, msg string) { t.h.Progress(permille, msg) }

func init() {
	bridge.Run = func(h bridge.Host, revert bool) int32 { return runTask(hostTransport{h}, revert) }
}
