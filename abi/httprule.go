package abi

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of what http.request may be given.
const (
	// MaxURL is the length of the longest URL, in bytes.
	MaxURL = 8192
	// maxHTTPRule is the length of the longest rule, in bytes.
	maxHTTPRule = 2048
	// maxHTTPRules bounds the rules of one task.
	maxHTTPRules = 64
)

// HTTPMethods lists the methods that http.request knows.
func HTTPMethods() []string {
	return []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
}

// HTTPRule names requests: a method and a pattern of URLs. A manifest asks for
// requests with it, and grants give them. Rules that name the same requests are
// equal. The zero HTTPRule names none.
type HTTPRule struct {
	// Method is one of HTTPMethods, or * for any.
	Method string
	// Scheme is https or http.
	Scheme string
	// Host is a name in lower case, an address in its shortest form without
	// brackets, or *.name for all names below, however deep, but not the name
	// itself.
	Host string
	// Port is never 0.
	Port uint16
	// Path is decoded and begins with a slash.
	Path string
	// Below is true when all paths that begin with Path are named too. Path then
	// ends with a slash.
	Below bool
}

// ParseHTTPRule reads a rule such as
//
//	POST https://tickets.example.com/v1/*
//	* https://*.example.com:8443/*
//	GET http://[2001:db8::7]/status
//
// A query is no part of a rule: whoever may ask for a path may do so with any
// query. What could be read in more than one way is refused.
func ParseHTTPRule(s string) (HTTPRule, error) {
	r, err := parseHTTPRule(s)
	if err != nil {
		return HTTPRule{}, fmt.Errorf("rule %s: %w", shown(s), err)
	}
	return r, nil
}

func parseHTTPRule(s string) (HTTPRule, error) {
	if len(s) > maxHTTPRule {
		return HTTPRule{}, fmt.Errorf("it has %d bytes; at most %d are taken", len(s), maxHTTPRule)
	}
	method, text, ok := strings.Cut(s, " ")
	if !ok {
		return HTTPRule{}, errors.New("want a method and a URL, such as GET https://example.com/v1/*")
	}
	r := HTTPRule{Method: method}
	if r.Method != "*" && !slices.Contains(HTTPMethods(), r.Method) {
		return HTTPRule{}, fmt.Errorf("method %s: want %s, or * for any", shown(r.Method), strings.Join(HTTPMethods(), ", "))
	}
	if strings.ContainsAny(text, "?#") {
		return HTTPRule{}, errors.New("a query or fragment is no part of a rule; leave it out")
	}
	if rest, below := strings.CutSuffix(text, "/*"); below {
		text, r.Below = rest+"/", true
	}
	host, rest := text, ""
	if _, after, ok := strings.Cut(text, "://"); ok {
		host, rest, _ = strings.Cut(after, "/")
	}
	if strings.Contains(rest, "*") {
		return HTTPRule{}, errors.New("a * stands for all that follows: write it last, after a slash; one that is meant is %2A")
	}
	// The parser of URLs knows no wildcard.
	const standIn = "any-name."
	wild := strings.HasPrefix(host, "*.")
	if wild {
		text = strings.Replace(text, "://*.", "://"+standIn, 1)
	}
	u, err := ParseHTTPURL(text)
	if err != nil {
		return HTTPRule{}, err
	}
	r.Scheme, r.Host, r.Path = u.Scheme, u.Hostname(), u.Path
	r.Port = portOf(u)
	if wild {
		below := strings.TrimPrefix(r.Host, standIn)
		if !strings.Contains(below, ".") {
			return HTTPRule{}, fmt.Errorf("host *.%s: want a name of at least two parts after the *", below)
		}
		r.Host = "*." + below
	}
	return r, nil
}

// String gives the rule as a manifest writes it.
func (r HTTPRule) String() string { return r.Method + " " + r.pattern() }

// Grant gives the rule as [grants] writes it.
func (r HTTPRule) Grant() string { return "http:" + r.Method + ":" + r.pattern() }

func (r HTTPRule) pattern() string {
	u := url.URL{Scheme: r.Scheme, Host: hostPort(r.Scheme, r.Host, r.Port), Path: r.Path}
	s := r.Scheme + "://" + u.Host + u.EscapedPath()
	if r.Below {
		s += "*"
	}
	return s
}

