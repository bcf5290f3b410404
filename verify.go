package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
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

// Events returns what Verify found in the request with that context, and behind
// [Deduplicate] only what is new of it. Behind Verify it is never nil; it is empty
// where the sender sent a valid batch of none. Without Verify it is nil: the handler
// stands in the wrong place, and must not believe the request.
func Events(ctx context.Context) []Event {
	if v := verifiedFrom(ctx); v != nil {
		return v.events
	}
	return nil
}

// verified is what Verify leaves in a request's context.
type verified struct {
	source   string
	preset   string // Verifier.Preset
	events   []Event
	horizon  time.Duration // Verifier.Horizon
	hide     []string      // Verifier.Hide
	observer *observe.Observer
	counted  *atomic.Bool // set by what counts the events, for Deduplicate in front of it; nil: nobody asks
}

// count says that whoever calls it counts the events.
func (v *verified) count() {
	if v.counted != nil {
		v.counted.Store(true)
	}
}

type verifiedKey struct{}

// verifiedFrom returns what Verify left in ctx, nil without it.
func verifiedFrom(ctx context.Context) *verified {
	v, _ := ctx.Value(verifiedKey{}).(*verified)
	return v
}

// unverified says in the log that nothing vouches for the requests of r's route. Its
// pattern is there if net/http's mux has set one: a path may hold what is secret.
func unverified(r *http.Request, log *slog.Logger, about ...any) {
	if r.Pattern != "" {
		about = append(about, observe.KeyRoute, r.Pattern)
	}
	log.ErrorContext(r.Context(), "webhook route without Verify: every request is refused", about...)
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
	observer := v.Telemetry.observer()
	observer.Route(source, v.Preset)
	return &route{source: source, verifier: v, observer: observer, readTimeout: readTimeout}
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
			source: rt.source, preset: rt.verifier.Preset, events: events, horizon: rt.verifier.Horizon, hide: rt.verifier.Hide, observer: rt.observer,
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
	request := Request{Method: r.Method, URL: urlOf(r), Header: r.Header, Body: body, Time: arrived, http: r}
	begun := time.Now()
	events, err = v.verify(r.Context(), &request)
	rt.checked(&request, events, err, time.Since(begun))
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

// checked measures a check. A time that was refused counts for the skew only if
// it is signed: anybody can send others.
func (rt *route) checked(r *Request, events []Event, err error, took time.Duration) {
	if err != nil && isHandshake(err) {
		return
	}
	c := observe.Check{
		Source: rt.source, Preset: rt.verifier.Preset, Accepted: err == nil, Took: took,
		Signed: r.timed, Ahead: r.ahead,
	}
	switch {
	case err != nil:
		c.Signed = r.timed && errors.Is(err, ErrStale) && (r.fitted != nil || rt.verifier.Keyless)
	case len(events) > 0:
		c.Secret = events[0].Proof.SecretID
	case r.fitted != nil:
		c.Secret = r.fitted.String()
	}
	rt.observer.Checked(r.http.Context(), c)
}

// isHandshake reports whether err is the answer to a handshake.
func isHandshake(err error) bool {
	var a *Answer
	return errors.As(err, &a) && a.Err == nil
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
			Source: rt.source, Preset: rt.verifier.Preset, Reason: string(cause), Status: a.Status, Err: a.Err, Took: took,
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

// firstRead is how much memory a request gets before a byte of its body has
// come: what it announces is not yet sent.
const firstRead = 16 << 10

// readBody reads r's body once, at most limit bytes. Its errors are refusals.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit, "Verifier.BodyLimit")
	}
	if r.Body == nil || r.Body == http.NoBody {
		return checkLength(nil, r.ContentLength)
	}
	body, err := readUpTo(r.Body, r.ContentLength, limit)
	var outer *http.MaxBytesError
	switch {
	case err == nil:
		return checkLength(body, r.ContentLength)
	case errors.Is(err, errLimit):
		return nil, tooLarge(limit, "Verifier.BodyLimit")
	case errors.As(err, &outer):
		return nil, tooLarge(outer.Limit, "a limit before Verify")
	case errors.Is(err, http.ErrBodyReadAfterClose):
		return nil, consumed()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &refusal.Error{
			Cause: refusal.Slow,
			Text:  fmt.Sprintf("the body had not come when its time was over, %d bytes had", len(body)),
		}
	default:
		return nil, &refusal.Error{
			Cause: refusal.Incomplete, Err: ErrMalformed,
			Text: fmt.Sprintf("the body was cut short after %d bytes", len(body)),
		}
	}
}

var errLimit = errors.New("limit")

// readUpTo reads all of r, of which announced bytes are expected (-1: unknown),
// or returns errLimit having read one byte more than limit.
func readUpTo(r io.Reader, announced, limit int64) ([]byte, error) {
	size := int64(firstRead)
	if 0 <= announced && announced < size {
		size = announced + 1 // so that the end is seen without growing
	}
	buf := make([]byte, 0, size)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			return buf, errLimit
		case err == io.EOF: // bare, by the contract of io.Reader; a wrapped one is a failure
			return buf, nil
		case err != nil:
			return buf, err
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)] // grows as append does
		}
	}
}

// checkLength refuses a body that is not as long as announced (-1: unknown).
// net/http itself reports one that was cut short; here it came whole, and was
// read or changed between net/http and Verify.
func checkLength(body []byte, announced int64) ([]byte, error) {
	got := int64(len(body))
	switch {
	case announced < 0 || got == announced:
		return body, nil
	case got == 0:
		return nil, consumed()
	default:
		return nil, &refusal.Error{ // as consumed
			Cause: refusal.Consumed,
			Text:  fmt.Sprintf("the body has %d bytes of %d that were announced: it was read or changed before Verify (a middleware that inflates it, or looks into it)", got, announced),
		}
	}
}

func tooLarge(limit int64, whose string) error {
	return &refusal.Error{
		Cause: refusal.TooLarge, Err: ErrTooLarge,
		Text: fmt.Sprintf("more than the %d bytes of %s", limit, whose),
	}
}

// consumed is no fault of the sender's: he is answered 500, and tries again when
// the program is mended.
func consumed() error {
	return &refusal.Error{
		Cause: refusal.Consumed,
		Text:  "the body was read before Verify: put Verify before whatever reads or binds it (a logger, a framework's Bind, ParseForm)",
	}
}

// setReadDeadline bounds the time for r's body, and returns what ends the bound
// when all of it has come. A refused request keeps it: the server reads on after
// the answer, in the hope of using the connection again. A writer that cannot do
// it has the bounds of its server alone.
func setReadDeadline(w http.ResponseWriter, r *http.Request, timeout time.Duration) (over func()) {
	if r.ContentLength == 0 {
		return func() {}
	}
	srv, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	if srv != nil && srv.ReadTimeout > 0 && srv.ReadTimeout <= timeout {
		return func() {} // the server's own deadline is nearer: it stands
	}
	rc := http.NewResponseController(w)
	if rc.SetReadDeadline(time.Now().Add(timeout)) != nil {
		return func() {}
	}
	// There is nothing left to read of this request, and the server sets the
	// deadline of the next. One that passed meanwhile would end r's context.
	return func() { _ = rc.SetReadDeadline(time.Time{}) }
}

// restore gives r a body that can be read again, and as often as GetBody is
// called.
func restore(r *http.Request, body []byte) {
	r.GetBody = func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(body)), nil
	}
	r.Body, _ = r.GetBody()
	r.ContentLength = int64(len(body))
	r.TransferEncoding = nil
}
