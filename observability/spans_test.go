package observability

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	api "go.opentelemetry.io/otel/trace"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

// named returns the finished spans of that name, in the order of their starts.
func (s *service) named(name string) tracetest.SpanStubs {
	var found tracetest.SpanStubs
	for _, span := range s.spans.GetSpans() {
		if span.Name == name {
			found = append(found, span)
		}
	}
	slices.SortStableFunc(found, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	return found
}

// attributes returns those of a span as text.
func attributes(s tracetest.SpanStub) map[string]string {
	got := map[string]string{}
	for _, kv := range s.Attributes {
		got[string(kv.Key)] = kv.Value.String()
	}
	return got
}

// One trace over the queue: each attempt is the root of its own, and linked to the
// request that brought the event.
func TestSpans_FollowAnEventOverTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		synctest.Wait()
		require.Equal(t, 200, s.send(invoice("evt_1")).Code)
		pass(5 * time.Second)()
		// A duplicate comes in a trace of its own, and changes nothing.
		require.Equal(t, 200, s.send(invoice("evt_1")).Code)
		pass(5 * time.Second)()

		arrivals, attempts := s.named("POST /webhooks/stripe"), s.named("process billing")
		require.Len(t, arrivals, 2)
		require.Len(t, attempts, 3)
		arrived := arrivals[0].SpanContext
		traces := map[api.TraceID]bool{arrived.TraceID(): true}
		d := s.delivery(billing)
		for i, span := range attempts {
			require.Equal(t, api.SpanKindConsumer, span.SpanKind)
			require.False(t, span.Parent.IsValid(), "the root of a trace")
			require.Len(t, span.Links, 1)
			require.Equal(t, arrived.TraceID(), span.Links[0].SpanContext.TraceID())
			require.Equal(t, arrived.SpanID(), span.Links[0].SpanContext.SpanID())
			require.True(t, span.Links[0].SpanContext.IsSampled())
			require.NotContains(t, traces, span.SpanContext.TraceID())
			traces[span.SpanContext.TraceID()] = true
			require.Equal(t, took, span.EndTime.Sub(span.StartTime))
			require.Equal(t, "github.com/surehook/webhook", span.InstrumentationScope.Name)
			require.Equal(t, semconv.SchemaURL, span.InstrumentationScope.SchemaURL)

			number := []string{"1", "2", "3"}[i]
			had, _ := s.handled.Load("billing " + number)
			require.Equal(t, span.SpanContext, had, "the handler's context carries the span")
			require.Equal(t, span.SpanContext.TraceID().String(), d.Attempts[i].TraceID)

			want := map[string]string{
				"messaging.system": "webhook", "messaging.operation.name": "process", "messaging.operation.type": "process",
				"messaging.destination.name": "billing", "messaging.message.id": "evt_1", "messaging.message.body.size": strconv.Itoa(len(invoice("evt_1").body)),
				"webhook.queue": "inbox", "webhook.source": "stripe", "webhook.event.type": "invoice.paid",
				"webhook.delivery.id": d.ID, "webhook.attempt": number, "webhook.outcome": "failed", "error.type": "error",
			}
			status := codes.Error
			if i == 2 {
				want["webhook.outcome"] = "processed"
				delete(want, "error.type")
				status = codes.Unset
			}
			require.Equal(t, want, attributes(span))
			require.Equal(t, status, span.Status.Code)
			if i < 2 {
				require.Equal(t, "ledger: connection refused", span.Status.Description)
			}
		}
		require.Len(t, s.named("process audit"), 1)
	})
}

func (s *service) delivery(to string) store.Delivery {
	s.t.Helper()
	for d, err := range s.inbox.Queue().Find(context.Background(), store.Filter{Destination: to}) {
		require.NoError(s.t, err)
		d, err = s.inbox.Queue().Get(context.Background(), d.ID)
		require.NoError(s.t, err)
		return d
	}
	s.t.Fatalf("no delivery for %s", to)
	panic("unreachable")
}

