package provider

import (
	"errors"
	"strings"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/signature"
)

// Stripe checks requests of Stripe, snapshot and thin events alike: the header
// Stripe-Signature, "t=…,v1=…".
//
// A secret is the endpoint's signing secret, "whsec_…", used as it stands (it is
// not the base64 of Standard Webhooks); an API key is refused. While one is
// rolled, Stripe signs with both for up to a day, and one of the v1 entries
// fits; entries of other versions are ignored. The event's id, type and time are
// the fields "id", "type" and "created" of the body, all signed; a "created" that
// is not in Unix seconds, as thin events may have it, is left out.
//
// Each retry is signed anew, so that the tolerance of 5 minutes holds for all.
//
// https://docs.stripe.com/webhooks
func Stripe(secrets ...string) (webhook.Verifier, error) {
	v, err := signature.Scheme{
		Name:      "stripe",
		Header:    "Stripe-Signature",
		Separator: ",",
		Prefix:    "v1=",
		Key:       stripeKey,
		Signed:    []signature.Part{signature.Entry("t="), signature.Text("."), signature.Body()},
		Sent:      signature.Seconds(signature.Entry("t=")),
		ID:        signature.JSON("id"),
		Type:      signature.JSON("type"),
		Time:      signature.Seconds(signature.JSON("created")),
	}.Verifier(secrets...)
	// Live events are retried for up to three days:
	// https://docs.stripe.com/webhooks#automatic-retries
	v.Horizon = 3 * 24 * time.Hour
	return v, err
}

func stripeKey(secret string) (signature.Key, error) {
	const expected = "whsec_…, as the dashboard shows it for the endpoint and stripe listen for itself, not an API key"
	key, err := sharedSecret(expected)(secret)
	if err != nil {
		return signature.Key{}, err
	}
	if id, ok := strings.CutPrefix(secret, "whsec_"); !ok || id == "" {
		return signature.Key{}, errors.New("is no signing secret: expected " + expected)
	}
	return key, nil
}
