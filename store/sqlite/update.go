package sqlite

import (
	"context"
	"fmt"
	"slices"

	"github.com/surehook/webhook/store"
)

const (
	selectForUpdate = `
SELECT event, queue, destination, lane, state, token, order_key, chain, due, started IS NOT NULL, started, took, success
FROM webhook_delivery WHERE id = ?`

	requeueDelivery = `
UPDATE webhook_delivery
SET state = 'queued', chain = ?, due = ?, ready = ?, spent = 0, deferred = 0, lost = 0,
    finished = NULL, reason = NULL, started = NULL, took = NULL, success = NULL
WHERE id = ?`

	endDelivery = `UPDATE webhook_delivery SET state = ?, chain = ?, ready = NULL, finished = ?, reason = ? WHERE id = ?`

	moveDelivery = `UPDATE webhook_delivery SET destination = ?, lane = ?, chain = ?, ready = ? WHERE id = ?`

	leaveChain = `UPDATE webhook_delivery SET chain = NULL, ready = NULL WHERE id = ?`

	selectOpen = `SELECT count(*) FROM webhook_delivery WHERE id = ? AND state IN ('queued', 'processing')`

	eraseEvent    = `UPDATE webhook_event SET head = NULL, body = NULL WHERE id = ?`
	eraseAttempts = `UPDATE webhook_attempt SET error = x'', response = NULL WHERE delivery = ?`
	eraseSuccess  = `UPDATE webhook_delivery SET success = json_remove(success, '$.response') WHERE id = ? AND success IS NOT NULL`
)

// Update changes what a person wants changed.
func (s *Store) Update(ctx context.Context, queue string, ids []string, c store.Change) (n int, err error) {
	if err := store.InTransaction(ctx); err != nil {
		return 0, err
	}
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	if err := c.Validate(); err != nil {
		return 0, fmt.Errorf("webhook: update: %w", err)
	}

	var w *work
	err = s.writer.do(ctx, func(db session) error {
		w = s.newWork(db)
		chosen, err := w.choose(queue, ids, &c)
		if err != nil {
			return err
		}
		for _, u := range chosen {
			if err := w.change(u, &c); err != nil {
				return fmt.Errorf("delivery %s: %w", s.deliveryID(u.id), err)
			}
		}
		n = len(chosen)
		return w.flush()
	})
	if err != nil {
		return 0, s.failed("update", err)
	}
	w.committed()
	return n, nil
}

// updated is a delivery that is to be changed, and its event.
type updated struct {
	id, queue, destination, lane, token, chain, due int64
	state, orderKey                                 string
	own                                             ownAttempt
	event                                           *facts // shared between those of one event
}

// choose returns those of ids that c changes, each once. They are read before the
// first is changed, so that the order of ids does not matter.
func (w *work) choose(queue string, ids []string, c *store.Change) ([]*updated, error) {
	q, err := w.queue(queue)
	if err != nil {
		return nil, err
	}
	var target *destination
	if c.Destination != "" {
		if target, err = w.destination(queue, c.Destination, true); err != nil {
			return nil, err
		}
	}
	var chosen []*updated
	isChosen := make(map[int64]bool, len(ids))
	events := map[int64]*facts{}
	moved := map[int64]bool{} // events that get a delivery there
	for _, id := range ids {
		row := w.s.row(id)
		if row == 0 || isChosen[row] {
			continue
		}
		u := &updated{id: row}
		var event int64
		found, err := one(w.db, selectForUpdate, []any{row}, &event, &u.queue, &u.destination, &u.lane, &u.state, &u.token,
			&u.orderKey, &u.chain, &u.due, &u.own.there, &u.own.started, &u.own.took, &u.own.rest)
		if err != nil {
			return nil, err
		}
		if !found || u.queue != q || u.state == processing || len(c.From) > 0 && !slices.Contains(c.From, store.State(u.state)) {
			continue
		}
		if u.event = events[event]; u.event == nil {
			if u.event, err = w.facts(event); err != nil {
				return nil, err
			}
			events[event] = u.event
		}
		if c.To == store.Queued && u.event.erased {
			continue
		}
		if target != nil {
			// It may come back to where it was, but not go where another is or was.
			there, named := u.event.names.find(target.id)
			if u.destination == target.id || moved[event] || named && there != row {
				continue
			}
			moved[event] = true
		}
		isChosen[row] = true
		chosen = append(chosen, u)
	}
	if !c.Erase {
		return chosen, nil
	}
	return w.erasable(chosen, isChosen, c.To != "")
}

