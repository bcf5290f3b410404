package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

func TestDrain_WhatRunsFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var g gauge
		r.inbox.Handle("billing", g.takes(20*time.Second))
		stop := r.run()
		r.add(numbered("", 10, "billing")...)
		synctest.Wait()
		start := time.Now()
		require.NoError(t, stop())
		require.Equal(t, 20*time.Second, time.Since(start))
		require.Equal(t, map[store.State]int{store.Processed: 10}, r.states())
	})
}

// What has not started is another's at once: it is not left to its lease, spends
// nothing, and no trace of an attempt stays.
func TestDrain_HandsBackWhatHasNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Concurrency: 2})
		var g gauge
		r.inbox.Handle("billing", onceQuick(g.takes(20*time.Second)))
		stop := r.run()
		r.quicken("billing")
		r.add(numbered("run", 2, "billing")...)
		synctest.Wait()
		r.add(numbered("wait", 2, "billing")...)
		require.Equal(t, map[store.State]int{store.Processed: 1, store.Processing: 4}, r.states())

		other := newRigOn(t, r.mem, webhook.QueueConfig{})
		var got collector
		other.inbox.Handle("billing", got.handle)
		other.run()

		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		synctest.Wait()
		require.ElementsMatch(t, []string{"wait00000", "wait00001"}, got.ids(), "no time has passed")
		for _, d := range r.deliveries()[3:] {
			require.Equal(t, store.Processed, d.State)
			require.Zero(t, d.Spent)
			require.Zero(t, d.Lost)
			require.Len(t, d.Attempts, 1, "only the other's")
			require.Equal(t, uint64(2), d.Token)
		}
		require.NoError(t, <-stopped)
		require.Equal(t, map[store.State]int{store.Processed: 5}, r.states())
		require.Equal(t, 2, g.seenEntered())
	})
}

func TestDrain_TimeIsOver(t *testing.T) {
	for name, c := range map[string]struct {
		result error
		state  store.State
	}{
		"error":         {errors.New("interrupted"), store.Queued},
		"the context's": {context.Canceled, store.Queued},
		"permanent":     {webhook.Permanent(errors.New("interrupted")), store.Queued},
		"deferral":      {webhook.RetryAfter(time.Hour, nil), store.Queued},
		"success":       {nil, store.Processed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{Drain: 10 * time.Second})
				cause := make(chan error, 1)
				r.inbox.Handle("billing", func(ctx context.Context, _ webhook.Event) error {
					<-ctx.Done()
					cause <- context.Cause(ctx)
					return c.result
				})
				stop := r.run()
				r.add(event("1", "billing"))
				synctest.Wait()
				start := time.Now()
				require.NoError(t, stop())
				require.Equal(t, 10*time.Second, time.Since(start))
				require.EqualError(t, <-cause, "webhook: the time to drain is over")
				d := r.only()
				require.Equal(t, c.state, d.State)
				require.Zero(t, d.Spent)
				require.Zero(t, d.Deferred)
				if c.state == store.Queued {
					require.Empty(t, d.Attempts, "a hand-back")
					require.False(t, d.Due.After(time.Now()), "due at once")
				}
			})
		})
	}
}

func TestDrain_NamesWhatNeverReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Drain: 10 * time.Second})
		release := make(chan struct{})
		r.inbox.Handle("stuck", func(context.Context, webhook.Event) error { <-release; return nil })
		r.inbox.Handle("billing", new(collector).handle)
		stop := r.run()
		r.add(event("1", "stuck"))
		r.add(event("2", "billing"))
		synctest.Wait()
		start := time.Now()
		err := stop()
		require.LessOrEqual(t, time.Since(start), 15*time.Second)
		require.ErrorContains(t, err, fmt.Sprintf(`webhook: drain queue "inbox": still running or not settled, their leases are kept: delivery %s of "stuck"`, r.deliveries()[0].ID))
		require.NotContains(t, err.Error(), "billing")
		require.Equal(t, store.Processing, r.deliveries()[0].State)
		require.Error(t, r.inbox.Health(t.Context()))
		close(release)
	})
}

// What never ends may be an add: there is no lease to name.
func TestDrain_WhileAnAddIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Drain: time.Second})
		r.inbox.Handle("billing", new(collector).handle)
		stop := r.run()
		release := make(chan struct{})
		r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
			<-release
			return real(ctx, b)
		})
		go func() { _, _ = r.inbox.Add(context.Background(), event("1", "billing")) }()
		synctest.Wait()
		require.EqualError(t, stop(), `webhook: drain queue "inbox": the store does not say whether events were stored whose deliveries were to begin here`)
		close(release)
	})
}

func TestDrain_NamesNoMoreThanTen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Drain: time.Second})
		release := make(chan struct{})
		r.inbox.Handle("stuck", func(context.Context, webhook.Event) error { <-release; return nil })
		stop := r.run()
		r.add(numbered("", 14, "stuck")...)
		synctest.Wait()
		require.ErrorContains(t, stop(), " and 4 more")
		close(release)
	})
}

