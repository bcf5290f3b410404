package storetest

import (
	"fmt"
	"reflect"
	"time"

	"github.com/surehook/webhook/store"
)

var durableCases = []testCase{
	{name: "Reopen/AcknowledgedIsThere", run: reopenAll, needs: reopens},
	{name: "Reopen/LastBatchIsThere", run: reopenLast, needs: reopens},
	{name: "Reopen/WorksOn", run: reopenWorks, needs: reopens},
	{name: "Reopen/UnderLoad", run: reopenLoad, needs: reopens},
	{name: "Reopen/LeasesOfTheFormerEngineAreVoid", run: reopenVoid, needs: func(b Backend) bool { return reopens(b) && b.OneWriter }},
	{name: "Reopen/LeasesRunOn", run: reopenLeases, needs: func(b Backend) bool { return reopens(b) && !b.OneWriter }},
}

func reopens(b Backend) bool { return b.Reopen != nil }

func (t *tester) reopen() {
	t.Helper()
	t.st = t.b.Reopen(t, t.st)
}

// whole is all that can be read of the queue's deliveries, in a form that can be
// compared.
func (t *tester) whole() map[string]store.Delivery {
	t.Helper()
	var list []string
	for _, d := range t.find(store.Filter{}) {
		list = append(list, d.ID)
	}
	all := map[string]store.Delivery{}
	for _, d := range t.find(store.Filter{IDs: list}) {
		r := *d.Record
		r.Time = r.Time.Round(time.Microsecond).UTC()
		d.Record = &r
		for _, at := range []*time.Time{&d.Received, &d.Due, &d.Until} {
			*at = at.UTC()
		}
		for i := range d.Attempts {
			d.Attempts[i].Start = d.Attempts[i].Start.UTC()
		}
		all[d.ID] = d
	}
	return all
}

// Everything that was acknowledged is there after the store was opened again:
// events, states, counters, attempts, keys, holds, order.
func reopenAll(t *tester) {
	of := t.oneOfEach()
	first := keyed("keyed", "k")
	first.To[0].Destination = "keyed"
	t.add(first)
	t.line("dead", "1", "2")
	for _, d := range t.claimAll("work") {
		if d.OrderKey == "dead" {
			t.died(d)
		}
	}
	t.put("tried", "third")
	t.failed(t.lease("third"), time.Hour)
	t.hold(store.Hold{Destination: "keyed", Kind: store.Paused, Reason: "by hand"})
	t.hold(store.Hold{Destination: "work", OrderKey: "l", Kind: store.Slowed, For: time.Hour})
	t.update(store.Change{Erase: true}, of[store.Discarded])
	want, figures := t.whole(), t.stats()

	t.reopen()
	got := t.whole()
	equal(t, "deliveries", len(got), len(want))
	for id, d := range want {
		if !reflect.DeepEqual(got[id], d) {
			t.Errorf("delivery of %s\n got %+v, record %+v\nwant %+v, record %+v", d.Record.ID, got[id], got[id].Record, d, d.Record)
		}
	}
	t.eventually(func() string {
		for destination, want := range figures {
			got := t.stats()[destination]
			for i := range min(len(got.Held), len(want.Held)) {
				got.Held[i].For, want.Held[i].For = 0, 0 // what is left is less by now
			}
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				return fmt.Sprintf("Stats of %q\n got %+v\nwant %+v", destination, got, want)
			}
		}
		return ""
	})
	equal(t, "the first add again: duplicate", t.addOne(first).Duplicate, false)
	equal(t, "by key: duplicate", t.addOne(keyed("other", "k")).Duplicate, true)
	equal(t, "discarded and erased: queued again", t.update(store.Change{To: store.Queued}, of[store.Discarded]), 0)
	t.nothing("keyed", "paused before")
}

// So is the very last batch, of each kind of write.
func reopenLast(t *tester) {
	a := event("added", "work")
	id := t.addOne(a).Deliveries[0].ID
	t.reopen()
	equal(t, "the add again: duplicate", t.addOne(a).Duplicate, false)
	t.wantState(id, store.Queued)

	d := t.lease("work")
	t.reopen()
	equal(t, "token of the claim", t.get(id).Token, d.Token)
	t.died(d)
	t.reopen()
	t.wantState(id, store.Dead)
	equal(t, "redriven", t.update(dead, id), 1)
	t.reopen()
	t.wantState(id, store.Queued)
	t.hold(store.Hold{Destination: "work", Kind: store.Paused})
	t.reopen()
	t.nothing("work", "paused before")
	t.release("work", "")
	t.reopen()
	equal(t, "token", t.lease("work").Token, d.Token+1)
}

// The store goes on where it stood: tokens, order, and ids that are new.
func reopenWorks(t *tester) {
	seen := map[string]bool{}
	var want []string
	for i := range 4 {
		id := fmt.Sprint(i)
		for _, d := range t.addOne(ordered(id, "work", "k")).Deliveries {
			equal(t, "delivery "+d.ID+" was there before", seen[d.ID], false)
			seen[d.ID] = true
		}
		want = append(want, id)
		t.reopen()
	}
	sameItems(t, "found", ids(t.find(store.Filter{})), want)
	for i, id := range want {
		d := t.head(id)
		equal(t, "token", d.Token, 1)
		t.failed(d, 0)
		if i%2 == 0 {
			t.reopen()
		}
		d = t.head(id)
		equal(t, "token", d.Token, 2)
		equal(t, "spent", d.Spent, 1)
		t.processed(d)
		t.reopen()
	}
}

// Acknowledged while the store was being closed is acknowledged all the same.
func reopenLoad(t *tester) {
	acknowledged := t.closeUnderLoad()
	t.reopen()
	found := map[string]bool{}
	for _, d := range t.pages(store.Filter{}, 1000) {
		found[d.Record.ID] = true
	}
	for _, a := range acknowledged {
		equal(t, "acknowledged "+a.Record.ID+" is there", found[a.Record.ID], true)
		equal(t, "the same add again: duplicate", t.addOne(a).Duplicate, false)
	}
}

// Where one process runs the engine, the leases of the one before it are void as
// soon as it is gone: nobody can work under them. The token still fences.
func reopenVoid(t *tester) {
	t.put("claimed", "work")
	claimed := t.lease("work")
	a := event("born", "work")
	a.To[0].Lease = time.Hour
	born := t.addOne(a).Deliveries[0]
	t.reopen()
	ds := t.claimAll("work")
	equal(t, "deliveries claimed at once", len(ds), 2)
	for _, d := range ds {
		equal(t, d.Record.ID+": token", d.Token, 2)
		equal(t, d.Record.ID+": lost", d.Lost, 1)
		attempts := t.get(d.ID).Attempts
		equal(t, d.Record.ID+": attempts", len(attempts), 1)
		equal(t, d.Record.ID+": outcome", attempts[0].Outcome, store.OutcomeLost)
	}
	for _, d := range []store.Delivery{claimed, born} {
		equal(t, "settle under the former lease", t.settle(store.Settle{Delivery: d.ID, Token: d.Token, To: store.Dead}), store.LeaseLost)
	}
	t.nothing("work", "leased by the engine that runs")
}

// Where others may run the engine, leases are current for as long as they were
// given.
func reopenLeases(t *tester) {
	t.put("e", "work")
	d := t.lease("work")
	t.reopen()
	t.nothing("work", "leased before")
	equal(t, "renewal", t.renew(d, lease), store.Done)
	t.advance(2 * lease)
	equal(t, "token", t.lease("work").Token, 2)
}
