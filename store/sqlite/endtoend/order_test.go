package endtoend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/sqlite"
)

// ledger notes the first successes of each key, and what must not be.
type ledger struct {
	mu      sync.Mutex
	order   map[string][]string
	done    map[string]bool
	running map[string]bool
	wrong   []string
}

// handle takes a moment, and fails one time in five.
func (l *ledger) handle(ctx context.Context, e webhook.Event) error {
	l.mu.Lock()
	if l.running[e.Subject] {
		l.wrong = append(l.wrong, "two of "+e.Subject+" at once")
	}
	l.running[e.Subject] = true
	l.mu.Unlock()

	select {
	case <-time.After(rand.N(time.Millisecond)):
	case <-ctx.Done():
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, e.Subject)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case rand.IntN(5) == 0:
		return errors.New("one in five fails")
	case !l.done[e.ID]:
		l.done[e.ID] = true
		l.order[e.Subject] = append(l.order[e.Subject], e.ID)
	}
	return nil
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.done)
}

// TestOrder_Exact: eight keys, ten thousand events that are added concurrently, in
// commits of one to five; handlers that fail at random, whose retries wait; the
// store closed and opened in the middle. Of each key the first successes are in the
// order of the commits.
func TestOrder_Exact(t *testing.T) {
	const keys, events = 8, 10_000
	path := filepath.Join(t.TempDir(), "webhooks.db")
	seen := &ledger{order: map[string][]string{}, done: map[string]bool{}, running: map[string]bool{}}

	_, inbox, stop := orderly(t, path, seen)
	fill(t, inbox, keys, 0, events/2)
	require.Less(t, seen.count(), events/2, "a restart with nothing to do shows nothing")
	stop()
	var st *sqlite.Store
	st, inbox, stop = orderly(t, path, seen)
	fill(t, inbox, keys, events/2, events)
	require.Eventually(t, func() bool { return seen.count() == events }, 2*time.Minute, 20*time.Millisecond)
	require.Empty(t, seen.wrong)

	commits := map[string][]string{}
	for d, err := range webhook.NewQueue(st, "inbox").Find(t.Context(), store.Filter{}) {
		require.NoError(t, err)
		commits[d.OrderKey] = append(commits[d.OrderKey], d.Record.ID)
	}
	require.Len(t, commits, keys)
	for key, want := range commits {
		require.Equal(t, want, seen.order[key], key)
	}
	stop()
}

// orderly opens an inbox on the file that runs l in the order of subjects, until
// stop, which drains it and closes the file.
func orderly(t *testing.T, path string, l *ledger) (st *sqlite.Store, inbox *webhook.Inbox, stop func()) {
	t.Helper()
	st, err := sqlite.Open(t.Context(), path, sqlite.Config{})
	require.NoError(t, err)
	inbox, err = webhook.NewInbox(st, webhook.InboxConfig{Queue: webhook.QueueConfig{
		Concurrency: 16, Drain: 10 * time.Millisecond,
		Retry:     webhook.RetryPolicy{Attempts: -1, Delays: []time.Duration{5 * time.Millisecond}, Jitter: [2]float64{0, 1}},
		Telemetry: webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)},
	}})
	require.NoError(t, err)
	inbox.HandleWith("ledger", l.handle, webhook.HandlerConfig{OrderBy: func(e webhook.Event) string { return e.Subject }})
	ctx, end := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- inbox.Run(ctx) }()
	return st, inbox, func() {
		t.Helper()
		end()
		require.NoError(t, <-ran)
		require.NoError(t, st.Close())
	}
}

// fill adds the events between from and to, by eight adders.
func fill(t *testing.T, inbox *webhook.Inbox, keys, from, to int) {
	t.Helper()
	const adders = 8
	var wg sync.WaitGroup
	for a := range adders {
		wg.Go(func() {
			for n := from + a; n < to; {
				var batch []webhook.Event
				for size := 1 + rand.IntN(5); len(batch) < size && n < to; n += adders {
					batch = append(batch, webhook.Event{
						Source: "test", ID: fmt.Sprint(n), Subject: fmt.Sprint("customer ", rand.IntN(keys)),
						Body: []byte("{}"), To: []string{"ledger"},
					})
				}
				if _, err := inbox.Add(t.Context(), batch...); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
