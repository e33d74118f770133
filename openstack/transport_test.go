package openstack_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
)

func services(ctx context.Context, c *openstack.Client) error {
	_, err := c.Services(ctx, recovery.ServiceFilter{})
	return err
}

func stop(ctx context.Context, c *openstack.Client) error {
	_, err := c.Stop(ctx, "s1")
	return err
}

const (
	readServices = "GET /v2.1/os-services"
	stopServer   = "POST /v2.1/servers/s1/action"
)

// What goes wrong twice is mended for a read, and left alone for a change.
func TestRepetition(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(`{"services": [`))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	tests := []struct {
		name   string
		fault  http.HandlerFunc
		change []error // what the change wraps; nil: it worked
		not    error   // what it does not wrap
	}{
		{"429", say(429, `{"overLimit": {"message": "slow down"}}`), []error{recovery.ErrQuota}, recovery.ErrUnknownOutcome},
		{"500", say(500, `{"computeFault": {"message": "oops"}}`), []error{recovery.ErrUnavailable, recovery.ErrUnknownOutcome}, nil},
		{"502", say(502, `<html>Bad Gateway</html>`), []error{recovery.ErrUnavailable, recovery.ErrUnknownOutcome}, nil},
		{"503", say(503, ``), []error{recovery.ErrUnavailable, recovery.ErrUnknownOutcome}, nil},
		{"504", say(504, ``), []error{recovery.ErrUnavailable, recovery.ErrUnknownOutcome}, nil},
		{"connection lost after the request", drop, []error{recovery.ErrUnavailable, recovery.ErrUnknownOutcome}, nil},
		{"answer breaks off", cut, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newCloud(t, nil)
			c := f.connect()
			before := c.Calls()
			var reads atomic.Int32
			f.on(readServices, func(w http.ResponseWriter, r *http.Request) {
				if reads.Add(1) < 3 {
					tt.fault(w, r)
					return
				}
				answer(w, 200, `{"services": []}`)
			})
			if err := services(t.Context(), c); err != nil {
				t.Errorf("read: %v", err)
			}
			if got := c.Calls() - before; got != 3 {
				t.Errorf("Calls for the read = %d, want 3", got)
			}

			before = c.Calls()
			f.on(stopServer, tt.fault)
			err := stop(t.Context(), c)
			if tt.change == nil && err != nil {
				t.Errorf("change: %v, want what its status says", err)
			}
			for _, want := range tt.change {
				if !errors.Is(err, want) {
					t.Errorf("change: %v, want %v", err, want)
				}
			}
			if tt.not != nil && errors.Is(err, tt.not) {
				t.Errorf("change: %v, want no %v", err, tt.not)
			}
			if got := f.got(stopServer); got != 1 {
				t.Errorf("changes sent = %d, want 1", got)
			}
			if got := c.Calls() - before; got != 1 {
				t.Errorf("Calls for the change = %d, want 1", got)
			}
		})
	}
}

func TestReadsGiveUp(t *testing.T) {
	tests := []struct {
		name  string
		fault http.HandlerFunc
		want  error
		reads int
	}{
		{"503", say(503, `{"serviceUnavailable": {"message": "later"}}`), recovery.ErrUnavailable, 4},
		{"429", say(429, ``), recovery.ErrQuota, 4},
		{"connection lost", drop, recovery.ErrUnavailable, 4},
		{"404", say(404, ``), recovery.ErrNotFound, 1},
		{"400", say(400, ``), recovery.ErrInvalid, 1},
		{"asks for an hour", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "3600")
			say(503, "")(w, r)
		}, recovery.ErrUnavailable, 1},
		{"asks for a day next year", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
			say(503, "")(w, r)
		}, recovery.ErrUnavailable, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newCloud(t, nil)
			c := f.connect()
			f.on(readServices, tt.fault)
			err := services(t.Context(), c)
			if !errors.Is(err, tt.want) || errors.Is(err, recovery.ErrUnknownOutcome) {
				t.Errorf("err = %v, want %v", err, tt.want)
			}
			got := f.got(readServices)
			if tt.name == "connection lost" && got == tt.reads+1 {
				got-- // net/http's own, if the first connection was a used one
			}
			if got != tt.reads {
				t.Errorf("reads = %d, want %d", got, tt.reads)
			}
		})
	}
}

func TestRetryAfterCountsBeforeBackoff(t *testing.T) {
	f := newCloud(t, nil)
	c := f.connect(func(o *openstack.Options) { o.Backoff = time.Hour })
	f.on(readServices, func(w http.ResponseWriter, _ *http.Request) {
		if f.got(readServices) == 1 {
			w.Header().Set("Retry-After", "0")
			answer(w, 503, "")
			return
		}
		answer(w, 200, `{"services": []}`)
	})
	if err := services(t.Context(), c); err != nil {
		t.Error(err)
	}
}

