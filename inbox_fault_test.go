package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

var errDown = errors.New("store is down")

// The commit came through and its answer did not: the add is committed again, and
// finds its own event, with the lease that it was born with.
func TestFault_CommitOfUnknownOutcome(t *testing.T) {
	for name, running := range map[string]bool{"while running": true, "before Run": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{})
				var got collector
				r.inbox.Handle("billing", got.handle)
				if running {
					r.run()
				}
				var failed atomic.Int32
				r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
					res, err := real(ctx, b)
					if hasAdds(b) && failed.Add(1) <= 3 {
						return nil, errDown
					}
					return res, err
				})
				require.Equal(t, []webhook.Stored{{ID: "1", Deliveries: 1}}, r.add(event("1", "billing")), "no duplicate of itself")
				require.Len(t, r.deliveries(), 1)
				if !running {
					r.run()
				}
				pass(time.Minute)
				require.Equal(t, []string{"1"}, got.ids())
				d := r.only()
				require.Equal(t, store.Processed, d.State)
				require.Zero(t, d.Lost)
				require.Equal(t, uint64(1), d.Token)
			})
		})
	}
}

// All tries failed though the first came through: the sender is told so, comes
// again, and is answered as a duplicate.
func TestFault_RefusedAndYetStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var got collector
		r.inbox.Handle("billing", got.handle)
		r.run()
		r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
			res, err := real(ctx, b)
			if hasAdds(b) {
				return nil, errDown
			}
			return res, err
		})
		_, err := r.inbox.Add(t.Context(), event("1", "billing"))
		require.ErrorIs(t, err, errDown)
		r.st.onCommit(nil)
		require.True(t, r.add(event("1", "billing"))[0].Duplicate)
		pass(5 * time.Minute)
		require.Equal(t, []string{"1"}, got.ids(), "the lease that nobody heard of ran out")
		require.Equal(t, store.Processed, r.only().State)
		r.add(event("2", "billing"))
		require.Equal(t, []string{"1", "2"}, afterWait(&got), "the slot is free")
	})
}

func afterWait(c *collector) []string {
	synctest.Wait()
	return c.ids()
}

func TestFault_StoreIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		r.run()
		r.st.onCommit(failingCommit(errDown, anyBatch))
		before, _, _ := r.st.used()
		start := time.Now()
		_, err := r.inbox.Add(t.Context(), event("1", "billing"))
		require.ErrorIs(t, err, errDown)
		require.LessOrEqual(t, time.Since(start), 3*time.Second)
		require.Greater(t, time.Since(start), 2*time.Second)
		after, _, _ := r.st.used()
		require.Less(t, after-before, 20, "with pauses between")
		require.Empty(t, r.deliveries())

		// All slots are free again.
		r.st.onCommit(nil)
		for _, e := range numbered("", 64, "billing") {
			r.add(e)
		}
		pass(time.Second)
		require.Equal(t, map[store.State]int{store.Processed: 64}, r.states())
	})
}

// What another try would not mend is not tried again.
func TestFault_FinalErrors(t *testing.T) {
	for _, final := range []error{store.ErrBadData, store.ErrClosed, store.ErrInTransaction} {
		t.Run(final.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{})
				r.inbox.Handle("billing", new(collector).handle)
				r.st.onCommit(failingCommit(fmt.Errorf("add 0: %w", final), hasAdds))
				start := time.Now()
				_, err := r.inbox.Add(t.Context(), event("1", "billing"))
				require.ErrorIs(t, err, final)
				require.Zero(t, time.Since(start))
				commits, _, _ := r.st.used()
				require.Equal(t, 1, commits)
			})
		})
	}
}

func TestFault_CallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		r.st.onCommit(failingCommit(errDown, hasAdds))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := r.inbox.Add(ctx, event("1", "billing"))
		require.Error(t, err)
		require.Equal(t, time.Second, time.Since(start))
	})
}

// A store that is slow is not asked again and again on top of it.
func TestFault_SlowCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var got collector
		r.inbox.Handle("billing", got.handle)
		r.run()
		slow := func(d time.Duration, end error) {
			r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
				if !hasAdds(b) {
					return real(ctx, b)
				}
				time.Sleep(d)
				if end != nil {
					return nil, end
				}
				return real(ctx, b)
			})
		}
		slow(8*time.Second, nil)
		require.Equal(t, 1, r.add(event("1", "billing"))[0].Deliveries)
		require.Equal(t, []string{"1"}, afterWait(&got))
		slow(10*time.Second, context.DeadlineExceeded)
		start := time.Now()
		_, err := r.inbox.Add(t.Context(), event("2", "billing"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 10*time.Second, time.Since(start))
	})
}

