package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/surehook/webhook/store"
)

// This file is store.Keys. Its calls share commits among themselves as those of
// Commit do, in a group of their own: neither waits for the other's data.

const (
	// All of these are served by the primary key: one row each.
	selectKey = `SELECT owner, known FROM webhook_key WHERE key = ? AND until > ?`
	putKey    = `
INSERT INTO webhook_key (key, owner, known, until) VALUES (?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, known = excluded.known, until = excluded.until`
	releaseKey = `DELETE FROM webhook_key WHERE key = ? AND owner = ? AND known = 0`

	// By webhook_key_until.
	deleteEndedKeys = `
DELETE FROM webhook_key WHERE key IN (SELECT key FROM webhook_key WHERE until <= ? ORDER BY until LIMIT ?)`
)

// keysGroup joins calls of one file.
type keysGroup = store.Group[*keysCall, keysAnswer]

func newKeysGroup(write func(ctx context.Context, calls []*keysCall) ([]keysAnswer, error)) *keysGroup {
	return store.NewGroup(write, store.GroupConfig[*keysCall]{Items: func(c *keysCall) int { return len(c.keys) }})
}

// keysCall is one call of Reserve, Confirm or Release.
type keysCall struct {
	do    func(*keysWork, *keysCall) (keysAnswer, error)
	owner [16]byte
	keys  [][32]byte
	span  time.Duration
}

// keysAnswer is what its caller is told. err is about the keys; the call was done.
type keysAnswer struct {
	known []bool
	err   error
}

// Reserve takes keys for owner in one transaction with what others reserve, confirm
// and release meanwhile.
func (s *Store) Reserve(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) (known []bool, err error) {
	a, err := s.doKeys(ctx, "reserve keys", &keysCall{do: (*keysWork).reserve, owner: owner, keys: keys, span: lease})
	return a.known, err
}

// Confirm makes keys known; they are durable when it returns.
func (s *Store) Confirm(ctx context.Context, owner [16]byte, keys [][32]byte, window time.Duration) error {
	_, err := s.doKeys(ctx, "confirm keys", &keysCall{do: (*keysWork).confirm, owner: owner, keys: keys, span: window})
	return err
}

// Release frees those of keys that owner has reserved.
func (s *Store) Release(ctx context.Context, owner [16]byte, keys [][32]byte) error {
	_, err := s.doKeys(ctx, "release keys", &keysCall{do: (*keysWork).release, owner: owner, keys: keys})
	return err
}

func (s *Store) doKeys(ctx context.Context, what string, c *keysCall) (keysAnswer, error) {
	if err := store.InTransaction(ctx); err != nil {
		return keysAnswer{}, err
	}
	if err := s.usable(ctx); err != nil {
		return keysAnswer{}, err
	}
	a, err := s.keys.Do(ctx, c)
	if err != nil {
		return keysAnswer{}, s.failed(what, err)
	}
	return a, a.err
}

// keysWork is what one transaction does for several calls.
type keysWork struct {
	db    session
	now   int64
	taken int // keys, by Reserve
}

// writeKeys is the group's: all of calls, one after the other, or nothing.
func (s *Store) writeKeys(ctx context.Context, calls []*keysCall) (answers []keysAnswer, err error) {
	err = s.writer.do(ctx, func(db session) error {
		w := &keysWork{db: db, now: s.now()}
		answers = make([]keysAnswer, len(calls))
		for i, c := range calls {
			var err error
			if answers[i], err = c.do(w, c); err != nil {
				return err
			}
		}
		return w.forget()
	})
	return answers, err
}

// reserve looks at all keys before it takes one.
func (w *keysWork) reserve(c *keysCall) (keysAnswer, error) {
	known := make([]bool, len(c.keys))
	for i := range c.keys {
		k, err := w.current(&c.keys[i])
		switch {
		case err != nil:
			return keysAnswer{}, err
		case k.known:
			known[i] = true
		case k.of(c.owner) || !k.there:
		default:
			return keysAnswer{err: store.ErrReserved}, nil
		}
	}
	for i := range c.keys {
		if known[i] {
			continue
		}
		if err := w.put(&c.keys[i], c, 0); err != nil {
			return keysAnswer{}, err
		}
		w.taken++
	}
	return keysAnswer{known: known}, nil
}

func (w *keysWork) confirm(c *keysCall) (a keysAnswer, err error) {
	for i := range c.keys {
		k, err := w.current(&c.keys[i])
		if err != nil {
			return keysAnswer{}, err
		}
		if k.there && !k.of(c.owner) {
			a.err = store.ErrLeaseLost
			continue
		}
		if err := w.put(&c.keys[i], c, 1); err != nil {
			return keysAnswer{}, err
		}
	}
	return a, nil
}

func (w *keysWork) release(c *keysCall) (keysAnswer, error) {
	for i := range c.keys {
		if _, err := w.db.exec(releaseKey, c.keys[i][:], c.owner[:]); err != nil {
			return keysAnswer{}, err
		}
	}
	return keysAnswer{}, nil
}

// keyRow is a key that has not ended.
type keyRow struct {
	there bool
	owner []byte
	known bool
}

func (k *keyRow) of(owner [16]byte) bool { return k.there && string(k.owner) == string(owner[:]) }

func (w *keysWork) current(key *[32]byte) (k keyRow, err error) {
	k.there, err = one(w.db, selectKey, []any{key[:], w.now}, &k.owner, &k.known)
	return k, err
}

func (w *keysWork) put(key *[32]byte, c *keysCall, known int64) error {
	_, err := w.db.exec(putKey, key[:], c.owner[:], known, after(w.now, c.span))
	return err
}

// forget deletes two keys that have ended for each that was taken: so what has ended
// becomes less. A commit that takes nothing, as of duplicates alone, writes nothing.
func (w *keysWork) forget() error {
	if w.taken == 0 {
		return nil
	}
	if _, err := w.db.exec(deleteEndedKeys, w.now, int64(2*w.taken)); err != nil {
		return fmt.Errorf("delete keys that have ended: %w", err)
	}
	return nil
}
