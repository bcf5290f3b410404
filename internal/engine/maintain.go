package engine

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/surehook/webhook/internal/observe"
)

// How often upkeep runs, and how often what nobody processes is reported again.
const (
	upkeepEvery = time.Minute
	remindEvery = time.Hour
)

// maintain deletes what is past its retention and reports deliveries that no
// handler of this process takes, until ctx ends.
func (e *Engine) maintain(ctx context.Context) {
	reported := map[string]time.Time{}
	// Not at once and not in step with others on the same store.
	t := time.NewTimer(upkeepEvery/4 + rand.N(upkeepEvery/2))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		e.purge(ctx)
		e.reportOrphans(ctx, reported)
		t.Reset(upkeepEvery/2 + rand.N(upkeepEvery))
	}
}

// purge deletes in small batches, with pauses in which others get their turn,
// until nothing is left.
func (e *Engine) purge(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := e.st.Purge(ctx, e.c.Queue, e.c.Retention)
		if err != nil {
			if ctx.Err() == nil {
				e.obs.Logger().WarnContext(ctx, "webhook purge fails", observe.KeyQueue, e.c.Queue, observe.KeyError, err)
			}
			return
		}
		if n == 0 {
			return
		}
		e.obs.Logger().DebugContext(ctx, "webhook purged", observe.KeyQueue, e.c.Queue, "records", n)
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// reportOrphans warns of deliveries whose destination this process does not
// serve: they stay queued for whoever does, and if nobody does, somebody should
// know.
func (e *Engine) reportOrphans(ctx context.Context, reported map[string]time.Time) {
	for after := ""; ctx.Err() == nil; {
		page, next, err := e.st.Stats(ctx, e.c.Queue, after, 100)
		if err != nil {
			return // the claim loop reports a store that fails
		}
		for _, s := range page {
			if s.Destination == "" || s.Queued == 0 || e.slots.known(s.Destination) || time.Since(reported[s.Destination]) < remindEvery {
				continue
			}
			reported[s.Destination] = time.Now()
			e.obs.Logger().WarnContext(ctx, "webhook deliveries for a handler that this process does not have",
				observe.KeyQueue, e.c.Queue, observe.KeyDestination, observe.Clean(s.Destination), "queued", s.Queued, "oldest", s.Oldest)
		}
		if next == "" {
			return
		}
		after = next
	}
}
