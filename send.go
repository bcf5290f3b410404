package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/store"
)

// Send stores the events, each with a delivery for every endpoint that its To or
// else Endpoints.Match names, in one commit. When it returns nil they are as
// durable as the store promises, and are sent whatever happens to this process.
// No endpoint at all is no error, and Stored.Deliveries says so.
//
// An event's ID makes sending it idempotent: of one that is known only missing
// deliveries are added. It is visible ASCII, at most 256 bytes, without a ".",
// by the Standard Webhooks specification; an empty one is made. Source is by
// default the queue's name, Time the present; Proof is not sent. Headers are stored
// and sent with the event: credentials belong into Endpoint.Headers. Of an event
// that somebody signed and this program received, as its Proof shows, only
// Content-Type is: what a sender told this program is not for others.
//
// ErrMalformed, ErrQueueFull: nothing was stored. An id in To that an EndpointList
// does not have is an ErrMalformed; Endpoints of another kind are not asked, and what
// they turn out not to have is discarded: a process that only sends has an
// EndpointFunc. After another error nothing is known, and sending the same IDs again
// is safe. ErrInTransaction of package store: ctx is that of a transaction's closure,
// which SendIn is for.
func (d *Dispatcher) Send(ctx context.Context, events ...Event) ([]Stored, error) {
	if err := store.InTransaction(ctx); err != nil {
		return nil, fmt.Errorf("webhook: send: %w: use SendIn", err)
	}
	return d.sends(ctx, events, func(ctx context.Context) ([]store.Add, []store.Added, error) {
		if d.engine.Full(ctx) {
			return nil, nil, d.failed(ErrQueueFull)
		}
		start := time.Now()
		adds, kept, err := d.adds(ctx, nil, events)
		if err != nil {
			return nil, nil, err
		}
		added, err := d.engine.Add(ctx, adds, kept)
		if err != nil {
			return nil, nil, d.failed(err)
		}
		took := time.Since(start)
		for k := range added {
			d.obs.EventSent(ctx, d.c.Queue.Name, adds[k].Record, &added[k], took)
		}
		return adds, added, nil
	})
}

// SendIn is Send as part of the transaction w: what the caller commits is sent,
// exactly once to each endpoint, and of what is rolled back nothing is. ErrMalformed
// and ErrQueueFull come before any statement. A transaction of another store than the
// Dispatcher's is an error: nobody would send what it commits.
func (d *Dispatcher) SendIn(ctx context.Context, w store.Tx, events ...Event) ([]Stored, error) {
	return d.sends(ctx, events, func(ctx context.Context) ([]store.Add, []store.Added, error) {
		if err := d.ownTx(w); err != nil {
			return nil, nil, d.failed(err)
		}
		if d.engine.WasFull() {
			return nil, nil, d.failed(ErrQueueFull)
		}
		adds, _, err := d.adds(ctx, w, events)
		if err != nil {
			return nil, nil, err
		}
		res, err := w.Write(ctx, &store.Batch{Adds: adds})
		if err != nil {
			return nil, nil, d.failed(err)
		}
		if len(res.Adds) != len(adds) {
			return nil, nil, d.failed(errors.New("the store forgot to answer an add"))
		}
		d.engine.Stored(adds)
		return adds, res.Adds, nil
	})
}

// ownTx returns an error for a transaction whose events this dispatcher would never
// see.
func (d *Dispatcher) ownTx(w store.Tx) error {
	if w == nil {
		return &misuseError{"the transaction is nil: give SendIn the store.Tx of Transact, Complete or Tx"}
	}
	if o, ok := w.(store.Owned); ok && !o.Of(d.st) {
		return &misuseError{"the transaction is another store's: nobody would send what it commits"}
	}
	return nil
}

// sends stores events by add, in a span to which their attempts are linked.
func (d *Dispatcher) sends(
	ctx context.Context, events []Event, add func(context.Context) ([]store.Add, []store.Added, error),
) ([]Stored, error) {
	from := ""
	if len(events) > 0 {
		from = events[0].Headers.Get("Traceparent")
	}
	ctx, sending := d.obs.Send(ctx, d.c.Queue.Name, len(events), from)
	// Deferred, since Endpoints.Match is the host's, and may panic.
	reason, err := "panic", error(nil)
	var adds []store.Add
	var added []store.Added
	defer func() { sending.End(ctx, len(events), adds, added, reason, err) }()
	adds, added, err = add(ctx)
	if reason = reasonNotSent(ctx, err); err != nil {
		return nil, err
	}
	return storedOf(adds, added), nil
}

// failed says what err kept from being sent.
func (d *Dispatcher) failed(err error) error {
	return fmt.Errorf("webhook: send to queue %q: %w", d.c.Queue.Name, err)
}

