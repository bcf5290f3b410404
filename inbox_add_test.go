package webhook_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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

// collector is a handler that keeps what it was given.
type collector struct {
	mu     sync.Mutex
	events []webhook.Event
}

func (c *collector) handle(_ context.Context, e webhook.Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, e)
	return nil
}

// ids returns the ids of the events, in the order in which they came.
func (c *collector) ids() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]string, len(c.events))
	for i, e := range c.events {
		ids[i] = e.ID
	}
	return ids
}

func TestAdd_ProcessesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var got collector
		r.inbox.Handle("billing", got.handle)
		r.run()

		e := event("evt_1", "billing")
		e.Subject, e.Time = "cus_1", time.Date(1999, 12, 31, 23, 0, 0, 0, time.UTC)
		e.Headers = map[string][]string{"Content-Type": {"application/json"}}
		e.Proof = webhook.Proof{ID: true, Time: true, SecretID: "k1", Keys: [][]byte{{1}}}
		require.Equal(t, []webhook.Stored{{ID: "evt_1", Deliveries: 1}}, r.add(e))

		pass(time.Hour)
		e.To, e.Proof.Keys = nil, nil // stored as names and digests
		require.Equal(t, []webhook.Event{e}, got.events)
		d := r.only()
		require.Equal(t, store.Processed, d.State)
		require.Equal(t, uint64(1), d.Token)
		require.Zero(t, d.Spent)
		require.Len(t, d.Attempts, 1)
		require.Equal(t, store.OutcomeProcessed, d.Attempts[0].Outcome)
	})
}

func TestAdd_Duplicates(t *testing.T) {
	keyed := func(id, key, body string) webhook.Event {
		e := event(id, "billing")
		e.Body, e.Proof.Keys = []byte(body), [][]byte{[]byte(key)}
		return e
	}
	for name, c := range map[string]struct {
		again webhook.Event
		want  webhook.Stored
		runs  int
	}{
		"same id, same body":            {keyed("1", "a", "x"), webhook.Stored{ID: "1", Deliveries: 1, Duplicate: true}, 1},
		"same id, other key":            {keyed("1", "b", "x"), webhook.Stored{ID: "1", Deliveries: 1, Duplicate: true}, 1},
		"same id, other body":           {keyed("1", "a", "y"), webhook.Stored{ID: "1", Deliveries: 1, Duplicate: true, Changed: true}, 1},
		"replayed under a new id":       {keyed("2", "a", "x"), webhook.Stored{ID: "2", Deliveries: 1, Duplicate: true}, 1},
		"new id and key, the same body": {keyed("2", "b", "x"), webhook.Stored{ID: "2", Deliveries: 1}, 2},
		"an id that is the other's key": {keyed("a", "b", "z"), webhook.Stored{ID: "a", Deliveries: 1}, 2},
		"a key that is the other's id":  {keyed("2", "1", "z"), webhook.Stored{ID: "2", Deliveries: 1}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{})
				var got collector
				r.inbox.Handle("billing", got.handle)
				r.run()
				r.add(keyed("1", "a", "x"))
				pass(time.Minute)
				require.Equal(t, []webhook.Stored{c.want}, r.add(c.again))
				pass(time.Minute)
				require.Len(t, got.ids(), c.runs)
				require.Len(t, r.deliveries(), c.runs)
			})
		})
	}
}

// A replay must not make its new id known: the event that truly has it would be
// swallowed.
func TestAdd_ReplayDoesNotTakeAnId(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		first, replay, other := event("1", "billing"), event("2", "billing"), event("2", "billing")
		first.Proof.Keys, replay.Proof.Keys = [][]byte{{7}}, [][]byte{{7}}
		r.add(first)
		require.True(t, r.add(replay)[0].Duplicate)
		require.False(t, r.add(other)[0].Duplicate)
	})
}

func TestAdd_SecondRouteAddsMissingHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var billing, audit collector
		r.inbox.Handle("billing", billing.handle)
		r.inbox.Handle("audit", audit.handle)
		r.run()
		r.add(event("1", "billing"))
		later := event("1", "audit", "billing")
		later.Body = []byte("another body")
		require.Equal(t, []webhook.Stored{{ID: "1", Deliveries: 2, Changed: true}}, r.add(later))
		require.Equal(t, []webhook.Stored{{ID: "1", Deliveries: 2, Duplicate: true, Changed: true}}, r.add(later))
		pass(time.Minute)
		require.Equal(t, []string{"1"}, billing.ids())
		require.Equal(t, []string{"1"}, audit.ids())
		require.Equal(t, string(event("1").Body), string(audit.events[0].Body), "the first body stays")
	})
}

