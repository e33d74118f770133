package hostfuncs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// HTTP sends the requests of tasks.
type HTTP interface {
	// Do sends one request, once. Whatever its status, an answer is no error.
	// Errors are *abi.Error; they and the answer hold no secrets.
	Do(ctx context.Context, c HTTPCall) (abi.HTTPRequestAnswer, error)
	// Refused writes a request into the log that is not given to Do, and why.
	Refused(c HTTPCall, why error)
}

// HTTPCall is one request of a task, and what the operator allows it.
type HTTPCall struct {
	// Run, Task, Library and Tenant say who asks.
	Run, Task, Library, Tenant string

	Request abi.HTTPRequestRequest
	// Rules are the requests that the task asks for and that are granted.
	Rules []abi.HTTPRule
	// Networks are the ranges of addresses that are granted although they are
	// not public.
	Networks []netip.Prefix
	// Secrets are those that the task may name, by their names.
	Secrets map[string]recovery.Secret
	// AnswerBytes bounds the body of the answer.
	AnswerBytes int
}

// maxRefusedRequests bounds the requests of a task that are refused and each
// written into the log, those that were not even read included.
const maxRefusedRequests = 1000

// httpRequest implements abi.OpHTTPRequest.
func httpRequest(ctx context.Context, t *TaskHost, req abi.HTTPRequestRequest) (json.RawMessage, error) {
	if t.refusedRequests.Load() >= maxRefusedRequests {
		return nil, fmt.Errorf("%d requests of the task were refused, no more are looked at: %w", maxRefusedRequests, recovery.ErrQuota)
	}
	return sendRequest(ctx, t, req)
}

// sendRequest sends a request, or says why not. Either leaves a line in the
// log: what is given to Do is written there.
func sendRequest(ctx context.Context, t *TaskHost, req abi.HTTPRequestRequest) (json.RawMessage, error) {
	call := t.httpCall(req)
	refuse := func(err error) (json.RawMessage, error) {
		t.refusedRequests.Add(1)
		if t.h.http != nil {
			t.h.http.Refused(call, toError(abi.OpHTTPRequest, err))
		}
		return nil, err
	}
	u, err := abi.ParseHTTPURL(req.URL)
	if err != nil {
		return refuse(fmt.Errorf("%w: %w", err, recovery.ErrInvalid))
	}
	if call.Rules, err = t.httpRules(req.Method, u); err != nil {
		return refuse(err)
	}
	if t.h.http == nil {
		return nil, fmt.Errorf("nobody sends requests here: %w", recovery.ErrUnavailable)
	}
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		if d, dry := t.h.cloud.(*DryRun); dry {
			if d.request(t.call.Task.Key, req.Method, u) {
				t.h.http.Refused(call, errDryRun)
			}
			return json.Marshal(abi.HTTPRequestAnswer{Status: http.StatusOK, URL: u.String(), DryRun: true})
		}
		// Who lost the run must not power off a host.
		if err := t.h.ledger.Check(ctx, t.h.opt.HTTPTimeout); err != nil {
			return refuse(fmt.Errorf("%s %s: not sent: %w", req.Method, u, err))
		}
	}
	ans, err := t.h.http.Do(ctx, call)
	if err != nil {
		switch toError(abi.OpHTTPRequest, err).Code {
		case abi.ErrnoInvalid, abi.ErrnoNotGranted, abi.ErrnoForbidden:
			t.refusedRequests.Add(1)
		}
		return nil, err
	}
	b, err := json.Marshal(ans)
	if err != nil {
		return nil, fmt.Errorf("encoding the answer: %w", err)
	}
	if len(b) > t.call.AnswerBytes {
		return nil, abi.Errorf(abi.ErrnoTooLarge, "%s: %s was answered with %d, in more than %d bytes (option %s); ask for less",
			abi.OpHTTPRequest, req.Method, ans.Status, t.call.AnswerBytes, t.call.AnswerOption)
	}
	return b, nil
}

func (t *TaskHost) httpCall(req abi.HTTPRequestRequest) HTTPCall {
	return HTTPCall{
		Run: t.h.run.ID, Task: t.call.Task.Key, Library: t.call.Task.Library, Tenant: t.tenant(),
		Request: req, Networks: t.call.Networks, Secrets: t.call.Secrets, AnswerBytes: t.call.AnswerBytes,
	}
}

// unread writes a request into the log that is refused before it is read: the
// op is not for the task, or the request is none.
func (t *TaskHost) unread(op string, data []byte, why *abi.Error) {
	if op == abi.OpHTTPRequest && t.h.http != nil && t.refusedRequests.Add(1) <= maxRefusedRequests {
		t.h.http.Refused(t.httpCall(glimpse(data)), why)
	}
}

// glimpse gives method and URL, as far as they can be made out.
func glimpse(data []byte) abi.HTTPRequestRequest {
	var req struct{ Method, URL string }
	if len(data) <= maxRequest {
		_ = json.Unmarshal(data, &req) // what is wrong elsewhere does not matter
	}
	if len(req.Method) > 16 || strings.ContainsFunc(req.Method, func(r rune) bool { return r < 'A' || r > 'Z' }) {
		req.Method = ""
	}
	return abi.HTTPRequestRequest{Method: req.Method, URL: req.URL}
}

// httpRules gives the requests that the task may send, or says why this one is
// not among them: its manifest must ask for it, and the operator grant what
// the manifest asks.
func (t *TaskHost) httpRules(method string, u *url.URL) ([]abi.HTTPRule, error) {
	var rules []abi.HTTPRule
	asked := ""
	for _, text := range t.call.Task.HTTP {
		r, err := abi.ParseHTTPRule(text)
		if err != nil {
			continue // not from a manifest that was checked: names nothing
		}
		switch {
		case t.call.Granted == nil || t.call.Granted(r.Grant()):
			rules = append(rules, r)
		case asked == "" && r.Match(method, u):
			asked = r.Grant()
		}
	}
	switch {
	case slices.ContainsFunc(rules, func(r abi.HTTPRule) bool { return r.Match(method, u) }):
		return rules, nil
	case asked != "":
		return nil, abi.Errorf(abi.ErrnoNotGranted, "%s: %s %s: %s is not granted to library %s; see [grants]",
			abi.OpHTTPRequest, method, shortURL(u), asked, t.call.Task.Library)
	}
	return nil, abi.Errorf(abi.ErrnoNotGranted, "%s: %s %s: not among the requests of task %s in its manifest",
		abi.OpHTTPRequest, method, shortURL(u), t.call.Task.Key)
}

// shortURL is a URL for a message.
func shortURL(u *url.URL) string { return recovery.Cut(u.String(), 256) }

// errDryRun is why a dry run's requests that may change something are not sent.
var errDryRun = errors.New("not sent: a dry run")

// request writes down a request that is not sent, unless there are too many.
func (d *DryRun) request(task, method string, u *url.URL) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.changes) >= maxDryRequests {
		return false
	}
	d.changes = append(d.changes, Change{N: len(d.changes) + 1, Op: abi.OpHTTPRequest, Target: shortURL(u), Type: method, Task: task})
	d.note(fmt.Sprintf("not sent: %s %s; taken to be answered by an empty 200", method, shortURL(u)))
	return true
}

// maxDryRequests bounds what a task that asks without end leaves behind in a
// dry run.
const maxDryRequests = 10000
