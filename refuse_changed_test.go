package webhook_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// twofold is a route whose body is that of two events: "new", and the one with the
// id "known".
func twofold(next http.Handler) http.Handler {
	v := webhook.Unverified(func(r *webhook.Request) ([]webhook.Event, error) {
		return []webhook.Event{{ID: "new", Body: []byte("new")}, {ID: "known", Body: r.Body}}, nil
	})
	v.Telemetry.Logger = slog.New(slog.DiscardHandler)
	return webhook.Verify("shop", v)(next)
}

// A known event with another body is refused where that is wanted: nothing of its
// request is stored, and no handler is added.
func TestRefuseChanged(t *testing.T) {
	for name, refuse := range map[string]bool{"refused": true, "default": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRigWith(t, memory.New(), webhook.InboxConfig{RefuseChanged: refuse})
				var got collector
				r.inbox.Handle("billing", got.handle)
				r.inbox.Handle("audit", got.handle)
				stop := r.run()
				known := event("known", "billing")
				known.Body = []byte("first")
				r.add(known)
				synctest.Wait()

				w := deliver(twofold(r.inbox.Receive("billing", "audit")), "second")
				synctest.Wait()
				if !refuse {
					require.Equal(t, 200, w.Code)
					require.Len(t, r.deliveries(), 4)
					return
				}
				require.Equal(t, 409, w.Code)
				require.Equal(t, "event known with another body\n", w.Body.String())
				require.Empty(t, w.Header().Get("Retry-After"))
				require.Equal(t, []string{"known"}, got.ids())
				require.Len(t, r.deliveries(), 1)
				said := r.logs.having(t, "reason", "changed")
				require.Len(t, said, 2, "one for each event of the request")
				require.Equal(t, []any{"new", "known"}, []any{said[0]["event_id"], said[1]["event_id"]})
				require.Equal(t, "WARN", said[0]["level"])
				require.EqualValues(t, 409, said[0]["http_status"])
				require.NotContains(t, r.logs.String(), "second")

				changed := known
				changed.Body = []byte("second")
				_, err := r.inbox.Add(t.Context(), event("new", "billing"), changed)
				require.ErrorIs(t, err, webhook.ErrChanged)
				require.NotErrorIs(t, err, webhook.ErrMalformed)
				require.ErrorContains(t, err, "add 1: ", "which of them")
				require.Len(t, r.deliveries(), 1)
				require.NoError(t, r.inbox.Health(t.Context()), "it says nothing of the store")

				// The same body is a duplicate as ever, and the new one was not made known.
				require.Equal(t, 200, deliver(twofold(r.inbox.Receive("billing", "audit")), "first").Code)
				synctest.Wait()
				require.Len(t, r.deliveries(), 4)
				require.NoError(t, stop(), "no slot is left behind")
			})
		})
	}
}

// What is refused gives back the slots that it had reserved.
func TestRefuseChanged_KeepsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigWith(t, memory.New(), webhook.InboxConfig{RefuseChanged: true, Queue: webhook.QueueConfig{Concurrency: 2}})
		var g gauge
		r.inbox.Handle("billing", g.takes(time.Second))
		r.run()
		r.add(event("known", "billing"))
		pass(2 * time.Second)
		changed := event("known", "billing")
		changed.Body = []byte("another")
		for range 20 {
			_, err := r.inbox.Add(t.Context(), changed)
			require.ErrorIs(t, err, webhook.ErrChanged)
		}
		for i := range 2 {
			r.add(event(fmt.Sprint(i), "billing"))
		}
		require.Equal(t, map[store.State]int{store.Processed: 1, store.Processing: 2}, r.states(), "born with leases")
		pass(2 * time.Second)
		require.Equal(t, 3, g.seenEntered())
	})
}
