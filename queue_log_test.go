package webhook_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

// What a person does to a queue is in the log: once where it changed something, and
// never with a subject.
func TestQueue_ActionsAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := ofHandlers(t)
		stop := r.run()
		events := numbered("", 4, "bad")
		for k := range events {
			events[k].Subject = "cus_jane"
		}
		r.add(events...)
		pass(time.Minute)
		require.NoError(t, stop())
		q, ctx := r.inbox.Queue(), t.Context()
		before := len(r.logs.having(t, "level", "INFO"))

		_, _, err := q.Redrive(ctx, store.Filter{Destination: "bad", Tenant: "nobody"}, "", 10)
		require.NoError(t, err)
		require.NoError(t, q.Rename(ctx, "never", "known"))
		require.Len(t, r.logs.having(t, "level", "INFO"), before, "nothing changed")

		_, _, err = q.Redrive(ctx, store.Filter{Destination: "bad", Since: time.Unix(1, 0)}, "", 1)
		require.NoError(t, err)
		_, _, err = q.Discard(ctx, store.Filter{EventID: events[1].ID, States: []store.State{store.Dead}}, "sent\nby mistake", "", 10)
		require.NoError(t, err)
		require.NoError(t, q.Pause(ctx, "bad", "bank holiday"))
		require.NoError(t, q.Resume(ctx, "bad"))
		require.NoError(t, q.Rename(ctx, "bad", "worse"))
		_, err = q.Erase(ctx, store.Filter{Subject: "cus_jane"})
		require.NoError(t, err)

		said := r.logs.having(t, "level", "INFO")[before:]
		require.NotContains(t, r.logs.String(), "cus_jane")
		for k, want := range []map[string]any{
			{"msg": "webhook deliveries redriven", "destination": "bad", "filter": []any{"Destination", "Since"}, "deliveries": 1.0},
			{"msg": "webhook deliveries discarded", "event_id": events[1].ID, "filter": []any{"EventID", "States"}, "deliveries": 1.0, "reason": `sent\nby mistake`},
			{"msg": "webhook destination paused", "destination": "bad", "reason": "bank holiday"},
			{"msg": "webhook destination resumed", "destination": "bad"},
			{"msg": "webhook destination renamed", "destination": "bad", "to": "worse", "filter": []any{"Destination"}, "deliveries": 4.0},
			{"msg": "webhook deliveries discarded", "filter": []any{"Subject"}, "deliveries": 3.0, "reason": "erased"},
			{"msg": "webhook deliveries erased", "filter": []any{"Subject"}, "deliveries": 4.0},
		} {
			require.Greater(t, len(said), k, want)
			want["time"], want["level"], want["queue"] = said[k]["time"], "INFO", "inbox"
			require.Equal(t, want, said[k])
		}
		require.Len(t, said, 7)
	})
}

// An action that ends early says how far it came.
func TestQueue_ActionsThatFailAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := ofHandlers(t)
		r.add(event("1", "good"), event("2", "good"))
		_, err := r.mem.Claim(t.Context(), "inbox", store.Claim{Free: map[string]int{"good": 1}, Lease: time.Hour})
		require.NoError(t, err)
		require.ErrorIs(t, r.inbox.Queue().Rename(t.Context(), "good", "better"), store.ErrRetry)
		said := r.logs.having(t, "msg", "webhook destination renamed")
		require.Len(t, said, 1)
		require.EqualValues(t, 1, said[0]["deliveries"])
		require.Contains(t, said[0]["error"], "1 deliveries are being processed")

		r.st.onCommit(func(context.Context, *store.Batch, commitFunc) (*store.Results, error) {
			return nil, errors.New("disk full")
		})
		require.Error(t, r.inbox.Queue().Pause(t.Context(), "good", ""))
		require.Empty(t, r.logs.having(t, "msg", "webhook destination paused"), "it is not")
	})
}

// A queue that no Inbox gave has slog's default, and its Dispatcher's has that one's.
func TestQueue_RecordsGoWhereTheOthersDo(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var standard logbook
		slog.SetDefault(standard.logger())
		require.NoError(t, webhook.NewQueue(r.mem, "inbox").Pause(t.Context(), "x", ""))
		require.Len(t, standard.having(t, "msg", "paused"), 1)
		o := newOutbox(t, webhook.DispatcherConfig{}, webhook.Endpoint{ID: "a"})
		require.NoError(t, o.out.Queue().Pause(t.Context(), "a", ""))
		require.Len(t, o.logs.having(t, "msg", "paused"), 1)
		require.Len(t, standard.having(t, "msg", "paused"), 1)
	})
}
