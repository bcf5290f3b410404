package storetest

import (
	"time"

	"github.com/surehook/webhook/store"
)

var wakeCases = []testCase{
	{name: "Wake/SameChannelForAll", run: wakeSame},
	{name: "Wake/WhenSomethingMayBeDueSooner", run: wakeSignals},
}

// All callers have one channel for a queue.
func wakeSame(t *tester) {
	first := t.st.Wake(queue)
	if second := t.st.Wake(queue); first != second {
		t.Error("two calls of Wake returned two channels")
	}
}

// A signal comes after an add, a successor of an ordering key, a redrive and a
// release. A store without signals returns nil: its engine polls.
func wakeSignals(t *tester) {
	wake := t.st.Wake(queue)
	if wake == nil {
		return
	}
	// quiet takes the signals of what was done before.
	quiet := func() {
		for {
			select {
			case <-wake:
			case <-time.After(20 * time.Millisecond):
				return
			}
		}
	}
	woken := func(what string, do func()) {
		t.Helper()
		quiet()
		do()
		select {
		case <-wake:
		case <-time.After(patience):
			t.Errorf("no signal after %s", what)
		}
	}
	var id string
	woken("an add", func() { id = t.put("e", "work") })
	woken("a missing delivery", func() { t.add(again(event("e"), "other")) })
	t.line("k", "1", "2", "3")
	d := t.lease("work")
	t.died(d)
	woken("a redrive", func() { t.update(dead, id) })
	var head store.Delivery
	for _, d := range t.next() {
		if d.Record.ID == "1" {
			head = d
		}
	}
	woken("the end of a predecessor", func() { t.processed(head) })
	second := t.of("2")
	woken("a predecessor that is discarded", func() { t.update(store.Change{To: store.Discarded}, second.ID) })
	t.hold(store.Hold{Destination: "work", Kind: store.Paused})
	woken("a release", func() { t.release("work", store.Paused) })
	t.put("retried", "third")
	d = t.lease("third")
	woken("a hand-back", func() { t.settled(d, store.Settle{To: store.Queued}) })
}
