package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// subscriber is somebody who wants to be sent events. It verifies each request, and
// answers the authentic ones in turn; the last answer repeats.
type subscriber struct {
	name    string
	answers []int
	wanted  string // what is to become of the delivery: state and outcomes
	why     string

	srv      *http.Server
	endpoint webhook.Endpoint
	seen     atomic.Int64
}

// outbox is what a program that sends webhooks consists of, and those to whom it
// sends them.
type outbox struct {
	*webhook.Dispatcher
	subscribers []*subscriber

	end     context.CancelFunc
	drained chan error
}

// startSending runs a dispatcher on the store that has the inbox, and three
// subscribers.
func startSending(ctx context.Context, st *sqlite.Store, telemetry webhook.Telemetry) (*outbox, error) {
	out := &outbox{drained: make(chan error, 1), subscribers: []*subscriber{
		{name: "steady", answers: []int{204}, wanted: "processed: processed", why: "signed for it by Standard Webhooks"},
		{name: "busy", answers: []int{503, 204}, wanted: "processed: deferred, processed", why: "Retry-After: 1 is obeyed, and costs no attempt"},
		{name: "gone", answers: []int{410}, wanted: "dead: failed", why: "not called again, until somebody resumes it"},
	}}
	var endpoints webhook.EndpointList
	for _, s := range out.subscribers {
		if err := s.serve(ctx, telemetry); err != nil {
			return nil, err
		}
		endpoints = append(endpoints, s.endpoint)
	}
	var err error
	out.Dispatcher, err = webhook.NewDispatcher(st, webhook.DispatcherConfig{
		Endpoints: endpoints,
		Guard:     webhook.Guard{Development: true}, // http and loopback; a service leaves it out
		Queue:     webhook.QueueConfig{Telemetry: telemetry},
	})
	if err != nil {
		return nil, err
	}
	ctx, out.end = context.WithCancel(ctx)
	go func() { out.drained <- webhook.Run(ctx, out) }()
	return out, nil
}

// stop ends the dispatcher, and then the subscribers.
func (out *outbox) stop() error {
	out.end()
	err := <-out.drained
	for _, s := range out.subscribers {
		err = errors.Join(err, s.srv.Close())
	}
	return err
}

// sendOut sends one event to three subscribers.
func (r *report) sendOut(ctx context.Context, out *outbox) error {
	r.section("Outwards: one event for three subscribers")
	stored, err := out.Send(ctx, webhook.Event{Type: "invoice.booked", Body: []byte(`{"type":"invoice.booked","data":{"amount":4200}}`)})
	if err != nil {
		return err
	}
	r.expect(stored[0].Deliveries == len(out.subscribers), "invoice.booked has %d deliveries instead of %d", stored[0].Deliveries, len(out.subscribers))
	if err := settled(ctx, out.Queue()); err != nil {
		return err
	}
	for _, s := range out.subscribers {
		if err := r.delivered(ctx, out.Queue(), s); err != nil {
			return err
		}
	}
	r.refused(ctx, out)
	return r.held(ctx, out.Queue())
}

// delivered reads back what became of the delivery for s.
func (r *report) delivered(ctx context.Context, q *webhook.Queue, s *subscriber) error {
	got := ""
	for d, err := range q.Find(ctx, store.Filter{Destination: s.name}) {
		if err != nil {
			return err
		}
		d, err := q.Get(ctx, d.ID)
		if err != nil {
			return err
		}
		var outcomes, answers []string
		for _, a := range d.Attempts {
			outcomes = append(outcomes, a.Outcome)
			answers = append(answers, fmt.Sprint(a.Status))
		}
		r.expect(d.State != store.Processed || d.Spent == 0, "%s has spent %d attempts of the budget instead of none", s.name, d.Spent)
		got = string(d.State) + ": " + strings.Join(outcomes, ", ")
		r.line("%-8s%-10s%-32s%s", s.name, strings.Join(answers, ", "), got, s.why)
	}
	r.expect(got == s.wanted, "the delivery for %s is %q instead of %q", s.name, got, s.wanted)
	r.expect(int(s.seen.Load()) == len(s.answers), "%s has seen %d authentic requests instead of %d", s.name, s.seen.Load(), len(s.answers))
	return nil
}

// refused shows what is not called, even in development.
func (r *report) refused(ctx context.Context, out *outbox) {
	err := out.Check(webhook.Endpoint{
		ID: "inner", URL: "http://169.254.169.254/", Secrets: []webhook.Secret{{Value: signature.NewSecret()}},
	})
	r.expect(err != nil && strings.Contains(err.Error(), "not a public address"), "the metadata address of a cloud was accepted: %v", err)
	r.line("%-8s%-10s%-32s%s", "inner", "—", "refused: 169.254.169.254", "no endpoint: the guard is in front of each call, too")

	_, err = out.Send(ctx, webhook.Event{ID: "a.b", Type: "invoice.booked"})
	r.expect(errors.Is(err, webhook.ErrMalformed), "an id was accepted that no receiver could verify: %v", err)
	r.line("%-8s%-10s%-32s%s", "all", "—", "refused: the id a.b", "not stored: it would make another signature true")
}

// held looks up that gone alone is held.
func (r *report) held(ctx context.Context, q *webhook.Queue) error {
	for s, err := range q.Destinations(ctx) {
		if err != nil {
			return err
		}
		disabled := false
		for _, h := range s.Held {
			disabled = disabled || h.Kind == store.Disabled
		}
		r.expect(disabled == (s.Destination == "gone"), "%s is disabled: %t", s.Destination, disabled)
	}
	return nil
}

func (s *subscriber) serve(ctx context.Context, telemetry webhook.Telemetry) error {
	secret := signature.NewSecret()
	v, err := provider.StandardWebhooks(secret)
	if err != nil {
		return err
	}
	v.Telemetry = telemetry
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.endpoint = webhook.Endpoint{
		ID: s.name, URL: "http://" + l.Addr().String() + "/hooks", Secrets: []webhook.Secret{{Value: secret}},
	}
	s.srv = &http.Server{Handler: webhook.Verify("quickstart", v)(http.HandlerFunc(s.receive)), ReadHeaderTimeout: 5 * time.Second}
	go s.srv.Serve(l) //nolint:errcheck // until it is closed
	return nil
}

func (s *subscriber) receive(w http.ResponseWriter, _ *http.Request) {
	n := int(s.seen.Add(1))
	status := s.answers[min(n, len(s.answers))-1]
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
}
