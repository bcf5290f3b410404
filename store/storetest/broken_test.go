package storetest_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/surehook/webhook/store/storetest"
)

// sabotage is a store with one flaw, and the case that has to see it.
type sabotage struct {
	flaw     string
	caughtBy string
	do       func(s *broken)
}

// TestBroken runs the suite against stores that are right but for one flaw each.
// A suite that passes them proves nothing of those that it passes.
func TestBroken(t *testing.T) {
	all := slices.Concat(addFlaws, settleFlaws, claimFlaws, readFlaws, changeFlaws, lifeFlaws)
	for _, flaw := range all {
		t.Run(strings.ReplaceAll(flaw.flaw, " ", "_"), func(t *testing.T) {
			t.Parallel()
			failing := storetest.Failing(t, breaking(flaw.do), func(name string) bool {
				return slow(name) && name != flaw.caughtBy
			})
			said, caught := failing[flaw.caughtBy]
			if !caught {
				t.Fatalf("a store that %s passes %s; failing are %q", flaw.flaw, flaw.caughtBy, slices.Sorted(maps.Keys(failing)))
			}
			t.Logf("%s says: %s", flaw.caughtBy, said)
			// One flaw is to be told from another by what fails.
			if len(failing) > 40 {
				t.Errorf("%d cases fail of one flaw: %q", len(failing), slices.Sorted(maps.Keys(failing)))
			}
		})
	}
}

// TestUnbroken proves that it is the flaws which TestBroken sees: the wrapper
// without any passes, with all that is faked for the others.
func TestUnbroken(t *testing.T) {
	for name, said := range storetest.Failing(t, breaking(func(*broken) {}), func(string) bool { return false }) {
		t.Errorf("%s: %s", name, said)
	}
}

// slow cases run only for the flaw that they are to catch.
func slow(name string) bool {
	switch kind, _, _ := strings.Cut(name, "/"); kind {
	case "Bytes", "Race", "Wake", "Lock":
		return true
	}
	return slices.Contains([]string{
		"Claim/CostsWhatItFinds", "Claim/AtMostBytesButOne", "Order/OfManyAtOnce", "Purge/SmallBatches",
		"Close/WaitsForWrites", "Reopen/UnderLoad", "Transact/ManyAtOnce", "CompleteIn/OneEffectForEachEvent",
	}, name)
}
