package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/surehook/webhook/store"
)

var findCases = []testCase{
	{name: "Find/OldestFirst", run: findOldest},
	{name: "Find/EachFilter", run: findFilters},
	{name: "Find/AllFiltersMustMatch", run: findCombined},
	{name: "Find/ByStates", run: findStates},
	{name: "Find/AnEmptyListMatchesNothing", run: findNothing},
	{name: "Find/ReceivedBetween", run: findReceived},
	{name: "Find/BodiesAndAttemptsOnlyByIDs", run: findBodies},
	{name: "Find/UnknownIDsArePassedOver", run: findUnknown},
	{name: "Find/PagesOfAnySize", run: findPages},
	{name: "Find/DefaultLimit", run: findLimit},
	{name: "Find/WhatStaysIsSeenOnce", run: findMoving},
}

// Deliveries are found oldest first, whatever became of them.
func findOldest(t *tester) {
	var want []string
	for i := range 12 {
		id := fmt.Sprint(i)
		t.put(id, []string{"a", "b"}[i%2])
		t.advance(time.Second)
		want = append(want, id)
	}
	t.processed(t.lease("a"))
	t.died(t.lease("b"))
	t.lease("a")
	sameItems(t, "found", ids(t.find(store.Filter{})), want)
	equal(t, "found in a queue that was never used", t.findIn("nobody's"), 0)
}

func (t *tester) findIn(queue string) int {
	t.Helper()
	page, next, err := t.st.Find(t.ctx, queue, store.Filter{}, "", 10)
	if err != nil || next != "" {
		t.Fatalf("Find: next %q, %v", next, err)
	}
	return len(page)
}

// zoo stores events that differ in one field each, and one like the first.
func (t *tester) zoo() {
	t.Helper()
	base := store.Record{Tenant: "t", Source: "s", ID: "base", Type: "y", Subject: "u"}
	for _, change := range []func(r *store.Record){
		func(*store.Record) {},
		func(r *store.Record) { r.ID, r.Tenant = "tenant", "T" },
		func(r *store.Record) { r.ID, r.Source = "source", "S" },
		func(r *store.Record) { r.ID, r.Type = "type", "Y" },
		func(r *store.Record) { r.ID, r.Subject = "subject", "U" },
		func(r *store.Record) { r.ID = "like" },
	} {
		r := base
		change(&r)
		t.add(eventOf(&r, "a"))
	}
	other := base
	other.ID = "destination"
	t.add(eventOf(&other, "b"))
}

// Each field that is set picks those that are equal in it.
func findFilters(t *tester) {
	t.zoo()
	all := []string{"base", "tenant", "source", "type", "subject", "like", "destination"}
	without := func(id string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == id })
	}
	for _, c := range []struct {
		f    store.Filter
		want []string
	}{
		{store.Filter{}, all},
		{store.Filter{Tenant: "t"}, without("tenant")},
		{store.Filter{Tenant: "T"}, []string{"tenant"}},
		{store.Filter{Source: "s"}, without("source")},
		{store.Filter{Source: "S"}, []string{"source"}},
		{store.Filter{Type: "y"}, without("type")},
		{store.Filter{Type: "Y"}, []string{"type"}},
		{store.Filter{Subject: "u"}, without("subject")},
		{store.Filter{Subject: "U"}, []string{"subject"}},
		{store.Filter{EventID: "like"}, []string{"like"}},
		{store.Filter{Destination: "a"}, without("destination")},
		{store.Filter{Destination: "b"}, []string{"destination"}},
		{store.Filter{Destination: "c"}, nil},
		{store.Filter{EventID: "lik"}, nil},
		{store.Filter{EventID: "lik%"}, nil},
	} {
		sameItems(t, fmt.Sprintf("found by %+v", c.f), ids(t.find(c.f)), c.want)
	}
}

