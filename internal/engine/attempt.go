package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/surehook/webhook/internal/again"
	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/store"
)

// start has d, whose slot is taken and whose lease began not before from,
// attempted in a goroutine of its own. That ends with Run, unless the handler
// never returns.
func (e *Engine) start(d *store.Delivery, event any, from time.Time) {
	ctx, cancel := context.WithCancelCause(store.WithLeased(e.work, d))
	l := &lease{d: d, event: event, cancel: cancel, from: from, good: from.Add(e.c.Lease)}
	l.ctx = context.WithValue(ctx, leaseKey{}, l)
	if !l.suspect() {
		e.slots.draw(&l.ticket, d.Destination) // here, in the order of the claim
	}
	e.leases.add(l)
	e.slots.bytes.Add(int64(len(d.Record.Body)))
	select {
	case e.hands <- l:
	default:
		go e.attempts(l)
	}
}

// attempts makes one attempt after the other: a goroutine that stays has its stack
// grown already. Not more of them rest than can run.
func (e *Engine) attempts(l *lease) {
	for {
		e.attempt(l)
		if e.resting.Add(1) > int64(e.c.Concurrency) {
			e.resting.Add(-1)
			return
		}
		select {
		case l = <-e.hands:
			e.resting.Add(-1)
		case <-e.stopping:
			return
		}
	}
}

// attempt waits for its turn, makes one try, and settles it.
func (e *Engine) attempt(l *lease) {
	defer e.slots.settled()
	defer e.slots.bytes.Add(-int64(len(l.d.Record.Body)))
	defer process.end(l)
	defer e.leases.remove(l)
	defer l.cancel(nil)

	out := Outcome{To: store.Queued} // handed back
	if !e.enter(l) {
		e.slots.done(l.d.Destination, 0)
		e.settle(l, out)
		return
	}
	defer e.finish(l, &out) // deferred, since a handler may leave by runtime.Goexit
	l.ctx, l.at = e.obs.Begin(l.ctx, l.d)
	e.do(l.ctx, l.d, l.event, &out)
}

// enter waits until l may run: false if the drain begins, the lease is lost or
// may have run out before, the destination is held, its turn does not come soon, or l
// has to run alone and cannot.
func (e *Engine) enter(l *lease) bool {
	if l.suspect() {
		if !process.isolate(l, e.stopping) {
			return false // another is first
		}
		// All turns are free now but those of handlers which are past their
		// time. If they have all of them, the others are not to wait too.
		e.slots.draw(&l.ticket, l.d.Destination)
	}
	switch e.slots.begin(l.ctx, &l.ticket, e.stopping) {
	case began:
	case waitedLong:
		e.slots.slower(l.d.Destination)
		return false
	default:
		return false
	}
	// Whoever is let in by two doors at once comes through either.
	if !e.mayStart(l) {
		e.slots.end(&l.ticket)
		return false
	}
	return true
}

// mayStart returns whether no drain has begun, l is surely current (after a pause
// of the process another may have the delivery), and no hold came after it.
func (e *Engine) mayStart(l *lease) bool {
	select {
	case <-e.stopping:
		return false
	case <-l.ctx.Done():
		return false
	default:
		l.began = time.Now()
		return l.current(l.began) && !e.slots.held(l.d.Destination, l.from)
	}
}

// finish frees the slot of an attempt and settles it. The slot is freed first,
// so that the next runs while this one's commit is under way, unless so many
// are unsettled that the store seems to be down, or the next is not to run.
func (e *Engine) finish(l *lease, out *Outcome) {
	free := func() {
		e.slots.end(&l.ticket)
		e.slots.done(l.d.Destination, max(time.Since(l.began), 1))
	}
	if out.Hold != nil && !e.slots.hold(l.d.Destination, l.from, out.Hold) {
		out.Hold = nil
	}
	early := e.unsettled.Add(1) <= int64(maxUnsettled*e.c.Concurrency) && out.Hold == nil
	if early {
		free()
	}
	e.settle(l, e.handBack(l, *out))
	e.unsettled.Add(-1)
	if out.Hold != nil {
		e.slots.stored(l.d.Destination)
	}
	if !early {
		free()
	}
}

// maxUnsettled is how many attempts, for each that may run, may wait to be
// settled without keeping their slot: as many as make commits large, and not so
// many that a store which is down fills the memory.
const maxUnsettled = 8

// handBack returns out, or a hand-back in place of a failure that the engine
// itself brought about: the time to drain was over.
func (e *Engine) handBack(l *lease, out Outcome) Outcome {
	if out.To != store.Processed && errors.Is(context.Cause(l.ctx), errDrained) {
		return Outcome{To: store.Queued}
	}
	return out
}

// settle records what became of l, and goes on trying until the store takes it,
// the lease is another's, or Run returns.
func (e *Engine) settle(l *lease, out Outcome) {
	l.keep()
	s := store.Settle{
		Delivery: l.d.ID, Token: l.d.Token, To: out.To, Reason: out.Reason, After: out.After,
		Spend: out.Spend, Defer: out.Defer, Unblock: out.Unblock, Attempt: out.Attempt,
	}
	if s.Attempt != nil {
		s.Attempt.TraceID = l.at.TraceID()
	}
	_, completing := store.Leased(l.ctx)
	r, err := e.commitSettle(s, out.Hold)
	switch {
	case err != nil:
		e.obs.NotSettled(l.ctx, l.d, s.Attempt, l.at, err)
	case r == store.LeaseLost:
		e.obs.LeaseLost(l.ctx, l.d, s.Attempt, l.at)
	case r == store.AlreadySettled && completing:
		// Its own transaction committed: that alone completes it.
		a := store.Attempt{}
		if s.Attempt != nil {
			a = *s.Attempt
		}
		a.Outcome, a.Err, a.Class = store.OutcomeProcessed, "", ""
		e.obs.Attempted(l.ctx, l.d, &store.Settle{To: store.Processed, Attempt: &a}, l.at)
	default:
		e.obs.Attempted(l.ctx, l.d, &s, l.at)
		if s.To == store.Queued && s.After < e.c.Poll {
			time.AfterFunc(s.After, e.slots.call) // sooner than the poll comes round
		}
	}
}

// commitSettle commits s and hold, again after errors that say nothing of the
// outcome: the token makes that safe, and a hold is the same a second time.
func (e *Engine) commitSettle(s store.Settle, hold *store.Hold) (store.Result, error) {
	var r store.Result
	var pause *backoff.ExponentialBackOff
	for {
		b := &store.Batch{Settles: []store.Settle{s}}
		if hold != nil {
			b.Holds = []store.Hold{*hold}
		}
		res, err := e.st.Commit(e.settleWork, b)
		e.note(e.settleWork, observe.StoreSettle, err)
		switch {
		case err == nil && len(res.Settles) == 1:
			r = res.Settles[0]
		case err == nil:
			err = fmt.Errorf("webhook: the store forgot to answer the settle of delivery %s", s.Delivery)
		case errors.Is(err, store.ErrBadData) && (s.Attempt != nil || s.Reason != ""):
			// Better settled without a record of the try than not at all.
			s.Attempt, s.Reason = nil, ""
			continue
		case errors.Is(err, store.ErrBadData) || errors.Is(err, store.ErrClosed):
			return 0, err
		}
		if err == nil && r != store.Locked {
			return r, nil
		}
		if pause == nil {
			pause = again.BackOff(5 * time.Second)
		}
		if restErr := again.Rest(e.settleWork, pause.NextBackOff()); restErr != nil {
			return 0, errors.Join(err, restErr)
		}
	}
}
