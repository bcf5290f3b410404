package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/surehook/webhook/store"
)

var secondCases = []testCase{
	{name: "Second/SeesAndIsSeen", run: secondSees, needs: seconds},
	{name: "Second/OneIdentityOneEvent", run: secondIdentity, needs: seconds},
	{name: "Second/EngineIsBusy", run: secondBusy, needs: func(b Backend) bool { return seconds(b) && b.OneWriter }},
	{name: "Second/EachDeliveryLeasedOnce", run: secondLeases, needs: func(b Backend) bool { return seconds(b) && !b.OneWriter }},
}

func seconds(b Backend) bool { return b.Second != nil }

// second returns a tester of a second store on the same data.
func (t *tester) second() *tester {
	t.Helper()
	s := *t
	s.st = t.b.Second(t, t.st)
	return &s
}

// What one store adds, holds and changes, the other finds, knows and claims.
func secondSees(t *tester) {
	s := t.second()
	a := event("by the second", "work")
	id := s.addOne(a).Deliveries[0].ID
	b := event("by the first", "work")
	t.add(b)
	for _, each := range []*tester{t, s} {
		sameItems(t, "found", ids(each.find(store.Filter{})), []string{"by the second", "by the first"})
		equal(t, "added again: duplicate", each.addOne(again(a)).Duplicate, true)
		equal(t, "added again: duplicate", each.addOne(again(b)).Duplicate, true)
		equal(t, "the same add again: duplicate", each.addOne(a).Duplicate, false)
	}
	s.hold(store.Hold{Destination: "work", Kind: store.Paused})
	t.nothing("work", "paused by the second")
	s.release("work", store.Paused)
	s.update(store.Change{To: store.Discarded}, id)
	sameItems(t, "claimed by the first", ids(t.claimAll("work")), []string{"by the first"})
}

// Arrivals of one event at both stores are arrivals of one event.
func secondIdentity(t *tester) {
	stores := []*tester{t, t.second()}
	for round := range 5 {
		a := event(fmt.Sprint(round), "work")
		added := make([]store.Added, 16)
		t.together(len(added), func(ctx context.Context, i int) error {
			b := store.Batch{Adds: []store.Add{again(a)}}
			res, err := stores[i%2].st.Commit(ctx, &b)
			if err != nil {
				return err
			}
			added[i] = res.Adds[0]
			return complete(&b, res)
		})
		t.firstOf(added)
	}
	equal(t, "deliveries", len(t.find(store.Filter{})), 5)
}

// While one process runs the engine, another may add and browse; its Claim is
// ErrBusy until the first is closed.
func secondBusy(t *tester) {
	t.put("leased", "work")
	t.put("queued", "other")
	d := t.lease("work")
	s := t.second()
	for range 2 {
		if ds, err := s.st.Claim(s.ctx, queue, store.Claim{Other: 9, Lease: lease}); !errors.Is(err, store.ErrBusy) || len(ds) != 0 {
			t.Fatalf("the second store's Claim returned %s, %v, want ErrBusy", ids(ds), err)
		}
	}
	id := s.put("by the second", "other")
	s.wantState(id, store.Queued)
	equal(t, "discarded by the second", s.update(store.Change{To: store.Discarded}, id), 1)
	equal(t, "figures of the second", s.stats()["work"].Processing, 1)
	equal(t, "renewal by the first", t.renew(d, lease), store.Done)

	if err := t.st.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	got := s.claimAll()
	equal(t, "deliveries claimed when the first is gone", len(got), 2)
	for _, d := range got {
		s.processed(d)
	}
}

// Where both may run the engine, no delivery is leased twice at once.
func secondLeases(t *tester) {
	const n = 100
	t.crowd("acme", "work", n)
	stores := []*tester{t, t.second()}
	var mu sync.Mutex
	seen := map[string]bool{}
	t.together(4, func(ctx context.Context, i int) error {
		for {
			ds, err := stores[i%2].st.Claim(ctx, queue, store.Claim{Other: 3, Lease: lease})
			if err != nil || len(ds) == 0 {
				return err
			}
			mu.Lock()
			for _, d := range ds {
				if seen[d.ID] {
					mu.Unlock()
					return fmt.Errorf("%s was claimed twice", d.Record.ID)
				}
				seen[d.ID] = true
			}
			mu.Unlock()
		}
	})
	equal(t, "deliveries claimed", len(seen), n)
}
