package memory

import (
	"bytes"
	"slices"
	"time"

	"github.com/surehook/webhook/store"
)

// event is what is known of an event: its record while one of its deliveries
// is there, its names and keys for longer.
type event struct {
	queue    *queue
	nonce    [16]byte
	identity [32]byte
	keys     [][32]byte
	digest   [32]byte
	received time.Time
	known    time.Time // it is not forgotten before: the longest Add.Known
	forget   time.Time // the same with Retention.Keys; the order of queue.forget

	record *store.Record // nil: purged with the last delivery
	plain  *store.Record // record without head and body, made when first asked for
	erased bool
	names  names
	live   int // deliveries that are there

	inForget int
}

// light returns the record without head and body.
func (e *event) light() *store.Record {
	if e.plain == nil {
		r := *e.record
		r.Head, r.Body = nil, nil
		e.plain = &r
	}
	return e.plain
}

// kept returns r as it is to be kept: the same, unless its time is finer or of
// another zone than the contract says.
func kept(r *store.Record) *store.Record {
	t := r.Time.UTC().Truncate(time.Microsecond)
	if t == r.Time { //nolint:staticcheck // Equal does not see the zone
		return r
	}
	c := *r
	c.Time = t
	return &c
}

// delivery is a store.Delivery and its places.
type delivery struct {
	store.Delivery // without Record and FailingSince: the event and the destination have them

	seq       uint64 // order of commits
	event     *event
	dest      *destination
	lane      *lane
	key       *orderKey // in whose chain it is; nil: no order, or finished
	leased    time.Time // when the last lease was given
	nonce     [16]byte  // of the claim that gave it
	claimable time.Time // from when it may be claimed, while in its lane
	born      bool      // token 1 was given by its add
	unblocked bool      // dead, and its key goes on
	gone      bool      // purged, and not yet swept out of queue.all

	inLane, inKey, inEnded int
	inQueued               [2]int // of the queue's and the destination's figures
}

// undone returns whether d is still to be done, by itself.
func (d *delivery) undone() bool {
	return d.State == store.Queued || d.State == store.Processing
}

// become gives d another state and arranges what follows from it.
func (d *delivery) become(state store.State, now time.Time) {
	d.uncount()
	d.set(state, now)
	d.count()
	d.arrange(now)
}

// set changes the state of d, which is not counted now.
func (d *delivery) set(state store.State, now time.Time) {
	d.State = state
	if state != store.Processing {
		d.Until = time.Time{}
	}
	if state != store.Dead {
		d.unblocked = false
	}
	if !d.undone() {
		d.Due = now // says from then on when it ended
	}
}

// attach makes d one of its destination's.
func (d *delivery) attach(dest *destination, now time.Time) {
	d.dest, d.Destination = dest, dest.name
	d.lane = dest.lane(d.event.record.Tenant)
	d.count()
	d.arrange(now)
}

// detach undoes attach.
func (d *delivery) detach(now time.Time) {
	d.uncount()
	d.lane.work.drop(d)
	d.lane.arrange()
	if k := d.key; k != nil {
		d.key = nil
		k.chain.drop(d)
		k.arrange(now)
	}
	d.dest, d.lane = nil, nil
}

func (d *delivery) count() {
	d.dest.figures.enter(d)
	d.dest.queue.figures.enter(d)
	switch d.State {
	case store.Processed, store.Discarded:
		d.dest.queue.finished.put(d)
	case store.Dead:
		d.dest.queue.dead.put(d)
	default: // to be done: not for Purge
	}
}

func (d *delivery) uncount() {
	d.dest.figures.leave(d)
	d.dest.queue.figures.leave(d)
	switch d.State {
	case store.Processed, store.Discarded:
		d.dest.queue.finished.drop(d)
	case store.Dead:
		d.dest.queue.dead.drop(d)
	default:
	}
}

// arrange puts d where it can be claimed, or takes it away, after its state,
// its times or its key changed.
func (d *delivery) arrange(now time.Time) {
	k := d.key
	ordered := d.OrderKey != "" && (d.undone() || d.State == store.Dead && !d.unblocked)
	switch {
	case ordered && k == nil:
		k = d.dest.key(d.OrderKey)
		d.key = k
		k.chain.put(d)
	case !ordered && k != nil:
		d.key = nil
		k.chain.drop(d)
	}
	if k != nil {
		k.arrange(now)
	}
	d.place(now)
}

// place puts d into its lane, or takes it out.
func (d *delivery) place(now time.Time) {
	if d.undone() && (d.key == nil || d.key.head == d) {
		d.claimable = d.Due
		if d.State == store.Processing {
			d.claimable = d.Until
		}
		if d.key != nil {
			d.claimable = later(d.claimable, d.key.holds.until())
		}
		d.lane.work.put(d)
		if d.State == store.Queued && !d.claimable.After(now) {
			d.dest.queue.signal()
		}
	} else {
		d.lane.work.drop(d)
	}
	d.lane.arrange()
}

// out returns d as the caller gets it, who may do with it what he likes.
func (d *delivery) out(full bool) store.Delivery {
	o := d.Delivery
	o.Attempts = nil
	if !full {
		o.Record = d.event.light()
		return o
	}
	o.Record = d.event.record
	if len(d.Attempts) > 0 {
		o.Attempts = slices.Clone(d.Attempts)
		for i := range o.Attempts {
			o.Attempts[i].Response = bytes.Clone(o.Attempts[i].Response)
		}
	}
	return o
}

// names are the destinations that an event ever had, in order, with the
// delivery that went there: nil if it is purged. One that was moved stands
// under both names.
type names struct {
	list  []named
	index map[string]int // into list; nil while that is short
}

type named struct {
	name string
	d    *delivery
}

// few is how many names are found faster by looking at each.
const few = 16

// find returns the entry of name, nil if there is none.
func (n *names) find(name string) *named {
	if n.index != nil {
		if i, ok := n.index[name]; ok {
			return &n.list[i]
		}
		return nil
	}
	for i := range n.list {
		if n.list[i].name == name {
			return &n.list[i]
		}
	}
	return nil
}

// set makes d the delivery of name.
func (n *names) set(name string, d *delivery) {
	if e := n.find(name); e != nil {
		e.d = d
		return
	}
	n.list = append(n.list, named{name, d})
	switch {
	case n.index != nil:
		n.index[name] = len(n.list) - 1
	case len(n.list) > few:
		n.index = make(map[string]int, len(n.list))
		for i, e := range n.list {
			n.index[e.name] = i
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
