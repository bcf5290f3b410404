package storetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook/store"
)

var raceCases = []testCase{
	{name: "Race/OneIdentityOneEvent", run: raceIdentity},
	{name: "Race/OneKeyOneEvent", run: raceKey},
	{name: "Race/OneNonceOneAnswer", run: raceNonce},
	{name: "Race/MissingDeliveriesOnce", run: raceMissing},
	{name: "Race/EachDeliveryLeasedOnce", run: raceLeases},
	{name: "Race/OneTakeover", run: raceTakeover},
	{name: "Race/EachEventProcessedOnce", run: raceProcessed},
}

// arrivals commits the adds at once, each alone, and returns what became of them.
func (t *tester) arrivals(adds []store.Add) []store.Added {
	t.Helper()
	added := make([]store.Added, len(adds))
	t.together(len(adds), func(ctx context.Context, i int) error {
		b := store.Batch{Adds: adds[i : i+1]}
		res, err := t.st.Commit(ctx, &b)
		if err != nil {
			return err
		}
		if err := complete(&b, res); err != nil {
			return err
		}
		added[i] = res.Adds[0]
		return nil
	})
	return added
}

// firstOf fails unless one of added is no duplicate and all tell its delivery.
func (t *tester) firstOf(added []store.Added) {
	t.Helper()
	firsts := 0
	for _, r := range added {
		if !r.Duplicate {
			firsts++
		}
		equal(t, "delivery told", r.Deliveries[0].ID, added[0].Deliveries[0].ID)
	}
	equal(t, "arrivals that are no duplicates", firsts, 1)
}

// Of many arrivals of one event at once, one is stored and the others are
// duplicates of it.
func raceIdentity(t *tester) {
	for round := range 3 {
		a := event(fmt.Sprint(round), "work")
		adds := make([]store.Add, 64)
		for i := range adds {
			adds[i] = again(a)
		}
		t.firstOf(t.arrivals(adds))
		equal(t, "deliveries", len(t.find(store.Filter{EventID: a.Record.ID})), 1)
	}
}

// So it is for one replay key under many ids.
func raceKey(t *tester) {
	adds := make([]store.Add, 64)
	for i := range adds {
		adds[i] = keyed(fmt.Sprint(i), "captured", fmt.Sprint("own ", i))
	}
	t.firstOf(t.arrivals(adds))
	equal(t, "deliveries", len(t.find(store.Filter{})), 1)
}

// The same add, tried by several at once, is the same add to all.
func raceNonce(t *tester) {
	a := event("e", "work")
	adds := make([]store.Add, 16)
	for i := range adds {
		adds[i] = a
	}
	for _, r := range t.arrivals(adds) {
		equal(t, "duplicate", r.Duplicate, false)
	}
	equal(t, "deliveries", len(t.find(store.Filter{})), 1)
}

// A missing delivery is added by one of the duplicates that miss it.
func raceMissing(t *tester) {
	a := event("e", "first")
	t.add(a)
	adds := make([]store.Add, 32)
	for i := range adds {
		adds[i] = again(a, "shared", fmt.Sprint("own ", i))
	}
	missing := 0
	for _, r := range t.arrivals(adds) {
		equal(t, "duplicate", r.Duplicate, true)
		missing += r.Missing
	}
	equal(t, "missing in all", missing, len(adds)+1)
	equal(t, "deliveries", len(t.find(store.Filter{})), len(adds)+2)
	equal(t, "deliveries of the shared destination", len(t.find(store.Filter{Destination: "shared"})), 1)
}

// No delivery is leased twice at once, however many claim.
func raceLeases(t *tester) {
	const n = 300
	t.crowd("acme", "work", n)
	var mu sync.Mutex
	seen := map[string]bool{}
	t.together(6, func(ctx context.Context, i int) error {
		for {
			ds, err := t.st.Claim(ctx, queue, store.Claim{Other: 1 + i, Lease: time.Hour})
			if err != nil || len(ds) == 0 {
				return err
			}
			mu.Lock()
			for _, d := range ds {
				if seen[d.ID] || d.Token != 1 {
					mu.Unlock()
					return fmt.Errorf("delivery %s was claimed twice, now with token %d", d.ID, d.Token)
				}
				seen[d.ID] = true
			}
			mu.Unlock()
		}
	})
	equal(t, "deliveries claimed", len(seen), n)
}

