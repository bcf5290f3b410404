package storetest

import (
	"fmt"
	"time"

	"github.com/surehook/webhook/store"
)

var purgeCases = []testCase{
	{name: "Purge/FinishedAfterRetention", run: purgeFinished},
	{name: "Purge/DeadAfterTheirOwnRetention", run: purgeDead},
	{name: "Purge/ZeroAndNegativeMeanForEver", run: purgeForEver},
	{name: "Purge/OpenDeliveriesStay", run: purgeOpen},
	{name: "Purge/CountsFromTheEnd", run: purgeFromEnd},
	{name: "Purge/EventGoesWithTheLastOfItsDeliveries", run: purgeEvent},
	{name: "Purge/SmallBatches", run: purgeBatches},
	{name: "Purge/KeysStayKnownForTheirWindow", run: purgeKnown},
	{name: "Purge/RetentionOfKeysIsAMinimumToo", run: purgeKeysRetention},
	{name: "Purge/KnownAsLongAsTheEventIsThere", run: purgeKnownWithEvent},
	{name: "Purge/EventWithoutDeliveries", run: purgeNoTargets},
	{name: "Purge/Erased", run: purgeErased},
	{name: "Purge/QueuesAreApart", run: purgeQueues},
}

var hour = store.Retention{Processed: time.Hour}

// Processed and discarded deliveries go when Processed has passed, with their
// attempts; not before.
func purgeFinished(t *tester) {
	of := t.oneOfEach()
	t.advance(59 * time.Minute)
	equal(t, "purged a minute too early", t.purge(hour), 0)
	t.advance(2 * time.Minute)
	if n := t.purge(hour); n < 2 {
		t.Errorf("purged %d records, want the two deliveries at least", n)
	}
	equal(t, "deliveries left", len(t.find(store.Filter{})), 3)
	equal(t, "found by ID", len(t.find(store.Filter{IDs: []string{of[store.Processed], of[store.Discarded]}})), 0)
	equal(t, "changed", t.update(store.Change{To: store.Queued}, of[store.Processed], of[store.Discarded]), 0)
	equal(t, "purged once more", t.purge(hour), 0)
}

// Dead letters stay until Dead has passed, counted from when they died.
func purgeDead(t *tester) {
	id := t.put("e", "work")
	t.advance(5 * time.Hour)
	t.died(t.lease("work"))
	r := store.Retention{Processed: time.Hour, Dead: 3 * time.Hour}
	t.advance(2 * time.Hour)
	equal(t, "purged before", t.purge(r), 0)
	t.wantState(id, store.Dead)
	t.advance(2 * time.Hour)
	t.purge(r)
	equal(t, "found", len(t.find(store.Filter{})), 0)
}

// Zero and negative both mean for ever.
func purgeForEver(t *tester) {
	t.oneOfEach()
	t.advance(10 * 365 * 24 * time.Hour)
	equal(t, "purged", t.purge(store.Retention{}), 0)
	equal(t, "purged with -1", t.purge(store.Retention{Processed: -1, Dead: -time.Hour, Keys: -1}), 0)
	equal(t, "deliveries", len(t.find(store.Filter{})), 5)
}

// What is to be done is never deleted, however old it is.
func purgeOpen(t *tester) {
	t.line("k", "1", "2")
	t.put("leased", "other")
	t.lease("other")
	t.hold(store.Hold{Destination: "work", Kind: store.Paused})
	t.advance(10 * 365 * 24 * time.Hour)
	equal(t, "purged", t.purge(store.Retention{Processed: 1, Dead: 1, Keys: 1}), 0)
	equal(t, "deliveries", len(t.find(store.Filter{})), 3)
	t.release("work", store.Paused)
	t.processed(t.head("1"))
	t.processed(t.head("2"))
}

// Retention is counted from the end of a delivery, not from its arrival; one that
// is redriven begins anew.
func purgeFromEnd(t *tester) {
	id := t.put("e", "work")
	t.advance(10 * time.Hour)
	t.processed(t.lease("work"))
	equal(t, "purged at once", t.purge(hour), 0)
	t.advance(50 * time.Minute)
	t.update(store.Change{To: store.Queued}, id)
	t.processed(t.lease("work"))
	t.advance(50 * time.Minute)
	equal(t, "purged after it was processed twice", t.purge(hour), 0)
	other := t.put("discarded by a person", "work")
	t.advance(5 * time.Minute)
	t.update(store.Change{To: store.Discarded}, other)
	t.advance(10 * time.Minute)
	t.purge(hour)
	sameItems(t, "left", ids(t.find(store.Filter{})), []string{"discarded by a person"})
}

// An event goes with the last of its deliveries: until then its body is there for
// them, and for one that is added.
func purgeEvent(t *tester) {
	a := event("e", "a", "b")
	t.add(a)
	t.processed(t.lease("a"))
	t.advance(2 * time.Hour)
	t.purge(hour)
	sameItems(t, "left", destinations(t.find(store.Filter{})), []string{"b"})
	r := t.addOne(otherBody(a, "c"))
	equal(t, "missing", r.Missing, 1)
	for _, destination := range []string{"b", "c"} {
		d := t.lease(destination)
		sameRecord(t, destination, d.Record, a.Record)
		t.processed(d)
	}
	t.advance(2 * time.Hour)
	t.purge(hour)
	equal(t, "left", len(t.find(store.Filter{})), 0)
}

