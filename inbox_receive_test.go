package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

// believed is a route for bodies that are lists of events, each its id, and the
// handlers that it is for where they are not Receive's.
func believed(next http.Handler) http.Handler {
	v := webhook.Unverified(func(r *webhook.Request) ([]webhook.Event, error) {
		var list []struct {
			ID string
			To []string
		}
		if err := json.Unmarshal(r.Body, &list); err != nil {
			return nil, err
		}
		events := make([]webhook.Event, len(list))
		for i, e := range list {
			events[i] = webhook.Event{ID: e.ID, To: e.To, Body: []byte("body of " + e.ID)}
		}
		return events, nil
	})
	v.Telemetry.Logger = slog.New(slog.DiscardHandler)
	return webhook.Verify("shop", v)(next)
}

func deliver(h http.Handler, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
	return w
}

func TestReceive_AnswersAfterTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		route := believed(r.inbox.Receive("billing"))
		durable := make(chan struct{})
		r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
			<-durable
			return real(ctx, b)
		})
		w := httptest.NewRecorder()
		w.Code = 0
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			route.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`[{"ID":"1"}]`)))
		}()
		pass(time.Minute)
		select {
		case <-answered:
			t.Fatal("answered before the commit")
		default:
		}
		close(durable)
		<-answered
		require.Equal(t, http.StatusOK, w.Code)
		require.Empty(t, w.Body.String())
		require.Equal(t, store.Queued, r.only().State)
	})
}

func TestReceive_EventsOfOneRequest(t *testing.T) {
	tooLong := strings.Repeat("x", 5000)
	for name, c := range map[string]struct {
		body    string
		fault   error // of the commit
		status  int
		commits int
		stored  map[string]string // id and handler
	}{
		"empty batch":           {`[]`, nil, 200, 0, nil},
		"several, one commit":   {`[{"ID":"1"},{"ID":"2"},{"ID":"3"}]`, nil, 200, 1, map[string]string{"1 billing": "", "2 billing": "", "3 billing": ""}},
		"To instead of names":   {`[{"ID":"1","To":["audit"]},{"ID":"2"}]`, nil, 200, 1, map[string]string{"1 audit": "", "2 billing": ""}},
		"one for nobody":        {`[{"ID":"1"},{"ID":"2","To":["audti"]}]`, nil, 500, 0, nil},
		"one named twice":       {`[{"ID":"1"},{"ID":"2","To":["audit","audit"]}]`, nil, 500, 0, nil},
		"one too long":          {`[{"ID":"1"},{"ID":"` + tooLong + `"}]`, nil, 400, 0, nil},
		"the store refuses one": {`[{"ID":"1"},{"ID":"2"}]`, fmt.Errorf("add 1: %w", store.ErrBadData), 400, 1, nil},
		"malformed":             {`[`, nil, 400, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{})
				r.inbox.Handle("billing", new(collector).handle)
				r.inbox.Handle("audit", new(collector).handle)
				if c.fault != nil {
					r.st.onCommit(failingCommit(c.fault, hasAdds))
				}
				w := deliver(believed(r.inbox.Receive("billing")), c.body)
				require.Equal(t, c.status, w.Code)
				require.Empty(t, w.Header().Get("Retry-After"))
				commits, _, _ := r.st.used()
				require.Equal(t, c.commits, commits)
				stored := map[string]string{}
				for _, d := range r.deliveries() {
					stored[d.Record.ID+" "+d.Destination] = ""
					require.Equal(t, "shop", d.Record.Source)
					require.Equal(t, "body of "+d.Record.ID, string(d.Record.Body))
				}
				require.Len(t, stored, len(c.stored))
				for k := range c.stored {
					require.Contains(t, stored, k)
				}
				require.NotContains(t, w.Body.String(), "audti", "the sender learns nothing of the wiring")
			})
		})
	}
}

func TestReceive_RefusesUntilItIsDurable(t *testing.T) {
	for name, c := range map[string]struct {
		fault      func(r *rig)
		retryAfter string
		reason     string
	}{
		"store is down": {func(r *rig) { r.st.onCommit(failingCommit(errDown, anyBatch)) }, "5", "store"},
		"queue is full": {func(r *rig) {
			r.add(event("a", "billing"), event("b", "billing"))
			pass(time.Second)
		}, "30", "queue_full"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{MaxDepth: 2})
				r.inbox.Handle("billing", new(collector).handle)
				route := believed(r.inbox.Receive("billing"))
				c.fault(r)
				before := len(r.deliveries())
				start := time.Now()
				w := deliver(route, `[{"ID":"1"}]`)
				require.Equal(t, http.StatusServiceUnavailable, w.Code)
				require.Equal(t, c.retryAfter, w.Header().Get("Retry-After"))
				require.Equal(t, "try again later\n", w.Body.String())
				require.LessOrEqual(t, time.Since(start), 3*time.Second)
				require.Len(t, r.deliveries(), before)
				rejected := r.logs.having(t, "status", "rejected")
				require.Len(t, rejected, 1)
				require.Equal(t, c.reason, rejected[0]["reason"])
				require.Equal(t, "shop", rejected[0]["source"])
				require.Equal(t, "WARN", rejected[0]["level"])
			})
		})
	}
}

