package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/surehook/webhook/store"
)

// tester is what a case has in hand: a store, and methods that do one thing to it
// and fail the case if that is refused.
type tester struct {
	testing.TB
	b   Backend
	st  store.Store
	ctx context.Context
}

// lease is how long a claim leases that does not say otherwise.
const lease = time.Minute

// commit writes b, and sees to it that no item is forgotten.
func (t *tester) commit(b store.Batch) *store.Results {
	t.Helper()
	res, err := t.st.Commit(t.ctx, &b)
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	if err := complete(&b, res); err != nil {
		t.Fatal(err)
	}
	return res
}

// complete reports the items of b that res forgot.
func complete(b *store.Batch, res *store.Results) error {
	if res == nil {
		return errors.New("a commit returned neither results nor an error")
	}
	if len(res.Adds) != len(b.Adds) || len(res.Settles) != len(b.Settles) || len(res.Renews) != len(b.Renews) || len(res.Holds) != len(b.Holds) {
		return fmt.Errorf("batch of %d adds, %d settles, %d renews, %d holds has %d, %d, %d, %d results: want one an item",
			len(b.Adds), len(b.Settles), len(b.Renews), len(b.Holds), len(res.Adds), len(res.Settles), len(res.Renews), len(res.Holds))
	}
	for i, r := range res.Adds {
		if r.Result != store.Done {
			return fmt.Errorf("add %d has result %d, want Done", i, r.Result)
		}
		if len(r.Deliveries) != len(b.Adds[i].To) {
			return fmt.Errorf("add %d for %d targets has %d deliveries, want one each", i, len(b.Adds[i].To), len(r.Deliveries))
		}
	}
	for what, results := range map[string][]store.Result{"settle": res.Settles, "renew": res.Renews, "hold": res.Holds} {
		if i := slices.Index(results, 0); i >= 0 {
			return fmt.Errorf("%s %d has the zero result: the store forgot it", what, i)
		}
	}
	return nil
}

func (t *tester) add(adds ...store.Add) []store.Added {
	t.Helper()
	return t.commit(store.Batch{Adds: adds}).Adds
}

func (t *tester) addOne(a store.Add) store.Added {
	t.Helper()
	return t.add(a)[0]
}

// put stores a new event for one destination and returns its delivery's ID.
func (t *tester) put(id, destination string) string {
	t.Helper()
	return t.addOne(event(id, destination)).Deliveries[0].ID
}

func (t *tester) settle(s store.Settle) store.Result {
	t.Helper()
	return t.commit(store.Batch{Settles: []store.Settle{s}}).Settles[0]
}

// settled settles d, and fails unless that is Done.
func (t *tester) settled(d store.Delivery, s store.Settle) {
	t.Helper()
	s.Delivery, s.Token = d.ID, d.Token
	if r := t.settle(s); r != store.Done {
		t.Fatalf("settle %s under token %d to %s: %s, want Done", d.ID, d.Token, s.To, name(r))
	}
}

// processed, failed and died settle d the way the engine does.
func (t *tester) processed(d store.Delivery) {
	t.Helper()
	t.settled(d, store.Settle{To: store.Processed, Attempt: &store.Attempt{Outcome: store.OutcomeProcessed}})
}

func (t *tester) failed(d store.Delivery, after time.Duration) {
	t.Helper()
	t.settled(d, store.Settle{To: store.Queued, After: after, Spend: true, Attempt: &store.Attempt{Outcome: store.OutcomeFailed, Err: "no"}})
}

func (t *tester) died(d store.Delivery) {
	t.Helper()
	t.settled(d, store.Settle{To: store.Dead, Reason: "budget used", Attempt: &store.Attempt{Outcome: store.OutcomeFailed, Err: "no"}})
}

func (t *tester) renew(d store.Delivery, span time.Duration) store.Result {
	t.Helper()
	return t.commit(store.Batch{Renews: []store.Renew{{Delivery: d.ID, Token: d.Token, For: span}}}).Renews[0]
}

