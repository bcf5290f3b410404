package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/store"
)

// Deduplicate returns a middleware for a handler that does its work before it
// answers: a request whose events were handled is answered, and not handled again.
// It stands behind Verify. For a handler that may take longer than its sender waits,
// see [Inbox.Acknowledge].
//
// A request is one unit. Its keys (of each event the identity, and the replay keys)
// are reserved in keys; the handler runs; they are confirmed if it succeeded, and
// released otherwise:
//
//   - All events are known: 200 at once, with the header "Webhook-Duplicate: true",
//     and the handler does not run. So it is with a known id and another body: no body
//     is kept to compare with, which an [Inbox] does.
//   - Some are new, of a batch: the handler runs once, and [Events] returns those that
//     are. The body is the whole request's.
//   - The request has no events, a valid empty batch: the handler runs, and nothing is
//     kept.
//   - One of the events is being handled at the moment, by this process or another:
//     c.BusyStatus with Retry-After.
//   - keys failed: 503 with Retry-After. An event is never handled that is not
//     reserved.
//   - Verify is not in front: 500.
//
// The handler has succeeded if it returned and its status is 2xx, as it is where it
// writes nothing. It has not if it panicked (the panic goes on as it is), if it took
// over the connection, or if it wrote nothing and its context had ended: then it gave
// up, and 503 is written in its place. It must not go on after it returned.
//
// The reservation is prolonged while the handler runs, and outlives a client that has
// gone. If it is lost (the process stood still for longer, or the store could not be
// written) the request's context ends, and [context.Cause] is [store.ErrLeaseLost]. A
// process that dies leaves it to run out.
//
// The answer is not held back: it may be on its way before the event is known. So a
// handler succeeds once, and once more for each crash, or failure of keys, that falls
// between its success and the confirmation, if the sender sends the event again. What
// is written goes through at once, and [http.ResponseController] works.
//
// Each handled event is a record in the log with its outcome, and so is each
// duplicate. Deduplicate panics on nil keys and on a c that makes no sense.
func Deduplicate(keys store.Keys, c DedupConfig) func(http.Handler) http.Handler {
	if keys == nil {
		panic("webhook: Deduplicate: keys is nil")
	}
	c.complete()
	obs := c.Telemetry.observer()
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic("webhook: Deduplicate: the next handler is nil")
		}
		return &deduplicator{st: keys, c: c, obs: obs, next: next}
	}
}

// DedupConfig is how Deduplicate works; the zero value is the default.
type DedupConfig struct {
	// Space separates keys that are in one store: those of different spaces never
	// meet. Two routes that are sent the same events, and are to handle them both,
	// need two spaces. Default "dedup".
	Space string

	// Window is how long an event stays known, counted from its success. It must
	// be longer than the sender retries. Default 7 days, or a day more than
	// Verifier.Horizon where that is longer.
	Window time.Duration

	// Reservation is how long an event stays reserved after its process died. It is
	// prolonged while the handler runs, each time a third of it is over. Default 60 s,
	// at least 1 s.
	Reservation time.Duration

	// BusyStatus answers a request while the same is being handled: 400 to 599, since
	// an event that may yet fail must not be acknowledged. Default 409.
	BusyStatus int

	Telemetry Telemetry
}

const (
	defaultReservation = time.Minute
	minReservation     = time.Second
)

// complete fills c's defaults, and panics on a field that makes no sense.
func (c *DedupConfig) complete() {
	if c.Space == "" {
		c.Space = "dedup"
	}
	if c.Reservation == 0 {
		c.Reservation = defaultReservation
	}
	if c.BusyStatus == 0 {
		c.BusyStatus = http.StatusConflict
	}
	switch {
	case c.Window < 0:
		panic(fmt.Sprintf("webhook: Deduplicate: Window is %s, must not be negative", c.Window))
	case c.Reservation < minReservation:
		panic(fmt.Sprintf("webhook: Deduplicate: Reservation is %s, must be at least %s", c.Reservation, minReservation))
	case c.BusyStatus < 400 || c.BusyStatus > 599:
		panic(fmt.Sprintf("webhook: Deduplicate: BusyStatus is %d, must be 400 to 599", c.BusyStatus))
	}
}

// window is how long an event stays known whose sender retries for horizon.
func (c *DedupConfig) window(horizon time.Duration) time.Duration {
	if c.Window > 0 {
		return c.Window
	}
	return max(keepKeys, horizon+24*time.Hour)
}

// duplicateHeader marks the answer to a request that was not handled again.
const duplicateHeader = "Webhook-Duplicate"

// retryAfterBusy is what a sender is told, in seconds, whose event is being handled.
const retryAfterBusy = "5"

// deduplicator is Deduplicate in front of one handler.
type deduplicator struct {
	st    store.Keys
	c     DedupConfig
	obs   *observe.Observer
	next  http.Handler
	unset sync.Once // the log says once per route that Verify is missing
}

func (d *deduplicator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	v := verifiedFrom(r.Context())
	switch {
	case v == nil:
		d.unset.Do(func() {
			unverified(r, d.obs.Logger(), observe.KeySpace, d.c.Space)
		})
		notConfigured(w)
		return
	case len(v.events) == 0:
		d.next.ServeHTTP(w, r)
		return
	}
	v.count()
	u := &unit{deduplicator: d, v: v, reserved: start}
	if err := u.reserve(r.Context()); err != nil {
		d.refuse(w, r, v, err, time.Since(start))
		u.undo(r.Context(), err)
		return
	}
	d.record(r.Context(), u.known, observe.Handled{Status: observe.Duplicate, Preset: v.preset, Took: time.Since(start)})
	if len(u.fresh) == 0 {
		w.Header().Set(duplicateHeader, "true")
		w.WriteHeader(http.StatusOK)
		return
	}
	u.run(w, r, start)
}

