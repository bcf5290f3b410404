package engine

import (
	"slices"
	"sync"
)

// process is the lock under which attempts run, one for all engines of this
// process: what kills a process kills the attempts of all of them.
var process solitude

// solitude lets a suspect attempt run alone. The others run together, and wait
// while a suspect runs or waits. The zero value is ready.
type solitude struct {
	mu      sync.Mutex
	company int  // attempts that run together
	alone   bool // a suspect runs
	queue   []*entrant
}

// presence is how an attempt counts while it runs.
type presence uint8

const (
	absent presence = iota
	together
	byItself
)

// suspectAfter is the number of lost attempts from which a delivery runs alone:
// it may be what killed the process, and innocents should not pay for it twice.
const suspectAfter = 2

// entrant waits to be let in.
type entrant struct {
	as presence
	in chan struct{} // closed when it is
}

// enter waits until l may run, and returns whether it may: false if stop is
// closed or l's context ends before.
func (s *solitude) enter(l *lease, stop <-chan struct{}) bool {
	as := together
	if l.d.Lost >= suspectAfter {
		as = byItself
	}
	s.mu.Lock()
	if len(s.queue) == 0 && s.fits(as) {
		s.admit(as)
		l.presence = as
		s.mu.Unlock()
		return true
	}
	w := &entrant{as: as, in: make(chan struct{})}
	s.queue = append(s.queue, w)
	s.mu.Unlock()

	select {
	case <-w.in:
		s.mu.Lock()
		defer s.mu.Unlock()
		l.presence = as
		return true
	case <-stop:
	case <-l.ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.queue, w); i >= 0 {
		s.queue = slices.Delete(s.queue, i, i+1)
		s.next()
	} else { // let in at the same moment: out again
		s.out(as)
	}
	return false
}

// leave ends what enter began; also called for one that is past its time and
// may never end, since nobody must wait for that. A second call does nothing.
func (s *solitude) leave(l *lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	as := l.presence
	l.presence = absent
	s.out(as)
}

// fits returns whether one more may run. s.mu is held.
func (s *solitude) fits(as presence) bool {
	return !s.alone && (as == together || s.company == 0)
}

// admit counts one more. s.mu is held.
func (s *solitude) admit(as presence) {
	if as == byItself {
		s.alone = true
	} else {
		s.company++
	}
}

// out counts one less, and lets in who may come. s.mu is held.
func (s *solitude) out(as presence) {
	switch as {
	case together:
		s.company--
	case byItself:
		s.alone = false
	case absent:
		return
	}
	s.next()
}

// next lets in those at the head of the queue that fit. s.mu is held.
func (s *solitude) next() {
	for len(s.queue) > 0 && s.fits(s.queue[0].as) {
		s.admit(s.queue[0].as)
		close(s.queue[0].in)
		s.queue = s.queue[1:]
	}
}
