package provider_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// now is when the requests of these tests arrive.
var now = time.Unix(1_700_000_000, 0)

// sender signs as a preset's sender does: written down here from its
// documentation, not from the code that is tested. Each test runs over all of
// them, or over those that it can mean.
type sender struct {
	preset         string
	standard       bool      // its secrets are those of Standard Webhooks
	secrets        [2]string // two that are valid
	format         string    // what an error says is expected of a secret
	header         string    // that has the signatures
	separator      string    // between them; empty: there is one alone
	version, other string    // prefix of a signature; of one in another version, empty: there is none
	timed          bool      // signs the time of the request
	undated        bool      // does not tell the time of the event
	idHeader       string    // that has the id; empty: the body has it
	typeHeader     string    // that has the type; empty: the body has it
	idSigned       bool
	kept           []string // headers that are stored beside Content-Type

	key    func(secret string) []byte
	signed func(id, timestamp, body string) string // what the MAC is over
	encode func(mac []byte) string
	set    func(h http.Header, id, timestamp string, signatures ...string)
	body   func(id string) string
}

var senders = []sender{
	standardSender("standard_webhooks", "Webhook-"),
	standardSender("svix", "Svix-"),
	{
		preset:  "stripe",
		secrets: [2]string{"whsec_test_secret", "whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH"},
		format:  "whsec_",
		header:  "Stripe-Signature", separator: ",", version: "v1=", other: "v0=",
		timed: true, idSigned: true,
		key: raw, encode: hex.EncodeToString,
		signed: func(_, timestamp, body string) string { return timestamp + "." + body },
		set: func(h http.Header, _, timestamp string, signatures ...string) {
			h.Set("Stripe-Signature", strings.Join(append([]string{"t=" + timestamp}, signatures...), ","))
		},
		body: func(id string) string {
			return fmt.Sprintf(`{"id":%q,"object":"event","created":1699999990,"data":{"object":{"id":"seti_1"}},"type":"setup_intent.created"}`, id)
		},
	},
	{
		preset:  "github",
		secrets: [2]string{"It's a Secret to Everybody", "whsec_is just text here"},
		format:  "the webhook's secret",
		header:  "X-Hub-Signature-256", version: "sha256=", other: "sha1=",
		undated:  true,
		idHeader: "X-Github-Delivery", typeHeader: "X-Github-Event",
		kept: []string{"X-Github-Delivery", "X-Github-Event"},
		key:  raw, encode: hex.EncodeToString,
		signed: func(_, _, body string) string { return body },
		set: func(h http.Header, id, _ string, signatures ...string) {
			h["X-Hub-Signature-256"] = signatures
			h.Set("X-Github-Delivery", id)
			h.Set("X-Github-Event", "pull_request")
		},
		body: func(id string) string { return fmt.Sprintf(`{"action":"opened","title":%q}`, id) },
	},
	{
		preset:  "slack",
		secrets: [2]string{"8f742231b10e8888abcd99baac0785a5", "e6b19c573432dcc6b075501d51b51bb8"},
		format:  "the app's signing secret (32 hexadecimal digits",
		header:  "X-Slack-Signature", version: "v0=", other: "v1=",
		timed: true, idSigned: true,
		key: raw, encode: hex.EncodeToString,
		signed: func(_, timestamp, body string) string { return "v0:" + timestamp + ":" + body },
		set: func(h http.Header, _, timestamp string, signatures ...string) {
			h["X-Slack-Signature"] = signatures
			h.Set("X-Slack-Request-Timestamp", timestamp)
		},
		body: func(id string) string {
			return fmt.Sprintf(`{"team_id":"T1","event":{"type":"app_mention","text":"hi"},"type":"event_callback","event_id":%q,"event_time":1699999990}`, id)
		},
	},
	{
		preset:   "shopify",
		secrets:  [2]string{"hush", "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"},
		format:   "the app's client secret",
		header:   "X-Shopify-Hmac-Sha256",
		idHeader: "X-Shopify-Webhook-Id", typeHeader: "X-Shopify-Topic",
		kept: []string{"X-Shopify-Webhook-Id", "X-Shopify-Topic", "X-Shopify-Triggered-At"},
		key:  raw, encode: base64.StdEncoding.EncodeToString,
		signed: func(_, _, body string) string { return body },
		set: func(h http.Header, id, _ string, signatures ...string) {
			h["X-Shopify-Hmac-Sha256"] = signatures
			h.Set("X-Shopify-Webhook-Id", id)
			h.Set("X-Shopify-Topic", "orders/create")
			h.Set("X-Shopify-Triggered-At", "2023-11-14T22:13:10.25Z")
		},
		body: func(id string) string { return fmt.Sprintf(`{"id":820982911946154508,"note":%q}`, id) },
	},
}

