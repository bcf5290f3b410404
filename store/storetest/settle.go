package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/surehook/webhook/store"
)

var settleCases = []testCase{
	{name: "Settle/ToEachState", run: settleStates},
	{name: "Settle/QueuedAgainAfterItsSpan", run: settleAfter},
	{name: "Settle/Counters", run: settleCounters},
	{name: "Settle/HandBackLeavesNoTrace", run: settleHandBack},
	{name: "Settle/AfterTheLeaseEndedIsDone", run: settleLate},
	{name: "Settle/AfterAnotherClaimIsLeaseLost", run: settleFenced},
	{name: "Settle/TwiceIsAlreadySettled", run: settleTwice},
	{name: "Settle/UnknownIsLeaseLost", run: settleUnknown},
	{name: "Settle/PurgedIsLeaseLost", run: settlePurged},
	{name: "Settle/OthersOfTheBatchAreWritten", run: settleOthers},
	{name: "Settle/TokenIsNeverReset", run: settleTokens},
	{name: "Settle/AttemptKeepsAllFields", run: settleAttempt},
	{name: "Settle/AttemptsInTheOrderOfTokens", run: settleAttempts},
	{name: "Settle/FailingSince", run: settleFailing},
}

// A settle puts the delivery where it says; one that is finished was so when it
// was settled, and is not claimed again.
func settleStates(t *tester) {
	for _, to := range []store.State{store.Processed, store.Dead, store.Discarded} {
		id := t.put("to "+string(to), "work")
		d := t.lease("work")
		t.advance(10 * time.Second)
		before := t.now()
		reason := "because it is " + string(to)
		t.settled(d, store.Settle{To: to, Reason: reason})

		got := t.get(id)
		equal(t, "state", got.State, to)
		equal(t, "token", got.Token, 1)
		equal(t, "leased", !got.Until.IsZero(), false)
		if to != store.Processed {
			equal(t, "reason", got.Reason, reason)
		}
		t.around("Due of a finished delivery", got.Due, before, 0)
		t.advance(100 * time.Hour)
		t.nothing("work", "the delivery is "+string(to))
	}
}

// After is counted from the settle, by the store's clock.
func settleAfter(t *tester) {
	id := t.put("e", "work")
	d := t.lease("work")
	t.advance(10 * time.Second)
	before := t.now()
	t.settled(d, store.Settle{To: store.Queued, After: time.Hour, Spend: true})
	got := t.get(id)
	equal(t, "state", got.State, store.Queued)
	equal(t, "leased", !got.Until.IsZero(), false)
	t.around("Due", got.Due, before, time.Hour)
	t.advance(59 * time.Minute)
	t.nothing("work", "a minute before it is due")
	t.advance(2 * time.Minute)
	equal(t, "token", t.lease("work").Token, 2)
}

// Spend and Defer count, each for itself; a settle without them does not.
func settleCounters(t *tester) {
	id := t.put("e", "work")
	for i, step := range []struct {
		spend, deferred bool
		want            [3]int // spent, deferred, lost
	}{
		{true, false, [3]int{1, 0, 0}},
		{false, true, [3]int{1, 1, 0}},
		{false, false, [3]int{1, 1, 0}},
		{true, true, [3]int{2, 2, 0}},
	} {
		t.settled(t.lease("work"), store.Settle{To: store.Queued, Spend: step.spend, Defer: step.deferred})
		d := t.get(id)
		equal(t, fmt.Sprintf("spent, deferred, lost after settle %d", i), [3]int{d.Spent, d.Deferred, d.Lost}, step.want)
	}
	d := t.lease("work")
	equal(t, "spent, deferred, lost in Claim", [3]int{d.Spent, d.Deferred, d.Lost}, [3]int{2, 2, 0})
	t.settled(d, store.Settle{To: store.Dead, Spend: true})
	equal(t, "spent of a dead letter", t.get(id).Spent, 3)
}

