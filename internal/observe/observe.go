// Package observe is the only place that names what is emitted: log records
// (observe.go), spans (spans.go, sent.go) and metrics (names.go, metrics.go, queue.go).
package observe

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/surehook/webhook/store"
)

// Keys of the attributes, the same in every record.
const (
	KeyQueue       = "queue"
	KeyEventID     = "event_id"
	KeyEventType   = "event_type"
	KeySource      = "source"
	KeyTenant      = "tenant"
	KeyTimestamp   = "timestamp" // of the event, by its sender; left out where that is not known
	KeyStatus      = "status"    // one of the words below
	KeyDuration    = "duration"  // of what the record is about
	KeyError       = "error"
	KeyReason      = "reason"
	KeyDelivery    = "delivery_id"
	KeyDestination = "destination"
	KeyAttempt     = "attempt"
	KeyDeliveries  = "deliveries"
	KeyAdded       = "added"     // deliveries that a known event got
	KeyOrderKey    = "order_key" // of a dead letter: what is behind it waits
	KeyRetryIn     = "retry_in"
	KeyHTTPStatus  = "http_status"
	KeySuppressed  = "suppressed" // records of the same kind that were left out since the last
	KeySecretID    = "secret_id"
	KeyRoute       = "route" // the pattern of net/http's mux
)

// Words of KeyStatus.
const (
	Received  = "received"
	Rejected  = "rejected"
	Duplicate = "duplicate"
	Queued    = "queued"
	Processed = "processed"
	Failed    = "failed"
	Dead      = "dead"
	Discarded = "discarded"
)

// rejectEvery is the pace of records about refused requests of one source and
// reason: a flood of forgeries must not become a flood of records.
const rejectEvery = 10 * time.Second

// Observer emits records, spans and metrics. Safe for concurrent use.
type Observer struct {
	way    Direction
	log    *slog.Logger // nil: slog.Default at each record
	tracer trace.Tracer
	meter  metric.Meter
	inst   *instruments
	starts *made[destination, startOf]

	mu      sync.Mutex
	rejects map[rejectKey]*rejectCount // by route and reason: both from short, fixed lists
}

type rejectKey struct{ source, reason string }

// rejectCount is how many records were left out since the last.
type rejectCount struct{ suppressed int }

// New returns an Observer of one direction that writes to l, t and m; nil:
// slog.Default and OpenTelemetry's global providers, which may be set later.
func New(way Direction, l *slog.Logger, t trace.TracerProvider, m metric.MeterProvider) *Observer {
	if t == nil {
		t = otel.GetTracerProvider()
	}
	if m == nil {
		m = otel.GetMeterProvider()
	}
	meter := m.Meter(scope, metric.WithSchemaURL(schemaURL))
	return &Observer{
		way: way, log: l,
		tracer: t.Tracer(scope, trace.WithSchemaURL(schemaURL)),
		meter:  meter, inst: newInstruments(meter),
		starts:  newMade(startsOf, destination.bounded),
		rejects: map[rejectKey]*rejectCount{},
	}
}

// Logger returns where the records go, for those that are about no event.
func (o *Observer) Logger() *slog.Logger {
	if o.log == nil {
		return slog.Default()
	}
	return o.log
}

// EventStored counts and records that an event was received and stored (status queued), or
// known already (duplicate), or stored for nobody (received). If all its
// deliveries are being attempted already the record is DEBUG: that of the attempt,
// which follows, says as much. preset is its verifier's, empty without one.
func (o *Observer) EventStored(ctx context.Context, queue, preset string, r *store.Record, a *store.Added, secretID string, took time.Duration) {
	outcome := accepted
	if a.Duplicate && a.Missing == 0 {
		outcome = Duplicate
	}
	o.received(ctx, receipt{r.Source, preset, outcome, ""}, 1)
	o.stored(ctx, queue, r, a, secretID, took)
}

// Direction is the way of events.
type Direction uint8

// The directions. Their destinations are handlers, of which a program has some,
// and endpoints, of which it may have any number.
const (
	Inbound Direction = iota
	Outbound
)

// storedText has the messages of stored by direction.
var storedText = map[Direction]string{
	Inbound:  "webhook event received",
	Outbound: "webhook event to be sent",
}

