package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook/store"
)

// slots counts what this process has in hand: deliveries that are reserved for
// an add under way, wait for their turn, or run. At most limit run at once; some
// more may be reserved or waiting, so that commits overlap with attempts: as many
// as the pace of late lets expect to have their turn very soon. Of what is slow, and
// beside what is large, nothing waits here, where no other process could take it.
//
// What is in hand decides what is asked for; the turns, and they alone, decide
// what runs: while a claim is under way an add may take the slot that the claim
// asked for, so that more are in hand than may run.
type slots struct {
	limit int
	kick  chan struct{} // signals the claim loop: a slot is free that there may be work for
	bytes atomic.Int64  // of the bodies of all leases, until they are settled

	mu     sync.Mutex
	serves map[string]*share // destinations of this process; of the others, those in hand, and those with less than the usual limit
	other  func(destination string) int
	more   bool // the store may have something due of the others that there was no slot for
	giving bool // the first claim has succeeded, and no drain has begun: leases may be born
	inHand int
	crowd  int // of those, how many wait for others of a destination with a turn of its own
	pace   pace
	turns  turns
	large  int                  // bytes of the largest body that came by
	lately map[string]time.Time // holds since the last claim began, by destination
	ended  chan struct{}        // closed when nothing is in hand or unsettled; nil: nobody waits
	open   int                  // attempts that are not settled yet
}

// maxLimit is more than any process runs at once, and far from what an int holds.
const maxLimit = 1 << 20

func newSlots(limit int) *slots {
	limit = min(limit, maxLimit)
	return &slots{limit: limit, turns: turns{limit: limit}, kick: make(chan struct{}, 1), lately: map[string]time.Time{}}
}

// serve sets the destinations of this process, with their limits, and the limit of
// others; nil: others are not served. Where they are, those with less than the usual
// limit are in limits as far as they are known, and are others all the same.
func (s *slots) serve(limits map[string]int, other func(destination string) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.other = other
	s.serves = make(map[string]*share, len(limits))
	for d, n := range limits {
		s.serves[d] = s.newShare(n)
		s.serves[d].named = other == nil
	}
}

// give lets leases be born from now on, or not any more: when it returns, what
// was reserved is counted as open, and nothing else will be.
func (s *slots) give(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giving = yes
}

// free returns how many more may be in hand: of each destination, of each other
// one, and all together.
func (s *slots) free() (named map[string]int, other, all int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all = max(0, s.room())
	clear(s.lately)
	s.more = s.other != nil && all == 0 // nobody looks
	named = make(map[string]int, len(s.serves))
	n := 0
	for d, sh := range s.serves {
		f := min(all, max(0, s.roomOf(sh)))
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
		n := len(ds[i].Record.Body)
		bytes += n
		s.large = max(s.large, n)
		s.count(ds[i].Destination)
	}
	// What comes next may be as large as anything that came by: it had no room then.
	full := len(ds) >= c.Max || len(ds) > 0 && bytes+max(s.large, c.Bytes/2) > c.Bytes
	again := false
	for d, asked := range c.Free {
		if sh := s.serves[d]; sh != nil {
			sh.more = full || got[d] >= asked
			again = again || sh.more && s.lowOf(sh)
		}
	}
	for d, n := range got {
		if _, asked := c.Free[d]; !asked && s.serves[d] != nil {
			s.serves[d].more = full || n >= c.Other
		}
	}
	s.more = s.more || full && c.Other > 0 || again && !s.low()
	return (again || full) && s.low()
}

// weigh notes that a body of n bytes is about to be stored.
func (s *slots) weigh(n int) {
	if n <= maxClaimBytes/2 {
		return // claimed reckons with that much
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.large = max(s.large, n)
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
	if s.room() < 1 || s.roomOf(sh) < 1 {
		sh.more = true // it will be in the store
		s.more = s.more || !sh.named
		s.idle(destination, sh)
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
		s.crowd -= sh.crowd()
		sh.inHand++
		s.crowd += sh.crowd()
	}
}

// done gives back the slot of one that has ended, though it may not be settled
// yet, and calls for the next when few are left that wait in hand. It ran for
// took, 0: not at all.
func (s *slots) done(destination string, took time.Duration) {
	s.mu.Lock()
	s.inHand--
	call := false
	if sh := s.serves[destination]; sh != nil {
		s.crowd -= sh.crowd()
		sh.inHand--
		s.resize(destination, sh)
		s.crowd += sh.crowd()
		if took > 0 {
			s.pace.note(took)
			sh.pace.note(took)
		}
		if (sh.more || s.more) && s.lowOf(sh) {
			call = s.low()
			s.more = s.more || !call // whoever ends next calls
		}
		s.idle(destination, sh)
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

// busy returns whether enough is in hand of each destination that has something, and
// of each that is named: what comes into the store can wait until a little more has
// come.
func (s *slots) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inHand == 0 || !s.low() {
		return s.inHand > 0
	}
	for _, sh := range s.serves {
		if (sh.named || sh.inHand > 0) && s.lowOf(sh) {
			return false
		}
	}
	return true
}

// hold keeps what is in hand of destination from being attempted, and more from
// being claimed: h is about to be stored, for an attempt whose lease began then. Each
// true is followed by one call of stored. False: an attempt that ran beside this one
// brought a hold that lasts longer, and h is not to replace it.
func (s *slots) hold(destination string, from time.Time, h *store.Hold) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.serves[destination]
	if sh == nil {
		return true
	}
	now := time.Now()
	until := now.Add(h.For)
	if h.For > 0 && h.Kind == sh.last.kind && until.Before(sh.last.until) && from.Before(sh.last.noted) {
		return false
	}
	sh.last.kind, sh.last.until, sh.last.noted = h.Kind, until, now
	sh.holding++
	return true
}

// stored ends that: leases which begin from now on know of the hold.
func (s *slots) stored(destination string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh := s.serves[destination]; sh != nil {
		sh.holding--
		sh.held = time.Now()
		s.lately[destination] = sh.held // a claim may be under way when the share goes
	}
}

// held returns whether a lease of destination that began then does not know of a
// hold.
func (s *slots) held(destination string, from time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.serves[destination]
	return sh != nil && (sh.holding > 0 || from.Before(sh.held))
}

// slower forgets the pace that destination had: somebody waited in hand for too long.
func (s *slots) slower(destination string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pace = 0
	if sh := s.serves[destination]; sh != nil {
		sh.pace = 0
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
	s.done(destination, 0)
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
