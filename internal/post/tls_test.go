package post_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/internal/post"
)

// issue returns a self-signed certificate for 127.0.0.1, as change makes it.
func issue(t *testing.T, change func(*x509.Certificate)) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: secret},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// tlsServer answers over TLS as c says, and says nothing of failed handshakes.
func tlsServer(t *testing.T, c *tls.Config, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = c
	s.Config.ErrorLog = quiet
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestPost_Certificates(t *testing.T) {
	for _, test := range []struct {
		name, class, says string
		trusted           bool
		change            func(*x509.Certificate)
	}{
		{"good", "", "", true, func(*x509.Certificate) {}},
		{"wrong: of an unknown authority", post.TLS, "unknown authority", false, func(*x509.Certificate) {}},
		{"expired", post.TLS, "expired", true, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }},
		{"not valid yet", post.TLS, "not valid yet", true, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }},
		{"other address", post.TLS, "another host", true, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 2)} }},
		{"other host name", post.TLS, "another host", true, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{secret + ".example"} }},
		{"a common name alone", post.TLS, "another host", true, func(c *x509.Certificate) { c.IPAddresses, c.Subject.CommonName = nil, "127.0.0.1" }},
		{"of a client", post.TLS, "not accepted", true, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var calls atomic.Int32
			certificate, pool := issue(t, test.change)
			s := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{certificate}}, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
			c := client(t, post.Config{})
			if test.trusted {
				c.Trust(pool)
			}
			r := call(t, c, s.URL, long)
			assert.Equal(t, test.class, r.Class, "%v", r.Err)
			assert.Positive(t, r.TLS)
			if test.class != "" {
				assert.ErrorContains(t, r.Err, test.says)
				assert.Zero(t, calls.Load(), "the request was sent")
			}
		})
	}
}

func TestPost_Versions(t *testing.T) {
	certificate, pool := issue(t, func(*x509.Certificate) {})
	for version, class := range map[uint16]string{
		tls.VersionTLS10: post.TLS,
		tls.VersionTLS11: post.TLS,
		tls.VersionTLS12: "",
		tls.VersionTLS13: "",
	} {
		s := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: version, MaxVersion: version}, func(http.ResponseWriter, *http.Request) {})
		c := client(t, post.Config{})
		c.Trust(pool)
		r := call(t, c, s.URL, long)
		assert.Equal(t, class, r.Class, "%s: %v", tls.VersionName(version), r.Err)
	}
}

func TestPost_Handshake(t *testing.T) {
	certificate, pool := issue(t, func(*x509.Certificate) {})
	// With TLS 1.3 the client has written by the time it is refused: what it sees
	// of that is a matter of luck.
	asks := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}, func(http.ResponseWriter, *http.Request) {})
	plain := server(t, func(http.ResponseWriter, *http.Request) {})
	for _, test := range []struct{ name, base, class string }{
		{"asks for a certificate", asks.URL, post.TLS},
		{"speaks HTTP", "https://" + plain.Listener.Addr().String(), post.TLS},
		{"speaks something else", "https://" + listen(t, func(conn net.Conn) { io.WriteString(conn, secret+secret) }), post.TLS},
		{"closes", "https://" + listen(t, func(conn net.Conn) { conn.Read(make([]byte, 4096)) }), post.Reset},
		{"resets", "https://" + listen(t, func(conn net.Conn) {
			conn.Read(make([]byte, 4096))
			reset(conn)
		}), post.Reset},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := client(t, post.Config{})
			c.Trust(pool)
			r := call(t, c, test.base, long)
			assert.Equal(t, test.class, r.Class, "%v", r.Err)
		})
	}
}
