package egress_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
)

func unchanged(*x509.Certificate) {}

func TestRedirects(t *testing.T) {
	const api, other = "https://api.example.com", "https://other.example.com"
	tests := []struct {
		name     string
		method   string
		body     string
		status   int
		location string
		follow   int64
		// seen is what the servers saw after the first request.
		seen    []string
		status2 int64 // of the answer
		wantErr string
	}{
		{name: "none are followed unless asked", method: "GET", status: 302, location: "/v1/b", status2: 302},
		{name: "GET 301", method: "GET", status: 301, location: "/v1/b", follow: 1, seen: []string{"GET api.example.com/v1/b "}, status2: 200},
		{name: "GET 308", method: "GET", status: 308, location: "b?c=d#e", follow: 1, seen: []string{"GET api.example.com/v1/b?c=d "}, status2: 200},
		{name: "HEAD 303 stays HEAD", method: "HEAD", status: 303, location: "/v1/b", follow: 1, seen: []string{"HEAD api.example.com/v1/b "}, status2: 200},
		{name: "POST 302 becomes GET", method: "POST", body: "x", status: 302, location: "/v1/b", follow: 1, seen: []string{"GET api.example.com/v1/b "}, status2: 200},
		{name: "POST 303 becomes GET", method: "POST", body: "x", status: 303, location: "/v1/b", follow: 1, seen: []string{"GET api.example.com/v1/b "}, status2: 200},
		{name: "POST 307 within the origin", method: "POST", body: "x", status: 307, location: "/v1/b", follow: 1, seen: []string{"POST api.example.com/v1/b x"}, status2: 200},
		{name: "POST 307 to another origin is the answer", method: "POST", body: "x", status: 307, location: other + "/v1/b", follow: 1, status2: 307},
		{name: "POST 303 to another origin", method: "POST", body: "x", status: 303, location: other + "/v1/b", follow: 1, seen: []string{"GET other.example.com/v1/b "}, status2: 200},
		{name: "PUT 302 is the answer", method: "PUT", body: "x", status: 302, location: "/v1/b", follow: 1, status2: 302},
		{name: "DELETE 301 is the answer", method: "DELETE", status: 301, location: "/v1/b", follow: 1, status2: 301},
		{name: "304 is the answer", method: "GET", status: 304, location: "/v1/b", follow: 1, status2: 304},
		{name: "no location", method: "GET", status: 302, follow: 1, status2: 302},
		{
			name: "round and round", method: "GET", status: 302, location: "/v1/a", follow: 3, status2: 302,
			seen: []string{"GET api.example.com/v1/a ", "GET api.example.com/v1/a ", "GET api.example.com/v1/a "},
		},
		{
			name: "out of the rules", method: "GET", status: 302, location: "/v2/b", follow: 1,
			wantErr: "not_granted: http.request: GET https://api.example.com/v2/b: none of the requests that are granted",
		},
		{
			name: "out of the rules, after a change", method: "POST", body: "x", status: 303, location: "https://evil.example/", follow: 1,
			wantErr: "not_granted: http.request: GET https://evil.example/: none of the requests that are granted; the request may have arrived",
		},
		{
			name: "to the clear", method: "GET", status: 302, location: "http://api.example.com/v1/b", follow: 1,
			wantErr: "not_granted: http.request: GET http://api.example.com/v1/b: none of the requests that are granted",
		},
		{
			name: "inside", method: "GET", status: 302, location: "https://inside.example.com/", follow: 1,
			wantErr: "forbidden: http.request: inside.example.com: 169.254.169.254 is an address of the cloud's metadata; to allow it, the operator grants net:169.254.169.254/32",
		},
		{
			name: "inside by address", method: "GET", status: 302, location: "https://127.0.0.1/", follow: 1,
			wantErr: "forbidden: http.request: 127.0.0.1: 127.0.0.1 is a loopback address; to allow it, the operator grants net:127.0.0.1/32",
		},
		{
			name: "other scheme", method: "GET", status: 302, location: "file:///etc/passwd", follow: 1,
			wantErr: "forbidden: http.request: GET https://api.example.com/v1/a redirects to where no request goes: url: want one that begins with https:// or http://",
		},
		{
			name: "odd address", method: "GET", status: 302, location: "https://2130706433/", follow: 1,
			wantErr: `forbidden: http.request: GET https://api.example.com/v1/a redirects to where no request goes: url: host "2130706433": a name does not end with a number; an IPv4 address has four decimal numbers without leading zeros`,
		},
		{
			name: "with a user", method: "GET", status: 302, location: "https://u:p@api.example.com/", follow: 1,
			wantErr: "forbidden: http.request: GET https://api.example.com/v1/a redirects to where no request goes: url: a user or password in it is not allowed; use basic",
		},
		{name: "too many asked for", method: "GET", status: 302, location: "/v1/b", follow: 6, wantErr: "invalid: http.request: max_redirects: at most 5 are followed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.rules("* https://api.example.com/v1/*", "* https://other.example.com/*", "* https://inside.example.com/*", "* https://127.0.0.1/*")
			w.names["inside.example.com"] = [][]string{{"169.254.169.254"}}
			w.routes["169.254.169.254:443"] = "127.0.0.1:1"
			var seen []string
			serve := func(rw http.ResponseWriter, r *http.Request) {
				seen = append(seen, r.Method+" "+r.Host+r.RequestURI+" "+string(slurp(r)))
				if r.URL.Path == "/v1/a" {
					if tt.location != "" {
						rw.Header().Set("Location", tt.location)
					}
					rw.WriteHeader(tt.status)
				}
			}
			w.serve(public+":443", serve)
			w.serve("198.41.0.5:443", serve)
			w.call.Request = abi.HTTPRequestRequest{Method: tt.method, URL: api + "/v1/a", Body: tt.body, MaxRedirects: tt.follow}
			if tt.wantErr != "" {
				w.refused(tt.wantErr)
				if n := len(w.lines()); n != len(seen)+1 {
					t.Errorf("%d lines in the log for %d requests and one that was refused", n, len(seen))
				}
				return
			}
			ans := w.good()
			if ans.Status != tt.status2 {
				t.Errorf("status = %d, want %d", ans.Status, tt.status2)
			}
			if got := seen[1:]; !slices.Equal(got, tt.seen) {
				t.Errorf("seen %q, want %q", got, tt.seen)
			}
			if n := w.logs.FilterMessage("http request").Len(); n != len(seen) {
				t.Errorf("%d lines in the log for %d requests", n, len(seen))
			}
		})
	}
}

