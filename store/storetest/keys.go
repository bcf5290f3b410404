package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/surehook/webhook/store"
)

// KeysBackend is a store.Keys under test. Open and Advance are required; the
// subtests for what else a backend does not have are not run.
type KeysBackend struct {
	// Open returns a new, empty store, and closes it with t.Cleanup.
	Open func(t testing.TB) store.Keys

	// Advance moves k's clock by d, also backwards, and is called beside other
	// methods. Whether the offset survives Reopen does not matter.
	Advance func(k store.Keys, d time.Duration)

	// Size returns how many keys k has room for at the moment, those that have
	// ended included. Nil: it cannot be counted.
	Size func(t testing.TB, k store.Keys) int

	// Reopen closes k, opens what it kept, and closes that with t.Cleanup. Nil:
	// it does not survive its process.
	Reopen func(t testing.TB, k store.Keys) store.Keys

	// Second opens a second store on the same data as k, as another process
	// would, and closes it with t.Cleanup. Nil: impossible.
	Second func(t testing.TB, k store.Keys) store.Keys

	// Transact calls f with the ctx of an open transaction that the methods of k
	// would wait for. Nil: there are none.
	Transact func(ctx context.Context, k store.Keys, f func(ctx context.Context) error) error
}

// RunKeys runs the clauses of store.Keys against b, each as a subtest of t. It is
// all that one who writes a store for webhook.Deduplicate alone needs; a Store that
// has Keys besides runs both this and [Run].
func RunKeys(t *testing.T, b KeysBackend) {
	t.Helper()
	if b.Open == nil || b.Advance == nil {
		t.Fatal("storetest: KeysBackend.Open and KeysBackend.Advance are required")
	}
	for _, c := range keysCases() {
		if c.needs != nil && !c.needs(b) {
			continue
		}
		t.Run(c.name, func(t *testing.T) { c.test(t, b) })
	}
}

// keysCase is one clause of store.Keys: see testCase.
type keysCase struct {
	name  string
	run   func(t *keysTester)
	needs func(b KeysBackend) bool // nil: every backend is asked
}

func keysCases() []keysCase {
	return slices.Concat(reserveCases, confirmCases, releaseCases, keyringCases)
}

func (c keysCase) test(tb testing.TB, b KeysBackend) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	tb.Cleanup(cancel)
	defer func() {
		if p := recover(); p != nil {
			tb.Fatalf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	c.run(&keysTester{tester: &tester{TB: tb, ctx: ctx}, b: b, k: b.Open(tb)})
}

// keysTester is what a case has in hand. Owners and keys are made of words.
type keysTester struct {
	*tester // for its context
	b       KeysBackend
	k       store.Keys
}

// window is how long a confirmed key is known where a case does not say otherwise.
const window = time.Hour

// ownerOf and keyOf make what a case names by a word.
func ownerOf(word string) (o [16]byte) {
	d := digest("owner", word)
	copy(o[:], d[:])
	return o
}

func keysOf(words ...string) [][32]byte {
	list := make([][32]byte, len(words))
	for i, w := range words {
		list[i] = digest("key", w)
	}
	return list
}

// reserve reserves words for owner, and returns which of them are known.
func (t *keysTester) reserve(owner string, words ...string) []bool {
	t.Helper()
	known, err := t.k.Reserve(t.ctx, ownerOf(owner), keysOf(words...), lease)
	if err != nil {
		t.Fatalf("Reserve %s by %s: %v", few(words), owner, err)
	}
	if len(known) != len(words) {
		t.Fatalf("Reserve of %d keys says of %d whether they are known", len(words), len(known))
	}
	return known
}

// few names words, as many as can be read.
func few(words []string) string {
	if len(words) > 8 {
		return fmt.Sprintf("%q… of %d", words[:4], len(words))
	}
	return fmt.Sprintf("%q", words)
}

// takes fails unless owner can reserve words, none of which is known.
func (t *keysTester) takes(owner string, words ...string) {
	t.Helper()
	known := t.reserve(owner, words...)
	for i, word := range words {
		if known[i] {
			t.Fatalf("Reserve %s by %s: %s is known, want it free", few(words), owner, word)
		}
	}
}

// refused fails unless words are told to be another's.
func (t *keysTester) refused(owner string, words ...string) {
	t.Helper()
	known, err := t.k.Reserve(t.ctx, ownerOf(owner), keysOf(words...), lease)
	if !errors.Is(err, store.ErrReserved) {
		t.Fatalf("Reserve %s by %s: %s and %v, want ErrReserved", few(words), owner, excerpt(known, 0), err)
	}
}

// knows fails unless each of words is known, to somebody who never had them.
func (t *keysTester) knows(words ...string) {
	t.Helper()
	known := t.reserve("a stranger", words...)
	for i, word := range words {
		if !known[i] {
			t.Fatalf("%s is not known", word)
		}
	}
}

func (t *keysTester) confirm(owner string, words ...string) {
	t.Helper()
	if err := t.k.Confirm(t.ctx, ownerOf(owner), keysOf(words...), window); err != nil {
		t.Fatalf("Confirm %q by %s: %v", words, owner, err)
	}
}

// lost fails unless Confirm says that somebody else has one of words.
func (t *keysTester) lost(owner string, words ...string) { //nolint:unparam // as its siblings
	t.Helper()
	if err := t.k.Confirm(t.ctx, ownerOf(owner), keysOf(words...), window); !errors.Is(err, store.ErrLeaseLost) {
		t.Fatalf("Confirm %q by %s: %v, want ErrLeaseLost", words, owner, err)
	}
}

func (t *keysTester) release(owner string, words ...string) {
	t.Helper()
	if err := t.k.Release(t.ctx, ownerOf(owner), keysOf(words...)); err != nil {
		t.Fatalf("Release %q by %s: %v", words, owner, err)
	}
}

// advance moves the store's clock.
func (t *keysTester) advance(d time.Duration) {
	t.Helper()
	t.b.Advance(t.k, d)
}
