package storetest

import (
	"context"
	"errors"
	"fmt"
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
// or the other, and nothing hangs.
func closeWaits(t *tester) {
	var written atomic.Int64
	t.together(9, func(ctx context.Context, i int) error {
		if i == 0 {
			for written.Load() < 20 && ctx.Err() == nil {
				if _, _, err := t.st.Stats(ctx, queue, "", 1); err != nil {
					return err
				}
			}
			return t.st.Close()
		}
		for j := 0; ctx.Err() == nil; j++ {
			b := store.Batch{Adds: []store.Add{event(fmt.Sprint(i, j), "work")}}
			res, err := t.st.Commit(ctx, &b)
			if errors.Is(err, store.ErrClosed) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := complete(&b, res); err != nil {
				return err
			}
			written.Add(1)
		}
		return nil
	})
	if t.b.Reopen == nil {
		return
	}
	t.st = t.b.Reopen(t, t.st)
	if found := len(t.pages(store.Filter{}, 1000)); int64(found) < written.Load() {
		t.Errorf("%d events are there after Close, want the %d acknowledged", found, written.Load())
	}
}
