package interop_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-github/v89/github"
	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v85"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/provider"
)

// What docs/migrating.md says is different, is.

// An endpoint sends events of the API version that it was made with, which an
// update of stripe-go does not change.
func TestDifference_StripeAPIVersion(t *testing.T) {
	s := named(t, "stripe-go")
	body := strings.Replace(s.body, stripe.APIVersion, "2020-08-27", 1)
	m := signers["signed by the SDK"](t, s, body, time.Now(), s.secrets[0])

	refused := s.sendToSDK(t, m, s.secrets[0])
	require.Equal(t, http.StatusUnauthorized, refused.status)
	require.Contains(t, refused.got, "expects API version")

	require.Equal(t, http.StatusOK, s.sendToPreset(t, m, s.secrets[0]).status)
	var e stripe.Event
	require.NoError(t, webhook.Event{Body: []byte(body)}.Decode(&e))
	require.Equal(t, "evt_1", e.ID)
	require.Equal(t, "2020-08-27", e.APIVersion)
	require.NotEmpty(t, e.Data.Raw)
}

// Thin events have no data, and ConstructEvent has another function for them.
func TestDifference_StripeThinEvents(t *testing.T) {
	s := named(t, "stripe-go")
	const body = `{"id":"evt_1","object":"v2.core.event","created":"2026-05-28T20:26:40Z","type":"invoice.paid"}`
	m := signers["signed by the SDK"](t, s, body, time.Now(), s.secrets[0])
	require.Contains(t, s.sendToSDK(t, m, s.secrets[0]).got, "thin event")
	got := s.sendToPreset(t, m, s.secrets[0])
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, "evt_1", got.id)
}

func TestDifference_GitHubSHA1(t *testing.T) {
	s := named(t, "go-github")
	m := message{signGitHub(t, s.secrets[0], s.body, time.Now()), s.body}
	mac := hmac.New(sha1.New, []byte(s.secrets[0]))
	mac.Write([]byte(s.body))
	m.header.Del(github.SHA256SignatureHeader)
	m.header.Set(github.SHA1SignatureHeader, "sha1="+hex.EncodeToString(mac.Sum(nil)))
	require.Equal(t, http.StatusOK, s.sendToSDK(t, m, s.secrets[0]).status)
	require.Equal(t, http.StatusUnauthorized, s.sendToPreset(t, m, s.secrets[0]).status)
}

// Of a form go-github returns the JSON in it, and the preset the form.
func TestDifference_GitHubForm(t *testing.T) {
	s := named(t, "go-github")
	form := url.Values{"payload": {s.body}}.Encode()
	header := signGitHub(t, s.secrets[0], form, time.Now())
	header.Set("Content-Type", "application/x-www-form-urlencoded")

	payload, err := github.ValidatePayload(&http.Request{Header: header, Body: io.NopCloser(strings.NewReader(form))}, []byte(s.secrets[0]))
	require.NoError(t, err)
	require.JSONEq(t, s.body, string(payload))

	events, err := webhook.Must(provider.GitHub(s.secrets[0])).Verify(t.Context(), &webhook.Request{Header: header, Body: []byte(form)})
	require.NoError(t, err)
	require.Equal(t, form, string(events[0].Body))
}

// go-playground/webhooks looks at the type of an event before its signature.
func TestDifference_PlaygroundLooksAtTheTypeFirst(t *testing.T) {
	s := named(t, "go-playground/webhooks")
	m := signers["signed by the SDK"](t, s, s.body, time.Now(), s.secrets[2])
	m.header.Set("X-Github-Event", "push")
	require.Equal(t, "event not defined to be parsed\n", s.sendToSDK(t, m, s.secrets[0]).got)
	require.Equal(t, "signature refused\n", s.sendToPreset(t, m, s.secrets[0]).got)
}

// The variable that was not set: every SDK but one takes what anybody could have
// sent, and no preset is made of it.
func TestDifference_EmptySecret(t *testing.T) {
	each(t, func(t *testing.T, s sdk) {
		_, err := s.preset("")
		require.Error(t, err)

		m := message{s.sign(t, "", s.body, time.Now()), s.body}
		want := http.StatusOK
		if s.name == "slack-go" {
			want = http.StatusUnauthorized
		}
		require.Equal(t, want, s.sendToSDK(t, m, "").status)
	})
}

func TestDifference_SvixHeaders(t *testing.T) {
	s, standard := named(t, "svix-webhooks"), named(t, "standard-webhooks")
	wh, err := svix.NewWebhook(standardSecret)
	require.NoError(t, err)
	m := message{signStandard(t, "Webhook-", wh.Sign, s.body, time.Now()), s.body}
	require.Equal(t, http.StatusOK, s.sendToSDK(t, m, standardSecret).status)
	require.Equal(t, http.StatusUnauthorized, s.sendToPreset(t, m, standardSecret).status)
	require.Equal(t, http.StatusOK, standard.sendToPreset(t, m, standardSecret).status)
}

// A body that is too large is refused by its announced length. With the SDKs the
// limit is the handler's business, but for go-github, which has the same as its
// preset, and go-playground/webhooks, which has none.
func TestDifference_LargeBodies(t *testing.T) {
	each(t, func(t *testing.T, s sdk) {
		limit := webhook.Must(s.preset(s.secrets[0])).BodyLimit
		if limit == 0 {
			limit = 1 << 20
		}
		// White space, which is signed as everything is, and soon decoded.
		m := signers["signed by the SDK"](t, s, s.body+strings.Repeat(" ", int(limit)), time.Now(), s.secrets[0])
		require.Equal(t, http.StatusRequestEntityTooLarge, s.sendToPreset(t, m, s.secrets[0]).status)

		want := http.StatusOK
		if s.name == "go-github" {
			want = http.StatusUnauthorized
		}
		require.Equal(t, want, s.sendToSDK(t, m, s.secrets[0]).status)
	})
}
