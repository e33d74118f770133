package novasim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

const maxBody = 1 << 20

// call is one request while it is being answered.
type call struct {
	c         *Cloud
	r         *http.Request
	seq       int
	requestID string
	service   string   // identity or compute
	base      string   // scheme and host that the client used, and the prefix of the service
	root      string   // scheme and host alone
	path      string   // without a prefix such as /compute
	segments  []string // of the path after /v2.1 or /v3
	body      []byte
	action    string // key of an action's body
	serverID  string // server in the path
	version   int    // compute microversion, the part after "2."
	told      string // the microversion that the answer names
	unrouted  bool   // nobody looked at the microversion
	refused   bool   // by the part of Nova that checks tokens
	token     *authToken
	plan      plan
	image     *imageRef // as every server shows them
	flavor    *oldFlavorView
}

// answer is what is sent back. A nil body is an empty one.
type answer struct {
	status  int
	body    any
	text    string // instead of body, of type kind
	kind    string
	headers [][2]string
}

func (a *answer) header(key, value string) { a.headers = append(a.headers, [2]string{key, value}) }

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

// fail is an error answer in Nova's shape.
func fail(status int, format string, args ...any) answer {
	kind := "computeFault"
	switch status {
	case 400:
		kind = "badRequest"
	case 401:
		kind = "unauthorized"
	case 403:
		kind = "forbidden"
	case 404:
		kind = "itemNotFound"
	case 405:
		kind = "badMethod"
	case 409:
		kind = "conflictingRequest"
	case 413, 429:
		kind = "overLimit"
	case 501:
		kind = "notImplemented"
	case 503:
		kind = "serviceUnavailable"
	}
	return answer{status: status, body: map[string]any{kind: map[string]any{"code": status, "message": fmt.Sprintf(format, args...)}}}
}

// noRoute is the answer to a path, or a method, that Nova does not know.
func (k *call) noRoute() answer {
	k.unrouted = true
	return answer{status: 404, text: "404 Not Found\n\nThe resource could not be found.\n\n   ", kind: "text/plain; charset=UTF-8"}
}

// Handler serves Keystone under /v3 and /identity/v3, and Nova under /v2.1 and
// /compute/v2.1.
func (c *Cloud) Handler() http.Handler { return http.HandlerFunc(c.serve) }

func (c *Cloud) serve(w http.ResponseWriter, r *http.Request) {
	k := &call{c: c, r: r, root: "http://" + r.Host}
	if r.TLS != nil {
		k.root = "https://" + r.Host
	}
	k.locate()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	k.body = body
	k.look()

	c.mu.Lock()
	c.begin(k, r)
	k.plan = c.faultsFor(k)
	wait := c.requestLatency(k) + k.plan.delay
	c.mu.Unlock()
	if c.opt.OnRequest != nil {
		c.opt.OnRequest(k.seq, true, r)
	}
	if !c.pause(r.Context(), wait) || k.plan.dropBefore {
		k.abort()
	}
	if k.plan.hangs {
		c.pause(r.Context(), k.plan.hang)
		k.abort()
	}

	var a answer
	switch {
	case err != nil && len(body) >= maxBody:
		a = fail(http.StatusRequestEntityTooLarge, "Request is too large.")
	case err != nil:
		k.abort()
	case k.plan.answer != nil:
		a = *k.plan.answer
	default:
		a = k.handle()
	}
	if c.opt.OnRequest != nil {
		c.opt.OnRequest(k.seq, false, r)
	}
	if k.plan.dropAfter {
		k.abort()
	}
	k.send(w, a)
}

// abort closes the connection without an answer.
func (k *call) abort() {
	k.c.log.Info("request dropped", zap.String("method", k.r.Method), zap.String("path", k.path), zap.String("request", k.requestID))
	panic(http.ErrAbortHandler)
}

// locate finds out which service the request is for.
func (k *call) locate() {
	p := k.r.URL.Path
	prefixed := ""
	for _, prefix := range []string{"/identity", "/compute", "/placement", "/image"} {
		if rest, found := strings.CutPrefix(p, prefix); found && (rest == "" || rest[0] == '/') {
			p, prefixed = rest, prefix
		}
	}
	k.path, k.base = p, k.root+prefixed
	rest, nova := strings.CutPrefix(p, "/v2.1")
	switch {
	case prefixed == "/compute", prefixed == "" && nova && (rest == "" || rest[0] == '/'):
		k.service = "compute"
	case prefixed == "/placement":
		k.service = "placement"
	case prefixed == "/image":
		k.service = "image"
	default:
		k.service = "identity"
		rest = strings.TrimPrefix(p, "/v3")
	}
	for s := range strings.SplitSeq(strings.Trim(rest, "/"), "/") {
		if s != "" && len(k.segments) < 8 {
			k.segments = append(k.segments, s)
		}
	}
	// Nova still takes a project id in front.
	if k.service == "compute" && len(k.segments) > 1 && projectID.MatchString(k.segments[0]) {
		k.segments = k.segments[1:]
	}
	if k.service == "compute" && len(k.segments) > 1 && k.segments[0] == "servers" && k.segments[1] != "detail" {
		k.serverID = k.segments[1]
	}
}

