package provider_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

func TestPresets_Genuine(t *testing.T) {
	each(t, nil, func(t *testing.T, s sender) {
		r := s.genuine()
		kept := http.Header{"Content-Type": {"application/json"}}
		for _, name := range s.kept {
			kept[name] = r.Header[name]
		}
		e := accepted(t, s.verifier(t, s.secrets[0]), r)
		require.Equal(t, "evt_1", e.ID)
		require.Equal(t, s.body("evt_1"), string(e.Body))
		require.NotEmpty(t, e.Type)
		if s.undated {
			require.Zero(t, e.Time)
		} else {
			require.WithinDuration(t, now.Add(-10*time.Second), e.Time, time.Second)
		}
		require.Equal(t, s.idSigned, e.Proof.ID)
		require.Equal(t, s.typeHeader == "", e.Proof.Type)
		require.NotEmpty(t, e.Proof.SecretID)
		require.NotContains(t, s.secrets[0], e.Proof.SecretID)
		require.Equal(t, kept, e.Headers)
		if s.idSigned {
			require.Empty(t, e.Proof.Keys, "a signed id needs no replay key")
		} else {
			require.Len(t, e.Proof.Keys, 1, "an id that nobody signed is bound to the body")
		}
	})
}

// The names of a preset's verifier are stored, logged and counted.
func TestPresets_Names(t *testing.T) {
	each(t, nil, func(t *testing.T, s sender) {
		v := s.verifier(t, s.secrets[0])
		require.Equal(t, s.preset, v.Preset)
		require.Positive(t, v.Horizon, "how long the sender retries")
	})
}

// What a preset signs, the sender's own way of checking accepts, and the preset.
func TestPresets_Sign(t *testing.T) {
	each(t, nil, func(t *testing.T, s sender) {
		v := s.verifier(t, s.secrets[0], s.secrets[1])
		r := &webhook.Request{Method: http.MethodPost, Time: now, Secrets: []webhook.Secret{
			{},
			{Value: "\n", Until: now},
			{Value: s.secrets[0]},
			{Value: s.secrets[1]},
			{Value: s.secrets[0], Until: now},
		}}
		e := accepted(t, v, s.genuine())
		require.NoError(t, v.Sign(r, e))
		want := s.genuine()
		signatures := []string{s.version + s.sign(s.secrets[0], "evt_1", unix(now), s.body("evt_1"))}
		if s.several() {
			signatures = append(signatures, s.version+s.sign(s.secrets[1], "evt_1", unix(now), s.body("evt_1")))
		}
		s.replace(want, signatures...)
		want.Header.Del("Content-Type")
		want.Header.Del("X-Shopify-Triggered-At") // the time of the event, which is not the signer's to set
		require.Equal(t, want.Header, r.Header)
		again := accepted(t, v, r)
		require.Equal(t, "evt_1", again.ID)
		require.Equal(t, e.Type, again.Type)

		r.Body = append(r.Body, ' ')
		refused(t, v, r, webhook.ErrSignature)

		r.Secrets = []webhook.Secret{{Value: s.secrets[0], Until: now}}
		require.ErrorContains(t, v.Sign(r, e), "no secret")
		r.Secrets = []webhook.Secret{{Value: "\n"}}
		require.ErrorContains(t, v.Sign(r, e), "expected")
	})
}
