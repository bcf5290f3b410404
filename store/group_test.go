package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/store"
)

// writes is a backend that remembers what was written together. A job is a number;
// its result is its square.
type writes struct {
	mu    sync.Mutex
	lists [][]int
	took  time.Duration                   // of each write
	err   func(jobs []int, n int) error   // of the n-th write, counted from 1
	ctx   func(ctx context.Context) error // looks at a write's context
}

func (w *writes) write(ctx context.Context, jobs []int) ([]int, error) {
	w.mu.Lock()
	w.lists = append(w.lists, slices.Clone(jobs))
	n := len(w.lists)
	w.mu.Unlock()
	if w.took > 0 {
		time.Sleep(w.took)
	}
	if w.ctx != nil {
		if err := w.ctx(ctx); err != nil {
			return nil, err
		}
	}
	if w.err != nil {
		if err := w.err(jobs, n); err != nil {
			return nil, err
		}
	}
	squares := make([]int, len(jobs))
	for i, j := range jobs {
		squares[i] = j * j
	}
	return squares, nil
}

func (w *writes) all() [][]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.lists)
}

// inBubble runs f with a Group over w, and requires that nothing is left running.
func inBubble(t *testing.T, w *writes, c store.GroupConfig[int], f func(b bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(bubble{t, store.NewGroup(w.write, c)}) })
}

// bubble is the test inside of a bubble, whose context is the bubble's, and the
// Group that it is about.
type bubble struct {
	t *testing.T
	g *store.Group[int, int]
}

// outcome is what a caller of Do got.
type outcome struct {
	j, r int
	err  error
	at   time.Duration // since the bubble's beginning
}

// callers calls Do for each job at once, in order, and returns how to wait for all.
func callers(ctx context.Context, g *store.Group[int, int], jobs ...int) (wait func() map[int]outcome) {
	start := time.Now()
	done := make(chan outcome, len(jobs))
	for _, j := range jobs {
		go func() {
			r, err := g.Do(ctx, j)
			done <- outcome{j, r, err, time.Since(start)}
		}()
		synctest.Wait() // so that they arrive in order
	}
	return func() map[int]outcome {
		all := map[int]outcome{}
		for range jobs {
			o := <-done
			all[o.j] = o
		}
		return all
	}
}

func numbers(from, to int) (n []int) {
	for i := from; i <= to; i++ {
		n = append(n, i)
	}
	return n
}

func TestGroup_FirstGoesAtOnceTheOthersTogether(t *testing.T) {
	w := &writes{took: time.Millisecond}
	inBubble(t, w, store.GroupConfig[int]{}, func(b bubble) {
		t, g := b.t, b.g
		all := callers(t.Context(), g, numbers(1, 64)...)()
		require.Equal(t, [][]int{{1}, numbers(2, 64)}, w.all())
		for j, o := range all {
			require.NoError(t, o.err)
			require.Equal(t, j*j, o.r, "each gets its own result")
		}
		require.Equal(t, time.Millisecond, all[1].at)
		require.Equal(t, 2*time.Millisecond, all[64].at)
	})
}

func TestGroup_BoundsAndOrder(t *testing.T) {
	for name, c := range map[string]struct {
		config store.GroupConfig[int]
		want   [][]int
	}{
		"items":              {store.GroupConfig[int]{MaxItems: 3}, [][]int{{1}, {2, 3, 4}, {5, 6, 7}, {8}}},
		"items of a job":     {store.GroupConfig[int]{MaxItems: 9, Items: func(j int) int { return j }}, [][]int{{1}, {2, 3, 4}, {5}, {6}, {7}, {8}}},
		"bytes":              {store.GroupConfig[int]{MaxBytes: 9, Bytes: func(j int) int { return j }}, [][]int{{1}, {2, 3, 4}, {5}, {6}, {7}, {8}}},
		"a larger job alone": {store.GroupConfig[int]{MaxBytes: 100, Bytes: func(j int) int { return 30 + 1000*(j/5%2) }}, [][]int{{1}, {2, 3, 4}, {5}, {6}, {7}, {8}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &writes{took: time.Millisecond}
			inBubble(t, w, c.config, func(b bubble) {
				t, g := b.t, b.g
				callers(t.Context(), g, numbers(1, 8)...)()
				require.Equal(t, c.want, w.all())
			})
		})
	}
}

