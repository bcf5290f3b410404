package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/surehook/webhook"
)

// openSDK has everything measured, and a span recorded for every attempt.
func openSDK(ctx context.Context, dir string) (*receiver, error) {
	meters := metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(droppedMetrics{}, metric.WithInterval(time.Second))))
	tracers := trace.NewTracerProvider(trace.WithSampler(trace.AlwaysSample()), trace.WithBatcher(droppedSpans{}))
	r, err := openSQLiteWith(ctx, dir, webhook.Telemetry{Meter: meters, Tracer: tracers})
	if err != nil {
		return nil, err
	}
	end := r.close
	r.close = func() error { return errors.Join(end(), tracers.Shutdown(ctx), meters.Shutdown(ctx)) }
	return r, nil
}

// droppedSpans takes spans, as an exporter does, and drops them: what an exporter
// costs is its own affair.
type droppedSpans struct{}

func (droppedSpans) ExportSpans(context.Context, []trace.ReadOnlySpan) error { return nil }
func (droppedSpans) Shutdown(context.Context) error                          { return nil }

// droppedMetrics does the same with metrics.
type droppedMetrics struct{}

func (droppedMetrics) Export(context.Context, *metricdata.ResourceMetrics) error { return nil }
func (droppedMetrics) ForceFlush(context.Context) error                          { return nil }
func (droppedMetrics) Shutdown(context.Context) error                            { return nil }
func (droppedMetrics) Temporality(k metric.InstrumentKind) metricdata.Temporality {
	return metric.DefaultTemporalitySelector(k)
}

func (droppedMetrics) Aggregation(k metric.InstrumentKind) metric.Aggregation {
	return metric.DefaultAggregationSelector(k)
}

// without are the functions of package observe that measure, begin spans, or read
// where an event comes from, with what they do in the program without instruments.
var without = map[string]string{
	"received":    "return",
	"Checked":     "return",
	"first":       "return",
	"ran":         "return",
	"led":         "return",
	"Begin":       "if true { return ctx, Attempt{} }",
	"Watch":       "if true { return func() {} }",
	"Traceparent": `if true { return "" }`,
}

// buildPlain builds this program without instruments, and returns its path.
func buildPlain(ctx context.Context, dir string) (string, error) {
	into, err := os.MkdirTemp(dir, "plain-")
	if err != nil {
		return "", err
	}
	overlay, err := layOver(ctx, into)
	if err != nil {
		return "", err
	}
	program := filepath.Join(into, "bench")
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", program, "github.com/surehook/webhook/bench")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build without instruments: %w: %s", err, bytes.TrimSpace(out))
	}
	return program, nil
}

// layOver writes the library's source without instruments into a folder, and
// returns the overlay for the build: the library cannot be told to have none.
func layOver(ctx context.Context, into string) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/surehook/webhook").Output()
	if err != nil {
		return "", fmt.Errorf("find the library: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), "internal", "observe", "*.go"))
	if err != nil {
		return "", err
	}
	over, emptied := map[string]string{}, map[string]bool{}
	for _, file := range files {
		source, names, err := empty(file)
		if err != nil {
			return "", err
		}
		for _, name := range names {
			emptied[name] = true
		}
		if len(names) > 0 {
			over[file] = filepath.Join(into, filepath.Base(file))
			if err := os.WriteFile(over[file], source, 0o600); err != nil {
				return "", err
			}
		}
	}
	for name := range without {
		if !emptied[name] {
			return "", fmt.Errorf("package observe has no function %s any more", name)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": over})
	if err != nil {
		return "", err
	}
	file := filepath.Join(into, "overlay.json")
	return file, os.WriteFile(file, overlay, 0o600)
}

// empty returns the source of a file of package observe, with the functions that
// measure emptied, and their names.
func empty(file string) (source []byte, names []string, err error) {
	if strings.HasSuffix(file, "_test.go") {
		return nil, nil, nil
	}
	if source, err = os.ReadFile(file); err != nil {
		return nil, nil, err
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, source, 0)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range slices.Backward(parsed.Decls) { // the places of the earlier ones stay
		f, ok := d.(*ast.FuncDecl)
		if !ok || without[f.Name.Name] == "" {
			continue
		}
		names = append(names, f.Name.Name)
		source = slices.Insert(source, set.Position(f.Body.Lbrace).Offset+1, []byte(" "+without[f.Name.Name]+"; ")...)
	}
	return source, names, nil
}

// What instruments may cost, as a share of the throughput without any: a tenth
// where nobody asks for metrics, a quarter with the SDK.
const (
	leastWithout = 0.90
	leastWithSDK = 0.75
)

// printInstruments prints what instruments cost.
func printInstruments(measured map[string][]round) {
	perSecond := func(m round) float64 { return m.PerSecond }
	cpu := func(m round) float64 { return float64(m.cpu) }
	plain := measured[rowPlain]
	fmt.Println("Instruments, by the medians of the rounds' ratios, beside the library built without any:")
	for _, c := range []struct {
		row, what string
		least     float64
	}{
		{rowSQLite, "no provider", leastWithout},
		{rowSDK, "the SDK, all metrics and every span", leastWithSDK},
	} {
		fmt.Printf("  %-36s  %.2f of its throughput (at least %.2f is wanted), %.2f times its CPU\n", c.what,
			ratio(column(measured[c.row], perSecond), column(plain, perSecond)), c.least,
			ratio(column(measured[c.row], cpu), column(plain, cpu)))
	}
	fmt.Println()
}
