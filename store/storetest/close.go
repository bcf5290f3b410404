package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/surehook/webhook/store"
)

var closeCases = []testCase{
	{name: "Info/AgreesWithTheBackend", run: infoAgrees},
	{name: "Close/ThenErrClosed", run: closeErrors},
	{name: "Close/WaitsForWrites", run: closeWaits},
}

// Info is constant, and says in words what the store promises.
func infoAgrees(t *tester) {
	info := t.st.Info()
	if info.Name == "" || info.Promise == "" {
		t.Errorf("Info is %+v, want a name and a promise", info)
	}
	equal(t, "survives its process", info.Durable, t.b.Reopen != nil)
	t.put("e", "work")
	equal(t, "Info after an add", t.st.Info(), info)
}

// After Close every method returns ErrClosed; a second Close does nothing.
func closeErrors(t *tester) {
	id := t.put("e", "work")
	for range 2 {
		if err := t.st.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	batch := store.Batch{Adds: []store.Add{event("late", "work")}}
	for what, call := range map[string]func() error{
		"Commit": func() error { _, err := t.st.Commit(t.ctx, &batch); return err },
		"probe":  func() error { _, err := t.st.Commit(t.ctx, &store.Batch{}); return err },
		"Claim":  func() error { _, err := t.st.Claim(t.ctx, queue, store.Claim{Other: 1, Lease: lease}); return err },
		"Find":   func() error { _, _, err := t.st.Find(t.ctx, queue, store.Filter{}, "", 1); return err },
		"Update": func() error {
			_, err := t.st.Update(t.ctx, queue, []string{id}, store.Change{To: store.Dead})
			return err
		},
		"Stats": func() error { _, _, err := t.st.Stats(t.ctx, queue, "", 1); return err },
		"Purge": func() error { _, err := t.st.Purge(t.ctx, queue, hour); return err },
	} {
		if err := call(); !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close returned %v, want ErrClosed", what, err)
		}
	}
	t.st.Wake(queue) // does not panic
	t.st.Info()
}

// A write under way when the store is closed is written, or told ErrClosed: one
// or the other. None is written after Close has returned.
func closeWaits(t *tester) {
	t.closeUnderLoad()
}

// closeUnderLoad closes the store while adds come, and returns those that were
// acknowledged.
func (t *tester) closeUnderLoad() []store.Add {
	t.Helper()
	const adders = 8
	var written atomic.Int64
	var closed atomic.Bool
	acknowledged := make([][]store.Add, adders)
	add := func(ctx context.Context, i int) error {
		for j := 0; ctx.Err() == nil; j++ {
			late := closed.Load()
			b := store.Batch{Adds: []store.Add{event(fmt.Sprint(i, " ", j), "work")}}
			res, err := t.st.Commit(ctx, &b)
			switch {
			case errors.Is(err, store.ErrClosed):
				return nil
			case late:
				return fmt.Errorf("commit after Close: %v, want ErrClosed", err) //nolint:errorlint // nil, as it may be, is not to be wrapped
			case err != nil:
				return err
			}
			if err := complete(&b, res); err != nil {
				return err
			}
			acknowledged[i] = append(acknowledged[i], b.Adds[0])
			written.Add(1)
		}
		return nil
	}
	t.together(adders+1, func(ctx context.Context, i int) error {
		if i < adders {
			return add(ctx, i)
		}
		for written.Load() < 50 && ctx.Err() == nil {
			if _, _, err := t.st.Stats(ctx, queue, "", 1); err != nil {
				return err
			}
		}
		defer closed.Store(true)
		return t.st.Close()
	})
	return slices.Concat(acknowledged...)
}
