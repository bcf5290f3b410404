package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook/store"
)

var updateCases = []testCase{
	{name: "Update/FromGuards", run: updateFrom},
	{name: "Update/ProcessingIsNeverChanged", run: updateProcessing},
	{name: "Update/ToEachState", run: updateStates},
	{name: "Update/ToQueuedIsDueAtOnceWithAFullBudget", run: updateQueued},
	{name: "Update/StateStaysWithoutTo", run: updateStays},
	{name: "Update/UnknownIDsArePassedOver", run: updateUnknown},
	{name: "Update/ManyIDs", run: updateMany},
	{name: "Update/MovesToAnotherDestination", run: updateMove},
	{name: "Update/MovePassesOverWhereTheEventIsAlready", run: updateMoveTaken},
	{name: "Update/MovedEventIsKnownUnderBothNames", run: updateMoveKnown},
	{name: "Update/MovedHeadLetsTheNextGo", run: updateMoveHead},
	{name: "Update/BesideClaims", run: updateRace},
	{name: "Update/InTransactionIsRefused", run: updateInTransaction},
}

// oneOfEach stores a delivery in each state and returns their ids.
func (t *tester) oneOfEach() map[store.State]string {
	t.Helper()
	of := map[store.State]string{}
	for _, to := range []store.State{store.Processed, store.Dead, store.Discarded} {
		of[to] = t.put(string(to), "work")
		t.settled(t.lease("work"), store.Settle{To: to, Reason: "settled", Spend: true})
	}
	of[store.Processing] = t.put("processing", "work")
	t.lease("work")
	of[store.Queued] = t.put("queued", "work")
	return of
}

func values(of map[store.State]string) []string {
	var list []string
	for _, id := range of {
		list = append(list, id)
	}
	return list
}

// Only those whose state is in From are changed, and counted.
func updateFrom(t *tester) {
	of := t.oneOfEach()
	all := values(of)
	equal(t, "dead to queued", t.update(store.Change{From: []store.State{store.Dead}, To: store.Queued}, all...), 1)
	t.wantState(of[store.Dead], store.Queued)
	for _, s := range []store.State{store.Processed, store.Discarded, store.Processing, store.Queued} {
		t.wantState(of[s], s)
	}
	change := store.Change{From: []store.State{store.Queued, store.Processed}, To: store.Discarded, Reason: "person"}
	equal(t, "queued and processed to discarded", t.update(change, all...), 3)
	equal(t, "the same again", t.update(change, all...), 0)
}

// An attempt under way belongs to its worker: empty From means any state but
// Processing, and naming it does not help, the lease run out or not.
func updateProcessing(t *tester) {
	of := t.oneOfEach()
	id := of[store.Processing]
	for range 2 {
		for _, from := range [][]store.State{nil, {store.Processing}, {store.Processing, store.Queued}} {
			for _, change := range []store.Change{{From: from, To: store.Queued}, {From: from, To: store.Discarded}, {From: from, Destination: "elsewhere"}, {From: from, Erase: true}} {
				equal(t, fmt.Sprintf("changed by %+v", change), t.update(change, id), 0)
			}
		}
		d := t.get(id)
		equal(t, "state", d.State, store.Processing)
		equal(t, "destination", d.Destination, "work")
		t.advance(2 * lease)
	}
	equal(t, "any state: changed", t.update(store.Change{To: store.Discarded}, values(of)...), 4)
	equal(t, "settle by the worker", t.settle(store.Settle{Delivery: id, Token: 1, To: store.Processed}), store.Done)
}

// Dead and discarded come with their reason, and are not claimed.
func updateStates(t *tester) {
	for _, to := range []store.State{store.Dead, store.Discarded} {
		id := t.put("to "+string(to), "work")
		equal(t, "changed", t.update(store.Change{To: to, Reason: "person"}, id), 1)
		d := t.get(id)
		equal(t, "state", d.State, to)
		equal(t, "reason", d.Reason, "person")
		equal(t, "token", d.Token, 0)
		t.nothing("work", string(to))
	}
}

