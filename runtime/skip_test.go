package runtime_test

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime"
)

// Sleeps are skipped in the order in which they would have ended, what is told is
// what the guest's clocks are ahead, and waits see the time that went by.
func TestSkip(t *testing.T) {
	t.Parallel()
	const (
		sleep = iota
		hour
		minute
		get
		half
		cancel
		first
		clock
		bad
	)
	data := text{
		sleep: abi.OpTaskSleep, hour: `{"ms":3600000}`, minute: `{"ms":60000}`, get: abi.OpNovaServerGet, half: `{"ms":30000}`,
		cancel: abi.OpTaskCancel, first: `{"ticket":1}`, clock: string(subscription(7, 0, 1, 10*time.Second, 0)), bad: `{"ms":"long"}`,
	}
	call := func(op, req int) func(uint64) invoke {
		return func(at uint64) invoke {
			return invoke{abi.Call, args(data.ref(at, op), data.ref(at, req), buffer, 100)}
		}
	}
	submit := func(op, req int) func(uint64) invoke {
		return func(at uint64) invoke { return invoke{abi.Submit, args(data.ref(at, op), data.ref(at, req))} }
	}
	wait := func(ms int) func(uint64) invoke {
		return func(uint64) invoke { return invoke{abi.Wait, args(ms, buffer, 100)} }
	}
	poll := func(at uint64) invoke {
		return invoke{"poll_oneoff", args(int(at)+len(data[:clock].bytes()), buffer, 1, buffer-8)}
	}
	const timeout = -int64(abi.ErrnoTimeout)
	ticket := func(n int64) int64 { return n<<32 | 2 } // answered {}
	tests := []struct {
		name  string
		calls []func(uint64) invoke
		want  []int64 // what they give
		total time.Duration
	}{
		{"a call", []func(uint64) invoke{call(sleep, hour)}, []int64{2}, time.Hour},
		{"one after the other", []func(uint64) invoke{call(sleep, minute), call(sleep, half)}, []int64{2, 2}, 90 * time.Second},
		{"beside each other", []func(uint64) invoke{submit(sleep, hour), submit(sleep, minute), wait(-1), wait(-1)}, []int64{1, 2, ticket(2), ticket(1)}, time.Hour},
		{"of the same length", []func(uint64) invoke{submit(sleep, minute), submit(sleep, minute), wait(-1), wait(-1)}, []int64{1, 2, ticket(1), ticket(2)}, time.Minute},
		{"what is in flight comes first", []func(uint64) invoke{submit(sleep, minute), submit(get, minute), wait(-1), wait(-1)}, []int64{1, 2, ticket(2), ticket(1)}, time.Minute},
		{"a wait that is shorter", []func(uint64) invoke{submit(sleep, minute), wait(30_000), wait(-1)}, []int64{1, timeout, ticket(1)}, time.Minute},
		{"a wait that is longer", []func(uint64) invoke{submit(sleep, minute), wait(90_000), wait(0)}, []int64{1, ticket(1), negative(abi.ErrnoNotFound)}, time.Minute},
		{"a call beside a ticket", []func(uint64) invoke{submit(sleep, half), call(sleep, minute), wait(0)}, []int64{1, 2, ticket(1)}, time.Minute},
		{"WASI", []func(uint64) invoke{poll, poll}, []int64{0, 0}, 20 * time.Second},
		{"cancelled", []func(uint64) invoke{submit(sleep, hour), call(cancel, first), wait(-1), call(sleep, half)}, []int64{1, 2, 1<<32 | abi.WaitError | int64(abi.ErrnoCanceled), 2}, 30 * time.Second},
		{"a request that is none", []func(uint64) invoke{call(sleep, bad)}, []int64{2}, 0}, // the host's to answer
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var told time.Duration
			calls := append([]func(uint64) invoke{readClock(0), readClock(1)}, tt.calls...)
			calls = append(calls, readClock(2), readClock(3))
			got, _, err := driveCall(t, &host{}, runtime.Call{Limits: runtime.Limits{Timeout: 2 * time.Hour}, Skip: func(d time.Duration) { told += d }}, data.bytes(), func(at uint64) []invoke {
				var list []invoke
				for _, c := range calls {
					list = append(list, c(at))
				}
				return list
			})
			if err != nil {
				t.Fatal(err)
			}
			var results []int64
			for i := range tt.want {
				results = append(results, got.result(2+i))
			}
			if !slices.Equal(results, tt.want) {
				t.Errorf("the calls gave %#x, want %#x", results, tt.want)
			}
			// Some of the time goes by without being skipped.
			const slack = 10 * time.Second
			if told > tt.total || told < tt.total-slack {
				t.Errorf("%v were skipped, want %v", told, tt.total)
			}
			at := func(i int) time.Duration {
				return time.Duration(binary.LittleEndian.Uint64(got.at(clocksAt+uint64(8*i), 8)))
			}
			for i, name := range []string{"real time", "monotonic"} {
				if went := at(2+i) - at(i); went < told-time.Second || went > told+slack { // real time may be set back a little
					t.Errorf("clock of %s went on by %v, want %v", name, went, told)
				}
			}
		})
	}
}

