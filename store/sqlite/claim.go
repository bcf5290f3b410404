package sqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"slices"

	"github.com/surehook/webhook/store"
)

// What a Claim takes at most where it does not say.
const (
	claimMax   = 256
	claimBytes = 8 << 20
)

const (
	// By webhook_lane_queue: as many rows as there are lanes with something due.
	selectDueLanes = `
SELECT l.id, l.served, d.id, d.name, d.held
FROM webhook_lane l JOIN webhook_destination d ON d.id = l.destination
WHERE l.queue = ? AND l.next <= ?`

	// By webhook_lane_destination: other destinations cost nothing.
	selectDueLanesOf = `
SELECT l.id, l.served, d.id, d.name, d.held
FROM webhook_destination d JOIN webhook_lane l ON l.destination = d.id
WHERE d.queue = ? AND d.name = ? AND l.next <= ?`

	// By webhook_delivery_ready, in its order. SQLite looks at a bare parameter
	// when it plans, and plans anew when that has another value: hence the plus.
	selectReady = `
SELECT d.id, d.state, d.token, d.leased, d.chain, d.claim, length(e.body)
FROM webhook_delivery d JOIN webhook_event e ON e.id = d.event
WHERE d.lane = +? AND d.ready <= ? ORDER BY d.ready, d.id LIMIT +?`
	selectNextReady = `SELECT coalesce(min(ready), 9223372036854775807) FROM webhook_delivery WHERE lane = ? AND ready IS NOT NULL`

	takeDelivery = `
UPDATE webhook_delivery
SET state = 'processing', token = token + 1, lost = lost + ?, leased = ?, until = ?, ready = ?, claim = ?
WHERE id = ?`
)

// Claim leases what is due.
func (s *Store) Claim(ctx context.Context, queue string, c store.Claim) ([]store.Delivery, error) {
	if err := store.InTransaction(ctx); err != nil {
		return nil, err
	}
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	s.wake.start()
	if c.Max < 1 {
		c.Max = claimMax
	}
	if c.Bytes < 1 {
		c.Bytes = claimBytes
	}
	ds, err := s.claim(ctx, queue, &c)
	if err != nil {
		return nil, s.failed("claim", err)
	}
	return ds, nil
}

func (s *Store) claim(ctx context.Context, queue string, c *store.Claim) (ds []store.Delivery, err error) {
	if err := s.runEngine(ctx); err != nil {
		return nil, err
	}
	// An engine that has nothing to do asks each second: it does not disturb the
	// writer.
	if !s.found.Load() {
		reader := plain{ctx, s.read}
		lanes, err := dueLanes(reader, queue, c, s.now())
		if err != nil || len(lanes) == 0 {
			return nil, err
		}
	}
	var k claiming
	err = s.writer.do(ctx, func(db session) error {
		r, err := s.writer.remembered(db)
		if err != nil {
			return err
		}
		k = claiming{work: s.workOn(r, db, false), c: c}
		ids, err := k.claim(queue)
		if err != nil {
			return err
		}
		if err := k.flush(); err != nil {
			return err
		}
		ds, err = s.load(db, queue, ids, withBody)
		return err
	})
	if err != nil {
		return nil, err
	}
	k.committed()
	s.found.Store(len(ds) > 0)
	return ds, nil
}

// dueLane is a lane with something due, maybe.
type dueLane struct {
	id, served, destination, held int64
	name                          string
}

