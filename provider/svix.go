package provider

import (
	"time"

	"github.com/surehook/webhook"
)

// Svix checks requests that a sender has delivered by Svix, such as Clerk and
// Resend: Standard Webhooks under the names svix-id, svix-timestamp and
// svix-signature. A sender that has Svix use the names webhook-* is checked by
// [StandardWebhooks]: neither takes the other's names, nor a mixture.
//
// A secret is the endpoint's, "whsec_" and 24 to 64 bytes in base64, or "whpk_" and
// the 32 bytes of an ed25519 public key; the old one stays valid for a day after
// it is rotated. The event's id is svix-id, which is
// signed and the same at each retry; its type and time are the fields "type" and
// "timestamp" of the body where the sender has them.
//
// Each retry is signed anew, so that the tolerance of 5 minutes holds for all.
//
// https://docs.svix.com/receiving/verifying-payloads/how-manual
func Svix(secrets ...string) (webhook.Verifier, error) {
	v, err := standardScheme("svix", "Svix-Id", "Svix-Timestamp", "Svix-Signature").Verifier(secrets...)
	// 5 s, 5 and 30 minutes, 2, 5, 10 and 10 hours, one after another, and some
	// for jitter: https://docs.svix.com/retries
	v.Horizon = 28 * time.Hour
	return v, err
}
