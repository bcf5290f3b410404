package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

func TestGroup_CloseWaitsForWhoIsIn(t *testing.T) {
	w := &writes{took: time.Second, err: func(jobs []int, _ int) error {
		if slices.Contains(jobs, 9) {
			return store.ErrRetry
		}
		return nil
	}}
	patient := func(j int) time.Duration { return time.Duration(j/100) * time.Hour }
	inBubble(t, w, store.GroupConfig[int]{Patience: patient}, func(b bubble) {
		t, g := b.t, b.g
		aside := callers(t.Context(), g, 9)
		time.Sleep(time.Second + time.Nanosecond) // on the side now
		in := callers(t.Context(), g, 1, 2, 100)
		g.Close()
		for j, o := range in() {
			require.NoError(t, o.err, "job %d was in: Close waits for it", j)
		}
		require.ErrorIs(t, aside()[9].err, store.ErrClosed)
		_, err := g.Do(t.Context(), 3)
		require.ErrorIs(t, err, store.ErrClosed)
		g.Close()
	})
}

// closing closes b's Group and returns how long that took.
func (b bubble) closing() time.Duration {
	start := time.Now()
	b.g.Close()
	return time.Since(start)
}

func TestGroup_CloseWaitsForTheWrite(t *testing.T) {
	inBubble(t, &writes{took: time.Second}, store.GroupConfig[int]{}, func(b bubble) {
		in := callers(b.t.Context(), b.g, 1)
		require.Equal(b.t, time.Second, b.closing())
		require.NoError(b.t, in()[1].err)
	})
}

// Who would wait for company is written at once: none will come.
func TestGroup_CloseEndsPatience(t *testing.T) {
	hour := func(int) time.Duration { return time.Hour }
	inBubble(t, &writes{took: time.Second}, store.GroupConfig[int]{Patience: hour}, func(b bubble) {
		in := callers(b.t.Context(), b.g, 1)
		require.Equal(b.t, time.Second, b.closing())
		require.NoError(b.t, in()[1].err)

		idle := bubble{b.t, store.NewGroup((&writes{}).write, store.GroupConfig[int]{Patience: hour})}
		require.Zero(b.t, idle.closing())
	})
	w := &writes{took: time.Second}
	inBubble(t, w, store.GroupConfig[int]{Patience: func(j int) time.Duration { return time.Duration(j) * time.Hour }}, func(b bubble) {
		in := callers(b.t.Context(), b.g, 0, 1) // 1 came during the write of 0
		require.Equal(b.t, 2*time.Second, b.closing())
		require.NoError(b.t, in()[1].err)
	})
}

// Who is on the side has no further try, and neither has who would go there.
func TestGroup_CloseEndsTries(t *testing.T) {
	w := &writes{took: time.Second, err: func([]int, int) error { return store.ErrRetry }}
	inBubble(t, w, store.GroupConfig[int]{}, func(b bubble) {
		aside := callers(b.t.Context(), b.g, 1)
		time.Sleep(time.Second + time.Nanosecond)
		took := b.closing()
		require.Less(b.t, took, time.Second)
		o := aside()[1]
		require.ErrorIs(b.t, o.err, store.ErrClosed)
		require.Equal(b.t, time.Second+time.Nanosecond+took, o.at, "Close waits until it is told")
		require.Len(b.t, w.all(), 1)
	})
	inBubble(t, w, store.GroupConfig[int]{}, func(b bubble) {
		writing := callers(b.t.Context(), b.g, 1)
		require.Equal(b.t, time.Second, b.closing())
		require.ErrorIs(b.t, writing()[1].err, store.ErrRetry)
	})
}

// The patience of a job ends with its first try: it is in a hurry afterwards.
func TestGroup_NoPatienceOnTheSide(t *testing.T) {
	w := &writes{err: func(_ []int, n int) error {
		if n <= 2 { // of both together, and of the patient one, which comes first
			return store.ErrRetry
		}
		return nil
	}}
	c := store.GroupConfig[int]{Patience: func(j int) time.Duration { return time.Duration(j) * time.Hour }}
	inBubble(t, w, c, func(b bubble) {
		all := callers(b.t.Context(), b.g, 1, 0)()
		require.Equal(b.t, [][]int{{1, 0}, {1}, {0}, {1}}, w.all())
		require.NoError(b.t, all[1].err)
		require.Less(b.t, all[1].at, time.Second)
	})
}
