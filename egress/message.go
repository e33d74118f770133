package egress

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// message is one request as it is sent.
type message struct {
	method string
	url    *url.URL
	header http.Header
	body   []byte
	// secret names the headers that hold secrets.
	secret map[string]bool
	tls    struct {
		roots  *x509.CertPool
		client *tls.Certificate
	}
}

// what names the request in messages.
func (m *message) what() string { return m.method + " " + m.url.String() }

// hostsOwn are the headers that are the host's to set, in lower case: they say
// where a message ends, what becomes of the connection, or whom the request is
// for.
var hostsOwn = map[string]bool{
	"host": true, "content-length": true, "transfer-encoding": true, "connection": true, "keep-alive": true, "upgrade": true,
	"te": true, "trailer": true, "trailers": true, "expect": true, "accept-encoding": true, "http2-settings": true, "proxy": true,
}

// message makes the first request of a call.
func (x *exchange) message() (*message, error) {
	req := &x.call.Request
	u, err := abi.ParseHTTPURL(req.URL)
	if err != nil {
		return nil, abi.Errorf(abi.ErrnoInvalid, "%v", err)
	}
	m := &message{method: req.Method, url: u, header: http.Header{}, secret: map[string]bool{}}
	if err := x.headers(m); err != nil {
		return nil, err
	}
	if err := x.basic(m); err != nil {
		return nil, err
	}
	if err := x.body(m); err != nil {
		return nil, err
	}
	if req.TLS != nil {
		if err := x.certificates(m, *req.TLS); err != nil {
			return nil, err
		}
	}
	if m.header.Get("User-Agent") == "" {
		m.header.Set("User-Agent", "wasakari")
	}
	m.header.Set("Accept-Encoding", "gzip")
	return m, nil
}

func (x *exchange) headers(m *message) error {
	req := &x.call.Request
	if len(req.Headers) > maxHeaders {
		return abi.Errorf(abi.ErrnoTooLarge, "headers: there are %d; at most %d are taken", len(req.Headers), maxHeaders)
	}
	size := 0
	for name, text := range req.Headers {
		shown := recovery.Shorten(name, 64)
		if strings.Trim(name, tokens) != "" || name == "" {
			return abi.Errorf(abi.ErrnoInvalid, "headers: %q is no name", shown)
		}
		// Gateways to programs read _ as -.
		if lower := strings.ReplaceAll(strings.ToLower(name), "_", "-"); hostsOwn[lower] || strings.HasPrefix(lower, "proxy-") {
			return abi.Errorf(abi.ErrnoInvalid, "headers: %s is the host's to set; leave it out", shown)
		}
		key := http.CanonicalHeaderKey(name)
		if m.header[key] != nil {
			return abi.Errorf(abi.ErrnoInvalid, "headers: %s is given twice", key)
		}
		value := text.Plain
		if s := text.Secret; s != nil {
			v, err := x.secret(m.url, s, "header:"+key)
			if err != nil {
				return err
			}
			value = s.Prefix + v
			m.secret[key] = true
		}
		if !plainValue(value) {
			return abi.Errorf(abi.ErrnoInvalid, "headers: the value of %s holds more than printable ASCII, or blanks at an end", key)
		}
		if size += len(key) + len(value); size > maxHeaderBytes {
			return abi.Errorf(abi.ErrnoTooLarge, "headers: they have more than %d bytes", maxHeaderBytes)
		}
		m.header[key] = []string{value}
	}
	return nil
}

// tokens are the bytes of a header's name.
const tokens = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"

// plainValue reports whether all that reads a header reads the same value.
func plainValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] > '~' {
			return false
		}
	}
	return s == strings.Trim(s, " \t")
}

func (x *exchange) basic(m *message) error {
	b := x.call.Request.Basic
	if b == nil {
		return nil
	}
	if m.header["Authorization"] != nil {
		return abi.Errorf(abi.ErrnoInvalid, "basic: headers hold Authorization already; leave one of them out")
	}
	var parts [2]string
	for i, t := range []abi.Text{b.User, b.Password} {
		parts[i] = t.Plain
		if t.Secret == nil {
			continue
		}
		v, err := x.secret(m.url, t.Secret, "basic")
		if err != nil {
			return err
		}
		if t.Secret.Prefix != "" {
			return abi.Errorf(abi.ErrnoInvalid, "basic: a prefix is for headers only")
		}
		parts[i] = v
		m.secret["Authorization"] = true
	}
	if strings.Contains(parts[0], ":") {
		return abi.Errorf(abi.ErrnoInvalid, "basic: a user has no colon")
	}
	if len(parts[0])+len(parts[1]) > maxHeaderBytes/2 {
		return abi.Errorf(abi.ErrnoTooLarge, "basic: user and password have more than %d bytes", maxHeaderBytes/2)
	}
	both := base64.StdEncoding.EncodeToString([]byte(parts[0] + ":" + parts[1]))
	if m.secret["Authorization"] {
		x.mask.add(both)
	}
	m.header.Set("Authorization", "Basic "+both)
	return nil
}

