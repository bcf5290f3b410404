package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/store"
)

// maxOrderKey bounds an ordering key, in bytes: each delivery that has one stores it,
// and two indexes. What it is made of is foreign text; an id of somebody's takes
// dozens.
const maxOrderKey = 256

// targets returns where e goes, in the order of names, with its ordering key there.
func (i *Inbox) targets(e Event, names []string) ([]store.Target, error) {
	to := make([]store.Target, len(names))
	for k, name := range names {
		to[k].Destination = name
		r := i.registered(name)
		if r == nil || r.do.OrderBy == nil {
			continue
		}
		var err error
		if to[k].OrderKey, err = r.orderKey(name, e); err != nil {
			return nil, err
		}
	}
	return to, nil
}

// registered returns what Handle was given for name, nil if nothing.
func (i *Inbox) registered(name string) *registered {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.handlers[name]
}

// orderKey returns e's ordering key for r, which has an OrderBy. One that is too long
// is its digest: nothing that a sender writes can make an authentic event be
// refused, and equal keys stay equal.
func (r *registered) orderKey(name string, e Event) (string, error) {
	key, err := guarded(fmt.Sprintf("OrderBy of %q", observe.Clean(name)), func() string { return r.do.OrderBy(e) })
	if err == nil && len(key) > maxOrderKey {
		sum := sha256.Sum256([]byte(key))
		key = "sha256:" + hex.EncodeToString(sum[:])
	}
	return key, err
}

// checkOrder warns, once a handler, of a delivery that was stored without the
// ordering key which it ought to have: no order holds for it.
func (i *Inbox) checkOrder(r *registered, d *store.Delivery, e Event) {
	if r.do.OrderBy == nil || d.OrderKey != "" || r.unordered.Load() {
		return
	}
	key, err := r.orderKey(d.Destination, e)
	if err != nil || key == "" || r.unordered.Swap(true) {
		return
	}
	i.obs.Logger().Warn("webhook delivery was stored without its ordering key: whoever stored it did not know the handler's OrderBy",
		observe.KeyQueue, d.Queue, observe.KeyDestination, observe.Clean(d.Destination), observe.KeyDelivery, d.ID)
}

// guarded calls f, a function of the program's own that is shown an event, and makes
// an error of a panic: nothing is stored, and the log tells the type and the place.
func guarded[T any](what string, f func() T) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{what: what, typ: typeOf(p), at: panickedAt()}
		}
	}()
	return f(), nil
}
