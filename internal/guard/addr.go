package guard

import (
	"net/netip"
	"slices"
	"strconv"
)

// CheckAddr returns an *Error unless a may be called: its address is public, or
// opened by Allow or Development, and not closed by Deny; its port is one of
// Ports. IPv4 addresses inside of IPv6 addresses are looked at too.
func (r Rules) CheckAddr(a netip.AddrPort) error {
	if err := r.checkIP(a.Addr()); err != nil {
		return err
	}
	return r.checkPort(a.Addr().String(), a.Port())
}

func (r Rules) checkIP(ip netip.Addr) error {
	if !ip.IsValid() {
		return &Error{Reason: "there is no address"}
	}
	if ip.Zone() != "" {
		return &Error{Target: ip.String(), Reason: "an address with a zone is this machine's own"}
	}
	ip = ip.Unmap() // it is dialled as IPv4
	if contains(r.Deny, ip) {
		return &Error{Target: ip.String(), Reason: "Guard.Deny names it"}
	}
	if v4, ok := embedded(ip); ok {
		if contains(r.Deny, v4) {
			return &Error{Target: ip.String(), Reason: "Guard.Deny names " + v4.String() + " in it"}
		}
		if why := special(v4); why != "" && !contains(r.Allow, v4) {
			return &Error{Target: ip.String(), Reason: v4.String() + " in it is not public: " + why, Setting: Allow}
		}
	}
	why := special(ip)
	if why == "" || contains(r.Allow, ip) {
		return nil
	}
	if !ip.IsLoopback() {
		return &Error{Target: ip.String(), Reason: "not a public address: " + why, Setting: Allow}
	}
	if !r.Development {
		return &Error{Target: ip.String(), Reason: "not a public address: " + why, Setting: Development}
	}
	return nil
}

func (r Rules) checkPort(host string, port uint16) error {
	target := host + " port " + strconv.Itoa(int(port))
	if port == 0 {
		return &Error{Target: target, Reason: "0 is no port"}
	}
	ports := r.Ports
	if len(ports) == 0 {
		ports = defaultPorts
	}
	if r.Development || slices.Contains(ports, port) {
		return nil
	}
	return &Error{Target: target, Reason: "not a port that may be called", Setting: Ports}
}

func contains(prefixes []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// Prefixes of IPv6 addresses that a gateway turns into the IPv4 address that is
// inside.
var (
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291, section 2.5.5.1: deprecated
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765, section 2.1: IPv4-translated, obsolete
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052, section 2.1: the well-known prefix
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")  // RFC 8215: for networks' own translators
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056, section 2
	teredo     = netip.MustParsePrefix("2001::/32")       // RFC 4380, section 4
)

// embedded returns the IPv4 address inside of ip, if it has one of the known
// forms.
func embedded(ip netip.Addr) (v4 netip.Addr, ok bool) {
	if !ip.Is6() || ip.IsLoopback() || ip.IsUnspecified() {
		return netip.Addr{}, false
	}
	b := ip.As16()
	switch {
	case compatible.Contains(ip), translated.Contains(ip), nat64.Contains(ip), nat64Local.Contains(ip):
		// A local translator may place it elsewhere (RFC 6052, section 2.2): that
		// prefix is not public anyway.
		return v4At(b[12:]), true
	case sixToFour.Contains(ip):
		return v4At(b[2:]), true
	case teredo.Contains(ip): // the client's, with each bit inverted
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}), true
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP: RFC 5214, section 6.1
		return v4At(b[12:]), true
	}
	return netip.Addr{}, false
}

func v4At(b []byte) netip.Addr {
	return netip.AddrFrom4([4]byte(b[:4]))
}
