package sqlite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/surehook/webhook/store"
)

const (
	deleteKnown = `DELETE FROM webhook_known WHERE key = ? AND event = ?`

	selectEventFacts = `
SELECT nonce, keys, digest, received, known, named, tenant, head IS NULL, 0 FROM webhook_event WHERE id = ?`
	selectPastFacts = `
SELECT nonce, keys, digest, received, known, named, NULL, 0, 1 FROM webhook_past WHERE id = ?`

	knowEventLonger = `UPDATE webhook_event SET known = ? WHERE id = ?`
	knowPastLonger  = `UPDATE webhook_past SET known = ? WHERE id = ?`
	nameEvent       = `UPDATE webhook_event SET named = ? WHERE id = ?`
	refillEvent     = `UPDATE webhook_event SET head = ?, body = ? WHERE id = ?`
	deletePast      = `DELETE FROM webhook_past WHERE id = ?`

	selectReported = `SELECT state, token, born, until FROM webhook_delivery WHERE id = ?`
)

// facts are what an event is known by, purged or not.
type facts struct {
	id              int64
	nonce           []byte
	keys            []byte
	digest          []byte
	received, known int64
	names           names
	tenant          string
	erased, past    bool
	named           bool // names has some that are not written: the row has the body in it, and is written once
}

// know records that a's identity and keys belong to event, or returns the event
// that the first of them belongs to already, and records nothing. Nobody comes
// between looking and writing: the transaction has the write lock.
func (w *work) know(a *store.Add, event int64) (known int64) {
	if known = w.known(a); known != 0 {
		return known
	}
	w.own(&a.Identity, event)
	for i := range a.Keys {
		w.own(&a.Keys[i], event)
	}
	return 0
}

// known returns the event that a's identity or the first of its keys belongs to; 0:
// none.
func (w *work) known(a *store.Add) int64 {
	if event := w.owner[a.Identity]; event != 0 {
		return event
	}
	for _, k := range a.Keys {
		if event := w.owner[k]; event != 0 {
			return event
		}
	}
	return 0
}

// refuse returns ErrChanged for the first add of b that wants no changed event and
// is one: of an event that is known, or that an add before it in b will make known.
// Nothing of b is written yet.
func (w *work) refuse(b *store.Batch) error {
	if !slices.ContainsFunc(b.Adds, func(a store.Add) bool { return a.RefuseChanged }) {
		return nil
	}
	first := map[key]*store.Add{} // of b, by their keys
	for i := range b.Adds {
		a := &b.Adds[i]
		nonce, digest, known := a.Nonce[:], a.Digest[:], false
		if event := w.known(a); event != 0 {
			f, err := w.facts(event)
			if err != nil {
				return err
			}
			nonce, digest, known = f.nonce, f.digest, true
		} else if f := firstOf(first, a); f != nil {
			nonce, digest, known = f.Nonce[:], f.Digest[:], true
		}
		if a.RefuseChanged && !bytes.Equal(nonce, a.Nonce[:]) && !bytes.Equal(digest, a.Digest[:]) {
			return fmt.Errorf("add %d: %w", i, store.ErrChanged)
		}
		if !known {
			first[a.Identity] = a
			for _, k := range a.Keys {
				first[k] = a
			}
		}
	}
	return nil
}

// firstOf returns the add that has a's identity or the first of its keys that is
// taken, nil if none is.
func firstOf(taken map[key]*store.Add, a *store.Add) *store.Add {
	if f := taken[a.Identity]; f != nil {
		return f
	}
	for _, k := range a.Keys {
		if f := taken[k]; f != nil {
			return f
		}
	}
	return nil
}

// keysOf joins a's identity and keys.
func keysOf(a *store.Add) []byte {
	keys := make([]byte, 0, 32*(1+len(a.Keys)))
	keys = append(keys, a.Identity[:]...)
	for i := range a.Keys {
		keys = append(keys, a.Keys[i][:]...)
	}
	return keys
}

// again answers an add whose event is known.
func (w *work) again(a *store.Add, event int64, out *store.Added) error {
	f, err := w.facts(event)
	if err != nil {
		return err
	}
	out.Result = store.Done
	out.Deliveries = make([]store.Delivery, len(a.To))
	same := bytes.Equal(f.nonce, a.Nonce[:])
	if !same {
		out.Duplicate = true
		out.Changed = !bytes.Equal(f.digest, a.Digest[:])
	}
	for i := range a.To {
		d, err := w.destination(a.Queue, a.To[i].Destination, true)
		if err != nil {
			return err
		}
		id, found := f.names.find(d.id)
		switch {
		case found:
			out.Deliveries[i], err = w.report(id, same)
		case !same:
			out.Missing++
			out.Deliveries[i], err = w.addMissing(f, a, &a.To[i])
		}
		if err != nil {
			return err
		}
		if out.Deliveries[i].ID != "" {
			out.Deliveries[i].Received = instant(f.received)
		}
	}
	if f.named {
		if _, err := w.db.exec(nameEvent, f.names.text(), f.id); err != nil {
			return err
		}
	}
	if until := after(w.now, a.Known); !same && until > f.known {
		query := knowEventLonger
		if f.past {
			query = knowPastLonger
		}
		_, err = w.db.exec(query, until, event)
	}
	return err
}

