package webhook_test

import (
	"context"
	"sync"

	"github.com/surehook/webhook/store"
)

// faultyStore is a store whose commits and claims go through a function of the
// test, which may fail, wait, or lie, before or after what it stands for.
type faultyStore struct {
	store.Store

	mu      sync.Mutex
	commit  func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error)
	claim   func(ctx context.Context, c store.Claim, real claimFunc) ([]store.Delivery, error)
	stats   error // of Stats
	commits int   // with an item
	claims  int
	asked   int // Stats
}

type (
	commitFunc func(context.Context, *store.Batch) (*store.Results, error)
	claimFunc  func(context.Context, store.Claim) ([]store.Delivery, error)
)

func (s *faultyStore) Commit(ctx context.Context, b *store.Batch) (*store.Results, error) {
	s.mu.Lock()
	if b.Len() > 0 {
		s.commits++
	}
	f := s.commit
	s.mu.Unlock()
	if f == nil {
		return s.Store.Commit(ctx, b)
	}
	return f(ctx, b, s.Store.Commit)
}

func (s *faultyStore) Claim(ctx context.Context, queue string, c store.Claim) ([]store.Delivery, error) {
	real := func(ctx context.Context, c store.Claim) ([]store.Delivery, error) {
		return s.Store.Claim(ctx, queue, c)
	}
	s.mu.Lock()
	s.claims++
	f := s.claim
	s.mu.Unlock()
	if f == nil {
		return real(ctx, c)
	}
	return f(ctx, c, real)
}

func (s *faultyStore) Stats(ctx context.Context, queue, after string, limit int) ([]store.Stats, string, error) {
	s.mu.Lock()
	s.asked++
	err := s.stats
	s.mu.Unlock()
	if err != nil {
		return nil, "", err
	}
	return s.Store.Stats(ctx, queue, after, limit)
}

// onCommit sends commits through f from now on; nil: no faults.
func (s *faultyStore) onCommit(f func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commit = f
}

// onClaim sends claims through f from now on; nil: no faults.
func (s *faultyStore) onClaim(f func(ctx context.Context, c store.Claim, real claimFunc) ([]store.Delivery, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claim = f
}

// used returns how many commits with an item, claims and Stats there were.
func (s *faultyStore) used() (commits, claims, stats int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commits, s.claims, s.asked
}

// failingCommit is a commit that fails with err before anything is written, as long as
// it concerns the batch.
func failingCommit(err error, concerns func(*store.Batch) bool) func(context.Context, *store.Batch, commitFunc) (*store.Results, error) {
	return func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
		if concerns(b) {
			return nil, err
		}
		return real(ctx, b)
	}
}

func anyBatch(*store.Batch) bool      { return true }
func hasAdds(b *store.Batch) bool     { return len(b.Adds) > 0 }
func hasSettles(b *store.Batch) bool  { return len(b.Settles) > 0 }
func hasRenewals(b *store.Batch) bool { return len(b.Renews) > 0 }

// noClaims is a claim that finds nothing.
func noClaims(context.Context, store.Claim, claimFunc) ([]store.Delivery, error) { return nil, nil }
