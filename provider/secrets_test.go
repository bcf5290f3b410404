package provider_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

func TestPresets_SecretFormat(t *testing.T) {
	key := func(n int) string {
		return base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\xfb", n)))
	}
	for _, test := range []struct{ name, preset, secret, expected string }{
		{"raw", "standard_webhooks", "correct horse battery staple", "whsec_"},
		{"newline inside base64", "standard_webhooks", "whsec_" + key(32)[:8] + "\n" + key(32)[8:], "white space"},
		{"prefix alone", "standard_webhooks", "whsec_", "24 to 64 bytes"},
		{"raw behind the prefix", "standard_webhooks", "whsec_correct-horse-battery-staple", "base64"},
		{"base64 without prefix", "standard_webhooks", key(32), "put whsec_ before it"},
		{"hexadecimal behind the prefix", "standard_webhooks", "whsec_" + strings.Repeat("0f", 33), "base64"},
		{"too short", "standard_webhooks", "whsec_" + key(23), "has 23 bytes"},
		{"too long", "standard_webhooks", "whsec_" + key(65), "has 65 bytes"},
		{"unpadded", "standard_webhooks", "whsec_" + strings.TrimRight(key(32), "="), "base64"},
		{"URL alphabet", "standard_webhooks", "whsec_" + strings.NewReplacer("+", "-", "/", "_").Replace(key(24)), "base64"},
		{"trailing bits", "standard_webhooks", "whsec_" + key(32)[:42] + "/=", "base64"},
		{"public key, too short", "standard_webhooks", "whpk_" + key(31), "has 31 bytes after whpk_"},
		{"private key, half of it", "standard_webhooks", "whsk_" + key(32), "has 32 bytes after whsk_"},
		{"upper-case prefix", "standard_webhooks", "WHSEC_" + key(32), "whsec_"},
		{"prefix alone", "stripe", "whsec_", "expected whsec_"},
		{"API key", "stripe", "sk_live_51H", "not an API key"},
		{"publishable key", "stripe", "pk_live_51H", "expected whsec_"},
		{"access token", "github", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_"},
		{"fine-grained access token", "github", "github_pat_11ABCDEFG0", "github_pat_"},
		{"OAuth token", "github", "gho_16C7e42F292c6912E7710c838347Ae178B4a", "gho_"},
		{"installation token", "github", "ghs_16C7e42F292c6912E7710c838347Ae178B4a", "ghs_"},
		{"private key of an App", "github", "-----BEGIN RSA PRIVATE KEY-----\nMIIE", "PEM"},
		{"bot token", "slack", "xoxb-17653672481-19874698323", "32 hexadecimal digits"},
		{"user token", "slack", "xoxp-17653672481-19874698323", "32 hexadecimal digits"},
		{"app-level token", "slack", "xapp-1-A111-222-333", "32 hexadecimal digits"},
		{"secret of Stripe", "slack", "whsec_test_secret", "32 hexadecimal digits"},
		{"access token", "shopify", "shpat_0123456789abcdef0123456789abcdef", "client secret"},
		{"access token of a custom app", "shopify", "shpca_0123456789abcdef0123456789abcdef", "client secret"},
		{"secret of Stripe", "shopify", "whsec_test_secret", "client secret"},
	} {
		t.Run(test.preset+"/"+test.name, func(t *testing.T) {
			refuseSecret(t, test.preset, test.secret, test.expected)
		})
	}
	shared := func(s sender) bool { return !s.standard }
	for _, test := range []struct {
		name, secret, expected string
		only                   func(s sender) bool
	}{
		{"empty", "", "empty", nil},
		{"white space", "  ", "expected", nil},
		{"only white space", "\t\n\u00a0", "expected", nil},
		{"trailing newline", key(32) + "\n", "white space", nil},
		{"leading space", " " + key(32), "white space", nil},
		{"public key", "whpk_" + key(32), "ed25519", shared},
		{"private key", "whsk_" + key(32), "ed25519", shared},
		{"PEM", "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----", "expected", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, test.only, func(t *testing.T, s sender) {
				refuseSecret(t, s.preset, test.secret, test.expected)
				_, err := presets[s.preset](s.secrets[0], test.secret)
				require.ErrorContains(t, err, "secret 2 of 2", "one bad secret beside a good one")
			})
		})
	}
	for _, n := range []int{24, 64} {
		_, err := presets["standard_webhooks"]("whsec_" + key(n))
		require.NoError(t, err)
	}
}

// refuseSecret requires an error at construction that says what is expected, and
// nothing of the secret.
func refuseSecret(t *testing.T, preset, secret, says string) {
	t.Helper()
	v, err := presets[preset](secret)
	require.ErrorContains(t, err, says)
	require.ErrorContains(t, err, "expected")
	require.ErrorContains(t, err, preset+": secret 1 of 1")
	require.ErrorContains(t, err, named(preset).format, "the format expected")
	require.Nil(t, v.Check, "a Verifier beside an error")
	if _, id, ok := strings.Cut(secret, "_"); ok && len(id) > 3 {
		require.NotContains(t, err.Error(), id)
	}
	if len(strings.TrimSpace(secret)) > 6 {
		require.NotContains(t, err.Error(), strings.TrimSpace(secret))
	}
}

