package hostfuncs_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

// fakeHTTP answers 201 with the method and the body.
type fakeHTTP struct {
	mu    sync.Mutex
	calls []hostfuncs.HTTPCall
	err   error
	body  string // instead
	// refused tells what was not sent: who asked for what, and why not.
	refused []string
}

// Refused serves hostfuncs.HTTP.
func (f *fakeHTTP) Refused(c hostfuncs.HTTPCall, why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = append(f.refused, fmt.Sprintf("%s %s %s %q %s %s: %v", c.Run, c.Task, c.Library, c.Tenant, c.Request.Method, c.Request.URL, why))
}

func (f *fakeHTTP) Do(_ context.Context, c hostfuncs.HTTPCall) (abi.HTTPRequestAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, c)
	if f.err != nil {
		return abi.HTTPRequestAnswer{}, f.err
	}
	body := c.Request.Method + " " + c.Request.Body
	if f.body != "" {
		body = f.body
	}
	return abi.HTTPRequestAnswer{Status: 201, URL: c.Request.URL, Body: body}, nil
}

func TestHTTPRules(t *testing.T) {
	rules := []string{"GET https://tickets.example.com/v1/*", "POST https://tickets.example.com/v1/new"}
	all := func(string) bool { return true }
	tests := []struct {
		name, req string
		granted   func(string) bool
		wantErr   string
		wantRules []string
	}{
		{name: "granted", req: `{"method":"GET","url":"https://tickets.example.com/v1/7?a=b"}`, granted: all, wantRules: rules},
		{name: "no word of the operator", req: `{"method":"GET","url":"https://tickets.example.com/v1/7"}`, wantRules: rules},
		{
			name: "one of two", req: `{"method":"GET","url":"https://tickets.example.com/v1/7"}`, wantRules: rules[:1],
			granted: func(what string) bool { return !strings.HasPrefix(what, "http:POST:") },
		},
		{
			name: "other method", req: `{"method":"DELETE","url":"https://tickets.example.com/v1/new"}`, granted: all,
			wantErr: "not_granted: http.request: DELETE https://tickets.example.com/v1/new: not among the requests of task custom_task in its manifest",
		},
		{
			name: "other path", req: `{"method":"POST","url":"https://tickets.example.com/v1/old"}`, granted: all,
			wantErr: "not_granted: http.request: POST https://tickets.example.com/v1/old: not among the requests of task custom_task in its manifest",
		},
		{
			name: "asked and not granted", req: `{"method":"POST","url":"https://tickets.example.com/v1/new"}`,
			granted: func(what string) bool { return what != "http:POST:https://tickets.example.com/v1/new" },
			wantErr: "not_granted: http.request: POST https://tickets.example.com/v1/new: http:POST:https://tickets.example.com/v1/new is not granted to library acme; see [grants]",
		},
		{
			name: "ambiguous", req: `{"method":"GET","url":"https://tickets.example.com/v1/%2e%2e/admin"}`, granted: all,
			wantErr: "invalid: http.request: url: path: dot segments are not allowed",
		},
		{
			name: "not a method", req: `{"method":"TRACE","url":"https://tickets.example.com/v1/7"}`, granted: all,
			wantErr: "invalid: http.request: method: want one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t, newNova())
			task := b.task(func(c *hostfuncs.TaskCall) { c.Task.HTTP, c.Granted = rules, tt.granted })
			_, err := do(t.Context(), task, abi.OpHTTPRequest, tt.req)
			if got := errText(err); got != tt.wantErr {
				t.Fatalf("error = %q, want %q", got, tt.wantErr)
			}
			if tt.wantErr != "" {
				if len(b.http.calls) != 0 {
					t.Error("it was sent all the same")
				}
				return
			}
			var got []string
			for _, r := range b.http.calls[0].Rules {
				got = append(got, r.String())
			}
			if !reflect.DeepEqual(got, tt.wantRules) {
				t.Errorf("rules = %v, want %v", got, tt.wantRules)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestHTTPCallIsComplete(t *testing.T) {
	b := setup(t, newNova())
	secrets := map[string]recovery.Secret{"acme.token": {Name: "acme.token", Value: "v"}}
	networks := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	task := b.task(func(c *hostfuncs.TaskCall) { c.Secrets, c.Networks = secrets, networks })
	if _, err := do(t.Context(), task, abi.OpHTTPRequest, `{"method":"GET","url":"https://tickets.example.com/v1/7"}`); err != nil {
		t.Fatal(err)
	}
	got := b.http.calls[0]
	got.Rules = nil
	want := hostfuncs.HTTPCall{
		Run: "run-7", Task: "custom_task", Library: "acme",
		Request: abi.HTTPRequestRequest{Method: "GET", URL: "https://tickets.example.com/v1/7"}, Networks: networks, Secrets: secrets, AnswerBytes: 1 << 20,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("call = %+v, want %+v", got, want)
	}
}

func TestHTTPErrors(t *testing.T) {
	const req = `{"method":"POST","url":"https://tickets.example.com/v1/new"}`
	tests := []struct {
		name    string
		change  func(*bench)
		wantErr string
		sent    int
	}{
		{
			name: "the sender's words", wantErr: "timeout: http.request: no answer within 3s; the request may have arrived", sent: 1,
			change: func(b *bench) {
				b.http.err = abi.Errorf(abi.ErrnoTimeout, "http.request: no answer within 3s; the request may have arrived")
			},
		},
		{
			name: "the run is not ours any more", wantErr: "unavailable: http.request: POST https://tickets.example.com/v1/new: not sent: the run was taken over",
			change: func(b *bench) { b.ledger.fail = func(string) error { return errors.New("the run was taken over") } },
		},
		{name: "nobody sends", wantErr: "unavailable: http.request: nobody sends requests here", change: func(b *bench) { b.deps.HTTP = nil }},
		{
			name: "answer too large", wantErr: "too_large: http.request: POST was answered with 201, in more than 1048576 bytes (option [wasakari] answer_mib); ask for less", sent: 1,
			change: func(b *bench) { b.http.body = strings.Repeat("\x01", 1<<20) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t, newNova(), tt.change)
			_, err := do(t.Context(), b.task(), abi.OpHTTPRequest, req)
			if got := errText(err); got != tt.wantErr {
				t.Errorf("error = %q, want %q", got, tt.wantErr)
			}
			if got := len(b.http.calls); got != tt.sent {
				t.Errorf("%d requests were sent, want %d", got, tt.sent)
			}
		})
	}
}

// Each request, one that is not sent too, comes to who writes the log, once.
func TestHTTPAudit(t *testing.T) {
	const who = `run-7 custom_task acme "" `
	dry := func(b *bench) {
		b.deps.Cloud = hostfuncs.NewDryRun(b.cloud, hostfuncs.DryRunOptions{Wait: time.Millisecond})
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	const newTicket = `{"method":"POST","url":"https://tickets.example.com/v1/new"}`
	tests := []struct {
		name, method, url string
		raw               string // instead of method and url
		ctx               context.Context
		bench             func(*bench)
		task              func(*hostfuncs.TaskCall)
		want              string // empty: it is sent
	}{
		{name: "sent", method: "POST", url: "https://tickets.example.com/v1/new"},
		{name: "sent in a dry run", method: "GET", url: "https://tickets.example.com/v1/7", bench: dry},
		{
			name: "dry run", method: "POST", url: "https://tickets.example.com/v1/new", bench: dry,
			want: who + "POST https://tickets.example.com/v1/new: not sent: a dry run",
		},
		{
			name: "no URL", method: "GET", url: "ftp://tickets.example.com/",
			want: who + "GET ftp://tickets.example.com/: invalid: http.request: url: want one that begins with https:// or http://",
		},
		{
			name: "not in the manifest", method: "GET", url: "https://elsewhere.example.com/",
			want: who + "GET https://elsewhere.example.com/: not_granted: http.request: GET https://elsewhere.example.com/: not among the requests of task custom_task in its manifest",
		},
		{
			name: "not granted", method: "GET", url: "https://tickets.example.com/v1/7",
			task: func(c *hostfuncs.TaskCall) { c.Granted = func(what string) bool { return what == "http.request" } },
			want: who + "GET https://tickets.example.com/v1/7: not_granted: http.request: GET https://tickets.example.com/v1/7: http:*:https://tickets.example.com/v1/* is not granted to library acme; see [grants]",
		},
		{
			name: "of a tenant", method: "GET", url: "https://elsewhere.example.com/",
			task: func(c *hostfuncs.TaskCall) { c.Task.Tenant = "p1" },
			want: `run-7 custom_task acme "p1" GET https://elsewhere.example.com/: not_granted: http.request: GET https://elsewhere.example.com/: not among the requests of task custom_task in its manifest`,
		},
		{
			name: "the run is not ours any more", method: "POST", url: "https://tickets.example.com/v1/new",
			bench: func(b *bench) { b.ledger.fail = func(string) error { return errors.New("the run was taken over") } },
			want:  who + "POST https://tickets.example.com/v1/new: unavailable: http.request: POST https://tickets.example.com/v1/new: not sent: the run was taken over",
		},
		{
			name: "the op is not in the manifest", raw: newTicket, task: func(c *hostfuncs.TaskCall) { c.Task.Uses = []string{"kv.*"} },
			want: who + "POST https://tickets.example.com/v1/new: not_granted: http.request: not among the uses of task custom_task in its manifest",
		},
		{
			name: "the op is not granted", raw: newTicket, task: func(c *hostfuncs.TaskCall) { c.Granted = func(what string) bool { return what != "http.request" } },
			want: who + "POST https://tickets.example.com/v1/new: not_granted: http.request: not granted to library acme; see [grants]",
		},
		{
			name: "an unknown key", raw: `{"method":"POST","url":"https://tickets.example.com/v1/new","proxy":"x"}`,
			want: who + "POST https://tickets.example.com/v1/new: invalid: http.request: proxy: unknown key",
		},
		{
			name: "a method of another kind", raw: `{"method":7,"url":"https://tickets.example.com/v1/new"}`,
			want: who + " https://tickets.example.com/v1/new: invalid: http.request: method: want a string, not a number",
		},
		{
			name: "a method that is none", raw: `{"method":"GET\n","url":"https://tickets.example.com/v1/new"}`,
			want: who + " https://tickets.example.com/v1/new: invalid: http.request: method: want one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS; did you mean GET?",
		},
		{name: "no document", raw: `POST /v1/new`, want: who + " : invalid: http.request: the document is not JSON: invalid character 'P' looking for beginning of value, at byte 1"},
		{name: "nothing in it", raw: `{}`, want: who + " : invalid: http.request: method: the key is missing"},
		{name: "too large", raw: strings.Repeat(" ", 1<<20), want: who + " : too_large: http.request: request of 1048576 bytes, at most 266240"},
		{name: "the task is over", raw: newTicket, ctx: over, want: who + "POST https://tickets.example.com/v1/new: canceled: http.request: context canceled"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.raw == "" {
				tt.raw = fmt.Sprintf(`{"method":%q,"url":%q}`, tt.method, tt.url)
			}
			if tt.ctx == nil {
				tt.ctx = t.Context()
			}
			b := setup(t, newNova(), func(b *bench) {
				if tt.bench != nil {
					tt.bench(b)
				}
			})
			task := b.task(func(c *hostfuncs.TaskCall) {
				if tt.task != nil {
					tt.task(c)
				}
			})
			_, _ = do(tt.ctx, task, abi.OpHTTPRequest, tt.raw) // what it is answered is tested elsewhere
			if got := strings.Join(b.http.refused, "\n"); got != tt.want {
				t.Errorf("refused\n got %s\nwant %s", got, tt.want)
			}
			if got, want := len(b.http.calls) == 1, tt.want == ""; got != want {
				t.Errorf("sent: %t, want %t", got, want)
			}
		})
	}
}

// Whatever the reason why requests are not sent, there is an end of their lines.
func TestHTTPRefusedWithoutEnd(t *testing.T) {
	const good = `{"method":"POST","url":"https://tickets.example.com/v1/new"}`
	for _, tt := range []struct {
		name, req string
		task      func(*hostfuncs.TaskCall)
		last      string // what the last ones end with
	}{
		{name: "the run is not ours any more", req: good, last: "quota"},
		{name: "no document", req: "{", last: "invalid"},
		{name: "the op is not granted", req: good, task: func(c *hostfuncs.TaskCall) { c.Task.Uses = nil }, last: "not_granted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t, newNova(), func(b *bench) {
				b.ledger.fail = func(string) error { return errors.New("the run was taken over") }
			})
			task := b.task(func(c *hostfuncs.TaskCall) {
				if tt.task != nil {
					tt.task(c)
				}
			})
			var err error
			for range 1010 {
				_, err = do(t.Context(), task, abi.OpHTTPRequest, tt.req)
			}
			if got := len(b.http.refused); got != 1000 || !strings.HasPrefix(errText(err), tt.last+": ") {
				t.Errorf("%d lines, want 1000; the last is answered %v, want %s", got, err, tt.last)
			}
		})
	}
}

