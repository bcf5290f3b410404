package webhooktest_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// verdict is a test that the kit is to fail: it keeps what the kit says of it.
type verdict struct {
	testing.TB // the real test, for all else

	mu       sync.Mutex
	said     strings.Builder
	cleanups []func()
}

// judge runs f as a test of its own, with its cleanup, and returns what it failed
// with, empty if it did not.
func judge(t testing.TB, f func(t testing.TB)) string {
	t.Helper()
	v := &verdict{TB: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f(v)
	}()
	<-ended
	for len(v.cleanups) > 0 {
		last := v.cleanups[len(v.cleanups)-1]
		v.cleanups = v.cleanups[:len(v.cleanups)-1]
		last()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.said.String()
}

func (v *verdict) Helper()          {}
func (v *verdict) Cleanup(f func()) { v.cleanups = append(v.cleanups, f) }

func (v *verdict) Errorf(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintf(&v.said, format+"\n", args...)
}

func (v *verdict) Fatalf(format string, args ...any) {
	v.Errorf(format, args...)
	runtime.Goexit()
}

func (v *verdict) FailNow() { v.Fatal("FailNow") }

func (v *verdict) Fatal(args ...any) {
	v.Errorf("%s", fmt.Sprint(args...))
	runtime.Goexit()
}

// newInbox is an inbox on a memory store that logs nothing.
func newInbox(t testing.TB, c webhook.QueueConfig) *webhook.Inbox {
	t.Helper()
	return newInboxOn(t, memory.New(), c)
}

// newInboxOn is newInbox on a store that the test has too.
func newInboxOn(t testing.TB, st store.Store, c webhook.QueueConfig) *webhook.Inbox {
	t.Helper()
	c.Telemetry.Logger = slog.New(slog.DiscardHandler)
	inbox, err := webhook.NewInbox(st, webhook.InboxConfig{Queue: c})
	require.NoError(t, err)
	return inbox
}

// event is one for the handlers named.
func event(id string, to ...string) webhook.Event {
	return webhook.Event{Source: "shop", ID: id, Type: "order.paid", To: to}
}

// add adds events to inbox.
func add(t testing.TB, inbox *webhook.Inbox, events ...webhook.Event) {
	t.Helper()
	_, err := inbox.Add(t.Context(), events...)
	require.NoError(t, err)
}

// states are those of the deliveries in the queue, by the event's id.
func states(t testing.TB, q *webhook.Queue) map[string]store.State {
	t.Helper()
	all := map[string]store.State{}
	for d, err := range q.Find(context.Background(), store.Filter{}) {
		require.NoError(t, err)
		all[d.Record.ID] = d.State
	}
	return all
}

// answer is what a client was answered, its body read to the end.
type answer struct {
	status   int
	header   http.Header
	length   int64 // as announced; -1: not
	inflated bool
	body     []byte
}

// post sends a body by c and reads the answer.
func post(t testing.TB, c *http.Client, url, body string) (answer, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	return do(c, req)
}

// do sends req by c and reads the answer.
func do(c *http.Client, req *http.Request) (answer, error) {
	res, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, res.ContentLength, res.Uncompressed, body}, err
}
