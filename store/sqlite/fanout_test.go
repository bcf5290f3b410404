package sqlite

import (
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// counted counts the statements of a session.
type counted struct {
	session
	of map[string]int
}

func (c counted) query(query string, row func([]driver.Value) error, args ...any) error {
	c.of[query]++
	return c.session.query(query, row, args...)
}

func (c counted) exec(query string, args ...any) (int64, error) {
	c.of[query]++
	return c.session.exec(query, args...)
}

// An event that went to many has as many names: they are looked at once, and not for
// each delivery that is purged, while the writer is held.
func TestPurge_ManyOfOneEvent(t *testing.T) {
	st := openAt(t, filepath.Join(t.TempDir(), "w.db"))
	const many = 100
	a := numbered(1, 'a')
	for i := range many {
		a.To = append(a.To, store.Target{Destination: fmt.Sprint("endpoint ", i)})
	}
	res, err := st.Commit(t.Context(), &store.Batch{Adds: []store.Add{a}})
	require.NoError(t, err)
	var ids []string
	var rows []int64
	for _, d := range res.Adds[0].Deliveries {
		ids, rows = append(ids, d.ID), append(rows, st.row(d.ID))
	}
	_, err = st.Update(t.Context(), "inbox", ids, store.Change{To: store.Discarded})
	require.NoError(t, err)

	queries := map[string]int{}
	require.NoError(t, st.writer.do(t.Context(), func(db session) error {
		w := st.newWork(counted{db, queries})
		n, err := w.purgeAll(rows[:many/2], w.now, w.now)
		require.Equal(t, many/2, n)
		require.NoError(t, err)
		n, err = w.purgeAll(rows[many/2:], w.now, w.now)
		require.Equal(t, many/2+1, n, "and the event")
		require.NoError(t, err)
		return w.flush()
	}))
	require.Equal(t, 2, queries[selectRemaining])
	require.Zero(t, number(t, st, `SELECT count(*) FROM webhook_event`))
}

// So it is where an event is erased.
func TestUpdate_EraseOneOfMany(t *testing.T) {
	st := openAt(t, filepath.Join(t.TempDir(), "w.db"))
	const many = 100
	a := numbered(1, 'a')
	for i := range many {
		a.To = append(a.To, store.Target{Destination: fmt.Sprint("endpoint ", i)})
	}
	res, err := st.Commit(t.Context(), &store.Batch{Adds: []store.Add{a}})
	require.NoError(t, err)
	var ids []string
	for _, d := range res.Adds[0].Deliveries {
		ids = append(ids, d.ID)
	}
	discard := store.Change{To: store.Discarded}
	_, err = st.Update(t.Context(), "inbox", ids[1:], discard)
	require.NoError(t, err)

	queries := map[string]int{}
	choose := func(c store.Change) (n int) {
		require.NoError(t, st.writer.do(t.Context(), func(db session) error {
			chosen, err := st.newWork(counted{db, queries}).choose("inbox", ids[1:], &c)
			n = len(chosen)
			return err
		}))
		return n
	}
	require.Zero(t, choose(store.Change{Erase: true}), "the first is queued")
	_, err = st.Update(t.Context(), "inbox", ids[:1], discard)
	require.NoError(t, err)
	require.Equal(t, many-1, choose(store.Change{Erase: true}))
	require.LessOrEqual(t, queries[selectOpen], 2*many)
}

// Where many endpoints come to an event that is known, its row, with the body in it,
// is written once.
func TestAdd_ManyMissing(t *testing.T) {
	st := openAt(t, filepath.Join(t.TempDir(), "w.db"))
	addTo(t, st, 1, 2, 'a')
	const many = 100
	a := numbered(1, 'b')
	for i := range many {
		a.To = append(a.To, store.Target{Destination: fmt.Sprint("endpoint ", i)})
	}
	execs := map[string]int{}
	require.NoError(t, st.writer.do(t.Context(), func(db session) error {
		w := st.newWork(counted{db, execs})
		res, err := w.write([]*store.Batch{{Adds: []store.Add{a}}})
		require.NoError(t, err)
		require.Equal(t, many, res[0].Adds[0].Missing)
		return nil
	}))
	require.Equal(t, 1, execs[nameEvent])
	res, err := st.Commit(t.Context(), &store.Batch{Adds: []store.Add{a}})
	require.NoError(t, err)
	require.Zero(t, res.Adds[0].Missing)
	require.Len(t, res.Adds[0].Deliveries, many)
}
