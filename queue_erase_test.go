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

// Everything about a person goes, whatever became of it: what waits and what is dead
// is not done any more. Others' stays, and what was erased is still known.
func TestQueue_Erase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Retry: fixed(1)})
		var got collector
		r.inbox.Handle("good", got.handle)
		r.inbox.Handle("bad", func(context.Context, webhook.Event) error { return errors.New("no account of ann") })
		r.inbox.HandleWith("later", func(context.Context, webhook.Event) error { return errors.New("ann is away") },
			webhook.HandlerConfig{Retry: fixed(9, time.Hour)})
		r.run()
		var mine []webhook.Event
		for i := range 120 { // more than a page, with the deliveries of one event on two
			mine = append(mine, of("ann", fmt.Sprint("m", i), "good", "bad", "later"))
		}
		r.add(mine...)
		r.add(of("bob", "b", "good", "bad", "later"))
		pass(time.Minute)
		q := r.inbox.Queue()

		n, err := q.Erase(t.Context(), store.Filter{Subject: "ann"})
		require.NoError(t, err)
		require.Equal(t, 360, n)
		for _, d := range r.deliveries() {
			if d.Record.Subject == "bob" {
				require.NotEmpty(t, d.Record.Body)
				continue
			}
			require.Empty(t, d.Record.Body)
			require.Empty(t, d.Record.Head)
			for _, a := range d.Attempts {
				require.Empty(t, a.Err)
			}
			if d.Destination == "good" {
				require.Equal(t, store.Processed, d.State)
			} else {
				require.Equal(t, store.Discarded, d.State)
				require.Equal(t, "erased", d.Reason)
			}
		}
		require.True(t, r.add(mine[7])[0].Duplicate, "it is not stored a second time")
		pass(24 * time.Hour)
		require.Len(t, got.ids(), 121)
		n, err = q.Erase(t.Context(), store.Filter{Subject: "ann"})
		require.NoError(t, err, "again")
		require.Equal(t, 360, n)
		redriven, _, err := q.Redrive(t.Context(), store.Filter{Subject: "ann", States: []store.State{store.Discarded}}, "", 1000)
		require.NoError(t, err)
		require.Zero(t, redriven, "there is nothing to try again with")
	})
}

// What is being processed keeps its content, and so does an event that is still to be
// done for a handler that was not meant: the error says so, and later it goes.
func TestQueue_EraseOfWhatIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var slow gauge
		r.inbox.Handle("slow", slow.takes(20*time.Second))
		r.inbox.Handle("good", new(collector).handle)
		r.run()
		r.add(of("ann", "1", "slow", "good"), of("ann", "2", "good"))
		pass(time.Second)
		q := r.inbox.Queue()
		n, err := q.Erase(t.Context(), store.Filter{Subject: "ann"})
		require.ErrorIs(t, err, store.ErrRetry)
		require.EqualError(t, err, `webhook: erase in queue "inbox": 2 deliveries are being processed, or their events elsewhere: call again: webhook: try again`)
		require.Equal(t, 1, n)
		pass(time.Minute)
		n, err = q.Erase(t.Context(), store.Filter{Subject: "ann"})
		require.NoError(t, err)
		require.Equal(t, 3, n)
	})
}

// A filter that would empty the queue by mistake is refused.
func TestQueue_EraseOfEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := ofHandlers(t)
		r.add(event("1", "good"))
		for says, f := range map[string]store.Filter{
			`webhook: erase in queue "inbox": the filter names no IDs, Subject, EventID, Tenant, Source or Type`: {Destination: "good", Before: time.Now()},
			`webhook: erase in queue "inbox": the filter names States`:                                           {Subject: "x", States: []store.State{store.Dead}},
		} {
			_, err := r.inbox.Queue().Erase(t.Context(), f)
			require.EqualError(t, err, says)
		}
		require.NotEmpty(t, r.only().Record.Body)
	})
}
