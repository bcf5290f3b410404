package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store"
)

// tell waits until nothing is under way, tells what became of an event's
// deliveries, and returns an error where that is not what was wanted: by endpoint,
// the state and the outcomes of the attempts.
func tell(ctx context.Context, w io.Writer, q *webhook.Queue, event string, wanted map[string]string) error {
	if err := settled(ctx, q); err != nil {
		return err
	}
	n := 0
	for d, err := range q.Find(ctx, store.Filter{EventID: event}) {
		if err != nil {
			return err
		}
		d, err := q.Get(ctx, d.ID) // with its attempts
		if err != nil {
			return err
		}
		n++
		became := string(d.State) + ": " + strings.Join(outcomes(d), ", ")
		fmt.Fprintf(w, "  %-8s%s\n", d.Destination, became)
		if d.Reason != "" {
			fmt.Fprintf(w, "          %s\n", d.Reason)
		}
		if became != wanted[d.Destination] {
			return fmt.Errorf("%s for %s is %q instead of %q", event, d.Destination, became, wanted[d.Destination])
		}
	}
	if n != len(wanted) {
		return fmt.Errorf("%s has %d deliveries instead of %d", event, n, len(wanted))
	}
	return nil
}

func outcomes(d store.Delivery) (list []string) {
	for _, a := range d.Attempts {
		list = append(list, a.Outcome)
	}
	return list
}

// settled waits until nothing is queued or being processed.
func settled(ctx context.Context, q *webhook.Queue) error {
	for {
		stats, err := q.Stats(ctx)
		if err != nil {
			return err
		}
		if stats.Queued+stats.Processing == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d deliveries did not come to an end: %w", stats.Queued+stats.Processing, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
