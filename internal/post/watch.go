package post

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"time"

	"github.com/surehook/webhook/internal/guard"
)

// Steps of a call, as they follow "while".
const (
	stepConnection = "waiting for a connection"
	stepDNS        = "looking up the host"
	stepConnect    = "connecting"
	stepTLS        = "shaking hands in TLS"
	stepAnswer     = "waiting for the answer"
	stepBody       = "reading the answer"
)

// watch follows one call through its phases. Several addresses are dialled at
// once, and a dial may go on when its call has long ended. It is the context of the
// call, so that a dial finds it.
type watch struct {
	context.Context
	trace httptrace.ClientTrace // of the request

	mu                      sync.Mutex
	step                    string
	host                    string // that was looked up
	address                 string
	connected               bool  // one of the addresses
	ready                   bool  // there is a connection: dials that still run are not this call's
	dialErr                 error // of an address that the guard let pass
	dialAddress             string
	dns, connect, tls, wait span
}

type watchKey struct{}

func (w *watch) Value(key any) any {
	if key == (watchKey{}) {
		return w
	}
	return w.Context.Value(key)
}

// span is a phase. Zero: it did not begin.
type span struct{ from, to time.Time }

func (s *span) begin() {
	if s.from.IsZero() {
		s.from = time.Now()
	}
}

func (s *span) length(now time.Time) time.Duration {
	switch {
	case s.from.IsZero():
		return 0
	case s.to.IsZero():
		return now.Sub(s.from)
	default:
		return s.to.Sub(s.from)
	}
}

// onto returns a context under which a call is followed, but for its dials: nearly
// every call finds a connection, and needs no hooks for these.
func (w *watch) onto(ctx context.Context) context.Context {
	w.Context = ctx
	w.trace = httptrace.ClientTrace{
		TLSHandshakeStart: func() {
			w.dialling(func() { w.step = stepTLS; w.tls.begin() })
		},
		TLSHandshakeDone: func(tls.ConnectionState, error) {
			w.dialling(func() { w.tls.to = time.Now() })
		},
		GotConn: w.gotConn,
		GotFirstResponseByte: func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.wait.to = time.Now()
		},
	}
	return httptrace.WithClientTrace(w, &w.trace)
}

// ontoDial returns a context under which dials are followed, for the call whose
// context ctx comes from.
func ontoDial(ctx context.Context) context.Context {
	w, ok := ctx.Value(watchKey{}).(*watch)
	if !ok {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(info httptrace.DNSStartInfo) {
			w.dialling(func() { w.step, w.host = stepDNS, info.Host; w.dns.begin() })
		},
		DNSDone: func(httptrace.DNSDoneInfo) {
			w.dialling(func() { w.dns.to = time.Now() })
		},
		ConnectStart: func(_, address string) {
			w.dialling(func() {
				if !w.connected {
					w.step, w.address = stepConnect, address
				}
				w.connect.begin()
			})
		},
		ConnectDone: func(_, address string, err error) {
			w.dialling(func() { w.dialled(address, err) })
		},
	})
}

// dialling runs f unless the call has a connection.
func (w *watch) dialling(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ready {
		f()
	}
}

// dialled notes what became of one address.
func (w *watch) dialled(address string, err error) {
	if w.connected {
		return // another was faster
	}
	w.connect.to = time.Now()
	if err == nil {
		w.connected, w.address = true, address
		return
	}
	if _, refused := errors.AsType[*guard.Error](err); !refused {
		w.dialErr, w.dialAddress = err, address
	}
}

func (w *watch) gotConn(info httptrace.GotConnInfo) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ready, w.step = true, stepAnswer
	w.wait = span{}
	w.wait.begin()
	w.address = addressOf(info.Conn.RemoteAddr())
	if info.Reused {
		w.dns, w.connect, w.tls = span{}, span{}, span{}
	}
}

// addressOf returns addr.String(), of TCP by a shorter way.
func addressOf(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		if a := tcp.AddrPort(); a.IsValid() {
			return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
		}
	}
	return addr.String()
}

// answered notes that what is left is the body.
func (w *watch) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.step = stepBody
}

// where returns the step that was reached, the address, and the error of an
// address that the guard let pass.
func (w *watch) where() (step, address string, dialErr error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	step = w.step
	if step == "" {
		step = stepConnection
	}
	return step, w.tried(), w.dialErr
}

// lookedUp returns the host that was looked up: the URL's, or that of a proxy which
// the caller's own RoundTripper goes through.
func (w *watch) lookedUp() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.host == "" {
		return "the host"
	}
	return w.host
}

// tried returns the address that was connected to, or tried last: one that the
// guard let pass, if it did.
func (w *watch) tried() string {
	if !w.connected && !w.ready && w.dialErr != nil {
		return w.dialAddress
	}
	return w.address
}

// report fills in what was seen, with r.Duration gone since r.Start.
func (w *watch) report(r *Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := r.Start.Add(r.Duration)
	r.Address = w.tried()
	r.DNS, r.Connect, r.TLS, r.FirstByte = w.dns.length(now), w.connect.length(now), w.tls.length(now), w.wait.length(now)
}
