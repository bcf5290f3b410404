package provider_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

// arrives is a request of the sender, which v signs with secret.
func arrives(v webhook.Verifier, secret string, e webhook.Event) *webhook.Request {
	r := &webhook.Request{Method: http.MethodPost, Secrets: []webhook.Secret{{Value: secret}}, Time: time.Unix(1_700_000_000, 0)}
	if err := v.Sign(r, e); err != nil {
		panic(err)
	}
	return r
}

func ExampleStandardWebhooks() {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	v, err := provider.StandardWebhooks(secret)
	if err != nil {
		panic(err)
	}
	events, err := v.Verify(context.Background(), arrives(v, secret, webhook.Event{ID: "msg_1", Body: []byte(`{"type":"invoice.paid"}`)}))
	fmt.Println(events[0].Type, events[0].ID, err)
	// Output: invoice.paid msg_1 <nil>
}

func ExampleSvix() {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	clerk, err := provider.Svix(secret)
	if err != nil {
		panic(err)
	}
	r := arrives(clerk, secret, webhook.Event{ID: "msg_1", Body: []byte(`{"type":"user.created"}`)})
	events, err := clerk.Verify(context.Background(), r)
	fmt.Println(r.Header.Get("svix-id"), events[0].Type, err)
	// Output: msg_1 user.created <nil>
}

// While a secret is rolled, the new one and the old one are valid.
func ExampleStripe() {
	stripe, err := provider.Stripe("whsec_the_new_one", "whsec_the_old_one")
	if err != nil {
		panic(err)
	}
	body := []byte(`{"id":"evt_1NG8Du","type":"invoice.paid","created":1699999999}`)
	for _, secret := range []string{"whsec_the_old_one", "whsec_somebody_elses"} {
		events, err := stripe.Verify(context.Background(), arrives(stripe, secret, webhook.Event{Body: body}))
		fmt.Println(len(events), err)
	}
	// Output:
	// 1 <nil>
	// 0 webhook: no signature fits: secrets tried: 2, signatures: 1; the secret is another endpoint's, or the body was changed on its way (a proxy, a parser) (checked as stripe)
}

// Neither the id nor the type is signed, and Proof says so.
func ExampleGitHub() {
	const secret = "It's a Secret to Everybody"
	github, err := provider.GitHub(secret)
	if err != nil {
		panic(err)
	}
	r := arrives(github, secret, webhook.Event{ID: "72d3162e", Type: "ping", Body: []byte(`{"zen":"Keep it logically awesome."}`)})
	events, err := github.Verify(context.Background(), r)
	e := events[0]
	fmt.Println(e.Type, e.ID, err)
	fmt.Println(e.Proof.ID, e.Proof.Type, len(e.Proof.Keys))
	// Output:
	// ping 72d3162e <nil>
	// false false 1
}

// The handshake is answered before any handler, by Verify the middleware too.
func ExampleSlack() {
	const secret = "8f742231b10e8888abcd99baac0785a5"
	slack, err := provider.Slack(secret)
	if err != nil {
		panic(err)
	}
	event := `{"type":"event_callback","event_id":"Ev123","event":{"type":"app_mention"}}`
	events, err := slack.Verify(context.Background(), arrives(slack, secret, webhook.Event{Body: []byte(event)}))
	fmt.Println(events[0].Type, events[0].ID, err)

	handshake := `{"type":"url_verification","challenge":"3eZbrw1aBm2rZgRNFdxV"}`
	_, err = slack.Verify(context.Background(), arrives(slack, secret, webhook.Event{Body: []byte(handshake)}))
	if answer, ok := errors.AsType[*webhook.Answer](err); ok {
		fmt.Printf("%d %s\n", answer.Status, answer.Body)
	}
	// Output:
	// app_mention Ev123 <nil>
	// 200 3eZbrw1aBm2rZgRNFdxV
}

func ExampleShopify() {
	const secret = "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"
	shopify, err := provider.Shopify(secret)
	if err != nil {
		panic(err)
	}
	r := arrives(shopify, secret, webhook.Event{ID: "b54557e4", Type: "orders/create", Body: []byte(`{"id":820982911946154508}`)})
	r.Header.Set("X-Shopify-Shop-Domain", "example.myshopify.com")
	events, err := shopify.Verify(context.Background(), r)
	e := events[0]
	fmt.Println(e.Type, e.ID, e.Headers.Get("X-Shopify-Shop-Domain"), err)

	_, err = provider.Shopify("shpat_0123456789abcdef")
	fmt.Println(err)
	// Output:
	// orders/create b54557e4 example.myshopify.com <nil>
	// webhook: shopify: secret 1 of 1 begins with shpat_, hence is another credential: expected the app's client secret (shpss_ or hexadecimal digits)
}