// What is no failure leaves the status of a span unset; what is dead is one.
func TestSpans_Outcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		synctest.Wait()
		require.Equal(t, 200, s.send(contact("msg_1")).Code)
		pass(10 * time.Second)()
		var got []string
		for _, name := range []string{"process crm", "process ignores", "process later"} {
			for _, span := range s.named(name) {
				got = append(got, name+": "+attributes(span)["webhook.outcome"]+" "+attributes(span)["error.type"]+" "+span.Status.Code.String())
			}
		}
		require.Equal(t, []string{
			"process crm: failed error Error", "process crm: failed error Error", "process crm: failed error Error",
			"process ignores: discarded  Unset", "process later: deferred  Unset", "process later: processed  Unset",
		}, got)
	})
}

// Without a span of its own the request's traceparent is linked to, if it is one:
// it is anybody's word, and no more than that.
func TestSpans_TraceparentIsOnlyLinkedTo(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for header, linked := range map[string]bool{
		good: true, "": false, good[1:]: false, good + "-x": false, "ff" + good[2:]: false,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": false, "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01": false,
		"\r\n" + good[2:]: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := start(t)
			synctest.Wait()
			q := contact("msg_1").with(func(q *request) {
				q.mend = func(h http.Header) { h["Traceparent"] = []string{header} }
			})
			require.Equal(t, 200, s.send(q).Code)
			pass(10 * time.Second)()
			span := s.named("process ignores")[0]
			require.False(t, span.Parent.IsValid())
			require.NotEqual(t, "4bf92f3577b34da6a3ce929d0e0e4736", span.SpanContext.TraceID().String())
			trace := s.delivery(ignores).Record.Trace
			if !linked {
				require.Empty(t, span.Links, "%q", header)
				require.Empty(t, trace)
				return
			}
			require.Len(t, span.Links, 1)
			require.True(t, span.Links[0].SpanContext.IsRemote())
			require.Equal(t, good, trace)
		})
	}
}

// An event that a handler adds is linked to the attempt that added it.
func TestSpans_AddInsideAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		synctest.Wait()
		ctx, span := s.tracer.Start(t.Context(), "nightly")
		_, err := s.inbox.Add(ctx, webhook.Event{Source: "cron", ID: "1", To: []string{audit}})
		require.NoError(t, err)
		span.End()
		pass(time.Second)()
		attempt := s.named("process audit")[0]
		require.Equal(t, span.SpanContext().SpanID(), attempt.Links[0].SpanContext.SpanID())
	})
}

// A drain that cuts an attempt off is no error, and ends its span.
func TestSpans_HandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		stuck := webhook.Must(webhook.NewInbox(s.st, webhook.InboxConfig{Queue: webhook.QueueConfig{
			Name: "other", Drain: time.Second, Telemetry: s.telemetry,
		}}))
		stuck.Handle("stuck", func(ctx context.Context, _ webhook.Event) error { <-ctx.Done(); return ctx.Err() })
		// A span in Run's context is not the attempts', and is not ended by them.
		ctx, running := s.tracer.Start(context.Background(), "main")
		ctx, end := context.WithCancel(ctx)
		ran := make(chan error, 1)
		go func() { ran <- stuck.Run(ctx) }()
		synctest.Wait()
		_, err := stuck.Add(t.Context(), webhook.Event{Source: "cron", ID: "1", To: []string{"stuck"}})
		require.NoError(t, err)
		synctest.Wait()
		end()
		require.NoError(t, <-ran)
		require.True(t, running.IsRecording())
		span := s.named("process stuck")[0]
		require.False(t, span.Parent.IsValid())
		require.Equal(t, "handed_back", attributes(span)["webhook.outcome"])
		require.Equal(t, codes.Unset, span.Status.Code)
		running.End()
		require.Empty(t, sums(t, s.collect()["webhook.delivery.retries"], "messaging.destination.name")["stuck"])
	})
}
