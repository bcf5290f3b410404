// Forward hands verified events to workers in its own process, over a channel with
// back-pressure: a request is answered 200 when a worker is done with its events, and
// 503 with Retry-After when all workers are busy and all places are taken. Nothing is
// stored. queue.go has the channel; the same function may hand over to a broker.
//
//	WEBHOOK_SECRET=whsec_Zm9yd2FyZC1leGFtcGxlLXNlY3JldC1vZi1hY21l go run ./examples/forward
//
// Its test sends more than there are places for.
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
)

func main() {
	address := flag.String("address", "localhost:8080", "to listen on")
	workers := flag.Int("workers", 4, "events at work at once")
	places := flag.Int("places", 16, "requests that may wait for a worker")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *address, *workers, *places)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "forward:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address string, workers, places int) error {
	acme, err := provider.StandardWebhooks(os.Getenv("WEBHOOK_SECRET"))
	if err != nil {
		return fmt.Errorf("set WEBHOOK_SECRET: %w", err)
	}
	q := startQueue(workers, places, thumbnail)
	defer q.close() // after the last request was answered
	srv := &http.Server{Handler: routes(acme, q), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	slog.Info("listening", "url", "http://"+l.Addr().String()+"/webhooks/acme")
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case <-ctx.Done(): // Ctrl-C, or SIGTERM
	case err = <-served:
	}
	// Without a limit of its own, since the queue is closed afterwards: a request takes
	// as long as a thumbnail.
	return errors.Join(err, srv.Shutdown(context.Background()))
}

func routes(acme webhook.Verifier, q *queue) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/webhooks/acme", webhook.Verify("acme", acme)(webhook.Forward(q.publish)))
	return mux
}

// thumbnail is work that can be lost and done again. An event that cannot be decoded
// is refused for good: it would not be readable the next time either.
func thumbnail(ctx context.Context, e webhook.Event) error {
	var image struct {
		Data struct {
			URL string `json:"url"`
		} `json:"data"`
	}
	if err := e.Decode(&image); err != nil {
		return err
	}
	select {
	case <-time.After(100 * time.Millisecond): // as long as it takes
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
