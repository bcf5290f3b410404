package sqlite

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook/store"
)

// Advance moves the store's clock.
func (s *Store) Advance(d time.Duration) { s.offset.Add(d.Microseconds()) }

// OnWriter runs a statement on the writer's connection, outside of transactions,
// and returns the first column of the first row.
func (s *Store) OnWriter(query string) (value any, err error) {
	if err := s.writer.lock(context.Background()); err != nil {
		return nil, err
	}
	defer s.writer.unlock()
	if err := s.writer.connect(context.Background()); err != nil {
		return nil, err
	}
	rows, err := s.writer.conn.QueryContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if rows.Next() {
		if err := rows.Scan(&value); err != nil {
			return nil, err
		}
	}
	return value, rows.Err()
}

// LockWriter takes the writer's turn until the returned function is called.
func (s *Store) LockWriter() (unlock func()) {
	_ = s.writer.lock(context.Background())
	return s.writer.unlock
}

// CountKeysCommits counts the transactions for keys from now on. It is called before
// others use the store.
func (s *Store) CountKeysCommits() *atomic.Int64 {
	n := new(atomic.Int64)
	s.keys = newKeysGroup(func(ctx context.Context, calls []*keysCall) ([]keysAnswer, error) {
		n.Add(1)
		return s.writeKeys(ctx, calls)
	})
	return n
}

// WriteTogether writes batches in one transaction, as the group does when they come
// at once.
func (s *Store) WriteTogether(ctx context.Context, batches ...*store.Batch) error {
	_, err := s.write(ctx, batches)
	return err
}
