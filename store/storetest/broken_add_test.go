package storetest_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook/store"
)

var addFlaws = []sabotage{
	{"tells the results of adds out of order", "Commit/ResultsOneAnItemInOrder", func(s *broken) {
		s.onResults(func(_ *store.Batch, r *store.Results) { slices.Reverse(r.Adds) })
	}},
	{"changes the caller's batch", "Commit/BatchIsNotChangedAndNotKept", func(s *broken) {
		s.onResults(func(b *store.Batch, _ *store.Results) {
			for i := range b.Adds {
				slices.SortFunc(b.Adds[i].Keys, func(x, y [32]byte) int { return slices.Compare(y[:], x[:]) })
			}
			slices.Reverse(b.Adds)
			for i := range b.Settles {
				b.Settles[i].Reason = strings.ToUpper(b.Settles[i].Reason)
			}
		})
	}},
	{"writes half of a batch with bad data", "Commit/BadDataWritesNothing", writesHalf},
	{"lets a caller who leaves fail the next", "Commit/CallerWhoLeavesLeavesNeighboursAlone", failsNeighbours},
	{"lets bad data fail what comes after it", "Commit/BadBatchFailsAlone", func(s *broken) {
		var spoilt atomic.Bool
		commit := s.commit
		s.commit = func(ctx context.Context, b *store.Batch) (*store.Results, error) {
			if spoilt.Load() {
				return nil, store.ErrBadData
			}
			res, err := commit(ctx, b)
			if errors.Is(err, store.ErrBadData) {
				spoilt.Store(true)
			}
			return res, err
		}
	}},
	{"waits in a transaction for its own end", "Commit/InTransactionIsRefused", func(s *broken) {
		s.commit = func(_ context.Context, b *store.Batch) (*store.Results, error) {
			return s.process.Commit(context.Background(), b)
		}
	}},
	{"knows no nonce", "Add/SameNonceSameAnswer", func(s *broken) {
		s.onAdds(func(a *store.Add) { _, _ = rand.Read(a.Nonce[:]) })
	}},
	{"gives the leases of an add again after a takeover", "Add/SameNonceAfterTakeoverHasNoLease", func(s *broken) {
		s.onResults(func(_ *store.Batch, r *store.Results) {
			for i := range r.Adds {
				for j := range r.Adds[i].Deliveries {
					if d := &r.Adds[i].Deliveries[j]; !r.Adds[i].Duplicate && d.State == store.Processing {
						now, _ := s.look(d.ID)
						d.Token, d.Until = now.Token, now.Until
					}
				}
			}
		})
	}},
	{"records the identity of a duplicate", "Add/DuplicateLeavesNoIdentityAndNoKeys", recordsDuplicates},
	{"asks for keys before identity", "Add/IdentityBeforeKeys", func(s *broken) {
		s.onAdds(func(a *store.Add) {
			if len(a.Keys) > 0 {
				a.Keys = append(slices.Clone(a.Keys[1:]), a.Identity)
				a.Identity = a.Keys[len(a.Keys)-1]
			}
		})
		commit := s.commit
		s.commit = func(ctx context.Context, b *store.Batch) (*store.Results, error) {
			c := *b
			c.Adds = slices.Clone(b.Adds)
			for i, a := range c.Adds {
				if len(a.Keys) > 0 {
					c.Adds[i].Identity, c.Adds[i].Keys = a.Keys[0], append([][32]byte{a.Keys[0], a.Identity}, a.Keys[1:]...)
				}
			}
			return commit(ctx, &c)
		}
	}},
	{"checks and then inserts", "Race/OneIdentityOneEvent", checksThenInserts},
	{"adds missing deliveries with the later body", "Add/MissingDeliveriesHaveTheFirstBody", laterBody},
	{"leases missing deliveries", "Add/MissingDeliveriesAreNotLeased", leasesMissing},
	{"forgets the names of purged deliveries", "Add/KnownNamesSurvivePurge", forgetsNames},
	{"numbers deliveries from one in each store", "Add/IDsAreUniqueInAllStores", numbersFromOne},
	{"counts spans from another clock", "Clock/SpansNotInstants", func(s *broken) {
		s.onAdds(func(a *store.Add) {
			for i := range a.To {
				if a.To[i].After > 0 {
					a.To[i].After -= time.Until(s.now())
				}
			}
		})
	}},
	{"never says that a body changed", "Add/ChangedTellsAnotherBody", func(s *broken) {
		s.onResults(func(_ *store.Batch, r *store.Results) {
			for i := range r.Adds {
				r.Adds[i].Changed = false
			}
		})
	}},
	{"takes changed events that are to be refused", "Add/RefuseChangedWritesNothing", func(s *broken) {
		s.onAdds(func(a *store.Add) { a.RefuseChanged = false })
	}},
	{"lets a changed event fail what comes after it", "Add/RefusedOneFailsAlone", func(s *broken) {
		var spoilt atomic.Bool
		commit := s.commit
		s.commit = func(ctx context.Context, b *store.Batch) (*store.Results, error) {
			if spoilt.Load() {
				return nil, store.ErrChanged
			}
			res, err := commit(ctx, b)
			if errors.Is(err, store.ErrChanged) {
				spoilt.Store(true)
			}
			return res, err
		}
	}},
	{"cuts text at NUL", "Bytes/OddTextComesBack", func(s *broken) {
		s.onAdds(func(a *store.Add) {
			if a.Record == nil {
				return
			}
			r := *a.Record
			for _, p := range []*string{&r.Tenant, &r.Source, &r.ID, &r.Type, &r.Subject} {
				*p, _, _ = strings.Cut(*p, "\x00")
			}
			a.Record = &r
		})
	}},
	{"trims the names of held destinations", "Bytes/OddDestinationsAndKeys", func(s *broken) {
		s.onHolds(func(h *store.Hold) { h.Destination = strings.TrimRight(h.Destination, " ") })
	}},
}

