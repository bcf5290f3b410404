package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
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

// drawn draws a ticket.
func drawn(s *slots, destination string) *ticket {
	t := &ticket{}
	s.draw(t, destination)
	return t
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

// While nothing is known of the pace no more is in hand than may run; and whoever
// was refused is called for when a slot is free.
func TestSlots_ReserveBounds(t *testing.T) {
	s := serving(4, map[string]int{"limited": 3, "free": 4, "same": 9})
	count := func(destination string) (n int) {
		for s.reserve(destination) {
			n++
		}
		return n
	}
	require.Equal(t, 3, count("limited"))
	require.Equal(t, 1, count("free"), "4 in all")
	require.Zero(t, count("same"))

	// He gets no leases until a claim has found nothing older.
	require.False(t, kicked(s))
	s.release("limited")
	require.True(t, kicked(s))
	require.False(t, s.reserve("limited"))
	s.release("free")
	free, _, n := s.free()
	require.Equal(t, map[string]int{"limited": 1, "free": 2, "same": 2}, free)
	require.Equal(t, 2, n)
	require.False(t, s.claimed(store.Claim{Free: free, Max: n, Bytes: 100}, nil))
	require.True(t, s.reserve("limited"))
}

// Of what is quick some more may wait, of what is not the less the slower it is.
func TestSlots_Ahead(t *testing.T) {
	for took, want := range map[time.Duration]int{
		0: 4, time.Millisecond: 16, 25 * time.Millisecond: 12, 50 * time.Millisecond: 8, 100 * time.Millisecond: 6, 200 * time.Millisecond: 5, 201 * time.Millisecond: 4, time.Hour: 4,
	} {
		t.Run(took.String(), func(t *testing.T) {
			s := serving(40, map[string]int{"a": 4, "b": 40})
			require.True(t, s.reserve("a"))
			s.done("a", took)
			s.settled()
			free, _, _ := s.free()
			require.Equal(t, want, free["a"])
			require.Equal(t, 40, free["b"], "nothing is known of it")
			n := 0
			for s.reserve("a") {
				n++
			}
			require.Equal(t, want, n)
		})
	}
	t.Run("the last ones count more", func(t *testing.T) {
		p := pace(0)
		for range 20 {
			p.note(time.Millisecond)
		}
		require.Equal(t, 24, p.ahead(8))
		for range 4 {
			p.note(time.Second)
		}
		require.Zero(t, p.ahead(8))
		for range 40 {
			p.note(time.Millisecond)
		}
		require.Equal(t, 24, p.ahead(8))
	})
}

// The store is not asked for one at a time while others wait in hand.
func TestSlots_CallsWhenHalfIsGone(t *testing.T) {
	for _, all := range []int{4, 40} {
		s := serving(all, map[string]int{"a": 4})
		require.True(t, s.reserve("a"))
		s.done("a", time.Duration(aheadSpan))
		free, _, n := s.free()
		require.Equal(t, 8, n)
		s.claimed(store.Claim{Free: free, Max: n, Bytes: 100}, brought("a", 8))
		require.True(t, s.busy())
		for i := range 4 {
			s.done("a", time.Duration(aheadSpan))
			require.Equal(t, i >= 2, kicked(s), "of %d after %d", all, i+1)
			require.Equal(t, i < 2, s.busy())
		}
	}
}

// Whoever has nothing left in hand is called for by those who have.
func TestSlots_OthersCall(t *testing.T) {
	s := serving(4, map[string]int{"a": 2, "b": 4})
	require.True(t, s.reserve("a"))
	s.claimed(store.Claim{Free: map[string]int{"a": 1}, Max: 9, Bytes: 9}, brought("a", 1)) // there may be more
	require.True(t, s.reserve("b"))
	require.True(t, s.reserve("b"))
	s.pace, s.serves["b"].pace = aheadSpan, aheadSpan
	for range 4 {
		require.True(t, s.reserve("b"))
	}
	s.release("a")
	s.release("a")
	require.False(t, kicked(s), "enough is in hand")
	s.release("b")
	require.True(t, kicked(s))
}

// What waits for others of its destination takes no place from those of another.
func TestSlots_Crowd(t *testing.T) {
	s := serving(4, map[string]int{"a": 2, "b": 4})
	s.serves["a"].pace = aheadSpan
	for range 4 {
		require.True(t, s.reserve("a"))
	}
	require.False(t, s.reserve("a"))
	require.True(t, s.reserve("b"))
	require.True(t, s.reserve("b"))
	require.False(t, s.reserve("b"), "two of each may run")
	for range 4 {
		s.release("a")
	}
	require.Zero(t, s.crowd)
	require.Equal(t, 2, s.inHand)
}

func TestSlots_CrowdByAnotherLimit(t *testing.T) {
	s, limit := newSlots(20), 4
	s.serve(nil, func(string) int { return limit })
	s.give(true)
	require.True(t, s.reserve("a"))
	s.serves["a"].pace = aheadSpan
	for range 7 {
		require.True(t, s.reserve("a"))
	}
	require.Equal(t, 4, s.crowd)
	limit = 2
	s.done("a", 1)
	require.Equal(t, 5, s.crowd)
	limit = 5
	s.done("a", 1)
	require.Equal(t, 1, s.crowd)
	for s.inHand > 0 {
		s.done("a", 1)
	}
	require.Zero(t, s.crowd)
}

// A share that stays without anything in hand is no reason to ask the store at once.
func TestSlots_BusyBesideAnIdleShare(t *testing.T) {
	s := newSlots(20)
	s.serve(nil, func(destination string) int {
		if destination == "a" {
			return 1
		}
		return 2
	})
	s.give(true)
	require.True(t, s.reserve("a"))
	s.release("a")
	require.Contains(t, s.serves, "a")
	require.True(t, s.reserve("b"))
	require.False(t, s.busy())
	require.True(t, s.reserve("b"))
	require.True(t, s.busy())
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
			s.done("a", time.Second) // its slot is free, but it is not settled
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

// A claim that left work for a slot which was freed and taken again meanwhile: whoever
// ends next calls for it.
func TestSlots_ClaimedWithoutASlotLeft(t *testing.T) {
	s := serving(4, map[string]int{"a": 2, "b": 4})
	require.True(t, s.reserve("a"))
	require.True(t, s.reserve("b"))
	free, _, n := s.free()
	s.release("a")
	require.True(t, s.reserve("b"))
	require.True(t, s.reserve("b"))
	require.False(t, s.claimed(store.Claim{Free: free, Max: n, Bytes: 1000}, brought("a", 1)))
	s.release("b")
	require.True(t, kicked(s))
}

func TestSlots_NoLimitToSpeakOf(t *testing.T) {
	s := serving(math.MaxInt, map[string]int{"a": math.MaxInt})
	require.True(t, s.reserve("a"))
	s.done("a", time.Millisecond)
	_, _, n := s.free()
	require.Positive(t, n)
}
