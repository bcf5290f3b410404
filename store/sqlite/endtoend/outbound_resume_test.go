package endtoend

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store/sqlite"
)

// hanging are endpoints that answer nothing until they are told to.
type hanging struct {
	mu    sync.Mutex
	calm  bool
	calls map[string][]time.Time // by path and webhook-id
}

func (h *hanging) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	key := r.URL.Path + " " + r.Header.Get("Webhook-Id")
	h.calls[key] = append(h.calls[key], time.Now())
	calm := h.calm
	h.mu.Unlock()
	if !calm {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that the caller has gone
		<-r.Context().Done()
	}
}

// answer has them answer from now on, and returns what was called until then.
func (h *hanging) answer() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calm = true
	before := map[string]int{}
	for key, calls := range h.calls {
		before[key] = len(calls)
	}
	return before
}

// since returns how long after start the last of those was called again, and how
// many were not yet.
func (h *hanging) since(start time.Time, before map[string]int) (last time.Duration, missing int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, n := range before {
		if calls := h.calls[key]; len(calls) > n {
			last = max(last, calls[n].Sub(start))
		} else {
			missing++
		}
	}
	return last, missing
}

func (h *hanging) inFlight() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.calls)
}

// TestKillOutbound_Resumes: what was in flight when a sender was killed is attempted
// again within two seconds of the next one's start, its lease of half a minute
// notwithstanding.
func TestKillOutbound_Resumes(t *testing.T) {
	const each, most = 8, 2 * time.Second // as many of an endpoint as are in flight by default
	inFlight := each * len(endpointIDs)
	var slowest time.Duration
	for range 3 {
		h := &hanging{calls: map[string][]time.Time{}}
		srv := httptest.NewServer(h)
		s := newStage(t, envAddr+"="+strings.TrimPrefix(srv.URL, "http://"), envCalm+"=1", envLong+"=1")
		s.queue = "outbox"
		s.sendTo(endpointIDs, each)
		dispatcher, exited := s.start(envRole + "=dispatcher")
		require.Eventually(t, func() bool { return h.inFlight() == inFlight }, 30*time.Second, time.Millisecond)
		require.NoError(t, dispatcher.Kill())
		requireKilled(t, within(t, exited))

		before := h.answer()
		start := time.Now()
		dispatcher, exited = s.start(envRole + "=dispatcher")
		require.Eventually(t, func() bool { _, missing := h.since(start, before); return missing == 0 }, 90*time.Second, time.Millisecond)
		last, _ := h.since(start, before)
		slowest = max(slowest, last)
		require.NoError(t, dispatcher.Kill())
		requireKilled(t, within(t, exited))
		srv.CloseClientConnections()
		srv.Close()
	}
	require.Less(t, slowest, most)
	t.Logf("%d in flight, the last of them attempted again after %v", inFlight, slowest)
}

// sendTo stores n events for each of the endpoints, which another process is to
// deliver.
func (s *stage) sendTo(endpoints []string, n int) {
	s.t.Helper()
	st, err := sqlite.Open(s.t.Context(), s.db, sqlite.Config{})
	require.NoError(s.t, err)
	defer st.Close()
	out, err := webhook.NewDispatcher(st, webhook.DispatcherConfig{
		Endpoints: webhook.EndpointFunc(func(context.Context, string) (webhook.Endpoint, error) {
			return webhook.Endpoint{}, webhook.ErrNotFound // nobody asks: it only sends
		}),
		Queue: webhook.QueueConfig{Telemetry: webhook.Telemetry{Logger: slog.New(slog.DiscardHandler)}},
	})
	require.NoError(s.t, err)
	for i := range n {
		_, err := out.Send(s.t.Context(), webhook.Event{ID: fmt.Sprint(i), To: endpoints, Body: []byte("{}")})
		require.NoError(s.t, err)
	}
}
