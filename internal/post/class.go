package post

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/surehook/webhook/internal/guard"
)

// Classes of failures. A success has none.
const (
	DNS         = "dns"         // the host's name has no address, or could not be looked up
	Blocked     = "blocked"     // the guard refused the URL, or all addresses that were dialled
	Refused     = "refused"     // nothing listens there
	Unreachable = "unreachable" // no way to the network or host, or no connection to be had here
	TLS         = "tls"         // handshake or certificate
	Timeout     = "timeout"     // of the call, or of one of its phases
	Reset       = "reset"       // the receiver ended the connection before its answer was complete
	Protocol    = "protocol"    // the answer is not HTTP, breaks a limit, or the transport failed otherwise
	Canceled    = "canceled"    // the caller's context ended
	HTTP3xx     = "http_3xx"
	HTTP4xx     = "http_4xx"
	HTTP5xx     = "http_5xx"
)

// failure is a Result's Err. Its text is written here, from the types of errors
// and never from theirs: they quote URLs, and what the receiver wrote.
type failure struct {
	class, text string
	err         error // a *guard.Error, or one of package context; nil otherwise
}

func (f *failure) Error() string { return "webhook: " + f.text }

func (f *failure) Unwrap() error { return f.err }

// classify says what err is, with which a call under ctx ended.
func classify(ctx context.Context, err error, w *watch) *failure {
	if f := (*failure)(nil); errors.As(err, &f) {
		return f
	}
	step, address, dialErr := w.where()
	if refusal, ok := errors.AsType[*guard.Error](err); ok {
		if dialErr == nil {
			return &failure{class: Blocked, text: refusal.Error(), err: refusal}
		}
		err = dialErr // of an address that may be called: a host that is down will be back
	}
	if f := ended(ctx, step); f != nil {
		return f
	}
	for _, f := range []*failure{lookup(err, w.lookedUp()), handshake(err, step), system(err, address), late(err, step), closed(err, step), broken(err)} {
		if f != nil {
			return f
		}
	}
	return &failure{class: Protocol, text: fmt.Sprintf("the transport failed with an error of type %T while %s", innermost(err), step)}
}

func ended(ctx context.Context, step string) *failure {
	err := ctx.Err()
	if errors.Is(err, context.DeadlineExceeded) {
		return &failure{class: Timeout, text: "timeout while " + step, err: err}
	}
	if err != nil {
		return &failure{class: Canceled, text: "canceled while " + step, err: err}
	}
	return nil
}

// lookup holds for errors of the DNS, of the host that was looked up.
func lookup(err error, host string) *failure {
	e, ok := errors.AsType[*net.DNSError](err)
	switch {
	case !ok:
		return nil
	case e.IsNotFound:
		return &failure{class: DNS, text: host + ": no such host"}
	case e.IsTimeout:
		return &failure{class: DNS, text: host + ": timeout of the DNS server"}
	default:
		return &failure{class: DNS, text: host + ": the DNS server could not look it up"}
	}
}

func handshake(err error, step string) *failure {
	if text := certificate(err); text != "" {
		return &failure{class: TLS, text: text}
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return &failure{class: TLS, text: "the receiver does not speak TLS on this port"}
	}
	// An alert, which can also come after the handshake. Its text is one of
	// package tls.
	if e, ok := errors.AsType[*net.OpError](err); ok && (e.Op == "remote error" || e.Op == "local error") {
		return &failure{class: TLS, text: e.Op + ": " + e.Err.Error()}
	}
	if text := innermost(err).Error(); step == stepTLS && strings.HasPrefix(text, "tls: ") {
		return &failure{class: TLS, text: text} // of package tls, too
	}
	return nil
}

// certificate says what is wrong with the receiver's; empty if that is not it.
func certificate(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the certificate is for another host"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the certificate is signed by an unknown authority, or its chain is incomplete"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return "the certificate has expired, or is not valid yet"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the certificate is not accepted"
	}
	return ""
}

// system reads the errors of the operating system.
func system(err error, address string) *failure {
	e, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return nil
	}
	is := func(of ...syscall.Errno) bool { return slices.Contains(of, e) }
	text := e.Error()
	if address != "" {
		text = address + ": " + text
	}
	switch {
	case is(syscall.ECONNREFUSED):
		return &failure{class: Refused, text: text}
	case is(syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED):
		return &failure{class: Reset, text: text}
	case e.Timeout():
		return &failure{class: Timeout, text: text}
	default:
		return &failure{class: Unreachable, text: text}
	}
}

// late holds for timeouts of a phase.
func late(err error, step string) *failure {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return &failure{class: Timeout, text: "timeout while " + step}
	}
	return nil
}

// closed holds for connections that ended without an error of the system.
func closed(err error, step string) *failure {
	text := err.Error()
	said := func(phrases ...string) bool {
		return slices.ContainsFunc(phrases, func(p string) bool { return strings.Contains(text, p) })
	}
	switch {
	case said("GOAWAY"):
		return &failure{class: Reset, text: "the receiver ended the HTTP/2 connection while " + step}
	case said("stream error: "):
		return &failure{class: Reset, text: "the HTTP/2 stream was reset while " + step}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		said("server closed idle connection", "client connection lost", "client connection force closed"):
		return &failure{class: Reset, text: "the receiver closed the connection while " + step}
	}
	return nil
}

// broken recognises by their texts errors that package net/http has no types for.
func broken(err error) *failure {
	text := err.Error()
	for _, known := range []struct{ phrase, text string }{
		{"response headers exceeded", "the headers of the answer are larger than 64 KiB"},
		{"response header list larger than", "the headers of the answer are larger than 64 KiB"},
		{"invalid header field", "a header of the request is not valid in HTTP"},
		{"malformed", "the answer is not HTTP"},
		{"Content-Length", "the answer has no valid length"},
		{"transfer encoding", "the answer has an unknown transfer encoding"},
		{"chunk", "the body of the answer has malformed chunks"},
		{"connection error: ", "the receiver broke the rules of HTTP/2"},
	} {
		if strings.Contains(text, known.phrase) {
			return &failure{class: Protocol, text: known.text}
		}
	}
	return nil
}

// innermost returns what err wraps, and if there are several the first.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
