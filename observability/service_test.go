// Package observability has the tests that hold what package webhook emits, the
// page docs/observability.md, the dashboard and the alerts together: with the SDK
// of OpenTelemetry, its Prometheus exporter, and a real Prometheus. It is a module
// of its own so that whoever imports the library gets none of these.
package observability

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/otlptranslator"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	api "go.opentelemetry.io/otel/trace"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// The signing secrets of both senders.
const (
	stripeSecret = "whsec_5f1c2b7d9a3e4f6081726354acbdfe01"
	acmeSecret   = "whsec_cXVpY2tzdGFydC1zZWNyZXQtb2YtYWNtZS1pbmM="
	forger       = "whsec_00000000000000000000000000000000"
)

// The handlers, as in examples/quickstart.
const (
	billing = "billing" // fails twice, then succeeds
	audit   = "audit"   // succeeds
	crm     = "crm"     // always fails, until it is mended; in the order of what stands before a "/" in an id
	ignores = "ignores" // discards
	later   = "later"   // asks for time once
)

// took is how long each attempt takes.
const took = 40 * time.Millisecond

// service is a program that receives webhooks, with everything that it emits.
type service struct {
	t       testing.TB
	st      *fallible
	inbox   *webhook.Inbox
	mux     *http.ServeMux
	mended  atomic.Bool // crm works
	handled sync.Map    // span contexts that handlers had, by destination and attempt

	telemetry webhook.Telemetry
	tracer    api.Tracer // of what is around the library
	reader    *metric.ManualReader
	registry  *client.Registry
	spans     *tracetest.InMemoryExporter
	logs      *lockedBuffer
}

// start runs a service. It is drained when the test ends.
func start(t testing.TB) *service {
	t.Helper()
	s := &service{
		t: t, st: &fallible{Store: memory.New()}, mux: http.NewServeMux(), reader: metric.NewManualReader(),
		registry: client.NewRegistry(), spans: tracetest.NewInMemoryExporter(), logs: &lockedBuffer{},
	}
	exporter, err := prometheus.New(prometheus.WithRegisterer(s.registry),
		prometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes))
	require.NoError(t, err)
	spans := trace.NewTracerProvider(trace.WithSyncer(s.spans))
	s.tracer = spans.Tracer("otelhttp")
	s.telemetry = webhook.Telemetry{
		Logger: slog.New(slog.NewJSONHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Tracer: spans,
		Meter:  metric.NewMeterProvider(metric.WithReader(s.reader), metric.WithReader(exporter)),
	}
	s.inbox, err = webhook.NewInbox(s.st, webhook.InboxConfig{Queue: webhook.QueueConfig{
		Telemetry: s.telemetry,
		Retry:     webhook.RetryPolicy{Attempts: 3, Delays: []time.Duration{100 * time.Millisecond}, Jitter: [2]float64{1, 1}},
	}})
	require.NoError(t, err)
	s.handle(billing, func(d store.Delivery) error {
		if d.Token <= 2 {
			return errors.New("ledger: connection refused")
		}
		return nil
	})
	s.handle(audit, func(store.Delivery) error { return nil })
	s.inbox.HandleWith(crm, s.handler(crm, func(store.Delivery) error {
		if !s.mended.Load() {
			return errors.New("crm: 500 Internal Server Error")
		}
		return nil
	}), webhook.HandlerConfig{OrderBy: func(e webhook.Event) string {
		key, _, _ := strings.Cut(e.ID, "/")
		return key
	}})
	s.handle(ignores, func(store.Delivery) error { return webhook.Discard("test mode") })
	s.handle(later, func(d store.Delivery) error {
		if d.Token == 1 {
			return webhook.RetryAfter(time.Second, errors.New("busy"))
		}
		return nil
	})
	stripe, err := provider.Stripe(stripeSecret)
	require.NoError(t, err)
	acme, err := provider.StandardWebhooks(acmeSecret)
	require.NoError(t, err)
	stripe.Telemetry, acme.Telemetry = s.telemetry, s.telemetry
	s.mux.Handle("/webhooks/stripe", s.arrival(webhook.Verify("stripe", stripe)(s.inbox.Receive(billing, audit))))
	s.mux.Handle("/webhooks/acme", webhook.Verify("acme", acme)(s.inbox.Receive(crm, ignores, later)))

	ctx, end := context.WithCancel(context.Background())
	drained := make(chan error, 1)
	go func() { drained <- webhook.Run(ctx, s.inbox) }()
	t.Cleanup(func() {
		end()
		require.NoError(t, <-drained)
		require.NoError(t, s.st.Close())
	})
	return s
}

// handle registers a handler.
func (s *service) handle(name string, h func(d store.Delivery) error) {
	s.inbox.Handle(name, s.handler(name, h))
}

