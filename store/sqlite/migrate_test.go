package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// real is the version of the real schema, and realReader what it needs.
func real(t *testing.T) (version, reader int) {
	t.Helper()
	list, err := migrations(schema, minReaders)
	require.NoError(t, err)
	last := list[len(list)-1]
	return last.version, last.minReader
}

// steps reads the real schema and those given after it; the keys of readers are
// counted from the last of the real ones.
func steps(t *testing.T, readers map[int]int, more ...string) []migration {
	t.Helper()
	files := fstest.MapFS{}
	names, err := fs.Glob(schema, "schema/*.sql")
	require.NoError(t, err)
	for _, name := range names {
		data, err := schema.ReadFile(name)
		require.NoError(t, err)
		files[name] = &fstest.MapFile{Data: data}
	}
	all := maps.Clone(minReaders)
	for i, text := range more {
		v := len(names) + i + 1
		files[fmt.Sprintf("schema/%04d_more.sql", v)] = &fstest.MapFile{Data: []byte(text)}
		if r, ok := readers[i+1]; ok {
			all[v] = len(names) + r
		}
	}
	list, err := migrations(files, all)
	require.NoError(t, err)
	return list
}

// conn is a connection as the writer has it.
func conn(t *testing.T, path string) *sql.Conn {
	t.Helper()
	db, err := pool(path, false, 1)
	require.NoError(t, err)
	c, err := db.Conn(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(); _ = db.Close() })
	return c
}

func version(t *testing.T, c *sql.Conn) (v, reader int) {
	t.Helper()
	v, reader, err := schemaVersion(t.Context(), c)
	require.NoError(t, err)
	return v, reader
}

func TestMigrate_Upgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	c := conn(t, path)
	require.NoError(t, migrate(t.Context(), c, steps(t, nil)))
	_, err := c.ExecContext(t.Context(), "INSERT INTO webhook_queue (name) VALUES (x'61')")
	require.NoError(t, err)

	two := steps(t, nil, "ALTER TABLE webhook_queue ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'")
	require.NoError(t, migrate(t.Context(), c, two))
	require.NoError(t, migrate(t.Context(), c, two), "again")
	last, needs := real(t)
	v, reader := version(t, c)
	require.Equal(t, [2]int{last + 1, needs}, [2]int{v, reader})
	var colour string
	require.NoError(t, c.QueryRowContext(t.Context(), "SELECT colour FROM webhook_queue").Scan(&colour))
	require.Equal(t, "blue", colour)

	// A release that knows the real ones alone may be rolled back to.
	st, err := Open(t.Context(), path, Config{})
	require.NoError(t, err)
	require.NoError(t, st.Close())
}

// A step that fails in the middle, or is cut off there, leaves nothing of itself.
func TestMigrate_HalfApplied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	c := conn(t, path)
	broken := steps(t, nil, "CREATE TABLE half (x); CREATE TABLE half (x);")
	err := migrate(t.Context(), c, broken)
	last, _ := real(t)
	require.ErrorContains(t, err, fmt.Sprintf("schema version %d", last+1))
	v, _ := version(t, c)
	require.Equal(t, last, v, "the steps before it are done, this one is not")
	require.NoError(t, migrate(t.Context(), c, steps(t, nil, "CREATE TABLE half (x)")), "its table must not be there")
}

func TestMigrate_Newer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	c := conn(t, path)
	require.NoError(t, migrate(t.Context(), c, steps(t, map[int]int{2: 2}, "CREATE TABLE two (x)", "CREATE TABLE three (x)")))
	st, err := Open(t.Context(), path, Config{})
	last, _ := real(t)
	require.ErrorContains(t, err, fmt.Sprintf("schema version %d needs code that knows version %[1]d, this knows %d", last+2, last))
	require.Nil(t, st)
}

// Processes that start at once find one another's work.
func TestMigrate_AtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			st, err := Open(context.Background(), path, Config{})
			if errs[i] = err; err == nil {
				errs[i] = st.Close()
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

func TestMigrations_Numbered(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"gap":      {"schema/0001_a.sql": {}, "schema/0003_b.sql": {}},
		"no first": {"schema/0002_a.sql": {}},
		"no digit": {"schema/a.sql": {}},
	} {
		_, err := migrations(files, nil)
		require.ErrorContains(t, err, "want version", name)
	}
	_, reader := real(t)
	require.NotZero(t, reader)
}