// dueLanes returns the lanes that c asks for, the least recently served first.
func dueLanes(db session, queue string, c *store.Claim, now int64) ([]dueLane, error) {
	var q int64
	found, err := one(db, selectQueue, []any{[]byte(queue)}, &q)
	if err != nil || !found {
		return nil, err
	}
	var lanes []dueLane
	row := func(v []driver.Value) error {
		var l dueLane
		if err := scan(v, &l.id, &l.served, &l.destination, &l.name, &l.held); err != nil {
			return err
		}
		if free(c, l.name) > 0 {
			lanes = append(lanes, l)
		}
		return nil
	}
	if c.Other > 0 {
		if err := db.query(selectDueLanes, row, q, now); err != nil {
			return nil, err
		}
	} else {
		for name, n := range c.Free {
			if n < 1 {
				continue
			}
			if err := db.query(selectDueLanesOf, row, q, []byte(name), now); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(lanes, func(a, b dueLane) int {
		return cmp.Or(cmp.Compare(a.served, b.served), cmp.Compare(a.id, b.id))
	})
	return lanes, nil
}

// free returns how many slots c has for a destination.
func free(c *store.Claim, destination string) int {
	if n, ok := c.Free[destination]; ok {
		return n
	}
	return c.Other
}

// claiming is one Claim inside its transaction.
type claiming struct {
	*work
	c     *store.Claim
	taken []int64        // rows
	is    map[int64]bool // in taken: a lease may be so short that it is due again at once
	room  map[int64]int  // free slots left, by destination
	bytes int
	full  bool // of Max or Bytes
}

// claim walks the due lanes twice: at first each gets its share of the slots, then
// those with more to do get what is left.
func (k *claiming) claim(queue string) ([]int64, error) {
	lanes, err := dueLanes(k.db, queue, k.c, k.now)
	if err != nil {
		return nil, err
	}
	k.is, k.room = map[int64]bool{}, map[int64]int{}
	due := lanes[:0]
	of := map[int64]int{} // due lanes, by destination
	for _, l := range lanes {
		if l.held > k.now {
			// The lane is looked at again when the hold ends, and not before.
			if err := k.raise(l.id, l.held); err != nil {
				return nil, err
			}
			continue
		}
		due = append(due, l)
		of[l.destination]++
		k.room[l.destination] = free(k.c, l.name)
	}
	shares := make([]int, len(due))
	for i, l := range due {
		shares[i] = max(1, min(k.room[l.destination]/of[l.destination], k.c.Max/len(due)))
	}
	more := make([]bool, len(due))
	for i, l := range due {
		if more[i], err = k.take(l, shares[i]); err != nil || k.full {
			return k.taken, err
		}
	}
	for i, l := range due {
		if !more[i] {
			continue
		}
		if _, err = k.take(l, k.c.Max); err != nil || k.full {
			return k.taken, err
		}
	}
	return k.taken, nil
}

// take leases at most n of a lane, and reports whether it has more that is due.
func (k *claiming) take(due dueLane, n int) (more bool, err error) {
	n = min(n, k.room[due.destination], k.c.Max-len(k.taken))
	if n < 1 {
		return false, nil
	}
	found, err := k.find(due.id, n)
	if err != nil {
		return false, err
	}
	l, err := k.laneOf(due.id)
	if err != nil {
		return false, err
	}
	d, err := k.destinationByID(due.destination)
	if err != nil {
		return false, err
	}
	before := len(k.taken)
	for _, r := range found {
		if k.is[r.id] {
			continue
		}
		if k.bytes += r.bytes; k.bytes > k.c.Bytes && len(k.taken) > 0 {
			k.full = true
			break
		}
		if err := k.lease(d, l, r); err != nil {
			return false, err
		}
		k.room[d.id]--
	}
	k.full = k.full || len(k.taken) >= k.c.Max
	if len(k.taken) > before {
		seq, err := k.next()
		if err != nil {
			return false, err
		}
		l.served = seq.turn
		seq.turn++
	}
	if len(found) == n {
		return true, nil
	}
	if !k.full {
		var next int64
		if _, err := one(k.db, selectNextReady, []any{l.id}, &next); err != nil {
			return false, err
		}
		l.next = next
	}
	return false, nil
}

// ready is a row that may be claimed.
type ready struct {
	id, token, leased, chain int64
	state                    string
	claim                    []byte // nonce of the last one
	bytes                    int
}

func (k *claiming) find(lane int64, n int) ([]ready, error) {
	var found []ready
	err := k.db.query(selectReady, func(v []driver.Value) error {
		var r ready
		err := scan(v, &r.id, &r.state, &r.token, &r.leased, &r.chain, &r.claim, &r.bytes)
		found = append(found, r)
		return err
	}, lane, k.now, int64(n))
	return found, err
}

// lease leases one row, and records the attempt that was lost if its lease ran out.
func (k *claiming) lease(d *destination, l *lane, r ready) error {
	var lost int64
	if r.state == processing && !k.unanswered(r.claim) {
		lost = 1
		a := store.Attempt{Start: instant(r.leased), Outcome: store.OutcomeLost}
		if err := k.insertAttempt(r.id, uint64(r.token), &a); err != nil {
			return err
		}
	}
	until := after(k.now, k.c.Lease)
	if err := k.leasedUntil(until); err != nil {
		return err
	}
	if _, err := k.db.exec(takeDelivery, lost, k.now, until, until, k.c.Nonce[:], r.id); err != nil {
		return err
	}
	d.count(r.state, -1)
	d.count(processing, 1)
	if r.chain == 0 {
		k.given = append(k.given, lease{r.id, r.token + 1, d.id, l.id})
	}
	k.taken = append(k.taken, r.id)
	k.is[r.id] = true
	return nil
}

// unanswered reports whether nobody ever learnt of the leases that the claim of that
// nonce gave.
func (k *claiming) unanswered(nonce []byte) bool {
	return slices.ContainsFunc(k.c.Unanswered, func(n [16]byte) bool { return string(n[:]) == string(nonce) })
}

// raise lets a lane wait until then.
func (w *work) raise(lane, until int64) error {
	l, err := w.laneOf(lane)
	if err == nil {
		l.next = until
	}
	return err
}
