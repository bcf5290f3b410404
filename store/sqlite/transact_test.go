package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

var errNo = errors.New("no")

// accounts gives the file a table of the host's.
func accounts(t testing.TB, st *sqlite.Store) {
	t.Helper()
	_, err := st.OnWriter("CREATE TABLE account (id TEXT PRIMARY KEY, credit INTEGER NOT NULL)")
	require.NoError(t, err)
}

func credit(ctx context.Context, tx *sql.Tx, id string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO account VALUES (?, 1) ON CONFLICT DO UPDATE SET credit = credit + 1", id)
	return err
}

func credits(t testing.TB, st *sqlite.Store) int64 {
	t.Helper()
	n, err := st.OnWriter("SELECT coalesce(sum(credit), 0) FROM account")
	require.NoError(t, err)
	return n.(int64)
}

// The effect, the completion and what is sent on are one commit.
func TestComplete(t *testing.T) {
	st := open(t, file(t))
	accounts(t, st)
	add(t, st, event("e", "work"))
	d := claim(t, st)[0]
	ctx := store.WithLeased(t.Context(), &d)
	complete := func(fail error) error {
		return st.Complete(ctx, func(ctx context.Context, tx *sql.Tx, w store.Tx) error {
			if err := credit(ctx, tx, "acme"); err != nil {
				return err
			}
			if _, err := w.Write(ctx, &store.Batch{Adds: []store.Add{event("sent", "out")}}); err != nil {
				return err
			}
			return fail
		})
	}
	require.ErrorIs(t, complete(errNo), errNo)
	require.Zero(t, credits(t, st))
	require.Equal(t, store.Processing, find(t, st, "e")[0].State)
	require.Empty(t, find(t, st, "sent"))

	require.NoError(t, complete(nil))
	require.EqualValues(t, 1, credits(t, st))
	require.Equal(t, store.Processed, find(t, st, "e")[0].State)
	require.Len(t, find(t, st, "sent"), 1)

	require.ErrorIs(t, complete(nil), store.ErrLeaseLost)
	require.EqualValues(t, 1, credits(t, st), "one effect")
	requireCounters(t, st)
}

// A panic rolls back, and lets others go on.
func TestTransact_Panic(t *testing.T) {
	st := open(t, file(t))
	accounts(t, st)
	require.PanicsWithValue(t, "at the disco", func() {
		_ = st.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
			require.NoError(t, credit(ctx, tx, "acme"))
			panic("at the disco")
		})
	})
	require.Zero(t, credits(t, st))
	add(t, st, event("e", "work"))
}

// Whatever would wait for the transaction's own end says so at once.
func TestTransact_Inside(t *testing.T) {
	st := open(t, file(t))
	err := st.Transact(t.Context(), func(ctx context.Context, _ *sql.Tx, _ store.Tx) error {
		b := &store.Batch{Adds: []store.Add{event("e", "work")}}
		for name, f := range map[string]func() error{
			"Commit":   func() error { _, err := st.Commit(ctx, b); return err },
			"Claim":    func() error { _, err := st.Claim(ctx, queue, store.Claim{Other: 1}); return err },
			"Update":   func() error { _, err := st.Update(ctx, queue, nil, store.Change{}); return err },
			"Purge":    func() error { _, err := st.Purge(ctx, queue, store.Retention{}); return err },
			"Transact": func() error { return st.Transact(ctx, nil) },
			"Complete": func() error { return st.Complete(ctx, nil) },
		} {
			require.ErrorIs(t, f(), store.ErrInTransaction, name)
		}
		// Readers see what was before.
		_, _, err := st.Stats(ctx, queue, "", 0)
		return err
	})
	require.NoError(t, err)
}

// A closure that takes too long is rolled back, and others go on, also where it
// never looks at its ctx.
func TestTransact_Deadline(t *testing.T) {
	for name, wait := range map[string]func(ctx context.Context, other <-chan struct{}){
		"obeys":   func(ctx context.Context, _ <-chan struct{}) { <-ctx.Done() },
		"ignores": func(_ context.Context, other <-chan struct{}) { <-other },
	} {
		t.Run(name, func(t *testing.T) {
			st := openWith(t, file(t), sqlite.Config{TransactTimeout: 50 * time.Millisecond})
			accounts(t, st)
			other := make(chan struct{})
			begun := make(chan struct{})
			go func() {
				<-begun
				_, err := st.Commit(context.Background(), &store.Batch{Adds: []store.Add{event("e", "work")}})
				if err == nil {
					close(other) // the closure that ignores its ctx is still running
				}
			}()
			err := st.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx, w store.Tx) error {
				require.NoError(t, credit(ctx, tx, "acme"))
				close(begun)
				wait(ctx, other)
				// Late statements do nothing, of another ctx too; once others have
				// gone on they are told so.
				_, err1 := tx.Exec("INSERT INTO account VALUES ('late', 1)")
				_, err2 := w.Write(context.Background(), &store.Batch{Adds: []store.Add{event("late", "work")}})
				if name == "ignores" {
					require.ErrorIs(t, err1, sql.ErrTxDone)
					require.ErrorIs(t, err2, sql.ErrTxDone)
				}
				return nil
			})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Zero(t, credits(t, st))
			<-other
			require.Empty(t, find(t, st, "late"))
		})
	}
}

