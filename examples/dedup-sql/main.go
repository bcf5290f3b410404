// Dedup-sql is a service whose handler does its work before it answers, behind
// Deduplicate, with the keys in a table of the program's own database: keys.go has
// that store, a page, and keys.sql its table. Nothing else of the library is stored.
//
//	WEBHOOK_SECRET=whsec_ZGVkdXAtc3FsLXNlY3JldC1vZi1hY21lLWluYw== go run ./examples/dedup-sql
//
// Its tests run package storetest against the store, and send the service copies of
// an event at once.
package main

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "modernc.org/sqlite"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

func main() {
	address := flag.String("address", "localhost:8080", "to listen on")
	file := flag.String("file", "shop.db", "SQLite `file` of the shop")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *address, *file)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dedup-sql:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address, file string) error {
	acme, err := provider.StandardWebhooks(os.Getenv("WEBHOOK_SECRET"))
	if err != nil {
		return fmt.Errorf("set WEBHOOK_SECRET: %w", err)
	}
	db, err := open(ctx, file)
	if err != nil {
		return err
	}
	defer db.Close()
	srv := &http.Server{Handler: routes(acme, db), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	slog.Info("listening", "url", "http://"+l.Addr().String()+"/webhooks/acme")
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case <-ctx.Done(): // Ctrl-C, or SIGTERM
	case err = <-served:
	}
	stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(err, srv.Shutdown(stopping))
}

//go:embed keys.sql
var keysTable string

// open opens the shop's database. A commit is durable before it returns, and one
// connection is a fair queue for SQLite's one writer.
func open(ctx context.Context, file string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(ctx, keysTable+`
CREATE TABLE IF NOT EXISTS shipment (ordered TEXT NOT NULL)`)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func routes(acme webhook.Verifier, db *sql.DB) http.Handler {
	dedup := webhook.Deduplicate(&Keys{db: db, now: time.Now}, webhook.DedupConfig{Telemetry: acme.Telemetry})
	mux := http.NewServeMux()
	mux.Handle("/webhooks/acme", webhook.Chain(webhook.Verify("acme", acme), dedup)(ship(db)))
	return mux
}

// ship is the handler that was there before: it takes its time, and answers when it
// is done.
func ship(db *sql.DB) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, e := range webhook.Events(r.Context()) {
			if _, err := db.ExecContext(r.Context(), `INSERT INTO shipment (ordered) VALUES (?)`, e.ID); err != nil {
				http.Error(w, "not shipped", http.StatusInternalServerError) // the sender comes again
				return
			}
		}
	})
}
