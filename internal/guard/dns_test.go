package guard_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Types of DNS records: https://www.rfc-editor.org/rfc/rfc1035#section-3.2.2
const (
	typeA     = 1
	typeCNAME = 5
	typeAAAA  = 28
)

// dnsServer answers lookups on loopback with what answers says of a name and a
// type: addresses, or the name that it is an alias of.
type dnsServer struct {
	conn net.PacketConn

	mu      sync.Mutex
	answers func(name string, qtype uint16) (alias string, addrs []string)
	asked   map[string]int // how often, by name and a type
}

// resolver returns a resolver that asks a server with these answers, and nobody
// else.
func resolver(t *testing.T, answers func(name string, qtype uint16) (alias string, addrs []string)) (*net.Resolver, *dnsServer) {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &dnsServer{conn: conn, answers: answers, asked: map[string]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}, s
}

func (s *dnsServer) lookups(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name]
}

func (s *dnsServer) serve() {
	buf := make([]byte, 512)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return // closed
		}
		if n > 12 {
			s.conn.WriteTo(s.answer(buf[:n]), from)
		}
	}
}

// answer builds the message that answers query, which has one question:
// https://www.rfc-editor.org/rfc/rfc1035#section-4.1
func (s *dnsServer) answer(query []byte) []byte {
	var labels []string
	end := 12
	for query[end] != 0 {
		size := int(query[end])
		labels = append(labels, string(query[end+1:end+1+size]))
		end += 1 + size
	}
	end++
	name, qtype := strings.Join(labels, "."), binary.BigEndian.Uint16(query[end:])

	s.mu.Lock()
	if qtype == typeA {
		s.asked[name]++
	}
	alias, addrs := s.answers(name, qtype)
	s.mu.Unlock()

	msg := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[12:end+4]...)
	owner := []byte{0xc0, 12} // points to the question
	if alias != "" {
		rdata := encodeName(alias)
		msg = appendRecord(msg, owner, typeCNAME, rdata)
		owner = rdata
	}
	for _, addr := range addrs {
		ip := netip.MustParseAddr(addr)
		if ip.Is4() == (qtype == typeA) {
			msg = appendRecord(msg, owner, qtype, ip.AsSlice())
		}
	}
	return msg
}

// appendRecord appends an answer and counts it.
func appendRecord(msg, owner []byte, rtype uint16, rdata []byte) []byte {
	msg[7]++
	msg = append(msg, owner...)
	msg = binary.BigEndian.AppendUint16(msg, rtype)
	msg = append(msg, 0, 1, 0, 0, 0, 0) // class IN, to be kept for 0 s
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(rdata)))
	return append(msg, rdata...)
}

func encodeName(name string) []byte {
	var b []byte
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}
