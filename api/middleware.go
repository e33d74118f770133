package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/api/internal/wire"
	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/recovery"
)

var (
	requestIDPattern = regexp.MustCompile(`^req-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	tracePattern     = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
)

// outer is what is done for every request, whoever serves it.
func (s *server) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		info := &wire.Request{
			ID:     "req-" + uuid.NewString(),
			Remote: s.remote(r),
			Base:   s.base(r),
			Route:  "other",
		}
		if id := r.Header.Get(wire.HeaderRequestID); requestIDPattern.MatchString(id) {
			info.GlobalID = id
		}
		if s.cfg.Trace != nil {
			info.Trace = s.cfg.Trace(r.Context())
		} else if t := r.Header.Get("Traceparent"); tracePattern.MatchString(t) {
			info.Trace = t
		}
		r = r.WithContext(wire.WithRequest(r.Context(), info))
		rec := &recorder{ResponseWriter: w}
		rec.Header().Set(wire.HeaderRequestID, info.ID)
		if s.cfg.Simulated {
			rec.Header().Set(wire.HeaderSimulated, "true")
		}
		if s.cfg.NoAuth {
			rec.Header().Set(wire.HeaderNoAuth, "true")
		}
		defer s.done(rec, r, info, start)
		defer s.recover(rec, r)
		if s.cfg.NoAuth && !fromHere(r) {
			wire.Fault(rec, http.StatusForbidden, "Without authentication only requests of this machine are answered: no Origin header, and a Host that is localhost or a loopback address.")
			return
		}
		next.ServeHTTP(rec, r)
	})
}

// recover answers for a handler that panicked.
func (s *server) recover(rec *recorder, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
		panic(v)
	}
	s.log.Error("request panicked", zap.String("request_id", wire.Of(r.Context()).ID), zap.String("method", r.Method),
		zap.String("path", r.URL.Path), zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
	if rec.status != 0 {
		panic(http.ErrAbortHandler) // the answer has begun: the client must not take it for whole
	}
	wire.Fault(rec, http.StatusInternalServerError, wire.Unexpected(r.Context()))
}

// done tells log, metrics and audit.
func (s *server) done(rec *recorder, r *http.Request, info *wire.Request, start time.Time) {
	status, took := rec.status, time.Since(start)
	if status == 0 {
		status = http.StatusOK
	}
	if ce := s.log.Check(zap.InfoLevel, "request"); ce != nil {
		fields := []zap.Field{
			zap.String("request_id", info.ID), zap.String("method", r.Method), zap.String("path", clip(r.URL.Path)),
			zap.Int("status", status), zap.Int64("bytes", rec.bytes), zap.Duration("took", took), zap.String("remote", info.Remote),
		}
		if r.URL.RawQuery != "" {
			fields = append(fields, zap.String("query", clip(r.URL.RawQuery)))
		}
		if info.GlobalID != "" {
			fields = append(fields, zap.String("global_request_id", info.GlobalID))
		}
		if info.Caller.UserID != "" {
			fields = append(fields, zap.String("user", info.Caller.UserID), zap.String("project", info.Caller.ProjectID))
		}
		ce.Write(fields...)
	}
	if s.cfg.Observe != nil {
		s.cfg.Observe(Answer{Method: r.Method, Route: info.Route, Status: status, Took: took})
	}
	if changes(r) || info.Action != "" {
		c := Change{
			Time: start.UTC(), User: info.Caller.UserID, UserName: info.Caller.UserName, Project: info.Caller.ProjectID,
			Remote: info.Remote, Action: info.Action, Target: info.Target, Status: status,
			RequestID: info.ID, GlobalID: info.GlobalID,
		}
		if c.Action == "" {
			c.Action = r.Method + " " + info.Route
		}
		switch {
		case status >= 500:
			c.Outcome = "failed"
		case status >= 400:
			c.Outcome = "refused"
		default:
			c.Outcome = "done"
		}
		if !info.Known && !s.strangers.note(&c) {
			return
		}
		s.cfg.Audit(r.Context(), c)
	}
}

// Lines in the audit about requests of nobody who is known, which anybody can
// send: so many in a period, the rest are counted.
const (
	strangerLines  = 20
	strangerPeriod = time.Minute
)

// strangers counts requests that were refused before anybody knew whose they
// are.
type strangers struct {
	mu           sync.Mutex
	since        time.Time
	lines, quiet int
}

// note reports whether a request gets a line, and writes into it how many before
// it got none.
func (s *strangers) note(c *Change) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Time.Sub(s.since) >= strangerPeriod {
		if s.quiet > 0 {
			c.Message = fmt.Sprintf("%d requests of callers who were not known got no line since %s", s.quiet, s.since.Format(time.RFC3339))
		}
		s.since, s.lines, s.quiet = c.Time, 0, 0
	}
	if s.lines >= strangerLines {
		s.quiet++
		return false
	}
	if s.lines++; s.lines == strangerLines {
		c.Message = strings.TrimPrefix(c.Message+"; further ones within a minute are only counted", "; ")
	}
	return true
}

// audit is the default of Config.Audit.
func (s *server) audit(_ context.Context, c Change) {
	s.log.Named("audit").Info("change", zap.String("action", c.Action), zap.String("target", clip(c.Target)), zap.String("outcome", c.Outcome),
		zap.Int("status", c.Status), zap.String("message", c.Message), zap.String("user", c.User), zap.String("user_name", c.UserName), zap.String("project", c.Project),
		zap.String("remote", c.Remote), zap.String("request_id", c.RequestID), zap.String("global_request_id", c.GlobalID))
}

// changes reports whether a request is one for the audit.
func changes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return below(r.URL.Path, "/v1") || below(r.URL.Path, "/wasakari/v1")
}

const clipAt = 512

// clip bounds what of a client's text goes into a log.
func clip(s string) string {
	if len(s) > clipAt {
		return s[:clipAt] + "…"
	}
	return s
}

// authenticated lets a request through that has a good token and a body that
// is not too large.
func (s *server) authenticated(w http.ResponseWriter, r *http.Request, maxBody int64, next http.Handler) {
	if r.ContentLength > maxBody {
		tooLarge(w, r, maxBody)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	id, err := s.cfg.Authenticator.Authenticate(r.Context(), r)
	switch {
	case err == nil:
	case errors.Is(err, recovery.ErrUnauthorized):
		s.log.Debug("no good token", zap.String("request_id", wire.Of(r.Context()).ID), zap.Error(err))
		s.unauthorized(w)
		return
	default:
		s.log.Error("token not checked", zap.String("request_id", wire.Of(r.Context()).ID), zap.Error(err))
		wire.Fault(w, http.StatusServiceUnavailable, "The Keystone service is temporarily unavailable.")
		return
	}
	info := wire.Of(r.Context())
	info.Caller, info.Known = id, true
	next.ServeHTTP(w, r)
}

// tooLarge answers to a body that is over the limit, in the form of the API that
// it is for.
func tooLarge(w http.ResponseWriter, r *http.Request, most int64) {
	if !below(r.URL.Path, wasakariv1.Prefix) {
		wire.TooLarge(w)
		return
	}
	w.Header().Set("Connection", "close") // the rest of the body is not read
	p := wasakariv1.Refusal{
		Code: http.StatusRequestEntityTooLarge, Title: http.StatusText(http.StatusRequestEntityTooLarge),
		Message: fmt.Sprintf("the body has more than %d bytes", most),
	}
	if r.URL.Path == wasakariv1.Prefix+"/modules" {
		p.Message, p.Hint = "it is larger than the server takes", wasakariv1.HintTooLarge
	}
	wire.JSON(w, p.Code, wasakariv1.Problem{Error: p})
}

// unauthorized answers as Keystone's middleware does.
func (s *server) unauthorized(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Keystone uri="`+strings.ReplaceAll(s.cfg.WWWAuthenticateURI, `"`, "%22")+`"`)
	wire.JSON(w, http.StatusUnauthorized, map[string]any{"error": struct {
		Code    int    `json:"code"`
		Title   string `json:"title"`
		Message string `json:"message"`
	}{http.StatusUnauthorized, "Unauthorized", "The request you have made requires authentication."}})
}

