package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// rig is an inbox on a memory store that fails as it is told to, with what it
// logged. It lives in a bubble of testing/synctest.
type rig struct {
	t     testing.TB
	mem   *memory.Store // without faults
	st    *faultyStore  // what the inbox has
	inbox *webhook.Inbox
	logs  *logbook
}

func newRig(t testing.TB, c webhook.QueueConfig) *rig {
	t.Helper()
	return newRigOn(t, memory.New(), c)
}

// newRigOn is newRig on a store that others have too.
func newRigOn(t testing.TB, mem *memory.Store, c webhook.QueueConfig) *rig {
	t.Helper()
	return newRigWith(t, mem, webhook.InboxConfig{Queue: c})
}

func newRigWith(t testing.TB, mem *memory.Store, c webhook.InboxConfig) *rig {
	t.Helper()
	r := &rig{t: t, mem: mem, st: &faultyStore{Store: mem}, logs: &logbook{}}
	if c.Queue.Telemetry.Logger == nil {
		c.Queue.Telemetry.Logger = r.logs.logger()
	}
	var err error
	r.inbox, err = webhook.NewInbox(r.st, c)
	require.NoError(t, err)
	return r
}

// run starts the inbox, and returns once its first claim is made. stop ends it;
// a test that does not call it wants a clean drain.
func (r *rig) run() (stop func() error) {
	r.t.Helper()
	return start(r.t, r.inbox)
}

// start is run, of an inbox or a dispatcher.
func start(t testing.TB, runner interface{ Run(context.Context) error }) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	synctest.Wait()
	stopped := false
	stop = func() error {
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if !stopped {
			require.NoError(t, stop())
		}
	})
	return stop
}

// add adds events and wants them stored.
func (r *rig) add(events ...webhook.Event) []webhook.Stored {
	r.t.Helper()
	stored, err := r.inbox.Add(r.t.Context(), events...)
	require.NoError(r.t, err)
	return stored
}

// deliveries returns all deliveries of the inbox, with bodies and attempts, oldest first.
func (r *rig) deliveries() []store.Delivery {
	r.t.Helper()
	return deliveriesOf(r.t, r.inbox.Queue())
}

// deliveriesOf returns all of a queue, with bodies and attempts, oldest first.
func deliveriesOf(t testing.TB, q *webhook.Queue) []store.Delivery {
	t.Helper()
	var all []store.Delivery
	for d, err := range q.Find(context.Background(), store.Filter{}) {
		require.NoError(t, err)
		d, err = q.Get(context.Background(), d.ID)
		require.NoError(t, err)
		all = append(all, d)
	}
	return all
}

// only returns the one delivery that there is.
func (r *rig) only() store.Delivery {
	r.t.Helper()
	ds := r.deliveries()
	require.Len(r.t, ds, 1)
	return ds[0]
}

// states counts the deliveries by state.
func (r *rig) states() map[store.State]int {
	r.t.Helper()
	n := map[store.State]int{}
	for _, d := range r.deliveries() {
		n[d.State]++
	}
	return n
}

// lose claims what is due for the handler and lets the lease run out, as a
// process does that is killed in the handler.
func (r *rig) lose(handler string) {
	r.t.Helper()
	ds, err := r.mem.Claim(r.t.Context(), "inbox", store.Claim{Free: map[string]int{handler: 100}, Lease: time.Second})
	require.NoError(r.t, err)
	require.NotEmpty(r.t, ds)
	time.Sleep(time.Second)
}

// pass lets d go by, and all that is due by then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// event is one for the handlers named.
func event(id string, to ...string) webhook.Event {
	return webhook.Event{Source: "shop", ID: id, Type: "order.paid", Body: []byte(`{"order":"` + id + `"}`), To: to}
}

// fixed is a policy without jitter: attempts one after the other, d apart.
func fixed(attempts int, d ...time.Duration) webhook.RetryPolicy {
	return webhook.RetryPolicy{Attempts: attempts, Delays: d, Jitter: [2]float64{1, 1}}
}

// logbook keeps log records as lines of JSON.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logbook) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// having returns the records whose attribute key contains value.
func (b *logbook) having(t testing.TB, key, value string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for line := range strings.Lines(b.String()) {
		var r map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &r), line)
		if s, ok := r[key].(string); ok && strings.Contains(s, value) {
			found = append(found, r)
		}
	}
	return found
}

// gauge counts what runs at once.
type gauge struct {
	mu           sync.Mutex
	now, highest int
	entered      int
}

func (g *gauge) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now++
	g.entered++
	g.highest = max(g.highest, g.now)
}

func (g *gauge) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now--
}

// seen returns how many run now, ran at most at once, and began.
func (g *gauge) seen() (now, highest, entered int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now, g.highest, g.entered
}

// takes is a handler that takes d, or less if its context ends, and counts itself
// in g.
func (g *gauge) takes(d time.Duration) webhook.Handler {
	return func(ctx context.Context, _ webhook.Event) error {
		g.enter()
		defer g.leave()
		if d == 0 {
			return nil // many timers of no time at all bring go1.26's race detector down
		}
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
