package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/surehook/webhook/store"
)

// health is the outcome of the last use of the store.
type health struct {
	mu    sync.Mutex
	err   error     // of the last use
	asked time.Time // when the store was last probed
}

// note records the outcome of a use of the store by a caller with ctx, and
// returns whether the store failed. What the caller brought about says nothing of
// the store: bad data, or that ctx ended. A write that took too long for the store
// itself does.
func (h *health) note(ctx context.Context, err error) (failed bool) {
	switch {
	case err == nil:
	case ctx.Err() != nil, errors.Is(err, store.ErrBadData), errors.Is(err, store.ErrInTransaction):
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	return err != nil
}

// note records the outcome of an operation of the store, and counts a failure.
func (e *Engine) note(ctx context.Context, operation string, err error) {
	if e.health.note(ctx, err) && !errors.Is(err, store.ErrBusy) {
		e.obs.StoreFailed(ctx, e.c.Queue, operation)
	}
}

// probeAfter is how long a failure stands before the store is asked again.
const probeAfter = time.Second

// Health returns nil while the store can be written and, once Run began, the
// engine is alive. After a failed commit the store is probed, at most once a
// second and under ctx, so that an instance which gets no requests because it
// reports a failure finds out when that is over.
func (e *Engine) Health(ctx context.Context) error {
	if e.state.Load() == ended {
		return fmt.Errorf("webhook: queue %q is not run any more", e.c.Queue)
	}
	h := &e.health
	h.mu.Lock()
	err := h.err
	probe := err != nil && time.Since(h.asked) >= probeAfter
	if probe {
		h.asked = time.Now()
	}
	h.mu.Unlock()
	if probe {
		_, perr := e.st.Commit(ctx, &store.Batch{})
		h.note(ctx, perr)
		err = perr
	}
	if err != nil {
		return fmt.Errorf("webhook: store of queue %q: %w", e.c.Queue, err)
	}
	return nil
}