// erasable leaves out those whose event has deliveries that are still to be done
// after the change, which ends all that were chosen or none.
func (w *work) erasable(chosen []*updated, isChosen map[int64]bool, ends bool) ([]*updated, error) {
	var all []*updated
	open := map[*facts]bool{} // each event is looked at once: it may have gone to thousands
	for _, u := range chosen {
		isOpen, ok := open[u.event]
		if !ok {
			for _, n := range u.event.names {
				if isOpen || ends && isChosen[n.delivery] {
					continue
				}
				var count int64
				if _, err := one(w.db, selectOpen, []any{n.delivery}, &count); err != nil {
					return nil, err
				}
				isOpen = count > 0
			}
			open[u.event] = isOpen
		}
		if !isOpen {
			all = append(all, u)
		}
	}
	return all, nil
}

// change does to u what c says.
func (w *work) change(u *updated, c *store.Change) error {
	if c.Destination != "" {
		if err := w.move(u, c.Destination); err != nil {
			return err
		}
	}
	var err error
	switch c.To {
	case store.Queued:
		err = w.requeue(u)
	case store.Dead, store.Discarded:
		err = w.finish(u, string(c.To), c.Reason)
	default: // it stays
	}
	if err == nil && c.Erase && !u.event.erased {
		err = w.erase(u.event)
	}
	return err
}

// requeue makes u due now, with a full budget, at its old place of its ordering key.
func (w *work) requeue(u *updated) error {
	d, err := w.destinationByID(u.destination)
	if err != nil {
		return err
	}
	if u.own.there {
		// Its row is needed for the next success.
		a, err := u.own.attempt(uint64(u.token))
		if err != nil {
			return err
		}
		if err := w.insertAttempt(u.id, uint64(u.token), &a); err != nil {
			return err
		}
	}
	if u.orderKey != "" && u.chain == 0 {
		if u.chain, _, err = w.join(d, u.orderKey, u.id); err != nil {
			return err
		}
	}
	var at any
	if u.chain == 0 {
		at = w.now
		if err := w.readyIn(d, u.lane, w.now); err != nil {
			return err
		}
	}
	d.count(u.state, -1)
	d.count(queued, 1)
	u.state = queued
	if _, err := w.db.exec(requeueDelivery, orNull(u.chain), w.now, at, u.id); err != nil || u.chain == 0 {
		return err
	}
	return w.arrange(u.chain)
}

// finish ends u. One that is made a dead letter holds up its ordering key like any
// other.
func (w *work) finish(u *updated, state, reason string) error {
	d, err := w.destinationByID(u.destination)
	if err != nil {
		return err
	}
	d.count(u.state, -1)
	d.count(state, 1)
	u.state = state
	chain := orNull(u.chain)
	if state != dead {
		chain = nil
	}
	if _, err := w.db.exec(endDelivery, state, chain, w.now, []byte(reason), u.id); err != nil || u.chain == 0 {
		return err
	}
	return w.arrange(u.chain)
}

// move takes u to another destination, and to the end or its old place of the
// ordering key there.
func (w *work) move(u *updated, name string) error {
	from, err := w.destinationByID(u.destination)
	if err != nil {
		return err
	}
	to, err := w.place(from.queueName, name, u.event.tenant)
	if err != nil {
		return err
	}
	was := u.chain
	if was != 0 {
		if _, err := w.db.exec(leaveChain, u.id); err != nil {
			return err
		}
		if err := w.arrange(was); err != nil {
			return err
		}
		if u.chain, _, err = w.join(to.destination, u.orderKey, u.id); err != nil {
			return err
		}
	}
	var at any
	if was == 0 && u.state == queued {
		at = u.due
		w.ready(to.destination, to.lane, u.due)
	}
	from.count(u.state, -1)
	to.destination.count(u.state, 1)
	u.destination, u.lane = to.destination.id, to.lane.id
	if _, err := w.db.exec(moveDelivery, u.destination, u.lane, orNull(u.chain), at, u.id); err != nil {
		return err
	}
	if _, known := u.event.names.find(u.destination); !known {
		u.event.names = append(u.event.names, named{u.destination, u.id})
		if _, err := w.db.exec(nameEvent, u.event.names.text(), u.event.id); err != nil {
			return err
		}
	}
	if u.chain == 0 {
		return nil
	}
	return w.arrange(u.chain)
}

// erase empties what an event carries and what was answered to it.
func (w *work) erase(f *facts) error {
	f.erased = true
	if _, err := w.db.exec(eraseEvent, f.id); err != nil {
		return err
	}
	for _, n := range f.names {
		if _, err := w.db.exec(eraseAttempts, n.delivery); err != nil {
			return err
		}
		if _, err := w.db.exec(eraseSuccess, n.delivery); err != nil {
			return err
		}
	}
	return nil
}
