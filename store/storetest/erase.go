package storetest

import (
	"fmt"
	"time"

	"github.com/surehook/webhook/store"
)

var eraseCases = []testCase{
	{name: "Update/EraseEmptiesTheEvent", run: eraseEmpties},
	{name: "Update/EraseLeavesWhatOthersNeed", run: eraseOpen},
	{name: "Update/ErasedIsNotQueuedAgain", run: eraseFinal},
	{name: "Update/ErasedStaysKnown", run: eraseKnown},
}

// Erase empties head and body, and the excerpts and errors of the attempts; the
// rest of the history stays.
func eraseEmpties(t *tester) {
	r := t.addOne(event("e", "a", "b")).Deliveries
	failed := store.Settle{To: store.Queued, Spend: true, Attempt: &store.Attempt{
		Outcome: store.OutcomeFailed, Class: "http_4xx", Err: "secret", Status: 400, Response: []byte("secret"),
	}}
	t.settled(t.lease("a"), failed)
	t.processed(t.lease("a"))
	t.settled(t.lease("b"), failed)
	t.died(t.lease("b"))

	equal(t, "erased", t.update(store.Change{Erase: true}, r[0].ID), 1)
	for _, d := range r {
		got := t.get(d.ID)
		equal(t, "head", string(got.Record.Head), "")
		equal(t, "body", string(got.Record.Body), "")
		equal(t, "event's id", got.Record.ID, "e")
		equal(t, "attempts", len(got.Attempts), 2)
		for _, a := range got.Attempts {
			equal(t, "error of an attempt", a.Err, "")
			equal(t, "excerpt of an attempt", string(a.Response), "")
		}
		equal(t, "class of an attempt", got.Attempts[0].Class, "http_4xx")
		equal(t, "status of an attempt", got.Attempts[0].Status, 400)
	}
	t.wantState(r[0].ID, store.Processed)
	t.wantState(r[1].ID, store.Dead)

	// To and Erase at once: nobody needs the body of what is discarded.
	id := t.put("unwanted", "c")
	equal(t, "discarded and erased", t.update(store.Change{To: store.Discarded, Reason: "person", Erase: true}, id), 1)
	t.wantState(id, store.Discarded)
	equal(t, "body", string(t.get(id).Record.Body), "")
}

// Where another delivery of the event is still to be done, nothing is erased and
// the id does not count.
func eraseOpen(t *tester) {
	for _, open := range []store.State{store.Queued, store.Processing} {
		a := event("beside "+string(open), "a", "b")
		r := t.addOne(a).Deliveries
		t.processed(t.lease("a"))
		if open == store.Processing {
			t.lease("b")
		}
		equal(t, "erased", t.update(store.Change{Erase: true}, r[0].ID), 0)
		for _, d := range r {
			sameRecord(t, fmt.Sprintf("beside one %s", open), t.get(d.ID).Record, a.Record)
		}
		if open == store.Queued {
			t.lease("b")
		}
		equal(t, "settle", t.settle(store.Settle{Delivery: r[1].ID, Token: 1, To: store.Processed}), store.Done)
		equal(t, "erased when the other is done", t.update(store.Change{Erase: true}, r[0].ID), 1)
	}
}

// A delivery whose event was erased has nothing to be tried with.
func eraseFinal(t *tester) {
	r := t.addOne(event("e", "a", "b")).Deliveries
	t.died(t.lease("a"))
	t.died(t.lease("b"))
	equal(t, "erased", t.update(store.Change{Erase: true}, r[0].ID), 1)
	for _, d := range r {
		equal(t, "queued again", t.update(store.Change{To: store.Queued}, d.ID), 0)
		t.wantState(d.ID, store.Dead)
	}
	equal(t, "discarded", t.update(store.Change{To: store.Discarded}, r[1].ID), 1)
	t.advance(time.Hour)
	equal(t, "claimed", len(t.claimAll()), 0)
}

// Its identity and keys stay known.
func eraseKnown(t *tester) {
	a := keyed("e", "k")
	t.add(a)
	d := t.lease("work")
	t.processed(d)
	equal(t, "erased", t.update(store.Change{Erase: true}, d.ID), 1)
	r := t.addOne(again(a))
	equal(t, "by identity: duplicate", r.Duplicate, true)
	equal(t, "by identity: missing", r.Missing, 0)
	equal(t, "by key: duplicate", t.addOne(keyed("other", "k")).Duplicate, true)
	t.nothing("work", "processed and erased")
}