func TestSecretsStayBehindAtARedirect(t *testing.T) {
	w := newWorld(t)
	w.rules("* https://api.example.com/*", "* https://other.example.com/*")
	w.secret("acme.token", plainToken, "https://api.example.com", "header:X-Token", "basic")
	var got []http.Header
	serve := func(rw http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header)
		switch r.URL.Path {
		case "/a":
			http.Redirect(rw, r, "/b", http.StatusFound)
		case "/b":
			http.Redirect(rw, r, "https://other.example.com/c", http.StatusFound)
		}
	}
	w.serve(public+":443", serve)
	w.serve("198.41.0.5:443", serve)
	w.call.Request = abi.HTTPRequestRequest{
		Method: "GET", URL: "https://api.example.com/a", MaxRedirects: 5, Basic: &abi.HTTPBasic{User: abi.Text{Plain: "me"}, Password: handle("acme.token")},
		Headers: map[string]abi.Text{"X-Token": handle("acme.token"), "Cookie": {Plain: "a=b"}, "X-Plain": {Plain: "1"}},
	}
	w.good()
	for i, want := range []bool{true, true, false} {
		for _, name := range []string{"X-Token", "Authorization", "Cookie"} {
			if there := got[i].Get(name) != ""; there != want {
				t.Errorf("request %d has %s: %t, want %t", i, name, there, want)
			}
		}
		if got[i].Get("X-Plain") != "1" {
			t.Errorf("request %d lost X-Plain", i)
		}
	}
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

