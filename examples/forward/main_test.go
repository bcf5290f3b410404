package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

const (
	secret = "whsec_Zm9yd2FyZC1leGFtcGxlLXNlY3JldC1vZi1hY21l"
	body   = `{"type":"image.uploaded","data":{"url":"https://images.example/1.png"}}`
)

// send sends an event to a route over q as acme would, and returns the answer.
func send(ctx context.Context, t *testing.T, q *queue, body string) *httptest.ResponseRecorder {
	t.Helper()
	acme := webhook.Must(provider.StandardWebhooks(secret))
	acme.Telemetry.Logger = slog.New(slog.DiscardHandler)
	signed := &webhook.Request{
		Method: http.MethodPost, URL: &url.URL{Path: "/webhooks/acme"}, Header: http.Header{}, Time: time.Now(),
		Body: []byte(body), Secrets: []webhook.Secret{{Value: secret}},
	}
	if err := acme.Sign(signed, webhook.Event{ID: "msg_1"}); err != nil {
		t.Error(err)
	}
	r := httptest.NewRequestWithContext(ctx, signed.Method, "/webhooks/acme", strings.NewReader(body))
	r.Header = signed.Header
	w := httptest.NewRecorder()
	routes(acme, q).ServeHTTP(w, r)
	return w
}

// More than there are workers and places for are told to come again; nobody is
// answered 200 before the work is done.
func TestForward_BackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers, places = 2, 3
		q := startQueue(workers, places, func(context.Context, webhook.Event) error {
			time.Sleep(time.Second)
			return nil
		})
		defer q.close()
		start := time.Now()
		took := make(chan time.Duration, workers+places)
		for range workers + places {
			go func() {
				if w := send(t.Context(), t, q, body); w.Code != http.StatusOK {
					t.Errorf("answered %d", w.Code)
				}
				took <- time.Since(start)
			}()
			synctest.Wait()
		}
		for range 3 {
			w := send(t.Context(), t, q, body)
			require.Equal(t, http.StatusServiceUnavailable, w.Code)
			require.Equal(t, "2", w.Header().Get("Retry-After"))
		}
		for _, want := range []int{1, 1, 2, 2, 3} {
			require.Equal(t, time.Duration(want)*time.Second, <-took)
		}
		require.Equal(t, http.StatusOK, send(t.Context(), t, q, body).Code)
	})
}

func TestForward_Answers(t *testing.T) {
	failing := startQueue(1, 1, func(context.Context, webhook.Event) error { return errors.New("no disk") })
	defer failing.close()
	require.Equal(t, http.StatusServiceUnavailable, send(t.Context(), t, failing, body).Code)

	real := startQueue(1, 1, thumbnail)
	defer real.close()
	require.Equal(t, http.StatusOK, send(t.Context(), t, real, body).Code)
	require.Equal(t, http.StatusBadRequest, send(t.Context(), t, real, "no JSON").Code)
}

// A sender that goes away while it waits for a worker costs no work.
func TestForward_SenderGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worked := 0
		q := startQueue(1, 1, func(context.Context, webhook.Event) error {
			time.Sleep(time.Minute)
			worked++
			return nil
		})
		go send(t.Context(), t, q, body)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Equal(t, http.StatusServiceUnavailable, send(ctx, t, q, body).Code)
		q.close()
		synctest.Wait()
		require.Equal(t, 1, worked)
	})
}

func TestRun(t *testing.T) {
	t.Setenv("WEBHOOK_SECRET", "")
	require.ErrorContains(t, run(t.Context(), "127.0.0.1:0", 1, 1), "set WEBHOOK_SECRET")
	t.Setenv("WEBHOOK_SECRET", secret)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- run(ctx, "127.0.0.1:0", 1, 1) }()
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) { // it may not have listened yet
		require.NoError(t, err, "a clean end")
	}
}
