package webhook

import (
	"context"
	"errors"
	"time"

	"github.com/surehook/webhook/store"
)

// sweepEvery is how often a Dispatcher looks for endpoints that are held and deleted:
// what waits for them is not claimed, so that no attempt finds out.
const sweepEvery = time.Hour

// sweepEnd is how long Run waits for a sweep to notice that its context has ended:
// the host's table may not.
const sweepEnd = time.Second

// sweeping sweeps in a goroutine until the returned function is called.
func (d *Dispatcher) sweeping(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				d.sweep(ctx)
			}
		}
	}()
	return func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(sweepEnd):
		}
	}
}

// sweep discards what waits for endpoints that are held and deleted. What fails is
// left to the next sweep.
func (d *Dispatcher) sweep(ctx context.Context) {
	q := d.Queue()
	var gone []string
	for s, err := range q.Destinations(ctx) {
		if err != nil {
			return
		}
		if len(s.Held) > 0 && s.Queued > 0 && d.deleted(ctx, s.Destination) {
			gone = append(gone, s.Destination)
		}
	}
	for _, id := range gone {
		waiting := store.Filter{Destination: id, States: []store.State{store.Queued}}
		for after, more := "", true; more; more = after != "" {
			var err error
			if _, after, err = q.Discard(ctx, waiting, endpointDeleted, after, pageSize); err != nil {
				return
			}
		}
	}
}

// deleted reports whether the host says that there is no such endpoint.
func (d *Dispatcher) deleted(ctx context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(ctx, d.c.Queue.Timeout)
	defer cancel()
	gone := false
	_ = recovered("endpoint", func() error {
		_, err := d.c.Endpoints.Endpoint(ctx, id)
		gone = errors.Is(err, ErrNotFound) // in here: a method of err's may panic too
		return nil
	})
	return gone
}
