package main

import (
	"context"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/signature"
)

// subscriber is somebody else's service. It believes only what is signed with its
// secret, refuses each event a few times, and may be down.
type subscriber struct {
	name       string
	secret     string // made by the sender, shown to the subscriber once
	signedWith string // the sender's copy
	refuses    int    // of each event the first few requests
	down       atomic.Bool
	srv        *http.Server
	url        string

	mu   sync.Mutex
	seen map[string]int // authentic requests, by the event's id
}

func newSubscriber(name string, refuses int) *subscriber {
	secret := signature.NewSecret()
	return &subscriber{name: name, secret: secret, signedWith: secret, refuses: refuses, seen: map[string]int{}}
}

// endpoint is what the sender knows of a subscriber: a row of a table, in a service.
func (s *subscriber) endpoint() webhook.Endpoint {
	return webhook.Endpoint{
		ID: s.name, URL: s.url, Types: []string{"order.*"},
		Secrets: []webhook.Secret{{ID: s.name + " 2026-11", Value: s.signedWith}},
	}
}

func (s *subscriber) serve(ctx context.Context) error {
	v, err := provider.StandardWebhooks(s.secret)
	if err != nil {
		return err
	}
	v.Telemetry = quiet
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.url = "http://" + l.Addr().String() + "/hooks"
	s.srv = &http.Server{
		Handler:           webhook.Verify("shop", v)(http.HandlerFunc(s.receive)),
		ReadHeaderTimeout: 5 * time.Second,
	}
	go s.srv.Serve(l) //nolint:errcheck // until it is closed
	return nil
}

func (s *subscriber) receive(w http.ResponseWriter, r *http.Request) {
	e := webhook.Events(r.Context())[0]
	s.mu.Lock()
	s.seen[e.ID]++
	n := s.seen[e.ID]
	s.mu.Unlock()
	if s.down.Load() || n <= s.refuses {
		http.Error(w, "try again later", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *subscriber) requests() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.seen)
}
