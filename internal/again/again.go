// Package again is how something is tried again inside this process: at once or
// soon, by the caller that waits for it. What is tried again later is a delivery.
package again

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/surehook/webhook/store"
)

// BackOff returns the pauses between tries: from 20 ms, doubling to longest,
// ± 50 %, without end. Not for concurrent use.
func BackOff(longest time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(min(20*time.Millisecond, longest)),
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(longest),
		backoff.WithMaxElapsedTime(0))
}

// Futile returns whether another try would only bring the same error of a store.
func Futile(err error) bool {
	return errors.Is(err, store.ErrBadData) || errors.Is(err, store.ErrInTransaction) || errors.Is(err, store.ErrClosed)
}

// Rest waits for d, or returns the error of ctx.
func Rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
