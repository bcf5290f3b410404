package storetest

import (
	"fmt"
	"time"

	"github.com/surehook/webhook/store"
)

var addCases = []testCase{
	{name: "Add/StoresADeliveryForEachTarget", run: addStores},
	{name: "Add/IDsAreUniqueInAllStores", run: addIDs},
	{name: "Add/KeepsTheRecord", run: addRecord},
	{name: "Add/DueAfterItsSpan", run: addAfter},
	{name: "Add/WithoutTargetsIsKnown", run: addNoTargets},
	{name: "Add/QueuesAreApart", run: addQueues},
	{name: "Add/SameNonceSameAnswer", run: addSameNonce},
	{name: "Add/SameNonceSameLeases", run: addSameLeases},
	{name: "Add/SameNonceAfterTakeoverHasNoLease", run: addReplayTakenOver},
	{name: "Add/SameNonceTellsWhatBecameOfIt", run: addReplaySettled},
	{name: "Add/BornLeased", run: addBornLeased},
	{name: "Add/BornLeaseRunsOut", run: addBornRunsOut},
	{name: "Add/NotBornLeasedUnlessClaimable", run: addNotBorn},
}

// A new event has a queued delivery for each of its targets, in their order.
func addStores(t *tester) {
	before := t.now()
	r := t.addOne(event("e", "b", "a", "c"))
	equal(t, "duplicate", r.Duplicate, false)
	equal(t, "missing", r.Missing, 0)
	equal(t, "changed", r.Changed, false)

	seen := map[string]bool{}
	for i, destination := range []string{"b", "a", "c"} {
		added := r.Deliveries[i]
		if added.ID == "" || seen[added.ID] {
			t.Fatalf("delivery %d has the id %q, want one of its own", i, added.ID)
		}
		seen[added.ID] = true
		equal(t, "state in Added", added.State, store.Queued)
		equal(t, "token in Added", added.Token, 0)
		t.around("Received in Added", added.Received, before, 0)

		d := t.get(added.ID)
		equal(t, "queue", d.Queue, queue)
		equal(t, "destination", d.Destination, destination)
		equal(t, "state", d.State, store.Queued)
		equal(t, "token", d.Token, 0)
		equal(t, "counters", [3]int{d.Spent, d.Deferred, d.Lost}, [3]int{})
		equal(t, "lease", d.Until.IsZero(), true)
		equal(t, "attempts", len(d.Attempts), 0)
		equal(t, "Received is that of Added", d.Received.Equal(added.Received), true)
		t.around("Due", d.Due, before, 0)
	}
}

// The id of a delivery is unique in all stores, so that it can be an idempotency
// key elsewhere: two stores give none twice, for the same events neither.
func addIDs(t *tester) {
	seen := map[string]bool{}
	for range 2 {
		for i := range 20 {
			id := t.put(fmt.Sprint(i), "work")
			equal(t, "delivery "+id+" is in another store too", seen[id], false)
			seen[id] = true
		}
		t.st = t.b.Open(t)
	}
}

// A record comes back as it was, its time to the microsecond and in UTC.
func addRecord(t *tester) {
	when := time.Date(2026, 3, 1, 23, 59, 59, 123456789, time.FixedZone("far", 5*3600+1800))
	timed := &store.Record{
		Tenant: "acme", Source: "shop", ID: "timed", Type: "order.paid", Subject: "order/7",
		Time: when, Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Head: []byte(`{"b":1, "a" : 1.0}`), Body: []byte("body"),
	}
	bare := &store.Record{ID: "bare"}
	for _, want := range []*store.Record{timed, bare} {
		id := t.addOne(eventOf(want, "work")).Deliveries[0].ID
		sameRecord(t, "Find by ID", t.get(id).Record, want)
		sameRecord(t, "Claim", t.lease("work").Record, want)
	}
	got := t.of("timed").Record
	if diff := when.Sub(got.Time).Abs(); diff >= time.Microsecond || got.Time.Nanosecond()%1000 != 0 || got.Time.Location() != time.UTC {
		t.Errorf("Time is %v, want %v to the microsecond and in UTC", got.Time, when)
	}
}

// sameRecord fails unless got has what want has.
func sameRecord(t *tester, how string, got, want *store.Record) {
	t.Helper()
	if got == nil {
		t.Fatalf("%s: no record", how)
	}
	equal(t, how+": tenant", got.Tenant, want.Tenant)
	equal(t, how+": source", got.Source, want.Source)
	equal(t, how+": id", got.ID, want.ID)
	equal(t, how+": type", got.Type, want.Type)
	equal(t, how+": subject", got.Subject, want.Subject)
	equal(t, how+": trace", got.Trace, want.Trace)
	equal(t, how+": time is zero", got.Time.IsZero(), want.Time.IsZero())
	equal(t, how+": head", string(got.Head), string(want.Head))
	equal(t, how+": body", string(got.Body), string(want.Body))
}

