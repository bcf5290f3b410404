package engine

import (
	"context"
	"slices"
	"time"
)

// turns lets at most limit run at once, the others in the order in which they
// came: whoever serves one after another relies on it. The slots' mu is held by
// whoever uses it.
type turns struct {
	limit   int
	running int
	waiting []*ticket
}

// take takes a turn for t, or has t wait.
func (q *turns) take(t *ticket) bool {
	if q.running < q.limit {
		q.running++
		return true
	}
	q.waiting = append(q.waiting, t)
	return false
}

// pass gives a turn back, and returns to whom it goes; nil: nobody.
func (q *turns) pass() *ticket {
	if len(q.waiting) == 0 || q.running > q.limit {
		q.running--
		return nil
	}
	return q.first()
}

// first takes the first out of those that wait.
func (q *turns) first() *ticket {
	next := q.waiting[0]
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	return next
}

// resize sets the limit, and returns those that have a turn because of it. With a
// lower one, those that run beyond it run on.
func (q *turns) resize(limit int) (have []*ticket) {
	q.limit = limit
	for len(q.waiting) > 0 && q.running < q.limit {
		q.running++
		have = append(have, q.first())
	}
	return have
}

// leave takes t out of those that wait.
func (q *turns) leave(t *ticket) {
	q.waiting = slices.DeleteFunc(q.waiting, func(other *ticket) bool { return other == t })
}

// running returns how many have their turn.
func (s *slots) running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turns.running
}

// ticket is the place of one delivery in the order: first among those of its
// destination, if that has turns of its own, then among all.
type ticket struct {
	own      *turns // nil: of all alone
	has, may bool   // a turn of own, and one of all: it may run
	granted  chan struct{}
}

// draw makes t a ticket for destination, behind those that were drawn before.
func (s *slots) draw(t *ticket, destination string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh := s.serves[destination]; sh != nil {
		t.own = sh.turns
	}
	if t.own != nil {
		t.has = t.own.take(t)
	}
	if t.own == nil || t.has {
		t.may = s.turns.take(t)
	}
	if !t.may {
		t.granted = make(chan struct{})
	}
}

// entry is how begin ended.
type entry int

const (
	began      entry = iota // it may run
	gaveUp                  // stop was closed, or the context ended
	waitedLong              // maxWait was over
)

// begin waits until t may run.
func (s *slots) begin(ctx context.Context, t *ticket, stop <-chan struct{}) entry {
	if t.granted == nil {
		return began
	}
	late := time.NewTimer(maxWait)
	defer late.Stop()
	how := gaveUp
	select {
	case <-t.granted:
		return began
	case <-stop:
	case <-ctx.Done():
	case <-late.C:
		how = waitedLong
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case t.may: // it was granted at this moment
		return began
	case t.own != nil && !t.has:
		t.own.leave(t)
	default:
		s.turns.leave(t)
		s.passOwn(t)
	}
	return how
}

// end gives on the turns of t.
func (s *slots) end(t *ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next := s.turns.pass(); next != nil {
		next.grant()
	}
	s.passOwn(t)
}

// passOwn gives on the turn that t has of its destination's. s.mu is held.
func (s *slots) passOwn(t *ticket) {
	if t.own == nil {
		return
	}
	if next := t.own.pass(); next != nil {
		s.hasOwn(next)
	}
}

// hasOwn notes that t has a turn of its destination's, and takes one of all. s.mu is
// held.
func (s *slots) hasOwn(t *ticket) {
	t.has = true
	if s.turns.take(t) {
		t.grant()
	}
}

func (t *ticket) grant() {
	t.may = true
	close(t.granted)
}
