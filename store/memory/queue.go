package memory

import (
	"slices"
	"strings"
	"time"

	"github.com/surehook/webhook/store"
)

// queue is everything under one queue's name.
type queue struct {
	name  string
	wake  chan struct{}
	dests map[string]*destination

	order  []*destination // by name, if sorted
	sorted bool

	all  []*delivery // by seq; purged ones too, until they are half of it
	gone int         // of all

	ready   heap[*destination] // with a lane that is due, not held: by when that was served
	waiting heap[*destination] // by next
	served  uint64             // counts deliveries that were claimed
	claims  uint64             // counts claims

	figures  figures
	failing  heap[*destination] // by failingSince
	held     []*destination     // by name: with a hold, of its own or of a key, that may have run out
	finished heap[*delivery]    // processed or discarded: by when they ended
	dead     heap[*delivery]    // by when they died
	forget   heap[*event]       // without deliveries: by forget
	keys     time.Duration      // the last Retention.Keys
}

func newQueue(name string) *queue {
	ended := func(a, b *delivery) bool { return a.Due.Before(b.Due) }
	inEnded := func(d *delivery) *int { return &d.inEnded }
	return &queue{
		name:     name,
		wake:     make(chan struct{}, 1),
		dests:    map[string]*destination{},
		figures:  newFigures(0),
		finished: heap[*delivery]{less: ended, at: inEnded},
		dead:     heap[*delivery]{less: ended, at: inEnded},
		ready: heap[*destination]{
			less: leastServed,
			at:   func(d *destination) *int { return &d.inReady },
		},
		waiting: heap[*destination]{
			less: func(a, b *destination) bool { return a.next.Before(b.next) },
			at:   func(d *destination) *int { return &d.inWaiting },
		},
		failing: heap[*destination]{
			less: func(a, b *destination) bool { return a.failingSince.Before(b.failingSince) },
			at:   func(d *destination) *int { return &d.inFailing },
		},
		forget: heap[*event]{
			less: func(a, b *event) bool { return a.forget.Before(b.forget) },
			at:   func(e *event) *int { return &e.inForget },
		},
	}
}

// signal tells whoever waits on Wake.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // one hint is enough
	}
}

// destination returns the one of that name, which is known from then on.
func (q *queue) destination(name string) *destination {
	d := q.dests[name]
	if d == nil {
		d = newDestination(q, name)
		q.dests[name] = d
		q.order = append(q.order, d)
		q.sorted = false
	}
	return d
}

// byName returns the destinations in the order of their names.
func (q *queue) byName() []*destination {
	if !q.sorted {
		slices.SortFunc(q.order, func(a, b *destination) int { return strings.Compare(a.name, b.name) })
		q.sorted = true
	}
	return q.order
}

// sweep counts d as gone, and frees the memory of such when it is worth it.
func (q *queue) sweep(d *delivery) {
	d.gone = true
	d.event = nil
	d.Attempts = nil
	q.gone++
	if q.gone > len(q.all)/2 {
		q.all = slices.DeleteFunc(q.all, func(d *delivery) bool { return d.gone })
		q.gone = 0
	}
}

// figures are what Stats tells of a queue or a destination, kept up to date.
type figures struct {
	queued           heap[*delivery] // by received
	processing, died int
	blocked          heap[*orderKey] // by blockedSince
}

// newFigures makes those of a queue (level 0) or a destination (1): whatever is
// counted is in one of each.
func newFigures(level int) figures {
	return figures{
		queued: heap[*delivery]{
			less: func(a, b *delivery) bool {
				if c := a.Received.Compare(b.Received); c != 0 {
					return c < 0
				}
				return a.seq < b.seq
			},
			at: func(d *delivery) *int { return &d.inQueued[level] },
		},
		blocked: heap[*orderKey]{
			less: func(a, b *orderKey) bool { return a.blockedSince.Before(b.blockedSince) },
			at:   func(k *orderKey) *int { return &k.inBlocked[level] },
		},
	}
}

func (f *figures) enter(d *delivery) {
	switch d.State {
	case store.Queued:
		f.queued.put(d)
	case store.Processing:
		f.processing++
	case store.Dead:
		f.died++
	default: // of no interest any more
	}
}

func (f *figures) leave(d *delivery) {
	switch d.State {
	case store.Queued:
		f.queued.drop(d)
	case store.Processing:
		f.processing--
	case store.Dead:
		f.died--
	default:
	}
}
