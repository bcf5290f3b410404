package sqlite_test

import (
	"context"
	"database/sql"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// leased is an add whose delivery is born leased, unless its destination is held.
func leased(id, to string) store.Add {
	a := event(id, to)
	a.To[0].Lease = time.Minute
	return a
}

// What a store remembers of a destination is forgotten when anybody else changes it.
func TestRows_ChangedByOthers(t *testing.T) {
	hold := &store.Batch{Holds: []store.Hold{{Queue: queue, Destination: "billing", Kind: store.Paused}}}
	for _, test := range []struct {
		name string
		hold func(t *testing.T, st *sqlite.Store, path string)
	}{
		{"the store itself", func(t *testing.T, st *sqlite.Store, _ string) {
			_, err := st.Commit(t.Context(), hold)
			require.NoError(t, err)
		}},
		{"Transact", func(t *testing.T, st *sqlite.Store, _ string) {
			require.NoError(t, st.Transact(t.Context(), func(ctx context.Context, _ *sql.Tx, w store.Tx) error {
				_, err := w.Write(ctx, hold)
				return err
			}))
		}},
		{"another store", func(t *testing.T, _ *sqlite.Store, path string) {
			_, err := open(t, path).Commit(t.Context(), hold)
			require.NoError(t, err)
		}},
		{"a host's transaction", func(t *testing.T, st *sqlite.Store, path string) {
			tx, err := foreign(t, path).BeginTx(t.Context(), nil)
			require.NoError(t, err)
			_, err = st.Tx(tx).Write(t.Context(), hold)
			require.NoError(t, err)
			require.NoError(t, tx.Commit())
		}},
		{"a person at a prompt", func(t *testing.T, _ *sqlite.Store, path string) {
			_, err := foreign(t, path).ExecContext(t.Context(), `UPDATE webhook_destination SET held = ?`, int64(math.MaxInt64))
			require.NoError(t, err)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := file(t)
			st := open(t, path)
			for _, id := range []string{"evt_1", "evt_2"} {
				require.Equal(t, store.Processing, add(t, st, leased(id, "billing"))[0].Deliveries[0].State)
			}
			test.hold(t, st, path)
			require.Equal(t, store.Queued, add(t, st, leased("evt_3", "billing"))[0].Deliveries[0].State)
			require.Empty(t, claim(t, st))
		})
	}
}

// A destination that was made in a transaction that failed is made anew in the next.
func TestRows_RolledBack(t *testing.T) {
	st := open(t, file(t))
	add(t, st, event("evt_1", "audit"))
	other := event("evt_1", "audit")
	other.Digest[0], other.RefuseChanged = 1, true

	ours := &store.Batch{Adds: []store.Add{event("evt_2", "billing")}}
	require.ErrorIs(t, st.WriteTogether(t.Context(), ours, &store.Batch{Adds: []store.Add{other}}), store.ErrChanged)
	_, err := st.Commit(t.Context(), ours)
	require.NoError(t, err)

	require.Len(t, find(t, st, "evt_2"), 1)
	page, _, err := st.Stats(t.Context(), queue, "", 0)
	require.NoError(t, err)
	require.Len(t, page, 3, "the queue's, and each destination's")
	require.Equal(t, 1, page[1].Queued, "audit")
	require.Equal(t, 1, page[2].Queued, "billing")
}
