package signature_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/surehook/webhook"
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
