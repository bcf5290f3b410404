package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/store"
)

// How long an add whose outcome is unknown is committed again before its caller
// is told. The sender waits for the answer meanwhile: half of the shortest
// patience that is known (5 s, Shopify), less the commit itself.
const addPatience = 3 * time.Second

// Add commits adds, whose Lease fields it sets, in one batch, and has those that
// were born leased attempted at once. After an error that says nothing of the
// outcome the same batch is committed again for three seconds; when Add then
// returns an error, nothing may be acknowledged, though it may be there.
func (e *Engine) Add(ctx context.Context, adds []store.Add) ([]store.Added, error) {
	reserved := e.reserve(adds)
	b := &store.Batch{Adds: adds}
	var res *store.Results
	commit := func() (err error) {
		res, err = e.st.Commit(ctx, b)
		e.health.note(err)
		return final(err)
	}
	again := newBackOff(500 * time.Millisecond)
	again.MaxElapsedTime = addPatience
	err := commit()
	if err != nil && !isFinal(err) {
		err = backoff.Retry(commit, backoff.WithContext(again, ctx))
	}
	if err == nil && len(res.Adds) != len(adds) {
		err = errors.New("webhook: the store forgot to answer an add")
	}
	if err != nil {
		for _, d := range reserved {
			e.slots.release(d)
		}
		return nil, unwrapFinal(err)
	}
	if e.state.Load() == idle {
		e.warn.Do(e.warnIdle)
	}
	for i := range adds {
		e.startBorn(&adds[i], &res.Adds[i])
	}
	return res.Adds, nil
}

// reserve asks for a lease for each target that there is a slot for, and
// returns the destinations for which it took one.
func (e *Engine) reserve(adds []store.Add) []string {
	if !e.claiming.Load() {
		return nil
	}
	var reserved []string
	for i := range adds {
		for j := range adds[i].To {
			t := &adds[i].To[j]
			if t.After == 0 && e.slots.reserve(t.Destination) {
				t.Lease = e.c.Lease
				reserved = append(reserved, t.Destination)
			}
		}
	}
	return reserved
}

// startBorn starts the attempts of the leases that a was given, and frees the
// slots of those that it was not.
func (e *Engine) startBorn(add *store.Add, a *store.Added) {
	for i := range add.To {
		if add.To[i].Lease == 0 {
			continue
		}
		if i >= len(a.Deliveries) || a.Deliveries[i].Token == 0 {
			e.slots.release(add.To[i].Destination)
			continue
		}
		d := a.Deliveries[i]
		d.Queue, d.Destination, d.OrderKey, d.Record = e.c.Queue, add.To[i].Destination, add.To[i].OrderKey, add.Record
		e.start(&d)
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
	d.asking, d.at = false, time.Now()
	if err == nil && len(page) > 0 {
		d.n = page[0].Queued
	}
	return d.n >= e.c.MaxDepth
}

// newBackOff returns the pauses between tries of one thing inside this process:
// from 20 ms, doubling to longest, ± 50 %, without end.
func newBackOff(longest time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(min(20*time.Millisecond, longest)),
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(longest),
		backoff.WithMaxElapsedTime(0))
}

// final marks an error that another try would only repeat.
func final(err error) error {
	for _, f := range []error{store.ErrBadData, store.ErrInTransaction, store.ErrClosed} {
		if errors.Is(err, f) {
			return backoff.Permanent(err)
		}
	}
	return err
}

func isFinal(err error) bool {
	var p *backoff.PermanentError
	return errors.As(err, &p)
}

func unwrapFinal(err error) error {
	var p *backoff.PermanentError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