func (o *Observer) stored(ctx context.Context, queue string, r *store.Record, a *store.Added, secretID string, took time.Duration) {
	level := slog.LevelInfo
	if waiting := func(d store.Delivery) bool { return d.Token == 0 }; len(a.Deliveries) > 0 && !a.Duplicate && !slices.ContainsFunc(a.Deliveries, waiting) {
		level = slog.LevelDebug
	}
	log := o.Logger()
	if !log.Enabled(ctx, level) {
		return
	}
	status := Queued
	switch {
	case a.Duplicate && a.Missing == 0:
		status = Duplicate
	case len(a.Deliveries) == 0:
		status = Received
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs, slog.String(KeyStatus, status), slog.String(KeyQueue, queue))
	attrs = appendRecord(attrs, r)
	attrs = append(attrs, slog.Int(KeyDeliveries, len(a.Deliveries)), slog.Duration(KeyDuration, took))
	if secretID != "" {
		attrs = append(attrs, slog.String(KeySecretID, secretID))
	}
	if a.Missing > 0 {
		attrs = append(attrs, slog.Int(KeyAdded, a.Missing))
	}
	switch {
	case a.Changed:
		attrs = append(attrs, slog.String(KeyReason, "known with another body: the first one stays"))
	case a.Missing > 0:
		attrs = append(attrs, slog.String(KeyReason, "known already: the deliveries that it did not have were added"))
	}
	log.LogAttrs(ctx, level, storedText[o.way], attrs...)
}

// Attempted ends, counts and records a finished attempt of d, as its settle says.
// Those that were handed back without a try are DEBUG.
func (o *Observer) Attempted(ctx context.Context, d *store.Delivery, s *store.Settle, at Attempt) {
	outcome, errorType := outcomeOf(s), errorTypeOf(s)
	o.ran(ctx, d, s.Attempt, outcome, errorType)
	o.led(ctx, d, s.To, outcome)
	at.end(s.Attempt, outcome, errorType, textOf(s))
	level, status := slog.LevelInfo, Failed
	switch s.To {
	case store.Processed:
		status = Processed
	case store.Dead:
		level, status = slog.LevelError, Dead
	case store.Discarded:
		status = Discarded
	case store.Queued, store.Processing:
		if s.Defer {
			status = Queued
		}
		if s.Attempt == nil {
			level, status = slog.LevelDebug, Queued
		}
	}
	log := o.Logger()
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs, slog.String(KeyStatus, status), slog.String(KeyQueue, d.Queue))
	attrs = appendRecord(attrs, d.Record)
	attrs = append(attrs,
		slog.String(KeyDestination, Clean(d.Destination)),
		slog.String(KeyDelivery, d.ID),
		slog.Uint64(KeyAttempt, d.Token))
	if a := s.Attempt; a != nil {
		attrs = append(attrs, slog.Duration(KeyDuration, a.Duration))
		if a.Err != "" {
			attrs = append(attrs, slog.String(KeyError, Clean(a.Err)))
		}
		if a.Status != 0 {
			attrs = append(attrs, slog.Int(KeyHTTPStatus, a.Status))
		}
	}
	if s.Reason != "" {
		attrs = append(attrs, slog.String(KeyReason, Clean(s.Reason)))
	}
	if s.To == store.Dead && d.OrderKey != "" {
		attrs = append(attrs, slog.String(KeyOrderKey, Clean(d.OrderKey)))
	}
	if s.To == store.Queued {
		attrs = append(attrs, slog.Duration(KeyRetryIn, s.After))
	}
	log.LogAttrs(ctx, level, attemptedText[status], attrs...)
}

// attemptedText has the messages of Attempted by status.
var attemptedText = map[string]string{
	Queued:    "webhook delivery queued",
	Processed: "webhook delivery processed",
	Failed:    "webhook delivery failed",
	Dead:      "webhook delivery dead",
	Discarded: "webhook delivery discarded",
}

// LeaseLost ends, counts and records an attempt of d whose outcome is void: another
// worker has the delivery.
func (o *Observer) LeaseLost(ctx context.Context, d *store.Delivery, a *store.Attempt, at Attempt) {
	o.ran(ctx, d, a, Failed, errorLeaseLost)
	at.end(a, Failed, errorLeaseLost, store.ErrLeaseLost.Error())
	o.Logger().LogAttrs(ctx, slog.LevelWarn, "webhook lease lost: another worker has the delivery", slog.String(KeyQueue, d.Queue),
		slog.String(KeyDelivery, d.ID), slog.String(KeyDestination, Clean(d.Destination)), slog.Uint64(KeyAttempt, d.Token))
}

// NotSettled ends, counts and records an attempt of d whose outcome the store did
// not take.
func (o *Observer) NotSettled(ctx context.Context, d *store.Delivery, a *store.Attempt, at Attempt, err error) {
	o.ran(ctx, d, a, Failed, errorNotSettled)
	at.end(a, Failed, errorNotSettled, err.Error())
	o.Logger().LogAttrs(ctx, slog.LevelError, "webhook delivery not settled: it will be attempted again", slog.String(KeyQueue, d.Queue),
		slog.String(KeyDelivery, d.ID), slog.String(KeyDestination, Clean(d.Destination)), slog.String(KeyError, Clean(err.Error())))
}

