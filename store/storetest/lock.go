package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/surehook/webhook/store"
)

var lockCases = []testCase{
	{name: "Lock/RenewalCountsAsHeld", run: lockRenew, needs: manyWriters},
	{name: "Lock/SettleIsToldLocked", run: lockSettle, needs: manyWriters},
	{name: "Lock/AddIsTriedAgainBesideOthers", run: lockAdd, needs: manyWriters},
	{name: "Lock/AddToADestinationIsFree", run: lockDestination, needs: manyWriters},
	{name: "Lock/ClaimPassesOver", run: lockClaim, needs: manyWriters},
	{name: "Lock/WriteNeverWaits", run: lockWrite, needs: manyWriters},
}

// manyWriters is true of stores where a transaction locks the rows that it
// touches, and others go on: nobody waits for a row.
func manyWriters(b Backend) bool { return b.Transact != nil && !b.OneWriter }

// beside runs f while a transaction in which w wrote is open, and then ends that
// with end.
func (t *tester) beside(w func(ctx context.Context, w store.Tx) error, end error, f func(t *tester)) {
	t.Helper()
	opened, finish, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- t.b.Transact(t.ctx, t.st, func(ctx context.Context, tx store.Tx) error {
			if err := w(ctx, tx); err != nil {
				return err
			}
			close(opened)
			<-finish
			return end
		})
	}()
	select {
	case <-opened:
	case err := <-ended:
		t.Fatalf("Transact returned %v before its closure did", err)
	}
	func() {
		defer close(finish) // also where f fails
		inner := *t
		ctx, cancel := context.WithTimeout(t.ctx, within)
		defer cancel()
		inner.ctx = ctx
		f(&inner)
	}()
	if err := <-ended; !errors.Is(err, end) {
		t.Fatalf("Transact returned %v, want %v", err, end)
	}
}

func completing(d store.Delivery) func(ctx context.Context, w store.Tx) error {
	return func(ctx context.Context, w store.Tx) error { return store.CompleteIn(store.WithLeased(ctx, &d), w) }
}

// A renewal of a delivery that somebody's transaction has locked is told so, and
// its neighbours are written: one handler must not stall the others' heartbeat.
func lockRenew(t *tester) {
	t.crowd("acme", "work", 5)
	leased := t.claimAll("work")
	t.beside(completing(leased[2]), nil, func(t *tester) {
		var b store.Batch
		for _, d := range leased {
			b.Renews = append(b.Renews, store.Renew{Delivery: d.ID, Token: d.Token, For: time.Hour})
		}
		b.Adds = []store.Add{event("new", "other")}
		for i, r := range t.commit(b).Renews {
			want := store.Done
			if i == 2 {
				want = store.Locked
			}
			equal(t, fmt.Sprintf("renewal %d", i), r, want)
		}
	})
	t.wantState(leased[2].ID, store.Processed)
}

// A settle of a locked delivery is told so; tried again when the transaction is
// over, it is what that left.
func lockSettle(t *tester) {
	t.crowd("acme", "work", 2)
	leased := t.claimAll("work")
	for i, end := range []error{nil, errRollback} {
		d := leased[i]
		t.beside(completing(d), end, func(t *tester) {
			equal(t, "settle while the transaction is open", t.settle(whatReturned(d)), store.Locked)
		})
		want := store.AlreadySettled
		if end != nil {
			want = store.Done
		}
		equal(t, "settle after it", t.settle(whatReturned(d)), want)
	}
}

// An add of an event that somebody's transaction is adding waits for its end on
// the side, and fresh adds beside it do not.
func lockAdd(t *tester) {
	for _, end := range []error{nil, errRollback} {
		a := event(fmt.Sprint("event of a transaction that ends with ", end), "work")
		later := make(chan store.Added, 1)
		failed := make(chan error, 1)
		adding := func(ctx context.Context, w store.Tx) error {
			_, err := write(ctx, w, store.Batch{Adds: []store.Add{a}})
			return err
		}
		outer := t.ctx
		t.beside(adding, end, func(t *tester) {
			go func() {
				res, err := t.st.Commit(outer, &store.Batch{Adds: []store.Add{again(a)}})
				if err != nil {
					failed <- err
					return
				}
				later <- res.Adds[0]
			}()
			t.together(32, func(ctx context.Context, i int) error {
				_, err := t.st.Commit(ctx, &store.Batch{Adds: []store.Add{event(fmt.Sprintf("%x", nonce()), "fresh")}})
				return err
			})
		})
		select {
		case r := <-later:
			equal(t, "the add that met the lock: duplicate", r.Duplicate, end == nil)
		case err := <-failed:
			t.Fatalf("the add that met the lock: %v", err)
		}
		equal(t, "deliveries of the event", len(t.find(store.Filter{EventID: a.Record.ID})), 1)
	}
}

// In a transaction, adds and settles lock no destination that exists: others add
// to it, claim and settle.
func lockDestination(t *tester) {
	t.crowd("acme", "work", 3)
	d := t.lease("work")
	adding := func(ctx context.Context, w store.Tx) error {
		if err := completing(d)(ctx, w); err != nil {
			return err
		}
		_, err := write(ctx, w, store.Batch{Adds: []store.Add{event("in it", "work")}})
		return err
	}
	t.beside(adding, nil, func(t *tester) {
		t.put("beside it", "work")
		leased := t.claimAll("work")
		equal(t, "deliveries claimed beside it", len(leased), 3)
		for _, d := range leased {
			t.failed(d, 0)
		}
	})
	equal(t, "deliveries claimed after it", len(t.claimAll("work")), 4)
}

// A claim passes over a delivery that is locked, and takes the others.
func lockClaim(t *tester) {
	t.crowd("acme", "work", 3)
	leased := t.claimAll("work")
	t.advance(2 * lease)
	t.beside(completing(leased[0]), nil, func(t *tester) {
		equal(t, "deliveries taken over", len(t.claim(store.Claim{Other: 10})), 2)
	})
	t.wantState(leased[0].ID, store.Processed)
	t.nothing("work", "completed or leased")
}

// Nor does Write wait, for another transaction's rows.
func lockWrite(t *tester) {
	t.put("e", "work")
	d := t.lease("work")
	a := event("shared", "work")
	first := func(ctx context.Context, w store.Tx) error {
		if err := completing(d)(ctx, w); err != nil {
			return err
		}
		_, err := write(ctx, w, store.Batch{Adds: []store.Add{a}})
		return err
	}
	t.beside(first, nil, func(t *tester) {
		for what, second := range map[string]func(ctx context.Context, w store.Tx) error{
			"CompleteIn": completing(d),
			"an add": func(ctx context.Context, w store.Tx) error {
				_, err := w.Write(ctx, &store.Batch{Adds: []store.Add{again(a)}})
				return err
			},
		} {
			if err := t.b.Transact(t.ctx, t.st, second); !errors.Is(err, store.ErrRetry) {
				t.Errorf("%s beside another's: %v, want ErrRetry", what, err)
			}
		}
	})
}
