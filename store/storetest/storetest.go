// Package storetest is the conformance suite of package store: whoever writes a
// store runs it, and a store that passes is one that the engine can trust.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Backend{
//			Open: func(t testing.TB) store.Store {
//				st, err := mystore.Open(filepath.Join(t.TempDir(), "events"))
//				if err != nil {
//					t.Fatal(err)
//				}
//				t.Cleanup(func() { st.Close() })
//				return st
//			},
//			Advance: func(st store.Store, d time.Duration) { st.(*mystore.Store).Advance(d) },
//		})
//	}
//
// There is a subtest for every clause that package store's doc comments state.
// Its name says which (Add/IdentityBeforeKeys, Settle/AfterAnotherClaimIsLeaseLost),
// and its doc comment in this package says it in a sentence. Run one of them
// with
//
//	go test -run TestStore/Add/IdentityBeforeKeys
//
// A good order of work is Commit, Add, Settle, Claim, Find, Update, Hold, Order,
// Stats, Purge, Wake, Close, and then Bytes and Race. Every subtest opens a
// store of its own.
//
// # The clock
//
// A store counts spans by a clock of its own: its process's, or its server's.
// The suite cannot wait for an hour, so it moves that clock with Advance:
// give the store an offset that is added wherever it asks for the time, and keep
// the method that sets it in a file that only tests see. The suite moves the
// clock backwards too, as a corrected wall clock does.
//
// # What a backend may have besides
//
// A store that survives its process sets Reopen; one with transactions sets
// Transact, and OneWriter if they exclude each other and one process at a time
// runs the engine; one that several processes may open sets Second. The subtests
// for what a backend does not have are not run. Info must agree with it.
//
// The suite needs the standard library alone. It waits for nothing without a
// deadline, and it takes seconds.
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/surehook/webhook/store"
)

// Backend is a store under test.
type Backend struct {
	// Open returns a new, empty store, and closes it with t.Cleanup. Required.
	Open func(t testing.TB) store.Store

	// Advance moves st's clock by d, also backwards, and is called beside
	// other methods. Required. Whether the offset survives Reopen does not
	// matter.
	Advance func(st store.Store, d time.Duration)

	// Reopen closes st, opens what it kept, and closes that with t.Cleanup.
	// Nil: the store does not survive its process, and Info().Durable is false.
	Reopen func(t testing.TB, st store.Store) store.Store

	// Transact runs f in a transaction of st, as its Transact method does.
	// Nil: it has none.
	Transact func(ctx context.Context, st store.Store, f func(ctx context.Context, w store.Tx) error) error

	// OneWriter says that the store has one writer and one engine: while a
	// transaction is open every other write waits for its end; a second
	// store's Claim is ErrBusy; and leases of an engine that is gone are void
	// at once. SQLite is so, a database server is not.
	OneWriter bool

	// Second opens a second store on the same data as st, as another process
	// would, and closes it with t.Cleanup. Nil: impossible.
	Second func(t testing.TB, st store.Store) store.Store
}

// Run runs the suite against b, each clause as a subtest of t.
func Run(t *testing.T, b Backend) {
	t.Helper()
	if b.Open == nil || b.Advance == nil {
		t.Fatal("storetest: Backend.Open and Backend.Advance are required")
	}
	for _, c := range cases() {
		if c.needs != nil && !c.needs(b) {
			continue
		}
		t.Run(c.name, func(t *testing.T) { c.test(t, b) })
	}
}
