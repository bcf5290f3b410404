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
// nobody else holds a row, so there is no culprit to be found by halving.
func (s *Store) write(ctx context.Context, batches []*store.Batch) ([]*store.Results, error) {
	leases, err := s.mayLease(batches)
	if err != nil {
		return nil, err
	}
	results := make([]*store.Results, len(batches))
	var w *work
	err = s.writer.do(ctx, func(db session) error {
		w = s.newWork(db, leases)
		for i, b := range batches {
			if results[i], err = w.batch(b); err != nil {
				return err
			}
		}
		return w.flush()
	})
	if err != nil {
		return nil, fmt.Errorf("webhook: commit: %w", err)
	}
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

// check returns ErrBadData for the first item that no moment would make right.
func check(b *store.Batch) error {
	for i := range b.Adds {
		if err := checkAdd(&b.Adds[i]); err != nil {
			return fmt.Errorf("add %d: %w", i, err)
		}
	}
	for i := range b.Settles {
		switch to := b.Settles[i].To; to {
		case store.Processed, store.Dead, store.Discarded, store.Queued:
		default:
			return fmt.Errorf("settle %d: state %q: %w", i, to, store.ErrBadData)
		}
	}
	for i := range b.Holds {
		if err := checkHold(&b.Holds[i]); err != nil {
			return fmt.Errorf("hold %d: %w", i, err)
		}
	}
	return nil
}

// maxRecord is the most that a record may take: SQLite keeps up to a billion bytes
// in a row, and ours has other columns.
const maxRecord = 900 << 20

func checkAdd(a *store.Add) error {
	r := a.Record
	if r == nil {
		return fmt.Errorf("no record: %w", store.ErrBadData)
	}
	if n := len(r.Head) + len(r.Body) + len(r.Tenant) + len(r.Source) + len(r.ID) + len(r.Type) + len(r.Subject) + len(r.Trace); n > maxRecord {
		return fmt.Errorf("record of %d bytes, at most %d: %w", n, maxRecord, store.ErrBadData)
	}
	if len(a.To) == 1 { // nearly always, and worth no map
		if a.To[0].Destination == "" {
			return fmt.Errorf("target 0: no destination: %w", store.ErrBadData)
		}
		return nil
	}
	seen := make(map[string]bool, len(a.To))
	for i := range a.To {
		name := a.To[i].Destination
		if name == "" {
			return fmt.Errorf("target %d: no destination: %w", i, store.ErrBadData)
		}
		if seen[name] {
			return fmt.Errorf("target %d: destination %q twice: %w", i, name, store.ErrBadData)
		}
		seen[name] = true
	}
	return nil
}
