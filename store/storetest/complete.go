package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/surehook/webhook/store"
)

var completeCases = []testCase{
	{name: "CompleteIn/OnlyTheCommitCompletes", run: completeCommit, needs: transacts},
	{name: "CompleteIn/RollbackDoesNotComplete", run: completeRollback, needs: transacts},
	{name: "CompleteIn/AfterTheLeaseEnded", run: completeLate, needs: transacts},
	{name: "CompleteIn/AfterAnotherClaimIsLeaseLost", run: completeFenced, needs: transacts},
	{name: "CompleteIn/TwiceIsLeaseLost", run: completeTwice, needs: transacts},
	{name: "CompleteIn/LetsTheNextOfItsKeyGo", run: completeOrder, needs: transacts},
	{name: "CompleteIn/OneEffectForEachEvent", run: completeOnce, needs: transacts},
}

// handle does what a handler does: its effect, which is an event here, and the
// completion of d, in one transaction; then the closure returns with err.
func (t *tester) handle(d store.Delivery, effect string, err error) error {
	return t.b.Transact(store.WithLeased(t.ctx, &d), t.st, func(ctx context.Context, w store.Tx) error {
		if err := store.CompleteIn(ctx, w); err != nil {
			return err
		}
		if _, completing := store.Leased(ctx); !completing {
			return errors.New("CompleteIn left no mark in the closure's context")
		}
		if _, err := write(ctx, w, store.Batch{Adds: []store.Add{event(effect, "effects")}}); err != nil {
			return err
		}
		return err
	})
}

// whatReturned is the settle of the engine when a handler returned that had
// called CompleteIn: failed, whatever the handler returned.
func whatReturned(d store.Delivery) store.Settle {
	return store.Settle{Delivery: d.ID, Token: d.Token, To: store.Queued, Spend: true, Attempt: &store.Attempt{Outcome: store.OutcomeFailed, Err: "not committed"}}
}

func (t *tester) effects(want ...string) {
	t.Helper()
	sameItems(t, "effects", ids(t.find(store.Filter{Destination: "effects"})), want)
}

// The commit completes the delivery, whatever the engine says afterwards.
func completeCommit(t *tester) {
	id := t.put("e", "work")
	d := t.lease("work")
	if err := t.handle(d, "effect", nil); err != nil {
		t.Fatalf("Transact: %v", err)
	}
	t.wantState(id, store.Processed)
	equal(t, "settle of the engine", t.settle(whatReturned(d)), store.AlreadySettled)
	got := t.get(id)
	equal(t, "state", got.State, store.Processed)
	equal(t, "spent", got.Spent, 0)
	equal(t, "attempts", len(got.Attempts), 1)
	equal(t, "outcome of the attempt", got.Attempts[0].Outcome, store.OutcomeProcessed)
	equal(t, "token of the attempt", got.Attempts[0].Token, 1)
	t.effects("effect")
	t.nothing("work", "completed")
}

// Rolled back, the attempt has failed.
func completeRollback(t *tester) {
	id := t.put("e", "work")
	d := t.lease("work")
	if err := t.handle(d, "never", errRollback); !errors.Is(err, errRollback) {
		t.Fatalf("Transact returned %v, want the closure's error", err)
	}
	t.effects()
	t.wantState(id, store.Processing)
	equal(t, "settle of the engine", t.settle(whatReturned(d)), store.Done)
	got := t.get(id)
	equal(t, "state", got.State, store.Queued)
	equal(t, "spent", got.Spent, 1)
	if err := t.handle(t.lease("work"), "effect", nil); err != nil {
		t.Fatalf("second attempt: %v", err)
	}
	t.effects("effect")
}

// A lease is valid as long as its token is the last.
func completeLate(t *tester) {
	id := t.put("e", "work")
	d := t.lease("work")
	t.advance(100 * lease)
	if err := t.handle(d, "effect", nil); err != nil {
		t.Fatalf("Transact after the lease ended: %v", err)
	}
	t.wantState(id, store.Processed)
}

