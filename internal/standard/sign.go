package standard

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"time"
)

// Sign returns the signature that secret makes of a message, with its version: one
// entry of webhook-signature. Its errors hold nothing of the secret.
func Sign(secret, id string, at time.Time, body []byte) (string, error) {
	prefix, key, err := ParseSecret(secret)
	if err != nil {
		return "", err
	}
	head := id + "." + strconv.FormatInt(at.Unix(), 10) + "."
	switch prefix {
	case PrefixPrivate:
		message := append(append(make([]byte, 0, len(head)+len(body)), head...), body...)
		return V1a + base64.StdEncoding.EncodeToString(ed25519.Sign(key, message)), nil
	case PrefixPublic:
		return "", errors.New("is a public key (whpk_), which verifies: only the private key (whsk_) signs")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(head))
	mac.Write(body)
	return V1 + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}
