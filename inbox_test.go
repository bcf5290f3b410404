package webhook_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

func TestInbox_RetriesUntilProcessed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New()
		inbox, err := webhook.NewInbox(st, webhook.InboxConfig{})
		require.NoError(t, err)
		var at []time.Duration
		start := time.Now()
		inbox.HandleWith("billing", func(ctx context.Context, e webhook.Event) error {
			at = append(at, time.Since(start))
			if len(at) < 3 {
				return errors.New("down")
			}
			return nil
		}, webhook.HandlerConfig{Retry: webhook.RetryPolicy{Base: 5 * time.Second, Jitter: [2]float64{1, 1}}})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- inbox.Run(ctx) }()
		stored, err := inbox.Add(ctx, webhook.Event{Source: "s", ID: "1", To: []string{"billing"}, Body: []byte("{}")})
		require.NoError(t, err)
		require.Equal(t, 1, stored[0].Deliveries)
		time.Sleep(time.Minute)
		var ds []store.Delivery
		for d, err := range inbox.Queue().Find(ctx, store.Filter{}) {
			require.NoError(t, err)
			ds = append(ds, d)
		}
		require.Len(t, ds, 1)
		d, err := inbox.Queue().Get(ctx, ds[0].ID)
		require.NoError(t, err)
		require.Equal(t, store.Processed, d.State)
		t.Log(at, d.Attempts)
		cancel()
		require.NoError(t, <-done)
	})
}
