package webhooktest

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
)

// RoundTrip is one request over the Receiver without a network. As a transport's,
// it ends with the request's context, also while the body is read; it inflates
// gzip for a client that did not ask for an encoding; its errors are those of a
// connection that is reset and of a certificate that is wrong.
func (r *Receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := bodyOf(req)
	if err != nil {
		return nil, err
	}
	ctx := req.Context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r.takeIf(miscertifies) {
		return nil, r.wrongCertificate(req)
	}
	u := *req.URL
	f, i := r.take(Recorded{Method: methodOf(req), URL: &u, Header: req.Header.Clone(), Body: body})
	switch f.kind {
	case hangs:
		<-ctx.Done()
		return nil, ctx.Err()
	case resets:
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	default:
	}
	if err := sleep(ctx, f.delay); err != nil {
		return nil, err
	}
	r.answered(i, f.code())
	return f.response(req)
}

// bodyOf reads and closes the request's body.
func bodyOf(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(req.Body)
	if closed := req.Body.Close(); err == nil {
		err = closed
	}
	return body, err
}

// methodOf returns the request's method, which clients may leave empty.
func methodOf(req *http.Request) string {
	if req.Method == "" {
		return http.MethodGet
	}
	return req.Method
}

// wrongCertificate is the error of a client that minds it.
func (r *Receiver) wrongCertificate(req *http.Request) error {
	if req.URL.Scheme != "https" {
		r.refuseCertificate()
	}
	c, err := stranger()
	if err != nil {
		return err
	}
	return &tls.CertificateVerificationError{
		UnverifiedCertificates: []*x509.Certificate{c.Leaf},
		Err:                    x509.HostnameError{Certificate: c.Leaf, Host: req.URL.Hostname()},
	}
}

// response is the answer to req.
func (f Fault) response(req *http.Request) (*http.Response, error) {
	res := &http.Response{
		Status:     fmt.Sprintf("%d %s", f.code(), http.StatusText(f.code())),
		StatusCode: f.code(),
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:  f.header.Clone(),
		Body:    http.NoBody,
		Request: req,
	}
	if res.Header == nil {
		res.Header = http.Header{}
	}
	if f.body == nil || req.Method == http.MethodHead {
		return res, nil
	}
	res.ContentLength = -1
	ctx, leave := context.WithCancel(req.Context())
	body := &responseBody{ctx: ctx, leave: leave, from: f.body(ctx)}
	if f.packed != nil {
		if err := body.unpack(f.packed(), req, res); err != nil {
			leave()
			return nil, err
		}
	}
	res.Body = body
	return res, nil
}

// unpack reads from the packed body, and as http.Transport does: it inflates what
// the client did not ask for in gzip.
func (b *responseBody) unpack(packed io.Reader, req *http.Request, res *http.Response) error {
	b.from = packed
	if req.Header.Get("Accept-Encoding") != "" || req.Header.Get("Range") != "" {
		res.Header.Set("Content-Encoding", "gzip")
		return nil
	}
	inflated, err := gzip.NewReader(packed)
	if err != nil {
		return err
	}
	b.from, res.Uncompressed = inflated, true
	return nil
}

// responseBody is a body that ends with its request's context, and when it is
// closed.
type responseBody struct {
	ctx   context.Context
	leave context.CancelFunc
	from  io.Reader
}

func (b *responseBody) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.from.Read(p)
}

func (b *responseBody) Close() error {
	b.leave()
	return nil
}