// The sender's retry after a commit of unknown outcome is answered 200, and the
// event is there once.
func TestReceive_SenderRetriesAfterUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var got collector
		r.inbox.Handle("billing", got.handle)
		r.run()
		route := believed(r.inbox.Receive("billing"))
		r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
			res, err := real(ctx, b)
			if hasAdds(b) {
				return nil, errDown
			}
			return res, err
		})
		require.Equal(t, http.StatusServiceUnavailable, deliver(route, `[{"ID":"1"}]`).Code)
		r.st.onCommit(nil)
		require.Equal(t, http.StatusOK, deliver(route, `[{"ID":"1"}]`).Code)
		pass(5 * time.Minute)
		require.Equal(t, []string{"1"}, got.ids())
		require.Equal(t, store.Processed, r.only().State)
	})
}

// A sender that hangs up in the commit is no failure of the store.
func TestReceive_SenderHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
			if hasAdds(b) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return real(ctx, b)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w := httptest.NewRecorder()
		believed(r.inbox.Receive("billing")).ServeHTTP(w,
			httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(`[{"ID":"1"}]`)))
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "canceled", r.logs.having(t, "status", "rejected")[0]["reason"])
		require.NoError(t, r.inbox.Health(t.Context()))
	})
}

func TestReceive_DuplicateIsAnswered200(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		r.inbox.Handle("audit", new(collector).handle)
		for range 3 {
			require.Equal(t, http.StatusOK, deliver(believed(r.inbox.Receive("billing")), `[{"ID":"1"}]`).Code)
		}
		require.Len(t, r.deliveries(), 1)
		require.Equal(t, http.StatusOK, deliver(believed(r.inbox.Receive("audit")), `[{"ID":"1"}]`).Code)
		require.Len(t, r.deliveries(), 2, "a second route adds its handler")
		require.Len(t, r.logs.having(t, "status", "duplicate"), 2)
		require.Len(t, r.logs.having(t, "status", "queued"), 2)
	})
}

// Fail closed: nothing vouches for such a request.
func TestReceive_WithoutVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		route := r.inbox.Receive("billing")
		for range 3 {
			w := deliver(route, `[{"ID":"1"}]`)
			require.Equal(t, http.StatusInternalServerError, w.Code)
			require.Equal(t, "webhook not configured\n", w.Body.String())
		}
		require.Empty(t, r.deliveries())
		require.Len(t, r.logs.having(t, "msg", "webhook route without Verify"), 1)
		require.Len(t, r.logs.having(t, "level", "ERROR"), 1)
	})
}

func TestInbox_WiringPanics(t *testing.T) {
	nop := func(context.Context, webhook.Event) error { return nil }
	for name, c := range map[string]struct {
		wire func(i *webhook.Inbox)
		says string
	}{
		"Receive without names":  {func(i *webhook.Inbox) { i.Receive() }, "webhook: Receive: no handler is named"},
		"Receive of a typo":      {func(i *webhook.Inbox) { i.Receive("billing", "adit") }, `webhook: Receive("adit"): no handler of this name: call Handle first, or name it in InboxConfig.Elsewhere; there are [audit billing]`},
		"Receive of no name":     {func(i *webhook.Inbox) { i.Receive("") }, `webhook: Receive(""): no handler of this name`},
		"Receive twice":          {func(i *webhook.Inbox) { i.Receive("audit", "audit") }, `webhook: Receive: "audit" is named twice`},
		"Handle without a name":  {func(i *webhook.Inbox) { i.Handle("", nop) }, "webhook: Handle: the name is empty"},
		"Handle of nil":          {func(i *webhook.Inbox) { i.Handle("x", nil) }, `webhook: Handle("x"): the handler is nil`},
		"Handle of a taken name": {func(i *webhook.Inbox) { i.Handle("audit", nop) }, `webhook: Handle("audit"): the name is taken`},
		"negative timeout":       {func(i *webhook.Inbox) { i.HandleWith("x", nop, webhook.HandlerConfig{Timeout: -1}) }, `webhook: HandleWith("x"): Timeout -1ns`},
		"negative concurrency":   {func(i *webhook.Inbox) { i.HandleWith("x", nop, webhook.HandlerConfig{Concurrency: -1}) }, `Concurrency -1 must not be negative`},
		"policy without sense": {func(i *webhook.Inbox) {
			i.HandleWith("x", nop, webhook.HandlerConfig{Retry: webhook.RetryPolicy{Factor: 0.5}})
		}, `webhook: HandleWith("x"): Retry: field Factor 0.5 must be a number of at least 1`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, webhook.QueueConfig{})
			r.inbox.Handle("billing", nop)
			r.inbox.Handle("audit", nop)
			defer func() {
				require.Contains(t, fmt.Sprint(recover()), c.says)
			}()
			c.wire(r.inbox)
		})
	}
}

