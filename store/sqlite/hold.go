package sqlite

import "github.com/surehook/webhook/store"

const (
	upsertHold = `
INSERT INTO webhook_hold (destination, key, kind, until, reason) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET until = excluded.until, reason = excluded.reason`
	deleteHold  = `DELETE FROM webhook_hold WHERE destination = ? AND key = ? AND kind = ?`
	deleteHolds = `DELETE FROM webhook_hold WHERE destination = ? AND key = ?`

	// By the primary key; at most four rows.
	selectHeld = `SELECT coalesce(max(until), 0) FROM webhook_hold WHERE destination = ? AND key = ?`

	// A destination's lanes learn of a hold when a claim comes past them, and of
	// its end here: all are looked at anew.
	lookAtLanes = `UPDATE webhook_lane SET next = 0 WHERE destination = ? AND next > 0`
)

// hold holds a destination or one of its ordering keys, or releases it.
func (w *work) hold(x *store.Hold) error {
	d, err := w.destination(x.Queue, x.Destination, !x.Release)
	if err != nil || d == nil {
		return err // nothing to release, and no reason to know it
	}
	key := []byte(x.OrderKey)
	switch {
	case x.Release && x.Kind == "":
		_, err = w.db.exec(deleteHolds, d.id, key)
	case x.Release:
		_, err = w.db.exec(deleteHold, d.id, key, string(x.Kind))
	default:
		until := int64(never)
		if x.For != 0 {
			until = after(w.now, x.For)
		}
		_, err = w.db.exec(upsertHold, d.id, key, string(x.Kind), until, []byte(x.Reason))
	}
	if err != nil {
		return err
	}
	if x.OrderKey != "" {
		return w.holdKey(d, x.OrderKey)
	}

	was := d.held
	if _, err := one(w.db, selectHeld, []any{d.id, []byte{}}, &d.held); err != nil {
		return err
	}
	if d.held >= was {
		return nil
	}
	if _, err := w.db.exec(lookAtLanes, d.id); err != nil {
		return err
	}
	for _, l := range w.laneByID {
		if l.destination == d.id {
			l.next, l.wasNext = 0, 0
		}
	}
	w.due[d.queueName] = true
	return nil
}

// holdKey makes the head of a key ready when its holds have ended.
func (w *work) holdKey(d *destination, key string) error {
	var chain int64
	found, err := one(w.db, selectChain, []any{d.id, []byte(key)}, &chain)
	if err != nil || !found {
		return err
	}
	return w.arrange(chain)
}

// keyHeld returns until when an ordering key is held, 0 or a time in the past if it
// is not.
func (w *work) keyHeld(d *destination, key string) (until int64, err error) {
	_, err = one(w.db, selectHeld, []any{d.id, []byte(key)}, &until)
	return until, err
}
