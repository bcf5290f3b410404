package engine

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

func TestTurns_InOrder(t *testing.T) {
	s := serving(3, map[string]int{"a": 1, "b": 3})
	var ts []*ticket
	for _, d := range []string{"a", "a", "a", "b", "b", "b", "b"} {
		ts = append(ts, drawn(s, d))
	}
	runs := func() (now []int) {
		for i, ticket := range ts {
			if ticket.may {
				now = append(now, i)
			}
		}
		return now
	}
	require.Equal(t, []int{0, 3, 4}, runs())
	s.end(ts[0]) // to the first b that waits: it came to the turns of all before the second a
	require.Equal(t, []int{0, 3, 4, 5}, runs())
	s.end(ts[3])
	require.Equal(t, []int{0, 3, 4, 5, 6}, runs())
	s.end(ts[4])
	require.Equal(t, []int{0, 1, 3, 4, 5, 6}, runs())
	s.end(ts[1])
	require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6}, runs())
	for _, i := range []int{2, 5, 6} {
		s.end(ts[i])
	}
	require.Zero(t, s.turns.running+s.serves["a"].turns.running)
}

// More that may run are those who came first; of fewer, those that run run on.
func TestTurns_Resize(t *testing.T) {
	q := &turns{limit: 1}
	ts := make([]*ticket, 5)
	for i := range ts {
		ts[i] = &ticket{}
		require.Equal(t, i == 0, q.take(ts[i]))
	}
	require.Equal(t, ts[1:3], q.resize(3))
	require.Equal(t, 3, q.running)
	require.Empty(t, q.resize(1))
	require.Nil(t, q.pass())
	require.Nil(t, q.pass())
	require.Same(t, ts[3], q.pass())
	require.Equal(t, 1, q.running)
}

// A turn that is granted at the moment in which its owner gives up is not lost.
func TestTurns_GrantedWhileGivingUp(t *testing.T) {
	stop := make(chan struct{})
	close(stop)
	for range 50 { // a select between two that are ready is random
		s := serving(1, map[string]int{"a": 1})
		first, second := drawn(s, "a"), drawn(s, "a")
		s.end(first)
		require.Equal(t, began, s.begin(t.Context(), second, stop))
		s.end(second)
		require.Zero(t, s.turns.running)
	}
}

func TestTurns_BoundWhatRuns(t *testing.T) {
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
				turn := drawn(s, destination)
				for s.begin(t.Context(), turn, nil) == waitedLong {
					turn = drawn(s, destination)
				}
				note(1, destination, "all")
				time.Sleep(time.Duration(rand.N(1000)) * time.Millisecond)
				note(-1, destination, "all")
				s.end(turn)
			}()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, map[string]int{"a": 2, "b": most["b"], "all": 5}, most)
		require.Equal(t, turns{limit: 5, waiting: []*ticket{}}, s.turns)
		require.Equal(t, &turns{limit: 2, waiting: []*ticket{}}, s.serves["a"].turns)
	})
}

// Whoever gives up waiting for the turn of all has given back his own.
func TestTurns_GivenUp(t *testing.T) {
	for by, want := range map[string]entry{"stop": gaveUp, "context": gaveUp, "time": waitedLong} {
		t.Run(by, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serving(2, map[string]int{"a": 1, "b": 2})
				for range 2 {
					require.Equal(t, began, s.begin(t.Context(), drawn(s, "b"), nil))
				}
				ctx, cancel := context.WithCancel(t.Context())
				stop := make(chan struct{})
				ends := make(chan entry, 2)
				for range 2 {
					turn := drawn(s, "a")
					go func() { ends <- s.begin(ctx, turn, stop) }()
				}
				synctest.Wait()
				start := time.Now()
				switch by {
				case "stop":
					close(stop)
				case "context":
					cancel()
				}
				require.Equal(t, want, <-ends)
				require.Equal(t, want, <-ends)
				require.Equal(t, by == "time", time.Since(start) == maxWait)
				require.Equal(t, &turns{limit: 1, waiting: []*ticket{}}, s.serves["a"].turns)
				require.Equal(t, turns{limit: 2, running: 2, waiting: []*ticket{}}, s.turns)
				cancel()
			})
		})
	}
}

// Whatever comes of tickets, of destinations that come and go, no limit is passed and
// the figures return to zero.
func TestTurns_Random(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 6
		own := func(destination string) int {
			if destination == "" {
				return 2
			}
			return 1 + int(destination[0]-'a')%3
		}
		s := newSlots(limit)
		s.serve(nil, own)
		s.give(true)
		var mu sync.Mutex
		now := map[string]int{}
		note := func(n int, names ...string) {
			mu.Lock()
			defer mu.Unlock()
			for _, name := range names {
				now[name] += n
			}
			if now["all"] > limit || now[names[0]] > own(names[0]) {
				t.Errorf("%d at once, %d of %s", now["all"], now[names[0]], names[0])
			}
		}
		attempt := func(destination string, turn *ticket) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.N(200))*time.Millisecond)
			defer cancel()
			took := time.Duration(rand.N(30)) * time.Millisecond
			if s.begin(ctx, turn, nil) == began {
				note(1, destination, "all")
				time.Sleep(took)
				note(-1, destination, "all")
				s.end(turn)
			}
			s.done(destination, took)
			s.settled()
		}
		for i := range 10_000 {
			d := string(rune('a' + rand.N(6)))
			switch free, other, n := s.free(); {
			case rand.N(2) == 0:
				if s.reserve(d) {
					go attempt(d, drawn(s, d))
				}
			case n > 0:
				k, named := free[d]
				if !named {
					k = other
				}
				k = min(k, n, own(d)) // the store does not ask for more once it knows
				s.claimed(store.Claim{Free: free, Other: other, Max: n, Bytes: 100}, brought(d, k))
				for range k {
					go attempt(d, drawn(s, d))
				}
			}
			if i%3 == 0 {
				time.Sleep(time.Duration(rand.N(10)) * time.Millisecond)
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Zero(t, s.inHand+s.crowd+s.open+s.turns.running+len(s.turns.waiting))
		for d, sh := range s.serves {
			require.Less(t, own(d), own(""), "the share of %s stays", d)
			require.Zero(t, sh.turns.running+len(sh.turns.waiting))
		}
	})
}
