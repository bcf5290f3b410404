package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

// request is a webhook as its sender would send it.
type request struct {
	what   string
	path   string
	preset func(...string) (webhook.Verifier, error)
	secret string
	age    time.Duration // of its signature
	event  webhook.Event // what its headers need; the rest is in the body
}

// The payloads have the form that the senders document:
// https://docs.stripe.com/api/events/object and
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#payload-structure
var (
	invoicePaid = request{
		what: "stripe  invoice.paid", path: "/webhooks/stripe", preset: provider.Stripe, secret: stripeSecret,
		event: webhook.Event{Body: []byte(`{
  "id": "evt_1QK3fQ2eZvKYlo2C8vXb0n7d",
  "object": "event",
  "api_version": "2025-03-31.basil",
  "created": 1764000000,
  "data": {
    "object": {
      "id": "in_1QK3fP2eZvKYlo2CjY8mW0aB",
      "object": "invoice",
      "amount_paid": 4200,
      "currency": "eur",
      "customer": "cus_RCk0v2T1mPq9sL",
      "status": "paid"
    }
  },
  "livemode": false,
  "pending_webhooks": 1,
  "request": {"id": null, "idempotency_key": null},
  "type": "invoice.paid"
}`)},
	}
	contactCreated = request{
		what: "acme    contact.created", path: "/webhooks/acme/contacts", preset: provider.StandardWebhooks, secret: acmeSecret,
		event: webhook.Event{
			ID:   "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
			Body: []byte(`{"type":"contact.created","timestamp":"2026-11-24T08:00:00Z","data":{"id":"1f81eb52-5198-4599-803e-771906343485","name":"Ada"}}`),
		},
	}
	reportRequested = request{
		what: "acme    report.requested", path: "/webhooks/acme/reports", preset: provider.StandardWebhooks, secret: acmeSecret,
		event: webhook.Event{
			ID:   "msg_2KWPC7mQb0VxLw1yTz9oHnD3kRs",
			Body: []byte(`{"type":"report.requested","timestamp":"2026-11-24T08:00:01Z","data":{"month":"2026-10"}}`),
		},
	}
)

// forged returns q signed by somebody who does not know the secret.
func (q request) forged() request {
	q.what, q.secret = q.what+", forged", "whsec_00000000000000000000000000000000"
	return q
}

// stale returns q as somebody captured it a while ago.
func (q request) stale(age time.Duration) request {
	q.what, q.age = q.what+", stale", age
	return q
}

// again returns q as its sender sends it when it did not see the answer.
func (q request) again() request {
	q.what += ", again"
	return q
}

// send signs q as its sender would, posts it, and returns the status code.
func (q request) send(ctx context.Context, base string) (int, error) {
	v, err := q.preset(q.secret)
	if err != nil {
		return 0, err
	}
	target, err := url.Parse(base + q.path)
	if err != nil {
		return 0, err
	}
	signed := &webhook.Request{
		Method: http.MethodPost, URL: target, Header: http.Header{"Content-Type": {"application/json"}},
		Body: q.event.Body, Time: time.Now().Add(-q.age), Secrets: []webhook.Secret{{Value: q.secret}},
	}
	if err := v.Sign(signed, q.event); err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, signed.Method, target.String(), bytes.NewReader(signed.Body))
	if err != nil {
		return 0, err
	}
	req.Header = signed.Header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}
