package recent_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/internal/recent"
)

func TestMemo(t *testing.T) {
	made := map[int]int{}
	m := recent.New(3, func(k int) (int, error) {
		made[k]++
		if k < 0 {
			return 0, errors.New("negative")
		}
		return 10 * k, nil
	})
	of := func(ks ...int) {
		for _, k := range ks {
			v, err := m.Of(k)
			require.NoError(t, err)
			require.Equal(t, 10*k, v)
		}
	}
	of(1, 2, 3, 1, 2, 3)
	require.Equal(t, map[int]int{1: 1, 2: 1, 3: 1}, made, "each once")
	of(4, 1, 5, 6) // 1 is in use still when 2 and 3 are forgotten
	of(1)
	require.Equal(t, 1, made[1])
	of(2)
	require.Equal(t, 2, made[2])
	for range 2 {
		_, err := m.Of(-1)
		require.EqualError(t, err, "negative")
	}
	require.Equal(t, 2, made[-1], "errors are not kept")
}

func TestMemo_Concurrent(t *testing.T) {
	m := recent.New(4, func(k int) (int, error) { return -k, nil })
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 1000 {
				if v, err := m.Of((i * j) % 13); v != -((i*j)%13) || err != nil {
					t.Error(v, err)
				}
			}
		})
	}
	wg.Wait()
}
