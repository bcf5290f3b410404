package interop_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	playground "github.com/go-playground/webhooks/v6/github"
	"github.com/google/go-github/v89/github"
	"github.com/slack-go/slack"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v85"
	stripehook "github.com/stripe/stripe-go/v85/webhook"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

// sdk is a library that checks the requests of one sender, beside the preset for
// them. Each test runs over all of them.
type sdk struct {
	name    string
	preset  func(secrets ...string) (webhook.Verifier, error)
	secrets [3]string // two that the receiver knows, and another endpoint's

	id, typ string // of the event
	body    string

	// sign signs as the SDK does, or, where it can only verify, as the sender's
	// documentation says.
	sign func(t *testing.T, secret, body string, at time.Time) http.Header
	// check is the handler's part as the SDK's documentation has it: it reads r
	// and verifies it.
	check func(r *http.Request, secret string) error

	header    string // that has the signature
	version   string // what stands before it
	separator string // between several; empty: there is one alone
	timed     string // header that has the signed time; empty: none is signed
	ided      string // header that has a signed id; empty: the body has it, or nobody signs it
	lax       []string
}

const (
	standardSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	standardOther  = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	standardThird  = "whsec_plJ3nmyCDGBKInavdOK15jsl6wFWcsLK"
)

var sdks = []sdk{
	{
		name:    "stripe-go",
		preset:  provider.Stripe,
		secrets: [3]string{"whsec_one", "whsec_two", "whsec_three"},
		id:      "evt_1", typ: "invoice.paid",
		body: fmt.Sprintf(`{"id":"evt_1","object":"event","api_version":%q,"created":1780000000,`+
			`"type":"invoice.paid","data":{"object":{"id":"in_1","object":"invoice"}}}`, stripe.APIVersion),
		sign: func(_ *testing.T, secret, body string, at time.Time) http.Header {
			signed := stripehook.GenerateTestSignedPayload(&stripehook.UnsignedPayload{Payload: []byte(body), Secret: secret, Timestamp: at})
			return http.Header{"Stripe-Signature": {signed.Header}}
		},
		check: func(r *http.Request, secret string) error {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			_, err = stripehook.ConstructEvent(body, r.Header.Get("Stripe-Signature"), secret)
			return err
		},
		header: "Stripe-Signature", version: "v1=", separator: ",", timed: "Stripe-Signature",
		lax: []string{"signed in the future"},
	},
	{
		name:    "go-github",
		preset:  provider.GitHub,
		secrets: [3]string{"It's a Secret to Everybody", "whsec_another", "It's a secret to everybody"},
		id:      "72d3162e-cc78-11e3-81ab-4c9367dc0958", typ: "ping",
		body: `{"zen":"Design for failure.","hook_id":1}`,
		sign: signGitHub,
		check: func(r *http.Request, secret string) error {
			_, err := github.ValidatePayload(r, []byte(secret))
			return err
		},
		header: "X-Hub-Signature-256", version: "sha256=",
	},
	{
		name:    "go-playground/webhooks",
		preset:  provider.GitHub,
		secrets: [3]string{"It's a Secret to Everybody", "whsec_another", "It's a secret to everybody"},
		id:      "72d3162e-cc78-11e3-81ab-4c9367dc0958", typ: "ping",
		body: `{"zen":"Design for failure.","hook_id":1}`,
		sign: signGitHub,
		check: func(r *http.Request, secret string) error {
			hook, err := playground.New(playground.Options.Secret(secret))
			if err != nil {
				return err
			}
			_, err = hook.Parse(r, playground.PingEvent)
			return err
		},
		header: "X-Hub-Signature-256", version: "sha256=",
	},
	{
		name:    "slack-go",
		preset:  provider.Slack,
		secrets: [3]string{"8f742231b10e8888abcd99yyyzzz85a5", "8f742231b10e8888abcd99yyyzzz85a6", "8f742231b10e8888abcd99yyyzzz85a7"},
		id:      "Ev08MFMKH6", typ: "app_mention",
		body: `{"type":"event_callback","event_id":"Ev08MFMKH6","event_time":1780000000,"event":{"type":"app_mention"}}`,
		sign: func(_ *testing.T, secret, body string, at time.Time) http.Header {
			timestamp := strconv.FormatInt(at.Unix(), 10)
			return http.Header{
				"X-Slack-Request-Timestamp": {timestamp},
				"X-Slack-Signature":         {"v0=" + hex.EncodeToString(mac(secret, "v0:"+timestamp+":"+body))},
			}
		},
		check: func(r *http.Request, secret string) error {
			v, err := slack.NewSecretsVerifier(r.Header, secret)
			if err != nil {
				return err
			}
			if _, err := io.Copy(&v, r.Body); err != nil {
				return err
			}
			return v.Ensure()
		},
		header: "X-Slack-Signature", version: "v0=", timed: "X-Slack-Request-Timestamp",
	},
	{
		name:    "standard-webhooks",
		preset:  provider.StandardWebhooks,
		secrets: [3]string{standardSecret, standardOther, standardThird},
		id:      "msg_p5jXN8AQM9LWM0D4loKWxJek", typ: "invoice.paid",
		body: `{"type":"invoice.paid","timestamp":"2026-05-28T20:26:40Z","data":{"id":"in_1"}}`,
		sign: func(t *testing.T, secret, body string, at time.Time) http.Header {
			t.Helper()
			wh, err := standardwebhooks.NewWebhook(secret)
			require.NoError(t, err)
			return signStandard(t, "Webhook-", wh.Sign, body, at)
		},
		check: func(r *http.Request, secret string) error {
			wh, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				return err
			}
			return checkStandard(r, wh.Verify)
		},
		header: "Webhook-Signature", version: "v1,", separator: " ", timed: "Webhook-Timestamp", ided: "Webhook-Id",
	},
	{
		name:    "svix-webhooks",
		preset:  provider.Svix,
		secrets: [3]string{standardSecret, standardOther, standardThird},
		id:      "msg_p5jXN8AQM9LWM0D4loKWxJek", typ: "invoice.paid",
		body: `{"type":"invoice.paid","timestamp":"2026-05-28T20:26:40Z","data":{"id":"in_1"}}`,
		sign: func(t *testing.T, secret, body string, at time.Time) http.Header {
			t.Helper()
			wh, err := svix.NewWebhook(secret)
			require.NoError(t, err)
			return signStandard(t, "Svix-", wh.Sign, body, at)
		},
		check: func(r *http.Request, secret string) error {
			wh, err := svix.NewWebhook(secret)
			if err != nil {
				return err
			}
			return checkStandard(r, wh.Verify)
		},
		header: "Svix-Signature", version: "v1,", separator: " ", timed: "Svix-Timestamp", ided: "Svix-Id",
	},
}

