package webhook_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

// numbered are n events for the handler named, with ids that sort.
func numbered(prefix string, n int, handler string) []webhook.Event {
	events := make([]webhook.Event, n)
	for i := range events {
		events[i] = event(fmt.Sprintf("%s%05d", prefix, i), handler)
	}
	return events
}

func TestSlots_NeverMoreThanConcurrency(t *testing.T) {
	for name, before := range map[string]bool{"queued before Run": true, "added while running": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{Concurrency: 8})
				var all, own gauge
				r.inbox.Handle("free", func(ctx context.Context, e webhook.Event) error {
					return all.takes(time.Second)(ctx, e)
				})
				r.inbox.HandleWith("limited", func(ctx context.Context, e webhook.Event) error {
					own.enter()
					defer own.leave()
					return all.takes(time.Second)(ctx, e)
				}, webhook.HandlerConfig{Concurrency: 3})
				events := append(numbered("f", 80, "free"), numbered("l", 30, "limited")...)
				if before {
					r.add(events...)
				}
				start := time.Now()
				r.run()
				if !before {
					for _, e := range events {
						r.add(e)
					}
				}
				for all.seenEntered() < len(events) {
					pass(100 * time.Millisecond)
				}
				// 110 seconds of work in 8 slots; a little is lost at the end, where only the limited one is left.
				require.Less(t, time.Since(start), 18*time.Second)
				pass(time.Minute)
				_, most, entered := all.seen()
				require.Equal(t, []int{8, 110}, []int{most, entered})
				_, most, entered = own.seen()
				require.Equal(t, []int{3, 30}, []int{most, entered})
			})
		})
	}
}

func (g *gauge) seenEntered() int {
	_, _, n := g.seen()
	return n
}

// An add that takes the slot which a claim under way has asked for must not let a
// handler run more often at once than it may.
func TestSlots_AddDuringClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		other := newRigOn(t, r.mem, webhook.QueueConfig{})
		var g gauge
		r.inbox.HandleWith("billing", g.takes(10*time.Second), webhook.HandlerConfig{Concurrency: 1})
		other.inbox.Handle("billing", new(collector).handle)
		r.run()
		var once sync.Once
		r.st.onClaim(func(ctx context.Context, c store.Claim, real claimFunc) ([]store.Delivery, error) {
			once.Do(func() { r.add(event("2", "billing")) })
			return real(ctx, c)
		})
		other.add(event("1", "billing"))
		synctest.Wait()
		require.Equal(t, 2, r.states()[store.Processing], "both have a lease")
		pass(time.Minute)
		_, most, entered := g.seen()
		require.Equal(t, []int{1, 2}, []int{most, entered})
	})
}

// A slot that is freed while a claim is under way is filled by the next claim,
// not by the next poll.
func TestSlots_FreedDuringClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Poll: time.Hour})
		other := newRigOn(t, r.mem, webhook.QueueConfig{})
		first := make(chan struct{})
		var g gauge
		r.inbox.HandleWith("billing", func(ctx context.Context, e webhook.Event) error {
			if e.ID == "first" {
				<-first
				return nil
			}
			return g.takes(10*time.Minute)(ctx, e)
		}, webhook.HandlerConfig{Concurrency: 2, Timeout: time.Hour})
		r.inbox.Handle("audit", new(collector).handle) // so that the claim has room for more than it finds
		other.inbox.Handle("billing", new(collector).handle)
		r.run()
		r.add(event("first", "billing"))
		var once sync.Once
		r.st.onClaim(func(ctx context.Context, c store.Claim, real claimFunc) ([]store.Delivery, error) {
			once.Do(func() {
				close(first)
				time.Sleep(time.Second)
				select { // a signal is a hint that may be lost
				case <-r.mem.Wake("inbox"):
				default:
				}
			})
			return real(ctx, c)
		})
		other.add(numbered("", 5, "billing")...)
		pass(time.Minute)
		now, _, _ := g.seen()
		require.Equal(t, 2, now)
		pass(30 * time.Minute)
		_, _, entered := g.seen()
		require.Equal(t, 5, entered)
	})
}

// One at a time, and the next at once: no poll lies between.
func TestSlots_LongQueueOfLimitedHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Poll: time.Hour})
		var g gauge
		r.inbox.HandleWith("billing", g.takes(10*time.Millisecond), webhook.HandlerConfig{Concurrency: 1})
		r.add(numbered("a", 200, "billing")...)
		r.run()
		r.add(numbered("b", 200, "billing")...)
		pass(4*time.Second + 10*time.Millisecond)
		now, most, entered := g.seen()
		require.Equal(t, []int{0, 1, 400}, []int{now, most, entered})
	})
}

