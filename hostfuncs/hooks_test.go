package hostfuncs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

type hookKey struct{}

// Ops that go outside are told of, with their ends; their requests have the
// context that the hook gave.
func TestOpHook(t *testing.T) {
	var mu sync.Mutex
	var ended []string
	seen := map[string]bool{}
	b := setup(t, newNova(active("a", failedHost)), func(b *bench) {
		b.deps.Op = func(ctx context.Context, op string) (context.Context, func(string)) {
			return context.WithValue(ctx, hookKey{}, op), func(code string) {
				mu.Lock()
				defer mu.Unlock()
				ended = append(ended, op+" "+code)
			}
		}
	})
	server := b.cloud.server
	b.cloud.server = func(ctx context.Context, id string) (recovery.Server, error) {
		mu.Lock()
		seen[fmt.Sprint(ctx.Value(hookKey{}))] = true
		mu.Unlock()
		if id == "panic" {
			panic("nova")
		}
		return server(ctx, id)
	}
	task := b.task()
	refused := b.task(func(c *hostfuncs.TaskCall) { c.Task.Uses = nil })
	for _, step := range []struct {
		task    *hostfuncs.TaskHost
		op, req string
	}{
		{task, abi.OpKVGet, `{"name":"host_name"}`}, // stays inside
		{task, abi.OpNovaServerGet, `{"id":"a"}`},
		{task, abi.OpNovaServerGet, `{"id":"none"}`},
		{task, abi.OpNovaServerGet, `{`},
		{refused, abi.OpNovaServerGet, `{"id":"a"}`},
	} {
		_, _ = do(t.Context(), step.task, step.op, step.req)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = do(t.Context(), task, abi.OpNovaServerGet, `{"id":"panic"}`)
	}()
	wantEnded := []string{
		"nova.server_get ok", "nova.server_get not_found", "nova.server_get invalid", "nova.server_get not_granted", "nova.server_get unavailable",
	}
	if !slices.Equal(ended, wantEnded) {
		t.Errorf("ended\n got %q\nwant %q", ended, wantEnded)
	}
	if len(seen) != 1 || !seen[abi.OpNovaServerGet] {
		t.Errorf("requests had the contexts of %v", seen)
	}
}

// Requests that tasks share have the values that the hatch was given.
func TestValuesOfSharedRequests(t *testing.T) {
	got := make(chan any, 100)
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), hookKey{}, "run"))
	cancel() // its end does not matter
	b := setup(t, newNova(), func(b *bench) { b.deps.Values = ctx })
	b.cloud.services = func(ctx context.Context, _ recovery.ServiceFilter) ([]recovery.ComputeService, error) {
		got <- ctx.Value(hookKey{})
		return []recovery.ComputeService{{ID: "1", Host: failedHost, Binary: "nova-compute", State: "down", Status: "enabled"}}, ctx.Err()
	}
	if _, err := do(t.Context(), b.task(), abi.OpNovaServiceWait, `{"host":"compute-1","state":"down"}`); err != nil {
		t.Fatal(err)
	}
	if v := <-got; v != "run" {
		t.Errorf("value = %v, want that of the run", v)
	}
}

// Each change is told of when its outcome is known, and before the ledger has
// it: what was changed must not be missing where changes are looked up.
func TestChangedHook(t *testing.T) {
	var mu sync.Mutex
	var told []string
	b := setup(t, newNova(active("a", failedHost), active("b", failedHost)), func(b *bench) {
		b.deps.Changed = func(in recovery.Intent) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(in.Op, " ", in.Target, " ", in.Task, " ", in.State, " ", in.RequestID+in.Message))
		}
		b.ledger.fail = func(what string) error {
			if what == "end nova.server_stop b done" {
				return recovery.ErrUnavailable
			}
			return nil
		}
	})
	b.cloud.answer = func(verb, id string) error {
		if verb == "start" {
			return cloudError(verb, 409, "no", recovery.ErrConflict)
		}
		return nil
	}
	task := b.task()
	for _, step := range []struct{ op, req string }{
		{abi.OpNovaServerGet, `{"id":"a"}`}, // changes nothing
		{abi.OpNovaServerStop, `{"id":"a"}`},
		{abi.OpNovaServerStart, `{"id":"a"}`},
		{abi.OpNovaServerStop, `{"id":"b"}`},
		{abi.OpHAHostUpdate, `{"name":"compute-4","reserved":false}`},
		{abi.OpHAHostUpdate, `{"name":"compute-4","reserved":false}`}, // changes nothing
		{abi.OpHAVMovePut, `{"instance_uuid":"a","status":"pending"}`},
		{abi.OpHAVMovePut, `{"instance_uuid":"a","status":"pending","message":"x"}`}, // no other status
		{abi.OpHAVMovePut, `{"instance_uuid":"a","status":"ignored"}`},
	} {
		_, _ = do(t.Context(), task, step.op, step.req)
	}
	wantTold := []string{
		"nova.server_stop a custom_task done req-1", "nova.server_start a custom_task refused req-refusedstart: 409 no (req-refused)", "nova.server_stop b custom_task done req-3",
		"ha.host_update compute-4 custom_task done reserved false", "ha.vmove_put a custom_task done pending", "ha.vmove_put a custom_task done ignored: x",
	}
	if !slices.Equal(told, wantTold) {
		t.Errorf("told\n got %q\nwant %q", told, wantTold)
	}
}

// What is answered in the hatch's place is refused as ever, and all else is
// served.
func TestAnswerHook(t *testing.T) {
	b := setup(t, newNova(active("a", failedHost)), func(b *bench) {
		b.deps.Answer = func(_ context.Context, op *abi.Op, req []byte) ([]byte, bool, error) {
			if op.Name != abi.OpNovaServerGet {
				return nil, false, nil
			}
			if string(req) == "gone" {
				return nil, true, abi.Errorf(abi.ErrnoNotFound, "recorded")
			}
			return []byte(`"recorded"`), true, nil
		}
	})
	task := b.task()
	refused := b.task(func(c *hostfuncs.TaskCall) { c.Task.Uses = nil })
	tests := []struct {
		task          *hostfuncs.TaskHost
		op, req, want string
		code          abi.Errno
	}{
		{task, abi.OpNovaServerGet, "any", `"recorded"`, 0},
		{task, abi.OpNovaServerGet, "gone", "", abi.ErrnoNotFound},
		{refused, abi.OpNovaServerGet, "any", "", abi.ErrnoNotGranted},
		{task, abi.OpNovaServerList, `{"fields":["id"]}`, `{"servers":[{"id":"a"}]}`, 0},
	}
	for _, tt := range tests {
		got, err := do(t.Context(), tt.task, tt.op, tt.req)
		var code abi.Errno
		if e, ok := errors.AsType[*abi.Error](err); ok {
			code = e.Code
		}
		if got != tt.want || code != tt.code {
			t.Errorf("%s %s: %s, %v, want %s, %s", tt.op, tt.req, got, err, tt.want, tt.code)
		}
	}
}