func TestFault_ClaimsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var got collector
		r.inbox.Handle("billing", got.handle)
		r.run()
		r.st.onClaim(func(context.Context, store.Claim, claimFunc) ([]store.Delivery, error) { return nil, errDown })
		other := newRigOn(t, r.mem, webhook.QueueConfig{})
		other.inbox.Handle("billing", got.handle)
		_, before, _ := r.st.used()
		for i := range 600 { // each wakes the claims
			other.add(event(fmt.Sprint(i), "billing"))
			pass(100 * time.Millisecond)
		}
		_, after, _ := r.st.used()
		require.Less(t, after-before, 150, "no busy loop in a minute of failures and wake-ups")
		require.NotEmpty(t, r.logs.having(t, "msg", "webhook claim fails"))
		require.Empty(t, got.ids())
		r.st.onClaim(nil)
		pass(3 * time.Second)
		require.Len(t, got.ids(), 600)
	})
}

// Attempts that cannot be settled are settled when the store is back, and not
// made again; the handlers do not stop meanwhile, and the memory is bounded.
func TestFault_SettlesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Concurrency: 2})
		var g gauge
		r.inbox.Handle("billing", g.takes(time.Millisecond))
		r.run()
		r.st.onCommit(failingCommit(errDown, hasSettles))
		for _, e := range numbered("", 100, "billing") {
			r.add(e)
			pass(10 * time.Millisecond)
		}
		pass(time.Minute)
		require.Equal(t, 8*2+2, g.seenEntered(), "eight for each that may run may be unsettled, and those that run")
		r.st.onCommit(nil)
		pass(time.Minute)
		require.Equal(t, map[store.State]int{store.Processed: 100}, r.states())
		require.Equal(t, 100, g.seenEntered())
		for _, d := range r.deliveries() {
			require.Zero(t, d.Lost)
		}
	})
}

// The settle came through and its answer did not: it is told as what it was.
func TestFault_SettleOfUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var got collector
		r.inbox.Handle("billing", got.handle)
		r.run()
		var failed atomic.Bool
		r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
			res, err := real(ctx, b)
			if hasSettles(b) && failed.CompareAndSwap(false, true) {
				return nil, errDown
			}
			return res, err
		})
		r.add(event("1", "billing"))
		pass(time.Minute)
		require.Equal(t, []string{"1"}, got.ids())
		d := r.only()
		require.Equal(t, store.Processed, d.State)
		require.Len(t, d.Attempts, 1)
		require.Len(t, r.logs.having(t, "status", "processed"), 1)
		require.Empty(t, r.logs.having(t, "msg", "lease lost"))
	})
}

// A settle whose row somebody has is tried again, alone.
func TestFault_SettleIsLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var got collector
		r.inbox.Handle("billing", got.handle)
		r.run()
		unlock := time.Now().Add(40 * time.Second)
		r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
			if hasSettles(b) && time.Now().Before(unlock) {
				return &store.Results{Settles: []store.Result{store.Locked}}, nil
			}
			return real(ctx, b)
		})
		r.add(event("1", "billing"))
		pass(30 * time.Second)
		require.Equal(t, store.Processing, r.only().State)
		pass(30 * time.Second)
		require.Equal(t, store.Processed, r.only().State)
		require.Equal(t, []string{"1"}, got.ids())
	})
}

// A locked renewal counts as held: it is no reason to end the context.
func TestFault_RenewalIsLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var g gauge
		r.inbox.Handle("billing", g.takes(20*time.Second))
		r.run()
		r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
			if hasRenewals(b) {
				return &store.Results{Renews: []store.Result{store.Locked}}, nil
			}
			return real(ctx, b)
		})
		r.add(event("1", "billing"))
		pass(25 * time.Second)
		require.Equal(t, store.Processed, r.only().State)
	})
}

// What the store refuses to keep of an attempt does not keep it from being settled.
func TestFault_AttemptIsBadData(t *testing.T) {
	for name, lost := range map[string]int{"tried": 0, "not tried": 5} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{})
				r.inbox.Handle("billing", func(context.Context, webhook.Event) error { return webhook.Permanent(errors.New("odd")) })
				r.add(event("1", "billing"))
				for range lost {
					r.lose("billing")
				}
				r.st.onCommit(failingCommit(store.ErrBadData, func(b *store.Batch) bool {
					return hasSettles(b) && (b.Settles[0].Attempt != nil || b.Settles[0].Reason != "")
				}))
				r.run()
				pass(time.Second)
				require.Equal(t, store.Dead, r.only().State)
			})
		})
	}
}

// A store that forgets to answer is no reason to believe that it wrote.
func TestFault_StoreForgetsToAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		r.st.onCommit(func(context.Context, *store.Batch, commitFunc) (*store.Results, error) {
			return &store.Results{}, nil
		})
		_, err := r.inbox.Add(t.Context(), event("1", "billing"))
		require.EqualError(t, err, `webhook: add to queue "inbox": webhook: the store forgot to answer an add`)
	})
}
