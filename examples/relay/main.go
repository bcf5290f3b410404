// Relay stands between a shop and a subscriber: it verifies what the shop sends,
// books it, and sends its own event on. The booking, the event that goes on and the
// end of the delivery that came in are one commit, so that each request of the shop
// is booked and passed on exactly once: also one that comes twice, and one whose
// handler fails after its work. The program sends itself both, and ends by itself,
// with 1 if anything came out otherwise.
//
//	go run ./examples/relay
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/store"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	err := run(ctx, os.Stdout)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(1)
	}
}

// run serves a relay and a subscriber, is the shop, and looks at what came of it.
func run(ctx context.Context, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "webhook-relay-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	sub := &subscriber{secret: signature.NewSecret()}
	subSrv, subURL, err := serve(ctx, sub.handler())
	if err != nil {
		return err
	}
	defer subSrv.Close()

	from := &shop{secret: signature.NewSecret()}
	r, err := open(ctx, filepath.Join(dir, "relay.db"), webhook.Endpoint{
		ID: "subscriber", URL: subURL, Secrets: []webhook.Secret{{Value: sub.secret}},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.st.Close()) }()
	r.trouble = onFirstAttempt
	h, err := r.handler(from.secret)
	if err != nil {
		return err
	}
	srv, url, err := serve(ctx, h)
	if err != nil {
		return err
	}
	defer srv.Close()

	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- webhook.Run(running, r.inbox, r.out) }() // one engine for each direction, over one store
	err = from.sell(ctx, w, url)
	if err == nil {
		err = settled(ctx, r.inbox.Queue(), r.out.Queue())
	}
	stop()
	err = errors.Join(err, <-ended)
	if err != nil {
		return err
	}
	return r.account(ctx, w, sub)
}

// onFirstAttempt fails the handler of one event once, when all of its work is done.
func onFirstAttempt(ctx context.Context, e webhook.Event) error {
	if d, _ := webhook.Current(ctx); d.Token == 1 && e.ID == "msg_2" {
		return errors.New("the disk is full")
	}
	return nil
}

// account compares what was booked, what was sent on, and what the subscriber has
// seen, with what the shop has sent.
func (r *relay) account(ctx context.Context, w io.Writer, sub *subscriber) error {
	bookings, err := r.bookings(ctx)
	if err != nil {
		return err
	}
	came, err := became(ctx, r.inbox.Queue())
	if err != nil {
		return err
	}
	went, err := became(ctx, r.out.Queue())
	if err != nil {
		return err
	}
	for _, x := range []struct {
		what      string
		got, want []string
	}{
		{"came in", came, []string{"order.paid msg_1: processed", "order.paid msg_2: failed, processed"}},
		{"booked", bookings, []string{"msg_1 4200", "msg_2 1700"}},
		{"went out", went, []string{"payment.booked msg_1: processed", "payment.booked msg_2: processed"}},
		{"subscriber has", sub.got(), []string{"msg_1 4200", "msg_2 1700"}},
	} {
		fmt.Fprintf(w, "%-15s%s\n", x.what, strings.Join(x.got, "; "))
		if !slices.Equal(x.got, x.want) {
			return fmt.Errorf("%s: was to be %q", x.what, x.want)
		}
	}
	return nil
}

// became tells what became of a queue's deliveries, by the shop's ids: the Subject
// of what goes out.
func became(ctx context.Context, q *webhook.Queue) (list []string, err error) {
	for d, err := range q.Find(ctx, store.Filter{}) {
		if err != nil {
			return nil, err
		}
		d, err := q.Get(ctx, d.ID) // with its attempts
		if err != nil {
			return nil, err
		}
		var outcomes []string
		for _, a := range d.Attempts {
			outcomes = append(outcomes, a.Outcome)
		}
		list = append(list, fmt.Sprintf("%s %s: %s", d.Record.Type, cmp.Or(d.Record.Subject, d.Record.ID), strings.Join(outcomes, ", ")))
	}
	slices.Sort(list)
	return list, nil
}

// settled waits until nothing is queued or being processed, first what comes in and
// then what goes out.
func settled(ctx context.Context, queues ...*webhook.Queue) error {
	for _, q := range queues {
		for {
			stats, err := q.Stats(ctx)
			if err != nil {
				return err
			}
			if stats.Queued+stats.Processing == 0 {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%d deliveries did not come to an end: %w", stats.Queued+stats.Processing, ctx.Err())
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return nil
}

// serve serves h on a port of its own, until it is closed.
func serve(ctx context.Context, h http.Handler) (srv *http.Server, url string, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	srv = &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(l) //nolint:errcheck // until it is closed
	return srv, "http://" + l.Addr().String() + "/webhooks", nil
}

// quiet leaves the terminal to the report. A service leaves it out: each attempt is
// a record in its log.
var quiet = webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)}
