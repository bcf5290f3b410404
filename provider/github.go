package provider

import (
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/signature"
)

// GitHub checks requests of GitHub, of a repository's, an organization's and an
// App's webhook alike: the header X-Hub-Signature-256, "sha256=…". The SHA-1 of
// X-Hub-Signature is never looked at.
//
// A secret is the text that was entered for the webhook, whatever it looks like;
// an access token is refused. GitHub signs with one secret: while it is changed,
// give the new one and the old one.
//
// The event's id is X-GitHub-Delivery and its type X-GitHub-Event, such as
// "pull_request"; the action is in the body. GitHub signs the body alone. So an
// event is known by its id and also by the digest of its body: who captured a
// request cannot replay it under another id, nor as another type. A handler whose
// security depends on the type should look at the body. The "ping" that GitHub
// sends for a new webhook is an event like others.
//
// The webhook's content type should be application/json. With
// application/x-www-form-urlencoded the signature covers the form, and the
// event's body is the form too, as it came: payload=…, for url.ParseQuery.
//
// No time is signed, so there is no tolerance. GitHub does not retry by itself. A
// redelivery by hand has the id of the first delivery, and is a duplicate if that
// was stored: to run a handler once more, redrive its delivery.
//
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
func GitHub(secrets ...string) (webhook.Verifier, error) {
	v, err := signature.Scheme{
		Name:   "github",
		Header: "X-Hub-Signature-256",
		Prefix: "sha256=",
		Key: sharedSecret("the webhook's secret, as it was entered in its settings",
			// https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github#githubs-token-formats
			"ghp_", "github_pat_", "gho_", "ghu_", "ghs_", "ghr_"),
		ID:   signature.Header("X-GitHub-Delivery"),
		Type: signature.Header("X-GitHub-Event"),
	}.Verifier(secrets...)
	// Payloads are capped at 25 MB:
	// https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap
	v.BodyLimit = 25 << 20
	v.Keep = []string{"X-GitHub-*"}
	// For how long one may redeliver: 3 days at github.com, 7 with Enterprise Server.
	// https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks
	v.Horizon = 7 * 24 * time.Hour
	return v, err
}
