package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

type order struct {
	ID       string `json:"id"`
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
}

var errSoldOut = errors.New("sold out")

// place takes an order: its row, its event and what it takes from the stock are one
// commit. The subscriber is called afterwards, by Run; nothing waits for it.
func (s *shop) place(ctx context.Context, o order) error {
	body, err := json.Marshal(struct {
		Type string `json:"type"`
		Data order  `json:"data"`
	}{"order.placed", o})
	if err != nil {
		return err
	}
	return s.st.Transact(ctx, func(ctx context.Context, tx *sql.Tx, w store.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO orders (id, item, quantity) VALUES (?, ?, ?)`, o.ID, o.Item, o.Quantity)
		if err != nil {
			return err
		}
		_, err = s.out.SendIn(ctx, w, webhook.Event{
			ID: o.ID + "-placed", Type: "order.placed", Subject: o.ID, Body: body,
		})
		if err != nil {
			return err
		}
		// The event is handed over already; what follows may still fail.
		res, err := tx.ExecContext(ctx, `UPDATE stock SET pieces = pieces - ? WHERE item = ? AND pieces >= ?`, o.Quantity, o.Item, o.Quantity)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err == nil && n == 0 {
			err = fmt.Errorf("%s: %w", o.Item, errSoldOut)
		}
		return err // an error: the order, the event and the stock are as before
	})
}

// createTables makes the service's own tables, in the file that has the events:
// only there can one transaction hold both.
func (s *shop) createTables(ctx context.Context) error {
	return s.st.Transact(ctx, func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
		_, err := tx.ExecContext(ctx, `
			CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, item TEXT NOT NULL, quantity INTEGER NOT NULL) STRICT;
			CREATE TABLE IF NOT EXISTS stock (item TEXT PRIMARY KEY, pieces INTEGER NOT NULL) STRICT;
			INSERT INTO stock VALUES ('lamp', 5) ON CONFLICT DO NOTHING`)
		return err
	})
}

// orders reads back which there are.
func (s *shop) orders(ctx context.Context) (ids []string, err error) {
	err = s.st.Transact(ctx, func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT id FROM orders ORDER BY id`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return rows.Err()
	})
	return ids, err
}
