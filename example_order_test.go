package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/store/memory"
)

// Events of one customer are handled in the order in which they came, however often
// one of them fails; another customer's do not wait for them.
func ExampleHandlerConfig_orderBy() {
	st := memory.New()
	defer st.Close()
	inbox := webhook.Must(webhook.NewInbox(st, quiet))

	failures := 2
	done := make(chan string)
	inbox.HandleWith("balance", func(_ context.Context, e webhook.Event) error {
		if e.ID == "ann opens" && failures > 0 {
			failures--
			return errors.New("the ledger is down")
		}
		done <- e.ID
		return nil
	}, webhook.HandlerConfig{
		OrderBy: func(e webhook.Event) string { return e.Subject },
		Retry:   webhook.RetryPolicy{Delays: []time.Duration{50 * time.Millisecond}, Jitter: [2]float64{1, 1}},
	})

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- webhook.Run(ctx, inbox) }()

	for _, e := range []webhook.Event{
		{ID: "ann opens", Subject: "ann"},
		{ID: "ann pays in", Subject: "ann"},
		{ID: "ann draws", Subject: "ann"},
		{ID: "bob opens", Subject: "bob"},
	} {
		e.Source, e.To = "bank", []string{"balance"}
		if _, err := inbox.Add(ctx, e); err != nil {
			panic(err)
		}
	}
	for range 4 {
		fmt.Println(<-done)
	}
	stop()
	fmt.Println(<-ended)
	// Output:
	// bob opens
	// ann opens
	// ann pays in
	// ann draws
	// <nil>
}
