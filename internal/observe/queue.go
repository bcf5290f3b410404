package observe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	"github.com/surehook/webhook/store"
)

// Operations of a store, for StoreFailed.
const (
	StoreAdd    = "add"
	StoreClaim  = "claim"
	StoreSettle = "settle"
	StoreRenew  = "renew"
	StorePurge  = "purge"
)

// StoreFailed counts an operation that the store failed.
func (o *Observer) StoreFailed(ctx context.Context, queue, operation string) {
	o.storeFailures(ctx, queue, operation, 1)
}

func (o *Observer) storeFailures(ctx context.Context, queue, operation string, n int64) {
	o.inst.storeFailures.Add(ctx, n, metric.WithAttributes(present(attrQueue, queue, attrStoreOp, operation)...))
}

// Watch has the figures of a queue observed, whenever somebody collects metrics,
// until the function that it returns is called: when that has returned nobody
// asks st any more. serves are the destinations of this process: they are there
// from the beginning, with zeros. active returns how many attempts are under way.
func (o *Observer) Watch(st store.Store, queue string, serves map[string]int, active func() int) (end func()) {
	w := &watch{st: st, queue: queue, serves: slices.Collect(maps.Keys(serves)), inst: o.inst, active: active}
	if o.way == Outbound {
		w.whole = true
		w.serves = []string{""}
	}
	for _, name := range w.serves {
		set := w.inst.destinations.of(destination{queue, name})
		w.inst.retries.Add(context.Background(), 0, set.add...)
		w.inst.dead.Add(context.Background(), 0, set.add...)
	}
	for _, operation := range [...]string{StoreAdd, StoreClaim, StoreSettle, StoreRenew, StorePurge} {
		o.storeFailures(context.Background(), queue, operation, 0)
	}
	r, err := w.register(o.meter)
	if err != nil {
		otel.Handle(err)
		return func() {}
	}
	return func() {
		if err := r.Unregister(); err != nil {
			otel.Handle(err)
		}
	}
}

// watch observes one queue.
type watch struct {
	st     store.Store
	queue  string
	serves []string // names of destinations
	whole  bool     // they are not told apart
	active func() int
	inst   *instruments

	count, blocked, holds, attempts metric.Int64ObservableUpDownCounter
	oldest, blockedAge              metric.Float64ObservableGauge
}

// register makes the instruments, and has them observed together.
func (w *watch) register(m metric.Meter) (metric.Registration, error) {
	var errs [6]error
	w.count, errs[0] = m.Int64ObservableUpDownCounter(nameDeliveries, metric.WithUnit("{delivery}"),
		metric.WithDescription("Deliveries that are queued, processing or dead, approximately."))
	w.blocked, errs[1] = m.Int64ObservableUpDownCounter(nameBlocked, metric.WithUnit("{key}"),
		metric.WithDescription("Ordering keys that wait for a person, since their head is dead."))
	w.oldest, errs[2] = m.Float64ObservableGauge(nameOldest, metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest delivery that is queued; zero: none is."))
	w.blockedAge, errs[3] = m.Float64ObservableGauge(nameBlockedAge, metric.WithUnit("s"),
		metric.WithDescription("How long the first of the blocked ordering keys has been so; zero: none is."))
	w.holds, errs[4] = m.Int64ObservableUpDownCounter(nameHolds, metric.WithUnit("{hold}"),
		metric.WithDescription("Destinations that are held, by who holds them; at most a hundred holds are counted."))
	w.attempts, errs[5] = m.Int64ObservableUpDownCounter(nameActive, metric.WithUnit("{attempt}"),
		metric.WithDescription("Attempts that are under way in this process."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	return m.RegisterCallback(w.observe, w.count, w.blocked, w.oldest, w.blockedAge, w.holds, w.attempts)
}

// Bounds of one observation: those who collect metrics wait for it.
const (
	statsTimeout = 5 * time.Second
	statsPage    = 100
)

// observe reads the figures of all destinations. Those past maxMade are observed
// as one, and so are endpoints, of which the store has the sum: there may be more
// of them than anybody who collects wants to wait for.
func (w *watch) observe(ctx context.Context, to metric.Observer) error {
	to.ObserveInt64(w.attempts, int64(w.active()), w.inst.destinations.of(destination{queue: w.queue}).observe...)
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	figures := make(map[string]store.Stats, len(w.serves))
	for _, name := range w.serves {
		add(figures, store.Stats{Destination: name})
	}
	for after := ""; ; {
		page, next, err := w.page(ctx, after)
		if err != nil {
			return fmt.Errorf("webhook: observe queue %q: %w", w.queue, err)
		}
		for _, s := range page {
			if w.whole == (s.Destination == "") { // the whole is the sum of its parts
				add(figures, s)
			}
		}
		if next == "" {
			break
		}
		after = next
	}
	for name, s := range figures {
		w.tell(to, name, s)
	}
	return nil
}

// page reads a page of figures; the first begins with those of the whole queue.
func (w *watch) page(ctx context.Context, after string) (page []store.Stats, next string, err error) {
	if w.whole {
		page, _, err = w.st.Stats(ctx, w.queue, "", 1)
		return page, "", err
	}
	return w.st.Stats(ctx, w.queue, after, statsPage)
}

// add adds s to the figures of its destination, or of the others.
func add(figures map[string]store.Stats, s store.Stats) {
	name := s.Destination
	sum, known := figures[name]
	if !known && len(figures) >= maxMade {
		name = other
		sum = figures[name]
	}
	sum.Queued += s.Queued
	sum.Processing += s.Processing
	sum.Dead += s.Dead
	sum.BlockedKeys += s.BlockedKeys
	sum.Oldest = earlier(sum.Oldest, s.Oldest)
	sum.BlockedSince = earlier(sum.BlockedSince, s.BlockedSince)
	sum.Held = append(sum.Held, s.Held...)
	figures[name] = sum
}

// earlier returns the earlier of two times of which the zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (w *watch) tell(to metric.Observer, name string, s store.Stats) {
	in := func(state store.State, n int) {
		to.ObserveInt64(w.count, int64(n), w.inst.standing.of(standing{w.queue, name, string(state)}).observe...)
	}
	in(store.Queued, s.Queued)
	in(store.Processing, s.Processing)
	in(store.Dead, s.Dead)
	set := w.inst.destinations.of(destination{w.queue, name})
	for _, kind := range [...]store.HoldKind{store.Paused, store.Disabled, store.Broken, store.Slowed} {
		n := 0
		for i := range s.Held {
			if s.Held[i].Kind == kind && s.Held[i].OrderKey == "" {
				n++
			}
		}
		to.ObserveInt64(w.holds, int64(n), w.inst.holds.of(held{w.queue, name, string(kind)}).observe...)
	}
	to.ObserveInt64(w.blocked, int64(s.BlockedKeys), set.observe...)
	to.ObserveFloat64(w.oldest, age(s.Oldest), set.observe...)
	to.ObserveFloat64(w.blockedAge, age(s.BlockedSince), set.observe...)
}

// age is in seconds; zero where there is none.
func age(since time.Time) float64 {
	if since.IsZero() {
		return 0
	}
	return max(time.Since(since), 0).Seconds()
}
