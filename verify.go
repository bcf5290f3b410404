package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/internal/refusal"
)

// readTimeout is how long a body may take to come. Senders wait for some seconds
// themselves; a client that is slower holds a connection on purpose.
const readTimeout = 10 * time.Second

// Verify returns a middleware that lets only authentic requests through. It reads
// the body once, checks the signature over the bytes as they came, puts the
// events into the context for [Events] and for [Inbox.Receive], and calls the next
// handler with the body restored (also through Request.GetBody). source is the
// sender's logical name in this program, such as "stripe": it is stored with each
// event.
//
// It answers itself, in constant words, and the next handler does not run:
//
//   - the handshakes that v's sender makes;
//   - 401: no signature fits, none is there, or the signed time is outside
//     v.Tolerance on either side;
//   - 400: the request is not what the sender sends, or its body was cut short;
//   - 405 with Allow: not one of v.Methods. A redirect turned a POST into a GET,
//     most of the time: give the sender the exact URL;
//   - 408: the body took longer than 10 s. Where the ResponseWriter has no
//     deadlines, only the server's timeouts bound it. Set those too,
//     http.Server.ReadHeaderTimeout above all;
//   - 413: the body is larger than v.BodyLimit. One that announces it is not
//     read at all;
//   - 500: somebody read the body before: a framework's Bind, ParseForm, a logger.
//     Verify stands before them;
//   - 503 with Retry-After: v.Secrets failed.
//
// Why a request was refused is a log record at WARN, with a reason to count and a
// diagnosis to mend it with; it holds nothing of the body, the signature or the
// secrets. A panic of v's functions is net/http's to recover: nothing is let
// through.
//
// Verify panics on an empty source, on a Verifier without Check, and on one
// without Secrets that is not Keyless, such as a preset's that was given none.
func Verify(source string, v Verifier) func(http.Handler) http.Handler {
	return newRoute(source, v).middleware
}

// Events returns what Verify found in the request with that context. Behind
// Verify it is never nil; it is empty where the sender sent a valid batch of
// none. Without Verify it is nil: the handler stands in the wrong place, and must
// not believe the request.
func Events(ctx context.Context) []Event {
	if v := verifiedFrom(ctx); v != nil {
		return v.events
	}
	return nil
}

// verified is what Verify leaves in a request's context.
type verified struct {
	source   string
	events   []Event
	horizon  time.Duration // Verifier.Horizon
	observer *observe.Observer
}

type verifiedKey struct{}

// verifiedFrom returns what Verify left in ctx, nil without it.
func verifiedFrom(ctx context.Context) *verified {
	v, _ := ctx.Value(verifiedKey{}).(*verified)
	return v
}

// route is one use of Verify.
type route struct {
	source      string
	verifier    Verifier
	observer    *observe.Observer
	readTimeout time.Duration
}

func newRoute(source string, v Verifier) *route {
	if source == "" {
		panic("webhook: Verify: source is empty: name the sending system")
	}
	if err := v.complete(); err != nil {
		panic(fmt.Sprintf("webhook: Verify %q: %v", source, err))
	}
	return &route{source: source, verifier: v, observer: v.Telemetry.observer(), readTimeout: readTimeout}
}

func (rt *route) middleware(next http.Handler) http.Handler {
	if next == nil {
		panic(fmt.Sprintf("webhook: Verify %q: the next handler is nil", rt.source))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		body, events, err := rt.verify(w, r, start)
		if err != nil {
			rt.end(w, r, err, time.Since(start))
			return
		}
		ctx := context.WithValue(r.Context(), verifiedKey{}, &verified{
			source: rt.source, events: events, horizon: rt.verifier.Horizon, observer: rt.observer,
		})
		r = r.WithContext(ctx)
		restore(r, body)
		next.ServeHTTP(w, r)
	})
}

// verify reads the request and has it checked; its error is not an *Answer yet.
func (rt *route) verify(w http.ResponseWriter, r *http.Request, arrived time.Time) (body []byte, events []Event, err error) {
	v := &rt.verifier
	bodyHasCome := setReadDeadline(w, r, rt.readTimeout)
	if err := v.allows(r.Method); err != nil {
		return nil, nil, err
	}
	body, err = readBody(r, v.bodyLimit())
	if err != nil {
		return nil, nil, err
	}
	bodyHasCome()
	request := Request{Method: r.Method, URL: r.URL, Header: r.Header, Body: body, Time: arrived, http: r}
	events, err = v.verify(r.Context(), &request)
	if err != nil {
		return nil, nil, hint(err, r, body)
	}
	for i := range events {
		if events[i].Source == "" {
			events[i].Source = rt.source
		}
	}
	return body, events, nil
}

// end answers a request that goes no further.
func (rt *route) end(w http.ResponseWriter, r *http.Request, err error, took time.Duration) {
	a := answerOf(err, rt.verifier.Preset)
	if a.Err != nil {
		cause := causeOf(a.Err)
		switch cause {
		case refusal.Method, refusal.TooLarge, refusal.Slow, refusal.Incomplete:
			closeConnection(w, r)
		default: // the body has come
		}
		rt.observer.Rejected(r.Context(), observe.Rejection{
			Source: rt.source, Reason: string(cause), Status: a.Status, Err: a.Err, Took: took,
		})
	}
	a.write(w)
}

// closeConnection ends an HTTP/1 connection with the answer to a request whose
// body has not come: the server would wait for it before it answers. HTTP/2 resets
// the stream, and would take the header for a wish to close all of them.
func closeConnection(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
	}
}

// hint adds to a refusal what only this side knows: a body of unknown length that
// is empty is how one looks that was read before.
func hint(err error, r *http.Request, body []byte) error {
	var a *Answer
	if len(body) == 0 && r.ContentLength < 0 && errors.As(err, &a) && a.Err != nil {
		a.Err = fmt.Errorf("%w; the body is empty: was it read before Verify?", a.Err)
	}
	return err
}
