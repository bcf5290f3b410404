// Tenants receives webhooks for many tenants, each with secrets of its own, on one
// route: /hooks/{tenant}. The secrets lie in a table; secrets.go answers from
// memory who may sign for whom, table.go rotates them.
//
//	go run ./examples/tenants -rotate acme     # makes a secret for acme, and prints it
//	go run ./examples/tenants                  # serves
//
// Requests are signed by the Standard Webhooks specification; any preset will do.
// Its test sends requests of two tenants, for each other's paths too, rotates a
// secret under way, and takes the table away.
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
	events := flag.String("file", "webhooks.db", "SQLite `file` of events")
	tenants := flag.String("tenants", "tenants.db", "SQLite `file` of the tenants' secrets")
	tenant := flag.String("rotate", "", "make a new secret for this `tenant`, and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *address, *events, *tenants, *tenant)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tenants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address, events, tenants, tenant string) error {
	db, err := openTable(ctx, tenants)
	if err != nil {
		return err
	}
	defer db.Close()
	if tenant != "" {
		secret, err := rotate(ctx, db, tenant, time.Now())
		if err != nil {
			return err
		}
		fmt.Println(secret)
		return nil
	}

	st, err := sqlite.Open(ctx, events, sqlite.Config{})
	if err != nil {
		return err
	}
	defer st.Close()
	inbox, err := webhook.NewInbox(st, webhook.InboxConfig{})
	if err != nil {
		return err
	}
	inbox.Handle(syncing, func(ctx context.Context, e webhook.Event) error {
		// Of a tenant, Proof.SecretID tells when nothing comes with the old secret
		// any more.
		slog.InfoContext(ctx, "synced", "tenant", e.Tenant, "event", e.ID, "secret", e.Proof.SecretID)
		return nil
	})
	s := &secrets{load: func(ctx context.Context) (map[string][]webhook.Secret, error) { return loadSecrets(ctx, db) }}
	h, err := handler(inbox, s)
	if err != nil {
		return err
	}
	return serve(ctx, address, h, inbox)
}

// syncing is the name of the event's handler, which is stored with each delivery.
const syncing = "sync"

// handler has the one route of all tenants.
func handler(inbox *webhook.Inbox, s *secrets) (http.Handler, error) {
	v, err := provider.StandardWebhooks() // without a secret: Secrets is ours to set
	if err != nil {
		return nil, err
	}
	v.Secrets = s.of
	mux := http.NewServeMux()
	mux.Handle("/hooks/{tenant}", webhook.Verify("app", v)(inbox.Receive(syncing)))
	return mux, nil
}

// serve answers requests and handles events until ctx ends, or one of the two
// cannot go on. examples/inbound-stripe explains the order.
func serve(ctx context.Context, address string, h http.Handler, inbox *webhook.Inbox) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	running, end := context.WithCancel(context.Background())
	defer end()
	drained, served := make(chan error, 1), make(chan error, 1)
	go func() { drained <- webhook.Run(running, inbox) }()
	go func() { served <- srv.Serve(l) }()
	slog.Info("listening", "url", "http://"+l.Addr().String()+"/hooks/")

	select {
	case <-ctx.Done():
	case err = <-served:
	case err = <-drained:
		drained <- nil
	}
	stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = errors.Join(err, srv.Shutdown(stopping))
	end()
	return errors.Join(err, <-drained)
}
