package memory

import (
	"fmt"
	"slices"
	"time"

	"github.com/surehook/webhook/store"
)

// add stores an event, or finds out that it is known.
func (s *Store) add(a *store.Add, now time.Time) store.Added {
	if e := s.find(a); e != nil {
		if e.nonce == a.Nonce {
			return e.again(a)
		}
		return s.duplicate(e, a, now)
	}

	e := &event{
		queue:    s.queue(a.Queue),
		nonce:    a.Nonce,
		identity: a.Identity,
		keys:     slices.Clone(a.Keys),
		digest:   a.Digest,
		received: now,
		record:   kept(a.Record),
	}
	s.known[e.identity] = e
	for _, k := range e.keys {
		s.known[k] = e
	}
	e.names.list = make([]named, 0, len(a.To))
	added := store.Added{Result: store.Done, Deliveries: make([]store.Delivery, len(a.To))}
	for i := range a.To {
		d := s.deliver(e, &a.To[i], a.To[i].Lease, now)
		added.Deliveries[i] = d.added()
	}
	e.know(now.Add(a.Known))
	return added
}

// find returns the event that a is about, if it is known.
func (s *Store) find(a *store.Add) *event {
	if e := s.known[a.Identity]; e != nil {
		return e
	}
	for _, k := range a.Keys {
		if e := s.known[k]; e != nil {
			return e
		}
	}
	return nil
}

// refuse returns ErrChanged for the first add of b that wants no changed event and
// is one: of an event that is known, or that an add before it in b will make known.
func (s *Store) refuse(b *store.Batch) error {
	if !slices.ContainsFunc(b.Adds, func(a store.Add) bool { return a.RefuseChanged }) {
		return nil
	}
	first := map[[32]byte]*store.Add{} // of b, by their keys
	for i := range b.Adds {
		a := &b.Adds[i]
		nonce, digest, known := a.Nonce, a.Digest, false
		if e := s.find(a); e != nil {
			nonce, digest, known = e.nonce, e.digest, true
		} else if f := firstOf(first, a); f != nil {
			nonce, digest, known = f.Nonce, f.Digest, true
		}
		if a.RefuseChanged && nonce != a.Nonce && digest != a.Digest {
			return fmt.Errorf("add %d: %w", i, store.ErrChanged)
		}
		if !known {
			first[a.Identity] = a
			for _, k := range a.Keys {
				first[k] = a
			}
		}
	}
	return nil
}

// firstOf returns the add that has a's identity or the first of its keys that is
// taken, nil if none is.
func firstOf(taken map[[32]byte]*store.Add, a *store.Add) *store.Add {
	if f := taken[a.Identity]; f != nil {
		return f
	}
	for _, k := range a.Keys {
		if f := taken[k]; f != nil {
			return f
		}
	}
	return nil
}

// again reports the add that stored e, tried once more.
func (e *event) again(a *store.Add) store.Added {
	added := store.Added{Result: store.Done, Deliveries: make([]store.Delivery, len(a.To))}
	for i := range a.To {
		if n := e.names.find(a.To[i].Destination); n != nil && n.d != nil {
			added.Deliveries[i] = n.d.added()
		}
	}
	return added
}

// duplicate adds to e the targets of a that it never had.
func (s *Store) duplicate(e *event, a *store.Add, now time.Time) store.Added {
	added := store.Added{
		Result:     store.Done,
		Deliveries: make([]store.Delivery, len(a.To)),
		Duplicate:  true,
		Changed:    e.digest != a.Digest,
	}
	for i := range a.To {
		var d *delivery
		if n := e.names.find(a.To[i].Destination); n != nil {
			d = n.d
		} else {
			// What was purged or erased does not come back; what is at hand does.
			if e.record == nil || e.erased {
				e.record, e.plain, e.erased = kept(a.Record), nil, false
			}
			d = s.deliver(e, &a.To[i], 0, now)
			added.Missing++
		}
		if d != nil {
			added.Deliveries[i] = d.added()
			added.Deliveries[i].Token, added.Deliveries[i].Until = 0, time.Time{}
		}
	}
	e.know(now.Add(a.Known))
	return added
}

// deliver makes the delivery of e to t.
func (s *Store) deliver(e *event, t *store.Target, lease time.Duration, now time.Time) *delivery {
	s.seq++
	d := &delivery{
		Delivery: store.Delivery{
			ID:       s.id(s.seq),
			Queue:    e.queue.name,
			OrderKey: t.OrderKey,
			State:    store.Queued,
			Received: e.received,
			Due:      now.Add(t.After),
		},
		seq:   s.seq,
		event: e,
	}
	dest := e.queue.destination(t.Destination)
	if lease > 0 && t.After <= 0 && dest.free(t.OrderKey, now) {
		d.State, d.Token, d.born = store.Processing, 1, true
		d.Until, d.leased = now.Add(lease), now
	}
	s.deliveries[d.ID] = d
	e.queue.all = append(e.queue.all, d)
	e.names.set(t.Destination, d)
	e.live++
	d.attach(dest, now)
	return d
}

// free returns whether a new delivery under key could be claimed at once.
func (d *destination) free(key string, now time.Time) bool {
	if d.holds.until().After(now) {
		return false
	}
	k := d.keys[key] // none is named ""
	return k == nil || k.head == nil && !k.holds.until().After(now)
}

// added is what Added tells of d. The token is told only to the add that it was
// given to, while it is still the last.
func (d *delivery) added() store.Delivery {
	a := store.Delivery{ID: d.ID, State: d.State, Received: d.Received}
	if d.born && d.Token == 1 && d.State == store.Processing {
		a.Token, a.Until = d.Token, d.Until
	}
	return a
}
