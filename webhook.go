// Package webhook makes webhooks reliable, in the service that receives them and
// in the one that sends them.
//
// A webhook fails in known ways: the request is forged or replayed, the same
// event comes twice, the handler is slower than the sender's patience, the
// process dies between the answer and the work. This package ends that with
// plain net/http parts, composed by the program that embeds them:
//
//	request ─► Verify ─► Receive ─► 200
//	                        │ one durable commit: events and deliveries
//	                        ▼
//	                     engine ─► your handler ─► processed | retry | dead
//
// [Verify] checks the signature over the raw bytes and refuses what is forged,
// stale, malformed or too large. [Inbox.Receive] stores the request's events,
// with a delivery for each handler it names, in one commit, and only then
// answers 200; [Inbox.Acknowledge] does so around an http.Handler that is there
// already. [Inbox.Run] runs the handlers afterwards, each under its own lease,
// until they succeed or the delivery is a dead letter that a person can redrive.
// No crash loses what was answered 2xx.
//
// A handler that does its work before it answers stands behind [Deduplicate]
// instead, which handles an event once; [Forward] hands events to a queue of one's
// own.
//
//	st, err := sqlite.Open(ctx, "webhooks.db", sqlite.Config{})
//	…
//	inbox, err := webhook.NewInbox(st, webhook.InboxConfig{})
//	…
//	inbox.Handle("billing", func(ctx context.Context, e webhook.Event) error {
//		var invoice Invoice
//		if err := e.Decode(&invoice); err != nil {
//			return err // cannot be decoded: a dead letter, not a retry
//		}
//		return bill(ctx, invoice) // an error: retried with backoff
//	})
//	stripe, err := provider.Stripe(os.Getenv("STRIPE_WEBHOOK_SECRET"))
//	…
//	mux.Handle("/webhooks/stripe", webhook.Verify("stripe", stripe)(inbox.Receive("billing")))
//	go srv.ListenAndServe()
//	err = webhook.Run(ctx, inbox) // until ctx ends, then drains
//
// # Sending
//
// What goes out takes the same way: stored in one commit with a delivery for each
// endpoint that wants it, then posted until the endpoint takes it.
//
//	Send / SendIn ─► one durable commit: events and deliveries
//	                        ▼
//	                     engine ─► sign ─► guarded POST ─► processed | retry | dead
//
//	out, err := webhook.NewDispatcher(st, webhook.DispatcherConfig{Endpoints: endpoints})
//	…
//	sent, err := out.Send(ctx, webhook.Event{Type: "invoice.paid", Tenant: "acme", Body: payload})
//	…
//	err = webhook.Run(ctx, inbox, out)
//
// [Dispatcher.SendIn] does so in a transaction of the caller's, so that an event is
// sent if and only if what it tells of is committed; inside the store's Complete,
// receiving, the effect and sending on are one commit. Requests are signed as
// Standard Webhooks asks, anew at each attempt, and go to public addresses over
// https alone, see [Guard].
//
// # At least once
//
// A handler runs at least once for each event, and once more for each crash
// that falls between its work and the commit that notes it. Where the store has
// transactions, a handler that does its work inside the store's Complete takes
// effect exactly once. Elsewhere the id of the delivery, from [Current], is the
// same at every attempt, and the key for idempotent calls. An endpoint is in the
// same place: it may be sent an event twice, always under the same webhook-id.
//
// # Words
//
// An [Event] is what a sender says happened. A delivery (store.Delivery) is one
// event on its way to one handler or endpoint; it is queued, processing, processed,
// dead or discarded. [Queue] is where the person on call finds them, redrives dead
// letters, discards them, and pauses a handler or endpoint.
//
// Package provider has the checks of known senders, package signature declares
// others; packages store/memory and store/sqlite are stores, and package store
// the contract for one's own.
package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/surehook/webhook/store"
)

