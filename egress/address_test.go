package egress_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	private, loopback, metadata, nat64 := "a private address", "a loopback address", "an address of the cloud's metadata", "an address of NAT64"
	tests := []struct {
		address string
		granted []string
		what    string // empty: it is dialled
		never   bool   // no grant is suggested
		grant   string // that is suggested; empty: of the address itself
	}{
		{address: "198.41.0.4"},
		{address: "2001:500:2::c"},
		{address: "2606:4700::1111"},
		{address: "127.0.0.1", what: loopback},
		{address: "127.255.255.254", what: loopback},
		{address: "::1", what: loopback},
		{address: "0.0.0.0", what: "an address of this network", never: true},
		{address: "0.1.2.3", what: "an address of this network", never: true},
		{address: "0.0.0.0", granted: []string{"0.0.0.0/0"}, what: "an address of this network", never: true},
		{address: "::", what: "the unspecified address", never: true},
		{address: "::", granted: []string{"::/0"}, what: "the unspecified address", never: true},
		{address: "10.0.0.1", what: private},
		{address: "172.16.0.1", what: private},
		{address: "172.31.255.255", what: private},
		{address: "172.32.0.1"},
		{address: "192.168.1.1", what: private},
		{address: "100.64.0.1", what: "a shared address of carriers"},
		{address: "100.128.0.1"},
		{address: "100.100.100.200", what: metadata},
		{address: "169.254.169.254", what: metadata},
		{address: "169.254.170.2", what: metadata},
		{address: "168.63.129.16", what: metadata},
		{address: "169.254.1.1", what: "a link-local address"},
		{address: "fd00:ec2::254", what: metadata},
		{address: "fd20:ce::254", what: metadata},
		{address: "fe80::1", what: "a link-local address"},
		{address: "fec0::1", what: "a site-local address"},
		{address: "fc00::1", what: private},
		{address: "fdff::1", what: private},
		{address: "224.0.0.1", what: "a multicast address", never: true},
		{address: "239.255.255.255", granted: []string{"0.0.0.0/0"}, what: "a multicast address", never: true},
		{address: "ff02::1", what: "a multicast address", never: true},
		{address: "240.0.0.1", what: "a reserved address", never: true},
		{address: "255.255.255.255", what: "a reserved address", never: true},
		{address: "192.0.0.192", what: "a reserved address"},
		{address: "192.0.2.1", what: "an address of documentation"},
		{address: "198.51.100.1", what: "an address of documentation"},
		{address: "203.0.113.1", what: "an address of documentation"},
		{address: "2001:db8::1", what: "an address of documentation"},
		{address: "3fff:fff::1", what: "an address of documentation"},
		{address: "198.18.0.1", what: "an address of benchmarks"},
		{address: "192.88.99.1", what: "an address of 6to4 relays"},
		{address: "64:ff9b::7f00:1", what: nat64},
		{address: "64:ff9b::a9fe:a9fe", what: nat64},
		{address: "64:ff9b:1::7f00:1", what: nat64},
		{address: "2002:7f00:1::", what: "an address of 6to4"},
		{address: "2001::1", what: "an address of Teredo"},
		{address: "2001:10::1", what: "a reserved address"},
		{address: "::7f00:1", what: "an IPv4-compatible address", never: true},
		{address: "::ffff:0:7f00:1", what: "an IPv4-translated address", never: true},
		{address: "100::1", what: "a reserved address"},
		{address: "5f00::1", what: "a reserved address"},
		{address: "4000::1", what: "a reserved address"},

		{address: "10.1.2.3", granted: []string{"10.1.0.0/16"}},
		{address: "10.2.2.3", granted: []string{"10.1.0.0/16"}, what: private},
		{address: "127.0.0.1", granted: []string{"127.0.0.1/32"}},
		{address: "127.0.0.2", granted: []string{"127.0.0.1/32"}, what: loopback},
		{address: "fd00::1", granted: []string{"fd00::/8"}},
		{address: "64:ff9b::c629:4", granted: []string{"64:ff9b::/96"}},
		{address: "64:ff9b::7f00:1", granted: []string{"64:ff9b::/96"}, what: loopback, grant: "127.0.0.1/32"},
		{address: "64:ff9b::a00:1", granted: []string{"64:ff9b::/96", "10.0.0.0/8"}},
		{address: "64:ff9b:1::c629:4", granted: []string{"64:ff9b:1::/48"}},
		{address: "2002:a9fe:a9fe::1", granted: []string{"2002::/16"}, what: metadata, grant: "169.254.169.254/32"},
	}
	for _, tt := range tests {
		t.Run(tt.address, func(t *testing.T) {
			w := newWorld(t)
			w.names["api.example.com"] = [][]string{{tt.address}}
			for _, g := range tt.granted {
				w.call.Networks = append(w.call.Networks, netip.MustParsePrefix(g))
			}
			a := netip.MustParseAddr(tt.address)
			if tt.what == "" {
				w.refused("unavailable: http.request: connecting to api.example.com: connection refused")
				if want := []string{netip.AddrPortFrom(a, 443).String()}; !slices.Equal(w.dialled, want) {
					t.Errorf("dialled %v, want %v", w.dialled, want)
				}
				return
			}
			want := "forbidden: http.request: api.example.com: " + tt.address + " is " + tt.what
			if !tt.never {
				if tt.grant == "" {
					tt.grant = netip.PrefixFrom(a, a.BitLen()).String()
				}
				want += "; to allow it, the operator grants net:" + tt.grant
			}
			w.refused(want)
			if len(w.dialled) != 0 {
				t.Errorf("dialled %v, want none", w.dialled)
			}
		})
	}
}

