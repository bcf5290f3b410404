package main

import (
	"encoding/json"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/surehook/webhook"
)

// chiRouter needs no adapter: chi's handlers and middlewares are net/http's, and
// its path values are found by [http.Request.PathValue].
func chiRouter(s *service) http.Handler {
	r := chi.NewRouter()

	// Handle, not Post: Verify answers other methods itself, with a text for the
	// sender whose POST a redirect turned into a GET. Handshakes that are GETs
	// get through, too.
	r.Handle("/webhooks/shop", webhook.Verify("shop", s.shop)(s.inbox.Receive(orders)))

	// With, not Use: what Use adds runs before chi has matched the route, and sees
	// no tenant.
	r.With(webhook.Verify("tenants", s.tenants)).Handle("/webhooks/tenants/{tenant}", s.inbox.Receive(orders))

	r.With(webhook.Verify("shop", s.shop)).HandleFunc("/orders", chiOrder)
	return r
}

// chiOrder reads the body that Verify has read already: it is there again.
func chiOrder(w http.ResponseWriter, r *http.Request) {
	var o order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		http.Error(w, "not an order", http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{
		"order": o.Data.Number, "event": webhook.Events(r.Context())[0].ID,
	})
}
