package storetest_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/surehook/webhook/store"
)

var claimFlaws = []sabotage{
	{"gives more than the free slots", "Claim/WithinFreeSlots", func(s *broken) {
		s.onClaims(func(c *store.Claim) {
			for destination, n := range c.Free {
				c.Free[destination] = 10 * n
			}
		})
	}},
	{"gives more than Max", "Claim/AtMostMax", func(s *broken) {
		s.onClaims(func(c *store.Claim) {
			if c.Max == 7 {
				c.Max = 8
			}
		})
	}},
	{"gives nothing rather than a body beyond Bytes", "Claim/AtMostBytesButOne", func(s *broken) {
		claim := s.claim
		s.claim = func(ctx context.Context, queue string, c store.Claim) ([]store.Delivery, error) {
			if c.Bytes > 0 && c.Bytes < 100 {
				return nil, nil
			}
			return claim(ctx, queue, c)
		}
	}},
	{"touches destinations that were not asked for", "Claim/OthersAreNotTouched", func(s *broken) {
		s.onClaims(func(c *store.Claim) { c.Other = max(c.Other, 1) })
	}},
	{"records no lost attempt", "Claim/LostAttemptIsRecorded", func(s *broken) {
		s.onDeliveries(func(d *store.Delivery) {
			d.Attempts = slices.DeleteFunc(slices.Clone(d.Attempts), func(a store.Attempt) bool { return a.Outcome == store.OutcomeLost })
		})
	}},
	{"does not count lost attempts", "Claim/ExpiredLeaseIsTakenOver", func(s *broken) {
		s.onDeliveries(func(d *store.Delivery) { d.Lost = 0 })
	}},
	{"counts what was never attempted as lost", "Claim/UnansweredIsNotLost", func(s *broken) {
		s.onClaims(func(c *store.Claim) { c.Unanswered = nil })
	}},
	{"gives all claims one nonce", "Claim/UnansweredIsNotLost", func(s *broken) {
		s.onClaims(func(c *store.Claim) {
			if c.Nonce = [16]byte{1}; len(c.Unanswered) > 0 {
				c.Unanswered = [][16]byte{{1}}
			}
		})
	}},
	{"leases for half as long", "Claim/GivesTheWholeDelivery", func(s *broken) {
		s.onClaims(func(c *store.Claim) { c.Lease /= 2 })
	}},
	{"serves one destination before the others", "Claim/DestinationsInTurn", starves},
	{"serves one tenant before the others", "Claim/TenantsInTurn", func(s *broken) {
		// One lane for all: what tells the tenants apart is hidden from it.
		var mu sync.Mutex
		tenants := map[*store.Record]string{}
		s.onAdds(func(a *store.Add) {
			if a.Record == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			r := *a.Record
			tenants[&r], r.Tenant = r.Tenant, "all"
			a.Record = &r
		})
		s.onDeliveries(func(d *store.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			if tenant, ok := tenants[d.Record]; ok {
				r := *d.Record
				r.Tenant, d.Record = tenant, &r
			}
		})
	}},
	{"gives a delivery to two workers", "Race/EachDeliveryLeasedOnce", func(s *broken) {
		var mu sync.Mutex
		var last []store.Delivery // read by one worker, and leased by the next too
		claim := s.claim
		s.claim = func(ctx context.Context, queue string, c store.Claim) ([]store.Delivery, error) {
			ds, err := claim(ctx, queue, c)
			mu.Lock()
			defer mu.Unlock()
			if c.Lease == time.Hour && len(ds) > 0 {
				ds, last = append(ds, last...), ds[:1:1]
			}
			return ds, err
		}
	}},
	{"looks at all that is there", "Claim/CostsWhatItFinds", func(s *broken) {
		s.onClaims(func(*store.Claim) {
			for after, more := "", true; more; more = after != "" {
				_, after, _ = s.process.Find(context.Background(), "inbox", store.Filter{}, after, 1000)
			}
		})
	}},
	{"claims what is held", "Hold/EachKindHolds", func(s *broken) {
		s.onHolds(func(h *store.Hold) { h.Release = h.Release || h.Kind == store.Slowed && h.For == 0 })
	}},
	{"releases all kinds at once", "Hold/ReleasingOneLeavesTheOthers", func(s *broken) {
		s.onHolds(func(h *store.Hold) {
			if h.Release {
				h.Kind = ""
			}
		})
	}},
	{"holds for ever", "Hold/RunsOut", func(s *broken) {
		s.onHolds(func(h *store.Hold) { h.For = 0 })
	}},
	{"holds the destination of a held key", "Hold/OfAnOrderingKey", func(s *broken) {
		s.onHolds(func(h *store.Hold) { h.OrderKey = "" })
	}},
	{"ignores ordering keys", "Order/OnlyTheHeadIsClaimed", func(s *broken) {
		s.onAdds(func(a *store.Add) {
			for i := range a.To {
				a.To[i].OrderKey = ""
			}
		})
	}},
	{"lets the next go when a head dies", "Order/DeadHeadBlocks", func(s *broken) {
		s.onSettles(func(x *store.Settle) { x.Unblock = true })
	}},
	{"blocks what Unblock lets go", "Order/UnblockLetsTheNextGo", func(s *broken) {
		s.onSettles(func(x *store.Settle) { x.Unblock = false })
	}},
	{"puts a retried head behind the others", "Order/RetryKeepsItsPlace", func(s *broken) {
		// A head that waits lets the next go, as a key kept by due time does.
		s.onSettles(func(x *store.Settle) {
			if x.To == store.Queued && x.After > 0 {
				x.To, x.Unblock = store.Dead, true
			}
		})
	}},
}

// onClaims changes what is asked for.
func (s *broken) onClaims(change func(c *store.Claim)) {
	claim := s.claim
	s.claim = func(ctx context.Context, queue string, c store.Claim) ([]store.Delivery, error) {
		c.Free = maps.Clone(c.Free)
		change(&c)
		return claim(ctx, queue, c)
	}
}

// onHolds changes the holds of each batch before they are committed.
func (s *broken) onHolds(change func(h *store.Hold)) {
	commit := s.commit
	s.commit = func(ctx context.Context, b *store.Batch) (*store.Results, error) {
		c := *b
		c.Holds = slices.Clone(b.Holds)
		for i := range c.Holds {
			change(&c.Holds[i])
		}
		return commit(ctx, &c)
	}
}

// starves serves destinations in the order of their names, as one query ordered
// by destination does.
func starves(s *broken) {
	claim := s.claim
	s.claim = func(ctx context.Context, queue string, c store.Claim) ([]store.Delivery, error) {
		if c.Other == 0 || c.Max != 1 {
			return claim(ctx, queue, c)
		}
		page, _, err := s.process.Stats(ctx, queue, "", 100)
		if err != nil {
			return nil, err
		}
		for _, row := range page {
			n, named := c.Free[row.Destination]
			if !named {
				n = c.Other
			}
			ds, err := claim(ctx, queue, store.Claim{Free: map[string]int{row.Destination: n}, Max: 1, Lease: max(c.Lease, time.Nanosecond)})
			if err != nil || len(ds) > 0 {
				return ds, err
			}
		}
		return nil, nil
	}
}
