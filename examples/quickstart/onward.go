package main

import (
	"context"
	"fmt"
	"time"

	"github.com/surehook/webhook"
)

// goOn sends some of everything, good and bad, five times a second, until the time
// is over or ctx ends. The handler crm is broken again, and somebody resumes the
// subscriber that is gone, in vain.
func goOn(ctx context.Context, svc *service, out *outbox, more time.Duration) error {
	fmt.Printf("\nGoing on for %v\n", more)
	svc.mended.Store(false)
	over := time.After(more)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-over:
			return nil
		case <-tick.C:
		}
		if err := oneOfEach(ctx, svc, out, n); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func oneOfEach(ctx context.Context, svc *service, out *outbox, n int) error {
	for _, q := range []request{
		invoicePaid.another(n), invoicePaid, invoicePaid.forged(), invoicePaid.stale(6 * time.Minute),
		contactCreated.another(n), userCreated.another(n), orderCreated.another(n), pullRequest, appMention,
	} {
		if _, _, err := q.send(ctx, svc.url); err != nil {
			return fmt.Errorf("send %s: %w", q.what, err)
		}
	}
	if err := out.Queue().Resume(ctx, "gone"); err != nil {
		return err
	}
	_, err := out.Send(ctx, webhook.Event{Type: "invoice.booked", Body: []byte(`{"type":"invoice.booked","data":{"amount":4200}}`)})
	return err
}