// A delivery that is handed back (no attempt, nothing spent) is due at once, and
// its token is the only thing that grew.
func settleHandBack(t *tester) {
	id := t.put("e", "work")
	for token := uint64(1); token <= 3; token++ {
		d := t.lease("work")
		equal(t, "token", d.Token, token)
		t.settled(d, store.Settle{To: store.Queued})
	}
	d := t.get(id)
	equal(t, "state", d.State, store.Queued)
	equal(t, "spent, deferred, lost", [3]int{d.Spent, d.Deferred, d.Lost}, [3]int{})
	equal(t, "attempts", len(d.Attempts), 0)
}

// A lease is valid while its token is the last, however long ago it ran out.
func settleLate(t *tester) {
	id := t.put("e", "work")
	d := t.lease("work")
	t.advance(100 * time.Hour)
	equal(t, "settle long after the lease", t.settle(store.Settle{Delivery: id, Token: d.Token, To: store.Processed}), store.Done)
	t.wantState(id, store.Processed)
	t.nothing("work", "processed")
}

// Once another claim was made, the earlier lease's settle changes nothing.
func settleFenced(t *tester) {
	id := t.put("e", "work")
	first := t.lease("work")
	t.advance(2 * lease)
	second := t.lease("work")
	equal(t, "delivery taken over", second.ID, id)
	equal(t, "token of the takeover", second.Token, first.Token+1)

	late := store.Settle{Delivery: id, Token: first.Token, To: store.Dead, Reason: "late", Spend: true, Attempt: &store.Attempt{Outcome: store.OutcomeFailed, Err: "late"}}
	for _, to := range []store.State{store.Dead, store.Processed, store.Queued} {
		late.To = to
		equal(t, "settle under the earlier token to "+string(to), t.settle(late), store.LeaseLost)
	}
	d := t.get(id)
	equal(t, "state", d.State, store.Processing)
	equal(t, "spent", d.Spent, 0)
	for _, a := range d.Attempts {
		equal(t, "outcome of the earlier attempt", a.Outcome, store.OutcomeLost)
	}

	t.processed(second)
	equal(t, "settle under the earlier token, after the later one", t.settle(late), store.LeaseLost)
	equal(t, "settle under a token that nobody was given", t.settle(store.Settle{Delivery: id, Token: second.Token + 1, To: store.Dead}), store.LeaseLost)
	t.wantState(id, store.Processed)
}

// A settle under the last token of a delivery that is settled says so, and
// changes nothing: wherever it was settled to.
func settleTwice(t *tester) {
	for _, to := range []store.State{store.Processed, store.Dead, store.Discarded, store.Queued} {
		id := t.put("to "+string(to), "work")
		d := t.lease("work")
		b := store.Batch{Settles: []store.Settle{{Delivery: id, Token: d.Token, To: to, After: time.Hour, Spend: true, Attempt: &store.Attempt{Outcome: store.OutcomeFailed}}}}
		equal(t, "first settle to "+string(to), t.commit(b).Settles[0], store.Done)
		equal(t, "the same batch again", t.commit(b).Settles[0], store.AlreadySettled)
		b.Settles[0].To = store.Discarded
		equal(t, "another end under the same token", t.commit(b).Settles[0], store.AlreadySettled)
		got := t.get(id)
		equal(t, "state", got.State, to)
		equal(t, "spent", got.Spent, 1)
		equal(t, "attempts", len(got.Attempts), 1)
	}

	d := t.get(t.put("twice in one batch", "other"))
	leased := t.lease("other")
	s := store.Settle{Delivery: d.ID, Token: leased.Token, To: store.Processed}
	res := t.commit(store.Batch{Settles: []store.Settle{s, s}})
	sameItems(t, "twice in one batch", res.Settles, []store.Result{store.Done, store.AlreadySettled})
}

// noIDs are of no delivery, and may come from outside.
func noIDs() []string {
	return []string{"", "nobody's", "0", "-1", "9223372036854775808", "a\x00b", "\xff\xfe", "'); drop table x; --", string(make([]byte, 1024))}
}

// A settle of a delivery that does not exist is no error of the batch.
func settleUnknown(t *tester) {
	t.put("e", "work")
	for _, id := range noIDs() {
		b := store.Batch{
			Settles: []store.Settle{{Delivery: id, Token: 1, To: store.Processed}},
			Renews:  []store.Renew{{Delivery: id, Token: 1, For: lease}},
		}
		res := t.commit(b)
		equal(t, fmt.Sprintf("settle of %q", id), res.Settles[0], store.LeaseLost)
		equal(t, fmt.Sprintf("renewal of %q", id), res.Renews[0], store.LeaseLost)
	}
}

