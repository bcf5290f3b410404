package sqlite_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

const queue = "inbox"

// file returns the path of a database that is not there yet.
func file(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "webhooks.db")
}

// open opens a store, and closes it at the end of the test.
func open(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	return openWith(t, path, sqlite.Config{})
}

func openWith(t testing.TB, path string, c sqlite.Config) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(context.Background(), path, c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	return st
}

// event is an add of a new event for destinations.
func event(id string, to ...string) store.Add {
	a := store.Add{
		Queue: queue, Identity: sha256.Sum256([]byte(id)), Known: time.Hour,
		Record: &store.Record{Source: "shop", ID: id, Type: "order.paid", Head: []byte("{}"), Body: []byte("body of " + id)},
	}
	_, _ = rand.Read(a.Nonce[:])
	for _, d := range to {
		a.To = append(a.To, store.Target{Destination: d})
	}
	return a
}

// add commits events.
func add(t testing.TB, st store.Store, adds ...store.Add) []store.Added {
	t.Helper()
	res, err := st.Commit(context.Background(), &store.Batch{Adds: adds})
	require.NoError(t, err)
	return res.Adds
}

// claim claims all that is due, with leases of a minute.
func claim(t testing.TB, st store.Store) []store.Delivery {
	t.Helper()
	ds, err := st.Claim(context.Background(), queue, store.Claim{Other: 1000, Max: 1000, Lease: time.Minute})
	require.NoError(t, err)
	return ds
}

// find returns the deliveries of an event.
func find(t testing.TB, st store.Store, eventID string) []store.Delivery {
	t.Helper()
	ds, _, err := st.Find(context.Background(), queue, store.Filter{EventID: eventID}, "", 0)
	require.NoError(t, err)
	return ds
}

// processed settles a delivery.
func processed(d store.Delivery) store.Settle {
	return store.Settle{
		Delivery: d.ID, Token: d.Token, To: store.Processed,
		Attempt: &store.Attempt{Start: time.Now(), Outcome: store.OutcomeProcessed},
	}
}
