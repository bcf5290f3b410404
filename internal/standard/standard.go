// Package standard holds what is particular to Standard Webhooks:
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
package standard

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Names of the headers, in canonical form.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// Prefixes of keys as their senders show them.
const (
	PrefixSecret  = "whsec_" // symmetric
	PrefixPrivate = "whsk_"  // ed25519, the sender's
	PrefixPublic  = "whpk_"  // ed25519, the receiver's
)

// What stands before each signature, symmetric and ed25519: the two are never
// tried with one another's keys.
const (
	V1  = "v1,"
	V1a = "v1a,"
)

// Horizon is how long a sender retries by the schedule that the specification
// recommends: 5 s, 5 and 30 minutes, 2, 5, 10, 14, 20 and 24 hours, one after
// another, and some for jitter.
const Horizon = 80 * time.Hour

// A symmetric key has 192 to 512 bits, by the specification.
const (
	minSecret = 24
	maxSecret = 64
)

// Expected is the formats of secrets, for errors.
const Expected = "expected whsec_ and 24 to 64 bytes in base64, or an ed25519 key: whpk_ and 32 bytes (public), whsk_ and 64 bytes (private)"

// ParseSecret returns the prefix of a secret, one of the three above, and the
// bytes that stand behind it. Its errors name the formats that are expected, and
// hold nothing of the secret.
func ParseSecret(secret string) (prefix string, key []byte, err error) {
	switch {
	case secret == "":
		return "", nil, errors.New("is empty: " + Expected)
	case strings.ContainsFunc(secret, unicode.IsSpace):
		return "", nil, errors.New("contains white space: " + Expected)
	}
	for _, form := range [...]struct {
		prefix   string
		min, max int
	}{
		{PrefixSecret, minSecret, maxSecret},
		{PrefixPublic, ed25519.PublicKeySize, ed25519.PublicKeySize},
		{PrefixPrivate, ed25519.PrivateKeySize, ed25519.PrivateKeySize},
	} {
		encoded, ok := strings.CutPrefix(secret, form.prefix)
		if !ok {
			continue
		}
		key, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil {
			// The error of package base64 tells a position: harmless, and no help.
			return "", nil, fmt.Errorf("is not base64 after %s: %s", form.prefix, Expected)
		}
		if len(key) < form.min || len(key) > form.max {
			return "", nil, fmt.Errorf("has %d bytes after %s: %s", len(key), form.prefix, Expected)
		}
		return form.prefix, key, nil
	}
	return "", nil, errors.New("has no prefix: " + Expected + "; where the sender shows base64 alone, put whsec_ before it")
}

// FormatSecret is the reverse of ParseSecret.
func FormatSecret(prefix string, key []byte) string {
	return prefix + base64.StdEncoding.EncodeToString(key)
}
