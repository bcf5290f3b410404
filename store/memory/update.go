package memory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/surehook/webhook/store"
)

// Update changes what a person wants changed.
func (s *Store) Update(ctx context.Context, queue string, ids []string, c store.Change) (n int, err error) {
	if err := store.InTransaction(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return 0, err
	}
	if err := c.Validate(); err != nil {
		return 0, fmt.Errorf("webhook: update: %w", err)
	}

	chosen := s.choose(s.queue(queue), ids, &c)
	now := s.now()
	for _, d := range chosen {
		change(d, &c, now)
	}
	return len(chosen), nil
}

// choose returns those of ids that c changes, each once.
func (s *Store) choose(q *queue, ids []string, c *store.Change) []*delivery {
	var chosen []*delivery
	isChosen := make(map[*delivery]bool, len(ids))
	moved := map[*event]bool{}
	for _, id := range ids {
		d := s.deliveries[id]
		switch {
		case d == nil || d.dest.queue != q || isChosen[d]:
			continue
		case d.State == store.Processing || len(c.From) > 0 && !slices.Contains(c.From, d.State):
			continue
		case c.To == store.Queued && d.event.erased:
			continue
		case c.Destination != "" && (moved[d.event] || d.event.has(c.Destination)):
			continue
		}
		moved[d.event] = true
		isChosen[d] = true
		chosen = append(chosen, d)
	}
	if !c.Erase {
		return chosen
	}
	// An event is erased only if none of its deliveries is then to be done.
	ends := c.To != ""
	return slices.DeleteFunc(chosen, func(d *delivery) bool {
		return slices.ContainsFunc(d.event.names.list, func(n named) bool {
			return n.d != nil && n.d.undone() && (!ends || !isChosen[n.d])
		})
	})
}

// has returns whether e has a delivery to the destination now.
func (e *event) has(destination string) bool {
	n := e.names.find(destination)
	return n != nil && n.d != nil && n.d.Destination == destination
}

// change does to d what c says, in one step: a key that is blocked before and
// after was not free in between.
func change(d *delivery, c *store.Change, now time.Time) {
	switch c.To {
	case store.Queued:
		d.Due, d.Reason = now, ""
		d.Spent, d.Deferred, d.Lost = 0, 0, 0
	case store.Dead, store.Discarded:
		d.Reason = c.Reason
	default: // the state stays
	}
	switch {
	case c.Destination != "":
		dest := d.dest.queue.destination(c.Destination)
		d.event.names.set(c.Destination, d)
		d.detach(now)
		if c.To != "" {
			d.set(c.To, now)
		}
		d.attach(dest, now)
	case c.To != "":
		d.become(c.To, now)
	}
	if c.Erase {
		d.event.erase()
	}
}

// erase empties what e carries and what was answered to it.
func (e *event) erase() {
	r := *e.record
	r.Head, r.Body = nil, nil
	e.record, e.plain, e.erased = &r, &r, true
	for _, n := range e.names.list {
		if n.d == nil {
			continue
		}
		for i := range n.d.Attempts {
			a := &n.d.Attempts[i]
			a.Err, a.Response = "", nil
		}
	}
}
