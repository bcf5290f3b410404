package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/surehook/webhook/internal/engine"
	"github.com/surehook/webhook/internal/guard"
	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/internal/post"
	"github.com/surehook/webhook/internal/recent"
	"github.com/surehook/webhook/internal/standard"
	"github.com/surehook/webhook/store"
)

// Dispatcher sends events: each becomes a delivery for every endpoint that wants
// it, in one durable commit, and is posted until the endpoint takes it or it is a
// dead letter. Safe for concurrent use.
type Dispatcher struct {
	st     store.Store
	c      DispatcherConfig
	obs    *observe.Observer
	engine *engine.Engine
	client *post.Client

	listed map[string]bool // the IDs of an EndpointList; nil: Endpoints is none

	mu    sync.Mutex
	limit map[string]int // of endpoints whose Concurrency is their own, as last seen
}

// DispatcherConfig is how a Dispatcher works; only Endpoints is required.
type DispatcherConfig struct {
	Queue     QueueConfig
	Endpoints Endpoints

	// Signers are what Endpoint.Signers may name beside "standard": a preset's
	// Verifier.Sign, or one of your own. What they set is sent.
	Signers map[string]Signer

	// Guard says which addresses may be called; zero: public ones, over https.
	Guard Guard

	// Unguarded returns what posts to an endpoint in place of the guarded client:
	// for mutual TLS, OAuth2 or an egress proxy. Guard then looks at the URL alone,
	// and not at the address that is dialled. Nil, or where it returns nil:
	// guarded.
	Unguarded func(Endpoint) http.RoundTripper

	// Permanent are the status codes that are not tried again, beside 410; of 300 to
	// 599; default none, since a receiver that is being mended answers anything.
	Permanent []int

	PerEndpoint int  // attempts at once for one endpoint, in this process; default 8
	KeepBody    int  // bytes kept of an answer, of the 65,536 that are read at most; default 4096, negative: none
	Propagate   bool // send the traceparent of Send's span, else of the event; default: none is sent
}

// The defaults of a Dispatcher.
const (
	defaultPerEndpoint = 8
	defaultKeepBody    = 4 << 10
)

// maxKeys is how many prepared secrets are kept, at least.
const maxKeys = 1000

// NewDispatcher returns a Dispatcher over st, which stays the caller's to close,
// after Run has returned. It starts nothing. The error names the field of c, or
// the endpoint of an EndpointList, that makes no sense.
func NewDispatcher(st store.Store, c DispatcherConfig) (*Dispatcher, error) {
	d, err := newDispatcher(st, c)
	if err != nil {
		return nil, fmt.Errorf("webhook: new dispatcher: %w", err)
	}
	return d, nil
}

func newDispatcher(st store.Store, c DispatcherConfig) (*Dispatcher, error) {
	switch {
	case st == nil:
		return nil, errors.New("the store is nil")
	case c.Endpoints == nil:
		return nil, errors.New("Endpoints is nil: an EndpointList, an EndpointFunc, or your own")
	case isNilFunc(c.Endpoints):
		return nil, errors.New("Endpoints: the EndpointFunc is nil")
	case c.PerEndpoint < 0:
		return nil, fmt.Errorf("PerEndpoint is %d, must be at least 1", c.PerEndpoint)
	}
	for _, code := range c.Permanent {
		if code < 300 || code > 599 {
			return nil, fmt.Errorf("Permanent has %d, must be the status code of a failure, from 300 to 599", code)
		}
	}
	var err error
	if c.Queue, err = c.Queue.complete(outbound); err != nil {
		return nil, err
	}
	if c.PerEndpoint == 0 {
		c.PerEndpoint = defaultPerEndpoint
	}
	if c.KeepBody == 0 {
		c.KeepBody = defaultKeepBody
	}
	c.Signers = maps.Clone(c.Signers)
	if c.Signers == nil {
		c.Signers = map[string]Signer{}
	}
	if _, taken := c.Signers[standardSigner]; taken {
		return nil, fmt.Errorf("a signer %q is there already", standardSigner)
	}
	c.Signers[standardSigner] = standardKeys{recent.New(maxKeys, standard.NewKey)}.sign
	for name, sign := range c.Signers {
		if sign == nil {
			return nil, fmt.Errorf("the signer %q is nil", name)
		}
	}
	rules := guard.Rules(c.Guard)
	if err := rules.Validate(); err != nil {
		return nil, err
	}
	d := &Dispatcher{
		st: st, c: c, obs: c.Queue.Telemetry.sender(), limit: map[string]int{},
		client: post.New(post.Config{Rules: rules, Keep: c.KeepBody}),
	}
	if list, ok := c.Endpoints.(EndpointList); ok {
		if err := d.checkList(list); err != nil {
			return nil, err
		}
	}
	ec := c.Queue.engine(d.fewer)
	ec.Other = d.concurrency
	d.engine = engine.New(st, ec, d.attempt, d.obs)
	d.obs.Sender(c.Queue.Name)
	return d, nil
}

