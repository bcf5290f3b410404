package sqlite

import (
	"context"
	"crypto/sha256"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// A connection without what the promise stands on is refused.
func TestCheckSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	c := conn(t, path)
	require.NoError(t, checkSettings(t.Context(), c))
	for _, weaker := range []string{"synchronous = off", "synchronous = normal", "journal_mode = delete"} {
		c := conn(t, filepath.Join(t.TempDir(), "w.db"))
		_, err := c.ExecContext(t.Context(), "PRAGMA "+weaker)
		require.NoError(t, err)
		require.ErrorContains(t, checkSettings(t.Context(), c), "an acknowledged event may be lost", weaker)
	}
}

// After an input or output error the writer gets a fresh connection, and its
// statements with it.
func TestWriter_FreshConnection(t *testing.T) {
	st, err := Open(t.Context(), filepath.Join(t.TempDir(), "w.db"), Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	put := func(id string) error {
		_, err := st.Commit(context.Background(), &store.Batch{Adds: []store.Add{{
			Queue: "inbox", Identity: sha256.Sum256([]byte(id)), Record: &store.Record{ID: id}, To: []store.Target{{Destination: "work", Lease: time.Hour}},
		}}})
		return err
	}
	require.NoError(t, put("a"))
	before := st.writer.conn
	require.NoError(t, st.writer.lock(t.Context()))
	st.writer.drop()
	st.writer.unlock()
	require.NoError(t, put("b"))
	require.NotSame(t, before, st.writer.conn)
	require.NoError(t, checkSettings(t.Context(), st.writer.conn))
	page, _, err := st.Find(t.Context(), "inbox", store.Filter{}, "", 0)
	require.NoError(t, err)
	require.Len(t, page, 2)
}
