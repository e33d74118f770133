package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// lobby runs tasks that stay in their sandbox until they are let go.
type lobby struct {
	t       *testing.T
	module  *runtime.Module
	entered chan string
	leave   map[string]chan struct{}
	ended   chan error
}

func newLobby(t *testing.T, cfg runtime.Config, names ...string) *lobby {
	l := &lobby{
		t: t, module: admit(t, newRuntime(t, cfg), "read_once"),
		entered: make(chan string, 100), leave: map[string]chan struct{}{}, ended: make(chan error, 100),
	}
	for _, n := range names {
		l.leave[n] = make(chan struct{})
	}
	return l
}

// start runs a task of a tenant; the first letter of a name is its tenant, O
// the operator.
func (l *lobby) start(ctx context.Context, name string) {
	tenant := name[:1]
	if tenant == "O" {
		tenant = ""
	}
	h := &host{do: func(context.Context, *abi.Op, []byte) ([]byte, error) {
		l.entered <- name
		<-l.leave[name]
		return []byte("{}"), nil
	}}
	go func() {
		_, err := l.module.Run(ctx, runtime.Call{Key: testwasm.Key, Host: h, Tenant: tenant})
		l.ended <- err
	}()
}

// sees checks who enters next, in any order.
func (l *lobby) sees(names ...string) {
	l.t.Helper()
	got, want := map[string]bool{}, map[string]bool{}
	for _, n := range names {
		want[n] = true
		got[<-l.entered] = true
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		l.t.Fatalf("entered %v, want %v", got, want)
	}
}

// release lets a task go and waits for its end.
func (l *lobby) release(name string) {
	l.t.Helper()
	close(l.leave[name])
	if err := <-l.ended; err != nil {
		l.t.Errorf("%s: %v", name, err)
	}
}

// queued waits until so many runs wait for their turn.
func (l *lobby) queued(n int) { l.module.AwaitQueued(n) }

// Tenants take turns, whoever asked first and for how many; the operator does
// not wait.
func TestTenantsTakeTurns(t *testing.T) {
	l := newLobby(t, runtime.Config{Sandboxes: 2, AllSandboxes: 3}, "A1", "A2", "A3", "A4", "B1", "B2", "C1", "O1", "O2")
	ctx := t.Context()
	l.start(ctx, "A1")
	l.sees("A1")
	l.start(ctx, "A2")
	l.sees("A2")
	l.start(ctx, "A3") // more than one tenant may have
	l.queued(1)
	l.start(ctx, "A4")
	l.queued(2)
	l.start(ctx, "B1") // passes those who wait for themselves
	l.sees("B1")
	l.start(ctx, "B2") // the sum is reached
	l.queued(3)
	l.start(ctx, "C1")
	l.queued(4)
	l.start(ctx, "O1") // the operator's task counts, and does not wait
	l.sees("O1")
	l.release("A1") // four ran, so nobody follows
	l.start(ctx, "O2")
	l.sees("O2")
	l.release("O2")
	l.release("O1") // 2 run: A has waited the longest
	l.sees("A3")
	l.release("A2") // now it is B's turn, not A's again
	l.sees("B2")
	l.release("B1")
	l.sees("C1")
	l.release("C1")
	l.sees("A4")
	for _, n := range []string{"A3", "A4", "B2"} {
		l.release(n)
	}
}

// Who gives up waiting is told for what, and leaves no gap.
func TestTenantGivesUp(t *testing.T) {
	tests := []struct {
		name    string
		running string
		own     map[string]int
		want    string
	}{
		{"own bound", "A", nil, "task task: waiting for a sandbox: context canceled\nsandbox limit of 1 of one tenant reached (option [wasakari] sandboxes)"},
		{
			"a tenant's own", "A",
			map[string]int{"A": 1, "B": 5},
			"task task: waiting for a sandbox: context canceled\nsandbox limit of 1 of one tenant reached (option [limits] @A sandboxes)",
		},
		{"sum", "B", nil, "task task: waiting for a sandbox: context canceled\nsandbox limit of 1 in all reached (option [wasakari] sandboxes_total)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first, third := tt.running+"1", tt.running+"3"
			bound := max(1, 9*len(tt.own)) // a tenant's own is reached first
			l := newLobby(t, runtime.Config{Sandboxes: bound, TenantSandboxes: tt.own, AllSandboxes: bound}, first, "A2", third)
			l.start(t.Context(), first)
			l.sees(first)
			ctx, cancel := context.WithCancel(t.Context())
			l.start(ctx, "A2")
			l.queued(1)
			cancel()
			err := <-l.ended
			if got := message(err); got != tt.want {
				t.Errorf("error\n got %q\nwant %q", got, tt.want)
			}
			if _, ok := errors.AsType[*runtime.LimitError](err); !ok || !errors.Is(err, context.Canceled) {
				t.Errorf("error = %v, want a LimitError that is context.Canceled", err)
			}
			l.start(t.Context(), third)
			l.queued(1)
			l.release(first)
			l.sees(third)
			l.release(third)
		})
	}
}