func (x *exchange) body(m *message) error {
	req := &x.call.Request
	given := 0
	for _, there := range []bool{req.Body != "", req.BodyBase64 != "", len(req.BodyJSON) > 0} {
		if there {
			given++
		}
	}
	if given > 1 {
		return abi.Errorf(abi.ErrnoInvalid, "body: give one of body, body_base64 and body_json")
	}
	if given == 1 && reads(m.method) {
		return abi.Errorf(abi.ErrnoInvalid, "body: %s has none", m.method)
	}
	var err error
	switch {
	case req.Body != "":
		m.body = []byte(req.Body)
	case req.BodyBase64 != "":
		if m.body, err = base64.StdEncoding.DecodeString(req.BodyBase64); err != nil {
			return abi.Errorf(abi.ErrnoInvalid, "body_base64: %v", err)
		}
	case len(req.BodyJSON) > 0:
		if m.body, err = x.json(m); err != nil {
			return err
		}
		if m.header.Get("Content-Type") == "" {
			m.header.Set("Content-Type", "application/json")
		}
	}
	if len(m.body) > maxBody {
		return bodyTooLarge()
	}
	return nil
}

func bodyTooLarge() error {
	return abi.Errorf(abi.ErrnoTooLarge, "body: it has more than %d bytes", maxBody)
}

// json gives the body with its secrets in their places.
func (x *exchange) json(m *message) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(x.call.Request.BodyJSON))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, abi.Errorf(abi.ErrnoInvalid, "body_json: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, abi.Errorf(abi.ErrnoInvalid, "body_json: something follows the document")
	}
	left := maxBody
	v, changed, err := x.fill(m, v, &left)
	switch {
	case err != nil:
		return nil, err
	case !changed:
		return x.call.Request.BodyJSON, nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, abi.Errorf(abi.ErrnoInvalid, "body_json: %v", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// fill replaces handles by what they stand for, of which at most left bytes
// are put in: a small document may name a long secret often.
func (x *exchange) fill(m *message, v any, left *int) (_ any, changed bool, err error) {
	switch v := v.(type) {
	case map[string]any:
		if name, ok := v[recovery.SecretKey]; ok {
			s, isText := name.(string)
			if !isText || len(v) != 1 {
				return nil, false, abi.Errorf(abi.ErrnoInvalid, "body_json: a handle has the key %s alone, with a string", recovery.SecretKey)
			}
			value, err := x.secret(m.url, &abi.Secret{Name: s}, "body")
			if err != nil {
				return nil, false, err
			}
			if *left -= len(value); *left < 0 {
				return nil, false, bodyTooLarge()
			}
			return value, true, nil
		}
		for k := range v {
			e, c, err := x.fill(m, v[k], left)
			if err != nil {
				return nil, false, err
			}
			v[k], changed = e, changed || c
		}
	case []any:
		for i := range v {
			e, c, err := x.fill(m, v[i], left)
			if err != nil {
				return nil, false, err
			}
			v[i], changed = e, changed || c
		}
	}
	return v, changed, nil
}

// certificates reads what TLS works with.
func (x *exchange) certificates(m *message, t abi.HTTPTLS) error {
	if m.url.Scheme != "https" {
		return abi.Errorf(abi.ErrnoInvalid, "tls: the URL is no https one")
	}
	pem := func(s *abi.Secret) ([]byte, error) {
		if s.Prefix != "" {
			return nil, abi.Errorf(abi.ErrnoInvalid, "tls: a prefix is for headers only")
		}
		v, err := x.secret(m.url, s, "tls")
		return []byte(v), err
	}
	if t.CA != nil {
		text, err := pem(t.CA)
		if err != nil {
			return err
		}
		m.tls.roots = x509.NewCertPool()
		if !m.tls.roots.AppendCertsFromPEM(text) {
			return abi.Errorf(abi.ErrnoInvalid, "tls.ca: secret %s holds no certificate in PEM", t.CA.Name)
		}
	}
	switch {
	case t.Cert == nil && t.Key != nil:
		return abi.Errorf(abi.ErrnoInvalid, "tls.key: it wants a cert")
	case t.Cert == nil:
		return nil
	case t.Key == nil:
		t.Key = t.Cert
	}
	cert, err := pem(t.Cert)
	if err != nil {
		return err
	}
	key, err := pem(t.Key)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		// The error is not told: it could speak of what is in the key.
		return abi.Errorf(abi.ErrnoInvalid, "tls.cert: secrets %s and %s are no certificate and its key in PEM", t.Cert.Name, t.Key.Name)
	}
	m.tls.client = &pair
	return nil
}
