package wasakari

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tickets are not public: outside a sandbox nothing has them. What they do
// in one is tested by sdk/conformance; here is what a well-behaved host never
// does.

// scripted is a host whose ops end when the test says so.
type scripted struct {
	input   string
	limit   int              // of open tickets
	aborts  errno            // what wait answers once, before all else; 0: nothing
	answers map[string]reply // by op
	lost    bool             // answers that do not fit are not kept

	mu     sync.Mutex
	ticket int32
	open   map[int32]reply
	kept   []byte
	reason string
	news   chan struct{}
}

// reply is the answer of an op. One without document never comes by itself.
type reply struct {
	doc  string
	code errno
}

func (s *scripted) call(op string, req, out []byte) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch op {
	case "task.input":
		return s.give(reply{doc: s.input}, out)
	case "task.reason":
		var r TaskReasonRequest
		if err := json.Unmarshal(req, &r); err != nil {
			return -int64(errnoInvalid)
		}
		s.reason = r.Reason
	case "task.cancel":
		var r TaskCancelRequest
		if err := json.Unmarshal(req, &r); err != nil {
			return -int64(errnoInvalid)
		}
		s.open[int32(r.Ticket)] = reply{`{"code":"canceled","message":"given up"}`, errnoCanceled}
		s.wake()
	default:
		return s.give(s.answers[op], out)
	}
	return s.give(reply{doc: "{}"}, out)
}

// give copies an answer out, or keeps it.
func (s *scripted) give(r reply, out []byte) int64 {
	s.kept = []byte(r.doc)
	switch {
	case r.code != 0:
		return -int64(r.code)
	case len(r.doc) <= len(out):
		copy(out, r.doc)
		s.kept = nil
	case s.lost:
		s.kept = nil
	}
	return int64(len(r.doc))
}

func (s *scripted) take(out []byte) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		return -int64(errnoNotFound)
	}
	if len(s.kept) <= len(out) {
		copy(out, s.kept)
	}
	return int64(len(s.kept))
}

func (s *scripted) submit(op string, _ []byte) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.answers[op]
	switch {
	case !ok:
		return -int64(errnoInvalid)
	case s.limit > 0 && len(s.open) >= s.limit:
		return -int64(errnoQuota)
	}
	s.ticket++
	s.open[s.ticket] = r
	s.wake()
	return int64(s.ticket)
}

func (s *scripted) wake() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (s *scripted) wait(timeoutMS int32, out []byte) int64 {
	timeout := time.After(time.Duration(timeoutMS) * time.Millisecond)
	for {
		s.mu.Lock()
		if s.aborts != 0 {
			code := s.aborts
			s.mu.Unlock()
			return -int64(code)
		}
		for id, r := range s.open {
			if r.doc == "" {
				continue
			}
			delete(s.open, id)
			n := s.give(r, out)
			if n < 0 {
				n = -n | waitError
			}
			s.mu.Unlock()
			return int64(id)<<32 | n
		}
		s.mu.Unlock()
		select {
		case <-s.news:
		case <-timeout:
			return -int64(errnoTimeout)
		}
	}
}

func (s *scripted) log(int32, string)      {}
func (s *scripted) progress(int32, string) {}

var ticketsTask func(*Task) error

func init() { Handle("tickets", func(t *Task) error { return ticketsTask(t) }) }

// guest runs f as an export would.
func (s *scripted) guest(t *testing.T, f func(*Task) error) (int32, string) {
	t.Helper()
	if s.input == "" {
		s.input = `{"key":"tickets"}`
	}
	s.open, s.news, ticketsTask = map[int32]reply{}, make(chan struct{}, 1), f
	exit := runGuest(s, false)
	return exit, s.reason
}

func read(ctx context.Context, t *Task) error {
	_, err := t.Nova().ServerGet(ctx, NovaServerGetRequest{ID: "s"})
	return err
}

func TestTickets(t *testing.T) {
	long := `{"id":"` + strings.Repeat("x", 3*ownSize) + `"}`
	tests := []struct {
		name string
		host *scripted
		do   func(*Task) error
		exit int32
		want string // reason
		open int    // tickets at the end
	}{
		{
			name: "more goroutines than tickets",
			host: &scripted{limit: 2, answers: map[string]reply{"nova.server_get": {doc: `{"id":"s"}`}}},
			do: func(t *Task) error {
				errs := make(chan error)
				for range 40 {
					go func() { errs <- read(t.Context(), t) }()
				}
				var all error
				for range 40 {
					all = errors.Join(all, <-errs)
				}
				return all
			},
		},
		{
			name: "long answer", host: &scripted{answers: map[string]reply{"nova.server_get": {doc: long}}},
			do: func(t *Task) error {
				s, err := t.Nova().ServerGet(t.Context(), NovaServerGetRequest{ID: "s"})
				if err == nil && len(s.ID) != 3*ownSize {
					return fmt.Errorf("%d bytes", len(s.ID))
				}
				return err
			},
		},
		{
			name: "long answer, lost", host: &scripted{lost: true, answers: map[string]reply{"nova.server_get": {doc: long}}},
			do:   func(t *Task) error { return read(t.Context(), t) },
			exit: exitFailed, want: "nova.server_get: not found: the answer could not be fetched",
		},
		{
			name: "unknown op", host: &scripted{},
			do:   func(t *Task) error { return read(t.Context(), t) },
			exit: exitFailed, want: "nova.server_get: invalid: the host does not know the op or does not take the request",
		},
		{
			name: "error that is no document", host: &scripted{answers: map[string]reply{"nova.server_get": {doc: "?", code: 99}}},
			do:   func(t *Task) error { return read(t.Context(), t) },
			exit: exitFailed, want: "nova.server_get: errno 99",
		},
		{
			name: "answer that is no JSON", host: &scripted{answers: map[string]reply{"nova.server_get": {doc: "?"}}},
			do:   func(t *Task) error { return read(t.Context(), t) },
			exit: exitFailed, want: "nova.server_get: answer: invalid character '?' looking for beginning of value",
		},
		{
			name: "the host stops", open: 3, host: &scripted{aborts: errnoCanceled, answers: map[string]reply{"nova.server_get": {}}},
			do: func(t *Task) error {
				errs := make(chan error)
				for range 3 {
					go func() { errs <- read(t.Context(), t) }()
				}
				for range 3 {
					if err := <-errs; !errors.Is(err, ErrCanceled) {
						return fmt.Errorf("got: %w", err)
					}
				}
				return nil
			},
		},
		{
			name: "given up", host: &scripted{limit: 1, answers: map[string]reply{"nova.server_get": {}}},
			do: func(t *Task) error {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
				defer cancel()
				errs := make(chan error)
				for range 3 { // one has the ticket, two queue for it
					go func() { errs <- read(ctx, t) }()
				}
				for range 3 {
					if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
						return fmt.Errorf("got: %w", err)
					}
				}
				return nil
			},
		},
		{
			name: "not begun", host: &scripted{},
			do: func(t *Task) error {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				return read(ctx, t)
			},
			exit: exitFailed, want: "nova.server_get: context canceled",
		},
		{
			name: "no input", host: &scripted{input: "?"}, do: func(*Task) error { return nil },
			exit: exitFailed, want: "task.input: answer: invalid character '?' looking for beginning of value",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			exit, reason := tt.host.guest(t, tt.do)
			if exit != tt.exit || reason != tt.want {
				t.Errorf("exit %d (%s), want %d (%s)", exit, reason, tt.exit, tt.want)
			}
			if n := len(tt.host.open); n != tt.open {
				t.Errorf("%d tickets open at the end, want %d", n, tt.open)
			}
		})
	}
}
