package sqlite

import (
	"context"
	"database/sql/driver"
	"sync"
	"time"

	"github.com/surehook/webhook/store"
)

const (
	// purgeMax is how many records a Purge deletes: a few milliseconds of the writer.
	purgeMax = 500
	// purgeScan is how many rows it looks at in one query, without the writer.
	purgeScan = 10_000
	// vacuumPages is how many free pages a Purge gives back, a mebibyte; and
	// vacuumKeep how many it leaves for what comes next, four.
	vacuumPages = 256
	vacuumKeep  = 1024
)

const (
	// By the rows' ids, which follow the time of their receipt. What is dead for
	// good is passed over each time: a million rows take a reader a second.
	selectPurgeable = `
SELECT id FROM webhook_delivery
WHERE id > ? AND id <= ? AND queue = ?
  AND (state IN ('processed', 'discarded') AND finished <= ? OR state = 'dead' AND finished <= ?)
ORDER BY id LIMIT ?`
	selectReceivedFrom = `
SELECT e.received FROM webhook_delivery d JOIN webhook_event e ON e.id = d.event
WHERE d.id > ? ORDER BY d.id LIMIT 1`

	selectPurged   = `SELECT event, destination, state, chain, finished FROM webhook_delivery WHERE id = ?`
	deleteDelivery = `DELETE FROM webhook_delivery WHERE id = ?`
	deleteAttempts = `DELETE FROM webhook_attempt WHERE delivery = ?`

	// Of the names of one event: a few rows by their ids.
	selectRemaining = `
SELECT count(*) FROM webhook_event e, json_each(e.named) n
WHERE e.id = ? AND EXISTS (SELECT 1 FROM webhook_delivery d WHERE d.id = n.value ->> 1)`
	keepPast = `
INSERT INTO webhook_past (id, queue, nonce, keys, digest, received, known, named)
SELECT id, queue, nonce, keys, digest, received, known, named FROM webhook_event WHERE id = ?`
	deleteEvent = `DELETE FROM webhook_event WHERE id = ?`

	// By webhook_past_known and webhook_event_bare. The latter are events that
	// went to nobody: they go with their keys.
	selectForgettable = `
SELECT id FROM webhook_past WHERE queue = ? AND known <= ? AND received <= ?
UNION ALL
SELECT id FROM webhook_event WHERE named = '[]' AND queue = ? AND known <= ? AND received <= ?
LIMIT ?`

	selectEndedHolds = `SELECT 1 FROM webhook_hold WHERE until <= ? LIMIT 1`
	deleteEndedHolds = `DELETE FROM webhook_hold WHERE until <= ?`
)

// purgeCursor is how far Purge has come in each queue.
type purgeCursor struct {
	mu    sync.Mutex
	queue map[int64]int64
}

// Purge deletes what is past its retention. What is to go is found by a reader, and
// the writer deletes it in one short transaction.
func (s *Store) Purge(ctx context.Context, queue string, r store.Retention) (n int, err error) {
	if err := store.InTransaction(ctx); err != nil {
		return 0, err
	}
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	if n, err = s.purge(ctx, queue, r); err == nil {
		err = s.vacuum(ctx)
	}
	if err != nil {
		return 0, s.failed("purge", err)
	}
	return n, nil
}

func (s *Store) purge(ctx context.Context, queue string, r store.Retention) (n int, err error) {
	reader := plain{ctx, s.read}
	var q, holds int64
	found, err := one(reader, selectQueue, []any{[]byte(queue)}, &q)
	if err != nil || !found {
		return 0, err
	}
	now := s.now()
	if _, err := one(reader, selectEndedHolds, []any{now}, &holds); err != nil {
		return 0, err
	}
	rows, err := s.purgeable(reader, q, now, cutoff(now, r.Processed), cutoff(now, r.Dead))
	if err != nil {
		return 0, err
	}
	var events []int64
	received := now - max(r.Keys, 0).Microseconds() // negative is as zero: Add.Known alone
	if len(rows) == 0 {
		if events, err = integers(reader, selectForgettable, q, now, received, q, now, received, int64(purgeMax)); err != nil {
			return 0, err
		}
	}
	if len(rows) == 0 && len(events) == 0 && holds == 0 {
		return 0, nil
	}
	err = s.writer.do(ctx, func(db session) error {
		w := s.newWork(db)
		if n, err = w.purgeAll(rows, cutoff(w.now, r.Processed), cutoff(w.now, r.Dead)); err != nil {
			return err
		}
		for _, id := range events {
			deleted, err := w.forget(id, now, received)
			if err != nil {
				return err
			}
			n += deleted
		}
		if holds > 0 {
			if _, err := db.exec(deleteEndedHolds, w.now); err != nil {
				return err
			}
		}
		return w.flush()
	})
	return n, err
}

// cutoff is the instant at or before which something must have ended.
func cutoff(now int64, age time.Duration) int64 {
	if age <= 0 {
		return -never // for ever
	}
	return now - age.Microseconds()
}

