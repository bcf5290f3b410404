package storetest

var releaseCases = []keysCase{
	{name: "Release/Frees", run: releaseFrees},
	{name: "Release/TheKeysNamedAlone", run: releaseNamed},
	{name: "Release/LeavesWhatIsKnown", run: releaseKnown},
	{name: "Release/LeavesWhatIsAnothers", run: releaseOther},
	{name: "Release/OfNothingIsNoError", run: releaseNothing},
}

// What is released is free at once, for everybody.
func releaseFrees(t *keysTester) {
	t.takes("one", "a", "b")
	t.release("one", "a", "b")
	t.takes("two", "a", "b")
}

// Of an owner's keys those that are named are released; the others stay reserved.
func releaseNamed(t *keysTester) {
	t.takes("one", "a", "b")
	t.release("one", "a")
	t.takes("two", "a")
	t.refused("two", "b")
}

// What is known stays known, to the owner who confirmed it too.
func releaseKnown(t *keysTester) {
	t.takes("one", "a")
	t.confirm("one", "a")
	t.release("one", "a")
	t.release("two", "a")
	t.knows("a")
}

// What another has stays another's, whoever had it before.
func releaseOther(t *keysTester) {
	t.takes("one", "a", "b")
	t.release("two", "a")
	t.refused("two", "a")
	t.advance(2 * lease)
	t.takes("two", "a")
	t.release("one", "a", "b")
	t.refused("three", "a")
	t.takes("three", "b")
}

// Keys that are free are no error, a second time included.
func releaseNothing(t *keysTester) {
	t.release("one", "a")
	t.takes("one", "a")
	t.release("one", "a", "b")
	t.release("one", "a", "b")
	t.takes("two", "a")
}
