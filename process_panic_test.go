package webhook_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

// brokenError panics when it is asked for its text, as a nil *T does whose method
// reads a field.
type brokenError struct{ text string }

func (e *brokenError) Error() string { return e.text }

// wrappingError panics when it is asked for what it wraps, too.
type wrappingError struct{ err error }

func (e *wrappingError) Error() string { return e.err.Error() }
func (e *wrappingError) Unwrap() error { return e.err }

func panicDeeper() { panic("s3cret") }

func TestProcess_PanicIsAFailedAttempt(t *testing.T) {
	for name, c := range map[string]struct {
		h    webhook.Handler
		says string // type and place
	}{
		"of text":         {func(context.Context, webhook.Event) error { panicDeeper(); return nil }, "handler panics with string at github.com/surehook/webhook_test.panicDeeper (process_panic_test.go:"},
		"of an error":     {func(context.Context, webhook.Event) error { panic(errors.New("s3cret")) }, "handler panics with *errors.errorString at github.com/surehook/webhook_test.TestProcess_PanicIsAFailedAttempt"},
		"ErrAbortHandler": {func(context.Context, webhook.Event) error { panic(http.ErrAbortHandler) }, "handler panics with http.ErrAbortHandler at "},
		"of nil":          {func(context.Context, webhook.Event) error { panic(nil) }, "handler panics with *runtime.PanicNilError at "},
		"of the runtime":  {func(_ context.Context, e webhook.Event) error { e.Body[1000]++; return nil }, "handler panics with runtime.boundsError at github.com/surehook/webhook_test.TestProcess_PanicIsAFailedAttempt"},
		"of its error":    {func(context.Context, webhook.Event) error { return (*brokenError)(nil) }, "error or retry policy of handler panics with runtime.errorString at github.com/surehook/webhook_test.(*brokenError).Error"},
		"of another type": {func(context.Context, webhook.Event) error { panic(struct{ secret string }{"s3cret"}) }, "handler panics with struct { secret string } at "},
		"in a defer":      {func(context.Context, webhook.Event) error { defer panicDeeper(); return nil }, "handler panics with string at github.com/surehook/webhook_test.panicDeeper"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{Concurrency: 1, Retry: fixed(2, time.Minute)})
				r.inbox.Handle("billing", c.h)
				r.inbox.Handle("audit", new(collector).handle)
				r.run()
				r.add(event("1", "billing"))
				pass(time.Hour)
				d := r.only()
				require.Equal(t, store.Dead, d.State)
				require.Contains(t, d.Reason, c.says)
				require.Len(t, d.Attempts, 2)
				for _, a := range d.Attempts {
					require.Equal(t, store.OutcomeFailed, a.Outcome)
					require.Contains(t, a.Err, c.says)
					require.Equal(t, "panic", a.Class)
					require.NotContains(t, a.Err, "s3cret")
				}
				require.NotContains(t, d.Reason, "s3cret")
				require.NotContains(t, r.logs.String(), "s3cret")
				require.Len(t, r.logs.having(t, "error", c.says), 2)

				// The only slot is free again.
				r.add(event("2", "audit"))
				synctest.Wait()
				require.Equal(t, 1, r.states()[store.Processed])
			})
		})
	}
}

// Whether an error came of the timeout is asked of the error itself.
func TestProcess_PanicOfTheErrorAfterTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Timeout: 7 * time.Second, Retry: fixed(1)})
		r.inbox.Handle("billing", func(ctx context.Context, _ webhook.Event) error {
			<-ctx.Done()
			return (*wrappingError)(nil)
		})
		r.run()
		r.add(event("1", "billing"))
		pass(time.Minute)
		d := r.only()
		require.Equal(t, store.Dead, d.State)
		require.Equal(t, "panic", d.Attempts[0].Class)
		require.Contains(t, d.Reason, "error or retry policy of handler panics with ")
	})
}

// A policy that panics would otherwise end the process at every failure.
func TestProcess_PanicOfThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		h := clocked{script: []error{errors.New("down")}}
		r.inbox.HandleWith("billing", h.handle, webhook.HandlerConfig{Retry: webhook.RetryPolicy{
			Func: func(int) (time.Duration, bool) { panic("s3cret") },
		}})
		r.run()
		r.add(event("1", "billing"))
		pass(5 * time.Hour)
		d := r.only()
		require.Equal(t, store.Dead, d.State)
		require.Len(t, d.Attempts, 8, "the default policy stands in")
		require.Equal(t, "panic", d.Attempts[0].Class)
		require.NotContains(t, d.Reason, "s3cret")
	})
}

