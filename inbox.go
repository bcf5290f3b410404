package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook/internal/engine"
	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/store"
)

// Inbox receives events: each is acknowledged when it is durable, and handled
// afterwards. Register handlers with Handle, mount the http.Handlers that
// Receive returns, then call Run. Safe for concurrent use.
type Inbox struct {
	st     store.Store
	c      InboxConfig
	obs    *observe.Observer
	engine *engine.Engine

	mu       sync.Mutex
	handlers map[string]*registered // not written any more once sealed
	sealed   bool                   // Run began
}

// InboxConfig is how an Inbox works; the zero value is the default.
type InboxConfig struct {
	Queue QueueConfig

	// Elsewhere names handlers that other processes on the same store have: Receive
	// and an event's To may name them, what is stored for them waits there, and a
	// process that receives for them alone needs no Run. The order of a handler is
	// kept by whoever stores: tell its OrderBy here too, by HandleWith with a nil
	// handler. Their deliveries are reported in the log of a process that runs when
	// they wait for more than three hours.
	Elsewhere []string

	// Redact returns what may be stored of an event: of its result Headers, Body and
	// Subject count, and its argument is its own to change. What is stored is what
	// handlers are given, OrderBy too, at the first attempt as at the last. It is
	// called after the check, and after identity, replay keys and digest are made of
	// the event as it came: what it leaves out changes nothing of how duplicates are
	// known. Source, ID, Type, Tenant and Time are stored as they are, and so is what
	// is kept of the request (its URL, RemoteAddr, what Carry returns). If it panics,
	// nothing is stored and the answer is 500. It may be called concurrently. Nil:
	// all is stored.
	Redact func(Event) Event

	// RefuseChanged answers 409 to a request with an event that is known with another
	// body, where 200 would be the answer to a duplicate: nothing of the request is
	// stored, no handler is added, and the log says so. Add returns [ErrChanged].
	RefuseChanged bool

	// Carry returns what must survive of a request for its handlers, which run
	// without it and without its context: a user's id that a middleware found, a
	// locale. Receive calls it once for each request that has events; handlers
	// read it with [Carried]. It is stored with each event, as it is: no
	// credentials. More than 8 KiB, names and values together, is answered with
	// 500, and after a panic, which is net/http's to recover, nothing is stored
	// either. Nil: nothing is carried.
	Carry func(r *http.Request) map[string]string
}

// maxCarried bounds what Carry returns, names and values together, in bytes: it is
// stored with each event, as its headers are.
const maxCarried = 8 << 10

// Carried returns what InboxConfig.Carry kept of the request that brought the
// event, for the handler that has ctx; nil if there is nothing. It is shared, and
// not to be written to.
func Carried(ctx context.Context) map[string]string {
	if a := attemptFrom(ctx); a != nil {
		return a.handed.carried
	}
	return nil
}

// registered is a handler with its share of the engine.
type registered struct {
	do        HandlerConfig
	h         Handler     // nil: others have it
	unordered atomic.Bool // the log said that one was stored without its ordering key
}

// NewInbox returns an Inbox over st, which stays the caller's to close, after Run
// has returned. It starts nothing. The error names the field of c that makes no
// sense.
func NewInbox(st store.Store, c InboxConfig) (*Inbox, error) {
	if st == nil {
		return nil, fmt.Errorf("webhook: new inbox: the store is nil")
	}
	var err error
	if c.Queue, err = c.Queue.complete(inbound); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	for k, name := range c.Elsewhere {
		if name == "" || slices.Contains(c.Elsewhere[:k], name) {
			return nil, fmt.Errorf("webhook: inbox configuration: Elsewhere has %q, which is empty or there twice", name)
		}
	}
	c.Elsewhere = slices.Clone(c.Elsewhere)
	i := &Inbox{st: st, c: c, obs: c.Queue.Telemetry.observer(), handlers: map[string]*registered{}}
	run := c.Queue.engine(i.seal)
	run.Elsewhere = c.Elsewhere
	i.engine = engine.New(st, run, i.attempt, i.obs)
	return i, nil
}

