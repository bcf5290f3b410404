package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// A caller that leaves while its job is written waits for the outcome, but not
// for more tries: nothing was written, and nobody would be told of it.
func TestGroup_NoMoreTriesForWhoLeftDuringTheWrite(t *testing.T) {
	w := &writes{took: time.Second, err: func([]int, int) error { return store.ErrRetry }}
	inBubble(t, w, store.GroupConfig[int]{}, func(b bubble) {
		t, g := b.t, b.g
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		o := callers(ctx, g, 1)()[1]
		require.ErrorIs(t, o.err, store.ErrRetry)
		require.Equal(t, time.Second, o.at)
		g.Close()
		require.Len(t, w.all(), 1)
	})
}

// The first of those that wait to lose its patience decides, whoever came first.
func TestGroup_LeastPatience(t *testing.T) {
	patience := func(j int) time.Duration { return time.Duration(j) * time.Second }
	w := &writes{}
	inBubble(t, w, store.GroupConfig[int]{Patience: patience}, func(b bubble) {
		t, g := b.t, b.g
		all := callers(t.Context(), g, 100, 2, 1, 50)()
		require.Equal(t, [][]int{{100, 2, 1, 50}}, w.all())
		require.Equal(t, time.Second, all[100].at)

		ctx, cancel := context.WithCancel(t.Context())
		left := callers(ctx, g, 3)
		stayed := callers(t.Context(), g, 7)
		cancel()
		require.ErrorIs(t, left()[3].err, context.Canceled)
		require.Equal(t, 7*time.Second, stayed()[7].at, "who left has no say")
	})
}
