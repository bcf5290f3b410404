package sqlite_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// The promise stands on these two; the rest on what was measured.
func TestOpen_Settings(t *testing.T) {
	st := open(t, file(t))
	for query, want := range map[string]any{
		"PRAGMA journal_mode":       "wal",
		"PRAGMA synchronous":        int64(2),
		"PRAGMA auto_vacuum":        int64(2),
		"PRAGMA foreign_keys":       int64(1),
		"PRAGMA wal_autocheckpoint": int64(0),
		"PRAGMA journal_size_limit": int64(32 << 20),
		"PRAGMA busy_timeout":       int64(5000),
	} {
		got, err := st.OnWriter(query)
		require.NoError(t, err, query)
		require.Equal(t, want, got, query)
	}
	require.True(t, st.Info().Durable)
}

func TestOpen_BadPaths(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.db")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("this is no database\n", 100)), 0o600))
	for name, c := range map[string]struct{ path, says string }{
		"empty":           {"", "want the name of a file"},
		"memory":          {":memory:", "want the name of a file"},
		"uri":             {"file:x.db?mode=memory", "want the name of a file"},
		"no directory":    {filepath.Join(dir, "none", "x.db"), "no such file or directory"},
		"a directory":     {dir, "is a directory"},
		"below a file":    {filepath.Join(text, "x.db"), "is not a directory"},
		"not a database":  {text, "not a database"},
		"nul in the name": {filepath.Join(dir, "a\x00b.db"), "want the name of a file"},
	} {
		t.Run(name, func(t *testing.T) {
			st, err := sqlite.Open(t.Context(), c.path, sqlite.Config{})
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "webhook: open ")
			require.Nil(t, st)
		})
	}
}

// What means something in a URI is a name here.
func TestOpen_OddNames(t *testing.T) {
	for _, name := range []string{"a b.db", "a?mode=memory.db", "a#b.db", "a%20b.db", "ä.db", "a&_pragma=x.db", "-.db"} {
		path := filepath.Join(t.TempDir(), name)
		st := open(t, path)
		add(t, st, event("e", "work"))
		require.NoError(t, st.Close())
		require.FileExists(t, path)
		require.Len(t, find(t, open(t, path), "e"), 1, name)
	}
}

// The host's own file keeps its tables and its page size.
func TestOpen_FileOfTheHost(t *testing.T) {
	path := file(t)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.Exec("PRAGMA page_size = 8192; CREATE TABLE event (id INTEGER PRIMARY KEY); INSERT INTO event VALUES (7)")
	require.NoError(t, err)
	require.NoError(t, db.Close())

	st := open(t, path)
	add(t, st, event("e", "work"))
	require.Len(t, claim(t, st), 1)
	n, err := st.OnWriter("SELECT id FROM event")
	require.NoError(t, err)
	require.EqualValues(t, 7, n)
}

func TestOpen_Cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := sqlite.Open(ctx, file(t), sqlite.Config{})
	require.ErrorIs(t, err, context.Canceled)
}

// After Close nothing works, and a second Close is nothing.
func TestClose(t *testing.T) {
	path := file(t)
	st := open(t, path)
	add(t, st, event("e", "work"))
	claim(t, st)
	st.Wake(queue)
	require.NoError(t, st.Close())
	require.NoError(t, st.Close())
	err := st.Transact(t.Context(), func(context.Context, *sql.Tx, store.Tx) error { return nil })
	require.ErrorIs(t, err, store.ErrClosed)
	// All of the log is in the file.
	require.NoFileExists(t, path+"-wal")
}

// Close waits for a closure, which goes on writing meanwhile.
func TestClose_DuringTransact(t *testing.T) {
	path := file(t)
	synctest.Test(t, func(t *testing.T) {
		st, err := sqlite.Open(t.Context(), path, sqlite.Config{})
		require.NoError(t, err)
		closed := make(chan error, 1)
		require.NoError(t, st.Transact(t.Context(), func(ctx context.Context, _ *sql.Tx, w store.Tx) error {
			_, err := w.Write(ctx, &store.Batch{Adds: []store.Add{event("first", "work")}})
			require.NoError(t, err)
			go func() { closed <- st.Close() }()
			synctest.Wait() // it waits for this closure
			_, err = w.Write(ctx, &store.Batch{Adds: []store.Add{event("second", "work")}})
			return err
		}))
		require.NoError(t, <-closed)
	})
	require.Len(t, find(t, open(t, path), "second"), 1)
}

// A delivery's id names its file, so that it is unique over all.
func TestDeliveryIDs(t *testing.T) {
	a, b := open(t, file(t)), open(t, file(t))
	first := add(t, a, event("e", "work"))[0].Deliveries[0].ID
	other := add(t, b, event("e", "work"))[0].Deliveries[0].ID
	require.NotEqual(t, first, other)
	ds, _, err := b.Find(t.Context(), queue, store.Filter{IDs: []string{first}}, "", 0)
	require.NoError(t, err)
	require.Empty(t, ds, "another file's delivery")
}

// A rolled back commit's rows are not in the leases that are remembered: the next
// delivery of that number goes where it should.
func TestDeliveryIDs_AfterRollback(t *testing.T) {
	st := open(t, file(t))
	claim(t, st)
	var lost store.Delivery
	_ = st.Transact(t.Context(), func(ctx context.Context, _ *sql.Tx, w store.Tx) error {
		a := event("lost", "a")
		res, err := w.Write(ctx, &store.Batch{Adds: []store.Add{a}})
		require.NoError(t, err)
		lost = res.Adds[0].Deliveries[0]
		return os.ErrInvalid
	})
	kept := add(t, st, event("kept", "b"))[0].Deliveries[0]
	require.Equal(t, lost.ID, kept.ID, "rolled back, so the number is free")
	d := claim(t, st)
	require.Len(t, d, 1)
	_, err := st.Commit(t.Context(), &store.Batch{Settles: []store.Settle{processed(d[0])}})
	require.NoError(t, err)
	page, _, err := st.Stats(t.Context(), queue, "", 0)
	require.NoError(t, err)
	for _, s := range page {
		require.Zero(t, s.Queued+s.Processing+s.Dead, s.Destination)
	}
}

// The file and its log hold payloads: they are for their owner alone.
func TestOpen_ForTheOwnerAlone(t *testing.T) {
	path := file(t)
	st := open(t, path)
	add(t, st, event("e", "a"))
	for _, name := range []string{path, path + "-wal"} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		if runtime.GOOS != "windows" { // which has no such bits
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
		}
	}
}
