package webhooktest

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Fault is what a [Receiver] does with one request. The zero Fault is none: the
// request is answered 200.
type Fault struct {
	kind   kind
	delay  time.Duration // before the answer
	status int           // 0: 200
	header http.Header
	body   func(ctx context.Context) io.Reader // nil: empty
	packed func() io.Reader                    // the body in gzip; nil: it is sent as it is
}

type kind uint8

const (
	answers kind = iota
	hangs
	resets
	miscertifies
)

// Status answers with the code, from 200 to 599, and an empty body. It panics on
// others, as all faults do on values that make no sense.
func Status(code int) Fault { return answer("Status", code, 200, 599) }

// RetryAfter answers with the code, such as 429 or 503, and asks the sender to
// come again after d, which is rounded up to seconds.
func RetryAfter(code int, d time.Duration) Fault {
	f := answer("RetryAfter", code, 200, 599)
	if d < 0 {
		panic(fmt.Sprintf("webhooktest: RetryAfter: %s is negative", d))
	}
	seconds := int64((d + time.Second - 1) / time.Second)
	f.header = http.Header{"Retry-After": {strconv.FormatInt(seconds, 10)}}
	return f
}

// Redirect answers with the code, from 300 to 399, and sends the sender to another
// URL, which he must not follow.
func Redirect(code int, to string) Fault {
	f := answer("Redirect", code, 300, 399)
	f.header = http.Header{"Location": {to}}
	return f
}

// Gone answers 410: this receiver wants nothing more, ever.
func Gone() Fault { return Status(http.StatusGone) }

// Slow answers 200 after d.
func Slow(d time.Duration) Fault { return Fault{delay: d} }

// Hang never answers: it waits until the client has left.
func Hang() Fault { return Fault{kind: hangs} }

// Reset answers nothing, and resets the connection once the request has come:
// [syscall.ECONNRESET] for the client.
func Reset() Fault { return Fault{kind: resets} }

// Drip answers 200 at once, and then sends a body of n bytes, each after another
// interval; n below 1: until the client has left.
func Drip(interval time.Duration, n int) Fault {
	return Fault{body: func(ctx context.Context) io.Reader {
		return &drip{ctx: ctx, interval: interval, endless: n < 1, left: n}
	}}
}

// Huge answers 200 with a body of n bytes, whose length it does not announce.
func Huge(n int64) Fault {
	return Fault{body: func(context.Context) io.Reader { return io.LimitReader(same{}, n) }}
}

// Compressed is [Huge] with its body in gzip, a thousandth of n bytes: who limits
// what he reads before he inflates it is in for a surprise. It does not ask
// whether the client accepts gzip.
func Compressed(n int64) Fault {
	f := Huge(n)
	f.packed = func() io.Reader { return bytes.NewReader(pack(n)) }
	return f
}

// WrongCertificate shows a certificate of another host, that nobody vouches for,
// when the connection for this request is made. A client that minds it sends no
// request, and none is recorded; one that does not mind is given the next fault of
// the script.
func WrongCertificate() Fault { return Fault{kind: miscertifies} }

// answer is a fault that is a status, which must be within least and most.
func answer(name string, code, least, most int) Fault {
	if code < least || code > most {
		panic(fmt.Sprintf("webhooktest: %s: code %d is not within %d and %d", name, code, least, most))
	}
	return Fault{status: code}
}

// code is the status that f answers with.
func (f Fault) code() int {
	if f.status == 0 {
		return http.StatusOK
	}
	return f.status
}

// sleep waits for d, or returns why ctx ended before.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drip gives a byte after each interval, until ctx ends.
type drip struct {
	ctx      context.Context
	interval time.Duration
	endless  bool
	left     int
}

func (d *drip) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if !d.endless && d.left == 0 {
		return 0, io.EOF
	}
	if err := sleep(d.ctx, d.interval); err != nil {
		return 0, err
	}
	d.left--
	p[0] = filler
	return 1, nil
}

// filler is what bodies are made of.
const filler = 'x'

// same gives the filler, without end.
type same struct{}

func (same) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = filler
	}
	return len(p), nil
}

// pack returns n bytes of filler in gzip. A file of gzip may have several members
// (RFC 1952, section 2.2), so that a large one is a small one again and again.
func pack(n int64) []byte {
	const size = 1 << 20
	return append(bytes.Repeat(member(size), int(n/size)), member(n%size)...)
}

// member returns n bytes of filler as one member of gzip.
func member(n int64) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	// Neither fails: there is memory, or there is no program.
	_, _ = io.CopyN(w, same{}, n)
	_ = w.Close()
	return buf.Bytes()
}
