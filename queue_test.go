package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// ofHandlers returns a rig whose handlers "good" succeeds, and "bad" fails for
// good until mended.
func ofHandlers(t *testing.T) (r *rig, mend func()) {
	t.Helper()
	r = newRig(t, webhook.QueueConfig{Retry: fixed(1)})
	mended := make(chan struct{})
	r.inbox.Handle("good", new(collector).handle)
	r.inbox.Handle("bad", func(context.Context, webhook.Event) error {
		select {
		case <-mended:
			return nil
		default:
			return errors.New("down")
		}
	})
	return r, func() { close(mended) }
}

// found returns the event ids of what Find yields.
func found(t *testing.T, q *webhook.Queue, f store.Filter) []string {
	t.Helper()
	var ids []string
	for d, err := range q.Find(t.Context(), f) {
		require.NoError(t, err)
		ids = append(ids, d.Record.ID)
	}
	return ids
}

func ids(events []webhook.Event) []string {
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	return ids
}

func TestQueue_Find(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := ofHandlers(t)
		good, bad := numbered("g", 250, "good"), numbered("b", 130, "bad")
		r.add(good...)
		pass(time.Second)
		later := time.Now()
		r.add(bad...)
		q := r.inbox.Queue()
		require.Equal(t, append(ids(good), ids(bad)...), found(t, q, store.Filter{}), "page by page, oldest first, each once")
		require.Equal(t, ids(bad), found(t, q, store.Filter{Destination: "bad"}))
		require.Equal(t, ids(bad), found(t, q, store.Filter{Since: later}))
		require.Equal(t, ids(good), found(t, q, store.Filter{Before: later}))
		require.Equal(t, []string{"g00007"}, found(t, q, store.Filter{EventID: "g00007"}))
		require.Empty(t, found(t, q, store.Filter{Destination: "bad", EventID: "g00007"}))
		require.Empty(t, found(t, q, store.Filter{States: []store.State{store.Dead}}))

		r.run()
		pass(time.Minute)
		require.Equal(t, ids(bad), found(t, q, store.Filter{States: []store.State{store.Dead}}))
		require.Len(t, found(t, q, store.Filter{States: []store.State{store.Dead, store.Processed}}), 380)

		n := 0
		for d, err := range q.Find(t.Context(), store.Filter{}) {
			require.NoError(t, err)
			require.Empty(t, d.Record.Body, "Get has it")
			if n++; n == 150 {
				break
			}
		}
		require.Equal(t, 150, n)
	})
}

func TestQueue_Get(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := ofHandlers(t)
		r.run()
		r.add(event("1", "bad"))
		synctest.Wait()
		q := r.inbox.Queue()
		for d, err := range q.Find(t.Context(), store.Filter{}) {
			require.NoError(t, err)
			d, err = q.Get(t.Context(), d.ID)
			require.NoError(t, err)
			require.Equal(t, store.Dead, d.State)
			require.Len(t, d.Attempts, 1)
			e, err := webhook.EventOf(d.Record)
			require.NoError(t, err)
			require.Equal(t, event("1").Body, e.Body)
		}
		_, err := q.Get(t.Context(), "nonsense")
		require.ErrorIs(t, err, webhook.ErrNotFound)
		require.EqualError(t, err, `webhook: get delivery "nonsense": webhook: not found`)
		_, err = webhook.NewQueue(r.mem, "other").Get(t.Context(), r.only().ID)
		require.ErrorIs(t, err, webhook.ErrNotFound, "of another queue")
	})
}

func TestQueue_Count(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := ofHandlers(t)
		r.add(numbered("", 2030, "good")...)
		r.add(numbered("b", 5, "bad")...)
		for _, c := range []struct {
			f           store.Filter
			limit, want int
		}{
			{store.Filter{}, 10_000, 2035},
			{store.Filter{}, 2035, 2035},
			{store.Filter{}, 2034, 2034},
			{store.Filter{}, 1000, 1000},
			{store.Filter{}, 1, 1},
			{store.Filter{}, 0, 0},
			{store.Filter{}, -1, 0},
			{store.Filter{Destination: "bad"}, 1000, 5},
			{store.Filter{Destination: "nobody"}, 1000, 0},
		} {
			n, err := r.inbox.Queue().Count(t.Context(), c.f, c.limit)
			require.NoError(t, err)
			require.Equal(t, c.want, n, "%+v", c)
		}
	})
}