// writesHalf commits item by item what was refused as a whole.
func writesHalf(s *broken) {
	commit := s.commit
	s.commit = func(ctx context.Context, b *store.Batch) (*store.Results, error) {
		res, err := commit(ctx, b)
		if errors.Is(err, store.ErrBadData) {
			for i := range b.Adds {
				_, _ = commit(ctx, &store.Batch{Adds: b.Adds[i : i+1]})
			}
		}
		return res, err
	}
}

// failsNeighbours shares the context of one caller with the next.
func failsNeighbours(s *broken) {
	var left atomic.Bool
	commit := s.commit
	s.commit = func(ctx context.Context, b *store.Batch) (*store.Results, error) {
		if ctx.Err() != nil {
			left.Store(true)
		} else if left.CompareAndSwap(true, false) {
			return nil, context.Canceled
		}
		return commit(ctx, b)
	}
}

// recordsDuplicates lets the identity of a duplicate be known too: as if it had
// been one more key of the first.
func recordsDuplicates(s *broken) {
	var mu sync.Mutex
	first := map[[32]byte][][32]byte{} // by the duplicate's identity: its keys
	s.onAdds(func(a *store.Add) {
		mu.Lock()
		defer mu.Unlock()
		a.Keys = append(slices.Clone(a.Keys), first[a.Identity]...)
	})
	s.onResults(func(b *store.Batch, r *store.Results) {
		mu.Lock()
		defer mu.Unlock()
		for i, a := range b.Adds {
			if r.Adds[i].Duplicate && len(a.Keys) > 0 {
				first[a.Identity] = a.Keys
			}
		}
	})
}

