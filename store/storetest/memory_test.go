package storetest_test

import (
	"testing"
	"time"

	"github.com/surehook/webhook/store"
	"github.com/surehook/webhook/store/memory"
	"github.com/surehook/webhook/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, inMemory())
}

// inMemory is the store that the suite is tried on.
func inMemory() storetest.Backend {
	return storetest.Backend{
		Open: func(tb testing.TB) store.Store {
			tb.Helper()
			st := memory.New()
			tb.Cleanup(func() {
				if err := st.Close(); err != nil {
					tb.Error(err)
				}
			})
			return st
		},
		Advance: func(st store.Store, d time.Duration) { st.(*memory.Store).Advance(d) },
	}
}
