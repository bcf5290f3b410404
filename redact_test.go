package webhook_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store/memory"
)

// masked is a Redact that works in place, as one would write it.
func masked(e webhook.Event) webhook.Event {
	e.Headers.Del("X-Email")
	if before, after, ok := bytes.Cut(e.Body, []byte("ann")); ok && len(after) > 0 {
		copy(e.Body[len(before):], "***")
	}
	e.Subject = "u-1"
	e.ID, e.Source, e.Type, e.Tenant, e.Time = "not", "these", "do", "count", time.Now() // and these do not count
	e.To = nil
	return e
}

// personal is an event with something that is not to be stored.
func personal(id string) webhook.Event {
	e := event(id, "billing")
	e.Subject = "ann@example.com"
	e.Headers = http.Header{"X-Email": {"ann@example.com"}, "X-Kept": {"yes"}}
	e.Body = []byte(`{"user":"ann@example.com"}`)
	return e
}

// What Redact leaves is what is stored and what is handled, at the first attempt as
// at the last; how the event is known does not change.
func TestRedact(t *testing.T) {
	bothWays(t, func(t *testing.T, born bool) {
		r := newRigWith(t, memory.New(), webhook.InboxConfig{Redact: masked})
		var got collector
		var orderedBy []string
		r.inbox.HandleWith("billing", got.handle, webhook.HandlerConfig{OrderBy: func(e webhook.Event) string {
			orderedBy = append(orderedBy, e.Subject)
			return e.Subject
		}})
		given := personal("1")
		r.arrive(born, func() { r.add(given) })

		require.Equal(t, personal("1"), given, "the caller's event is not touched")
		require.Len(t, got.events, 1)
		e := got.events[0]
		require.Equal(t, "1", e.ID)
		require.Equal(t, "shop", e.Source)
		require.Equal(t, "order.paid", e.Type)
		require.True(t, e.Time.IsZero())
		require.Equal(t, "u-1", e.Subject)
		require.JSONEq(t, `{"user":"***@example.com"}`, string(e.Body))
		require.Equal(t, http.Header{"X-Kept": {"yes"}}, e.Headers)

		d := r.only()
		stored, err := webhook.EventOf(d.Record)
		require.NoError(t, err)
		require.Equal(t, e, stored)
		require.NotContains(t, string(d.Record.Head)+string(d.Record.Body)+d.Record.Subject+d.OrderKey, "ann@")
		require.Equal(t, []string{"u-1"}, orderedBy, "by what is stored")

		again := r.add(personal("1"))[0]
		require.True(t, again.Duplicate)
		require.False(t, again.Changed, "the digest is that of the body as it came")
		other := personal("1")
		other.Body = []byte(`{"user":"ann@example.org"}`)
		require.True(t, r.add(other)[0].Changed)
	})
}

// An event without an id is known by the digest of what came, of which nothing else
// is left.
func TestRedact_IdentityIsOfWhatCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigWith(t, memory.New(), webhook.InboxConfig{Redact: func(e webhook.Event) webhook.Event {
			e.Body = nil
			return e
		}})
		r.inbox.Handle("billing", new(collector).handle)
		for _, body := range []string{"one", "two", "one"} {
			e := event("", "billing")
			e.Body = []byte(body)
			r.add(e)
		}
		ds := r.deliveries()
		require.Len(t, ds, 2)
		require.NotEqual(t, ds[0].Record.ID, ds[1].Record.ID)
		require.Empty(t, ds[0].Record.Body)
	})
}

// What stands behind Receive sees its request as it came: of a batch each event is
// redacted by itself.
func TestRedact_OfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigWith(t, memory.New(), webhook.InboxConfig{Redact: func(e webhook.Event) webhook.Event {
			for i := range e.Body {
				e.Body[i] = '*'
			}
			return e
		}})
		r.inbox.Handle("billing", new(collector).handle)
		var after []webhook.Event
		inner := r.inbox.Receive("billing")
		route := believed(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			inner.ServeHTTP(w, q)
			after = webhook.Events(q.Context())
		}))
		require.Equal(t, 200, deliver(route, `[{"ID":"1"},{"ID":"2"}]`).Code)
		require.Equal(t, "body of 1", string(after[0].Body))
		for _, d := range r.deliveries() {
			require.Equal(t, strings.Repeat("*", len("body of 1")), string(d.Record.Body))
		}
	})
}

// A Redact that panics, or returns what cannot be stored, stores nothing; the log
// says so without the payload.
func TestRedact_Fails(t *testing.T) {
	for name, c := range map[string]struct {
		redact func(webhook.Event) webhook.Event
		reason string
		says   string
	}{
		"panics":       {func(e webhook.Event) webhook.Event { panic(string(e.Body)) }, "panic", "webhook: InboxConfig.Redact panics with string at "},
		"long subject": {func(e webhook.Event) webhook.Event { e.Subject = strings.Repeat("body", 2000); return e }, "wiring", "InboxConfig.Redact returned a Subject of 8000 bytes, at most 4096"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRigWith(t, memory.New(), webhook.InboxConfig{Redact: c.redact})
				var g gauge
				r.inbox.Handle("billing", g.takes(time.Second))
				r.run()
				w := deliver(believed(r.inbox.Receive("billing")), `[{"ID":"1"}]`)
				require.Equal(t, 500, w.Code)
				pass(time.Minute)
				require.Empty(t, r.deliveries())
				require.Zero(t, g.seenEntered())
				said := r.logs.having(t, "reason", c.reason)
				require.Len(t, said, 1)
				require.Contains(t, said[0]["error"], c.says)
				require.NotContains(t, r.logs.String(), "body of")
				require.NotContains(t, w.Body.String(), "body of")

				_, err := r.inbox.Add(context.Background(), personal("2"))
				require.ErrorContains(t, err, c.says)
				require.NotContains(t, err.Error(), "ann@")
			})
		})
	}
}