// Covers reports whether r names all requests that o names.
func (r HTTPRule) Covers(o HTTPRule) bool {
	if r.Path == "" || r.Method != "*" && r.Method != o.Method || r.Scheme != o.Scheme || r.Port != o.Port {
		return false
	}
	return r.coversHost(o.Host) && r.coversPath(o.Path, o.Below)
}

// coversHost takes a host, or a pattern of hosts.
func (r HTTPRule) coversHost(host string) bool {
	if r.Host == host {
		return true
	}
	suffix, wild := strings.CutPrefix(r.Host, "*")
	return wild && strings.HasSuffix(host, suffix) && len(host) > len(suffix)
}

func (r HTTPRule) coversPath(path string, below bool) bool {
	if r.Below {
		return strings.HasPrefix(path, r.Path)
	}
	return !below && r.Path == path
}

// Match reports whether r names the request. A URL that ParseHTTPURL would
// refuse is named by no rule.
func (r HTTPRule) Match(method string, u *url.URL) bool {
	if r.Path == "" || r.Method != "*" && r.Method != method || !slices.Contains(HTTPMethods(), method) {
		return false
	}
	c, err := canonicalURL(u)
	return err == nil && r.Scheme == c.Scheme && r.Port == portOf(c) &&
		r.coversHost(c.Hostname()) && r.coversPath(c.Path, false)
}

// ParseHTTPURL reads the URL of a request: https or http, in ASCII, without
// user and fragment. The host comes in lower case, the default port is left
// out, an empty path is /. A URL that two programs could read in two ways is
// refused: unusual spellings of addresses, names with a dot at the end, dot
// segments, empty segments, slashes, backslashes and percent signs that are
// escaped.
func ParseHTTPURL(s string) (*url.URL, error) {
	if len(s) > MaxURL {
		return nil, fmt.Errorf("url: it has %d bytes; at most %d are taken", len(s), MaxURL)
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ' || c == 0x7f:
			return nil, errors.New("url: spaces and control characters are not allowed; escape them")
		case c > 0x7f:
			return nil, errors.New("url: only ASCII is allowed; write the host in punycode (xn--…) and escape the rest")
		case c == '\\':
			return nil, errors.New("url: a backslash is not allowed")
		}
	}
	u, err := url.Parse(s)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // the URL is quoted by those who know what of it is secret
		}
		return nil, fmt.Errorf("url: %w", err)
	}
	if u.Fragment != "" || strings.Contains(s, "#") {
		return nil, errors.New("url: a fragment is not sent; leave it out")
	}
	if c, err := canonicalURL(u); err == nil {
		return c, nil
	} else {
		return nil, fmt.Errorf("url: %w", err)
	}
}

// HTTPOrigin gives scheme, host and port of a URL, as https://example.com or
// http://[2001:db8::7]:8080. The URL must come from ParseHTTPURL.
func HTTPOrigin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// ParseHTTPOrigin reads an origin, or a pattern such as
// https://*.bmc.example.com of the origins of all names below, and gives it in
// the spelling of HTTPOrigin.
func ParseHTTPOrigin(s string) (string, error) {
	r, err := parseHTTPRule("* " + s)
	if err != nil {
		return "", fmt.Errorf("origin %s: %w", shown(s), err)
	}
	if r.Path != "/" || r.Below || strings.HasSuffix(s, "/") {
		return "", fmt.Errorf("origin %s: want scheme, host and port only, such as https://example.com", shown(s))
	}
	return r.Scheme + "://" + hostPort(r.Scheme, r.Host, r.Port), nil
}

// HTTPOriginCovers reports whether a URL is of an origin, or one of a pattern
// of origins, as ParseHTTPOrigin gives it.
func HTTPOriginCovers(origin string, u *url.URL) bool {
	r, err := parseHTTPRule("* " + origin + "/*")
	return err == nil && r.Match("GET", u)
}

// canonicalURL gives a copy with one spelling for what can be spelled in
// several ways, or says what is ambiguous.
func canonicalURL(u *url.URL) (*url.URL, error) {
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("want one that begins with https:// or http://")
	case u.Opaque != "":
		return nil, errors.New("want // after the scheme")
	case u.User != nil:
		return nil, errors.New("a user or password in it is not allowed; use basic")
	case u.Host == "":
		return nil, errors.New("the host is missing")
	}
	host, port, err := splitHost(u.Scheme, u.Host)
	if err != nil {
		return nil, err
	}
	c := &url.URL{Scheme: u.Scheme, Host: hostPort(u.Scheme, host, port), Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery, ForceQuery: u.ForceQuery}
	if c.Path == "" {
		c.Path, c.RawPath = "/", ""
	}
	if err := clearPath(c.Path, c.EscapedPath()); err != nil {
		return nil, err
	}
	return c, nil
}

