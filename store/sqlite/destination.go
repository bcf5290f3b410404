package sqlite

import "strings"

// destinationName finds a destination within a transaction.
type destinationName struct {
	queue int64
	name  string
}

// destination is a row of webhook_destination, with what the transaction adds to
// its counters.
type destination struct {
	id, queue   int64
	queueName   string
	name        string
	held        int64 // not claimed before
	failing     int64 // 0: it succeeds
	figures     figures
	wasHeld     int64
	wasFailing  int64
	keysBlocked int64 // added to blocked
	turn        int64 // of rows, when it was used last
}

// figures are changes of a destination's counters.
type figures struct {
	queued, processing, dead int64
}

const (
	selectQueue = `SELECT id FROM webhook_queue WHERE name = ?`
	insertQueue = `INSERT INTO webhook_queue (name) VALUES (?) RETURNING id`

	selectDestination = `SELECT id, held, failing FROM webhook_destination WHERE queue = ? AND name = ?`
	insertDestination = `INSERT INTO webhook_destination (queue, name) VALUES (?, ?) RETURNING id`

	// The plus is as in selectReady.
	selectDestinationByID = `
SELECT d.id, d.queue, q.name, d.name, d.held, d.failing
FROM webhook_destination d JOIN webhook_queue q ON q.id = d.queue WHERE d.id = +?`

	// Differences are added, so that what is read beside it need not be fresh.
	updateDestination = `
UPDATE webhook_destination
SET queued = queued + ?, processing = processing + ?, dead = dead + ?, blocked = blocked + ?, held = ?, failing = ?
WHERE id = ?`
)

// queue returns the id of a queue, which is made if there is none.
func (w *work) queue(name string) (int64, error) {
	id, found := w.queues[name]
	if found {
		return id, nil
	}
	found, err := one(w.db, selectQueue, []any{[]byte(name)}, &id)
	if err == nil && !found {
		_, err = one(w.db, insertQueue, []any{[]byte(name)}, &id)
	}
	if err != nil {
		return 0, err
	}
	w.queues[strings.Clone(name)] = id
	return id, nil
}

// destination returns one by name; nil if there is none and make is false.
func (w *work) destination(queue, name string, make bool) (*destination, error) {
	q, err := w.queue(queue)
	if err != nil {
		return nil, err
	}
	if d, ok := w.dests[destinationName{q, name}]; ok {
		return w.use(d), nil
	}
	d := &destination{queue: q, queueName: queue, name: strings.Clone(name)}
	found, err := one(w.db, selectDestination, []any{q, []byte(name)}, &d.id, &d.held, &d.failing)
	if err == nil && !found {
		if !make {
			return nil, nil
		}
		_, err = one(w.db, insertDestination, []any{q, []byte(name)}, &d.id)
	}
	if err != nil {
		return nil, err
	}
	w.keep(d)
	return w.use(d), nil
}

// destinationByID returns one that a delivery refers to.
func (w *work) destinationByID(id int64) (*destination, error) {
	if d, ok := w.destByID[id]; ok {
		return w.use(d), nil
	}
	d := &destination{}
	found, err := one(w.db, selectDestinationByID, []any{id}, &d.id, &d.queue, &d.queueName, &d.name, &d.held, &d.failing)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, missing("destination", id)
	}
	w.keep(d)
	return w.use(d), nil
}

// count adds n to the counter of state.
func (d *destination) count(state string, n int64) {
	switch state {
	case queued:
		d.figures.queued += n
	case processing:
		d.figures.processing += n
	case dead:
		d.figures.dead += n
	}
}

func (d *destination) flush(db session) error {
	if d.figures == (figures{}) && d.keysBlocked == 0 && d.held == d.wasHeld && d.failing == d.wasFailing {
		return nil
	}
	f := d.figures
	if _, err := db.exec(updateDestination, f.queued, f.processing, f.dead, d.keysBlocked, d.held, orNull(d.failing), d.id); err != nil {
		return err
	}
	d.figures, d.keysBlocked, d.wasHeld, d.wasFailing = figures{}, 0, d.held, d.failing
	return nil
}