// A pause that the caller cannot wait for is not begun.
func TestBackoffKeepsToTheContext(t *testing.T) {
	f := newCloud(t, nil)
	c := f.connect(func(o *openstack.Options) { o.Backoff = time.Hour })
	f.on(readServices, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "30")
		say(503, `{"serviceUnavailable": {"message": "later"}}`)(w, r)
	})
	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancelShort()
	err := services(short, c)
	if !errors.Is(err, recovery.ErrUnavailable) || !strings.Contains(err.Error(), "later") {
		t.Errorf("err = %v, want the last answer", err)
	}

	canceled, stopNow := context.WithCancel(t.Context())
	f.on(readServices, func(w http.ResponseWriter, r *http.Request) {
		say(503, ``)(w, r)
		time.AfterFunc(time.Millisecond, stopNow)
	})
	if err := services(canceled, c); err == nil {
		t.Error("err = nil, want one")
	}
	if got := f.got(readServices); got != 2 {
		t.Errorf("reads = %d, want 2: one for each context", got)
	}
}

// hang keeps a request until the client goes away.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func TestTimeouts(t *testing.T) {
	f := newCloud(t, nil)
	f.on(readServices, hang)
	f.on(stopServer, hang)
	t.Run("request", func(t *testing.T) {
		c := f.connect(func(o *openstack.Options) { o.Timeout = 100 * time.Millisecond })
		err := services(t.Context(), c)
		if !errors.Is(err, recovery.ErrTimeout) || errors.Is(err, recovery.ErrUnknownOutcome) {
			t.Errorf("read: %v, want ErrTimeout", err)
		}
		if !strings.Contains(err.Error(), f.URL) {
			t.Errorf("read: %v, want the address in it", err)
		}
		err = stop(t.Context(), c)
		if !errors.Is(err, recovery.ErrTimeout) || !errors.Is(err, recovery.ErrUnknownOutcome) {
			t.Errorf("change: %v, want ErrTimeout and ErrUnknownOutcome", err)
		}
		if got := f.got(stopServer); got != 1 {
			t.Errorf("changes sent = %d, want 1", got)
		}
	})
	// Whoever sends a change has a lease for one timeout, not for two more of
	// Keystone's.
	t.Run("change that waits for a new token", func(t *testing.T) {
		f := newCloud(t, nil)
		c := f.connect(func(o *openstack.Options) { o.Timeout = 200 * time.Millisecond })
		f.onValid(stopServer, say(202, ""))
		var logins atomic.Int32
		f.on("POST /v3/auth/tokens", func(w http.ResponseWriter, r *http.Request) {
			if logins.Add(1) == 1 {
				hang(w, r) // until one timeout is over
				return
			}
			w.Header().Set("X-Subject-Token", f.newToken())
			answer(w, http.StatusCreated, `{"token": {"expires_at": "2030-01-01T00:00:00.000000Z", "catalog": []}}`)
		})
		f.revoke()
		err := stop(t.Context(), c)
		if !errors.Is(err, recovery.ErrTimeout) || errors.Is(err, recovery.ErrUnknownOutcome) {
			t.Errorf("err = %v, want ErrTimeout and a known outcome: it was not sent again", err)
		}
		if got := f.got(stopServer); got != 1 {
			t.Errorf("changes sent = %d, want 1", got)
		}
	})
	c := f.connect()
	t.Run("deadline of the caller", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := services(ctx, c)
		if !errors.Is(err, recovery.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read: %v, want ErrTimeout and context.DeadlineExceeded", err)
		}
	})
	t.Run("caller cancels", func(t *testing.T) {
		for _, sent := range []bool{true, false} {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if sent {
				f.on(stopServer, func(_ http.ResponseWriter, r *http.Request) {
					cancel()
					<-r.Context().Done()
				})
			} else {
				cancel()
			}
			err := stop(ctx, c)
			if !errors.Is(err, recovery.ErrCanceled) || !errors.Is(err, context.Canceled) || errors.Is(err, recovery.ErrUnknownOutcome) != sent {
				t.Errorf("change, sent %v: %v, want ErrCanceled, and ErrUnknownOutcome only if sent", sent, err)
			}
		}
	})
}

// conns lets a test close the server's side of connections.
type conns struct {
	mu  sync.Mutex
	all map[net.Conn]http.ConnState
}

func (c *conns) track(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[net.Conn]http.ConnState{}
	}
	c.all[conn] = s
}

// closeIdle closes what is idle, without a word to the client.
func (c *conns) closeIdle() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn, s := range c.all {
		if s == http.StateIdle {
			_ = conn.Close()
			n++
		}
	}
	return n
}

