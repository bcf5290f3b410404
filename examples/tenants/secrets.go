package main

import (
	"context"
	"sync"
	"time"

	"github.com/surehook/webhook"
)

// fresh is how old the table in memory may be: so long after it was written at the
// latest a new secret fits, and one that was deleted fits no longer.
const fresh = 30 * time.Second

// secrets knows who may sign for which tenant. It is asked for each request, forged
// ones too, so it answers from memory. It keeps the whole table, which is small: a
// cache of what was asked for would be filled by whoever makes up tenants, and each
// new name would be a query.
type secrets struct {
	load func(context.Context) (map[string][]webhook.Secret, error)

	mu    sync.Mutex
	table map[string][]webhook.Secret // by tenant
	err   error                       // of the last load
	next  time.Time                   // the table is read again then
}

// of is the Verifier.Secrets of a route whose pattern has a {tenant}. No secret is
// answered with 401, an error with 503: the sender comes again.
func (s *secrets) of(ctx context.Context, r *webhook.Request) ([]webhook.Secret, error) {
	table, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	return table[r.PathValue("tenant")], nil
}

// current returns the table, read again by one caller if it is too old, while the
// others wait for that.
func (s *secrets) current(ctx context.Context) (map[string][]webhook.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.next) {
		return s.table, s.err
	}
	// Everybody gets what this caller reads: that it goes away must not matter.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	s.table, s.err = s.load(ctx)
	s.next = time.Now().Add(fresh)
	if s.err != nil {
		s.next = time.Now().Add(time.Second) // and not for each request until it is mended
	}
	return s.table, s.err
}