// hold and release concern the queue of the tester.
func (t *tester) hold(h store.Hold) {
	t.Helper()
	h.Queue = queue
	if r := t.commit(store.Batch{Holds: []store.Hold{h}}).Holds[0]; r != store.Done {
		t.Fatalf("hold %+v: %s, want Done", h, name(r))
	}
}

func (t *tester) release(destination string, kind store.HoldKind) {
	t.Helper()
	t.hold(store.Hold{Destination: destination, Kind: kind, Release: true})
}

func (t *tester) claim(c store.Claim) []store.Delivery {
	t.Helper()
	if c.Lease == 0 {
		c.Lease = lease
	}
	ds, err := t.st.Claim(t.ctx, queue, c)
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	return ds
}

// claimAll claims until nothing is due any more for destinations, or for all if
// none is named.
func (t *tester) claimAll(destinations ...string) []store.Delivery {
	t.Helper()
	c := store.Claim{Free: map[string]int{}, Max: 1000, Bytes: 1 << 30}
	if len(destinations) == 0 {
		c.Other = 1000
	}
	for _, d := range destinations {
		c.Free[d] = 1000
	}
	var all []store.Delivery
	for {
		ds := t.claim(c)
		if len(ds) == 0 {
			return all
		}
		all = append(all, ds...)
	}
}

// lease claims the one next delivery for destination.
func (t *tester) lease(destination string) store.Delivery {
	t.Helper()
	ds := t.claim(store.Claim{Free: map[string]int{destination: 1}, Max: 1})
	if len(ds) != 1 {
		t.Fatalf("claim of one for %q returned %d deliveries, want 1", destination, len(ds))
	}
	return ds[0]
}

// nothing fails if anything is due for destination.
func (t *tester) nothing(destination, why string) {
	t.Helper()
	if ds := t.claim(store.Claim{Free: map[string]int{destination: 1000}}); len(ds) != 0 {
		t.Fatalf("%s: claim for %q returned %s, want nothing", why, destination, ids(ds))
	}
}

// find returns all pages.
func (t *tester) find(f store.Filter) []store.Delivery {
	t.Helper()
	return t.pages(f, 0)
}

func (t *tester) pages(f store.Filter, limit int) []store.Delivery {
	t.Helper()
	var all []store.Delivery
	after := ""
	for {
		page, next, err := t.st.Find(t.ctx, queue, f, after, limit)
		if err != nil {
			t.Fatalf("Find: %v", err)
		}
		if limit > 0 && len(page) > limit {
			t.Fatalf("Find with limit %d returned %d deliveries", limit, len(page))
		}
		all = append(all, page...)
		if next == "" {
			return all
		}
		if next == after {
			t.Fatalf("Find returned the cursor %q that it was given: it would never end", next)
		}
		after = next
	}
}

// get returns the whole delivery.
func (t *tester) get(id string) store.Delivery {
	t.Helper()
	ds := t.find(store.Filter{IDs: []string{id}})
	if len(ds) != 1 || ds[0].ID != id {
		t.Fatalf("Find by ID %q returned %s, want it alone", id, ids(ds))
	}
	return ds[0]
}

// of returns the one delivery of an event, as lists show it.
func (t *tester) of(event string) store.Delivery {
	t.Helper()
	ds := t.find(store.Filter{EventID: event})
	if len(ds) != 1 {
		t.Fatalf("event %q has %d deliveries, want 1", event, len(ds))
	}
	return ds[0]
}

func (t *tester) wantState(id string, want store.State) {
	t.Helper()
	if got := t.get(id).State; got != want {
		t.Fatalf("delivery %s is %s, want %s", id, got, want)
	}
}

func (t *tester) update(c store.Change, ids ...string) int {
	t.Helper()
	n, err := t.st.Update(t.ctx, queue, ids, c)
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	return n
}

// purge purges until nothing is left to delete, and returns how many records it
// were.
func (t *tester) purge(r store.Retention) int {
	t.Helper()
	total := 0
	for {
		n, err := t.st.Purge(t.ctx, queue, r)
		if err != nil {
			t.Fatalf("Purge: %v", err)
		}
		if n <= 0 {
			return total
		}
		total += n
	}
}

