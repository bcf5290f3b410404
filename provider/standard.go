package provider

import (
	"github.com/surehook/webhook"
	"github.com/surehook/webhook/internal/standard"
	"github.com/surehook/webhook/signature"
)

// StandardWebhooks checks requests by the Standard Webhooks specification, in its
// symmetric form (v1) and with ed25519 (v1a): the headers webhook-id,
// webhook-timestamp and webhook-signature, and no others.
//
// A secret is "whsec_" and 24 to 64 bytes in base64, or "whpk_" and the 32 bytes
// of an ed25519 public key; it fits signatures of its own version alone. The
// event's id is webhook-id, which is signed and the same at each retry; its type
// and time are the fields "type" and "timestamp" of the body where the sender
// follows that recommendation. A webhook-id with a "." is refused, as the specification
// advises: it could hide a different cut of what is signed.
//
// Each retry is signed anew, so that the tolerance of 5 minutes holds for all.
// Events are known for as long as the recommended schedule of retries lasts, and
// a day more.
//
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func StandardWebhooks(secrets ...string) (webhook.Verifier, error) {
	v, err := standardScheme("standard_webhooks",
		standard.HeaderID, standard.HeaderTimestamp, standard.HeaderSignature).Verifier(secrets...)
	v.Horizon = standard.Horizon
	return v, err
}

// standardScheme is Standard Webhooks under the header names of one sender. Each
// has its own three, so that they cannot be mixed.
func standardScheme(name, id, timestamp, signatures string) signature.Scheme {
	return signature.Scheme{
		Name:      name,
		Header:    signatures,
		Separator: " ",
		Prefix:    standard.V1,
		Ed25519:   standard.V1a,
		Encoding:  signature.Base64,
		Key:       signature.StandardKey,
		Signed: []signature.Part{
			signature.Header(id), signature.Text("."),
			signature.Header(timestamp), signature.Text("."),
			signature.Body(),
		},
		Sent: signature.Seconds(signature.Header(timestamp)),
		ID:   signature.Header(id),
		Type: signature.JSON("type"),
		Time: signature.RFC3339(signature.JSON("timestamp")),
	}
}
