package guard_test

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/internal/dnstest"
	"github.com/surehook/webhook/internal/guard"
)

// errLetPass ends a connection that the guard let pass, before its first packet.
var errLetPass = errors.New("let pass")

// dialed is what became of the addresses of one dial.
type dialed struct {
	mu      sync.Mutex
	passed  []string // addresses that the guard let pass
	refused []string
}

// dial dials addr under rules, without sending a packet.
func dial(t *testing.T, rules guard.Rules, r *net.Resolver, addr string) (*dialed, error) {
	t.Helper()
	var d dialed
	base := &net.Dialer{Resolver: r, Timeout: 5 * time.Second, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.passed = append(d.passed, address)
		return errLetPass
	}}
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{ConnectDone: func(_, address string, err error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if refusal := new(guard.Error); errors.As(err, &refusal) {
			d.refused = append(d.refused, address)
		}
	}})
	conn, err := rules.Dialer(base).DialContext(ctx, "tcp", addr)
	require.Nil(t, conn)
	require.Error(t, err)
	return &d, err
}

func TestDialer_Names(t *testing.T) {
	for _, test := range []struct {
		name            string
		alias           string
		addrs           []string
		passed, refused []string
	}{
		{"public", "", []string{"8.8.8.8"}, []string{"8.8.8.8:443"}, nil},
		{"A public, AAAA loopback", "", []string{"8.8.8.8", "::1"}, []string{"8.8.8.8:443"}, []string{"[::1]:443"}},
		{"A private, AAAA public", "", []string{"10.0.0.1", "2606:4700::1111"}, []string{"[2606:4700::1111]:443"}, []string{"10.0.0.1:443"}},
		{"second answer private", "", []string{"8.8.8.8", "10.0.0.1"}, []string{"8.8.8.8:443"}, []string{"10.0.0.1:443"}},
		{"first answer private", "", []string{"169.254.169.254", "8.8.8.8"}, []string{"8.8.8.8:443"}, []string{"169.254.169.254:443"}},
		{"all private", "", []string{"10.0.0.1", "192.168.0.1", "fd00::1"}, nil, []string{"10.0.0.1:443", "192.168.0.1:443", "[fd00::1]:443"}},
		{"CNAME to internal", "db.internal", []string{"10.0.0.1"}, nil, []string{"10.0.0.1:443"}},
		{"CNAME to localhost", "localhost", []string{"127.0.0.1", "::1"}, nil, []string{"127.0.0.1:443", "[::1]:443"}},
		{"metadata", "metadata.google.internal", []string{"169.254.169.254"}, nil, []string{"169.254.169.254:443"}},
		{"Azure's number", "", []string{"168.63.129.16"}, nil, []string{"168.63.129.16:443"}},
		{"unspecified", "", []string{"0.0.0.0", "::"}, nil, []string{"0.0.0.0:443", "[::]:443"}},
		{"translated", "", []string{"64:ff9b::7f00:1", "2002:7f00:1::"}, nil, []string{"[64:ff9b::7f00:1]:443", "[2002:7f00:1::]:443"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := dnstest.Resolver(t, func(string) dnstest.Answer { return dnstest.Answer{Alias: test.alias, Addrs: test.addrs} })
			d, err := dial(t, guard.Rules{}, r, "hooks.example.:443")
			assert.ElementsMatch(t, test.passed, d.passed)
			assert.ElementsMatch(t, test.refused, d.refused)
			if test.passed == nil {
				var refusal *guard.Error
				require.ErrorAs(t, err, &refusal)
			}
		})
	}
}

// A name that was public when it was looked at is refused when it no longer is.
func TestDialer_Rebinding(t *testing.T) {
	var public atomic.Bool
	public.Store(true)
	r := dnstest.Resolver(t, func(string) dnstest.Answer {
		if public.Load() {
			return dnstest.Answer{Addrs: []string{"8.8.8.8"}}
		}
		return dnstest.Answer{Addrs: []string{"127.0.0.1"}}
	})
	d, _ := dial(t, guard.Rules{}, r, "rebind.example.:443")
	require.Equal(t, []string{"8.8.8.8:443"}, d.passed)

	public.Store(false)
	d, err := dial(t, guard.Rules{}, r, "rebind.example.:443")
	require.Empty(t, d.passed)
	var refusal *guard.Error
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, guard.Development, refusal.Setting)
}

// What the guard says is not the resolver's to say: names of the hosts file and
// addresses in brackets pass the same gate, and so does each port.
func TestDialer_WithoutDNS(t *testing.T) {
	for addr, setting := range map[string]string{
		"localhost:443":               guard.Development,
		"127.0.0.1:443":               guard.Development,
		"[::ffff:127.0.0.1]:443":      guard.Development,
		"[::1]:443":                   guard.Development,
		"0.0.0.0:443":                 guard.Allow,
		"[64:ff9b::a9fe:a9fe]:443":    guard.Allow,
		"8.8.8.8:22":                  guard.Ports,
		"[2606:4700:4700::1111]:6379": guard.Ports,
	} {
		d, err := dial(t, guard.Rules{}, nil, addr)
		var refusal *guard.Error
		require.ErrorAs(t, err, &refusal, addr)
		assert.Equal(t, setting, refusal.Setting, addr)
		assert.Empty(t, d.passed, addr)
	}
	_, err := dial(t, guard.Rules{}, nil, ":443") // without a host it is this machine
	require.ErrorAs(t, err, new(*guard.Error))

	d, err := dial(t, guard.Rules{Development: true}, nil, "127.0.0.1:3000")
	require.ErrorIs(t, err, errLetPass)
	require.Equal(t, []string{"127.0.0.1:3000"}, d.passed)
}

// The base's settings stay, its control functions come second, and it is not
// changed.
func TestDialer_Base(t *testing.T) {
	var asked []string
	base := &net.Dialer{Timeout: time.Minute, Control: func(_, address string, _ syscall.RawConn) error {
		asked = append(asked, address)
		return errLetPass
	}}
	d := guard.Rules{}.Dialer(base)
	require.Equal(t, time.Minute, d.Timeout)
	require.Nil(t, base.ControlContext)

	_, err := d.DialContext(t.Context(), "tcp", "10.0.0.1:443")
	require.ErrorContains(t, err, "private use")
	require.Empty(t, asked)
	_, err = d.DialContext(t.Context(), "tcp", "8.8.8.8:443")
	require.ErrorIs(t, err, errLetPass)
	require.Equal(t, []string{"8.8.8.8:443"}, asked)
}

func TestDialer_TCPAlone(t *testing.T) {
	d := guard.Rules{Development: true}.Dialer(nil)
	for _, network := range []string{"udp", "unix"} {
		_, err := d.DialContext(t.Context(), network, "127.0.0.1:53")
		require.ErrorContains(t, err, "only TCP", network)
	}
}

// A connection is made where the rules allow one.
func TestDialer_Connects(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()

	_, err = guard.Rules{Ports: []uint16{netip.MustParseAddrPort(l.Addr().String()).Port()}}.Dialer(nil).DialContext(t.Context(), "tcp", l.Addr().String())
	require.ErrorContains(t, err, guard.Development)

	conn, err := guard.Rules{Development: true}.Dialer(nil).DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	conn.Close()
}
