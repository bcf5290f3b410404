package observability

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store/memory"
)

// pass lets d go by, in a bubble.
func pass(d time.Duration) func() {
	return func() {
		time.Sleep(d)
		synctest.Wait()
	}
}

// What happened can be read off the metrics: each event, each attempt, how long it
// took, and what failed.
func TestMetrics_TellWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		s.traffic(pass(5 * time.Second))
		m := s.collect()

		require.Equal(t, map[string]int64{
			"acme standard_webhooks accepted":           1,
			"acme standard_webhooks duplicate":          0,
			"acme standard_webhooks rejected signature": 1,
			"stripe stripe accepted":                    1,
			"stripe stripe duplicate":                   1,
			"stripe stripe rejected clock":              1,
			"stripe stripe rejected header_missing":     1,
			"stripe stripe rejected method":             1,
			"stripe stripe rejected signature":          1,
			"stripe stripe rejected too_large":          1,
		}, sums(t, m["webhook.received.events"], "webhook.source", "webhook.preset", "webhook.outcome", "error.type"))

		attempts := map[string]int64{
			"audit processed": 1, "billing failed error": 2, "billing processed": 1, "crm failed error": 3, "crm processed": 1,
			"ignores discarded": 1, "later deferred": 1, "later processed": 1,
		}
		by := []string{"messaging.destination.name", "webhook.outcome", "error.type"}
		require.Equal(t, attempts, sums(t, m["messaging.client.consumed.messages"], by...))
		durations := histograms(t, m["messaging.process.duration"], by...)
		for key, n := range attempts {
			require.Equal(t, uint64(n), durations[key].Count, key)
			require.InDelta(t, float64(n)*took.Seconds(), durations[key].Sum, 1e-9, key)
		}
		require.Len(t, durations, len(attempts))

		to := "messaging.destination.name"
		require.Equal(t, map[string]int64{"audit": 0, "billing": 2, "crm": 2, "ignores": 0, "later": 0}, sums(t, m["webhook.delivery.retries"], to))
		require.Equal(t, map[string]int64{"audit": 0, "billing": 0, "crm": 1, "ignores": 0, "later": 0}, sums(t, m["webhook.dead_letters"], to))
		lags := histograms(t, m["webhook.delivery.lag"], to)
		require.Len(t, lags, 5)
		for name, lag := range lags {
			require.Equal(t, uint64(1), lag.Count, "first attempts of %s: a retry and a redriven one are none", name)
			require.Zero(t, lag.Sum)
		}

		durations = histograms(t, m["webhook.delivery.duration"], to)
		require.Equal(t, []string{audit, billing, crm, later}, slices.Sorted(maps.Keys(durations)), "what is discarded has none")
		for name, d := range durations {
			require.Equal(t, uint64(1), d.Count, "the end of %s alone: a failure and a deferral are none", name)
		}

		require.Equal(t, map[string]int64{
			"acme " + (webhook.Secret{Value: acmeSecret}).String():     1,
			"stripe " + (webhook.Secret{Value: stripeSecret}).String(): 2,
		}, sums(t, m["webhook.secret.matches"], "webhook.source", "webhook.secret.id"))
		checks := histograms(t, m["webhook.verify.duration"], "webhook.source", "webhook.outcome")
		require.Equal(t, []uint64{1, 1, 2, 3}, []uint64{
			checks["acme accepted"].Count, checks["acme rejected"].Count, checks["stripe accepted"].Count, checks["stripe rejected"].Count,
		}, "a method and a size are refused without a check")
		skews := histograms(t, m["webhook.clock.skew"], "webhook.source", "webhook.outcome", "webhook.clock.direction")
		require.Equal(t, []string{"acme accepted ahead", "stripe accepted ahead", "stripe rejected behind"}, slices.Sorted(maps.Keys(skews)),
			"forged requests have no signed time")
		require.InDelta(t, 360, skews["stripe rejected behind"].Sum, 1)
		require.Equal(t, uint64(1), skews["stripe rejected behind"].Count)
	})
}

