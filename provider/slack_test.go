package provider_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// challenged is a url_verification that is signed as it must be.
func challenged(challenge string) *webhook.Request {
	s := named("slack")
	return s.request(s.secrets[0], "", unix(now), `{"token":"t","challenge":"`+challenge+`","type":"url_verification"}`)
}

// The challenge is answered as plain text, whatever it holds, and is bounded.
func TestSlack_Challenge(t *testing.T) {
	v := named("slack").verifier(t, named("slack").secrets[0])
	for _, test := range []struct{ name, challenge, answer string }{
		{"token", "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P", "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"},
		{"HTML", `<script>alert(1)<\/script>`, "<script>alert(1)</script>"},
		{"as long as may be", strings.Repeat("x", 1024), strings.Repeat("x", 1024)},
		{"empty", "", ""},
		{"a byte too long", strings.Repeat("x", 1025), ""},
		{"nearly a megabyte", strings.Repeat("x", 1<<20-100), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.answer == "" {
				refused(t, v, challenged(test.challenge), webhook.ErrMalformed)
				return
			}
			_, err := v.Verify(t.Context(), challenged(test.challenge))
			var answer *webhook.Answer
			require.ErrorAs(t, err, &answer)
			require.NoError(t, answer.Err, "a handshake is no refusal")
			require.Equal(t, http.StatusOK, answer.Status)
			require.Equal(t, test.answer, string(answer.Body))
			require.Equal(t, "text/plain; charset=utf-8", answer.Header.Get("Content-Type"))
			require.Equal(t, "nosniff", answer.Header.Get("X-Content-Type-Options"))
		})
	}
}

// Nobody but Slack has anything echoed, and nobody twice for long.
func TestSlack_ChallengeIsVerifiedFirst(t *testing.T) {
	s := named("slack")
	v := s.verifier(t, s.secrets[0])
	for _, test := range []struct {
		name string
		spin func(r *webhook.Request)
		want error
	}{
		{"not signed", func(r *webhook.Request) { r.Header.Del(s.header) }, webhook.ErrSignature},
		{"signed with another secret", func(r *webhook.Request) {
			s.replace(r, s.version+s.sign(s.secrets[1], "", unix(now), string(r.Body)))
		}, webhook.ErrSignature},
		{"another challenge", func(r *webhook.Request) {
			r.Body = []byte(strings.Replace(string(r.Body), "marked", "forged", 1))
		}, webhook.ErrSignature},
		{"stale", func(r *webhook.Request) { r.Time = now.Add(6 * time.Minute) }, webhook.ErrStale},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := challenged("marked")
			test.spin(r)
			_, err := v.Verify(t.Context(), r)
			require.ErrorIs(t, err, test.want)
			var answer *webhook.Answer
			require.ErrorAs(t, err, &answer)
			require.Equal(t, "signature refused\n", string(answer.Body))
		})
	}
}

// No other preset echoes what looks like Slack's handshake.
func TestPresets_NoChallengeOfOthers(t *testing.T) {
	each(t, func(s sender) bool { return s.preset != "slack" }, func(t *testing.T, s sender) {
		body := string(challenged("marked").Body)
		require.Equal(t, body, string(accepted(t, s.verifier(t, s.secrets[0]), s.withBody(now, "evt_1", body)).Body))
	})
}

func TestSlack_Types(t *testing.T) {
	s := named("slack")
	v := s.verifier(t, s.secrets[0])
	for _, test := range []struct{ name, body, typ, id string }{
		{"an event inside", s.body("Ev1"), "app_mention", "Ev1"},
		{"none inside", `{"type":"app_rate_limited","team_id":"T1","minute_rate_limited":1518467820}`, "app_rate_limited", ""},
		{"an event that is called as the handshake", `{"type":"event_callback","event_id":"Ev1","event":{"type":"url_verification"},"challenge":"x"}`, "url_verification", "Ev1"},
		{"slash command", "command=%2Fweather&text=94070&trigger_id=13345224609.738474920.8088930838d88f008e0", "", ""},
		{"interactive component", "payload=%7B%22type%22%3A%22block_actions%22%2C%22trigger_id%22%3A%221%22%7D", "", ""},
		{"no type", `{"a":1}`, "", ""},
		{"a type that is no text", `{"type":{"a":1}}`, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := accepted(t, v, s.withBody(now, "", test.body))
			require.Equal(t, test.typ, e.Type)
			require.Equal(t, test.typ != "", e.Proof.Type)
			require.Equal(t, test.body, string(e.Body))
			if test.id != "" {
				require.Equal(t, test.id, e.ID)
				return
			}
			require.Len(t, e.ID, 64, "the digest of the body")
			require.NotEqual(t, e.ID, accepted(t, v, s.withBody(now, "", test.body+" ")).ID)
		})
	}
}

func TestSlack_KeepsRetries(t *testing.T) {
	s := named("slack")
	r := s.genuine()
	r.Header.Set("X-Slack-Retry-Num", "1")
	r.Header.Set("X-Slack-Retry-Reason", "http_timeout")
	e := accepted(t, s.verifier(t, s.secrets[0]), r)
	require.Equal(t, "1", e.Headers.Get("X-Slack-Retry-Num"))
	require.Equal(t, "http_timeout", e.Headers.Get("X-Slack-Retry-Reason"))
}

// A handshake is neither stored nor an error of the handler's.
func TestSlack_ChallengeIsNoEvent(t *testing.T) {
	events, err := named("slack").verifier(t, named("slack").secrets[0]).Verify(t.Context(), challenged("marked"))
	require.Empty(t, events)
	require.Error(t, err)
	for _, sentinel := range []error{webhook.ErrSignature, webhook.ErrStale, webhook.ErrMalformed, webhook.ErrTooLarge} {
		require.NotErrorIs(t, err, sentinel)
	}
}
