package webhook

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"time"

	"github.com/surehook/webhook/internal/engine"
	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/store"
)

// QueueConfig is how a queue is run; the zero value is the default, of an Inbox or
// of a Dispatcher.
//
// MaxDepth is held against a figure that is at most a second old: what comes within
// that second goes beyond it, and when the queue has been worked off it is a second
// until more is taken. While the queue is full everything is refused, events that are
// known already too: whether they are is not looked up.
type QueueConfig struct {
	Name        string          // the namespace in the store; default "inbox", "outbox"
	Concurrency int             // attempts at once, in this process; default 64, 128
	Timeout     time.Duration   // of one attempt; default 1 min, 15 s
	Retry       RetryPolicy     // see RetryPolicy
	Lease       time.Duration   // the right of one process to attempt a delivery, renewed at a third; default 30 s, at least 1 s
	Poll        time.Duration   // how often the store is asked for what is due, beside its wake-ups; default 1 s
	Drain       time.Duration   // how long attempts under way may go on when Run's context ends; default 25 s
	MaxDepth    int             // how many may be queued, see above; default 1,000,000, negative: no bound
	Retention   store.Retention // default: Processed 7 days, Dead for ever, Keys 7 days; Processed negative: for ever
	Telemetry   Telemetry
}

// Defaults of retention: the payload of what was processed stays for a week,
// dead letters until somebody acts, and an event is known for at least a week,
// longer than the three days over which Stripe retries
// (https://docs.stripe.com/webhooks#automatic-retries).
const (
	keepProcessed = 7 * 24 * time.Hour
	keepKeys      = 7 * 24 * time.Hour
)

// queueDefaults are those that differ between an Inbox and a Dispatcher.
type queueDefaults struct {
	name        string
	concurrency int
	timeout     time.Duration
}

var (
	inbound  = queueDefaults{"inbox", 64, time.Minute}
	outbound = queueDefaults{"outbox", 128, 15 * time.Second}
)

// complete returns c with its zero fields set, or an error that names the field
// which makes no sense.
func (c QueueConfig) complete(def queueDefaults) (QueueConfig, error) {
	for _, f := range []struct {
		name    string
		is      *time.Duration
		std     time.Duration
		atLeast time.Duration
	}{
		{"Timeout", &c.Timeout, def.timeout, 1},
		{"Lease", &c.Lease, 30 * time.Second, time.Second},
		{"Poll", &c.Poll, time.Second, time.Millisecond},
		{"Drain", &c.Drain, 25 * time.Second, 1},
		{"Retention.Processed", &c.Retention.Processed, keepProcessed, -1 << 63},
		{"Retention.Keys", &c.Retention.Keys, keepKeys, -1 << 63},
	} {
		if *f.is == 0 {
			*f.is = f.std
		}
		if *f.is < f.atLeast {
			return c, fmt.Errorf("queue configuration: %s is %s, must be at least %s", f.name, *f.is, f.atLeast)
		}
	}
	if c.Name == "" {
		c.Name = def.name
	}
	if c.Concurrency == 0 {
		c.Concurrency = def.concurrency
	}
	if c.MaxDepth == 0 {
		c.MaxDepth = 1_000_000
	}
	if c.Concurrency < 0 {
		return c, fmt.Errorf("queue configuration: Concurrency is %d, must be at least 1", c.Concurrency)
	}
	if err := c.Retry.validate(); err != nil {
		return c, fmt.Errorf("queue configuration: Retry: %w", err)
	}
	return c, nil
}

// engine returns what the engine needs of a completed c.
func (c QueueConfig) engine(limits func() map[string]int) engine.Config {
	return engine.Config{
		Queue: c.Name, Concurrency: c.Concurrency, Lease: c.Lease, Poll: c.Poll, Drain: c.Drain,
		MaxDepth: c.MaxDepth, Retention: c.Retention, Limits: limits,
	}
}

// Queue is one queue of a store as the person on call sees it. Safe for
// concurrent use, beside the process that runs it and in others. What changes
// something is a record in the log at INFO, written with the caller's ctx, from
// which a slog.Handler of your own can tell who it was.
type Queue struct {
	st   store.Store
	name string
	log  *slog.Logger // nil: slog.Default at each record
}

// NewQueue opens a queue for looking and acting, without running it: for
// commands and dashboards. Its records go to slog.Default. An Inbox and a Dispatcher
// have their own, by their method Queue, whose records go where theirs do.
func NewQueue(st store.Store, name string) *Queue { return &Queue{st: st, name: name} }

