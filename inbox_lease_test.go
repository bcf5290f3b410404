package webhook_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

func TestLease_RenewedWithinTheTimeout(t *testing.T) {
	for name, born := range map[string]bool{"born with the add": true, "claimed": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{Lease: 30 * time.Second})
				var g gauge
				r.inbox.Handle("billing", g.takes(55*time.Second))
				if born {
					r.run()
					r.add(event("1", "billing"))
				} else {
					r.add(event("1", "billing"))
					r.run()
				}
				pass(5 * time.Minute)
				_, _, entered := g.seen()
				require.Equal(t, 1, entered)
				d := r.only()
				require.Equal(t, store.Processed, d.State)
				require.Zero(t, d.Lost)
				require.Equal(t, uint64(1), d.Token)
			})
		})
	}
}

// What waits for its turn in hand does so for a second: then it is whoever's.
func TestLease_HandedBackWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Concurrency: 2})
		var g gauge
		r.inbox.Handle("billing", onceQuick(g.takes(50*time.Second)))
		r.run()
		r.quicken("billing")
		r.add(numbered("", 4, "billing")...)
		require.Equal(t, map[store.State]int{store.Processed: 1, store.Processing: 4}, r.states())
		pass(time.Second)
		require.Equal(t, map[store.State]int{store.Processed: 1, store.Processing: 2, store.Queued: 2}, r.states())
		pass(5 * time.Minute)
		_, highest, entered := g.seen()
		require.Equal(t, []int{2, 4}, []int{highest, entered})
		for _, d := range r.deliveries() {
			require.Equal(t, store.Processed, d.State)
			require.Zero(t, d.Lost+d.Spent)
		}
	})
}

// steal lets the leases of r run out in the store, and has another process claim
// what they were about.
func steal(t *testing.T, r *rig, handler string) []store.Delivery {
	t.Helper()
	r.st.onClaim(noClaims)
	r.mem.Advance(time.Minute)
	ds, err := r.mem.Claim(t.Context(), "inbox", store.Claim{Free: map[string]int{handler: 10}, Lease: time.Hour})
	require.NoError(t, err)
	require.NotEmpty(t, ds)
	return ds
}

func TestLease_LostEndsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Lease: 30 * time.Second})
		var cause error
		var ended time.Time
		r.inbox.Handle("billing", func(ctx context.Context, _ webhook.Event) error {
			<-ctx.Done()
			cause, ended = context.Cause(ctx), time.Now()
			return nil // a success that does not count
		})
		r.run()
		r.add(event("1", "billing"))
		pass(3 * time.Second)
		stolen, at := steal(t, r, "billing"), time.Now()
		pass(time.Minute)

		require.ErrorIs(t, cause, store.ErrLeaseLost)
		require.LessOrEqual(t, ended.Sub(at), 10*time.Second, "a heartbeat")
		d := r.only()
		require.Equal(t, store.Processing, d.State, "it is the other's")
		require.Equal(t, stolen[0].Token, d.Token)
		lost := r.logs.having(t, "msg", "webhook lease lost")
		require.Len(t, lost, 1)
		require.Equal(t, d.ID, lost[0]["delivery_id"])
		require.Empty(t, r.logs.having(t, "status", "processed"), "what was refused is not told as processed")
	})
}

// A settle is refused however its attempt ended, and the handler that has the
// delivery now is not disturbed.
func TestLease_LateSettleIsRefused(t *testing.T) {
	for name, result := range map[string]error{
		"success": nil, "failure": errors.New("down"), "dead": webhook.Permanent(errors.New("never")), "discarded": webhook.Discard("x"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{})
				release := make(chan struct{})
				r.inbox.Handle("billing", func(context.Context, webhook.Event) error { <-release; return result })
				r.run()
				r.add(event("1", "billing"))
				synctest.Wait()
				steal(t, r, "billing")
				before := r.only()
				close(release)
				synctest.Wait()
				require.Equal(t, before, r.only())
				require.Len(t, r.logs.having(t, "msg", "webhook lease lost"), 1)
			})
		})
	}
}

