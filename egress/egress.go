// Package egress sends the HTTP requests of tasks: to where a rule leads and
// to addresses that are not inside, with secrets that it puts in their places
// and masks in the answer. It is the only door to the network that a task has,
// and writes every request into a log.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// Config configures a Client. The zero value is usable.
type Config struct {
	// Proxy is the URL of an HTTP proxy through which all requests go, as
	// http://[user:password@]host[:port]. It is asked to CONNECT to addresses,
	// never to names: who the request goes to is decided here. The variables
	// HTTP_PROXY and the like are not read.
	//
	// Defaults to none.
	Proxy string
	// Timeout is the default and the most for one exchange, redirects and body
	// included.
	//
	// Defaults to 30 seconds.
	Timeout time.Duration
	// AnswerBytes bounds the body of an answer, decompressed.
	//
	// Defaults to 512 KiB.
	AnswerBytes int
	// CA holds certificates in PEM that are trusted besides the system's.
	CA []byte
	// Concurrent bounds the exchanges under way of one library of one tenant;
	// more wait, and nobody waits for another's.
	//
	// Defaults to 16.
	Concurrent int
	// Logger receives one line for each request. Defaults to zap.NewNop.
	Logger *zap.Logger
	// Audit is told of each request too, one that was refused or not sent
	// included. May be nil.
	Audit func(Request)

	// Resolver finds the addresses of a name. Defaults to net.DefaultResolver.
	Resolver Resolver
	// Dial connects to an address, never to a name but for the proxy's. Defaults
	// to that of net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Resolver finds the addresses of a name. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Client sends requests. It keeps no connection and no answer from one request
// for the next one, is safe for concurrent use and needs no closing.
type Client struct {
	proxy   *url.URL
	timeout time.Duration
	answer  int
	roots   *x509.CertPool // nil: the system's
	most    int            // exchanges under way of one owner
	slots   sync.Map       // owner → chan struct{}
	log     *zap.Logger
	audited func(Request) // may be nil
	names   Resolver
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// Bounds of one exchange.
const (
	maxRedirects   = 5
	maxHeaders     = 64
	maxHeaderBytes = 32 << 10 // of a request
	maxAnswerHead  = 64 << 10 // header of an answer, in bytes
	maxBody        = 1 << 20  // of a request, secrets included
	maxShownURL    = 1024     // in the log
	maxShownError  = 2048     // in the log
)

// New makes a Client.
func New(c Config) (*Client, error) {
	x := &Client{
		timeout: c.Timeout, answer: c.AnswerBytes, log: c.Logger, audited: c.Audit, names: c.Resolver, dial: c.Dial, most: c.Concurrent,
	}
	if x.timeout <= 0 {
		x.timeout = 30 * time.Second
	}
	if x.answer <= 0 {
		x.answer = 512 << 10
	}
	if x.most <= 0 {
		x.most = 16
	}
	if x.log == nil {
		x.log = zap.NewNop()
	}
	if x.names == nil {
		x.names = net.DefaultResolver
	}
	if x.dial == nil {
		x.dial = new(net.Dialer).DialContext
	}
	if c.Proxy != "" {
		u, err := url.Parse(c.Proxy)
		if err != nil || u.Scheme != "http" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return nil, fmt.Errorf("proxy: want http://[user:password@]host[:port]: %w", recovery.ErrInvalid) // it may hold a password
		}
		x.proxy = u
	}
	if len(c.CA) > 0 {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(c.CA) {
			return nil, fmt.Errorf("ca_file: no certificate in PEM in it: %w", recovery.ErrInvalid)
		}
		x.roots = roots
	}
	return x, nil
}

// Call is one request of a task, and what the operator allows it.
type Call struct {
	// Run, Task, Library and Tenant go into the log.
	Run, Task, Library, Tenant string

	Request abi.HTTPRequestRequest
	// Rules are the requests that are granted, redirects included.
	Rules []abi.HTTPRule
	// Networks are the ranges of addresses that are granted although they are
	// inside.
	Networks []netip.Prefix
	// Secrets are those that the task may name, by their names. All of them are
	// masked in the answer.
	Secrets map[string]recovery.Secret
	// AnswerBytes bounds the body of the answer further. 0: it does not.
	AnswerBytes int
}

// Request is what is told of a request. Nothing in it is secret.
type Request struct {
	Run, Task, Library, Tenant string
	Method, URL                string
	Status                     int // 0: there was no answer
	Bytes                      int // of the answer's body
	Took                       time.Duration
	Address                    string // that was connected to; empty: none
	// Error is why it was refused, not sent or not answered; empty: it was
	// answered. Refused says that it was not sent because it may not be.
	Error   string
	Refused bool
}

// exchange is a Call under way.
type exchange struct {
	*Client
	call Call
	mask *mask
	// uncertain is true when something was sent that may change something and
	// whose outcome is not known.
	uncertain bool
}

// Do sends a request, once, and what its redirects ask for, and gives the
// answer. Whatever its status, an answer is no error. Errors are *abi.Error
// and hold no secrets; that of a request that is no GET or HEAD says whether it
// may have arrived.
func (c *Client) Do(ctx context.Context, call Call) (abi.HTTPRequestAnswer, error) {
	x := &exchange{Client: c, call: call, mask: newMask(call)}
	ans, err := x.do(ctx)
	if err == nil {
		return ans, nil
	}
	e, ok := errors.AsType[*abi.Error](err)
	if !ok {
		e = abi.Errorf(abi.ErrnoUnavailable, "%v", err)
	}
	text := e.Message
	if !reads(call.Request.Method) {
		if x.uncertain {
			text += "; the request may have arrived"
		} else {
			text += "; the request was not sent"
		}
	}
	return abi.HTTPRequestAnswer{}, &abi.Error{Code: e.Code, Message: abi.OpHTTPRequest + ": " + x.mask.text(text), Status: e.Status}
}

// Refused writes a request into the log that its caller does not send, and why.
func (c *Client) Refused(call Call, why error) {
	x := &exchange{Client: c, call: call, mask: newMask(call)}
	x.audit(call.Request.Method, call.Request.URL, &reply{}, 0, why)
}

// partly is an error of which the guest is told a part; the log has the whole.
type partly struct {
	told  *abi.Error
	whole string
}

func (e *partly) Error() string { return e.told.Code.String() + ": " + e.whole }

func (e *partly) Unwrap() error { return e.told }

// reads reports whether a method changes nothing.
func reads(method string) bool { return method == http.MethodGet || method == http.MethodHead }

func (x *exchange) do(ctx context.Context) (abi.HTTPRequestAnswer, error) {
	var none abi.HTTPRequestAnswer
	m, err := x.message()
	if x.call.Request.MaxRedirects > maxRedirects {
		err = abi.Errorf(abi.ErrnoInvalid, "max_redirects: at most %d are followed", maxRedirects)
	}
	if err != nil {
		x.audit(x.call.Request.Method, x.call.Request.URL, &reply{}, 0, err)
		return none, err
	}
	timeout := x.timeout
	if s := x.call.Request.TimeoutSeconds; s > 0 && s < int64(timeout/time.Second) {
		timeout = time.Duration(s) * time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %v: %w", timeout, context.DeadlineExceeded))
	defer cancel()
	slots := x.slotsOf(owner{x.call.Tenant, x.call.Library})
	asked := time.Now()
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		err := ended(ctx)
		x.audit(m.method, m.url.String(), &reply{}, time.Since(asked), err)
		return none, err
	}
	for hop := int64(0); ; hop++ {
		if err := x.allowed(m); err != nil {
			x.audit(m.method, m.url.String(), &reply{}, 0, err)
			return none, err
		}
		began := time.Now()
		r, err := x.send(ctx, m)
		x.audit(m.method, m.url.String(), r, time.Since(began), err)
		if err != nil {
			return none, err
		}
		next, err := x.redirect(m, r)
		switch {
		case err != nil:
			return none, err
		case next == nil || hop == x.call.Request.MaxRedirects:
			return x.answerOf(m, r), nil
		}
		m = next
	}
}

// owner is whose exchanges are counted together.
type owner struct{ tenant, library string }

// slotsOf gives an owner's slots. There are as many owners as the operator has
// libraries.
func (c *Client) slotsOf(o owner) chan struct{} {
	if s, ok := c.slots.Load(o); ok {
		return s.(chan struct{})
	}
	s, _ := c.slots.LoadOrStore(o, make(chan struct{}, c.most))
	return s.(chan struct{})
}

// allowed holds a request against the rules.
func (x *exchange) allowed(m *message) error {
	if slices.ContainsFunc(x.call.Rules, func(r abi.HTTPRule) bool { return r.Match(m.method, m.url) }) {
		return nil
	}
	return abi.Errorf(abi.ErrnoNotGranted, "%s: none of the requests that are granted", m.what())
}

// handles finds values of a query that hold a secret's handle, and logins
// those that stand before a host.
var (
	handles = regexp.MustCompile(`([?&;][^=&;#\s]*=)[^&;#\s]*(?:\$|%24)secret[^&;#\s]*`)
	logins  = regexp.MustCompile(`(//)[^/?#\s]*(@)`)
)

// shown is a text for the log, of at most so many bytes and without secrets.
func (x *exchange) shown(s string, most int) string {
	s = strings.ToValidUTF8(x.mask.text(s), "\uFFFD")
	for _, re := range []*regexp.Regexp{handles, logins} {
		s = re.ReplaceAllString(s, "${1}"+stars+"${2}")
	}
	return recovery.Shorten(s, most)
}

// audit writes the request into the log, one that was refused too.
func (x *exchange) audit(method, address string, r *reply, took time.Duration, err error) {
	q := Request{
		Run: x.call.Run, Task: x.call.Task, Library: x.call.Library, Tenant: x.call.Tenant,
		Method: method, URL: x.shown(address, maxShownURL), Status: r.status, Bytes: len(r.body), Took: took, Address: r.address,
	}
	if err != nil {
		q.Error = x.shown(err.Error(), maxShownError)
		e, ok := errors.AsType[*abi.Error](err)
		q.Refused = ok && (e.Code == abi.ErrnoNotGranted || e.Code == abi.ErrnoForbidden)
	}
	if x.audited != nil {
		x.audited(q)
	}
	fields := []zap.Field{
		zap.String("run", q.Run), zap.String("task", q.Task), zap.String("library", q.Library), zap.String("tenant", q.Tenant),
		zap.String("method", q.Method), zap.String("url", q.URL),
	}
	if q.Status != 0 {
		fields = append(fields, zap.Int("status", q.Status))
	}
	fields = append(fields, zap.Int("bytes", q.Bytes), zap.Duration("took", q.Took), zap.String("address", q.Address))
	level := zap.InfoLevel
	if q.Error != "" {
		fields = append(fields, zap.String("error", q.Error))
		if e, ok := errors.AsType[*abi.Error](err); ok && e.Code == abi.ErrnoNotGranted {
			level = zap.WarnLevel
		}
	}
	x.log.Log(level, "http request", fields...)
}

// answerOf makes the answer, without secrets.
func (x *exchange) answerOf(m *message, r *reply) abi.HTTPRequestAnswer {
	ans := abi.HTTPRequestAnswer{Status: int64(r.status), URL: x.mask.text(m.url.String()), Headers: map[string]string{}}
	for name, values := range r.header {
		sep := ", "
		if name == "Set-Cookie" {
			sep = "\n"
		}
		ans.Headers[x.mask.text(name)] = strings.ToValidUTF8(x.mask.text(strings.Join(values, sep)), "\uFFFD")
	}
	body := x.mask.bytes(r.body)
	if utf8.Valid(body) {
		ans.Body = string(body)
	} else {
		ans.BodyBase64 = base64.StdEncoding.EncodeToString(body)
	}
	return ans
}

// ended says why ctx ended.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) || errors.Is(cause, recovery.ErrTimeout) {
		return abi.Errorf(abi.ErrnoTimeout, "%s", strings.TrimSuffix(cause.Error(), ": "+context.DeadlineExceeded.Error()))
	}
	return abi.Errorf(abi.ErrnoCanceled, "%v", cause)
}

// tlsConfig is what a connection to the host of m is verified with.
func (x *exchange) tlsConfig(m *message) *tls.Config {
	t := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x.roots, ServerName: m.url.Hostname(), NextProtos: []string{"h2", "http/1.1"}}
	if m.tls.roots != nil {
		t.RootCAs = m.tls.roots
	}
	if m.tls.client != nil {
		t.Certificates = []tls.Certificate{*m.tls.client}
	}
	return t
}
