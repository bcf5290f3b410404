package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

// clocked is a handler that keeps when it was called, and returns what its
// script says: the last entry for ever.
type clocked struct {
	mu     sync.Mutex
	start  time.Time
	at     []time.Duration
	script []error
}

func (c *clocked) handle(context.Context, webhook.Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.start.IsZero() {
		c.start = time.Now()
	}
	c.at = append(c.at, time.Since(c.start))
	return c.script[min(len(c.at), len(c.script))-1]
}

func (c *clocked) times() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Duration(nil), c.at...)
}

func TestProcess_RetriesAtTheTimesOfThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		h := clocked{script: []error{errors.New("one"), errors.New("two"), errors.New("three"), nil}}
		r.inbox.HandleWith("billing", h.handle, webhook.HandlerConfig{Retry: fixed(8, 5*time.Second, time.Minute, time.Hour)})
		r.run()
		r.add(event("1", "billing"))
		pass(2 * time.Hour)

		require.Equal(t, []time.Duration{0, 5 * time.Second, 65 * time.Second, time.Hour + 65*time.Second}, h.times())
		d := r.only()
		require.Equal(t, store.Processed, d.State)
		require.Equal(t, 3, d.Spent)
		require.Len(t, d.Attempts, 4)
		for i, a := range d.Attempts {
			require.Equal(t, uint64(i+1), a.Token)
			require.Equal(t, h.start.Add(h.at[i]), a.Start.Local())
			if i == 3 {
				require.Equal(t, store.OutcomeProcessed, a.Outcome)
				break
			}
			require.Equal(t, store.OutcomeFailed, a.Outcome)
			require.Equal(t, []string{"one", "two", "three"}[i], a.Err)
			require.Equal(t, "error", a.Class)
		}
	})
}

// The default policy, as the handler's and as the queue's, each field for itself.
func TestProcess_PolicyOfQueueAndHandler(t *testing.T) {
	for name, c := range map[string]struct {
		queue, handler webhook.RetryPolicy
		want           []time.Duration // between attempts
	}{
		"queue's alone":    {queue: fixed(3, time.Minute), want: []time.Duration{time.Minute, time.Minute}},
		"handler's budget": {queue: fixed(3, time.Minute), handler: webhook.RetryPolicy{Attempts: 2}, want: []time.Duration{time.Minute}},
		"handler's delays": {queue: fixed(3, time.Minute), handler: webhook.RetryPolicy{Delays: []time.Duration{time.Hour}}, want: []time.Duration{time.Hour, time.Hour}},
		"default, without spread": {handler: webhook.RetryPolicy{Jitter: [2]float64{1, 1}}, want: []time.Duration{
			5 * time.Second, 20 * time.Second, 80 * time.Second, 320 * time.Second, 1280 * time.Second, time.Hour, time.Hour,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{Retry: c.queue})
				h := clocked{script: []error{errors.New("down")}}
				r.inbox.HandleWith("billing", h.handle, webhook.HandlerConfig{Retry: c.handler})
				r.run()
				r.add(event("1", "billing"))
				pass(4 * time.Hour)
				want := []time.Duration{0}
				for _, d := range c.want {
					want = append(want, want[len(want)-1]+d)
				}
				require.Equal(t, want, h.times())
				require.Equal(t, store.Dead, r.only().State)
			})
		})
	}
}

func TestProcess_DeadLetterStaysUntilRedriven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Poll: time.Minute, Lease: time.Hour, Retry: fixed(3, time.Minute)})
		h := clocked{script: []error{errors.New("one"), errors.New("two"), errors.New("three"), errors.New("four"), errors.New("five"), nil}}
		r.inbox.Handle("billing", h.handle)
		r.run()
		r.add(event("1", "billing"))
		pass(5 * 7 * 24 * time.Hour)

		d := r.only()
		require.Equal(t, store.Dead, d.State)
		require.Equal(t, "failed 3 times: three", d.Reason)
		require.Equal(t, 3, d.Spent)
		require.Len(t, d.Attempts, 3)
		e, err := webhook.EventOf(d.Record)
		require.NoError(t, err)
		require.Equal(t, event("1").Body, e.Body)
		require.Len(t, h.times(), 3)
		require.True(t, r.add(event("1", "billing"))[0].Duplicate, "a dead letter's event is known")

		n, next, err := r.inbox.Queue().Redrive(t.Context(), store.Filter{}, "", 100)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Empty(t, next)
		pass(time.Hour)
		d = r.only()
		require.Equal(t, store.Processed, d.State, "the budget was full again: two more failures did not end it")
		require.Empty(t, d.Reason)
		require.Equal(t, 2, d.Spent)
		require.Len(t, d.Attempts, 6)
		require.Equal(t, uint64(6), d.Token)
	})
}

