package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
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
