package provider_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook"
)

// hubSHA1 is the X-Hub-Signature that GitHub sends beside the other.
func hubSHA1(secret, body string) string {
	h := hmac.New(sha1.New, []byte(secret))
	h.Write([]byte(body))
	return "sha1=" + hex.EncodeToString(h.Sum(nil))
}

// The SHA-1 signature is there in each request, and decides nothing.
func TestGitHub_SHA1(t *testing.T) {
	s := named("github")
	v := s.verifier(t, s.secrets[0])
	good := hubSHA1(s.secrets[0], s.body("evt_1"))

	r := s.genuine()
	r.Header.Set("X-Hub-Signature", good)
	e := accepted(t, v, r)
	require.NotContains(t, e.Headers, "X-Hub-Signature")

	r.Header.Set("X-Hub-Signature", "sha1=0000000000000000000000000000000000000000")
	accepted(t, v, r)

	r = s.genuine()
	r.Header.Del(s.header)
	r.Header.Set("X-Hub-Signature", good)
	require.Contains(t, refused(t, v, r, webhook.ErrSignature), "only the SHA-1 signature is there (X-Hub-Signature)")

	r.Header.Set(s.header, good)
	refused(t, v, r, webhook.ErrSignature)

	r = s.genuine()
	r.Header.Set("X-Hub-Signature", r.Header.Get(s.header))
	r.Header.Del(s.header)
	require.Contains(t, refused(t, v, r, webhook.ErrSignature), "looks like a request of Bitbucket")
}

// What GitHub sends when a webhook is made is an event, which a handler may
// leave alone.
func TestGitHub_Ping(t *testing.T) {
	s := named("github")
	r := s.withBody(now, "72d3162e-cc78-11e3-81ab-4c9367dc0958", `{"zen":"Keep it logically awesome.","hook_id":1}`)
	r.Header.Set("X-GitHub-Event", "ping")
	r.Header.Set("X-GitHub-Hook-ID", "1")
	e := accepted(t, s.verifier(t, s.secrets[0]), r)
	require.Equal(t, "ping", e.Type)
	require.Equal(t, "72d3162e-cc78-11e3-81ab-4c9367dc0958", e.ID)
	require.Equal(t, "1", e.Headers.Get("X-GitHub-Hook-ID"))
}

// Redelivered by hand within the days that GitHub allows it, an event is known.
func TestGitHub_Horizon(t *testing.T) {
	v := named("github").verifier(t, named("github").secrets[0])
	require.GreaterOrEqual(t, v.Horizon, 3*24*time.Hour)
}