// The figures of the queue are those of the store, whenever somebody looks.
func TestMetrics_StateOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		synctest.Wait()
		to, state := "messaging.destination.name", "webhook.state"
		before := sums(t, s.collect()["webhook.delivery.count"], to, state)
		require.Len(t, before, 5*3, "handlers are there before their first delivery")
		require.Equal(t, int64(0), before["crm dead"])

		require.Equal(t, 200, s.send(contact("ada/1")).Code)
		pass(time.Minute)()
		require.Equal(t, 200, s.send(contact("ada/2")).Code, "behind a dead letter")
		pass(time.Minute)()
		m := s.collect()
		count := sums(t, m["webhook.delivery.count"], to, state)
		require.Equal(t, []int64{1, 1, 0}, []int64{count["crm dead"], count["crm queued"], count["crm processing"]})
		oldest := gauges(t, m["webhook.delivery.oldest.age"], to)
		require.InDelta(t, 60, oldest[crm], 0.01)
		require.Zero(t, oldest[billing], "nothing is queued")
		blocked := sums(t, m["webhook.blocked_key.count"], to)
		require.Equal(t, []int64{1, 0}, []int64{blocked[crm], blocked[billing]})
		ages := gauges(t, m["webhook.blocked_key.age"], to)
		require.InDelta(t, 120, ages[crm], 1, "it died within a second")
		require.Zero(t, ages[billing])
	})
}

// A store that fails is counted by what it failed at.
func TestMetrics_StoreFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		synctest.Wait()
		by := []string{"webhook.queue", "webhook.store.operation"}
		require.Equal(t, map[string]int64{"inbox add": 0, "inbox claim": 0, "inbox purge": 0, "inbox renew": 0, "inbox settle": 0},
			sums(t, s.collect()["webhook.store.failures"], by...))
		s.st.failing.Store(true)
		require.Equal(t, 503, s.send(contact("msg_1")).Code)
		s.st.failing.Store(false)
		m := s.collect()
		require.Positive(t, sums(t, m["webhook.store.failures"], by...)["inbox add"])
		require.Equal(t, int64(1), sums(t, m["webhook.received.events"], "webhook.source", "webhook.outcome", "error.type")["acme rejected store"])
	})
}

// After Run has returned nobody asks the store, which may be closed.
func TestMetrics_EndWithRun(t *testing.T) {
	var asked error
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { asked = errors.Join(asked, err) }))
	st := memory.New()
	reader := metric.NewManualReader()
	telemetry := webhook.Telemetry{Meter: metric.NewMeterProvider(metric.WithReader(reader))}
	inbox, err := webhook.NewInbox(st, webhook.InboxConfig{Queue: webhook.QueueConfig{Telemetry: telemetry}})
	require.NoError(t, err)
	inbox.Handle(audit, func(context.Context, webhook.Event) error { return nil })
	ctx, end := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- inbox.Run(ctx) }()
	require.Eventually(t, func() bool { return collected(t, reader)["webhook.delivery.count"].Data != nil }, 5*time.Second, time.Millisecond)
	end()
	require.NoError(t, <-ran)
	require.NoError(t, st.Close())
	require.NotContains(t, collected(t, reader), "webhook.delivery.count")
	require.NoError(t, asked)
}

// A program that makes up sources does not fill the memory of whoever collects.
func TestMetrics_AreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		const n = 3000
		for i := range n {
			_, err := s.inbox.Add(t.Context(), webhook.Event{Source: fmt.Sprint("made up ", i), ID: "1", To: []string{audit}})
			require.NoError(t, err)
		}
		pass(10 * time.Second)()
		got := sums(t, s.collect()["webhook.received.events"], "webhook.source", "webhook.outcome")
		require.LessOrEqual(t, len(got), 1010)
		require.Greater(t, got["_OTHER accepted"], int64(1900))
		total := int64(0)
		for _, v := range got {
			total += v
		}
		require.Equal(t, int64(n), total, "each is counted, if only under _OTHER")
	})
}

