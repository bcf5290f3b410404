package sqlite_test

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// What is purged leaves digests, times and names behind: nothing of the event is
// in any row.
func TestPurge_LeavesNothingOfTheEvent(t *testing.T) {
	path := file(t)
	st := open(t, path)
	a := event("MARKED-id", "work")
	a.Keys = [][32]byte{{1}}
	a.Record.Type, a.Record.Subject = "MARKED-type", "MARKED-subject"
	a.Record.Head, a.Record.Body = []byte(`{"h":{"X":["MARKED-header"]}}`), []byte("MARKED-body")
	add(t, st, a)
	d := claim(t, st)
	require.Len(t, d, 1)
	s := processed(d[0])
	s.Attempt.Err = "MARKED-error"
	_, err := st.Commit(t.Context(), &store.Batch{Settles: []store.Settle{s}})
	require.NoError(t, err)
	for _, what := range []string{"id", "type", "subject", "header", "body", "error"} {
		require.Contains(t, rows(t, path), "MARKED-"+what, "this test looks where it is")
	}

	time.Sleep(2 * time.Microsecond) // the least that is past the retention
	n, err := st.Purge(t.Context(), queue, store.Retention{Processed: time.Microsecond})
	require.NoError(t, err)
	require.Positive(t, n)
	require.NotContains(t, rows(t, path), "MARKED")
	require.True(t, add(t, st, event("MARKED-id", "work"))[0].Duplicate, "its keys are still known")
}

// rows returns all that is in the rows of the tables, as text.
func rows(t *testing.T, path string) string {
	t.Helper()
	db := foreign(t, path)
	var all strings.Builder
	for _, table := range texts(t, db, "SELECT name FROM sqlite_schema WHERE type = 'table'") {
		all.WriteString(strings.Join(texts(t, db, "SELECT * FROM "+table), "\n"))
	}
	return all.String()
}

// texts returns all values of what a query finds.
func texts(t *testing.T, db *sql.DB, query string) (all []string) {
	t.Helper()
	rs, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer rs.Close()
	columns, err := rs.Columns()
	require.NoError(t, err)
	values, into := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rs.Next() {
		require.NoError(t, rs.Scan(into...))
		for _, v := range values {
			all = append(all, string(v))
		}
	}
	require.NoError(t, rs.Err())
	return all
}

// What was received while the clock was ahead keeps nothing else.
func TestPurge_ClockWasAhead(t *testing.T) {
	st := open(t, file(t))
	const years = 50 * 365 * 24 * time.Hour
	st.Advance(years)
	add(t, st, event("ahead", "work"))
	st.Advance(-years)
	add(t, st, event("e", "work"))
	for _, d := range claim(t, st) {
		_, err := st.Commit(t.Context(), &store.Batch{Settles: []store.Settle{processed(d)}})
		require.NoError(t, err)
	}
	st.Advance(48 * time.Hour)
	n, err := st.Purge(t.Context(), queue, store.Retention{Processed: time.Hour})
	require.NoError(t, err)
	require.Positive(t, n)
	require.Empty(t, find(t, st, "e"))
}
