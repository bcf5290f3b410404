package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/surehook/webhook/store"
)

// Handler does the work of one event. Nil: the delivery is processed. An error
// or a panic: the attempt has failed and is tried again by the handler's
// RetryPolicy, unless [Permanent], [RetryAfter] or [Discard] says otherwise; when
// the budget is used up the delivery is dead.
//
// ctx is the engine's, never the request's: it ends when the handler's timeout
// is over, when the lease is lost to another worker, and when the time to drain
// is over. A handler that goes on afterwards keeps its slot, and another worker
// may be given the delivery. A handler may run concurrently with itself, and
// more than once for one event.
type Handler func(ctx context.Context, e Event) error

// HandlerConfig is one handler's share of the engine; each zero field takes the
// queue's value, and without OrderBy there is no order.
type HandlerConfig struct {
	Timeout     time.Duration // of one attempt
	Concurrency int           // attempts at once, in this process
	Retry       RetryPolicy

	// OrderBy returns the ordering key of an event: a customer's id, a document's.
	// Events of one key are handled one after the other, in the order in which
	// they were committed (those of one request in the request's), however many
	// workers there are, and whatever fails in between: while one waits for its next
	// try, those after it wait too. Events of different keys, and those whose key
	// is "", are in nobody's way. The order that a sender meant is not known; it is
	// that of arrival.
	//
	// The key is stored with the delivery, and logged with a dead letter, and so must
	// not be a secret; of one with more than 256 bytes the SHA-256 is. It is made
	// once, when the event is stored, of the event as it is stored (see
	// InboxConfig.Redact): a new OrderBy orders what comes from then on. If it panics,
	// nothing is stored and the answer is 500. It may be called concurrently.
	OrderBy func(Event) string

	// SkipDead lets the next event of a key go when one before it is a dead letter.
	// Otherwise that blocks its key until a person redrives or discards it:
	// Queue.Stats counts the blocked keys, and since when. A dead letter that is
	// redriven goes before all of its key that were committed after it, as far as
	// they are still to be done.
	SkipDead bool
}

// Current returns the delivery whose handler has ctx, and whether there is one.
// Its ID is the same at every attempt, and fit for an idempotency key elsewhere;
// its Token is the attempt's number. Its Attempts are not filled.
func Current(ctx context.Context) (store.Delivery, bool) {
	d, _ := store.Leased(ctx)
	if d == nil {
		return store.Delivery{}, false
	}
	return *d, true
}

// steer is an error that says what is to become of the delivery.
type steer struct {
	kind  steering
	after time.Duration
	err   error
}

type steering uint8

const (
	permanent steering = iota
	deferred
	discard
)

func (s *steer) Error() string {
	switch {
	case s.err != nil:
		return s.err.Error()
	case s.kind == deferred:
		return fmt.Sprintf("webhook: try again after %s", s.after)
	default:
		return "webhook: permanent failure"
	}
}

func (s *steer) Unwrap() error { return s.err }

// Permanent makes err final: returned by a Handler, the delivery is dead at
// once, with err as its reason. It may be wrapped further; errors.Is and As see
// through it. A nil err stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &steer{kind: permanent, err: err}
}

// RetryAfter puts the next attempt off by d, and spends nothing of the budget;
// err says why, and may be nil. d is kept within one second and 24 hours. After
// ten deferrals of a delivery a further one counts as a failed attempt.
func RetryAfter(d time.Duration, err error) error {
	return &steer{kind: deferred, after: d, err: err}
}

// Discard ends the delivery without success, as discarded, for the reason given:
// there is nothing to do, and nobody need look at it.
func Discard(reason string) error {
	return &steer{kind: discard, err: errors.New(reason)}
}

// steeringOf returns the outermost steering error in err's chain.
func steeringOf(err error) (*steer, bool) {
	var s *steer
	ok := errors.As(err, &s)
	return s, ok
}
