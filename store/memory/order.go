package memory

import (
	"time"

	"github.com/surehook/webhook/store"
)

// orderKey is one ordering key of a destination. Only the first of its chain,
// the head, is ever in a lane. It is there as long as its chain or a hold.
type orderKey struct {
	dest         *destination
	name         string
	holds        holds
	chain        heap[*delivery] // by seq: what is to be done, and what is dead and blocks
	head         *delivery       // the first of chain, when last arranged
	blockedSince time.Time       // zero: head is not dead

	inBlocked [2]int // of the queue's and the destination's figures
}

// key returns the ordering key of that name.
func (d *destination) key(name string) *orderKey {
	k := d.keys[name]
	if k == nil {
		k = &orderKey{
			dest: d,
			name: name,
			chain: heap[*delivery]{
				less: func(a, b *delivery) bool { return a.seq < b.seq },
				at:   func(d *delivery) *int { return &d.inKey },
			},
		}
		d.keys[name] = k
	}
	return k
}

// arrange sees to it that the head, and nothing else, can be claimed, after the
// chain or a hold changed.
func (k *orderKey) arrange(now time.Time) {
	was := k.head
	if was == nil || was.key != k || was.State != store.Processing {
		k.head = k.chain.first() // one that is leased stays
	}
	if was != nil && was != k.head && was.key == k {
		was.place(now)
	}
	if k.head != nil {
		k.head.place(now)
	}

	blocked := k.head != nil && !k.head.undone()
	switch {
	case blocked && k.blockedSince.IsZero():
		k.blockedSince = now
		k.dest.figures.blocked.put(k)
		k.dest.queue.figures.blocked.put(k)
	case !blocked && !k.blockedSince.IsZero():
		k.dest.figures.blocked.drop(k)
		k.dest.queue.figures.blocked.drop(k)
		k.blockedSince = time.Time{}
	}
	k.release()
}

// release forgets a key that nothing depends on: there may be as many keys as
// events.
func (k *orderKey) release() {
	if k.head == nil && !k.holds.any() {
		delete(k.dest.keys, k.name)
	}
}