// Handle names a handler. The name is stored with each delivery: keep it, or
// see Queue.Rename. It stands before the route that names it. Handle panics on
// an empty name, a nil handler, a name taken, and after Run began.
func (i *Inbox) Handle(name string, h Handler) { i.HandleWith(name, h, HandlerConfig{}) }

// HandleWith is Handle with a timeout, concurrency, retry policy and order of the
// handler's own; it also panics on those that make no sense. For a name in
// InboxConfig.Elsewhere h may be nil where c has an OrderBy: the handler is run by
// another process, and this one stores for it in that order.
func (i *Inbox) HandleWith(name string, h Handler, c HandlerConfig) {
	q := i.c.Queue
	switch {
	case name == "":
		panic("webhook: Handle: the name is empty")
	case h == nil && (c.OrderBy == nil || !slices.Contains(i.c.Elsewhere, name)):
		panic(fmt.Sprintf("webhook: Handle(%q): the handler is nil", name))
	case c.SkipDead && c.OrderBy == nil:
		panic(fmt.Sprintf("webhook: HandleWith(%q): SkipDead says how an order goes on, and there is no OrderBy", name))
	case c.Timeout < 0 || c.Concurrency < 0:
		panic(fmt.Sprintf("webhook: HandleWith(%q): Timeout %s and Concurrency %d must not be negative", name, c.Timeout, c.Concurrency))
	}
	if err := c.Retry.validate(); err != nil {
		panic(fmt.Sprintf("webhook: HandleWith(%q): Retry: %v", name, err))
	}
	if c.Timeout == 0 {
		c.Timeout = q.Timeout
	}
	if c.Concurrency == 0 {
		c.Concurrency = q.Concurrency
	}
	c.Retry = c.Retry.or(q.Retry.or(inboundRetry))

	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.sealed:
		panic(fmt.Sprintf("webhook: Handle(%q): Run began before: register handlers first", name))
	case i.handlers[name] != nil:
		panic(fmt.Sprintf("webhook: Handle(%q): the name is taken", name))
	}
	i.handlers[name] = &registered{do: c, h: h}
}

// seal ends registration, and returns the limit of each handler.
func (i *Inbox) seal() map[string]int {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sealed = true
	limits := make(map[string]int, len(i.handlers))
	for name, r := range i.handlers {
		if r.h != nil {
			limits[name] = r.do.Concurrency
		}
	}
	if len(limits) == 0 {
		i.obs.Logger().Warn("webhook inbox runs without a handler: nothing that is queued will be processed here",
			observe.KeyQueue, i.c.Queue.Name)
	}
	return limits
}

// unknown returns the first of names that is no handler's, here or elsewhere, and
// whether there is one.
func (i *Inbox) unknown(names []string) (string, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, n := range names {
		if i.handlers[n] == nil && !slices.Contains(i.c.Elsewhere, n) {
			return n, true
		}
	}
	return "", false
}

// known returns the names of the handlers, for messages.
func (i *Inbox) known() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	names := slices.AppendSeq(slices.Clone(i.c.Elsewhere), maps.Keys(i.handlers))
	slices.Sort(names)
	return slices.Compact(names)
}

