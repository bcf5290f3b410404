// Outbound sends events to two subscribers, over real HTTP, and tells what became
// of each delivery. One subscriber is steady. The other refuses each event twice;
// then it is down until an event for it is a dead letter, which the person on call
// redrives. The program ends by itself, with 1 if anything came out otherwise.
//
//	go run ./examples/outbound
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	err := run(ctx, os.Stdout, newSubscriber("steady", 0), newSubscriber("flaky", 2))
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "outbound:", err)
		os.Exit(1)
	}
}

// run serves both subscribers, and sends to them.
func run(ctx context.Context, w io.Writer, steady, flaky *subscriber) (err error) {
	for _, s := range []*subscriber{steady, flaky} {
		if err := s.serve(ctx); err != nil {
			return err
		}
		defer s.srv.Close()
	}
	dir, err := os.MkdirTemp("", "webhook-outbound-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	st, err := sqlite.Open(ctx, filepath.Join(dir, "webhooks.db"), sqlite.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()

	out, err := webhook.NewDispatcher(st, webhook.DispatcherConfig{
		Endpoints: webhook.EndpointList{steady.endpoint(), flaky.endpoint()},
		Guard:     webhook.Guard{Development: true}, // http and loopback; a service leaves it out
		Queue:     webhook.QueueConfig{Retry: soon, Telemetry: quiet},
	})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- webhook.Run(running, out) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended) // before the store is closed
	}()
	return send(ctx, w, out, flaky)
}

// soon tries three times within a second, for a program that somebody watches. The
// default is ten times over three days.
var soon = webhook.RetryPolicy{Attempts: 3, Delays: []time.Duration{100 * time.Millisecond}}

// quiet leaves the terminal to the report. A service leaves it out: each attempt is
// a record in its log.
var quiet = webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)}

// What is sent. The body travels as it is: what subscribers are to know stands in it.
var (
	paid = webhook.Event{
		ID: "order-7-paid", Type: "order.paid", Body: []byte(`{"type":"order.paid","data":{"id":7}}`),
	}
	refunded = webhook.Event{
		ID: "order-7-refunded", Type: "order.refunded", Body: []byte(`{"type":"order.refunded","data":{"id":7}}`),
	}
)

// send is what this program is about.
func send(ctx context.Context, w io.Writer, out *webhook.Dispatcher, flaky *subscriber) error {
	// Stored with a delivery for each endpoint that wants it, in one commit; sent
	// in the background.
	stored, err := out.Send(ctx, paid)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: %d deliveries\n", stored[0].ID, stored[0].Deliveries)
	err = tell(ctx, w, out.Queue(), paid.ID, map[string]string{
		"steady": "processed: processed",
		"flaky":  "processed: failed, failed, processed",
	})
	if err != nil {
		return err
	}

	// The same ID is the same event, for a caller that does not know whether it
	// has sent it.
	stored, err = out.Send(ctx, paid)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s once more: duplicate %t\n", stored[0].ID, stored[0].Duplicate)

	flaky.down.Store(true)
	if _, err := out.Send(ctx, refunded); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s, while flaky is down\n", refunded.ID)
	err = tell(ctx, w, out.Queue(), refunded.ID, map[string]string{
		"steady": "processed: processed",
		"flaky":  "dead: failed, failed, failed",
	})
	if err != nil {
		return err
	}

	// The person on call: when flaky is up again, its dead letters are due at once.
	flaky.down.Store(false)
	n, _, err := out.Queue().Redrive(ctx, store.Filter{Destination: "flaky"}, "", 100)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "flaky is up, redriven: %d\n", n)
	err = tell(ctx, w, out.Queue(), refunded.ID, map[string]string{
		"steady": "processed: processed",
		"flaky":  "processed: failed, failed, failed, processed",
	})
	if err != nil {
		return err
	}

	// What flaky itself has seen: each request was signed with its secret, and the
	// id was the same at each attempt.
	if seen := flaky.requests(); seen[paid.ID] != 3 || seen[refunded.ID] != 4 || len(seen) != 2 {
		return fmt.Errorf("flaky has seen %v", seen)
	}
	return nil
}
