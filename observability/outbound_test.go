package observability

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	api "go.opentelemetry.io/otel/trace"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/signature"
	"github.com/surehook/webhook/store"
)

// network answers for the endpoints, by the first part of their host's name.
type network struct {
	mu      sync.Mutex
	answers map[string]func() (status int, err error) // none: 204
	headers []http.Header
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(took)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.headers = append(n.headers, r.Header.Clone())
	name, _, _ := strings.Cut(r.URL.Host, ".")
	status := http.StatusNoContent
	if answer := n.answers[name]; answer != nil {
		var err error
		if status, err = answer(); err != nil {
			return nil, err
		}
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}

// dispatch adds a Dispatcher to s, with everything that it emits, for endpoints of
// those names. It is drained when the test ends.
func (s *service) dispatch(net *network, change func(c *webhook.DispatcherConfig), names ...string) *webhook.Dispatcher {
	s.t.Helper()
	var endpoints webhook.EndpointList
	for _, name := range names {
		endpoints = append(endpoints, webhook.Endpoint{
			ID: name, URL: "https://" + name + ".example/hooks", Secrets: []webhook.Secret{{Value: signature.NewSecret()}},
		})
	}
	c := webhook.DispatcherConfig{
		Endpoints: endpoints,
		Unguarded: func(webhook.Endpoint) http.RoundTripper { return net },
		Queue: webhook.QueueConfig{
			Telemetry: s.telemetry,
			Retry:     webhook.RetryPolicy{Attempts: 2, Delays: []time.Duration{time.Minute}, Jitter: [2]float64{1, 1}},
		},
	}
	if change != nil {
		change(&c)
	}
	out, err := webhook.NewDispatcher(s.st, c)
	require.NoError(s.t, err)
	ctx, end := context.WithCancel(context.Background())
	drained := make(chan error, 1)
	go func() { drained <- webhook.Run(ctx, out) }()
	s.t.Cleanup(func() {
		end()
		require.NoError(s.t, <-drained)
	})
	synctest.Wait()
	return out
}

// One trace from the caller over the queue to each attempt: Send is below the
// caller's span, and each attempt the root of its own trace, linked to Send.
func TestSpans_FollowAnEventOutwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		tries := 0
		out := s.dispatch(&network{answers: map[string]func() (int, error){"flaky": func() (int, error) {
			if tries++; tries == 1 {
				return http.StatusInternalServerError, nil
			}
			return http.StatusOK, nil
		}}}, nil, "flaky", "steady")
		ctx, caller := s.tracer.Start(t.Context(), "book an invoice")
		event := webhook.Event{ID: "msg_1", Type: "invoice.booked", Tenant: "acme", Source: "ledger", Body: []byte(`{}`), To: []string{"flaky", "steady"}}
		_, err := out.Send(ctx, event)
		require.NoError(t, err)
		caller.End()
		pass(2 * time.Minute)()

		sends := s.named("send outbox")
		require.Len(t, sends, 1)
		require.Equal(t, caller.SpanContext().SpanID(), sends[0].Parent.SpanID())
		require.Equal(t, caller.SpanContext().TraceID(), sends[0].SpanContext.TraceID())
		require.Equal(t, api.SpanKindProducer, sends[0].SpanKind)
		require.Equal(t, codes.Unset, sends[0].Status.Code)
		require.Equal(t, map[string]string{
			"messaging.system": "webhook", "messaging.operation.name": "send", "messaging.operation.type": "send",
			"messaging.message.id": "msg_1", "messaging.message.body.size": "2",
			"webhook.queue": "outbox", "webhook.source": "ledger", "webhook.event.type": "invoice.booked", "webhook.tenant": "acme",
		}, attributes(sends[0]))

		attempts := s.named("process outbox")
		require.Len(t, attempts, 3)
		became := map[string][]string{}
		for _, span := range attempts {
			require.Equal(t, api.SpanKindConsumer, span.SpanKind)
			require.False(t, span.Parent.IsValid(), "the root of a trace")
			require.Len(t, span.Links, 1)
			require.Equal(t, sends[0].SpanContext.SpanID(), span.Links[0].SpanContext.SpanID())
			require.Equal(t, sends[0].SpanContext.TraceID(), span.Links[0].SpanContext.TraceID())
			has := attributes(span)
			require.Equal(t, "msg_1", has["messaging.message.id"])
			to := has["messaging.destination.name"]
			became[to] = append(became[to], has["webhook.outcome"]+" "+has["error.type"]+" "+has["http.response.status_code"])
		}
		require.Equal(t, map[string][]string{"flaky": {"failed http_5xx 500", "processed  200"}, "steady": {"processed  204"}}, became)
	})
}