// splitHost takes host[:port] apart and checks both.
func splitHost(scheme, s string) (host string, port uint16, err error) {
	digits, hasPort := "", false
	if inner, ok := strings.CutPrefix(s, "["); ok {
		rest := ""
		host, rest, ok = strings.Cut(inner, "]")
		digits, hasPort = strings.CutPrefix(rest, ":")
		if !ok || rest != "" && !hasPort {
			return "", 0, errors.New("host: brackets want an IPv6 address between them and nothing but a port after")
		}
		a, err := netip.ParseAddr(host)
		if err != nil || !a.Is6() || a.Zone() != "" {
			return "", 0, fmt.Errorf("host: %s is no IPv6 address", shown(host))
		}
		if a.Is4In6() {
			return "", 0, fmt.Errorf("host: write the IPv4 address %s itself", a.Unmap())
		}
		host = a.String()
	} else {
		host, digits, hasPort = strings.Cut(s, ":")
		if host, err = hostName(host); err != nil {
			return "", 0, err
		}
	}
	if !hasPort {
		return host, defaultPort(scheme), nil
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != digits {
		return "", 0, fmt.Errorf("port %s: want a number from 1 to 65535", shown(digits))
	}
	return host, uint16(n), nil
}

// hostName checks a name, or an IPv4 address, and gives it in lower case.
func hostName(s string) (string, error) {
	const longest, longestLabel = 253, 63
	name := strings.ToLower(s)
	if name == "" || len(name) > longest {
		return "", fmt.Errorf("host: it has %d bytes; want 1 to %d", len(name), longest)
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		ok := l != "" && len(l) <= longestLabel && l[0] != '-' && l[len(l)-1] != '-'
		for i := range len(l) {
			c := l[i]
			ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_')
		}
		if !ok {
			return "", fmt.Errorf("host %s: want parts of 1 to %d letters, digits, - or _, with a dot between two", shown(s), longestLabel)
		}
	}
	// What ends with a number is an address to many resolvers, in spellings such
	// as 127.1 and 0x7f000001.
	if numeric(labels[len(labels)-1]) {
		a, err := netip.ParseAddr(name)
		if err != nil || !a.Is4() {
			return "", fmt.Errorf("host %s: a name does not end with a number; an IPv4 address has four decimal numbers without leading zeros", shown(s))
		}
	}
	return name, nil
}

// numeric reports whether a part of a name is a number, decimal, octal or
// hexadecimal.
func numeric(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// clearPath refuses a path that servers, or what stands before them, read in
// different ways.
func clearPath(path, escaped string) error {
	if !strings.HasPrefix(path, "/") {
		return errors.New("path: want one that begins with a slash")
	}
	if !utf8.ValidString(path) {
		return errors.New("path: its escapes are not UTF-8")
	}
	lower := strings.ToLower(escaped)
	for _, e := range []string{"%2f", "%5c"} {
		if strings.Contains(lower, e) {
			return fmt.Errorf("path: the escape %s is ambiguous", strings.ToUpper(e))
		}
	}
	for i := range len(path) {
		switch c := path[i]; {
		case c < ' ' || c == 0x7f || c == '\\':
			return errors.New("path: backslashes and control characters are not allowed, escaped or not")
		case c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]):
			return errors.New("path: an escape of an escape is ambiguous")
		}
	}
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		name, _, _ := strings.Cut(s, ";") // what follows is dropped by some servers
		switch {
		case name == "." || name == "..":
			return errors.New("path: dot segments are not allowed")
		case name == "" && (i < len(segments)-1 || s != ""):
			return errors.New("path: empty segments are not allowed")
		}
	}
	return nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func defaultPort(scheme string) uint16 {
	if scheme == "https" {
		return 443
	}
	return 80
}

// hostPort writes a host as a URL does: brackets where needed, no default port.
func hostPort(scheme, host string, port uint16) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != defaultPort(scheme) {
		host += ":" + strconv.Itoa(int(port))
	}
	return host
}

// portOf gives the port of a URL that is canonical.
func portOf(u *url.URL) uint16 {
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		return uint16(n)
	}
	return defaultPort(u.Scheme)
}
