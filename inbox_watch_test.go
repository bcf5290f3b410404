package webhook_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

const (
	notRunning = "webhook events are stored but not processed: Run was not called"
	noHandler  = "webhook deliveries for a handler that this process does not have"
)

// Without Run everything would be answered 200, and nothing happen.
func TestWatch_StoresButDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		pass(time.Minute)
		require.Empty(t, r.logs.String(), "nothing is stored yet")
		r.add(event("1", "billing"))
		pass(9 * time.Second)
		require.Empty(t, r.logs.having(t, "msg", notRunning))
		pass(time.Second)
		warned := r.logs.having(t, "msg", notRunning)
		require.Len(t, warned, 1)
		require.Equal(t, "WARN", warned[0]["level"])
		require.Equal(t, "inbox", warned[0]["queue"])
		for range 5 {
			pass(time.Minute)
			r.add(event(time.Now().String(), "billing"))
		}
		require.Len(t, r.logs.having(t, "msg", notRunning), 1, "once")
	})
}

// Nor would what is sent in a transaction of the caller's.
func TestWatch_SendsInATransactionAndDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t, webhook.DispatcherConfig{}, webhook.Endpoint{ID: "a"})
		_, err := o.out.SendIn(t.Context(), &memoryTx{st: o.st}, webhook.Event{ID: "1"})
		require.NoError(t, err)
		pass(11 * time.Second)
		require.Len(t, o.logs.having(t, "msg", notRunning), 1)
	})
}

func TestWatch_RunsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		r.add(event("1", "billing"))
		pass(9 * time.Second)
		r.run()
		pass(time.Hour)
		require.Empty(t, r.logs.having(t, "msg", notRunning))
	})
}

// The log says what an acknowledged event survives once the engine runs, and not
// where another process keeps it from running.
func TestWatch_SaysThatItRuns(t *testing.T) {
	const runs = "webhook engine runs"
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		r.run()
		pass(time.Hour)
		told := r.logs.having(t, "msg", runs)
		require.Len(t, told, 1, "once")
		require.NotEmpty(t, told[0]["promise"])
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		r.st.onClaim(func(context.Context, store.Claim, claimFunc) ([]store.Delivery, error) {
			return nil, store.ErrBusy
		})
		require.ErrorIs(t, r.inbox.Run(t.Context()), store.ErrBusy)
		require.Empty(t, r.logs.having(t, "msg", runs))
	})
}

// The log says that a drain was clean, and only of one that was.
func TestWatch_SaysThatItHasDrained(t *testing.T) {
	const drained = "webhook engine drained"
	for name, c := range map[string]struct {
		handler webhook.Handler
		clean   bool
	}{
		"clean":          {new(gauge).takes(time.Minute), true},
		"it never ends":  {func(context.Context, webhook.Event) error { time.Sleep(time.Hour); return nil }, false},
		"nothing to end": {new(collector).handle, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{Drain: time.Second})
				r.inbox.Handle("billing", c.handler)
				stop := r.run()
				r.add(event("1", "billing"))
				synctest.Wait()
				require.Empty(t, r.logs.having(t, "msg", drained))
				err := stop()
				if c.clean {
					require.NoError(t, err)
					require.Len(t, r.logs.having(t, "msg", drained), 1)
				} else {
					require.Error(t, err)
					require.Empty(t, r.logs.having(t, "msg", drained))
					pass(time.Hour)
				}
			})
		})
	}
}

// The content of what was processed goes, and dead letters stay until a person acts,
// unless they are to go too; both go in small batches.
func TestWatch_RetentionOfTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{
			Poll: time.Hour, Retry: fixed(1),
			Retention: store.Retention{Processed: time.Hour, Dead: 30 * 24 * time.Hour},
		})
		r.inbox.Handle("good", new(collector).handle)
		r.inbox.Handle("bad", func(context.Context, webhook.Event) error { return errDown })
		r.run()
		r.add(numbered("g", 3000, "good")...)
		r.add(numbered("b", 1500, "bad")...)
		pass(time.Second)
		r.add(event("kept", "good"))
		pass(3 * time.Hour)
		require.Equal(t, map[store.State]int{store.Dead: 1500}, r.states())
		batches := r.logs.having(t, "msg", "webhook purged")
		require.Greater(t, len(batches), 1, "in batches")
		for _, b := range batches {
			require.LessOrEqual(t, b["records"], 2000.0)
		}
		pass(31 * 24 * time.Hour)
		require.Empty(t, r.deliveries())
	})
}