func TestAnswersAreBounded(t *testing.T) {
	const limit = 100 << 10
	const tooLarge = "too_large: http.request: the body of the answer has more than 102400 bytes; ask for less, or raise [http] answer_kib"
	bomb := zipped(make([]byte, 8<<20))
	empty := zipped(nil)
	tests := []struct {
		name    string
		serve   http.HandlerFunc
		want    string // of the body
		wantErr string
		h2Err   string // instead, when the protocol words it otherwise
	}{
		{name: "at the limit", serve: func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(make([]byte, limit)) }, want: strings.Repeat("\x00", limit)},
		{name: "above the limit", serve: func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(make([]byte, limit+1)) }, wantErr: tooLarge},
		{name: "without end", serve: func(rw http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := rw.Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		}, wantErr: tooLarge},
		{name: "compressed", serve: func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Encoding", r.Header.Get("Accept-Encoding"))
			_, _ = rw.Write(zipped([]byte("hello")))
		}, want: "hello"},
		{name: "bomb", serve: func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			_, _ = rw.Write(bomb)
		}, wantErr: tooLarge},
		{name: "parts of nothing without end", serve: func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			for r.Context().Err() == nil {
				if _, err := rw.Write(empty); err != nil {
					return
				}
			}
		}, wantErr: tooLarge},
		{name: "compressed twice", serve: func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip, gzip")
		}, wantErr: `unavailable: http.request: the answer is encoded as "gzip, gzip", for which it was not asked`},
		{name: "another encoding", serve: func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Encoding", "br")
		}, wantErr: `unavailable: http.request: the answer is encoded as "br", for which it was not asked`},
		{name: "compressed nothing", serve: func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			rw.WriteHeader(http.StatusNoContent)
		}},
		{name: "not what it says", serve: func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			_, _ = rw.Write([]byte("hello, I am not gzip"))
		}, wantErr: "unavailable: http.request: api.example.com: gzip: invalid header"},
		{name: "long header", serve: func(rw http.ResponseWriter, _ *http.Request) {
			for i := range 10 {
				rw.Header().Set(fmt.Sprint("X-", i), strings.Repeat("a", 8<<10))
			}
		}, wantErr: "too_large: http.request: the header of api.example.com's answer has more than 65536 bytes", h2Err: "unavailable: http.request: api.example.com: connection error: PROTOCOL_ERROR"},
	}
	for _, tt := range tests {
		for _, proto := range []string{"h2", "http/1.1"} {
			t.Run(tt.name+"/"+proto, func(t *testing.T) {
				w := newWorld(t)
				w.cfg.AnswerBytes = limit
				s := httptest.NewUnstartedServer(tt.serve)
				s.TLS = &tls.Config{Certificates: []tls.Certificate{w.ca.issue(t, unchanged)}}
				s.EnableHTTP2 = proto == "h2"
				s.StartTLS()
				t.Cleanup(s.Close)
				w.routes[public+":443"] = s.Listener.Addr().String()
				if proto == "h2" && tt.h2Err != "" {
					w.refused(tt.h2Err)
					return
				}
				if tt.wantErr != "" {
					w.refused(tt.wantErr)
					return
				}
				ans := w.good()
				if ans.Body != tt.want || ans.Headers["Content-Encoding"] != "" && tt.want != "" {
					t.Errorf("body of %d bytes, headers %v, want %d bytes", len(ans.Body), ans.Headers, len(tt.want))
				}
			})
		}
	}
}

func TestAnswerBytesOfTheCall(t *testing.T) {
	w := newWorld(t)
	w.serve(public+":443", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(make([]byte, 11)) })
	w.call.AnswerBytes = 10
	w.refused("too_large: http.request: the body of the answer has more than 10 bytes; ask for less, or raise [http] answer_kib")
}

