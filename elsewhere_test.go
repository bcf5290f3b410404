package webhook_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// A process that only receives names handlers that others run: it needs no Run and
// is not asked for one; theirs have what it stores.
func TestElsewhere_WebOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := newRigWith(t, memory.New(), webhook.InboxConfig{Elsewhere: []string{"billing", "audit"}})
		require.Equal(t, 200, deliver(believed(web.inbox.Receive("billing")), `[{"ID":"1"}]`).Code)
		require.Equal(t, 200, deliver(believed(web.inbox.Receive("billing")), `[{"ID":"2","To":["audit"]}]`).Code)
		require.Equal(t, 500, deliver(believed(web.inbox.Receive("billing")), `[{"ID":"3","To":["adit"]}]`).Code)
		pass(time.Hour)
		require.Empty(t, web.logs.having(t, "msg", notRunning))
		require.Equal(t, map[store.State]int{store.Queued: 2}, web.states())
		require.NoError(t, web.inbox.Health(t.Context()))

		worker := newRigOn(t, web.mem, webhook.QueueConfig{})
		var got collector
		worker.inbox.Handle("billing", got.handle)
		worker.inbox.Handle("audit", got.handle)
		worker.run()
		require.ElementsMatch(t, []string{"1", "2"}, got.ids())
		require.Equal(t, 200, deliver(believed(web.inbox.Receive("audit")), `[{"ID":"4"}]`).Code)
		pass(time.Minute)
		require.ElementsMatch(t, []string{"1", "2", "4"}, got.ids())
	})
}

// One that has handlers of its own is told when it does not run them.
func TestElsewhere_StillWarnsForItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigWith(t, memory.New(), webhook.InboxConfig{Elsewhere: []string{"audit"}})
		r.inbox.Handle("billing", new(collector).handle)
		r.add(event("1", "audit"))
		pass(time.Minute)
		require.Empty(t, r.logs.having(t, "msg", notRunning))
		r.add(event("2", "audit", "billing"))
		pass(time.Minute)
		require.Len(t, r.logs.having(t, "msg", notRunning), 1)
	})
}

// A process that runs gives no leases for handlers elsewhere and does not claim
// them; it tells of them when they wait for too long.
func TestElsewhere_IsNotRunHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigWith(t, memory.New(), webhook.InboxConfig{Elsewhere: []string{"audit", "both", "ordered"}})
		var got collector
		r.inbox.Handle("billing", got.handle)
		r.inbox.Handle("both", got.handle)
		r.inbox.HandleWith("ordered", nil, webhook.HandlerConfig{OrderBy: bySubject})
		r.run()
		r.add(event("1", "billing", "audit", "ordered"), event("2", "both"))
		pass(2*time.Hour + 50*time.Minute)
		require.ElementsMatch(t, []string{"1", "2"}, got.ids(), "what is handled here is, whoever else has it")
		require.Empty(t, r.logs.having(t, "msg", noHandler), "it is elsewhere")
		for _, d := range r.deliveries() {
			if d.Destination == "audit" || d.Destination == "ordered" {
				require.Equal(t, store.Queued, d.State)
				require.Zero(t, d.Token)
			}
		}
		pass(20 * time.Minute)
		told := r.logs.having(t, "msg", noHandler)
		require.Len(t, told, 2, "nobody has them")
		require.ElementsMatch(t, []any{"audit", "ordered"}, []any{told[0]["destination"], told[1]["destination"]})
		pass(time.Hour)
		require.Len(t, r.logs.having(t, "msg", noHandler), 4, "once an hour")
	})
}

func TestElsewhere_Wiring(t *testing.T) {
	for says, names := range map[string][]string{
		`webhook: inbox configuration: Elsewhere has "", which is empty or there twice`:  {"a", ""},
		`webhook: inbox configuration: Elsewhere has "a", which is empty or there twice`: {"a", "b", "a"},
	} {
		_, err := webhook.NewInbox(&faultyStore{}, webhook.InboxConfig{Elsewhere: names})
		require.EqualError(t, err, says)
	}
	inbox, err := webhook.NewInbox(&faultyStore{}, webhook.InboxConfig{Elsewhere: []string{"audit"}})
	require.NoError(t, err)
	require.PanicsWithValue(t, `webhook: Handle("audit"): the handler is nil`, func() { inbox.Handle("audit", nil) }, "it says nothing")
	require.PanicsWithValue(t, `webhook: Handle("other"): the handler is nil`, func() {
		inbox.HandleWith("other", nil, webhook.HandlerConfig{OrderBy: bySubject})
	}, "it is not elsewhere")
	require.PanicsWithValue(t, `webhook: HandleWith("x"): SkipDead says how an order goes on, and there is no OrderBy`, func() {
		inbox.HandleWith("x", func(context.Context, webhook.Event) error { return nil }, webhook.HandlerConfig{SkipDead: true})
	})
	require.PanicsWithValue(t, `webhook: Receive("adit"): no handler of this name: call Handle first, or name it in InboxConfig.Elsewhere; there are [audit]`, func() {
		inbox.Receive("adit")
	})
	require.NotPanics(t, func() { inbox.Receive("audit") })
}
