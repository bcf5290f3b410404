package storetest_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/surehook/webhook/store"
)

var changeFlaws = []sabotage{
	{"ignores From", "Update/FromGuards", func(s *broken) {
		s.onChanges(func(c *store.Change) { c.From = nil })
	}},
	{"takes deliveries from their workers", "Update/ProcessingIsNeverChanged", takesLeased},
	{"leaves the budget used", "Update/ToQueuedIsDueAtOnceWithAFullBudget", leavesSpent},
	{"moves a delivery onto another of its event", "Update/MovePassesOverWhereTheEventIsAlready", countsMoved},
	{"erases what others need", "Update/EraseLeavesWhatOthersNeed", erasesEarly},
	{"erases nothing", "Update/EraseEmptiesTheEvent", func(s *broken) {
		update := s.update
		s.update = func(ctx context.Context, queue string, ids []string, c store.Change) (int, error) {
			if c.Erase && c.To == "" {
				return len(ids), nil
			}
			return update(ctx, queue, ids, c)
		}
	}},
	{"purges dead letters", "Purge/ZeroAndNegativeMeanForEver", func(s *broken) {
		s.onPurges(func(r *store.Retention) { r.Dead = time.Hour })
	}},
	{"purges too early", "Purge/FinishedAfterRetention", func(s *broken) {
		s.onPurges(func(r *store.Retention) { r.Processed /= 2 })
	}},
	{"forgets keys with their event", "Purge/KeysStayKnownForTheirWindow", func(s *broken) {
		s.onAdds(func(a *store.Add) { a.Known = 0 })
	}},
	{"keeps keys for Known alone", "Purge/RetentionOfKeysIsAMinimumToo", func(s *broken) {
		s.onPurges(func(r *store.Retention) { r.Keys = 0 })
	}},
	{"purges all at once", "Purge/SmallBatches", func(s *broken) {
		purge := s.purge
		s.purge = func(ctx context.Context, queue string, r store.Retention) (int, error) {
			total := 0
			for {
				n, err := purge(ctx, queue, r)
				total += n
				if n == 0 || err != nil {
					return total, err
				}
			}
		}
	}},
}

func (s *broken) onChanges(change func(c *store.Change)) {
	update := s.update
	s.update = func(ctx context.Context, queue string, ids []string, c store.Change) (int, error) {
		change(&c)
		return update(ctx, queue, ids, c)
	}
}

func (s *broken) onPurges(change func(r *store.Retention)) {
	purge := s.purge
	s.purge = func(ctx context.Context, queue string, r store.Retention) (int, error) {
		change(&r)
		return purge(ctx, queue, r)
	}
}

// takesLeased ends the leases of what is to be changed.
func takesLeased(s *broken) {
	update := s.update
	s.update = func(ctx context.Context, queue string, ids []string, c store.Change) (int, error) {
		for _, id := range ids {
			if d, ok := s.look(id); ok && d.State == store.Processing && c.To == store.Discarded {
				_, _ = s.process.Commit(ctx, &store.Batch{Settles: []store.Settle{{Delivery: id, Token: d.Token, To: store.Queued}}})
			}
		}
		return update(ctx, queue, ids, c)
	}
}

// leavesSpent tells what a delivery had spent before its redrive.
func leavesSpent(s *broken) {
	var mu sync.Mutex
	spent := map[string]int{}
	update := s.update
	s.update = func(ctx context.Context, queue string, ids []string, c store.Change) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		for _, id := range ids {
			if d, ok := s.look(id); ok && c.To == store.Queued && d.State == store.Dead {
				spent[id] += d.Spent
			}
		}
		return update(ctx, queue, ids, c)
	}
	s.onDeliveries(func(d *store.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		d.Spent += spent[d.ID]
	})
}

// countsMoved says that it moved what it could not.
func countsMoved(s *broken) {
	update := s.update
	s.update = func(ctx context.Context, queue string, ids []string, c store.Change) (int, error) {
		n, err := update(ctx, queue, ids, c)
		if c.Destination == "" || err != nil {
			return n, err
		}
		n = 0
		for _, id := range ids {
			if d, ok := s.look(id); ok && d.State != store.Processing {
				n++
			}
		}
		return n, nil
	}
}

// erasesEarly empties an event whatever else is to be done with it.
func erasesEarly(s *broken) {
	var mu sync.Mutex
	erased := map[string]bool{} // by the event
	event := func(r *store.Record) string { return fmt.Sprintf("%q %q %q", r.Tenant, r.Source, r.ID) }
	update := s.update
	s.update = func(ctx context.Context, queue string, ids []string, c store.Change) (int, error) {
		n, err := update(ctx, queue, ids, c)
		mu.Lock()
		defer mu.Unlock()
		for _, id := range ids {
			if d, ok := s.look(id); ok && c.Erase && d.State == store.Processed && len(d.Record.Body) > 0 {
				erased[event(d.Record)] = true
				n++
			}
		}
		return n, err
	}
	s.onDeliveries(func(d *store.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		if erased[event(d.Record)] {
			r := *d.Record
			r.Head, r.Body, d.Record = nil, nil, &r
		}
	})
}
