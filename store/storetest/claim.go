package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/surehook/webhook/store"
)

var claimCases = []testCase{
	{name: "Claim/GivesTheWholeDelivery", run: claimWhole},
	{name: "Claim/NothingIsNoError", run: claimNothing},
	{name: "Claim/TokenGrowsByOne", run: claimTokens},
	{name: "Claim/LeasedIsNotClaimed", run: claimLeased},
	{name: "Claim/LongestDueFirst", run: claimLongestDue},
	{name: "Claim/WithinFreeSlots", run: claimFree},
	{name: "Claim/AtMostMax", run: claimMax},
	{name: "Claim/AtMostBytesButOne", run: claimBytes},
	{name: "Claim/ExpiredLeaseIsTakenOver", run: claimExpired},
	{name: "Claim/LostAttemptIsRecorded", run: claimLost},
	{name: "Claim/UnansweredIsNotLost", run: claimUnanswered},
	{name: "Claim/OthersAreNotTouched", run: claimOthers},
	{name: "Claim/CostsWhatItFinds", run: claimCost},
	{name: "Claim/InTransactionIsRefused", run: claimInTransaction},
}

// A claimed delivery is leased, and has all that an attempt needs.
func claimWhole(t *tester) {
	a := ordered("e", "work", "key")
	a.To[0].After = time.Second
	id := t.addOne(a).Deliveries[0].ID
	t.advance(10 * time.Second)
	before := t.now()
	ds := t.claim(store.Claim{Other: 5, Lease: 30 * time.Second})
	equal(t, "deliveries", len(ds), 1)
	d := ds[0]
	equal(t, "id", d.ID, id)
	equal(t, "queue", d.Queue, queue)
	equal(t, "destination", d.Destination, "work")
	equal(t, "ordering key", d.OrderKey, "key")
	equal(t, "state", d.State, store.Processing)
	equal(t, "token", d.Token, 1)
	equal(t, "Received is unchanged", d.Received.Equal(t.get(id).Received), true)
	t.around("Until", d.Until, before, 30*time.Second)
	sameRecord(t, "Claim", d.Record, a.Record)

	got := t.get(id)
	equal(t, "state found", got.State, store.Processing)
	equal(t, "token found", got.Token, 1)
	equal(t, "Until found", got.Until.Equal(d.Until), true)
}

// Where nothing is due, Claim returns nothing, and no error: from a queue that
// was never used too.
func claimNothing(t *tester) {
	equal(t, "deliveries from an empty queue", len(t.claimAll()), 0)
	t.put("e", "work")
	equal(t, "deliveries for another destination", len(t.claimAll("other")), 0)
	equal(t, "deliveries for no slots", len(t.claim(store.Claim{})), 0)
	t.nothing("\x00\xff", "never seen")
}

// Each claim has a token one greater than the last, however the lease ended.
func claimTokens(t *tester) {
	t.put("e", "work")
	for token := uint64(1); token <= 9; token++ {
		d := t.lease("work")
		equal(t, "token", d.Token, token)
		switch token % 3 {
		case 0:
			t.failed(d, 0)
		case 1:
			t.settled(d, store.Settle{To: store.Queued})
		case 2:
			t.advance(2 * lease)
		}
	}
}

// A delivery is not claimed while another's lease is current.
func claimLeased(t *tester) {
	for i := range 10 {
		t.put(fmt.Sprint(i), "work")
	}
	seen := map[string]bool{}
	for range 4 {
		for _, d := range t.claim(store.Claim{Free: map[string]int{"work": 3}}) {
			equal(t, d.Record.ID+" claimed before", seen[d.ID], false)
			seen[d.ID] = true
		}
	}
	equal(t, "deliveries claimed", len(seen), 10)
	t.advance(lease - 10*time.Second)
	t.nothing("work", "leased for ten seconds more")
	t.advance(20 * time.Second)
	equal(t, "deliveries claimed after the lease", len(t.claimAll("work")), 10)
}

// Within a destination and tenant the longest due goes first.
func claimLongestDue(t *tester) {
	var adds []store.Add
	for _, i := range []int{4, 0, 3, 1, 2} {
		a := event(fmt.Sprint(i), "work")
		a.To[0].After = time.Duration(i) * time.Minute
		adds = append(adds, a)
	}
	t.add(adds...)
	t.advance(10 * time.Minute)
	var got []string
	for range adds {
		got = append(got, t.lease("work").Record.ID)
	}
	sameItems(t, "claimed one by one", got, []string{"0", "1", "2", "3", "4"})

	// So does an expired lease, which was due before.
	t.advance(2 * lease)
	equal(t, "first of the expired", t.lease("work").Token, 2)
}

