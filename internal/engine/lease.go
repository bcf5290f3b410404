package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/store"
)

// lease is the right to attempt d, from its claim to its settle.
type lease struct {
	d      *store.Delivery
	event  any             // for the attempt, see Attempt
	ctx    context.Context // of the attempt: ends with the lease, and with the drain
	at     observe.Attempt // once it has begun
	cancel context.CancelCauseFunc
	from   time.Time // it did not begin before
	ticket ticket    // drawn at the start, by a suspect once it is alone
	began  time.Time // when it had its turn
	ended  bool      // guarded by custody.mu

	// The times are read by the monotonic clock: one that is set moves nothing.
	mu    sync.Mutex
	until time.Time // end of the renewals; zero: they go on
	over  bool      // the try is; what is left is to settle it
	good  time.Time // the lease surely stands until then, if nobody was told otherwise
}

type leaseKey struct{}

// Within bounds an attempt that runs under ctx to d from now: the context ends
// then, and the lease is no longer renewed.
func Within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if l, ok := ctx.Value(leaseKey{}).(*lease); ok {
		l.mu.Lock()
		l.until = time.Now().Add(d)
		l.mu.Unlock()
	}
	return context.WithTimeout(ctx, d)
}

// suspect returns whether the attempts of the delivery were lost so often that it
// runs alone.
func (l *lease) suspect() bool { return l.d.Lost >= suspectAfter }

// overdue returns whether the attempt is past its time. A handler that ignores
// its context must not keep the delivery for ever.
func (l *lease) overdue(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.until.IsZero() && now.After(l.until)
}

// keep lets the renewals go on until l is settled: the try is over.
func (l *lease) keep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until, l.over = time.Time{}, true
}

// stranded returns whether l is not settled and may have run out meanwhile: its store
// takes nothing, for nobody knows how long.
func (l *lease) stranded(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over && !now.Before(l.good)
}

// current returns whether the lease surely stands.
func (l *lease) current(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Before(l.good)
}

// renewed notes that the lease stands until good.
func (l *lease) renewed(good time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.good = good
}

// leases are those that this engine holds.
type leases struct {
	mu sync.Mutex
	m  map[*lease]struct{}
}

func (ls *leases) add(l *lease) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.m[l] = struct{}{}
}

func (ls *leases) remove(l *lease) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.m, l)
}

// all returns the leases that are held now.
func (ls *leases) all() []*lease {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	all := make([]*lease, 0, len(ls.m))
	for l := range ls.m {
		all = append(all, l)
	}
	return all
}

// names returns up to n of the deliveries whose leases are held, for an error.
func (ls *leases) names(n int) string {
	var b strings.Builder
	all := ls.all()
	for i, l := range all {
		if i == n {
			fmt.Fprintf(&b, " and %d more", len(all)-n)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "delivery %s of %q", l.d.ID, observe.Clean(l.d.Destination))
	}
	return b.String()
}

// maxRenew is how many leases are renewed in one commit.
const maxRenew = 256

// renew prolongs all leases that are within their time, a third of the lease
// apart, in as few commits as there can be: one heartbeat a process, not one a
// delivery. It tries again sooner where a commit failed.
func (e *Engine) renew(ctx context.Context) {
	t := time.NewTimer(e.c.Lease / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		next := e.c.Lease / 3
		if !e.renewAll(ctx) {
			next = e.c.Lease / 15
		}
		t.Reset(next)
	}
}

// renewAll prolongs what is to be prolonged, cancels what was lost, and returns
// whether every commit came through.
func (e *Engine) renewAll(ctx context.Context) bool {
	now := time.Now()
	var due []*lease
	for _, l := range e.leases.all() {
		if l.overdue(now) {
			process.end(l)
			continue
		}
		if l.stranded(now) {
			process.end(l) // no suspect on another store is to wait for this one
		}
		due = append(due, l)
	}
	ok := true
	for len(due) > 0 {
		n := min(len(due), maxRenew)
		if err := e.renewSome(ctx, due[:n]); err != nil && ctx.Err() == nil {
			ok = false
			e.obs.Logger().ErrorContext(ctx, "webhook leases not renewed", observe.KeyQueue, e.c.Queue, "leases", n, observe.KeyError, err)
		}
		due = due[n:]
	}
	return ok
}

func (e *Engine) renewSome(ctx context.Context, ls []*lease) error {
	b := &store.Batch{Renews: make([]store.Renew, len(ls))}
	for i, l := range ls {
		b.Renews[i] = store.Renew{Delivery: l.d.ID, Token: l.d.Token, For: e.c.Lease}
	}
	start := time.Now() // no renewal begins before
	timed, cancel := context.WithTimeout(ctx, e.c.Lease/3)
	defer cancel()
	res, err := e.st.Commit(timed, b)
	e.note(ctx, observe.StoreRenew, err)
	if err != nil {
		return err
	}
	if len(res.Renews) != len(ls) {
		return fmt.Errorf("webhook: the store forgot to answer a renewal: %d of %d", len(res.Renews), len(ls))
	}
	for i, r := range res.Renews {
		if r == store.LeaseLost {
			ls[i].cancel(store.ErrLeaseLost)
			continue
		}
		// Locked is held: its own transaction completes it at this moment.
		ls[i].renewed(start.Add(e.c.Lease))
	}
	return nil
}
