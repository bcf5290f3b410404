package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/surehook/webhook/store"
)

var holdCases = []testCase{
	{name: "Hold/EachKindHolds", run: holdKinds},
	{name: "Hold/ReleasingOneLeavesTheOthers", run: holdStack},
	{name: "Hold/ReleaseWithoutKindEndsAll", run: holdReleaseAll},
	{name: "Hold/RunsOut", run: holdRunsOut},
	{name: "Hold/SecondOfAKindReplacesTheFirst", run: holdReplaced},
	{name: "Hold/OfAnOrderingKey", run: holdKey},
	{name: "Hold/MakesItsDestinationKnown", run: holdUnknown},
	{name: "Hold/LeaseRunsOn", run: holdLeased},
	{name: "Hold/IsInStats", run: holdStats},
	{name: "Hold/StatsListAHundred", run: holdMany},
}

var kinds = []store.HoldKind{store.Paused, store.Disabled, store.Broken, store.Slowed}

// A held destination is not claimed, and others are; released, what was due is
// due at once.
func holdKinds(t *tester) {
	t.put("free", "free")
	for _, kind := range kinds {
		t.put(string(kind), "work")
		t.hold(store.Hold{Destination: "work", Kind: kind, Reason: "because"})
		t.put(string(kind)+" and added later", "work")
		t.nothing("work", string(kind))
		t.advance(1000 * time.Hour)
		t.nothing("work", string(kind)+" until released")
		t.release("work", kind)
		equal(t, "deliveries claimed when released", len(t.claimAll("work")), 2)
		for _, d := range t.find(store.Filter{Destination: "work", States: []store.State{store.Processing}}) {
			t.processed(d)
		}
	}
	equal(t, "deliveries claimed for another destination", len(t.claimAll()), 1)
	t.release("never held", store.Paused)
	t.release("never held", "")
}

// One of each kind may stand; the destination is free when none does.
func holdStack(t *tester) {
	t.put("e", "work")
	for _, kind := range kinds {
		t.hold(store.Hold{Destination: "work", Kind: kind})
	}
	for _, kind := range []store.HoldKind{store.Broken, store.Paused, store.Slowed} {
		t.release("work", kind)
		t.nothing("work", "others stand besides "+string(kind))
		t.release("work", kind)
		t.nothing("work", string(kind)+" released twice")
	}
	t.release("work", store.Disabled)
	t.lease("work")
}

// Release with Kind "" ends all four.
func holdReleaseAll(t *tester) {
	t.put("e", "work")
	for _, kind := range kinds {
		t.hold(store.Hold{Destination: "work", Kind: kind})
		t.hold(store.Hold{Destination: "work", OrderKey: "k", Kind: kind})
	}
	t.release("work", "")
	t.lease("work")

	// Those of an ordering key are released for themselves.
	t.add(ordered("keyed", "work", "k"))
	t.nothing("work", "its key is held")
	t.hold(store.Hold{Destination: "work", OrderKey: "k", Release: true})
	equal(t, "claimed", t.lease("work").Record.ID, "keyed")
}

// A hold with For ends by itself, and the others stand as long as they do.
func holdRunsOut(t *tester) {
	t.put("e", "work")
	t.hold(store.Hold{Destination: "work", Kind: store.Slowed, For: time.Minute})
	t.hold(store.Hold{Destination: "work", Kind: store.Broken, For: time.Hour})
	t.nothing("work", "both stand")
	t.advance(2 * time.Minute)
	t.nothing("work", "one stands")
	t.advance(56 * time.Minute)
	t.nothing("work", "two minutes before the second ends")
	t.advance(4 * time.Minute)
	t.failed(t.lease("work"), 0)

	t.hold(store.Hold{Destination: "work", Kind: store.Slowed, For: time.Minute})
	t.hold(store.Hold{Destination: "work", Kind: store.Paused})
	t.advance(time.Hour)
	t.nothing("work", "paused until released")
	t.release("work", store.Paused)
	t.lease("work")
}

// A second hold of a kind replaces the first, be it longer, shorter or without
// an end.
func holdReplaced(t *tester) {
	t.put("e", "work")
	free := func(when string) {
		t.Helper()
		ds := t.claim(store.Claim{Free: map[string]int{"work": 1}})
		equal(t, "deliveries claimed "+when, len(ds), 1)
		t.settled(ds[0], store.Settle{To: store.Queued})
	}
	hold := func(span time.Duration) {
		t.Helper()
		t.hold(store.Hold{Destination: "work", Kind: store.Slowed, For: span})
	}
	hold(time.Hour)
	hold(time.Minute)
	t.advance(2 * time.Minute)
	free("after the shorter second")
	hold(time.Minute)
	hold(time.Hour)
	t.advance(2 * time.Minute)
	t.nothing("work", "the longer second stands")
	hold(0)
	t.advance(2 * time.Hour)
	t.nothing("work", "the second without an end stands")
	hold(time.Minute)
	t.advance(2 * time.Minute)
	free("after the second with an end")
}

