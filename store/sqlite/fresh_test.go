package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// fewFresh are enough for a run to begin, so that the tests need not add so many.
const fewFresh = 1 << 10

// openAt opens the file at path until the test ends.
func openAt(t *testing.T, path string) *Store {
	t.Helper()
	st, err := Open(t.Context(), path, Config{})
	require.NoError(t, err)
	st.fresh.max = fewFresh
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// numbered is an add of the event with that number, for nobody, under a nonce of
// its own each time. It is known for an hour.
func numbered(n uint64, nonce byte) store.Add {
	id := binary.BigEndian.AppendUint64(nil, n)
	a := store.Add{
		Queue: "inbox", Identity: sha256.Sum256(append(id, 'i')), Keys: [][32]byte{sha256.Sum256(append(id, 'k'))},
		Known: time.Hour, Digest: sha256.Sum256(id), Record: &store.Record{Source: "test", ID: string(id), Body: id},
	}
	copy(a.Nonce[:], append(id, nonce))
	return a
}

// addTo adds the events from the first to before the last, and returns how many were
// duplicates.
func addTo(t *testing.T, st *Store, first, last uint64, nonce byte) (duplicates int) {
	t.Helper()
	for first < last {
		b := &store.Batch{}
		for ; first < last && len(b.Adds) < 20; first++ {
			b.Adds = append(b.Adds, numbered(first, nonce))
		}
		res, err := st.Commit(t.Context(), b)
		require.NoError(t, err)
		for _, a := range res.Adds {
			if a.Duplicate {
				duplicates++
			}
		}
	}
	return duplicates
}

// number reads one from the file.
func number(t *testing.T, st *Store, query string) (n int64) {
	t.Helper()
	require.NoError(t, st.read.QueryRowContext(t.Context(), query).Scan(&n))
	return n
}

const (
	countKnown  = `SELECT count(*) FROM webhook_known`
	lastIndexed = `SELECT indexed FROM webhook_file`
)

// Keys are known while they are in memory alone, while a run puts them into
// webhook_known, afterwards, and after each reopening; and the memory is given back.
func TestFresh_KnownAllTheTime(t *testing.T) {
	const keys = 2 // of an event
	path := filepath.Join(t.TempDir(), "w.db")
	st := openAt(t, path)
	require.Zero(t, addTo(t, st, 0, 100, 'a'))
	require.Zero(t, number(t, st, countKnown), "they are fresh")
	require.Equal(t, 100, addTo(t, st, 0, 100, 'b'))

	begun := uint64(fewFresh/keys + 100)
	require.Zero(t, addTo(t, st, 100, begun, 'a'))
	require.NotZero(t, number(t, st, countKnown), "a run began")
	require.Zero(t, number(t, st, lastIndexed), "and goes on")
	require.Equal(t, int(begun), addTo(t, st, 0, begun, 'b'))

	require.NoError(t, st.Close())
	st = openAt(t, path)
	require.Equal(t, 1, addTo(t, st, 7, 8, 'c'), "the first add after it was cut off")
	require.Zero(t, addTo(t, st, begun, 2*begun, 'a'))
	require.Equal(t, int(2*begun), addTo(t, st, 0, 2*begun, 'd'))
	indexed := number(t, st, lastIndexed)
	require.Greater(t, indexed, int64(begun/2), "a run ended")
	require.GreaterOrEqual(t, number(t, st, countKnown), indexed*keys)
	require.Less(t, len(st.fresh.owner), int(2*begun-uint64(indexed)+2)*keys, "what is indexed is not kept in memory")
	require.Len(t, st.fresh.owner, len(st.fresh.order))

	require.NoError(t, st.Close())
	st = openAt(t, path)
	require.Equal(t, int(2*begun), addTo(t, st, 0, 2*begun, 'e'))
}

// Either key alone is enough, and the first event that has it answers.
func TestFresh_EachKey(t *testing.T) {
	st := openAt(t, filepath.Join(t.TempDir(), "w.db"))
	addTo(t, st, 1, 3, 'a')
	one, two := numbered(1, 'b'), numbered(2, 'b')
	mixed := numbered(3, 'b')
	mixed.Keys = [][32]byte{numbered(4, 0).Identity, two.Keys[0]}
	same := numbered(5, 'b')
	same.Keys = [][32]byte{same.Identity, same.Identity}
	res, err := st.Commit(t.Context(), &store.Batch{Adds: []store.Add{one, mixed, same, numbered(5, 'c'), numbered(3, 'c'), numbered(4, 'c')}})
	require.NoError(t, err)
	var duplicate []bool
	for _, a := range res.Adds {
		duplicate = append(duplicate, a.Duplicate)
	}
	require.Equal(t, []bool{true, true, false, true, false, false}, duplicate, "a duplicate's other keys stay nobody's")
}

// What was rolled back is not known: not by a closure that fails, nor by a
// savepoint, nor in a transaction begun elsewhere.
func TestFresh_RolledBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	st := openAt(t, path)
	write := func(w store.Tx, n uint64, nonce byte) bool {
		res, err := w.Write(t.Context(), &store.Batch{Adds: []store.Add{numbered(n, nonce)}})
		require.NoError(t, err)
		return res.Adds[0].Duplicate
	}
	undo := errors.New("undo")
	require.ErrorIs(t, st.Transact(t.Context(), func(_ context.Context, _ *sql.Tx, w store.Tx) error {
		require.False(t, write(w, 1, 'a'))
		require.True(t, write(w, 1, 'b'), "inside, it is known")
		return undo
	}), undo)
	require.NoError(t, st.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx, w store.Tx) error {
		_, err := tx.ExecContext(ctx, "SAVEPOINT here")
		require.NoError(t, err)
		require.False(t, write(w, 1, 'c'))
		require.False(t, write(w, 2, 'c'))
		_, err = tx.ExecContext(ctx, "ROLLBACK TO here")
		require.NoError(t, err)
		require.False(t, write(w, 1, 'd'))
		return nil
	}))
	require.Zero(t, addTo(t, st, 2, 3, 'd'))
	require.Equal(t, 2, addTo(t, st, 1, 3, 'e'))

	db, err := pool(path, false, 1)
	require.NoError(t, err)
	defer db.Close()
	for _, commit := range []bool{false, true} {
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		require.True(t, write(st.Tx(tx), 1, 'f'))
		require.False(t, write(st.Tx(tx), 3, 'f'), "commit: %t", commit)
		require.True(t, write(st.Tx(tx), 3, 'g'))
		if commit {
			require.NoError(t, tx.Commit())
		} else {
			require.NoError(t, tx.Rollback())
		}
	}
	require.Equal(t, 1, addTo(t, st, 3, 5, 'h'))
}

