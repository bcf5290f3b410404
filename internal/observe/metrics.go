package observe

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/surehook/webhook/store"
)

// instruments are what an Observer measures with; made once. The attributes of a
// measurement are made once for each combination that occurs, too.
type instruments struct {
	received      metric.Int64Counter
	verify        metric.Float64Histogram
	skew          metric.Float64Histogram
	matches       metric.Int64Counter
	process       metric.Float64Histogram
	consumed      metric.Int64Counter
	sent          metric.Int64Counter
	lag           metric.Float64Histogram
	duration      metric.Float64Histogram
	retries       metric.Int64Counter
	dead          metric.Int64Counter
	storeFailures metric.Int64Counter

	receipts     *made[receipt, set]
	verdicts     *made[verdict, set]
	skews        *made[signedTime, set]
	secrets      *made[match, set]
	attempts     *made[ended, set]
	sends        *made[sent, set]
	destinations *made[destination, set]
	standing     *made[standing, set]
	holds        *made[held, set]
}

// What metrics are counted by. The texts come from configuration and from lists
// in this library, but for sources, secrets and destinations that a program
// makes up as it goes: their number is bounded, see made.
type (
	receipt     struct{ source, preset, outcome, errorType string }
	verdict     struct{ source, preset, outcome string }
	signedTime  struct{ source, preset, outcome, direction string }
	match       struct{ source, preset, secret string }
	ended       struct{ queue, destination, outcome, errorType string }
	sent        struct{ queue, outcome, errorType string }
	destination struct{ queue, name string } // without a name, that of all of an outbound queue
	standing    struct{ queue, destination, state string }
	held        struct{ queue, destination, kind string }
)

func newInstruments(m metric.Meter) *instruments {
	return &instruments{
		received: counter(m, nameReceived, "{event}",
			"Events that were received, by what became of them; a refused request counts as one."),
		verify:  histogram(m, nameVerify, bucketsVerify, "Duration of the check of a request whose body has come."),
		skew:    histogram(m, nameSkew, bucketsSkew, "Distance of a signed time from the clock of this process."),
		matches: counter(m, nameMatches, "{match}", "Authentic requests, by the signing secret that fitted."),
		process: histogram(m, nameProcessDuration, bucketsProcess, "Duration of processing operation."),
		consumed: counter(m, nameConsumed, "{message}",
			"Number of messages that were delivered to the application."),
		sent: counter(m, nameSent, "{message}",
			"Number of messages producer attempted to send to the broker."),
		lag: histogram(m, nameLag, bucketsLag, "Time from the commit of an event to the first attempt of a delivery."),
		duration: histogram(m, nameDuration, bucketsDuration,
			"Time from the commit of an event to the end of a delivery that is processed."),
		retries: counter(m, nameRetries, "{retry}", "Failed attempts after which another was scheduled."),
		dead:    counter(m, nameDead, "{dead_letter}", "Deliveries that became dead letters."),
		storeFailures: counter(m, nameStoreFailures, "{failure}",
			"Operations that the store failed, for a reason of its own."),

		receipts: sets(receipt.attributes, receipt.bounded),
		verdicts: sets(verdict.attributes, verdict.bounded),
		skews:    sets(signedTime.attributes, signedTime.bounded),
		secrets:  sets(match.attributes, match.bounded),
		attempts: sets(ended.attributes, ended.bounded),
		sends:    sets(sent.attributes, sent.bounded),

		destinations: sets(destination.attributes, destination.bounded),
		standing:     sets(standing.attributes, standing.bounded),
		holds:        sets(held.attributes, held.bounded),
	}
}

func sets[K comparable](attributes func(K) []attribute.KeyValue, bounded func(K) K) *made[K, set] {
	return newMade(func(k K) *set { return setOf(attributes(k)) }, bounded)
}

// An instrument that cannot be made is reported to the handler that the program
// has for errors of OpenTelemetry's, and measures nothing: a library must not end
// because of that.
func counter(m metric.Meter, name, unit, description string) metric.Int64Counter {
	c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
	if err != nil {
		otel.Handle(err)
		return noop.Int64Counter{}
	}
	return c
}

func histogram(m metric.Meter, name string, buckets []float64, description string) metric.Float64Histogram {
	h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
		metric.WithExplicitBucketBoundaries(buckets...))
	if err != nil {
		otel.Handle(err)
		return noop.Float64Histogram{}
	}
	return h
}

func (k receipt) bounded() receipt         { k.source = other; return k }
func (k verdict) bounded() verdict         { k.source = other; return k }
func (k signedTime) bounded() signedTime   { k.source = other; return k }
func (k match) bounded() match             { k.source, k.secret = other, other; return k }
func (k ended) bounded() ended             { k.destination = other; return k }
func (k sent) bounded() sent               { return k } // a queue is configured
func (k destination) bounded() destination { k.name = other; return k }
func (k standing) bounded() standing       { k.destination = other; return k }
func (k held) bounded() held               { k.destination = other; return k }

func (k receipt) attributes() []attribute.KeyValue {
	return present(attrSource, k.source, attrPreset, k.preset, attrOutcome, k.outcome, attrErrorType, k.errorType)
}

func (k verdict) attributes() []attribute.KeyValue {
	return present(attrSource, k.source, attrPreset, k.preset, attrOutcome, k.outcome)
}

