package sqlite_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
	"github.com/surehook/webhook/webhooktest"
)

// A file is no socket: users may test their handlers on this store in fake time,
// as docs/testing.md says.
func TestStore_InFakeTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "webhooks.db")
	synctest.Test(t, func(t *testing.T) {
		st, err := sqlite.Open(t.Context(), file, sqlite.Config{})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, st.Close()) })
		retry := webhook.RetryPolicy{Attempts: 3, Delays: []time.Duration{time.Minute}, Jitter: [2]float64{1, 1}}
		inbox, err := webhook.NewInbox(st, webhook.InboxConfig{Queue: webhook.QueueConfig{Retry: retry}})
		require.NoError(t, err)
		inbox.Handle("billing", func(context.Context, webhook.Event) error { return errors.New("down") })
		_, err = inbox.Add(t.Context(), webhook.Event{Source: "shop", ID: "1", To: []string{"billing"}})
		require.NoError(t, err)

		begin := time.Now()
		webhooktest.Settle(t, inbox)
		require.InDelta(t, 2*time.Minute, time.Since(begin), float64(10*time.Second))
		n, err := inbox.Queue().Count(t.Context(), store.Filter{States: []store.State{store.Dead}}, 2)
		require.NoError(t, err)
		require.Equal(t, 1, n)
	})
}
