package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surehook/webhook/store"
)

// keyringCases concern all three methods.
var keyringCases = []keysCase{
	{name: "Keys/AnyBytes", run: keysBytes},
	{name: "Keys/ClockJumpsForward", run: keysForward},
	{name: "Keys/ClockJumpsBack", run: keysBack},
	{name: "Keys/OneOfManyGetsIt", run: keysRace},
	{name: "Keys/NeverTwoAtOnce", run: keysOverlap},
	{name: "Keys/InTransaction", run: keysInTransaction, needs: func(b KeysBackend) bool { return b.Transact != nil }},
	{name: "Keys/AreThereAfterReopen", run: keysReopen, needs: func(b KeysBackend) bool { return b.Reopen != nil }},
	{name: "Keys/OneOwnerInAllProcesses", run: keysSecond, needs: func(b KeysBackend) bool { return b.Second != nil }},
}

// Keys and owners are any bytes, and all of them count.
func keysBytes(t *keysTester) {
	fill := func(b byte) (k [32]byte) {
		for i := range k {
			k[i] = b
		}
		return k
	}
	var odd [][32]byte
	for _, b := range []byte{0, ' ', '"', '\'', '%', 'A', 'a', 0x80, 0xff} {
		k := fill(b)
		odd = append(odd, k)
		k[0] ^= 1
		odd = append(odd, k)
		k[0] ^= 1
		k[31] ^= 1
		odd = append(odd, k)
	}
	owners := make([][16]byte, 0, len(odd))
	for i, k := range odd {
		owner := [16]byte(k[:16])
		if i%3 == 2 {
			owner = [16]byte(k[16:])
		}
		owners = append(owners, owner)
	}
	for i := range odd {
		known, err := t.k.Reserve(t.ctx, owners[i], odd[i:i+1], lease)
		if err != nil || known[0] {
			t.Fatalf("Reserve %x by %x: %v and %v, want it free", odd[i], owners[i], known, err)
		}
	}
	for i := range odd {
		for j := range owners {
			want := error(nil)
			if i != j {
				want = store.ErrReserved
			}
			if _, err := t.k.Reserve(t.ctx, owners[j], odd[i:i+1], lease); !errors.Is(err, want) {
				t.Fatalf("Reserve %x of %x by %x: %v, want %v", odd[i], owners[i], owners[j], err, want)
			}
		}
	}
	if err := t.k.Confirm(t.ctx, owners[0], odd[:1], window); err != nil {
		t.Fatalf("Confirm: %v", err)
	}
	known, err := t.k.Reserve(t.ctx, owners[1], odd[:2], lease)
	if err != nil {
		t.Fatalf("Reserve: %v", err)
	}
	sameItems(t, "known", known, []bool{true, false})
}

// A clock that jumps forward ends reservations early, as far as the store can know.
// Who is overtaken so is told.
func keysForward(t *keysTester) {
	t.takes("one", "a")
	t.confirm("two", "b")
	t.advance(jump - time.Minute)
	t.knows("b")
	t.takes("two", "a")
	t.lost("one", "a")
	t.refused("one", "a")
}

// A clock that jumps back ends nothing early, and keeps nothing for longer than the
// jump; what is taken after it has its whole span.
func keysBack(t *keysTester) {
	t.takes("one", "a")
	t.confirm("two", "b")
	t.advance(-jump)
	t.refused("two", "a")
	t.knows("b")
	t.takes("three", "c")
	t.advance(lease / 2)
	t.refused("two", "c")
	t.takes("one", "a") // prolongs, from now
	t.advance(lease)
	t.takes("two", "c")
	t.advance(lease / 2)
	t.takes("four", "a")
	t.confirm("five", "d")
	t.advance(-jump)
	t.takes("six", "e")
	t.advance(jump + 2*window)
	t.takes("seven", "b", "d", "e")
}

