package main

import (
	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

// sender is a system that sends webhooks, with the signing secret that it hands
// out. A service reads secrets from its environment.
type sender struct {
	source string // what this program calls it: stored with each event
	preset func(secrets ...string) (webhook.Verifier, error)
	secret string
}

var (
	stripe  = sender{"stripe", provider.Stripe, "whsec_5f1c2b7d9a3e4f6081726354acbdfe01"}
	acme    = sender{"acme", provider.StandardWebhooks, "whsec_cXVpY2tzdGFydC1zZWNyZXQtb2YtYWNtZS1pbmM="}
	clerk   = sender{"clerk", provider.Svix, "whsec_cXVpY2tzdGFydC1zZWNyZXQtb2YtY2xlcmstYXA="}
	github  = sender{"github", provider.GitHub, "as it was entered in the webhook's settings"}
	slack   = sender{"slack", provider.Slack, "8f742231b10e8888abcd99baac0785a5"}
	shopify = sender{"shopify", provider.Shopify, "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"}
)

// What they send: payloads in the form that they document. An id and a type that
// stand in the body are not repeated; the others go into headers.
var (
	// https://docs.stripe.com/api/events/object
	invoicePaid = request{what: "invoice.paid", path: "/webhooks/stripe", from: stripe, event: webhook.Event{Body: []byte(`{
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
}`)}}

	// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#payload-structure
	contactCreated = request{what: "contact.created", path: "/webhooks/acme/contacts", from: acme, event: webhook.Event{
		ID:   "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
		Body: []byte(`{"type":"contact.created","timestamp":"2026-11-24T08:00:00Z","data":{"id":"1f81eb52-5198-4599-803e-771906343485","name":"Ada"}}`),
	}}
	reportRequested = request{what: "report.requested", path: "/webhooks/acme/reports", from: acme, event: webhook.Event{
		ID:   "msg_2KWPC7mQb0VxLw1yTz9oHnD3kRs",
		Body: []byte(`{"type":"report.requested","timestamp":"2026-11-24T08:00:01Z","data":{"month":"2026-10"}}`),
	}}

	// https://clerk.com/docs/guides/development/webhooks/overview
	userCreated = request{what: "user.created", path: "/webhooks/clerk", from: clerk, event: webhook.Event{
		ID:   "msg_2KWPDq1mYc7XjB5sRt8uEoF4gHk",
		Body: []byte(`{"data":{"id":"user_29w83sxmDNGwOuEthce5gg56FcC","first_name":"Ada"},"object":"event","type":"user.created"}`),
	}}

	// https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request
	pullRequest = request{what: "pull_request", path: "/webhooks/github", from: github, event: webhook.Event{
		ID: "72d3162e-cc78-11e3-81ab-4c9367dc0958", Type: "pull_request",
		Body: []byte(`{"action":"opened","number":2,"repository":{"full_name":"octocat/Hello-World"}}`),
	}}

	// https://docs.slack.dev/reference/events/app_mention
	appMention = request{what: "app_mention", path: "/webhooks/slack", from: slack, event: webhook.Event{
		Body: []byte(`{"team_id":"T123ABC456","event":{"type":"app_mention","text":"hi"},"type":"event_callback","event_id":"Ev123ABC456","event_time":1764000000}`),
	}}
	// https://docs.slack.dev/reference/events/url_verification
	urlVerification = request{what: "url_verification", path: "/webhooks/slack", from: slack, event: webhook.Event{
		Body: []byte(`{"token":"Jhj5dZrVaK7ZwHHjRyZWjbDl","challenge":"` + challenge + `","type":"url_verification"}`),
	}}

	// https://shopify.dev/docs/api/webhooks?reference=toml#list-of-topics-orders/create
	orderCreated = request{what: "orders/create", path: "/webhooks/shopify", from: shopify, event: webhook.Event{
		ID: "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", Type: "orders/create",
		Body: []byte(`{"id":820982911946154508,"name":"#9999","total_price":"374.99","currency":"USD"}`),
	}}
)

// challenge is what Slack wants to have back.
const challenge = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
