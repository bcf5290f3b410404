package storetest

import "time"

var confirmCases = []keysCase{
	{name: "Confirm/KnownToAll", run: confirmKnown},
	{name: "Confirm/UntilTheWindowIsOver", run: confirmWindow},
	{name: "Confirm/WindowShorterThanTheLease", run: confirmShort},
	{name: "Confirm/TheKeysNamedAlone", run: confirmNamed},
	{name: "Confirm/AgainIsAsOnce", run: confirmAgain},
	{name: "Confirm/AfterItRanOut", run: confirmLate},
	{name: "Confirm/AfterATakeoverIsLeaseLost", run: confirmLost},
	{name: "Confirm/AfterAnotherConfirmedIsLeaseLost", run: confirmOther},
	{name: "Confirm/TheOthersAreKnownAllTheSame", run: confirmRest},
}

// What is confirmed is known to everybody, the owner itself included.
func confirmKnown(t *keysTester) {
	t.takes("one", "a", "b")
	t.confirm("one", "a", "b")
	t.knows("a", "b")
	sameItems(t, "known to the owner", t.reserve("one", "a", "b"), []bool{true, true})
}

// It is known until the window is over, however short the lease was.
func confirmWindow(t *keysTester) {
	t.takes("one", "a")
	t.advance(lease / 2)
	t.confirm("one", "a")
	t.advance(window - 10*time.Second)
	t.knows("a")
	t.advance(11 * time.Second)
	t.takes("two", "a")
}

// The window counts, also where the lease would have been longer.
func confirmShort(t *keysTester) {
	if _, err := t.k.Reserve(t.ctx, ownerOf("one"), keysOf("a"), 24*time.Hour); err != nil {
		t.Fatalf("Reserve: %v", err)
	}
	t.confirm("one", "a")
	t.advance(window + time.Minute)
	t.takes("two", "a")
}

// Of an owner's keys those that are named are confirmed; the others stay reserved.
func confirmNamed(t *keysTester) {
	t.takes("one", "a", "b")
	t.confirm("one", "a")
	t.knows("a")
	t.refused("two", "b")
	t.advance(2 * lease)
	t.takes("two", "b")
}

// A second Confirm by the same owner, as after an error, is no error, and its window
// counts.
func confirmAgain(t *keysTester) {
	t.takes("one", "a")
	t.confirm("one", "a")
	t.advance(window / 2)
	t.confirm("one", "a")
	t.advance(3 * window / 4)
	t.knows("a")
}

// A reservation that ran out, and that nobody took, did no harm: also when it was
// deleted in passing.
func confirmLate(t *keysTester) {
	t.takes("one", "a")
	t.takes("two", "b")
	t.advance(2 * lease)
	t.confirm("one", "a")
	t.knows("a")
	t.takes("three", "c", "d", "e") // deletes
	t.confirm("two", "b")
	t.knows("a", "b")
}

// What somebody else has reserved meanwhile stays his.
func confirmLost(t *keysTester) {
	t.takes("one", "a")
	t.advance(2 * lease)
	t.takes("two", "a")
	t.lost("one", "a")
	t.refused("three", "a")
	t.takes("two", "a")
	t.confirm("two", "a")
	t.knows("a")
}

// What somebody else made known stays known for as long as he said.
func confirmOther(t *keysTester) {
	t.takes("one", "a")
	t.advance(2 * lease)
	t.takes("two", "a")
	t.confirm("two", "a")
	t.advance(window / 2)
	t.lost("one", "a")
	t.advance(window/2 + time.Minute)
	t.takes("three", "a")
}

// Of several keys the lost ones do not keep the others from being known: the work
// was done.
func confirmRest(t *keysTester) {
	t.takes("one", "a", "b", "c")
	t.advance(2 * lease)
	t.takes("two", "b")
	t.lost("one", "a", "b", "c")
	t.knows("a", "c")
	t.refused("three", "b")
}
