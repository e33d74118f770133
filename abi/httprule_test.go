package abi_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
)

func TestParseHTTPRule(t *testing.T) {
	tests := []struct {
		name, in  string
		want      abi.HTTPRule
		text      string // as String gives it
		wantError string
	}{
		{
			name: "exact", in: "GET https://tickets.example.com/v1/queues",
			want: abi.HTTPRule{Method: "GET", Scheme: "https", Host: "tickets.example.com", Port: 443, Path: "/v1/queues"},
			text: "GET https://tickets.example.com/v1/queues",
		},
		{
			name: "below", in: "POST https://tickets.example.com/v1/*",
			want: abi.HTTPRule{Method: "POST", Scheme: "https", Host: "tickets.example.com", Port: 443, Path: "/v1/", Below: true},
			text: "POST https://tickets.example.com/v1/*",
		},
		{
			name: "any method, names below, port", in: "* https://*.Example.com:8443/*",
			want: abi.HTTPRule{Method: "*", Scheme: "https", Host: "*.example.com", Port: 8443, Path: "/", Below: true},
			text: "* https://*.example.com:8443/*",
		},
		{
			name: "default port, no path", in: "GET http://example.com:80",
			want: abi.HTTPRule{Method: "GET", Scheme: "http", Host: "example.com", Port: 80, Path: "/"},
			text: "GET http://example.com/",
		},
		{
			name: "IPv6", in: "GET http://[2001:DB8:0::7]:8080/x",
			want: abi.HTTPRule{Method: "GET", Scheme: "http", Host: "2001:db8::7", Port: 8080, Path: "/x"},
			text: "GET http://[2001:db8::7]:8080/x",
		},
		{
			name: "IPv4", in: "GET https://10.1.0.4/redfish/v1/*",
			want: abi.HTTPRule{Method: "GET", Scheme: "https", Host: "10.1.0.4", Port: 443, Path: "/redfish/v1/", Below: true},
			text: "GET https://10.1.0.4/redfish/v1/*",
		},
		{
			name: "escapes", in: "GET https://example.com/a%20b/%2A%41",
			want: abi.HTTPRule{Method: "GET", Scheme: "https", Host: "example.com", Port: 443, Path: "/a b/*A"},
			text: "GET https://example.com/a%20b/%2AA",
		},
		{
			name: "punycode", in: "GET https://xn--bcher-kva.example/",
			want: abi.HTTPRule{Method: "GET", Scheme: "https", Host: "xn--bcher-kva.example", Port: 443, Path: "/"},
			text: "GET https://xn--bcher-kva.example/",
		},
		{name: "colon", in: "GET:https://example.com/", wantError: `want a method and a URL, such as GET https://example.com/v1/*`},
		{name: "nothing", in: "", wantError: `want a method and a URL, such as GET https://example.com/v1/*`},
		{name: "method in lower case", in: "get https://example.com/", wantError: `method "get": want GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, or * for any`},
		{name: "connect", in: "CONNECT https://example.com/", wantError: `method "CONNECT": want GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, or * for any`},
		{name: "other scheme", in: "GET ftp://example.com/", wantError: "url: want one that begins with https:// or http://"},
		{name: "no scheme", in: "GET example.com/x", wantError: "url: want one that begins with https:// or http://"},
		{name: "wildcard of everything", in: "GET https://*/x", wantError: `url: host "*": want parts of 1 to 63 letters, digits, - or _, with a dot between two`},
		{name: "wildcard of a top-level name", in: "GET https://*.com/x", wantError: "host *.com: want a name of at least two parts after the *"},
		{name: "wildcard within", in: "GET https://a.*.example.com/", wantError: `url: host "a.*.example.com": want parts of 1 to 63 letters, digits, - or _, with a dot between two`},
		{name: "wildcard of addresses", in: "GET https://*.0.0.1/", wantError: `url: host "any-name.0.0.1": a name does not end with a number; an IPv4 address has four decimal numbers without leading zeros`},
		{name: "star within a segment", in: "GET https://example.com/v1*", wantError: "a * stands for all that follows: write it last, after a slash; one that is meant is %2A"},
		{name: "star before the end", in: "GET https://example.com/*/x", wantError: "a * stands for all that follows: write it last, after a slash; one that is meant is %2A"},
		{name: "query", in: "GET https://example.com/x?a=1", wantError: "a query or fragment is no part of a rule; leave it out"},
		{name: "user", in: "GET https://me@example.com/", wantError: "url: a user or password in it is not allowed; use basic"},
		{name: "two spaces", in: "GET  https://example.com/", wantError: "url: spaces and control characters are not allowed; escape them"},
		{name: "long", in: "GET https://example.com/" + strings.Repeat("a", 2048), wantError: "it has 2072 bytes; at most 2048 are taken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := abi.ParseHTTPRule(tt.in)
			if tt.wantError != "" {
				_, reason, _ := strings.Cut(errText(err), ": ")
				if reason != tt.wantError {
					t.Errorf("error = %q, want %q", reason, tt.wantError)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("rule = %+v, want %+v", got, tt.want)
			}
			if got.String() != tt.text {
				t.Errorf("String() = %s, want %s", got, tt.text)
			}
			if want := "http:" + strings.Replace(tt.text, " ", ":", 1); got.Grant() != want {
				t.Errorf("Grant() = %s, want %s", got.Grant(), want)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestParseHTTPURL(t *testing.T) {
	tests := []struct{ name, in, want, wantError string }{
		{name: "canonical", in: "https://example.com/a/b?q=1%2F2&r", want: "https://example.com/a/b?q=1%2F2&r"},
		{name: "spellings", in: "HTTPS://EXAMPLE.com:443", want: "https://example.com/"},
		{name: "port of the other scheme", in: "http://example.com:443/", want: "http://example.com:443/"},
		{name: "slash at the end", in: "https://example.com/a/", want: "https://example.com/a/"},
		{name: "escapes stay", in: "https://example.com/a%3Bb%20c", want: "https://example.com/a%3Bb%20c"},
		{name: "name that begins with a digit", in: "https://3com.example/", want: "https://3com.example/"},
		{name: "percent sign", in: "https://example.com/100%25", want: "https://example.com/100%25"},
		{name: "long IPv6", in: "https://[2001:0db8:0:0:0:0:0:1]:443/", want: "https://[2001:db8::1]/"},

		{name: "empty host", in: "https:///x", wantError: "url: the host is missing"},
		{name: "port without host", in: "https://:443/", wantError: "url: host: it has 0 bytes; want 1 to 253"},
		{name: "opaque", in: "https:example.com", wantError: "url: want // after the scheme"},
		{name: "no scheme", in: "//example.com/", wantError: "url: want one that begins with https:// or http://"},
		{name: "userinfo", in: "https://good.example@evil.example/", wantError: "url: a user or password in it is not allowed; use basic"},
		{name: "empty userinfo", in: "https://@evil.example/", wantError: "url: a user or password in it is not allowed; use basic"},
		{name: "backslash", in: `https://good.example\@evil.example/`, wantError: "url: a backslash is not allowed"},
		{name: "fragment", in: "https://example.com/#x", wantError: "url: a fragment is not sent; leave it out"},
		{name: "empty fragment", in: "https://example.com/#", wantError: "url: a fragment is not sent; leave it out"},
		{name: "dot at the end", in: "https://example.com./", wantError: `url: host "example.com.": want parts of 1 to 63 letters, digits, - or _, with a dot between two`},
		{name: "IDN", in: "https://bücher.example/", wantError: "url: only ASCII is allowed; write the host in punycode (xn--…) and escape the rest"},
		{name: "full-width dots", in: "https://127。0。0。1/", wantError: "url: only ASCII is allowed; write the host in punycode (xn--…) and escape the rest"},
		{name: "escaped host", in: "https://%65xample.com/", wantError: `url: invalid URL escape "%65"`},
		{name: "escaped IDN", in: "https://b%C3%BCcher.example/", wantError: `url: host "bücher.example": want parts of 1 to 63 letters, digits, - or _, with a dot between two`},
		{name: "short address", in: "http://127.1/", wantError: `url: host "127.1": a name does not end with a number; an IPv4 address has four decimal numbers without leading zeros`},
		{name: "one number", in: "http://2130706433/", wantError: `url: host "2130706433": a name does not end with a number; an IPv4 address has four decimal numbers without leading zeros`},
		{name: "hexadecimal", in: "http://0x7f.1/", wantError: `url: host "0x7f.1": a name does not end with a number; an IPv4 address has four decimal numbers without leading zeros`},
		{name: "hexadecimal in one", in: "http://0x7F000001/", wantError: `url: host "0x7F000001": a name does not end with a number; an IPv4 address has four decimal numbers without leading zeros`},
		{name: "octal", in: "http://0177.0.0.1/", wantError: `url: host "0177.0.0.1": a name does not end with a number; an IPv4 address has four decimal numbers without leading zeros`},
		{name: "mapped", in: "http://[::ffff:127.0.0.1]/", wantError: "url: host: write the IPv4 address 127.0.0.1 itself"},
		{name: "zone", in: "http://[fe80::1%25eth0]/", wantError: `url: host: "fe80::1%eth0" is no IPv6 address`},
		{name: "IPv4 in brackets", in: "http://[127.0.0.1]/", wantError: "url: invalid IP-literal"},
		{name: "empty port", in: "http://example.com:/", wantError: `url: port "": want a number from 1 to 65535`},
		{name: "port 0", in: "http://example.com:0/", wantError: `url: port "0": want a number from 1 to 65535`},
		{name: "port with a zero", in: "http://example.com:080/", wantError: `url: port "080": want a number from 1 to 65535`},
		{name: "port too large", in: "http://example.com:65536/", wantError: `url: port "65536": want a number from 1 to 65535`},
		{name: "dot segments", in: "https://example.com/a/../b", wantError: "url: path: dot segments are not allowed"},
		{name: "escaped dot segments", in: "https://example.com/a/%2e%2E/b", wantError: "url: path: dot segments are not allowed"},
		{name: "dot segment with a parameter", in: "https://example.com/a/..;x=1/b", wantError: "url: path: dot segments are not allowed"},
		{name: "escaped slash", in: "https://example.com/a%2Fb", wantError: "url: path: the escape %2F is ambiguous"},
		{name: "escaped backslash", in: "https://example.com/a%5cb", wantError: "url: path: the escape %5C is ambiguous"},
		{name: "escape of an escape", in: "https://example.com/%252e%252e/", wantError: "url: path: an escape of an escape is ambiguous"},
		{name: "empty segment", in: "https://example.com//a", wantError: "url: path: empty segments are not allowed"},
		{name: "escaped NUL", in: "https://example.com/a%00", wantError: "url: path: backslashes and control characters are not allowed, escaped or not"},
		{name: "escaped line feed", in: "https://example.com/a%0d%0aHost:x", wantError: "url: path: backslashes and control characters are not allowed, escaped or not"},
		{name: "line feed", in: "https://example.com/\r\nHost: x", wantError: "url: spaces and control characters are not allowed; escape them"},
		{name: "not UTF-8", in: "https://example.com/%ff", wantError: "url: path: its escapes are not UTF-8"},
		{name: "long", in: "https://example.com/" + strings.Repeat("a", abi.MaxURL), wantError: "url: it has 8212 bytes; at most 8192 are taken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := abi.ParseHTTPURL(tt.in)
			if got := errText(err); got != tt.wantError {
				t.Fatalf("error = %q, want %q", got, tt.wantError)
			}
			if err == nil && u.String() != tt.want {
				t.Errorf("url = %s, want %s", u, tt.want)
			}
		})
	}
}

func TestParseHTTPOrigin(t *testing.T) {
	tests := []struct{ in, want string }{
		{"https://Example.com", "https://example.com"},
		{"https://example.com:443", "https://example.com"},
		{"http://[2001:db8:0::7]:8080", "http://[2001:db8::7]:8080"},
		{"https://example.com/", ""},
		{"https://example.com/x", ""},
		{"https://example.com?", ""},
		{"https://*.Example.com:8443", "https://*.example.com:8443"},
		{"https://*.com", ""},
		{"https://*", ""},
		{"https://example.com/*", ""},
		{"https://me@example.com", ""},
		{"example.com", ""},
	}
	for _, tt := range tests {
		got, err := abi.ParseHTTPOrigin(tt.in)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("ParseHTTPOrigin(%s) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestHTTPOriginCovers(t *testing.T) {
	tests := []struct {
		origin, url string
		want        bool
	}{
		{"https://example.com", "https://EXAMPLE.com:443/x?y", true},
		{"https://example.com", "https://a.example.com/", false},
		{"https://example.com", "https://example.com:8443/", false},
		{"https://example.com", "http://example.com/", false},
		{"https://*.example.com", "https://a.example.com/", true},
		{"https://*.example.com", "https://example.com/", false},
		{"https://*.example.com", "https://a.example.com.evil.example/", false},
		{"", "https://example.com/", false},
	}
	for _, tt := range tests {
		u, err := abi.ParseHTTPURL(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := abi.HTTPOriginCovers(tt.origin, u); got != tt.want {
			t.Errorf("%q covers %s: %t, want %t", tt.origin, tt.url, got, tt.want)
		}
	}
}

func TestHTTPRuleMatch(t *testing.T) {
	tests := []struct {
		rule, method, url string
		want              bool
	}{
		{"GET https://example.com/v1/x", "GET", "https://example.com/v1/x", true},
		{"GET https://example.com/v1/x", "GET", "https://EXAMPLE.com:443/v1/x?any=1", true},
		{"GET https://example.com/v1/x", "GET", "https://example.com/v1/%78", true},
		{"GET https://example.com/v1/x", "HEAD", "https://example.com/v1/x", false},
		{"GET https://example.com/v1/x", "get", "https://example.com/v1/x", false},
		{"* https://example.com/v1/x", "DELETE", "https://example.com/v1/x", true},
		{"* https://example.com/v1/x", "TRACE", "https://example.com/v1/x", false},
		{"GET https://example.com/v1/x", "GET", "https://example.com/v1/x/", false},
		{"GET https://example.com/v1/x", "GET", "https://example.com/v1/X", false},
		{"GET https://example.com/v1/x", "GET", "http://example.com/v1/x", false},
		{"GET https://example.com/v1/x", "GET", "https://example.com:8443/v1/x", false},
		{"GET https://example.com/v1/*", "GET", "https://example.com/v1/", true},
		{"GET https://example.com/v1/*", "GET", "https://example.com/v1/a/b", true},
		{"GET https://example.com/v1/*", "GET", "https://example.com/v1", false},
		{"GET https://example.com/v1/*", "GET", "https://example.com/v10", false},
		{"GET https://example.com/v1/*", "GET", "https://example.com/v1/../admin", false},
		{"GET https://example.com/v1/*", "GET", "https://example.com/v1/%2e%2e/admin", false},
		{"GET https://example.com/v1/*", "GET", "https://example.com/v1/..%2fadmin", false},
		{"GET https://example.com/v1/*", "GET", "https://example.com/v1//admin", false},
		{"GET https://*.example.com/*", "GET", "https://a.example.com/", true},
		{"GET https://*.example.com/*", "GET", "https://a.b.example.com/", true},
		{"GET https://*.example.com/*", "GET", "https://example.com/", false},
		{"GET https://*.example.com/*", "GET", "https://evilexample.com/", false},
		{"GET https://*.example.com/*", "GET", "https://a.example.com.evil.example/", false},
		{"GET https://*.example.com/*", "GET", "https://a.example.com./", false},
		{"GET https://*.example.com/*", "GET", "https://evil.example/?.example.com/", false},
		{"GET https://*.example.com/*", "GET", "https://a.example.com@evil.example/", false},
		{"GET http://[2001:db8::7]/*", "GET", "http://[2001:db8:0:0::7]/x", true},
		{"GET http://10.1.0.4/*", "GET", "http://10.1.4/x", false},
	}
	for _, tt := range tests {
		r, err := abi.ParseHTTPRule(tt.rule)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Match(tt.method, u); got != tt.want {
			t.Errorf("%s matches %s %s: %t, want %t", tt.rule, tt.method, tt.url, got, tt.want)
		}
	}
	if u, _ := url.Parse("https://example.com/"); (abi.HTTPRule{}).Match("GET", u) {
		t.Error("the zero rule matches")
	}
}

func TestHTTPRuleCovers(t *testing.T) {
	tests := []struct {
		have, want string
		covers     bool
	}{
		{"GET https://example.com/x", "GET https://example.com/x", true},
		{"* https://example.com/x", "GET https://example.com/x", true},
		{"GET https://example.com/x", "* https://example.com/x", false},
		{"GET https://example.com/*", "GET https://example.com/x/y", true},
		{"GET https://example.com/*", "GET https://example.com/x/*", true},
		{"GET https://example.com/x/*", "GET https://example.com/*", false},
		{"GET https://example.com/x/", "GET https://example.com/x/*", false},
		{"GET https://*.example.com/*", "GET https://a.example.com/*", true},
		{"GET https://*.example.com/*", "GET https://*.example.com/*", true},
		{"GET https://*.example.com/*", "GET https://*.a.example.com/*", true},
		{"GET https://*.a.example.com/*", "GET https://*.example.com/*", false},
		{"GET https://a.example.com/*", "GET https://*.example.com/*", false},
		{"GET https://*.example.com/*", "GET https://example.com/*", false},
		{"GET https://example.com/*", "GET http://example.com/*", false},
		{"GET https://example.com/*", "GET https://example.com:444/*", false},
	}
	for _, tt := range tests {
		have, err := abi.ParseHTTPRule(tt.have)
		if err != nil {
			t.Fatal(err)
		}
		want, err := abi.ParseHTTPRule(tt.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := have.Covers(want); got != tt.covers {
			t.Errorf("%s covers %s: %t, want %t", have, want, got, tt.covers)
		}
	}
}

// FuzzHTTPRule: what is printed is read as the same rule; a rule that covers
// another names all that the other names; no rule names a URL that is refused.
func FuzzHTTPRule(f *testing.F) {
	for _, s := range [][3]string{
		{"GET https://example.com/v1/*", "* https://*.example.com:8443/*", "https://example.com/v1/../x"},
		{"POST http://[2001:db8::7]/a%2A", "POST http://10.0.0.1/*", "http://[2001:db8:0::7]/a*"},
		{"GET https://xn--bcher-kva.example/", "GET https://example.com./", "https://good.example@evil.example/%2e%2e/"},
		{"* https://a.b/*", "HEAD https://a.b/c/*", "HTTPS://A.B:443/c/d?e=/../"},
		{"GET http://0x7f.1/", "GET http://2130706433/", `http://a\@b/`},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, one, other, address string) {
		r, err := abi.ParseHTTPRule(one)
		if err != nil {
			return
		}
		if again, err := abi.ParseHTTPRule(r.String()); err != nil || again != r {
			t.Fatalf("%q reads as %+v and prints as %q, which reads as %+v, %v", one, r, r.String(), again, err)
		}
		if !r.Covers(r) {
			t.Errorf("%s does not cover itself", r)
		}
		o, otherErr := abi.ParseHTTPRule(other)
		covers := otherErr == nil && r.Covers(o)
		u, err := url.Parse(address)
		if err != nil {
			return
		}
		c, cErr := abi.ParseHTTPURL(address)
		for _, m := range abi.HTTPMethods() {
			if covers && o.Match(m, u) && !r.Match(m, u) {
				t.Errorf("%s covers %s, which names %s %s, and does not name it", r, o, m, u)
			}
			if r.Match(m, u) && (u.Hostname() == "" || u.User != nil || strings.Contains(u.Path, "/../")) {
				t.Errorf("%s names %s %s", r, m, u)
			}
			if cErr == nil && r.Match(m, u) != r.Match(m, c) {
				t.Errorf("%s: %s and %s are not named alike", r, u, c)
			}
		}
		if cErr == nil {
			if again, err := abi.ParseHTTPURL(c.String()); err != nil || again.String() != c.String() {
				t.Errorf("%q reads as %s, which reads as %s, %v", address, c, again, err)
			}
		}
	})
}
