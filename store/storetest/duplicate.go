package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/surehook/webhook/store"
)

var duplicateCases = []testCase{
	{name: "Add/DuplicateByIdentity", run: duplicateIdentity},
	{name: "Add/DuplicateByKey", run: duplicateKey},
	{name: "Add/DuplicateLeavesNoIdentityAndNoKeys", run: duplicateUnrecorded},
	{name: "Add/IdentityBeforeKeys", run: duplicateIdentityFirst},
	{name: "Add/KeysInTheirOrder", run: duplicateKeyOrder},
	{name: "Add/KeysAndIdentitiesShareASpace", run: duplicateOneSpace},
	{name: "Add/TwoOfOneBatchSeeEachOther", run: duplicateInBatch},
	{name: "Add/ChangedTellsAnotherBody", run: duplicateChanged},
	{name: "Add/RefuseChangedWritesNothing", run: duplicateRefused},
	{name: "Add/RefusedOneFailsAlone", run: duplicateRefusedAlone},
	{name: "Add/MissingDeliveriesAreAdded", run: duplicateMissing},
	{name: "Add/MissingDeliveriesHaveTheFirstBody", run: duplicateFirstBody},
	{name: "Add/MissingDeliveriesAreNotLeased", run: duplicateNotLeased},
	{name: "Add/KnownNamesSurvivePurge", run: duplicatePurged},
	{name: "Add/MissingAfterPurgeHasTheBodyAtHand", run: duplicatePurgedBody},
	{name: "Add/KnownThoughItsWindowHasPassed", run: duplicateLate},
}

// A second arrival is told the deliveries of the first, as they stand now.
func duplicateIdentity(t *tester) {
	a := event("e", "a", "b", "c")
	first := t.addOne(a).Deliveries
	t.processed(t.lease("a"))
	leased := t.lease("b")
	t.advance(time.Minute / 2)

	r := t.addOne(again(a, "c", "a", "b"))
	equal(t, "duplicate", r.Duplicate, true)
	equal(t, "missing", r.Missing, 0)
	equal(t, "changed", r.Changed, false)
	for i, want := range []struct {
		id    string
		state store.State
	}{{first[2].ID, store.Queued}, {first[0].ID, store.Processed}, {first[1].ID, store.Processing}} {
		d := r.Deliveries[i]
		equal(t, fmt.Sprintf("delivery %d", i), d.ID, want.id)
		equal(t, fmt.Sprintf("delivery %d: state", i), d.State, want.state)
		equal(t, fmt.Sprintf("delivery %d: token", i), d.Token, 0)
		equal(t, fmt.Sprintf("delivery %d: leased to the duplicate", i), !d.Until.IsZero(), false)
		equal(t, fmt.Sprintf("delivery %d: received when the first was", i), d.Received.Equal(first[0].Received), true)
	}
	equal(t, "deliveries", len(t.find(store.Filter{})), 3)
	t.processed(leased)
	sameItems(t, "claimed afterwards", destinations(t.claimAll()), []string{"c"})
}

// keyed is an event with replay keys.
func keyed(id string, keys ...string) store.Add {
	a := event(id, "work")
	for _, k := range keys {
		a.Keys = append(a.Keys, digest(k))
	}
	return a
}

// An event is a duplicate by any of its keys, whatever its id.
func duplicateKey(t *tester) {
	id := t.addOne(keyed("e", "k1", "k2")).Deliveries[0].ID
	for _, a := range []store.Add{keyed("x", "k2"), keyed("y", "fresh", "k1"), keyed("e", "fresh")} {
		r := t.addOne(a)
		equal(t, a.Record.ID+": duplicate", r.Duplicate, true)
		equal(t, a.Record.ID+": delivery", r.Deliveries[0].ID, id)
	}
	equal(t, "deliveries", len(t.find(store.Filter{})), 1)
}

// A captured request that is replayed under a new id must not make that id
// known, nor its other keys: the true event of that id would be lost.
func duplicateUnrecorded(t *tester) {
	t.add(keyed("e", "signed bytes"))
	equal(t, "replay under another id: duplicate", t.addOne(keyed("forged id", "signed bytes", "token")).Duplicate, true)

	r := t.addOne(event("forged id", "work"))
	equal(t, "the true event of that id: duplicate", r.Duplicate, false)
	equal(t, "event stored", t.get(r.Deliveries[0].ID).Record.ID, "forged id")
	equal(t, "another with the replay's second key: duplicate", t.addOne(keyed("z", "token")).Duplicate, false)

	// Known by its identity: its new keys are not recorded either.
	equal(t, "same id, another key: duplicate", t.addOne(keyed("e", "later key")).Duplicate, true)
	equal(t, "another id with that key: duplicate", t.addOne(keyed("w", "later key")).Duplicate, false)
}

