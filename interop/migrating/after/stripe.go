package after

import (
	"context"
	"net/http"

	"github.com/stripe/stripe-go/v85"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

// Stripe calls paid for each invoice that was paid.
func Stripe(inbox *webhook.Inbox, secret string, paid func(context.Context, stripe.Invoice) error) (http.Handler, error) {
	verifier, err := provider.Stripe(secret)
	if err != nil {
		return nil, err // the secret is empty, or an API key
	}
	inbox.Handle("billing", func(ctx context.Context, e webhook.Event) error {
		switch stripe.EventType(e.Type) {
		case stripe.EventTypeInvoicePaid:
			var event struct {
				Data struct {
					Object stripe.Invoice `json:"object"`
				} `json:"data"`
			}
			if err := e.Decode(&event); err != nil {
				return err // no retry would mend it: a dead letter
			}
			return paid(ctx, event.Data.Object) // an error: tried again
		default: // not of interest
			return nil
		}
	})
	return webhook.Verify("stripe", verifier)(inbox.Receive("billing")), nil
}
