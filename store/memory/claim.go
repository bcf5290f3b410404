package memory

import (
	"context"
	"slices"
	"time"

	"github.com/surehook/webhook/store"
)

// What a Claim takes at most where it does not say.
const (
	claimMax   = 256
	claimBytes = 8 << 20
)

// Claim leases what is due, one delivery of each lane in turn.
func (s *Store) Claim(ctx context.Context, queue string, c store.Claim) ([]store.Delivery, error) {
	if err := store.InTransaction(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	if c.Max < 1 {
		c.Max = claimMax
	}
	if c.Bytes < 1 {
		c.Bytes = claimBytes
	}
	return s.queue(queue).claim(&c, s.now()), nil
}

func (q *queue) claim(c *store.Claim, now time.Time) []store.Delivery {
	q.claims++
	turns := q.turns(c, now)
	var taken []*delivery
	var full []*destination // taken out of turns for the rest of this claim
	bytes := 0
	for len(taken) < c.Max {
		dest := turns.first()
		if dest == nil {
			break
		}
		if dest.left(c) < 1 || dest.holds.until().After(now) {
			turns.drop(dest)
			full = append(full, dest)
			continue
		}
		l := dest.ready.first()
		if d := l.work.first(); !d.claimable.After(now) {
			bytes += len(d.event.record.Body)
			if bytes > c.Bytes && len(taken) > 0 {
				break
			}
			l.work.drop(d) // until the end, so that no lease is so short that d comes twice
			q.served++
			l.served = q.served
			dest.room--
			d.take(c, now)
			taken = append(taken, d)
		}
		l.next(now)
		dest.arrange()
		if dest.ready.len() > 0 {
			turns.put(dest)
		} else {
			turns.drop(dest)
		}
	}

	for _, dest := range turns.items {
		dest.inTurn = 0
	}
	for _, dest := range full {
		dest.look(now)
	}
	out := make([]store.Delivery, len(taken))
	for i, d := range taken {
		d.place(now)
		out[i] = d.out(false)
		out[i].Record = d.event.record
		out[i].FailingSince = d.dest.failingSince
	}
	return out
}

// turns returns the destinations to walk, the least recently served first:
// those named alone, or all that are due.
func (q *queue) turns(c *store.Claim, now time.Time) *heap[*destination] {
	if c.Other > 0 {
		for d := q.waiting.first(); d != nil && !d.next.After(now); d = q.waiting.first() {
			d.look(now)
		}
		return &q.ready
	}
	turns := &heap[*destination]{less: leastServed, at: func(d *destination) *int { return &d.inTurn }}
	for name, free := range c.Free {
		d := q.dests[name]
		if d == nil || free < 1 {
			continue
		}
		d.look(now)
		if !d.held && d.ready.len() > 0 {
			turns.put(d)
		}
	}
	return turns
}

// left returns how many free slots c has for d still.
func (d *destination) left(c *store.Claim) int {
	if d.claim != d.queue.claims {
		d.claim = d.queue.claims
		free, ok := c.Free[d.name]
		if !ok {
			free = c.Other
		}
		d.room = free
	}
	return d.room
}

// next lets l, which is in ready, have another turn, or wait until something
// is due again.
func (l *lane) next(now time.Time) {
	d := l.dest
	if l.work.len() > 0 && !l.work.first().claimable.After(now) {
		d.ready.put(l)
		return
	}
	d.ready.drop(l)
	if l.work.len() > 0 {
		d.waiting.put(l)
	}
}

// take leases d, which is not in its lane now.
func (d *delivery) take(c *store.Claim, now time.Time) {
	if d.State == store.Processing && !slices.Contains(c.Unanswered, d.nonce) {
		d.Lost++
		d.Attempts = append(d.Attempts, store.Attempt{Token: d.Token, Start: d.leased, Outcome: store.OutcomeLost})
	}
	d.uncount()
	d.State = store.Processing
	d.count()
	d.Token++
	d.leased, d.Until, d.nonce = now, now.Add(c.Lease), c.Nonce
}
