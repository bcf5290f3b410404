package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/fips140"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/surehook/webhook/internal/standard"
)

// Key is what a secret stands for, made by [HMAC], [Ed25519Public] or
// [Ed25519Private]. It belongs to one algorithm, and signatures of another are
// not looked at: the bytes of a public key, which everybody may know, never become
// the key of an HMAC. However it is printed, it shows its algorithm alone.
type Key struct {
	algorithm algorithm
	bytes     []byte
}

type algorithm uint8

const (
	algorithmHMAC algorithm = iota
	algorithmPublic
	algorithmPrivate
)

// HMAC returns the key of an HMAC, with Scheme.Hash. It signs and verifies.
func HMAC(key []byte) Key { return Key{algorithmHMAC, slices.Clone(key)} }

// Ed25519Public returns the receiver's half of an ed25519 key pair. It verifies,
// and cannot sign.
func Ed25519Public(key ed25519.PublicKey) Key { return Key{algorithmPublic, slices.Clone(key)} }

// Ed25519Private returns the sender's half of an ed25519 key pair. It signs and
// verifies.
func Ed25519Private(key ed25519.PrivateKey) Key { return Key{algorithmPrivate, slices.Clone(key)} }

// String names the algorithm.
func (k Key) String() string {
	switch k.algorithm {
	case algorithmPublic:
		return "ed25519 public key"
	case algorithmPrivate:
		return "ed25519 private key"
	default:
		return "HMAC key"
	}
}

// Format prints String, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// check returns what is wrong with the key, in words that follow "secret 1 of 2".
func (k Key) check() error {
	size := len(k.bytes)
	switch k.algorithm {
	case algorithmPublic:
		if size != ed25519.PublicKeySize {
			return fmt.Errorf("gives an ed25519 public key of %d bytes: expected %d", size, ed25519.PublicKeySize)
		}
		// As a variable that was never set would have it. These bytes happen to be
		// a point on the curve, for which everybody can make signatures.
		if bytes.Count(k.bytes, []byte{0}) == size {
			return errors.New("gives an ed25519 public key that is all zeros")
		}
	case algorithmPrivate:
		if size != ed25519.PrivateKeySize {
			return fmt.Errorf("gives an ed25519 private key of %d bytes: expected %d", size, ed25519.PrivateKeySize)
		}
		// Signatures made with another pair's half give the private key away.
		if !bytes.Equal(k.bytes, ed25519.NewKeyFromSeed(k.bytes[:ed25519.SeedSize])) {
			return errors.New("gives an ed25519 private key whose second half is not its public key")
		}
	default:
		switch {
		case size == 0:
			return errors.New("gives an empty key")
		case size < minEnforced && fips140.Enforced():
			return fmt.Errorf("gives an HMAC key of %d bytes: with GODEBUG=fips140=only it has at least %d", size, minEnforced)
		}
	}
	return nil
}

// minEnforced is how many bytes an HMAC key has at least where FIPS 140-3 is
// enforced: crypto/hmac panics on a shorter one.
const minEnforced = 14

// RawKey is the Scheme.Key of senders whose secret is the key of an HMAC, byte
// for byte, whatever it looks like.
func RawKey(secret string) (Key, error) {
	switch {
	case strings.TrimSpace(secret) == "":
		return Key{}, errors.New("is empty: expected the secret as the sender shows it")
	case strings.TrimSpace(secret) != secret:
		return Key{}, errors.New("begins or ends with white space: expected the secret as the sender shows it, without a newline")
	case strings.HasPrefix(secret, "-----BEGIN "):
		return Key{}, errors.New("is a PEM block: expected a shared secret, not a public key")
	case strings.HasPrefix(secret, standard.PrefixPublic), strings.HasPrefix(secret, standard.PrefixPrivate):
		return Key{}, errors.New("is an ed25519 key (whpk_, whsk_): expected a shared secret")
	}
	return HMAC([]byte(secret)), nil
}

// StandardKey is the Scheme.Key of Standard Webhooks, whose secrets tell their
// algorithm: "whsec_" and 24 to 64 bytes in base64 for HMAC, "whpk_" and 32 bytes
// for an ed25519 public key, "whsk_" and 64 bytes for a private one.
//
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func StandardKey(secret string) (Key, error) {
	prefix, key, err := standard.ParseSecret(secret)
	switch {
	case err != nil:
		return Key{}, err
	case prefix == standard.PrefixPublic:
		return Ed25519Public(key), nil
	case prefix == standard.PrefixPrivate:
		return Ed25519Private(key), nil
	default:
		return HMAC(key), nil
	}
}

// newSecretSize is as many bytes as SHA-256 gives, more of which make no HMAC
// harder to guess; the specification has 24 to 64.
const newSecretSize = 32

// NewSecret returns a new symmetric secret for a sender and its receiver, in the
// format of Standard Webhooks: "whsec_" and 32 random bytes in base64.
func NewSecret() string {
	key := make([]byte, newSecretSize)
	_, _ = rand.Read(key) // never fails, by its documentation
	return standard.FormatSecret(standard.PrefixSecret, key)
}

// NewKeyPair returns a new ed25519 key pair in the format of Standard Webhooks:
// "whsk_…", which signs and stays with the sender, and "whpk_…", which verifies
// and is for receivers.
func NewKeyPair() (private, public string) {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed)
	key := ed25519.NewKeyFromSeed(seed)
	return standard.FormatSecret(standard.PrefixPrivate, key),
		standard.FormatSecret(standard.PrefixPublic, key[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
}
