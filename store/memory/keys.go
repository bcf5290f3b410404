package memory

import (
	"context"
	"time"

	"github.com/surehook/webhook/store"
)

// reservedKey is a key that is reserved, or known once it is confirmed.
type reservedKey struct {
	digest [32]byte
	owner  [16]byte
	known  bool
	until  time.Time // the end of the lease, or of the window
	index  int       // in keyring.ends, plus one
}

// keyring is what Deduplicate has in the store.
type keyring struct {
	of   map[[32]byte]*reservedKey
	ends heap[*reservedKey] // by when they end
}

func newKeyring() keyring {
	return keyring{
		of: map[[32]byte]*reservedKey{},
		ends: heap[*reservedKey]{
			less: func(a, b *reservedKey) bool { return a.until.Before(b.until) },
			at:   func(k *reservedKey) *int { return &k.index },
		},
	}
}

// Reserve takes keys for owner, all that are not known or none.
func (s *Store) Reserve(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) (known []bool, err error) {
	unlock, err := s.lockKeys(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	now := s.now()
	known = make([]bool, len(keys))
	for i, digest := range keys {
		k := s.keys.current(digest, now)
		if k != nil && !k.known && k.owner != owner {
			return nil, store.ErrReserved
		}
		known[i] = k != nil && k.known
	}
	for i, digest := range keys {
		if !known[i] {
			s.keys.put(digest, owner, false, now.Add(lease))
			s.keys.forget(now)
		}
	}
	return known, nil
}

// Confirm makes keys known, but for those that are another's.
func (s *Store) Confirm(ctx context.Context, owner [16]byte, keys [][32]byte, window time.Duration) error {
	unlock, err := s.lockKeys(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	now := s.now()
	for _, digest := range keys {
		if k := s.keys.current(digest, now); k != nil && k.owner != owner {
			err = store.ErrLeaseLost
			continue
		}
		s.keys.put(digest, owner, true, now.Add(window))
	}
	return err
}

// Release frees those of keys that owner has reserved.
func (s *Store) Release(ctx context.Context, owner [16]byte, keys [][32]byte) error {
	unlock, err := s.lockKeys(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, digest := range keys {
		if k := s.keys.of[digest]; k != nil && k.owner == owner && !k.known {
			s.keys.drop(k)
		}
	}
	return nil
}

// lockKeys takes the mutex for a method of Keys, if that can go on.
func (s *Store) lockKeys(ctx context.Context) (unlock func(), err error) {
	if err := store.InTransaction(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if err := s.open(ctx); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	return s.mu.Unlock, nil
}

// current returns the key of that digest, nil if it is free.
func (r *keyring) current(digest [32]byte, now time.Time) *reservedKey {
	if k := r.of[digest]; k != nil && k.until.After(now) {
		return k
	}
	return nil
}

// put makes the key of that digest owner's.
func (r *keyring) put(digest [32]byte, owner [16]byte, known bool, until time.Time) {
	k := r.of[digest]
	if k == nil {
		k = &reservedKey{digest: digest}
		r.of[digest] = k
	}
	k.owner, k.known, k.until = owner, known, until
	r.ends.put(k)
}

func (r *keyring) drop(k *reservedKey) {
	r.ends.drop(k)
	delete(r.of, k.digest)
}

// forget deletes two keys that have ended, for one that was taken: so what has
// ended becomes less.
func (r *keyring) forget(now time.Time) {
	for range 2 {
		k := r.ends.first()
		if k == nil || k.until.After(now) {
			return
		}
		r.drop(k)
	}
}
