package engine

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/surehook/webhook/internal/observe"
	"github.com/surehook/webhook/store"
)

// How often upkeep runs, and how often what waits for a person is reported again.
const (
	upkeepEvery = time.Minute
	remindEvery = time.Hour
)

// maintain deletes what is past its retention and reports what waits for a person,
// until ctx ends.
func (e *Engine) maintain(ctx context.Context) {
	reported := reports{}
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
		e.report(ctx, reported)
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
				e.obs.StoreFailed(ctx, e.c.Queue, observe.StorePurge)
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

// elsewherePatience is how long what other processes serve may wait before somebody
// should know: by the default policy a delivery that fails is dead after two and a
// half hours at most.
const elsewherePatience = 3 * time.Hour

// reports is when what waits for a person was reported last.
type reports map[report]time.Time

type report struct{ what, destination string }

// due returns whether it is to be reported now, and notes that it is.
func (r reports) due(what, destination string) bool {
	k := report{what, destination}
	if time.Since(r[k]) < remindEvery {
		return false
	}
	r[k] = time.Now()
	return true
}

// report warns of what waits and does not go on by itself, each once an hour:
// deliveries that nobody here serves, and ordering keys that are blocked. A dead
// letter was told of when it died; this is for those that nobody has acted on.
func (e *Engine) report(ctx context.Context, reported reports) {
	log := e.obs.Logger()
	for after := ""; ctx.Err() == nil; {
		page, next, err := e.st.Stats(ctx, e.c.Queue, after, 100)
		if err != nil {
			return // the claim loop reports a store that fails
		}
		for _, s := range page {
			if s.Destination == "" {
				continue
			}
			if e.isOrphaned(&s) && reported.due("orphans", s.Destination) {
				log.WarnContext(ctx, "webhook deliveries for a handler that this process does not have",
					observe.KeyQueue, e.c.Queue, observe.KeyDestination, observe.Clean(s.Destination), "queued", s.Queued, "oldest", s.Oldest)
			}
			if s.BlockedKeys > 0 && time.Since(s.BlockedSince) >= remindEvery && reported.due("blocked", s.Destination) {
				log.WarnContext(ctx, "webhook ordering keys are blocked by dead letters",
					observe.KeyQueue, e.c.Queue, observe.KeyDestination, observe.Clean(s.Destination), "keys", s.BlockedKeys, "since", s.BlockedSince)
			}
		}
		if next == "" {
			return
		}
		after = next
	}
}

// isOrphaned returns whether something waits for a destination that this process
// does not serve: it stays queued for whoever does, and if nobody does, somebody
// should know.
func (e *Engine) isOrphaned(s *store.Stats) bool {
	if s.Queued == 0 || e.slots.known(s.Destination) {
		return false
	}
	return !slices.Contains(e.c.Elsewhere, s.Destination) || time.Since(s.Oldest) >= elsewherePatience
}