func TestSlowServers(t *testing.T) {
	silent := func(w *world) { // takes connections, says nothing
		l, err := new(net.ListenConfig).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			w.t.Fatal(err)
		}
		var conns []net.Conn
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				conns = append(conns, c)
			}
		}()
		w.t.Cleanup(func() {
			_ = l.Close()
			<-done
			for _, c := range conns {
				_ = c.Close()
			}
		})
		w.routes[public+":443"] = l.Addr().String()
	}
	blocking := func(rw http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	tests := []struct {
		name, method string
		world        func(w *world)
		want         string
	}{
		{"no handshake", "POST", silent, "timeout: http.request: no answer within 300ms; the request was not sent"},
		{"no answer", "GET", func(w *world) { w.serve(public+":443", blocking) }, "timeout: http.request: no answer within 300ms"},
		{"no answer to a change", "POST", func(w *world) { w.serve(public+":443", blocking) }, "timeout: http.request: no answer within 300ms; the request may have arrived"},
		{"half a body", "GET", func(w *world) {
			w.serve(public+":443", func(rw http.ResponseWriter, r *http.Request) {
				_, _ = rw.Write([]byte("half"))
				_ = http.NewResponseController(rw).Flush()
				<-r.Context().Done()
			})
		}, "timeout: http.request: no answer within 300ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.cfg.Timeout = 300 * time.Millisecond
			tt.world(w)
			w.call.Request.Method = tt.method
			w.refused(tt.want)
		})
	}
}

func TestTimeoutOfTheRequest(t *testing.T) {
	w := newWorld(t)
	w.serve(public+":443", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	w.cfg.Timeout = time.Hour
	w.call.Request.TimeoutSeconds = 1
	w.refused("timeout: http.request: no answer within 1s")
}

func TestCanceled(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	w.serve(public+":443", func(_ http.ResponseWriter, r *http.Request) {
		cancel(fmt.Errorf("the operator pressed Ctrl-C: %w", context.Canceled))
		<-r.Context().Done()
	})
	c := w.client()
	_, err := c.Do(ctx, w.call)
	if want := "canceled: http.request: the operator pressed Ctrl-C: context canceled"; errText(err) != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

// raw serves what is written over plain TCP behind http://api.example.com.
func (w *world) raw(answer string) *atomic.Int32 {
	w.t.Helper()
	l, err := new(net.ListenConfig).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	var requests atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				requests.Add(1)
				_, _ = io.WriteString(c, answer)
			}
			_ = c.Close()
		}
	}()
	w.t.Cleanup(func() { _ = l.Close(); <-done })
	w.routes[public+":80"] = l.Addr().String()
	w.rules("* http://api.example.com/*")
	w.call.Request.URL = "http://api.example.com/"
	return &requests
}

// What was sent is not sent again, whatever becomes of the connection.
func TestNothingIsSentTwice(t *testing.T) {
	for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
		w := newWorld(t)
		requests := w.raw("")
		w.call.Request.Method = method
		want := "unavailable: http.request: api.example.com: the connection ended before the answer did"
		if method != "GET" {
			want += "; the request may have arrived"
		}
		w.refused(want)
		if n := requests.Load(); n != 1 || len(w.dialled) != 1 {
			t.Errorf("%s was sent %d times over %d connections, want once over one", method, n, len(w.dialled))
		}
	}
}

func TestBrokenAnswers(t *testing.T) {
	tests := []struct{ name, answer, want string }{
		{"no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", `unavailable: http.request: api.example.com: net/http: HTTP/1.x transport connection broken: malformed HTTP response "SSH-2.0-OpenSSH_9.2"`},
		{"cut off", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "unavailable: http.request: api.example.com: the connection ended before the answer did"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", `unavailable: http.request: api.example.com: net/http: HTTP/1.x transport connection broken: http: message cannot contain multiple Content-Length headers; got ["1" "2"]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.raw(tt.answer)
			w.refused(tt.want)
		})
	}
}

