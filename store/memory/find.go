package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"

	"github.com/surehook/webhook/store"
)

// pageSize is that of Find and Stats where a limit does not say.
const pageSize = 100

// Find returns a page. Its cursor is the seq of the last delivery of a page.
func (s *Store) Find(ctx context.Context, queue string, f store.Filter, after string, limit int) (page []store.Delivery, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return nil, "", err
	}
	var last uint64
	if after != "" {
		if last, err = strconv.ParseUint(after, 36, 64); err != nil {
			return nil, "", fmt.Errorf("webhook: find: cursor %q: %w", after, store.ErrBadData)
		}
	}
	if limit < 1 {
		limit = pageSize
	}
	if f.Nothing() {
		return nil, "", nil
	}

	among := s.among(queue, &f)
	from := sort.Search(len(among), func(i int) bool { return among[i].seq > last })
	for _, d := range among[from:] {
		if d.gone || !matches(d, &f) {
			continue
		}
		if len(page) == limit {
			return page, strconv.FormatUint(last, 36), nil
		}
		page = append(page, d.out(len(f.IDs) > 0))
		last = d.seq
	}
	return page, "", nil
}

// among returns the deliveries that f may match, by seq.
func (s *Store) among(queue string, f *store.Filter) []*delivery {
	q := s.queue(queue)
	if len(f.IDs) == 0 {
		return q.all
	}
	var among []*delivery
	for _, id := range f.IDs {
		if d := s.deliveries[id]; d != nil && d.dest.queue == q {
			among = append(among, d)
		}
	}
	slices.SortFunc(among, func(a, b *delivery) int { return cmp.Compare(a.seq, b.seq) })
	return slices.Compact(among)
}

// matches returns whether d has all that f asks for, ids aside.
func matches(d *delivery, f *store.Filter) bool {
	r := d.event.record
	for _, c := range [...]struct{ want, have string }{
		{f.Destination, d.Destination},
		{f.Source, r.Source},
		{f.Tenant, r.Tenant},
		{f.Type, r.Type},
		{f.Subject, r.Subject},
		{f.EventID, r.ID},
	} {
		if c.want != "" && c.want != c.have {
			return false
		}
	}
	return (len(f.States) == 0 || slices.Contains(f.States, d.State)) &&
		(f.Since.IsZero() || !d.Received.Before(f.Since)) &&
		(f.Before.IsZero() || d.Received.Before(f.Before))
}
