package webhook

import (
	"log/slog"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/surehook/webhook/internal/observe"
)

// Telemetry is where log records, spans and metrics go; the zero value takes
// slog.Default and OpenTelemetry's global providers.
//
// Every finished attempt is one record at INFO, and so is every received event,
// unless it is attempted at once: then its own record is DEBUG, since that of the
// attempt follows. Refused requests are records at WARN (limited in rate, with a
// count of those left out, as far as they come again), dead letters at ERROR. What a
// person does to a queue is INFO, and so are the beginning and the end of Run; what
// somebody should look at is WARN or ERROR. docs/observability.md lists each message
// with its level, and what is measured. Every attempt is a span "process NAME", the
// root of a trace of its own, which is linked to the span of the request that brought
// the event, or to the sender's traceparent. Of a Dispatcher each Send is a span
// "send QUEUE" below the caller's, and its attempts, "process QUEUE", are linked to
// it. Nothing of it holds a payload, a secret or a signature, and no metric an
// endpoint.
//
// The global providers may be set later, by otel.SetTracerProvider and
// otel.SetMeterProvider; what came before is not measured.
type Telemetry struct {
	Logger *slog.Logger
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider
}

func (t Telemetry) observer() *observe.Observer {
	return observe.New(observe.Inbound, t.Logger, t.Tracer, t.Meter)
}

// sender is the observer of what is sent.
func (t Telemetry) sender() *observe.Observer {
	return observe.New(observe.Outbound, t.Logger, t.Tracer, t.Meter)
}
