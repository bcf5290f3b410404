package sqlite

import "strings"

// lane is a row of webhook_lane: a destination and a tenant, served in turn.
type lane struct {
	id, destination int64
	next, served    int64
	wasNext         int64
	wasServed       int64
	turn            int64 // of rows, when it was used last
}

// laneName finds a lane within a transaction.
type laneName struct {
	destination int64
	tenant      string
}

const (
	selectLane     = `SELECT id, destination, next, served FROM webhook_lane WHERE destination = ? AND tenant = ?`
	insertLane     = `INSERT INTO webhook_lane (queue, destination, tenant, next) VALUES (?, ?, ?, ?) RETURNING id`
	selectLaneByID = `SELECT id, destination, next, served FROM webhook_lane WHERE id = ?`
	updateLane     = `UPDATE webhook_lane SET next = ?, served = ? WHERE id = ?`
)

// lane returns the one of d and a tenant, which is made if there is none.
func (w *work) lane(d *destination, tenant string) (*lane, error) {
	name := laneName{d.id, tenant}
	if l, ok := w.lanes[name]; ok {
		return w.useLane(l), nil
	}
	l := &lane{}
	found, err := one(w.db, selectLane, []any{d.id, []byte(tenant)}, &l.id, &l.destination, &l.next, &l.served)
	if err == nil && !found {
		l.destination, l.next = d.id, never
		_, err = one(w.db, insertLane, []any{d.queue, d.id, []byte(tenant), int64(never)}, &l.id)
	}
	if err != nil {
		return nil, err
	}
	if known, ok := w.laneByID[l.id]; ok {
		l = known // it was found by its id before
	} else {
		w.keepLane(l)
	}
	name.tenant = strings.Clone(tenant)
	w.lanes[name] = l
	return w.useLane(l), nil
}

// laneOf returns the lane that a delivery refers to.
func (w *work) laneOf(id int64) (*lane, error) {
	if l, ok := w.laneByID[id]; ok {
		return w.useLane(l), nil
	}
	l := &lane{}
	found, err := one(w.db, selectLaneByID, []any{id}, &l.id, &l.destination, &l.next, &l.served)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, missing("lane", id)
	}
	w.keepLane(l)
	return w.useLane(l), nil
}

// ready sees to it that a delivery that may be claimed at that time is found then,
// or when d is not held any more.
func (w *work) ready(d *destination, l *lane, at int64) {
	if d.held > w.now {
		at = max(at, d.held)
	}
	if at < l.next {
		l.next = at
		w.due[d.queueName] = true
	} else if at <= w.now {
		w.due[d.queueName] = true
	}
}

func (l *lane) flush(db session) error {
	if l.next == l.wasNext && l.served == l.wasServed {
		return nil
	}
	if _, err := db.exec(updateLane, l.next, l.served, l.id); err != nil {
		return err
	}
	l.wasNext, l.wasServed = l.next, l.served
	return nil
}
