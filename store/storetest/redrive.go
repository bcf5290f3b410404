package storetest

import (
	"context"
	"fmt"
	"sync"

	"github.com/surehook/webhook/store"
)

var redriveCases = []testCase{
	{name: "Order/RedriveTakesItsOldPlace", run: redrivePlace},
	{name: "Order/RedriveAfterUnblockGoesNext", run: redriveUnblocked},
	{name: "Order/RedriveBesideALease", run: redriveLeased},
	{name: "Order/MissingDeliveryGoesLast", run: orderMissing},
	{name: "Order/OfManyAtOnce", run: orderRace},
}

var dead = store.Change{From: []store.State{store.Dead}, To: store.Queued}

// A dead head that is redriven is the head, due at once.
func redrivePlace(t *tester) {
	t.line("k", "1", "2")
	for range 3 {
		d := t.head("1")
		t.died(d)
		t.blocked(1)
		equal(t, "redriven", t.update(dead, d.ID), 1)
		t.blocked(0)
	}
	t.processed(t.head("1"))
	t.processed(t.head("2"))
}

// One that had let the next go is redriven into its old place: before all that
// were committed after it and are not finished, and not twice.
func redriveUnblocked(t *tester) {
	t.line("k", "1", "2", "3", "4")
	var first []string
	for _, id := range []string{"1", "2"} {
		d := t.head(id)
		t.settled(d, store.Settle{To: store.Dead, Unblock: true})
		first = append(first, d.ID)
	}
	equal(t, "redriven, the later one named first", t.update(dead, first[1], first[0]), 2)
	for _, id := range []string{"1", "2", "3", "4"} {
		t.processed(t.head(id))
	}
	equal(t, "processed once more", t.update(store.Change{To: store.Queued}, first[1]), 1)
	t.line("k", "5")
	t.processed(t.head("2"))
	t.processed(t.head("5"))
}

// Where the next is leased at that moment, it waits for that: two of one key never
// run at once.
func redriveLeased(t *tester) {
	t.line("k", "1", "2", "3")
	d := t.head("1")
	t.settled(d, store.Settle{To: store.Dead, Unblock: true})
	second := t.head("2")
	equal(t, "redriven", t.update(dead, d.ID), 1)
	if early := t.next(); len(early) > 0 {
		t.Fatalf("claimed %s beside the one of its key that is leased", ids(early))
	}
	equal(t, "renewal of the lease", t.renew(second, lease), store.Done)
	t.processed(second)
	t.processed(t.head("1"))
	t.processed(t.head("3"))
}

// A missing delivery stands where its own commit puts it, not where the event's
// first arrival would.
func orderMissing(t *tester) {
	a := event("e", "elsewhere")
	t.add(a)
	t.line("k", "1")
	b := again(a, "work")
	b.To[0].OrderKey = "k"
	t.add(b)
	t.line("k", "2")
	for _, id := range []string{"1", "e", "2"} {
		t.processed(t.head(id))
	}
}

// lineLog is what is known of an ordering key from outside.
type lineLog struct {
	sync.Mutex
	committed []string // in the order of their commits
	done      int      // of committed
	leased    bool
}

// add commits a, alone for its key, so that the order of commits is known.
func (l *lineLog) add(ctx context.Context, st store.Store, a store.Add) error {
	l.Lock()
	defer l.Unlock()
	l.committed = append(l.committed, a.Record.ID)
	_, err := st.Commit(ctx, &store.Batch{Adds: []store.Add{a}})
	return err
}

// lease fails unless d is the head and nobody has it.
func (l *lineLog) lease(d store.Delivery) error {
	if l == nil {
		return fmt.Errorf("claimed %s with the key %q, which was never given", d.Record.ID, d.OrderKey)
	}
	l.Lock()
	defer l.Unlock()
	if l.leased {
		return fmt.Errorf("key %s: %s is claimed while another is leased", d.OrderKey, d.Record.ID)
	}
	if l.done == len(l.committed) || l.committed[l.done] != d.Record.ID {
		return fmt.Errorf("key %s: %s is claimed, and is not the head: %q after %d were processed", d.OrderKey, d.Record.ID, l.committed, l.done)
	}
	l.leased = true
	return nil
}

func (l *lineLog) settle(ctx context.Context, st store.Store, d store.Delivery, to store.State) error {
	l.Lock()
	l.leased = false
	if to == store.Processed {
		l.done++
	}
	l.Unlock()
	res, err := st.Commit(ctx, &store.Batch{Settles: []store.Settle{{Delivery: d.ID, Token: d.Token, To: to}}})
	if err == nil && res.Settles[0] != store.Done {
		err = fmt.Errorf("settle of %s: %s, want Done", d.Record.ID, name(res.Settles[0]))
	}
	return err
}

// Whatever is added, claimed, retried and settled at once: each key's deliveries
// are claimed one at a time, in the order of their commits.
func orderRace(t *tester) {
	const (
		adders, workers = 3, 3
		each            = 40 // adds of one adder
	)
	lines := map[string]*lineLog{"a": {}, "b": {}, "c": {}, "d": {}}
	names := keys(lines)
	var mu sync.Mutex
	left := adders * each
	worker := func(ctx context.Context) error {
		for ctx.Err() == nil {
			mu.Lock()
			finished := left == 0
			mu.Unlock()
			if finished {
				return nil
			}
			ds, err := t.st.Claim(ctx, queue, store.Claim{Other: 10, Lease: lease})
			if err != nil {
				return err
			}
			if len(ds) == 0 {
				pause(ctx)
			}
			for _, d := range ds {
				line, to := lines[d.OrderKey], store.Processed
				if d.Token < 3 && d.Record.Body[len(d.Record.Body)-1]%3 == 0 {
					to = store.Queued // some twice
				}
				if err := line.lease(d); err != nil {
					return err
				}
				if err := line.settle(ctx, t.st, d, to); err != nil {
					return err
				}
				if to == store.Processed {
					mu.Lock()
					left--
					mu.Unlock()
				}
			}
		}
		return nil
	}
	t.together(adders+workers, func(ctx context.Context, i int) error {
		if i >= adders {
			return worker(ctx)
		}
		for j := range each {
			key := names[(i+j)%len(names)]
			if err := lines[key].add(ctx, t.st, ordered(fmt.Sprintf("%d.%d", i, j), "work", key)); err != nil {
				return err
			}
		}
		return nil
	})
	equal(t, "processed", len(t.find(store.Filter{States: []store.State{store.Processed}})), adders*each)
}
