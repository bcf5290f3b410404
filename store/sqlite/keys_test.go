package sqlite_test

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

func owner() (o [16]byte) {
	_, _ = rand.Read(o[:])
	return o
}

func keyOf(word any) [][32]byte { return [][32]byte{sha256.Sum256(fmt.Append(nil, word))} }

// Requests that come at once share commits: what waits for the writer is one write.
func TestKeys_ShareCommits(t *testing.T) {
	st := open(t, file(t))
	commits := st.CountKeysCommits()
	together := func(f func(i int) error) int64 {
		before := commits.Load()
		unlock := st.LockWriter()
		var calling, wg sync.WaitGroup
		calling.Add(64)
		errs := make([]error, 64)
		for i := range errs {
			wg.Go(func() {
				calling.Done()
				errs[i] = f(i)
			})
		}
		calling.Wait() // who is a little late costs a commit more
		unlock()
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		return commits.Load() - before
	}
	owners := make([][16]byte, 64)
	for i := range owners {
		owners[i] = owner()
	}
	require.LessOrEqual(t, together(func(i int) error {
		_, err := st.Reserve(t.Context(), owners[i], keyOf(i), time.Minute)
		return err
	}), int64(32), "commits of 64 reservations")
	require.LessOrEqual(t, together(func(i int) error {
		return st.Confirm(t.Context(), owners[i], keyOf(i), time.Hour)
	}), int64(32), "commits of 64 confirmations")
}

// A refused reservation costs its neighbours in the commit nothing.
func TestKeys_RefusedBesideOthers(t *testing.T) {
	st := open(t, file(t))
	_, err := st.Reserve(t.Context(), owner(), keyOf("taken"), time.Minute)
	require.NoError(t, err)
	unlock := st.LockWriter()
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() {
			keys := keyOf(i)
			if i%2 == 0 {
				keys = append(keys, keyOf("taken")...)
			}
			_, errs[i] = st.Reserve(t.Context(), owner(), keys, time.Minute)
		})
	}
	unlock()
	wg.Wait()
	for i, err := range errs {
		if i%2 == 0 {
			require.ErrorIs(t, err, store.ErrReserved)
			_, err = st.Reserve(t.Context(), owner(), keyOf(i), time.Minute)
		}
		require.NoError(t, err, "key %d", i)
	}
}

// A file that cannot be written refuses, takes nothing, and is forgotten when it can.
func TestKeys_ReadOnly(t *testing.T) {
	st := open(t, file(t))
	o := owner()
	_, err := st.Reserve(t.Context(), o, keyOf("a"), time.Minute)
	require.NoError(t, err)
	_, err = st.OnWriter("PRAGMA query_only = 1")
	require.NoError(t, err)
	_, err = st.Reserve(t.Context(), o, keyOf("b"), time.Minute)
	require.ErrorContains(t, err, "webhook: reserve keys: ")
	require.ErrorContains(t, st.Confirm(t.Context(), o, keyOf("a"), time.Hour), "webhook: confirm keys: ")
	require.ErrorContains(t, st.Release(t.Context(), o, keyOf("a")), "webhook: release keys: ")

	_, err = st.OnWriter("PRAGMA query_only = 0")
	require.NoError(t, err)
	_, err = st.Reserve(t.Context(), owner(), keyOf("b"), time.Minute)
	require.NoError(t, err, "was not taken")
	_, err = st.Reserve(t.Context(), owner(), keyOf("a"), time.Minute)
	require.ErrorIs(t, err, store.ErrReserved)
	require.NoError(t, st.Confirm(t.Context(), o, keyOf("a"), time.Hour))
}

// A duplicate writes nothing: the log beside the file does not grow.
func TestKeys_KnownWritesNothing(t *testing.T) {
	path := file(t)
	st := open(t, path)
	require.NoError(t, st.Confirm(t.Context(), owner(), keyOf("a"), time.Hour))
	size := func() int64 {
		info, err := os.Stat(path + "-wal")
		require.NoError(t, err)
		return info.Size()
	}
	before := size()
	for range 20 {
		known, err := st.Reserve(t.Context(), owner(), keyOf("a"), time.Minute)
		require.NoError(t, err)
		require.True(t, known[0])
	}
	require.Equal(t, before, size())
}

func TestKeys_Closed(t *testing.T) {
	st := open(t, file(t))
	require.NoError(t, st.Close())
	_, err := st.Reserve(t.Context(), owner(), keyOf("a"), time.Minute)
	require.ErrorIs(t, err, store.ErrClosed)
	require.ErrorIs(t, st.Confirm(t.Context(), owner(), keyOf("a"), time.Hour), store.ErrClosed)
	require.ErrorIs(t, st.Release(t.Context(), owner(), keyOf("a")), store.ErrClosed)
}
