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
// who arrive while it is under way form the next. It adds no latency, starts no
// timer and keeps no goroutine when idle. Backends make their Commit of one:
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
	patient *time.Timer  // starts a writer when the patience of those pending ends; nil: not set
	pending []*job[J, R] // not yet taken by a writer, in order of arrival
	urgent  int          // how many of them have no patience
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
	left  bool      // its caller is gone
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
// up others, until Timeout is over. Any other error goes to all the jobs of the
// write.
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
	if jb.by.IsZero() {
		g.urgent++
	}
	g.rouse()
}

// rouse starts a writer if there is something that it should write now, and a
// timer if there is something to be written later. g.mu is held.
func (g *Group[J, R]) rouse() {
	if len(g.pending) == 0 || g.writing == g.c.Writes {
		return
	}
	wait := g.wait()
	switch {
	case wait <= 0:
		g.writing++
		go g.run()
	case g.patient == nil:
		g.patient = time.AfterFunc(wait, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.patient = nil
			g.rouse()
		})
	}
}

// wait returns how long all that are pending can wait for company. g.mu is held.
func (g *Group[J, R]) wait() time.Duration {
	if g.urgent > 0 || g.closed || len(g.pending) == 0 {
		return 0
	}
	return time.Until(g.pending[0].by)
}

// leave takes out jb, which no writer has. g.mu is held.
func (g *Group[J, R]) leave(jb *job[J, R]) {
	jb.left = true // seen by retry, if jb waits on the side
	for i, p := range g.pending {
		if p == jb {
			g.pending = slices.Delete(g.pending, i, i+1)
			if jb.by.IsZero() {
				g.urgent--
			}
			return
		}
	}
}

// run writes until nothing is pending that cannot wait.
func (g *Group[J, R]) run() {
	for {
		// Those whose write has just ended are about to run, and to come back:
		// let them, so that the next write holds twice as many. With nobody
		// about this costs nothing.
		for range 3 {
			runtime.Gosched()
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
		g.do(jobs)
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
		if jb.by.IsZero() {
			g.urgent--
		}
		jobs = append(jobs, jb)
		items, bytes, n = items+jb.items, bytes+jb.bytes, n+1
		if jb.alone {
			break
		}
	}
	rest := copy(g.pending, g.pending[n:])
	clear(g.pending[rest:])
	g.pending = g.pending[:rest]
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
// time for it.
func (g *Group[J, R]) putAside(jb *job[J, R]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if jb.tries == 0 {
		jb.until = now.Add(g.c.Timeout)
	}
	// 10 ms doubling to 640, with full jitter: two that block each other part.
	wait := 5*time.Millisecond + rand.N(10*time.Millisecond<<min(jb.tries, 6))
	if g.closed || now.Add(wait).After(jb.until) {
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
