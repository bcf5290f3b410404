package webhook_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

// onceQuick is h but for the first event, which is processed at once: what comes
// after it is expected to be as quick, and waits in hand.
func onceQuick(h webhook.Handler) webhook.Handler {
	var first atomic.Bool
	return func(ctx context.Context, e webhook.Event) error {
		if first.CompareAndSwap(false, true) {
			return nil
		}
		return h(ctx, e)
	}
}

// quicken has the one event of onceQuick processed.
func (r *rig) quicken(handler string) {
	r.t.Helper()
	r.add(event("quick", handler))
	synctest.Wait()
	require.Equal(r.t, store.Processed, r.only().State)
}

// What is slow does not wait here, where no other process could take it.
func TestAhead_NothingOfWhatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Concurrency: 2})
		r.inbox.Handle("billing", new(gauge).takes(10*time.Second))
		r.run()
		for range 3 { // none has ended; all have; a second time
			r.add(numbered(time.Now().String(), 4, "billing")...)
			synctest.Wait()
			require.Equal(t, 2, r.states()[store.Processing])
			require.Equal(t, 2, r.states()[store.Queued])
			pass(20 * time.Second)
			require.Zero(t, r.states()[store.Queued]+r.states()[store.Processing])
		}
	})
}

// What is quick does: the next attempt begins before the store is asked again, and
// the store is asked for several at once.
func TestAhead_NoAttemptWaitsForAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Concurrency: 16})
		r.inbox.Handle("billing", new(gauge).takes(time.Millisecond))
		var claims atomic.Int64
		r.st.onClaim(func(ctx context.Context, c store.Claim, real claimFunc) ([]store.Delivery, error) {
			claims.Add(1)
			time.Sleep(500 * time.Microsecond) // half of what an attempt takes
			return real(ctx, c)
		})
		r.add(numbered("", 1600, "billing")...)
		start := time.Now()
		r.run()
		for r.states()[store.Processed] < 1600 {
			pass(time.Millisecond)
		}
		require.Less(t, time.Since(start), 110*time.Millisecond, "100 ms of work in each slot")
		require.Less(t, claims.Load(), int64(200), "eight at a time")
	})
}

// A pace that was not kept: whoever waited too long is handed back, since the handler
// may be paused.
func TestAhead_PausedWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Concurrency: 2})
		var g gauge
		r.inbox.Handle("billing", onceQuick(g.takes(5*time.Second)))
		r.run()
		r.quicken("billing")
		r.add(numbered("", 4, "billing")...)
		require.Equal(t, 4, r.states()[store.Processing], "two wait in hand")
		require.NoError(t, r.inbox.Queue().Pause(t.Context(), "billing", "looked at"))
		pass(time.Minute)
		require.Equal(t, map[store.State]int{store.Processed: 3, store.Queued: 2}, r.states())
		for _, d := range r.deliveries()[3:] {
			require.Zero(t, d.Spent)
			require.Empty(t, d.Attempts)
		}
		require.NoError(t, r.inbox.Queue().Resume(t.Context(), "billing"))
		pass(time.Minute)
		require.Equal(t, map[store.State]int{store.Processed: 5}, r.states())
		_, highest, entered := g.seen()
		require.Equal(t, []int{2, 4}, []int{highest, entered})
	})
}

// A store that is slow is no pace of the handler's.
func TestAhead_SlowStore(t *testing.T) {
	for _, slow := range []time.Duration{900 * time.Millisecond, 1100 * time.Millisecond, 3 * time.Second} {
		t.Run(slow.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{})
				r.inbox.Handle("billing", new(gauge).takes(time.Millisecond))
				r.st.onClaim(func(ctx context.Context, c store.Claim, real claimFunc) ([]store.Delivery, error) {
					ds, err := real(ctx, c)
					time.Sleep(slow)
					return ds, err
				})
				r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
					res, err := real(ctx, b)
					if hasAdds(b) {
						time.Sleep(slow)
					}
					return res, err
				})
				r.add(numbered("queued", 5, "billing")...)
				r.run()
				pass(5 * time.Second)
				r.add(numbered("born", 5, "billing")...)
				pass(5 * time.Second)
				require.Equal(t, map[store.State]int{store.Processed: 10}, r.states())
				for _, d := range r.deliveries() {
					require.Equal(t, uint64(1), d.Token)
				}
			})
		})
	}
}