// Each of two stores on a file knows what the other has added, indexed and deleted.
func TestFresh_TwoStores(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	a, b := openAt(t, path), openAt(t, path)
	require.Zero(t, addTo(t, a, 0, 100, 'a'))
	require.Equal(t, 100, addTo(t, b, 0, 150, 'b'))
	require.Equal(t, 50, addTo(t, a, 100, 200, 'c'))

	require.Zero(t, addTo(t, b, 1000, 1000+fewFresh, 'a'))
	require.NotZero(t, number(t, b, lastIndexed))
	require.Equal(t, 200, addTo(t, a, 0, 201, 'd'))

	// One forgets all; the other has them in memory still.
	a.Advance(2 * time.Hour)
	b.Advance(2 * time.Hour)
	for {
		n, err := b.Purge(t.Context(), "inbox", store.Retention{Keys: time.Minute})
		require.NoError(t, err)
		if n == 0 {
			break
		}
	}
	require.Zero(t, number(t, b, countKnown))
	require.Zero(t, addTo(t, a, 0, 300, 'e'))
	require.Equal(t, 300, addTo(t, b, 0, 300, 'f'))
}

// A run that is under way does not bring back what was deleted meanwhile.
func TestFresh_PurgedDuringRun(t *testing.T) {
	st := openAt(t, filepath.Join(t.TempDir(), "w.db"))
	const events = fewFresh/2 + 100
	require.Zero(t, addTo(t, st, 0, events, 'a'))
	require.NotEmpty(t, st.fresh.run)
	st.Advance(2 * time.Hour)
	n, err := st.Purge(t.Context(), "inbox", store.Retention{Keys: time.Minute})
	require.NoError(t, err)
	require.Equal(t, purgeMax, n)
	forgotten := number(t, st, `SELECT min(id) FROM webhook_event`) - 1
	require.Equal(t, int64(purgeMax), forgotten, "the oldest went")

	require.Zero(t, addTo(t, st, events, 3*events, 'a'), "the next run ends")
	require.Greater(t, number(t, st, lastIndexed), int64(events))
	require.Zero(t, addTo(t, st, 0, uint64(forgotten), 'b'), "they are new again")
	require.Equal(t, 1000, addTo(t, st, uint64(forgotten), uint64(forgotten)+1000, 'b'))
}

