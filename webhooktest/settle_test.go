package webhooktest_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
	"github.com/surehook/webhook/webhooktest"
)

func ok(context.Context, webhook.Event) error { return nil }

func fails(context.Context, webhook.Event) error { return errors.New("down") }

// fixed is a policy of attempts that are d apart.
func fixed(attempts int, d time.Duration) webhook.RetryPolicy {
	return webhook.RetryPolicy{Attempts: attempts, Delays: []time.Duration{d}, Jitter: [2]float64{1, 1}}
}

func TestSettle_UntilNothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inbox := newInbox(t, webhook.QueueConfig{Retry: fixed(8, time.Hour)})
		inbox.Handle("well", ok)
		inbox.Handle("ill", fails)
		inbox.Handle("slow", func(context.Context, webhook.Event) error {
			time.Sleep(40 * time.Second)
			return nil
		})
		inbox.Handle("none", func(context.Context, webhook.Event) error { return webhook.Discard("not ours") })
		add(t, inbox, event("1", "well"), event("2", "ill"), event("3", "slow"), event("4", "none"))

		begin := time.Now()
		webhooktest.Settle(t, inbox)
		require.Equal(t, map[string]store.State{
			"1": store.Processed, "2": store.Dead, "3": store.Processed, "4": store.Discarded,
		}, states(t, inbox.Queue()))
		require.InDelta(t, 7*time.Hour, time.Since(begin), float64(10*time.Second), "eight attempts an hour apart, and no longer")
	})
}

func TestSettle_NothingToDoTakesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inbox := newInbox(t, webhook.QueueConfig{})
		begin := time.Now()
		webhooktest.Settle(t, inbox)
		webhooktest.Settle(t)
		require.Zero(t, time.Since(begin))
	})
}

// Days of retries must not take longer than a test may.
func TestSettle_Weeks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inbox := newInbox(t, webhook.QueueConfig{Retry: fixed(5, 5*24*time.Hour), Poll: time.Minute})
		inbox.Handle("ill", fails)
		add(t, inbox, event("1", "ill"))
		webhooktest.Settle(t, inbox)
		require.Equal(t, store.Dead, states(t, inbox.Queue())["1"])
	})
}

func TestSettle_Again(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inbox := newInbox(t, webhook.QueueConfig{Retry: fixed(2, time.Minute)})
		var mended atomic.Bool
		inbox.Handle("billing", func(ctx context.Context, e webhook.Event) error {
			if mended.Load() {
				return nil
			}
			return fails(ctx, e)
		})
		add(t, inbox, event("1", "billing"))
		webhooktest.Settle(t, inbox)
		require.Equal(t, store.Dead, states(t, inbox.Queue())["1"])

		mended.Store(true)
		n, _, err := inbox.Queue().Redrive(t.Context(), store.Filter{}, "", 10)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		add(t, inbox, event("2", "billing"))
		webhooktest.Settle(t, inbox)
		require.Equal(t, map[string]store.State{"1": store.Processed, "2": store.Processed}, states(t, inbox.Queue()))
	})
}

// Two runners that feed each other are settled when both are.
func TestSettle_Several(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newInbox(t, webhook.QueueConfig{}), newInbox(t, webhook.QueueConfig{Name: "second"})
		first.Handle("relay", func(ctx context.Context, e webhook.Event) error {
			time.Sleep(10 * time.Second)
			_, err := second.Add(ctx, event("relayed "+e.ID, "end"))
			return err
		})
		second.Handle("end", ok)
		add(t, first, event("1", "relay"))
		webhooktest.Settle(t, second, first)
		require.Equal(t, map[string]store.State{"relayed 1": store.Processed}, states(t, second.Queue()))
	})
}

func TestSettle_WhatIsHeldStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inbox := newInbox(t, webhook.QueueConfig{})
		inbox.Handle("billing", ok)
		inbox.Handle("audit", ok)
		require.NoError(t, inbox.Queue().Pause(t.Context(), "billing", "the ledger moves"))
		add(t, inbox, event("1", "billing"), event("2", "audit"))
		begin := time.Now()
		webhooktest.Settle(t, inbox)
		require.Equal(t, map[string]store.State{"1": store.Queued, "2": store.Processed}, states(t, inbox.Queue()))
		require.Less(t, time.Since(begin), time.Minute)

		require.NoError(t, inbox.Queue().Resume(t.Context(), "billing"))
		webhooktest.Settle(t, inbox)
		require.Equal(t, store.Processed, states(t, inbox.Queue())["1"])
	})
}

