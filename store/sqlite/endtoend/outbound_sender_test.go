package endtoend

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// Points at which a dispatcher kills itself: those that a stranger's SIGKILL hits
// rarely.
const (
	beforePost   = "before the post"
	beforeSettle = "between the answer and the settle"
	afterSettle  = "after the settle"
	inSendIn     = "inside the transaction"
	beforeAck    = "between the commit and its acknowledgement"
)

var outboundPoints = []string{beforePost, beforeSettle, afterSettle, inSendIn, beforeAck}

// What a dispatcher can do wrong.
const (
	succeedFirst    = "success-before-post" // settles, then posts
	newIDs          = "new-id-per-attempt"
	postTwice       = "posts-twice"
	ackBeforeCommit = "acknowledged-before-commit" // Send has returned, then commits
	sendUndone      = "rollback-sends"
	outsideTx       = "sends-outside-the-transaction"
)

// Kinds of keys: each event's begins with how it was sent, and to whom.
const (
	sentPlain = "send"
	sentIn    = "tx"
	sentUndo  = "undone"
)

// endpointsOf returns who gets an event, by its key: kind-type-….
func endpointsOf(key string) []string {
	if strings.Split(key, "-")[1] == "wide" {
		return []string{"a", "b", "c", "d"}
	}
	return []string{"a"}
}

// endpointIDs are all endpoints that there are.
var endpointIDs = strings.Split("a b c d e f g h i j", " ")

// endpoints are at the process in that role. They match as endpointsOf says, with
// some that get only what is sent to them by name.
func endpoints() webhook.EndpointList {
	var list webhook.EndpointList
	for _, id := range endpointIDs {
		ep := webhook.Endpoint{
			ID: id, URL: "http://" + os.Getenv(envAddr) + "/" + id, Secrets: []webhook.Secret{{Value: secret}}, Types: []string{"by name"},
		}
		for _, typ := range []string{"wide", "narrow"} {
			if slices.Contains(endpointsOf("-"+typ), id) {
				ep.Types = append(ep.Types, typ)
			}
		}
		list = append(list, ep)
	}
	return list
}

// dispatcher is what the sender process works with.
type dispatcher struct {
	st       *sqlite.Store
	out      *webhook.Dispatcher
	acked    *os.File
	sabotage string
}

// die kills the process one time in so many, if that is the point at which it is to
// die: not the first time, so that something has gone well before.
func die(point string, odds int) {
	if os.Getenv(envPoint) == point && rand.IntN(odds) == 0 {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	}
}

// dispatch is the sender process: four workers send, in transactions of their own
// and without, and write down what was acknowledged.
func dispatch() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	st, err := sqlite.Open(ctx, os.Getenv(envDB), sqlite.Config{})
	if err != nil {
		return err
	}
	defer st.Close()
	d := &dispatcher{st: st, sabotage: os.Getenv(envSabotage)}
	if err := d.open(ctx); err != nil {
		return err
	}
	defer d.acked.Close()
	running, end := context.WithCancel(context.Background())
	defer end()
	drained := make(chan error, 1)
	go func() { drained <- d.out.Run(running) }()
	fmt.Println("ready")
	if os.Getenv(envCalm) == "" {
		if err := d.work(ctx); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
	case err := <-drained:
		return fmt.Errorf("run ended: %w", err)
	}
	end()
	return <-drained
}

func (d *dispatcher) open(ctx context.Context) (err error) {
	// Written at once, so that a kill takes nothing back.
	if d.acked, err = os.OpenFile(os.Getenv(envAcked), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return err
	}
	err = d.st.Transact(ctx, func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
		_, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS business (key TEXT NOT NULL)")
		return err
	})
	if err != nil {
		return err
	}
	c := webhook.DispatcherConfig{
		Endpoints: dyingEndpoints{endpoints()},
		Guard:     webhook.Guard{Development: true},
		Permanent: []int{http.StatusUnprocessableEntity},
		Queue: webhook.QueueConfig{
			Timeout:   100 * time.Millisecond,
			Retry:     webhook.RetryPolicy{Attempts: 200, Delays: []time.Duration{20 * time.Millisecond}, Jitter: [2]float64{0, 1}},
			Telemetry: webhook.Telemetry{Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError + 1}))},
		},
	}
	if os.Getenv(envLong) != "" {
		c.Queue.Timeout = 0
	}
	if wrong := (wrongTransport{d.sabotage}); wrong.does() {
		c.Unguarded = func(webhook.Endpoint) http.RoundTripper { return wrong }
	}
	d.out, err = webhook.NewDispatcher(dyingStore{d.st}, c)
	return err
}

