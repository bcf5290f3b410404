package sqlite_test

import (
	"context"
	"errors"
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
	var tables []string
	names, err := db.QueryContext(context.Background(), "SELECT name FROM sqlite_schema WHERE type = 'table'")
	require.NoError(t, err)
	for names.Next() {
		var name string
		require.NoError(t, names.Scan(&name))
		tables = append(tables, name)
	}
	require.NoError(t, errors.Join(names.Err(), names.Close()))

	var all strings.Builder
	for _, table := range tables {
		rs, err := db.QueryContext(context.Background(), "SELECT * FROM "+table) //nolint:gosec // a name of the schema
		require.NoError(t, err)
		columns, err := rs.Columns()
		require.NoError(t, err)
		values, into := make([][]byte, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		for rs.Next() {
			require.NoError(t, rs.Scan(into...))
			for _, v := range values {
				all.Write(v)
				all.WriteByte('\n')
			}
		}
		require.NoError(t, errors.Join(rs.Err(), rs.Close()))
	}
	return all.String()
}
