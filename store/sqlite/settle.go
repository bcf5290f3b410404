package sqlite

import "github.com/surehook/webhook/store"

const (
	selectLeased = `
SELECT destination, lane, state, token, order_key, chain FROM webhook_delivery WHERE id = ?`

	// The caller has read the row in this transaction: its token was the last.
	// One of an ordering key is made ready by the key, not here.
	settleDelivery = `
UPDATE webhook_delivery
SET state = ?, chain = ?, due = coalesce(?, due), ready = ?, leased = NULL, until = NULL,
    spent = spent + ?, deferred = deferred + ?, finished = ?, reason = ?, started = ?, took = ?, success = ?
WHERE id = ?`

	renewDelivery = `UPDATE webhook_delivery SET until = ?, ready = ? WHERE id = ?`
)

// leased is the part of a delivery's row that a settle or a renewal needs.
type leased struct {
	id, destination, lane, token, chain int64
	state, orderKey                     string
}

// leased reads a delivery; nil if there is none of that id.
func (w *work) leased(id string) (*leased, error) {
	l := &leased{id: w.s.row(id)}
	if l.id == 0 {
		return nil, nil
	}
	found, err := one(w.db, selectLeased, []any{l.id}, &l.destination, &l.lane, &l.state, &l.token, &l.orderKey, &l.chain)
	if err != nil || !found {
		return nil, err
	}
	return l, nil
}

// settle ends a lease.
func (w *work) settle(x *store.Settle) (store.Result, error) {
	l, err := w.leased(x.Delivery)
	switch {
	case err != nil:
		return 0, err
	case l == nil || uint64(l.token) != x.Token:
		return store.LeaseLost, nil
	case l.state != processing:
		return store.AlreadySettled, nil
	}
	d, err := w.destinationByID(l.destination)
	if err != nil {
		return 0, err
	}

	var own success
	if x.Attempt != nil {
		if own, err = w.record(l.id, x); err != nil {
			return 0, err
		}
		d.noted(x.Attempt.Outcome, w.now)
	}
	chain := orNull(l.chain)
	var due, ready, finished, reason any
	switch x.To {
	case store.Queued:
		at := after(w.now, x.After)
		due = at
		if l.chain == 0 {
			ready = at
			if err := w.readyIn(d, l.lane, at); err != nil {
				return 0, err
			}
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
	d.count(processing, -1)
	d.count(string(x.To), 1)
	if _, err := w.db.exec(settleDelivery, string(x.To), chain, due, ready, one0(x.Spend), one0(x.Defer), finished, reason,
		own.started, own.took, own.rest, l.id); err != nil {
		return 0, err
	}
	if l.chain != 0 {
		if err := w.arrange(l.chain); err != nil {
			return 0, err
		}
	}
	return store.Done, nil
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
	l, err := w.leased(x.Delivery)
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