// The caller's ctx ends it too, while it waits for its turn and while it runs.
func TestTransact_Cancelled(t *testing.T) {
	st := open(t, file(t))
	unlock := st.LockWriter()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := st.Transact(ctx, func(context.Context, *sql.Tx, store.Tx) error { t.Error("called"); return nil })
	require.ErrorIs(t, err, context.DeadlineExceeded)
	unlock()

	ctx, cancel = context.WithCancel(t.Context())
	err = st.Transact(ctx, func(context.Context, *sql.Tx, store.Tx) error { cancel(); return nil })
	require.ErrorIs(t, err, context.Canceled)
}

// SQLite ends a transaction by itself when the disk is full. What the closure writes
// after that would be committed piece by piece.
func TestTransact_EndedBySQLite(t *testing.T) {
	st := open(t, file(t))
	err := st.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx, w store.Tx) error {
		_, err := tx.ExecContext(ctx, "ROLLBACK") // as SQLite does
		require.NoError(t, err)
		_, err = w.Write(ctx, &store.Batch{Adds: []store.Add{event("piece", "work")}})
		require.ErrorContains(t, err, "the transaction has ended")
		return nil
	})
	require.Error(t, err, "there is nothing to commit")
	require.Empty(t, find(t, st, "piece"))
	add(t, st, event("e", "work"))
}

// Commits and closures take turns: neither starves the other.
func TestTransact_Fair(t *testing.T) {
	st := open(t, file(t))
	accounts(t, st)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() { // a flood of commits
			for j := 0; ctx.Err() == nil; j++ {
				_, _ = st.Commit(ctx, &store.Batch{Adds: []store.Add{event(fmt.Sprint(i, " ", j), "work")}})
			}
		})
	}
	const closures = 50
	for range closures {
		require.NoError(t, st.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx, _ store.Tx) error { return credit(ctx, tx, "acme") }))
	}
	cancel()
	wg.Wait()
	require.EqualValues(t, closures, credits(t, st))

	ctx, cancel = context.WithCancel(t.Context())
	for range 8 {
		wg.Go(func() { // a flood of closures
			for ctx.Err() == nil {
				_ = st.Transact(ctx, func(ctx context.Context, tx *sql.Tx, _ store.Tx) error { return credit(ctx, tx, "acme") })
			}
		})
	}
	for i := range 50 {
		add(t, st, event(fmt.Sprint("beside ", i), "work"))
		_, err := st.Update(t.Context(), queue, nil, store.Change{To: store.Dead})
		require.NoError(t, err)
	}
	cancel()
	wg.Wait()
	requireCounters(t, st)
}

// The queue for the writer is one of order: whoever came first is first. In a bubble
// it is known who has come.
func TestTransact_InOrderOfArrival(t *testing.T) {
	path := file(t)
	synctest.Test(t, func(t *testing.T) {
		st := open(t, path)
		unlock := st.LockWriter()
		const n = 20
		got := make(chan int, n)
		for i := range n {
			go func() {
				_ = st.Transact(context.Background(), func(context.Context, *sql.Tx, store.Tx) error { got <- i; return nil })
			}()
			synctest.Wait()
		}
		unlock()
		for i := range n {
			require.Equal(t, i, <-got)
		}
	})
}

// foreign is a pool of the host's own on the file.
func foreign(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=synchronous(full)")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func TestTx_Foreign(t *testing.T) {
	path := file(t)
	st := open(t, path)
	accounts(t, st)
	add(t, st, event("e", "work"))
	d := claim(t, st)[0]
	db := foreign(t, path)
	do := func(end func(*sql.Tx) error) {
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, credit(t.Context(), tx, "acme"))
		b := &store.Batch{Adds: []store.Add{event("sent", "out")}, Settles: []store.Settle{processed(d)}}
		b.Adds[0].To[0].Lease = time.Hour
		res, err := st.Tx(tx).Write(t.Context(), b)
		require.NoError(t, err)
		require.Equal(t, store.Done, res.Settles[0])
		require.Zero(t, res.Adds[0].Deliveries[0].Token, "no leases in a transaction")
		require.NoError(t, end(tx))
	}
	do((*sql.Tx).Rollback)
	require.Empty(t, find(t, st, "sent"))
	require.Zero(t, credits(t, st))
	do((*sql.Tx).Commit)
	require.Len(t, find(t, st, "sent"), 1)
	require.Equal(t, store.Processed, find(t, st, "e")[0].State)
	require.EqualValues(t, 1, credits(t, st))
	requireCounters(t, st)

	// Bad data is refused before it can break the transaction.
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = st.Tx(tx).Write(t.Context(), &store.Batch{Adds: []store.Add{{}}})
	require.ErrorIs(t, err, store.ErrBadData)
	require.NoError(t, credit(t.Context(), tx, "acme"))
	require.NoError(t, tx.Commit())
	require.EqualValues(t, 2, credits(t, st))
}

