package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
	"github.com/surehook/webhook/store/sqlite"
)

// secret is what the events are signed with, by the Standard Webhooks scheme.
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var key, _ = base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))

// row is one way to receive an event.
type row struct {
	name, what string
	ours       bool // keeps the events and handles them afterwards
	plain      bool // runs in the program that is built without instruments
	open       func(ctx context.Context, dir string) (*receiver, error)
}

// rows are in the order of the table.
var rows = []row{
	{name: "bare", what: "reads the body, verifies, answers", open: openBare},
	{name: "file", what: "… and appends to a file, group commit, fdatasync", open: openFile},
	{name: rowPlain, what: "the next, but that nothing can be measured: the library is built without instruments", ours: true, plain: true, open: openSQLite},
	{name: rowSQLite, what: "Verify and Receive on SQLite, handler running, logging to a file; nobody asks for metrics", ours: true, open: openSQLite},
	{name: rowSDK, what: "the same with OpenTelemetry's SDK: all metrics, collected each second, and a span for every attempt", ours: true, open: openSDK},
	{name: "ours-memory", what: "ours-sqlite, but on the memory store", ours: true, open: openMemory},
}

// The rows that are compared for what instruments cost.
const (
	rowPlain  = "ours-plain"
	rowSQLite = "ours-sqlite"
	rowSDK    = "ours-sdk"
)

// receiver is a row that has been opened.
type receiver struct {
	handler http.Handler
	account func(ctx context.Context) (account, error)
	close   func() error
}

// account is what became of the events that a receiver was given. Rows that keep
// nothing leave it empty.
type account struct {
	CPU       time.Duration // that the process has used
	Handled   int64         // the handler's own count
	Waiting   int           // not yet processed, by the store
	Processed int           // by the store, counted only where nothing is Waiting
}

// read reads and verifies a request as thirty lines of one's own would; ok is
// false where it has answered.
func read(w http.ResponseWriter, r *http.Request) (id string, body []byte, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "body", http.StatusBadRequest)
		return "", nil, false
	}
	id, stamp := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		http.Error(w, "timestamp", http.StatusUnauthorized)
		return "", nil, false
	}
	want := sign(id, stamp, body)
	for given := range strings.FieldsSeq(r.Header.Get("webhook-signature")) {
		version, encoded, _ := strings.Cut(given, ",")
		mac, err := base64.StdEncoding.DecodeString(encoded)
		if version == "v1" && err == nil && hmac.Equal(mac, want) {
			return id, body, true
		}
	}
	http.Error(w, "signature", http.StatusUnauthorized)
	return "", nil, false
}

// nothing is the account of a row that keeps nothing.
func nothing(context.Context) (account, error) { return account{}, nil }

// sign returns the bytes of a Standard Webhooks v1 signature.
func sign(id, stamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

func openBare(context.Context, string) (*receiver, error) {
	return &receiver{
		handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, _, ok := read(w, r); ok {
				w.WriteHeader(http.StatusOK)
			}
		}),
		account: nothing,
		close:   func() error { return nil },
	}, nil
}

func openFile(_ context.Context, dir string) (*receiver, error) {
	j, err := openJournal(filepath.Join(dir, "journal"))
	if err != nil {
		return nil, err
	}
	return &receiver{
		handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id, body, ok := read(w, r)
			if !ok {
				return
			}
			if err := j.Append(id, body); err != nil {
				http.Error(w, "not stored", http.StatusServiceUnavailable)
				return
			}
			w.WriteHeader(http.StatusOK)
		}),
		account: nothing,
		close:   j.Close,
	}, nil
}

// Without Telemetry.Meter and Tracer the global providers are asked, which nobody
// has set.
func openSQLite(ctx context.Context, dir string) (*receiver, error) {
	return openSQLiteWith(ctx, dir, webhook.Telemetry{})
}

func openSQLiteWith(ctx context.Context, dir string, telemetry webhook.Telemetry) (*receiver, error) {
	st, err := sqlite.Open(ctx, filepath.Join(dir, "webhooks.db"), sqlite.Config{})
	if err != nil {
		return nil, err
	}
	return openInbox(ctx, dir, st, telemetry)
}

func openMemory(ctx context.Context, dir string) (*receiver, error) {
	return openInbox(ctx, dir, memory.New(), webhook.Telemetry{})
}

func openInbox(ctx context.Context, dir string, st store.Store, telemetry webhook.Telemetry) (*receiver, error) {
	logFile, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	telemetry.Logger = slog.New(slog.NewJSONHandler(logFile, nil))

	inbox, err := webhook.NewInbox(st, webhook.InboxConfig{Queue: webhook.QueueConfig{Telemetry: telemetry}})
	if err != nil {
		return nil, err
	}
	var handled atomic.Int64
	inbox.Handle("noop", func(context.Context, webhook.Event) error {
		handled.Add(1)
		return nil
	})
	verifier, err := provider.StandardWebhooks(secret)
	if err != nil {
		return nil, err
	}
	verifier.Telemetry = telemetry

	ctx, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- webhook.Run(ctx, inbox) }()

	return &receiver{
		handler: webhook.Verify("bench", verifier)(inbox.Receive("noop")),
		account: func(ctx context.Context) (account, error) {
			a := account{Handled: handled.Load()}
			stats, err := inbox.Queue().Stats(ctx)
			if err != nil {
				return a, err
			}
			a.Waiting = stats.Queued + stats.Processing
			if a.Waiting == 0 {
				a.Processed, err = inbox.Queue().Count(ctx, store.Filter{States: []store.State{store.Processed}}, 1<<30)
			}
			return a, err
		},
		close: func() error {
			stop()
			return errors.Join(<-ran, st.Close(), logFile.Close())
		},
	}, nil
}
