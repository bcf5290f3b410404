package interop_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The receiver knows two secrets, and the sender signs with either.
func TestRotation_ReceiverHasBoth(t *testing.T) {
	for by, sign := range signers {
		t.Run(by, func(t *testing.T) {
			each(t, func(t *testing.T, s sdk) {
				ids := map[string]bool{}
				for _, secret := range s.secrets[:2] {
					got := s.sendToPreset(t, sign(t, s, s.body, time.Now(), secret), s.secrets[0], s.secrets[1])
					require.Equal(t, http.StatusOK, got.status)
					ids[got.secretID] = true
				}
				require.Len(t, ids, 2, "which secret fitted is seen")

				got := s.sendToPreset(t, sign(t, s, s.body, time.Now(), s.secrets[2]), s.secrets[0], s.secrets[1])
				require.Equal(t, http.StatusUnauthorized, got.status)
			})
		})
	}
}

// The sender signs with two secrets, where its header has room for two
// signatures, and the receiver knows either.
func TestRotation_SenderSignsWithBoth(t *testing.T) {
	for by, sign := range signers {
		t.Run(by, func(t *testing.T) {
			tried := 0
			each(t, func(t *testing.T, s sdk) {
				if s.separator == "" {
					return
				}
				tried++
				m := sign(t, s, s.body, time.Now(), s.secrets[0], s.secrets[1])
				for _, secret := range s.secrets[:2] {
					require.Equal(t, http.StatusOK, s.sendToPreset(t, m, secret).status)
					require.Equal(t, http.StatusOK, s.sendToSDK(t, m, secret).status)
				}
				require.Equal(t, http.StatusUnauthorized, s.sendToPreset(t, m, s.secrets[2]).status)
				require.Equal(t, http.StatusUnauthorized, s.sendToSDK(t, m, s.secrets[2]).status)
			})
			require.Equal(t, 3, tried)
		})
	}
}
