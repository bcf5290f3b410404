package observe

import (
	"cmp"
	"context"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/surehook/webhook/store"
)

// Attempt is one try of a delivery while it is under way. The zero value is one
// that did not begin.
type Attempt struct{ span trace.Span }

// TraceID returns the trace in which the attempt runs, empty where it is in none.
func (a Attempt) TraceID() string {
	if a.span == nil || !a.span.SpanContext().HasTraceID() {
		return ""
	}
	return a.span.SpanContext().TraceID().String()
}

// Begin begins an attempt of d: a span of its own that is the root of a trace,
// since what came from outside decides nothing here, with a link to where the
// event came from. The handler is to run under the context that it returns.
func (o *Observer) Begin(ctx context.Context, d *store.Delivery) (context.Context, Attempt) {
	o.first(ctx, d)
	start := o.starts.of(o.of(d))
	options := start.options
	if from := remote(d.Record.Trace); from.IsValid() {
		// At the start: a sampler sees no link that is added later.
		linked := trace.WithLinks(trace.Link{SpanContext: from})
		options = append(slices.Clip(options), linked)
	}
	ctx, span := o.tracer.Start(ctx, start.name, options...)
	if span.IsRecording() {
		r := d.Record
		span.SetAttributes(
			attribute.String(attrDestination, Clean(d.Destination)),
			attribute.String(attrMessageID, Clean(r.ID)),
			attribute.Int(attrBodySize, len(r.Body)),
			attribute.String(attrSource, Clean(r.Source)),
			attribute.String(attrType, Clean(r.Type)),
			attribute.String(attrDelivery, d.ID),
			attribute.Int64(attrAttempt, int64(d.Token)), //nolint:gosec // a count of claims
		)
		if r.Tenant != "" {
			span.SetAttributes(attribute.String(attrTenant, Clean(r.Tenant)))
		}
	}
	return ctx, Attempt{span}
}

// end ends the span of an attempt, of which t tells unless it is nil. Success
// leaves the status unset; text is for what has a type of error.
func (a Attempt) end(t *store.Attempt, outcome, errorType, text string) {
	if a.span == nil {
		return
	}
	if a.span.IsRecording() {
		a.span.SetAttributes(attribute.String(attrOutcome, outcome))
		if errorType != "" {
			a.span.SetAttributes(attribute.String(attrErrorType, errorType))
			a.span.SetStatus(codes.Error, Clean(text))
		}
		if t != nil {
			if t.Status != 0 {
				a.span.SetAttributes(attribute.Int(attrHTTP, t.Status))
			}
			// What came after it, the settle, is not its work.
			a.span.End(trace.WithTimestamp(t.Start.Add(t.Duration)))
			return
		}
	}
	a.span.End()
}

// startOf is what the spans of one destination start with, or those of an
// outbound queue: a span's name is from a short list, too.
type startOf struct {
	name    string
	options []trace.SpanStartOption
}

// startsOf returns what the spans of d start with.
func startsOf(d destination) *startOf {
	return &startOf{
		name: operationProcess + " " + Clean(cmp.Or(d.name, d.queue)),
		options: []trace.SpanStartOption{
			trace.WithSpanKind(trace.SpanKindConsumer),
			trace.WithNewRoot(),
			trace.WithAttributes(append(d.attributes(),
				attribute.String(attrSystem, systemWebhook),
				attribute.String(attrOperation, operationProcess),
				attribute.String(attrOperationType, operationProcess))...),
		},
	}
}

// Traceparent returns where an event comes from, as a W3C traceparent: the span
// in ctx if there is one, such as that of the request, else what the header of
// that name says, if it is one. Nobody vouches for the latter: it is good for
// links alone.
func Traceparent(ctx context.Context, header string) string {
	here := trace.SpanContextFromContext(ctx)
	if !here.IsValid() {
		here = remote(header)
	}
	if !here.IsValid() {
		return ""
	}
	var c carrier
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), here), &c)
	return c.parent
}

// remote returns what a traceparent says; it is not valid where it says nothing.
func remote(parent string) trace.SpanContext {
	if parent == "" {
		return trace.SpanContext{}
	}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), &carrier{parent}))
}

// carrier carries a traceparent, without the state that vendors add: a record
// has no room for that.
type carrier struct{ parent string }

func (c *carrier) Get(key string) string {
	if key == "traceparent" {
		return c.parent
	}
	return ""
}

func (c *carrier) Set(key, value string) {
	if key == "traceparent" {
		c.parent = value
	}
}

// Keys returns nothing: nobody asks.
func (c *carrier) Keys() []string { return nil }

// errorTypeOf returns the kind of failure that a settle tells of, empty if it
// tells of none.
func errorTypeOf(s *store.Settle) string {
	switch {
	case s.Attempt != nil && s.Attempt.Outcome == store.OutcomeFailed:
		return s.Attempt.Class
	case s.Attempt == nil && s.To == store.Dead:
		return errorLost
	default:
		return ""
	}
}

// outcomeOf returns the word for what a settle tells of an attempt.
func outcomeOf(s *store.Settle) string {
	switch {
	case s.Attempt == nil && s.To == store.Dead:
		return Failed
	case s.Attempt == nil:
		return handedBack
	case s.To == store.Discarded:
		return Discarded
	default:
		return s.Attempt.Outcome // processed, failed or deferred: the same words
	}
}

// textOf returns what went wrong, in words.
func textOf(s *store.Settle) string {
	if s.Attempt != nil {
		return s.Attempt.Err
	}
	return s.Reason
}