// Of a connection that breaks neither end is told: one may be the proxy's.
func TestBrokenConnectionsTellNoAddress(t *testing.T) {
	w := newWorld(t)
	w.rules("* http://api.example.com/*")
	w.call.Request.URL = "http://api.example.com/"
	w.cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		t.Cleanup(func() { _ = there.Close() })
		wrote := make(chan struct{})
		return broken{here, sync.OnceFunc(func() { close(wrote) }), wrote}, nil
	}
	w.refused("unavailable: http.request: api.example.com: connection reset by peer")
	if got := w.logged(); !strings.Contains(got, "read tcp 10.3.0.9:4711->10.3.0.1:3128: connection reset by peer") {
		t.Errorf("log = %s, want the reason in it", got)
	}
}

// broken is a connection that takes all and then gives an error.
type broken struct {
	net.Conn
	write func()
	wrote chan struct{}
}

func (b broken) Write(p []byte) (int, error) {
	b.write()
	return len(p), nil
}

func (b broken) Read([]byte) (int, error) {
	<-b.wrote
	return 0, &net.OpError{
		Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 3, 0, 9), Port: 4711}, Addr: &net.TCPAddr{IP: net.IPv4(10, 3, 0, 1), Port: 3128},
		Err: errors.New("connection reset by peer"),
	}
}

func TestConnectionsAreNotShared(t *testing.T) {
	for _, proto := range []string{"h2", "http/1.1"} {
		w := newWorld(t)
		var opened atomic.Int32
		s := httptest.NewUnstartedServer(http.HandlerFunc(echo))
		s.TLS = &tls.Config{Certificates: []tls.Certificate{w.ca.issue(t, unchanged)}}
		s.EnableHTTP2 = proto == "h2"
		closed := make(chan struct{}, 10)
		s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
			switch st {
			case http.StateNew:
				opened.Add(1)
			case http.StateClosed:
				closed <- struct{}{}
			}
		}
		s.StartTLS()
		w.routes[public+":443"] = s.Listener.Addr().String()
		c := w.client()
		for range 3 {
			if _, err := c.Do(t.Context(), w.call); err != nil {
				t.Fatal(err)
			}
			<-closed // it goes with its answer
		}
		if n := opened.Load(); n != 3 {
			t.Errorf("%s: %d connections for 3 requests, want 3", proto, n)
		}
		s.Close()
	}
}

func TestTLSFailures(t *testing.T) {
	tests := []struct {
		name  string
		serve func(t *testing.T, w *world) *tls.Config // nil: no TLS at all
		want  string
	}{
		{"unknown authority", func(t *testing.T, w *world) *tls.Config {
			return &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue(t, unchanged)}}
		}, "the certificate of api.example.com is signed by an authority that is not known; name its CA in tls.ca, or in [http] ca_file"},
		{"other names", func(t *testing.T, w *world) *tls.Config {
			return &tls.Config{Certificates: []tls.Certificate{w.ca.issue(t, func(c *x509.Certificate) { c.DNSNames = []string{"www.example.com"} })}}
		}, "the certificate of api.example.com is for other names: certificate is valid for www.example.com, not api.example.com"},
		{"expired", func(t *testing.T, w *world) *tls.Config {
			return &tls.Config{Certificates: []tls.Certificate{w.ca.issue(t, func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
			})}}
		}, "the certificate of api.example.com has expired or is not valid yet: valid from 2020-01-01T00:00:00Z to 2021-01-01T00:00:00Z"},
		{"no TLS", func(*testing.T, *world) *tls.Config { return nil }, "api.example.com does not speak TLS on this port"},
		{"old TLS", func(t *testing.T, w *world) *tls.Config {
			return &tls.Config{Certificates: []tls.Certificate{w.ca.issue(t, unchanged)}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
		}, "TLS with api.example.com: protocol version not supported"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			s := httptest.NewUnstartedServer(http.HandlerFunc(echo))
			s.Config.ErrorLog = quiet
			if s.TLS = tt.serve(t, w); s.TLS != nil {
				s.StartTLS()
			} else {
				s.Start()
			}
			t.Cleanup(s.Close)
			w.routes[public+":443"] = s.Listener.Addr().String()
			w.call.Request.Method = "POST"
			w.refused("unavailable: http.request: " + tt.want + "; the request was not sent")
		})
	}
}