func TestGroup_BadDataFailsAlone(t *testing.T) {
	bad := fmt.Errorf("item 40: %w", store.ErrBadData)
	w := &writes{took: time.Millisecond, err: func(jobs []int, _ int) error {
		if slices.Contains(jobs, 40) {
			return bad
		}
		return nil
	}}
	inBubble(t, w, store.GroupConfig[int]{}, func(b bubble) {
		t, g := b.t, b.g
		for j, o := range callers(t.Context(), g, numbers(1, 64)...)() {
			if j == 40 {
				require.Equal(t, bad, o.err)
				continue
			}
			require.NoError(t, o.err)
			require.Equal(t, j*j, o.r)
		}
		require.LessOrEqual(t, len(w.all()), 2+2*6, "halving, not one by one")
	})
}

// One of 256 meets a locked row for a second: it alone waits for that.
func TestGroup_ManyBesideOneLockedRow(t *testing.T) {
	begin := time.Time{}
	w := &writes{took: time.Millisecond, err: func(jobs []int, _ int) error {
		if slices.Contains(jobs, 100) && time.Since(begin) < time.Second {
			time.Sleep(20 * time.Millisecond) // as long as a backend tries
			return store.ErrRetry
		}
		return nil
	}}
	inBubble(t, w, store.GroupConfig[int]{}, func(b bubble) {
		t, g := b.t, b.g
		begin = time.Now()
		all := callers(t.Context(), g, numbers(1, 256)...)()
		for j, o := range all {
			require.NoError(t, o.err)
			require.Equal(t, j*j, o.r)
			if j != 100 {
				require.Less(t, o.at, 300*time.Millisecond, "job %d", j)
			}
		}
		require.GreaterOrEqual(t, all[100].at, time.Second)
		require.Less(t, all[100].at, 3*time.Second)

		// While it is on the side, others are written as if it were not there.
		begin = time.Now()
		culprit := callers(t.Context(), g, 100)
		first := len(w.all())
		var others sync.WaitGroup
		for j := 200; j < 4000; j++ {
			others.Go(func() { _, _ = g.Do(t.Context(), j) })
			time.Sleep(300 * time.Microsecond)
		}
		others.Wait()
		require.NoError(t, culprit()[100].err)
		for _, list := range w.all()[first:] {
			require.True(t, !slices.Contains(list, 100) || len(list) == 1, "a culprit of the moment goes alone, not with %v", list)
		}
	})
}

func TestGroup_GivesUpAfterTimeout(t *testing.T) {
	w := &writes{err: func([]int, int) error { return store.ErrRetry }}
	inBubble(t, w, store.GroupConfig[int]{Timeout: 2 * time.Second}, func(b bubble) {
		t, g := b.t, b.g
		o := callers(t.Context(), g, 1)()[1]
		require.ErrorIs(t, o.err, store.ErrRetry)
		require.InDelta(t, 2.0, o.at.Seconds(), 0.7)
	})
}

func TestGroup_CallerLeaves(t *testing.T) {
	w := &writes{took: time.Second}
	inBubble(t, w, store.GroupConfig[int]{}, func(b bubble) {
		t, g := b.t, b.g
		ctx, cancel := context.WithCancel(t.Context())
		writing := callers(ctx, g, 1)
		waiting := callers(ctx, g, 2)
		neighbours := callers(t.Context(), g, 3)
		cancel()
		left := waiting()[2]
		require.ErrorIs(t, left.err, context.Canceled)
		require.Zero(t, left.at, "before a writer has it, a caller leaves at once")
		stayed := writing()[1]
		require.NoError(t, stayed.err, "afterwards it is told what became of it")
		require.Equal(t, time.Second, stayed.at)
		require.NoError(t, neighbours()[3].err)
		require.Equal(t, [][]int{{1}, {3}}, w.all(), "the job of who left is not written")

		_, err := g.Do(ctx, 4)
		require.ErrorIs(t, err, context.Canceled)
		synctest.Wait()
		require.Len(t, w.all(), 2, "nor that of who had left before")
	})
}

