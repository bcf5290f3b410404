package guard

import "net/netip"

// globalUnicast is all that is assigned of IPv6's unicast addresses. What lies
// outside is reserved: https://www.iana.org/assignments/ipv6-address-space
var globalUnicast = netip.MustParsePrefix("2000::/3")

// special says why ip is not global unicast; empty: it is.
func special(ip netip.Addr) string {
	for _, s := range specials {
		if s.prefix.Contains(ip) {
			return s.name
		}
	}
	if ip.Is4() || globalUnicast.Contains(ip) {
		return ""
	}
	if nat64.Contains(ip) { // globally reachable where the address inside is
		v4, _ := embedded(ip)
		return special(v4)
	}
	return "reserved (RFC 4291)"
}

// specials are the addresses that are not global unicast, the first that fits
// naming an address. They are those of IANA's registries
//
//   - https://www.iana.org/assignments/iana-ipv4-special-registry
//   - https://www.iana.org/assignments/iana-ipv6-special-registry
//   - https://www.iana.org/assignments/multicast-addresses
//   - https://www.iana.org/assignments/ipv6-address-space
//
// with those that the registries call globally reachable but where no receiver
// can be, since the nearest network answers for them (anycast) or they are no
// locators (ORCHID, drones). Before them stand addresses of clouds: one of these
// is public by its number, the others have a name that says more.
var specials = []struct {
	prefix netip.Prefix
	name   string
}{
	// https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
	{netip.MustParsePrefix("168.63.129.16/32"), "Azure's platform services"},
	// The well-known address of AWS, Azure, Google Cloud, Oracle and others.
	{netip.MustParsePrefix("169.254.169.254/32"), "link-local (RFC 3927), where clouds have their metadata service"},
	// https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata
	{netip.MustParsePrefix("100.100.100.200/32"), "shared address space (RFC 6598), Alibaba Cloud's metadata service"},
	// Oracle Cloud Infrastructure, classic.
	{netip.MustParsePrefix("192.0.0.192/32"), "IETF protocol assignments (RFC 6890), Oracle Cloud's metadata service"},
	// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
	{netip.MustParsePrefix("fd00:ec2::254/128"), "unique local (RFC 4193), AWS's metadata service"},

	{netip.MustParsePrefix("0.0.0.0/8"), "this network (RFC 791)"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private use (RFC 1918)"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared address space (RFC 6598)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback (RFC 1122)"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local (RFC 3927)"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private use (RFC 1918)"},
	{netip.MustParsePrefix("192.0.0.0/24"), "IETF protocol assignments (RFC 6890)"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation (RFC 5737)"},
	{netip.MustParsePrefix("192.31.196.0/24"), "AS112 anycast (RFC 7535)"},
	{netip.MustParsePrefix("192.52.193.0/24"), "AMT anycast (RFC 7450)"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relay anycast (RFC 7526)"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private use (RFC 1918)"},
	{netip.MustParsePrefix("192.175.48.0/24"), "AS112 anycast (RFC 7534)"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking (RFC 2544)"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation (RFC 5737)"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation (RFC 5737)"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast (RFC 5771)"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast (RFC 919)"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved (RFC 1112)"},

	{netip.MustParsePrefix("::/128"), "unspecified (RFC 4291)"},
	{netip.MustParsePrefix("::1/128"), "loopback (RFC 4291)"},
	{compatible, "IPv4-compatible (RFC 4291)"},
	{netip.MustParsePrefix("::ffff:0:0/96"), "IPv4-mapped (RFC 4291)"},
	{translated, "IPv4-translated (RFC 2765)"},
	{nat64Local, "a network's own IPv4 translation (RFC 8215)"},
	{netip.MustParsePrefix("100::/64"), "discard-only (RFC 6666)"},
	{netip.MustParsePrefix("100:0:0:1::/64"), "dummy prefix (RFC 9780)"},
	{teredo, "Teredo (RFC 4380)"},
	{netip.MustParsePrefix("2001:2::/48"), "benchmarking (RFC 5180)"},
	{netip.MustParsePrefix("2001:3::/32"), "AMT anycast (RFC 7450)"},
	{netip.MustParsePrefix("2001:4:112::/48"), "AS112 anycast (RFC 7535)"},
	{netip.MustParsePrefix("2001:10::/28"), "ORCHID (RFC 4843)"},
	{netip.MustParsePrefix("2001:20::/28"), "ORCHIDv2 (RFC 7343)"},
	{netip.MustParsePrefix("2001:30::/28"), "drone remote ids (RFC 9374)"},
	{netip.MustParsePrefix("2001::/23"), "IETF protocol assignments (RFC 2928)"},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation (RFC 3849)"},
	{sixToFour, "6to4 (RFC 3056)"},
	{netip.MustParsePrefix("2620:4f:8000::/48"), "AS112 anycast (RFC 7534)"},
	{netip.MustParsePrefix("3fff::/20"), "documentation (RFC 9637)"},
	{netip.MustParsePrefix("5f00::/16"), "segment routing (RFC 9602)"},
	{netip.MustParsePrefix("fc00::/7"), "unique local (RFC 4193)"},
	{netip.MustParsePrefix("fe80::/10"), "link-local (RFC 4291)"},
	{netip.MustParsePrefix("fec0::/10"), "site-local (RFC 3879)"},
	{netip.MustParsePrefix("ff00::/8"), "multicast (RFC 4291)"},
}
