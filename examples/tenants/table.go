package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/surehook/webhook"
)

// overlap is how long the earlier secrets of a tenant stay valid when it gets a new
// one: the time that the tenant has to tell its sender.
const overlap = 24 * time.Hour

// openTable opens the service's own database. The driver is the one that
// store/sqlite has registered.
func openTable(ctx context.Context, file string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(2000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS tenant_secrets (
		tenant TEXT NOT NULL,
		id     TEXT NOT NULL, -- for logs, and to see which one is still used
		value  TEXT NOT NULL, -- a service encrypts it
		until  INTEGER,       -- Unix seconds; NULL: until it is deleted
		PRIMARY KEY (tenant, id)
	) STRICT`)
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	return db, nil
}

// loadSecrets reads the table. Secret.Tenant makes the tenant part of what an event
// is: the same id of two tenants are two events.
func loadSecrets(ctx context.Context, db *sql.DB) (map[string][]webhook.Secret, error) {
	rows, err := db.QueryContext(ctx, `SELECT tenant, id, value, until FROM tenant_secrets ORDER BY until IS NOT NULL, id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	table := map[string][]webhook.Secret{}
	for rows.Next() {
		var s webhook.Secret
		var until sql.NullInt64
		if err := rows.Scan(&s.Tenant, &s.ID, &s.Value, &until); err != nil {
			return nil, err
		}
		if until.Valid {
			s.Until = time.Unix(until.Int64, 0)
		}
		table[s.Tenant] = append(table[s.Tenant], s)
	}
	return table, rows.Err()
}

// rotate gives the tenant a new secret and returns it. The earlier ones stay valid
// for a while, so that the sender may change over at any time in it.
func rotate(ctx context.Context, db *sql.DB, tenant string, now time.Time) (secret string, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer tx.Rollback() //nolint:errcheck // void after the commit
	_, err = tx.ExecContext(ctx, `DELETE FROM tenant_secrets WHERE tenant = ? AND until <= ?`, tenant, now.Unix())
	if err != nil {
		return "", err
	}
	_, err = tx.ExecContext(ctx, `UPDATE tenant_secrets SET until = ? WHERE tenant = ? AND until IS NULL`,
		now.Add(overlap).Unix(), tenant)
	if err != nil {
		return "", err
	}
	key := make([]byte, 32)
	rand.Read(key)
	secret = "whsec_" + base64.StdEncoding.EncodeToString(key)
	_, err = tx.ExecContext(ctx, `INSERT INTO tenant_secrets (tenant, id, value) VALUES (?, ?, ?)`,
		tenant, now.UTC().Format("2006-01-02T15:04:05.000"), secret)
	if err != nil {
		return "", err
	}
	return secret, tx.Commit()
}
