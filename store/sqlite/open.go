package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	driver "modernc.org/sqlite" // registers "sqlite", pure Go
)

// Settings of the connections. The comments say what was measured.
const (
	// busyTimeout is how long SQLite waits for another process, or for a
	// foreign transaction of this one, to end its write.
	busyTimeout = 5 * time.Second
	// pageSize is SQLite's default, in which its log is counted.
	pageSize = 4096
	// cacheKiB of each connection: the upper levels of the key index and the
	// pages that the next commits touch again. With 32 MiB a commit takes longer,
	// since SQLite looks through the whole cache at the end of most of them.
	cacheKiB = 8 << 10
	// readers is how many connections read: one polls, one may be moving the log,
	// and four are for Find, Stats and looking before a Claim or Purge.
	readers = 6
)

// dsn names the file with the settings of the writer or of a reader.
func dsn(path string, reader bool) string {
	pragma := func(name string, v any) string {
		return "&_pragma=" + url.QueryEscape(fmt.Sprintf("%s(%v)", name, v))
	}
	// In a file: URI these three would start the query, the fragment or an escape.
	escaped := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(filepath.ToSlash(path))
	if filepath.VolumeName(path) != "" {
		escaped = "/" + escaped
	}
	s := "file:" + escaped + "?_txlock=immediate" +
		pragma("busy_timeout", busyTimeout.Milliseconds()) +
		pragma("cache_size", -cacheKiB) +
		pragma("temp_store", "memory")
	if reader {
		// It may move the log into the file all the same, and must not do that
		// with less care than the writer.
		return s + pragma("synchronous", "full") + "&_query_only=1"
	}
	return s +
		// On a new file alone, and before it is in WAL mode.
		pragma("auto_vacuum", "incremental") +
		pragma("journal_mode", "wal") +
		pragma("synchronous", "full") +
		// A closure of Transact may rely on it, and cannot switch it on itself.
		pragma("foreign_keys", 1)
}

// checkPath refuses what is no file that several connections could share.
func checkPath(path string) error {
	if path == "" || strings.HasPrefix(path, ":memory:") || strings.HasPrefix(path, "file:") || strings.Contains(path, "\x00") {
		return fmt.Errorf("path %q: want the name of a file", path)
	}
	dir := filepath.Dir(path)
	switch info, err := os.Stat(dir); {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a directory", path)
	}
	return nil
}

// create makes the file if there is none, for its owner alone, since it holds
// payloads; SQLite gives its log the same mode. A file that is there keeps its own.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE, 0o600) //nolint:gosec // the caller names the file
	if err != nil {
		return err
	}
	return f.Close()
}

// pool opens the file with n connections at most, and keeps them.
func pool(path string, reader bool, n int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path, reader))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

// checkSettings reads back what the promise stands on.
func checkSettings(ctx context.Context, conn *sql.Conn) error {
	var mode string
	if err := conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	var sync int
	if err := conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&sync); err != nil {
		return err
	}
	if mode != "wal" || sync != 2 {
		return fmt.Errorf("journal_mode is %q and synchronous is %d: want wal and 2 (full), without which an acknowledged event may be lost", mode, sync)
	}
	return nil
}

// useFdatasync makes SQLite's commits call fdatasync, as SQLite does wherever its
// own build finds that call; the translated source defaults to fsync. It is as
// durable, and half as long. The switch is the driver's, for the whole process.
func useFdatasync() error {
	_, err := driver.Fdatasync(true)
	if errors.Is(err, driver.ErrFdatasyncUnavailable) {
		return nil
	}
	return err
}
