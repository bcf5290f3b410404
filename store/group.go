package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Group lets concurrent callers share one write: the first goes at once, those
// who arrive while it is under way form the next. It adds no latency and starts
// no timer, unless GroupConfig.Patience says so, and keeps no goroutine when
// idle. Backends make their Commit of one:
//
//	group := store.NewGroup(write, store.GroupConfig[*store.Batch]{Items: (*store.Batch).Len})
//
//	func (s *Store) Commit(ctx context.Context, b *store.Batch) (*store.Results, error) {
//		return s.group.Do(ctx, b)
//	}
//
// Jobs are joined whole and never split, so that what is atomic for its caller
// stays so. All methods may be called concurrently.
type Group[J, R any] struct {
	write func(context.Context, []J) ([]R, error)
	c     GroupConfig[J]

	mu      sync.Mutex
	idle    sync.Cond    // signalled when a writer ends or a job leaves the side
	pending []*job[J, R] // not yet taken by a writer, in order of arrival
	urgent  int          // how many of them have no patience
	by      time.Time    // when the patience of the first of the others ends
	alarm   *time.Timer  // rings then; nil: never used
	rings   time.Time    // zero: not set
	writing int          // writers that run, at most c.Writes
	aside   int          // jobs that wait for their next try
	closed  bool
}

// GroupConfig bounds a Group; the zero value is the default.
type GroupConfig[J any] struct {
	Items    func(J) int   // how much of MaxItems a job takes; default 1
	Bytes    func(J) int   // how much of MaxBytes a job takes; default 0
	MaxItems int           // of one write; default 512. A larger job goes alone
	MaxBytes int           // of one write; default 8 MiB. A larger job goes alone
	Writes   int           // how many may be under way at once; default 1
	Timeout  time.Duration // of one write, and of the tries of one job; default 10 s

	// Patience is how long a job may wait for another that cannot, and go with
	// it; default 0, at once. Jobs for which nobody waits halve the writes so.
	Patience func(J) time.Duration
}

// job is one caller's. The fields below done are guarded by Group.mu.
type job[J, R any] struct {
	j            J
	items, bytes int
	done         chan struct{} // closed when r and err are set
	r            R
	err          error

	by    time.Time // it has patience until then; zero: none
	taken bool      // by a writer: the caller stays until it is written
	left  bool      // its caller is gone, or stays for this one write alone
	alone bool      // it was a culprit of the moment: it goes without company
	tries int       // as such
	until time.Time // no try after; set with the first
}

// NewGroup returns a Group over write, which does all of jobs or nothing and
// returns one result for each, in order. It panics if write is nil.
func NewGroup[J, R any](write func(ctx context.Context, jobs []J) ([]R, error), c GroupConfig[J]) *Group[J, R] {
	if write == nil {
		panic("webhook: store.NewGroup: write is nil")
	}
	if c.Items == nil {
		c.Items = func(J) int { return 1 }
	}
	if c.Bytes == nil {
		c.Bytes = func(J) int { return 0 }
	}
	if c.MaxItems < 1 {
		c.MaxItems = 512
	}
	if c.MaxBytes < 1 {
		c.MaxBytes = 8 << 20
	}
	if c.Writes < 1 {
		c.Writes = 1
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	g := &Group[J, R]{write: write, c: c}
	g.idle.L = &g.mu
	return g
}

// Do returns when j is written. The write has a context of its own: a caller
// whose ctx ends takes out its own job alone, and only before a writer has it;
// afterwards Do returns what became of the write. j must not be changed before
// Do returns.
//
// Where a write is refused with ErrBadData or ErrRetry it is halved, until the
// culprit stands alone and its neighbours are written. A culprit with ErrBadData
// gets that error; one with ErrRetry is tried again on the side, without holding
// up others, until Timeout is over or its caller leaves. Any other error goes to
// all the jobs of the write.
//
// ErrInTransaction: ctx is that of a Transact closure, whose end the write would
// wait for. ErrClosed: after Close.
func (g *Group[J, R]) Do(ctx context.Context, j J) (R, error) {
	var none R
	if err := InTransaction(ctx); err != nil {
		return none, err
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	jb := &job[J, R]{j: j, items: g.c.Items(j), bytes: g.c.Bytes(j), done: make(chan struct{})}
	if g.c.Patience != nil {
		if p := g.c.Patience(j); p > 0 {
			jb.by = time.Now().Add(p)
		}
	}

	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return none, ErrClosed
	}
	g.push(jb)
	g.mu.Unlock()

	select {
	case <-jb.done:
		return jb.r, jb.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	jb.left = true
	if !jb.taken {
		g.leave(jb)
		g.mu.Unlock()
		return none, ctx.Err()
	}
	g.mu.Unlock()
	<-jb.done
	return jb.r, jb.err
}

// Close refuses further jobs, waits for those that are in, and returns. Jobs
// that wait for another try get ErrClosed.
func (g *Group[J, R]) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.rouse()
	for g.writing > 0 || g.aside > 0 {
		g.idle.Wait()
	}
}

// push queues jb and sees to it that somebody writes. g.mu is held.
func (g *Group[J, R]) push(jb *job[J, R]) {
	g.pending = append(g.pending, jb)
	g.expect(jb)
	g.rouse()
}

// expect takes account of when jb, which is pending, wants to be written. g.mu
// is held.
func (g *Group[J, R]) expect(jb *job[J, R]) {
	switch {
	case jb.by.IsZero():
		g.urgent++
	case g.by.IsZero() || jb.by.Before(g.by):
		g.by = jb.by
	}
}

// shrunk takes account of what is still pending. g.mu is held.
func (g *Group[J, R]) shrunk() {
	g.urgent, g.by = 0, time.Time{}
	for _, jb := range g.pending {
		g.expect(jb)
	}
}

// rouse starts a writer if there is something that it should write now, and
// sets the alarm if there is something to be written later. g.mu is held.
func (g *Group[J, R]) rouse() {
	if len(g.pending) == 0 || g.writing == g.c.Writes {
		return
	}
	wait := g.wait()
	switch {
	case wait <= 0:
		g.writing++
		go g.run()
	case g.alarm == nil:
		g.rings = g.by
		g.alarm = time.AfterFunc(wait, g.ring)
	case g.rings.IsZero() || g.by.Before(g.rings):
		g.rings = g.by
		g.alarm.Reset(wait)
	}
}

// ring is called by the alarm. That nothing has to be done yet, or any more, is
// for rouse to see.
func (g *Group[J, R]) ring() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rings = time.Time{}
	g.rouse()
}

