package storetest

import (
	"fmt"
	"time"

	"github.com/surehook/webhook/store"
)

var orderCases = []testCase{
	{name: "Order/OnlyTheHeadIsClaimed", run: orderHead},
	{name: "Order/OfCommitsNotOfDueTimes", run: orderDue},
	{name: "Order/KeysAreApart", run: orderApart},
	{name: "Order/NextGoesWhenTheHeadIsFinished", run: orderNext},
	{name: "Order/RetryKeepsItsPlace", run: orderRetry},
	{name: "Order/LostLeaseKeepsItsPlace", run: orderLost},
	{name: "Order/DeadHeadBlocks", run: orderBlocked},
	{name: "Order/UnblockLetsTheNextGo", run: orderUnblock},
}

// line stores events of one ordering key, in the order of their ids, each in a
// commit of its own.
func (t *tester) line(key string, list ...string) {
	t.Helper()
	for _, id := range list {
		t.add(ordered(id, "work", key))
	}
}

// next claims all that is due for the destination of the lines.
func (t *tester) next() []store.Delivery {
	t.Helper()
	return t.claimAll("work")
}

// head claims all that is due, which is to be the one event with id.
func (t *tester) head(id string) store.Delivery {
	t.Helper()
	ds := t.next()
	if len(ds) != 1 || ds[0].Record.ID != id {
		t.Fatalf("claimed %s, want %s alone", ids(ds), id)
	}
	return ds[0]
}

// Of an ordering key only the head is claimed; those of one batch stand in its
// order.
func orderHead(t *tester) {
	t.add(ordered("1", "work", "k"), ordered("2", "work", "k"), ordered("3", "work", "k"))
	for _, id := range []string{"1", "2", "3"} {
		d := t.head(id)
		t.nothing("work", "the head is leased")
		t.processed(d)
	}
	t.nothing("work", "the line is done")
	t.line("k", "4")
	t.processed(t.head("4"))
}

// The order is that of the commits: one that is due sooner waits for one that is
// not yet.
func orderDue(t *tester) {
	first := ordered("1", "work", "k")
	first.To[0].After = time.Minute
	t.add(first)
	t.line("k", "2")
	t.nothing("work", "the head is not due")
	t.advance(2 * time.Minute)
	t.processed(t.head("1"))
	t.processed(t.head("2"))

	// Nor do successors jump ahead that were due for longer than others.
	third := ordered("3", "work", "k")
	fourth := ordered("4", "work", "k")
	fourth.To[0].After = time.Minute
	t.add(third, fourth)
	t.line("k", "5")
	t.processed(t.head("3"))
	t.nothing("work", "the second is not due")
	t.advance(2 * time.Minute)
	t.processed(t.head("4"))
	t.processed(t.head("5"))
}

// Other keys, the same key in another destination, and deliveries without a key
// do not wait.
func orderApart(t *tester) {
	t.line("k", "k1", "k2")
	t.line("l", "l1", "l2")
	t.add(event("plain 1", "work"), event("plain 2", "work"), ordered("elsewhere", "other", "k"))
	got := map[string]bool{}
	for _, d := range t.claimAll() {
		got[d.Record.ID] = true
	}
	sameItems(t, "claimed", keys(got), []string{"elsewhere", "k1", "l1", "plain 1", "plain 2"})
}

// The next is claimable from the commit on that finishes its predecessor:
// processed or discarded, by its worker or by a person.
func orderNext(t *tester) {
	t.line("k", "1", "2", "3", "4", "5", "6")
	t.processed(t.head("1"))
	t.settled(t.head("2"), store.Settle{To: store.Discarded, Reason: "handler"})
	third := t.of("3")
	equal(t, "head discarded", t.update(store.Change{To: store.Discarded, Reason: "person"}, third.ID), 1)
	fifth := t.of("5")
	equal(t, "one in the middle discarded", t.update(store.Change{To: store.Discarded, Reason: "person"}, fifth.ID), 1)
	t.processed(t.head("4"))
	d := t.head("6")

	// An add in the commit that finishes the head is the next.
	t.commit(store.Batch{
		Adds:    []store.Add{ordered("7", "work", "k")},
		Settles: []store.Settle{{Delivery: d.ID, Token: d.Token, To: store.Processed}},
	})
	t.head("7")
}

