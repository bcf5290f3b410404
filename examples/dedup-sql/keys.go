package main

import (
	"bytes"
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/surehook/webhook/store"
)

// put takes a key that is free, has ended, or is the owner's own, and changes no row
// otherwise: the database's lock on the row decides who is first.
const put = `
INSERT INTO dedup_key (digest, owner, known, until) VALUES (?, ?, ?, ?)
ON CONFLICT (digest) DO UPDATE SET owner = excluded.owner, known = excluded.known, until = excluded.until
WHERE dedup_key.until <= ? OR dedup_key.owner = excluded.owner AND (excluded.known OR NOT dedup_key.known)`

// forget deletes what has ended, more than was taken: the table stays as small as it can.
const forget = `DELETE FROM dedup_key WHERE digest IN (SELECT digest FROM dedup_key WHERE until <= ? LIMIT ?)`

// Keys is a store.Keys in a table of one's own.
type Keys struct {
	db  *sql.DB
	now func() time.Time // several machines take the database's
}

// Reserve takes keys for owner, all that are not known or none.
func (k *Keys) Reserve(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) (known []bool, err error) {
	known = make([]bool, len(keys))
	err = k.each(ctx, keys, func(tx *sql.Tx, i int, now int64) error {
		res, err := tx.ExecContext(ctx, put, keys[i][:], owner[:], false, now+lease.Microseconds(), now)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 1 {
			return err
		}
		err = tx.QueryRowContext(ctx, `SELECT known FROM dedup_key WHERE digest = ?`, keys[i][:]).Scan(&known[i])
		if err == nil && !known[i] {
			err = store.ErrReserved // rolls back what was taken before
		}
		return err
	})
	return known, err
}

// Confirm makes keys known, but for those that are another's.
func (k *Keys) Confirm(ctx context.Context, owner [16]byte, keys [][32]byte, window time.Duration) error {
	var kept int64
	err := k.each(ctx, keys, func(tx *sql.Tx, i int, now int64) error {
		res, err := tx.ExecContext(ctx, put, keys[i][:], owner[:], true, now+window.Microseconds(), now)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		kept += n
		return err
	})
	if err == nil && kept < int64(len(keys)) {
		err = store.ErrLeaseLost
	}
	return err
}

// Release frees those of keys that owner has reserved.
func (k *Keys) Release(ctx context.Context, owner [16]byte, keys [][32]byte) error {
	return k.each(ctx, keys, func(tx *sql.Tx, i int, _ int64) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM dedup_key WHERE digest = ? AND owner = ? AND NOT known`, keys[i][:], owner[:])
		return err
	})
}

// each calls f for every key, in an order that is everybody's, so that no two wait for one another.
func (k *Keys) each(ctx context.Context, keys [][32]byte, f func(tx *sql.Tx, i int, now int64) error) error {
	tx, err := k.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	now := k.now().UnixMicro()
	byDigest := func(a, b int) int { return bytes.Compare(keys[a][:], keys[b][:]) }
	for _, i := range slices.SortedFunc(maps.Keys(maps.Collect(slices.All(keys))), byDigest) {
		if err := f(tx, i, now); err != nil {
			return err
		}
	}
	if _, err = tx.ExecContext(ctx, forget, now, 2*len(keys)); err != nil {
		return err
	}
	return tx.Commit()
}
