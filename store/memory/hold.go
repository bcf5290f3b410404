package memory

import (
	"slices"
	"strings"
	"time"

	"github.com/surehook/webhook/store"
)

// kinds are those of a hold, in the order in which Stats lists them.
var kinds = [...]store.HoldKind{store.Paused, store.Disabled, store.Broken, store.Slowed}

func kindIndex(k store.HoldKind) (int, bool) {
	for i, kind := range kinds {
		if kind == k {
			return i, true
		}
	}
	return 0, false
}

// holds are those of a destination or an ordering key, one of each kind.
type holds [len(kinds)]struct {
	until  time.Time // zero: none; forever: until released
	reason string
}

// forever is later than any span from now.
var forever = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// until returns when the last of them ends.
func (h *holds) until() (last time.Time) {
	for i := range h {
		last = later(last, h[i].until)
	}
	return last
}

// apply adds or ends one, or ends all.
func (h *holds) apply(x *store.Hold, now time.Time) {
	i, ok := kindIndex(x.Kind)
	switch {
	case !ok: // a release without a kind
		*h = holds{}
	case x.Release:
		h[i].until, h[i].reason = time.Time{}, ""
	case x.For == 0:
		h[i].until, h[i].reason = forever, x.Reason
	default:
		h[i].until, h[i].reason = now.Add(x.For), x.Reason
	}
}

// end forgets those that have run out.
func (h *holds) end(now time.Time) {
	for i := range h {
		if !h[i].until.After(now) {
			h[i].until, h[i].reason = time.Time{}, ""
		}
	}
}

// any returns whether there is one, be it run out.
func (h *holds) any() bool { return !h.until().IsZero() }

// hold holds a destination or an ordering key, or releases it.
func (s *Store) hold(x *store.Hold, now time.Time) {
	q := s.queue(x.Queue)
	if x.Release && q.dests[x.Destination] == nil {
		return // nothing to release, and no reason to know it
	}
	d := q.destination(x.Destination)
	if x.OrderKey == "" {
		d.holds.apply(x, now)
		d.look(now)
		if x.Release && !d.held {
			q.signal()
		}
	} else {
		k := d.key(x.OrderKey)
		k.holds.apply(x, now)
		d.heldKeys = list(d.heldKeys, k, k.holds.any())
		k.arrange(now) // signals if the head is due
	}
	q.held = list(q.held, d, d.holds.any() || len(d.heldKeys) > 0)
}

// standing appends the holds of d and of its keys that stand at now, at most
// limit.
func (d *destination) standing(to []store.Hold, limit int, now time.Time) []store.Hold {
	to = d.holds.standing(to, now, d, "")
	for _, k := range d.heldKeys {
		if len(to) >= limit {
			break
		}
		to = k.holds.standing(to, now, d, k.name)
	}
	return to[:min(len(to), limit)]
}

func (h *holds) standing(to []store.Hold, now time.Time, d *destination, key string) []store.Hold {
	for i := range h {
		if !h[i].until.After(now) {
			continue
		}
		x := store.Hold{Queue: d.queue.name, Destination: d.name, OrderKey: key, Kind: kinds[i], Reason: h[i].reason}
		if h[i].until != forever {
			x.For = h[i].until.Sub(now)
		}
		to = append(to, x)
	}
	return to
}

// list returns of, which is in the order of names, with x or without it.
func list[T interface{ label() string }](of []T, x T, in bool) []T {
	i, found := slices.BinarySearchFunc(of, x.label(), func(y T, name string) int {
		return strings.Compare(y.label(), name)
	})
	switch {
	case in && !found:
		return slices.Insert(of, i, x)
	case !in && found:
		return slices.Delete(of, i, i+1)
	}
	return of
}

func (d *destination) label() string { return d.name }
func (k *orderKey) label() string    { return k.name }