func TestAddressesInURLs(t *testing.T) {
	const number = ": a name does not end with a number; an IPv4 address has four decimal numbers without leading zeros"
	tests := []struct{ url, want string }{
		{"http://127.0.0.1/", "forbidden: http.request: 127.0.0.1: 127.0.0.1 is a loopback address; to allow it, the operator grants net:127.0.0.1/32"},
		{"http://[::1]/", "forbidden: http.request: ::1: ::1 is a loopback address; to allow it, the operator grants net:::1/128"},
		{"http://[64:ff9b::7f00:1]/", "forbidden: http.request: 64:ff9b::7f00:1: 64:ff9b::7f00:1 is an address of NAT64; to allow it, the operator grants net:64:ff9b::7f00:1/128"},
		{"http://169.254.169.254/", "forbidden: http.request: 169.254.169.254: 169.254.169.254 is an address of the cloud's metadata; to allow it, the operator grants net:169.254.169.254/32"},
		{"http://[::ffff:127.0.0.1]/", "invalid: http.request: url: host: write the IPv4 address 127.0.0.1 itself"},
		{"http://[::ffff:7f00:1]/", "invalid: http.request: url: host: write the IPv4 address 127.0.0.1 itself"},
		{"http://127.1/", `invalid: http.request: url: host "127.1"` + number},
		{"http://2130706433/", `invalid: http.request: url: host "2130706433"` + number},
		{"http://0x7f000001/", `invalid: http.request: url: host "0x7f000001"` + number},
		{"http://0x7f.1/", `invalid: http.request: url: host "0x7f.1"` + number},
		{"http://0177.0.0.1/", `invalid: http.request: url: host "0177.0.0.1"` + number},
		{"http://127.0.0.1./", `invalid: http.request: url: host "127.0.0.1.": want parts of 1 to 63 letters, digits, - or _, with a dot between two`},
		{"http://127。0。0。1/", "invalid: http.request: url: only ASCII is allowed; write the host in punycode (xn--…) and escape the rest"},
	}
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			w := newWorld(t)
			w.call.Request.URL = tt.url
			// A grant of the request is no grant of the address.
			w.rules("* http://127.0.0.1/*", "* http://[::1]/*", "* http://[64:ff9b::7f00:1]/*", "* http://169.254.169.254/*")
			w.refused(tt.want)
			if len(w.dialled)+len(w.lookups) != 0 {
				t.Errorf("dialled %v, looked up %v, want nothing", w.dialled, w.lookups)
			}
		})
	}
}

func TestMappedAddressFromTheResolver(t *testing.T) {
	w := newWorld(t)
	w.names["api.example.com"] = [][]string{{"::ffff:127.0.0.1"}}
	w.refused("forbidden: http.request: api.example.com: 127.0.0.1 is a loopback address; to allow it, the operator grants net:127.0.0.1/32")
	w.names["api.example.com"] = [][]string{{"::ffff:198.41.0.4"}}
	w.refused("unavailable: http.request: connecting to api.example.com: connection refused")
	if want := []string{public + ":443"}; !slices.Equal(w.dialled, want) {
		t.Errorf("dialled %v, want %v", w.dialled, want)
	}
}