// A hold that ends by itself is waited for, of a destination and of a key.
func TestSettle_WaitsForHoldsThatEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New()
		inbox := newInboxOn(t, st, webhook.QueueConfig{})
		inbox.Handle("billing", ok)
		begin := time.Now()
		hold := store.Hold{Queue: "inbox", Destination: "billing", Kind: store.Slowed, For: 3 * time.Hour}
		_, err := st.Commit(t.Context(), &store.Batch{Holds: []store.Hold{hold}})
		require.NoError(t, err)
		add(t, inbox, event("1", "billing"))
		webhooktest.Settle(t, inbox)
		require.Equal(t, store.Processed, states(t, inbox.Queue())["1"])
		require.InDelta(t, 3*time.Hour, time.Since(begin), float64(10*time.Second))
	})
}

// Behind a dead letter of its ordering key a delivery waits for a person.
func TestSettle_WhatADeadLetterBlocksStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inbox := newInbox(t, webhook.QueueConfig{Retry: fixed(1, time.Hour)})
		inbox.HandleWith("billing", fails, webhook.HandlerConfig{
			OrderBy: func(e webhook.Event) string { return e.Subject },
		})
		for id, key := range []string{"a", "a", "b"} {
			e := event(strconv.Itoa(id+1), "billing")
			e.Subject = key
			add(t, inbox, e)
		}
		webhooktest.Settle(t, inbox)
		require.Equal(t, map[string]store.State{"1": store.Dead, "2": store.Queued, "3": store.Dead}, states(t, inbox.Queue()))
	})
}

func TestSettle_NamesWhatIsLeft(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(inbox *webhook.Inbox)
		says []string
	}{
		"a retry later than any": {
			func(inbox *webhook.Inbox) {
				inbox.HandleWith("billing", fails, webhook.HandlerConfig{Retry: fixed(3, 20*24*time.Hour)})
			},
			[]string{"not done within 30 days", `event "1" for "billing" is queued, due in 480h`, "(attempts begun: 2)"},
		},
		"a hold that is as long": {
			func(inbox *webhook.Inbox) { inbox.Handle("billing", ok) },
			[]string{"not done within 30 days", `event "1" for "billing" is queued`},
		},
		"nobody's handler": {
			func(inbox *webhook.Inbox) { inbox.Handle("other", ok) },
			[]string{"due for a day, and not attempted", `event "1" for "billing" is queued`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := memory.New()
				here, elsewhere := newInboxOn(t, st, webhook.QueueConfig{Poll: time.Minute}), newInboxOn(t, st, webhook.QueueConfig{})
				elsewhere.Handle("billing", ok)
				add(t, elsewhere, event("1", "billing"))
				if name == "a hold that is as long" {
					hold := store.Hold{Queue: "inbox", Destination: "billing", Kind: store.Slowed, For: 60 * 24 * time.Hour}
					_, err := st.Commit(t.Context(), &store.Batch{Holds: []store.Hold{hold}})
					require.NoError(t, err)
				}
				c.set(here)
				said := judge(t, func(t testing.TB) {
					webhooktest.Settle(t, here)
					t.Fatal("Settle came back")
				})
				for _, s := range c.says {
					require.Contains(t, said, s)
				}
				require.NotContains(t, said, "came back")
			})
		})
	}
}

func TestSettle_OutsideOfABubble(t *testing.T) {
	inbox := newInbox(t, webhook.QueueConfig{})
	said := judge(t, func(t testing.TB) {
		webhooktest.Settle(t, inbox)
		t.Fatal("Settle came back")
	})
	require.Equal(t, "webhooktest: Settle needs the time of testing/synctest, and the goroutine is not in a bubble: call it inside synctest.Test\n", said)
}

func TestSettle_ARunThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inbox := newInbox(t, webhook.QueueConfig{})
		go inbox.Run(t.Context())
		synctest.Wait()
		said := judge(t, func(t testing.TB) { webhooktest.Settle(t, inbox) })
		require.Contains(t, said, `webhooktest: Settle: run: webhook: run queue "inbox": Run was called before`)
	})
}

// A test may close the store with defer, which is before the engine's end.
func TestSettle_AStoreThatIsClosedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := judge(t, func(t testing.TB) {
			st := memory.New()
			inbox := newInboxOn(t, st, webhook.QueueConfig{})
			inbox.Handle("billing", ok)
			add(t, inbox, event("1", "billing"))
			webhooktest.Settle(t, inbox)
			require.NoError(t, st.Close())
			time.Sleep(10 * time.Second) // until the engine has noticed
		})
		require.Empty(t, said)
	})
}

// A handler that never returns is named when the test ends.
func TestSettle_ARunThatDoesNotDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inbox := newInbox(t, webhook.QueueConfig{})
		release := make(chan struct{})
		defer close(release)
		inbox.Handle("stuck", func(context.Context, webhook.Event) error {
			<-release
			return nil
		})
		said := judge(t, func(t testing.TB) {
			webhooktest.Settle(t, inbox)
			add(t, inbox, event("1", "stuck"))
			synctest.Wait()
		})
		require.Contains(t, said, "end of Run: ")
		require.Contains(t, said, "still running")
	})
}
