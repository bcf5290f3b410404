package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/surehook/webhook/store"
)

var commitCases = []testCase{
	{name: "Commit/EmptyBatchIsAProbe", run: commitEmpty},
	{name: "Commit/ResultsOneAnItemInOrder", run: commitResults},
	{name: "Commit/TakesEffectInTheOrderOfKinds", run: commitOrder},
	{name: "Commit/BatchIsNotChangedAndNotKept", run: commitBatchIsCallers},
	{name: "Commit/BadDataIsRefused", run: commitBadData},
	{name: "Commit/BadDataWritesNothing", run: commitBadDataAtomic},
	{name: "Commit/BadBatchFailsAlone", run: commitBadAlone},
	{name: "Commit/CallerWhoLeavesLeavesNeighboursAlone", run: commitCancelled},
	{name: "Commit/InTransactionIsRefused", run: commitInTransaction},
}

// An empty batch is a probe: nil means that the store could have written.
func commitEmpty(t *tester) {
	t.commit(store.Batch{})
}

// Results has one entry for each item of the batch, in its order, whatever the
// other items are.
func commitResults(t *tester) {
	for i := range 4 {
		t.put(fmt.Sprint("old ", i), "work")
	}
	leased := t.claimAll("work")
	equal(t, "deliveries claimed", len(leased), 4)

	known := event("known", "a", "b")
	t.add(known)

	adds := []store.Add{event("n0", "c"), again(known), event("n2", "d", "c"), again(known, "e"), event("n4")}
	lost := store.Settle{Delivery: leased[1].ID, Token: leased[1].Token + 7, To: store.Processed}
	processed := func(d store.Delivery) store.Settle {
		return store.Settle{Delivery: d.ID, Token: d.Token, To: store.Processed}
	}
	b := store.Batch{
		Adds:    adds,
		Settles: []store.Settle{lost, processed(leased[0]), processed(leased[0]), {Delivery: "nobody's", Token: 1, To: store.Dead}, processed(leased[2])},
		Renews:  []store.Renew{{Delivery: "nobody's", Token: 1, For: lease}, {Delivery: leased[3].ID, Token: leased[3].Token, For: lease}, {Delivery: leased[1].ID, Token: 99, For: lease}},
		Holds:   []store.Hold{{Queue: queue, Destination: "x", Kind: store.Paused}, {Queue: queue, Destination: "y", Kind: store.Slowed, Release: true}},
	}
	res := t.commit(b)

	sameItems(t, "results of settles", res.Settles, []store.Result{store.LeaseLost, store.Done, store.AlreadySettled, store.LeaseLost, store.Done})
	sameItems(t, "results of renews", res.Renews, []store.Result{store.LeaseLost, store.Done, store.LeaseLost})
	sameItems(t, "results of holds", res.Holds, []store.Result{store.Done, store.Done})
	for i, r := range res.Adds {
		equal(t, fmt.Sprintf("add %d: duplicate", i), r.Duplicate, i == 1 || i == 3)
		for j, d := range r.Deliveries {
			got := t.get(d.ID)
			equal(t, fmt.Sprintf("add %d, target %d: event", i, j), got.Record.ID, adds[i].Record.ID)
			equal(t, fmt.Sprintf("add %d, target %d: destination", i, j), got.Destination, adds[i].To[j].Destination)
		}
	}
	equal(t, "targets missing from add 3", res.Adds[3].Missing, 1)
}