var projectID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// look reads the action's name, which faults and the request log want to know.
func (k *call) look() {
	if k.r.Method != http.MethodPost || len(k.segments) != 3 || k.segments[2] != "action" {
		return
	}
	var body map[string]json.RawMessage
	if json.Unmarshal(k.body, &body) == nil && len(body) == 1 {
		for key := range body {
			k.action = key[:min(len(key), 64)]
		}
	}
}

// decodeLoose decodes what it can of a body, for matching only.
func decodeLoose(body []byte, into any) bool { return json.Unmarshal(body, into) == nil }

func (c *Cloud) requestLatency(k *call) time.Duration {
	l := c.sc.Latency.Requests
	span, kind := &l.Default, "default"
	pick := func(s *Span, name string) {
		if s != nil {
			span, kind = s, name
		}
	}
	switch {
	case k.service == "identity":
		if k.r.Method == http.MethodPost {
			pick(l.Auth, "auth")
		}
	case k.r.Method != http.MethodGet:
		pick(l.Change, "change")
	case len(k.segments) == 1 || len(k.segments) == 2 && k.segments[1] == "detail" || len(k.segments) == 3 && k.segments[2] == "os-instance-actions":
		pick(l.List, "list")
	case len(k.segments) > 1:
		pick(l.Read, "read")
	}
	return c.draw(*span, "request latency", kind, number(k.seq))
}

// handle answers the request.
func (k *call) handle() answer {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if k.service == "identity" {
		return k.keystone()
	}
	switch k.service {
	case "placement":
		return k.placement()
	case "image":
		return k.images()
	}
	return k.nova()
}

func (k *call) send(w http.ResponseWriter, a answer) {
	var buf bytes.Buffer
	if a.body != nil && k.r.Method != http.MethodHead {
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(a.body); err != nil {
			k.c.log.Error("answer not encoded", zap.Error(err))
			a.status = http.StatusInternalServerError
		}
	}
	h := w.Header()
	for _, kv := range a.headers {
		h.Add(kv[0], kv[1])
	}
	kind := "application/json"
	switch {
	case k.service != "compute":
		h.Set("X-Openstack-Request-Id", k.requestID)
		h.Add("Vary", "X-Auth-Token")
	case k.segments == nil && k.path != "/v2.1" && k.path != "/v2.1/": // the list of versions has no pipeline
	default:
		h.Set("X-Openstack-Request-Id", k.requestID)
		h.Set("X-Compute-Request-Id", k.requestID)
		if k.told != "" && !k.unrouted {
			h.Set("OpenStack-API-Version", "compute "+k.told)
			h.Set("X-OpenStack-Nova-API-Version", k.told)
			h.Add("Vary", "OpenStack-API-Version")
			h.Add("Vary", "X-OpenStack-Nova-API-Version")
		}
		if a.status >= 400 && !k.refused {
			kind = "application/json; charset=UTF-8"
		}
	}
	if a.text != "" {
		kind = a.kind
		buf.Reset()
		buf.WriteString(a.text)
	}
	h.Set("Content-Type", kind)
	if a.status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(buf.Len()))
	}
	k.c.mu.Lock()
	k.c.records.update(k.seq, func(r *Request) { r.Status = a.status })
	k.c.mu.Unlock()
	k.c.log.Debug("request", zap.String("method", k.r.Method), zap.String("path", k.path), zap.Int("status", a.status), zap.String("request", k.requestID))
	w.WriteHeader(a.status)
	_, _ = w.Write(buf.Bytes())
}

// chooseVersion settles the microversion, or says why it cannot.
func (k *call) chooseVersion() (answer, bool) {
	asked := ""
	for _, v := range k.r.Header.Values("OpenStack-API-Version") {
		for one := range strings.SplitSeq(v, ",") {
			if rest, found := strings.CutPrefix(strings.TrimSpace(one), "compute "); found && asked == "" {
				asked = strings.TrimSpace(rest)
			}
		}
	}
	if asked == "" {
		asked = strings.TrimSpace(k.r.Header.Get("X-OpenStack-Nova-API-Version"))
	}
	switch asked {
	case "":
		asked = "2." + number(k.c.minVersion)
	case "latest":
		asked = "2." + number(k.c.maxVersion)
	}
	if !anyVersion.MatchString(asked) {
		return fail(400, "API Version String %.40s is of invalid format. Must be of format MajorNum.MinorNum.", asked), false
	}
	major, minor, _ := strings.Cut(asked, ".")
	n, _ := strconv.Atoi(minor)
	k.told = asked
	if major != "2" || n < k.c.minVersion || n > k.c.maxVersion {
		return fail(406, "Version %s is not supported by the API. Minimum is 2.%d and maximum is 2.%d.", asked, k.c.minVersion, k.c.maxVersion), false
	}
	k.version = n
	return answer{}, true
}

var anyVersion = regexp.MustCompile(`^[1-9][0-9]{0,3}\.(0|[1-9][0-9]{0,3})$`)
