package post_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/internal/dnstest"
	"github.com/surehook/webhook/internal/post"
)

// Each phase is seen, whoever dials, and hooks that the caller's context has are
// called as ever.
func TestPost_PhasesWhoeverDials(t *testing.T) {
	const host = "hooks.example"
	certificate, pool := issue(t, func(c *x509.Certificate) { c.DNSNames = []string{host} })
	s := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{certificate}}, func(http.ResponseWriter, *http.Request) {})
	address := s.Listener.Addr().String()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	resolver := dnstest.Resolver(t, func(string) dnstest.Answer { return dnstest.Answer{Addrs: []string{"127.0.0.1"}} })
	for name, rt := range map[string]http.RoundTripper{
		"the client": nil,
		"a transport of one's own": &http.Transport{
			DialContext:     (&net.Dialer{Resolver: resolver}).DialContext,
			TLSClientConfig: &tls.Config{RootCAs: pool},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, post.Config{})
			c.Trust(pool)
			c.Resolve(resolver)
			hooks := hooked{}
			call := func(base string) post.Result {
				r := c.Post(hooks.onto(t.Context()), request(t, base+path), rt)
				check(t, r)
				return r
			}

			r := call("https://" + net.JoinHostPort(host, port))
			require.NoError(t, r.Err)
			assert.Equal(t, address, r.Address)
			assert.Positive(t, r.DNS)
			assert.Positive(t, r.Connect)
			assert.Positive(t, r.TLS)
			assert.Positive(t, r.FirstByte)
			hooks.were(t, "DNSStart", "DNSDone", "ConnectStart", "ConnectDone", "TLSHandshakeStart", "TLSHandshakeDone", "GotConn", "GotFirstResponseByte")

			r = call("https://" + net.JoinHostPort(host, port))
			require.NoError(t, r.Err)
			assert.Equal(t, address, r.Address)
			assert.Zero(t, r.DNS+r.Connect+r.TLS)
			assert.Positive(t, r.FirstByte)
			hooks.were(t, "GotConn", "GotFirstResponseByte")

			down := net.JoinHostPort("127.0.0.1", closedPort(t))
			r = call("https://" + down)
			assert.Equal(t, post.Refused, r.Class)
			assert.Equal(t, down, r.Address)
			assert.ErrorContains(t, r.Err, down)
			hooks.were(t, "ConnectStart", "ConnectDone")
		})
	}
}

// hooked counts the hooks that were called.
type hooked struct {
	mu    sync.Mutex
	calls []string
}

func (h *hooked) onto(ctx context.Context) context.Context {
	called := func(name string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.calls = append(h.calls, name)
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart:             func(httptrace.DNSStartInfo) { called("DNSStart") },
		DNSDone:              func(httptrace.DNSDoneInfo) { called("DNSDone") },
		ConnectStart:         func(string, string) { called("ConnectStart") },
		ConnectDone:          func(string, string, error) { called("ConnectDone") },
		TLSHandshakeStart:    func() { called("TLSHandshakeStart") },
		TLSHandshakeDone:     func(tls.ConnectionState, error) { called("TLSHandshakeDone") },
		GotConn:              func(httptrace.GotConnInfo) { called("GotConn") },
		GotFirstResponseByte: func() { called("GotFirstResponseByte") },
	})
}

// were fails unless the hooks of these names were called since it was asked last,
// once each and in this order.
func (h *hooked) were(t *testing.T, names ...string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	assert.Equal(t, names, h.calls)
	h.calls = nil
}