// work sends until ctx ends.
func (d *dispatcher) work(ctx context.Context) error {
	const workers = 4
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil && errs[worker] == nil; n++ {
				kind := []string{sentPlain, sentIn, sentUndo, sentIn}[n%4]
				typ := []string{"wide", "narrow", "narrow"}[n%3]
				errs[worker] = d.sendOne(kind, fmt.Sprintf("%s-%s-%d-%d-%d", kind, typ, os.Getpid(), worker, n), typ)
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

var errUndo = errors.New("undo")

// sendOne sends one event, and writes its key down when it was acknowledged.
func (d *dispatcher) sendOne(kind, key, typ string) error {
	ctx := context.Background()
	e := webhook.Event{Type: typ, Subject: key, Body: fmt.Appendf(nil, `{"type":%q,"key":%q}`, typ, key)}
	if kind == sentPlain {
		return d.sendPlain(ctx, e)
	}
	err := d.st.Transact(ctx, func(ctx context.Context, tx *sql.Tx, w store.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO business (key) VALUES (?)", key); err != nil {
			return err
		}
		if d.sabotage != outsideTx {
			if _, err := d.out.SendIn(ctx, w, e); err != nil {
				return err
			}
		}
		die(inSendIn, 5)
		if kind == sentUndo {
			return errUndo
		}
		return nil
	})
	switch {
	case kind == sentUndo && errors.Is(err, errUndo):
		if d.sabotage == sendUndone {
			_, err = d.out.Send(ctx, e)
			return err
		}
		return nil
	case err != nil:
		return err
	case d.sabotage == outsideTx:
		time.Sleep(5 * time.Millisecond)
		if _, err := d.out.Send(ctx, e); err != nil {
			return err
		}
	}
	return d.acknowledge(key)
}

func (d *dispatcher) sendPlain(ctx context.Context, e webhook.Event) error {
	if d.sabotage == ackBeforeCommit {
		if err := d.acknowledge(e.Subject); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	stored, err := d.out.Send(ctx, e)
	if err != nil {
		return err
	}
	if want := len(endpointsOf(e.Subject)); stored[0].Deliveries != want {
		return fmt.Errorf("%s: %d deliveries, want %d", e.Subject, stored[0].Deliveries, want)
	}
	die(beforeAck, 5)
	return d.acknowledge(e.Subject)
}

func (d *dispatcher) acknowledge(key string) error {
	_, err := d.acked.WriteString(key + "\n")
	return err
}

// dyingEndpoints dies when it is asked for an endpoint.
type dyingEndpoints struct{ webhook.EndpointList }

func (l dyingEndpoints) Endpoint(ctx context.Context, id string) (webhook.Endpoint, error) {
	die(beforePost, 5)
	return l.EndpointList.Endpoint(ctx, id)
}

// dyingStore dies before and after it settles.
type dyingStore struct{ *sqlite.Store }

func (s dyingStore) Commit(ctx context.Context, b *store.Batch) (*store.Results, error) {
	if len(b.Settles) == 0 {
		return s.Store.Commit(ctx, b)
	}
	die(beforeSettle, 5)
	res, err := s.Store.Commit(ctx, b)
	die(afterSettle, 5)
	return res, err
}

// wrongTransport makes the mistakes of posting.
type wrongTransport struct{ sabotage string }

func (w wrongTransport) does() bool {
	return slices.Contains([]string{succeedFirst, newIDs, postTwice}, w.sabotage)
}

func (w wrongTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	again := func(ctx context.Context) *http.Request {
		c := r.Clone(ctx)
		c.Body, _ = r.GetBody()
		return c
	}
	switch w.sabotage {
	case succeedFirst:
		go func() {
			time.Sleep(20 * time.Millisecond)
			if resp, err := http.DefaultTransport.RoundTrip(again(context.Background())); err == nil {
				resp.Body.Close()
			}
		}()
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	case newIDs:
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		return resigned(again(r.Context()), body)
	case postTwice:
		if resp, err := http.DefaultTransport.RoundTrip(again(r.Context())); err == nil {
			resp.Body.Close()
		}
	}
	return http.DefaultTransport.RoundTrip(r)
}

// resigned posts r under an id of its own.
func resigned(r *http.Request, body io.Reader) (*http.Response, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	signed := &webhook.Request{
		Method: r.Method, URL: r.URL, Header: r.Header, Body: text, Time: time.Now(), Secrets: []webhook.Secret{{Value: secret}},
	}
	v, err := provider.StandardWebhooks(secret)
	if err != nil {
		return nil, err
	}
	if err := v.Sign(signed, webhook.Event{ID: fmt.Sprintf("msg_%d", rand.Uint64())}); err != nil {
		return nil, err
	}
	return http.DefaultTransport.RoundTrip(r)
}
