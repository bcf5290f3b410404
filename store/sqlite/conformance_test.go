package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
	"github.com/surehook/webhook/store/storetest"
)

func TestStore(t *testing.T) {
	paths := map[store.Store]string{}
	open := func(t testing.TB, path string) store.Store {
		t.Helper()
		st, err := sqlite.Open(t.Context(), path, sqlite.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		})
		paths[st] = path
		return st
	}
	storetest.Run(t, storetest.Backend{
		Open: func(t testing.TB) store.Store {
			t.Helper()
			return open(t, filepath.Join(t.TempDir(), "webhooks.db"))
		},
		Reopen: func(t testing.TB, st store.Store) store.Store {
			t.Helper()
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, paths[st])
		},
		Second: func(t testing.TB, st store.Store) store.Store {
			t.Helper()
			return open(t, paths[st])
		},
		Advance: func(st store.Store, d time.Duration) { st.(*sqlite.Store).Advance(d) },
		Transact: func(ctx context.Context, st store.Store, f func(ctx context.Context, w store.Tx) error) error {
			return st.(*sqlite.Store).Transact(ctx, func(ctx context.Context, _ *sql.Tx, w store.Tx) error { return f(ctx, w) })
		},
		OneWriter: true,
	})
}

func TestKeys(t *testing.T) {
	paths := map[store.Keys]string{}
	on := func(t testing.TB, path string) store.Keys {
		t.Helper()
		st := open(t, path)
		paths[st] = path
		return st
	}
	storetest.RunKeys(t, storetest.KeysBackend{
		Open: func(t testing.TB) store.Keys {
			t.Helper()
			return on(t, file(t))
		},
		Advance: func(k store.Keys, d time.Duration) { k.(*sqlite.Store).Advance(d) },
		Size: func(t testing.TB, k store.Keys) int {
			t.Helper()
			n, err := k.(*sqlite.Store).OnWriter("SELECT count(*) FROM webhook_key")
			if err != nil {
				t.Fatal(err)
			}
			return int(n.(int64))
		},
		Reopen: func(t testing.TB, k store.Keys) store.Keys {
			t.Helper()
			if err := k.(*sqlite.Store).Close(); err != nil {
				t.Fatal(err)
			}
			return on(t, paths[k])
		},
		Second: func(t testing.TB, k store.Keys) store.Keys {
			t.Helper()
			return on(t, paths[k])
		},
		Transact: func(ctx context.Context, k store.Keys, f func(ctx context.Context) error) error {
			return k.(*sqlite.Store).Transact(ctx, func(ctx context.Context, _ *sql.Tx, _ store.Tx) error { return f(ctx) })
		},
	})
}
