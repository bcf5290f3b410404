package memory_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
	"github.com/surehook/webhook/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Backend{
		Open: func(tb testing.TB) store.Store {
			tb.Helper()
			st := memory.New()
			tb.Cleanup(func() { require.NoError(tb, st.Close()) })
			return st
		},
		Advance: func(st store.Store, d time.Duration) {
			st.(*memory.Store).Advance(d)
		},
	})
}
