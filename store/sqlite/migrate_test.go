package sqlite

import (
	"context"
	"database/sql"
	"maps"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// steps reads the real schema and those given after it.
func steps(t *testing.T, readers map[int]int, more ...string) []migration {
	t.Helper()
	first, err := schema.ReadFile("schema/0001_queues.sql")
	require.NoError(t, err)
	files := fstest.MapFS{"schema/0001_queues.sql": {Data: first}}
	for i, text := range more {
		files["schema/000"+string(rune('2'+i))+"_more.sql"] = &fstest.MapFile{Data: []byte(text)}
	}
	all := map[int]int{1: 1}
	maps.Copy(all, readers)
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
	v, reader := version(t, c)
	require.Equal(t, [2]int{2, 1}, [2]int{v, reader})
	var colour string
	require.NoError(t, c.QueryRowContext(t.Context(), "SELECT colour FROM webhook_queue").Scan(&colour))
	require.Equal(t, "blue", colour)

	// A release that knows the first version alone may be rolled back to.
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
	require.ErrorContains(t, err, "schema version 2")
	v, _ := version(t, c)
	require.Equal(t, 1, v, "the first step is done, the second is not")
	require.NoError(t, migrate(t.Context(), c, steps(t, nil, "CREATE TABLE half (x)")), "its table must not be there")
}

func TestMigrate_Newer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	c := conn(t, path)
	require.NoError(t, migrate(t.Context(), c, steps(t, map[int]int{3: 3}, "CREATE TABLE two (x)", "CREATE TABLE three (x)")))
	st, err := Open(t.Context(), path, Config{})
	require.ErrorContains(t, err, "schema version 3 needs code that knows version 3, this knows 1")
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
	real, err := migrations(schema, minReaders)
	require.NoError(t, err)
	require.NotZero(t, real[len(real)-1].minReader)
}
