package store

import "time"

// Record is an event as it is kept: the fields by which stores find it, and a
// head and a body that they only carry. It is never changed; its slices are
// not to be written to.
type Record struct {
	Tenant, Source, ID, Type, Subject string    // any bytes, not only text
	Time                              time.Time // when it happened, by the sender; zero: unknown. Kept to the microsecond, in UTC
	Trace                             string    // W3C traceparent of its arrival, or of the call that sent it
	Head                              []byte    // JSON that only package webhook reads: headers, proof, what was kept of the request
	Body                              []byte    // raw
}

// Delivery is one event on its way to one destination. There is one for each
// pair of identity and destination.
type Delivery struct {
	ID          string // unique in all stores: fit for an idempotency key elsewhere
	Queue       string // the namespace of one Inbox or Dispatcher
	Destination string // the handler's name or the endpoint's id
	OrderKey    string // empty: no order

	// Record is the event; deliveries of one event share it. Head and Body are
	// there in Claim, and in Find by IDs.
	Record *Record

	State    State
	Reason   string    // why it is dead or discarded
	Received time.Time // when its event was added, by the store's clock
	Due      time.Time // when it may be tried; of one that has ended, dead ones included: when it did
	Until    time.Time // end of the lease, while Processing

	Token    uint64 // grows with every claim, never reset: the fence, and the attempt's number
	Spent    int    // of the budget; cleared by a redrive, like the two below
	Deferred int    // attempts that were put off without spending the budget
	Lost     int    // attempts whose worker vanished

	FailingSince time.Time // the destination's first failure after its last success; in Claim
	Attempts     []Attempt // in the order of their tokens; in Find by IDs
}

// State is where a delivery stands.
type State string

// The states of a delivery.
const (
	Queued     State = "queued"     // waits for its time, its turn or a worker
	Processing State = "processing" // leased to a worker
	Processed  State = "processed"  // done
	Dead       State = "dead"       // out of budget or failed for good; waits for a person
	Discarded  State = "discarded"  // ended without success, for a reason
)

// Attempt is one try of a delivery. Attempts are kept where something went
// wrong, and for the success that ended the delivery.
type Attempt struct {
	Token    uint64 // its number; attempts that were handed back leave gaps
	Start    time.Time
	Duration time.Duration

	DNS, Connect, TLS, FirstByte time.Duration // phases of an outbound attempt

	Outcome string // one of the constants below
	Class   string // kind of failure: timeout, panic, http_4xx, …
	Err     string // what went wrong, in words; no payload and no secret
	Status  int    // HTTP status code; 0: none
	Address string // that was dialled
	TraceID string // trace in which the attempt ran

	Response []byte // excerpt of what was answered
}

// What came of an attempt.
const (
	OutcomeProcessed = "processed" // nothing failed; Class "discarded": there was nothing to do
	OutcomeFailed    = "failed"
	OutcomeDeferred  = "deferred" // put off by request; spends nothing
	OutcomeLost      = "lost"     // its worker vanished: recorded by whoever took over
)