func TestInbox_HandleAfterRunPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.run()
		require.PanicsWithValue(t, `webhook: Handle("late"): Run began before: register handlers first`, func() {
			r.inbox.Handle("late", new(collector).handle)
		})
	})
}

func TestNewInbox_NamesTheFieldThatMakesNoSense(t *testing.T) {
	for says, c := range map[string]webhook.QueueConfig{
		"Timeout is -1s, must be at least":              {Timeout: -time.Second},
		"Lease is 999ms, must be at least 1s":           {Lease: 999 * time.Millisecond},
		"Poll is 1µs, must be at least 1ms":             {Poll: time.Microsecond},
		"Drain is -1s, must be at least":                {Drain: -time.Second},
		"Concurrency is -1, must be at least 1":         {Concurrency: -1},
		"Retry: field Max 1s is below Base 2s":          {Retry: webhook.RetryPolicy{Base: 2 * time.Second, Max: time.Second}},
		"Retry: field Jitter [2 1] must be an interval": {Retry: webhook.RetryPolicy{Jitter: [2]float64{2, 1}}},
	} {
		_, err := webhook.NewInbox(&faultyStore{}, webhook.InboxConfig{Queue: c})
		require.ErrorContains(t, err, "webhook: queue configuration: "+says)
	}
	_, err := webhook.NewInbox(nil, webhook.InboxConfig{})
	require.EqualError(t, err, "webhook: new inbox: the store is nil")
}

// Events of one request that share its body, or have equal ones, and ids that nobody
// signed, are several; the request sent again under other ids is a duplicate as a whole.
func TestReceive_BatchOfEqualBodies(t *testing.T) {
	for name, body := range map[string][]byte{"the request's": nil, "their own": []byte("ping")} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, webhook.QueueConfig{})
			r.inbox.Handle("billing", new(collector).handle)
			v := webhook.Verifier{
				Keyless: true, Telemetry: unlogged,
				Check: func(_ context.Context, r *webhook.Request) ([]webhook.Event, error) {
					var events []webhook.Event
					for _, id := range r.Header["X-Id"] {
						events = append(events, webhook.Event{ID: id, Body: body})
					}
					return events, nil
				},
			}
			route := webhook.Verify("shop", v)(r.inbox.Receive("billing"))
			send := func(ids ...string) {
				w, req := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader("[{},{},{}]"))
				req.Header["X-Id"] = ids
				route.ServeHTTP(w, req)
				require.Equal(t, http.StatusOK, w.Code)
			}
			send("1", "2", "3")
			require.Len(t, r.deliveries(), 3)
			send("1", "2", "3")
			send("4", "5", "6")
			send("7")
			require.Len(t, r.deliveries(), 3)
		})
	}
}

// What each event of a batch has beside it does not multiply without bound.
func TestReceive_BoundsWhatABatchStores(t *testing.T) {
	for name, c := range map[string]struct {
		head, body int // bytes of the request
		own        bool
		events     int
		status     int
	}{
		"headers and URL":          {8000, 0, true, 5000, http.StatusBadRequest},
		"some headers":             {100, 0, true, 5000, http.StatusOK},
		"the request's body, each": {0, 100_000, false, 1000, http.StatusBadRequest},
		"a large body's elements":  {0, 1_000_000, true, 10, http.StatusOK},
		"one event":                {8000, 1_000_000, false, 1, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, webhook.QueueConfig{Telemetry: unlogged})
			r.inbox.Handle("billing", new(collector).handle)
			v := webhook.Unverified(func(r *webhook.Request) ([]webhook.Event, error) {
				events := make([]webhook.Event, c.events)
				for i := range events {
					events[i].ID = strconv.Itoa(i)
					if c.own {
						events[i].Body = r.Body[:len(r.Body)/c.events]
					}
				}
				return events, nil
			})
			v.Keep, v.Telemetry = []string{"X-*"}, unlogged
			w := httptest.NewRecorder()
			req := httptest.NewRequest(http.MethodPost, "/?"+strings.Repeat("q", c.head), strings.NewReader(strings.Repeat("x", c.body)))
			req.Header.Set("X-Long", strings.Repeat("h", c.head))
			webhook.Verify("shop", v)(r.inbox.Receive("billing")).ServeHTTP(w, req)
			require.Equal(t, c.status, w.Code)
			n, err := r.inbox.Queue().Count(t.Context(), store.Filter{}, c.events)
			require.NoError(t, err)
			require.Equal(t, c.status == http.StatusOK, n == c.events)
			require.Equal(t, c.status != http.StatusOK, n == 0)
		})
	}
}
