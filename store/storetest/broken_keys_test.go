package storetest_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/surehook/webhook/store"
)

const century = 100 * 365 * 24 * time.Hour

var keysFlaws = []keysSabotage{
	{"lets everybody in", "Reserve/OneOwnerAtATime", func(k *brokenKeys) {
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			known, err := k.kept.Reserve(ctx, owner, keys, lease)
			if errors.Is(err, store.ErrReserved) {
				return make([]bool, len(keys)), nil
			}
			return known, err
		}
	}},
	{"takes what it can get", "Reserve/AllOrNone", func(k *brokenKeys) {
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) (known []bool, err error) {
			err = each(keys, func(one [][32]byte) error {
				is, err := k.kept.Reserve(ctx, owner, one, lease)
				known = append(known, is...)
				return err
			})
			return known, err
		}
	}},
	{"answers in the order of the table", "Reserve/SaysWhatIsKnown", func(k *brokenKeys) {
		k.onKnown(func(known []bool) { slices.Reverse(known) })
	}},
	{"reserves what is known", "Reserve/KnownStaysAsItIs", func(k *brokenKeys) {
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			known, err := k.kept.Reserve(ctx, owner, keys, lease)
			for i := range known {
				if known[i] { // puts the end of the window off
					_ = k.kept.Confirm(ctx, k.confirmer(keys[i]), keys[i:i+1], 2*time.Hour)
				}
			}
			return known, err
		}
	}},
	{"knows no end of a reservation", "Reserve/RunsOut", func(k *brokenKeys) {
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, _ time.Duration) ([]bool, error) {
			return k.kept.Reserve(ctx, owner, keys, century)
		}
	}},
	{"ends a reservation early", "Reserve/RunsOut", func(k *brokenKeys) {
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			return k.kept.Reserve(ctx, owner, keys, lease/2)
		}
	}},
	{"prolongs nothing", "Reserve/AgainProlongs", func(k *brokenKeys) {
		first := map[[32]byte]time.Time{}
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			for _, key := range keys {
				if at, ok := first[key]; ok && at.Add(lease).After(k.now()) {
					lease = min(lease, at.Add(lease).Sub(k.now()))
				} else {
					first[key] = k.now()
				}
			}
			return k.kept.Reserve(ctx, owner, keys, lease)
		}
	}},
	{"refuses the owner itself", "Reserve/AgainProlongs", func(k *brokenKeys) {
		n := byte(0)
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			n++
			owner[0] ^= n
			return k.kept.Reserve(ctx, owner, keys, lease)
		}
	}},
	{"wants a new owner for what ran out", "Reserve/AgainAfterItRanOut", func(k *brokenKeys) {
		had := map[[16]byte]time.Time{}
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			if until, ok := had[owner]; ok && until.Before(k.now()) {
				return nil, store.ErrReserved
			}
			had[owner] = k.now().Add(lease)
			return k.kept.Reserve(ctx, owner, keys, lease)
		}
	}},
	{"gives back what was taken over", "Reserve/AgainAfterATakeoverIsRefused", func(k *brokenKeys) {
		first := map[[32]byte][16]byte{}
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			for _, key := range keys {
				if _, ok := first[key]; !ok {
					first[key] = owner
				}
			}
			known, err := k.kept.Reserve(ctx, owner, keys, lease)
			if errors.Is(err, store.ErrReserved) && first[keys[0]] == owner {
				return make([]bool, len(keys)), nil
			}
			return known, err
		}
	}},
	{"has one reservation an owner", "Reserve/FurtherKeys", func(k *brokenKeys) {
		has := map[[16]byte][][32]byte{}
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			_ = k.kept.Release(ctx, owner, has[owner])
			has[owner] = slices.Clone(keys)
			return k.kept.Reserve(ctx, owner, keys, lease)
		}
	}},
	{"trips over a key that is named twice", "Reserve/NamedTwice", func(k *brokenKeys) {
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			seen := map[[32]byte]bool{}
			for _, key := range keys {
				if seen[key] {
					return nil, store.ErrReserved
				}
				seen[key] = true
			}
			return k.kept.Reserve(ctx, owner, keys, lease)
		}
	}},
	{"takes nothing for a loss", "Reserve/None", func(k *brokenKeys) {
		k.confirm = func(ctx context.Context, owner [16]byte, keys [][32]byte, window time.Duration) error {
			if len(keys) == 0 {
				return store.ErrLeaseLost
			}
			return k.kept.Confirm(ctx, owner, keys, window)
		}
	}},
	{"has a limit of parameters", "Reserve/Thousands", func(k *brokenKeys) {
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			if len(keys) > 999 {
				return nil, errFull
			}
			return k.kept.Reserve(ctx, owner, keys, lease)
		}
	}},
	{"sorts the caller's keys", "Reserve/Thousands", func(k *brokenKeys) {
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			slices.SortFunc(keys, func(a, b [32]byte) int { return slices.Compare(a[:], b[:]) })
			return k.kept.Reserve(ctx, owner, keys, lease)
		}
	}},
	{"deletes nothing", "Reserve/DeletesWhatHasEnded", func(k *brokenKeys) {
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			k.count += len(keys)
			return k.kept.Reserve(ctx, owner, keys, lease)
		}
	}},
	{"does not confirm", "Confirm/KnownToAll", func(k *brokenKeys) {
		k.confirm = func(context.Context, [16]byte, [][32]byte, time.Duration) error { return nil }
	}},
	{"keeps its own from the owner", "Confirm/KnownToAll", func(k *brokenKeys) {
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			known, err := k.kept.Reserve(ctx, owner, keys, lease)
			for i := range known {
				known[i] = known[i] && k.confirmer(keys[i]) != owner
			}
			return known, err
		}
	}},
	{"knows for ever", "Confirm/UntilTheWindowIsOver", func(k *brokenKeys) {
		k.confirm = func(ctx context.Context, owner [16]byte, keys [][32]byte, _ time.Duration) error {
			return k.kept.Confirm(ctx, owner, keys, century)
		}
	}},
	{"takes the later of lease and window", "Confirm/WindowShorterThanTheLease", func(k *brokenKeys) {
		until := map[[32]byte]time.Time{}
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			for _, key := range keys {
				until[key] = k.now().Add(lease)
			}
			return k.kept.Reserve(ctx, owner, keys, lease)
		}
		k.confirm = func(ctx context.Context, owner [16]byte, keys [][32]byte, window time.Duration) error {
			return each(keys, func(one [][32]byte) error {
				return k.kept.Confirm(ctx, owner, one, max(window, until[one[0]].Sub(k.now())))
			})
		}
	}},
	{"confirms all that the owner has", "Confirm/TheKeysNamedAlone", func(k *brokenKeys) {
		has := k.noteOwners()
		k.confirm = func(ctx context.Context, owner [16]byte, _ [][32]byte, window time.Duration) error {
			return k.kept.Confirm(ctx, owner, has(owner), window)
		}
	}},
	{"takes a second confirmation for a loss", "Confirm/AgainIsAsOnce", func(k *brokenKeys) {
		k.confirm = func(ctx context.Context, owner [16]byte, keys [][32]byte, window time.Duration) error {
			if len(keys) > 0 && k.confirmer(keys[0]) == owner {
				return store.ErrLeaseLost
			}
			return k.kept.Confirm(ctx, owner, keys, window)
		}
	}},
	{"confirms reservations that run alone", "Confirm/AfterItRanOut", func(k *brokenKeys) {
		until := map[[16]byte]time.Time{}
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			until[owner] = k.now().Add(lease)
			return k.kept.Reserve(ctx, owner, keys, lease)
		}
		k.confirm = func(ctx context.Context, owner [16]byte, keys [][32]byte, window time.Duration) error {
			if until[owner].Before(k.now()) {
				return store.ErrLeaseLost
			}
			return k.kept.Confirm(ctx, owner, keys, window)
		}
	}},
	{"confirms what is another's", "Confirm/AfterATakeoverIsLeaseLost", func(k *brokenKeys) {
		last := k.noteKeys()
		k.confirm = func(ctx context.Context, _ [16]byte, keys [][32]byte, window time.Duration) error {
			return each(keys, func(one [][32]byte) error { return k.kept.Confirm(ctx, last(one[0]), one, window) })
		}
	}},
	{"confirms anew what another confirmed", "Confirm/AfterAnotherConfirmedIsLeaseLost", func(k *brokenKeys) {
		k.confirm = func(ctx context.Context, owner [16]byte, keys [][32]byte, window time.Duration) error {
			err := k.kept.Confirm(ctx, owner, keys, window)
			if by := k.confirmer(keys[0]); err != nil && by != ([16]byte{}) {
				return k.kept.Confirm(ctx, by, keys, window)
			}
			return err
		}
	}},
	{"confirms all or none", "Confirm/TheOthersAreKnownAllTheSame", func(k *brokenKeys) {
		k.confirm = func(ctx context.Context, owner [16]byte, keys [][32]byte, window time.Duration) error {
			if _, err := k.kept.Reserve(ctx, owner, keys, time.Nanosecond); errors.Is(err, store.ErrReserved) {
				return store.ErrLeaseLost
			}
			return k.kept.Confirm(ctx, owner, keys, window)
		}
	}},
	{"waits for the lease to end", "Release/Frees", func(k *brokenKeys) {
		k.release = func(context.Context, [16]byte, [][32]byte) error { return nil }
	}},
	{"releases all that the owner has", "Release/TheKeysNamedAlone", func(k *brokenKeys) {
		has := k.noteOwners()
		k.release = func(ctx context.Context, owner [16]byte, _ [][32]byte) error {
			return k.kept.Release(ctx, owner, has(owner))
		}
	}},
	{"releases what is known", "Release/LeavesWhatIsKnown", func(k *brokenKeys) {
		k.release = func(ctx context.Context, owner [16]byte, keys [][32]byte) error {
			_ = each(keys, func(one [][32]byte) error { return k.kept.Confirm(ctx, k.confirmer(one[0]), one, -time.Second) })
			return k.kept.Release(ctx, owner, keys)
		}
	}},
	{"releases what is another's", "Release/LeavesWhatIsAnothers", func(k *brokenKeys) {
		last := k.noteKeys()
		k.release = func(ctx context.Context, _ [16]byte, keys [][32]byte) error {
			return each(keys, func(one [][32]byte) error { return k.kept.Release(ctx, last(one[0]), one) })
		}
	}},
	{"wants something to release", "Release/OfNothingIsNoError", func(k *brokenKeys) {
		last := k.noteKeys()
		k.release = func(ctx context.Context, owner [16]byte, keys [][32]byte) error {
			if len(keys) > 0 && last(keys[0]) != owner {
				return store.ErrNotFound
			}
			return k.kept.Release(ctx, owner, keys)
		}
	}},
	{"takes keys for texts", "Keys/AnyBytes", func(k *brokenKeys) {
		k.rename(func(key [32]byte) [32]byte {
			if i := slices.Index(key[:], 0); i >= 0 {
				clear(key[i:])
			}
			return key
		})
	}},
	{"has no case", "Keys/AnyBytes", func(k *brokenKeys) {
		k.rename(func(key [32]byte) [32]byte {
			for i, b := range key {
				if 'A' <= b && b <= 'Z' {
					key[i] = b + 'a' - 'A'
				}
			}
			return key
		})
	}},
	{"looks at half of the owner", "Keys/AnyBytes", func(k *brokenKeys) {
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			clear(owner[8:])
			return k.kept.Reserve(ctx, owner, keys, lease)
		}
	}},
	{"counts by a clock that is never set", "Keys/ClockJumpsForward", func(k *brokenKeys) {
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			return k.kept.Reserve(ctx, owner, keys, max(lease, lease+k.skew+2*time.Hour))
		}
	}},
	{"counts instants and not spans", "Keys/ClockJumpsBack", func(k *brokenKeys) {
		k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
			if k.skew < 0 { // as one whose caller counted before the jump
				lease -= k.skew
			}
			return k.kept.Reserve(ctx, owner, keys, lease)
		}
	}},
	{"looks and then takes", "Keys/OneOfManyGetsIt", looksThenTakes},
	{"looks and then takes several", "Keys/NeverTwoAtOnce", looksThenTakes},
	{"waits for a transaction from inside of it", "Keys/InTransaction", func(k *brokenKeys) {
		k.release = func(_ context.Context, owner [16]byte, keys [][32]byte) error {
			return k.kept.Release(context.Background(), owner, keys)
		}
	}},
	{"forgets with its process", "Keys/AreThereAfterReopen", private},
	{"is one process's alone", "Keys/OneOwnerInAllProcesses", private},
}

