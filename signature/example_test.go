package signature_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
	"github.com/surehook/webhook/signature"
)

// A sender that no preset knows, from what its documentation says.
func ExampleScheme() {
	acme, err := signature.Scheme{
		Name:      "acme",
		Header:    "Acme-Signature", // t=1700000000,v1=5257a8…
		Separator: ",",
		Prefix:    "v1=",
		Signed:    []signature.Part{signature.Entry("t="), signature.Text("."), signature.Body()},
		Sent:      signature.Seconds(signature.Entry("t=")),
		ID:        signature.JSON("event.id"),
		Type:      signature.JSON("event.type"),
	}.Verifier("a secret of ours", "and the one before")
	if err != nil {
		panic(err)
	}

	// The same declaration signs, for tests.
	r := &webhook.Request{
		Method:  http.MethodPost,
		Body:    []byte(`{"event":{"id":"evt_1","type":"order.paid"}}`),
		Time:    time.Unix(1700000000, 0),
		Secrets: []webhook.Secret{{Value: "a secret of ours"}},
	}
	if err := acme.Sign(r, webhook.Event{}); err != nil {
		panic(err)
	}
	fmt.Println(r.Header.Get("Acme-Signature")[:20] + "…")

	events, err := acme.Verify(context.Background(), r)
	if err != nil {
		panic(err)
	}
	fmt.Println(events[0].ID, events[0].Type, events[0].Proof.ID)

	r.Time = r.Time.Add(time.Hour)
	_, err = acme.Verify(context.Background(), r)
	fmt.Println(err)
	// Output:
	// t=1700000000,v1=a483…
	// evt_1 order.paid true
	// webhook: stale: signed 1h0m0s before it arrived, tolerated are 5m0s: a replay, a late retry with its first signature, or a clock that is off (checked as acme)
}

// A new secret for one receiver of ours; Standard Webhooks has its format.
func ExampleNewSecret() {
	secret := signature.NewSecret()
	_, err := provider.StandardWebhooks(secret)
	fmt.Println(secret[:6], len(secret), err)
	// Output: whsec_ 50 <nil>
}

// The sender keeps the private key; receivers need no secret at all.
func ExampleNewKeyPair() {
	private, public := signature.NewKeyPair()
	sender, err := provider.StandardWebhooks(private)
	if err != nil {
		panic(err)
	}
	receiver, err := provider.StandardWebhooks(public)
	if err != nil {
		panic(err)
	}

	r := &webhook.Request{Method: http.MethodPost, Secrets: []webhook.Secret{{Value: private}}}
	if err := sender.Sign(r, webhook.Event{ID: "msg_1", Body: []byte(`{"type":"invoice.paid"}`)}); err != nil {
		panic(err)
	}
	fmt.Println(r.Header.Get("Webhook-Signature")[:4])
	events, err := receiver.Verify(context.Background(), r)
	fmt.Println(events[0].ID, events[0].Type, err)
	// Output:
	// v1a,
	// msg_1 invoice.paid <nil>
}
