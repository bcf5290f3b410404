//go:build unix

package observability

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apimetric "go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
	apitrace "go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store/sqlite"
)

// nowhere takes spans, as an exporter does, and drops them.
type nowhere struct{}

func (nowhere) ExportSpans(context.Context, []trace.ReadOnlySpan) error { return nil }
func (nowhere) Shutdown(context.Context) error                          { return nil }

// BenchmarkCost is the full cycle of an event of 1 KiB on SQLite, add → handler →
// processed, from 64 adders, without a provider and with the SDK.
func BenchmarkCost(b *testing.B) {
	for _, c := range []struct {
		name string
		make func() (apimetric.MeterProvider, apitrace.TracerProvider)
	}{
		{name: "no-op", make: func() (apimetric.MeterProvider, apitrace.TracerProvider) {
			return noopmetric.NewMeterProvider(), nooptrace.NewTracerProvider()
		}},
		{name: "metrics", make: func() (apimetric.MeterProvider, apitrace.TracerProvider) {
			return metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())), nooptrace.NewTracerProvider()
		}},
		{name: "metrics and every tenth span", make: func() (apimetric.MeterProvider, apitrace.TracerProvider) {
			return metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())),
				trace.NewTracerProvider(trace.WithBatcher(nowhere{}), trace.WithSampler(trace.TraceIDRatioBased(0.1)))
		}},
		{name: "metrics and every span", make: func() (apimetric.MeterProvider, apitrace.TracerProvider) {
			return metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())), trace.NewTracerProvider(trace.WithBatcher(nowhere{}))
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			// Records are written, and go nowhere: part of what is compared.
			telemetry := webhook.Telemetry{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))} //nolint:sloglint // see above
			telemetry.Meter, telemetry.Tracer = c.make()
			cycle(b, telemetry)
		})
	}
}

func cycle(b *testing.B, telemetry webhook.Telemetry) {
	b.Helper()
	st, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "webhooks.db"), sqlite.Config{})
	require.NoError(b, err)
	inbox, err := webhook.NewInbox(st, webhook.InboxConfig{Queue: webhook.QueueConfig{Telemetry: telemetry}})
	require.NoError(b, err)
	inbox.Handle("noop", func(context.Context, webhook.Event) error { return nil })
	ctx, end := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- inbox.Run(ctx) }()

	body := []byte(`{"data":"` + strings.Repeat("x", 1013) + `"}`)
	var n atomic.Int64
	b.SetParallelism(64)
	b.ReportAllocs()
	before := processorTime(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			e := webhook.Event{Source: "bench", ID: strconv.FormatInt(n.Add(1), 10), Type: "invoice.paid", Body: body, To: []string{"noop"}}
			if _, err := inbox.Add(b.Context(), e); err != nil {
				b.Error(err)
			}
		}
	})
	for range time.Tick(time.Millisecond) {
		stats, err := inbox.Queue().Stats(b.Context())
		require.NoError(b, err)
		if stats.Queued+stats.Processing == 0 {
			break
		}
	}
	b.StopTimer()
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
	end()
	require.NoError(b, <-ran)
	require.NoError(b, st.Close())
}

// processorTime returns what this process has used: on a machine that does other
// things too it says more than the clock.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