// A delivery that waits for its turn is not started once its lease is lost.
func TestLease_LostWhileWaitingIsNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Concurrency: 1})
		release := make(chan struct{})
		var got collector
		r.inbox.Handle("stuck", func(context.Context, webhook.Event) error { <-release; return nil })
		r.inbox.Handle("billing", got.handle)
		r.run()
		r.add(event("1", "stuck"))
		synctest.Wait()
		r.add(event("2", "billing"))
		synctest.Wait()
		steal(t, r, "billing")
		pass(11 * time.Second)
		close(release)
		synctest.Wait()
		require.Empty(t, got.ids())
	})
}

// Nor where nobody could tell that it is lost: the store was out of reach for
// longer than a lease, as when a process is stopped and goes on later.
func TestLease_RunOutWhileWaitingIsNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Concurrency: 1})
		release := make(chan struct{})
		var got collector
		r.inbox.Handle("stuck", func(context.Context, webhook.Event) error { <-release; return nil })
		r.inbox.Handle("billing", got.handle)
		r.run()
		r.add(event("1", "stuck"))
		synctest.Wait()
		r.add(event("2", "billing"))
		r.st.onCommit(failingCommit(errors.New("out of reach"), hasRenewals))
		r.st.onClaim(noClaims)
		pass(31 * time.Second)
		ds, err := r.mem.Claim(t.Context(), "inbox", store.Claim{Free: map[string]int{"billing": 1}, Lease: 5 * time.Second})
		require.NoError(t, err)
		require.Len(t, ds, 1)
		close(release)
		synctest.Wait()
		require.Empty(t, got.ids(), "another has it")

		r.st.onCommit(nil)
		r.st.onClaim(nil)
		pass(10 * time.Second)
		require.Equal(t, []string{"2"}, got.ids())
	})
}

// A failed heartbeat is tried again sooner than at the next third of the lease:
// what runs is not lost to a short failure of the store.
func TestLease_SurvivesShortFailureOfRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var g gauge
		r.inbox.Handle("billing", g.takes(50*time.Second))
		r.run()
		r.add(event("1", "billing"))
		pass(11 * time.Second) // renewed once, until 40 s
		r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
			if hasRenewals(b) {
				time.Sleep(time.Second)
				return nil, errDown
			}
			return real(ctx, b)
		})
		pass(25 * time.Second)
		r.st.onCommit(nil)
		pass(5 * time.Minute)
		require.Equal(t, 1, g.seenEntered())
		require.Zero(t, r.only().Lost)
		require.NotEmpty(t, r.logs.having(t, "msg", "webhook leases not renewed"))
	})
}

// A store that leases and whose answers do not arrive loses no attempt: nothing was
// tried.
func TestLease_ClaimsUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Concurrency: 4})
		r.inbox.Handle("billing", new(collector).handle)
		var down atomic.Bool
		var unanswered atomic.Int64
		down.Store(true)
		r.st.onClaim(func(ctx context.Context, c store.Claim, real claimFunc) ([]store.Delivery, error) {
			ds, err := real(ctx, c)
			if down.Load() && len(ds) > 0 {
				unanswered.Add(int64(len(ds)))
				return nil, context.DeadlineExceeded
			}
			return ds, err
		})
		r.add(numbered("", 10, "billing")...)
		r.run()
		pass(5 * time.Minute)
		require.Greater(t, unanswered.Load(), int64(50), "each was leased five times")
		require.Zero(t, r.states()[store.Processed])
		down.Store(false)
		pass(2 * time.Minute)
		require.Equal(t, map[store.State]int{store.Processed: 10}, r.states())
		for _, d := range r.deliveries() {
			require.Zero(t, d.Lost)
			require.Len(t, d.Attempts, 1)
		}
	})
}

// What was leased by a claim that was answered, before or after such a one, is lost if
// it runs out.
func TestLease_LostBesideClaimsUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Timeout: time.Second})
		release := make(chan struct{})
		r.inbox.Handle("billing", func(context.Context, webhook.Event) error { <-release; return nil })
		n := 0
		r.st.onClaim(func(ctx context.Context, c store.Claim, real claimFunc) ([]store.Delivery, error) {
			if n++; n%2 == 0 {
				return nil, context.DeadlineExceeded
			}
			return real(ctx, c)
		})
		r.add(event("1", "billing"))
		r.run()
		pass(45 * time.Second)
		require.Equal(t, 1, r.only().Lost)
		close(release)
	})
}
