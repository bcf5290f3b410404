package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/signature"
)

// Slack checks requests of Slack: the Events API, slash commands and interactive
// components. The header is X-Slack-Signature, "v0=…", over the body and
// X-Slack-Request-Timestamp, with a tolerance of 5 minutes.
//
// A secret is the app's signing secret, 32 hexadecimal digits; a token is refused.
// After it is regenerated the old one is valid for a day: give both.
//
// An event's id is "event_id", and its time "event_time". Its type is that of the
// event inside, such as "app_mention", since all come in the same
// "event_callback"; what has no event inside, such as "app_rate_limited", has the
// type of the body. All of it is signed.
//
// Slash commands and interactive components are forms, and their events have the
// form as it came as their body, no type, and the digest of the body as their id.
// Each has a trigger_id of its own, so that two are never equal. Slack wants what
// it shows from the answer within 3 seconds: such a route answers itself behind
// [webhook.Verify], rather than through an Inbox.
//
// The url_verification that Slack sends when the URL is entered is answered here
// with its challenge, once its signature and time hold.
//
// https://docs.slack.dev/authentication/verifying-requests-from-slack
func Slack(signingSecrets ...string) (webhook.Verifier, error) {
	timestamp := signature.Header("X-Slack-Request-Timestamp")
	v, err := signature.Scheme{
		Name:   "slack",
		Header: "X-Slack-Signature",
		Prefix: "v0=",
		Key: sharedSecret("the app's signing secret (32 hexadecimal digits, under Basic Information)",
			// https://docs.slack.dev/authentication/tokens
			"xox", "xapp-", "whsec_"),
		Signed: []signature.Part{signature.Text("v0:"), timestamp, signature.Text(":"), signature.Body()},
		Sent:   signature.Seconds(timestamp),
		ID:     signature.JSON("event_id"),
		Type:   signature.JSON("event.type"),
		Time:   signature.Seconds(signature.JSON("event_time")),
	}.Verifier(signingSecrets...)
	if err != nil {
		return v, err
	}
	v.Check = slackCheck(v.Check)
	v.Keep = []string{"X-Slack-Retry-*"}
	// 3 times within 6 minutes; hourly for a day where the app has turned on
	// delayed events: https://docs.slack.dev/apis/events-api/#retries
	v.Horizon = 24 * time.Hour
	return v, nil
}

// checkFunc is a webhook.Verifier.Check.
type checkFunc = func(ctx context.Context, r *webhook.Request) ([]webhook.Event, error)

// slackCheck is check, and reads what has no event inside: url_verification is
// answered, others have the type of the body.
func slackCheck(check checkFunc) checkFunc {
	return func(ctx context.Context, r *webhook.Request) ([]webhook.Event, error) {
		events, err := check(ctx, r)
		if err != nil || events[0].Type != "" {
			return events, err
		}
		var envelope struct{ Type, Challenge string }
		if err := json.Unmarshal(r.Body, &envelope); err != nil {
			return events, nil //nolint:nilerr // forms are authentic too, and have no type
		}
		if envelope.Type == "url_verification" {
			return nil, slackChallenge(envelope.Challenge)
		}
		events[0].Type, events[0].Proof.Type = envelope.Type, envelope.Type != ""
		return events, nil
	}
}

// maxChallenge bounds what is echoed, in bytes. Slack's challenges have some dozen.
const maxChallenge = 1 << 10

// slackChallenge answers url_verification, as plain text:
// https://docs.slack.dev/reference/events/url_verification
func slackChallenge(challenge string) error {
	if challenge == "" || len(challenge) > maxChallenge {
		return fmt.Errorf("%w: a challenge of %d bytes, 1 to %d are echoed", webhook.ErrMalformed, len(challenge), maxChallenge)
	}
	return &webhook.Answer{Body: []byte(challenge)}
}
