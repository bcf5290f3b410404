package memory

import (
	"context"
	"sort"
	"time"

	"github.com/surehook/webhook/store"
)

// heldMax is how many holds a row of Stats shows.
const heldMax = 100

// Stats returns a page of figures. Its cursor is the name of the page's last
// destination.
func (s *Store) Stats(ctx context.Context, queue, after string, limit int) (page []store.Stats, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return nil, "", err
	}
	if limit < 1 {
		limit = pageSize
	}
	q, now := s.queue(queue), s.now()
	if after == "" {
		page = append(page, q.stats(now))
	}
	dests := q.byName()
	from := sort.Search(len(dests), func(i int) bool { return dests[i].name > after })
	to := min(from+limit, len(dests))
	for _, d := range dests[from:to] {
		page = append(page, d.stats(now))
		next = d.name
	}
	if to == len(dests) {
		next = ""
	}
	return page, next, nil
}

func (q *queue) stats(now time.Time) store.Stats {
	st := q.figures.stats()
	if d := q.failing.first(); d != nil {
		st.FailingSince = d.failingSince
	}
	for _, d := range q.held {
		if len(st.Held) >= heldMax {
			break
		}
		st.Held = d.standing(st.Held, heldMax, now)
	}
	return st
}

func (d *destination) stats(now time.Time) store.Stats {
	st := d.figures.stats()
	st.Destination = d.name
	st.FailingSince = d.failingSince
	st.Held = d.standing(nil, heldMax, now)
	return st
}

func (f *figures) stats() store.Stats {
	st := store.Stats{
		Queued:      f.queued.len(),
		Processing:  f.processing,
		Dead:        f.died,
		BlockedKeys: f.blocked.len(),
	}
	if d := f.queued.first(); d != nil {
		st.Oldest = d.Received
	}
	if k := f.blocked.first(); k != nil {
		st.BlockedSince = k.blockedSince
	}
	return st
}