func TestGroup_CallerLeavesTheSide(t *testing.T) {
	w := &writes{err: func([]int, int) error { return store.ErrRetry }}
	inBubble(t, w, store.GroupConfig[int]{}, func(b bubble) {
		t, g := b.t, b.g
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, callers(ctx, g, 1)()[1].err, context.DeadlineExceeded)
		n := len(w.all())
		time.Sleep(10 * time.Second)
		require.Len(t, w.all(), n, "nobody tries for who left")
	})
}

func TestGroup_WriteThatFails(t *testing.T) {
	down := errors.New("connection reset")
	w := &writes{took: time.Millisecond, err: func(_ []int, n int) error {
		if n == 2 {
			return down
		}
		return nil
	}}
	inBubble(t, w, store.GroupConfig[int]{}, func(b bubble) {
		t, g := b.t, b.g
		for j, o := range callers(t.Context(), g, 1, 2, 3)() {
			if j == 1 {
				require.NoError(t, o.err)
			} else {
				require.Equal(t, down, o.err, "nothing is known of any job of the write")
			}
		}
		require.Len(t, w.all(), 2, "an unknown outcome is not tried again here")
		require.NoError(t, callers(t.Context(), g, 4)()[4].err)
	})
}

func TestGroup_WrongNumberOfResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := store.NewGroup(func(context.Context, []int) ([]int, error) { return nil, nil }, store.GroupConfig[int]{})
		_, err := g.Do(t.Context(), 1)
		require.ErrorContains(t, err, "1 jobs and returned 0 results")
	})
}

func TestGroup_SeveralWrites(t *testing.T) {
	w := &writes{took: time.Second}
	inBubble(t, w, store.GroupConfig[int]{Writes: 2}, func(b bubble) {
		t, g := b.t, b.g
		all := callers(t.Context(), g, 1, 2, 3, 4)()
		require.Equal(t, [][]int{{1}, {2}, {3, 4}}, w.all())
		require.Equal(t, time.Second, all[2].at, "the second write does not wait for the first")
		require.Equal(t, 2*time.Second, all[4].at)
	})
}

