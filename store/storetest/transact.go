package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/surehook/webhook/store"
)

var transactCases = []testCase{
	{name: "Transact/CommitIsWhole", run: transactCommit, needs: transacts},
	{name: "Transact/RollbackLeavesNothing", run: transactRollback, needs: transacts},
	{name: "Transact/SeesItsOwnWrites", run: transactOwn, needs: transacts},
	{name: "Transact/SameNonceSameAnswer", run: transactNonce, needs: transacts},
	{name: "Transact/LeaseIsIgnored", run: transactLease, needs: transacts},
	{name: "Transact/BadDataDoesNotBreakIt", run: transactBadData, needs: transacts},
	{name: "Transact/OrderingKeys", run: transactOrder, needs: transacts},
	{name: "Transact/WakesAfterCommit", run: transactWake, needs: transacts},
	{name: "Transact/ContextIsMarked", run: transactMarked, needs: transacts},
	{name: "Transact/ManyAtOnce", run: transactRace, needs: transacts},
	{name: "Transact/OthersComeThroughAfterIt", run: transactOthers, needs: transacts},
}

func transacts(b Backend) bool { return b.Transact != nil }

var errRollback = errors.New("rolled back by the test")

// transact runs f in a transaction, and fails unless that is committed.
func (t *tester) transact(f func(ctx context.Context, w store.Tx) error) {
	t.Helper()
	if err := t.b.Transact(t.ctx, t.st, f); err != nil {
		t.Fatalf("Transact: %v", err)
	}
}

// rollback runs f in a transaction that is rolled back.
func (t *tester) rollback(f func(ctx context.Context, w store.Tx) error) {
	t.Helper()
	err := t.b.Transact(t.ctx, t.st, func(ctx context.Context, w store.Tx) error {
		if err := f(ctx, w); err != nil {
			return err
		}
		return errRollback
	})
	if !errors.Is(err, errRollback) {
		t.Fatalf("Transact returned %v, want the closure's error", err)
	}
}

// write is Write, with a result for each item.
func write(ctx context.Context, w store.Tx, b store.Batch) (*store.Results, error) {
	res, err := w.Write(ctx, &b)
	if err != nil {
		return nil, err
	}
	return res, complete(&b, res)
}

// rich is a batch with an item of each kind: an add, a settle of a, a renewal of
// b, a hold.
func rich(a, b store.Delivery) store.Batch {
	add := event("new", "added")
	add.Keys = [][32]byte{digest("k")}
	return store.Batch{
		Adds:    []store.Add{add},
		Settles: []store.Settle{{Delivery: a.ID, Token: a.Token, To: store.Processed, Attempt: &store.Attempt{Outcome: store.OutcomeProcessed}}},
		Renews:  []store.Renew{{Delivery: b.ID, Token: b.Token, For: time.Hour}},
		Holds:   []store.Hold{{Queue: queue, Destination: "held", Kind: store.Paused}},
	}
}

// What is written in a transaction is there, all of it, when it is committed.
func transactCommit(t *tester) {
	t.crowd("acme", "work", 2)
	leased := t.claimAll("work")
	t.put("e", "held")
	b := rich(leased[0], leased[1])
	var res *store.Results
	t.transact(func(ctx context.Context, w store.Tx) (err error) {
		res, err = write(ctx, w, b)
		return err
	})
	equal(t, "settle", res.Settles[0], store.Done)
	equal(t, "renewal", res.Renews[0], store.Done)
	t.wantState(leased[0].ID, store.Processed)
	equal(t, "attempts of the settled", len(t.get(leased[0].ID).Attempts), 1)
	t.nothing("held", "held in the transaction")
	equal(t, "delivery of the add", t.lease("added").ID, res.Adds[0].Deliveries[0].ID)
	byKey := keyed("other", "k")
	byKey.To = b.Adds[0].To
	equal(t, "the add's key is known", t.addOne(byKey).Duplicate, true)
	t.advance(2 * lease)
	t.nothing("work", "renewed in the transaction")
}

// What is written in a transaction that is rolled back never was.
func transactRollback(t *tester) {
	t.crowd("acme", "work", 2)
	leased := t.claimAll("work")
	held := t.put("e", "held")
	b := rich(leased[0], leased[1])
	t.rollback(func(ctx context.Context, w store.Tx) error {
		_, err := write(ctx, w, b)
		return err
	})
	equal(t, "events of the add", len(t.find(store.Filter{EventID: "new"})), 0)
	t.wantState(leased[0].ID, store.Processing)
	equal(t, "attempts of the settled", len(t.get(leased[0].ID).Attempts), 0)
	equal(t, "end of the lease is as before", t.get(leased[1].ID).Until.Equal(leased[1].Until), true)
	equal(t, "delivery of what was held", t.lease("held").ID, held)
	equal(t, "the add's key is known", t.addOne(keyed("other", "k")).Duplicate, false)
	b.Adds[0].Keys = nil
	res := t.commit(store.Batch{Adds: b.Adds, Settles: b.Settles})
	equal(t, "the add again: duplicate", res.Adds[0].Duplicate, false)
	equal(t, "the settle again", res.Settles[0], store.Done)
}

