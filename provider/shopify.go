package provider

import (
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/signature"
)

// Shopify checks requests of Shopify's webhooks over HTTPS: the header
// X-Shopify-Hmac-Sha256.
//
// A secret is the app's client secret, or for webhooks that were made in a shop's
// settings the one shown there; an access token is refused. After the client
// secret is rotated, Shopify signs with the old one for up to an hour: give both.
//
// The event's id is X-Shopify-Webhook-Id, which names the delivery and is the same
// at each retry. X-Shopify-Event-Id is not taken: it names what a merchant did, and
// several topics that follow from it share it. The type is X-Shopify-Topic, such as
// "orders/create", and the time X-Shopify-Triggered-At. These and
// X-Shopify-Shop-Domain are among the headers that are kept.
//
// Shopify signs the body alone, and none of these headers. So an event is known by
// its id and also by the digest of its body: who captured a request cannot replay
// it under another id or as another topic. The price is that two events with equal
// bodies of one source are one event. Where a subscription leaves out what changes
// (include_fields without updated_at), set NoDigest: an id is then known by itself
// alone. Where two topics may send the same body (orders/create and orders/paid of
// an order that is paid at once), set it too, or give each topic a URL and a source
// of its own in [webhook.Verify].
//
// No time is signed, so there is no tolerance. Shopify waits for 5 seconds, and
// removes a subscription after 8 retries that failed; it names no largest body, so
// raise BodyLimit where orders are long.
//
// https://shopify.dev/docs/apps/build/webhooks/verify-deliveries
func Shopify(secrets ...string) (webhook.Verifier, error) {
	v, err := signature.Scheme{
		Name:     "shopify",
		Header:   "X-Shopify-Hmac-Sha256",
		Encoding: signature.Base64,
		Key: sharedSecret("the app's client secret (shpss_ or hexadecimal digits)",
			// https://shopify.dev/docs/apps/build/authentication-authorization
			"shpat_", "shpca_", "shppa_", "shpua_", "whsec_"),
		ID:   signature.Header("X-Shopify-Webhook-Id"),
		Type: signature.Header("X-Shopify-Topic"),
		Time: signature.RFC3339(signature.Header("X-Shopify-Triggered-At")),
	}.Verifier(secrets...)
	v.Keep = []string{"X-Shopify-*"}
	// 8 times: https://shopify.dev/changelog/updates-to-webhook-retry-mechanism
	v.Horizon = 4 * time.Hour
	return v, err
}
