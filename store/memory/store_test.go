package memory_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
)

// event is an Add of the event numbered n for destinations.
func event(n byte, destinations ...string) store.Add {
	a := store.Add{
		Nonce:    [16]byte{n},
		Queue:    queue,
		Identity: [32]byte{n},
		Record:   &store.Record{ID: fmt.Sprint(n), Head: []byte("head"), Body: []byte("body")},
	}
	for _, d := range destinations {
		a.To = append(a.To, store.Target{Destination: d})
	}
	return a
}

func add(t *testing.T, st *memory.Store, a store.Add) store.Added {
	t.Helper()
	res, err := st.Commit(t.Context(), &store.Batch{Adds: []store.Add{a}})
	require.NoError(t, err)
	return res.Adds[0]
}

func claim(t *testing.T, st *memory.Store) []store.Delivery {
	t.Helper()
	ds, err := st.Claim(t.Context(), queue, store.Claim{Other: 100, Lease: time.Minute})
	require.NoError(t, err)
	return ds
}

func get(t *testing.T, st *memory.Store, ids ...string) []store.Delivery {
	t.Helper()
	page, _, err := st.Find(t.Context(), queue, store.Filter{IDs: ids}, "", 0)
	require.NoError(t, err)
	return page
}

func update(t *testing.T, st *memory.Store, c store.Change, ids ...string) int {
	t.Helper()
	n, err := st.Update(t.Context(), queue, ids, c)
	require.NoError(t, err)
	return n
}

// Its clock is the machine's, so that a bubble's time moves it.
func TestStore_LivesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New()
		add(t, st, event(1, "work"))
		require.Len(t, claim(t, st), 1)
		time.Sleep(time.Minute - time.Nanosecond)
		require.Empty(t, claim(t, st))
		time.Sleep(time.Nanosecond)
		require.Len(t, claim(t, st), 1)
	})
}

// What was given and what was returned may be written to afterwards.
func TestStore_SharesNothing(t *testing.T) {
	st := memory.New()
	a := event(1, "work")
	a.Keys = [][32]byte{{7}}
	id := add(t, st, a).Deliveries[0].ID
	a.Keys[0] = [32]byte{8}

	d := claim(t, st)[0]
	attempt := store.Attempt{Outcome: store.OutcomeFailed, Err: "no", Response: []byte("answer")}
	settle := store.Settle{Delivery: id, Token: d.Token, To: store.Queued, Attempt: &attempt}
	_, err := st.Commit(t.Context(), &store.Batch{Settles: []store.Settle{settle}})
	require.NoError(t, err)
	attempt.Err, attempt.Response[0] = "yes", 'X'

	want := get(t, st, id)[0].Attempts
	require.Equal(t, []store.Attempt{{Token: 1, Outcome: store.OutcomeFailed, Err: "no", Response: []byte("answer")}}, want)
	want[0].Err, want[0].Response[0] = "yes", 'X'
	again := get(t, st, id)[0].Attempts
	require.Equal(t, "no", again[0].Err)
	require.Equal(t, "answer", string(again[0].Response))

	b := event(2, "work")
	b.Keys = [][32]byte{{7}}
	require.True(t, add(t, st, b).Duplicate)
	require.Equal(t, 1, update(t, st, store.Change{To: store.Discarded}, id))
	st.Advance(time.Hour)
	require.Equal(t, 2, purgeAll(t, st, store.Retention{Processed: time.Minute}))
	require.False(t, add(t, st, b).Duplicate, "its key is forgotten")
}

// Past a few destinations an event finds them by an index.
func TestAdd_ManyDestinations(t *testing.T) {
	st := memory.New()
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprint("d", i))
	}
	first := add(t, st, event(1, names[:90]...))

	a := event(1, names...)
	a.Nonce[0] = 2
	added := add(t, st, a)
	require.Equal(t, 10, added.Missing)
	for i, d := range first.Deliveries {
		require.Equal(t, d.ID, added.Deliveries[i].ID)
	}
	a.Nonce[0] = 3
	require.Zero(t, add(t, st, a).Missing)

	a.To = append(a.To, store.Target{Destination: "d50"})
	_, err := st.Commit(t.Context(), &store.Batch{Adds: []store.Add{a}})
	require.ErrorIs(t, err, store.ErrBadData)
	require.ErrorContains(t, err, `add 0: target 100: destination "d50" twice`)
}

// A move can be taken back, though the event was named for both by then.
func TestUpdate_MoveAndBack(t *testing.T) {
	st := memory.New()
	id := add(t, st, event(1, "old")).Deliveries[0].ID
	require.Equal(t, 1, update(t, st, store.Change{Destination: "new"}, id))
	require.Equal(t, 1, update(t, st, store.Change{Destination: "old"}, id))
	require.Equal(t, "old", claim(t, st)[0].Destination)
}

// Two deliveries of an event do not end up at one destination, though neither is
// there before.
func TestUpdate_MovesOneOfAnEvent(t *testing.T) {
	st := memory.New()
	added := add(t, st, event(1, "a", "b"))
	ids := []string{added.Deliveries[0].ID, added.Deliveries[1].ID}
	require.Equal(t, 1, update(t, st, store.Change{Destination: "c"}, ids...))
	require.Equal(t, "c", get(t, st, ids[0])[0].Destination)
	require.Equal(t, "b", get(t, st, ids[1])[0].Destination)
}

