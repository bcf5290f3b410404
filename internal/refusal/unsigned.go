package refusal

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Unsigned is the refusal, for the sentinel err, of a request without the header
// called name: carrier, which is to have the signature, or one that is signed. It
// says what such a request looks like.
func Unsigned(h http.Header, name, carrier string, err error) *Error {
	e := &Error{Cause: NoHeader, Err: err}
	switch sender, other := looksLike(h, carrier); {
	case carrier == hubSHA256 && hasSHA1(h):
		e.Text = fmt.Sprintf("%s is missing, only the SHA-1 signature is there (%s), which is not accepted: a proxy took the other away, or the sender is too old to have it", name, hub)
	case sender != "":
		e.Cause = OtherSender
		e.Text = fmt.Sprintf("%s is missing, and there is %s: this looks like a request of %s", name, other, sender)
	default:
		e.Text = name + " is missing or empty: the request is not signed, or a proxy took the header away"
	}
	return e
}

// The headers of WebSub's family, in canonical form. GitHub sends both, for
// receivers that still know the first alone.
const (
	hub       = "X-Hub-Signature"
	hubSHA256 = "X-Hub-Signature-256"
)

func hasSHA1(h http.Header) bool {
	return slices.ContainsFunc(h[hub], func(v string) bool { return strings.HasPrefix(v, "sha1=") })
}

// senders are well-known signature headers, in canonical form, and whose they
// are.
var senders = []struct{ header, sender string }{
	{"Linear-Signature", "Linear"},
	{"Paddle-Signature", "Paddle"},
	{"Stripe-Signature", "Stripe"},
	{"Svix-Signature", "Svix, Clerk or Resend"},
	{"Twitch-Eventsub-Message-Signature", "Twitch"},
	{"Typeform-Signature", "Typeform"},
	{"Webhook-Signature", "Standard Webhooks"},
	{"X-Gitlab-Token", "GitLab"},
	{hubSHA256, "GitHub or Meta"},
	{hub, "Bitbucket, Intercom, Jira or WebSub"},
	{"X-Shopify-Hmac-Sha256", "Shopify"},
	{"X-Slack-Signature", "Slack"},
	{"X-Square-Hmacsha256-Signature", "Square"},
	{"X-Twilio-Signature", "Twilio"},
	{"X-Zm-Signature", "Zoom"},
}

// looksLike returns the sender whose signature header h has, besides the one
// named expected, and that header; empty if there is none.
func looksLike(h http.Header, expected string) (sender, header string) {
	i := slices.IndexFunc(senders, func(s struct{ header, sender string }) bool {
		return s.header != expected && len(h[s.header]) > 0
	})
	if i < 0 {
		return "", ""
	}
	return senders[i].sender, senders[i].header
}