func TestPresets_WithoutSecret(t *testing.T) {
	each(t, nil, func(t *testing.T, s sender) {
		v := s.verifier(t)
		require.Nil(t, v.Secrets)
		require.Panics(t, func() { webhook.Verify("x", v) })
		_, err := v.Verify(t.Context(), s.genuine())
		var answer *webhook.Answer
		require.ErrorAs(t, err, &answer)
		require.Equal(t, http.StatusInternalServerError, answer.Status)
	})
}

func TestPresets_Rotation(t *testing.T) {
	each(t, nil, func(t *testing.T, s sender) {
		v := s.verifier(t, s.secrets[0], s.secrets[1])
		byOld := accepted(t, v, s.request(s.secrets[0], "evt_1", unix(now), s.body("evt_1")))
		byNew := accepted(t, v, s.request(s.secrets[1], "evt_1", unix(now), s.body("evt_1")))
		require.NotEqual(t, byOld.Proof.SecretID, byNew.Proof.SecretID, "nobody could tell when the old one is unused")

		old := s.verifier(t, s.secrets[0])
		refused(t, old, s.request(s.secrets[1], "evt_1", unix(now), s.body("evt_1")), webhook.ErrSignature)
	})
}

// Secrets that come from a function: one for each tenant, with their own ends.
func TestPresets_SecretsOfTenants(t *testing.T) {
	each(t, nil, func(t *testing.T, s sender) {
		v := s.verifier(t)
		secrets := []webhook.Secret{
			{ID: "none", Tenant: "nobody"},
			{ID: "odd", Value: "not in the format of any preset\n", Tenant: "odd"},
			{ID: "a-old", Value: s.secrets[0], Tenant: "a", Until: now.Add(time.Minute)},
			{ID: "b", Value: s.secrets[1], Tenant: "b"},
		}
		v.Secrets = fixed(secrets...)

		e := accepted(t, v, s.request(s.secrets[1], "evt_1", unix(now), s.body("evt_1")))
		require.Equal(t, "b", e.Tenant)
		require.Equal(t, "b", e.Proof.SecretID)
		e = accepted(t, v, s.genuine())
		require.Equal(t, "a", e.Tenant)
		require.Equal(t, "a-old", e.Proof.SecretID)

		late := s.request(s.secrets[0], "evt_1", unix(now.Add(time.Minute)), s.body("evt_1"))
		late.Time = now.Add(time.Minute)
		require.Contains(t, refused(t, v, late, webhook.ErrSignature), "not in the format of "+s.preset)

		v.Secrets = fixed(secrets[0])
		require.Contains(t, refused(t, v, s.genuine(), webhook.ErrSignature), "no secret for this request")
		v.Secrets = fixed(secrets[1])
		require.Contains(t, refused(t, v, s.genuine(), webhook.ErrSignature), "none of 1 secrets is in the format")
		v.Secrets = fixed()
		refused(t, v, s.genuine(), webhook.ErrSignature)
	})
}

// An empty secret does not even fit what was signed with an empty key.
func TestPresets_EmptySecretFitsNothing(t *testing.T) {
	each(t, nil, func(t *testing.T, s sender) {
		v := s.verifier(t)
		v.Secrets = fixed(webhook.Secret{})
		refused(t, v, s.request("", "evt_1", unix(now), s.body("evt_1")), webhook.ErrSignature)
	})
}

// A Standard Webhooks id is signed, and cannot be left out.
func TestStandardWebhooks_SignNeedsAnID(t *testing.T) {
	for _, preset := range []string{"standard_webhooks", "svix"} {
		s := named(preset)
		v := s.verifier(t, s.secrets[0])
		for _, id := range []string{"", "a.b"} {
			r := &webhook.Request{Secrets: []webhook.Secret{{Value: s.secrets[0]}}}
			require.Error(t, v.Sign(r, webhook.Event{ID: id}))
			require.Empty(t, r.Header.Get(s.header), "half a signature")
		}
	}
}

// One Verifier serves all requests at once: no message runs into another.
func TestPresets_Concurrently(t *testing.T) {
	each(t, nil, func(t *testing.T, s sender) {
		v := s.verifier(t, s.secrets[0], s.secrets[1])
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				id := "evt_" + strconv.Itoa(i)
				for n := range 50 {
					r := s.request(s.secrets[n%2], id, unix(now), s.body(id))
					events, err := v.Verify(t.Context(), r)
					assert.NoError(t, err)
					assert.Equal(t, id, events[0].ID)
					r.Body = append(r.Body, byte(n))
					_, err = v.Verify(t.Context(), r)
					assert.ErrorIs(t, err, webhook.ErrSignature)
				}
			})
		}
		wg.Wait()
	})
}

// fixed is a Verifier.Secrets.
func fixed(secrets ...webhook.Secret) func(context.Context, *webhook.Request) ([]webhook.Secret, error) {
	return func(context.Context, *webhook.Request) ([]webhook.Secret, error) { return secrets, nil }
}