// However the server treats an idle connection, a change arrives at most once,
// and when it did not arrive and is reported as certainly not sent, that is
// true.
func TestChangeOnConnectionThatDies(t *testing.T) {
	var idle conns
	f := newCloud(t, func(s *httptest.Server) {
		s.Config.ConnState = idle.track
		s.Start()
	})
	f.on(stopServer, say(202, ""))
	f.on(readServices, say(200, `{"services": []}`))
	c := f.connect()
	for i := range 50 {
		if err := services(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		before := f.got(stopServer)
		idle.closeIdle()
		err := stop(t.Context(), c)
		sent := f.got(stopServer) - before
		switch {
		case sent > 1:
			t.Fatalf("round %d: the change arrived %d times", i, sent)
		case err == nil && sent != 1:
			t.Fatalf("round %d: the change did not arrive and is reported as done", i)
		case err != nil && !errors.Is(err, recovery.ErrUnknownOutcome) && sent != 0:
			t.Fatalf("round %d: %v, but the change arrived", i, err)
		}
	}
}

// The connection is closed before the request is read: for all the client
// knows, it may have arrived.
func TestChangeOnConnectionThatNeverListens(t *testing.T) {
	f := newCloud(t, nil)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepted atomic.Int32
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if accepted.Add(1) == 1 {
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(novaVersion), novaVersion)
				}
			}
			_ = conn.Close()
		}
	})
	defer wg.Wait()
	defer func() { _ = l.Close() }()
	c := f.connect(func(o *openstack.Options) { o.EndpointOverride = "http://" + l.Addr().String() + "/v2.1" })

	if err := stop(t.Context(), c); !errors.Is(err, recovery.ErrUnavailable) || !errors.Is(err, recovery.ErrUnknownOutcome) {
		t.Errorf("change: %v, want ErrUnavailable and ErrUnknownOutcome", err)
	}
	if got := accepted.Load(); got != 2 {
		t.Errorf("connections = %d, want 2: the version document, the change", got)
	}
	if err := services(t.Context(), c); !errors.Is(err, recovery.ErrUnavailable) || errors.Is(err, recovery.ErrUnknownOutcome) {
		t.Errorf("read: %v, want ErrUnavailable", err)
	}
	if got := accepted.Load(); got != 6 {
		t.Errorf("connections = %d, want 6: four more for a read", got)
	}
}

func TestChangeWhenNobodyListens(t *testing.T) {
	f := newCloud(t, nil)
	c := f.connect()
	before := c.Calls()
	c.Close() // a connection that is open still would be tried first
	f.Close()
	err := stop(t.Context(), c)
	if !errors.Is(err, recovery.ErrUnavailable) || errors.Is(err, recovery.ErrUnknownOutcome) {
		t.Errorf("err = %v, want ErrUnavailable and a known outcome: nothing was sent", err)
	}
	if !strings.Contains(err.Error(), f.URL) {
		t.Errorf("err = %v, want the address in it", err)
	}
	if got := c.Calls() - before; got != 0 {
		t.Errorf("Calls = %d, want 0: nothing was sent", got)
	}
}

func TestRedirects(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s with token %q went to a stranger", r.Method, r.URL.Path, r.Header.Get("X-Auth-Token"))
		answer(w, 200, `{"services": []}`)
	}))
	defer other.Close()
	f := newCloud(t, nil)
	c := f.connect()
	to := func(url string, status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, url, status) }
	}

	f.on(readServices, to("/v2.1/moved", 302))
	f.on("GET /v2.1/moved", say(200, `{"services": []}`))
	if err := services(t.Context(), c); err != nil {
		t.Errorf("read within the origin: %v", err)
	}
	f.on(readServices, to(other.URL, 302))
	if err := services(t.Context(), c); !errors.Is(err, recovery.ErrUnavailable) {
		t.Errorf("read to a stranger: %v, want ErrUnavailable", err)
	}
	f.on(stopServer, to("/v2.1/again", 307))
	err := stop(t.Context(), c)
	if !errors.Is(err, recovery.ErrUnavailable) || errors.Is(err, recovery.ErrUnknownOutcome) {
		t.Errorf("change: %v, want ErrUnavailable and a known outcome", err)
	}
	if got := f.got("POST /v2.1/again"); got != 0 {
		t.Errorf("the change followed a redirect %d times", got)
	}
	f.on(readServices, to("/v2.1/os-services", 302))
	if err := services(t.Context(), c); !errors.Is(err, recovery.ErrUnavailable) {
		t.Errorf("circle: %v, want ErrUnavailable", err)
	}
}

func TestAnswerTooLarge(t *testing.T) {
	f := newCloud(t, nil)
	c := f.connect()
	huge := func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat(" ", 1<<20))
		for range 65 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	f.on(readServices, huge)
	if err := services(t.Context(), c); !errors.Is(err, recovery.ErrTooLarge) {
		t.Errorf("read: %v, want ErrTooLarge", err)
	}
	if got := f.got(readServices); got != 1 {
		t.Errorf("reads = %d, want 1: the next answer would be as large", got)
	}
}

// 64 changes in flight find 64 connections, and the next 64 find them again.
func TestManyInFlight(t *testing.T) {
	var opened atomic.Int32
	f := newCloud(t, func(s *httptest.Server) {
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				opened.Add(1)
			}
		}
		s.Start()
	})
	c := f.connect()
	const many = 64
	for range 2 {
		var together sync.WaitGroup
		together.Add(many)
		f.on(stopServer, func(w http.ResponseWriter, _ *http.Request) {
			together.Done()
			together.Wait()
			answer(w, 202, "")
		})
		var wg sync.WaitGroup
		for range many {
			wg.Go(func() {
				if err := stop(t.Context(), c); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	if got := opened.Load(); got > many+8 {
		t.Errorf("connections = %d, want about %d: idle ones are kept", got, many)
	}
}