// stats returns all pages, by destination; "" is the whole queue.
func (t *tester) stats() map[string]store.Stats {
	t.Helper()
	all := map[string]store.Stats{}
	for _, s := range t.statsPages(0) {
		all[s.Destination] = s
	}
	return all
}

func (t *tester) statsPages(limit int) []store.Stats {
	t.Helper()
	var all []store.Stats
	after := ""
	for {
		page, next, err := t.st.Stats(t.ctx, queue, after, limit)
		if err != nil {
			t.Fatalf("Stats: %v", err)
		}
		all = append(all, page...)
		if next == "" {
			return all
		}
		if next == after {
			t.Fatalf("Stats returned the cursor %q that it was given: it would never end", next)
		}
		after = next
	}
}

// advance moves the store's clock.
func (t *tester) advance(d time.Duration) {
	t.Helper()
	t.b.Advance(t.st, d)
}

// now asks the store for the time, by an add to a queue of its own.
func (t *tester) now() time.Time {
	t.Helper()
	a := eventOf(&store.Record{ID: fmt.Sprintf("%x", nonce())}, "clock")
	a.Queue, a.Identity = "clock", digest("clock", a.Record.ID)
	return t.addOne(a).Deliveries[0].Received
}

// around fails unless got lies between the times that now said before and says
// now, both moved by d.
func (t *tester) around(what string, got, before time.Time, d time.Duration) {
	t.Helper()
	const rounding = time.Millisecond // of stores that keep milliseconds
	lo, hi := before.Add(d-rounding), t.now().Add(d+rounding)
	if got.Before(lo) || got.After(hi) {
		t.Errorf("%s is %v, want between %v and %v", what, got, lo, hi)
	}
}

// eventually tries until ok returns "", for what the contract allows to lag.
func (t *tester) eventually(ok func() string) {
	t.Helper()
	limit := time.Now().Add(patience)
	for {
		wrong := ok()
		if wrong == "" {
			return
		}
		if time.Now().After(limit) {
			t.Fatal(wrong)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// pause is what a worker takes that found nothing, so that those who have work
// get on with it.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Millisecond):
	}
}

// together runs f in n goroutines at once, and fails with their errors. The
// first of those ends ctx, so that nobody waits for a goroutine that is gone.
func (t *tester) together(n int, f func(ctx context.Context, i int) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	var wg sync.WaitGroup
	start := make(chan struct{})
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					errs[i] = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
				}
				if errs[i] != nil {
					cancel()
				}
			}()
			<-start
			errs[i] = f(ctx, i)
		})
	}
	close(start)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if err := t.ctx.Err(); err != nil {
		t.Fatalf("not done after %v", deadline)
	}
}

// equal fails unless got is want.
func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, show(got), show(want))
	}
}

// sameItems fails unless got is want in that order.
func sameItems[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	from := 0
	for from < min(len(got), len(want)) && got[from] == want[from] {
		from++
	}
	t.Fatalf("%s: got %s, want %s", what, excerpt(got, from), excerpt(want, from))
}

// shown is how many items a failure shows.
const shown = 50

// excerpt writes items, and of many those around the one at from.
func excerpt[T any](items []T, from int) string {
	if len(items) <= shown {
		return fmt.Sprintf("%q", fmt.Sprint(items))
	}
	first := max(0, min(from-2, len(items)-shown/5))
	return fmt.Sprintf("%d items, of which %q from [%d] on", len(items), fmt.Sprint(items[first:min(first+shown/5, len(items))]), first)
}

// show writes results by their names, and strings so that odd bytes are seen.
func show(v any) any {
	switch v := v.(type) {
	case store.Result:
		return name(v)
	case string:
		return fmt.Sprintf("%q", v)
	}
	return v
}

func name(r store.Result) string {
	names := [...]string{"the zero Result", "Done", "LeaseLost", "AlreadySettled", "Locked"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("Result(%d)", r)
}

// ids are those of the deliveries, as list of the events' ids for messages.
func ids(ds []store.Delivery) []string {
	list := make([]string, len(ds))
	for i, d := range ds {
		if list[i] = d.ID; d.Record != nil {
			list[i] = d.Record.ID
		}
	}
	return list
}

// keys returns those of m, sorted.
func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