func TestAdd_DifferentEvents(t *testing.T) {
	// What tells events apart, in the order tenant, source, id. No two may ever
	// be joined to the same text.
	events := [][3]string{
		{"", "shop", "1"},
		{"", "shop", "2"},
		{"", "shop2", "1"},
		{"a", "shop", "1"},
		{"b", "shop", "1"},
		{"a", "b", "cd"},
		{"a", "bc", "d"},
		{"ab", "c", "d"},
		{"", "abc", "d"},
		{"", "ab", "cd"},
		{"a/b", "c", "d"},
		{"a", "b/c", "d"},
		{"a", "b", "c/d"},
		{"a\x00b", "c", "d"},
		{"a", "b\x00c", "d"},
		{"a", "b", "c\x00d"},
		{"a\x00", "bc", "d"},
		{"\x01a", "b", "c"},
		{"a", "\x01b", "c"},
		{"a", "b", "\x01c"},
		{"a", "b", "c"},
		{"", "x", "\xff"},
		{"", "x", "\xfe"},
		{"", "x", "\uFFFD"},
		{"", "\xff", "x"},
		{"", "x", "A"},
		{"", "x", "a"},
		{"", "x", "a "},
		{"", "x", "a\n"},
		{"", "x", "a\x00"},
		{"", "x", strings.Repeat("9", 1000)},
		{"", "x", strings.Repeat("9", 1001)},
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var got collector
		r.inbox.Handle("billing", got.handle)
		r.run()
		for _, e := range events {
			stored := r.add(webhook.Event{Tenant: e[0], Source: e[1], ID: e[2], To: []string{"billing"}})
			require.Equal(t, webhook.Stored{ID: e[2], Deliveries: 1}, stored[0], "%q", e)
		}
		synctest.Wait()
		require.Len(t, got.ids(), len(events))
		for i, e := range got.events {
			require.Contains(t, events, [3]string{e.Tenant, e.Source, e.ID}, "event %d comes as it was stored", i)
		}
	})
}

func TestAdd_QueuesDoNotShareEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memory.New()
		for _, queue := range []string{"inbox", "other"} {
			r := newRigOn(t, mem, webhook.QueueConfig{Name: queue})
			var got collector
			r.inbox.Handle("billing", got.handle)
			r.run()
			require.False(t, r.add(event("1", "billing"))[0].Duplicate)
			synctest.Wait()
			require.Equal(t, []string{"1"}, got.ids())
			require.Len(t, r.deliveries(), 1)
		}
	})
}

func TestAdd_EmptyIDIsDigestOfBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		r.inbox.Handle("billing", new(collector).handle)
		e := event("", "billing")
		sum := sha256.Sum256(e.Body)
		want := hex.EncodeToString(sum[:])
		require.Equal(t, webhook.Stored{ID: want, Deliveries: 1}, r.add(e)[0])
		require.Equal(t, webhook.Stored{ID: want, Deliveries: 1, Duplicate: true}, r.add(e)[0])
	})
}

// An event with a zero Proof is known by its ID alone: a digest of the body as a
// key would lose the second of two equal ones.
func TestAdd_TrustedEqualBodiesAreBothKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var got collector
		r.inbox.Handle("billing", got.handle)
		r.run()
		for _, id := range []string{"1", "2"} {
			e := event(id, "billing")
			e.Body = []byte("ping")
			require.False(t, r.add(e)[0].Duplicate)
		}
		synctest.Wait()
		require.ElementsMatch(t, []string{"1", "2"}, got.ids())
	})
}

func TestAdd_RefusesWholeBatch(t *testing.T) {
	with := func(f func(*webhook.Event)) webhook.Event {
		e := event("bad", "billing")
		f(&e)
		return e
	}
	for name, c := range map[string]struct {
		bad  webhook.Event
		says string
	}{
		"no source":       {with(func(e *webhook.Event) { e.Source = "" }), "webhook: add event 1: its Source is empty: name the sending system"},
		"no handler":      {with(func(e *webhook.Event) { e.To = nil }), "webhook: add event 1: its To names no handler"},
		"unknown handler": {with(func(e *webhook.Event) { e.To = []string{"billing", "biling"} }), `webhook: add event 1: its To is wrong: no handler is called "biling"`},
		"handler twice":   {with(func(e *webhook.Event) { e.To = []string{"billing", "billing"} }), `"billing" is named twice`},
		"id of 10 kB":     {with(func(e *webhook.Event) { e.ID = strings.Repeat("x", 10_000) }), "event id of 10000 bytes, at most 4096"},
		"type of 10 kB":   {with(func(e *webhook.Event) { e.Type = strings.Repeat("x", 10_000) }), "event type of 10000 bytes"},
		"tenant of 10 kB": {with(func(e *webhook.Event) { e.Tenant = strings.Repeat("x", 10_000) }), "event tenant of 10000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, webhook.QueueConfig{})
				r.inbox.Handle("billing", new(collector).handle)
				r.run()
				_, err := r.inbox.Add(t.Context(), event("good", "billing"), c.bad)
				require.ErrorIs(t, err, webhook.ErrMalformed)
				require.ErrorContains(t, err, "add event 1: ")
				require.ErrorContains(t, err, c.says)
				require.NotContains(t, err.Error(), "xxx")
				require.Empty(t, r.deliveries())
			})
		})
	}
}

