package endtoend

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// outbox is a dispatcher on a file, whose posts are counted and not sent.
type outbox struct {
	st  *sqlite.Store
	out *webhook.Dispatcher

	mu   sync.Mutex
	seen map[string]int // posts by URL and webhook-id
	when time.Time      // of the last
}

func newOutbox(t *testing.T, endpoints ...string) *outbox {
	t.Helper()
	o := &outbox{st: openFile(t), seen: map[string]int{}}
	list := webhook.EndpointList{}
	for _, id := range endpoints {
		list = append(list, webhook.Endpoint{
			ID: id, URL: "https://" + id + ".example/", Secrets: []webhook.Secret{{Value: signature.NewSecret()}},
		})
	}
	var err error
	o.out, err = webhook.NewDispatcher(o.st, webhook.DispatcherConfig{
		Endpoints: list, Unguarded: func(webhook.Endpoint) http.RoundTripper { return o },
	})
	require.NoError(t, err)
	return o
}

func openFile(t *testing.T) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "w.db"), sqlite.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	return st
}

func (o *outbox) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen[r.URL.Host+" "+r.Header.Get("Webhook-Id")]++
	o.when = time.Now()
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(""))}, nil
}

func (o *outbox) posts() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.seen)
}

// run runs what is given until the test ends.
func run(t *testing.T, runners ...interface{ Run(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- webhook.Run(ctx, runners...) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ran)
	})
}

// What is sent in a transaction is sent if that is committed, once to each
// endpoint and at once; what is rolled back never was.
func TestSendIn(t *testing.T) {
	o := newOutbox(t, "a", "b")
	run(t, o.out)
	undo := errors.New("undo")
	err := o.st.Transact(t.Context(), func(ctx context.Context, _ *sql.Tx, w store.Tx) error {
		stored, err := o.out.SendIn(ctx, w, webhook.Event{ID: "rolled-back"})
		require.NoError(t, err)
		require.Equal(t, 2, stored[0].Deliveries)
		_, err = o.out.Send(ctx, webhook.Event{ID: "in-the-closure"})
		require.ErrorIs(t, err, store.ErrInTransaction)
		return undo
	})
	require.ErrorIs(t, err, undo)
	require.NoError(t, o.st.Transact(t.Context(), func(ctx context.Context, _ *sql.Tx, w store.Tx) error {
		_, err := o.out.SendIn(ctx, w, webhook.Event{ID: "committed"}, webhook.Event{ID: "nobody", Tenant: "acme"})
		require.NoError(t, err)
		again, err := o.out.SendIn(ctx, w, webhook.Event{ID: "committed"})
		require.NoError(t, err)
		require.True(t, again[0].Duplicate)
		time.Sleep(50 * time.Millisecond) // the worker is not to look before the commit
		require.Empty(t, o.posts())
		return nil
	}))
	committed := time.Now()
	require.Eventually(t, func() bool { return len(o.posts()) == 2 }, 10*time.Second, time.Millisecond)
	require.Less(t, o.when.Sub(committed), 500*time.Millisecond, "sooner than the poll comes round")
	require.Equal(t, map[string]int{"a.example committed": 1, "b.example committed": 1}, o.posts())
	n, err := o.out.Queue().Count(t.Context(), store.Filter{}, 100)
	require.NoError(t, err)
	require.Equal(t, 2, n)
}

// Receive, effect and send are one commit: a handler that fails after it has sent
// has not sent.
func TestSendIn_RelayIsOneCommit(t *testing.T) {
	o := newOutbox(t, "a")
	inbox, err := webhook.NewInbox(o.st, webhook.InboxConfig{})
	require.NoError(t, err)
	tries := 0
	inbox.HandleWith("relay", func(ctx context.Context, e webhook.Event) error {
		return o.st.Complete(ctx, func(ctx context.Context, _ *sql.Tx, w store.Tx) error {
			if _, err := o.out.SendIn(ctx, w, webhook.Event{ID: "out-" + e.ID, Body: e.Body}); err != nil {
				return err
			}
			if tries++; tries == 1 {
				return errors.New("after it was sent")
			}
			return nil
		})
	}, webhook.HandlerConfig{Retry: webhook.RetryPolicy{Delays: []time.Duration{10 * time.Millisecond}}})
	run(t, inbox, o.out)
	_, err = inbox.Add(t.Context(), webhook.Event{Source: "shop", ID: "1", Body: []byte("{}"), To: []string{"relay"}})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(o.posts()) == 1 }, 10*time.Second, time.Millisecond)
	require.Equal(t, map[string]int{"a.example out-1": 1}, o.posts())
	require.Equal(t, 2, tries)
}

