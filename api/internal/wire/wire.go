// Package wire holds what every part of the API writes in the same way:
// answers, error bodies, and what is known about a request.
package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/wasakari/wasakari/api/auth"
)

// Names of headers.
const (
	HeaderRequestID = "X-Openstack-Request-Id"
	HeaderSimulated = "X-Wasakari-Simulated"
	HeaderNoAuth    = "X-Wasakari-No-Auth"
)

// Request is what is known about a request beside what net/http knows. The
// frame makes it; handlers may set Route, Action and Target. It belongs to the
// goroutine that serves the request.
type Request struct {
	// ID is the request's own id, req-<uuid>. GlobalID is that of the request
	// in another service that led to it, empty when none was given.
	ID, GlobalID string
	// Base is how clients reach the root of the API: scheme, host and perhaps a
	// path, without a slash at the end.
	Base string
	// Remote is the address of the client.
	Remote string
	// Caller is who asks; the zero value where no token is needed.
	Caller auth.Identity
	// Known says that the Authenticator let the caller in.
	Known bool
	// Trace is the W3C traceparent of the request, empty when there is none.
	Trace string
	// Route names the kind of request for logs and metrics, such as
	// /v1/segments/{segment}: never an id, never free text of the client.
	Route string
	// Action and Target tell the audit what was to be changed: segment.create,
	// and the uuid.
	Action, Target string
}

type (
	requestKey struct{}
	closingKey struct{}
)

// WithRequest gives a context that carries r.
func WithRequest(ctx context.Context, r *Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// Of gives what is known about the request of the context; never nil.
func Of(ctx context.Context) *Request {
	if r, ok := ctx.Value(requestKey{}).(*Request); ok {
		return r
	}
	return &Request{}
}

// WithClosing gives a context whose streams are to end when the channel is
// closed.
func WithClosing(ctx context.Context, closing <-chan struct{}) context.Context {
	return context.WithValue(ctx, closingKey{}, closing)
}

// Closing is closed when the server begins to shut down: an answer without an
// end must end then. It is nil, and so never closed, without a server.
func Closing(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(closingKey{}).(<-chan struct{})
	return c
}

// JSON answers with a document. HTML in strings stays as it is.
func JSON(w http.ResponseWriter, status int, doc any) {
	body, err := Marshal(doc)
	if err != nil {
		panic("wire: " + err.Error()) // a document of our own that is none
	}
	Bytes(w, status, "application/json", body)
}

// Marshal gives doc as JSON, with < and & as they are, no newline at the end.
func Marshal(doc any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Bytes answers with a body of a type, which an earlier Content-Type overrides.
func Bytes(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", contentType)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client went away; nothing to tell it
}

// Text answers with a line of text.
func Text(w http.ResponseWriter, status int, line string) {
	w.Header().Del("Content-Type")
	Bytes(w, status, "text/plain; charset=UTF-8", []byte(line))
}

// faultKeys name errors as Masakari does; others are a masakariFault.
var faultKeys = map[int]string{
	http.StatusBadRequest:            "badRequest",
	http.StatusUnauthorized:          "unauthorized",
	http.StatusForbidden:             "forbidden",
	http.StatusNotFound:              "itemNotFound",
	http.StatusMethodNotAllowed:      "badMethod",
	http.StatusConflict:              "conflictingRequest",
	http.StatusRequestEntityTooLarge: "overLimit",
	http.StatusTooManyRequests:       "overLimit",
	http.StatusUnsupportedMediaType:  "badMediaType",
	http.StatusNotImplemented:        "notImplemented",
	http.StatusServiceUnavailable:    "serviceUnavailable",
}

// FaultKey gives the key under which an error of the status stands.
func FaultKey(status int) string {
	if key, ok := faultKeys[status]; ok {
		return key
	}
	return "masakariFault"
}

// Fault answers with an error: {"itemNotFound": {"code": 404, "message": "…"}}.
func Fault(w http.ResponseWriter, status int, message string) {
	type fault struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	JSON(w, status, map[string]fault{FaultKey(status): {status, message}})
}

// Unexpected is the text of an answer to a request that failed for a reason
// which is in the log only.
func Unexpected(ctx context.Context) string {
	return "Unexpected API Error. The log of Wasakari tells more about request " + Of(ctx).ID + "."
}

// TooLarge answers to a body that is over the limit.
func TooLarge(w http.ResponseWriter) {
	w.Header().Set("Connection", "close") // the rest of the body is not read
	Text(w, http.StatusRequestEntityTooLarge, "Request is too large.")
}