func TestQueue_Redrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, mend := ofHandlers(t)
		r.run()
		r.add(numbered("g", 10, "good")...)
		r.add(numbered("b", 350, "bad")...)
		pass(time.Minute)
		require.Equal(t, map[store.State]int{store.Processed: 10, store.Dead: 350}, r.states())
		mend()
		q := r.inbox.Queue()

		// A part, and on from there: the oldest first.
		n, next, err := q.Redrive(t.Context(), store.Filter{Destination: "bad"}, "", 120)
		require.NoError(t, err)
		require.Equal(t, 120, n)
		require.NotEmpty(t, next)
		pass(time.Minute)
		require.Equal(t, ids(numbered("b", 350, "bad"))[120:], found(t, q, store.Filter{States: []store.State{store.Dead}}))
		n, next, err = q.Redrive(t.Context(), store.Filter{Destination: "bad"}, next, 100)
		require.NoError(t, err)
		require.Equal(t, 100, n)
		n, next, err = q.Redrive(t.Context(), store.Filter{Destination: "bad"}, next, 1000)
		require.NoError(t, err)
		require.Equal(t, 130, n)
		require.Empty(t, next, "the end")
		pass(time.Minute)
		require.Equal(t, map[store.State]int{store.Processed: 360}, r.states())
		for _, d := range r.deliveries()[10:] {
			require.Len(t, d.Attempts, 2, "the failed one stays")
			require.Zero(t, d.Spent)
		}

		for _, limit := range []int{0, -1} { // all, or none? neither is done in silence
			n, next, err = q.Redrive(t.Context(), store.Filter{}, "where it stood", limit)
			require.EqualError(t, err, fmt.Sprintf(`webhook: change in queue "inbox": limit is %d, must be at least 1`, limit))
			require.Zero(t, n)
			require.Equal(t, "where it stood", next)
		}
	})
}

// States widen what a redrive takes; what is being processed is its worker's.
func TestQueue_RedriveOfOtherStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{Retry: fixed(8, time.Hour)})
		h := clocked{script: []error{errors.New("down"), nil}}
		var slow gauge
		r.inbox.Handle("flaky", h.handle)
		r.inbox.Handle("slow", slow.takes(20*time.Second))
		r.run()
		r.add(event("1", "flaky"), event("2", "slow"))
		pass(time.Second)
		q := r.inbox.Queue()

		n, _, err := q.Redrive(t.Context(), store.Filter{}, "", 10)
		require.NoError(t, err)
		require.Zero(t, n, "nothing is dead")
		n, _, err = q.Redrive(t.Context(), store.Filter{States: []store.State{store.Processing}}, "", 10)
		require.NoError(t, err)
		require.Zero(t, n)
		n, _, err = q.Redrive(t.Context(), store.Filter{States: []store.State{store.Queued, store.Processing}}, "", 10)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		synctest.Wait()
		require.Equal(t, []time.Duration{0, time.Second}, h.times(), "now, and not in an hour")

		pass(time.Minute)
		n, _, err = q.Redrive(t.Context(), store.Filter{States: []store.State{store.Processed}, Destination: "slow"}, "", 10)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		pass(time.Minute)
		require.Equal(t, 2, slow.seenEntered(), "on purpose, twice")
	})
}

func TestQueue_Discard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := ofHandlers(t)
		r.run()
		r.add(numbered("", 150, "bad")...)
		r.add(event("good", "good"))
		pass(time.Minute)
		q := r.inbox.Queue()
		n, next, err := q.Discard(t.Context(), store.Filter{}, "", "", 1)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		n, next, err = q.Discard(t.Context(), store.Filter{}, "customer is gone", next, 1000)
		require.NoError(t, err)
		require.Equal(t, 149, n)
		require.Empty(t, next)
		require.Equal(t, map[store.State]int{store.Discarded: 150, store.Processed: 1}, r.states())
		ds := r.deliveries()
		require.Equal(t, "person", ds[0].Reason)
		require.Equal(t, "customer is gone", ds[1].Reason)
		require.Len(t, ds[1].Attempts, 1)
	})
}

