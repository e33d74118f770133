package egress

import "net/netip"

// inside lists the ranges of addresses that are not of the public network. The
// first range that holds an address tells what it is. Sources: the registries
// of special-purpose addresses (RFC 6890 and its successors), and where clouds
// keep their metadata.
var inside = []struct {
	prefix netip.Prefix
	what   string
	never  bool // no grant opens it
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "an address of this network", true},
	{netip.MustParsePrefix("169.254.169.254/32"), "an address of the cloud's metadata", false},
	{netip.MustParsePrefix("169.254.170.2/32"), "an address of the cloud's metadata", false},
	{netip.MustParsePrefix("100.100.100.200/32"), "an address of the cloud's metadata", false},
	{netip.MustParsePrefix("168.63.129.16/32"), "an address of the cloud's metadata", false},
	{netip.MustParsePrefix("127.0.0.0/8"), "a loopback address", false},
	{netip.MustParsePrefix("10.0.0.0/8"), "a private address", false},
	{netip.MustParsePrefix("172.16.0.0/12"), "a private address", false},
	{netip.MustParsePrefix("192.168.0.0/16"), "a private address", false},
	{netip.MustParsePrefix("100.64.0.0/10"), "a shared address of carriers", false},
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address", false},
	{netip.MustParsePrefix("192.0.0.0/24"), "a reserved address", false},
	{netip.MustParsePrefix("192.0.2.0/24"), "an address of documentation", false},
	{netip.MustParsePrefix("192.88.99.0/24"), "an address of 6to4 relays", false},
	{netip.MustParsePrefix("198.18.0.0/15"), "an address of benchmarks", false},
	{netip.MustParsePrefix("198.51.100.0/24"), "an address of documentation", false},
	{netip.MustParsePrefix("203.0.113.0/24"), "an address of documentation", false},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address", true},
	{netip.MustParsePrefix("240.0.0.0/4"), "a reserved address", true},

	{netip.MustParsePrefix("::/128"), "the unspecified address", true},
	{netip.MustParsePrefix("::1/128"), "a loopback address", false},
	{netip.MustParsePrefix("::/96"), "an IPv4-compatible address", true},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "an IPv4-translated address", true},
	{netip.MustParsePrefix("64:ff9b::/96"), "an address of NAT64", false},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "an address of NAT64", false},
	{netip.MustParsePrefix("fd00:ec2::254/128"), "an address of the cloud's metadata", false},
	{netip.MustParsePrefix("fd20:ce::254/128"), "an address of the cloud's metadata", false},
	{netip.MustParsePrefix("fc00::/7"), "a private address", false},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address", false},
	{netip.MustParsePrefix("fec0::/10"), "a site-local address", false},
	{netip.MustParsePrefix("ff00::/8"), "a multicast address", true},
	{netip.MustParsePrefix("2001::/32"), "an address of Teredo", false},
	{netip.MustParsePrefix("2001:db8::/32"), "an address of documentation", false},
	{netip.MustParsePrefix("3fff::/20"), "an address of documentation", false},
	{netip.MustParsePrefix("2001::/23"), "a reserved address", false},
	{netip.MustParsePrefix("2002::/16"), "an address of 6to4", false},
}

// global is what may be public at all among IPv6 addresses.
var global = netip.MustParsePrefix("2000::/3")

// insideOf says what an address is that must not be asked; public and granted
// ones give "". An address that carries another one must be granted, and the
// one that it carries be public or granted too.
func insideOf(a netip.Addr, granted []netip.Prefix) (what string, never bool) {
	a = a.Unmap()
	if a.Zone() != "" {
		return "an address with a zone", true
	}
	for _, row := range inside {
		if !row.prefix.Contains(a) {
			continue
		}
		if row.never || !holds(granted, a) {
			return row.what, row.never
		}
		if v4, ok := carried(a); ok {
			return insideOf(v4, granted)
		}
		return "", false
	}
	if a.Is6() && !global.Contains(a) && !holds(granted, a) {
		return "a reserved address", false
	}
	return "", false
}

func holds(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

var (
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	to6   = netip.MustParsePrefix("2002::/16")
)

// carried gives the IPv4 address to which a gateway would send what is sent to
// a. Of the local range of NAT64 only its network knows.
func carried(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case to6.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}
