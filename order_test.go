package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// of is an event about subject.
func of(subject, id string, to ...string) webhook.Event {
	e := event(id, to...)
	e.Subject = subject
	return e
}

func bySubject(e webhook.Event) string { return e.Subject }

// successes notes first successes, by subject, and what must not be.
type successes struct {
	mu      sync.Mutex
	order   map[string][]string
	done    map[string]bool
	running map[string]bool
	wrong   []string
	most    int // subjects at once
}

func newSuccesses() *successes {
	return &successes{order: map[string][]string{}, done: map[string]bool{}, running: map[string]bool{}}
}

// begin notes that an event of subject is being handled.
func (s *successes) begin(e webhook.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[e.Subject] {
		s.wrong = append(s.wrong, "two of "+e.Subject+" at once")
	}
	s.running[e.Subject] = true
	s.most = max(s.most, len(s.running))
}

// end notes that it is no longer.
func (s *successes) end(e webhook.Event, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, e.Subject)
	if ok && !s.done[e.ID] {
		s.done[e.ID] = true
		s.order[e.Subject] = append(s.order[e.Subject], e.ID)
	}
}

func (s *successes) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.done)
}

// TestOrder_Exact: eight keys, ten thousand events that come in concurrently, in
// commits of one to five; handlers that fail at random, whose retries wait; a
// restart in the middle. Of each key the first successes are in the order of the
// commits.
func TestOrder_Exact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, events, adders = 8, 10_000, 4
		mem, seen := memory.New(), newSuccesses()
		start := func() (*rig, func() error) {
			r := newRigOn(t, mem, webhook.QueueConfig{
				Concurrency: 16, Poll: 100 * time.Millisecond, Drain: 2 * time.Millisecond,
				Retry: webhook.RetryPolicy{Attempts: -1, Delays: []time.Duration{20 * time.Millisecond}, Jitter: [2]float64{0, 1}},
			})
			r.inbox.HandleWith("ledger", func(ctx context.Context, e webhook.Event) error {
				seen.begin(e)
				ok := false
				defer func() { seen.end(e, ok) }()
				select {
				case <-time.After(time.Microsecond + rand.N(5*time.Millisecond)):
				case <-ctx.Done():
					return ctx.Err()
				}
				if rand.IntN(5) == 0 {
					return errors.New("one in five fails")
				}
				ok = true
				return nil
			}, webhook.HandlerConfig{OrderBy: bySubject})
			return r, r.run()
		}
		fill := func(r *rig, from, to int) {
			var wg sync.WaitGroup
			for a := range adders {
				wg.Go(func() {
					for n := from + a; n < to; {
						var batch []webhook.Event
						for size := 1 + rand.IntN(5); len(batch) < size && n < to; n += adders {
							batch = append(batch, of(fmt.Sprint("customer ", rand.IntN(keys)), fmt.Sprint(n), "ledger"))
						}
						_, err := r.inbox.Add(t.Context(), batch...)
						if err != nil {
							t.Error(err)
						}
						time.Sleep(time.Microsecond + rand.N(4*time.Millisecond))
					}
				})
			}
			wg.Wait()
		}

		r, stop := start()
		fill(r, 0, events/2)
		require.Greater(t, seen.count(), 100)
		require.Less(t, seen.count(), events/2, "a restart with nothing to do shows nothing")
		require.NoError(t, stop())
		fill(r, events/2, events/2+events/10) // nobody runs
		r, _ = start()
		fill(r, events/2+events/10, events)
		for seen.count() < events {
			pass(time.Second)
		}

		require.Empty(t, seen.wrong)
		require.Equal(t, keys, seen.most, "no two keys were handled side by side: no order was at stake")
		commits := map[string][]string{}
		for d, err := range r.inbox.Queue().Find(t.Context(), store.Filter{}) {
			require.NoError(t, err)
			commits[d.OrderKey] = append(commits[d.OrderKey], d.Record.ID)
		}
		require.Len(t, commits, keys)
		for key, want := range commits {
			require.Equal(t, want, seen.order[key], key)
		}
	})
}