// Receive stores the request's events, with a delivery of each for every named
// handler, in one commit, and then answers 200. It stands behind Verify. An event
// that is known already is a duplicate: it is answered 200 too, and handlers that
// it did not have yet are added. A request without events, which some senders
// send, is answered 200.
//
// Where the store fails or the queue is full the answer is 503 with Retry-After,
// so that the sender comes again: nothing is acknowledged that is not durable. An
// authentic event that the store cannot take at all (an id of more than 4 KiB, a
// batch that would store 64 MiB more than its body) is answered 400. Without Verify
// in front of it, for an Event.To that names an unknown handler, and where Redact or
// OrderBy panics, it answers 500 and stores nothing.
//
// Receive panics without names, and on a name that neither Handle nor
// InboxConfig.Elsewhere knows: what is queued for a misspelt name would wait for
// ever.
func (i *Inbox) Receive(names ...string) http.Handler {
	if len(names) == 0 {
		panic("webhook: Receive: no handler is named")
	}
	if n, ok := i.unknown(names); ok {
		panic(fmt.Sprintf("webhook: Receive(%q): no handler of this name: call Handle first, or name it in InboxConfig.Elsewhere; there are [%s]", n, strings.Join(i.known(), " ")))
	}
	seen := make(map[string]bool, len(names))
	for _, n := range names {
		if seen[n] {
			panic(fmt.Sprintf("webhook: Receive: %q is named twice", n))
		}
		seen[n] = true
	}
	return &receiver{inbox: i, names: append([]string(nil), names...)}
}

// Acknowledge wraps a handler that is there, so that its requests are answered when
// they are stored and handled afterwards: Handle(name, HTTPHandler(next)) and
// Receive(name) in one. It stands behind Verify. Middlewares in front of it run
// once, on arrival; those behind it run at each attempt, with what [HTTPHandler]
// shows of the request:
//
//	webhook.Chain(webhook.Verify("shop", shop), inbox.Acknowledge("orders"), logging)(ordersHandler)
//
// A name has one handler: a second use, for another route, panics and names
// Receive, which is what further routes take. It also panics on an empty name, a
// nil handler, and after Run began; hence where a framework applies its
// middlewares to each request anew. HandleWith and Receive, in place of it, give
// the handler a share of its own.
func (i *Inbox) Acknowledge(name string) func(next http.Handler) http.Handler {
	if name == "" {
		panic("webhook: Acknowledge: the name is empty")
	}
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic(fmt.Sprintf("webhook: Acknowledge(%q): the handler is nil", name))
		}
		i.mu.Lock()
		sealed, taken := i.sealed, i.handlers[name] != nil
		i.mu.Unlock()
		switch {
		case sealed:
			panic(fmt.Sprintf("webhook: Acknowledge(%q): Run began before: wrap handlers first", name))
		case taken:
			panic(fmt.Sprintf("webhook: Acknowledge(%q): the name is taken: a name has one handler, and further routes use Receive(%q)", name, name))
		}
		i.Handle(name, HTTPHandler(next))
		return i.Receive(name)
	}
}

// receiver is one route's Receive.
type receiver struct {
	inbox *Inbox
	names []string
	unset sync.Once // the log says once per route that Verify is missing
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	i, ctx := rc.inbox, r.Context()
	v := verifiedFrom(ctx)
	if v == nil {
		rc.unset.Do(func() {
			unverified(r, i.obs.Logger(), observe.KeyQueue, i.c.Queue.Name, "handlers", rc.names)
		})
		http.Error(w, "webhook not configured", http.StatusInternalServerError)
		return
	}
	v.count()
	if len(v.events) > 0 {
		if err := i.receive(r, v, rc.names); err != nil {
			rc.refuse(w, r, v, err, time.Since(start))
			return
		}
	}
	w.WriteHeader(http.StatusOK)
}

// receive stores the events of r for the handlers names.
func (i *Inbox) receive(r *http.Request, v *verified, names []string) error {
	came, err := arrivalOf(r, v.hide)
	if err != nil {
		return fmt.Errorf("webhook: receive: %w", err)
	}
	in := intake{names: names, preset: v.preset, horizon: v.horizon, arrival: came, body: max(r.ContentLength, 0)}
	if i.c.Carry != nil {
		if in.carried, err = carriedOf(i.c.Carry(r)); err != nil {
			return fmt.Errorf("webhook: receive: %w", err)
		}
	}
	_, err = i.add(r.Context(), v.events, in)
	return err
}

