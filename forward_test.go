package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store/memory"
)

// forwarding is a route with Forward(f), and its log.
func forwarding(f func(context.Context, []webhook.Event) error) (http.Handler, *logbook) {
	return forwardingOf("unverified", f)
}

// forwardingOf is forwarding behind a verifier of that preset.
func forwardingOf(preset string, f func(context.Context, []webhook.Event) error) (http.Handler, *logbook) {
	var logs logbook
	v := webhook.Unverified(func(r *webhook.Request) ([]webhook.Event, error) {
		if string(r.Body) == "none" {
			return nil, nil
		}
		return []webhook.Event{{ID: "1", Type: "order.paid", Body: []byte("payload one")}, {ID: "2", Type: "order.paid", Body: []byte("payload two")}}, nil
	})
	v.Preset, v.Telemetry.Logger = preset, logs.logger()
	return webhook.Verify("shop", v)(webhook.Forward(f)), &logs
}

// 200 if and only if nothing is left to do.
func TestForward_Answers(t *testing.T) {
	down := errors.New("broker is down")
	for name, c := range map[string]struct {
		err    error
		status int
		after  string
		reason string
	}{
		"nil":                {nil, 200, "", ""},
		"an error":           {down, 503, "5", "forward"},
		"permanent":          {webhook.Permanent(down), 400, "", "forward_permanent"},
		"permanent, wrapped": {fmt.Errorf("publish: %w", webhook.Permanent(down)), 400, "", "forward_permanent"},
		"permanent of nil":   {webhook.Permanent(nil), 200, "", ""},
		"later":              {webhook.RetryAfter(90*time.Second, down), 503, "90", "forward"},
		"a little later":     {webhook.RetryAfter(1500*time.Millisecond, nil), 503, "2", "forward"},
		"now":                {webhook.RetryAfter(0, nil), 503, "1", "forward"},
		"much later":         {webhook.RetryAfter(1000*time.Hour, nil), 503, "86400", "forward"},
		"discard":            {webhook.Discard("test mode"), 200, "", "test mode"},
		"discard, wrapped":   {fmt.Errorf("publish: %w", webhook.Discard("test mode")), 200, "", "publish: test mode"},
		"a canceled call":    {context.Canceled, 503, "5", "forward"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []webhook.Event
			route, logs := forwarding(func(_ context.Context, events []webhook.Event) error {
				got = events
				return c.err
			})
			w := deliver(route, "two")
			require.Equal(t, c.status, w.Code)
			require.Equal(t, c.after, w.Header().Get("Retry-After"))
			require.Len(t, got, 2)
			require.Equal(t, "shop", got[0].Source)
			require.NotContains(t, w.Body.String(), "broker")
			require.NotContains(t, logs.String(), "payload")
			if c.status == 200 {
				status := "received"
				if c.reason != "" {
					status = "discarded"
					require.Len(t, logs.having(t, "reason", c.reason), 2)
				}
				require.Len(t, logs.having(t, "status", status), 2)
				require.Len(t, logs.having(t, "msg", "webhook event received"), 2)
				return
			}
			rejected := logs.having(t, "status", "rejected")
			require.Len(t, rejected, 2, "one for each event")
			for k, id := range []string{"1", "2"} {
				require.Equal(t, "WARN", rejected[k]["level"])
				require.Equal(t, c.reason, rejected[k]["reason"])
				require.Equal(t, id, rejected[k]["event_id"])
				require.Equal(t, "order.paid", rejected[k]["event_type"])
				require.Equal(t, "shop", rejected[k]["source"])
			}
			require.Empty(t, logs.having(t, "status", "received"))
		})
	}
}

// What is refused for good comes no second time: each is a record, however many they
// are. Of what comes again ten seconds are one and a count.
func TestForward_WhatIsLostIsToldOfEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		result := webhook.Permanent(errors.New("unreadable"))
		f := func(context.Context, []webhook.Event) error { return result }
		route, logs := forwardingOf("signed", f)
		anybody, flood := forwardingOf("unverified", f)
		for range 50 {
			deliver(route, "two")
			deliver(anybody, "two")
		}
		require.Len(t, logs.having(t, "reason", "forward_permanent"), 100)
		require.Len(t, flood.having(t, "reason", "forward_permanent"), 2, "of what anybody can send")
		result = errors.New("broker is down")
		for range 50 {
			deliver(route, "two")
		}
		require.Len(t, logs.having(t, "msg", "webhook request rejected"), 102)
		pass(time.Minute)
		counted := logs.having(t, "msg", "webhook requests rejected")
		require.Len(t, counted, 1)
		require.Equal(t, "forward", counted[0]["reason"])
		require.EqualValues(t, 49, counted[0]["suppressed"])
	})
}

func TestForward_SenderGone(t *testing.T) {
	d, hangUp := context.WithCancel(t.Context())
	route, logs := forwarding(func(ctx context.Context, _ []webhook.Event) error {
		hangUp()
		<-ctx.Done()
		return ctx.Err()
	})
	r := knock(jsonBody("two")).WithContext(d)
	requireUnavailable(t, serve(route, r))
	require.Equal(t, "canceled", logs.having(t, "status", "rejected")[0]["reason"])
}

func TestForward_EmptyBatch(t *testing.T) {
	route, logs := forwarding(func(context.Context, []webhook.Event) error {
		t.Error("called without events")
		return nil
	})
	require.Equal(t, http.StatusOK, deliver(route, "none").Code)
	require.Empty(t, logs.String())
}

func TestForward_Panics(t *testing.T) {
	route, _ := forwarding(func(context.Context, []webhook.Event) error { panic(http.ErrAbortHandler) })
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { deliver(route, "two") })
}

func TestForward_WithoutVerify(t *testing.T) {
	h := webhook.Forward(func(context.Context, []webhook.Event) error {
		t.Error("called without Verify")
		return nil
	})
	require.Equal(t, http.StatusInternalServerError, deliver(h, "two").Code)
}

// Behind Deduplicate it is given what is new, and what it refused is new again.
func TestForward_BehindDeduplicate(t *testing.T) {
	var got [][]string
	var result error
	f := webhook.Forward(func(_ context.Context, events []webhook.Event) error {
		var ids []string
		for _, e := range events {
			ids = append(ids, e.ID)
		}
		got = append(got, ids)
		return result
	})
	route := authentic(0, webhook.Deduplicate(memory.New(), webhook.DedupConfig{Telemetry: unlogged})(f))
	require.Equal(t, http.StatusOK, deliver(route, `[{"ID":"1"}]`).Code)
	result = errors.New("broker is down")
	requireUnavailable(t, deliver(route, `[{"ID":"1"},{"ID":"2"}]`))
	result = nil
	require.Equal(t, http.StatusOK, deliver(route, `[{"ID":"1"},{"ID":"2"}]`).Code)
	requireDuplicate(t, deliver(route, `[{"ID":"2"},{"ID":"1"}]`))
	require.Equal(t, [][]string{{"1"}, {"2"}, {"2"}}, got)
}
