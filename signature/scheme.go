// Package signature declares how a sender signs its requests: one declaration
// verifies them, and signs like the sender for tests.
//
// Most senders sign with an HMAC, and differ in few respects: which header has
// the signature, what stands around it, what is signed, and where the event's id
// is. A [Scheme] names these, and [Scheme.Verifier] makes a [webhook.Verifier]
// of them:
//
//	acme, err := signature.Scheme{
//		Name:      "acme",
//		Header:    "Acme-Signature",                // t=1700000000,v1=5257a8…
//		Separator: ",",
//		Prefix:    "v1=",
//		Signed:    []signature.Part{signature.Entry("t="), signature.Text("."), signature.Body()},
//		Sent:      signature.Seconds(signature.Entry("t=")),
//		ID:        signature.JSON("id"),
//		Type:      signature.JSON("type"),
//	}.Verifier(os.Getenv("ACME_SECRET"))
//
// Whether the signature covers the id and the type is not declared: it follows
// from Signed, and stands in the events' Proof.
//
// Package provider has the schemes of known senders. Where a declaration does not
// reach, a [webhook.Verifier] with a Check of one's own does.
package signature

import (
	"crypto"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"strings"

	// The hashes that a Scheme may name.
	_ "crypto/sha1" //nolint:gosec // some senders have nothing better, and HMAC-SHA1 is not broken
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/surehook/webhook"
	"github.com/surehook/webhook/internal/mac"
)

// Scheme declares how one sender signs with HMAC.
//
// Header holds entries, with Separator between them, or is a single entry. Those
// that begin with Prefix are signatures, in the given Encoding and no other
// spelling of it; others are ignored, such as those of another version. A request
// is authentic if one of its signatures, 32 at most, fits one of the secrets.
type Scheme struct {
	Name      string      // the sender, for logs: "acme"; required
	Header    string      // that has the signatures; required
	Separator string      // between the entries of Header; empty: its value is one entry
	Prefix    string      // of the entries that are signatures: "v1=", "sha256="
	Encoding  Encoding    // default Hex
	Hash      crypto.Hash // SHA1, SHA256, SHA384 or SHA512; default SHA256

	// Key makes the key of a secret as its sender shows it. Its error names the
	// format that is expected, and nothing of the secret. Default RawKey.
	Key func(secret string) ([]byte, error)

	// Signed is what is signed, in that order; default the body alone. Body must
	// be among it: otherwise one signature would fit any body. A sender that signs
	// less is checked by a Verifier.Check of one's own, which says so. A header
	// or entry in it must be there in each request, and must not hold the Text
	// that ends it: what is signed could be cut in two ways.
	Signed []Part

	// Sent is when the request was signed. It must be covered by Signed, and is
	// held against Verifier.Tolerance. Zero: the sender signs no time, and a
	// request that somebody captured is as good as new at any time.
	Sent Time

	ID      Part // of the event; zero or none there: the digest of the body
	Type    Part
	Subject Part
	Time    Time // when the event happened; one that cannot be read is left out
}

// Encoding is how a signature is written.
type Encoding uint8

// The encodings.
const (
	Hex    Encoding = iota // in lower case
	Base64                 // standard alphabet, padded
)

// Verifier returns the Verifier of the scheme for the secrets given, any of which
// may fit: the new one and the old one while a secret is rotated. Its fields may
// be changed: Tolerance, Horizon, BodyLimit, Keep.
//
// The error names the secret by its position, with the format expected, or what
// contradicts itself in the scheme. With no secret at all, Secrets is left nil
// for the caller to set: a function of the request, for many tenants. Keys of
// secrets given here are prepared once; those of secrets that come from a
// function are at each request.
func (s Scheme) Verifier(secrets ...string) (webhook.Verifier, error) {
	c, err := newChecker(s)
	if err != nil {
		return webhook.Verifier{}, fmt.Errorf("webhook: scheme %q %w", s.Name, err)
	}
	v := webhook.Verifier{
		Check:  c.check,
		Sign:   c.sign,
		Preset: s.Name,
		Hide:   []string{c.Header},
	}
	if len(secrets) == 0 {
		return v, nil
	}
	fixed := make([]webhook.Secret, len(secrets))
	for i, value := range secrets {
		if err := c.prepare(value); err != nil {
			return webhook.Verifier{}, fmt.Errorf("webhook: %s: secret %d of %d %w", s.Name, i+1, len(secrets), err)
		}
		fixed[i] = webhook.Secret{Value: value}
		fixed[i].ID = fixed[i].String() // the fingerprint, made once
	}
	v.Secrets = fixedSecrets(fixed)
	return v, nil
}