// table is endpoints in the same file, asked by SQL: in SendIn through the caller's
// transaction, which its context has, and in Send through a connection of its own.
type table struct {
	webhook.EndpointFunc
	db *sql.DB
}

type txKey struct{}

func (m table) Match(ctx context.Context, w store.Tx, e webhook.Event) ([]string, error) {
	query := m.db.QueryContext
	if tx, ok := ctx.Value(txKey{}).(*sql.Tx); ok && w != nil {
		query = tx.QueryContext
	}
	rows, err := query(ctx, "SELECT id FROM endpoints WHERE customer = ? ORDER BY id", e.Tenant)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// A Match of the host's sees what the caller's transaction has not committed yet, and
// does not wait for it: an endpoint and its first event are one commit.
func TestSendIn_MatchInTheCallersTransaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	st, err := sqlite.Open(t.Context(), path, sqlite.Config{})
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(1000)")
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), "CREATE TABLE endpoints (id TEXT PRIMARY KEY, customer TEXT)")
	require.NoError(t, err)
	out, err := webhook.NewDispatcher(st, webhook.DispatcherConfig{Endpoints: table{
		EndpointFunc: func(context.Context, string) (webhook.Endpoint, error) {
			return webhook.Endpoint{}, webhook.ErrNotFound
		},
		db: db,
	}})
	require.NoError(t, err)
	undo := errors.New("undo")
	subscribe := func(id string, end error) error {
		return st.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx, w store.Tx) error {
			if _, err := tx.ExecContext(ctx, "INSERT INTO endpoints VALUES (?, 'acme')", id); err != nil {
				return err
			}
			start := time.Now()
			stored, err := out.SendIn(context.WithValue(ctx, txKey{}, tx), w, webhook.Event{ID: "welcome-" + id, Tenant: "acme"})
			require.NoError(t, err)
			require.Equal(t, 1, stored[0].Deliveries)
			require.Less(t, time.Since(start), 900*time.Millisecond, "it waited for itself")
			return end
		})
	}
	require.ErrorIs(t, subscribe("never", undo), undo)
	require.NoError(t, subscribe("a", nil))
	stored, err := out.Send(t.Context(), webhook.Event{ID: "later", Tenant: "acme"}, webhook.Event{ID: "nobody", Tenant: "globex"})
	require.NoError(t, err)
	require.Equal(t, []int{1, 0}, []int{stored[0].Deliveries, stored[1].Deliveries})
	var sent []string
	for d, err := range out.Queue().Find(t.Context(), store.Filter{}) {
		require.NoError(t, err)
		sent = append(sent, d.Record.ID+" "+d.Destination)
	}
	require.Equal(t, []string{"welcome-a a", "later a"}, sent)
}

// The body of an event is stored once, however many endpoints it has.
func TestSend_ManyEndpointsShareTheBody(t *testing.T) {
	st := openFile(t)
	out, err := webhook.NewDispatcher(st, webhook.DispatcherConfig{
		Endpoints: webhook.EndpointFunc(func(context.Context, string) (webhook.Endpoint, error) { return webhook.Endpoint{}, nil }),
	})
	require.NoError(t, err)
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = "endpoint-" + strings.Repeat("x", i%7) + time.Duration(i).String()
	}
	stored, err := out.Send(t.Context(), webhook.Event{ID: "1", Body: make([]byte, 1<<20), To: ids})
	require.NoError(t, err)
	require.Equal(t, 1000, stored[0].Deliveries)
	var events, bytes int64
	require.NoError(t, st.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx, _ store.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT count(*), sum(length(body)) FROM webhook_event").Scan(&events, &bytes)
	}))
	require.Equal(t, [2]int64{1, 1 << 20}, [2]int64{events, bytes})
}
