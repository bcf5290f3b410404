package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// relay is a service that receives, does its work, and sends.
type relay struct {
	st    *sqlite.Store
	inbox *webhook.Inbox
	out   *webhook.Dispatcher

	trouble func(context.Context, webhook.Event) error // at the end of the work
}

// booking is the name of the handler, which is stored with each delivery.
const booking = "booking"

func open(ctx context.Context, file string, to webhook.Endpoint) (*relay, error) {
	st, err := sqlite.Open(ctx, file, sqlite.Config{})
	if err != nil {
		return nil, err
	}
	r := &relay{st: st, trouble: func(context.Context, webhook.Event) error { return nil }}
	if err := r.open(ctx, to); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return r, nil
}

func (r *relay) open(ctx context.Context, to webhook.Endpoint) (err error) {
	r.inbox, err = webhook.NewInbox(r.st, webhook.InboxConfig{Queue: webhook.QueueConfig{Telemetry: quiet}})
	if err != nil {
		return err
	}
	r.inbox.HandleWith(booking, r.book, webhook.HandlerConfig{
		Retry: webhook.RetryPolicy{Delays: []time.Duration{100 * time.Millisecond}}, // for one that watches
	})
	r.out, err = webhook.NewDispatcher(r.st, webhook.DispatcherConfig{
		Endpoints: webhook.EndpointList{to},
		Guard:     webhook.Guard{Development: true}, // http and loopback; a service leaves it out
		Queue:     webhook.QueueConfig{Telemetry: quiet},
	})
	if err != nil {
		return err
	}
	return r.st.Transact(ctx, func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
		_, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS bookings (event TEXT NOT NULL, amount INTEGER NOT NULL) STRICT`)
		return err
	})
}

// handler has the shop's route.
func (r *relay) handler(secret string) (http.Handler, error) {
	v, err := provider.StandardWebhooks(secret)
	if err != nil {
		return nil, err
	}
	v.Telemetry = quiet
	return webhook.Verify("shop", v)(r.inbox.Receive(booking)), nil
}

// payment is what the shop says, and what the relay says in turn.
type payment struct {
	Type string `json:"type"`
	Data struct {
		Event  string `json:"event,omitempty"` // of the shop
		Amount int    `json:"amount"`
	} `json:"data"`
}

// book books a payment and sends it on, in the transaction that completes the
// delivery: all of it or nothing. So the table needs no unique key, and the event
// that goes out no ID of its own.
func (r *relay) book(ctx context.Context, e webhook.Event) error {
	var p payment
	if err := e.Decode(&p); err != nil {
		return err // a dead letter: no retry would mend it
	}
	p.Type, p.Data.Event = "payment.booked", e.ID
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return r.st.Complete(ctx, func(ctx context.Context, tx *sql.Tx, w store.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO bookings VALUES (?, ?)`, e.ID, p.Data.Amount); err != nil {
			return err
		}
		if _, err := r.out.SendIn(ctx, w, webhook.Event{Type: p.Type, Subject: e.ID, Body: body}); err != nil {
			return err
		}
		return r.trouble(ctx, e)
	})
}

// bookings reads back what was booked.
func (r *relay) bookings(ctx context.Context) (list []string, err error) {
	err = r.st.Transact(ctx, func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT event, amount FROM bookings ORDER BY event`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var event string
			var amount int
			if err := rows.Scan(&event, &amount); err != nil {
				return err
			}
			list = append(list, fmt.Sprint(event, " ", amount))
		}
		return rows.Err()
	})
	return list, err
}