// Of no destination more is taken than its free slots; those that are not named
// have Other.
func claimFree(t *tester) {
	for i := range 6 {
		t.add(event(fmt.Sprint(i), "a", "b", "c", "d"))
	}
	count := func(c store.Claim) string {
		t.Helper()
		n := map[string]int{}
		for _, d := range t.claim(c) {
			n[d.Destination]++
		}
		return fmt.Sprint(n)
	}
	equal(t, "a has 2, b has 1, others none", count(store.Claim{Free: map[string]int{"a": 2, "b": 1}}), "map[a:2 b:1]")
	equal(t, "a has none, others 1", count(store.Claim{Free: map[string]int{"a": 0}, Other: 1}), "map[b:1 c:1 d:1]")
	equal(t, "a has 3, others 2", count(store.Claim{Free: map[string]int{"a": 3}, Other: 2}), "map[a:3 b:2 c:2 d:2]")
	equal(t, "more slots than there is", count(store.Claim{Other: 99}), "map[a:1 b:2 c:3 d:3]")
	t.advance(2 * lease)
	equal(t, "expired leases too", count(store.Claim{Free: map[string]int{"a": 2}}), "map[a:2]")
}

// No more than Max deliveries are taken, over all destinations; 256 if it is
// not set.
func claimMax(t *tester) {
	var adds []store.Add
	for i := range 100 {
		adds = append(adds, event(fmt.Sprint(i), "a", "b", "c"))
	}
	t.add(adds...)
	equal(t, "Max 7", len(t.claim(store.Claim{Other: 5, Max: 7})), 7)
	equal(t, "Max 1", len(t.claim(store.Claim{Other: 5, Max: 1})), 1)
	equal(t, "Max not set", len(t.claim(store.Claim{Other: 1000})), 256)
	equal(t, "Max negative", len(t.claim(store.Claim{Other: 1000, Max: -1})), 300-7-1-256)
}

// No more than Bytes of bodies are taken, but always one delivery; 8 MiB if it
// is not set.
func claimBytes(t *tester) {
	sized := func(id string, n int) store.Add {
		return eventOf(&store.Record{ID: id, Body: make([]byte, n)}, "work")
	}
	for i := range 6 {
		t.add(sized(fmt.Sprint(i), 1000))
	}
	claim := store.Claim{Other: 10, Bytes: 2500}
	equal(t, "bodies of 1000, Bytes 2500", len(t.claim(claim)), 2)
	claim.Bytes = 2000
	equal(t, "bodies of 1000, Bytes 2000", len(t.claim(claim)), 2)
	claim.Bytes = 10
	equal(t, "bodies of 1000, Bytes 10", len(t.claim(claim)), 1)
	claim.Bytes = 1
	equal(t, "bodies of 1000, Bytes 1", len(t.claim(claim)), 1)

	for i := range 6 {
		t.add(sized(fmt.Sprint("large ", i), 3<<20))
	}
	claim.Bytes = 0
	n, bytes := 0, 0
	for ds := t.claim(claim); len(ds) > 0; ds = t.claim(claim) {
		bytes = 0
		for _, d := range ds {
			bytes += len(d.Record.Body)
		}
		if bytes > 8<<20 {
			t.Errorf("Bytes not set: %d bytes in one claim, want at most 8 MiB", bytes)
		}
		n += len(ds)
	}
	equal(t, "deliveries claimed", n, 6)
}

// An expired lease is taken over, with a new token and one lost attempt more.
func claimExpired(t *tester) {
	id := t.put("e", "work")
	for i := range 4 {
		d := t.lease("work")
		equal(t, "delivery", d.ID, id)
		equal(t, "lost", d.Lost, i)
		equal(t, "spent and deferred", [2]int{d.Spent, d.Deferred}, [2]int{})
		t.advance(lease + time.Second)
		equal(t, "lost, found before the takeover", t.get(id).Lost, i)
	}
	d := t.lease("work")
	t.settled(d, store.Settle{To: store.Queued})
	equal(t, "lost after a hand-back", t.lease("work").Lost, 4)
}

// The lost attempt is recorded in the commit that takes over, under its token.
func claimLost(t *tester) {
	id := t.put("e", "work")
	t.lease("work")
	t.advance(2 * lease)
	t.failed(t.lease("work"), 0)
	t.lease("work")
	t.advance(2 * lease)
	t.lease("work")

	var got []string
	for _, a := range t.get(id).Attempts {
		got = append(got, fmt.Sprintf("%d %s", a.Token, a.Outcome))
	}
	sameItems(t, "attempts", got, []string{"1 lost", "2 failed", "3 lost"})
	equal(t, "lost", t.get(id).Lost, 2)
	equal(t, "spent", t.get(id).Spent, 1)
}

