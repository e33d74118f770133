package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// reply is what came back; address is there even when nothing came.
type reply struct {
	status  int
	header  http.Header
	body    []byte
	address string
}

// send sends one request over a connection of its own and reads the answer.
// The reply is never nil.
func (x *exchange) send(ctx context.Context, m *message) (*reply, error) {
	r := &reply{}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // closes the connection
	conn, err := x.connect(ctx, m, r)
	if err != nil {
		return r, err
	}
	// The connection is shared with nobody, and what was checked for it holds for
	// this request. There is no second one: nothing is sent again.
	var used atomic.Bool
	once := func(context.Context, string, string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errors.New("the connection broke")
		}
		return conn, nil
	}
	t := &http.Transport{
		DialContext: once, DialTLSContext: once, ForceAttemptHTTP2: true, DisableKeepAlives: true,
		DisableCompression:     true, // done here, so that nothing comes in that is not looked into
		MaxResponseHeaderBytes: maxAnswerHead,
	}
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, m.method, m.url.String(), http.NoBody)
	if err != nil {
		return r, abi.Errorf(abi.ErrnoInvalid, "%v", err)
	}
	req.Header = m.header.Clone()
	if len(m.body) > 0 {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(m.body)), int64(len(m.body))
	}
	x.uncertain = x.uncertain || !reads(m.method)
	resp, err := t.RoundTrip(req)
	if err != nil {
		return r, failure(ctx, m, err)
	}
	defer resp.Body.Close() //nolint:errcheck // everything needed was read
	r.status, r.header = resp.StatusCode, resp.Header
	if r.body, err = x.read(resp); err != nil {
		return r, failure(ctx, m, err)
	}
	return r, nil
}

// read reads a body, decompressed, up to its limit.
func (x *exchange) read(resp *http.Response) ([]byte, error) {
	limit := x.answer
	if n := x.call.AnswerBytes; n > 0 && n < limit {
		limit = n
	}
	// Of an empty archive whose parts are endless nothing comes out.
	in := &bounded{r: resp.Body, left: int64(limit) + 64<<10, limit: limit}
	var body io.Reader = in
	switch enc := strings.ToLower(strings.TrimSpace(strings.Join(resp.Header.Values("Content-Encoding"), ","))); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		resp.Header.Del("Content-Encoding")
		resp.Header.Del("Content-Length")
		z, err := gzip.NewReader(in)
		if errors.Is(err, io.EOF) {
			return nil, nil // no body, such as of HEAD or 304
		}
		if err != nil {
			return nil, err
		}
		body = z
	default:
		return nil, abi.Errorf(abi.ErrnoUnavailable, "the answer is encoded as %q, for which it was not asked", recovery.Shorten(enc, 64))
	}
	b, err := io.ReadAll(io.LimitReader(body, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = answerTooLarge(limit)
	}
	return b, err
}

func answerTooLarge(limit int) error {
	return abi.Errorf(abi.ErrnoTooLarge, "the body of the answer has more than %d bytes; ask for less, or raise [http] answer_kib", limit)
}

// bounded refuses more than left bytes.
type bounded struct {
	r     io.Reader
	left  int64
	limit int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, answerTooLarge(b.limit)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// failure says in words, and by its code, why a request did not come to an
// answer.
func failure(ctx context.Context, m *message, err error) error {
	if e, ok := errors.AsType[*abi.Error](err); ok {
		return e
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	host := m.url.Host
	if text := tlsFailure(host, err); text != "" {
		return abi.Errorf(abi.ErrnoUnavailable, "%s", text)
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "server response headers exceeded"), strings.Contains(text, "header list"):
		return abi.Errorf(abi.ErrnoTooLarge, "the header of %s's answer has more than %d bytes", host, maxAnswerHead)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		text = "the connection ended before the answer did"
	default:
		if oe, ok := errors.AsType[*net.OpError](err); ok { // without addresses, ours and the proxy's among them
			return &partly{abi.Errorf(abi.ErrnoUnavailable, "%s: %v", host, oe.Err), host + ": " + text}
		}
	}
	return abi.Errorf(abi.ErrnoUnavailable, "%s: %s", host, text)
}

// tlsFailure says what is wrong with TLS, "" when it is not that.
func tlsFailure(host string, err error) string {
	var (
		unknown  x509.UnknownAuthorityError
		name     x509.HostnameError
		invalid  x509.CertificateInvalidError
		record   tls.RecordHeaderError
		verified *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &unknown):
		return fmt.Sprintf("the certificate of %s is signed by an authority that is not known; name its CA in tls.ca, or in [http] ca_file", host)
	case errors.As(err, &name):
		return fmt.Sprintf("the certificate of %s is for other names: %s", host, recovery.Shorten(strings.TrimPrefix(name.Error(), "x509: "), 512))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the certificate of %s has expired or is not valid yet: valid from %s to %s", host,
			invalid.Cert.NotBefore.UTC().Format(time.RFC3339), invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
	case errors.As(err, &record):
		return fmt.Sprintf("%s does not speak TLS on this port", host)
	case errors.As(err, &verified):
		return fmt.Sprintf("the certificate of %s is not accepted: %s", host, recovery.Shorten(strings.TrimPrefix(verified.Err.Error(), "x509: "), 512))
	case strings.Contains(err.Error(), "tls: "):
		_, text, _ := strings.Cut(err.Error(), "tls: ")
		return fmt.Sprintf("TLS with %s: %s", host, recovery.Shorten(text, 512))
	}
	return ""
}

// redirect gives the request that a reply asks for; nil when it asks for none,
// or for one that is not made without the task's word.
func (x *exchange) redirect(m *message, r *reply) (*message, error) {
	location := r.header.Get("Location")
	if x.call.Request.MaxRedirects == 0 || location == "" {
		return nil, nil
	}
	next := *m
	switch r.status {
	case http.StatusMovedPermanently, http.StatusFound:
		switch m.method {
		case http.MethodGet, http.MethodHead:
		case http.MethodPost:
			next.method = http.MethodGet // as all clients do
		default:
			return nil, nil
		}
	case http.StatusSeeOther:
		if m.method != http.MethodHead {
			next.method = http.MethodGet
		}
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	wrong := func(err error) error {
		e := abi.Errorf(abi.ErrnoForbidden, "%s redirects to where no request goes: %v", m.what(), err)
		x.audit(next.method, location, &reply{}, 0, e)
		return e
	}
	if len(location) > abi.MaxURL {
		return nil, wrong(fmt.Errorf("the URL has %d bytes", len(location)))
	}
	to, err := m.url.Parse(location)
	if err != nil {
		return nil, wrong(errors.New("it is no URL"))
	}
	location = to.String()
	to.Fragment, to.RawFragment = "", ""
	if next.url, err = abi.ParseHTTPURL(to.String()); err != nil {
		return nil, wrong(err)
	}
	other := abi.HTTPOrigin(next.url) != abi.HTTPOrigin(m.url)
	if other && next.method == m.method && len(m.body) > 0 {
		return nil, nil
	}
	next.header = m.header.Clone()
	if next.method != m.method {
		next.body = nil
		for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Language", "Content-Location"} {
			next.header.Del(name)
		}
	}
	if other {
		next.header.Del("Authorization")
		next.header.Del("Cookie")
		for name := range m.secret {
			next.header.Del(name)
		}
		next.tls.roots, next.tls.client = nil, nil
	}
	return &next, nil
}
