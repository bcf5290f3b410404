package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook/internal/again"
	"github.com/surehook/webhook/store"
)

// unit is one request.
type unit struct {
	*deduplicator
	v        *verified
	owner    [16]byte
	reserved time.Time // and not before

	all   [][32]byte // the keys of all events
	fresh []Event
	known []Event
	keys  [][32]byte // of those that are fresh: reserved
	mine  map[[32]byte]bool

	counted atomic.Bool // see verified
}

// reserve finds out which of the events are new, and reserves their keys.
func (u *unit) reserve(ctx context.Context) error {
	rand.Read(u.owner[:])
	events := u.v.events
	u.all = make([][32]byte, 0, 2*len(events))
	ends := make([]int, len(events))
	for i := range events {
		u.all = appendKeys(u.all, u.c.Space, &events[i])
		ends[i] = len(u.all)
	}
	known, err := u.st.Reserve(ctx, u.owner, u.all, u.c.Reservation)
	if err == nil && len(known) != len(u.all) {
		err = errors.New("webhook: the store forgot to answer a key")
	}
	if err != nil {
		return err
	}
	u.part(ends, known)
	u.free(ctx, u.beside(known))
	return nil
}

// part parts the events that are new from those that are known: by one of their
// keys, or because another of this request has the same. The keys of the i-th event
// end in u.all at ends[i].
func (u *unit) part(ends []int, known []bool) {
	u.mine = make(map[[32]byte]bool, len(u.all))
	from := 0
	for i, e := range u.v.events {
		keys := u.all[from:ends[i]]
		met := slices.Contains(known[from:ends[i]], true) ||
			slices.ContainsFunc(keys, func(k [32]byte) bool { return u.mine[k] })
		from = ends[i]
		if met {
			u.known = append(u.known, e)
			continue
		}
		u.fresh = append(u.fresh, e)
		u.keys = append(u.keys, keys...)
		for _, k := range keys {
			u.mine[k] = true
		}
	}
}

// beside returns what was reserved and is of no new event: further keys of one that
// is known. They must not become known with it: who captured a request would send it
// under the ids of events that are still to come.
func (u *unit) beside(known []bool) (beside [][32]byte) {
	for i, k := range u.all {
		if !known[i] && !u.mine[k] {
			beside = append(beside, k)
		}
	}
	return beside
}

// undo releases what may be reserved although Reserve returned err, with one try:
// what is left runs out.
func (u *unit) undo(ctx context.Context, err error) {
	if errors.Is(err, store.ErrReserved) || again.Futile(err) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	_ = u.st.Release(ctx, u.owner, u.all)
}

// appendKeys appends the keys under which e is known: digests, in which no part can
// pass for another, and of a space that no Inbox shares.
func appendKeys(keys [][32]byte, space string, e *Event) [][32]byte {
	keys = append(keys, digestOf("webhook deduplicated identity", space, e.Tenant, e.Source, e.ID))
	for _, k := range e.Proof.Keys {
		keys = append(keys, digestOf("webhook deduplicated replay key", space, e.Tenant, e.Source, string(k)))
	}
	return keys
}

// renew prolongs u's reservation, a third of it apart, until stop is called, which
// returns when nothing more comes. lost is called once, with ErrLeaseLost, as soon as
// somebody else has one of the keys, or the reservation has run out by our clock
// because the store could not be written: then somebody may.
func (u *unit) renew(ctx context.Context, lost func(error)) (stop func()) {
	span := u.c.Reservation
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // a client that has gone ends nothing
	ranOut := time.AfterFunc(time.Until(u.reserved.Add(span)), func() {
		lost(fmt.Errorf("webhook: the reservation ran out before it was prolonged: %w", store.ErrLeaseLost))
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait := span / 3
		for again.Rest(ctx, wait) == nil {
			start := time.Now()
			known, err := u.prolong(ctx)
			switch {
			case errors.Is(err, store.ErrReserved), err == nil && slices.Contains(known, true):
				if ranOut.Stop() {
					lost(fmt.Errorf("webhook: somebody else has the reservation: %w", store.ErrLeaseLost))
				}
				return
			case err != nil:
				wait = span / 12 // some more tries before it runs out
			default:
				wait = span / 3
				if ranOut.Stop() {
					ranOut.Reset(time.Until(start.Add(span)))
				}
			}
		}
	}()
	return func() {
		cancel()
		<-done
		ranOut.Stop()
	}
}

// prolong makes one try, which must leave time for another.
func (u *unit) prolong(ctx context.Context) (known []bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, u.c.Reservation/3)
	defer cancel()
	return u.st.Reserve(ctx, u.owner, u.keys, u.c.Reservation)
}

// settleTime is how long confirming or releasing is tried: the sender may wait for
// the end of the answer meanwhile, and the shortest patience that is known is 5 s
// (Shopify).
const settleTime = 3 * time.Second

// persist does f until it succeeds, its error is final, or settleTime is over. Its
// context has ctx's values, and an end of its own.
func persist(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	pause := again.BackOff(500 * time.Millisecond)
	for {
		err := f(ctx)
		if err == nil || errors.Is(err, store.ErrLeaseLost) || again.Futile(err) {
			return err
		}
		if again.Rest(ctx, pause.NextBackOff()) != nil {
			return err
		}
	}
}
