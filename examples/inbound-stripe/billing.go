package main

import (
	"context"
	"database/sql"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// createPayments makes the service's own table, in the file that has the events:
// only there can one transaction hold both.
func createPayments(ctx context.Context, st *sqlite.Store) error {
	return st.Transact(ctx, func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
		_, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS payments (
			event    TEXT NOT NULL,
			customer TEXT NOT NULL,
			amount   INTEGER NOT NULL, -- in the currency's smallest unit
			currency TEXT NOT NULL
		) STRICT`)
		return err
	})
}

// bill books a paid invoice in the transaction that completes the delivery: either
// both are committed or neither. So the table needs no unique key on the event.
func bill(st *sqlite.Store) webhook.Handler {
	return func(ctx context.Context, e webhook.Event) error {
		if e.Type != "invoice.paid" {
			return webhook.Discard("not an invoice that was paid")
		}
		var event struct {
			Data struct {
				Object struct {
					Customer   string `json:"customer"`
					AmountPaid int64  `json:"amount_paid"`
					Currency   string `json:"currency"`
				} `json:"object"`
			} `json:"data"`
		}
		if err := e.Decode(&event); err != nil {
			return err // a dead letter: no retry would mend it
		}
		invoice := event.Data.Object
		return st.Complete(ctx, func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO payments VALUES (?, ?, ?, ?)`,
				e.ID, invoice.Customer, invoice.AmountPaid, invoice.Currency)
			return err
		})
	}
}
