package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/surehook/webhook/store"
)

var statsCases = []testCase{
	{name: "Stats/FollowEachChange", run: statsFollow},
	{name: "Stats/FollowUpdatesAndPurge", run: statsUpdates},
	{name: "Stats/TotalIsTheFirstRow", run: statsTotal},
	{name: "Stats/Oldest", run: statsOldest},
	{name: "Stats/PagesInTheOrderOfNames", run: statsPages},
	{name: "Stats/DefaultLimit", run: statsLimit},
}

// figures are queued, processing, dead.
type figures [3]int

// wantStats waits until the figures are those wanted, and their sum that of the
// queue.
func (t *tester) wantStats(when string, want map[string]figures) {
	t.Helper()
	var sum figures
	for _, f := range want {
		for i := range sum {
			sum[i] += f[i]
		}
	}
	t.eventually(func() string {
		all := t.stats()
		for destination, f := range want {
			s := all[destination]
			if got := (figures{s.Queued, s.Processing, s.Dead}); got != f {
				return fmt.Sprintf("%s: queued, processing, dead of %q are %v, want %v", when, destination, got, f)
			}
		}
		s := all[""]
		if got := (figures{s.Queued, s.Processing, s.Dead}); got != sum {
			return fmt.Sprintf("%s: queued, processing, dead of the queue are %v, want %v", when, got, sum)
		}
		return ""
	})
}

// The figures follow adds, claims, settles and takeovers. Held and blocked ones
// are queued, and leases that have run out processing.
func statsFollow(t *tester) {
	a := event("1", "work", "other")
	t.add(a, event("2", "work"), event("3", "work"))
	t.wantStats("added", map[string]figures{"work": {3, 0, 0}, "other": {1, 0, 0}})
	t.add(a, again(a), again(a, "work", "third"))
	t.wantStats("added again", map[string]figures{"work": {3, 0, 0}, "other": {1, 0, 0}, "third": {1, 0, 0}})

	d := t.lease("work")
	t.wantStats("claimed", map[string]figures{"work": {2, 1, 0}, "other": {1, 0, 0}, "third": {1, 0, 0}})
	t.advance(2 * lease)
	t.wantStats("run out", map[string]figures{"work": {2, 1, 0}, "other": {1, 0, 0}, "third": {1, 0, 0}})
	leased := t.claimAll("work")
	t.wantStats("taken over", map[string]figures{"work": {0, 3, 0}, "other": {1, 0, 0}, "third": {1, 0, 0}})
	equal(t, "settle of the lost lease", t.settle(store.Settle{Delivery: d.ID, Token: d.Token, To: store.Dead}), store.LeaseLost)
	t.processed(leased[0])
	t.died(leased[1])
	t.failed(leased[2], time.Hour)
	want := map[string]figures{"work": {1, 0, 1}, "other": {1, 0, 0}, "third": {1, 0, 0}}
	t.wantStats("settled", want)
	t.hold(store.Hold{Destination: "other", Kind: store.Paused})
	t.wantStats("held", want)

	born := event("born", "third")
	born.To[0].Lease = lease
	t.add(born, ordered("k1", "line", "k"), ordered("k2", "line", "k"), ordered("k3", "line", "k"))
	t.died(t.lease("line"))
	t.wantStats("born leased and blocked", map[string]figures{"work": {1, 0, 1}, "other": {1, 0, 0}, "third": {1, 1, 0}, "line": {2, 0, 1}})
}

// They follow redrives, discards, moves and deletions.
func statsUpdates(t *tester) {
	t.crowd("acme", "work", 6)
	leased := t.claimAll("work")
	t.died(leased[0])
	t.died(leased[1])
	t.processed(leased[2])
	t.processed(leased[3])
	t.failed(leased[4], time.Hour)
	t.wantStats("settled", map[string]figures{"work": {1, 1, 2}})
	t.update(dead, leased[0].ID)
	t.wantStats("redriven", map[string]figures{"work": {2, 1, 1}})
	t.update(store.Change{To: store.Discarded}, leased[4].ID)
	t.wantStats("discarded", map[string]figures{"work": {1, 1, 1}})
	t.update(store.Change{To: store.Dead}, leased[0].ID)
	t.wantStats("to dead", map[string]figures{"work": {0, 1, 2}})
	t.update(store.Change{Destination: "new"}, leased[0].ID, leased[2].ID)
	t.wantStats("moved", map[string]figures{"work": {0, 1, 1}, "new": {0, 0, 1}})
	t.update(store.Change{To: store.Queued, Destination: "new"}, leased[1].ID, leased[3].ID)
	t.wantStats("moved and redriven", map[string]figures{"work": {0, 1, 0}, "new": {2, 0, 1}})
	t.advance(2 * time.Hour)
	t.purge(store.Retention{Processed: time.Hour, Dead: time.Hour})
	t.wantStats("purged", map[string]figures{"work": {0, 1, 0}, "new": {2, 0, 0}})
	t.claimAll("new")
	t.wantStats("claimed", map[string]figures{"work": {0, 1, 0}, "new": {0, 2, 0}})
}