func TestCertificatesOfSecrets(t *testing.T) {
	own := newAuthority(t)
	clients := newAuthority(t)
	cert, key := clients.issuePEM(t, unchanged)
	newBench := func(t *testing.T) *world {
		w := newWorld(t)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(clients.pem)
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(rw, "%d certificates", len(r.TLS.PeerCertificates))
		}))
		s.Config.ErrorLog = quiet
		s.TLS = &tls.Config{Certificates: []tls.Certificate{own.issue(t, unchanged)}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}
		s.StartTLS()
		t.Cleanup(s.Close)
		w.routes[public+":443"] = s.Listener.Addr().String()
		w.secret("acme.ca", string(own.pem), "https://api.example.com", "tls")
		w.secret("acme.cert", string(cert), "https://api.example.com", "tls")
		w.secret("acme.key", string(key), "https://api.example.com", "tls")
		w.secret("acme.both", string(key)+string(cert), "https://api.example.com", "tls")
		w.secret("acme.nonsense", "no PEM", "https://api.example.com", "tls")
		return w
	}
	ref := func(name string) *abi.Secret { return &abi.Secret{Name: name} }
	tests := []struct {
		name, url  string
		tls        abi.HTTPTLS
		want, fail string
	}{
		{name: "CA", tls: abi.HTTPTLS{CA: ref("acme.ca")}, want: "0 certificates"},
		{name: "client certificate", tls: abi.HTTPTLS{CA: ref("acme.ca"), Cert: ref("acme.cert"), Key: ref("acme.key")}, want: "1 certificates"},
		{name: "both in one", tls: abi.HTTPTLS{CA: ref("acme.ca"), Cert: ref("acme.both")}, want: "1 certificates"},
		{name: "the system's CAs do not know it", fail: "unavailable: http.request: the certificate of api.example.com is signed by an authority that is not known; name its CA in tls.ca, or in [http] ca_file"},
		{name: "no CA", tls: abi.HTTPTLS{CA: ref("acme.nonsense")}, fail: "invalid: http.request: tls.ca: secret acme.nonsense holds no certificate in PEM"},
		{name: "no pair", tls: abi.HTTPTLS{Cert: ref("acme.nonsense"), Key: ref("acme.key")}, fail: "invalid: http.request: tls.cert: secrets acme.nonsense and acme.key are no certificate and its key in PEM"},
		{name: "key alone", tls: abi.HTTPTLS{Key: ref("acme.key")}, fail: "invalid: http.request: tls.key: it wants a cert"},
		{name: "in the clear", url: "http://api.example.com/", tls: abi.HTTPTLS{CA: ref("acme.ca")}, fail: "invalid: http.request: tls: the URL is no https one"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newBench(t)
			w.call.Request.TLS = &tt.tls
			if tt.url != "" {
				w.call.Request.URL = tt.url
			}
			if tt.fail != "" {
				w.refused(tt.fail)
				return
			}
			if ans := w.good(); ans.Body != tt.want {
				t.Errorf("body = %q, want %q", ans.Body, tt.want)
			}
		})
	}
}

