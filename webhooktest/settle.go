package webhooktest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

// Runner is what Settle runs: a [webhook.Inbox] or a [webhook.Dispatcher].
type Runner interface {
	Run(ctx context.Context) error
	Queue() *webhook.Queue
}

// The bounds of Settle, in fake time. Every schedule of retries that is in use ends
// within the first, and no delivery that is due waits as long as the second.
const (
	settleBound = 30 * 24 * time.Hour
	idleBound   = 24 * time.Hour
)

// tick is how often Settle looks where it cannot know what it waits for.
const tick = time.Second

// Settle runs the runners until nothing in their queues is left to be done: every
// delivery is processed, dead or discarded, or is held until somebody releases it,
// or waits in its order behind a dead letter. Retries happen at their times, which
// go by as nothing else is under way: it is to be called in a bubble of
// testing/synctest, in which the store was opened too, and says so elsewhere.
//
// The first Settle of a runner starts its Run, which goes on until the test ends
// and is drained then; so handlers are registered before, and the test does not
// call Run itself. Settle may be called again, after more was received, redriven
// or released.
//
// It ends the test if Run fails, if something would still be to be done after 30 days,
// or if nothing happened for a day to what is due, such as deliveries for a
// handler that nobody has; it names what is left. The fake time that went by
// counts for all else: what was processed more than 7 days before is purged
// (QueueConfig.Retention). A handler that waits for a real socket or for
// another process keeps the time from going by, and Settle with it.
func Settle(t testing.TB, runners ...Runner) {
	t.Helper()
	if p := outsideBubble(); p != nil {
		t.Fatalf("webhooktest: Settle needs the time of testing/synctest, and the %v: call it inside synctest.Test", p)
	}
	runs := make([]*run, len(runners))
	for i, r := range runners {
		runs[i] = start(t, r)
	}
	begin := time.Now()
	changed, last := begin, work{}
	for {
		synctest.Wait()
		now, err := look(t.Context(), runs)
		if err != nil {
			t.Fatalf("webhooktest: Settle: %v", err)
		}
		if len(now.left) == 0 {
			return
		}
		wait := max(now.rest(), tick)
		if now.tokens != last.tokens || len(now.left) != len(last.left) || now.rest() > 0 {
			changed = time.Now().Add(now.rest()) // a delay may be longer than the bound
		}
		switch last = now; {
		case time.Since(begin)+wait > settleBound:
			t.Fatalf("webhooktest: Settle: not done within 30 days: %s", now)
		case time.Since(changed) >= idleBound:
			t.Fatalf("webhooktest: Settle: due for a day, and not attempted: %s", now)
		}
		time.Sleep(wait)
	}
}

// outsideBubble returns nil in a bubble of synctest, else what is wrong.
func outsideBubble() (p any) {
	defer func() { p = recover() }()
	synctest.Wait()
	return nil
}

// run is a Run that goes on until the end of its test.
type run struct {
	Runner
	done chan struct{}
	err  error // of Run, once done is closed
}

// running are the runs of all tests, so that Settle can be called again.
var running = struct {
	mu sync.Mutex
	of map[Runner]*run
}{of: map[Runner]*run{}}

// start returns the run of r, begun if it is not under way.
func start(t testing.TB, r Runner) *run {
	t.Helper()
	running.mu.Lock()
	defer running.mu.Unlock()
	if begun := running.of[r]; begun != nil {
		return begun
	}
	begun := &run{Runner: r, done: make(chan struct{})}
	running.of[r] = begun
	// It ends in the cleanup: t.Context would end it before, in the last steps of
	// tests that clean up themselves.
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() {
		defer close(begun.done)
		begun.err = r.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-begun.done
		running.mu.Lock()
		delete(running.of, r)
		running.mu.Unlock()
		// A test that closes the store itself is not wrong: there is nothing to drain.
		if err := begun.err; err != nil && !errors.Is(err, store.ErrClosed) {
			t.Errorf("webhooktest: end of Run: %v", err)
		}
	})
	return begun
}

// work is what is left to be done.
type work struct {
	left   []store.Delivery
	tokens uint64    // their sum: it changes with each attempt
	busy   bool      // one is under way
	next   time.Time // when the first of them may be tried
}

// rest is how long nothing will happen, as far as is known.
func (w work) rest() time.Duration {
	if w.busy {
		return 0
	}
	return max(time.Until(w.next), 0)
}

// String names what is left, and nothing of its bodies.
func (w work) String() string {
	const most = 10
	var b strings.Builder
	for i, d := range w.left {
		if i == most {
			fmt.Fprintf(&b, "; and %d more", len(w.left)-most)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "event %q for %q is %s", d.Record.ID, d.Destination, d.State)
		if wait := time.Until(d.Due); d.State == store.Queued && wait > 0 {
			fmt.Fprintf(&b, ", due in %s", wait)
		}
		if d.Token > 0 {
			fmt.Fprintf(&b, " (attempts begun: %d)", d.Token)
		}
	}
	return b.String()
}

// look returns what is left in the queues of runs.
func look(ctx context.Context, runs []*run) (work, error) {
	var w work
	for _, r := range runs {
		select {
		case <-r.done:
			if r.err == nil {
				r.err = errors.New("webhook: Run ended before the test")
			}
			return w, fmt.Errorf("run: %w", r.err)
		default:
		}
		if err := addLeft(ctx, &w, r.Queue()); err != nil {
			return w, err
		}
	}
	return w, nil
}

// addLeft adds to w what is left in q.
func addLeft(ctx context.Context, w *work, q *webhook.Queue) error {
	stops := map[string]*stops{}
	for s, err := range q.Destinations(ctx) {
		if err != nil {
			return err
		}
		if stops[s.Destination], err = stopsOf(ctx, q, s); err != nil {
			return err
		}
	}
	for d, err := range q.Find(ctx, store.Filter{States: []store.State{store.Queued, store.Processing}}) {
		if err != nil {
			return err
		}
		at, ok := d.Due, true
		if s := stops[d.Destination]; s != nil && d.State == store.Queued {
			at, ok = s.due(d)
		}
		if !ok {
			continue
		}
		w.left = append(w.left, d)
		w.tokens += d.Token
		w.busy = w.busy || d.State == store.Processing
		if w.next.IsZero() || at.Before(w.next) {
			w.next = at
		}
	}
	return nil
}

// stops are what keeps deliveries of a destination from being attempted.
type stops struct {
	holds []store.Hold
	dead  map[string]bool // ordering keys whose head is dead
}

func stopsOf(ctx context.Context, q *webhook.Queue, s store.Stats) (*stops, error) {
	stops := &stops{holds: s.Held, dead: map[string]bool{}}
	if s.BlockedKeys == 0 {
		return stops, nil
	}
	for d, err := range q.Find(ctx, store.Filter{Destination: s.Destination, States: []store.State{store.Dead}}) {
		if err != nil {
			return nil, err
		}
		stops.dead[d.OrderKey] = true
	}
	return stops, nil
}

// due returns when d, which is queued, may be tried, and false if never, as long
// as nobody does something about it.
func (s *stops) due(d store.Delivery) (time.Time, bool) {
	if d.OrderKey != "" && s.dead[d.OrderKey] {
		return time.Time{}, false
	}
	at := d.Due
	for _, h := range s.holds {
		if h.OrderKey != "" && h.OrderKey != d.OrderKey {
			continue
		}
		if h.For == 0 {
			return time.Time{}, false
		}
		if end := time.Now().Add(h.For); end.After(at) {
			at = end
		}
	}
	return at, true
}