// Several of one key in one commit stand in its order, and only the first is born
// with a lease; those of no key are in nobody's way.
func TestOrder_OfOneCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		release := make(chan struct{})
		var got collector
		r.inbox.HandleWith("ledger", func(ctx context.Context, e webhook.Event) error {
			if e.ID == "a1" {
				<-release
			}
			return got.handle(ctx, e)
		}, webhook.HandlerConfig{OrderBy: bySubject})
		r.inbox.Handle("audit", new(collector).handle)
		r.run()
		r.add(of("a", "a1", "ledger"), of("a", "a2", "ledger", "audit"), of("", "x1", "ledger"), of("a", "a3", "ledger"), of("b", "b1", "ledger"), of("", "x2", "ledger"))
		synctest.Wait()
		require.ElementsMatch(t, []string{"x1", "b1", "x2"}, got.ids())
		for _, d := range r.deliveries() {
			want := map[string]store.State{"a1": store.Processing, "a2": store.Queued, "a3": store.Queued}[d.Record.ID]
			if d.Destination == "audit" {
				require.Equal(t, store.Processed, d.State, "another handler of the event")
				require.Empty(t, d.OrderKey)
			} else if want != "" {
				require.Equal(t, want, d.State, d.Record.ID)
				require.Equal(t, "a", d.OrderKey)
			}
		}
		close(release)
		synctest.Wait()
		require.Equal(t, []string{"a1", "a2", "a3"}, got.ids()[3:], "at once, without a poll")
	})
}

// dying returns a rig whose handler gives up at the first failure of those in bad.
func dying(t *testing.T, c webhook.HandlerConfig, bad map[string]bool) (*rig, *collector) {
	t.Helper()
	r, got := newRig(t, webhook.QueueConfig{Retry: fixed(1)}), new(collector)
	c.OrderBy = bySubject
	r.inbox.HandleWith("ledger", func(ctx context.Context, e webhook.Event) error {
		if bad[e.ID] {
			return errors.New("down")
		}
		return got.handle(ctx, e)
	}, c)
	r.run()
	return r, got
}

// ledger returns the figures of the handler.
func (r *rig) ledger() store.Stats {
	r.t.Helper()
	for s, err := range r.inbox.Queue().Destinations(r.t.Context()) {
		require.NoError(r.t, err)
		if s.Destination == "ledger" {
			return s
		}
	}
	return store.Stats{}
}

// A dead head blocks its key, which is counted, until it is redriven, and goes first
// then; a person who discards it lets the others go.
func TestOrder_DeadHeadBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := map[string]bool{"a1": true, "b1": true}
		r, got := dying(t, webhook.HandlerConfig{}, bad)
		died := time.Now()
		r.add(of("a", "a1", "ledger"), of("a", "a2", "ledger"), of("c", "c1", "ledger"))
		pass(time.Minute)
		r.add(of("b", "b1", "ledger"), of("b", "b2", "ledger"))
		pass(24 * time.Hour)
		r.add(of("a", "a3", "ledger"), of("c", "c2", "ledger"))
		pass(time.Hour)
		require.Equal(t, []string{"c1", "c2"}, got.ids())
		s := r.ledger()
		require.Equal(t, 2, s.BlockedKeys)
		require.Equal(t, died.UTC(), s.BlockedSince)
		told := r.logs.having(t, "msg", "webhook ordering keys are blocked by dead letters")
		require.InDelta(t, 24, len(told), 2, "once an hour, from an hour on")
		require.Equal(t, "ledger", told[0]["destination"])
		require.EqualValues(t, 2, told[0]["keys"])
		require.Equal(t, died.UTC().Format(time.RFC3339), told[0]["since"])

		clear(bad)
		n, _, err := r.inbox.Queue().Redrive(t.Context(), store.Filter{Subject: "a"}, "", 10)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		pass(time.Second)
		require.Equal(t, []string{"a1", "a2", "a3"}, got.ids()[2:])
		require.Equal(t, 1, r.ledger().BlockedKeys)
		_, _, err = r.inbox.Queue().Discard(t.Context(), store.Filter{Subject: "b"}, "", "", 10)
		require.NoError(t, err)
		pass(time.Second)
		require.Equal(t, []string{"b2"}, got.ids()[5:])
		require.Zero(t, r.ledger().BlockedKeys)
		require.True(t, r.ledger().BlockedSince.IsZero())
	})
}

// With SkipDead the others go on; what is redriven goes before those of its key that
// are still to be done.
func TestOrder_SkipDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := map[string]bool{"a1": true}
		r, got := dying(t, webhook.HandlerConfig{SkipDead: true}, bad)
		r.add(of("a", "a1", "ledger"), of("a", "a2", "ledger"))
		pass(time.Minute)
		require.Equal(t, []string{"a2"}, got.ids())
		require.Zero(t, r.ledger().BlockedKeys)
		require.Equal(t, 1, r.ledger().Dead)

		require.NoError(t, r.inbox.Queue().Pause(t.Context(), "ledger", ""))
		r.add(of("a", "a3", "ledger"))
		clear(bad)
		_, _, err := r.inbox.Queue().Redrive(t.Context(), store.Filter{}, "", 10)
		require.NoError(t, err)
		require.NoError(t, r.inbox.Queue().Resume(t.Context(), "ledger"))
		pass(time.Minute)
		require.Equal(t, []string{"a2", "a1", "a3"}, got.ids())
	})
}