// Deliveries for destinations that were not asked for are not touched: those
// whose lease has run out neither.
func claimOthers(t *tester) {
	a := event("leased", "theirs")
	a.To[0].Lease = lease
	leased := t.addOne(a).Deliveries[0]
	queued := t.put("queued", "theirs")
	t.put("e", "ours")
	t.advance(2 * lease)
	equal(t, "deliveries claimed", len(t.claimAll("ours")), 1)

	d := t.get(queued)
	equal(t, "state of the queued", d.State, store.Queued)
	equal(t, "token of the queued", d.Token, 0)
	d = t.get(leased.ID)
	equal(t, "token of the leased", d.Token, 1)
	equal(t, "lost of the leased", d.Lost, 0)
	t.processed(leased)
}

// What a claim costs depends on what it returns, not on how much is held, not yet
// due, blocked, or due for destinations that were not asked for.
func claimCost(t *tester) {
	const (
		crowd = 2000
		tries = 15
	)
	quickest := func() time.Duration {
		var spans []time.Duration
		for range tries {
			t.put(fmt.Sprintf("%x", nonce()), "work")
			start := time.Now()
			d := t.lease("work")
			spans = append(spans, time.Since(start))
			t.processed(d)
		}
		return slices.Min(spans)
	}
	t.hold(store.Hold{Destination: "held", Kind: store.Paused})
	t.hold(store.Hold{Destination: "work", OrderKey: "held", Kind: store.Paused})
	few := quickest()
	for i := 0; i < crowd; i += 500 {
		var adds []store.Add
		for j := range 500 {
			a := event(fmt.Sprint(i, j), "held", "theirs")
			a.To = append(a.To,
				store.Target{Destination: "work", OrderKey: "held"},
				store.Target{Destination: "later", After: time.Hour},
				store.Target{Destination: "keyed", OrderKey: "blocked"})
			adds = append(adds, a)
		}
		t.add(adds...)
	}
	t.died(t.lease("keyed"))
	many := quickest()
	// Looking at each of the crowd costs hundreds of times more, and the
	// quickest of many tries is not a busy machine's.
	if many > 20*few+2*time.Millisecond {
		t.Errorf("a claim of one takes %v beside %d that it may not return, %v without", many, 5*crowd, few)
	}
}

// Claim with the context of a transaction's closure would wait for its end.
func claimInTransaction(t *tester) {
	t.put("e", "work")
	if ds, err := t.st.Claim(store.InTx(t.ctx), queue, store.Claim{Other: 1, Lease: lease}); !errors.Is(err, store.ErrInTransaction) {
		t.Fatalf("Claim returned %s, %v, want ErrInTransaction", ids(ds), err)
	}
	equal(t, "token", t.lease("work").Token, 1)
}

// What a claim leased whose answer never came was not attempted: a claim that names
// its nonce, and takes that over, counts nothing as lost.
func claimUnanswered(t *tester) {
	t.put("e", "work")
	nonce := func(n byte) [16]byte { return [16]byte{15: n} }
	for i, step := range []struct {
		nonce      byte
		unanswered []byte
		lost       int
	}{
		{nonce: 1, lost: 0},
		{nonce: 2, unanswered: []byte{1}, lost: 0},
		{nonce: 3, unanswered: []byte{1, 2}, lost: 0},
		{nonce: 4, unanswered: []byte{1, 2}, lost: 1},
		{nonce: 5, lost: 2},
		{nonce: 5, lost: 3},
		{nonce: 6, unanswered: []byte{4, 5}, lost: 3},
		{nonce: 0, unanswered: []byte{7}, lost: 4},
		{nonce: 7, unanswered: []byte{6}, lost: 5},
	} {
		c := store.Claim{Other: 5, Lease: lease, Nonce: nonce(step.nonce)}
		for _, n := range step.unanswered {
			c.Unanswered = append(c.Unanswered, nonce(n))
		}
		ds := t.claim(c)
		equal(t, fmt.Sprintf("claim %d: deliveries", i), len(ds), 1)
		equal(t, fmt.Sprintf("claim %d: token", i), ds[0].Token, uint64(i+1))
		equal(t, fmt.Sprintf("claim %d: lost", i), ds[0].Lost, step.lost)
		n := 0
		for _, a := range t.get(ds[0].ID).Attempts {
			if a.Outcome == store.OutcomeLost {
				n++
			}
		}
		equal(t, fmt.Sprintf("claim %d: lost attempts on record", i), n, step.lost)
		t.advance(2 * lease)
	}
}
