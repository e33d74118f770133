package runtime_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime"
)

// Each op that a task asks for is told once, with its answer: calls, tickets,
// those given up, and what is refused before the host is asked.
func TestTrace(t *testing.T) {
	h := &host{do: func(ctx context.Context, op *abi.Op, req []byte) ([]byte, error) {
		switch op.Name {
		case abi.OpNovaServerGet:
			<-ctx.Done() // until it is given up
			return nil, ctx.Err()
		case abi.OpNovaServerStop:
			return nil, abi.Errorf(abi.ErrnoConflict, "no")
		}
		return []byte("for " + string(req)), nil
	}}
	var mu sync.Mutex
	var told []runtime.HostCall
	call := runtime.Call{Trace: func(c runtime.HostCall) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, c)
	}}
	data := text{abi.OpKVGet, abi.OpNovaServerGet, abi.OpNovaServerStop, abi.OpTaskCancel, `{"ticket":1}`, "no.op", "me"}
	_, result, err := driveCall(t, h, call, data.bytes(), func(at uint64) []invoke {
		return []invoke{
			{abi.Call, args(data.ref(at, 0), data.ref(at, 6), buffer, 100)},
			{abi.Submit, args(data.ref(at, 1), 0, 0)},
			{abi.Submit, args(data.ref(at, 2), 0, 0)},
			{abi.Submit, args(data.ref(at, 5), 0, 0)},
			{abi.Call, args(data.ref(at, 3), data.ref(at, 4), 0, 0)},
			{abi.Wait, args(-1, buffer, 100)},
			{abi.Wait, args(-1, buffer, 100)},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	slices.SortFunc(told, func(a, b runtime.HostCall) int { return a.N - b.N })
	var got []string
	last := int64(-1)
	for i, c := range told {
		if c.N != i+1 || c.CPU <= last || c.Took < 0 || c.Asked.IsZero() {
			t.Errorf("call %d: %+v, after %d units", i+1, c, last)
		}
		last = c.CPU
		answer := string(c.Answer)
		if c.Op == abi.OpTaskInput { // the driver's own
			answer = "program"
		}
		got = append(got, fmt.Sprintf("%s #%d beside %d %s", c.Op, c.Ticket, c.Open, strings.TrimSpace(c.Errno.String()+" "+answer)))
	}
	got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, abi.OpKVPut) }) // the driver's own
	want := []string{
		"task.input #0 beside 0 ok program",
		"kv.get #0 beside 0 ok for me",
		`nova.server_get #1 beside 0 canceled {"code":"canceled","message":"nova.server_get: the task gave up waiting"}`,
		`nova.server_stop #2 beside 1 conflict {"code":"conflict","message":"no"}`,
		`no.op #0 beside 2 invalid {"code":"invalid","message":"no op \"no.op\""}`,
		"task.cancel #0 beside 2 ok {}",
	}
	if !slices.Equal(got, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(told) != result.HostCalls {
		t.Errorf("%d calls were told, want %d", len(told), result.HostCalls)
	}
}