func TestAdd_QueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{MaxDepth: 3})
		r.inbox.Handle("billing", new(collector).handle)
		for i := range 3 {
			r.add(event(fmt.Sprint(i), "billing"))
			pass(time.Second)
		}
		commits, _, _ := r.st.used()
		_, err := r.inbox.Add(t.Context(), event("4", "billing"))
		require.ErrorIs(t, err, webhook.ErrQueueFull)
		after, _, asked := r.st.used()
		require.Equal(t, commits, after, "nothing is written")
		require.Len(t, r.deliveries(), 3)
		_, err = r.inbox.Add(t.Context(), event("1", "billing"))
		require.ErrorIs(t, err, webhook.ErrQueueFull, "known or not is not looked up")

		// The figure is at most a second old, and not asked for at each add.
		for range 100 {
			_, err := r.inbox.Add(t.Context(), event("4", "billing"))
			require.ErrorIs(t, err, webhook.ErrQueueFull)
		}
		_, _, again := r.st.used()
		require.Equal(t, asked, again)
		_, _, err = r.inbox.Queue().Discard(t.Context(), store.Filter{States: []store.State{store.Queued}}, "", "", 1)
		require.NoError(t, err)
		pass(time.Second)
		require.Equal(t, webhook.Stored{ID: "4", Deliveries: 1}, r.add(event("4", "billing"))[0])
	})
}

// Within the second of a figure the queue grows beyond its depth, and is full for a
// second after it was worked off.
func TestAdd_QueueFullIsASecondLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{MaxDepth: 3})
		r.inbox.Handle("billing", new(collector).handle)
		r.add(numbered("a", 2, "billing")...)
		pass(time.Second)
		for i := range 6 {
			r.add(event(fmt.Sprint(i), "billing"))
		}
		pass(time.Second)
		_, err := r.inbox.Add(t.Context(), event("7", "billing"))
		require.ErrorIs(t, err, webhook.ErrQueueFull)
		_, _, err = r.inbox.Queue().Discard(t.Context(), store.Filter{States: []store.State{store.Queued}}, "", "", 100)
		require.NoError(t, err)
		_, err = r.inbox.Add(t.Context(), event("7", "billing"))
		require.ErrorIs(t, err, webhook.ErrQueueFull)
		pass(time.Second)
		r.add(event("7", "billing"))
	})
}

func TestAdd_QueueWithoutBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{MaxDepth: -1})
		r.inbox.Handle("billing", new(collector).handle)
		r.add(event("1", "billing"))
		pass(time.Minute)
		r.add(event("2", "billing"))
		_, _, asked := r.st.used()
		require.Zero(t, asked)
	})
}

// While the store cannot tell how full it is, events are taken.
func TestAdd_DepthUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{MaxDepth: 1})
		r.inbox.Handle("billing", new(collector).handle)
		r.st.stats = context.DeadlineExceeded
		r.add(event("1", "billing"))
		pass(time.Minute)
		r.add(event("2", "billing"))
	})
}

// … also where it was full when it could tell. A caller that has gone is no such store.
func TestAdd_DepthUnknownAfterFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{MaxDepth: 1})
		r.inbox.Handle("billing", new(collector).handle)
		r.add(event("1", "billing"))
		pass(time.Minute)
		_, err := r.inbox.Add(t.Context(), event("2", "billing"))
		require.ErrorIs(t, err, webhook.ErrQueueFull)
		r.st.stats = context.Canceled
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		pass(time.Minute)
		_, err = r.inbox.Add(gone, event("2", "billing"))
		require.ErrorIs(t, err, webhook.ErrQueueFull)
		_, _, err = r.inbox.Queue().Discard(t.Context(), store.Filter{States: []store.State{store.Queued}}, "", "", 1)
		require.NoError(t, err)
		for i := range 3 {
			pass(time.Minute)
			r.add(event(fmt.Sprint("later", i), "billing"))
		}
	})
}