func isNilFunc(e Endpoints) bool {
	f, ok := e.(EndpointFunc)
	return ok && f == nil
}

func (d *Dispatcher) checkList(list EndpointList) error {
	d.listed = make(map[string]bool, len(list))
	for i := range list {
		if err := d.check(&list[i]); err != nil {
			return err
		}
		if d.listed[list[i].ID] {
			return fmt.Errorf("two endpoints have the ID %q", list[i].ID)
		}
		d.listed[list[i].ID] = true
		d.saw(&list[i])
	}
	return nil
}

// Check returns what is wrong with an endpoint: for the form or the API through
// which a customer enters one. It looks at the URL's form, and at its address only
// where it is one; a name is looked up, and what it stands for checked, when it
// is called. Its error is an [EndpointError], which has the part that is for the
// customer.
func (d *Dispatcher) Check(ep Endpoint) error {
	if err := d.check(&ep); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	return nil
}

func (d *Dispatcher) check(ep *Endpoint) error {
	err := ep.check()
	if err == nil {
		_, err = d.client.CheckURL(ep.URL)
	}
	if err == nil {
		err = d.checkSigners(ep)
	}
	if err == nil {
		return nil
	}
	wrong := &EndpointError{ID: ep.ID, Problem: err.Error(), err: err}
	if blocked, ok := errors.AsType[*guard.Error](err); ok {
		wrong.Problem, wrong.Setting = blocked.Problem(), blocked.Setting
	}
	return wrong
}

// checkSigners has each of ep's signers sign a request that goes nowhere.
func (d *Dispatcher) checkSigners(ep *Endpoint) error {
	for _, name := range ep.signers() {
		sign := d.c.Signers[name]
		if sign == nil {
			return fmt.Errorf("names the signer %q, there are %q", name, slices.Sorted(maps.Keys(d.c.Signers)))
		}
		r := &Request{Method: http.MethodPost, Header: http.Header{}, Body: []byte("{}"), Time: time.Now()}
		r.Secrets = ep.usable(r.Time)
		err := recovered("signer", func() error { return sign(r, Event{ID: "check", Type: "check"}) })
		if err != nil {
			return &inner{err}
		}
	}
	return nil
}

// concurrency returns how many attempts of an endpoint may be under way.
func (d *Dispatcher) concurrency(id string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n, ok := d.limit[id]; ok {
		return n
	}
	return d.c.PerEndpoint
}

// fewer returns the endpoints that are known to take less at once than the others.
func (d *Dispatcher) fewer() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	fewer := map[string]int{}
	for id, n := range d.limit {
		if n < d.c.PerEndpoint {
			fewer[id] = n
		}
	}
	return fewer
}

// saw remembers the concurrency of an endpoint: it counts from its next claim on.
func (d *Dispatcher) saw(ep *Endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ep.Concurrency > 0 {
		d.limit[ep.ID] = ep.Concurrency
	} else {
		delete(d.limit, ep.ID) // it never had one, or has none any more
	}
}

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
// and ErrQueueFull come before any statement.
func (d *Dispatcher) SendIn(ctx context.Context, w store.Tx, events ...Event) ([]Stored, error) {
	return d.sends(ctx, events, func(ctx context.Context) ([]store.Add, []store.Added, error) {
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
		return adds, res.Adds, nil
	})
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

// Queue is for the person on call. Its destinations are the endpoints' IDs.
func (d *Dispatcher) Queue() *Queue { return queueOf(d.st, d.c.Queue) }

// Run delivers until ctx ends, then drains, as [Inbox.Run] does. Run is called
// once.
func (d *Dispatcher) Run(ctx context.Context) error {
	defer d.client.Close()
	defer d.sweeping(ctx)()
	return d.engine.Run(ctx)
}

// Health is as [Inbox.Health].
func (d *Dispatcher) Health(ctx context.Context) error { return d.engine.Health(ctx) }
