package webhook_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

// memoryTx is a transaction over a memory store as far as CompleteIn and SendIn need one:
// what is written becomes true with commit, and a settle's answer is that of the
// delivery as it stands.
type memoryTx struct {
	st      store.Store
	written store.Batch
}

func (tx *memoryTx) Write(_ context.Context, b *store.Batch) (*store.Results, error) {
	tx.written.Adds = append(tx.written.Adds, b.Adds...)
	tx.written.Settles = append(tx.written.Settles, b.Settles...)
	res := &store.Results{}
	for range b.Adds {
		res.Adds = append(res.Adds, store.Added{Result: store.Done})
	}
	for range b.Settles {
		res.Settles = append(res.Settles, store.Done)
	}
	return res, nil
}

func (tx *memoryTx) commit() error {
	res, err := tx.st.Commit(context.Background(), &tx.written)
	if err == nil && res.Settles[0] != store.Done {
		return store.ErrLeaseLost
	}
	return err
}

func TestComplete_OnlyTheCommitCompletes(t *testing.T) {
	down := errors.New("down")
	const commit, rollback = true, false
	for name, c := range map[string]struct {
		end    bool
		result func() error // what the handler does afterwards
		state  store.State
		class  string
	}{
		"committed, nil":         {commit, func() error { return nil }, store.Processed, ""},
		"committed, an error":    {commit, func() error { return down }, store.Processed, ""},
		"committed, permanent":   {commit, func() error { return webhook.Permanent(down) }, store.Processed, ""},
		"committed, discard":     {commit, func() error { return webhook.Discard("x") }, store.Processed, ""},
		"committed, a panic":     {commit, func() error { panic("x") }, store.Processed, ""},
		"rolled back, nil":       {rollback, func() error { return nil }, store.Queued, "not_committed"},
		"rolled back, an error":  {rollback, func() error { return down }, store.Queued, "error"},
		"rolled back, permanent": {rollback, func() error { return webhook.Permanent(down) }, store.Dead, "error"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{Retry: fixed(8, time.Hour)})
				var got collector
				r.inbox.Handle("billing", func(ctx context.Context, e webhook.Event) error {
					_ = got.handle(ctx, e)
					tx := &memoryTx{st: r.mem}
					require.NoError(t, store.CompleteIn(ctx, tx))
					if c.end == commit {
						require.NoError(t, tx.commit())
					}
					return c.result()
				})
				r.run()
				r.add(event("1", "billing"))
				pass(time.Minute)
				d := r.only()
				require.Equal(t, c.state, d.State)
				require.Len(t, d.Attempts, 1)
				require.Equal(t, c.class, d.Attempts[0].Class)
				if c.end == commit {
					require.Equal(t, store.OutcomeProcessed, d.Attempts[0].Outcome)
					require.Len(t, r.logs.having(t, "status", "processed"), 1)
					require.Empty(t, r.logs.having(t, "error", ""), "what the handler said afterwards does not count")
				} else {
					require.Equal(t, 1, d.Spent)
				}
				if c.state == store.Queued {
					pass(time.Hour)
					require.Len(t, got.ids(), 2, "retried")
				}
			})
		})
	}
}

// A handler whose lease is lost cannot complete, and is told so in time to roll
// back.
func TestComplete_LeaseLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		committed := make(chan error, 1)
		r.inbox.Handle("billing", func(ctx context.Context, _ webhook.Event) error {
			steal(t, r, "billing")
			tx := &memoryTx{st: r.mem}
			require.NoError(t, store.CompleteIn(ctx, tx))
			committed <- tx.commit()
			return nil
		})
		r.run()
		r.add(event("1", "billing"))
		require.ErrorIs(t, <-committed, store.ErrLeaseLost)
		synctest.Wait()
		require.Equal(t, store.Processing, r.only().State)
		require.Len(t, r.logs.having(t, "msg", "webhook lease lost"), 1)
		require.Empty(t, r.logs.having(t, "status", "processed"))
	})
}
