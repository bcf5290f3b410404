package sqlite_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// A cursor may have come from a URL: one that no page ended with is refused, or is
// beyond the end. None makes Find look at rows that cannot be.
func TestFind_ForeignCursor(t *testing.T) {
	st := open(t, file(t))
	add(t, st, event("e", "work"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, cursor := range []string{"-1y2p0ij32e8e8", "no cursor", "-1", "1y2p0ij32e8e8"} {
		_, _, err := st.Find(ctx, queue, store.Filter{}, cursor, 0)
		require.ErrorIs(t, err, store.ErrBadData, cursor)
	}
	page, next, err := st.Find(ctx, queue, store.Filter{}, "1y2p0ij32e8e7", 0)
	require.NoError(t, err)
	require.Empty(t, page)
	require.Empty(t, next)
}
