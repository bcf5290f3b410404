package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// The log is moved into the file beside the load, and does not grow without bound.
func TestSpace_LogIsBounded(t *testing.T) {
	const limit = 4 << 20
	path := file(t)
	st := openWith(t, path, sqlite.Config{WALLimit: limit})
	var written, largest int64
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 150 {
				_, err := st.Commit(context.Background(), &store.Batch{Adds: []store.Add{large(fmt.Sprint(i, " ", j))}})
				require.NoError(t, err)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for {
		if info, err := os.Stat(path + "-wal"); err == nil {
			largest = max(largest, info.Size())
		}
		select {
		case <-done:
		case <-time.After(time.Millisecond):
			continue
		}
		break
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	written = info.Size()
	require.Greater(t, written, int64(20<<20), "it was moved")
	require.Less(t, largest, int64(3*limit), "the log")
}

// A reader that stays holds up the log, not the store; when it goes, the log starts
// over.
func TestSpace_ReaderHoldsTheLog(t *testing.T) {
	path := file(t)
	st := openWith(t, path, sqlite.Config{WALLimit: 1 << 20})
	add(t, st, event("e", "work"))
	db := foreign(t, path)
	tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	require.NoError(t, err)
	var n int
	require.NoError(t, tx.QueryRow("SELECT count(*) FROM webhook_event").Scan(&n))
	for i := range 64 {
		add(t, st, large(fmt.Sprint("held ", i)))
	}
	require.NoError(t, tx.QueryRow("SELECT count(*) FROM webhook_event").Scan(&n))
	require.Equal(t, 1, n, "the reader sees what it saw")
	require.NoError(t, tx.Rollback())

	size := func() int64 {
		info, err := os.Stat(path + "-wal")
		require.NoError(t, err)
		return info.Size()
	}
	require.Greater(t, size(), int64(4<<20))
	for i := range 64 {
		add(t, st, large(fmt.Sprint("free ", i)))
	}
	require.Less(t, size(), int64(4<<20), "it was cut back")
}

// The file gets smaller when what was in it is purged.
func TestSpace_PurgeShrinksTheFile(t *testing.T) {
	path := file(t)
	st := open(t, path)
	const n = 300
	for i := range n {
		add(t, st, large(fmt.Sprint(i)))
	}
	b := &store.Batch{}
	for _, d := range claimLarge(t, st) {
		b.Settles = append(b.Settles, processed(d))
	}
	require.Len(t, b.Settles, n)
	_, err := st.Commit(t.Context(), b)
	require.NoError(t, err)
	pages := func() int64 {
		p, err := st.OnWriter("PRAGMA page_count")
		require.NoError(t, err)
		return p.(int64)
	}
	before := pages()
	st.Advance(2 * time.Hour)
	for range 100 {
		_, err := st.Purge(t.Context(), queue, store.Retention{Processed: time.Hour})
		require.NoError(t, err)
	}
	require.Less(t, pages(), before/2)
	free, err := st.OnWriter("PRAGMA freelist_count")
	require.NoError(t, err)
	require.Positive(t, free, "some is left for what comes next")
	requireCounters(t, st)
}

func claimLarge(t testing.TB, st store.Store) (all []store.Delivery) {
	t.Helper()
	for {
		ds := claim(t, st)
		if len(ds) == 0 {
			return all
		}
		all = append(all, ds...)
	}
}
