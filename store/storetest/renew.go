package storetest

import (
	"time"

	"github.com/surehook/webhook/store"
)

var renewCases = []testCase{
	{name: "Renew/CountsFromNow", run: renewFromNow},
	{name: "Renew/AfterTheLeaseEndedIsDone", run: renewLate},
	{name: "Renew/AfterAnotherClaimIsLeaseLost", run: renewFenced},
	{name: "Renew/SettledIsLeaseLost", run: renewSettled},
}

// A renewed lease ends For from now, be that later or sooner than before.
func renewFromNow(t *tester) {
	id := t.put("e", "work")
	d := t.lease("work")
	t.advance(lease / 2)
	before := t.now()
	equal(t, "renewal", t.renew(d, time.Hour), store.Done)
	got := t.get(id)
	t.around("Until", got.Until, before, time.Hour)
	equal(t, "token", got.Token, d.Token)
	t.advance(59 * time.Minute)
	t.nothing("work", "a minute before the renewed lease ends")

	equal(t, "renewal for a second", t.renew(d, time.Second), store.Done)
	t.advance(2 * time.Second)
	equal(t, "token after the lease", t.lease("work").Token, d.Token+1)
}

// A lease that ran out is renewed as long as nobody took it over.
func renewLate(t *tester) {
	t.put("e", "work")
	d := t.lease("work")
	t.advance(100 * lease)
	equal(t, "renewal long after the lease", t.renew(d, time.Hour), store.Done)
	t.nothing("work", "renewed")
	t.processed(d)
}

// Once another claim was made, the earlier lease is not renewed, and the later
// one not touched.
func renewFenced(t *tester) {
	id := t.put("e", "work")
	first := t.lease("work")
	t.advance(2 * lease)
	second := t.lease("work")
	equal(t, "renewal under the earlier token", t.renew(first, time.Hour), store.LeaseLost)
	equal(t, "end of the later lease is the same", t.get(id).Until.Equal(second.Until), true)
	equal(t, "renewal under the later token", t.renew(second, time.Hour), store.Done)
	first.Token = second.Token + 1
	equal(t, "renewal under a token that nobody was given", t.renew(first, time.Hour), store.LeaseLost)
}

// What is settled has no lease, whatever it was settled to.
func renewSettled(t *tester) {
	for _, to := range []store.State{store.Processed, store.Dead, store.Discarded, store.Queued} {
		id := t.put("to "+string(to), "work")
		d := t.lease("work")
		t.settled(d, store.Settle{To: to, After: time.Hour})
		equal(t, "renewal of one settled to "+string(to), t.renew(d, time.Hour), store.LeaseLost)
		t.wantState(id, to)
	}
}
