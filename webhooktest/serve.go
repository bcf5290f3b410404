package webhooktest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// URL returns the URL of the Receiver as a server, "http://127.0.0.1:port", which
// it is from the first call on. It ends the test under testing/synctest, which
// does not reach sockets.
func (r *Receiver) URL() string {
	r.t.Helper()
	return r.server(&r.plain, (*httptest.Server).Start).URL
}

// TLSURL is [Receiver.URL] over TLS, "https://127.0.0.1:port", with a certificate
// that [Receiver.Client] trusts.
func (r *Receiver) TLSURL() string {
	r.t.Helper()
	return r.server(&r.secure, (*httptest.Server).StartTLS).URL
}

// Client returns a client that trusts the certificate of [Receiver.TLSURL].
func (r *Receiver) Client() *http.Client {
	r.t.Helper()
	return r.server(&r.secure, (*httptest.Server).StartTLS).Client()
}

// server returns the server in its place, started if it is not there.
func (r *Receiver) server(place **httptest.Server, start func(*httptest.Server)) *httptest.Server {
	r.t.Helper()
	if outsideBubble() == nil {
		r.t.Fatal("webhooktest: a Receiver has no URL under testing/synctest, which does not reach sockets: use it as the http.RoundTripper of the client")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if *place != nil {
		return *place
	}
	ctx, end := context.WithCancel(context.Background())
	s := httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	s.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // certificates that are refused, as they should be
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: r.certify}
	start(s)
	r.t.Cleanup(func() {
		end() // what hangs would be waited for
		s.Close()
	})
	*place = s
	return s
}

// certify returns the configuration for a connection: nil is the server's own.
func (r *Receiver) certify(*tls.ClientHelloInfo) (*tls.Config, error) {
	if !r.takeIf(miscertifies) {
		return nil, nil
	}
	c, err := stranger()
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{c}}, nil
}

// stranger returns a certificate of another host, that nobody vouches for.
var stranger = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"stranger.invalid"},
		NotBefore:    time.Unix(0, 0), // also for clients in a bubble, where it is the year 2000
		NotAfter:     time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
})

// serve is one request over a socket.
func (r *Receiver) serve(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client has left
	}
	if r.takeIf(miscertifies) {
		r.refuseCertificate()
		panic(http.ErrAbortHandler)
	}
	u := *req.URL
	u.Scheme, u.Host = "http", req.Host
	if req.TLS != nil {
		u.Scheme = "https"
	}
	f, i := r.take(Recorded{Method: req.Method, URL: &u, Header: req.Header.Clone(), Body: body})
	switch f.kind {
	case hangs:
		<-req.Context().Done()
		panic(http.ErrAbortHandler)
	case resets:
		reset(w)
		return
	default:
	}
	if sleep(req.Context(), f.delay) != nil {
		panic(http.ErrAbortHandler)
	}
	if r.next(miscertifies) {
		w.Header().Set("Connection", "close") // a certificate is shown on a new one
	}
	r.answered(i, f.code())
	f.write(w, req)
}

// reset ends the connection without an answer: with no time to linger, what is
// sent is a RST.
func reset(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	raw := c
	if t, ok := c.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = raw.Close()
}

// write sends the answer, and each piece of its body as it comes.
func (f Fault) write(w http.ResponseWriter, req *http.Request) {
	maps.Copy(w.Header(), f.header)
	var body io.Reader
	switch {
	case f.packed != nil:
		w.Header().Set("Content-Encoding", "gzip")
		body = f.packed()
	case f.body != nil:
		body = f.body(req.Context())
	}
	w.WriteHeader(f.code())
	if body == nil || req.Method == http.MethodHead {
		return
	}
	to := flusher{w, http.NewResponseController(w)}
	_, err := to.Write(nil) // the header, before a body that takes its time
	if err == nil {
		_, err = io.Copy(to, body)
	}
	if err != nil {
		panic(http.ErrAbortHandler) // the client has left, and is not to take this for the end
	}
}

// flusher sends what is written at once.
type flusher struct {
	w  io.Writer
	rc *http.ResponseController
}

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = f.rc.Flush()
	}
	return n, err
}
