package egress_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/egress"
	"github.com/wasakari/wasakari/recovery"
)

// world is a small Internet: names, and servers behind addresses.
type world struct {
	t       *testing.T
	cfg     egress.Config
	call    egress.Call
	logs    *observer.ObservedLogs
	ca      *authority
	mu      sync.Mutex
	names   map[string][][]string // for each name the answers to the lookups, the last one for all that follow
	lookups []string
	routes  map[string]string // address:port → listener
	dialled []string
}

const public = "198.41.0.4"

func newWorld(t *testing.T) *world {
	core, logs := observer.New(zap.InfoLevel)
	w := &world{
		t: t, logs: logs, ca: newAuthority(t),
		names:  map[string][][]string{"api.example.com": {{public}}, "other.example.com": {{"198.41.0.5"}}},
		routes: map[string]string{},
	}
	w.cfg = egress.Config{Logger: zap.New(core), CA: w.ca.pem, Timeout: 10 * time.Second, Resolver: w, Dial: w.dial}
	w.call = egress.Call{Run: "run-7", Task: "custom_task", Library: "acme", Request: abi.HTTPRequestRequest{Method: "GET", URL: "https://api.example.com/v1/x"}}
	w.rules("* https://api.example.com/*")
	return w
}

func (w *world) rules(rules ...string) {
	w.t.Helper()
	w.call.Rules = nil
	for _, s := range rules {
		r, err := abi.ParseHTTPRule(s)
		if err != nil {
			w.t.Fatal(err)
		}
		w.call.Rules = append(w.call.Rules, r)
	}
}

// LookupNetIP serves egress.Resolver.
func (w *world) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookups = append(w.lookups, host)
	answers := w.names[host]
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, Server: "10.9.9.9:53", IsNotFound: true}
	}
	if len(answers) > 1 {
		w.names[host] = answers[1:]
	}
	var list []netip.Addr
	for _, a := range answers[0] {
		list = append(list, netip.MustParseAddr(a))
	}
	return list, nil
}

func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialled = append(w.dialled, address)
	to, ok := w.routes[address]
	w.mu.Unlock()
	if !ok {
		return nil, errors.New("connection refused")
	}
	return new(net.Dialer).DialContext(ctx, network, to)
}

// serve puts an https server behind an address.
func (w *world) serve(address string, h http.HandlerFunc) {
	w.t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{w.ca.issue(w.t, func(*x509.Certificate) {})}}
	s.EnableHTTP2 = true
	s.StartTLS()
	w.t.Cleanup(s.Close)
	w.routes[address] = s.Listener.Addr().String()
}

// plain puts an http server behind an address.
func (w *world) plain(address string, h http.HandlerFunc) {
	w.t.Helper()
	s := httptest.NewServer(h)
	w.t.Cleanup(s.Close)
	w.routes[address] = s.Listener.Addr().String()
}

func (w *world) client() *egress.Client {
	w.t.Helper()
	c, err := egress.New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) do() (abi.HTTPRequestAnswer, error) {
	w.t.Helper()
	return w.client().Do(w.t.Context(), w.call)
}

// quiet is for servers whose clients are to give up.
var quiet = log.New(io.Discard, "", 0)

// good does the call, which must be answered.
func (w *world) good() abi.HTTPRequestAnswer {
	w.t.Helper()
	ans, err := w.do()
	if err != nil {
		w.t.Fatal(err)
	}
	return ans
}

// refused does the call, which must end with an error.
func (w *world) refused(want string) {
	w.t.Helper()
	_, err := w.do()
	if got := errText(err); got != want {
		w.t.Errorf("error\n got %s\nwant %s", got, want)
	}
	if _, ok := errors.AsType[*abi.Error](err); err != nil && !ok {
		w.t.Errorf("the error is a %T, want *abi.Error", err)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

// issue signs a certificate for the names and addresses of the tests.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	c, k := a.issuePEM(t, change)
	pair, err := tls.X509KeyPair(c, k)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func (a *authority) issuePEM(t *testing.T, change func(*x509.Certificate)) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"api.example.com", "other.example.com"}, IPAddresses: []net.IP{net.ParseIP("198.41.0.4")},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	change(tmpl)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb})
}

