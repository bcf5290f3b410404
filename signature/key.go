package signature

import (
	"errors"
	"strings"

	"github.com/surehook/webhook/internal/standard"
)

// RawKey is the Scheme.Key of senders whose secret is the key, byte for byte,
// whatever it looks like.
func RawKey(secret string) ([]byte, error) {
	switch {
	case strings.TrimSpace(secret) == "":
		return nil, errors.New("is empty: expected the secret as the sender shows it")
	case strings.TrimSpace(secret) != secret:
		return nil, errors.New("begins or ends with white space: expected the secret as the sender shows it, without a newline")
	case strings.HasPrefix(secret, "-----BEGIN "):
		return nil, errors.New("is a PEM block: expected a shared secret, not a public key")
	case strings.HasPrefix(secret, standard.PrefixPublic), strings.HasPrefix(secret, standard.PrefixPrivate):
		return nil, errors.New("is an ed25519 key (whpk_, whsk_): expected a shared secret")
	}
	return []byte(secret), nil
}

// StandardKey is the Scheme.Key of Standard Webhooks: "whsec_" and 24 to 64 bytes
// in base64.
func StandardKey(secret string) ([]byte, error) { return standard.ParseKey(secret) }