// An event that was purged, and is known still, is so after the file was reopened.
func TestFresh_Purged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	st := openAt(t, path)
	a := numbered(1, 'a')
	a.To = []store.Target{{Destination: "x"}}
	res, err := st.Commit(t.Context(), &store.Batch{Adds: []store.Add{a}})
	require.NoError(t, err)
	n, err := st.Update(t.Context(), "inbox", []string{res.Adds[0].Deliveries[0].ID}, store.Change{To: store.Discarded})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	st.Advance(time.Minute)
	n, err = st.Purge(t.Context(), "inbox", store.Retention{Processed: time.Second})
	require.NoError(t, err)
	require.NotZero(t, n)
	require.Zero(t, number(t, st, `SELECT count(*) FROM webhook_event`))
	require.NoError(t, st.Close())
	require.Equal(t, 1, addTo(t, openAt(t, path), 1, 2, 'b'))
}

// Of a run that is under way, what a failed commit rolled back is done again.
func TestFresh_FailedCommit(t *testing.T) {
	st := openAt(t, filepath.Join(t.TempDir(), "w.db"))
	const begun = fewFresh/2 + 100
	require.Zero(t, addTo(t, st, 0, begun, 'a'))
	require.NotEmpty(t, st.fresh.run)
	_, err := st.OnWriter("PRAGMA max_page_count = 1") // SQLite takes what there is
	require.NoError(t, err)
	b := &store.Batch{}
	for n := range uint64(20) {
		b.Adds = append(b.Adds, numbered(begun+n, 'a'))
	}
	_, err = st.Commit(t.Context(), b)
	require.ErrorContains(t, err, "full")
	_, err = st.OnWriter("PRAGMA max_page_count = 1073741823")
	require.NoError(t, err)
	require.Zero(t, addTo(t, st, begun, 2*begun, 'a'))
	require.NotZero(t, number(t, st, lastIndexed), "the run ended")
	require.Equal(t, 2*begun, addTo(t, st, 0, 2*begun, 'b'))
}

// The memory of fresh keys is bounded, also where all that is added is added in
// transactions.
func TestFresh_TransactionsAlone(t *testing.T) {
	st := openAt(t, filepath.Join(t.TempDir(), "w.db"))
	for n := uint64(0); n < 8*fewFresh; {
		require.NoError(t, st.Transact(t.Context(), func(ctx context.Context, _ *sql.Tx, w store.Tx) error {
			b := &store.Batch{}
			for range 64 {
				b.Adds = append(b.Adds, numbered(n, 'a'))
				n++
			}
			_, err := w.Write(ctx, b)
			return err
		}))
		require.LessOrEqual(t, len(st.fresh.order), 4*fewFresh, "after %d", n)
	}
	require.NotZero(t, number(t, st, lastIndexed))
	require.Equal(t, 8*fewFresh, addTo(t, st, 0, 8*fewFresh, 'b'))
}

// So it is beside commits of settles.
func TestFresh_TransactionsBegunElsewhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	st := openAt(t, path)
	db, err := pool(path, false, 1)
	require.NoError(t, err)
	defer db.Close()
	for n := uint64(0); n < 8*fewFresh; {
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		for range 64 {
			_, err := st.Tx(tx).Write(t.Context(), &store.Batch{Adds: []store.Add{numbered(n, 'a')}})
			require.NoError(t, err)
			n++
		}
		require.NoError(t, tx.Commit())
		_, err = st.Commit(t.Context(), &store.Batch{Settles: []store.Settle{{Delivery: "x", To: store.Processed}}})
		require.NoError(t, err)
		require.LessOrEqual(t, len(st.fresh.order), 4*fewFresh, "after %d", n)
	}
	require.Equal(t, 8*fewFresh, addTo(t, st, 0, 8*fewFresh, 'b'))
}