// Once another claim was made, the earlier worker's transaction cannot complete,
// and is rolled back.
func completeFenced(t *tester) {
	id := t.put("e", "work")
	first := t.lease("work")
	t.advance(2 * lease)
	second := t.lease("work")
	if err := t.handle(first, "late", nil); !errors.Is(err, store.ErrLeaseLost) {
		t.Fatalf("the earlier worker's CompleteIn returned %v, want ErrLeaseLost", err)
	}
	t.effects()
	t.wantState(id, store.Processing)
	if err := t.handle(second, "effect", nil); err != nil {
		t.Fatalf("the later worker: %v", err)
	}
	if err := t.handle(first, "late", nil); !errors.Is(err, store.ErrLeaseLost) {
		t.Fatalf("the earlier worker's CompleteIn after the later's returned %v, want ErrLeaseLost", err)
	}
	t.effects("effect")
}

// A second transaction cannot complete what the first did; nor can the same one
// twice.
func completeTwice(t *tester) {
	t.put("e", "work")
	d := t.lease("work")
	if err := t.handle(d, "first", nil); err != nil {
		t.Fatal(err)
	}
	if err := t.handle(d, "second", nil); !errors.Is(err, store.ErrLeaseLost) {
		t.Fatalf("second transaction: %v, want ErrLeaseLost", err)
	}
	t.effects("first")

	id := t.put("f", "work")
	d = t.lease("work")
	err := t.b.Transact(store.WithLeased(t.ctx, &d), t.st, func(ctx context.Context, w store.Tx) error {
		if err := store.CompleteIn(ctx, w); err != nil {
			return fmt.Errorf("first call: %w", err)
		}
		if err := store.CompleteIn(ctx, w); !errors.Is(err, store.ErrLeaseLost) {
			return fmt.Errorf("second call returned %v, want ErrLeaseLost", err) //nolint:errorlint // nil, as it may be, is not to be wrapped
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.wantState(id, store.Processed)
}

// The next of an ordering key goes when the transaction is committed.
func completeOrder(t *tester) {
	t.line("k", "1", "2")
	d := t.head("1")
	if err := t.handle(d, "never", errRollback); !errors.Is(err, errRollback) {
		t.Fatal(err)
	}
	t.nothing("work", "the head's completion was rolled back")
	if err := t.handle(d, "effect", nil); err != nil {
		t.Fatal(err)
	}
	t.processed(t.head("2"))
}

// Workers that lose leases, roll back and try again leave one effect for each
// event, and no event without.
func completeOnce(t *tester) {
	const n = 40
	t.crowd("acme", "work", n)
	var effects sync.Map // those whose transactions were committed
	var left atomic.Int64
	left.Store(n)
	t.together(4, func(ctx context.Context, i int) error {
		for turn := i; left.Load() > 0 && ctx.Err() == nil; turn++ {
			ds, err := t.st.Claim(ctx, queue, store.Claim{Free: map[string]int{"work": 2}, Lease: lease})
			if err != nil {
				return err
			}
			if len(ds) == 0 {
				pause(ctx)
			}
			for _, d := range ds {
				if turn%5 == 0 {
					t.b.Advance(t.st, 2*lease) // this lease and its neighbours' run out
				}
				end := error(nil)
				if turn%4 == 0 {
					end = errRollback
				}
				err := t.handle(d, fmt.Sprint(d.Record.ID, " in attempt ", d.Token), end)
				switch {
				case err == nil:
					if _, twice := effects.LoadOrStore(d.ID, true); twice {
						return fmt.Errorf("%s took effect twice", d.Record.ID)
					}
					left.Add(-1)
				case !errors.Is(err, errRollback) && !errors.Is(err, store.ErrLeaseLost) && !errors.Is(err, store.ErrRetry):
					return err
				}
				if _, err := t.st.Commit(ctx, &store.Batch{Settles: []store.Settle{whatReturned(d)}}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	equal(t, "effects", len(t.find(store.Filter{Destination: "effects"})), n)
	equal(t, "processed", len(t.find(store.Filter{Destination: "work", States: []store.State{store.Processed}})), n)
}