// A settle of a delivery that was purged is LeaseLost.
func settlePurged(t *tester) {
	t.put("e", "work")
	d := t.lease("work")
	t.processed(d)
	t.advance(2 * time.Hour)
	t.purge(store.Retention{Processed: time.Hour})
	equal(t, "settle", t.settle(store.Settle{Delivery: d.ID, Token: d.Token, To: store.Processed}), store.LeaseLost)
	equal(t, "renewal", t.renew(d, lease), store.LeaseLost)
}

// Whatever the result of one settle, the other items are written.
func settleOthers(t *tester) {
	t.put("a", "work")
	t.put("b", "work")
	leased := t.claimAll("work")
	b := store.Batch{
		Adds: []store.Add{event("new", "other")},
		Settles: []store.Settle{
			{Delivery: leased[0].ID, Token: 7, To: store.Dead},
			{Delivery: leased[1].ID, Token: leased[1].Token, To: store.Processed},
		},
		Renews: []store.Renew{{Delivery: leased[0].ID, Token: leased[0].Token, For: time.Hour}},
		Holds:  []store.Hold{{Queue: queue, Destination: "other", Kind: store.Paused}},
	}
	res := t.commit(b)
	sameItems(t, "settles", res.Settles, []store.Result{store.LeaseLost, store.Done})
	t.wantState(leased[1].ID, store.Processed)
	t.wantState(res.Adds[0].Deliveries[0].ID, store.Queued)
	t.nothing("other", "held in the batch")
	t.advance(2 * lease)
	t.nothing("work", "renewed in the batch")
}

// A redrive gives a full budget and leaves the token, so that a worker from
// before it stays fenced.
func settleTokens(t *tester) {
	id := t.put("e", "work")
	var old store.Delivery
	for i := range 3 {
		d := t.lease("work")
		equal(t, "token", d.Token, uint64(2*i+1))
		t.failed(d, 0)
		d = t.lease("work")
		t.died(d)
		equal(t, "redriven", t.update(store.Change{From: []store.State{store.Dead}, To: store.Queued}, id), 1)
		equal(t, "token after the redrive", t.get(id).Token, d.Token)
		old = d
	}
	settle := store.Settle{Delivery: id, Token: old.Token, To: store.Discarded}
	equal(t, "settle from before the redrive, before another claim", t.settle(settle), store.AlreadySettled)
	d := t.lease("work")
	equal(t, "token", d.Token, old.Token+1)
	equal(t, "settle from before the redrive, after another claim", t.settle(settle), store.LeaseLost)
	t.processed(d)
}

// An attempt comes back with all its fields, under the token of its settle.
func settleAttempt(t *tester) {
	id := t.put("e", "work")
	start := time.Date(2026, 5, 4, 3, 2, 1, 987654000, time.UTC)
	want := store.Attempt{
		Token: 99, Start: start, Duration: 1500 * time.Millisecond,
		DNS: time.Millisecond, Connect: 2 * time.Millisecond, TLS: 3 * time.Millisecond, FirstByte: 4 * time.Millisecond,
		Outcome: store.OutcomeFailed, Class: "http_5xx", Err: "503 \x00 and \xff bytes", Status: 503,
		Address: "192.0.2.1:443", TraceID: "0af7651916cd43dd8448eb211c80319c", Response: []byte("sorry\x00\xff"),
	}
	t.settled(t.lease("work"), store.Settle{To: store.Queued, Spend: true, Attempt: &want})
	got := t.get(id).Attempts
	equal(t, "attempts", len(got), 1)
	want.Token = 1
	sameAttempt(t, got[0], want)

	want.Token, want.Outcome, want.Status, want.Response = 2, store.OutcomeProcessed, 204, nil
	t.settled(t.lease("work"), store.Settle{To: store.Processed, Attempt: &want})
	got = t.get(id).Attempts
	equal(t, "attempts", len(got), 2)
	sameAttempt(t, got[1], want)

	// So does a first success, which a store may keep in the delivery's row.
	first := t.put("first", "work")
	want.Token = 1
	t.settled(t.lease("work"), store.Settle{To: store.Processed, Attempt: &want})
	got = t.get(first).Attempts
	equal(t, "attempts of a first success", len(got), 1)
	sameAttempt(t, got[0], want)
	equal(t, "attempts found without IDs", len(t.of("first").Attempts), 0)
}

