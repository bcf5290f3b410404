// Package standard holds what is particular to Standard Webhooks:
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
package standard

import (
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

// V1 stands before each symmetric signature. A V1a for ed25519 would stand
// beside it: the two are never tried with one another's keys.
const V1 = "v1,"

// Horizon is how long a sender retries by the schedule that the specification
// recommends: 5 s, 5 and 30 minutes, 2, 5, 10, 14, 20 and 24 hours, one after
// another, and some for jitter.
const Horizon = 80 * time.Hour

// A symmetric key has 192 to 512 bits, by the specification.
const (
	minKey = 24
	maxKey = 64
)

// ParseKey returns the key that a symmetric secret stands for. Its errors name
// the format that is expected, and hold nothing of the secret.
func ParseKey(secret string) ([]byte, error) {
	const expected = "expected whsec_ and 24 to 64 bytes in base64"
	switch {
	case secret == "":
		return nil, errors.New("is empty: " + expected)
	case strings.ContainsFunc(secret, unicode.IsSpace):
		return nil, errors.New("contains white space: " + expected)
	case strings.HasPrefix(secret, PrefixPublic):
		return nil, errors.New("is an ed25519 public key (whpk_): " + expected)
	case strings.HasPrefix(secret, PrefixPrivate):
		return nil, errors.New("is an ed25519 private key (whsk_), the sender's own: " + expected)
	}
	encoded, ok := strings.CutPrefix(secret, PrefixSecret)
	if !ok {
		return nil, errors.New("has no prefix: " + expected + "; where the sender shows base64 alone, put whsec_ before it")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		// The error of package base64 tells a position: harmless, and no help.
		return nil, errors.New("is not base64 after whsec_: " + expected)
	}
	if len(key) < minKey || len(key) > maxKey {
		return nil, fmt.Errorf("has %d bytes: %s", len(key), expected)
	}
	return key, nil
}
