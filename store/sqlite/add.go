package sqlite

import (
	"strings"

	"github.com/surehook/webhook/store"
)

const (
	// The event's id is taken from webhook_file, so the transaction that holds
	// the write lock is the only one to use it.
	insertEvent = `
INSERT INTO webhook_event (id, queue, nonce, keys, digest, received, known, named, tenant, source, event, type, subject, time, trace, head, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

	insertDelivery = `
INSERT INTO webhook_delivery (id, event, queue, destination, lane, state, token, born, order_key, chain, due, ready, leased, until)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

	// The same for most: due and leased now, and ready when the lease ends.
	insertLeased = `
INSERT INTO webhook_delivery (event, queue, due, leased, ready, until, state, token, born, id, destination, lane)
VALUES `
	leasedRow = `(?1, ?2, ?3, ?3, ?4, ?4, 'processing', 1, 1, ?, ?, ?)`
)

// leasedMax is how many of an event's deliveries one statement inserts.
const leasedMax = 16

// insertsLeased are the statements for 1, 2, … leasedMax.
var insertsLeased = func() (queries [leasedMax]string) {
	for i := range queries {
		queries[i] = insertLeased + strings.TrimSuffix(strings.Repeat(leasedRow+", ", i+1), ", ")
	}
	return queries
}()

// add stores an event with its deliveries, or finds out that it is known.
func (w *work) add(a *store.Add, out *store.Added) error {
	seq, err := w.next()
	if err != nil {
		return err
	}
	event := seq.event
	if known := w.know(a, event); known != 0 {
		return w.again(a, known, out)
	}
	seq.event++

	out.Result = store.Done
	out.Deliveries = make([]store.Delivery, len(a.To))
	to := make([]place, len(a.To))
	ids := make(names, len(a.To))
	for i := range a.To {
		if to[i], err = w.place(a.Queue, a.To[i].Destination, a.Record.Tenant); err != nil {
			return err
		}
		ids[i] = named{to[i].destination.id, seq.delivery}
		seq.delivery++
	}
	if err := w.insertEvent(event, a, w.now, after(w.now, a.Known), ids); err != nil {
		return err
	}
	for i := range a.To {
		if out.Deliveries[i], err = w.deliver(ids[i].delivery, event, to[i], &a.To[i], w.leases); err != nil {
			return err
		}
		out.Deliveries[i].Received = instant(w.now)
	}
	return w.insertBorn()
}

// insertEvent writes the row of an event that is new, or was purged.
func (w *work) insertEvent(id int64, a *store.Add, received, known int64, ids names) error {
	queue, err := w.queue(a.Queue)
	if err != nil {
		return err
	}
	r := a.Record
	_, err = w.db.exec(insertEvent, id, queue, a.Nonce[:], keysOf(a), a.Digest[:], received, known, ids.text(),
		[]byte(r.Tenant), []byte(r.Source), []byte(r.ID), []byte(r.Type), []byte(r.Subject),
		micros(r.Time), []byte(r.Trace), blob(r.Head), blob(r.Body))
	return err
}

// place is where a delivery goes.
type place struct {
	destination *destination
	lane        *lane
}

func (w *work) place(queue, name, tenant string) (place, error) {
	d, err := w.destination(queue, name, true)
	if err != nil {
		return place{}, err
	}
	l, err := w.lane(d, tenant)
	return place{d, l}, err
}

// deliver inserts a delivery, born leased if that is asked for and may be.
func (w *work) deliver(id, event int64, to place, t *store.Target, leases bool) (store.Delivery, error) {
	d := to.destination
	due := after(w.now, t.After)
	free := due
	var orderKey, chain any
	head := true
	if t.OrderKey != "" {
		c, isHead, err := w.join(d, t.OrderKey, id)
		if err != nil {
			return store.Delivery{}, err
		}
		held, err := w.keyHeld(d, t.OrderKey)
		if err != nil {
			return store.Delivery{}, err
		}
		orderKey, chain, head, free = []byte(t.OrderKey), c, isHead, max(due, held)
	}

	out := store.Delivery{ID: w.s.deliveryID(id), State: store.Queued}
	state, token := queued, int64(0)
	var ready, leased, until any
	switch {
	case leases && t.Lease > 0 && head && free <= w.now && d.held <= w.now:
		end := after(w.now, t.Lease)
		if err := w.leasedUntil(end); err != nil {
			return out, err
		}
		state, token = processing, 1
		ready, leased, until = end, w.now, end
		out.State, out.Token, out.Until = store.Processing, 1, instant(end)
		w.expires(to.lane, end)
		if t.OrderKey == "" {
			w.given = append(w.given, lease{id, 1, d.id, to.lane.id})
		}
	case head:
		ready = free
		w.ready(d, to.lane, free)
	}
	d.count(state, 1)
	if token == 1 && chain == nil && due == w.now {
		return out, w.bear(event, d.queue, until, id, d.id, to.lane.id)
	}
	_, err := w.db.exec(insertDelivery, id, event, d.queue, d.id, to.lane.id, state, token, token, orderKey, chain, due, ready, leased, until)
	return out, err
}

// born are deliveries of one event that are leased until the same moment, and whose
// rows are still to be written, in one statement.
type born struct {
	n    int
	args []any // of the statement
}

// bear adds a delivery to those that are to be written.
func (w *work) bear(event, queue int64, until any, id, destination, lane int64) error {
	b := &w.born
	if b.n == leasedMax || b.n > 0 && b.args[3] != until {
		if err := w.insertBorn(); err != nil {
			return err
		}
	}
	if b.n == 0 {
		b.args = append(b.args[:0], event, queue, w.now, until)
	}
	b.n++
	b.args = append(b.args, id, destination, lane)
	return nil
}

// insertBorn writes them.
func (w *work) insertBorn() error {
	b := &w.born
	if b.n == 0 {
		return nil
	}
	_, err := w.db.exec(insertsLeased[b.n-1], b.args...)
	b.n = 0
	return err
}

// leasedUntil remembers the end of the last lease, for whoever takes over from a
// crashed engine.
func (w *work) leasedUntil(end int64) error {
	seq, err := w.next()
	if err == nil {
		seq.leased = max(seq.leased, end)
	}
	return err
}

// expires sees to it that l is looked at when a lease in it ends: which is no
// reason to wake anybody.
func (w *work) expires(l *lane, end int64) {
	l.next = min(l.next, end)
}

// size is what a batch takes of the bytes of one write.
func size(b *store.Batch) int {
	n := 0
	for i := range b.Adds {
		if r := b.Adds[i].Record; r != nil {
			n += len(r.Head) + len(r.Body)
		}
	}
	return n
}