// An event is erased where the same Update ends all that was still to be done.
func TestUpdate_EraseAllOfAnEvent(t *testing.T) {
	st := memory.New()
	added := add(t, st, event(1, "a", "b"))
	ids := []string{added.Deliveries[0].ID, added.Deliveries[1].ID, added.Deliveries[0].ID}
	gone := store.Change{To: store.Discarded, Reason: "person", Erase: true}
	require.Zero(t, update(t, st, gone, ids[0]))
	require.Equal(t, store.Queued, get(t, st, ids[0])[0].State)
	require.Zero(t, update(t, st, store.Change{Erase: true}, ids...), "what is queued needs its body")

	require.Equal(t, 2, update(t, st, gone, ids...))
	for _, d := range get(t, st, ids...) {
		require.Equal(t, store.Discarded, d.State)
		require.Empty(t, d.Record.Body)
		require.Empty(t, d.Record.Head)
	}
	_, err := st.Update(t.Context(), queue, ids, store.Change{To: store.Queued, Erase: true})
	require.ErrorIs(t, err, store.ErrBadData)
	require.Zero(t, update(t, st, store.Change{To: store.Queued}, ids...))
}

// A row shows a hundred holds, in the order of names, those of a destination
// before those of its keys, and what is left of them.
func TestStats_Held(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // so that what is left is exact
		st := memory.New()
		var b store.Batch
		for i := range 150 {
			b.Holds = append(b.Holds, store.Hold{
				Queue: queue, Destination: "b", OrderKey: fmt.Sprintf("%03d", 149-i), Kind: store.Slowed, For: time.Hour, Reason: "429",
			})
		}
		b.Holds = append(b.Holds, store.Hold{Queue: queue, Destination: "b", Kind: store.Broken, For: time.Minute})
		b.Holds = append(b.Holds, store.Hold{Queue: queue, Destination: "a", Kind: store.Paused, Reason: "holidays"})
		_, err := st.Commit(t.Context(), &b)
		require.NoError(t, err)
		st.Advance(30 * time.Second)

		rows, next, err := st.Stats(t.Context(), queue, "", 2)
		require.NoError(t, err)
		require.Empty(t, next)
		paused := store.Hold{Queue: queue, Destination: "a", Kind: store.Paused, Reason: "holidays"}
		broken := store.Hold{Queue: queue, Destination: "b", Kind: store.Broken, For: 30 * time.Second}
		slowed := store.Hold{Queue: queue, Destination: "b", OrderKey: "000", Kind: store.Slowed, For: time.Hour - 30*time.Second, Reason: "429"}
		require.Len(t, rows[0].Held, 100)
		require.Equal(t, []store.Hold{paused, broken, slowed}, rows[0].Held[:3])
		require.Equal(t, []store.Hold{paused}, rows[1].Held)
		require.Len(t, rows[2].Held, 100)
		require.Equal(t, []store.Hold{broken, slowed}, rows[2].Held[:2])

		st.Advance(time.Minute)
		rows, _, err = st.Stats(t.Context(), queue, "", 0)
		require.NoError(t, err)
		require.Equal(t, slowed.OrderKey, rows[2].Held[0].OrderKey)
	})
}

func TestFind_RefusesAForeignCursor(t *testing.T) {
	_, _, err := memory.New().Find(t.Context(), queue, store.Filter{}, "no cursor", 0)
	require.ErrorIs(t, err, store.ErrBadData)
}

// An id that is asked for twice is found and counted once.
func TestStore_IDsAskedForTwice(t *testing.T) {
	st := memory.New()
	id := add(t, st, event(1, "work")).Deliveries[0].ID
	require.Len(t, get(t, st, id, id), 1)
	require.Equal(t, 1, update(t, st, store.Change{To: store.Dead}, id, id))
}

// A hold stands until its time by the clock as it is, though it was seen to run
// out before the clock was set back.
func TestHold_ClockSetBack(t *testing.T) {
	st := memory.New()
	add(t, st, event(1, "work"))
	add(t, st, event(2, "work"))
	hold := store.Hold{Queue: queue, Destination: "work", Kind: store.Broken, For: time.Hour}
	_, err := st.Commit(t.Context(), &store.Batch{Holds: []store.Hold{hold}})
	require.NoError(t, err)

	st.Advance(2 * time.Hour)
	one, err := st.Claim(t.Context(), queue, store.Claim{Other: 1, Lease: 24 * time.Hour})
	require.NoError(t, err)
	require.Len(t, one, 1)
	st.Advance(-90 * time.Minute)
	require.Empty(t, claim(t, st))
	st.Advance(90 * time.Minute)
	require.Len(t, claim(t, st), 1)
}

// What is dead once more blocks its key, though its first death did not.
func TestUpdate_DeadOnceMoreBlocks(t *testing.T) {
	st := memory.New()
	for n := range byte(2) {
		a := event(n, "work")
		a.To[0].OrderKey = "k"
		add(t, st, a)
	}
	d := claim(t, st)[0]
	settle := store.Settle{Delivery: d.ID, Token: d.Token, To: store.Dead, Unblock: true}
	_, err := st.Commit(t.Context(), &store.Batch{Settles: []store.Settle{settle}})
	require.NoError(t, err)
	require.Equal(t, 1, update(t, st, store.Change{To: store.Queued}, d.ID))
	require.Equal(t, 1, update(t, st, store.Change{To: store.Dead}, d.ID))
	require.Empty(t, claim(t, st))
}

// Retention may change from one Purge to the next.
func TestPurge_OtherRetentionOfKeys(t *testing.T) {
	st := memory.New()
	day := store.Retention{Keys: 24 * time.Hour}
	require.Zero(t, purgeAll(t, st, day))
	for n := range byte(20) {
		a := event(n)
		a.Known = time.Duration(20-n) * time.Minute // so that those that came first are known for longest
		add(t, st, a)
		st.Advance(time.Second)
	}
	st.Advance(5 * time.Minute)
	require.Zero(t, purgeAll(t, st, day)) // would go in the order in which they came
	require.Equal(t, 5, purgeAll(t, st, store.Retention{}), "those known for one to five minutes")
}