func TestGroup_WriteHasAContextOfItsOwn(t *testing.T) {
	type key struct{}
	w := &writes{ctx: func(ctx context.Context) error {
		if ctx.Value(key{}) != nil {
			return errors.New("it is a caller's")
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	inBubble(t, w, store.GroupConfig[int]{}, func(b bubble) {
		t, g := b.t, b.g
		o := callers(context.WithValue(t.Context(), key{}, true), g, 1)()[1]
		require.ErrorIs(t, o.err, context.DeadlineExceeded)
		require.Equal(t, 10*time.Second, o.at)
	})
}

func TestGroup_Patience(t *testing.T) {
	odd := func(j int) time.Duration { return time.Duration(j%2) * 3 * time.Millisecond }
	w := &writes{took: time.Millisecond}
	inBubble(t, w, store.GroupConfig[int]{Patience: odd}, func(b bubble) {
		t, g := b.t, b.g
		alone := callers(t.Context(), g, 1)()
		require.Equal(t, 4*time.Millisecond, alone[1].at, "nobody came: it goes when its patience ends")

		patient := callers(t.Context(), g, 3, 5)
		time.Sleep(time.Millisecond)
		urgent := callers(t.Context(), g, 2)
		require.Equal(t, time.Millisecond, urgent()[2].at, "who has no patience goes at once")
		require.Equal(t, 2*time.Millisecond, patient()[5].at, "and takes along who is there")

		during := callers(t.Context(), g, 4, 7)()
		require.Equal(t, time.Millisecond, during[4].at)
		require.Equal(t, 4*time.Millisecond, during[7].at, "it waits on, though a writer was free before")
		require.Equal(t, [][]int{{1}, {3, 5, 2}, {4}, {7}}, w.all())
	})
}

func TestGroup_PatientCallerLeaves(t *testing.T) {
	w := &writes{}
	c := store.GroupConfig[int]{Patience: func(int) time.Duration { return time.Second }}
	inBubble(t, w, c, func(b bubble) {
		t, g := b.t, b.g
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, callers(ctx, g, 1)()[1].err, context.DeadlineExceeded)
		time.Sleep(2 * time.Second)
		require.Empty(t, w.all())
		require.NoError(t, callers(t.Context(), g, 2)()[2].err, "the next is written all the same")
	})
}

func TestGroup_InTransaction(t *testing.T) {
	w := &writes{}
	inBubble(t, w, store.GroupConfig[int]{}, func(b bubble) {
		t, g := b.t, b.g
		_, err := g.Do(store.InTx(t.Context()), 1)
		require.ErrorIs(t, err, store.ErrInTransaction)
		require.Empty(t, w.all())
	})
}

func TestGroup_NothingRunsWhenIdle(t *testing.T) {
	running := func() int { // goroutines that are in a Group's methods
		stacks := make([]byte, 1<<20)
		return bytes.Count(stacks[:runtime.Stack(stacks, true)], []byte("store.(*Group[...]).run("))
	}
	inBubble(t, &writes{took: time.Millisecond}, store.GroupConfig[int]{}, func(b bubble) {
		t, g := b.t, b.g
		wait := callers(t.Context(), g, numbers(1, 100)...)
		require.Equal(t, 1, running(), "while it writes")
		wait()
		synctest.Wait()
		require.Zero(t, running())
	})
}

// Many callers, some of whom leave, some with bad data: each job is written once,
// or not at all, as its caller was told.
func TestGroup_Crowd(t *testing.T) {
	written := map[int]int{}
	w := &writes{err: func(jobs []int, n int) error {
		if slices.ContainsFunc(jobs, func(j int) bool { return j%97 == 0 }) {
			return store.ErrBadData
		}
		if n%13 == 0 {
			return store.ErrRetry
		}
		for _, j := range jobs { // one write at a time
			written[j]++
		}
		return nil
	}}
	g := store.NewGroup(w.write, store.GroupConfig[int]{MaxItems: 50})
	var told [4000]atomic.Int32 // 1: written, 2: bad data, 3: left
	var wg sync.WaitGroup
	for j := range told {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if j%11 == 0 {
				cancel()
			}
			_, err := g.Do(ctx, j)
			switch {
			case err == nil:
				told[j].Store(1)
			case errors.Is(err, store.ErrBadData):
				told[j].Store(2)
			case errors.Is(err, context.Canceled):
				told[j].Store(3)
			}
		})
	}
	wg.Wait()
	g.Close()
	for j := range told {
		switch told[j].Load() {
		case 1:
			require.Equal(t, 1, written[j], "job %d", j)
		case 2, 3:
			require.Zero(t, written[j], "job %d", j)
		default:
			t.Fatalf("job %d got another error", j)
		}
	}
}

func ExampleNewGroup() {
	// A store's write: all of the batches in one transaction, or none.
	write := func(_ context.Context, batches []*store.Batch) ([]*store.Results, error) {
		results := make([]*store.Results, len(batches))
		for i, b := range batches {
			results[i] = &store.Results{Settles: make([]store.Result, len(b.Settles))}
			for k := range b.Settles {
				results[i].Settles[k] = store.Done
			}
		}
		return results, nil // committed
	}
	group := store.NewGroup(write, store.GroupConfig[*store.Batch]{Items: (*store.Batch).Len})

	res, err := group.Do(context.Background(), &store.Batch{Settles: []store.Settle{{Delivery: "1", Token: 1, To: store.Processed}}})
	fmt.Println(res.Settles[0] == store.Done, err)
	// Output: true <nil>
}
