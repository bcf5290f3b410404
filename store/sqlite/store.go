// Package sqlite keeps the queues of package store in an SQLite file, through a
// driver that is pure Go: the embedded default, durable without a server.
//
//	st, err := sqlite.Open(ctx, "webhooks.db", sqlite.Config{})
//	if err != nil {
//		return err
//	}
//	defer st.Close()
//
// What is committed survives a kill of the process, a crash of the system and a
// loss of power: the file is in WAL mode with synchronous=FULL, and Open refuses
// one that is not.
//
// # One writer
//
// SQLite has one writer at a time. Everybody in the process queues for it in
// order of arrival, and concurrent calls of [Store.Commit] share one commit, so
// that durability costs each of them a fraction of a disk's answer; those of
// [Store.Reserve], [Store.Confirm] and [Store.Release] share another. Use
// [Store.Transact] for transactions of your own on the same file; a second pool
// of connections that writes would compete with the queue instead of joining it.
//
// # Processes
//
// Several processes may open the file, add to it and look at it. One of them runs
// the engine: the first whose [Store.Claim] succeeds, until it closes the store or
// ends. Others get store.ErrBusy. What another process adds is noticed within 100
// milliseconds. The file must be on a local disk: WAL mode does not work over a
// network, and neither does the lock beside the file, its name with ".engine".
//
// # The file
//
// The tables are called webhook_…, and the host's own may stand beside them. The
// view webhook_deliveries is for people at a prompt.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook/store"
)

// Config is how a file is used. The zero value is the default.
type Config struct {
	// TransactTimeout bounds a closure of Transact or Complete, since everybody
	// waits meanwhile; default 5 s.
	TransactTimeout time.Duration

	// WALLimit is about how large, in bytes, the log beside the file may grow
	// before the writer itself moves it into the file; default 64 MiB, at least
	// 1 MiB. A log in which some reader stays can grow beyond it.
	WALLimit int64
}

// Store is a store.Store on an SQLite file, and a store.Keys. Its methods may be
// called concurrently.
type Store struct {
	path string
	c    Config
	file string // prefix of delivery ids

	group  *store.Group[*store.Batch, *store.Results]
	keys   *keysGroup
	writer *writer
	read   *sql.DB // connections that cannot write
	engine engineLock
	leases leaseCache
	fresh  freshKeys
	wake   wakes
	found  atomic.Bool // by the last claim: the next need not look first
	purged purgeCursor

	offset atomic.Int64 // of the clock, for tests
	closed atomic.Bool
	close  sync.Once
	ended  error // of the first Close
}

// Open opens the file at path, creates it (mode 0600) if there is none, and brings
// its schema up to date. The error says what is wrong with the path, the file's schema or
// its settings. ctx bounds Open alone.
//
// Open switches the driver's commits from fsync to fdatasync, for the whole
// process: as durable, and half as long.
func Open(ctx context.Context, path string, c Config) (*Store, error) {
	st, err := open(ctx, path, c)
	if err != nil {
		return nil, fmt.Errorf("webhook: open %s: %w", path, err)
	}
	return st, nil
}

func open(ctx context.Context, path string, c Config) (*Store, error) {
	if c.TransactTimeout <= 0 {
		c.TransactTimeout = 5 * time.Second
	}
	if c.WALLimit <= 0 {
		c.WALLimit = 64 << 20
	}
	c.WALLimit = max(c.WALLimit, 1<<20)
	if err := checkPath(path); err != nil {
		return nil, err
	}
	if err := create(path); err != nil {
		return nil, err
	}
	if err := useFdatasync(); err != nil {
		return nil, err
	}
	// SQLite follows links too: by all its names the file has one log, and one engine.
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, c: c}
	s.fresh.max = freshMax
	s.engine.path = real + ".engine"
	s.wake.store = s
	s.group = store.NewGroup(s.write, store.GroupConfig[*store.Batch]{Items: (*store.Batch).Len, Bytes: size, Patience: patience})
	s.keys = newKeysGroup(s.writeKeys)

	if s.writer, err = openWriter(ctx, path, c.WALLimit); err != nil {
		return nil, err
	}
	if s.read, err = pool(path, true, readers); err != nil {
		return nil, errors.Join(err, s.writer.shut())
	}
	s.writer.log.begin(s.writer, s.read, c.WALLimit)
	if s.file, err = fileID(ctx, s.read); err != nil {
		return nil, errors.Join(err, s.read.Close(), s.writer.shut())
	}
	return s, nil
}

const selectFileID = `SELECT id FROM webhook_file`

func fileID(ctx context.Context, db *sql.DB) (id string, err error) {
	err = db.QueryRowContext(ctx, selectFileID).Scan(&id)
	return id, err
}

// Info describes the backend.
func (s *Store) Info() store.Info {
	return store.Info{
		Name:    "sqlite",
		Promise: "a kill of the process, a crash of the system and a loss of power (WAL, synchronous=FULL)",
		Durable: true,
	}
}

// Close waits for what is under way, a closure of Transact included, and releases
// everything. A second Close does nothing.
func (s *Store) Close() error {
	s.close.Do(func() {
		s.closed.Store(true)
		s.group.Close()
		s.keys.Close()
		s.wake.stop()
		s.writer.log.stop()
		err := s.writer.lock(context.Background()) // a closure of Transact may need readers
		// Readers first: the last connection moves the log into the file.
		err = errors.Join(err, s.read.Close(), s.writer.shut())
		s.writer.unlock()
		if err = errors.Join(err, s.engine.release()); err != nil {
			s.ended = fmt.Errorf("webhook: close %s: %w", s.path, err)
		}
	})
	return s.ended
}

// usable is the first thing that a method asks.
func (s *Store) usable(ctx context.Context) error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	return ctx.Err()
}

// failed says what failed; after Close that is all there is to say.
func (s *Store) failed(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case s.closed.Load():
		return store.ErrClosed
	}
	return fmt.Errorf("webhook: %s: %w", what, err)
}

// now is the store's clock, in microseconds.
func (s *Store) now() int64 {
	return time.Now().UnixMicro() + s.offset.Load()
}