// looksThenTakes has no lock around both.
func looksThenTakes(k *brokenKeys) {
	k.concurrent = true
	var mu sync.Mutex
	taken := map[[32]byte][16]byte{}
	k.reserve = func(_ context.Context, owner [16]byte, keys [][32]byte, _ time.Duration) ([]bool, error) {
		mu.Lock()
		for _, key := range keys {
			if by, ok := taken[key]; ok && by != owner {
				mu.Unlock()
				return nil, store.ErrReserved
			}
		}
		mu.Unlock()
		<-time.After(2 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		for _, key := range keys {
			taken[key] = owner
		}
		return make([]bool, len(keys)), nil
	}
	k.release = func(_ context.Context, owner [16]byte, keys [][32]byte) error {
		mu.Lock()
		defer mu.Unlock()
		maps.DeleteFunc(taken, func(key [32]byte, by [16]byte) bool { return by == owner && slices.Contains(keys, key) })
		return nil
	}
}

// onKnown changes what Reserve answers.
func (k *brokenKeys) onKnown(change func(known []bool)) {
	k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
		known, err := k.kept.Reserve(ctx, owner, keys, lease)
		change(known)
		return known, err
	}
}

// noteOwners notes what each owner reserves, and returns what asks for it.
func (k *brokenKeys) noteOwners() func(owner [16]byte) [][32]byte {
	has := map[[16]byte][][32]byte{}
	k.onReserve(func(owner [16]byte, keys [][32]byte) { has[owner] = append(has[owner], keys...) })
	return func(owner [16]byte) [][32]byte { return has[owner] }
}

// noteKeys notes who reserved each key last, and returns what asks for it.
func (k *brokenKeys) noteKeys() func(key [32]byte) [16]byte {
	last := map[[32]byte][16]byte{}
	k.onReserve(func(owner [16]byte, keys [][32]byte) {
		for _, key := range keys {
			last[key] = owner
		}
	})
	return func(key [32]byte) [16]byte { return last[key] }
}

func (k *brokenKeys) onReserve(note func(owner [16]byte, keys [][32]byte)) {
	k.reserve = func(ctx context.Context, owner [16]byte, keys [][32]byte, lease time.Duration) ([]bool, error) {
		known, err := k.kept.Reserve(ctx, owner, keys, lease)
		if err == nil {
			note(owner, keys)
		}
		return known, err
	}
}