// clocksAt is where readClock leaves what it read.
const clocksAt = buffer + 1024

// readClock reads the clocks by turns.
func readClock(i int) func(uint64) invoke {
	return func(uint64) invoke { return invoke{"clock_time_get", args(i%2, 1, clocksAt+8*i)} }
}

// While an op is in flight, time goes by as ever: it would take none otherwise.
func TestSkipWaitsForOps(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	h := &host{do: func(ctx context.Context, _ *abi.Op, _ []byte) ([]byte, error) {
		select {
		case <-release:
			return []byte("{}"), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	var skipped []time.Duration
	data := text{abi.OpTaskSleep, `{"ms":3600000}`, abi.OpNovaServerGet, `{"ms":1}`}
	got, _, err := driveCall(t, h, runtime.Call{Limits: runtime.Limits{Timeout: 2 * time.Hour}, Skip: func(d time.Duration) { skipped = append(skipped, d) }, Trace: func(c runtime.HostCall) {
		if c.Ticket == 3 { // the short sleep took its time
			close(release)
		}
	}}, data.bytes(), func(at uint64) []invoke {
		return []invoke{
			{abi.Submit, args(data.ref(at, 2), 0, 0)},
			{abi.Submit, args(data.ref(at, 0), data.ref(at, 1))},
			{abi.Submit, args(data.ref(at, 0), data.ref(at, 3))},
			{abi.Wait, args(-1, 0, 0)},
			{abi.Wait, args(-1, 0, 0)},
			{abi.Wait, args(-1, 0, 0)},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if order := []int64{got.result(3) >> 32, got.result(4) >> 32, got.result(5) >> 32}; !slices.Equal(order, []int64{3, 1, 2}) {
		t.Errorf("tickets came in the order %d, want 3, 1, 2", order)
	}
	if len(skipped) != 1 || skipped[0] > time.Hour || skipped[0] < 59*time.Minute {
		t.Errorf("skipped %v, want the rest of an hour", skipped)
	}
}

// A task that sleeps longer than it may run is ended, without anybody waiting.
func TestSkipTimeLimit(t *testing.T) {
	t.Parallel()
	data := text{abi.OpTaskSleep, `{"ms":3600000}`}
	var told time.Duration
	_, _, err := driveCall(t, &host{}, runtime.Call{Limits: runtime.Limits{Timeout: 90 * time.Minute}, Skip: func(d time.Duration) { told += d }}, data.bytes(), func(at uint64) []invoke {
		sleep := invoke{abi.Call, args(data.ref(at, 0), data.ref(at, 1), buffer, 100)}
		return []invoke{sleep, sleep}
	})
	var limit *runtime.LimitError
	if !errors.As(err, &limit) || limit.Value != "1h30m0s" {
		t.Errorf("error = %v, want the time limit of 1h30m0s", err)
	}
	if told > 90*time.Minute || told < 89*time.Minute {
		t.Errorf("%v were skipped, want 90m", told)
	}
}

// A sleep that nobody waits for is an open ticket like any other, and is told of.
func TestSkipOpen(t *testing.T) {
	t.Parallel()
	data := text{abi.OpTaskSleep, `{"ms":3600000}`}
	var told []string
	_, _, err := driveCall(t, &host{}, runtime.Call{Skip: func(time.Duration) {}, Trace: func(c runtime.HostCall) {
		if c.Ticket != 0 {
			told = append(told, c.Op+" "+c.Errno.String())
		}
	}}, data.bytes(), func(at uint64) []invoke {
		return []invoke{{abi.Submit, args(data.ref(at, 0), data.ref(at, 1))}}
	})
	if !errors.Is(err, runtime.ErrOpenTickets) {
		t.Errorf("error = %v, want ErrOpenTickets", err)
	}
	if !slices.Equal(told, []string{"task.sleep canceled"}) {
		t.Errorf("told %q, want task.sleep canceled", told)
	}
}