// Deliveries for a handler that no process has stay, and somebody is told, once
// an hour.
func TestWatch_DeliveriesForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := newRig(t, webhook.QueueConfig{})
		old.inbox.Handle("legacy", new(collector).handle)
		old.add(event("1", "legacy"), event("2", "legacy"))

		r := newRigOn(t, old.mem, webhook.QueueConfig{})
		var got collector
		r.inbox.Handle("billing", got.handle)
		stop := r.run()
		r.add(event("3", "billing"))
		pass(2 * time.Minute)
		told := r.logs.having(t, "msg", noHandler)
		require.Len(t, told, 1)
		require.Equal(t, "legacy", told[0]["destination"])
		require.EqualValues(t, 2, told[0]["queued"])
		pass(3*time.Hour + 10*time.Minute)
		require.Len(t, r.logs.having(t, "msg", noHandler), 4)
		require.Equal(t, []string{"3"}, got.ids())
		require.Equal(t, map[store.State]int{store.Queued: 2, store.Processed: 1}, r.states())
		require.NoError(t, stop())

		back := newRigOn(t, old.mem, webhook.QueueConfig{})
		back.inbox.Handle("legacy", got.handle)
		back.run()
		require.ElementsMatch(t, []string{"3", "1", "2"}, got.ids())
	})
}

func TestWatch_ForgetsWhatWasProcessed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Poll: time.Minute, Retention: store.Retention{Processed: time.Hour, Keys: 48 * time.Hour}})
		var got collector
		r.inbox.Handle("billing", got.handle)
		r.inbox.Handle("never", func(context.Context, webhook.Event) error { return webhook.Discard("x") })
		r.run()
		r.add(event("1", "billing"), event("2", "never"))
		pass(59 * time.Minute)
		require.Len(t, r.deliveries(), 2)
		pass(4 * time.Minute)
		require.Empty(t, r.deliveries())
		require.True(t, r.add(event("1", "billing"))[0].Duplicate, "known for longer than it is kept")
		// Known for a week at least, whatever Retention.Keys says, since senders retry for days.
		pass(6 * 24 * time.Hour)
		require.True(t, r.add(event("1", "billing"))[0].Duplicate)
		pass(8 * 24 * time.Hour)
		require.False(t, r.add(event("1", "billing"))[0].Duplicate)
	})
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		require.NoError(t, r.inbox.Health(t.Context()), "before Run")
		stop := r.run()
		require.NoError(t, r.inbox.Health(t.Context()))

		r.st.onCommit(failingCommit(errDown, anyBatch))
		r.st.onClaim(func(context.Context, store.Claim, claimFunc) ([]store.Delivery, error) { return nil, errDown })
		_, err := r.inbox.Add(t.Context(), event("1", "billing"))
		require.ErrorIs(t, err, errDown)
		require.ErrorIs(t, r.inbox.Health(t.Context()), errDown)
		require.ErrorContains(t, r.inbox.Health(t.Context()), `webhook: store of queue "inbox": `)

		// It comes back by a probe, without requests or claims, at most a second later.
		probes := 0
		r.st.onCommit(func(ctx context.Context, b *store.Batch, real commitFunc) (*store.Results, error) {
			if b.Len() == 0 {
				probes++
			}
			return real(ctx, b)
		})
		pass(time.Second)
		require.NoError(t, r.inbox.Health(t.Context()))
		require.NoError(t, r.inbox.Health(t.Context()))
		require.LessOrEqual(t, probes, 1, "a healthy store is not asked")
		r.st.onClaim(nil)
		pass(3 * time.Second)

		require.NoError(t, stop())
		require.ErrorContains(t, r.inbox.Health(t.Context()), `webhook: queue "inbox" is not run any more`)
	})
}

func TestHealth_ProbesAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		probes := 0
		r.st.onCommit(func(_ context.Context, b *store.Batch, _ commitFunc) (*store.Results, error) {
			if b.Len() == 0 {
				probes++
			}
			return nil, errDown
		})
		_, err := r.inbox.Add(t.Context(), event("1", "billing"))
		require.Error(t, err)
		for range 100 {
			require.ErrorIs(t, r.inbox.Health(t.Context()), errDown)
			pass(100 * time.Millisecond)
		}
		require.Equal(t, 10, probes)
	})
}

// What a caller brings about says nothing of the store; a store that does not
// answer in its own time does.
func TestHealth_WhatCounts(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		mine bool // the caller's own context ends
		ill  bool
	}{
		"bad data":            {store.ErrBadData, false, false},
		"in a transaction":    {store.ErrInTransaction, false, false},
		"the caller left":     {context.Canceled, true, false},
		"the store timed out": {context.DeadlineExceeded, false, true},
		"the store is down":   {errDown, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{})
				r.inbox.Handle("billing", new(collector).handle)
				r.st.onCommit(failingCommit(c.err, anyBatch))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.mine {
					cancel()
				}
				_, err := r.inbox.Add(ctx, event("1", "billing"))
				require.Error(t, err)
				if c.ill {
					require.ErrorIs(t, r.inbox.Health(t.Context()), c.err)
				} else {
					require.NoError(t, r.inbox.Health(t.Context()))
				}
			})
		})
	}
}
