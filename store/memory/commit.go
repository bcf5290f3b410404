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
	if err := check(b); err != nil {
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
		h := &b.Holds[i]
		if h.Destination == "" {
			return fmt.Errorf("hold %d: no destination: %w", i, store.ErrBadData)
		}
		if _, ok := kindIndex(h.Kind); !ok && (!h.Release || h.Kind != "") {
			return fmt.Errorf("hold %d: kind %q: %w", i, h.Kind, store.ErrBadData)
		}
	}
	return nil
}

func checkAdd(a *store.Add) error {
	if a.Record == nil {
		return fmt.Errorf("no record: %w", store.ErrBadData)
	}
	var seen names
	for i := range a.To {
		name := a.To[i].Destination
		if name == "" {
			return fmt.Errorf("target %d: no destination: %w", i, store.ErrBadData)
		}
		if len(a.To) == 1 {
			return nil
		}
		if seen.find(name) != nil {
			return fmt.Errorf("target %d: destination %q twice: %w", i, name, store.ErrBadData)
		}
		seen.set(name, nil)
	}
	return nil
}