// A hold of an ordering key keeps that key's deliveries alone, in that
// destination alone.
func holdKey(t *tester) {
	t.hold(store.Hold{Destination: "work", OrderKey: "k", Kind: store.Paused}) // not in use yet
	t.hold(store.Hold{Destination: "work", OrderKey: "l", Kind: store.Slowed, For: time.Minute})
	t.add(ordered("k1", "work", "k"), ordered("l1", "work", "l"), ordered("m1", "work", "m"), event("plain", "work"), ordered("elsewhere", "other", "k"))
	claimed := t.claimAll()
	got := ids(claimed)
	slices.Sort(got)
	sameItems(t, "claimed while keys are held", got, []string{"elsewhere", "m1", "plain"})
	for _, d := range claimed {
		t.processed(d)
	}
	t.advance(2 * time.Minute)
	d := t.lease("work")
	equal(t, "claimed when one hold has run out", d.Record.ID, "l1")
	t.processed(d)
	t.nothing("work", "the other has no end")

	// Held with its head already there, in a destination that is held besides.
	t.hold(store.Hold{Destination: "work", OrderKey: "k", Kind: store.Disabled})
	t.hold(store.Hold{Destination: "work", Kind: store.Broken})
	for _, h := range []store.Hold{{OrderKey: "k", Kind: store.Paused}, {Kind: store.Broken}, {OrderKey: "k", Kind: store.Disabled}} {
		t.nothing("work", fmt.Sprintf("%s of key %q stands", h.Kind, h.OrderKey))
		h.Destination, h.Release = "work", true
		t.hold(h)
	}
	equal(t, "claimed when all are released", t.lease("work").Record.ID, "k1")
}

// A destination that is not known yet becomes known by a hold.
func holdUnknown(t *tester) {
	t.hold(store.Hold{Destination: "new", Kind: store.Paused, Reason: "not yet"})
	t.eventually(func() string {
		held := t.stats()["new"].Held
		if len(held) != 1 || held[0].Kind != store.Paused || held[0].Reason != "not yet" {
			return fmt.Sprintf("holds in Stats: got %+v, want the one", held)
		}
		return ""
	})
	t.put("e", "new")
	t.nothing("new", "held before it was known")
	t.release("new", store.Paused)
	t.lease("new")
}

// A lease that is held already runs on: it is settled and renewed. Run out, it is
// not taken over before the release.
func holdLeased(t *tester) {
	t.put("a", "work")
	t.put("b", "work")
	leased := t.claimAll("work")
	t.hold(store.Hold{Destination: "work", Kind: store.Disabled})
	t.processed(leased[0])
	equal(t, "renewal", t.renew(leased[1], lease), store.Done)
	t.advance(2 * lease)
	t.nothing("work", "held, its lease run out")
	equal(t, "lost", t.get(leased[1].ID).Lost, 0)
	t.release("work", store.Disabled)
	equal(t, "token after the release", t.lease("work").Token, 2)
}

// Stats lists the holds that stand, those of ordering keys included, with what is
// left of them.
func holdStats(t *tester) {
	t.put("e", "work")
	t.hold(store.Hold{Destination: "work", Kind: store.Paused, Reason: "by hand"})
	t.hold(store.Hold{Destination: "work", Kind: store.Slowed, For: time.Hour, Reason: "429"})
	t.hold(store.Hold{Destination: "work", Kind: store.Broken, For: time.Minute})
	t.hold(store.Hold{Destination: "work", OrderKey: "k", Kind: store.Paused, Reason: "its turn"})
	t.hold(store.Hold{Destination: "other", Kind: store.Disabled})
	t.advance(30 * time.Minute)

	want := []string{" paused by hand", " slowed 429", "k paused its turn"}
	held := func(destination string) []store.Hold {
		t.Helper()
		s := t.stats()[destination].Held
		slices.SortFunc(s, func(a, b store.Hold) int {
			return slices.Compare([]string{a.OrderKey, string(a.Kind)}, []string{b.OrderKey, string(b.Kind)})
		})
		return s
	}
	t.eventually(func() string {
		var got []string
		for _, h := range held("work") {
			got = append(got, fmt.Sprintf("%s %s %s", h.OrderKey, h.Kind, h.Reason))
		}
		if !slices.Equal(got, want) {
			return fmt.Sprintf("holds in Stats: got %q, want %q", got, want)
		}
		return ""
	})
	for _, h := range held("work") {
		equal(t, "queue of a hold", h.Queue, queue)
		equal(t, "destination of a hold", h.Destination, "work")
		equal(t, "hold is a release", h.Release, false)
		if h.Kind != store.Slowed {
			equal(t, "left of one until released", h.For, 0)
		} else if h.For < 29*time.Minute || h.For > 30*time.Minute {
			t.Errorf("left of an hour after half an hour: %v", h.For)
		}
	}
	t.release("work", "")
	t.eventually(func() string {
		if got := held("work"); len(got) != 1 || got[0].OrderKey != "k" {
			return fmt.Sprintf("holds in Stats after the release: got %+v, want that of the ordering key", got)
		}
		return ""
	})
	equal(t, "holds of the other", len(held("other")), 1)
}

// Stats lists at most 100 holds of a destination, however many stand.
func holdMany(t *tester) {
	var b store.Batch
	for i := range 150 {
		b.Holds = append(b.Holds, store.Hold{Queue: queue, Destination: "work", OrderKey: fmt.Sprint(i), Kind: store.Paused})
	}
	t.commit(b)
	t.eventually(func() string {
		if n := len(t.stats()["work"].Held); n != 100 {
			return fmt.Sprintf("Stats lists %d of 150 holds, want 100", n)
		}
		return ""
	})
	t.add(ordered("held", "work", "149"), ordered("free", "work", "150"))
	sameItems(t, "claimed", ids(t.claimAll("work")), []string{"free"})
}
