package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"time"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/surehook/webhook/store"
)

// writer is the one connection that writes, and the queue for it.
type writer struct {
	path     string
	walLimit int64

	// turn holds one token, which whoever writes has put in. A channel serves
	// those who wait in order of arrival, a sync.Mutex does not; and time in a
	// synctest bubble goes on while they wait.
	turn chan struct{}

	log checkpointer

	// The fields below belong to whoever has the turn.
	db    *sql.DB // of one connection
	conn  *sql.Conn
	stmts *prepared // on conn
	known *rows     // of the last transaction, if it kept them
	kept  *rows     // by the transaction under way
	ended bool      // by shut
}

// openWriter connects, checks the settings and migrates.
func openWriter(ctx context.Context, path string, walLimit int64) (*writer, error) {
	w := &writer{path: path, walLimit: walLimit, turn: make(chan struct{}, 1)}
	steps, err := migrations(schema, minReaders)
	if err != nil {
		return nil, err
	}
	if err := w.connect(ctx); err != nil {
		return nil, errors.Join(err, w.shut())
	}
	if err := migrate(ctx, w.conn, steps); err != nil {
		return nil, errors.Join(err, w.shut())
	}
	return w, nil
}

// lock waits for the turn.
func (w *writer) lock(ctx context.Context) error {
	select {
	case w.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unlock hands the turn to the next.
func (w *writer) unlock() { <-w.turn }

// connect makes a connection, unless there is one.
func (w *writer) connect(ctx context.Context) error {
	switch {
	case w.ended:
		return store.ErrClosed
	case w.conn != nil:
		return nil
	}
	var err error
	if w.db == nil {
		if w.db, err = pool(w.path, false, 1); err != nil {
			return err
		}
	}
	conn, err := patiently(ctx, func() (*sql.Conn, error) { return w.db.Conn(ctx) })
	if err != nil {
		return err
	}
	if err := errors.Join(checkSettings(ctx, conn), limitLog(ctx, conn, w.walLimit)); err != nil {
		return errors.Join(err, conn.Close())
	}
	w.conn = conn
	return nil
}

// patiently calls open again while the file is locked, for as long as SQLite itself
// would wait. It does not wait when it puts a new file into WAL mode and another
// process does the same, lest they wait for one another.
func patiently(ctx context.Context, open func() (*sql.Conn, error)) (*sql.Conn, error) {
	for end := time.Now().Add(busyTimeout); ; {
		conn, err := open()
		if code(err) != lib.SQLITE_BUSY || time.Now().After(end) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(time.Millisecond + rand.N(20*time.Millisecond)):
		}
	}
}

// drop closes the connection, so that the next use makes a fresh one: after an
// input or output error nothing that it remembers of the file is to be trusted.
func (w *writer) drop() {
	w.known = nil
	if w.stmts != nil {
		w.stmts.close()
		w.stmts = nil
	}
	if w.conn == nil {
		return
	}
	// The only way to keep it out of the pool; it leaves nothing to close.
	_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
	w.conn = nil
}

// shut closes everything; the writer is not used again.
func (w *writer) shut() error {
	w.ended = true
	w.drop()
	if w.db == nil {
		return nil
	}
	err := w.db.Close()
	w.db = nil
	return err
}

// raw calls f with the session of the connection.
func (w *writer) raw(ctx context.Context, f func(db session) error) error {
	if err := w.connect(ctx); err != nil {
		return err
	}
	return w.conn.Raw(func(c any) error {
		if w.stmts == nil {
			w.stmts = newPrepared(c)
		}
		return f(w.stmts)
	})
}

// Transactions of the writer take the write lock at once: a reader that became a
// writer half way could only fail.
const (
	begin    = `BEGIN IMMEDIATE`
	commit   = `COMMIT`
	rollback = `ROLLBACK`
)

// write runs f in a transaction of the writer's, who has the turn. An error of f
// or of the commit leaves nothing behind.
func (w *writer) write(ctx context.Context, f func(db session) error) error {
	w.kept = nil
	err := w.raw(ctx, func(db session) error {
		if _, err := db.exec(begin); err != nil {
			return err
		}
		err := f(db)
		if err == nil {
			if _, err = db.exec(commit); err == nil {
				w.log.committed(db)
				return nil
			}
		}
		// It fails where SQLite rolled back by itself, as after a full disk.
		_, _ = db.exec(rollback)
		return err
	})
	w.known = nil
	switch {
	case err == nil:
		w.known = w.kept
	case broken(err):
		w.drop()
	}
	return err
}

// remembered returns the rows that the last transaction kept, if no other connection
// committed since, and has them kept if this one is committed. It is for transactions that
// change those tables through them alone; whoever does not ask makes them forgotten.
func (w *writer) remembered(db session) (*rows, error) {
	var version int64
	if _, err := one(db, dataVersion, nil, &version); err != nil {
		return nil, err
	}
	r := w.known
	if r == nil || r.version != version || r.many() {
		r = newRows()
		r.version = version
	} else {
		r.again()
	}
	w.kept = r
	return r, nil
}

// do waits for the turn and writes.
func (w *writer) do(ctx context.Context, f func(db session) error) error {
	if err := w.lock(ctx); err != nil {
		return err
	}
	defer w.unlock()
	return w.write(ctx, f)
}

// broken reports whether err casts doubt on the connection and not on the
// statement.
func broken(err error) bool {
	if errors.Is(err, sql.ErrConnDone) {
		return true
	}
	switch code(err) {
	case lib.SQLITE_IOERR, lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB, lib.SQLITE_CANTOPEN, lib.SQLITE_NOMEM, lib.SQLITE_INTERNAL:
		return true
	}
	return false
}

// code returns the primary result code of err, 0 if it is not SQLite's.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}