// A transaction sees what was written in it before.
func transactOwn(t *tester) {
	t.put("old", "work")
	d := t.lease("work")
	a := event("e", "work")
	b := store.Batch{
		Adds:    []store.Add{a},
		Settles: []store.Settle{{Delivery: d.ID, Token: d.Token, To: store.Processed}},
	}
	var first, second *store.Results
	t.transact(func(ctx context.Context, w store.Tx) (err error) {
		if first, err = write(ctx, w, b); err != nil {
			return err
		}
		b.Adds = []store.Add{again(a, "work", "more")}
		second, err = write(ctx, w, b)
		return err
	})
	equal(t, "first arrival: duplicate", first.Adds[0].Duplicate, false)
	equal(t, "second arrival: duplicate", second.Adds[0].Duplicate, true)
	equal(t, "second arrival: missing", second.Adds[0].Missing, 1)
	equal(t, "second arrival: delivery", second.Adds[0].Deliveries[0].ID, first.Adds[0].Deliveries[0].ID)
	equal(t, "second settle", second.Settles[0], store.AlreadySettled)
	equal(t, "deliveries claimed", len(t.claimAll()), 2)
}

// An add is the same add in a transaction and outside: a caller who does not know
// whether his transaction was committed runs it again.
func transactNonce(t *tester) {
	a := event("e", "work")
	for range 2 {
		var res *store.Results
		t.transact(func(ctx context.Context, w store.Tx) (err error) {
			res, err = write(ctx, w, store.Batch{Adds: []store.Add{a}})
			return err
		})
		equal(t, "duplicate", res.Adds[0].Duplicate, false)
	}
	equal(t, "outside: duplicate", t.addOne(a).Duplicate, false)
	equal(t, "deliveries", len(t.find(store.Filter{})), 1)
}

// Leases are not given in a transaction: nobody could work under them before its
// end.
func transactLease(t *tester) {
	a := event("e", "work")
	a.To[0].Lease = lease
	var res *store.Results
	t.transact(func(ctx context.Context, w store.Tx) (err error) {
		res, err = write(ctx, w, store.Batch{Adds: []store.Add{a}})
		return err
	})
	d := res.Adds[0].Deliveries[0]
	equal(t, "token", d.Token, 0)
	equal(t, "state", d.State, store.Queued)
	equal(t, "token of the claim", t.lease("work").Token, 1)
}

// Bad data is refused before the first statement: the transaction goes on.
func transactBadData(t *tester) {
	t.put("old", "work")
	d := t.lease("work")
	bad := badBatches(d)
	var res *store.Results
	t.transact(func(ctx context.Context, w store.Tx) (err error) {
		for _, what := range keys(bad) {
			b := bad[what]
			b.Adds = append([]store.Add{event("beside "+what, "work")}, b.Adds...)
			if _, err := w.Write(ctx, &b); !errors.Is(err, store.ErrBadData) {
				return fmt.Errorf("%s: Write returned %v, want ErrBadData", what, err) //nolint:errorlint // nil, as it may be, is not to be wrapped
			}
		}
		res, err = write(ctx, w, store.Batch{
			Adds:    []store.Add{eventOf(&store.Record{ID: "a\x00b\xff", Tenant: "\x00"}, "odd\x00", "\xff")},
			Settles: []store.Settle{{Delivery: "nobody's\x00", Token: 1, To: store.Dead}, {Delivery: d.ID, Token: d.Token, To: store.Processed}},
		})
		return err
	})
	sameItems(t, "settles", res.Settles, []store.Result{store.LeaseLost, store.Done})
	t.wantState(d.ID, store.Processed)
	equal(t, "deliveries claimed", len(t.claimAll()), 2)
}

// Ordering keys hold in transactions: an add stands behind those committed before
// it, and a settle lets the next go when it is committed.
func transactOrder(t *tester) {
	t.line("k", "1")
	t.transact(func(ctx context.Context, w store.Tx) error {
		_, err := write(ctx, w, store.Batch{Adds: []store.Add{ordered("2", "work", "k"), ordered("3", "work", "k"), ordered("other", "work", "l")}})
		return err
	})
	t.rollback(func(ctx context.Context, w store.Tx) error {
		_, err := write(ctx, w, store.Batch{Adds: []store.Add{ordered("never", "work", "k")}})
		return err
	})
	t.line("k", "4")
	ds := t.next()
	equal(t, "heads claimed", len(ds), 2)
	head := ds[0]
	if head.OrderKey == "l" {
		head = ds[1]
	}
	equal(t, "head", head.Record.ID, "1")
	finish := func(ctx context.Context, w store.Tx) error {
		_, err := write(ctx, w, store.Batch{Settles: []store.Settle{{Delivery: head.ID, Token: head.Token, To: store.Processed}}})
		return err
	}
	for _, id := range []string{"2", "3", "4"} {
		t.rollback(finish)
		t.nothing("work", "the head's end was rolled back")
		t.transact(finish)
		head = t.head(id)
	}
}

