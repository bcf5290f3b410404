package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// An event is added, a row of one's own is written and the event's delivery is
// completed, all or nothing.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "webhook")
	if err != nil {
		log.Panic(err)
	}
	defer os.RemoveAll(dir)

	st, err := sqlite.Open(ctx, filepath.Join(dir, "webhooks.db"), sqlite.Config{})
	if err != nil {
		log.Panic(err)
	}
	defer st.Close()

	_, err = st.Commit(ctx, &store.Batch{Adds: []store.Add{{
		Queue: "inbox", Identity: [32]byte{1}, Nonce: [16]byte{1},
		Record: &store.Record{Source: "shop", ID: "evt_1", Type: "order.paid", Body: []byte(`{"order":7}`)},
		To:     []store.Target{{Destination: "billing"}},
	}}})
	if err != nil {
		log.Panic(err)
	}

	ds, err := st.Claim(ctx, "inbox", store.Claim{Other: 8, Lease: 30 * time.Second})
	if err != nil {
		log.Panic(err)
	}
	for _, d := range ds {
		handling := store.WithLeased(ctx, &d) // the engine does this
		err = st.Complete(handling, func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
			if _, err := tx.ExecContext(ctx, "CREATE TABLE paid (event TEXT)"); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO paid VALUES (?)", d.Record.ID)
			return err
		})
		if err != nil {
			log.Panic(err)
		}
	}

	page, _, err := st.Find(ctx, "inbox", store.Filter{}, "", 10)
	if err != nil {
		log.Panic(err)
	}
	for _, d := range page {
		fmt.Println(d.Record.ID, d.Destination, d.State)
	}
	// Output: evt_1 billing processed
}