func TestProcess_Steering(t *testing.T) {
	cause := errors.New("no such customer")
	for name, c := range map[string]struct {
		err             error
		state           store.State
		reason          string
		outcome, class  string
		spent, deferred int
	}{
		"permanent":             {webhook.Permanent(cause), store.Dead, "permanent: no such customer", store.OutcomeFailed, "error", 1, 0},
		"permanent, wrapped":    {fmt.Errorf("bill: %w", webhook.Permanent(cause)), store.Dead, "permanent: bill: no such customer", store.OutcomeFailed, "error", 1, 0},
		"permanent of nothing":  {webhook.Permanent(nil), store.Processed, "", store.OutcomeProcessed, "", 0, 0},
		"discard":               {webhook.Discard("test mode"), store.Discarded, "test mode", store.OutcomeProcessed, "discarded", 0, 0},
		"discard, wrapped":      {fmt.Errorf("skip: %w", webhook.Discard("test mode")), store.Discarded, "skip: test mode", store.OutcomeProcessed, "discarded", 0, 0},
		"deferred":              {webhook.RetryAfter(time.Hour, cause), store.Queued, "", store.OutcomeDeferred, "error", 0, 1},
		"deferred, of no error": {webhook.RetryAfter(time.Hour, nil), store.Queued, "", store.OutcomeDeferred, "error", 0, 1},
		"the outermost decides": {webhook.RetryAfter(time.Hour, webhook.Permanent(cause)), store.Queued, "", store.OutcomeDeferred, "error", 0, 1},
		"failed":                {cause, store.Queued, "", store.OutcomeFailed, "error", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{Retry: fixed(8, time.Hour)})
				r.inbox.Handle("billing", func(context.Context, webhook.Event) error { return c.err })
				r.run()
				r.add(event("1", "billing"))
				pass(time.Minute)
				d := r.only()
				require.Equal(t, c.state, d.State)
				require.Equal(t, c.reason, d.Reason)
				require.Equal(t, c.spent, d.Spent)
				require.Equal(t, c.deferred, d.Deferred)
				require.Len(t, d.Attempts, 1)
				require.Equal(t, c.outcome, d.Attempts[0].Outcome)
				require.Equal(t, c.class, d.Attempts[0].Class)
			})
		})
	}
	require.ErrorIs(t, webhook.Permanent(cause), cause)
	require.ErrorIs(t, webhook.RetryAfter(time.Second, cause), cause)
}

func TestProcess_RetryAfterIsKeptWithinBounds(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{
		-time.Hour: time.Second, 0: time.Second, time.Millisecond: time.Second, time.Second: time.Second,
		90 * time.Second: 90 * time.Second, 24 * time.Hour: 24 * time.Hour, 1000 * time.Hour: 24 * time.Hour,
	} {
		t.Run(asked.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{Poll: min(want, time.Hour)})
				h := clocked{script: []error{webhook.RetryAfter(asked, nil), nil}}
				r.inbox.Handle("billing", h.handle)
				r.run()
				r.add(event("1", "billing"))
				pass(want + time.Hour)
				require.Equal(t, []time.Duration{0, want}, h.times())
				require.Zero(t, r.only().Spent)
			})
		})
	}
}

func TestProcess_EleventhDeferralCountsAsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Retry: fixed(2, time.Hour)})
		h := clocked{script: []error{webhook.RetryAfter(time.Minute, nil)}}
		r.inbox.Handle("billing", h.handle)
		r.run()
		r.add(event("1", "billing"))
		pass(10*time.Minute + time.Second)
		d := r.only()
		require.Equal(t, 10, d.Deferred)
		require.Equal(t, 1, d.Spent)
		require.Len(t, h.times(), 11)
		require.Equal(t, store.OutcomeFailed, d.Attempts[10].Outcome)

		pass(time.Hour)
		d = r.only()
		require.Equal(t, store.Dead, d.State)
		require.Equal(t, "failed 2 times: webhook: try again after 1m0s", d.Reason)
		require.Len(t, h.times(), 12)

		_, _, err := r.inbox.Queue().Redrive(t.Context(), store.Filter{}, "", 1)
		require.NoError(t, err)
		pass(5*time.Minute + time.Second)
		d = r.only()
		require.Equal(t, store.Queued, d.State, "a redrive clears the deferrals")
		require.Zero(t, d.Spent)
	})
}

// An authentic event that cannot be decoded is a dead letter at once, and what is
// kept of the error shows nothing of the body.
func TestProcess_UndecodableEvent(t *testing.T) {
	type order struct {
		Amount int8
		When   time.Time
		Nested struct{ Codes []bool }
	}
	for name, c := range map[string]struct{ body, says string }{
		"not JSON":        {`"s3cret`, "invalid JSON at byte 7 of 7"},
		"bad character":   {`{"Amount": s3cret}`, "invalid JSON at byte 12 of 18"},
		"number too big":  {`{"Amount": 4242424242}`, `field "Amount" at byte 21 does not fit int8`},
		"a text":          {`{"Amount": "s3cret"}`, `field "Amount" at byte 19 does not fit int8`},
		"in a list":       {`{"Nested": {"Codes": [true, 4242424242]}}`, `field "Nested.Codes"`},
		"of a type's own": {`{"When": "s3cret"}`, "decode event: *time.ParseError"},
		"empty":           {``, "invalid JSON at byte 0 of 0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{})
				r.inbox.Handle("billing", func(_ context.Context, e webhook.Event) error {
					var o order
					return e.Decode(&o)
				})
				r.run()
				e := event("1", "billing")
				e.Body = []byte(c.body)
				r.add(e)
				pass(time.Hour)
				d := r.only()
				require.Equal(t, store.Dead, d.State)
				require.Contains(t, d.Reason, "permanent: webhook: decode event: ")
				require.Contains(t, d.Reason, c.says)
				require.Len(t, d.Attempts, 1)
				for _, text := range []string{d.Reason, d.Attempts[0].Err, r.logs.String()} {
					require.NotContains(t, text, "s3cret")
					require.NotContains(t, text, "4242424242")
				}
			})
		})
	}
}

// What is kept of an error is bounded, and valid text.
func TestProcess_LongErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", func(context.Context, webhook.Event) error {
			return webhook.Permanent(errors.New(strings.Repeat("é", 100_000) + "\xff"))
		})
		r.run()
		r.add(event("1", "billing"))
		synctest.Wait()
		d := r.only()
		for _, text := range []string{d.Reason, d.Attempts[0].Err} {
			require.Less(t, len(text), 2048)
			require.Equal(t, text, strings.ToValidUTF8(text, ""))
		}
	})
}

func TestCurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, ok := webhook.Current(t.Context())
		require.False(t, ok)

		r := newRig(t, webhook.QueueConfig{Retry: fixed(3, time.Minute)})
		var seen []store.Delivery
		r.inbox.Handle("billing", func(ctx context.Context, e webhook.Event) error {
			d, ok := webhook.Current(ctx)
			require.True(t, ok)
			seen = append(seen, d)
			return errors.New("down")
		})
		r.run()
		r.add(event("1", "billing"))
		pass(time.Hour)
		require.Len(t, seen, 3)
		for i, d := range seen {
			require.Equal(t, r.only().ID, d.ID)
			require.Equal(t, uint64(i+1), d.Token)
			require.Equal(t, i, d.Spent)
			require.Equal(t, "billing", d.Destination)
			require.Equal(t, "inbox", d.Queue)
			require.Equal(t, "1", d.Record.ID)
			require.False(t, d.Received.IsZero())
		}
	})
}

// A mistake of the program's, not of the event: it is named.
func TestDecode_IntoNoPointer(t *testing.T) {
	err := webhook.Event{Body: []byte(`{}`)}.Decode(struct{}{})
	require.ErrorContains(t, err, "non-pointer")
}
