package sqlite

import (
	"context"
	"fmt"

	"github.com/surehook/webhook/store"
)

// Commit writes b in one transaction with what others commit meanwhile.
func (s *Store) Commit(ctx context.Context, b *store.Batch) (*store.Results, error) {
	if err := store.InTransaction(ctx); err != nil {
		return nil, err
	}
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	if err := check(b); err != nil {
		return nil, fmt.Errorf("webhook: commit: %w", err)
	}
	return s.group.Do(ctx, b)
}

// write is the group's: all of batches or nothing. Their data is checked, and
// nobody else holds a row; what the group may have to find by halving is an add that
// is ErrChanged.
func (s *Store) write(ctx context.Context, batches []*store.Batch) ([]*store.Results, error) {
	leases, err := s.mayLease(batches)
	if err != nil {
		return nil, err
	}
	var results []*store.Results
	var w *work
	err = s.writer.do(ctx, func(db session) error {
		r, err := s.writer.remembered(db)
		if err != nil {
			return err
		}
		w = s.workOn(r, db, leases)
		if err := w.index(batches); err != nil {
			return err
		}
		results, err = w.write(batches)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("webhook: commit: %w", err)
	}
	w.learned()
	w.committed()
	return results, nil
}

// mayLease reports whether this process may give leases, which is the engine's
// right: it is taken if one is asked for. Where another has it, an event is queued.
func (s *Store) mayLease(batches []*store.Batch) (bool, error) {
	if s.engine.held.Load() {
		return true, nil
	}
	for _, b := range batches {
		for i := range b.Adds {
			for j := range b.Adds[i].To {
				if b.Adds[i].To[j].Lease > 0 {
					return s.tryEngine()
				}
			}
		}
	}
	return false, nil
}

// maxRecord is the most that a record may take: SQLite keeps up to a billion bytes
// in a row, and ours has other columns.
const maxRecord = 900 << 20

// check returns ErrBadData for the first item that no moment would make right.
func check(b *store.Batch) error {
	if err := b.Validate(); err != nil {
		return err
	}
	for i := range b.Adds {
		r := b.Adds[i].Record
		if n := len(r.Head) + len(r.Body) + len(r.Tenant) + len(r.Source) + len(r.ID) + len(r.Type) + len(r.Subject) + len(r.Trace); n > maxRecord {
			return fmt.Errorf("add %d: record of %d bytes, at most %d: %w", i, n, maxRecord, store.ErrBadData)
		}
	}
	return nil
}
