// Package engine is the one machine behind both faces: it claims deliveries
// under a lease, has each attempted, settles what came of it, and never learns
// which face it serves.
//
//	Add ──────► Commit ──born leased──┐
//	                                  ▼
//	Run: claim ──► slot ──► attempt ──► settle
//	        renew ─────────────┘
package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook/internal/again"
	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/store"
)

// Attempt makes one try of d and sets out. It must set out also when it is left
// by runtime.Goexit, hence in a deferred call: out is read whatever happens.
// event is what Add was given for d's record, nil if d was claimed.
type Attempt func(ctx context.Context, d *store.Delivery, event any, out *Outcome)

// Outcome is what becomes of a delivery after an attempt, as in store.Settle.
type Outcome struct {
	To      store.State
	After   time.Duration
	Spend   bool
	Defer   bool
	Unblock bool
	Reason  string
	Attempt *store.Attempt // nil: it was not tried
	Hold    *store.Hold    // of the destination, in the same commit; nil: none
}

// Config is checked and completed by the face: no field but Other is zero.
type Config struct {
	Queue       string
	Concurrency int
	Lease       time.Duration
	Poll        time.Duration
	Drain       time.Duration
	MaxDepth    int // negative: none
	Retention   store.Retention

	Elsewhere []string // destinations that other processes serve

	// Limits returns the destinations that this process serves, with how many
	// attempts of each may be under way; beside Other those that it is known to
	// allow less than the usual. It is asked once, when Run begins.
	Limits func() map[string]int

	// Other returns the limit of a destination that Limits does not name, and
	// for "" that of one nothing is known of; nil: those are not served. It must
	// answer from memory.
	Other func(destination string) int
}

// Engine runs one queue of a store. Safe for concurrent use.
type Engine struct {
	st  store.Store
	c   Config
	do  Attempt
	obs *observe.Observer

	slots  *slots
	leases leases
	depth  depth
	health health

	unsettled atomic.Int64 // attempts that have ended and wait for their settle
	hands     chan *lease  // to goroutines that rest between attempts
	resting   atomic.Int64 // how many do

	state    atomic.Int32  // one of the constants below
	stopping chan struct{} // closed when the drain begins
	warn     sync.Once     // about events that nobody processes
	began    sync.Once     // tells of the first claim

	unanswered [][16]byte // nonces of claims; the claim loop's

	// Set by Run before anything is started.
	work       context.Context // that of attempts; ends when the drain's time is over
	settleWork context.Context // that of settles; ends with Run
}

// States of an engine.
const (
	idle int32 = iota
	running
	ended
)

// New returns an engine for one queue of st, which attempts with do. It starts
// nothing.
func New(st store.Store, c Config, do Attempt, obs *observe.Observer) *Engine {
	return &Engine{
		st: st, c: c, do: do, obs: obs,
		slots:    newSlots(c.Concurrency),
		leases:   leases{m: map[*lease]struct{}{}},
		stopping: make(chan struct{}),
		hands:    make(chan *lease),
	}
}

// errDrained is the cause of the end of an attempt's context when the time to
// drain is over.
var errDrained = errors.New("webhook: the time to drain is over")

// Run claims and attempts until ctx ends, then drains, and returns nil if
// everything ended or was handed back. ErrBusy and ErrClosed, of the store, end
// it at once.
func (e *Engine) Run(ctx context.Context) error {
	if !e.state.CompareAndSwap(idle, running) {
		return fmt.Errorf("webhook: run queue %q: Run was called before", e.c.Queue)
	}
	defer e.state.Store(ended)
	limits := e.c.Limits()
	e.slots.serve(limits, e.c.Other)
	defer e.obs.Watch(e.st, e.c.Queue, limits, e.slots.running)()
	var cancelWork context.CancelCauseFunc
	e.work, cancelWork = context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancelWork(errDrained)
	var cancelSettle context.CancelFunc
	e.settleWork, cancelSettle = context.WithCancel(context.WithoutCancel(ctx))
	defer cancelSettle()

	// Renewals go on until the last attempt has ended; upkeep ends with the claims.
	renewing, stopRenewing := context.WithCancel(context.WithoutCancel(ctx))
	upkeep, stopUpkeep := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { e.renew(renewing) })
	wg.Go(func() { e.maintain(upkeep) })
	defer wg.Wait()
	defer stopRenewing()

	err := e.claim(ctx)
	stopUpkeep()
	e.slots.give(false)
	close(e.stopping)
	if err = errors.Join(err, e.drain(cancelWork)); err == nil {
		e.obs.Logger().InfoContext(ctx, "webhook engine drained", observe.KeyQueue, e.c.Queue)
	}
	return err
}