// unmatched is an event whose endpoints could not be found out.
type unmatched struct{ err error }

func (u *unmatched) Error() string { return "find its endpoints: " + u.err.Error() }
func (u *unmatched) Unwrap() error { return u.err }

// reasonNotSent is why nothing was sent, in a word; empty where err is nil.
func reasonNotSent(ctx context.Context, err error) (reason string) {
	var match *unmatched
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrQueueFull):
		reason = "queue_full"
	case errors.Is(err, ErrMalformed):
		reason = "malformed"
	case ctx.Err() != nil:
		reason = "canceled" // by the caller: the store need not be ill
	case errors.As(err, &match):
		reason = "endpoints"
	default:
		reason = "store"
	}
	return reason
}

// adds returns the writes that store events. All are looked at before the first
// asks for its endpoints.
func (d *Dispatcher) adds(ctx context.Context, w store.Tx, events []Event) (adds []store.Add, kept []any, err error) {
	ready := make([]Event, len(events))
	for k, e := range events {
		if ready[k], err = d.ready(e); err != nil {
			return nil, nil, fmt.Errorf("webhook: send event %d: %w: %w", k, ErrMalformed, err)
		}
	}
	known := max(keepKeys, d.c.Queue.Retention.Keys)
	adds, kept = make([]store.Add, len(events)), make([]any, len(events))
	for k, e := range ready {
		to := e.To
		if len(to) == 0 {
			if to, err = d.c.Endpoints.Match(ctx, w, e); err != nil {
				return nil, nil, fmt.Errorf("webhook: send event %d: %w", k, &unmatched{err})
			}
			if err := checkIDs(to); err != nil {
				return nil, nil, fmt.Errorf("webhook: send event %d: %w", k, err)
			}
		}
		a := addFor(d.c.Queue.Name, &e, known)
		for _, id := range unique(to) {
			a.To = append(a.To, store.Target{Destination: id})
		}
		in := handed{event: e}
		if a.Record, err = recordOf(in); err != nil {
			return nil, nil, fmt.Errorf("webhook: send event %d: %w", k, err)
		}
		a.Record.Trace = observe.Traceparent(ctx, e.Headers.Get("Traceparent"))
		adds[k], kept[k] = a, keptOf(in, a.Record)
	}
	return adds, kept, nil
}

// unique returns ids without repetitions and empty ones, in their order.
func unique(ids []string) []string {
	list := make([]string, 0, len(ids))
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if id != "" && !seen[id] {
			seen[id] = true
			list = append(list, id)
		}
	}
	return list
}

// checkIDs returns what is wrong with the ids of endpoints.
func checkIDs(ids []string) error {
	for _, id := range ids {
		if len(id) > maxText {
			return fmt.Errorf("an endpoint's ID has %d bytes, at most %d", len(id), maxText)
		}
	}
	return nil
}

// maxSentID bounds the id of an event that is sent, in bytes: it travels in a
// header.
const maxSentID = 256

// ready returns e as it is stored, or what is wrong with it.
func (d *Dispatcher) ready(e Event) (Event, error) {
	if e.ID == "" {
		e.ID = "msg_" + rand.Text()
	}
	if len(e.ID) > maxSentID || strings.ContainsFunc(e.ID, func(r rune) bool { return r <= ' ' || r > '~' || r == '.' }) {
		return e, fmt.Errorf("its ID of %d bytes is not visible ASCII without \".\", at most %d bytes", len(e.ID), maxSentID)
	}
	if e.Source == "" {
		e.Source = d.c.Queue.Name
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if !tellable(e.Time) {
		return e, fmt.Errorf("its Time is in the year %d", e.Time.UTC().Year())
	}
	if e.Proof.found() {
		e.Headers = contentType(e.Headers)
	}
	e.Proof = Proof{}
	if err := checkHeaders(e.Headers); err != nil {
		return e, fmt.Errorf("it %w", err)
	}
	if err := checkIDs(e.To); err != nil {
		return e, err
	}
	return e, d.checkListed(e.To)
}

// checkListed returns an error for the id of no endpoint, where there is a list of
// all: a delivery for it would be discarded, and the event lost.
func (d *Dispatcher) checkListed(ids []string) error {
	for _, id := range ids {
		if d.listed != nil && id != "" && !d.listed[id] {
			return fmt.Errorf("its To names %q, and the EndpointList has no endpoint of this ID", observe.Clean(id))
		}
	}
	return nil
}

// contentType returns what of h says how a body is to be read.
func contentType(h http.Header) http.Header {
	if v := h["Content-Type"]; len(v) > 0 {
		return http.Header{"Content-Type": v}
	}
	return nil
}