func TestHTTPDryRun(t *testing.T) {
	var dry *hostfuncs.DryRun
	b := setup(t, newNova(), func(b *bench) {
		dry = hostfuncs.NewDryRun(b.cloud, hostfuncs.DryRunOptions{Wait: time.Millisecond})
		b.deps.Cloud = dry
	})
	got, err := do(t.Context(), b.task(), abi.OpHTTPRequest, `{"method":"POST","url":"https://tickets.example.com/v1/new","body":"x"}`)
	want(t, got, err, `{"status":200,"url":"https://tickets.example.com/v1/new","dry_run":true}`, "")
	if len(b.http.calls) != 0 {
		t.Error("a dry run sent a POST")
	}
	if want := []hostfuncs.Change{{N: 1, Op: "http.request", Target: "https://tickets.example.com/v1/new", Type: "POST", Task: "custom_task"}}; !reflect.DeepEqual(dry.Changes(), want) {
		t.Errorf("changes = %+v, want %+v", dry.Changes(), want)
	}
	if want := []string{"not sent: POST https://tickets.example.com/v1/new; taken to be answered by an empty 200"}; !reflect.DeepEqual(dry.Assumptions(), want) {
		t.Errorf("assumptions = %q, want %q", dry.Assumptions(), want)
	}
	got, err = do(t.Context(), b.task(), abi.OpHTTPRequest, `{"method":"GET","url":"https://tickets.example.com/v1/7"}`)
	want(t, got, err, `{"status":201,"url":"https://tickets.example.com/v1/7","body":"GET "}`, "")
	_, err = do(t.Context(), b.task(), abi.OpHTTPRequest, `{"method":"POST","url":"https://elsewhere.example.com/"}`)
	if code(err) != abi.ErrnoNotGranted {
		t.Errorf("error = %v, want not_granted in a dry run too", err)
	}
}