// run has the handler do its work.
func (u *unit) run(w http.ResponseWriter, r *http.Request, start time.Time) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	stop := u.renew(ctx, func(err error) {
		u.failed(ctx, observe.ReservationLost, err)
		cancel(err)
	})
	sw := &statusWriter{ResponseWriter: w}
	returned := false
	// Deferred and not recovered: a panic goes on as it is, with its own trace.
	defer func() {
		stop()
		ok := returned && sw.succeeded()
		u.settle(ctx, ok)
		u.recordOutcome(ctx, sw, returned, ok, time.Since(start))
	}()
	found := *u.v
	found.events, found.counted = u.fresh, &u.counted
	u.next.ServeHTTP(sw, r.WithContext(context.WithValue(ctx, verifiedKey{}, &found)))
	returned = true
	switch {
	case sw.status != 0 || sw.hijacked:
	case ctx.Err() != nil: // it gave up, and net/http would answer 200
		unavailableNow(sw)
	default:
		sw.note(http.StatusOK)
	}
}

// settle confirms or releases u's keys, whether or not the client is still there.
func (u *unit) settle(ctx context.Context, ok bool) {
	if !ok {
		u.free(ctx, u.keys)
		return
	}
	window := u.c.window(u.v.horizon)
	err := persist(ctx, func(ctx context.Context) error { return u.st.Confirm(ctx, u.owner, u.keys, window) })
	if err != nil {
		// The sender was told of the success, or will be. What is reserved stays so
		// until it runs out: copies that are under way are refused for so long.
		u.failed(ctx, observe.NotConfirmed, err)
	}
}

// free releases keys. What cannot be released runs out.
func (u *unit) free(ctx context.Context, keys [][32]byte) {
	if len(keys) == 0 {
		return
	}
	if err := persist(ctx, func(ctx context.Context) error { return u.st.Release(ctx, u.owner, keys) }); err != nil {
		u.failed(ctx, observe.NotReleased, err)
	}
}

func (u *unit) failed(ctx context.Context, what observe.ReservationFailure, err error) {
	u.obs.ReservationFailed(ctx, what, u.v.source, u.c.Space, err)
}

// refuse answers a request that is not handled now.
func (d *deduplicator) refuse(w http.ResponseWriter, r *http.Request, v *verified, err error, took time.Duration) {
	if errors.Is(err, store.ErrReserved) {
		reason := "it is being handled"
		if len(v.events) > 1 { // the store does not say which
			reason = "it, or another event of its request, is being handled"
		}
		d.record(r.Context(), v.events, observe.Handled{
			Status: observe.Duplicate, Preset: v.preset, Reason: reason, HTTPStatus: d.c.BusyStatus, Took: took,
		})
		w.Header().Set("Retry-After", retryAfterBusy)
		http.Error(w, "being handled, try again later", d.c.BusyStatus)
		return
	}
	rejection := observe.Rejection{Source: v.source, Preset: v.preset, Reason: "store", Status: http.StatusServiceUnavailable, Err: err, Took: took, Events: allNamed(v.events)}
	answer := unavailableNow
	switch {
	case errors.Is(err, store.ErrInTransaction):
		rejection.Reason, rejection.Status = "wiring", http.StatusInternalServerError
		answer = notConfigured
	case r.Context().Err() != nil:
		rejection.Reason = "canceled" // by the sender or by a timeout in front of this: the store need not be ill
	}
	d.obs.Rejected(r.Context(), rejection)
	answer(w)
}

func notConfigured(w http.ResponseWriter) {
	http.Error(w, "webhook not configured", http.StatusInternalServerError)
}

func unavailableNow(w http.ResponseWriter) {
	w.Header().Set("Retry-After", retryAfterFailure)
	http.Error(w, "try again later", http.StatusServiceUnavailable)
}

// record writes a log record for each of events.
func (d *deduplicator) record(ctx context.Context, events []Event, h observe.Handled) {
	h.Space = d.c.Space
	for i := range events {
		recordHandled(ctx, d.obs, &events[i], h)
	}
}

func (u *unit) recordOutcome(ctx context.Context, sw *statusWriter, returned, ok bool, took time.Duration) {
	h := observe.Handled{Status: observe.Failed, Preset: u.v.preset, Counted: u.counted.Load(), HTTPStatus: sw.status, Took: took}
	switch {
	case ok:
		h.Status = observe.Processed
	case !returned:
		h.Reason = "the handler panicked"
	case sw.hijacked:
		h.Reason = "the handler took over the connection"
	case ctx.Err() != nil:
		h.Reason = "the request ended"
	}
	u.record(ctx, u.fresh, h)
}

// recordHandled writes a log record about e, which is not stored.
func recordHandled(ctx context.Context, obs *observe.Observer, e *Event, h observe.Handled) {
	r := named(e)
	obs.Handled(ctx, &r, e.Proof.SecretID, h)
}

// named returns what names e in a log record.
func named(e *Event) store.Record {
	return store.Record{Tenant: e.Tenant, Source: e.Source, ID: e.ID, Type: e.Type, Time: e.Time}
}

// allNamed returns what names events in the records about their request.
func allNamed(events []Event) []store.Record {
	records := make([]store.Record, len(events))
	for i := range events {
		records[i] = named(&events[i])
	}
	return records
}
