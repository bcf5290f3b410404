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
