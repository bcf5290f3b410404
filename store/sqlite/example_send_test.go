package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// A row of one's own and the event that tells of it are one commit: of what is
// rolled back nothing is sent.
func ExampleStore_Transact() {
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
	out, err := webhook.NewDispatcher(st, webhook.DispatcherConfig{Endpoints: webhook.EndpointList{
		{ID: "ep_1", URL: "https://hooks.example.com/", Secrets: []webhook.Secret{{Value: signature.NewSecret()}}},
	}})
	if err != nil {
		log.Panic(err)
	}

	pay := func(invoice string, fails error) error {
		return st.Transact(ctx, func(ctx context.Context, tx *sql.Tx, w store.Tx) error {
			_, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS paid (invoice TEXT)")
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO paid VALUES (?)", invoice); err != nil {
				return err
			}
			_, err = out.SendIn(ctx, w, webhook.Event{ID: invoice + "-paid", Type: "invoice.paid", Body: []byte("{}")})
			return errors.Join(err, fails)
		})
	}
	fmt.Println(pay("7", nil))
	fmt.Println(pay("8", errors.New("the card was refused")))

	for d, err := range out.Queue().Find(ctx, store.Filter{}) {
		fmt.Println(d.Record.ID, "for", d.Destination, d.State, err)
	}
	// Output:
	// <nil>
	// the card was refused
	// 7-paid for ep_1 queued <nil>
}
