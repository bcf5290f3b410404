package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/surehook/webhook/store"
)

// Transact calls f with the ctx and the transaction to use: the outer ctx, and
// methods of the store that write, would wait for the transaction's own end; given
// f's ctx they return store.ErrInTransaction at once. The transaction is
// committed if f returns nil, and rolled back otherwise.
//
// It runs on the store's one writing connection, between commits that others
// share, and while it runs everybody who adds an event waits: keep it to
// statements, without calls over a network. It has Config.TransactTimeout from the
// moment it has the connection; then f's ctx ends, the transaction is rolled back,
// and others go on, whether or not f has returned. Where ctx ends the same
// happens. PRAGMA foreign_keys is on.
//
// After an error of w's Write other than store.ErrBadData the transaction cannot be
// committed, whatever f returns: half of the Write may be there.
func (s *Store) Transact(ctx context.Context, f func(ctx context.Context, tx *sql.Tx, w store.Tx) error) error {
	if err := store.InTransaction(ctx); err != nil {
		return err
	}
	if err := s.usable(ctx); err != nil {
		return err
	}
	if err := s.writer.lock(ctx); err != nil {
		return fmt.Errorf("webhook: transact: %w", err)
	}
	if s.closed.Load() {
		s.writer.unlock()
		return store.ErrClosed
	}
	t, err := s.begin()
	if err != nil {
		s.writer.unlock()
		return fmt.Errorf("webhook: transact: %w", err)
	}
	ctx, cancel := context.WithTimeout(store.InTx(ctx), s.c.TransactTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = t.end(false) })
	defer func() {
		// Of a panic in f, or runtime.Goexit; otherwise it has ended.
		stop()
		_ = t.end(false)
	}()

	if err := f(ctx, t.tx, t); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("webhook: transact: %w", err)
	}
	stop()
	if err := t.end(true); err != nil {
		return fmt.Errorf("webhook: transact: %w", err)
	}
	s.indexBehind(t.keys())
	return nil
}

// Complete is [Store.Transact] with store.CompleteIn first: what a handler uses to
// do its work and complete its delivery in one transaction, exactly once. If f
// returns an error, or the lease is lost, nothing of it has happened.
func (s *Store) Complete(ctx context.Context, f func(ctx context.Context, tx *sql.Tx, w store.Tx) error) error {
	return s.Transact(ctx, func(ctx context.Context, tx *sql.Tx, w store.Tx) error {
		if err := store.CompleteIn(ctx, w); err != nil {
			return err
		}
		return f(ctx, tx, w)
	})
}

// Tx writes to a transaction that was begun elsewhere on the same file, on a
// connection of the host's own; what it writes is committed with it.
//
// Prefer [Store.Transact]. SQLite makes a second connection wait for the writer,
// and the writer for it, without a queue: with eight handlers whose transactions
// took a millisecond on a pool of their own, 132 events a second were added where
// 2,800 were through the queue. The transaction must be begun with the write lock
// (_txlock=immediate in the data source name): one that reads first and then writes
// fails as soon as somebody else wrote in between. The connection needs a
// busy_timeout, WAL mode is the file's, and synchronous must be set to full there
// too: the promise is the connection's that commits. After an error of Write other than
// store.ErrBadData the transaction has ended, and Commit says so.
func (s *Store) Tx(tx *sql.Tx) store.Tx {
	return foreignTx{s, tx}
}

type foreignTx struct {
	s  *Store
	tx *sql.Tx
}

// Of is store.Owned's.
func (t foreignTx) Of(st store.Store) bool { return t.s.shares(st) }

// Of is store.Owned's.
func (t *transaction) Of(st store.Store) bool { return t.s.shares(st) }

// shares reports whether st may be a store on the same file.
func (s *Store) shares(st store.Store) bool {
	other, ok := st.(*Store)
	return !ok || other.file == s.file
}

func (t foreignTx) Write(ctx context.Context, b *store.Batch) (*store.Results, error) {
	if err := check(b); err != nil {
		return nil, fmt.Errorf("webhook: write: %w", err)
	}
	if err := t.s.usable(ctx); err != nil {
		return nil, err
	}
	db := plain{context.WithoutCancel(ctx), t.tx} // not to be cut off half way
	res, _, err := t.s.writeIn(db, b)
	if halfDone(err) {
		_, _ = db.exec(rollback) // as SQLite does by itself after most errors
	}
	return res, err
}