// A list that came out empty picks nothing: not the whole queue.
func TestQueue_EmptyListsPickNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := ofHandlers(t)
		r.run()
		r.add(numbered("", 3, "bad")...)
		pass(time.Minute)
		q := r.inbox.Queue()
		for what, f := range map[string]store.Filter{
			"ids":           {IDs: []string{}},
			"ids of one":    {IDs: []string{}, Destination: "bad"},
			"states":        {States: []store.State{}},
			"states of one": {States: []store.State{}, Destination: "bad"},
		} {
			require.Empty(t, found(t, q, f), what)
			n, next, err := q.Redrive(t.Context(), f, "", 10)
			require.NoError(t, err, what)
			require.Zero(t, n, what)
			require.Empty(t, next, what)
			n, _, err = q.Discard(t.Context(), f, "", "", 10)
			require.NoError(t, err, what)
			require.Zero(t, n, what)
			n, err = q.Erase(t.Context(), f)
			require.Zero(t, n, what)
			require.Error(t, err, what)
		}
		require.Equal(t, map[store.State]int{store.Dead: 3}, r.states())
	})
}

func TestQueue_Rename(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := newRig(t, webhook.QueueConfig{})
		var slow gauge
		old.inbox.Handle("v1", slow.takes(20*time.Second))
		old.inbox.Handle("v2", new(collector).handle)
		old.add(numbered("", 250, "v1")...)
		both := event("both", "v1", "v2")
		old.add(both)
		ctx := t.Context()
		claimed, err := old.mem.Claim(ctx, "inbox", store.Claim{Free: map[string]int{"v1": 3}, Lease: time.Hour})
		require.NoError(t, err)
		require.Len(t, claimed, 3)

		q := old.inbox.Queue()
		err = q.Rename(ctx, "v1", "v2")
		require.ErrorIs(t, err, store.ErrRetry)
		require.EqualError(t, err, `webhook: rename "v1" to "v2": 3 deliveries are being processed: call again: webhook: try again`)
		for _, d := range claimed {
			_, err := old.mem.Commit(ctx, &store.Batch{Settles: []store.Settle{{Delivery: d.ID, Token: d.Token, To: store.Queued}}})
			require.NoError(t, err)
		}
		require.NoError(t, q.Rename(ctx, "v1", "v2"))
		require.Equal(t, []string{"both"}, found(t, q, store.Filter{Destination: "v1"}), "it has both")

		r := newRigOn(t, old.mem, webhook.QueueConfig{})
		var got collector
		r.inbox.Handle("v2", got.handle)
		r.run()
		require.ElementsMatch(t, append(ids(numbered("", 250, "v1")), "both"), got.ids())
		require.True(t, r.add(event("00000", "v2"))[0].Duplicate, "not once more under the new name")

		for _, c := range [][2]string{{"", "x"}, {"x", ""}, {"x", "x"}} {
			require.ErrorContains(t, q.Rename(ctx, c[0], c[1]), "two different names are needed")
		}
	})
}

// A process that was killed in its handler leaves leases that no claim under the
// new name would ever end.
func TestQueue_RenameAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := newRig(t, webhook.QueueConfig{})
		old.inbox.Handle("v1", new(collector).handle)
		old.add(numbered("", 7, "v1")...)
		old.lose("v1")
		require.Equal(t, map[store.State]int{store.Processing: 7}, old.states())

		r := newRigOn(t, old.mem, webhook.QueueConfig{})
		var got collector
		r.inbox.Handle("v2", got.handle)
		r.st.onClaim(func(context.Context, store.Claim, claimFunc) ([]store.Delivery, error) { return nil, store.ErrBusy })
		require.ErrorIs(t, r.inbox.Queue().Rename(t.Context(), "v1", "v2"), store.ErrRetry, "another process has the engine")
		r.st.onClaim(nil)
		require.NoError(t, r.inbox.Queue().Rename(t.Context(), "v1", "v2"))
		r.run()
		require.ElementsMatch(t, ids(numbered("", 7, "v1")), got.ids())
		for _, d := range r.deliveries() {
			require.Equal(t, 1, d.Lost)
			require.Equal(t, store.OutcomeLost, d.Attempts[0].Outcome)
		}
	})
}

func TestQueue_PauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var billing, audit collector
		r.inbox.Handle("billing", billing.handle)
		r.inbox.Handle("audit", audit.handle)
		r.run()
		q := webhook.NewQueue(r.mem, "inbox") // by another process, as it were
		require.NoError(t, q.Pause(t.Context(), "billing", "bank holiday"))
		r.add(event("1", "billing", "audit"))
		pass(time.Hour)
		require.Empty(t, billing.ids())
		require.Equal(t, []string{"1"}, audit.ids())
		var held []store.Hold
		for s, err := range q.Destinations(t.Context()) {
			require.NoError(t, err)
			held = append(held, s.Held...)
		}
		require.Equal(t, []store.Hold{{Queue: "inbox", Destination: "billing", Kind: store.Paused, Reason: "bank holiday"}}, held)

		require.NoError(t, q.Resume(t.Context(), "billing"))
		synctest.Wait()
		require.Equal(t, []string{"1"}, billing.ids(), "at once")
	})
}

