package openstack

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

const (
	maxBody     = 64 << 20  // bytes of one answer
	maxList     = 512 << 20 // bytes of all pages of one list: some 250 000 servers
	maxAttempts = 4         // of one read, by default
	maxPause    = 8 * time.Second
	// A cloud that asks for a longer pause than this is as good as away.
	maxRetryAfter = 30 * time.Second
)

// kind says how a request may be treated; it travels in the context, because
// gophercloud stands between.
type kind int

const (
	login  kind = iota // to Keystone: may be repeated, is not counted
	read               // to Nova: may be repeated
	change             // to Nova: sent once
	aside              // to Placement: may be repeated, is not counted
)

type kindKey struct{}

func withKind(ctx context.Context, k kind) context.Context {
	return context.WithValue(ctx, kindKey{}, k)
}

// lostError is a request without an answer.
type lostError struct {
	err error
	// sent is false when it is certain that nothing went out.
	sent bool
	// late is true when the time for it was over: Options.Timeout's, or the
	// caller's.
	late bool
}

func (e *lostError) Error() string { return e.err.Error() }

func (e *lostError) Unwrap() error { return e.err }

// transport bounds each request, counts, and repeats reads.
//
// It speaks HTTP/1.1 only: with one request on a connection at a time there is
// no stream whose fate a closing server leaves open. On an idle connection that
// was closed meanwhile net/http repeats, of its own accord, reads, and changes
// only when it had not written a byte of them; that sends no change twice.
type transport struct {
	next     http.RoundTripper
	timeout  time.Duration
	backoff  time.Duration
	attempts int // of one read
	log      *zap.Logger
	calls    atomic.Int64
	observe  func(service string, req *http.Request) (*http.Request, func(int, http.Header, error)) // may be nil
}

// RoundTrip reads the whole answer, so that the timeout covers it and an
// answer that breaks off can be asked for again.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	k, _ := req.Context().Value(kindKey{}).(kind)
	start := time.Now()
	for attempt := 1; ; attempt++ {
		resp, err := t.once(req, k)
		if k == change || attempt >= t.attempts || time.Since(start) > 2*t.timeout || !mayPass(req.Context(), resp, err) {
			return resp, err
		}
		pause, ok := t.pause(attempt, resp)
		if deadline, limited := req.Context().Deadline(); !ok || limited && time.Until(deadline) < pause {
			return resp, err
		}
		fields := []zap.Field{zap.String("method", req.Method), zap.String("path", req.URL.Path), zap.Int("attempt", attempt), zap.Duration("pause", pause)}
		if err != nil {
			fields = append(fields, zap.Error(err))
		} else {
			fields = append(fields, zap.Int("status", resp.StatusCode))
		}
		t.log.Debug("read is repeated", fields...)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-req.Context().Done():
			timer.Stop()
			return resp, err
		}
	}
}

// mayPass reports whether a read that ended so may end otherwise next time.
func mayPass(ctx context.Context, resp *http.Response, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if err == nil {
		return resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500
	}
	var cert *tls.CertificateVerificationError
	return !errors.Is(err, recovery.ErrTooLarge) && !errors.As(err, &cert)
}

// pause says how long to wait before the next attempt; false: not at all, give
// up.
func (t *transport) pause(attempt int, resp *http.Response) (time.Duration, bool) {
	if resp != nil {
		if d, ok := retryAfter(resp.Header.Get("Retry-After")); ok {
			return d, d <= maxRetryAfter
		}
	}
	d := min(t.backoff<<(attempt-1), maxPause)
	return d/2 + rand.N(d/2+1), true //nolint:gosec // spreads load, guards nothing
}

func retryAfter(value string) (time.Duration, bool) {
	if n, err := strconv.Atoi(value); err == nil && n >= 0 {
		return time.Duration(min(n, 1<<20)) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at)), true
	}
	return 0, false
}

func (t *transport) once(req *http.Request, k kind) (*http.Response, error) {
	if t.observe == nil {
		return t.exchange(req, k)
	}
	req, done := t.observe(k.service(), req)
	resp, err := t.exchange(req, k)
	if err != nil {
		done(0, nil, err)
		return nil, err
	}
	done(resp.StatusCode, resp.Header, nil)
	return resp, nil
}

// service names who gets a request of the kind.
func (k kind) service() string {
	switch k {
	case login:
		return "keystone"
	case aside:
		return "placement"
	}
	return "nova"
}

func (t *transport) exchange(req *http.Request, k kind) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), t.timeout)
	defer cancel()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		sent.Store(true)
		if k == read || k == change {
			t.calls.Add(1)
		}
	}})
	r := req.Clone(ctx)
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		r.Body = body
	}
	lost := func(err error) error {
		// net/http repeats a change only when nothing was written, so an error
		// of dialling means that nothing ever was.
		var op *net.OpError
		dialling := errors.As(err, &op) && op.Op == "dial"
		return &lostError{err: err, sent: sent.Load() && !dialling, late: errors.Is(ctx.Err(), context.DeadlineExceeded)}
	}
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, lost(err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	_ = resp.Body.Close()
	switch {
	case k == change && err != nil: // the status says what became of it
	case err != nil:
		return nil, lost(err)
	case len(body) > maxBody:
		return nil, fmt.Errorf("answer of more than %d MiB: %w", maxBody>>20, recovery.ErrTooLarge)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	return resp, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections through.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// httpClient makes the client that talks to Keystone and Nova alike.
func (o Options) httpClient() (http.Client, *transport, error) {
	cfg, err := o.tlsConfig()
	if err != nil {
		return http.Client{}, nil, err
	}
	t := &transport{
		timeout: o.Timeout, backoff: o.Backoff, attempts: o.Attempts, log: o.Logger, observe: o.Observe,
		next: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSClientConfig:     cfg,
			TLSHandshakeTimeout: 10 * time.Second,
			MaxIdleConns:        256,
			MaxIdleConnsPerHost: 64,
			MaxConnsPerHost:     128,
			// Below the 5 s after which web servers close an idle connection: a
			// change that meets a closed one has an unknown outcome.
			IdleConnTimeout:        4 * time.Second,
			MaxResponseHeaderBytes: 1 << 20,
		},
	}
	return http.Client{Transport: t, CheckRedirect: checkRedirect}, t, nil
}

// checkRedirect follows reads within one origin only: a change would be sent
// twice, and the token would go to whom the answer names.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	if first.Method != http.MethodGet || len(via) > 3 || req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host {
		return http.ErrUseLastResponse
	}
	return nil
}

// tlsConfig reads the files. Errors wrap recovery.ErrInvalid and name the file.
func (o Options) tlsConfig() (*tls.Config, error) {
	cfg := new(tls.Config)
	if o.tls != nil {
		cfg = o.tls.Clone()
	}
	cfg.MinVersion = tls.VersionTLS12
	cfg.InsecureSkipVerify = cfg.InsecureSkipVerify || o.Insecure
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("CA file: %w: %w", recovery.ErrInvalid, err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA file %s: %w: no PEM certificate in it", o.CAFile, recovery.ErrInvalid)
		}
		cfg.RootCAs = pool
	}
	if o.CertFile != "" {
		key := o.KeyFile
		if key == "" {
			key = o.CertFile
		}
		pair, err := tls.LoadX509KeyPair(o.CertFile, key)
		if err != nil {
			return nil, fmt.Errorf("client certificate %s with key %s: %w: %w", o.CertFile, key, recovery.ErrInvalid, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
