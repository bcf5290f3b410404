package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// serving returns slots of an engine that has claimed once.
func serving(limit int, limits map[string]int) *slots {
	s := newSlots(limit)
	s.serve(limits, nil)
	s.give(true)
	return s
}

// brought are deliveries that a claim brought, n for a destination.
func brought(destination string, n int) []store.Delivery {
	ds := make([]store.Delivery, n)
	for i := range ds {
		ds[i] = store.Delivery{Destination: destination, Record: &store.Record{}}
	}
	return ds
}

func kicked(s *slots) bool {
	select {
	case <-s.kick:
		return true
	default:
		return false
	}
}

func TestSlots_ReserveNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(s *slots)
		want    bool
	}{
		"a slot":                {func(*slots) {}, true},
		"a first claim":         {func(s *slots) { s.give(false) }, false},
		"a destination of ours": {func(s *slots) { delete(s.serves, "a") }, false},
		"nothing older waiting": {func(s *slots) {
			s.claimed(store.Claim{Free: map[string]int{"a": 1}, Max: 9, Bytes: 9}, brought("a", 1))
		}, false},
		"not that of another": {func(s *slots) {
			s.claimed(store.Claim{Free: map[string]int{"b": 1}, Max: 9, Bytes: 9}, brought("b", 1))
		}, true},
		"a claim that found all": {func(s *slots) {
			s.claimed(store.Claim{Free: map[string]int{"a": 2}, Max: 9, Bytes: 9}, brought("a", 1))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serving(4, map[string]int{"a": 4, "b": 4})
			c.prepare(s)
			require.Equal(t, c.want, s.reserve("a"))
		})
	}
}

// Of one with a limit no more is in hand than may run; of the others as many
// again may wait; and all together no more than that.
func TestSlots_ReserveBounds(t *testing.T) {
	s := serving(4, map[string]int{"limited": 3, "free": 4, "same": 9})
	count := func(destination string) (n int) {
		for s.reserve(destination) {
			n++
		}
		return n
	}
	require.Equal(t, 3, count("limited"))
	require.Equal(t, 5, count("free"), "8 in all")
	require.Zero(t, count("same"))

	// Whoever was refused is called for when a slot is free, and gets no leases
	// until a claim has found nothing older.
	require.False(t, kicked(s))
	s.release("limited")
	require.True(t, kicked(s))
	require.False(t, s.reserve("limited"))
	for range 5 {
		s.release("free")
	}
	free, _, n := s.free()
	require.Equal(t, map[string]int{"limited": 1, "free": 2, "same": 2}, free)
	require.Equal(t, 2, n)
	require.False(t, s.claimed(store.Claim{Free: free, Max: n, Bytes: 100}, nil))
	require.True(t, s.reserve("limited"))
}

func TestSlots_WhatIsAskedFor(t *testing.T) {
	s := serving(10, map[string]int{"a": 10, "b": 2, "c": 1})
	free, _, n := s.free()
	require.Equal(t, map[string]int{"a": 10, "b": 2, "c": 1}, free)
	require.Equal(t, 10, n)
	s.claimed(store.Claim{Free: free, Max: n, Bytes: 100}, append(brought("a", 7), brought("c", 1)...))
	free, _, n = s.free()
	require.Equal(t, map[string]int{"a": 2, "b": 2}, free, "c has none")
	require.Equal(t, 2, n)
	s.claimed(store.Claim{Free: free, Max: n, Bytes: 100}, brought("b", 2))
	free, _, n = s.free()
	require.Empty(t, free)
	require.Zero(t, n)
}

func TestSlots_ClaimedSaysWhetherToGoOn(t *testing.T) {
	big := brought("a", 1)
	big[0].Record.Body = make([]byte, 60)
	for name, c := range map[string]struct {
		ds    []store.Delivery
		freed string // in the middle of the claim
		want  bool
	}{
		"nothing":                                {nil, "", false},
		"less than asked for":                    {brought("a", 3), "", false},
		"all that the claim may bring":           {brought("a", 5), "", true},
		"too many bytes for more":                {big, "", true},
		"all of one that has no slot left":       {brought("b", 1), "", false},
		"the same, but one was freed meanwhile":  {brought("b", 1), "b", true},
		"less, and one was freed":                {brought("a", 3), "b", false},
		"all of one, and another's was freed":    {brought("b", 1), "a", false},
		"all that may be brought, and it is all": {append(brought("a", 4), brought("b", 1)...), "", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serving(20, map[string]int{"a": 8, "b": 2})
			require.True(t, s.reserve("a"))
			require.True(t, s.reserve("b"))
			free, _, _ := s.free()
			require.Equal(t, map[string]int{"a": 7, "b": 1}, free)
			if c.freed != "" {
				s.release(c.freed)
				require.False(t, kicked(s), "nobody knew that there was more")
			}
			require.Equal(t, c.want, s.claimed(store.Claim{Free: free, Max: 5, Bytes: 100}, c.ds))
		})
	}
}