// carriedOf returns a copy of what Carry returned.
func carriedOf(c map[string]string) (map[string]string, error) {
	if len(c) == 0 {
		return nil, nil
	}
	n := 0
	for k, v := range c {
		n += len(k) + len(v)
	}
	if n > maxCarried {
		return nil, &misuseError{fmt.Sprintf("InboxConfig.Carry returned %d bytes, at most %d", n, maxCarried)}
	}
	return maps.Clone(c), nil
}

// How long a sender is asked to wait. Most ignore it; those that obey should
// come back soon after a failure, and later when there is too much to do.
const (
	retryAfterFailure = "5"
	retryAfterFull    = "30"
)

// refuse answers a request whose events are not stored, and says why in the log.
func (rc *receiver) refuse(w http.ResponseWriter, r *http.Request, v *verified, err error, took time.Duration) {
	reason, status, text, after := "store", http.StatusServiceUnavailable, "try again later", retryAfterFailure
	switch {
	case errors.Is(err, ErrQueueFull):
		reason, after = "queue_full", retryAfterFull
	case errors.Is(err, ErrChanged):
		reason, status, text, after = "changed", http.StatusConflict, "event known with another body", ""
	case errors.As(err, new(*panicError)):
		reason, status, text, after = "panic", http.StatusInternalServerError, textInternal, ""
	case errors.As(err, new(*misuseError)), errors.Is(err, store.ErrInTransaction):
		reason, status, text, after = "wiring", http.StatusInternalServerError, "webhook not configured", ""
	case errors.Is(err, ErrMalformed), errors.Is(err, store.ErrBadData):
		reason, status, text, after = "malformed", http.StatusBadRequest, "malformed request", ""
	case r.Context().Err() != nil:
		reason = "canceled" // by the sender or by a timeout in front of this: the store need not be ill
	}
	if after != "" {
		w.Header().Set("Retry-After", after)
	}
	rc.inbox.obs.Rejected(r.Context(), observe.Rejection{
		Source: v.source, Preset: v.preset, Reason: reason, Status: status, Err: err, Took: took, Events: allNamed(v.events),
	})
	http.Error(w, text, status)
}

// Add is Receive without net/http: it stores events that the caller has verified
// (Verifier.Verify, in a function behind a queue or a serverless entry) or
// fetched, for the handlers in their To, in one commit. Each needs a Source. When
// Add returns nil they are as durable as the store promises; after an error none
// may be acknowledged, and adding them again is safe.
//
// An event with a zero Proof is trusted as it is: it is known by its ID alone.
// ErrQueueFull, ErrMalformed, and ErrChanged with InboxConfig.RefuseChanged: nothing
// was stored; errors.Is tells.
func (i *Inbox) Add(ctx context.Context, events ...Event) ([]Stored, error) {
	for k, e := range events {
		if e.Source == "" {
			return nil, fmt.Errorf("webhook: add event %d: %w", k, &misuseError{"its Source is empty: name the sending system"})
		}
		if len(e.To) == 0 {
			return nil, fmt.Errorf("webhook: add event %d: %w", k, &misuseError{"its To names no handler"})
		}
	}
	return i.add(ctx, events, intake{})
}

// intake is what events that come in together have in common.
type intake struct {
	names   []string          // of the handlers, for events without To
	preset  string            // of their verifier
	horizon time.Duration     // how long their sender retries
	arrival *arrival          // nil: they came without a request
	body    int64             // bytes of the request's
	carried map[string]string // by InboxConfig.Carry
}

// maxBeside bounds what the events of one request store beside its body, in bytes.
// Each has the request's headers and URL beside it, and the whole body where its
// check gave it none of its own: a thousand elements of two bytes could be a gigabyte.
const maxBeside = 64 << 20

