package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/storetest"
)

const secret = "whsec_ZGVkdXAtc3FsLXNlY3JldC1vZi1hY21lLWluYw=="

// testKeys is Keys with a clock that can be set.
type testKeys struct {
	Keys
	file string

	mu   sync.Mutex
	skew time.Duration
}

func openKeys(t testing.TB, file string) *testKeys {
	t.Helper()
	k := &testKeys{Keys: Keys{db: openDB(t, file)}, file: file}
	k.now = func() time.Time {
		k.mu.Lock()
		defer k.mu.Unlock()
		return time.Now().Add(k.skew)
	}
	return k
}

func openDB(t testing.TB, file string) *sql.DB {
	t.Helper()
	db, err := open(context.Background(), file)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// TestKeys: the page keeps every clause of store.Keys.
func TestKeys(t *testing.T) {
	more := func(t testing.TB, k store.Keys) store.Keys {
		t.Helper()
		return openKeys(t, k.(*testKeys).file)
	}
	storetest.RunKeys(t, storetest.KeysBackend{
		Open: func(t testing.TB) store.Keys {
			t.Helper()
			return openKeys(t, filepath.Join(t.TempDir(), "shop.db"))
		},
		Advance: func(k store.Keys, d time.Duration) {
			own := k.(*testKeys)
			own.mu.Lock()
			defer own.mu.Unlock()
			own.skew += d
		},
		Size: func(t testing.TB, k store.Keys) (n int) {
			t.Helper()
			require.NoError(t, k.(*testKeys).db.QueryRowContext(t.Context(), `SELECT count(*) FROM dedup_key`).Scan(&n))
			return n
		},
		Reopen: func(t testing.TB, k store.Keys) store.Keys {
			t.Helper()
			require.NoError(t, k.(*testKeys).db.Close())
			return more(t, k)
		},
		Second: more,
	})
}

// A page is less than a hundred lines.
func TestKeys_APage(t *testing.T) {
	text, err := os.ReadFile("keys.go")
	require.NoError(t, err)
	require.Less(t, bytes.Count(text, []byte("\n")), 100)
}

// Copies of an order that come at once are shipped once, and all are answered 200 in
// the end.
func TestService_ShipsOnce(t *testing.T) {
	acme, err := provider.StandardWebhooks(secret)
	require.NoError(t, err)
	acme.Telemetry.Logger = slog.New(slog.DiscardHandler)
	db := openDB(t, filepath.Join(t.TempDir(), "shop.db"))
	srv := httptest.NewServer(routes(acme, db))
	defer srv.Close()

	var senders sync.WaitGroup
	for range 30 {
		senders.Go(func() {
			for range 200 {
				if post(t, srv, acme, "order_1") == http.StatusOK {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Error("not answered 200")
		})
	}
	senders.Wait()
	require.Equal(t, http.StatusOK, post(t, srv, acme, "order_2"))

	var shipped, orders int
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*), count(DISTINCT ordered) FROM shipment`).Scan(&shipped, &orders))
	require.Equal(t, 2, shipped)
	require.Equal(t, 2, orders)
}

// post sends an order as acme would.
func post(t *testing.T, srv *httptest.Server, acme webhook.Verifier, id string) int {
	t.Helper()
	target, err := url.Parse(srv.URL + "/webhooks/acme")
	if err != nil {
		t.Error(err)
		return 0
	}
	signed := &webhook.Request{
		Method: http.MethodPost, URL: target, Header: http.Header{}, Time: time.Now(),
		Body: []byte(`{"type":"order.paid"}`), Secrets: []webhook.Secret{{Value: secret}},
	}
	if err := acme.Sign(signed, webhook.Event{ID: id}); err != nil {
		t.Error(err)
		return 0
	}
	req, err := http.NewRequestWithContext(t.Context(), signed.Method, target.String(), bytes.NewReader(signed.Body))
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header = signed.Header
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "shop.db")
	t.Setenv("WEBHOOK_SECRET", "hunter2")
	require.ErrorContains(t, run(t.Context(), "127.0.0.1:0", file), "set WEBHOOK_SECRET")
	require.NoFileExists(t, file)
	t.Setenv("WEBHOOK_SECRET", secret)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- run(ctx, "127.0.0.1:0", file) }()
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) { // it may not have listened yet
		require.NoError(t, err, "a clean end")
	}
}