// Queued again: due at once, the three counters and the reason cleared, the token
// and the attempts not.
func updateQueued(t *tester) {
	id := t.put("e", "work")
	t.settled(t.lease("work"), store.Settle{To: store.Queued, Spend: true, Defer: true, Attempt: &store.Attempt{Outcome: store.OutcomeFailed}})
	t.lease("work")
	t.advance(2 * lease)
	t.died(t.lease("work"))
	d := t.get(id)
	equal(t, "before: deferred and lost", [2]int{d.Deferred, d.Lost}, [2]int{1, 1})
	equal(t, "before: reason", d.Reason, "budget used")
	t.advance(time.Hour)

	before := t.now()
	equal(t, "changed", t.update(store.Change{From: []store.State{store.Dead}, To: store.Queued}, id), 1)
	d = t.get(id)
	equal(t, "spent, deferred, lost", [3]int{d.Spent, d.Deferred, d.Lost}, [3]int{})
	equal(t, "reason", d.Reason, "")
	equal(t, "token", d.Token, 3)
	equal(t, "attempts", len(d.Attempts), 3)
	t.around("Due", d.Due, before, 0)

	// One that waits for its next try is tried now.
	t.failed(t.lease("work"), time.Hour)
	t.nothing("work", "due in an hour")
	equal(t, "retry now: changed", t.update(store.Change{To: store.Queued}, id), 1)
	d = t.lease("work")
	equal(t, "retry now: spent", d.Spent, 0)
	t.processed(d)
	equal(t, "processed once more: changed", t.update(store.Change{To: store.Queued}, id), 1)
	equal(t, "processed once more: token", t.lease("work").Token, 6)
}

// Without To the state stays.
func updateStays(t *tester) {
	of := t.oneOfEach()
	equal(t, "moved", t.update(store.Change{Destination: "elsewhere"}, values(of)...), 4)
	for s, id := range of {
		t.wantState(id, s)
	}
	equal(t, "reason of the dead", t.get(of[store.Dead]).Reason, "settled")
	equal(t, "spent of the dead", t.get(of[store.Dead]).Spent, 1)
}

// Unknown ids are passed over.
func updateUnknown(t *tester) {
	id := t.put("e", "work")
	equal(t, "changed of nobody's", t.update(store.Change{To: store.Dead}, noIDs()...), 0)
	equal(t, "changed of none", t.update(store.Change{To: store.Dead}), 0)
	equal(t, "changed of one's own among them", t.update(store.Change{To: store.Dead}, append(noIDs(), id)...), 1)
	t.wantState(id, store.Dead)
	n, err := t.st.Update(t.ctx, "another queue", []string{id}, store.Change{To: store.Queued})
	if n != 0 || err != nil {
		t.Fatalf("changed from another queue: %d, %v, want 0", n, err)
	}
}

// A few hundred ids go in one call.
func updateMany(t *tester) {
	t.crowd("acme", "work", 300)
	var list []string
	for _, d := range t.find(store.Filter{}) {
		list = append(list, d.ID)
	}
	equal(t, "discarded", t.update(store.Change{To: store.Discarded}, list...), 300)
	equal(t, "redriven", t.update(store.Change{To: store.Queued}, list...), 300)
	equal(t, "claimed", len(t.claimAll("work")), 300)
}

// A delivery that is moved is claimed for its new destination, under that one's
// holds, and no more for the old one.
func updateMove(t *tester) {
	id := t.put("e", "old")
	t.hold(store.Hold{Destination: "old", Kind: store.Disabled})
	equal(t, "moved", t.update(store.Change{Destination: "new"}, id), 1)
	d := t.get(id)
	equal(t, "destination", d.Destination, "new")
	equal(t, "state", d.State, store.Queued)
	t.release("old", "")
	t.nothing("old", "moved away")
	t.hold(store.Hold{Destination: "new", Kind: store.Paused})
	t.nothing("new", "held")
	t.release("new", store.Paused)
	d = t.lease("new")
	equal(t, "id", d.ID, id)
	t.died(d)
	equal(t, "moved and redriven", t.update(store.Change{To: store.Queued, Destination: "third"}, id), 1)
	equal(t, "token", t.lease("third").Token, 2)
}

