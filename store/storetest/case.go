package storetest

import (
	"context"
	"runtime/debug"
	"slices"
	"testing"
	"time"
)

// testCase is one clause of the contract. It knows testing.TB alone, so that the
// suite's own tests can run it against broken stores and see it fail.
type testCase struct {
	name  string
	run   func(t *tester)
	needs func(b Backend) bool // nil: every backend is asked
}

// Only a store that hangs or stays behind meets these. The suite's own tests,
// where many do, lower them.
var (
	deadline = 60 * time.Second // of a case, far beyond what any of them needs
	patience = 10 * time.Second // for what the contract allows to lag
	within   = 5 * time.Second  // of a write beside somebody's lock, which is held for longer
)

// cases returns the whole suite, in the order in which a store is best written.
func cases() []testCase {
	return slices.Concat(
		commitCases,
		addCases,
		duplicateCases,
		settleCases,
		renewCases,
		claimCases,
		fairCases,
		clockCases,
		findCases,
		updateCases,
		eraseCases,
		holdCases,
		orderCases,
		redriveCases,
		statsCases,
		purgeCases,
		wakeCases,
		closeCases,
		bytesCases,
		raceCases,
		transactCases,
		completeCases,
		lockCases,
		durableCases,
		secondCases,
	)
}

// test runs the case on a store of its own.
func (c testCase) test(tb testing.TB, b Backend) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	tb.Cleanup(cancel)
	// A case may trip over what a store returns. The others go on.
	defer func() {
		if p := recover(); p != nil {
			tb.Fatalf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	c.run(&tester{TB: tb, b: b, st: b.Open(tb), ctx: ctx})
}
