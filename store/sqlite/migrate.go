package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

//go:embed schema/*.sql
var schema embed.FS

// migration is one step of the schema, a file schema/NNNN_name.sql.
type migration struct {
	version int

	// minReader is the oldest version of this code's schema that can still
	// work with a file after this step: a step that only adds what older code
	// does not look at leaves it alone, so that a release can be rolled back.
	minReader int

	sql string
}

// minReaders has an entry for each step that older code cannot work with; it
// names the step's own version. Each other step is as its predecessor.
var minReaders = map[int]int{1: 1, 2: 2}

// migrations reads the steps in order.
func migrations(files fs.FS, minReaders map[int]int) ([]migration, error) {
	names, err := fs.Glob(files, "schema/*.sql")
	if err != nil {
		return nil, err
	}
	var steps []migration
	reader := 0
	for i, name := range names { // Glob sorts
		number, _, _ := strings.Cut(path.Base(name), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("schema file %s: want version %d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		if r, ok := minReaders[version]; ok {
			reader = r
		}
		steps = append(steps, migration{version: version, minReader: reader, sql: string(text)})
	}
	return steps, nil
}

const (
	createMigrations = `
CREATE TABLE IF NOT EXISTS webhook_schema (
    version    INTEGER PRIMARY KEY,
    min_reader INTEGER NOT NULL, -- code that knows no later version than this must not touch the file
    applied    INTEGER NOT NULL
)`
	haveMigrations  = `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'webhook_schema'`
	lastMigration   = `SELECT coalesce(max(version), 0), coalesce(max(min_reader), 0) FROM webhook_schema`
	recordMigration = `INSERT INTO webhook_schema (version, min_reader, applied) VALUES (?, ?, ?)`
)

// migrate brings the file up to steps. Each step is a transaction that also
// records it: what was cut off in the middle never happened, and is done by the
// next Open. Two processes that migrate at once take turns, and the second finds
// the work done, since each looks again inside its transaction.
func migrate(ctx context.Context, conn *sql.Conn, steps []migration) error {
	known := steps[len(steps)-1].version
	version, reader, err := schemaVersion(ctx, conn)
	if err != nil {
		return err
	}
	for {
		if reader > known {
			return fmt.Errorf("schema version %d needs code that knows version %d, this knows %d: update the program", version, reader, known)
		}
		if version >= known {
			return nil // a newer one that names us as able to work with it, or ours
		}
		if version, reader, err = migrateOne(ctx, conn, steps); err != nil {
			return err
		}
	}
}

// migrateOne takes the next step, if it is still to be taken.
func migrateOne(ctx context.Context, conn *sql.Conn, steps []migration) (version, reader int, err error) {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	if _, err := tx.ExecContext(ctx, createMigrations); err != nil {
		return 0, 0, err
	}
	if err := tx.QueryRowContext(ctx, lastMigration).Scan(&version, &reader); err != nil {
		return 0, 0, err
	}
	if version < len(steps) {
		step := steps[version]
		if _, err := tx.ExecContext(ctx, step.sql); err != nil {
			return 0, 0, fmt.Errorf("schema version %d: %w", step.version, err)
		}
		if _, err := tx.ExecContext(ctx, recordMigration, step.version, step.minReader, time.Now().UnixMicro()); err != nil {
			return 0, 0, fmt.Errorf("schema version %d: %w", step.version, err)
		}
		version, reader = step.version, max(reader, step.minReader)
	}
	return version, reader, tx.Commit()
}

// schemaVersion reads how far the file is; 0, 0 is a file that is new to us.
func schemaVersion(ctx context.Context, conn *sql.Conn) (version, reader int, err error) {
	var have int
	if err := conn.QueryRowContext(ctx, haveMigrations).Scan(&have); err != nil || have == 0 {
		return 0, 0, err
	}
	err = conn.QueryRowContext(ctx, lastMigration).Scan(&version, &reader)
	return version, reader, err
}
