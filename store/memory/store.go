// Package memory is a store that ends with its process: for tests, and for
// senders that retry anyway. It keeps the whole contract of package store but
// transactions, starts no goroutine and no timer, and works in a bubble of
// testing/synctest.
//
// Everything stands in maps and heaps under one mutex. A heap answers each
// question that the contract wants to be cheap:
//
//   - A lane is the deliveries of one (destination, tenant) pair that may be
//     claimed, by the time from which they may. The lanes of a destination, and
//     the destinations of a queue, are each in two heaps: those known to be due,
//     by when they were last served, and those that wait, by time. A Claim walks
//     the first and never sees what is held, blocked or not asked for.
//   - An ordering key is a heap of its deliveries by their age: its first is
//     the key's head, and alone in its lane.
//   - What has ended lies in a heap by when, for Purge; what is queued, by when
//     it was received, for Stats.
//   - The keys of Deduplicate are in a heap by when they end.
package memory

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"

	"github.com/surehook/webhook/store"
)

// Store keeps queues of deliveries in memory: a store.Store, and a store.Keys. All
// methods may be called concurrently.
type Store struct {
	prefix [10]byte // of the ids of deliveries: random, so that they are unique in all stores

	mu         sync.Mutex
	skew       time.Duration // of the store's clock against the machine's
	closed     bool
	seq        uint64               // of the last delivery
	queues     map[string]*queue    // by name
	deliveries map[string]*delivery // by id
	known      map[[32]byte]*event  // by identity, and by replay key
	keys       keyring              // of Reserve, Confirm and Release
}

// New returns an empty store.
func New() *Store {
	s := &Store{
		queues:     map[string]*queue{},
		deliveries: map[string]*delivery{},
		known:      map[[32]byte]*event{},
		keys:       newKeyring(),
	}
	_, _ = rand.Read(s.prefix[:]) // never fails: it ends the program instead
	return s
}

// Advance moves the store's clock by d, which may be negative: for tests that
// cannot wait.
func (s *Store) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew += d
	for _, q := range s.queues {
		q.signal()
	}
}

// Wake returns the channel of the queue. It is never nil.
func (s *Store) Wake(queue string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue(queue).wake
}

// Info says that nothing survives.
func (s *Store) Info() store.Info {
	return store.Info{Name: "memory", Promise: "nothing: it ends with the process"}
}

// Close makes all methods return ErrClosed. What was in memory goes with the
// Store itself.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// open returns why a method cannot go on. s.mu is held.
func (s *Store) open(ctx context.Context) error {
	if s.closed {
		return store.ErrClosed
	}
	return ctx.Err()
}

// now reads the store's clock. s.mu is held.
func (s *Store) now() time.Time {
	return time.Now().UTC().Round(0).Add(s.skew)
}

// queue returns the queue of that name, which exists from then on.
func (s *Store) queue(name string) *queue {
	q := s.queues[name]
	if q == nil {
		q = newQueue(name)
		s.queues[name] = q
	}
	return q
}

// id makes the id of the seq-th delivery: as long as a UUID.
func (s *Store) id(seq uint64) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[8:], seq) // the first two bytes of 2⁶⁴ are not missed
	copy(b[:], s.prefix[:])
	var text [32]byte
	hex.Encode(text[:], b[:])
	return string(text[:])
}
