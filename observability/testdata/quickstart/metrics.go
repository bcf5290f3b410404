package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// This file is laid over examples/quickstart when the tests build it: the program
// is as it is, and its metrics go to OpenTelemetry's SDK, as those of any program
// that sets the global provider. QUICKSTART_METRICS is the file that gets the
// address under which they are to be had.
func init() {
	file := os.Getenv("QUICKSTART_METRICS")
	if file == "" || os.Getenv(envCrash) != "" {
		return
	}
	if err := serveMetrics(file); err != nil {
		fmt.Fprintln(os.Stderr, "metrics:", err)
		os.Exit(1)
	}
}

func serveMetrics(file string) error {
	registry := client.NewRegistry()
	exporter, err := prometheus.New(prometheus.WithRegisterer(registry),
		prometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes))
	if err != nil {
		return err
	}
	reader := metric.NewManualReader()
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(exporter), metric.WithReader(reader)))

	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/instruments", func(w http.ResponseWriter, r *http.Request) {
		all, err := instruments(r.Context(), reader)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(all)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go http.Serve(l, mux)
	// Renamed, so that whoever finds it finds all of it.
	if err := os.WriteFile(file+".new", []byte(l.Addr().String()), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// instrument is what the SDK knows of one.
type instrument struct {
	Name, Kind, Unit string
	Attributes       map[string][]string // with their values
}

func instruments(ctx context.Context, r metric.Reader) (all []instrument, err error) {
	var rm metricdata.ResourceMetrics
	if err := r.Collect(ctx, &rm); err != nil {
		return nil, err
	}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			i := instrument{Name: m.Name, Unit: m.Unit, Attributes: map[string][]string{}}
			var sets []attribute.Set
			i.Kind, sets = look(m.Data)
			for _, set := range sets {
				for _, kv := range set.ToSlice() {
					i.Attributes[string(kv.Key)] = append(i.Attributes[string(kv.Key)], kv.Value.AsString())
				}
			}
			all = append(all, i)
		}
	}
	return all, nil
}

// look returns the word of docs/observability.md for a kind of metric, and the
// attributes of its points.
func look(data metricdata.Aggregation) (kind string, sets []attribute.Set) {
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		kind = "up-down counter, observed"
		if d.IsMonotonic {
			kind = "counter"
		}
		for _, p := range d.DataPoints {
			sets = append(sets, p.Attributes)
		}
	case metricdata.Gauge[float64]:
		kind = "gauge, observed"
		for _, p := range d.DataPoints {
			sets = append(sets, p.Attributes)
		}
	case metricdata.Histogram[float64]:
		kind = "histogram"
		for _, p := range d.DataPoints {
			sets = append(sets, p.Attributes)
		}
	default:
		kind = fmt.Sprintf("%T", d)
	}
	return kind, sets
}
