package observability_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store/memory"
)

// Metrics for Prometheus and spans for whoever collects them: the providers are
// OpenTelemetry's, set before routes and queues are built.
func Example() {
	registry := client.NewRegistry()
	exporter, err := prometheus.New(
		prometheus.WithRegisterer(registry),
		prometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes), // the names of the dashboard
	)
	if err != nil {
		log.Fatal(err)
	}
	meters := metric.NewMeterProvider(metric.WithReader(exporter))
	defer func() { _ = meters.Shutdown(context.Background()) }()
	otel.SetMeterProvider(meters)

	// One trace in ten; trace.WithBatcher(exporter) says where to.
	tracers := trace.NewTracerProvider(trace.WithSampler(trace.TraceIDRatioBased(0.1)))
	defer func() { _ = tracers.Shutdown(context.Background()) }()
	otel.SetTracerProvider(tracers)

	inbox := webhook.Must(webhook.NewInbox(memory.New(), webhook.InboxConfig{}))
	inbox.Handle("billing", func(context.Context, webhook.Event) error { return nil })
	shop := webhook.Unverified(func(r *webhook.Request) ([]webhook.Event, error) {
		return []webhook.Event{{ID: r.Header.Get("X-Shop-Id")}}, nil
	})
	mux := http.NewServeMux()
	// With otelhttp.NewHandler around it, attempts are linked to the request's span.
	mux.Handle("/webhooks/shop", webhook.Verify("shop", shop)(inbox.Receive("billing")))
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	event := httptest.NewRequest(http.MethodPost, "/webhooks/shop", strings.NewReader(`{}`))
	event.Header.Set("X-Shop-Id", "1")
	mux.ServeHTTP(httptest.NewRecorder(), event)
	scraped := httptest.NewRecorder()
	mux.ServeHTTP(scraped, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(scraped.Body.String()) {
		if strings.HasPrefix(line, "webhook_received_events_total") {
			_, labels, _ := strings.Cut(strings.TrimSpace(line), `scope_version="",`)
			fmt.Println(labels)
		}
	}
	// Output:
	// webhook_outcome="accepted",webhook_preset="unverified",webhook_source="shop"} 1
	// webhook_outcome="duplicate",webhook_preset="unverified",webhook_source="shop"} 0
}
