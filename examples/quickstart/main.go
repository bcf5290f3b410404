// Quickstart sends itself the webhooks of six senders, good and bad ones, over
// real HTTP, has them handled by handlers that fail, crash and give up, and then
// reads the account back from the store. In the end it sends a webhook of its own,
// to subscribers that take it, are busy, or gone. It exits with 1 if anything came
// out otherwise than promised.
//
//	go run ./examples/quickstart        # -v shows the log, -keep keeps the files
//	go run ./examples/quickstart -for 1m # goes on afterwards, for whoever looks on
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

func main() {
	verbose := flag.Bool("v", false, "show the log")
	keep := flag.Bool("keep", false, "keep the database and the log")
	more := flag.Duration("for", 0, "go on sending for so long when all is told, or until it is interrupted")
	flag.Parse()
	if dir := os.Getenv(envCrash); dir != "" {
		crash(dir) // the child: see crash.go
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute+*more)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	err := run(ctx, *verbose, *keep, *more)
	stop()
	cancel()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\nquickstart: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, verbose, keep bool, more time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "webhook-quickstart-")
	if err != nil {
		return err
	}
	if !keep {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	logFile, err := os.Create(filepath.Join(dir, "webhook.log"))
	if err != nil {
		return err
	}
	defer logFile.Close()
	logTo := io.Writer(logFile)
	if verbose {
		logTo = io.MultiWriter(logFile, os.Stderr)
	}
	logger := slog.New(slog.NewTextHandler(logTo, nil))

	fmt.Print(title)
	r := &report{}

	// A service that dies in the middle of its work, and is started again on the
	// same file: here.
	if err := r.sendToCrashingChild(ctx, dir); err != nil {
		return err
	}
	svc, err := start(ctx, dir, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, svc.stop()) }()

	if err := r.sendToEachRoute(ctx, svc.url); err != nil {
		return err
	}
	if err := r.sendOnceMore(ctx, svc.url); err != nil {
		return err
	}
	if err := settled(ctx, svc.inbox.Queue()); err != nil {
		return err
	}

	// The person on call finds a dead letter, mends what was broken, and puts
	// it back in the queue.
	dead, err := svc.dead(ctx)
	if err != nil {
		return err
	}
	r.deadLetters(dead)
	svc.mended.Store(true)
	n, _, err := svc.inbox.Queue().Redrive(ctx, store.Filter{}, "", 100)
	if err != nil {
		return err
	}
	r.redriven(n)
	if err := settled(ctx, svc.inbox.Queue()); err != nil {
		return err
	}
	r.expect(svc.paid.Load() == 4200, "billing booked %d instead of 4200", svc.paid.Load())
	r.expect(svc.ordered.Load() == 1, "the http.Handler was shown %d orders instead of 1", svc.ordered.Load())

	if err := r.account(ctx, svc.inbox.Queue()); err != nil {
		return err
	}
	out, err := startSending(ctx, svc.st, webhook.Telemetry{Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.stop()) }()
	if err := r.sendOut(ctx, out); err != nil {
		return err
	}
	if keep {
		fmt.Printf("\nKept: %s\n", dir)
	}
	if err := r.verdict(); err != nil || more == 0 {
		return err
	}
	return goOn(ctx, svc, out, more)
}

// the handlers, by the names that are stored with each delivery.
const (
	billing = "billing" // fails twice, then succeeds
	audit   = "audit"   // succeeds
	crm     = "crm"     // always fails, until it is mended
	reports = "reports" // kills its process at the first attempt
	orders  = "orders"  // is an http.Handler: see order
)

// register names the handlers; every process that works on the file has the same.
func (s *service) register() {
	s.inbox.HandleWith(billing, func(ctx context.Context, e webhook.Event) error {
		var invoice struct {
			Data struct {
				Object struct {
					AmountPaid int `json:"amount_paid"`
				} `json:"object"`
			} `json:"data"`
		}
		if err := e.Decode(&invoice); err != nil {
			return err // a dead letter: no retry would mend it
		}
		if d, _ := webhook.Current(ctx); d.Token <= 2 {
			return errors.New("ledger: connection refused")
		}
		s.paid.Add(int64(invoice.Data.Object.AmountPaid))
		return nil
	}, soon)

	s.inbox.Handle(audit, func(context.Context, webhook.Event) error { return nil })

	s.inbox.HandleWith(crm, func(context.Context, webhook.Event) error {
		if !s.mended.Load() {
			return errors.New("crm: 500 Internal Server Error")
		}
		return nil
	}, soon)

	s.inbox.Handle(reports, s.writeReport)
}

// order is a handler as a service has it before it uses this library: Acknowledge
// wraps it, and shows it the request later.
func (s *service) order(w http.ResponseWriter, r *http.Request) {
	var order struct {
		Name string `json:"name"`
	}
	err := json.NewDecoder(r.Body).Decode(&order)
	if err != nil || r.URL.Path != orderCreated.path || r.Header.Get("X-Shopify-Topic") != "orders/create" || order.Name != "#9999" {
		http.Error(w, "this is not the order that was sent", http.StatusBadRequest)
		return
	}
	s.ordered.Add(1)
	w.WriteHeader(http.StatusNoContent)
}

// soon tries three times within a second, for a program that somebody watches.
// The default is eight times over some hours.
var soon = webhook.HandlerConfig{Retry: webhook.RetryPolicy{
	Attempts: 3, Delays: []time.Duration{100 * time.Millisecond}, Jitter: [2]float64{.5, 1},
}}