// checksThenInserts looks first whether an identity is known, and stores the
// event then, whatever others did in between.
func checksThenInserts(s *broken) {
	var mu sync.Mutex
	stored := map[[32]byte][32]byte{} // the identity under which one was stored
	s.onAdds(func(a *store.Add) {
		mu.Lock()
		as, known := stored[a.Identity]
		mu.Unlock()
		if !known {
			for range 100 { // the way to the database and back
				runtime.Gosched()
			}
			as = a.Identity
			as[0] ^= a.Nonce[0]
			as[1] ^= a.Nonce[1]
			mu.Lock()
			stored[a.Identity] = as
			mu.Unlock()
		}
		a.Identity = as
	})
}

// laterBody gives a missing delivery the record of the add that brought it.
func laterBody(s *broken) {
	var mu sync.Mutex
	seen := map[string]*store.Record{}
	s.onResults(func(b *store.Batch, r *store.Results) {
		mu.Lock()
		defer mu.Unlock()
		for i, a := range b.Adds {
			for _, d := range r.Adds[i].Deliveries {
				if seen[d.ID] == nil {
					seen[d.ID] = a.Record
				}
			}
		}
	})
	s.onDeliveries(func(d *store.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		if r := seen[d.ID]; r != nil && len(d.Record.Body) > 0 {
			d.Record = r
		}
	})
}

// leasesMissing gives the lease that a missing delivery's target asks for.
func leasesMissing(s *broken) {
	s.onResults(func(b *store.Batch, r *store.Results) {
		for i, a := range b.Adds {
			for j, to := range a.To {
				if r.Adds[i].Missing == 0 || to.Lease == 0 {
					continue
				}
				ds, _ := s.process.Claim(context.Background(), a.Queue, store.Claim{Free: map[string]int{to.Destination: 1}, Lease: to.Lease})
				if len(ds) == 1 {
					r.Adds[i].Deliveries[j] = ds[0]
				}
			}
		}
	})
}

// forgetsNames adds the deliveries that were purged once more.
func forgetsNames(s *broken) {
	s.onResults(func(b *store.Batch, r *store.Results) {
		for i, a := range b.Adds {
			for j, d := range r.Adds[i].Deliveries {
				if d.ID != "" {
					continue
				}
				a.Nonce, a.Keys, a.To = [16]byte{byte(j)}, nil, a.To[j:j+1]
				copy(a.Identity[:], fmt.Sprint("once more ", j))
				res, err := s.process.Commit(context.Background(), &store.Batch{Adds: []store.Add{a}})
				if err == nil {
					r.Adds[i].Deliveries[j] = res.Adds[0].Deliveries[0]
					r.Adds[i].Missing++
				}
			}
		}
	})
}

// numbersFromOne gives deliveries the end of their ids, which is a number.
func numbersFromOne(s *broken) {
	var mu sync.Mutex
	full := map[string]string{} // by number
	short := func(d *store.Delivery) {
		if d.ID != "" {
			mu.Lock()
			defer mu.Unlock()
			number := d.ID[len(d.ID)-8:]
			full[number], d.ID = d.ID, number
		}
	}
	long := func(id string) string {
		mu.Lock()
		defer mu.Unlock()
		if known, ok := full[id]; ok {
			return known
		}
		return id
	}
	s.onSettles(func(x *store.Settle) { x.Delivery = long(x.Delivery) })
	s.onRenews(func(x *store.Renew) { x.Delivery = long(x.Delivery) })
	s.onFilters(func(f *store.Filter) {
		f.IDs = slices.Clone(f.IDs)
		for i := range f.IDs {
			f.IDs[i] = long(f.IDs[i])
		}
	})
	update := s.update
	s.update = func(ctx context.Context, queue string, ids []string, c store.Change) (int, error) {
		list := slices.Clone(ids)
		for i := range list {
			list[i] = long(list[i])
		}
		return update(ctx, queue, list, c)
	}
	s.onDeliveries(short)
	s.onResults(func(_ *store.Batch, r *store.Results) {
		for i := range r.Adds {
			for j := range r.Adds[i].Deliveries {
				short(&r.Adds[i].Deliveries[j])
			}
		}
	})
}
