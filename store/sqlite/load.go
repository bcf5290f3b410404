package sqlite

import (
	"database/sql/driver"
	"time"

	"github.com/surehook/webhook/store"
)

const (
	selectDeliveries = `
SELECT d.id, d.event, t.name, d.order_key, d.state, d.reason, d.due, d.until, d.finished,
       d.token, d.spent, d.deferred, d.lost, d.started IS NOT NULL, d.started, d.took, d.success, t.failing
FROM webhook_delivery d JOIN webhook_destination t ON t.id = d.destination
WHERE d.id IN (SELECT value FROM json_each(?))`

	selectEvents = `
SELECT id, received, tenant, source, event, type, subject, time, trace, head, body
FROM webhook_event WHERE id IN (SELECT value FROM json_each(?))`
	selectEventsLight = `
SELECT id, received, tenant, source, event, type, subject, time, trace, NULL, NULL
FROM webhook_event WHERE id IN (SELECT value FROM json_each(?))`
)

// detail is how much of a delivery is read.
type detail int

const (
	light        detail = iota // for lists
	withBody                   // and the head: for an attempt
	withAttempts               // too: for a person
)

// load reads deliveries in the order of rows; those that are gone are left out.
func (s *Store) load(db session, queue string, rows []int64, detail detail) ([]store.Delivery, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	type loaded struct {
		store.Delivery
		event int64
	}
	byRow := make(map[int64]*loaded, len(rows))
	events := make([]int64, 0, len(rows))
	owns := map[int64]ownAttempt{}
	err := db.query(selectDeliveries, func(v []driver.Value) error {
		d := &loaded{}
		var row, token int64
		var due, until, finished, failing driver.Value
		var own ownAttempt
		err := scan(v, &row, &d.event, &d.Destination, &d.OrderKey, (*string)(&d.State), &d.Reason, &due, &until, &finished,
			&token, &d.Spent, &d.Deferred, &d.Lost, &own.there, &own.started, &own.took, &own.rest, &failing)
		d.ID, d.Queue, d.Token = s.deliveryID(row), queue, uint64(token)
		d.Due, d.Until, d.FailingSince = instantOr(due), instantOr(until), instantOr(failing)
		if finished != nil {
			d.Due = instantOr(finished)
		}
		byRow[row] = d
		owns[row] = own
		events = append(events, d.event)
		return err
	}, list(rows))
	if err != nil {
		return nil, err
	}
	records, err := loadRecords(db, events, detail >= withBody)
	if err != nil {
		return nil, err
	}
	ds := make([]store.Delivery, 0, len(rows))
	for _, row := range rows {
		d := byRow[row]
		if d == nil {
			continue
		}
		r := records[d.event]
		if r == nil {
			return nil, missing("event", d.event)
		}
		d.Record, d.Received = &r.Record, r.received
		if detail == withAttempts {
			if d.Attempts, err = attempts(db, row, d.Token, owns[row]); err != nil {
				return nil, err
			}
		}
		ds = append(ds, d.Delivery)
	}
	return ds, nil
}

// record is an event as it is read.
type record struct {
	store.Record
	received time.Time
}

// loadRecords reads events by their ids, each once. Deliveries of one share it.
func loadRecords(db session, events []int64, body bool) (map[int64]*record, error) {
	query := selectEventsLight
	if body {
		query = selectEvents
	}
	records := make(map[int64]*record, len(events))
	err := db.query(query, func(v []driver.Value) error {
		r := &record{}
		var id int64
		var received, at driver.Value
		err := scan(v, &id, &received, &r.Tenant, &r.Source, &r.ID, &r.Type, &r.Subject, &at, &r.Trace, &r.Head, &r.Body)
		r.received, r.Time = instantOr(received), instantOr(at)
		records[id] = r
		return err
	}, list(events))
	return records, err
}
