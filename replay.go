package webhook

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/surehook/webhook/internal/post"
)

// HTTPHandler returns a Handler that runs h, which may be any [http.Handler] that
// is there already, with the request as it came. The answer says what becomes of
// the delivery:
//
//   - 2xx, and no answer at all, as in net/http: processed.
//   - 429 and 503 with Retry-After, in seconds or as a date: as [RetryAfter].
//   - Anything else, and a panic: a failed attempt, which is tried again by the
//     handler's RetryPolicy. Its error names the status, never the body.
//
// The body of the answer is thrown away: nobody waits for it. Permanent and
// Discard have no status; a Handler that needs them calls what HTTPHandler
// returns and decides by its own lights.
//
// The request has what was kept of the one that arrived: method, path, query
// and Host, Pattern and path values (those named in Pattern), RemoteAddr, the
// headers that the event has, and as its body the event's bytes: of a batch, one
// element's. What the verifier hides is not there, hence no signature, which was
// checked on arrival; nor are query parameters called "token", "key" and the
// like. Not kept are context values (see InboxConfig.Carry), TLS and the
// connection: the ResponseWriter cannot be hijacked and has no deadlines. An
// event that came through [Inbox.Add] is shown as a POST to "/" with its headers
// and body.
//
// The request's context is the attempt's, and ends as [Handler] says. [Events]
// returns the one event, [Current] the delivery, [Carried] what was carried. If
// the context has ended and h wrote nothing, the attempt has failed: h gave up.
//
// HTTPHandler panics if h is nil.
func HTTPHandler(h http.Handler) Handler {
	if h == nil {
		panic("webhook: HTTPHandler: the handler is nil")
	}
	return func(ctx context.Context, e Event) error {
		at := attemptFrom(ctx)
		r, err := replay(ctx, at, e)
		if err != nil {
			return Permanent(err)
		}
		defer removeForm(r)
		w := &replayWriter{ctx: ctx, header: http.Header{}}
		h.ServeHTTP(w, r)
		if w.status == 0 {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("webhook: the handler's context ended before it answered: %w", err)
			}
			w.WriteHeader(http.StatusOK)
		}
		if at != nil {
			at.status.Store(int64(w.status))
		}
		return w.outcome(time.Now())
	}
}

// replay makes the request again with which e came. at is nil outside of an
// Inbox, as in a test of the handler.
func replay(ctx context.Context, at *attempt, e Event) (*http.Request, error) {
	came, found := &arrival{}, &verified{source: e.Source, events: []Event{e}}
	if at == nil {
		found.observer = Telemetry{}.observer()
	} else {
		found.observer = at.inbox.obs
		if at.handed.arrival != nil {
			came = at.handed.arrival
		}
	}
	method := came.Method
	if method == "" {
		method = http.MethodPost
	}
	u, err := came.url()
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(context.WithValue(ctx, verifiedKey{}, found), method, "/", http.NoBody)
	if err != nil { // its text would quote the method
		return nil, fmt.Errorf("webhook: replay: the method kept is not what was written: %T", err)
	}
	r.URL, r.Host, r.RequestURI = u, came.Host, u.RequestURI()
	r.RemoteAddr, r.Pattern = came.Remote, came.Pattern
	if len(e.Headers) > 0 {
		r.Header = e.Headers.Clone() // the event is shared, and the request is h's to change
	}
	values := came.Values
	for name := range wildcards(came.Pattern) {
		if len(values) == 0 {
			break // of a pattern and values that do not fit, which were not written here
		}
		r.SetPathValue(name, values[0])
		values = values[1:]
	}
	restore(r, e.Body)
	return r, nil
}

// removeForm deletes the files of a form that h had parsed, as net/http does.
func removeForm(r *http.Request) {
	if r.MultipartForm != nil {
		_ = r.MultipartForm.RemoveAll()
	}
}

// replayWriter is the ResponseWriter of a replay. The status and Retry-After are all
// that counts of what is written; it can be flushed, since there is nothing to.
type replayWriter struct {
	ctx        context.Context // the attempt's
	header     http.Header
	status     int    // 0: nothing was written yet
	retryAfter string // when the status was written
}

func (w *replayWriter) Header() http.Header { return w.header }

func (w *replayWriter) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("webhook: invalid status code %d", status)) // as net/http does
	}
	informational := status < 200 && status != http.StatusSwitchingProtocols
	if w.status == 0 && !informational {
		w.status, w.retryAfter = status, w.header.Get("Retry-After")
	}
}

func (w *replayWriter) Write(p []byte) (int, error) { return w.discard(len(p)) }

func (w *replayWriter) WriteString(s string) (int, error) { return w.discard(len(s)) }

// discard takes n bytes of the body, until the context ends: what writes without
// end is told to stop, as by a client that has gone.
func (w *replayWriter) discard(n int) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.status == http.StatusNoContent || w.status == http.StatusNotModified {
		return 0, http.ErrBodyNotAllowed
	}
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return n, nil
}

// Flush makes it an [http.Flusher].
func (w *replayWriter) Flush() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
}

// outcome is what a Handler returns that answered so at the time now.
func (w *replayWriter) outcome(now time.Time) error {
	switch {
	case 200 <= w.status && w.status <= 299:
		return nil
	case w.status == http.StatusTooManyRequests || w.status == http.StatusServiceUnavailable:
		if d := post.RetryAfter(w.retryAfter, now); d > 0 {
			return RetryAfter(d, &statusError{w.status})
		}
	}
	return &statusError{w.status}
}

// statusError is an answer that is no success.
type statusError struct{ status int }

func (e *statusError) Error() string {
	text := "webhook: the handler answered " + strconv.Itoa(e.status)
	if name := http.StatusText(e.status); name != "" {
		text += " " + name
	}
	return text
}

// class is "http_4xx" and the like.
func (e *statusError) class() string { return fmt.Sprintf("http_%dxx", e.status/100) }
