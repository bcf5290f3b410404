package storetest_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/surehook/webhook/store"
)

var lifeFlaws = []sabotage{
	{"works on after Close", "Close/ThenErrClosed", func(s *broken) {
		s.close = func() error { return nil }
	}},
	{"closes twice with an error", "Close/ThenErrClosed", func(s *broken) {
		s.close = func() error {
			if _, err := s.enter(context.Background()); err != nil {
				return err
			}
			s.writes.RUnlock()
			return s.process.Close()
		}
	}},
	{"acknowledges before it is durable", "Reopen/LastBatchIsThere", losesLast},
	{"forgets holds with its process", "Reopen/AcknowledgedIsThere", func(s *broken) {
		if s.number > 1 {
			_, _ = s.process.Commit(context.Background(), &store.Batch{Holds: []store.Hold{{Queue: "inbox", Destination: "keyed", Release: true}}})
		}
	}},
	{"loses what is written while it closes", "Reopen/UnderLoad", losesWhileClosing},
	{"cannot roll back", "Transact/RollbackLeavesNothing", func(s *broken) {
		s.transact = func(ctx context.Context, f func(ctx context.Context, w store.Tx) error) error {
			var failed error
			err := s.Transact(ctx, func(ctx context.Context, w store.Tx) error {
				failed = f(ctx, w)
				return nil
			})
			return errors.Join(failed, err)
		}
	}},
	{"gives leases in a transaction", "Transact/LeaseIsIgnored", func(s *broken) {
		s.onTx(func(ctx context.Context, w store.Tx, b *store.Batch) (*store.Results, error) {
			res, err := w.Write(ctx, b)
			if err == nil {
				if t, ok := w.(*tx); ok {
					for i := range b.Adds {
						copy(t.writes[len(t.writes)-1].Adds[i].To, b.Adds[i].To)
					}
				}
			}
			return res, err
		})
	}},
	{"breaks the transaction with bad data", "Transact/BadDataDoesNotBreakIt", func(s *broken) {
		var mu sync.Mutex
		var bad error
		s.onTx(func(ctx context.Context, w store.Tx, b *store.Batch) (*store.Results, error) {
			mu.Lock()
			defer mu.Unlock()
			if bad != nil {
				return nil, errors.New("current transaction is aborted")
			}
			res, err := w.Write(ctx, b)
			bad = err
			return res, err
		})
	}},
	{"does not mark the closure's context", "Transact/ContextIsMarked", func(s *broken) {
		s.transact = func(ctx context.Context, f func(ctx context.Context, w store.Tx) error) error {
			return s.Transact(ctx, func(_ context.Context, w store.Tx) error { return f(ctx, w) })
		}
	}},
	{"completes a delivery that another claimed", "CompleteIn/AfterAnotherClaimIsLeaseLost", func(s *broken) {
		s.onTx(func(ctx context.Context, w store.Tx, b *store.Batch) (*store.Results, error) {
			c := *b
			c.Settles = append([]store.Settle(nil), b.Settles...)
			for i := range c.Settles {
				if d, ok := s.look(c.Settles[i].Delivery); ok && d.State == store.Processing {
					c.Settles[i].Token = d.Token
				}
			}
			return w.Write(ctx, &c)
		})
	}},
	{"completes before the commit", "CompleteIn/RollbackDoesNotComplete", func(s *broken) {
		s.onTx(func(ctx context.Context, w store.Tx, b *store.Batch) (*store.Results, error) {
			if len(b.Settles) == 0 {
				return w.Write(ctx, b)
			}
			return s.process.Commit(context.Background(), b)
		})
	}},
	{"takes a locked renewal for a lost lease", "Lock/RenewalCountsAsHeld", func(s *broken) {
		s.onResults(func(_ *store.Batch, r *store.Results) {
			for i := range r.Renews {
				if r.Renews[i] == store.Locked {
					r.Renews[i] = store.LeaseLost
				}
			}
		})
	}},
	{"waits for another's row", "Lock/SettleIsToldLocked", func(s *broken) {
		commit := s.commit
		s.commit = func(ctx context.Context, b *store.Batch) (*store.Results, error) {
			for {
				s.disk.mu.Lock()
				locked, freed := false, s.disk.freed
				for _, x := range b.Settles {
					locked = locked || s.disk.locked(x.Delivery, nil)
				}
				s.disk.mu.Unlock()
				if !locked {
					return commit(ctx, b)
				}
				select {
				case <-freed:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
		}
	}},
	{"lets one locked add stop all others", "Lock/AddIsTriedAgainBesideOthers", func(s *broken) {
		one := make(chan struct{}, 1)
		commit := s.commit
		s.commit = func(ctx context.Context, b *store.Batch) (*store.Results, error) {
			select {
			case one <- struct{}{}:
				defer func() { <-one }()
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return commit(ctx, b)
		}
	}},
	{"has a deduplication of each process", "Second/OneIdentityOneEvent", func(s *broken) {
		s.onAdds(func(a *store.Add) { a.Identity[0] ^= s.number })
	}},
}

// onTx replaces the Write of transactions.
func (s *broken) onTx(write func(ctx context.Context, w store.Tx, b *store.Batch) (*store.Results, error)) {
	transact := s.transact
	s.transact = func(ctx context.Context, f func(ctx context.Context, w store.Tx) error) error {
		return transact(ctx, func(ctx context.Context, w store.Tx) error {
			return f(ctx, txFunc(func(ctx context.Context, b *store.Batch) (*store.Results, error) { return write(ctx, w, b) }))
		})
	}
}

type txFunc func(ctx context.Context, b *store.Batch) (*store.Results, error)

func (f txFunc) Write(ctx context.Context, b *store.Batch) (*store.Results, error) { return f(ctx, b) }

// losesLast writes a batch with adds when the next one comes: what it tells of
// the last is true until the process ends.
func losesLast(s *broken) {
	var mu sync.Mutex
	var last []string // the deliveries of the last batch
	s.onResults(func(_ *store.Batch, r *store.Results) {
		mu.Lock()
		defer mu.Unlock()
		last = nil
		for _, a := range r.Adds {
			for _, d := range a.Deliveries {
				last = append(last, d.ID)
			}
		}
	})
	s.close = func() error {
		mu.Lock()
		defer mu.Unlock()
		_, _ = s.process.Update(context.Background(), "inbox", last, store.Change{To: store.Discarded})
		return s.process.Close()
	}
}

// losesWhileClosing acknowledges what comes while the store is being closed, and
// does not write it.
func losesWhileClosing(s *broken) {
	commit := s.commit
	var lost atomic.Int64
	s.commit = func(ctx context.Context, b *store.Batch) (*store.Results, error) {
		res, err := commit(ctx, b)
		if errors.Is(err, store.ErrClosed) && len(b.Adds) == 1 && lost.Add(1) < 9 {
			d := store.Delivery{ID: b.Adds[0].Record.ID, State: store.Queued}
			return &store.Results{Adds: []store.Added{{Result: store.Done, Deliveries: []store.Delivery{d}}}}, nil
		}
		return res, err
	}
}
