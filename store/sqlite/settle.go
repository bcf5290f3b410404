package sqlite

import (
	"time"

	"github.com/surehook/webhook/store"
)

const (
	selectLeased = `
SELECT destination, lane, state, token, order_key, chain FROM webhook_delivery WHERE id = ?`

	// The token is the fence. One of an ordering key is made ready by the key.
	settleDelivery = `
UPDATE webhook_delivery
SET state = ?, chain = ?, due = coalesce(?, due), ready = ?, leased = NULL, until = NULL,
    spent = spent + ?, deferred = deferred + ?, finished = ?, reason = ?, started = ?, took = ?, success = ?
WHERE id = ? AND token = ? AND state = 'processing'`

	// The same for most: what is bound, or indexed, costs as much as what is written.
	// While it is processing a delivery has no reason.
	settleProcessed = `
UPDATE webhook_delivery
SET state = 'processed', ready = NULL, leased = NULL, until = NULL,
    spent = spent + ?, finished = ?, started = ?, took = ?, success = ?
WHERE id = ? AND token = ? AND state = 'processing'`

	renewDelivery = `UPDATE webhook_delivery SET until = ?, ready = ? WHERE id = ?`
)

// leased is the part of a delivery's row that a settle or a renewal needs.
type leased struct {
	id, destination, lane, token, chain int64
	state, orderKey                     string
}

// leased reads a delivery; nil if there is none in that row.
func (w *work) leased(row int64) (*leased, error) {
	l := &leased{id: row}
	found, err := one(w.db, selectLeased, []any{l.id}, &l.destination, &l.lane, &l.state, &l.token, &l.orderKey, &l.chain)
	if err != nil || !found {
		return nil, err
	}
	return l, nil
}

// settle ends a lease.
func (w *work) settle(x *store.Settle) (store.Result, error) {
	row := w.s.row(x.Delivery)
	if row == 0 {
		return store.LeaseLost, nil
	}
	if given, ok := w.s.leases.take(row, x.Token); ok {
		l := leased{id: row, destination: given.destination, lane: given.lane, token: given.token, state: processing}
		if done, err := w.end(&l, x); done || err != nil {
			return store.Done, err
		}
	}
	l, err := w.leased(row)
	switch {
	case err != nil:
		return 0, err
	case l == nil || uint64(l.token) != x.Token:
		return store.LeaseLost, nil
	case l.state != processing:
		return store.AlreadySettled, nil
	}
	_, err = w.end(l, x)
	return store.Done, err
}

// end writes what x says, unless the lease is not the delivery's last.
func (w *work) end(l *leased, x *store.Settle) (done bool, err error) {
	own := ownOf(x)
	chain := orNull(l.chain)
	var due, ready, finished, reason any
	switch x.To {
	case store.Queued:
		due = after(w.now, x.After)
		if l.chain == 0 {
			ready = due
		}
	case store.Dead:
		finished, reason = w.now, []byte(x.Reason)
		if x.Unblock {
			chain = nil
		}
	case store.Processed:
		finished, chain = w.now, nil
	default:
		finished, reason, chain = w.now, []byte(x.Reason), nil
	}
	var n int64
	if x.To == store.Processed && !x.Defer && l.chain == 0 {
		n, err = w.db.exec(settleProcessed, one0(x.Spend), finished, own.started, own.took, own.rest, l.id, l.token)
	} else {
		n, err = w.db.exec(settleDelivery, string(x.To), chain, due, ready, one0(x.Spend), one0(x.Defer), finished, reason,
			own.started, own.took, own.rest, l.id, l.token)
	}
	if err != nil || n == 0 {
		return false, err
	}

	d, err := w.destinationByID(l.destination)
	if err != nil {
		return false, err
	}
	d.count(processing, -1)
	d.count(string(x.To), 1)
	if x.Attempt != nil {
		d.noted(x.Attempt.Outcome, w.now)
		if own == (success{}) {
			if err := w.insertAttempt(l.id, x.Token, x.Attempt); err != nil {
				return false, err
			}
		}
	}
	switch {
	case l.chain != 0:
		err = w.arrange(l.chain)
	case x.To == store.Queued:
		err = w.readyIn(d, l.lane, after(w.now, x.After))
	}
	return true, err
}

// readyIn is ready, of a lane by its id.
func (w *work) readyIn(d *destination, lane, at int64) error {
	l, err := w.laneOf(lane)
	if err == nil {
		w.ready(d, l, at)
	}
	return err
}

// noted keeps the clock of a destination's failures.
func (d *destination) noted(outcome string, now int64) {
	switch {
	case outcome == store.OutcomeProcessed:
		d.failing = 0
	case outcome == store.OutcomeFailed && d.failing == 0:
		d.failing = now
	}
}

// renew prolongs a lease.
func (w *work) renew(x *store.Renew) (store.Result, error) {
	l, err := w.leased(w.s.row(x.Delivery))
	if err != nil {
		return 0, err
	}
	if l == nil || uint64(l.token) != x.Token || l.state != processing {
		return store.LeaseLost, nil
	}
	d, err := w.destinationByID(l.destination)
	if err != nil {
		return 0, err
	}
	until := after(w.now, x.For)
	ready := until
	if l.orderKey != "" {
		held, err := w.keyHeld(d, l.orderKey)
		if err != nil {
			return 0, err
		}
		ready = max(until, held)
	}
	if err := w.leasedUntil(until); err != nil {
		return 0, err
	}
	ln, err := w.laneOf(l.lane)
	if err != nil {
		return 0, err
	}
	w.expires(ln, ready) // it may end sooner than before
	_, err = w.db.exec(renewDelivery, until, ready, l.id)
	return store.Done, err
}

// one0 is a bool as a number to add.
func one0(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// settlePatience is how long a batch of settles waits for an add to go with:
// under load one comes within it, and there are half as many commits.
const settlePatience = 3 * time.Millisecond

// patience is how long b may wait for company. Nobody waits for a settle: its
// handler has ended.
func patience(b *store.Batch) time.Duration {
	if len(b.Settles) == b.Len() && len(b.Settles) > 0 {
		return settlePatience
	}
	return 0
}