// The store is down when the drain begins: what is not settled is named.
func TestDrain_StoreIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Drain: 10 * time.Second})
		r.inbox.Handle("billing", new(collector).handle)
		r.st.onCommit(failingCommit(errors.New("down"), hasSettles))
		stop := r.run()
		r.add(event("1", "billing"))
		synctest.Wait()
		start := time.Now()
		require.ErrorContains(t, stop(), r.only().ID)
		require.LessOrEqual(t, time.Since(start), 15*time.Second)
		synctest.Wait()
		require.Len(t, r.logs.having(t, "msg", "webhook delivery not settled"), 1)
	})
}

func TestDrain_AddDuringAndAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var g gauge
		r.inbox.Handle("billing", g.takes(20*time.Second))
		stop := r.run()
		r.add(event("before", "billing"))
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		pass(time.Second)
		r.add(event("during", "billing"))
		require.NoError(t, <-stopped)
		r.add(event("after", "billing"))
		require.Equal(t, map[store.State]int{store.Processed: 1, store.Queued: 2}, r.states(), "stored, and nobody's")
		require.Equal(t, 1, g.seenEntered())

		other := newRigOn(t, r.mem, webhook.QueueConfig{})
		var got collector
		other.inbox.Handle("billing", got.handle)
		other.run()
		require.ElementsMatch(t, []string{"during", "after"}, got.ids())
	})
}

// Commits of adds that are under way when the drain begins end within it: what
// was born leased by them is handed back, and Run waits for that.
func TestDrain_WaitsForAddsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var got collector
		r.inbox.Handle("billing", got.handle)
		r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
			if hasAdds(b) {
				time.Sleep(2 * time.Second)
			}
			return real(ctx, b)
		})
		stop := r.run()
		added := make(chan error, 1)
		go func() {
			_, err := r.inbox.Add(t.Context(), event("1", "billing"))
			added <- err
		}()
		synctest.Wait()
		require.NoError(t, stop())
		require.NoError(t, <-added)
		require.Empty(t, got.ids())
		d := r.only()
		require.Equal(t, store.Queued, d.State)
		require.Equal(t, uint64(1), d.Token, "it was born leased")
	})
}

// A claim that is under way when Run's context ends may have taken leases: they
// are not left to run out.
func TestDrain_ClaimUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var got collector
		r.inbox.Handle("billing", got.handle)
		r.st.onClaim(func(ctx context.Context, c store.Claim, real claimFunc) ([]store.Delivery, error) {
			ds, err := real(ctx, c)
			time.Sleep(time.Second) // committed, and the answer is on its way
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return ds, err
		})
		r.add(event("1", "billing"))
		stop := r.run()
		require.Equal(t, store.Processing, r.only().State)
		require.NoError(t, stop())
		d := r.only()
		require.NotEqual(t, store.Processing, d.State)
	})
}

// A reservation that races with the end of Run is started by nobody: after Run
// nothing has a lease, whichever came first.
func TestDrain_RacesWithAdds(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, webhook.QueueConfig{})
			r.inbox.Handle("billing", new(collector).handle)
			stop := r.run()
			added := make(chan struct{})
			go func() {
				defer close(added)
				r.add(numbered("", 3, "billing")...)
			}()
			require.NoError(t, stop())
			<-added
			synctest.Wait()
			require.Zero(t, r.states()[store.Processing])
		})
	}
}

// runner is a Run of a test's own.
type runner func(context.Context) error

func (f runner) Run(ctx context.Context) error { return f(ctx) }

func TestRun_EndsAllWhenOneFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var g gauge
		r.inbox.Handle("billing", g.takes(20*time.Second))
		broken, late := errors.New("broken"), errors.New("late")
		start := time.Now()
		done := make(chan error, 1)
		go func() {
			done <- webhook.Run(t.Context(), r.inbox,
				runner(func(context.Context) error { time.Sleep(5 * time.Second); return broken }),
				runner(func(ctx context.Context) error { <-ctx.Done(); return late }))
		}()
		synctest.Wait()
		r.add(event("1", "billing"))
		err := <-done
		require.ErrorIs(t, err, broken)
		require.ErrorIs(t, err, late)
		require.Equal(t, 20*time.Second, time.Since(start), "the inbox drained")
		require.Equal(t, store.Processed, r.only().State)
	})
}

func TestRun_UntilContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newRig(t, webhook.QueueConfig{}), newRig(t, webhook.QueueConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		require.NoError(t, webhook.Run(ctx, first.inbox, second.inbox))
		require.Equal(t, time.Minute, time.Since(start))
		require.ErrorContains(t, first.inbox.Run(t.Context()), `webhook: run queue "inbox": Run was called before`)
	})
}

// A store that says it is another's, or closed, ends Run at once.
func TestRun_EndsWithTheStore(t *testing.T) {
	for _, err := range []error{store.ErrBusy, store.ErrClosed} {
		t.Run(err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{})
				r.inbox.Handle("billing", new(collector).handle)
				r.st.onClaim(func(context.Context, store.Claim, claimFunc) ([]store.Delivery, error) {
					return nil, fmt.Errorf("webhooks.db: process 42: %w", err)
				})
				got := r.inbox.Run(t.Context())
				require.ErrorIs(t, got, err)
				require.ErrorContains(t, got, `webhook: run queue "inbox": webhooks.db: process 42`)
			})
		})
	}
}