// The items of one batch take effect in the order adds, settles, renewals, holds.
func commitOrder(t *tester) {
	t.put("first", "work")
	d := t.lease("work")
	born := event("born", "work")
	born.To[0].Lease = lease
	res := t.commit(store.Batch{
		Holds:   []store.Hold{{Queue: queue, Destination: "work", Kind: store.Paused}},
		Renews:  []store.Renew{{Delivery: d.ID, Token: d.Token, For: lease}},
		Settles: []store.Settle{{Delivery: d.ID, Token: d.Token, To: store.Queued}},
		Adds:    []store.Add{born},
	})
	equal(t, "token of an add beside a hold on its destination", res.Adds[0].Deliveries[0].Token, 1)
	equal(t, "settle", res.Settles[0], store.Done)
	equal(t, "renewal beside a settle of the same lease", res.Renews[0], store.LeaseLost)
	t.nothing("work", "held in the same batch")

	two := []store.Hold{
		{Queue: queue, Destination: "work", Kind: store.Paused, Release: true},
		{Queue: queue, Destination: "work", Kind: store.Slowed},
	}
	t.commit(store.Batch{Holds: two})
	t.nothing("work", "released by the first hold, held by the second")
	two[0].Kind, two[0].Release, two[1].Release = store.Broken, false, true
	two[1].Kind = ""
	t.commit(store.Batch{Holds: two})
	equal(t, "token of the delivery handed back", t.lease("work").Token, 2)
}

// The caller's batch is not changed, and may be written to after Commit.
func commitBatchIsCallers(t *tester) {
	t.put("old", "work")
	d := t.lease("work")
	k1, k2 := digest("k1"), digest("k2")
	build := func() store.Batch {
		a := event("new", "a", "b")
		a.Nonce, a.Keys = [16]byte{1}, [][32]byte{k1, k2}
		return store.Batch{
			Adds:    []store.Add{a},
			Settles: []store.Settle{{Delivery: d.ID, Token: d.Token, To: store.Dead, Reason: "why", Attempt: &store.Attempt{Outcome: store.OutcomeFailed, Err: "no"}}},
			Holds:   []store.Hold{{Queue: queue, Destination: "held", Kind: store.Paused}},
		}
	}
	b := build()
	res := t.commit(b)
	if want := build(); !reflect.DeepEqual(b, want) {
		t.Fatalf("Commit changed the batch: got %+v, want %+v", b, want)
	}

	b.Adds[0].To[0].Destination = "changed"
	b.Adds[0].Keys[0] = digest("changed")
	b.Settles[0].Attempt.Err = "changed"
	b.Holds[0].Destination = "changed"
	equal(t, "destination", t.get(res.Adds[0].Deliveries[0].ID).Destination, "a")
	equal(t, "error of the attempt", t.get(d.ID).Attempts[0].Err, "no")
	byKey := event("other", "a")
	byKey.Keys = [][32]byte{k1}
	equal(t, "add under the key: duplicate", t.addOne(byKey).Duplicate, true)
}

// badBatches are refused by every store.
func badBatches(d store.Delivery) map[string]store.Batch {
	nilRecord := event("bad", "a")
	nilRecord.Record = nil
	settle := func(to store.State) store.Batch {
		return store.Batch{Settles: []store.Settle{{Delivery: d.ID, Token: d.Token, To: to}}}
	}
	return map[string]store.Batch{
		"a destination named twice": {Adds: []store.Add{event("bad", "a", "b", "a")}},
		"no record":                 {Adds: []store.Add{nilRecord}},
		"settled to no state":       settle(""),
		"settled to processing":     settle(store.Processing),
		"settled to no known state": settle("finished"),
		"held by no kind":           {Holds: []store.Hold{{Queue: queue, Destination: "a"}}},
		"held by no known kind":     {Holds: []store.Hold{{Queue: queue, Destination: "a", Kind: "bored"}}},
	}
}

// What is wrong whenever it is tried is ErrBadData.
func commitBadData(t *tester) {
	t.put("good", "work")
	d := t.lease("work")
	bad := badBatches(d)
	for _, what := range keys(bad) {
		b := bad[what]
		if _, err := t.st.Commit(t.ctx, &b); !errors.Is(err, store.ErrBadData) {
			t.Errorf("%s: Commit returned %v, want ErrBadData", what, err)
		}
	}
	t.processed(d)
}