// What waits behind handlers that never return is another process's in a moment.
func TestAhead_BehindHandlersThatHang(t *testing.T) {
	for name, limit := range map[string]int{"of all": 0, "of the handler": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := webhook.QueueConfig{Concurrency: 2, Timeout: 10 * time.Second, Drain: time.Second}
				if limit > 0 {
					c.Concurrency = 8
				}
				r := newRig(t, c)
				release := make(chan struct{})
				r.inbox.HandleWith("billing", onceQuick(func(context.Context, webhook.Event) error { <-release; return nil }), webhook.HandlerConfig{Concurrency: limit})
				stop := r.run()
				r.quicken("billing")
				r.add(numbered("hangs", 2, "billing")...)
				synctest.Wait()
				r.add(numbered("waits", 2, "billing")...)
				require.Equal(t, 4, r.states()[store.Processing])
				other := newRigOn(t, r.mem, webhook.QueueConfig{})
				var got collector
				other.inbox.Handle("billing", got.handle)
				other.run()
				pass(3 * time.Second)
				require.ElementsMatch(t, []string{"waits00000", "waits00001"}, got.ids())
				require.Error(t, stop())
				close(release)
			})
		})
	}
}

// A suspect waits until nothing else is in hand: what waits itself must not keep it
// from its turn.
func TestAhead_SuspectBehindHandlersThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Concurrency: 8, Timeout: 10 * time.Second, Drain: time.Second})
		neighbour := newRigOn(t, r.mem, webhook.QueueConfig{Name: "neighbour"})
		release := make(chan struct{})
		r.inbox.HandleWith("billing", onceQuick(func(context.Context, webhook.Event) error { <-release; return nil }), webhook.HandlerConfig{Concurrency: 2})
		var suspect, innocent collector
		r.inbox.Handle("suspect", suspect.handle)
		neighbour.inbox.Handle("innocent", innocent.handle)
		stop := r.run()
		neighbour.run()
		r.quicken("billing")
		r.add(numbered("hangs", 2, "billing")...)
		synctest.Wait()
		r.add(numbered("waits", 2, "billing")...)

		r.st.onClaim(noClaims)
		adder := newRigOn(t, r.mem, webhook.QueueConfig{})
		adder.inbox.Handle("suspect", suspect.handle)
		adder.add(event("poison", "suspect"))
		adder.lose("suspect")
		adder.lose("suspect")
		r.st.onClaim(nil)
		pass(time.Minute)
		neighbour.add(event("1", "innocent"))
		pass(time.Minute)
		require.Equal(t, []string{"poison"}, suspect.ids())
		require.Equal(t, []string{"1"}, innocent.ids())
		require.Error(t, stop())
		close(release)
	})
}

// One at a time is the oldest first, whatever each takes.
func TestAhead_OldestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var got collector
		r.inbox.HandleWith("billing", func(ctx context.Context, e webhook.Event) error {
			if e.ID == "00001" {
				time.Sleep(3 * time.Second)
			}
			return got.handle(ctx, e)
		}, webhook.HandlerConfig{Concurrency: 1})
		r.run()
		var want []string
		for _, e := range numbered("", 6, "billing") {
			r.add(e)
			want = append(want, e.ID)
			pass(time.Millisecond)
		}
		pass(time.Minute)
		require.Equal(t, want, got.ids())
	})
}

// What is large does not fill the memory while it waits.
func TestAhead_LargeBodies(t *testing.T) {
	for name, c := range map[string]struct{ size, most int }{
		"small": {10, 16},
		"large": {10 << 20, 8}, // 64 MiB, and one for each add that is under way
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{Concurrency: 4})
				stay := make(chan struct{})
				var fast atomic.Bool
				fast.Store(true)
				r.inbox.Handle("billing", func(context.Context, webhook.Event) error {
					if !fast.Load() {
						<-stay
					}
					time.Sleep(time.Millisecond)
					return nil
				})
				r.run()
				body := make([]byte, c.size)
				for range 2 { // the second time after all was given back
					fast.Store(true)
					r.add(event(time.Now().String(), "billing"))
					pass(time.Second)
					require.Zero(t, r.states()[store.Processing])
					fast.Store(false)
					for _, e := range numbered(time.Now().String(), 20, "billing") {
						e.Body = body
						r.add(e)
					}
					synctest.Wait()
					inHand := r.states()[store.Processing]
					require.LessOrEqual(t, inHand, c.most)
					require.Greater(t, inHand, 4)
					for range 20 {
						stay <- struct{}{}
					}
					pass(time.Second)
				}
			})
		})
	}
}