// After is counted from the add, by the store's clock.
func addAfter(t *tester) {
	a := event("e", "work")
	a.To[0].After = time.Hour
	before := t.now()
	id := t.addOne(a).Deliveries[0].ID
	t.around("Due", t.get(id).Due, before, time.Hour)
	t.advance(59 * time.Minute)
	t.nothing("work", "a minute before it is due")
	t.advance(2 * time.Minute)
	equal(t, "delivery claimed", t.lease("work").ID, id)
}

// An event without targets is stored and known, and that is all.
func addNoTargets(t *tester) {
	a := event("e")
	equal(t, "first: duplicate", t.addOne(a).Duplicate, false)
	equal(t, "deliveries", len(t.find(store.Filter{})), 0)
	equal(t, "second: duplicate", t.addOne(again(a)).Duplicate, true)

	r := t.addOne(again(a, "work"))
	equal(t, "third, for a destination: duplicate", r.Duplicate, true)
	equal(t, "third, for a destination: missing", r.Missing, 1)
	equal(t, "delivery claimed", t.lease("work").ID, r.Deliveries[0].ID)
}

// A queue is a namespace: what is in one is not seen from another.
func addQueues(t *tester) {
	here := event("e", "work")
	there := event("e", "work")
	there.Queue, there.Identity = "outbox", digest("outbox", "acme", "shop", "e")
	equal(t, "the same id in another queue: duplicate", t.add(here, there)[1].Duplicate, false)
	t.commit(store.Batch{Holds: []store.Hold{{Queue: "outbox", Destination: "work", Kind: store.Paused}}})

	equal(t, "deliveries found", len(t.find(store.Filter{})), 1)
	equal(t, "deliveries claimed", len(t.claimAll()), 1)
	if ds, err := t.st.Claim(t.ctx, "outbox", store.Claim{Other: 9, Lease: lease}); err != nil || len(ds) != 0 {
		t.Fatalf("claim in the queue whose destination is held returned %s, %v", ids(ds), err)
	}
	t.eventually(func() string {
		if s := t.stats()["work"]; s.Processing != 1 || len(s.Held) != 0 {
			return "the figures of one queue have what is in another"
		}
		return ""
	})
}

// The same add, tried again after an unknown outcome, is reported as added, with
// the same deliveries, and adds nothing; whatever stands beside it now.
func addSameNonce(t *tester) {
	a := event("e", "a", "b")
	a.Keys = [][32]byte{digest("k1"), digest("k2")}
	first := t.addOne(a)
	t.advance(time.Hour)
	for range 2 {
		r := t.add(event("beside", "a"), a, again(a))
		equal(t, "duplicate", r[1].Duplicate, false)
		equal(t, "missing", r[1].Missing, 0)
		equal(t, "changed", r[1].Changed, false)
		for i, d := range r[1].Deliveries {
			equal(t, "delivery", d.ID, first.Deliveries[i].ID)
			equal(t, "state", d.State, store.Queued)
			equal(t, "received when it was first", d.Received.Equal(first.Deliveries[i].Received), true)
		}
		equal(t, "another arrival beside it: duplicate", r[2].Duplicate, true)
	}
	equal(t, "deliveries of the event", len(t.find(store.Filter{EventID: "e"})), 2)

	twice := event("twice in one batch", "a")
	r := t.add(twice, twice)
	equal(t, "twice in one batch: duplicate", r[1].Duplicate, false)
	equal(t, "twice in one batch: delivery", r[1].Deliveries[0].ID, r[0].Deliveries[0].ID)
}

// The same add has the leases that it was given, as long as it has them.
func addSameLeases(t *tester) {
	a := event("e", "born", "later")
	a.To[0].Lease = lease
	a.To[1].Lease, a.To[1].After = lease, time.Minute
	first := t.addOne(a).Deliveries
	t.advance(10 * time.Second)
	second := t.addOne(a).Deliveries
	equal(t, "token", second[0].Token, 1)
	equal(t, "state", second[0].State, store.Processing)
	equal(t, "end of the lease is the same", second[0].Until.Equal(first[0].Until), true)
	equal(t, "token of the one that was not leased", second[1].Token, 0)

	t.nothing("born", "leased to whoever adds it")
	equal(t, "settle under the token", t.settle(store.Settle{Delivery: first[0].ID, Token: 1, To: store.Processed}), store.Done)
}

