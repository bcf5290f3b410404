package observe

// scope is the name of the tracer and of the meter.
const scope = "github.com/surehook/webhook"

// schemaURL is the version of the semantic conventions that the names below
// follow. Those of messaging are still in development there.
const schemaURL = "https://opentelemetry.io/schemas/1.43.0"

// Instruments: the first three are the conventions', the rest is this library's.
// docs/observability.md has the table.
const (
	nameProcessDuration = "messaging.process.duration"
	nameConsumed        = "messaging.client.consumed.messages"
	nameSent            = "messaging.client.sent.messages"

	nameReceived      = "webhook.received.events"
	nameVerify        = "webhook.verify.duration"
	nameSkew          = "webhook.clock.skew"
	nameMatches       = "webhook.secret.matches"
	nameDeliveries    = "webhook.delivery.count"
	nameOldest        = "webhook.delivery.oldest.age"
	nameLag           = "webhook.delivery.lag"
	nameDuration      = "webhook.delivery.duration"
	nameRetries       = "webhook.delivery.retries"
	nameDead          = "webhook.dead_letters"
	nameActive        = "webhook.active_attempts"
	nameHolds         = "webhook.hold.count"
	nameBlocked       = "webhook.blocked_key.count"
	nameBlockedAge    = "webhook.blocked_key.age"
	nameStoreFailures = "webhook.store.failures"
)

// Attributes of metrics and spans.
const (
	attrSystem        = "messaging.system"
	attrOperation     = "messaging.operation.name"
	attrOperationType = "messaging.operation.type" // spans only
	attrDestination   = "messaging.destination.name"
	attrErrorType     = "error.type"

	attrQueue     = "webhook.queue"
	attrSource    = "webhook.source"
	attrPreset    = "webhook.preset"
	attrOutcome   = "webhook.outcome"
	attrState     = "webhook.state"
	attrHold      = "webhook.hold.kind"
	attrDirection = "webhook.clock.direction"
	attrSecret    = "webhook.secret.id"
	attrStoreOp   = "webhook.store.operation"
)

// Attributes of spans alone: what has no bound is in no metric.
const (
	attrMessageID = "messaging.message.id" // the event's
	attrBodySize  = "messaging.message.body.size"
	attrBatch     = "messaging.batch.message_count" // of a Send of several
	attrHTTP      = "http.response.status_code"     // that answered an attempt
	attrType      = "webhook.event.type"
	attrTenant    = "webhook.tenant"
	attrDelivery  = "webhook.delivery.id"
	attrAttempt   = "webhook.attempt"
)

// Values that the conventions leave to the system.
const (
	systemWebhook    = "webhook"
	operationProcess = "process" // name and type
	operationSend    = "send"    // name and type
)

// Values of attrOutcome, beside the words of KeyStatus.
const (
	accepted   = "accepted" // an event: it is durable; a check: the request is authentic
	deferred   = "deferred"
	handedBack = "handed_back" // spans only: cut off by the drain
)

// Values of attrDirection: where the sender's clock is, seen from ours.
const (
	directionAhead  = "ahead"
	directionBehind = "behind"
)

// Values of attrErrorType that only this package knows; the others are the
// reasons of refusals and the classes of attempts.
const (
	errorLost       = "lost"        // dead without a further try
	errorLeaseLost  = "lease_lost"  // another worker has the delivery
	errorNotSettled = "not_settled" // the store did not take the outcome
)

// other stands for the values of an attribute that are too many.
const other = "_OTHER"

// Buckets, in seconds.
var (
	// As the conventions advise for messaging.process.duration:
	// https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/
	bucketsProcess = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}
	// A MAC takes microseconds, secrets from a database some milliseconds.
	bucketsVerify = []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .05, .25, 1}
	// Signed times are whole seconds, and tolerances some minutes.
	bucketsSkew = []float64{.5, 1, 2.5, 5, 10, 30, 60, 120, 180, 240, 300, 600, 3600}
	// From an attempt at once to a night without a worker.
	bucketsLag = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400}
	// From an attempt at once to the last of the default retries, after three days.
	bucketsDuration = []float64{.005, .025, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 21600, 86400, 259200}
)
