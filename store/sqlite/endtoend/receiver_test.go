package endtoend

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// What a receiver can do wrong.
const (
	ackFirst      = "ack-before-commit"         // answers, then stores
	effectOutside = "effect-outside-completion" // takes effect in a transaction of its own, then returns nil
	anyOrder      = "any-order"                 // has no OrderBy
)

// poison begins the id of an event whose handler ends the process.
const poison = "poison"

// receive is the receiver process: a service as a user would write it, which
// now and then kills itself at the points that a stranger's SIGKILL hits rarely.
func receive() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	suicide, err := strconv.Atoi(os.Getenv(envSuicide))
	if err != nil {
		return err
	}
	die := func() {
		if suicide > 0 && rand.IntN(suicide) == 0 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it arrives
		}
	}
	sabotage := os.Getenv(envSabotage)

	st, err := sqlite.Open(ctx, os.Getenv(envDB), sqlite.Config{})
	if err != nil {
		return err
	}
	defer st.Close()
	err = st.Transact(ctx, func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
		_, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS effect (event TEXT NOT NULL)")
		return err
	})
	if err != nil {
		return err
	}

	lease, err := time.ParseDuration(cmp.Or(os.Getenv(envLease), "30s"))
	if err != nil {
		return err
	}
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	inbox, err := webhook.NewInbox(st, webhook.InboxConfig{Queue: webhook.QueueConfig{
		Concurrency: 16,
		Lease:       lease,
		Retry:       webhook.RetryPolicy{Delays: []time.Duration{20 * time.Millisecond}, Jitter: [2]float64{0, 1}},
		Telemetry:   webhook.Telemetry{Logger: quiet},
	}})
	if err != nil {
		return err
	}
	share := webhook.HandlerConfig{OrderBy: bySender, SkipDead: true}
	if sabotage == anyOrder {
		share = webhook.HandlerConfig{}
	}
	inbox.HandleWith("effect", func(ctx context.Context, e webhook.Event) error {
		die() // before the work
		if strings.HasPrefix(e.ID, poison) {
			os.Exit(3) // as a dependency may
		}
		time.Sleep(rand.N(20 * time.Millisecond)) // so that there is something to interrupt
		if rand.IntN(10) == 0 {
			return errors.New("one in ten fails")
		}
		work := func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO effect (event) VALUES (?)", e.ID)
			die() // in the middle of the transaction
			return err
		}
		transact := st.Complete
		if sabotage == effectOutside {
			transact = st.Transact
		}
		err := transact(ctx, work)
		die() // between commit and settle
		return err
	}, share)

	verifier, err := provider.StandardWebhooks(secret)
	if err != nil {
		return err
	}
	inner := inbox.Receive("effect")
	if sabotage == ackFirst {
		inner = acknowledgeFirst(inner)
	}
	mux := http.NewServeMux()
	mux.Handle("/hook", webhook.Verify("endtoend", verifier)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		inner.ServeHTTP(answer, r)
		die() // between commit and answer
		w.WriteHeader(answer.Code)
	})))
	l, err := net.Listen("tcp", os.Getenv(envAddr))
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	drained := make(chan error, 1)
	running, end := context.WithCancel(context.Background())
	defer end()
	go func() { drained <- webhook.Run(running, inbox) }()
	go srv.Serve(l)
	fmt.Println("ready")

	select {
	case <-ctx.Done():
	case err := <-drained:
		return fmt.Errorf("run ended: %w", err)
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		return err
	}
	end()
	return <-drained
}

// bySender orders what one worker of the sender sends: each event after the
// one before it was acknowledged. The others are in no order.
func bySender(e webhook.Event) string {
	if !strings.HasPrefix(e.ID, "evt_") {
		return ""
	}
	return e.ID[:strings.LastIndexByte(e.ID, '_')]
}

// acknowledgeFirst is the mistake that this test exists to see: 200 now, the
// commit a moment later.
func acknowledgeFirst(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		go func() {
			time.Sleep(5 * time.Millisecond)
			next.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithoutCancel(r.Context())))
		}()
		w.WriteHeader(http.StatusOK)
	})
}
