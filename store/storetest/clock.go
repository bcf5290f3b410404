package storetest

import (
	"time"

	"github.com/surehook/webhook/store"
)

var clockCases = []testCase{
	{name: "Clock/JumpsForward", run: clockForward},
	{name: "Clock/JumpsBack", run: clockBack},
	{name: "Clock/SpansNotInstants", run: clockSpans},
}

const jump = time.Hour

// A clock that jumps forward ends leases early, as far as the store can know: the
// fence holds, and nothing is stuck.
func clockForward(t *tester) {
	held := t.put("held", "held")
	t.hold(store.Hold{Destination: "held", Kind: store.Slowed, For: time.Minute})
	t.put("e", "work")
	first := t.lease("work")
	t.advance(jump)
	second := t.lease("work")
	equal(t, "settle of the earlier lease", t.settle(store.Settle{Delivery: first.ID, Token: first.Token, To: store.Processed}), store.LeaseLost)
	t.processed(second)
	equal(t, "delivery whose hold ran out", t.lease("held").ID, held)
}

// A clock that jumps back ends no lease early, and holds nothing up for longer
// than the jump; what is added after it is due at once.
func clockBack(t *tester) {
	t.put("leased", "work")
	t.put("kept", "work")
	a := event("later", "later")
	a.To[0].After = time.Minute
	t.add(a)
	leased := t.claimAll("work")
	equal(t, "deliveries claimed", len(leased), 2)
	t.advance(-jump)

	fresh := t.put("fresh", "work")
	before := t.now()
	d := t.lease("work")
	equal(t, "delivery claimed after the jump", d.ID, fresh)
	t.around("its lease ends", d.Until, before, lease)
	t.processed(d)
	t.processed(leased[0])
	equal(t, "renewal", t.renew(leased[1], lease), store.Done)
	t.around("the renewed lease ends", t.get(leased[1].ID).Until, before, lease)
	t.advance(lease / 2)
	t.nothing("work", "renewed")

	t.advance(lease)
	d = t.lease("work")
	equal(t, "delivery taken over", d.ID, leased[1].ID)
	equal(t, "its token", d.Token, 2)
	t.processed(d)
	t.advance(jump + time.Minute)
	equal(t, "delivery that was due before the jump", t.lease("later").Record.ID, "later")

	// Once more, with leases and holds that nobody renews.
	t.put("lost", "work")
	t.lease("work")
	t.put("held", "held")
	t.hold(store.Hold{Destination: "held", Kind: store.Broken, For: time.Minute})
	t.advance(-jump)
	t.nothing("work", "leased before the clock jumped back")
	t.advance(jump + 2*lease)
	equal(t, "lost, of the lease that ran out", t.lease("work").Lost, 1)
	t.lease("held")
}

// After, Lease and For are counted from now by the store's clock, wherever that
// stands.
func clockSpans(t *tester) {
	for _, d := range []time.Duration{-1000 * jump, 3000 * jump} {
		t.advance(d)
		before := t.now()
		a := event("at "+d.String(), "work")
		a.To[0].After = time.Minute
		id := t.addOne(a).Deliveries[0].ID
		t.around("Received", t.get(id).Received, before, 0)
		t.around("Due", t.get(id).Due, before, time.Minute)
		t.advance(2 * time.Minute)
		before = t.now()
		got := t.lease("work")
		t.around("Until", got.Until, before, lease)
		t.settled(got, store.Settle{To: store.Queued, After: time.Hour})
		t.around("Due again", t.get(id).Due, before, time.Hour)
		equal(t, "discarded", t.update(store.Change{To: store.Discarded}, id), 1)
	}
}