// standardSender is a sender of Standard Webhooks under header names that begin
// with prefix.
func standardSender(preset, prefix string) sender {
	return sender{
		preset: preset, standard: true,
		secrets: [2]string{
			"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
			"whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32))),
		},
		format: "whsec_ and 24 to 64 bytes in base64",
		header: prefix + "Signature", separator: " ", version: "v1,", other: "v1a,",
		timed: true, idHeader: prefix + "Id", idSigned: true,
		key: func(secret string) []byte {
			key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
			if err != nil {
				panic(err)
			}
			return key
		},
		encode: base64.StdEncoding.EncodeToString,
		signed: func(id, timestamp, body string) string { return id + "." + timestamp + "." + body },
		set: func(h http.Header, id, timestamp string, signatures ...string) {
			h.Set(prefix+"Id", id)
			h.Set(prefix+"Timestamp", timestamp)
			h.Set(prefix+"Signature", strings.Join(signatures, " "))
		},
		body: func(id string) string {
			return fmt.Sprintf(`{"type":"invoice.paid","timestamp":"2023-11-14T22:13:10Z","data":{"note":%q}}`, id)
		},
	}
}

func raw(secret string) []byte { return []byte(secret) }

func hmacSHA256(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// sign is the signature of that event, as it is spelt, without its prefix.
func (s sender) sign(secret, id, timestamp, body string) string {
	return s.encode(hmacSHA256(s.key(secret), s.signed(id, timestamp, body)))
}

// request is a request of the sender, signed with the secret at timestamp.
func (s sender) request(secret, id, timestamp, body string) *webhook.Request {
	r := &webhook.Request{Method: http.MethodPost, Header: http.Header{}, Body: []byte(body), Time: now}
	r.Header.Set("Content-Type", "application/json")
	s.set(r.Header, id, timestamp, s.version+s.sign(secret, id, timestamp, body))
	return r
}

// genuine is a request that must be accepted, of the event evt_1.
func (s sender) genuine() *webhook.Request {
	return s.request(s.secrets[0], "evt_1", unix(now), s.body("evt_1"))
}

// replace sets the signatures of a genuine request, and leaves the rest of it.
func (s sender) replace(r *webhook.Request, signatures ...string) {
	s.set(r.Header, "evt_1", unix(now), signatures...)
}

func (s sender) verifier(tb testing.TB, secrets ...string) webhook.Verifier {
	tb.Helper()
	v, err := presets[s.preset](secrets...)
	require.NoError(tb, err)
	return v
}

func (s sender) several() bool { return s.separator != "" }
func (s sender) base64() bool  { return strings.HasSuffix(s.encode(make([]byte, 32)), "=") }
func (s sender) hex() bool     { return !s.base64() }
func (s sender) isTimed() bool { return s.timed }

// named returns the sender of a preset.
func named(preset string) sender {
	for _, s := range senders {
		if s.preset == preset {
			return s
		}
	}
	panic("no sender is called " + preset)
}

// each runs f for each sender, or for those that only says (nil: all).
func each(t *testing.T, only func(s sender) bool, f func(t *testing.T, s sender)) {
	t.Helper()
	ran := false
	for _, s := range senders {
		if only == nil || only(s) {
			ran = true
			t.Run(s.preset, func(t *testing.T) { f(t, s) })
		}
	}
	require.True(t, ran, "this test is about nobody")
}

func TestPresets_AllHaveASender(t *testing.T) {
	require.Len(t, senders, len(presets))
	for _, s := range senders {
		require.Contains(t, presets, s.preset)
	}
}

// accepted requires that v accepts r, and returns its event.
func accepted(tb testing.TB, v webhook.Verifier, r *webhook.Request) webhook.Event {
	tb.Helper()
	events, err := v.Verify(tb.Context(), r)
	require.NoError(tb, err)
	require.Len(tb, events, 1)
	return events[0]
}

// refused requires that v refuses r with the sentinel and the status that belongs
// to it, and returns the diagnosis.
func refused(tb testing.TB, v webhook.Verifier, r *webhook.Request, sentinel error) string {
	tb.Helper()
	events, err := v.Verify(tb.Context(), r)
	require.ErrorIs(tb, err, sentinel)
	require.Nil(tb, events)
	status := map[error]int{
		webhook.ErrSignature: http.StatusUnauthorized,
		webhook.ErrStale:     http.StatusUnauthorized,
		webhook.ErrMalformed: http.StatusBadRequest,
		webhook.ErrTooLarge:  http.StatusRequestEntityTooLarge,
	}[sentinel]
	var answer *webhook.Answer
	require.ErrorAs(tb, err, &answer)
	require.Equal(tb, status, answer.Status, err)
	requireDiscreet(tb, err.Error()+string(answer.Body), r)
	return err.Error()
}

// requireDiscreet requires that what was said of r holds no secret, no signature
// and no body.
func requireDiscreet(tb testing.TB, said string, r *webhook.Request) {
	tb.Helper()
	for _, s := range senders {
		for _, secret := range s.secrets {
			require.NotContains(tb, said, strings.TrimPrefix(secret, "whsec_"))
			expected := s.sign(secret, r.Header.Get(s.idHeader), unix(now), string(r.Body))
			require.NotContains(tb, said, expected, "the MAC")
		}
	}
	if len(r.Body) > 0 && len(r.Body) < 1<<20 {
		require.NotContains(tb, said, string(r.Body))
	}
}