// Purge deletes a small batch a call, says 0 when nothing is left, and not
// before.
func purgeBatches(t *tester) {
	const n = 2000
	for range n / 500 {
		var adds []store.Add
		for range 500 {
			a := eventOf(&store.Record{ID: fmt.Sprintf("%x", nonce())}, "work")
			a.Known = time.Minute
			adds = append(adds, a)
		}
		t.add(adds...)
		var b store.Batch
		for _, d := range t.claimAll("work") {
			b.Settles = append(b.Settles, store.Settle{Delivery: d.ID, Token: d.Token, To: store.Processed})
		}
		t.commit(b)
	}
	t.advance(2 * time.Hour)
	if _, err := t.st.Purge(t.ctx, queue, hour); err != nil {
		t.Fatal(err)
	}
	if left := len(t.pages(store.Filter{}, 1000)); left == 0 {
		t.Errorf("one call purged all %d deliveries, want a small batch", n)
	}
	t.purge(hour)
	equal(t, "deliveries left", len(t.find(store.Filter{})), 0)
}

// Identity and keys stay known until Known has passed since the event was
// received; then they are deleted.
func purgeKnown(t *tester) {
	a := keyed("e", "k1", "k2")
	a.Known = 48 * time.Hour
	t.add(a)
	t.processed(t.lease("work"))
	known := func(when string, want bool) {
		t.Helper()
		for _, b := range []store.Add{event("e", "work"), keyed("other", "k2")} {
			b.Known = 0 // asks, and prolongs nothing
			equal(t, when+": "+b.Record.ID+" is a duplicate", t.addOne(b).Duplicate, want)
			for _, d := range t.claimAll() {
				t.processed(d)
			}
		}
	}
	t.advance(47 * time.Hour)
	t.purge(hour)
	known("an hour before the window ends", true)
	t.advance(2 * time.Hour)
	known("past the window, before Purge", true)
	if t.purge(hour) == 0 {
		t.Error("the keys past their window were not purged")
	}
	known("past the window", false)
}

// Retention.Keys is a minimum too: the longer one counts.
func purgeKeysRetention(t *tester) {
	a := event("e", "work")
	a.Known = time.Minute
	t.add(a)
	t.processed(t.lease("work"))
	r := store.Retention{Processed: time.Hour, Keys: 48 * time.Hour}
	t.advance(47 * time.Hour)
	t.purge(r)
	equal(t, "deliveries left", len(t.find(store.Filter{})), 0)
	equal(t, "an hour before Keys has passed: duplicate", t.addOne(again(a)).Duplicate, true)
	t.advance(2 * time.Hour)
	t.purge(r)
	equal(t, "after it: duplicate", t.addOne(again(a)).Duplicate, false)
}

// However old, an event is known as long as it is there.
func purgeKnownWithEvent(t *tester) {
	r := store.Retention{Processed: time.Hour, Keys: time.Minute}
	a := event("queued", "work")
	b := event("dead", "other")
	a.Known, b.Known = time.Minute, time.Minute
	t.add(a, b)
	t.died(t.lease("other"))
	t.advance(1000 * time.Hour)
	equal(t, "purged", t.purge(r), 0)
	equal(t, "queued: duplicate", t.addOne(again(a)).Duplicate, true)
	equal(t, "dead: duplicate", t.addOne(again(b)).Duplicate, true)
	t.processed(t.lease("work"))
	t.advance(2 * time.Hour)
	t.purge(r)
	equal(t, "processed and purged: duplicate", t.addOne(again(a)).Duplicate, false)
}

// An event without deliveries is known for its window; a Retention.Keys that is zero
// or negative says nothing.
func purgeNoTargets(t *tester) {
	for _, keys := range []time.Duration{0, -1} {
		r := store.Retention{Processed: time.Hour, Keys: keys}
		a := event(fmt.Sprint("e", keys))
		a.Known = 10 * time.Hour
		t.add(a)
		t.advance(9 * time.Hour)
		t.purge(r)
		b := again(a)
		b.Known = 0 // asks, and prolongs nothing
		equal(t, "before the window ends: duplicate", t.addOne(b).Duplicate, true)
		t.advance(2 * time.Hour)
		t.purge(r)
		equal(t, fmt.Sprintf("after it, with Keys %d: duplicate", keys), t.addOne(b).Duplicate, false)
	}
}

// An event that was erased goes like any other.
func purgeErased(t *tester) {
	a := event("e", "work")
	id := t.addOne(a).Deliveries[0].ID
	t.processed(t.lease("work"))
	equal(t, "erased", t.update(store.Change{Erase: true}, id), 1)
	equal(t, "purged at once", t.purge(hour), 0)
	t.advance(2 * time.Hour)
	t.purge(hour)
	equal(t, "deliveries left", len(t.find(store.Filter{})), 0)
	equal(t, "duplicate", t.addOne(again(a)).Duplicate, true)
}

// Purge of one queue leaves the others.
func purgeQueues(t *tester) {
	t.put("e", "work")
	t.processed(t.lease("work"))
	t.advance(2 * time.Hour)
	n, err := t.st.Purge(t.ctx, "another queue", store.Retention{Processed: 1, Dead: 1, Keys: 1})
	if n != 0 || err != nil {
		t.Fatalf("Purge of another queue: %d, %v", n, err)
	}
	equal(t, "deliveries left", len(t.find(store.Filter{})), 1)
}
