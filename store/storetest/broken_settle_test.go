package storetest_test

import (
	"context"
	"slices"
	"sync"

	"github.com/surehook/webhook/store"
)

var settleFlaws = []sabotage{
	{"forgets the result of a second settle", "Commit/ResultsOneAnItemInOrder", func(s *broken) {
		s.onResults(func(_ *store.Batch, r *store.Results) {
			if len(r.Settles) > 1 {
				r.Settles[1] = 0
			}
		})
	}},
	{"fences by time", "Settle/AfterTheLeaseEndedIsDone", fencesByTime},
	{"fences no one", "Settle/AfterAnotherClaimIsLeaseLost", func(s *broken) {
		s.onSettles(func(x *store.Settle) {
			if d, ok := s.look(x.Delivery); ok && d.State == store.Processing && x.Token < d.Token {
				x.Token = d.Token
			}
		})
	}},
	{"takes a settle twice", "Settle/TwiceIsAlreadySettled", func(s *broken) {
		s.onResults(func(_ *store.Batch, r *store.Results) {
			for i := range r.Settles {
				if r.Settles[i] == store.AlreadySettled {
					r.Settles[i] = store.Done
				}
			}
		})
	}},
	{"resets the token with a redrive", "Settle/TokenIsNeverReset", resetsTokens},
	{"spends a hand-back", "Settle/HandBackLeavesNoTrace", func(s *broken) {
		s.onSettles(func(x *store.Settle) {
			x.Spend = x.Spend || x.To == store.Queued && x.Attempt == nil && !x.Defer
		})
	}},
	{"drops the response of an attempt", "Settle/AttemptKeepsAllFields", func(s *broken) {
		s.onSettles(func(x *store.Settle) {
			if x.Attempt != nil {
				a := *x.Attempt
				a.Response, x.Attempt = nil, &a
			}
		})
	}},
	{"lets a deferral start FailingSince", "Settle/FailingSince", func(s *broken) {
		s.onSettles(func(x *store.Settle) {
			if x.Attempt != nil && x.Attempt.Outcome == store.OutcomeDeferred {
				a := *x.Attempt
				a.Outcome, x.Attempt = store.OutcomeFailed, &a
			}
		})
	}},
	{"adds a renewal to the end of the lease", "Renew/CountsFromNow", func(s *broken) {
		s.onRenews(func(r *store.Renew) {
			if d, ok := s.look(r.Delivery); ok && !d.Until.IsZero() {
				r.For += max(0, d.Until.Sub(s.now()))
			}
		})
	}},
	{"renews what is settled", "Renew/SettledIsLeaseLost", func(s *broken) {
		s.onResults(func(b *store.Batch, r *store.Results) {
			for i, x := range b.Renews {
				if d, ok := s.look(x.Delivery); ok && d.Token == x.Token {
					r.Renews[i] = store.Done
				}
			}
		})
	}},
}

// onSettles changes the settles of each batch before they are committed.
func (s *broken) onSettles(change func(x *store.Settle)) {
	commit := s.commit
	s.commit = func(ctx context.Context, b *store.Batch) (*store.Results, error) {
		c := *b
		c.Settles = slices.Clone(b.Settles)
		for i := range c.Settles {
			change(&c.Settles[i])
		}
		return commit(ctx, &c)
	}
}

func (s *broken) onRenews(change func(r *store.Renew)) {
	commit := s.commit
	s.commit = func(ctx context.Context, b *store.Batch) (*store.Results, error) {
		c := *b
		c.Renews = slices.Clone(b.Renews)
		for i := range c.Renews {
			change(&c.Renews[i])
		}
		return commit(ctx, &c)
	}
}

// fencesByTime refuses a settle whose lease has run out, though nobody else
// claimed.
func fencesByTime(s *broken) {
	s.onSettles(func(x *store.Settle) {
		if d, ok := s.look(x.Delivery); ok && d.State == store.Processing && d.Until.Before(s.now()) {
			x.Token += 1000
		}
	})
}

// resetsTokens counts tokens from the last redrive on.
func resetsTokens(s *broken) {
	var mu sync.Mutex
	before := map[string]uint64{} // tokens used before the last redrive, by delivery
	update := s.update
	s.update = func(ctx context.Context, queue string, ids []string, c store.Change) (int, error) {
		n, err := update(ctx, queue, ids, c)
		mu.Lock()
		defer mu.Unlock()
		for _, id := range ids {
			if d, ok := s.look(id); ok && c.To == store.Queued && d.State == store.Queued {
				before[id] = d.Token
			}
		}
		return n, err
	}
	s.onSettles(func(x *store.Settle) {
		mu.Lock()
		defer mu.Unlock()
		x.Token += before[x.Delivery]
	})
	s.onDeliveries(func(d *store.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		d.Token -= before[d.ID]
	})
}
