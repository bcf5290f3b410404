package main

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/signature"
)

// subscriber is somebody else's service: it believes only what is signed with its
// secret.
type subscriber struct {
	endpoint webhook.Endpoint // as the sender knows it
	srv      *http.Server

	mu     sync.Mutex
	orders []string
}

// subscribe starts a subscriber.
func subscribe(ctx context.Context) (*subscriber, error) {
	secret := signature.NewSecret()
	v, err := provider.StandardWebhooks(secret)
	if err != nil {
		return nil, err
	}
	v.Telemetry = quiet
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &subscriber{endpoint: webhook.Endpoint{
		ID: "subscriber", URL: "http://" + l.Addr().String() + "/hooks", Secrets: []webhook.Secret{{Value: secret}},
	}}
	s.srv = &http.Server{
		Handler:           webhook.Verify("shop", v)(http.HandlerFunc(s.receive)),
		ReadHeaderTimeout: 5 * time.Second,
	}
	go s.srv.Serve(l) //nolint:errcheck // until it is closed
	return s, nil
}

func (s *subscriber) receive(w http.ResponseWriter, r *http.Request) {
	var event struct{ Data order }
	if err := webhook.Events(r.Context())[0].Decode(&event); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.orders = append(s.orders, event.Data.ID)
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// got returns the orders that it was told of, sorted: deliveries have no order.
func (s *subscriber) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(s.orders))
}