// Identity is looked up before Keys.
func duplicateIdentityFirst(t *tester) {
	a := t.addOne(keyed("a", "ka")).Deliveries[0].ID
	t.add(keyed("b", "kb"))
	equal(t, "identity of a, key of b: delivery", t.addOne(keyed("a", "kb")).Deliveries[0].ID, a)

	mixed := keyed("a", "kb")
	mixed.To[0].Destination = "second"
	r := t.addOne(mixed)
	equal(t, "missing", r.Missing, 1)
	equal(t, "event of the delivery added", t.get(r.Deliveries[0].ID).Record.ID, "a")
}

// The first key that is known decides.
func duplicateKeyOrder(t *tester) {
	a := t.addOne(keyed("a", "ka")).Deliveries[0].ID
	b := t.addOne(keyed("b", "kb")).Deliveries[0].ID
	equal(t, "keys of a, b", t.addOne(keyed("x", "ka", "kb")).Deliveries[0].ID, a)
	equal(t, "keys of b, a", t.addOne(keyed("y", "kb", "ka")).Deliveries[0].ID, b)
	equal(t, "keys of nobody, b, a", t.addOne(keyed("z", "nobody's", "kb", "ka")).Deliveries[0].ID, b)
}

// Keys share a space with identities.
func duplicateOneSpace(t *tester) {
	a := event("a", "work")
	id := t.addOne(a).Deliveries[0].ID
	b := event("b", "work")
	b.Keys = [][32]byte{a.Identity}
	equal(t, "its key is an identity: delivery", t.addOne(b).Deliveries[0].ID, id)

	c := keyed("c", "kc")
	id = t.addOne(c).Deliveries[0].ID
	d := event("d", "work")
	d.Identity = digest("kc")
	equal(t, "its identity is a key: delivery", t.addOne(d).Deliveries[0].ID, id)
	equal(t, "deliveries", len(t.find(store.Filter{})), 2)
}

// Two adds of one batch see each other, by identity and by key.
func duplicateInBatch(t *tester) {
	a := keyed("a", "ka")
	more := again(a, "work", "second")
	r := t.add(a, again(a), keyed("b", "ka"), more, keyed("c"))
	for i, want := range []bool{false, true, true, true, false} {
		equal(t, fmt.Sprintf("add %d: duplicate", i), r[i].Duplicate, want)
		if i < 4 {
			equal(t, fmt.Sprintf("add %d: delivery", i), r[i].Deliveries[0].ID, r[0].Deliveries[0].ID)
		}
	}
	equal(t, "add 3: missing", r[3].Missing, 1)
	equal(t, "deliveries", len(t.find(store.Filter{})), 3)
}

// Changed says that the first had another digest.
func duplicateChanged(t *tester) {
	a := event("e", "work")
	t.add(a)
	b := again(a)
	b.Digest = sha256.Sum256([]byte("another body"))
	equal(t, "another digest: changed", t.addOne(b).Changed, true)
	equal(t, "another digest again: changed", t.addOne(b).Changed, true)
	equal(t, "the first's digest: changed", t.addOne(again(a)).Changed, false)
}

// With RefuseChanged a duplicate with another digest is ErrChanged, by identity and
// by key, of an event that is stored, purged, or in the same batch; nothing of the
// batch is written. One with the same digest is a duplicate as ever.
func duplicateRefused(t *tester) {
	a := keyed("e", "k")
	t.add(a)
	t.processed(t.lease("work"))
	changed := otherBody(a, "work", "second")
	changed.RefuseChanged = true
	byKey := otherBody(keyed("other", "k"))
	byKey.RefuseChanged = true
	fresh := event("fresh", "work")
	refused := func(what string, adds ...store.Add) {
		t.Helper()
		_, err := t.st.Commit(t.ctx, &store.Batch{Adds: adds})
		if !errors.Is(err, store.ErrChanged) || !errors.Is(err, store.ErrBadData) {
			t.Errorf("%s: Commit returned %v, want ErrChanged", what, err)
		}
		equal(t, what+": deliveries", len(t.find(store.Filter{Destination: "second"})), 0)
		equal(t, what+": the good one", len(t.find(store.Filter{EventID: "fresh"})), 0)
	}
	refused("by identity", fresh, changed)
	refused("by key", fresh, byKey)
	twice := otherBody(fresh, "second")
	twice.RefuseChanged = true
	refused("of one batch", fresh, twice)

	same := again(a, "work", "third")
	same.RefuseChanged = true
	r := t.addOne(same)
	equal(t, "same digest: duplicate", r.Duplicate, true)
	equal(t, "same digest: missing", r.Missing, 1)
	first := event("first", "work")
	first.RefuseChanged = true
	for range 2 { // the same add is no duplicate of its own
		equal(t, "first: duplicate", t.addOne(first).Duplicate, false)
	}
	equal(t, "not known by what was refused: duplicate", t.addOne(fresh).Duplicate, false)
}

// Of concurrent commits only those with a changed event fail.
func duplicateRefusedAlone(t *tester) {
	a := event("e", "work")
	t.add(a)
	const n = 40
	t.together(n, func(ctx context.Context, i int) error {
		add := event(fmt.Sprint("event ", i), "work")
		if i%5 == 0 {
			add = otherBody(a)
		}
		add.RefuseChanged = true
		_, err := t.st.Commit(ctx, &store.Batch{Adds: []store.Add{add}})
		if refused := errors.Is(err, store.ErrChanged); refused != (i%5 == 0) || !refused && err != nil {
			return fmt.Errorf("add %d (every fifth is changed): %w", i, err)
		}
		return nil
	})
	equal(t, "events stored", len(t.find(store.Filter{})), n-n/5+1)
}

