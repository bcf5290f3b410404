package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// The signing secrets, as the senders hand them out. A service reads them from
// its environment.
const (
	stripeSecret = "whsec_5f1c2b7d9a3e4f6081726354acbdfe01"
	acmeSecret   = "whsec_cXVpY2tzdGFydC1zZWNyZXQtb2YtYWNtZS1pbmM="
)

// service is what a program that receives webhooks consists of.
type service struct {
	st    *sqlite.Store
	inbox *webhook.Inbox
	srv   *http.Server
	url   string

	end     context.CancelFunc
	drained chan error

	writeReport webhook.Handler // differs in the child that crashes
	mended      atomic.Bool     // crm works
	paid        atomic.Int64    // by billing
}

// start opens the store, registers handlers, mounts routes, and runs.
func start(ctx context.Context, dir string, logger *slog.Logger) (*service, error) {
	s := &service{drained: make(chan error, 1), writeReport: func(context.Context, webhook.Event) error { return nil }}
	return s, s.start(ctx, dir, logger)
}

func (s *service) start(ctx context.Context, dir string, logger *slog.Logger) (err error) {
	s.st, err = sqlite.Open(ctx, filepath.Join(dir, "webhooks.db"), sqlite.Config{})
	if err != nil {
		return err
	}
	telemetry := webhook.Telemetry{Logger: logger}
	s.inbox, err = webhook.NewInbox(s.st, webhook.InboxConfig{Queue: webhook.QueueConfig{Telemetry: telemetry}})
	if err != nil {
		return err
	}
	s.register()

	stripe, err := provider.Stripe(stripeSecret)
	if err != nil {
		return err
	}
	acme, err := provider.StandardWebhooks(acmeSecret)
	if err != nil {
		return err
	}
	stripe.Telemetry, acme.Telemetry = telemetry, telemetry
	mux := http.NewServeMux()
	mux.Handle("/webhooks/stripe", webhook.Verify("stripe", stripe)(s.inbox.Receive(billing, audit)))
	mux.Handle("/webhooks/acme/contacts", webhook.Verify("acme", acme)(s.inbox.Receive(crm)))
	mux.Handle("/webhooks/acme/reports", webhook.Verify("acme", acme)(s.inbox.Receive(reports)))

	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.url = "http://" + l.Addr().String()
	s.srv = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := s.srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("the server ended", "error", err)
		}
	}()

	ctx, s.end = context.WithCancel(ctx)
	go func() { s.drained <- webhook.Run(ctx, s.inbox) }()
	return nil
}

// stop ends everything in the right order: no new requests, no new attempts, no
// store.
func (s *service) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := s.srv.Shutdown(ctx)
	s.end()
	return errors.Join(err, <-s.drained, s.st.Close())
}

// settled waits until nothing is queued or being processed.
func (s *service) settled(ctx context.Context) error {
	for {
		stats, err := s.inbox.Queue().Stats(ctx)
		if err != nil {
			return err
		}
		if stats.Queued+stats.Processing == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the deliveries did not come to an end")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// dead returns the dead letters.
func (s *service) dead(ctx context.Context) (dead []store.Delivery, err error) {
	for d, err := range s.inbox.Queue().Find(ctx, store.Filter{States: []store.State{store.Dead}}) {
		if err != nil {
			return nil, err
		}
		d, err = s.inbox.Queue().Get(ctx, d.ID) // with its attempts
		if err != nil {
			return nil, err
		}
		dead = append(dead, d)
	}
	return dead, nil
}
