package signature_test

import (
	"crypto"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/surehook/webhook/signature"
)

// envEnforced makes this test binary one in which FIPS 140-3 is enforced: GODEBUG
// is read when a process starts.
const envEnforced = "SIGNATURE_FIPS_ENFORCED"

// Where FIPS 140-3 is enforced, package crypto panics on short keys and on SHA-1: at
// the first request, or in Check of an endpoint. It is an error before, which names
// the setting.
func TestScheme_FIPSEnforced(t *testing.T) {
	if os.Getenv(envEnforced) == "" {
		self, err := os.Executable()
		require.NoError(t, err)
		cmd := exec.CommandContext(t.Context(), self, "-test.run", "^TestScheme_FIPSEnforced$")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=only", envEnforced+"=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return
	}
	scheme := func(hash crypto.Hash) signature.Scheme {
		return signature.Scheme{Name: "acme", Hash: hash, Header: "Acme-Signature"}
	}
	_, err := scheme(crypto.SHA256).Verifier("thirteen byte")
	require.ErrorContains(t, err, "13 bytes: with GODEBUG=fips140=only")
	_, err = scheme(crypto.SHA256).Verifier("fourteen bytes")
	require.NoError(t, err)
	_, err = scheme(crypto.SHA1).Verifier("fourteen bytes")
	require.ErrorContains(t, err, "SHA1, which GODEBUG=fips140=only does not allow")
}