func sameAttempt(t *tester, got, want store.Attempt) {
	t.Helper()
	if diff := got.Start.Sub(want.Start).Abs(); diff >= time.Microsecond {
		t.Errorf("start is %v, want %v", got.Start, want.Start)
	}
	equal(t, "token", got.Token, want.Token)
	equal(t, "duration", got.Duration, want.Duration)
	equal(t, "phases", [4]time.Duration{got.DNS, got.Connect, got.TLS, got.FirstByte}, [4]time.Duration{want.DNS, want.Connect, want.TLS, want.FirstByte})
	equal(t, "outcome", got.Outcome, want.Outcome)
	equal(t, "class", got.Class, want.Class)
	equal(t, "error", got.Err, want.Err)
	equal(t, "status", got.Status, want.Status)
	equal(t, "address", got.Address, want.Address)
	equal(t, "trace", got.TraceID, want.TraceID)
	equal(t, "response", string(got.Response), string(want.Response))
}

// Attempts stand in the order of their tokens; those handed back leave gaps.
func settleAttempts(t *tester) {
	id := t.put("e", "work")
	handedBack := []uint64{2, 5}
	var want []uint64
	for token := uint64(1); token <= 12; token++ {
		d := t.lease("work")
		if slices.Contains(handedBack, token) {
			t.settled(d, store.Settle{To: store.Queued})
			continue
		}
		t.failed(d, 0)
		want = append(want, token)
	}
	var got []uint64
	for _, a := range t.get(id).Attempts {
		got = append(got, a.Token)
	}
	sameItems(t, "tokens of the attempts", got, want)
}

// FailingSince is when a destination failed first after its last success. It
// comes with Claim and Stats; deferrals and hand-backs do not touch it.
func settleFailing(t *tester) {
	failing := func(when string, since time.Time, before time.Time) {
		t.Helper()
		if before.IsZero() {
			equal(t, when+": FailingSince is set", !since.IsZero(), false)
			return
		}
		t.around(when+": FailingSince", since, before, 0)
	}
	attempt := func(outcome string) store.Settle {
		return store.Settle{To: store.Queued, Attempt: &store.Attempt{Outcome: outcome}}
	}
	t.put("e", "work")
	t.put("f", "other")
	d := t.lease("work")
	failing("at first", d.FailingSince, time.Time{})
	for _, s := range []store.Settle{attempt(store.OutcomeDeferred), {To: store.Queued}} {
		t.settled(d, s)
		d = t.lease("work")
		failing("deferred or handed back", d.FailingSince, time.Time{})
	}

	before := t.now()
	t.settled(d, attempt(store.OutcomeFailed))
	d = t.lease("work")
	failing("after a failure", d.FailingSince, before)
	since := d.FailingSince
	t.advance(time.Hour)
	for _, s := range []store.Settle{attempt(store.OutcomeFailed), attempt(store.OutcomeDeferred), {To: store.Queued}} {
		t.settled(d, s)
		d = t.lease("work")
		equal(t, "FailingSince is still that of the first failure", d.FailingSince.Equal(since), true)
	}
	failing("of another destination", t.lease("other").FailingSince, time.Time{})
	t.eventually(func() string {
		all := t.stats()
		if !all["work"].FailingSince.Equal(since) || !all["other"].FailingSince.IsZero() {
			return fmt.Sprintf("FailingSince in Stats: got %v and %v, want %v and zero", all["work"].FailingSince, all["other"].FailingSince, since)
		}
		return ""
	})

	t.processed(d)
	t.put("g", "work")
	d = t.lease("work")
	failing("after a success", d.FailingSince, time.Time{})
	before = t.now()
	t.died(d)
	t.put("h", "work")
	failing("after a death", t.lease("work").FailingSince, before)
}
