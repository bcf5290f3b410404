package store

import "time"

// Claim asks for work.
type Claim struct {
	Free  map[string]int // free slots by destination; one that is not named has Other
	Other int            // 0: only those named
	Max   int            // deliveries at most, over all; below 1: 256
	Bytes int            // bytes of bodies at most, though never fewer than one delivery; below 1: 8 MiB
	Lease time.Duration  // how long, from now

	// Nonce is this claim's own. Unanswered are those of claims whose outcome is
	// unknown: what they leased was never attempted, and is not a lost attempt when
	// this one takes it over.
	Nonce      [16]byte
	Unanswered [][16]byte
}

// Filter picks deliveries. All fields that are set must match; the zero Filter
// matches all. A list that is not nil is set: one that is empty, as a computed one
// may be, matches nothing.
type Filter struct {
	IDs         []string // of deliveries; nil: any
	Destination string
	Source      string
	Tenant      string
	Type        string
	Subject     string
	EventID     string
	States      []State   // nil: any
	Since       time.Time // received at or after
	Before      time.Time // received before
}

// Nothing reports whether f has a list that is empty and not nil, so that no
// delivery matches: a store's Find asks first.
func (f *Filter) Nothing() bool {
	return f.IDs != nil && len(f.IDs) == 0 || f.States != nil && len(f.States) == 0
}

// Change is what Update does to deliveries.
type Change struct {
	// From are the states that may be changed; empty: any but Processing,
	// which is never changed, since its worker has the right to it.
	From []State

	// To is the new state: Queued (due at once, the three counters cleared,
	// its reason too; one of an ordering key takes its old place), Dead or
	// Discarded. Empty: the state stays. A delivery whose event was erased is
	// not queued again.
	To State

	Reason string // with Dead and Discarded

	// Destination moves the delivery; one whose event already has a delivery
	// there is passed over. The record of the event's key then names both.
	Destination string

	// Erase empties the event's head and body, and the excerpts and errors of its
	// attempts; identity and keys stay known. Where another delivery of the
	// event is still to be done, nothing is erased and the id does not count.
	Erase bool
}

// Stats are the figures of a queue, or of one destination in it: approximate,
// and cheap to have.
type Stats struct {
	Destination  string // empty: the whole queue
	Queued       int    // blocked and held ones included
	Processing   int    // leases that have run out included
	Dead         int
	BlockedKeys  int       // ordering keys whose head is dead
	Oldest       time.Time // when the oldest that is queued was received; zero: none
	FailingSince time.Time // first failure after the last success; zero: it succeeds
	BlockedSince time.Time // when the first of the blocked keys became so
	Held         []Hold    // those that stand, ordering keys' included (at most 100)
}

// Retention is how long records stay once nothing is to be done with them. For
// a store, zero and negative both mean for ever, but for Keys, where they mean
// Add.Known alone: the Inbox fills in the defaults.
type Retention struct {
	Processed time.Duration // processed and discarded deliveries, with bodies and attempts, from when they ended
	Dead      time.Duration // dead letters, from when they died
	Keys      time.Duration // minimum that an event is known, from when it was received
}