// Names that nobody has: what asks for them may come before the first delivery, and
// may be asked for again.
func TestQueue_NamesThatNobodyHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		q := r.inbox.Queue()
		require.NoError(t, q.Rename(t.Context(), "v0", "v1"))
		require.NoError(t, q.Resume(t.Context(), "v1"))
		require.NoError(t, q.Pause(t.Context(), "v1", "not yet"))
		require.NoError(t, q.Pause(t.Context(), "v1", "not yet"))
		var names []string
		for s, err := range q.Destinations(t.Context()) {
			require.NoError(t, err)
			names = append(names, s.Destination)
			require.Equal(t, []store.Hold{{Queue: "inbox", Destination: "v1", Kind: store.Paused, Reason: "not yet"}}, s.Held)
		}
		require.Equal(t, []string{"v1"}, names)

		const unnamed = `webhook: hold in queue "inbox": no destination is named`
		require.EqualError(t, q.Pause(t.Context(), "", ""), unnamed)
		require.EqualError(t, q.Resume(t.Context(), ""), unnamed)
	})
}

func TestQueue_Stats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := ofHandlers(t)
		q := r.inbox.Queue()
		s, err := q.Stats(t.Context())
		require.NoError(t, err)
		require.Equal(t, store.Stats{}, s)
		r.run()
		r.add(numbered("", 3, "bad")...)
		pass(time.Second)
		require.NoError(t, q.Pause(t.Context(), "good", ""))
		oldest := time.Now()
		r.add(numbered("g", 4, "good")...)
		s, err = q.Stats(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{4, 0, 3}, []int{s.Queued, s.Processing, s.Dead})
		require.Equal(t, oldest.UTC(), s.Oldest)
		var names []string
		for s, err := range q.Destinations(t.Context()) {
			require.NoError(t, err)
			names = append(names, s.Destination)
		}
		require.Equal(t, []string{"bad", "good"}, names)
	})
}

func TestQueue_DestinationsPageByPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, webhook.QueueConfig{})
		var want []string
		for i := range 250 {
			name := fmt.Sprintf("h%03d", i)
			want = append(want, name)
			r.inbox.Handle(name, new(collector).handle)
			r.add(event(name, name))
		}
		var got []string
		for s, err := range r.inbox.Queue().Destinations(t.Context()) {
			require.NoError(t, err)
			require.Equal(t, 1, s.Queued)
			got = append(got, s.Destination)
		}
		require.Equal(t, want, got)
		for range r.inbox.Queue().Destinations(t.Context()) {
			break
		}
	})
}

// Errors of the store come through, with what was being done.
func TestQueue_StoreFails(t *testing.T) {
	st := memory.New()
	require.NoError(t, st.Close())
	q, ctx := webhook.NewQueue(st, "inbox"), t.Context()
	for name, do := range map[string]func() error{
		`webhook: get delivery "1": `:     func() error { _, err := q.Get(ctx, "1"); return err },
		`webhook: count in queue "inbox"`: func() error { _, err := q.Count(ctx, store.Filter{}, 1); return err },
		`webhook: find in queue "inbox"`: func() error {
			for _, err := range q.Find(ctx, store.Filter{}) {
				return err
			}
			return nil
		},
		`webhook: change in queue`:         func() error { _, _, err := q.Redrive(ctx, store.Filter{}, "", 1); return err },
		`webhook: change in queue "inbox"`: func() error { _, _, err := q.Discard(ctx, store.Filter{}, "", "", 1); return err },
		`webhook: change in queue "inbox": webhook`: func() error {
			_, err := q.Erase(ctx, store.Filter{Subject: "a"})
			return err
		},
		`webhook: rename in queue "inbox"`: func() error { return q.Rename(ctx, "a", "b") },
		`webhook: hold "a": `:              func() error { return q.Pause(ctx, "a", "") },
		`webhook: hold "b": `:              func() error { return q.Resume(ctx, "b") },
		`webhook: stats of queue "inbox"`:  func() error { _, err := q.Stats(ctx); return err },
		`webhook: stats of queue`: func() error {
			for _, err := range q.Destinations(ctx) {
				return err
			}
			return nil
		},
	} {
		err := do()
		require.ErrorIs(t, err, store.ErrClosed)
		require.ErrorContains(t, err, name)
	}
}
