package standard

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"time"

	"github.com/surehook/webhook/internal/mac"
)

// Key signs. Safe for concurrent use.
type Key struct {
	symmetric *mac.Key
	private   ed25519.PrivateKey // where symmetric is nil
}

// NewKey prepares a secret for signing. Its errors hold nothing of the secret.
func NewKey(secret string) (*Key, error) {
	prefix, key, err := ParseSecret(secret)
	switch {
	case err != nil:
		return nil, err
	case prefix == PrefixPublic:
		return nil, errors.New("is a public key (whpk_), which verifies: only the private key (whsk_) signs")
	case prefix == PrefixPrivate:
		return &Key{private: key}, nil
	default:
		return &Key{symmetric: mac.NewKey(sha256.New, key)}, nil
	}
}

// Sign appends the signature of a message to list, with its version: one entry of
// webhook-signature.
func (k *Key) Sign(list []byte, id string, at time.Time, body []byte) []byte {
	if k.symmetric == nil {
		message := make([]byte, 0, len(id)+len(body)+22)
		message = strconv.AppendInt(append(append(message, id...), '.'), at.Unix(), 10)
		message = append(append(message, '.'), body...)
		return base64.StdEncoding.AppendEncode(append(list, V1a...), ed25519.Sign(k.private, message))
	}
	s := k.symmetric.Begin()
	defer s.End()
	s.WriteString(id)
	s.WriteString(".")
	s.WriteInt(at.Unix())
	s.WriteString(".")
	s.Write(body)
	return base64.StdEncoding.AppendEncode(append(list, V1...), s.Sum())
}