func TestSlots_SlowHandlerDoesNotHoldUpOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Concurrency: 4})
		var slow, quick gauge
		r.inbox.HandleWith("slow", slow.takes(50*time.Second), webhook.HandlerConfig{Concurrency: 2})
		r.inbox.Handle("quick", quick.takes(10*time.Millisecond))
		r.add(numbered("s", 100, "slow")...)
		r.add(numbered("q", 50, "quick")...)
		r.run()
		for range 50 {
			r.add(event(fmt.Sprint(quick.seenEntered(), time.Now()), "quick"))
			pass(20 * time.Millisecond)
		}
		pass(time.Second)
		now, _, entered := quick.seen()
		require.Equal(t, []int{0, 100}, []int{now, entered})
		now, _, _ = slow.seen()
		require.Equal(t, 2, now)
	})
}

func TestSlots_BacklogIsProcessedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Poll: time.Hour})
		var g gauge
		r.inbox.Handle("billing", g.takes(0))
		r.add(numbered("", 10_000, "billing")...)
		start := time.Now()
		r.run()
		require.Equal(t, 10_000, g.seenEntered())
		require.Zero(t, time.Since(start))
		stats, err := r.inbox.Queue().Stats(t.Context())
		require.NoError(t, err)
		require.Zero(t, stats.Queued+stats.Processing)
	})
}

// A lease is born only for an engine that could have claimed: on a store that
// another process runs it would lie about until it ran out.
func TestSlots_LeasesAreBornAfterTheFirstClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		release, hold := make(chan struct{}), make(chan struct{})
		r.inbox.Handle("billing", func(context.Context, webhook.Event) error { <-hold; return nil })
		r.st.onClaim(func(ctx context.Context, c store.Claim, real claimFunc) ([]store.Delivery, error) {
			<-release
			return nil, nil
		})
		r.run()
		r.add(event("1", "billing"))
		require.Equal(t, store.Queued, r.only().State)
		close(release)
		synctest.Wait()
		r.add(event("2", "billing"))
		require.Equal(t, store.Processing, r.deliveries()[1].State)
		close(hold)
	})
}

// What is older goes first once something waits: an add does not overtake it.
func TestSlots_OlderBeforeNewer(t *testing.T) {
	for name, c := range map[string]struct{ queue, handler int }{
		"handler with a limit": {64, 1}, "queue of one": {1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{Concurrency: c.queue})
				var got collector
				r.inbox.HandleWith("billing", func(ctx context.Context, e webhook.Event) error {
					time.Sleep(10 * time.Millisecond)
					return got.handle(ctx, e)
				}, webhook.HandlerConfig{Concurrency: c.handler})
				var want []string
				add := func(e webhook.Event) {
					r.add(e)
					want = append(want, e.ID)
				}
				for _, e := range numbered("a", 20, "billing") {
					add(e)
					pass(time.Millisecond) // an order by time needs times
				}
				r.run()
				for _, e := range numbered("b", 40, "billing") {
					add(e)
					pass(3 * time.Millisecond)
				}
				pass(time.Second)
				require.Equal(t, want, got.ids())
			})
		})
	}
}

// A flood of new events does not keep a retry of an older one from its turn.
func TestSlots_FloodDoesNotStarveRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Concurrency: 4})
		h := clocked{script: []error{fmt.Errorf("down"), nil}}
		r.inbox.HandleWith("billing", h.handle, webhook.HandlerConfig{Retry: fixed(8, 10*time.Second)})
		var g gauge
		r.inbox.Handle("flood", g.takes(40*time.Millisecond))
		r.run()
		r.add(event("1", "billing"))
		for i := range 3000 { // 200 a second, twice what four slots can do
			r.add(event(fmt.Sprint("f", i), "flood"))
			pass(5 * time.Millisecond)
		}
		require.Len(t, h.times(), 2)
		require.Less(t, h.times()[1], 12*time.Second)
		pass(time.Minute)
	})
}

// A claim takes some bytes and no more: what comes after a small body may be a large
// one, which is not left to the poll.
func TestSlots_SmallAndLargeBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Poll: time.Hour})
		r.inbox.Handle("billing", new(gauge).takes(0))
		for i, size := range []int{1, 9 << 20, 1, 9 << 20, 3 << 20, 6 << 20, 0, 9 << 20} {
			e := event(fmt.Sprint(i), "billing")
			e.Body = make([]byte, size)
			r.add(e)
		}
		r.run()
		pass(time.Minute)
		require.Equal(t, map[store.State]int{store.Processed: 8}, r.states())
	})
}

// Sent by another process, the first such waits for the poll, and none after it.
func TestSlots_LargeBodiesFromElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(gauge).takes(0))
		adder := newRigOn(t, r.mem, webhook.QueueConfig{})
		adder.inbox.Handle("billing", new(gauge).takes(0))
		for i := range 40 {
			e := event(fmt.Sprint(i), "billing")
			e.Body = make([]byte, i%2*(9<<20))
			adder.add(e)
		}
		r.run()
		pass(1100 * time.Millisecond)
		require.Equal(t, map[store.State]int{store.Processed: 40}, r.states())
	})
}
