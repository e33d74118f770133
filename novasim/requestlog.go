package novasim

import (
	"net/http"
	"time"
)

// Request is one request that the cloud got.
type Request struct {
	Seq       int // from 1, Keystone's requests counted too
	Time      time.Time
	Service   string // identity or compute
	Method    string
	Path      string // without a prefix such as /compute; like Query and UserAgent at most 1 KiB of it
	Query     string
	Action    string // key of an action's body: evacuate, os-stop, add_host ...
	Server    string // id of the server in the path
	Body      string // of a request to Nova, at most 4 KiB of it
	Status    int    // 0 when there was no answer, or none yet
	RequestID string
	UserAgent string
}

// maxLoggedBody bounds Request.Body.
const maxLoggedBody = 4 << 10

// cut bounds the other texts.
func cut(s string) string { return s[:min(len(s), 1<<10)] }

// requestLog keeps the newest requests. Cloud.mu guards it.
type requestLog struct {
	most    int
	dropped int
	all     []Request
}

// add appends a request and gives the number by which finish finds it.
func (l *requestLog) add(r Request) {
	if len(l.all) >= 2*l.most {
		n := copy(l.all, l.all[len(l.all)-l.most:])
		l.dropped += len(l.all) - n
		clear(l.all[n:])
		l.all = l.all[:n]
	}
	l.all = append(l.all, r)
}

// update changes the entry of a request, when it is still there.
func (l *requestLog) update(seq int, change func(*Request)) {
	if i := seq - 1 - l.dropped; i >= 0 && i < len(l.all) {
		change(&l.all[i])
	}
}

// Requests is the request log, oldest first: at most Options.MaxRequests of them.
func (c *Cloud) Requests() []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.records.all
	if n := len(all) - c.records.most; n > 0 {
		all = all[n:]
	}
	return append([]Request(nil), all...)
}

// begin numbers and logs a request.
func (c *Cloud) begin(k *call, r *http.Request) {
	c.seq++
	k.seq = c.seq
	k.requestID = "req-" + c.uuid("request", number(k.seq))
	entry := Request{
		Seq: k.seq, Time: c.now(), Service: k.service, Method: r.Method, Path: cut(k.path), Query: cut(r.URL.RawQuery),
		RequestID: k.requestID, UserAgent: cut(r.UserAgent()),
	}
	if k.service == "compute" {
		entry.Body = string(k.body[:min(len(k.body), maxLoggedBody)])
		entry.Action, entry.Server = k.action, cut(k.serverID)
	}
	c.records.add(entry)
}