// Event is what a sender says happened. It is a value and is never changed; its
// slices and maps are shared, and not to be written to.
type Event struct {
	Tenant  string      // whose secret fitted; sent: whose endpoints it is for; empty where there is one tenant
	Source  string      // logical name of the sending system: the name given to Verify; sent: default the queue's
	ID      string      // the sender's; where it has none, the hex SHA-256 of Body; sent: see Dispatcher.Send
	Type    string      // such as "invoice.paid"; empty where the sender names none
	Subject string      // what it is about, such as a customer's id
	Time    time.Time   // when it happened, by the sender; zero: unknown; sent: now
	Headers http.Header // those that are kept, see Verifier.Keep; sent: those to send
	Body    []byte      // raw bytes, never re-encoded; of a batch, this element's
	To      []string    // names of handlers, or IDs of endpoints: exactly these; empty: those that Receive names, or Endpoints.Match
	Proof   Proof       // what the check found out; zero: trusted as it is; sent: that of one received keeps its headers back
}

// Proof is what a check found out about an event.
type Proof struct {
	ID, Type, Time bool     // whether the signature covers them
	SecretID       string   // which signing secret fitted
	Keys           [][]byte // replay keys beside the ID; Verifier.Verify adds the digest of the Body where the ID is not covered
}

// found reports whether a check found anything out.
func (p *Proof) found() bool {
	return p.ID || p.Type || p.Time || p.SecretID != "" || len(p.Keys) > 0
}

// Decode unmarshals the body as JSON into v. Its error is Permanent, so that a
// handler may return it as it is: an authentic event that cannot be decoded is a
// dead letter, since no retry would mend it. The error tells where, never what:
// it holds nothing of the body.
func (e Event) Decode(v any) error {
	err := json.Unmarshal(e.Body, v)
	if err == nil {
		return nil
	}
	// The texts of package json quote the input.
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	var target *json.InvalidUnmarshalError
	switch {
	case errors.As(err, &target): // v is nil or no pointer: its text names v's type alone
		err = fmt.Errorf("webhook: decode event: %w", err)
	case errors.As(err, &syntax):
		err = fmt.Errorf("webhook: decode event: invalid JSON at byte %d of %d", syntax.Offset, len(e.Body))
	case errors.As(err, &typ):
		err = fmt.Errorf("webhook: decode event: field %q at byte %d does not fit %s", typ.Field, typ.Offset, typ.Type)
	default:
		err = fmt.Errorf("webhook: decode event: %T", err)
	}
	return Permanent(err)
}

// Stored says what became of one event.
type Stored struct {
	ID         string
	Deliveries int  // how many it has for the handlers named; none is no error
	Duplicate  bool // the ID or a replay key was known, and no delivery was missing
	Changed    bool // it was known with another body
}

// Sentinel errors, for errors.Is; those of package store stand beside them.
var (
	ErrSignature = errors.New("webhook: no signature fits")      // or none is there: 401
	ErrStale     = errors.New("webhook: stale")                  // the signed time is outside the tolerance, on either side: 401
	ErrMalformed = errors.New("webhook: malformed request")      // not what this sender sends: 400
	ErrTooLarge  = errors.New("webhook: request body too large") // 413
	ErrQueueFull = errors.New("webhook: queue full")             // QueueConfig.MaxDepth is reached, nothing was written: 503
	ErrChanged   = store.ErrChanged                              // a known event came with another body, and InboxConfig.RefuseChanged is set; nothing was written: 409
	ErrNotFound  = store.ErrNotFound                             // there is no such delivery
)

// Chain joins middlewares in the order in which they are read: the first is the
// outermost.
func Chain(mw ...func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		for _, m := range slices.Backward(mw) {
			h = m(h)
		}
		return h
	}
}

// Must returns v, or panics with err: for wiring in main and in tests.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Run runs the runners until ctx ends or one of them fails, then drains all and
// returns when the last has drained: nil after a clean drain, else their errors,
// joined. Shut the HTTP server down before ctx ends, and close the store after
// Run returns.
func Run(ctx context.Context, runners ...interface{ Run(context.Context) error }) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(runners))
	var wg sync.WaitGroup
	for i, r := range runners {
		wg.Go(func() {
			defer cancel()
			errs[i] = r.Run(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