// add stores events, each for the handlers in its To, or else for those of in.
func (i *Inbox) add(ctx context.Context, events []Event, in intake) ([]Stored, error) {
	start := time.Now()
	if i.engine.Full(ctx) {
		return nil, fmt.Errorf("webhook: add to queue %q: %w", i.c.Queue.Name, ErrQueueFull)
	}
	known := max(keepKeys, in.horizon+24*time.Hour, i.c.Queue.Retention.Keys)
	adds, kept := make([]store.Add, len(events)), make([]any, len(events))
	size := int64(0)
	for k, e := range events {
		a, h, err := i.addOf(e, in, known)
		if err != nil {
			return nil, fmt.Errorf("webhook: add event %d: %w", k, err)
		}
		size += int64(len(a.Record.Head) + len(a.Record.Body))
		if in.arrival != nil && k > 0 && size > in.body+maxBeside {
			return nil, fmt.Errorf("webhook: add event %d of %d: %w: with their headers and bodies they have more than %d bytes", k, len(events), ErrMalformed, in.body+maxBeside)
		}
		a.Record.Trace = observe.Traceparent(ctx, h.event.Headers.Get("Traceparent"))
		adds[k], kept[k] = a, h
	}
	added, err := i.engine.Add(ctx, adds, kept)
	if err != nil {
		return nil, fmt.Errorf("webhook: add to queue %q: %w", i.c.Queue.Name, err)
	}
	took := time.Since(start)
	for k := range added {
		i.obs.EventStored(ctx, i.c.Queue.Name, in.preset, adds[k].Record, &added[k], events[k].Proof.SecretID, took)
	}
	return storedOf(adds, added), nil
}

// addOf returns the write that stores e, and what its attempts are handed.
func (i *Inbox) addOf(e Event, in intake, known time.Duration) (store.Add, *handed, error) {
	to := in.names
	if len(e.To) > 0 {
		to = e.To
		if err := i.checkTo(to); err != nil {
			return store.Add{}, nil, err
		}
	}
	a := addFor(i.c.Queue.Name, &e, known)
	a.RefuseChanged = i.c.RefuseChanged
	e, err := i.redacted(e)
	if err != nil {
		return store.Add{}, nil, err
	}
	if a.To, err = i.targets(e, to); err != nil {
		return store.Add{}, nil, err
	}
	h := handed{event: e, arrival: in.arrival, carried: in.carried}
	if a.Record, err = recordOf(h); err != nil {
		return store.Add{}, nil, err
	}
	return a, keptOf(h, a.Record), nil
}

// misuseError is an ErrMalformed of this program's: the sender did nothing wrong, and
// is to come again when it is mended.
type misuseError struct{ text string }

func (m *misuseError) Error() string { return m.text }

// Is makes ErrMalformed of it without that one's text, which speaks of a request.
func (m *misuseError) Is(target error) bool { return target == ErrMalformed }

func (i *Inbox) checkTo(to []string) error {
	if n, ok := i.unknown(to); ok {
		return &misuseError{fmt.Sprintf("its To is wrong: no handler is called %q", observe.Clean(n))}
	}
	for k, n := range to {
		if slices.Contains(to[:k], n) {
			return &misuseError{fmt.Sprintf("its To is wrong: %q is named twice", observe.Clean(n))}
		}
	}
	return nil
}

// Queue is for the person on call.
func (i *Inbox) Queue() *Queue { return queueOf(i.st, i.c.Queue) }

// Run claims and handles until ctx ends, then drains: what has not started is
// handed back at once, what runs has QueueConfig.Drain, and then its context
// ends. Nil: everything ended or was handed back; else the error names the
// deliveries that still run, whose leases are kept. ErrBusy of package store:
// another process runs the engine on this store. Run is called once.
//
// The order of shutting down: http.Server.Shutdown, then end ctx, Run returns,
// then close the store.
func (i *Inbox) Run(ctx context.Context) error { return i.engine.Run(ctx) }

// Health is nil while the store can be written and, once Run began, the engine is
// alive: for a readiness probe. After a failure it probes the store, at most once
// a second.
func (i *Inbox) Health(ctx context.Context) error { return i.engine.Health(ctx) }