// checker is a scheme that was found to be sound, with what is worked out once.
type checker struct {
	Scheme
	newHash func() hash.Hash
	encoded int                 // length of a signature
	keys    map[string]*mac.Key // by secret; written before the first request
	fields  fieldSet            // the JSON fields to look up

	coversID, coversType, coversTime bool
}

// maxParts bounds Scheme.Signed, so that its values fit on the stack.
const maxParts = 8

func newChecker(s Scheme) (*checker, error) {
	s.Header = http.CanonicalHeaderKey(s.Header)
	if s.Key == nil {
		s.Key = RawKey
	}
	if s.Hash == 0 {
		s.Hash = crypto.SHA256
	}
	if len(s.Signed) == 0 {
		s.Signed = []Part{Body()}
	}
	if err := s.sound(); err != nil {
		return nil, err
	}
	c := &checker{Scheme: s, newHash: s.Hash.New, keys: map[string]*mac.Key{}}
	c.encoded = s.Hash.Size() * 2
	if s.Encoding == Base64 {
		c.encoded = (s.Hash.Size() + 2) / 3 * 4
	}
	for _, p := range []Part{s.Sent.part, s.ID, s.Type, s.Subject, s.Time.part} {
		if p.kind == field {
			c.fields.add(p.name)
		}
	}
	c.coversID, c.coversType, c.coversTime = s.covers(s.ID), s.covers(s.Type), s.covers(s.Time.part)
	return c, nil
}

// sound returns what contradicts itself in the scheme, or is missing.
func (s Scheme) sound() error {
	switch {
	case s.Name == "":
		return errors.New("has no Name")
	case s.Header == "":
		return errors.New("has no Header")
	case !slices.Contains([]crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512}, s.Hash):
		return errors.New("has a Hash that is not SHA1, SHA256, SHA384 or SHA512")
	case s.Encoding > Base64:
		return errors.New("has an Encoding that is not Hex or Base64")
	case s.Encoding == Base64 && strings.Contains(s.Separator, "="):
		return errors.New("has a Separator that base64 uses")
	case len(s.Signed) > maxParts:
		return fmt.Errorf("has %d parts in Signed, at most %d are possible", len(s.Signed), maxParts)
	case s.Sent.part != Part{} && !s.covers(s.Sent.part):
		return errors.New("has a Sent that Signed does not cover: a time that nobody signed proves nothing")
	}
	for _, p := range s.Signed {
		if p.kind == none || p.kind == field {
			return errors.New("has a Signed part that is not Text, Body, Header or Entry: a field of the body is not read before the body is believed")
		}
	}
	if !s.covers(Body()) {
		return errors.New("has a Signed without Body: one signature would fit any body")
	}
	for _, p := range []Part{s.Sent.part, s.ID, s.Type, s.Subject, s.Time.part} {
		switch {
		case p.kind == text, p.kind == body:
			return errors.New("takes Sent, ID, Type, Subject or Time from something else than a Header, an Entry or JSON")
		case p.kind == field && strings.Count(p.name, ".") >= maxDepth:
			return fmt.Errorf("has JSON(%q), with more than %d keys", p.name, maxDepth)
		}
	}
	return nil
}

// covers reports whether the signature covers p.
func (s Scheme) covers(p Part) bool {
	if p.kind == field {
		p = Body()
	}
	return slices.Contains(s.Signed, p)
}

// prepare makes the key of a secret that stays.
func (c *checker) prepare(secret string) error {
	key, err := c.Key(secret)
	if err == nil && len(key) == 0 {
		err = errors.New("gives an empty key")
	}
	if err != nil {
		return err
	}
	c.keys[secret] = mac.NewKey(c.newHash, key)
	return nil
}