// A commit waits for a foreign transaction, and is done after it.
func TestTx_ForeignHolds(t *testing.T) {
	path := file(t)
	st := open(t, path)
	tx, err := foreign(t, path).BeginTx(t.Context(), nil)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := st.Commit(context.Background(), &store.Batch{Adds: []store.Add{event("e", "work")}})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("committed beside a transaction that has the write lock: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	require.NoError(t, tx.Commit())
	require.NoError(t, <-done)
}

// A Write that failed half way is not committed, whatever the caller makes of its
// error; and others go on.
func TestTransact_WriteFailsHalfWay(t *testing.T) {
	path := file(t)
	st := open(t, path)
	accounts(t, st)
	db := foreign(t, path)
	write := func(ctx context.Context, tx *sql.Tx, w store.Tx) {
		require.NoError(t, credit(ctx, tx, "acme"))
		_, err := w.Write(ctx, &store.Batch{Adds: []store.Add{event("half", "work")}})
		require.ErrorContains(t, err, "no delivery")
	}
	_, err := st.OnWriter(`CREATE TRIGGER no BEFORE INSERT ON webhook_delivery BEGIN SELECT raise(FAIL, 'no delivery'); END`)
	require.NoError(t, err)
	require.ErrorContains(t, st.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx, w store.Tx) error {
		write(ctx, tx, w)
		return nil
	}), "no delivery")
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	write(t.Context(), tx, st.Tx(tx))
	require.Error(t, tx.Commit())
	_, err = st.OnWriter(`DROP TRIGGER no`)
	require.NoError(t, err)

	require.Zero(t, credits(t, st))
	add(t, st, event("half", "work"), event("another", "work"))
	require.Len(t, find(t, st, "half"), 1)
	requireCounters(t, st)
}

// endsAfter is a context that ends once it was asked n times.
type endsAfter struct {
	context.Context
	n int
}

func (c *endsAfter) Done() <-chan struct{} {
	done := make(chan struct{})
	if c.n--; c.n < 0 {
		close(done)
	}
	return done
}

func (c *endsAfter) Err() error {
	if c.n--; c.n < 0 {
		return context.Canceled
	}
	return nil
}

// Nor does a context that ends leave half of a Write behind.
func TestTx_ForeignCancelled(t *testing.T) {
	path := file(t)
	st := open(t, path)
	db := foreign(t, path)
	for n := range 200 {
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		id := fmt.Sprint("sent ", n)
		want := 2
		_, err = st.Tx(tx).Write(&endsAfter{t.Context(), n}, &store.Batch{Adds: []store.Add{event(id, "work", "out")}})
		if err != nil {
			want = 0
		}
		require.NoError(t, tx.Commit())
		require.Len(t, find(t, st, id), want)
		add(t, st, event(fmt.Sprint("beside ", n), "work"))
	}
	requireCounters(t, st)
}

// A closure may write while it reads what a statement of its own returns.
func TestTransact_WriteBesideRows(t *testing.T) {
	st := open(t, file(t))
	accounts(t, st)
	for _, query := range []string{
		"SELECT id FROM account",
		"UPDATE account SET credit = credit + 1 RETURNING id",
	} {
		require.NoError(t, st.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx, w store.Tx) error {
			require.NoError(t, credit(ctx, tx, "acme"))
			require.NoError(t, credit(ctx, tx, "other"))
			rows, err := tx.QueryContext(ctx, query)
			require.NoError(t, err)
			defer rows.Close()
			for rows.Next() {
				var id string
				require.NoError(t, rows.Scan(&id))
				_, err := w.Write(ctx, &store.Batch{Adds: []store.Add{event(fmt.Sprint(query, id), "work")}})
				require.NoError(t, err)
			}
			return rows.Err()
		}), query)
		require.Len(t, find(t, st, query+"acme"), 1)
		require.Len(t, find(t, st, query+"other"), 1)
	}
}
