package memory

import (
	"bytes"
	"time"

	"github.com/surehook/webhook/store"
)

// settle ends a lease.
func (s *Store) settle(x *store.Settle, now time.Time) store.Result {
	d := s.deliveries[x.Delivery]
	switch {
	case d == nil || d.Token != x.Token:
		return store.LeaseLost
	case d.State != store.Processing:
		return store.AlreadySettled
	}

	if a := x.Attempt; a != nil {
		kept := *a
		kept.Token = x.Token
		kept.Response = bytes.Clone(a.Response)
		d.Attempts = append(d.Attempts, kept)
		d.dest.noted(a.Outcome, now)
	}
	if x.Spend {
		d.Spent++
	}
	if x.Defer {
		d.Deferred++
	}
	d.Reason = ""
	switch x.To {
	case store.Queued:
		d.Due = now.Add(x.After)
	case store.Dead:
		d.Reason, d.unblocked = x.Reason, x.Unblock
	case store.Discarded:
		d.Reason = x.Reason
	default: // processed: nothing to tell
	}
	d.become(x.To, now)
	return store.Done
}

// renew prolongs a lease.
func (s *Store) renew(r *store.Renew, now time.Time) store.Result {
	d := s.deliveries[r.Delivery]
	if d == nil || d.Token != r.Token || d.State != store.Processing {
		return store.LeaseLost
	}
	d.Until = now.Add(r.For)
	d.place(now)
	return store.Done
}
