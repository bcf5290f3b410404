package webhook_test

import (
	"context"
	"fmt"
	"net/http"
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

// A pace that was not kept: whoever waited too long is asked for anew, since the
// handler may be paused, or have been taken on by another process.
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

// An endpoint that asks for time gets it, also from what waits in hand.
func TestAhead_HeldWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{PerEndpoint: 2}, webhook.Endpoint{ID: "a"})
		took := []time.Duration{20 * time.Millisecond, 0, 10 * time.Millisecond} // then nothing
		o.net.answer = func(n int, _ *http.Request) reply {
			if n < len(took) {
				time.Sleep(took[n])
			}
			if n == 2 {
				return status(http.StatusServiceUnavailable, "Retry-After", "60")
			}
			return status(http.StatusNoContent)
		}
		o.run()
		start := time.Now()
		for range 5 {
			o.send(webhook.Event{To: []string{"a"}})
			synctest.Wait()
		}
		in := map[store.State]int{}
		for _, d := range o.deliveries() {
			in[d.State]++
		}
		require.Equal(t, map[store.State]int{store.Processed: 1, store.Processing: 4}, in, "two wait in hand")
		pass(50 * time.Second)
		require.Len(t, o.net.posts(), 3, "nothing after the 503")
		pass(time.Minute)
		require.Len(t, o.net.posts(), 6)
		for _, p := range o.net.posts()[3:] {
			require.GreaterOrEqual(t, p.at.Sub(start), time.Minute)
		}
	})
}

// Endpoints that hang keep the slots that they have, and not those of others by
// what waits for them.
func TestAhead_TakesNoSlotsFromOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := []string{"a", "b", "c"}
		var endpoints []webhook.Endpoint
		for _, id := range append(hang, "healthy") {
			endpoints = append(endpoints, webhook.Endpoint{ID: id})
		}
		o := newOutbox(t, webhook.DispatcherConfig{PerEndpoint: 2, Queue: webhook.QueueConfig{Concurrency: 8}}, endpoints...)
		o.net.answer = func(n int, r *http.Request) reply {
			if n >= 4 && r.URL.Host != "healthy.example" {
				time.Sleep(10 * time.Second)
			}
			return status(http.StatusNoContent)
		}
		o.run()
		for _, e := range endpoints {
			o.send(webhook.Event{To: []string{e.ID}})
		}
		synctest.Wait()
		require.Len(t, o.net.posts(), 4, "each was quick")
		for range 4 {
			for _, id := range hang {
				o.send(webhook.Event{To: []string{id}})
			}
		}
		synctest.Wait()
		require.Len(t, o.net.posts(), 10, "two of each hang, and two of each wait in hand")
		for i := range 6 {
			o.send(webhook.Event{ID: fmt.Sprint(i), To: []string{"healthy"}})
		}
		pass(5 * time.Millisecond) // those that found both slots taken were stored, and claimed a moment later
		require.Len(t, o.net.posts(), 16)
		pass(time.Minute)
	})
}

// The next does not begin while the hold is being stored.
func TestAhead_NothingBeforeTheHoldIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{PerEndpoint: 1}, webhook.Endpoint{ID: "a"})
		o.net.answer = first(1, http.StatusServiceUnavailable, "Retry-After", "60")
		o.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
			if len(b.Holds) > 0 {
				time.Sleep(time.Second)
			}
			return real(ctx, b)
		})
		for range 3 {
			o.send(webhook.Event{To: []string{"a"}})
		}
		o.run()
		pass(30 * time.Second)
		require.Len(t, o.net.posts(), 1)
		pass(time.Minute)
		require.Len(t, o.net.posts(), 4)
	})
}

// What another process sends to an endpoint that is idle here is not left to the
// poll while others are busy.
func TestAhead_OthersWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{PerEndpoint: 1, Queue: webhook.QueueConfig{Poll: time.Hour}}, webhook.Endpoint{ID: "hangs"}, webhook.Endpoint{ID: "idle"})
		o.net.answer = func(_ int, r *http.Request) reply {
			if r.URL.Host == "hangs.example" {
				time.Sleep(10 * time.Second)
			}
			return status(http.StatusNoContent)
		}
		o.run()
		o.send(webhook.Event{To: []string{"hangs"}})
		other, err := webhook.NewDispatcher(o.mem, webhook.DispatcherConfig{Endpoints: webhook.EndpointFunc(
			func(context.Context, string) (webhook.Endpoint, error) {
				return webhook.Endpoint{}, webhook.ErrNotFound // nobody asks: it only sends
			},
		)})
		require.NoError(t, err)
		for range 2 {
			_, err = other.Send(t.Context(), webhook.Event{To: []string{"idle"}})
			require.NoError(t, err)
			pass(10 * time.Millisecond)
		}
		require.Len(t, o.net.posts(), 3)
	})
}