func TestRequestAndAnswer(t *testing.T) {
	w := newWorld(t)
	var got *http.Request
	var body []byte
	w.serve(public+":443", func(rw http.ResponseWriter, r *http.Request) {
		got, body = r, slurp(r)
		rw.Header().Add("X-Many", "a")
		rw.Header().Add("X-Many", "b")
		rw.Header().Add("Set-Cookie", "a=1")
		rw.Header().Add("Set-Cookie", "b=2")
		rw.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprint(rw, "short and stout")
	})
	w.call.Tenant = "p1"
	w.call.Request = abi.HTTPRequestRequest{
		Method: "POST", URL: "https://API.example.com:443/v1/new?q=1", Body: "hello",
		Headers: map[string]abi.Text{"x-one": {Plain: "1"}, "Content-Type": {Plain: "text/plain"}},
		Basic:   &abi.HTTPBasic{User: abi.Text{Plain: "me"}, Password: abi.Text{Plain: "pass:word"}},
	}
	ans := w.good()
	if ans.Status != 418 || ans.Body != "short and stout" || ans.URL != "https://api.example.com/v1/new?q=1" || ans.BodyBase64 != "" {
		t.Errorf("answer = %+v", ans)
	}
	if ans.Headers["X-Many"] != "a, b" || ans.Headers["Set-Cookie"] != "a=1\nb=2" {
		t.Errorf("headers = %q", ans.Headers)
	}
	user, password, _ := got.BasicAuth()
	if got.Method != "POST" || got.Host != "api.example.com" || got.RequestURI != "/v1/new?q=1" || string(body) != "hello" || got.Proto != "HTTP/2.0" ||
		got.Header.Get("X-One") != "1" || user != "me" || password != "pass:word" || got.UserAgent() != "wasakari" || got.ContentLength != 5 {
		t.Errorf("request = %+v, body %q", got, body)
	}
	line := w.logs.FilterMessage("http request").All()
	if len(line) != 1 {
		t.Fatalf("%d lines in the log, want 1", len(line))
	}
	fields := line[0].ContextMap()
	delete(fields, "took")
	want := map[string]any{
		"run": "run-7", "task": "custom_task", "library": "acme", "tenant": "p1", "method": "POST", "url": "https://api.example.com/v1/new?q=1",
		"status": int64(418), "bytes": int64(15), "address": public + ":443",
	}
	if fmt.Sprint(fields) != fmt.Sprint(want) {
		t.Errorf("log = %v\nwant  %v", fields, want)
	}
}

func slurp(r *http.Request) []byte {
	b := new(strings.Builder)
	buf := make([]byte, 4096)
	for {
		n, err := r.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return []byte(b.String())
		}
	}
}

func TestBodies(t *testing.T) {
	w := newWorld(t)
	w.serve(public+":443", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Type", r.Header.Get("Content-Type"))
		_, _ = rw.Write(slurp(r))
	})
	tests := []struct {
		name         string
		req          abi.HTTPRequestRequest
		want, base64 string
		contentType  string
		wantErr      string
	}{
		{name: "text", req: abi.HTTPRequestRequest{Method: "PUT", Body: "ä"}, want: "ä"},
		{name: "bytes", req: abi.HTTPRequestRequest{Method: "PUT", BodyBase64: "//4A"}, base64: "//4A"},
		{name: "JSON stays as it is", req: abi.HTTPRequestRequest{Method: "POST", BodyJSON: []byte(`{"b":1.0,"a":"<"}`)}, want: `{"b":1.0,"a":"<"}`, contentType: "application/json"},
		{
			name: "JSON under another name", req: abi.HTTPRequestRequest{
				Method: "POST", BodyJSON: []byte(`[]`),
				Headers: map[string]abi.Text{"content-type": {Plain: "application/merge-patch+json"}},
			},
			want: `[]`, contentType: "application/merge-patch+json",
		},
		{name: "two", req: abi.HTTPRequestRequest{Method: "POST", Body: "a", BodyJSON: []byte(`{}`)}, wantErr: "invalid: http.request: body: give one of body, body_base64 and body_json; the request was not sent"},
		{name: "no base64", req: abi.HTTPRequestRequest{Method: "POST", BodyBase64: "*"}, wantErr: "invalid: http.request: body_base64: illegal base64 data at input byte 0; the request was not sent"},
		{name: "of a GET", req: abi.HTTPRequestRequest{Method: "GET", Body: "a"}, wantErr: "invalid: http.request: body: GET has none"},
		{name: "too large", req: abi.HTTPRequestRequest{Method: "POST", Body: strings.Repeat("a", 1<<20+1)}, wantErr: "too_large: http.request: body: it has more than 1048576 bytes; the request was not sent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			tt.req.URL = "https://api.example.com/"
			w.call.Request = tt.req
			if tt.wantErr != "" {
				w.refused(tt.wantErr)
				return
			}
			ans := w.good()
			if ans.Body != tt.want || ans.BodyBase64 != tt.base64 || ans.Headers["X-Type"] != tt.contentType {
				t.Errorf("answer = %+v, want body %q, base64 %q, type %q", ans, tt.want, tt.base64, tt.contentType)
			}
		})
	}
}