func TestProxy(t *testing.T) {
	const proxyAddress = "10.3.0.1:3128"
	newBench := func(t *testing.T, status int) (*world, *[]string) {
		w := newWorld(t)
		var seen []string
		w.plain(proxyAddress, func(rw http.ResponseWriter, r *http.Request) {
			seen = append(seen, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
			if status != http.StatusOK {
				rw.WriteHeader(status)
				return
			}
			to, err := new(net.Dialer).DialContext(r.Context(), "tcp", w.routes[r.Host])
			if err != nil {
				rw.WriteHeader(http.StatusBadGateway)
				return
			}
			defer func() { _ = to.Close() }()
			conn, buf, err := http.NewResponseController(rw).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
			done := make(chan struct{})
			go func() { defer close(done); _, _ = io.Copy(to, buf); _ = to.Close() }()
			_, _ = io.Copy(conn, to)
			_ = conn.Close()
			<-done
		})
		w.cfg.Proxy = "http://me:pass@10.3.0.1:3128"
		return w, &seen
	}
	auth := " Basic " + base64.StdEncoding.EncodeToString([]byte("me:pass"))
	t.Run("tunnels", func(t *testing.T) {
		w, seen := newBench(t, http.StatusOK)
		w.serve(public+":443", echo)
		w.plain(public+":80", echo)
		w.good()
		w.rules("* http://api.example.com/*")
		w.call.Request.URL = "http://api.example.com/"
		w.good()
		if want := []string{"CONNECT " + public + ":443" + auth, "CONNECT " + public + ":80" + auth}; !slices.Equal(*seen, want) {
			t.Errorf("the proxy saw %q, want %q", *seen, want)
		}
		if want := []string{proxyAddress, proxyAddress}; !slices.Equal(w.dialled, want) {
			t.Errorf("dialled %v, want %v", w.dialled, want)
		}
	})
	t.Run("does not widen what may be asked", func(t *testing.T) {
		w, seen := newBench(t, http.StatusOK)
		w.names["api.example.com"] = [][]string{{"10.3.0.2"}}
		w.refused("forbidden: http.request: api.example.com: 10.3.0.2 is a private address; to allow it, the operator grants net:10.3.0.2/32")
		if len(*seen) != 0 {
			t.Errorf("the proxy saw %q", *seen)
		}
	})
	t.Run("refuses", func(t *testing.T) {
		w, _ := newBench(t, http.StatusProxyAuthRequired)
		w.call.Request.Method = "POST"
		w.refused("unavailable: http.request: connecting to api.example.com: proxy: it answered 407; the request was not sent")
	})
	t.Run("is not there", func(t *testing.T) {
		w, _ := newBench(t, http.StatusOK)
		w.routes[proxyAddress] = "127.0.0.1:1"
		w.names["api.example.com"] = [][]string{{public, "198.41.0.5"}}
		w.refused("unavailable: http.request: connecting to api.example.com: the proxy could not be reached")
		if got := w.logged(); !strings.Contains(got, "proxy: dial tcp 127.0.0.1:1: ") {
			t.Errorf("log = %s, want the reason in it", got)
		}
	})
	t.Run("is silent", func(t *testing.T) {
		w, _ := newBench(t, http.StatusOK)
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		w.routes[proxyAddress] = l.Addr().String()
		w.cfg.Timeout = 300 * time.Millisecond
		w.refused("timeout: http.request: no answer within 300ms")
	})
}

// At most so many at once: one more of the same library waits, and its time
// counts; that of another does not.
func TestConcurrent(t *testing.T) {
	w := newWorld(t)
	w.cfg.Concurrent = 1
	entered, release := make(chan struct{}), make(chan struct{})
	w.serve(public+":443", func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	})
	c := w.client()
	first := make(chan error, 1)
	go func() {
		_, err := c.Do(context.WithoutCancel(t.Context()), w.call)
		first <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Do(ctx, w.call); errText(err) != "timeout: http.request: context deadline exceeded" {
		t.Errorf("error = %v, want a timeout", err)
	}
	if n := len(w.dialled); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	if got, want := w.lines(), []string{"GET https://api.example.com/v1/x <nil> timeout: context deadline exceeded"}; !slices.Equal(got, want) {
		t.Errorf("log = %q, want %q", got, want)
	}
	other := w.call
	other.Tenant = "p2"
	second := make(chan error, 1)
	go func() {
		_, err := c.Do(context.WithoutCancel(t.Context()), other)
		second <- err
	}()
	<-entered
	close(release)
	if err := errors.Join(<-first, <-second); err != nil {
		t.Error(err)
	}
}