// A lease that somebody else took over is not given again.
func addReplayTakenOver(t *tester) {
	a := event("e", "work")
	a.To[0].Lease = lease
	t.add(a)
	t.advance(2 * lease)
	equal(t, "token of the takeover", t.lease("work").Token, 2)

	r := t.addOne(a)
	equal(t, "duplicate", r.Duplicate, false)
	equal(t, "token", r.Deliveries[0].Token, 0)
	equal(t, "lease", r.Deliveries[0].Until.IsZero(), true)
	equal(t, "state", r.Deliveries[0].State, store.Processing)

	b := event("never born leased", "other")
	t.add(b)
	t.lease("other")
	equal(t, "token of a claim, told to the add", t.addOne(b).Deliveries[0].Token, 0)
}

// A settled delivery is told with its state and without a lease.
func addReplaySettled(t *tester) {
	a := event("e", "a", "b")
	a.To[0].Lease = lease
	first := t.addOne(a).Deliveries
	t.processed(first[0])
	t.died(t.lease("b"))
	r := t.addOne(a)
	equal(t, "duplicate", r.Duplicate, false)
	equal(t, "delivery", r.Deliveries[0].ID, first[0].ID)
	equal(t, "state of a", r.Deliveries[0].State, store.Processed)
	equal(t, "token of a", r.Deliveries[0].Token, 0)
	equal(t, "state of b", r.Deliveries[1].State, store.Dead)
	t.nothing("a", "added again after it was processed")
}

// A target with Lease is leased from birth, with token 1, and not to be claimed.
func addBornLeased(t *tester) {
	before := t.now()
	a := event("e", "born", "queued")
	a.To[0].Lease = 30 * time.Second
	r := t.addOne(a).Deliveries
	equal(t, "token", r[0].Token, 1)
	equal(t, "state", r[0].State, store.Processing)
	t.around("Until", r[0].Until, before, 30*time.Second)
	equal(t, "token of the other", r[1].Token, 0)

	d := t.get(r[0].ID)
	equal(t, "token found", d.Token, 1)
	equal(t, "end of the lease found", d.Until.Equal(r[0].Until), true)
	sameItems(t, "claimed", destinations(t.claimAll()), []string{"queued"})
	t.processed(r[0])
	t.wantState(r[0].ID, store.Processed)
}

func destinations(ds []store.Delivery) []string {
	var list []string
	for _, d := range ds {
		list = append(list, d.Destination)
	}
	return list
}

// A born lease runs out like any other, and its loss is recorded.
func addBornRunsOut(t *tester) {
	a := event("e", "work")
	a.To[0].Lease = lease
	born := t.addOne(a).Deliveries[0]
	equal(t, "renewal", t.renew(born, 2*lease), store.Done)
	t.advance(lease + lease/2)
	t.nothing("work", "renewed")
	t.advance(lease)
	d := t.lease("work")
	equal(t, "token", d.Token, 2)
	equal(t, "lost", d.Lost, 1)
	equal(t, "settle under the born token", t.settle(store.Settle{Delivery: born.ID, Token: 1, To: store.Processed}), store.LeaseLost)
}

// A delivery is not born leased where a claim would not return it: its
// destination or key is held, it is not due, or it is not the head of its key.
func addNotBorn(t *tester) {
	for _, kind := range kinds {
		t.hold(store.Hold{Destination: string(kind), Kind: kind})
	}
	t.hold(store.Hold{Destination: "by key", OrderKey: "held", Kind: store.Paused})
	t.add(ordered("head", "behind", "k"))

	to := []store.Target{
		{Destination: string(store.Paused)},
		{Destination: string(store.Disabled)},
		{Destination: string(store.Broken)},
		{Destination: string(store.Slowed)},
		{Destination: "by key", OrderKey: "held"},
		{Destination: "later", After: time.Second},
		{Destination: "behind", OrderKey: "k"},
		{Destination: "head", OrderKey: "k"},
	}
	for i := range to {
		to[i].Lease = lease
	}
	a := event("e")
	a.To = to
	for i, d := range t.addOne(a).Deliveries {
		want, state := uint64(0), store.Queued
		if to[i].Destination == "head" {
			want, state = 1, store.Processing
		}
		equal(t, to[i].Destination+": token", d.Token, want)
		equal(t, to[i].Destination+": state", d.State, state)
		equal(t, to[i].Destination+": leased", !d.Until.IsZero(), want == 1)
	}
}
