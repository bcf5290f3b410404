package memory

import (
	"context"
	"fmt"

	"github.com/surehook/webhook/store"
)

// Commit writes b. There is nothing to share between callers but the mutex, so
// it needs no store.Group.
func (s *Store) Commit(ctx context.Context, b *store.Batch) (*store.Results, error) {
	if err := store.InTransaction(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	// Nothing below can fail, so that what is checked now is all or nothing.
	if err := b.Validate(); err != nil {
		return nil, fmt.Errorf("webhook: commit: %w", err)
	}
	if err := s.refuse(b); err != nil {
		return nil, fmt.Errorf("webhook: commit: %w", err)
	}

	now := s.now()
	res := &store.Results{}
	if n := len(b.Adds); n > 0 {
		res.Adds = make([]store.Added, n)
		for i := range b.Adds {
			res.Adds[i] = s.add(&b.Adds[i], now)
		}
	}
	if n := len(b.Settles); n > 0 {
		res.Settles = make([]store.Result, n)
		for i := range b.Settles {
			res.Settles[i] = s.settle(&b.Settles[i], now)
		}
	}
	if n := len(b.Renews); n > 0 {
		res.Renews = make([]store.Result, n)
		for i := range b.Renews {
			res.Renews[i] = s.renew(&b.Renews[i], now)
		}
	}
	if n := len(b.Holds); n > 0 {
		res.Holds = make([]store.Result, n)
		for i := range b.Holds {
			s.hold(&b.Holds[i], now)
			res.Holds[i] = store.Done
		}
	}
	return res, nil
}