// A head that is to be retried stays the head while it waits.
func orderRetry(t *tester) {
	t.line("k", "1", "2")
	t.failed(t.head("1"), time.Minute)
	t.nothing("work", "the head waits for its next try")
	t.advance(2 * time.Minute)
	d := t.head("1")
	equal(t, "token", d.Token, 2)
	t.settled(d, store.Settle{To: store.Queued})
	t.processed(t.head("1"))
	t.processed(t.head("2"))
}

// A head whose lease ran out stays the head, and is taken over.
func orderLost(t *tester) {
	born := ordered("1", "work", "k")
	born.To[0].Lease = lease
	equal(t, "token of the head", t.addOne(born).Deliveries[0].Token, 1)
	t.line("k", "2")
	for token := uint64(2); token < 5; token++ {
		t.nothing("work", "the head is leased")
		t.advance(lease + time.Second)
		d := t.head("1")
		equal(t, "token", d.Token, token)
		equal(t, "lost", d.Lost, int(token-1))
	}
	t.processed(t.get(t.of("1").ID))
	t.processed(t.head("2"))
}

// blocked waits until Stats counts so many keys as blocked for the destination of
// the lines.
func (t *tester) blocked(want int) (since time.Time) {
	t.Helper()
	return t.blockedOf("work", want)
}

func (t *tester) blockedOf(destination string, want int) (since time.Time) {
	t.Helper()
	t.eventually(func() string {
		all := t.stats()
		since = all[destination].BlockedSince
		if got := all[destination].BlockedKeys; got != want || since.IsZero() != (want == 0) {
			return fmt.Sprintf("Stats of %q: %d keys blocked since %v, want %d", destination, got, since, want)
		}
		sum := 0
		for name, s := range all {
			if name != "" {
				sum += s.BlockedKeys
			}
		}
		if got := all[""].BlockedKeys; got != sum {
			return fmt.Sprintf("Stats of the queue: %d keys blocked, want %d", got, sum)
		}
		return ""
	})
	return since
}

// A dead head blocks its key, and that alone, until a person acts.
func orderBlocked(t *tester) {
	t.line("k", "1", "2", "3")
	t.line("l", "l1", "l2")
	ds := t.next()
	equal(t, "heads", len(ds), 2)
	before := t.now()
	for _, d := range ds {
		if d.OrderKey == "k" {
			t.died(d)
		} else {
			t.processed(d)
		}
	}
	t.around("BlockedSince", t.blocked(1), before, 0)
	l2 := t.head("l2")
	t.advance(1000 * time.Hour)
	since := t.blocked(1)
	equal(t, "settle of the other key's head", t.settle(store.Settle{Delivery: l2.ID, Token: l2.Token, To: store.Dead}), store.Done)
	equal(t, "BlockedSince is that of the first", t.blocked(2).Equal(since), true)
	t.line("k", "4")
	t.nothing("work", "both keys are blocked")

	first := t.of("1")
	equal(t, "discarded", t.update(store.Change{From: []store.State{store.Dead}, To: store.Discarded, Reason: "person"}, first.ID), 1)
	t.blocked(1)
	for _, id := range []string{"2", "3", "4"} {
		t.processed(t.head(id))
	}
	t.update(store.Change{To: store.Discarded}, l2.ID)
	equal(t, "BlockedSince is set", !t.blocked(0).IsZero(), false)
}

// A head settled dead with Unblock lets the next go.
func orderUnblock(t *tester) {
	t.line("k", "1", "2", "3")
	t.settled(t.head("1"), store.Settle{To: store.Dead, Reason: "budget used", Unblock: true})
	d := t.head("2")
	t.blocked(0)
	t.settled(d, store.Settle{To: store.Dead, Unblock: true})
	t.processed(t.head("3"))
	t.wantState(d.ID, store.Dead)
	t.line("k", "4")
	t.processed(t.head("4"))
	t.blocked(0)
}
