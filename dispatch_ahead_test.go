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
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/store"
)

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
		o.st.onCommit(slowHolds(15 * time.Millisecond)) // the first ends meanwhile
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
		o.st.onCommit(slowHolds(time.Second))
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

// … whether or not others of the endpoint end meanwhile.
func TestAhead_HoldBeingStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{PerEndpoint: 2}, webhook.Endpoint{ID: "a"})
		o.net.answer = func(n int, _ *http.Request) reply {
			time.Sleep(time.Duration(n) * 20 * time.Millisecond)
			if n == 0 {
				return status(http.StatusServiceUnavailable, "Retry-After", "60")
			}
			return status(http.StatusNoContent)
		}
		o.st.onCommit(slowHolds(time.Second))
		for range 10 {
			o.send(webhook.Event{To: []string{"a"}})
		}
		o.run()
		pass(30 * time.Second)
		require.LessOrEqual(t, len(o.net.posts()), 2, "one may have been under way with the first")
		pass(2 * time.Minute)
		require.Len(t, o.net.posts(), 11)
		for _, d := range o.deliveries() {
			require.LessOrEqual(t, d.Token, uint64(2), "it was not claimed in vain all the while")
		}
	})
}

// A claim that began before the hold was stored brings nothing past it.
func TestAhead_ClaimedBeforeTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{PerEndpoint: 4}, webhook.Endpoint{ID: "a"})
		o.net.answer = func(n int, _ *http.Request) reply {
			time.Sleep(20 * time.Millisecond)
			if n == 0 {
				return status(http.StatusServiceUnavailable, "Retry-After", "60")
			}
			return status(http.StatusNoContent)
		}
		o.run()
		o.st.onClaim(func(ctx context.Context, c store.Claim, real claimFunc) ([]store.Delivery, error) {
			ds, err := real(ctx, c)
			time.Sleep(100 * time.Millisecond)
			return ds, err
		})
		o.send(webhook.Event{To: []string{"a"}})
		pass(time.Millisecond)
		elsewhere := o.elsewhere()
		for range 3 {
			_, err := elsewhere.Send(t.Context(), webhook.Event{To: []string{"a"}})
			require.NoError(t, err)
		}
		pass(30 * time.Second)
		require.Len(t, o.net.posts(), 1)
		pass(2 * time.Minute)
		require.Len(t, o.net.posts(), 5)
	})
}

// slowHolds makes the commit of a hold take so long.
func slowHolds(d time.Duration) func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
	return func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
		if len(b.Holds) > 0 {
			time.Sleep(d)
		}
		return real(ctx, b)
	}
}

// elsewhere is a dispatcher of another process, which only sends.
func (o *outbox) elsewhere() *webhook.Dispatcher {
	o.t.Helper()
	d, err := webhook.NewDispatcher(o.mem, webhook.DispatcherConfig{Endpoints: webhook.EndpointFunc(
		func(context.Context, string) (webhook.Endpoint, error) {
			return webhook.Endpoint{}, webhook.ErrNotFound
		},
	)})
	require.NoError(o.t, err)
	return d
}

// An endpoint that takes less at once than the others is asked for less.
func TestAhead_EndpointsOwnConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{}, webhook.Endpoint{ID: "a", Concurrency: 1})
		o.net.answer = func(int, *http.Request) reply {
			time.Sleep(5 * time.Second)
			return status(http.StatusNoContent)
		}
		o.run()
		o.send(webhook.Event{ID: "first", To: []string{"a"}}) // its limit is known from now on
		pass(10 * time.Second)
		elsewhere := o.elsewhere()
		want := []string{"first"}
		for i := range 20 {
			want = append(want, fmt.Sprintf("%02d", i))
			_, err := elsewhere.Send(t.Context(), webhook.Event{ID: want[i+1], To: []string{"a"}})
			require.NoError(t, err)
			pass(time.Millisecond)
		}
		pass(5 * time.Minute)
		var order []string
		for _, p := range o.net.posts() {
			order = append(order, p.header.Get("Webhook-Id"))
		}
		require.Equal(t, want, order)
		for _, d := range o.deliveries() {
			require.Equal(t, uint64(1), d.Token, "claimed once")
		}
	})
}

// What its host changes counts while a backlog lasts, too.
func TestAhead_ConcurrencyChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secrets := []webhook.Secret{{Value: signature.NewSecret()}}
		var limit atomic.Int64
		var g gauge
		o := newOutbox(t, webhook.DispatcherConfig{
			Endpoints: webhook.EndpointFunc(func(context.Context, string) (webhook.Endpoint, error) {
				return webhook.Endpoint{ID: "a", URL: "https://a.example", Secrets: secrets, Concurrency: int(limit.Load())}, nil
			}),
		})
		o.net.answer = func(int, *http.Request) reply {
			g.enter()
			defer g.leave()
			time.Sleep(10 * time.Millisecond)
			return status(http.StatusNoContent)
		}
		for range 4000 {
			o.send(webhook.Event{To: []string{"a"}})
		}
		o.run()
		for _, n := range []int64{3, 12, 1, 8} {
			limit.Store(n)
			pass(time.Second)
			now, _, _ := g.seen()
			require.Equal(t, n, int64(now), "at once")
		}
		pass(time.Minute)
		require.Len(t, o.net.posts(), 4000)
	})
}

// … also by the first claim: what it is known to take is known before.
func TestAhead_EndpointsOwnConcurrencyAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{}, webhook.Endpoint{ID: "a", Concurrency: 1})
		o.net.answer = func(int, *http.Request) reply {
			time.Sleep(5 * time.Second)
			return status(http.StatusNoContent)
		}
		elsewhere := o.elsewhere()
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprintf("%02d", i))
			_, err := elsewhere.Send(t.Context(), webhook.Event{ID: want[i], To: []string{"a"}})
			require.NoError(t, err)
			pass(time.Millisecond)
		}
		o.run()
		pass(5 * time.Minute)
		var order []string
		for _, p := range o.net.posts() {
			order = append(order, p.header.Get("Webhook-Id"))
		}
		require.Equal(t, want, order)
	})
}

// What an endpoint asked for is not cut short by an attempt that ran beside the one it
// told; after that a shorter time counts again.
func TestAhead_ShorterHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{PerEndpoint: 2}, webhook.Endpoint{ID: "a"})
		o.net.answer = func(n int, _ *http.Request) reply {
			switch n {
			case 0:
				time.Sleep(time.Second)
				return status(http.StatusTooManyRequests, "Retry-After", "3600")
			case 1:
				time.Sleep(2 * time.Second)
				return status(http.StatusBadGateway)
			case 2:
				return status(http.StatusServiceUnavailable, "Retry-After", "60")
			}
			return status(http.StatusNoContent)
		}
		o.run()
		for range 5 {
			o.send(webhook.Event{To: []string{"a"}})
		}
		pass(30 * time.Minute)
		require.Len(t, o.net.posts(), 2)
		require.NoError(t, o.out.Queue().Resume(t.Context(), "a"))
		pass(30 * time.Second)
		held := len(o.net.posts())
		require.GreaterOrEqual(t, held, 3)
		require.LessOrEqual(t, held, 4, "one may have been under way with the third")
		pass(time.Minute)
		require.Greater(t, len(o.net.posts()), held)
	})
}
