package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// leased is the context of a handler: its delivery, and CompleteIn's mark beside
// it. One for each attempt, hence one allocation.
type leased struct {
	context.Context
	delivery   *Delivery
	start      time.Time
	completing atomic.Bool
}

type (
	leasedKey struct{}
	inTxKey   struct{}
)

// WithLeased returns a context whose delivery is d, which its caller holds a
// lease on. The engine calls it before each attempt.
func WithLeased(ctx context.Context, d *Delivery) context.Context {
	return &leased{Context: ctx, delivery: d, start: time.Now()}
}

func (l *leased) Value(key any) any {
	if key == (leasedKey{}) {
		return l
	}
	return l.Context.Value(key)
}

// Leased returns the delivery that is being attempted under ctx, nil if there
// is none, and whether CompleteIn was called for it. The delivery is shared:
// read it only.
func Leased(ctx context.Context) (d *Delivery, completing bool) {
	l, ok := ctx.Value(leasedKey{}).(*leased)
	if !ok {
		return nil, false
	}
	return l.delivery, l.completing.Load()
}

// CompleteIn completes the delivery in ctx as part of w's transaction. From the
// call on only that transaction's commit completes it: if it is rolled back, or
// never committed, the attempt has failed and is retried, whatever the handler
// returns; once it is committed the delivery is processed, whatever the handler
// returns. A handler that does its work in the same transaction thus takes
// effect exactly once.
//
// ErrLeaseLost: another worker may have the delivery, or an earlier transaction
// completed it; roll back. ErrRetry: its row is locked; roll back. ErrNotFound:
// ctx is not a handler's.
func CompleteIn(ctx context.Context, w Tx) error {
	l, ok := ctx.Value(leasedKey{}).(*leased)
	if !ok {
		return fmt.Errorf("webhook: complete: context is not a handler's: %w", ErrNotFound)
	}
	d := l.delivery
	// The mark comes first: after a write of unknown outcome only the commit
	// may complete the delivery.
	l.completing.Store(true)
	res, err := w.Write(ctx, &Batch{Settles: []Settle{{
		Delivery: d.ID,
		Token:    d.Token,
		To:       Processed,
		Attempt:  &Attempt{Token: d.Token, Start: l.start, Duration: time.Since(l.start), Outcome: OutcomeProcessed},
	}}})
	if err != nil {
		return fmt.Errorf("webhook: complete delivery %s: %w", d.ID, err)
	}
	switch r := res.Settles[0]; r {
	case Done:
		return nil
	case AlreadySettled:
		return fmt.Errorf("webhook: delivery %s is completed already: %w", d.ID, ErrLeaseLost)
	case Locked:
		return fmt.Errorf("webhook: delivery %s is locked: %w", d.ID, ErrRetry)
	case LeaseLost:
		return fmt.Errorf("webhook: complete delivery %s: %w", d.ID, ErrLeaseLost)
	default:
		return fmt.Errorf("webhook: complete delivery %s: the store forgot the item (result %d)", d.ID, r)
	}
}

// InTx marks ctx as inside a transaction that holds what others wait for.
// Backends call it in Transact.
func InTx(ctx context.Context) context.Context {
	return context.WithValue(ctx, inTxKey{}, true)
}

// InTransaction returns ErrInTransaction for a context marked by InTx.
// Whatever would wait for that transaction's own end asks it first.
func InTransaction(ctx context.Context) error {
	if ctx.Value(inTxKey{}) != nil {
		return ErrInTransaction
	}
	return nil
}
