package guard_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/internal/guard"
)

// forms write an IPv4 address inside of an IPv6 address, by the layouts of their
// RFCs and not by those of the package.
var forms = []func(v4 [4]byte, noise uint64) [16]byte{
	func(v4 [4]byte, _ uint64) [16]byte { return [16]byte(append(make([]byte, 12), v4[:]...)) },
	func(v4 [4]byte, _ uint64) [16]byte { return netip.AddrFrom4(v4).As16() },
	func(v4 [4]byte, _ uint64) [16]byte { return ending("::ffff:0:0:0", v4) },
	func(v4 [4]byte, _ uint64) [16]byte { return ending("64:ff9b::", v4) },
	func(v4 [4]byte, n uint64) [16]byte {
		b := ending("64:ff9b:1::", v4)
		binary.BigEndian.PutUint32(b[6:], uint32(n))
		return b
	},
	func(v4 [4]byte, n uint64) [16]byte {
		b := [16]byte{0x20, 0x02, v4[0], v4[1], v4[2], v4[3]}
		binary.BigEndian.PutUint64(b[8:], n)
		return b
	},
	func(v4 [4]byte, n uint64) [16]byte {
		b := [16]byte{0x20, 0x01, 12: v4[0] ^ 0xff, v4[1] ^ 0xff, v4[2] ^ 0xff, v4[3] ^ 0xff}
		binary.BigEndian.PutUint64(b[4:], n)
		return b
	},
	func(v4 [4]byte, n uint64) [16]byte {
		b := ending("2606:4700::5efe:0:0", v4)
		binary.BigEndian.PutUint32(b[4:], uint32(n))
		b[8] |= byte(n>>32) & 2
		return b
	},
}

func ending(prefix string, v4 [4]byte) [16]byte {
	b := netip.MustParseAddr(prefix).As16()
	copy(b[12:], v4[:])
	return b
}

// private says so of what everybody agrees on, without a table.
func private(a netip.Addr) bool {
	b := a.As4()
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || b[0] == 0 || b[0] >= 240 ||
		b[0] == 100 && b[1]&0xc0 == 64 || b[0] == 198 && b[1]&0xfe == 18 || a == netip.MustParseAddr("168.63.129.16")
}

// A private IPv4 address is refused in each of its forms; what passes is global
// unicast in the eyes of package netip too.
func FuzzCheckAddr(f *testing.F) {
	for _, v4 := range []uint32{0, 0x7f000001, 0x0a000001, 0xa9fea9fe, 0x64400001, 0xa83f8110, 0x08080808, 0xffffffff, 0xc0a80101} {
		f.Add(v4, uint64(v4)<<32|0x5efe, []byte("\x26\x06\x47\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"))
	}
	f.Fuzz(func(t *testing.T, v4 uint32, noise uint64, any16 []byte) {
		b := [4]byte(binary.BigEndian.AppendUint32(nil, v4))
		if a := netip.AddrFrom4(b); private(a) {
			require.Error(t, guard.Rules{}.CheckAddr(netip.AddrPortFrom(a, 443)), a)
			for i, form := range forms {
				a := netip.AddrFrom16(form(b, noise))
				require.Error(t, guard.Rules{}.CheckAddr(netip.AddrPortFrom(a, 443)), "%d: %v", i, a)
				if !a.Is4In6() && !a.IsLoopback() { // those are this machine itself
					require.Error(t, guard.Rules{Development: true}.CheckAddr(netip.AddrPortFrom(a, 443)), "%d: %v", i, a)
				}
			}
		}
		a, ok := netip.AddrFromSlice(any16)
		if !ok || (guard.Rules{}).CheckAddr(netip.AddrPortFrom(a, 443)) != nil {
			return
		}
		a = a.Unmap()
		require.True(t, a.IsGlobalUnicast() && !a.IsPrivate(), a)
		require.False(t, a.Is4() && private(a), a)
	})
}