// An event that kills its process each time ends dead, and blocks or not like any
// other.
func TestOrder_LostHead(t *testing.T) {
	for name, skip := range map[string]bool{"blocks": false, "is skipped": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{})
				var got collector
				r.inbox.HandleWith("ledger", got.handle, webhook.HandlerConfig{OrderBy: bySubject, SkipDead: skip})
				r.add(of("a", "poison", "ledger"))
				for range 5 {
					r.lose("ledger")
				}
				r.add(of("a", "next", "ledger"))
				r.run()
				pass(time.Minute)
				require.Equal(t, 1, r.states()[store.Dead])
				if skip {
					require.Equal(t, []string{"next"}, got.ids())
				} else {
					require.Empty(t, got.ids())
					require.Equal(t, 1, r.ledger().BlockedKeys)
				}
			})
		})
	}
}

// Keys are foreign text: any bytes, and of those that are too long the digest.
func TestOrder_Keys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.HandleWith("ledger", new(collector).handle, webhook.HandlerConfig{OrderBy: bySubject})
		odd, fits, long := "\x00\xff\n'", strings.Repeat("x", 256), strings.Repeat("x", 257)
		for i, subject := range []string{odd, fits, long, long, long + "y", ""} {
			r.add(of(subject, fmt.Sprint(i), "ledger"))
		}
		var keys []string
		for _, d := range r.deliveries() {
			keys = append(keys, d.OrderKey)
		}
		require.Equal(t, []string{odd, fits}, keys[:2])
		require.Regexp(t, `^sha256:[0-9a-f]{64}$`, keys[2])
		require.Equal(t, keys[2], keys[3])
		require.Regexp(t, `^sha256:`, keys[4])
		require.NotEqual(t, keys[3], keys[4])
		require.Empty(t, keys[5])
	})
}

// An OrderBy that panics stores nothing of the request, and the log tells where, not
// what.
func TestOrder_Panics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("audit", new(collector).handle)
		r.inbox.HandleWith("ledger", new(collector).handle, webhook.HandlerConfig{OrderBy: func(e webhook.Event) string {
			if e.ID == "2" {
				panic("with " + string(e.Body))
			}
			return e.ID
		}})
		r.run()
		w := deliver(believed(r.inbox.Receive("audit", "ledger")), `[{"ID":"1"},{"ID":"2"}]`)
		require.Equal(t, 500, w.Code)
		require.Equal(t, "internal error\n", w.Body.String())
		require.Empty(t, r.deliveries())
		said := r.logs.having(t, "reason", "panic")
		require.Len(t, said, 2, "one for each event")
		require.Contains(t, said[0]["error"], `webhook: OrderBy of "ledger" panics with string at `)
		require.Contains(t, said[0]["error"], "order_test.go:")
		require.NotContains(t, r.logs.String(), "body of")

		_, err := r.inbox.Add(t.Context(), event("2", "ledger"))
		require.ErrorContains(t, err, `webhook: add event 0: webhook: OrderBy of "ledger" panics with string`)
		require.Empty(t, r.deliveries())
	})
}

// What was stored by a process that does not know of the order has none, and
// somebody is told.
func TestOrder_StoredWithoutIt(t *testing.T) {
	const unordered = "webhook delivery was stored without its ordering key"
	synctest.Test(t, func(t *testing.T) {
		web := newRigWith(t, memory.New(), webhook.InboxConfig{Elsewhere: []string{"ledger"}})
		web.add(of("a", "1", "ledger"), of("a", "2", "ledger"))
		r := newRigOn(t, web.mem, webhook.QueueConfig{})
		r.inbox.HandleWith("ledger", new(collector).handle, webhook.HandlerConfig{OrderBy: bySubject})
		r.run()
		told := r.logs.having(t, "msg", unordered)
		require.Len(t, told, 1, "once")
		require.Equal(t, "WARN", told[0]["level"])
		require.Equal(t, "ledger", told[0]["destination"])
	})
	synctest.Test(t, func(t *testing.T) {
		web := newRigWith(t, memory.New(), webhook.InboxConfig{Elsewhere: []string{"ledger"}})
		web.inbox.HandleWith("ledger", nil, webhook.HandlerConfig{OrderBy: bySubject})
		web.add(of("a", "1", "ledger"), of("", "2", "ledger"))
		r := newRigOn(t, web.mem, webhook.QueueConfig{})
		var got collector
		r.inbox.HandleWith("ledger", got.handle, webhook.HandlerConfig{OrderBy: bySubject})
		r.run()
		require.Empty(t, r.logs.having(t, "msg", unordered))
		require.ElementsMatch(t, []string{"1", "2"}, got.ids())
		keys := []string{}
		for _, d := range r.deliveries() {
			keys = append(keys, d.OrderKey)
		}
		slices.Sort(keys)
		require.Equal(t, []string{"", "a"}, keys, "told to the process that stores")
	})
}
