// Outbox places orders. An order's row and the event that tells a subscriber of it
// are one commit: there is no order without its event, and no event without its
// order. One of three orders is rolled back, after its event was handed over, and
// nothing of it is sent. The program ends by itself, with 1 if anything came out
// otherwise.
//
//	go run ./examples/outbox
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	err := run(ctx, os.Stdout)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "outbox:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "webhook-outbox-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	sub, err := subscribe(ctx)
	if err != nil {
		return err
	}
	defer sub.srv.Close()
	s, err := open(ctx, filepath.Join(dir, "shop.db"), sub.endpoint)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.st.Close()) }()

	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- webhook.Run(running, s.out) }()
	err = s.trade(ctx, w)
	stop()
	err = errors.Join(err, <-ended)
	if err != nil {
		return err
	}
	return s.account(ctx, w, sub)
}

// shop is a service with a database of its own tables and of what it sends.
type shop struct {
	st  *sqlite.Store
	out *webhook.Dispatcher
}

func open(ctx context.Context, file string, to webhook.Endpoint) (*shop, error) {
	st, err := sqlite.Open(ctx, file, sqlite.Config{})
	if err != nil {
		return nil, err
	}
	out, err := webhook.NewDispatcher(st, webhook.DispatcherConfig{
		Endpoints: webhook.EndpointList{to},
		Guard:     webhook.Guard{Development: true}, // http and loopback; a service leaves it out
		Queue:     webhook.QueueConfig{Telemetry: quiet},
	})
	s := &shop{st, out}
	if err == nil {
		err = s.createTables(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return s, nil
}

// quiet leaves the terminal to the report. A service leaves it out: each attempt is
// a record in its log.
var quiet = webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)}

// trade places three orders, of five pieces that are there, and waits until what
// was sent has arrived.
func (s *shop) trade(ctx context.Context, w io.Writer) error {
	for _, o := range []struct {
		order
		refused bool
	}{
		{order{"order-1", "lamp", 3}, false},
		{order{"order-2", "lamp", 3}, true},
		{order{"order-3", "lamp", 2}, false},
	} {
		err := s.place(ctx, o.order)
		if soldOut := errors.Is(err, errSoldOut); soldOut != o.refused || err != nil && !soldOut {
			return errors.Join(fmt.Errorf("place %s: that it is sold out was to be %t", o.ID, o.refused), err)
		}
		if err != nil {
			fmt.Fprintf(w, "%s: %v; rolled back\n", o.ID, err)
		} else {
			fmt.Fprintf(w, "%s: placed\n", o.ID)
		}
	}
	return settled(ctx, s.out.Queue())
}

// account compares the orders, the deliveries and what the subscriber has seen.
func (s *shop) account(ctx context.Context, w io.Writer, sub *subscriber) error {
	orders, err := s.orders(ctx)
	if err != nil {
		return err
	}
	var sent []string
	for d, err := range s.out.Queue().Find(ctx, store.Filter{}) {
		if err != nil {
			return err
		}
		if d.State != store.Processed {
			return fmt.Errorf("the event of %s is %s: %s", d.Record.Subject, d.State, d.Reason)
		}
		sent = append(sent, d.Record.Subject)
	}
	got := sub.got()
	fmt.Fprintf(w, "orders %v\nevents %v\nsubscriber has %v\n", orders, sent, got)
	want := []string{"order-1", "order-3"}
	if !slices.Equal(orders, want) || !slices.Equal(sent, want) || !slices.Equal(got, want) {
		return fmt.Errorf("all three were to be %v", want)
	}
	return nil
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
			return fmt.Errorf("%d deliveries did not come to an end: %w", stats.Queued+stats.Processing, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
