package storetest

import (
	"fmt"
	"time"

	"github.com/surehook/webhook/store"
)

var fairCases = []testCase{
	{name: "Claim/DestinationsInTurn", run: fairDestinations},
	{name: "Claim/TenantsInTurn", run: fairTenants},
	{name: "Claim/NewcomerIsServedBeforeTheCrowd", run: fairNewcomer},
	{name: "Claim/TurnsPassOverTheHeld", run: fairHeld},
}

// crowd adds n events of tenant for destination.
func (t *tester) crowd(tenant, destination string, n int) {
	t.Helper()
	var adds []store.Add
	for i := range n {
		adds = append(adds, eventOf(&store.Record{Tenant: tenant, ID: fmt.Sprintf("%s of %s %d", destination, tenant, i)}, destination))
	}
	t.add(adds...)
}

// turns claims one after another and counts who is served.
func (t *tester) turns(n int, who func(store.Delivery) string) map[string]int {
	t.Helper()
	served := map[string]int{}
	for range n {
		ds := t.claim(store.Claim{Other: 100, Max: 1})
		equal(t, "deliveries claimed", len(ds), 1)
		served[who(ds[0])]++
	}
	return served
}

func destinationOf(d store.Delivery) string { return d.Destination }
func tenantOf(d store.Delivery) string      { return d.Record.Tenant }

// Destinations that have something due are served in turn, however much the
// others have, and however long theirs has been due.
func fairDestinations(t *tester) {
	t.crowd("acme", "large", 50)
	t.advance(time.Hour)
	t.crowd("acme", "middle", 10)
	t.advance(time.Hour)
	t.crowd("acme", "small", 4)
	for round := range 4 {
		equal(t, fmt.Sprintf("served in round %d", round), fmt.Sprint(t.turns(3, destinationOf)), "map[large:1 middle:1 small:1]")
	}
	equal(t, "served when small has nothing left", fmt.Sprint(t.turns(4, destinationOf)), "map[large:2 middle:2]")
}

// So are the tenants of one destination.
func fairTenants(t *tester) {
	t.crowd("large", "work", 50)
	t.advance(time.Hour)
	t.crowd("", "work", 4)
	t.crowd("small", "work", 4)
	for round := range 4 {
		equal(t, fmt.Sprintf("served in round %d", round), fmt.Sprint(t.turns(3, tenantOf)), "map[:1 large:1 small:1]")
	}
	equal(t, "served when only one has something left", fmt.Sprint(t.turns(3, tenantOf)), "map[large:3]")
}

// A pair that was never served comes before one that was, within the free slots
// of the destination too.
func fairNewcomer(t *tester) {
	t.crowd("large", "work", 100)
	for range 3 {
		equal(t, "deliveries claimed", len(t.claim(store.Claim{Free: map[string]int{"work": 2}})), 2)
	}
	t.crowd("small", "work", 1)
	served := map[string]int{}
	for _, d := range t.claim(store.Claim{Free: map[string]int{"work": 2}}) {
		served[d.Record.Tenant]++
	}
	equal(t, "deliveries of the newcomer in the next claim", served["small"], 1)

	t.crowd("large", "another", 1)
	equal(t, "served next", fmt.Sprint(t.turns(1, destinationOf)), "map[another:1]")
}

// A destination that is held, or has no free slot, loses no turn to others and
// takes none.
func fairHeld(t *tester) {
	t.crowd("acme", "a", 10)
	t.crowd("acme", "b", 10)
	t.crowd("acme", "c", 10)
	t.hold(store.Hold{Destination: "b", Kind: store.Slowed, For: time.Minute})
	equal(t, "served while b is held", fmt.Sprint(t.turns(4, destinationOf)), "map[a:2 c:2]")
	t.release("b", store.Slowed)
	equal(t, "served when b is released", fmt.Sprint(t.turns(3, destinationOf)), "map[a:1 b:1 c:1]")
	for range 3 {
		for _, d := range t.claim(store.Claim{Free: map[string]int{"a": 0}, Other: 1, Max: 1}) {
			equal(t, "a, without a free slot, is served", d.Destination == "a", false)
		}
	}
}
