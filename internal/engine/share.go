package engine

import (
	"time"

	"github.com/surehook/webhook/store"
)

// share is what one destination has of the slots.
type share struct {
	named  bool // by the configuration: else it goes when nothing of it is in hand, see idle
	limit  int
	turns  *turns // beside those of all, where limit is less than theirs; else nil
	inHand int
	more   bool // the store may have something due that there was no slot for
	pace   pace

	holding int       // attempts whose hold of the destination is being stored
	held    time.Time // what was leased before is not attempted
	last    struct {  // of the holds
		kind         store.HoldKind
		until, noted time.Time
	}
}

func (s *slots) newShare(limit int) *share {
	sh := &share{limit: min(limit, s.limit)}
	if sh.limit < s.limit {
		sh.turns = &turns{limit: sh.limit}
	}
	return sh
}

// share returns that of destination, nil if it is not served here. s.mu is held.
func (s *slots) share(destination string) *share {
	sh := s.serves[destination]
	if sh == nil && s.other != nil && s.serves != nil {
		sh = s.newShare(s.other(destination))
		sh.held = s.lately[destination]
		s.serves[destination] = sh
	}
	return sh
}

// idle sees to the share of a destination that may have nothing in hand. It goes
// then, unless its name is to be in each claim, which would ask too much of it else.
// s.mu is held.
func (s *slots) idle(destination string, sh *share) {
	if !sh.named && sh.inHand == 0 && s.other(destination) >= s.other("") {
		delete(s.serves, destination)
	}
}

// resize gives the share of a destination that is not named the limit which it has
// by now: that of an endpoint is its host's to change. s.mu is held, and s.crowd is
// the caller's.
func (s *slots) resize(destination string, sh *share) {
	if sh.named {
		return
	}
	limit := min(s.other(destination), s.limit)
	if limit == sh.limit {
		return
	}
	sh.limit = limit
	if sh.turns == nil {
		sh.turns = &turns{} // those that run without one are not stopped
	}
	for _, next := range sh.turns.resize(limit) {
		s.hasOwn(next)
	}
}

// crowd is how many in hand wait for others of the destination: they take no place
// from those of another. The slots' mu is held, as below.
func (sh *share) crowd() int {
	if sh.turns == nil {
		return 0
	}
	return max(0, sh.inHand-sh.limit)
}

// roomOf is how many more of sh may be in hand.
func (s *slots) roomOf(sh *share) int {
	if sh.holding > 0 {
		return 0
	}
	return sh.limit + s.ahead(sh.pace, sh.limit) - sh.inHand
}

// lowOf returns whether it is time to ask for more: half of what may wait, or more,
// has had its turn.
func (s *slots) lowOf(sh *share) bool {
	return s.roomOf(sh) > s.ahead(sh.pace, sh.limit)/2
}

// room is that of all destinations. s.mu is held.
func (s *slots) room() int {
	return s.limit + s.ahead(s.pace, s.limit) - (s.inHand - s.crowd)
}

// low is that of all destinations. s.mu is held.
func (s *slots) low() bool {
	return s.room() > s.ahead(s.pace, s.limit)/2
}

// maxBytes is how much the bodies of what is in hand may take before nothing waits
// beside what runs.
const maxBytes = 64 << 20

// ahead returns how many may wait for limit that run at a pace.
func (s *slots) ahead(p pace, limit int) int {
	if s.bytes.Load() > maxBytes {
		return 0
	}
	return p.ahead(limit)
}

// pace is how long the attempts of late took, the later ones weighing more; 0: none
// has ended. What waits in hand is what will have its turn within aheadSpan, if the
// pace is kept.
type pace time.Duration

const (
	aheadSpan  = pace(50 * time.Millisecond)
	aheadTimes = 3 // the more a claim brings, the less each of them costs
)

// note notes what one attempt took.
func (p *pace) note(took time.Duration) {
	took = max(took, 1)
	if *p == 0 {
		*p = pace(took)
	}
	*p += (pace(took) - *p) / 8
}

// ahead returns how many may wait for limit that run: as many as will have their
// turn within aheadSpan, but not more than aheadTimes as many. Where one runs at a
// time none waits: what is given up would lose its place in the order.
func (p *pace) ahead(limit int) int {
	took := int64(*p)
	if took == 0 || limit == 1 {
		return 0
	}
	return int(min(int64(limit)*int64(aheadSpan)/took, int64(limit)*aheadTimes))
}

// maxWait is how long a lease waits in hand for its turn, if the pace is not kept. It
// is handed back then: another process may take it, and what is held meanwhile is not
// attempted.
const maxWait = time.Second