// The first row of the first page is the whole queue, an unused one too, and no
// other row is.
func statsTotal(t *tester) {
	page, next, err := t.st.Stats(t.ctx, queue, "", 0)
	if err != nil || next != "" || len(page) != 1 || page[0].Destination != "" || page[0].Queued != 0 {
		t.Fatalf("Stats of an unused queue: %+v, next %q, %v; want the row of the queue", page, next, err)
	}
	t.add(event("e", "a", "b", "c"))
	t.wantStats("added", map[string]figures{"a": {1, 0, 0}, "b": {1, 0, 0}, "c": {1, 0, 0}})
	for _, limit := range []int{0, 1, 2, 3, 10} {
		for i, s := range t.statsPages(limit) {
			equal(t, fmt.Sprintf("in pages of %d: row %d is the queue's", limit, i), s.Destination == "", i == 0)
		}
	}
}

// Oldest is when the oldest that is queued was received.
func statsOldest(t *tester) {
	oldest := func(when string, want map[string]time.Time) {
		t.Helper()
		t.eventually(func() string {
			all := t.stats()
			for destination, at := range want {
				if got := all[destination].Oldest; !got.Equal(at) {
					return fmt.Sprintf("%s: Oldest of %q is %v, want %v", when, destination, got, at)
				}
			}
			return ""
		})
	}
	received := func(a store.Add) time.Time {
		t.Helper()
		at := t.addOne(a).Deliveries[0].Received
		t.advance(time.Minute)
		return at
	}
	first := received(event("1", "work"))
	second := received(event("2", "work"))
	third := received(event("3", "other"))
	oldest("added", map[string]time.Time{"work": first, "other": third, "": first})
	d := t.lease("work")
	oldest("the first is leased", map[string]time.Time{"work": second, "": second})
	t.failed(d, time.Hour)
	oldest("the first waits", map[string]time.Time{"work": first, "": first})
	leased := t.claimAll("work")
	oldest("the second is leased", map[string]time.Time{"work": first, "": first})
	t.update(store.Change{To: store.Discarded}, d.ID)
	t.processed(leased[0])
	oldest("work is done", map[string]time.Time{"work": {}, "other": third, "": third})
}

// Pages of any size join to the whole: each destination once, in the order of the
// bytes of its name.
func statsPages(t *tester) {
	want := []string{"A", "B", "a", "a\x00", "a\x00b", "a b", "a!", "aa", "b", "é", "\xff", "\xff\x00"}
	slices.Sort(want)
	t.add(event("e", want...))
	for _, limit := range []int{1, 2, 5, len(want), len(want) + 1, 1000} {
		var got []string
		for _, s := range t.statsPages(limit) {
			if s.Destination != "" {
				got = append(got, s.Destination)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("destinations in pages of %d: got %q, want %q", limit, got, want)
		}
	}
	page, _, err := t.st.Stats(t.ctx, queue, "", 3)
	if err != nil || len(page) > 4 {
		t.Fatalf("a page of 3 has %d rows, %v", len(page), err)
	}
}

// A limit below 1 means 100, whether or not the row of the queue counts.
func statsLimit(t *tester) {
	var names []string
	for i := range 150 {
		names = append(names, fmt.Sprint("destination ", i))
	}
	t.add(event("e", names...))
	for _, limit := range []int{0, -1} {
		page, next, err := t.st.Stats(t.ctx, queue, "", limit)
		if err != nil || next == "" || len(page) < 100 || len(page) > 101 {
			t.Fatalf("first page of 150 destinations: %d rows, next %q, %v; want 100", len(page), next, err)
		}
	}
	equal(t, "rows on all pages", len(t.statsPages(0)), 151)
}
