package observe

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/surehook/webhook/store"
)

// Sending is a call that sends events while it is under way.
type Sending struct {
	o     *Observer
	queue string
	span  trace.Span
}

// Sender makes a queue's counters of what is sent, at zero, as Route does.
func (o *Observer) Sender(queue string) {
	for _, outcome := range [...]string{accepted, Duplicate} {
		o.sent(context.Background(), sent{queue, outcome, ""}, 0)
	}
}

// Send begins to send n events to queue: a span below the one in ctx, to which the
// attempts will be linked. from is what an event's headers say of where it comes
// from: where ctx has no span, the new one is linked to that.
func (o *Observer) Send(ctx context.Context, queue string, n int, from string) (context.Context, Sending) {
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer)}
	if !trace.SpanContextFromContext(ctx).IsValid() {
		if at := remote(from); at.IsValid() {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: at}))
		}
	}
	ctx, span := o.tracer.Start(ctx, operationSend+" "+Clean(queue), options...)
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String(attrSystem, systemWebhook),
			attribute.String(attrOperation, operationSend),
			attribute.String(attrOperationType, operationSend),
			attribute.String(attrQueue, queue),
		)
		if n > 1 {
			span.SetAttributes(attribute.Int(attrBatch, n))
		}
	}
	return ctx, Sending{o, queue, span}
}

// End ends s and counts its n events: each was stored, or was known; or none was,
// for a reason from a short, fixed list.
func (s Sending) End(ctx context.Context, n int, adds []store.Add, added []store.Added, reason string, err error) {
	defer s.span.End()
	if reason != "" {
		s.o.sent(ctx, sent{s.queue, Rejected, reason}, n)
		s.span.SetAttributes(attribute.String(attrErrorType, reason))
		if err == nil {
			s.span.SetStatus(codes.Error, reason)
		} else {
			s.span.SetStatus(codes.Error, Clean(err.Error()))
		}
		return
	}
	for k := range added {
		outcome := accepted
		if added[k].Duplicate && added[k].Missing == 0 {
			outcome = Duplicate
		}
		s.o.sent(ctx, sent{s.queue, outcome, ""}, 1)
	}
	if s.span.IsRecording() && len(adds) == 1 {
		r := adds[0].Record
		s.span.SetAttributes(
			attribute.String(attrMessageID, Clean(r.ID)),
			attribute.Int(attrBodySize, len(r.Body)),
			attribute.String(attrSource, Clean(r.Source)),
			attribute.String(attrType, Clean(r.Type)),
		)
		if r.Tenant != "" {
			s.span.SetAttributes(attribute.String(attrTenant, Clean(r.Tenant)))
		}
	}
}

// EventSent records that an event is stored, to be sent, or was known already.
func (o *Observer) EventSent(ctx context.Context, queue string, r *store.Record, a *store.Added, took time.Duration) {
	o.stored(ctx, queue, r, a, "", took)
}

// sent counts n events of one outcome.
func (o *Observer) sent(ctx context.Context, k sent, n int) {
	if i := o.inst; i.sent.Enabled(ctx) {
		i.sent.Add(ctx, int64(n), i.sends.of(k).add...)
	}
}
