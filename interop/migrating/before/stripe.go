package before

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/stripe/stripe-go/v85"
	"github.com/stripe/stripe-go/v85/webhook"
)

// Stripe calls paid for each invoice that was paid.
func Stripe(secret string, paid func(context.Context, stripe.Invoice) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		event, err := webhook.ConstructEvent(body, r.Header.Get("Stripe-Signature"), secret)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		switch event.Type {
		case stripe.EventTypeInvoicePaid:
			var invoice stripe.Invoice
			if err := json.Unmarshal(event.Data.Raw, &invoice); err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			if err := paid(r.Context(), invoice); err != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		default: // not of interest
		}
	})
}
