// Custom-verifier receives the webhooks of a sender that no declaration reaches: it
// signs a form's parameters, sorted, and not the bytes. parcel.go has the check, a
// dozen lines; function.go the same check on bytes, for a serverless function.
//
//	PARCEL_SECRET=0123456789abcdef0123456789abcdef go run ./examples/custom-verifier
//
// With -invoke it is the function instead: it reads an invocation from its standard
// input, stores what is authentic, and writes its answer.
//
//	… go run ./examples/custom-verifier -invoke < invocation.json
//
// Its test sends signed, forged, stale and repeated requests through both doors.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store/sqlite"
)

// Names that are stored with each event.
const (
	source   = "parcel"
	tracking = "tracking" // the handler
)

func main() {
	var c config
	flag.StringVar(&c.address, "address", "localhost:8080", "to listen on")
	flag.StringVar(&c.file, "file", "webhooks.db", "SQLite `file` of events")
	flag.StringVar(&c.publicURL, "url", "http://localhost:8080/webhooks/parcel", "that the carrier was given")
	flag.BoolVar(&c.invoke, "invoke", false, "be a serverless function, once")
	flag.Parse()
	c.secret = os.Getenv("PARCEL_SECRET")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, c)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "custom-verifier:", err)
		os.Exit(1)
	}
}

type config struct {
	address, file, publicURL, secret string
	invoke                           bool
}

func run(ctx context.Context, c config) error {
	verifier, err := newParcel(c.publicURL, webhook.Secret{Value: c.secret})
	if err != nil {
		return fmt.Errorf("set PARCEL_SECRET and -url: %w", err)
	}
	st, err := sqlite.Open(ctx, c.file, sqlite.Config{})
	if err != nil {
		return err
	}
	defer st.Close()
	inbox, err := webhook.NewInbox(st, webhook.InboxConfig{})
	if err != nil {
		return err
	}
	inbox.Handle(tracking, func(ctx context.Context, e webhook.Event) error {
		slog.InfoContext(ctx, "parcel scanned", "parcel", e.Subject, "what", e.Type, "when", e.Time)
		return nil
	})
	if c.invoke {
		return invoke(ctx, os.Stdin, os.Stdout, function{verifier, inbox})
	}
	return serve(ctx, c.address, verifier, inbox)
}

func invoke(ctx context.Context, in io.Reader, out io.Writer, f function) error {
	var i invocation
	if err := json.NewDecoder(in).Decode(&i); err != nil {
		return fmt.Errorf("read the invocation: %w", err)
	}
	return json.NewEncoder(out).Encode(f.receive(ctx, i))
}

// serve answers requests and handles events until ctx ends, or one of the two
// cannot go on. examples/inbound-stripe explains the order.
func serve(ctx context.Context, address string, verifier webhook.Verifier, inbox *webhook.Inbox) error {
	mux := http.NewServeMux()
	mux.Handle("/webhooks/parcel", webhook.Verify(source, verifier)(inbox.Receive(tracking)))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	running, end := context.WithCancel(context.Background())
	defer end()
	drained, served := make(chan error, 1), make(chan error, 1)
	go func() { drained <- webhook.Run(running, inbox) }()
	go func() { served <- srv.Serve(l) }()
	slog.Info("listening", "url", "http://"+l.Addr().String()+"/webhooks/parcel")

	select {
	case <-ctx.Done():
	case err = <-served:
	case err = <-drained:
		drained <- nil
	}
	stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = errors.Join(err, srv.Shutdown(stopping))
	end()
	return errors.Join(err, <-drained)
}
