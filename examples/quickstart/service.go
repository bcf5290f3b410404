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
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
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
	ordered     atomic.Int64    // orders that the http.Handler was shown
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

	mux := http.NewServeMux()
	for _, route := range []struct {
		path string
		from sender
		to   http.Handler
	}{
		{"/webhooks/stripe", stripe, s.inbox.Receive(billing, audit)},
		{"/webhooks/acme/contacts", acme, s.inbox.Receive(crm)},
		{"/webhooks/acme/reports", acme, s.inbox.Receive(reports)},
		{"/webhooks/clerk", clerk, s.inbox.Receive(audit)},
		{"/webhooks/github", github, s.inbox.Receive(audit)},
		{"/webhooks/slack", slack, s.inbox.Receive(audit)},
		{"/webhooks/shopify", shopify, s.inbox.Acknowledge(orders)(http.HandlerFunc(s.order))},
	} {
		v, err := route.from.preset(route.from.secret)
		if err != nil {
			return err
		}
		v.Telemetry = telemetry
		mux.Handle(route.path, webhook.Verify(route.from.source, v)(route.to))
	}

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
func settled(ctx context.Context, q *webhook.Queue) error {
	for {
		stats, err := q.Stats(ctx)
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
