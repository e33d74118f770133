package hostfuncs

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// defaultPlace is the same for every attempt at c's place and for its revert.
func defaultPlace(c TaskCall) string {
	return fmt.Sprintf("%s/%s/%d/%d/%s", c.Flow, c.Phase, c.Index, c.Round, c.Task.Key)
}

// taskInput implements abi.OpTaskInput.
func taskInput(ctx context.Context, t *TaskHost, _ abi.TaskInputRequest) (json.RawMessage, error) {
	if t.tenant() != "" {
		return t.encodeInput(ctx)
	}
	t.inputMu.Lock()
	defer t.inputMu.Unlock()
	var err error
	if t.input == nil {
		t.input, err = t.encodeInput(ctx)
	}
	return t.input, err
}

// failureWithheld stands for the reason of a failure, which may name hosts and
// tasks of others.
const failureWithheld = "the flow failed"

func (t *TaskHost) encodeInput(ctx context.Context) ([]byte, error) {
	in := abi.TaskInput{
		Key: t.call.Task.Key, Flow: string(t.call.Flow), Phase: string(t.call.Phase),
		RunID: t.h.run.ID, NotificationUUID: t.h.run.NotificationUUID,
		Attempt: int64(t.call.Attempt), Round: int64(t.call.Round), IdempotencyKey: t.call.IdempotencyKey,
		Reverting: t.call.Reverting, Failure: t.call.Failure,
		Inputs: map[string]json.RawMessage{}, Options: map[string]map[string]json.RawMessage{},
	}
	if t.tenant() != "" && in.Failure != "" {
		in.Failure = failureWithheld
	}
	for name := range t.reads {
		v, ok, err := t.value(ctx, name)
		if err != nil {
			return nil, err
		}
		if ok {
			in.Inputs[name] = v
		}
	}
	for group, values := range t.call.Options {
		m := make(map[string]json.RawMessage, len(values))
		for name, v := range values {
			if v != nil && t.secret(group, name, v) {
				v = recovery.Secret{Name: group + "." + name} // told as its handle
			}
			b, err := json.Marshal(v)
			if err != nil {
				return nil, fmt.Errorf("option [%s] %s: %w", group, name, err)
			}
			m[name] = b
		}
		in.Options[group] = m
	}
	for _, o := range t.call.Task.Options { // those that are not set
		group := o.Group
		for g := range in.Options {
			if strings.EqualFold(g, group) {
				group = g
			}
		}
		if in.Options[group] == nil {
			in.Options[group] = map[string]json.RawMessage{}
		}
		if _, set := in.Options[group][o.Name]; !set {
			in.Options[group][o.Name] = json.RawMessage("null")
		}
	}
	return json.Marshal(in)
}

// secret reports whether an option is one whose value no task sees.
func (t *TaskHost) secret(group, name string, v any) bool {
	if _, ok := t.call.Secrets[group+"."+name]; ok {
		return true
	}
	switch v.(type) {
	case recovery.Secret, *recovery.Secret:
		return true
	}
	return slices.ContainsFunc(t.call.Task.Options, func(o recovery.OptionSpec) bool {
		return o.Secret && o.Name == name && strings.EqualFold(o.Group, group)
	})
}

// taskScript implements abi.OpTaskScript.
func taskScript(_ context.Context, t *TaskHost, _ abi.TaskScriptRequest) (abi.TaskScriptAnswer, error) {
	if len(t.call.Script) == 0 {
		return abi.TaskScriptAnswer{}, fmt.Errorf("the module carries no script: %w", recovery.ErrNotFound)
	}
	return abi.TaskScriptAnswer{Files: t.call.Script}, nil
}

// taskSleep implements abi.OpTaskSleep.
func taskSleep(ctx context.Context, t *TaskHost, req abi.TaskSleepRequest) (empty, error) {
	const longest = int64(1<<63-1) / int64(time.Millisecond)
	d := time.Duration(min(req.Milliseconds, longest)) * time.Millisecond
	if d > 0 {
		d = t.h.dryWait(d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	_, err := await(ctx, &t.h.owner, timer.C)
	return empty{}, err
}

// Provided returns what the task put under names that its manifest provides.
// The error names those that it promised and did not put.
func (t *TaskHost) Provided() (map[string]json.RawMessage, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[string]json.RawMessage, len(t.staged))
	for name, v := range t.staged {
		out[name] = v.value
	}
	var missing []string
	for _, name := range t.call.Task.Provides {
		if _, ok := out[name]; !ok {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("task %s: its manifest provides %s, which it did not put: %w",
			t.call.Task.Key, joinNames(missing), recovery.ErrInvalid)
	}
	return maps.Clone(out), nil
}
