package store

import (
	"fmt"
	"strings"
	"time"
)

// Batch is one write: all of it or nothing.
type Batch struct {
	Adds    []Add
	Settles []Settle
	Renews  []Renew
	Holds   []Hold
}

// Len returns the number of items.
func (b *Batch) Len() int {
	return len(b.Adds) + len(b.Settles) + len(b.Renews) + len(b.Holds)
}

// Results has one entry for each item of a Batch, in its order.
type Results struct {
	Adds    []Added
	Settles []Result
	Renews  []Result
	Holds   []Result
}

// Result is what became of an item. The zero Result is a store that forgot it.
type Result uint8

// What can become of an item.
const (
	Done           Result = iota + 1
	LeaseLost             // Settle, Renew: another claim was made since, or the delivery is gone
	AlreadySettled        // Settle: under this very token, by CompleteIn or by the same batch committed before
	Locked                // Settle, Renew: somebody's open transaction has the row. A renewal counts as held, a settle is tried again
)

// Add stores an event with a delivery for each target.
//
// Its event is known if a record of Identity or of one of Keys exists, whether
// or not its window has passed. What happens then:
//
//   - The record carries this very Nonce: it is the same add, tried again. It
//     is reported as added, with the leases that it was given and still has.
//   - Otherwise it is a duplicate. Targets that the record does not name yet are
//     added, with the body and head that were stored first (with those at hand
//     if the first are purged), and never leased. Identity and Keys of the
//     duplicate are not recorded: a captured request that is replayed under
//     a new id must not make that id known.
//   - With RefuseChanged, a duplicate whose Digest is another is ErrChanged
//     instead, and nothing of the batch is written.
//
// Identity is looked up before Keys, and Keys in their order; the first that is
// known decides. Two adds of one batch see each other.
type Add struct {
	Nonce    [16]byte // random, made once, before the first try
	Queue    string
	Identity [32]byte      // digest of queue, tenant, source and id
	Keys     [][32]byte    // digests of replay keys; they share a space with identities
	Known    time.Duration // minimum that identity and keys are known, from now; a duplicate's lengthens it; see Purge
	Digest   [32]byte      // of the body as it came
	Record   *Record
	To       []Target // no destination twice; none: the event is stored and known, and that is all

	RefuseChanged bool // a duplicate with another Digest is not taken: ErrChanged
}

// Target is a destination of an Add.
type Target struct {
	Destination string
	OrderKey    string        // deliveries of one destination and key are claimed in the order of their commits
	After       time.Duration // due then
	Lease       time.Duration // set: born leased for so long with token 1, unless held, not due at once, or not the head of its key
}

// Added says what became of an Add.
type Added struct {
	Result Result // Done

	// Deliveries are those of the targets, in the order of To, with ID, State,
	// Received, Token and Until. Token and Until are set only where this add
	// was given a lease, and still has it. ID is empty where a delivery was
	// purged.
	Deliveries []Delivery

	Duplicate bool // Identity or a key was known, by another nonce
	Missing   int  // of a duplicate: how many targets were not yet named, and were added
	Changed   bool // of a duplicate: the first had another Digest
}

// Settle ends a lease. It is valid while Token is the delivery's last, however
// long ago the lease ran out: Done. Under another token it is LeaseLost. Under
// the last token of a delivery that is no longer Processing it is
// AlreadySettled. Whatever the result, the other items of the batch are written.
type Settle struct {
	Delivery string
	Token    uint64
	To       State         // Processed, Dead, Discarded, or Queued again
	Reason   string        // why it is dead or discarded
	After    time.Duration // if Queued: due then
	Spend    bool          // one of the budget
	Defer    bool          // counts a deferral
	Unblock  bool          // if Dead: the next of its ordering key may go; otherwise the key waits for a person

	// Attempt is the record of the try; nil: handed back. It is kept under the
	// Settle's Token. Outcome "processed" clears the destination's FailingSince,
	// "failed" starts it where it is zero.
	Attempt *Attempt
}

// Renew prolongs a lease: it then ends For from now. Done while Token is the
// delivery's last and it is Processing, however long ago the lease ran out.
type Renew struct {
	Delivery string
	Token    uint64
	For      time.Duration
}

// Hold keeps a destination, or one ordering key of it, from being claimed. One
// of each kind may stand, a second of the kind replaces the first; the
// destination is free when none stands. A destination that is not known yet
// becomes known by it. A lease that is held already runs on.
type Hold struct {
	Queue       string
	Destination string
	OrderKey    string // set: only this key's deliveries
	Kind        HoldKind
	For         time.Duration // from now; zero: until released. In Stats: what is left
	Reason      string        // for people
	Release     bool          // ends the hold of its Kind; with Kind "" all four. What was due is due at once
}

// String tells of a hold that stands what a person wants to know: its kind, of which
// ordering key, for how long yet, and why.
func (h Hold) String() string {
	s := string(h.Kind)
	if h.Release {
		s = strings.TrimSpace("released " + s)
	}
	if h.OrderKey != "" {
		s += fmt.Sprintf(", key %q", h.OrderKey)
	}
	if h.For > 0 {
		s += ", for " + h.For.Round(time.Second).String()
	}
	if h.Reason != "" {
		s += fmt.Sprintf(": %q", h.Reason)
	}
	return s
}

// HoldKind says who holds.
type HoldKind string

// The kinds of a hold.
const (
	Paused   HoldKind = "paused"   // a person
	Disabled HoldKind = "disabled" // the endpoint is gone, or failed for too long
	Broken   HoldKind = "breaker"  // too many failures
	Slowed   HoldKind = "slowed"   // the endpoint asked for it
)
