package engine

import (
	"context"
	"sync"
	"time"

	"github.com/surehook/webhook/store"
)

// slots counts what this process has in hand: deliveries that are reserved for
// an add under way, wait for their turn, or run. At most limit run at once; as
// many again may be reserved or waiting, so that the commits of adds overlap
// with handlers at work.
//
// What is in hand decides what is asked for; the turns, and they alone, decide
// what runs: while a claim is under way an add may take the slot that the claim
// asked for, so that more are in hand than may run.
type slots struct {
	limit int
	turn  chan struct{} // holds one for each that runs
	kick  chan struct{} // signals the claim loop: a slot is free that there may be work for

	mu     sync.Mutex
	serves map[string]*share // destinations of this process; of the others, those in hand
	other  func(destination string) int
	more   bool // the store may have something due of the others that there was no slot for
	giving bool // the first claim has succeeded, and no drain has begun: leases may be born
	inHand int
	ended  chan struct{} // closed when nothing is in hand or unsettled; nil: nobody waits
	open   int           // attempts that are not settled yet
}

// share is what one destination has of the slots.
type share struct {
	named  bool // else it goes when nothing of it is in hand
	limit  int
	turn   chan struct{} // as that of all, where limit is less than theirs; else nil
	inHand int
	more   bool // the store may have something due that there was no slot for
}

func newSlots(limit int) *slots {
	return &slots{limit: limit, turn: make(chan struct{}, limit), kick: make(chan struct{}, 1)}
}

// serve sets the destinations of this process, with their limits, and the limit of
// others; nil: others are not served.
func (s *slots) serve(limits map[string]int, other func(destination string) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.other = other
	s.serves = make(map[string]*share, len(limits))
	for d, n := range limits {
		s.serves[d] = s.newShare(n)
		s.serves[d].named = true
	}
}

func (s *slots) newShare(limit int) *share {
	sh := &share{limit: min(limit, s.limit)}
	if sh.limit < s.limit {
		sh.turn = make(chan struct{}, sh.limit)
	}
	return sh
}

// share returns that of destination, nil if it is not served here. s.mu is held.
func (s *slots) share(destination string) *share {
	sh := s.serves[destination]
	if sh == nil && s.other != nil && s.serves != nil {
		sh = s.newShare(s.other(destination))
		s.serves[destination] = sh
	}
	return sh
}

// forget drops the share of a destination that has nothing in hand, unless it
// stays. s.mu is held.
func (s *slots) forget(destination string, sh *share) {
	if !sh.named && sh.inHand == 0 {
		delete(s.serves, destination)
	}
}

// give lets leases be born from now on, or not any more: when it returns, what
// was reserved is counted as open, and nothing else will be.
func (s *slots) give(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giving = yes
}

// begin waits until one more of destination may run, and returns whether it may:
// false if stop is closed or ctx ends before.
func (s *slots) begin(ctx context.Context, destination string, stop <-chan struct{}) bool {
	own := s.ownTurn(destination)
	if own != nil && !take(ctx, own, stop) {
		return false
	}
	if take(ctx, s.turn, stop) {
		return true
	}
	if own != nil {
		<-own
	}
	return false
}

// running returns how many have their turn.
func (s *slots) running() int { return len(s.turn) }

// end gives on the turn that begin gave.
func (s *slots) end(destination string) {
	<-s.turn
	if own := s.ownTurn(destination); own != nil {
		<-own
	}
}

func (s *slots) ownTurn(destination string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh := s.serves[destination]; sh != nil {
		return sh.turn
	}
	return nil
}

// take takes a place in turn, and returns whether it did: false if stop is
// closed or ctx ends before.
func take(ctx context.Context, turn chan<- struct{}, stop <-chan struct{}) bool {
	select {
	case turn <- struct{}{}:
		return true
	case <-stop:
	case <-ctx.Done():
	}
	return false
}

// free returns how many slots are free: of each destination, of each other one, and
// all together.
func (s *slots) free() (named map[string]int, other, all int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all = max(0, s.limit-s.inHand)
	s.more = s.other != nil && all == 0 // nobody looks
	named = make(map[string]int, len(s.serves))
	n := 0
	for d, sh := range s.serves {
		f := min(all, max(0, sh.limit-sh.inHand))
		if f == 0 {
			sh.more = true // nobody looked: the next free slot is to
			if s.other == nil {
				continue // only those named are asked for
			}
		}
		named[d] = f
		n += f
	}
	if s.other != nil {
		return named, min(all, s.other("")), all
	}
	return named, 0, min(n, all)
}

// claimed takes the slots of ds, which c brought, and returns whether there may
// be more for the slots that are free now: those left over, and those that were
// freed while the claim was under way, when nobody was called for.
func (s *slots) claimed(c store.Claim, ds []store.Delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := make(map[string]int, len(c.Free))
	bytes := 0
	for i := range ds {
		got[ds[i].Destination]++
		bytes += len(ds[i].Record.Body)
		s.count(ds[i].Destination)
	}
	full := len(ds) >= c.Max || bytes >= c.Bytes/2
	again := false
	for d, asked := range c.Free {
		if sh := s.serves[d]; sh != nil {
			sh.more = full || got[d] >= asked
			again = again || sh.more && sh.inHand < sh.limit
		}
	}
	for d, n := range got {
		if _, asked := c.Free[d]; !asked && s.serves[d] != nil {
			s.serves[d].more = full || n >= c.Other
		}
	}
	s.more = s.more || full && c.Other > 0
	return (again || full) && s.inHand < s.limit
}

// reserve takes a slot for a delivery of an add, if leases may be born,
// destination is served here, has a slot free, and nothing older waits for it in
// the store.
func (s *slots) reserve(destination string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.giving {
		return false
	}
	sh := s.share(destination)
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
		s.more = s.more || !sh.named
		s.forget(destination, sh)
		return false
	}
	s.count(destination)
	return true
}

// count counts one more of destination. s.mu is held.
func (s *slots) count(destination string) {
	s.inHand++
	s.open++
	if sh := s.share(destination); sh != nil {
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
		call = sh.more || s.more
		s.forget(destination, sh)
	}
	s.mu.Unlock()
	if call {
		s.call()
	}
}

// call has the claim loop look at the store.
func (s *slots) call() {
	select {
	case s.kick <- struct{}{}:
	default:
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
	return s.other != nil || s.serves[destination] != nil
}