// Of many who come at once one gets the key, and the others are told that it is
// reserved.
func keysRace(t *keysTester) {
	for round := range 5 {
		key := keysOf(fmt.Sprint(round))
		var taken atomic.Int64
		t.together(64, func(ctx context.Context, i int) error {
			known, err := t.k.Reserve(ctx, ownerOf(fmt.Sprint(i)), key, lease)
			switch {
			case errors.Is(err, store.ErrReserved):
				return nil
			case err != nil:
				return err
			case known[0]:
				return errors.New("known, although nobody confirmed it")
			}
			taken.Add(1)
			return nil
		})
		equal(t, "owners that got it", taken.Load(), 1)
	}
}

// Whoever holds several keys holds each of them alone, whatever others ask for in
// whatever order; and everybody has a turn in the end.
func keysOverlap(t *keysTester) {
	const workers, turns, all = 32, 8, 6
	var mu sync.Mutex
	holder := map[int]int{} // by key
	t.together(workers, func(ctx context.Context, i int) error {
		owner := ownerOf(fmt.Sprint(i))
		for done := 0; done < turns; {
			if err := ctx.Err(); err != nil {
				return err
			}
			mine := rand.Perm(all)[:2+rand.IntN(2)]
			keys := make([][32]byte, len(mine))
			for j, n := range mine {
				keys[j] = keysOf(fmt.Sprint("shared ", n))[0]
			}
			if _, err := t.k.Reserve(ctx, owner, keys, lease); errors.Is(err, store.ErrReserved) {
				pause(ctx)
				continue
			} else if err != nil {
				return err
			}
			mu.Lock()
			for _, n := range mine {
				if other, held := holder[n]; held {
					mu.Unlock()
					return fmt.Errorf("key %d is held by %d and by %d", n, other, i)
				}
				holder[n] = i
			}
			mu.Unlock()
			pause(ctx)
			mu.Lock()
			for _, n := range mine {
				delete(holder, n)
			}
			mu.Unlock()
			if err := t.k.Release(ctx, owner, keys); err != nil {
				return err
			}
			done++
		}
		return nil
	})
}

// A method that would wait for the end of the transaction that it is called from
// returns ErrInTransaction instead, at once.
func keysInTransaction(t *keysTester) {
	t.takes("one", "a")
	started := time.Now()
	err := t.b.Transact(t.ctx, t.k, func(ctx context.Context) error {
		_, err := t.k.Reserve(ctx, ownerOf("one"), keysOf("b"), lease)
		for what, err := range map[string]error{
			"Reserve": err,
			"Confirm": t.k.Confirm(ctx, ownerOf("one"), keysOf("a"), window),
			"Release": t.k.Release(ctx, ownerOf("one"), keysOf("a")),
		} {
			if !errors.Is(err, store.ErrInTransaction) {
				t.Errorf("%s in a transaction: %v, want ErrInTransaction", what, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Transact: %v", err)
	}
	if took := time.Since(started); took > within {
		t.Errorf("took %v, want an answer at once", took)
	}
	t.refused("two", "a")
	t.takes("two", "b")
}

// What was reserved and what was confirmed is there after the store was opened
// again, and so is the clock by which it ends.
func keysReopen(t *keysTester) {
	t.takes("one", "reserved", "released")
	t.release("one", "released")
	t.takes("two", "known")
	t.confirm("two", "known")
	t.k = t.b.Reopen(t, t.k)
	t.refused("three", "reserved")
	t.takes("three", "released")
	t.knows("known")
	t.takes("one", "reserved")
	t.advance(2 * lease)
	t.takes("three", "reserved")
	t.advance(window)
	t.takes("three", "known")
}

// What one process has reserved or confirmed is so for all of them.
func keysSecond(t *keysTester) {
	other := &keysTester{tester: t.tester, b: t.b, k: t.b.Second(t, t.k)}
	t.takes("one", "a", "b")
	other.refused("two", "a")
	t.confirm("one", "a")
	other.knows("a")
	t.release("one", "b")
	other.takes("two", "b")
	t.refused("one", "b")
}
