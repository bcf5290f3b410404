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
// queue's value.
type HandlerConfig struct {
	Timeout     time.Duration // of one attempt
	Concurrency int           // attempts at once, in this process
	Retry       RetryPolicy
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