// handler returns a handler that takes its time.
func (s *service) handler(name string, h func(d store.Delivery) error) webhook.Handler {
	return func(ctx context.Context, _ webhook.Event) error {
		d, _ := webhook.Current(ctx)
		s.handled.Store(fmt.Sprintf("%s %d", name, d.Token), api.SpanContextFromContext(ctx))
		time.Sleep(took)
		return h(d)
	}
}

// arrival is what otelhttp does: a span for each request.
func (s *service) arrival(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := s.tracer.Start(r.Context(), "POST /webhooks/stripe", api.WithSpanKind(api.SpanKindServer))
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// request is a webhook as its sender sends it.
type request struct {
	method string // empty: POST
	path   string
	secret string
	id     string
	body   string
	age    time.Duration // of its signature
	mend   func(http.Header)
}

func invoice(id string) request {
	return request{
		path: "/webhooks/stripe", secret: stripeSecret,
		body: `{"id":"` + id + `","object":"event","type":"invoice.paid","created":1764000000,"data":{"object":{"amount_paid":4200}}}`,
	}
}

func contact(id string) request {
	return request{path: "/webhooks/acme", secret: acmeSecret, id: id, body: `{"type":"contact.created","data":{"name":"Ada"}}`}
}

func (q request) with(change func(q *request)) request {
	change(&q)
	return q
}

// send signs q as its sender would, and returns the answer.
func (s *service) send(q request) *httptest.ResponseRecorder {
	s.t.Helper()
	preset := provider.StandardWebhooks
	if q.path == "/webhooks/stripe" {
		preset = provider.Stripe
	}
	v, err := preset(q.secret)
	require.NoError(s.t, err)
	r := &webhook.Request{
		Method: "POST", URL: &url.URL{Scheme: "https", Host: "example.com", Path: q.path}, Body: []byte(q.body),
		Header: http.Header{"Content-Type": {"application/json"}},
		Time:   time.Now().Add(-q.age), Secrets: []webhook.Secret{{Value: q.secret}},
	}
	require.NoError(s.t, v.Sign(r, webhook.Event{ID: q.id}))
	if q.mend != nil {
		q.mend(r.Header)
	}
	if q.method != "" {
		r.Method = q.method
	}
	return s.post(q.path, r)
}

// post delivers r as it is to target.
func (s *service) post(target string, r *webhook.Request) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(context.Background(), r.Method, target, bytes.NewReader(r.Body))
	req.Header = r.Header
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, req)
	return w
}

// traffic sends good and bad requests, as the quickstart does, at known times; in the end
// everything is processed. It takes some seconds.
func (s *service) traffic(wait func()) {
	s.t.Helper()
	for _, x := range []struct {
		request
		want int
	}{
		{invoice("evt_1"), 200},
		{invoice("evt_1"), 200}, // a duplicate
		{invoice("evt_1").with(func(q *request) { q.secret = forger }), 401},
		{invoice("evt_1").with(func(q *request) { q.age = 6 * time.Minute }), 401},
		{invoice("evt_2").with(func(q *request) { q.mend = func(h http.Header) { h.Del("Stripe-Signature") } }), 401},
		{invoice("evt_2").with(func(q *request) { q.method = "GET" }), 405},
		{invoice("evt_2").with(func(q *request) { q.body = strings.Repeat("x", 2<<20) }), 413},
		{contact("msg_1"), 200},
		{contact("msg_1").with(func(q *request) { q.secret = forger }), 401},
	} {
		require.Equal(s.t, x.want, s.send(x.request).Code, "%s %s", x.path, x.id)
	}
	wait()
	s.mended.Store(true)
	n, _, err := s.inbox.Queue().Redrive(context.Background(), store.Filter{}, "", 100)
	require.NoError(s.t, err)
	require.Equal(s.t, 1, n, "dead letters that were redriven")
	wait()
}

// fallible is a store that fails when it is told to, and takes its time to settle.
type fallible struct {
	store.Store
	failing atomic.Bool
	pages   atomic.Int64                               // of figures that were read
	settles atomic.Pointer[func(*store.Results) error] // what else becomes of a settle
}

func (f *fallible) Stats(ctx context.Context, queue, after string, limit int) ([]store.Stats, string, error) {
	f.pages.Add(1)
	return f.Store.Stats(ctx, queue, after, limit)
}

func (f *fallible) Commit(ctx context.Context, b *store.Batch) (*store.Results, error) {
	if f.failing.Load() {
		return nil, errors.New("disk full")
	}
	if len(b.Settles) == 0 {
		return f.Store.Commit(ctx, b)
	}
	time.Sleep(time.Millisecond)
	res, err := f.Store.Commit(ctx, b)
	if change := f.settles.Load(); change != nil && err == nil {
		err = (*change)(res)
	}
	return res, err
}

// lockedBuffer is a buffer for many goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
