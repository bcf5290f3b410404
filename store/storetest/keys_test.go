package storetest_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
	"github.com/surehook/webhook/store/storetest"
)

// brokenKeys is a store.Keys of which a flaw replaces methods. Several may be on the
// same memory.Store, as processes on a database.
type brokenKeys struct {
	kept   *memory.Store
	number int           // of the process
	skew   time.Duration // of the clock; for flaws that keep something themselves

	reserve func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error)
	confirm func(ctx context.Context, owner [16]byte, keys [][32]byte, window time.Duration) error
	release func(ctx context.Context, owner [16]byte, keys [][32]byte) error

	mu         sync.Mutex // one call at a time, since flaws keep things
	concurrent bool       // but for this one
	count      int        // of keys that were ever reserved
	confirmed  map[[32]byte][16]byte
}

func (k *brokenKeys) lock() (unlock func()) {
	if k.concurrent {
		return func() {}
	}
	k.mu.Lock()
	return k.mu.Unlock
}

func (k *brokenKeys) Reserve(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
	defer k.lock()()
	return k.reserve(ctx, owner, keys, lease)
}

func (k *brokenKeys) Confirm(ctx context.Context, owner [16]byte, keys [][32]byte, window time.Duration) error {
	defer k.lock()()
	err := k.confirm(ctx, owner, keys, window)
	if err == nil {
		for _, key := range keys {
			k.confirmed[key] = owner
		}
	}
	return err
}

// confirmer returns who confirmed key last.
func (k *brokenKeys) confirmer(key [32]byte) [16]byte { return k.confirmed[key] }

func (k *brokenKeys) Release(ctx context.Context, owner [16]byte, keys [][32]byte) error {
	defer k.lock()()
	return k.release(ctx, owner, keys)
}

func (k *brokenKeys) now() time.Time { return time.Now().Add(k.skew) }

// keysWith is a backend of stores with a flaw, and with all that a backend may have.
func keysWith(flaw func(k *brokenKeys)) storetest.KeysBackend {
	on := func(kept *memory.Store, number int) *brokenKeys {
		k := &brokenKeys{
			kept: kept, number: number, confirmed: map[[32]byte][16]byte{},
			reserve: kept.Reserve, confirm: kept.Confirm, release: kept.Release,
		}
		flaw(k)
		return k
	}
	as := func(k store.Keys) *brokenKeys { b, _ := k.(*brokenKeys); return b }
	more := func(_ testing.TB, k store.Keys) store.Keys { return on(as(k).kept, as(k).number+1) }
	return storetest.KeysBackend{
		Open: func(testing.TB) store.Keys { return on(memory.New(), 1) },
		Advance: func(k store.Keys, d time.Duration) {
			as(k).kept.Advance(d)
			as(k).skew += d
		},
		Size:   func(_ testing.TB, k store.Keys) int { return as(k).count },
		Reopen: more,
		Second: more,
		Transact: func(ctx context.Context, _ store.Keys, f func(ctx context.Context) error) error {
			return f(store.InTx(ctx))
		},
	}
}

// keysSabotage is a store.Keys with one flaw, and the case that has to see it.
type keysSabotage struct {
	flaw     string
	caughtBy string
	do       func(k *brokenKeys)
}

// TestBrokenKeys runs the clauses of store.Keys against stores that are right but
// for one flaw each.
func TestBrokenKeys(t *testing.T) {
	for _, flaw := range keysFlaws {
		t.Run(strings.ReplaceAll(flaw.flaw, " ", "_"), func(t *testing.T) {
			t.Parallel()
			failing := storetest.FailingKeys(t, keysWith(flaw.do), func(name string) bool {
				return name != flaw.caughtBy && (name == "Keys/OneOfManyGetsIt" || name == "Keys/NeverTwoAtOnce")
			})
			said, caught := failing[flaw.caughtBy]
			if !caught {
				t.Fatalf("a store that %s passes %s; failing are %q", flaw.flaw, flaw.caughtBy, slices.Sorted(maps.Keys(failing)))
			}
			t.Logf("%s says: %s", flaw.caughtBy, said)
			for name, said := range failing {
				if len(said) > 4000 { // nobody reads thousands of keys
					t.Errorf("%s says %d bytes: %.200s…", name, len(said), said)
				}
			}
		})
	}
}

// Each clause has a flaw that it alone is to see.
func TestBrokenKeys_AllClauses(t *testing.T) {
	seen := map[string]bool{}
	for _, flaw := range keysFlaws {
		seen[flaw.caughtBy] = true
	}
	for _, name := range storetest.KeysClauses() {
		if !seen[name] {
			t.Errorf("no flaw proves that %s sees anything", name)
		}
	}
}

// TestUnbrokenKeys proves that it is the flaws which TestBrokenKeys sees.
func TestUnbrokenKeys(t *testing.T) {
	b := keysWith(func(*brokenKeys) {})
	b.Size = nil // the wrapper cannot tell
	for name, said := range storetest.FailingKeys(t, b, func(string) bool { return false }) {
		t.Errorf("%s: %s", name, said)
	}
}

// each does f for every key alone, and returns what it said last.
func each(keys [][32]byte, f func(one [][32]byte) error) (err error) {
	for i := range keys {
		if e := f(keys[i : i+1]); e != nil {
			err = e
		}
	}
	return err
}

// rename changes the keys before the store has them.
func (k *brokenKeys) rename(f func(key [32]byte) [32]byte) {
	renamed := func(keys [][32]byte) [][32]byte {
		list := make([][32]byte, len(keys))
		for i := range keys {
			list[i] = f(keys[i])
		}
		return list
	}
	k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
		return k.kept.Reserve(ctx, owner, renamed(keys), lease)
	}
	k.confirm = func(ctx context.Context, owner [16]byte, keys [][32]byte, window time.Duration) error {
		return k.kept.Confirm(ctx, owner, renamed(keys), window)
	}
	k.release = func(ctx context.Context, owner [16]byte, keys [][32]byte) error {
		return k.kept.Release(ctx, owner, renamed(keys))
	}
}

// private gives the keys of a process to it alone.
func private(k *brokenKeys) {
	k.rename(func(key [32]byte) [32]byte {
		key[0] ^= byte(k.number)
		return key
	})
}

// errFull is what a driver says of a statement with too many parameters.
var errFull = errors.New("too many SQL variables")
