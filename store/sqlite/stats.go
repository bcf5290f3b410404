package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"

	"github.com/surehook/webhook/store"
)

// heldMax is how many holds a row of Stats shows.
const heldMax = 100

const (
	// Counters, kept by the commits that change them. The oldest is a step into
	// webhook_delivery_queued, the first blocked one into webhook_chain_blocked.
	selectStats = `
SELECT d.id, d.name, d.queued, d.processing, d.dead, d.blocked, d.failing,
       (SELECT min(blocked) FROM webhook_chain c WHERE c.destination = d.id AND c.blocked IS NOT NULL),
       (SELECT e.received FROM webhook_event e WHERE e.id =
           (SELECT w.event FROM webhook_delivery w WHERE w.destination = d.id AND w.state = 'queued' ORDER BY w.id LIMIT 1))
FROM webhook_destination d WHERE d.queue = ? AND d.name > ? ORDER BY d.name LIMIT ?`

	selectQueueStats = `
SELECT coalesce(sum(d.queued), 0), coalesce(sum(d.processing), 0), coalesce(sum(d.dead), 0), coalesce(sum(d.blocked), 0), min(d.failing),
       min((SELECT min(blocked) FROM webhook_chain c WHERE c.destination = d.id AND c.blocked IS NOT NULL)),
       (SELECT e.received FROM webhook_event e WHERE e.id =
           (SELECT w.event FROM webhook_delivery w WHERE w.id =
               (SELECT min((SELECT w.id FROM webhook_delivery w WHERE w.destination = t.id AND w.state = 'queued' ORDER BY w.id LIMIT 1))
                FROM webhook_destination t WHERE t.queue = ? AND t.queued > 0)))
FROM webhook_destination d WHERE d.queue = ?`

	selectHolds = `
SELECT d.name, h.key, h.kind, h.until, h.reason
FROM webhook_hold h JOIN webhook_destination d ON d.id = h.destination
WHERE h.destination = ? AND h.until > ? ORDER BY h.key, h.kind LIMIT ?`
	selectQueueHolds = `
SELECT d.name, h.key, h.kind, h.until, h.reason
FROM webhook_hold h JOIN webhook_destination d ON d.id = h.destination
WHERE d.queue = ? AND h.until > ? ORDER BY d.name, h.key, h.kind LIMIT ?`
)

// Stats returns a page of figures. Its cursor is "=" and the name of the page's
// last destination, which is empty after the row of the whole queue.
func (s *Store) Stats(ctx context.Context, queue, after string, limit int) ([]store.Stats, string, error) {
	if err := s.usable(ctx); err != nil {
		return nil, "", err
	}
	last, ok := strings.CutPrefix(after, "=")
	if after != "" && !ok {
		return nil, "", fmt.Errorf("webhook: stats: cursor %q: %w", after, store.ErrBadData)
	}
	if limit < 1 {
		limit = pageOf
	}
	page, next, err := s.stats(plain{ctx, s.read}, queue, last, limit, after == "")
	if err != nil {
		return nil, "", s.failed("stats", err)
	}
	return page, next, nil
}

func (s *Store) stats(db session, queue, last string, limit int, first bool) (page []store.Stats, next string, err error) {
	var q int64
	if _, err := one(db, selectQueue, []any{[]byte(queue)}, &q); err != nil {
		return nil, "", err
	}
	if first {
		var whole store.Stats
		var failing, blocked, oldest driver.Value
		if _, err := one(db, selectQueueStats, []any{q, q}, &whole.Queued, &whole.Processing, &whole.Dead, &whole.BlockedKeys,
			&failing, &blocked, &oldest); err != nil {
			return nil, "", err
		}
		whole.FailingSince, whole.BlockedSince, whole.Oldest = instantOr(failing), instantOr(blocked), instantOr(oldest)
		if whole.Held, err = s.holds(db, queue, selectQueueHolds, q); err != nil {
			return nil, "", err
		}
		page = append(page, whole)
	}
	var ids []int64
	var rows []store.Stats
	err = db.query(selectStats, func(v []driver.Value) error {
		var st store.Stats
		var id int64
		var failing, blocked, oldest driver.Value
		err := scan(v, &id, &st.Destination, &st.Queued, &st.Processing, &st.Dead, &st.BlockedKeys, &failing, &blocked, &oldest)
		st.FailingSince, st.BlockedSince, st.Oldest = instantOr(failing), instantOr(blocked), instantOr(oldest)
		ids, rows = append(ids, id), append(rows, st)
		return err
	}, q, []byte(last), int64(limit+1))
	if err != nil {
		return nil, "", err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = "=" + rows[limit-1].Destination
	}
	for i := range rows {
		if rows[i].Held, err = s.holds(db, queue, selectHolds, ids[i]); err != nil {
			return nil, "", err
		}
	}
	return append(page, rows...), next, nil
}

// holds reads those that stand.
func (s *Store) holds(db session, queue, query string, of int64) (held []store.Hold, err error) {
	now := s.now()
	err = db.query(query, func(v []driver.Value) error {
		h := store.Hold{Queue: queue}
		var until int64
		err := scan(v, &h.Destination, &h.OrderKey, (*string)(&h.Kind), &until, &h.Reason)
		if until != never {
			h.For = instant(until).Sub(instant(now))
		}
		held = append(held, h)
		return err
	}, of, now, int64(heldMax))
	return held, err
}