// All fields that are set must match.
func findCombined(t *tester) {
	t.zoo()
	id := t.of("base").ID
	f := store.Filter{
		IDs: []string{id}, Destination: "a", Source: "s", Tenant: "t", Type: "y", Subject: "u", EventID: "base",
		States: []store.State{store.Queued, store.Dead}, Since: t.now().Add(-time.Hour), Before: t.now().Add(time.Hour),
	}
	equal(t, "all match", len(t.find(f)), 1)
	for what, spoil := range map[string]func(f *store.Filter){
		"ids":         func(f *store.Filter) { f.IDs = []string{"nobody's"} },
		"destination": func(f *store.Filter) { f.Destination = "b" },
		"source":      func(f *store.Filter) { f.Source = "S" },
		"tenant":      func(f *store.Filter) { f.Tenant = "T" },
		"type":        func(f *store.Filter) { f.Type = "Y" },
		"subject":     func(f *store.Filter) { f.Subject = "U" },
		"event's id":  func(f *store.Filter) { f.EventID = "like" },
		"states":      func(f *store.Filter) { f.States = []store.State{store.Processed} },
		"since":       func(f *store.Filter) { f.Since = f.Before },
		"before":      func(f *store.Filter) { f.Before = f.Since },
	} {
		g := f
		spoil(&g)
		equal(t, "all match but the "+what, len(t.find(g)), 0)
	}
}

// States picks those that stand in one of them.
func findStates(t *tester) {
	for _, to := range []store.State{store.Processed, store.Dead, store.Discarded} {
		t.put(string(to), "work")
		t.settled(t.lease("work"), store.Settle{To: to})
	}
	t.put("processing", "work")
	t.lease("work")
	t.put("queued", "work")
	for _, s := range []store.State{store.Processed, store.Dead, store.Discarded, store.Processing, store.Queued} {
		sameItems(t, "found by state", ids(t.find(store.Filter{States: []store.State{s}})), []string{string(s)})
	}
	sameItems(t, "found by two states", ids(t.find(store.Filter{States: []store.State{store.Queued, store.Dead}})), []string{"dead", "queued"})
	equal(t, "found by a state that is none", len(t.find(store.Filter{States: []store.State{"nonsense"}})), 0)
}

// A list that is empty and not nil matches nothing: whoever computed one that came
// out empty does not mean all.
func findNothing(t *tester) {
	id := t.put("e", "work")
	some := []store.State{store.Queued}
	for _, c := range []struct {
		what string
		f    store.Filter
	}{
		{"no IDs", store.Filter{IDs: []string{}}},
		{"no IDs and all else that matches", store.Filter{IDs: []string{}, Destination: "work", States: some}},
		{"no states", store.Filter{States: []store.State{}}},
		{"no states and its ID", store.Filter{IDs: []string{id}, States: []store.State{}}},
	} {
		page, next, err := t.st.Find(t.ctx, queue, c.f, "", 10)
		if err != nil || next != "" {
			t.Fatalf("Find by %s: next %q, %v", c.what, next, err)
		}
		equal(t, "found by "+c.what, len(page), 0)
	}
	equal(t, "found by lists that are nil", len(t.find(store.Filter{})), 1)
}

// Since is inclusive, Before is not.
func findReceived(t *tester) {
	var at []time.Time
	for i := range 4 {
		at = append(at, t.addOne(event(fmt.Sprint(i), "work")).Deliveries[0].Received)
		t.advance(time.Minute)
	}
	for _, c := range []struct {
		f    store.Filter
		want []string
	}{
		{store.Filter{Since: at[1]}, []string{"1", "2", "3"}},
		{store.Filter{Before: at[1]}, []string{"0"}},
		{store.Filter{Since: at[1], Before: at[3]}, []string{"1", "2"}},
		{store.Filter{Since: at[1].Add(time.Second), Before: at[1].Add(2 * time.Second)}, nil},
		{store.Filter{Since: at[2].In(time.FixedZone("far", -8*3600))}, []string{"2", "3"}},
	} {
		sameItems(t, fmt.Sprintf("received since %v, before %v", c.f.Since, c.f.Before), ids(t.find(c.f)), c.want)
	}
}

// Bodies, heads and attempts are filled only where IDs are given; the other
// fields always.
func findBodies(t *tester) {
	a := ordered("e", "work", "key")
	a.Record.Subject = "order/7"
	id := t.addOne(a).Deliveries[0].ID
	t.settled(t.lease("work"), store.Settle{To: store.Dead, Reason: "why", Spend: true, Attempt: &store.Attempt{Outcome: store.OutcomeFailed}})

	for _, f := range []store.Filter{{}, {EventID: "e"}, {IDs: []string{id}}} {
		d := t.find(f)[0]
		equal(t, "id", d.ID, id)
		equal(t, "queue", d.Queue, queue)
		equal(t, "destination", d.Destination, "work")
		equal(t, "ordering key", d.OrderKey, "key")
		equal(t, "state", d.State, store.Dead)
		equal(t, "reason", d.Reason, "why")
		equal(t, "token", d.Token, 1)
		equal(t, "spent", d.Spent, 1)
		equal(t, "subject", d.Record.Subject, "order/7")
		whole := len(f.IDs) > 0
		equal(t, "body is filled", len(d.Record.Body) > 0, whole)
		equal(t, "head is filled", len(d.Record.Head) > 0, whole)
		equal(t, "attempts are filled", len(d.Attempts) > 0, whole)
	}
}