func TestHeadersRefused(t *testing.T) {
	const own = "invalid: http.request: headers: %s is the host's to set; leave it out"
	tests := []struct{ name, value, want string }{
		{"Host", "evil.example", ""},
		{"content-length", "0", ""},
		{"Content_Length", "0", ""},
		{"Transfer-Encoding", "chunked", ""},
		{"transfer_encoding", "chunked", ""},
		{"Connection", "X-Forwarded-For", ""},
		{"Keep-Alive", "1", ""},
		{"Upgrade", "websocket", ""},
		{"TE", "trailers", ""},
		{"Trailer", "X", ""},
		{"Expect", "100-continue", ""},
		{"Accept-Encoding", "br", ""},
		{"Proxy-Authorization", "x", ""},
		{"Proxy-Connection", "x", ""},
		{"proxy_anything", "x", ""},
		{"Proxy", "http://evil.example", ""},
		{"HTTP2-Settings", "x", ""},
		{"X-A\r\nHost", "x", `invalid: http.request: headers: "X-A\r\nHost" is no name`},
		{"X A", "x", `invalid: http.request: headers: "X A" is no name`},
		{":authority", "x", `invalid: http.request: headers: ":authority" is no name`},
		{"", "x", `invalid: http.request: headers: "" is no name`},
		{"X-Ä", "x", `invalid: http.request: headers: "X-Ä" is no name`},
		{"X-A", "a\r\nHost: evil", "invalid: http.request: headers: the value of X-A holds more than printable ASCII, or blanks at an end"},
		{"X-A", "a\nb", "invalid: http.request: headers: the value of X-A holds more than printable ASCII, or blanks at an end"},
		{"X-A", "a\x00b", "invalid: http.request: headers: the value of X-A holds more than printable ASCII, or blanks at an end"},
		{"X-A", "ä", "invalid: http.request: headers: the value of X-A holds more than printable ASCII, or blanks at an end"},
		{"X-A", " a", "invalid: http.request: headers: the value of X-A holds more than printable ASCII, or blanks at an end"},
		{"X-A", strings.Repeat("a", 32<<10), "too_large: http.request: headers: they have more than 32768 bytes"},
	}
	for _, tt := range tests {
		w := newWorld(t)
		w.call.Request.Headers = map[string]abi.Text{tt.name: {Plain: tt.value}}
		if tt.want == "" {
			tt.want = fmt.Sprintf(own, tt.name)
		}
		w.refused(tt.want)
		if len(w.lookups)+len(w.dialled) != 0 {
			t.Errorf("%s: something was sent", tt.name)
		}
	}
	w := newWorld(t)
	w.call.Request.Headers = map[string]abi.Text{"Accept": {Plain: "a"}, "accept": {Plain: "b"}}
	w.refused("invalid: http.request: headers: Accept is given twice")
	w.call.Request.Headers = map[string]abi.Text{}
	for i := range 65 {
		w.call.Request.Headers[fmt.Sprintf("X-%d", i)] = abi.Text{Plain: "x"}
	}
	w.refused("too_large: http.request: headers: there are 65; at most 64 are taken")
	w.call.Request.Headers = map[string]abi.Text{"Authorization": {Plain: "x"}}
	w.call.Request.Basic = &abi.HTTPBasic{User: abi.Text{Plain: "a"}}
	w.refused("invalid: http.request: basic: headers hold Authorization already; leave one of them out")
	w.call.Request.Headers = nil
	w.call.Request.Basic = &abi.HTTPBasic{User: abi.Text{Plain: "a:b"}}
	w.refused("invalid: http.request: basic: a user has no colon")
}