// halfDone reports whether err may have left half of a Write behind, which must not be
// committed, whatever the caller makes of the error: the next event would get an id
// that is taken, and all after it. A savepoint around each Write would do, but there
// is none beside rows that a statement of the caller's still returns.
func halfDone(err error) bool {
	return err != nil && !errors.Is(err, store.ErrBadData)
}

// writeIn writes b inside a caller's transaction. Its statements fail for no
// reasons of data, and what others wait for is not touched until the commit.
func (s *Store) writeIn(db session, b *store.Batch) (*store.Results, *work, error) {
	if err := insideTransaction(db); err != nil {
		return nil, nil, fmt.Errorf("webhook: write: %w", err)
	}
	w := s.newWork(db)
	res, err := w.write([]*store.Batch{b})
	if err != nil {
		return nil, nil, fmt.Errorf("webhook: write: %w", err)
	}
	return res[0], w, nil
}

// insideTransaction makes sure that there is one. SQLite ends a transaction by
// itself after some errors, such as a full disk, and a caller who goes on would
// commit each further statement alone. A BEGIN is refused inside a transaction and
// succeeds outside: there is no other way to ask.
func insideTransaction(db session) error {
	if _, err := db.exec("BEGIN"); err != nil {
		return nil //nolint:nilerr // the refusal is the answer
	}
	_, err := db.exec("ROLLBACK")
	return errors.Join(errors.New("the transaction has ended: an earlier error rolled it back"), err)
}

// transaction is one of Transact's, and the store.Tx of its closure.
type transaction struct {
	s  *Store
	tx *sql.Tx

	mu    sync.Mutex // held while writing and ending, so that the end waits for a write
	ended bool       // and the writer's turn given back
	works []*work
	half  error // of a Write that may be half done: it cannot be committed
}

// begin begins on the writer's connection, by whoever has the turn. The
// transaction's ctx never ends: database/sql would roll back at a moment of its
// own choice, and a Write that is under way would go on outside of it.
func (s *Store) begin() (*transaction, error) {
	ctx := context.Background()
	if err := s.writer.connect(ctx); err != nil {
		return nil, err
	}
	s.writer.known = nil                       // the closure may write whatever it likes
	tx, err := s.writer.conn.BeginTx(ctx, nil) // immediate, by the connection's setting
	if err != nil {
		if broken(err) {
			s.writer.drop()
		}
		return nil, err
	}
	return &transaction{s: s, tx: tx}, nil
}

// Write writes b in the transaction.
func (t *transaction) Write(ctx context.Context, b *store.Batch) (*store.Results, error) {
	if err := check(b); err != nil {
		return nil, fmt.Errorf("webhook: write: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return nil, fmt.Errorf("webhook: write: %w", sql.ErrTxDone)
	}
	var res *store.Results
	err := t.s.writer.raw(ctx, func(db session) error {
		r, w, err := t.s.writeIn(db, b)
		res = r
		if err == nil {
			t.works = append(t.works, w)
		}
		return err
	})
	if halfDone(err) {
		t.half = err
	}
	return res, err
}

// keys returns how many are new by it, which has ended.
func (t *transaction) keys() (n int) {
	for _, w := range t.works {
		n += len(w.added)
	}
	return n
}

// end commits or rolls back, and lets the next have the connection. What comes
// later than the first call does nothing; a commit that came later has failed.
func (t *transaction) end(commit bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		if commit {
			return context.DeadlineExceeded
		}
		return nil
	}
	t.ended = true
	defer t.s.writer.unlock()
	if !commit || t.half != nil {
		return errors.Join(t.half, t.tx.Rollback())
	}
	if err := t.tx.Commit(); err != nil {
		if broken(err) {
			t.s.writer.drop()
		}
		return err
	}
	_ = t.s.writer.raw(context.Background(), func(db session) error {
		t.s.writer.log.committed(db)
		return nil
	})
	for _, w := range t.works {
		w.committed()
	}
	return nil
}