// The names that are not ours are those of the conventions.
func TestMetrics_FollowTheConventions(t *testing.T) {
	page := pageMetrics(t)
	for _, m := range []interface{ Name() string }{messagingconv.ProcessDuration{}, messagingconv.ClientConsumedMessages{}} {
		require.Contains(t, page, m.Name())
	}
	require.Equal(t, messagingconv.ProcessDuration{}.Unit(), page[messagingconv.ProcessDuration{}.Name()].unit)
	require.Equal(t, messagingconv.ClientConsumedMessages{}.Unit(), page[messagingconv.ClientConsumedMessages{}.Name()].unit)
	known := []attribute.Key{
		semconv.MessagingSystemKey, semconv.MessagingOperationNameKey, semconv.MessagingDestinationNameKey, semconv.ErrorTypeKey,
	}
	for name, m := range page {
		for _, key := range m.attributes {
			require.True(t, strings.HasPrefix(key, "webhook.") || slices.Contains(known, attribute.Key(key)), "%s of %s", key, name)
		}
	}
}

// A zero Telemetry goes to the global provider, also to one that is set later.
func TestMetrics_GlobalProvider(t *testing.T) {
	inbox, err := webhook.NewInbox(memory.New(), webhook.InboxConfig{})
	require.NoError(t, err)
	inbox.Handle(audit, func(context.Context, webhook.Event) error { return nil })
	reader := metric.NewManualReader()
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(reader)))
	_, err = inbox.Add(t.Context(), webhook.Event{Source: "global", ID: "1", To: []string{audit}})
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"global": 1}, sums(t, collected(t, reader)["webhook.received.events"], "webhook.source"))
}

func (s *service) collect() map[string]metricdata.Metrics { return collected(s.t, s.reader) }

// collected returns the metrics by their names.
func collected(t testing.TB, r metric.Reader) map[string]metricdata.Metrics {
	t.Helper()
	var rm metricdata.ResourceMetrics
	require.NoError(t, r.Collect(context.Background(), &rm))
	all := map[string]metricdata.Metrics{}
	for _, scope := range rm.ScopeMetrics {
		require.Equal(t, "github.com/surehook/webhook", scope.Scope.Name)
		require.Equal(t, semconv.SchemaURL, scope.Scope.SchemaURL)
		for _, m := range scope.Metrics {
			require.NotContains(t, all, m.Name)
			require.NotEmpty(t, m.Description, m.Name)
			all[m.Name] = m
		}
	}
	return all
}

// key joins the values of the attributes that are there.
func key(set attribute.Set, by []string) string {
	var values []string
	for _, k := range by {
		if v, ok := set.Value(attribute.Key(k)); ok {
			values = append(values, v.AsString())
		}
	}
	return strings.Join(values, " ")
}

func sums(t testing.TB, m metricdata.Metrics, by ...string) map[string]int64 {
	t.Helper()
	data, ok := m.Data.(metricdata.Sum[int64])
	require.True(t, ok, "%q is %T", m.Name, m.Data)
	got := map[string]int64{}
	for _, p := range data.DataPoints {
		got[key(p.Attributes, by)] += p.Value
	}
	return got
}

func gauges(t testing.TB, m metricdata.Metrics, by ...string) map[string]float64 {
	t.Helper()
	data, ok := m.Data.(metricdata.Gauge[float64])
	require.True(t, ok, "%q is %T", m.Name, m.Data)
	got := map[string]float64{}
	for _, p := range data.DataPoints {
		got[key(p.Attributes, by)] = p.Value
	}
	return got
}

func histograms(t testing.TB, m metricdata.Metrics, by ...string) map[string]metricdata.HistogramDataPoint[float64] {
	t.Helper()
	data, ok := m.Data.(metricdata.Histogram[float64])
	require.True(t, ok, "%q is %T", m.Name, m.Data)
	got := map[string]metricdata.HistogramDataPoint[float64]{}
	for _, p := range data.DataPoints {
		k := key(p.Attributes, by)
		require.NotContains(t, got, k)
		got[k] = p
	}
	return got
}
