package storetest_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/storetest"
)

// broken is a store of which a flaw replaces methods.
type broken struct {
	*process

	commit   func(ctx context.Context, b *store.Batch) (*store.Results, error)
	claim    func(ctx context.Context, queue string, c store.Claim) ([]store.Delivery, error)
	find     func(ctx context.Context, queue string, f store.Filter, after string, limit int) ([]store.Delivery, string, error)
	update   func(ctx context.Context, queue string, ids []string, c store.Change) (int, error)
	stats    func(ctx context.Context, queue, after string, limit int) ([]store.Stats, string, error)
	purge    func(ctx context.Context, queue string, r store.Retention) (int, error)
	wake     func(queue string) <-chan struct{}
	close    func() error
	transact func(ctx context.Context, f func(ctx context.Context, w store.Tx) error) error
}

// breaking is a backend of stores with a flaw. Without it the store keeps the
// whole contract, as a database server does: it survives its process, has
// transactions that lock what they touch, and serves several processes.
func breaking(flaw func(s *broken)) storetest.Backend {
	on := func(d *disk) *broken {
		p := d.process()
		s := &broken{
			process: p,
			commit:  p.Commit, claim: p.Claim, find: p.Find, update: p.Update, stats: p.Stats,
			purge: p.Purge, wake: p.Wake, close: p.Close, transact: p.Transact,
		}
		flaw(s)
		return s
	}
	return storetest.Backend{
		Open:    func(testing.TB) store.Store { return on(newDisk()) },
		Advance: func(st store.Store, d time.Duration) { as(st).disk.advance(d) },
		Reopen: func(tb testing.TB, st store.Store) store.Store {
			tb.Helper()
			if err := st.Close(); err != nil {
				tb.Fatal(err)
			}
			return on(as(st).disk)
		},
		Transact: func(ctx context.Context, st store.Store, f func(ctx context.Context, w store.Tx) error) error {
			return as(st).transact(ctx, f)
		},
		Second: func(_ testing.TB, st store.Store) store.Store { return on(as(st).disk) },
	}
}

// as returns st as the store that it is here.
func as(st store.Store) *broken {
	s, ok := st.(*broken)
	if !ok {
		panic(fmt.Sprintf("a %T was not opened here", st))
	}
	return s
}

func (s *broken) Commit(ctx context.Context, b *store.Batch) (*store.Results, error) {
	return s.commit(ctx, b)
}

func (s *broken) Claim(ctx context.Context, queue string, c store.Claim) ([]store.Delivery, error) {
	return s.claim(ctx, queue, c)
}

func (s *broken) Find(ctx context.Context, queue string, f store.Filter, after string, limit int) ([]store.Delivery, string, error) {
	return s.find(ctx, queue, f, after, limit)
}

func (s *broken) Update(ctx context.Context, queue string, ids []string, c store.Change) (int, error) {
	return s.update(ctx, queue, ids, c)
}

func (s *broken) Stats(ctx context.Context, queue, after string, limit int) ([]store.Stats, string, error) {
	return s.stats(ctx, queue, after, limit)
}

func (s *broken) Purge(ctx context.Context, queue string, r store.Retention) (int, error) {
	return s.purge(ctx, queue, r)
}

func (s *broken) Wake(queue string) <-chan struct{} { return s.wake(queue) }
func (s *broken) Close() error                      { return s.close() }

// onAdds changes the adds of each batch before they are committed. The caller's
// are left as they are.
func (s *broken) onAdds(change func(a *store.Add)) {
	commit := s.commit
	s.commit = func(ctx context.Context, b *store.Batch) (*store.Results, error) {
		c := *b
		c.Adds = slices.Clone(b.Adds)
		for i := range c.Adds {
			c.Adds[i].To = slices.Clone(c.Adds[i].To)
			change(&c.Adds[i])
		}
		return commit(ctx, &c)
	}
}

// onResults changes what is told of each batch.
func (s *broken) onResults(change func(b *store.Batch, r *store.Results)) {
	commit := s.commit
	s.commit = func(ctx context.Context, b *store.Batch) (*store.Results, error) {
		res, err := commit(ctx, b)
		if err == nil {
			change(b, res)
		}
		return res, err
	}
}

// onDeliveries changes those that Claim and Find return. Their records are
// shared: a change replaces them.
func (s *broken) onDeliveries(change func(d *store.Delivery)) {
	claim, find := s.claim, s.find
	s.claim = func(ctx context.Context, queue string, c store.Claim) ([]store.Delivery, error) {
		ds, err := claim(ctx, queue, c)
		for i := range ds {
			change(&ds[i])
		}
		return ds, err
	}
	s.find = func(ctx context.Context, queue string, f store.Filter, after string, limit int) ([]store.Delivery, string, error) {
		ds, next, err := find(ctx, queue, f, after, limit)
		for i := range ds {
			change(&ds[i])
		}
		return ds, next, err
	}
}

// look returns the delivery as it is kept, and whether it is.
func (s *broken) look(id string) (store.Delivery, bool) { return s.disk.look(id) }

// now is by the store's clock.
func (s *broken) now() time.Time {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return time.Now().Add(s.disk.skew)
}