// each runs test for each SDK.
func each(t *testing.T, test func(t *testing.T, s sdk)) {
	t.Helper()
	for _, s := range sdks {
		t.Run(s.name, func(t *testing.T) { test(t, s) })
	}
}

// named returns the SDK of that name.
func named(t *testing.T, name string) sdk {
	t.Helper()
	for _, s := range sdks {
		if s.name == name {
			return s
		}
	}
	require.Fail(t, "there is no SDK of this name", name)
	return sdk{}
}

// signGitHub signs as GitHub does, and has no use for a time:
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
func signGitHub(_ *testing.T, secret, body string, _ time.Time) http.Header {
	return http.Header{
		"X-Github-Event":      {"ping"},
		"X-Github-Delivery":   {"72d3162e-cc78-11e3-81ab-4c9367dc0958"},
		"X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(mac(secret, body))},
	}
}

func signStandard(t *testing.T, names string, sign func(id string, at time.Time, body []byte) (string, error), body string, at time.Time) http.Header {
	t.Helper()
	const id = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	signature, err := sign(id, at, []byte(body))
	require.NoError(t, err)
	return http.Header{
		names + "Id":        {id},
		names + "Timestamp": {strconv.FormatInt(at.Unix(), 10)},
		names + "Signature": {signature},
	}
}

func checkStandard(r *http.Request, verify func(body []byte, h http.Header) error) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	return verify(body, r.Header)
}

func mac(secret, message string) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(message))
	return h.Sum(nil)
}

// wrong returns a signature header that is well formed and fits nothing.
func (s sdk) wrong() string {
	zero := make([]byte, sha256.Size)
	if s.separator == " " {
		return s.version + base64.StdEncoding.EncodeToString(zero)
	}
	return s.version + hex.EncodeToString(zero)
}
