package storetest

import (
	"fmt"
	"slices"
	"time"
)

var reserveCases = []keysCase{
	{name: "Reserve/OneOwnerAtATime", run: reserveOne},
	{name: "Reserve/AllOrNone", run: reserveAllOrNone},
	{name: "Reserve/SaysWhatIsKnown", run: reserveKnown},
	{name: "Reserve/KnownStaysAsItIs", run: reserveLeavesKnown},
	{name: "Reserve/RunsOut", run: reserveRunsOut},
	{name: "Reserve/AgainProlongs", run: reserveAgain},
	{name: "Reserve/AgainAfterItRanOut", run: reserveAgainLate},
	{name: "Reserve/AgainAfterATakeoverIsRefused", run: reserveAgainLost},
	{name: "Reserve/FurtherKeys", run: reserveFurther},
	{name: "Reserve/NamedTwice", run: reserveTwice},
	{name: "Reserve/None", run: reserveNone},
	{name: "Reserve/Thousands", run: reserveThousands},
	{name: "Reserve/DeletesWhatHasEnded", run: reserveDeletes, needs: func(b KeysBackend) bool { return b.Size != nil }},
}

// What one owner has is nobody else's meanwhile, and neither is it known.
func reserveOne(t *keysTester) {
	t.takes("one", "a")
	t.refused("two", "a")
	t.refused("two", "a")
	t.takes("two", "b")
	t.refused("one", "b")
}

// If one of several keys is another's, none of them is taken.
func reserveAllOrNone(t *keysTester) {
	t.takes("one", "b")
	t.refused("two", "a", "b", "c")
	t.takes("three", "a")
	t.takes("three", "c")
	t.confirm("four", "d")
	t.refused("two", "d", "e", "b")
	t.takes("three", "e")
}

// The answer has an entry for each key, in the order of the call, and what is not
// known is taken.
func reserveKnown(t *keysTester) {
	t.takes("one", "b", "d")
	t.confirm("one", "b", "d")
	sameItems(t, "known", t.reserve("two", "d", "c", "b", "a"), []bool{true, false, true, false})
	t.refused("three", "a")
	t.refused("three", "c")
	sameItems(t, "known to the owner itself", t.reserve("one", "b", "d"), []bool{true, true})
	sameItems(t, "known, by the owner of the rest", t.reserve("two", "a", "b", "c", "d"), []bool{false, true, false, true})
}

// A known key is not taken by who asks for it: it stays known, and ends when it
// would have.
func reserveLeavesKnown(t *keysTester) {
	t.confirm("one", "a")
	sameItems(t, "known", t.reserve("two", "a", "b"), []bool{true, false})
	t.release("two", "a", "b")
	t.knows("a")
	t.advance(window - time.Minute)
	t.knows("a")
	t.advance(2 * time.Minute)
	t.takes("two", "a")
}

// A reservation ends with its lease, and not before.
func reserveRunsOut(t *keysTester) {
	t.takes("one", "a", "b")
	t.advance(lease - 10*time.Second)
	t.refused("two", "a")
	t.advance(11 * time.Second)
	t.takes("two", "a", "b")
	t.refused("three", "a")
}

// The owner's own keys are prolonged, from now.
func reserveAgain(t *keysTester) {
	t.takes("one", "a", "b")
	t.advance(lease / 2)
	t.takes("one", "a", "b")
	t.advance(3 * lease / 4)
	t.refused("two", "a")
	t.refused("two", "b")
	t.advance(lease / 2)
	t.takes("two", "a", "b")
}

// So are those that ran out, as long as nobody else has them.
func reserveAgainLate(t *keysTester) {
	t.takes("one", "a")
	t.advance(3 * lease)
	t.takes("one", "a")
	t.refused("two", "a")
}

// Who was overtaken is told so, and gets nothing.
func reserveAgainLost(t *keysTester) {
	t.takes("one", "a", "b")
	t.advance(2 * lease)
	t.takes("two", "b")
	t.refused("one", "a", "b")
	t.takes("three", "a")
	t.confirm("two", "b")
	sameItems(t, "known", t.reserve("one", "b"), []bool{true})
}

// An owner may take more beside what it has, which is not touched.
func reserveFurther(t *keysTester) {
	t.takes("one", "a")
	t.advance(lease / 2)
	t.takes("one", "b")
	t.refused("two", "a")
	t.advance(3 * lease / 4)
	t.takes("two", "a")
	t.refused("two", "b")
}

// A key that is named twice counts once.
func reserveTwice(t *keysTester) {
	sameItems(t, "known", t.reserve("one", "a", "b", "a"), []bool{false, false, false})
	t.refused("two", "a")
	t.confirm("one", "a", "a")
	sameItems(t, "known", t.reserve("two", "a", "c", "a"), []bool{true, false, true})
	t.release("two", "c", "c")
	t.takes("three", "c")
}

// No keys are no error.
func reserveNone(t *keysTester) {
	t.takes("one")
	t.confirm("one")
	t.release("one")
}

// A request may bring thousands of keys, and they are one unit all the same. The
// caller's slice is left as it was.
func reserveThousands(t *keysTester) {
	words := make([]string, 5000)
	for i := range words {
		words[i] = fmt.Sprint(i)
	}
	last := words[len(words)-1:]
	t.takes("one", last...)
	t.refused("two", words...)
	for i := 0; i < len(words)-1; i += 499 {
		t.takes("three", words[i])
	}
	t.advance(2 * lease)
	given := keysOf(words...)
	kept := slices.Clone(given)
	if _, err := t.k.Reserve(t.ctx, ownerOf("two"), given, lease); err != nil {
		t.Fatalf("Reserve of %d keys: %v", len(given), err)
	}
	if err := t.k.Confirm(t.ctx, ownerOf("two"), given, window); err != nil {
		t.Fatalf("Confirm of %d keys: %v", len(given), err)
	}
	sameItems(t, "the caller's keys", given, kept)
	t.knows(words...)
}

// What has ended is deleted in passing, so that nothing grows for ever; what has
// not is left alone.
func reserveDeletes(t *keysTester) {
	t.confirm("known", "known")
	const round = 20
	most := 0
	for i := range 10 {
		words := make([]string, round)
		for j := range words {
			words[j] = fmt.Sprint(i, " ", j)
		}
		t.takes("one", words...)
		if i%2 == 0 {
			if err := t.k.Confirm(t.ctx, ownerOf("one"), keysOf(words...), time.Minute); err != nil {
				t.Fatalf("Confirm: %v", err)
			}
		}
		most = max(most, t.b.Size(t, t.k))
		t.advance(2 * lease)
	}
	if limit := 2*round + 1; most > limit {
		t.Fatalf("of 10 times %d keys, each of which had ended when the next came, %d were kept at once, want at most %d", round, most, limit)
	}
	t.knows("known")
}