// Targets that the record does not name yet are added, once.
func duplicateMissing(t *tester) {
	a := event("e", "a")
	first := t.addOne(a).Deliveries[0]
	t.advance(time.Hour)

	b := again(a, "b", "a", "c")
	b.To[2].After = time.Hour
	before := t.now()
	r := t.addOne(b)
	equal(t, "duplicate", r.Duplicate, true)
	equal(t, "missing", r.Missing, 2)
	equal(t, "delivery of a", r.Deliveries[1].ID, first.ID)
	for i, span := range map[int]time.Duration{0: 0, 2: time.Hour} {
		d := t.get(r.Deliveries[i].ID)
		equal(t, "destination", d.Destination, b.To[i].Destination)
		equal(t, "received when the event was", d.Received.Equal(first.Received), true)
		t.around("Due of "+d.Destination, d.Due, before, span)
	}
	third := t.addOne(again(b))
	equal(t, "once more: missing", third.Missing, 0)
	for i, d := range third.Deliveries {
		equal(t, "once more: delivery", d.ID, r.Deliveries[i].ID)
	}
	equal(t, "the same duplicate tried again: delivery", t.addOne(b).Deliveries[0].ID, r.Deliveries[0].ID)
	equal(t, "deliveries", len(t.find(store.Filter{})), 3)
	t.advance(2 * time.Hour)
	equal(t, "deliveries claimed", len(t.claimAll()), 3)
}

// otherBody is a later arrival of a's event that says something else.
func otherBody(a store.Add, destinations ...string) store.Add {
	r := *a.Record
	r.Head, r.Body = []byte("later head"), []byte("later body")
	b := again(a, destinations...)
	b.Record, b.Digest = &r, sha256.Sum256(r.Body)
	return b
}

// A missing delivery has the body and head that were stored first, not those of
// the arrival that adds it.
func duplicateFirstBody(t *tester) {
	a := event("e", "a")
	t.add(a)
	r := t.addOne(otherBody(a, "b"))
	equal(t, "changed", r.Changed, true)
	sameRecord(t, "Find", t.get(r.Deliveries[0].ID).Record, a.Record)
	sameRecord(t, "Claim", t.lease("b").Record, a.Record)
}

// A missing delivery is never born leased.
func duplicateNotLeased(t *tester) {
	a := event("e", "a")
	t.add(a)
	b := again(a, "a", "b")
	b.To[0].Lease, b.To[1].Lease = lease, lease
	for _, d := range t.addOne(b).Deliveries {
		equal(t, "token", d.Token, 0)
		equal(t, "state", d.State, store.Queued)
	}
	equal(t, "deliveries claimed", len(t.claimAll()), 2)
}

// A destination once named is never missing again, its delivery purged or not.
func duplicatePurged(t *tester) {
	a := event("e", "a", "b")
	b := t.addOne(a).Deliveries[1]
	t.processed(t.lease("a"))
	t.advance(2 * time.Hour)
	if t.purge(store.Retention{Processed: time.Hour}) == 0 {
		t.Fatal("nothing was purged")
	}
	for _, add := range []store.Add{again(a), a} {
		r := t.addOne(add)
		equal(t, "duplicate", r.Duplicate, add.Nonce != a.Nonce)
		equal(t, "missing", r.Missing, 0)
		equal(t, "purged delivery", r.Deliveries[0].ID, "")
		equal(t, "delivery that is left", r.Deliveries[1].ID, b.ID)
	}
	sameItems(t, "claimed", destinations(t.claimAll()), []string{"b"})
}

// Where the first body and head are purged, a missing delivery has those at hand.
func duplicatePurgedBody(t *tester) {
	a := event("e", "a")
	t.add(a)
	t.processed(t.lease("a"))
	t.advance(2 * time.Hour)
	t.purge(store.Retention{Processed: time.Hour})

	b := otherBody(a, "a", "b")
	r := t.addOne(b)
	equal(t, "duplicate", r.Duplicate, true)
	equal(t, "changed", r.Changed, true)
	equal(t, "missing", r.Missing, 1)
	equal(t, "purged delivery", r.Deliveries[0].ID, "")
	sameRecord(t, "Claim", t.lease("b").Record, b.Record)
	t.nothing("a", "purged")
}

// An event is known as long as its record exists, whether or not its window has
// passed.
func duplicateLate(t *tester) {
	a := keyed("e", "k")
	a.Known = time.Hour
	t.add(a)
	t.advance(48 * time.Hour)
	equal(t, "by identity: duplicate", t.addOne(again(a)).Duplicate, true)
	equal(t, "by key: duplicate", t.addOne(keyed("other", "k")).Duplicate, true)
	equal(t, "by nonce: duplicate", t.addOne(a).Duplicate, false)
}