// The trace goes outwards only when asked for, and then as that of Send.
func TestSpans_PropagateOnRequest(t *testing.T) {
	const theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, propagate := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, net := start(t), &network{}
			out := s.dispatch(net, func(c *webhook.DispatcherConfig) { c.Propagate = propagate }, "steady")
			ctx, caller := s.tracer.Start(t.Context(), "book an invoice")
			_, err := out.Send(ctx, webhook.Event{ID: "1", Headers: http.Header{"Traceparent": {theirs}}})
			require.NoError(t, err)
			pass(time.Second)()
			require.Len(t, net.headers, 1)
			got := net.headers[0].Get("Traceparent")
			if !propagate {
				require.Empty(t, got)
				return
			}
			sc := caller.SpanContext()
			require.Equal(t, "00-"+sc.TraceID().String()+"-"+s.named("send outbox")[0].SpanContext.SpanID().String()+"-01", got)
		})
	}
}

// Without a span the event's own traceparent is linked to.
func TestSpans_SendIsLinkedToTheEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		out := s.dispatch(&network{}, nil, "steady")
		_, err := out.Send(t.Context(), webhook.Event{Headers: http.Header{"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}}, webhook.Event{})
		require.NoError(t, err)
		span := s.named("send outbox")[0]
		require.False(t, span.Parent.IsValid())
		require.Len(t, span.Links, 1)
		require.Equal(t, "4bf92f3577b34da6a3ce929d0e0e4736", span.Links[0].SpanContext.TraceID().String())
		require.Equal(t, "2", attributes(span)["messaging.batch.message_count"])
	})
}

// SendIn has a span too, below the attempt of the handler that calls it.
func TestSpans_SendInsideAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		out := s.dispatch(&network{}, nil, "steady")
		inbox := webhook.Must(webhook.NewInbox(s.st, webhook.InboxConfig{Queue: webhook.QueueConfig{Name: "relay", Telemetry: s.telemetry}}))
		inbox.Handle("relays", func(ctx context.Context, _ webhook.Event) error {
			_, err := out.SendIn(ctx, ownTx{s.st.Store}, webhook.Event{ID: "1"})
			return err
		})
		ctx, end := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- inbox.Run(ctx) }()
		synctest.Wait()
		_, err := inbox.Add(t.Context(), webhook.Event{Source: "cron", ID: "1", To: []string{"relays"}})
		require.NoError(t, err)
		pass(5 * time.Second)()
		relay, send, attempt := s.named("process relays")[0], s.named("send outbox")[0], s.named("process outbox")[0]
		require.Equal(t, relay.SpanContext.SpanID(), send.Parent.SpanID())
		require.Equal(t, send.SpanContext.SpanID(), attempt.Links[0].SpanContext.SpanID())
		require.Equal(t, int64(1), sums(t, s.collect()["messaging.client.sent.messages"], "webhook.outcome")["accepted"])
		end()
		require.NoError(t, <-ran)
	})
}

// What became of what was sent can be read off the metrics, and of no endpoint.
func TestMetrics_Outbound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		status := func(code int) func() (int, error) { return func() (int, error) { return code, nil } }
		out := s.dispatch(&network{answers: map[string]func() (int, error){
			"gone": status(http.StatusGone), "bad": status(http.StatusBadRequest),
			"closed": func() (int, error) { return 0, io.ErrUnexpectedEOF },
		}}, nil, "steady", "gone", "bad", "closed")
		count := func(name string, by ...string) map[string]int64 {
			return sums(t, s.collect()[name], append([]string{"webhook.queue", "messaging.destination.name"}, by...)...)
		}
		require.Equal(t, int64(0), count("messaging.client.sent.messages", "webhook.outcome")["outbox accepted"], "there before the first")
		require.Contains(t, count("webhook.dead_letters"), "outbox", "there before the first")

		for range 2 {
			_, err := out.Send(t.Context(), webhook.Event{ID: "1", Type: "invoice.booked"})
			require.NoError(t, err)
		}
		pass(10 * time.Minute)()
		sent := count("messaging.client.sent.messages", "webhook.outcome")
		require.Equal(t, []int64{1, 1}, []int64{sent["outbox accepted"], sent["outbox duplicate"]})
		attempts := count("messaging.client.consumed.messages", "webhook.outcome", "error.type")
		require.Equal(t, map[string]int64{"outbox processed": 1, "outbox failed http_4xx": 3, "outbox failed reset": 2}, attempts)
		require.Equal(t, int64(3), count("webhook.dead_letters")["outbox"])
		require.Equal(t, int64(2), count("webhook.delivery.retries")["outbox"])
		state := count("webhook.delivery.count", "webhook.state")
		require.Equal(t, int64(3), state["outbox dead"])
		holds := count("webhook.hold.count", "webhook.hold.kind")
		require.Equal(t, int64(1), holds["outbox disabled"])
		require.Contains(t, holds, "outbox paused", "there before the first")
		took := histograms(t, s.collect()["webhook.delivery.duration"], "webhook.queue", "messaging.destination.name")["outbox"]
		require.Equal(t, uint64(1), took.Count, "those that are processed")
	})
}

// From the commit to the end of the attempt that succeeds, retries and all.
func TestMetrics_DurationOfADelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		tries := 0
		out := s.dispatch(&network{answers: map[string]func() (int, error){"flaky": func() (int, error) {
			if tries++; tries == 1 {
				return http.StatusBadRequest, nil
			}
			return http.StatusOK, nil
		}}}, nil, "flaky")
		_, err := out.Send(t.Context(), webhook.Event{})
		require.NoError(t, err)
		pass(5 * time.Minute)()
		got := histograms(t, s.collect()["webhook.delivery.duration"], "webhook.queue", "messaging.destination.name")
		require.InDelta(t, time.Minute.Seconds(), got["outbox"].Sum, 1.5)
	})
}