// IDs of no delivery find nothing and spoil nothing, whatever they look like.
func findUnknown(t *tester) {
	id := t.put("e", "work")
	equal(t, "found by IDs of nobody", len(t.find(store.Filter{IDs: noIDs()})), 0)
	sameItems(t, "found by one's own among them", ids(t.find(store.Filter{IDs: append(noIDs(), id)})), []string{"e"})
	page, _, err := t.st.Find(t.ctx, "another queue", store.Filter{IDs: []string{id}}, "", 10)
	if err != nil || len(page) != 0 {
		t.Fatalf("found in another queue by ID: %s, %v", ids(page), err)
	}
}

// Pages of any size join to the whole, in order, with each delivery once.
func findPages(t *tester) {
	var want, list []string
	for i := range 23 {
		a := event(fmt.Sprint(i), "a", "b") // two of each event, received at the same moment
		for _, d := range t.addOne(a).Deliveries {
			list = append(list, d.ID)
		}
		want = append(want, a.Record.ID, a.Record.ID)
	}
	for _, limit := range []int{1, 2, 7, 45, 46, 47, 1000} {
		for how, f := range map[string]store.Filter{
			"all": {}, "by source": {Source: "shop"}, "by state": {States: []store.State{store.Queued}}, "by IDs": {IDs: list},
		} {
			got := t.pages(f, limit)
			sameItems(t, fmt.Sprintf("%s, in pages of %d", how, limit), ids(got), want)
			seen := map[string]bool{}
			for _, d := range got {
				seen[d.ID] = true
			}
			equal(t, fmt.Sprintf("%s, in pages of %d: different deliveries", how, limit), len(seen), 46)
		}
		var one []string
		for _, d := range t.pages(store.Filter{Destination: "b"}, limit) {
			one = append(one, d.Record.ID)
		}
		equal(t, fmt.Sprintf("of one destination, in pages of %d", limit), len(one), 23)
	}
}

// A limit below 1 means 100.
func findLimit(t *tester) {
	t.crowd("acme", "work", 130)
	for _, limit := range []int{0, -1} {
		page, next, err := t.st.Find(t.ctx, queue, store.Filter{}, "", limit)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "deliveries on the first page", len(page), 100)
		page, next, err = t.st.Find(t.ctx, queue, store.Filter{}, next, limit)
		if err != nil || next != "" {
			t.Fatalf("second and last page: next %q, %v", next, err)
		}
		equal(t, "deliveries on the second page", len(page), 30)
	}
}

// Nothing is held between pages: what is added or deleted meanwhile may be seen
// or not, what stays is seen exactly once.
func findMoving(t *tester) {
	const n = 60
	stays := map[string]bool{}
	for i := range n {
		t.add(event(fmt.Sprint("goes ", i), "goes"))
		stays[t.put(fmt.Sprint("stays ", i), "stays")] = true
	}
	for _, d := range t.claimAll("goes") {
		t.processed(d)
	}
	t.advance(2 * time.Hour)
	added := make(chan error, 1)
	go func() {
		for i := range n {
			b := store.Batch{Adds: []store.Add{event(fmt.Sprint("new ", i), "new")}}
			if _, err := t.st.Commit(t.ctx, &b); err != nil {
				added <- err
				return
			}
		}
		added <- nil
	}()

	seen := map[string]int{}
	for pages, after := 1, ""; ; pages++ {
		page, next, err := t.st.Find(t.ctx, queue, store.Filter{}, after, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page {
			seen[d.ID]++
		}
		if next == "" {
			break
		}
		if after = next; pages == 4 {
			t.purge(hour) // of what is behind the cursor, and of what is before it
		}
	}
	if err := <-added; err != nil {
		t.Fatal(err)
	}
	for id := range stays {
		equal(t, "times that a delivery which stays was seen", seen[id], 1)
	}
}