// wait returns how long all that are pending can wait for company. g.mu is held.
func (g *Group[J, R]) wait() time.Duration {
	if g.urgent > 0 || g.closed || len(g.pending) == 0 {
		return 0
	}
	return time.Until(g.by)
}

// leave takes out jb, which no writer has. It may be on the side, where retry
// sees that it has left. g.mu is held.
func (g *Group[J, R]) leave(jb *job[J, R]) {
	if i := slices.Index(g.pending, jb); i >= 0 {
		g.pending = slices.Delete(g.pending, i, i+1)
		g.shrunk()
	}
}

// run writes until nothing is pending that cannot wait.
func (g *Group[J, R]) run() {
	for crowd := false; ; {
		if crowd {
			yield()
		}
		g.mu.Lock()
		if len(g.pending) == 0 || g.wait() > 0 {
			g.writing--
			g.rouse()
			g.idle.Broadcast()
			g.mu.Unlock()
			return
		}
		jobs := g.take()
		g.mu.Unlock()
		crowd = len(jobs) > 1
		g.do(jobs)
	}
}

// yield lets those run whose write has just ended: they are about to come back,
// and the next write then holds twice as many. It does so for a moment alone:
// where others compute, each turn lasts the 10 ms that the scheduler gives them.
func yield() {
	start := time.Now()
	for range 3 {
		runtime.Gosched()
		if time.Since(start) > 100*time.Microsecond {
			return
		}
	}
}

// take returns the jobs of the next write, in order of arrival. g.mu is held.
func (g *Group[J, R]) take() []*job[J, R] {
	var jobs []*job[J, R]
	items, bytes, n := 0, 0, 0
	for _, jb := range g.pending {
		if jb.alone && len(jobs) > 0 {
			break
		}
		if len(jobs) > 0 && (items+jb.items > g.c.MaxItems || bytes+jb.bytes > g.c.MaxBytes) {
			break
		}
		jb.taken = true
		jobs = append(jobs, jb)
		items, bytes, n = items+jb.items, bytes+jb.bytes, n+1
		if jb.alone {
			break
		}
	}
	rest := copy(g.pending, g.pending[n:])
	clear(g.pending[rest:])
	g.pending = g.pending[:rest]
	g.shrunk()
	return jobs
}

// do writes jobs, halving them as long as one of them spoils the rest.
func (g *Group[J, R]) do(jobs []*job[J, R]) {
	js := make([]J, len(jobs))
	for i, jb := range jobs {
		js[i] = jb.j
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.c.Timeout)
	rs, err := g.write(ctx, js)
	cancel()

	switch {
	case err == nil && len(rs) != len(jobs):
		err = fmt.Errorf("webhook: store wrote %d jobs and returned %d results", len(jobs), len(rs))
	case err == nil:
		for i, jb := range jobs {
			jb.r = rs[i]
			close(jb.done)
		}
		return
	case !errors.Is(err, ErrBadData) && !errors.Is(err, ErrRetry):
	case len(jobs) > 1:
		half := len(jobs) / 2
		g.do(jobs[:half])
		g.do(jobs[half:])
		return
	case errors.Is(err, ErrRetry) && g.putAside(jobs[0]):
		return
	}
	for _, jb := range jobs {
		jb.err = err
		close(jb.done)
	}
}

// putAside lets jb be tried again a little later, and returns whether there is
// time for it and somebody who waits.
func (g *Group[J, R]) putAside(jb *job[J, R]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if jb.tries == 0 {
		jb.until = now.Add(g.c.Timeout)
	}
	// 10 ms doubling to 640, with full jitter: two that block each other part.
	wait := 5*time.Millisecond + rand.N(10*time.Millisecond<<min(jb.tries, 6))
	if g.closed || jb.left || now.Add(wait).After(jb.until) {
		return false
	}
	jb.tries++
	jb.alone, jb.taken, jb.by = true, false, time.Time{}
	g.aside++
	time.AfterFunc(wait, func() { g.retry(jb) })
	return true
}

// retry brings jb back from the side.
func (g *Group[J, R]) retry(jb *job[J, R]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.aside--
	switch {
	case jb.left:
	case g.closed:
		jb.err = ErrClosed
		close(jb.done)
	default:
		g.push(jb)
	}
	g.idle.Broadcast()
}
