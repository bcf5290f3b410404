package engine

import (
	"sync"
	"time"

	"github.com/surehook/webhook/store"
)

// slots counts what this process has in hand: deliveries that are reserved for
// an add under way, wait for their turn, or run. At most limit run at once; as
// many again may be reserved or waiting, so that the commits of adds overlap
// with handlers at work.
type slots struct {
	limit int
	turn  chan struct{} // holds one for each that runs
	kick  chan struct{} // signals the claim loop: a slot is free that there may be work for

	mu     sync.Mutex
	serves map[string]*share // destinations of this process
	inHand int
	ended  chan struct{} // closed when nothing is in hand or unsettled; nil: nobody waits
	open   int           // attempts that are not settled yet
}

// share is what one destination has of the slots.
type share struct {
	limit  int
	inHand int
	more   bool // the store may have something due that there was no slot for
}

func newSlots(limit int) *slots {
	return &slots{limit: limit, turn: make(chan struct{}, limit), kick: make(chan struct{}, 1)}
}

// serve sets the destinations of this process, with their limits.
func (s *slots) serve(limits map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serves = make(map[string]*share, len(limits))
	for d, n := range limits {
		s.serves[d] = &share{limit: min(n, s.limit)}
	}
}

// free returns how many slots each destination has free, and all together.
func (s *slots) free() (map[string]int, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := max(0, s.limit-s.inHand)
	free := make(map[string]int, len(s.serves))
	n := 0
	for d, sh := range s.serves {
		f := min(all, max(0, sh.limit-sh.inHand))
		if f == 0 {
			sh.more = true // nobody looked: the next free slot is to
			continue
		}
		free[d] = f
		n += f
	}
	return free, min(n, all)
}

// claimed takes the slots of ds, which c brought, and returns whether there may
// be more for the slots that are left.
func (s *slots) claimed(c store.Claim, ds []store.Delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := make(map[string]int, len(c.Free))
	bytes := 0
	for i := range ds {
		got[ds[i].Destination]++
		bytes += len(ds[i].Record.Body)
		s.take(ds[i].Destination)
	}
	full := len(ds) >= c.Max || bytes >= c.Bytes/2
	for d := range c.Free {
		if sh := s.serves[d]; sh != nil {
			sh.more = full || got[d] >= c.Free[d]
		}
	}
	return full && s.inHand < s.limit
}

// reserve takes a slot for a delivery of an add, if destination is served here,
// has one free, and nothing older waits for it in the store.
func (s *slots) reserve(destination string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.serves[destination]
	if sh == nil || sh.more {
		return false
	}
	// A destination with a limit of its own gets no more than that, lest what
	// waits for it fill the hand; the others may have the limit once over.
	room := sh.limit
	if room == s.limit {
		room = 2 * s.limit
	}
	if s.inHand >= 2*s.limit || sh.inHand >= room {
		sh.more = true // it will be in the store
		return false
	}
	s.take(destination)
	return true
}

// take counts one of destination. s.mu is held.
func (s *slots) take(destination string) {
	s.inHand++
	s.open++
	if sh := s.serves[destination]; sh != nil {
		sh.inHand++
	}
}

// done gives back the slot of one that has ended, though it may not be settled
// yet, and calls for the next.
func (s *slots) done(destination string) {
	s.mu.Lock()
	s.inHand--
	call := false
	if sh := s.serves[destination]; sh != nil {
		sh.inHand--
		call = sh.more
	}
	s.mu.Unlock()
	if call {
		select {
		case s.kick <- struct{}{}:
		default:
		}
	}
}

// settled ends the account of one whose slot was given back.
func (s *slots) settled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if s.open == 0 && s.ended != nil {
		close(s.ended)
		s.ended = nil
	}
}

// release gives back a reservation.
func (s *slots) release(destination string) {
	s.done(destination)
	s.settled()
}

// wait returns whether everything was settled within d.
func (s *slots) wait(d time.Duration) bool {
	s.mu.Lock()
	if s.open == 0 {
		s.mu.Unlock()
		return true
	}
	if s.ended == nil {
		s.ended = make(chan struct{})
	}
	ended := s.ended
	s.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ended:
		return true
	case <-t.C:
		return false
	}
}

// known returns whether destination is served by this process.
func (s *slots) known(destination string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serves[destination] != nil
}
