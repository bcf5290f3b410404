// Inbound-stripe is the smallest real service: it receives Stripe's webhooks,
// stores them in an SQLite file, answers, and books each paid invoice exactly once,
// whatever crashes.
//
//	STRIPE_WEBHOOK_SECRET=whsec_… go run ./examples/inbound-stripe
//
// The secret is shown once by Stripe's dashboard, under the endpoint, and by
//
//	stripe listen --forward-to localhost:8080/webhooks/stripe
//
// No account is needed to see it work: its test sends signed requests to this very
// program, and kills it.
package main

import (
	"context"
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

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store/sqlite"
)

func main() {
	address := flag.String("address", "localhost:8080", "to listen on")
	file := flag.String("file", "webhooks.db", "SQLite `file` of events and payments")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *address, *file)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "inbound-stripe:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address, file string) error {
	stripe, err := provider.Stripe(os.Getenv("STRIPE_WEBHOOK_SECRET"))
	if err != nil {
		return fmt.Errorf("set STRIPE_WEBHOOK_SECRET to the endpoint's signing secret, whsec_…: %w", err)
	}

	st, err := sqlite.Open(ctx, file, sqlite.Config{})
	if err != nil {
		return err
	}
	defer st.Close() // the last; a second time does nothing
	if err := createPayments(ctx, st); err != nil {
		return err
	}

	inbox, err := webhook.NewInbox(st, webhook.InboxConfig{})
	if err != nil {
		return err
	}
	inbox.Handle("billing", bill(st))

	mux := http.NewServeMux()
	mux.Handle("/webhooks/stripe", webhook.Verify("stripe", stripe)(inbox.Receive("billing")))
	mux.HandleFunc("/ready", func(w http.ResponseWriter, r *http.Request) {
		if err := inbox.Health(r.Context()); err != nil {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		}
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	if err := serve(ctx, srv, address, inbox); err != nil {
		return err
	}
	return st.Close()
}

// serve answers requests and handles events until ctx ends, or until one of the two
// cannot go on. It ends them in this order: no new requests, no new attempts.
func serve(ctx context.Context, srv *http.Server, address string, inbox *webhook.Inbox) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	running, end := context.WithCancel(context.Background())
	defer end()
	drained, served := make(chan error, 1), make(chan error, 1)
	go func() { drained <- webhook.Run(running, inbox) }()
	go func() { served <- srv.Serve(l) }()
	slog.Info("listening", "url", "http://"+l.Addr().String()+"/webhooks/stripe")

	select {
	case <-ctx.Done(): // Ctrl-C, or SIGTERM
	case err = <-served:
	case err = <-drained: // another process has the file
		drained <- nil
	}
	stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = errors.Join(err, srv.Shutdown(stopping))
	end()
	return errors.Join(err, <-drained)
}