func TestRules(t *testing.T) {
	tests := []struct{ method, url, want string }{
		{"GET", "https://api.example.com/v2/x", "not_granted: http.request: GET https://api.example.com/v2/x: none of the requests that are granted"},
		{"POST", "https://api.example.com/v1/x", "not_granted: http.request: POST https://api.example.com/v1/x: none of the requests that are granted; the request was not sent"},
		{"GET", "http://api.example.com/v1/x", "not_granted: http.request: GET http://api.example.com/v1/x: none of the requests that are granted"},
		{"GET", "https://api.example.com:8443/v1/x", "not_granted: http.request: GET https://api.example.com:8443/v1/x: none of the requests that are granted"},
		{"GET", "https://api.example.com/v1/%2e%2e/x", "invalid: http.request: url: path: dot segments are not allowed"},
		{"GET", "https://api.example.com@evil.example/v1/x", "invalid: http.request: url: a user or password in it is not allowed; use basic"},
		{"GET", "file:///etc/passwd", "invalid: http.request: url: want one that begins with https:// or http://"},
		{"GET", "gopher://api.example.com/v1/x", "invalid: http.request: url: want one that begins with https:// or http://"},
	}
	for _, tt := range tests {
		w := newWorld(t)
		w.rules("GET https://api.example.com/v1/*")
		w.call.Request.Method, w.call.Request.URL = tt.method, tt.url
		w.refused(tt.want)
		if len(w.lookups)+len(w.dialled) != 0 {
			t.Errorf("%s %s: something was sent", tt.method, tt.url)
		}
		if n := w.logs.Len(); n != 1 {
			t.Errorf("%s %s: %d lines in the log, want 1", tt.method, tt.url, n)
		}
	}
}

// lines gives method, URL, status and error of each line of the log.
func (w *world) lines() []string {
	var list []string
	for _, e := range w.logs.FilterMessage("http request").All() {
		f := e.ContextMap()
		list = append(list, fmt.Sprint(f["method"], " ", f["url"], " ", f["status"], " ", f["error"]))
	}
	return list
}