// facts reads what is known of an event that something refers to.
func (w *work) facts(event int64) (*facts, error) {
	f, err := w.factsIf(event)
	if err == nil && f == nil {
		err = missing("event", event)
	}
	return f, err
}

// factsIf is facts where there may be nothing: nil.
func (w *work) factsIf(event int64) (*facts, error) {
	f := &facts{id: event}
	var text string
	into := []any{&f.nonce, &f.keys, &f.digest, &f.received, &f.known, &text, &f.tenant, &f.erased, &f.past}
	found, err := one(w.db, selectEventFacts, []any{event}, into...)
	if err == nil && !found {
		found, err = one(w.db, selectPastFacts, []any{event}, into...)
	}
	if err != nil || !found {
		return nil, err
	}
	f.names, err = parseNames(text)
	return f, err
}

// report tells the state of a delivery; and the lease that its add gave it, to
// that add alone and as long as it has it. It is empty if the delivery was purged.
func (w *work) report(id int64, same bool) (store.Delivery, error) {
	var state string
	var token, until int64
	var born bool
	found, err := one(w.db, selectReported, []any{id}, &state, &token, &born, &until)
	if err != nil || !found {
		return store.Delivery{}, err
	}
	d := store.Delivery{ID: w.s.deliveryID(id), State: store.State(state)}
	if same && born && token == 1 && state == processing {
		d.Token, d.Until = 1, instant(until)
	}
	return d, nil
}

// addMissing adds a delivery to an event that is known, which never had one for
// t's destination. What was purged or erased does not come back: what a brings
// takes its place.
func (w *work) addMissing(f *facts, a *store.Add, t *store.Target) (store.Delivery, error) {
	seq, err := w.next()
	if err != nil {
		return store.Delivery{}, err
	}
	id := seq.delivery
	seq.delivery++
	tenant := f.tenant
	if f.past {
		tenant = a.Record.Tenant
	}
	to, err := w.place(a.Queue, t.Destination, tenant)
	if err != nil {
		return store.Delivery{}, err
	}
	f.names = append(f.names, named{to.destination.id, id})
	switch {
	case f.past:
		err = w.revive(f, a)
	case f.erased:
		if _, err = w.db.exec(refillEvent, blob(a.Record.Head), blob(a.Record.Body), f.id); err != nil {
			break
		}
		f.erased = false
		fallthrough
	default:
		f.named = true
	}
	if err != nil {
		return store.Delivery{}, err
	}
	return w.deliver(id, f.id, to, t, false)
}

// revive makes an event of what is left of it and the record at hand.
func (w *work) revive(f *facts, a *store.Add) error {
	b := *a
	copy(b.Nonce[:], f.nonce)
	copy(b.Digest[:], f.digest)
	copy(b.Identity[:], f.keys)
	b.Keys = nil
	for i := 32; i < len(f.keys); i += 32 {
		b.Keys = append(b.Keys, [32]byte(f.keys[i:]))
	}
	if err := w.insertEvent(f.id, &b, f.received, f.known, f.names); err != nil {
		return err
	}
	f.past, f.tenant = false, a.Record.Tenant
	_, err := w.db.exec(deletePast, f.id)
	return err
}

// names are the destinations that an event ever had, with the delivery that went
// there, in the order in which they were named. One that was moved stands under
// both. It is JSON, so that SQL can look into it: [[destination, delivery], …].
type names []named

type named struct{ destination, delivery int64 }

func (n names) find(destination int64) (delivery int64, found bool) {
	for _, e := range n {
		if e.destination == destination {
			return e.delivery, true
		}
	}
	return 0, false
}

func (n names) text() string {
	b := make([]byte, 0, 2+16*len(n))
	b = append(b, '[')
	for i, e := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		b = strconv.AppendInt(b, e.destination, 10)
		b = append(b, ',')
		b = strconv.AppendInt(b, e.delivery, 10)
		b = append(b, ']')
	}
	return string(append(b, ']'))
}

func parseNames(text string) (names, error) {
	var pairs [][2]int64
	if err := json.Unmarshal([]byte(text), &pairs); err != nil {
		return nil, err
	}
	n := make(names, len(pairs))
	for i, p := range pairs {
		n[i] = named{p[0], p[1]}
	}
	return n, nil
}
