package webhook

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/surehook/webhook/internal/observe"
)

// Forward returns a handler that hands the request's events to f, all at once: to a
// queue or a channel of one's own. It stands behind Verify, and behind Deduplicate
// is given what is new. It answers
//
//   - 200 if and only if f returned nil or [Discard], which says that there is nothing
//     to hand on, and for a request without events, for which f is not called;
//   - 400 if f's error is [Permanent]: the sender would only send it again;
//   - 503 with Retry-After for any other error. That of [RetryAfter] says when, within
//     one second and 24 hours;
//   - 500 without Verify in front.
//
// ctx is the request's: it ends when the sender goes away, and f then returns an
// error, unless the events have arrived where they should. f must not go on after it
// returned. A panic of f is net/http's to recover. Each event that f took or discarded
// is a record in the log, and so is each that was refused, with the reason; of those
// that come again ten seconds of one reason are one record and a count.
//
// Forward panics if f is nil.
func Forward(f func(ctx context.Context, events []Event) error) http.Handler {
	if f == nil {
		panic("webhook: Forward: the function is nil")
	}
	return &forwarder{f: f}
}

type forwarder struct {
	f     func(ctx context.Context, events []Event) error
	unset sync.Once // the log says once per route that Verify is missing
}

func (fw *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	ctx := r.Context()
	v := verifiedFrom(ctx)
	if v == nil {
		fw.unset.Do(func() {
			unverified(r, Telemetry{}.observer().Logger())
		})
		notConfigured(w)
		return
	}
	v.count()
	done := observe.Handled{Status: observe.Received, Preset: v.preset, HTTPStatus: http.StatusOK}
	if len(v.events) > 0 {
		if err := fw.f(ctx, v.events); err != nil {
			s, steered := steeringOf(err)
			if !steered || s.kind != discard {
				refuseForward(w, r, v, err, time.Since(start))
				return
			}
			done.Status, done.Reason = observe.Discarded, err.Error()
		}
	}
	done.Took = time.Since(start)
	for i := range v.events {
		recordHandled(ctx, v.observer, &v.events[i], done)
	}
	w.WriteHeader(http.StatusOK)
}

// refuseForward answers a request whose events were not taken.
func refuseForward(w http.ResponseWriter, r *http.Request, v *verified, err error, took time.Duration) {
	reason, status, text, after := "forward", http.StatusServiceUnavailable, "try again later", retryAfterFailure
	s, steered := steeringOf(err)
	switch {
	case steered && s.kind == permanent:
		reason, status, text, after = "forward_permanent", http.StatusBadRequest, "refused", ""
	case steered && s.kind == deferred:
		d := min(max(s.after, minDeferral), maxDeferral)
		after = strconv.Itoa(int(math.Ceil(d.Seconds())))
	case r.Context().Err() != nil && errors.Is(err, r.Context().Err()):
		reason = "canceled" // by the sender or by a timeout in front of this
	}
	if after != "" {
		w.Header().Set("Retry-After", after)
	}
	v.observer.Rejected(r.Context(), observe.Rejection{
		Source: v.source, Preset: v.preset, Reason: reason, Status: status, Err: err, Took: took, Events: allNamed(v.events),
	})
	http.Error(w, text, status)
}
