package sqlite

import "fmt"

// rows are those of the small tables, as a transaction finds them: queues,
// destinations, lanes and the counters of webhook_file. What it changes of them is
// written once, at its end.
//
// The writer keeps them from one transaction to the next: to read the rows of ten
// destinations again costs as much as to settle ten deliveries. They are believed as
// long as every commit since was one that kept them, see writer.remembered.
type rows struct {
	version int64 // of the file's data, as other connections change it

	seq      sequence
	queues   map[string]int64
	dests    map[destinationName]*destination
	destByID map[int64]*destination
	lanes    map[laneName]*lane
	laneByID map[int64]*lane

	// What the transaction that is under way has used, and may have changed.
	turn      int64
	usedDests []*destination
	usedLanes []*lane
}

// rowsMax is how many are kept: of more, none.
const rowsMax = 1 << 12

func newRows() *rows {
	return &rows{
		queues:   map[string]int64{},
		dests:    map[destinationName]*destination{},
		destByID: map[int64]*destination{},
		lanes:    map[laneName]*lane{},
		laneByID: map[int64]*lane{},
		turn:     1,
	}
}

// again makes r ready for another transaction.
func (r *rows) again() {
	r.turn++
	clear(r.usedDests)
	clear(r.usedLanes)
	r.usedDests, r.usedLanes = r.usedDests[:0], r.usedLanes[:0]
	r.seq.changed = false
}

// many reports whether r has become too large to be kept.
func (r *rows) many() bool {
	return len(r.queues)+len(r.destByID)+len(r.lanes)+len(r.laneByID) > rowsMax
}

// use notes that the transaction may change d.
func (r *rows) use(d *destination) *destination {
	if d.turn != r.turn {
		d.turn = r.turn
		r.usedDests = append(r.usedDests, d)
	}
	return d
}

// useLane is use for a lane.
func (r *rows) useLane(l *lane) *lane {
	if l.turn != r.turn {
		l.turn = r.turn
		r.usedLanes = append(r.usedLanes, l)
	}
	return l
}

func (r *rows) keep(d *destination) {
	d.wasHeld, d.wasFailing = d.held, d.failing
	r.dests[destinationName{d.queue, d.name}] = d
	r.destByID[d.id] = d
}

func (r *rows) keepLane(l *lane) {
	l.wasNext, l.wasServed = l.next, l.served
	r.laneByID[l.id] = l
}

// flush writes back what changed in memory; the transaction may go on after it.
func (r *rows) flush(db session) error {
	if q := &r.seq; q.changed {
		if _, err := db.exec(updateSequence, q.event, q.delivery, q.turn, q.leased, q.indexed); err != nil {
			return err
		}
		q.changed = false
	}
	for _, d := range r.usedDests {
		if err := d.flush(db); err != nil {
			return err
		}
	}
	for _, l := range r.usedLanes {
		if err := l.flush(db); err != nil {
			return err
		}
	}
	return nil
}

// sequence is the row of webhook_file.
type sequence struct {
	event, delivery, turn, leased, indexed int64
	loaded, changed                        bool
}

const (
	selectSequence = `SELECT event, delivery, turn, leased, indexed FROM webhook_file`
	updateSequence = `UPDATE webhook_file SET event = ?, delivery = ?, turn = ?, leased = ?, indexed = ?`
)

// load reads the row.
func (q *sequence) load(db session) error {
	found, err := one(db, selectSequence, nil, &q.event, &q.delivery, &q.turn, &q.leased, &q.indexed)
	if err == nil && !found {
		err = fmt.Errorf("webhook_file has no row")
	}
	q.loaded = err == nil
	return err
}