// t.FailNow in a handler leaves by runtime.Goexit: the goroutine ends, and
// neither the slot nor the delivery may go with it.
func TestProcess_GoexitIsAFailedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Concurrency: 1, Retry: fixed(2, time.Minute)})
		r.inbox.Handle("billing", func(context.Context, webhook.Event) error { runtime.Goexit(); return nil })
		r.inbox.Handle("audit", new(collector).handle)
		r.run()
		r.add(event("1", "billing"))
		pass(time.Hour)
		d := r.only()
		require.Equal(t, store.Dead, d.State)
		require.Equal(t, "failed 2 times: webhook: the handler left by runtime.Goexit", d.Reason)
		require.Equal(t, "goexit", d.Attempts[0].Class)
		r.add(event("2", "audit"))
		synctest.Wait()
		require.Equal(t, 1, r.states()[store.Processed])
	})
}

func TestProcess_TimeoutEndsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Timeout: time.Hour, Retry: fixed(1)})
		start, after := time.Now(), time.Duration(0)
		r.inbox.HandleWith("billing", func(ctx context.Context, _ webhook.Event) error {
			<-ctx.Done()
			after = time.Since(start)
			return ctx.Err()
		}, webhook.HandlerConfig{Timeout: 7 * time.Second})
		r.run()
		r.add(event("1", "billing"))
		pass(time.Minute)
		require.Equal(t, 7*time.Second, after)
		d := r.only()
		require.Equal(t, store.Dead, d.State)
		require.Equal(t, "timeout", d.Attempts[0].Class)
		require.Equal(t, "webhook: the handler's timeout is over: context deadline exceeded", d.Attempts[0].Err)
		require.Equal(t, 7*time.Second, d.Attempts[0].Duration)
	})
}

// A handler that ignores its context keeps its slot; its delivery is another's
// once the lease has run out after the timeout, and it cannot settle any more.
func TestProcess_HandlerThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Concurrency: 2, Timeout: time.Minute})
		release := make(chan struct{})
		h := clocked{script: []error{errors.New("too late to count"), nil}}
		r.inbox.Handle("stuck", func(ctx context.Context, e webhook.Event) error {
			err := h.handle(ctx, e)
			if err != nil {
				<-release
			}
			return err
		})
		var others gauge
		r.inbox.Handle("audit", others.takes(time.Second))
		r.run()
		r.add(event("1", "stuck"))
		synctest.Wait() // it has its slot
		for i := range 30 {
			r.add(event(string(rune('a'+i)), "audit"))
		}
		pass(40 * time.Second)
		now, most, entered := others.seen()
		require.Equal(t, []int{0, 1, 30}, []int{now, most, entered}, "the others go on, with the slots that are left")
		pass(time.Hour)

		// Renewed for the last time at its timeout, a minute after its start.
		require.Equal(t, []time.Duration{0, 90 * time.Second}, h.times())
		d := r.deliveries()[0]
		require.Equal(t, store.Processed, d.State)
		require.Equal(t, 1, d.Lost)
		require.Equal(t, uint64(2), d.Token)
		require.Len(t, d.Attempts, 2)
		require.Equal(t, store.OutcomeLost, d.Attempts[0].Outcome)

		for i := range 3 {
			r.add(event(string(rune('A'+i)), "audit"))
		}
		pass(10 * time.Second)
		_, most, entered = others.seen()
		require.Equal(t, []int{1, 33}, []int{most, entered}, "the stuck one still counts")

		close(release)
		synctest.Wait()
		require.Equal(t, d, r.deliveries()[0], "the late settle changes nothing")
		require.Len(t, r.logs.having(t, "msg", "webhook lease lost"), 1)
		for i := range 4 {
			r.add(event(string(rune('0'+i)), "audit"))
		}
		pass(10 * time.Second)
		_, most, _ = others.seen()
		require.Equal(t, 2, most, "and does no more when it has returned")
	})
}
