package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/surehook/webhook/store"
)

// pageOf is the page of Find and Stats, where a limit does not say.
const pageOf = 100

// scanRows is how many rows Find looks at in one query: a long one would keep the
// log from starting over.
const scanRows = 20_000

const (
	selectLastDelivery = `SELECT coalesce(max(id), 0) FROM webhook_delivery`

	// What a filter adds is in filterSQL. Without dead letters alone it walks the
	// rows by their ids; with those it walks webhook_delivery_dead.
	findDeliveries = `
SELECT d.id FROM webhook_delivery d
JOIN webhook_destination t ON t.id = d.destination
JOIN webhook_event e ON e.id = d.event
WHERE d.queue = ? AND d.id > ? AND d.id <= ?`
)

// Find returns a page. Its cursor is the row of the last delivery of a page.
func (s *Store) Find(ctx context.Context, queue string, f store.Filter, after string, limit int) ([]store.Delivery, string, error) {
	if err := s.usable(ctx); err != nil {
		return nil, "", err
	}
	var last int64
	if after != "" {
		row, err := strconv.ParseUint(after, 36, 63)
		if err != nil {
			return nil, "", fmt.Errorf("webhook: find: cursor %q: %w", after, store.ErrBadData)
		}
		last = int64(row)
	}
	if limit < 1 {
		limit = pageOf
	}
	if f.Nothing() {
		return nil, "", nil
	}
	page, next, err := s.find(ctx, queue, &f, last, limit)
	if err != nil {
		return nil, "", s.failed("find", err)
	}
	return page, next, nil
}

func (s *Store) find(ctx context.Context, queue string, f *store.Filter, last int64, limit int) ([]store.Delivery, string, error) {
	reader := plain{ctx, s.read}
	var q, end int64
	found, err := one(reader, selectQueue, []any{[]byte(queue)}, &q)
	if err != nil || !found {
		return nil, "", err
	}
	if _, err := one(reader, selectLastDelivery, nil, &end); err != nil {
		return nil, "", err
	}
	span := int64(scanRows)
	if len(f.IDs) > 0 || slices.Equal(f.States, []store.State{store.Dead}) {
		span = end // what is walked is what is asked for
	}
	detail := light
	if len(f.IDs) > 0 {
		detail = withAttempts
	}
	sql, args := s.filterSQL(f)
	var page []store.Delivery
	for last < end {
		to := min(last+span, end)
		if to < last {
			to = end // last was made up
		}
		// One more, to know whether there is a next page.
		want := int64(limit - len(page) + 1)
		ds, scanned, err := s.findBetween(ctx, queue, sql, append([]any{q, last, to}, append(slices.Clone(args), want)...), detail)
		if err != nil {
			return nil, "", err
		}
		if more := len(page) + len(ds) - limit; more > 0 {
			page = append(page, ds[:len(ds)-more]...)
			return page, strconv.FormatInt(s.row(page[len(page)-1].ID), 36), nil
		}
		page = append(page, ds...)
		if last = to; scanned == want {
			last = s.row(ds[len(ds)-1].ID)
		}
	}
	return page, "", nil
}

// findBetween reads the rows that a query finds, as of one moment.
func (s *Store) findBetween(ctx context.Context, queue, query string, args []any, detail detail) (ds []store.Delivery, found int64, err error) {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = tx.Rollback() }() // it only read
	db := plain{ctx, tx}
	ids, err := integers(db, query, args...)
	if err != nil {
		return nil, 0, err
	}
	ds, err = s.load(db, queue, ids, detail)
	return ds, int64(len(ids)), err
}

// filterSQL returns the query of a filter, and the arguments between the first
// three and the limit.
func (s *Store) filterSQL(f *store.Filter) (string, []any) {
	var b strings.Builder
	b.WriteString(findDeliveries)
	var args []any
	and := func(condition string, values ...any) {
		b.WriteString(" AND " + condition)
		args = append(args, values...)
	}
	if len(f.IDs) > 0 {
		rows := make([]int64, len(f.IDs))
		for i, id := range f.IDs {
			rows[i] = s.row(id)
		}
		and("d.id IN (SELECT value FROM json_each(?))", list(rows))
	}
	for _, c := range []struct{ column, want string }{
		{"t.name", f.Destination},
		{"e.tenant", f.Tenant},
		{"e.source", f.Source},
		{"e.type", f.Type},
		{"e.subject", f.Subject},
		{"e.event", f.EventID},
	} {
		if c.want != "" {
			and(c.column+" = ?", []byte(c.want))
		}
	}
	if len(f.States) == 1 && f.States[0] == store.Dead {
		and("d.state = 'dead'") // a literal, for the partial index
	} else if len(f.States) > 0 {
		marks := make([]string, len(f.States))
		values := make([]any, len(f.States))
		for i, state := range f.States {
			marks[i], values[i] = "?", string(state)
		}
		and("d.state IN ("+strings.Join(marks, ", ")+")", values...)
	}
	if !f.Since.IsZero() {
		// Instants are kept to the microsecond: one that is finer is rounded up.
		and("e.received >= ?", f.Since.Add(999).UnixMicro())
	}
	if !f.Before.IsZero() {
		and("e.received < ?", f.Before.Add(999).UnixMicro())
	}
	b.WriteString(" ORDER BY d.id LIMIT ?")
	return b.String(), args
}

// list writes numbers as a JSON array, which one statement takes however many
// they are.
func list(n []int64) string {
	b := make([]byte, 0, 2+8*len(n))
	b = append(b, '[')
	for i, x := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, x, 10)
	}
	return string(append(b, ']'))
}
