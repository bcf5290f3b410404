package engine

import "time"

// share is what one destination has of the slots.
type share struct {
	named  bool // else it goes when nothing of it is in hand
	limit  int
	turns  *turns // beside those of all, where limit is less than theirs; else nil
	inHand int
	more   bool // the store may have something due that there was no slot for
	pace   pace
	held   time.Time // when the last hold was made that this process knows of
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

// crowded returns whether the last in hand waits for others of its destination: it
// takes no place from those of another. The slots' mu is held, as below.
func (sh *share) crowded() bool {
	return sh.turns != nil && sh.inHand > sh.limit
}

// room is how many more may be in hand.
func (sh *share) room() int {
	return sh.limit + sh.pace.ahead(sh.limit) - sh.inHand
}

// low returns whether it is time to ask for more: half of what may wait, or more,
// has had its turn.
func (sh *share) low() bool {
	return sh.room() > sh.pace.ahead(sh.limit)/2
}

// room is that of all destinations. s.mu is held.
func (s *slots) room() int {
	return s.limit + s.pace.ahead(s.limit) - (s.inHand - s.crowd)
}

// low is that of all destinations. s.mu is held.
func (s *slots) low() bool {
	return s.room() > s.pace.ahead(s.limit)/2
}

// pace is how long the attempts of late took, the later ones weighing more; 0: none
// has ended. What waits in hand is what will have its turn within
// aheadSpan, if the pace is kept.
type pace time.Duration

const aheadSpan = pace(50 * time.Millisecond)

// note notes what one attempt took.
func (p *pace) note(took time.Duration) {
	took = max(took, 1)
	if *p == 0 {
		*p = pace(took)
	}
	*p += (pace(took) - *p) / 8
}

// ahead returns how many may wait for limit that run, at most as many again.
func (p *pace) ahead(limit int) int {
	switch took := *p; {
	case took == 0:
		return 0
	case took <= aheadSpan:
		return limit
	default:
		return int(int64(limit) * int64(aheadSpan) / int64(took))
	}
}

// maxWait is how long a lease may have waited for its turn: a pace that was not
// kept. It is handed back then, and asked for anew, since the destination may have
// been held meanwhile.
const maxWait = time.Second