// Rejection is a request that was refused: before any event of it was believed, or
// after that, and then it has Events.
type Rejection struct {
	Source string // the route's
	Preset string // the verifier's
	Reason string // from a short, fixed list: signature, stale, malformed, too_large, method, …
	Status int    // that was answered
	Err    error  // the diagnosis; holds no payload, secret or signature
	Took   time.Duration
	Events []store.Record // what the check believed
}

// Unverified is the preset of a verifier that believes everybody.
const Unverified = "unverified"

// lost reports whether authentic events were refused for good: they do not come
// again, and nobody can forge a flood of them.
func (r *Rejection) lost() bool {
	return len(r.Events) > 0 && r.Status < 500 && r.Preset != Unverified
}

// Rejected counts a refused request and records it at WARN: the first of its source
// and reason at once, those that follow within ten seconds as a count. Where it had
// events each is a record, and those that are lost are never left out.
func (o *Observer) Rejected(ctx context.Context, r Rejection) {
	o.received(ctx, receipt{r.Source, r.Preset, Rejected, r.Reason}, 1)
	if !r.lost() && o.silent(rejectKey{r.Source, r.Reason}) {
		return
	}
	log := func(about ...slog.Attr) {
		attrs := make([]slog.Attr, 0, 12)
		attrs = append(attrs, slog.String(KeyStatus, Rejected))
		attrs = append(attrs, about...)
		attrs = append(attrs, slog.String(KeyReason, r.Reason), slog.Int(KeyHTTPStatus, r.Status), slog.Duration(KeyDuration, r.Took))
		if r.Err != nil {
			attrs = append(attrs, slog.String(KeyError, Clean(r.Err.Error())))
		}
		o.Logger().LogAttrs(ctx, slog.LevelWarn, "webhook request rejected", attrs...)
	}
	for i := range r.Events[:min(len(r.Events), maxNamed)] {
		about := appendRecord(nil, &r.Events[i])
		if rest := len(r.Events) - maxNamed; rest > 0 && i == maxNamed-1 {
			about = append(about, slog.Int(KeySuppressed, rest))
		}
		log(about...)
	}
	if len(r.Events) == 0 {
		log(slog.String(KeySource, r.Source))
	}
}

// maxNamed is how many events of one rejected request have a record each; the last
// one says how many have none.
const maxNamed = 100

// silent reports whether a record about k was written within rejectEvery, and counts
// this one; else the silence begins.
func (o *Observer) silent(k rejectKey) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.rejects[k]; c != nil {
		c.suppressed++
		return true
	}
	o.rejects[k] = &rejectCount{}
	time.AfterFunc(rejectEvery, func() { o.rejectsOver(k) })
	return false
}

// rejectsOver ends the silence about k, and says how many it swallowed.
func (o *Observer) rejectsOver(k rejectKey) {
	o.mu.Lock()
	n := o.rejects[k].suppressed
	delete(o.rejects, k)
	o.mu.Unlock()
	if n > 0 {
		o.Logger().LogAttrs(context.Background(), slog.LevelWarn, "webhook requests rejected",
			slog.String(KeyStatus, Rejected), slog.String(KeySource, k.source), slog.String(KeyReason, k.reason),
			slog.Int(KeySuppressed, n))
	}
}

// appendRecord appends what identifies an event.
func appendRecord(attrs []slog.Attr, r *store.Record) []slog.Attr {
	attrs = append(attrs,
		slog.String(KeyEventID, Clean(r.ID)),
		slog.String(KeyEventType, Clean(r.Type)),
		slog.String(KeySource, Clean(r.Source)))
	if !r.Time.IsZero() {
		attrs = append(attrs, slog.Time(KeyTimestamp, r.Time))
	}
	if r.Tenant != "" {
		attrs = append(attrs, slog.String(KeyTenant, Clean(r.Tenant)))
	}
	return attrs
}

// maxText bounds foreign text in a record, in bytes.
const maxText = 512

// Clean makes foreign text fit for a log line: printable, on one line, bounded.
func Clean(s string) string {
	if len(s) <= maxText && printable(s) {
		return s
	}
	cut := s
	if len(cut) > maxText {
		cut = strings.ToValidUTF8(cut[:maxText], "\uFFFD") + "…"
	}
	q := strconv.Quote(cut)
	return q[1 : len(q)-1]
}

func printable(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}
