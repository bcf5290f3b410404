package provider_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// Each version is checked with keys of its own: none is taken for the other's, and
// a sender that is to sign with ed25519 is not believed for less.
func TestStandardWebhooks_VersionsAreApart(t *testing.T) {
	private := ed25519.NewKeyFromSeed([]byte(strings.Repeat("s", ed25519.SeedSize)))
	public, ok := private.Public().(ed25519.PublicKey)
	require.True(t, ok)
	whpk := "whpk_" + base64.StdEncoding.EncodeToString(public)
	for _, preset := range []string{"standard_webhooks", "svix"} {
		s := named(preset)
		message := s.signed("evt_1", unix(now), s.body("evt_1"))
		v1a := "v1a," + s.encode(ed25519.Sign(private, []byte(message)))
		v1 := s.version + s.sign(s.secrets[0], "evt_1", unix(now), s.body("evt_1"))
		keyed := s.encode(hmacSHA256(public, message)) // who knows the public key can make it
		for _, test := range []struct {
			name       string
			secrets    []string
			signatures []string
			fits       bool
		}{
			{"v1a", []string{whpk}, []string{v1a}, true},
			{"v1a beside v1", []string{whpk}, []string{v1, v1a}, true},
			{"both are configured, v1 is there", []string{whpk, s.secrets[0]}, []string{v1}, true},
			{"downgrade: v1 where v1a is configured", []string{whpk}, []string{v1}, false},
			{"v1a where v1 is configured", s.secrets[:1], []string{v1a}, false},
			{"v1a under the prefix of v1", []string{whpk, s.secrets[0]}, []string{"v1," + v1a[4:]}, false},
			{"an HMAC with the public key as v1", []string{whpk}, []string{"v1," + keyed}, false},
			{"an HMAC with the public key as v1a", []string{whpk}, []string{"v1a," + keyed}, false},
			{"an HMAC with the secret as v1a", []string{whpk, s.secrets[0]}, []string{"v1a," + v1[3:]}, false},
			{"v1a, changed", []string{whpk}, []string{v1a[:10] + string(v1a[10]^1) + v1a[11:]}, false},
		} {
			t.Run(preset+"/"+test.name, func(t *testing.T) {
				r := s.genuine()
				s.replace(r, test.signatures...)
				v := s.verifier(t, test.secrets...)
				if test.fits {
					accepted(t, v, r)
					return
				}
				refused(t, v, r, webhook.ErrSignature)
			})
		}
	}
}
