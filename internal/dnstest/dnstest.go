// Package dnstest has a DNS server for tests of what names may lead to.
package dnstest

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Answers are the addresses of a name. They may change between two lookups, and
// are asked for each type of record, by one goroutine at a time.
type Answers func(name string) Answer

// Answer is what there is to say of a name; zero: there is no such name.
type Answer struct {
	Alias string   // the name that it stands for, which has the addresses
	Addrs []string // IPv4 and IPv6
}

// Types of records and codes of answers:
// https://www.rfc-editor.org/rfc/rfc1035#section-3.2.2 and section 4.1.1.
const (
	typeA     = 1
	typeCNAME = 5
	typeAAAA  = 28

	noSuchName = 3
)

// Resolver returns a resolver that asks nobody but a server on loopback with
// these answers. The server ends with the test.
func Resolver(t testing.TB, answers Answers) *net.Resolver {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(conn, answers)
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func serve(conn net.PacketConn, answers Answers) {
	const header, most = 12, 512 // bytes of a message
	buf := make([]byte, most)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return // closed
		}
		if n > header {
			_, _ = conn.WriteTo(reply(buf[:n], answers), from) // who gets none asks again
		}
	}
}

// reply builds the message that answers query, which has one question:
// https://www.rfc-editor.org/rfc/rfc1035#section-4.1
func reply(query []byte, answers Answers) []byte {
	var labels []string
	end := 12
	for query[end] != 0 {
		size := int(query[end])
		labels = append(labels, string(query[end+1:end+1+size]))
		end += 1 + size
	}
	end++
	qtype := binary.BigEndian.Uint16(query[end:])
	answer := answers(strings.Join(labels, "."))

	msg := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[12:end+4]...)
	if answer.Alias == "" && len(answer.Addrs) == 0 {
		msg[3] |= noSuchName
	}
	owner := []byte{0xc0, 12} // points to the question
	if answer.Alias != "" {
		alias := encode(answer.Alias)
		msg = appendRecord(msg, owner, typeCNAME, alias)
		owner = alias
	}
	for _, addr := range answer.Addrs {
		ip := netip.MustParseAddr(addr)
		if ip.Is4() && qtype == typeA || ip.Is6() && qtype == typeAAAA {
			msg = appendRecord(msg, owner, qtype, ip.AsSlice())
		}
	}
	return msg
}

// appendRecord appends an answer and counts it.
func appendRecord(msg, owner []byte, rtype uint16, data []byte) []byte {
	msg[7]++
	msg = append(msg, owner...)
	msg = binary.BigEndian.AppendUint16(msg, rtype)
	msg = append(msg, 0, 1, 0, 0, 0, 0)   // class IN, to be kept for 0 s
	msg = append(msg, 0, byte(len(data))) //nolint:gosec // an address, or a name of a test
	return append(msg, data...)
}

// encode writes name as labels.
func encode(name string) []byte {
	var b []byte
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...) //nolint:gosec // at most 63 bytes
	}
	return append(b, 0)
}
