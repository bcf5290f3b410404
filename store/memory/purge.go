package memory

import (
	"context"
	"slices"
	"time"

	"github.com/surehook/webhook/store"
)

// purgeMax is how many records a Purge deletes, so that others are not kept
// waiting for the mutex.
const purgeMax = 500

// Purge deletes what is past its retention.
func (s *Store) Purge(ctx context.Context, queue string, r store.Retention) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return 0, err
	}
	q, now := s.queue(queue), s.now()
	q.endHolds(now)
	q.keepKeys(r.Keys)

	n += s.purge(&q.finished, r.Processed, now, purgeMax)
	n += s.purge(&q.dead, r.Dead, now, purgeMax-n)
	for n < purgeMax {
		e := q.forget.first()
		if e == nil || e.forget.After(now) {
			break
		}
		s.forget(e)
		n++
	}
	return n, nil
}

// purge deletes deliveries that ended longer ago than age, at most limit.
func (s *Store) purge(ended *heap[*delivery], age time.Duration, now time.Time, limit int) (n int) {
	if age <= 0 {
		return 0
	}
	for n < limit {
		d := ended.first()
		if d == nil || d.Due.Add(age).After(now) {
			break
		}
		s.remove(d, now)
		n++
	}
	return n
}

// remove deletes d, and its event's record with the last of its deliveries.
func (s *Store) remove(d *delivery, now time.Time) {
	q, e := d.dest.queue, d.event
	d.detach(now)
	delete(s.deliveries, d.ID)
	for i := range e.names.list {
		if e.names.list[i].d == d {
			e.names.list[i].d = nil
		}
	}
	e.live--
	if e.live == 0 {
		e.record, e.plain = nil, nil
	}
	e.schedule()
	q.sweep(d)
}

// know sees to it that e is known until then.
func (e *event) know(until time.Time) {
	e.known = later(e.known, until)
	e.schedule()
}

// schedule says when e may be forgotten, after its deliveries or its windows
// changed. An event that never had a delivery goes with its identity.
func (e *event) schedule() {
	e.forget = e.forgettable()
	if e.live == 0 {
		e.queue.forget.put(e)
	} else {
		e.queue.forget.drop(e)
	}
}

// forgettable returns when both windows of e have passed.
func (e *event) forgettable() time.Time {
	return later(e.known, e.received.Add(max(e.queue.keys, 0)))
}

// keepKeys takes over Retention.Keys. It is nearly always what it was.
func (q *queue) keepKeys(keys time.Duration) {
	if q.keys == keys {
		return
	}
	q.keys = keys
	for _, e := range q.forget.items {
		e.forget = e.forgettable()
	}
	q.forget.init()
}

// forget deletes what is known of e.
func (s *Store) forget(e *event) {
	e.queue.forget.drop(e)
	delete(s.known, e.identity)
	for _, k := range e.keys {
		delete(s.known, k)
	}
}

// endHolds forgets the holds that have run out.
func (q *queue) endHolds(now time.Time) {
	q.held = slices.DeleteFunc(q.held, func(d *destination) bool {
		d.heldKeys = slices.DeleteFunc(d.heldKeys, func(k *orderKey) bool {
			k.holds.end(now)
			k.arrange(now)
			return !k.holds.any()
		})
		d.holds.end(now)
		d.look(now)
		return !d.holds.any() && len(d.heldKeys) == 0
	})
}
