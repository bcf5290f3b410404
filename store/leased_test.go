package store_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// tx is a transaction in which every settle has the same result.
type tx struct {
	result  store.Result
	err     error
	batches []*store.Batch
	during  func()
}

func (x *tx) Write(_ context.Context, b *store.Batch) (*store.Results, error) {
	x.batches = append(x.batches, b)
	if x.during != nil {
		x.during()
	}
	if x.err != nil {
		return nil, x.err
	}
	return &store.Results{Settles: []store.Result{x.result}}, nil
}

func TestLeased(t *testing.T) {
	d, completing := store.Leased(t.Context())
	require.Nil(t, d, "a context that is not a handler's")
	require.False(t, completing)

	want := &store.Delivery{ID: "42", Token: 7}
	ctx := store.WithLeased(t.Context(), want)
	d, completing = store.Leased(context.WithoutCancel(ctx))
	require.Same(t, want, d)
	require.False(t, completing)

	inner := store.WithLeased(ctx, &store.Delivery{ID: "43"})
	require.NoError(t, store.CompleteIn(inner, &tx{result: store.Done}))
	_, completing = store.Leased(ctx)
	require.False(t, completing, "the mark is the attempt's that was completed, and no other's")
}

func TestCompleteIn_SettlesUnderTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := store.WithLeased(t.Context(), &store.Delivery{ID: "42", Token: 7})
		began := time.Now()
		time.Sleep(3 * time.Second)
		x := &tx{result: store.Done}
		require.NoError(t, store.CompleteIn(ctx, x))
		require.Equal(t, []*store.Batch{{Settles: []store.Settle{{
			Delivery: "42", Token: 7, To: store.Processed,
			Attempt: &store.Attempt{Token: 7, Start: began, Duration: 3 * time.Second, Outcome: store.OutcomeProcessed},
		}}}}, x.batches)
	})
}

// From the call on only the commit completes the delivery, whatever comes of the
// write: its outcome may be unknown.
func TestCompleteIn_MarksBeforeItWrites(t *testing.T) {
	ctx := store.WithLeased(t.Context(), &store.Delivery{ID: "42", Token: 7})
	marked := false
	x := &tx{err: errors.New("connection reset"), during: func() { _, marked = store.Leased(ctx) }}
	err := store.CompleteIn(ctx, x)
	require.ErrorIs(t, err, x.err)
	require.EqualError(t, err, "webhook: complete delivery 42: connection reset")
	require.True(t, marked, "while it writes")
	_, marked = store.Leased(ctx)
	require.True(t, marked, "after the error")
}

func TestCompleteIn_Refusals(t *testing.T) {
	for name, c := range map[string]struct {
		result store.Result
		want   error
	}{
		"another worker may have it": {store.LeaseLost, store.ErrLeaseLost},
		"completed already":          {store.AlreadySettled, store.ErrLeaseLost},
		"locked":                     {store.Locked, store.ErrRetry},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := store.WithLeased(t.Context(), &store.Delivery{ID: "42", Token: 7})
			err := store.CompleteIn(ctx, &tx{result: c.result})
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, "42")
			_, completing := store.Leased(ctx)
			require.True(t, completing)
		})
	}
	t.Run("forgotten by the store", func(t *testing.T) {
		ctx := store.WithLeased(t.Context(), &store.Delivery{ID: "42", Token: 7})
		require.ErrorContains(t, store.CompleteIn(ctx, &tx{}), "forgot")
	})
	t.Run("not a handler's context", func(t *testing.T) {
		x := &tx{result: store.Done}
		require.ErrorIs(t, store.CompleteIn(t.Context(), x), store.ErrNotFound)
		require.Empty(t, x.batches)
	})
}

func TestInTransaction(t *testing.T) {
	require.NoError(t, store.InTransaction(t.Context()))
	ctx, cancel := context.WithTimeout(store.InTx(t.Context()), time.Hour)
	defer cancel()
	require.ErrorIs(t, store.InTransaction(ctx), store.ErrInTransaction)
}
