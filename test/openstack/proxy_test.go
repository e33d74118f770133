//go:build e2e

package openstack_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy stands between the program and the lab's Keystone and Nova. It changes
// nothing but addresses, knows each request, and can do something in its
// midst: before it reaches Nova, or after Nova answered.
type proxy struct {
	keystone, compute *httptest.Server
	client            http.Client

	mu    sync.Mutex
	traps []*trap
	seen  []seen
}

// seen is one request of the program to Nova.
type seen struct {
	at           time.Time
	method, path string
	action       string // of a server, an aggregate: the key of the body
	server       string // its id
	token        string
}

// change is the short name of a change: the action, or the method and the
// kind of resource.
func (s seen) change() string {
	switch {
	case s.method == "GET":
		return ""
	case s.action != "":
		return s.action
	case strings.Contains(s.path, "/os-services/"):
		return "service"
	}
	return s.method + " " + s.path
}

// trap waits for the n-th request that it is meant for, and springs once.
type trap struct {
	match  func(seen) bool
	nth    int
	before func(seen) // called before the request is passed on
	after  func(seen) // called when Nova has answered, before the program hears of it
	// lose makes the request (with before) or the answer (with after) get lost.
	lose bool

	sprung chan struct{} // closed when it springs
	n      int
}

// onChange matches a change by its short name.
func onChange(name string) func(seen) bool {
	return func(s seen) bool { return s.change() == name }
}

// newProxy starts a proxy that lasts as long as the test.
func newProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{client: http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	p.compute = httptest.NewServer(http.HandlerFunc(p.nova))
	p.keystone = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		p.pass(w, r, keystoneURL, body)()
	}))
	t.Cleanup(func() {
		p.compute.CloseClientConnections()
		p.keystone.CloseClientConnections()
		p.compute.Close()
		p.keystone.Close()
	})
	return p
}

// set puts up a trap.
func (p *proxy) set(tr *trap) *trap {
	tr.sprung, tr.nth = make(chan struct{}), max(tr.nth, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.traps = append(p.traps, tr)
	return tr
}

// count counts requests.
func (p *proxy) count(match func(seen) bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, s := range p.seen {
		if match(s) {
			n++
		}
	}
	return n
}

// first gives the first request after a moment that matches.
func (p *proxy) first(after time.Time, match func(seen) bool) (s seen, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.seen {
		if s.at.After(after) && match(s) {
			return s, true
		}
	}
	return seen{}, false
}

// spring finds the trap that a request falls into.
func (p *proxy) spring(s seen) *trap {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, s)
	var hit *trap
	for _, tr := range p.traps {
		if !tr.match(s) {
			continue
		}
		if tr.n++; tr.n == tr.nth && hit == nil {
			hit = tr
			close(tr.sprung)
		}
	}
	return hit
}

func (p *proxy) nova(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	s := seen{at: time.Now(), method: r.Method, path: r.URL.Path, token: r.Header.Get("X-Auth-Token")}
	if parts := strings.Split(r.URL.Path, "/"); len(parts) > 2 && parts[len(parts)-1] == "action" {
		var action map[string]json.RawMessage
		_ = json.Unmarshal(body, &action) // what is no JSON is Nova's business
		for name := range action {
			s.action = name
		}
		s.server = parts[len(parts)-2]
	}
	tr := p.spring(s)
	if tr == nil {
		p.pass(w, r, novaURL, body)()
		return
	}
	if tr.before != nil {
		tr.before(s)
		if tr.lose {
			panic(http.ErrAbortHandler)
		}
	}
	answer := p.pass(w, r, novaURL, body)
	if tr.after != nil {
		tr.after(s)
		if tr.lose {
			panic(http.ErrAbortHandler)
		}
	}
	answer()
}

// pass sends a request on. A client that has gone does not end it: what was
// sent arrives.
func (p *proxy) pass(w http.ResponseWriter, r *http.Request, to string, body []byte) (answer func()) {
	out, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, to+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	out.Header = r.Header.Clone()
	out.Header.Del("Accept-Encoding")
	res, err := p.client.Do(out)
	if err != nil {
		return func() { panic(http.ErrAbortHandler) }
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return func() { panic(http.ErrAbortHandler) }
	}
	text = bytes.ReplaceAll(text, []byte(keystoneURL), []byte(p.keystone.URL))
	text = bytes.ReplaceAll(text, []byte(novaURL), []byte(p.compute.URL))
	return func() {
		h := w.Header()
		for name, values := range res.Header {
			switch name {
			case "Content-Length", "Connection", "Transfer-Encoding":
			default:
				h[name] = values
			}
		}
		w.WriteHeader(res.StatusCode)
		_, _ = w.Write(text) // the program may be dead
	}
}

// clouds is a clouds.yaml whose cloud "lab" is the lab behind the proxy.
func (p *proxy) clouds() string {
	return fmt.Sprintf(`clouds:
  lab:
    auth:
      auth_url: %s/v3
      username: admin
      password: lab
      project_name: admin
      user_domain_id: default
      project_domain_id: default
    region_name: RegionOne
`, p.keystone.URL)
}
