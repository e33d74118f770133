package tasktest

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/wasakari/wasakari/abi"
)

// Replies answers ops with what a scenario holds: what was recorded, and answers
// to http.request. It is safe for concurrent use.
type Replies struct {
	mu       sync.Mutex
	c        *Case
	used     []bool // answers
	sent     []bool // HTTP
	problems []string
}

// Replies begins anew with the answers of the scenario.
func (c *Case) Replies() *Replies {
	return &Replies{c: c, used: make([]bool, len(c.Answers)), sent: make([]bool, len(c.HTTP))}
}

// Problems lists the requests that nothing answered.
func (r *Replies) Problems() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.problems
}

// Recorded gives the answer that was recorded of an op; ok is false when the op
// is not answered from a recording. Of several answers to the same request each
// is given once, in order, and the last one then again.
func (r *Replies) Recorded(op string, req []byte) (answer []byte, ok bool, err error) {
	if !r.c.Recorded() || !Outwards(op) {
		return nil, false, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	probe := differ{c: &Case{}}
	asked := decode(req)
	found := -1
	for i, a := range r.c.Answers {
		if a.Op != op || !probe.equal(orEmpty(a.Request), orEmpty(asked), false) {
			continue
		}
		found = i
		if !r.used[i] {
			break
		}
	}
	if found < 0 {
		if op == abi.OpHTTPRequest && len(r.c.HTTP) > 0 {
			return nil, false, nil
		}
		what := fmt.Sprintf("%s %s", op, shown(asked))
		r.problems = append(r.problems, "no answer was recorded for "+what+"; record the scenario again")
		return nil, true, abi.Errorf(abi.ErrnoInvalid, "%s: no answer was recorded for this request", op)
	}
	r.used[found] = true
	a := r.c.Answers[found]
	if a.Error != nil {
		return nil, true, a.Error.ABI()
	}
	b, err := json.Marshal(orEmpty(a.Answer))
	return b, true, err
}

func orEmpty(v any) any {
	if v == nil {
		return map[string]any{}
	}
	return v
}

// HTTP gives the answer to a request.
func (r *Replies) HTTP(req abi.HTTPRequestRequest) (abi.HTTPRequestAnswer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := -1
	for i, h := range r.c.HTTP {
		if h.Method != "" && h.Method != req.Method || h.URL != req.URL || !bodyFits(h.Request, req) {
			continue
		}
		found = i
		if !r.sent[i] {
			break
		}
	}
	if found < 0 {
		what := req.Method + " " + req.URL
		if body := bodyOf(req); body != nil {
			what += " " + shown(body)
		}
		r.problems = append(r.problems, "nothing below http: answers "+what)
		return abi.HTTPRequestAnswer{}, abi.Errorf(abi.ErrnoUnavailable, "%s: nothing below http: of the scenario answers %s %s", abi.OpHTTPRequest, req.Method, req.URL)
	}
	r.sent[found] = true
	h := r.c.HTTP[found]
	if h.Error != nil {
		return abi.HTTPRequestAnswer{}, h.Error.ABI()
	}
	ans := abi.HTTPRequestAnswer{Status: 200, URL: req.URL, Headers: map[string]string{}}
	if h.Status != 0 {
		ans.Status = int64(h.Status)
	}
	for k, v := range h.Headers {
		ans.Headers[canonical(k)] = v
	}
	switch body := h.Answer.(type) {
	case nil:
	case string:
		ans.Body = body
	default:
		b, err := json.Marshal(body)
		if err != nil {
			return ans, err
		}
		ans.Body = string(b)
		if _, ok := ans.Headers["Content-Type"]; !ok {
			ans.Headers["Content-Type"] = "application/json"
		}
	}
	return ans, nil
}

// canonical writes a header's name as answers have it.
func canonical(name string) string {
	parts := strings.Split(strings.ToLower(name), "-")
	for i, p := range parts {
		if p != "" {
			parts[i] = strings.ToUpper(p[:1]) + p[1:]
		}
	}
	return strings.Join(parts, "-")
}

// bodyOf gives what a request carries, as JSON where it is.
func bodyOf(req abi.HTTPRequestRequest) any {
	switch {
	case len(req.BodyJSON) > 0:
		return decode(req.BodyJSON)
	case req.BodyBase64 != "":
		return req.BodyBase64
	case req.Body != "":
		if v := decode(json.RawMessage(req.Body)); v != nil {
			return v
		}
		return req.Body
	}
	return nil
}

func bodyFits(want any, req abi.HTTPRequestRequest) bool {
	if want == nil {
		return true
	}
	probe := differ{c: &Case{}}
	return probe.equal(want, bodyOf(req), true)
}