// queueOf opens the queue of a completed c.
func queueOf(st store.Store, c QueueConfig) *Queue {
	return &Queue{st: st, name: c.Name, log: c.Telemetry.Logger}
}

// acted records what changed something.
func (q *Queue) acted(ctx context.Context, a observe.Act) {
	if a.Deliveries == 0 {
		return
	}
	a.Queue = q.name
	observe.Acted(ctx, q.log, a)
}

// pageSize is how many deliveries are read or changed at once.
const pageSize = 100

// Find yields the deliveries that match, oldest first. It reads page by page and
// holds nothing between pages: what changes meanwhile may or may not be seen.
// Bodies, headers and attempts are not filled; see Get. After an error it ends.
func (q *Queue) Find(ctx context.Context, f store.Filter) iter.Seq2[store.Delivery, error] {
	return func(yield func(store.Delivery, error) bool) {
		for after := ""; ; {
			page, next, err := q.st.Find(ctx, q.name, f, after, pageSize)
			if err != nil {
				yield(store.Delivery{}, fmt.Errorf("webhook: find in queue %q: %w", q.name, err))
				return
			}
			for _, d := range page {
				if !yield(d, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			after = next
		}
	}
}

// Get returns one delivery, with its event's headers and body (EventOf reads
// them) and all its attempts. ErrNotFound: there is none of this id.
func (q *Queue) Get(ctx context.Context, id string) (store.Delivery, error) {
	page, _, err := q.st.Find(ctx, q.name, store.Filter{IDs: []string{id}}, "", 1)
	if err != nil {
		return store.Delivery{}, fmt.Errorf("webhook: get delivery %q: %w", id, err)
	}
	if len(page) == 0 {
		return store.Delivery{}, fmt.Errorf("webhook: get delivery %q: %w", id, ErrNotFound)
	}
	return page[0], nil
}

// countPage is how many deliveries Count reads at once: they are not kept.
const countPage = 1000

// Count returns how many match, at most limit, and reads no further. It reads what
// it counts, some microseconds each on SQLite: how deep a queue is, Stats says at
// no such cost.
func (q *Queue) Count(ctx context.Context, f store.Filter, limit int) (int, error) {
	n := 0
	for after := ""; n < limit; {
		page, next, err := q.st.Find(ctx, q.name, f, after, min(limit-n, countPage))
		if err != nil {
			return 0, fmt.Errorf("webhook: count in queue %q: %w", q.name, err)
		}
		if n += len(page); next == "" {
			break
		}
		after = next
	}
	return n, nil
}

// Redrive makes those that match due at once, with a full budget: at most limit,
// oldest first, dead ones unless f.States says otherwise. It returns how many it
// were, and the cursor to go on with as after, "" at the end. One with an ordering
// key takes its old place, before what was committed after it; one whose event was
// erased stays dead. After an error some may be redriven already; to go on is safe.
// A limit below 1 is an error: it neither means all nor is it silently none.
func (q *Queue) Redrive(ctx context.Context, f store.Filter, after string, limit int) (n int, next string, err error) {
	n, next, err = q.change(ctx, f, after, limit, store.Change{To: store.Queued})
	q.acted(ctx, observe.Act{Action: observe.Redriven, Filter: f, Deliveries: n, Err: err})
	return n, next, err
}

// Discard ends those that match, for the reason given; default "person". As
// Redrive: at most limit, dead ones unless f.States says otherwise.
func (q *Queue) Discard(ctx context.Context, f store.Filter, reason, after string, limit int) (n int, next string, err error) {
	if reason == "" {
		reason = "person"
	}
	n, next, err = q.change(ctx, f, after, limit, store.Change{To: store.Discarded, Reason: reason})
	q.acted(ctx, observe.Act{Action: observe.Ended, Filter: f, Deliveries: n, Reason: reason, Err: err})
	return n, next, err
}

// Erase empties what the events of those that match carry, for a person's request to
// be forgotten: headers, body, what is kept of the request, and the errors and
// excerpts of their attempts. What is still to be done of them is discarded, dead
// letters too, with the reason "erased". The names by which stores find an event
// (id, type, subject, tenant, source) stay, and it stays known: a sender's retry
// stores it no second time. It returns how many deliveries are without content now.
//
// ErrRetry, with their number: some match that are being processed, or whose event
// is still to be done for a handler that does not match; call again. A filter
// without IDs, Subject, EventID, Tenant, Source or Type is an error, since it would
// empty the whole queue; so is one with States, since what is forgotten is so in all
// of them. After any error some may be erased already, and to call
// again is safe. What SQLite and its backups hold of the old bytes is another
// matter: see docs/operations.md.
func (q *Queue) Erase(ctx context.Context, f store.Filter) (n int, err error) {
	if len(f.IDs) == 0 && f.Subject == "" && f.EventID == "" && f.Tenant == "" && f.Source == "" && f.Type == "" {
		return 0, fmt.Errorf("webhook: erase in queue %q: the filter names no IDs, Subject, EventID, Tenant, Source or Type", q.name)
	}
	if f.States != nil {
		return 0, fmt.Errorf("webhook: erase in queue %q: the filter names States", q.name)
	}
	// In two passes, since an event goes when the last of its deliveries has ended.
	open := store.Change{From: []store.State{store.Queued, store.Dead}, To: store.Discarded, Reason: "erased"}
	ended, _, err := q.changeAll(ctx, f, open)
	q.acted(ctx, observe.Act{Action: observe.Ended, Filter: f, Deliveries: ended, Reason: open.Reason, Err: err})
	if err != nil {
		return 0, err
	}
	n, found, err := q.changeAll(ctx, f, store.Change{Erase: true})
	if err == nil && n < found {
		err = fmt.Errorf("webhook: erase in queue %q: %d deliveries are being processed, or their events elsewhere: call again: %w", q.name, found-n, store.ErrRetry)
	}
	q.acted(ctx, observe.Act{Action: observe.Erased, Filter: f, Deliveries: n, Err: err})
	return n, err
}

// changeAll changes all that match, and returns how many it were of those found.
func (q *Queue) changeAll(ctx context.Context, f store.Filter, c store.Change) (n, found int, err error) {
	for after := ""; ; {
		page, next, err := q.st.Find(ctx, q.name, f, after, pageSize)
		if err != nil {
			return n, found, fmt.Errorf("webhook: change in queue %q: %w", q.name, err)
		}
		m, err := q.update(ctx, page, c)
		n, found = n+m, found+len(page)
		if err != nil || next == "" {
			return n, found, err
		}
		after = next
	}
}

// change finds and changes, a page at a time.
func (q *Queue) change(ctx context.Context, f store.Filter, after string, limit int, c store.Change) (n int, next string, err error) {
	if limit < 1 {
		return 0, after, fmt.Errorf("webhook: change in queue %q: limit is %d, must be at least 1", q.name, limit)
	}
	if f.States == nil {
		f.States = []store.State{store.Dead}
	}
	// What is being processed is its worker's.
	c.From = slices.DeleteFunc(slices.Clone(f.States), func(s store.State) bool { return s == store.Processing })
	if len(c.From) == 0 {
		return 0, "", nil
	}
	for limit > 0 {
		page, next, err := q.st.Find(ctx, q.name, f, after, min(limit, pageSize))
		if err != nil {
			return n, after, fmt.Errorf("webhook: change in queue %q: %w", q.name, err)
		}
		m, err := q.update(ctx, page, c)
		if err != nil {
			return n, after, err
		}
		n, limit, after = n+m, limit-len(page), next
		if next == "" {
			break
		}
	}
	return n, after, nil
}

// update changes the deliveries of a page.
func (q *Queue) update(ctx context.Context, page []store.Delivery, c store.Change) (int, error) {
	if len(page) == 0 {
		return 0, nil
	}
	ids := make([]string, len(page))
	for i := range page {
		ids[i] = page[i].ID
	}
	n, err := q.st.Update(ctx, q.name, ids, c)
	if err != nil {
		return n, fmt.Errorf("webhook: change in queue %q: %w", q.name, err)
	}
	return n, nil
}

// Rename moves the deliveries of a handler to its new name. The name is part of
// what is stored, so whoever renames a handler calls this once, when no process
// has the old one any more, and before Run in the process that has the new one.
// What is being processed stays; an error then says how many, and Rename is
// called again. Leases that have run out, whose process is gone, are ended. An
// event that has a delivery under both names keeps both. A name under which
// nothing is stored is no error, so that each start of a program may call it.
func (q *Queue) Rename(ctx context.Context, from, to string) error {
	if from == "" || to == "" || from == to {
		return fmt.Errorf("webhook: rename %q to %q: two different names are needed", from, to)
	}
	moved, busy, err := q.move(ctx, from, to)
	if err == nil && busy > 0 {
		if err = q.handBack(ctx, from, busy); err == nil {
			var more int
			more, busy, err = q.move(ctx, from, to)
			moved += more
		}
	}
	switch {
	case err != nil:
		err = fmt.Errorf("webhook: rename in queue %q: %w", q.name, err)
	case busy > 0:
		err = fmt.Errorf("webhook: rename %q to %q: %d deliveries are being processed: call again: %w", from, to, busy, store.ErrRetry)
	}
	q.acted(ctx, observe.Act{Action: observe.Renamed, Filter: store.Filter{Destination: from}, To: to, Deliveries: moved, Err: err})
	return err
}

// move changes the destination of what can be moved, and returns how many it moved,
// and how many are being processed.
func (q *Queue) move(ctx context.Context, from, to string) (moved, busy int, err error) {
	for after := ""; ; {
		page, next, err := q.st.Find(ctx, q.name, store.Filter{Destination: from}, after, pageSize)
		if err != nil {
			return moved, busy, err
		}
		for _, d := range page {
			if d.State == store.Processing {
				busy++
			}
		}
		n, err := q.update(ctx, page, store.Change{Destination: to})
		moved += n
		if err != nil || next == "" {
			return moved, busy, err
		}
		after = next
	}
}

// handBack ends leases of a destination that have run out, n at most: only a
// claim may, and where no process has the handler any more nobody claims.
func (q *Queue) handBack(ctx context.Context, destination string, n int) error {
	ds, err := q.st.Claim(ctx, q.name, store.Claim{Free: map[string]int{destination: n}, Max: min(n, pageSize), Lease: time.Minute})
	if errors.Is(err, store.ErrBusy) || err == nil && len(ds) == 0 {
		return nil // another process has the right to, or they still run
	}
	if err != nil {
		return err
	}
	b := &store.Batch{Settles: make([]store.Settle, len(ds))}
	for i := range ds {
		b.Settles[i] = store.Settle{Delivery: ds[i].ID, Token: ds[i].Token, To: store.Queued}
	}
	_, err = q.st.Commit(ctx, b)
	return err
}

// Pause holds a destination until Resume, in all processes and over restarts:
// its deliveries are kept and not attempted; those that run, run on, and a few that a
// process has in hand may begin within the next second. A name that
// has none yet may be paused before its first, so that a misspelt one is no error
// either: Destinations shows what there is and what is held, the new name beside the
// one that was meant.
func (q *Queue) Pause(ctx context.Context, destination, reason string) error {
	err := q.hold(ctx, store.Hold{Destination: destination, Kind: store.Paused, Reason: reason})
	if err == nil {
		q.acted(ctx, observe.Act{Action: observe.Paused, Filter: store.Filter{Destination: destination}, Reason: reason, Deliveries: -1})
	}
	return err
}

// Resume releases a destination, whatever held it. One that nothing holds, or
// that nobody has, is no error.
func (q *Queue) Resume(ctx context.Context, destination string) error {
	err := q.hold(ctx, store.Hold{Destination: destination, Release: true})
	if err == nil {
		q.acted(ctx, observe.Act{Action: observe.Resumed, Filter: store.Filter{Destination: destination}, Deliveries: -1})
	}
	return err
}

func (q *Queue) hold(ctx context.Context, h store.Hold) error {
	if h.Destination == "" { // nobody's: HandleWith refuses it
		return fmt.Errorf("webhook: hold in queue %q: no destination is named", q.name)
	}
	h.Queue = q.name
	if _, err := q.st.Commit(ctx, &store.Batch{Holds: []store.Hold{h}}); err != nil {
		return fmt.Errorf("webhook: hold %q: %w", h.Destination, err)
	}
	return nil
}

// Stats returns the figures of the whole queue, approximate and cheap.
func (q *Queue) Stats(ctx context.Context) (store.Stats, error) {
	page, _, err := q.st.Stats(ctx, q.name, "", 1)
	if err != nil {
		return store.Stats{}, fmt.Errorf("webhook: stats of queue %q: %w", q.name, err)
	}
	if len(page) == 0 {
		return store.Stats{}, nil
	}
	return page[0], nil
}

// Destinations yields the figures of each destination, in the order of their
// names. After an error it ends.
func (q *Queue) Destinations(ctx context.Context) iter.Seq2[store.Stats, error] {
	return func(yield func(store.Stats, error) bool) {
		for after := ""; ; {
			page, next, err := q.st.Stats(ctx, q.name, after, pageSize)
			if err != nil {
				yield(store.Stats{}, fmt.Errorf("webhook: stats of queue %q: %w", q.name, err))
				return
			}
			for _, s := range page {
				if s.Destination != "" && !yield(s, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			after = next
		}
	}
}