// An attempt counts as under way from its beginning to its end, and no longer.
func TestMetrics_ActiveAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		out := s.dispatch(&network{}, nil, "a", "b", "c")
		active := func() int64 { return sums(t, s.collect()["webhook.active_attempts"], "webhook.queue")["outbox"] }
		require.Equal(t, int64(0), active())
		_, err := out.Send(t.Context(), webhook.Event{})
		require.NoError(t, err)
		time.Sleep(took / 2)
		require.Equal(t, int64(3), active())
		pass(time.Minute)()
		require.Equal(t, int64(0), active())
	})
}

// What is not stored is counted, by the reason, and its span has failed.
func TestMetrics_NotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		full := s.dispatch(&network{}, func(c *webhook.DispatcherConfig) { c.Queue.Name, c.Queue.MaxDepth = "full", 1 }, "steady")
		require.NoError(t, full.Queue().Pause(t.Context(), "steady", "until it is full"))
		_, err := full.Send(t.Context(), webhook.Event{})
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		_, err = full.Send(t.Context(), webhook.Event{})
		require.ErrorIs(t, err, webhook.ErrQueueFull)
		_, err = full.SendIn(t.Context(), ownTx{s.st.Store}, webhook.Event{})
		require.ErrorIs(t, err, webhook.ErrQueueFull)

		ill := s.dispatch(&network{}, func(c *webhook.DispatcherConfig) { c.Queue.Name, c.Endpoints = "ill", illEndpoints{} })
		_, err = ill.Send(t.Context(), webhook.Event{ID: "a.b"}, webhook.Event{})
		require.ErrorIs(t, err, webhook.ErrMalformed)
		_, err = ill.Send(t.Context(), webhook.Event{})
		require.ErrorContains(t, err, "webhook: send event 0: find its endpoints: the table is locked")
		require.Panics(t, func() { _, _ = ill.Send(t.Context(), webhook.Event{Type: "panics"}) })
		s.st.failing.Store(true)
		_, err = ill.Send(t.Context(), webhook.Event{To: []string{"steady"}})
		require.Error(t, err)
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = ill.Send(canceled, webhook.Event{To: []string{"steady"}})
		require.Error(t, err)
		s.st.failing.Store(false)

		require.Equal(t, map[string]int64{
			"full accepted": 1, "full duplicate": 0, "full rejected queue_full": 2,
			"ill accepted": 0, "ill duplicate": 0, "ill rejected malformed": 2, "ill rejected endpoints": 1, "ill rejected panic": 1,
			"ill rejected store": 1, "ill rejected canceled": 1,
		}, sums(t, s.collect()["messaging.client.sent.messages"], "webhook.queue", "webhook.outcome", "error.type"))
		var failed []string
		for _, span := range s.named("send ill") {
			require.Equal(t, codes.Error, span.Status.Code)
			failed = append(failed, attributes(span)["error.type"])
		}
		require.Equal(t, []string{"malformed", "endpoints", "panic", "store", "canceled"}, failed)
	})
}

// illEndpoints cannot be found out.
type illEndpoints struct{}

func (illEndpoints) Match(_ context.Context, _ store.Tx, e webhook.Event) ([]string, error) {
	if e.Type == "panics" {
		panic("no such column")
	}
	return nil, errors.New("the table is locked")
}

func (illEndpoints) Endpoint(context.Context, string) (webhook.Endpoint, error) {
	return webhook.Endpoint{}, webhook.ErrNotFound
}

// However many endpoints there are, one page of figures is read for a collection,
// and the series stay as many.
func TestMetrics_OfManyEndpointsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		names := make([]string, 3000)
		for i := range names {
			names[i] = "customer-" + strconv.Itoa(i)
		}
		out := s.dispatch(&network{}, func(c *webhook.DispatcherConfig) { c.Queue.MaxDepth = -1 }, names...)
		require.NoError(t, out.Queue().Pause(t.Context(), "customer-7", "asked for it"))
		_, err := out.Send(t.Context(), webhook.Event{})
		require.NoError(t, err)
		pass(10 * time.Minute)()
		s.st.pages.Store(0)
		m := s.collect()
		require.Equal(t, int64(1+1), s.st.pages.Load(), "one for each queue")
		for name, metric := range m {
			raw, err := json.Marshal(metric)
			require.NoError(t, err)
			require.NotContains(t, string(raw), "customer", name)
		}
		count := sums(t, m["webhook.delivery.count"], "webhook.queue", "webhook.state")
		require.Equal(t, int64(1), count["outbox queued"])
		require.Equal(t, int64(1), sums(t, m["webhook.hold.count"], "webhook.queue", "webhook.hold.kind")["outbox paused"])
		require.Equal(t, int64(2999), sums(t, m["messaging.client.consumed.messages"], "webhook.queue")["outbox"])
	})
}