// drain waits for the attempts under way, ends their context when the time is
// over, and names those that did not end even then.
func (e *Engine) drain(cancelWork context.CancelCauseFunc) error {
	if e.slots.wait(e.c.Drain) {
		return nil
	}
	cancelWork(errDrained)
	// What obeys its context ends at once, and has this long to be settled.
	if e.slots.wait(min(e.c.Drain, 5*time.Second)) {
		return nil
	}
	for _, l := range e.leases.all() {
		process.end(l) // nobody here will see it end, and no suspect is to wait for it
	}
	names := e.leases.names(10)
	if names == "" {
		return fmt.Errorf("webhook: drain queue %q: the store does not say whether events were stored whose deliveries were to begin here", e.c.Queue)
	}
	return fmt.Errorf("webhook: drain queue %q: still running or not settled, their leases are kept: %s", e.c.Queue, names)
}

// claim leases what is due, and has it attempted, until ctx ends. It rests
// until the store signals, a slot is freed that there is work for, or the poll
// comes round. While there is enough in hand it lets signals gather.
func (e *Engine) claim(ctx context.Context) error {
	wake := e.st.Wake(e.c.Queue)
	poll := time.NewTimer(0)
	defer poll.Stop()
	pause := again.BackOff(e.c.Poll)
	var gathered <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
			if e.slots.busy() {
				if gathered == nil {
					gathered = time.After(gather)
				}
				continue
			}
		case <-gathered:
		case <-e.slots.kick:
		case <-poll.C:
		}
		gathered = nil
		next := e.c.Poll
		if err := e.claimAll(ctx); errors.Is(err, errIsolated) {
			next = min(next, isolatedPoll)
		} else if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, store.ErrBusy) || errors.Is(err, store.ErrClosed) {
				return fmt.Errorf("webhook: run queue %q: %w", e.c.Queue, err)
			}
			next = pause.NextBackOff()
			e.obs.Logger().ErrorContext(ctx, "webhook claim fails", observe.KeyQueue, e.c.Queue, observe.KeyError, err, observe.KeyRetryIn, next)
			// Wake-ups must not turn a failing store into a busy loop.
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(next):
			}
			next = 0
		} else {
			pause.Reset()
		}
		poll.Reset(next)
	}
}

// gather is how long new deliveries wait for more to come, while the attempts under
// way do not wait for any: a claim costs the store a commit.
const gather = 2 * time.Millisecond

// claimAll claims until nothing is due or no slot is free.
func (e *Engine) claimAll(ctx context.Context) error {
	for ctx.Err() == nil {
		free, other, n := e.slots.free()
		if n == 0 {
			return nil
		}
		c := store.Claim{Free: free, Other: other, Max: min(n, maxClaim), Bytes: maxClaimBytes, Lease: e.c.Lease, Unanswered: e.unanswered}
		rand.Read(c.Nonce[:])
		if !process.ask() {
			return errIsolated
		}
		start := time.Now() // no lease begins before
		ds, err := e.claimOnce(ctx, c)
		process.hold(len(ds))
		process.part()
		if err != nil {
			// It may have leased something all the same.
			e.unanswered = append(e.unanswered[max(0, len(e.unanswered)-maxUnanswered+1):], c.Nonce)
			return err
		}
		e.began.Do(e.sayBegun)
		more := e.slots.claimed(c, ds)
		for i := range ds {
			e.start(&ds[i], nil, start)
		}
		e.slots.give(true)
		if !more {
			return nil
		}
	}
	return nil
}

// sayBegun tells what stands behind an acknowledgement, once the first claim has
// shown that this engine is the one that runs.
func (e *Engine) sayBegun() {
	info := e.st.Info()
	e.obs.Logger().Info("webhook engine runs", observe.KeyQueue, e.c.Queue,
		"store", info.Name, "durable", info.Durable, "promise", info.Promise)
}

// errIsolated says that a suspect runs alone: nothing may be claimed now.
var errIsolated = errors.New("webhook: a suspect runs alone")

// isolatedPoll is how often it is looked whether that is over: it is rare, and its
// end is in another engine's hands.
const isolatedPoll = 50 * time.Millisecond

// claimOnce claims under a context that outlives ctx: leases that were taken by a
// claim which was then cancelled would be nobody's until they run out.
func (e *Engine) claimOnce(ctx context.Context, c store.Claim) ([]store.Delivery, error) {
	ctx = context.WithoutCancel(ctx)
	timed, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	ds, err := e.st.Claim(timed, e.c.Queue, c)
	e.note(ctx, observe.StoreClaim, err)
	return ds, err
}

// Bounds of one claim: what one round trip to a store carries well, and how long
// a store that hangs may hold up the drain.
const (
	maxClaim      = 256
	maxClaimBytes = 8 << 20
	claimTimeout  = 10 * time.Second

	// maxUnanswered is how many claims that were not answered are remembered: more
	// than are made while a lease runs.
	maxUnanswered = 128
)