// After ErrBadData nothing of the batch was written.
func commitBadDataAtomic(t *tester) {
	t.put("a", "work")
	t.put("b", "work")
	leased := t.claimAll("work")
	before := leased[1].Until

	good := event("good", "work")
	good.Keys = [][32]byte{digest("its key")}
	b := store.Batch{
		Adds:    []store.Add{good, event("bad", "d", "d")},
		Settles: []store.Settle{{Delivery: leased[0].ID, Token: leased[0].Token, To: store.Processed}},
		Renews:  []store.Renew{{Delivery: leased[1].ID, Token: leased[1].Token, For: time.Hour}},
		Holds:   []store.Hold{{Queue: queue, Destination: "work", Kind: store.Paused}},
	}
	if _, err := t.st.Commit(t.ctx, &b); !errors.Is(err, store.ErrBadData) {
		t.Fatalf("Commit returned %v, want ErrBadData", err)
	}

	sameItems(t, "events stored", ids(t.find(store.Filter{})), []string{"a", "b"})
	t.wantState(leased[0].ID, store.Processing)
	if until := t.get(leased[1].ID).Until; !until.Equal(before) {
		t.Errorf("the lease was renewed to %v", until)
	}
	byKey := event("other", "work")
	byKey.Keys = good.Keys
	equal(t, "the key is known", t.addOne(byKey).Duplicate, false)
	equal(t, "deliveries claimed: the hold stands", len(t.claimAll("work")), 1)
	b.Adds = b.Adds[:1]
	b.Adds[0].Keys = nil
	equal(t, "the good add is known", t.commit(b).Adds[0].Duplicate, false)
}

// Bad data fails its own batch, and not those that are written beside it.
func commitBadAlone(t *tester) {
	const n = 40
	t.together(n, func(ctx context.Context, i int) error {
		b := store.Batch{Adds: []store.Add{event(fmt.Sprint("event ", i), "work")}}
		if i%5 == 0 {
			b.Adds[0].To = append(b.Adds[0].To, b.Adds[0].To[0])
		}
		_, err := t.st.Commit(ctx, &b)
		if bad := errors.Is(err, store.ErrBadData); bad != (i%5 == 0) || !bad && err != nil {
			return fmt.Errorf("batch %d (every fifth is bad): %w", i, err)
		}
		return nil
	})
	t.put("afterwards", "work")
	equal(t, "events stored", len(t.find(store.Filter{})), n-n/5+1)
}

// A caller whose context ends takes out its own batch alone, and what became of
// that is found out by committing it again.
func commitCancelled(t *tester) {
	const n = 60
	batches := make([]store.Batch, n)
	for i := range batches {
		batches[i].Adds = []store.Add{event(fmt.Sprint("event ", i), "work")}
	}
	t.together(n, func(ctx context.Context, i int) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		switch i % 6 {
		case 0: // leaves while it is written, or about then
			go cancel()
		case 3: // has left
			cancel()
		}
		_, err := t.st.Commit(ctx, &batches[i])
		if err != nil && i%3 != 0 {
			return fmt.Errorf("batch %d, whose caller stayed: %w", i, err)
		}
		return nil
	})
	for _, b := range batches {
		equal(t, b.Adds[0].Record.ID+" again: duplicate", t.commit(b).Adds[0].Duplicate, false)
	}
	equal(t, "events stored", len(t.find(store.Filter{})), n)
}

// Commit with the context of a transaction's closure would wait for its end.
func commitInTransaction(t *tester) {
	b := store.Batch{Adds: []store.Add{event("e", "work")}}
	if _, err := t.st.Commit(store.InTx(t.ctx), &b); !errors.Is(err, store.ErrInTransaction) {
		t.Fatalf("Commit returned %v, want ErrInTransaction", err)
	}
	equal(t, "events stored", len(t.find(store.Filter{})), 0)
}