// Each request has a line in the log, whatever becomes of it.
func TestAudit(t *testing.T) {
	const api = "https://api.example.com/v1/x"
	long := "https://api.example.com/" + strings.Repeat("x", 1500)
	redirecting := func(location string) func(*world) {
		return func(w *world) {
			w.call.Request.MaxRedirects = 1
			w.serve(public+":443", func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Location", location)
				rw.WriteHeader(http.StatusFound)
			})
		}
	}
	tests := []struct {
		name  string
		world func(w *world)
		want  []string
	}{
		{"answered", func(w *world) { w.serve(public+":443", echo) }, []string{"GET " + api + " 200 <nil>"}},
		{"not reached", func(*world) {}, []string{"GET " + api + " <nil> unavailable: connecting to api.example.com: connection refused"}},
		{"not found", func(w *world) { delete(w.names, "api.example.com") }, []string{"GET " + api + " <nil> unavailable: looking up api.example.com: lookup api.example.com on 10.9.9.9:53: no such host"}},
		{"inside", func(w *world) { w.names["api.example.com"] = [][]string{{"224.0.0.1"}} }, []string{"GET " + api + " <nil> forbidden: api.example.com: 224.0.0.1 is a multicast address"}},
		{"not allowed", func(w *world) { w.rules() }, []string{"GET " + api + " <nil> not_granted: GET " + api + ": none of the requests that are granted"}},
		{"no URL", func(w *world) { w.call.Request.URL = "https:x" }, []string{"GET https:x <nil> invalid: url: want // after the scheme"}},
		{"no body", func(w *world) { w.call.Request.Body = "x" }, []string{"GET " + api + " <nil> invalid: body: GET has none"}},
		{"too many redirects asked for", func(w *world) { w.call.Request.MaxRedirects = 6 }, []string{"GET " + api + " <nil> invalid: max_redirects: at most 5 are followed"}},
		{"redirect that is not allowed", redirecting("https://evil.example/?a=b"), []string{
			"GET " + api + " 302 <nil>", "GET https://evil.example/?a=b <nil> not_granted: GET https://evil.example/?a=b: none of the requests that are granted",
		}},
		{"redirect to no URL", redirecting("//u:p@%"), []string{
			"GET " + api + " 302 <nil>", "GET //***@% <nil> forbidden: GET " + api + " redirects to where no request goes: it is no URL",
		}},
		{"redirect that is refused", redirecting("../%2fadmin"), []string{
			"GET " + api + " 302 <nil>", "GET https://api.example.com/%2fadmin <nil> forbidden: GET " + api + " redirects to where no request goes: url: path: the escape %2F is ambiguous",
		}},
		{"handle, login and length", func(w *world) {
			w.call.Request.URL = "https://me:pass@api.example.com/?a=b&t={$secret:acme.token}&u=%24secret&z=1"
		}, []string{"GET https://***@api.example.com/?a=b&t=***&u=***&z=1 <nil> invalid: url: a user or password in it is not allowed; use basic"}},
		{"long", func(w *world) { w.rules(); w.call.Request.URL = long }, []string{
			"GET " + long[:1024] + "… <nil> not_granted: GET " + long + ": none of the requests that are granted",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.world(w)
			var told []string
			w.cfg.Audit = func(r egress.Request) {
				status, why := "<nil>", "<nil>"
				if r.Status != 0 {
					status = fmt.Sprint(r.Status)
				}
				if r.Error != "" {
					why = r.Error
				}
				if r.Refused != (strings.HasPrefix(why, "not_granted") || strings.HasPrefix(why, "forbidden")) {
					t.Errorf("%s: refused = %v", why, r.Refused)
				}
				if r.Run != "run-7" || r.Task != "custom_task" || r.Library != "acme" {
					t.Errorf("told of %+v", r)
				}
				told = append(told, fmt.Sprint(r.Method, " ", r.URL, " ", status, " ", why))
			}
			_, _ = w.do() // what it is answered is tested elsewhere
			if got := w.lines(); !slices.Equal(got, tt.want) {
				t.Errorf("log\n got %q\nwant %q", got, tt.want)
			}
			if !slices.Equal(told, tt.want) {
				t.Errorf("told\n got %q\nwant %q", told, tt.want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	w.secret("acme.token", plainToken, "https://api.example.com", "body")
	w.call.Request.URL = "https://evil.example/?t=" + plainToken
	w.client().Refused(w.call, abi.Errorf(abi.ErrnoNotGranted, "http.request: GET %s: not among the requests", w.call.Request.URL))
	want := []string{"GET https://evil.example/?t=*** <nil> not_granted: http.request: GET https://evil.example/?t=***: not among the requests"}
	if got := w.lines(); !slices.Equal(got, want) {
		t.Errorf("log\n got %q\nwant %q", got, want)
	}
	if f := w.logs.All()[0].ContextMap(); f["run"] != "run-7" || f["task"] != "custom_task" || f["library"] != "acme" {
		t.Errorf("log = %v", f)
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name string
		cfg  egress.Config
		want string
	}{
		{"proxy of another scheme", egress.Config{Proxy: "socks5://10.0.0.1"}, "proxy: want http://[user:password@]host[:port]: invalid"},
		{"proxy without a host", egress.Config{Proxy: "http://:3128"}, "proxy: want http://[user:password@]host[:port]: invalid"},
		{"proxy with a password that is not shown", egress.Config{Proxy: "http://u:hunter2@h:x"}, "proxy: want http://[user:password@]host[:port]: invalid"},
		{"no CA", egress.Config{CA: []byte("x")}, "ca_file: no certificate in PEM in it: invalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := egress.New(tt.cfg)
			if errText(err) != tt.want || !errors.Is(err, recovery.ErrInvalid) {
				t.Errorf("error = %v, want %s", err, tt.want)
			}
		})
	}
}

// logged gives what is in all lines of the log.
func (w *world) logged() string {
	var b strings.Builder
	for _, e := range w.logs.All() {
		_, _ = fmt.Fprintln(&b, e.Message, e.ContextMap())
	}
	return b.String()
}

// sorted gives what was dialled, sorted.
func (w *world) sorted() []string { return slices.Sorted(slices.Values(w.dialled)) }

// echo answers with the request's body.
func echo(rw http.ResponseWriter, r *http.Request) { _, _ = rw.Write(slurp(r)) }
