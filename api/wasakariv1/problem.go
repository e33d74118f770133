package wasakariv1

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/api/internal/wire"
	"github.com/wasakari/wasakari/recovery"
)

// Problem is the document of an answer that is no success.
type Problem struct {
	Error Refusal `json:"error"`
}

// Refusal says why a request was not done. It is an error.
type Refusal struct {
	Code    int    `json:"code"`  // HTTP status
	Title   string `json:"title"` // of the status, when empty
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do
	// Err is a sentinel of recovery or nil; it is not sent.
	Err error `json:"-"`
}

// Error reads "message; hint".
func (e *Refusal) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "; " + e.Hint
}

// Unwrap gives the sentinel.
func (e *Refusal) Unwrap() error { return e.Err }

func refuse(code int, hint, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// Texts for what went wrong behind the API; its own words are logged, not sent.
var meanings = []struct {
	err     error
	code    int
	message string
	hint    string
}{
	{recovery.ErrUnknownOutcome, http.StatusServiceUnavailable, "the store did not answer: it may have been done or not", "look before you try again"},
	{recovery.ErrUnauthorized, http.StatusUnauthorized, "the request needs a valid token", "send it as X-Auth-Token"},
	{recovery.ErrForbidden, http.StatusForbidden, "the policy does not allow it", "ask the operator for a role that may do it"},
	{recovery.ErrNotFound, http.StatusNotFound, "there is no such thing", ""},
	{recovery.ErrInvalid, http.StatusBadRequest, "the request makes no sense", ""},
	{recovery.ErrExists, http.StatusConflict, "it is there already", ""},
	{recovery.ErrInUse, http.StatusConflict, "it is in use", ""},
	{recovery.ErrConflict, http.StatusConflict, "it was changed meanwhile, or does not allow it now", "look again and repeat the request"},
	{recovery.ErrTooLarge, http.StatusRequestEntityTooLarge, "it is too large", ""},
	{recovery.ErrQuota, http.StatusRequestEntityTooLarge, "there is no room for it", "remove what is not needed any more"},
	{recovery.ErrTimeout, http.StatusGatewayTimeout, "it took too long", "try again"},
	{recovery.ErrUnavailable, http.StatusServiceUnavailable, "the store cannot be reached now", "try again"},
	{recovery.ErrCanceled, http.StatusServiceUnavailable, "the server is shutting down", "try again"},
	{recovery.ErrLeaseLost, http.StatusServiceUnavailable, "this node has lost its place in the cluster", "try again"},
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "it took too long", "try again"},
}

// problemOf says what a client is told of an error; internal is true when it is
// not told the error's own words.
func problemOf(err error) (p Refusal, internal bool) {
	if r, ok := errors.AsType[*Refusal](err); ok {
		p = *r
	} else if held, ok := errors.AsType[*recovery.HeldError](err); ok {
		p = Refusal{Code: http.StatusConflict, Message: held.Error()}
	} else {
		internal = true
		p = Refusal{Code: http.StatusInternalServerError, Message: "something unexpected went wrong", Hint: "the log has the request's id and the reason"}
		for _, m := range meanings {
			if errors.Is(err, m.err) {
				p = Refusal{Code: m.code, Message: m.message, Hint: m.hint}
				break
			}
		}
	}
	if p.Title == "" {
		p.Title = http.StatusText(p.Code)
	}
	return p, internal
}

// fail answers with an error.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return // nobody listens
	}
	p, internal := problemOf(err)
	if internal && p.Code >= 500 {
		a.log.Error("request failed", zap.String("request_id", wire.Of(r.Context()).ID), zap.String("method", r.Method), zap.String("path", r.URL.Path), zap.Error(err))
	}
	switch p.Code {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "2")
	}
	body, _ := json.Marshal(Problem{p}) // strings and a number
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Code)
	_, _ = w.Write(append(body, '\n'))
}

// answer sends a document. A GET gets an ETag of it, and nothing more when the
// client has it.
func (a *API) answer(w http.ResponseWriter, r *http.Request, code int, doc any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		sum := sha256.Sum256(buf.Bytes())
		tag := `"` + hex.EncodeToString(sum[:12]) + `"`
		h.Set("ETag", tag)
		h.Set("Cache-Control", "private, no-cache")
		h.Add("Vary", "X-Auth-Token")
		if has(r, tag) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	w.WriteHeader(code)
	_, _ = w.Write(buf.Bytes()) // a client that went away
	return nil
}

// has reports whether the client has the document of the tag.
func has(r *http.Request, tag string) bool {
	for one := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == tag || one == "*" {
			return true
		}
	}
	return false
}
