package memory

import (
	"time"

	"github.com/surehook/webhook/store"
)

// destination is one of a queue's, known once it was named.
type destination struct {
	queue *queue
	name  string
	lanes map[string]*lane     // by tenant
	keys  map[string]*orderKey // those with something in order, or with a hold
	holds holds
	held  bool // by holds, when last looked at

	heldKeys []*orderKey // by name: with a hold, that may have run out

	ready   heap[*lane] // something was due when last looked at: by when it was served
	waiting heap[*lane] // the other lanes that have work: by time
	next    time.Time   // when to look again; the order of queue.waiting

	figures      figures
	failingSince time.Time

	claim uint64 // the Claim that room is about
	room  int    // free slots that are left

	inReady, inWaiting, inFailing, inTurn int
}

// lane is the deliveries of one (destination, tenant) pair that may be claimed
// now or later. It stays when it is empty, to remember when it was served.
type lane struct {
	dest   *destination
	number int             // among the lanes of its destination
	work   heap[*delivery] // by claimable
	served uint64          // queue.served, when it last was

	inReady, inWaiting int
}

func newDestination(q *queue, name string) *destination {
	return &destination{
		queue:   q,
		name:    name,
		lanes:   map[string]*lane{},
		keys:    map[string]*orderKey{},
		figures: newFigures(1),
		ready: heap[*lane]{
			less: func(a, b *lane) bool {
				if a.served != b.served {
					return a.served < b.served
				}
				return a.number < b.number
			},
			at: func(l *lane) *int { return &l.inReady },
		},
		waiting: heap[*lane]{
			less: func(a, b *lane) bool { return a.work.first().claimable.Before(b.work.first().claimable) },
			at:   func(l *lane) *int { return &l.inWaiting },
		},
	}
}

// leastServed orders destinations that have a lane in ready.
func leastServed(a, b *destination) bool {
	if x, y := a.ready.first().served, b.ready.first().served; x != y {
		return x < y
	}
	return a.name < b.name
}

// lane returns the one of tenant.
func (d *destination) lane(tenant string) *lane {
	l := d.lanes[tenant]
	if l == nil {
		l = &lane{
			dest:   d,
			number: len(d.lanes),
			work: heap[*delivery]{
				less: func(a, b *delivery) bool {
					if c := a.claimable.Compare(b.claimable); c != 0 {
						return c < 0
					}
					return a.seq < b.seq
				},
				at: func(d *delivery) *int { return &d.inLane },
			},
		}
		d.lanes[tenant] = l
	}
	return l
}

// arrange puts l where Claim finds it, after its work changed. A lane in ready
// stays there until Claim sees that nothing is due.
func (l *lane) arrange() {
	d := l.dest
	switch {
	case l.work.len() == 0:
		d.ready.drop(l)
		d.waiting.drop(l)
	case !d.ready.has(l):
		d.waiting.put(l)
	}
	d.arrange()
}

// arrange puts d where Claim finds it, after a lane or a hold changed.
func (d *destination) arrange() {
	q := d.queue
	if d.held || d.ready.len() == 0 {
		q.ready.drop(d)
	} else {
		q.ready.put(d)
	}
	switch {
	case d.held:
		d.next = d.holds.until()
	case d.waiting.len() > 0:
		d.next = d.waiting.first().work.first().claimable
	default:
		q.waiting.drop(d)
		return
	}
	q.waiting.put(d)
}

// look finds out what is due at now: holds that have run out, lanes whose time
// has come. Each costs once, when it comes.
func (d *destination) look(now time.Time) {
	d.held = d.holds.until().After(now)
	if !d.held {
		for l := d.waiting.first(); l != nil && !l.work.first().claimable.After(now); l = d.waiting.first() {
			d.waiting.drop(l)
			d.ready.put(l)
		}
	}
	d.arrange()
}

// noted keeps what the outcome of an attempt says about the destination.
func (d *destination) noted(outcome string, now time.Time) {
	switch {
	case outcome == store.OutcomeProcessed && !d.failingSince.IsZero():
		d.queue.failing.drop(d)
		d.failingSince = time.Time{}
	case outcome == store.OutcomeFailed && d.failingSince.IsZero():
		d.failingSince = now
		d.queue.failing.put(d)
	}
}