// A name that changes its address between check and use gains nothing: it is
// looked up once.
func TestRebinding(t *testing.T) {
	w := newWorld(t)
	w.names["api.example.com"] = [][]string{{public}, {"127.0.0.1"}}
	w.serve(public+":443", echo)
	w.good()
	if !slices.Equal(w.lookups, []string{"api.example.com"}) || !slices.Equal(w.dialled, []string{public + ":443"}) {
		t.Errorf("looked up %v, dialled %v, want one of each", w.lookups, w.dialled)
	}
	w.refused("forbidden: http.request: api.example.com: 127.0.0.1 is a loopback address; to allow it, the operator grants net:127.0.0.1/32")
	if len(w.dialled) != 1 {
		t.Errorf("dialled %v, want no more", w.dialled)
	}
}

func TestSeveralAddresses(t *testing.T) {
	w := newWorld(t)
	w.names["api.example.com"] = [][]string{{"127.0.0.1", "198.41.0.9", "10.0.0.1", "198.41.0.9", public}}
	w.serve(public+":443", echo)
	w.good()
	if want := []string{"198.41.0.9:443", public + ":443"}; !slices.Equal(w.dialled, want) {
		t.Errorf("dialled %v, want %v", w.dialled, want)
	}
	w.dialled = nil
	w.names["api.example.com"] = [][]string{{"198.41.1.1", "198.41.1.2", "198.41.1.3", "198.41.1.4", "198.41.1.5"}}
	w.call.Request.Method = "POST"
	w.refused("unavailable: http.request: connecting to api.example.com: connection refused; the request was not sent")
	if len(w.dialled) != 4 {
		t.Errorf("dialled %v, want 4", w.dialled)
	}
}

// A tenant is told of addresses inside nothing but that they are: with a rule
// for many names it would find out what they stand for. The log has it all.
func TestTenantsHearNoAddress(t *testing.T) {
	const inside = "forbidden: http.request: api.example.com has an address that is not public and was not granted"
	tests := []struct{ name, address, granted, want, logged string }{
		{name: "private", address: "10.0.0.1", want: inside, logged: "10.0.0.1 is a private address; to allow it, the operator grants net:10.0.0.1/32"},
		{name: "loopback", address: "::1", want: inside, logged: "::1 is a loopback address; to allow it, the operator grants net:::1/128"},
		{name: "metadata", address: "169.254.169.254", want: inside, logged: "169.254.169.254 is an address of the cloud's metadata"},
		{name: "never to be granted", address: "0.0.0.0", want: inside, logged: "0.0.0.0 is an address of this network"},
		{name: "beside what is granted", address: "10.2.0.1", granted: "10.1.0.0/16", want: inside, logged: "10.2.0.1 is a private address"},
		{name: "granted", address: "10.1.0.1", granted: "10.1.0.0/16", want: "unavailable: http.request: connecting to api.example.com: connection refused", logged: "dial tcp 10.1.0.1:443: connection refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.cfg.Dial = func(_ context.Context, network, address string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address)), Err: errors.New("connection refused")}
			}
			w.names["api.example.com"] = [][]string{{tt.address}}
			if tt.granted != "" {
				w.call.Networks = []netip.Prefix{netip.MustParsePrefix(tt.granted)}
			}
			w.call.Tenant = "p1"
			w.refused(tt.want)
			if got := w.logged(); !strings.Contains(got, tt.logged) {
				t.Errorf("log = %s, want %q in it", got, tt.logged)
			}
		})
	}
}

// Where the name server is, no one is told.
func TestNameServerIsNotTold(t *testing.T) {
	w := newWorld(t)
	w.cfg.Resolver = deaf{}
	w.refused("unavailable: http.request: looking up api.example.com: the name server gave no answer")
	if got := w.logged(); !strings.Contains(got, "read udp 10.9.9.8:4711->10.9.9.9:53: connection refused") {
		t.Errorf("log = %s, want the reason in it", got)
	}
}

// deaf is a resolver without its server.
type deaf struct{}

func (deaf) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "read udp 10.9.9.8:4711->10.9.9.9:53: connection refused", Name: host, Server: "10.9.9.9:53"}
}

func TestNoAddress(t *testing.T) {
	w := newWorld(t)
	delete(w.names, "api.example.com")
	w.refused("unavailable: http.request: looking up api.example.com: no such host")
	w.names["api.example.com"] = [][]string{{}}
	w.refused("unavailable: http.request: looking up api.example.com: it has no address")
}

func TestProxyVariablesAreIgnored(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, "http://198.41.0.66:3128")
	}
	w := newWorld(t)
	w.serve(public+":443", echo)
	w.good()
	w.plain(public+":80", echo)
	w.rules("* http://api.example.com/*")
	w.call.Request.URL = "http://api.example.com/"
	w.good()
	if want := []string{public + ":443", public + ":80"}; !reflect.DeepEqual(w.sorted(), want) {
		t.Errorf("dialled %v, want %v", w.dialled, want)
	}
}
