package egress

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// secret gives the value of a secret for a place in a request to u. Elsewhere
// it is refused.
func (x *exchange) secret(u *url.URL, h *abi.Secret, place string) (string, error) {
	name := recovery.Shorten(h.Name, 128)
	s, ok := x.call.Secrets[h.Name]
	switch {
	case !ok:
		return "", abi.Errorf(abi.ErrnoForbidden, "secret %q: the task has no secret option of that name", name)
	case s.Value == "":
		return "", abi.Errorf(abi.ErrnoForbidden, "secret %s: it is not set", name)
	case !s.Bound():
		return "", abi.Errorf(abi.ErrnoForbidden, "secret %s: the operator did not bind it to an origin and a place; see [secrets]", name)
	}
	if !abi.HTTPOriginCovers(s.Origin, u) {
		return "", abi.Errorf(abi.ErrnoForbidden, "secret %s: it is bound to %s and not sent to %s", name, s.Origin, abi.HTTPOrigin(u))
	}
	if !slices.ContainsFunc(s.Places, func(p string) bool { return canonicalPlace(p) == place }) {
		return "", abi.Errorf(abi.ErrnoForbidden, "secret %s: it is bound to %s and not put into %s", name, strings.Join(s.Places, ", "), place)
	}
	// Files end with a line feed that is no part of a password.
	return strings.TrimRight(s.Value, "\r\n"), nil
}

// canonicalPlace spells a place as requests are filled.
func canonicalPlace(s string) string {
	if name, ok := strings.CutPrefix(s, "header:"); ok {
		return "header:" + http.CanonicalHeaderKey(name)
	}
	return s
}

// mask replaces secrets, and usual encodings of them, by stars. It keeps what
// an honest server echoes from the guest; a server that works for the guest
// has the secret anyhow.
type mask struct {
	// finds are the forms of the secrets, longest first.
	finds []find
}

// find is one form of a secret.
type find struct {
	text string // in lower case, unless part
	// part is true when letters beside text may belong to the secret too: what
	// base64 makes of bytes at an end depends on their neighbours.
	part bool
}

const stars = "***"

// newMask makes a mask of all secrets of a call.
func newMask(c Call) *mask {
	m := &mask{}
	for _, s := range c.Secrets {
		m.add(s.Value)
		m.add(strings.TrimRight(s.Value, "\r\n"))
		// A certificate or key comes back in lines, or without their ends.
		if strings.Contains(s.Value, "PRIVATE KEY") {
			for line := range strings.Lines(s.Value) {
				if line = strings.TrimSpace(line); len(line) >= 16 && !strings.HasPrefix(line, "-----") {
					m.add(line)
				}
			}
		}
	}
	return m
}

// add masks a value too.
func (m *mask) add(value string) {
	if value == "" {
		return
	}
	put := func(text string, part bool) {
		if !part {
			text = string(lower([]byte(text)))
		}
		if f := (find{text, part}); text != "" && !slices.Contains(m.finds, f) {
			m.finds = append(m.finds, f)
		}
	}
	raw := []byte(value)
	forms := []string{value, url.QueryEscape(value), url.PathEscape(value), html.EscapeString(value), hex.EncodeToString(raw)}
	for _, escapeHTML := range []bool{true, false} {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(escapeHTML)
		if err := enc.Encode(value); err == nil {
			quoted := strings.TrimSpace(b.String())
			forms = append(forms, quoted[1:len(quoted)-1], strings.ReplaceAll(quoted[1:len(quoted)-1], "/", `\/`))
		}
	}
	var escaped strings.Builder // every byte
	for _, c := range raw {
		fmt.Fprintf(&escaped, "%%%02x", c)
	}
	for _, f := range append(forms, escaped.String()) {
		put(f, false)
	}
	// In base64 of a longer text the value begins at one of three places in a
	// group; what depends on its neighbours is left out here and masked as part.
	for lead := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString(append(make([]byte, lead), raw...))
			from := (lead*8 + 5) / 6
			to := (lead + len(raw)) * 8 / 6
			if to-from >= 4 {
				put(text[from:to], true)
				put(url.QueryEscape(text[from:to]), true)
			}
		}
	}
	slices.SortStableFunc(m.finds, func(a, b find) int { return len(b.text) - len(a.text) })
}

// text masks a text.
func (m *mask) text(s string) string { return string(m.bytes([]byte(s))) }

// bytes masks bytes. What it was given is not changed. Case does not count, but
// in base64: headers change it, and escapes have either.
func (m *mask) bytes(b []byte) []byte {
	low := lower(b)
	for _, f := range m.finds {
		in := b
		if !f.part {
			in = low
		}
		var out []byte
		done := 0 // of b
		for {
			i := bytes.Index(in[done:], []byte(f.text))
			if i < 0 {
				break
			}
			from, to := done+i, done+i+len(f.text)
			for n := 0; f.part && n < 2 && from > done && isBase64(b[from-1]); n++ {
				from--
			}
			for n := 0; f.part && n < 2 && to < len(b) && isBase64(b[to]); n++ {
				to++
			}
			out = append(append(out, b[done:from]...), stars...)
			done = to
		}
		if done > 0 {
			b = append(out, b[done:]...)
			low = lower(b)
		}
	}
	return b
}

// lower gives a copy in which the letters of ASCII are in lower case.
func lower(b []byte) []byte {
	out := bytes.Clone(b)
	for i, c := range out {
		if c >= 'A' && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return out
}

func isBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("+/-_=", c) >= 0
}