// A signal comes when a transaction with adds is committed.
func transactWake(t *tester) {
	wake := t.st.Wake(queue)
	if wake == nil {
		return
	}
	t.transact(func(ctx context.Context, w store.Tx) error {
		_, err := write(ctx, w, store.Batch{Adds: []store.Add{event("e", "work")}})
		// What is signalled so far is about nothing yet.
		for len(wake) > 0 {
			<-wake
		}
		return err
	})
	select {
	case <-wake:
	case <-time.After(patience):
		t.Error("no signal after the commit")
	}
}

// The closure's context is marked: what would wait for the transaction's own end
// is refused at once, and the transaction is none the worse for it.
func transactMarked(t *tester) {
	id := t.put("e", "work")
	type key struct{}
	outer := context.WithValue(t.ctx, key{}, "kept")
	err := t.b.Transact(outer, t.st, func(ctx context.Context, w store.Tx) error {
		if ctx.Value(key{}) != "kept" {
			t.Error("the closure's context has not the values of the outer one")
		}
		_, err := t.st.Commit(ctx, &store.Batch{Adds: []store.Add{event("refused", "work")}})
		_, err2 := t.st.Claim(ctx, queue, store.Claim{Other: 1, Lease: lease})
		_, err3 := t.st.Update(ctx, queue, []string{id}, store.Change{To: store.Dead})
		err4 := t.b.Transact(ctx, t.st, func(context.Context, store.Tx) error { return nil })
		for i, err := range []error{err, err2, err3, err4} {
			if !errors.Is(err, store.ErrInTransaction) {
				t.Errorf("%s in the closure returned %v, want ErrInTransaction", [...]string{"Commit", "Claim", "Update", "Transact"}[i], err)
			}
		}
		_, err = write(ctx, w, store.Batch{Adds: []store.Add{event("new", "work")}})
		return err
	})
	if err != nil {
		t.Fatalf("Transact: %v", err)
	}
	sameItems(t, "claimed", ids(t.claimAll()), []string{"e", "new"})
}

// Transactions at once, beside each other and beside Commit: of one event's many
// arrivals one is stored, and no other is lost.
func transactRace(t *tester) {
	const rounds = 10
	shared := event("shared", "work")
	firsts := make([]int, 6)
	t.together(len(firsts), func(ctx context.Context, i int) error {
		for j := range rounds {
			a := again(shared)
			adds := []store.Add{event(fmt.Sprint(i, " ", j), "work"), a}
			var res *store.Results
			for {
				var err error
				if i%3 == 0 {
					res, err = t.st.Commit(ctx, &store.Batch{Adds: adds})
				} else {
					err = t.b.Transact(ctx, t.st, func(ctx context.Context, w store.Tx) (err error) {
						res, err = write(ctx, w, store.Batch{Adds: adds})
						return err
					})
				}
				if err == nil {
					break
				}
				if !errors.Is(err, store.ErrRetry) {
					return err
				}
			}
			if !res.Adds[1].Duplicate {
				firsts[i]++
			}
		}
		return nil
	})
	sum := 0
	for _, n := range firsts {
		sum += n
	}
	equal(t, "arrivals of the shared event that are no duplicates", sum, 1)
	equal(t, "deliveries", len(t.claimAll()), len(firsts)*rounds+1)
}

// Writes of others that come while a transaction is open come through, at its end
// at the latest: a renewal that waited is not a lost lease.
func transactOthers(t *tester) {
	t.put("e", "work")
	d := t.lease("work")
	type answer struct {
		res *store.Results
		err error
	}
	done := make(chan answer, 1)
	t.transact(func(ctx context.Context, w store.Tx) error {
		if _, err := write(ctx, w, store.Batch{Adds: []store.Add{event("in it", "work")}}); err != nil {
			return err
		}
		go func() {
			res, err := t.st.Commit(t.ctx, &store.Batch{
				Adds:   []store.Add{event("beside it", "work")},
				Renews: []store.Renew{{Delivery: d.ID, Token: d.Token, For: time.Hour}},
			})
			done <- answer{res, err}
		}()
		select {
		case a := <-done: // others may go first, unless there is one writer
			if t.b.OneWriter {
				return fmt.Errorf("commit beside an open transaction of the only writer: %v", a.err) //nolint:errorlint // nil, as it may be, is not to be wrapped
			}
			done <- a
		case <-time.After(50 * time.Millisecond):
		}
		return nil
	})
	a := <-done
	if a.err != nil {
		t.Fatalf("Commit beside a transaction: %v", a.err)
	}
	equal(t, "renewal", a.res.Renews[0], store.Done)
	equal(t, "deliveries claimed", len(t.claimAll()), 2)
}
