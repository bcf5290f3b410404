package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/surehook/webhook/internal/again"
	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/store"
)

// addPatience is how long after its beginning an add whose outcome is unknown is
// committed again before its caller is told. The sender waits for the answer
// meanwhile: it is half of the shortest patience that is known (5 s, Shopify),
// less the commit itself.
const addPatience = 3 * time.Second

// Add commits adds, whose Lease fields it sets, in one batch, and has those that
// were born leased attempted at once. After an error that says nothing of the
// outcome the same batch is committed again for three seconds; when Add then
// returns an error, nothing may be acknowledged, though it may be there. events
// has for each add what its attempts are handed, so that the face need not read
// back from a record what it has just written.
func (e *Engine) Add(ctx context.Context, adds []store.Add, events []any) ([]store.Added, error) {
	reserved := e.reserve(adds)
	start := time.Now() // no born lease begins before
	res, err := e.commitAdds(ctx, &store.Batch{Adds: adds}, start)
	if err != nil {
		for _, d := range reserved {
			e.release(d)
		}
		return nil, err
	}
	e.Stored(adds)
	for i := range adds {
		e.startBorn(&adds[i], events[i], &res.Adds[i], start)
	}
	return res.Adds, nil
}

// Stored notes that adds were stored, by Add or in a caller's transaction: if nobody
// runs what they bring, the log says so.
func (e *Engine) Stored(adds []store.Add) {
	if e.state.Load() == idle && slices.ContainsFunc(adds, e.isOurs) {
		e.warn.Do(e.warnIdle)
	}
}

// isOurs returns whether a has a target that this process is to serve.
func (e *Engine) isOurs(a store.Add) bool {
	return slices.ContainsFunc(a.To, func(t store.Target) bool { return !slices.Contains(e.c.Elsewhere, t.Destination) })
}

// commitAdds commits b, again after errors that say nothing of the outcome: the
// nonces make that safe.
func (e *Engine) commitAdds(ctx context.Context, b *store.Batch, start time.Time) (*store.Results, error) {
	var pause *backoff.ExponentialBackOff
	for {
		res, err := e.st.Commit(ctx, b)
		e.note(ctx, observe.StoreAdd, err)
		if err == nil && len(res.Adds) != len(b.Adds) {
			err = errors.New("webhook: the store forgot to answer an add")
		}
		if err == nil || again.Futile(err) {
			return res, err
		}
		if pause == nil {
			pause = again.BackOff(500 * time.Millisecond)
		}
		next := pause.NextBackOff()
		if time.Since(start)+next > addPatience || again.Rest(ctx, next) != nil {
			return nil, err
		}
	}
}

// reserve asks for a lease for each target that there is a slot for, and
// returns the destinations for which it took one.
func (e *Engine) reserve(adds []store.Add) []string {
	var reserved []string
	for i := range adds {
		e.slots.weigh(len(adds[i].Record.Body))
		for j := range adds[i].To {
			t := &adds[i].To[j]
			if t.After != 0 || !e.slots.reserve(t.Destination) {
				continue
			}
			if !process.ask() {
				e.slots.release(t.Destination)
				continue
			}
			t.Lease = e.c.Lease
			reserved = append(reserved, t.Destination)
		}
	}
	return reserved
}

// release gives back what reserve took.
func (e *Engine) release(destination string) {
	e.slots.release(destination)
	process.part()
}

// startBorn starts the attempts of the leases that a was given, not before from,
// and frees the slots of those that it was not.
func (e *Engine) startBorn(add *store.Add, event any, a *store.Added, from time.Time) {
	for i := range add.To {
		if add.To[i].Lease == 0 {
			continue
		}
		if i >= len(a.Deliveries) || a.Deliveries[i].Token == 0 {
			e.release(add.To[i].Destination)
			continue
		}
		d := &a.Deliveries[i] // nobody else changes it
		d.Queue, d.Destination, d.OrderKey, d.Record = e.c.Queue, add.To[i].Destination, add.To[i].OrderKey, add.Record
		e.start(d, event, from)
	}
}

// idleFor is how long an engine may store without running before it says so.
const idleFor = 10 * time.Second

// warnIdle says so in the log if nothing runs what is stored ten seconds from
// now: without Run everything would be answered 200 and nothing happen.
func (e *Engine) warnIdle() {
	time.AfterFunc(idleFor, func() {
		if e.state.Load() == idle {
			e.obs.Logger().Warn("webhook events are stored but not processed: Run was not called", observe.KeyQueue, e.c.Queue)
		}
	})
}

// depth is the number of the queued, at most a second old.
type depth struct {
	mu     sync.Mutex
	n      int
	at     time.Time
	asking bool
}

// Full returns whether the queue has reached its depth. The figure is the
// store's approximate one, at most a second old; while the store cannot tell,
// the queue is not full.
func (e *Engine) Full(ctx context.Context) bool {
	if e.c.MaxDepth < 0 {
		return false
	}
	d := &e.depth
	d.mu.Lock()
	if d.asking || !d.at.IsZero() && time.Since(d.at) < time.Second {
		defer d.mu.Unlock()
		return d.n >= e.c.MaxDepth
	}
	d.asking = true // the others go by the old figure meanwhile
	d.mu.Unlock()

	page, _, err := e.st.Stats(ctx, e.c.Queue, "", 1)

	d.mu.Lock()
	defer d.mu.Unlock()
	d.asking = false
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		return d.n >= e.c.MaxDepth // the caller has gone, which says nothing: the next asks
	case err != nil:
		d.n = 0 // and not what it was: it may be long worked off
	case len(page) > 0:
		d.n = page[0].Queued
	}
	d.at = time.Now()
	return d.n >= e.c.MaxDepth
}

// WasFull is Full by the last figure. One that is older than a second is asked for
// on the side: the caller is inside a transaction, and waits for no query.
func (e *Engine) WasFull() bool {
	if e.c.MaxDepth < 0 {
		return false
	}
	e.depth.mu.Lock()
	defer e.depth.mu.Unlock()
	if !e.depth.asking && time.Since(e.depth.at) >= time.Second {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), claimTimeout)
			defer cancel()
			e.Full(ctx)
		}()
	}
	return e.depth.n >= e.c.MaxDepth
}