// purgeable returns the next rows that are past their retention. It goes on from
// where it was last, and returns none only after it has seen all from the beginning.
func (s *Store) purgeable(db session, queue, now, ended, died int64) ([]int64, error) {
	s.purged.mu.Lock()
	defer s.purged.mu.Unlock()
	if s.purged.queue == nil {
		s.purged.queue = map[int64]int64{}
	}
	var last int64
	if _, err := one(db, selectLastDelivery, nil, &last); err != nil {
		return nil, err
	}
	from := s.purged.queue[queue]
	for again := from > 0; ; again = false {
		for from < last {
			var received int64
			found, err := one(db, selectReceivedFrom, []any{from}, &received)
			if err != nil {
				return nil, err
			}
			// What comes later cannot have ended so long ago; but for what was
			// received while the clock was ahead.
			if !found || received > max(ended, died) && received <= now {
				break
			}
			to := from + purgeScan
			rows, err := integers(db, selectPurgeable, from, to, queue, ended, died, int64(purgeMax))
			if err != nil {
				return nil, err
			}
			if len(rows) > 0 {
				s.purged.queue[queue] = rows[len(rows)-1]
				return rows, nil
			}
			from = to
		}
		from = 0
		s.purged.queue[queue] = 0
		if !again {
			return nil, nil
		}
	}
}

// purgeAll deletes deliveries, and events with the last of theirs. Whether it was the
// last is asked once for each event: one that went to thousands has as many names.
func (w *work) purgeAll(rows []int64, ended, died int64) (n int, err error) {
	var events []int64
	isIn := make(map[int64]bool, len(rows))
	for _, id := range rows {
		event, err := w.purge(id, ended, died)
		if err != nil {
			return 0, err
		}
		if event == 0 {
			continue
		}
		n++
		if !isIn[event] {
			isIn[event] = true
			events = append(events, event)
		}
	}
	for _, event := range events {
		gone, err := w.purgeEvent(event)
		if err != nil {
			return 0, err
		}
		if gone {
			n++
		}
	}
	return n, nil
}

// purge deletes one delivery, if it is still past its retention, and returns its
// event; 0: it was not deleted.
func (w *work) purge(id, ended, died int64) (event int64, err error) {
	var destination, chain, finished int64
	var state string
	found, err := one(w.db, selectPurged, []any{id}, &event, &destination, &state, &chain, &finished)
	if err != nil || !found {
		return 0, err
	}
	switch {
	case state == dead && finished <= died:
	case (state == processed || state == discarded) && finished <= ended:
	default:
		return 0, nil // changed since it was found
	}
	d, err := w.destinationByID(destination)
	if err != nil {
		return 0, err
	}
	d.count(state, -1)
	if _, err := w.db.exec(deleteAttempts, id); err != nil {
		return 0, err
	}
	if _, err := w.db.exec(deleteDelivery, id); err != nil {
		return 0, err
	}
	if chain != 0 {
		if err := w.arrange(chain); err != nil {
			return 0, err
		}
	}
	return event, nil
}

// purgeEvent deletes an event, if none of its deliveries is left. What it is known
// by stays.
func (w *work) purgeEvent(event int64) (gone bool, err error) {
	var remaining int64
	if _, err := one(w.db, selectRemaining, []any{event}, &remaining); err != nil || remaining > 0 {
		return false, err
	}
	if _, err := w.db.exec(keepPast, event); err != nil {
		return false, err
	}
	_, err = w.db.exec(deleteEvent, event)
	return true, err
}

// forget deletes what is known of an event that is gone, if that is still so.
func (w *work) forget(id, known, received int64) (int, error) {
	f, err := w.factsIf(id)
	if err != nil {
		return 0, err
	}
	if f == nil || f.known > known || f.received > received || !f.past && len(f.names) > 0 {
		return 0, nil // named again since it was found
	}
	if err := w.indexTo(id); err != nil {
		return 0, err
	}
	for i := 0; i < len(f.keys); i += 32 {
		if _, err := w.db.exec(deleteKnown, f.keys[i:i+32], id); err != nil {
			return 0, err
		}
	}
	query := deleteEvent
	if f.past {
		query = deletePast
	}
	_, err = w.db.exec(query, id)
	return 1, err
}

const (
	freePages = `PRAGMA freelist_count`
	// One step: it moves pages from the end of the file, and is cut off there.
	vacuum = `PRAGMA incremental_vacuum(256)`
)

// vacuum gives a few free pages back to the file system, if there are many.
func (s *Store) vacuum(ctx context.Context) error {
	var free int64
	if _, err := one(plain{ctx, s.read}, freePages, nil, &free); err != nil || free < vacuumKeep+vacuumPages {
		return err
	}
	return s.writer.do(ctx, func(db session) error {
		return db.query(vacuum, func([]driver.Value) error { return nil })
	})
}