func (k signedTime) attributes() []attribute.KeyValue {
	return present(attrSource, k.source, attrPreset, k.preset, attrOutcome, k.outcome, attrDirection, k.direction)
}

func (k match) attributes() []attribute.KeyValue {
	return present(attrSource, k.source, attrPreset, k.preset, attrSecret, k.secret)
}

func (k ended) attributes() []attribute.KeyValue {
	return present(attrSystem, systemWebhook, attrOperation, operationProcess,
		attrQueue, k.queue, attrDestination, k.destination, attrOutcome, k.outcome, attrErrorType, k.errorType)
}

func (k sent) attributes() []attribute.KeyValue {
	return present(attrSystem, systemWebhook, attrOperation, operationSend,
		attrQueue, k.queue, attrOutcome, k.outcome, attrErrorType, k.errorType)
}

func (k destination) attributes() []attribute.KeyValue {
	return present(attrQueue, k.queue, attrDestination, k.name)
}

func (k standing) attributes() []attribute.KeyValue {
	return present(attrQueue, k.queue, attrDestination, k.destination, attrState, k.state)
}

func (k held) attributes() []attribute.KeyValue {
	return present(attrQueue, k.queue, attrDestination, k.destination, attrHold, k.kind)
}

// present returns the attributes of pairs of key and value that have a value.
func present(pairs ...string) []attribute.KeyValue {
	kvs := make([]attribute.KeyValue, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			kvs = append(kvs, attribute.String(pairs[i], Clean(pairs[i+1])))
		}
	}
	return kvs
}

// Route makes a route's counters of what is received, at zero: a rate can be told
// from the first event on, and a sender that never comes is seen not to come.
func (o *Observer) Route(source, preset string) {
	for _, outcome := range [...]string{accepted, Duplicate} {
		o.received(context.Background(), receipt{source, preset, outcome, ""}, 0)
	}
}

// received counts n events of one outcome.
func (o *Observer) received(ctx context.Context, r receipt, n int) {
	if i := o.inst; i.received.Enabled(ctx) {
		i.received.Add(ctx, int64(n), i.receipts.of(r).add...)
	}
}

// Check is what came of one check of a request.
type Check struct {
	Source   string // the route's
	Preset   string // the verifier's
	Accepted bool
	Secret   string        // the id of the one that fitted
	Signed   bool          // there is a signed time, and Ahead is true
	Ahead    time.Duration // of the clock of this process
	Took     time.Duration
}

// Checked measures a check.
func (o *Observer) Checked(ctx context.Context, c Check) {
	outcome := Rejected
	if c.Accepted {
		outcome = accepted
	}
	i := o.inst
	if i.verify.Enabled(ctx) {
		i.verify.Record(ctx, c.Took.Seconds(), i.verdicts.of(verdict{c.Source, c.Preset, outcome}).record...)
	}
	if c.Signed && i.skew.Enabled(ctx) {
		// A histogram counts distances; the side is an attribute.
		skew, direction := c.Ahead.Seconds(), directionAhead
		if skew < 0 {
			skew, direction = -skew, directionBehind
		}
		i.skew.Record(ctx, skew, i.skews.of(signedTime{c.Source, c.Preset, outcome, direction}).record...)
	}
	if c.Accepted && c.Secret != "" && i.matches.Enabled(ctx) {
		i.matches.Add(ctx, 1, i.secrets.of(match{c.Source, c.Preset, c.Secret}).add...)
	}
}

// of returns the destination by which d is measured. Endpoints are customers': by
// the thousand, and nobody's business; of an outbound queue they are measured as
// one.
func (o *Observer) of(d *store.Delivery) destination {
	if o.way == Outbound {
		return destination{queue: d.Queue}
	}
	return destination{d.Queue, d.Destination}
}

// first measures the lag of d's first attempt, which begins now.
func (o *Observer) first(ctx context.Context, d *store.Delivery) {
	if i := o.inst; d.Token == 1 && !d.Received.IsZero() && i.lag.Enabled(ctx) {
		lag := max(time.Since(d.Received), 0) // the clocks are two
		i.lag.Record(ctx, lag.Seconds(), i.destinations.of(o.of(d)).record...)
	}
}

// ran measures an attempt of d.
func (o *Observer) ran(ctx context.Context, d *store.Delivery, a *store.Attempt, outcome, errorType string) {
	i := o.inst
	if a == nil || !i.consumed.Enabled(ctx) && !i.process.Enabled(ctx) {
		return
	}
	set := i.attempts.of(ended{d.Queue, o.of(d).name, outcome, errorType})
	i.consumed.Add(ctx, 1, set.add...)
	i.process.Record(ctx, a.Duration.Seconds(), set.record...)
}

// led counts what an attempt of d led to.
func (o *Observer) led(ctx context.Context, d *store.Delivery, to store.State, outcome string) {
	i := o.inst
	switch {
	case to == store.Queued && outcome == Failed:
		i.retries.Add(ctx, 1, i.destinations.of(o.of(d)).add...)
	case to == store.Dead:
		i.dead.Add(ctx, 1, i.destinations.of(o.of(d)).add...)
	case to == store.Processed && !d.Received.IsZero() && i.duration.Enabled(ctx):
		took := max(time.Since(d.Received), 0) // the clocks are two
		i.duration.Record(ctx, took.Seconds(), i.destinations.of(o.of(d)).record...)
	}
}
