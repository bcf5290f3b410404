// Package refusal says why a request was refused: with a cause from a short
// list, for counting, and in words that name the remedy, for the person who
// reads the log. None of it goes to the sender, and none of it holds a MAC, a
// secret or anything of a body.
package refusal

import (
	"net/http"
	"slices"
	"time"
)

// Cause is the reason in a log record.
type Cause string

// The causes. Those of the check itself come first, the request's own last.
const (
	Signature    Cause = "signature"      // well formed, and no secret fits
	NoHeader     Cause = "header_missing" // one that carries the signature, or is signed
	BadHeader    Cause = "header_format"  // there, but not as this sender writes it
	OtherSender  Cause = "other_sender"   // signed by the scheme of somebody else
	NoSecret     Cause = "no_secret"      // there is none to try
	Unavailable  Cause = "secrets"        // the secrets could not be found out
	Clock        Cause = "clock"          // the signed time is outside the tolerance
	Malformed    Cause = "malformed"
	TooLarge     Cause = "too_large"
	Incomplete   Cause = "incomplete_body" // cut short, or not as long as announced
	Slow         Cause = "slow_body"
	Consumed     Cause = "body_consumed" // somebody read it before
	Method       Cause = "method"
	Check        Cause = "check" // an error of a custom check
	Unconfigured Cause = "unconfigured"
)

// Error is a refusal.
type Error struct {
	Cause Cause
	Err   error         // the sentinel that callers branch on, or what went wrong; may be nil
	Text  string        // the diagnosis; empty: Err has it
	Skew  time.Duration // Clock: by how much the signed time is ahead of the clock
	Tried int           // Signature: how many secrets were tried
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return "webhook: " + e.Text
	case e.Text == "":
		return e.Err.Error()
	default:
		return e.Err.Error() + ": " + e.Text
	}
}

func (e *Error) Unwrap() error { return e.Err }

// senders are well-known signature headers, in canonical form, and whose they
// are.
var senders = []struct{ header, sender string }{
	{"Linear-Signature", "Linear"},
	{"Paddle-Signature", "Paddle"},
	{"Stripe-Signature", "Stripe"},
	{"Svix-Signature", "Svix"},
	{"Twitch-Eventsub-Message-Signature", "Twitch"},
	{"Typeform-Signature", "Typeform"},
	{"Webhook-Signature", "Standard Webhooks"},
	{"X-Hub-Signature-256", "GitHub or Meta"},
	{"X-Hub-Signature", "Bitbucket, Intercom, Jira or WebSub"},
	{"X-Shopify-Hmac-Sha256", "Shopify"},
	{"X-Slack-Signature", "Slack"},
	{"X-Square-Hmacsha256-Signature", "Square"},
	{"X-Twilio-Signature", "Twilio"},
	{"X-Zm-Signature", "Zoom"},
}

// LooksLike returns the sender whose signature header h has, besides the one
// named expected, and that header; empty if there is none.
func LooksLike(h http.Header, expected string) (sender, header string) {
	i := slices.IndexFunc(senders, func(s struct{ header, sender string }) bool {
		return s.header != expected && len(h[s.header]) > 0
	})
	if i < 0 {
		return "", ""
	}
	return senders[i].sender, senders[i].header
}