// Where the event has a delivery already, no second one is moved.
func updateMoveTaken(t *tester) {
	r := t.addOne(event("e", "a", "b")).Deliveries
	other := t.put("other", "a")
	equal(t, "moved", t.update(store.Change{Destination: "b"}, r[0].ID, other), 1)
	equal(t, "destination of the one passed over", t.get(r[0].ID).Destination, "a")
	equal(t, "destination of the other", t.get(other).Destination, "b")
	t.processed(t.lease("a"))
	equal(t, "moved after it was processed", t.update(store.Change{Destination: "b"}, r[0].ID), 0)
	equal(t, "moved and redriven", t.update(store.Change{To: store.Queued, Destination: "b"}, r[0].ID), 0)
	t.wantState(r[0].ID, store.Processed)
}

// The event's record then names both: neither name is ever missing.
func updateMoveKnown(t *tester) {
	a := event("e", "old")
	id := t.addOne(a).Deliveries[0].ID
	t.update(store.Change{Destination: "new"}, id)
	r := t.addOne(again(a, "new", "old"))
	equal(t, "duplicate", r.Duplicate, true)
	equal(t, "missing", r.Missing, 0)
	equal(t, "delivery of the new name", r.Deliveries[0].ID, id)
	equal(t, "deliveries", len(t.find(store.Filter{})), 1)
	t.add(a)
	equal(t, "deliveries, the first add tried again", len(t.find(store.Filter{})), 1)
}

// A head that is moved stands in its key's line of the new destination, and lets
// the next of the old one go.
func updateMoveHead(t *tester) {
	t.line("k", "1", "2", "3")
	t.died(t.head("1"))
	equal(t, "moved", t.update(store.Change{Destination: "new"}, t.of("1").ID), 1)
	t.blockedOf("work", 0)
	t.blockedOf("new", 1)
	second := t.head("2")
	t.add(ordered("4", "new", "k"))
	t.nothing("new", "its head is dead")
	equal(t, "redriven", t.update(dead, t.of("1").ID), 1)
	equal(t, "claimed for the new destination", t.lease("new").Record.ID, "1")
	t.processed(second)
	t.head("3")
}

// Update and Claim exclude each other: what one has, the other does not get.
func updateRace(t *tester) {
	const n = 100
	t.crowd("acme", "work", n)
	all := t.find(store.Filter{})
	var discarded, processed atomic.Int64
	t.together(4, func(ctx context.Context, i int) error {
		if i < 2 {
			for j := i; j < len(all); j += 2 {
				k, err := t.st.Update(ctx, queue, []string{all[j].ID}, store.Change{From: []store.State{store.Queued}, To: store.Discarded})
				if err != nil {
					return err
				}
				discarded.Add(int64(k))
			}
			return nil
		}
		for {
			ds, err := t.st.Claim(ctx, queue, store.Claim{Other: 3, Lease: time.Hour})
			if err != nil || len(ds) == 0 {
				return err
			}
			var b store.Batch
			for _, d := range ds {
				b.Settles = append(b.Settles, store.Settle{Delivery: d.ID, Token: d.Token, To: store.Processed})
			}
			res, err := t.st.Commit(ctx, &b)
			if err != nil {
				return err
			}
			for i, r := range res.Settles {
				if r != store.Done {
					return fmt.Errorf("settle of %s: %s, want Done", ds[i].ID, name(r))
				}
				processed.Add(1)
			}
		}
	})
	equal(t, "discarded and processed together", discarded.Load()+processed.Load(), n)
	equal(t, "found discarded", int64(len(t.find(store.Filter{States: []store.State{store.Discarded}}))), discarded.Load())
	equal(t, "found processed", int64(len(t.find(store.Filter{States: []store.State{store.Processed}}))), processed.Load())
}

// Update with the context of a transaction's closure would wait for its end.
func updateInTransaction(t *tester) {
	id := t.put("e", "work")
	n, err := t.st.Update(store.InTx(t.ctx), queue, []string{id}, store.Change{To: store.Dead})
	if !errors.Is(err, store.ErrInTransaction) {
		t.Fatalf("Update returned %d, %v, want ErrInTransaction", n, err)
	}
	t.wantState(id, store.Queued)
}