// An expired lease is taken over once, its holder's late settle and renewal
// notwithstanding: the fence lets one of them through.
func raceTakeover(t *tester) {
	const n = 60
	t.crowd("acme", "work", n)
	first := t.claimAll("work")
	t.advance(2 * lease)
	var late, took atomic.Int64
	t.together(6, func(ctx context.Context, i int) error {
		if i < 3 {
			for j := i; j < len(first); j += 3 {
				res, err := t.st.Commit(ctx, &store.Batch{Settles: []store.Settle{{Delivery: first[j].ID, Token: first[j].Token, To: store.Processed}}})
				if err != nil {
					return err
				}
				switch r := res.Settles[0]; r {
				case store.Done:
					late.Add(1)
				case store.LeaseLost:
				default:
					return fmt.Errorf("late settle: %s", name(r))
				}
			}
			return nil
		}
		for {
			ds, err := t.st.Claim(ctx, queue, store.Claim{Other: 2, Lease: time.Hour})
			if err != nil || len(ds) == 0 {
				return err
			}
			for _, d := range ds {
				if d.Token != 2 || d.Lost != 1 {
					return fmt.Errorf("taken over with token %d, lost %d", d.Token, d.Lost)
				}
				took.Add(1)
			}
		}
	})
	equal(t, "settled late and taken over together", late.Load()+took.Load(), n)
	equal(t, "found processed", int64(len(t.find(store.Filter{States: []store.State{store.Processed}}))), late.Load())
}

// Whatever goes on at once, adds tried twice and attempts retried, each event is
// processed exactly once under the fence.
func raceProcessed(t *tester) {
	const (
		adders, workers = 4, 4
		each            = 60
		total           = adders * each
	)
	var mu sync.Mutex
	processed := map[string]int{}
	work := func(ctx context.Context) error {
		for ctx.Err() == nil {
			mu.Lock()
			finished := len(processed) == total
			mu.Unlock()
			if finished {
				return nil
			}
			ds, err := t.st.Claim(ctx, queue, store.Claim{Other: 8, Lease: time.Hour})
			if err != nil {
				return err
			}
			var b store.Batch
			for _, d := range ds {
				s := store.Settle{Delivery: d.ID, Token: d.Token, To: store.Processed, Attempt: &store.Attempt{Outcome: store.OutcomeProcessed}}
				if d.Token == 1 && d.Record.ID[len(d.Record.ID)-1]%4 == 0 {
					s.To, s.Spend, s.Attempt = store.Queued, true, &store.Attempt{Outcome: store.OutcomeFailed}
				}
				b.Settles = append(b.Settles, s)
			}
			if len(ds) == 0 {
				pause(ctx)
				continue
			}
			res, err := t.st.Commit(ctx, &b)
			if err != nil {
				return err
			}
			mu.Lock()
			for i, r := range res.Settles {
				if r != store.Done {
					mu.Unlock()
					return fmt.Errorf("settle of %s: %s", ds[i].Record.ID, name(r))
				}
				if b.Settles[i].To == store.Processed {
					processed[ds[i].Record.ID]++
				}
			}
			mu.Unlock()
		}
		return nil
	}
	t.together(adders+workers, func(ctx context.Context, i int) error {
		if i >= adders {
			return work(ctx)
		}
		for j := range each {
			a := event(fmt.Sprint(i, " ", j), fmt.Sprint("destination ", j%3))
			b := store.Batch{Adds: []store.Add{a}}
			for range 1 + j%2 { // every second one twice, as after an unknown outcome
				if _, err := t.st.Commit(ctx, &b); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for id, n := range processed {
		equal(t, "times that "+id+" was processed", n, 1)
	}
	equal(t, "found processed", len(t.find(store.Filter{States: []store.State{store.Processed}})), total)
}
