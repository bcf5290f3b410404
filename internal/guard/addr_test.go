package guard_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/internal/guard"
)

// forbidden are addresses that the zero Rules refuse, by the kind of address.
var forbidden = []struct {
	name  string
	addrs []string
}{
	{"loopback", []string{"127.0.0.1", "127.0.0.0", "127.1.2.3", "127.255.255.255"}},
	{"private use", []string{"10.0.0.0", "10.0.0.1", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255"}},
	{"link-local", []string{"169.254.0.0", "169.254.169.254", "169.254.170.2", "169.254.255.255"}},
	{"CGNAT", []string{"100.64.0.0", "100.127.255.255"}},
	{"this network", []string{"0.0.0.0", "0.1.2.3", "0.255.255.255"}},
	{"benchmarking", []string{"198.18.0.0", "198.19.255.255"}},
	{"documentation", []string{"192.0.2.1", "198.51.100.1", "203.0.113.1"}},
	{"IETF protocol assignments", []string{"192.0.0.0", "192.0.0.8", "192.0.0.170", "192.0.0.255"}},
	{"6to4 relays", []string{"192.88.99.0", "192.88.99.2", "192.88.99.255"}},
	{"AS112 and AMT anycast", []string{"192.31.196.1", "192.52.193.1", "192.175.48.6", "2620:4f:8000::6", "2001:4:112::1", "2001:3::1"}},
	{"multicast", []string{"224.0.0.0", "224.0.0.251", "239.255.255.255"}},
	{"reserved", []string{"240.0.0.0", "254.1.2.3", "255.255.255.254"}},
	{"broadcast", []string{"255.255.255.255"}},
	{"clouds", []string{"168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"}},

	{"IPv6 loopback", []string{"::1"}},
	{"IPv6 unspecified", []string{"::"}},
	{"IPv4-mapped", []string{"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:168.63.129.16", "::ffff:0.0.0.0"}},
	{"IPv4-compatible", []string{"::127.0.0.1", "::10.0.0.1", "::8.8.8.8", "::2"}},
	{"IPv4-translated", []string{"::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"}},
	{"NAT64", []string{"64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::168.63.129.16", "64:ff9b::255.255.255.255"}},
	{"local NAT64", []string{"64:ff9b:1::", "64:ff9b:1::8.8.8.8", "64:ff9b:1:a00:0:100::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"}},
	{"6to4", []string{"2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::1", "2002:808:808::1"}},
	{"Teredo", []string{"2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001::1", "2001:0:808:808:0:0:80ff:fffe"}},
	{"ISATAP", []string{"2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:127.0.0.1", "fe80::5efe:8.8.8.8"}},
	{"unique local", []string{"fc00::1", "fd12:3456:789a::1", "fdff:ffff::1"}},
	{"IPv6 link-local", []string{"fe80::1", "febf::1"}},
	{"IPv6 with a zone", []string{"fe80::1%eth0", "2606:4700::1111%eth0", "::1%lo"}},
	{"site-local", []string{"fec0::1", "feff::1"}},
	{"IPv6 multicast", []string{"ff00::", "ff02::1", "ff0e::1", "ffff:ffff::"}},
	{"IPv6 documentation", []string{"2001:db8::1", "3fff::1", "3fff:fff::1"}},
	{"segment routing", []string{"5f00::1"}},
	{"discard and dummy", []string{"100::1", "100:0:0:1::1"}},
	{"ORCHID", []string{"2001:10::1", "2001:20::1", "2001:2f:ffff::1"}},
	{"drones", []string{"2001:30::1"}},
	{"IPv6 benchmarking", []string{"2001:2::1"}},
	{"IPv6 protocol assignments", []string{"2001:1::1", "2001:1::2", "2001:1ff::1"}},
	{"not assigned", []string{"1::1", "200::1", "400::1", "1fff::1", "4000::1", "64:ff9b:2::1", "64:ff9a::8.8.8.8", "8000::1", "e000::1", "fe00::1"}},
}

func TestCheckAddr_Forbidden(t *testing.T) {
	for _, test := range forbidden {
		t.Run(test.name, func(t *testing.T) {
			for _, addr := range test.addrs {
				a := netip.AddrPortFrom(netip.MustParseAddr(addr), 443)
				var refusal *guard.Error
				require.ErrorAs(t, guard.Rules{}.CheckAddr(a), &refusal, addr)
				assert.NotEmpty(t, refusal.Target, addr)
				assert.ErrorContains(t, refusal, refusal.Target)
			}
		})
	}
}

func TestCheckAddr_Public(t *testing.T) {
	for _, addr := range []string{
		"1.0.0.1", "1.1.1.1", "8.8.8.8", "9.9.9.9", "9.255.255.255", "11.0.0.0", "13.107.42.14", "34.117.59.81", "52.94.236.248",
		"100.63.255.255", "100.128.0.0", "104.16.132.229", "126.255.255.255", "128.0.0.0", "140.82.121.4", "151.101.1.69",
		"168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255",
		"192.0.1.0", "192.0.3.0", "192.88.98.255", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
		"198.51.99.255", "203.0.112.255", "203.0.114.0", "223.255.255.255", "::ffff:8.8.8.8",
		"2000::1", "2001:200::1", "2001:4860:4860::8888", "2001:db7:ffff::1", "2001:db9::1", "2003::1", "2400:cb00:2048:1::c629:d7a2",
		"2606:4700:4700::1111", "2620:fe::fe", "2620:4f:8001::1", "2a00:1450:4001:81b::200e", "2c0f:fb50:4003::", "3fff:1000::1", "3ffe::1",
		"64:ff9b::8.8.8.8", "64:ff9b::140.82.121.4", "2606:4700::5efe:8.8.8.8",
	} {
		for _, port := range []uint16{443, 8443} {
			assert.NoError(t, guard.Rules{}.CheckAddr(netip.AddrPortFrom(netip.MustParseAddr(addr), port)), addr)
		}
	}
}

func prefixes(texts ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, text := range texts {
		ps = append(ps, netip.MustParsePrefix(text))
	}
	return ps
}

// Each switch opens exactly what it names.
func TestCheckAddr_Switches(t *testing.T) {
	for _, test := range []struct {
		name            string
		rules           guard.Rules
		opened, refused []string
	}{
		{
			"development",
			guard.Rules{Development: true},
			[]string{"127.0.0.1:443", "127.9.9.9:3000", "[::1]:80", "[::ffff:127.0.0.1]:80", "8.8.8.8:1"},
			[]string{
				"10.0.0.1:443", "192.168.1.1:443", "169.254.169.254:80", "0.0.0.0:80", "[::]:80", "[fc00::1]:443", "[fe80::1]:443",
				"[64:ff9b::127.0.0.1]:443", "[::127.0.0.1]:443", "[2002:7f00:1::]:443", "127.0.0.1:0",
			},
		},
		{
			"allow a network",
			guard.Rules{Allow: prefixes("10.1.0.0/16")},
			[]string{"10.1.0.0:443", "10.1.255.255:8443", "[::ffff:10.1.2.3]:443", "8.8.8.8:443"},
			[]string{
				"10.0.255.255:443", "10.2.0.0:443", "10.1.2.3:80", "10.1.2.3:22", "127.0.0.1:443", "192.168.0.1:443",
				"[64:ff9b::10.1.2.3]:443", "[2002:a01:203::1]:443", "[::10.1.2.3]:443",
			},
		},
		{
			"allow an address",
			guard.Rules{Allow: prefixes("fd12::1/128")},
			[]string{"[fd12::1]:443"},
			[]string{"[fd12::2]:443", "[fd12::]:443", "[fd12::1%eth0]:443"},
		},
		{
			"allow loopback, and not http's port",
			guard.Rules{Allow: prefixes("127.0.0.1/32", "::1/128")},
			[]string{"127.0.0.1:443", "[::1]:443"},
			[]string{"127.0.0.2:443", "127.0.0.1:80"},
		},
		{
			"allow a translator: what is inside has to be public or named",
			guard.Rules{Allow: prefixes("64:ff9b:1::/96")},
			[]string{"[64:ff9b:1::8.8.8.8]:443"},
			[]string{"[64:ff9b:1::10.0.0.1]:443", "[64:ff9b:1:1::8.8.8.8]:443", "10.0.0.1:443"},
		},
		{
			"allow a tunnel: likewise",
			guard.Rules{Allow: prefixes("2001::/32", "2002::/16")},
			[]string{"[2001::f7f7:f7f7]:443", "[2002:808:808::1]:443"}, // 8.8.8.8, in Teredo inverted
			[]string{"[2001::f5ff:fffe]:443", "[2001::80ff:fffe]:443", "[2002:a00:1::1]:443"},
		},
		{
			"allow a translator and what is inside",
			guard.Rules{Allow: prefixes("64:ff9b::/96", "10.0.0.0/8")},
			[]string{"[64:ff9b::10.0.0.1]:443", "[64:ff9b::8.8.8.8]:443"},
			[]string{"[64:ff9b::127.0.0.1]:443"},
		},
		{
			"deny wins over public",
			guard.Rules{Deny: prefixes("8.8.8.0/24", "2606:4700::/32")},
			[]string{"8.8.4.4:443"},
			[]string{"8.8.8.8:443", "[::ffff:8.8.8.8]:443", "[64:ff9b::8.8.8.8]:443", "[2606:4700::1111]:443"},
		},
		{
			"deny wins over allow",
			guard.Rules{Allow: prefixes("10.0.0.0/8", "64:ff9b:1::/96"), Deny: prefixes("10.0.0.1/32", "9.9.9.9/32")},
			[]string{"10.0.0.2:443", "[64:ff9b:1::8.8.8.8]:443"},
			[]string{"10.0.0.1:443", "[64:ff9b:1::9.9.9.9]:443"},
		},
		{
			"deny wins over development",
			guard.Rules{Development: true, Deny: prefixes("127.0.0.1/32")},
			[]string{"127.0.0.2:443"},
			[]string{"127.0.0.1:443"},
		},
		{
			"ports",
			guard.Rules{Ports: []uint16{9443}},
			[]string{"8.8.8.8:9443"},
			[]string{"8.8.8.8:443", "8.8.8.8:8443", "10.0.0.1:9443"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.NoError(t, test.rules.Validate())
			for _, addr := range test.opened {
				assert.NoError(t, test.rules.CheckAddr(netip.MustParseAddrPort(addr)), addr)
			}
			for _, addr := range test.refused {
				assert.Error(t, test.rules.CheckAddr(netip.MustParseAddrPort(addr)), addr)
			}
		})
	}
}

func TestCheckAddr_Ports(t *testing.T) {
	for _, port := range []uint16{0, 1, 22, 25, 80, 444, 6379, 8080, 65535} {
		assert.Error(t, guard.Rules{}.CheckAddr(netip.AddrPortFrom(netip.MustParseAddr("8.8.8.8"), port)), port)
	}
	assert.Error(t, guard.Rules{}.CheckAddr(netip.AddrPort{}))
}

// An error names the setting that would allow what was refused, and that setting
// does.
func TestError_NamesTheSetting(t *testing.T) {
	for _, test := range []struct {
		addr, setting string
		allowed       guard.Rules
	}{
		{"127.0.0.1:443", guard.Development, guard.Rules{Development: true}},
		{"[::1]:443", guard.Development, guard.Rules{Development: true}},
		{"10.0.0.1:443", guard.Allow, guard.Rules{Allow: prefixes("10.0.0.1/32")}},
		{"169.254.169.254:443", guard.Allow, guard.Rules{Allow: prefixes("169.254.169.254/32")}},
		{"[fd00::1]:443", guard.Allow, guard.Rules{Allow: prefixes("fd00::1/128")}},
		{"8.8.8.8:444", guard.Ports, guard.Rules{Ports: []uint16{444}}},
	} {
		a := netip.MustParseAddrPort(test.addr)
		var refusal *guard.Error
		require.ErrorAs(t, guard.Rules{}.CheckAddr(a), &refusal, test.addr)
		assert.Equal(t, test.setting, refusal.Setting, test.addr)
		assert.ErrorContains(t, refusal, test.setting)
		assert.NoError(t, test.allowed.CheckAddr(a), test.addr)
	}
	var refusal *guard.Error
	denied := guard.Rules{Deny: prefixes("8.8.8.8/32")}
	require.ErrorAs(t, denied.CheckAddr(netip.MustParseAddrPort("8.8.8.8:443")), &refusal)
	assert.Empty(t, refusal.Setting)
	assert.EqualError(t, refusal, "blocked: 8.8.8.8: Guard.Deny names it")
}

func TestValidate(t *testing.T) {
	require.NoError(t, guard.Rules{}.Validate())
	require.NoError(t, guard.Rules{Allow: prefixes("10.0.0.0/8"), Deny: prefixes("::/0"), Ports: []uint16{1, 65535}}.Validate())
	for want, rules := range map[string]guard.Rules{
		"Guard.Allow has a prefix that is none":                                           {Allow: []netip.Prefix{{}}},
		"Guard.Deny has a prefix that is none":                                            {Deny: []netip.Prefix{{}}},
		"Guard.Allow: ::ffff:10.0.0.0/104: write IPv4 as IPv4":                            {Allow: prefixes("::ffff:10.0.0.0/104")},
		"Guard.Allow: 10.0.0.1/8: write 10.0.0.0/8 for the network, or 10.0.0.1/32 for":   {Allow: prefixes("10.0.0.1/8")},
		"Guard.Deny: fd00::1/64: write fd00::/64 for the network, or fd00::1/128 for the": {Deny: prefixes("fd00::1/64")},
		"Guard.Ports: 0 is no port":                                                       {Ports: []uint16{443, 0}},
	} {
		assert.ErrorContains(t, rules.Validate(), want)
	}
}
