package runtime_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// buffer is where tests let answers go: behind program and data, and handed
// over.
const buffer = 16384

// negative is how an errno comes back.
func negative(e abi.Errno) int64 { return -int64(e) }

// text is data of a program: strings one after the other. ref gives pointer
// and length of one.
type text []string

func (d text) bytes() []byte { return []byte(strings.Join(d, "")) }

func (d text) ref(at uint64, i int) []uint64 {
	return []uint64{at + uint64(len(strings.Join(d[:i], ""))), uint64(len(d[i]))}
}

// args joins pointers, lengths and numbers.
func args(parts ...any) []uint64 {
	var out []uint64
	for _, p := range parts {
		switch p := p.(type) {
		case []uint64:
			out = append(out, p...)
		case int:
			out = append(out, uint64(int64(p)))
		}
	}
	return out
}

func TestCall(t *testing.T) {
	const answer = `{"answer":"0123456789"}`
	n := len(answer)
	tests := []struct {
		name     string
		op, req  string
		do       func(op *abi.Op, req []byte) ([]byte, error)
		limits   runtime.Limits
		cap      int
		want     int64
		wantTake string // what take gives afterwards
	}{
		{name: "fits exactly", op: abi.OpKVGet, cap: n, want: int64(n), wantTake: answer},
		{name: "buffer too small", op: abi.OpKVGet, cap: n - 1, want: int64(n), wantTake: answer},
		{name: "no buffer", op: abi.OpKVGet, want: int64(n), wantTake: answer},
		{name: "read", op: abi.OpNovaServerGet, cap: n, want: int64(n), wantTake: answer},
		{name: "change", op: abi.OpNovaServerStop, cap: n, want: int64(n), wantTake: answer},
		{name: "empty answer", op: abi.OpKVGet, cap: n, do: func(*abi.Op, []byte) ([]byte, error) { return nil, nil }},
		{
			name: "refused", op: abi.OpKVGet, cap: n,
			do: func(*abi.Op, []byte) ([]byte, error) {
				return nil, &abi.Error{Code: abi.ErrnoConflict, Message: "busy", Status: 409, RequestID: "req-1"}
			},
			want: negative(abi.ErrnoConflict), wantTake: `{"code":"conflict","message":"busy","status":409,"request_id":"req-1"}`,
		},
		{
			name: "wrapped refusal of a read", op: abi.OpNovaServerGet, cap: n,
			do: func(*abi.Op, []byte) ([]byte, error) {
				return nil, fmt.Errorf("x: %w", abi.Errorf(abi.ErrnoNotFound, "no server"))
			},
			want: negative(abi.ErrnoNotFound), wantTake: `{"code":"not_found","message":"no server"}`,
		},
		{
			name: "other error", op: abi.OpKVGet, cap: n, do: func(*abi.Op, []byte) ([]byte, error) { return nil, errors.New("disk full") },
			want: negative(abi.ErrnoUnavailable), wantTake: `{"code":"unavailable","message":"kv.get: disk full"}`,
		},
		{
			name: "canceled", op: abi.OpNovaServerGet, cap: n, do: func(*abi.Op, []byte) ([]byte, error) { return nil, context.Canceled },
			want: negative(abi.ErrnoCanceled), wantTake: `{"code":"canceled","message":"nova.server_get: canceled"}`,
		},
		{
			name: "timeout", op: abi.OpNovaServerGet, cap: n, do: func(*abi.Op, []byte) ([]byte, error) { return nil, context.DeadlineExceeded },
			want: negative(abi.ErrnoTimeout), wantTake: `{"code":"timeout","message":"nova.server_get: context deadline exceeded"}`,
		},
		{
			name: "unknown op", op: "nova.server_gett", cap: n,
			want: negative(abi.ErrnoInvalid), wantTake: `{"code":"invalid","message":"no op \"nova.server_gett\"; did you mean nova.server_get?"}`,
		},
		{
			name: "hostile op", op: "\x1b[31m\xff", cap: n,
			want: negative(abi.ErrnoInvalid), wantTake: `{"code":"invalid","message":"no op \"�[31m�\""}`,
		},
		{
			name: "request too large", op: abi.OpKVGet, req: strings.Repeat(" ", 32<<10+1), limits: runtime.Limits{RequestBytes: 32 << 10}, cap: n,
			want:     negative(abi.ErrnoTooLarge),
			wantTake: `{"code":"too_large","message":"kv.get: request limit of 32 KiB reached: the request has 32769 bytes (option [wasakari] request_kib)"}`,
		},
		{
			name: "answer too large", op: abi.OpNovaServerList, limits: runtime.Limits{AnswerBytes: 4 << 10}, cap: n,
			do:   func(*abi.Op, []byte) ([]byte, error) { return make([]byte, 4<<10+1), nil },
			want: negative(abi.ErrnoTooLarge),
			wantTake: `{"code":"too_large","message":"nova.server_list: answer limit of 4 KiB reached: the answer has 4097 bytes; ` +
				`ask for fewer fields or rows (option [wasakari] answer_mib)"}`,
		},
		{
			name: "reason is no JSON", op: abi.OpTaskReason, req: "because", cap: n,
			want: negative(abi.ErrnoInvalid), wantTake: "*",
		},
		{
			name: "cancel is no JSON", op: abi.OpTaskCancel, req: "{", cap: n,
			want: negative(abi.ErrnoInvalid), wantTake: "*",
		},
		{
			name: "cancel of nothing", op: abi.OpTaskCancel, req: `{"ticket":7}`, cap: n,
			want: negative(abi.ErrnoNotFound), wantTake: `{"code":"not_found","message":"no ticket 7 is open"}`,
		},
		{
			name: "cancel of a strange number", op: abi.OpTaskCancel, req: `{"ticket":-4294967295}`, cap: n,
			want: negative(abi.ErrnoNotFound), wantTake: `{"code":"not_found","message":"no ticket -4294967295 is open"}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			h := &host{do: func(_ context.Context, op *abi.Op, req []byte) ([]byte, error) {
				asked++
				if op.Name != tt.op || string(req) != tt.req {
					t.Errorf("op %s %q, want %s %q", op.Name, req, tt.op, tt.req)
				}
				if tt.do != nil {
					return tt.do(op, req)
				}
				return []byte(answer), nil
			}}
			data := text{tt.op, tt.req}
			got, _, err := drive(t, h, tt.limits, data.bytes(), func(at uint64) []invoke {
				return []invoke{
					{abi.Call, args(data.ref(at, 0), data.ref(at, 1), buffer, tt.cap)},
					{abi.Take, args(buffer+1024, 1)},
					{abi.Take, args(buffer+1024, 1024)},
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if asked > 1 {
				t.Errorf("the host was asked %d times", asked)
			}
			if got.result(0) != tt.want {
				t.Errorf("call = %d, want %d", got.result(0), tt.want)
			}
			copied := strings.Repeat("\x00", n)
			if tt.want > 0 && tt.want <= int64(tt.cap) {
				copied = tt.wantTake
			}
			if s := string(got.at(buffer, n)); s != copied && len(tt.req) < buffer {
				t.Errorf("answer = %q, want %q", s, copied)
			}
			taken := string(got.at(buffer+1024, int(got.result(2))))
			if tt.wantTake == "*" {
				if !json.Valid([]byte(taken)) {
					t.Errorf("take gave %q, want a document", taken)
				}
			} else if taken != tt.wantTake {
				t.Errorf("take gave\n     %q\nwant %q", taken, tt.wantTake)
			}
			if got.result(1) != got.result(2) {
				t.Errorf("take = %d, then %d", got.result(1), got.result(2))
			}
		})
	}
}

// text is what stands at the address, up to a zero.
func (d driven) text(address uint64) string {
	s, _, _ := strings.Cut(string(d[address-resultsAt:]), "\x00")
	return s
}

func TestCallAfterGrowth(t *testing.T) {
	h := &host{do: func(context.Context, *abi.Op, []byte) ([]byte, error) { return []byte(`{"v": 1}`), nil }}
	_, err := run(t, "call_grown", h, runtime.Limits{})
	const want = "task task: call: answer pointer 0x1fff9 + 8 bytes is outside memory, which has 131072 bytes; in wasakari_v1.call < get < run"
	if got := fmt.Sprint(err); got != want {
		t.Errorf("error\n got %v\nwant %s", got, want)
	}
}

func TestTakeNothing(t *testing.T) {
	data := text{abi.OpKVGet}
	got, _, err := drive(t, &host{}, runtime.Limits{}, data.bytes(), func(at uint64) []invoke {
		return []invoke{
			{abi.Call, args(data.ref(at, 0), 0, 0, 0, 0)},
			{abi.Wait, args(0, 0, 0)}, // forgets the answer
			{abi.Take, args(buffer, 100)},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := negative(abi.ErrnoNotFound); got.result(2) != want {
		t.Errorf("take = %d, want %d", got.result(2), want)
	}
}

func TestProgressAndReason(t *testing.T) {
	long := strings.Repeat("ä", 3000)
	data := text{"half", "a\nb\x07\u202e", long, abi.OpTaskReason, `{"reason":"first"}`, `{"reason":"` + long + `"}`}
	h := &host{}
	_, res, err := drive(t, h, runtime.Limits{}, data.bytes(), func(at uint64) []invoke {
		return []invoke{
			{abi.SetProgress, args(500, data.ref(at, 0))},
			{abi.SetProgress, args(-1, data.ref(at, 1))},
			{abi.SetProgress, args(1001, data.ref(at, 2))},
			{abi.Call, args(data.ref(at, 3), data.ref(at, 4), 0, 0)},
			{abi.Call, args(data.ref(at, 3), data.ref(at, 5), 0, 0)},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"500 half", "0 a\uFFFDb\uFFFD\uFFFD", "1000 " + long[:4096]}
	if !slices.Equal(h.progress, want) {
		t.Errorf("progress = %q, want %q", h.progress, want)
	}
	if res.Reason != long[:4096] {
		t.Errorf("reason has %d bytes, want the last one, cut to 4096", len(res.Reason))
	}
	if slices.Contains(h.ops, abi.OpTaskReason) {
		t.Error("the host was asked for task.reason")
	}
	if res.HostCalls != 4 {
		t.Errorf("%d host calls, want 4: task.input, two reasons, kv.put", res.HostCalls)
	}
}

// Tickets come back in the order in which their ops end.
func TestTickets(t *testing.T) {
	first := make(chan struct{})
	h := &host{do: func(_ context.Context, op *abi.Op, req []byte) ([]byte, error) {
		switch op.Name {
		case abi.OpNovaServerGet:
			<-first
			return []byte("slow " + string(req)), nil
		case abi.OpKVGet: // asked after the first wait
			close(first)
			return []byte("local"), nil
		}
		return nil, abi.Errorf(abi.ErrnoForbidden, "no")
	}}
	data := text{abi.OpNovaServerGet, abi.OpNovaServerStop, abi.OpKVGet, "request"}
	got, _, err := drive(t, h, runtime.Limits{}, data.bytes(), func(at uint64) []invoke {
		return []invoke{
			{abi.Submit, args(data.ref(at, 0), data.ref(at, 3))},
			{abi.Submit, args(data.ref(at, 1), 0, 0)},
			{abi.Wait, args(-1, buffer, 100)},
			{abi.Take, args(buffer+100, 100)},
			{abi.Wait, args(0, buffer, 100)},
			{abi.Wait, args(1, buffer, 100)},
			{abi.Submit, args(data.ref(at, 2), 0, 0)},
			{abi.Wait, args(-1, buffer+200, 100)},
			{abi.Wait, args(-1, buffer+300, 4)}, // too small
			{abi.Take, args(buffer+400, 100)},
			{abi.Wait, args(-1, buffer, 100)},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	const refusal = `{"code":"forbidden","message":"no"}`
	want := []int64{
		1, 2,
		2<<32 | abi.WaitError | int64(abi.ErrnoForbidden), int64(len(refusal)),
		negative(abi.ErrnoTimeout), negative(abi.ErrnoTimeout),
		3, 3<<32 | 5,
		1<<32 | 12, 12,
		negative(abi.ErrnoNotFound),
	}
	for i, w := range want {
		if got.result(i) != w {
			t.Errorf("result %d = %#x, want %#x", i, got.result(i), w)
		}
	}
	for at, want := range map[uint64]string{buffer + 100: refusal, buffer + 200: "local", buffer + 300: "", buffer + 400: "slow request"} {
		if s := got.text(at); s != want {
			t.Errorf("at %d: %q, want %q", at, s, want)
		}
	}
}

// The request of a submitted op is a copy: the guest may write over its own.
func TestSubmitCopies(t *testing.T) {
	overwritten := make(chan struct{})
	h := &host{do: func(_ context.Context, op *abi.Op, req []byte) ([]byte, error) {
		if op.Name == abi.OpKVGet {
			close(overwritten)
			return []byte("xxxxxxx"), nil // into the request of the other
		}
		<-overwritten
		return req, nil
	}}
	data := text{abi.OpNovaServerGet, abi.OpKVGet, "request"}
	got, _, err := drive(t, h, runtime.Limits{}, data.bytes(), func(at uint64) []invoke {
		return []invoke{
			{abi.Submit, args(data.ref(at, 0), data.ref(at, 2))},
			{abi.Call, args(data.ref(at, 1), 0, 0, data.ref(at, 2))},
			{abi.Wait, args(-1, buffer, 100)},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := got.text(buffer); s != "request" {
		t.Errorf("the host got %q, want %q", s, "request")
	}
}

func TestCancelTicket(t *testing.T) {
	ended := make(chan error, 1)
	release := make(chan struct{})
	h := &host{do: func(ctx context.Context, op *abi.Op, _ []byte) ([]byte, error) {
		switch op.Name {
		case abi.OpNovaServerGet:
			<-ctx.Done()
			ended <- ctx.Err()
			close(release)
		case abi.OpNovaServerStop:
			<-release
			if ctx.Err() != nil {
				t.Errorf("the context of the change ended: %v", ctx.Err())
			}
		}
		return []byte("{}"), nil
	}}
	data := text{abi.OpNovaServerGet, abi.OpNovaServerStop, abi.OpTaskCancel, `{"ticket":1}`, `{"ticket":2}`}
	got, _, err := drive(t, h, runtime.Limits{Tickets: 2}, data.bytes(), func(at uint64) []invoke {
		return []invoke{
			{abi.Submit, args(data.ref(at, 0), 0, 0)},
			{abi.Submit, args(data.ref(at, 1), 0, 0)},
			{abi.Call, args(data.ref(at, 2), data.ref(at, 4), buffer, 100)},
			{abi.Call, args(data.ref(at, 2), data.ref(at, 3), buffer+100, 100)},
			{abi.Call, args(data.ref(at, 2), data.ref(at, 3), buffer+100, 100)}, // again: given up already
			{abi.Wait, args(-1, buffer, 0)},
			{abi.Take, args(buffer+200, 100)},
			{abi.Wait, args(-1, buffer, 0)},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	const canceled = abi.WaitError | int64(abi.ErrnoCanceled)
	want := []int64{1, 2, 2, 2, 2, 2<<32 | canceled, 74, 1<<32 | canceled}
	for i, w := range want {
		if got.result(i) != w {
			t.Errorf("result %d = %#x, want %#x", i, got.result(i), w)
		}
	}
	if s, want := got.text(buffer+200), `{"code":"canceled","message":"nova.server_stop: the task gave up waiting"}`; s != want {
		t.Errorf("document = %s, want %s", s, want)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("context of the read = %v, want Canceled", err)
	}
}

// A change that was given up still takes a ticket until it ends.
func TestGivenUpChangeCounts(t *testing.T) {
	release := make(chan struct{})
	h := &host{do: func(_ context.Context, op *abi.Op, _ []byte) ([]byte, error) {
		if op.Name == abi.OpKVGet {
			close(release)
		}
		<-release
		return []byte("{}"), nil
	}}
	data := text{abi.OpNovaServerStop, abi.OpTaskCancel, `{"ticket":1}`, abi.OpKVGet}
	got, _, err := drive(t, h, runtime.Limits{Tickets: 1}, data.bytes(), func(at uint64) []invoke {
		return []invoke{
			{abi.Submit, args(data.ref(at, 0), 0, 0)},
			{abi.Call, args(data.ref(at, 1), data.ref(at, 2), 0, 0)},
			{abi.Wait, args(-1, 0, 0)},
			{abi.Submit, args(data.ref(at, 0), 0, 0)},
			{abi.Call, args(data.ref(at, 3), 0, 0, 0, 0)},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := negative(abi.ErrnoQuota); got.result(3) != want {
		t.Errorf("submit = %d, want %d", got.result(3), want)
	}
}

func TestTicketLimit(t *testing.T) {
	h := &host{do: func(ctx context.Context, op *abi.Op, _ []byte) ([]byte, error) {
		if op.Kind == abi.Read {
			<-ctx.Done()
		}
		return []byte("{}"), nil
	}}
	data := text{abi.OpNovaServerGet, abi.OpTaskCancel, `{"ticket":1}`, `{"ticket":2}`, "nova.nothing"}
	got, _, err := drive(t, h, runtime.Limits{Tickets: 2}, data.bytes(), func(at uint64) []invoke {
		submit := invoke{abi.Submit, args(data.ref(at, 0), 0, 0)}
		return []invoke{
			submit, submit, submit,
			{abi.Submit, args(data.ref(at, 4), 0, 0)},
			{abi.Call, args(data.ref(at, 1), data.ref(at, 2), 0, 0)},
			{abi.Call, args(data.ref(at, 1), data.ref(at, 3), 0, 0)},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []int64{1, 2, negative(abi.ErrnoQuota), negative(abi.ErrnoInvalid)}
	for i, w := range want {
		if got.result(i) != w {
			t.Errorf("result %d = %d, want %d", i, got.result(i), w)
		}
	}
	logs := []string{
		"warn submit: quota: nova.server_get: ticket limit of 2 open reached: 2 ops are in flight (option [wasakari] tickets)",
		`warn submit: invalid: no op "nova.nothing"`,
	}
	if !slices.Equal(h.logs, logs) {
		t.Errorf("logs\n got %q\nwant %q", h.logs, logs)
	}
}

// Answers that nobody fetches count against the memory of the task.
func TestHeldAnswers(t *testing.T) {
	changed := make(chan struct{})
	h := &host{do: func(_ context.Context, op *abi.Op, _ []byte) ([]byte, error) {
		switch op.Name {
		case abi.OpNovaServerStop: // short enough to be told whatever else is held
			defer close(changed)
			return make([]byte, 60<<10), nil
		case abi.OpKVDelete: // what comes after it in the guest finds the change told
			<-changed
			for range 100 { // nobody tells when: a guest that is earlier gets the same
				goruntime.Gosched()
			}
			return nil, nil
		}
		return make([]byte, 80<<10), nil
	}}
	data := text{abi.OpKVGet, abi.OpNovaServerStop, abi.OpKVDelete}
	got, _, err := drive(t, h, runtime.Limits{MemoryBytes: memorySize, AnswerBytes: 128 << 10}, data.bytes(), func(at uint64) []invoke {
		submit, wait := invoke{abi.Submit, args(data.ref(at, 0), 0, 0)}, invoke{abi.Wait, args(-1, 0, 0)}
		change := invoke{abi.Submit, args(data.ref(at, 1), 0, 0)}
		return []invoke{submit, submit, wait, wait, {abi.Take, args(buffer, 1000)}, submit, wait, submit, change, {abi.Call, args(data.ref(at, 2), 0, 0, 0, 0)}, wait, wait}
	})
	if err != nil {
		t.Fatal(err)
	}
	const document = `{"code":"quota","message":"kv.get: memory limit of 128 KiB reached: ` +
		`so much is in answers that the task has not waited for (option [wasakari] memory_mib, or limits.memory_mib in the manifest)"}`
	want := []int64{1, 2, 1<<32 | 80<<10, 2<<32 | abi.WaitError | int64(abi.ErrnoQuota), int64(len(document)), 3, 3<<32 | 80<<10, 4, 5, 0, 4<<32 | 80<<10, 5<<32 | 60<<10}
	for i, w := range want {
		if got.result(i) != w {
			t.Errorf("result %d = %#x, want %#x", i, got.result(i), w)
		}
	}
	if s := got.text(buffer); s != document {
		t.Errorf("document = %s, want %s", s, document)
	}
}

func TestOpenTickets(t *testing.T) {
	tests := []struct {
		name    string
		exit    uint64
		submits int
		want    string
	}{
		{"one", 0, 1, "task task: tickets left open: nova.server_get (ticket 1); wait for each ticket before returning 0"},
		{"many", 0, 7, "task task: tickets left open: nova.server_get (ticket 1), nova.server_get (ticket 2), nova.server_get (ticket 3), " +
			"nova.server_get (ticket 4), nova.server_get (ticket 5), 2 more; wait for each ticket before returning 0"},
		{"failed anyway", 1, 1, ""},
		{"none", 0, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := text{abi.OpNovaServerGet}
			prog := program(data.bytes(), tt.exit, 8, func(at uint64) []invoke {
				return slices.Repeat([]invoke{{abi.Submit, args(data.ref(at, 0), 0, 0)}}, tt.submits)
			})
			canceled := make(chan struct{}, 10)
			h := &host{do: func(ctx context.Context, op *abi.Op, _ []byte) ([]byte, error) {
				if op.Name == abi.OpTaskInput {
					return prog, nil
				}
				if op.Kind == abi.Read {
					<-ctx.Done()
					canceled <- struct{}{}
				}
				return nil, nil
			}}
			_, err := run(t, "drive", h, runtime.Limits{Timeout: time.Minute})
			if len(canceled) != tt.submits {
				t.Errorf("%d reads were cancelled when Run returned, want %d", len(canceled), tt.submits)
			}
			if tt.want == "" {
				if err != nil {
					t.Errorf("error = %v, want none", err)
				}
				return
			}
			if !errors.Is(err, runtime.ErrOpenTickets) || err.Error() != tt.want {
				t.Errorf("error\n got %v\nwant %s", err, tt.want)
			}
		})
	}
}

// A guest that waits for a ticket is stopped at its deadline.
func TestWaitEndsWithTheTask(t *testing.T) {
	data := text{abi.OpNovaServerGet}
	h := &host{do: func(ctx context.Context, _ *abi.Op, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	_, _, err := drive(t, h, runtime.Limits{Timeout: 20 * time.Millisecond}, data.bytes(), func(at uint64) []invoke {
		return []invoke{{abi.Submit, args(data.ref(at, 0), 0, 0)}, {abi.Wait, args(-1, 0, 0)}}
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want DeadlineExceeded", err)
	}
}

func TestKeyIsListed(t *testing.T) {
	if admit(t, newRuntime(t, runtime.Config{}), "noop").Manifest().Task(testwasm.Key) == nil {
		t.Error("the golden modules do not list their key")
	}
}
