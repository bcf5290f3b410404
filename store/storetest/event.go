package storetest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/surehook/webhook/store"
)

// queue is the one that the cases work in.
const queue = "inbox"

// digest is that of length-prefixed parts, as package webhook makes identities.
func digest(parts ...string) (sum [32]byte) {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	h.Sum(sum[:0])
	return sum
}

func nonce() (n [16]byte) {
	rand.Read(n[:]) // never fails
	return n
}

// event is the first arrival of an event for destinations.
func event(id string, destinations ...string) store.Add {
	return eventOf(&store.Record{
		Tenant: "acme",
		Source: "shop",
		ID:     id,
		Type:   "order.paid",
		Head:   []byte(`{"head":"` + id + `"}`),
		Body:   []byte("body of " + id),
	}, destinations...)
}

func eventOf(r *store.Record, destinations ...string) store.Add {
	a := store.Add{
		Nonce:    nonce(),
		Queue:    queue,
		Identity: digest(queue, r.Tenant, r.Source, r.ID),
		Known:    24 * time.Hour,
		Digest:   sha256.Sum256(r.Body),
		Record:   r,
	}
	for _, d := range destinations {
		a.To = append(a.To, store.Target{Destination: d})
	}
	return a
}

// again is a later arrival of the same event, for the same destinations unless
// others are named.
func again(a store.Add, destinations ...string) store.Add {
	d := eventOf(a.Record, destinations...)
	d.Queue, d.Identity, d.Keys, d.Known = a.Queue, a.Identity, a.Keys, a.Known
	if len(destinations) == 0 {
		d.To = a.To
	}
	return d
}

// ordered is an event for the ordering key of a destination.
func ordered(id, destination, key string) store.Add {
	a := event(id, destination)
	a.To[0].OrderKey = key
	return a
}