// fromHere reports whether a request is from a program of this machine, as
// far as its headers tell: a web page sends an Origin, and one that got here
// by a name of its own (DNS rebinding) sends that name as Host.
func fromHere(r *http.Request) bool {
	if len(r.Header.Values("Origin")) > 0 {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}

// remote gives the client's address.
func (s *server) remote(r *http.Request) string {
	if s.cfg.ProxyHeaders {
		first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ",")
		if addr, err := netip.ParseAddr(strings.TrimSpace(first)); err == nil {
			return addr.String()
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

var hostPattern = regexp.MustCompile(`^[A-Za-z0-9._\-\[\]:%]{1,255}$`)

// base gives the root of the API as the client reaches it.
func (s *server) base(r *http.Request) string {
	u := url.URL{Scheme: "http", Host: r.Host}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	if s.cfg.ProxyHeaders {
		if p := first(r, "X-Forwarded-Proto"); p == "http" || p == "https" {
			u.Scheme = p
		}
		if h := first(r, "X-Forwarded-Host"); hostPattern.MatchString(h) {
			u.Host = h
		}
		if p := first(r, "X-Forwarded-Prefix"); strings.HasPrefix(p, "/") {
			u.Path = strings.TrimRight(p, "/")
		}
	}
	if s.cfg.LinkPrefix != "" {
		if p, err := url.Parse(s.cfg.LinkPrefix); err == nil {
			u.Scheme, u.Host, u.Path = p.Scheme, p.Host, strings.TrimRight(p.Path, "/")+u.Path
		}
	}
	return u.String()
}

// first gives the first of a header's values, which the proxy next to the
// client wrote.
func first(r *http.Request, name string) string {
	v, _, _ := strings.Cut(r.Header.Get(name), ",")
	return strings.TrimSpace(v)
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader keeps the final status.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController through.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