func TestSlots_TurnsBoundWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serving(5, map[string]int{"a": 2, "b": 5})
		var mu sync.Mutex
		now, most := map[string]int{}, map[string]int{}
		note := func(n int, names ...string) {
			mu.Lock()
			defer mu.Unlock()
			for _, name := range names {
				now[name] += n
				most[name] = max(most[name], now[name])
			}
		}
		for i := range 100 {
			destination := []string{"a", "b"}[i%2]
			go func() {
				if !s.begin(t.Context(), destination, nil) {
					t.Error("nobody stopped it")
					return
				}
				note(1, destination, "all")
				time.Sleep(time.Duration(rand.N(1000)) * time.Millisecond)
				note(-1, destination, "all")
				s.end(destination)
			}()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, map[string]int{"a": 2, "b": most["b"], "all": 5}, most)
		require.Empty(t, s.turn)
		require.Empty(t, s.serves["a"].turn)
	})
}

// Whoever gives up waiting for the turn of all has given back his own.
func TestSlots_BeginGivesUp(t *testing.T) {
	for _, by := range []string{"stop", "context"} {
		t.Run(by, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serving(2, map[string]int{"a": 1, "b": 2})
				for range 2 {
					require.True(t, s.begin(t.Context(), "b", nil))
				}
				ctx, cancel := context.WithCancel(t.Context())
				stop := make(chan struct{})
				began := make(chan bool, 2)
				for range 2 {
					go func() { began <- s.begin(ctx, "a", stop) }()
				}
				synctest.Wait()
				if by == "stop" {
					close(stop)
				} else {
					cancel()
				}
				require.False(t, <-began)
				require.False(t, <-began)
				require.Empty(t, s.serves["a"].turn)
				require.Len(t, s.turn, 2)
				cancel()
			})
		})
	}
}

func TestSlots_Wait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serving(4, map[string]int{"a": 4})
		require.True(t, s.wait(0), "nothing is open")
		require.True(t, s.reserve("a"))
		require.True(t, s.reserve("a"))
		start := time.Now()
		require.False(t, s.wait(time.Second))
		require.Equal(t, time.Second, time.Since(start))
		go func() {
			s.done("a") // its slot is free, but it is not settled
			s.release("a")
			time.Sleep(3 * time.Second)
			s.settled()
		}()
		require.True(t, s.wait(time.Minute))
		require.Equal(t, 4*time.Second, time.Since(start))
		s.give(false)
		require.False(t, s.reserve("a"))
		require.True(t, s.wait(0))
	})
}

// The figures return to zero whatever happened in between.
func TestSlots_AccountsBalance(t *testing.T) {
	s := serving(8, map[string]int{"a": 8, "b": 3, "c": 1})
	var inHand []string
	for i := range 10_000 {
		switch d := fmt.Sprintf("%c", 'a'+rand.N(3)); rand.N(4) {
		case 0:
			free, _, n := s.free()
			if free[d] > 0 {
				k := 1 + rand.N(min(free[d], n))
				s.claimed(store.Claim{Free: free, Max: n, Bytes: 100}, brought(d, k))
				for range k {
					inHand = append(inHand, d)
				}
			}
		case 1:
			if s.reserve(d) {
				inHand = append(inHand, d)
			}
		default:
			if len(inHand) > 0 {
				k := rand.N(len(inHand))
				s.release(inHand[k])
				inHand = append(inHand[:k], inHand[k+1:]...)
			}
		}
		require.Equal(t, len(inHand), s.inHand, "step %d", i)
		require.LessOrEqual(t, s.inHand, 16)
		require.LessOrEqual(t, s.serves["c"].inHand, 1)
	}
	for _, d := range inHand {
		s.release(d)
	}
	require.Zero(t, s.inHand+s.open+s.serves["a"].inHand+s.serves["b"].inHand+s.serves["c"].inHand)
	require.True(t, s.wait(0))
}
