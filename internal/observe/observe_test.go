package observe

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/surehook/webhook/store"
)

func TestMade_IsBounded(t *testing.T) {
	times := 0
	m := newMade(func(k receipt) *string { times++; return &k.source }, receipt.bounded)
	first := m.of(receipt{source: "0"})
	for range 2 {
		for i := range 2 * maxMade {
			got := *m.of(receipt{source: strconv.Itoa(i)})
			if want := strconv.Itoa(i); i < maxMade {
				require.Equal(t, want, got)
			} else {
				require.Equal(t, other, got)
			}
		}
	}
	require.Same(t, first, m.of(receipt{source: "0"}))
	require.Equal(t, maxMade+1, times, "each once, and one for all others")
}

func TestMade_Concurrent(t *testing.T) {
	m := newMade(func(k destination) *string { return &k.name }, destination.bounded)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				if want := strconv.Itoa(i); *m.of(destination{"inbox", want}) != want {
					t.Errorf("got another's than that of %s", want)
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, *m.known.Load(), 200)
}

// What nobody collects costs the span and its context, and nothing else.
func TestObserver_AllocatesNothing(t *testing.T) {
	for _, way := range []Direction{Inbound, Outbound} {
		requireNoAllocations(t, New(way, nil, nooptrace.NewTracerProvider(), noop.NewMeterProvider()))
	}
}

func requireNoAllocations(t *testing.T, o *Observer) {
	t.Helper()
	ctx := t.Context()
	d := &store.Delivery{Queue: "inbox", Destination: "billing", Token: 1, Record: &store.Record{}}
	a := &store.Attempt{Outcome: store.OutcomeFailed, Class: "timeout"}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		o.received(ctx, receipt{"shop", "stripe", accepted, ""}, 1)
		o.Checked(ctx, Check{Source: "shop", Accepted: true, Secret: "k1", Signed: true})
		o.ran(ctx, d, a, Failed, "timeout")
		o.led(ctx, d, store.Queued, Failed)
		o.led(ctx, d, store.Processed, Processed)
		o.sent(ctx, sent{"outbox", accepted, ""}, 1)
		o.first(ctx, d)
	}))
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		_, at := o.Begin(ctx, d)
		at.end(a, Failed, "timeout", "down")
	}), 3.0)
}

func TestTraceparent(t *testing.T) {
	const header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	here := trace.NewSpanContext(trace.SpanContextConfig{TraceID: [16]byte{1}, SpanID: [8]byte{2}})
	ctx := trace.ContextWithSpanContext(t.Context(), here)
	require.Equal(t, header, Traceparent(t.Context(), header))
	require.Equal(t, "00-01000000000000000000000000000000-0200000000000000-00", Traceparent(ctx, header), "the span here is nearer")
	require.Empty(t, Traceparent(t.Context(), ""))
	// Of a later version what is known: https://www.w3.org/TR/trace-context/#versioning-of-traceparent
	require.Equal(t, header, Traceparent(t.Context(), "cc"+header[2:]+"-what-the-future-will-be-like"))
}

// Whatever is sent as a traceparent, what is stored is one, or nothing.
func FuzzTraceparent(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Add("00-00000000000000000000000000000000-0000000000000000-00")
	f.Add("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more")
	f.Fuzz(func(t *testing.T, header string) {
		got := Traceparent(context.Background(), header)
		if got == "" {
			return
		}
		require.Len(t, got, 55)
		require.Empty(t, strings.Trim(got, "0123456789abcdef-"))
		require.Equal(t, got, Traceparent(context.Background(), got), "it reads back")
	})
}
