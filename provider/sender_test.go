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
// documentation, not from the code that is tested.
type sender struct {
	preset         string
	secrets        [2]string // two that are valid
	header         string    // that has the signatures
	separator      string    // between them
	version, other string    // prefix of a signature; of one in another version
	sign           func(secret, id, timestamp, body string) string
	set            func(h http.Header, id, timestamp string, signatures ...string)
	body           func(id string) string
}

var senders = []sender{
	{
		preset: "standard_webhooks",
		secrets: [2]string{
			"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
			"whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32))),
		},
		header: "Webhook-Signature", separator: " ", version: "v1,", other: "v1a,",
		sign: func(secret, id, timestamp, body string) string {
			key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
			if err != nil {
				panic(err)
			}
			return base64.StdEncoding.EncodeToString(hmacSHA256(key, id+"."+timestamp+"."+body))
		},
		set: func(h http.Header, id, timestamp string, signatures ...string) {
			h.Set("Webhook-Id", id)
			h.Set("Webhook-Timestamp", timestamp)
			h.Set("Webhook-Signature", strings.Join(signatures, " "))
		},
		body: func(string) string { return `{"type":"invoice.paid","data":{"id":"in_1"}}` },
	},
	{
		preset:  "stripe",
		secrets: [2]string{"whsec_test_secret", "whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH"},
		header:  "Stripe-Signature", separator: ",", version: "v1=", other: "v0=",
		sign: func(secret, _, timestamp, body string) string {
			return hex.EncodeToString(hmacSHA256([]byte(secret), timestamp+"."+body))
		},
		set: func(h http.Header, _, timestamp string, signatures ...string) {
			h.Set("Stripe-Signature", strings.Join(append([]string{"t=" + timestamp}, signatures...), ","))
		},
		body: func(id string) string {
			return fmt.Sprintf(`{"id":%q,"object":"event","created":1699999990,"data":{"object":{"id":"seti_1"}},"type":"setup_intent.created"}`, id)
		},
	},
}

func hmacSHA256(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

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

func (s sender) verifier(tb testing.TB, secrets ...string) webhook.Verifier {
	tb.Helper()
	v, err := presets[s.preset](secrets...)
	require.NoError(tb, err)
	return v
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
	status := http.StatusUnauthorized
	if sentinel == webhook.ErrMalformed { //nolint:errorlint // it is the sentinel itself
		status = http.StatusBadRequest
	}
	var answer *webhook.Answer
	require.ErrorAs(tb, err, &answer)
	require.Equal(tb, status, answer.Status, err)

	said := err.Error() + string(answer.Body)
	for _, s := range senders {
		for _, secret := range s.secrets {
			require.NotContains(tb, said, strings.TrimPrefix(secret, "whsec_"))
			expected := s.sign(secret, r.Header.Get("Webhook-Id"), unix(now), string(r.Body))
			require.NotContains(tb, said, expected, "the MAC")
		}
	}
	if len(r.Body) > 0 {
		require.NotContains(tb, said, string(r.Body))
	}
	return err.Error()
}
