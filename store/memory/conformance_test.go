package memory_test

import (
	"context"
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

func TestKeys(t *testing.T) {
	storetest.RunKeys(t, storetest.KeysBackend{
		Open:    func(testing.TB) store.Keys { return memory.New() },
		Advance: func(k store.Keys, d time.Duration) { k.(*memory.Store).Advance(d) },
		Size:    func(_ testing.TB, k store.Keys) int { return k.(*memory.Store).Keys() },
		Transact: func(ctx context.Context, _ store.Keys, f func(ctx context.Context) error) error {
			return f(store.InTx(ctx)) // of another store, whose handler calls this one
		},
	})
}
