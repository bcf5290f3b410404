package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// large is an event of 64 KiB.
func large(id string) store.Add {
	a := event(id, "work")
	a.Record.Body = make([]byte, 64<<10)
	return a
}

// fill adds large events until one is refused, and returns those that were not.
func fill(t *testing.T, st *sqlite.Store, prefix string) (acknowledged []string, refused string, err error) {
	t.Helper()
	for i := range 1000 {
		a := large(fmt.Sprint(prefix, i))
		if _, err := st.Commit(t.Context(), &store.Batch{Adds: []store.Add{a}}); err != nil {
			return acknowledged, a.Record.ID, err
		}
		acknowledged = append(acknowledged, a.Record.ID)
	}
	t.Fatal("a thousand events of 64 KiB fit")
	return nil, "", nil
}

// requireEvents fails unless all of ids are there and absent is not.
func requireEvents(t *testing.T, st *sqlite.Store, ids []string, absent string) {
	t.Helper()
	for _, id := range ids {
		require.Len(t, find(t, st, id), 1, "acknowledged")
	}
	require.Empty(t, find(t, st, absent), "refused")
	requireCounters(t, st)
}

// A full disk refuses what does not fit, loses nothing of what did, and is forgotten
// when there is room again.
func TestFault_Full(t *testing.T) {
	st := open(t, file(t))
	add(t, st, event("first", "work"))
	pages, err := st.OnWriter("PRAGMA page_count")
	require.NoError(t, err)
	_, err = st.OnWriter(fmt.Sprintf("PRAGMA max_page_count = %d", pages.(int64)+200))
	require.NoError(t, err)

	ids, refused, err := fill(t, st, "before ")
	require.ErrorContains(t, err, "webhook: commit: ")
	require.ErrorContains(t, err, "database or disk is full")
	require.False(t, errors.Is(err, store.ErrBadData) || errors.Is(err, store.ErrRetry), "halving it would not help")
	requireEvents(t, st, append(ids, "first"), refused)

	// What needs no room works on; a transaction is refused whole.
	add(t, st, event("small", "work"))
	err = st.Transact(t.Context(), func(ctx context.Context, _ *sql.Tx, w store.Tx) error {
		_, err := w.Write(ctx, &store.Batch{Adds: []store.Add{large("in transaction")}})
		require.ErrorContains(t, err, "full")
		_, err = w.Write(ctx, &store.Batch{Adds: []store.Add{event("after it", "work")}})
		return err
	})
	require.ErrorContains(t, err, "the transaction has ended")
	require.Empty(t, find(t, st, "after it"))

	_, err = st.OnWriter("PRAGMA max_page_count = 1000000")
	require.NoError(t, err)
	add(t, st, large(refused), large("after"))
	requireEvents(t, st, append(ids, refused, "after", "small"), "in transaction")
}

// So does a file that cannot be written for a time.
func TestFault_ReadOnly(t *testing.T) {
	st := open(t, file(t))
	add(t, st, event("before", "work"))
	_, err := st.OnWriter("PRAGMA query_only = 1")
	require.NoError(t, err)
	b := &store.Batch{Adds: []store.Add{event("refused", "work")}}
	_, err = st.Commit(t.Context(), b)
	require.ErrorContains(t, err, "readonly")
	_, err = st.Claim(t.Context(), queue, store.Claim{Other: 1})
	require.ErrorContains(t, err, "webhook: claim: ")
	requireEvents(t, st, []string{"before"}, "refused")

	_, err = st.OnWriter("PRAGMA query_only = 0")
	require.NoError(t, err)
	_, err = st.Commit(t.Context(), b)
	require.NoError(t, err, "the same batch again")
	require.Len(t, claim(t, st), 2)
}

// An empty batch tells whether the store could write.
func TestFault_Probe(t *testing.T) {
	st := open(t, file(t))
	_, err := st.Commit(t.Context(), &store.Batch{})
	require.NoError(t, err)
	_, err = st.OnWriter("PRAGMA query_only = 1")
	require.NoError(t, err)
	_, err = st.Commit(t.Context(), &store.Batch{})
	require.Error(t, err)
}
